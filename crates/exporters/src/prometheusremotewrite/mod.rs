//! The `prometheusremotewrite` exporter: metrics to Prometheus and its kin by remote write 1.0.
//!
//! Specification: [Prometheus Remote-Write 1.0](https://prometheus.io/docs/specs/prw/remote_write_spec/). The samples of
//! a series arrive in their order: a batch is sent when the one before it was settled, and its series are spread over
//! lanes, each of which sends one request after another. What is no answer, 5xx and 429 are repeated; every other
//! failure is final, as the specification demands, or one bad sample would block a series for ever.

mod settings;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use component::{
    BuildContext, BuiltExporter, Encoded, Exporter, ExporterFactory, Failure, Outcome, Rejection, Request, clock,
};
use config::Section;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use otlp::{Batch, Signal};
use parking_lot::Mutex;
use prom::write::{Converter, Metadata, Partition};
use transport::coding::snappy_block_compress;
use transport::http_client::{HttpClient, HttpReply, HttpRequest};
use url::Url;

use crate::common::posted;
use crate::otlphttp::{said, unanswered};
use settings::Settings;

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory = ExporterFactory {
    kind: "prometheusremotewrite",
    aliases: &["prometheus_remote_write"],
    signals: &[Signal::Metrics],
    build,
};

const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");

struct RemoteWriteExporter {
    client: HttpClient,
    url: Url,
    headers: HeaderMap,
    converter: Mutex<Converter>,
    form: Arc<Form>,
}

/// What the requests of a batch depend on, the batch itself aside.
#[derive(Debug, PartialEq)]
struct Form {
    write: prom::write::Settings,
    partition: Partition,
    metadata: Metadata,
}

/// A batch in the form of an exporter. Exporters of the same form share it.
struct Formed {
    form: Arc<Form>,
    encoded: Encoded,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    let Settings { client, url, form, delivery } = Settings::read(section, context)?;
    let converter = Mutex::new(Converter::new(form.write.clone(), form.partition));
    let exporter = RemoteWriteExporter { client, url, headers: headers(), converter, form: Arc::new(form) };
    let exporter = Arc::new(exporter);
    Some(BuiltExporter { exporter, delivery })
}

/// Remote-Write 1.0, "Protocol": what every request says of itself, whatever the configuration says.
fn headers() -> HeaderMap {
    let fields = [
        (CONTENT_ENCODING, "snappy"),
        (CONTENT_TYPE, "application/x-protobuf"),
        (USER_AGENT, concat!("crossfade/", env!("CARGO_PKG_VERSION"))),
        (VERSION, "0.1.0"),
    ];
    fields.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

impl RemoteWriteExporter {
    fn convert(&self, batch: &Batch) -> Encoded {
        let (written, refused) = {
            let mut converter = self.converter.lock();
            let refused = converter.append(batch, self.form.metadata);
            (converter.take(), refused)
        };
        let request = |written: prom::write::Request| Request {
            signal: batch.signal(),
            body: snappy_block_compress(&written.body),
            items: u64::from(written.items),
            lane: written.lane,
        };
        let rejection = |(reason, items): (prom::write::Refusal, u32)| {
            let failure = Failure { cause: reason.name().into(), detail: reason.to_string() };
            Rejection { items: u64::from(items), failure }
        };
        Encoded {
            requests: written.into_iter().map(request).collect(),
            rejected: refused.iter().map(rejection).collect(),
        }
    }
}

impl Exporter for RemoteWriteExporter {
    fn encode(&self, batch: &Batch) -> Encoded {
        let make = || Formed { form: Arc::clone(&self.form), encoded: self.convert(batch) };
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

/// Remote-Write 1.0, "Retries & Backoff": 5xx must be repeated, 429 may be, other failures must not.
fn outcome(reply: &HttpReply, now: SystemTime) -> Outcome {
    posted(reply, now, explained(reply))
}

/// What the backend says, and for refusals that are known by their words, what they mean.
fn explained(reply: &HttpReply) -> String {
    const MEANINGS: [(&str, &str); 4] = [
        (
            "out of order",
            "it has newer samples of some series, and may have stored the others: is there a second sender, or is \
             `out_of_order_time_window` not set for data that comes late?",
        ),
        (
            "duplicate sample",
            "it has other values of some series at the same time, and may have stored the others: is there a second \
             sender with the same labels?",
        ),
        ("too old sample", "some samples are older than it takes, and it may have stored the others"),
        ("out of bounds", "some samples are older than it takes, and it may have stored the others"),
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
