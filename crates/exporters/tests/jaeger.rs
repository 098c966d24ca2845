//! The `jaeger` exporter against a backend on a real socket.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use component::BuiltExporter;
use legacy::jaeger;
use otlp::encode::TracesEncoder;
use otlp::{Batch, Signal, SpanId, TraceId};
use support::{Answer, Backend, errors, exporter, said};
use transport::coding::Coding;
use transport::grpc::{Code, Status};

const TAKEN: Answer = Answer::Grpc(Ok(Bytes::new()));

fn yaml(backend: &Backend, options: &str) -> String {
    format!("endpoint: 127.0.0.1:{}\ntls: {{insecure: true}}\n{options}", backend.port)
}

/// Spans of several services, which survive the way to Jaeger and back. Each has a name of this length.
fn spans(services: &[&str], count: u32, name_bytes: usize) -> Batch {
    let mut encoder = TracesEncoder::new();
    for service in services {
        encoder.resource_spans(|block| {
            block.resource(|resource| {
                resource.attributes().string("service.name", service);
            });
            block.scope_spans(|scope| {
                for _ in 0..count {
                    scope.span(|span| {
                        span.trace_id(TraceId::new([7; 16])).span_id(SpanId::new([8; 8])).name(&"n".repeat(name_bytes));
                        span.start_time_unix_nano(1_000).end_time_unix_nano(1_500);
                    });
                }
            });
        });
    }
    encoder.finish()
}

/// Encodes and sends a batch; the outcome of each request, which have to add up to the batch.
async fn send(built: &BuiltExporter, batch: &Batch) -> Vec<String> {
    let encoded = built.exporter.encode(batch);
    assert!(encoded.rejected.is_empty());
    assert_eq!(encoded.requests.iter().map(|request| request.items).sum::<u64>(), u64::from(batch.items()));
    let mut outcomes = Vec::new();
    for request in &encoded.requests {
        let sending = built.exporter.send(request);
        outcomes.push(said(&tokio::time::timeout(Duration::from_secs(20), sending).await.unwrap()));
    }
    outcomes
}

#[tokio::test]
async fn each_resource_is_a_request_and_the_same_one_twice_is_one() {
    let backend = Backend::start(TAKEN).await;
    let exporter = exporter("jaeger", &yaml(&backend, "headers: {x-team: a}"));
    let batch = spans(&["checkout", "stock", "checkout"], 2, 5);
    assert_eq!(send(&exporter, &batch).await, ["delivered", "delivered"]);
    let got = backend.got();
    let back: Vec<Batch> = got.iter().map(|got| jaeger::from_proto(&got.payload).unwrap()).collect();
    let expected = [spans(&["checkout"], 4, 5), spans(&["stock"], 2, 5)];
    assert_eq!(
        back.iter().map(Batch::bytes).collect::<Vec<_>>(),
        expected.iter().map(Batch::bytes).collect::<Vec<_>>()
    );
    for got in got {
        assert_eq!(got.path, "/jaeger.api_v2.CollectorService/PostSpans");
        assert_eq!((&got.headers["x-team"], got.frame), (&"a".parse().unwrap(), None));
    }
}

#[tokio::test]
async fn what_is_larger_than_a_message_may_be_becomes_several() {
    let backend = Backend::start(TAKEN).await;
    let exporter = exporter("jaeger", &yaml(&backend, ""));
    let batch = spans(&["checkout"], 90, 100_000);
    assert_eq!(send(&exporter, &batch).await, ["delivered"; 3]);
    let back: Vec<Batch> = backend.got().iter().map(|got| jaeger::from_proto(&got.payload).unwrap()).collect();
    assert_eq!(Batch::concat(Signal::Traces, &back).items(), 90);
    assert!(backend.got().iter().all(|got| got.payload.len() <= 4 << 20));
    let lanes: Vec<u32> = exporter.exporter.encode(&batch).requests.iter().map(|request| request.lane).collect();
    assert_eq!(lanes, [0, 1, 2]);
}

#[tokio::test]
async fn nothing_is_compressed_unless_it_is_asked_for() {
    let backend = Backend::start(TAKEN).await;
    for (options, coding) in
        [("", None), ("compression: gzip", Some(Coding::Gzip)), ("compression: zstd", Some(Coding::Zstd))]
    {
        let exporter = exporter("jaeger", &yaml(&backend, options));
        send(&exporter, &spans(&["checkout"], 100, 5)).await;
        let got = backend.got().pop().unwrap();
        assert_eq!(jaeger::from_proto(&got.payload).unwrap().bytes(), spans(&["checkout"], 100, 5).bytes());
        assert_eq!(got.frame.map(|(coding, _)| coding), coding);
    }
}

#[tokio::test]
async fn answers_become_outcomes_and_a_busy_jaeger_is_tried_again() {
    let backend = Backend::start(TAKEN).await;
    let exporter = exporter("jaeger", &yaml(&backend, ""));
    let status = Status::new;
    let cases = [
        (Ok(Bytes::new()), "delivered"),
        (
            Err(status(Code::Unavailable, "later").with_retry_after(Duration::from_secs(3))),
            "retry after 3s: grpc_unavailable",
        ),
        (Err(status(Code::ResourceExhausted, "server busy")), "retry: grpc_resource_exhausted"),
        (
            Err(status(Code::ResourceExhausted, "grpc: received message larger than max (5 vs. 4)")),
            "reject: grpc_resource_exhausted",
        ),
        (Err(status(Code::InvalidArgument, "no")), "reject: grpc_invalid_argument"),
        (Err(status(Code::Unimplemented, "unknown service")), "reject: grpc_unimplemented"),
        (Err(status(Code::Unauthenticated, "who")), "reject: grpc_unauthenticated"),
    ];
    for (answer, expected) in cases {
        backend.set(Answer::Grpc(answer));
        assert_eq!(send(&exporter, &spans(&["checkout"], 1, 5)).await, [expected]);
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_tried_again() {
    let gone = exporter("jaeger", "endpoint: 127.0.0.1:1\ntls: {insecure: true}");
    assert_eq!(send(&gone, &spans(&["checkout"], 1, 5)).await, ["retry: grpc_unavailable"]);
}

#[test]
fn two_exporters_share_what_the_first_made() {
    let batch = spans(&["checkout"], 3, 5);
    let body = || exporter("jaeger", "endpoint: localhost:1").exporter.encode(&batch).requests.remove(0).body;
    assert_eq!(body().as_ptr(), body().as_ptr());
}

#[test]
fn options_are_the_collector_s() {
    let all = "{endpoint: 'localhost:14250', tls: {insecure: true}, compression: gzip, headers: {a: b}, timeout: 7s, \
               balancer_name: round_robin, keepalive: {time: 30s, timeout: 10s}, sending_queue: {num_consumers: 2}, \
               retry_on_failure: {max_interval: 10s}}";
    let built = exporter("jaeger", all);
    assert_eq!((built.delivery.timeout, built.delivery.queue.num_consumers), (Duration::from_secs(7), 2));
    assert_eq!(exporter("jaeger", "endpoint: localhost:1").delivery.timeout, Duration::from_secs(5));
    assert!(errors("jaeger", "{}").contains("endpoint: is required"));
    assert!(errors("jaeger", "{endpoint: 'localhost:1', protocol: grpc}").contains("unknown key `protocol`"));
}
