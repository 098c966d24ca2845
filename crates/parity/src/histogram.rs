//! Histograms: counts, sums, and counts up to shared bounds, each as a counter.
//!
//! A histogram is as many counters as it has bounds: "how many were at most this". Where both sides have a bound, its
//! counter must agree, by the same sandwich as every other. Exponential histograms have the powers of two among their
//! bounds at every scale from 0 up, so that any two of them share exact bounds. Where nothing is shared, quantiles are
//! compared as brackets: each side says only between which bounds a quantile lies.

mod waiting;
mod writers;

use std::borrow::Cow;
use std::sync::Arc;

use crate::counter::{Count, Counter};
use crate::evidence::EValue;
use crate::members::Form;
use crate::verdict::{Cause, Demand, Finding, Needs, Percent, Reason, Side, Verdict};
use waiting::{WAITING_MAX, Waiting};
use writers::Writers;

/// So many bounds are compared; of more, they are taken evenly.
const BOUNDS_MAX: usize = 32;

/// The quantiles that are compared where no bounds are shared.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Quantiles of fewer values say nothing.
const QUANTILE_VALUES_MIN: f64 = 200.0;

/// How the values of a histogram are distributed.
#[derive(Clone, Debug, PartialEq)]
pub enum Buckets {
    /// Counts up to and including each bound, ascending.
    Explicit(Vec<(f64, f64)>),
    /// An exponential histogram.
    Exponential {
        /// The base of the bounds is 2^(2^-scale).
        scale: i32,
        /// How many are zero, or so small that they count as zero.
        zero: f64,
        /// How many are negative.
        negative: f64,
        /// The index of the first bucket of positive values.
        offset: i32,
        /// How many lie in each bucket from there on.
        positive: Vec<f64>,
    },
}

/// A cumulative histogram at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// When.
    pub time_unix_ns: u64,
    /// Since when it counts; 0 if unknown.
    pub start_unix_ns: u64,
    /// How many values.
    pub count: f64,
    /// Their sum, if it is told.
    pub sum: Option<f64>,
    /// How they are distributed.
    pub buckets: Buckets,
}

impl Buckets {
    /// Counts up to and including bounds that do not depend on the scale.
    fn cumulative(&self) -> Cow<'_, [(f64, f64)]> {
        match self {
            Buckets::Explicit(buckets) => Cow::Borrowed(buckets),
            Buckets::Exponential { scale, zero, negative, offset, positive } => {
                // Below scale 0 only every second, fourth, … power of two is a bound.
                let step = 1i64 << (-scale).clamp(0, 11);
                let per_power = 1i64 << (*scale).clamp(0, 20);
                let mut counts = vec![];
                let mut below = zero + negative;
                let mut index = i64::from(*offset);
                for bucket in positive {
                    // Bucket i ends at base^(i + 1).
                    below += bucket;
                    index += 1;
                    if index % per_power == 0 {
                        let power = (index / per_power) * step;
                        counts.push((2f64.powi(i32::try_from(power).unwrap_or(i32::MAX)), below));
                    }
                }
                // The power of two that everything lies under.
                let above = index.div_euclid(per_power) + i64::from(index.rem_euclid(per_power) != 0);
                let bound = 2f64.powi(i32::try_from(above * step).unwrap_or(i32::MAX));
                if counts.last().is_none_or(|(last, _)| *last < bound) {
                    counts.push((bound, below));
                }
                Cow::Owned(counts)
            }
        }
    }
}

impl Buckets {
    /// Whether a bound is among those that it has, and not between two of them.
    fn tells(&self, cumulative: &[(f64, f64)], bound: f64) -> bool {
        match self {
            Buckets::Explicit(_) => {
                let at = cumulative.partition_point(|(known, _)| *known < bound && !same(*known, bound));
                cumulative.get(at).is_some_and(|(known, _)| same(*known, bound))
            }
            Buckets::Exponential { scale, .. } => {
                let step = 2f64.powi((-scale).clamp(0, 11));
                let power = bound.log2() / step;
                power.is_finite() && same(power, power.round())
            }
        }
    }
}

/// Compares a histogram of one side with that of the other.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    writers: [Writers; 2],
    waiting: [Waiting; 2],
    count: Counter,
    sum: Option<Counter>,
    /// The shared bounds that are compared, chosen when both sides are known; before, those of the side that is.
    bounds: Vec<(f64, Counter)>,
    first: [Option<Arc<Distribution>>; 2],
    last: [Option<Arc<Distribution>>; 2],
    sums: [bool; 2],
}

impl Histogram {
    /// Takes a histogram of one of several writers of a side in; gives when and how many values the side then has.
    pub fn observe_writer(
        &mut self,
        side: Side,
        writer: u64,
        form: Form,
        distribution: Distribution,
    ) -> Option<(u64, f64)> {
        let total = self.writers[side as usize].add(writer, form, Arc::new(distribution))?;
        let shown = (total.time_unix_ns, total.count);
        self.wait(side, total);
        Some(shown)
    }

    /// What shows that two writers of a side share one identity, which those of the other side do not.
    pub(crate) fn shared_identity(&self, side: Side) -> Option<String> {
        let [own, other] = [side, side.other()].map(|side| self.writers[side as usize].turns());
        own.are_two_writers(other).then(|| own.evidence())
    }

    /// Takes a histogram of one side in, in any order among those that are not sealed.
    pub fn observe(&mut self, side: Side, distribution: Distribution) {
        self.wait(side, Arc::new(distribution));
    }

    fn wait(&mut self, side: Side, distribution: Arc<Distribution>) {
        // What is sealed stays as it was judged.
        if self.last[side as usize].as_ref().is_some_and(|last| distribution.time_unix_ns <= last.time_unix_ns) {
            return;
        }
        self.waiting[side as usize].insert(distribution);
        if self.waiting[side as usize].len() > WAITING_MAX {
            self.take_in(0);
        }
    }

    /// Hands on what waits up to the watermark, of both sides in the order of time.
    fn take_in(&mut self, watermark_unix_ns: u64) {
        loop {
            let [legacy, new] = [0, 1].map(|side: usize| self.waiting[side].next(watermark_unix_ns));
            let side = match (legacy, new) {
                (None, None) => return,
                (Some(legacy), Some(new)) if legacy > new => Side::New,
                (None, Some(_)) => Side::New,
                (Some(_), _) => Side::Legacy,
            };
            if let Some(distribution) = self.waiting[side as usize].pop_first() {
                self.take_one_in(side, distribution);
            }
        }
    }

    fn take_one_in(&mut self, side: Side, distribution: Arc<Distribution>) {
        let count =
            |value| Count { time_unix_ns: distribution.time_unix_ns, start_unix_ns: distribution.start_unix_ns, value };
        self.count.observe_sealed(side, count(distribution.count));
        if let Some(sum) = distribution.sum {
            self.sums[side as usize] = true;
            self.sum.get_or_insert_with(Counter::of_amounts).observe_sealed(side, count(sum));
        }
        let cumulative = distribution.buckets.cumulative();
        self.choose_bounds(side, &distribution.buckets, &cumulative);
        for (bound, counter) in &mut self.bounds {
            // A side may go over from one form of a histogram to the other, with bounds that the first one does not have.
            if distribution.buckets.tells(&cumulative, *bound) {
                counter.observe_sealed(side, count(up_to(&cumulative, *bound)));
            }
        }
        // A reset makes what was first worthless.
        let first = &mut self.first[side as usize];
        if first.as_ref().is_none_or(|first| first.count > distribution.count) {
            *first = Some(Arc::clone(&distribution));
        }
        self.last[side as usize] = Some(distribution);
    }

    /// The bounds that both sides have. Exponential histograms have every power of two.
    fn choose_bounds(&mut self, side: Side, buckets: &Buckets, cumulative: &[(f64, f64)]) {
        let step = |bounds: &[f64]| bounds.len().div_ceil(BOUNDS_MAX).max(1);
        let Some(other) = &self.last[side.other() as usize] else {
            // One side may come long before the other, and explicit bounds are the same in all of its samples.
            if self.bounds.is_empty() && matches!(buckets, Buckets::Explicit(_)) {
                let own: Vec<f64> =
                    cumulative.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect();
                let own = own.iter().step_by(step(&own));
                self.bounds = own.map(|bound| (*bound, Counter::of_parts())).collect();
            }
            return;
        };
        if self.last[side as usize].is_none() {
            self.bounds.retain(|(bound, _)| cumulative.iter().any(|(own, _)| same(*own, *bound)));
        }
        if !self.bounds.is_empty() {
            return;
        }
        let others = other.buckets.cumulative();
        let is_shared = |bound: &f64| others.iter().any(|(other, _)| same(*other, *bound));
        let shared: Vec<f64> = cumulative.iter().map(|(bound, _)| *bound).filter(is_shared).collect();
        let bounds = shared.iter().filter(|bound| bound.is_finite()).step_by(step(&shared));
        self.bounds = bounds.map(|bound| (*bound, Counter::of_parts())).collect();
    }

    /// Whether several writers of a side add up, so that it trails itself by up to an interval of theirs.
    pub(crate) fn are_several(&self) -> bool {
        self.writers.iter().any(Writers::are_several)
    }

    /// What compares the count, and the sum if one is told.
    pub(crate) fn counters(&self) -> (&Counter, Option<&Counter>) {
        (&self.count, self.sum.as_ref())
    }

    /// Judges everything up to the watermark.
    pub fn seal(&mut self, watermark_unix_ns: u64, demand: &Demand) {
        self.take_in(watermark_unix_ns);
        self.count.seal(watermark_unix_ns, demand);
        self.sum.iter_mut().for_each(|sum| sum.seal(watermark_unix_ns, demand));
        self.bounds.iter_mut().for_each(|(_, counter)| counter.seal(watermark_unix_ns, demand));
    }

    /// The verdict about everything that is sealed.
    pub fn verdict(&self, demand: &Demand) -> Verdict {
        let count = self.count.verdict(demand);
        let both_sum = self.sum.as_ref().filter(|_| self.sums == [true, true]);
        let sum = both_sum.map(|sum| sum.verdict(demand));
        if let Verdict::Different(_) = count {
            return count;
        }
        if let Some(Verdict::Different(finding)) = sum {
            return Verdict::Different(self.of_sum(finding));
        }
        if let Some(shifted) = self.shifted(demand) {
            return shifted;
        }
        if let Some(evidence) = self.in_first_bucket() {
            return Verdict::different(Cause::SecondsInMillisecondBuckets, evidence);
        }
        let Verdict::Equivalent { margin_ratio, remark, .. } = count else { return count };
        let margin_ratio = match sum {
            None => margin_ratio,
            Some(Verdict::Equivalent { margin_ratio: of_sum, .. }) => margin_ratio.max(of_sum),
            Some(undecided) => return undecided,
        };
        // Where nothing was counted, there are no quantiles to differ.
        let is_idle = matches!(&remark, Some(Finding { cause: Cause::AllThere { counted: 0.0 }, .. }));
        match self.bounds.is_empty() && !is_idle {
            true => self.quantiles(margin_ratio, remark, demand),
            false => Verdict::Equivalent { margin_ratio, confidence: demand.confidence, remark },
        }
    }

    /// How strong a difference is: of its counters only the trend of the count rests on chance.
    pub(crate) fn strength(&self) -> EValue {
        self.count.strength()
    }

    /// The first bound up to which the sides differ. Few values lie under some bounds; there, what is proven of all
    /// values together is enough.
    fn shifted(&self, demand: &Demand) -> Option<Verdict> {
        let demand = self.of_bound(demand);
        self.bounds.iter().filter(|(_, counter)| counter.may_differ()).find_map(|(bound, counter)| {
            let Verdict::Different(finding) = counter.verdict(&demand) else { return None };
            // What is missing under a bound and altogether is a loss, which shows in the bound first.
            let (missing, of_all) = (counter.deficit(), self.count.deficit());
            if of_all.abs() >= 0.5 * missing.abs() && of_all * missing > 0.0 {
                return Some(Verdict::Different(Finding { cause: self.count.loss(&demand), ..finding }));
            }
            let evidence = format!("as many values on both sides, but up to {bound}: {}", finding.evidence);
            let cause = Cause::BucketsShifted { bound: *bound };
            Some(Verdict::Different(Finding { cause, evidence, since_unix_ns: finding.since_unix_ns }))
        })
    }

    /// Each bound is one of several tests of the same thing.
    fn of_bound(&self, demand: &Demand) -> Demand {
        let tests = self.bounds.len().max(1) as f64;
        Demand { confidence: 1.0 - (1.0 - demand.confidence) / tests, ..*demand }
    }

    /// The sums are a factor apart: by a unit, and then the buckets may not fit any more.
    fn of_sum(&self, finding: Finding) -> Finding {
        let finding = of_values(finding);
        let shares_bounds = self.bounds.len() >= 2;
        let in_seconds = matches!(finding.cause, Cause::UnitChanged { factor } if factor == 1e-3);
        let first_bucket = self.last[Side::New as usize].as_ref().is_some_and(|last| {
            let buckets = last.buckets.cumulative();
            buckets.first().is_some_and(|(_, count)| *count >= 0.95 * last.count)
        });
        match in_seconds && shares_bounds && first_bucket {
            true => Finding { cause: Cause::SecondsInMillisecondBuckets, ..finding },
            false => finding,
        }
    }

    /// The values are the same in the same unit, and the new side still has the bounds of a unit a thousand times smaller:
    /// nearly all of its values lie in the first bucket.
    fn in_first_bucket(&self) -> Option<String> {
        let [legacy, new] = [&self.last[0], &self.last[1]].map(|last| match last.as_ref().map(|last| &last.buckets) {
            Some(Buckets::Explicit(buckets)) => Some(buckets.iter().filter(|(bound, _)| *bound > 0.0)),
            _ => None,
        });
        let (legacy, mut new) = (legacy?, new?);
        let is_kept = |bound: f64| legacy.clone().any(|(other, _)| same(other * 1000.0, bound));
        let kept = new.clone().filter(|(bound, _)| bound.is_finite() && is_kept(*bound)).count();
        let (first, below) = *new.next()?;
        let count = self.last[1].as_ref()?.count;
        let is_flat = count >= QUANTILE_VALUES_MIN && below >= 0.95 * count;
        // Where both sides have the powers of ten, most of them are a thousand times another; the first one is not.
        (kept >= 3 && is_kept(first) && is_flat).then(|| {
            format!(
                "{below} of {count} values of the new side are at most {first}, its first bound; {kept} of its bounds are \
                 a thousand times those of the legacy side"
            )
        })
    }

    /// Where no bounds are shared: quantiles, each as the bracket that its side leaves.
    fn quantiles(&self, margin: f64, remark: Option<Finding>, demand: &Demand) -> Verdict {
        let (Some(legacy), Some(new)) = (self.increase(Side::Legacy), self.increase(Side::New)) else {
            return Verdict::NotComparable { reason: Reason::NoSharedBounds };
        };
        let seen = legacy.1.min(new.1);
        if seen < QUANTILE_VALUES_MIN {
            let more = QUANTILE_VALUES_MIN - seen;
            return Verdict::Inconclusive { needs: Needs::Events { seen, more, margin_ratio: f64::INFINITY } };
        }
        let mut widest = margin;
        for quantile in QUANTILES {
            let (low, high) = bracket(&legacy, quantile);
            let (new_low, new_high) = bracket(&new, quantile);
            if low > new_high || new_low > high {
                let cause = Cause::BucketsShifted { bound: high.min(new_high) };
                let evidence = format!(
                    "the {quantile} quantile lies between {low} and {high} on the legacy side and between {new_low} and \
                     {new_high} on the new one"
                );
                return Verdict::different(cause, evidence);
            }
            // Any value of one bracket against any of the other.
            let (least, most) = (low.min(new_low).max(0.0), high.max(new_high));
            widest = widest.max((most - least) / (most + least).max(f64::MIN_POSITIVE));
        }
        let evidence = format!("the buckets share no bounds; quantiles agree within {}", Percent(widest));
        let remark = remark.or(Some(Finding {
            cause: Cause::BucketsShifted { bound: f64::NAN },
            evidence,
            since_unix_ns: None,
        }));
        match widest <= demand.margin_ratio {
            true => Verdict::Equivalent { margin_ratio: widest, confidence: demand.confidence, remark },
            false => Verdict::Inconclusive { needs: Needs::Steadiness { margin_ratio: widest } },
        }
    }

    /// What a side has counted since it was first seen: up to each bound, and altogether.
    fn increase(&self, side: Side) -> Option<(Vec<(f64, f64)>, f64)> {
        let (first, last) = (self.first[side as usize].as_ref()?, self.last[side as usize].as_ref()?);
        let before = first.buckets.cumulative();
        let last_counts = last.buckets.cumulative();
        let increase = last_counts.iter().map(|(bound, count)| (*bound, count - up_to(&before, *bound))).collect();
        Some((increase, last.count - first.count))
    }
}

/// What the sum of values says where there are as many of them on both sides: they are other values, and not the same
/// ones several times.
pub(crate) fn of_values(finding: Finding) -> Finding {
    let cause = match finding.cause {
        Cause::Duplicated { side: Side::New, times } => Cause::Level { ratio: times - 1.0 },
        Cause::Duplicated { side: Side::Legacy, times } => Cause::Level { ratio: 1.0 / times - 1.0 },
        cause => cause,
    };
    Finding { cause, evidence: format!("the sum of all values: {}", finding.evidence), ..finding }
}

/// How many values are at most `bound`, which is one of the bounds or lies outside of them.
fn up_to(cumulative: &[(f64, f64)], bound: f64) -> f64 {
    let at = cumulative.partition_point(|(known, _)| *known < bound && !same(*known, bound));
    match cumulative.get(at) {
        Some((known, count)) if same(*known, bound) => *count,
        // Between two bounds of an exponential histogram nothing was counted, or it would have a bound there.
        _ => at.checked_sub(1).map_or(0.0, |before| cumulative[before].1),
    }
}

/// Bounds are written in decimals and kept as doubles.
fn same(left: f64, right: f64) -> bool {
    let is_close = || (left - right).abs() <= 1e-9 * left.abs().max(right.abs());
    left == right || (left.is_finite() && right.is_finite() && is_close())
}

/// Between which bounds a quantile lies.
fn bracket((cumulative, count): &(Vec<(f64, f64)>, f64), quantile: f64) -> (f64, f64) {
    let rank = quantile * count;
    let at = cumulative.partition_point(|(_, below)| *below < rank);
    let low = at.checked_sub(1).map_or(0.0, |before| cumulative[before].0);
    (low, cumulative.get(at).map_or(f64::INFINITY, |(bound, _)| *bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPLICIT: &[f64] = &[5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0];

    /// Records values on both sides and shows them every fifteen seconds; gives the verdict.
    fn compare(
        new_value: impl Fn(f64) -> f64,
        legacy_buckets: impl Fn(&[f64]) -> Buckets,
        new_buckets: impl Fn(&[f64]) -> Buckets,
    ) -> Verdict {
        let mut random = fastrand::Rng::with_seed(5);
        let (mut legacy, mut new) = (Vec::new(), Vec::new());
        let mut histogram = Histogram::default();
        let demand = Demand::default();
        for second in 0..3600u64 {
            for _ in 0..5 {
                let value = 20.0 * (-(1.0 - random.f64()).ln());
                legacy.push(value);
                new.push(new_value(value));
            }
            let time_unix_ns = (1000 + second) * 1_000_000_000;
            let show = |values: &[f64], buckets| Distribution {
                time_unix_ns,
                start_unix_ns: 0,
                count: values.len() as f64,
                sum: Some(values.iter().sum()),
                buckets,
            };
            if second % 15 == 0 {
                histogram.observe(Side::Legacy, show(&legacy, legacy_buckets(&legacy)));
            }
            if second % 15 == 7 {
                histogram.observe(Side::New, show(&new, new_buckets(&new)));
            }
            if second % 60 == 0 {
                histogram.seal(time_unix_ns - 20_000_000_000, &demand);
            }
        }
        histogram.seal(u64::MAX, &demand);
        histogram.verdict(&demand)
    }

    fn explicit(values: &[f64]) -> Buckets {
        let count = |bound: &f64| (*bound, values.iter().filter(|value| **value <= *bound).count() as f64);
        Buckets::Explicit(EXPLICIT.iter().map(count).collect())
    }

    fn exponential(scale: i32) -> impl Fn(&[f64]) -> Buckets {
        move |values| {
            let index = |value: &f64| ((value.log2() * 2f64.powi(scale)).ceil() - 1.0) as i32;
            let offset = values.iter().map(index).min().unwrap_or(0);
            let most = values.iter().map(index).max().unwrap_or(0);
            let mut positive = vec![0.0; usize::try_from(most - offset + 1).unwrap()];
            values.iter().for_each(|value| positive[usize::try_from(index(value) - offset).unwrap()] += 1.0);
            Buckets::Exponential { scale, zero: 0.0, negative: 0.0, offset, positive }
        }
    }

    /// What one side has of an hour comes before anything of the other, as backends are read.
    fn one_side_after_the_other(writers: u64, moved: f64) -> Histogram {
        let mut random = fastrand::Rng::with_seed(7);
        let mut histogram = Histogram::default();
        let values: Vec<Vec<f64>> =
            (0..writers).map(|_| (0..18_000).map(|_| 20.0 * -(1.0 - random.f64()).ln()).collect()).collect();
        for (side, phase) in [(Side::Legacy, 0), (Side::New, 7)] {
            for second in (1..3600u64).filter(|second| second % 15 == phase) {
                for (writer, values) in (0..).zip(&values) {
                    // Writers come one after the other, at other distances on each side.
                    let second = second + writer * (2 + phase);
                    let seen = &values[..usize::try_from(second * 5).unwrap().min(values.len())];
                    let is_moved = side == Side::New && moved > 0.0;
                    let value =
                        |value: &f64| if is_moved && *value > 10.0 - moved && *value <= 10.0 { 11.0 } else { *value };
                    let seen: Vec<f64> = seen.iter().map(value).collect();
                    let distribution = Distribution {
                        time_unix_ns: (1000 + second) * 1_000_000_000,
                        start_unix_ns: 0,
                        count: seen.len() as f64,
                        sum: None,
                        buckets: explicit(&seen),
                    };
                    histogram.observe_writer(side, writer, Form::Cumulative, distribution);
                }
            }
        }
        histogram
    }

    #[test]
    fn buckets_are_compared_though_one_side_comes_whole_before_the_other() {
        let verdict = |moved| {
            let mut histogram = one_side_after_the_other(1, moved);
            histogram.seal(u64::MAX, &Demand::default());
            histogram.verdict(&Demand::default())
        };
        assert!(matches!(verdict(0.0), Verdict::Equivalent { .. }), "{:?}", verdict(0.0));
        let Verdict::Different(finding) = verdict(2.0) else { panic!("{:?}", verdict(2.0)) };
        assert_eq!(finding.cause, Cause::BucketsShifted { bound: 10.0 });
    }

    #[test]
    fn several_writers_are_known_to_be_several() {
        assert!(one_side_after_the_other(2, 0.0).are_several());
        assert!(!one_side_after_the_other(1, 0.0).are_several());
    }

    #[test]
    fn the_same_values_are_equal_in_the_same_buckets() {
        let verdict = compare(|value| value, explicit, explicit);
        assert!(matches!(verdict, Verdict::Equivalent { .. }), "{verdict:?}");
    }

    #[test]
    fn exponential_histograms_of_different_scales_are_equal() {
        let verdict = compare(|value| value, exponential(3), exponential(1));
        assert!(matches!(verdict, Verdict::Equivalent { .. }), "{verdict:?}");
    }

    #[test]
    fn values_in_other_buckets_are_found_at_their_bound() {
        let shifted = |value: f64| if value > 8.0 && value <= 10.0 { 10.5 } else { value };
        let Verdict::Different(finding) = compare(shifted, explicit, explicit) else { panic!() };
        assert_eq!(finding.cause, Cause::BucketsShifted { bound: 10.0 });
    }

    #[test]
    fn seconds_in_buckets_for_milliseconds_are_named() {
        let Verdict::Different(finding) = compare(|value| value / 1000.0, explicit, explicit) else { panic!() };
        assert_eq!(finding.cause, Cause::SecondsInMillisecondBuckets);
    }

    /// One side has explicit bounds, and the other goes over to an exponential histogram, or the other way round.
    #[test]
    fn a_side_that_goes_over_to_another_form_is_equal_at_the_bounds_of_both() {
        let with_powers = |values: &[f64]| {
            let bounds = [1.0, 3.0, 4.0, 10.0, 16.0, 50.0, 64.0, 100.0];
            let count = |bound: &f64| (*bound, values.iter().filter(|value| **value <= *bound).count() as f64);
            Buckets::Explicit(bounds.iter().map(count).collect())
        };
        let over = |values: &[f64]| if values.len() < 3000 { with_powers(values) } else { exponential(2)(values) };
        let back = |values: &[f64]| if values.len() < 3000 { exponential(2)(values) } else { with_powers(values) };
        for verdict in [
            compare(|value| value, with_powers, over),
            compare(|value| value, over, with_powers),
            compare(|value| value, exponential(3), back),
        ] {
            assert!(matches!(verdict, Verdict::Equivalent { .. }), "{verdict:?}");
        }
        let shifted = |value: f64| if value > 14.0 && value <= 16.0 { 17.0 } else { value };
        assert!(matches!(compare(shifted, with_powers, over), Verdict::Different(_)));
    }

    #[test]
    fn small_values_under_powers_of_ten_are_small_values() {
        let powers = |values: &[f64]| {
            let bound = |power: i32| 10f64.powi(power);
            let count = |power| (bound(power), values.iter().filter(|value| **value <= bound(power)).count() as f64);
            Buckets::Explicit((3..9).map(count).collect())
        };
        let verdict = compare(|value| value, powers, powers);
        assert!(matches!(verdict, Verdict::Equivalent { .. }), "{verdict:?}");
    }

    #[test]
    fn seconds_that_stayed_seconds_in_bounds_for_milliseconds_are_named() {
        let with = |factor: f64| {
            move |values: &[f64]| {
                let count = |bound: &f64| {
                    (bound * factor, values.iter().filter(|value| **value <= bound * factor).count() as f64)
                };
                Buckets::Explicit(EXPLICIT.iter().map(count).collect())
            }
        };
        let Verdict::Different(finding) = compare(|value| value, with(0.02), with(20.0)) else { panic!() };
        assert_eq!(finding.cause, Cause::SecondsInMillisecondBuckets);
    }

    #[test]
    fn without_shared_bounds_the_quantiles_bracket_each_other() {
        let verdict = compare(|value| value, explicit, exponential(0));
        assert!(matches!(verdict, Verdict::Inconclusive { needs: Needs::Steadiness { .. } }), "{verdict:?}");
        let distorted = |value: f64| if value < 30.0 { 0.01 } else { value };
        let verdict = compare(distorted, explicit, exponential(0));
        assert!(matches!(verdict, Verdict::Different(_)), "{verdict:?}");
    }
}
