//! `opentelemetry.proto.logs.v1`.

use super::{AnyValueView, KeyValueView, ResourceView, ScopeView, view};

view! {
    /// A request with log records: `ExportLogsServiceRequest`.
    LogsView {
        /// The log records of each resource.
        1 resource_logs: repeated(ResourceLogsView),
    }
}

view! {
    /// The log records of one resource.
    ResourceLogsView {
        /// Where the log records come from.
        1 resource: message(ResourceView),
        /// The log records of each scope.
        2 scope_logs: repeated(ScopeLogsView),
        /// The schema of the resource and of the scopes that name none.
        3 schema_url: string,
    }
}

view! {
    /// The log records of one scope.
    ScopeLogsView {
        /// What made the log records.
        1 scope: message(ScopeView),
        /// The log records.
        2 log_records: repeated(LogRecordView),
        /// The schema of the scope and the log records.
        3 schema_url: string,
    }
}

view! {
    /// One log record.
    LogRecordView {
        /// When it happened, in nanoseconds since the Unix epoch; 0 when unknown.
        1 time_unix_nano: fixed64,
        /// The severity, 1 to 24 as the specification numbers them; 0 when not given.
        2 severity_number: int32,
        /// The severity as the source names it.
        3 severity_text: string,
        /// What it says.
        5 body: message(AnyValueView),
        /// What describes it.
        6 attributes: repeated(KeyValueView),
        /// How many attributes the sender discarded.
        7 dropped_attributes_count: uint32,
        /// Bits 0 to 7 are the W3C trace flags.
        8 flags: fixed32,
        /// The trace that it belongs to, if any.
        9 trace_id: trace_id,
        /// The span that it belongs to, if any.
        10 span_id: span_id,
        /// When it was collected, in nanoseconds since the Unix epoch.
        11 observed_time_unix_nano: fixed64,
        /// The name of the event, if it is one.
        12 event_name: string,
    }
}
