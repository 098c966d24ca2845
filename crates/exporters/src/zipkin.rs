//! The `zipkin` exporter: spans of version 2 over HTTP, in JSON or protobuf.
//!
//! Specification: Zipkin's `zipkin2-api.yaml`, and for what becomes of a span, [`legacy::zipkin`]. 429 and 5xx are
//! repeated and `Retry-After` is honoured; every other failure is final. Redirects are not followed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use component::{
    BuildContext, BuiltExporter, Encoded, Exporter, ExporterFactory, Failure, Order, Outcome, Rejection, Request, clock,
};
use config::Section;
use config::shapes::{Compression, HttpClient as Shape};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use legacy::zipkin::{self, Format};
use otlp::{Batch, Signal};
use transport::coding::{Coding, Level};
use transport::configured;
use transport::http_client::{HttpClient, HttpReply, HttpRequest};
use url::Url;

use crate::common::{delivery, failed, packed};
use crate::otlphttp::{said, unanswered};

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "zipkin", aliases: &[], signals: &[Signal::Traces], build };

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// What the Collector calls a service that has no name.
const SERVICE_DEFAULT: &str = "<missing service name>";

struct ZipkinExporter {
    client: HttpClient,
    url: Url,
    headers: HeaderMap,
    form: Form,
}

/// What the body of a request depends on, the batch itself aside.
#[derive(Clone, Debug, PartialEq)]
struct Form {
    format: Format,
    service_default: String,
    coding: Coding,
    level: Level,
}

/// A batch in the form of an exporter. Exporters of the same form share it.
struct Formed {
    form: Form,
    encoded: Encoded,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    let formats = [("json", Format::Json), ("proto", Format::Protobuf)];
    let format = section.get("format").one_of(&formats).or(Format::Json);
    let service_default = section.get("default_service_name").string().or(SERVICE_DEFAULT.to_owned());
    let shape = Shape::read(section);
    let delivery = delivery(section, shape.timeout.unwrap_or(TIMEOUT_DEFAULT), Order::Any);
    let compression = shape.compression.unwrap_or(Compression::None);
    let (coding, level) =
        configured::coding(compression, shape.compression_level).unwrap_or((Coding::Identity, Level::Fast));
    let credentials = context.authenticators.credentials(shape.auth.as_ref(), section);
    let settings = configured::http_client(&shape, credentials, section);
    let Some(endpoint) = &shape.endpoint else {
        section.error("endpoint", "is required: expected a URL such as `http://localhost:9411/api/v2/spans`");
        return None;
    };
    let url = configured::url(&endpoint.value).map_err(|message| section.error("endpoint", message)).ok()?;
    let mut settings = settings?;
    // The pipeline's own timeout covers the attempt.
    settings.timeout = None;
    let client = HttpClient::new(settings).map_err(|error| section.error("tls", error.to_string())).ok()?;
    let form = Form { format, service_default, coding, level };
    let exporter = Arc::new(ZipkinExporter { client, url, headers: headers(&form), form });
    Some(BuiltExporter { exporter, delivery })
}

fn headers(form: &Form) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let content_type = match form.format {
        Format::Json => "application/json",
        Format::Protobuf => "application/x-protobuf",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if form.coding != Coding::Identity {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(form.coding.name()));
    }
    headers
}

impl Form {
    fn encode(&self, batch: &Batch) -> Encoded {
        let written = zipkin::encode(batch, self.format, &self.service_default);
        let body: Bytes = packed(written.body, self.coding, self.level);
        let request = Request { signal: batch.signal(), body, items: written.spans, lane: 0 };
        let refused = [
            (written.without_id, "without_id", "spans without a trace id or a span id, which Zipkin does not take"),
            (written.too_large, "too_large", "spans beyond the largest body: each repeats the resource's attributes"),
        ];
        let rejection = |(items, cause, detail): (u64, &'static str, &str)| {
            let failure = Failure { cause: cause.into(), detail: detail.to_owned() };
            (items > 0).then_some(Rejection { items, failure })
        };
        Encoded {
            requests: Some(request).filter(|request| request.items > 0).into_iter().collect(),
            rejected: refused.into_iter().filter_map(rejection).collect(),
        }
    }
}

impl Exporter for ZipkinExporter {
    fn encode(&self, batch: &Batch) -> Encoded {
        let make = || Formed { form: self.form.clone(), encoded: self.form.encode(batch) };
        batch.frames().made(|made: &Formed| made.form == self.form, make).encoded.clone()
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let post = HttpRequest::post(self.url.clone(), self.headers.clone(), request.body.clone());
            match self.client.send(post).await {
                Ok(reply) => outcome(&reply, UNIX_EPOCH + Duration::from_nanos(clock::unix_ns())),
                Err(error) => unanswered(&error),
            }
        })
    }
}

/// Zipkin answers with 202 and no body; others that speak its language with other kinds of success.
fn outcome(reply: &HttpReply, now: SystemTime) -> Outcome {
    match reply.status.is_success() {
        true => Outcome::DELIVERED,
        false => failed(reply, now, |status| status == 429 || status >= 500, said(reply)),
    }
}
