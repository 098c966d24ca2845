//! The schema `telegraf-prometheus-v2`, in which several lines are one data point.

use std::collections::{BTreeMap, BTreeSet};

use otlp::NumberValue;

use super::read::{Identity, bound, count, float, histogram};
use crate::lines::gather::{Gatherer, Kind, Value};

/// Lines of data points that may not be complete yet.
#[derive(Debug, Default)]
pub(super) struct Second {
    open: BTreeMap<(Identity, String), Parts>,
}

/// What was found of one data point.
#[derive(Debug, Default)]
struct Parts {
    count: Option<f64>,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    buckets: Vec<(f64, f64)>,
    quantiles: Vec<(f64, f64)>,
}

/// The tag of a line that belongs to a bucket or a quantile.
#[derive(Clone, Copy)]
enum Of {
    Bucket(f64),
    Quantile(f64),
}

impl Second {
    /// Adds a line: what is whole goes to `gatherer` at once.
    pub(super) fn add(&mut self, mut identity: Identity, numbers: Vec<(String, NumberValue)>, gatherer: &mut Gatherer) {
        let of = part_of(&mut identity);
        let counted = bases(&numbers);
        for (field, number) in numbers {
            match (of, field.strip_suffix("_bucket")) {
                (Some(Of::Bucket(bound)), Some(base)) => {
                    self.parts(&identity, base).buckets.push((bound, float(number)));
                    continue;
                }
                (Some(Of::Quantile(quantile)), _) => {
                    self.parts(&identity, &field).quantiles.push((quantile, float(number)));
                    continue;
                }
                _ => {}
            }
            match field.rsplit_once('_').filter(|(base, _)| counted.contains(*base)) {
                Some((base, "count")) => self.parts(&identity, base).count = Some(float(number)),
                Some((base, "sum")) => self.parts(&identity, base).sum = Some(float(number)),
                Some((base, "min")) => self.parts(&identity, base).min = Some(float(number)),
                Some((base, "max")) => self.parts(&identity, base).max = Some(float(number)),
                _ => identity.clone().add(gatherer, field, Kind::Gauge, Value::Number(number)),
            }
        }
    }

    fn parts(&mut self, identity: &Identity, base: &str) -> &mut Parts {
        self.open.entry((identity.clone(), base.to_owned())).or_default()
    }

    /// Hands over what came in parts.
    pub(super) fn finish(&mut self, gatherer: &mut Gatherer) {
        for ((identity, name), parts) in std::mem::take(&mut self.open) {
            match parts.value(&identity) {
                Some((kind, value)) => identity.add(gatherer, name, kind, value),
                None => parts.scatter(&identity, &name, gatherer),
            }
        }
    }
}

/// Takes `le` or `quantile` off the tags. A value that is no number leaves it where it is.
fn part_of(identity: &mut Identity) -> Option<Of> {
    let mut take = |tag: &str| {
        let found = bound(identity.attributes.get(tag)?)?;
        identity.attributes.remove(tag);
        Some(found)
    };
    take("le").map(Of::Bucket).or_else(|| take("quantile").map(Of::Quantile))
}

/// The names that have both a `_count` and a `_sum` on the line.
fn bases(numbers: &[(String, NumberValue)]) -> BTreeSet<String> {
    let sums: BTreeSet<&str> = numbers.iter().filter_map(|(field, _)| field.strip_suffix("_sum")).collect();
    let counts = numbers.iter().filter(|(_, number)| count(float(*number)).is_some());
    let counts = counts.filter_map(|(field, _)| field.strip_suffix("_count"));
    counts.filter(|base| sums.contains(base)).map(str::to_owned).collect()
}

impl Parts {
    /// Quantiles make a summary; everything else is a histogram.
    fn value(&self, identity: &Identity) -> Option<(Kind, Value)> {
        let sorted = |pairs: &[(f64, f64)]| {
            let mut pairs = pairs.to_vec();
            pairs.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            pairs
        };
        let (buckets, quantiles) = (sorted(&self.buckets), sorted(&self.quantiles));
        // Without a line for it, the greatest bucket has the count.
        let counted = self.count.or_else(|| buckets.last().map(|(_, found)| *found)).unwrap_or(0.0);
        if !quantiles.is_empty() {
            return Some((
                Kind::Summary,
                Value::Summary { count: count(counted)?, sum: self.sum.unwrap_or(0.0), quantiles },
            ));
        }
        let value = histogram(count(counted)?, self.sum, [self.min, self.max], buckets)?;
        Some((identity.temporality.histogram(), value))
    }

    /// What is no distribution after all, as gauges.
    fn scatter(self, identity: &Identity, name: &str, gatherer: &mut Gatherer) {
        let mut add = |name: String, tag: Option<(&str, f64)>, value: f64| {
            let mut identity = identity.clone();
            identity.attributes.extend(tag.map(|(tag, bound)| (tag.to_owned(), bound.to_string())));
            identity.add(gatherer, name, Kind::Gauge, Value::Number(NumberValue::Double(value)));
        };
        let aggregates = [("count", self.count), ("sum", self.sum), ("min", self.min), ("max", self.max)];
        for (suffix, value) in aggregates.into_iter().filter_map(|(suffix, value)| Some((suffix, value?))) {
            add(format!("{name}_{suffix}"), None, value);
        }
        self.buckets.iter().for_each(|(bound, value)| add(format!("{name}_bucket"), Some(("le", *bound)), *value));
        self.quantiles.iter().for_each(|(bound, value)| add(name.to_owned(), Some(("quantile", *bound)), *value));
    }
}
