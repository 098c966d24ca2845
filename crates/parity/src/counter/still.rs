//! Moments at which both sides stand still.
//!
//! Where one side shows the same count before and after a sample of the other, both counts are known for one and the same
//! moment, and so is the offset between them: exactly. As long as the offset is the same at all such moments, everything
//! that was counted between them is there on both sides, however little that is. Where it changes and does not come back,
//! one side misses as much as it changed by. This says nothing about the chance of a loss, and needs no margin.
//!
//! A counter that hardly moves stands still at nearly all moments, and one that moves all the time at none: then it is
//! for the sandwich to judge.

use super::track::Track;

/// So many moments are enough.
const MOMENTS_MIN: u32 = 10;
/// And so long a time between the first and the last of them.
const SPAN_NS: u64 = 300_000_000_000;
/// What is claimed holds up to the last moment, which is no older than this.
const AGE_MAX_NS: u64 = 300_000_000_000;
/// The count may have risen so often since, or where nothing could be compared.
const RISES_MAX: u32 = 4;
/// An offset that has changed for so many moments stays so,
const APART_MOMENTS: u32 = 4;
/// if they lie so far apart: sums of several writers come together only after a while.
const APART_NS: u64 = 120_000_000_000;

/// Both counts at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment {
    pub(super) time_unix_ns: u64,
    pub(super) legacy: f64,
    pub(super) new: f64,
}

impl Moment {
    fn deficit(self) -> f64 {
        let deficit = self.legacy - self.new;
        // Sums of doubles may miss each other by a rounding.
        if deficit.abs() <= rounding(self) { 0.0 } else { deficit }
    }

    fn is_as_far_apart_as(self, other: Moment) -> bool {
        (self.deficit() - other.deficit()).abs() <= rounding(self).max(rounding(other))
    }
}

fn rounding(moment: Moment) -> f64 {
    1e-9 * moment.legacy.abs().max(moment.new.abs())
}

/// What may have made an offset change beside a loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hidden {
    /// Nothing.
    #[default]
    Nothing,
    /// Both sides, or one of them, may have begun anew without a fall.
    Reset,
    /// The legacy side may have; the new one adds up and never does.
    ResetOfLegacy,
    /// The new side may have; the legacy one adds up and never does.
    ResetOfNew,
}

/// The moments of one pair of epochs after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Still {
    epochs: (u32, u32),
    /// The first moment with the offset that holds, and the last one.
    first: Option<Moment>,
    agreed: Moment,
    /// What may hide behind the counts of that one.
    agreed_hidden: Hidden,
    /// The newest moment.
    last: Moment,
    /// Since when the offset is another one, and at how many moments.
    apart_since_unix_ns: u64,
    apart_moments: u32,
    /// Moments with the offset that holds, in all epochs, and when the first of them was.
    moments: u32,
    since_unix_ns: u64,
    /// What earlier epochs counted.
    legacy: f64,
    new: f64,
    /// The new side's count that was compared last.
    seen: f64,
    /// How often it rose: between moments, after the last one, and where nothing can be known.
    judged_rises: u32,
    open_rises: u32,
    unjudged_rises: u32,
    /// An earlier epoch ended while the sides were apart.
    was_apart: bool,
}

impl Still {
    /// Takes note of a count of the new side, whether or not the other one stood still.
    pub(super) fn see(&mut self, epochs: (u32, u32), new: f64) {
        if self.epochs != epochs {
            self.rebase();
            if self.epochs.1 != epochs.1 {
                self.seen = 0.0;
            }
            self.epochs = epochs;
        }
        self.open_rises += u32::from(new > self.seen);
        self.seen = new;
    }

    /// Takes in a moment at which both stood still.
    pub(super) fn add(&mut self, moment: Moment, hidden: Hidden) {
        let Some(first) = self.first else {
            self.begin(moment, hidden);
            return;
        };
        let agrees = moment.is_as_far_apart_as(first);
        // A counter that was low may have begun anew and come far since.
        let since = if hidden == Hidden::Nothing { self.agreed_hidden } else { hidden };
        if !agrees && self.may_be_reset(moment, since) {
            self.rebase();
            self.begin(moment, hidden);
            return;
        }
        self.last = moment;
        if agrees {
            self.agree(moment, hidden);
            return;
        }
        if self.apart_moments == 0 {
            self.apart_since_unix_ns = moment.time_unix_ns;
        }
        self.apart_moments = self.apart_moments.saturating_add(1);
    }

    fn begin(&mut self, moment: Moment, hidden: Hidden) {
        (self.first, self.last) = (Some(moment), moment);
        // Two that show the same have counted the same since their beginning.
        if moment.deficit() != 0.0 {
            self.unjudged_rises += std::mem::take(&mut self.open_rises);
        }
        self.agree(moment, hidden);
    }

    fn agree(&mut self, moment: Moment, hidden: Hidden) {
        if self.since_unix_ns == 0 {
            self.since_unix_ns = moment.time_unix_ns;
        }
        (self.agreed, self.agreed_hidden) = (moment, hidden);
        self.apart_moments = 0;
        self.moments = self.moments.saturating_add(1);
        self.judged_rises += std::mem::take(&mut self.open_rises);
    }

    /// Whether a change of the offset is what a reset makes that did not show.
    fn may_be_reset(&self, moment: Moment, hidden: Hidden) -> bool {
        let deficit = moment.deficit();
        // Both have begun at zero.
        if deficit == 0.0 && hidden != Hidden::Nothing {
            return true;
        }
        let trails_by = deficit - self.agreed.deficit();
        // Who began anew lacks at least what it showed before. One that showed a single event would have had to count
        // exactly one again; that is taken for a loss.
        let lacks = |before: f64, by: f64| before >= 2.0 && by >= before;
        match hidden {
            Hidden::Nothing => false,
            // Beside a sum, each reset loses what was counted after the last sample before it.
            Hidden::ResetOfLegacy => trails_by < 0.0,
            Hidden::ResetOfNew => trails_by > 0.0,
            Hidden::Reset => lacks(self.agreed.new, trails_by) || lacks(self.agreed.legacy, -trails_by),
        }
    }

    /// Ends the span in which one offset holds.
    fn rebase(&mut self) {
        self.was_apart |= self.is_apart_now();
        if let Some(first) = self.first.take() {
            let last = if self.is_apart_now() { self.last } else { self.agreed };
            self.legacy += last.legacy - first.legacy;
            self.new += last.new - first.new;
        }
        self.apart_moments = 0;
        self.unjudged_rises += std::mem::take(&mut self.open_rises);
    }

    fn is_apart_now(&self) -> bool {
        let lasts = self.last.time_unix_ns >= self.apart_since_unix_ns.saturating_add(APART_NS);
        self.apart_moments >= APART_MOMENTS && lasts
    }

    /// Whether one side misses something that the other has.
    pub(super) fn is_apart(&self) -> bool {
        self.was_apart || self.is_apart_now()
    }

    /// What both sides have counted between the first moment and the last one.
    pub(super) fn counted(&self) -> (f64, f64) {
        let last = if self.is_apart_now() { self.last } else { self.agreed };
        let (legacy, new) = self.first.map_or((0.0, 0.0), |first| (last.legacy - first.legacy, last.new - first.new));
        (self.legacy + legacy, self.new + new)
    }

    /// What the equality rests on, in words.
    pub(super) fn evidence(&self) -> String {
        format!("both sides stood still at {} moments, each time with the same offset", self.moments)
    }

    /// How much was counted, all of which is there on both sides; nothing if that is not known.
    pub(super) fn proven(&self, sides: [&Track; 2]) -> Option<f64> {
        let newest = sides.map(|side| side.last.map_or(0, |last| last.time_unix_ns));
        let is_recent = newest[0].min(newest[1]) <= self.agreed.time_unix_ns.saturating_add(AGE_MAX_NS);
        let is_long = self.agreed.time_unix_ns >= self.since_unix_ns.saturating_add(SPAN_NS);
        let is_enough = self.moments >= MOMENTS_MIN && is_long && is_recent;
        let is_complete = self.open_rises <= RISES_MAX && self.unjudged_rises <= RISES_MAX.max(self.judged_rises);
        (is_enough && is_complete && !self.is_apart()).then_some(self.counted().0)
    }
}
