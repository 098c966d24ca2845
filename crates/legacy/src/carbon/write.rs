//! Batches to lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use otlp::view::{BucketsView, ExponentialHistogramPointView, HistogramPointView, KeyValues, SummaryPointView};
use otlp::{Batch, NumberValue};

use crate::lines::{
    Payload, PayloadLimits, Payloads, Point, PointData, Refusal, Refused, for_each_point, text_attributes,
};

/// What becomes of the attributes of a resource (`resource_to_telemetry_conversion`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResourceTags {
    /// They are left out.
    #[default]
    None,
    /// They are tags of every sample, where the data point has none of the same name.
    All,
}

/// The lines of a batch of metrics, as payloads within bounds, and what has no line.
pub fn write(batch: &Batch, resource: ResourceTags, limits: PayloadLimits) -> (Vec<Payload>, Refused) {
    let mut payloads = Payloads::new(limits);
    let mut refused = Refused::default();
    let mut lines = Lines::default();
    for_each_point(batch, |point| {
        lines.clear();
        match lines.point(point, resource) {
            Ok(()) => payloads.add(lines.out.as_bytes(), lines.count),
            Err(reason) => refused.add(reason),
        }
    });
    (payloads.finish(), refused)
}

/// The lines of one data point.
#[derive(Debug, Default)]
struct Lines {
    out: String,
    count: usize,
    name: String,
    /// `;tag=value` for each.
    tags: String,
    seconds: u64,
}

impl Lines {
    fn clear(&mut self) {
        self.out.clear();
        self.name.clear();
        self.tags.clear();
        self.count = 0;
    }

    fn point(&mut self, point: &Point<'_>, resource: ResourceTags) -> Result<(), Refusal> {
        if point.is_without_value() {
            return Err(Refusal::NoValue);
        }
        if point.time_unix_ns == 0 {
            return Err(Refusal::NoTimestamp);
        }
        push_clean(&mut self.name, point.metric.name(), |character| character == ';');
        if self.name.is_empty() {
            return Err(Refusal::NoName);
        }
        self.seconds = point.time_unix_ns / 1_000_000_000;
        let resource = match resource {
            ResourceTags::None => KeyValues::empty(),
            ResourceTags::All => point.resource.attributes(),
        };
        let mut attributes = BTreeMap::new();
        text_attributes([resource, point.attributes], &mut attributes);
        attributes.iter().for_each(|(key, value)| push_tag(&mut self.tags, key, value));
        match point.data {
            PointData::Gauge(point) | PointData::Sum { point, .. } => {
                self.number(point.value().ok_or(Refusal::NoValue)?);
            }
            PointData::Histogram { point, .. } => self.histogram(&point),
            PointData::ExponentialHistogram { point, .. } => self.exponential_histogram(&point),
            PointData::Summary(point) => self.summary(&point),
        }
        if self.count == 0 { Err(Refusal::NotFinite) } else { Ok(()) }
    }

    fn number(&mut self, value: NumberValue) {
        match value {
            NumberValue::Int(value) => self.line("", "", value),
            NumberValue::Double(value) => self.double("", "", value),
        }
    }

    fn histogram(&mut self, point: &HistogramPointView<'_>) {
        self.line(".count", "", point.count());
        if let Some(sum) = point.sum() {
            self.double("", "", sum);
        }
        let bounds = point.explicit_bounds().chain([f64::INFINITY]);
        for (count, bound) in point.bucket_counts().zip(bounds) {
            self.line(".bucket", &format!(";upper_bound={bound}"), count);
        }
    }

    /// As a histogram of the buckets that hold something.
    fn exponential_histogram(&mut self, point: &ExponentialHistogramPointView<'_>) {
        self.line(".count", "", point.count());
        if let Some(sum) = point.sum() {
            self.double("", "", sum);
        }
        let base = (-f64::from(point.scale())).exp2();
        let bound = |index: f64| (index * base).exp2();
        let filled = |buckets: BucketsView<'_>| {
            let offset = f64::from(buckets.offset());
            let counts: Vec<u64> = buckets.bucket_counts().collect();
            counts
                .into_iter()
                .enumerate()
                .filter(|(_, count)| *count > 0)
                .map(move |(at, count)| (offset + at as f64, count))
        };
        // The upper bound of a negative bucket is the one that is nearer to zero.
        let negative: Vec<(f64, u64)> = filled(point.negative()).map(|(index, count)| (-bound(index), count)).collect();
        let zero = (point.zero_count() > 0).then(|| (point.zero_threshold(), point.zero_count()));
        let positive = filled(point.positive()).map(|(index, count)| (bound(index + 1.0), count));
        for (bound, count) in negative.into_iter().rev().chain(zero).chain(positive) {
            self.line(".bucket", &format!(";upper_bound={bound}"), count);
        }
    }

    fn summary(&mut self, point: &SummaryPointView<'_>) {
        self.line(".count", "", point.count());
        self.double("", "", point.sum());
        for quantile in point.quantile_values() {
            self.double(".quantile", &format!(";quantile={}", quantile.quantile()), quantile.value());
        }
    }

    /// Graphite discards what is not a number; the other values of the data point count.
    fn double(&mut self, suffix: &str, tag: &str, value: f64) {
        if !value.is_nan() {
            self.line(suffix, tag, value);
        }
    }

    fn line(&mut self, suffix: &str, tag: &str, value: impl std::fmt::Display) {
        // Writing into a string does not fail.
        let _ = writeln!(self.out, "{}{suffix}{}{tag} {value} {}", self.name, self.tags, self.seconds);
        self.count += 1;
    }
}

fn push_tag(tags: &mut String, key: &str, value: &str) {
    if key.is_empty() {
        return;
    }
    tags.push(';');
    push_clean(tags, key, |character| matches!(character, ';' | '!' | '^' | '='));
    tags.push('=');
    if value.is_empty() {
        // A tag needs a value of at least one character.
        tags.push_str("<empty>");
    } else {
        push_clean(tags, value, |character| matches!(character, ';' | '~'));
    }
}

/// Appends text with `_` in place of characters that would end a field, a tag or the line.
fn push_clean(to: &mut String, text: &str, is_special: impl Fn(char) -> bool) {
    let is_wrong = |character: char| character.is_whitespace() || character.is_control() || is_special(character);
    to.extend(text.chars().map(|character| if is_wrong(character) { '_' } else { character }));
}
