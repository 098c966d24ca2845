//! The ten failures of migrations: for each a scenario that provokes it, and a control that does not.
#![allow(missing_docs)]

use std::collections::BTreeSet;

use otlp::encode::{MetricWriter, MetricsEncoder, TracesEncoder};
use otlp::{Batch, NumberValue, SpanId, SpanKind, Temporality, TraceId};
use parity::{Comparator, Failure, Report, Rule, Settings, Side};

const BEGIN_S: u64 = 100_000;
const SECOND_NS: u64 = 1_000_000_000;

/// What one side sends at one moment.
type Sends<'a> = &'a dyn Fn(u64) -> Vec<Batch>;

/// Two hours of both sides: the legacy one every fifteen seconds, the new one too, six seconds later.
fn report(settings: Settings, legacy: Sends<'_>, new: Sends<'_>) -> Report {
    let mut comparator = Comparator::new(settings);
    for second in 0..7200u64 {
        let batches = match second % 15 {
            3 => legacy(second).into_iter().map(|batch| (Side::Legacy, batch)).collect(),
            9 => new(second).into_iter().map(|batch| (Side::New, batch)).collect(),
            _ => Vec::new(),
        };
        batches.iter().for_each(|(side, batch)| comparator.observe(*side, batch));
        if second % 60 == 0 {
            comparator.close();
        }
    }
    comparator.finish()
}

/// The failures that are named.
fn named(report: &Report) -> BTreeSet<&'static str> {
    report.subjects.iter().filter_map(|subject| subject.failure).map(Failure::name).collect()
}

fn check_with(settings: &Settings, failure: Failure, legacy: Sends<'_>, faulty: Sends<'_>, control: Sends<'_>) {
    let found = report(settings.clone(), legacy, faulty);
    assert_eq!(named(&found), [failure.name()].into(), "{:#?}", found.subjects);
    let found = report(settings.clone(), legacy, control);
    assert_eq!(named(&found), BTreeSet::new(), "{:#?}", found.subjects);
}

fn check(failure: Failure, legacy: Sends<'_>, faulty: Sends<'_>, control: Sends<'_>) {
    check_with(&Settings::default(), failure, legacy, faulty, control);
}

/// A point with its labels.
#[derive(Clone, Copy)]
struct Point<'a> {
    value: f64,
    start_s: u64,
    labels: &'a [(&'a str, &'a str)],
}

fn point(value: f64) -> Point<'static> {
    Point { value, start_s: 0, labels: &[] }
}

fn metric(resource: &[(&str, &str)], name: &str, fill: impl FnOnce(&mut MetricWriter<'_>)) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|written| {
        written.resource(|written| {
            let mut attributes = written.attributes();
            for (key, value) in resource {
                attributes.string(key, value);
            }
        });
        written.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name(name);
                fill(metric);
            });
        });
    });
    encoder.finish()
}

fn sum(temporality: Temporality, second: u64, name: &str, resource: &[(&str, &str)], points: &[Point<'_>]) -> Batch {
    metric(resource, name, |metric| {
        metric.sum(|sum| {
            sum.is_monotonic(true).temporality(temporality);
            for one in points {
                sum.point(|point| {
                    point.time_unix_nano((BEGIN_S + second) * SECOND_NS).start_time_unix_nano(one.start_s * SECOND_NS);
                    point.value(NumberValue::Double(one.value));
                    for (key, value) in one.labels {
                        point.attributes().string(key, value);
                    }
                });
            }
        });
    })
}

fn counter(second: u64, name: &str, points: &[Point<'_>]) -> Batch {
    sum(Temporality::Cumulative, second, name, &[], points)
}

fn gauge(second: u64, name: &str, resource: &[(&str, &str)], value: f64) -> Batch {
    metric(resource, name, |metric| {
        metric.gauge(|gauge| {
            gauge.point(|point| {
                point.time_unix_nano((BEGIN_S + second) * SECOND_NS).value(NumberValue::Double(value));
            });
        });
    })
}

/// Three events a second.
fn counted(second: u64) -> f64 {
    (second * 3) as f64
}

#[test]
fn a_first_increment_is_lost_where_a_series_is_born_with_a_value() {
    // Something is always there, so that both sides are known to be up; the errors come after half an hour.
    let always = |second| counter(second, "requests", &[point(counted(second))]);
    let errors = |second: u64, from: u64, value: f64| {
        let shown = (second >= from).then(|| counter(second, "errors", &[point(value)]));
        [Some(always(second)), shown].into_iter().flatten().collect::<Vec<_>>()
    };
    let value = |second: u64| if second < 2000 { 0.0 } else { 40.0 };
    check(
        Failure::FirstIncrementLost,
        &|second| errors(second, 0, value(second)),
        &|second| errors(second, 2000, value(second)),
        &|second| errors(second, 0, value(second)),
    );
}

#[test]
fn a_first_increment_is_lost_where_only_one_side_says_since_when_it_counts() {
    let always = |second| counter(second, "requests", &[point(counted(second))]);
    let errors = |second: u64, start_s: u64| {
        let shown = Point { value: 3.0, start_s, labels: &[] };
        let errors = (second >= 1800).then(|| counter(second, "errors", &[shown]));
        [Some(always(second)), errors].into_iter().flatten().collect::<Vec<_>>()
    };
    check(
        Failure::FirstIncrementLost,
        &|second| errors(second, BEGIN_S + 1700),
        &|second| errors(second, 0),
        &|second| errors(second, BEGIN_S + 1700),
    );
}

#[test]
fn resets_that_only_one_side_has_are_injected() {
    let plain = |second: u64| vec![counter(second, "requests", &[point(10_000.0 + counted(second))])];
    // An aggregator that restarts without its state every ten minutes.
    let reset = |second: u64| vec![counter(second, "requests", &[point(counted(second % 600))])];
    check(Failure::InjectedResets, &plain, &reset, &plain);
    // The process itself restarts: both begin anew.
    check(Failure::InjectedResets, &plain, &reset, &|second| {
        vec![counter(second, "requests", &[point(counted(second))])]
    });
    let restarts = report(Settings::default(), &reset, &reset);
    assert_eq!(named(&restarts), BTreeSet::new(), "{restarts:#?}");
}

#[test]
fn a_start_that_is_stated_anew_with_each_push_is_an_injected_reset() {
    let stated = |second: u64, start_s: u64| {
        vec![counter(second, "requests", &[Point { value: counted(second), start_s, labels: &[] }])]
    };
    check(
        Failure::InjectedResets,
        &|second| stated(second, BEGIN_S - 1),
        &|second| stated(second, BEGIN_S + second),
        &|second| stated(second, BEGIN_S - 1),
    );
}

const BOUNDS: [f64; 10] = [5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 1000.0, 5000.0];

/// Durations between 3 and 300 ms, in a unit that is `unit` milliseconds, with these bounds.
fn durations(second: u64, name: &str, unit: f64, bounds: &[f64]) -> Vec<Batch> {
    let mut counts = vec![0u64; bounds.len() + 1];
    let mut total = 0.0;
    for event in 0..second * 3 {
        let value = (3.0 + (event * 7919 % 298) as f64) / unit;
        counts[bounds.partition_point(|bound| *bound < value)] += 1;
        total += value;
    }
    let batch = metric(&[], name, |metric| {
        metric.histogram(|histogram| {
            histogram.temporality(Temporality::Cumulative);
            histogram.point(|point| {
                point.time_unix_nano((BEGIN_S + second) * SECOND_NS).count(second * 3).sum(total);
                point.bucket_counts(counts.iter().copied()).explicit_bounds(bounds.iter().copied());
            });
        });
    });
    vec![batch]
}

#[test]
fn seconds_in_buckets_for_milliseconds_are_named() {
    let scaled = BOUNDS.map(|bound| bound / 1000.0);
    check(
        Failure::SecondsInMillisecondBuckets,
        &|second| durations(second, "duration", 1.0, &BOUNDS),
        &|second| durations(second, "duration", 1000.0, &BOUNDS),
        &|second| durations(second, "duration", 1.0, &BOUNDS),
    );
    // The same where the rename and the unit are known.
    let rule =
        Rule { legacy: "duration_ms".to_owned(), new: "duration".to_owned(), labels: Default::default(), scale: 0.001 };
    let mut settings = Settings::default();
    settings.metrics.names.rules.push(rule);
    check_with(
        &settings,
        Failure::SecondsInMillisecondBuckets,
        &|second| durations(second, "duration_ms", 1.0, &BOUNDS),
        &|second| durations(second, "duration", 1000.0, &BOUNDS),
        &|second| durations(second, "duration", 1000.0, &scaled),
    );
}

#[test]
fn values_that_all_lie_in_the_first_bucket_are_no_failure() {
    // Both sides are that fast, with the same bounds and with other ones.
    let coarse = [400.0, 1000.0, 5000.0, 10_000.0];
    for bounds in [coarse.as_slice(), &[350.0, 700.0, 2000.0]] {
        let found = report(Settings::default(), &|second| durations(second, "duration", 1.0, &coarse), &|second| {
            durations(second, "duration", 1.0, bounds)
        });
        assert_eq!(named(&found), BTreeSet::new(), "{found:#?}");
    }
}

#[test]
fn another_unit_is_named() {
    let level = |second: u64, scale: f64| {
        vec![gauge(second, "queue.age", &[], scale * (500.0 + 100.0 * (second as f64 / 300.0).sin()))]
    };
    check(Failure::UnitChanged, &|second| level(second, 1.0), &|second| level(second, 0.001), &|second| {
        level(second, 1.0)
    });
}

/// A counter for each method, as a label or wherever else it is.
fn by_method(second: u64, resource: &[(&str, &str)], key: &str, values: [&str; 2]) -> Vec<Batch> {
    let labels = values.map(|value| [(key, value)]);
    let points = [0, 1].map(|at| Point { value: counted(second) * (at as f64 + 1.0), start_s: 0, labels: &labels[at] });
    vec![sum(Temporality::Cumulative, second, "requests", resource, &points)]
}

#[test]
fn an_attribute_that_is_gone_renamed_or_rewritten_is_named() {
    let legacy: Sends<'_> = &|second| by_method(second, &[], "method", ["GET", "POST"]);
    let gone: Sends<'_> = &|second| vec![counter(second, "requests", &[point(counted(second) * 3.0)])];
    let renamed: Sends<'_> = &|second| by_method(second, &[], "http.request.method", ["GET", "POST"]);
    let rewritten: Sends<'_> = &|second| by_method(second, &[], "method", ["get", "post"]);
    for faulty in [gone, renamed, rewritten] {
        check(Failure::AttributeChanged, legacy, faulty, legacy);
    }
}

#[test]
fn an_attribute_that_moved_to_the_target_is_named() {
    let labels = [("env", "live")];
    let legacy: Sends<'_> =
        &|second| vec![counter(second, "requests", &[Point { value: counted(second), start_s: 0, labels: &labels }])];
    let plain = |second| counter(second, "requests", &[point(counted(second))]);
    let of_resource: Sends<'_> =
        &|second| vec![sum(Temporality::Cumulative, second, "requests", &[("env", "live")], &[point(counted(second))])];
    let target = |second| {
        metric(&[], "target_info", |metric| {
            metric.gauge(|gauge| {
                gauge.point(|point| {
                    point.time_unix_nano((BEGIN_S + second) * SECOND_NS).value(NumberValue::Int(1));
                    point.attributes().string("env", "live");
                });
            });
        })
    };
    let of_target: Sends<'_> = &|second| vec![plain(second), target(second)];
    for faulty in [of_resource, of_target] {
        let found = report(Settings::default(), legacy, faulty);
        let requests = found.subjects.iter().find(|subject| subject.name.starts_with("requests")).unwrap();
        assert_eq!(requests.failure, Some(Failure::AttributeChanged), "{requests:#?}");
        assert!(requests.sentence.contains("moved to `target_info`"), "{}", requests.sentence);
    }
    // Promoted to a label again, nothing is wrong.
    let mut settings = Settings::default();
    settings.metrics.names.resource_labels.insert("env".to_owned());
    let found = report(settings, legacy, of_resource);
    assert_eq!(named(&found), BTreeSet::new(), "{found:#?}");
}

/// A summary of one instance.
fn summary(second: u64, instance: &str, quantile: f64, per_second: u64) -> Batch {
    metric(&[("service.instance.id", instance)], "latency", |metric| {
        metric.summary(|summary| {
            summary.point(|point| {
                point.time_unix_nano((BEGIN_S + second) * SECOND_NS).count(second * per_second).sum(1.0);
                point.quantile(|written| {
                    written.quantile(0.99).value(quantile);
                });
            });
        });
    })
}

#[test]
fn percentiles_of_several_instances_are_not_compared() {
    check(
        Failure::PercentilesOfPercentiles,
        // The legacy side puts both instances together before it computes, as a StatsD server does.
        &|second| vec![summary(second, "all", 100.0, 6)],
        &|second| vec![summary(second, "a", 100.0, 3), summary(second, "b", 2000.0, 3)],
        &|second| vec![summary(second, "all", 100.0, 6)],
    );
    let gauges = |second, instances: &[&str]| {
        let of = |instance: &&str| gauge(second, "latency.p99", &[("service.instance.id", instance)], 100.0);
        instances.iter().map(of).collect::<Vec<_>>()
    };
    check(
        Failure::PercentilesOfPercentiles,
        &|second| gauges(second, &["a"]),
        &|second| gauges(second, &["a", "b"]),
        &|second| gauges(second, &["a"]),
    );
}

/// What was counted since the last point.
fn deltas(second: u64, keeps: bool) -> Vec<Batch> {
    if !keeps {
        return Vec::new();
    }
    let shown = Point { value: 45.0, start_s: BEGIN_S + second - 3, labels: &[] };
    vec![sum(Temporality::Delta, second, "requests", &[], &[shown])]
}

#[test]
fn deltas_that_are_dropped_or_lost_are_named() {
    let all: Sends<'_> = &|second| deltas(second, true);
    let some: Sends<'_> = &|second| deltas(second, second % 600 != 9);
    let none: Sends<'_> = &|second| vec![gauge(second, "up", &[], 1.0)];
    check(Failure::DeltasDropped, all, some, all);
    let found = report(Settings::default(), all, none);
    let requests = found.subjects.iter().find(|subject| subject.name.starts_with("requests")).unwrap();
    assert_eq!(requests.failure, Some(Failure::DeltasDropped), "{requests:#?}");
}

#[test]
fn two_writers_of_one_series_and_two_names_of_one_are_named() {
    let once: Sends<'_> = &|second| vec![counter(second, "requests", &[point(counted(second))])];
    let twice: Sends<'_> = &|second| vec![counter(second, "requests", &[point(2.0 * counted(second))])];
    let turns: Sends<'_> = &|second| {
        let is_first = second / 15 % 2 == 0;
        let (start_s, value) = if is_first { (BEGIN_S - 5, counted(second)) } else { (BEGIN_S - 900, 7.0) };
        vec![counter(second, "requests", &[Point { value, start_s, labels: &[] }])]
    };
    for faulty in [twice, turns] {
        check(Failure::DuplicateWriters, once, faulty, once);
    }
    let jobs = |second, names: &[&str]| -> Vec<Batch> {
        names.iter().map(|name| counter(second, name, &[point(counted(second))])).collect()
    };
    check(
        Failure::DuplicateWriters,
        &|second| jobs(second, &["jobs_done"]),
        &|second| jobs(second, &["jobs.done", "jobs_done"]),
        &|second| jobs(second, &["jobs.done"]),
    );
    // Where both sides have both names, nothing came together on the way.
    let both: Sends<'_> = &|second| jobs(second, &["jobs.done", "jobs_done"]);
    let found = report(Settings::default(), both, both);
    assert_eq!((named(&found), found.collisions.len()), (BTreeSet::new(), 2), "{found:#?}");
}

/// Ten requests, each a server span and the span of what it calls, which is in a trace of its own if the context is lost.
fn requests(second: u64, ids: u64, is_lost: bool) -> Vec<Batch> {
    let mut encoder = TracesEncoder::new();
    for service in ["shop", "price"] {
        encoder.resource_spans(|resource| {
            resource.resource(|resource| {
                resource.attributes().string("service.name", service);
            });
            resource.scope_spans(|scope| {
                for request in 0..10 {
                    let number = second / 15 * 10 + request + ids + 1;
                    let is_callee = service == "price";
                    let trace = if is_callee && is_lost { number + 500_000 } else { number };
                    let mut bytes = [7u8; 16];
                    bytes[..8].copy_from_slice(&trace.to_be_bytes());
                    let span_id = |of: u64| SpanId::new((number * 4 + of).to_be_bytes());
                    scope.span(|span| {
                        span.trace_id(TraceId::new(bytes)).name(if is_callee { "price" } else { "GET /" });
                        span.span_id(span_id(u64::from(is_callee))).kind(SpanKind::Server);
                        if is_callee && !is_lost {
                            span.parent_span_id(span_id(0));
                        }
                        let time = (BEGIN_S + second / 15 * 15) * SECOND_NS;
                        span.start_time_unix_nano(time).end_time_unix_nano(time + SECOND_NS / 20);
                    });
                }
            });
        });
    }
    vec![encoder.finish()]
}

#[test]
fn traces_that_fall_apart_name_mixed_propagators() {
    for ids in [0, 10_000_000] {
        check(
            Failure::MixedPropagators,
            &|second| requests(second, 0, false),
            &|second| requests(second, ids, true),
            &|second| requests(second, ids, false),
        );
    }
}

#[test]
fn losses_stops_and_missing_series_are_silent_loss() {
    let all = |second: u64, share: f64| vec![counter(second, "requests", &[point((counted(second) * share).floor())])];
    let always = |second| gauge(second, "up", &[], 1.0);
    let legacy: Sends<'_> = &|second| [all(second, 1.0), vec![always(second)]].concat();
    let lossy: Sends<'_> = &|second| [all(second, 0.97), vec![always(second)]].concat();
    let stops: Sends<'_> = &|second| if second < 3600 { legacy(second) } else { vec![always(second)] };
    let missing: Sends<'_> = &|second| vec![always(second)];
    for faulty in [lossy, stops, missing] {
        check(Failure::SilentLoss, legacy, faulty, legacy);
    }
}
