//! Batches to lines.

use std::borrow::Cow;
use std::collections::BTreeMap;

use otlp::view::{HistogramPointView, NumberPointView, SummaryPointView};
use otlp::{Batch, NumberValue, Temporality};

use super::line::FieldValue;
use super::precision::Precision;
use super::writer::LineWriter;
use crate::lines::{
    Payload, PayloadLimits, Payloads, Point, PointData, Refusal, Refused, for_each_point, text_attributes,
};

/// How metrics become measurements and fields; see the table of this module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schema {
    /// `telegraf-prometheus-v1`.
    #[default]
    TelegrafPrometheusV1,
    /// `telegraf-prometheus-v2`.
    TelegrafPrometheusV2,
}

/// The measurement of everything in the second schema.
pub(super) const PROMETHEUS: &str = "prometheus";
pub(super) const START_TIME: &str = "start_time_unix_nano";
pub(super) const SCOPE_NAME: &str = "otel.library.name";
pub(super) const SCOPE_VERSION: &str = "otel.library.version";
const INFINITE: &str = "+Inf";

/// The lines of a batch of metrics, as payloads within bounds, and what has no line.
pub fn write(batch: &Batch, schema: Schema, precision: Precision, limits: PayloadLimits) -> (Vec<Payload>, Refused) {
    let mut payloads = Payloads::new(limits);
    let mut refused = Refused::default();
    let mut out = LineWriter::new();
    for_each_point(batch, |point| {
        out.clear();
        match write_point(&mut out, point, schema, precision) {
            Ok(()) => payloads.add(out.as_str().as_bytes(), out.lines()),
            Err(reason) => refused.add(reason),
        }
    });
    (payloads.finish(), refused)
}

/// What stands on every line of a data point.
struct Common<'a> {
    name: &'a str,
    tags: BTreeMap<&'a str, Cow<'a, str>>,
    start: Option<i64>,
    timestamp: i64,
}

fn write_point(out: &mut LineWriter, point: &Point<'_>, schema: Schema, precision: Precision) -> Result<(), Refusal> {
    let common = common(point, precision)?;
    match point.data {
        PointData::Gauge(number) => write_number(out, &common, schema, "gauge", &number),
        PointData::Sum { point, temporality, is_monotonic } => {
            cumulative(temporality)?;
            let field = if is_monotonic { "counter" } else { "gauge" };
            write_number(out, &common, schema, field, &point)
        }
        PointData::Histogram { point, temporality } => {
            cumulative(temporality)?;
            write_histogram(out, &common, schema, &point);
            Ok(())
        }
        PointData::ExponentialHistogram { .. } => Err(Refusal::ExponentialHistogram),
        PointData::Summary(point) => {
            write_summary(out, &common, schema, &point);
            Ok(())
        }
    }
}

fn common<'a>(point: &Point<'a>, precision: Precision) -> Result<Common<'a>, Refusal> {
    if point.is_without_value() {
        return Err(Refusal::NoValue);
    }
    if point.time_unix_ns == 0 {
        return Err(Refusal::NoTimestamp);
    }
    let name = point.metric.name();
    if name.is_empty() {
        return Err(Refusal::NoName);
    }
    let mut tags = BTreeMap::new();
    tags.insert(SCOPE_NAME, Cow::Borrowed(point.scope.name()));
    tags.insert(SCOPE_VERSION, Cow::Borrowed(point.scope.version()));
    text_attributes([point.resource.attributes(), point.attributes], &mut tags);
    let start = i64::try_from(point.start_unix_ns).ok().filter(|start| *start > 0);
    Ok(Common { name, tags, start, timestamp: precision.from_unix_ns(point.time_unix_ns) })
}

fn cumulative(temporality: Temporality) -> Result<(), Refusal> {
    if temporality == Temporality::Cumulative { Ok(()) } else { Err(Refusal::NotCumulative) }
}

impl Common<'_> {
    /// Writes a line; `tag` stands among the others in the order of names.
    fn line(
        &self,
        out: &mut LineWriter,
        measurement: &str,
        tag: Option<(&str, &str)>,
        fields: impl FnOnce(&mut LineWriter),
    ) {
        out.measurement(measurement);
        let mut tags = self.tags.clone();
        tags.extend(tag.map(|(name, value)| (name, Cow::Borrowed(value))));
        tags.iter().for_each(|(name, value)| out.tag(name, value));
        fields(out);
        if let Some(start) = self.start {
            out.field(START_TIME, &FieldValue::Int(start));
        }
        out.end(Some(self.timestamp));
    }
}

fn write_number(
    out: &mut LineWriter,
    common: &Common<'_>,
    schema: Schema,
    field: &str,
    point: &NumberPointView<'_>,
) -> Result<(), Refusal> {
    let value = match point.value() {
        None => return Err(Refusal::NoValue),
        Some(NumberValue::Int(value)) => FieldValue::Int(value),
        Some(NumberValue::Double(value)) if value.is_finite() => FieldValue::Float(value),
        Some(NumberValue::Double(_)) => return Err(Refusal::NotFinite),
    };
    match schema {
        Schema::TelegrafPrometheusV1 => common.line(out, common.name, None, |out| out.field(field, &value)),
        Schema::TelegrafPrometheusV2 => common.line(out, PROMETHEUS, None, |out| out.field(common.name, &value)),
    }
    Ok(())
}

/// Counts are floats in both schemas, and those of buckets are running totals.
fn write_histogram(out: &mut LineWriter, common: &Common<'_>, schema: Schema, point: &HistogramPointView<'_>) {
    let mut total = 0u64;
    let buckets: Vec<(f64, f64)> = point
        .explicit_bounds()
        .zip(point.bucket_counts())
        .map(|(bound, count)| {
            total = total.saturating_add(count);
            (bound, total as f64)
        })
        .collect();
    let has_buckets = point.bucket_counts().next().is_some();
    let count = point.count() as f64;
    let aggregates = |out: &mut LineWriter, prefix: &str| {
        out.float(&format!("{prefix}count"), count);
        for (field, value) in [("sum", point.sum()), ("min", point.min()), ("max", point.max())] {
            out.float(&format!("{prefix}{field}"), value.unwrap_or(f64::NAN));
        }
    };
    match schema {
        Schema::TelegrafPrometheusV1 => common.line(out, common.name, None, |out| {
            buckets.iter().for_each(|(bound, count)| out.float(&bound.to_string(), *count));
            if has_buckets {
                out.float(INFINITE, count);
            }
            aggregates(out, "");
        }),
        Schema::TelegrafPrometheusV2 => {
            common.line(out, PROMETHEUS, None, |out| aggregates(out, &format!("{}_", common.name)));
            let infinite = has_buckets.then(|| (INFINITE.to_owned(), count));
            for (bound, count) in buckets.iter().map(|(bound, count)| (bound.to_string(), *count)).chain(infinite) {
                common.line(out, PROMETHEUS, Some(("le", &bound)), |out| {
                    out.float(&format!("{}_bucket", common.name), count);
                });
            }
        }
    }
}

fn write_summary(out: &mut LineWriter, common: &Common<'_>, schema: Schema, point: &SummaryPointView<'_>) {
    let (count, sum) = (point.count() as f64, point.sum());
    // A quantile of nothing is not a number.
    let quantiles = point.quantile_values().filter(|quantile| quantile.value().is_finite());
    let quantiles = quantiles.map(|quantile| (quantile.quantile().to_string(), quantile.value()));
    match schema {
        Schema::TelegrafPrometheusV1 => common.line(out, common.name, None, |out| {
            quantiles.for_each(|(quantile, value)| out.float(&quantile, value));
            out.float("count", count);
            out.float("sum", sum);
        }),
        Schema::TelegrafPrometheusV2 => {
            common.line(out, PROMETHEUS, None, |out| {
                out.float(&format!("{}_count", common.name), count);
                out.float(&format!("{}_sum", common.name), sum);
            });
            for (quantile, value) in quantiles {
                common.line(out, PROMETHEUS, Some(("quantile", &quantile)), |out| out.float(common.name, value));
            }
        }
    }
}
