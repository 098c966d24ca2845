//! Batches and the packets that they become. `testdata/statsd/all.json` beside the lines of each dialect;
//! `UPDATE_GOLDEN=1` writes those anew.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use component::metrics::Labels;
use component::{Exporter, ExporterContext, Metrics, Registry, Stop};
use config::{ComponentId, Diagnostics, TestEnvironment};
use otlp::encode::{MetricWriter, MetricsEncoder};
use otlp::{Limits, Signal, Temporality, json};
use proptest::prelude::*;

use super::state::{Buckets, InitialValue, Limits as StateLimits, Run, SeriesId, Step, Total};
use super::*;

const SECOND: u64 = 1_000_000_000;

pub(super) fn exporter(yaml: &str) -> Arc<dyn Exporter> {
    let mut registry = Registry::default();
    crate::register(&mut registry);
    let id: ComponentId = "statsd".parse().unwrap();
    let loaded =
        config::parse_str("test.yaml", yaml, &TestEnvironment::new()).unwrap_or_else(|error| panic!("{error}"));
    let mut diagnostics = Diagnostics::new();
    let section = Section::open(&loaded.root, "exporters.statsd", &mut diagnostics);
    let built = section.read(|section| build(section, &BuildContext::alone(&id)));
    let (built, _) = diagnostics.finish_with(built).unwrap_or_else(|errors| panic!("{errors}"));
    built.exporter
}

/// The packets of a batch, one after another, then what is refused. Every item is accounted for.
fn encoded(exporter: &dyn Exporter, batch: &Batch) -> String {
    let Encoded { requests, rejected } = exporter.encode(batch);
    let sent: u64 = requests.iter().map(|request| request.items).sum();
    let refused: u64 = rejected.iter().map(|rejection| rejection.items).sum();
    assert_eq!(sent + refused, u64::from(batch.items()));
    let mut text = String::new();
    for request in requests {
        writeln!(text, "{}", std::str::from_utf8(&request.body).unwrap()).unwrap();
    }
    for Rejection { items, failure } in rejected {
        writeln!(text, "refused: {items} {}", failure.cause).unwrap();
    }
    text
}

fn batch(fill: impl FnOnce(&mut MetricWriter<'_>)) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| block.scope_metrics(|scope| scope.metric(fill)));
    encoder.finish()
}

/// A point of a sum at a time in seconds.
fn sum(temporality: Temporality, start: u64, time: u64, value: NumberValue) -> Batch {
    batch(|metric| {
        metric.name("hits").sum(|sum| {
            sum.point(|point| {
                point.start_time_unix_nano(start * SECOND).time_unix_nano(time * SECOND).value(value);
            });
            sum.temporality(temporality).is_monotonic(true);
        });
    })
}

fn cumulative(start: u64, time: u64, value: i64) -> Batch {
    sum(Temporality::Cumulative, start, time, NumberValue::Int(value))
}

use otlp::NumberValue;

// === Golden files ===

fn check_golden(name: &str, yaml: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/statsd");
    let text = std::fs::read(root.join("all.json")).unwrap();
    let batch = json::decode(Signal::Metrics, &text, &Limits::default()).unwrap();
    let found = encoded(&*exporter(&format!("{yaml}\ninitial_value: keep")), &batch);
    let golden = root.join(format!("{name}.lines"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&golden).unwrap_or_default(), "{name}");
}

#[test]
fn every_kind_of_point_has_its_lines_in_every_dialect() {
    check_golden("dogstatsd", "dialect: dogstatsd");
    check_golden("dogstatsd-counters", "dialect: dogstatsd\nhistograms: counters\nresource_attributes: ['*']");
    check_golden("etsy", "dialect: etsy\nprefix: legacy");
    check_golden("etsy-drop", "dialect: etsy\nplain_attributes: drop\nhistograms: timer");
    check_golden("graphite", "dialect: graphite\nresource_attributes: [service.name]\ntags: {env: prod}");
    check_golden("influx", "dialect: influx\ntag_names: {service.name: service}\nresource_attributes: [service.name]");
}

// === Increments ===

#[test]
fn running_totals_become_increments() {
    let exporter = exporter("{}");
    let started = clock::unix_ns() / SECOND + 10;
    assert_eq!(encoded(&*exporter, &cumulative(started, started + 10, 5)), "hits:5|c\n");
    assert_eq!(encoded(&*exporter, &cumulative(started, started + 20, 12)), "hits:7|c\n");
    assert_eq!(encoded(&*exporter, &cumulative(started, started + 30, 12)), "\n", "nothing was added");
    assert_eq!(encoded(&*exporter, &cumulative(started, started + 30, 12)), "refused: 1 late\n");
    assert_eq!(encoded(&*exporter, &cumulative(started, started + 25, 11)), "refused: 1 late\n");
    let double = |time, value| sum(Temporality::Cumulative, started, started + time, NumberValue::Double(value));
    assert_eq!(encoded(&*exporter, &double(40, 12.5)), "hits:0.5|c\n");
}

#[test]
fn deltas_are_increments_as_they_are() {
    let exporter = exporter("{}");
    let delta = |value| sum(Temporality::Delta, 1, 2, value);
    assert_eq!(encoded(&*exporter, &delta(NumberValue::Int(3))), "hits:3|c\n");
    assert_eq!(encoded(&*exporter, &delta(NumberValue::Int(3))), "hits:3|c\n");
    assert_eq!(encoded(&*exporter, &delta(NumberValue::Double(f64::NAN))), "refused: 1 not_finite\n");
    let unspecified = sum(Temporality::Unspecified, 1, 2, NumberValue::Int(3));
    assert_eq!(encoded(&*exporter, &unspecified), "refused: 1 no_temporality\n");
}

#[test]
fn what_began_before_this_process_is_only_remembered_and_counted_so() {
    let exporter = exporter("{}");
    let metrics = Metrics::default();
    exporter.start(ExporterContext { stop: Stop::default(), metrics: metrics.clone() }).unwrap();
    assert_eq!(encoded(&*exporter, &cumulative(100, 200, 1_000_000)), "\n");
    assert_eq!(encoded(&*exporter, &cumulative(100, 210, 1_000_004)), "hits:4|c\n");
    let labels: Labels = [("exporter".to_owned(), "statsd".to_owned())].into();
    for (name, expected) in [("crossfade_statsd_first_points", 1.0), ("crossfade_statsd_series", 1.0)] {
        let family = metrics.gather().into_iter().find(|family| family.name == name).unwrap();
        assert_eq!(family.series, [(labels.clone(), expected)], "{name}");
    }
}

#[test]
fn the_first_point_counts_as_the_configuration_says() {
    assert_eq!(encoded(&*exporter("initial_value: keep"), &cumulative(0, 200, 7)), "hits:7|c\n");
    let started = clock::unix_ns() / SECOND + 10;
    assert_eq!(encoded(&*exporter("initial_value: drop"), &cumulative(started, started + 1, 7)), "\n");
}

#[test]
fn a_new_start_time_or_a_smaller_total_begins_anew() {
    let exporter = exporter("initial_value: keep");
    assert_eq!(encoded(&*exporter, &cumulative(100, 200, 10)), "hits:10|c\n");
    assert_eq!(encoded(&*exporter, &cumulative(205, 210, 12)), "hits:12|c\n", "it began after the last point");
    assert_eq!(encoded(&*exporter, &cumulative(205, 220, 3)), "hits:3|c\n", "it fell");
    assert_eq!(encoded(&*exporter, &cumulative(206, 230, 5)), "hits:2|c\n", "a start time that moves about");
    assert_eq!(encoded(&*exporter, &cumulative(0, 240, 6)), "hits:1|c\n", "no start time");
}

#[test]
fn an_attempt_that_fails_counts_no_second_time() {
    let exporter = exporter("{initial_value: keep, endpoint: '127.0.0.1:1'}");
    let encoded_once = exporter.encode(&cumulative(100, 200, 10));
    // However often it is sent, it is these bytes.
    assert_eq!(&encoded_once.requests[0].body[..], b"hits:10|c");
    assert_eq!(encoded(&*exporter, &cumulative(100, 210, 11)), "hits:1|c\n");
}

#[test]
fn attributes_in_another_order_are_the_same_series() {
    let exporter = exporter("initial_value: keep");
    let point = |keys: [&str; 2], time: u64, value| {
        batch(|metric| {
            metric.name("hits").sum(|sum| {
                sum.point(|point| {
                    point.time_unix_nano(time).value(NumberValue::Int(value));
                    keys.iter().for_each(|key| {
                        point.attributes().string(key, "v");
                    });
                });
                sum.temporality(Temporality::Cumulative).is_monotonic(true);
            });
        })
    };
    assert_eq!(encoded(&*exporter, &point(["a", "b"], 1, 5)), "hits:5|c|#a:v,b:v\n");
    assert_eq!(encoded(&*exporter, &point(["b", "a"], 2, 6)), "hits:1|c|#a:v,b:v\n");
}

#[test]
fn line_breaks_and_separators_never_end_a_line() {
    for dialect in ["dogstatsd", "etsy", "graphite", "influx"] {
        let exporter = exporter(&format!("{{dialect: {dialect}, max_packet_size: 512}}"));
        let batch = batch(|metric| {
            metric.name("a\r\nb:1|c\n").gauge(|gauge| {
                gauge.point(|point| {
                    point.value(NumberValue::Int(1));
                    let attributes = &mut point.attributes();
                    attributes.string("k\n|#", "v\r\nx:9|c").string("\u{2028}", "\u{85}").string("e", "");
                });
            });
        });
        let text = encoded(&*exporter, &batch);
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.contains('\r') && text.ends_with('\n'));
        assert_eq!(text.matches("|g").count(), 1, "{text:?}");
        assert_eq!(text.matches("|c").count(), 0, "{text:?}");
    }
}

#[test]
fn packets_stay_within_their_size_and_a_line_beyond_it_is_refused() {
    let exporter = exporter("{max_packet_size: 100}");
    let batch = batch(|metric| {
        metric.name("temperature").gauge(|gauge| {
            for index in 0..50 {
                gauge.point(|point| {
                    point.value(NumberValue::Int(index));
                    point.attributes().string(
                        "room",
                        if index == 25 {
                            "a much longer name of a room than there is room for in a packet of a hundred bytes"
                        } else {
                            "small"
                        },
                    );
                });
            }
        });
    });
    let Encoded { requests, rejected } = exporter.encode(&batch);
    assert!(requests.iter().all(|request| request.body.len() <= 100));
    assert!(requests.iter().rev().skip(1).all(|request| request.body.len() > 60), "they are filled");
    assert_eq!(requests.iter().map(|request| request.items).sum::<u64>(), 49);
    assert_eq!((rejected.len(), rejected[0].items, rejected[0].failure.cause.as_ref()), (1, 1, "line_too_long"));
}

// === State ===

fn state(size_bytes_max: usize) -> State {
    let limits =
        StateLimits { initial_value: InitialValue::Keep, staleness_max: Duration::from_secs(80), size_bytes_max };
    State::new(limits, 0)
}

fn int(step: Step) -> i64 {
    match step {
        Step::Increment(Total::Int(by)) => by,
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_series_that_was_silent_for_too_long_is_forgotten_and_its_room_is_free() {
    let mut state = state(1 << 20);
    let start = clock::mono();
    state.advance(SeriesId(1), 0, 1, &Total::Int(5), start);
    state.advance(SeriesId(2), 0, 1, &Total::Int(5), start + Duration::from_secs(70));
    state.forget_stale(start + Duration::from_secs(90));
    assert_eq!(state.usage().series, 1);
    assert_eq!(int(state.advance(SeriesId(1), 0, 2, &Total::Int(6), start + Duration::from_secs(90))), 6);
    assert_eq!(int(state.advance(SeriesId(2), 0, 2, &Total::Int(6), start + Duration::from_secs(90))), 1);
}

#[test]
fn a_full_state_refuses_new_series_and_keeps_those_it_has() {
    let mut state = state(1000);
    let now = clock::mono();
    let steps: Vec<Step> = (0..20).map(|id| state.advance(SeriesId(id), 0, 1, &Total::Int(5), now)).collect();
    assert_eq!(steps[19], Step::NoRoom);
    assert!(state.usage().size_bytes <= 1000 && state.usage().series > 0);
    assert_eq!(int(state.advance(SeriesId(0), 0, 2, &Total::Int(6), now)), 1);
}

fn exponential(scale: i32, zero: u64, offset: i32, counts: &[u64]) -> Total {
    let positive = Run { offset, counts: counts.to_vec() };
    let count = zero + counts.iter().sum::<u64>();
    let buckets = Buckets::Exponential { scale, zero, positive, negative: Run::default() };
    Total::Distribution { count, sum: None, buckets }
}

#[test]
fn exponential_buckets_are_told_apart_also_across_a_change_of_scale() {
    let before = exponential(1, 1, -3, &[1, 2, 3, 4]);
    // Indices -3..=0 at scale 1 are -2..=0 at scale 0: 1, 2 + 3, 4.
    let now = exponential(0, 2, -2, &[1, 6, 4, 7]);
    assert_eq!(now.since(&before), Some(exponential(0, 1, -2, &[0, 1, 0, 7])));
    assert_eq!(before.since(&now), None, "a scale that rises begins anew");
    assert_eq!(exponential(0, 2, -1, &[9, 9, 9]).since(&before), None, "a bucket is gone");
}

proptest! {
    /// Whatever comes, in order or not: the increments add up to what the totals grew by in each run.
    #[test]
    fn increments_add_up_to_the_totals(runs in prop::collection::vec(prop::collection::vec(0..1000i64, 1..8), 1..5), repeat in any::<u8>()) {
        let mut state = state(1 << 20);
        let now = clock::mono();
        let (mut time, mut expected, mut found) = (10, 0, 0);
        for run in runs {
            let start = time;
            let mut total = 0;
            for by in run {
                total += by;
                time += 1;
                let point = Total::Int(total);
                found += int(state.advance(SeriesId(7), start, time, &point, now));
                if repeat % 3 == 0 {
                    prop_assert_eq!(state.advance(SeriesId(7), start, time, &point, now), Step::Late);
                }
            }
            expected += total;
        }
        prop_assert_eq!(found, expected);
    }
}
