//! The log in memory: streams of records, the places of their cursors, and the bound over all of them.
//!
//! Everything lives under one lock, which is held for pointer work only. That makes an append to several streams
//! atomic, and a snapshot of the books exact, at the price of one lock per request.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::books::{Book, Bucket, Settlement, SettlementError};
use crate::cursor::{Cursor, CursorError, CursorOptions, Lag, LagLimit, Read, ReadLimit};
use crate::record::{Offset, Record};

/// What happens to an append that finds the journal full, or a cursor at its lag limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The append is refused; nothing was written anywhere. The writer may try again.
    #[default]
    Refuse,
    /// The oldest records that no reader holds make room. Every item is counted at every cursor that had not read it.
    DropOldest,
}

/// The bounds of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The memory that records may hold, over all streams, in bytes.
    pub size_bytes_max: u64,
    /// What happens at the bound.
    pub when_full: WhenFull,
}

/// A stream of one journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u32);

/// Why an append was refused. Nothing was written to any stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The journal has no room now.
    #[error(
        "the journal is full: it holds {retained_bytes} of {size_bytes_max} bytes and {wanted_bytes} more are wanted"
    )]
    Full {
        /// Held now.
        retained_bytes: u64,
        /// Wanted by this append.
        wanted_bytes: u64,
        /// The bound.
        size_bytes_max: u64,
    },
    /// The append alone is larger than the bound: it will never fit.
    #[error("{wanted_bytes} bytes can never fit into a journal of {size_bytes_max} bytes")]
    TooLarge {
        /// Wanted by this append.
        wanted_bytes: u64,
        /// The bound.
        size_bytes_max: u64,
    },
    /// A cursor is at its lag limit.
    #[error("cursor `{cursor}` is at its lag limit")]
    CursorFull {
        /// Its name.
        cursor: String,
    },
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Named streams of records, bounded together. Clones are the same journal.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

/// What the journal and its cursors share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// Told whenever a record left.
    pub(crate) space: Notify,
}

/// Everything under the lock.
#[derive(Debug)]
pub(crate) struct State {
    limits: Limits,
    retained_bytes: u64,
    closed: bool,
    streams: Vec<Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    name: String,
    /// The records that some cursor has not read.
    records: VecDeque<Record>,
    /// The place of the first record in `records`.
    head: Offset,
    /// Records in the hands of readers. They hold their memory until the last of them has settled.
    held: BTreeMap<Offset, Held>,
    cursors: Vec<CursorState>,
}

#[derive(Debug)]
struct Held {
    readers: u32,
    retained_bytes: u64,
}

#[derive(Debug)]
struct CursorState {
    name: String,
    open: bool,
    news: Arc<Notify>,
    lag_max: Option<LagLimit>,
    /// The next record to read.
    next: Offset,
    /// Read and not settled.
    in_flight: BTreeMap<Offset, InFlight>,
    unread: Lag,
    /// Records that were dropped before this cursor read them, since it was last told.
    gap: Option<(Offset, u64)>,
    appended_items: u64,
    settled: BTreeMap<Bucket, u64>,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    items: u32,
    payload_bytes: u32,
    appended_at_unix_ns: u64,
}

// === impl Journal ===

impl Journal {
    /// A journal whose records live in memory: an append says "queued", and a crash forgets it.
    pub fn in_memory(limits: Limits) -> Journal {
        let state = State { limits, retained_bytes: 0, closed: false, streams: Vec::new() };
        Journal { shared: Arc::new(Shared { state: Mutex::new(state), space: Notify::new() }) }
    }

    /// The stream of this name, made if there is none yet.
    pub fn stream(&self, name: &str) -> StreamId {
        let mut state = self.shared.state.lock();
        let index = state.streams.iter().position(|stream| stream.name == name).unwrap_or_else(|| {
            state.streams.push(Stream { name: name.to_owned(), ..Stream::default() });
            state.streams.len() - 1
        });
        StreamId(u32::try_from(index).expect("fewer than 2^32 streams"))
    }

    /// A reader of the stream that starts with what is appended from now on. Its name is unique within the stream.
    pub fn open_cursor(&self, stream: StreamId, name: &str, options: CursorOptions) -> Result<Cursor, CursorError> {
        let mut state = self.shared.state.lock();
        let (index, news) = state.open_cursor(stream, name, options)?;
        Ok(Cursor { shared: Arc::clone(&self.shared), stream, index, news })
    }

    /// Writes every record to its stream, all or none. When it returns, the storage has them as it promises to: memory
    /// holds them.
    ///
    /// # Errors
    /// The bounds, as [`WhenFull`] says; and a journal that is closed.
    // Asynchronous because a storage that syncs makes its writer wait; memory completes at once.
    #[allow(clippy::unused_async)]
    pub async fn append(&self, writes: Vec<(StreamId, Record)>) -> Result<(), AppendError> {
        self.shared.state.lock().append(writes)
    }

    /// Waits until a record has left the journal. Take it before the append that may fail, so that nothing is missed:
    /// `let space = journal.space(); pin!(space); space.as_mut().enable();`
    pub fn space(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.space.notified()
    }

    /// Waits until no open cursor has anything left to settle.
    pub async fn drained(&self) {
        loop {
            // The waiter registers before the look, so that the last settlement is not missed.
            let space = self.space();
            let mut space = std::pin::pin!(space);
            space.as_mut().enable();
            if self.shared.state.lock().is_drained() {
                return;
            }
            space.await;
        }
    }

    /// Refuses every append from now on; readers see [`Read::Closed`] once they have read everything.
    pub fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.streams.iter().flat_map(|stream| &stream.cursors).for_each(|cursor| cursor.news.notify_one());
        self.shared.space.notify_waiters();
    }

    /// The books of every cursor that was ever open, taken at one moment.
    pub fn books(&self) -> Vec<Book> {
        self.shared.state.lock().books()
    }

    /// The memory that records hold now, in bytes, and its bound.
    pub fn retained_bytes(&self) -> (u64, u64) {
        let state = self.shared.state.lock();
        (state.retained_bytes, state.limits.size_bytes_max)
    }
}

// === impl State: writing ===

impl State {
    fn append(&mut self, writes: Vec<(StreamId, Record)>) -> Result<(), AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        self.make_room(&writes)?;
        for (stream, record) in writes {
            self.retained_bytes += record.retained_bytes();
            let freed = self.streams[stream.0 as usize].push(record);
            self.retained_bytes -= freed;
        }
        Ok(())
    }

    /// Checks both bounds before anything is written, so that an append to several streams is all or none.
    fn make_room(&mut self, writes: &[(StreamId, Record)]) -> Result<(), AppendError> {
        let wanted_bytes: u64 = writes.iter().map(|(_, record)| record.retained_bytes()).sum();
        let size_bytes_max = self.limits.size_bytes_max;
        if wanted_bytes > size_bytes_max {
            return Err(AppendError::TooLarge { wanted_bytes, size_bytes_max });
        }
        match self.limits.when_full {
            WhenFull::Refuse => self.check_lags(writes)?,
            WhenFull::DropOldest => self.shorten_lags(writes),
        }
        while self.retained_bytes + wanted_bytes > size_bytes_max {
            if self.limits.when_full == WhenFull::Refuse || !self.drop_oldest() {
                return Err(AppendError::Full { retained_bytes: self.retained_bytes, wanted_bytes, size_bytes_max });
            }
        }
        Ok(())
    }

    fn check_lags(&self, writes: &[(StreamId, Record)]) -> Result<(), AppendError> {
        for (stream, added) in by_stream(writes) {
            for cursor in self.streams[stream.0 as usize].cursors.iter().filter(|cursor| cursor.open) {
                if cursor.exceeds(cursor.lag(), added) {
                    return Err(AppendError::CursorFull { cursor: cursor.name.clone() });
                }
            }
        }
        Ok(())
    }

    fn shorten_lags(&mut self, writes: &[(StreamId, Record)]) {
        for (id, added) in by_stream(writes) {
            let stream = &mut self.streams[id.0 as usize];
            for index in 0..stream.cursors.len() {
                while stream.cursors[index].exceeds(stream.cursors[index].lag(), added) && stream.overwrite(index) {}
            }
            self.retained_bytes -= stream.trim();
        }
    }

    /// Drops the oldest record of all streams that some cursor has not read, for every cursor that has not read it, and
    /// says whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.streams.iter_mut().filter_map(|stream| {
            let place = stream.oldest_unread()?;
            Some((stream.record(place).appended_at_unix_ns, place, stream))
        });
        let Some((_, place, stream)) = oldest.min_by_key(|(appended_at, ..)| *appended_at) else {
            return false;
        };
        for index in 0..stream.cursors.len() {
            if stream.cursors[index].open && stream.cursors[index].next == place {
                stream.overwrite(index);
            }
        }
        self.retained_bytes -= stream.trim();
        true
    }
}

/// What an append adds to each stream.
fn by_stream(writes: &[(StreamId, Record)]) -> BTreeMap<StreamId, Lag> {
    let mut added = BTreeMap::<StreamId, Lag>::new();
    for (stream, record) in writes {
        added.entry(*stream).or_default().grow(record);
    }
    added
}

// === impl State: reading ===

impl State {
    fn open_cursor(
        &mut self,
        stream: StreamId,
        name: &str,
        options: CursorOptions,
    ) -> Result<(usize, Arc<Notify>), CursorError> {
        let stream = &mut self.streams[stream.0 as usize];
        if stream.cursors.iter().any(|cursor| cursor.name == name) {
            return Err(CursorError::AlreadyOpen { name: name.to_owned() });
        }
        let cursor = CursorState {
            name: name.to_owned(),
            open: true,
            news: Arc::default(),
            lag_max: options.lag_max,
            next: stream.end(),
            in_flight: BTreeMap::new(),
            unread: Lag::default(),
            gap: None,
            appended_items: 0,
            settled: BTreeMap::new(),
        };
        let news = Arc::clone(&cursor.news);
        stream.cursors.push(cursor);
        Ok((stream.cursors.len() - 1, news))
    }

    pub(crate) fn close_cursor(&mut self, stream: StreamId, index: usize) {
        let stream = &mut self.streams[stream.0 as usize];
        stream.cursors[index].open = false;
        let in_flight: Vec<Offset> = stream.cursors[index].in_flight.keys().copied().collect();
        let let_go: u64 = in_flight.into_iter().map(|place| stream.let_go(place)).sum();
        self.retained_bytes -= let_go + stream.trim();
    }

    pub(crate) fn read(&mut self, stream: StreamId, index: usize, limit: ReadLimit) -> Option<Read> {
        let closed = self.closed;
        let stream = &mut self.streams[stream.0 as usize];
        let (head, end) = (stream.head, stream.end());
        let cursor = &mut stream.cursors[index];
        if let Some((from, items)) = cursor.gap.take() {
            return Some(Read::Gap { lost: from..cursor.next, items });
        }
        if cursor.next == end {
            return closed.then_some(Read::Closed);
        }
        let mut taken = Vec::new();
        let mut sum = Lag::default();
        let first = usize::try_from(cursor.next.0 - head.0).expect("a place in memory");
        for record in stream.records.range(first..) {
            let enough = taken.len() >= limit.records_max || sum.items >= limit.items_enough;
            sum.grow(record);
            if !taken.is_empty() && (enough || sum.bytes > limit.bytes_max) {
                break;
            }
            cursor.take(record);
            let held = stream.held.entry(record.offset).or_insert(Held { readers: 0, retained_bytes: 0 });
            held.readers += 1;
            held.retained_bytes = record.retained_bytes();
            taken.push(record.clone());
        }
        cursor.unread.oldest_unix_ns = stream.records.get(first + taken.len()).map(|next| next.appended_at_unix_ns);
        // Held records keep counting: trimming moves them from the log into their readers' hands.
        self.retained_bytes -= stream.trim();
        Some(Read::Records(taken))
    }

    pub(crate) fn settle(
        &mut self,
        stream: StreamId,
        index: usize,
        records: &[Record],
        settlement: &Settlement,
    ) -> Result<bool, SettlementError> {
        let stream = &mut self.streams[stream.0 as usize];
        stream.cursors[index].settle(records, settlement)?;
        let freed: u64 = records.iter().map(|record| stream.let_go(record.offset)).sum();
        self.retained_bytes -= freed;
        Ok(freed > 0)
    }

    pub(crate) fn lag(&self, stream: StreamId, index: usize) -> Lag {
        self.streams[stream.0 as usize].cursors[index].lag()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn position(&self, stream: StreamId, index: usize) -> Offset {
        self.streams[stream.0 as usize].cursors[index].next
    }

    pub(crate) fn unread(&self, stream: StreamId, index: usize) -> Lag {
        self.streams[stream.0 as usize].cursors[index].unread
    }

    fn is_drained(&self) -> bool {
        let mut open = self.streams.iter().flat_map(|stream| &stream.cursors).filter(|cursor| cursor.open);
        open.all(|cursor| cursor.unread.records == 0 && cursor.in_flight.is_empty())
    }

    fn books(&self) -> Vec<Book> {
        let books = self.streams.iter().flat_map(|stream| {
            stream.cursors.iter().map(|cursor| {
                let lag = cursor.lag();
                Book {
                    stream: stream.name.clone(),
                    cursor: cursor.name.clone(),
                    appended_items: cursor.appended_items,
                    settled: cursor.settled.clone(),
                    pending_items: lag.items,
                    pending_records: lag.records,
                    pending_bytes: lag.bytes,
                    oldest_pending_unix_ns: lag.oldest_unix_ns,
                }
            })
        });
        books.collect()
    }
}

// === impl Stream ===

impl Stream {
    fn end(&self) -> Offset {
        Offset(self.head.0 + self.records.len() as u64)
    }

    /// Appends one record and returns the bytes that this freed: its own, where nobody reads the stream.
    fn push(&mut self, mut record: Record) -> u64 {
        record.offset = self.end();
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.open) {
            cursor.appended_items += u64::from(record.items);
            cursor.unread.grow(&record);
            cursor.news.notify_one();
        }
        self.records.push_back(record);
        self.trim()
    }

    /// Lets the records go that every open cursor has read, and returns the bytes that nobody holds any more.
    fn trim(&mut self) -> u64 {
        let needed = self.oldest_unread().unwrap_or_else(|| self.end());
        let mut freed = 0;
        while self.head < needed {
            let Some(record) = self.records.pop_front() else { break };
            if !self.held.contains_key(&self.head) {
                freed += record.retained_bytes();
            }
            self.head = self.head.next();
        }
        if self.records.is_empty() {
            self.records.shrink_to(64);
        }
        freed
    }

    /// One reader less holds the record; returns the bytes that this freed.
    fn let_go(&mut self, place: Offset) -> u64 {
        let Some(held) = self.held.get_mut(&place) else {
            return 0;
        };
        held.readers -= 1;
        if held.readers > 0 {
            return 0;
        }
        let retained_bytes = held.retained_bytes;
        self.held.remove(&place);
        if place < self.head { retained_bytes } else { 0 }
    }

    fn record(&self, place: Offset) -> &Record {
        &self.records[usize::try_from(place.0 - self.head.0).expect("a place in memory")]
    }

    fn oldest_unread(&self) -> Option<Offset> {
        let open = self.cursors.iter().filter(|cursor| cursor.open);
        open.map(|cursor| cursor.next).min().filter(|next| *next < self.end())
    }

    /// Drops the next record that an open cursor would read, for that cursor, and says whether there was one.
    fn overwrite(&mut self, index: usize) -> bool {
        let place = self.cursors[index].next;
        if place == self.end() || !self.cursors[index].open {
            return false;
        }
        let items = u64::from(self.record(place).items);
        let after = (place.next() < self.end()).then(|| self.record(place.next()).appended_at_unix_ns);
        let at = usize::try_from(place.0 - self.head.0).expect("a place in memory");
        let cursor = &mut self.cursors[index];
        cursor.unread.shrink(&self.records[at]);
        cursor.unread.oldest_unix_ns = after;
        cursor.gap.get_or_insert((place, 0)).1 += items;
        *cursor.settled.entry(Bucket::OVERWRITTEN).or_default() += items;
        cursor.next = place.next();
        cursor.news.notify_one();
        true
    }
}

// === impl CursorState ===

impl CursorState {
    fn take(&mut self, record: &Record) {
        let in_flight = InFlight {
            items: record.items,
            payload_bytes: u32::try_from(record.payload.len()).unwrap_or(u32::MAX),
            appended_at_unix_ns: record.appended_at_unix_ns,
        };
        self.in_flight.insert(record.offset, in_flight);
        self.unread.shrink(record);
        self.next = record.offset.next();
    }

    fn settle(&mut self, records: &[Record], settlement: &Settlement) -> Result<(), SettlementError> {
        let mut held = 0;
        let mut last = None;
        for record in records {
            // Places rise strictly, so that no record is counted twice.
            let in_flight = self.in_flight.get(&record.offset).filter(|_| last < Some(record.offset));
            let Some(in_flight) = in_flight else {
                return Err(SettlementError::NotInFlight { offset: record.offset.0 });
            };
            last = Some(record.offset);
            held += u64::from(in_flight.items);
        }
        let settled = settlement.items();
        if settled != held {
            return Err(SettlementError::Unbalanced { settled, held });
        }
        for record in records {
            self.in_flight.remove(&record.offset);
        }
        for (bucket, items) in settlement.entries() {
            *self.settled.entry(bucket.clone()).or_default() += items;
        }
        Ok(())
    }

    /// What is not settled, counted from the records.
    fn lag(&self) -> Lag {
        let mut lag = self.unread;
        for in_flight in self.in_flight.values() {
            lag.records += 1;
            lag.items += u64::from(in_flight.items);
            lag.bytes += u64::from(in_flight.payload_bytes);
        }
        if let Some(oldest) = self.in_flight.values().next() {
            lag.oldest_unix_ns = Some(oldest.appended_at_unix_ns);
        }
        lag
    }

    fn exceeds(&self, lag: Lag, added: Lag) -> bool {
        match self.lag_max {
            None => false,
            Some(LagLimit::Records(max)) => lag.records + added.records > max,
            Some(LagLimit::Items(max)) => lag.items + added.items > max,
            Some(LagLimit::Bytes(max)) => lag.bytes + added.bytes > max,
        }
    }
}

// === impl Lag ===

impl Lag {
    fn grow(&mut self, record: &Record) {
        self.records += 1;
        self.items += u64::from(record.items);
        self.bytes += record.payload.len() as u64;
        self.oldest_unix_ns.get_or_insert(record.appended_at_unix_ns);
    }

    fn shrink(&mut self, record: &Record) {
        self.records -= 1;
        self.items -= u64::from(record.items);
        self.bytes -= record.payload.len() as u64;
    }
}
