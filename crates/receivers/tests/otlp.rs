//! The `otlp` receiver on real sockets: both transports, both encodings, every coding, and what must be refused.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use auth::{Authenticator, BasicUsers, BearerTokens, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use component::{Authentication, Authenticators, Listing, Refused};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use otlp::encode::LogsEncoder;
use otlp::response::{ExportResponse, Status as RpcStatus};
use otlp::{Batch, ContentEncoding, Signal};
use support::{Started, errors, free_port, start, start_beside};
use transport::coding::{Coding, Level, compress};
use transport::endpoint::Endpoint;
use transport::grpc::{Code, Status};
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};
use transport::http_client::{HttpClient, HttpClientSettings, HttpReply, HttpRequest};

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

struct Server {
    started: Started,
    grpc: GrpcClient,
    http: HttpClient,
    http_port: u16,
}

async fn server(options: &str) -> Server {
    let (grpc_port, http_port) = (free_port(), free_port());
    let yaml = format!(
        "protocols:\n  grpc:\n    endpoint: 127.0.0.1:{grpc_port}\n    max_recv_msg_size_mib: 1\n  http:\n    endpoint: \
         127.0.0.1:{http_port}\n    max_request_body_size: 1MiB\n{options}"
    );
    let started = start("otlp", &yaml, &[Signal::Logs]).await;
    let endpoint = Endpoint::parse(&format!("127.0.0.1:{grpc_port}")).unwrap();
    let grpc = GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap();
    let http = HttpClient::new(HttpClientSettings::default()).unwrap();
    Server { started, grpc, http, http_port }
}

impl Server {
    async fn call(&self, path: &'static str, coding: Coding, payload: impl Into<Bytes>) -> Result<Bytes, Status> {
        let message = GrpcMessage { coding, payload: payload.into() };
        self.grpc.call(path, message, &HeaderMap::new(), Some(Duration::from_secs(20))).await
    }

    async fn post(&self, path: &str, headers: &[(HeaderName, &str)], body: impl Into<Bytes>) -> HttpReply {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| {
            map.insert(name.clone(), HeaderValue::from_str(value).unwrap());
        });
        let url = format!("http://127.0.0.1:{}{path}", self.http_port).parse().unwrap();
        self.http.send(HttpRequest::post(url, map, body.into())).await.unwrap()
    }
}

fn logs(items: u32) -> Batch {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|resource| {
        resource.scope_logs(|scope| {
            for index in 0..items {
                scope.log_record(|record| {
                    record.time_unix_nano(u64::from(index) + 1).severity_text("INFO");
                });
            }
        });
    });
    encoder.finish()
}

const PROTOBUF: (HeaderName, &str) = (CONTENT_TYPE, "application/x-protobuf");
const JSON: (HeaderName, &str) = (CONTENT_TYPE, "application/json; charset=utf-8");

#[tokio::test]
async fn grpc_takes_every_coding_and_answers_with_an_empty_response() {
    let server = server("").await;
    for coding in Coding::ALL {
        let payload = compress(coding, Level::Fast, logs(5).bytes());
        assert_eq!(server.call(LOGS, coding, payload).await.unwrap(), Bytes::new(), "{coding}");
    }
    assert_eq!(server.started.kept.items(), 30);
    assert!(server.started.kept.batches().iter().all(|batch| batch.bytes() == logs(5).bytes()));
}

#[tokio::test]
async fn http_takes_protobuf_and_json_in_every_coding() {
    let server = server("").await;
    let mut json = Vec::new();
    otlp::json::encode(&logs(5), &mut json);
    for coding in Coding::ALL {
        for (kind, body) in [(PROTOBUF, logs(5).bytes().to_vec()), (JSON, json.clone())] {
            let body = compress(coding, Level::Fast, &body);
            let reply = server.post("/v1/logs", &[kind, (CONTENT_ENCODING, coding.name())], body).await;
            assert_eq!(reply.status, 200, "{coding} {reply:?}");
        }
    }
    assert_eq!(server.started.kept.items(), 60);
    assert!(server.started.kept.batches().iter().all(|batch| batch.bytes() == logs(5).bytes()));
}

#[tokio::test]
async fn the_answer_is_in_the_encoding_of_the_request() {
    let server = server("").await;
    let reply = server.post("/v1/logs", &[JSON], "{}").await;
    assert_eq!(reply.headers[CONTENT_TYPE], "application/json");
    assert_eq!(ExportResponse::decode_json(Signal::Logs, &reply.body).unwrap(), ExportResponse::default());
    let reply = server.post("/v1/logs", &[PROTOBUF], "").await;
    assert_eq!(reply.headers[CONTENT_TYPE], "application/x-protobuf");
    assert_eq!(ExportResponse::decode(Signal::Logs, &reply.body).unwrap(), ExportResponse::default());
}

#[tokio::test]
async fn the_frame_that_arrived_is_kept_for_those_who_forward_it() {
    let server = server("").await;
    let frame = compress(Coding::Gzip, Level::Fast, logs(100).bytes());
    server.call(LOGS, Coding::Gzip, frame.clone()).await.unwrap();
    let batch = server.started.kept.batches().remove(0);
    assert_eq!(batch.frames().get(ContentEncoding::Gzip), Some(&frame));
}

#[tokio::test]
async fn a_full_pipeline_is_unavailable_and_says_when_to_come_again() {
    let server = server("").await;
    let after = Duration::from_secs(7);
    server.started.kept.refuse(Refused::Retry { after, cause: "the journal is full".into() });
    let status = server.call(LOGS, Coding::Identity, logs(1).bytes().clone()).await.unwrap_err();
    assert_eq!((status.code, status.retry_after), (Code::Unavailable, Some(after)));
    let reply = server.post("/v1/logs", &[PROTOBUF], logs(1).bytes().clone()).await;
    assert_eq!((reply.status.as_u16(), reply.headers["retry-after"].to_str().unwrap()), (503, "7"));
    let body = RpcStatus::decode(&reply.body).unwrap();
    assert_eq!((body.code, body.message.as_str()), (14, "the journal is full"));
}

#[tokio::test]
async fn what_can_never_be_taken_is_refused_without_a_time_to_come_again() {
    let server = server("").await;
    server.started.kept.refuse(Refused::Permanent { cause: "too large".into() });
    let status = server.call(LOGS, Coding::Identity, logs(1).bytes().clone()).await.unwrap_err();
    assert_eq!((status.code, status.retry_after), (Code::ResourceExhausted, None));
    let reply = server.post("/v1/logs", &[JSON], "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{}]}]}]}").await;
    assert_eq!(reply.status, 413);
    assert_eq!(RpcStatus::decode_json(&reply.body).unwrap().code, 8);
}

#[tokio::test]
async fn malformed_data_is_refused_with_its_place() {
    let server = server("").await;
    let status = server.call(LOGS, Coding::Identity, vec![0x0a, 0x7f]).await.unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument);
    assert!(status.message.contains("byte"), "{status}");
    let reply = server.post("/v1/logs", &[JSON], "{\"resourceLogs\":[{\"scopeLogs\":3}]}").await;
    assert_eq!(reply.status, 400);
    let message = RpcStatus::decode_json(&reply.body).unwrap().message;
    assert!(message.contains("line 1") || message.contains("1:"), "{message}");
}

#[tokio::test]
async fn a_bomb_is_stopped_at_the_limit_in_every_coding_over_both_transports() {
    let server = server("").await;
    let zeros = vec![0u8; 8 << 20];
    for coding in [Coding::Gzip, Coding::Zstd, Coding::Deflate, Coding::Snappy, Coding::Lz4] {
        let bomb = compress(coding, Level::Fast, &zeros);
        if bomb.len() < 1 << 20 {
            let status = server.call(LOGS, coding, bomb.clone()).await.unwrap_err();
            assert_eq!(status.code, Code::ResourceExhausted, "{coding}: {status}");
        }
        let reply = server.post("/v1/logs", &[PROTOBUF, (CONTENT_ENCODING, coding.name())], bomb).await;
        assert_eq!(reply.status, 413, "{coding}");
    }
    assert_eq!(server.started.kept.items(), 0);
}

#[tokio::test]
async fn a_damaged_stream_is_a_bad_request_and_the_next_one_is_served() {
    let server = server("").await;
    let mut damaged = compress(Coding::Gzip, Level::Fast, logs(100).bytes()).to_vec();
    let middle = damaged.len() / 2;
    damaged.truncate(middle);
    let reply = server.post("/v1/logs", &[PROTOBUF, (CONTENT_ENCODING, "gzip")], damaged.clone()).await;
    assert_eq!(reply.status, 400);
    assert!(server.call(LOGS, Coding::Gzip, damaged).await.is_err());
    server.call(LOGS, Coding::Identity, logs(1).bytes().clone()).await.unwrap();
}

#[tokio::test]
async fn values_nested_ten_thousand_deep_are_refused_in_both_encodings() {
    let server = server("").await;
    let deep = format!("{}{}", "{\"arrayValue\":{\"values\":[".repeat(10_000), "]}}".repeat(10_000));
    let json = format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{deep}}}]}}]}}]}}");
    assert_eq!(server.post("/v1/logs", &[JSON], json).await.status, 400);
    let status = server.call(LOGS, Coding::Identity, nested_protobuf(10_000)).await.unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument);
    server.call(LOGS, Coding::Identity, logs(1).bytes().clone()).await.unwrap();
}

/// A log record whose body is an array in an array in an array.
fn nested_protobuf(depth: usize) -> Vec<u8> {
    let mut value = Vec::new();
    for _ in 0..depth {
        value = message(1, &value); // ArrayValue.values
        value = message(5, &value); // AnyValue.array_value
    }
    [5, 2, 2, 1].into_iter().fold(value, |inner, number| message(number, &inner))
}

fn message(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap());
    out.extend_from_slice(content);
    out
}

#[tokio::test]
async fn a_signal_that_no_pipeline_wants_is_told_so() {
    let server = server("").await;
    let status = server.call(TRACES, Coding::Identity, "").await.unwrap_err();
    assert_eq!(status.code, Code::Unimplemented);
    assert_eq!(server.post("/v1/traces", &[PROTOBUF], "").await.status, 404);
}

#[tokio::test]
async fn other_paths_methods_and_content_types_are_refused_by_their_names() {
    let server = server("").await;
    assert_eq!(server.post("/v2/logs", &[PROTOBUF], "").await.status, 404);
    assert_eq!(server.post("/v1/logs", &[(CONTENT_TYPE, "text/plain")], "").await.status, 415);
    assert_eq!(server.post("/v1/logs", &[PROTOBUF, (CONTENT_ENCODING, "br")], "").await.status, 415);
    let url = format!("http://127.0.0.1:{}/v1/logs", server.http_port).parse().unwrap();
    let reply = server.http.send(HttpRequest::get(url)).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.headers["allow"].to_str().unwrap()), (405, "POST"));
}

#[tokio::test]
async fn paths_and_codings_are_what_the_configuration_says() {
    let server = server("    logs_url_path: /in/logs\n    compression_algorithms: [zstd]\n").await;
    let body = compress(Coding::Zstd, Level::Fast, logs(1).bytes());
    assert_eq!(server.post("/in/logs", &[PROTOBUF, (CONTENT_ENCODING, "zstd")], body).await.status, 200);
    let body = compress(Coding::Gzip, Level::Fast, logs(1).bytes());
    assert_eq!(server.post("/in/logs", &[PROTOBUF, (CONTENT_ENCODING, "gzip")], body).await.status, 415);
    assert_eq!(server.post("/v1/logs", &[PROTOBUF], "").await.status, 404);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_send_and_others_may_not_read() {
    let server = server("    cors: {allowed_origins: ['https://*.example.com'], allowed_headers: [x-team]}\n").await;
    let origin = HeaderName::from_static("origin");
    let reply = server.post("/v1/logs", &[JSON, (origin.clone(), "https://shop.example.com")], "{}").await;
    assert_eq!(reply.headers["access-control-allow-origin"], "https://shop.example.com");
    let reply = server.post("/v1/logs", &[JSON, (origin.clone(), "https://evil.test")], "{}").await;
    assert!(!reply.headers.contains_key("access-control-allow-origin"));
    let url = format!("http://127.0.0.1:{}/v1/logs", server.http_port).parse().unwrap();
    let mut preflight = HttpRequest::get(url);
    preflight.method = Method::OPTIONS;
    preflight.headers.insert(origin, HeaderValue::from_static("https://shop.example.com"));
    let asked = HeaderValue::from_static("x-team, content-type, x-other");
    preflight.headers.insert("access-control-request-headers", asked);
    let reply = server.http.send(preflight).await.unwrap();
    assert_eq!(reply.headers["access-control-allow-headers"], "x-team, content-type");
}

#[test]
fn a_protocol_is_off_unless_it_is_named() {
    assert!(errors("otlp", "protocols: {}").contains("expected at least one protocol"));
    assert_eq!(errors("otlp", "protocols: {grpc: }"), "");
}

#[test]
fn a_server_that_should_ask_for_credentials_does_not_run_without() {
    for protocol in ["grpc", "http"] {
        let said = errors("otlp", &format!("protocols: {{{protocol}: {{auth: {{authenticator: basicauth}}}}}}"));
        let expected = format!(
            "receivers.test.protocols.{protocol}.auth.authenticator: `basicauth` is not among the configuration's \
             extensions (test.yaml:1:"
        );
        assert!(said.contains(&expected), "{said}");
    }
}

/// What each credential is worth over gRPC and over HTTP, where `good` is the one that is right.
async fn check_credentials(server: impl Authenticator + 'static, good: &str, bad: &[&str]) {
    let mut authenticators = Authenticators::none();
    let authentication = Authentication { server: Some(Arc::new(server)), client: None };
    authenticators.add("guard".parse().unwrap(), Listing::Listed, Some(authentication));
    let (grpc_port, http_port) = (free_port(), free_port());
    let auth = "auth: {authenticator: guard}";
    let yaml = format!(
        "protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc_port}', {auth}}}, http: {{endpoint: '127.0.0.1:{http_port}', \
         {auth}, cors: {{allowed_origins: ['*']}}}}}}"
    );
    let started = start_beside(&authenticators, "otlp", &yaml, &[Signal::Logs]).await;
    let endpoint = Endpoint::parse(&format!("127.0.0.1:{grpc_port}")).unwrap();
    let grpc = GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap();
    let http = HttpClient::new(HttpClientSettings::default()).unwrap();
    let url: url::Url = format!("http://127.0.0.1:{http_port}/v1/logs").parse().unwrap();
    let field = |value: &str| HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
    let all = bad.iter().map(|value| (Some(*value), 401, Some(Code::Unauthenticated)));
    for (given, status, code) in all.chain([(None, 401, Some(Code::Unauthenticated)), (Some(good), 200, None)]) {
        let headers = given.map(field).unwrap_or_default();
        let message = GrpcMessage { coding: Coding::Identity, payload: logs(1).bytes().clone() };
        let called = grpc.call(LOGS, message, &headers, Some(Duration::from_secs(20))).await;
        assert_eq!(called.err().map(|status| status.code), code, "{given:?}");
        let mut headers = headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let reply = http.send(HttpRequest::post(url.clone(), headers, logs(1).bytes().clone())).await.unwrap();
        assert_eq!(reply.status, status, "{given:?}");
        assert_eq!(reply.headers.contains_key("www-authenticate"), status == 401);
    }
    assert_eq!(started.kept.items(), 2, "one by each way");
    // A browser asks before it sends, without credentials.
    let mut preflight = HttpRequest::get(url);
    preflight.method = Method::OPTIONS;
    preflight.headers.insert("origin", HeaderValue::from_static("https://shop.example.com"));
    preflight.headers.insert("access-control-request-method", HeaderValue::from_static("POST"));
    assert_eq!(http.send(preflight).await.unwrap().status, 204);
}

#[tokio::test]
async fn only_who_has_the_token_may_send() {
    let tokens = BearerTokens::new(&[Secret::new("first"), Secret::new("second")]).unwrap();
    let bad = ["", "Bearer", "Bearer ", "Bearer secon", "Bearer second2", "Bearer third", "Basic second", "second"];
    check_credentials(tokens, "Bearer second", &bad).await;
}

#[tokio::test]
async fn only_who_has_the_password_may_send() {
    // `openssl passwd -apr1 -salt saltsalt secret`: a hash that is slow on purpose.
    let users = BasicUsers::from_htpasswd("me:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0\nyou:plain").unwrap();
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let bad = ["me:", "me:secre", "me:secret2", "you:secret", ":", "nobody:secret"].map(basic);
    check_credentials(users, &basic("me:secret"), &bad.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn a_flood_of_methods_paths_and_user_agents_leaves_nothing_behind() {
    let server = server("").await;
    let series =
        |metrics: &component::Metrics| metrics.gather().iter().map(|family| family.series.len()).sum::<usize>();
    assert_eq!(server.post("/v1/logs", &[PROTOBUF], logs(1).bytes().clone()).await.status, 200);
    let before = series(&server.started.metrics);
    let url: url::Url = format!("http://127.0.0.1:{}/", server.http_port).parse().unwrap();
    for index in 0..500 {
        let agent = HeaderMap::from_iter([
            (USER_AGENT, HeaderValue::from_str(&format!("agent/{index}")).unwrap()),
            (HeaderName::from_static("x-scope-orgid"), HeaderValue::from(index)),
        ]);
        for (path, expected) in [("/v1/logs", 405), ("/v1/logs-and-more", 404)] {
            let mut request = HttpRequest::get(url.join(&format!("{path}?{index}")).unwrap());
            request.method = Method::from_bytes(format!("M{index}").as_bytes()).unwrap();
            request.headers = agent.clone();
            assert_eq!(server.http.send(request).await.unwrap().status, expected);
        }
    }
    assert_eq!(series(&server.started.metrics), before);
    assert_eq!(server.started.kept.items(), 1);
}
