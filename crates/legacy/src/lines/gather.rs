//! Points from lines, put together as a batch: by resource, scope and metric, each sorted, so that the same lines are
//! the same batch.

use std::collections::BTreeMap;

use otlp::encode::{
    AttributesWriter, HistogramPointWriter, MetricWriter, MetricsEncoder, NumberPointWriter, SummaryPointWriter,
};
use otlp::{Batch, NumberValue, Temporality};

/// Attributes with text as values, sorted by key.
pub(crate) type Attributes = BTreeMap<String, String>;

/// What kind of metric a point belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Gauge,
    Sum,
    DeltaSum,
    Histogram,
    DeltaHistogram,
    Summary,
}

/// What a point says. What does not fit the kind it is added with is not written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(NumberValue),
    Histogram {
        count: u64,
        sum: Option<f64>,
        min: Option<f64>,
        max: Option<f64>,
        bounds: Vec<f64>,
        /// One more than the bounds, or none.
        counts: Vec<u64>,
    },
    Summary {
        count: u64,
        sum: f64,
        quantiles: Vec<(f64, f64)>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gathered {
    pub(crate) attributes: Attributes,
    pub(crate) start_unix_ns: u64,
    pub(crate) time_unix_ns: u64,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    pub(crate) name: String,
    pub(crate) version: String,
}

type Metrics = BTreeMap<(String, Kind), Vec<Gathered>>;

/// Points that become one batch.
#[derive(Debug, Default)]
pub(crate) struct Gatherer {
    blocks: BTreeMap<Attributes, BTreeMap<Scope, Metrics>>,
    items: u32,
}

impl Gatherer {
    pub(crate) fn items(&self) -> u32 {
        self.items
    }

    pub(crate) fn add(&mut self, resource: Attributes, scope: Scope, name: String, kind: Kind, point: Gathered) {
        let metrics = self.blocks.entry(resource).or_default().entry(scope).or_default();
        metrics.entry((name, kind)).or_default().push(point);
        self.items = self.items.saturating_add(1);
    }

    pub(crate) fn finish(self) -> Batch {
        let mut encoder = MetricsEncoder::new();
        for (resource, scopes) in &self.blocks {
            encoder.resource_metrics(|block| {
                if !resource.is_empty() {
                    block.resource(|writer| write_attributes(resource, writer.attributes()));
                }
                for (scope, metrics) in scopes {
                    block.scope_metrics(|scope_metrics| {
                        if *scope != Scope::default() {
                            scope_metrics.scope(|writer| {
                                writer.name(&scope.name).version(&scope.version);
                            });
                        }
                        for ((name, kind), points) in metrics {
                            scope_metrics.metric(|metric| {
                                metric.name(name);
                                write_points(metric, *kind, points);
                            });
                        }
                    });
                }
            });
        }
        encoder.finish()
    }
}

fn write_points(metric: &mut MetricWriter<'_>, kind: Kind, points: &[Gathered]) {
    let temporality = match kind {
        Kind::DeltaSum | Kind::DeltaHistogram => Temporality::Delta,
        _ => Temporality::Cumulative,
    };
    match kind {
        Kind::Gauge => metric.gauge(|gauge| {
            points.iter().for_each(|point| gauge.point(|writer| write_number(writer, point)));
        }),
        Kind::Sum | Kind::DeltaSum => metric.sum(|sum| {
            points.iter().for_each(|point| sum.point(|writer| write_number(writer, point)));
            sum.temporality(temporality).is_monotonic(true);
        }),
        Kind::Histogram | Kind::DeltaHistogram => metric.histogram(|histogram| {
            points.iter().for_each(|point| histogram.point(|writer| write_histogram(writer, point)));
            histogram.temporality(temporality);
        }),
        Kind::Summary => metric.summary(|summary| {
            points.iter().for_each(|point| summary.point(|writer| write_summary(writer, point)));
        }),
    }
}

fn write_attributes(attributes: &Attributes, mut to: AttributesWriter<'_>) {
    for (key, value) in attributes {
        to.string(key, value);
    }
}

fn write_number(to: &mut NumberPointWriter<'_>, point: &Gathered) {
    to.start_time_unix_nano(point.start_unix_ns).time_unix_nano(point.time_unix_ns);
    if let Value::Number(value) = point.value {
        to.value(value);
    }
    write_attributes(&point.attributes, to.attributes());
}

fn write_histogram(to: &mut HistogramPointWriter<'_>, point: &Gathered) {
    to.start_time_unix_nano(point.start_unix_ns).time_unix_nano(point.time_unix_ns);
    if let Value::Histogram { count, sum, min, max, bounds, counts } = &point.value {
        to.count(*count);
        if let Some(sum) = sum {
            to.sum(*sum);
        }
        to.bucket_counts(counts.iter().copied()).explicit_bounds(bounds.iter().copied());
        if let Some(min) = min {
            to.min(*min);
        }
        if let Some(max) = max {
            to.max(*max);
        }
    }
    write_attributes(&point.attributes, to.attributes());
}

fn write_summary(to: &mut SummaryPointWriter<'_>, point: &Gathered) {
    to.start_time_unix_nano(point.start_unix_ns).time_unix_nano(point.time_unix_ns);
    if let Value::Summary { count, sum, quantiles } = &point.value {
        to.count(*count).sum(*sum);
        for (quantile, value) in quantiles {
            to.quantile(|writer| {
                writer.quantile(*quantile).value(*value);
            });
        }
    }
    write_attributes(&point.attributes, to.attributes());
}
