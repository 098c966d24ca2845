//! The `loki` exporter: log records as streams, by Loki's push API.
//!
//! Specification: [Loki HTTP API](https://grafana.com/docs/loki/latest/reference/loki-http-api/), "Ingest logs". Labels,
//! hints and lines are those of the Collector's former exporter; beside its hints there are options, so that a
//! configuration needs no processors for them. The entries of a stream are sent in the order of their times.

mod convert;
mod line;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use component::{
    BuildContext, BuiltExporter, Encoded, Exporter, ExporterFactory, Order, Outcome, Request, Waiting, clock,
};
use config::Section;
use config::shapes::{Compression, HttpClient as Shape};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use otlp::{Batch, Signal};
use transport::coding::{Coding, Level, compress, snappy_block_compress};
use transport::configured;
use transport::http_client::{HttpClient, HttpReply, HttpRequest};
use url::Url;

use crate::common::{delivery, posted};
use crate::otlphttp::{said, unanswered};
use convert::{Converter, Tenanted};

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "loki", aliases: &[], signals: &[Signal::Logs], build };

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

struct LokiExporter {
    client: HttpClient,
    url: Url,
    headers: HeaderMap,
    encoding: Encoding,
    converter: Converter,
}

/// How a push is written.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    /// `logproto.PushRequest` as one snappy block.
    Protobuf,
    Json(Coding, Level),
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    section.unsupported("tenant", "its old form; set the header `X-Scope-OrgID`, or the hint `loki.tenant`");
    section.unsupported("tenant_id", "its old form; set the header `X-Scope-OrgID`, or the hint `loki.tenant`");
    let shape = Shape::read(section);
    let converter = Converter::read(section);
    let encoding = encoding(section, &shape);
    let mut delivery = delivery(section, shape.timeout.unwrap_or(TIMEOUT_DEFAULT), Order::Kept);
    // The entries of a stream stay in their order, so what waits goes together.
    delivery.waiting = Waiting::Together;
    if shape.endpoint.is_none() {
        section.error("endpoint", "is required: expected a URL such as `http://localhost:3100/loki/api/v1/push`");
    }
    let credentials = context.authenticators.credentials(shape.auth.as_ref(), section);
    let mut settings = configured::http_client(&shape, credentials, section)?;
    // The pipeline's own timeout covers the attempt.
    settings.timeout = None;
    let client = HttpClient::new(settings).map_err(|error| section.error("tls", error.to_string())).ok()?;
    let url = configured::url(&shape.endpoint?.value).map_err(|message| section.error("endpoint", message)).ok()?;
    let exporter = Arc::new(LokiExporter { client, url, headers: headers(encoding), encoding, converter });
    Some(BuiltExporter { exporter, delivery })
}

fn encoding(section: &mut Section<'_>, shape: &Shape) -> Encoding {
    let is_json = section.get("encoding").one_of(&[("protobuf", false), ("json", true)]).or(false);
    if is_json {
        let compression = shape.compression.unwrap_or(Compression::Gzip);
        let (coding, level) =
            configured::coding(compression, shape.compression_level).unwrap_or((Coding::Identity, Level::Fast));
        return Encoding::Json(coding, level);
    }
    if !matches!(shape.compression, None | Some(Compression::Snappy)) {
        section
            .error("compression", "expected `snappy`: a protobuf push is a snappy block; `encoding: json` has others");
    }
    Encoding::Protobuf
}

fn headers(encoding: Encoding) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let (content_type, coding) = match encoding {
        Encoding::Protobuf => ("application/x-protobuf", None),
        Encoding::Json(coding, _) => ("application/json", Some(coding).filter(|coding| *coding != Coding::Identity)),
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    headers
}

impl LokiExporter {
    fn request(&self, push: &Tenanted) -> Request {
        let payload = match self.encoding {
            Encoding::Protobuf => snappy_block_compress(&push.push.to_protobuf()),
            Encoding::Json(Coding::Identity, _) => push.push.to_json().into(),
            Encoding::Json(coding, level) => compress(coding, level, &push.push.to_json()),
        };
        let body = with_tenant(&push.tenant, &payload);
        Request { signal: Signal::Logs, body, items: push.items, lane: 0 }
    }
}

/// A request carries its tenant before its payload, as it knows nothing but bytes.
fn with_tenant(tenant: &str, payload: &[u8]) -> Bytes {
    let tenant = &tenant.as_bytes()[..tenant.len().min(usize::from(u16::MAX))];
    let mut body = BytesMut::with_capacity(2 + tenant.len() + payload.len());
    body.put_u16(u16::try_from(tenant.len()).unwrap_or(0));
    body.put_slice(tenant);
    body.put_slice(payload);
    body.freeze()
}

/// The tenant of a request, and its payload.
fn tenant_of(body: &Bytes) -> Option<(Bytes, Bytes)> {
    let size = usize::from(u16::from_be_bytes(*body.first_chunk::<2>()?));
    let tenant = body.get(2..2 + size).map(|_| body.slice(2..2 + size))?;
    Some((tenant, body.slice(2 + size..)))
}

impl Exporter for LokiExporter {
    fn encode(&self, batch: &Batch) -> Encoded {
        let (pushes, rejected) = self.converter.convert(batch, clock::unix_ns());
        Encoded { requests: pushes.iter().map(|push| self.request(push)).collect(), rejected }
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let Some((tenant, payload)) = tenant_of(&request.body) else {
                return Outcome::reject("no_tenant", "a request without its tenant");
            };
            let mut headers = self.headers.clone();
            if !tenant.is_empty() {
                match HeaderValue::from_bytes(&tenant) {
                    Ok(tenant) => drop(headers.insert(TENANT, tenant)),
                    Err(error) => return Outcome::reject("bad_tenant", error.to_string()),
                }
            }
            match self.client.send(HttpRequest::post(self.url.clone(), headers, payload)).await {
                Ok(reply) => {
                    let now = UNIX_EPOCH + Duration::from_nanos(clock::unix_ns());
                    outcome(&reply, now)
                }
                Err(error) => unanswered(&error),
            }
        })
    }
}

/// Loki takes a push with `204`; 429 and 5xx pass, and what else it says is final.
fn outcome(reply: &HttpReply, now: SystemTime) -> Outcome {
    posted(reply, now, explained(reply))
}

/// What Loki says, and for refusals that are known by their words, what they mean.
fn explained(reply: &HttpReply) -> String {
    const MEANINGS: [(&str, &str); 5] = [
        ("too far behind", "it has much newer entries of some stream, and may have stored the others"),
        ("out of order", "it has newer entries of some stream, and may have stored the others"),
        ("too old", "some entries are older than `reject_old_samples_max_age`, and it may have stored the others"),
        ("too new", "some entries lie in its future: a clock is wrong, and it may have stored the others"),
        ("max entry size", "some lines are longer than `max_line_size`, and it may have stored the others"),
    ];
    let said = said(reply);
    if reply.status != StatusCode::BAD_REQUEST {
        return said;
    }
    match MEANINGS.into_iter().find(|(words, _)| said.contains(words)) {
        Some((_, meaning)) => format!("{said} (the backend says that {meaning})"),
        None => said,
    }
}
