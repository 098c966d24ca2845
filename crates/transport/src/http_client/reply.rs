//! Answers: read up to a limit, decompressed, and what `Retry-After` says.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use url::Url;

use super::{HttpError, shown};
use crate::body::{chain, content_coding, exact, own};
use crate::coding::{Coding, CodingError, decompress};

/// An answer of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, as much of it as the limit permits.
    pub body: Bytes,
    /// Whether the body was longer than the limit, and is cut off.
    pub truncated: bool,
}

impl HttpReply {
    pub(super) async fn read(response: Response<Incoming>, limit_bytes: usize) -> Result<HttpReply, String> {
        let (head, mut incoming) = response.into_parts();
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        let mut truncated = false;
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
            let Ok(mut data) = frame.map_err(|error| chain(&error))?.into_data() else { continue };
            let room = limit_bytes - first.len() - more.len();
            truncated = data.len() > room;
            data.truncate(room);
            if first.is_empty() {
                first = data;
            } else {
                more.extend_from_slice(&data);
            }
            if truncated {
                break;
            }
        }
        let body = if more.is_empty() {
            own(first)
        } else {
            let mut whole = BytesMut::with_capacity(first.len() + more.len());
            whole.extend_from_slice(&first);
            whole.extend_from_slice(&more);
            exact(whole)
        };
        Ok(HttpReply { status: head.status, headers: head.headers, body, truncated })
    }

    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308) && self.headers.contains_key(header::LOCATION)
    }

    /// The answer without its content coding.
    pub(super) fn decoded(mut self, url: &Url, limit_bytes: usize) -> Result<HttpReply, HttpError> {
        let failed = |cause: String| HttpError::Coding { url: shown(url), cause };
        let coding = content_coding(&self.headers).map_err(|error| failed(error.to_string()))?;
        if coding == Coding::Identity || self.body.is_empty() {
            return Ok(self);
        }
        if self.truncated {
            return Err(failed(CodingError::TooLarge { limit_bytes }.to_string()));
        }
        match decompress(coding, &self.body, limit_bytes) {
            Ok(body) => self.body = body,
            Err(error) => return Err(failed(error.to_string())),
        }
        self.headers.remove(header::CONTENT_ENCODING);
        self.headers.remove(header::CONTENT_LENGTH);
        Ok(self)
    }

    /// How long the server asks to wait; see [`retry_after`].
    #[must_use]
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        retry_after(&self.headers, now)
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date, from which the answer's own date is subtracted where
/// it has one, so that a clock that is wrong here does no harm.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
    let from = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    Some(at.duration_since(from).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(retry_after_text: &'static str, date: Option<&'static str>, expected: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(retry_after_text));
        if let Some(date) = date {
            headers.insert(header::DATE, HeaderValue::from_static(date));
        }
        // 1994-11-06T08:49:30Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{retry_after_text}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        check("120", None, Some(120));
        check("Sun, 06 Nov 1994 08:49:37 GMT", None, Some(7));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:48:37 GMT"), Some(60));
        check("Sun, 06 Nov 1994 08:00:00 GMT", None, Some(0));
        check("soon", None, None);
        check("-5", None, None);
    }
}
