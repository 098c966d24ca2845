use super::*;

const SECOND_NS: u64 = 1_000_000_000;

/// A stream of events, and two samplers of it.
struct Scene {
    random: fastrand::Rng,
    per_second: f64,
    legacy_interval_s: f64,
    new_interval_s: f64,
    skew_s: f64,
    jitter_s: f64,
    hours: f64,
    /// The share of events that the new side never sees.
    loss: f64,
    /// The process restarts so often.
    restart_every_s: Option<f64>,
    /// Both state their start.
    starts: bool,
    /// The new side begins to count after this many events.
    late: f64,
    /// It is not sampled before.
    joins: bool,
    scale: f64,
}

impl Scene {
    fn clean(seed: u64) -> Scene {
        Scene {
            random: fastrand::Rng::with_seed(seed),
            per_second: 1.0,
            legacy_interval_s: 15.0,
            new_interval_s: 15.0,
            skew_s: 0.0,
            jitter_s: 0.0,
            hours: 6.0,
            loss: 0.0,
            restart_every_s: None,
            starts: false,
            late: 0.0,
            joins: false,
            scale: 1.0,
        }
    }

    /// Runs it; gives the verdict at the end and the second of the first one that is different.
    fn run(mut self) -> (Verdict, Option<u64>) {
        let demand = Demand::default();
        let mut counter = Counter::default();
        let (mut legacy_count, mut new_count, mut start_s) = (0.0, 0.0, 1000.0);
        let mut next_legacy = 1000.0 + self.random.f64() * self.legacy_interval_s;
        let mut next_new = 1000.0 + self.random.f64() * self.new_interval_s;
        let mut next_event = 1000.0 + exponential(&mut self.random, self.per_second);
        let end = 1000.0 + self.hours * 3600.0;
        let mut found = None;
        let mut next_seal = 1060.0;
        loop {
            let now = next_legacy.min(next_new).min(next_event);
            if now > end {
                break;
            }
            if self.restart_every_s.is_some_and(|every| now - start_s > every) {
                (legacy_count, new_count, start_s) = (0.0, 0.0, now);
            }
            let sample = |value: f64, at_s: f64| Count {
                time_unix_ns: (at_s * SECOND_NS as f64) as u64,
                start_unix_ns: if self.starts { (start_s * SECOND_NS as f64) as u64 } else { 0 },
                value,
            };
            if now == next_event {
                legacy_count += 1.0;
                if self.late > 0.0 {
                    self.late -= 1.0;
                } else if self.random.f64() >= self.loss {
                    new_count += 1.0;
                }
                next_event = now + exponential(&mut self.random, self.per_second);
            } else if now == next_legacy {
                counter.observe(Side::Legacy, sample(legacy_count, now));
                next_legacy += self.legacy_interval_s + (self.random.f64() - 0.5) * self.jitter_s;
            } else {
                if !(self.joins && self.late > 0.0) {
                    counter.observe(Side::New, sample(new_count * self.scale, now + self.skew_s));
                }
                next_new += self.new_interval_s + (self.random.f64() - 0.5) * self.jitter_s;
            }
            if now > next_seal {
                counter.seal(((now - 30.0) * SECOND_NS as f64) as u64, &demand);
                next_seal += 60.0;
                if found.is_none() && matches!(counter.verdict(&demand), Verdict::Different(_)) {
                    found = Some((now - 1000.0) as u64);
                }
            }
        }
        (counter.verdict(&demand), found)
    }
}

fn exponential(random: &mut fastrand::Rng, per_second: f64) -> f64 {
    -(1.0 - random.f64()).ln() / per_second
}

#[test]
fn samplers_of_one_counter_are_equal_whatever_their_phases() {
    for seed in 0..40 {
        let mut scene = Scene::clean(seed);
        scene.per_second = [0.02, 0.5, 5.0, 100.0][seed as usize % 4];
        scene.new_interval_s = [15.0, 10.0, 60.0, 7.3][seed as usize / 4 % 4];
        scene.skew_s = [0.0, 0.9, -0.9][seed as usize % 3];
        scene.jitter_s = [0.0, 2.0][seed as usize % 2];
        scene.restart_every_s = [None, Some(2000.0)][seed as usize / 8 % 2];
        scene.starts = seed % 5 == 0;
        let (verdict, found) = scene.run();
        assert_eq!(found, None, "seed {seed}: {verdict:?}");
        assert!(!matches!(verdict, Verdict::Different(_)), "seed {seed}: {verdict:?}");
    }
}

#[test]
fn enough_events_prove_the_margin() {
    let mut scene = Scene::clean(1);
    scene.per_second = 5.0;
    let (Verdict::Equivalent { margin_ratio, remark: None, .. }, _) = scene.run() else { panic!() };
    assert!(margin_ratio < 0.01, "{margin_ratio}");
}

#[test]
fn too_few_events_prove_nothing_and_say_how_many_would() {
    let mut scene = Scene::clean(1);
    (scene.hours, scene.per_second) = (0.05, 1.0);
    let (Verdict::Inconclusive { needs: Needs::Events { seen, more, .. } }, _) = scene.run() else { panic!() };
    assert!(seen < 150.0 && more > 50.0, "{seen} {more}");
}

/// How much was counted one by one, all of which is there.
fn all_there(verdict: &Verdict) -> Option<f64> {
    match verdict {
        Verdict::Equivalent { margin_ratio, confidence, remark: Some(remark) } => match remark.cause {
            Cause::AllThere { counted } => {
                assert_eq!((*margin_ratio, *confidence), (0.0, 1.0));
                Some(counted)
            }
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn what_stands_still_on_both_sides_is_equal_and_says_that_nothing_was_counted() {
    for (late, hours) in [(0.0, 0.3), (0.0, 6.0)] {
        let mut scene = Scene::clean(1);
        (scene.per_second, scene.late, scene.hours) = (1e-9, late, hours);
        let (verdict, found) = scene.run();
        assert_eq!((all_there(&verdict), found), (Some(0.0), None), "{verdict:?}");
        assert_eq!(verdict.sentence(), "exactly equal; nothing was counted on either side");
    }
}

#[test]
fn a_few_moments_of_standing_still_prove_nothing() {
    let mut scene = Scene::clean(1);
    (scene.per_second, scene.hours) = (1e-9, 0.06);
    let (verdict, _) = scene.run();
    assert!(matches!(verdict, Verdict::Inconclusive { .. }), "{verdict:?}");
}

#[test]
fn the_few_events_of_a_slow_counter_are_all_there_or_one_is_missing() {
    for seed in 0..30 {
        let mut scene = Scene::clean(seed);
        scene.per_second = 1.0 / 3600.0;
        let (verdict, found) = scene.run();
        assert!(found.is_none() && all_there(&verdict).is_some(), "seed {seed}: {verdict:?}");
        let mut scene = Scene::clean(seed);
        (scene.per_second, scene.late) = (1.0 / 3600.0, 1.0);
        let (verdict, found) = scene.run();
        let Verdict::Different(finding) = &verdict else { panic!("seed {seed}: {verdict:?}") };
        assert!(matches!(finding.cause, Cause::Loss { side: Side::New, .. }), "seed {seed}: {finding:?}");
        assert!(found.is_some());
    }
}

#[test]
fn a_counter_that_moves_on_one_side_only_is_different() {
    for seed in 0..20 {
        let mut scene = Scene::clean(seed);
        (scene.per_second, scene.late) = (0.01, 1e9);
        let (verdict, _) = scene.run();
        assert!(matches!(verdict, Verdict::Different(_)), "seed {seed}: {verdict:?}");
    }
}

#[test]
fn one_percent_of_a_slow_counter_is_found_once_it_is_lost() {
    for seed in 0..20 {
        let mut scene = Scene::clean(seed);
        (scene.per_second, scene.loss, scene.hours) = (0.05, 0.01, 6.0);
        let (verdict, found) = scene.run();
        assert!(matches!(verdict, Verdict::Different(_)), "seed {seed}: {verdict:?}");
        assert!(found.is_some());
    }
}

#[test]
fn what_begins_to_move_is_open_until_it_is_judged_anew() {
    let demand = Demand::default();
    let mut counter = Counter::default();
    let mut value = 100.0;
    for second in 0..3600u64 {
        value += if second > 3000 { 10.0 } else { 0.0 };
        let count = Count { time_unix_ns: (1000 + second) * SECOND_NS, start_unix_ns: 0, value };
        match second % 15 {
            0 => counter.observe(Side::Legacy, count),
            7 => counter.observe(Side::New, count),
            _ => {}
        }
        if second == 3000 || second == 3130 {
            counter.seal((1000 + second) * SECOND_NS, &demand);
            let verdict = counter.verdict(&demand);
            assert_eq!(all_there(&verdict).is_some(), second == 3000, "{second}: {verdict:?}");
        }
    }
}

#[test]
fn a_recording_that_is_judged_at_once_says_the_same_as_one_that_is_judged_step_by_step() {
    let demand = Demand::default();
    let mut counters = [Counter::default(), Counter::default()];
    let mut random = fastrand::Rng::with_seed(8);
    let mut value = 0.0;
    for second in 0..20_000u64 {
        if second % 4000 == 3999 {
            value = 0.0;
        }
        value += f64::from(u8::from(random.f64() < 0.01));
        let count = Count { time_unix_ns: (1000 + second) * SECOND_NS, start_unix_ns: 0, value };
        for counter in &mut counters {
            match second % 15 {
                0 => counter.observe(Side::Legacy, count),
                7 => counter.observe(Side::New, count),
                _ => {}
            }
        }
        if second % 60 == 0 {
            counters[0].seal((940 + second) * SECOND_NS, &demand);
        }
    }
    let verdicts = counters.each_mut().map(|counter| {
        counter.seal(u64::MAX, &demand);
        counter.verdict(&demand)
    });
    assert_eq!(verdicts[0], verdicts[1]);
    assert!(all_there(&verdicts[0]).is_some_and(|counted| counted > 100.0), "{:?}", verdicts[0]);
}

#[test]
fn one_percent_loss_is_found_within_twenty_minutes_at_one_event_a_second() {
    let mut seconds: Vec<u64> = (0..20)
        .map(|seed| {
            let mut scene = Scene::clean(seed);
            scene.loss = 0.01;
            let (verdict, found) = scene.run();
            let Verdict::Different(Finding { cause: Cause::Loss { side, ratio_low, ratio_high }, .. }) = verdict else {
                panic!("seed {seed}: {verdict:?}")
            };
            assert_eq!(side, Side::New);
            assert!(ratio_low < 0.0125 && ratio_high > 0.0075, "seed {seed}: {ratio_low} {ratio_high}");
            found.unwrap()
        })
        .collect();
    // At that rate twelve events are lost in twenty minutes on average, and half of that in one of twenty runs.
    seconds.sort_unstable();
    assert!(seconds[10] <= 1000 && seconds[15] <= 1200 && seconds[18] <= 1800, "{seconds:?}");
}

#[test]
fn a_loss_below_the_margin_is_a_remark() {
    let mut scene = Scene::clean(3);
    (scene.loss, scene.per_second, scene.hours) = (0.003, 20.0, 12.0);
    let (Verdict::Equivalent { margin_ratio, remark: Some(remark), .. }, _) = scene.run() else { panic!() };
    assert!(margin_ratio < 0.005, "{margin_ratio}");
    assert!(matches!(remark.cause, Cause::Loss { side: Side::New, .. }), "{remark:?}");
}

#[test]
fn a_lost_first_increment_is_found_where_the_beginning_is_known() {
    let mut scene = Scene::clean(4);
    (scene.late, scene.joins, scene.starts, scene.hours) = (30.0, true, true, 0.5);
    let (Verdict::Different(finding), _) = scene.run() else { panic!() };
    let Cause::FirstIncrementLost { side: Side::New, amount } = finding.cause else { panic!("{finding:?}") };
    assert!((amount - 30.0).abs() < 8.0, "{amount}");
}

#[test]
fn a_side_that_began_earlier_differs_by_an_offset_and_by_nothing_else() {
    let mut scene = Scene::clean(5);
    (scene.late, scene.joins, scene.per_second) = (500.0, true, 5.0);
    let (verdict, found) = scene.run();
    assert!(matches!(verdict, Verdict::Equivalent { .. }) && found.is_none(), "{verdict:?}");
}

#[test]
fn another_unit_is_named_by_its_factor() {
    let mut scene = Scene::clean(6);
    scene.scale = 1000.0;
    let (Verdict::Different(finding), _) = scene.run() else { panic!() };
    assert_eq!(finding.cause, Cause::UnitChanged { factor: 1000.0 });
}

#[test]
fn a_writer_that_is_there_twice_is_named() {
    let mut scene = Scene::clean(7);
    scene.scale = 2.0;
    let (Verdict::Different(finding), _) = scene.run() else { panic!() };
    assert_eq!(finding.cause, Cause::Duplicated { side: Side::New, times: 2.0 });
}

#[test]
fn nothing_from_one_side_is_no_verdict() {
    let mut counter = Counter::default();
    counter.observe(Side::New, Count { time_unix_ns: 5, start_unix_ns: 0, value: 1.0 });
    counter.seal(10, &Demand::default());
    let needs = Needs::Data { from: Side::Legacy };
    assert_eq!(counter.verdict(&Demand::default()), Verdict::Inconclusive { needs });
}

/// The share that is said to be lost.
fn loss(verdict: &Verdict) -> Option<Interval> {
    match verdict {
        Verdict::Different(finding) | Verdict::Equivalent { remark: Some(finding), .. } => match finding.cause {
            Cause::Loss { side: Side::New, ratio_low, ratio_high } => {
                Some(Interval { low: ratio_low, high: ratio_high })
            }
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn the_interval_of_a_loss_holds_the_truth() {
    let (mut told, mut held) = (0, 0);
    for seed in 0..400u64 {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x7e57);
        let mut scene = Scene::clean(seed);
        scene.loss = [0.005, 0.01, 0.02, 0.05, 0.2][random.usize(..5)];
        scene.per_second = [0.2, 1.0, 5.0, 50.0][random.usize(..4)];
        scene.legacy_interval_s = [5.0, 15.0, 60.0][random.usize(..3)];
        scene.new_interval_s = [5.0, 15.0, 30.0, 60.0][random.usize(..4)];
        scene.restart_every_s = [None, Some(600.0), Some(2000.0)][random.usize(..3)];
        scene.starts = random.bool();
        scene.jitter_s = [0.0, 2.0][random.usize(..2)];
        scene.skew_s = [0.0, 0.9, -0.9][random.usize(..3)];
        scene.hours = [0.7, 2.0][random.usize(..2)];
        let truth = scene.loss;
        let (verdict, _) = scene.run();
        let Some(interval) = loss(&verdict) else { continue };
        told += 1;
        held += u32::from(interval.contains(truth));
    }
    assert!(told >= 200 && f64::from(held) >= 0.95 * f64::from(told), "{held} of {told} hold the truth");
}

/// Two samplers of the seconds that requests took, without start times; gives every verdict, one a minute.
fn seconds(seed: u64, restart_every_s: Option<u64>) -> Vec<Verdict> {
    let mut random = fastrand::Rng::with_seed(seed);
    let demand = Demand::default();
    let mut counter = Counter::of_amounts();
    let (mut sum, phases) = (0.0, [random.u64(..15), random.u64(..15)]);
    let mut verdicts = Vec::new();
    for second in 1000..4600u64 {
        if restart_every_s.is_some_and(|every_s| second.is_multiple_of(every_s)) {
            sum = 0.0;
        }
        for _ in 0..random.u8(..3) {
            sum += 0.004 * random.f64();
        }
        for (side, phase) in [(Side::Legacy, phases[0]), (Side::New, phases[1])] {
            if second % 15 == phase {
                counter.observe(side, Count { time_unix_ns: second * SECOND_NS, start_unix_ns: 0, value: sum });
            }
        }
        if second.is_multiple_of(60) {
            counter.seal((second - 30) * SECOND_NS, &demand);
            verdicts.push(counter.verdict(&demand));
        }
    }
    verdicts
}

#[test]
fn amounts_that_stay_small_are_compared_too() {
    for seed in 0..20 {
        let verdicts = seconds(seed, None);
        let last = verdicts.last().unwrap();
        assert!(matches!(last, Verdict::Equivalent { .. }), "{seed}: {last:?}");
    }
}

#[test]
fn amounts_that_stay_small_and_begin_anew_are_no_loss() {
    for (seed, restart_every_s) in (0..60).zip([40, 97, 310, 900].into_iter().cycle()) {
        let verdicts = seconds(seed, Some(restart_every_s));
        let different = verdicts.iter().find(|verdict| matches!(verdict, Verdict::Different(_)));
        assert!(different.is_none(), "{seed}, every {restart_every_s} s: {different:?}");
    }
}
