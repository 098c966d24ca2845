//! `opentelemetry.proto.trace.v1`.

use super::{KeyValueView, ResourceView, ScopeView, view};
use crate::{SpanKind, StatusCode};

view! {
    /// A request with spans: `ExportTraceServiceRequest`.
    TracesView {
        /// The spans of each resource.
        1 resource_spans: repeated(ResourceSpansView),
    }
}

view! {
    /// The spans of one resource.
    ResourceSpansView {
        /// Where the spans come from.
        1 resource: message(ResourceView),
        /// The spans of each scope.
        2 scope_spans: repeated(ScopeSpansView),
        /// The schema of the resource and of the scopes that name none.
        3 schema_url: string,
    }
}

view! {
    /// The spans of one scope.
    ScopeSpansView {
        /// What made the spans.
        1 scope: message(ScopeView),
        /// The spans.
        2 spans: repeated(SpanView),
        /// The schema of the scope and the spans.
        3 schema_url: string,
    }
}

view! {
    /// One operation of a trace.
    SpanView {
        /// The trace; `None` when absent.
        1 trace_id: trace_id,
        /// The span; `None` when absent.
        2 span_id: span_id,
        /// The W3C trace state.
        3 trace_state: string,
        /// The parent; `None` for a root span.
        4 parent_span_id: span_id,
        /// The name.
        5 name: string,
        /// The number of the kind, which may be beyond [`SpanKind`].
        6 kind_number: int32,
        /// When it started, in nanoseconds since the Unix epoch.
        7 start_time_unix_nano: fixed64,
        /// When it ended, in nanoseconds since the Unix epoch.
        8 end_time_unix_nano: fixed64,
        /// What describes it.
        9 attributes: repeated(KeyValueView),
        /// How many attributes the sender discarded.
        10 dropped_attributes_count: uint32,
        /// What happened meanwhile.
        11 events: repeated(EventView),
        /// How many events the sender discarded.
        12 dropped_events_count: uint32,
        /// Other spans that it relates to.
        13 links: repeated(LinkView),
        /// How many links the sender discarded.
        14 dropped_links_count: uint32,
        /// How it ended.
        15 status: message(StatusView),
        /// Bits 0 to 7 are the W3C trace flags, bits 8 and 9 tell whether the parent is remote.
        16 flags: fixed32,
    }
}

impl SpanView<'_> {
    /// The kind; unspecified for a number that the specification does not have.
    #[inline]
    pub fn kind(&self) -> SpanKind {
        SpanKind::from_number(self.kind_number).unwrap_or_default()
    }
}

view! {
    /// What happened at one moment of a span: `Span.Event`.
    EventView {
        /// When, in nanoseconds since the Unix epoch.
        1 time_unix_nano: fixed64,
        /// The name.
        2 name: string,
        /// What describes it.
        3 attributes: repeated(KeyValueView),
        /// How many attributes the sender discarded.
        4 dropped_attributes_count: uint32,
    }
}

view! {
    /// A reference to another span: `Span.Link`.
    LinkView {
        /// The trace of the other span; `None` when absent.
        1 trace_id: trace_id,
        /// The other span; `None` when absent.
        2 span_id: span_id,
        /// The W3C trace state of the link.
        3 trace_state: string,
        /// What describes the link.
        4 attributes: repeated(KeyValueView),
        /// How many attributes the sender discarded.
        5 dropped_attributes_count: uint32,
        /// Bits 0 to 7 are the W3C trace flags, bits 8 and 9 tell whether the other span is remote.
        6 flags: fixed32,
    }
}

view! {
    /// How a span ended.
    StatusView {
        /// What a developer is told about an error.
        2 message: string,
        /// The number of the code, which may be beyond [`StatusCode`].
        3 code_number: int32,
    }
}

impl StatusView<'_> {
    /// The code; unset for a number that the specification does not have.
    #[inline]
    pub fn code(&self) -> StatusCode {
        StatusCode::from_number(self.code_number).unwrap_or_default()
    }
}
