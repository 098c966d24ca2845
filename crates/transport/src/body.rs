//! Request and response bodies: one concrete type each, and reading a body whole with limits.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::coding::{Coding, CodingError, Members, decompress_members};

/// A slice of a receive buffer smaller than this is copied out: it would pin the whole buffer.
const ZERO_COPY_BYTES_MIN: usize = 16 << 10;
/// Room made at once for a body whose length is only claimed.
const RESERVE_BYTES_MAX: usize = 4 << 20;

/// The body of a request as it comes in.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    /// The whole request, or the message of a stream that is arriving, must be there by then.
    deadline: Option<Instant>,
    /// What each message of a stream may take.
    message_limit: Option<Duration>,
    /// What all requests of the server hold, and this one of it.
    receiving: Arc<Receiving>,
    held_bytes: usize,
}

/// What the bodies that are still arriving at a server hold together.
#[derive(Debug)]
pub(crate) struct Receiving {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Receiving {
    pub(crate) fn new(bytes_max: usize) -> Receiving {
        Receiving { bytes: AtomicUsize::new(0), bytes_max }
    }
}

/// What a body may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// The most bytes, before and after decompression.
    pub bytes_max: usize,
    /// The longest pause between two pieces; none, if absent.
    pub idle_timeout: Option<Duration>,
}

impl Default for BodyLimits {
    /// 20 MiB, as in the Collector; 30 s without a byte.
    fn default() -> Self {
        BodyLimits { bytes_max: 20 << 20, idle_timeout: Some(Duration::from_secs(30)) }
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More bytes than permitted, as declared or as counted.
    #[error("the body is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The sender paused too long, or the whole took too long.
    #[error("the body did not arrive in time: {received_bytes} bytes came")]
    TimedOut {
        /// What had come by then.
        received_bytes: usize,
    },
    /// The server receives too much at the same time.
    #[error("the server holds {limit_bytes} bytes of requests that are still arriving; try again")]
    Busy {
        /// The limit of all requests together.
        limit_bytes: usize,
    },
    /// The connection broke, or the sender gave up.
    #[error("the body broke off after {received_bytes} bytes: {cause}")]
    Broken {
        /// What had come by then.
        received_bytes: usize,
        /// What the connection reported.
        cause: String,
    },
}

/// Why a payload could not be had from a request.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The body could not be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body could not be decompressed.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// A content coding that nobody knows here.
    #[error("the content coding `{0}` is not supported; supported are {accepted}", accepted = Coding::ACCEPTED)]
    Unsupported(String),
}

impl PayloadError {
    /// The HTTP status that says so: 413, 408, 503, 400 or 415.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            PayloadError::Body(BodyError::TooLarge { .. }) | PayloadError::Coding(CodingError::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            PayloadError::Body(BodyError::TimedOut { .. }) => StatusCode::REQUEST_TIMEOUT,
            PayloadError::Body(BodyError::Busy { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            PayloadError::Body(BodyError::Broken { .. }) | PayloadError::Coding(CodingError::Corrupt { .. }) => {
                StatusCode::BAD_REQUEST
            }
            PayloadError::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

/// The compressed form in which a payload arrived, fit to be forwarded in its place: exactly one member or frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressedFrame {
    /// How it is compressed; never identity.
    pub coding: Coding,
    /// The compressed bytes, without any prefix of a protocol.
    pub bytes: Bytes,
}

/// A payload and, where there is one, the frame it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The decompressed bytes.
    pub bytes: Bytes,
    /// The compressed form, if it may be forwarded verbatim.
    pub frame: Option<CompressedFrame>,
}

// === impl RequestBody ===

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, deadline: Option<Instant>, receiving: Arc<Receiving>) -> RequestBody {
        RequestBody { incoming, deadline, message_limit: None, receiving, held_bytes: 0 }
    }

    /// Makes what the whole request may take the limit of each message. It has no end before the first begins.
    pub(crate) fn limit_each_message(&mut self) {
        let now = Instant::now();
        self.message_limit = self.deadline.take().map(|deadline| deadline.saturating_duration_since(now));
    }

    /// A message has begun to arrive.
    pub(crate) fn begin_message(&mut self) {
        self.deadline = self.message_limit.map(|limit| Instant::now() + limit);
    }

    /// A message is there whole, and with it so many bytes of the next one.
    pub(crate) fn end_message(&mut self, rest_bytes: usize) {
        let released = self.held_bytes.saturating_sub(rest_bytes);
        self.held_bytes -= released;
        self.receiving.bytes.fetch_sub(released, Ordering::Relaxed);
        self.deadline = None;
        if rest_bytes > 0 {
            self.begin_message();
        }
    }

    /// Counts data among what the server holds, as long as this body lives.
    fn hold(&mut self, data: Option<Bytes>) -> Result<Option<Bytes>, BodyError> {
        let more = data.as_ref().map_or(0, Bytes::len);
        self.held_bytes += more;
        let before = self.receiving.bytes.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.receiving.bytes_max {
            return Err(BodyError::Busy { limit_bytes: self.receiving.bytes_max });
        }
        Ok(data)
    }

    /// The next piece of data; trailers are passed over. `None` is the end.
    pub(crate) async fn next_data(
        &mut self,
        limits: &BodyLimits,
        received_bytes: usize,
    ) -> Result<Option<Bytes>, BodyError> {
        let incoming = &mut self.incoming;
        let mut next = pin!(async {
            loop {
                let frame = poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx)).await;
                match frame {
                    None => return Ok(None),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if data.is_empty() => {}
                        Ok(data) => return Ok(Some(data)),
                        Err(_trailers) => {}
                    },
                    Some(Err(error)) => {
                        return Err(BodyError::Broken { received_bytes, cause: chain(&error) });
                    }
                }
            }
        });
        // Most data is there already, and then neither a clock nor a timer is needed.
        let ready = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
        if let Poll::Ready(ready) = ready {
            return self.hold(ready?);
        }
        let idle = limits.idle_timeout.map(|pause| Instant::now() + pause);
        let deadline = match (idle, self.deadline) {
            (Some(idle), Some(whole)) => Some(idle.min(whole)),
            (one, other) => one.or(other),
        };
        let data = match deadline {
            None => next.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, next).await {
                Ok(next) => next,
                Err(_elapsed) => Err(BodyError::TimedOut { received_bytes }),
            },
        };
        self.hold(data?)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.receiving.bytes.fetch_sub(self.held_bytes, Ordering::Relaxed);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Reads a body whole, into one buffer, at most `limits.bytes_max` of it.
///
/// A body that arrives in one large piece is not copied. What the length field claims is refused at once if it is too
/// large, and believed only up to a bound when room is made.
///
/// # Errors
/// [`BodyError`]; the connection stays usable where the protocol permits.
pub async fn read_body(mut body: RequestBody, limits: &BodyLimits) -> Result<Bytes, BodyError> {
    let limit_bytes = limits.bytes_max;
    let declared = body.size_hint().exact().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    if declared.is_some_and(|size| size > limit_bytes) {
        return Err(BodyError::TooLarge { limit_bytes });
    }
    let Some(first) = body.next_data(limits, 0).await? else { return Ok(Bytes::new()) };
    if first.len() > limit_bytes {
        return Err(BodyError::TooLarge { limit_bytes });
    }
    if body.is_end_stream() || declared == Some(first.len()) {
        return Ok(own(first));
    }
    let Some(second) = body.next_data(limits, first.len()).await? else { return Ok(own(first)) };
    let room = declared.unwrap_or(first.len() * 4).min(RESERVE_BYTES_MAX).max(first.len() + second.len());
    let mut whole = BytesMut::with_capacity(room.min(limit_bytes));
    whole.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(data) = next {
        if data.len() > limit_bytes - whole.len() {
            return Err(BodyError::TooLarge { limit_bytes });
        }
        whole.extend_from_slice(&data);
        drop(data);
        next = body.next_data(limits, whole.len()).await?;
    }
    Ok(exact(whole))
}

/// Reads a request's payload: the body whole, then decompressed as its `Content-Encoding` says.
///
/// # Errors
/// [`PayloadError`], whose [`status`](PayloadError::status) answers the client.
pub async fn read_payload(
    headers: &HeaderMap,
    body: RequestBody,
    limits: &BodyLimits,
) -> Result<Payload, PayloadError> {
    let coding = content_coding(headers)?;
    let bytes = read_body(body, limits).await?;
    if coding == Coding::Identity {
        return Ok(Payload { bytes, frame: None });
    }
    let done = decompress_members(coding, &bytes, limits.bytes_max)?;
    let frame = (done.members == Members::One).then_some(CompressedFrame { coding, bytes });
    Ok(Payload { bytes: done.payload, frame })
}

/// The one content coding that a message names.
pub(crate) fn content_coding(headers: &HeaderMap) -> Result<Coding, PayloadError> {
    let mut coding = Coding::Identity;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let unsupported = || PayloadError::Unsupported(String::from_utf8_lossy(value.as_bytes()).into_owned());
        let named = value.to_str().ok().and_then(Coding::parse).ok_or_else(unsupported)?;
        match (coding, named) {
            (_, Coding::Identity) => {}
            (Coding::Identity, named) => coding = named,
            // Codings on top of each other are legal and nobody's need.
            _ => return Err(unsupported()),
        }
    }
    Ok(coding)
}

/// A piece that owns most of its buffer is kept; a small slice is copied out, so that it pins nothing.
pub(crate) fn own(data: Bytes) -> Bytes {
    if data.len() >= ZERO_COPY_BYTES_MIN { data } else { Bytes::copy_from_slice(&data) }
}

/// Gives back the unused part of a buffer where it matters.
pub(crate) fn exact(whole: BytesMut) -> Bytes {
    if whole.capacity() - whole.len() > whole.len() / 8 + 64 { Bytes::copy_from_slice(&whole) } else { whole.freeze() }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The body of a response: nothing, bytes, bytes with trailers, or a stream, which may have a task that makes it.
#[derive(Debug, Default)]
pub struct ResponseBody {
    data: Option<Bytes>,
    more: Option<Bytes>,
    trailers: Option<HeaderMap>,
    stream: Option<mpsc::Receiver<Bytes>>,
    driver: Option<Driver>,
    kept: Option<Kept>,
}

/// The task that makes a stream and, at its end, the trailers. It ends with the body.
#[derive(Debug)]
struct Driver {
    task: JoinHandle<HeaderMap>,
    /// The trailers of a task that did not come to its end.
    broken: fn() -> HeaderMap,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What lives as long as the body.
struct Kept(#[expect(dead_code, reason = "it is dropped, and nothing else")] Box<dyn Send + Sync>);

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl ResponseBody {
    /// No body.
    #[must_use]
    pub fn empty() -> ResponseBody {
        ResponseBody::default()
    }

    /// One buffer.
    #[must_use]
    pub fn full(data: impl Into<Bytes>) -> ResponseBody {
        let data = data.into();
        ResponseBody { data: (!data.is_empty()).then_some(data), ..ResponseBody::default() }
    }

    /// A head, a payload, and trailers, as a gRPC response has them.
    #[must_use]
    pub fn with_trailers(head: Bytes, payload: Bytes, trailers: HeaderMap) -> ResponseBody {
        let some = |data: Bytes| (!data.is_empty()).then_some(data);
        ResponseBody { data: some(head), more: some(payload), trailers: Some(trailers), ..ResponseBody::default() }
    }

    /// A body that is produced while it is sent; the channel's capacity is the bound on what waits.
    #[must_use]
    pub fn stream(pieces: mpsc::Receiver<Bytes>) -> ResponseBody {
        ResponseBody { stream: Some(pieces), ..ResponseBody::default() }
    }

    /// A stream and the task that makes it, which is ended when the body is dropped. `broken` gives the trailers of a
    /// task that did not come to its end.
    pub(crate) fn driven(
        pieces: mpsc::Receiver<Bytes>,
        task: JoinHandle<HeaderMap>,
        broken: fn() -> HeaderMap,
    ) -> ResponseBody {
        let driver = Some(Driver { task, broken });
        ResponseBody { stream: Some(pieces), driver, ..ResponseBody::default() }
    }

    /// Keeps something for as long as a stream is sent; what is there already is sent at once.
    pub(crate) fn keep(&mut self, kept: impl Send + Sync + 'static) {
        if self.stream.is_some() {
            self.kept = Some(Kept(Box::new(kept)));
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Some(data) = this.data.take().or_else(|| this.more.take()) {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(stream) = &mut this.stream {
            match stream.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Poll::Ready(None) => this.stream = None,
            }
        }
        if let Some(driver) = &mut this.driver {
            let Poll::Ready(ended) = Pin::new(&mut driver.task).poll(cx) else { return Poll::Pending };
            this.trailers = Some(ended.unwrap_or_else(|_broken| (driver.broken)()));
            this.driver = None;
        }
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
            && self.more.is_none()
            && self.trailers.is_none()
            && self.stream.is_none()
            && self.driver.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let known = self.data.as_ref().map_or(0, Bytes::len) + self.more.as_ref().map_or(0, Bytes::len);
        // An exact size becomes a `content-length`, which answers with trailers, those of gRPC, do without.
        if self.stream.is_none() && self.trailers.is_none() {
            SizeHint::with_exact(known as u64)
        } else {
            let mut hint = SizeHint::new();
            hint.set_lower(known as u64);
            hint
        }
    }
}
