//! Counts to read and faults to switch, over HTTP.
//!
//! `GET /counts` answers totals, `GET /counts?detail=workers` what verdicts need, both as JSON. `POST /fault` takes
//! `{"kind":"refuse","retry_after_ms":500,"for_ms":30000}`; without `for_ms` it lasts until the next.

use std::sync::Arc;
use std::time::Duration;

use component::clock;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use transport::server::{
    self, BodyLimits, Listener, PayloadError, RequestBody, ResponseBody, ServerSettings, read_body, text_response,
};

use super::{Detail, Fault, Shared, server_settings};

const BODY_LIMITS: BodyLimits = BodyLimits { bytes_max: 64 << 10, idle_timeout: Some(Duration::from_secs(10)) };

/// The body of `POST /fault`.
#[derive(Deserialize)]
struct FaultRequest {
    #[serde(flatten)]
    fault: Fault,
    #[serde(default)]
    for_ms: Option<u64>,
}

pub(super) async fn serve(listener: Listener, shared: Arc<Shared>, stop: CancellationToken) {
    let handler = move |request: Request<RequestBody>, _connection| {
        let shared = Arc::clone(&shared);
        async move { answer(request, &shared).await }
    };
    server::serve(listener, server_settings(ServerSettings::default()), handler, stop).await;
}

async fn answer(request: Request<RequestBody>, shared: &Shared) -> Response<ResponseBody> {
    // No page in a browser has any business here.
    if request.headers().contains_key(header::ORIGIN) {
        return text_response(StatusCode::FORBIDDEN, "requests from web pages are refused");
    }
    match (request.method().clone(), request.uri().path()) {
        (Method::GET, "/counts") => match request.uri().query() {
            None | Some("" | "detail=totals") => json(&shared.counts(Detail::Totals)),
            Some("detail=workers") => json(&shared.counts(Detail::Workers)),
            Some(_) => text_response(StatusCode::BAD_REQUEST, "expected ?detail=totals or ?detail=workers"),
        },
        (Method::POST, "/fault") => switch_fault(request.into_body(), shared).await,
        (_, "/counts" | "/fault") => {
            text_response(StatusCode::METHOD_NOT_ALLOWED, "expected GET /counts or POST /fault")
        }
        _ => text_response(StatusCode::NOT_FOUND, "expected GET /counts or POST /fault"),
    }
}

async fn switch_fault(body: RequestBody, shared: &Shared) -> Response<ResponseBody> {
    let body = match read_body(body, &BODY_LIMITS).await {
        Ok(body) => body,
        Err(error) => {
            let error = PayloadError::from(error);
            return text_response(error.status(), error.to_string());
        }
    };
    match serde_json::from_slice::<FaultRequest>(&body) {
        Ok(FaultRequest { fault, for_ms }) => {
            shared.faults.switch(fault, for_ms.map(Duration::from_millis), clock::mono());
            json(&fault)
        }
        Err(error) => text_response(StatusCode::BAD_REQUEST, format!("no fault: {error}")),
    }
}

fn json(value: &impl Serialize) -> Response<ResponseBody> {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut response = Response::new(ResponseBody::full(body));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => text_response(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
