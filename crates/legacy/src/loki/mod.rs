//! Loki's push format, both ways: `logproto.PushRequest` and the JSON of `/loki/api/v1/push` and `/api/prom/push`.
//!
//! Specification: [Loki HTTP API](https://grafana.com/docs/loki/latest/reference/loki-http-api/), "Ingest logs", and the
//! messages of Loki's `pkg/push/push.proto`. A protobuf body travels as one snappy block; compressing is the
//! caller's, as everywhere in this crate.
//!
//! - [`read_protobuf`], [`read_json`] and [`read_legacy_json`] hand over one entry after the other
//! - [`to_batch`] makes OTLP log records of them
//! - [`Push`] is what a writer fills: streams by their labels, then [`Push::to_protobuf`] or [`Push::to_json`]
//!
//! ```
//! use legacy::loki::{Entry, LabelSet, Push};
//! let mut push = Push::default();
//! let labels: LabelSet = [("app", "shop"), ("env", "prod")].into_iter().collect();
//! push.stream(labels).push(Entry::new(1_700_000_000_000_000_000, "order 7 shipped"));
//! assert_eq!(
//!     String::from_utf8(push.to_json()).unwrap(),
//!     r#"{"streams":[{"stream":{"app":"shop","env":"prod"},"values":[["1700000000000000000","order 7 shipped"]]}]}"#
//! );
//! ```

mod json;
mod labels;
mod otlp;
mod proto;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use self::otlp::{Conversion, Timestamps, to_batch};
pub use json::{read_json, read_legacy_json};
pub use labels::{LabelSet, LabelsError, LabelsErrorKind};
pub use proto::read_protobuf;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it happened, in nanoseconds since the Unix epoch; 0 when unknown.
    pub timestamp_unix_ns: u64,
    /// The line.
    pub line: Cow<'a, str>,
    /// What describes the line without being part of the stream's identity.
    pub structured_metadata: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Entry<'a> {
    /// A line without structured metadata.
    pub fn new(timestamp_unix_ns: u64, line: impl Into<Cow<'a, str>>) -> Entry<'a> {
        Entry { timestamp_unix_ns, line: line.into(), structured_metadata: Vec::new() }
    }
}

/// Streams to be written, in the order of their labels; the entries of each as they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Push<'a> {
    streams: BTreeMap<LabelSet, Vec<Entry<'a>>>,
}

impl<'a> Push<'a> {
    /// The entries of the stream with these labels, for more to be added.
    pub fn stream(&mut self, labels: LabelSet) -> &mut Vec<Entry<'a>> {
        self.streams.entry(labels).or_default()
    }

    /// All streams.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = (&LabelSet, &[Entry<'a>])> {
        self.streams.iter().map(|(labels, entries)| (labels, entries.as_slice()))
    }

    /// Whether there is no stream.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// As `logproto.PushRequest`, not compressed.
    pub fn to_protobuf(&self) -> Vec<u8> {
        proto::write(self)
    }

    /// As the JSON of `/loki/api/v1/push`.
    pub fn to_json(&self) -> Vec<u8> {
        json::write(self)
    }
}

/// Takes one entry of a stream.
pub type Take<'t> = dyn FnMut(&LabelSet, &Entry<'_>) -> Result<(), PushError> + 't;

/// Why a push cannot be taken, and where. Nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The protobuf is damaged.
    #[error("malformed PushRequest at byte {offset} of {message}")]
    Protobuf {
        /// The message in which it lies.
        message: &'static str,
        /// The offset from the start of that message, in bytes.
        offset: usize,
    },
    /// Text that is not UTF-8.
    #[error("{field} of stream {stream} is not UTF-8")]
    InvalidUtf8 {
        /// The stream, from 0 on.
        stream: usize,
        /// The field, such as `Entry.line`.
        field: &'static str,
    },
    /// The JSON is damaged or another than expected; the message names line and column.
    #[error("malformed push: {0}")]
    Json(#[from] serde_json::Error),
    /// The labels of a stream cannot be read.
    #[error("labels of stream {stream}: {error}")]
    Labels {
        /// The stream, from 0 on.
        stream: usize,
        /// What is wrong with them.
        error: LabelsError,
    },
    /// The time of an entry is no time, or lies before 1970 or behind 2554.
    #[error("timestamp of entry {entry} in stream {stream} is no time between 1970 and 2554")]
    Timestamp {
        /// The stream, from 0 on.
        stream: usize,
        /// The entry in it, from 0 on.
        entry: usize,
    },
    /// The log records would be larger than allowed: each carries all labels of its stream.
    #[error("as log records, which repeat the labels of their stream, the push exceeds {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
}
