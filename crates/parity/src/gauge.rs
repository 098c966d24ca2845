//! Gauges: equivalence of levels.
//!
//! Two samplers of a gauge see it at different moments, so single values may differ where nothing is wrong. Each value
//! of the new side is put beside the legacy side's at the same moment, interpolated between its neighbours; the
//! differences are averaged over windows, and the averages put to an equivalence test (two one-sided tests) whose
//! variance allows for neighbours that go together. A difference is claimed only where the averages lie outside the
//! margin so clearly that it can be asked again and again without a false alarm.
//!
//! What the sides may differ in without being different is told beside the verdict: the lag at which they fit best, and
//! the share of values outside of what the legacy side saw around the same time.

mod samples;
mod windows;

use crate::evidence::{EValue, Looks, ln_chance_of_level};
use crate::factor::exact_factor;
use crate::stats::{mean_and_variance, student_quantile};
use crate::verdict::{Amount, Cause, Demand, Finding, Needs, Percent, Side, Verdict};
use samples::Samples;
use windows::Windows;

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// When.
    pub time_unix_ns: u64,
    /// The value.
    pub value: f64,
}

/// No test before there are so many windows.
const WINDOWS_MIN: u32 = 12;
/// A difference is suspected at this chance of being wrong at one look; whether it is claimed is judged among all series.
const FALSE_ALARM: f64 = 1e-3;

/// Beside the usual level, windows whose own is less than this share of it are looked at as if they had that.
const WINDOW_LEVEL_MIN: f64 = 0.05;

/// Compares a gauge of one side with that of the other.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    legacy: Samples,
    new: Samples,
    windows: Windows,
    inside: u64,
    outside: u64,
    /// What the test of the windows' means comes to over all looks.
    looks: Looks,
}

impl Gauge {
    /// Takes a value of one side in, in any order among those that are not sealed.
    pub fn observe(&mut self, side: Side, level: Level) {
        match side {
            Side::Legacy => self.legacy.observe(level),
            Side::New => self.new.observe(level),
        }
    }

    /// Takes back what a side showed from a moment on, as far as it is not judged yet.
    pub(crate) fn retract(&mut self, side: Side, from_unix_ns: u64) {
        let samples = if side == Side::Legacy { &mut self.legacy } else { &mut self.new };
        samples.retract(from_unix_ns);
    }

    /// The samples of a side that are sealed and kept, by time.
    pub(crate) fn kept(&self, side: Side) -> &[Level] {
        if side == Side::Legacy { self.legacy.sealed() } else { self.new.sealed() }
    }

    /// Judges everything up to the watermark.
    pub fn seal(&mut self, watermark_unix_ns: u64, demand: &Demand) {
        self.legacy.seal(watermark_unix_ns);
        self.new.seal(watermark_unix_ns);
        let reach_ns = self.legacy.interval_ns().max(self.new.interval_ns()).saturating_add(demand.skew_ns);
        while let Some(level) = self.new.next() {
            let from_unix_ns = level.time_unix_ns.saturating_add(reach_ns);
            if self.legacy.sealed().last().is_none_or(|last| last.time_unix_ns < from_unix_ns) {
                break;
            }
            if let Some(legacy) = self.legacy.at(level.time_unix_ns) {
                self.compare(level, legacy, reach_ns);
            }
            self.new.is_compared();
        }
        self.legacy.trim(reach_ns);
        self.new.trim(reach_ns);
        let seen = self.windows.seen();
        if seen >= WINDOWS_MIN {
            let mut looks = self.looks;
            looks.look(seen, || self.ln_chance(demand));
            self.looks = looks;
        }
    }

    /// The logarithm of the chance that the levels are this far apart where they are not.
    fn ln_chance(&self, demand: &Demand) -> Option<f64> {
        let (scale, differences) = (self.windows.scale(), self.windows.differences());
        let chance = |beside: &dyn Fn(f64) -> f64| {
            let ratios = differences.iter().zip(self.windows.means());
            let ratios: Vec<f64> = ratios.map(|(difference, (legacy, _))| difference / beside(legacy)).collect();
            ln_chance_of_level(&ratios, demand.margin_ratio)
        };
        // A constant amount stands out beside the usual level, a constant factor beside that of its own window.
        let by_amount = chance(&|_| scale)?;
        let by_factor = chance(&|legacy| legacy.abs().max(WINDOW_LEVEL_MIN * scale))?;
        Some((by_amount.min(by_factor) + 2f64.ln()).min(0.0))
    }

    /// How strong a difference is.
    pub(crate) fn strength(&self) -> EValue {
        self.looks.strength()
    }

    fn compare(&mut self, level: Level, legacy: f64, reach_ns: u64) {
        if let Some((low, high)) = self.legacy.envelope(level.time_unix_ns, reach_ns) {
            let rounding = 1e-9 * (1.0 + low.abs().max(high.abs()));
            let is_inside = level.value >= low - rounding && level.value <= high + rounding;
            if is_inside { self.inside += 1 } else { self.outside += 1 }
        }
        self.windows.add(legacy, level.value);
    }

    /// The verdict about everything that is sealed.
    pub fn verdict(&self, demand: &Demand) -> Verdict {
        for (side, samples) in [(Side::Legacy, &self.legacy), (Side::New, &self.new)] {
            if !samples.is_seen() {
                return Verdict::Inconclusive { needs: Needs::Data { from: side } };
            }
        }
        let seen = u32::try_from(self.windows.len()).unwrap_or(u32::MAX);
        if seen < WINDOWS_MIN {
            return Verdict::Inconclusive { needs: Needs::Windows { seen, more: WINDOWS_MIN - seen } };
        }
        let Some((mean, variance)) = mean_and_variance(&self.windows.differences()) else {
            return Verdict::Inconclusive { needs: Needs::Windows { seen, more: 1 } };
        };
        let sums = self.windows.means().fold((0.0, 0.0), |sums, mean| (sums.0 + mean.0, sums.1 + mean.1));
        let (legacy, new) = (sums.0 / f64::from(seen), sums.1 / f64::from(seen));
        let scale = self.windows.scale();
        if scale == 0.0 && mean == 0.0 {
            // Both are zero all the time.
            return Verdict::Equivalent { margin_ratio: 0.0, confidence: demand.confidence, remark: None };
        }
        let error = variance.sqrt() / scale.max(f64::MIN_POSITIVE);
        let ratio = mean / scale.max(f64::MIN_POSITIVE);
        let freedom = f64::from(seen - 1);
        let margin_ratio = ratio.abs() + student_quantile(demand.confidence, freedom) * error;
        if margin_ratio <= demand.margin_ratio {
            return Verdict::Equivalent { margin_ratio, confidence: demand.confidence, remark: None };
        }
        // Interpolation errs by what the gauge moves between samples; rounding is no difference either.
        let clear = ratio.abs() - student_quantile(1.0 - FALSE_ALARM, freedom) * error;
        if clear > demand.margin_ratio {
            let cause = self.factor(new / legacy).unwrap_or(Cause::Level { ratio });
            return Verdict::Different(Finding { cause, evidence: self.evidence(legacy, new), since_unix_ns: None });
        }
        Verdict::Inconclusive { needs: Needs::Steadiness { margin_ratio } }
    }

    /// The cause, if one side is a factor of the other: what remains beside it is what the ratio may be wrong by, and not
    /// the difference itself, which moves with the gauge.
    fn factor(&self, ratio: f64) -> Option<Cause> {
        let rest: Vec<f64> = self.windows.means().map(|(legacy, new)| new - ratio * legacy).collect();
        let size = self.windows.means().map(|(_, new)| new).sum::<f64>().abs() / self.windows.len() as f64;
        let (_, variance) = mean_and_variance(&rest)?;
        exact_factor(ratio, variance.sqrt() / size.max(f64::MIN_POSITIVE))
    }

    fn evidence(&self, legacy: f64, new: f64) -> String {
        let all = (self.inside + self.outside).max(1);
        let lag = self.lag_ns().filter(|lag| *lag != 0);
        let lag = lag.map_or(String::new(), |lag| match lag > 0 {
            true => format!(", fitting best {} s later", Amount(lag as f64 / 1e9)),
            false => format!(", fitting best {} s earlier", Amount(-lag as f64 / 1e9)),
        });
        format!(
            "over {} windows legacy is {} and new is {} on average{lag}; {} of the values lie outside of what \
             legacy saw around them",
            self.windows.len(),
            Amount(legacy),
            Amount(new),
            Percent(self.outside as f64 / all as f64),
        )
    }

    /// By how much the new side trailed the legacy one lately, where their movements fit best; none where neither moves.
    pub fn lag_ns(&self) -> Option<i64> {
        let step = self.legacy.interval_ns().min(self.new.interval_ns()).max(1);
        let reach = i64::try_from(self.legacy.interval_ns().max(self.new.interval_ns()) / step * 3).ok()?.min(32);
        let correlation = |shift: i64| {
            let moved = |time: u64| time.checked_add_signed(-(shift * step as i64));
            let pairs = self.new.sealed().iter();
            let pairs: Vec<(f64, f64)> =
                pairs.filter_map(|level| Some((self.legacy.at(moved(level.time_unix_ns)?)?, level.value))).collect();
            correlation(&pairs)
        };
        let best = (-reach..=reach).filter_map(|shift| Some((shift, correlation(shift)?)));
        let (shift, _) = best.max_by(|(a, left), (b, right)| left.total_cmp(right).then(b.abs().cmp(&a.abs())))?;
        Some(shift * step as i64)
    }
}

fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 10 {
        return None;
    }
    let n = pairs.len() as f64;
    let (left, right) = pairs.iter().fold((0.0, 0.0), |(a, b), pair| (a + pair.0 / n, b + pair.1 / n));
    let sums = pairs.iter().fold((0.0, 0.0, 0.0), |(both, first, second), pair| {
        let (x, y) = (pair.0 - left, pair.1 - right);
        (both + x * y, first + x * x, second + y * y)
    });
    (sums.1 > 0.0 && sums.2 > 0.0).then(|| sums.0 / (sums.1 * sums.2).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: f64 = 1e9;

    /// Two samplers of a gauge; gives the verdict after so many hours.
    fn compare(gauge: impl Fn(f64) -> f64, new: impl Fn(f64) -> f64, intervals_s: [f64; 2], hours: f64) -> Gauge {
        let mut compared = Gauge::default();
        let (mut legacy_s, mut new_s) = (1000.0, 1006.1);
        while f64::min(legacy_s, new_s) < 1000.0 + hours * 3600.0 {
            let (side, at_s, value) = match legacy_s <= new_s {
                true => (Side::Legacy, legacy_s, gauge(legacy_s)),
                false => (Side::New, new_s, new(new_s)),
            };
            let at = if side == Side::Legacy { &mut legacy_s } else { &mut new_s };
            *at += intervals_s[side as usize];
            compared.observe(side, Level { time_unix_ns: (at_s * SECOND_NS) as u64, value });
            compared.seal(((at_s - 120.0) * SECOND_NS) as u64, &Demand::default());
        }
        compared.seal(u64::MAX, &Demand::default());
        compared
    }

    /// Moves like a load: slow waves and some noise that depends on the time alone.
    fn load(at: f64) -> f64 {
        50.0 + 10.0 * (at / 900.0).sin() + 3.0 * (at / 37.0).sin() + ((at * 12.9898).sin() * 43_758.547).fract()
    }

    fn verdict(gauge: &Gauge) -> Verdict {
        gauge.verdict(&Demand::default())
    }

    #[test]
    fn samplers_of_one_gauge_are_equal_whatever_their_phases() {
        for intervals in [[15.0, 15.0], [15.0, 60.0], [30.0, 10.0]] {
            let verdict = verdict(&compare(load, load, intervals, 6.0));
            assert!(matches!(verdict, Verdict::Equivalent { .. }), "{intervals:?}: {verdict:?}");
        }
    }

    #[test]
    fn what_grows_all_the_time_is_not_off_by_its_phase() {
        let verdict = verdict(&compare(|at| at, |at| at, [15.0, 15.0], 1.0));
        assert!(matches!(verdict, Verdict::Equivalent { margin_ratio, .. } if margin_ratio < 1e-6), "{verdict:?}");
    }

    #[test]
    fn a_level_that_is_five_percent_off_is_found() {
        let Verdict::Different(finding) = verdict(&compare(load, |at| 1.05 * load(at), [15.0, 15.0], 2.0)) else {
            panic!()
        };
        assert!(matches!(finding.cause, Cause::Level { ratio } if (ratio - 0.05).abs() < 0.005), "{finding:?}");
        assert!(finding.evidence.contains("windows"), "{finding:?}");
    }

    #[test]
    fn another_unit_is_named() {
        let Verdict::Different(finding) = verdict(&compare(load, |at| load(at) / 1000.0, [15.0, 15.0], 2.0)) else {
            panic!()
        };
        assert_eq!(finding.cause, Cause::UnitChanged { factor: 1e-3 });
    }

    #[test]
    fn another_unit_of_what_moves_much_is_named_too() {
        let age = |at: f64| 2000.0 + 1000.0 * (at / 700.0).sin();
        let gauge = compare(age, |at| age(at) / 1000.0, [15.0, 15.0], 1.0);
        let Verdict::Different(finding) = verdict(&gauge) else { panic!("{:?}", verdict(&gauge)) };
        assert_eq!(finding.cause, Cause::UnitChanged { factor: 1e-3 });
    }

    #[test]
    fn a_constant_is_equal_and_zero_is_too() {
        for value in [7.0, 0.0] {
            let verdict = verdict(&compare(|_| value, |_| value, [15.0, 15.0], 0.5));
            assert!(matches!(verdict, Verdict::Equivalent { margin_ratio: 0.0, .. }), "{verdict:?}");
        }
    }

    #[test]
    fn a_few_values_are_no_proof() {
        let verdict = verdict(&compare(load, load, [15.0, 15.0], 0.1));
        assert!(matches!(verdict, Verdict::Inconclusive { needs: Needs::Windows { .. } }), "{verdict:?}");
    }

    #[test]
    fn a_lag_is_measured() {
        let lag = compare(load, |at| load(at - 30.0), [15.0, 15.0], 2.0).lag_ns().unwrap();
        assert_eq!(lag, 30_000_000_000);
        assert_eq!(compare(load, load, [15.0, 15.0], 2.0).lag_ns(), Some(0));
    }
}
