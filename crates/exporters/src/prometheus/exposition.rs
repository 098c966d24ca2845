//! The store as text.
//!
//! One family at a time is written under the lock of the store, so that whoever brings data waits for one family and
//! never for a whole exposition. A family is coherent, different families may be moments apart.

use std::collections::HashSet;
use std::sync::Arc;

use component::clock::Mono;
use parking_lot::Mutex;
use prom::labels::{LabelBuilder, LabelSet, SeriesHash};
use prom::names::Escaping;
use prom::text::{
    ExemplarToWrite, FamilyKind, Format, SampleToWrite, Writer, canonical_float, is_legacy_label_name,
    is_legacy_metric_name,
};

use super::exemplars::bucket_of;
use super::merge::Accumulator;
use super::negotiate::{Exposition, NameEscaping};
use super::store::{Exemplar, Series};
use super::value::{Histogram, Summary, Value};

/// Whether samples have the time of their data points (`send_timestamps`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timestamps {
    Send,
    Omit,
}

/// Writes everything that has not expired.
pub(super) fn write(
    accumulator: &Mutex<Accumulator>,
    exposition: Exposition,
    timestamps: Timestamps,
    now: Mono,
) -> Vec<u8> {
    let mut page = Page::new(exposition, timestamps);
    let names = {
        let mut accumulator = accumulator.lock();
        if accumulator.names.escaping() == Escaping::Underscores {
            // All names have been escaped already.
            page.escaping = NameEscaping::AllowUtf8;
        }
        accumulator.store.expire(now);
        page.target_info(&accumulator);
        accumulator.store.family_names()
    };
    for name in names {
        page.family(&mut accumulator.lock(), &name);
    }
    page.writer.finish()
}

/// An exposition in the making.
struct Page {
    writer: Writer,
    escaping: NameEscaping,
    timestamps: Timestamps,
    /// Names of families that were written, where escaping may have made two of one.
    escaped_names: HashSet<String>,
}

/// What the samples of a family are called.
struct Names {
    family: String,
    bucket: String,
    count: String,
    sum: String,
}

impl Page {
    fn new(exposition: Exposition, timestamps: Timestamps) -> Page {
        let Exposition { format, escaping, .. } = exposition;
        Page { writer: Writer::new(format), escaping, timestamps, escaped_names: HashSet::new() }
    }

    fn target_info(&mut self, accumulator: &Accumulator) {
        let Some(name) = accumulator.target_info.as_deref().filter(|_| !accumulator.store.targets.is_empty()) else {
            return;
        };
        let mut targets: Vec<&LabelSet> = accumulator.store.targets.values().map(|target| &target.labels).collect();
        targets.sort_unstable_by(|left, right| left.iter().cmp(right.iter()));
        let kind = if self.has_namesake(accumulator, name) { FamilyKind::Gauge } else { FamilyKind::Info };
        let Some(name) = self.begin(name) else { return };
        self.writer.family(&name, kind, "Target metadata", "");
        let mut labels = Labels::new(self.escaping);
        for target in targets {
            if let Some(labels) = labels.of(target) {
                self.writer.sample(&SampleToWrite::new(&name, 1.0), labels.iter());
            }
        }
    }

    fn family(&mut self, accumulator: &mut Accumulator, name: &Arc<str>) {
        let has_namesake = self.has_namesake(accumulator, name);
        let Some(family) = accumulator.store.families.get_mut(name) else { return };
        let Some(shown) = self.begin(name) else { return };
        let kind = match family.kind {
            FamilyKind::Counter if has_namesake => FamilyKind::Unknown,
            FamilyKind::Info if has_namesake => FamilyKind::Gauge,
            kind => kind,
        };
        self.writer.family(&shown, kind, &family.help, &family.unit);
        let suffixed = |suffix: &str| format!("{shown}{suffix}");
        let (bucket, count, sum) = (suffixed("_bucket"), suffixed("_count"), suffixed("_sum"));
        let names = Names { family: shown, bucket, count, sum };
        let mut labels = Labels::new(self.escaping);
        let mut bounds = BoundTexts::default();
        for series in family.sorted() {
            if let Some(labels) = labels.of(&series.labels) {
                self.series(&names, series, labels, &mut bounds);
            }
        }
    }

    /// In OpenMetrics a counter's family is called without `_total` and an info's without `_info`: whether that would be
    /// the name of another family. Then this one is called in full, and is of another type.
    fn has_namesake(&self, accumulator: &Accumulator, name: &str) -> bool {
        let families = &accumulator.store.families;
        let is_taken = |stem: &str| families.contains_key(stem);
        let is_counter = |stem: &str| families.contains_key(format!("{stem}_total").as_str());
        self.writer.format() == Format::OpenMetrics
            && (name.strip_suffix("_total").is_some_and(is_taken)
                || name.strip_suffix("_info").is_some_and(|stem| is_taken(stem) || is_counter(stem)))
    }

    /// The name of a family as it is written; none if another one was written under it.
    fn begin(&mut self, name: &str) -> Option<String> {
        if self.escaping == NameEscaping::AllowUtf8 {
            return Some(name.to_owned());
        }
        let escaped = if is_legacy_metric_name(name) { name.to_owned() } else { escaped(name) };
        let is_first = self.escaped_names.insert(escaped.clone());
        if !is_first {
            tracing::debug!(name, escaped, "a metric is hidden from this scraper, which has no UTF-8 names");
        }
        is_first.then_some(escaped)
    }

    fn series(&mut self, names: &Names, series: &Series, labels: &LabelSet, bounds: &mut BoundTexts) {
        let time_ms = (series.time_unix_nano / 1_000_000) as i64;
        let timestamp_ms = (self.timestamps == Timestamps::Send && time_ms > 0).then_some(time_ms);
        match &series.value {
            Value::Number(value) => {
                let mut sample = SampleToWrite::new(&names.family, value.as_double());
                sample.timestamp_ms = timestamp_ms;
                self.sample_with(series.exemplars.first(), sample, labels);
            }
            Value::Histogram(histogram) => {
                self.buckets(names, series, histogram, labels, bounds, timestamp_ms);
                if let Some(sum) = histogram.sum {
                    self.sample(&names.sum, sum, labels, timestamp_ms);
                }
                self.sample(&names.count, histogram.count as f64, labels, timestamp_ms);
            }
            Value::Summary(summary) => self.summary(names, summary, labels, timestamp_ms),
        }
    }

    fn sample(&mut self, name: &str, value: f64, labels: &LabelSet, timestamp_ms: Option<i64>) {
        let mut sample = SampleToWrite::new(name, value);
        sample.timestamp_ms = timestamp_ms;
        self.writer.sample(&sample, labels.iter());
    }

    fn sample_with(&mut self, exemplar: Option<&Exemplar>, sample: SampleToWrite<'_>, labels: &LabelSet) {
        let Some(exemplar) = exemplar else { return self.writer.sample(&sample, labels.iter()) };
        let own: Vec<(&str, &str)> = exemplar.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        let time_ms = (exemplar.time_unix_nano / 1_000_000) as i64;
        let timestamp_ms = (time_ms > 0).then_some(time_ms);
        let exemplar = ExemplarToWrite { labels: &own, value: exemplar.value, timestamp_ms };
        self.writer.sample(&SampleToWrite { exemplar: Some(exemplar), ..sample }, labels.iter());
    }

    fn buckets(
        &mut self,
        names: &Names,
        series: &Series,
        histogram: &Histogram,
        labels: &LabelSet,
        bounds: &mut BoundTexts,
        timestamp_ms: Option<i64>,
    ) {
        let texts = bounds.of(&histogram.bounds, self.writer.format());
        let mut exemplars = series.exemplars.iter().peekable();
        let mut below = 0_u64;
        for (index, le) in texts.iter().enumerate() {
            below = histogram.counts.get(index).map_or(histogram.count, |count| below.wrapping_add(*count));
            let mut sample = SampleToWrite::new(&names.bucket, below as f64);
            sample.last_label = Some(("le", le));
            sample.timestamp_ms = timestamp_ms;
            let exemplar = exemplars.next_if(|exemplar| bucket_of(&series.value, exemplar.value) == index);
            self.sample_with(exemplar, sample, labels);
        }
    }

    fn summary(&mut self, names: &Names, summary: &Summary, labels: &LabelSet, timestamp_ms: Option<i64>) {
        for (quantile, value) in &summary.quantiles {
            let text = bound_text(*quantile, self.writer.format());
            let mut sample = SampleToWrite::new(&names.family, *value);
            sample.last_label = Some(("quantile", &text));
            sample.timestamp_ms = timestamp_ms;
            self.writer.sample(&sample, labels.iter());
        }
        self.sample(&names.sum, summary.sum, labels, timestamp_ms);
        self.sample(&names.count, summary.count as f64, labels, timestamp_ms);
    }
}

/// The `le` of bounds, the infinite one included. The series of a family nearly always have the same.
#[derive(Default)]
struct BoundTexts {
    bounds: Vec<f64>,
    texts: Vec<String>,
}

impl BoundTexts {
    fn of(&mut self, bounds: &[f64], format: Format) -> &[String] {
        if self.texts.is_empty() || self.bounds != bounds {
            self.bounds = bounds.to_vec();
            let all = bounds.iter().chain(&[f64::INFINITY]);
            self.texts = all.map(|bound| bound_text(*bound, format)).collect();
        }
        &self.texts
    }
}

/// Whole numbers have a fraction in OpenMetrics ("Canonical Numbers") and none in the text format, as Prometheus' own
/// libraries write them.
fn bound_text(bound: f64, format: Format) -> String {
    let mut text = canonical_float(bound);
    if format == Format::Text && text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    text
}

/// The labels of series as they are written.
struct Labels {
    escaping: NameEscaping,
    builder: LabelBuilder,
    escaped: LabelSet,
    /// What was written, where escaping may make one set of two.
    seen: HashSet<SeriesHash>,
}

impl Labels {
    fn new(escaping: NameEscaping) -> Labels {
        Labels { escaping, builder: LabelBuilder::default(), escaped: LabelSet::empty(), seen: HashSet::new() }
    }

    /// The labels of one series; none if a series with the same was written.
    fn of<'l>(&'l mut self, labels: &'l LabelSet) -> Option<&'l LabelSet> {
        if self.escaping == NameEscaping::AllowUtf8 {
            return Some(labels);
        }
        if labels.iter().all(|(name, _)| is_legacy_label_name(name)) {
            return self.seen.insert(labels.hash()).then_some(labels);
        }
        self.builder.clear();
        for (name, value) in labels.iter() {
            let name = escaped(name).replace(':', "_");
            match self.builder.get(&name) {
                "" => self.builder.set(&name, value),
                present => {
                    let joined = format!("{present};{value}");
                    self.builder.set(&name, &joined);
                }
            }
        }
        self.escaped = self.builder.build();
        self.seen.insert(self.escaped.hash()).then_some(&self.escaped)
    }
}

/// Every character outside of the old character set becomes `_`.
fn escaped(name: &str) -> String {
    let is_plain = |index: usize, c: char| match c {
        '_' | ':' => true,
        c => c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit()),
    };
    name.chars().enumerate().map(|(index, c)| if is_plain(index, c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
