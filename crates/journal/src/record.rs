//! Records and their places.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::books::Share;

/// The place of a record in its stream, counted from 0 without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The place after this one.
    pub fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The shares of a record; most have none or a few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares(Option<Arc<[Share]>>);

impl Shares {
    /// These shares. Nobody else checks that they add up to the record's items.
    pub fn new(shares: &[Share]) -> Shares {
        Shares((!shares.is_empty()).then(|| shares.into()))
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Share] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// One record: opaque bytes, and how many items they are.
#[derive(Clone)]
pub struct Record {
    /// The place in the stream; 0 until the record is appended.
    pub offset: Offset,
    /// When the record was appended, in nanoseconds since the Unix epoch, as its writer said.
    pub appended_at_unix_ns: u64,
    /// How many items the payload holds.
    pub items: u32,
    /// What the record carries.
    pub payload: Bytes,
    /// How its items are counted by label.
    pub shares: Shares,
    /// What the writer wants to find beside the payload while it is in memory. A storage may forget it.
    pub attachment: Option<Arc<dyn Any + Send + Sync>>,
    /// The memory that the attachment held when the record was appended, in bytes.
    pub attachment_bytes: u32,
}

/// What a record costs beside its payload: its place in the stream and the headers of its allocations.
const OVERHEAD_BYTES: u64 = 160;

impl Record {
    /// A record of `items` items.
    pub fn new(payload: impl Into<Bytes>, items: u32) -> Self {
        Record {
            offset: Offset(0),
            appended_at_unix_ns: 0,
            items,
            payload: payload.into(),
            shares: Shares::default(),
            attachment: None,
            attachment_bytes: 0,
        }
    }

    /// The memory that the record holds, in bytes: its payload, its attachment and its place.
    pub fn retained_bytes(&self) -> u64 {
        self.payload.len() as u64 + u64::from(self.attachment_bytes) + OVERHEAD_BYTES
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("offset", &self.offset.0)
            .field("items", &self.items)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
