//! The `influxdb` exporter: metrics to InfluxDB, or what speaks its line protocol, by either version of its HTTP API.
//!
//! Specification: [API v2, `POST /api/v2/write`](https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite) and
//! [API v1, `/write`](https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint). What is no answer, 429
//! and 5xx are repeated; every other failure is final. A partial write says how many points were dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use component::{
    BuildContext, BuiltExporter, Encoded, Exporter, ExporterFactory, Failure, Order, Outcome, Rejection, Request, clock,
};
use config::shapes::{Compression, HttpClient as Shape};
use config::{Secret, Section};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use legacy::influx::{self, Precision, Schema};
use legacy::lines::PayloadLimits;
use otlp::{Batch, Signal};
use transport::coding::{Coding, Level, compress};
use transport::configured;
use transport::http_client::{HttpClient, HttpReply, HttpRequest};
use url::Url;

use crate::common::delivery;
use crate::lines::encoded;
use crate::otlphttp::{said, unanswered};

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "influxdb", aliases: &[], signals: &[Signal::Metrics], build };

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const LINES_DEFAULT: usize = 10_000;
const BYTES_DEFAULT: usize = 10_000_000;

struct InfluxExporter {
    client: HttpClient,
    url: Url,
    headers: HeaderMap,
    coding: (Coding, Level),
    schema: Schema,
    precision: Precision,
    limits: PayloadLimits,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    for key in ["span_dimensions", "log_record_dimensions"] {
        section.unsupported(key, "traces and logs; this exporter takes metrics");
    }
    let shape = Shape::read(section);
    let target = Target::read(section);
    let schema = schema(section);
    let precisions = ["ns", "us", "ms", "s"].map(|name| (name, Precision::parse(name).unwrap_or_default()));
    let precision = section.get("precision").one_of(&precisions).or_default();
    let limits = PayloadLimits {
        lines_max: section.get("payload_max_lines").integer().range(1..).or(LINES_DEFAULT),
        size_bytes_max: section.get("payload_max_bytes").integer().range(1..).or(BYTES_DEFAULT),
    };
    let delivery = delivery(section, shape.timeout.unwrap_or(TIMEOUT_DEFAULT), Order::Any);
    let credentials = context.authenticators.credentials(shape.auth.as_ref(), section);
    if shape.endpoint.is_none() {
        section.error("endpoint", "is required: expected a URL such as `http://localhost:8086`");
    }
    let mut settings = configured::http_client(&shape, credentials, section)?;
    // The pipeline's own timeout covers the attempt.
    settings.timeout = None;
    let client = HttpClient::new(settings).map_err(|error| section.error("tls", error.to_string())).ok()?;
    let base = configured::url(&shape.endpoint?.value).map_err(|message| section.error("endpoint", message)).ok()?;
    let compression = shape.compression.unwrap_or(Compression::None);
    let coding = configured::coding(compression, shape.compression_level).unwrap_or((Coding::Identity, Level::Fast));
    let url = target.url(base, precision);
    let headers = target.headers(coding.0).map_err(|message| section.error("token", message)).ok()?;
    let exporter = InfluxExporter { client, url, headers, coding, schema, precision, limits };
    Some(BuiltExporter { exporter: Arc::new(exporter), delivery })
}

fn schema(section: &mut Section<'_>) -> Schema {
    let schemas = [
        ("telegraf-prometheus-v1", Some(Schema::TelegrafPrometheusV1)),
        ("telegraf-prometheus-v2", Some(Schema::TelegrafPrometheusV2)),
        ("otel-v1", None),
    ];
    section.get("metrics_schema").one_of(&schemas).or(Some(Schema::default())).unwrap_or_else(|| {
        section.error("metrics_schema", "not built yet: `otel-v1`, which has no gauges; the others are `telegraf-prometheus-v1` and `telegraf-prometheus-v2`");
        Schema::default()
    })
}

/// Where in InfluxDB points go, and who sends them.
enum Target {
    V1 { db: String, username: String, password: Secret },
    V2 { org: String, bucket: String, token: Secret },
}

impl Target {
    fn read(section: &mut Section<'_>) -> Target {
        let org = section.get("org").string().optional();
        let bucket = section.get("bucket").string().optional();
        let token = section.get("token").secret().or_else(|| Secret::new(""));
        let v1 = section.child("v1_compatibility", |section| {
            let enabled = section.get("enabled").bool().or(false);
            let db = section.get("db").string().or_default();
            let username = section.get("username").string().or_default();
            let password = section.get("password").secret().or_else(|| Secret::new(""));
            if enabled && db.is_empty() {
                section.error("db", "is required: expected the name of a database");
            }
            enabled.then_some(Target::V1 { db, username, password })
        });
        v1.unwrap_or_else(|| {
            for (key, found) in [("org", &org), ("bucket", &bucket)] {
                if found.as_deref().is_none_or(str::is_empty) {
                    section.error(key, "is required, unless `v1_compatibility` is enabled");
                }
            }
            Target::V2 { org: org.unwrap_or_default(), bucket: bucket.unwrap_or_default(), token }
        })
    }

    /// The URL as it is where it has a path, and otherwise that of the API.
    fn url(&self, mut url: Url, precision: Precision) -> Url {
        if matches!(url.path(), "" | "/") {
            url.set_path(match self {
                Target::V1 { .. } => "/write",
                Target::V2 { .. } => "/api/v2/write",
            });
        }
        let name = match (self, precision) {
            // The first version has another name for it.
            (Target::V1 { .. }, Precision::Microseconds) => "u",
            (_, precision) => precision.name(),
        };
        let mut query = url.query_pairs_mut();
        query.append_pair("precision", name);
        match self {
            Target::V1 { db, .. } => query.append_pair("db", db),
            Target::V2 { org, bucket, .. } => query.append_pair("org", org).append_pair("bucket", bucket),
        };
        drop(query);
        url
    }

    fn headers(&self, coding: Coding) -> Result<HeaderMap, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if coding != Coding::Identity {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        let authorization = match self {
            Target::V1 { username, password, .. } if !username.is_empty() && !password.is_empty() => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
            }
            Target::V2 { token, .. } if !token.is_empty() => Some(format!("Token {}", token.expose())),
            _ => None,
        };
        if let Some(text) = authorization {
            let value = HeaderValue::from_str(&text);
            let mut value = value.map_err(|_| "has characters that no header can carry")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

impl Exporter for InfluxExporter {
    fn encode(&self, batch: &Batch) -> Encoded {
        let (payloads, refused) = influx::write(batch, self.schema, self.precision, self.limits);
        let mut encoded = encoded(payloads, &refused);
        let (coding, level) = self.coding;
        if coding != Coding::Identity {
            for request in &mut encoded.requests {
                request.body = compress(coding, level, &request.body);
            }
        }
        encoded
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let body = Bytes::clone(&request.body);
            let post = HttpRequest::post(self.url.clone(), self.headers.clone(), body);
            match self.client.send(post).await {
                Ok(reply) => outcome(&reply, UNIX_EPOCH + Duration::from_nanos(clock::unix_ns())),
                Err(error) => unanswered(&error),
            }
        })
    }
}

fn outcome(reply: &HttpReply, now: SystemTime) -> Outcome {
    let status = reply.status;
    if status.is_success() {
        return Outcome::DELIVERED;
    }
    let failure = Failure { cause: format!("http_{}", status.as_u16()).into(), detail: said(reply) };
    if status.is_server_error() || status.as_u16() == 429 {
        return Outcome::Retry { after: reply.retry_after(now), failure };
    }
    match dropped(&reply.body) {
        Some(items) => {
            let failure = Failure { cause: "partial_write".into(), ..failure };
            Outcome::Delivered { rejected: Some(Rejection { items, failure }) }
        }
        None => Outcome::Reject { failure },
    }
}

/// How many points a partial write left out: `partial write: … dropped=3`.
fn dropped(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains("partial write"))?;
    let (_, behind) = text.rsplit_once("dropped=")?;
    let digits = behind.find(|character: char| !character.is_ascii_digit()).unwrap_or(behind.len());
    behind[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_write_says_how_many_points_it_dropped() {
        let said = br#"{"error":"partial write: points beyond retention policy dropped=12"}"#;
        assert_eq!(dropped(said), Some(12));
        assert_eq!(dropped(br#"{"error":"unable to parse 'x': missing fields dropped=12"}"#), None);
        assert_eq!(dropped(b"partial write: field type conflict dropped=x"), None);
        assert_eq!(dropped(b"\xff"), None);
    }
}
