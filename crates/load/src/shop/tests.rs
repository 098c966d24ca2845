use std::collections::{BTreeMap, BTreeSet};

use otlp::Limits;
use transport::http_client::{HttpClient, HttpClientSettings, HttpRequest};

use super::*;
use crate::receive::{Backend, Checking, Fault, ReceiveSettings};
use crate::verdict::{Outcome, judge};

fn backend() -> Backend {
    let otlp_grpc = Some(Endpoint::parse("127.0.0.1:0").unwrap());
    let settings = ReceiveSettings { otlp_grpc, checking: Checking::Everything, ..ReceiveSettings::default() };
    Backend::start(settings, &Handle::current()).unwrap()
}

fn shop(backend: &Backend) -> Shop {
    let otlp_endpoint = format!("http://{}", backend.addresses().otlp_grpc.as_ref().unwrap());
    Shop::start(ShopSettings { otlp_endpoint, ..ShopSettings::default() }).unwrap()
}

#[tokio::test]
async fn everything_that_the_shop_emits_arrives_once() {
    let backend = backend();
    let shop = shop(&backend);
    tokio::time::sleep(Duration::from_millis(700)).await;
    backend.set_fault(Fault::Refuse { retry_after_ms: None }, None);
    tokio::time::sleep(Duration::from_millis(300)).await;
    backend.set_fault(Fault::Healthy, None);
    while shop.progress().acked_items < 3000 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let reports = shop.close().await;
    let counts = backend.stop().await;
    let verdict = judge("backend", &Signal::ALL, &reports, &counts);
    assert_eq!(verdict.outcome, Outcome::Exact, "{verdict} {counts}");
    assert!(verdict.signals.iter().all(|signal| signal.acked_items > 100), "{verdict:?}");
    assert!(reports[0].retries > 0, "{}", reports[0]);
    assert_eq!(reports[0].failed_items, 0);
}

#[tokio::test]
async fn the_shop_is_scraped() {
    let backend = backend();
    let shop = shop(&backend);
    let url = format!("http://{}/metrics", shop.metrics_address());
    let client = HttpClient::new(HttpClientSettings::default()).unwrap();
    for _ in 0..3 {
        let page = client.send(HttpRequest::get(url.parse().unwrap())).await.unwrap();
        let page = String::from_utf8(page.body.to_vec()).unwrap();
        assert!(page.contains("shop_page_views_total{page=\"home\""), "{page}");
    }
    let reports = shop.close().await;
    assert_eq!((reports[1].protocol.as_str(), reports[1].requests), ("scrape", 3));
    assert_eq!(reports[1].acked_items, reports[1].sent_items / 3 * 2);
}

const TIMETABLE: Timetable =
    Timetable { run: RunId(7), opened_unix_ns: 1_700_000_000_000_000_000, orders_per_s: 100.0 };

#[test]
fn an_order_is_one_trace_through_all_services() {
    let mut parents = BTreeMap::new();
    for service in Service::ALL {
        let batch = traces::encode(service, &TIMETABLE, 0..50);
        let batch = Batch::parse(Signal::Traces, batch.bytes().clone(), &Limits::default()).unwrap();
        for block in batch.traces().unwrap().resource_spans() {
            for span in block.scope_spans().flat_map(|scope| scope.spans()) {
                let of_trace: &mut BTreeMap<_, _> = parents.entry(span.trace_id().unwrap()).or_default();
                of_trace.insert(span.span_id().unwrap(), span.parent_span_id());
            }
        }
    }
    assert_eq!(parents.len(), 50);
    for spans in parents.values() {
        assert_eq!(spans.len(), 7);
        let roots = spans.values().filter(|parent| parent.is_none()).count();
        let known: BTreeSet<_> = spans.keys().copied().map(Some).collect();
        assert_eq!(roots, 1);
        assert!(spans.values().flatten().all(|parent| known.contains(&Some(*parent))));
    }
}

#[tokio::test]
async fn the_metrics_of_the_shop_survive_the_conversion_to_remote_write() {
    let per_export = metrics::series(Service::Payment);
    let export = |number: u64| {
        let now_unix_ns = TIMETABLE.opened_unix_ns + number * 100_000_000;
        metrics::encode(Service::Payment, &TIMETABLE, number * per_export, now_unix_ns)
    };
    let counts = crate::receive::tests::count_by_remote_write((1..=5).map(export)).await;
    let run = counts.run(TIMETABLE.run, Signal::Metrics).unwrap();
    assert_eq!((run.unique_items, run.duplicate_items, run.out_of_order_items), (5 * per_export, 0, 0), "{counts}");
    assert_eq!(run.workers[0].received.0, [(per_export + 1, 6 * per_export)]);
}

#[test]
fn the_rate_is_the_sum_of_all_signals() {
    for rate in [100.0, 3000.0, 20_000.0] {
        let shares = Shares::of(rate);
        let all = |figure: fn(Service) -> u64| Service::ALL.into_iter().map(figure).sum::<u64>() as f64;
        let orders = shares.orders_per_s * (all(traces::spans_per_order) + all(logs::records_per_order));
        let points = all(metrics::series) / shares.metrics_interval.as_secs_f64();
        assert!(((orders + points) / rate - 1.0).abs() < 0.01, "{rate}: {orders} and {points}");
    }
    for rate in [f64::NAN, f64::INFINITY, -1.0] {
        assert!((1.0..10_000.0).contains(&Shares::of(rate).orders_per_s), "{rate}");
    }
}
