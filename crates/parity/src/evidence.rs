//! How strongly something speaks against "both sides are the same".
//!
//! An e-value is a non-negative number whose mean is at most one where nothing is wrong: a bet against that which, by
//! Markov's inequality, rarely wins much. It holds whenever one looks, if it is made so, and e-values of many series can be
//! judged together however they depend on each other ([`crate::family`]). Where a test only gives a p-value, it is turned
//! into an e-value by the mixture of calibrators (Vovk and Wang, 2021); where a test is made at several looks, each look
//! has a share of the bet.

use crate::stats::{ln_beta, ln_incomplete_beta, ln_student_tail, mean_and_variance};
use crate::thinning::ln_wealth;

/// An e-value, kept as its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct EValue {
    ln: f64,
}

impl EValue {
    /// No chance is involved.
    pub const CERTAIN: EValue = EValue { ln: f64::INFINITY };
    /// Nothing was bet.
    pub const NOTHING: EValue = EValue { ln: f64::NEG_INFINITY };

    pub(crate) const fn from_ln(ln: f64) -> EValue {
        EValue { ln }
    }

    pub(crate) const fn ln(self) -> f64 {
        self.ln
    }

    /// The number itself.
    pub fn value(self) -> f64 {
        self.ln.exp()
    }

    /// Whether no chance is involved.
    pub fn is_certain(self) -> bool {
        self.ln == f64::INFINITY
    }

    /// Of a p-value, given as its logarithm.
    pub(crate) fn of_chance(ln_p: f64) -> EValue {
        if ln_p.is_nan() {
            return EValue::NOTHING;
        }
        // Nothing times infinity is no number.
        if ln_p == f64::NEG_INFINITY {
            return EValue::CERTAIN;
        }
        // Near 1 the formula loses its digits; it tends to a half there.
        if ln_p > -0.5 {
            return EValue { ln: 0.5f64.ln() };
        }
        let p = ln_p.exp();
        EValue { ln: (1.0 - p + p * ln_p).ln() - ln_p - 2.0 * (-ln_p).ln() }
    }

    /// Where it is one of several tests of the same thing, of which one was picked.
    pub(crate) fn shared_by(self, tests: usize) -> EValue {
        EValue { ln: self.ln - (tests.max(1) as f64).ln() }
    }

    /// That more than a share of events is lost, where `lost` of `events` were: the likelihood, averaged over all greater
    /// shares, against that of this one. It may be looked at as often as one likes.
    pub(crate) fn of_loss(events: f64, lost: f64, share: f64) -> EValue {
        if events <= 0.0 || !(0.0..1.0).contains(&share) {
            return EValue::NOTHING;
        }
        if share == 0.0 {
            return if lost > 0.0 { EValue::CERTAIN } else { EValue { ln: 0.0 } };
        }
        let lost = lost.clamp(0.0, events);
        let kept = events - lost;
        // Beta(1/2, 1/2) above the share.
        let above = |a: f64, b: f64| ln_beta(a, b) + ln_incomplete_beta(b, a, 1.0 - share);
        let mixture = above(lost + 0.5, kept + 0.5) - above(0.5, 0.5);
        EValue { ln: mixture - lost * share.ln() - kept * (-share).ln_1p() }
    }

    /// That two shares differ by more than a margin, each as how many there were and how many of them, where those of the
    /// two may depend on each other. It may be looked at as often as one likes.
    ///
    /// Half of the bet is on either side. Whatever the two shares are, if they differ by no more than the margin, one of
    /// them lies beyond the point at which both bets have won as much: that is what it comes to at least.
    pub(crate) fn of_shares(one: (f64, f64), other: (f64, f64), margin: f64) -> EValue {
        let share = |(all, with): (f64, f64)| with / all;
        if one.0 <= 0.0 || other.0 <= 0.0 {
            return EValue::NOTHING;
        }
        let (lower, higher) = if share(one) <= share(other) { (one, other) } else { (other, one) };
        let (mut least, mut most) = (share(lower), share(higher) - margin);
        if least >= most {
            return EValue { ln: 0.0 };
        }
        let (below, above) = (ln_wealth(lower.0, lower.1), ln_wealth(higher.0, higher.1));
        for _ in 0..60 {
            let middle = f64::midpoint(least, most);
            if below(middle) < above(middle + margin) { least = middle } else { most = middle }
        }
        let middle = f64::midpoint(least, most);
        EValue { ln: below(middle).min(above(middle + margin)) - 2f64.ln() }
    }
}

/// A test that is made at several looks.
///
/// The first look has a half of the bet, the k-th 1/(k(k+1)) of it, so that all of them together have no more than one:
/// what it comes to never falls, and holds at every moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looks {
    ln_sum: f64,
    looks: u32,
    next: u32,
}

impl Default for Looks {
    fn default() -> Looks {
        Looks { ln_sum: f64::NEG_INFINITY, looks: 0, next: 0 }
    }
}

impl Looks {
    /// Looks, where there is a quarter more than there was at the last look; `ln_chance` gives the logarithm of the
    /// p-value of this look alone.
    pub(crate) fn look(&mut self, seen: u32, ln_chance: impl FnOnce() -> Option<f64>) {
        if seen < self.next {
            return;
        }
        let Some(ln_p) = ln_chance() else { return };
        self.next = seen + (seen / 4).max(1);
        self.looks = self.looks.saturating_add(1);
        let look = f64::from(self.looks);
        let share = EValue::of_chance(ln_p).ln() - (look * (look + 1.0)).ln();
        let (more, less) = if share > self.ln_sum { (share, self.ln_sum) } else { (self.ln_sum, share) };
        self.ln_sum = if more.is_infinite() { more } else { more + (less - more).exp().ln_1p() };
    }

    /// Something else is looked at from now on, of which there is little yet.
    pub(crate) fn begin_anew(&mut self) {
        self.next = 0;
    }

    pub(crate) const fn strength(&self) -> EValue {
        EValue::from_ln(self.ln_sum)
    }
}

/// The logarithm of the chance that means of a series lie this far beyond a margin, where they do not.
///
/// Neighbours may go together: the error is the largest of what Newey and West make of it, of what an autoregression
/// with a correction for few values does, and of what the means of blocks show; as many values count as are independent
/// of each other. Few values that move slowly then say nothing, unless they are so far beyond the margin beside how far
/// they spread as not even a random walk comes.
pub(crate) fn ln_chance_of_level(values: &[f64], margin: f64) -> Option<f64> {
    let count = values.len() as f64;
    let (mean, of_neighbours) = mean_and_variance(values).filter(|(mean, _)| mean.is_finite())?;
    let squares = |lag: usize| -> f64 {
        values[lag..].iter().zip(values).map(|(later, earlier)| (later - mean) * (earlier - mean)).sum()
    };
    let all = squares(0);
    let seen = if all > 0.0 { squares(1) / all } else { 0.0 };
    let together = (seen + (1.0 + 4.0 * seen.max(0.0)) / count).clamp(0.0, 0.99);
    let inflation = (1.0 + together) / (1.0 - together);
    let of_regression = all / count / (count - 1.0) * inflation;
    let error = of_neighbours.max(of_regression).max(of_blocks(values, mean)).sqrt();
    let beyond = mean.abs() - margin;
    if beyond <= 0.0 {
        return Some(0.5f64.ln());
    }
    let spread = (all / count).sqrt();
    // They are the same but for roundings.
    if spread <= 1e-9 * mean.abs() {
        return Some(f64::NEG_INFINITY);
    }
    let as_many = ln_student_tail(beyond / error, ((count - 1.0) / inflation).max(1.0));
    let as_a_walk = 2f64.ln() - beyond / spread / WALK;
    Some((as_many.min(as_a_walk) + 2f64.ln()).min(0.0))
}

/// A random walk comes so many times further from its beginning than it spreads around its own mean with a chance that
/// falls by e for each 1.2; what began to move ten times earlier, for each four.
const WALK: f64 = 4.0;

/// The variance of the mean, as the means of blocks show it: as many blocks as each has values.
fn of_blocks(values: &[f64], mean: f64) -> f64 {
    let length = (values.len() as f64).sqrt().ceil().max(1.0) as usize;
    let blocks = values.chunks_exact(length);
    let count = blocks.len() as f64;
    if count < 3.0 {
        return 0.0;
    }
    let squares = blocks.map(|block| (block.iter().sum::<f64>() / length as f64 - mean).powi(2)).sum::<f64>();
    squares / (count - 1.0) / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thinning::loss_interval;

    #[test]
    fn a_calibrated_chance_means_at_most_one() {
        // The mean over all chances, by the midpoints of a fine grid on their logarithm.
        let steps = 400_000;
        let width = 40.0 / f64::from(steps);
        let mean: f64 = (0..steps)
            .map(|step| {
                let ln_p = -(f64::from(step) + 0.5) * width;
                EValue::of_chance(ln_p).value() * ln_p.exp() * width
            })
            .sum();
        assert!(mean > 0.8 && mean <= 1.0, "{mean}");
        assert!(EValue::of_chance(-30.0) > EValue::of_chance(-20.0));
        assert!(EValue::of_chance(f64::NEG_INFINITY).is_certain() && EValue::of_chance(-1e9).ln() > 1e8);
        assert_eq!(EValue::of_chance(f64::NAN), EValue::NOTHING);
    }

    #[test]
    fn a_loss_is_strong_where_its_confidence_sequence_says_so() {
        for (events, lost) in [(1000.0, 30.0), (5000.0, 60.0), (100_000.0, 900.0)] {
            let is_beyond = loss_interval(events, lost, 0.0, 0.9999).low > 0.005;
            assert!(is_beyond && EValue::of_loss(events, lost, 0.005).value() > 1000.0, "{events} {lost}");
        }
        assert!(EValue::of_loss(10_000.0, 40.0, 0.005).value() < 1.0);
        assert_eq!(EValue::of_loss(0.0, 0.0, 0.005), EValue::NOTHING);
    }

    #[test]
    fn a_bet_on_loss_rarely_wins_where_there_is_none_however_often_one_looks() {
        let mut random = fastrand::Rng::with_seed(3);
        let wins = (0..600).filter(|_| {
            let (mut events, mut lost) = (0.0, 0.0);
            (0..60).any(|_| {
                for _ in 0..50 {
                    events += 1.0;
                    lost += f64::from(u8::from(random.f64() < 0.01));
                }
                EValue::of_loss(events, lost, 0.01).value() >= 20.0
            })
        });
        assert!(wins.count() <= 30);
    }

    #[test]
    fn shares_that_differ_are_strong_and_those_within_the_margin_are_not() {
        let of = |one, other| EValue::of_shares(one, other, 0.01);
        assert!(of((100.0, 100.0), (100.0, 0.0)).ln() > 50.0);
        assert_eq!(of((100.0, 100.0), (100.0, 0.0)), of((100.0, 0.0), (100.0, 100.0)));
        assert!(of((2000.0, 1200.0), (2000.0, 800.0)).value() > 1000.0);
        assert!(of((2000.0, 1020.0), (2000.0, 1000.0)).value() <= 1.0);
        assert!(of((1e6, 505_000.0), (1e6, 500_000.0)).value() <= 1.0);
        assert!(of((3.0, 3.0), (3.0, 0.0)).value() < 20.0, "three traces show nothing yet");
        assert_eq!(of((0.0, 0.0), (5.0, 5.0)), EValue::NOTHING);
    }

    #[test]
    fn a_bet_on_shares_rarely_wins_where_they_are_the_same_however_often_one_looks() {
        let mut random = fastrand::Rng::with_seed(5);
        let wins = (0..600).filter(|run| {
            let share = [0.02, 0.5, 0.9][run % 3];
            let mut sides = [(0.0, 0.0); 2];
            (0..60).any(|_| {
                for side in &mut sides {
                    for _ in 0..20 {
                        // In part, as where a trace has several spans.
                        let part = if random.f64() < 0.3 { 0.5 } else { 1.0 };
                        side.0 += 1.0;
                        side.1 += if random.f64() < share { part } else { 0.0 };
                    }
                }
                EValue::of_shares(sides[0], sides[1], 0.0).value() >= 20.0
            })
        });
        let wins = wins.count();
        assert!(wins <= 30, "{wins}");
    }

    #[test]
    fn looks_share_one_bet() {
        let mut looks = Looks::default();
        assert_eq!(looks.strength(), EValue::NOTHING);
        for seen in 12..2000 {
            looks.look(seen, || Some((1e-6f64).ln()));
        }
        let single = EValue::of_chance(1e-6f64.ln());
        assert!(looks.strength() < single && looks.strength() > single.shared_by(2));
    }

    #[test]
    fn means_that_move_slowly_say_little_and_constant_ones_all() {
        let steps = |count: usize| (0..count).map(|at| at as f64);
        let slow: Vec<f64> = steps(24).map(|at| 0.05 + 0.03 * (at / 12.0).sin()).collect();
        let fast: Vec<f64> = steps(24).map(|at| 0.05 + 0.03 * (at * 2.3).sin()).collect();
        let chance = |values: &[f64]| ln_chance_of_level(values, 0.01).unwrap();
        assert!(chance(&slow) > 1e-3f64.ln(), "{}", chance(&slow));
        assert!(chance(&fast) < 1e-4f64.ln(), "{}", chance(&fast));
        assert_eq!(chance(&[0.05; 12]), f64::NEG_INFINITY);
        assert_eq!(chance(&[0.005; 12]), 0.5f64.ln());
        let calm: Vec<f64> = steps(24).map(|at| 0.05 + 1e-5 * (at / 12.0).sin()).collect();
        assert!(chance(&calm) < 1e-9f64.ln(), "{}", chance(&calm));
    }
}
