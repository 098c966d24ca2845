//! The `opencensus` receiver on real sockets: streams of traces and metrics, acknowledgements, refusals, half messages.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use component::Refused;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use otlp::{Batch, Signal};
use support::{Started, errors, free_port, start};
use tokio::net::TcpStream;
use transport::endpoint::Endpoint;
use transport::grpc::{Code, Status};
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};

const TRACES: &str = "/opencensus.proto.agent.trace.v1.TraceService/Export";
const TRACES_ONE: &str = "/opencensus.proto.agent.trace.v1.TraceService/ExportOne";
const CONFIG: &str = "/opencensus.proto.agent.trace.v1.TraceService/Config";
const METRICS: &str = "/opencensus.proto.agent.metrics.v1.MetricsService/Export";

const FIRST: &[u8] = include_bytes!("../../legacy/testdata/opencensus/client.traces.1.pb");
const SECOND: &[u8] = include_bytes!("../../legacy/testdata/opencensus/client.traces.2.pb");
const FIRST_METRICS: &[u8] = include_bytes!("../../legacy/testdata/opencensus/client.metrics.1.pb");

const SOON: Duration = Duration::from_secs(20);

struct Server {
    started: Started,
    port: u16,
}

async fn server(signals: &[Signal]) -> Server {
    let port = free_port();
    let yaml = format!("endpoint: 127.0.0.1:{port}\nmax_recv_msg_size_mib: 1");
    Server { started: start("opencensus", &yaml, signals).await, port }
}

const BOTH: &[Signal] = &[Signal::Traces, Signal::Metrics];

/// One stream to a server.
struct Client {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
    head: HeaderMap,
    received: BytesMut,
}

impl Client {
    async fn start(server: &Server, path: &str) -> Client {
        let socket = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let (send, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post(format!("http://x{path}")).header("content-type", "application/grpc");
        let mut ready = send.ready().await.unwrap();
        let (response, sending) = ready.send_request(request.body(()).unwrap(), false).unwrap();
        let (head, receiving) = tokio::time::timeout(SOON, response).await.unwrap().unwrap().into_parts();
        Client { sending, receiving, head: head.headers, received: BytesMut::new() }
    }

    fn send(&mut self, message: &[u8]) {
        self.send_raw(&framed(message));
    }

    fn send_raw(&mut self, bytes: &[u8]) {
        self.sending.send_data(Bytes::copy_from_slice(bytes), false).unwrap();
    }

    fn end(&mut self) {
        self.sending.send_data(Bytes::new(), true).unwrap();
    }

    /// Whether an empty answer comes, before the stream ends.
    async fn answered(&mut self) -> bool {
        while self.received.len() < 5 {
            let Some(data) = tokio::time::timeout(SOON, self.receiving.data()).await.unwrap() else { return false };
            self.received.extend_from_slice(&data.unwrap());
        }
        assert_eq!(self.received.split_to(5), [0; 5][..]);
        true
    }

    async fn status(&mut self) -> (String, String, bool) {
        assert!(!self.answered().await);
        let trailers = tokio::time::timeout(SOON, self.receiving.trailers()).await.unwrap().unwrap().unwrap();
        let text = |name| trailers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        (text("grpc-status"), text("grpc-message"), trailers.contains_key("grpc-status-details-bin"))
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), message].concat()
}

fn service(batch: &Batch) -> String {
    let block = batch.traces().unwrap().resource_spans().next().unwrap();
    block.resource().attributes().get("service.name").unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_message_is_answered_when_it_was_taken_and_the_node_is_carried_forward() {
    let server = server(BOTH).await;
    let mut client = Client::start(&server, TRACES).await;
    client.send(FIRST);
    assert!(client.answered().await);
    assert_eq!(server.started.kept.items(), 3);
    client.send(SECOND);
    assert!(client.answered().await);
    client.end();
    assert_eq!(client.status().await, ("0".to_owned(), String::new(), false));
    let batches = server.started.kept.batches();
    assert_eq!((batches.len(), service(&batches[1])), (2, "checkout".to_owned()));
    // Another stream knows nothing of it.
    let mut other = Client::start(&server, TRACES).await;
    other.send(SECOND);
    assert!(other.answered().await);
    let batch = server.started.kept.batches().pop().unwrap();
    let block = batch.traces().unwrap().resource_spans().next().unwrap();
    assert_eq!(block.resource().attributes().count(), 0);
}

#[tokio::test]
async fn metrics_are_taken_and_points_without_a_kind_are_counted() {
    let server = server(BOTH).await;
    let mut client = Client::start(&server, METRICS).await;
    client.send(FIRST_METRICS);
    assert!(client.answered().await);
    assert_eq!(server.started.kept.items(), 10);
    let families = server.started.metrics.gather();
    let counted = families.iter().find(|family| family.name.contains("points_without_kind")).unwrap();
    assert_eq!(counted.series.len(), 1);
    assert!(format!("{:?}", counted.series).contains('3'), "{:?}", counted.series);
}

#[tokio::test]
async fn a_message_of_nothing_but_a_node_is_answered_and_kept_nowhere() {
    let server = server(BOTH).await;
    let mut client = Client::start(&server, TRACES).await;
    client.send(&[]);
    assert!(client.answered().await);
    assert_eq!(server.started.kept.batches().len(), 0);
}

#[tokio::test]
async fn one_message_may_come_as_a_unary_call() {
    let server = server(BOTH).await;
    let endpoint = Endpoint::parse(&format!("127.0.0.1:{}", server.port)).unwrap();
    let client = GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap();
    let call = async |path: &'static str| -> Result<Bytes, Status> {
        client.call(path, GrpcMessage::plain(Bytes::from_static(FIRST)), &HeaderMap::new(), Some(SOON)).await
    };
    assert_eq!(call(TRACES_ONE).await.unwrap(), Bytes::new());
    assert_eq!(server.started.kept.items(), 3);
    assert_eq!(
        call("/opencensus.proto.agent.trace.v1.TraceService/Other").await.unwrap_err().code,
        Code::Unimplemented
    );
}

#[tokio::test]
async fn a_library_may_tell_its_configuration_for_as_long_as_it_lives() {
    let server = server(BOTH).await;
    let mut client = Client::start(&server, CONFIG).await;
    assert_eq!(client.head["content-type"], "application/grpc");
    client.send(&[0x0a, 0]);
    client.send(&[]);
    client.end();
    assert_eq!(client.status().await.0, "0");
}

#[tokio::test]
async fn a_full_pipeline_ends_the_stream_and_says_when_to_come_again() {
    let server = server(BOTH).await;
    let mut client = Client::start(&server, TRACES).await;
    client.send(FIRST);
    assert!(client.answered().await);
    server.started.kept.refuse(Refused::Retry { after: Duration::from_secs(7), cause: "the journal is full".into() });
    client.send(SECOND);
    assert_eq!(client.status().await, ("14".to_owned(), "the journal is full".to_owned(), true));
    server.started.kept.refuse(Refused::Permanent { cause: "too large".into() });
    let mut client = Client::start(&server, TRACES).await;
    client.send(FIRST);
    assert_eq!(client.status().await, ("8".to_owned(), "too large".to_owned(), false));
}

async fn check_ended(bytes: &[u8], code: &str, words: &str) {
    let server = server(BOTH).await;
    let mut client = Client::start(&server, TRACES).await;
    client.send_raw(bytes);
    client.end();
    let (found, message, _) = client.status().await;
    assert!(found == code && message.contains(words), "{found} {message}");
    assert_eq!(server.started.kept.items(), 0);
    let mut next = Client::start(&server, TRACES).await;
    next.send(FIRST);
    assert!(next.answered().await, "the next stream is served");
}

#[tokio::test]
async fn half_and_broken_messages_end_their_stream_and_no_other() {
    check_ended(&framed(FIRST)[..100], "13", "breaks off").await;
    check_ended(&framed(b"\x12\x05\x01"), "3", "no protobuf from byte 0 on").await;
    check_ended(&framed(b"\x12\x02\x0a\x09"), "3", "span 0").await;
    check_ended(b"\0\x7f\xff\xff\xffrest", "8", "1048576").await;
}

#[tokio::test]
async fn a_signal_that_no_pipeline_wants_is_told_so() {
    let server = server(&[Signal::Traces]).await;
    let client = Client::start(&server, METRICS).await;
    assert_eq!(client.head["grpc-status"], "12");
}

#[tokio::test]
async fn streams_end_when_the_receiver_stops() {
    let server = server(BOTH).await;
    let mut client = Client::start(&server, TRACES).await;
    client.send(FIRST);
    assert!(client.answered().await);
    let mut quiet = Client::start(&server, CONFIG).await;
    drop(server);
    assert_eq!(client.status().await.0, "14");
    assert_eq!(quiet.status().await.0, "14");
}

#[test]
fn the_options_are_those_of_a_grpc_server() {
    assert_eq!(errors("opencensus", "{}"), "");
    assert_eq!(errors("opencensus", "{endpoint: /tmp/oc.sock, transport: unix}"), "");
    let said = errors("opencensus", "cors_allowed_origins: ['*']");
    assert!(said.contains("cors_allowed_origins") && said.contains("gateway"), "{said}");
}
