//! What is exposed of a series: the last value, or the running total of deltas.

use otlp::NumberValue;
use otlp::view::{ExponentialHistogramPointView, HistogramPointView, NumberPointView, SummaryPointView};

use super::refusal::Refusal;

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Of a gauge or a sum.
    Number(NumberValue),
    /// Of a histogram. An exponential one has no buckets here: the text formats cannot carry them.
    Histogram(Box<Histogram>),
    /// Of a summary.
    Summary(Box<Summary>),
}

/// A histogram, each bucket for itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    /// The upper bounds without the infinite one, ascending.
    pub(super) bounds: Box<[f64]>,
    /// The values up to each bound.
    pub(super) counts: Box<[u64]>,
}

/// A summary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Quantiles and their values, ascending, each once.
    pub(super) quantiles: Box<[(f64, f64)]>,
}

impl Value {
    pub(super) fn of_number(point: &NumberPointView<'_>) -> Result<Value, Refusal> {
        point.value().map(Value::Number).ok_or(Refusal::NoValue)
    }

    pub(super) fn of_histogram(point: &HistogramPointView<'_>) -> Result<Value, Refusal> {
        let mut bounds: Vec<f64> = point.explicit_bounds().collect();
        let mut counts: Vec<u64> = point.bucket_counts().collect();
        let rise = |pair: &[f64]| pair[0] < pair[1];
        let fit = counts.len() == bounds.len() + 1 || (counts.is_empty() && bounds.is_empty());
        if !fit || !bounds.windows(2).all(rise) || bounds.iter().any(|bound| bound.is_nan()) {
            return Err(Refusal::InvalidBuckets);
        }
        if bounds.last() == Some(&f64::INFINITY) {
            // The bucket beyond is empty by definition, and the infinite bound is written for every histogram.
            bounds.pop();
        }
        counts.truncate(bounds.len());
        let (bounds, counts) = (bounds.into_boxed_slice(), counts.into_boxed_slice());
        Ok(Value::Histogram(Box::new(Histogram { count: point.count(), sum: point.sum(), bounds, counts })))
    }

    pub(super) fn of_exponential_histogram(point: &ExponentialHistogramPointView<'_>) -> Value {
        let (count, sum) = (point.count(), point.sum());
        Value::Histogram(Box::new(Histogram { count, sum, bounds: Box::default(), counts: Box::default() }))
    }

    pub(super) fn of_summary(point: &SummaryPointView<'_>) -> Value {
        let mut quantiles: Vec<(f64, f64)> =
            point.quantile_values().map(|entry| (entry.quantile(), entry.value())).collect();
        quantiles.sort_by(|left, right| left.0.total_cmp(&right.0));
        quantiles.dedup_by(|next, kept| next.0.to_bits() == kept.0.to_bits());
        let quantiles = quantiles.into_boxed_slice();
        Value::Summary(Box::new(Summary { count: point.count(), sum: point.sum(), quantiles }))
    }

    /// The value, to be changed; nothing stays behind.
    pub(super) fn take(&mut self) -> Value {
        std::mem::replace(self, Value::Number(NumberValue::Int(0)))
    }

    /// The running total with one more delta. Histograms with other bounds cannot be added: the total starts anew.
    pub(super) fn plus(self, delta: Value) -> Value {
        match (self, delta) {
            (Value::Number(total), Value::Number(delta)) => Value::Number(sum(total, delta)),
            (Value::Histogram(total), Value::Histogram(delta)) if total.bounds == delta.bounds => {
                Value::Histogram(total.plus(&delta))
            }
            (_, delta) => delta,
        }
    }

    /// The memory behind it, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Value::Number(_) => 0,
            Value::Histogram(histogram) => {
                size_of::<Histogram>() + size_of_val(&*histogram.bounds) + size_of_val(&*histogram.counts)
            }
            Value::Summary(summary) => size_of::<Summary>() + size_of_val(&*summary.quantiles),
        }
    }
}

/// Integers stay exact as long as they can.
fn sum(total: NumberValue, delta: NumberValue) -> NumberValue {
    if let (NumberValue::Int(total), NumberValue::Int(delta)) = (total, delta)
        && let Some(sum) = total.checked_add(delta)
    {
        return NumberValue::Int(sum);
    }
    NumberValue::Double(total.as_double() + delta.as_double())
}

impl Histogram {
    fn plus(mut self: Box<Self>, delta: &Histogram) -> Box<Self> {
        self.count = self.count.wrapping_add(delta.count);
        self.sum = self.sum.zip(delta.sum).map(|(total, delta)| total + delta);
        for (total, delta) in self.counts.iter_mut().zip(&delta.counts) {
            *total = total.wrapping_add(*delta);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use otlp::encode::{HistogramPointWriter, MetricsEncoder, SummaryPointWriter};
    use otlp::view::MetricData;

    use super::*;

    fn histogram(fill: impl FnOnce(&mut HistogramPointWriter<'_>)) -> Result<Value, Refusal> {
        let mut encoder = MetricsEncoder::new();
        encoder.resource_metrics(|block| {
            block
                .scope_metrics(|scope| scope.metric(|metric| metric.histogram(|data| data.point(|point| fill(point)))));
        });
        let batch = encoder.finish();
        let metrics = batch.metrics().unwrap();
        let metric = metrics.resource_metrics().next().unwrap().scope_metrics().next().unwrap().metrics().next();
        let MetricData::Histogram { mut points, .. } = metric.unwrap().data() else { panic!() };
        Value::of_histogram(&points.next().unwrap())
    }

    fn summary(fill: impl FnOnce(&mut SummaryPointWriter<'_>)) -> Value {
        let mut encoder = MetricsEncoder::new();
        encoder.resource_metrics(|block| {
            block.scope_metrics(|scope| scope.metric(|metric| metric.summary(|data| data.point(|point| fill(point)))));
        });
        let batch = encoder.finish();
        let metrics = batch.metrics().unwrap();
        let metric = metrics.resource_metrics().next().unwrap().scope_metrics().next().unwrap().metrics().next();
        let MetricData::Summary { mut points } = metric.unwrap().data() else { panic!() };
        Value::of_summary(&points.next().unwrap())
    }

    fn buckets(bounds: &[f64], counts: &[u64]) -> Result<Value, Refusal> {
        histogram(|point| {
            point.count(6).sum(1.5).explicit_bounds(bounds.iter().copied()).bucket_counts(counts.iter().copied());
        })
    }

    fn value(count: u64, sum: Option<f64>, bounds: &[f64], counts: &[u64]) -> Value {
        Value::Histogram(Box::new(Histogram { count, sum, bounds: bounds.into(), counts: counts.into() }))
    }

    #[test]
    fn the_infinite_bucket_is_the_count() {
        assert_eq!(buckets(&[1.0, 2.0], &[1, 2, 3]), Ok(value(6, Some(1.5), &[1.0, 2.0], &[1, 2])));
        assert_eq!(buckets(&[1.0, f64::INFINITY], &[1, 5, 0]), Ok(value(6, Some(1.5), &[1.0], &[1])));
        assert_eq!(buckets(&[], &[6]), Ok(value(6, Some(1.5), &[], &[])));
        assert_eq!(buckets(&[], &[]), Ok(value(6, Some(1.5), &[], &[])));
    }

    #[test]
    fn buckets_that_make_no_sense_are_refused() {
        for (bounds, counts) in [
            (&[1.0, 2.0][..], &[1, 2][..]),
            (&[1.0], &[]),
            (&[], &[1, 2]),
            (&[2.0, 1.0], &[1, 2, 3]),
            (&[1.0, 1.0], &[1, 2, 3]),
            (&[f64::NAN], &[1, 2]),
        ] {
            assert_eq!(buckets(bounds, counts), Err(Refusal::InvalidBuckets), "{bounds:?} {counts:?}");
        }
    }

    #[test]
    fn quantiles_come_in_order_and_once() {
        let found = summary(|point| {
            point.count(3).sum(4.0);
            for (quantile, value) in [(0.9, 2.0), (0.5, 1.0), (0.9, 3.0)] {
                point.quantile(|entry| {
                    entry.quantile(quantile).value(value);
                });
            }
        });
        let quantiles = Box::new([(0.5, 1.0), (0.9, 2.0)]);
        assert_eq!(found, Value::Summary(Box::new(Summary { count: 3, sum: 4.0, quantiles })));
    }

    #[test]
    fn deltas_add_up_and_integers_stay_exact() {
        let int = |value| Value::Number(NumberValue::Int(value));
        let double = |value| Value::Number(NumberValue::Double(value));
        assert_eq!(int(1 << 60).plus(int(1)), int((1 << 60) + 1));
        assert_eq!(int(i64::MAX).plus(int(1)), double(9_223_372_036_854_775_808.0));
        assert_eq!(int(2).plus(double(0.5)), double(2.5));
        let (first, second) = (value(3, Some(1.0), &[1.0], &[1]), value(4, Some(2.0), &[1.0], &[2]));
        assert_eq!(first.plus(second), value(7, Some(3.0), &[1.0], &[3]));
    }

    #[test]
    fn a_sum_that_one_delta_lacks_is_not_known_any_more() {
        let total = value(3, Some(1.0), &[], &[]).plus(value(4, None, &[], &[]));
        assert_eq!(total, value(7, None, &[], &[]));
    }

    #[test]
    fn other_bounds_start_a_histogram_anew() {
        let changed = value(4, Some(2.0), &[5.0], &[2]);
        assert_eq!(value(3, Some(1.0), &[1.0], &[1]).plus(changed.clone()), changed);
    }
}
