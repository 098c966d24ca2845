//! The windows that a gauge is averaged over, in little memory.
//!
//! When there are too many, neighbours become one of twice the length. Means of longer windows say the same of the mean
//! of all, and go together less with their neighbours. Windows double until all of them span what is remembered; from
//! then on, the oldest one is forgotten for each new one.

/// A window holds at least so many values of the new side.
pub(super) const WINDOW_SAMPLES: u32 = 5;
/// So many windows are kept.
const WINDOWS_MAX: usize = 160;
/// A window is at most so many of the shortest ones: 1,280 of those are remembered.
const JOINED_MAX: u32 = 8;

/// The sums of both sides.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    legacy: f64,
    new: f64,
}

/// The means of both sides, with seven digits: nobody asks for a margin that is less.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Means {
    legacy: f32,
    new: f32,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.legacy += other.legacy;
        self.new += other.new;
    }
}

impl Means {
    fn with(self, other: Means) -> Means {
        Means { legacy: self.legacy.midpoint(other.legacy), new: self.new.midpoint(other.new) }
    }
}

/// What is too large is the largest there is.
fn short(value: f64) -> f32 {
    value.clamp(f32::MIN.into(), f32::MAX.into()) as f32
}

/// Windows of the same number of values.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    full: Vec<Means>,
    /// The size of the legacy side in each one, where that is not its mean: what lies above zero and what lies below would
    /// make up for each other. None as long as nothing does.
    sizes: Option<Vec<f32>>,
    /// So many of the shortest windows are one.
    joined: u32,
    /// The window that is not full yet, its size, and how many of the shortest ones it has.
    open: Sums,
    open_size: f64,
    open_joined: u32,
    /// The shortest window, and how many values it has.
    shortest: Sums,
    shortest_samples: u32,
    /// So many of the shortest there ever were.
    seen: u32,
}

impl Default for Windows {
    fn default() -> Self {
        Windows {
            full: Vec::new(),
            sizes: None,
            joined: 1,
            open: Sums::default(),
            open_size: 0.0,
            open_joined: 0,
            shortest: Sums::default(),
            shortest_samples: 0,
            seen: 0,
        }
    }
}

impl Windows {
    /// Takes in what both sides were at one moment.
    pub(super) fn add(&mut self, legacy: f64, new: f64) {
        self.shortest.add(Sums { legacy, new });
        self.shortest_samples += 1;
        if self.shortest_samples < WINDOW_SAMPLES {
            return;
        }
        let window = std::mem::take(&mut self.shortest);
        self.shortest_samples = 0;
        self.seen = self.seen.saturating_add(1);
        self.open.add(window);
        self.open_size += window.legacy.abs();
        self.open_joined += 1;
        if self.open_joined == self.joined {
            self.close();
        }
    }

    /// Puts the open window to the others. Where those were joined to make room for it, it is half full and stays open.
    fn close(&mut self) {
        if self.full.len() == WINDOWS_MAX {
            if self.joined < JOINED_MAX {
                self.join();
                return;
            }
            self.full.remove(0);
            if let Some(sizes) = &mut self.sizes {
                sizes.remove(0);
            }
        }
        let (sums, size) = (std::mem::take(&mut self.open), std::mem::take(&mut self.open_size));
        self.open_joined = 0;
        if size > sums.legacy.abs() * (1.0 + 1e-9) {
            self.tell_sizes();
        }
        let samples = f64::from(WINDOW_SAMPLES * self.joined);
        if let Some(sizes) = &mut self.sizes {
            sizes.push(short(size / samples));
        }
        if self.full.len() == self.full.capacity() {
            self.full.reserve_exact(8);
        }
        self.full.push(Means { legacy: short(sums.legacy / samples), new: short(sums.new / samples) });
    }

    fn join(&mut self) {
        let crosses = |pair: &[Means]| pair[0].legacy * pair[1].legacy < 0.0;
        if self.full.chunks_exact(2).any(crosses) {
            self.tell_sizes();
        }
        if let Some(sizes) = &mut self.sizes {
            *sizes = sizes.chunks_exact(2).map(|pair| pair[0].midpoint(pair[1])).collect();
        }
        self.full = self.full.chunks_exact(2).map(|pair| pair[0].with(pair[1])).collect();
        self.joined *= 2;
    }

    /// From now on, sizes are kept apart.
    fn tell_sizes(&mut self) {
        let full = &self.full;
        self.sizes.get_or_insert_with(|| full.iter().map(|window| window.legacy.abs()).collect());
    }

    /// How many of the shortest windows there ever were.
    pub(super) fn seen(&self) -> u32 {
        self.seen
    }

    /// How many are full.
    pub(super) fn len(&self) -> usize {
        self.full.len()
    }

    /// The means of both sides in each full window.
    pub(super) fn means(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.full.iter().map(|window| (window.legacy.into(), window.new.into()))
    }

    /// By how much the new side is above the legacy one in each full window.
    pub(super) fn differences(&self) -> Vec<f64> {
        self.means().map(|(legacy, new)| new - legacy).collect()
    }

    /// What the differences are measured against: the usual size of the legacy side.
    pub(super) fn scale(&self) -> f64 {
        let sum: f64 = match &self.sizes {
            Some(sizes) => sizes.iter().copied().map(f64::from).sum(),
            None => self.means().map(|(legacy, _)| legacy.abs()).sum(),
        };
        sum / self.full.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by keeping each of the shortest windows.
    fn check(value: impl Fn(u32) -> f64, samples: u32) {
        let mut windows = Windows::default();
        let mut all: Vec<(f64, f64)> = Vec::new();
        for at in 0..samples {
            let (legacy, new) = (value(at), value(at) * 1.25 + 1.0);
            windows.add(legacy, new);
            match at % WINDOW_SAMPLES {
                0 => all.push((legacy, new)),
                _ => all.last_mut().map(|last| *last = (last.0 + legacy, last.1 + new)).unwrap(),
            }
            let (full, joined) = (windows.len(), windows.joined as usize);
            assert!(full <= WINDOWS_MAX && (full > WINDOWS_MAX / 4 || joined == 1), "{full} windows at {at}");
            // Those that the full ones are made of.
            let until = (at as usize + 1) / WINDOW_SAMPLES as usize - windows.open_joined as usize;
            let kept = &all[until - full * joined..until];
            let values = (full * joined * WINDOW_SAMPLES as usize).max(1) as f64;
            let scale = kept.iter().map(|window| window.0.abs()).sum::<f64>() / values;
            let difference = kept.iter().map(|window| window.1 - window.0).sum::<f64>() / values;
            let found = windows.differences().iter().sum::<f64>() / full.max(1) as f64;
            assert!((windows.scale() - scale).abs() <= 1e-6 * scale, "{} is not {scale} at {at}", windows.scale());
            assert!((found - difference).abs() <= 1e-6 * (1.0 + scale), "{found} is not {difference} at {at}");
        }
    }

    #[test]
    fn joined_windows_say_the_same_as_short_ones() {
        let mut random = fastrand::Rng::with_seed(3);
        let noise: Vec<f64> = (0..8000).map(|_| random.f64()).collect();
        check(|at| noise[at as usize], 8000);
        // Below zero and above it in turns that are shorter or longer than a window, or late.
        check(|at| noise[at as usize] - 0.5, 8000);
        check(|at| (f64::from(at) / 100.0).sin(), 8000);
        check(|at| if at < 2000 { 1.0 } else { -1.0 }, 8000);
        check(|_| 0.0, 8000);
    }

    #[test]
    fn what_is_too_large_is_the_same_on_both_sides() {
        let mut windows = Windows::default();
        (0..8000).for_each(|_| windows.add(f64::MAX / 100.0, f64::MAX / 100.0));
        assert!(windows.differences().iter().all(|difference| *difference == 0.0) && windows.scale().is_finite());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut windows = Windows::default();
        (0..100_000).for_each(|at| windows.add(if at < 90_000 { 5.0 } else { 7.0 }, 7.0));
        assert_eq!(windows.means().collect::<Vec<_>>(), [(7.0, 7.0); WINDOWS_MAX]);
        assert!(windows.full.capacity() <= WINDOWS_MAX && windows.sizes.is_none());
    }
}
