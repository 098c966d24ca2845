//! What a server answers to an export request: the export response, with what it rejected, or a status.
//!
//! Specification: <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-response> and
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>. The status is `google.rpc.Status`, whose only detail
//! with a meaning here is `google.rpc.RetryInfo`.
//!
//! ```
//! use otlp::Signal;
//! use otlp::response::ExportResponse;
//!
//! let response = ExportResponse { rejected_items: 3, error_message: "too old".to_owned() };
//! let mut json = Vec::new();
//! response.encode_json(Signal::Logs, &mut json);
//! assert_eq!(json, br#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}"#);
//! assert_eq!(ExportResponse::decode(Signal::Logs, &response.encode()), Ok(response));
//! ```

use std::time::Duration;

use serde::Deserialize;

use crate::check::check_message;
use crate::json::{JsonError, JsonErrorKind, append_message, append_string, transcode};
use crate::schema::Id;
use crate::wire::{FieldValue, Fields, write_bytes_field, write_varint_field};
use crate::{Limits, Malformed, Signal};

/// The answer to a request that was accepted, wholly or in part: `ExportTraceServiceResponse` and its siblings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportResponse {
    /// The spans, data points or log records that were rejected for good.
    pub rejected_items: u64,
    /// Why; or a warning, if nothing was rejected.
    pub error_message: String,
}

impl ExportResponse {
    /// The response in protobuf: no bytes at all where there is nothing to say. It is the same for all signals.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if *self == ExportResponse::default() {
            return out;
        }
        let mut partial = Vec::new();
        if self.rejected_items > 0 {
            // The field is signed.
            write_varint_field(&mut partial, 1, self.rejected_items.min(i64::MAX as u64));
        }
        if !self.error_message.is_empty() {
            write_bytes_field(&mut partial, 2, self.error_message.as_bytes());
        }
        write_bytes_field(&mut out, 1, &partial);
        out
    }

    /// Appends the response in JSON: `{}` where there is nothing to say.
    pub fn encode_json(&self, signal: Signal, out: &mut Vec<u8>) {
        append_message(Id::response(signal), &self.encode(), out);
    }

    /// Reads a response in protobuf.
    ///
    /// # Errors
    /// [`Malformed`] names the first fault.
    pub fn decode(signal: Signal, bytes: &[u8]) -> Result<Self, Malformed> {
        check_message(Id::response(signal), bytes, &Limits::default())?;
        Ok(Self::read(bytes))
    }

    /// Reads a response in JSON. An empty body counts as full success, for servers send it.
    ///
    /// # Errors
    /// [`JsonError`] names the first fault.
    pub fn decode_json(signal: Signal, json: &[u8]) -> Result<Self, JsonError> {
        if json.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let (bytes, _) = transcode(Id::response(signal), json, &Limits::default())?;
        Ok(Self::read(&bytes))
    }

    fn read(bytes: &[u8]) -> Self {
        let mut response = ExportResponse::default();
        for partial in Fields::new(bytes).filter(|field| field.number == 1) {
            for field in Fields::new(partial.value.bytes()) {
                match (field.number, field.value) {
                    (1, FieldValue::Varint(rejected)) => {
                        response.rejected_items = u64::try_from(rejected as i64).unwrap_or(0);
                    }
                    (2, FieldValue::Length(_)) => field.value.str().clone_into(&mut response.error_message),
                    _ => {}
                }
            }
        }
        response
    }
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// Why a request was refused: `google.rpc.Status`, in the body of an HTTP response or in the trailer
/// `grpc-status-details-bin`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The code, as gRPC numbers them: 3 is invalid argument, 8 resource exhausted, 14 unavailable.
    pub code: i32,
    /// What a developer is told.
    pub message: String,
    /// After what time to try again, if the server says so.
    pub retry_delay: Option<Duration>,
}

impl Status {
    /// The status in protobuf.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.code != 0 {
            write_varint_field(&mut out, 1, i64::from(self.code) as u64);
        }
        if !self.message.is_empty() {
            write_bytes_field(&mut out, 2, self.message.as_bytes());
        }
        if let Some(delay) = self.retry_delay {
            let mut detail = Vec::new();
            write_bytes_field(&mut detail, 1, RETRY_INFO.as_bytes());
            write_bytes_field(&mut detail, 2, &encode_retry_info(delay));
            write_bytes_field(&mut out, 3, &detail);
        }
        out
    }

    /// Appends the status in JSON.
    pub fn encode_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"code\":");
        out.extend_from_slice(itoa::Buffer::new().format(self.code).as_bytes());
        if !self.message.is_empty() {
            out.extend_from_slice(b",\"message\":");
            append_string(&self.message, out);
        }
        if let Some(delay) = self.retry_delay {
            out.extend_from_slice(b",\"details\":[{\"@type\":\"");
            out.extend_from_slice(RETRY_INFO.as_bytes());
            out.extend_from_slice(b"\",\"retryDelay\":");
            append_string(&duration_text(delay), out);
            out.extend_from_slice(b"}]");
        }
        out.push(b'}');
    }

    /// Reads a status in protobuf. Details other than `RetryInfo` are skipped.
    ///
    /// # Errors
    /// [`Malformed`] names the first fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        check_message(Id::RpcStatus, bytes, &Limits::default())?;
        let mut status = Status::default();
        for field in Fields::new(bytes) {
            match field.number {
                1 => status.code = field.value.varint() as i32,
                2 => field.value.str().clone_into(&mut status.message),
                3 => status.retry_delay = decode_detail(field.value.bytes()).or(status.retry_delay),
                _ => {}
            }
        }
        Ok(status)
    }

    /// Reads a status in JSON. Details other than `RetryInfo` are skipped.
    ///
    /// # Errors
    /// [`JsonError`] names the first fault.
    pub fn decode_json(json: &[u8]) -> Result<Self, JsonError> {
        let status: StatusJson = serde_json::from_slice(json).map_err(|error| JsonError {
            line: error.line(),
            column: error.column(),
            path: String::new(),
            kind: JsonErrorKind::Syntax(error.to_string()),
        })?;
        let delays = status.details.iter().filter(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"));
        let retry_delay = delays.filter_map(|detail| parse_duration(&detail.retry_delay)).next_back();
        Ok(Status { code: status.code, message: status.message, retry_delay })
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct StatusJson {
    code: i32,
    message: String,
    details: Vec<DetailJson>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DetailJson {
    #[serde(rename = "@type")]
    type_url: String,
    #[serde(rename = "retryDelay", alias = "retry_delay")]
    retry_delay: String,
}

/// `RetryInfo { retry_delay: Duration { seconds, nanos } }`.
fn encode_retry_info(delay: Duration) -> Vec<u8> {
    let mut duration = Vec::new();
    if delay.as_secs() > 0 {
        write_varint_field(&mut duration, 1, delay.as_secs().min(i64::MAX as u64));
    }
    if delay.subsec_nanos() > 0 {
        write_varint_field(&mut duration, 2, u64::from(delay.subsec_nanos()));
    }
    let mut info = Vec::new();
    write_bytes_field(&mut info, 1, &duration);
    info
}

/// The delay in a detail, if it is a `RetryInfo` with one that is not negative.
fn decode_detail(detail: &[u8]) -> Option<Duration> {
    let field = |message, number| Fields::new(message).filter(|field| field.number == number).last();
    if !field(detail, 1)?.value.str().ends_with("google.rpc.RetryInfo") {
        return None;
    }
    let duration = field(field(detail, 2)?.value.bytes(), 1)?.value.bytes();
    let part = |number| field(duration, number).map_or(0, |field| field.value.varint() as i64);
    let nanos = u32::try_from(part(2)).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(part(1)).ok()?, nanos))
}

/// `google.protobuf.Duration` in JSON: seconds with as many decimals as needed, and `s`.
fn duration_text(delay: Duration) -> String {
    let nanos = format!("{:09}", delay.subsec_nanos());
    match nanos.trim_end_matches('0') {
        "" => format!("{}s", delay.as_secs()),
        decimals => format!("{}.{decimals}s", delay.as_secs()),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (seconds, decimals) = match text.strip_suffix('s')?.split_once('.') {
        Some((seconds, decimals)) => (seconds, decimals),
        None => (text.strip_suffix('s')?, ""),
    };
    if decimals.len() > 9 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::new(seconds.parse().ok()?, format!("{decimals:0<9}").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_response(rejected_items: u64, error_message: &str, json: &str) {
        let response = ExportResponse { rejected_items, error_message: error_message.to_owned() };
        for (signal, name) in Signal::ALL.into_iter().zip(["Spans", "DataPoints", "LogRecords"]) {
            let json = json.replace("Items", name);
            let mut encoded = Vec::new();
            response.encode_json(signal, &mut encoded);
            assert_eq!(String::from_utf8(encoded).unwrap(), json);
            assert_eq!(ExportResponse::decode_json(signal, json.as_bytes()).unwrap(), response);
            assert_eq!(ExportResponse::decode(signal, &response.encode()).unwrap(), response);
        }
    }

    #[test]
    fn full_success_is_no_bytes_and_an_empty_object() {
        check_response(0, "", "{}");
        assert!(ExportResponse::default().encode().is_empty());
        assert_eq!(ExportResponse::decode_json(Signal::Logs, b" \n"), Ok(ExportResponse::default()));
    }

    #[test]
    fn partial_success_names_the_items_of_its_signal() {
        check_response(7, "too \"old\"", r#"{"partialSuccess":{"rejectedItems":"7","errorMessage":"too \"old\""}}"#);
        check_response(0, "slow down", r#"{"partialSuccess":{"errorMessage":"slow down"}}"#);
    }

    #[test]
    fn a_negative_count_of_rejected_items_counts_as_none() {
        let mut partial = Vec::new();
        write_varint_field(&mut partial, 1, -3i64 as u64);
        let mut response = Vec::new();
        write_bytes_field(&mut response, 1, &partial);
        assert_eq!(ExportResponse::decode(Signal::Traces, &response).unwrap().rejected_items, 0);
    }

    #[test]
    fn a_malformed_response_is_an_error() {
        assert!(ExportResponse::decode(Signal::Traces, &[0x0a, 5]).is_err());
        assert!(ExportResponse::decode_json(Signal::Traces, b"<html>").is_err());
    }

    fn check_status(status: &Status, json: &str) {
        let mut encoded = Vec::new();
        status.encode_json(&mut encoded);
        assert_eq!(String::from_utf8(encoded).unwrap(), json);
        assert_eq!(&Status::decode_json(json.as_bytes()).unwrap(), status);
        assert_eq!(&Status::decode(&status.encode()).unwrap(), status);
    }

    #[test]
    fn a_status_tells_when_to_retry() {
        let retry_delay = Some(Duration::from_millis(2_500));
        check_status(&Status { code: 14, message: "full".to_owned(), retry_delay }, {
            r#"{"code":14,"message":"full","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.5s"}]}"#
        });
        let retry_delay = Some(Duration::ZERO);
        check_status(&Status { code: 8, message: String::new(), retry_delay }, {
            r#"{"code":8,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"0s"}]}"#
        });
        check_status(
            &Status { code: 3, message: "bad".to_owned(), retry_delay: None },
            r#"{"code":3,"message":"bad"}"#,
        );
    }

    #[test]
    fn other_details_are_skipped() {
        let json =
            br#"{"code":3,"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[]}]}"#;
        assert_eq!(Status::decode_json(json).unwrap(), Status { code: 3, ..Status::default() });
    }

    #[test]
    fn a_status_reads_durations_as_protobuf_writes_them() {
        for (text, expected) in [("1s", Some(1_000)), ("0.010s", Some(10)), ("3", None), ("-1s", None), ("1.x s", None)]
        {
            assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
