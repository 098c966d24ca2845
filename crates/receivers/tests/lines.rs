//! The receivers of lines on real sockets: `carbon` and `influxdb`.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use component::{Refused, Unit};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use otlp::view::MetricData;
use otlp::{NumberValue, Signal};
use support::{Started, errors, free_port, start};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use transport::coding::{Coding, Level, compress};
use transport::http_client::{HttpClient, HttpClientSettings, HttpReply, HttpRequest};

/// Every data point that was taken: name, attributes, value, time in seconds.
fn points(started: &Started) -> Vec<String> {
    let mut all = Vec::new();
    for batch in started.kept.batches() {
        for block in batch.metrics().unwrap().resource_metrics() {
            for metric in block.scope_metrics().flat_map(|scope| scope.metrics()) {
                let (MetricData::Gauge { points } | MetricData::Sum { points, .. }) = metric.data() else {
                    all.push(format!("{} of another kind", metric.name()));
                    continue;
                };
                for point in points {
                    let attributes: Vec<String> = point
                        .attributes()
                        .map(|attribute| format!("{}={}", attribute.key(), attribute.value().to_text()))
                        .collect();
                    let value = match point.value() {
                        Some(NumberValue::Int(value)) => value.to_string(),
                        Some(NumberValue::Double(value)) => value.to_string(),
                        None => "none".to_owned(),
                    };
                    let seconds = point.time_unix_nano() / 1_000_000_000;
                    all.push(format!("{}{{{}}} {value} {seconds}", metric.name(), attributes.join(",")));
                }
            }
        }
    }
    all.sort();
    all
}

/// What was lost of lines, by cause.
fn lost(started: &Started) -> BTreeMap<&'static str, u64> {
    let lines = started.arrivals.all().into_iter().filter(|(_, unit, _)| *unit == Unit::Lines);
    lines.flat_map(|(_, _, seen)| seen.lost).collect()
}

fn received(started: &Started) -> u64 {
    started
        .arrivals
        .all()
        .into_iter()
        .filter(|(_, unit, _)| *unit == Unit::Lines)
        .map(|(_, _, seen)| seen.received)
        .sum()
}

/// Waits until the lines that were received are as many.
async fn until_received(started: &Started, lines: u64) {
    for _ in 0..1000 {
        if received(started) >= lines {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} of {lines} lines", received(started));
}

async fn carbon(options: &str) -> (Started, u16) {
    let port = free_port();
    let started = start("carbon", &format!("endpoint: '127.0.0.1:{port}'\n{options}"), &[Signal::Metrics]).await;
    (started, port)
}

async fn until_items(started: &Started, items: u64) {
    for _ in 0..1000 {
        if started.kept.items() >= items {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} of {items} items", started.kept.items());
}

#[tokio::test]
async fn carbon_takes_lines_over_tcp_wherever_the_reads_cut_them() {
    let (started, port) = carbon("").await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for part in ["disk.us", "ed;host=a 4", "2 17000", "00000\r\n\nload 1.5 1700000001\nla", "st 1 1700000002"] {
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The last line may do without its end.
    drop(stream);
    until_items(&started, 3).await;
    assert_eq!(points(&started), ["disk.used{host=a} 42 1700000000", "last{} 1 1700000002", "load{} 1.5 1700000001"]);
    assert_eq!((received(&started), lost(&started)), (3, BTreeMap::new()));
}

#[tokio::test]
async fn carbon_counts_lines_that_are_none_by_their_fault_and_takes_the_others() {
    let (started, port) = carbon("").await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let long = format!("{} 1 1700000000\n", "x".repeat(70_000));
    let just = format!("{} 1 1700000000\n", "x".repeat(60_000));
    for line in [
        "a nan 1\n",
        "a x 1\n",
        "a inf 1700000000\n",
        "a 1\n",
        "a;b 1 1\n",
        "a 1 yesterday\n",
        &long,
        &just,
        "b 1 1700000000\n",
    ] {
        stream.write_all(line.as_bytes()).await.unwrap();
    }
    stream.write_all(b"\xff\xfe 1 1\n").await.unwrap();
    until_received(&started, 10).await;
    let expected = [
        ("invalid_utf8", 1),
        ("line_too_long", 1),
        ("not_a_number", 1),
        ("wrong_fields", 1),
        ("wrong_tag", 1),
        ("wrong_timestamp", 1),
        ("wrong_value", 1),
    ];
    assert_eq!(lost(&started), expected.into());
    until_items(&started, 3).await;
}

#[tokio::test]
async fn carbon_takes_lines_over_udp() {
    let (started, port) = carbon("transport: udp").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"a 1 1700000000\nb 2 1700000000", ("127.0.0.1", port)).await.unwrap();
    socket.send_to(b"c 3 1700000000\nwrong\n", ("127.0.0.1", port)).await.unwrap();
    until_received(&started, 4).await;
    until_items(&started, 3).await;
    assert_eq!(points(&started), ["a{} 1 1700000000", "b{} 2 1700000000", "c{} 3 1700000000"]);
    assert_eq!(lost(&started), [("wrong_fields", 1)].into());
    let datagrams = started.arrivals.all().into_iter().find(|(_, unit, _)| *unit == Unit::Datagrams).unwrap();
    assert_eq!((datagrams.0.transport.as_str(), datagrams.2.received), ("udp", 2));
}

#[tokio::test]
async fn carbon_waits_where_there_is_no_room_and_loses_nothing() {
    let (started, port) = carbon("").await;
    started.kept.refuse(Refused::Retry { after: Duration::from_millis(5), cause: "full".to_owned() });
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"a 1 1700000000\n").await.unwrap();
    until_received(&started, 1).await;
    stream.write_all(b"b 1 1700000000\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!((started.kept.items(), received(&started)), (0, 1), "what comes after waits in the connection");
    started.kept.take_again();
    until_items(&started, 2).await;
    started.kept.refuse(Refused::Permanent { cause: "too large".to_owned() });
    stream.write_all(b"c 1 1700000000\n").await.unwrap();
    until_received(&started, 3).await;
    for _ in 0..100 {
        if !lost(&started).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(lost(&started), [("refused", 1)].into());
}

#[tokio::test]
async fn carbon_takes_paths_apart_as_its_rules_say() {
    let rules = "parser: {type: regex, config: {name_separator: _, rules: [{regexp: \
                 '^(?P<key_svc>[^.]+)\\.(?P<name_0>.+)$', name_prefix: app, labels: {k: v}, type: cumulative}]}}";
    let (started, port) = carbon(rules).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"shop.requests 7 1700000000\n").await.unwrap();
    until_items(&started, 1).await;
    assert_eq!(points(&started), ["app_requests{k=v,svc=shop} 7 1700000000"]);
}

#[test]
fn what_is_wrong_with_carbon_s_options_is_named() {
    assert_eq!(errors("carbon", "{transport: udp, tcp_idle_timeout: 5s, parser: {type: plaintext}}"), "");
    assert!(errors("carbon", "transport: sctp").contains("transport"));
    assert!(errors("carbon", "parser: {type: delimiter}").contains("parser.type"));
    assert!(errors("carbon", "parser: {type: regex}").contains("rules: is required"));
    assert!(
        errors("carbon", "parser: {type: regex, config: {rules: [{regexp: '(?P<x>a)'}]}}").contains("neither `name_…`")
    );
    assert!(errors("carbon", "parser: {type: plaintext, config: {rules: []}}").contains("rules"));
    assert!(errors("carbon", "{transport: udp, endpoint: 'unix:///tmp/x'}").contains("a unix socket is a stream here"));
}

// === InfluxDB ===

struct Influx {
    started: Started,
    port: u16,
    http: HttpClient,
}

async fn influx(options: &str) -> Influx {
    let port = free_port();
    let started = start("influxdb", &format!("endpoint: '127.0.0.1:{port}'\n{options}"), &[Signal::Metrics]).await;
    Influx { started, port, http: HttpClient::new(HttpClientSettings::default()).unwrap() }
}

impl Influx {
    async fn send(&self, method: Method, path: &str, headers: HeaderMap, body: impl Into<bytes::Bytes>) -> HttpReply {
        let url = format!("http://127.0.0.1:{}{path}", self.port).parse().unwrap();
        let mut request = HttpRequest::post(url, headers, body.into());
        request.method = method;
        self.http.send(request).await.unwrap()
    }

    async fn post(&self, path: &str, body: &str) -> (u16, String) {
        let reply = self.send(Method::POST, path, HeaderMap::new(), body.to_owned()).await;
        (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn influxdb_takes_lines_by_both_versions_of_its_api() {
    let server = influx("").await;
    let line = "cpu,host=a idle=98.5 1700000000\n";
    assert_eq!(server.post("/write?db=telegraf&precision=s", line).await, (204, String::new()));
    assert_eq!(server.post("/api/v2/write?org=o&bucket=b&precision=ms", "cpu busy=3i 1700000001000").await.0, 204);
    assert_eq!(server.post("/write?db=telegraf", "http counter=7i 1700000002000000000").await.0, 204);
    let gzip = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
    let packed = compress(Coding::Gzip, Level::Fast, b"mem used=1i 1700000003000000000");
    assert_eq!(server.send(Method::POST, "/write", gzip, packed).await.status, 204);
    let expected = [
        "cpu_busy{} 3 1700000001",
        "cpu_idle{host=a} 98.5 1700000000",
        "http{} 7 1700000002",
        "mem_used{} 1 1700000003",
    ];
    assert_eq!(points(&server.started), expected);
    assert_eq!((received(&server.started), lost(&server.started)), (4, BTreeMap::new()));
}

#[tokio::test]
async fn influxdb_takes_the_rest_of_a_request_with_a_broken_line_and_says_which() {
    let server = influx("").await;
    let body = "a f=1 1\nb f=\nc f=1 1\nd,x f=1\ntext f=\"only\" 1\n";
    let (status, said) = server.post("/write?db=d&precision=s", body).await;
    let expected = r#"{"error":"partial write: unable to parse line 2, column 5: a field without a value dropped=2"}"#;
    assert_eq!((status, said.as_str()), (400, expected));
    assert_eq!(points(&server.started), ["a_f{} 1 1", "c_f{} 1 1"]);
    let (status, said) = server.post("/api/v2/write?precision=s", "nothing").await;
    let expected =
        r#"{"code":"invalid","message":"unable to parse line 1, column 8: the fields are missing dropped=1"}"#;
    assert_eq!((status, said.as_str()), (400, expected));
    let expected = [("no_fields", 1), ("no_number", 1), ("wrong_field", 1), ("wrong_tag", 1)];
    assert_eq!((received(&server.started), lost(&server.started)), (6, expected.into()));
}

#[tokio::test]
async fn influxdb_asks_for_the_same_again_where_there_is_no_room_and_counts_nothing_twice() {
    let server = influx("").await;
    server.started.kept.refuse(Refused::Retry { after: Duration::from_secs(3), cause: "full".to_owned() });
    let reply = server.send(Method::POST, "/write", HeaderMap::new(), "a f=1 1\nbroken\n").await;
    assert_eq!((reply.status.as_u16(), reply.headers["retry-after"].to_str().unwrap()), (503, "3"));
    assert_eq!(received(&server.started), 0);
    server.started.kept.take_again();
    assert_eq!(server.post("/write", "a f=1 1\nbroken\n").await.0, 400);
    assert_eq!((received(&server.started), server.started.kept.items()), (2, 1));
}

#[tokio::test]
async fn influxdb_refuses_what_it_does_not_know_by_its_name() {
    let server = influx("max_request_body_size: 1000").await;
    assert_eq!(server.post("/write?precision=fortnights", "a f=1").await.0, 400);
    assert_eq!(server.post("/query", "q=x").await.0, 404);
    assert_eq!(server.post("/write", &"x".repeat(2000)).await.0, 413);
    assert_eq!(server.send(Method::GET, "/write", HeaderMap::new(), "").await.status, 405);
    assert_eq!(server.post("/write", "# nothing but a comment\n\n").await.0, 204);
    let ping = server.send(Method::GET, "/ping", HeaderMap::new(), "").await;
    assert_eq!(ping.status, 204);
    assert!(ping.headers.contains_key(HeaderName::from_static("x-influxdb-version")));
    assert_eq!(server.send(Method::GET, "/health", HeaderMap::new(), "").await.status, 200);
    assert_eq!(server.started.kept.items(), 0);
}
