//! One data point, gathered from its series.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use otlp::encode::{
    AttributesWriter, ExemplarWriter, HistogramPointWriter, MetricWriter, NumberPointWriter, SummaryPointWriter,
};
use otlp::{NumberValue, SpanId, Temporality, TraceId};

use super::encoder::{SampleToEncode, ScrapeExemplar, Unconvertible, is_attribute};
use super::families::{PointKind, Role};
use crate::labels::LabelSet;
use crate::text::is_stale_nan;

/// Bit 0 of a data point's flags: there is no recorded value.
const NO_RECORDED_VALUE: u32 = 1;

/// A data point in the making.
pub(super) struct Point<'s> {
    metric: u32,
    kind: PointKind,
    /// Of what tells it from others of its metric.
    pub(super) hash: u64,
    /// The labels of one of its series; `le`, `quantile` and the name do not matter.
    labels: &'s LabelSet,
    /// `None` as long as only the time of creation is known, which carries no time of its own.
    timestamp_ms: Option<i64>,
    value: Option<f64>,
    count: Option<f64>,
    sum: Option<f64>,
    created_seconds: Option<f64>,
    /// Buckets by their upper bound, or values by their quantile.
    parts: Vec<(f64, f64)>,
    exemplars: Vec<&'s ScrapeExemplar>,
}

impl<'s> Point<'s> {
    pub(super) fn new(
        metric: u32,
        kind: PointKind,
        role: Role,
        sample: &SampleToEncode<'s>,
        hasher: &RandomState,
    ) -> Self {
        let mut point = Point {
            metric,
            kind,
            hash: 0,
            labels: sample.labels,
            timestamp_ms: (role != Role::Created).then_some(sample.timestamp_ms),
            value: None,
            count: None,
            sum: None,
            created_seconds: None,
            parts: Vec::new(),
            exemplars: Vec::new(),
        };
        let mut hasher = hasher.build_hasher();
        hasher.write_u32(metric);
        point.attributes().for_each(|pair| pair.hash(&mut hasher));
        point.hash = hasher.finish();
        point
    }

    /// Whether two are the same point: of one metric, at one time, with the same attributes.
    pub(super) fn is_same(&self, other: &Point<'_>) -> bool {
        let is_same_time = match (self.timestamp_ms, other.timestamp_ms) {
            (Some(this), Some(that)) => this == that,
            _ => true,
        };
        self.hash == other.hash
            && self.metric == other.metric
            && is_same_time
            && self.attributes().eq(other.attributes())
    }

    fn attributes(&self) -> impl Iterator<Item = (&'s str, &'s str)> {
        let kind = self.kind;
        self.labels.iter().filter(move |(name, _)| is_attribute(name, kind))
    }

    /// Takes the value of one of its series.
    pub(super) fn add(&mut self, role: Role, sample: &SampleToEncode<'s>) {
        let value = sample.value;
        if role != Role::Created {
            self.timestamp_ms = Some(sample.timestamp_ms);
        }
        match role {
            Role::Value => self.value = Some(value),
            Role::Created => self.created_seconds = Some(value),
            Role::Count => self.count = Some(value),
            Role::Sum => self.sum = Some(value),
            Role::Bucket(boundary) | Role::Quantile(boundary) => self.parts.push((boundary, value)),
        }
        if self.kind != PointKind::Summary {
            self.exemplars.extend(sample.exemplar);
        }
    }

    /// Brings the parts into order and says whether there is a data point to write.
    pub(super) fn complete(&mut self, kind: PointKind, unconvertible: &mut Unconvertible) -> bool {
        self.parts.sort_by(|left, right| left.0.total_cmp(&right.0));
        // Two spellings of one bound, such as `1` and `1.0`: one bucket.
        self.parts.dedup_by(|later, earlier| later.0 == earlier.0);
        match kind {
            // The time of creation alone is no data point.
            PointKind::Gauge | PointKind::Counter | PointKind::NonMonotonicSum => self.value.is_some(),
            PointKind::Summary => self.complete_summary(unconvertible),
            PointKind::Histogram => self.complete_histogram(unconvertible),
        }
    }

    fn complete_summary(&mut self, unconvertible: &mut Unconvertible) -> bool {
        let is_only_created = self.count.is_none() && self.sum.is_none() && self.parts.is_empty();
        if self.count.is_none() && !is_only_created {
            unconvertible.without_count += 1;
        }
        self.count.is_some()
    }

    fn complete_histogram(&mut self, unconvertible: &mut Unconvertible) -> bool {
        let infinite = self.parts.pop_if(|(boundary, _)| *boundary == f64::INFINITY).map(|(_, value)| value);
        if self.count.is_none() && infinite.is_none() && self.sum.is_none() && self.parts.is_empty() {
            return false;
        }
        let Some(count) = self.count.or(infinite) else {
            unconvertible.without_count += 1;
            return false;
        };
        self.count = Some(count);
        if self.is_stale() {
            return true;
        }
        // A bucket that vanished while its histogram lives on is no longer one of its buckets.
        self.parts.retain(|(_, value)| !is_stale_nan(*value));
        let counts = self.parts.iter().map(|(_, value)| *value).chain([count]);
        let rises = counts.clone().zip(counts.clone().skip(1)).all(|(before, after)| before <= after);
        let starts_at_zero = counts.clone().next().is_some_and(|first| first >= 0.0);
        if !rises || !starts_at_zero || !count.is_finite() {
            unconvertible.inconsistent += 1;
            return false;
        }
        true
    }

    fn is_stale(&self) -> bool {
        [self.value, self.count, self.sum].into_iter().flatten().any(is_stale_nan)
    }

    /// Writes the data of a metric with these points.
    pub(super) fn write_all<'p>(kind: PointKind, points: impl Iterator<Item = &'p Self>, writer: &mut MetricWriter<'_>)
    where
        's: 'p,
    {
        match kind {
            PointKind::Gauge => writer.gauge(|data| {
                points.for_each(|point| data.point(|writer| point.write_number(writer)));
            }),
            PointKind::Counter | PointKind::NonMonotonicSum => writer.sum(|data| {
                points.for_each(|point| data.point(|writer| point.write_number(writer)));
                data.temporality(Temporality::Cumulative).is_monotonic(kind == PointKind::Counter);
            }),
            PointKind::Histogram => writer.histogram(|data| {
                points.for_each(|point| data.point(|writer| point.write_histogram(writer)));
                data.temporality(Temporality::Cumulative);
            }),
            PointKind::Summary => writer.summary(|data| {
                points.for_each(|point| data.point(|writer| point.write_summary(writer)));
            }),
        }
    }

    fn write_number(&self, writer: &mut NumberPointWriter<'_>) {
        self.write_attributes(writer.attributes());
        writer.start_time_unix_nano(self.start_nanos()).time_unix_nano(self.time_nanos());
        match self.value {
            Some(value) if !is_stale_nan(value) => writer.value(NumberValue::Double(value)),
            _ => writer.flags(NO_RECORDED_VALUE),
        };
        for exemplar in &self.exemplars {
            writer.exemplar(|writer| write_exemplar(exemplar, writer));
        }
    }

    fn write_histogram(&self, writer: &mut HistogramPointWriter<'_>) {
        self.write_attributes(writer.attributes());
        writer.start_time_unix_nano(self.start_nanos()).time_unix_nano(self.time_nanos());
        let is_stale = self.is_stale();
        if is_stale {
            writer.flags(NO_RECORDED_VALUE);
        } else {
            writer.count(self.count.unwrap_or_default() as u64);
            if let Some(sum) = self.sum {
                writer.sum(sum);
            }
        }
        // A stale histogram keeps its bounds: each of its bucket series is to end.
        let cumulative = self.parts.iter().map(|(_, value)| *value as u64);
        let totals = cumulative.chain([self.count.unwrap_or_default() as u64]);
        let mut below = 0;
        let counts = totals.map(|total| if is_stale { 0 } else { total - std::mem::replace(&mut below, total) });
        writer.bucket_counts(counts);
        writer.explicit_bounds(self.parts.iter().map(|(bound, _)| *bound));
        for exemplar in &self.exemplars {
            writer.exemplar(|writer| write_exemplar(exemplar, writer));
        }
    }

    fn write_summary(&self, writer: &mut SummaryPointWriter<'_>) {
        self.write_attributes(writer.attributes());
        writer.start_time_unix_nano(self.start_nanos()).time_unix_nano(self.time_nanos());
        let is_stale = self.is_stale();
        if is_stale {
            writer.flags(NO_RECORDED_VALUE);
        } else {
            writer.count(self.count.unwrap_or_default() as u64).sum(self.sum.unwrap_or_default());
        }
        for (quantile, value) in &self.parts {
            writer.quantile(|writer| {
                writer.quantile(*quantile).value(if is_stale { 0.0 } else { *value });
            });
        }
    }

    fn write_attributes(&self, mut writer: AttributesWriter<'_>) {
        for (name, value) in self.attributes() {
            writer.string(name, value);
        }
    }

    fn time_nanos(&self) -> u64 {
        nanos(self.timestamp_ms.unwrap_or_default())
    }

    fn start_nanos(&self) -> u64 {
        let seconds = self.created_seconds.filter(|seconds| *seconds > 0.0).unwrap_or_default();
        // A double of this size is exact to a quarter of a microsecond: what lies below is noise.
        let micros =
            (seconds.trunc() as u64).saturating_mul(1_000_000).saturating_add((seconds.fract() * 1e6).round() as u64);
        micros.saturating_mul(1_000)
    }
}

fn nanos(timestamp_ms: i64) -> u64 {
    u64::try_from(timestamp_ms).unwrap_or(0).saturating_mul(1_000_000)
}

fn write_exemplar(exemplar: &ScrapeExemplar, writer: &mut ExemplarWriter<'_>) {
    writer.time_unix_nano(nanos(exemplar.timestamp_ms));
    writer.value(NumberValue::Double(exemplar.value));
    // Ids of another form, or of zeros only, stay what they are: labels.
    for (name, value) in exemplar.labels.iter() {
        if name.eq_ignore_ascii_case("trace_id")
            && let Some(id) = TraceId::from_hex(value.as_bytes()).filter(|id| !id.is_zero())
        {
            writer.trace_id(id);
        } else if name.eq_ignore_ascii_case("span_id")
            && let Some(id) = SpanId::from_hex(value.as_bytes()).filter(|id| !id.is_zero())
        {
            writer.span_id(id);
        } else {
            writer.filtered_attributes().string(name, value);
        }
    }
}
