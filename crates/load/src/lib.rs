//! Traffic of every signal, and counting backends that track identities, so that loss and duplicates are exact.
//!
//! - [`payload`]: requests that are made once and then patched in place
//! - [`send`]: a load generator for OTLP over gRPC and HTTP
//! - [`receive`]: counting backends for OTLP and remote write, with faults on demand
//! - [`statsd`]: StatsD packets at a given rate
//! - [`targets`]: targets to scrape
//! - [`shop`]: a small shop for demonstrations, whose items have identities
//! - [`dual`]: a small shop that counts everything twice, the old way and the new way
//! - [`verdict`]: what was acknowledged against what arrived
//! - [`identity`], [`sequences`]: who an item is, and sets of who has come
//!
//! The crate is no part of a pipeline: it knows pipelines only from outside, as clients and backends do. It keeps no
//! telemetry, only which items there were, and in bounded memory. Generator and backend are cheap, because they share the
//! machine with what is measured: see `benches/loopback.rs`.
//!
//! ```
//! use load::RunId;
//! use load::receive::{Backend, Detail, ReceiveSettings};
//! use load::send::{Amount, Destination, Protocol, SendSettings, Sending};
//! use load::verdict::judge;
//! use otlp::Signal;
//! use tokio::runtime::Handle;
//! use transport::endpoint::Endpoint;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let otlp_grpc = Some(Endpoint::parse("127.0.0.1:0")?);
//! let backend = Backend::start(ReceiveSettings { otlp_grpc, ..ReceiveSettings::default() }, &Handle::current())?;
//! let address = backend.addresses().otlp_grpc.as_ref().ok_or("not listening")?.to_string();
//!
//! let destination = Destination::new(Protocol::OtlpGrpc, address);
//! let settings = SendSettings { amount: Amount::Items(1000), ..SendSettings::new(destination, RunId(1)) };
//! let report = Sending::start(settings)?.wait().await;
//!
//! let verdict = judge("backend", &Signal::ALL, &[report], &backend.counts(Detail::Workers));
//! assert_eq!(verdict.to_string(), "backend: all 1000 acknowledged items arrived, none twice");
//! # Ok(()) })}
//! ```
#![cfg_attr(test, allow(clippy::float_cmp))]

pub mod dual;
pub mod identity;
mod latency;
pub mod payload;
mod protocol;
pub mod receive;
pub mod send;
pub mod sequences;
pub mod shop;
mod signal_name;
pub mod statsd;
pub mod targets;
pub mod verdict;

pub use identity::{RunId, WorkerId};
pub use latency::{Latencies, LatencyQuantiles};
pub use sequences::{Ranges, SequenceSet};
