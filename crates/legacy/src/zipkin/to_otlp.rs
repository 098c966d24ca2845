//! Spans to OTLP.

use std::collections::BTreeMap;

use otlp::encode::{AttributesWriter, ScopeSpansWriter, SpanWriter, TracesEncoder};
use otlp::{Batch, SpanKind, StatusCode};

use super::events::{Event, Link, write_attributes};
use super::model::{Endpoint, Kind, Span, Tags, Value, take, take_count};
use super::{StringTags, keys};

/// What the spans of one block have in common: the attributes of their resource, and the name and version of their
/// scope.
type Key = (Vec<(String, String)>, String, String);

struct Block {
    resource: Tags,
    scope: (String, String),
    spans: Vec<Span>,
}

pub(super) fn batch(spans: Vec<Span>, string_tags: StringTags) -> Batch {
    let mut encoder = TracesEncoder::new();
    for mut block in blocks(spans) {
        encoder.resource_spans(|out| {
            if !block.resource.is_empty() {
                out.resource(|resource| write_tags(&block.resource, string_tags, &mut resource.attributes()));
            }
            out.scope_spans(|out| {
                let (name, version) = &block.scope;
                if !name.is_empty() || !version.is_empty() {
                    out.scope(|scope| {
                        scope.name(name).version(version);
                    });
                }
                block.spans.drain(..).for_each(|span| write_span(span, string_tags, out));
            });
        });
    }
    encoder.finish()
}

/// The spans by resource and scope, in the order in which each comes first.
fn blocks(spans: Vec<Span>) -> Vec<Block> {
    let mut places: BTreeMap<Key, usize> = BTreeMap::new();
    let mut blocks: Vec<Block> = Vec::new();
    for mut span in spans {
        let resource = take_resource(&mut span);
        let name = take_either(&mut span.tags, keys::SCOPE_NAME, keys::LIBRARY_NAME);
        let version = take_either(&mut span.tags, keys::SCOPE_VERSION, keys::LIBRARY_VERSION);
        let texts = resource.iter().map(|(key, value)| (key.clone(), value.text().into_owned())).collect();
        let place = *places.entry((texts, name.clone(), version.clone())).or_insert(blocks.len());
        if place == blocks.len() {
            blocks.push(Block { resource, scope: (name, version), spans: Vec::new() });
        }
        blocks[place].spans.push(span);
    }
    blocks
}

fn take_either(tags: &mut Tags, key: &str, deprecated: &str) -> String {
    let old = take(tags, deprecated);
    take(tags, key).or(old).unwrap_or_default()
}

/// Takes the attributes of the resource out of the tags of a span.
fn take_resource(span: &mut Span) -> Tags {
    let source = take(&mut span.tags, keys::SERVICE_NAME_SOURCE);
    let mut resource: Tags = span.tags.extract_if(.., |key, _| keys::is_of_resource(key)).collect();
    let service = std::mem::take(&mut span.local.service);
    if !service.is_empty() && service != keys::NO_SERVICE_NAME {
        let key = source.filter(|key| keys::SERVICE_NAME_SOURCES.contains(&key.as_str()));
        resource.insert(key.unwrap_or_else(|| keys::SERVICE_NAME.to_owned()), Value::Text(service));
    }
    resource
}

fn write_span(mut span: Span, string_tags: StringTags, out: &mut ScopeSpansWriter<'_>) {
    let tags = &mut span.tags;
    let trace_state = take(tags, keys::TRACE_STATE).unwrap_or_default();
    let kind = take_kind(span.kind, tags);
    let (code, message) = take_status(tags);
    let links = take_links(tags);
    let dropped = [keys::DROPPED_ATTRIBUTES, keys::DROPPED_EVENTS, keys::DROPPED_LINKS];
    let [dropped_attributes, dropped_events, dropped_links] = dropped.map(|key| take_count(tags, key));
    add_endpoint(&span.local, [keys::SERVICE_NAME, keys::LOCAL_IP, keys::LOCAL_PORT], tags);
    add_endpoint(&span.remote, [keys::PEER_SERVICE, keys::PEER_IP, keys::PEER_PORT], tags);
    let marks =
        [(span.shared, keys::SHARED), (span.debug, keys::DEBUG), (span.timestamp_us == 0, keys::START_TIME_ABSENT)];
    for (_, key) in marks.into_iter().filter(|(is_so, _)| *is_so) {
        tags.insert(key.to_owned(), Value::Bool(true));
    }
    out.span(|out| {
        out.trace_id(span.trace_id).span_id(span.id).trace_state(&trace_state);
        // In version 1 a root may name itself as its parent.
        if let Some(parent_id) = span.parent_id.filter(|parent_id| *parent_id != span.id) {
            out.parent_span_id(parent_id);
        }
        let end_us = span.timestamp_us.saturating_add(span.duration_us);
        out.name(&span.name).kind(kind);
        out.start_time_unix_nano(nanos(span.timestamp_us)).end_time_unix_nano(nanos(end_us));
        write_tags(&span.tags, string_tags, &mut out.attributes());
        out.dropped_attributes_count(dropped_attributes);
        span.annotations.iter().for_each(|one| write_event(&one.value, one.timestamp_us, out));
        out.dropped_events_count(dropped_events);
        links.iter().for_each(|link| write_link(link, out));
        out.dropped_links_count(dropped_links);
        if code != StatusCode::Unset {
            out.status(|status| {
                status.message(&message).code(code);
            });
        }
    });
}

/// Beyond the year 2554 nanoseconds have no room in 64 bits.
fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1000)
}

fn take_kind(kind: Kind, tags: &mut Tags) -> SpanKind {
    match kind {
        Kind::Client => SpanKind::Client,
        Kind::Server => SpanKind::Server,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
        Kind::Unspecified if tags.get(keys::SPAN_KIND).is_some_and(|kind| kind.text() == "internal") => {
            tags.remove(keys::SPAN_KIND);
            SpanKind::Internal
        }
        Kind::Unspecified => SpanKind::Unspecified,
    }
}

/// The status that `otel.status_code` and `error` tell. To Zipkin every span with `error` has failed; that it says
/// `false` is a mistake of some libraries, and then it stays a tag.
fn take_status(tags: &mut Tags) -> (StatusCode, String) {
    let code = tags.get(keys::STATUS_CODE).and_then(|code| match code.text().to_ascii_uppercase().as_str() {
        "OK" | "STATUS_CODE_OK" => Some(StatusCode::Ok),
        "ERROR" | "STATUS_CODE_ERROR" => Some(StatusCode::Error),
        "UNSET" | "STATUS_CODE_UNSET" => Some(StatusCode::Unset),
        _ => None,
    });
    let mut message = String::new();
    if code.is_some() {
        tags.remove(keys::STATUS_CODE);
        message = take(tags, keys::STATUS_DESCRIPTION).unwrap_or_default();
    }
    let is_error = tags.get(keys::ERROR).is_some_and(|error| error.text() != "false");
    let code = match code {
        Some(StatusCode::Ok) => return (StatusCode::Ok, String::new()),
        Some(StatusCode::Error) => StatusCode::Error,
        _ if is_error => StatusCode::Error,
        _ => StatusCode::Unset,
    };
    if is_error {
        let said = take(tags, keys::ERROR).filter(|said| said != "true");
        message = said.filter(|said| !said.is_empty()).unwrap_or(message);
    }
    (code, message)
}

/// The links of `otlp.link.0` and so on, as far as they can be read.
fn take_links(tags: &mut Tags) -> Vec<Link> {
    let mut links = Vec::new();
    loop {
        let key = format!("{}{}", keys::LINK_PREFIX, links.len());
        let Some(link) = tags.get(&key).and_then(|value| Link::read(&value.text())) else { return links };
        tags.remove(&key);
        links.push(link);
    }
}

fn add_endpoint(endpoint: &Endpoint, [service, ip, port]: [&str; 3], tags: &mut Tags) {
    if !endpoint.service.is_empty() {
        tags.insert(service.to_owned(), Value::Text(endpoint.service.clone()));
    }
    let v4 = endpoint.ipv4.map(|address| address.to_string());
    // There is one attribute for both, and Zipkin's own clients send one of them.
    if let Some(address) = v4.or_else(|| endpoint.ipv6.map(|address| address.to_string())) {
        tags.insert(ip.to_owned(), Value::Text(address));
    }
    if endpoint.port > 0 {
        tags.insert(port.to_owned(), Value::Int(i64::from(endpoint.port)));
    }
}

fn write_tags(tags: &Tags, string_tags: StringTags, out: &mut AttributesWriter<'_>) {
    for (key, value) in tags {
        match value {
            Value::Text(text) => write_text(key, text, string_tags, out),
            Value::Bool(value) => {
                out.bool(key, *value);
            }
            Value::Int(value) => {
                out.int(key, *value);
            }
            Value::Double(value) => {
                out.double(key, *value);
            }
        }
    }
}

fn write_text(key: &str, text: &str, string_tags: StringTags, out: &mut AttributesWriter<'_>) {
    let parsed = (string_tags == StringTags::Parsed).then(|| parse(text)).flatten();
    match parsed {
        Some(Value::Bool(value)) => out.bool(key, value),
        Some(Value::Int(value)) => out.int(key, value),
        Some(Value::Double(value)) => out.double(key, value),
        Some(Value::Text(_)) | None => out.string(key, text),
    };
}

/// `parse_string_tags` of the Collector: `-1`, `1.5`, `true`. Numbers that do not fit stay text.
fn parse(text: &str) -> Option<Value> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match (text, unsigned.split_once('.')) {
        ("true", _) => Some(Value::Bool(true)),
        ("false", _) => Some(Value::Bool(false)),
        (_, None) if digits(unsigned) => text.parse().ok().map(Value::Int),
        (_, Some((whole, fraction))) if digits(whole) && digits(fraction) => text.parse().ok().map(Value::Double),
        _ => None,
    }
}

fn write_event(text: &str, timestamp_us: u64, out: &mut SpanWriter<'_>) {
    let event = Event::read(text);
    out.event(|out| {
        out.time_unix_nano(nanos(timestamp_us)).name(&event.name);
        write_attributes(&event.attributes, &mut out.attributes());
        out.dropped_attributes_count(event.dropped);
    });
}

fn write_link(link: &Link, out: &mut SpanWriter<'_>) {
    out.link(|out| {
        out.trace_id(link.trace_id).span_id(link.span_id).trace_state(&link.trace_state);
        write_attributes(&link.attributes, &mut out.attributes());
        out.dropped_attributes_count(link.dropped);
    });
}
