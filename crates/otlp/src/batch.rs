//! One export request as bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::check::check;
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
    /// How deep an `AnyValue` may nest in arrays and key-value lists: 0 allows scalars only. Values above
    /// [`Limits::DEPTH_MAX_CEILING`] count as that.
    pub depth_max: u16,
}

impl Limits {
    /// The deepest nesting that may be allowed, so that no reader of a checked batch runs out of stack.
    pub const DEPTH_MAX_CEILING: u16 = 256;
}

impl Default for Limits {
    /// 30 levels: as deep as every protobuf implementation with the customary limit of 100 nested messages reads
    /// wherever values may stand. One deeper value would get a whole merged batch refused further on.
    fn default() -> Self {
        Limits { depth_max: 30 }
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
    /// A request of more than 2^31 - 1 bytes, which is more than protobuf implementations read.
    #[error("too large")]
    TooLarge,
    /// A trace id of another length than 0 or 16 bytes, or a span id of another length than 0 or 8.
    #[error("wrong length of an id")]
    IdLength,
    /// A second message where the schema has one, such as two resources in one block or two kinds of data in one
    /// metric. Protobuf would merge some of these and replace others, and backends differ in it; no known encoder
    /// writes them.
    #[error("repeated message")]
    Repeated,
}

impl Batch {
    /// Checks a request that came from outside and counts its items, in one walk down to the record.
    ///
    /// The walk checks that every length lies within its message, that known fields have their wire types, that
    /// strings are UTF-8, that ids have their lengths, and that values do not nest too deeply. Unknown fields are
    /// skipped and kept. It does not allocate.
    ///
    /// # Errors
    /// [`Malformed`] names the first fault and its offset.
    pub fn parse(signal: Signal, bytes: Bytes, limits: &Limits) -> Result<Batch, Malformed> {
        let items = check(signal, &bytes, limits)?;
        Ok(Batch::from_trusted(signal, bytes, items))
    }

    /// The request with nothing in it, which is no bytes at all.
    pub fn empty(signal: Signal) -> Batch {
        Batch::from_trusted(signal, Bytes::new(), 0)
    }

    /// One request with the contents of all, in their order. In protobuf that is the concatenation of the bytes. One
    /// batch alone (empty ones aside) comes back as a clone, frames included.
    ///
    /// # Panics
    /// If a batch is of another signal, which only a mistake in the program can cause.
    pub fn concat(signal: Signal, batches: &[Batch]) -> Batch {
        let mut size_bytes = 0;
        let mut items = 0u32;
        let mut with_content = batches.iter().filter(|batch| batch.size_bytes() > 0);
        for batch in batches {
            assert_eq!(batch.signal, signal, "only batches of one signal can be concatenated");
            size_bytes += batch.size_bytes();
            items = items.saturating_add(batch.items);
        }
        match (with_content.next(), with_content.next()) {
            (None, _) => Batch::empty(signal),
            (Some(only), None) => only.clone(),
            (Some(_), Some(_)) => {
                let mut bytes = Vec::with_capacity(size_bytes);
                for batch in batches {
                    bytes.extend_from_slice(&batch.bytes);
                }
                Batch::from_trusted(signal, bytes.into(), items)
            }
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of one resource block without contents.
    fn block(schema_url: &str) -> Batch {
        let mut block = Vec::new();
        crate::wire::write_bytes_field(&mut block, 3, schema_url.as_bytes());
        let mut request = Vec::new();
        crate::wire::write_bytes_field(&mut request, 1, &block);
        Batch::parse(Signal::Logs, request.into(), &Limits::default()).unwrap()
    }

    #[test]
    fn concatenated_requests_are_the_merged_request() {
        let (a, b) = (block("a"), block("b"));
        let both = Batch::concat(Signal::Logs, &[a.clone(), Batch::empty(Signal::Logs), b.clone()]);
        assert_eq!(both.bytes(), &[&a.bytes()[..], b.bytes()].concat());
        assert_eq!(Batch::concat(Signal::Logs, &[]).size_bytes(), 0);
    }

    #[test]
    fn one_batch_alone_keeps_its_frames() {
        let frame = Bytes::from_static(b"frame");
        let batch = block("a").with_frame(ContentEncoding::Gzip, frame.clone());
        let alone = Batch::concat(Signal::Logs, &[Batch::empty(Signal::Logs), batch]);
        assert_eq!(alone.frames().get(ContentEncoding::Gzip), Some(&frame));
    }

    #[test]
    #[should_panic(expected = "one signal")]
    fn signals_are_never_mixed() {
        Batch::concat(Signal::Traces, &[block("a")]);
    }
}
