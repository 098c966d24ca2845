//! From OTLP to Jaeger's model.

use std::borrow::Cow;

use otlp::view::{AnyValueView, EventView, KeyValues, LinkView, ResourceView, ScopeView, SpanView};
use otlp::{SpanId, SpanKind, StatusCode, TraceId};

use super::model::{Log, Process, Reference, ReferenceKind, Span, Tag, Value};
use super::names::{
    CHILD_OF, DROPPED_ATTRIBUTES, DROPPED_EVENTS, DROPPED_LINKS, ERROR, EVENT, EVENT_DROPPED_ATTRIBUTES, REF_TYPE,
    SCOPE_NAME, SCOPE_VERSION, SERVICE_NAME, SPAN_KIND, STATUS_CODE, STATUS_DESCRIPTION, TRACE_STATE, UNKNOWN_SERVICE,
    WARNINGS,
};

pub(super) fn process(resource: ResourceView<'_>) -> Process<'_> {
    let name = resource.attributes().get(SERVICE_NAME).map(AnyValueView::to_text).filter(|name| !name.is_empty());
    let mut tags = Vec::new();
    push_attributes(&mut tags, resource.attributes(), |key| key == SERVICE_NAME);
    Process { service_name: name.unwrap_or(Cow::Borrowed(UNKNOWN_SERVICE)), tags }
}

pub(super) fn span<'a>(view: SpanView<'a>, scope: ScopeView<'a>) -> Span<'a> {
    let trace_id = view.trace_id().unwrap_or(TraceId::new([0; TraceId::SIZE]));
    let parent_span_id = view.parent_span_id().unwrap_or(SpanId::new([0; SpanId::SIZE]));
    let start_unix_ns = view.start_time_unix_nano();
    let duration = i128::from(view.end_time_unix_nano()) - i128::from(start_unix_ns);
    let mut tags = meanings(view, scope);
    // The specification lets what is added override what was there, and a key has one value.
    let added = tags.len();
    let warnings = warnings(view.attributes());
    let mut attributes = Vec::new();
    push_attributes(&mut attributes, view.attributes(), |key| {
        tags.iter().any(|tag| tag.key == key) || (key == WARNINGS && !warnings.is_empty())
    });
    tags.append(&mut attributes);
    tags.rotate_left(added);
    Span {
        trace_id,
        span_id: view.span_id().unwrap_or(SpanId::new([0; SpanId::SIZE])),
        parent_span_id,
        operation_name: Cow::Borrowed(view.name()),
        references: references(view, trace_id, parent_span_id),
        flags: view.flags() & 1,
        start_unix_ns,
        duration_ns: duration.clamp(i64::MIN.into(), i64::MAX.into()) as i64,
        tags,
        logs: view.events().map(log).collect(),
        warnings,
    }
}

/// The tags for what has no field in Jaeger.
fn meanings<'a>(span: SpanView<'a>, scope: ScopeView<'a>) -> Vec<Tag<'a>> {
    let mut tags = Vec::new();
    let mut text = |key: &'static str, value: &'a str| {
        if !value.is_empty() {
            tags.push(Tag::text(key, value));
        }
    };
    text(SCOPE_NAME, scope.name());
    text(SCOPE_VERSION, scope.version());
    text(SPAN_KIND, kind_name(span.kind()));
    let status = span.status();
    let code = match status.code() {
        StatusCode::Unset => "",
        StatusCode::Ok => "OK",
        StatusCode::Error => "ERROR",
    };
    text(STATUS_CODE, code);
    text(STATUS_DESCRIPTION, status.message());
    text(TRACE_STATE, span.trace_state());
    if status.code() == StatusCode::Error {
        tags.push(Tag { key: Cow::Borrowed(ERROR), value: Value::Bool(true) });
    }
    push_count(&mut tags, DROPPED_ATTRIBUTES, span.dropped_attributes_count());
    push_count(&mut tags, DROPPED_EVENTS, span.dropped_events_count());
    push_count(&mut tags, DROPPED_LINKS, span.dropped_links_count());
    tags
}

/// The specification gives "internal" no tag.
const fn kind_name(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified | SpanKind::Internal => "",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

fn push_count(tags: &mut Vec<Tag<'_>>, key: &'static str, count: u32) {
    if count > 0 {
        tags.push(Tag { key: Cow::Borrowed(key), value: Value::Int(count.into()) });
    }
}

fn push_attributes<'a>(tags: &mut Vec<Tag<'a>>, attributes: KeyValues<'a>, is_left_out: impl Fn(&str) -> bool) {
    let kept = attributes.filter(|attribute| !attribute.key().is_empty() && !is_left_out(attribute.key()));
    tags.extend(kept.map(|attribute| Tag { key: Cow::Borrowed(attribute.key()), value: value(attribute.value()) }));
}

fn value(value: AnyValueView<'_>) -> Value<'_> {
    match value {
        AnyValueView::Bool(value) => Value::Bool(value),
        AnyValueView::Int(value) => Value::Int(value),
        AnyValueView::Double(value) => Value::Double(value),
        AnyValueView::Bytes(value) => Value::Binary(value),
        AnyValueView::String(value) => Value::Text(Cow::Borrowed(value)),
        AnyValueView::Empty | AnyValueView::Array(_) | AnyValueView::KvList(_) => Value::Text(value.to_text()),
    }
}

/// The attribute that warnings come as, if it is nothing but texts.
fn warnings(attributes: KeyValues<'_>) -> Vec<Cow<'_, str>> {
    let Some(AnyValueView::Array(values)) = attributes.get(WARNINGS) else { return Vec::new() };
    let texts: Option<Vec<Cow<'_, str>>> = values.map(|value| value.as_str().map(Cow::Borrowed)).collect();
    texts.unwrap_or_default()
}

/// The parent first, as the specification demands, and a reference for each link.
fn references(span: SpanView<'_>, trace_id: TraceId, parent: SpanId) -> Vec<Reference> {
    let mut references = Vec::new();
    if !parent.is_zero() {
        references.push(Reference { kind: ReferenceKind::ChildOf, trace_id, span_id: parent });
    }
    for link in span.links() {
        let (Some(link_trace_id), Some(span_id)) = (link.trace_id(), link.span_id()) else { continue };
        let said = said_kind(link);
        let kind = said.unwrap_or(ReferenceKind::FollowsFrom);
        // A link that came from Jaeger and leads to the parent is how Jaeger said who the parent is.
        let is_parent = said.is_some() && !parent.is_zero() && link_trace_id == trace_id && span_id == parent;
        match references.first_mut() {
            Some(first) if is_parent => first.kind = kind,
            _ => references.push(Reference { kind, trace_id: link_trace_id, span_id }),
        }
    }
    references
}

fn said_kind(link: LinkView<'_>) -> Option<ReferenceKind> {
    let said = link.attributes().get(REF_TYPE)?.as_str()?;
    Some(if said == CHILD_OF { ReferenceKind::ChildOf } else { ReferenceKind::FollowsFrom })
}

/// The specification: an attribute `event` takes precedence over the name.
fn log(event: EventView<'_>) -> Log<'_> {
    let mut fields = Vec::new();
    if !event.name().is_empty() && event.attributes().get(EVENT).is_none() {
        fields.push(Tag::text(EVENT, event.name()));
    }
    let dropped = event.dropped_attributes_count();
    push_count(&mut fields, EVENT_DROPPED_ATTRIBUTES, dropped);
    push_attributes(&mut fields, event.attributes(), |key| dropped > 0 && key == EVENT_DROPPED_ATTRIBUTES);
    Log { time_unix_ns: event.time_unix_nano(), fields }
}
