//! OTLP/HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::{Refused, StartError};
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use otlp::response::{ExportResponse, Status};
use otlp::{Batch, Limits, Signal};
use tokio_util::sync::CancellationToken;
use transport::coding::Coding;
use transport::server::{
    BodyLimits, ConnInfo, Listener, RequestBody, ResponseBody, ServerSettings, read_payload, text_response,
};

use super::cors::Cors;
use super::{Intakes, batch};

/// What answers HTTP requests.
pub(super) struct Service {
    pub(super) intakes: Intakes,
    pub(super) paths: BTreeMap<String, Signal>,
    pub(super) answers: Answers,
}

/// What the configuration says of requests and answers.
pub(super) struct Answers {
    pub(super) limits: BodyLimits,
    /// Fields of every answer.
    pub(super) headers: HeaderMap,
    /// The codings that are taken; none: all of them.
    pub(super) codings: Option<Vec<Coding>>,
    pub(super) cors: Option<Cors>,
}

pub(super) async fn serve(
    listener: Listener,
    settings: ServerSettings,
    service: Arc<Service>,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let handler = move |request: Request<RequestBody>, _: Arc<ConnInfo>| {
        let service = Arc::clone(&service);
        async move { service.answer(request).await }
    };
    transport::server::serve(listener, settings, handler, stop).await;
    Ok(())
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
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next()?.trim();
        [Format::Protobuf, Format::Json].into_iter().find(|format| essence.eq_ignore_ascii_case(format.content_type()))
    }
}

/// A refusal: the HTTP status, the gRPC code of its `Status` body, and the words.
struct Refusal {
    status: StatusCode,
    code: i32,
    message: String,
    retry_after: Option<Duration>,
}

/// Codes of `google.rpc.Code`.
const INVALID_ARGUMENT: i32 = 3;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNAVAILABLE: i32 = 14;

impl Refusal {
    fn wrong(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, code: INVALID_ARGUMENT, message: message.into(), retry_after: None }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Retry { after, cause } => Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: UNAVAILABLE,
                message: cause,
                retry_after: Some(after),
            },
            Refused::Permanent { cause } => Refusal {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                code: RESOURCE_EXHAUSTED,
                message: cause,
                retry_after: None,
            },
        }
    }
}

impl Service {
    async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let origin = request.headers().get(http::header::ORIGIN).cloned();
        let mut response = self.route(request).await;
        let headers = response.headers_mut();
        headers.extend(self.answers.headers.clone());
        if let (Some(cors), Some(origin)) = (&self.answers.cors, origin) {
            cors.allow(&origin, headers);
        }
        response
    }

    async fn route(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let Some(signal) = self.paths.get(request.uri().path()).copied() else {
            let known: Vec<&str> = self.paths.keys().map(String::as_str).collect();
            return text_response(StatusCode::NOT_FOUND, format!("unknown path; known are {}", known.join(", ")));
        };
        if request.method() == Method::OPTIONS && self.answers.cors.is_some() {
            let cors = self.answers.cors.as_ref();
            return cors
                .map_or_else(|| no_content(HeaderMap::new()), |cors| no_content(cors.preflight(request.headers())));
        }
        if request.method() != Method::POST {
            let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, "OTLP requests are POST requests");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let Some(format) = Format::of(request.headers()) else {
            let expected = "expected the content type `application/x-protobuf` or `application/json`";
            return text_response(StatusCode::UNSUPPORTED_MEDIA_TYPE, expected);
        };
        match self.take(signal, format, request).await {
            Ok(()) => respond(StatusCode::OK, format, taken(signal, format)),
            Err(refusal) => refuse(format, &refusal),
        }
    }

    async fn take(&self, signal: Signal, format: Format, request: Request<RequestBody>) -> Result<(), Refusal> {
        let intake = self.intakes.get(&signal).ok_or_else(|| {
            let message = format!("no pipeline here takes {signal} from this receiver");
            Refusal::wrong(StatusCode::NOT_FOUND, message)
        })?;
        let (head, body) = request.into_parts();
        self.check_coding(&head.headers)?;
        let payload = read_payload(&head.headers, body, &self.answers.limits).await;
        let payload = payload.map_err(|error| Refusal::wrong(error.status(), error.to_string()))?;
        let batch: Result<Batch, String> = match format {
            Format::Protobuf => batch(signal, payload.bytes, payload.frame).map_err(|error| error.to_string()),
            Format::Json => {
                otlp::json::decode(signal, &payload.bytes, &Limits::default()).map_err(|error| error.to_string())
            }
        };
        let batch = batch.map_err(|message| Refusal::wrong(StatusCode::BAD_REQUEST, message))?;
        intake.accept(batch).await.map_err(Refusal::from)
    }

    /// `compression_algorithms`.
    fn check_coding(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let (Some(allowed), Some(named)) = (&self.answers.codings, headers.get(CONTENT_ENCODING)) else {
            return Ok(());
        };
        let coding = named.to_str().ok().and_then(Coding::parse);
        match coding {
            Some(coding) if coding == Coding::Identity || allowed.contains(&coding) => Ok(()),
            _ => {
                let message = format!("the content coding {named:?} is not among `compression_algorithms` here");
                Err(Refusal::wrong(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
            }
        }
    }
}

fn no_content(headers: HeaderMap) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers;
    response
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

fn respond(status: StatusCode, format: Format, body: Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response
}

/// OTLP/HTTP, "Failures": the body is a `google.rpc.Status` in the request's encoding.
fn refuse(format: Format, refusal: &Refusal) -> Response<ResponseBody> {
    let status = Status { code: refusal.code, message: refusal.message.clone(), retry_delay: refusal.retry_after };
    let body = match format {
        Format::Protobuf => status.encode(),
        Format::Json => {
            let mut json = Vec::new();
            status.encode_json(&mut json);
            json
        }
    };
    let mut response = respond(refusal.status, format, body.into());
    if let Some(after) = refusal.retry_after {
        let seconds = after.as_secs().max(1);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
