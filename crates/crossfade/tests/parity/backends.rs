//! Live backends, played by a small Prometheus HTTP API.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use parity::Side;
use tokio_util::sync::CancellationToken;
use transport::endpoint::Endpoint;
use transport::server::{self, BodyLimits, ConnInfo, PortSharing, RequestBody, ResponseBody, ServerSettings};
use url::form_urlencoded;

use super::scene::{Fault, LENGTH_S, START_S, check_exit, depth, record, requests};

/// How a backend behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Sound(Fault),
    /// It refuses ranges of more than ten minutes, as one with limits does.
    Limited,
    /// It is away for the first request of each kind.
    Stumbling,
    Unauthorized,
    Broken,
    NoJson,
    Endless,
}

struct Backend {
    side: Side,
    manner: Manner,
    stumbled: std::sync::atomic::AtomicU32,
}

impl Backend {
    /// The series of this side: name, labels, interval and phase of its samples, and its value.
    fn series(&self) -> Vec<(&'static str, &'static str, u64, u64)> {
        match self.side {
            Side::Legacy => vec![
                ("requests_total", "\"job\":\"a\",\"method\":\"GET\"", 15, 1),
                ("queue_depth", "\"job\":\"a\"", 15, 1),
                ("lag_bucket", "\"le\":\"0.5\"", 15, 1),
                ("lag_bucket", "\"le\":\"+Inf\"", 15, 1),
                ("lag_sum", "", 15, 1),
                ("lag_count", "", 15, 1),
            ],
            Side::New => vec![
                ("requests_total", "\"job\":\"b\",\"instance\":\"1\",\"method\":\"GET\"", 10, 4),
                ("queue_depth", "\"job\":\"b\"", 10, 4),
                ("lag_bucket", "\"le\":\"0.5\"", 10, 4),
                ("lag_bucket", "\"le\":\"+Inf\"", 10, 4),
                ("lag_sum", "", 10, 4),
                ("lag_count", "", 10, 4),
            ],
        }
    }

    fn value(&self, name: &str, labels: &str, at_s: u64) -> f64 {
        let fault = if self.manner == Manner::Sound(Fault::Loss) { Fault::Loss } else { Fault::None };
        let seconds = at_s.saturating_sub(START_S) as f64;
        match name {
            "queue_depth" => depth(seconds),
            "lag_bucket" if labels.contains("0.5") => requests(seconds / 2.0, self.side, fault),
            _ => requests(seconds, self.side, fault),
        }
    }

    fn answer(&self, path: &str, form: &BTreeMap<String, String>) -> (StatusCode, String) {
        let success = |data: String| (StatusCode::OK, format!("{{\"status\":\"success\",\"data\":{data}}}"));
        let seconds = |key: &str| form[key].parse::<f64>().unwrap() as u64;
        match path {
            "/prometheus/api/v1/label/__name__/values" => success(
                "[\"requests_total\",\"queue_depth\",\"lag_bucket\",\"lag_sum\",\"lag_count\",\"up\"]".to_owned(),
            ),
            // Only one of the sides knows the types.
            "/prometheus/api/v1/metadata" if self.side == Side::New => (StatusCode::NOT_FOUND, "404 page".to_owned()),
            "/prometheus/api/v1/metadata" => {
                success("{\"lag\":[{\"type\":\"histogram\",\"help\":\"\",\"unit\":\"\"}]}".to_owned())
            }
            "/prometheus/api/v1/query" => {
                let (selector, range) = form["query"].split_once('[').unwrap();
                let range_s = range.strip_suffix("ms]").unwrap().parse::<u64>().unwrap() / 1000;
                if self.manner == Manner::Limited && range_s > 600 {
                    let said = "{\"status\":\"error\",\"error\":\"query processing would load too many samples\"}";
                    return (StatusCode::UNPROCESSABLE_ENTITY, said.to_owned());
                }
                let to = seconds("time");
                let names = selector.strip_prefix("{__name__=~\"").unwrap().strip_suffix("\"}").unwrap();
                let names: Vec<&str> = names.split('|').collect();
                let known = self.series().into_iter().filter(|(name, ..)| names.contains(name));
                success(matrix(known.map(|(name, labels, interval, phase)| {
                    let times = (to - range_s..=to).filter(|at| at % interval == phase);
                    (name, labels, times.map(|at| (at, self.value(name, labels, at))).collect())
                })))
            }
            "/prometheus/api/v1/query_range" if form["query"] == "nonsense(" => {
                (StatusCode::BAD_REQUEST, "{\"status\":\"error\",\"error\":\"parse error: unexpected end\"}".to_owned())
            }
            "/prometheus/api/v1/query_range" => {
                let times = (seconds("start")..=seconds("end")).step_by(seconds("step") as usize);
                let unit = if form["query"].contains("_ms") { 1000.0 } else { 1.0 };
                let samples = times.map(|at| (at, unit * self.value("queue_depth", "", at)));
                success(matrix([("", "", samples.collect())].into_iter()))
            }
            other => panic!("{other} was asked for"),
        }
    }

    fn stumbles(&self) -> bool {
        self.manner == Manner::Stumbling && self.stumbled.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0
    }
}

type Answered = (&'static str, &'static str, Vec<(u64, f64)>);

fn matrix(series: impl Iterator<Item = Answered>) -> String {
    let one = |(name, labels, samples): Answered| {
        let name = if name.is_empty() { String::new() } else { format!("\"__name__\":\"{name}\"") };
        let labels: Vec<&str> = [name.as_str(), labels].into_iter().filter(|part| !part.is_empty()).collect();
        let samples: Vec<String> = samples.iter().map(|(at, value)| format!("[{at},\"{value}\"]")).collect();
        format!("{{\"metric\":{{{}}},\"values\":[{}]}}", labels.join(","), samples.join(","))
    };
    let series: Vec<String> = series.map(one).collect();
    format!("{{\"resultType\":\"matrix\",\"result\":[{}]}}", series.join(","))
}

/// Serves a backend; gives its address.
pub(crate) fn serve(side: Side, manner: Manner) -> String {
    let backend = Backend { side, manner, stumbled: std::sync::atomic::AtomicU32::new(0) };
    let address = serve_with(move |asked: &Asked| match backend.manner {
        Manner::Unauthorized if asked.header("authorization") != "Bearer sesame" => {
            (StatusCode::UNAUTHORIZED, String::new())
        }
        Manner::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "the disk is gone".to_owned()),
        Manner::NoJson => (StatusCode::OK, "<html>Welcome</html>".to_owned()),
        Manner::Endless => (StatusCode::OK, "[".repeat(40 << 20)),
        _ if backend.stumbles() => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        _ => backend.answer(&asked.path, &asked.form),
    });
    format!("{address}/prometheus/")
}

/// What a backend is asked.
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Of the query and of the body.
    pub(crate) form: BTreeMap<String, String>,
    headers: http::HeaderMap,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.form[name].parse().unwrap()
    }
}

/// Serves what a function answers, on loopback; gives the address.
pub(crate) fn serve_with(answer: impl Fn(&Asked) -> (StatusCode, String) + Send + Sync + 'static) -> String {
    let answer = Arc::new(answer);
    let handler = move |request: Request<RequestBody>, _: Arc<ConnInfo>| {
        let answer = Arc::clone(&answer);
        async move {
            let (head, body) = request.into_parts();
            let body = server::read_payload(&head.headers, body, &BodyLimits::default()).await.unwrap().bytes;
            let query = head.uri.query().unwrap_or_default().as_bytes().to_vec();
            let form = form_urlencoded::parse(&[&query[..], b"&", &body].concat()).into_owned().collect();
            let asked = Asked { path: head.uri.path().to_owned(), form, headers: head.headers };
            let (status, text) = answer(&asked);
            let mut response = Response::new(ResponseBody::full(text));
            *response.status_mut() = status;
            response
        }
    };
    let (tell, told) = std::sync::mpsc::channel();
    // The thread ends with the test's process.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let endpoint = Endpoint::parse("127.0.0.1:0").unwrap();
            let listener = server::bind(&endpoint, PortSharing::Exclusive).unwrap();
            tell.send(listener.port().unwrap()).unwrap();
            server::serve(listener, ServerSettings::default(), handler, CancellationToken::new()).await;
        });
    });
    format!("http://127.0.0.1:{}", told.recv().unwrap())
}

/// Compares two backends; gives what was written.
fn check(manners: [Manner; 2], more: &[&str], expected_exit: i32) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("q.yaml"), "- legacy: queue_depth * 1\n  new: sum(queue_depth)\n").unwrap();
    std::fs::write(directory.path().join("bad.promql"), "# one\nnonsense(\n").unwrap();
    let [legacy, new] = [serve(Side::Legacy, manners[0]), serve(Side::New, manners[1])];
    let to = (START_S + LENGTH_S).to_string();
    let mut arguments = vec!["--legacy", &legacy, "--new", &new, "--to", &to, "--range", "50m"];
    arguments.extend(more);
    check_exit(directory.path(), &arguments, expected_exit)
}

pub(crate) const SOUND: Manner = Manner::Sound(Fault::None);

#[test]
fn two_backends_that_scraped_the_same_at_other_moments_are_equal() {
    let (out, _) = check([SOUND, SOUND], &[], 0);
    assert!(out.contains("equivalent: 0 different, 0 inconclusive, 3 equivalent, 0 not comparable"), "{out}");
}

#[test]
fn a_share_that_one_backend_lost_is_found() {
    let (out, _) = check([SOUND, Manner::Sound(Fault::Loss)], &[], 1);
    assert!(out.contains("requests_total{method=\"GET\"}: the new side misses"), "{out}");
}

#[test]
fn a_backend_with_limits_is_asked_for_less_at_a_time() {
    check([Manner::Limited, SOUND], &[], 0);
}

#[test]
fn a_backend_that_is_away_for_a_moment_is_asked_again() {
    check([Manner::Stumbling, SOUND], &[], 0);
}

#[test]
fn expressions_are_asked_of_both_sides_at_the_same_steps() {
    let (out, _) = check([SOUND, SOUND], &["--queries", "q.yaml", "--step", "15s"], 0);
    assert!(out.contains("sum(queue_depth)"), "{out}");
    let (_, err) = check([SOUND, SOUND], &["--queries", "bad.promql"], 3);
    assert!(err.contains("the legacy side, asked `nonsense(`") && err.contains("parse error: unexpected end"), "{err}");
}

#[test]
fn what_a_backend_refuses_is_told() {
    let (_, err) = check([Manner::Unauthorized, SOUND], &[], 3);
    assert!(err.contains("cannot read the legacy side") && err.contains("credentials are missing or wrong"), "{err}");
    check([Manner::Unauthorized, SOUND], &["--legacy-header", "Authorization=Bearer sesame"], 0);
    let (_, err) = check([SOUND, Manner::Broken], &[], 3);
    assert!(err.contains("cannot read the new side") && err.contains("the disk is gone"), "{err}");
    let (_, err) = check([SOUND, Manner::NoJson], &[], 3);
    assert!(err.contains("does not answer as a Prometheus HTTP API does"), "{err}");
    let (_, err) = check([SOUND, Manner::Endless], &[], 3);
    assert!(err.contains("answers with more than 33554432 bytes"), "{err}");
}

#[test]
fn a_recording_and_a_backend_are_compared_by_their_metrics() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    let new = serve(Side::New, SOUND);
    let arguments = ["--legacy", "legacy.jsonl", "--new", &new, "--config", "c.yaml"];
    // What only one of them measures is found, and so is what both do.
    std::fs::write(directory.path().join("c.yaml"), "migration: {parity: {ignore: {labels: [shop, method]}}}").unwrap();
    let (out, _) = check_exit(directory.path(), &arguments, 1);
    assert!(out.contains("equivalent  queue_depth") && out.contains("equivalent  requests_total"), "{out}");
    assert!(out.contains("different   lag") && out.contains("2 equivalent"), "{out}");
}
