//! OTLP/HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response, StatusCode};
use otlp::response::{ExportResponse, Status};
use otlp::{Batch, Limits, Signal};
use transport::server::{RequestBody, ResponseBody, text_response};

use super::batch;
use crate::shared::Intakes;
use crate::shared::http::{Answers, Refusal, media_type, respond, retry_after, unless_post};

/// What answers HTTP requests.
pub(super) struct Service {
    pub(super) intakes: Intakes,
    pub(super) paths: BTreeMap<String, Signal>,
    pub(super) answers: Arc<Answers>,
}

/// The two encodings of OTLP/HTTP. An answer is in the request's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
}

impl Format {
    const fn content_type(self) -> &'static str {
        match self {
            Format::Protobuf => "application/x-protobuf",
            Format::Json => "application/json",
        }
    }

    fn of(headers: &HeaderMap) -> Option<Format> {
        let media_type = media_type(headers);
        [Format::Protobuf, Format::Json].into_iter().find(|format| media_type == format.content_type())
    }
}

impl Service {
    pub(super) async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let Some(signal) = self.paths.get(request.uri().path()).copied() else {
            let known: Vec<&str> = self.paths.keys().map(String::as_str).collect();
            return text_response(StatusCode::NOT_FOUND, format!("unknown path; known are {}", known.join(", ")));
        };
        if let Some(response) = unless_post(request.method()) {
            return response;
        }
        let Some(format) = Format::of(request.headers()) else {
            let expected = "expected the content type `application/x-protobuf` or `application/json`";
            return text_response(StatusCode::UNSUPPORTED_MEDIA_TYPE, expected);
        };
        match self.take(signal, format, request).await {
            Ok(()) => respond(StatusCode::OK, format.content_type(), taken(signal, format)),
            Err(refusal) => refuse(format, refusal),
        }
    }

    async fn take(&self, signal: Signal, format: Format, request: Request<RequestBody>) -> Result<(), Refusal> {
        let intake = self.intakes.get(&signal).ok_or_else(|| {
            let message = format!("no pipeline here takes {signal} from this receiver");
            Refusal::wrong(StatusCode::NOT_FOUND, message)
        })?;
        let (head, body) = request.into_parts();
        let payload = self.answers.payload(&head.headers, body).await?;
        let batch: Result<Batch, String> = match format {
            Format::Protobuf => batch(signal, payload.bytes, payload.frame).map_err(|error| error.to_string()),
            Format::Json => {
                otlp::json::decode(signal, &payload.bytes, &Limits::default()).map_err(|error| error.to_string())
            }
        };
        let batch = batch.map_err(|message| Refusal::wrong(StatusCode::BAD_REQUEST, message))?;
        intake.accept(batch).await.map_err(Refusal::from)
    }
}

/// The answer to a request that was taken whole.
fn taken(signal: Signal, format: Format) -> Bytes {
    match format {
        // An empty message has no fields.
        Format::Protobuf => Bytes::new(),
        Format::Json => {
            let mut json = Vec::new();
            ExportResponse::default().encode_json(signal, &mut json);
            json.into()
        }
    }
}

/// The code of `google.rpc.Code` that says what the HTTP status does.
const fn code(status: StatusCode) -> i32 {
    const INVALID_ARGUMENT: i32 = 3;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const UNAVAILABLE: i32 = 14;
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => RESOURCE_EXHAUSTED,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        _ => INVALID_ARGUMENT,
    }
}

/// OTLP/HTTP, "Failures": the body is a `google.rpc.Status` in the request's encoding.
fn refuse(format: Format, refusal: Refusal) -> Response<ResponseBody> {
    let Refusal { status, message, retry_after: after } = refusal;
    let body = Status { code: code(status), message, retry_delay: after };
    let body = match format {
        Format::Protobuf => body.encode(),
        Format::Json => {
            let mut json = Vec::new();
            body.encode_json(&mut json);
            json
        }
    };
    let mut response = respond(status, format.content_type(), body);
    if let Some(after) = after {
        response.headers_mut().insert(RETRY_AFTER, retry_after(after));
    }
    response
}
