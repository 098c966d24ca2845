//! Version 2 in protobuf: `zipkin.proto3`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use otlp::wire::{FieldValue, Fields, write_bytes_field};
use otlp::{SpanId, TraceId};
use prost::Message;

use super::model::{Annotation, Endpoint, Kind, Span, Value};
use super::{Malformed, SpanFault};

#[derive(Clone, PartialEq, Message)]
struct ProtoSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    parent_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    /// `Span.Kind`.
    #[prost(int32, tag = "4")]
    kind: i32,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(fixed64, tag = "6")]
    timestamp: u64,
    #[prost(uint64, tag = "7")]
    duration: u64,
    #[prost(message, optional, tag = "8")]
    local_endpoint: Option<ProtoEndpoint>,
    #[prost(message, optional, tag = "9")]
    remote_endpoint: Option<ProtoEndpoint>,
    #[prost(message, repeated, tag = "10")]
    annotations: Vec<ProtoAnnotation>,
    #[prost(btree_map = "string, string", tag = "11")]
    tags: BTreeMap<String, String>,
    #[prost(bool, tag = "12")]
    debug: bool,
    #[prost(bool, tag = "13")]
    shared: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoEndpoint {
    #[prost(string, tag = "1")]
    service_name: String,
    #[prost(bytes = "vec", tag = "2")]
    ipv4: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    ipv6: Vec<u8>,
    #[prost(int32, tag = "4")]
    port: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoAnnotation {
    #[prost(fixed64, tag = "1")]
    timestamp: u64,
    #[prost(string, tag = "2")]
    value: String,
}

/// `ListOfSpans.spans`.
const SPANS: u32 = 1;

const KINDS: [Kind; 5] = [Kind::Unspecified, Kind::Client, Kind::Server, Kind::Producer, Kind::Consumer];

/// The spans are decoded one by one, so that a list of many empty ones, which take two bytes each, ends with the first.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Span>, Malformed> {
    let (mut spans, mut read_bytes) = (Vec::new(), 0);
    for field in Fields::new(bytes) {
        read_bytes += field.raw(bytes).len();
        if let (SPANS, FieldValue::Length(span)) = (field.number, field.value) {
            let index = spans.len();
            let span = read_span(ProtoSpan::decode(span)?).map_err(|fault| Malformed::Span { index, fault })?;
            spans.push(span);
        }
    }
    match read_bytes == bytes.len() {
        true => Ok(spans),
        false => Err(Malformed::BrokenProtobuf { offset: read_bytes }),
    }
}

fn read_span(span: ProtoSpan) -> Result<Span, SpanFault> {
    let trace_id = trace_id(&span.trace_id)?;
    let id = span_id(&span.id)?;
    if id.is_zero() {
        return Err(SpanFault::ZeroSpanId);
    }
    let parent_id = match span.parent_id.as_slice() {
        [] => None,
        bytes => Some(span_id(bytes)?).filter(|id| !id.is_zero()),
    };
    let annotation = |one: ProtoAnnotation| Annotation { timestamp_us: one.timestamp, value: one.value };
    Ok(Span {
        trace_id,
        id,
        parent_id,
        kind: usize::try_from(span.kind).ok().and_then(|index| KINDS.get(index)).copied().unwrap_or_default(),
        name: span.name,
        timestamp_us: span.timestamp,
        duration_us: span.duration,
        local: span.local_endpoint.map(read_endpoint).transpose()?.unwrap_or_default(),
        remote: span.remote_endpoint.map(read_endpoint).transpose()?.unwrap_or_default(),
        annotations: span.annotations.into_iter().map(annotation).collect(),
        tags: span.tags.into_iter().map(|(key, value)| (key, Value::Text(value))).collect(),
        debug: span.debug,
        shared: span.shared,
    })
}

/// 16 bytes, or 8 as the low half of an id.
fn trace_id(bytes: &[u8]) -> Result<TraceId, SpanFault> {
    let mut whole = [0; 16];
    match bytes.len() {
        8 => whole[8..].copy_from_slice(bytes),
        16 => whole.copy_from_slice(bytes),
        bytes => return Err(SpanFault::TraceIdLength { bytes }),
    }
    let id = TraceId::new(whole);
    if id.is_zero() { Err(SpanFault::ZeroTraceId) } else { Ok(id) }
}

fn span_id(bytes: &[u8]) -> Result<SpanId, SpanFault> {
    SpanId::from_slice(bytes).ok_or(SpanFault::SpanIdLength { bytes: bytes.len() })
}

fn read_endpoint(endpoint: ProtoEndpoint) -> Result<Endpoint, SpanFault> {
    let port = u16::try_from(endpoint.port).map_err(|_| SpanFault::Port { port: endpoint.port })?;
    let mut read = Endpoint { service: endpoint.service_name, port, ..Endpoint::default() };
    let v4 = <[u8; 4]>::try_from(endpoint.ipv4).ok().map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let v6 = <[u8; 16]>::try_from(endpoint.ipv6).ok().map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    v4.into_iter().chain(v6).for_each(|address| read.set_ip(address));
    Ok(read)
}

/// Appends a span to a list of spans: in protobuf that is one more field of the list.
pub(super) fn write(span: &Span, out: &mut Vec<u8>) {
    write_bytes_field(out, SPANS, &write_span(span).encode_to_vec());
}

fn write_span(span: &Span) -> ProtoSpan {
    let trace_id = span.trace_id.as_bytes();
    let annotation = |one: &Annotation| ProtoAnnotation { timestamp: one.timestamp_us, value: one.value.clone() };
    ProtoSpan {
        trace_id: trace_id.strip_prefix(&[0; 8]).unwrap_or(trace_id).to_vec(),
        parent_id: span.parent_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        id: span.id.as_bytes().to_vec(),
        kind: KINDS.iter().position(|kind| *kind == span.kind).map_or(0, |index| index as i32),
        name: span.name.clone(),
        timestamp: span.timestamp_us,
        duration: span.duration_us,
        local_endpoint: write_endpoint(&span.local),
        remote_endpoint: write_endpoint(&span.remote),
        annotations: span.annotations.iter().map(annotation).collect(),
        tags: span.tags.iter().map(|(key, value)| (key.clone(), value.text().into_owned())).collect(),
        debug: span.debug,
        shared: span.shared,
    }
}

fn write_endpoint(endpoint: &Endpoint) -> Option<ProtoEndpoint> {
    (!endpoint.is_empty()).then(|| ProtoEndpoint {
        service_name: endpoint.service.clone(),
        ipv4: endpoint.ipv4.map(|address| address.octets().to_vec()).unwrap_or_default(),
        ipv6: endpoint.ipv6.map(|address| address.octets().to_vec()).unwrap_or_default(),
        port: i32::from(endpoint.port),
    })
}
