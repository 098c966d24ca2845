//! `examples/jaeger-to-otlp.yaml` as its user runs it: spans of Jaeger's clients and of OTLP's reach both backends.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use legacy::jaeger;
use legacy::thrift::Protocol;
use otlp::encode::TracesEncoder;
use otlp::{Batch, SpanId, TraceId};

const BINARY: &str = env!("CARGO_BIN_EXE_crossfade");

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A process that is killed with the test.
struct Running(Child);

impl Running {
    fn start(config: &Path) -> Running {
        let mut command = Command::new(BINARY);
        command.args(["run", "--config"]).arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of a process's ledger, once `until` holds.
fn ledger(config: &Path, until: impl Fn(&[serde_json::Value]) -> bool) -> Vec<serde_json::Value> {
    let mut last = Vec::new();
    for _ in 0..800 {
        let output =
            Command::new(BINARY).args(["ledger", "--format", "json", "--config"]).arg(config).output().unwrap();
        if output.status.success() {
            let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            last.clone_from(answer["lines"].as_array().unwrap());
            if until(&last) {
                return last;
            }
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("not in time: {last:?}");
}

fn delivered(lines: &[serde_json::Value], exporter: &str) -> u64 {
    let of_exporter = lines.iter().filter(|line| line["exporter"] == exporter);
    of_exporter.map(|line| line["delivered_items"].as_u64().unwrap()).sum()
}

/// Writes a configuration with an admin endpoint of its own and without own metrics.
fn write(directory: &Path, name: &str, yaml: &str) -> PathBuf {
    let file = directory.join(name);
    let more = format!("\nadmin: {{endpoint: 'localhost:{}'}}\n", free_port());
    let yaml = yaml.replace("service:\n", "service:\n  telemetry: {metrics: {level: none}}\n");
    std::fs::write(&file, yaml + &more).unwrap();
    file
}

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

fn post(port: u16, path: &str, content_type: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("localhost", port)).unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn spans_of_jaeger_and_of_otlp_reach_the_old_and_the_new_backend() {
    let directory = tempfile::tempdir().unwrap();
    let [jaeger_backend, otlp_backend] = [free_port(), free_port()];
    let backends = format!(
        "receivers:\n  jaeger: {{protocols: {{grpc: {{endpoint: 'localhost:{jaeger_backend}'}}}}}}\n  otlp: {{protocols: \
         {{grpc: {{endpoint: 'localhost:{otlp_backend}'}}}}}}\nexporters: {{debug/jaeger: , debug/otlp: }}\nservice:\n  \
         pipelines:\n    traces/jaeger: {{receivers: [jaeger], exporters: [debug/jaeger]}}\n    traces/otlp: {{receivers: \
         [otlp], exporters: [debug/otlp]}}\n"
    );
    let backends = write(directory.path(), "backends.yaml", &backends);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/jaeger-to-otlp.yaml");
    let mut example = std::fs::read_to_string(example).unwrap();
    let receivers = [14250, 14268, 6831, 6832, 4317, 4318].map(|port| (port, free_port()));
    for (port, free) in receivers {
        example = example.replace(&format!("localhost:{port}\n"), &format!("localhost:{free}\n"));
    }
    example = example.replace("jaeger-collector.example:14250", &format!("localhost:{jaeger_backend}"));
    example = example.replace("tempo.example:4317", &format!("localhost:{otlp_backend}"));
    let config = write(directory.path(), "example.yaml", &example);
    let processes = (Running::start(&backends), Running::start(&config));
    ledger(&backends, |_| true);
    ledger(&config, |_| true);

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

    ledger(&config, |lines| [delivered(lines, "jaeger/legacy"), delivered(lines, "otlp/new")] == [4, 4]);
    let lines = ledger(&backends, |lines| lines.iter().all(|line| line["pending_items"] == 0));
    assert_eq!([delivered(&lines, "debug/jaeger"), delivered(&lines, "debug/otlp")], [4, 4], "{lines:?}");
    drop(processes);
}
