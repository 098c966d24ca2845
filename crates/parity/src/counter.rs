//! Counters: the monotone sandwich.
//!
//! Two samplers of one counter see it at different moments, so their rates differ where nothing is wrong. What cannot
//! differ is order: at a time t the new side's count lies between the legacy side's last count before t and its first
//! one after t, whatever the phases, apart from an offset that stays the same from one reset to the next. As long as
//! some offset fits all samples the sandwich holds; a loss breaks it after a while, since the sides drift apart.
//!
//! The same constraints, with a factor beside the offset, say how much the sides can differ at most: the smallest margin
//! that is proven. [`Band`] keeps them in bounded memory.

use std::collections::{BTreeMap, VecDeque};

use crate::band::{Band, Interval};
use crate::factor::exact_factor;
use crate::thinning::loss_interval;
use crate::verdict::{Cause, Demand, Finding, Needs, Side, Verdict};

/// A cumulative count at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count {
    /// When.
    pub time_unix_ns: u64,
    /// Since when it counts; 0 if unknown.
    pub start_unix_ns: u64,
    /// The count.
    pub value: f64,
}

/// So many samples of a side wait to be sealed; beyond it the oldest are sealed early.
const WAITING_MAX: usize = 4096;

/// So many pairs of epochs are open at once; older ones keep only what they said of the factor.
const EPOCHS_MAX: usize = 2;

/// What a counter counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Of {
    /// Single events: each of them adds one.
    #[default]
    Events,
    /// An amount that events add to, such as the sum of a histogram: nothing follows from how large it is.
    Amounts,
}

/// Compares a counter of one side with that of the other.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    of: Of,
    legacy: Track,
    new: Track,
    /// Constraints by the epochs of the two sides.
    bands: BTreeMap<(u32, u32), Pair>,
    /// What the bands that are gone said of the factor; none if they contradict.
    closed: Closed,
    broken_since_unix_ns: Option<u64>,
}

/// What closed epochs leave behind.
#[derive(Clone, Copy, Debug)]
struct Closed {
    factors: Option<Interval>,
    growth: Growth,
}

/// What was counted where both sides could be compared.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    new: f64,
    legacy: f64,
    /// By how much `legacy` may be wrong, since the sides are not sampled at the same moments.
    slack: f64,
}

impl Growth {
    fn plus(self, other: Growth) -> Growth {
        Growth { new: self.new + other.new, legacy: self.legacy + other.legacy, slack: self.slack + other.slack }
    }
}

impl Default for Closed {
    fn default() -> Self {
        Closed { factors: Some(Interval::ALL), growth: Growth::default() }
    }
}

/// Constraints of one epoch of each side.
#[derive(Clone, Debug, Default)]
struct Pair {
    band: Band,
    /// Whether both sides count from the same beginning, so that the offset must be 0.
    same_beginning: bool,
    /// Where the legacy side stood at the first constraint and at the last one.
    first: Option<Interval>,
    last: Option<Interval>,
}

impl Pair {
    fn add(&mut self, new: f64, legacy: Interval) {
        self.band.add(new, legacy.low, legacy.high);
        self.first.get_or_insert(legacy);
        self.last = Some(legacy);
    }

    fn growth(&self) -> Growth {
        let (Some(first), Some(last)) = (self.first, self.last) else { return Growth::default() };
        let middle = |interval: Interval| f64::midpoint(interval.low, interval.high);
        let slack = f64::midpoint(first.high - first.low, last.high - last.low);
        Growth { new: self.band.growth(), legacy: middle(last) - middle(first), slack }
    }
}

/// A sample with the number of its epoch.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    time_unix_ns: u64,
    value: f64,
    epoch: u32,
}

/// The samples of one side.
#[derive(Clone, Debug, Default)]
struct Track {
    /// Not sealed yet, by time.
    waiting: BTreeMap<u64, Count>,
    /// Sealed and still needed, in order.
    sealed: VecDeque<Sealed>,
    /// How many of them were compared with the other side.
    compared: usize,
    epoch: u32,
    last: Option<Count>,
    first_unix_ns: Option<u64>,
    /// When the current epoch began, where that is known.
    beginning_unix_ns: Option<u64>,
    resets: u32,
    samples: u64,
}

impl Track {
    fn observe(&mut self, count: Count) {
        // What is sealed stays as it was judged; a second sample of one moment is the same one, sent again.
        if self.last.is_some_and(|last| count.time_unix_ns <= last.time_unix_ns) || !count.value.is_finite() {
            return;
        }
        self.waiting.insert(count.time_unix_ns, count);
        if self.waiting.len() > WAITING_MAX
            && let Some((_, oldest)) = self.waiting.pop_first()
        {
            self.seal_one(oldest);
        }
    }

    fn seal(&mut self, watermark_unix_ns: u64) {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() <= watermark_unix_ns) {
            let count = entry.remove();
            self.seal_one(count);
        }
    }

    fn seal_one(&mut self, count: Count) {
        let begins = |start: u64| (start != 0).then_some(start);
        match self.last {
            None => self.beginning_unix_ns = begins(count.start_unix_ns),
            Some(last) => {
                // Exporters that restate the start time on each push only move it a little; a fall is always a reset.
                let restarted = count.start_unix_ns > last.time_unix_ns && last.start_unix_ns != 0;
                if restarted || count.value < last.value {
                    self.epoch += 1;
                    self.resets += 1;
                    self.beginning_unix_ns = begins(count.start_unix_ns);
                }
            }
        }
        self.first_unix_ns.get_or_insert(count.time_unix_ns);
        self.last = Some(count);
        self.samples += 1;
        self.sealed.push_back(Sealed { time_unix_ns: count.time_unix_ns, value: count.value, epoch: self.epoch });
    }

    /// The last sample at or before, and the first at or after; none while the second is not there yet.
    fn around(&self, low_unix_ns: u64, high_unix_ns: u64) -> Around {
        let after = self.sealed.partition_point(|sealed| sealed.time_unix_ns < high_unix_ns);
        let before = self.sealed.partition_point(|sealed| sealed.time_unix_ns <= low_unix_ns);
        match (before.checked_sub(1).map(|at| self.sealed[at]), self.sealed.get(after)) {
            (_, None) => Around::Later,
            (None, Some(_)) => Around::Never,
            (Some(low), Some(high)) => Around::Between(low, *high),
        }
    }

    /// The first sample that was not compared yet.
    fn next(&self) -> Option<Sealed> {
        self.sealed.get(self.compared).copied()
    }

    /// Forgets what lies before this time, but for the last sample there. A side that waits for one that stopped forgets
    /// its oldest samples too.
    fn forget_before(&mut self, time_unix_ns: u64) {
        let is_old = |track: &Track| {
            let second = track.sealed.get(1).is_some_and(|second| second.time_unix_ns <= time_unix_ns);
            (track.compared > 0 && second) || track.sealed.len() > WAITING_MAX
        };
        while is_old(self) {
            self.sealed.pop_front();
            self.compared = self.compared.saturating_sub(1);
        }
    }
}

enum Around {
    Between(Sealed, Sealed),
    /// The other side is not that far yet.
    Later,
    /// The other side began later.
    Never,
}

impl Counter {
    /// A counter of amounts.
    pub fn of_amounts() -> Counter {
        Counter { of: Of::Amounts, ..Counter::default() }
    }

    /// Takes a sample of one side in, in any order among those that are not sealed.
    pub fn observe(&mut self, side: Side, count: Count) {
        self.track(side).observe(count);
    }

    fn track(&mut self, side: Side) -> &mut Track {
        match side {
            Side::Legacy => &mut self.legacy,
            Side::New => &mut self.new,
        }
    }

    /// Judges everything up to the watermark.
    pub fn seal(&mut self, watermark_unix_ns: u64, demand: &Demand) {
        self.legacy.seal(watermark_unix_ns);
        self.new.seal(watermark_unix_ns);
        self.compare(Side::New, demand.skew_ns);
        self.compare(Side::Legacy, demand.skew_ns);
        self.forget(demand.skew_ns);
        self.close_old_epochs();
        if self.broken_since_unix_ns.is_none() && self.is_broken() {
            self.broken_since_unix_ns = self.new.last.map(|last| last.time_unix_ns).min(Some(watermark_unix_ns));
        }
    }

    /// Puts every sample of one side between two of the other, as far as the other has come.
    fn compare(&mut self, side: Side, skew_ns: u64) {
        while let Some(sample) = self.track(side).next() {
            let low = sample.time_unix_ns.saturating_sub(skew_ns);
            let high = sample.time_unix_ns.saturating_add(skew_ns);
            match self.track(side.other()).around(low, high) {
                Around::Later => break,
                Around::Between(before, after) => self.constrain(side, sample, before, after),
                Around::Never => {}
            }
            self.track(side).compared += 1;
        }
    }

    fn constrain(&mut self, side: Side, sample: Sealed, before: Sealed, after: Sealed) {
        if before.epoch != after.epoch {
            return;
        }
        let epochs = match side {
            Side::New => (before.epoch, sample.epoch),
            Side::Legacy => (sample.epoch, before.epoch),
        };
        let beginnings = self.legacy.beginning_unix_ns.zip(self.new.beginning_unix_ns);
        let is_current = epochs == (self.legacy.epoch, self.new.epoch);
        let pair = self.bands.entry(epochs).or_default();
        pair.same_beginning |= is_current && beginnings.is_some_and(|(legacy, new)| legacy == new);
        // The band's lines give the legacy count for a new one.
        match side {
            Side::New => pair.add(sample.value, Interval { low: before.value, high: after.value }),
            Side::Legacy => pair.band.add_across(before.value, after.value, sample.value),
        }
    }

    /// Forgets what no sample that is still to be compared can need.
    fn forget(&mut self, skew_ns: u64) {
        for side in [Side::Legacy, Side::New] {
            let next = self.track(side.other()).next().map_or(u64::MAX, |sample| sample.time_unix_ns);
            let last = self.track(side.other()).last.map_or(0, |last| last.time_unix_ns);
            self.track(side).forget_before(next.min(last).saturating_sub(skew_ns));
        }
    }

    fn close_old_epochs(&mut self) {
        while self.bands.len() > EPOCHS_MAX {
            let Some((_, pair)) = self.bands.pop_first() else { break };
            let factors = pair.band.factors();
            self.closed.growth = self.closed.growth.plus(pair.growth());
            self.closed.factors = self.closed.factors.and_then(|known| known.meet(factors?));
        }
    }

    /// The factors legacy = factor * new that fit everything; none if no factor does.
    fn factors(&self) -> Option<Interval> {
        self.bands.values().try_fold(self.closed.factors?, |known, pair| known.meet(pair.band.factors()?))
    }

    fn is_broken(&self) -> bool {
        // One factor is tried, which is far cheaper than to find all that fit.
        let is_closed_broken = self.closed.factors.is_none_or(|factors| !factors.contains(1.0));
        let fits = |pair: &Pair| pair.band.is_empty() || pair.band.offsets(1.0).is_some();
        is_closed_broken || !self.bands.values().all(fits) || self.first_lost().is_some()
    }

    /// Where both sides count from the same beginning and an offset remains.
    fn first_lost(&self) -> Option<(Side, f64)> {
        let offsets = self.bands.values().filter(|pair| pair.same_beginning).filter_map(|pair| pair.band.offsets(1.0));
        offsets.into_iter().find_map(|offsets| match offsets {
            // The legacy side counts more: the new one has lost its first.
            Interval { low, .. } if low > 0.0 => Some((Side::New, low)),
            Interval { high, .. } if high < 0.0 => Some((Side::Legacy, -high)),
            _ => None,
        })
    }

    /// What both sides have counted where they could be compared.
    fn growth(&self) -> Growth {
        self.bands.values().fold(self.closed.growth, |sum, pair| sum.plus(pair.growth()))
    }

    /// The verdict about everything that is sealed.
    pub fn verdict(&self, demand: &Demand) -> Verdict {
        for (side, track) in [(Side::Legacy, &self.legacy), (Side::New, &self.new)] {
            if track.samples == 0 {
                return Verdict::Inconclusive { needs: Needs::Data { from: side } };
            }
        }
        let seen = self.growth();
        if self.bands.is_empty() && seen.new == 0.0 {
            return Verdict::Inconclusive { needs: Needs::Overlap };
        }
        let Some(factors) = self.factors().filter(|factors| factors.contains(1.0)) else {
            return self.broken(seen, demand);
        };
        if let Some(lost) = self.first_lost() {
            return self.first_increment(lost, demand);
        }
        // new = legacy / factor: the margin is relative to the legacy side. One event that nobody sees is always possible.
        let most = if factors.low > 0.0 { 1.0 / factors.low } else { f64::INFINITY };
        let ratios = Interval { low: 1.0 / factors.high, high: most };
        let one_event = if self.of == Of::Events { 1.0 / seen.new.max(f64::MIN_POSITIVE) } else { 0.0 };
        let margin_ratio = ratios.distance_max(1.0).max(one_event);
        if margin_ratio <= demand.margin_ratio {
            return Verdict::Equivalent { margin_ratio, confidence: 1.0, remark: None };
        }
        let more = seen.new * (margin_ratio / demand.margin_ratio - 1.0);
        let more = if more.is_finite() { more } else { (2.0 / demand.margin_ratio - seen.new).max(1.0) };
        Verdict::Inconclusive { needs: Needs::Events { seen: seen.new, more, margin_ratio } }
    }

    /// The sandwich is broken: the sides are not the same. How much they differ decides whether that matters.
    fn broken(&self, seen: Growth, demand: &Demand) -> Verdict {
        if self.legacy.resets != self.new.resets {
            return self.different(self.unexplained());
        }
        let ratio = seen.new / seen.legacy.max(f64::MIN_POSITIVE);
        if let Some(cause) = exact_factor(ratio, seen.slack / seen.legacy.max(1.0)) {
            return self.different(cause);
        }
        if self.of == Of::Amounts {
            return self.other_amount(ratio - 1.0, seen.slack / seen.legacy.max(f64::MIN_POSITIVE), demand);
        }
        let (side, events, kept) = match seen.new <= seen.legacy {
            true => (Side::New, seen.legacy, seen.new),
            false => (Side::Legacy, seen.new, seen.legacy),
        };
        let lost = loss_interval(events, events - kept, seen.slack, demand.confidence);
        let cause = Cause::Loss { side, ratio_low: lost.low, ratio_high: lost.high };
        match lost.high <= demand.margin_ratio {
            true => Verdict::Equivalent {
                margin_ratio: lost.high,
                confidence: demand.confidence,
                remark: Some(self.finding(cause)),
            },
            false => self.different(cause),
        }
    }

    /// Amounts have no chance of loss that could be estimated, only a ratio that is known as closely as the samplers allow.
    fn other_amount(&self, ratio: f64, error: f64, demand: &Demand) -> Verdict {
        let finding = self.finding(Cause::Level { ratio });
        let margin_ratio = ratio.abs() + error;
        if margin_ratio <= demand.margin_ratio {
            return Verdict::Equivalent { margin_ratio, confidence: 1.0, remark: Some(finding) };
        }
        match ratio.abs() - error > demand.margin_ratio {
            true => Verdict::Different(finding),
            false => Verdict::Inconclusive { needs: Needs::Steadiness { margin_ratio } },
        }
    }

    fn first_increment(&self, (side, amount): (Side, f64), demand: &Demand) -> Verdict {
        let finding = self.finding(Cause::FirstIncrementLost { side, amount });
        let ratio = amount / self.legacy.last.map_or(1.0, |last| last.value.max(1.0));
        match ratio <= demand.margin_ratio {
            true => Verdict::Equivalent { margin_ratio: ratio, confidence: 1.0, remark: Some(finding) },
            false => Verdict::Different(finding),
        }
    }

    /// No factor fits: one side began anew alone, or something else is wrong.
    fn unexplained(&self) -> Cause {
        let (legacy, new) = (self.legacy.resets, self.new.resets);
        match legacy.cmp(&new) {
            std::cmp::Ordering::Less => Cause::InjectedResets { side: Side::New, resets: new - legacy },
            std::cmp::Ordering::Greater => Cause::InjectedResets { side: Side::Legacy, resets: legacy - new },
            std::cmp::Ordering::Equal => Cause::Diverged,
        }
    }

    fn different(&self, cause: Cause) -> Verdict {
        Verdict::Different(self.finding(cause))
    }

    fn finding(&self, cause: Cause) -> Finding {
        let of = |track: &Track| track.last.map_or(0.0, |last| last.value);
        let evidence = format!(
            "legacy stands at {} after {} samples, new at {} after {}; no offset between them fits all samples",
            of(&self.legacy),
            self.legacy.samples,
            of(&self.new),
            self.new.samples,
        );
        Finding { cause, evidence, since_unix_ns: self.broken_since_unix_ns }
    }
}

#[cfg(test)]
mod tests;
