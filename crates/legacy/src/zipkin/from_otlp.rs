//! OTLP to spans.

use std::net::IpAddr;

use otlp::view::{KeyValues, ResourceView, ScopeView, SpanView, StatusView};
use otlp::{Batch, SpanKind, StatusCode};

use super::events::{write_event, write_link};
use super::model::{Annotation, Endpoint, Kind, Span, Tags, Value, take};
use super::{Writer, keys};

/// Writes the spans that have ids, and counts the others.
pub(super) fn write_spans(batch: &Batch, service_default: &str, writer: &mut Writer) {
    let blocks = batch.traces().into_iter().flat_map(|traces| traces.resource_spans());
    for block in blocks {
        let (service, resource) = read_resource(block.resource(), service_default);
        for scope in block.scope_spans() {
            let mut common = resource.clone();
            add_scope(scope.scope(), &mut common);
            for span in scope.spans() {
                // Before anything is copied for it: that is what would be too much.
                if writer.is_full() {
                    writer.encoded.too_large += 1;
                    continue;
                }
                match read_span(span, &service, &common) {
                    Some(span) => writer.write(&span),
                    None => writer.encoded.without_id += 1,
                }
            }
        }
    }
}

/// The name of the service, and the other attributes as tags.
fn read_resource(resource: ResourceView<'_>, service_default: &str) -> (String, Tags) {
    let mut tags = Tags::new();
    add_attributes(resource.attributes(), &mut tags);
    if let Some(name) = take(&mut tags, keys::SERVICE_NAME) {
        return (name, tags);
    }
    for source in keys::SERVICE_NAME_SOURCES {
        if let Some(name) = take(&mut tags, source) {
            tags.insert(keys::SERVICE_NAME_SOURCE.to_owned(), Value::Text(source.to_owned()));
            return (name, tags);
        }
    }
    (service_default.to_owned(), tags)
}

fn add_attributes(attributes: KeyValues<'_>, tags: &mut Tags) {
    for attribute in attributes {
        tags.insert(attribute.key().to_owned(), Value::Text(attribute.value().to_text().into_owned()));
    }
}

fn add_text(key: &str, text: &str, tags: &mut Tags) {
    if !text.is_empty() {
        tags.insert(key.to_owned(), Value::Text(text.to_owned()));
    }
}

/// Under the old names as well, as the specification demands: the Collector and Jaeger read those alone.
fn add_scope(scope: ScopeView<'_>, tags: &mut Tags) {
    for (name, version) in [(keys::SCOPE_NAME, keys::SCOPE_VERSION), (keys::LIBRARY_NAME, keys::LIBRARY_VERSION)] {
        add_text(name, scope.name(), tags);
        add_text(version, scope.version(), tags);
    }
}

fn read_span(view: SpanView<'_>, service: &str, common: &Tags) -> Option<Span> {
    let trace_id = view.trace_id().filter(|id| !id.is_zero())?;
    let id = view.span_id().filter(|id| !id.is_zero())?;
    let mut span = Span::new(trace_id, id);
    span.tags = common.clone();
    add_attributes(view.attributes(), &mut span.tags);
    span.parent_id = view.parent_span_id().filter(|id| !id.is_zero());
    span.kind = match view.kind() {
        SpanKind::Unspecified | SpanKind::Internal => Kind::Unspecified,
        SpanKind::Client => Kind::Client,
        SpanKind::Server => Kind::Server,
        SpanKind::Producer => Kind::Producer,
        SpanKind::Consumer => Kind::Consumer,
    };
    span.name = view.name().to_owned();
    (span.timestamp_us, span.duration_us) = times(view);
    span.shared = take_mark(keys::SHARED, &mut span.tags);
    span.debug = take_mark(keys::DEBUG, &mut span.tags);
    if span.timestamp_us == 0 {
        take_mark(keys::START_TIME_ABSENT, &mut span.tags);
    }
    span.local = take_endpoint(service.to_owned(), [keys::LOCAL_IP, keys::LOCAL_PORT], &mut span.tags);
    let peer = take(&mut span.tags, keys::PEER_SERVICE).unwrap_or_default();
    span.remote = take_endpoint(peer, [keys::PEER_IP, keys::PEER_PORT], &mut span.tags);
    if matches!(span.kind, Kind::Client | Kind::Producer) && span.remote.service.is_empty() {
        name_remote(&mut span.remote, &span.tags);
    }
    if view.kind() == SpanKind::Internal {
        span.tags.insert(keys::SPAN_KIND.to_owned(), Value::Text("internal".to_owned()));
    }
    add_text(keys::TRACE_STATE, view.trace_state(), &mut span.tags);
    add_status(view.status(), &mut span.tags);
    add_dropped(view, &mut span.tags);
    for (index, link) in view.links().enumerate() {
        span.tags.insert(format!("{}{index}", keys::LINK_PREFIX), Value::Text(write_link(link)));
    }
    let annotation = |event: otlp::view::EventView<'_>| Annotation {
        timestamp_us: event.time_unix_nano() / 1000,
        value: write_event(event.name(), event.attributes(), event.dropped_attributes_count()),
    };
    span.annotations = view.events().map(annotation).collect();
    Some(span)
}

/// Start and duration in microseconds. Zipkin takes a duration of 0 for none, so what took less than one took one.
fn times(span: SpanView<'_>) -> (u64, u64) {
    let (start, end) = (span.start_time_unix_nano(), span.end_time_unix_nano());
    let duration_us = match end.checked_sub(start) {
        None | Some(0) => 0,
        Some(_) => (end / 1000 - start / 1000).max(1),
    };
    (start / 1000, duration_us)
}

/// Takes a truth value out that stands for a field.
fn take_mark(key: &str, tags: &mut Tags) -> bool {
    let is_so = tags.get(key).is_some_and(|value| value.text() == "true");
    if is_so {
        tags.remove(key);
    }
    is_so
}

/// An endpoint, with its address and port taken out of the tags where they are such.
fn take_endpoint(service: String, [ip_key, port_key]: [&str; 2], tags: &mut Tags) -> Endpoint {
    let mut endpoint = Endpoint { service, ..Endpoint::default() };
    if let Some(address) = tags.get(ip_key).and_then(|value| value.text().parse::<IpAddr>().ok()) {
        endpoint.set_ip(address);
        tags.remove(ip_key);
    }
    if let Some(port) = port(port_key, tags) {
        endpoint.port = port;
        tags.remove(port_key);
    }
    endpoint
}

fn port(key: &str, tags: &Tags) -> Option<u16> {
    tags.get(key).and_then(|value| value.text().parse().ok()).filter(|port| *port > 0)
}

/// The name of the other side, as the specification ranks what may tell it. An address is given as such.
fn name_remote(remote: &mut Endpoint, tags: &Tags) {
    let named = keys::REMOTE_RANKED.into_iter().find_map(|(key, port_key)| Some((tags.get(key)?.text(), port_key)));
    let Some((name, port_key)) = named else { return };
    match name.parse::<IpAddr>() {
        Ok(_) if remote.ipv4.is_some() || remote.ipv6.is_some() => {}
        Ok(address) => remote.set_ip(address),
        Err(_) => name.as_ref().clone_into(&mut remote.service),
    }
    if remote.port == 0 {
        remote.port = port(port_key, tags).unwrap_or(0);
    }
}

fn add_status(status: StatusView<'_>, tags: &mut Tags) {
    match status.code() {
        StatusCode::Error => {
            add_text(keys::STATUS_CODE, "ERROR", tags);
            tags.insert(keys::ERROR.to_owned(), Value::Text(status.message().to_owned()));
        }
        code => {
            if code == StatusCode::Ok {
                add_text(keys::STATUS_CODE, "OK", tags);
            }
            // To Zipkin whatever has this tag has failed, also where it says that it did not.
            if tags.get(keys::ERROR).is_some_and(|error| error.text() == "false") {
                tags.remove(keys::ERROR);
            }
        }
    }
}

fn add_dropped(span: SpanView<'_>, tags: &mut Tags) {
    let counts = [
        (keys::DROPPED_ATTRIBUTES, span.dropped_attributes_count()),
        (keys::DROPPED_EVENTS, span.dropped_events_count()),
        (keys::DROPPED_LINKS, span.dropped_links_count()),
    ];
    for (key, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        tags.insert(key.to_owned(), Value::Text(count.to_string()));
    }
}
