//! OTLP over gRPC and over HTTP.
//!
//! Specification: <https://opentelemetry.io/docs/specs/otlp/>.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use otlp::response::{ExportResponse, Status as RpcStatus};
use otlp::{Limits, Signal};
use tokio_util::sync::CancellationToken;
use transport::grpc::{self, Code, GrpcLimits, Status};
use transport::server::{
    self, BodyLimits, Listener, Payload, RequestBody, ResponseBody, ServerSettings, read_payload, text_response,
};

use super::{Answer, Shared, server_settings};
use crate::protocol::{JSON, PROTOBUF, grpc_path, http_path};

const REFUSED: &str = "refused, as this backend was told to";
const REJECTED: &str = "rejected, as this backend was told to";
const PARTIALLY_REJECTED: &str = "the last items are rejected, as this backend was told to";

pub(super) async fn serve_grpc(listener: Listener, shared: Arc<Shared>, stop: CancellationToken) {
    let limits = GrpcLimits { message_bytes_max: shared.request_bytes_max, ..GrpcLimits::default() };
    let handler = move |request: Request<RequestBody>, _connection| {
        let shared = Arc::clone(&shared);
        async move { answer_grpc(request, &limits, &shared).await }
    };
    server::serve(listener, server_settings(ServerSettings::grpc()), handler, stop).await;
}

async fn answer_grpc(request: Request<RequestBody>, limits: &GrpcLimits, shared: &Shared) -> Response<ResponseBody> {
    let path = request.uri().path();
    let Some(signal) = Signal::ALL.into_iter().find(|signal| grpc_path(*signal) == path) else {
        return Status::unknown_method(path).into_response();
    };
    let handler = |call: grpc::UnaryCall| async move {
        let wire_bytes = call.frame.map_or(call.message.len(), |frame| frame.bytes.len());
        let answer = shared.export(signal, call.message, wire_bytes).await;
        grpc_result(answer.map_err(|error| Status::new(Code::InvalidArgument, error))?)
    };
    grpc::unary(request, limits, handler).await
}

fn grpc_result(answer: Answer) -> Result<Bytes, Status> {
    let asking = |code, retry_after: Option<Duration>| {
        let status = Status::new(code, REFUSED);
        Err(match retry_after {
            Some(delay) => status.with_retry_after(delay),
            None => status,
        })
    };
    match answer {
        Answer::Accepted => Ok(Bytes::new()),
        Answer::Partial { rejected_items } => Ok(partial_response(rejected_items).encode().into()),
        Answer::Refused { retry_after } => asking(Code::Unavailable, retry_after),
        Answer::Throttled { retry_after } => asking(Code::ResourceExhausted, retry_after),
        Answer::Rejected => Err(Status::new(Code::InvalidArgument, REJECTED)),
    }
}

fn partial_response(rejected_items: u32) -> ExportResponse {
    ExportResponse { rejected_items: u64::from(rejected_items), error_message: PARTIALLY_REJECTED.to_owned() }
}

pub(super) async fn serve_http(listener: Listener, shared: Arc<Shared>, stop: CancellationToken) {
    let limits = BodyLimits { bytes_max: shared.request_bytes_max, ..BodyLimits::default() };
    let handler = move |request: Request<RequestBody>, _connection| {
        let shared = Arc::clone(&shared);
        async move { answer_http(request, &limits, &shared).await }
    };
    server::serve(listener, server_settings(ServerSettings::default()), handler, stop).await;
}

/// The encoding of a request, in which it is answered.
#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    fn of(content_type: Option<&HeaderValue>) -> Option<Self> {
        let media_type = content_type?.to_str().ok()?.split(';').next()?.trim();
        if media_type.eq_ignore_ascii_case(PROTOBUF) {
            return Some(Encoding::Protobuf);
        }
        media_type.eq_ignore_ascii_case(JSON).then_some(Encoding::Json)
    }
}

async fn answer_http(request: Request<RequestBody>, limits: &BodyLimits, shared: &Shared) -> Response<ResponseBody> {
    let path = request.uri().path();
    let Some(signal) = Signal::ALL.into_iter().find(|signal| http_path(*signal) == path) else {
        return text_response(StatusCode::NOT_FOUND, "OTLP is received under /v1/traces, /v1/metrics and /v1/logs");
    };
    if request.method() != Method::POST {
        return text_response(StatusCode::METHOD_NOT_ALLOWED, "exports are POST requests");
    }
    let (head, body) = request.into_parts();
    let Some(encoding) = Encoding::of(head.headers.get(header::CONTENT_TYPE)) else {
        return text_response(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected application/x-protobuf or application/json",
        );
    };
    let Payload { bytes, frame } = match read_payload(&head.headers, body, limits).await {
        Ok(payload) => payload,
        Err(error) => {
            return status_response(encoding, error.status(), Code::InvalidArgument, &error.to_string(), None);
        }
    };
    let wire_bytes = frame.map_or(bytes.len(), |frame| frame.bytes.len());
    let malformed =
        |error: String| status_response(encoding, StatusCode::BAD_REQUEST, Code::InvalidArgument, &error, None);
    let bytes = match encoding {
        Encoding::Protobuf => bytes,
        Encoding::Json => match otlp::json::decode(signal, &bytes, &Limits::default()) {
            Ok(batch) => batch.bytes().clone(),
            Err(error) => {
                shared.tracker.lock().answers.malformed += 1;
                return malformed(error.to_string());
            }
        },
    };
    match shared.export(signal, bytes, wire_bytes).await {
        Ok(answer) => http_response(signal, encoding, answer),
        Err(error) => malformed(error),
    }
}

fn http_response(signal: Signal, encoding: Encoding, answer: Answer) -> Response<ResponseBody> {
    match answer {
        Answer::Accepted => export_response(signal, encoding, &ExportResponse::default()),
        Answer::Partial { rejected_items } => export_response(signal, encoding, &partial_response(rejected_items)),
        Answer::Refused { retry_after } => {
            status_response(encoding, StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, REFUSED, retry_after)
        }
        Answer::Throttled { retry_after } => {
            status_response(encoding, StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, REFUSED, retry_after)
        }
        Answer::Rejected => status_response(encoding, StatusCode::BAD_REQUEST, Code::InvalidArgument, REJECTED, None),
    }
}

fn export_response(signal: Signal, encoding: Encoding, export: &ExportResponse) -> Response<ResponseBody> {
    let body = match encoding {
        Encoding::Protobuf => export.encode(),
        Encoding::Json => {
            let mut json = Vec::new();
            export.encode_json(signal, &mut json);
            json
        }
    };
    response(encoding, StatusCode::OK, body)
}

fn status_response(
    encoding: Encoding,
    http_status: StatusCode,
    code: Code,
    message: &str,
    retry_after: Option<Duration>,
) -> Response<ResponseBody> {
    let status = RpcStatus { code: i32::from(code as u8), message: message.to_owned(), retry_delay: retry_after };
    let body = match encoding {
        Encoding::Protobuf => status.encode(),
        Encoding::Json => {
            let mut json = Vec::new();
            status.encode_json(&mut json);
            json
        }
    };
    let mut response = response(encoding, http_status, body);
    if let Some(value) = retry_after.map(retry_after_value) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

fn response(encoding: Encoding, status: StatusCode, body: Vec<u8>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = status;
    let content_type = match encoding {
        Encoding::Protobuf => PROTOBUF,
        Encoding::Json => JSON,
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// `Retry-After` has whole seconds only.
pub(super) fn retry_after_value(delay: Duration) -> HeaderValue {
    HeaderValue::from(delay.as_millis().div_ceil(1000).min(u128::from(u32::MAX)) as u32)
}
