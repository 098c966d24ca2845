//! Version 1 in Thrift: a list of `zipkincore.Span` in the binary protocol, without a message around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use otlp::{SpanId, TraceId};

use super::super::model::{Endpoint, Span, Value};
use super::super::{Malformed, SpanFault};
use super::{AnnotationV1, BinaryAnnotation, SpanV1};
use crate::thrift::{self, Kind, Protocol, Reader};

/// The first byte of a list of structs.
const STRUCTS: u8 = 12;

type Read<T> = Result<T, thrift::Malformed>;

pub(in crate::zipkin) fn read(bytes: &[u8]) -> Result<Vec<Span>, Malformed> {
    // A list of something else would be passed over, and its sender would believe that it was taken.
    match bytes.first() {
        Some(&STRUCTS) | None => {}
        Some(&first) => return Err(Malformed::NoThriftList { first }),
    }
    let mut spans = Vec::new();
    let mut reader = Reader::new(Protocol::Binary, bytes);
    reader.list(Kind::Struct, |reader| {
        spans.push(read_span(reader)?);
        Ok(())
    })?;
    let mut read = Vec::with_capacity(spans.len());
    for (index, span) in spans.into_iter().enumerate() {
        let fault = match (span.trace_id.is_zero(), span.id.is_zero()) {
            (true, _) => Some(SpanFault::ZeroTraceId),
            (false, true) => Some(SpanFault::ZeroSpanId),
            (false, false) => None,
        };
        if let Some(fault) = fault {
            return Err(Malformed::Span { index, fault });
        }
        read.extend(span.into_spans());
    }
    Ok(read)
}

fn read_span(reader: &mut Reader<'_>) -> Read<SpanV1> {
    let (mut high, mut low, mut id, mut parent_id) = (0, 0, 0, 0);
    let mut span = SpanV1 {
        trace_id: TraceId::new([0; 16]),
        id: SpanId::new([0; 8]),
        parent_id: None,
        name: String::new(),
        timestamp_us: 0,
        duration_us: 0,
        debug: false,
        annotations: Vec::new(),
        binary_annotations: Vec::new(),
    };
    reader.fields(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => low = reader.i64()?,
            (3, Kind::Binary) => span.name = reader.text()?.into_owned(),
            (4, Kind::I64) => id = reader.i64()?,
            (5, Kind::I64) => parent_id = reader.i64()?,
            (6, Kind::List) => reader.list(Kind::Struct, |reader| {
                span.annotations.push(read_annotation(reader)?);
                Ok(())
            })?,
            (8, Kind::List) => reader.list(Kind::Struct, |reader| {
                span.binary_annotations.push(read_binary_annotation(reader)?);
                Ok(())
            })?,
            (9, Kind::Bool) => span.debug = reader.bool()?,
            (10, Kind::I64) => span.timestamp_us = micros(reader.i64()?),
            (11, Kind::I64) => span.duration_us = micros(reader.i64()?),
            (12, Kind::I64) => high = reader.i64()?,
            (_, kind) => reader.skip(kind)?,
        }
        Ok(())
    })?;
    let trace_id = (u128::from(high.cast_unsigned()) << 64) | u128::from(low.cast_unsigned());
    span.trace_id = TraceId::new(trace_id.to_be_bytes());
    span.id = SpanId::new(id.to_be_bytes());
    span.parent_id = Some(SpanId::new(parent_id.to_be_bytes())).filter(|id| !id.is_zero());
    Ok(span)
}

/// A time before 1970 is none.
fn micros(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn read_annotation(reader: &mut Reader<'_>) -> Read<AnnotationV1> {
    let mut annotation = AnnotationV1 { timestamp_us: 0, value: String::new(), host: Endpoint::default() };
    reader.fields(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => annotation.timestamp_us = micros(reader.i64()?),
            (2, Kind::Binary) => annotation.value = reader.text()?.into_owned(),
            (3, Kind::Struct) => annotation.host = read_endpoint(reader)?,
            (_, kind) => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(annotation)
}

fn read_binary_annotation(reader: &mut Reader<'_>) -> Read<BinaryAnnotation> {
    let (mut key, mut bytes, mut number, mut host) = (String::new(), &[][..], 0, Endpoint::default());
    reader.fields(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::Binary) => key = reader.text()?.into_owned(),
            (2, Kind::Binary) => bytes = reader.bytes()?,
            (3, Kind::I32) => number = reader.i32()?,
            (4, Kind::Struct) => host = read_endpoint(reader)?,
            (_, kind) => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(BinaryAnnotation { key, value: value(number, bytes), host })
}

/// The value of `AnnotationType`. What is too short for its type, and bytes, become base64.
fn value(number: i32, bytes: &[u8]) -> Value {
    let known = match number {
        0 => Some(Value::Bool(bytes == [1])),
        2 => array(bytes).map(i16::from_be_bytes).map(|value| Value::Int(value.into())),
        3 => array(bytes).map(i32::from_be_bytes).map(|value| Value::Int(value.into())),
        4 => array(bytes).map(i64::from_be_bytes).map(Value::Int),
        5 => array(bytes).map(f64::from_be_bytes).map(Value::Double),
        6 => Some(Value::Text(String::from_utf8_lossy(bytes).into_owned())),
        _ => None,
    };
    known.unwrap_or_else(|| Value::Text(STANDARD.encode(bytes)))
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn read_endpoint(reader: &mut Reader<'_>) -> Read<Endpoint> {
    let mut endpoint = Endpoint::default();
    reader.fields(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::I32) => {
                let address = Ipv4Addr::from(reader.i32()?.cast_unsigned());
                endpoint.ipv4 = Some(address).filter(|address| !address.is_unspecified());
            }
            (2, Kind::I16) => endpoint.port = reader.i16()?.cast_unsigned(),
            (3, Kind::Binary) => endpoint.service = reader.text()?.into_owned(),
            (4, Kind::Binary) => {
                if let Some(bytes) = array::<16>(reader.bytes()?) {
                    endpoint.set_ip(IpAddr::V6(Ipv6Addr::from(bytes)));
                }
            }
            (_, kind) => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(endpoint)
}
