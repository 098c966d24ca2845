//! The `zipkin` receiver on real sockets: both versions, every form and coding, and what must be refused.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use component::Refused;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use otlp::view::AnyValueView;
use otlp::{Batch, Signal};
use support::{Started, errors, free_port, start};
use transport::coding::{Coding, Level, compress};
use transport::http_client::{HttpClient, HttpClientSettings, HttpReply, HttpRequest};

const V2: &str = "/api/v2/spans";
const V1: &str = "/api/v1/spans";

const JSON_V2: &[u8] = include_bytes!("../../legacy/testdata/zipkin/py_zipkin.v2.json");
const PROTOBUF_V2: &[u8] = include_bytes!("../../legacy/testdata/zipkin/py_zipkin.v2.pb");
const JSON_V1: &[u8] = include_bytes!("../../legacy/testdata/zipkin/core.v1.json");
const THRIFT_V1: &[u8] = include_bytes!("../../legacy/testdata/zipkin/thriftpy.v1.thrift");

const JSON: (HeaderName, &str) = (CONTENT_TYPE, "application/json; charset=utf-8");
const PROTOBUF: (HeaderName, &str) = (CONTENT_TYPE, "application/x-protobuf");
const THRIFT: (HeaderName, &str) = (CONTENT_TYPE, "application/x-thrift");

struct Server {
    started: Started,
    http: HttpClient,
    port: u16,
}

async fn server(options: &str) -> Server {
    let port = free_port();
    let yaml = format!("endpoint: 127.0.0.1:{port}\nmax_request_body_size: 1MiB\n{options}");
    let started = start("zipkin", &yaml, &[Signal::Traces]).await;
    Server { started, http: HttpClient::new(HttpClientSettings::default()).unwrap(), port }
}

impl Server {
    async fn post(&self, path: &str, headers: &[(HeaderName, &str)], body: impl Into<Bytes>) -> HttpReply {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| {
            map.insert(name.clone(), HeaderValue::from_str(value).unwrap());
        });
        let url = format!("http://127.0.0.1:{}{path}", self.port).parse().unwrap();
        self.http.send(HttpRequest::post(url, map, body.into())).await.unwrap()
    }

    async fn check_refused(&self, path: &str, headers: &[(HeaderName, &str)], body: &[u8], status: u16, words: &str) {
        let reply = self.post(path, headers, body.to_vec()).await;
        let said = String::from_utf8_lossy(&reply.body);
        assert!(reply.status == status && said.contains(words), "{} {said}", reply.status);
    }
}

fn names(batch: &Batch) -> Vec<&str> {
    let blocks = batch.traces().unwrap().resource_spans();
    blocks.flat_map(|block| block.scope_spans()).flat_map(|scope| scope.spans()).map(|span| span.name()).collect()
}

#[tokio::test]
async fn every_form_is_taken_in_every_coding_and_answered_with_202() {
    let server = server("").await;
    let forms =
        [(V2, JSON, JSON_V2, 3), (V2, PROTOBUF, PROTOBUF_V2, 3), (V1, JSON, JSON_V1, 6), (V1, THRIFT, THRIFT_V1, 2)];
    for (path, kind, body, items) in forms {
        for coding in Coding::ALL {
            let body = compress(coding, Level::Fast, body);
            let reply = server.post(path, &[kind.clone(), (CONTENT_ENCODING, coding.name())], body).await;
            assert_eq!((reply.status.as_u16(), reply.body.len()), (202, 0), "{path} {kind:?} {coding}");
            assert_eq!(server.started.kept.batches().last().unwrap().items(), items, "{path} {kind:?}");
        }
    }
}

#[tokio::test]
async fn what_names_no_form_is_json() {
    let server = server("").await;
    for headers in [&[][..], &[(CONTENT_TYPE, "text/plain")]] {
        assert_eq!(server.post(V2, headers, JSON_V2).await.status, 202);
    }
    let batch = server.started.kept.batches().remove(0);
    assert_eq!(names(&batch), ["get /users", "handle", "render"]);
}

#[tokio::test]
async fn tags_are_parsed_where_the_configuration_says_so() {
    let body = r#"[{"traceId": "1", "id": "2", "tags": {"n": "7"}}]"#;
    for (options, expected) in [("", AnyValueView::String("7")), ("parse_string_tags: true", AnyValueView::Int(7))] {
        let server = server(options).await;
        assert_eq!(server.post(V2, &[JSON], body).await.status, 202);
        let batch = server.started.kept.batches().remove(0);
        let block = batch.traces().unwrap().resource_spans().next().unwrap();
        let span = block.scope_spans().next().unwrap().spans().next().unwrap();
        assert_eq!(span.attributes().get("n"), Some(expected));
    }
}

#[tokio::test]
async fn the_options_may_stand_under_protocols() {
    let port = free_port();
    let yaml = format!("protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}");
    let started = start("zipkin", &yaml, &[Signal::Traces]).await;
    let server = Server { started, http: HttpClient::new(HttpClientSettings::default()).unwrap(), port };
    assert_eq!(server.post(V2, &[JSON], "[]").await.status, 202);
    assert_eq!(errors("zipkin", "{}"), "");
    assert!(errors("zipkin", "{endpoint: 'localhost:1', protocols: {http: }}").contains("endpoint"));
}

#[tokio::test]
async fn a_full_pipeline_says_when_to_come_again_and_what_never_fits_is_told_so() {
    let server = server("").await;
    server.started.kept.refuse(Refused::Retry { after: Duration::from_secs(7), cause: "the journal is full".into() });
    let reply = server.post(V2, &[JSON], JSON_V2).await;
    assert_eq!((reply.status.as_u16(), reply.headers["retry-after"].to_str().unwrap()), (503, "7"));
    assert_eq!(reply.body, "the journal is full");
    server.started.kept.refuse(Refused::Permanent { cause: "too large".into() });
    assert_eq!(server.post(V2, &[JSON], JSON_V2).await.status, 413);
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_place() {
    let server = server("").await;
    server.check_refused(V2, &[JSON], b"[\n{\"traceId\": \"0\", \"id\": \"1\"}]", 400, "line 2").await;
    server.check_refused(V2, &[JSON], &JSON_V2[..200], 400, "EOF").await;
    server.check_refused(V2, &[PROTOBUF], &PROTOBUF_V2[..100], 400, "no protobuf from byte 0 on").await;
    server.check_refused(V2, &[PROTOBUF], JSON_V2, 400, "").await;
    server.check_refused(V1, &[THRIFT], &THRIFT_V1[..300], 400, "at byte").await;
    server.check_refused(V1, &[THRIFT], b"\x0c\x7f\xff\xff\xff", 400, "elements declared").await;
    server.check_refused(V1, &[JSON], b"{}", 400, "line 1").await;
    server.check_refused(V2, &[THRIFT], THRIFT_V1, 415, "version 1").await;
    server.check_refused("/api/v3/spans", &[JSON], b"[]", 404, "/api/v2/spans").await;
    server.check_refused(V2, &[JSON, (CONTENT_ENCODING, "br")], b"[]", 415, "br").await;
    server.check_refused(V2, &[JSON, (CONTENT_ENCODING, "gzip")], b"[]", 400, "").await;
    server.check_refused(V2, &[JSON], "[".repeat(500_000).as_bytes(), 400, "line 1").await;
    let bomb = compress(Coding::Gzip, Level::Fast, &vec![b' '; 8 << 20]);
    server.check_refused(V2, &[JSON, (CONTENT_ENCODING, "gzip")], &bomb, 413, "").await;
    let url = format!("http://127.0.0.1:{}{V2}", server.port).parse().unwrap();
    assert_eq!(server.http.send(HttpRequest::get(url)).await.unwrap().status, 405);
    assert_eq!(server.started.kept.items(), 0);
    assert_eq!(server.post(V2, &[JSON], JSON_V2).await.status, 202);
}

#[tokio::test]
async fn pages_of_an_allowed_origin_may_send() {
    let server = server("cors: {allowed_origins: ['https://*.example.com']}").await;
    let origin = (HeaderName::from_static("origin"), "https://shop.example.com");
    let reply = server.post(V2, &[JSON, origin], "[]").await;
    assert_eq!(reply.headers["access-control-allow-origin"], "https://shop.example.com");
}
