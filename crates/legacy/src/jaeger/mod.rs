//! Jaeger: `jaeger.api_v2` in protobuf and `jaeger.thrift`, to OTLP and back, and the JSON of its query API to OTLP.
//!
//! Specification: OpenTelemetry,
//! [OpenTelemetry to Jaeger Transformation](https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/jaeger/) and
//! [Transformation to non-OTLP Formats](https://opentelemetry.io/docs/specs/otel/common/mapping-to-non-otlp/); Jaeger's
//! `model.proto`, `collector.proto`, `jaeger.thrift` and `agent.thrift`. What they leave open is decided as the
//! Collector does. Both forms of Jaeger become the same [`model`], so that they mean the same.
//!
//! | OTLP | Jaeger |
//! |---|---|
//! | `service.name` | the name of the process; `unknown_service` where there is none |
//! | other attributes of the resource | tags of the process |
//! | scope | tags `otel.scope.name`, `otel.scope.version`; `otel.library.*` are read as well |
//! | parent | the first reference, `CHILD_OF`; `parentSpanId` in Thrift |
//! | link | a further reference, `FOLLOWS_FROM`; `CHILD_OF` where the attribute `opentracing.ref_type` says so |
//! | kind | tag `span.kind` |
//! | status | tags `otel.status_code`, `otel.status_description`, and `error` of an error |
//! | trace state | tag `w3c.tracestate` |
//! | dropped attributes, events, links | tags `otel.dropped_attributes_count` and so on |
//! | event | log with the field `event`; `otel.event.dropped_attributes_count` |
//! | flag "sampled" | flag 1 |
//!
//! # What is lost from OTLP to Jaeger and back
//!
//! - The kind "internal" has no tag and comes back as "unspecified".
//! - Links lose their attributes, trace state and flags, and come back with `opentracing.ref_type`. Of a span without a
//!   parent, the first link into its own trace is the parent; one that leads to the parent comes first.
//! - Arrays, maps and no value become text; arrays and maps are JSON.
//! - Of an event that has a name and an attribute `event`, the attribute is kept, and comes back as the name.
//! - A resource without `service.name` comes back with `unknown_service`.
//! - Attributes of scopes, schema URLs, what a resource or a scope dropped, and flags other than "sampled" have no place.
//! - Thrift has microseconds.
//! - Attributes that bear the name of a tag with a meaning come back as what they mean: a true `error` beats the status,
//!   `http.status_code` is a status where there is no other, `hostname` of a resource is `host.name`, `jaeger.version` is
//!   `opencensus.exporterversion`.
//! - Spans change their order where processes or scopes alternate: those of one stand together.
//!
//! # What is lost from Jaeger to OTLP
//!
//! - The flags "debug" and "firehose", `incomplete`, process ids, and tags without a key.
//! - Of several tags with one key, only the last is kept.
//! - What is not UTF-8 becomes U+FFFD.
//! - References without a span id, spans of which nothing is set, and processes without spans.
//!
//! Warnings are the attribute `@jaeger@warnings`, as in Jaeger itself; Thrift has no place for them.
//!
//! What is read is held in memory as borrowed pieces: at most some thirty times the size of a payload that was made to
//! hurt, and about as much as the payload otherwise.
//!
//! ```
//! use legacy::jaeger;
//! use legacy::thrift::Protocol;
//! use otlp::encode::TracesEncoder;
//!
//! let mut encoder = TracesEncoder::new();
//! encoder.resource_spans(|block| {
//!     block.resource(|resource| {
//!         resource.attributes().string("service.name", "checkout");
//!     });
//!     block.scope_spans(|scope| {
//!         scope.span(|span| {
//!             span.name("POST /orders").start_time_unix_nano(1_000).end_time_unix_nano(5_000);
//!         });
//!     });
//! });
//! let batch = encoder.finish();
//!
//! let requests = jaeger::to_proto(&batch, 4 << 20);
//! assert_eq!(jaeger::from_proto(&requests[0].body)?.bytes(), batch.bytes());
//!
//! let datagrams = jaeger::to_datagrams(&batch, Protocol::Compact);
//! assert_eq!(jaeger::from_datagram(&datagrams[0], Protocol::Compact)?.bytes(), batch.bytes());
//! # Ok::<(), jaeger::Malformed>(())
//! ```

mod from_otlp;
mod group;
mod json;
pub mod model;
mod names;
mod proto;
mod status;
mod tags;
mod thrift;
mod to_otlp;

use otlp::{Batch, Signal};

use crate::thrift::Protocol;
pub use json::{Answer, QueriedTrace, from_json};

/// Why bytes are nothing of Jaeger's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not Thrift, or not what Jaeger says in it.
    #[error("{0}")]
    Thrift(#[from] crate::thrift::Malformed),
    /// A Thrift message for another method than `emitBatch`.
    #[error("a message for the method `{name}`, expected `emitBatch`")]
    Method {
        /// The method, cut to a bounded length.
        name: String,
    },
    /// Not protobuf, or a known field in another wire type than its own.
    #[error("{message}: malformed at byte {offset} of it")]
    Proto {
        /// The message.
        message: &'static str,
        /// Where in the message, in bytes.
        offset: usize,
    },
    /// An id of a length that no id has.
    #[error("{field} of {length} bytes")]
    IdLength {
        /// The field.
        field: &'static str,
        /// Its length, in bytes.
        length: usize,
    },
    /// Not JSON, or none of the query API's; the message names line and column.
    #[error("malformed answer: {0}")]
    Json(String),
    /// A text that is no id in hexadecimal.
    #[error("{field} is `{text}`, which is no id")]
    Id {
        /// The field.
        field: &'static str,
        /// The text, cut to a bounded length.
        text: String,
    },
    /// A binary value that is not in base64.
    #[error("the binary value of the tag `{key}` is not in base64")]
    Base64 {
        /// The tag, cut to a bounded length.
        key: String,
    },
}

/// One `jaeger.api_v2.PostSpansRequest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostSpans {
    /// The message.
    pub body: Vec<u8>,
    /// How many spans it carries.
    pub items: u32,
}

/// The spans of a `jaeger.api_v2.PostSpansRequest`.
///
/// # Errors
/// [`Malformed`] names the message and the place.
pub fn from_proto(request: &[u8]) -> Result<Batch, Malformed> {
    proto::read_request(request)
}

/// The spans of a `jaeger.thrift` `Batch`, as it comes over HTTP.
///
/// # Errors
/// [`Malformed`] names the place.
pub fn from_thrift(batch: &[u8], protocol: Protocol) -> Result<Batch, Malformed> {
    Ok(thrift::read_batch(&mut crate::thrift::Reader::new(protocol, batch))?)
}

/// The spans of a message `emitBatch` of `agent.thrift`, as it comes in a datagram.
///
/// # Errors
/// [`Malformed`] names the place.
pub fn from_datagram(message: &[u8], protocol: Protocol) -> Result<Batch, Malformed> {
    thrift::read_message(message, protocol)
}

/// The requests that carry a batch: one or more for each resource, none larger than `size_bytes_max` unless a single
/// span is. Over all of them the items add up to the batch.
pub fn to_proto(batch: &Batch, size_bytes_max: usize) -> Vec<PostSpans> {
    debug_assert_eq!(batch.signal(), Signal::Traces);
    proto::write_requests(batch, size_bytes_max)
}

/// A `jaeger.thrift` `Batch` for each block of a resource.
pub fn to_thrift(batch: &Batch, protocol: Protocol) -> Vec<Vec<u8>> {
    thrift::write(batch, protocol, thrift::Envelope::None)
}

/// A message `emitBatch` for each block of a resource, however large.
pub fn to_datagrams(batch: &Batch, protocol: Protocol) -> Vec<Vec<u8>> {
    thrift::write(batch, protocol, thrift::Envelope::EmitBatch)
}
