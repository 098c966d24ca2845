//! `opentelemetry.proto.trace.v1`.

use super::{ResourceWriter, ScopeWriter, encoder, writer};
use crate::{SpanKind, StatusCode};

encoder! {
    /// Encodes a request with spans.
    TracesEncoder Traces resource_spans ResourceSpansWriter
}

writer! {
    /// Writes the spans of one resource.
    ResourceSpansWriter {
        /// Where the spans come from.
        1 resource: message(ResourceWriter 128),
        /// The spans of one scope; any number of times.
        2 scope_spans: message(ScopeSpansWriter 16384),
        /// The schema of the resource.
        3 schema_url: string,
    }
}

writer! {
    /// Writes the spans of one scope.
    ScopeSpansWriter {
        /// What made the spans.
        1 scope: message(ScopeWriter 0),
        /// A span; any number of times.
        2 span: item(SpanWriter 128),
        /// The schema of the scope and the spans.
        3 schema_url: string,
    }
}

writer! {
    /// Writes a span.
    SpanWriter {
        /// The trace.
        1 trace_id: trace_id,
        /// The span.
        2 span_id: span_id,
        /// The W3C trace state.
        3 trace_state: string,
        /// The parent; left out for a root span.
        4 parent_span_id: span_id,
        /// The name.
        5 name: string,
        /// The kind.
        6 kind: number(SpanKind),
        /// When it started, in nanoseconds since the Unix epoch.
        7 start_time_unix_nano: fixed64,
        /// When it ended, in nanoseconds since the Unix epoch.
        8 end_time_unix_nano: fixed64,
        /// What describes it.
        9 attributes: attributes,
        /// How many attributes the sender discarded.
        10 dropped_attributes_count: uint32,
        /// What happened meanwhile; any number of times.
        11 event: message(EventWriter 0),
        /// How many events the sender discarded.
        12 dropped_events_count: uint32,
        /// Another span that it relates to; any number of times.
        13 link: message(LinkWriter 0),
        /// How many links the sender discarded.
        14 dropped_links_count: uint32,
        /// How it ended.
        15 status: message(StatusWriter 0),
        /// Bits 0 to 7 are the W3C trace flags, bits 8 and 9 tell whether the parent is remote.
        16 flags: fixed32,
    }
}

writer! {
    /// Writes an event of a span.
    EventWriter {
        /// When, in nanoseconds since the Unix epoch.
        1 time_unix_nano: fixed64,
        /// The name.
        2 name: string,
        /// What describes it.
        3 attributes: attributes,
        /// How many attributes the sender discarded.
        4 dropped_attributes_count: uint32,
    }
}

writer! {
    /// Writes a link of a span.
    LinkWriter {
        /// The trace of the other span.
        1 trace_id: trace_id,
        /// The other span.
        2 span_id: span_id,
        /// The W3C trace state of the link.
        3 trace_state: string,
        /// What describes the link.
        4 attributes: attributes,
        /// How many attributes the sender discarded.
        5 dropped_attributes_count: uint32,
        /// Bits 0 to 7 are the W3C trace flags, bits 8 and 9 tell whether the other span is remote.
        6 flags: fixed32,
    }
}

writer! {
    /// Writes how a span ended.
    StatusWriter {
        /// What a developer is told about an error.
        2 message: string,
        /// The code.
        3 code: number(StatusCode),
    }
}
