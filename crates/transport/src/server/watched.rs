//! A stream that notices when a client has completed the preface of HTTP/2.
//!
//! Until then the connection may not be silent for long; afterwards silence is a client without calls, for which other
//! limits hold. The HTTP implementation does not tell the two apart.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Activity;
use crate::io::Io;

/// RFC 9113, section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The preface ends with a SETTINGS frame, of at least this size.
const SETTINGS_BYTES_MIN: usize = 9;

pub(super) struct Watched {
    io: Io,
    activity: Arc<Activity>,
    greeting: Greeting,
}

/// How much of the preface has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    Expected { seen: usize },
    Over,
}

impl Watched {
    pub(super) fn new(io: Io, activity: Arc<Activity>) -> Watched {
        Watched { io, activity, greeting: Greeting::Expected { seen: 0 } }
    }

    #[cold]
    fn greet(&mut self, seen: usize, bytes: &[u8]) {
        let expected = PREFACE.get(seen..).unwrap_or_default();
        let compared = expected.len().min(bytes.len());
        let seen = seen + bytes.len();
        if bytes[..compared] != expected[..compared] {
            self.greeting = Greeting::Over;
        } else if seen >= PREFACE.len() + SETTINGS_BYTES_MIN {
            self.greeting = Greeting::Over;
            self.activity.greet();
        } else {
            self.greeting = Greeting::Expected { seen };
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if let Greeting::Expected { seen } = self.greeting {
            self.greet(seen, &buf.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
