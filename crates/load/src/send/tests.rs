use proptest::prelude::*;
use transport::endpoint::Endpoint;
use transport::server::LocalAddress;

use super::*;
use crate::receive::{Backend, Checking, Counts, Detail, Fault, FaultPlan, ReceiveSettings};
use crate::verdict::{Outcome, judge};

const RUN: RunId = RunId(0xabcd);

/// Starts a backend for all protocols on ports of the system's choice.
fn backend(faults: FaultPlan, checking: Checking) -> Backend {
    let any = || Some(Endpoint::parse("127.0.0.1:0").unwrap());
    let settings =
        ReceiveSettings { otlp_grpc: any(), otlp_http: any(), faults, checking, ..ReceiveSettings::default() };
    Backend::start(settings, &tokio::runtime::Handle::current()).unwrap()
}

fn destination(backend: &Backend, protocol: Protocol) -> Destination {
    let address = match protocol {
        Protocol::OtlpGrpc => &backend.addresses().otlp_grpc,
        Protocol::OtlpHttpProtobuf | Protocol::OtlpHttpJson => &backend.addresses().otlp_http,
    };
    let Some(LocalAddress::Tcp(address)) = address else { panic!("it listens") };
    Destination::new(protocol, address.to_string())
}

fn settings(destination: Destination, items: u64) -> SendSettings {
    let payload = PayloadSettings { series_per_worker: 200, ..PayloadSettings::default() };
    SendSettings { amount: Amount::Items(items), payload, ..SendSettings::new(destination, RUN) }
}

async fn send(settings: SendSettings) -> SendReport {
    tokio::time::timeout(Duration::from_secs(60), Sending::start(settings).unwrap().wait()).await.unwrap()
}

async fn check_exact(protocol: Protocol, compression: Coding) {
    let backend = backend(FaultPlan::default(), Checking::Everything);
    let destination = Destination { compression, ..destination(&backend, protocol) };
    let report = send(settings(destination, 4050)).await;
    assert_eq!((report.sent_items, report.acked_items, report.retries), (4050, 4050, 0), "{report}");
    let counts = backend.stop().await;
    assert_eq!(counts.items(), 4050, "{protocol} {compression}");
    let compressed: u64 = counts.signals.iter().map(|signal| signal.wire_bytes).sum();
    let plain: u64 = counts.signals.iter().map(|signal| signal.bytes).sum();
    // The backend sees the bytes that were sent, JSON aside, which it turns into protobuf.
    if protocol != Protocol::OtlpHttpJson || compression != Coding::Identity {
        assert_eq!((compressed, compressed < plain), (report.wire_bytes, compression != Coding::Identity));
    }
    let verdict = judge("backend", &Signal::ALL, &[report], &counts);
    assert_eq!(verdict.to_string(), "backend: all 4050 acknowledged items arrived, none twice");
}

#[tokio::test]
async fn everything_arrives_once_over_grpc() {
    for compression in Coding::ALL {
        check_exact(Protocol::OtlpGrpc, compression).await;
    }
}

#[tokio::test]
async fn everything_arrives_once_over_http_in_protobuf() {
    for compression in Coding::ALL {
        check_exact(Protocol::OtlpHttpProtobuf, compression).await;
    }
}

#[tokio::test]
async fn everything_arrives_once_over_http_in_json() {
    for compression in Coding::ALL {
        check_exact(Protocol::OtlpHttpJson, compression).await;
    }
}

/// Waits until something has come to pass.
async fn until(mut has_come: impl FnMut() -> bool) {
    let patience = async {
        while !has_come() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), patience).await.unwrap();
}

/// Sends against a backend that is healthy again once it has failed some requests.
async fn send_through(fault: Fault, protocol: Protocol) -> (SendReport, Counts) {
    let backend = backend(FaultPlan::always(fault), Checking::Identities);
    let destination = Destination { timeout: Duration::from_millis(500), ..destination(&backend, protocol) };
    let sending = Sending::start(settings(destination, 6000)).unwrap();
    until(|| {
        let answers = backend.counts(Detail::Totals).answers;
        answers.refused + answers.hung + answers.lost_answers + answers.swallowed >= 8
    })
    .await;
    backend.set_fault(Fault::Healthy, None);
    let report = tokio::time::timeout(Duration::from_secs(60), sending.wait()).await.unwrap();
    (report, backend.stop().await)
}

async fn check_survives(fault: Fault, cause: &str, outcome: Outcome) {
    for protocol in [Protocol::OtlpGrpc, Protocol::OtlpHttpProtobuf, Protocol::OtlpHttpJson] {
        let (report, counts) = send_through(fault, protocol).await;
        assert_eq!((report.acked_items, report.failed_items, report.rejected_items), (6000, 0, 0), "{report}");
        let causes: Vec<_> = report.refusals.iter().map(|refusal| refusal.cause.as_str()).collect();
        assert!(cause.split('|').any(|cause| causes == [cause]), "{causes:?}");
        assert!(report.retries > 0);
        let verdict = judge("backend", &Signal::ALL, &[report], &counts);
        assert_eq!(verdict.outcome, outcome, "{verdict}");
    }
}

#[tokio::test]
async fn refused_requests_are_tried_again_and_nothing_is_lost() {
    check_survives(Fault::Refuse { retry_after_ms: None }, "UNAVAILABLE|HTTP 503", Outcome::Exact).await;
    check_survives(Fault::Throttle { retry_after_ms: Some(1) }, "RESOURCE_EXHAUSTED|HTTP 429", Outcome::Exact).await;
}

#[tokio::test]
async fn requests_without_an_answer_are_tried_again_and_nothing_is_lost() {
    // Both sides know the deadline over gRPC; whoever is first tells.
    check_survives(Fault::Hang, "no answer in time|DEADLINE_EXCEEDED", Outcome::Exact).await;
}

#[tokio::test]
async fn lost_answers_make_duplicates_that_are_counted() {
    check_survives(Fault::LoseAnswer, "UNAVAILABLE|HTTP 503", Outcome::Duplicated).await;
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_honoured() {
    let fault = Fault::Refuse { retry_after_ms: Some(700) };
    for protocol in [Protocol::OtlpGrpc, Protocol::OtlpHttpProtobuf] {
        let backend = backend(FaultPlan::always(fault), Checking::Identities);
        let sending = Sending::start(settings(destination(&backend, protocol), 600)).unwrap();
        until(|| backend.counts(Detail::Totals).answers.refused == 3).await;
        backend.set_fault(Fault::Healthy, None);
        let report = sending.wait().await;
        assert_eq!((report.acked_items, report.retries), (600, 3), "one for each request");
        assert!(report.latency.p50_ms >= 700.0, "{report}");
    }
}

#[tokio::test]
async fn swallowed_requests_are_missed() {
    for protocol in [Protocol::OtlpGrpc, Protocol::OtlpHttpProtobuf] {
        let (report, counts) = send_through(Fault::Swallow, protocol).await;
        assert_eq!(report.acked_items, 6000);
        let verdict = judge("backend", &Signal::ALL, &[report], &counts);
        assert_eq!(verdict.outcome, Outcome::Lossy);
        let lost: u64 = verdict.signals.iter().map(|signal| signal.lost_items).sum();
        assert_eq!(lost, 6000 - counts.items());
        assert!(lost > 0 && !verdict.signals[0].lost_examples.is_empty());
    }
}

#[tokio::test]
async fn what_is_rejected_for_good_is_not_tried_again() {
    for protocol in [Protocol::OtlpGrpc, Protocol::OtlpHttpProtobuf, Protocol::OtlpHttpJson] {
        let backend = backend(FaultPlan::always(Fault::Reject), Checking::Identities);
        let report = send(settings(destination(&backend, protocol), 1000)).await;
        assert_eq!((report.rejected_items, report.acked_items, report.retries), (1000, 0, 0), "{report}");
        assert!(report.refusals[0].example.contains("rejected, as this backend was told to"), "{report}");
        let counts = backend.stop().await;
        assert_eq!((counts.items(), counts.answers.rejected), (0, report.requests));
        assert_eq!(judge("b", &Signal::ALL, &[report], &counts).outcome, Outcome::Inconclusive);
    }
}

#[tokio::test]
async fn a_partial_success_is_counted_and_final() {
    for protocol in [Protocol::OtlpGrpc, Protocol::OtlpHttpProtobuf, Protocol::OtlpHttpJson] {
        let backend = backend(FaultPlan::always(Fault::PartialSuccess { rejected_items: 3 }), Checking::Identities);
        let report = send(settings(destination(&backend, protocol), 1000)).await;
        assert_eq!((report.requests, report.retries), (5, 0));
        assert_eq!((report.rejected_items, report.failed_items, report.acked_items), (15, 985, 0), "{report}");
        assert_eq!(backend.stop().await.items(), 985);
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_fails_the_items_in_time() {
    for protocol in [Protocol::OtlpGrpc, Protocol::OtlpHttpProtobuf] {
        let gone = backend(FaultPlan::default(), Checking::Identities);
        let mut destination = destination(&gone, protocol);
        gone.stop().await;
        destination.retry_for = Duration::from_millis(300);
        let report = send(settings(destination, 400)).await;
        assert_eq!((report.failed_items, report.acked_items), (400, 0), "{report}");
        assert_eq!(report.refusals[0].cause, "not reachable");
    }
}

#[tokio::test]
async fn the_end_of_the_drain_cuts_what_hangs() {
    let backend = backend(FaultPlan::always(Fault::Hang), Checking::Identities);
    let settings = SendSettings {
        amount: Amount::Duration(Duration::from_millis(100)),
        drain_timeout: Duration::from_millis(100),
        ..settings(destination(&backend, Protocol::OtlpGrpc), 0)
    };
    let report = send(settings).await;
    assert_eq!((report.failed_items, report.acked_items), (8 * 200, 0), "each worker had one request under way");
    assert!(report.duration_ms < 5000);
}

#[tokio::test]
async fn a_rate_is_kept_and_a_stop_stops() {
    let backend = backend(FaultPlan::default(), Checking::Identities);
    let settings = SendSettings {
        rate: Rate::ItemsPerS(10_000.0),
        amount: Amount::Endless,
        payload: PayloadSettings { items_per_request: 50, ..PayloadSettings::default() },
        ..settings(destination(&backend, Protocol::OtlpGrpc), 0)
    };
    let sending = Sending::start(settings).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let progress = sending.progress();
    let stopper = sending.stopper();
    let (report, ()) = tokio::join!(sending.wait(), async { stopper.stop() });
    let due = 10_000.0 * progress.elapsed.as_secs_f64() - report.skipped_items as f64;
    assert!((0.9..1.1).contains(&(progress.sent_items as f64 / due)), "{progress:?} {report}");
    assert_eq!(backend.counts(Detail::Totals).items(), report.acked_items);
}

#[tokio::test]
async fn generators_can_share_a_run() {
    let backend = backend(FaultPlan::default(), Checking::Identities);
    let first = settings(destination(&backend, Protocol::OtlpGrpc), 2000);
    let second =
        SendSettings { first_worker: WorkerId(8), ..settings(destination(&backend, Protocol::OtlpGrpc), 2000) };
    let reports = [send(first).await, send(second).await];
    let verdict = judge("b", &Signal::ALL, &reports, &backend.stop().await);
    assert_eq!(verdict.to_string(), "b: all 4000 acknowledged items arrived, none twice");
}

#[tokio::test]
async fn the_same_run_twice_is_found_out() {
    let backend = backend(FaultPlan::default(), Checking::Identities);
    let mut reports = Vec::new();
    for _ in 0..2 {
        let one_worker = SendSettings {
            connections: 1,
            in_flight_per_connection: 1,
            ..settings(destination(&backend, Protocol::OtlpGrpc), 2000)
        };
        reports.push(send(one_worker).await);
    }
    let verdict = judge("b", &Signal::ALL, &reports, &backend.stop().await);
    assert_eq!(verdict.to_string(), "b: all 2000 acknowledged items arrived, 2000 more arrived as duplicates");
}

#[test]
fn settings_beyond_their_bounds_are_refused() {
    let check = |change: &dyn Fn(&mut SendSettings), expected: &str| {
        let mut settings = settings(Destination::new(Protocol::OtlpGrpc, "localhost:1"), 1);
        change(&mut settings);
        let error = Sending::start(settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&|settings| settings.signals.clear(), "no signal");
    check(&|settings| settings.connections = 0, "connections is 0: expected 1 to 1000");
    check(&|settings| settings.first_worker = WorkerId(u16::MAX), "at most 65535");
    check(&|settings| (settings.connections, settings.in_flight_per_connection) = (5, 1000), "at most 4096");
    check(&|settings| settings.payload.items_per_request = 0, "items_per_request is 0");
    check(
        &|settings| {
            settings.connections = 1000;
            settings.payload.items_per_request = 10_000;
        },
        "the memory for requests",
    );
    check(&|settings| settings.rate = Rate::ItemsPerS(f64::NAN), "rate_items_per_s is NaN");
    check(&|settings| settings.destination.endpoint = "localhost".to_owned(), "the port is missing");
}

#[test]
fn a_destination_is_printed_without_its_secrets() {
    let mut destination = Destination::new(Protocol::OtlpHttpProtobuf, "http://user:secret@localhost:4318");
    destination.headers.insert("x-api-key", "secret".parse().unwrap());
    let printed = format!("{:?}", settings(destination, 1));
    assert!(printed.contains("x-api-key") && printed.contains("http://localhost:4318"), "{printed}");
    assert!(!printed.contains("secret"), "{printed}");
}

#[test]
fn a_report_is_stable_json() {
    let report = SendReport { run_id: RUN, protocol: "otlp-grpc".to_owned(), acked_items: 7, ..SendReport::default() };
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["run_id"], 0xabcd);
    assert_eq!(json["acked_items"], 7);
    assert_eq!(json["latency"]["p99_ms"], 0.0);
    assert_eq!(serde_json::from_value::<SendReport>(json).unwrap(), report);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_shape_of_request_is_counted_exactly(
        items in 1u64..3000,
        items_per_request in 1u32..300,
        resources_per_request in 1u32..5,
        connections in 1u16..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let backend = backend(FaultPlan::default(), Checking::Everything);
            let resources_per_request = resources_per_request.min(items_per_request);
            let payload = PayloadSettings { items_per_request, resources_per_request, ..PayloadSettings::default() };
            let settings = SendSettings { payload, connections, ..settings(destination(&backend, Protocol::OtlpGrpc), items) };
            let report = send(settings).await;
            let verdict = judge("b", &Signal::ALL, &[report], &backend.stop().await);
            assert_eq!(verdict.to_string(), format!("b: all {items} acknowledged items arrived, none twice"));
        });
    }
}
