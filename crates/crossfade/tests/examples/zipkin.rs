//! `examples/zipkin-to-otlp.yaml`: spans of Zipkin's clients, of today and of old, reach both backends.

use crate::support::{Running, backends, check_delivered, example, free_port, post};

const SPANS: &[u8] = include_bytes!("../../../legacy/testdata/zipkin/py_zipkin.v2.json");
const OLD_SPANS: &[u8] = include_bytes!("../../../legacy/testdata/zipkin/thriftpy.v1.thrift");

#[test]
fn spans_of_zipkin_reach_the_old_and_the_new_backend() {
    let directory = tempfile::tempdir().unwrap();
    let [port, old, new] = [free_port(), free_port(), free_port()];
    let zipkin = format!("{{endpoint: 'localhost:{old}'}}");
    let otlp = format!("{{protocols: {{grpc: {{endpoint: 'localhost:{new}'}}}}}}");
    let backends = backends(directory.path(), &[("zipkin", &zipkin, "traces"), ("otlp", &otlp, "traces")]);
    let addresses = [
        ("localhost:9411", format!("localhost:{port}")),
        ("localhost:19411", format!("localhost:{old}")),
        ("otlp.example:4317", format!("http://localhost:{new}")),
    ];
    let config = example(directory.path(), "zipkin-to-otlp.yaml", &addresses);
    let processes = (Running::configured(&backends), Running::configured(&config));
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
