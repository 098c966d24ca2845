//! One metric, two samplers.

use otlp::encode::{MetricWriter, MetricsEncoder};
use otlp::{Batch, NumberValue, Temporality};
use parity::Side;

use super::naive::{self, Shown};
use super::{BEGIN_S, Outcome, SECOND_NS, Watch, at, exponential, normal};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Counter,
    /// The new side sends deltas.
    Delta,
    Gauge,
    Explicit,
    /// The scale of each side.
    Exponential,
    Summary,
}

/// How events come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pattern {
    Random,
    /// More at day than at night.
    Daily,
    /// In groups of about twenty.
    Groups,
    /// All of a minute's at its beginning.
    Cron,
    /// Added up every ten seconds.
    Flushed,
    /// One after the other at the same distance.
    Regular,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Starts {
    None,
    Both,
    NewOnly,
}

/// What is wrong on the new side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    Loss(f64),
    Scale(f64),
    /// Only this share of what is added is bigger, as where a cache counts in another unit.
    ResetEvery(f64),
    RestatedStarts,
    ShiftedBuckets(f64),
    /// The buckets are those for milliseconds, the values are seconds.
    SecondsInMilliseconds,
    FirstLost(u32),
    /// Of all events, this one alone is lost: the first is 1.
    OneLost(u32),
    StopAfter(f64),
}

#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    pub(crate) pattern: Pattern,
    pub(crate) per_second: f64,
    pub(crate) intervals_s: [f64; 2],
    pub(crate) jitter_s: f64,
    pub(crate) skew_s: f64,
    /// The mean time between restarts of the process.
    pub(crate) restart_s: Option<f64>,
    pub(crate) starts: Starts,
    pub(crate) hours: f64,
    pub(crate) fault: Fault,
    /// What was counted before anyone looked.
    pub(crate) counted: u64,
    /// How a gauge moves: slowly, in steps, or all the time.
    pub(crate) gauge: u64,
}

impl Scene {
    /// The one that the figures of `parity.md` speak of.
    pub(crate) fn plain(seed: u64, kind: Kind) -> Scene {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
        Scene {
            seed,
            kind,
            pattern: Pattern::Random,
            per_second: 1.0,
            intervals_s: [15.0, 15.0],
            jitter_s: 0.1,
            skew_s: random.f64() * 2.0 - 1.0,
            restart_s: None,
            starts: Starts::None,
            hours: 3.0,
            fault: Fault::None,
            counted: 0,
            gauge: 0,
        }
    }

    /// Anything that may happen without a difference.
    pub(crate) fn any(seed: u64, kind: Kind, hours: f64) -> Scene {
        let mut random = fastrand::Rng::with_seed(seed ^ 0xc1ea);
        let mut pick = |count: usize| random.usize(..count);
        use Pattern::{Cron, Daily, Flushed, Groups, Random, Regular};
        let pattern = [Random, Daily, Groups, Cron, Flushed, Regular][pick(6)];
        let per_second = [0.02, 0.2, 1.0, 5.0, 20.0][pick(5)];
        let intervals_s = [[10.0, 15.0, 30.0, 60.0][pick(4)], [10.0, 15.0, 15.01, 7.3, 60.0][pick(5)]];
        let jitter_s = [0.0, 0.1, 2.0][pick(3)];
        let restart_s = [None, None, Some(7200.0), Some(1800.0), Some(200.0)][pick(5)];
        let starts = [Starts::None, Starts::Both, Starts::NewOnly][pick(3)];
        let gauge = pick(3) as u64;
        Scene {
            pattern,
            per_second,
            intervals_s,
            jitter_s,
            restart_s,
            starts,
            hours,
            gauge,
            skew_s: [0.0, 0.95, -0.95, 0.3][pick(4)],
            ..Scene::plain(seed, kind)
        }
    }

    /// The same, but that next to nothing happens.
    pub(crate) fn slow(seed: u64, kind: Kind, per_second: f64, hours: f64) -> Scene {
        let counted = [0, 1, 1000][(seed % 3) as usize];
        Scene { pattern: Pattern::Random, per_second, counted, ..Scene::any(seed, kind, hours) }
    }

    pub(crate) fn run(self) -> Outcome {
        World::new(self).run()
    }
}

const BOUNDS: [f64; 14] = [5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1e3, 2.5e3, 5e3, 7.5e3, 1e4];

/// What one side has counted.
#[derive(Clone, Debug, Default)]
struct Counted {
    count: u64,
    sum: f64,
    buckets: Vec<u64>,
    recent: std::collections::VecDeque<(f64, f64)>,
}

struct World {
    scene: Scene,
    random: fastrand::Rng,
    watch: Watch,
    sides: [Counted; 2],
    shown: [Shown; 2],
    start_s: f64,
    starts_s: [f64; 2],
    sampled_s: [f64; 2],
    level: f64,
    level_s: f64,
    lost_first: u32,
    /// How many events there were, and when the only one that is lost was.
    events: u32,
    lost_s: f64,
}

impl World {
    fn new(scene: Scene) -> World {
        let random = fastrand::Rng::with_seed(scene.seed);
        let shown = match scene.kind {
            Kind::Gauge | Kind::Summary => [Shown::Levels(vec![]), Shown::Levels(vec![])],
            Kind::Delta => [Shown::Counts(vec![]), Shown::Deltas(vec![])],
            _ => [Shown::Counts(vec![]), Shown::Counts(vec![])],
        };
        let counted = Counted { count: scene.counted, ..Counted::default() };
        let lost_first = if let Fault::FirstLost(first) = scene.fault { first } else { 0 };
        World {
            scene,
            random,
            watch: Watch::new(),
            sides: [counted.clone(), counted],
            shown,
            start_s: BEGIN_S - 1.0,
            starts_s: [BEGIN_S - 1.0; 2],
            sampled_s: [BEGIN_S - 1.0; 2],
            level: 50.0,
            level_s: BEGIN_S,
            lost_first,
            events: 0,
            lost_s: BEGIN_S,
        }
    }

    fn run(mut self) -> Outcome {
        let end = BEGIN_S + self.scene.hours * 3600.0;
        let mut next_event = self.after(BEGIN_S);
        let mut next = [0, 1].map(|side| BEGIN_S + self.random.f64() * self.scene.intervals_s[side]);
        let mut next_restart = self.restart_after(BEGIN_S);
        let mut next_reset = BEGIN_S + 600.0;
        let mut next_close = BEGIN_S + 60.0;
        loop {
            let now = next[0].min(next[1]).min(next_event).min(next_restart).min(next_close);
            if now > end {
                break;
            }
            if now == next_event {
                self.event(now);
                next_event = self.after(now);
            } else if now == next_restart {
                self.restart(now);
                next_restart = self.restart_after(now);
            } else if now == next_close {
                self.watch.close(now);
                next_close += 60.0;
            } else {
                let side = if now == next[0] { Side::Legacy } else { Side::New };
                if let Fault::ResetEvery(every) = self.scene.fault
                    && side == Side::New
                    && now > next_reset
                {
                    (self.sides[1].count, self.sides[1].buckets, self.starts_s[1]) = (0, vec![], now - 0.5);
                    next_reset = now + every;
                }
                self.sample(side, now);
                let jitter = (self.random.f64() - 0.5) * self.scene.jitter_s;
                next[at(side)] += (self.scene.intervals_s[at(side)] + jitter).max(0.5);
            }
        }
        let naive = naive::compare(&self.shown, end);
        let days = self.scene.hours / 24.0;
        let outcome = self.watch.finish(end);
        // The time to find it begins when there is something to be found.
        let found_s = outcome.found_s.map(|found| found - (self.lost_s - BEGIN_S));
        Outcome { naive, days, found_s, ..outcome }
    }

    /// When the next events come.
    fn after(&mut self, now: f64) -> f64 {
        let rate = self.scene.per_second;
        match self.scene.pattern {
            Pattern::Random => now + exponential(&mut self.random, rate),
            Pattern::Daily => {
                let day = 1.0 + 0.8 * (now / 86_400.0 * std::f64::consts::TAU).sin();
                now + exponential(&mut self.random, rate * day)
            }
            Pattern::Groups => now + exponential(&mut self.random, rate / 20.0),
            Pattern::Cron => ((now / 60.0).floor() + 1.0) * 60.0,
            Pattern::Flushed => ((now / 10.0).floor() + 1.0) * 10.0,
            Pattern::Regular => now + 1.0 / rate,
        }
    }

    fn event(&mut self, now: f64) {
        let rate = self.scene.per_second;
        let about =
            |random: &mut fastrand::Rng, mean: f64| (mean + mean.sqrt() * normal(random)).round().max(0.0) as u64;
        let events = match self.scene.pattern {
            Pattern::Random | Pattern::Daily | Pattern::Regular => 1,
            Pattern::Groups => 1 + self.random.u64(..39),
            Pattern::Cron => about(&mut self.random, rate * 60.0),
            Pattern::Flushed => about(&mut self.random, rate * 10.0),
        };
        for _ in 0..events {
            let value = 20.0 * exponential(&mut self.random, 1.0);
            self.sides[0].add(&self.scene, Side::Legacy, now, value);
            self.events += 1;
            if self.scene.fault == Fault::OneLost(self.events) {
                self.lost_s = now;
                continue;
            }
            if self.lost_first > 0 {
                self.lost_first -= 1;
                continue;
            }
            if let Fault::Loss(ratio) = self.scene.fault
                && self.random.f64() < ratio
            {
                continue;
            }
            let value = match self.scene.fault {
                Fault::ShiftedBuckets(ratio) if value > 8.0 && value <= 10.0 && self.random.f64() < ratio => 10.2,
                Fault::SecondsInMilliseconds => value / 1000.0,
                Fault::Scale(factor) => value * factor,
                _ => value,
            };
            self.sides[1].add(&self.scene, Side::New, now, value);
        }
    }

    fn restart(&mut self, now: f64) {
        self.start_s = now;
        self.starts_s = [now; 2];
        for (side, counted) in self.sides.iter_mut().enumerate() {
            // Deltas are sent when they happen, whatever becomes of the process.
            if side == 0 || self.scene.kind != Kind::Delta {
                *counted = Counted { recent: std::mem::take(&mut counted.recent), ..Counted::default() };
            }
        }
    }

    fn restart_after(&mut self, now: f64) -> f64 {
        self.scene.restart_s.map_or(f64::INFINITY, |mean| now + 5.0 + exponential(&mut self.random, 1.0 / mean))
    }

    fn sample(&mut self, side: Side, now: f64) {
        if side == Side::New
            && (matches!(self.scene.fault, Fault::StopAfter(after) if now > BEGIN_S + after) || self.lost_first > 0)
        {
            return;
        }
        let skew_s = if side == Side::New { self.scene.skew_s } else { 0.0 };
        let has_start = match self.scene.starts {
            Starts::None => false,
            Starts::Both => true,
            Starts::NewOnly => side == Side::New,
        };
        let is_delta = side == Side::New && self.scene.kind == Kind::Delta;
        let start_s = match () {
            () if is_delta => self.sampled_s[1],
            () if side == Side::New && self.scene.fault == Fault::RestatedStarts => now,
            () if has_start => self.starts_s[at(side)],
            () => 0.0,
        };
        let level = self.level(side, now);
        let batch = self.batch(side, now + skew_s, start_s, level, is_delta);
        self.watch.comparator.observe(side, &batch);
        let counted = &mut self.sides[at(side)];
        let factor = if let (Side::New, Fault::Scale(factor)) = (side, self.scene.fault) { factor } else { 1.0 };
        let shown = match self.scene.kind {
            Kind::Gauge => level,
            Kind::Summary => counted.quantile(now, 0.99),
            _ => counted.count as f64 * factor,
        };
        self.shown[at(side)].push(now, shown);
        if is_delta {
            counted.count = 0;
        }
        self.sampled_s[at(side)] = now;
    }

    fn level(&mut self, side: Side, now: f64) -> f64 {
        if self.scene.kind != Kind::Gauge {
            return 0.0;
        }
        let passed = now - self.level_s;
        self.level_s = now;
        match self.scene.gauge {
            0 => {
                let stays = (-passed / 300.0).exp();
                let noise = 5.0 * (1.0 - stays * stays).sqrt() * normal(&mut self.random);
                self.level = 50.0 + (self.level - 50.0) * stays + noise;
            }
            1 if self.random.f64() < passed / 600.0 => self.level = 20.0 + 60.0 * self.random.f64(),
            1 => {}
            _ => self.level = 50.0 + 8.0 * normal(&mut self.random),
        }
        match (side, self.scene.fault) {
            (Side::New, Fault::Scale(factor)) => self.level * factor,
            _ => self.level,
        }
    }

    fn batch(&mut self, side: Side, at_s: f64, start_s: f64, level: f64, is_delta: bool) -> Batch {
        let ns = |seconds: f64| (seconds * SECOND_NS) as u64;
        let (time, start) = (ns(at_s), ns(start_s));
        let kind = self.scene.kind;
        let scale = if let (Side::New, Fault::Scale(factor)) = (side, self.scene.fault) { factor } else { 1.0 };
        let counted = &mut self.sides[at(side)];
        let mut encoder = MetricsEncoder::new();
        encoder.resource_metrics(|resource| {
            resource.scope_metrics(|scope| {
                scope.metric(|metric| {
                    metric.name("requests");
                    match kind {
                        Kind::Counter | Kind::Delta => {
                            number(metric, time, start, counted.count as f64 * scale, is_delta);
                        }
                        Kind::Gauge => {
                            metric.gauge(|gauge| {
                                gauge.point(|point| {
                                    point.time_unix_nano(time).value(NumberValue::Double(level));
                                });
                            });
                        }
                        Kind::Explicit => explicit(metric, time, start, counted),
                        Kind::Exponential => exponential_point(metric, time, start, counted, side),
                        Kind::Summary => summary(metric, time, start, counted, at_s),
                    }
                });
            });
        });
        encoder.finish()
    }
}

impl Counted {
    fn add(&mut self, scene: &Scene, side: Side, now: f64, value: f64) {
        self.count += 1;
        self.sum += value;
        match scene.kind {
            Kind::Explicit => {
                self.buckets.resize(BOUNDS.len() + 1, 0);
                self.buckets[BOUNDS.partition_point(|bound| *bound < value)] += 1;
            }
            Kind::Exponential => {
                self.buckets.resize(400, 0);
                let index = (value.log2() * f64::from(1 << scale_of(side))).ceil() as i64 - 1 + 200;
                self.buckets[usize::try_from(index.clamp(0, 399)).unwrap_or(0)] += 1;
            }
            Kind::Summary => self.recent.push_back((now, value)),
            _ => {}
        }
    }

    /// Of the last two minutes, as a client library gives it.
    fn quantile(&mut self, now: f64, quantile: f64) -> f64 {
        while self.recent.front().is_some_and(|first| first.0 < now - 120.0) {
            self.recent.pop_front();
        }
        let mut values: Vec<f64> = self.recent.iter().map(|recent| recent.1).collect();
        values.sort_by(f64::total_cmp);
        let index = (quantile * values.len() as f64) as usize;
        values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

const fn scale_of(side: Side) -> i32 {
    match side {
        Side::Legacy => 3,
        Side::New => 1,
    }
}

fn number(metric: &mut MetricWriter<'_>, time: u64, start: u64, value: f64, is_delta: bool) {
    metric.sum(|sum| {
        sum.is_monotonic(true);
        sum.temporality(if is_delta { Temporality::Delta } else { Temporality::Cumulative });
        sum.point(|point| {
            point.time_unix_nano(time).start_time_unix_nano(start).value(NumberValue::Double(value));
        });
    });
}

fn explicit(metric: &mut MetricWriter<'_>, time: u64, start: u64, counted: &mut Counted) {
    counted.buckets.resize(BOUNDS.len() + 1, 0);
    metric.histogram(|histogram| {
        histogram.temporality(Temporality::Cumulative);
        histogram.point(|point| {
            point.time_unix_nano(time).start_time_unix_nano(start);
            point.count(counted.count).sum(counted.sum);
            point.bucket_counts(counted.buckets.iter().copied()).explicit_bounds(BOUNDS);
        });
    });
}

fn exponential_point(metric: &mut MetricWriter<'_>, time: u64, start: u64, counted: &mut Counted, side: Side) {
    counted.buckets.resize(400, 0);
    let first = counted.buckets.iter().position(|count| *count > 0).unwrap_or(200);
    let last = counted.buckets.iter().rposition(|count| *count > 0).unwrap_or(first);
    metric.exponential_histogram(|histogram| {
        histogram.temporality(Temporality::Cumulative);
        histogram.point(|point| {
            point.time_unix_nano(time).start_time_unix_nano(start);
            point.count(counted.count).sum(counted.sum).scale(scale_of(side));
            point.positive(|buckets| {
                buckets.offset(first as i32 - 200);
                buckets.bucket_counts(counted.buckets[first..=last].iter().copied());
            });
        });
    });
}

fn summary(metric: &mut MetricWriter<'_>, time: u64, start: u64, counted: &mut Counted, now: f64) {
    let quantiles = [0.5, 0.99].map(|quantile| (quantile, counted.quantile(now, quantile)));
    metric.summary(|summary| {
        summary.point(|point| {
            point.time_unix_nano(time).start_time_unix_nano(start).count(counted.count).sum(counted.sum);
            for (quantile, value) in quantiles {
                point.quantile(|written| {
                    written.quantile(quantile).value(value);
                });
            }
        });
    });
}
