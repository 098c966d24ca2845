//! The data points of a batch, one by one.

use otlp::view::{
    ExponentialHistogramPointView, HistogramPointView, KeyValues, MetricData, MetricView, NumberPointView,
    ResourceView, ScopeView, SummaryPointView,
};
use otlp::{Batch, Temporality};

/// A data point with all that describes it.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// Where it comes from.
    pub resource: ResourceView<'a>,
    /// What made it.
    pub scope: ScopeView<'a>,
    /// Its metric.
    pub metric: MetricView<'a>,
    /// What tells its series from others of the metric.
    pub attributes: KeyValues<'a>,
    /// From when on it counts, in nanoseconds since the Unix epoch; 0 when unknown.
    pub start_unix_ns: u64,
    /// When it was measured, in nanoseconds since the Unix epoch; 0 when unknown.
    pub time_unix_ns: u64,
    /// Bit 0 says that there is no recorded value.
    pub flags: u32,
    /// What it says.
    pub data: PointData<'a>,
}

/// What a data point says, by kind.
#[derive(Clone, Copy, Debug)]
pub enum PointData<'a> {
    /// A value as it is at a time.
    Gauge(NumberPointView<'a>),
    /// A sum.
    Sum {
        /// The data point.
        point: NumberPointView<'a>,
        /// What it counts from.
        temporality: Temporality,
        /// Whether it never falls.
        is_monotonic: bool,
    },
    /// A distribution over buckets with explicit bounds.
    Histogram {
        /// The data point.
        point: HistogramPointView<'a>,
        /// What it counts from.
        temporality: Temporality,
    },
    /// A distribution over buckets that grow by powers.
    ExponentialHistogram {
        /// The data point.
        point: ExponentialHistogramPointView<'a>,
        /// What it counts from.
        temporality: Temporality,
    },
    /// Quantiles.
    Summary(SummaryPointView<'a>),
}

impl Point<'_> {
    /// Whether it says that there is no recorded value.
    pub fn is_without_value(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// Shows every data point of a batch of metrics, in order.
pub fn for_each_point<'a>(batch: &'a Batch, mut visit: impl FnMut(&Point<'a>)) {
    for block in batch.metrics().into_iter().flat_map(|metrics| metrics.resource_metrics()) {
        let resource = block.resource();
        for scope_metrics in block.scope_metrics() {
            let scope = scope_metrics.scope();
            for metric in scope_metrics.metrics() {
                for_each_of_metric(resource, scope, metric, &mut visit);
            }
        }
    }
}

fn for_each_of_metric<'a>(
    resource: ResourceView<'a>,
    scope: ScopeView<'a>,
    metric: MetricView<'a>,
    visit: &mut impl FnMut(&Point<'a>),
) {
    macro_rules! each {
        ($points:ident, $point:ident => $data:expr) => {
            for $point in $points {
                visit(&Point {
                    resource,
                    scope,
                    metric,
                    attributes: $point.attributes(),
                    start_unix_ns: $point.start_time_unix_nano(),
                    time_unix_ns: $point.time_unix_nano(),
                    flags: $point.flags(),
                    data: $data,
                })
            }
        };
    }
    match metric.data() {
        MetricData::Empty => {}
        MetricData::Gauge { points } => each!(points, point => PointData::Gauge(point)),
        MetricData::Sum { points, temporality, is_monotonic } => {
            each!(points, point => PointData::Sum { point, temporality, is_monotonic });
        }
        MetricData::Histogram { points, temporality } => {
            each!(points, point => PointData::Histogram { point, temporality });
        }
        MetricData::ExponentialHistogram { points, temporality } => {
            each!(points, point => PointData::ExponentialHistogram { point, temporality });
        }
        MetricData::Summary { points } => each!(points, point => PointData::Summary(point)),
    }
}
