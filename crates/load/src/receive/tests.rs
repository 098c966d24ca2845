use http::HeaderMap;
use otlp::encode::LogsEncoder;
use prom::write::{Converter, Metadata, Partition, TargetInfo};
use transport::coding::snappy_block_compress;
use transport::grpc::Code;
use transport::grpc_client::{GrpcClient, GrpcClientSettings, GrpcMessage};
use transport::http_client::{HttpClient, HttpClientSettings, HttpReply, HttpRequest};
use url::Url;

use super::samples::tests::write_series;
use super::*;
use crate::identity::{RUN_LABEL, RunId, WORKER_LABEL, WorkerId};
use crate::payload::{Form, Generator, PayloadSettings};
use crate::protocol::grpc_path;
use crate::sequences::Ranges;

fn backend(faults: FaultPlan) -> Backend {
    let any = || Some(Endpoint::parse("127.0.0.1:0").unwrap());
    let settings = ReceiveSettings {
        otlp_grpc: any(),
        otlp_http: any(),
        remote_write: any(),
        admin: any(),
        faults,
        checking: Checking::Everything,
        ..ReceiveSettings::default()
    };
    Backend::start(settings, &Handle::current()).unwrap()
}

fn url(address: &Option<LocalAddress>, path: &str) -> Url {
    format!("http://{}{path}", address.as_ref().unwrap()).parse().unwrap()
}

async fn http(request: HttpRequest) -> HttpReply {
    HttpClient::new(HttpClientSettings::default()).unwrap().send(request).await.unwrap()
}

async fn post(url: Url, headers: &[(&'static str, &'static str)], body: impl Into<Bytes>) -> HttpReply {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    http(HttpRequest::post(url, headers, body.into())).await
}

/// A request with two samples of one series, and one of another kind.
fn write_request(first_ms: i64) -> Bytes {
    let mut request = Vec::new();
    for (value, timestamp_ms) in [(1.0, first_ms), (2.0, first_ms + 1)] {
        let labels = [("__name__", "load_queue_length"), (RUN_LABEL, "00000007"), (WORKER_LABEL, "0002")];
        write_series(&mut request, &labels, value, timestamp_ms);
    }
    write_series(&mut request, &[("__name__", "up"), ("job", "shop")], 1.0, first_ms);
    snappy_block_compress(&request)
}

#[tokio::test]
async fn remote_write_is_counted_by_sample_and_by_series() {
    let backend = backend(FaultPlan::default());
    let url = url(&backend.addresses().remote_write, "/api/v1/write");
    for _ in 0..2 {
        assert_eq!(post(url.clone(), &[], write_request(1000)).await.status, 204);
    }
    let counts = backend.stop().await;
    let run = counts.run(RunId(7), Signal::Metrics).unwrap();
    assert_eq!((run.requests, run.unique_items, run.duplicate_items, run.out_of_order_items), (2, 2, 2, 1));
    let metrics = counts.signal(Signal::Metrics).unwrap();
    assert_eq!((metrics.items, metrics.unidentified_items), (6, 2));
    // Of the repetition, one sample each is the last one of its series again; the other one is before it.
    assert_eq!((counts.series.series, counts.series.duplicate_samples, counts.series.out_of_order_samples), (2, 2, 1));
}

/// Converts batches as an exporter does, sends them to a backend, and tells what it counted.
pub(crate) async fn count_by_remote_write(batches: impl Iterator<Item = Batch>) -> Counts {
    let backend = backend(FaultPlan::default());
    let url = url(&backend.addresses().remote_write, "/api/v1/write");
    // Several batches of one millisecond repeat `target_info`, which is no fault.
    let settings = prom::write::Settings { target_info: TargetInfo::Omit, ..prom::write::Settings::default() };
    let mut converter = Converter::new(settings, Partition::default());
    for batch in batches {
        assert_eq!(converter.append(&batch, Metadata::Send).total(), 0);
        for request in converter.take() {
            assert_eq!(post(url.clone(), &[], snappy_block_compress(&request.body)).await.status, 204);
        }
    }
    backend.stop().await
}

#[tokio::test]
async fn identities_survive_the_conversion_to_remote_write() {
    let settings = PayloadSettings { items_per_request: 100, series_per_worker: 300, ..PayloadSettings::default() };
    let mut generator = Generator::new(&settings, Signal::Metrics, Form::Protobuf, RunId(7), WorkerId(2));
    let batches = (0..12u64).map(|_| {
        let payload = generator.next(1_700_000_000_000_000_000);
        let batch = Batch::parse(Signal::Metrics, Bytes::copy_from_slice(&payload.bytes), &Limits::default()).unwrap();
        generator.give_back(payload);
        batch
    });
    let counts = count_by_remote_write(batches).await;
    let run = counts.run(RunId(7), Signal::Metrics).unwrap();
    assert_eq!((run.unique_items, run.duplicate_items, run.out_of_order_items), (1200, 0, 0), "{counts}");
    assert_eq!(run.workers[0].received, Ranges(vec![(1, 1200)]));
    assert_eq!(counts.series, SeriesCounts { series: 300, ..SeriesCounts::default() });
}

#[tokio::test]
async fn remote_write_that_is_not_understood_is_refused_for_good() {
    let backend = backend(FaultPlan::default());
    let url = url(&backend.addresses().remote_write, "/");
    assert_eq!(post(url.clone(), &[], "no snappy").await.status, 400);
    assert_eq!(post(url.clone(), &[], &b"\xff\xff\xff\xff\x0f"[..]).await.status, 413);
    let version_2 = [("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")];
    assert_eq!(post(url.clone(), &version_2, write_request(1)).await.status, 415);
    assert_eq!(http(HttpRequest::get(url)).await.status, 405);
    assert_eq!(backend.stop().await.answers.malformed, 2);
}

async fn check_remote_write(fault: Fault, status: u16, retry_after: Option<&str>) {
    let backend = backend(FaultPlan::always(fault));
    let reply = post(url(&backend.addresses().remote_write, "/"), &[], write_request(1)).await;
    assert_eq!(reply.status.as_u16(), status, "{fault}");
    assert_eq!(reply.headers.get("retry-after").map(|value| value.to_str().unwrap()), retry_after, "{fault}");
}

#[tokio::test]
async fn remote_write_fails_as_it_is_told() {
    check_remote_write(Fault::Refuse { retry_after_ms: Some(1200) }, 503, Some("2")).await;
    check_remote_write(Fault::Throttle { retry_after_ms: None }, 429, None).await;
    check_remote_write(Fault::Reject, 400, None).await;
    check_remote_write(Fault::PartialSuccess { rejected_items: 1 }, 400, None).await;
    check_remote_write(Fault::PartialSuccess { rejected_items: 0 }, 204, None).await;
    check_remote_write(Fault::Slow { delay_ms: 5 }, 204, None).await;
    check_remote_write(Fault::LoseAnswer, 503, None).await;
}

#[tokio::test]
async fn the_counts_are_read_and_faults_switched_over_http() {
    let backend = backend(FaultPlan::default());
    let write = url(&backend.addresses().remote_write, "/");
    let admin = |path| url(&backend.addresses().admin, path);
    post(write.clone(), &[], write_request(1)).await;
    let switched = post(admin("/fault"), &[], r#"{"kind":"refuse","retry_after_ms":5,"for_ms":60000}"#).await;
    assert_eq!(switched.status, 200);
    assert_eq!(backend.fault(), Fault::Refuse { retry_after_ms: Some(5) });
    assert_eq!(post(write, &[], write_request(1)).await.status, 503);
    let reply = http(HttpRequest::get(admin("/counts?detail=workers"))).await;
    let counts: Counts = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((counts.answers.accepted, counts.answers.refused), (1, 1));
    assert_eq!(counts.runs, backend.counts(Detail::Workers).runs);
    let totals: Counts = serde_json::from_slice(&http(HttpRequest::get(admin("/counts"))).await.body).unwrap();
    assert!(totals.runs[0].workers.is_empty());
}

#[tokio::test]
async fn the_admin_refuses_what_it_does_not_know_and_pages_of_browsers() {
    let backend = backend(FaultPlan::default());
    let admin = |path| url(&backend.addresses().admin, path);
    assert_eq!(post(admin("/fault"), &[], r#"{"kind":"broken"}"#).await.status, 400);
    assert_eq!(post(admin("/fault"), &[], "{".repeat(100_000)).await.status, 413);
    assert_eq!(post(admin("/fault"), &[("origin", "http://evil.example")], r#"{"kind":"hang"}"#).await.status, 403);
    assert_eq!(http(HttpRequest::get(admin("/fault"))).await.status, 405);
    assert_eq!(http(HttpRequest::get(admin("/counts?detail=all"))).await.status, 400);
    assert_eq!(http(HttpRequest::get(admin("/"))).await.status, 404);
    assert_eq!(backend.fault(), Fault::Healthy);
}

#[tokio::test]
async fn items_of_others_are_counted_without_an_identity() {
    let backend = backend(FaultPlan::default());
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|block| {
        block.scope_logs(|scope| {
            scope.log_record(|record| record.body().string("hello"));
        });
    });
    let url = url(&backend.addresses().otlp_http, "/v1/logs");
    let headers = [("content-type", "application/x-protobuf")];
    assert_eq!(post(url.clone(), &headers, encoder.finish().bytes().clone()).await.status, 200);
    assert_eq!(post(url.clone(), &headers, "\x0a\x7f").await.status, 400);
    assert_eq!(post(url.clone(), &[("content-type", "application/json")], "{").await.status, 400);
    assert_eq!(post(url.clone(), &[("content-type", "text/plain")], "").await.status, 415);
    assert_eq!(http(HttpRequest::get(url)).await.status, 405);
    let counts = backend.stop().await;
    let logs = counts.signal(Signal::Logs).unwrap();
    assert_eq!((logs.requests, logs.items, logs.unidentified_items), (1, 1, 1));
    assert_eq!(counts.answers.malformed, 2);
    assert!(counts.runs.is_empty());
}

#[tokio::test]
async fn malformed_messages_and_unknown_methods_are_refused_over_grpc() {
    let backend = backend(FaultPlan::default());
    let endpoint = Endpoint::parse(&backend.addresses().otlp_grpc.clone().unwrap().to_string()).unwrap();
    let client = GrpcClient::new(GrpcClientSettings::new(endpoint)).unwrap();
    let metadata = HeaderMap::new();
    let call = |path, payload| client.call(path, GrpcMessage::plain(payload), &metadata, None);
    let malformed = call(grpc_path(Signal::Traces), Bytes::from_static(b"\x0a\x7f")).await.unwrap_err();
    assert_eq!(malformed.code, Code::InvalidArgument, "{malformed}");
    let unknown = call("/opentelemetry.proto.collector.profiles.v1.ProfilesService/Export", Bytes::new()).await;
    assert_eq!(unknown.unwrap_err().code, Code::Unimplemented);
    assert!(call(grpc_path(Signal::Logs), Bytes::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_at_the_start() {
    let first = backend(FaultPlan::default());
    let taken = Endpoint::parse(&first.addresses().otlp_grpc.clone().unwrap().to_string()).unwrap();
    let settings = ReceiveSettings { otlp_http: Some(taken), ..ReceiveSettings::default() };
    let error = Backend::start(settings, &Handle::current()).unwrap_err();
    assert!(error.to_string().contains("cannot listen on 127.0.0.1"), "{error}");
}
