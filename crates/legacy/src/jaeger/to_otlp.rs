//! From Jaeger's model to OTLP.

use otlp::encode::{EventWriter, ResourceWriter, ScopeSpansWriter, SpanWriter, TracesEncoder};
use otlp::{SpanId, SpanKind, StatusCode};

use super::group::{Group, NAMES, Scope, VERSIONS};
use super::model::{Log, Process, Reference, ReferenceKind, Span, Tag};
use super::names::{
    CHILD_OF, DROPPED_ATTRIBUTES, DROPPED_EVENTS, DROPPED_LINKS, EVENT, EVENT_DROPPED_ATTRIBUTES, EXPORTER_VERSION,
    FOLLOWS_FROM, HOST_NAME, HOSTNAME, JAEGER_VERSION, NO_SERVICE_NAME, REF_TYPE, SERVICE_NAME, SPAN_KIND, TRACE_STATE,
    WARNINGS,
};
use super::status::take_status;
use super::tags::{Tags, write_value};

/// The scope that the tags of a span name.
pub(super) fn scope<'a>(tags: &[Tag<'a>]) -> Scope<'a> {
    let tags = Tags::new(tags);
    let text = |keys: [&str; 2]| keys.iter().find_map(|key| tags.text(key)).cloned().unwrap_or_default();
    Scope { name: text(NAMES), version: text(VERSIONS) }
}

/// Appends the spans of one process. `write` writes each.
pub(super) fn write_group<T, E>(
    out: &mut TracesEncoder,
    process: Option<&Process<'_>>,
    group: &Group<'_, T>,
    mut write: impl FnMut(&mut SpanWriter<'_>, &T) -> Result<(), E>,
) -> Result<(), E> {
    if group.scopes.is_empty() {
        return Ok(());
    }
    out.resource_spans(|block| {
        if let Some(process) = process {
            block.resource(|resource| write_resource(resource, process));
        }
        group.scopes.iter().try_for_each(|(scope, spans)| {
            block.scope_spans(|out| {
                write_scope(out, scope);
                spans.iter().try_for_each(|span| out.span(|out| write(out, span)))
            })
        })
    })
}

fn write_scope(out: &mut ScopeSpansWriter<'_>, scope: &Scope<'_>) {
    if *scope != Scope::default() {
        out.scope(|out| {
            out.name(&scope.name).version(&scope.version);
        });
    }
}

fn write_resource(out: &mut ResourceWriter<'_>, process: &Process<'_>) {
    let mut tags = Tags::new(&process.tags);
    let name = &*process.service_name;
    // A tag of this name says it once more.
    if !name.is_empty() && name != NO_SERVICE_NAME && tags.get(SERVICE_NAME).is_none() {
        out.attributes().string(SERVICE_NAME, name);
    }
    if let Some(hostname) = tags.get(HOSTNAME)
        && tags.get(HOST_NAME).is_none()
    {
        tags.take(HOSTNAME);
        write_value(&mut out.attributes(), HOST_NAME, hostname);
    }
    if tags.get(EXPORTER_VERSION).is_none()
        && let Some(version) = tags.take_text(JAEGER_VERSION)
    {
        out.attributes().string(EXPORTER_VERSION, &format!("Jaeger-{version}"));
    }
    tags.write(out.attributes());
}

pub(super) fn write_span(out: &mut SpanWriter<'_>, span: &Span<'_>) {
    let mut tags = Tags::new(&span.tags);
    NAMES.into_iter().chain(VERSIONS).for_each(|key| {
        tags.take_text(key);
    });
    if !span.trace_id.is_zero() {
        out.trace_id(span.trace_id);
    }
    if !span.span_id.is_zero() {
        out.span_id(span.span_id);
    }
    let parent = parent(span);
    if let Some(parent) = parent {
        out.parent_span_id(parent);
    }
    if let Some(state) = tags.take_text(TRACE_STATE) {
        out.trace_state(state);
    }
    let kind = tags.take_text(SPAN_KIND).map_or(SpanKind::Unspecified, |kind| kind_named(kind));
    let end = i128::from(span.start_unix_ns) + i128::from(span.duration_ns);
    let end = u64::try_from(end.max(0)).unwrap_or(u64::MAX);
    out.name(&span.operation_name).kind(kind).start_time_unix_nano(span.start_unix_ns).end_time_unix_nano(end);
    let (code, message) = take_status(&mut tags, kind);
    out.dropped_attributes_count(tags.take_count(DROPPED_ATTRIBUTES));
    out.dropped_events_count(tags.take_count(DROPPED_EVENTS));
    out.dropped_links_count(tags.take_count(DROPPED_LINKS));
    if !span.warnings.is_empty() {
        tags.take(WARNINGS);
        out.attributes().value(WARNINGS).array(|values| {
            span.warnings.iter().for_each(|warning| values.value().string(warning));
        });
    }
    tags.write(out.attributes());
    span.logs.iter().for_each(|log| out.event(|out| write_event(out, log)));
    write_links(out, span, parent);
    if code != StatusCode::Unset || !message.is_empty() {
        out.status(|out| {
            out.code(code).message(message);
        });
    }
    out.flags(span.flags & 1);
}

/// The parent: the one that is named, or the first reference to the same trace, where `CHILD_OF` comes first.
fn parent(span: &Span<'_>) -> Option<SpanId> {
    if !span.parent_span_id.is_zero() {
        return Some(span.parent_span_id);
    }
    let first = |kind| {
        let mut references = span.references.iter();
        references.find(|reference| reference.kind == kind && reference.trace_id == span.trace_id)
    };
    let found = first(ReferenceKind::ChildOf).or_else(|| first(ReferenceKind::FollowsFrom));
    found.map(|reference| reference.span_id)
}

/// The references but the one that says who the parent is.
fn write_links(out: &mut SpanWriter<'_>, span: &Span<'_>, parent: Option<SpanId>) {
    let is_parent = |reference: &Reference| {
        reference.kind == ReferenceKind::ChildOf
            && reference.trace_id == span.trace_id
            && Some(reference.span_id) == parent
    };
    let said = span.references.iter().position(is_parent);
    let others = span.references.iter().enumerate().filter(|(index, _)| Some(*index) != said);
    for (_, reference) in others {
        let kind = match reference.kind {
            ReferenceKind::ChildOf => CHILD_OF,
            ReferenceKind::FollowsFrom => FOLLOWS_FROM,
        };
        out.link(|link| {
            link.trace_id(reference.trace_id).span_id(reference.span_id);
            link.attributes().string(REF_TYPE, kind);
        });
    }
}

fn write_event(out: &mut EventWriter<'_>, log: &Log<'_>) {
    let mut fields = Tags::new(&log.fields);
    out.time_unix_nano(log.time_unix_ns);
    if let Some(name) = fields.take_text(EVENT) {
        out.name(name);
    }
    out.dropped_attributes_count(fields.take_count(EVENT_DROPPED_ATTRIBUTES));
    fields.write(out.attributes());
}

fn kind_named(name: &str) -> SpanKind {
    match name {
        "client" => SpanKind::Client,
        "server" => SpanKind::Server,
        "producer" => SpanKind::Producer,
        "consumer" => SpanKind::Consumer,
        "internal" => SpanKind::Internal,
        _ => SpanKind::Unspecified,
    }
}
