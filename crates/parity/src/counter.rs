//! Counters: the monotone sandwich.
//!
//! Two samplers of one counter see it at different moments, so their rates differ where nothing is wrong. What cannot
//! differ is order: at a time t the new side's count lies between the legacy side's last count before t and its first
//! one after t, whatever the phases, apart from an offset that stays the same from one reset to the next. As long as
//! some offset fits all samples the sandwich holds; a loss breaks it after a while, since the sides drift apart.
//!
//! The same constraints, with a factor beside the offset, say how much the sides can differ at most: the smallest margin
//! that is proven. [`Band`] keeps them in bounded memory.

mod still;
mod track;
mod waiting;

use crate::band::{Band, Interval};
use crate::drift::{Bracketed, Drift};
use crate::evidence::{EValue, Looks};
use crate::factor::exact_factor;
use crate::thinning::loss_interval;
use crate::verdict::{Amount, Cause, Demand, Finding, Needs, Side, Verdict};
use still::{Hidden, Moment, Still};
use track::{Around, Cover, Fall, Sealed, Track};

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

/// So many pairs of epochs are open at once; older ones keep only what they said of the factor.
const EPOCHS_MAX: usize = 2;

/// So many resets of one side alone are no restart of what is measured.
const ALONE_MIN: u32 = 3;
/// So many starts that are stated anew while the count goes on.
const RESTATED_MIN: u32 = 5;
/// Resets of one side alone that come more rarely than this change no query by much, as where the other side is fed by
/// an aggregator that outlives what it counts.
const ALONE_EVERY_NS: u64 = 3_600_000_000_000;

/// A side that gets a series so much later than the other has missed its birth.
const BIRTH_LATE_NS: u64 = 90_000_000_000;

/// Among the first so many samples of a side, its birth is looked at.
const BIRTH_SAMPLES: u64 = 64;

/// Of fewer events, no factor is made out.
const FACTOR_EVENTS_MIN: f64 = 10.0;

/// What a counter counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Of {
    /// Single events: each of them adds one.
    #[default]
    Events,
    /// Those of them that fall under a bound: groups of them are of any size, so that their trend says little.
    Parts,
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
    bands: Vec<((u32, u32), Pair)>,
    /// What the bands that are gone said of the factor; none if they contradict.
    closed: Closed,
    broken_since_unix_ns: Option<u64>,
    /// The trend of the deficit in the newest pair of epochs.
    drift: Option<Box<((u32, u32), Drift)>>,
    /// The epochs in which it was followed long enough: nothing of it is kept.
    followed: Option<(u32, u32)>,
    has_drifted: bool,
    /// What the trend comes to over all looks.
    looks: Looks,
    /// The moments at which both sides stood still.
    still: Still,
    /// What the other side had counted before a side that was there already got the series: what it has lost.
    unborn: Option<(Side, f64)>,
}

/// What closed epochs leave behind; most counters have none.
#[derive(Clone, Debug, Default)]
struct Closed(Option<Box<(Option<Interval>, Growth)>>);

impl Closed {
    /// The factors that fit all of them; none if no factor does.
    fn factors(&self) -> Option<Interval> {
        self.0.as_ref().map_or(Some(Interval::ALL), |closed| closed.0)
    }

    fn growth(&self) -> Growth {
        self.0.as_ref().map_or(Growth::default(), |closed| closed.1)
    }

    fn add(&mut self, pair: &Pair) {
        let factors = self.factors().and_then(|known| known.meet(pair.band.factors()?));
        self.0 = Some(Box::new((factors, self.growth().plus(pair.growth()))));
    }
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

/// Constraints of one epoch of each side.
#[derive(Clone, Debug, Default)]
struct Pair {
    band: Band,
    /// Whether both sides count from the same beginning, so that the offset must be 0.
    same_beginning: bool,
    /// Where both sides stood at the first constraint and at the last one: what they counted is to be of one span.
    first: Option<(f64, Interval)>,
    last: Option<(f64, Interval)>,
}

impl Pair {
    fn add(&mut self, new: f64, legacy: Interval) {
        self.band.add(new, legacy.low, legacy.high);
        self.first.get_or_insert((new, legacy));
        self.last = Some((new, legacy));
    }

    fn growth(&self) -> Growth {
        let (Some((from, first)), Some((to, last))) = (self.first, self.last) else { return Growth::default() };
        let middle = |interval: Interval| f64::midpoint(interval.low, interval.high);
        let slack = f64::midpoint(first.high - first.low, last.high - last.low);
        Growth { new: to - from, legacy: middle(last) - middle(first), slack }
    }
}

impl Counter {
    /// A counter of amounts.
    pub fn of_amounts() -> Counter {
        Counter { of: Of::Amounts, ..Counter::default() }
    }

    /// A counter of what falls under a bound.
    pub fn of_parts() -> Counter {
        Counter { of: Of::Parts, ..Counter::default() }
    }

    /// What it counts, as far as the counts show: nothing that happens adds a part of one.
    fn of(&self) -> Of {
        match self.legacy.has_fractions || self.new.has_fractions {
            true => Of::Amounts,
            false => self.of,
        }
    }

    /// Takes a sample of one side in, in any order among those that are not sealed.
    pub fn observe(&mut self, side: Side, count: Count) {
        self.track(side).observe(count);
    }

    /// Takes in a sample that nothing older follows: it is sealed at once.
    pub(crate) fn observe_sealed(&mut self, side: Side, count: Count) {
        self.track(side).observe_sealed(count);
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
        while let Some(side) = self.earlier() {
            if !self.compare_one(side, demand.skew_ns) {
                break;
            }
        }
        for side in [Side::Legacy, Side::New] {
            self.look_at_falls(side, demand.skew_ns);
            if self.unborn.is_none() && self.track(side).samples <= BIRTH_SAMPLES {
                self.look_at_birth(side, demand.skew_ns);
            }
        }
        self.has_drifted = self.has_drifted || self.drifts(demand);
        if let Some(drift) = &self.drift {
            self.looks.look(drift.1.samples(), || drift.1.ln_chance(demand));
        }
        self.forget(demand.skew_ns);
        self.close_old_epochs();
        if self.broken_since_unix_ns.is_none() && self.is_broken() {
            self.broken_since_unix_ns = self.new.last.map(|last| last.time_unix_ns).min(Some(watermark_unix_ns));
        }
    }

    /// Whether the trend shows a loss, which the sandwich allows too: at least half of it.
    fn drifts(&mut self, demand: &Demand) -> bool {
        let Some((epochs, drift)) = self.drift.as_deref_mut() else { return false };
        if !drift.is_due() {
            return false;
        }
        let Some(slope) = drift.loss(demand) else { return false };
        let factor = 1.0 / (1.0 - 0.5 * slope);
        let pair = self.bands.iter().find(|(known, _)| known == epochs);
        pair.is_some_and(|(_, pair)| pair.band.offsets(factor).is_some())
    }

    /// The side whose next sample is the earlier one, so that all are compared in the order of time.
    fn earlier(&self) -> Option<Side> {
        let of = |track: &Track| track.next().map(|sample| sample.time_unix_ns);
        match (of(&self.legacy), of(&self.new)) {
            (None, None) => None,
            (Some(legacy), Some(new)) if legacy < new => Some(Side::Legacy),
            (Some(_), None) => Some(Side::Legacy),
            (_, Some(_)) => Some(Side::New),
        }
    }

    /// Puts the next sample of one side between two of the other; false if they are not that far yet.
    fn compare_one(&mut self, side: Side, skew_ns: u64) -> bool {
        let Some(sample) = self.track(side).next() else { return false };
        let low = sample.time_unix_ns.saturating_sub(skew_ns);
        let high = sample.time_unix_ns.saturating_add(skew_ns);
        match self.track(side.other()).around(low, high) {
            Around::Later => return false,
            Around::Between(before, after) => {
                let low = before.time_unix_ns.saturating_sub(skew_ns);
                let high = after.time_unix_ns.saturating_add(skew_ns);
                match self.track(side).covers(sample.epoch, low, high) {
                    Cover::Later => return false,
                    Cover::Whole => self.constrain(side, sample, before, after),
                    Cover::Part => {}
                }
            }
            Around::Never => {}
        }
        self.track(side).compared += 1;
        true
    }

    fn constrain(&mut self, side: Side, sample: Sealed, before: Sealed, after: Sealed) {
        let hides =
            self.track(side).may_hide_a_reset(sample.value) || self.track(side.other()).may_hide_a_reset(before.value);
        if before.epoch != after.epoch {
            return;
        }
        let epochs = match side {
            Side::New => (before.epoch, sample.epoch),
            Side::Legacy => (sample.epoch, before.epoch),
        };
        self.stand_still(side, epochs, [sample, before, after], hides);
        if hides {
            return;
        }
        let beginnings = self.legacy.beginning_unix_ns.zip(self.new.beginning_unix_ns);
        let is_current = epochs == (self.legacy.epoch, self.new.epoch);
        let pair = self.pair(epochs);
        pair.same_beginning |= is_current && beginnings.is_some_and(|(legacy, new)| legacy == new);
        // The band's lines give the legacy count for a new one.
        match side {
            Side::New => {
                pair.add(sample.value, Interval { low: before.value, high: after.value });
                if self.of() == Of::Events {
                    self.follow(epochs, sample, before, after);
                }
            }
            Side::Legacy => pair.band.add_across(before.value, after.value, sample.value),
        }
    }

    /// Takes note where the other side showed the same before and after a sample.
    fn stand_still(&mut self, side: Side, epochs: (u32, u32), samples: [Sealed; 3], hides: bool) {
        let [sample, before, after] = samples;
        let (legacy, new) = match side {
            Side::New => (before.value, sample.value),
            Side::Legacy => (sample.value, before.value),
        };
        self.still.see(epochs, new);
        if before.value == after.value {
            let hidden = match (hides, self.legacy.is_sum, self.new.is_sum) {
                (false, ..) | (_, true, true) => Hidden::Nothing,
                (_, false, false) => Hidden::Reset,
                (_, false, true) => Hidden::ResetOfLegacy,
                (_, true, false) => Hidden::ResetOfNew,
            };
            self.still.add(Moment { time_unix_ns: sample.time_unix_ns, legacy, new }, hidden);
        }
    }

    /// The constraints of two epochs, of which there are few: in order.
    fn pair(&mut self, epochs: (u32, u32)) -> &mut Pair {
        let at = self.bands.partition_point(|(known, _)| *known < epochs);
        if self.bands.get(at).is_none_or(|(known, _)| *known != epochs) {
            if self.bands.len() == self.bands.capacity() {
                self.bands.reserve_exact(1);
            }
            self.bands.insert(at, (epochs, Pair::default()));
        }
        &mut self.bands[at].1
    }

    fn follow(&mut self, epochs: (u32, u32), sample: Sealed, before: Sealed, after: Sealed) {
        if self.followed == Some(epochs) {
            return;
        }
        self.followed = None;
        let whole = (after.time_unix_ns - before.time_unix_ns).max(1) as f64;
        let place = sample.time_unix_ns.saturating_sub(before.time_unix_ns) as f64 / whole;
        let drift = self.drift.get_or_insert_with(|| Box::new((epochs, Drift::default())));
        if drift.0 != epochs {
            **drift = (epochs, Drift::default());
            self.looks.begin_anew();
        }
        // Samples in one bracket err together.
        if before.time_unix_ns <= drift.1.bracket_unix_ns {
            return;
        }
        drift.1.bracket_unix_ns = before.time_unix_ns;
        let (time_unix_ns, value) = (sample.time_unix_ns, sample.value);
        drift.1.add(Bracketed { time_unix_ns, value, low: before.value, high: after.value, place });
        if drift.1.is_over() {
            self.followed = Some(epochs);
            self.drift = None;
        }
    }

    /// Takes note that a side shows sums, of deltas or of several writers, in which no reset of the source shows.
    pub fn adds_up(&mut self, side: Side) {
        self.track(side).is_sum = true;
    }

    /// The samples of a side that are kept, by time.
    pub(crate) fn kept(&self, side: Side) -> impl Iterator<Item = (u64, f64)> {
        let track = if side == Side::Legacy { &self.legacy } else { &self.new };
        track.kept().map(|sample| (sample.time_unix_ns, sample.value))
    }

    /// Whether a side counts parts of one, so that it counts no events.
    pub(crate) fn has_fractions(&self, side: Side) -> bool {
        if side == Side::Legacy { self.legacy.has_fractions } else { self.new.has_fractions }
    }

    /// What a side counted between a moment and its newest sample; nothing if it began anew since.
    pub(crate) fn rise_since(&self, side: Side, time_unix_ns: u64) -> f64 {
        let track = if side == Side::Legacy { &self.legacy } else { &self.new };
        match (track.at_or_after(time_unix_ns), track.last) {
            (Some(from), Some(last)) if from.epoch == track.epoch => last.value - from.value,
            _ => 0.0,
        }
    }

    /// Takes note that a side was there before it had this series.
    pub fn is_born_late(&mut self, side: Side) {
        self.track(side).is_late = true;
    }

    /// Looks at the falls of one side that the other has come past: whether it fell too.
    fn look_at_falls(&mut self, side: Side, skew_ns: u64) {
        while let Some(fall) = self.track(side).falls.front().copied() {
            match self.is_alone(side, fall, skew_ns) {
                None => break,
                Some(is_alone) => self.track(side).alone += u32::from(is_alone),
            }
            self.track(side).falls.pop_front();
        }
    }

    /// Whether the other side cannot have fallen with this one: it stands higher than this side comes by then, and so
    /// higher than anything that began anew can be.
    fn is_alone(&mut self, side: Side, fall: Fall, skew_ns: u64) -> Option<bool> {
        let other = self.track(side.other());
        let is_sum = other.is_sum;
        let low = fall.before_unix_ns.saturating_sub(skew_ns);
        let (before, after) = match other.around(low, fall.after_unix_ns.saturating_add(skew_ns)) {
            Around::Later => return None,
            Around::Never => return Some(false),
            Around::Between(before, after) => (before, after),
        };
        let later = self.track(side).at_or_after(after.time_unix_ns.saturating_add(skew_ns))?;
        let goes_on = before.epoch == after.epoch && later.epoch == fall.epoch && after.value > later.value;
        Some(!is_sum && goes_on)
    }

    /// What one side counted before the other, which was there already, got the series without saying since when it
    /// counts: to queries, that never happened there.
    fn look_at_birth(&mut self, side: Side, skew_ns: u64) {
        let track = self.track(side);
        let Some(birth) = track.birth.filter(|birth| track.is_late && !birth.has_start && birth.value > 0.0) else {
            return;
        };
        let other = self.track(side.other());
        let Some(others) = other.birth else { return };
        // Of two that are born together, the one that is looked at later shows more at first, and that is all.
        let before = other.at_or_before(birth.time_unix_ns.saturating_sub(skew_ns));
        let Some(after) = other.at_or_after(birth.time_unix_ns.saturating_add(skew_ns)) else { return };
        let has_missed = other.at_or_before(birth.time_unix_ns.saturating_sub(BIRTH_LATE_NS)).is_some();
        let from = if others.has_start { 0.0 } else { others.value };
        let lost = match before {
            // Both count the same, and one shows at once what the other has shown step by step.
            Some(before) if has_missed && (before.value..=after.value).contains(&birth.value) => birth.value - from,
            Some(before) if has_missed => before.value - from,
            _ if others.has_start => others.value.min(birth.value),
            _ => 0.0,
        };
        if lost > 0.0 {
            self.unborn = Some((side, lost));
        }
    }

    /// Forgets what no sample that is still to be compared can need.
    fn forget(&mut self, skew_ns: u64) {
        let horizons = [Side::Legacy, Side::New].map(|side| {
            let next = self.track(side.other()).next().map_or(u64::MAX, |sample| sample.time_unix_ns);
            let last = self.track(side.other()).last.map_or(0, |last| last.time_unix_ns);
            let fall = self.track(side.other()).falls.front().map_or(u64::MAX, |fall| fall.before_unix_ns);
            next.min(last).min(fall).saturating_sub(skew_ns)
        });
        for side in [Side::Legacy, Side::New] {
            // A bracket of the other side begins before the sample, and this side must be known from there on.
            let bracket = self.track(side.other()).at_or_before(horizons[side.other() as usize]);
            let bracket = bracket.map_or(u64::MAX, |sample| sample.time_unix_ns.saturating_sub(skew_ns));
            self.track(side).forget_before(horizons[side as usize].min(bracket));
        }
    }

    fn close_old_epochs(&mut self) {
        while self.bands.len() > EPOCHS_MAX {
            let (_, pair) = self.bands.remove(0);
            self.closed.add(&pair);
        }
    }

    /// The factors legacy = factor * new that fit everything; none if no factor does.
    fn factors(&self) -> Option<Interval> {
        self.bands.iter().try_fold(self.closed.factors()?, |known, (_, pair)| known.meet(pair.band.factors()?))
    }

    fn is_broken(&self) -> bool {
        // One factor is tried, which is far cheaper than to find all that fit.
        if self.has_drifted || self.still.is_apart() {
            return true;
        }
        let is_closed_broken = self.closed.factors().is_none_or(|factors| !factors.contains(1.0));
        let fits = |pair: &Pair| pair.band.is_empty() || pair.band.offsets(1.0).is_some();
        is_closed_broken || !self.bands.iter().map(|(_, pair)| pair).all(fits) || self.first_lost().is_some()
    }

    /// Whether there is anything that a verdict could call different, which is known at no cost.
    pub(crate) fn may_differ(&self) -> bool {
        self.broken_since_unix_ns.is_some() || self.unborn.is_some() || self.injected().is_some()
    }

    /// Where both sides count from the same beginning and an offset remains.
    fn first_lost(&self) -> Option<(Side, f64)> {
        let offsets =
            self.bands.iter().filter(|(_, pair)| pair.same_beginning).filter_map(|(_, pair)| pair.band.offsets(1.0));
        offsets.into_iter().find_map(|offsets| match offsets {
            // The legacy side counts more: the new one has lost its first.
            Interval { low, .. } if low > 0.0 => Some((Side::New, low)),
            Interval { high, .. } if high < 0.0 => Some((Side::Legacy, -high)),
            _ => None,
        })
    }

    /// By how much the new side trails since both are compared.
    pub(crate) fn deficit(&self) -> f64 {
        let growth = self.growth();
        growth.legacy - growth.new
    }

    /// What of the legacy side's count is missing on the new one, or the other way round.
    pub(crate) fn loss(&self, demand: &Demand) -> Cause {
        let seen = self.growth();
        let (side, events, kept) = match seen.new <= seen.legacy {
            true => (Side::New, seen.legacy, seen.new),
            false => (Side::Legacy, seen.new, seen.legacy),
        };
        let lost = loss_interval(events, events - kept, seen.slack, demand.confidence);
        Cause::Loss { side, ratio_low: lost.low, ratio_high: lost.high }
    }

    /// How strong a difference is: a trend rests on chance, a broken sandwich and whatever else is found does not.
    pub(crate) fn strength(&self) -> EValue {
        let is_broken = || self.factors().is_none_or(|factors| !factors.contains(1.0));
        let is_apart = self.still.is_apart();
        match self.has_drifted && !is_apart && !is_broken() && self.injected().is_none() && self.first_lost().is_none()
        {
            true => self.looks.strength(),
            false => EValue::CERTAIN,
        }
    }

    /// What both sides have counted where they could be compared: between moments at which both stood still, or between
    /// the samples of the sandwich, whichever tells of more.
    fn growth(&self) -> Growth {
        let between = self.bands.iter().fold(self.closed.growth(), |sum, (_, pair)| sum.plus(pair.growth()));
        let (legacy, new) = self.still.counted();
        match legacy.max(new) >= between.legacy.max(between.new) {
            true => Growth { new, legacy, slack: 0.0 },
            false => between,
        }
    }

    /// The verdict about everything that is sealed.
    pub fn verdict(&self, demand: &Demand) -> Verdict {
        for (side, track) in [(Side::Legacy, &self.legacy), (Side::New, &self.new)] {
            if track.samples == 0 {
                return Verdict::Inconclusive { needs: Needs::Data { from: side } };
            }
        }
        if let Some(cause) = self.injected() {
            return self.different(cause);
        }
        let seen = self.growth();
        let is_apart = self.still.is_apart();
        if self.bands.is_empty() && self.closed.growth().new == 0.0 && !is_apart {
            return match self.unborn {
                Some(lost) => self.first_increment(lost, demand),
                None => self.all_there().unwrap_or(Verdict::Inconclusive { needs: Needs::Overlap }),
            };
        }
        let factors = if self.has_drifted || is_apart { None } else { self.factors() };
        let Some(factors) = factors.filter(|factors| factors.contains(1.0)) else {
            return self.broken(seen, demand);
        };
        if let Some(lost) = self.first_lost().or(self.unborn) {
            return self.first_increment(lost, demand);
        }
        if let Some(equal) = self.all_there() {
            return equal;
        }
        // new = legacy / factor: the margin is relative to the legacy side. One event that nobody sees is always possible.
        let most = if factors.low > 0.0 { 1.0 / factors.low } else { f64::INFINITY };
        let ratios = Interval { low: 1.0 / factors.high, high: most };
        let one_event = if self.of() != Of::Amounts { 1.0 / seen.new.max(f64::MIN_POSITIVE) } else { 0.0 };
        let margin_ratio = ratios.distance_max(1.0).max(one_event);
        if margin_ratio <= demand.margin_ratio {
            return Verdict::Equivalent { margin_ratio, confidence: 1.0, remark: None };
        }
        let more = seen.new * (margin_ratio / demand.margin_ratio - 1.0);
        let more = if self.of() == Of::Amounts { more } else { more.ceil() };
        let more = if more.is_finite() { more } else { 2.0 / demand.margin_ratio };
        Verdict::Inconclusive { needs: Needs::Events { seen: seen.new, more, margin_ratio } }
    }

    /// Both sides have stood still often enough to say that what they counted is the same, to the last event.
    fn all_there(&self) -> Option<Verdict> {
        let counted = self.still.proven([&self.legacy, &self.new])?;
        let evidence = self.still.evidence();
        let remark = Finding { cause: Cause::AllThere { counted }, evidence, since_unix_ns: None };
        Some(Verdict::Equivalent { margin_ratio: 0.0, confidence: 1.0, remark: Some(remark) })
    }

    /// The sandwich is broken: the sides are not the same. How much they differ decides whether that matters.
    fn broken(&self, seen: Growth, demand: &Demand) -> Verdict {
        let ratio = seen.new / seen.legacy.max(f64::MIN_POSITIVE);
        // One of two is lost more often than everything is there twice.
        let are_many = self.of() == Of::Amounts || seen.new.max(seen.legacy) >= FACTOR_EVENTS_MIN;
        if let Some(cause) = exact_factor(ratio, seen.slack / seen.legacy.max(1.0)).filter(|_| are_many) {
            return self.different(cause);
        }
        if self.of() == Of::Amounts {
            return self.other_amount(ratio - 1.0, seen.slack / seen.legacy.max(f64::MIN_POSITIVE), demand);
        }
        let cause = self.loss(demand);
        match cause {
            Cause::Loss { ratio_high, .. } if ratio_high <= demand.margin_ratio => Verdict::Equivalent {
                margin_ratio: ratio_high,
                confidence: demand.confidence,
                remark: Some(self.finding(cause)),
            },
            cause => self.different(cause),
        }
    }

    /// Amounts have no chance of loss that could be estimated, only a ratio that is known as closely as the samplers allow.
    fn other_amount(&self, ratio: f64, error: f64, demand: &Demand) -> Verdict {
        let side = if ratio <= 0.0 { Side::New } else { Side::Legacy };
        let (ratio_low, ratio_high) = ((ratio.abs() - error).max(0.0), ratio.abs() + error);
        let finding = self.finding(match self.of {
            Of::Amounts => Cause::Level { ratio },
            Of::Events | Of::Parts => Cause::Loss { side, ratio_low, ratio_high },
        });
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

    /// One side began anew again and again while the other went on.
    fn injected(&self) -> Option<Cause> {
        [(Side::New, &self.new, &self.legacy), (Side::Legacy, &self.legacy, &self.new)].into_iter().find_map(
            |(side, track, other)| {
                let begun = track.birth.map_or(0, |birth| birth.time_unix_ns);
                let seen_ns = track.last.map_or(0, |last| last.time_unix_ns).saturating_sub(begun);
                let is_often = track.alone >= ALONE_MIN && seen_ns / u64::from(track.alone) < ALONE_EVERY_NS;
                let restates = track.restated >= RESTATED_MIN && other.resets * 10 <= track.restated && !other.is_sum;
                let resets = if restates { track.restated } else { track.alone };
                (is_often || restates).then_some(Cause::InjectedResets { side, resets })
            },
        )
    }

    fn different(&self, cause: Cause) -> Verdict {
        Verdict::Different(self.finding(cause))
    }

    fn finding(&self, cause: Cause) -> Finding {
        let of = |track: &Track| track.last.map_or(0.0, |last| last.value);
        let evidence = format!(
            "legacy stands at {} after {} samples, new at {} after {}; no offset between them fits all samples",
            Amount(of(&self.legacy)),
            self.legacy.samples,
            Amount(of(&self.new)),
            self.new.samples,
        );
        Finding { cause, evidence, since_unix_ns: self.broken_since_unix_ns }
    }
}

#[cfg(test)]
mod tests;
