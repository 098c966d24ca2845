//! Data points, each to its series.

use otlp::view::{
    ExemplarView, ExponentialHistogramPointView, HistogramPointView, KeyValues, MetricView, NumberPointView,
    SummaryPointView,
};
use otlp::wire::{FieldValue, Fields, OpenField, write_double_field, write_varint_field};
use otlp::{NumberValue, Temporality};

use super::histogram::BoundCache;
use super::labels::{Attribute, Context, Extra, Gaps, write_label, write_labels};
use super::lanes::{Lanes, lane_hash, write_series_header};
use super::metric::NameCache;
use super::native::{write_native_histogram, write_sample};
use super::{Refusal, Refused, Settings, is_stale, timestamp_ms, value_text};
use crate::names::{LabelNamer, MetricKind};
use crate::text::{STALE_NAN, plain_float};

/// Where the series of data points go, and the buffers on the way there.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) lanes: Lanes,
    pub(super) refused: Refused,
    bound_labels: BoundCache,
    /// The labels of the data point at hand. Where it has several series, without the metric's name and the extra label.
    labels: Vec<u8>,
    /// What precedes the labels of a data point's only series; or all of its series.
    series: Vec<u8>,
    /// What follows the labels of a series.
    tail: Vec<u8>,
    bounds: Vec<f64>,
    counts: Vec<u64>,
}

impl Work {
    pub(super) fn new(lanes: Lanes) -> Self {
        Work {
            lanes,
            refused: Refused::default(),
            bound_labels: BoundCache::default(),
            labels: Vec::new(),
            series: Vec::new(),
            tail: Vec::new(),
            bounds: Vec::new(),
            counts: Vec::new(),
        }
    }
}

/// The labels of a data point with several series: without the name and the extra label, with the places for them.
#[derive(Clone, Copy)]
struct GappedLabels<'w> {
    labels: &'w [u8],
    gaps: Gaps,
}

impl GappedLabels<'_> {
    /// Appends one of the series; `tail` is what follows the labels.
    fn push_series(self, name: &[u8], extra: &[u8], tail: &[u8], series: &mut Vec<u8>) {
        let GappedLabels { labels, gaps } = self;
        write_series_header(series, labels.len() + name.len() + extra.len() + tail.len());
        series.extend_from_slice(&labels[..gaps.name]);
        series.extend_from_slice(name);
        series.extend_from_slice(&labels[gaps.name..gaps.extra]);
        series.extend_from_slice(extra);
        series.extend_from_slice(&labels[gaps.extra..]);
        series.extend_from_slice(tail);
    }
}

/// Whether the exemplars of a data point are sent. Remote write has them for counters and histograms.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exemplars {
    Send,
    Omit,
}

/// Writes the data points of one scope.
pub(super) struct ScopeWriter<'c, 'a> {
    settings: &'c Settings,
    label_namer: LabelNamer,
    names: &'c mut NameCache,
    context: &'c mut Context,
    work: &'c mut Work,
    attributes: Vec<Attribute<'a>>,
    points: Vec<&'a [u8]>,
    latest_nanos: u64,
}

impl<'c, 'a> ScopeWriter<'c, 'a> {
    pub(super) fn new(
        settings: &'c Settings,
        label_namer: LabelNamer,
        names: &'c mut NameCache,
        context: &'c mut Context,
        work: &'c mut Work,
    ) -> Self {
        let (attributes, points) = (Vec::new(), Vec::new());
        ScopeWriter { settings, label_namer, names, context, work, attributes, points, latest_nanos: 0 }
    }

    /// The time of the latest data point that was written, in nanoseconds; 0 if there was none.
    pub(super) fn latest_nanos(&self) -> u64 {
        self.latest_nanos
    }

    /// Writes the data points of a metric.
    pub(super) fn metric(&mut self, metric: &MetricView<'a>) {
        let Some((kind, data)) = data_of(metric) else { return };
        let mut points = std::mem::take(&mut self.points);
        points.clear();
        let shape = read_data(data, &mut points);
        let kind =
            if kind == MetricKind::NonMonotonicSum && shape.is_monotonic { MetricKind::MonotonicSum } else { kind };
        self.points_of_metric(metric, kind, shape.temporality, &points);
        self.points = points;
    }

    fn points_of_metric(&mut self, metric: &MetricView<'a>, kind: MetricKind, temporality: i32, points: &[&'a [u8]]) {
        let has_temporality = !matches!(kind, MetricKind::Gauge | MetricKind::Summary);
        if has_temporality && temporality != Temporality::Cumulative.number() {
            return self.work.refused.add(Refusal::NotCumulative, points.len() as u32);
        }
        let place = self.names.find(metric.name_bytes(), metric.unit().as_bytes(), kind);
        if self.names.get(place).family.is_empty() {
            return self.work.refused.add(Refusal::MetricName, points.len() as u32);
        }
        for point in points {
            let written = match kind {
                MetricKind::MonotonicSum => self.number(point, place, Exemplars::Send),
                MetricKind::Gauge | MetricKind::NonMonotonicSum => self.number(point, place, Exemplars::Omit),
                MetricKind::Histogram => self.histogram(&HistogramPointView::new(point), place),
                MetricKind::ExponentialHistogram => {
                    self.exponential_histogram(&ExponentialHistogramPointView::new(point), place)
                }
                MetricKind::Summary => self.summary(&SummaryPointView::new(point), place),
                MetricKind::Unknown => Err(Refusal::UnknownKind),
            };
            match written {
                Ok(nanos) => self.latest_nanos = self.latest_nanos.max(nanos),
                Err(reason) => self.work.refused.add(reason, 1),
            }
        }
    }

    fn take_attributes(&mut self, attributes: KeyValues<'a>) {
        self.attributes.clear();
        self.attributes.extend(attributes.messages().map(Attribute::new));
    }

    /// Writes the labels of a data point that is one series, with the metric's name.
    #[inline]
    fn write_all_labels(&mut self, place: usize) -> Result<(), Refusal> {
        let (names, out) = (self.names.get(place), &mut self.work.labels);
        let (settings, namer, attributes) = (self.settings, self.label_namer, self.attributes.as_slice());
        out.clear();
        write_labels(self.context, settings, namer, attributes, Extra::None, &names.base, out).map(drop)
    }

    /// Writes the labels of a data point with several series, without the name and the extra label of each.
    fn write_common_labels(&mut self, extra: Extra) -> Result<Gaps, Refusal> {
        let out = &mut self.work.labels;
        let (settings, namer, attributes) = (self.settings, self.label_namer, self.attributes.as_slice());
        out.clear();
        write_labels(self.context, settings, namer, attributes, extra, &[], out)
    }

    /// Hands over a data point that is one series: its labels, then what is in `tail`.
    #[inline]
    fn finish_single(&mut self) {
        let Work { lanes, labels, series, tail, .. } = &mut *self.work;
        series.clear();
        write_series_header(series, labels.len() + tail.len());
        lanes.append(lane_hash(labels, 0), 1, 1, [series, labels, tail]);
    }

    /// Hands over a data point that is all of `series`. They stay together: whoever sends them counts data points.
    fn finish_group(&mut self, place: usize, series_count: u32) {
        let Work { lanes, labels, series, .. } = &mut *self.work;
        let hash = lane_hash(labels, self.names.get(place).seed);
        lanes.append(hash, series_count, 1, [series, &[], &[]]);
    }

    /// A `NumberDataPoint`, in one pass over its fields: most data points are of this kind.
    fn number(&mut self, message: &'a [u8], place: usize, exemplars: Exemplars) -> Result<u64, Refusal> {
        self.attributes.clear();
        let (mut nanos, mut value, mut flags, mut has_exemplars) = (0, None, 0, false);
        for field in Fields::new(message) {
            match (field.number, field.value) {
                (7, FieldValue::Length(attribute)) => self.attributes.push(Attribute::new(attribute)),
                (3, FieldValue::Fixed64(time)) => nanos = time,
                (4, FieldValue::Fixed64(bits)) => value = Some(f64::from_bits(bits)),
                (6, FieldValue::Fixed64(bits)) => value = Some(bits as i64 as f64),
                (8, FieldValue::Varint(bits)) => flags = bits as u32,
                (5, FieldValue::Length(_)) => has_exemplars = true,
                _ => {}
            }
        }
        let value = if is_stale(flags) { STALE_NAN } else { value.ok_or(Refusal::NoValue)? };
        self.write_all_labels(place)?;
        let tail = &mut self.work.tail;
        tail.clear();
        write_sample(tail, value, timestamp_ms(nanos));
        if has_exemplars && exemplars == Exemplars::Send {
            let views = NumberPointView::new(message).exemplars();
            views.for_each(|exemplar| write_exemplar(&exemplar, self.label_namer, tail));
        }
        self.finish_single();
        Ok(nanos)
    }

    fn histogram(&mut self, point: &HistogramPointView<'a>, place: usize) -> Result<u64, Refusal> {
        self.take_attributes(point.attributes());
        let gaps = self.write_common_labels(Extra::Le)?;
        let Work { bound_labels, labels, series, tail, bounds, counts, .. } = &mut *self.work;
        bounds.clear();
        counts.clear();
        bounds.extend(point.explicit_bounds());
        counts.extend(point.bucket_counts());
        bounds.truncate(counts.len());
        let mut exemplars = by_bucket(point, bounds).into_iter().peekable();
        let le = bound_labels.find(bounds);
        let (names, labels) = (self.names.get(place), GappedLabels { labels, gaps });
        let (time_ms, is_stale) = (timestamp_ms(point.time_unix_nano()), is_stale(point.flags()));
        let sample = |value: f64, tail: &mut Vec<u8>| {
            tail.clear();
            write_sample(tail, if is_stale { STALE_NAN } else { value }, time_ms);
        };
        series.clear();
        // A staleness marker that says nothing of the sum ends its series all the same.
        let has_sum = point.sum().is_some() || is_stale;
        if has_sum {
            sample(point.sum().unwrap_or_default(), tail);
            labels.push_series(&names.sum, &[], tail, series);
        }
        sample(point.count() as f64, tail);
        labels.push_series(&names.count, &[], tail, series);
        let mut below = 0_u64;
        let finite = counts.iter().take(bounds.len()).map(|count| {
            below = below.wrapping_add(*count);
            below
        });
        for (index, below) in finite.chain([point.count()]).enumerate() {
            sample(below as f64, tail);
            while let Some((_, exemplar)) = exemplars.next_if(|(bucket, _)| *bucket == index) {
                write_exemplar(&exemplar, self.label_namer, tail);
            }
            labels.push_series(&names.bucket, le.get(index), tail, series);
        }
        let series_count = bounds.len() as u32 + 2 + u32::from(has_sum);
        self.finish_group(place, series_count);
        Ok(point.time_unix_nano())
    }

    fn exponential_histogram(
        &mut self,
        point: &ExponentialHistogramPointView<'a>,
        place: usize,
    ) -> Result<u64, Refusal> {
        self.take_attributes(point.attributes());
        self.write_all_labels(place)?;
        let tail = &mut self.work.tail;
        tail.clear();
        point.exemplars().for_each(|exemplar| write_exemplar(&exemplar, self.label_namer, tail));
        let open = OpenField::begin(tail, 4, 200);
        write_native_histogram(point, timestamp_ms(point.time_unix_nano()), tail)?;
        open.end(tail);
        self.finish_single();
        Ok(point.time_unix_nano())
    }

    fn summary(&mut self, point: &SummaryPointView<'a>, place: usize) -> Result<u64, Refusal> {
        self.take_attributes(point.attributes());
        let gaps = self.write_common_labels(Extra::Quantile)?;
        let Work { labels, series, tail, .. } = &mut *self.work;
        let (names, labels) = (self.names.get(place), GappedLabels { labels, gaps });
        let (time_ms, is_stale) = (timestamp_ms(point.time_unix_nano()), is_stale(point.flags()));
        series.clear();
        let mut push = |name: &[u8], extra: &[u8], value: f64| {
            tail.clear();
            write_sample(tail, if is_stale { STALE_NAN } else { value }, time_ms);
            labels.push_series(name, extra, tail, series);
        };
        let mut series_count = 2;
        push(&names.sum, &[], point.sum());
        push(&names.count, &[], point.count() as f64);
        let mut quantile_label = Vec::new();
        for quantile in point.quantile_values() {
            quantile_label.clear();
            write_label(&mut quantile_label, b"quantile", plain_float(quantile.quantile()).as_bytes());
            push(&names.base, &quantile_label, quantile.value());
            series_count += 1;
        }
        self.finish_group(place, series_count);
        Ok(point.time_unix_nano())
    }
}

/// The kind of a metric's data, and the message of that kind. Whether a sum is monotonic stands inside.
fn data_of<'a>(metric: &MetricView<'a>) -> Option<(MetricKind, &'a [u8])> {
    let mut found = None;
    for field in Fields::new(metric.as_bytes()) {
        let FieldValue::Length(data) = field.value else { continue };
        let kind = match field.number {
            5 => MetricKind::Gauge,
            7 => MetricKind::NonMonotonicSum,
            9 => MetricKind::Histogram,
            10 => MetricKind::ExponentialHistogram,
            11 => MetricKind::Summary,
            _ => continue,
        };
        found = Some((kind, data));
    }
    found
}

/// What the data of a metric say of all of its data points.
struct Shape {
    temporality: i32,
    is_monotonic: bool,
}

/// Reads a `Gauge`, `Sum`, `Histogram`, `ExponentialHistogram` or `Summary` in one pass: their fields have the same
/// numbers.
fn read_data<'a>(data: &'a [u8], points: &mut Vec<&'a [u8]>) -> Shape {
    let mut shape = Shape { temporality: 0, is_monotonic: false };
    for field in Fields::new(data) {
        match (field.number, field.value) {
            (1, FieldValue::Length(point)) => points.push(point),
            (2, FieldValue::Varint(temporality)) => shape.temporality = temporality as i32,
            (3, FieldValue::Varint(is_monotonic)) => shape.is_monotonic = is_monotonic != 0,
            _ => {}
        }
    }
    shape
}

/// The exemplars of a histogram, each with the bucket that its value falls into, in the order of the buckets.
fn by_bucket<'a>(point: &HistogramPointView<'a>, bounds: &[f64]) -> Vec<(usize, ExemplarView<'a>)> {
    let bucket_of = |exemplar: &ExemplarView<'_>| {
        let value = exemplar.value().map_or(0.0, NumberValue::as_double);
        bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len())
    };
    let mut exemplars: Vec<_> = point.exemplars().map(|exemplar| (bucket_of(&exemplar), exemplar)).collect();
    exemplars.sort_by_key(|(bucket, _)| *bucket);
    exemplars
}

/// OpenMetrics, "Exemplars": all names and values together; Prometheus refuses more.
const EXEMPLAR_CHARACTERS_MAX: usize = 128;

/// Appends an exemplar as the field of its series. The ids come first; attributes follow only if all have room.
fn write_exemplar(exemplar: &ExemplarView<'_>, namer: LabelNamer, out: &mut Vec<u8>) {
    let mut labels: Vec<(String, String)> = Vec::new();
    let text = |hex: &[u8]| String::from_utf8_lossy(hex).into_owned();
    if let Some(id) = exemplar.trace_id().filter(|id| !id.is_zero()) {
        labels.push(("trace_id".to_owned(), text(&id.to_hex())));
    }
    if let Some(id) = exemplar.span_id().filter(|id| !id.is_zero()) {
        labels.push(("span_id".to_owned(), text(&id.to_hex())));
    }
    let ids = labels.len();
    for attribute in exemplar.filtered_attributes() {
        let mut value = String::new();
        value_text(attribute.value(), &mut value);
        let Ok(name) = namer.name(attribute.key()) else { continue };
        if !value.is_empty() && labels.iter().all(|(present, _)| *present != name) {
            labels.push((name.into_owned(), value));
        }
    }
    let characters: usize = labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
    if characters > EXEMPLAR_CHARACTERS_MAX {
        labels.truncate(ids);
    }
    labels.sort();
    let open = OpenField::begin(out, 3, 100);
    for (name, value) in &labels {
        write_label(out, name.as_bytes(), value.as_bytes());
    }
    let value = exemplar.value().map_or(0.0, NumberValue::as_double);
    if value.to_bits() != 0 {
        write_double_field(out, 2, value);
    }
    let time_ms = timestamp_ms(exemplar.time_unix_nano());
    if time_ms != 0 {
        write_varint_field(out, 3, time_ms as u64);
    }
    open.end(out);
}
