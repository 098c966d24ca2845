//! Distributions as values: what StatsD knows are single measurements, so each bucket becomes one value in its middle,
//! with a sample rate that stands for its count.

use super::state::{Buckets, Run};

/// The least and the greatest measurement, where they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Range {
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

/// The values that stand for the buckets, with the count of each, from the least to the greatest.
pub(super) fn values(buckets: &Buckets, count: u64, sum: Option<f64>, range: Range) -> Vec<(f64, u64)> {
    let mut values = match buckets {
        Buckets::Explicit { bounds, counts } if !bounds.is_empty() => explicit(bounds, counts, range),
        Buckets::Exponential { scale, zero, positive, negative } => exponential(*scale, *zero, positive, negative),
        // Nothing is known but the mean.
        Buckets::None | Buckets::Explicit { .. } => sum.map(|sum| (sum / count as f64, count)).into_iter().collect(),
    };
    values.retain(|(value, count)| *count > 0 && value.is_finite());
    if let (Some(min), Some(max)) = (range.min, range.max)
        && min <= max
    {
        values.iter_mut().for_each(|(value, _)| *value = value.clamp(min, max));
    }
    values
}

/// The middle of each bucket. The first begins at the least measurement, or at zero where all bounds are positive; the
/// last ends at the greatest measurement, or is its lower bound.
fn explicit(bounds: &[f64], counts: &[u64], range: Range) -> Vec<(f64, u64)> {
    let (first, last) = (bounds[0], bounds[bounds.len() - 1]);
    let lowest = range.min.filter(|min| *min <= first).unwrap_or(if first > 0.0 { 0.0 } else { first });
    let highest = range.max.filter(|max| *max >= last).unwrap_or(last);
    let lower = [lowest].into_iter().chain(bounds.iter().copied());
    let upper = bounds.iter().copied().chain([highest]);
    // Halved before they are added, so that nothing overflows.
    lower.zip(upper).map(|(lower, upper)| lower / 2.0 + upper / 2.0).zip(counts.iter().copied()).collect()
}

/// The geometric middle of each bucket, which is the least wrong for all of them.
fn exponential(scale: i32, zero: u64, positive: &Run, negative: &Run) -> Vec<(f64, u64)> {
    let width = (-f64::from(scale)).exp2();
    let middle = |run: &Run, at: usize| ((f64::from(run.offset) + at as f64 + 0.5) * width).exp2().min(f64::MAX);
    let of = |run: &Run, sign: f64| -> Vec<(f64, u64)> {
        run.counts.iter().enumerate().map(|(at, count)| (sign * middle(run, at), *count)).collect()
    };
    let mut values = of(negative, -1.0);
    values.reverse();
    values.push((0.0, zero));
    values.extend(of(positive, 1.0));
    values
}

/// The sample rate that stands for `count` measurements. Servers divide by it, and some cut the fraction off: it is
/// never so large that a measurement is lost to that.
pub(super) fn sample_rate(count: u64) -> f64 {
    let count = count.max(1) as f64;
    let mut rate = 1.0 / count;
    while 1.0 / rate < count {
        rate = rate.next_down();
    }
    rate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_stands_for_its_count_also_where_fractions_are_cut_off() {
        for count in (1..100_000).chain([1 << 30, (1 << 40) + 1, 999_999_999_999]) {
            let text = sample_rate(count).to_string();
            let read: f64 = text.parse().unwrap();
            assert_eq!((1.0 / read) as u64, count, "{text}");
            assert!((1.0 / read - count as f64).abs() < 1e-3, "{text}");
        }
    }

    #[test]
    fn buckets_are_their_middles_within_what_was_measured() {
        let buckets = Buckets::Explicit { bounds: vec![1.0, 3.0], counts: vec![2, 0, 5] };
        assert_eq!(values(&buckets, 7, None, Range::default()), [(0.5, 2), (3.0, 5)]);
        let range = Range { min: Some(0.8), max: Some(9.0) };
        assert_eq!(values(&buckets, 7, None, range), [(0.9, 2), (6.0, 5)]);
        let negative = Buckets::Explicit { bounds: vec![-1.0], counts: vec![1, 1] };
        assert_eq!(values(&negative, 2, None, Range::default()), [(-1.0, 1), (-1.0, 1)]);
        let huge = Buckets::Explicit { bounds: vec![f64::MAX], counts: vec![0, 1] };
        assert_eq!(values(&huge, 1, None, Range::default()), [(f64::MAX, 1)]);
    }

    #[test]
    fn without_buckets_there_is_the_mean() {
        assert_eq!(values(&Buckets::None, 4, Some(6.0), Range::default()), [(1.5, 4)]);
        assert_eq!(values(&Buckets::None, 4, None, Range::default()), []);
        assert_eq!(values(&Buckets::None, 0, Some(0.0), Range::default()), []);
    }

    #[test]
    fn exponential_buckets_are_their_geometric_middles() {
        let positive = Run { offset: 0, counts: vec![2, 0, 1] };
        let negative = Run { offset: 1, counts: vec![3] };
        let buckets = Buckets::Exponential { scale: 0, zero: 4, positive, negative };
        let root = 2f64.sqrt();
        assert_eq!(
            values(&buckets, 10, None, Range::default()),
            [(-2.0 * root, 3), (0.0, 4), (root, 2), (4.0 * root, 1)]
        );
        let far = Buckets::Exponential {
            scale: -10,
            zero: 0,
            positive: Run { offset: 1000, counts: vec![1] },
            negative: Run::default(),
        };
        assert_eq!(values(&far, 1, None, Range::default()), [(f64::MAX, 1)]);
    }
}
