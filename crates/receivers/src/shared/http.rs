//! Receivers that take requests over HTTP: settings, payloads within limits, and refusals.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::{BuildContext, Refused, StartError};
use config::Section;
use config::shapes::HttpServer;
use futures_util::future::{Either, ready};
use http::header::{ALLOW, CONTENT_ENCODING, ORIGIN, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;
use transport::coding::Coding;
use transport::configured;
use transport::endpoint::Endpoint;
use transport::server::{
    BodyLimits, ConnInfo, Listener, Payload, Preflights, RequestBody, ResponseBody, ServerSettings, read_payload,
    text_response,
};

use super::cors::Cors;
use super::local;

/// What a server of a receiver runs on.
pub(crate) struct HttpSettings {
    pub(crate) endpoint: Endpoint,
    pub(crate) server: ServerSettings,
    pub(crate) answers: Answers,
}

/// What the configuration says of requests and answers.
pub(crate) struct Answers {
    limits: BodyLimits,
    /// Fields of every answer.
    headers: HeaderMap,
    /// The codings that are taken; none: all of them.
    codings: Option<Vec<Coding>>,
    cors: Option<Cors>,
}

impl HttpSettings {
    /// Reads the Collector's options of an HTTP server from among the component's own.
    pub(crate) fn read(
        section: &mut Section<'_>,
        context: &BuildContext<'_>,
        port_default: u16,
    ) -> Option<HttpSettings> {
        let shape = HttpServer::read(section);
        let authenticator = context.authenticators.authenticator(shape.auth.as_ref(), section);
        let (mut server, limits) = configured::http_server(&shape, authenticator, section);
        if shape.cors.is_some() {
            server.preflights = Preflights::Pass;
        }
        let named = shape.endpoint.as_ref().map(|named| configured::endpoint(&named.value));
        let headers = configured::headers(&shape.response_headers);
        let headers = headers.map_err(|message| section.error("response_headers", message)).ok()?;
        let coding = |one| configured::coding(one, None).map_or(Coding::Identity, |(coding, _)| coding);
        let codings = shape.compression_algorithms.map(|algorithms| algorithms.iter().copied().map(coding).collect());
        let cors = shape.cors.as_ref().map(Cors::new);
        let answers = Answers { limits, headers, codings, cors };
        Some(HttpSettings { endpoint: named.unwrap_or_else(|| local(port_default)), server, answers })
    }
}

/// A refusal: the HTTP status, the words, and when to try again.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// What the sender must not send again as it is.
    pub(crate) fn wrong(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into(), retry_after: None }
    }

    /// As plain text.
    pub(crate) fn into_text(self) -> Response<ResponseBody> {
        let mut response = text_response(self.status, self.message);
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, retry_after(after));
        }
        response
    }
}

/// `Retry-After`, in whole seconds (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(after: Duration) -> HeaderValue {
    HeaderValue::from(after.as_secs().max(1))
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Retry { after, cause } => {
                Refusal { status: StatusCode::SERVICE_UNAVAILABLE, message: cause, retry_after: Some(after) }
            }
            Refused::Permanent { cause } => Refusal::wrong(StatusCode::PAYLOAD_TOO_LARGE, cause),
        }
    }
}

/// Serves until `stop`; `route` answers what is no preflight.
pub(crate) async fn serve<H, F>(
    listener: Listener,
    server: ServerSettings,
    answers: Arc<Answers>,
    route: H,
    stop: CancellationToken,
) -> Result<(), StartError>
where
    H: Fn(Request<RequestBody>, Arc<ConnInfo>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let handler = move |request: Request<RequestBody>, connection: Arc<ConnInfo>| {
        let answers = Arc::clone(&answers);
        let origin = request.headers().get(ORIGIN).cloned();
        let routed = answers
            .preflight(&request)
            .map_or_else(|| Either::Left(route(request, connection)), |response| Either::Right(ready(response)));
        async move {
            let mut response = routed.await;
            answers.complete(origin.as_ref(), response.headers_mut());
            response
        }
    };
    transport::server::serve(listener, server, handler, stop).await;
    Ok(())
}

/// The answer to everything but a POST: `405`.
pub(crate) fn unless_post(method: &Method) -> Option<Response<ResponseBody>> {
    if method == Method::POST {
        return None;
    }
    let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, "expected a POST request");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    Some(response)
}

impl Answers {
    fn preflight(&self, request: &Request<RequestBody>) -> Option<Response<ResponseBody>> {
        let cors = self.cors.as_ref().filter(|_| request.method() == Method::OPTIONS)?;
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.headers_mut() = cors.preflight(request.headers());
        Some(response)
    }

    fn complete(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.extend(self.headers.clone());
        if let (Some(cors), Some(origin)) = (&self.cors, origin) {
            cors.allow(origin, headers);
        }
    }

    /// The payload, decompressed within the limits.
    pub(crate) async fn payload(&self, headers: &HeaderMap, body: RequestBody) -> Result<Payload, Refusal> {
        self.check_coding(headers)?;
        let payload = read_payload(headers, body, &self.limits).await;
        payload.map_err(|error| Refusal::wrong(error.status(), error.to_string()))
    }

    /// The most bytes of a payload, for a coding that the protocol itself brings along.
    pub(crate) const fn bytes_max(&self) -> usize {
        self.limits.bytes_max
    }

    /// `compression_algorithms`.
    fn check_coding(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let (Some(allowed), Some(named)) = (&self.codings, headers.get(CONTENT_ENCODING)) else {
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

/// The media type of a request without its parameters, in lower case; empty where there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// An answer of a status with a body of a media type.
pub(crate) fn respond(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
