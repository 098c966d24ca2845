//! `opentelemetry.proto.metrics.v1`.

use super::{ResourceWriter, ScopeWriter, encoder, writer};
use crate::wire::{write_double_field, write_fixed64_field};
use crate::{NumberValue, Temporality};

encoder! {
    /// Encodes a request with metrics.
    MetricsEncoder Metrics resource_metrics ResourceMetricsWriter
}

writer! {
    /// Writes the metrics of one resource.
    ResourceMetricsWriter {
        /// Where the metrics come from.
        1 resource: message(ResourceWriter 128),
        /// The metrics of one scope; any number of times.
        2 scope_metrics: message(ScopeMetricsWriter 16384),
        /// The schema of the resource.
        3 schema_url: string,
    }
}

writer! {
    /// Writes the metrics of one scope.
    ScopeMetricsWriter {
        /// What made the metrics.
        1 scope: message(ScopeWriter 0),
        /// A metric; any number of times.
        2 metric: message(MetricWriter 128),
        /// The schema of the scope and the metrics.
        3 schema_url: string,
    }
}

writer! {
    /// Writes a metric. One of the five kinds of data is to be written, once.
    MetricWriter {
        /// The name.
        1 name: string,
        /// What it means.
        2 description: string,
        /// The unit, as UCUM writes it.
        3 unit: string,
        /// Values as they are at a time.
        5 gauge: message(GaugeWriter 128),
        /// Sums.
        7 sum: message(SumWriter 128),
        /// Distributions over buckets with explicit bounds.
        9 histogram: message(HistogramWriter 128),
        /// Distributions over buckets that grow by powers.
        10 exponential_histogram: message(ExponentialHistogramWriter 128),
        /// Quantiles that the source computed.
        11 summary: message(SummaryWriter 128),
        /// What describes the metric beyond name, description and unit.
        12 metadata: attributes,
    }
}

writer! {
    /// Writes the data points of a gauge.
    GaugeWriter {
        /// A data point; any number of times.
        1 point: item(NumberPointWriter 0),
    }
}

writer! {
    /// Writes the data points of a sum.
    SumWriter {
        /// A data point; any number of times.
        1 point: item(NumberPointWriter 0),
        /// What the sums count from.
        2 temporality: number(Temporality),
        /// Whether the sum never falls.
        3 is_monotonic: bool,
    }
}

writer! {
    /// Writes the data points of a histogram.
    HistogramWriter {
        /// A data point; any number of times.
        1 point: item(HistogramPointWriter 128),
        /// What the counts count from.
        2 temporality: number(Temporality),
    }
}

writer! {
    /// Writes the data points of an exponential histogram.
    ExponentialHistogramWriter {
        /// A data point; any number of times.
        1 point: item(ExponentialHistogramPointWriter 128),
        /// What the counts count from.
        2 temporality: number(Temporality),
    }
}

writer! {
    /// Writes the data points of a summary.
    SummaryWriter {
        /// A data point; any number of times.
        1 point: item(SummaryPointWriter 128),
    }
}

writer! {
    /// Writes a data point of a gauge or a sum.
    NumberPointWriter {
        /// From when on the value counts, in nanoseconds since the Unix epoch.
        2 start_time_unix_nano: fixed64,
        /// The time of the value, in nanoseconds since the Unix epoch.
        3 time_unix_nano: fixed64,
        /// A sample of what was measured; any number of times.
        5 exemplar: message(ExemplarWriter 0),
        /// What tells the series from others of the metric.
        7 attributes: attributes,
        /// Bit 0 says that there is no recorded value.
        8 flags: uint32,
    }
}

impl NumberPointWriter<'_> {
    /// The value; left out where there is none, as in a staleness marker.
    pub fn value(&mut self, value: NumberValue) -> &mut Self {
        match value {
            NumberValue::Double(value) => write_double_field(&mut self.sink.out, 4, value),
            NumberValue::Int(value) => write_fixed64_field(&mut self.sink.out, 6, value as u64),
        }
        self
    }
}

writer! {
    /// Writes a data point of a histogram.
    HistogramPointWriter {
        /// From when on the values count, in nanoseconds since the Unix epoch.
        2 start_time_unix_nano: fixed64,
        /// The time of the values, in nanoseconds since the Unix epoch.
        3 time_unix_nano: fixed64,
        /// How many values there are.
        4 count: fixed64,
        /// Their sum.
        5 sum: optional_double,
        /// How many values lie in each bucket: one more than the bounds, or none at all.
        6 bucket_counts: packed_fixed64,
        /// The upper bounds of the buckets, inclusive, ascending, without the infinite last one.
        7 explicit_bounds: packed_double,
        /// A sample of what was measured; any number of times.
        8 exemplar: message(ExemplarWriter 0),
        /// What tells the series from others of the metric.
        9 attributes: attributes,
        /// Bit 0 says that there is no recorded value.
        10 flags: uint32,
        /// The smallest value.
        11 min: optional_double,
        /// The greatest value.
        12 max: optional_double,
    }
}

writer! {
    /// Writes a data point of an exponential histogram.
    ExponentialHistogramPointWriter {
        /// What tells the series from others of the metric.
        1 attributes: attributes,
        /// From when on the values count, in nanoseconds since the Unix epoch.
        2 start_time_unix_nano: fixed64,
        /// The time of the values, in nanoseconds since the Unix epoch.
        3 time_unix_nano: fixed64,
        /// How many values there are.
        4 count: fixed64,
        /// Their sum.
        5 sum: optional_double,
        /// The base of the bounds is 2^(2^-scale).
        6 scale: sint32,
        /// How many values count as zero.
        7 zero_count: fixed64,
        /// The buckets of positive values.
        8 positive: message(BucketsWriter 0),
        /// The buckets of negative values.
        9 negative: message(BucketsWriter 0),
        /// Bit 0 says that there is no recorded value.
        10 flags: uint32,
        /// A sample of what was measured; any number of times.
        11 exemplar: message(ExemplarWriter 0),
        /// The smallest value.
        12 min: optional_double,
        /// The greatest value.
        13 max: optional_double,
        /// The width of the zero bucket.
        14 zero_threshold: double,
    }
}

writer! {
    /// Writes the buckets of one sign.
    BucketsWriter {
        /// The index of the first bucket.
        1 offset: sint32,
        /// How many values lie in each bucket, from the one at `offset` on.
        2 bucket_counts: packed_varint,
    }
}

writer! {
    /// Writes a data point of a summary.
    SummaryPointWriter {
        /// From when on the values count, in nanoseconds since the Unix epoch.
        2 start_time_unix_nano: fixed64,
        /// The time of the values, in nanoseconds since the Unix epoch.
        3 time_unix_nano: fixed64,
        /// How many values there are.
        4 count: fixed64,
        /// Their sum.
        5 sum: double,
        /// The value of a quantile; any number of times.
        6 quantile: message(QuantileWriter 0),
        /// What tells the series from others of the metric.
        7 attributes: attributes,
        /// Bit 0 says that there is no recorded value.
        8 flags: uint32,
    }
}

writer! {
    /// Writes the value of one quantile.
    QuantileWriter {
        /// The quantile, 0 to 1.
        1 quantile: double,
        /// Its value.
        2 value: double,
    }
}

writer! {
    /// Writes an exemplar.
    ExemplarWriter {
        /// When it was measured, in nanoseconds since the Unix epoch.
        2 time_unix_nano: fixed64,
        /// The span in which it was measured.
        4 span_id: span_id,
        /// The trace in which it was measured.
        5 trace_id: trace_id,
        /// The attributes that the aggregation removed.
        7 filtered_attributes: attributes,
    }
}

impl ExemplarWriter<'_> {
    /// The value.
    pub fn value(&mut self, value: NumberValue) -> &mut Self {
        match value {
            NumberValue::Double(value) => write_double_field(&mut self.sink.out, 3, value),
            NumberValue::Int(value) => write_fixed64_field(&mut self.sink.out, 6, value as u64),
        }
        self
    }
}
