//! A span in the form that survives every protocol.

use otlp::view::SpanView;
use otlp::{SpanId, SpanKind, StatusCode, TraceId};
use xxhash_rust::xxh3::xxh3_64;

use super::MAPPED_ATTRIBUTES;

/// So many attributes of a span are compared.
const ATTRIBUTES_MAX: usize = 64;

/// What of a span is compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) parent_id: Option<SpanId>,
    pub(super) service: Box<str>,
    pub(super) name: Box<str>,
    pub(super) kind: SpanKind,
    pub(super) is_error: bool,
    pub(super) start_us: u64,
    pub(super) end_unix_ns: u64,
    pub(super) duration_us: u64,
    pub(super) events: u32,
    /// Key and a hash of the value's text, by key.
    pub(super) attributes: Vec<(Box<str>, u64)>,
}

impl Span {
    pub(super) fn read(span: &SpanView<'_>, service: &str, ignored: &[String]) -> Option<Span> {
        let is_compared =
            |key: &str| !MAPPED_ATTRIBUTES.contains(&key) && !ignored.iter().any(|ignored| ignored == key);
        let attributes = span.attributes().filter(|attribute| is_compared(attribute.key()));
        let mut attributes: Vec<(Box<str>, u64)> = attributes
            .take(ATTRIBUTES_MAX)
            .map(|attribute| (attribute.key().into(), xxh3_64(attribute.value().to_text().as_bytes())))
            .collect();
        attributes.sort_unstable();
        let (start, end) = (span.start_time_unix_nano(), span.end_time_unix_nano());
        Some(Span {
            trace_id: span.trace_id()?,
            span_id: span.span_id()?,
            parent_id: span.parent_span_id(),
            service: service.into(),
            name: span.name().into(),
            kind: match span.kind() {
                // Neither Jaeger nor Zipkin has a word for it.
                SpanKind::Internal => SpanKind::Unspecified,
                kind => kind,
            },
            is_error: span.status().code() == StatusCode::Error,
            start_us: start / 1000,
            end_unix_ns: end,
            duration_us: end.saturating_sub(start) / 1000,
            events: u32::try_from(span.events().messages().count()).unwrap_or(u32::MAX),
            attributes,
        })
    }

    /// The fields in which two spans of the same ids differ, as `differs` is told of them.
    pub(super) fn compare(&self, other: &Span, mut differs: impl FnMut(Field<'_>)) {
        let fields = [
            ("service.name", self.service != other.service),
            ("name", self.name != other.name),
            ("kind", self.kind != other.kind),
            ("status", self.is_error != other.is_error),
            ("parent", self.parent_id != other.parent_id),
            // A microsecond each way is rounding.
            ("start", self.start_us.abs_diff(other.start_us) > 1),
            ("duration", self.duration_us.abs_diff(other.duration_us) > 1),
            ("events", self.events != other.events),
        ];
        fields.iter().filter(|(_, is_different)| *is_different).for_each(|(name, _)| differs(Field::Of(name)));
        let (mut left, mut right) = (self.attributes.iter().peekable(), other.attributes.iter().peekable());
        loop {
            match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some((one, value)), Some((two, also))) if one == two => {
                    if value != also {
                        differs(Field::Attribute(one));
                    }
                    left.next();
                    right.next();
                }
                (Some((one, _)), two) if two.is_none_or(|(two, _)| one < two) => {
                    differs(Field::OnlyLeft(one));
                    left.next();
                }
                (_, Some((two, _))) => {
                    differs(Field::OnlyRight(two));
                    right.next();
                }
                (Some(_), None) => break,
            }
        }
    }
}

/// What differs between two spans.
pub(super) enum Field<'a> {
    /// A field of the span.
    Of(&'static str),
    /// The value of an attribute.
    Attribute(&'a str),
    /// An attribute that only the first span has.
    OnlyLeft(&'a str),
    /// An attribute that only the second one has.
    OnlyRight(&'a str),
}
