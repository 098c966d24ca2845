//! The answers to scrapes.

use std::sync::Arc;

use bytes::Bytes;
use component::clock;
use component::metrics::{Counter, Description, Metrics};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use transport::coding::{Coding, Level, compress};
use transport::server::{RequestBody, ResponseBody, text_response};

use super::exposition::{self, Timestamps};
use super::merge::Accumulator;
use super::negotiate::{Compression, Exposition, OpenMetrics};

/// So many pages exist at once, made or being sent. A page may be as large as what it is made of.
const PAGES_MAX: usize = 8;

const PATH: &str = "/metrics";

/// Answers scrapes.
pub(super) struct Service {
    pub(super) accumulator: Arc<Mutex<Accumulator>>,
    pub(super) open_metrics: OpenMetrics,
    pub(super) timestamps: Timestamps,
    /// Fields of every answer, from the configuration.
    pub(super) headers: HeaderMap,
    pub(super) pages: Arc<Semaphore>,
    pub(super) stats: Stats,
}

/// What happened to scrapes.
pub(super) struct Stats {
    answered: Counter,
    refused: Counter,
}

impl Stats {
    pub(super) fn new(metrics: &Metrics, exporter: &str) -> Stats {
        const SCRAPES: Description = Description::counter(
            "crossfade_prometheus_exporter_scrapes",
            "Scrapes of a prometheus exporter, by whether they got a page or there were too many at once.",
        );
        let counter = |result| metrics.counter(SCRAPES, &[("exporter", exporter), ("result", result)]);
        Stats { answered: counter("answered"), refused: counter("too_many") }
    }
}

/// A bound for the pages that exist at once.
pub(super) fn pages() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(PAGES_MAX))
}

impl Service {
    pub(super) async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let mut response = self.route(&request).await;
        let headers = response.headers_mut();
        harden(headers);
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        response
    }

    async fn route(&self, request: &Request<RequestBody>) -> Response<ResponseBody> {
        if request.uri().path() != PATH {
            return text_response(StatusCode::NOT_FOUND, "unknown path; the metrics are at /metrics\n");
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, "only GET here\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let Ok(permit) = Arc::clone(&self.pages).try_acquire_owned() else {
            self.stats.refused.add(1);
            let mut response =
                text_response(StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once; try again shortly\n");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        };
        let exposition = Exposition::negotiate(request.headers(), self.open_metrics);
        let compression = Compression::negotiate(request.headers());
        self.page(exposition, compression, permit).await
    }

    async fn page(
        &self,
        exposition: Exposition,
        compression: Compression,
        permit: OwnedSemaphorePermit,
    ) -> Response<ResponseBody> {
        let (accumulator, timestamps) = (Arc::clone(&self.accumulator), self.timestamps);
        // A large store takes as long as many requests: it must not hold up what else runs on this thread.
        let made = tokio::task::spawn_blocking(move || {
            let page = exposition::write(&accumulator, exposition, timestamps, clock::mono());
            match compression {
                Compression::None => Bytes::from(page),
                Compression::Gzip => compress(Coding::Gzip, Level::Fast, &page),
            }
        });
        let Ok(page) = made.await else {
            tracing::error!("an exposition could not be made");
            return text_response(StatusCode::INTERNAL_SERVER_ERROR, "the exposition could not be made\n");
        };
        self.stats.answered.add(1);
        let page = Bytes::from_owner(HeldPage { page, _permit: permit });
        let mut response = Response::new(ResponseBody::full(page));
        let headers = response.headers_mut();
        if let Ok(content_type) = HeaderValue::from_str(&exposition.content_type()) {
            headers.insert(CONTENT_TYPE, content_type);
        }
        if compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        response
    }
}

/// A page that makes room for the next one when it has been sent, or its connection has gone.
struct HeldPage {
    page: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldPage {
    fn as_ref(&self) -> &[u8] {
        &self.page
    }
}

/// Nothing here is to be framed, guessed at, kept, or run.
fn harden(headers: &mut HeaderMap) {
    let fields = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fields {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
