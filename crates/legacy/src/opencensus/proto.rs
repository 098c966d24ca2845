//! The messages of OpenCensus: `opencensus.proto.agent.common.v1`, `resource.v1`, `trace.v1`, `metrics.v1`. Fields that
//! have no place in OTLP are left out. Elements of long lists stay bytes until their turn comes: an empty one takes two
//! bytes on the wire and a hundred as a struct.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(message, optional, tag = "1")]
    pub(super) identifier: Option<ProcessIdentifier>,
    #[prost(message, optional, tag = "2")]
    pub(super) library_info: Option<LibraryInfo>,
    #[prost(message, optional, tag = "3")]
    pub(super) service_info: Option<ServiceInfo>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) attributes: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProcessIdentifier {
    #[prost(string, tag = "1")]
    pub(super) host_name: String,
    #[prost(uint32, tag = "2")]
    pub(super) pid: u32,
    #[prost(message, optional, tag = "3")]
    pub(super) start_timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LibraryInfo {
    /// `LibraryInfo.Language`.
    #[prost(int32, tag = "1")]
    pub(super) language: i32,
    #[prost(string, tag = "2")]
    pub(super) exporter_version: String,
    #[prost(string, tag = "3")]
    pub(super) core_library_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ServiceInfo {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) labels: BTreeMap<String, String>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

impl Timestamp {
    /// Nanoseconds since the Unix epoch; 0 for what is before.
    pub(super) fn unix_nano(self) -> u64 {
        let nanos = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
    }
}

/// The time of an optional field.
pub(super) fn unix_nano(timestamp: Option<Timestamp>) -> u64 {
    timestamp.map_or(0, Timestamp::unix_nano)
}

/// `google.protobuf.BoolValue`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct BoolValue {
    #[prost(bool, tag = "1")]
    pub(super) value: bool,
}

/// `google.protobuf.Int64Value`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Int64Value {
    #[prost(int64, tag = "1")]
    pub(super) value: i64,
}

/// `google.protobuf.DoubleValue`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct DoubleValue {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
}

// === traces ===

#[derive(Clone, PartialEq, Message)]
pub(super) struct TruncatableString {
    #[prost(string, tag = "1")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(message, optional, tag = "4")]
    pub(super) name: Option<TruncatableString>,
    #[prost(message, optional, tag = "5")]
    pub(super) start_time: Option<Timestamp>,
    #[prost(message, optional, tag = "6")]
    pub(super) end_time: Option<Timestamp>,
    #[prost(message, optional, tag = "7")]
    pub(super) attributes: Option<Attributes>,
    #[prost(message, optional, tag = "9")]
    pub(super) time_events: Option<TimeEvents>,
    #[prost(message, optional, tag = "10")]
    pub(super) links: Option<Links>,
    #[prost(message, optional, tag = "11")]
    pub(super) status: Option<Status>,
    #[prost(message, optional, tag = "12")]
    pub(super) same_process_as_parent_span: Option<BoolValue>,
    /// `Span.SpanKind`.
    #[prost(int32, tag = "14")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "15")]
    pub(super) tracestate: Option<Tracestate>,
    #[prost(message, optional, tag = "16")]
    pub(super) resource: Option<Resource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tracestate {
    /// [`TracestateEntry`].
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) entries: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TracestateEntry {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attributes {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) attribute_map: BTreeMap<String, AttributeValue>,
    #[prost(int32, tag = "2")]
    pub(super) dropped_attributes_count: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AttributeValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4")]
    pub(super) value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Value {
    #[prost(message, tag = "1")]
    String(TruncatableString),
    #[prost(int64, tag = "2")]
    Int(i64),
    #[prost(bool, tag = "3")]
    Bool(bool),
    #[prost(double, tag = "4")]
    Double(f64),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeEvents {
    /// [`TimeEvent`].
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) time_event: Vec<Vec<u8>>,
    #[prost(int32, tag = "2")]
    pub(super) dropped_annotations_count: i32,
    #[prost(int32, tag = "3")]
    pub(super) dropped_message_events_count: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeEvent {
    #[prost(message, optional, tag = "1")]
    pub(super) time: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub(super) annotation: Option<Annotation>,
    #[prost(message, optional, tag = "3")]
    pub(super) message_event: Option<MessageEvent>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Annotation {
    #[prost(message, optional, tag = "1")]
    pub(super) description: Option<TruncatableString>,
    #[prost(message, optional, tag = "2")]
    pub(super) attributes: Option<Attributes>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct MessageEvent {
    /// `MessageEvent.Type`.
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(uint64, tag = "2")]
    pub(super) id: u64,
    #[prost(uint64, tag = "3")]
    pub(super) uncompressed_size: u64,
    #[prost(uint64, tag = "4")]
    pub(super) compressed_size: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Links {
    /// [`Link`].
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) link: Vec<Vec<u8>>,
    #[prost(int32, tag = "2")]
    pub(super) dropped_links_count: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Link {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(message, optional, tag = "4")]
    pub(super) attributes: Option<Attributes>,
    #[prost(message, optional, tag = "5")]
    pub(super) tracestate: Option<Tracestate>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    /// Of `google.rpc.Code`.
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

// === metrics ===

#[derive(Clone, PartialEq, Message)]
pub(super) struct Metric {
    #[prost(message, optional, tag = "1")]
    pub(super) metric_descriptor: Option<MetricDescriptor>,
    /// [`TimeSeries`].
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) timeseries: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "3")]
    pub(super) resource: Option<Resource>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MetricDescriptor {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) description: String,
    #[prost(string, tag = "3")]
    pub(super) unit: String,
    /// `MetricDescriptor.Type`.
    #[prost(int32, tag = "4")]
    pub(super) kind: i32,
    #[prost(message, repeated, tag = "5")]
    pub(super) label_keys: Vec<LabelKey>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelKey {
    #[prost(string, tag = "1")]
    pub(super) key: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeSeries {
    #[prost(message, optional, tag = "1")]
    pub(super) start_timestamp: Option<Timestamp>,
    #[prost(message, repeated, tag = "2")]
    pub(super) label_values: Vec<LabelValue>,
    /// [`Point`].
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) points: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelValue {
    #[prost(string, tag = "1")]
    pub(super) value: String,
    #[prost(bool, tag = "2")]
    pub(super) has_value: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Point {
    #[prost(message, optional, tag = "1")]
    pub(super) timestamp: Option<Timestamp>,
    #[prost(oneof = "PointValue", tags = "2, 3, 4, 5")]
    pub(super) value: Option<PointValue>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum PointValue {
    #[prost(int64, tag = "2")]
    Int(i64),
    #[prost(double, tag = "3")]
    Double(f64),
    #[prost(message, tag = "4")]
    Distribution(Distribution),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Distribution {
    #[prost(int64, tag = "1")]
    pub(super) count: i64,
    #[prost(double, tag = "2")]
    pub(super) sum: f64,
    #[prost(message, optional, tag = "4")]
    pub(super) bucket_options: Option<BucketOptions>,
    /// [`Bucket`].
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub(super) buckets: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BucketOptions {
    #[prost(message, optional, tag = "1")]
    pub(super) explicit: Option<Explicit>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Explicit {
    #[prost(double, repeated, tag = "1")]
    pub(super) bounds: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Bucket {
    #[prost(int64, tag = "1")]
    pub(super) count: i64,
    #[prost(message, optional, tag = "2")]
    pub(super) exemplar: Option<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Exemplar {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    #[prost(message, optional, tag = "2")]
    pub(super) timestamp: Option<Timestamp>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) attachments: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, optional, tag = "1")]
    pub(super) count: Option<Int64Value>,
    #[prost(message, optional, tag = "2")]
    pub(super) sum: Option<DoubleValue>,
    #[prost(message, optional, tag = "3")]
    pub(super) snapshot: Option<Snapshot>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Snapshot {
    #[prost(message, repeated, tag = "3")]
    pub(super) percentile_values: Vec<ValueAtPercentile>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ValueAtPercentile {
    #[prost(double, tag = "1")]
    pub(super) percentile: f64,
    #[prost(double, tag = "2")]
    pub(super) value: f64,
}
