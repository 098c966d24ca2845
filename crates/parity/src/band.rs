//! The lines that fit through a band: what a factor and an offset between two counters can be.
//!
//! Each constraint says that at a value `x` of one counter the other lay between `low` and `high`. A pair (factor,
//! offset) fits if `low <= factor * x + offset <= high` for all of them. For a factor `r` the offsets that fit reach from
//! the greatest `low - r x` to the smallest `high - r x`; their difference, the slack, is concave in `r`, so the factors
//! that fit are an interval. Only points on the two convex hulls matter, and few of those: memory is bounded by leaving
//! out the corners that matter least, which loosens the band and never tightens it.

/// So many corners each hull keeps.
const CORNERS_MAX: usize = 14;

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
    ceiling: Vec<(f64, f64)>,
    /// Corners of the hull over which lines must pass: the points (x, low), hulled from above.
    floor: Vec<(f64, f64)>,
}

impl Band {
    /// Adds a constraint: at `x` the line lies between `low` and `high`.
    pub fn add(&mut self, x: f64, low: f64, high: f64) {
        if x.is_finite() && low <= high {
            insert(&mut self.ceiling, (x, high), Side::Below);
            insert(&mut self.floor, (x, low), Side::Above);
        }
    }

    /// Adds the same the other way round: where `x` lies between `low` and `high`, the line rises through `y`.
    pub fn add_across(&mut self, low: f64, high: f64, y: f64) {
        if y.is_finite() && low <= high {
            insert(&mut self.ceiling, (low, y), Side::Below);
            insert(&mut self.floor, (high, y), Side::Above);
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

    fn slack(&self, factor: f64) -> f64 {
        let low = self.floor.iter().map(|(x, low)| low - factor * x).fold(f64::NEG_INFINITY, f64::max);
        let high = self.ceiling.iter().map(|(x, high)| high - factor * x).fold(f64::INFINITY, f64::min);
        high - low
    }

    /// The factors that fit with some offset; none if no line fits at all. Without growth every factor does.
    pub fn factors(&self) -> Option<Interval> {
        if self.growth() <= 0.0 {
            return Some(Interval::ALL);
        }
        let rounding = 1e-9 * (1.0 + self.ceiling.last().map_or(0.0, |(_, high)| high.abs()));
        // Nearly always one fits, and the ends can be looked for from there.
        let best = if self.slack(1.0) >= 0.0 { 1.0 } else { self.best_factor() };
        if self.slack(best) < -rounding {
            return None;
        }
        let edge = |direction: f64| {
            let mut step = 1e-6 * (1.0 + best.abs());
            while self.slack(best + direction * step) >= -rounding {
                step *= 2.0;
                if step > 1e12 {
                    return direction * f64::INFINITY;
                }
            }
            let (mut inside, mut outside) = (0.0, step);
            for _ in 0..60 {
                let middle = f64::midpoint(inside, outside);
                if self.slack(best + direction * middle) >= -rounding { inside = middle } else { outside = middle }
            }
            best + direction * inside
        };
        Some(Interval { low: edge(-1.0), high: edge(1.0) })
    }

    /// Where the slack is greatest. It is concave, so that a search by thirds finds it.
    fn best_factor(&self) -> f64 {
        let ends = [self.ceiling.first(), self.ceiling.last(), self.floor.first(), self.floor.last()];
        let heights = || ends.into_iter().flatten().map(|corner| corner.1);
        let rise = heights().fold(f64::NEG_INFINITY, f64::max) - heights().fold(f64::INFINITY, f64::min);
        let steepest = 2.0 * (rise.abs() / self.growth()) + 1.0;
        let (mut low, mut high) = (-steepest, steepest);
        for _ in 0..100 {
            let third = (high - low) / 3.0;
            let (left, right) = (low + third, high - third);
            if self.slack(left) < self.slack(right) { low = left } else { high = right }
        }
        f64::midpoint(low, high)
    }
}

/// From which side a hull is seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The lower hull: its slopes rise.
    Below,
    /// The upper hull: its slopes fall.
    Above,
}

/// Adds a point to a hull that is sorted by x. Nearly all points come at its right end.
fn insert(hull: &mut Vec<(f64, f64)>, point: (f64, f64), side: Side) {
    let at = hull.partition_point(|corner| corner.0 < point.0);
    match hull.get_mut(at).filter(|corner| corner.0 == point.0) {
        // Two constraints at one x: the tighter one counts.
        Some(corner) if side == Side::Below => corner.1 = corner.1.min(point.1),
        Some(corner) => corner.1 = corner.1.max(point.1),
        None => {
            // Grown by hand: a series has no bytes to spare.
            if hull.len() == hull.capacity() {
                hull.reserve_exact(4);
            }
            hull.insert(at, point);
        }
    }
    let is_corner = |hull: &[(f64, f64)], at: usize| {
        let (before, corner, after) = (hull[at - 1], hull[at], hull[at + 1]);
        let turn = (corner.0 - before.0) * (after.1 - before.1) - (corner.1 - before.1) * (after.0 - before.0);
        if side == Side::Below { turn > 0.0 } else { turn < 0.0 }
    };
    if at > 0 && at + 1 < hull.len() && !is_corner(hull, at) {
        hull.remove(at);
        return;
    }
    let mut at = at;
    while at >= 2 && !is_corner(hull, at - 1) {
        hull.remove(at - 1);
        at -= 1;
    }
    while at + 2 < hull.len() && !is_corner(hull, at + 1) {
        hull.remove(at + 1);
    }
    if hull.len() > CORNERS_MAX {
        leave_out_one(hull);
    }
}

/// Leaves out the inner corner that is the least of a corner: the smallest triangle with its neighbours.
fn leave_out_one(hull: &mut Vec<(f64, f64)>) {
    let area = |at: usize| {
        let (a, b, c) = (hull[at - 1], hull[at], hull[at + 1]);
        ((b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)).abs()
    };
    let least = (1..hull.len() - 1).min_by(|left, right| area(*left).total_cmp(&area(*right)));
    if let Some(at) = least {
        hull.remove(at);
    }
}

#[cfg(test)]
mod tests {
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
