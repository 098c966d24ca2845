//! Spans.

use otlp::encode::{AttributesWriter, SpanWriter, TracesEncoder};
use otlp::{Batch, SpanId, SpanKind, StatusCode, TraceId};

use super::proto::{Attributes, Link, MessageEvent, Span, TimeEvent, Tracestate, TracestateEntry, Value, unix_nano};
use super::resource::Described;
use super::{Budget, Malformed, Stream, read};

const SPAN_KIND: &str = "span.kind";
const STATUS_CODE: &str = "otel.status_code";
const SAME_PROCESS: &str = "opencensus.same_process_as_parent_span";

/// The spans of the stream's resource in one block, and each span that has a resource of its own in another.
pub(super) fn batch<'a, I>(stream: &Stream, spans: &dyn Fn() -> I) -> Result<Batch, Malformed>
where
    I: Iterator<Item = &'a [u8]>,
{
    let mut encoder = TracesEncoder::new();
    let mut budget = Budget::new();
    let mut own: Vec<usize> = Vec::new();
    let mut common = spans().enumerate().peekable();
    if common.peek().is_some() {
        encoder.resource_spans(|block| {
            let described = Described::new(stream.node.as_ref(), stream.resource.as_ref());
            block.resource(|out| described.write(out));
            block.scope_spans(|scope| {
                common.try_for_each(|(index, bytes)| {
                    let span: Span = read("span", index, bytes)?;
                    match span.resource {
                        Some(_) => own.push(index),
                        None => scope.span(|out| write_span(index, span, out))?,
                    }
                    Ok(())
                })
            })
        })?;
    }
    let mut left = own.into_iter().peekable();
    for (index, bytes) in spans().enumerate() {
        if left.next_if_eq(&index).is_none() {
            continue;
        }
        let span: Span = read("span", index, bytes)?;
        let described = Described::new(stream.node.as_ref(), span.resource.as_ref());
        budget.take(described.size_bytes())?;
        encoder.resource_spans(|block| {
            block.resource(|out| described.write(out));
            block.scope_spans(|scope| scope.span(|out| write_span(index, span, out)))
        })?;
    }
    Ok(if encoder.items() == 0 { Batch::empty(otlp::Signal::Traces) } else { encoder.finish() })
}

fn write_span(index: usize, mut span: Span, out: &mut SpanWriter<'_>) -> Result<(), Malformed> {
    out.trace_id(TraceId::new(sized(&span.trace_id))).span_id(SpanId::new(sized(&span.span_id)));
    out.trace_state(&trace_state(index, span.tracestate.as_ref())?);
    if !span.parent_span_id.is_empty() {
        out.parent_span_id(SpanId::new(sized(&span.parent_span_id)));
    }
    out.name(span.name.as_ref().map_or("", |name| &name.value));
    let kind = take_kind(span.kind, span.attributes.as_mut());
    let status = take_status(&mut span);
    out.kind(kind);
    out.start_time_unix_nano(unix_nano(span.start_time)).end_time_unix_nano(unix_nano(span.end_time));
    if let Some(same) = span.same_process_as_parent_span {
        let attributes = span.attributes.get_or_insert_default();
        attributes.attribute_map.entry(SAME_PROCESS.to_owned()).or_default().value = Some(Value::Bool(same.value));
    }
    let dropped = write_attributes(span.attributes.as_ref(), &mut out.attributes());
    out.dropped_attributes_count(dropped);
    let events = span.time_events.unwrap_or_default();
    for bytes in &events.time_event {
        write_event(&read("span", index, bytes)?, out);
    }
    out.dropped_events_count(sum(events.dropped_annotations_count, events.dropped_message_events_count));
    let links = span.links.unwrap_or_default();
    for bytes in &links.link {
        let link: Link = read("span", index, bytes)?;
        let trace_state = trace_state(index, link.tracestate.as_ref())?;
        out.link(|out| {
            out.trace_id(TraceId::new(sized(&link.trace_id))).span_id(SpanId::new(sized(&link.span_id)));
            out.trace_state(&trace_state);
            let dropped = write_attributes(link.attributes.as_ref(), &mut out.attributes());
            out.dropped_attributes_count(dropped);
        });
    }
    out.dropped_links_count(sum(links.dropped_links_count, 0));
    if let Some((code, message)) = status {
        out.status(|out| {
            out.message(&message).code(code);
        });
    }
    Ok(())
}

/// An id, cut or filled with zeros where it has another length.
fn sized<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut id = [0; N];
    id.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    id
}

/// Counts that are below zero count nothing.
fn sum(first: i32, second: i32) -> u32 {
    first.max(0).cast_unsigned() + second.max(0).cast_unsigned()
}

/// W3C Trace Context, "tracestate".
fn trace_state(index: usize, tracestate: Option<&Tracestate>) -> Result<String, Malformed> {
    let mut text = String::new();
    for bytes in tracestate.into_iter().flat_map(|tracestate| &tracestate.entries) {
        let TracestateEntry { key, value } = read("span", index, bytes)?;
        if !text.is_empty() {
            text.push(',');
        }
        text.extend([key.as_str(), "=", value.as_str()]);
    }
    Ok(text)
}

fn take_kind(kind: i32, attributes: Option<&mut Attributes>) -> SpanKind {
    match kind {
        1 => return SpanKind::Server,
        2 => return SpanKind::Client,
        _ => {}
    }
    // Kinds that OpenCensus does not have, as the Collector's exporter writes them.
    let Some(attributes) = attributes else { return SpanKind::Unspecified };
    let kind = match attributes.attribute_map.get(SPAN_KIND).and_then(|value| value.value.as_ref()) {
        Some(Value::String(text)) => match text.value.as_str() {
            "consumer" => SpanKind::Consumer,
            "producer" => SpanKind::Producer,
            "internal" => SpanKind::Internal,
            _ => SpanKind::Unspecified,
        },
        _ => SpanKind::Unspecified,
    };
    if kind != SpanKind::Unspecified {
        attributes.attribute_map.remove(SPAN_KIND);
    }
    kind
}

fn take_status(span: &mut Span) -> Option<(StatusCode, String)> {
    let status = span.status.take()?;
    let code = if status.code == 0 { StatusCode::Unset } else { StatusCode::Error };
    // The Collector's exporter tells "OK" from "unset" by this.
    let map = span.attributes.as_mut().map(|attributes| &mut attributes.attribute_map);
    let told = map.and_then(|map| match map.get(STATUS_CODE)?.value {
        Some(Value::Int(number)) => {
            let code = StatusCode::from_number(i32::try_from(number).ok()?)?;
            map.remove(STATUS_CODE);
            Some(code)
        }
        _ => None,
    });
    Some((told.unwrap_or(code), status.message))
}

/// Returns how many were dropped.
fn write_attributes(attributes: Option<&Attributes>, out: &mut AttributesWriter<'_>) -> u32 {
    let Some(attributes) = attributes else { return 0 };
    for (key, value) in &attributes.attribute_map {
        match &value.value {
            Some(Value::String(text)) => out.value(key).string(&text.value),
            Some(Value::Int(value)) => out.value(key).int(*value),
            Some(Value::Bool(value)) => out.value(key).bool(*value),
            Some(Value::Double(value)) => out.value(key).double(*value),
            None => out.value(key).empty(),
        }
    }
    sum(attributes.dropped_attributes_count, 0)
}

fn write_event(event: &TimeEvent, out: &mut SpanWriter<'_>) {
    out.event(|out| {
        out.time_unix_nano(unix_nano(event.time));
        if let Some(annotation) = &event.annotation {
            out.name(annotation.description.as_ref().map_or("", |text| &text.value));
            let dropped = write_attributes(annotation.attributes.as_ref(), &mut out.attributes());
            out.dropped_attributes_count(dropped);
        } else if let Some(message) = event.message_event {
            out.name("message");
            write_message(message, &mut out.attributes());
        }
    });
}

fn write_message(message: MessageEvent, out: &mut AttributesWriter<'_>) {
    let kind = match message.kind {
        1 => "SENT",
        2 => "RECEIVED",
        _ => "TYPE_UNSPECIFIED",
    };
    // Sizes beyond 2^63 do not exist, and ids are compared only.
    out.string("message.type", kind).int("messaging.message_id", message.id.cast_signed());
    out.int("messaging.message_payload_size_bytes", message.uncompressed_size.cast_signed());
    out.int("messaging.message_payload_compressed_size_bytes", message.compressed_size.cast_signed());
}
