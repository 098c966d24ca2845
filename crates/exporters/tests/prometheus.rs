//! The `prometheus` exporter, scraped over real sockets.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpListener;
use std::time::Duration;

use component::{BuiltExporter, Encoded, ExporterContext, Metrics, Order, Outcome, Stop};
use http::{HeaderValue, Method, StatusCode};
use otlp::encode::MetricsEncoder;
use otlp::{Batch, NumberValue};
use support::{errors, exporter, said};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use transport::http_client::{HttpClient, HttpClientSettings, HttpReply, HttpRequest};

/// A gauge with a data point for each value of the attribute `a`; without a time where it is to be refused.
fn gauges(values: impl IntoIterator<Item = String>) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("queue.length").description("How long.").gauge(|gauge| {
                    for value in values {
                        gauge.point(|point| {
                            point.time_unix_nano(1_700_000_000_000_000_000).value(NumberValue::Double(0.5));
                            point.attributes().string("a", &value);
                        });
                    }
                });
            });
        });
    });
    encoder.finish()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Served {
    built: BuiltExporter,
    port: u16,
    stop: Stop,
    metrics: Metrics,
    running: JoinHandle<()>,
}

impl Served {
    fn start(options: &str) -> Served {
        let port = free_port();
        let built = exporter("prometheus", &format!("endpoint: 127.0.0.1:{port}\n{options}"));
        let (stop, metrics) = (Stop::default(), Metrics::default());
        let context = ExporterContext { stop: stop.clone(), metrics: metrics.clone() };
        let running = built.exporter.start(context).unwrap().expect("it serves something");
        let running = tokio::spawn(async { running.await.unwrap() });
        Served { built, port, stop, metrics, running }
    }

    async fn export(&self, batch: &Batch) -> Encoded {
        let encoded = self.built.exporter.encode(batch);
        for request in &encoded.requests {
            assert_eq!(said(&self.built.exporter.send(request).await), "delivered");
        }
        let rejected: u64 = encoded.rejected.iter().map(|rejection| rejection.items).sum();
        let sent: u64 = encoded.requests.iter().map(|request| request.items).sum();
        assert_eq!(sent + rejected, u64::from(batch.items()));
        encoded
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&'static str, &'static str)]) -> HttpReply {
        let client = HttpClient::new(HttpClientSettings::default()).unwrap();
        let mut request = HttpRequest::get(format!("http://127.0.0.1:{}{path}", self.port).parse().unwrap());
        request.method = method;
        request.headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
        request.response_bytes_max = Some(64 << 20);
        client.send(request).await.unwrap()
    }

    fn metric(&self, name: &str) -> Vec<(String, f64)> {
        let families = self.metrics.gather();
        let found = families.into_iter().find(|family| family.name == name).unwrap();
        let label = |labels: &component::metrics::Labels| labels.values().cloned().collect::<Vec<_>>().join(",");
        found.series.iter().map(|(labels, value)| (label(labels), *value)).collect()
    }
}

fn header<'r>(reply: &'r HttpReply, name: &str) -> &'r str {
    reply.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

const PAGE: &str = "# HELP queue_length How long.\n# TYPE queue_length gauge\nqueue_length{a=\"x\"} 0.5\n";

#[tokio::test]
async fn what_was_exported_is_scraped() {
    let served = Served::start("");
    assert_eq!(served.ask(Method::GET, "/metrics", &[]).await.body, "");
    served.export(&gauges(["x".to_owned()])).await;
    let reply = served.ask(Method::GET, "/metrics", &[]).await;
    assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, PAGE.as_bytes()));
    assert_eq!(header(&reply, "content-type"), "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
    assert_eq!(served.metric("crossfade_prometheus_exporter_series"), [("prometheus".to_owned(), 1.0)]);
    assert!(served.metric("crossfade_prometheus_exporter_size_bytes")[0].1 > 100.0);
    assert_eq!(served.metric("crossfade_prometheus_exporter_scrapes")[0], ("prometheus,answered".to_owned(), 2.0));
}

#[tokio::test]
async fn open_metrics_is_sent_where_it_is_enabled_and_wanted() {
    let accept = ("accept", "application/openmetrics-text; version=1.0.0; escaping=allow-utf-8, text/plain; q=0.5");
    let enabled = Served::start("enable_open_metrics: true");
    enabled.export(&gauges(["x".to_owned()])).await;
    let reply = enabled.ask(Method::GET, "/metrics", &[accept]).await;
    assert_eq!(
        header(&reply, "content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
    );
    assert_eq!(reply.body, format!("{PAGE}# EOF\n"));
    let disabled = Served::start("");
    let reply = disabled.ask(Method::GET, "/metrics", &[accept]).await;
    assert!(header(&reply, "content-type").starts_with("text/plain"));
}

#[tokio::test]
async fn an_answer_is_compressed_for_those_who_accept_it() {
    let served = Served::start("");
    served.export(&gauges((0..1000).map(|index| index.to_string()))).await;
    let plain = served.ask(Method::GET, "/metrics", &[]).await;
    assert_eq!(header(&plain, "content-encoding"), "");
    // The client takes the coding away, and with it the fields that tell of it.
    let packed = served.ask(Method::GET, "/metrics", &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.body, plain.body);
    assert_eq!(header(&packed, "vary"), "accept, accept-encoding");
    let bytes =
        raw(served.port, "GET /metrics HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n");
    let bytes = bytes.await;
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert!(bytes.len() < plain.body.len() / 4, "{} of {}", bytes.len(), plain.body.len());
}

async fn raw(port: u16, request: &str) -> Vec<u8> {
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn nothing_but_a_get_of_the_metrics_is_answered() {
    let served = Served::start("");
    served.export(&gauges(["x".to_owned()])).await;
    for (method, path, status) in [
        (Method::GET, "/metrics", 200),
        (Method::GET, "/metrics?x=1", 200),
        (Method::HEAD, "/metrics", 200),
        (Method::POST, "/metrics", 405),
        (Method::OPTIONS, "/metrics", 405),
        (Method::GET, "/", 404),
        (Method::GET, "/metrics/", 404),
        (Method::GET, "/metrics/../etc", 404),
    ] {
        let reply = served.ask(method.clone(), path, &[]).await;
        assert_eq!(reply.status.as_u16(), status, "{method} {path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(header(&reply, name), value, "{method} {path}");
        }
        assert_eq!(header(&reply, "allow"), if status == 405 { "GET, HEAD" } else { "" });
        assert_eq!(reply.body.is_empty(), method == Method::HEAD, "{method} {path}");
    }
}

#[tokio::test]
async fn configured_fields_are_in_every_answer() {
    let served = Served::start("response_headers: {x-team: a, cache-control: private}");
    for path in ["/metrics", "/"] {
        let reply = served.ask(Method::GET, path, &[]).await;
        assert_eq!((header(&reply, "x-team"), header(&reply, "cache-control")), ("a", "private"));
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let taken = Served::start("");
    let built = exporter("prometheus", &format!("endpoint: 127.0.0.1:{}", taken.port));
    let context = ExporterContext { stop: Stop::default(), metrics: Metrics::default() };
    let error = built.exporter.start(context).err().unwrap().to_string();
    assert!(error.contains(&format!("cannot listen on 127.0.0.1:{}", taken.port)), "{error}");
    assert!(error.contains("shows which process has the port"), "{error}");
}

#[tokio::test]
async fn it_stops_when_asked() {
    let served = Served::start("");
    served.ask(Method::GET, "/metrics", &[]).await;
    served.stop.request();
    tokio::time::timeout(Duration::from_secs(10), served.running).await.expect("it ends").unwrap();
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", served.port)).await.is_err());
}

#[tokio::test]
async fn every_data_point_that_is_not_exposed_has_a_cause() {
    let served = Served::start("max_series: 2");
    let encoded = served.export(&gauges(["x", "y", "z", "z"].map(str::to_owned))).await;
    let rejected: Vec<(String, u64)> =
        encoded.rejected.iter().map(|rejection| (rejection.failure.cause.to_string(), rejection.items)).collect();
    assert_eq!(rejected, [("series_limit".to_owned(), 2)]);
    assert!(encoded.rejected[0].failure.detail.contains("max_series"));
    let Outcome::Delivered { rejected: None } = served.built.exporter.send(&encoded.requests[0]).await else {
        panic!("taken once, however often it is sent")
    };
    assert_eq!(served.metric("crossfade_prometheus_exporter_series")[0].1, 2.0);
}

#[tokio::test]
async fn batches_come_in_order() {
    let built = exporter("prometheus", "endpoint: localhost:0\nsending_queue: {num_consumers: 3, queue_size: 7}");
    assert_eq!(built.delivery.order, Order::Kept);
    assert_eq!((built.delivery.queue.num_consumers, built.delivery.queue.queue_size), (3, Some(7)));
}

#[tokio::test]
async fn scrapers_that_do_not_read_hold_a_bounded_number_of_pages() {
    let served = Served::start("");
    let long = "x".repeat(3000);
    served.export(&gauges((0..3000).map(|index| format!("{index}{long}")))).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut socket = socket.connect(([127, 0, 0, 1], served.port).into()).await.unwrap();
        socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        // The head has come, so the page exists.
        socket.read_exact(&mut [0; 64]).await.unwrap();
        held.push(socket);
    }
    let reply = served.ask(Method::GET, "/metrics", &[]).await;
    assert_eq!((reply.status, header(&reply, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert_eq!(served.metric("crossfade_prometheus_exporter_scrapes")[1], ("prometheus,too_many".to_owned(), 1.0));
    held.clear();
    for _ in 0..100 {
        if served.ask(Method::GET, "/metrics", &[]).await.status == StatusCode::OK {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the pages are held although their connections are gone");
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_configured() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&cert, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let served = Served::start(&format!("tls: {{cert_file: '{}', key_file: '{}'}}", cert.display(), key.display()));
    let ca = Some(transport::tls::Pem::File(cert));
    let tls = transport::tls::ClientTls { ca, ..transport::tls::ClientTls::default() };
    let client = HttpClient::new(HttpClientSettings { tls, ..HttpClientSettings::default() }).unwrap();
    let url = format!("https://localhost:{}/metrics", served.port).parse().unwrap();
    assert_eq!(client.send(HttpRequest::get(url)).await.unwrap().status, StatusCode::OK);
}

fn check_errors(options: &str, expected: &[&str]) {
    let found = errors("prometheus", options);
    for text in expected {
        assert!(found.contains(text), "{options}\n{found}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    check_errors("{}", &["endpoint: is required: expected an address such as `localhost:8889`"]);
    check_errors("endpoint: localhost:1\nauth: {authenticator: basicauth}", &["auth", "among the configuration's"]);
    check_errors("endpoint: localhost:1\ncors: {allowed_origins: ['*']}", &["cors", "not built yet"]);
    check_errors("endpoint: localhost:1\nmetric_expiration: 0s", &["metric_expiration"]);
    check_errors("endpoint: localhost:1\nmax_series: 0", &["max_series"]);
    check_errors("endpoint: localhost:1\nconst_labels: {__name__: x}", &["const_labels", "is the name of the metric"]);
    check_errors("endpoint: localhost:1\nconst_labels: {'.': x}", &["const_labels"]);
    check_errors("endpoint: localhost:1\ntranslation_strategy: NoTranslations", &["did you mean `NoTranslation`?"]);
    check_errors("endpoint: localhost:1\nmetric_expirations: 5m", &["did you mean `metric_expiration`?"]);
    check_errors(
        "endpoint: localhost:1\nresource_to_telemetry_conversion: {enabled: true}\n\
         resource_constant_labels: {included: [x]}",
        &["resource_constant_labels", "not both"],
    );
    check_errors("endpoint: localhost:1\ntls: {cert_file: /nowhere, key_file: /nowhere}", &["tls", "/nowhere"]);
}

#[test]
fn every_option_of_the_collector_is_taken() {
    let options = "
endpoint: 1.2.3.4:1234
namespace: test-space
const_labels: {label1: value1, 'another label': spaced value}
send_timestamps: true
metric_expiration: 180m
enable_open_metrics: true
add_metric_suffixes: false
resource_to_telemetry_conversion: {enabled: true, exclude_service_attributes: true}
without_scope_info: true
read_header_timeout: 5s
sending_queue: {enabled: false}
";
    assert_eq!(errors("prometheus", options), "");
}
