//! The messages of OTLP as tables: what the walk at the door checks and what JSON is transcoded by.
//!
//! Source: opentelemetry-proto 1.10, <https://github.com/open-telemetry/opentelemetry-proto>. This table is the only
//! place that lists them all; views, encoders and splices name the field numbers that they use.

use crate::Signal;
use crate::wire::WireType;

/// The highest field number of any message here.
pub(crate) const NUMBER_MAX: usize = 16;

/// How often a field may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// At most once, absent when it has its default value.
    One,
    /// At most once, and a default value differs from absence.
    Optional,
    /// One of the fields of the message's only `oneof`.
    Oneof,
    /// Any number of times.
    Many,
}

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Fixed32,
    Fixed64,
    Sfixed64,
    Double,
    Enum(&'static EnumNames),
    String,
    Bytes,
    /// 16 bytes or none, hexadecimal in JSON.
    TraceId,
    /// 8 bytes or none, hexadecimal in JSON.
    SpanId,
    Message(Id),
}

impl Kind {
    pub(crate) const fn wire_type(self) -> WireType {
        match self {
            Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Sint32 | Kind::Enum(_) => {
                WireType::Varint
            }
            Kind::Fixed32 => WireType::Fixed32,
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => WireType::Fixed64,
            Kind::String | Kind::Bytes | Kind::TraceId | Kind::SpanId | Kind::Message(_) => WireType::Length,
        }
    }
}

/// The names of an enum's values in JSON.
#[derive(Debug)]
pub(crate) struct EnumNames {
    /// Common to all names, such as `SPAN_KIND_`.
    pub(crate) prefix: &'static str,
    /// The rest of each name; the value is the index.
    pub(crate) values: &'static [&'static str],
}

/// A field of a message.
#[derive(Debug)]
pub(crate) struct FieldSchema {
    pub(crate) number: u8,
    pub(crate) label: Label,
    /// As in the `.proto` file: `trace_id`.
    pub(crate) name: &'static str,
    /// As in JSON: `traceId`.
    pub(crate) json: &'static str,
    /// With the message, for errors: `Span.trace_id`.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
}

/// What the walk does with the value behind a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Action {
    Varint,
    Fixed32,
    Fixed64,
    /// The tag needs a closer look: unknown, of several bytes, or of the wrong wire type.
    Examine,
    /// Any bytes.
    Bytes,
    Utf8,
    TraceId,
    SpanId,
    PackedFixed64,
    PackedVarint,
    /// A message that may come once.
    Message,
    /// A message that may come again.
    Messages,
    /// A `KeyValue`.
    Attribute,
}

impl Action {
    /// Whether the value has no length in front of it.
    #[inline]
    pub(crate) fn is_short(self) -> bool {
        (self as u8) < Action::Examine as u8
    }
}

/// What the walk does with a field: the action, and the message it goes down into. Aligned so that one load fetches it.
#[derive(Clone, Copy, Debug)]
#[repr(align(4))]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) child: Id,
    /// Messages that share a slot exclude each other: the fields of a `oneof`, or a field and itself. Below 32.
    pub(crate) slot: u8,
}

/// A message.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [FieldSchema],
    /// A span, a data point or a log record.
    pub(crate) is_item: bool,
    /// One level of nesting of `AnyValue`.
    pub(crate) is_nesting: bool,
    /// By the first byte of a tag, so that a known field with the right wire type costs one load.
    pub(crate) steps: [Step; 256],
}

impl Schema {
    const fn new(id: Id, name: &'static str, fields: &'static [FieldSchema]) -> Self {
        let mut steps = [Step { action: Action::Examine, child: id, slot: 0 }; 256];
        let mut index = 0;
        while index < fields.len() {
            let field = &fields[index];
            assert!(field.number as usize <= NUMBER_MAX);
            // Numbers from 16 on take two bytes.
            if field.number < 16 {
                let number = (field.number as usize) << 3;
                steps[number | field.kind.wire_type() as usize] = field.step(field.kind.wire_type());
                if field.is_packable() {
                    steps[number | WireType::Length as usize] = field.step(WireType::Length);
                }
            }
            index += 1;
        }
        let is_item = matches!(
            id,
            Id::Span | Id::LogRecord | Id::NumberPoint | Id::HistogramPoint | Id::ExponentialPoint | Id::SummaryPoint
        );
        let is_nesting = matches!(id, Id::ArrayValue | Id::KeyValueList);
        Schema { name, fields, is_item, is_nesting, steps }
    }

    pub(crate) fn field(&self, number: u32) -> Option<&'static FieldSchema> {
        self.fields.iter().find(|field| u32::from(field.number) == number)
    }
}

impl FieldSchema {
    /// Whether it is a repeated number, which may come packed or one by one.
    pub(crate) const fn is_packable(&self) -> bool {
        matches!(self.label, Label::Many) && !matches!(self.kind.wire_type(), WireType::Length)
    }

    /// Whether a value may have this wire type.
    pub(crate) fn accepts(&self, wire: WireType) -> bool {
        wire == self.kind.wire_type() || wire == WireType::Length && self.is_packable()
    }

    /// What the walk does with a value of this wire type, which the field accepts.
    pub(crate) const fn step(&self, wire: WireType) -> Step {
        let action = match (self.kind, wire) {
            (Kind::Message(Id::KeyValue), _) => Action::Attribute,
            (Kind::Message(_), _) if matches!(self.label, Label::Many) => Action::Messages,
            (Kind::Message(_), _) => Action::Message,
            (Kind::String, _) => Action::Utf8,
            (Kind::TraceId, _) => Action::TraceId,
            (Kind::SpanId, _) => Action::SpanId,
            (Kind::Bytes, _) => Action::Bytes,
            (Kind::Fixed64 | Kind::Sfixed64 | Kind::Double, WireType::Length) => Action::PackedFixed64,
            (_, WireType::Length) => Action::PackedVarint,
            (_, WireType::Varint) => Action::Varint,
            (_, WireType::Fixed32) => Action::Fixed32,
            (_, WireType::Fixed64) => Action::Fixed64,
        };
        // The child means nothing where the action does not go down.
        let child = match self.kind {
            Kind::Message(child) => child,
            _ => Id::AnyValue,
        };
        let slot = if matches!(self.label, Label::Oneof) { 0 } else { self.number };
        Step { action, child, slot }
    }
}

macro_rules! messages {
    ($($id:ident $name:literal { $($number:literal $label:ident $field:literal $json:literal $kind:expr;)* })*) => {
        /// A message type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Id { $($id),* }

        static SCHEMAS: [Schema; [$(Id::$id),*].len()] = [$(Schema::new(Id::$id, $name, &[$(FieldSchema {
            number: $number,
            label: Label::$label,
            name: $field,
            json: $json,
            path: concat!($name, ".", $field),
            kind: $kind,
        }),*])),*];
    };
}

impl Id {
    /// The export request of a signal.
    pub(crate) fn request(signal: Signal) -> Self {
        match signal {
            Signal::Traces => Id::TracesRequest,
            Signal::Metrics => Id::MetricsRequest,
            Signal::Logs => Id::LogsRequest,
        }
    }

    /// The export response of a signal.
    pub(crate) fn response(signal: Signal) -> Self {
        match signal {
            Signal::Traces => Id::TracesResponse,
            Signal::Metrics => Id::MetricsResponse,
            Signal::Logs => Id::LogsResponse,
        }
    }

    #[inline]
    pub(crate) fn schema(self) -> &'static Schema {
        &SCHEMAS[self as usize]
    }
}

static SPAN_KIND: EnumNames = EnumNames {
    prefix: "SPAN_KIND_",
    values: &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"],
};
static STATUS_CODE: EnumNames = EnumNames { prefix: "STATUS_CODE_", values: &["UNSET", "OK", "ERROR"] };
static TEMPORALITY: EnumNames =
    EnumNames { prefix: "AGGREGATION_TEMPORALITY_", values: &["UNSPECIFIED", "DELTA", "CUMULATIVE"] };
static SEVERITY: EnumNames = EnumNames {
    prefix: "SEVERITY_NUMBER_",
    values: &[
        "UNSPECIFIED",
        "TRACE",
        "TRACE2",
        "TRACE3",
        "TRACE4",
        "DEBUG",
        "DEBUG2",
        "DEBUG3",
        "DEBUG4",
        "INFO",
        "INFO2",
        "INFO3",
        "INFO4",
        "WARN",
        "WARN2",
        "WARN3",
        "WARN4",
        "ERROR",
        "ERROR2",
        "ERROR3",
        "ERROR4",
        "FATAL",
        "FATAL2",
        "FATAL3",
        "FATAL4",
    ],
};

messages! {
    TracesRequest "ExportTraceServiceRequest" {
        1 Many "resource_spans" "resourceSpans" Kind::Message(Id::ResourceSpans);
    }
    MetricsRequest "ExportMetricsServiceRequest" {
        1 Many "resource_metrics" "resourceMetrics" Kind::Message(Id::ResourceMetrics);
    }
    LogsRequest "ExportLogsServiceRequest" {
        1 Many "resource_logs" "resourceLogs" Kind::Message(Id::ResourceLogs);
    }
    ResourceSpans "ResourceSpans" {
        1 One "resource" "resource" Kind::Message(Id::Resource);
        2 Many "scope_spans" "scopeSpans" Kind::Message(Id::ScopeSpans);
        3 One "schema_url" "schemaUrl" Kind::String;
    }
    ResourceMetrics "ResourceMetrics" {
        1 One "resource" "resource" Kind::Message(Id::Resource);
        2 Many "scope_metrics" "scopeMetrics" Kind::Message(Id::ScopeMetrics);
        3 One "schema_url" "schemaUrl" Kind::String;
    }
    ResourceLogs "ResourceLogs" {
        1 One "resource" "resource" Kind::Message(Id::Resource);
        2 Many "scope_logs" "scopeLogs" Kind::Message(Id::ScopeLogs);
        3 One "schema_url" "schemaUrl" Kind::String;
    }
    Resource "Resource" {
        1 Many "attributes" "attributes" Kind::Message(Id::KeyValue);
        2 One "dropped_attributes_count" "droppedAttributesCount" Kind::Uint32;
        3 Many "entity_refs" "entityRefs" Kind::Message(Id::EntityRef);
    }
    EntityRef "EntityRef" {
        1 One "schema_url" "schemaUrl" Kind::String;
        2 One "type" "type" Kind::String;
        3 Many "id_keys" "idKeys" Kind::String;
        4 Many "description_keys" "descriptionKeys" Kind::String;
    }
    Scope "InstrumentationScope" {
        1 One "name" "name" Kind::String;
        2 One "version" "version" Kind::String;
        3 Many "attributes" "attributes" Kind::Message(Id::KeyValue);
        4 One "dropped_attributes_count" "droppedAttributesCount" Kind::Uint32;
    }
    KeyValue "KeyValue" {
        1 One "key" "key" Kind::String;
        2 One "value" "value" Kind::Message(Id::AnyValue);
        3 One "key_strindex" "keyStrindex" Kind::Int32;
    }
    AnyValue "AnyValue" {
        1 Oneof "string_value" "stringValue" Kind::String;
        2 Oneof "bool_value" "boolValue" Kind::Bool;
        3 Oneof "int_value" "intValue" Kind::Int64;
        4 Oneof "double_value" "doubleValue" Kind::Double;
        5 Oneof "array_value" "arrayValue" Kind::Message(Id::ArrayValue);
        6 Oneof "kvlist_value" "kvlistValue" Kind::Message(Id::KeyValueList);
        7 Oneof "bytes_value" "bytesValue" Kind::Bytes;
        8 Oneof "string_value_strindex" "stringValueStrindex" Kind::Int32;
    }
    ArrayValue "ArrayValue" {
        1 Many "values" "values" Kind::Message(Id::AnyValue);
    }
    KeyValueList "KeyValueList" {
        1 Many "values" "values" Kind::Message(Id::KeyValue);
    }
    ScopeSpans "ScopeSpans" {
        1 One "scope" "scope" Kind::Message(Id::Scope);
        2 Many "spans" "spans" Kind::Message(Id::Span);
        3 One "schema_url" "schemaUrl" Kind::String;
    }
    Span "Span" {
        1 One "trace_id" "traceId" Kind::TraceId;
        2 One "span_id" "spanId" Kind::SpanId;
        3 One "trace_state" "traceState" Kind::String;
        4 One "parent_span_id" "parentSpanId" Kind::SpanId;
        16 One "flags" "flags" Kind::Fixed32;
        5 One "name" "name" Kind::String;
        6 One "kind" "kind" Kind::Enum(&SPAN_KIND);
        7 One "start_time_unix_nano" "startTimeUnixNano" Kind::Fixed64;
        8 One "end_time_unix_nano" "endTimeUnixNano" Kind::Fixed64;
        9 Many "attributes" "attributes" Kind::Message(Id::KeyValue);
        10 One "dropped_attributes_count" "droppedAttributesCount" Kind::Uint32;
        11 Many "events" "events" Kind::Message(Id::SpanEvent);
        12 One "dropped_events_count" "droppedEventsCount" Kind::Uint32;
        13 Many "links" "links" Kind::Message(Id::SpanLink);
        14 One "dropped_links_count" "droppedLinksCount" Kind::Uint32;
        15 One "status" "status" Kind::Message(Id::Status);
    }
    SpanEvent "Span.Event" {
        1 One "time_unix_nano" "timeUnixNano" Kind::Fixed64;
        2 One "name" "name" Kind::String;
        3 Many "attributes" "attributes" Kind::Message(Id::KeyValue);
        4 One "dropped_attributes_count" "droppedAttributesCount" Kind::Uint32;
    }
    SpanLink "Span.Link" {
        1 One "trace_id" "traceId" Kind::TraceId;
        2 One "span_id" "spanId" Kind::SpanId;
        3 One "trace_state" "traceState" Kind::String;
        4 Many "attributes" "attributes" Kind::Message(Id::KeyValue);
        5 One "dropped_attributes_count" "droppedAttributesCount" Kind::Uint32;
        6 One "flags" "flags" Kind::Fixed32;
    }
    Status "Status" {
        2 One "message" "message" Kind::String;
        3 One "code" "code" Kind::Enum(&STATUS_CODE);
    }
    ScopeMetrics "ScopeMetrics" {
        1 One "scope" "scope" Kind::Message(Id::Scope);
        2 Many "metrics" "metrics" Kind::Message(Id::Metric);
        3 One "schema_url" "schemaUrl" Kind::String;
    }
    Metric "Metric" {
        1 One "name" "name" Kind::String;
        2 One "description" "description" Kind::String;
        3 One "unit" "unit" Kind::String;
        5 Oneof "gauge" "gauge" Kind::Message(Id::Gauge);
        7 Oneof "sum" "sum" Kind::Message(Id::Sum);
        9 Oneof "histogram" "histogram" Kind::Message(Id::Histogram);
        10 Oneof "exponential_histogram" "exponentialHistogram" Kind::Message(Id::ExponentialHistogram);
        11 Oneof "summary" "summary" Kind::Message(Id::Summary);
        12 Many "metadata" "metadata" Kind::Message(Id::KeyValue);
    }
    Gauge "Gauge" {
        1 Many "data_points" "dataPoints" Kind::Message(Id::NumberPoint);
    }
    Sum "Sum" {
        1 Many "data_points" "dataPoints" Kind::Message(Id::NumberPoint);
        2 One "aggregation_temporality" "aggregationTemporality" Kind::Enum(&TEMPORALITY);
        3 One "is_monotonic" "isMonotonic" Kind::Bool;
    }
    Histogram "Histogram" {
        1 Many "data_points" "dataPoints" Kind::Message(Id::HistogramPoint);
        2 One "aggregation_temporality" "aggregationTemporality" Kind::Enum(&TEMPORALITY);
    }
    ExponentialHistogram "ExponentialHistogram" {
        1 Many "data_points" "dataPoints" Kind::Message(Id::ExponentialPoint);
        2 One "aggregation_temporality" "aggregationTemporality" Kind::Enum(&TEMPORALITY);
    }
    Summary "Summary" {
        1 Many "data_points" "dataPoints" Kind::Message(Id::SummaryPoint);
    }
    NumberPoint "NumberDataPoint" {
        7 Many "attributes" "attributes" Kind::Message(Id::KeyValue);
        2 One "start_time_unix_nano" "startTimeUnixNano" Kind::Fixed64;
        3 One "time_unix_nano" "timeUnixNano" Kind::Fixed64;
        4 Oneof "as_double" "asDouble" Kind::Double;
        6 Oneof "as_int" "asInt" Kind::Sfixed64;
        5 Many "exemplars" "exemplars" Kind::Message(Id::Exemplar);
        8 One "flags" "flags" Kind::Uint32;
    }
    HistogramPoint "HistogramDataPoint" {
        9 Many "attributes" "attributes" Kind::Message(Id::KeyValue);
        2 One "start_time_unix_nano" "startTimeUnixNano" Kind::Fixed64;
        3 One "time_unix_nano" "timeUnixNano" Kind::Fixed64;
        4 One "count" "count" Kind::Fixed64;
        5 Optional "sum" "sum" Kind::Double;
        6 Many "bucket_counts" "bucketCounts" Kind::Fixed64;
        7 Many "explicit_bounds" "explicitBounds" Kind::Double;
        8 Many "exemplars" "exemplars" Kind::Message(Id::Exemplar);
        10 One "flags" "flags" Kind::Uint32;
        11 Optional "min" "min" Kind::Double;
        12 Optional "max" "max" Kind::Double;
    }
    ExponentialPoint "ExponentialHistogramDataPoint" {
        1 Many "attributes" "attributes" Kind::Message(Id::KeyValue);
        2 One "start_time_unix_nano" "startTimeUnixNano" Kind::Fixed64;
        3 One "time_unix_nano" "timeUnixNano" Kind::Fixed64;
        4 One "count" "count" Kind::Fixed64;
        5 Optional "sum" "sum" Kind::Double;
        6 One "scale" "scale" Kind::Sint32;
        7 One "zero_count" "zeroCount" Kind::Fixed64;
        8 One "positive" "positive" Kind::Message(Id::Buckets);
        9 One "negative" "negative" Kind::Message(Id::Buckets);
        10 One "flags" "flags" Kind::Uint32;
        11 Many "exemplars" "exemplars" Kind::Message(Id::Exemplar);
        12 Optional "min" "min" Kind::Double;
        13 Optional "max" "max" Kind::Double;
        14 One "zero_threshold" "zeroThreshold" Kind::Double;
    }
    Buckets "ExponentialHistogramDataPoint.Buckets" {
        1 One "offset" "offset" Kind::Sint32;
        2 Many "bucket_counts" "bucketCounts" Kind::Uint64;
    }
    SummaryPoint "SummaryDataPoint" {
        7 Many "attributes" "attributes" Kind::Message(Id::KeyValue);
        2 One "start_time_unix_nano" "startTimeUnixNano" Kind::Fixed64;
        3 One "time_unix_nano" "timeUnixNano" Kind::Fixed64;
        4 One "count" "count" Kind::Fixed64;
        5 One "sum" "sum" Kind::Double;
        6 Many "quantile_values" "quantileValues" Kind::Message(Id::ValueAtQuantile);
        8 One "flags" "flags" Kind::Uint32;
    }
    ValueAtQuantile "SummaryDataPoint.ValueAtQuantile" {
        1 One "quantile" "quantile" Kind::Double;
        2 One "value" "value" Kind::Double;
    }
    Exemplar "Exemplar" {
        7 Many "filtered_attributes" "filteredAttributes" Kind::Message(Id::KeyValue);
        2 One "time_unix_nano" "timeUnixNano" Kind::Fixed64;
        3 Oneof "as_double" "asDouble" Kind::Double;
        6 Oneof "as_int" "asInt" Kind::Sfixed64;
        4 One "span_id" "spanId" Kind::SpanId;
        5 One "trace_id" "traceId" Kind::TraceId;
    }
    ScopeLogs "ScopeLogs" {
        1 One "scope" "scope" Kind::Message(Id::Scope);
        2 Many "log_records" "logRecords" Kind::Message(Id::LogRecord);
        3 One "schema_url" "schemaUrl" Kind::String;
    }
    LogRecord "LogRecord" {
        1 One "time_unix_nano" "timeUnixNano" Kind::Fixed64;
        11 One "observed_time_unix_nano" "observedTimeUnixNano" Kind::Fixed64;
        2 One "severity_number" "severityNumber" Kind::Enum(&SEVERITY);
        3 One "severity_text" "severityText" Kind::String;
        5 One "body" "body" Kind::Message(Id::AnyValue);
        6 Many "attributes" "attributes" Kind::Message(Id::KeyValue);
        7 One "dropped_attributes_count" "droppedAttributesCount" Kind::Uint32;
        8 One "flags" "flags" Kind::Fixed32;
        9 One "trace_id" "traceId" Kind::TraceId;
        10 One "span_id" "spanId" Kind::SpanId;
        12 One "event_name" "eventName" Kind::String;
    }
    TracesResponse "ExportTraceServiceResponse" {
        1 One "partial_success" "partialSuccess" Kind::Message(Id::TracesPartialSuccess);
    }
    MetricsResponse "ExportMetricsServiceResponse" {
        1 One "partial_success" "partialSuccess" Kind::Message(Id::MetricsPartialSuccess);
    }
    LogsResponse "ExportLogsServiceResponse" {
        1 One "partial_success" "partialSuccess" Kind::Message(Id::LogsPartialSuccess);
    }
    TracesPartialSuccess "ExportTracePartialSuccess" {
        1 One "rejected_spans" "rejectedSpans" Kind::Int64;
        2 One "error_message" "errorMessage" Kind::String;
    }
    MetricsPartialSuccess "ExportMetricsPartialSuccess" {
        1 One "rejected_data_points" "rejectedDataPoints" Kind::Int64;
        2 One "error_message" "errorMessage" Kind::String;
    }
    LogsPartialSuccess "ExportLogsPartialSuccess" {
        1 One "rejected_log_records" "rejectedLogRecords" Kind::Int64;
        2 One "error_message" "errorMessage" Kind::String;
    }
    RpcStatus "google.rpc.Status" {
        1 One "code" "code" Kind::Int32;
        2 One "message" "message" Kind::String;
        3 Many "details" "details" Kind::Message(Id::RpcDetail);
    }
    RpcDetail "google.protobuf.Any" {
        1 One "type_url" "@type" Kind::String;
        2 One "value" "value" Kind::Bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The type as a `.proto` file writes it.
    fn type_name(kind: Kind) -> &'static str {
        match kind {
            Kind::Bool => "bool",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Uint32 => "uint32",
            Kind::Uint64 => "uint64",
            Kind::Sint32 => "sint32",
            Kind::Fixed32 => "fixed32",
            Kind::Fixed64 => "fixed64",
            Kind::Sfixed64 => "sfixed64",
            Kind::Double => "double",
            Kind::Enum(_) => "enum",
            Kind::String => "string",
            Kind::Bytes | Kind::TraceId | Kind::SpanId => "bytes",
            Kind::Message(id) => id.schema().name.rsplit('.').next().unwrap(),
        }
    }

    #[test]
    fn the_tables_are_those_of_the_proto_files() {
        let expected = include_str!("../testdata/opentelemetry-proto/fields.txt");
        let mut lines = Vec::new();
        // The messages of google.rpc have another source.
        for schema in SCHEMAS.iter().filter(|schema| !schema.name.starts_with("google.")) {
            for field in schema.fields {
                let (number, label, name) = (field.number, field.label, field.name);
                lines.push(format!("{} {number} {label:?} {name} {}", schema.name, type_name(field.kind)));
            }
        }
        for names in [&SPAN_KIND, &STATUS_CODE, &TEMPORALITY, &SEVERITY] {
            let values = names.values.iter().enumerate();
            lines.extend(values.map(|(number, name)| format!("{}{name} = {number}", names.prefix)));
        }
        lines.sort_unstable();
        assert_eq!(lines, expected.lines().collect::<Vec<_>>());
    }

    #[test]
    fn json_names_are_the_camel_case_of_the_field_names() {
        for field in SCHEMAS.iter().flat_map(|schema| schema.fields).filter(|field| field.json != "@type") {
            let mut parts = field.name.split('_');
            let mut camel = parts.next().unwrap().to_owned();
            for part in parts {
                camel += &part[..1].to_uppercase();
                camel += &part[1..];
            }
            assert_eq!(field.json, camel);
        }
    }
}
