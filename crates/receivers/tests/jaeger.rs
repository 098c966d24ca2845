//! The `jaeger` receiver on real sockets: its four protocols, what must be refused, and what is lost over UDP.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use bytes::Bytes;
use component::{AllArrivals, Refused, Unit};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use legacy::jaeger;
use legacy::thrift::{MessageKind, Protocol, Writer};
use otlp::encode::TracesEncoder;
use otlp::{Batch, Signal, SpanId, TraceId};
use support::{Started, errors, free_port, start};
use transport::coding::{Coding, Level, compress};
use transport::endpoint::Endpoint;
use transport::grpc::{Code, Status};
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};
use transport::http_client::{HttpClient, HttpClientSettings, HttpReply, HttpRequest};

const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";
const THRIFT: (HeaderName, &str) = (CONTENT_TYPE, "application/x-thrift");

struct Server {
    started: Started,
    grpc: GrpcClient,
    http: HttpClient,
    ports: BTreeMap<&'static str, u16>,
}

/// A receiver with all protocols; `udp` are options of the UDP ones.
async fn server(udp: &str) -> Server {
    let ports =
        BTreeMap::from(["grpc", "thrift_http", "thrift_compact", "thrift_binary"].map(|name| (name, free_port())));
    let mut yaml = "protocols:\n".to_owned();
    for (name, port) in &ports {
        let options = match *name {
            "grpc" => "max_recv_msg_size_mib: 1",
            "thrift_http" => "max_request_body_size: 1MiB",
            _ => udp,
        };
        yaml += &format!("  {name}: {{endpoint: '127.0.0.1:{port}', {options}}}\n");
    }
    let started = start("jaeger", &yaml, &[Signal::Traces]).await;
    let endpoint = Endpoint::parse(&format!("127.0.0.1:{}", ports["grpc"])).unwrap();
    let grpc = GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap();
    Server { started, grpc, http: HttpClient::new(HttpClientSettings::default()).unwrap(), ports }
}

impl Server {
    async fn call(&self, payload: impl Into<Bytes>) -> Result<Bytes, Status> {
        self.call_method(POST_SPANS, payload).await
    }

    async fn call_method(&self, path: &'static str, payload: impl Into<Bytes>) -> Result<Bytes, Status> {
        let message = GrpcMessage { coding: Coding::Identity, payload: payload.into() };
        self.grpc.call(path, message, &HeaderMap::new(), Some(Duration::from_secs(20))).await
    }

    async fn post(&self, path: &str, headers: &[(HeaderName, &str)], body: impl Into<Bytes>) -> HttpReply {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        let url = format!("http://127.0.0.1:{}{path}", self.ports["thrift_http"]).parse().unwrap();
        self.http.send(HttpRequest::post(url, headers.collect(), body.into())).await.unwrap()
    }

    fn send(&self, protocol: Protocol, datagram: &[u8]) {
        let name = match protocol {
            Protocol::Compact => "thrift_compact",
            Protocol::Binary => "thrift_binary",
        };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(datagram, ("127.0.0.1", self.ports[name])).unwrap();
    }

    fn lost(&self) -> BTreeMap<&'static str, u64> {
        lost(&self.started.arrivals)
    }
}

/// What was lost of datagrams, on all sockets.
fn lost(arrivals: &AllArrivals) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for (_, unit, seen) in arrivals.all() {
        assert_eq!(unit, Unit::Datagrams);
        seen.lost.into_iter().for_each(|(cause, count)| *all.entry(cause).or_default() += count);
    }
    all
}

/// Waits for what happens on its own.
async fn until(what: impl Fn() -> bool) {
    for _ in 0..2000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not happen within ten seconds");
}

/// Spans that survive the way to Jaeger and back.
fn spans(count: u8) -> Batch {
    let mut encoder = TracesEncoder::new();
    encoder.resource_spans(|block| {
        block.resource(|resource| {
            resource.attributes().string("service.name", "checkout");
        });
        block.scope_spans(|scope| {
            for index in 0..count {
                scope.span(|span| {
                    span.trace_id(TraceId::new([7; 16])).span_id(SpanId::new([index + 1; 8])).name("POST /orders");
                    span.start_time_unix_nano(1_000_000).end_time_unix_nano(3_000_000);
                    span.attributes().int("http.response.status_code", 200);
                });
            }
        });
    });
    encoder.finish()
}

fn request(count: u8) -> Vec<u8> {
    jaeger::to_proto(&spans(count), 4 << 20).remove(0).body
}

fn body(count: u8) -> Vec<u8> {
    jaeger::to_thrift(&spans(count), Protocol::Binary).remove(0)
}

fn datagram(count: u8, protocol: Protocol) -> Vec<u8> {
    jaeger::to_datagrams(&spans(count), protocol).remove(0)
}

#[tokio::test]
async fn the_four_protocols_bring_the_same_spans() {
    let server = server("").await;
    assert_eq!(server.call(request(3)).await.unwrap(), Bytes::new());
    for kind in ["application/x-thrift", "application/vnd.apache.thrift.binary; charset=utf-8"] {
        let reply = server.post("/api/traces?format=jaeger.thrift", &[(CONTENT_TYPE, kind)], body(3)).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (202, 0));
    }
    for protocol in [Protocol::Compact, Protocol::Binary] {
        server.send(protocol, &datagram(3, protocol));
    }
    until(|| server.started.kept.items() == 15).await;
    // Datagrams that wait together go together.
    let all = Batch::concat(Signal::Traces, &server.started.kept.batches());
    assert_eq!(all.bytes(), Batch::concat(Signal::Traces, &vec![spans(3); 5]).bytes());
    let seen = server.started.arrivals.all();
    let transports: Vec<(&str, u64)> =
        seen.iter().map(|(place, _, seen)| (place.transport.as_str(), seen.received)).collect();
    assert_eq!(transports, [("udp_thrift_binary", 1), ("udp_thrift_compact", 1)]);
    assert!(server.lost().is_empty());
}

#[tokio::test]
async fn bodies_may_be_compressed_and_are_bounded() {
    let server = server("").await;
    for coding in Coding::ALL {
        let payload = compress(coding, Level::Fast, &body(2));
        let reply = server.post("/api/traces", &[THRIFT, (CONTENT_ENCODING, coding.name())], payload).await;
        assert_eq!(reply.status, 202, "{coding}");
    }
    let bomb = compress(Coding::Gzip, Level::Fast, &vec![0; 8 << 20]);
    assert_eq!(server.post("/api/traces", &[THRIFT, (CONTENT_ENCODING, "gzip")], bomb).await.status, 413);
    assert_eq!(server.call(vec![0; 2 << 20]).await.unwrap_err().code, Code::ResourceExhausted);
    assert_eq!(server.started.kept.items(), 2 * Coding::ALL.len() as u64);
}

#[tokio::test]
async fn malformed_data_is_refused_with_its_place() {
    let server = server("").await;
    let status = server.call(vec![0x0a, 0x7f]).await.unwrap_err();
    assert_eq!(
        (status.code, status.message.as_str()),
        (Code::InvalidArgument, "PostSpansRequest: malformed at byte 0 of it")
    );
    let cut = body(1);
    let reply = server.post("/api/traces", &[THRIFT], cut[..cut.len() - 1].to_vec()).await;
    assert_eq!(reply.status, 400);
    assert!(reply.body.starts_with(b"truncated: 1 bytes needed and 0 left at byte"), "{:?}", reply.body);
    let huge_list = b"\x0c\0\x01\x0b\0\x01\0\0\0\x01s\0\x0f\0\x02\x0c\x7f\xff\xff\xff";
    assert_eq!(server.post("/api/traces", &[THRIFT], huge_list.to_vec()).await.status, 400);
    let deep = [12, 0, 9].repeat(100_000);
    let reply = server.post("/api/traces", &[THRIFT], deep).await;
    assert!(reply.status == 400 && reply.body.starts_with(b"nested deeper than"), "{reply:?}");
    assert_eq!(server.started.kept.items(), 0);
    assert_eq!(server.call(request(1)).await.unwrap(), Bytes::new());
}

#[tokio::test]
async fn what_holds_no_spans_is_taken_and_goes_nowhere() {
    let server = server("").await;
    server.call("").await.unwrap();
    let empty = b"\x0c\0\x01\x0b\0\x01\0\0\0\x01s\0\x0f\0\x02\x0c\0\0\0\0\0".to_vec();
    assert_eq!(server.post("/api/traces", &[THRIFT], empty).await.status, 202);
    assert!(server.started.kept.batches().is_empty());
}

#[tokio::test]
async fn a_full_pipeline_asks_for_the_same_again_later() {
    let server = server("").await;
    let after = Duration::from_secs(7);
    server.started.kept.refuse(Refused::Retry { after, cause: "the journal is full".into() });
    let status = server.call(request(1)).await.unwrap_err();
    assert_eq!((status.code, status.retry_after), (Code::Unavailable, Some(after)));
    let reply = server.post("/api/traces", &[THRIFT], body(1)).await;
    assert_eq!((reply.status.as_u16(), reply.headers["retry-after"].to_str().unwrap()), (503, "7"));
    assert_eq!(reply.body, "the journal is full");
    server.started.kept.refuse(Refused::Permanent { cause: "too large".into() });
    let status = server.call(request(1)).await.unwrap_err();
    assert_eq!((status.code, status.retry_after), (Code::ResourceExhausted, None));
    assert_eq!(server.post("/api/traces", &[THRIFT], body(1)).await.status, 413);
}

#[tokio::test]
async fn other_methods_paths_and_content_types_are_refused_by_their_names() {
    let server = server("").await;
    let status = server.call_method("/jaeger.api_v2.SamplingManager/GetSamplingStrategy", "").await.unwrap_err();
    assert_eq!(status.code, Code::Unimplemented);
    assert_eq!(server.post("/api/spans", &[THRIFT], body(1)).await.status, 404);
    assert_eq!(server.post("/api/traces", &[(CONTENT_TYPE, "application/json")], "{}").await.status, 415);
    assert_eq!(server.post("/api/traces", &[], body(1)).await.status, 415);
    let url = |path| format!("http://127.0.0.1:{}{path}", server.ports["thrift_http"]).parse().unwrap();
    let reply = server.http.send(HttpRequest::get(url("/api/traces"))).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.headers["allow"].to_str().unwrap()), (405, "POST"));
    let reply = server.http.send(HttpRequest::get(url("/api/sampling?service=checkout"))).await.unwrap();
    assert!(reply.status == 404 && reply.body.starts_with(b"sampling strategies are not served"), "{reply:?}");
}

#[tokio::test]
async fn what_is_lost_over_udp_is_counted_by_its_cause_and_the_next_one_is_read() {
    let server = server("max_packet_size: 1000").await;
    let datagram_of = |count| datagram(count, Protocol::Compact);
    let whole = datagram_of(1);
    server.send(Protocol::Compact, &whole[..whole.len() - 1]);
    server.send(Protocol::Compact, &datagram(1, Protocol::Binary));
    server.send(Protocol::Compact, b"");
    let mut other = Writer::new(Protocol::Compact);
    other.message("emitZipkinBatch", MessageKind::Oneway, 0);
    server.send(Protocol::Compact, &other.finish());
    server.send(Protocol::Compact, &[0x1c; 900]);
    server.send(Protocol::Compact, &datagram_of(200));
    server.send(Protocol::Compact, &whole);
    until(|| server.started.kept.items() == 1 && server.lost().values().sum::<u64>() == 6).await;
    assert_eq!(server.lost(), [("malformed", 5), ("truncated", 1)].into());
}

#[tokio::test]
async fn a_full_pipeline_is_waited_for_and_what_does_not_fit_meanwhile_is_counted() {
    let server = server("queue_size: 2, workers: 1").await;
    server.started.kept.refuse(Refused::Retry { after: Duration::from_millis(1), cause: "full".into() });
    let sent = 100;
    for _ in 0..sent {
        server.send(Protocol::Binary, &datagram(1, Protocol::Binary));
    }
    let (arrivals, kept) = (server.started.arrivals.clone(), server.started.kept.clone());
    let received = || arrivals.all().iter().map(|(_, _, seen)| seen.received).sum::<u64>();
    until(|| received() == sent).await;
    assert!(lost(&arrivals)["queue_full"] > 0);
    // What waits is offered once more when the receiver stops.
    drop(server);
    until(|| lost(&arrivals).values().sum::<u64>() == sent).await;
    assert!(lost(&arrivals).keys().all(|cause| ["queue_full", "refused"].contains(cause)));
    assert_eq!(kept.items(), 0);
}

#[test]
fn a_protocol_is_off_unless_it_is_named() {
    assert!(errors("jaeger", "protocols: {}").contains("expected at least one protocol"));
    assert!(errors("jaeger", "{}").contains("expected at least one protocol"));
    for protocol in ["grpc", "thrift_http", "thrift_compact", "thrift_binary"] {
        assert_eq!(errors("jaeger", &format!("protocols: {{{protocol}: }}")), "");
    }
}

#[test]
fn options_of_the_collector_are_read_and_what_is_not_served_is_named() {
    // jaegerreceiver/testdata/config.yaml.
    let given = "protocols: {grpc: {endpoint: 'localhost:9876'}, thrift_http: {endpoint: ':3456'}, thrift_compact: \
                 {endpoint: '0.0.0.0:456', queue_size: 100_000, max_packet_size: 131_072, workers: 100, \
                 socket_buffer_size: 65_536}, thrift_binary: {endpoint: '0.0.0.0:789', socket_buffer_size: 0}}";
    assert_eq!(errors("jaeger", given), "");
    let said = errors("jaeger", "{protocols: {grpc: }, remote_sampling: {host_endpoint: 'localhost:5778'}}");
    assert!(said.contains("remote_sampling: not built yet: sampling strategies are not served"), "{said}");
    for wrong in ["queue_size: 0", "workers: 0", "max_packet_size: 0", "endpoint: nowhere", "threads: 3"] {
        assert_ne!(errors("jaeger", &format!("protocols: {{thrift_binary: {{{wrong}}}}}")), "", "{wrong}");
    }
}

#[test]
fn a_server_that_should_ask_for_credentials_does_not_run_without() {
    for protocol in ["grpc", "thrift_http"] {
        let said = errors("jaeger", &format!("protocols: {{{protocol}: {{auth: {{authenticator: basicauth}}}}}}"));
        let expected = format!("protocols.{protocol}.auth.authenticator: `basicauth` is not among the configuration's");
        assert!(said.contains(&expected), "{said}");
    }
}
