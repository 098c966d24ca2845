//! `examples/opencensus-to-otlp.yaml`: what OpenCensus' clients send reaches the new backend.

use std::time::Duration;

use bytes::Bytes;
use transport::endpoint::Endpoint;
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};

use crate::support::{Running, backends, check_delivered, example, free_port};

const SPANS: &[u8] = include_bytes!("../../../legacy/testdata/opencensus/client.traces.1.pb");

#[tokio::test]
async fn spans_of_opencensus_reach_the_new_backend() {
    let directory = tempfile::tempdir().unwrap();
    let [port, new] = [free_port(), free_port()];
    let otlp = format!("{{protocols: {{grpc: {{endpoint: 'localhost:{new}'}}}}}}");
    let backends = backends(directory.path(), &[("otlp", &otlp, "traces")]);
    let addresses =
        [("localhost:55678", format!("localhost:{port}")), ("otlp.example:4317", format!("http://localhost:{new}"))];
    let config = example(directory.path(), "opencensus-to-otlp.yaml", &addresses);
    let processes = (Running::configured(&backends), Running::configured(&config));
    let endpoint = Endpoint::parse(&format!("localhost:{port}")).unwrap();
    let client = GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap();
    let message = GrpcMessage::plain(Bytes::from_static(SPANS));
    let method = "/opencensus.proto.agent.trace.v1.TraceService/ExportOne";
    client.call(method, message, &Default::default(), Some(Duration::from_secs(20))).await.unwrap();
    check_delivered(&config, &[("otlp/new", 3)]);
    check_delivered(&backends, &[("debug/otlp", 3)]);
    drop(processes);
}
