//! One export request as bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::{ContentEncoding, Frames, Signal};

/// One serialized OTLP export request, counted and checked. Clones share the bytes and the frames.
#[derive(Clone, Debug)]
pub struct Batch {
    signal: Signal,
    bytes: Bytes,
    items: u32,
    frames: Arc<Frames>,
}

/// What the walk at the door refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep an `AnyValue` may nest in arrays and key-value lists.
    pub depth_max: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { depth_max: 64 }
    }
}

/// Why bytes are not an export request, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset} ({field})")]
pub struct Malformed {
    /// The offset of the fault from the start of the request, in bytes.
    pub offset: usize,
    /// The message or field in which it lies, such as `Span.name`.
    pub field: &'static str,
    /// What is wrong.
    pub kind: MalformedKind,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKind {
    /// A length or a fixed-width value reaches beyond its message.
    #[error("truncated message")]
    Truncated,
    /// A varint of more than ten bytes.
    #[error("overlong varint")]
    OverlongVarint,
    /// A field number of 0, or an unknown wire type or a group.
    #[error("invalid field tag")]
    InvalidTag,
    /// A known field in another wire type than its own.
    #[error("wrong wire type")]
    WrongWireType,
    /// A string that is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// An `AnyValue` nested deeper than [`Limits::depth_max`].
    #[error("value nested too deeply")]
    TooDeep,
    /// A batch of more than 2^32 - 1 items, or a message of more than 2^31 - 1 bytes.
    #[error("too large")]
    TooLarge,
}

impl Batch {
    /// The kind of telemetry.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// The serialized request.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The number of spans, data points or log records.
    pub fn items(&self) -> u32 {
        self.items
    }

    /// The size of the serialized request, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The compressed forms that exist so far.
    pub fn frames(&self) -> &Frames {
        &self.frames
    }

    /// Keeps the frame that the request arrived in, so that it can be forwarded as it came.
    pub fn with_frame(self, encoding: ContentEncoding, frame: Bytes) -> Self {
        self.frames.get_or_make(encoding, || frame);
        self
    }

    /// A batch from a request that this process has checked or made itself, such as a journal record.
    pub fn from_trusted(signal: Signal, bytes: Bytes, items: u32) -> Self {
        Batch { signal, bytes, items, frames: Arc::default() }
    }
}
