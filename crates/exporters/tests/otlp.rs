//! The `otlp` and `otlphttp` exporters against backends on real sockets.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use auth::{BearerTokens, Credentials, CredentialsError, Secret};
use bytes::Bytes;
use component::{Authentication, Authenticators, Listing, Outcome};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use otlp::response::ExportResponse;
use otlp::{ContentEncoding, Signal};
use parking_lot::Mutex;
use support::{Answer, Backend, built_beside, errors, exporter, header, logs, said, send};
use transport::coding::{Coding, Level, compress, decompress};
use transport::grpc::{Code, Status};

const TAKEN: Answer = Answer::Grpc(Ok(Bytes::new()));

fn http(status: u16, headers: HeaderMap, body: impl Into<Bytes>) -> Answer {
    Answer::Http(StatusCode::from_u16(status).unwrap(), headers, body.into())
}

fn grpc_yaml(backend: &Backend, options: &str) -> String {
    format!("endpoint: 127.0.0.1:{}\ntls: {{insecure: true}}\n{options}", backend.port)
}

fn http_yaml(backend: &Backend, options: &str) -> String {
    format!("endpoint: http://127.0.0.1:{}/base/\n{options}", backend.port)
}

#[tokio::test]
async fn grpc_sends_the_bytes_as_they_are_to_the_signal_s_method() {
    let backend = Backend::start(TAKEN).await;
    let exporter =
        exporter("otlp", &grpc_yaml(&backend, "compression: none\nheaders: {x-team: 'a', auth: '${env:TOKEN}'}"));
    assert_eq!(said(&send(&exporter, &logs(3)).await), "delivered");
    let got = backend.got().remove(0);
    assert_eq!(got.path, "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    assert_eq!((got.payload, got.frame), (logs(3).bytes().clone(), None));
    assert_eq!((&got.headers["x-team"], &got.headers["auth"]), (&"a".parse().unwrap(), &"sesame".parse().unwrap()));
}

/// Credentials that have to be fetched first.
#[derive(Debug, Default)]
struct Fetched(Mutex<Option<&'static str>>);

impl Credentials for Fetched {
    fn field(&self) -> Result<(HeaderName, HeaderValue), CredentialsError> {
        let value = self.0.lock().ok_or_else(|| CredentialsError::NotYet("the server is down".to_owned()))?;
        Ok((AUTHORIZATION, HeaderValue::from_static(value)))
    }
}

#[tokio::test]
async fn credentials_are_shown_to_the_backend_and_waited_for() {
    let fetched = Arc::new(Fetched::default());
    let mut authenticators = Authenticators::none();
    let authentication = Authentication { server: None, client: Some(fetched.clone()) };
    authenticators.add("pass/one".parse().unwrap(), Listing::Listed, Some(authentication));
    let backend = Backend::start(TAKEN).await;
    let auth = "auth: {authenticator: pass/one}";
    let exporters = [("otlp", grpc_yaml(&backend, auth)), ("otlphttp", http_yaml(&backend, auth))];
    let [grpc, http] = exporters.map(|(id, yaml)| built_beside(&authenticators, id, &yaml).unwrap());
    // Nothing is sent without them: the backend would refuse it for good.
    assert_eq!(said(&send(&grpc, &logs(1)).await), "retry: grpc_unavailable");
    assert_eq!(said(&send(&http, &logs(1)).await), "retry: no_credentials");
    assert!(backend.got().is_empty());
    *fetched.0.lock() = Some("Bearer one");
    assert_eq!(said(&send(&grpc, &logs(1)).await), "delivered");
    backend.set(self::http(200, HeaderMap::new(), ""));
    assert_eq!(said(&send(&http, &logs(1)).await), "delivered");
    assert!(backend.got().iter().all(|got| got.headers["authorization"] == "Bearer one"));
}

#[test]
fn an_authenticator_that_only_says_who_may_send_is_none_for_an_exporter() {
    let mut authenticators = Authenticators::none();
    let tokens = BearerTokens::new(&[Secret::new("token")]).unwrap();
    let server = Authentication { server: Some(Arc::new(tokens)), client: None };
    authenticators.add("guard".parse().unwrap(), Listing::Listed, Some(server));
    let errors = built_beside(&authenticators, "otlp", "endpoint: localhost:1\nauth: {authenticator: guard}");
    let errors = errors.err().unwrap();
    assert!(errors.contains("`guard` has nothing that a client could show (test.yaml:2:23)"), "{errors}");
}

#[tokio::test]
async fn grpc_compresses_with_gzip_unless_told_otherwise() {
    let backend = Backend::start(TAKEN).await;
    for (options, coding) in
        [("", Coding::Gzip), ("compression: zstd", Coding::Zstd), ("compression: snappy", Coding::Snappy)]
    {
        let exporter = exporter("otlp", &grpc_yaml(&backend, options));
        send(&exporter, &logs(100)).await;
        let got = backend.got().pop().unwrap();
        assert_eq!(got.payload, logs(100).bytes());
        assert_eq!(got.headers["grpc-encoding"], coding.name());
    }
}

#[tokio::test]
async fn a_frame_that_arrived_is_forwarded_as_it_came_by_both_exporters() {
    let frame = compress(Coding::Gzip, Level::Exact(9), logs(100).bytes());
    let batch = logs(100).with_frame(ContentEncoding::Gzip, frame.clone());
    let (grpc, plain) = (Backend::start(TAKEN).await, Backend::start(http(200, HeaderMap::new(), "")).await);
    send(&exporter("otlp", &grpc_yaml(&grpc, "")), &batch).await;
    send(&exporter("otlphttp", &http_yaml(&plain, "")), &batch).await;
    for backend in [grpc, plain] {
        assert_eq!(backend.got()[0].frame, Some((Coding::Gzip, frame.clone())));
    }
}

#[tokio::test]
async fn two_exporters_share_what_the_first_compressed() {
    let batch = logs(100);
    let (grpc, plain) = (Backend::start(TAKEN).await, Backend::start(http(200, HeaderMap::new(), "")).await);
    let first = exporter("otlp", &grpc_yaml(&grpc, "")).exporter.encode(&batch);
    let second = exporter("otlphttp", &http_yaml(&plain, "")).exporter.encode(&batch);
    assert_eq!(first.requests[0].body.as_ptr(), second.requests[0].body.as_ptr());
}

#[tokio::test]
async fn grpc_answers_become_outcomes_as_the_specification_says() {
    let backend = Backend::start(TAKEN).await;
    let exporter = exporter("otlp", &grpc_yaml(&backend, ""));
    let partial = ExportResponse { rejected_items: 2, error_message: "too old".into() };
    let status = |code| Status::new(code, "why");
    let cases = [
        (Ok(partial.encode().into()), "delivered, 2 rejected: partial_success"),
        (Ok(ExportResponse { rejected_items: 0, error_message: "hm".into() }.encode().into()), "delivered"),
        (Err(status(Code::Unavailable).with_retry_after(Duration::from_secs(3))), "retry after 3s: grpc_unavailable"),
        (Err(status(Code::ResourceExhausted)), "reject: grpc_resource_exhausted"),
        (Err(status(Code::InvalidArgument)), "reject: grpc_invalid_argument"),
        (Err(status(Code::Unauthenticated)), "reject: grpc_unauthenticated"),
        (Err(status(Code::Aborted)), "retry: grpc_aborted"),
    ];
    for (answer, expected) in cases {
        backend.set(Answer::Grpc(answer));
        assert_eq!(said(&send(&exporter, &logs(5)).await), expected);
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_tried_again() {
    let grpc = exporter("otlp", "endpoint: 127.0.0.1:1\ntls: {insecure: true}");
    let Outcome::Retry { failure, .. } = send(&grpc, &logs(1)).await else { panic!() };
    assert!(failure.detail.contains("127.0.0.1:1"), "{}", failure.detail);
    let plain = exporter("otlphttp", "endpoint: http://127.0.0.1:1");
    assert_eq!(said(&send(&plain, &logs(1)).await), "retry: unreachable");
}

#[tokio::test]
async fn http_sends_protobuf_or_json_to_the_signal_s_path() {
    let backend = Backend::start(http(200, HeaderMap::new(), "")).await;
    send(&exporter("otlphttp", &http_yaml(&backend, "")), &logs(3)).await;
    send(&exporter("otlphttp", &http_yaml(&backend, "encoding: json\ncompression: none")), &logs(3)).await;
    let own = format!("logs_endpoint: http://127.0.0.1:{}/own", backend.port);
    send(&exporter("otlphttp", &own), &logs(3)).await;
    let got = backend.got();
    let paths: Vec<&str> = got.iter().map(|got| got.path.as_str()).collect();
    assert_eq!(paths, ["/base/v1/logs", "/base/v1/logs", "/own"]);
    assert_eq!(got[0].payload, logs(3).bytes());
    assert_eq!(
        (got[0].frame.as_ref().unwrap().0, &got[0].headers["content-type"]),
        (Coding::Gzip, &"application/x-protobuf".parse().unwrap())
    );
    assert_eq!(got[1].headers["content-type"], "application/json");
    let decoded = otlp::json::decode(Signal::Logs, &got[1].payload, &otlp::Limits::default()).unwrap();
    assert_eq!(decoded.bytes(), logs(3).bytes());
}

#[tokio::test]
async fn every_http_coding_is_understood_by_the_other_side() {
    let backend = Backend::start(http(200, HeaderMap::new(), "")).await;
    for name in ["gzip", "zstd", "deflate", "zlib", "snappy", "lz4", "none"] {
        send(&exporter("otlphttp", &http_yaml(&backend, &format!("compression: {name}"))), &logs(50)).await;
        assert_eq!(backend.got().pop().unwrap().payload, logs(50).bytes(), "{name}");
    }
}

#[tokio::test]
async fn http_answers_become_outcomes_as_the_specification_says() {
    let backend = Backend::start(http(200, HeaderMap::new(), "")).await;
    let exporter = exporter("otlphttp", &http_yaml(&backend, ""));
    let partial = ExportResponse { rejected_items: 2, error_message: "too old".into() };
    let mut json = Vec::new();
    partial.encode_json(Signal::Logs, &mut json);
    let cases = [
        (
            http(200, header("content-type", "application/x-protobuf"), partial.encode()),
            "delivered, 2 rejected: partial_success",
        ),
        (http(200, header("content-type", "application/json"), json), "delivered, 2 rejected: partial_success"),
        (http(200, header("content-type", "text/html"), "<p>fine"), "delivered"),
        (http(429, header("retry-after", "11"), ""), "retry after 11s: http_429"),
        (http(503, HeaderMap::new(), "later"), "retry: http_503"),
        (http(500, HeaderMap::new(), ""), "reject: http_500"),
        (http(401, HeaderMap::new(), ""), "reject: http_401"),
        (http(307, header("location", "http://elsewhere.example/"), ""), "reject: redirect"),
    ];
    for (answer, expected) in cases {
        backend.set(answer.clone());
        let outcome = said(&send(&exporter, &logs(5)).await);
        // A redirect is refused by the client or seen as the answer that it is: final in both cases.
        assert!(outcome == expected || outcome == "reject: http_307", "{answer:?}: {outcome}");
    }
}

#[test]
fn the_timeout_covers_one_attempt_and_has_the_collector_s_default() {
    assert_eq!(exporter("otlp", "endpoint: localhost:1").delivery.timeout, Duration::from_secs(5));
    assert_eq!(exporter("otlphttp", "endpoint: http://localhost:1").delivery.timeout, Duration::from_secs(30));
    assert_eq!(exporter("otlp", "{endpoint: 'localhost:1', timeout: 0}").delivery.timeout, Duration::ZERO);
}

#[test]
fn what_is_not_built_yet_is_named_so_and_a_missing_endpoint_too() {
    let said = errors("otlp", "{endpoint: 'localhost:1', sending_queue: {wait_for_result: true}}");
    assert!(said.contains("not built yet"), "{said}");
    assert!(errors("otlp", "{}").contains("endpoint: is required"));
    assert!(errors("otlphttp", "{}").contains("endpoint: is required"));
}

#[test]
fn payloads_survive_the_round_trip_through_the_shared_frame() {
    let batch = logs(10);
    let body = exporter("otlp", "endpoint: localhost:1").exporter.encode(&batch).requests.remove(0).body;
    assert_eq!(decompress(Coding::Gzip, &body, 1 << 20).unwrap(), batch.bytes());
}
