//! Exponential histograms that start fine and become coarser as their range grows.
//!
//! <https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram>

/// The finest scale; the base of its bounds is 2^(2^-20).
const SCALE_MAX: i32 = 20;

/// Here two buckets hold every double.
const SCALE_MIN: i32 = -11;

/// The buckets of one sign. Counts are doubles, because a sampled value counts 1 / rate times.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets {
    /// The index of the first bucket.
    pub(crate) offset: i32,
    pub(crate) counts: Vec<f64>,
}

/// Counts of values by magnitude.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exponential {
    pub(crate) scale: i32,
    size_max: usize,
    pub(crate) zero: f64,
    pub(crate) positive: Buckets,
    pub(crate) negative: Buckets,
}

#[derive(Clone, Copy)]
enum Side {
    Positive,
    Negative,
}

/// The index of a value above zero at the finest scale: the `i` for which 2^(i/2^20) < value <= 2^((i+1)/2^20).
///
/// Indices of coarser scales are this one, shifted, so that the order in which values come changes nothing.
fn finest_index(value: f64) -> i32 {
    const MANTISSA_BITS: u32 = 52;
    // Subnormal numbers are lifted, so that all have an exponent of their own.
    let (lifted, lift) = if value < f64::MIN_POSITIVE { (value * 2_f64.powi(64), 64) } else { (value, 0) };
    let bits = lifted.to_bits();
    let exponent = (bits >> MANTISSA_BITS & 0x7ff) as i32 - 1023 - lift;
    let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    let first = exponent << SCALE_MAX;
    if mantissa == 0 {
        // A power of two is the upper, inclusive bound of its bucket.
        return first - 1;
    }
    let significand = f64::from_bits(mantissa | 1023 << MANTISSA_BITS);
    let within = (significand.log2() * f64::from(1 << SCALE_MAX)) as i32;
    first + within.clamp(0, (1 << SCALE_MAX) - 1)
}

impl Exponential {
    pub(crate) fn new(size_max: u32, scale_max: i32) -> Exponential {
        Exponential {
            scale: scale_max.clamp(SCALE_MIN, SCALE_MAX),
            size_max: (size_max as usize).max(2),
            zero: 0.0,
            positive: Buckets::default(),
            negative: Buckets::default(),
        }
    }

    pub(crate) fn add(&mut self, value: f64, weight: f64) {
        if value == 0.0 {
            self.zero += weight;
        } else {
            let side = if value > 0.0 { Side::Positive } else { Side::Negative };
            let finest = finest_index(value.abs());
            self.widen(side, finest, finest, SCALE_MAX);
            let index = finest >> (SCALE_MAX - self.scale);
            self.side(side).add(index, weight);
        }
    }

    pub(crate) fn merge(&mut self, other: &Exponential) {
        self.coarsen(self.scale - other.scale.min(self.scale));
        self.zero += other.zero;
        for (side, buckets) in [(Side::Positive, &other.positive), (Side::Negative, &other.negative)] {
            let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else { continue };
            self.widen(side, first, last, other.scale);
            let shift = other.scale - self.scale;
            for (index, &count) in (buckets.offset..).zip(&buckets.counts) {
                self.side(side).add(index >> shift, count);
            }
        }
    }

    fn side(&mut self, side: Side) -> &mut Buckets {
        match side {
            Side::Positive => &mut self.positive,
            Side::Negative => &mut self.negative,
        }
    }

    /// Becomes as coarse as it takes for the indices `first` to `last` of `scale`, which is no coarser, to fit in.
    fn widen(&mut self, side: Side, first: i32, last: i32, scale: i32) {
        let shift = scale - self.scale;
        let (mut first, mut last) = (first >> shift, last >> shift);
        let own = self.side(side);
        if let (Some(own_first), Some(own_last)) = (own.first(), own.last()) {
            first = first.min(own_first);
            last = last.max(own_last);
        }
        let mut by = 0;
        while i64::from(last) - i64::from(first) >= self.size_max as i64 && self.scale - by > SCALE_MIN {
            first >>= 1;
            last >>= 1;
            by += 1;
        }
        self.coarsen(by);
    }

    fn coarsen(&mut self, by: i32) {
        if by > 0 {
            self.scale -= by;
            self.positive.coarsen(by);
            self.negative.coarsen(by);
        }
    }
}

impl Buckets {
    fn first(&self) -> Option<i32> {
        (!self.counts.is_empty()).then_some(self.offset)
    }

    fn last(&self) -> Option<i32> {
        (!self.counts.is_empty()).then(|| self.offset + self.counts.len() as i32 - 1)
    }

    /// Adds to a bucket; the caller saw to it that the range stays small.
    fn add(&mut self, index: i32, weight: f64) {
        if self.counts.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let missing = (self.offset - index) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0.0, missing));
            self.offset = index;
        }
        let at = (index - self.offset) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0.0);
        }
        self.counts[at] += weight;
    }

    fn coarsen(&mut self, by: i32) {
        let Some(last) = self.last() else { return };
        let offset = self.offset >> by;
        let mut counts = vec![0.0; ((last >> by) - offset + 1) as usize];
        for (index, count) in (self.offset..).zip(&self.counts) {
            counts[((index >> by) - offset) as usize] += count;
        }
        *self = Buckets { offset, counts };
    }
}

#[cfg(test)]
#[path = "exponential_tests.rs"]
mod tests;
