//! `jaeger.api_v2`: `PostSpansRequest` of `collector.proto` and what is in it, of `model.proto`.
//!
//! Read as a walk over the fields, so that what is held is in proportion to what was sent: an empty message takes two
//! bytes on the wire and hundreds as a struct.

use std::borrow::Cow;
use std::collections::HashMap;

use otlp::encode::TracesEncoder;
use otlp::view::ResourceSpansView;
use otlp::wire::{
    Field, FieldValue, Fields, OpenField, length_field_size, write_bytes_field, write_double_field,
    write_length_header, write_varint_field,
};
use otlp::{Batch, SpanId, TraceId};

use super::group::{Group, NAMES, Scope, VERSIONS};
use super::model::{Log, Process, Reference, ReferenceKind, Span, Tag, Value, duration_ns, unix_ns};
use super::{Malformed, PostSpans, from_otlp, to_otlp};

// === Reading ===

/// A field of a message that has a name.
struct Known<'a> {
    message: &'static str,
    number: u32,
    start: usize,
    value: FieldValue<'a>,
}

impl<'a> Known<'a> {
    fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            FieldValue::Length(bytes) => Ok(bytes),
            _ => Err(self.wrong_type()),
        }
    }

    fn text(&self) -> Result<Cow<'a, str>, Malformed> {
        self.bytes().map(String::from_utf8_lossy)
    }

    fn varint(&self) -> Result<u64, Malformed> {
        match self.value {
            FieldValue::Varint(value) => Ok(value),
            _ => Err(self.wrong_type()),
        }
    }

    fn double(&self) -> Result<f64, Malformed> {
        match self.value {
            FieldValue::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(self.wrong_type()),
        }
    }

    fn wrong_type(&self) -> Malformed {
        Malformed::Proto { message: self.message, offset: self.start }
    }
}

/// Calls `read` with each field of a message, which has to be well formed to its end.
fn fields<'a>(
    name: &'static str,
    message: &'a [u8],
    mut read: impl FnMut(Known<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut fields = Fields::new(message);
    for Field { number, value, start, .. } in fields.by_ref() {
        read(Known { message: name, number, start, value })?;
    }
    match fields.position() == message.len() {
        true => Ok(()),
        false => Err(Malformed::Proto { message: name, offset: fields.position() }),
    }
}

/// The process and the spans of a request, still as bytes.
#[derive(Default)]
struct Raw<'a> {
    process: Option<&'a [u8]>,
    spans: Vec<&'a [u8]>,
}

fn read_raw(request: &[u8]) -> Result<Raw<'_>, Malformed> {
    let mut raw = Raw::default();
    fields("PostSpansRequest", request, |field| match field.number {
        1 => read_raw_batch(&mut raw, field.bytes()?),
        _ => Ok(()),
    })?;
    Ok(raw)
}

fn read_raw_batch<'a>(raw: &mut Raw<'a>, batch: &'a [u8]) -> Result<(), Malformed> {
    fields("Batch", batch, |field| {
        match field.number {
            // A span of which nothing is set is none, as for the Collector.
            1 => raw.spans.extend(Some(field.bytes()?).filter(|span| !span.is_empty())),
            2 => raw.process = Some(field.bytes()?),
            _ => {}
        }
        Ok(())
    })
}

/// The spans of one process, both still as bytes.
type RawGroup<'a> = (Option<&'a [u8]>, Group<'a, &'a [u8]>);

pub(super) fn read_request(request: &[u8]) -> Result<Batch, Malformed> {
    let raw = read_raw(request)?;
    // A span may name a process of its own, which takes priority over the batch's.
    let mut groups: Vec<RawGroup<'_>> = vec![(raw.process, Group::default())];
    let mut places: HashMap<&[u8], usize> = raw.process.into_iter().map(|process| (process, 0)).collect();
    for span in raw.spans {
        let (scope, process) = read_belonging(span)?;
        // The batch's process is not looked up for each span: it may be large.
        let place = process.map_or(0, |process| {
            *places.entry(process).or_insert_with(|| {
                groups.push((Some(process), Group::default()));
                groups.len() - 1
            })
        });
        groups[place].1.push(scope, span);
    }
    let mut out = TracesEncoder::with_capacity(request.len() + request.len() / 4);
    for (process, group) in &groups {
        let process = process.map(read_process).transpose()?;
        to_otlp::write_group(&mut out, process.as_ref(), group, |out, span| {
            to_otlp::write_span(out, &read_span(span)?);
            Ok::<(), Malformed>(())
        })?;
    }
    Ok(out.finish())
}

/// What a span belongs to: its scope and its own process.
fn read_belonging(span: &[u8]) -> Result<(Scope<'_>, Option<&[u8]>), Malformed> {
    let mut process = None;
    let mut found: [Option<Cow<'_, str>>; 4] = Default::default();
    fields("Span", span, |field| {
        match field.number {
            8 => {
                let tag = field.bytes()?;
                let key = Fields::new(tag).find(|field| field.number == 1).map(|field| field.value.bytes());
                let is_key = |name: &str| Some(name.as_bytes()) == key;
                if let Some(place) = NAMES.into_iter().chain(VERSIONS).position(is_key) {
                    let Value::Text(text) = read_tag(tag)?.value else { return Ok(()) };
                    found[place] = Some(text);
                }
            }
            10 => process = Some(field.bytes()?),
            _ => {}
        }
        Ok(())
    })?;
    let [scope_name, library_name, scope_version, library_version] = found;
    let name = scope_name.or(library_name).unwrap_or_default();
    let version = scope_version.or(library_version).unwrap_or_default();
    Ok((Scope { name, version }, process))
}

fn read_process(message: &[u8]) -> Result<Process<'_>, Malformed> {
    let mut process = Process::default();
    fields("Process", message, |field| {
        match field.number {
            1 => process.service_name = field.text()?,
            2 => push_tag(&mut process.tags, field.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(process)
}

fn read_span(message: &[u8]) -> Result<Span<'_>, Malformed> {
    let mut span = Span::default();
    fields("Span", message, |field| {
        match field.number {
            1 => span.trace_id = trace_id("Span.trace_id", field.bytes()?)?,
            2 => span.span_id = span_id("Span.span_id", field.bytes()?)?,
            3 => span.operation_name = field.text()?,
            4 => {
                let reference = read_reference(field.bytes()?)?;
                span.references.extend(Some(reference).filter(|reference| !reference.span_id.is_zero()));
            }
            5 => span.flags = field.varint()? as u32,
            6 => {
                let (seconds, nanos) = read_time("Timestamp", field.bytes()?)?;
                span.start_unix_ns = unix_ns(seconds, nanos);
            }
            7 => {
                let (seconds, nanos) = read_time("Duration", field.bytes()?)?;
                span.duration_ns = duration_ns(seconds, nanos);
            }
            8 => push_tag(&mut span.tags, field.bytes()?)?,
            9 => span.logs.push(read_log(field.bytes()?)?),
            12 => span.warnings.push(field.text()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(span)
}

/// A 128-bit id, or one of 64 bits from times when there were no others.
fn trace_id(field: &'static str, bytes: &[u8]) -> Result<TraceId, Malformed> {
    let mut id = [0; TraceId::SIZE];
    match bytes.len() {
        0 => {}
        8 => id[8..].copy_from_slice(bytes),
        TraceId::SIZE => id.copy_from_slice(bytes),
        length => return Err(Malformed::IdLength { field, length }),
    }
    Ok(TraceId::new(id))
}

fn span_id(field: &'static str, bytes: &[u8]) -> Result<SpanId, Malformed> {
    match bytes {
        [] => Ok(SpanId::new([0; SpanId::SIZE])),
        _ => SpanId::from_slice(bytes).ok_or(Malformed::IdLength { field, length: bytes.len() }),
    }
}

fn read_reference(message: &[u8]) -> Result<Reference, Malformed> {
    let (trace_zeros, span_zeros) = (TraceId::new([0; TraceId::SIZE]), SpanId::new([0; SpanId::SIZE]));
    let mut reference = Reference { kind: ReferenceKind::ChildOf, trace_id: trace_zeros, span_id: span_zeros };
    fields("SpanRef", message, |field| {
        match field.number {
            1 => reference.trace_id = trace_id("SpanRef.trace_id", field.bytes()?)?,
            2 => reference.span_id = span_id("SpanRef.span_id", field.bytes()?)?,
            3 if field.varint()? == 0 => reference.kind = ReferenceKind::ChildOf,
            3 => reference.kind = ReferenceKind::FollowsFrom,
            _ => {}
        }
        Ok(())
    })?;
    Ok(reference)
}

/// `google.protobuf.Timestamp` and `Duration`: seconds and nanoseconds.
fn read_time(name: &'static str, message: &[u8]) -> Result<(i64, i32), Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    fields(name, message, |field| {
        match field.number {
            1 => seconds = field.varint()? as i64,
            2 => nanos = field.varint()? as i32,
            _ => {}
        }
        Ok(())
    })?;
    Ok((seconds, nanos))
}

fn read_log(message: &[u8]) -> Result<Log<'_>, Malformed> {
    let mut log = Log::default();
    fields("Log", message, |field| {
        match field.number {
            1 => {
                let (seconds, nanos) = read_time("Timestamp", field.bytes()?)?;
                log.time_unix_ns = unix_ns(seconds, nanos);
            }
            2 => push_tag(&mut log.fields, field.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(log)
}

/// Without a key a tag has no place in OTLP, and no reason to take memory here.
fn push_tag<'a>(tags: &mut Vec<Tag<'a>>, message: &'a [u8]) -> Result<(), Malformed> {
    let tag = read_tag(message)?;
    if !tag.key.is_empty() {
        tags.push(tag);
    }
    Ok(())
}

fn read_tag(message: &[u8]) -> Result<Tag<'_>, Malformed> {
    let mut key = Cow::default();
    let (mut kind, mut string, mut flag, mut int, mut float, mut binary) = (0, Cow::default(), false, 0, 0.0, &[][..]);
    fields("KeyValue", message, |field| {
        match field.number {
            1 => key = field.text()?,
            2 => kind = field.varint()? as i32,
            3 => string = field.text()?,
            4 => flag = field.varint()? != 0,
            5 => int = field.varint()? as i64,
            6 => float = field.double()?,
            7 => binary = field.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    let value = match kind {
        0 => Value::Text(string),
        1 => Value::Bool(flag),
        2 => Value::Int(int),
        3 => Value::Double(float),
        4 => Value::Binary(binary),
        number => Value::Unknown(number),
    };
    Ok(Tag { key, value })
}

// === Writing ===

/// The requests of one process in the making.
struct Open {
    process: Vec<u8>,
    /// The spans of the current request, as fields of its `Batch`.
    spans: Vec<u8>,
    items: u32,
}

pub(super) fn write_requests(batch: &Batch, size_bytes_max: usize) -> Vec<PostSpans> {
    let mut full = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    // Batches that were put together repeat their resources.
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    for block in batch.traces().into_iter().flat_map(|traces| traces.resource_spans()) {
        let mut process = Vec::new();
        write_process(&mut process, &from_otlp::process(block.resource()));
        let place = *places.entry(process).or_insert_with_key(|process| {
            open.push(Open { process: process.clone(), spans: Vec::new(), items: 0 });
            open.len() - 1
        });
        open[place].append(block, size_bytes_max, &mut full);
    }
    full.extend(open.iter_mut().filter_map(Open::cut));
    full
}

impl Open {
    fn append(&mut self, block: ResourceSpansView<'_>, size_bytes_max: usize, full: &mut Vec<PostSpans>) {
        for scope in block.scope_spans() {
            for span in scope.spans() {
                let start = self.spans.len();
                let field = OpenField::begin(&mut self.spans, 1, 512);
                write_span(&mut self.spans, &from_otlp::span(span, scope.scope()));
                field.end(&mut self.spans);
                let batch = self.spans.len() + self.process.len();
                if self.items > 0 && length_field_size(1, batch) > size_bytes_max {
                    let last = self.spans.split_off(start);
                    full.extend(self.cut());
                    self.spans = last;
                }
                self.items += 1;
            }
        }
    }

    /// What was collected, as a request.
    fn cut(&mut self) -> Option<PostSpans> {
        if self.items == 0 {
            return None;
        }
        let batch = self.spans.len() + self.process.len();
        let mut body = Vec::with_capacity(length_field_size(1, batch));
        write_length_header(&mut body, 1, batch);
        body.append(&mut self.spans);
        body.extend_from_slice(&self.process);
        Some(PostSpans { body, items: std::mem::take(&mut self.items) })
    }
}

/// Appends `Batch.process`.
fn write_process(out: &mut Vec<u8>, process: &Process<'_>) {
    message(out, 2, |out| {
        write_text(out, 1, &process.service_name);
        write_tags(out, 2, &process.tags);
    });
}

fn message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let field = OpenField::begin(out, number, 0);
    write(out);
    field.end(out);
}

fn write_text(out: &mut Vec<u8>, number: u32, text: &str) {
    if !text.is_empty() {
        write_bytes_field(out, number, text.as_bytes());
    }
}

fn write_number(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        write_varint_field(out, number, value);
    }
}

fn write_span(out: &mut Vec<u8>, span: &Span<'_>) {
    // Jaeger reads ids of their full length only, zeros included.
    write_bytes_field(out, 1, span.trace_id.as_bytes());
    write_bytes_field(out, 2, span.span_id.as_bytes());
    write_text(out, 3, &span.operation_name);
    for reference in &span.references {
        message(out, 4, |out| {
            write_bytes_field(out, 1, reference.trace_id.as_bytes());
            write_bytes_field(out, 2, reference.span_id.as_bytes());
            write_number(out, 3, u64::from(reference.kind == ReferenceKind::FollowsFrom));
        });
    }
    write_number(out, 5, span.flags.into());
    message(out, 6, |out| write_timestamp(out, span.start_unix_ns));
    message(out, 7, |out| {
        // Both parts bear the sign.
        write_number(out, 1, (span.duration_ns / 1_000_000_000) as u64);
        write_number(out, 2, (span.duration_ns % 1_000_000_000) as u64);
    });
    write_tags(out, 8, &span.tags);
    for log in &span.logs {
        message(out, 9, |out| {
            message(out, 1, |out| write_timestamp(out, log.time_unix_ns));
            write_tags(out, 2, &log.fields);
        });
    }
    span.warnings.iter().for_each(|warning| write_bytes_field(out, 12, warning.as_bytes()));
}

fn write_timestamp(out: &mut Vec<u8>, unix_ns: u64) {
    write_number(out, 1, unix_ns / 1_000_000_000);
    write_number(out, 2, unix_ns % 1_000_000_000);
}

fn write_tags(out: &mut Vec<u8>, number: u32, tags: &[Tag<'_>]) {
    for tag in tags {
        message(out, number, |out| {
            write_text(out, 1, &tag.key);
            write_value(out, &tag.value);
        });
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Text(text) => write_text(out, 3, text),
        Value::Bool(value) => {
            write_varint_field(out, 2, 1);
            write_number(out, 4, u64::from(*value));
        }
        Value::Int(value) => {
            write_varint_field(out, 2, 2);
            write_number(out, 5, *value as u64);
        }
        Value::Double(value) => {
            write_varint_field(out, 2, 3);
            write_double_field(out, 6, *value);
        }
        Value::Binary(bytes) => {
            write_varint_field(out, 2, 4);
            write_bytes_field(out, 7, bytes);
        }
        Value::Unknown(number) => write_varint_field(out, 2, i64::from(*number) as u64),
    }
}
