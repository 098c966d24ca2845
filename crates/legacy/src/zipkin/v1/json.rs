//! Version 1 in JSON.

use otlp::{SpanId, TraceId};
use serde::Deserialize;

use super::super::Malformed;
use super::super::json::{Hex, JsonEndpoint, MaybeHex, Scalar, Unsigned};
use super::super::model::{Endpoint, Span};
use super::{AnnotationV1, BinaryAnnotation, SpanV1};

pub(in crate::zipkin) fn read(bytes: &[u8]) -> Result<Vec<Span>, Malformed> {
    let spans: Vec<JsonSpan> = serde_json::from_slice(bytes)?;
    Ok(spans.into_iter().flat_map(|span| span.into_span().into_spans()).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan {
    trace_id: Hex<TraceId>,
    id: Hex<SpanId>,
    #[serde(default)]
    parent_id: MaybeHex,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    timestamp: Option<Unsigned>,
    #[serde(default)]
    duration: Option<Unsigned>,
    #[serde(default)]
    debug: Option<bool>,
    #[serde(default)]
    annotations: Option<Vec<JsonAnnotation>>,
    #[serde(default)]
    binary_annotations: Option<Vec<JsonBinaryAnnotation>>,
}

#[derive(Deserialize)]
struct JsonAnnotation {
    #[serde(default)]
    timestamp: Option<Unsigned>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    endpoint: Option<JsonEndpoint>,
}

#[derive(Deserialize)]
struct JsonBinaryAnnotation {
    key: String,
    value: Scalar,
    #[serde(default)]
    endpoint: Option<JsonEndpoint>,
}

impl JsonSpan {
    fn into_span(self) -> SpanV1 {
        let host = |endpoint: Option<JsonEndpoint>| endpoint.map_or(Endpoint::default(), JsonEndpoint::into_endpoint);
        let annotation = |one: JsonAnnotation| AnnotationV1 {
            timestamp_us: one.timestamp.unwrap_or_default().0,
            value: one.value.unwrap_or_default(),
            host: host(one.endpoint),
        };
        let binary =
            |one: JsonBinaryAnnotation| BinaryAnnotation { key: one.key, value: one.value.0, host: host(one.endpoint) };
        SpanV1 {
            trace_id: self.trace_id.0,
            id: self.id.0,
            parent_id: self.parent_id.0,
            name: self.name.unwrap_or_default(),
            timestamp_us: self.timestamp.unwrap_or_default().0,
            duration_us: self.duration.unwrap_or_default().0,
            debug: self.debug.unwrap_or_default(),
            annotations: self.annotations.unwrap_or_default().into_iter().map(annotation).collect(),
            binary_annotations: self.binary_annotations.unwrap_or_default().into_iter().map(binary).collect(),
        }
    }
}
