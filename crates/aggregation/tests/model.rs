//! Random lines, split over shards and intervals at random, against a plain model of what they add up to.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aggregation::statsd::{Flushed, Shard, Source, Store};
use proptest::prelude::*;
use support::{SECOND_NS, START_NS, settings, shown};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A line comes to a shard.
    Line {
        shard: usize,
        series: usize,
        kind: char,
        value: i32,
        signed: bool,
        rate: usize,
        reversed: bool,
    },
    /// One shard hands over before its time.
    Take {
        shard: usize,
    },
    Flush,
}

const SHARDS: usize = 3;
/// Rates whose inverses are whole, so that sums can be compared exactly.
const RATES: [(&str, i64); 4] = [("", 1), ("|@0.5", 2), ("|@0.1", 10), ("|@0.25", 4)];
const BOUNDS: [i64; 3] = [0, 10, 100];

fn step() -> impl Strategy<Value = Step> {
    let line = (0..SHARDS, 0..4_usize, 0..4_usize, -200..200_i32, any::<bool>(), 0..RATES.len(), any::<bool>());
    prop_oneof![
        20 => line.prop_map(|(shard, series, kind, value, signed, rate, reversed)| Step::Line {
            shard, series, kind: ['c', 'g', 's', 'd'][kind], value, signed, rate, reversed,
        }),
        1 => (0..SHARDS).prop_map(|shard| Step::Take { shard }),
        1 => Just(Step::Flush),
    ]
}

/// What a plain program would keep.
#[derive(Default)]
struct Model {
    counters: BTreeMap<String, i64>,
    totals: BTreeMap<String, i64>,
    gauges: BTreeMap<String, i64>,
    fresh_gauges: BTreeSet<String>,
    sets: BTreeMap<String, BTreeSet<i32>>,
    /// Count, sum, and counts by bucket.
    histograms: BTreeMap<String, (i64, i64, [i64; BOUNDS.len() + 1])>,
}

impl Model {
    fn add(&mut self, kind: char, series: String, value: i32, signed: bool, weight: i64) {
        let number = i64::from(value);
        match kind {
            'c' => {
                *self.counters.entry(series.clone()).or_default() += number * weight;
                *self.totals.entry(series).or_default() += number * weight;
            }
            'g' => {
                // A negative value has a sign whether it is wanted or not.
                let relative = signed || value < 0;
                let gauge = self.gauges.entry(series.clone()).or_default();
                *gauge = if relative { *gauge + number } else { number };
                self.fresh_gauges.insert(series);
            }
            's' => {
                self.sets.entry(series).or_default().insert(value);
            }
            _ => {
                let (count, sum, counts) = self.histograms.entry(series).or_default();
                *count += weight;
                *sum += number * weight;
                counts[BOUNDS.iter().position(|bound| number <= *bound).unwrap_or(BOUNDS.len())] += weight;
            }
        }
    }

    /// What a flush of deltas is to write, and the next interval.
    fn flush(&mut self) -> String {
        let mut lines = Vec::new();
        lines.extend(std::mem::take(&mut self.counters).iter().map(|(series, sum)| format!("c{series} sum={sum}")));
        lines.extend(
            std::mem::take(&mut self.fresh_gauges)
                .iter()
                .map(|series| format!("g{series} gauge={:?}", self.gauges[series] as f64)),
        );
        lines.extend(
            std::mem::take(&mut self.sets).iter().map(|(series, set)| format!("s{series} gauge={}", set.len())),
        );
        lines.extend(std::mem::take(&mut self.histograms).iter().map(|(series, (count, sum, counts))| {
            format!("d{series} histogram count={count} sum={:?} [0.0, 10.0, 100.0] {counts:?}", *sum as f64)
        }));
        lines.sort();
        lines.join("\n")
    }
}

/// Without the extremes, which the model does not keep.
fn found(flushed: &Flushed) -> String {
    let without = |line: &str| match (line.find(" min="), line.find(" [")) {
        (Some(min), Some(bounds)) => format!("{}{}", &line[..min], &line[bounds..]),
        _ => line.to_owned(),
    };
    let mut lines: Vec<String> = shown(flushed).lines().map(without).collect();
    lines.sort();
    lines.join("\n")
}

fn check(steps: &[Step]) {
    const OPTIONS: &str = "is_monotonic_counter: false\ntimer_histogram_mapping: [{statsd_type: distribution, \
        observer_type: histogram, histogram: {explicit_buckets: [{matcher_pattern: '', buckets: [0, 10, 100]}]}}]";
    let deltas = Arc::new(settings(OPTIONS));
    let totals = Arc::new(settings(&format!("temporality: cumulative\n{OPTIONS}")));
    let mut shards: Vec<Shard> = (0..SHARDS).map(|_| Shard::new(Arc::clone(&deltas))).collect();
    let mut all: Shard = Shard::new(Arc::clone(&totals));
    let mut store = Store::new(deltas, START_NS);
    let mut total_store = Store::new(totals, START_NS);
    let mut model = Model::default();
    let mut now_ns = START_NS;
    let flush = [Step::Flush];
    for step in steps.iter().chain(&flush) {
        now_ns += SECOND_NS;
        match step {
            Step::Line { shard, series, kind, value, signed, rate, reversed } => {
                let tags = if *reversed { "b:2,a:1" } else { "a:1,b:2" };
                let tags = if *series < 2 { format!("|#{tags}") } else { String::new() };
                let plus = if *signed && *value >= 0 && *kind == 'g' { "+" } else { "" };
                let (rate, weight) = RATES[*rate];
                let line = format!("{kind}{series}:{plus}{value}|{kind}{rate}{tags}");
                let identity = if *series < 2 { format!("{series}{{a=1,b=2}}") } else { series.to_string() };
                model.add(*kind, identity, *value, *signed, weight);
                assert_eq!(shards[*shard].packet(line.as_bytes(), Source::Local, now_ns).kept(), 1);
                assert_eq!(all.packet(line.as_bytes(), Source::Local, now_ns).kept(), 1);
            }
            Step::Take { shard } => {
                let collected = shards[*shard].take();
                assert_eq!(store.merge(collected).refused, 0);
            }
            Step::Flush => {
                for shard in &mut shards {
                    assert_eq!(store.merge(shard.take()).refused, 0);
                }
                assert_eq!(found(&store.flush(now_ns)), model.flush());
                assert_eq!(total_store.merge(all.take()).refused, 0);
            }
        }
    }
    let totals = shown(&total_store.flush(now_ns));
    let totals: Vec<&str> = totals.lines().filter(|line| line.contains("cumulative sum=")).collect();
    let expected: Vec<String> =
        model.totals.iter().map(|(series, sum)| format!("c{series} cumulative sum={sum}")).collect();
    assert_eq!(totals, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_split_over_shards_and_intervals_adds_up_to_the_same(steps in prop::collection::vec(step(), 0..120)) {
        check(&steps);
    }
}
