//! Cursors: one reader's place in a stream.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::books::{Bucket, Settlement, SettlementError};
use crate::log::{Handle, StreamId};
use crate::record::{Offset, Record};
use crate::stream::Look;

/// How a cursor opens.
#[derive(Clone, Copy, Debug, Default)]
pub struct CursorOptions {
    /// How far it may lag; none: as far as the journal reaches.
    pub lag_max: Option<LagLimit>,
    /// Where it starts if the journal does not know it yet.
    pub start: Start,
    /// What it does to a journal that is full.
    pub hold: Hold,
}

/// Where a cursor starts that the journal does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With what is appended from now on.
    #[default]
    End,
    /// With the oldest record that the journal has.
    Oldest,
    /// With the oldest record that was appended then or later, in nanoseconds since the Unix epoch.
    Since(u64),
}

/// What a cursor that lags does to a journal that is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// What it has not settled is kept, as [`crate::WhenFull`] says.
    #[default]
    Keep,
    /// It gives way: what it has not read is dropped and counted before anything new is refused.
    Yield,
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
    /// Whether a read that has `records` ends before `next`, which is part of `sum` already.
    pub(crate) fn is_reached(&self, records: usize, sum: Lag, next: &Record) -> bool {
        records >= self.records_max
            || sum.items - u64::from(next.items) >= self.items_enough
            || sum.bytes > self.bytes_max
    }

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
        /// Where the books have them.
        cause: Bucket,
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
/// it had not settled stay pending in its book, and hold no memory any more. In memory that is their end; on disk the
/// next cursor of this name reads them again.
#[derive(Debug)]
pub struct Cursor {
    pub(crate) shared: Arc<Handle>,
    pub(crate) stream: StreamId,
    pub(crate) index: usize,
    pub(crate) news: Arc<Notify>,
}

impl Cursor {
    /// The next records; waits until there is one, or until the stream is closed.
    ///
    /// Cancellation: dropping the future loses nothing; the next call reads the same.
    pub async fn next(&mut self, limit: ReadLimit) -> Read {
        loop {
            let look = match self.shared.look(self.stream, self.index, limit) {
                Look::Ready(read) => return read,
                Look::Nothing => {
                    self.changed().await;
                    continue;
                }
                elsewhere @ Look::Elsewhere { .. } => elsewhere,
            };
            let (shared, stream) = (Arc::clone(&self.shared), self.stream);
            let fetch = move || (shared.fetch(stream, &look, limit), look);
            // An error: the runtime is going down.
            let Ok((fetched, look)) = tokio::task::spawn_blocking(fetch).await else { return Read::Closed };
            if let Some(read) = fetched.and_then(|f| self.shared.take_fetched(stream, self.index, &look, f)) {
                return read;
            }
        }
    }

    /// The next records, if there are any now. It reads from the disk where it must, and blocks for as long.
    pub fn try_next(&mut self, limit: ReadLimit) -> Option<Read> {
        loop {
            let look = match self.shared.look(self.stream, self.index, limit) {
                Look::Ready(read) => return Some(read),
                Look::Nothing => return None,
                elsewhere @ Look::Elsewhere { .. } => elsewhere,
            };
            let fetched = self.shared.fetch(self.stream, &look, limit)?;
            if let Some(read) = self.shared.take_fetched(self.stream, self.index, &look, fetched) {
                return Some(read);
            }
        }
    }

    /// Waits until something was appended since the last wait, or the stream was closed.
    pub async fn changed(&self) {
        // The notification keeps one permit: an append between the last look and this wait is not missed.
        self.news.notified().await;
    }

    /// Whether nothing will be appended any more.
    pub fn is_closed(&self) -> bool {
        self.shared.state.lock().closed
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

    /// Closes the cursor for good: the journal forgets its place. Its book stays as it is for as long as the process
    /// lives.
    pub fn forget(self) {
        self.shared.state.lock().remove_cursor(self.stream, self.index);
        self.shared.changed();
    }
}

/// Settles what one cursor has read.
#[derive(Clone, Debug)]
pub struct Settler {
    shared: Arc<Handle>,
    stream: StreamId,
    index: usize,
}

impl Settler {
    /// As [`Cursor::settle`].
    ///
    /// # Errors
    /// As [`Cursor::settle`].
    pub fn settle(&self, records: &[Record], settlement: &Settlement) -> Result<(), SettlementError> {
        let freed = self.shared.state.lock().settle(self.stream, self.index, records, settlement)?;
        self.shared.changed();
        if freed || self.shared.backing.is_some() {
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

// === impl Lag ===

impl Lag {
    pub(crate) fn grow(&mut self, record: &Record) {
        self.records += 1;
        self.items += u64::from(record.items);
        self.bytes += record.payload.len() as u64;
        self.oldest_unix_ns.get_or_insert(record.appended_at_unix_ns);
    }

    /// Both together, with the earlier age of the two where the first has none.
    pub(crate) fn plus(self, other: Lag) -> Lag {
        Lag {
            records: self.records.saturating_add(other.records),
            items: self.items.saturating_add(other.items),
            bytes: self.bytes.saturating_add(other.bytes),
            oldest_unix_ns: self.oldest_unix_ns.or(other.oldest_unix_ns),
        }
    }
}
