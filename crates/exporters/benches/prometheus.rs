//! What a data point costs on its way to Prometheus: remote write with its compression, and the page for scrapers.
//!
//! `cargo bench -p crossfade-exporters`; items are data points, or series of a page.
#![allow(missing_docs)]

use std::sync::Arc;

use component::{BuildContext, Exporter, ExporterContext, Metrics, Registry, Stop};
use config::{ComponentId, Diagnostics, Section, TestEnvironment};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use otlp::encode::MetricsEncoder;
use otlp::{Batch, NumberValue, Temporality};
use transport::http_client::{HttpClient, HttpClientSettings, HttpRequest};

fn main() {
    divan::main();
}

fn exporter(kind: &str, yaml: &str) -> Arc<dyn Exporter> {
    let id: ComponentId = kind.parse().expect("an id");
    let mut registry = Registry::default();
    exporters::register(&mut registry);
    let loaded = config::parse_str("bench.yaml", yaml, &TestEnvironment::new()).expect("valid");
    let mut diagnostics = Diagnostics::new();
    let build = registry.exporter(kind).expect("known").build;
    let section = Section::open(&loaded.root, "exporters.bench", &mut diagnostics);
    let built = section.read(|section| build(section, &BuildContext::alone(&id)));
    diagnostics.finish_with(built).expect("valid").0.exporter
}

/// One resource with 10 data points to a metric, of gauges and sums by turns; about 150 bytes each.
fn numbers(points: u64, time_unix_nano: u64) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.resource(|resource| {
            resource.attributes().string("service.name", "checkout").string("service.instance.id", "checkout-7f9c-x2");
        });
        block.scope_metrics(|scope| {
            scope.scope(|scope| {
                scope.name("bench").version("1.0.0");
            });
            for first in (0..points).step_by(10) {
                scope.metric(|metric| {
                    metric.name(&format!("app.metric.{}", first / 10)).unit("By").description("What is measured.");
                    let fill = |point: &mut otlp::encode::NumberPointWriter<'_>, index: u64| {
                        point.start_time_unix_nano(1_700_000_000_000_000_000).time_unix_nano(time_unix_nano);
                        point.value(NumberValue::Int(index as i64 * 7919));
                        point.attributes().string("http.request.method", "GET").string("http.route", "/api/v1/orders");
                        point.attributes().int("http.response.status_code", 200).int("series", index as i64);
                    };
                    let all = first..(first + 10).min(points);
                    if (first / 10) % 2 == 0 {
                        metric.gauge(|gauge| all.for_each(|index| gauge.point(|point| fill(point, index))));
                    } else {
                        metric.sum(|sum| {
                            sum.temporality(Temporality::Cumulative).is_monotonic(true);
                            all.for_each(|index| sum.point(|point| fill(point, index)));
                        });
                    }
                });
            }
        });
    });
    encoder.finish()
}

/// Histograms of 14 bounds.
fn histograms(points: u64, time_unix_nano: u64) -> Batch {
    const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.resource(|resource| {
            resource.attributes().string("service.name", "checkout").string("service.instance.id", "checkout-7f9c-x2");
        });
        block.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("http.server.request.duration").unit("s").histogram(|histogram| {
                    histogram.temporality(Temporality::Cumulative);
                    for index in 0..points {
                        histogram.point(|point| {
                            point.time_unix_nano(time_unix_nano).count(index * 15).sum(index as f64 * 0.3);
                            point.explicit_bounds(BOUNDS).bucket_counts((0..15).map(|_| index));
                            point.attributes().string("http.route", "/api/v1/orders").int("series", index as i64);
                        });
                    }
                });
            });
        });
    });
    encoder.finish()
}

const REMOTE_WRITE: &str = "endpoint: http://localhost:9090/api/v1/write";
const NOW: u64 = 1_700_000_100_000_000_000;

#[divan::bench(args = [200, 1000, 8000])]
fn remote_write_numbers(bencher: Bencher<'_, '_>, points: u64) {
    let (exporter, batch) = (exporter("prometheusremotewrite", REMOTE_WRITE), numbers(points, NOW));
    bencher.counter(ItemsCount::new(points)).bench_local(|| exporter.encode(black_box(&batch)));
}

#[divan::bench(args = [1, 5])]
fn remote_write_1000_numbers_by_lanes(bencher: Bencher<'_, '_>, lanes: u64) {
    let options = format!("{REMOTE_WRITE}\nremote_write_queue: {{num_consumers: {lanes}}}");
    let (exporter, batch) = (exporter("prometheusremotewrite", &options), numbers(1000, NOW));
    bencher.counter(ItemsCount::new(1000_u64)).bench_local(|| exporter.encode(black_box(&batch)));
}

#[divan::bench]
fn remote_write_1000_histograms(bencher: Bencher<'_, '_>) {
    let (exporter, batch) = (exporter("prometheusremotewrite", REMOTE_WRITE), histograms(1000, NOW));
    bencher.counter(ItemsCount::new(1000_u64)).bench_local(|| exporter.encode(black_box(&batch)));
}

const PULL: &str = "endpoint: 127.0.0.1:0";

#[divan::bench(args = [200, 1000, 8000])]
fn pull_numbers(bencher: Bencher<'_, '_>, points: u64) {
    let (exporter, batch) = (exporter("prometheus", PULL), numbers(points, NOW));
    bencher.counter(ItemsCount::new(points)).bench_local(|| exporter.encode(black_box(&batch)));
}

#[divan::bench]
fn pull_1000_histograms(bencher: Bencher<'_, '_>) {
    let (exporter, batch) = (exporter("prometheus", PULL), histograms(1000, NOW));
    bencher.counter(ItemsCount::new(1000_u64)).bench_local(|| exporter.encode(black_box(&batch)));
}

/// A scrape as a whole, over a socket, of so many series.
#[divan::bench(args = [("", 100_000), ("gzip", 100_000)])]
fn scrape_numbers(bencher: Bencher<'_, '_>, (coding, series): (&str, u64)) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    drop(taken);
    let exporter = exporter("prometheus", &format!("endpoint: 127.0.0.1:{port}"));
    let context = ExporterContext { stop: Stop::default(), metrics: Metrics::default() };
    let _entered = runtime.enter();
    let running = exporter.start(context).expect("bound").expect("it serves");
    runtime.spawn(running);
    exporter.encode(&numbers(series, NOW));
    let client = HttpClient::new(HttpClientSettings::default()).expect("no TLS");
    let mut request = HttpRequest::get(format!("http://127.0.0.1:{port}/metrics").parse().expect("a URL"));
    request.response_bytes_max = Some(1 << 30);
    if !coding.is_empty() {
        request.headers.insert("accept-encoding", coding.parse().expect("a value"));
    }
    bencher
        .counter(ItemsCount::new(series))
        .bench_local(|| runtime.block_on(client.send(request.clone())).expect("a page").body.len());
}
