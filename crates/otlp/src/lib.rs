//! OTLP batches as bytes.
//!
//! A [`Batch`] is one serialized OTLP export request (`ExportTraceServiceRequest`, `ExportMetricsServiceRequest` or
//! `ExportLogsServiceRequest`), the number of items in it, and the compressed forms of it that exist. It is walked
//! once, at the door; after that it is shared, concatenated, split and spliced as bytes. On the way from OTLP to OTLP
//! nothing decodes it into structs, and unknown fields survive.
//!
//! # What is where
//!
//! | to | use |
//! |---|---|
//! | take in a request from outside: check it, count it | [`Batch::parse`], [`json::decode`] |
//! | read it, without allocating | [`view`]: [`Batch::traces`], [`Batch::metrics`], [`Batch::logs`] |
//! | make one from another protocol | [`encode`]: `TracesEncoder`, `MetricsEncoder`, `LogsEncoder` |
//! | merge requests | [`Batch::concat`] |
//! | cut one that is too large | [`Batch::split`] |
//! | change attributes and nothing else | [`edit`]: `edit_resources`, `edit_scopes`, `edit_records` |
//! | write it as JSON | [`json::encode`] |
//! | answer, and read answers | [`response`]: `ExportResponse`, `Status` |
//! | share what was compressed once | [`Frames`], [`Batch::with_frame`] |
//! | go below messages | [`wire`] |
//!
//! Inside, three things carry the rest: `wire` knows tags and lengths, `schema` lists the messages of OTLP once, as
//! tables that drive both the walk at the door and JSON, and `tree` knows the shape that all three signals share
//! (blocks, scopes, metrics, items), on which splitting and splicing go down.
//!
//! # What holds
//!
//! - Bytes from outside become a batch only through [`Batch::parse`] or [`json::decode`]. [`Batch::from_trusted`] is
//!   for requests that this process checked or made before.
//! - Whatever is made of a checked batch (a part, a merger, an edit) is valid and needs no second check.
//! - Reading, splitting, editing and writing never panic, also on bytes that nobody checked; they only return less.
//! - A batch that an operation does not change comes back with the same bytes and the same frames.
//! - Splitting never repeats so much that a batch grows beyond three times its size.
//!
//! This crate is never asynchronous, does no I/O, reads no clock, and has no unsafe code. It does not compress: it
//! keeps frames that others made. It does not judge telemetry either: timestamps, names and values are carried as they
//! come, only what would make a request unreadable further on is refused.
//!
//! # Example
//!
//! ```
//! use otlp::encode::LogsEncoder;
//! use otlp::{Batch, Limits, Signal, SplitLimits, json};
//!
//! // A receiver of another protocol encodes what it got.
//! let mut encoder = LogsEncoder::new();
//! encoder.resource_logs(|block| {
//!     block.resource(|resource| {
//!         resource.attributes().string("service.name", "checkout");
//!     });
//!     block.scope_logs(|scope| {
//!         for text in ["accepted", "shipped"] {
//!             scope.log_record(|record| record.body().string(text));
//!         }
//!     });
//! });
//! let batch = encoder.finish();
//!
//! // A receiver of OTLP checks what came.
//! let batch = Batch::parse(Signal::Logs, batch.bytes().clone(), &Limits::default())?;
//! assert_eq!(batch.items(), 2);
//!
//! // An exporter splits, reads and writes.
//! let parts = batch.split(SplitLimits { items_max: 1, bytes_max: 0 });
//! let mut text = Vec::new();
//! json::encode(&parts[1], &mut text);
//! assert!(String::from_utf8(text).unwrap().contains("shipped"));
//! # Ok::<(), otlp::Malformed>(())
//! ```
//!
//! # Specification
//!
//! [OTLP](https://opentelemetry.io/docs/specs/otlp/) and
//! [opentelemetry-proto](https://github.com/open-telemetry/opentelemetry-proto) 1.10. Profiles are not carried: their
//! requests have a singular dictionary and cannot be concatenated.

mod batch;
mod check;
pub mod edit;
pub mod encode;
mod frames;
pub mod json;
pub mod response;
mod retain;
mod schema;
mod signal;
mod splice;
mod split;
mod tree;
mod values;
pub mod view;
pub mod wire;

pub use batch::{Batch, Limits, Malformed, MalformedKind};
pub use frames::{ContentEncoding, Frames};
pub use retain::retain_resources;
pub use signal::Signal;
pub use split::SplitLimits;
pub use values::{NumberValue, SpanId, SpanKind, StatusCode, Temporality, TraceId};
