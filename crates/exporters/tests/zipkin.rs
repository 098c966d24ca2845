//! The `zipkin` exporter against a backend on a real socket.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use legacy::zipkin::{Encoding, StringTags, decode};
use otlp::encode::TracesEncoder;
use otlp::{Batch, SpanId, TraceId};
use support::{Answer, Backend, errors, exporter, header, said, send};
use transport::coding::Coding;

fn answer(status: u16, headers: HeaderMap) -> Answer {
    Answer::Http(StatusCode::from_u16(status).unwrap(), headers, "no".into())
}

fn yaml(backend: &Backend, options: &str) -> String {
    format!("endpoint: http://127.0.0.1:{}/api/v2/spans\n{options}", backend.port)
}

fn spans(items: u8) -> Batch {
    let mut encoder = TracesEncoder::new();
    encoder.resource_spans(|block| {
        block.scope_spans(|scope| {
            for index in 0..items {
                // The first has no id.
                scope.span(|span| {
                    span.trace_id(TraceId::new([index; 16])).span_id(SpanId::new([index; 8])).name("work");
                    span.start_time_unix_nano(1000).end_time_unix_nano(2000);
                });
            }
        });
    });
    encoder.finish()
}

/// A batch of spans that all have ids.
fn whole(items: u8) -> Batch {
    let parts = spans(items + 1).split(otlp::SplitLimits { items_max: 1, bytes_max: 0 });
    Batch::concat(otlp::Signal::Traces, &parts[1..])
}

#[tokio::test]
async fn both_formats_arrive_as_what_they_were() {
    let backend = Backend::start(answer(202, HeaderMap::new())).await;
    let forms = [
        ("", "application/json", Encoding::JsonV2),
        ("format: json\ncompression: gzip", "application/json", Encoding::JsonV2),
        ("format: proto\ncompression: zstd", "application/x-protobuf", Encoding::ProtobufV2),
    ];
    for (options, content_type, encoding) in forms {
        assert_eq!(said(&send(&exporter("zipkin", &yaml(&backend, options)), &whole(3)).await), "delivered");
        let got = backend.got().pop().unwrap();
        assert_eq!((got.path.as_str(), got.headers["content-type"].to_str().unwrap()), ("/api/v2/spans", content_type));
        let coding = got.frame.map_or(Coding::Identity, |(coding, _)| coding).name();
        assert!(options.is_empty() || options.ends_with(coding) || coding == "identity", "{options} {coding}");
        let batch = decode(encoding, &got.payload, StringTags::Kept).unwrap();
        assert_eq!(batch.items(), 3);
        let block = batch.traces().unwrap().resource_spans().next().unwrap();
        let service = block.resource().attributes().get("service.name").unwrap();
        assert_eq!(service.as_str(), Some("<missing service name>"));
    }
}

#[tokio::test]
async fn a_service_without_a_name_has_the_configured_one() {
    let backend = Backend::start(answer(202, HeaderMap::new())).await;
    send(&exporter("zipkin", &yaml(&backend, "default_service_name: legacy")), &whole(1)).await;
    let body = String::from_utf8(backend.got()[0].payload.to_vec()).unwrap();
    assert!(body.contains(r#""localEndpoint":{"serviceName":"legacy"}"#), "{body}");
}

#[test]
fn spans_without_an_id_are_rejected_and_counted_and_the_others_go() {
    let built = exporter("zipkin", "endpoint: http://127.0.0.1:1");
    let encoded = built.exporter.encode(&spans(3));
    assert_eq!((encoded.requests.len(), encoded.requests[0].items), (1, 2));
    let rejected: Vec<(u64, &str)> =
        encoded.rejected.iter().map(|one| (one.items, one.failure.cause.as_ref())).collect();
    assert_eq!(rejected, [(1, "without_id")]);
    let encoded = built.exporter.encode(&spans(1));
    assert_eq!((encoded.requests.len(), encoded.rejected[0].items), (0, 1));
}

#[test]
fn exporters_of_the_same_form_share_what_the_first_of_them_made() {
    let batch = whole(3);
    let [first, second, other] = ["{}", "x", "{}"].map(|name| {
        let yaml = format!("endpoint: http://127.0.0.1:1\ndefault_service_name: {}", name.trim_matches(['{', '}']));
        exporter("zipkin", &yaml).exporter.encode(&batch).requests.remove(0).body
    });
    assert_eq!(first.as_ptr(), other.as_ptr());
    assert_ne!(first, second);
}

#[tokio::test]
async fn answers_become_outcomes() {
    let backend = Backend::start(answer(202, HeaderMap::new())).await;
    let exporter = exporter("zipkin", &yaml(&backend, ""));
    let cases = [
        (answer(200, HeaderMap::new()), "delivered"),
        (answer(429, header("retry-after", "11")), "retry after 11s: http_429"),
        (answer(500, HeaderMap::new()), "retry: http_500"),
        (answer(503, HeaderMap::new()), "retry: http_503"),
        (answer(400, HeaderMap::new()), "reject: http_400"),
        (answer(404, HeaderMap::new()), "reject: http_404"),
    ];
    for (answer, expected) in cases {
        backend.set(answer);
        assert_eq!(said(&send(&exporter, &whole(1)).await), expected);
    }
    let nobody = support::exporter("zipkin", "endpoint: http://127.0.0.1:1/api/v2/spans");
    assert_eq!(said(&send(&nobody, &whole(1)).await), "retry: unreachable");
}

#[test]
fn the_options_are_the_collector_s() {
    assert_eq!(exporter("zipkin", "endpoint: http://localhost:1").delivery.timeout, Duration::from_secs(5));
    assert!(errors("zipkin", "{}").contains("endpoint: is required"));
    assert!(errors("zipkin", "{endpoint: 'http://localhost:1', format: thrift}").contains("format"));
}
