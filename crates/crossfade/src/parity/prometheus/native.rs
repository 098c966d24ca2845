//! Native histograms of a Prometheus HTTP API:
//! <https://prometheus.io/docs/prometheus/latest/querying/api/#native-histograms>.
//!
//! An answer has buckets by their bounds, and those only that are not empty; it says neither the schema nor which bounds
//! were listed. The schema follows from any bucket: the bounds of one are 2^(2^-schema) apart, and powers of that. Where
//! a series has a bucket that is none of these, its bounds were listed. Where none of its buckets is, it does not matter:
//! the bounds are the same.

use prom::write::{NativeBuckets, NativeHistogram, SCHEMA_MAX, SCHEMA_MIN};
use serde::Deserialize;
use serde::de::Deserializer;

use super::client::{Number, Time};

/// Which bounds a bucket has in it.
const CLOSED_ABOVE: u8 = 0;
const CLOSED_BELOW: u8 = 1;
const CLOSED: u8 = 3;

/// The first power of two that no number reaches: the largest number stands for it.
const LOG_MAX: f64 = 1024.0;

/// A histogram at a time, as it is answered.
#[derive(Deserialize)]
struct Answered(Time, Told);

#[derive(Deserialize)]
struct Told {
    count: Number,
    sum: Option<Number>,
    #[serde(default)]
    buckets: Vec<(u8, Number, Number, Number)>,
}

/// A bucket, by its bounds.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    closed: u8,
    lower: f64,
    upper: f64,
    count: f64,
}

/// What a bucket of an exponential histogram is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Zero,
    Positive(Bounds),
    Negative(Bounds),
}

/// The bounds of a bucket as powers of two.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bounds {
    lower_log: f64,
    upper_log: f64,
}

/// The native histograms of a series.
pub(super) fn histograms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NativeHistogram>, D::Error> {
    let answered = Vec::<Answered>::deserialize(deserializer)?;
    let bucket = |(closed, lower, upper, count): &(u8, Number, Number, Number)| Bucket {
        closed: *closed,
        lower: lower.0,
        upper: upper.0,
        count: count.0,
    };
    let is_sound = |bucket: &Bucket| bucket.lower <= bucket.upper && bucket.count > 0.0;
    let buckets: Vec<Vec<Bucket>> =
        answered.iter().map(|Answered(_, told)| told.buckets.iter().map(bucket).filter(is_sound).collect()).collect();
    let is_exponential = buckets.iter().all(|buckets| schema(buckets).is_some());
    let shared = if is_exponential { Vec::new() } else { shared_bounds(&buckets) };
    let histogram = |(Answered(time, told), buckets): (&Answered, &Vec<Bucket>)| NativeHistogram {
        timestamp: time.0 as i64,
        count: told.count.0.max(0.0),
        sum: told.sum.as_ref().map_or(f64::NAN, |sum| sum.0),
        buckets: match is_exponential {
            true => exponential(buckets),
            false => listed(buckets, &shared),
        },
    };
    Ok(answered.iter().zip(&buckets).map(histogram).collect())
}

impl Bucket {
    /// Where it lies in an exponential histogram; none if it can lie in none.
    fn place(&self) -> Option<Place> {
        match self.closed {
            CLOSED if self.lower.is_finite() && self.upper.is_finite() && self.lower <= 0.0 && self.upper >= 0.0 => {
                Some(Place::Zero)
            }
            CLOSED_ABOVE if self.lower >= 0.0 => Bounds::new(self.lower, self.upper).map(Place::Positive),
            CLOSED_BELOW if self.upper <= 0.0 => Bounds::new(-self.upper, -self.lower).map(Place::Negative),
            _ => None,
        }
    }
}

impl Bounds {
    fn new(lower: f64, upper: f64) -> Option<Bounds> {
        let log = |bound: f64| if bound == f64::MAX { LOG_MAX } else { bound.log2() };
        let bounds = Bounds { lower_log: log(lower), upper_log: log(upper) };
        let is_beyond = upper.is_infinite() && bounds.lower_log == LOG_MAX;
        let is_first = lower == 0.0 && upper > 0.0 && upper < f64::MIN_POSITIVE;
        (is_beyond || is_first || (lower > 0.0 && lower < upper && upper.is_finite())).then_some(bounds)
    }

    /// The schema that it has: where numbers lose their digits, and beyond them, none can be told.
    fn schema(self) -> Option<Result<i32, NoSchema>> {
        if self.upper_log.is_infinite() || self.lower_log < f64::from(f64::MIN_EXP) {
            return None;
        }
        let schema = -(self.upper_log - self.lower_log).log2();
        let rounded = schema.round();
        let is_whole = |number: f64| (number - number.round()).abs() < 1e-4;
        let is_one = is_whole(schema)
            && (f64::from(SCHEMA_MIN)..=f64::from(SCHEMA_MAX)).contains(&rounded)
            && is_whole(self.upper_log * rounded.exp2());
        Some(if is_one { Ok(rounded as i32) } else { Err(NoSchema) })
    }

    /// The index of the bucket.
    fn index(self, schema: i32) -> i32 {
        let per_power = f64::from(schema).exp2();
        match self.upper_log.is_infinite() {
            true => (LOG_MAX * per_power) as i32 + 1,
            // The lowest numbers have bounds that are rounded.
            false => (self.upper_log * per_power - 1e-3).ceil() as i32,
        }
    }
}

/// The bounds of a bucket are none of an exponential histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoSchema;

/// The schema that all buckets have; `None` if there is none, and 0 where no bucket tells.
fn schema(buckets: &[Bucket]) -> Option<i32> {
    let mut known = None;
    for bucket in buckets {
        let bounds = match bucket.place()? {
            Place::Zero => continue,
            Place::Positive(bounds) | Place::Negative(bounds) => bounds,
        };
        match bounds.schema() {
            None => {}
            Some(Ok(schema)) if known.is_none_or(|known| known == schema) => known = Some(schema),
            Some(_) => return None,
        }
    }
    Some(known.unwrap_or(0))
}

fn exponential(buckets: &[Bucket]) -> NativeBuckets {
    let schema = schema(buckets).unwrap_or(0);
    let (mut zero_threshold, mut zero_count) = (0.0, 0.0);
    let (mut negative, mut positive) = (Vec::new(), Vec::new());
    for bucket in buckets {
        match bucket.place() {
            Some(Place::Zero) => {
                zero_threshold = bucket.upper;
                zero_count += bucket.count;
            }
            Some(Place::Positive(bounds)) => positive.push((bounds.index(schema), bucket.count)),
            Some(Place::Negative(bounds)) => negative.push((bounds.index(schema), bucket.count)),
            None => {}
        }
    }
    negative.sort_by_key(|(index, _)| *index);
    positive.sort_by_key(|(index, _)| *index);
    NativeBuckets::Exponential { schema, zero_threshold, zero_count, negative, positive }
}

/// Histograms of a series with more bounds have their own only.
const SHARED_BOUNDS_MAX: usize = 128;

/// All bounds that a series shows: what has counted up to one shows later only where something was counted beside it.
fn shared_bounds(buckets: &[Vec<Bucket>]) -> Vec<f64> {
    let mut shared: Vec<f64> = Vec::new();
    for bucket in buckets.iter().flatten() {
        for bound in [bucket.lower, bucket.upper].into_iter().filter(|bound| bound.is_finite()) {
            let at = shared.partition_point(|known| *known < bound);
            if shared.get(at).is_none_or(|known| *known != bound) {
                shared.insert(at, bound);
            }
        }
        if shared.len() > SHARED_BOUNDS_MAX {
            return Vec::new();
        }
    }
    shared
}

/// Counts between listed bounds. Where a bucket is left out it is empty, so that the counts up to both of its bounds are
/// the same and are known; nothing is known of a bound within a bucket, as where the list is another by then.
fn listed(buckets: &[Bucket], shared: &[f64]) -> NativeBuckets {
    let is_within = |bound: f64| buckets.iter().any(|bucket| bucket.lower < bound && bound < bucket.upper);
    let own = buckets.iter().flat_map(|bucket| [bucket.lower, bucket.upper]);
    let known = shared.iter().copied().filter(|bound| !is_within(*bound));
    let mut bounds: Vec<f64> = known.chain(own.filter(|bound| bound.is_finite())).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    let mut counts = vec![0.0; bounds.len() + 1];
    for bucket in buckets {
        counts[bounds.partition_point(|bound| *bound < bucket.upper)] += bucket.count;
    }
    NativeBuckets::Custom { bounds, counts }
}
