//! State over several intervals and shards: totals, starts, gauges, expiry.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use aggregation::statsd::{Mappings, Settings, Shard, Source, Store};
use otlp::view::{MetricData, NumberPointView};
use support::{SECOND_NS, START_NS, settings, shown};

/// Shards and a store, and a clock that tests set, in seconds since the start.
struct Rig {
    shards: Vec<Shard>,
    store: Store,
}

impl Rig {
    fn new(settings: Settings, shards: usize) -> Rig {
        let settings = Arc::new(settings);
        let shards = (0..shards).map(|_| Shard::new(Arc::clone(&settings))).collect();
        Rig { shards, store: Store::new(settings, START_NS) }
    }

    fn line(&mut self, shard: usize, at_s: u64, line: &str) {
        let report = self.shards[shard].packet(line.as_bytes(), Source::Local, START_NS + at_s * SECOND_NS);
        assert_eq!(report.malformed.total(), 0, "{line}");
    }

    fn flush(&mut self, at_s: u64) -> aggregation::statsd::Flushed {
        for shard in &mut self.shards {
            let merged = self.store.merge(shard.take());
            assert_eq!(merged.refused, 0);
        }
        self.store.flush(START_NS + at_s * SECOND_NS)
    }

    fn check(&mut self, at_s: u64, expected: &str) {
        assert_eq!(shown(&self.flush(at_s)).trim_end(), expected, "at {at_s} s");
    }
}

fn rig(options: &str) -> Rig {
    Rig::new(settings(options), 2)
}

/// Start and end of each sum, in seconds since the start of the test.
fn times(flushed: &aggregation::statsd::Flushed) -> Vec<(i64, i64)> {
    let second = |time_ns: u64| (time_ns as i64 - START_NS as i64) / SECOND_NS as i64;
    let times = |point: NumberPointView<'_>| (second(point.start_time_unix_nano()), second(point.time_unix_nano()));
    let mut found = Vec::new();
    for batch in &flushed.metrics {
        let blocks = batch.metrics().unwrap().resource_metrics().into_iter();
        for metric in blocks.flat_map(|block| block.scope_metrics()).flat_map(|scope| scope.metrics()) {
            if let MetricData::Sum { points, .. } = metric.data() {
                found.extend(points.into_iter().map(times));
            }
        }
    }
    found
}

#[test]
fn deltas_are_those_of_their_interval() {
    let mut rig = rig("");
    rig.line(0, 1, "a:1|c");
    rig.line(1, 2, "a:2|c");
    let first = rig.flush(10);
    assert_eq!(shown(&first), "a sum=3\n");
    assert_eq!(times(&first), [(0, 10)]);
    rig.check(20, "");
    rig.line(1, 21, "a:4|c");
    let third = rig.flush(30);
    assert_eq!(shown(&third), "a sum=4\n");
    assert_eq!(times(&third), [(20, 30)]);
}

#[test]
fn a_flush_left_out_is_made_up_for_by_the_next() {
    let mut rig = rig("");
    rig.line(0, 1, "a:1|c");
    let collected = rig.shards[0].take();
    rig.store.merge(collected);
    rig.line(0, 11, "a:2|c");
    let flushed = rig.flush(20);
    assert_eq!(shown(&flushed), "a sum=3\n");
    assert_eq!(times(&flushed), [(0, 20)]);
}

#[test]
fn totals_survive_gaps() {
    let mut rig = rig("temporality: cumulative");
    rig.line(0, 1, "a:3|c");
    let first = rig.flush(10);
    assert_eq!((shown(&first).as_str(), times(&first)), ("a cumulative monotonic sum=3\n", vec![(0, 10)]));
    let gap = rig.flush(20);
    assert_eq!((shown(&gap).as_str(), times(&gap)), ("a cumulative monotonic sum=3\n", vec![(0, 20)]));
    rig.line(1, 21, "a:5|c\nb:1|c");
    let third = rig.flush(30);
    assert_eq!(shown(&third), "a cumulative monotonic sum=8\nb cumulative monotonic sum=1\n");
    // The first increment of `b` came after its start, so that no backend loses it.
    assert_eq!(times(&third), [(0, 30), (20, 30)]);
}

#[test]
fn a_total_that_expires_ends_with_a_marker_and_returns_with_a_new_start() {
    let mut rig = rig("temporality: cumulative\nexpiry: 15s");
    rig.line(0, 1, "a:3|c");
    rig.check(10, "a cumulative monotonic sum=3");
    let end = rig.flush(20);
    assert_eq!((shown(&end).as_str(), times(&end)), ("a cumulative monotonic sum=stale\n", vec![(0, 20)]));
    assert_eq!(rig.store.series(), 0);
    rig.check(30, "");
    rig.line(0, 31, "a:2|c");
    let back = rig.flush(40);
    assert_eq!((shown(&back).as_str(), times(&back)), ("a cumulative monotonic sum=2\n", vec![(30, 40)]));
}

#[test]
fn a_gauge_is_remembered_so_that_changes_are_right() {
    let mut rig = rig("");
    rig.line(0, 1, "depth:10|g");
    rig.check(10, "depth gauge=10.0");
    rig.check(20, "");
    rig.line(1, 21, "depth:-3|g");
    rig.check(30, "depth gauge=7.0");
}

#[test]
fn a_repeated_gauge_is_written_until_it_expires() {
    let mut rig = rig("repeat_gauges: true\nexpiry: 25s");
    rig.line(0, 1, "depth:10|g");
    rig.check(10, "depth gauge=10.0");
    rig.check(20, "depth gauge=10.0");
    rig.check(30, "depth gauge=stale");
    rig.check(40, "");
    rig.line(0, 41, "depth:+1|g");
    rig.check(50, "depth gauge=1.0");
}

#[test]
fn the_last_gauge_by_arrival_wins_over_all_shards() {
    let mut rig = rig("");
    rig.line(0, 3, "depth:30|g");
    rig.line(1, 2, "depth:20|g");
    rig.check(10, "depth gauge=30.0");
    rig.line(0, 11, "depth:1|g");
    rig.line(1, 12, "depth:2|g");
    rig.check(20, "depth gauge=2.0");
}

#[test]
fn changes_count_where_they_came_after_the_last_value() {
    let mut rig = rig("");
    rig.line(0, 1, "depth:10|g");
    rig.line(0, 2, "depth:+1|g");
    rig.line(0, 4, "depth:+2|g");
    rig.line(1, 3, "depth:100|g");
    rig.line(1, 5, "depth:+4|g");
    rig.check(10, "depth gauge=106.0");
}

#[test]
fn a_clock_that_is_set_back_voids_no_gauge() {
    let mut rig = rig("");
    rig.line(0, 100, "depth:10|g");
    rig.check(101, "depth gauge=10.0");
    rig.line(0, 50, "depth:+1|g");
    rig.line(1, 51, "depth:+2|g");
    rig.check(102, "depth gauge=13.0");
    rig.line(1, 103, "depth:7|g");
    rig.line(1, 60, "depth:5|g");
    rig.line(1, 59, "depth:+1|g");
    rig.check(104, "depth gauge=6.0");
}

#[test]
fn a_change_at_the_time_of_the_flush_counts_once() {
    let mut rig = rig("");
    rig.line(0, 10, "depth:+1|g");
    rig.check(10, "depth gauge=1.0");
    rig.line(0, 10, "depth:+1|g");
    rig.check(20, "depth gauge=2.0");
}

#[test]
fn very_many_changes_add_up() {
    let mut rig = rig("");
    rig.line(1, 1, "depth:1000|g");
    for second in 2..302 {
        rig.line(0, second, "depth:+1|g");
        rig.line(1, second, "depth:-2|g");
    }
    rig.check(400, "depth gauge=700.0");
}

#[test]
fn a_set_counts_over_all_shards_and_starts_anew() {
    let mut rig = rig("");
    rig.line(0, 1, "users:a|s\nusers:b|s");
    rig.line(1, 1, "users:b|s\nusers:c|s");
    rig.check(10, "users gauge=3");
    rig.line(0, 11, "users:a|s");
    rig.check(20, "users gauge=1");
}

const HISTOGRAMS: &str = "timer_histogram_mapping: [
    {statsd_type: timer, observer_type: histogram, histogram: {explicit_buckets: [{matcher_pattern: '', buckets: [1, 2]}]}},
    {statsd_type: histogram, observer_type: summary, summary: {percentiles: [50]}},
    {statsd_type: distribution, observer_type: histogram, histogram: {max_size: 2}}]";

#[test]
fn histograms_are_deltas_or_totals() {
    let mut deltas = rig(HISTOGRAMS);
    deltas.line(0, 1, "a:1|ms\nb:5|h\nc:1|d");
    deltas.line(1, 1, "a:3|ms\nb:7|h\nc:4|d");
    deltas.check(
        10,
        "a histogram count=2 sum=4.0 min=1.0 max=3.0 [1.0, 2.0] [1, 0, 1]\n\
         b summary count=2 sum=12.0 0.5:5.0\n\
         c exponential count=2 sum=5.0 scale=-1 zero=0 +-1:[1, 1] -0:[]",
    );
    deltas.line(0, 11, "a:1|ms");
    deltas.check(20, "a histogram count=1 sum=1.0 min=1.0 max=1.0 [1.0, 2.0] [1, 0, 0]");
    deltas.check(30, "");

    let mut totals = rig(&format!("temporality: cumulative\n{HISTOGRAMS}"));
    totals.line(0, 1, "a:1|ms\nb:5|h\nc:1|d");
    let _ = totals.flush(10);
    totals.line(1, 11, "a:3|ms\nb:7|h\nc:4|d");
    totals.check(
        20,
        "a histogram count=2 sum=4.0 min=1.0 max=3.0 [1.0, 2.0] [1, 0, 1]\n\
         b summary count=2 sum=12.0 0.5:7.0\n\
         c exponential count=2 sum=5.0 scale=-1 zero=0 +-1:[1, 1] -0:[]",
    );
    totals.check(
        30,
        "a histogram count=2 sum=4.0 min=1.0 max=3.0 [1.0, 2.0] [1, 0, 1]\n\
         b summary count=2 sum=12.0 \n\
         c exponential count=2 sum=5.0 scale=-1 zero=0 +-1:[1, 1] -0:[]",
    );
}

#[test]
fn counts_that_are_not_whole_are_right_over_time() {
    let mut rig = rig(HISTOGRAMS);
    let mut count = 0;
    for interval in 0..30 {
        rig.line(0, interval * 10 + 1, "a:1|ms|@0.3");
        let found = shown(&rig.flush(interval * 10 + 10));
        count += found.split_once("count=").unwrap().1.split_once(' ').unwrap().0.parse::<u64>().unwrap();
    }
    assert_eq!(count, 100);
}

#[test]
fn a_summary_of_very_many_values_stays_small_and_nearly_exact() {
    let mut rig = rig(
        "timer_histogram_mapping: [{statsd_type: timer, observer_type: summary, summary: {percentiles: [0, 50, 99, 100]}}]",
    );
    for value in 0..100_000_u64 {
        rig.line((value % 2) as usize, 1, &format!("a:{}|ms", value * 7919 % 100_000));
    }
    let found = shown(&rig.flush(10));
    let (head, tail) = found.split_once("0.0:").unwrap();
    assert_eq!(head, "a summary count=100000 sum=4999950000.0 ");
    let values: Vec<f64> =
        tail.split_whitespace().map(|pair| pair.rsplit(':').next().unwrap().parse().unwrap()).collect();
    assert_eq!((values[0], values[3]), (0.0, 99_999.0));
    assert!((values[1] - 50_000.0).abs() < 200.0 && (values[2] - 99_000.0).abs() < 200.0, "{values:?}");
}

#[test]
fn a_shard_forgets_what_is_idle_and_the_store_does_not() {
    let mut rig = Rig::new(settings("temporality: cumulative\nmax_series: 2\nexpiry: 0s"), 1);
    rig.line(0, 1, "a:1|c\nb:1|c");
    for interval in 1..=20 {
        let _ = rig.flush(interval * 10);
    }
    // The shard has room again, and the store has none.
    rig.line(0, 205, "c:1|c");
    assert_eq!(rig.store.merge(rig.shards[0].take()).refused, 1);
    rig.line(0, 206, "a:1|c");
    rig.check(210, "a cumulative monotonic sum=2\nb cumulative monotonic sum=1");
}

#[test]
fn a_clock_that_is_set_back_makes_no_interval_end_before_it_began() {
    let mut rig = rig("");
    rig.line(0, 1, "a:1|c");
    let _ = rig.flush(100);
    rig.line(0, 50, "a:1|c");
    assert_eq!(times(&rig.flush(60)), [(60, 60)]);
    rig.line(0, 61, "a:1|c");
    assert_eq!(times(&rig.flush(70)), [(60, 70)]);
}

#[test]
fn many_points_make_several_batches() {
    let mut rig = rig("");
    let lines: String = (0..20_000).map(|i| format!("m{}:1|c|#series:{i}\n", i % 3)).collect();
    rig.line(0, 1, &lines);
    let flushed = rig.flush(10);
    assert_eq!(flushed.metrics.iter().map(otlp::Batch::items).sum::<u32>(), 20_000);
    assert!(flushed.metrics.len() > 1 && flushed.metrics.iter().all(|batch| batch.bytes().len() < 4 << 20));
}

#[test]
fn shards_have_one_point_for_a_time_that_lines_bring() {
    let mut rig = rig("");
    rig.line(0, 1, "a:1|c|T100\nb:1|g|T100");
    rig.line(1, 2, "a:2|c|T100\nb:2|g|T100\na:4|c|T101");
    rig.check(10, "a sum=3 @100s\na sum=4 @101s\nb gauge=2.0 @100s");
}

#[test]
fn clients_are_one_or_are_told_apart_by_their_address() {
    let from = |address: &str| Source::Peer(address.parse().unwrap());
    for (options, expected) in [
        ("", "a sum=7"),
        ("client_address: true", "a{client.address=10.0.0.1} sum=3\na{client.address=10.0.0.2} sum=4"),
    ] {
        let mut rig = rig(options);
        for (client, line) in [("10.0.0.1:1000", "a:1|c"), ("[::ffff:10.0.0.1]:2000", "a:2|c"), ("10.0.0.2:1", "a:4|c")]
        {
            rig.shards[0].packet(line.as_bytes(), from(client), START_NS + SECOND_NS);
        }
        rig.check(10, expected);
    }
}

#[test]
fn a_mapping_says_when_its_series_expire() {
    let file = "{defaults: {ttl: 15s}, mappings: [{match: a.*, name: a, ttl: 0}]}";
    let settings = settings("temporality: cumulative").with_mappings(Mappings::parse("m.yml", file).unwrap());
    let mut rig = Rig::new(settings, 1);
    rig.line(0, 1, "a.x:1|c\nb:1|c");
    rig.check(10, "a cumulative monotonic sum=1\nb cumulative monotonic sum=1");
    rig.check(20, "a cumulative monotonic sum=1\nb cumulative monotonic sum=stale");
    rig.check(900, "a cumulative monotonic sum=1");
}

#[test]
fn events_beyond_their_bytes_are_refused_and_the_shard_says_so_before() {
    let mut rig = rig("");
    let event = format!("_e{{1,60000}}:t|{}", "x".repeat(60_000));
    let mut kept = 0;
    while rig.shards[0].packet(event.as_bytes(), Source::Local, START_NS).kept() == 1 {
        kept += 1;
    }
    assert!((100..200).contains(&kept) && rig.shards[0].is_crowded());
    assert_eq!(rig.flush(10).logs.unwrap().items(), kept);
    assert!(!rig.shards[0].is_crowded());
    rig.line(0, 11, &event);
}
