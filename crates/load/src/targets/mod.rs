//! Targets to scrape: any number of them behind one port, with deterministic counters, gauges and histograms.
//!
//! `GET /targets/3/metrics` is the page of target 3, `GET /metrics` that of target 0, and `GET /sd` lists all in the form
//! of Prometheus' HTTP discovery. Each answered page has the next number of its target, which its values tell; a target
//! is therefore to be scraped by one scraper.
//!
//! ```
//! use load::targets::{Targets, TargetSettings};
//! use transport::endpoint::Endpoint;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let settings = TargetSettings { listen: Endpoint::parse("127.0.0.1:0")?, targets: 3, ..TargetSettings::default() };
//! let targets = Targets::start(&settings, runtime.handle())?;
//! println!("discover the targets at http://{}/sd", targets.address());
//! assert_eq!(targets.pages(), 0);
//! # Ok(()) }
//! ```

mod exposition;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use component::clock::{self, Mono};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use prom::text::Format;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use transport::coding::{Coding, Level, compress};
use transport::endpoint::Endpoint;
use transport::server::{
    self, BindError, LocalAddress, PortSharing, RequestBody, ResponseBody, ServerSettings, text_response,
};

use crate::identity::{RunId, WorkerId};
use crate::send::{ScrapedPages, SendReport};
use exposition::families;
pub(crate) use exposition::{Exposition, Family, Kind};

/// What is exposed, and where.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// Where all targets are served.
    pub listen: Endpoint,
    /// How many targets there are: 1 to 10,000.
    pub targets: u16,
    /// Samples of each page: 1 to [`TargetSettings::SAMPLES_MAX`]. About half belong to histograms, a quarter each are
    /// counters and gauges.
    pub samples_per_page: u32,
    /// After so many pages a series ends and another one takes its place; the ends are spread evenly. Never, if absent.
    pub lifetime_pages: Option<NonZeroU32>,
    /// The run that the values belong to.
    pub run_id: RunId,
    /// The worker of the first target; the others follow.
    pub first_worker: WorkerId,
    /// Chooses the labels.
    pub seed: u64,
}

impl TargetSettings {
    /// The most samples of a page.
    pub const SAMPLES_MAX: u32 = 1_000_000;
    /// The most targets.
    pub const TARGETS_MAX: u16 = 10_000;
}

impl Default for TargetSettings {
    /// One target with a thousand samples, on localhost, at a port that the system chooses.
    fn default() -> Self {
        TargetSettings {
            listen: Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 },
            targets: 1,
            samples_per_page: 1000,
            lifetime_pages: None,
            run_id: RunId(1),
            first_worker: WorkerId(0x8000),
            seed: 0,
        }
    }
}

/// Running targets. Dropping them stops them.
#[derive(Debug)]
pub struct Targets {
    shared: Arc<Shared>,
    address: LocalAddress,
    server: TaskTracker,
    stop: CancellationToken,
    started: Mono,
    started_unix_ms: u64,
    _stop_on_drop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    exposition: Exposition,
    /// Pages that were answered.
    pages: AtomicU64,
}

impl Targets {
    /// Opens the port and serves on this runtime. Figures beyond their bounds count as the bounds.
    ///
    /// # Errors
    /// [`BindError`], if the address cannot be had.
    pub fn start(settings: &TargetSettings, runtime: &Handle) -> Result<Targets, BindError> {
        let count = settings.targets.clamp(1, TargetSettings::TARGETS_MAX);
        let samples = settings.samples_per_page.clamp(1, TargetSettings::SAMPLES_MAX);
        let families = families(samples, settings.seed);
        let expositions = (0..count).map(|index| Exposition {
            run: settings.run_id,
            worker: WorkerId(settings.first_worker.0.wrapping_add(index)),
            families: families.clone(),
            lifetime_pages: settings.lifetime_pages.map(NonZeroU32::get),
        });
        Targets::serve(&settings.listen, expositions.collect(), runtime)
    }

    pub(crate) fn serve(
        listen: &Endpoint,
        expositions: Vec<Exposition>,
        runtime: &Handle,
    ) -> Result<Targets, BindError> {
        let _within = runtime.enter();
        let listener = server::bind(listen, PortSharing::Exclusive)?;
        let address = listener.local();
        let targets = expositions.into_iter().map(|exposition| Target { exposition, pages: AtomicU64::new(0) });
        let shared = Arc::new(Shared { targets: targets.collect() });
        let stop = CancellationToken::new();
        let server = TaskTracker::new();
        let handler = {
            let shared = Arc::clone(&shared);
            move |request: Request<RequestBody>, _connection| {
                let shared = Arc::clone(&shared);
                async move { shared.answer(&request) }
            }
        };
        server.spawn_on(server::serve(listener, ServerSettings::default(), handler, stop.clone()), runtime);
        server.close();
        let stop_on_drop = stop.clone().drop_guard();
        Ok(Targets {
            shared,
            address,
            server,
            stop,
            started: clock::mono(),
            started_unix_ms: clock::unix_ms(),
            _stop_on_drop: stop_on_drop,
        })
    }

    /// Where they are served.
    pub fn address(&self) -> &LocalAddress {
        &self.address
    }

    /// How many pages were answered so far, of all targets together.
    pub fn pages(&self) -> u64 {
        self.shared.targets.iter().map(|target| target.pages.load(Ordering::Relaxed)).sum()
    }

    /// Stops serving. The report says for a verdict what was exposed: every page but the last one of each target counts
    /// as acknowledged, since its scraper came back for more.
    pub async fn stop(self) -> SendReport {
        self.stop.cancel();
        self.server.wait().await;
        let run_id = self.shared.targets.first().map_or(RunId::default(), |target| target.exposition.run);
        let pages = self.shared.targets.iter().map(|target| ScrapedPages {
            worker: target.exposition.worker,
            pages: target.pages.load(Ordering::Relaxed),
            items_per_page: target.exposition.identities(),
        });
        let duration = clock::mono().saturating_duration_since(self.started);
        SendReport::of_scrapes(run_id, self.address.to_string(), self.started_unix_ms, duration, pages)
    }
}

/// One group of the answer to HTTP discovery.
#[derive(Serialize)]
struct Group {
    targets: [String; 1],
    labels: GroupLabels,
}

#[derive(Serialize)]
struct GroupLabels {
    #[serde(rename = "__metrics_path__")]
    metrics_path: String,
    target: String,
}

impl Shared {
    fn answer(&self, request: &Request<RequestBody>) -> Response<ResponseBody> {
        if request.method() != Method::GET {
            return text_response(StatusCode::METHOD_NOT_ALLOWED, "targets are read with GET");
        }
        let path = request.uri().path();
        if path == "/sd" {
            return self.discovery(request);
        }
        let number = match path {
            "/metrics" => Some(0),
            _ => path.strip_prefix("/targets/").and_then(|rest| rest.strip_suffix("/metrics")?.parse::<usize>().ok()),
        };
        match number.and_then(|number| self.targets.get(number)) {
            Some(target) => target.page(request.headers()),
            None => text_response(StatusCode::NOT_FOUND, "expected /metrics, /targets/0/metrics or /sd"),
        }
    }

    fn discovery(&self, request: &Request<RequestBody>) -> Response<ResponseBody> {
        // Under the name by which the targets were reached, for that is how they can be reached.
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let Some(address) = authority.or(host) else {
            return text_response(StatusCode::BAD_REQUEST, "the host is missing");
        };
        let groups: Vec<_> = (0..self.targets.len())
            .map(|number| Group {
                targets: [address.to_owned()],
                labels: GroupLabels { metrics_path: format!("/targets/{number}/metrics"), target: number.to_string() },
            })
            .collect();
        match serde_json::to_vec(&groups) {
            Ok(body) => response("application/json", body.into()),
            Err(error) => text_response(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

impl Target {
    fn page(&self, headers: &HeaderMap) -> Response<ResponseBody> {
        let format = accepted_format(headers);
        let page = self.pages.fetch_add(1, Ordering::Relaxed);
        let body = self.exposition.render(page, format);
        let content_type = match format {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        };
        if !accepts_gzip(headers) {
            return response(content_type, body.into());
        }
        let mut response = response(content_type, compress(Coding::Gzip, Level::Fast, &body));
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    }
}

fn response(content_type: &'static str, body: bytes::Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The format that the scraper likes best, of those that it names (RFC 9110, section 12.5.1); else the text format.
fn accepted_format(headers: &HeaderMap) -> Format {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut best = (Format::Text, 0.0);
    for range in accept.split(',') {
        let weight = range.split(';').find_map(|parameter| parameter.trim().strip_prefix("q=")?.parse().ok());
        let weight: f64 = weight.unwrap_or(1.0);
        if let Some(format) = Format::from_content_type(range)
            && weight > best.1
        {
            best = (format, weight);
        }
    }
    best.0
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT_ENCODING).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|coding| coding.split(';').next().is_some_and(|name| name.trim() == "gzip"))
}

#[cfg(test)]
mod tests {
    use transport::http_client::{HttpClient, HttpClientSettings, HttpReply, HttpRequest};

    use super::*;

    fn check_format(accept: &'static str, expected: Format) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        assert_eq!(accepted_format(&headers), expected, "{accept}");
    }

    #[test]
    fn the_format_is_the_one_that_the_scraper_likes_best() {
        check_format("", Format::Text);
        check_format("*/*", Format::Text);
        check_format("application/openmetrics-text", Format::OpenMetrics);
        check_format(
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            Format::OpenMetrics,
        );
        check_format("application/openmetrics-text;q=0.1, text/plain;version=0.0.4;q=0.9", Format::Text);
    }

    async fn get(targets: &Targets, path: &str, headers: &[(&'static str, &'static str)]) -> HttpReply {
        let mut request = HttpRequest::get(format!("http://{}{path}", targets.address()).parse().unwrap());
        request.headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        HttpClient::new(HttpClientSettings::default()).unwrap().send(request).await.unwrap()
    }

    fn targets() -> Targets {
        let settings = TargetSettings { targets: 3, samples_per_page: 100, ..TargetSettings::default() };
        Targets::start(&settings, &Handle::current()).unwrap()
    }

    #[tokio::test]
    async fn each_target_counts_its_own_pages() {
        let targets = targets();
        let metrics = get(&targets, "/metrics", &[]).await;
        assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert!(!metrics.body.ends_with(b"# EOF\n"));
        let openmetrics = [("accept", "application/openmetrics-text")];
        let metrics = get(&targets, "/targets/0/metrics", &openmetrics).await;
        assert!(metrics.body.ends_with(b"# EOF\n"));
        get(&targets, "/targets/2/metrics", &[]).await;
        assert_eq!(get(&targets, "/targets/3/metrics", &[]).await.status, 404);
        assert_eq!(targets.pages(), 3);
        let report = targets.stop().await;
        let per_page = report.workers[0].sent_items / 2;
        let found: Vec<_> = report.workers.iter().map(|worker| (worker.sent_items, worker.acked.len())).collect();
        assert_eq!(found, [(2 * per_page, per_page), (0, 0), (per_page, 0)]);
        assert_eq!((report.requests, report.acked_items, report.failed_items), (3, per_page, 2 * per_page));
    }

    #[tokio::test]
    async fn discovery_lists_every_target() {
        let targets = targets();
        let reply = get(&targets, "/sd", &[]).await;
        let groups: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(groups.as_array().unwrap().len(), 3);
        assert_eq!(groups[1]["targets"][0], targets.address().to_string());
        assert_eq!(groups[1]["labels"]["__metrics_path__"], "/targets/1/metrics");
        assert_eq!(targets.pages(), 0);
    }

    #[tokio::test]
    async fn a_page_is_compressed_for_those_who_ask() {
        let targets = targets();
        let plain = get(&targets, "/targets/0/metrics", &[]).await;
        // The client decompresses what it asked for.
        let packed = get(&targets, "/targets/1/metrics", &[("accept-encoding", "zstd, gzip;q=1.0")]).await;
        assert_eq!(plain.body.len(), packed.body.len());
    }
}
