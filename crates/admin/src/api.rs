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
//! Errors are `{"error": "…"}`.

use http::{Request, Response, StatusCode};
use pipeline::{Ledger, ReplayError, ReplayRequest, Replays};
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
            _ => wrong(StatusCode::NOT_FOUND, "unknown path; there are /api/v1/ledger and /api/v1/replays"),
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
