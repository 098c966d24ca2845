//! The samples of one side of a gauge: those that wait, and the last ones of those that are sealed.

use super::Level;

/// So many samples of a side wait at most, and of those no more than an hour once they are more than a few: a side that is
/// silent for long must not make the other one pile up.
const WAITING_MAX: usize = 2048;
const WAITING_FEW: usize = 32;
const WAITING_NS_MAX: u64 = 3_600_000_000_000;
/// So many sealed ones are kept at least: for those of the other side that come late, and for the lag.
const KEPT_MIN: usize = 24;
/// Sealed ones are kept for so many times of what a value is looked for around its moment.
const KEPT_REACHES: u64 = 4;

/// In the order of time: first what is compared, then what is sealed, then what waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    levels: Vec<Level>,
    sealed: u32,
    compared: u32,
    is_seen: bool,
}

impl Samples {
    pub(super) fn observe(&mut self, level: Level) {
        let is_late = self.sealed().last().is_some_and(|last| level.time_unix_ns <= last.time_unix_ns);
        if is_late || !level.value.is_finite() {
            return;
        }
        let from = self.sealed as usize;
        let at = from + self.levels[from..].partition_point(|known| known.time_unix_ns < level.time_unix_ns);
        match self.levels.get_mut(at) {
            Some(known) if known.time_unix_ns == level.time_unix_ns => known.value = level.value,
            _ => {
                // Grown by hand: a series has no bytes to spare, and long queues are rare.
                if self.levels.len() == self.levels.capacity() {
                    self.levels.reserve_exact(1 + self.levels.len() / 16);
                }
                self.levels.insert(at, level);
                self.bound();
            }
        }
    }

    /// Forgets the oldest ones of too many that wait, and what was sealed before them.
    fn bound(&mut self) {
        let waiting = &self.levels[self.sealed as usize..];
        let (Some(first), Some(last)) = (waiting.first(), waiting.last()) else { return };
        let is_old =
            waiting.len() > WAITING_FEW && first.time_unix_ns.saturating_add(WAITING_NS_MAX) < last.time_unix_ns;
        if is_old || waiting.len() > WAITING_MAX {
            let oldest = self.sealed as usize + 1 + waiting.len() / 64;
            self.forget(oldest);
            self.is_seen = true;
        }
    }

    fn forget(&mut self, oldest: usize) {
        self.levels.drain(..oldest);
        self.sealed = self.sealed.saturating_sub(oldest as u32);
        self.compared = self.compared.saturating_sub(oldest as u32);
        // What once waited for long leaves no empty room behind.
        if self.levels.capacity() > 2 * (self.levels.len() + KEPT_MIN) {
            self.levels.shrink_to_fit();
        }
    }

    /// Takes back what waits, from a moment on.
    pub(super) fn retract(&mut self, from_unix_ns: u64) {
        let from = self.levels.partition_point(|level| level.time_unix_ns < from_unix_ns);
        self.levels.truncate(from.max(self.sealed as usize));
    }

    pub(super) fn seal(&mut self, watermark_unix_ns: u64) {
        let until = self.levels.partition_point(|level| level.time_unix_ns <= watermark_unix_ns);
        self.sealed = self.sealed.max(until as u32);
        self.is_seen |= self.sealed > 0;
    }

    /// Forgets what nothing can be compared with any more.
    pub(super) fn trim(&mut self, reach_ns: u64) {
        let Some(last) = self.sealed().last() else { return };
        let from = last.time_unix_ns.saturating_sub(reach_ns.saturating_mul(KEPT_REACHES));
        let older = self.levels.partition_point(|level| level.time_unix_ns < from);
        let oldest = older.min((self.sealed as usize).saturating_sub(KEPT_MIN));
        if oldest > 0 {
            self.forget(oldest);
        }
    }

    /// Whether there ever was one.
    pub(super) fn is_seen(&self) -> bool {
        self.is_seen
    }

    /// The last ones that are sealed.
    pub(super) fn sealed(&self) -> &[Level] {
        &self.levels[..self.sealed as usize]
    }

    /// The first one that is sealed and not compared.
    pub(super) fn next(&self) -> Option<Level> {
        self.sealed().get(self.compared as usize).copied()
    }

    pub(super) fn is_compared(&mut self) {
        self.compared += 1;
    }

    /// Interpolated at a time; none outside of what is known.
    pub(super) fn at(&self, time_unix_ns: u64) -> Option<f64> {
        let sealed = self.sealed();
        let after = sealed.partition_point(|level| level.time_unix_ns < time_unix_ns);
        let next = sealed.get(after)?;
        if next.time_unix_ns == time_unix_ns {
            return Some(next.value);
        }
        let before = sealed.get(after.checked_sub(1)?)?;
        let share = (time_unix_ns - before.time_unix_ns) as f64 / (next.time_unix_ns - before.time_unix_ns) as f64;
        Some(before.value + share * (next.value - before.value))
    }

    /// The least and the greatest value around a time: between the last sample before and the first one after.
    pub(super) fn envelope(&self, time_unix_ns: u64, reach_ns: u64) -> Option<(f64, f64)> {
        let sealed = self.sealed();
        let from = time_unix_ns.saturating_sub(reach_ns);
        let to = time_unix_ns.saturating_add(reach_ns);
        let first = sealed.partition_point(|level| level.time_unix_ns < from);
        let levels = sealed[first..].iter().take_while(|level| level.time_unix_ns <= to);
        levels.fold(None, |known: Option<(f64, f64)>, level| {
            let (low, high) = known.unwrap_or((level.value, level.value));
            Some((low.min(level.value), high.max(level.value)))
        })
    }

    /// The usual time between two samples.
    pub(super) fn interval_ns(&self) -> u64 {
        let gaps = self.sealed().windows(2).map(|pair| (pair[1].time_unix_ns - pair[0].time_unix_ns) as f64);
        crate::stats::median(&mut gaps.collect::<Vec<f64>>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn level(second: u64) -> Level {
        Level { time_unix_ns: second * SECOND_NS, value: second as f64 }
    }

    #[test]
    fn what_waits_is_in_order_and_what_is_sealed_is_late() {
        let mut samples = Samples::default();
        [30, 10, 20, 20].into_iter().for_each(|second| samples.observe(level(second)));
        samples.seal(20 * SECOND_NS);
        [5, 20, 25].into_iter().for_each(|second| samples.observe(level(second)));
        assert_eq!(samples.sealed(), [level(10), level(20)]);
        assert_eq!(samples.levels, [10, 20, 25, 30].map(level));
        samples.retract(0);
        assert_eq!(samples.levels, [10, 20].map(level));
    }

    #[test]
    fn a_side_that_waits_for_the_other_keeps_an_hour() {
        let mut samples = Samples::default();
        (0..100_000).for_each(|step| samples.observe(level(step * 15)));
        assert!((240..=250).contains(&samples.levels.len()), "{}", samples.levels.len());
        assert!(samples.levels.capacity() <= 300 && samples.is_seen());
        // Rare ones wait for longer.
        let mut samples = Samples::default();
        (0..30).for_each(|step| samples.observe(level(step * 7200)));
        assert_eq!(samples.levels.len(), 30);
        let mut samples = Samples::default();
        (0..100_000).for_each(|step| samples.observe(level(step)));
        assert!(samples.levels.len() <= WAITING_MAX);
    }

    #[test]
    fn what_is_sealed_is_kept_as_far_as_it_is_looked_for() {
        let kept = |reach_s: u64| {
            let mut samples = Samples::default();
            for step in 0..10_000 {
                samples.observe(level(step * 15));
                samples.seal((step * 15).saturating_sub(120) * SECOND_NS);
                samples.trim(reach_s * SECOND_NS);
            }
            (samples.sealed().len(), samples.levels.capacity())
        };
        assert_eq!(kept(16).0, KEPT_MIN);
        assert!(kept(16).1 <= 48, "{:?}", kept(16));
        assert_eq!(kept(600).0, 161);
    }
}
