//! A span in the form that survives every protocol.

use std::sync::Arc;

use otlp::view::{AnyValueView, EventView, ResourceView, SpanView};
use otlp::{SpanId, SpanKind, StatusCode, TraceId};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::names::{NameId, ResourceId, Resources, Tables, normalized};

/// So many attributes, events and links of a span are compared: the limits of OpenTelemetry's libraries.
const ATTRIBUTES_MAX: usize = 128;
const EVENTS_MAX: usize = 128;
const LINKS_MAX: usize = 128;

/// What the spans of a resource have in common.
#[derive(Debug)]
pub(super) struct Source {
    service: Arc<str>,
    service_hash: u64,
    service_name: Option<NameId>,
    /// The keys of its attributes; none where there are too many different sets of them.
    resource: Option<ResourceId>,
}

impl Source {
    pub(super) fn read(resource: ResourceView<'_>, tables: &mut Tables) -> Source {
        let attributes = resource.attributes();
        let service = attributes.get("service.name").map_or_else(Default::default, AnyValueView::to_text);
        let keys = attributes.filter_map(|attribute| match attribute.key() {
            // The service is compared by itself.
            "" | "service.name" => None,
            // What Jaeger's libraries call it.
            "hostname" => tables.keys.id("host.name"),
            key => tables.keys.id(key),
        });
        let keys = keys.collect();
        Source {
            service_hash: xxh3_64(service.as_bytes()),
            service_name: tables.operations.id(&service),
            resource: tables.resources.id(keys),
            service: (*service).into(),
        }
    }
}

/// What a span does, as far as two sides that have other ids can agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Operation {
    pub(super) service: NameId,
    pub(super) name: NameId,
    pub(super) kind: SpanKind,
}

impl Operation {
    pub(super) fn text(self, tables: &Tables) -> String {
        format!("{} {}", tables.operations.text(self.service), tables.operations.text(self.name))
    }

    pub(super) const fn order(self) -> (NameId, NameId, i32) {
        (self.service, self.name, self.kind.number())
    }
}

/// What of a span is compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) parent_id: Option<SpanId>,
    pub(super) service: Arc<str>,
    /// A hash of the name as it came.
    name: u64,
    kind: SpanKind,
    pub(super) is_error: bool,
    pub(super) start_us: u64,
    pub(super) end_unix_ns: u64,
    duration_us: u64,
    /// None where too many operations are known.
    pub(super) operation: Option<Operation>,
    /// A hash of the operation and the status.
    pub(super) label: u64,
    events: u32,
    /// The names of events, in order; none for what has no number.
    pub(super) event_names: Box<[Option<NameId>]>,
    /// Hashes of the spans that it is linked to, in order.
    pub(super) links: Box<[u64]>,
    /// Key and a hash of the value's text, by key.
    pub(super) attributes: Vec<(NameId, u64)>,
    pub(super) resource: Option<ResourceId>,
}

impl Span {
    pub(super) fn read(span: &SpanView<'_>, source: &Source, tables: &mut Tables) -> Option<Span> {
        let (trace_id, span_id) = (span.trace_id()?, span.span_id()?);
        let parent_id = parent(span, trace_id);
        let kind = match span.kind() {
            // Neither Jaeger nor Zipkin has a word for it.
            SpanKind::Internal => SpanKind::Unspecified,
            kind => kind,
        };
        let is_error = span.status().code() == StatusCode::Error;
        let name = normalized(span.name());
        let operation = source.service_name.zip(tables.operations.id(&name));
        let (start, end) = (span.start_time_unix_nano(), span.end_time_unix_nano());
        Some(Span {
            trace_id,
            span_id,
            parent_id,
            service: source.service.clone(),
            name: xxh3_64(span.name().as_bytes()),
            kind,
            is_error,
            start_us: start / 1000,
            end_unix_ns: end,
            duration_us: end.saturating_sub(start) / 1000,
            operation: operation.map(|(service, name)| Operation { service, name, kind }),
            label: xxh3_64_with_seed(name.as_bytes(), source.service_hash ^ (kind as u64) << 1 ^ u64::from(is_error)),
            events: u32::try_from(span.events().messages().count()).unwrap_or(u32::MAX),
            event_names: event_names(span, tables),
            links: links(span, trace_id, parent_id),
            attributes: attributes(span, tables),
            resource: source.resource,
        })
    }

    /// The fields in which a span of the legacy side differs from the one of the same ids, as `differs` is told of them.
    pub(super) fn compare(&self, other: &Span, resources: &Resources, mut differs: impl FnMut(Field)) {
        let fields = [
            ("service.name", self.service != other.service),
            ("name", self.name != other.name),
            ("kind", self.kind != other.kind),
            ("status", self.is_error != other.is_error),
            ("parent", self.parent_id != other.parent_id),
            // A microsecond each way is rounding.
            ("start", self.start_us.abs_diff(other.start_us) > 1),
            ("duration", self.duration_us.abs_diff(other.duration_us) > 1),
            ("links", self.links != other.links),
        ];
        fields.iter().filter(|(_, is_different)| *is_different).for_each(|(name, _)| differs(Field::Of(name)));
        self.compare_events(other, &mut differs);
        self.compare_attributes(other, resources, &mut differs);
        self.compare_resources(other, resources, &mut differs);
    }

    fn compare_events(&self, other: &Span, differs: &mut impl FnMut(Field)) {
        let mut named = None;
        beside(
            &self.event_names,
            &other.event_names,
            |name| *name,
            |left, right| {
                // A name that is there more often by several is one difference.
                if let (Some(Some(name)), None) | (None, Some(Some(name))) = (left, right)
                    && named != Some(*name)
                {
                    named = Some(*name);
                    differs(Field::Event(*name));
                }
            },
        );
        if self.events != other.events && named.is_none() {
            differs(Field::Of("events"));
        }
    }

    fn compare_attributes(&self, other: &Span, resources: &Resources, differs: &mut impl FnMut(Field)) {
        // Zipkin has no resources: what it does not know to be of one comes back as the span's.
        let is_of_resource = |span: &Span, key: NameId| span.resource.is_some_and(|id| resources.has(id, key));
        beside(
            &self.attributes,
            &other.attributes,
            |(key, _)| *key,
            |left, right| match (left, right) {
                (Some((key, value)), Some((_, also))) if value != also => differs(Field::Attribute(*key)),
                (Some((key, _)), None) if !is_of_resource(other, *key) => differs(Field::OnlyLeft(*key)),
                (None, Some((key, _))) if !is_of_resource(self, *key) => differs(Field::OnlyRight(*key)),
                _ => {}
            },
        );
    }

    fn compare_resources(&self, other: &Span, resources: &Resources, differs: &mut impl FnMut(Field)) {
        let (Some(one), Some(two)) = (self.resource, other.resource) else { return };
        // A legacy side that has nothing but the service has no resources: some libraries leave them out for Zipkin.
        if one == two || resources.keys(one).is_empty() {
            return;
        }
        let is_of = |span: &Span, key: NameId| span.attributes.binary_search_by_key(&key, |(key, _)| *key).is_ok();
        beside(
            resources.keys(one),
            resources.keys(two),
            |key| *key,
            |left, right| match (left, right) {
                // What the spans of both sides have is on both, whatever their resources have.
                (Some(key), None) if !is_of(other, *key) => differs(Field::OnlyLeft(*key)),
                (None, Some(key)) if !is_of(self, *key) => differs(Field::OnlyRight(*key)),
                _ => {}
            },
        );
    }
}

/// Puts two lists beside each other that are in order, what is equal as a pair.
fn beside<T, K: Ord>(left: &[T], right: &[T], key: impl Fn(&T) -> K, mut met: impl FnMut(Option<&T>, Option<&T>)) {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(one), Some(two)) => key(one).cmp(&key(two)),
        };
        let one = if order.is_le() { left.next() } else { None };
        let two = if order.is_ge() { right.next() } else { None };
        met(one, two);
    }
}

fn attributes(span: &SpanView<'_>, tables: &mut Tables) -> Vec<(NameId, u64)> {
    let compared = span.attributes().filter_map(|attribute| {
        let key = tables.keys.id(attribute.key()).filter(|_| !attribute.key().is_empty())?;
        Some((key, xxh3_64(attribute.value().to_text().as_bytes())))
    });
    let mut attributes: Vec<(NameId, u64)> = compared.take(ATTRIBUTES_MAX).collect();
    attributes.sort_unstable();
    attributes.dedup_by_key(|(key, _)| *key);
    attributes
}

fn event_names(span: &SpanView<'_>, tables: &mut Tables) -> Box<[Option<NameId>]> {
    let mut names: Vec<Option<NameId>> =
        span.events().take(EVENTS_MAX).map(|event| event_name(event, tables)).collect();
    names.sort_unstable();
    names.into()
}

/// To Jaeger, a name is the field `event`, which an attribute of that key beats.
fn event_name(event: EventView<'_>, tables: &mut Tables) -> Option<NameId> {
    use AnyValueView::{Bool, Bytes, Double, Int};
    match event.attributes().get("event") {
        None => tables.events.id(event.name()),
        Some(Bool(_) | Int(_) | Double(_) | Bytes(_)) => tables.events.id(""),
        Some(value) => tables.events.id(&value.to_text()),
    }
}

/// The parent. Of a span that has none, it is the first one of its trace that it is linked to: to Jaeger, what a span
/// follows from is its parent where nothing else is.
fn parent(span: &SpanView<'_>, trace_id: TraceId) -> Option<SpanId> {
    let of_trace = || span.links().filter(|link| link.trace_id() == Some(trace_id)).find_map(|link| link.span_id());
    span.parent_span_id().filter(|id| !id.is_zero()).or_else(of_trace)
}

/// What a span is linked to but for its parent: Jaeger says who that is by a reference.
fn links(span: &SpanView<'_>, trace_id: TraceId, parent_id: Option<SpanId>) -> Box<[u64]> {
    let parent = parent_id.map(|id| link(trace_id, id));
    // Neither Jaeger nor Zipkin keeps links to nowhere.
    let linked = span.links().filter_map(|to| {
        let (trace_id, span_id) = (to.trace_id()?, to.span_id()?);
        (!trace_id.is_zero() && !span_id.is_zero()).then(|| link(trace_id, span_id))
    });
    let mut links: Vec<u64> = linked.filter(|link| Some(*link) != parent).take(LINKS_MAX).collect();
    links.sort_unstable();
    links.dedup();
    links.into()
}

fn link(trace_id: TraceId, span_id: SpanId) -> u64 {
    let mut bytes = [0; TraceId::SIZE + SpanId::SIZE];
    bytes[..TraceId::SIZE].copy_from_slice(trace_id.as_bytes());
    bytes[TraceId::SIZE..].copy_from_slice(span_id.as_bytes());
    xxh3_64(&bytes)
}

/// What differs between two spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A field of the span.
    Of(&'static str),
    /// How often there is an event of this name.
    Event(NameId),
    /// The value of an attribute.
    Attribute(NameId),
    /// An attribute that only the first span has.
    OnlyLeft(NameId),
    /// An attribute that only the second one has.
    OnlyRight(NameId),
}
