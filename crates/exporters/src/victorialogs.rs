//! The `victorialogs` exporter: log records as lines of JSON to VictoriaLogs.
//!
//! Specification: [VictoriaLogs, data ingestion](https://docs.victoriametrics.com/victorialogs/data-ingestion/), "JSON
//! stream API". VictoriaLogs takes OTLP as well; this is for those who choose stream fields and tenants here.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use component::{BuildContext, BuiltExporter, Encoded, Exporter, ExporterFactory, Order, Outcome, Request, clock};
use config::Section;
use config::shapes::{Compression, HttpClient as Shape};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use otlp::view::{AnyValueView, KeyValues, LogRecordView, ScopeView};
use otlp::{Batch, Signal};
use serde_json::Value;
use transport::coding::{Coding, Level, compress};
use transport::configured;
use transport::http_client::{HttpClient, HttpRequest};
use url::Url;

use crate::common::{delivery, posted};
use crate::otlphttp::{said, unanswered};

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "victorialogs", aliases: &[], signals: &[Signal::Logs], build };

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const ACCOUNT: HeaderName = HeaderName::from_static("accountid");
const PROJECT: HeaderName = HeaderName::from_static("projectid");

struct VictoriaLogsExporter {
    client: HttpClient,
    url: Url,
    headers: HeaderMap,
    coding: (Coding, Level),
    fields: FieldNames,
}

/// The names of the fields that VictoriaLogs asks for.
#[derive(Clone, Debug)]
struct FieldNames {
    message: String,
    time: String,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    let shape = Shape::read(section);
    let fields = FieldNames {
        message: section.get("msg_field").string().non_empty().or("_msg".to_owned()),
        time: section.get("time_field").string().non_empty().or("_time".to_owned()),
    };
    if fields.message == fields.time {
        section.error("time_field", "expected another name than that of `msg_field`");
    }
    let streams = section.get("stream_fields").strings().or(vec!["service.name".to_owned()]);
    let ignored = section.get("ignore_fields").strings().or_default();
    let tenant: [Option<u32>; 2] = ["account_id", "project_id"].map(|key| section.get(key).integer().optional());
    let delivery = delivery(section, shape.timeout.unwrap_or(TIMEOUT_DEFAULT), Order::Any);
    if shape.endpoint.is_none() {
        section.error("endpoint", "is required: expected a URL such as `http://localhost:9428`");
    }
    let credentials = context.authenticators.credentials(shape.auth.as_ref(), section);
    let mut settings = configured::http_client(&shape, credentials, section)?;
    // The pipeline's own timeout covers the attempt.
    settings.timeout = None;
    let client = HttpClient::new(settings).map_err(|error| section.error("tls", error.to_string())).ok()?;
    let base = configured::url(&shape.endpoint?.value).map_err(|message| section.error("endpoint", message)).ok()?;
    let compression = shape.compression.unwrap_or(Compression::Gzip);
    let coding = configured::coding(compression, shape.compression_level).unwrap_or((Coding::Identity, Level::Fast));
    let url = url(base, &fields, &streams, &ignored);
    let exporter = VictoriaLogsExporter { client, url, headers: headers(coding.0, tenant), coding, fields };
    Some(BuiltExporter { exporter: Arc::new(exporter), delivery })
}

/// The URL as it is where it has a path, and otherwise that of the JSON stream API.
fn url(mut url: Url, fields: &FieldNames, streams: &[String], ignored: &[String]) -> Url {
    if matches!(url.path(), "" | "/") {
        url.set_path("/insert/jsonline");
    }
    let mut query = url.query_pairs_mut();
    query.append_pair("_msg_field", &fields.message).append_pair("_time_field", &fields.time);
    for (key, names) in [("_stream_fields", streams), ("ignore_fields", ignored)] {
        if !names.is_empty() {
            query.append_pair(key, &names.join(","));
        }
    }
    drop(query);
    url
}

fn headers(coding: Coding, tenant: [Option<u32>; 2]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/stream+json"));
    if coding != Coding::Identity {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    for (name, id) in [ACCOUNT, PROJECT].into_iter().zip(tenant) {
        if let Some(id) = id {
            headers.insert(name, HeaderValue::from(id));
        }
    }
    headers
}

impl VictoriaLogsExporter {
    fn lines(&self, batch: &Batch, now_unix_ns: u64) -> Vec<u8> {
        let mut lines = Vec::with_capacity(batch.size_bytes() * 2);
        for block in batch.logs().into_iter().flat_map(|logs| logs.resource_logs()) {
            let resource = block.resource().attributes();
            for scope in block.scope_logs() {
                for record in scope.log_records() {
                    let line = line(&self.fields, resource, scope.scope(), record, now_unix_ns);
                    lines.extend_from_slice(line.as_bytes());
                    lines.push(b'\n');
                }
            }
        }
        lines
    }
}

/// One record as an object of texts. Of names that come twice, the record's own attribute counts, then the resource's.
fn line(
    names: &FieldNames,
    resource: KeyValues<'_>,
    scope: ScopeView<'_>,
    record: LogRecordView<'_>,
    now_unix_ns: u64,
) -> String {
    let mut fields: BTreeMap<String, Value> = BTreeMap::new();
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            fields.insert(key.to_owned(), value.into());
        }
    };
    put("scope.name", scope.name());
    put("scope.version", scope.version());
    put("event_name", record.event_name());
    for attributes in [resource, record.attributes()] {
        for attribute in attributes {
            put(attribute.key(), &attribute.value().to_text());
        }
    }
    put("severity", record.severity_text());
    if record.severity_number() != 0 {
        put("severity_number", &record.severity_number().to_string());
    }
    put("trace_id", &record.trace_id().map_or_else(String::new, |id| id.to_string()));
    put("span_id", &record.span_id().map_or_else(String::new, |id| id.to_string()));
    // A record without a text must have one, or VictoriaLogs drops it.
    let message = match record.body() {
        AnyValueView::Empty => "-".into(),
        body => body.to_text(),
    };
    put(&names.message, if message.is_empty() { "-" } else { &message });
    let time = [record.time_unix_nano(), record.observed_time_unix_nano(), now_unix_ns];
    put(&names.time, &rfc3339(time.into_iter().find(|time| *time > 0).unwrap_or(1)));
    Value::from_iter(fields).to_string()
}

fn rfc3339(unix_ns: u64) -> String {
    let clock::Calendar { year, month, day, hour, minute, second, nanosecond } = clock::Calendar::from_unix_ns(unix_ns);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanosecond:09}Z")
}

impl Exporter for VictoriaLogsExporter {
    fn encode(&self, batch: &Batch) -> Encoded {
        let lines = self.lines(batch, clock::unix_ns());
        let body: Bytes = match self.coding {
            (Coding::Identity, _) => lines.into(),
            (coding, level) => compress(coding, level, &lines),
        };
        Encoded::one(batch, body)
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let post = HttpRequest::post(self.url.clone(), self.headers.clone(), request.body.clone());
            match self.client.send(post).await {
                Ok(reply) => {
                    let now = UNIX_EPOCH + Duration::from_nanos(clock::unix_ns());
                    posted(&reply, now, said(&reply))
                }
                Err(error) => unanswered(&error),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_tells_the_names_of_the_fields() {
        let fields = FieldNames { message: "_msg".to_owned(), time: "_time".to_owned() };
        let made = |base: &str, streams: &[&str], ignored: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            url(Url::parse(base).unwrap(), &fields, &own(streams), &own(ignored)).to_string()
        };
        assert_eq!(
            made("http://a:9428", &["service.name", "host&name"], &["x"]),
            "http://a:9428/insert/jsonline?_msg_field=_msg&_time_field=_time\
             &_stream_fields=service.name%2Chost%26name&ignore_fields=x"
        );
        assert_eq!(made("http://a/own?debug=1", &[], &[]), "http://a/own?debug=1&_msg_field=_msg&_time_field=_time");
    }
}
