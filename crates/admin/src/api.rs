//! The paths of the API.
//!
//! | | |
//! |---|---|
//! | `GET /api/v1/ledger` | what became of every item: [`LedgerReport`] |
//! | `GET /api/v1/replays` | every replay of this process: a list of [`ReplayStatus`](pipeline::ReplayStatus) |
//! | `POST /api/v1/replays` | begins one: a [`ReplayRequest`]; answers 202 with its status |
//! | `GET /api/v1/replays/ID` | one of them |
//! | `POST /api/v1/replays/ID/cancel` | ends it, with the body `{}` |
//!
//! | `GET /api/v1/parity` | every verdict, as `docs/parity-report.schema.json` has it; `?format=` `table`, `junit`, `markdown` or `html` |
//! | `GET /api/v1/parity/series?metric=NAME` | the series of a metric on both sides, as far as they are remembered |
//! | `GET /parity` | the report as a page |
//!
//! Errors are `{"error": "…"}`.

use http::{Request, Response, StatusCode};
use pipeline::{Ledger, Parity, ReplayError, ReplayRequest, Replays};
use serde::Serialize;
use transport::server::{BodyLimits, RequestBody, ResponseBody, read_body};

use crate::ledger::LedgerReport;
use crate::server::{json, only};

/// A request's body is no larger.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What the admin API answers from.
#[derive(Clone)]
pub struct Admin {
    /// The ledger.
    pub ledger: Ledger,
    /// Replays; none where nothing runs.
    pub replays: Option<Replays>,
    /// The comparison; none where the configuration has no migration.
    pub parity: Option<Parity>,
}

#[derive(Serialize)]
struct Wrong {
    error: String,
}

impl Admin {
    pub(crate) async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let path = request.uri().path().to_owned();
        let changes = request.method() == http::Method::POST;
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (segments.as_slice(), changes, &self.replays) {
            (["api", "v1", "ledger"], false, _) => json(&LedgerReport::take(&self.ledger)),
            (["api", "v1", "ledger"], true, _) => only("GET, HEAD"),
            (["api", "v1", "replays"], false, Some(replays)) => json(&replays.list()),
            (["api", "v1", "replays"], true, Some(replays)) => begin(replays, request).await,
            (["api", "v1", "replays", id], false, Some(replays)) => {
                let status = id.parse().ok().and_then(|id| replays.status(id));
                status.map_or_else(|| wrong(StatusCode::NOT_FOUND, "no such replay"), |status| json(&status))
            }
            (["api", "v1", "replays", id, "cancel"], true, Some(replays)) => {
                match id.parse().is_ok_and(|id| replays.cancel(id)) {
                    true => json(&serde_json::json!({})),
                    false => wrong(StatusCode::NOT_FOUND, "no such replay"),
                }
            }
            (["parity"] | ["api", "v1", "parity", ..], true, _) => only("GET, HEAD"),
            (["parity"] | ["api", "v1", "parity", ..], false, _) => self.parity(&segments, request.uri().query()),
            _ => {
                let known = "unknown path; there are /api/v1/ledger, /api/v1/replays and /api/v1/parity";
                wrong(StatusCode::NOT_FOUND, known)
            }
        }
    }
}

impl Admin {
    fn parity(&self, segments: &[&str], query: Option<&str>) -> Response<ResponseBody> {
        let Some(parity) = &self.parity else {
            return wrong(StatusCode::NOT_FOUND, "nothing is compared: the configuration has no `migration`");
        };
        let asked = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        match segments {
            ["parity"] => crate::parity::answer(parity, "html", None),
            ["api", "v1", "parity"] => {
                let columns = asked("columns").and_then(|columns| columns.parse().ok());
                crate::parity::answer(parity, asked("format").as_deref().unwrap_or("json"), columns)
            }
            ["api", "v1", "parity", "series"] => match asked("metric") {
                Some(metric) => json(&parity.drawings(&metric)),
                None => wrong(StatusCode::BAD_REQUEST, "expected `?metric=NAME`, by the name that the report gives it"),
            },
            _ => wrong(StatusCode::NOT_FOUND, "unknown path; there are /api/v1/parity and /api/v1/parity/series"),
        }
    }
}

async fn begin(replays: &Replays, request: Request<RequestBody>) -> Response<ResponseBody> {
    let limits = BodyLimits { bytes_max: BODY_BYTES_MAX, ..BodyLimits::default() };
    let body = match read_body(request.into_body(), &limits).await {
        Ok(body) => body,
        Err(error) => return wrong(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let request = match serde_json::from_slice::<ReplayRequest>(&body) {
        Ok(request) => request,
        Err(error) => return wrong(StatusCode::BAD_REQUEST, error.to_string()),
    };
    match replays.start(request) {
        Ok(id) => {
            let mut response = json(&replays.status(id));
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
        Err(error @ ReplayError::TooMany) => wrong(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
        Err(error @ ReplayError::InMemory) => wrong(StatusCode::CONFLICT, error.to_string()),
        Err(error) => wrong(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

fn wrong(status: StatusCode, error: impl Into<String>) -> Response<ResponseBody> {
    let mut response = json(&Wrong { error: error.into() });
    *response.status_mut() = status;
    response
}
