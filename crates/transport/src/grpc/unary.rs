//! Unary calls on the server's side.

use std::future::Future;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::time::Instant;

use super::frame::{FRAME_PREFIX_BYTES, FramePrefix, Messages};
use super::status::ok_trailers;
use super::{CONTENT_TYPE, Code, Status, is_grpc};
use crate::body::{BodyLimits, CompressedFrame, RequestBody, ResponseBody};
use crate::coding::Coding;
use crate::server::text_response;

pub(crate) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub(crate) const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// An empty message: no compression, no length.
static EMPTY_MESSAGE: [u8; FRAME_PREFIX_BYTES] = [0; FRAME_PREFIX_BYTES];
/// A response up to this size is copied behind its prefix; a larger one is sent as a second piece.
const JOINED_BYTES_MAX: usize = 4096;

/// The limits of gRPC calls on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcLimits {
    /// The largest message, before and after decompression.
    pub message_bytes_max: usize,
    /// The longest pause while a message arrives; none, if absent.
    pub idle_timeout: Option<Duration>,
}

impl Default for GrpcLimits {
    /// 4 MiB, as everywhere in gRPC; 30 s.
    fn default() -> Self {
        GrpcLimits { message_bytes_max: 4 << 20, idle_timeout: Some(Duration::from_secs(30)) }
    }
}

/// A unary call as a handler gets it.
#[derive(Debug)]
pub struct UnaryCall {
    /// The request's head: path, metadata, extensions.
    pub head: Parts,
    /// The decompressed message.
    pub message: Bytes,
    /// The message's compressed form, if it may be forwarded verbatim.
    pub frame: Option<CompressedFrame>,
    /// When the caller gives up, from `grpc-timeout`.
    pub deadline: Option<Instant>,
}

impl UnaryCall {
    /// `/package.Service/Method`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The request's header fields.
    #[must_use]
    pub fn metadata(&self) -> &HeaderMap {
        &self.head.headers
    }
}

/// Answers one unary call: reads the message, calls the handler, writes message or status.
///
/// Unknown paths are the caller's to refuse, before the message is read: see [`Status::unknown_method`].
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use transport::grpc::{self, GrpcLimits, Status};
/// use transport::server::{RequestBody, ResponseBody};
///
/// async fn answer(request: Request<RequestBody>) -> Response<ResponseBody> {
///     if request.uri().path() != "/example.Echo/Say" {
///         return Status::unknown_method(request.uri().path()).into_response();
///     }
///     grpc::unary(request, &GrpcLimits::default(), |call| async move { Ok(call.message) }).await
/// }
/// ```
pub async fn unary<H, F>(request: Request<RequestBody>, limits: &GrpcLimits, handler: H) -> Response<ResponseBody>
where
    H: FnOnce(UnaryCall) -> F,
    F: Future<Output = Result<Bytes, Status>>,
{
    if let Some(response) = no_grpc_call(&request) {
        return response;
    }
    let (head, body) = request.into_parts();
    let timeout = match timeout(&head.headers) {
        Ok(timeout) => timeout,
        Err(status) => return status.into_response(),
    };
    let Some(timeout) = timeout else { return answer(call(head, body, limits, None, handler).await) };
    let deadline = Instant::now() + timeout;
    match tokio::time::timeout_at(deadline, call(head, body, limits, Some(deadline), handler)).await {
        Ok(result) => answer(result),
        Err(_elapsed) => Status::new(Code::DeadlineExceeded, "the caller's deadline has passed").into_response(),
    }
}

/// The answer to a request that is no call of gRPC.
pub(super) fn no_grpc_call(request: &Request<RequestBody>) -> Option<Response<ResponseBody>> {
    if !is_grpc(request.headers()) {
        return Some(text_response(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "this port speaks gRPC: content-type is not application/grpc",
        ));
    }
    let is_call = request.method() == Method::POST;
    (!is_call).then(|| text_response(StatusCode::METHOD_NOT_ALLOWED, "gRPC calls are POST requests"))
}

fn answer(result: Result<Bytes, Status>) -> Response<ResponseBody> {
    match result {
        Ok(message) => message_response(&message),
        Err(status) => with_codings(status.into_response()),
    }
}

/// A client whose coding was refused learns from this which ones are not (`compression.md`).
pub(super) fn with_codings(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(Coding::ACCEPTED));
    response
}

/// `grpc-encoding`: how the messages that are marked as compressed are.
pub(super) fn coding(headers: &HeaderMap) -> Result<Coding, Status> {
    let Some(value) = headers.get(GRPC_ENCODING) else { return Ok(Coding::Identity) };
    value.to_str().ok().and_then(Coding::parse).ok_or_else(|| {
        let name = String::from_utf8_lossy(value.as_bytes());
        let accepted = Coding::ACCEPTED;
        Status::new(Code::Unimplemented, format!("grpc-encoding `{name}` is not supported; supported are {accepted}"))
    })
}

async fn call<H, F>(
    head: Parts,
    body: RequestBody,
    limits: &GrpcLimits,
    deadline: Option<Instant>,
    handler: H,
) -> Result<Bytes, Status>
where
    H: FnOnce(UnaryCall) -> F,
    F: Future<Output = Result<Bytes, Status>>,
{
    let coding = coding(&head.headers)?;
    let body_limits = BodyLimits { bytes_max: limits.message_bytes_max, idle_timeout: limits.idle_timeout };
    let mut messages = Messages::new(body, coding, body_limits);
    let message =
        messages.next().await?.ok_or_else(|| Status::new(Code::Internal, "a unary call without a message"))?;
    if messages.next().await?.is_some() {
        return Err(Status::new(Code::Internal, "a unary call with more than one message"));
    }
    drop(messages);
    handler(UnaryCall { head, message: message.payload, frame: message.frame, deadline }).await
}

/// A successful response: head, message, and the status in the trailers.
fn message_response(message: &Bytes) -> Response<ResponseBody> {
    let trailers = ok_trailers();
    let body = if message.is_empty() {
        ResponseBody::with_trailers(Bytes::from_static(&EMPTY_MESSAGE), Bytes::new(), trailers)
    } else {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let prefix = FramePrefix { compressed: false, length }.encode();
        let joined = if message.len() <= JOINED_BYTES_MAX { message.len() } else { 0 };
        let mut first = BytesMut::with_capacity(FRAME_PREFIX_BYTES + joined);
        first.put_slice(&prefix);
        first.put_slice(&message[..joined]);
        ResponseBody::with_trailers(first.freeze(), message.slice(joined..), trailers)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

/// `grpc-timeout`: up to eight digits and a unit.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    let malformed = || {
        let text = String::from_utf8_lossy(value.as_bytes());
        Status::new(Code::InvalidArgument, format!("grpc-timeout `{text}` is not up to eight digits and one of HMSmun"))
    };
    let (unit, digits) = value.as_bytes().split_last().ok_or_else(malformed)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let amount = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let duration = match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return Err(malformed()),
    };
    // Beyond a month nobody waits, and the sum with the present must not overflow.
    Ok(Some(duration.min(Duration::from_secs(30 * 24 * 3600))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_timeout(text: &str, expected: Option<Duration>) {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(text).unwrap());
        assert_eq!(timeout(&headers).ok().flatten(), expected, "{text}");
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        check_timeout("1H", Some(Duration::from_secs(3600)));
        check_timeout("5M", Some(Duration::from_secs(300)));
        check_timeout("10S", Some(Duration::from_secs(10)));
        check_timeout("4999m", Some(Duration::from_millis(4999)));
        check_timeout("7u", Some(Duration::from_micros(7)));
        check_timeout("99999999n", Some(Duration::from_nanos(99_999_999)));
        check_timeout("99999999H", Some(Duration::from_secs(30 * 24 * 3600)));
        for malformed in ["", "S", "10", "123456789S", "-1S", "1.5S", "1s", "+1S"] {
            check_timeout(malformed, None);
        }
    }
}
