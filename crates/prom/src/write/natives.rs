//! Native histograms, read.
//!
//! Specification: Prometheus, [Native Histograms](https://prometheus.io/docs/specs/native_histograms/). Buckets are kept
//! as they came, those with a count only: what spans claim beyond the counts that are there is an error, so that the
//! buckets of a request are never more than its counts.

use super::native::{SCHEMA_MAX, SCHEMA_MIN};
use super::proto::{BucketSpan, Count, Histogram, ZeroCount};
use crate::text::STALE_NAN;

/// The schema of histograms whose bounds are listed.
const SCHEMA_CUSTOM: i32 = -53;

/// What `reset_hint` is for a histogram that may fall.
const HINT_GAUGE: i32 = 3;

/// No number lies beyond 2^1024, and none but zero below 2^-1074.
const POWER_MAX: i64 = 1100;

/// A native histogram of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeHistogram {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// How many values there are.
    pub count: f64,
    /// Their sum, which is NaN where one of them was.
    pub sum: f64,
    /// How they are distributed.
    pub buckets: NativeBuckets,
}

/// How the values of a native histogram are distributed.
#[derive(Clone, Debug, PartialEq)]
pub enum NativeBuckets {
    /// Bounds are the powers of 2^(2^-schema).
    Exponential {
        /// -4 to 8.
        schema: i32,
        /// Values in [-threshold, threshold] count as zero.
        zero_threshold: f64,
        /// How many count as zero.
        zero_count: f64,
        /// The buckets of negative values that are not empty, ascending: the index, and how many lie in it.
        negative: Vec<(i32, f64)>,
        /// Those of positive values; bucket i ends at 2^(i * 2^-schema).
        positive: Vec<(i32, f64)>,
    },
    /// Bounds are listed.
    Custom {
        /// The upper bounds, ascending, without the infinite last one.
        bounds: Vec<f64>,
        /// How many lie in each bucket: one more than the bounds.
        counts: Vec<f64>,
    },
}

/// Why a native histogram cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NativeError {
    /// A schema that nobody has told of.
    #[error(
        "schema {schema} is not known: expected {SCHEMA_MIN} to {SCHEMA_MAX}, or {SCHEMA_CUSTOM} for custom bounds"
    )]
    Schema {
        /// The schema.
        schema: i32,
    },
    /// Spans that do not fit what they span.
    #[error("spans of {buckets} buckets, and {counts} counts for them")]
    Spans {
        /// How many buckets the spans claim.
        buckets: u64,
        /// How many counts there are.
        counts: usize,
    },
    /// A bucket where no number is.
    #[error("bucket {index} of schema {schema}, which has them from {lowest} to {highest}")]
    Index {
        /// The index of the bucket.
        index: i64,
        /// The schema.
        schema: i32,
        /// The lowest index with a number in it.
        lowest: i64,
        /// The highest one.
        highest: i64,
    },
    /// Custom bounds that do not rise.
    #[error("custom bound {at} is not above the one before it")]
    Bounds {
        /// Which one, from 0 on.
        at: usize,
    },
}

/// Whether a histogram says only that its series ended.
pub(super) fn is_stale(histogram: &Histogram) -> bool {
    histogram.sum.to_bits() == STALE_NAN.to_bits()
}

/// Whether a histogram is a gauge, whose counts may fall.
pub(super) const fn is_gauge(histogram: &Histogram) -> bool {
    histogram.reset_hint == HINT_GAUGE
}

impl TryFrom<&Histogram> for NativeHistogram {
    type Error = NativeError;

    fn try_from(histogram: &Histogram) -> Result<Self, NativeError> {
        let positive = Counts { deltas: &histogram.positive_deltas, floats: &histogram.positive_counts };
        let buckets = match histogram.schema {
            schema @ SCHEMA_MIN..=SCHEMA_MAX => {
                let negative = Counts { deltas: &histogram.negative_deltas, floats: &histogram.negative_counts };
                let range = indices(schema);
                NativeBuckets::Exponential {
                    schema,
                    zero_threshold: histogram.zero_threshold,
                    zero_count: match histogram.zero_count {
                        Some(ZeroCount::Int(count)) => count as f64,
                        Some(ZeroCount::Float(count)) => count.max(0.0),
                        None => 0.0,
                    },
                    negative: spanned(&histogram.negative_spans, negative, schema, range)?,
                    positive: spanned(&histogram.positive_spans, positive, schema, range)?,
                }
            }
            SCHEMA_CUSTOM => custom(&histogram.custom_values, &histogram.positive_spans, positive)?,
            schema => return Err(NativeError::Schema { schema }),
        };
        let count = match histogram.count {
            Some(Count::Int(count)) => count as f64,
            Some(Count::Float(count)) => count.max(0.0),
            None => 0.0,
        };
        Ok(NativeHistogram { timestamp: histogram.timestamp, count, sum: histogram.sum, buckets })
    }
}

/// The indices of a schema whose buckets can have a number in them.
fn indices(schema: i32) -> (i64, i64) {
    let most = if schema >= 0 { POWER_MAX << schema } else { POWER_MAX >> -schema };
    (-most, most)
}

fn custom(bounds: &[f64], spans: &[BucketSpan], counts: Counts<'_>) -> Result<NativeBuckets, NativeError> {
    // What is no number is above nothing.
    let rises = |pair: &[f64]| pair[0] < pair[1];
    if let Some(at) = bounds.windows(2).position(|pair| !rises(pair)) {
        return Err(NativeError::Bounds { at: at + 1 });
    }
    if bounds.first().is_some_and(|first| first.is_nan()) {
        return Err(NativeError::Bounds { at: 0 });
    }
    let finite: Vec<f64> = bounds.iter().copied().filter(|bound| bound.is_finite()).collect();
    let mut dense = vec![0.0; finite.len() + 1];
    let last = i64::try_from(bounds.len()).unwrap_or(i64::MAX);
    for (index, count) in spanned(spans, counts, SCHEMA_CUSTOM, (0, last))? {
        // A bound that is infinite bounds nothing.
        let at = usize::try_from(index).unwrap_or(usize::MAX).min(finite.len());
        dense[at] += count;
    }
    Ok(NativeBuckets::Custom { bounds: finite, counts: dense })
}

/// The counts of buckets, of which either list is empty.
#[derive(Clone, Copy)]
struct Counts<'a> {
    /// Each as the difference to the one before.
    deltas: &'a [i64],
    floats: &'a [f64],
}

impl<'a> Counts<'a> {
    fn len(self) -> usize {
        if self.floats.is_empty() { self.deltas.len() } else { self.floats.len() }
    }

    fn iter(self) -> impl Iterator<Item = f64> + 'a {
        let deltas: &[i64] = if self.floats.is_empty() { self.deltas } else { &[] };
        let absolute = deltas.iter().scan(0_i64, |count, delta| {
            *count = count.saturating_add(*delta);
            Some(*count as f64)
        });
        self.floats.iter().copied().chain(absolute)
    }
}

/// The buckets of spans that are not empty, by their index.
fn spanned(
    spans: &[BucketSpan],
    counts: Counts<'_>,
    schema: i32,
    (lowest, highest): (i64, i64),
) -> Result<Vec<(i32, f64)>, NativeError> {
    let buckets: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if buckets != counts.len() as u64 {
        return Err(NativeError::Spans { buckets, counts: counts.len() });
    }
    let mut left = counts.iter();
    let mut found = Vec::new();
    let mut index = 0_i64;
    for span in spans {
        index += i64::from(span.offset);
        for count in left.by_ref().take(span.length as usize) {
            // Later spans only go up, as far as they are sound.
            if !(lowest..=highest).contains(&index) {
                return Err(NativeError::Index { index, schema, lowest, highest });
            }
            if count > 0.0
                && let Ok(index) = i32::try_from(index)
            {
                found.push((index, count));
            }
            index += 1;
        }
    }
    found.sort_by_key(|(index, _)| *index);
    Ok(found)
}
