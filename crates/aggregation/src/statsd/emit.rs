//! Points as OTLP: one metric for each name and kind, in batches of bounded size.

use otlp::encode::{
    AttributesWriter, BucketsWriter, ExponentialHistogramPointWriter, HistogramPointWriter, LogRecordWriter,
    LogsEncoder, MetricWriter, MetricsEncoder, NumberPointWriter, ScopeWriter, SummaryPointWriter,
};
use otlp::{Batch, Temporality};

use super::data::{Data, MetricKind, Point};
use super::event::{Event, EventKind};
use super::series::Series;
use super::settings::Settings;

/// The name of the scope that everything of this module is in.
pub const SCOPE_NAME: &str = "crossfade.statsd";

/// Batches hold so many points,
const POINTS_MAX: usize = 8_192;
/// and are begun anew behind about so many bytes.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The data point flag that says that there is no recorded value.
const NO_RECORDED_VALUE: u32 = 1;

pub(super) fn metrics(mut points: Vec<Point<'_>>, settings: &Settings) -> Vec<Batch> {
    points.sort_by(|left, right| left.metric().cmp(&right.metric()));
    let mut batches = Vec::new();
    let mut rest = &*points;
    while !rest.is_empty() {
        let (points, behind) = rest.split_at(batch_len(rest));
        batches.push(batch(points, settings.temporality));
        rest = behind;
    }
    batches
}

/// How many points make a batch: at least one.
fn batch_len(points: &[Point<'_>]) -> usize {
    let mut bytes = 0;
    let more = points.iter().take(POINTS_MAX).take_while(|point| {
        let first = bytes == 0;
        bytes += point.series.key.len() + data_bytes(&point.data);
        first || bytes <= BATCH_BYTES_MAX
    });
    more.count()
}

fn data_bytes(data: &Data) -> usize {
    const FIXED: usize = 48;
    FIXED
        + match data {
            Data::Gauge(_) | Data::Sum(_) | Data::Stale => 0,
            Data::Summary { quantiles, .. } => 22 * quantiles.len(),
            Data::Explicit { counts, .. } => 16 * counts.len(),
            Data::Exponential { positive, negative, .. } => 2 * (positive.1.len() + negative.1.len()),
        }
}

fn batch(points: &[Point<'_>], temporality: Temporality) -> Batch {
    let mut encoder = MetricsEncoder::with_capacity(points.len() * 128);
    encoder.resource_metrics(|block| {
        block.scope_metrics(|scope| {
            scope.scope(write_scope);
            for metric in points.chunk_by(|left, right| left.metric() == right.metric()) {
                scope.metric(|writer| write_metric(writer, metric, temporality));
            }
        });
    });
    encoder.finish()
}

fn write_scope(scope: &mut ScopeWriter<'_>) {
    scope.name(SCOPE_NAME).version(env!("CARGO_PKG_VERSION"));
}

fn write_metric(metric: &mut MetricWriter<'_>, points: &[Point<'_>], temporality: Temporality) {
    let Some(first) = points.first() else { return };
    metric.name(&first.series.name).unit(first.series.unit);
    if let Some(description) = points.iter().find_map(|point| point.series.description.as_deref()) {
        metric.description(description);
    }
    let kind = first.kind();
    match kind {
        MetricKind::Gauge => metric.gauge(|gauge| {
            points.iter().for_each(|point| gauge.point(|writer| write_number(writer, point)));
        }),
        MetricKind::Sum | MetricKind::MonotonicSum => metric.sum(|sum| {
            points.iter().for_each(|point| sum.point(|writer| write_number(writer, point)));
            sum.temporality(temporality).is_monotonic(kind == MetricKind::MonotonicSum);
        }),
        MetricKind::Summary => metric.summary(|summary| {
            points.iter().for_each(|point| summary.point(|writer| write_summary(writer, point)));
        }),
        MetricKind::Explicit => metric.histogram(|histogram| {
            points.iter().for_each(|point| histogram.point(|writer| write_explicit(writer, point)));
            histogram.temporality(temporality);
        }),
        MetricKind::Exponential => metric.exponential_histogram(|histogram| {
            points.iter().for_each(|point| histogram.point(|writer| write_exponential(writer, point)));
            histogram.temporality(temporality);
        }),
    }
}

fn write_number(writer: &mut NumberPointWriter<'_>, point: &Point<'_>) {
    // The value of a gauge counts from no time on.
    if matches!(point.data, Data::Sum(_) | Data::Stale) && point.kind() != MetricKind::Gauge {
        writer.start_time_unix_nano(point.start_ns);
    }
    writer.time_unix_nano(point.time_ns);
    match &point.data {
        Data::Gauge(value) | Data::Sum(value) => {
            writer.value(*value);
        }
        _ => {
            writer.flags(NO_RECORDED_VALUE);
        }
    }
    write_attributes(&mut writer.attributes(), point.series);
}

fn write_summary(writer: &mut SummaryPointWriter<'_>, point: &Point<'_>) {
    writer.start_time_unix_nano(point.start_ns).time_unix_nano(point.time_ns);
    match &point.data {
        Data::Summary { count, sum, quantiles } => {
            writer.count(*count).sum(*sum);
            for &(quantile, value) in quantiles {
                writer.quantile(|writer| {
                    writer.quantile(quantile).value(value);
                });
            }
        }
        _ => {
            writer.flags(NO_RECORDED_VALUE);
        }
    }
    write_attributes(&mut writer.attributes(), point.series);
}

fn write_explicit(writer: &mut HistogramPointWriter<'_>, point: &Point<'_>) {
    writer.start_time_unix_nano(point.start_ns).time_unix_nano(point.time_ns);
    match &point.data {
        Data::Explicit { counts, bounds, sum, min, max } => {
            writer.count(counts.iter().sum()).sum(*sum);
            writer.bucket_counts(counts.iter().copied()).explicit_bounds(bounds.iter().copied());
            if min <= max {
                writer.min(*min).max(*max);
            }
        }
        _ => {
            writer.flags(NO_RECORDED_VALUE);
        }
    }
    write_attributes(&mut writer.attributes(), point.series);
}

fn write_exponential(writer: &mut ExponentialHistogramPointWriter<'_>, point: &Point<'_>) {
    writer.start_time_unix_nano(point.start_ns).time_unix_nano(point.time_ns);
    match &point.data {
        Data::Exponential { scale, zero, positive, negative, sum, min, max } => {
            let count = positive.1.iter().chain(&negative.1).sum::<u64>() + zero;
            writer.count(count).sum(*sum).scale(*scale).zero_count(*zero);
            writer.positive(|buckets| write_buckets(buckets, positive));
            writer.negative(|buckets| write_buckets(buckets, negative));
            if min <= max {
                writer.min(*min).max(*max);
            }
        }
        _ => {
            writer.flags(NO_RECORDED_VALUE);
        }
    }
    write_attributes(&mut writer.attributes(), point.series);
}

fn write_buckets(writer: &mut BucketsWriter<'_>, (offset, counts): &(i32, Vec<u64>)) {
    writer.offset(*offset).bucket_counts(counts.iter().copied());
}

fn write_attributes(writer: &mut AttributesWriter<'_>, series: &Series) {
    for (key, value) in &series.attributes {
        writer.string(key, value);
    }
}

/// Events as log records; none when there are none.
pub(super) fn logs(events: &[Event]) -> Option<Batch> {
    if events.is_empty() {
        return None;
    }
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|block| {
        block.scope_logs(|scope| {
            scope.scope(write_scope);
            for event in events {
                scope.log_record(|record| write_event(record, event));
            }
        });
    });
    Some(encoder.finish())
}

fn write_event(record: &mut LogRecordWriter<'_>, event: &Event) {
    let (event_name, title_key) = match event.kind {
        EventKind::Event => ("dogstatsd.event", "dogstatsd.event.title"),
        EventKind::ServiceCheck => ("dogstatsd.service_check", "dogstatsd.service_check.name"),
    };
    record.time_unix_nano(event.time_ns.unwrap_or(event.observed_ns));
    record.observed_time_unix_nano(event.observed_ns);
    record.severity_number(event.alert_type.severity()).severity_text(event.alert_type.name());
    record.event_name(event_name);
    record.body().string(&event.text);
    let mut attributes = record.attributes();
    attributes.string(title_key, &event.title);
    for (key, value) in event.attributes.iter().filter(|(key, _)| key != title_key) {
        attributes.string(key, value);
    }
}
