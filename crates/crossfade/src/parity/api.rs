//! What the HTTP APIs of all backends have in common: asking again, bounds, and what their errors mean.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use transport::http_client::{HttpClient, HttpClientSettings, HttpError, HttpRequest, shown};
use transport::tls::TlsError;
use url::Url;

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
pub(super) enum ApiError {
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
    #[error("{url} does not answer as {api} does: {problem}; is the address complete, with the prefix of its paths?")]
    Malformed { url: String, api: &'static str, problem: String },
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

/// The API of one backend.
#[derive(Debug)]
pub(super) struct Api {
    http: HttpClient,
    base: Url,
    /// What it is, for who reads an error.
    name: &'static str,
}

/// A complete answer that is no error.
#[derive(Debug)]
pub(super) struct Answered {
    /// Who answers, without what is secret.
    pub(super) url: String,
    pub(super) body: Bytes,
    api: &'static str,
}

impl Answered {
    /// The answer is none of this API's.
    pub(super) fn malformed(&self, problem: &str) -> ApiError {
        ApiError::Malformed { url: self.url.clone(), api: self.api, problem: short(problem) }
    }

    /// The answer says that something went wrong, though its status does not.
    pub(super) fn refused(&self, said: &str) -> ApiError {
        ApiError::Refused { url: self.url.clone(), status: StatusCode::OK, said: short(said) }
    }
}

impl Api {
    pub(super) fn new(name: &'static str, base: &Url, headers: HeaderMap) -> Result<Api, ApiError> {
        let settings = HttpClientSettings {
            headers,
            timeout: Some(TIMEOUT),
            response_bytes_max: ANSWER_BYTES_MAX,
            ..HttpClientSettings::default()
        };
        let mut base = base.clone();
        base.set_query(None);
        base.set_fragment(None);
        Ok(Api { http: HttpClient::new(settings)?, base, name })
    }

    /// The address of a path below that of the backend.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Asks, and once more where the backend is away for a moment. `said_in` finds in the body of an error what is said.
    pub(super) async fn ask(
        &self,
        mut request: HttpRequest,
        said_in: fn(&[u8]) -> Option<String>,
    ) -> Result<Answered, ApiError> {
        request.headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
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
            let answered = Answered { url: shown(&request.url), body: reply.body, api: self.name };
            return checked(answered, reply.status, reply.truncated, said_in);
        }
    }
}

/// Holds an answer to its status and its size.
pub(super) fn checked(
    answered: Answered,
    status: StatusCode,
    is_cut: bool,
    said_in: fn(&[u8]) -> Option<String>,
) -> Result<Answered, ApiError> {
    let url = answered.url.clone();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(ApiError::Credentials { url, status });
    }
    if !status.is_success() {
        let said = said_in(&answered.body);
        let said = short(&said.unwrap_or_else(|| String::from_utf8_lossy(&answered.body).into()));
        return Err(ApiError::Refused { url, status, said });
    }
    match is_cut {
        true => Err(ApiError::TooLarge { url, bytes_max: ANSWER_BYTES_MAX }),
        false => Ok(answered),
    }
}

/// In one line, and not longer than anyone reads.
fn short(said: &str) -> String {
    let line: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect();
    if line.is_empty() { "nothing more".to_owned() } else { line }
}

#[cfg(test)]
pub(super) fn answered(body: &[u8]) -> Answered {
    Answered { url: "http://host/api".to_owned(), body: Bytes::copy_from_slice(body), api: "a test" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_may_be_asked_for_in_parts() {
        let said = "query processing would load too many samples into memory in query execution".to_owned();
        let error = ApiError::Refused { url: String::new(), status: StatusCode::UNPROCESSABLE_ENTITY, said };
        assert!(error.is_too_much());
        assert!(!ApiError::Credentials { url: String::new(), status: StatusCode::FORBIDDEN }.is_too_much());
    }
}
