//! Lines to a batch.

use std::collections::BTreeMap;

use otlp::{Batch, NumberValue};

use super::line::{Fault, FieldValue, LineError, Lines, Point};
use super::precision::Precision;
use super::resource::describes_resource;
use super::second::Second;
use super::write::{PROMETHEUS, SCOPE_NAME, SCOPE_VERSION, START_TIME};
use crate::lines::gather::{Attributes, Gathered, Gatherer, Kind, Scope, Value};

/// Puts lines together as a batch of metrics.
#[derive(Debug)]
pub struct Reader {
    precision: Precision,
    now_unix_ns: u64,
    gatherer: Gatherer,
    second: Second,
    lines_without_number: u64,
    /// About what the data points take, each with its attributes.
    size_bytes: usize,
}

/// A field is a data point with all the tags of its line, so a text may become a batch that is much larger. Lines that
/// would make it larger than this are refused.
const BATCH_BYTES_MAX: usize = 128 << 20;
/// What a data point and a tag take beside their text, about.
const POINT_BYTES: usize = 192;
const TAG_BYTES: usize = 96;

impl Reader {
    /// Of no lines yet. `now_unix_ns` is the time of lines without a timestamp.
    pub fn new(precision: Precision, now_unix_ns: u64) -> Self {
        let (gatherer, second) = (Gatherer::default(), Second::default());
        Reader { precision, now_unix_ns, gatherer, second, lines_without_number: 0, size_bytes: 0 }
    }

    /// Adds the lines of a text; gives how many were taken. `fault` gets each of the others.
    pub fn read(&mut self, text: &[u8], mut fault: impl FnMut(&LineError)) -> u64 {
        let mut taken = 0;
        for line in Lines::new(text) {
            let added =
                line.and_then(|(line, point)| self.add(point).map_err(|fault| LineError { line, column: 1, fault }));
            match added {
                Ok(()) => taken += 1,
                Err(error) => fault(&error),
            }
        }
        taken
    }

    /// The lines without a number or a boolean, which are no metrics and were passed over.
    pub fn lines_without_number(&self) -> u64 {
        self.lines_without_number
    }

    /// The batch.
    pub fn finish(mut self) -> Batch {
        self.second.finish(&mut self.gatherer);
        self.gatherer.finish()
    }

    fn add(&mut self, point: Point<'_>) -> Result<(), Fault> {
        let time_unix_ns = match point.timestamp {
            None => self.now_unix_ns,
            Some(timestamp) => self.precision.to_unix_ns(timestamp).ok_or(Fault::TimestampRange)?,
        };
        let size_bytes = self.size_bytes.saturating_add(size_bytes(&point));
        if size_bytes > BATCH_BYTES_MAX {
            return Err(Fault::TooLarge { size_bytes_max: BATCH_BYTES_MAX });
        }
        self.size_bytes = size_bytes;
        let start_unix_ns = start_unix_ns(&point.fields);
        let mut identity = Identity { time_unix_ns, start_unix_ns, ..Identity::default() };
        for (name, value) in point.tags {
            identity.tag(name.into_owned(), value.into_owned());
        }
        let numbers: Vec<(String, NumberValue)> = point
            .fields
            .into_iter()
            .filter(|(name, _)| name != START_TIME)
            .filter_map(|(name, value)| Some((name.into_owned(), number(&value)?)))
            .collect();
        if numbers.is_empty() {
            self.lines_without_number += 1;
        } else if point.measurement == PROMETHEUS {
            self.second.add(identity, numbers, &mut self.gatherer);
        } else {
            self.first(&identity, &point.measurement, numbers);
        }
        Ok(())
    }

    /// A line of the first schema, or of none.
    fn first(&mut self, identity: &Identity, measurement: &str, numbers: Vec<(String, NumberValue)>) {
        if let Some((kind, value)) = distribution(&numbers, identity.temporality) {
            return identity.clone().add(&mut self.gatherer, measurement.to_owned(), kind, value);
        }
        for (field, number) in numbers {
            let (kind, name) = match field.as_str() {
                "gauge" => (Kind::Gauge, measurement.to_owned()),
                "counter" => (identity.temporality.sum(), measurement.to_owned()),
                _ => (Kind::Gauge, format!("{measurement}_{field}")),
            };
            identity.clone().add(&mut self.gatherer, name, kind, Value::Number(number));
        }
    }
}

/// About what the data points of a line take.
fn size_bytes(point: &Point<'_>) -> usize {
    let tags: usize = point.tags.iter().map(|(name, value)| name.len() + value.len() + TAG_BYTES).sum();
    let each = POINT_BYTES + point.measurement.len() + tags;
    let fields: usize = point.fields.iter().map(|(name, _)| name.len()).sum();
    fields.saturating_add(each.saturating_mul(point.fields.len()))
}

/// What the tags and times of a line say.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) resource: Attributes,
    pub(super) scope: Scope,
    pub(super) attributes: Attributes,
    pub(super) time_unix_ns: u64,
    pub(super) start_unix_ns: u64,
    pub(super) temporality: LineTemporality,
}

/// The temporality of a line, which the tag `temporality=delta` says, as Telegraf's StatsD plugin sets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LineTemporality {
    #[default]
    Cumulative,
    Delta,
}

impl LineTemporality {
    fn sum(self) -> Kind {
        match self {
            LineTemporality::Cumulative => Kind::Sum,
            LineTemporality::Delta => Kind::DeltaSum,
        }
    }

    pub(super) fn histogram(self) -> Kind {
        match self {
            LineTemporality::Cumulative => Kind::Histogram,
            LineTemporality::Delta => Kind::DeltaHistogram,
        }
    }
}

impl Identity {
    fn tag(&mut self, name: String, value: String) {
        match name.as_str() {
            SCOPE_NAME | "otel.scope.name" => self.scope.name = value,
            SCOPE_VERSION | "otel.scope.version" => self.scope.version = value,
            "temporality" if value == "delta" => self.temporality = LineTemporality::Delta,
            _ if describes_resource(&name) => drop(self.resource.insert(name, value)),
            _ => drop(self.attributes.insert(name, value)),
        }
    }

    pub(super) fn add(self, gatherer: &mut Gatherer, name: String, kind: Kind, value: Value) {
        let Identity { resource, scope, attributes, time_unix_ns, start_unix_ns, .. } = self;
        gatherer.add(resource, scope, name, kind, Gathered { attributes, start_unix_ns, time_unix_ns, value });
    }
}

/// `start_time_unix_nano`, or `start_time` as Telegraf writes it.
fn start_unix_ns(fields: &[(std::borrow::Cow<'_, str>, FieldValue<'_>)]) -> u64 {
    let found = fields.iter().find_map(|(name, value)| match (name.as_ref(), value) {
        (START_TIME, FieldValue::Int(start)) => u64::try_from(*start).ok(),
        ("start_time", FieldValue::String(text)) => {
            text.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_nanosecond()).ok())
        }
        _ => None,
    });
    found.unwrap_or(0)
}

fn number(value: &FieldValue<'_>) -> Option<NumberValue> {
    Some(match value {
        FieldValue::Float(value) => NumberValue::Double(*value),
        FieldValue::Int(value) => NumberValue::Int(*value),
        FieldValue::UInt(value) => i64::try_from(*value).map_or(NumberValue::Double(*value as f64), NumberValue::Int),
        FieldValue::Bool(value) => NumberValue::Int(i64::from(*value)),
        FieldValue::String(_) => return None,
    })
}

/// The fields of the first schema that are a histogram or a summary: `count`, `sum`, perhaps `min` and `max`, and
/// otherwise numbers as names. Telegraf and the exporters write `+Inf` for a histogram, so what has none, and has names
/// from 0 to 1 only, is a summary.
fn distribution(numbers: &[(String, NumberValue)], temporality: LineTemporality) -> Option<(Kind, Value)> {
    let mut aggregates = BTreeMap::new();
    let mut buckets = Vec::new();
    for (field, number) in numbers {
        match field.as_str() {
            "count" | "sum" | "min" | "max" => drop(aggregates.insert(field.as_str(), float(*number))),
            _ => buckets.push((bound(field)?, float(*number))),
        }
    }
    let get = |field: &str| aggregates.get(field).copied();
    let (total, sum) = (get("count")?, get("sum"));
    // A field `count` alone says nothing of a distribution.
    let is_infinite = |(bound, _): &(f64, f64)| *bound == f64::INFINITY;
    if sum.is_none() && !buckets.iter().any(is_infinite) {
        return None;
    }
    let is_summary = !buckets.is_empty() && buckets.iter().all(|(bound, _)| (0.0..=1.0).contains(bound));
    buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    if is_summary {
        return Some((
            Kind::Summary,
            Value::Summary { count: count(total)?, sum: sum.unwrap_or(0.0), quantiles: buckets },
        ));
    }
    let histogram = histogram(count(total)?, sum, [get("min"), get("max")], buckets)?;
    Some((temporality.histogram(), histogram))
}

/// A histogram of buckets by ascending bounds. Their counts are running totals, unless they fall.
pub(super) fn histogram(
    count_all: u64,
    sum: Option<f64>,
    [min, max]: [Option<f64>; 2],
    mut buckets: Vec<(f64, f64)>,
) -> Option<Value> {
    let has_buckets = !buckets.is_empty();
    buckets.retain(|(bound, _)| bound.is_finite());
    buckets.dedup_by(|(later, _), (earlier, _)| later == earlier);
    let (bounds, mut counts): (Vec<f64>, Vec<u64>) = buckets
        .into_iter()
        .map(|(bound, found)| Some((bound, count(found)?)))
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .unzip();
    if counts.is_sorted() {
        let mut before = 0;
        for found in &mut counts {
            let total = *found;
            *found -= before;
            before = total;
        }
    }
    if has_buckets {
        let inside = counts.iter().fold(0u64, |total, found| total.saturating_add(*found));
        counts.push(count_all.saturating_sub(inside));
    }
    Some(Value::Histogram { count: count_all, sum, min, max, bounds, counts })
}

/// A number as the name of a field or the value of a tag. Only the upper end may be infinite.
pub(super) fn bound(text: &str) -> Option<f64> {
    text.parse().ok().filter(|bound: &f64| bound.is_finite() || *bound == f64::INFINITY)
}

pub(super) fn float(number: NumberValue) -> f64 {
    match number {
        NumberValue::Int(value) => value as f64,
        NumberValue::Double(value) => value,
    }
}

/// A count that is written as a float; `None` where it cannot be one.
pub(super) fn count(value: f64) -> Option<u64> {
    (value >= 0.0 && value < u64::MAX as f64 && value.fract() == 0.0).then_some(value as u64)
}
