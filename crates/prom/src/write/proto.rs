//! The messages of remote write 1.0, for those who read them: receivers, test backends.
//!
//! Specification: [Prometheus Remote-Write 1.0](https://prometheus.io/docs/specs/prw/remote_write_spec/), and the
//! messages `prometheus.WriteRequest` and below in Prometheus' `prompb/remote.proto` and `prompb/types.proto`. What this
//! crate writes, it writes as bytes; these structs are for reading.

use prost::{Message, Oneof};

/// One request.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// Series with their samples.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
    /// What describes metrics.
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<MetricMetadata>,
}

/// One series and some of its samples, oldest first.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Sorted by name, each name once, `__name__` among them.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// Samples that are floats.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Examples of what was measured.
    #[prost(message, repeated, tag = "3")]
    pub exemplars: Vec<Exemplar>,
    /// Samples that are native histograms.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<Histogram>,
}

/// A label.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Message)]
pub struct Label {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A float at a time.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// The value; the staleness marker is the NaN [`crate::text::STALE_NAN`].
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// One measurement out of many.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// What describes it, such as `trace_id`.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// Its value.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

/// What describes a metric.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct MetricMetadata {
    /// The type, one of [`MetricType`].
    #[prost(enumeration = "MetricType", tag = "1")]
    pub r#type: i32,
    /// The name of the family: without `_bucket`, `_sum`, `_count`.
    #[prost(string, tag = "2")]
    pub metric_family_name: String,
    /// What it means.
    #[prost(string, tag = "4")]
    pub help: String,
    /// Its unit.
    #[prost(string, tag = "5")]
    pub unit: String,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MetricType {
    /// Not known.
    Unknown = 0,
    /// A counter.
    Counter = 1,
    /// A gauge.
    Gauge = 2,
    /// A histogram, classic or native.
    Histogram = 3,
    /// A histogram of which the buckets may fall.
    GaugeHistogram = 4,
    /// A summary.
    Summary = 5,
    /// Text in labels.
    Info = 6,
    /// One of several states.
    StateSet = 7,
}

/// A native histogram.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// How many values there are.
    #[prost(oneof = "Count", tags = "1, 2")]
    pub count: Option<Count>,
    /// Their sum; the staleness marker makes the whole a staleness marker.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// The base of the bounds is 2^(2^-schema); -4 to 8.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// Values in [-zero_threshold, zero_threshold] count as zero.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// How many count as zero.
    #[prost(oneof = "ZeroCount", tags = "6, 7")]
    pub zero_count: Option<ZeroCount>,
    /// Where the negative buckets are.
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<BucketSpan>,
    /// The counts of the negative buckets, each as the difference to the one before.
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    /// The counts of the negative buckets, where counts are floats.
    #[prost(double, repeated, tag = "10")]
    pub negative_counts: Vec<f64>,
    /// Where the positive buckets are.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// The counts of the positive buckets, each as the difference to the one before.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// The counts of the positive buckets, where counts are floats.
    #[prost(double, repeated, tag = "13")]
    pub positive_counts: Vec<f64>,
    /// Whether the counts restarted: 0 unknown, 1 yes, 2 no, 3 gauge.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    /// The bounds, where the schema is that of custom bounds.
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
}

/// The count of a native histogram.
#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum Count {
    /// An integer.
    #[prost(uint64, tag = "1")]
    Int(u64),
    /// A float.
    #[prost(double, tag = "2")]
    Float(f64),
}

/// The count of the zero bucket of a native histogram.
#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum ZeroCount {
    /// An integer.
    #[prost(uint64, tag = "6")]
    Int(u64),
    /// A float.
    #[prost(double, tag = "7")]
    Float(f64),
}

/// Buckets in a row.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct BucketSpan {
    /// The index of the first bucket of the first span; for others, how many empty buckets lie before it.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// How many there are.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}
