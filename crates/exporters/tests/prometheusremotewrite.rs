//! The `prometheusremotewrite` exporter against backends on real sockets.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use component::{BuiltExporter, Order, Outcome};
use http::{HeaderMap, StatusCode};
use otlp::encode::{MetricWriter, MetricsEncoder, NumberPointWriter};
use otlp::{Batch, NumberValue, Temporality};
use prom::labels::LabelSet;
use prom::scrape::{Families, MetricNames, SampleToEncode, ScrapeEncoder, Target};
use prom::text::{FamilyKind, NORMAL_NAN, STALE_NAN};
use prom::write::proto::{TimeSeries, WriteRequest};
use proptest::prelude::*;
use prost::Message;
use support::{Answer, Backend, errors, exporter, header, said};
use transport::coding::snappy_block_decompress;

const NAME: &str = "prometheusremotewrite";

fn taken() -> Answer {
    http(204, HeaderMap::new(), "")
}

fn http(status: u16, headers: HeaderMap, body: impl Into<Bytes>) -> Answer {
    Answer::Http(StatusCode::from_u16(status).unwrap(), headers, body.into())
}

fn yaml(backend: &Backend, options: &str) -> String {
    format!("endpoint: http://127.0.0.1:{}/api/v1/write\n{options}", backend.port)
}

fn metric(resource: &[(&str, &str)], fill: impl FnOnce(&mut MetricWriter<'_>)) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.resource(|writer| {
            for (key, value) in resource {
                writer.attributes().string(key, value);
            }
        });
        block.scope_metrics(|scope| {
            scope.scope(|writer| {
                writer.name("lib");
            });
            scope.metric(|metric| fill(metric));
        });
    });
    encoder.finish()
}

/// A monotonic sum with so many series.
fn counter(series: i64) -> Batch {
    metric(&[("service.name", "shop"), ("host.name", "h1")], |metric| {
        metric.name("http.requests").unit("By").description("Requests.").sum(|sum| {
            sum.temporality(Temporality::Cumulative).is_monotonic(true);
            for index in 0..series {
                sum.point(|point| {
                    point.time_unix_nano(1_700_000_000_000_000_000).value(NumberValue::Int(index));
                    point.attributes().int("index", index);
                });
            }
        });
    })
}

/// Encodes and sends a batch; gives the outcomes. All items are accounted for.
async fn export(built: &BuiltExporter, batch: &Batch) -> Vec<String> {
    let encoded = built.exporter.encode(batch);
    let sent: u64 = encoded.requests.iter().map(|request| request.items).sum();
    let rejected: u64 = encoded.rejected.iter().map(|rejection| rejection.items).sum();
    assert_eq!(sent + rejected, u64::from(batch.items()));
    let mut outcomes = Vec::new();
    for request in &encoded.requests {
        outcomes.push(said(&built.exporter.send(request).await));
    }
    outcomes
}

fn labels(series: &TimeSeries) -> LabelSet {
    LabelSet::from_pairs(series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()))).unwrap()
}

fn received(backend: &Backend) -> Vec<WriteRequest> {
    backend.got().iter().map(|got| WriteRequest::decode(&got.payload[..]).unwrap()).collect()
}

/// The series that a backend has got: labels, and the bits of the values with their times.
fn series(backend: &Backend) -> BTreeMap<String, Vec<(u64, i64)>> {
    let mut all = BTreeMap::<String, Vec<(u64, i64)>>::new();
    for series in received(backend).iter().flat_map(|request| &request.timeseries) {
        let samples = series.samples.iter().map(|sample| (sample.value.to_bits(), sample.timestamp));
        all.entry(labels(series).to_string()).or_default().extend(samples);
    }
    all
}

#[tokio::test]
async fn a_request_says_what_the_protocol_wants() {
    let backend = Backend::start(taken()).await;
    let options = "headers: {X-Scope-OrgID: a, authorization: '${env:TOKEN}', content-type: mine, USER-AGENT: mine}\n\
                   remote_write_queue: {num_consumers: 1}";
    let exporter = exporter(NAME, &yaml(&backend, options));
    assert_eq!(export(&exporter, &counter(1)).await, ["delivered"]);
    let got = backend.got().remove(0);
    assert_eq!(got.path, "/api/v1/write");
    for (name, value) in [
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        ("user-agent", concat!("crossfade/", env!("CARGO_PKG_VERSION"))),
        ("x-scope-orgid", "a"),
        ("authorization", "sesame"),
    ] {
        let values: Vec<&str> = got.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(values, [value], "{name}");
    }
    let series = &received(&backend)[0].timeseries;
    let shown: Vec<String> = series.iter().map(|series| labels(series).to_string()).collect();
    assert_eq!(
        shown,
        [
            r#"http_requests_bytes_total{index="0", job="shop", otel_scope_name="lib"}"#,
            r#"target_info{host_name="h1", job="shop"}"#,
        ]
    );
}

#[tokio::test]
async fn options_change_the_labels_and_the_names() {
    let cases = [
        ("namespace: ns", r#"ns_http_requests_bytes_total{index="0", job="shop", otel_scope_name="lib"}"#),
        ("add_metric_suffixes: false", r#"http_requests{index="0", job="shop", otel_scope_name="lib"}"#),
        (
            "translation_strategy: UnderscoreEscapingWithoutSuffixes\ndisable_scope_info: true",
            r#"http_requests{index="0", job="shop"}"#,
        ),
        (
            "external_labels: {cluster: eu, job: other}\ndisable_scope_info: true",
            r#"http_requests_bytes_total{cluster="eu", index="0", job="shop"}"#,
        ),
        (
            "resource_to_telemetry_conversion: {enabled: true}\ndisable_scope_info: true",
            r#"http_requests_bytes_total{host_name="h1", index="0", job="shop", service_name="shop"}"#,
        ),
        (
            "resource_constant_labels: {excluded: [service.name, service.namespace, service.instance.id]}\n\
             disable_scope_info: true",
            r#"http_requests_bytes_total{host_name="h1", index="0", job="shop"}"#,
        ),
    ];
    for (options, expected) in cases {
        let backend = Backend::start(taken()).await;
        let exporter = exporter(NAME, &yaml(&backend, &format!("{options}\ntarget_info: {{enabled: false}}")));
        export(&exporter, &counter(1)).await;
        let found: Vec<String> = series(&backend).into_keys().collect();
        assert_eq!(found, [expected], "{options}");
    }
}

#[tokio::test]
async fn metadata_is_sent_where_it_is_wanted() {
    let backend = Backend::start(taken()).await;
    export(&exporter(NAME, &yaml(&backend, "")), &counter(1)).await;
    assert!(received(&backend).iter().all(|request| request.metadata.is_empty()));
    assert!(export(&exporter(NAME, &yaml(&backend, "send_metadata: true")), &counter(1)).await.len() > 1);
    let metadata = received(&backend).pop().unwrap().metadata;
    assert_eq!(
        (metadata[0].metric_family_name.as_str(), metadata[0].help.as_str(), metadata[0].unit.as_str()),
        ("http_requests_bytes_total", "Requests.", "bytes")
    );
}

#[tokio::test]
async fn series_are_spread_over_lanes_and_stay_in_theirs() {
    let backend = Backend::start(taken()).await;
    for (options, lanes) in [
        ("", 5),
        ("remote_write_queue: {num_consumers: 3}", 3),
        ("remote_write_queue: {num_consumers: 3}\nmax_batch_request_parallelism: 2", 2),
        ("sending_queue: {num_consumers: 4}", 4),
        ("max_batch_request_parallelism: 1", 1),
    ] {
        let exporter = exporter(NAME, &yaml(&backend, options));
        assert_eq!(exporter.delivery.order, Order::Kept);
        let mut lane_of = BTreeMap::<String, u32>::new();
        for _ in 0..2 {
            let encoded = exporter.exporter.encode(&counter(5000));
            assert_eq!(encoded.requests.len(), lanes, "{options}");
            for request in &encoded.requests {
                let body = snappy_block_decompress(&request.body, 1 << 20).unwrap();
                for series in WriteRequest::decode(&body[..]).unwrap().timeseries {
                    let lane = lane_of.entry(labels(&series).to_string()).or_insert(request.lane);
                    assert_eq!(*lane, request.lane);
                }
            }
        }
        assert_eq!(lane_of.values().collect::<BTreeSet<_>>().len(), lanes);
    }
}

#[tokio::test]
async fn exporters_with_the_same_settings_share_what_the_first_of_them_made() {
    let backend = Backend::start(taken()).await;
    let options = ["", "timeout: 1s", "external_labels: {cluster: eu}", "max_batch_size_bytes: 10"];
    let batch = counter(3);
    let bodies = options.map(|options| {
        let encoded = exporter(NAME, &yaml(&backend, options)).exporter.encode(&batch);
        encoded.requests[0].body.clone()
    });
    assert_eq!(bodies[0].as_ptr(), bodies[1].as_ptr());
    assert_ne!(bodies[0], bodies[2]);
    assert_ne!(bodies[0], bodies[3]);
}

#[tokio::test]
async fn requests_are_bounded_in_size() {
    let backend = Backend::start(taken()).await;
    let options = "max_batch_size_bytes: 10000\nremote_write_queue: {num_consumers: 1}";
    let exporter = exporter(NAME, &yaml(&backend, options));
    let encoded = exporter.exporter.encode(&counter(2000));
    assert!(encoded.requests.len() > 10);
    for request in &encoded.requests {
        assert!(snappy_block_decompress(&request.body, 10_000).is_ok());
        assert_eq!(request.lane, 0);
    }
}

#[tokio::test]
async fn what_remote_write_cannot_carry_is_rejected_by_cause() {
    let backend = Backend::start(taken()).await;
    let exporter = exporter(NAME, &yaml(&backend, ""));
    let batch = metric(&[], |metric| {
        metric.name("m").sum(|sum| {
            sum.temporality(Temporality::Delta).is_monotonic(true);
            sum.point(|point| {
                point.time_unix_nano(1).value(NumberValue::Int(1));
            });
        });
    });
    let encoded = exporter.exporter.encode(&batch);
    let rejected: Vec<(&str, u64)> =
        encoded.rejected.iter().map(|rejection| (rejection.failure.cause.as_ref(), rejection.items)).collect();
    assert_eq!((encoded.requests.len(), rejected), (0, vec![("not_cumulative", 1)]));
    assert!(encoded.rejected[0].failure.detail.contains("temporality preference"));
}

#[tokio::test]
async fn answers_become_outcomes_as_the_specification_says() {
    let backend = Backend::start(taken()).await;
    let exporter = exporter(NAME, &yaml(&backend, "remote_write_queue: {num_consumers: 1}"));
    let none = HeaderMap::new;
    let cases = [
        (http(200, none(), ""), "delivered"),
        (http(204, none(), ""), "delivered"),
        (http(500, none(), ""), "retry: http_500"),
        (http(501, none(), ""), "retry: http_501"),
        (http(503, header("retry-after", "7"), ""), "retry after 7s: http_503"),
        (http(429, header("retry-after", "2"), ""), "retry after 2s: http_429"),
        (http(429, none(), ""), "retry: http_429"),
        (http(400, none(), "bad"), "reject: http_400"),
        (http(401, none(), ""), "reject: http_401"),
        (http(404, none(), ""), "reject: http_404"),
        (http(413, none(), ""), "reject: http_413"),
        (http(422, none(), ""), "reject: http_422"),
        (http(307, header("location", "http://elsewhere.example/"), ""), "reject: http_307"),
    ];
    for (answer, expected) in cases {
        backend.set(answer.clone());
        assert_eq!(export(&exporter, &counter(1)).await, [expected], "{answer:?}");
    }
}

#[tokio::test]
async fn samples_that_came_too_late_are_explained() {
    let backend = Backend::start(taken()).await;
    let exporter = exporter(NAME, &yaml(&backend, ""));
    for (said, meaning) in [
        ("out of order sample", "newer samples"),
        ("duplicate sample for timestamp", "at the same time"),
        ("too old sample", "older than it takes"),
        ("out of bounds", "older than it takes"),
        ("label limit", "label limit"),
    ] {
        backend.set(http(400, HeaderMap::new(), said));
        let request = exporter.exporter.encode(&counter(1)).requests.remove(0);
        let Outcome::Reject { failure } = exporter.exporter.send(&request).await else { panic!("{said}") };
        assert!(failure.detail.contains(said) && failure.detail.contains(meaning), "{}", failure.detail);
        assert_eq!(failure.cause, "http_400");
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_tried_again_and_an_endless_answer_is_cut() {
    let absent = exporter(NAME, "endpoint: http://127.0.0.1:1/api/v1/write\nremote_write_queue: {num_consumers: 1}");
    assert_eq!(export(&absent, &counter(1)).await, ["retry: unreachable"]);
    let backend = Backend::start(http(400, HeaderMap::new(), "x".repeat(1 << 20))).await;
    let exporter = exporter(NAME, &yaml(&backend, "remote_write_queue: {num_consumers: 1}"));
    assert_eq!(export(&exporter, &counter(1)).await, ["reject: http_400"]);
}

#[test]
fn the_queue_and_the_retries_are_the_pipeline_s() {
    let endpoint = "endpoint: http://localhost:1\n";
    let plain = exporter(NAME, endpoint).delivery;
    assert_eq!((plain.queue.enabled, plain.queue.queue_size, plain.timeout), (true, None, Duration::from_secs(5)));
    assert_eq!(
        (plain.retry.initial_interval, plain.retry.max_interval, plain.retry.max_elapsed_time),
        (Duration::from_millis(50), Duration::from_secs(5), None)
    );
    let options = "remote_write_queue: {enabled: false, queue_size: 7}\ntimeout: 3s\n\
                   retry_on_failure: {initial_interval: 7s, max_elapsed_time: 1m}";
    let given = exporter(NAME, &format!("{endpoint}{options}")).delivery;
    assert_eq!((given.queue.enabled, given.queue.queue_size, given.timeout), (false, Some(7), Duration::from_secs(3)));
    assert_eq!(
        (given.retry.initial_interval, given.retry.max_interval, given.retry.max_elapsed_time),
        (Duration::from_secs(7), Duration::from_secs(7), Some(Duration::from_secs(60)))
    );
}

#[tokio::test]
async fn the_client_may_have_a_section_of_its_own() {
    let backend = Backend::start(taken()).await;
    let options =
        format!("http: {{endpoint: 'http://127.0.0.1:{}/push', headers: {{x-team: a}}, timeout: 9s}}", backend.port);
    let exporter = exporter("prometheus_remote_write", &options);
    assert_eq!(exporter.delivery.timeout, Duration::from_secs(9));
    export(&exporter, &counter(1)).await;
    let got = backend.got().remove(0);
    assert_eq!((got.path.as_str(), &got.headers["x-team"]), ("/push", &"a".parse().unwrap()));
}

fn check_errors(options: &str, expected: &[&str]) {
    let found = errors(NAME, options);
    for text in expected {
        assert!(found.contains(text), "{options}\n{found}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    check_errors("{}", &["endpoint: is required: expected a URL such as `http://localhost:9090/api/v1/write`"]);
    let with = |options: &str| format!("endpoint: http://localhost:1\n{options}");
    for compression in ["gzip", "none", "zstd"] {
        check_errors(&with(&format!("compression: {compression}")), &["compression", "expected `snappy`"]);
    }
    check_errors(&with("protobuf_message: io.prometheus.write.v2.Request"), &["not built yet: remote write 2.0"]);
    check_errors(&with("wal: {directory: ./wal}"), &["wal", "the journal keeps what is not sent yet"]);
    check_errors(&with("export_created_metric: {enabled: true}"), &["export_created_metric", "not built yet"]);
    check_errors(&with("translation_strategy: NoTranslation"), &["translation_strategy", "remote write 2.0"]);
    check_errors(&with("external_labels: {a: ''}"), &["external_labels", "expected a value"]);
    check_errors(&with("external_labels: {'.': a}"), &["external_labels"]);
    check_errors(&with("external_labels: {__name__: a}"), &["external_labels", "name of the metric"]);
    check_errors(&with("remote_write_queue: {queue_size: 0}"), &["queue_size"]);
    check_errors(&with("remote_write_queue: {num_consumers: -1}"), &["num_consumers"]);
    check_errors(&with("max_batch_request_parallelism: 0"), &["max_batch_request_parallelism"]);
    check_errors(&with("resource_constant_labels: {included: [k8s.*]}"), &["not built yet: a choice of attributes"]);
    check_errors(
        &with("sending_queue: {queue_size: 5}\nremote_write_queue: {queue_size: 7}"),
        &["`queue_size` is given in `sending_queue`, too"],
    );
    check_errors(&with("auth: {authenticator: sigv4auth}"), &["auth", "is not among the configuration's extensions"]);
    check_errors(&with("external_label: {a: b}"), &["did you mean `external_labels`?"]);
}

#[test]
fn what_configurations_commonly_say_is_taken() {
    let options = "
endpoint: https://my-cortex:7900/api/v1/push
tls: {insecure: false, ca_file: ''}
external_labels: {label_name1: label_value1, __replica__: r}
remote_write_queue: {enabled: true, queue_size: 2000, num_consumers: 10}
retry_on_failure: {enabled: true, initial_interval: 5s, max_interval: 30s, max_elapsed_time: 300s}
resource_to_telemetry_conversion: {enabled: true, exclude_service_attributes: true}
target_info: {enabled: true}
export_created_metric: {enabled: false}
protobuf_message: prometheus.WriteRequest
translation_strategy: UnderscoreEscapingWithSuffixes
send_metadata: true
max_batch_size_bytes: 0
compression: snappy
write_buffer_size: 524288
wal:
";
    assert_eq!(errors(NAME, options), "");
}

/// A series of the target, with one label or none beside those of the target.
fn target_series(name: &str, label: Option<(&str, &str)>) -> LabelSet {
    let identity = [("__name__", name), ("job", "shop"), ("instance", "shop:80")];
    LabelSet::from_pairs(identity.into_iter().chain(label)).unwrap()
}

/// A scrape of the target as it is handed to a pipeline.
fn scrape(samples: &[(LabelSet, f64)], timestamp_ms: i64) -> Batch {
    let mut families = Families::default();
    families.start_scrape();
    families.set_kind("counter_total", FamilyKind::Counter);
    families.set_kind("latency_seconds", FamilyKind::Histogram);
    families.set_kind("quantiles", FamilyKind::Summary);
    let target = Target { job: "shop".to_owned(), instance: "shop:80".to_owned(), ..Target::default() };
    let mut encoder = ScrapeEncoder::new(&families, &target, MetricNames::AsExposed);
    for (labels, value) in samples {
        encoder.append(&SampleToEncode { labels, timestamp_ms, value: *value, exemplar: None });
    }
    let (batch, unconvertible) = encoder.finish();
    assert_eq!(unconvertible.total(), 0);
    batch
}

const VALUES: [f64; 12] = [
    0.0,
    -0.0,
    0.1,
    1.0 / 3.0,
    f64::MAX,
    f64::MIN_POSITIVE,
    5e-324,
    f64::INFINITY,
    f64::NEG_INFINITY,
    NORMAL_NAN,
    9_007_199_254_740_993.0,
    1e-300,
];

#[tokio::test]
async fn from_scrape_to_remote_write_every_value_keeps_its_bits() {
    let mut samples: Vec<(LabelSet, f64)> = Vec::new();
    for (index, value) in VALUES.into_iter().enumerate() {
        let index = index.to_string();
        samples.push((target_series("gauge", Some(("i", &index))), value));
        samples.push((target_series("counter_total", Some(("i", &index))), value));
    }
    for (le, value) in [("0.1", 1.0), ("1", 3.0), ("+Inf", 7.0)] {
        samples.push((target_series("latency_seconds_bucket", Some(("le", le))), value));
    }
    samples.push((target_series("latency_seconds_sum", None), 0.1 + 0.2));
    samples.push((target_series("latency_seconds_count", None), 7.0));
    samples.push((target_series("quantiles", Some(("quantile", "0.5"))), NORMAL_NAN));
    samples.push((target_series("quantiles_sum", None), 1e-300));
    samples.push((target_series("quantiles_count", None), 2.0));
    let ended: Vec<(LabelSet, f64)> = samples.iter().map(|(labels, _)| (labels.clone(), STALE_NAN)).collect();

    let backend = Backend::start(taken()).await;
    let options = "add_metric_suffixes: false\ntarget_info: {enabled: false}";
    let exporter = exporter(NAME, &yaml(&backend, options));
    export(&exporter, &scrape(&samples, 1000)).await;
    export(&exporter, &scrape(&ended, 2000)).await;
    let found = series(&backend);
    for (labels, value) in &samples {
        let expected = vec![(value.to_bits(), 1000), (STALE_NAN.to_bits(), 2000)];
        assert_eq!(found.get(&labels.to_string()), Some(&expected), "{labels}");
    }
    assert_eq!(found.len(), samples.len());
}

/// One data point of a made-up request.
#[derive(Clone, Debug)]
struct Made {
    resource: u8,
    name: usize,
    kind: u8,
    temporality: i32,
    flags: u32,
    key: usize,
    value: i64,
    scale: i32,
}

fn made() -> impl Strategy<Value = Made> {
    (0..3_u8, 0..4_usize, 0..7_u8, 0..3_i32, 0..2_u32, 0..4_usize, any::<i64>(), -8..12_i32).prop_map(
        |(resource, name, kind, temporality, flags, key, value, scale)| Made {
            resource,
            name,
            kind,
            temporality,
            flags,
            key,
            value,
            scale,
        },
    )
}

fn request(points: &[Made]) -> Batch {
    let mut encoder = MetricsEncoder::new();
    for made in points {
        encoder.resource_metrics(|block| {
            block.resource(|writer| {
                writer.attributes().int("service.name", i64::from(made.resource)).string("zone", "north");
            });
            block.scope_metrics(|scope| scope.metric(|metric| write(metric, made)));
        });
    }
    encoder.finish()
}

fn write(metric: &mut MetricWriter<'_>, made: &Made) {
    metric.name(["m", "a.b", "", "..."][made.name]).unit("s");
    let temporality = Temporality::from_number(made.temporality).unwrap();
    let key = ["k", "k.k", "", "__"][made.key];
    match made.kind {
        0 => metric.gauge(|data| data.point(|point| number(point, made, key))),
        1 | 2 => metric.sum(|data| {
            data.temporality(temporality).is_monotonic(made.kind == 1);
            data.point(|point| number(point, made, key));
        }),
        3 => metric.histogram(|data| {
            data.temporality(temporality);
            data.point(|point| {
                point.time_unix_nano(made.value.unsigned_abs()).flags(made.flags).count(3);
                point.explicit_bounds([1.0, 2.0]).bucket_counts(vec![1; made.value.rem_euclid(5) as usize]);
                point.attributes().string(key, "v");
            });
        }),
        4 => metric.exponential_histogram(|data| {
            data.temporality(temporality);
            data.point(|point| {
                point.time_unix_nano(5).flags(made.flags).scale(made.scale).count(3);
                if made.value % 2 == 0 {
                    point.sum(1.5);
                }
                point.positive(|buckets| {
                    buckets.offset(made.value as i32).bucket_counts([1, 2]);
                });
            });
        }),
        5 => metric.summary(|data| {
            data.point(|point| {
                point.time_unix_nano(5).flags(made.flags).count(3).sum(4.5);
                point.quantile(|entry| {
                    entry.quantile(0.5).value(1.0);
                });
            });
        }),
        _ => {}
    }
}

fn number(point: &mut NumberPointWriter<'_>, made: &Made, key: &str) {
    point.time_unix_nano(made.value.unsigned_abs()).flags(made.flags);
    if made.value % 3 != 0 {
        point.value(NumberValue::Int(made.value));
    }
    point.attributes().string(key, "v").int("n", made.value % 10);
}

proptest! {
    #[test]
    fn every_data_point_is_in_one_request_or_rejected(
        requests in prop::collection::vec(prop::collection::vec(made(), 0..40), 1..4),
        lanes in 1..8_u32,
        size in prop_oneof![Just(1_usize), 50..2000_usize],
        metadata in any::<bool>(),
    ) {
        let options = format!(
            "endpoint: http://localhost:1\nremote_write_queue: {{num_consumers: {lanes}}}\n\
             max_batch_size_bytes: {size}\nsend_metadata: {metadata}"
        );
        let built = exporter(NAME, &options);
        for points in &requests {
            let batch = request(points);
            let encoded = built.exporter.encode(&batch);
            let sent: u64 = encoded.requests.iter().map(|request| request.items).sum();
            let rejected: u64 = encoded.rejected.iter().map(|rejection| rejection.items).sum();
            prop_assert_eq!(sent + rejected, u64::from(batch.items()));
            for request in &encoded.requests {
                prop_assert!(request.lane < lanes);
                let body = snappy_block_decompress(&request.body, 1 << 20).unwrap();
                prop_assert!(WriteRequest::decode(&body[..]).is_ok());
            }
        }
    }
}
