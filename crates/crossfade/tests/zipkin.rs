//! `examples/zipkin-to-otlp.yaml` and `examples/opencensus-to-otlp.yaml` as their users run them: what clients of the
//! old protocols send reaches the new backend, and Zipkin the old one as well.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use transport::endpoint::Endpoint;
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};

const BINARY: &str = env!("CARGO_BIN_EXE_crossfade");
const SPANS: &[u8] = include_bytes!("../../legacy/testdata/zipkin/py_zipkin.v2.json");
const OLD_SPANS: &[u8] = include_bytes!("../../legacy/testdata/zipkin/thriftpy.v1.thrift");
const OPENCENSUS: &[u8] = include_bytes!("../../legacy/testdata/opencensus/client.traces.1.pb");

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

/// Waits until each exporter of a process has delivered so many items.
fn check_delivered(config: &Path, expected: &[(&str, u64)]) {
    let mut found = Vec::new();
    for _ in 0..800 {
        let output =
            Command::new(BINARY).args(["ledger", "--format", "json", "--config"]).arg(config).output().unwrap();
        if output.status.success() {
            let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let lines = answer["lines"].as_array().unwrap();
            let delivered = |exporter: &str| -> u64 {
                let lines = lines.iter().filter(|line| line["exporter"] == exporter);
                lines.map(|line| line["delivered_items"].as_u64().unwrap()).sum()
            };
            found = expected.iter().map(|(exporter, _)| (*exporter, delivered(exporter))).collect();
            if found == expected {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("not in time: {found:?} instead of {expected:?}");
}

/// Writes a configuration with an admin endpoint of its own and without own metrics.
fn write(directory: &Path, name: &str, yaml: &str) -> PathBuf {
    let file = directory.join(name);
    let more = format!("\nadmin: {{endpoint: 'localhost:{}'}}\n", free_port());
    let yaml = yaml.replace("service:\n", "service:\n  telemetry: {metrics: {level: none}}\n");
    std::fs::write(&file, yaml + &more).unwrap();
    file
}

/// An example with its addresses replaced.
fn example(directory: &Path, name: &str, addresses: &[(&str, String)]) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let mut yaml = std::fs::read_to_string(path).unwrap();
    for (old, new) in addresses {
        assert!(yaml.contains(old), "{name} has no {old}");
        yaml = yaml.replace(old, new);
    }
    write(directory, name, &yaml)
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
fn spans_of_zipkin_reach_the_old_and_the_new_backend() {
    let directory = tempfile::tempdir().unwrap();
    let [port, old, new] = [free_port(), free_port(), free_port()];
    let backends = format!(
        "receivers:\n  zipkin: {{endpoint: 'localhost:{old}'}}\n  otlp: {{protocols: {{grpc: {{endpoint: \
         'localhost:{new}'}}}}}}\nexporters: {{debug/zipkin: , debug/otlp: }}\nservice:\n  pipelines:\n    traces/zipkin: \
         {{receivers: [zipkin], exporters: [debug/zipkin]}}\n    traces/otlp: {{receivers: [otlp], exporters: \
         [debug/otlp]}}\n"
    );
    let backends = write(directory.path(), "backends.yaml", &backends);
    let addresses = [
        ("localhost:9411", format!("localhost:{port}")),
        ("localhost:19411", format!("localhost:{old}")),
        ("otlp.example:4317", format!("http://localhost:{new}")),
    ];
    let config = example(directory.path(), "zipkin-to-otlp.yaml", &addresses);
    let processes = (Running::start(&backends), Running::start(&config));
    check_delivered(&backends, &[]);
    check_delivered(&config, &[]);
    for (path, content_type, body) in
        [("/api/v2/spans", "application/json", SPANS), ("/api/v1/spans", "application/x-thrift", OLD_SPANS)]
    {
        let answer = post(port, path, content_type, body);
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
    check_delivered(&config, &[("zipkin/old", 5), ("otlp/new", 5)]);
    check_delivered(&backends, &[("debug/zipkin", 5), ("debug/otlp", 5)]);
    drop(processes);
}

#[tokio::test]
async fn spans_of_opencensus_reach_the_new_backend() {
    let directory = tempfile::tempdir().unwrap();
    let [port, new] = [free_port(), free_port()];
    let backend = format!(
        "receivers:\n  otlp: {{protocols: {{grpc: {{endpoint: 'localhost:{new}'}}}}}}\nexporters: {{debug: \
         }}\nservice:\n  pipelines:\n    traces: {{receivers: [otlp], exporters: [debug]}}\n    metrics: {{receivers: \
         [otlp], exporters: [debug]}}\n"
    );
    let backend = write(directory.path(), "backend.yaml", &backend);
    let addresses =
        [("localhost:55678", format!("localhost:{port}")), ("otlp.example:4317", format!("http://localhost:{new}"))];
    let config = example(directory.path(), "opencensus-to-otlp.yaml", &addresses);
    let processes = (Running::start(&backend), Running::start(&config));
    check_delivered(&backend, &[]);
    check_delivered(&config, &[]);
    let endpoint = Endpoint::parse(&format!("localhost:{port}")).unwrap();
    let client = GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap();
    let message = GrpcMessage::plain(Bytes::from_static(OPENCENSUS));
    let method = "/opencensus.proto.agent.trace.v1.TraceService/ExportOne";
    client.call(method, message, &Default::default(), Some(Duration::from_secs(20))).await.unwrap();
    check_delivered(&config, &[("otlp/new", 3)]);
    check_delivered(&backend, &[("debug", 3)]);
    drop(processes);
}
