//! The `loki` receiver on real sockets: both transports, both encodings, and what must be refused.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use component::Refused;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use otlp::Signal;
use support::{Started, errors, free_port, start};
use transport::coding::{Coding, Level, compress, snappy_block_compress};
use transport::endpoint::Endpoint;
use transport::grpc::{Code, Status};
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};
use transport::http_client::{HttpClient, HttpClientSettings, HttpReply, HttpRequest};

const PROTOBUF: (HeaderName, &str) = (CONTENT_TYPE, "application/x-protobuf");
const JSON: (HeaderName, &str) = (CONTENT_TYPE, "application/json; charset=utf-8");
const PUSH: &str = "/loki/api/v1/push";

/// Body, labels and time of a record.
type Record = (String, Vec<(String, String)>, u64);

struct Server {
    started: Started,
    grpc: GrpcClient,
    http: HttpClient,
    http_port: u16,
}

async fn server(options: &str) -> Server {
    let (grpc_port, http_port) = (free_port(), free_port());
    let yaml = format!(
        "protocols:\n  grpc: {{endpoint: 127.0.0.1:{grpc_port}}}\n  http: {{endpoint: 127.0.0.1:{http_port}, \
         max_request_body_size: 1MiB}}\n{options}"
    );
    let started = start("loki", &yaml, &[Signal::Logs]).await;
    let endpoint = Endpoint::parse(&format!("127.0.0.1:{grpc_port}")).unwrap();
    let grpc = GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap();
    Server { started, grpc, http: HttpClient::new(HttpClientSettings::default()).unwrap(), http_port }
}

impl Server {
    async fn post(&self, path: &str, headers: &[(HeaderName, &str)], body: impl Into<Bytes>) -> HttpReply {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| {
            map.insert(name.clone(), HeaderValue::from_str(value).unwrap());
        });
        let url = format!("http://127.0.0.1:{}{path}", self.http_port).parse().unwrap();
        self.http.send(HttpRequest::post(url, map, body.into())).await.unwrap()
    }

    async fn call(&self, path: &'static str, payload: Vec<u8>) -> Result<Bytes, Status> {
        let message = GrpcMessage { coding: Coding::Identity, payload: payload.into() };
        self.grpc.call(path, message, &HeaderMap::new(), Some(Duration::from_secs(20))).await
    }

    fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for batch in self.started.kept.batches() {
            for block in batch.logs().unwrap().resource_logs() {
                for record in block.scope_logs().flat_map(|scope| scope.log_records()) {
                    let text = |value: otlp::view::AnyValueView<'_>| value.as_str().unwrap().to_owned();
                    let attributes = record.attributes().map(|pair| (pair.key().to_owned(), text(pair.value())));
                    records.push((text(record.body()), attributes.collect(), record.time_unix_nano()));
                }
            }
        }
        records
    }
}

fn push() -> legacy::loki::Push<'static> {
    let mut push = legacy::loki::Push::default();
    let stream = push.stream([("app", "shop")].into_iter().collect());
    stream.push(legacy::loki::Entry::new(1_700_000_000_000_000_000, "order 7 shipped"));
    push
}

fn expected() -> Record {
    ("order 7 shipped".into(), vec![("app".into(), "shop".into())], 1_700_000_000_000_000_000)
}

#[tokio::test]
async fn a_push_in_every_form_is_taken_and_answered_with_204() {
    let server = server("use_incoming_timestamp: true").await;
    let block = snappy_block_compress(&push().to_protobuf());
    let gzip = |bytes: &[u8]| compress(Coding::Gzip, Level::Fast, bytes);
    let named = |coding: &'static str| (CONTENT_ENCODING, coding);
    let old = br#"{"streams":[{"labels":"{app=\"shop\"}","entries":[{"ts":"2023-11-14T22:13:20Z","line":"order 7 shipped"}]}]}"#;
    let replies = [
        server.post(PUSH, &[PROTOBUF], block.clone()).await,
        server.post(PUSH, &[PROTOBUF, named("snappy")], block.clone()).await,
        server.post(PUSH, &[PROTOBUF, named("gzip")], gzip(&block)).await,
        server.post(PUSH, &[], block.clone()).await,
        server.post(PUSH, &[JSON], push().to_json()).await,
        server.post(PUSH, &[JSON, named("gzip")], gzip(&push().to_json())).await,
        server.post("/api/prom/push", &[PROTOBUF], block).await,
        server.post("/api/prom/push", &[JSON], old.to_vec()).await,
    ];
    for (index, reply) in replies.iter().enumerate() {
        assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0), "{index} {reply:?}");
    }
    assert_eq!(server.call("/logproto.Pusher/Push", push().to_protobuf()).await.unwrap(), Bytes::new());
    assert_eq!(server.records(), vec![expected(); 9]);
}

#[tokio::test]
async fn the_time_of_receipt_counts_by_default() {
    let server = server("").await;
    server.post(PUSH, &[JSON], push().to_json()).await;
    assert!(server.records()[0].2 > expected().2);
}

#[tokio::test]
async fn the_tenant_changes_nothing() {
    let server = server("use_incoming_timestamp: true").await;
    let tenant = (HeaderName::from_static("x-scope-orgid"), "team-a");
    assert_eq!(server.post(PUSH, &[JSON, tenant], push().to_json()).await.status, 204);
    assert_eq!(server.records(), [expected()]);
}

#[tokio::test]
async fn a_full_pipeline_is_unavailable_and_says_when_to_come_again() {
    let server = server("").await;
    let after = Duration::from_secs(7);
    server.started.kept.refuse(Refused::Retry { after, cause: "the journal is full".into() });
    let reply = server.post(PUSH, &[JSON], push().to_json()).await;
    assert_eq!((reply.status.as_u16(), reply.headers["retry-after"].to_str().unwrap()), (503, "7"));
    let status = server.call("/logproto.Pusher/Push", push().to_protobuf()).await.unwrap_err();
    assert_eq!((status.code, status.retry_after), (Code::Unavailable, Some(after)));
}

#[tokio::test]
async fn what_is_wrong_is_refused_for_good_with_its_place() {
    let server = server("").await;
    let check = |reply: HttpReply, status: u16, message: &str| {
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(reply.status == status && body.contains(message), "{} {body}", reply.status);
    };
    let plain = push().to_protobuf();
    let damaged = snappy_block_compress(b"\x0a\x7f");
    let labels = br#"{"streams":[{"labels":"{app=}","entries":[]}]}"#.to_vec();
    let bomb = snappy_block_compress(&vec![0; 8 << 20]);
    check(server.post(PUSH, &[JSON], "{\"streams\":3}").await, 400, "line 1 column 12");
    check(server.post(PUSH, &[PROTOBUF], plain).await, 400, "a protobuf push is a snappy block");
    check(server.post(PUSH, &[PROTOBUF], damaged).await, 400, "at byte 0 of PushRequest");
    check(server.post("/api/prom/push", &[JSON], labels).await, 400, "labels of stream 0: expected a quoted value");
    check(server.post(PUSH, &[PROTOBUF], bomb).await, 413, "1048576");
    check(server.post(PUSH, &[(CONTENT_TYPE, "text/plain")], "x").await, 415, "application/json");
    check(server.post("/loki/api/v1/tail", &[JSON], "{}").await, 404, "/loki/api/v1/push");
    let url = format!("http://127.0.0.1:{}{PUSH}", server.http_port).parse().unwrap();
    assert_eq!(server.http.send(HttpRequest::get(url)).await.unwrap().status, 405);
    let status = server.call("/logproto.Pusher/Push", b"\x0a\x7f".to_vec()).await.unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument);
    assert_eq!(server.call("/logproto.Querier/Tail", vec![]).await.unwrap_err().code, Code::Unimplemented);
    assert!(server.records().is_empty());
}

#[tokio::test]
async fn labels_that_are_repeated_without_end_are_too_large() {
    let server = server("").await;
    let mut push = legacy::loki::Push::default();
    let stream = push.stream([("app", "x".repeat(100_000))].into_iter().collect());
    stream.extend(std::iter::repeat_n(legacy::loki::Entry::new(1, ""), 10_000));
    let reply = server.post(PUSH, &[PROTOBUF], snappy_block_compress(&push.to_protobuf())).await;
    assert_eq!(reply.status, 413, "{reply:?}");
}

#[test]
fn a_receiver_without_a_protocol_is_an_error() {
    assert!(errors("loki", "protocols: {}").contains("expected at least one protocol: `http:` or `grpc:`"));
    assert!(errors("loki", "use_incoming_timestamps: true").contains("did you mean `use_incoming_timestamp`?"));
}
