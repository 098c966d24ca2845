//! Cursors: one reader's place in a stream.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::books::{Settlement, SettlementError};
use crate::log::{Shared, StreamId};
use crate::record::{Offset, Record};

/// How a cursor opens.
#[derive(Clone, Copy, Debug, Default)]
pub struct CursorOptions {
    /// How far it may lag; none: as far as the journal reaches.
    pub lag_max: Option<LagLimit>,
}

/// A bound on the records that one cursor has not settled. At the bound, [`crate::WhenFull`] decides as it does for the
/// whole journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagLimit {
    /// In records.
    Records(u64),
    /// In items.
    Items(u64),
    /// In payload bytes.
    Bytes(u64),
}

/// How far a cursor is behind the end of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// In records.
    pub records: u64,
    /// In items.
    pub items: u64,
    /// In payload bytes.
    pub bytes: u64,
    /// When the oldest of these records was appended, in nanoseconds since the Unix epoch.
    pub oldest_unix_ns: Option<u64>,
}

/// How much one read may return. The first record is returned whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// In records.
    pub records_max: usize,
    /// In items. The read ends with the record that reaches it.
    pub items_enough: u64,
    /// In payload bytes. The read ends before the record that would exceed it.
    pub bytes_max: u64,
}

impl Default for ReadLimit {
    fn default() -> Self {
        ReadLimit { records_max: 256, items_enough: u64::MAX, bytes_max: 4 << 20 }
    }
}

impl ReadLimit {
    /// One record at a time.
    pub const ONE: ReadLimit = ReadLimit { records_max: 1, items_enough: u64::MAX, bytes_max: u64::MAX };
}

/// What a read returns.
#[derive(Debug)]
pub enum Read {
    /// The next records, at least one, in order.
    Records(Vec<Record>),
    /// Records that left the journal before this cursor read them. They are in the books already.
    Gap {
        /// Their places.
        lost: Range<Offset>,
        /// Their items.
        items: u64,
    },
    /// The stream is closed and everything was read.
    Closed,
}

/// Why a cursor does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Two readers under one name would each see half of the records.
    #[error("cursor `{name}` is open already")]
    AlreadyOpen {
        /// The name.
        name: String,
    },
}

/// One reader's place in a stream. It reads in order; it settles in any order. Dropping it closes it: the records that
/// it had not settled stay pending in its book, and hold no memory any more.
#[derive(Debug)]
pub struct Cursor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stream: StreamId,
    pub(crate) index: usize,
    pub(crate) news: Arc<Notify>,
}

impl Cursor {
    /// The next records; waits until there is one, or until the stream is closed.
    ///
    /// Cancellation: dropping the future loses nothing. The records are handed out when it completes.
    pub async fn next(&mut self, limit: ReadLimit) -> Read {
        loop {
            if let Some(read) = self.try_next(limit) {
                return read;
            }
            self.changed().await;
        }
    }

    /// The next records, if there are any now.
    pub fn try_next(&mut self, limit: ReadLimit) -> Option<Read> {
        self.shared.state.lock().read(self.stream, self.index, limit)
    }

    /// Waits until something was appended since the last wait, or the stream was closed.
    pub async fn changed(&self) {
        // The notification keeps one permit: an append between the last look and this wait is not missed.
        self.news.notified().await;
    }

    /// Whether nothing will be appended any more.
    pub fn is_closed(&self) -> bool {
        self.shared.state.lock().is_closed()
    }

    /// What has not been read yet.
    pub fn unread(&self) -> Lag {
        self.shared.state.lock().unread(self.stream, self.index)
    }

    /// Accounts for records that this cursor has read. All of them are settled, or none.
    ///
    /// # Errors
    /// A settlement that does not add up, and records that are not in this cursor's hands.
    pub fn settle(&self, records: &[Record], settlement: &Settlement) -> Result<(), SettlementError> {
        self.settler().settle(records, settlement)
    }

    /// A handle that settles what this cursor reads, for tasks that outlive the read.
    pub fn settler(&self) -> Settler {
        Settler { shared: Arc::clone(&self.shared), stream: self.stream, index: self.index }
    }

    /// The place of the next record that this cursor reads.
    pub fn position(&self) -> Offset {
        self.shared.state.lock().position(self.stream, self.index)
    }

    /// What has not been settled yet.
    pub fn lag(&self) -> Lag {
        self.shared.state.lock().lag(self.stream, self.index)
    }
}

/// Settles what one cursor has read.
#[derive(Clone, Debug)]
pub struct Settler {
    shared: Arc<Shared>,
    stream: StreamId,
    index: usize,
}

impl Settler {
    /// As [`Cursor::settle`].
    ///
    /// # Errors
    /// As [`Cursor::settle`].
    pub fn settle(&self, records: &[Record], settlement: &Settlement) -> Result<(), SettlementError> {
        if self.shared.state.lock().settle(self.stream, self.index, records, settlement)? {
            self.shared.space.notify_waiters();
        }
        Ok(())
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.shared.state.lock().close_cursor(self.stream, self.index);
        self.shared.space.notify_waiters();
    }
}
