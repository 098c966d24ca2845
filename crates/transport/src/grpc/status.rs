//! Status codes, their header fields, and `google.rpc.Status` with `RetryInfo`.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use prost::Message;

use crate::body::ResponseBody;

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Header fields with `-bin` hold base64, which receivers take with and without padding and send without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What stands percent-encoded in `grpc-message`: everything but space to tilde, and the percent sign itself.
const MESSAGE_ESCAPES: &AsciiSet = &CONTROLS.add(b'%');

/// Longest message and details that are sent: header lists have limits, and a message that exceeds them is lost whole.
const MESSAGE_BYTES_MAX: usize = 2048;

const RETRY_INFO_TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The codes of gRPC (`statuscodes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    /// Success.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// An error without a known code.
    Unknown = 2,
    /// The request itself is wrong.
    InvalidArgument = 3,
    /// The deadline passed before the end.
    DeadlineExceeded = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// What should be created exists.
    AlreadyExists = 6,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A quota or a limit is reached.
    ResourceExhausted = 8,
    /// The system is not in the state for this.
    FailedPrecondition = 9,
    /// Concurrent work got in the way.
    Aborted = 10,
    /// Beyond the valid range.
    OutOfRange = 11,
    /// No such method.
    Unimplemented = 12,
    /// Something is broken.
    Internal = 13,
    /// Not available now; try again.
    Unavailable = 14,
    /// Data is lost.
    DataLoss = 15,
    /// No valid credentials.
    Unauthenticated = 16,
}

impl Code {
    const ALL: [(Code, &'static str); 17] = [
        (Code::Ok, "OK"),
        (Code::Cancelled, "CANCELLED"),
        (Code::Unknown, "UNKNOWN"),
        (Code::InvalidArgument, "INVALID_ARGUMENT"),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (Code::NotFound, "NOT_FOUND"),
        (Code::AlreadyExists, "ALREADY_EXISTS"),
        (Code::PermissionDenied, "PERMISSION_DENIED"),
        (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
        (Code::FailedPrecondition, "FAILED_PRECONDITION"),
        (Code::Aborted, "ABORTED"),
        (Code::OutOfRange, "OUT_OF_RANGE"),
        (Code::Unimplemented, "UNIMPLEMENTED"),
        (Code::Internal, "INTERNAL"),
        (Code::Unavailable, "UNAVAILABLE"),
        (Code::DataLoss, "DATA_LOSS"),
        (Code::Unauthenticated, "UNAUTHENTICATED"),
    ];

    /// The code of a number; numbers without a meaning are UNKNOWN, as the specification asks.
    #[must_use]
    pub fn from_number(number: i64) -> Code {
        usize::try_from(number).ok().and_then(|index| Code::ALL.get(index)).map_or(Code::Unknown, |(code, _)| *code)
    }

    /// The name as the specification writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Code::ALL[usize::from(self as u8)].1
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who decided on a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The other side said so.
    Peer,
    /// This side: no connection, no time left, or an answer that cannot be understood.
    Local,
}

/// The outcome of a call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Status {
    /// What kind of failure.
    pub code: Code,
    /// A text for people.
    pub message: String,
    /// When to try again, from `google.rpc.RetryInfo`.
    pub retry_after: Option<Duration>,
    /// Who decided.
    pub origin: Origin,
}

impl Status {
    /// A status of this side.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Status {
        Status { code, message: message.into(), retry_after: None, origin: Origin::Local }
    }

    /// Asks the caller to try again after a while. For RESOURCE_EXHAUSTED, OTLP clients retry only with this.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Status {
        self.retry_after = Some(delay);
        self
    }

    /// UNIMPLEMENTED, for a path that no service here has.
    #[must_use]
    pub fn unknown_method(path: &str) -> Status {
        Status::new(Code::Unimplemented, format!("unknown method {path}"))
    }

    /// A response without a message: status in the head, no body ("Trailers-Only").
    #[must_use]
    pub fn into_response(self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::empty());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(super::CONTENT_TYPE));
        self.write(headers);
        response
    }

    /// The status after messages, in the trailers.
    pub(super) fn trailers(self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(3);
        self.write(&mut trailers);
        trailers
    }

    fn write(&self, headers: &mut HeaderMap) {
        headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(self.code as u8)));
        let message = truncated(&self.message);
        if !message.is_empty() {
            let encoded = utf8_percent_encode(message, MESSAGE_ESCAPES).to_string();
            // Percent-encoding leaves only visible characters and spaces.
            if let Ok(value) = HeaderValue::from_str(&encoded) {
                headers.insert(GRPC_MESSAGE, value);
            }
        }
        if let Some(delay) = self.retry_after {
            let details = BASE64.encode(self.details(message, delay));
            if let Ok(value) = HeaderValue::from_str(&details) {
                headers.insert(GRPC_STATUS_DETAILS, value);
            }
        }
    }

    fn details(&self, message: &str, delay: Duration) -> Vec<u8> {
        let info = RetryInfo { retry_delay: Some(ProtoDuration::from(delay)) };
        let any = Any { type_url: RETRY_INFO_TYPE.to_owned(), value: info.encode_to_vec() };
        RpcStatus { code: i32::from(self.code as u8), message: message.to_owned(), details: vec![any] }.encode_to_vec()
    }
}

/// The trailers of a call that succeeded.
pub(super) fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

fn truncated(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)]
}

/// The status that trailers, or a head without a body, carry; none, if they carry none.
pub(crate) fn decode_status(headers: &HeaderMap) -> Option<Result<(), Status>> {
    let number = headers.get(GRPC_STATUS)?.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(-1);
    if number == 0 {
        return Some(Ok(()));
    }
    let message =
        headers.get(GRPC_MESSAGE).map(|value| percent_decode(value.as_bytes()).decode_utf8_lossy().into_owned());
    let details = headers.get(GRPC_STATUS_DETAILS).and_then(|value| BASE64.decode(value.as_bytes()).ok());
    let details = details.and_then(|bytes| RpcStatus::decode(Bytes::from(bytes)).ok());
    let retry_after = details.as_ref().and_then(RpcStatus::retry_delay);
    let message = message.or_else(|| details.map(|details| details.message)).unwrap_or_default();
    Some(Err(Status { code: Code::from_number(number), message, retry_after, origin: Origin::Peer }))
}

// === google.rpc.Status, google.rpc.RetryInfo, google.protobuf.{Any, Duration} ===

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

impl RpcStatus {
    fn retry_delay(&self) -> Option<Duration> {
        let info = self.details.iter().find(|any| any.type_url == RETRY_INFO_TYPE)?;
        RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?.into_duration()
    }
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl From<Duration> for ProtoDuration {
    fn from(duration: Duration) -> ProtoDuration {
        ProtoDuration {
            seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
        }
    }
}

impl ProtoDuration {
    fn into_duration(self) -> Option<Duration> {
        let nanos = u32::try_from(self.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        Some(Duration::new(u64::try_from(self.seconds).ok()?, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_round_trip(status: Status) {
        let response = status.clone().into_response();
        let found = decode_status(response.headers()).unwrap().unwrap_err();
        assert_eq!(found, Status { origin: Origin::Peer, ..status });
    }

    #[test]
    fn a_status_survives_its_header_fields() {
        check_round_trip(Status::new(Code::Unavailable, ""));
        check_round_trip(Status::new(Code::InvalidArgument, "100 % wrong:\r\n\u{fc}ber\u{1f980}"));
        check_round_trip(Status::new(Code::ResourceExhausted, "full").with_retry_after(Duration::from_millis(1500)));
        check_round_trip(Status::new(Code::Unavailable, "x").with_retry_after(Duration::ZERO));
    }

    #[test]
    fn a_message_is_percent_encoded_as_the_specification_says() {
        let response = Status::new(Code::Internal, "50% \u{e4}\n").into_response();
        assert_eq!(response.headers()["grpc-message"], "50%25 %C3%A4%0A");
        assert_eq!(response.headers()["grpc-status"], "13");
    }

    #[test]
    fn retry_info_has_the_bytes_that_other_implementations_send() {
        // google.rpc.Status { code: 8, details: [Any(RetryInfo { retry_delay: 2s })] } as grpc-go serializes it.
        let mut expected = vec![0x08, 8, 0x1a, 48, 0x0a, 40];
        expected.extend_from_slice(b"type.googleapis.com/google.rpc.RetryInfo");
        expected.extend_from_slice(&[0x12, 4, 0x0a, 2, 0x08, 2]);
        let status = Status::new(Code::ResourceExhausted, "");
        assert_eq!(status.details("", Duration::from_secs(2)), expected);
    }

    #[test]
    fn padded_details_and_unknown_numbers_are_understood() {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_STATUS, HeaderValue::from_static("99"));
        let status = Status::new(Code::Unavailable, "");
        let padded = base64::engine::general_purpose::STANDARD.encode(status.details("why", Duration::from_secs(9)));
        headers.insert(GRPC_STATUS_DETAILS, HeaderValue::from_str(&padded).unwrap());
        let found = decode_status(&headers).unwrap().unwrap_err();
        assert_eq!((found.code, found.retry_after), (Code::Unknown, Some(Duration::from_secs(9))));
        assert_eq!(found.message, "why");
    }

    #[test]
    fn damaged_details_and_negative_delays_are_ignored() {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_STATUS, HeaderValue::from_static("14"));
        headers.insert(GRPC_STATUS_DETAILS, HeaderValue::from_static("!!!"));
        assert_eq!(decode_status(&headers).unwrap().unwrap_err().retry_after, None);
        assert_eq!(ProtoDuration { seconds: -1, nanos: 0 }.into_duration(), None);
        assert_eq!(ProtoDuration { seconds: 1, nanos: -5 }.into_duration(), None);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let response = Status::new(Code::Internal, "\u{1f980}".repeat(2000)).into_response();
        let found = decode_status(response.headers()).unwrap().unwrap_err();
        assert_eq!(found.message, "\u{1f980}".repeat(512));
    }
}
