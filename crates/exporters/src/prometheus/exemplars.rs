//! Exemplars: which ones are kept, and as what.

use otlp::view::{ExemplarView, Repeated};

use super::store::Exemplar;
use super::value::Value;

/// OpenMetrics 1.0, "Exemplars": names and values together may have no more characters.
const CHARACTERS_MAX: usize = 128;

/// The latest exemplar of a counter, or of each bucket of a histogram.
pub(super) fn keep(exemplars: Repeated<'_, ExemplarView<'_>>, value: &Value) -> Box<[Exemplar]> {
    let mut latest: Vec<(usize, ExemplarView<'_>)> = Vec::new();
    for exemplar in exemplars {
        let Some(measured) = exemplar.value() else { continue };
        let bucket = bucket_of(value, measured.as_double());
        match latest.binary_search_by_key(&bucket, |(kept, _)| *kept) {
            Ok(place) if latest[place].1.time_unix_nano() <= exemplar.time_unix_nano() => latest[place].1 = exemplar,
            Ok(_) => {}
            Err(place) => latest.insert(place, (bucket, exemplar)),
        }
    }
    latest.into_iter().map(|(_, exemplar)| made(&exemplar)).collect()
}

/// The place of a measured value among the buckets of a histogram; 0 for a counter.
pub(super) fn bucket_of(value: &Value, measured: f64) -> usize {
    match value {
        Value::Histogram(histogram) => histogram.bounds.partition_point(|bound| *bound < measured),
        Value::Number(_) | Value::Summary(_) => 0,
    }
}

/// The memory that exemplars take, in bytes.
pub(super) fn size_bytes(exemplars: &[Exemplar]) -> usize {
    exemplars.iter().map(Exemplar::size_bytes).sum()
}

/// Trace and span, and what the aggregation removed as far as that fits.
fn made(exemplar: &ExemplarView<'_>) -> Exemplar {
    let mut labels: Vec<(Box<str>, Box<str>)> = Vec::new();
    if let Some(id) = exemplar.trace_id() {
        labels.push(("trace_id".into(), id.to_string().into()));
    }
    if let Some(id) = exemplar.span_id() {
        labels.push(("span_id".into(), id.to_string().into()));
    }
    let ids = labels.len();
    for attribute in exemplar.filtered_attributes() {
        let (name, value) = (escaped(attribute.key()), attribute.value().to_text());
        let is_new = labels.iter().all(|(present, _)| **present != *name);
        if is_new && !name.is_empty() {
            labels.push((name.into(), value.into()));
        }
        if characters(&labels) > CHARACTERS_MAX {
            labels.truncate(ids);
            break;
        }
    }
    let value = exemplar.value().map_or(0.0, otlp::NumberValue::as_double);
    Exemplar { labels: labels.into(), value, time_unix_nano: exemplar.time_unix_nano() }
}

fn characters(labels: &[(Box<str>, Box<str>)]) -> usize {
    labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum()
}

/// Exemplars have names of the old character set only, whatever the series have.
fn escaped(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = key.chars().map(plain).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}
