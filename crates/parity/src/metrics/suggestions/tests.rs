use std::collections::BTreeMap;

use otlp::encode::{AttributesWriter, MetricWriter, MetricsEncoder};
use otlp::{Batch, NumberValue, Temporality};

use crate::metrics::{MetricSettings, Metrics, MetricsReport};
use crate::names::{NameSettings, Rule};
use crate::suggestion::{Advice, Suggestion};
use crate::verdict::{Side, Verdict};

const SECOND_NS: u64 = 1_000_000_000;
const BEGIN_S: u64 = 100_000;

/// What a series shows.
#[derive(Clone, Copy)]
enum Value {
    Count(i64),
    Amount(f64),
    Level(f64),
    /// How many values, and their sum.
    Histogram(u64, f64),
}

/// A series as a side shows it.
struct Shown {
    name: &'static str,
    labels: Vec<(&'static str, String)>,
    value: Value,
}

fn shown(name: &'static str, labels: &[(&'static str, &str)], value: Value) -> Shown {
    Shown { name, labels: labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(), value }
}

fn write_labels(mut attributes: AttributesWriter<'_>, labels: &[(&'static str, String)]) {
    for (key, value) in labels {
        attributes.string(key, value);
    }
}

fn write_sum(metric: &mut MetricWriter<'_>, at_s: u64, labels: &[(&'static str, String)], value: NumberValue) {
    metric.sum(|sum| {
        sum.is_monotonic(true).temporality(Temporality::Cumulative);
        sum.point(|point| {
            point.time_unix_nano(at_s * SECOND_NS).start_time_unix_nano(BEGIN_S * SECOND_NS).value(value);
            write_labels(point.attributes(), labels);
        });
    });
}

fn write(metric: &mut MetricWriter<'_>, at_s: u64, Shown { name, labels, value }: &Shown) {
    metric.name(name);
    match value {
        Value::Count(count) => write_sum(metric, at_s, labels, NumberValue::Int(*count)),
        Value::Amount(amount) => write_sum(metric, at_s, labels, NumberValue::Double(*amount)),
        Value::Level(level) => {
            metric.gauge(|gauge| {
                gauge.point(|point| {
                    point.time_unix_nano(at_s * SECOND_NS).value(NumberValue::Double(*level));
                    write_labels(point.attributes(), labels);
                });
            });
        }
        Value::Histogram(count, sum) => {
            metric.histogram(|histogram| {
                histogram.temporality(Temporality::Cumulative);
                histogram.point(|point| {
                    point.time_unix_nano(at_s * SECOND_NS).start_time_unix_nano(BEGIN_S * SECOND_NS);
                    point.count(*count).sum(*sum);
                    write_labels(point.attributes(), labels);
                });
            });
        }
    }
}

fn batch(at_s: u64, shown: &[Shown]) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|resource| {
        resource.scope_metrics(|scope| {
            for one in shown {
                scope.metric(|metric| write(metric, at_s, one));
            }
        });
    });
    encoder.finish()
}

/// An hour of both sides, each sampled every 15 s at moments of its own; the world goes on by the second.
fn run<World>(
    names: NameSettings,
    mut world: World,
    mut step: impl FnMut(&mut World, u64),
    legacy: impl Fn(&World) -> Vec<Shown>,
    new: impl Fn(&World) -> Vec<Shown>,
) -> MetricsReport {
    let mut metrics = Metrics::new(MetricSettings { names, ..MetricSettings::default() });
    let mut report = None;
    for second in 0..3600u64 {
        step(&mut world, second);
        let at_s = BEGIN_S + second;
        if second % 15 == 3 {
            metrics.observe(Side::Legacy, batch(at_s, &legacy(&world)).metrics().unwrap());
        }
        if second % 15 == 9 {
            metrics.observe(Side::New, batch(at_s, &new(&world)).metrics().unwrap());
        }
        if second % 60 == 59 {
            report = Some(metrics.close(metrics.watermark()));
        }
    }
    report.unwrap()
}

/// Events by chance: so many random walks that rise, and as many levels.
struct Chance {
    random: fastrand::Rng,
    counts: Vec<i64>,
    sums: Vec<f64>,
    levels: Vec<f64>,
    speeds: Vec<f64>,
}

fn chance(seed: u64, series: usize) -> Chance {
    let random = fastrand::Rng::with_seed(seed);
    Chance {
        random,
        counts: vec![0; series],
        sums: vec![0.0; series],
        levels: vec![100.0; series],
        speeds: vec![0.0; series],
    }
}

impl Chance {
    fn step(&mut self) {
        for at in 0..self.counts.len() {
            for _ in 0..20 {
                if self.random.f64() < 0.2 {
                    self.counts[at] += 1;
                    self.sums[at] += 1.0 + self.random.f64() * 200.0;
                }
            }
            // What moves slowly moves alike for a while.
            self.speeds[at] = 0.98 * self.speeds[at] + 0.02 * (self.random.f64() - 0.5);
            self.levels[at] = 100.0 + 0.998 * (self.levels[at] - 100.0) + self.speeds[at];
        }
    }
}

const METHODS: [&str; 3] = ["GET", "PUT", "DELETE"];

/// The renames that are suggested.
fn names(suggestions: &[Suggestion]) -> Vec<(&str, &str, f64)> {
    let mut found = Vec::new();
    for suggestion in suggestions {
        if let Advice::Renamed { legacy, new, scale, .. } = &suggestion.advice {
            found.push((legacy.as_str(), new.as_str(), *scale));
        }
    }
    found
}

fn of_methods(name: &'static str, label: &'static str, value: impl Fn(usize) -> Value) -> Vec<Shown> {
    METHODS.iter().enumerate().map(|(at, method)| shown(name, &[(label, method)], value(at))).collect()
}

/// Requests in milliseconds on the legacy side and in seconds on the new one.
fn requests(rules: Vec<Rule>) -> MetricsReport {
    run(
        NameSettings { rules, ..NameSettings::default() },
        chance(1, 3),
        |world, _| world.step(),
        |world| {
            of_methods("http_server_duration_milliseconds", "http_method", |at| {
                Value::Histogram(world.counts[at] as u64, world.sums[at])
            })
        },
        |world| {
            of_methods("http.server.request.duration", "http.request.method", |at| {
                Value::Histogram(world.counts[at] as u64, world.sums[at] / 1000.0)
            })
        },
    )
}

#[test]
fn a_histogram_that_was_renamed_and_is_in_another_unit_is_found_and_the_rule_makes_both_sides_equal() {
    let report = requests(Vec::new());
    let [suggestion] = report.suggestions.as_slice() else { panic!("{report:#?}") };
    let yaml = "{legacy: http_server_duration_milliseconds, new: http.server.request.duration, scale: 0.001, \
                labels: {http_method: http_request_method}}";
    assert_eq!((suggestion.option, suggestion.yaml.as_str()), ("migration.names", yaml));
    let sentence = "`http_server_duration_milliseconds` of the legacy side times 0.001 looks like \
                    `http.server.request.duration` of the new side (3 of 3 series agree): if it is, say so in \
                    `migration.names`";
    assert_eq!(suggestion.sentence, sentence);
    // They differ as before, and say what they look like.
    let sentences: Vec<String> = report.metrics.iter().map(|metric| metric.verdict.sentence()).collect();
    let expected = [
        "the new side does not have the series: 3 series; looks like `http.server.request.duration` of the new side, \
         times 0.001 (3 of 3 series agree)",
        "the legacy side does not have the series: 3 series; looks like `http_server_duration_milliseconds` of the \
         legacy side times 0.001 (3 of 3 series agree)",
    ];
    assert_eq!(sentences, expected);
    let Advice::Renamed { legacy, new, scale, labels, .. } = suggestion.advice.clone() else { panic!() };
    let report = requests(vec![Rule { legacy, new, labels, scale }]);
    assert_eq!(report.suggestions, []);
    let [metric] = report.metrics.as_slice() else { panic!("{report:#?}") };
    assert!(!matches!(metric.verdict, Verdict::Different(_)), "{metric:?}");
}

#[test]
fn a_counter_with_other_labels_is_found() {
    let report = run(
        NameSettings::default(),
        chance(2, 3),
        |world, _| world.step(),
        |world| of_methods("orders_processed", "method", |at| Value::Count(world.counts[at])),
        |world| of_methods("shop.orders", "http.request.method", |at| Value::Count(world.counts[at])),
    );
    assert_eq!(names(&report.suggestions), [("orders_processed", "shop.orders", 1.0)]);
    let yaml = "{legacy: orders_processed, new: shop.orders, labels: {method: http_request_method}}";
    assert_eq!(report.suggestions[0].yaml, yaml);
}

#[test]
fn an_amount_and_a_level_in_another_unit_are_found_without_a_word_in_common_where_they_move_alike() {
    let report = run(
        NameSettings::default(),
        chance(3, 2),
        |world, _| world.step(),
        |world| {
            let amount = Value::Amount(world.sums[0]);
            vec![shown("cpu_used_ms", &[], amount), shown("heap", &[], Value::Level(world.levels[1]))]
        },
        |world| {
            let amount = Value::Amount(world.sums[0] / 1000.0);
            vec![shown("process.cpu.time", &[], amount), shown("jvm.memory", &[], Value::Level(world.levels[1]))]
        },
    );
    let expected = [("cpu_used_ms", "process.cpu.time", 1e-3), ("heap", "jvm.memory", 1.0)];
    assert_eq!(names(&report.suggestions), expected);
}

#[test]
fn what_rises_steadily_is_found_by_its_pace_and_its_name() {
    let report = run(
        NameSettings::default(),
        0,
        |world: &mut i64, _| *world += 10,
        |world| {
            let half = Value::Count(*world / 2);
            vec![shown("jobs_done_total", &[], Value::Count(*world)), shown("mails_sent", &[], half)]
        },
        |world| {
            let half = Value::Count(*world / 2);
            vec![shown("shop.jobs", &[], Value::Count(*world)), shown("cache.hits", &[], half)]
        },
    );
    assert_eq!(names(&report.suggestions), [("jobs_done_total", "shop.jobs", 1.0)]);
}

#[test]
fn two_that_look_alike_are_none() {
    let report = run(
        NameSettings::default(),
        chance(4, 1),
        |world, _| world.step(),
        |world| vec![shown("orders_processed", &[], Value::Count(world.counts[0]))],
        |world| {
            let count = Value::Count(world.counts[0]);
            vec![shown("shop.orders", &[], count), shown("orders.new", &[], count)]
        },
    );
    assert_eq!(report.suggestions, []);
}

#[test]
fn what_never_moves_proves_nothing() {
    for level in [0.0, 1.0, 42.0] {
        let report = run(
            NameSettings::default(),
            (),
            |(), _| {},
            |()| {
                let level = Value::Level(level);
                vec![
                    shown("queue_up", &[], level),
                    shown("queue_limit", &[], level),
                    shown("idle", &[], Value::Count(7)),
                ]
            },
            |()| {
                let level = Value::Level(level);
                vec![shown("queue.state", &[], level), shown("cache", &[], level), shown("idles", &[], Value::Count(7))]
            },
        );
        assert_eq!(report.suggestions, [], "{level}");
    }
}

#[test]
fn counters_at_one_pace_and_levels_at_one_height_are_not_the_same_for_that() {
    for seed in 0..48 {
        // With words in common and without.
        let words = [["a.one", "b.two", "c.three", "d.four"], ["e.one", "f.six", "g.three", "h.two"]];
        let of = |side: usize| {
            move |world: &Chance| {
                let at = |at: usize| 4 * side + at;
                vec![
                    shown(words[side][0], &[], Value::Count(world.counts[at(0)])),
                    shown(words[side][1], &[], Value::Count(world.counts[at(1)])),
                    shown(words[side][2], &[], Value::Level(world.levels[at(2)])),
                    shown(words[side][3], &[], Value::Level(world.levels[at(3)])),
                ]
            }
        };
        let report = run(NameSettings::default(), chance(seed, 8), |world, _| world.step(), of(0), of(1));
        assert_eq!(report.suggestions, [], "{seed}");
    }
}

/// Metrics of both sides, of which those of the legacy side have a label more.
fn with_label(value: impl Fn(usize) -> String) -> MetricsReport {
    const NAMES: [&str; 4] = ["orders", "carts", "users", "mails"];
    let all = |world: &Chance, extra: Option<&dyn Fn(usize) -> String>| -> Vec<Shown> {
        let mut all = Vec::new();
        for (at, name) in NAMES.into_iter().enumerate() {
            let mut one = shown(name, &[("method", "GET")], Value::Count(world.counts[at]));
            one.labels.extend(extra.map(|value| ("cluster", value(at))));
            all.push(one);
        }
        all
    };
    run(
        NameSettings::default(),
        chance(5, 4),
        |world, _| world.step(),
        |world| all(world, Some(&value)),
        |world| all(world, None),
    )
}

#[test]
fn a_label_that_all_of_one_side_has_is_one_suggestion() {
    let report = with_label(|_| "a".to_owned());
    let [suggestion] = report.suggestions.as_slice() else { panic!("{report:#?}") };
    let labels = BTreeMap::from([("cluster".to_owned(), "a".to_owned())]);
    let advice = Advice::SharedLabels { side: Side::Legacy, labels, series: 4, of_series: 4 };
    assert_eq!((&suggestion.advice, suggestion.yaml.as_str()), (&advice, "cluster"));
    assert_eq!(suggestion.option, "migration.parity.ignore.labels");
    assert!(report.metrics.iter().all(|metric| matches!(metric.verdict, Verdict::Different(_))));
}

#[test]
fn a_label_whose_values_vary_is_none() {
    assert_eq!(with_label(|at| format!("cluster-{at}")).suggestions, []);
}
