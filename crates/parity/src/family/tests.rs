use proptest::prelude::*;

use super::*;
use crate::gauge::{Gauge, Level};
use crate::verdict::{Cause, Demand, Side};

fn different() -> Verdict {
    Verdict::different(Cause::Diverged, "")
}

/// How many of these are claimed at a level, with so many others that are equal.
fn claimed(strengths: &[f64], equal: usize, level: f64) -> Vec<bool> {
    let of_claims = strengths.iter().map(|strength| Claim::Different(EValue::from_ln(strength.ln())));
    let family = Family::of(of_claims.chain((0..equal).map(|_| Claim::Other)), level);
    let judged = strengths.iter().map(|strength| family.judge(different(), EValue::from_ln(strength.ln())));
    judged.map(|verdict| matches!(verdict, Verdict::Different(_))).collect()
}

#[test]
fn the_more_are_judged_together_the_more_each_has_to_show() {
    assert_eq!(claimed(&[20.0], 0, 0.05), [true]);
    assert_eq!(claimed(&[20.0], 1, 0.05), [false]);
    assert_eq!(claimed(&[2000.0], 99, 0.05), [true]);
    // Several make room for each other.
    assert_eq!(claimed(&[1000.0, 1001.0], 98, 0.05), [true, true]);
    assert_eq!(claimed(&[1000.0, 900.0], 98, 0.05), [false, false]);
    assert_eq!(claimed(&[], 10, 0.05), [true; 0]);
}

#[test]
fn what_rests_on_no_chance_is_claimed_and_makes_no_room() {
    let mut strengths = vec![f64::INFINITY; 50];
    strengths.push(100.0);
    let found = claimed(&strengths, 50, 0.05);
    assert_eq!(found.iter().filter(|is_claimed| **is_claimed).count(), 50);
    assert!(!found[50]);
}

#[test]
fn what_is_not_claimed_says_what_is_suspected_and_among_how_many() {
    let verdict = Verdict::different(Cause::Level { ratio: 0.021 }, "figures");
    let strength = EValue::from_ln(50f64.ln());
    let others = (0..11_999).map(|_| Claim::Other);
    let family = Family::of(others.chain([Claim::Different(strength)]), 0.05);
    let open = family.judge(verdict.clone(), strength);
    let expected = "needs more time: the new side is 2.1 % off, not yet enough among 12000 series";
    assert_eq!(open.sentence(), expected);
    let json = serde_json::to_value(&open).unwrap();
    assert_eq!(json["needs"]["needs"], "certainty");
    assert_eq!(json["needs"]["suspected"]["cause"]["cause"], "level");
    assert_eq!(family.series(), 12_000);
}

/// E-values of bets on coins: by the ratio of likelihoods, whose mean is exactly one where the coin is fair.
fn bet(random: &mut fastrand::Rng, bias: f64, shared: Option<&[bool]>) -> f64 {
    let flips = (0..60).map(|at| shared.map_or_else(|| random.f64() < 0.5 + bias, |shared| shared[at]));
    flips.fold(1.0, |wealth, head| wealth * if head { 1.6 } else { 0.4 })
}

#[test]
fn the_share_of_errors_among_what_is_claimed_stays_below_the_level() {
    let mut random = fastrand::Rng::with_seed(17);
    for are_correlated in [false, true] {
        let (mut shares, mut found) = (0.0, 0.0);
        let families = 60;
        for _ in 0..families {
            // Of 2000 series 40 differ; where the others go together, one coin decides for fifty of them.
            let mut strengths: Vec<f64> = (0..40).map(|_| bet(&mut random, 0.4, None)).collect();
            for _ in 0..39 {
                let shared: Vec<bool> = (0..60).map(|_| random.bool()).collect();
                let shared = are_correlated.then_some(shared.as_slice());
                strengths.extend((0..50).map(|_| bet(&mut random, 0.0, shared)));
            }
            let claimed = claimed(&strengths, 10, 0.05);
            let is_true = |at: usize| at < 40;
            let all = claimed.iter().filter(|is_claimed| **is_claimed).count();
            let errors = claimed.iter().enumerate().filter(|(at, is_claimed)| **is_claimed && !is_true(*at)).count();
            shares += errors as f64 / all.max(1) as f64;
            found += (all - errors) as f64 / 40.0;
        }
        let (share, found) = (shares / f64::from(families), found / f64::from(families));
        assert!(share <= 0.05 && found > 0.5, "{share} of them errors, {found} found");
    }
}

proptest! {
    #[test]
    fn what_is_stronger_is_claimed_before_what_is_weaker_and_more_of_it_takes_nothing_away(
        strengths in prop::collection::vec(0.0f64..1e6, 1..40),
        equal in 0usize..200,
        at in any::<prop::sample::Index>(),
    ) {
        let before = claimed(&strengths, equal, 0.05);
        let weakest = strengths.iter().zip(&before).filter(|(_, is)| **is).map(|(e, _)| *e).fold(f64::INFINITY, f64::min);
        for (strength, is_claimed) in strengths.iter().zip(&before) {
            prop_assert!(*is_claimed || *strength < weakest);
        }
        let mut stronger = strengths.clone();
        stronger[at.index(strengths.len())] *= 2.0;
        for (before, after) in before.iter().zip(claimed(&stronger, equal, 0.05)) {
            prop_assert!(after || !before);
        }
    }
}

/// How the gauges of a family move.
#[derive(Clone, Copy, Debug)]
struct Moves {
    /// How much of the noise of a sampler stays from one sample to the next.
    memory: f64,
    /// The same for what all series share.
    shared: f64,
    /// By how much they rise in an hour.
    rise: f64,
    /// The size of the noise.
    noise: f64,
}

/// What came of a family.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    /// The share of errors among what is claimed, at the worst of all looks.
    errors: f64,
    /// How many of those that differ are claimed at the end.
    found: usize,
    /// How often one that does not differ looks different by itself.
    suspected: usize,
}

/// Three hours of gauges that two samplers see, each with a noise of its own; the first `differing` of them are three
/// percent higher on the new side; they are looked at every quarter of an hour.
fn gauges(seed: u64, count: usize, differing: usize, moves: Moves) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut normal = || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
    let demand = Demand::default();
    let mut gauges = vec![Gauge::default(); count];
    let mut noises = vec![[0.0f64; 2]; count];
    let mut common = [0.0f64; 2];
    let mut outcome = Outcome::default();
    let next = |noise: f64, memory: f64, of: f64| memory * noise + (1.0 - memory * memory).sqrt() * of;
    for sample in 0..720u64 {
        for (side, later_s) in [(Side::Legacy, 0), (Side::New, 6)] {
            let at_s = 1000 + sample * 15 + later_s;
            common[side as usize] = next(common[side as usize], 0.98, normal());
            for (at, gauge) in gauges.iter_mut().enumerate() {
                let own = &mut noises[at][side as usize];
                *own = next(*own, moves.memory, normal());
                let wave = 0.1 * (at_s as f64 / 900.0 + at as f64).sin();
                let level = 100.0 * (1.0 + wave + moves.rise * at_s as f64 / 3600.0);
                let noise = moves.noise * (*own + moves.shared * common[side as usize]);
                let factor = if side == Side::New && at < differing { 1.03 } else { 1.0 };
                let value = level * factor * (1.0 + noise);
                gauge.observe(side, Level { time_unix_ns: at_s * 1_000_000_000, value });
            }
        }
        if sample % 60 == 59 {
            let until_unix_ns = (1000 + sample * 15) * 1_000_000_000;
            gauges.iter_mut().for_each(|gauge| gauge.seal(until_unix_ns, &demand));
            let verdicts: Vec<Verdict> = gauges.iter().map(|gauge| gauge.verdict(&demand)).collect();
            let suspected = verdicts[differing..].iter().filter(|verdict| matches!(verdict, Verdict::Different(_)));
            outcome.suspected += suspected.count();
            let strengths = gauges.iter().map(Gauge::strength);
            let claims = verdicts.iter().zip(strengths).filter_map(|(verdict, strength)| Claim::of(verdict, strength));
            let family = Family::of(claims, 0.05);
            let judged =
                verdicts.into_iter().zip(&gauges).map(|(verdict, gauge)| family.judge(verdict, gauge.strength()));
            let claimed: Vec<bool> = judged.map(|verdict| matches!(verdict, Verdict::Different(_))).collect();
            outcome.found = claimed[..differing].iter().filter(|is| **is).count();
            let errors = claimed[differing..].iter().filter(|is| **is).count();
            outcome.errors = outcome.errors.max(errors as f64 / (errors + outcome.found).max(1) as f64);
        }
    }
    outcome
}

#[test]
fn among_thousands_of_gauges_without_a_difference_none_is_claimed() {
    let calm = Moves { memory: 0.0, shared: 0.0, rise: 0.0, noise: 0.01 };
    let sluggish = Moves { memory: 0.95, shared: 0.0, rise: 0.2, noise: 0.02 };
    let together = Moves { memory: 0.5, shared: 1.0, rise: 0.0, noise: 0.01 };
    let wandering = Moves { memory: 0.999, shared: 0.0, rise: 0.0, noise: 0.02 };
    for (seed, moves) in [calm, sluggish, together, wandering].into_iter().enumerate() {
        let outcome = gauges(seed as u64, 1000, 0, moves);
        assert_eq!(outcome.errors, 0.0, "{moves:?} {outcome:?}");
        // Each by itself, some of those that move slowly would be.
        assert_eq!(outcome.suspected > 0, moves.memory > 0.9, "{moves:?} {outcome:?}");
    }
}

#[test]
fn what_differs_among_many_is_found_and_hardly_anything_else() {
    let moves = Moves { memory: 0.5, shared: 0.5, rise: 0.1, noise: 0.01 };
    for (seed, differing, found_min) in [(7, 20, 15), (8, 1, 1)] {
        let outcome = gauges(seed, 1000, differing, moves);
        assert!(outcome.errors <= 0.05 && outcome.found >= found_min, "{outcome:?}");
    }
}
