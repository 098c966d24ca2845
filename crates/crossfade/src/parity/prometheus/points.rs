//! Native histograms as data points of OTLP.

use otlp::encode::{ExponentialHistogramPointWriter, HistogramPointWriter};
use prom::write::{NativeBuckets, NativeHistogram};

/// So many buckets of a sign are written; of values further apart, buckets are merged. With 160 at most, as writers keep
/// them, that is seldom the case above scale 0, and the powers of two are all that two scales are sure to share.
const BUCKETS_MAX: i64 = 320;

/// Writes what a point with listed bounds has.
pub(super) fn write_listed(point: &mut HistogramPointWriter<'_>, histogram: &NativeHistogram) {
    point.count(whole(histogram.count));
    if !histogram.sum.is_nan() {
        point.sum(histogram.sum);
    }
    if let NativeBuckets::Custom { bounds, counts } = &histogram.buckets {
        point.bucket_counts(counts.iter().copied().map(whole)).explicit_bounds(bounds.iter().copied());
    }
}

/// Writes what a point of an exponential histogram has.
pub(super) fn write_exponential(point: &mut ExponentialHistogramPointWriter<'_>, histogram: &NativeHistogram) {
    point.count(whole(histogram.count));
    if !histogram.sum.is_nan() {
        point.sum(histogram.sum);
    }
    let NativeBuckets::Exponential { schema, zero_threshold, zero_count, negative, positive } = &histogram.buckets
    else {
        return;
    };
    let merge = merge(positive).max(merge(negative));
    point.scale(schema - merge.cast_signed()).zero_count(whole(*zero_count)).zero_threshold(*zero_threshold);
    for (sign, buckets) in [(1, positive), (-1, negative)] {
        let Some((offset, counts)) = dense(buckets, merge) else { continue };
        let write = |written: &mut otlp::encode::BucketsWriter<'_>| {
            written.offset(offset).bucket_counts(counts.into_iter().map(whole));
        };
        match sign {
            1 => point.positive(write),
            _ => point.negative(write),
        };
    }
}

/// The position of a bucket, which OTLP counts by lower bounds and Prometheus by upper ones.
fn position(index: i32, merge: u32) -> i64 {
    (i64::from(index) - 1) >> merge
}

/// How often two buckets have to become one until there are few enough.
fn merge(buckets: &[(i32, f64)]) -> u32 {
    let (Some((first, _)), Some((last, _))) = (buckets.first(), buckets.last()) else { return 0 };
    let mut merge = 0;
    while position(*last, merge) - position(*first, merge) >= BUCKETS_MAX {
        merge += 1;
    }
    merge
}

/// Where the first bucket lies, and all counts from there on.
fn dense(buckets: &[(i32, f64)], merge: u32) -> Option<(i32, Vec<f64>)> {
    let first = position(buckets.first()?.0, merge);
    let last = position(buckets.last()?.0, merge);
    let mut counts = vec![0.0; usize::try_from(last - first).ok()? + 1];
    for (index, count) in buckets {
        let at = usize::try_from(position(*index, merge) - first).ok()?;
        *counts.get_mut(at)? += count;
    }
    Some((i32::try_from(first).ok()?, counts))
}

/// Counts of a rate are no whole numbers.
pub(super) fn whole(count: f64) -> u64 {
    count.max(0.0).round() as u64
}
