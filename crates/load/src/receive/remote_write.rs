//! Prometheus remote write 1.0.
//!
//! Specification: <https://prometheus.io/docs/specs/prw/remote_write_spec/>.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use tokio_util::sync::CancellationToken;
use transport::coding::{CodingError, snappy_block_decompress};
use transport::server::{
    self, BodyLimits, Listener, PayloadError, RequestBody, ResponseBody, ServerSettings, read_body, text_response,
};

use super::otlp_server::retry_after_value;
use super::samples::samples;
use super::tracker::Tracker;
use super::{Answer, Shared, arrival, server_settings};

pub(super) async fn serve(listener: Listener, shared: Arc<Shared>, stop: CancellationToken) {
    let limits = BodyLimits { bytes_max: shared.request_bytes_max, ..BodyLimits::default() };
    let handler = move |request: Request<RequestBody>, _connection| {
        let shared = Arc::clone(&shared);
        async move { answer(request, &limits, &shared).await }
    };
    server::serve(listener, server_settings(ServerSettings::default()), handler, stop).await;
}

async fn answer(request: Request<RequestBody>, limits: &BodyLimits, shared: &Shared) -> Response<ResponseBody> {
    if request.method() != Method::POST {
        return text_response(StatusCode::METHOD_NOT_ALLOWED, "remote write is a POST request");
    }
    let (head, body) = request.into_parts();
    if is_another_version(&head.headers) {
        return text_response(StatusCode::UNSUPPORTED_MEDIA_TYPE, "only remote write 1.0 is received here");
    }
    let packed = match read_body(body, limits).await {
        Ok(packed) => packed,
        Err(error) => {
            let error = PayloadError::from(error);
            return text_response(error.status(), error.to_string());
        }
    };
    let request = match snappy_block_decompress(&packed, limits.bytes_max) {
        Ok(request) => request,
        Err(error) => {
            shared.tracker.lock().answers.malformed += 1;
            let status = match error {
                CodingError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                CodingError::Corrupt { .. } => StatusCode::BAD_REQUEST,
            };
            return text_response(status, error.to_string());
        }
    };
    let mut found = samples(&request);
    let arrival = arrival(&request, packed.len());
    drop((request, packed));
    let count = |tracker: &mut Tracker, left_out: u32| {
        let left_out = found.samples.len().min(left_out as usize);
        found.samples.truncate(found.samples.len() - left_out);
        tracker.record_samples(&found, arrival);
        left_out as u32
    };
    response(shared.answer(count).await)
}

/// Whether the content type names the message of remote write 2.0.
fn is_another_version(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.contains("io.prometheus.write.v2")
}

fn response(answer: Answer) -> Response<ResponseBody> {
    let refusal = |status, retry_after: Option<std::time::Duration>| {
        let mut response = text_response(status, "refused, as this backend was told to");
        if let Some(delay) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after_value(delay));
        }
        response
    };
    match answer {
        Answer::Accepted | Answer::Partial { rejected_items: 0 } => {
            let mut response = Response::new(ResponseBody::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Answer::Partial { rejected_items } => text_response(
            StatusCode::BAD_REQUEST,
            format!("the last {rejected_items} samples are rejected, the others are stored"),
        ),
        Answer::Refused { retry_after } => refusal(StatusCode::SERVICE_UNAVAILABLE, retry_after),
        Answer::Throttled { retry_after } => refusal(StatusCode::TOO_MANY_REQUESTS, retry_after),
        Answer::Rejected => refusal(StatusCode::BAD_REQUEST, None),
    }
}
