//! When the next request is due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use component::clock::Mono;

use super::Rate;

/// What is late by more than this is left out.
const BACKLOG_MAX: Duration = Duration::from_secs(1);

/// The timetable of all lanes.
#[derive(Debug)]
pub(super) struct Pacer {
    started: Mono,
    rate_items_per_s: Option<f64>,
    /// Items that have a place on the timetable.
    placed: AtomicU64,
    skipped: AtomicU64,
}

impl Pacer {
    pub(super) fn new(rate: Rate, started: Mono) -> Self {
        let rate_items_per_s = match rate {
            Rate::Unlimited => None,
            Rate::ItemsPerS(rate) => Some(rate),
        };
        Pacer { started, rate_items_per_s, placed: AtomicU64::new(0), skipped: AtomicU64::new(0) }
    }

    /// Takes the next place for so many items. Returns when they are due; `None` is at once.
    pub(super) fn place(&self, items: u32, now: Mono) -> Option<Mono> {
        let rate = self.rate_items_per_s?;
        let elapsed = now.saturating_duration_since(self.started);
        let earliest = (elapsed.saturating_sub(BACKLOG_MAX).as_secs_f64() * rate) as u64;
        let placed = self.placed.fetch_max(earliest, Ordering::Relaxed);
        self.skipped.fetch_add(earliest.saturating_sub(placed), Ordering::Relaxed);
        let place = self.placed.fetch_add(u64::from(items), Ordering::Relaxed);
        let due = Duration::try_from_secs_f64(place as f64 / rate).unwrap_or(Duration::MAX);
        // Far beyond any run; the caller's stop ends the wait.
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        Some(self.started + due.min(FAR))
    }

    /// Items that were due while every lane was waiting.
    pub(super) fn skipped_items(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use component::clock::mono;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn requests_are_due_at_even_distances() {
        let start = mono();
        let pacer = Pacer::new(Rate::ItemsPerS(20_000.0), start);
        for index in 0..5 {
            assert_eq!(pacer.place(200, start), Some(start + 10 * MS * index));
        }
        assert_eq!(pacer.skipped_items(), 0);
    }

    #[test]
    fn a_second_is_made_up_for_and_the_rest_is_skipped() {
        let start = mono();
        let pacer = Pacer::new(Rate::ItemsPerS(1000.0), start);
        let late = start + 3500 * MS;
        assert_eq!(pacer.place(100, late), Some(start + 2500 * MS));
        assert_eq!(pacer.place(100, late), Some(start + 2600 * MS));
        assert_eq!(pacer.skipped_items(), 2500);
    }

    #[test]
    fn without_a_rate_everything_is_due_at_once() {
        assert_eq!(Pacer::new(Rate::Unlimited, mono()).place(1, mono()), None);
    }
}
