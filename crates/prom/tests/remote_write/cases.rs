//! Rules, one by one: a batch made with the encoder, and its series as text.

use otlp::encode::{MetricWriter, MetricsEncoder, NumberPointWriter, ResourceMetricsWriter};
use otlp::{Batch, NumberValue, SpanId, Temporality, TraceId};
use prom::names::Strategy;
use prom::write::proto::{Label, TimeSeries};
use prom::write::{Converter, Metadata, Partition, Refusal, ResourceLabels, ScopeLabels, Settings};

use crate::{ONE_LANE, decode, series};

const AT_NANOS: u64 = 1_700_000_000_123_999_999;

fn block(fill: impl FnOnce(&mut ResourceMetricsWriter<'_>)) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(fill);
    encoder.finish()
}

fn metric(fill: impl FnOnce(&mut MetricWriter<'_>)) -> Batch {
    block(|block| block.scope_metrics(|scope| scope.metric(fill)))
}

fn gauge(name: &str, fill: impl FnOnce(&mut NumberPointWriter<'_>)) -> Batch {
    metric(|metric| {
        metric.name(name);
        metric.gauge(|gauge| {
            gauge.point(|point| {
                point.time_unix_nano(AT_NANOS).value(NumberValue::Int(7));
                fill(point);
            });
        });
    })
}

/// Series with their values and exemplars, without times.
fn plainly(series: &TimeSeries) -> String {
    let labels = |labels: &[Label]| {
        let pairs: Vec<String> = labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
        format!("{{{}}}", pairs.join(","))
    };
    let mut text = labels(&series.labels);
    for sample in &series.samples {
        text += &format!(" {:?}", sample.value);
    }
    for exemplar in &series.exemplars {
        text += &format!(" # {} {:?}", labels(&exemplar.labels), exemplar.value);
    }
    text
}

fn check_with(settings: Settings, batch: &Batch, expected: &[&str]) {
    let mut converter = Converter::new(settings, ONE_LANE);
    let refused = converter.append(batch, Metadata::Omit);
    assert_eq!(refused.total(), 0, "{refused:?}");
    let made: Vec<String> = series(&converter.take()).iter().map(plainly).collect();
    assert_eq!(made, expected);
}

fn check(batch: &Batch, expected: &[&str]) {
    check_with(Settings::default(), batch, expected);
}

fn refuses(batch: &Batch, reason: Refusal) {
    let mut converter = Converter::new(Settings::default(), ONE_LANE);
    let refused = converter.append(batch, Metadata::Omit);
    assert_eq!(refused.iter().collect::<Vec<_>>(), [(reason, batch.items())]);
    assert!(converter.take().is_empty());
}

#[test]
fn labels_are_sorted_by_their_bytes_with_the_name_among_them() {
    let batch = gauge("m", |point| {
        point.attributes().string("zone", "b").string("Zone", "a").string("_x", "c").string("http.method", "GET");
    });
    check(&batch, &[r#"{Zone="a",__name__="m",_x="c",http_method="GET",zone="b"} 7.0"#]);
}

#[test]
fn nanoseconds_become_whole_milliseconds() {
    let mut converter = Converter::new(Settings::default(), ONE_LANE);
    converter.append(&gauge("m", |_| {}), Metadata::Omit);
    assert_eq!(series(&converter.take())[0].samples[0].timestamp, 1_700_000_000_123);
}

#[test]
fn an_empty_value_is_no_label_and_other_values_become_text() {
    let batch = gauge("m", |point| {
        point.attributes().string("empty", "").int("i", -3).bool("t", true).double("d", 0.5);
    });
    check(&batch, &[r#"{__name__="m",d="0.5",i="-3",t="true"} 7.0"#]);
}

#[test]
fn keys_that_become_one_label_join_their_values() {
    let batch = gauge("m", |point| {
        point.attributes().string("a_b", "second").string("a.b", "first");
    });
    check(&batch, &[r#"{__name__="m",a_b="first;second"} 7.0"#]);
    let equal = gauge("m", |point| {
        point.attributes().string("a_b", "same").string("a.b", "same");
    });
    check(&equal, &[r#"{__name__="m",a_b="same"} 7.0"#]);
}

fn described_resource() -> Batch {
    block(|block| {
        block.resource(|resource| {
            let mut attributes = resource.attributes();
            attributes.string("service.namespace", "shop").string("service.name", "cart");
            attributes.string("service.instance.id", "cart-1").string("host.name", "n1");
        });
        block.scope_metrics(|scope| {
            scope.scope(|scope| {
                scope.name("lib").version("1.2").attributes().string("lang", "rust");
            });
            scope.metric(|metric| {
                metric.name("m");
                metric.gauge(|gauge| {
                    gauge.point(|point| {
                        point.time_unix_nano(AT_NANOS).value(NumberValue::Int(1)).attributes().string("job", "own");
                    });
                });
            });
        });
    })
}

#[test]
fn the_resource_is_job_and_instance_and_target_info() {
    check(
        &described_resource(),
        &[
            r#"{__name__="m",instance="cart-1",job="shop/cart",otel_scope_lang="rust",otel_scope_name="lib",otel_scope_version="1.2"} 1.0"#,
            r#"{__name__="target_info",host_name="n1",instance="cart-1",job="shop/cart"} 1.0"#,
        ],
    );
}

#[test]
fn attributes_of_the_resource_can_be_labels_of_every_series() {
    let settings = Settings {
        resource_labels: ResourceLabels::All,
        scope_labels: ScopeLabels::Omit,
        target_info: prom::write::TargetInfo::Omit,
        ..Settings::default()
    };
    check_with(
        settings.clone(),
        &described_resource(),
        &[
            r#"{__name__="m",host_name="n1",instance="cart-1",job="shop/cart",service_instance_id="cart-1",service_name="cart",service_namespace="shop"} 1.0"#,
        ],
    );
    check_with(
        Settings { resource_labels: ResourceLabels::WithoutService, ..settings },
        &described_resource(),
        &[r#"{__name__="m",host_name="n1",instance="cart-1",job="shop/cart"} 1.0"#],
    );
}

#[test]
fn a_resource_that_cannot_be_told_from_others_has_no_target_info() {
    let batch = block(|block| {
        block.resource(|resource| {
            resource.attributes().string("host.name", "n1");
        });
        block.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("m");
                metric.gauge(|gauge| {
                    gauge.point(|point| {
                        point.time_unix_nano(AT_NANOS).value(NumberValue::Int(1));
                    });
                });
            });
        });
    });
    check(&batch, &[r#"{__name__="m"} 1.0"#]);
}

#[test]
fn external_labels_fill_gaps_only() {
    let labels = [("region.name", "eu"), ("zone", "outside")];
    let settings = Settings {
        external_labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..Settings::default()
    };
    let batch = gauge("m", |point| {
        point.attributes().string("zone", "own");
    });
    check_with(settings, &batch, &[r#"{__name__="m",region_name="eu",zone="own"} 7.0"#]);
}

#[test]
fn a_histogram_is_sum_count_and_cumulative_buckets() {
    let batch = metric(|metric| {
        metric.name("latency").unit("s");
        metric.histogram(|histogram| {
            histogram.temporality(Temporality::Cumulative);
            histogram.point(|point| {
                point.time_unix_nano(AT_NANOS).count(6).sum(9.5);
                point.bucket_counts([1, 2, 3]).explicit_bounds([0.005, 10.0]);
                point.attributes().string("le", "mine").string("m", "x");
                for value in [10.0, 0.001, 11.0] {
                    point.exemplar(|exemplar| {
                        exemplar.value(NumberValue::Double(value)).time_unix_nano(AT_NANOS);
                        exemplar.trace_id(TraceId::new([1; 16])).span_id(SpanId::new([2; 8]));
                    });
                }
            });
        });
    });
    let ids = r#"{span_id="0202020202020202",trace_id="01010101010101010101010101010101"}"#;
    check(
        &batch,
        &[
            r#"{__name__="latency_seconds_sum",m="x"} 9.5"#,
            r#"{__name__="latency_seconds_count",m="x"} 6.0"#,
            &format!(r#"{{__name__="latency_seconds_bucket",le="0.005",m="x"}} 1.0 # {ids} 0.001"#),
            &format!(r#"{{__name__="latency_seconds_bucket",le="10",m="x"}} 3.0 # {ids} 10.0"#),
            &format!(r#"{{__name__="latency_seconds_bucket",le="+Inf",m="x"}} 6.0 # {ids} 11.0"#),
        ],
    );
}

#[test]
fn a_summary_is_sum_count_and_quantiles() {
    let batch = metric(|metric| {
        metric.name("rpc");
        metric.summary(|summary| {
            summary.point(|point| {
                point.time_unix_nano(AT_NANOS).count(4).sum(2.5);
                point.quantile(|quantile| {
                    quantile.quantile(0.99).value(1.5);
                });
            });
        });
    });
    check(
        &batch,
        &[r#"{__name__="rpc_sum"} 2.5"#, r#"{__name__="rpc_count"} 4.0"#, r#"{__name__="rpc",quantile="0.99"} 1.5"#],
    );
}

#[test]
fn no_recorded_value_is_the_staleness_marker_of_every_series() {
    let batch = metric(|metric| {
        metric.name("h");
        metric.histogram(|histogram| {
            histogram.temporality(Temporality::Cumulative);
            histogram.point(|point| {
                point.time_unix_nano(AT_NANOS).flags(1).explicit_bounds([1.0]).bucket_counts([0, 0]);
            });
        });
    });
    let mut converter = Converter::new(Settings::default(), ONE_LANE);
    converter.append(&batch, Metadata::Omit);
    let made = series(&converter.take());
    let bits: Vec<u64> = made.iter().map(|series| series.samples[0].value.to_bits()).collect();
    assert_eq!(bits, [0x7ff0_0000_0000_0002; 4], "sum, count, one bucket, +Inf");
}

#[test]
fn what_does_not_count_from_the_start_is_refused() {
    for temporality in [Temporality::Delta, Temporality::Unspecified] {
        let batch = metric(|metric| {
            metric.name("c");
            metric.sum(|sum| {
                sum.temporality(temporality).is_monotonic(true);
                for _ in 0..3 {
                    sum.point(|point| {
                        point.value(NumberValue::Int(1));
                    });
                }
            });
        });
        refuses(&batch, Refusal::NotCumulative);
    }
}

#[test]
fn what_prometheus_cannot_name_or_hold_is_refused_by_reason() {
    refuses(&gauge("", |_| {}), Refusal::MetricName);
    refuses(&gauge("$$", |_| {}), Refusal::MetricName);
    let nameless_label = gauge("m", |point| {
        point.attributes().string("", "x");
    });
    refuses(&nameless_label, Refusal::LabelName);
    let no_value = metric(|metric| {
        metric.name("m");
        metric.gauge(|gauge| gauge.point(|_| ()));
    });
    refuses(&no_value, Refusal::NoValue);
}

fn exponential(scale: i32, sum: Option<f64>) -> Batch {
    metric(|metric| {
        metric.name("e");
        metric.exponential_histogram(|histogram| {
            histogram.temporality(Temporality::Cumulative);
            histogram.point(|point| {
                point.time_unix_nano(AT_NANOS).count(10).scale(scale).zero_count(1);
                if let Some(sum) = sum {
                    point.sum(sum);
                }
                point.positive(|buckets| {
                    buckets.offset(-2).bucket_counts([1, 0, 0, 2, 3, 0, 0, 0, 0, 3]);
                });
            });
        });
    })
}

#[test]
fn an_exponential_histogram_is_a_native_histogram() {
    let mut converter = Converter::new(Settings::default(), ONE_LANE);
    converter.append(&exponential(3, Some(4.5)), Metadata::Omit);
    let made = series(&converter.take());
    let histogram = &made[0].histograms[0];
    let spans: Vec<(i32, u32)> = histogram.positive_spans.iter().map(|span| (span.offset, span.length)).collect();
    assert_eq!((histogram.schema, histogram.sum, histogram.zero_threshold), (3, 4.5, 1e-128));
    // The buckets lie at -2, 1, 2 and 7 of OTLP, which are -1, 2, 3 and 8 of Prometheus.
    assert_eq!(spans, [(-1, 5), (4, 1)]);
    assert_eq!(histogram.positive_deltas, [1, -1, 0, 2, 1, 0]);
    assert!(made[0].samples.is_empty());
}

#[test]
fn scales_beyond_prometheus_are_brought_down_or_refused() {
    let mut converter = Converter::new(Settings::default(), ONE_LANE);
    converter.append(&exponential(10, Some(1.0)), Metadata::Omit);
    let histogram = series(&converter.take())[0].histograms[0].clone();
    assert_eq!(histogram.schema, 8);
    // Four buckets become one: -2 is alone; 1 and 2 join; 7 is in the next.
    let spans: Vec<(i32, u32)> = histogram.positive_spans.iter().map(|span| (span.offset, span.length)).collect();
    assert_eq!((spans, histogram.positive_deltas), (vec![(0, 3)], vec![1, 4, -2]));
    refuses(&exponential(-5, Some(1.0)), Refusal::ScaleTooSmall);
    refuses(&exponential(0, None), Refusal::NoSum);
}

#[test]
fn names_follow_the_strategy_and_the_namespace() {
    let batch = gauge("http.requests", |point| {
        point.attributes().string("http.method", "GET");
    });
    let settings = Settings { namespace: "ns".to_owned(), strategy: Strategy::NoTranslation, ..Settings::default() };
    check_with(settings, &batch, &[r#"{__name__="ns_http.requests",http.method="GET"} 7.0"#]);
}

#[test]
fn a_data_point_larger_than_a_request_goes_alone_and_whole() {
    let batch = metric(|metric| {
        metric.name("h");
        metric.histogram(|histogram| {
            histogram.temporality(Temporality::Cumulative);
            for _ in 0..3 {
                histogram.point(|point| {
                    point.explicit_bounds((0..100).map(f64::from)).bucket_counts((0..101).map(|_| 1));
                });
            }
        });
    });
    let mut converter =
        Converter::new(Settings::default(), Partition { lanes: 2, lane_items_min: 1, size_bytes_max: 1000 });
    converter.append(&batch, Metadata::Omit);
    let made = converter.take();
    assert_eq!(made.iter().map(|request| (request.items, request.series)).collect::<Vec<_>>(), [(1, 102); 3]);
}

#[test]
fn metadata_goes_in_requests_of_its_own() {
    let batch = metric(|metric| {
        metric.name("io").unit("By").description("Bytes.");
        metric.gauge(|gauge| {
            gauge.point(|point| {
                point.value(NumberValue::Int(1));
            });
        });
    });
    let mut converter = Converter::new(Settings::default(), ONE_LANE);
    converter.append(&batch, Metadata::Send);
    let made = converter.take();
    assert_eq!(made.iter().map(|request| request.items).collect::<Vec<_>>(), [1, 0]);
    let entry = &decode(&made[1]).metadata[0];
    assert_eq!((&*entry.metric_family_name, &*entry.help, &*entry.unit), ("io_bytes", "Bytes.", "bytes"));
}

#[test]
fn an_exemplar_keeps_its_ids_when_its_attributes_have_no_room() {
    let batch = metric(|metric| {
        metric.name("c");
        metric.sum(|sum| {
            sum.temporality(Temporality::Cumulative).is_monotonic(true);
            sum.point(|point| {
                point.value(NumberValue::Int(1)).time_unix_nano(AT_NANOS);
                for size in [3, 128] {
                    point.exemplar(|exemplar| {
                        exemplar.value(NumberValue::Int(5)).time_unix_nano(AT_NANOS).trace_id(TraceId::new([1; 16]));
                        exemplar.filtered_attributes().string("user.id", &"x".repeat(size));
                    });
                }
            });
        });
    });
    let id = r#"trace_id="01010101010101010101010101010101""#;
    check(&batch, &[&format!(r#"{{__name__="c_total"}} 1.0 # {{{id},user_id="xxx"}} 5.0 # {{{id}}} 5.0"#)]);
}
