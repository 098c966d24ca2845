//! Calls with any number of messages in both directions, on the server's side.

use std::future::Future;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::frame::{FRAME_PREFIX_BYTES, FramePrefix, Message, Messages};
use super::unary::{coding, no_grpc_call, timeout, with_codings};
use super::{CONTENT_TYPE, Code, GrpcLimits, Status};
use crate::body::{BodyLimits, RequestBody, ResponseBody};

/// Answers that wait for the client to take them. More hold the handler back.
const WAITING_ANSWERS_MAX: usize = 16;

/// A call with streams as a handler gets it.
#[derive(Debug)]
pub struct StreamCall {
    /// The request's head: path, metadata, extensions.
    pub head: Parts,
    messages: Messages,
    answers: mpsc::Sender<Bytes>,
    idle_timeout: Option<Duration>,
}

impl StreamCall {
    /// `/package.Service/Method`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The next message, or none when the client has sent its last.
    ///
    /// Between two messages a client may be silent for as long as its connection lives. A message that has begun must
    /// go on and come to its end as a request must. What the client sends meanwhile is held back by HTTP/2's flow
    /// control until it is asked for.
    ///
    /// # Errors
    /// A [`Status`] to end the call with, as for a unary call. After one the stream has no further messages.
    pub async fn next(&mut self) -> Result<Option<Message>, Status> {
        self.messages.next().await
    }

    /// Sends a message. Waits where the client does not take what it was sent.
    ///
    /// # Errors
    /// The client has gone, or has taken nothing for [`GrpcLimits::idle_timeout`].
    pub async fn answer(&mut self, message: &Bytes) -> Result<(), Status> {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut framed = BytesMut::with_capacity(FRAME_PREFIX_BYTES + message.len());
        framed.put_slice(&FramePrefix { compressed: false, length }.encode());
        framed.put_slice(message);
        let sending = self.answers.send(framed.freeze());
        let sent = match self.idle_timeout {
            None => Ok(sending.await),
            Some(limit) => tokio::time::timeout(limit, sending).await,
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(Status::new(Code::Cancelled, "the client has gone")),
            Err(_elapsed) => Err(Status::new(Code::DeadlineExceeded, "the client does not take its answers")),
        }
    }
}

/// Answers a call of streams: the handler takes messages and gives answers, as it likes, and says how the call ended.
///
/// The head of the response goes out at once, and the status with the trailers. The handler runs beside the
/// connection, and is dropped when the client resets the stream or the connection breaks.
///
/// ```
/// use http::{Request, Response};
/// use transport::grpc::{self, GrpcLimits, Status, StreamCall};
/// use transport::server::{RequestBody, ResponseBody};
///
/// async fn answer(request: Request<RequestBody>) -> Response<ResponseBody> {
///     if request.uri().path() != "/example.Echo/Repeat" {
///         return Status::unknown_method(request.uri().path()).into_response();
///     }
///     grpc::streaming(request, &GrpcLimits::default(), |mut call: StreamCall| async move {
///         while let Some(message) = call.next().await? {
///             call.answer(&message.payload).await?;
///         }
///         Ok(())
///     })
/// }
/// ```
pub fn streaming<H, F>(request: Request<RequestBody>, limits: &GrpcLimits, handler: H) -> Response<ResponseBody>
where
    H: FnOnce(StreamCall) -> F,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    if let Some(response) = no_grpc_call(&request) {
        return response;
    }
    let (head, body) = request.into_parts();
    let asked = timeout(&head.headers).and_then(|timeout| Ok((timeout, coding(&head.headers)?)));
    let (timeout, coding) = match asked {
        Ok(asked) => asked,
        Err(status) => return with_codings(status.into_response()),
    };
    let body_limits = BodyLimits { bytes_max: limits.message_bytes_max, idle_timeout: limits.idle_timeout };
    let messages = Messages::of_stream(body, coding, body_limits);
    let (answers, waiting) = mpsc::channel(WAITING_ANSWERS_MAX);
    let handled = handler(StreamCall { head, messages, answers, idle_timeout: limits.idle_timeout });
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let driver = tokio::spawn(async move {
        let ended = match deadline {
            None => handled.await,
            Some(deadline) => tokio::time::timeout_at(deadline, handled).await.unwrap_or_else(|_elapsed| {
                Err(Status::new(Code::DeadlineExceeded, "the caller's deadline has passed"))
            }),
        };
        trailers(ended)
    });
    let mut response = Response::new(ResponseBody::driven(waiting, driver, || {
        trailers(Err(Status::new(Code::Internal, "the call broke off")))
    }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    with_codings(response)
}

fn trailers(ended: Result<(), Status>) -> HeaderMap {
    match ended {
        Ok(()) => super::status::ok_trailers(),
        Err(status) => status.trailers(),
    }
}
