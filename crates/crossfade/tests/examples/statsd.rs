//! `examples/statsd-to-opentelemetry.yaml`, and an application that emits the same measurements over StatsD and OTLP: the
//! totals of both agree to the last unit.

use std::net::UdpSocket;

use component::clock;
use otlp::encode::MetricsEncoder;
use otlp::{Batch, NumberValue, Temporality};
use serde_json::Value;

use crate::support::{Running, backends, example, free_port, ledger, post, write};

/// What an application's OTLP exporter sends: a counter since its start.
pub(crate) fn orders(start_unix_ns: u64, value: i64) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.resource(|resource| {
            resource.attributes().string("service.name", "shop");
        });
        block.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("shop.orders").sum(|sum| {
                    sum.is_monotonic(true).temporality(Temporality::Cumulative).point(|point| {
                        point.start_time_unix_nano(start_unix_ns).time_unix_nano(clock::unix_ns());
                        point.value(NumberValue::Int(value));
                    });
                });
            });
        });
    });
    encoder.finish()
}

/// Waits until a backend has got something of each of its pipelines.
fn both_delivered(answer: &Value) -> bool {
    let lines = answer["lines"].as_array().unwrap();
    lines.iter().filter(|line| line["signal"] == "metrics").all(|line| line["delivered_items"].as_u64() > Some(0))
}

#[test]
fn lines_of_statsd_reach_the_old_and_the_new_backend() {
    let directory = tempfile::tempdir().unwrap();
    let [statsd, grpc, http, old, new] = [free_port(), free_port(), free_port(), free_port(), free_port()];
    // Remote write is taken by a process that answers 200 to everything: what it got is told by the ledger.
    let remote_write = format!("localhost:{old}");
    let receiver = Running::start(&["load", "receive", "--remote-write", &remote_write]);
    let otlp = format!("{{protocols: {{grpc: {{endpoint: 'localhost:{new}'}}}}}}");
    let backends = backends(directory.path(), &[("otlp", &otlp, "metrics")]);
    let addresses = [
        ("localhost:8125", format!("localhost:{statsd}")),
        ("aggregation_interval: 10s", "aggregation_interval: 1s".to_owned()),
        (
            "      grpc:\n      http:\n",
            format!("      grpc: {{endpoint: 'localhost:{grpc}'}}\n      http: {{endpoint: 'localhost:{http}'}}\n"),
        ),
        ("http://prometheus.example:9090/api/v1/write", format!("http://localhost:{old}/api/v1/write")),
        ("endpoint: otlp.example:4317", format!("endpoint: http://localhost:{new}")),
    ];
    let config = example(directory.path(), "statsd-to-opentelemetry.yaml", &addresses);
    let processes = (receiver, Running::configured(&backends), Running::configured(&config));
    let socket = UdpSocket::bind("localhost:0").unwrap();
    socket.send_to(b"orders:3|c|#shop:eu\nlatency:12|ms", ("localhost", statsd)).unwrap();
    let answer = ledger(&config, both_delivered);
    let arrived = answer["arrivals"].as_array().unwrap().iter().find(|seen| {
        seen["unit"] == "lines"
            && seen["received"] == 2
            && seen["lost"].as_object().is_some_and(serde_json::Map::is_empty)
    });
    assert!(arrived.is_some(), "{answer:#}");
    drop(processes);
}

#[test]
fn the_same_measurements_over_statsd_and_otlp_add_up_to_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let [statsd, http] = [free_port(), free_port()];
    for temporality in ["delta", "cumulative"] {
        let yaml = format!(
            "
receivers:
  statsd: {{endpoint: 'localhost:{statsd}', aggregation_interval: 1s, temporality: {temporality}, is_monotonic_counter: true}}
  otlp: {{protocols: {{http: {{endpoint: 'localhost:{http}'}}}}}}
exporters:
  debug/legacy:
  debug/new:
ledger:
  totals: [{{metrics: [orders, shop.orders]}}]
service:
  pipelines:
    metrics: {{receivers: [statsd, otlp], exporters: [debug/legacy, debug/new]}}
"
        );
        let config = write(directory.path(), "dual.yaml", &yaml);
        let process = Running::configured(&config);
        let start_unix_ns = clock::unix_ns();
        let socket = UdpSocket::bind("localhost:0").unwrap();
        let mut total = 0;
        for order in 1..=500i64 {
            total += order % 7;
            socket.send_to(format!("orders:{}|c", order % 7).as_bytes(), ("localhost", statsd)).unwrap();
            if order % 100 == 0 {
                let answer = post(http, "/v1/metrics", "application/x-protobuf", orders(start_unix_ns, total).bytes());
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            }
        }
        let answer = ledger(&config, |answer| answer["totals"][0]["agree"] == true);
        let totals = answer["totals"][0]["totals"].as_array().unwrap();
        assert!(
            totals.len() == 2 && totals.iter().all(|one| one["total"].as_f64() == Some(total as f64)),
            "{totals:?}"
        );
        assert_eq!(answer["balanced"], true);
        process.kill();
    }
}
