//! Zipkin: version 2 in JSON and protobuf to OTLP and back, version 1 in JSON and Thrift to OTLP.
//!
//! Specification: Zipkin's `zipkin2-api.yaml`, `zipkin.proto` and `zipkinCore.thrift`; OpenTelemetry,
//! [OpenTelemetry to Zipkin Transformation](https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/) and
//! [Transformation to non-OTLP Formats](https://opentelemetry.io/docs/specs/otel/common/mapping-to-non-otlp/). What they
//! leave open is decided as the Collector does. All forms become the same model, so that they mean the same.
//!
//! | Zipkin | OTLP |
//! |---|---|
//! | `localEndpoint.serviceName` | `service.name`, or the attribute that the tag `otlp.service.name.source` names |
//! | `localEndpoint`: address, port | attributes `net.host.ip`, `net.host.port` |
//! | `remoteEndpoint` | attributes `peer.service`, `net.peer.ip`, `net.peer.port` |
//! | tags with the names of resource attributes | attributes of the resource |
//! | tags `otel.scope.name`, `otel.scope.version`, or `otel.library.*`; both are written | scope |
//! | `kind`; tag `span.kind` = `internal` | kind |
//! | tags `otel.status_code`, `error` | status; the text of `error` is its message |
//! | tag `w3c.tracestate` | trace state |
//! | tags `otlp.link.0`, `otlp.link.1`, … | links |
//! | tags `otel.dropped_attributes_count` and so on | what was dropped |
//! | other tags | attributes |
//! | annotation `"name": {…}`; `name\|{…}\|0` and `{"name": {…}}` are read as well | event with attributes |
//! | other annotations | event without attributes |
//! | `shared`, `debug` | attributes `zipkin.shared`, `zipkin.debug` |
//!
//! For a client or a producer without `peer.service`, the name of the remote endpoint is taken from the attributes that
//! the specification ranks, which stay tags.
//!
//! # What is lost from OTLP to Zipkin and back
//!
//! - Times have microseconds; a span that took less than one took one, and one that ended before it began took none.
//! - Attributes are text: numbers and truth values come back with `parse_string_tags`, arrays and maps as JSON. Bytes are
//!   base64, also in the attributes of events and links, which otherwise keep their types.
//! - Attributes of the resource whose names the semantic conventions do not have come back as attributes of the span.
//!   Where a span has an attribute of the same name, the span's is kept.
//! - A resource without a service name comes back with the default.
//! - Attributes of scopes, schema URLs, what a resource or a scope dropped, and flags.
//! - The message of a status that is no error, and `true` or `false` as the message of one.
//! - Spans without a trace id or a span id: they are not written, and counted, as is what does not fit into
//!   [`Encoded::BODY_BYTES_MAX`].
//! - Attributes that bear the name of a tag with a meaning come back as what they mean.
//! - Spans change their order where resources or scopes alternate: those of one stand together.
//!
//! # What is lost from Zipkin to OTLP
//!
//! - The host of an annotation. A span of version 1 that two hosts share becomes two, as in Zipkin itself.
//! - Addresses that are none. Ids that are shorter than theirs are filled with zeros.
//! - A time that is absent is 0, and the attribute `otel.zipkin.absentField.startTime` says so.
//!
//! ```
//! use legacy::zipkin::{self, Encoding, Format, StringTags};
//!
//! let json = br#"[{"traceId": "86154a4ba6e91385", "id": "4d1e00c0db9010db", "name": "get /", "kind": "SERVER"}]"#;
//! let batch = zipkin::decode(Encoding::JsonV2, json, StringTags::Kept)?;
//! assert_eq!(batch.items(), 1);
//! let encoded = zipkin::encode(&batch, Format::Json, "checkout");
//! assert!(String::from_utf8(encoded.body).unwrap().contains(r#""serviceName":"checkout""#));
//! # Ok::<(), zipkin::Malformed>(())
//! ```

mod events;
mod from_otlp;
mod json;
mod keys;
mod model;
mod proto;
mod to_otlp;
mod v1;

use otlp::Batch;

use crate::thrift;
use model::Span;

/// The forms that Zipkin's clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Version 2: a JSON array of spans.
    JsonV2,
    /// Version 2: `zipkin.proto3.ListOfSpans`.
    ProtobufV2,
    /// Version 1: a JSON array of spans.
    JsonV1,
    /// Version 1: a list of `zipkincore.Span` in Thrift's binary protocol.
    ThriftV1,
}

/// The forms that Zipkin's servers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON array of spans.
    Json,
    /// `zipkin.proto3.ListOfSpans`.
    Protobuf,
}

/// What becomes of tags whose text looks like a number or a truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringTags {
    /// They stay text.
    Kept,
    /// They become what they look like.
    Parsed,
}

/// Why bytes are no spans, and where.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// No JSON, or JSON of another shape. The error has its line and column.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// No protobuf of this shape.
    #[error("{0}")]
    Protobuf(#[from] prost::DecodeError),
    /// No protobuf from somewhere on.
    #[error("no protobuf from byte {offset} on")]
    BrokenProtobuf {
        /// Where.
        offset: usize,
    },
    /// No Thrift.
    #[error("{0}")]
    Thrift(#[from] thrift::Malformed),
    /// Not the protocol's list of spans.
    #[error("expected a list of spans in Thrift's binary protocol, which begins with 12, found {first}")]
    NoThriftList {
        /// The first byte.
        first: u8,
    },
    /// A span that cannot be one.
    #[error("span {index}: {fault}")]
    Span {
        /// Its place in the list, from 0 on.
        index: usize,
        /// What is wrong.
        fault: SpanFault,
    },
}

/// What is wrong with a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanFault {
    /// A trace id of another length than 8 or 16 bytes.
    #[error("a trace id of {bytes} bytes; expected 8 or 16")]
    TraceIdLength {
        /// How many it has.
        bytes: usize,
    },
    /// A span id of another length than 8 bytes.
    #[error("a span id of {bytes} bytes; expected 8")]
    SpanIdLength {
        /// How many it has.
        bytes: usize,
    },
    /// A trace id that is all zeros.
    #[error("the trace id is zero")]
    ZeroTraceId,
    /// A span id that is all zeros.
    #[error("the span id is zero")]
    ZeroSpanId,
    /// A port beyond 16 bits.
    #[error("the port {port} does not exist")]
    Port {
        /// The number.
        port: i32,
    },
}

/// A batch in a form of Zipkin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes.
    pub body: Vec<u8>,
    /// The spans in them.
    pub spans: u64,
    /// The spans that have no trace id or no span id, which Zipkin does not take.
    pub without_id: u64,
    /// The spans beyond [`Encoded::BODY_BYTES_MAX`].
    pub too_large: u64,
}

impl Encoded {
    /// No body grows further. Every span repeats the attributes of its resource, so that a small batch of many spans
    /// with a large resource is a large body.
    pub const BODY_BYTES_MAX: usize = 256 << 20;
}

/// Reads spans.
///
/// # Errors
/// [`Malformed`], with the place of the first fault.
pub fn decode(encoding: Encoding, bytes: &[u8], tags: StringTags) -> Result<Batch, Malformed> {
    let spans: Vec<Span> = match encoding {
        Encoding::JsonV2 => json::read(bytes)?,
        Encoding::ProtobufV2 => proto::read(bytes)?,
        Encoding::JsonV1 => v1::json::read(bytes)?,
        Encoding::ThriftV1 => v1::thrift::read(bytes)?,
    };
    Ok(to_otlp::batch(spans, tags))
}

/// Writes the spans of a batch; a batch of another signal has none. `service_default` is the name of a service whose
/// resource has none.
pub fn encode(batch: &Batch, format: Format, service_default: &str) -> Encoded {
    let mut writer = Writer::new(format);
    from_otlp::write_spans(batch, service_default, &mut writer);
    writer.finish()
}

/// Puts one span behind the other.
struct Writer {
    format: Format,
    body_bytes_max: usize,
    encoded: Encoded,
}

impl Writer {
    fn new(format: Format) -> Writer {
        let encoded = Encoded { body: Vec::new(), spans: 0, without_id: 0, too_large: 0 };
        Writer { format, body_bytes_max: Encoded::BODY_BYTES_MAX, encoded }
    }

    fn is_full(&self) -> bool {
        self.encoded.body.len() >= self.body_bytes_max
    }

    fn write(&mut self, span: &Span) {
        let body = &mut self.encoded.body;
        match self.format {
            Format::Json => {
                body.push(if body.is_empty() { b'[' } else { b',' });
                json::write(span, body);
            }
            Format::Protobuf => proto::write(span, body),
        }
        self.encoded.spans += 1;
    }

    fn finish(mut self) -> Encoded {
        if self.format == Format::Json {
            let end: &[u8] = if self.encoded.body.is_empty() { b"[]" } else { b"]" };
            self.encoded.body.extend_from_slice(end);
        }
        self.encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_a_body_is_counted() {
        let one = r#"{"traceId": "1", "id": "2", "tags": {"host.name": "a-resource"}}"#;
        let json = format!("[{}]", [one; 10].join(","));
        let batch = decode(Encoding::JsonV2, json.as_bytes(), StringTags::Kept).unwrap();
        for format in [Format::Json, Format::Protobuf] {
            let mut writer = Writer { body_bytes_max: 200, ..Writer::new(format) };
            from_otlp::write_spans(&batch, "x", &mut writer);
            let encoded = writer.finish();
            assert!(encoded.spans > 0 && encoded.too_large > 0, "{encoded:?}");
            assert_eq!(encoded.spans + encoded.too_large, 10);
        }
    }
}
