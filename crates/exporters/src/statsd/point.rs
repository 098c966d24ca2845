//! Data points to lines.

use std::borrow::Cow;
use std::collections::BTreeMap;

use component::clock::Mono;
use component::{Failure, Rejection};
use legacy::lines::{Point, PointData};
use otlp::view::{BucketsView, ExponentialHistogramPointView, HistogramPointView, KeyValues, SummaryPointView};
use otlp::{NumberValue, Temporality};
use xxhash_rust::xxh3::Xxh3;

use super::distribution::{Range, sample_rate, values};
use super::line::{IN_NAME, Lines, Series, clean};
use super::packets::Packets;
use super::settings::{Form, Histograms, ResourceTags};
use super::state::{Buckets, Run, SeriesId, State, Step, Total};

/// Why a data point is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    NoName,
    NoValue,
    NotFinite,
    /// A change of a gauge, in a dialect that has none.
    GaugeChange,
    NoTemporality,
    Late,
    NoRoom,
    NoBuckets,
    LineTooLong,
}

impl Refusal {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Refusal::NoName => ("no_name", "a metric without a name"),
            Refusal::NoValue => ("no_value", "a data point without a value"),
            Refusal::NotFinite => ("not_finite", "a value that is not a number, or infinite"),
            Refusal::GaugeChange => (
                "delta_not_monotonic",
                "a delta of a sum that may fall: DogStatsD's gauges cannot be changed by an amount",
            ),
            Refusal::NoTemporality => ("no_temporality", "a sum or histogram without a temporality"),
            Refusal::Late => {
                ("late", "a point of a running total that is not newer than the one before, so sent already")
            }
            Refusal::NoRoom => (
                "state_full",
                "`max_state_size` is reached, so the increment of a series that is not known yet cannot be told",
            ),
            Refusal::NoBuckets => {
                ("no_buckets", "a distribution without buckets and without a sum: nothing is known of its values")
            }
            Refusal::LineTooLong => ("line_too_long", "a line that is longer than `max_packet_size`"),
        }
    }
}

/// How many data points were refused, by reason.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<Refusal, u64>);

impl Refusals {
    pub(super) fn add(&mut self, refusal: Refusal) {
        *self.0.entry(refusal).or_default() += 1;
    }

    pub(super) fn into_rejections(self) -> impl Iterator<Item = Rejection> {
        self.0.into_iter().map(|(refusal, items)| {
            let (cause, detail) = refusal.words();
            Rejection { items, failure: Failure { cause: cause.into(), detail: detail.to_owned() } }
        })
    }
}

/// Writes the data points of a batch.
pub(super) struct Writer<'a> {
    form: &'a Form,
    state: &'a mut State,
    now: Mono,
    first_points: u64,
}

impl<'a> Writer<'a> {
    pub(super) fn new(form: &'a Form, state: &'a mut State, now: Mono) -> Self {
        Writer { form, state, now, first_points: 0 }
    }

    /// How many points were only remembered.
    pub(super) fn first_points(&self) -> u64 {
        self.first_points
    }

    /// Adds the lines of a data point. One that changes nothing has none, and counts all the same.
    pub(super) fn point(&mut self, point: &Point<'_>, packets: &mut Packets) -> Result<(), Refusal> {
        if point.is_without_value() {
            return Err(Refusal::NoValue);
        }
        let series = series(self.form, point)?;
        let mut lines = Lines::new(self.form.dialect, self.form.plain_attributes);
        match point.data {
            PointData::Gauge(number) => gauge(&mut lines, &series, number.value())?,
            PointData::Sum { point: number, temporality, is_monotonic } => {
                let value = number.value().ok_or(Refusal::NoValue)?;
                match (temporality, is_monotonic) {
                    (Temporality::Unspecified, _) => return Err(Refusal::NoTemporality),
                    (Temporality::Cumulative, false) => gauge(&mut lines, &series, Some(value))?,
                    (Temporality::Delta, false) => self.change(&mut lines, &series, value)?,
                    (_, true) => self.sum(&mut lines, &series, point, temporality, value)?,
                }
            }
            PointData::Histogram { point: histogram, temporality } => {
                let range = Range { min: histogram.min(), max: histogram.max() };
                self.distribution(&mut lines, &series, point, temporality, explicit(&histogram), range)?;
            }
            PointData::ExponentialHistogram { point: histogram, temporality } => {
                let range = Range { min: histogram.min(), max: histogram.max() };
                self.distribution(&mut lines, &series, point, temporality, exponential(&histogram), range)?;
            }
            PointData::Summary(summary) => self.summary(&mut lines, &series, point, &summary)?,
        }
        packets.add(&lines.groups).map_err(|_| Refusal::LineTooLong)
    }

    /// What a running total adds; none where it adds nothing yet.
    fn increment(
        &mut self,
        point: &Point<'_>,
        temporality: Temporality,
        total: Total,
    ) -> Result<Option<Total>, Refusal> {
        match temporality {
            Temporality::Unspecified => return Err(Refusal::NoTemporality),
            Temporality::Delta => return Ok(Some(total)),
            Temporality::Cumulative => {}
        }
        let step = self.state.advance(identity(point), point.start_unix_ns, point.time_unix_ns, &total, self.now);
        match step {
            Step::Increment(total) => Ok(Some(total)),
            Step::First => {
                self.first_points += 1;
                Ok(None)
            }
            Step::Late => Err(Refusal::Late),
            Step::NoRoom => Err(Refusal::NoRoom),
        }
    }

    fn sum(
        &mut self,
        lines: &mut Lines,
        series: &Series<'_>,
        point: &Point<'_>,
        temporality: Temporality,
        value: NumberValue,
    ) -> Result<(), Refusal> {
        let total = match value {
            NumberValue::Int(value) => Total::Int(value),
            NumberValue::Double(value) if value.is_finite() => Total::Double(value),
            NumberValue::Double(_) => return Err(Refusal::NotFinite),
        };
        match self.increment(point, temporality, total)? {
            Some(Total::Int(by)) if by != 0 => lines.counter(series, "", None, by),
            Some(Total::Double(by)) if by != 0.0 => lines.counter(series, "", None, by),
            _ => {}
        }
        Ok(())
    }

    fn change(&self, lines: &mut Lines, series: &Series<'_>, value: NumberValue) -> Result<(), Refusal> {
        let text = match value {
            NumberValue::Double(value) if !value.is_finite() => return Err(Refusal::NotFinite),
            NumberValue::Double(value) => value.to_string(),
            NumberValue::Int(value) => value.to_string(),
        };
        if !self.form.dialect.has_relative_gauges() {
            return Err(Refusal::GaugeChange);
        }
        lines.gauge_change(series, &text);
        Ok(())
    }

    fn distribution(
        &mut self,
        lines: &mut Lines,
        series: &Series<'_>,
        point: &Point<'_>,
        temporality: Temporality,
        total: Total,
        range: Range,
    ) -> Result<(), Refusal> {
        let Some(Total::Distribution { count, sum, buckets }) = self.increment(point, temporality, total)? else {
            return Ok(());
        };
        let sum = sum.filter(|sum| sum.is_finite());
        let Histograms::Values(kind) = self.form.histograms else {
            counters(lines, series, count, sum, &buckets);
            return Ok(());
        };
        let values = values(&buckets, count, sum, range);
        if values.is_empty() && count > 0 {
            return Err(Refusal::NoBuckets);
        }
        for (value, count) in values {
            lines.measurement(series, kind, value, sample_rate(count));
        }
        Ok(())
    }

    /// Count and sum as counters, and each quantile as a gauge.
    fn summary(
        &mut self,
        lines: &mut Lines,
        series: &Series<'_>,
        point: &Point<'_>,
        summary: &SummaryPointView<'_>,
    ) -> Result<(), Refusal> {
        let (count, sum) = (summary.count(), Some(summary.sum()).filter(|sum| sum.is_finite()));
        let total = Total::Distribution { count, sum, buckets: Buckets::None };
        // A summary's count and sum are running totals.
        if let Some(Total::Distribution { count, sum, .. }) = self.increment(point, Temporality::Cumulative, total)? {
            counters(lines, series, count, sum, &Buckets::None);
        }
        for quantile in summary.quantile_values().filter(|quantile| quantile.value().is_finite()) {
            let tag = quantile.quantile().to_string();
            lines.gauge(series, "", Some(("quantile", &tag)), quantile.value());
        }
        Ok(())
    }
}

fn gauge(lines: &mut Lines, series: &Series<'_>, value: Option<NumberValue>) -> Result<(), Refusal> {
    match value.ok_or(Refusal::NoValue)? {
        NumberValue::Int(value) => lines.gauge_int(series, value),
        NumberValue::Double(value) if value.is_finite() => lines.gauge(series, "", None, value),
        NumberValue::Double(_) => return Err(Refusal::NotFinite),
    }
    Ok(())
}

/// `_count`, `_sum`, and for explicit bounds `_bucket` by the tag `le`, which count what is below as well.
fn counters(lines: &mut Lines, series: &Series<'_>, count: u64, sum: Option<f64>, buckets: &Buckets) {
    if count > 0 {
        lines.counter(series, "_count", None, count);
    }
    // A sum falls where measurements are negative; a counter cannot.
    if let Some(sum) = sum.filter(|sum| *sum > 0.0) {
        lines.counter(series, "_sum", None, sum);
    }
    if let Buckets::Explicit { bounds, counts } = buckets {
        let mut below = 0u64;
        for (bound, count) in bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]).zip(counts) {
            below = below.saturating_add(*count);
            if below > 0 {
                lines.counter(series, "_bucket", Some(("le", &bound)), below);
            }
        }
    }
}

fn explicit(point: &HistogramPointView<'_>) -> Total {
    let counts: Vec<u64> = point.bucket_counts().collect();
    let bounds: Vec<f64> = point.explicit_bounds().collect();
    let buckets = if counts.len() == bounds.len() + 1 { Buckets::Explicit { bounds, counts } } else { Buckets::None };
    Total::Distribution { count: point.count(), sum: point.sum(), buckets }
}

fn exponential(point: &ExponentialHistogramPointView<'_>) -> Total {
    let run = |buckets: BucketsView<'_>| Run { offset: buckets.offset(), counts: buckets.bucket_counts().collect() };
    let (positive, negative) = (run(point.positive()), run(point.negative()));
    let buckets = Buckets::Exponential { scale: point.scale(), zero: point.zero_count(), positive, negative };
    Total::Distribution { count: point.count(), sum: point.sum(), buckets }
}

/// The name and tags of a data point's series.
fn series<'a>(form: &'a Form, point: &Point<'a>) -> Result<Series<'a>, Refusal> {
    let name = clean(point.metric.name(), IN_NAME);
    if name.is_empty() {
        return Err(Refusal::NoName);
    }
    let mut series = Series { name: format!("{}{name}", form.prefix), tags: BTreeMap::new() };
    // To DogStatsD such a line is an event.
    if series.name.starts_with("_e{") {
        series.name.replace_range(2..3, "_");
    }
    series.tags.extend(form.tags.iter().map(|(key, value)| (Cow::from(key.as_str()), Cow::from(value.as_str()))));
    let mut put = |attributes: KeyValues<'a>, is_wanted: &dyn Fn(&str) -> bool| {
        for attribute in attributes.filter(|attribute| is_wanted(attribute.key())) {
            let key = form.tag_names.get(attribute.key()).map_or(attribute.key(), String::as_str);
            series.tags.insert(Cow::from(key), attribute.value().to_text());
        }
    };
    match &form.resource_tags {
        ResourceTags::All => put(point.resource.attributes(), &|_| true),
        ResourceTags::Of(keys) => put(point.resource.attributes(), &|key| keys.contains(key)),
    }
    put(point.attributes, &|_| true);
    Ok(series)
}

/// The identity of a data point's series: all of it, whatever becomes of it in a line.
fn identity(point: &Point<'_>) -> SeriesId {
    let mut hash = Xxh3::new();
    let mut field = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(point.metric.name_bytes());
    field(point.metric.unit().as_bytes());
    field(point.scope.name().as_bytes());
    field(point.scope.version().as_bytes());
    // Senders may bring attributes in any order.
    for attributes in [point.resource.attributes(), point.scope.attributes(), point.attributes] {
        let mut sorted: Vec<&[u8]> = attributes.messages().collect();
        sorted.sort_unstable();
        field(&(sorted.len() as u64).to_le_bytes());
        sorted.into_iter().for_each(&mut field);
    }
    let kind: u8 = match point.data {
        PointData::Gauge(_) => 0,
        PointData::Sum { .. } => 1,
        PointData::Histogram { .. } => 2,
        PointData::ExponentialHistogram { .. } => 3,
        PointData::Summary(_) => 4,
    };
    field(&[kind]);
    SeriesId(hash.digest128())
}
