//! The lines that fit through a band: what a factor and an offset between two counters can be.
//!
//! Each constraint says that at a value `x` of one counter the other lay between `low` and `high`. A pair (factor,
//! offset) fits if `low <= factor * x + offset <= high` for all of them. For a factor `r` the offsets that fit reach from
//! the greatest `low - r x` to the smallest `high - r x`; their difference, the slack, is concave in `r`, so the factors
//! that fit are an interval. Only points on the two convex hulls matter, and few of those: memory is bounded by leaving
//! out the corners that matter least, which loosens the band and never tightens it.

mod hull;

use hull::{Hull, Side};

/// A factor beyond this is as good as none.
const FACTOR_MAX: f64 = 1e12;

/// An interval, with its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The smallest value.
    pub low: f64,
    /// The greatest value.
    pub high: f64,
}

impl Interval {
    /// Everything.
    pub const ALL: Interval = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// Whether a value lies inside.
    pub fn contains(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// What lies in both; none if nothing does.
    pub fn meet(self, other: Interval) -> Option<Interval> {
        let both = Interval { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }

    /// The greatest distance of any value inside from `value`.
    pub fn distance_max(self, value: f64) -> f64 {
        (self.low - value).abs().max((self.high - value).abs())
    }
}

/// Constraints on the factor and offset of one epoch.
#[derive(Clone, Debug, Default)]
pub struct Band {
    /// Corners of the convex hull under which lines must pass: the points (x, high), hulled from below.
    ceiling: Hull,
    /// Corners of the hull over which lines must pass: the points (x, low), hulled from above.
    floor: Hull,
}

impl Band {
    /// Adds a constraint: at `x` the line lies between `low` and `high`.
    pub fn add(&mut self, x: f64, low: f64, high: f64) {
        if x.is_finite() && low <= high {
            self.ceiling.insert((x, high), Side::Below);
            self.floor.insert((x, low), Side::Above);
        }
    }

    /// Adds the same the other way round: where `x` lies between `low` and `high`, the line rises through `y`.
    pub fn add_across(&mut self, low: f64, high: f64, y: f64) {
        if y.is_finite() && low <= high {
            self.ceiling.insert((low, y), Side::Below);
            self.floor.insert((high, y), Side::Above);
        }
    }

    /// Whether there is any constraint.
    pub fn is_empty(&self) -> bool {
        self.ceiling.is_empty()
    }

    /// How far `x` has come between the outermost constraints.
    pub fn growth(&self) -> f64 {
        match (self.ceiling.first(), self.floor.last()) {
            (Some((first, _)), Some((last, _))) => (last - first).max(0.0),
            _ => 0.0,
        }
    }

    /// The offsets that fit with a factor; none if no offset does.
    pub fn offsets(&self, factor: f64) -> Option<Interval> {
        let low = self.floor.iter().map(|(x, low)| low - factor * x).fold(f64::NEG_INFINITY, f64::max);
        let high = self.ceiling.iter().map(|(x, high)| high - factor * x).fold(f64::INFINITY, f64::min);
        // Sums of doubles may miss each other by a rounding.
        let rounding = 1e-9 * (1.0 + low.abs().max(high.abs()));
        (low <= high + rounding).then_some(Interval { low, high: high.max(low) })
    }

    /// The factors that fit with some offset; none if no line fits at all. Without growth every factor does.
    pub fn factors(&self) -> Option<Interval> {
        if self.growth() <= 0.0 {
            return Some(Interval::ALL);
        }
        let rounding = 1e-9 * (1.0 + self.ceiling.last().map_or(0.0, |(_, high)| high.abs()));
        let mut factors = Interval::ALL;
        // A line that passes over one corner and under another is no steeper, or no flatter, than the line through both.
        // There are few corners, so that all pairs are faster than to search for the ones that matter.
        for (over, low) in self.floor.iter() {
            for (under, high) in self.ceiling.iter() {
                let (run, rise) = (under - over, high - low + rounding);
                let slope = rise / run;
                if run > 0.0 {
                    factors.high = factors.high.min(slope);
                } else if run < 0.0 {
                    factors.low = factors.low.max(slope);
                } else if rise < 0.0 {
                    return None;
                }
            }
        }
        let is_bounded = |factor: f64| factor.abs() <= FACTOR_MAX;
        let low = if is_bounded(factors.low) { factors.low } else { f64::NEG_INFINITY };
        let high = if is_bounded(factors.high) { factors.high } else { f64::INFINITY };
        (factors.low <= factors.high).then_some(Interval { low, high })
    }
}

#[cfg(test)]
mod tests {
    use super::hull::CORNERS_MAX;
    use super::*;

    fn band(constraints: &[(f64, f64, f64)]) -> Band {
        let mut band = Band::default();
        constraints.iter().for_each(|(x, low, high)| band.add(*x, *low, *high));
        band
    }

    /// A band of unit width around a line.
    fn around(factor: f64, offset: f64, points: usize) -> Band {
        let mut band = Band::default();
        for at in 0..points {
            let y = factor * at as f64 + offset;
            band.add(at as f64, y - 0.5, y + 0.5);
        }
        band
    }

    #[test]
    fn a_band_around_a_line_lets_only_lines_near_it_through() {
        let factors = around(1.0, 7.0, 1001).factors().unwrap();
        assert!((factors.low - 0.999).abs() < 1e-6 && (factors.high - 1.001).abs() < 1e-6, "{factors:?}");
        let offsets = around(1.0, 7.0, 1001).offsets(1.0).unwrap();
        assert!((offsets.low - 6.5).abs() < 1e-6 && (offsets.high - 7.5).abs() < 1e-6, "{offsets:?}");
    }

    #[test]
    fn one_percent_too_few_breaks_the_factor_one_after_a_hundred_events() {
        assert!(around(0.99, 0.0, 90).factors().unwrap().contains(1.0));
        assert!(!around(0.99, 0.0, 120).factors().unwrap().contains(1.0));
    }

    #[test]
    fn constraints_that_no_line_meets_leave_nothing() {
        assert_eq!(band(&[(0.0, 0.0, 1.0), (1.0, 10.0, 11.0), (2.0, 0.0, 1.0)]).factors(), None);
    }

    #[test]
    fn constraints_across_tell_the_same_as_constraints_along() {
        let (mut along, mut across) = (Band::default(), Band::default());
        for at in 0..200 {
            let x = f64::from(at);
            along.add(x, x - 2.0, x + 3.0);
            across.add_across(x - 3.0, x + 2.0, x);
        }
        let (along, across) = (along.factors().unwrap(), across.factors().unwrap());
        assert!(
            (along.low - across.low).abs() < 0.01 && (along.high - across.high).abs() < 0.01,
            "{along:?} {across:?}"
        );
    }

    #[test]
    fn the_order_of_constraints_does_not_matter() {
        let mut random = fastrand::Rng::with_seed(3);
        let constraint = |random: &mut fastrand::Rng| {
            let x = random.f64() * 100.0;
            (x, x - random.f64(), x + random.f64())
        };
        let mut constraints: Vec<_> = (0..30).map(|_| constraint(&mut random)).collect();
        let first = band(&constraints).factors().unwrap();
        random.shuffle(&mut constraints);
        let second = band(&constraints).factors().unwrap();
        assert!((first.low - second.low).abs() < 1e-6 && (first.high - second.high).abs() < 1e-6);
    }

    #[test]
    fn the_ends_of_the_factors_are_the_last_ones_that_leave_an_offset() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..200 {
            let mut band = Band::default();
            let (mut x, factor) = (random.f64() * 1e3, random.f64() * 3.0 - 1.0);
            for _ in 0..50 {
                x += (random.f64() * 20.0).floor();
                band.add(x, factor * x - random.f64() * 3.0, factor * x + random.f64() * 3.0);
            }
            let Some(Interval { low, high }) = band.factors() else { panic!("{band:?}") };
            let step = 1e-2 * (high - low);
            for (inside, outside) in [(low + step, low - step), (high - step, high + step)] {
                assert!(band.offsets(inside).is_some() && band.offsets(outside).is_none(), "{low} {high} {band:?}");
            }
        }
    }

    #[test]
    fn without_growth_every_factor_fits() {
        assert_eq!(band(&[(5.0, 1.0, 2.0), (5.0, 1.5, 3.0)]).factors(), Some(Interval::ALL));
        assert_eq!(band(&[(5.0, 1.0, 2.0), (5.0, 1.5, 3.0)]).offsets(1.0), Some(Interval { low: -3.5, high: -3.0 }));
    }

    #[test]
    fn memory_is_bounded_and_leaving_corners_out_only_loosens() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..50 {
            let (mut band, mut all) = (Band::default(), Vec::new());
            let mut x = 0.0;
            for _ in 0..2000 {
                x += random.f64();
                let y = 1.02 * x + 3.0;
                let (low, high) = (y - random.f64() * 2.0, y + random.f64() * 2.0);
                band.add(x, low, high);
                all.push((x, low, high));
            }
            assert!(band.ceiling.len() <= CORNERS_MAX && band.floor.len() <= CORNERS_MAX);
            let fits = |factor: f64| {
                let low = all.iter().map(|(x, low, _)| low - factor * x).fold(f64::NEG_INFINITY, f64::max);
                let high = all.iter().map(|(x, _, high)| high - factor * x).fold(f64::INFINITY, f64::min);
                low <= high
            };
            let factors = band.factors().unwrap();
            assert!(factors.contains(1.02), "{factors:?}");
            for step in -100..=100 {
                let factor = 1.02 + f64::from(step) * 1e-4;
                assert!(!fits(factor) || factors.contains(factor), "{factor} fits and is not in {factors:?}");
            }
        }
    }
}
