//! A connection that does not wait for ever, neither for its client nor when the server stops.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::io::Io;

/// What is still read from one connection after the server was told to stop.
pub const STOP_READ_BYTES_MAX: usize = 8 << 20;
/// That nothing can be read at once does not say that nothing has arrived: the runtime has to hear of it first.
const STOP_READ_WAIT_MAX: Duration = Duration::from_millis(50);

/// A client's connection. Reads fail with [`TimedOut`](io::ErrorKind::TimedOut) when nothing comes for too long, and
/// with [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) when the server stops.
pub struct StreamIo {
    io: Io,
    reading: Patience,
    writing: Patience,
    reading_the_rest: Patience,
    token: CancellationToken,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    stop: Stop,
}

/// Whether the server has been seen to stop, and what may still be read then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    NotYet,
    ReadingTheRest { bytes_left: usize },
}

impl StreamIo {
    pub(super) fn new(io: Io, idle_timeout: Option<Duration>, stop: CancellationToken) -> StreamIo {
        StreamIo {
            io,
            reading: Patience::new(idle_timeout),
            writing: Patience::new(idle_timeout),
            reading_the_rest: Patience::new(Some(STOP_READ_WAIT_MAX)),
            stopped: Box::pin(stop.clone().cancelled_owned()),
            token: stop,
            stop: Stop::NotYet,
        }
    }

    fn note_stop(&mut self, cx: &mut Context<'_>, read: &Poll<io::Result<()>>) {
        // To be woken by the stop costs more than to look, and is needed by those who wait only.
        if self.stop != Stop::NotYet {
            return;
        }
        let is_stopped = match read {
            Poll::Pending => self.stopped.as_mut().poll(cx).is_ready(),
            Poll::Ready(_) => self.token.is_cancelled(),
        };
        if is_stopped {
            self.stop = Stop::ReadingTheRest { bytes_left: STOP_READ_BYTES_MAX };
        }
    }
}

fn stopping() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "this server is stopping")
}

impl AsyncRead for StreamIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stop == (Stop::ReadingTheRest { bytes_left: 0 }) {
            return Poll::Ready(Err(stopping()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        this.note_stop(cx, &read);
        if let Stop::ReadingTheRest { bytes_left } = &mut this.stop {
            *bytes_left = bytes_left.saturating_sub(buf.filled().len() - before);
            let read = this.reading_the_rest.bound(cx, read);
            return read.map_err(|error| if error.kind() == io::ErrorKind::TimedOut { stopping() } else { error });
        }
        this.reading.bound(cx, read)
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.writing.bound(cx, written)
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.writing.bound(cx, written)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.writing.bound(cx, flushed)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.io).poll_shutdown(cx);
        this.writing.bound(cx, shut)
    }
}

impl fmt::Debug for StreamIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamIo").field("io", &self.io).field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// How long one direction of a connection may wait. The time runs while somebody waits, not while a handler is busy
/// elsewhere.
struct Patience {
    limit: Option<Duration>,
    waiting_since: Option<Instant>,
    /// Made when it is first needed, and then set anew only when it fires: most waits are short.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(limit: Option<Duration>) -> Patience {
        Patience { limit, waiting_since: None, timer: None }
    }

    /// Passes on what the system answered, and an error where it has been waited for too long.
    fn bound<T>(&mut self, cx: &mut Context<'_>, answer: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Some(limit) = self.limit else { return answer };
        if answer.is_ready() {
            self.waiting_since = None;
            return answer;
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= since + limit {
                let message = format!("nothing has moved for {} ms", limit.as_millis());
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
            timer.as_mut().reset(since + limit);
        }
    }
}
