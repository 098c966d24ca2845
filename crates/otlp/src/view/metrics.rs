//! `opentelemetry.proto.metrics.v1`.

use super::{Doubles, Integers, KeyValueView, Repeated, ResourceView, ScopeView, view};
use crate::Temporality;
use crate::wire::{FieldValue, Fields};

view! {
    /// A request with metrics: `ExportMetricsServiceRequest`.
    MetricsView {
        /// The metrics of each resource.
        1 resource_metrics: repeated(ResourceMetricsView),
    }
}

view! {
    /// The metrics of one resource.
    ResourceMetricsView {
        /// Where the metrics come from.
        1 resource: message(ResourceView),
        /// The metrics of each scope.
        2 scope_metrics: repeated(ScopeMetricsView),
        /// The schema of the resource and of the scopes that name none.
        3 schema_url: string,
    }
}

view! {
    /// The metrics of one scope.
    ScopeMetricsView {
        /// What made the metrics.
        1 scope: message(ScopeView),
        /// The metrics.
        2 metrics: repeated(MetricView),
        /// The schema of the scope and the metrics.
        3 schema_url: string,
    }
}

view! {
    /// One metric and its data points.
    MetricView {
        /// The name.
        1 name: string,
        /// What it means.
        2 description: string,
        /// The unit, as UCUM writes it.
        3 unit: string,
        /// What describes the metric beyond name, description and unit.
        12 metadata: repeated(KeyValueView),
    }
}

/// The data points of a metric, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum MetricData<'a> {
    /// None, or a kind that this version does not know.
    #[default]
    Empty,
    /// Values as they are at a time.
    Gauge {
        /// The data points.
        points: Repeated<'a, NumberPointView<'a>>,
    },
    /// Sums.
    Sum {
        /// The data points.
        points: Repeated<'a, NumberPointView<'a>>,
        /// What the sums count from.
        temporality: Temporality,
        /// Whether the sum never falls.
        is_monotonic: bool,
    },
    /// Distributions over buckets with explicit bounds.
    Histogram {
        /// The data points.
        points: Repeated<'a, HistogramPointView<'a>>,
        /// What the counts count from.
        temporality: Temporality,
    },
    /// Distributions over buckets that grow by powers.
    ExponentialHistogram {
        /// The data points.
        points: Repeated<'a, ExponentialHistogramPointView<'a>>,
        /// What the counts count from.
        temporality: Temporality,
    },
    /// Quantiles that the source computed.
    Summary {
        /// The data points.
        points: Repeated<'a, SummaryPointView<'a>>,
    },
}

impl<'a> MetricData<'a> {
    /// The number of data points.
    pub fn points(&self) -> usize {
        match self {
            MetricData::Empty => 0,
            MetricData::Gauge { points } | MetricData::Sum { points, .. } => points.messages().count(),
            MetricData::Histogram { points, .. } => points.messages().count(),
            MetricData::ExponentialHistogram { points, .. } => points.messages().count(),
            MetricData::Summary { points } => points.messages().count(),
        }
    }
}

impl<'a> MetricView<'a> {
    /// The name, without the check that it is UTF-8, for comparisons.
    #[inline]
    pub fn name_bytes(&self) -> &'a [u8] {
        self.name
    }

    /// The data points. It passes over all of them once to find what stands behind them, so it is to be asked once
    /// for a metric, not for each data point.
    #[inline]
    pub fn data(&self) -> MetricData<'a> {
        let mut found = MetricData::Empty;
        for field in Fields::new(self.raw) {
            let FieldValue::Length(data) = field.value else { continue };
            found = match field.number {
                5 => MetricData::Gauge { points: Repeated::new(data, 0, 1) },
                7 => {
                    let [temporality, is_monotonic] = last_varints(data, [2, 3]);
                    let (temporality, is_monotonic) = (temporality_of(temporality), is_monotonic != 0);
                    MetricData::Sum { points: Repeated::new(data, 0, 1), temporality, is_monotonic }
                }
                9 => MetricData::Histogram { points: Repeated::new(data, 0, 1), temporality: temporality(data) },
                10 => {
                    let points = Repeated::new(data, 0, 1);
                    MetricData::ExponentialHistogram { points, temporality: temporality(data) }
                }
                11 => MetricData::Summary { points: Repeated::new(data, 0, 1) },
                _ => found,
            };
        }
        found
    }
}

/// Field 2 of the three messages that have a temporality.
fn temporality(data: &[u8]) -> Temporality {
    let [temporality] = last_varints(data, [2]);
    temporality_of(temporality)
}

fn temporality_of(number: u64) -> Temporality {
    Temporality::from_number(number as i32).unwrap_or_default()
}

/// The last ones of these fields, 0 where there is none, in one pass.
fn last_varints<const FIELDS: usize>(message: &[u8], numbers: [u32; FIELDS]) -> [u64; FIELDS] {
    let mut found = [0; FIELDS];
    for field in Fields::new(message) {
        if let Some(at) = numbers.iter().position(|number| *number == field.number) {
            found[at] = field.value.varint();
        }
    }
    found
}

view! {
    /// A data point of a gauge or a sum: `NumberDataPoint`.
    NumberPointView {
        /// From when on the value counts, in nanoseconds since the Unix epoch; 0 when unknown.
        2 start_time_unix_nano: fixed64,
        /// The time of the value, in nanoseconds since the Unix epoch.
        3 time_unix_nano: fixed64,
        /// The value; `None` when absent, as in a staleness marker.
        4 | 6 value: number,
        /// Samples of what was measured.
        5 exemplars: repeated(ExemplarView),
        /// What tells the series from others of the metric.
        7 attributes: repeated(KeyValueView),
        /// Bit 0 says that there is no recorded value.
        8 flags: uint32,
    }
}

view! {
    /// A data point of a histogram: `HistogramDataPoint`.
    HistogramPointView {
        /// From when on the values count, in nanoseconds since the Unix epoch; 0 when unknown.
        2 start_time_unix_nano: fixed64,
        /// The time of the values, in nanoseconds since the Unix epoch.
        3 time_unix_nano: fixed64,
        /// How many values there are.
        4 count: fixed64,
        /// Their sum, if given.
        5 sum: optional_double,
        /// Samples of what was measured.
        8 exemplars: repeated(ExemplarView),
        /// What tells the series from others of the metric.
        9 attributes: repeated(KeyValueView),
        /// Bit 0 says that there is no recorded value.
        10 flags: uint32,
        /// The smallest value, if given.
        11 min: optional_double,
        /// The greatest value, if given.
        12 max: optional_double,
    }
}

impl<'a> HistogramPointView<'a> {
    /// How many values lie in each bucket: one more than the bounds, or none at all.
    #[inline]
    pub fn bucket_counts(&self) -> Integers<'a> {
        Integers::fixed64(self.raw, 6)
    }

    /// The upper bounds of the buckets, inclusive, ascending, without the infinite last one.
    #[inline]
    pub fn explicit_bounds(&self) -> Doubles<'a> {
        Doubles::new(self.raw, 7)
    }
}

view! {
    /// A data point of an exponential histogram: `ExponentialHistogramDataPoint`.
    ExponentialHistogramPointView {
        /// What tells the series from others of the metric.
        1 attributes: repeated(KeyValueView),
        /// From when on the values count, in nanoseconds since the Unix epoch; 0 when unknown.
        2 start_time_unix_nano: fixed64,
        /// The time of the values, in nanoseconds since the Unix epoch.
        3 time_unix_nano: fixed64,
        /// How many values there are.
        4 count: fixed64,
        /// Their sum, if given.
        5 sum: optional_double,
        /// The base of the bounds is 2^(2^-scale).
        6 scale: sint32,
        /// How many values count as zero.
        7 zero_count: fixed64,
        /// The buckets of positive values.
        8 positive: message(BucketsView),
        /// The buckets of negative values.
        9 negative: message(BucketsView),
        /// Bit 0 says that there is no recorded value.
        10 flags: uint32,
        /// Samples of what was measured.
        11 exemplars: repeated(ExemplarView),
        /// The smallest value, if given.
        12 min: optional_double,
        /// The greatest value, if given.
        13 max: optional_double,
        /// The width of the zero bucket: values in [-zero_threshold, zero_threshold].
        14 zero_threshold: double,
    }
}

view! {
    /// The buckets of one sign: `ExponentialHistogramDataPoint.Buckets`.
    BucketsView {
        /// The index of the first bucket.
        1 offset: sint32,
    }
}

impl<'a> BucketsView<'a> {
    /// How many values lie in each bucket, from the one at `offset` on.
    #[inline]
    pub fn bucket_counts(&self) -> Integers<'a> {
        Integers::varint(self.raw, 2)
    }
}

view! {
    /// A data point of a summary: `SummaryDataPoint`.
    SummaryPointView {
        /// From when on the values count, in nanoseconds since the Unix epoch; 0 when unknown.
        2 start_time_unix_nano: fixed64,
        /// The time of the values, in nanoseconds since the Unix epoch.
        3 time_unix_nano: fixed64,
        /// How many values there are.
        4 count: fixed64,
        /// Their sum.
        5 sum: double,
        /// The quantiles.
        6 quantile_values: repeated(QuantileView),
        /// What tells the series from others of the metric.
        7 attributes: repeated(KeyValueView),
        /// Bit 0 says that there is no recorded value.
        8 flags: uint32,
    }
}

view! {
    /// The value of one quantile: `SummaryDataPoint.ValueAtQuantile`.
    QuantileView {
        /// The quantile, 0 to 1.
        1 quantile: double,
        /// Its value.
        2 value: double,
    }
}

view! {
    /// One measurement out of many: `Exemplar`.
    ExemplarView {
        /// When it was measured, in nanoseconds since the Unix epoch.
        2 time_unix_nano: fixed64,
        /// The value; `None` when absent.
        3 | 6 value: number,
        /// The span in which it was measured, if any.
        4 span_id: span_id,
        /// The trace in which it was measured, if any.
        5 trace_id: trace_id,
        /// The attributes that the aggregation removed.
        7 filtered_attributes: repeated(KeyValueView),
    }
}
