//! What releases had at which hour.

use std::collections::VecDeque;

const HOUR_NS: u64 = 3_600_000_000_000;
/// So many hours of releases are remembered: four days of one.
const HOURS_MAX: usize = 96;

/// One hour of one release.
#[derive(Clone, Copy, Debug)]
struct Hour {
    /// Since the Unix epoch.
    hour: u64,
    release: u16,
    windows: u16,
    sum: f32,
}

impl Hour {
    fn mean(&self) -> f64 {
        f64::from(self.sum) / f64::from(self.windows.max(1))
    }
}

/// The last hours, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    hours: VecDeque<Hour>,
}

impl History {
    pub(super) fn add(&mut self, window_unix_ns: u64, release: usize, value: f64) {
        let (hour, release) = (window_unix_ns / HOUR_NS, u16::try_from(release).unwrap_or(u16::MAX));
        let is_it = |known: &&mut Hour| known.hour == hour && known.release == release;
        if let Some(known) = self.hours.iter_mut().rev().take(32).find(is_it) {
            known.windows = known.windows.saturating_add(1);
            known.sum += value as f32;
            return;
        }
        self.hours.push_back(Hour { hour, release, windows: 1, sum: value as f32 });
        if self.hours.len() > HOURS_MAX {
            self.hours.pop_front();
        }
    }

    /// What some releases had in the same hour of the day, the newest such, or if in none, then at last; and whether it is
    /// the same hour.
    pub(super) fn at(&self, window_unix_ns: u64, releases: &[usize]) -> Option<(f64, bool)> {
        let hour = window_unix_ns / HOUR_NS;
        let mut of_releases = self.hours.iter().rev().filter(|known| releases.contains(&known.release.into()));
        let same = of_releases.clone().find(|known| known.hour % 24 == hour % 24);
        same.map(|known| (known.mean(), true)).or_else(|| of_releases.next().map(|known| (known.mean(), false)))
    }

    pub(super) fn forget(&mut self, release: usize) {
        self.hours.retain(|known| usize::from(known.release) != release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_hour_counts_before_the_last_one() {
        let mut history = History::default();
        for hour in 0..30 {
            history.add(hour * HOUR_NS, 0, hour as f64);
            history.add(hour * HOUR_NS + HOUR_NS / 2, 0, hour as f64 + 1.0);
        }
        assert_eq!(history.at(34 * HOUR_NS, &[0, 1]), Some((10.5, true)));
        assert_eq!(history.at(34 * HOUR_NS, &[1]), None);
        let mut short = History::default();
        short.add(HOUR_NS, 2, 7.0);
        assert_eq!(short.at(5 * HOUR_NS, &[2]), Some((7.0, false)));
        short.forget(2);
        assert_eq!(short.at(5 * HOUR_NS, &[2]), None);
    }
}
