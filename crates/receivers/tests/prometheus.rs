//! The `prometheus` receiver against targets on real sockets.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Request, Response, StatusCode};
use otlp::Signal;
use otlp::view::{AnyValueView, MetricData};
use parking_lot::Mutex;
use support::{Started, errors, start};
use tokio_util::sync::CancellationToken;
use transport::endpoint::Endpoint;
use transport::server::{ConnInfo, PortSharing, RequestBody, ResponseBody, ServerSettings, bind, serve};

/// A target that exposes what it is told.
#[derive(Clone)]
struct Exposing {
    port: u16,
    page: Arc<Mutex<Page>>,
    _stop: Arc<tokio_util::sync::DropGuard>,
}

struct Page {
    status: StatusCode,
    content_type: &'static str,
    location: Option<String>,
    text: String,
    asked: Vec<http::HeaderMap>,
}

impl Exposing {
    async fn start(text: &str) -> Exposing {
        let listener = bind(&Endpoint::parse("127.0.0.1:0").unwrap(), PortSharing::Exclusive).unwrap();
        let page = Page {
            status: StatusCode::OK,
            content_type: "text/plain; version=0.0.4",
            location: None,
            text: text.to_owned(),
            asked: vec![],
        };
        let (page, stop) = (Arc::new(Mutex::new(page)), CancellationToken::new());
        let guard = Arc::new(stop.clone().drop_guard());
        let exposing = Exposing { port: listener.port().unwrap(), page: Arc::clone(&page), _stop: guard };
        let handler = move |request: Request<RequestBody>, _: Arc<ConnInfo>| {
            let mut page = page.lock();
            page.asked.push(request.headers().clone());
            let mut response = Response::new(ResponseBody::full(page.text.clone()));
            *response.status_mut() = page.status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
            if let Some(location) = &page.location {
                response.headers_mut().insert(LOCATION, HeaderValue::from_str(location).unwrap());
            }
            std::future::ready(response)
        };
        tokio::spawn(serve(listener, ServerSettings::default(), handler, stop));
        exposing
    }

    fn set(&self, text: &str) {
        self.page.lock().text = text.to_owned();
    }
}

async fn scraping(target: &Exposing, options: &str) -> Started {
    start("prometheus", &scrape_yaml(target, options), &[Signal::Metrics]).await
}

fn scrape_yaml(target: &Exposing, options: &str) -> String {
    format!(
        "config:\n  scrape_configs:\n    - job_name: shop\n      scrape_interval: 100ms\n      scrape_timeout: \
         90ms\n{options}      static_configs: [{{targets: ['127.0.0.1:{}'], labels: {{team: a}}}}]\n",
        target.port
    )
}

/// One data point: its attributes, its value and whether it has one.
#[derive(Clone, Debug, PartialEq)]
struct Got {
    attributes: BTreeMap<String, String>,
    value: f64,
    stale: bool,
}

/// The number points of each scrape, by metric name.
fn scrapes(started: &Started) -> Vec<BTreeMap<String, Vec<Got>>> {
    let mut all = Vec::new();
    for batch in started.kept.batches() {
        let mut scrape = BTreeMap::<String, Vec<Got>>::new();
        for resource in batch.metrics().unwrap().resource_metrics() {
            for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
                let (MetricData::Gauge { points } | MetricData::Sum { points, .. }) = metric.data() else { continue };
                let got = points.map(|point| Got {
                    attributes: point
                        .attributes()
                        .map(|pair| (pair.key().to_owned(), pair.value().as_str().unwrap_or_default().to_owned()))
                        .collect(),
                    value: point.value().map_or(0.0, otlp::NumberValue::as_double),
                    stale: point.flags() & 1 == 1,
                });
                scrape.entry(metric.name().to_owned()).or_default().extend(got);
            }
        }
        all.push(scrape);
    }
    all
}

/// Waits for a scrape that holds to a condition.
async fn wait(started: &Started, holds: impl Fn(&BTreeMap<String, Vec<Got>>) -> bool) -> BTreeMap<String, Vec<Got>> {
    for _ in 0..500 {
        if let Some(found) = scrapes(started).into_iter().find(|scrape| holds(scrape)) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no such scrape: {:#?}", scrapes(started));
}

fn value(scrape: &BTreeMap<String, Vec<Got>>, name: &str) -> Option<f64> {
    scrape.get(name)?.first().filter(|got| !got.stale).map(|got| got.value)
}

#[tokio::test]
async fn a_scrape_is_one_batch_with_its_report() {
    let target = Exposing::start("# TYPE requests counter\nrequests_total{code=\"200\"} 7\ndepth 3\n").await;
    let started = scraping(&target, "").await;
    let scrape = wait(&started, |scrape| scrape.contains_key("requests_total")).await;
    assert_eq!((value(&scrape, "up"), value(&scrape, "depth")), (Some(1.0), Some(3.0)));
    assert_eq!(value(&scrape, "scrape_samples_scraped"), Some(2.0));
    assert_eq!(value(&scrape, "scrape_samples_post_metric_relabeling"), Some(2.0));
    assert_eq!(value(&scrape, "scrape_series_added"), Some(2.0));
    let point = &scrape["requests_total"][0];
    assert_eq!((point.value, point.attributes["code"].as_str(), point.attributes["team"].as_str()), (7.0, "200", "a"));
    let batch = started.kept.batches().remove(0);
    let resource = batch.metrics().unwrap().resource_metrics().next().unwrap().resource();
    let name = resource.attributes().get("service.name").map(|value| matches!(value, AnyValueView::String("shop")));
    assert_eq!(name, Some(true));
}

#[tokio::test]
async fn a_series_that_vanishes_gets_one_staleness_marker() {
    let target = Exposing::start("a 1\nb 2\n").await;
    let started = scraping(&target, "").await;
    wait(&started, |scrape| scrape.contains_key("b")).await;
    target.set("a 1\n");
    wait(&started, |scrape| scrape.get("b").is_some_and(|points| points[0].stale)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let markers =
        scrapes(&started).iter().filter(|scrape| scrape.get("b").is_some_and(|points| points[0].stale)).count();
    assert_eq!(markers, 1);
}

#[tokio::test]
async fn a_target_that_fails_is_down_and_its_series_end() {
    let target = Exposing::start("a 1\n").await;
    let started = scraping(&target, "").await;
    wait(&started, |scrape| value(scrape, "a") == Some(1.0)).await;
    target.page.lock().status = StatusCode::INTERNAL_SERVER_ERROR;
    let scrape = wait(&started, |scrape| value(scrape, "up") == Some(0.0)).await;
    assert!(scrape["a"][0].stale);
}

#[tokio::test]
async fn a_target_cannot_claim_to_be_another() {
    let target = Exposing::start("a{job=\"bank\",instance=\"vault\",team=\"b\"} 1\n").await;
    let started = scraping(&target, "").await;
    let scrape = wait(&started, |scrape| scrape.contains_key("a")).await;
    let attributes = &scrape["a"][0].attributes;
    assert_eq!((attributes["exported_job"].as_str(), attributes["exported_instance"].as_str()), ("bank", "vault"));
    assert_eq!((attributes["exported_team"].as_str(), attributes["team"].as_str()), ("b", "a"));
}

#[tokio::test]
async fn honor_labels_lets_a_target_say_what_its_series_are() {
    let target = Exposing::start("a{team=\"b\"} 1\n").await;
    let started = scraping(&target, "      honor_labels: true\n").await;
    let scrape = wait(&started, |scrape| scrape.contains_key("a")).await;
    assert_eq!(scrape["a"][0].attributes["team"], "b");
    assert!(!scrape["a"][0].attributes.contains_key("exported_team"));
}

#[tokio::test]
async fn relabelling_drops_and_renames_series() {
    let target = Exposing::start("keep_me{x=\"1\"} 1\ndrop_me 2\n").await;
    let rules = "      metric_relabel_configs:\n        - {source_labels: [__name__], regex: 'drop_.*', action: drop}\n        - \
                 {source_labels: [x], target_label: y, replacement: 'was_$$1'}\n";
    let started = scraping(&target, rules).await;
    let scrape = wait(&started, |scrape| scrape.contains_key("keep_me")).await;
    assert!(!scrape.contains_key("drop_me"));
    assert_eq!(scrape["keep_me"][0].attributes["y"], "was_1");
    assert_eq!(value(&scrape, "scrape_samples_post_metric_relabeling"), Some(1.0));
}

#[tokio::test]
async fn limits_make_a_target_down_and_keep_nothing_of_it() {
    let cases = [
        ("      sample_limit: 2\n", "a 1\nb 2\nc 3\n".to_owned()),
        ("      body_size_limit: 1KB\n", "a 1\n".repeat(1000)),
        ("      label_limit: 3\n", "a{x=\"1\"} 1\n".to_owned()),
        ("      label_value_length_limit: 30\n", format!("a{{x=\"{}\"}} 1\n", "y".repeat(31))),
    ];
    for (options, text) in cases {
        let target = Exposing::start(&text).await;
        let started = scraping(&target, options).await;
        let scrape = wait(&started, |scrape| value(scrape, "up").is_some()).await;
        assert_eq!((value(&scrape, "up"), value(&scrape, "a")), (Some(0.0), None), "{options}");
    }
}

/// What the receiver counts under a name for one cause.
fn counted(started: &Started, name: &str, cause: &str) -> f64 {
    let families = started.metrics.gather();
    let series = families.iter().filter(|family| family.name == name).flat_map(|family| &family.series);
    series.filter(|(labels, _)| labels["cause"] == cause).map(|(_, value)| value).sum()
}

#[tokio::test]
async fn a_flood_of_label_values_makes_its_target_down_and_is_counted() {
    let page: String = (0..5000).map(|index| format!("a{{user=\"{index}\"}} 1\n")).collect();
    let target = Exposing::start(&page).await;
    let yaml = scrape_yaml(&target, "") + "max_series_per_target: 1000\n";
    let started = start("prometheus", &yaml, &[Signal::Metrics]).await;
    let scrape = wait(&started, |scrape| value(scrape, "up").is_some()).await;
    assert_eq!((value(&scrape, "up"), value(&scrape, "a")), (Some(0.0), None));
    let failures = counted(&started, "crossfade_scrape_failures", "series_limit");
    assert!(failures >= 1.0);
    // Beyond the limit nothing was looked at.
    let dropped = counted(&started, "crossfade_scrape_dropped_samples", "series_limit");
    assert!(dropped <= failures * 1001.0 + 1001.0 && dropped >= 1001.0, "{dropped} of {failures}");
    // Back to normal, it is up again.
    target.set("a{user=\"1\"} 1\n");
    wait(&started, |scrape| value(scrape, "up") == Some(1.0) && value(scrape, "a") == Some(1.0)).await;
}

#[tokio::test]
async fn the_report_counts_on_beyond_the_sample_limit() {
    let target = Exposing::start("a 1\nb 2\nc 3\nd 4\n").await;
    let started = scraping(&target, "      sample_limit: 2\n").await;
    let scrape = wait(&started, |scrape| value(scrape, "up") == Some(0.0)).await;
    assert_eq!(value(&scrape, "scrape_samples_scraped"), Some(4.0));
    assert_eq!(value(&scrape, "scrape_samples_post_metric_relabeling"), Some(4.0));
}

#[tokio::test]
async fn an_exposition_that_is_wrong_is_thrown_away_as_a_whole() {
    let target = Exposing::start("a 1\nb{ 2\n").await;
    let started = scraping(&target, "").await;
    let scrape = wait(&started, |scrape| value(scrape, "up") == Some(0.0)).await;
    assert!(!scrape.contains_key("a"));
}

#[tokio::test]
async fn openmetrics_is_asked_for_and_read() {
    let target =
        Exposing::start("# TYPE a counter\na_total 1 # {trace_id=\"00000000000000000000000000000001\"} 1\n# EOF\n")
            .await;
    target.page.lock().content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let started = scraping(&target, "").await;
    wait(&started, |scrape| value(scrape, "a_total") == Some(1.0)).await;
    let asked = target.page.lock().asked[0].clone();
    assert!(asked["accept"].to_str().unwrap().starts_with("application/openmetrics-text;version=1.0.0"));
    assert_eq!(asked["x-prometheus-scrape-timeout-seconds"], "0.09");
}

#[tokio::test]
async fn timestamps_are_honoured_unless_told_otherwise() {
    let target = Exposing::start("a 1 1000\n").await;
    for (options, honoured) in [("", true), ("      honor_timestamps: false\n", false)] {
        let started = scraping(&target, options).await;
        wait(&started, |scrape| scrape.contains_key("a")).await;
        let times: Vec<u64> = started.kept.batches()[0]
            .metrics()
            .unwrap()
            .resource_metrics()
            .flat_map(|resource| resource.scope_metrics())
            .flat_map(|scope| scope.metrics())
            .filter(|metric| metric.name() == "a")
            .flat_map(|metric| match metric.data() {
                MetricData::Gauge { points } => points,
                other => panic!("{other:?}"),
            })
            .map(|point| point.time_unix_nano())
            .collect();
        assert_eq!(times == [1_000_000_000], honoured, "{times:?}");
    }
}

#[tokio::test]
async fn a_redirect_to_a_metadata_address_is_refused() {
    let target = Exposing::start("").await;
    target.page.lock().status = StatusCode::FOUND;
    target.page.lock().location = Some("http://169.254.169.254/latest/meta-data/".to_owned());
    let started = scraping(&target, "").await;
    wait(&started, |scrape| value(scrape, "up") == Some(0.0)).await;
}

#[tokio::test]
async fn credentials_are_sent_and_parameters_too() {
    let target = Exposing::start("a 1\n").await;
    let options = "      basic_auth: {username: u, password: p}\n      params: {match: [x, y]}\n";
    let started = scraping(&target, options).await;
    wait(&started, |scrape| scrape.contains_key("a")).await;
    assert_eq!(target.page.lock().asked[0]["authorization"], "Basic dTpw");
}

#[tokio::test]
async fn targets_in_a_file_come_and_go_with_it() {
    let target = Exposing::start("a 1\n").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("targets.json");
    std::fs::write(&file, format!(r#"[{{"targets": ["127.0.0.1:{}"], "labels": {{"from": "file"}}}}]"#, target.port))
        .unwrap();
    let yaml = format!(
        "config:\n  scrape_configs:\n    - job_name: shop\n      scrape_interval: 100ms\n      file_sd_configs: [{{files: \
         ['{}'], refresh_interval: 100ms}}]\n",
        directory.path().join("*.json").display()
    );
    let started = start("prometheus", &yaml, &[Signal::Metrics]).await;
    let scrape = wait(&started, |scrape| scrape.contains_key("a")).await;
    assert_eq!(scrape["a"][0].attributes["from"], "file");
    std::fs::write(&file, "[]").unwrap();
    let scrape = wait(&started, |scrape| scrape.get("a").is_some_and(|points| points[0].stale)).await;
    assert!(scrape["up"][0].stale, "the report ends, too");
}

#[tokio::test]
async fn targets_come_from_an_http_endpoint() {
    let target = Exposing::start("a 1\n").await;
    let endpoint = Exposing::start(&format!(r#"[{{"targets": ["127.0.0.1:{}"]}}]"#, target.port)).await;
    endpoint.page.lock().content_type = "application/json";
    let yaml = format!(
        "config:\n  scrape_configs:\n    - job_name: shop\n      scrape_interval: 100ms\n      http_sd_configs: [{{url: \
         'http://127.0.0.1:{}/targets'}}]\n",
        endpoint.port
    );
    let started = start("prometheus", &yaml, &[Signal::Metrics]).await;
    wait(&started, |scrape| scrape.contains_key("a")).await;
}

fn check(scrape_config: &str, expected: &str) {
    let said = errors("prometheus", &format!("config: {{scrape_configs: [{{job_name: x, {scrape_config}}}]}}"));
    assert!(said.contains(expected), "expected `{expected}` in: {said}");
}

#[test]
fn a_scrape_configuration_is_checked_as_a_whole() {
    check("scrape_interval: soon", "expected a duration");
    check("scrape_interval: 1s, scrape_timeout: 2s", "is longer than the scrape interval");
    check("relabel_configs: [{action: replase}]", "a relabelling action");
    check("relabel_configs: [{action: keep, regex: '('}]", "regex");
    check("static_configs: [{targets: ['http://a:1/x']}]", "`host:port`");
    check("file_sd_configs: [{files: ['x.txt']}]", "`.json`");
    check("http_sd_configs: [{url: 'file:///etc/passwd'}]", "URL");
    check("dns_sd_configs: [{names: [a]}]", "not built yet: discovery by DNS");
    check("kubernetes_sd_configs: [{role: pods}]", "did you mean `pod`");
    check("ec2_sd_configs: [{region: x}]", "not built yet");
    check("metrics_paht: /x", "did you mean `metrics_path`");
    check("static_config: []", "did you mean `static_configs`");
}

#[test]
fn what_a_scraping_receiver_does_not_take_is_refused() {
    let said = errors("prometheus", "config: {remote_write: [{url: 'http://x'}], scrape_configs: [{job_name: x}]}");
    assert!(said.contains("remote_write: is not taken"), "{said}");
    let said = errors("prometheus", "{}");
    assert!(said.contains("expected a Prometheus configuration"), "{said}");
}
