//! The corners of one hull of a band, in little memory.
//!
//! Counts are whole numbers that rise slowly, so that their distances from the first corner fit into half the bytes. They
//! are kept so only as long as that is exact.

/// So many corners each hull keeps.
pub(super) const CORNERS_MAX: usize = 14;

type Corner = (f64, f64);

/// Corners by x.
#[derive(Clone, Debug)]
pub(super) enum Hull {
    /// As distances from a corner, all of which are exact.
    Near { from: Corner, corners: Vec<(f32, f32)> },
    /// As they are.
    Far(Vec<Corner>),
}

impl Default for Hull {
    fn default() -> Self {
        Hull::Near { from: (0.0, 0.0), corners: Vec::new() }
    }
}

impl Hull {
    pub(super) fn len(&self) -> usize {
        match self {
            Hull::Near { corners, .. } => corners.len(),
            Hull::Far(corners) => corners.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn get(&self, at: usize) -> Corner {
        match self {
            Hull::Near { from, corners } => (from.0 + f64::from(corners[at].0), from.1 + f64::from(corners[at].1)),
            Hull::Far(corners) => corners[at],
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Corner> {
        (0..self.len()).map(|at| self.get(at))
    }

    pub(super) fn first(&self) -> Option<Corner> {
        (!self.is_empty()).then(|| self.get(0))
    }

    pub(super) fn last(&self) -> Option<Corner> {
        self.len().checked_sub(1).map(|at| self.get(at))
    }

    /// Adds a point, if it is a corner.
    pub(super) fn insert(&mut self, point: Corner, side: Side) {
        if self.append(point, side) {
            return;
        }
        let mut few = Few::default();
        self.iter().for_each(|corner| few.push(corner));
        insert(&mut few, point, side);
        self.keep(&few);
    }

    /// Adds a point at the right end, where nearly all of them come, without touching the other corners; false if it is not
    /// that simple.
    fn append(&mut self, point: Corner, side: Side) -> bool {
        let Some(last) = self.last() else { return false };
        if point.0 <= last.0 {
            // What is no tighter at the same place changes nothing.
            return point.0 == last.0 && if side == Side::Below { point.1 >= last.1 } else { point.1 <= last.1 };
        }
        let mut len = self.len();
        while len >= 2 && !is_corner([self.get(len - 2), self.get(len - 1), point], side) {
            len -= 1;
        }
        len < CORNERS_MAX && self.push(len, point)
    }

    /// Puts a corner behind the first ones in place of the others, if it can be kept exactly as they are.
    fn push(&mut self, len: usize, corner: Corner) -> bool {
        match self {
            Hull::Near { from, corners } => {
                let Some(near) = near(*from, corner) else { return false };
                put(corners, len, near);
            }
            Hull::Far(corners) => put(corners, len, corner),
        }
        true
    }

    fn keep(&mut self, few: &[Corner]) {
        if let Hull::Near { from, corners } = self {
            if corners.is_empty() {
                *from = few.first().copied().unwrap_or_default();
            }
            let near = |corner: &Corner| near(*from, *corner);
            if few.iter().all(|corner| near(corner).is_some()) {
                replace(corners, few.iter().filter_map(near), few.len());
                return;
            }
            *self = Hull::Far(Vec::new());
        }
        if let Hull::Far(corners) = self {
            replace(corners, few.iter().copied(), few.len());
        }
    }
}

/// The distance of a corner, if it is exact.
fn near(from: Corner, corner: Corner) -> Option<(f32, f32)> {
    let near = ((corner.0 - from.0) as f32, (corner.1 - from.1) as f32);
    let is_exact = from.0 + f64::from(near.0) == corner.0 && from.1 + f64::from(near.1) == corner.1;
    is_exact.then_some(near)
}

/// Puts one behind the first ones in place of the others.
fn put<T>(kept: &mut Vec<T>, len: usize, one: T) {
    kept.truncate(len);
    if len == kept.capacity() {
        kept.reserve_exact(2);
    }
    kept.push(one);
}

/// Grown by hand: a series has no bytes to spare.
fn replace<T>(kept: &mut Vec<T>, by: impl Iterator<Item = T>, len: usize) {
    kept.clear();
    if len > kept.capacity() {
        kept.reserve_exact((len + 1).min(CORNERS_MAX.max(len)));
    }
    kept.extend(by);
}

/// The corners while they change: one more than are kept.
#[derive(Default)]
struct Few {
    corners: [Corner; CORNERS_MAX + 1],
    len: usize,
}

impl Few {
    fn push(&mut self, corner: Corner) {
        self.insert(self.len, corner);
    }

    fn insert(&mut self, at: usize, corner: Corner) {
        self.corners.copy_within(at..self.len, at + 1);
        self.corners[at] = corner;
        self.len += 1;
    }

    fn remove(&mut self, at: usize) {
        self.corners.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }
}

impl std::ops::Deref for Few {
    type Target = [Corner];

    fn deref(&self) -> &[Corner] {
        &self.corners[..self.len]
    }
}

impl std::ops::DerefMut for Few {
    fn deref_mut(&mut self) -> &mut [Corner] {
        &mut self.corners[..self.len]
    }
}

/// From which side a hull is seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The lower hull: its slopes rise.
    Below,
    /// The upper hull: its slopes fall.
    Above,
}

/// Adds a point to a hull that is sorted by x. Nearly all points come at its right end.
fn insert(hull: &mut Few, point: Corner, side: Side) {
    let at = hull.partition_point(|corner| corner.0 < point.0);
    match hull.get_mut(at).filter(|corner| corner.0 == point.0) {
        // Two constraints at one x: the tighter one counts.
        Some(corner) if side == Side::Below => corner.1 = corner.1.min(point.1),
        Some(corner) => corner.1 = corner.1.max(point.1),
        None => {
            hull.insert(at, point);
        }
    }
    let is_corner = |hull: &[Corner], at: usize| is_corner([hull[at - 1], hull[at], hull[at + 1]], side);
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

/// Whether the middle one of three points is a corner.
fn is_corner([before, corner, after]: [Corner; 3], side: Side) -> bool {
    let turn = (corner.0 - before.0) * (after.1 - before.1) - (corner.1 - before.1) * (after.0 - before.0);
    if side == Side::Below { turn > 0.0 } else { turn < 0.0 }
}

/// Leaves out the inner corner that is the least of a corner: the smallest triangle with its neighbours.
fn leave_out_one(hull: &mut Few) {
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

    #[test]
    fn corners_are_the_same_however_they_are_kept() {
        let mut random = fastrand::Rng::with_seed(9);
        for step in [1.0, 0.1, 1e7, 1e-3] {
            let (mut hull, mut few) = (Hull::default(), Few::default());
            let mut x = 1e9;
            for _ in 0..300 {
                x += f64::from(random.u32(0..40)) * step;
                let point = (x, x + f64::from(random.u32(0..60)) * step);
                hull.insert(point, Side::Below);
                insert(&mut few, point, Side::Below);
                assert_eq!(hull.iter().collect::<Vec<_>>(), few.to_vec());
                if random.u8(..10) == 0 {
                    x -= f64::from(random.u32(0..80)) * step;
                }
            }
            assert_eq!(matches!(hull, Hull::Near { .. }), step == 1.0, "{step}");
        }
    }
}
