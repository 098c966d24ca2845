//! The client of a Prometheus HTTP API: <https://prometheus.io/docs/prometheus/latest/querying/api/>.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use prom::write::NativeHistogram;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, Visitor};
use transport::http_client::HttpRequest;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::parity::api::{Answered, Api, ApiError};

/// The API of one side.
#[derive(Debug)]
pub(super) struct Client(Api);

/// A series of an answer.
#[derive(Debug, Deserialize)]
pub(in crate::parity) struct Series {
    pub(in crate::parity) metric: BTreeMap<String, String>,
    #[serde(default)]
    pub(in crate::parity) values: Vec<Sample>,
    #[serde(default, deserialize_with = "super::native::histograms")]
    pub(in crate::parity) histograms: Vec<NativeHistogram>,
}

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::parity) struct Sample {
    pub(in crate::parity) time_unix_ms: u64,
    pub(in crate::parity) value: f64,
}

impl<'de> Deserialize<'de> for Sample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (time, value) = <(Time, Number)>::deserialize(deserializer)?;
        Ok(Sample { time_unix_ms: time.0, value: value.0 })
    }
}

/// A time in seconds, as milliseconds since the epoch.
pub(super) struct Time(pub(super) u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        // What lies beyond does not fit 64 bits of nanoseconds with ease.
        if !(0.0..1e10).contains(&seconds) {
            return Err(D::Error::custom("a time that is none"));
        }
        Ok(Time((seconds * 1000.0).round() as u64))
    }
}

/// A number as text, which may also be `NaN` or `+Inf`.
#[derive(Clone, Copy)]
pub(super) struct Number(pub(super) f64);

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
        Api::new("a Prometheus HTTP API", base, headers).map(Client)
    }

    /// The names of all metrics that had a sample between two times.
    pub(super) async fn names(&self, from_unix_ms: u64, to_unix_ms: u64) -> Result<Vec<String>, ApiError> {
        let mut url = self.url("label/__name__/values");
        url.query_pairs_mut().append_pair("start", &seconds(from_unix_ms)).append_pair("end", &seconds(to_unix_ms));
        understood(&self.ask(HttpRequest::get(url)).await?)
    }

    /// The types of metrics, as far as they are known.
    pub(super) async fn types(&self) -> Result<HashMap<String, String>, ApiError> {
        let asked = self.ask(HttpRequest::get(self.url("metadata"))).await;
        match asked.and_then(|answered| understood::<HashMap<String, Vec<Described>>>(&answered)) {
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
        let is_inside = |time_unix_ms: u64| from_unix_ms < time_unix_ms && time_unix_ms <= to_unix_ms;
        for series in &mut series {
            series.values.retain(|sample| is_inside(sample.time_unix_ms));
            series.histograms.retain(|histogram| is_inside(histogram.timestamp.unsigned_abs()));
        }
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
        let answered = self.ask(HttpRequest::post(url, headers, Bytes::from(body))).await?;
        let matrix: Matrix = understood(&answered)?;
        match matrix.kind.as_str() {
            "matrix" => Ok(matrix.result),
            kind => Err(answered.malformed(&format!("a {kind} where a matrix was asked for"))),
        }
    }

    fn url(&self, path: &str) -> Url {
        self.0.url(&format!("api/v1/{path}"))
    }

    async fn ask(&self, request: HttpRequest) -> Result<Answered, ApiError> {
        self.0.ask(request, said_in).await
    }
}

/// What the API says of an error.
pub(in crate::parity) fn said_in(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Answer<IgnoredAny>>(body).ok()?.error
}

/// The data of an answer.
pub(in crate::parity) fn understood<T: DeserializeOwned>(answered: &Answered) -> Result<T, ApiError> {
    match serde_json::from_slice::<Answer<T>>(&answered.body) {
        Ok(Answer { status, data: Some(data), .. }) if status == "success" => Ok(data),
        Ok(Answer { error: Some(said), .. }) => Err(answered.refused(&said)),
        Ok(_) => Err(answered.malformed("neither data nor an error")),
        Err(error) => Err(answered.malformed(&error.to_string())),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::parity::api::{answered, checked};

    fn check(status: u16, body: &str, expected: Result<usize, &str>) {
        let status = StatusCode::from_u16(status).unwrap();
        let said = checked(answered(body.as_bytes()), status, false, said_in);
        let said = said.and_then(|answered| understood::<Matrix>(&answered));
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
        check(200, "<html>", Err("does not answer as a test does"));
        check(200, "{\"status\":\"success\"}", Err("neither data nor an error"));
        check(401, "no", Err("credentials are missing or wrong"));
        check(500, "{\"status\":\"error\",\"error\":\"the\\ndisk\"}", Err("500 Internal Server Error: the disk"));
        check(404, "", Err("404 Not Found: nothing more"));
    }
}
