//! The Fluent Forward protocol: messages of Fluentd, Fluent Bit and the fluent-logger libraries to log records.
//!
//! Specification: [Fluentd Forward Protocol Specification v1](https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1),
//! with the entries of v1.5 that carry metadata. All four modes are read: Message, Forward, PackedForward and
//! CompressedPackedForward.
//!
//! - [`Framer`] finds where a message ends, without looking at any byte twice
//! - [`read_message`] makes log records of one
//! - [`ack`] answers it, and [`handshake`] has what is said before the first one
//!
//! ```
//! use legacy::fluent::{Framer, Limits, Message, read_message};
//! // ["app.log", 1700000000, {"message": "hello"}]
//! let bytes = b"\x93\xa7app.log\xce\x65\x53\xf1\x00\x81\xa7message\xa5hello";
//! let limits = Limits::default();
//! assert_eq!(Framer::default().message_end(bytes, &limits)?, Some(bytes.len()));
//! let Message::Events(events) = read_message(bytes, 1_800_000_000_000_000_000, &limits)? else { panic!() };
//! assert_eq!((events.batch.items(), events.chunk), (1, None));
//! # Ok::<(), legacy::fluent::FluentError>(())
//! ```

mod frame;
pub mod handshake;
mod message;
mod record;
mod value;

use otlp::Batch;

pub use frame::Framer;
pub use message::{ack, read_message};

/// What is read, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message, before and after decompression.
    pub message_bytes_max: usize,
    /// Values in one entry, those in its nested maps and arrays included: each takes some fifty bytes while it is read.
    pub entry_values_max: usize,
    /// How deep maps and arrays may nest in a record.
    pub depth_max: usize,
}

impl Default for Limits {
    /// 32 MiB, 100,000 values, and 30 levels, which is what OTLP carries.
    fn default() -> Self {
        Limits { message_bytes_max: 32 << 20, entry_values_max: 100_000, depth_max: 30 }
    }
}

/// One message of a client.
#[derive(Clone, Debug)]
pub enum Message {
    /// `nil`: a sign of life.
    Heartbeat,
    /// Events.
    Events(Events),
}

/// The events of one message.
#[derive(Clone, Debug)]
pub struct Events {
    /// As log records; perhaps none.
    pub batch: Batch,
    /// `chunk`: what the client wants to see in an [`ack`], as it came.
    pub chunk: Option<Vec<u8>>,
}

/// Why bytes are no message. A connection cannot be understood any further then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FluentError {
    /// A byte that starts no MessagePack value.
    #[error("byte {offset} starts no MessagePack value")]
    NoMessagePack {
        /// Its offset in the message.
        offset: usize,
    },
    /// The message is larger than allowed, as sent, as declared or as decompressed.
    #[error("the message is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// An entry holds more values than allowed.
    #[error("entry {entry} holds more than {limit} values")]
    TooManyValues {
        /// The entry, from 0 on.
        entry: usize,
        /// The limit.
        limit: usize,
    },
    /// Maps and arrays nest deeper than allowed.
    #[error("entry {entry} nests deeper than {limit} levels")]
    TooDeep {
        /// The entry, from 0 on.
        entry: usize,
        /// The limit.
        limit: usize,
    },
    /// The entries of a packed message break off.
    #[error("entry {entry} breaks off")]
    BrokenOff {
        /// The entry, from 0 on.
        entry: usize,
    },
    /// The gzip stream is damaged or breaks off.
    #[error("the compressed entries are damaged: {0}")]
    Gzip(String),
    /// Another form than the protocol has.
    #[error("expected {expected}")]
    Expected {
        /// What would be right.
        expected: &'static str,
    },
    /// An entry of another form than the protocol has.
    #[error("entry {entry}: expected {expected}")]
    ExpectedInEntry {
        /// The entry, from 0 on.
        entry: usize,
        /// What would be right.
        expected: &'static str,
    },
    /// Metrics or traces, which Fluent Bit sends in a form of its own.
    #[error("the message carries no logs (`fluent_signal` is {signal})")]
    OtherSignal {
        /// 1: metrics, 2: traces.
        signal: u64,
    },
}

impl FluentError {
    /// A short name, for counters.
    pub const fn cause(&self) -> &'static str {
        match self {
            FluentError::NoMessagePack { .. } => "no_messagepack",
            FluentError::TooLarge { .. } => "too_large",
            FluentError::TooManyValues { .. } => "too_many_values",
            FluentError::TooDeep { .. } => "too_deep",
            FluentError::BrokenOff { .. } => "broken_off",
            FluentError::Gzip(_) => "damaged_gzip",
            FluentError::Expected { .. } | FluentError::ExpectedInEntry { .. } => "malformed",
            FluentError::OtherSignal { .. } => "other_signal",
        }
    }
}
