//! Series that are over make room for others.
//!
//! Where instances come and go, each brings series of its own, and there would be no room for new ones some day. What
//! neither side has had for long is forgotten with everything that is known of it; should it come back, it begins anew.
//! Until then it is reported as what it came to.

use super::identities::GONE;
use super::series::{Comparing, Seen};
use super::{Metrics, identities};
use crate::verdict::Side;

/// What is over is looked for so many times in the time after which it is forgotten: finding it goes through all series.
const LOOKS: u64 = 16;

/// When to look for what is over.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    newest_unix_ns: u64,
    next_unix_ns: u64,
}

impl Expiry {
    /// Whether it is time again. After a silence of everything, each series has to have the time to come back.
    fn is_due(&mut self, newest_unix_ns: u64, expired_ns: u64) -> bool {
        let advanced_ns = newest_unix_ns.saturating_sub(self.newest_unix_ns);
        self.newest_unix_ns = self.newest_unix_ns.max(newest_unix_ns);
        if advanced_ns > expired_ns / 4 {
            self.next_unix_ns = newest_unix_ns.saturating_add(expired_ns);
        }
        let is_due = newest_unix_ns > self.next_unix_ns;
        if is_due {
            self.next_unix_ns = newest_unix_ns.saturating_add(expired_ns / LOOKS);
        }
        is_due
    }
}

impl Metrics {
    /// Forgets what neither side has had for long, by the clock of the side that is behind.
    pub(super) fn forget(&mut self) {
        let newest_unix_ns = self.newest_unix_ns[0].min(self.newest_unix_ns[1]);
        let expired_ns = self.settings.expired_ns;
        if !self.expiry.is_due(newest_unix_ns, expired_ns) {
            return;
        }
        let is_over = |seen: &Seen| {
            let is_old =
                |side: Side| seen.presence[side as usize].last_unix_ns().saturating_add(expired_ns) < newest_unix_ns;
            !seen.is_pending && is_old(Side::Legacy) && is_old(Side::New)
        };
        let mut kept = 0;
        let number = |seen: &Seen| {
            if is_over(seen) {
                return GONE;
            }
            kept += 1;
            kept - 1
        };
        let numbers: Vec<u32> = self.seen.iter().map(number).collect();
        if kept as usize == numbers.len() {
            return;
        }
        keep(&mut self.comparing, &numbers);
        keep(&mut self.seen, &numbers);
        keep(&mut self.judged, &numbers);
        self.pending.iter_mut().for_each(|pending| *pending = numbers[*pending as usize]);
        self.streams.keep(&numbers);
        self.drawn.retain(|number| numbers[number] != GONE);
        self.drawn.begin(self.comparing.iter().map(Comparing::is_count));
        self.identities.keep(&numbers);
        for (at, seen) in (0..).zip(&self.seen) {
            for side in [Side::Legacy, Side::New].into_iter().filter(|side| !seen.presence[*side as usize].is_new()) {
                self.identities.is_seen(at, side);
            }
        }
    }
}

/// Keeps what has a number yet.
fn keep<T>(list: &mut Vec<T>, numbers: &[u32]) {
    let mut numbers = numbers.iter();
    list.retain(|_| numbers.next().is_some_and(|number| *number != GONE));
    identities::shrink(list);
}
