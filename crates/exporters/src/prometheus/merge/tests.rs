use std::time::Duration;

use otlp::encode::MetricsEncoder;
use otlp::{Batch, NumberValue};
use proptest::prelude::*;

use super::super::testing::{Bench, delta_histogram, gauge, metric, metric_of, stale_gauge, sum};
use super::*;

const CUMULATIVE: Temporality = Temporality::Cumulative;
const DELTA: Temporality = Temporality::Delta;

/// Merges batches one after another and compares what is refused of each, and what is exposed in the end.
fn check(batches: &[(Batch, &str)], exposed: &str) -> Bench {
    let bench = Bench::new("");
    for (index, (batch, refused)) in batches.iter().enumerate() {
        assert_eq!(bench.merge(batch), *refused, "batch {index}");
    }
    assert_eq!(bench.samples(), exposed);
    bench
}

#[test]
fn the_latest_value_of_a_cumulative_series_is_exposed() {
    let batches = [
        (sum(CUMULATIVE, 1, 10, 5), ""),
        (sum(CUMULATIVE, 1, 20, 9), ""),
        (sum(CUMULATIVE, 1, 20, 8), ""),
        (sum(CUMULATIVE, 1, 15, 7), "out_of_order 1"),
    ];
    check(&batches, "m_total 8");
}

#[test]
fn a_counter_that_restarted_is_exposed_as_it_is() {
    check(&[(sum(CUMULATIVE, 1, 10, 5), ""), (sum(CUMULATIVE, 11, 20, 1), "")], "m_total 1");
}

#[test]
fn deltas_add_up() {
    check(&[(sum(DELTA, 1, 10, 5), ""), (sum(DELTA, 10, 20, 3), ""), (sum(DELTA, 20, 30, 0), "")], "m_total 8");
}

#[test]
fn a_gap_between_deltas_is_no_reset() {
    check(&[(sum(DELTA, 1, 10, 3), ""), (sum(DELTA, 50, 60, 5), "")], "m_total 8");
}

#[test]
fn deltas_without_a_start_add_up() {
    check(&[(sum(DELTA, 0, 10, 3), ""), (sum(DELTA, 0, 20, 5), "")], "m_total 8");
    check(&[(sum(DELTA, 0, 0, 3), ""), (sum(DELTA, 0, 0, 5), "")], "m_total 8");
}

#[test]
fn a_delta_that_comes_twice_counts_once() {
    let batches = [(sum(DELTA, 1, 10, 5), ""), (sum(DELTA, 1, 10, 5), "out_of_order 1")];
    check(&batches, "m_total 5");
}

#[test]
fn deltas_that_overlap_are_refused() {
    let batches = [(sum(DELTA, 1, 10, 5), ""), (sum(DELTA, 5, 20, 3), "delta_overlap 1")];
    check(&batches, "m_total 5");
}

#[test]
fn a_delta_continues_what_was_cumulative() {
    check(&[(sum(CUMULATIVE, 1, 10, 100), ""), (sum(DELTA, 10, 20, 5), "")], "m_total 105");
}

#[test]
fn delta_histograms_add_up() {
    let batches = [(delta_histogram(1, 10, 1.0, [1, 2]), ""), (delta_histogram(10, 20, 1.0, [3, 0]), "")];
    check(&batches, "m_bucket{le=\"1\"} 4\nm_bucket{le=\"+Inf\"} 6\nm_sum 1\nm_count 6");
}

#[test]
fn other_bounds_start_a_histogram_anew() {
    let batches = [(delta_histogram(1, 10, 1.0, [1, 2]), ""), (delta_histogram(10, 20, 2.0, [3, 0]), "")];
    check(&batches, "m_bucket{le=\"2\"} 3\nm_bucket{le=\"+Inf\"} 3\nm_sum 0.5\nm_count 3");
}

#[test]
fn exponential_histograms_have_count_and_sum() {
    let batch = |temporality, start, time| {
        metric(|metric| {
            metric.name("m").exponential_histogram(|histogram| {
                histogram.temporality(temporality);
                histogram.point(|point| {
                    point.start_time_unix_nano(start).time_unix_nano(time).count(3).sum(4.5).scale(2);
                    point.positive(|buckets| {
                        buckets.offset(1).bucket_counts([1, 2]);
                    });
                });
            });
        })
    };
    let exposed = "m_bucket{le=\"+Inf\"} 6\nm_sum 9\nm_count 6";
    check(&[(batch(DELTA, 1, 10), ""), (batch(DELTA, 10, 20), "")], exposed);
    let exposed = "m_bucket{le=\"+Inf\"} 3\nm_sum 4.5\nm_count 3";
    check(&[(batch(CUMULATIVE, 1, 10), ""), (batch(CUMULATIVE, 1, 20), "")], exposed);
}

#[test]
fn sums_that_also_fall_are_not_taken_as_deltas_and_unspecified_ones_not_at_all() {
    let batch = |temporality| {
        metric(|metric| {
            metric.name("m").sum(|sum| {
                sum.temporality(temporality);
                for value in [1, 2] {
                    sum.point(|point| {
                        point.time_unix_nano(1).value(NumberValue::Int(value));
                    });
                }
            });
        })
    };
    let unspecified = Temporality::Unspecified;
    check(&[(batch(DELTA), "delta_temporality 2"), (batch(unspecified), "unspecified_temporality 2")], "");
    check(&[(batch(CUMULATIVE), "")], "m 2");
    check(&[(sum(unspecified, 0, 1, 1), "unspecified_temporality 1")], "");
}

#[test]
fn a_staleness_marker_ends_its_series_and_no_other() {
    let batches = [
        (gauge("m", "x", 10, 1.0), ""),
        (gauge("m", "y", 10, 2.0), ""),
        (stale_gauge("m", "x", 5), "out_of_order 1"),
        (stale_gauge("m", "x", 20), ""),
        (stale_gauge("m", "x", 20), ""),
        (stale_gauge("other", "x", 20), ""),
    ];
    let bench = check(&batches, "m{a=\"y\"} 2");
    bench.merge(&stale_gauge("m", "y", 20));
    assert_eq!(bench.page(super::super::testing::TEXT), "");
    bench.with(|accumulator| assert_eq!(accumulator.store.usage, super::super::store::Usage::default()));
}

#[test]
fn a_series_is_found_again_after_others_took_its_place() {
    let batches = [
        (gauge("m", "x", 1, 1.0), ""),
        (gauge("m", "y", 1, 2.0), ""),
        // Here `y` moves to the place of `x`, and `x` comes back to that of `y`.
        (stale_gauge("m", "x", 2), ""),
        (gauge("m", "x", 3, 3.0), ""),
        (gauge("m", "y", 3, 4.0), ""),
        (gauge("m", "x", 4, 5.0), ""),
    ];
    check(&batches, "m{a=\"x\"} 5\nm{a=\"y\"} 4");
}

#[test]
fn attributes_in_another_order_are_the_same_series() {
    let batch = |keys: [&str; 2], value| {
        metric(|metric| {
            metric.name("m").gauge(|gauge| {
                gauge.point(|point| {
                    point.value(NumberValue::Int(value));
                    for key in keys {
                        point.attributes().string(key, key);
                    }
                });
            });
        })
    };
    check(&[(batch(["a", "b"], 1), ""), (batch(["b", "a"], 2), "")], "m{a=\"a\",b=\"b\"} 2");
}

#[test]
fn places_are_remembered_within_bounds() {
    let bench = Bench::new("max_series: 10");
    for index in 0..5000 {
        bench.merge(&gauge("m", "x", index, 1.0));
        bench.merge(&gauge("m", &index.to_string(), index, 1.0));
        bench.merge(&stale_gauge("m", &index.to_string(), index));
    }
    bench.with(|accumulator| assert!(accumulator.places.places.len() <= 2 * 10 + 1001));
}

#[test]
fn a_data_point_without_a_value_is_refused() {
    let batch = metric(|metric| {
        metric.name("m").gauge(|gauge| {
            gauge.point(|point| {
                point.time_unix_nano(1);
            });
        });
    });
    check(&[(batch, "no_value 1")], "");
}

#[test]
fn a_metric_without_a_name_is_refused() {
    check(&[(gauge("", "x", 1, 1.0), "metric_name 1"), (gauge("...", "x", 1, 1.0), "metric_name 1")], "");
}

#[test]
fn a_name_has_one_type() {
    let batches = [(gauge("m_total", "x", 1, 1.0), ""), (sum(CUMULATIVE, 0, 1, 1), "type_conflict 1")];
    let bench = check(&batches, "m_total{a=\"x\"} 1");
    // It is free again when the first one has gone.
    bench.merge(&stale_gauge("m_total", "x", 2));
    assert_eq!(bench.merge(&sum(CUMULATIVE, 0, 1, 1)), "");
}

#[test]
fn series_of_two_metrics_do_not_have_one_name() {
    let histogram = delta_histogram(0, 1, 1.0, [1, 0]);
    let exposed = "m_bucket{le=\"1\"} 1\nm_bucket{le=\"+Inf\"} 1\nm_sum 0.5\nm_count 1";
    let batches = [(histogram.clone(), ""), (gauge("m_count", "x", 1, 1.0), "name_conflict 1")];
    check(&batches, exposed);
    check(&[(gauge("m_count", "x", 1, 1.0), ""), (histogram, "name_conflict 1")], "m_count{a=\"x\"} 1");
    check(&[(gauge("target_info", "x", 1, 1.0), "name_conflict 1")], "");
}

#[test]
fn two_metrics_of_one_name_and_type_share_a_family() {
    let batches = [(gauge("a.b", "x", 1, 1.0), ""), (gauge("a_b", "y", 1, 2.0), ""), (gauge("a.b", "y", 2, 3.0), "")];
    check(&batches, "a_b{a=\"x\"} 1\na_b{a=\"y\"} 3");
}

fn described(description: &str, unit: &str, value: &str) -> Batch {
    metric(|metric| {
        metric.name("m").description(description).unit(unit).gauge(|gauge| {
            gauge.point(|point| {
                point.time_unix_nano(1).value(NumberValue::Int(1));
                point.attributes().string("a", value);
            });
        });
    })
}

#[test]
fn what_is_said_of_a_family_does_not_depend_on_who_came_first() {
    let batches =
        [described("short", "s", "x"), described("rather long", "s", "y"), described("rather lone", "ms", "z")];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1]] {
        let bench = Bench::new("add_metric_suffixes: false");
        for index in order {
            assert_eq!(bench.merge(&batches[index]), "");
        }
        bench.with(|accumulator| {
            let family = &accumulator.store.families["m"];
            assert_eq!((family.help.as_str(), family.unit.as_str()), ("rather lone", ""));
        });
    }
}

#[test]
fn series_that_nothing_is_said_of_expire() {
    let mut bench = Bench::new("metric_expiration: 10s");
    bench.merge(&gauge("m", "x", 1, 1.0));
    bench.now += Duration::from_secs(6);
    bench.merge(&gauge("m", "y", 1, 2.0));
    bench.now += Duration::from_secs(4);
    assert_eq!(bench.samples(), "m{a=\"x\"} 1\nm{a=\"y\"} 2");
    bench.now += Duration::from_millis(1);
    assert_eq!(bench.samples(), "m{a=\"y\"} 2");
    // A value that is said again keeps the series.
    bench.merge(&gauge("m", "y", 1, 2.0));
    bench.now += Duration::from_secs(10);
    assert_eq!(bench.samples(), "m{a=\"y\"} 2");
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.page(super::super::testing::TEXT), "");
}

#[test]
fn more_series_than_the_bound_are_refused_until_others_go() {
    let mut bench = Bench::new("max_series: 2\nmetric_expiration: 10s");
    for (attribute, refused) in [("x", ""), ("y", ""), ("z", "series_limit 1"), ("x", "")] {
        assert_eq!(bench.merge(&gauge("m", attribute, 1, 1.0)), refused, "{attribute}");
    }
    bench.now += Duration::from_secs(11);
    assert_eq!(bench.merge(&gauge("m", "z", 1, 1.0)), "");
    assert_eq!(bench.samples(), "m{a=\"z\"} 1");
}

#[test]
fn memory_is_bounded() {
    let bench = Bench::new("max_memory_mib: 1");
    let large = "x".repeat(10_000);
    let mut refused = 0;
    for index in 0..200 {
        match bench.merge(&gauge("m", &format!("{index}{large}"), 1, 1.0)).as_str() {
            "" => {}
            "memory_limit 1" => refused += 1,
            other => panic!("{other}"),
        }
    }
    let usage = bench.with(|accumulator| accumulator.store.usage);
    assert!(usage.size_bytes <= 1 << 20, "{usage:?}");
    assert!(usage.series > 90 && usage.series + refused == 200, "{usage:?}");
    // What is exposed already can still change.
    assert_eq!(bench.merge(&gauge("m", &format!("0{large}"), 2, 7.0)), "");
}

#[test]
fn a_histogram_that_grows_needs_room_too() {
    let bench = Bench::new("max_memory_mib: 1");
    let histogram = |time: u64, buckets: u32| {
        metric(|metric| {
            metric.name("m").histogram(|histogram| {
                histogram.temporality(CUMULATIVE);
                histogram.point(|point| {
                    point.time_unix_nano(time).count(1).explicit_bounds((0..buckets).map(f64::from));
                    point.bucket_counts((0..=buckets).map(|_| 0));
                });
            });
        })
    };
    assert_eq!(bench.merge(&histogram(1, 10)), "");
    assert_eq!(bench.merge(&histogram(2, 100_000)), "memory_limit 1");
    assert_eq!(bench.merge(&histogram(3, 5)), "");
    bench.with(|accumulator| assert!(accumulator.store.usage.size_bytes < 2000));
}

#[test]
fn a_target_is_described_as_long_as_it_has_series() {
    let mut bench = Bench::new("metric_expiration: 10s");
    let batch = |instance: &str, zone: &str| {
        metric_of(
            |resource| {
                resource.string("service.name", "shop").string("service.instance.id", instance).string("zone", zone);
            },
            |metric| {
                metric.name("m").gauge(|gauge| {
                    gauge.point(|point| {
                        point.value(NumberValue::Int(1));
                    });
                });
            },
        )
    };
    bench.merge(&batch("1", "north"));
    bench.now += Duration::from_secs(5);
    bench.merge(&batch("2", "south"));
    bench.merge(&batch("2", "west"));
    let first = "target_info{instance=\"1\",job=\"shop\",zone=\"north\"} 1\n";
    let second = "target_info{instance=\"2\",job=\"shop\",zone=\"west\"} 1\n";
    let series = "m{instance=\"1\",job=\"shop\"} 1\nm{instance=\"2\",job=\"shop\"} 1";
    assert_eq!(bench.samples(), format!("{first}{second}{series}"));
    bench.now += Duration::from_secs(6);
    assert_eq!(bench.samples(), format!("{second}m{{instance=\"2\",job=\"shop\"}} 1"));
    bench.now += Duration::from_secs(6);
    assert_eq!(bench.page(super::super::testing::TEXT), "");
    bench.with(|accumulator| assert_eq!(accumulator.store.usage, super::super::store::Usage::default()));
}

#[test]
fn a_resource_with_too_many_labels_loses_its_data_points_for_that_reason() {
    let bench = Bench::new("resource_to_telemetry_conversion: {enabled: true}");
    let batch = metric_of(
        |resource| {
            for index in 0..300 {
                resource.int(&format!("k{index}"), index);
            }
        },
        |metric| {
            metric.name("m").gauge(|gauge| {
                gauge.point(|point| {
                    point.value(NumberValue::Int(1));
                });
            });
        },
    );
    assert_eq!(bench.merge(&batch), "label_limit 1");
}

#[test]
fn names_of_metrics_are_remembered_within_bounds() {
    let bench = Bench::new("");
    let long = "n".repeat(2000);
    for index in 0..3000 {
        bench.merge(&stale_gauge(&format!("{long}{index}"), "x", 1));
    }
    bench.with(|accumulator| assert!(accumulator.names.size_bytes <= NAMES_SIZE_BYTES_MAX));
}

/// One data point of a made-up request.
#[derive(Clone, Debug)]
struct Made {
    name: usize,
    kind: u8,
    attribute: u8,
    start: u64,
    time: u64,
    flags: u32,
    temporality: i32,
    value: i64,
}

fn made() -> impl Strategy<Value = Made> {
    (0..5_usize, 0..6_u8, 0..4_u8, 0..6_u64, 0..6_u64, 0..8_u32, 0..3_i32, any::<i64>()).prop_map(
        |(name, kind, attribute, start, time, flags, temporality, value)| {
            // One in eight is a staleness marker.
            let flags = u32::from(flags == 0);
            Made { name, kind, attribute, start, time, flags, temporality, value }
        },
    )
}

fn request(points: &[Made]) -> Batch {
    let mut encoder = MetricsEncoder::new();
    for made in points {
        let names = ["m", "m_count", "m.sum", "", "other"];
        let temporality = Temporality::from_number(made.temporality).unwrap();
        encoder.resource_metrics(|block| {
            block.scope_metrics(|scope| {
                scope.metric(|metric| {
                    metric.name(names[made.name]);
                    match made.kind {
                        0 => metric.gauge(|data| data.point(|point| number(point, made))),
                        1 | 2 => metric.sum(|data| {
                            data.temporality(temporality).is_monotonic(made.kind == 1);
                            data.point(|point| number(point, made));
                        }),
                        3 => metric.histogram(|data| {
                            data.temporality(temporality);
                            data.point(|point| {
                                point.start_time_unix_nano(made.start).time_unix_nano(made.time).flags(made.flags);
                                let counts = vec![1; made.value.rem_euclid(4) as usize];
                                point.explicit_bounds([1.0]).bucket_counts(counts);
                            });
                        }),
                        4 => metric.exponential_histogram(|data| {
                            data.temporality(temporality);
                            data.point(|point| {
                                point.start_time_unix_nano(made.start).time_unix_nano(made.time).flags(made.flags);
                            });
                        }),
                        _ => metric.summary(|data| {
                            data.point(|point| {
                                point.time_unix_nano(made.time).flags(made.flags);
                            });
                        }),
                    }
                });
            });
        });
    }
    encoder.finish()
}

fn number(point: &mut otlp::encode::NumberPointWriter<'_>, made: &Made) {
    point.start_time_unix_nano(made.start).time_unix_nano(made.time).flags(made.flags);
    if made.value % 5 != 0 {
        point.value(NumberValue::Int(made.value));
    }
    point.attributes().int(if made.attribute == 0 { "" } else { "a" }, i64::from(made.attribute));
}

proptest! {
    #[test]
    fn every_data_point_is_taken_or_refused_and_the_books_balance(
        requests in prop::collection::vec(prop::collection::vec(made(), 0..12), 0..6),
    ) {
        let mut bench = Bench::new("max_series: 6\nmetric_expiration: 10s");
        for points in &requests {
            let batch = request(points);
            let taken: u64 = points.iter().map(|point| {
                let alone = request(std::slice::from_ref(point));
                u64::from(bench.merge(&alone).is_empty())
            }).sum();
            prop_assert!(taken <= u64::from(batch.items()));
            // What is exposed is well-formed, and no series comes twice.
            let samples = bench.samples();
            let mut series: Vec<&str> =
                samples.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
            let count = series.len();
            series.sort_unstable();
            series.dedup();
            prop_assert_eq!(series.len(), count);
        }
        bench.now += Duration::from_secs(11);
        prop_assert_eq!(bench.samples(), "");
        bench.with(|accumulator| assert_eq!(accumulator.store.usage, super::super::store::Usage::default()));
    }

    #[test]
    fn a_batch_is_refused_as_its_data_points_one_by_one_would_be(points in prop::collection::vec(made(), 0..30)) {
        let (whole, single) = (Bench::new(""), Bench::new(""));
        let at_once = whole.with(|accumulator| {
            accumulator.merge(&request(&points).metrics().unwrap(), whole.now)
        });
        let mut one_by_one = Refused::default();
        for point in &points {
            let batch = request(std::slice::from_ref(point));
            let refused = single.with(|accumulator| accumulator.merge(&batch.metrics().unwrap(), single.now));
            refused.iter().for_each(|(reason, items)| one_by_one.add(reason, items));
        }
        prop_assert_eq!(at_once, one_by_one);
        prop_assert_eq!(whole.samples(), single.samples());
    }
}
