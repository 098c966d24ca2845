//! Timings, histograms and distributions between two flushes.

use std::sync::Arc;

use super::exponential::Exponential;
use crate::statsd::data::Data;
use crate::statsd::series::Shape;

/// So many values of one series are kept as they are; beyond it, neighbours are put together.
pub(crate) const VALUES_MAX: usize = 8_192;

/// A value and how many it stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WeightedValue {
    pub(crate) value: f64,
    pub(crate) weight: f64,
}

/// Count, sum and extremes of the values, and what the shape asks for.
#[derive(Clone, Debug)]
pub(crate) struct Timers {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Every value with its time.
    Points(Vec<(u64, f64)>),
    Summary(Vec<WeightedValue>),
    /// One count more than bounds.
    Explicit {
        bounds: Arc<[f64]>,
        counts: Vec<f64>,
    },
    Exponential(Exponential),
}

impl Timers {
    pub(crate) fn new(shape: &Shape) -> Timers {
        let body = match shape {
            Shape::Summary { .. } => Body::Summary(Vec::new()),
            Shape::Explicit { bounds } => {
                Body::Explicit { bounds: Arc::clone(bounds), counts: vec![0.0; bounds.len() + 1] }
            }
            Shape::Exponential { size_max, scale_max } => Body::Exponential(Exponential::new(*size_max, *scale_max)),
            Shape::Points | Shape::Counter | Shape::Gauge | Shape::Set => Body::Points(Vec::new()),
        };
        Timers { count: 0.0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, body }
    }

    /// Adds a value that counts `count` times, and `weight` times in sum and quantiles.
    pub(crate) fn add(&mut self, value: f64, count: f64, weight: f64, time_ns: u64) {
        self.count += count;
        self.sum = (self.sum + value * weight).clamp(f64::MIN, f64::MAX);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        match &mut self.body {
            Body::Points(points) => points.push((time_ns, value)),
            Body::Summary(values) => {
                values.push(WeightedValue { value, weight });
                halve(values);
            }
            Body::Explicit { bounds, counts } => {
                counts[bounds.partition_point(|bound| *bound < value)] += count;
            }
            Body::Exponential(histogram) => histogram.add(value, count),
        }
    }

    pub(crate) fn merge(&mut self, other: Timers) {
        self.count += other.count;
        self.sum = (self.sum + other.sum).clamp(f64::MIN, f64::MAX);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        match (&mut self.body, other.body) {
            (Body::Points(own), Body::Points(other)) => own.extend(other),
            (Body::Summary(own), Body::Summary(other)) => {
                own.extend(other);
                halve(own);
            }
            (Body::Explicit { counts, .. }, Body::Explicit { counts: other, .. }) => {
                counts.iter_mut().zip(other).for_each(|(own, other)| *own += other);
            }
            (Body::Exponential(own), Body::Exponential(other)) => own.merge(&other),
            _ => debug_assert!(false, "timers of one series have one shape"),
        }
    }

    /// How many values are held as they are.
    pub(crate) fn values_held(&self) -> usize {
        match &self.body {
            Body::Points(points) => points.len(),
            Body::Summary(values) => values.len(),
            Body::Explicit { .. } | Body::Exponential(_) => 0,
        }
    }

    /// The values of the shape's quantiles: the smallest value at which the weights of all up to it are at least that
    /// part of the whole. None but a summary has some.
    pub(crate) fn quantiles(&self, shape: &Shape) -> Vec<(f64, f64)> {
        let (Body::Summary(values), Shape::Summary { quantiles }) = (&self.body, shape) else { return Vec::new() };
        let mut values = values.clone();
        values.sort_unstable_by(|left, right| left.value.total_cmp(&right.value));
        let whole: f64 = values.iter().map(|value| value.weight).sum();
        let at = |quantile: f64| {
            let mut below = 0.0;
            let found = values.iter().find(|value| {
                below += value.weight;
                below >= quantile * whole
            });
            found.or(values.last()).map(|value| (quantile, value.value))
        };
        quantiles.iter().filter_map(|&quantile| at(quantile)).collect()
    }

    /// All but the values that are held as they are.
    pub(crate) fn without_values(mut self) -> Timers {
        match &mut self.body {
            Body::Points(values) => values.clear(),
            Body::Summary(values) => values.clear(),
            Body::Explicit { .. } | Body::Exponential(_) => {}
        }
        self
    }

    /// What is written of it.
    pub(crate) fn data(&self, quantiles: Vec<(f64, f64)>, mut rounding: Rounding<'_>) -> Data {
        let (sum, min, max) = (self.sum, self.min, self.max);
        match &self.body {
            Body::Points(_) | Body::Summary(_) => {
                let count = rounding.whole(&[self.count])[0];
                Data::Summary { count, sum, quantiles }
            }
            Body::Explicit { bounds, counts } => {
                let counts = rounding.whole(counts);
                Data::Explicit { counts, bounds: Arc::clone(bounds), sum, min, max }
            }
            Body::Exponential(histogram) => {
                let Exponential { scale, zero, positive, negative, .. } = histogram;
                // In the order of their values, so that what is rounded moves to a neighbour.
                let counts: Vec<f64> =
                    negative.counts.iter().rev().chain([zero]).chain(&positive.counts).copied().collect();
                let mut counts = rounding.whole(&counts);
                let positive_counts = counts.split_off(negative.counts.len() + 1);
                let zero = counts.pop().unwrap_or_default();
                counts.reverse();
                Data::Exponential {
                    scale: *scale,
                    zero,
                    positive: (positive.offset, positive_counts),
                    negative: (negative.offset, counts),
                    sum,
                    min,
                    max,
                }
            }
        }
    }
}

/// How counts that are not whole, because of sample rates such as 0.3, become so.
#[derive(Debug)]
pub(crate) enum Rounding<'a> {
    /// So that the sum of all counts is right over all intervals: what is left of one goes into the next. For deltas.
    Carry(&'a mut f64),
    /// Each for itself, so that none ever falls. For totals.
    Each,
}

impl Rounding<'_> {
    fn whole(&mut self, counts: &[f64]) -> Vec<u64> {
        match self {
            Rounding::Each => counts.iter().map(|count| count.round() as u64).collect(),
            Rounding::Carry(carry) => {
                let mut exact = **carry;
                let mut written = 0_u64;
                let whole = |count: &f64| {
                    exact += count;
                    let until = (exact + 0.5).floor().max(0.0) as u64;
                    let count = until.saturating_sub(written);
                    written += count;
                    count
                };
                let counts = counts.iter().map(whole).collect();
                **carry = (exact - written as f64).clamp(-0.5, 0.5);
                counts
            }
        }
    }
}

/// Makes one value of each two neighbours once there are too many: alternately the lower and the upper one stay, with
/// the weight of both, so that each time no rank moves by more than the weight of one pair. Extremes stay.
fn halve(values: &mut Vec<WeightedValue>) {
    while values.len() > VALUES_MAX {
        values.sort_unstable_by(|left, right| left.value.total_cmp(&right.value));
        let (smallest, greatest) = (values[0], values[values.len() - 1]);
        let pairs = values.chunks(2).enumerate().map(|(i, pair)| WeightedValue {
            value: pair[if i % 2 == 0 { 0 } else { pair.len() - 1 }].value,
            weight: pair.iter().map(|value| value.weight).sum(),
        });
        let mut halved: Vec<WeightedValue> = pairs.collect();
        if let [first, .., last] = halved.as_mut_slice() {
            first.value = smallest.value;
            last.value = greatest.value;
        }
        *values = halved;
    }
}
