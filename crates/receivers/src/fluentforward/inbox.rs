//! One message after the other from a connection, within bounds of bytes and time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use legacy::fluent::{FluentError, Framer, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use transport::stream::StreamIo;

/// The longest pause within a message. Between messages a client may be silent as long as it likes.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Room for the first read of a message; silent connections hold no more.
const FIRST_READ_BYTES: usize = 2 << 10;
const READ_BYTES: usize = 64 << 10;
/// A buffer that grew beyond this is given back after its message.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// Why there is no further message.
#[derive(Debug, thiserror::Error)]
pub(super) enum InboxError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The connection broke off, or paused, within a message.
    #[error("the client broke off within a message, of which {bytes} bytes had arrived")]
    BrokenOff {
        /// What had arrived.
        bytes: usize,
    },
    /// All connections together hold too much.
    #[error("the receiver holds {limit_bytes} bytes of messages that are still arriving")]
    Busy {
        /// The limit of all connections together.
        limit_bytes: usize,
    },
    /// What arrives is no message.
    #[error(transparent)]
    Fluent(#[from] FluentError),
}

impl InboxError {
    /// A short name, for counters; none where nothing of a message was lost.
    pub(super) const fn cause(&self) -> Option<&'static str> {
        match self {
            InboxError::Io(_) => None,
            InboxError::BrokenOff { .. } => Some("broken_off"),
            InboxError::Busy { .. } => Some("busy"),
            InboxError::Fluent(error) => Some(error.cause()),
        }
    }
}

/// What all connections hold of messages that are still arriving.
#[derive(Clone, Debug)]
pub(super) struct Held {
    bytes: Arc<AtomicUsize>,
    limit_bytes: usize,
}

impl Held {
    pub(super) fn new(limit_bytes: usize) -> Held {
        Held { bytes: Arc::default(), limit_bytes }
    }
}

/// What one connection holds of it.
struct Share {
    held: Held,
    bytes: usize,
}

impl Share {
    fn set(&mut self, bytes: usize) -> Result<(), InboxError> {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes <= before {
            self.held.bytes.fetch_sub(before - bytes, Ordering::Relaxed);
            return Ok(());
        }
        let more = bytes - before;
        let all = self.held.bytes.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        match all > self.held.limit_bytes {
            true => Err(InboxError::Busy { limit_bytes: self.held.limit_bytes }),
            false => Ok(()),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The messages of a connection.
pub(super) struct Inbox {
    io: StreamIo,
    buffer: BytesMut,
    framer: Framer,
    limits: Limits,
    share: Share,
}

impl Inbox {
    pub(super) fn new(io: StreamIo, limits: Limits, held: &Held) -> Inbox {
        let share = Share { held: held.clone(), bytes: 0 };
        Inbox { io, buffer: BytesMut::new(), framer: Framer::default(), limits, share }
    }

    /// The bytes of the next message; none at the end of the connection.
    pub(super) async fn next(&mut self) -> Result<Option<BytesMut>, InboxError> {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = BytesMut::new();
        }
        loop {
            self.share.set(self.buffer.len())?;
            if !self.buffer.is_empty()
                && let Some(end) = self.framer.message_end(&self.buffer, &self.limits)?
            {
                let message = self.buffer.split_to(end);
                self.share.set(self.buffer.len())?;
                return Ok(Some(message));
            }
            if self.read().await? == 0 {
                return match self.buffer.len() {
                    0 => Ok(None),
                    bytes => Err(InboxError::BrokenOff { bytes }),
                };
            }
        }
    }

    async fn read(&mut self) -> Result<usize, InboxError> {
        let bytes = self.buffer.len();
        if bytes == 0 {
            self.buffer.reserve(FIRST_READ_BYTES);
            return Ok(self.io.read_buf(&mut self.buffer).await?);
        }
        self.buffer.reserve(READ_BYTES);
        let read = timeout(PAUSE_MAX, self.io.read_buf(&mut self.buffer)).await;
        Ok(read.map_err(|_elapsed| InboxError::BrokenOff { bytes })??)
    }

    /// Says something to the client.
    pub(super) async fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = timeout(PAUSE_MAX, async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        });
        written.await.map_err(|_elapsed| io::ErrorKind::TimedOut)?
    }
}
