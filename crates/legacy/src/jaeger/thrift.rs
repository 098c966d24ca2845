//! `jaeger.thrift` and `agent.thrift`.

use otlp::encode::TracesEncoder;
use otlp::{Batch, SpanId, TraceId};

use super::group::Group;
use super::model::{Log, Process, Reference, ReferenceKind, Span, Tag, Value};
use super::{Malformed, from_otlp, to_otlp};
use crate::thrift::{self, FieldsWriter, Kind, MessageKind, Protocol, Reader, Writer};

type Read<T> = Result<T, thrift::Malformed>;

const METHOD: &str = "emitBatch";

/// How much of a foreign method's name is told, in characters.
const METHOD_TOLD_MAX: usize = 40;

// === Reading ===

pub(super) fn read_message(message: &[u8], protocol: Protocol) -> Result<Batch, Malformed> {
    let mut reader = Reader::new(protocol, message);
    let name = reader.message()?.name;
    if name != METHOD {
        return Err(Malformed::Method { name: name.chars().take(METHOD_TOLD_MAX).collect() });
    }
    let mut batch = None;
    reader.fields(|reader, field| match (field.id, field.kind) {
        (1, Kind::Struct) => {
            batch = Some(read_batch(reader)?);
            Ok(())
        }
        _ => reader.skip(field.kind),
    })?;
    Ok(reader.required(batch, "batch")?)
}

/// Reads a `Batch`. Everything but the spans' texts and bytes is read once, and these are borrowed.
pub(super) fn read_batch(reader: &mut Reader<'_>) -> Read<Batch> {
    let size_bytes = reader.rest().len();
    let (mut process, mut spans) = (None, None);
    reader.fields(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::Struct) => process = Some(read_process(reader)?),
            (2, Kind::List) => {
                let mut group = Group::default();
                reader.list(Kind::Struct, |reader| {
                    let span = read_span(reader)?;
                    group.push(to_otlp::scope(&span.tags), span);
                    Ok(())
                })?;
                spans = Some(group);
            }
            _ => reader.skip(field.kind)?,
        }
        Ok(())
    })?;
    let process = reader.required(process, "Batch.process")?;
    let spans = reader.required(spans, "Batch.spans")?;
    let mut out = TracesEncoder::with_capacity(size_bytes + size_bytes / 4);
    to_otlp::write_group(&mut out, Some(&process), &spans, |out, span| {
        to_otlp::write_span(out, span);
        Ok(())
    })?;
    Ok(out.finish())
}

fn read_process<'a>(reader: &mut Reader<'a>) -> Read<Process<'a>> {
    let (mut service_name, mut tags) = (None, Vec::new());
    reader.fields(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::Binary) => service_name = Some(reader.text()?),
            (2, Kind::List) => tags = read_tags(reader)?,
            _ => reader.skip(field.kind)?,
        }
        Ok(())
    })?;
    Ok(Process { service_name: reader.required(service_name, "Process.serviceName")?, tags })
}

/// The fields of a span that are numbers, by their ids from 1 on.
#[derive(Default)]
struct Numbers {
    trace_low: Option<i64>,
    trace_high: Option<i64>,
    span: Option<i64>,
    parent: Option<i64>,
    flags: Option<i32>,
    start_us: Option<i64>,
    duration_us: Option<i64>,
}

fn read_span<'a>(reader: &mut Reader<'a>) -> Read<Span<'a>> {
    let mut numbers = Numbers::default();
    let mut name = None;
    let mut span = Span::default();
    reader.fields(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => numbers.trace_low = Some(reader.i64()?),
            (2, Kind::I64) => numbers.trace_high = Some(reader.i64()?),
            (3, Kind::I64) => numbers.span = Some(reader.i64()?),
            (4, Kind::I64) => numbers.parent = Some(reader.i64()?),
            (5, Kind::Binary) => name = Some(reader.text()?),
            (6, Kind::List) => span.references = read_references(reader)?,
            (7, Kind::I32) => numbers.flags = Some(reader.i32()?),
            (8, Kind::I64) => numbers.start_us = Some(reader.i64()?),
            (9, Kind::I64) => numbers.duration_us = Some(reader.i64()?),
            (10, Kind::List) => span.tags = read_tags(reader)?,
            (11, Kind::List) => span.logs = read_logs(reader)?,
            _ => reader.skip(field.kind)?,
        }
        Ok(())
    })?;
    let low = reader.required(numbers.trace_low, "Span.traceIdLow")?;
    let high = reader.required(numbers.trace_high, "Span.traceIdHigh")?;
    span.trace_id = trace_id(high, low);
    span.span_id = span_id(reader.required(numbers.span, "Span.spanId")?);
    span.parent_span_id = span_id(reader.required(numbers.parent, "Span.parentSpanId")?);
    span.operation_name = reader.required(name, "Span.operationName")?;
    span.flags = reader.required(numbers.flags, "Span.flags")?.cast_unsigned();
    span.start_unix_ns = unix_ns(reader.required(numbers.start_us, "Span.startTime")?);
    span.duration_ns = reader.required(numbers.duration_us, "Span.duration")?.saturating_mul(1000);
    Ok(span)
}

fn trace_id(high: i64, low: i64) -> TraceId {
    let mut id = [0; TraceId::SIZE];
    id[..8].copy_from_slice(&high.to_be_bytes());
    id[8..].copy_from_slice(&low.to_be_bytes());
    TraceId::new(id)
}

fn span_id(id: i64) -> SpanId {
    SpanId::new(id.to_be_bytes())
}

/// What lies before the epoch is set to it.
fn unix_ns(us: i64) -> u64 {
    u64::try_from(us).unwrap_or(0).saturating_mul(1000)
}

fn read_references(reader: &mut Reader<'_>) -> Read<Vec<Reference>> {
    let mut references = Vec::new();
    reader.list(Kind::Struct, |reader| {
        let (mut kind, mut low, mut high, mut span) = (None, None, None, None);
        reader.fields(|reader, field| {
            match (field.id, field.kind) {
                (1, Kind::I32) => kind = Some(reader.i32()?),
                (2, Kind::I64) => low = Some(reader.i64()?),
                (3, Kind::I64) => high = Some(reader.i64()?),
                (4, Kind::I64) => span = Some(reader.i64()?),
                _ => reader.skip(field.kind)?,
            }
            Ok(())
        })?;
        let kind = match reader.required(kind, "SpanRef.refType")? {
            0 => ReferenceKind::ChildOf,
            _ => ReferenceKind::FollowsFrom,
        };
        let low = reader.required(low, "SpanRef.traceIdLow")?;
        let trace_id = trace_id(reader.required(high, "SpanRef.traceIdHigh")?, low);
        let span_id = span_id(reader.required(span, "SpanRef.spanId")?);
        if !span_id.is_zero() {
            references.push(Reference { kind, trace_id, span_id });
        }
        Ok(())
    })?;
    Ok(references)
}

fn read_logs<'a>(reader: &mut Reader<'a>) -> Read<Vec<Log<'a>>> {
    let mut logs = Vec::new();
    reader.list(Kind::Struct, |reader| {
        let (mut time_us, mut tags) = (None, None);
        reader.fields(|reader, field| {
            match (field.id, field.kind) {
                (1, Kind::I64) => time_us = Some(reader.i64()?),
                (2, Kind::List) => tags = Some(read_tags(reader)?),
                _ => reader.skip(field.kind)?,
            }
            Ok(())
        })?;
        let time_unix_ns = unix_ns(reader.required(time_us, "Log.timestamp")?);
        logs.push(Log { time_unix_ns, fields: reader.required(tags, "Log.fields")? });
        Ok(())
    })?;
    Ok(logs)
}

fn read_tags<'a>(reader: &mut Reader<'a>) -> Read<Vec<Tag<'a>>> {
    let mut tags = Vec::new();
    reader.list(Kind::Struct, |reader| {
        let tag = read_tag(reader)?;
        if !tag.key.is_empty() {
            tags.push(tag);
        }
        Ok(())
    })?;
    Ok(tags)
}

fn read_tag<'a>(reader: &mut Reader<'a>) -> Read<Tag<'a>> {
    let (mut key, mut kind) = (None, None);
    let (mut string, mut double, mut flag, mut long, mut binary) = (None, 0.0, false, 0, &[][..]);
    reader.fields(|reader, field| {
        match (field.id, field.kind) {
            (1, Kind::Binary) => key = Some(reader.text()?),
            (2, Kind::I32) => kind = Some(reader.i32()?),
            (3, Kind::Binary) => string = Some(reader.text()?),
            (4, Kind::Double) => double = reader.double()?,
            (5, Kind::Bool) => flag = reader.bool()?,
            (6, Kind::I64) => long = reader.i64()?,
            (7, Kind::Binary) => binary = reader.bytes()?,
            _ => reader.skip(field.kind)?,
        }
        Ok(())
    })?;
    let key = reader.required(key, "Tag.key")?;
    let value = match reader.required(kind, "Tag.vType")? {
        0 => Value::Text(string.unwrap_or_default()),
        1 => Value::Double(double),
        2 => Value::Bool(flag),
        3 => Value::Int(long),
        4 => Value::Binary(binary),
        number => Value::Unknown(number),
    };
    Ok(Tag { key, value })
}

// === Writing ===

/// What stands around a `Batch`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Envelope {
    /// Nothing, as over HTTP.
    None,
    /// A message for the method, as in datagrams.
    EmitBatch,
}

pub(super) fn write(batch: &Batch, protocol: Protocol, envelope: Envelope) -> Vec<Vec<u8>> {
    let blocks = batch.traces().into_iter().flat_map(|traces| traces.resource_spans());
    let write = blocks.map(|block| {
        let process = from_otlp::process(block.resource());
        let scopes = block.scope_spans();
        let spans: Vec<Span<'_>> =
            scopes.flat_map(|scope| scope.spans().map(move |span| from_otlp::span(span, scope.scope()))).collect();
        let mut out = Writer::new(protocol);
        match envelope {
            Envelope::None => out.fields(|out| write_batch(out, &process, &spans)),
            Envelope::EmitBatch => {
                out.message(METHOD, MessageKind::Oneway, 0);
                out.fields(|arguments| arguments.fields(1, |out| write_batch(out, &process, &spans)));
            }
        }
        out.finish()
    });
    write.collect()
}

fn write_batch(out: &mut FieldsWriter<'_>, process: &Process<'_>, spans: &[Span<'_>]) {
    out.fields(1, |out| {
        out.string(1, &process.service_name);
        write_tags(out, 2, &process.tags);
    });
    out.list(2, Kind::Struct, spans, |out, span| out.fields(|out| write_span(out, span)));
}

fn write_span(out: &mut FieldsWriter<'_>, span: &Span<'_>) {
    let (high, low) = halves(span.trace_id);
    out.i64(1, low);
    out.i64(2, high);
    out.i64(3, i64::from_be_bytes(*span.span_id.as_bytes()));
    out.i64(4, i64::from_be_bytes(*span.parent_span_id.as_bytes()));
    out.string(5, &span.operation_name);
    // The parent has a field of its own.
    let is_parent = |reference: &&Reference| {
        reference.kind == ReferenceKind::ChildOf
            && reference.trace_id == span.trace_id
            && reference.span_id == span.parent_span_id
    };
    let said = span.references.first().filter(is_parent).map_or(0, |_| 1);
    out.list(6, Kind::Struct, &span.references[said..], |out, reference| {
        out.fields(|out| {
            let (high, low) = halves(reference.trace_id);
            out.i32(1, i32::from(reference.kind == ReferenceKind::FollowsFrom));
            out.i64(2, low);
            out.i64(3, high);
            out.i64(4, i64::from_be_bytes(*reference.span_id.as_bytes()));
        });
    });
    out.i32(7, span.flags.cast_signed());
    out.i64(8, (span.start_unix_ns / 1000) as i64);
    out.i64(9, span.duration_ns / 1000);
    write_tags(out, 10, &span.tags);
    out.list(11, Kind::Struct, &span.logs, |out, log| {
        out.fields(|out| {
            out.i64(1, (log.time_unix_ns / 1000) as i64);
            write_tags(out, 2, &log.fields);
        });
    });
}

fn halves(id: TraceId) -> (i64, i64) {
    let both = i128::from_be_bytes(*id.as_bytes());
    ((both >> 64) as i64, both as i64)
}

fn write_tags(out: &mut FieldsWriter<'_>, id: i16, tags: &[Tag<'_>]) {
    out.list(id, Kind::Struct, tags, |out, tag| {
        out.fields(|out| {
            out.string(1, &tag.key);
            match &tag.value {
                Value::Text(text) => {
                    out.i32(2, 0);
                    out.string(3, text);
                }
                Value::Double(value) => {
                    out.i32(2, 1);
                    out.double(4, *value);
                }
                Value::Bool(value) => {
                    out.i32(2, 2);
                    out.bool(5, *value);
                }
                Value::Int(value) => {
                    out.i32(2, 3);
                    out.i64(6, *value);
                }
                Value::Binary(bytes) => {
                    out.i32(2, 4);
                    out.bytes(7, bytes);
                }
                Value::Unknown(number) => out.i32(2, *number),
            }
        });
    });
}
