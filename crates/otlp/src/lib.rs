//! OTLP batches as bytes.
//!
//! A [`Batch`] is one serialized OTLP export request (`ExportTraceServiceRequest`,
//! `ExportMetricsServiceRequest` or `ExportLogsServiceRequest`) and the number of items in it. It is walked once, at
//! the door, by [`Batch::parse`]; after that it is shared, concatenated, split and spliced as bytes. Nothing in this
//! crate is asynchronous and nothing does I/O.

mod batch;
mod check;
pub mod edit;
pub mod encode;
mod frames;
pub mod json;
pub mod response;
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
pub use signal::Signal;
pub use split::SplitLimits;
pub use values::{NumberValue, SpanId, SpanKind, StatusCode, Temporality, TraceId};
