//! The `otlphttp` exporter: OTLP over HTTP, protobuf or JSON.
//!
//! Specification: OTLP 1.x, section "OTLP/HTTP". 429, 502, 503 and 504 are repeated and `Retry-After` is honoured;
//! every other failure is final. Redirects are not followed: the headers may hold credentials.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use component::{BuildContext, BuiltExporter, Encoded, Exporter, ExporterFactory, Order, Outcome, Request, clock};
use config::shapes::{Compression, HttpClient as Shape, HttpEndpoint};
use config::{Section, Spanned};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use otlp::response::ExportResponse;
use otlp::{Batch, Signal};
use transport::coding::{Coding, Level};
use transport::configured;
use transport::http_client::{HttpClient, HttpError, HttpReply, HttpRequest};
use url::Url;

use crate::common::{answered, delivery, failed, packed, payload};

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "otlphttp", aliases: &["otlp_http"], signals: &Signal::ALL, build };

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// `encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Proto,
    Json,
}

struct OtlpHttpExporter {
    client: HttpClient,
    urls: [Option<Url>; 3],
    encoding: Encoding,
    coding: Coding,
    level: Level,
    headers: HeaderMap,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    let own = [("traces_endpoint", "/v1/traces"), ("metrics_endpoint", "/v1/metrics"), ("logs_endpoint", "/v1/logs")];
    let own = own.map(|(key, path)| (own_url(section, key), path));
    let encodings = [("proto", Encoding::Proto), ("json", Encoding::Json)];
    let encoding = section.get("encoding").one_of(&encodings).or(Encoding::Proto);
    section.unsupported("profiles_endpoint", "profiles");
    let shape = Shape::read(section);
    let delivery = delivery(section, shape.timeout.unwrap_or(TIMEOUT_DEFAULT), Order::Any);
    if shape.endpoint.is_none() && own.iter().all(|(url, _)| url.is_none()) {
        section
            .error("endpoint", "is required: expected a URL such as `http://localhost:4318`, or one for each signal");
    }
    let base = shape.endpoint.as_ref().and_then(|base| url(section, "endpoint", &base.value));
    let urls = own.map(|(own, path)| own.or_else(|| joined(base.as_ref()?, path)));
    let compression = shape.compression.unwrap_or(Compression::Gzip);
    let (coding, level) =
        configured::coding(compression, shape.compression_level).unwrap_or((Coding::Identity, Level::Fast));
    let credentials = context.authenticators.credentials(shape.auth.as_ref(), section);
    let mut settings = configured::http_client(&shape, credentials, section)?;
    // The pipeline's own timeout covers the attempt.
    settings.timeout = None;
    let client = HttpClient::new(settings).map_err(|error| section.error("tls", error.to_string())).ok()?;
    let headers = headers(encoding, coding);
    let exporter = Arc::new(OtlpHttpExporter { client, urls, encoding, coding, level, headers });
    Some(BuiltExporter { exporter, delivery })
}

fn own_url(section: &mut Section<'_>, key: &'static str) -> Option<Url> {
    let read = section.get(key).parse_with("a URL such as `http://localhost:4318/v1/traces`", HttpEndpoint::parse);
    let Spanned { value, .. } = read.spanned()?;
    url(section, key, &value)
}

fn url(section: &mut Section<'_>, key: &str, endpoint: &HttpEndpoint) -> Option<Url> {
    configured::url(endpoint).map_err(|message| section.error(key, message)).ok()
}

/// The base URL with the signal's path behind its own.
fn joined(base: &Url, path: &str) -> Option<Url> {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    Some(url)
}

fn headers(encoding: Encoding, coding: Coding) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let content_type = match encoding {
        Encoding::Proto => "application/x-protobuf",
        Encoding::Json => "application/json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if coding != Coding::Identity {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    headers
}

impl Exporter for OtlpHttpExporter {
    fn encode(&self, batch: &Batch) -> Encoded {
        match self.encoding {
            Encoding::Proto => Encoded::one(batch, payload(batch, self.coding, self.level)),
            Encoding::Json => {
                let mut json = Vec::with_capacity(batch.size_bytes() * 3);
                otlp::json::encode(batch, &mut json);
                Encoded::one(batch, packed(json, self.coding, self.level))
            }
        }
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let Some(url) = &self.urls[request.signal as usize] else {
                return Outcome::reject("no_endpoint", format!("there is no endpoint for {}", request.signal));
            };
            let post = HttpRequest::post(url.clone(), self.headers.clone(), request.body.clone());
            match self.client.send(post).await {
                Ok(reply) => outcome(request.signal, &reply, UNIX_EPOCH + Duration::from_nanos(clock::unix_ns())),
                Err(error) => unanswered(&error),
            }
        })
    }
}

/// OTLP/HTTP, "OTLP/HTTP Response".
fn outcome(signal: Signal, reply: &HttpReply, now: SystemTime) -> Outcome {
    let status = reply.status;
    if status.is_success() {
        let json =
            reply.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        return match json {
            true => answered(signal, ExportResponse::decode_json(signal, &reply.body)),
            false => answered(signal, ExportResponse::decode(signal, &reply.body)),
        };
    }
    failed(reply, now, |status| matches!(status, 429 | 502 | 503 | 504), said(reply))
}

/// What a request without an answer is worth: a wrong address and a redirect stay wrong, the rest may pass.
pub(crate) fn unanswered(error: &HttpError) -> Outcome {
    match error {
        HttpError::Url { .. } => Outcome::reject("wrong_url", error.to_string()),
        HttpError::Redirect { .. } => Outcome::reject("redirect", error.to_string()),
        HttpError::TimedOut { .. } => Outcome::retry("timeout", error.to_string()),
        HttpError::Credentials { .. } => Outcome::retry("no_credentials", error.to_string()),
        _ => Outcome::retry("unreachable", error.to_string()),
    }
}

/// The first words of an answer, for the log.
pub(crate) fn said(reply: &HttpReply) -> String {
    const SAID_BYTES_MAX: usize = 300;
    let text = String::from_utf8_lossy(&reply.body[..reply.body.len().min(SAID_BYTES_MAX)]);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{}: {}", reply.status, text.trim())
}
