//! `opentelemetry.proto.logs.v1`.

use super::{ResourceWriter, ScopeWriter, encoder, writer};

encoder! {
    /// Encodes a request with log records.
    LogsEncoder Logs resource_logs ResourceLogsWriter
}

writer! {
    /// Writes the log records of one resource.
    ResourceLogsWriter {
        /// Where the log records come from.
        1 resource: message(ResourceWriter 128),
        /// The log records of one scope; any number of times.
        2 scope_logs: message(ScopeLogsWriter 16384),
        /// The schema of the resource.
        3 schema_url: string,
    }
}

writer! {
    /// Writes the log records of one scope.
    ScopeLogsWriter {
        /// What made the log records.
        1 scope: message(ScopeWriter 0),
        /// A log record; any number of times.
        2 log_record: item(LogRecordWriter 128),
        /// The schema of the scope and the log records.
        3 schema_url: string,
    }
}

writer! {
    /// Writes a log record.
    LogRecordWriter {
        /// When it happened, in nanoseconds since the Unix epoch.
        1 time_unix_nano: fixed64,
        /// The severity, 1 to 24 as the specification numbers them.
        2 severity_number: int32,
        /// The severity as the source names it.
        3 severity_text: string,
        /// What it says.
        5 body: value,
        /// What describes it.
        6 attributes: attributes,
        /// How many attributes the sender discarded.
        7 dropped_attributes_count: uint32,
        /// Bits 0 to 7 are the W3C trace flags.
        8 flags: fixed32,
        /// The trace that it belongs to.
        9 trace_id: trace_id,
        /// The span that it belongs to.
        10 span_id: span_id,
        /// When it was collected, in nanoseconds since the Unix epoch.
        11 observed_time_unix_nano: fixed64,
        /// The name of the event, if it is one.
        12 event_name: string,
    }
}
