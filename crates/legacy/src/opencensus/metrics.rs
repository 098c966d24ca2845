//! Metrics.

use otlp::encode::{
    AttributesWriter, HistogramPointWriter, MetricWriter, MetricsEncoder, ScopeMetricsWriter, SummaryPointWriter,
};
use otlp::{Batch, NumberValue, Signal, Temporality};

use super::proto::{
    Bucket, Distribution, LabelKey, LabelValue, Metric, MetricDescriptor, Point, PointValue, Summary, TimeSeries,
    unix_nano,
};
use super::resource::Described;
use super::{Budget, Decoded, Malformed, Stream, read};

/// What a metric of OpenCensus is in OTLP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Sum,
    Histogram,
    Summary,
}

/// `MetricDescriptor.Type`. A gauge of distributions has no kind in OTLP.
fn kind(number: i32) -> Option<Kind> {
    match number {
        1 | 2 => Some(Kind::Gauge),
        4 | 5 => Some(Kind::Sum),
        6 => Some(Kind::Histogram),
        7 => Some(Kind::Summary),
        _ => None,
    }
}

/// A point of a time series, ready to be written.
struct Ready<'a> {
    start_unix_nano: u64,
    labels: &'a [(&'a str, &'a str)],
    point: Point,
}

/// What is counted while a batch is written.
struct Counts {
    budget: Budget,
    without_kind: u64,
}

/// The metrics of the stream's resource in one block, and each metric that has a resource of its own in another.
pub(super) fn batch<'a, I>(stream: &Stream, metrics: &dyn Fn() -> I) -> Result<Decoded, Malformed>
where
    I: Iterator<Item = &'a [u8]>,
{
    let mut encoder = MetricsEncoder::new();
    let mut counts = Counts { budget: Budget::new(), without_kind: 0 };
    let mut own: Vec<usize> = Vec::new();
    let mut common = metrics().enumerate().peekable();
    if common.peek().is_some() {
        encoder.resource_metrics(|block| {
            let described = Described::new(stream.node.as_ref(), stream.resource.as_ref());
            block.resource(|out| described.write(out));
            block.scope_metrics(|scope| {
                common.try_for_each(|(index, bytes)| {
                    let metric: Metric = read("metric", index, bytes)?;
                    match metric.resource {
                        Some(_) => own.push(index),
                        None => write_metric(index, &metric, &mut counts, scope)?,
                    }
                    Ok(())
                })
            })
        })?;
    }
    let mut left = own.into_iter().peekable();
    for (index, bytes) in metrics().enumerate() {
        if left.next_if_eq(&index).is_none() {
            continue;
        }
        let metric: Metric = read("metric", index, bytes)?;
        let described = Described::new(stream.node.as_ref(), metric.resource.as_ref());
        counts.budget.take(described.size_bytes())?;
        encoder.resource_metrics(|block| {
            block.resource(|out| described.write(out));
            block.scope_metrics(|scope| write_metric(index, &metric, &mut counts, scope))
        })?;
    }
    let batch = if encoder.items() == 0 { Batch::empty(Signal::Metrics) } else { encoder.finish() };
    Ok(Decoded { batch, without_kind: counts.without_kind })
}

fn write_metric(
    index: usize,
    metric: &Metric,
    counts: &mut Counts,
    out: &mut ScopeMetricsWriter<'_>,
) -> Result<(), Malformed> {
    let known = metric.metric_descriptor.as_ref().and_then(|descriptor| Some((descriptor, kind(descriptor.kind)?)));
    let Some((descriptor, kind)) = known else {
        for bytes in &metric.timeseries {
            let series: TimeSeries = read("metric", index, bytes)?;
            counts.without_kind += series.points.len() as u64;
        }
        return Ok(());
    };
    out.metric(|out| {
        out.name(&descriptor.name).description(&descriptor.description).unit(&descriptor.unit);
        write_data(index, kind, metric, descriptor, counts, out)
    })
}

fn write_data(
    index: usize,
    kind: Kind,
    metric: &Metric,
    descriptor: &MetricDescriptor,
    counts: &mut Counts,
    out: &mut MetricWriter<'_>,
) -> Result<(), Malformed> {
    match kind {
        Kind::Gauge => out.gauge(|out| {
            each_point(index, metric, descriptor, counts, |ready| {
                let Some(value) = number(&ready) else { return Ok(false) };
                out.point(|out| {
                    out.start_time_unix_nano(ready.start_unix_nano).time_unix_nano(unix_nano(ready.point.timestamp));
                    write_labels(ready.labels, &mut out.attributes());
                    out.value(value);
                });
                Ok(true)
            })
        }),
        Kind::Sum => out.sum(|out| {
            out.temporality(Temporality::Cumulative).is_monotonic(true);
            each_point(index, metric, descriptor, counts, |ready| {
                let Some(value) = number(&ready) else { return Ok(false) };
                out.point(|out| {
                    out.start_time_unix_nano(ready.start_unix_nano).time_unix_nano(unix_nano(ready.point.timestamp));
                    write_labels(ready.labels, &mut out.attributes());
                    out.value(value);
                });
                Ok(true)
            })
        }),
        Kind::Histogram => out.histogram(|out| {
            out.temporality(Temporality::Cumulative);
            each_point(index, metric, descriptor, counts, |ready| {
                let Some(PointValue::Distribution(distribution)) = &ready.point.value else { return Ok(false) };
                out.point(|out| write_distribution(index, &ready, distribution, out))?;
                Ok(true)
            })
        }),
        Kind::Summary => out.summary(|out| {
            each_point(index, metric, descriptor, counts, |ready| {
                let Some(PointValue::Summary(summary)) = &ready.point.value else { return Ok(false) };
                out.point(|out| write_summary(&ready, summary, out));
                Ok(true)
            })
        }),
    }
}

/// Calls `write` with each point; it tells whether the point was of the metric's kind.
fn each_point(
    index: usize,
    metric: &Metric,
    descriptor: &MetricDescriptor,
    counts: &mut Counts,
    mut write: impl FnMut(Ready<'_>) -> Result<bool, Malformed>,
) -> Result<(), Malformed> {
    for bytes in &metric.timeseries {
        let series: TimeSeries = read("metric", index, bytes)?;
        let labels = labels(&descriptor.label_keys, &series.label_values);
        let labels_bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len() + 16).sum();
        for bytes in &series.points {
            counts.budget.take(labels_bytes)?;
            let point = read("metric", index, bytes)?;
            let start_unix_nano = unix_nano(series.start_timestamp);
            if !write(Ready { start_unix_nano, labels: &labels, point })? {
                counts.without_kind += 1;
            }
        }
    }
    Ok(())
}

/// The labels that have a value; of a key that comes twice the first.
fn labels<'a>(keys: &'a [LabelKey], values: &'a [LabelValue]) -> Vec<(&'a str, &'a str)> {
    let pairs = keys.iter().zip(values).filter(|(_, value)| value.has_value);
    let mut labels: Vec<_> = pairs.map(|(key, value)| (key.key.as_str(), value.value.as_str())).collect();
    labels.sort_by_key(|(key, _)| *key);
    labels.dedup_by_key(|(key, _)| *key);
    labels
}

fn write_labels(labels: &[(&str, &str)], out: &mut AttributesWriter<'_>) {
    for (key, value) in labels {
        out.string(key, value);
    }
}

fn number(ready: &Ready<'_>) -> Option<NumberValue> {
    match ready.point.value {
        Some(PointValue::Int(value)) => Some(NumberValue::Int(value)),
        Some(PointValue::Double(value)) => Some(NumberValue::Double(value)),
        _ => None,
    }
}

/// A count that is below zero counts nothing.
fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn write_distribution(
    index: usize,
    ready: &Ready<'_>,
    distribution: &Distribution,
    out: &mut HistogramPointWriter<'_>,
) -> Result<(), Malformed> {
    out.start_time_unix_nano(ready.start_unix_nano).time_unix_nano(unix_nano(ready.point.timestamp));
    write_labels(ready.labels, &mut out.attributes());
    out.count(count(distribution.count)).sum(distribution.sum);
    let bounds = distribution.bucket_options.as_ref().and_then(|options| options.explicit.as_ref());
    let bounds = bounds.map_or(&[][..], |explicit| &explicit.bounds);
    let mut bucket_counts = Vec::with_capacity(distribution.buckets.len());
    for bytes in &distribution.buckets {
        let bucket: Bucket = read("metric", index, bytes)?;
        bucket_counts.push(count(bucket.count));
        let Some(exemplar) = bucket.exemplar else { continue };
        out.exemplar(|out| {
            out.time_unix_nano(unix_nano(exemplar.timestamp)).value(NumberValue::Double(exemplar.value));
            for (key, value) in &exemplar.attachments {
                out.filtered_attributes().string(key, value);
            }
        });
    }
    if bucket_counts.len() == bounds.len() + 1 {
        out.bucket_counts(bucket_counts).explicit_bounds(bounds.iter().copied());
    }
    Ok(())
}

fn write_summary(ready: &Ready<'_>, summary: &Summary, out: &mut SummaryPointWriter<'_>) {
    out.start_time_unix_nano(ready.start_unix_nano).time_unix_nano(unix_nano(ready.point.timestamp));
    write_labels(ready.labels, &mut out.attributes());
    out.count(count(summary.count.map_or(0, |count| count.value))).sum(summary.sum.map_or(0.0, |sum| sum.value));
    for percentile in summary.snapshot.iter().flat_map(|snapshot| &snapshot.percentile_values) {
        out.quantile(|out| {
            out.quantile(percentile.percentile / 100.0).value(percentile.value);
        });
    }
}
