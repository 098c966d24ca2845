//! Logs from Loki's HTTP API: <https://grafana.com/docs/loki/latest/reference/loki-http-api/>.
//!
//! A selector of Loki needs a label that is not empty. So that every stream is read once, whatever labels it has, the
//! first label selects the streams that have it, the second one those that have it and not the first, and so on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::Context;
use http::{HeaderMap, HeaderName, HeaderValue};
use otlp::Batch;
use parity::Side;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use transport::http_client::HttpRequest;
use url::Url;

use super::api::{Answered, Api, ApiError};
use super::lines::{Labels, Line, batches};
use super::prometheus::{said_in, understood};
use super::window::Window;

/// So many lines are asked for at once, and fewer where that is too much.
const LINES_MAX: usize = 5000;
const LINES_MIN: usize = 20;

/// More labels than this are no labels.
const LABELS_MAX: usize = 500;

/// Has Loki tell what is no label of the stream apart from those that are.
const ENCODING_FLAGS: HeaderName = HeaderName::from_static("x-loki-response-encoding-flags");

/// The label that Loki 3 makes up, and those that it makes it of.
const SERVICE_NAME: &str = "service_name";
const UNKNOWN_SERVICE: &str = "unknown_service";
const MADE_OF: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// What becomes of the label that Loki makes up where it says nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MadeUp {
    /// It is kept: it is asked for by name.
    Kept,
    /// It goes: a stream is all of its labels, and other backends make up none.
    LeftOut,
}

/// A backend with what it knows.
#[derive(Debug)]
pub(super) struct Loki {
    api: Api,
    side: Side,
    made_up: MadeUp,
    /// What selects every stream once.
    selectors: Vec<String>,
    lines_max: usize,
    /// Moments with more lines than were answered.
    cut_moments: u64,
}

#[derive(Deserialize)]
struct Names {
    /// Left out where there are none.
    #[serde(default)]
    data: Vec<String>,
}

#[derive(Deserialize)]
struct Streams<'a> {
    #[serde(rename = "resultType")]
    kind: Cow<'a, str>,
    #[serde(default = "Vec::new")]
    result: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    stream: BTreeMap<String, String>,
    values: Vec<Value>,
}

struct Value {
    time_unix_ns: u64,
    text: String,
    metadata: BTreeMap<String, String>,
}

/// What is said of a line beside its stream.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Categories {
    structured_metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Whole(String, String, Categories),
            Plain(String, String),
        }
        let (time, text, categories) = match Written::deserialize(deserializer)? {
            Written::Whole(time, text, categories) => (time, text, categories),
            Written::Plain(time, text) => (time, text, Categories::default()),
        };
        let time_unix_ns = time.parse().map_err(|_| D::Error::custom(format!("`{time}` is no time")))?;
        Ok(Value { time_unix_ns, text, metadata: categories.structured_metadata })
    }
}

impl Loki {
    pub(super) fn new(side: Side, base: &Url, headers: HeaderMap, made_up: MadeUp) -> anyhow::Result<Loki> {
        let api = Api::new("Loki", base, headers)?;
        Ok(Loki { api, side, made_up, selectors: Vec::new(), lines_max: LINES_MAX, cut_moments: 0 })
    }

    /// Asks which labels there are.
    pub(super) async fn learn(&mut self, window: Window) -> anyhow::Result<()> {
        let told = || format!("cannot read the logs of the {} side", self.side);
        let mut url = self.api.url("loki/api/v1/labels");
        url.query_pairs_mut()
            .append_pair("start", &window.from_unix_ns.to_string())
            .append_pair("end", &window.to_unix_ns.to_string());
        let answered = self.api.ask(HttpRequest::get(url), said_in).await.with_context(told)?;
        let names: Names = serde_json::from_slice(&answered.body)
            .map_err(|error| answered.malformed(&error.to_string()))
            .with_context(told)?;
        let mut names: Vec<String> = names.data.into_iter().filter(|name| !name.starts_with("__")).collect();
        anyhow::ensure!(names.len() <= LABELS_MAX, "{} labels: at most {LABELS_MAX} are asked for", names.len());
        // Most streams have this one, so that there is little left for the others.
        names.sort_unstable_by_key(|name| (name != SERVICE_NAME, name.clone()));
        self.selectors = selectors(&names);
        Ok(())
    }

    /// Reads the lines from a time on and before another.
    pub(super) async fn read(&mut self, slice: Window, observe: &mut impl FnMut(Batch)) -> anyhow::Result<()> {
        for at in 0..self.selectors.len() {
            let mut from_unix_ns = slice.from_unix_ns;
            while from_unix_ns < slice.to_unix_ns {
                let told = || format!("cannot read the logs of the {} side", self.side);
                let Some(selector) = self.selectors.get(at) else { break };
                let streams = match self.streams(selector, Window { from_unix_ns, ..slice }).await {
                    Err(error) if error.is_too_much() && self.lines_max > LINES_MIN => {
                        self.lines_max = (self.lines_max / 2).max(LINES_MIN);
                        continue;
                    }
                    asked => asked.with_context(told)?,
                };
                from_unix_ns = self.take(streams, Window { from_unix_ns, ..slice }, observe);
            }
        }
        Ok(())
    }

    async fn streams(&self, selector: &str, part: Window) -> Result<Vec<Stream>, ApiError> {
        let mut url = self.api.url("loki/api/v1/query_range");
        url.query_pairs_mut()
            .append_pair("query", selector)
            .append_pair("start", &part.from_unix_ns.to_string())
            .append_pair("end", &part.to_unix_ns.to_string())
            .append_pair("limit", &self.lines_max.to_string())
            .append_pair("direction", "forward");
        let mut request = HttpRequest::get(url);
        request.headers.insert(ENCODING_FLAGS, HeaderValue::from_static("categorize-labels"));
        read_streams(&self.api.ask(request, said_in).await?)
    }

    /// Gives what was answered; says from when on there may be more.
    fn take(&mut self, streams: Vec<Stream>, part: Window, observe: &mut impl FnMut(Batch)) -> u64 {
        let times = || streams.iter().flat_map(|stream| stream.values.iter().map(|value| value.time_unix_ns));
        let count = times().count();
        let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        // The last moment may be answered in part, so it is asked for again; unless nothing but it is in the answer.
        let (until_unix_ns, next_unix_ns) = match (count < self.lines_max, first < last) {
            (true, _) => (part.to_unix_ns, part.to_unix_ns),
            (false, true) => (last, last),
            (false, false) => {
                self.cut_moments += 1;
                (last.saturating_add(1), last.saturating_add(1))
            }
        };
        for Stream { stream, values } in streams {
            let labels = own_labels(stream, self.made_up);
            let is_meant =
                |value: &Value| part.from_unix_ns <= value.time_unix_ns && value.time_unix_ns < until_unix_ns;
            let line = |value: Value| Line {
                time_unix_ns: value.time_unix_ns,
                text: value.text.into(),
                fields: value.metadata.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            };
            let lines: Vec<Line<'_>> = values.into_iter().filter(is_meant).map(line).collect();
            batches(&labels, &lines).into_iter().for_each(&mut *observe);
        }
        next_unix_ns.max(part.from_unix_ns.saturating_add(1))
    }

    /// What kept something from being compared.
    pub(super) fn notes(&self) -> Option<String> {
        (self.cut_moments > 0).then(|| {
            format!(
                "the {} side has more than {} lines of the same time, {} times: some were not answered",
                self.side, self.lines_max, self.cut_moments
            )
        })
    }
}

fn read_streams(answered: &Answered) -> Result<Vec<Stream>, ApiError> {
    let streams: Streams<'_> = understood(answered)?;
    match &*streams.kind {
        "streams" => Ok(streams.result),
        kind => Err(answered.malformed(&format!("{kind} where streams were asked for"))),
    }
}

fn selectors(names: &[String]) -> Vec<String> {
    let selector = |(at, name): (usize, &String)| {
        let without: String = names[..at].iter().map(|other| format!(", {other}=\"\"")).collect();
        format!("{{{name}=~\".+\"{without}}}")
    };
    names.iter().enumerate().map(selector).collect()
}

/// Without what Loki adds by itself.
fn own_labels(mut labels: BTreeMap<String, String>, made_up: MadeUp) -> Labels<'static> {
    labels.retain(|name, _| !name.starts_with("__"));
    let is_made_up = |name: &String| name == UNKNOWN_SERVICE || MADE_OF.iter().any(|of| labels.get(*of) == Some(name));
    if made_up == MadeUp::LeftOut && labels.get(SERVICE_NAME).is_some_and(is_made_up) {
        labels.remove(SERVICE_NAME);
    }
    labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parity::api::answered;

    #[test]
    fn every_stream_is_selected_once() {
        let names = ["service_name", "app", "host"].map(str::to_owned);
        let expected = [
            "{service_name=~\".+\"}",
            "{app=~\".+\", service_name=\"\"}",
            "{host=~\".+\", service_name=\"\", app=\"\"}",
        ];
        assert_eq!(selectors(&names), expected);
    }

    #[test]
    fn a_label_that_loki_made_up_is_left_out() {
        let check_with = |made_up, labels: &[(&str, &str)], expected: &[&str]| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let own = own_labels(labels.collect(), made_up);
            assert_eq!(own.keys().collect::<Vec<_>>(), expected);
        };
        let check = |labels: &[(&str, &str)], expected: &[&str]| check_with(MadeUp::LeftOut, labels, expected);
        check_with(MadeUp::Kept, &[("app", "shop"), ("service_name", "shop")], &["app", "service_name"]);
        check(&[("app", "shop"), ("service_name", "shop"), ("__stream_shard__", "1")], &["app"]);
        check(&[("host", "a"), ("service_name", "unknown_service")], &["host"]);
        check(&[("app", "shop"), ("service_name", "checkout")], &["app", "service_name"]);
    }

    const SOUND: &str = r#"{"status":"success","data":{"resultType":"streams","encodingFlags":["categorize-labels"],
        "result":[{"stream":{"app":"shop"},"values":[
            ["1700000000000000000","one",{"structuredMetadata":{"trace_id":"t"},"parsed":{}}],
            ["1700000000000000001","two",{}],["1700000000000000002","three"]]}],"stats":{}}}"#;

    #[test]
    fn an_answer_has_lines_with_and_without_metadata() {
        let streams = read_streams(&answered(SOUND.as_bytes())).unwrap();
        let metadata: Vec<usize> = streams[0].values.iter().map(|value| value.metadata.len()).collect();
        assert_eq!(metadata, [1, 0, 0]);
        for (body, expected) in [
            ("{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[]}}", "matrix where streams"),
            ("<html>", "does not answer as"),
            ("{\"status\":\"error\",\"error\":\"no\"}", "no"),
        ] {
            let said = read_streams(&answered(body.as_bytes())).err().unwrap().to_string();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn no_answer_makes_it_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut understood = 0;
        for _ in 0..3000 {
            let mut bytes = SOUND.as_bytes().to_vec();
            for _ in 0..random.usize(..4) {
                let at = random.usize(..bytes.len().max(1));
                match random.u8(..3) {
                    _ if bytes.is_empty() => break,
                    0 => bytes[at] = *random.choice(b"0123456789.-eN\",[]{}").unwrap_or(&b'0'),
                    1 => bytes.truncate(at.max(1)),
                    _ => drop(bytes.remove(at)),
                }
            }
            understood += usize::from(read_streams(&answered(&bytes)).is_ok());
        }
        assert!(understood > 300, "{understood} were understood");
    }
}
