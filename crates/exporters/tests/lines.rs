//! The exporters of lines against servers on real sockets: `carbon`, `influxdb` and `statsd`.

#![allow(clippy::unwrap_used)]

mod support;

use component::BuiltExporter;
use http::{HeaderMap, StatusCode};
use otlp::encode::MetricsEncoder;
use otlp::{Batch, NumberValue};
use support::{Answer, Backend, errors, exporter, header, said, send};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};

/// Data points of a gauge, each with a number of its own.
fn gauge(points: i64) -> Batch {
    let mut encoder = MetricsEncoder::new();
    encoder.resource_metrics(|block| {
        block.scope_metrics(|scope| {
            scope.metric(|metric| {
                metric.name("temperature").gauge(|gauge| {
                    for index in 0..points {
                        gauge.point(|point| {
                            point.time_unix_nano(1_700_000_000_000_000_000).value(NumberValue::Int(index));
                            point.attributes().int("room", index);
                        });
                    }
                });
            });
        });
    });
    encoder.finish()
}

async fn send_all(built: &BuiltExporter, batch: &Batch) -> Vec<String> {
    let mut outcomes = Vec::new();
    for request in &built.exporter.encode(batch).requests {
        outcomes.push(said(&built.exporter.send(request).await));
    }
    outcomes
}

/// Reads so many bytes from the next connection.
async fn read(listener: &TcpListener, bytes: usize) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut got = vec![0; bytes];
    stream.read_exact(&mut got).await.unwrap();
    String::from_utf8(got).unwrap()
}

#[tokio::test]
async fn carbon_writes_lines_and_connects_again_when_the_other_side_went() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let built = exporter("carbon", &format!("endpoint: '{}'", listener.local_addr().unwrap()));
    let line = "temperature;room=0 0 1700000000\n";
    for _ in 0..3 {
        assert_eq!(said(&send(&built, &gauge(1)).await), "delivered");
        assert_eq!(read(&listener, line.len()).await, line);
    }
    drop(listener);
    assert_eq!(said(&send(&built, &gauge(1)).await), "retry: unreachable");
}

#[tokio::test]
async fn carbon_sends_large_batches_in_parts_of_64_kib() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let built = exporter("carbon", &format!("endpoint: '{}'", listener.local_addr().unwrap()));
    let batch = gauge(10_000);
    let sizes: Vec<usize> = built.exporter.encode(&batch).requests.iter().map(|request| request.body.len()).collect();
    assert!(sizes.len() > 1 && sizes.iter().all(|size| *size <= 64 << 10), "{sizes:?}");
    let (sent, got) = tokio::join!(send_all(&built, &batch), read(&listener, sizes.iter().sum()));
    assert!(sent.iter().all(|said| said == "delivered"));
    assert_eq!(got.lines().count(), 10_000);
}

#[test]
fn what_carbon_does_not_have_is_named() {
    assert!(errors("carbon", "endpoint: nowhere").contains("endpoint"));
    assert!(errors("carbon", "tls: {}").contains("tls"));
    assert_eq!(
        errors("carbon", "{timeout: 10s, max_idle_conns: 5, resource_to_telemetry_conversion: {enabled: true}}"),
        ""
    );
}

fn influx(backend: &Backend, options: &str) -> String {
    format!("endpoint: http://127.0.0.1:{}\n{options}", backend.port)
}

fn http(status: u16, headers: HeaderMap, body: &'static str) -> Answer {
    Answer::Http(StatusCode::from_u16(status).unwrap(), headers, body.into())
}

#[tokio::test]
async fn influxdb_gets_lines_by_the_second_version_of_its_api() {
    let backend = Backend::start(http(204, HeaderMap::new(), "")).await;
    let options = "org: my org\nbucket: b&c\ntoken: '${env:TOKEN}'\nprecision: ms\ncompression: gzip";
    let built = exporter("influxdb", &influx(&backend, options));
    assert_eq!(said(&send(&built, &gauge(1)).await), "delivered");
    let got = backend.got().remove(0);
    assert_eq!(
        (got.path.as_str(), got.query.as_deref().unwrap()),
        ("/api/v2/write", "precision=ms&org=my+org&bucket=b%26c")
    );
    assert_eq!(got.headers["authorization"], "Token sesame");
    assert_eq!(got.headers["content-encoding"], "gzip");
    assert_eq!(&got.payload[..], b"temperature,room=0 gauge=0i 1700000000000\n");
}

#[tokio::test]
async fn influxdb_gets_lines_by_the_first_version_of_its_api() {
    let backend = Backend::start(http(204, HeaderMap::new(), "")).await;
    let options = "v1_compatibility: {enabled: true, db: telegraf, username: me, password: '${env:TOKEN}'}\n\
                   metrics_schema: telegraf-prometheus-v2";
    let built = exporter("influxdb", &influx(&backend, options));
    assert_eq!(said(&send(&built, &gauge(1)).await), "delivered");
    let got = backend.got().remove(0);
    assert_eq!((got.path.as_str(), got.query.as_deref().unwrap()), ("/write", "precision=ns&db=telegraf"));
    assert_eq!(got.headers["authorization"], "Basic bWU6c2VzYW1l");
    assert_eq!(&got.payload[..], b"prometheus,room=0 temperature=0i 1700000000000000000\n");
}

#[tokio::test]
async fn what_influxdb_answers_is_taken_at_its_word() {
    let backend = Backend::start(http(204, HeaderMap::new(), "")).await;
    let built = exporter("influxdb", &influx(&backend, "org: o\nbucket: b"));
    let partial = r#"{"error":"partial write: points beyond retention policy dropped=2"}"#;
    for (status, headers, body, expected) in [
        (204, HeaderMap::new(), "", "delivered"),
        (400, HeaderMap::new(), partial, "delivered, 2 rejected: partial_write"),
        (400, HeaderMap::new(), r#"{"code":"invalid"}"#, "reject: http_400"),
        (401, HeaderMap::new(), "", "reject: http_401"),
        (413, HeaderMap::new(), "", "reject: http_413"),
        (429, header("retry-after", "7"), "", "retry after 7s: http_429"),
        (503, HeaderMap::new(), "", "retry: http_503"),
    ] {
        backend.set(http(status, headers, body));
        assert_eq!(said(&send(&built, &gauge(3)).await), expected, "{status}");
    }
}

#[tokio::test]
async fn influxdb_gets_no_more_lines_at_once_than_it_may() {
    let backend = Backend::start(http(204, HeaderMap::new(), "")).await;
    let built = exporter("influxdb", &influx(&backend, "org: o\nbucket: b\npayload_max_lines: 4"));
    assert_eq!(send_all(&built, &gauge(10)).await.len(), 3);
    let lines: Vec<usize> =
        backend.got().iter().map(|got| got.payload.iter().filter(|byte| **byte == b'\n').count()).collect();
    assert_eq!(lines, [4, 4, 2]);
}

#[test]
fn what_influxdb_needs_and_does_not_have_is_named() {
    let base = "endpoint: http://localhost:8086\n";
    let said = |options: &str| errors("influxdb", &format!("{base}{options}"));
    assert_eq!(said("org: o\nbucket: b"), "");
    assert!(said("org: o").contains("bucket: is required, unless `v1_compatibility` is enabled"));
    assert!(said("v1_compatibility: {enabled: true}").contains("db: is required"));
    assert!(said("org: o\nbucket: b\nmetrics_schema: otel-v1").contains("not built yet: `otel-v1`"));
    assert!(said("org: o\nbucket: b\nspan_dimensions: [a]").contains("not built yet"));
    assert!(errors("influxdb", "org: o\nbucket: b").contains("endpoint: is required"));
}

#[tokio::test]
async fn statsd_sends_packets_over_udp() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let built = exporter("statsd", &format!("endpoint: '{}'\nmax_packet_size: 64", socket.local_addr().unwrap()));
    assert_eq!(send_all(&built, &gauge(3)).await, ["delivered", "delivered"]);
    let mut got = [0; 2000];
    let size = socket.recv(&mut got).await.unwrap();
    assert_eq!(&got[..size], b"temperature:0|g|#room:0\ntemperature:1|g|#room:1");
}

#[tokio::test]
async fn statsd_that_is_refused_tries_again_and_arrives_when_somebody_listens() {
    let port = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let built = exporter("statsd", &format!("endpoint: 'udp://127.0.0.1:{port}'"));
    let request = built.exporter.encode(&gauge(1)).requests.remove(0);
    let mut outcomes = Vec::new();
    // The first datagram is gone before the refusal of it comes back.
    for _ in 0..100 {
        outcomes.push(said(&built.exporter.send(&request).await));
        if outcomes.ends_with(&["retry: unreachable".to_owned()]) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(outcomes.last().unwrap(), "retry: unreachable");
    let socket = UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
    assert_eq!(said(&built.exporter.send(&request).await), "delivered");
    let mut got = [0; 100];
    let size = socket.recv(&mut got).await.unwrap();
    assert_eq!(&got[..size], b"temperature:0|g|#room:0");
}

#[tokio::test]
async fn statsd_speaks_to_unix_sockets_and_over_tcp() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("statsd.sock");
    let built = exporter("statsd", &format!("endpoint: 'unix://{}'", path.display()));
    assert_eq!(send_all(&built, &gauge(1)).await, ["retry: unreachable"]);
    let socket = UnixDatagram::bind(&path).unwrap();
    assert_eq!(send_all(&built, &gauge(1)).await, ["delivered"]);
    let mut got = [0; 100];
    let size = socket.recv(&mut got).await.unwrap();
    assert_eq!(&got[..size], b"temperature:0|g|#room:0");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let built = exporter("statsd", &format!("endpoint: 'tcp://{}'\ndialect: graphite", listener.local_addr().unwrap()));
    assert_eq!(send_all(&built, &gauge(1)).await, ["delivered"]);
    let line = "temperature;room=0:0|g\n";
    assert_eq!(read(&listener, line.len()).await, line);
}

#[test]
fn what_is_wrong_with_statsd_s_options_is_named() {
    assert_eq!(errors("statsd", "{endpoint: localhost:8125, dialect: etsy, prefix: shop, max_state_size: 16MiB}"), "");
    assert!(errors("statsd", "dialect: veneur").contains("dialect"));
    assert!(errors("statsd", "{dialect: etsy, histograms: distribution}").contains("Etsy's StatsD has neither"));
    assert!(errors("statsd", "prefix: 'a:b'").contains("prefix"));
    assert!(errors("statsd", "max_packet_size: 100000").contains("max_packet_size"));
}

proptest::proptest! {
    /// Whatever a request that passes the door holds, every item of it is accounted for, and nothing panics.
    #[test]
    fn every_item_of_whatever_comes_is_accounted_for(
        changes in proptest::collection::vec((proptest::prelude::any::<u16>(), proptest::prelude::any::<u8>()), 1..6)
    ) {
        let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/statsd/all.json")).unwrap();
        let limits = otlp::Limits::default();
        let mut bytes = otlp::json::decode(otlp::Signal::Metrics, &text, &limits).unwrap().bytes().to_vec();
        for (at, to) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = to;
        }
        let Ok(batch) = Batch::parse(otlp::Signal::Metrics, bytes.into(), &limits) else { return Ok(()) };
        let influx = "endpoint: http://localhost:1\norg: o\nbucket: b";
        for (id, yaml) in [
            ("carbon", "{}"),
            ("influxdb", influx),
            ("statsd", "{initial_value: keep}"),
            ("statsd", "{dialect: etsy, initial_value: keep}"),
        ] {
            let encoded = exporter(id, yaml).exporter.encode(&batch);
            let sent: u64 = encoded.requests.iter().map(|request| request.items).sum();
            let rejected: u64 = encoded.rejected.iter().map(|rejection| rejection.items).sum();
            proptest::prop_assert_eq!(sent + rejected, u64::from(batch.items()), "{}", id);
        }
    }
}
