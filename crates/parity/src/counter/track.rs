//! The samples of one side of a counter.

use std::collections::VecDeque;

use super::Count;
use super::waiting::Waiting;
use crate::halves::Halves;

/// So many samples of a side wait to be sealed; beyond it the oldest are sealed early.
const WAITING_MAX: usize = 4096;

/// So many falls wait until the other side is far enough to say whether it fell too.
const FALLS_MAX: usize = 4;

/// Beyond twice of what was ever counted between two samples, and this, a counter does not come in one of them.
const HIDDEN_MAX: f64 = 10.0;

/// So far apart may the clocks of a start and of a sample be.
const CLOCKS_NS: u64 = 2_000_000_000;

/// A sample with the number of its epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) time_unix_ns: u64,
    pub(super) value: f64,
    pub(super) epoch: u32,
}

/// The same in words of 32 bits, which is no larger than its parts.
#[derive(Clone, Copy, Debug)]
struct Kept {
    time_unix_ns: Halves,
    value: Halves,
    epoch: u32,
}

impl Kept {
    fn of(sealed: Sealed) -> Kept {
        let Sealed { time_unix_ns, value, epoch } = sealed;
        Kept { time_unix_ns: Halves::of(time_unix_ns), value: Halves::of(value.to_bits()), epoch }
    }

    fn time_unix_ns(&self) -> u64 {
        self.time_unix_ns.whole()
    }

    fn sealed(&self) -> Sealed {
        let (time_unix_ns, value) = (self.time_unix_ns(), f64::from_bits(self.value.whole()));
        Sealed { time_unix_ns, value, epoch: self.epoch }
    }
}

/// Where a counter fell: the last sample before, and the first one after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fall {
    pub(super) before_unix_ns: u64,
    pub(super) after_unix_ns: u64,
    pub(super) epoch: u32,
}

/// Falls that wait, of which there are hardly any.
#[derive(Clone, Debug, Default)]
pub(super) struct Falls(Option<Box<Queue>>);

#[derive(Clone, Debug, Default)]
struct Queue(VecDeque<Fall>);

impl Falls {
    pub(super) fn front(&self) -> Option<&Fall> {
        self.0.as_ref()?.0.front()
    }

    pub(super) fn pop_front(&mut self) {
        let Some(falls) = &mut self.0 else { return };
        falls.0.pop_front();
        if falls.0.is_empty() {
            self.0 = None;
        }
    }

    /// If there are too many, the oldest one goes.
    fn push_back(&mut self, fall: Fall) {
        let Queue(falls) = &mut **self.0.get_or_insert_default();
        falls.push_back(fall);
        if falls.len() > FALLS_MAX {
            falls.pop_front();
        }
    }
}

/// The first sample of a side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    pub(super) time_unix_ns: u64,
    pub(super) value: f64,
    /// Whether it says since when it counts, so that the first value counts too.
    pub(super) has_start: bool,
}

/// The samples of one side.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// Not sealed yet, by time.
    waiting: Waiting,
    /// Sealed and still needed, in order.
    sealed: VecDeque<Kept>,
    /// How many of them were compared with the other side.
    pub(super) compared: u32,
    pub(super) epoch: u32,
    pub(super) last: Option<Count>,
    pub(super) birth: Option<Birth>,
    /// When the current epoch began, where that is known.
    pub(super) beginning_unix_ns: Option<u64>,
    pub(super) resets: u32,
    pub(super) samples: u64,
    pub(super) falls: Falls,
    /// Falls that the other side did not have.
    pub(super) alone: u32,
    /// New starts that were stated while the count went on.
    pub(super) restated: u32,
    /// What it shows is a sum, of deltas or of several writers, in which no reset of the source shows.
    pub(super) is_sum: bool,
    /// The side was there before it had the series.
    pub(super) is_late: bool,
    /// It was seen at a part of one: what it counts are no events.
    pub(super) has_fractions: bool,
    /// The most that was counted between two samples.
    rise_max: f64,
}

pub(super) enum Around {
    Between(Sealed, Sealed),
    /// The other side is not that far yet.
    Later,
    /// The other side began later.
    Never,
}

/// Whether an epoch holds for the whole of a time.
pub(super) enum Cover {
    Whole,
    Part,
    Later,
}

/// Makes room for a little more where there is none: a series has no bytes to spare, and long queues are rare.
fn grow<T>(queue: &mut VecDeque<T>) {
    if queue.len() == queue.capacity() {
        queue.reserve_exact(1 + queue.len() / 8);
    }
}

impl Track {
    pub(super) fn observe(&mut self, count: Count) {
        // What is sealed stays as it was judged; a second sample of one moment is the same one, sent again.
        if self.last.is_some_and(|last| count.time_unix_ns <= last.time_unix_ns) || !count.value.is_finite() {
            return;
        }
        self.waiting.insert(count);
        if self.waiting.len() > WAITING_MAX {
            self.seal_oldest(1);
        }
    }

    /// Takes in a sample that nothing older follows.
    pub(super) fn observe_sealed(&mut self, count: Count) {
        let is_late = self.last.is_some_and(|last| count.time_unix_ns <= last.time_unix_ns);
        if !is_late && count.value.is_finite() {
            self.seal_one(count);
        }
    }

    pub(super) fn seal(&mut self, watermark_unix_ns: u64) {
        self.seal_oldest(self.waiting.until(watermark_unix_ns));
    }

    fn seal_oldest(&mut self, oldest: usize) {
        (0..oldest).for_each(|at| self.seal_one(self.waiting.get(at)));
        self.waiting.forget(oldest);
    }

    fn seal_one(&mut self, count: Count) {
        // A start that is the time of the sample itself is how one says that it is not known.
        let has_start = count.start_unix_ns != 0 && count.start_unix_ns != count.time_unix_ns;
        let beginning = has_start.then_some(count.start_unix_ns);
        match self.last {
            None => {
                self.beginning_unix_ns = beginning;
                self.birth = Some(Birth { time_unix_ns: count.time_unix_ns, value: count.value, has_start });
            }
            Some(last) => self.follow(last, count, beginning),
        }
        self.has_fractions |= count.value.fract() != 0.0;
        self.last = Some(count);
        self.samples += 1;
        grow(&mut self.sealed);
        self.sealed.push_back(Kept::of(Sealed {
            time_unix_ns: count.time_unix_ns,
            value: count.value,
            epoch: self.epoch,
        }));
    }

    fn follow(&mut self, last: Count, count: Count, beginning: Option<u64>) {
        // Exporters that restate the start time on each push only move it a little; a fall is always a reset. The start
        // may be told by another clock than the time.
        let is_later = last.start_unix_ns != 0 && count.start_unix_ns > last.start_unix_ns;
        let is_restarted = is_later && count.start_unix_ns + CLOCKS_NS > last.time_unix_ns;
        let falls = count.value < last.value;
        self.rise_max = self.rise_max.max(if falls { count.value } else { count.value - last.value });
        if is_restarted && !falls && beginning.is_none() {
            self.restated += u32::from(last.value > 0.0);
            return;
        }
        if !is_restarted && !falls {
            return;
        }
        self.epoch += 1;
        self.resets += 1;
        self.beginning_unix_ns = beginning;
        if !falls && last.value > 0.0 {
            self.restated += 1;
        }
        if falls {
            let (before_unix_ns, after_unix_ns) = (last.time_unix_ns, count.time_unix_ns);
            self.falls.push_back(Fall { before_unix_ns, after_unix_ns, epoch: self.epoch });
        }
    }

    /// What is sealed and kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = Sealed> {
        self.sealed.iter().map(Kept::sealed)
    }

    /// The last sample at or before, and the first at or after; none while the second is not there yet.
    pub(super) fn around(&self, low_unix_ns: u64, high_unix_ns: u64) -> Around {
        let after = self.sealed.partition_point(|sealed| sealed.time_unix_ns() < high_unix_ns);
        match (self.at_or_before(low_unix_ns), self.sealed.get(after).map(Kept::sealed)) {
            (_, None) => Around::Later,
            (None, Some(_)) => Around::Never,
            (Some(low), Some(high)) => Around::Between(low, high),
        }
    }

    pub(super) fn at_or_before(&self, time_unix_ns: u64) -> Option<Sealed> {
        let before = self.sealed.partition_point(|sealed| sealed.time_unix_ns() <= time_unix_ns);
        before.checked_sub(1).map(|at| self.sealed[at].sealed())
    }

    pub(super) fn at_or_after(&self, time_unix_ns: u64) -> Option<Sealed> {
        let after = self.sealed.partition_point(|sealed| sealed.time_unix_ns() < time_unix_ns);
        self.sealed.get(after).map(Kept::sealed)
    }

    /// Whether a count is so low that the next sample may be higher though it began anew in between, and nobody says since
    /// when it counts.
    pub(super) fn may_hide_a_reset(&self, value: f64) -> bool {
        let is_known = self.beginning_unix_ns.is_some() || self.is_sum;
        // Amounts are as small as their unit makes them.
        let most = if self.has_fractions { 4.0 * self.rise_max } else { 2.0 * self.rise_max + HIDDEN_MAX };
        !is_known && value <= most
    }

    /// Whether this side was in one epoch all the time between two moments. What began anew and passed its old value
    /// between two samples of a slow sampler shows no reset there: only the other side can tell.
    pub(super) fn covers(&self, epoch: u32, low_unix_ns: u64, high_unix_ns: u64) -> Cover {
        let begins = epoch == 0 || self.at_or_before(low_unix_ns).is_some_and(|sample| sample.epoch == epoch);
        match self.at_or_after(high_unix_ns) {
            _ if !begins => Cover::Part,
            None if self.epoch != epoch => Cover::Part,
            None => Cover::Later,
            Some(sample) if sample.epoch == epoch => Cover::Whole,
            Some(_) => Cover::Part,
        }
    }

    /// The first sample that was not compared yet.
    pub(super) fn next(&self) -> Option<Sealed> {
        self.sealed.get(self.compared as usize).map(Kept::sealed)
    }

    /// Forgets what lies before this time, but for the last sample there. A side that waits for one that stopped forgets
    /// its oldest samples too.
    pub(super) fn forget_before(&mut self, time_unix_ns: u64) {
        let is_old = |track: &Track| {
            let second = track.sealed.get(1).is_some_and(|second| second.time_unix_ns() <= time_unix_ns);
            (track.compared > 0 && second) || track.sealed.len() > WAITING_MAX
        };
        while is_old(self) {
            self.sealed.pop_front();
            self.compared = self.compared.saturating_sub(1);
        }
    }
}
