//! Requests and their answers.

use std::sync::Arc;

use component::{Arrivals, Intake, Unit, clock};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use legacy::influx::{LineError, Precision, Reader};
use serde_json::json;
use transport::server::{RequestBody, ResponseBody, text_response};

use crate::shared::http::{Answers, Refusal, respond, retry_after, unless_post};

/// What answers requests.
pub(super) struct Service {
    pub(super) intake: Intake,
    pub(super) arrivals: Arrivals,
    pub(super) answers: Arc<Answers>,
}

/// The version of the API, which says how a refusal is worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Clients ask for it to know whom they speak to.
const VERSION: HeaderName = HeaderName::from_static("x-influxdb-version");

impl Service {
    pub(super) async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let version = match request.uri().path() {
            "/write" => Version::V1,
            "/api/v2/write" => Version::V2,
            "/ping" | "/health" if matches!(*request.method(), Method::GET | Method::HEAD) => {
                return alive(request.uri().path());
            }
            _ => {
                return text_response(
                    StatusCode::NOT_FOUND,
                    "unknown path; known are /write, /api/v2/write, /ping and /health",
                );
            }
        };
        if let Some(response) = unless_post(request.method()) {
            return response;
        }
        match self.take(request).await {
            Ok(()) => empty(),
            Err(refusal) => refuse(version, refusal),
        }
    }

    async fn take(&self, request: Request<RequestBody>) -> Result<(), Refusal> {
        let precision = precision(request.uri().query().unwrap_or_default())?;
        let (head, body) = request.into_parts();
        let payload = self.answers.payload(&head.headers, body).await?;
        let mut faults = Faults::default();
        let mut reader = Reader::new(precision, clock::unix_ns());
        let taken = reader.read(&payload.bytes, |error| faults.add(error));
        let without_number = reader.lines_without_number();
        let batch = reader.finish();
        if batch.items() > 0 {
            self.intake.accept(batch).await.map_err(Refusal::from)?;
        }
        // Only now: what is refused is sent again, and its lines come again.
        self.arrivals.received(Unit::Lines, taken + faults.lines);
        self.arrivals.lost(Unit::Lines, "no_number", without_number);
        for (cause, lines) in &faults.causes {
            self.arrivals.lost(Unit::Lines, cause, *lines);
        }
        faults.into_refusal(taken)
    }
}

/// The lines of a request that cannot be taken.
#[derive(Default)]
struct Faults {
    lines: u64,
    causes: std::collections::BTreeMap<&'static str, u64>,
    first: Option<LineError>,
}

impl Faults {
    fn add(&mut self, error: &LineError) {
        self.lines += 1;
        *self.causes.entry(error.fault.cause()).or_default() += 1;
        self.first.get_or_insert_with(|| error.clone());
    }

    /// In InfluxDB's words: `partial write`, where other lines were taken, and how many were not.
    fn into_refusal(self, taken: u64) -> Result<(), Refusal> {
        let Some(first) = self.first else { return Ok(()) };
        let what = if taken > 0 { "partial write: " } else { "" };
        let message = format!("{what}unable to parse {first} dropped={}", self.lines);
        Err(Refusal::wrong(StatusCode::BAD_REQUEST, message))
    }
}

/// `precision` of the query; nanoseconds, where there is none.
fn precision(query: &str) -> Result<Precision, Refusal> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    match pairs.find(|(key, _)| key == "precision") {
        None => Ok(Precision::default()),
        Some((_, name)) if name.is_empty() => Ok(Precision::default()),
        Some((_, name)) => Precision::parse(&name).ok_or_else(|| {
            let message = format!("unknown precision {name:?}: expected `ns`, `us`, `ms`, `s`, `m` or `h`");
            Refusal::wrong(StatusCode::BAD_REQUEST, message)
        }),
    }
}

fn empty() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn alive(path: &str) -> Response<ResponseBody> {
    let mut response = match path {
        "/ping" => empty(),
        _ => respond(StatusCode::OK, "application/json", json!({"name": "crossfade", "status": "pass"}).to_string()),
    };
    let version = HeaderValue::from_static(concat!("crossfade-", env!("CARGO_PKG_VERSION")));
    response.headers_mut().insert(VERSION, version);
    response
}

/// A refusal as the clients of a version read it.
fn refuse(version: Version, refusal: Refusal) -> Response<ResponseBody> {
    let Refusal { status, message, retry_after: after } = refusal;
    let code = match status {
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        StatusCode::PAYLOAD_TOO_LARGE => "request too large",
        _ => "invalid",
    };
    let body = match version {
        Version::V1 => json!({"error": message}),
        Version::V2 => json!({"code": code, "message": message}),
    };
    let mut response = respond(status, "application/json", body.to_string());
    if let Some(after) = after {
        response.headers_mut().insert(RETRY_AFTER, retry_after(after));
    }
    response
}
