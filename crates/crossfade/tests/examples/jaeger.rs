//! `examples/jaeger-to-otlp.yaml`: spans of Jaeger's clients and of OTLP's reach both backends.

use std::net::UdpSocket;

use legacy::jaeger;
use legacy::thrift::Protocol;
use otlp::encode::TracesEncoder;
use otlp::{Batch, SpanId, TraceId};

use crate::support::{Running, backends, check_delivered, example, free_port, post};

fn span(service: &str) -> Batch {
    let mut encoder = TracesEncoder::new();
    encoder.resource_spans(|block| {
        block.resource(|resource| {
            resource.attributes().string("service.name", service);
        });
        block.scope_spans(|scope| {
            scope.span(|span| {
                span.trace_id(TraceId::new([7; 16])).span_id(SpanId::new([8; 8])).name("POST /orders");
                span.start_time_unix_nano(1_000).end_time_unix_nano(2_000);
            });
        });
    });
    encoder.finish()
}

#[test]
fn spans_of_jaeger_and_of_otlp_reach_the_old_and_the_new_backend() {
    let directory = tempfile::tempdir().unwrap();
    let [old, new] = [free_port(), free_port()];
    let grpc = |port: u16| format!("{{protocols: {{grpc: {{endpoint: 'localhost:{port}'}}}}}}");
    let backends = backends(directory.path(), &[("jaeger", &grpc(old), "traces"), ("otlp", &grpc(new), "traces")]);
    let receivers = [14250, 14268, 6831, 6832, 4317, 4318].map(|port| (port, free_port()));
    let known: Vec<String> = receivers.iter().map(|(port, _)| format!("localhost:{port}\n")).collect();
    let replaced =
        known.iter().zip(receivers).map(|(known, (_, free))| (known.as_str(), format!("localhost:{free}\n")));
    let outside = [
        ("jaeger-collector.example:14250", format!("localhost:{old}")),
        ("tempo.example:4317", format!("localhost:{new}")),
    ];
    let addresses: Vec<_> = replaced.chain(outside).collect();
    let config = example(directory.path(), "jaeger-to-otlp.yaml", &addresses);
    let processes = (Running::configured(&backends), Running::configured(&config));

    let port = |known: u16| receivers.iter().find(|(port, _)| *port == known).unwrap().1;
    let socket = UdpSocket::bind("localhost:0").unwrap();
    for (known, protocol) in [(6831, Protocol::Compact), (6832, Protocol::Binary)] {
        let datagram = jaeger::to_datagrams(&span("agent"), protocol).remove(0);
        socket.send_to(&datagram, ("localhost", port(known))).unwrap();
    }
    let body = jaeger::to_thrift(&span("collector"), Protocol::Binary).remove(0);
    let answer = post(port(14268), "/api/traces", "application/x-thrift", &body);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let answer = post(port(4318), "/v1/traces", "application/x-protobuf", span("moved").bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    check_delivered(&config, &[("jaeger/legacy", 4), ("otlp/new", 4)]);
    check_delivered(&backends, &[("debug/jaeger", 4), ("debug/otlp", 4)]);
    drop(processes);
}
