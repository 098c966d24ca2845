//! The client of a Prometheus HTTP API: <https://prometheus.io/docs/prometheus/latest/querying/api/>.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, Visitor};
use transport::http_client::{HttpClient, HttpClientSettings, HttpError, HttpRequest, shown};
use transport::tls::TlsError;
use url::Url;
use url::form_urlencoded::Serializer;

/// An answer has so many bytes at most; what is more is asked for in parts.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// How long a backend may think.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How long is waited before an unavailable backend is asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// What a backend says of an error is shown up to here.
const SAID_CHARS_MAX: usize = 300;

/// Why a backend gave no answer. No text holds what is secret in an address.
#[derive(Debug, thiserror::Error)]
pub(in crate::parity) enum ApiError {
    /// No connection, no complete answer in time, and the like.
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It wants other credentials.
    #[error("{url} answers {status}: credentials are missing or wrong; put them into the address or a header")]
    Credentials { url: String, status: StatusCode },
    /// It answers with an error.
    #[error("{url} answers {status}: {said}")]
    Refused { url: String, status: StatusCode, said: String },
    /// It answers more than is read.
    #[error("{url} answers with more than {bytes_max} bytes")]
    TooLarge { url: String, bytes_max: usize },
    /// It answers something else.
    #[error("{url} does not answer as a Prometheus HTTP API does: {problem}")]
    Malformed { url: String, problem: String },
}

impl ApiError {
    /// Whether less at a time may be answered.
    pub(super) fn is_too_much(&self) -> bool {
        match self {
            ApiError::TooLarge { .. } | ApiError::Http(HttpError::TimedOut { .. }) => true,
            ApiError::Refused { said, .. } => {
                let said = said.to_ascii_lowercase();
                ["too many", "too large", "exceed", "limit", "maximum", "timed out"]
                    .iter()
                    .any(|word| said.contains(word))
            }
            _ => false,
        }
    }
}

/// The API of one side.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    base: Url,
}

/// A series of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Series {
    pub(super) metric: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) values: Vec<Sample>,
    /// Native histograms.
    #[serde(default)]
    pub(super) histograms: Vec<IgnoredAny>,
}

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) time_unix_ms: u64,
    pub(super) value: f64,
}

impl<'de> Deserialize<'de> for Sample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (seconds, value) = <(f64, Number)>::deserialize(deserializer)?;
        // What lies beyond does not fit 64 bits of nanoseconds with ease.
        if !(0.0..1e10).contains(&seconds) {
            return Err(D::Error::custom("a time that is none"));
        }
        Ok(Sample { time_unix_ms: (seconds * 1000.0).round() as u64, value: value.0 })
    }
}

/// A number as text, which may also be `NaN` or `+Inf`.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Number;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number as text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(|_| E::custom(format!("`{text}` is no number")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[derive(Deserialize)]
struct Answer<T> {
    status: String,
    data: Option<T>,
    error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Matrix {
    #[serde(rename = "resultType")]
    kind: String,
    pub(super) result: Vec<Series>,
}

#[derive(Deserialize)]
struct Described {
    #[serde(rename = "type")]
    kind: String,
}

impl Client {
    pub(super) fn new(base: &Url, headers: HeaderMap) -> Result<Client, ApiError> {
        let settings = HttpClientSettings {
            headers,
            timeout: Some(TIMEOUT),
            response_bytes_max: ANSWER_BYTES_MAX,
            ..HttpClientSettings::default()
        };
        let mut base = base.clone();
        base.set_query(None);
        base.set_fragment(None);
        Ok(Client { http: HttpClient::new(settings)?, base })
    }

    /// The names of all metrics that had a sample between two times.
    pub(super) async fn names(&self, from_unix_ms: u64, to_unix_ms: u64) -> Result<Vec<String>, ApiError> {
        let mut url = self.url("label/__name__/values");
        url.query_pairs_mut().append_pair("start", &seconds(from_unix_ms)).append_pair("end", &seconds(to_unix_ms));
        self.ask(HttpRequest::get(url)).await
    }

    /// The types of metrics, as far as they are known.
    pub(super) async fn types(&self) -> Result<HashMap<String, String>, ApiError> {
        let asked = self.ask::<HashMap<String, Vec<Described>>>(HttpRequest::get(self.url("metadata"))).await;
        match asked {
            Ok(known) => {
                Ok(known.into_iter().filter_map(|(name, known)| Some((name, known.into_iter().next()?.kind))).collect())
            }
            // Not every backend has this, and names tell much of it too.
            Err(ApiError::Refused { .. } | ApiError::Malformed { .. } | ApiError::TooLarge { .. }) => {
                Ok(HashMap::new())
            }
            Err(error) => Err(error),
        }
    }

    /// The raw samples of a selector, later than `from` and up to `to`.
    pub(super) async fn samples(
        &self,
        selector: &str,
        from_unix_ms: u64,
        to_unix_ms: u64,
    ) -> Result<Vec<Series>, ApiError> {
        let query = format!("{selector}[{}ms]", to_unix_ms - from_unix_ms);
        let form = [("query", query), ("time", seconds(to_unix_ms))];
        let mut series = self.matrix("query", &form).await?;
        // Prometheus 2 and 3 differ in whether a range has its beginning.
        let is_inside = |sample: &Sample| from_unix_ms < sample.time_unix_ms && sample.time_unix_ms <= to_unix_ms;
        series.iter_mut().for_each(|series| series.values.retain(is_inside));
        Ok(series)
    }

    /// The answers to an expression at each step from `from` to `to`.
    pub(super) async fn answers(
        &self,
        expression: &str,
        from_unix_ms: u64,
        to_unix_ms: u64,
        step_ms: u64,
    ) -> Result<Vec<Series>, ApiError> {
        let form = [
            ("query", expression.to_owned()),
            ("start", seconds(from_unix_ms)),
            ("end", seconds(to_unix_ms)),
            ("step", seconds(step_ms)),
        ];
        self.matrix("query_range", &form).await
    }

    async fn matrix(&self, path: &str, form: &[(&str, String)]) -> Result<Vec<Series>, ApiError> {
        let url = self.url(path);
        let body: String = Serializer::new(String::new()).extend_pairs(form).finish();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let matrix: Matrix = self.ask(HttpRequest::post(url.clone(), headers, Bytes::from(body))).await?;
        match matrix.kind.as_str() {
            "matrix" => Ok(matrix.result),
            kind => {
                Err(ApiError::Malformed { url: shown(&url), problem: format!("a {kind} where a matrix was asked for") })
            }
        }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/api/v1/{path}", self.base.path().trim_end_matches('/')));
        url
    }

    async fn ask<T: DeserializeOwned>(&self, mut request: HttpRequest) -> Result<T, ApiError> {
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let mut pauses = PAUSES.iter();
        loop {
            let reply = self.http.send(request.clone()).await;
            let is_passing = match &reply {
                Ok(reply) => matches!(reply.status.as_u16(), 429 | 502..=504),
                Err(error) => matches!(error, HttpError::Broken { .. }),
            };
            if let Some(pause) = pauses.next().filter(|_| is_passing) {
                tokio::time::sleep(*pause).await;
                continue;
            }
            let reply = match reply {
                // A compressed answer beyond the limit is an error of its coding.
                Err(HttpError::Coding { url, .. }) => {
                    return Err(ApiError::TooLarge { url, bytes_max: ANSWER_BYTES_MAX });
                }
                reply => reply?,
            };
            return understood(&shown(&request.url), reply.status, &reply.body, reply.truncated);
        }
    }
}

pub(super) fn understood<T: DeserializeOwned>(
    url: &str,
    status: StatusCode,
    body: &[u8],
    truncated: bool,
) -> Result<T, ApiError> {
    let url = url.to_owned();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(ApiError::Credentials { url, status });
    }
    if !status.is_success() {
        let answer: Option<Answer<IgnoredAny>> = serde_json::from_slice(body).ok();
        let said = answer.and_then(|answer| answer.error);
        return Err(ApiError::Refused {
            url,
            status,
            said: short(&said.unwrap_or_else(|| String::from_utf8_lossy(body).into())),
        });
    }
    if truncated {
        return Err(ApiError::TooLarge { url, bytes_max: ANSWER_BYTES_MAX });
    }
    let answer: Answer<T> = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(error) => return Err(ApiError::Malformed { url, problem: short(&error.to_string()) }),
    };
    match answer {
        Answer { status, data: Some(data), .. } if status == "success" => Ok(data),
        Answer { error: Some(said), .. } => Err(ApiError::Refused { url, status, said: short(&said) }),
        _ => Err(ApiError::Malformed { url, problem: "neither data nor an error".to_owned() }),
    }
}

/// In one line, and not longer than anyone reads.
fn short(said: &str) -> String {
    let line: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect();
    if line.is_empty() { "nothing more".to_owned() } else { line }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: Result<usize, &str>) {
        let said =
            understood::<Matrix>("http://host/api", StatusCode::from_u16(status).unwrap(), body.as_bytes(), false);
        match (said, expected) {
            (Ok(matrix), Ok(series)) => assert_eq!(matrix.result.len(), series, "{body}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (Ok(_), Err(expected)) => panic!("{expected} is missed in {body}"),
            (Err(error), Ok(_)) => panic!("{error}"),
        }
    }

    #[test]
    fn answers_are_understood_and_everything_else_is_told() {
        let matrix = |values: &str| {
            format!(
                "{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{{\"metric\":{{}},{values}}}]}}}}"
            )
        };
        check(200, &matrix("\"values\":[[1.5,\"NaN\"],[2,\"+Inf\"],[3,\"1e3\"]]"), Ok(1));
        check(200, &matrix("\"histograms\":[[1.5,{\"count\":\"1\"}]]"), Ok(1));
        check(200, &matrix("\"values\":[[-1,\"1\"]]"), Err("a time that is none"));
        check(200, &matrix("\"values\":[[1,\"one\"]]"), Err("`one` is no number"));
        check(200, "<html>", Err("does not answer as a Prometheus HTTP API does"));
        check(200, "{\"status\":\"success\"}", Err("neither data nor an error"));
        check(401, "no", Err("credentials are missing or wrong"));
        check(500, "{\"status\":\"error\",\"error\":\"the\\ndisk\"}", Err("500 Internal Server Error: the disk"));
        check(404, "", Err("404 Not Found: nothing more"));
    }

    #[test]
    fn what_is_too_much_may_be_asked_for_in_parts() {
        let said = "query processing would load too many samples into memory in query execution".to_owned();
        let error = ApiError::Refused { url: String::new(), status: StatusCode::UNPROCESSABLE_ENTITY, said };
        assert!(error.is_too_much());
        assert!(!ApiError::Credentials { url: String::new(), status: StatusCode::FORBIDDEN }.is_too_much());
    }
}
