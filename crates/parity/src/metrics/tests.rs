use otlp::encode::MetricsEncoder;
use otlp::{Batch, NumberValue};

use super::*;
use crate::verdict::Cause;

const SECOND_NS: u64 = 1_000_000_000;

/// A counter with labels, as one writer shows it.
struct Shown<'a> {
    name: &'a str,
    unit: &'a str,
    labels: &'a [(&'a str, &'a str)],
    instance: &'a str,
    value: i64,
    start_s: u64,
}

fn batch(at_s: u64, shown: &[Shown<'_>]) -> Batch {
    let mut encoder = MetricsEncoder::new();
    for one in shown {
        encoder.resource_metrics(|resource| {
            resource.resource(|resource| {
                resource.attributes().string("service.instance.id", one.instance);
            });
            resource.scope_metrics(|scope| {
                scope.metric(|metric| {
                    metric.name(one.name).unit(one.unit).sum(|sum| {
                        sum.is_monotonic(true).temporality(Temporality::Cumulative);
                        sum.point(|point| {
                            point.time_unix_nano(at_s * SECOND_NS).start_time_unix_nano(one.start_s * SECOND_NS);
                            point.value(NumberValue::Int(one.value));
                            for (name, value) in one.labels {
                                point.attributes().string(name, value);
                            }
                        });
                    });
                });
            });
        });
    }
    encoder.finish()
}

/// Runs an hour with ten events a second; each side shows what it makes of the count.
fn run(
    settings: MetricSettings,
    mut legacy: impl FnMut(u64, i64) -> Option<Batch>,
    mut new: impl FnMut(u64, i64) -> Option<Batch>,
) -> MetricsReport {
    let mut metrics = Metrics::new(settings);
    let mut report = None;
    for second in 0..3600u64 {
        let (at, count) = (10_000 + second, i64::try_from(second).unwrap() * 10);
        if second % 15 == 3
            && let Some(batch) = legacy(at, count)
        {
            metrics.observe(Side::Legacy, batch.metrics().unwrap());
        }
        if second % 15 == 9
            && let Some(batch) = new(at, count)
        {
            metrics.observe(Side::New, batch.metrics().unwrap());
        }
        if second % 60 == 0 {
            report = Some(metrics.close(metrics.watermark()));
        }
    }
    report.unwrap()
}

fn shown(name: &'static str, labels: &'static [(&'static str, &'static str)]) -> impl FnMut(u64, i64) -> Option<Batch> {
    move |at, value| Some(batch(at, &[Shown { name, unit: "", labels, instance: "a", value, start_s: 10_000 }]))
}

#[test]
fn a_prometheus_and_an_opentelemetry_counter_meet_and_are_equal() {
    let report = run(
        MetricSettings::default(),
        shown("http_requests_total", &[("http_method", "GET"), ("instance", "10.0.0.1:80")]),
        shown("http.requests", &[("http.method", "GET")]),
    );
    let [metric] = report.metrics.as_slice() else { panic!("{report:?}") };
    assert!(matches!(metric.verdict, Verdict::Equivalent { .. }), "{metric:?}");
    assert_eq!(
        (metric.legacy_names[0].as_str(), metric.new_names[0].as_str()),
        ("http_requests_total", "http.requests")
    );
    assert_eq!(metric.counts, [("equivalent", 1)].into());
}

#[test]
fn several_instances_add_up_to_one_aggregated_series() {
    let instances = |at: u64, value: i64| {
        let one =
            |instance, value| Shown { name: "jobs_total", unit: "", labels: &[], instance, value, start_s: 10_000 };
        Some(batch(at, &[one("a", value / 2), one("b", value - value / 2)]))
    };
    let report = run(MetricSettings::default(), instances, shown("jobs_total", &[]));
    assert!(!matches!(report.metrics[0].verdict, Verdict::Different(_)), "{report:?}");
}

#[test]
fn an_attribute_that_the_new_side_dropped_is_named() {
    let report = run(MetricSettings::default(), shown("jobs_total", &[("queue", "fast")]), shown("jobs_total", &[]));
    let Verdict::Different(finding) = &report.metrics[0].verdict else { panic!("{report:?}") };
    assert_eq!(finding.cause, Cause::AttributeMissing { side: Side::New, key: "queue".into() });
}

#[test]
fn a_metric_of_one_side_is_missing_on_the_other() {
    let report = run(MetricSettings::default(), shown("jobs_total", &[]), shown("others_total", &[]));
    let causes: Vec<&Verdict> = report.metrics.iter().map(|metric| &metric.verdict).collect();
    let [Verdict::Different(jobs), Verdict::Different(others)] = causes.as_slice() else { panic!("{report:?}") };
    assert_eq!(jobs.cause, Cause::SeriesMissing { side: Side::New });
    assert_eq!(others.cause, Cause::SeriesMissing { side: Side::Legacy });
}

#[test]
fn two_writers_of_one_series_are_named() {
    let mut turn = 0;
    let two = move |at: u64, value: i64| {
        turn += 1;
        let (start_s, value) = if turn % 2 == 0 { (10_000, value) } else { (9_000, value / 3) };
        Some(batch(at, &[Shown { name: "jobs_total", unit: "", labels: &[], instance: "a", value, start_s }]))
    };
    let report = run(MetricSettings::default(), shown("jobs_total", &[]), two);
    let Verdict::Different(finding) = &report.metrics[0].verdict else { panic!("{report:?}") };
    assert_eq!(finding.cause, Cause::DuplicateWriters { side: Side::New });
}

#[test]
fn two_writers_that_say_no_start_are_named_too() {
    let mut turn = 0;
    let two = move |at: u64, value: i64| {
        turn += 1;
        let value = if turn % 2 == 0 { value + 500 } else { value };
        Some(batch(at, &[Shown { name: "jobs_total", unit: "", labels: &[], instance: "a", value, start_s: 0 }]))
    };
    let one = |at: u64, value: i64| {
        Some(batch(at, &[Shown { name: "jobs_total", unit: "", labels: &[], instance: "a", value, start_s: 0 }]))
    };
    let report = run(MetricSettings::default(), one, two);
    let Verdict::Different(finding) = &report.metrics[0].verdict else { panic!("{report:?}") };
    assert_eq!(finding.cause, Cause::DuplicateWriters { side: Side::New });
}

fn summary(at: u64, instance: &str, (count, sum): (u64, f64), has_quantiles: bool) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|resource| {
        resource.resource(|resource| {
            resource.attributes().string("service.instance.id", instance);
        });
        resource.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("parsed_seconds").summary(|summary| {
                    summary.point(|point| {
                        point.time_unix_nano(at * SECOND_NS).count(count).sum(sum);
                        if has_quantiles {
                            point.quantile(|quantile| {
                                quantile.quantile(0.5).value(1.0);
                            });
                        }
                    });
                });
            });
        });
    });
    encoder.finish()
}

#[test]
fn sums_of_summaries_are_compared_where_both_sides_tell_them() {
    let judged = |sums: [f64; 2]| {
        let mut metrics = Metrics::new(MetricSettings::default());
        for step in 1..1440u64 {
            for (side, phase) in [(Side::Legacy, 3), (Side::New, 9)] {
                let at = 10_000 + step * 15 + phase;
                let count = (at - 10_000) * 10;
                let sum = count as f64 * sums[side as usize];
                metrics.observe(side, summary(at, "a", (count, sum), true).metrics().unwrap());
            }
        }
        metrics.close(u64::MAX).metrics.remove(0).verdict
    };
    assert_eq!(judged([0.25, 0.25]).name(), "equivalent");
    assert_eq!(judged([0.25, 0.0]).name(), "equivalent", "one side does not tell it");
    let Verdict::Different(finding) = judged([0.25, 0.000_25]) else { panic!() };
    assert_eq!(finding.cause, Cause::UnitChanged { factor: 1e-3 });
    assert!(matches!(judged([0.25, 0.2]), Verdict::Different(_)));
    let Verdict::Different(finding) = judged([0.25, 0.5]) else { panic!() };
    assert_eq!(finding.cause, Cause::Level { ratio: 1.0 }, "as many values, which are twice as large");
    assert!(finding.evidence.starts_with("the sum of all values: "), "{finding:?}");
}

#[test]
fn summaries_of_several_instances_are_compared_by_their_counts() {
    let judged = |has_quantiles: bool, kept: u64| {
        let mut metrics = Metrics::new(MetricSettings::default());
        for step in 1..1440u64 {
            for (side, phase, kept) in [(Side::Legacy, 3, 100), (Side::New, 9, kept)] {
                for instance in ["a", "b"] {
                    let at = 10_000 + step * 15 + phase;
                    let batch = summary(at, instance, ((at - 10_000) * 10 * kept / 100, 1.0), has_quantiles);
                    metrics.observe(side, batch.metrics().unwrap());
                }
            }
        }
        metrics.close(u64::MAX).metrics[0].verdict.name()
    };
    assert_eq!(judged(false, 100), "equivalent");
    assert_eq!(judged(true, 100), "not_comparable");
    assert_eq!([judged(false, 80), judged(true, 80)], ["different", "different"]);
}

#[test]
fn a_share_of_the_series_is_the_same_share_on_both_sides() {
    let all = |at: u64, value: i64| {
        let names: Vec<String> = (0..200).map(|name| format!("metric_{name}_total")).collect();
        let shown =
            names.iter().map(|name| Shown { name, unit: "", labels: &[], instance: "a", value, start_s: 10_000 });
        Some(batch(at, &shown.collect::<Vec<_>>()))
    };
    let report = run(MetricSettings { share_permille: 250, ..MetricSettings::default() }, all, all);
    let compared = report.metrics.len();
    assert!((20..80).contains(&compared), "{compared}");
    assert!(report.metrics.iter().all(|metric| !matches!(metric.verdict, Verdict::Different(_))), "{report:?}");
}

#[test]
fn more_series_than_the_bound_are_left_out_and_counted() {
    let all = |at: u64, value: i64| {
        let names: Vec<String> = (0..20).map(|name| format!("metric_{name}_total")).collect();
        let shown =
            names.iter().map(|name| Shown { name, unit: "", labels: &[], instance: "a", value, start_s: 10_000 });
        Some(batch(at, &shown.collect::<Vec<_>>()))
    };
    let report = run(MetricSettings { series_max: 5, ..MetricSettings::default() }, all, all);
    assert_eq!(report.metrics.len(), 5);
    assert!(report.left_out_points > 0);
}

#[test]
fn labels_in_another_order_and_by_other_names_are_the_same_series() {
    let rule = crate::names::Rule {
        legacy: "jobs".into(),
        new: "work.done".into(),
        labels: [("q".to_owned(), "queue".to_owned())].into(),
        scale: 1.0,
    };
    let names = NameSettings { rules: vec![rule], ..NameSettings::default() };
    let mut turn = 0;
    let legacy = move |at: u64, value: i64| {
        turn += 1;
        let labels: &[_] = if turn % 2 == 0 { &[("q", "a"), ("b", "c")] } else { &[("b", "c"), ("q", "a")] };
        Some(batch(at, &[Shown { name: "jobs", unit: "", labels, instance: "a", value, start_s: 10_000 }]))
    };
    let report = run(
        MetricSettings { names, ..MetricSettings::default() },
        legacy,
        shown("work.done", &[("b", "c"), ("queue", "a"), ("instance", "x")]),
    );
    let [metric] = report.metrics.as_slice() else { panic!("{report:?}") };
    assert_eq!(metric.counts, [("equivalent", 1)].into(), "{metric:?}");
    let labels = [("b", "c"), ("queue", "a")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(metric.series[0].identity, Identity { metric: "work.done".into(), labels: labels.to_vec() });
}

#[test]
fn what_is_silent_keeps_its_verdict_while_others_go_on() {
    let both = |at: u64, value: i64| {
        let one = |name| Shown { name, unit: "", labels: &[], instance: "a", value, start_s: 10_000 };
        let shown = if at < 13_000 { vec![one("ends_total"), one("other_total")] } else { vec![one("other_total")] };
        Some(batch(at, &shown))
    };
    let report = run(MetricSettings::default(), both, both);
    let [ends, other] = report.metrics.as_slice() else { panic!("{report:?}") };
    let margin = |metric: &MetricVerdict| match metric.verdict {
        Verdict::Equivalent { margin_ratio, .. } => margin_ratio,
        _ => panic!("{metric:?}"),
    };
    // All of what it counted was judged: 150 of 29,550.
    assert!((margin(ends) - 150.0 / 29_550.0).abs() < 1e-6 && margin(other) < margin(ends), "{report:?}");
}

#[test]
fn texts_beyond_the_bound_are_left_out_and_counted() {
    let long = "x".repeat(3000);
    let mut metrics = Metrics::new(MetricSettings { series_max: 2, ..MetricSettings::default() });
    for (value, instance) in [(1, "a"), (2, "b")] {
        let labels = [("long", long.as_str())];
        let shown = Shown { name: "jobs_total", unit: "", labels: &labels, instance, value, start_s: 10_000 };
        metrics.observe(Side::New, batch(10_100, &[shown]).metrics().unwrap());
    }
    assert_eq!(metrics.close(0).left_out_points, 2);
}

/// Gauges of two instances, of which each side sees one so many seconds after the other.
fn gauges(apart_s: [u64; 2], missing: bool) -> Verdict {
    let mut metrics = Metrics::new(MetricSettings::default());
    let show = |at: u64, instance: &str, value: f64| {
        let mut encoder = MetricsEncoder::new();
        encoder.resource_metrics(|resource| {
            resource.resource(|resource| {
                resource.attributes().string("service.instance.id", instance);
            });
            resource.scope_metrics(|scope| {
                scope.metric(|metric| {
                    metric.name("memory_bytes").gauge(|gauge| {
                        gauge.point(|point| {
                            point.time_unix_nano(at * SECOND_NS).value(NumberValue::Double(value));
                        });
                    });
                });
            });
        });
        encoder.finish()
    };
    for step in 0..1440u64 {
        for (side, phase) in [(Side::Legacy, 0), (Side::New, 2)] {
            let at = 10_000 + step * 15 + phase;
            metrics.observe(side, show(at, "a", 100.0).metrics().unwrap());
            if !(missing && side == Side::New) {
                metrics.observe(side, show(at + apart_s[side as usize], "b", 200.0).metrics().unwrap());
            }
        }
    }
    metrics.close(u64::MAX).metrics[0].verdict.clone()
}

#[test]
fn gauges_of_several_instances_do_not_differ_by_when_each_of_them_is_seen() {
    for apart_s in [[3, 3], [7, 7], [1, 12], [0, 5]] {
        let verdict = gauges(apart_s, false);
        assert!(matches!(verdict, Verdict::Equivalent { .. }), "{apart_s:?}: {verdict:?}");
    }
    assert_eq!(gauges([3, 3], true).name(), "different");
}

/// What a few series that stay and ever new ones show, each for so many rounds of 15 s.
fn churning(at_s: u64, side: Side, living: &[u64]) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|resource| {
        resource.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("queue_items").gauge(|gauge| {
                    for number in living.iter().filter(|number| side == Side::Legacy || *number % 10 != 3) {
                        gauge.point(|point| {
                            point.time_unix_nano(at_s * SECOND_NS).value(NumberValue::Double((*number % 7) as f64));
                            point.attributes().string("pod", &format!("pod-{number}"));
                        });
                    }
                });
            });
        });
    });
    encoder.finish()
}

#[test]
fn series_come_and_go_for_ever_and_none_is_left_out() {
    const SERIES_MAX: u64 = 400;
    let settings =
        MetricSettings { series_max: SERIES_MAX as usize, expired_ns: 1800 * SECOND_NS, ..MetricSettings::default() };
    let mut metrics = Metrics::new(settings);
    let mut most_texts = [0; 2];
    // One comes each 15 s and stays for half an hour; twenty stay.
    for round in 0..10 * SERIES_MAX {
        let at_s = 100_000 + round * 15;
        let living: Vec<u64> = (0..20).chain(1000 + round.saturating_sub(120)..1000 + round).collect();
        for (side, later_s) in [(Side::Legacy, 0), (Side::New, 7)] {
            metrics.observe(side, churning(at_s + later_s, side, &living).metrics().unwrap());
        }
        if round % 4 != 0 {
            continue;
        }
        let report = metrics.close(metrics.watermark());
        assert_eq!(report.left_out_points, 0, "round {round}");
        let series = report.metrics[0].counts.values().sum::<u64>();
        assert!(series <= 20 + 2 * 120 + 20, "{series} series in round {round}");
        let half = usize::from(round > 5 * SERIES_MAX);
        most_texts[half] = most_texts[half].max(metrics.identities.text_bytes());
        // What stays has its verdict yet, and what is missing is reported for as long as it is known.
        if round > 400 {
            assert!(report.metrics[0].counts["equivalent"] >= 18, "{:?}", report.metrics[0].counts);
            assert!(report.metrics[0].sets.iter().map(|set| set.series).sum::<u64>() >= 20, "round {round}");
        }
    }
    assert!(most_texts[1] <= most_texts[0], "{most_texts:?}");
    assert!(metrics.comparing.capacity() <= 600, "{}", metrics.comparing.capacity());
}

/// The verdicts of a series that both sides had for an hour, and that one of them had for half an hour more, when only
/// another one went on.
fn counts_after(hours: u64, silent_s: u64) -> BTreeMap<&'static str, u64> {
    let mut metrics = Metrics::new(MetricSettings::default());
    let mut report = None;
    for round in 0..hours * 240 {
        let mut at_s = 100_000 + round * 15;
        if round * 15 > 4500 {
            at_s += silent_s;
        }
        for (side, until) in [(Side::Legacy, 240), (Side::New, 360)] {
            let living: &[u64] = if round <= until { &[0, 1] } else { &[0] };
            metrics.observe(side, churning(at_s, side, living).metrics().unwrap());
        }
        report = Some(metrics.close(metrics.watermark()));
    }
    report.unwrap().metrics[0].counts.clone()
}

#[test]
fn what_stopped_is_reported_until_neither_side_has_had_it_for_long() {
    let stopped = BTreeMap::from([("different", 1), ("equivalent", 1)]);
    assert_eq!(counts_after(3, 0), stopped);
    assert_eq!(counts_after(4, 0), [("equivalent", 1)].into());
    // All of it was silent for five hours, so that nobody knows what is over.
    assert_eq!(counts_after(3, 5 * 3600), stopped);
}

#[test]
fn what_comes_back_begins_anew() {
    let mut metrics = Metrics::new(MetricSettings { expired_ns: 1800 * SECOND_NS, ..MetricSettings::default() });
    let mut series = Vec::new();
    for round in 0..720 {
        // Others come between, so that numbers move.
        let living: Vec<u64> = match round {
            0..120 => vec![0, 1, 2],
            120..400 => vec![1, 4],
            _ => vec![2, 0, 1],
        };
        for side in [Side::Legacy, Side::New] {
            metrics.observe(side, churning(100_000 + round * 15, side, &living).metrics().unwrap());
        }
        let report = metrics.close(metrics.watermark());
        if [119, 399, 719].contains(&round) {
            let of_series = report.metrics[0].series.iter();
            let pods = of_series.map(|series| (series.identity.labels[0].1.clone(), series.verdict.name()));
            series.push(pods.collect::<Vec<_>>());
        }
    }
    let equal = |pods: &[&str]| pods.iter().map(|pod| ((*pod).to_owned(), "equivalent")).collect::<Vec<_>>();
    let expected =
        [equal(&["pod-0", "pod-1", "pod-2"]), equal(&["pod-1", "pod-4"]), equal(&["pod-0", "pod-1", "pod-2"])];
    assert_eq!(series, expected);
}

#[test]
fn charts_show_what_is_compared_of_the_first_series() {
    let charts = ChartBounds { series_max: 2, points_max: 100 };
    let mut metrics = Metrics::new(MetricSettings { charts, ..MetricSettings::default() });
    for step in 1..20u64 {
        let at = 10_000 + step * 15;
        for (instance, per_step) in [("a", 15), ("b", 30)] {
            let value = i64::try_from(step).unwrap() * per_step;
            let names = ["one_total", "two_total", "three_total"];
            let shown = names.map(|name| Shown { name, unit: "", labels: &[], instance, value, start_s: 10_000 });
            metrics.observe(Side::Legacy, batch(at, &shown).metrics().unwrap());
        }
    }
    let charts = metrics.charts();
    let [one, two, three] = ["one_total", "two_total", "three_total"].map(|name| charts.drawings(name));
    assert_eq!((one.len(), two.len(), three.len()), (1, 1, 0));
    // Two instances, of which one counts once a second and the other twice.
    let last = one[0].legacy.last().map(|rise| rise.1);
    assert_eq!((one[0].of, last, one[0].new.len()), ("per_second", Some(3.0), 0), "{one:?}");
}
