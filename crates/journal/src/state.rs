//! Everything under the lock: streams, cursors, and the bound on memory over all of them.
//!
//! It is the whole of a journal in memory. Behind a storage on disk it is the newest part, and what is written down
//! follows it through the [`Outbox`].

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::account::{Account, CursorId, Image, Note, StreamAccount};
use crate::books::{Book, Bucket, Detail, LabelBook, LabelId, Settlement, SettlementError};
use crate::cursor::{CursorError, CursorOptions, Hold, Lag, Read, ReadLimit, Start};
use crate::log::{AppendError, Limits, StreamId, WhenFull};
use crate::mark::Mark;
use crate::record::{Offset, Record, Shares};
use crate::stream::{CursorState, Look, Standing, Stream};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) retained_bytes: u64,
    pub(crate) closed: bool,
    pub(crate) streams: Vec<Stream>,
    next_cursor: CursorId,
    /// The latest time that anybody told.
    pub(crate) now_unix_ns: u64,
    /// What a storage has yet to write down; none in memory.
    pub(crate) outbox: Option<Outbox>,
}

/// Changes since the storage last asked.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) notes: BTreeMap<(StreamId, CursorId), Note>,
    /// Something changed that notes do not say: a whole image is wanted.
    pub(crate) image_due: bool,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.notes.is_empty() && !self.image_due
    }
}

// === impl State: streams and cursors ===

impl State {
    pub(crate) fn new(limits: Limits, image: Image, outbox: Option<Outbox>) -> State {
        let mut streams: Vec<Stream> = image.streams.into_iter().map(Stream::new).collect();
        for account in image.cursors {
            let stream = account.stream.index();
            streams[stream].cursors.push(CursorState::new(account, Standing::Detached));
        }
        State {
            limits,
            retained_bytes: 0,
            closed: false,
            streams,
            next_cursor: image.next_cursor,
            now_unix_ns: 0,
            outbox,
        }
    }

    /// Streams reach back to these places; what cursors had not settled before is gone.
    pub(crate) fn start_from(&mut self, firsts: &[Mark]) {
        for (at, first) in firsts.iter().enumerate().take(self.streams.len()) {
            self.streams[at].first = *first;
            for index in 0..self.streams[at].cursors.len() {
                let id = StreamId(u32::try_from(at).expect("fewer than 2^32 streams"));
                self.lose(id, index, *first, Bucket::OVERWRITTEN, &[]);
            }
        }
    }

    pub(crate) fn end(&self, stream: StreamId) -> Mark {
        self.streams[stream.index()].end()
    }

    /// The place of a cursor that does not know how old its next record is, and the end of its stream.
    pub(crate) fn unknown_age(&self, stream: StreamId, index: usize) -> Option<(Mark, Mark)> {
        let stream = &self.streams[stream.index()];
        let cursor = &stream.cursors[index];
        let unknown = cursor.next_at_unix_ns.is_none() && cursor.next.offset < stream.end().offset;
        unknown.then(|| (cursor.next, stream.end()))
    }

    pub(crate) fn know_age(&mut self, stream: StreamId, index: usize, place: Mark, at_unix_ns: Option<u64>) {
        let cursor = &mut self.streams[stream.index()].cursors[index];
        if cursor.next == place {
            cursor.next_at_unix_ns = at_unix_ns;
        }
    }

    /// What is to be remembered.
    pub(crate) fn image(&self) -> Image {
        let cursors = self.streams.iter().flat_map(|stream| &stream.cursors).filter(|cursor| cursor.counts());
        Image {
            streams: self.streams.iter().map(|stream| stream.account.clone()).collect(),
            cursors: cursors.map(|cursor| cursor.account.clone()).collect(),
            next_cursor: self.next_cursor,
        }
    }

    pub(crate) fn stream(&mut self, name: &str) -> StreamId {
        let index = self.streams.iter().position(|stream| stream.account.name == name).unwrap_or_else(|| {
            self.streams.push(Stream::new(StreamAccount { name: name.to_owned(), ..StreamAccount::default() }));
            self.image_due();
            self.streams.len() - 1
        });
        StreamId(u32::try_from(index).expect("fewer than 2^32 streams"))
    }

    pub(crate) fn label(&mut self, stream: StreamId, name: &str) -> LabelId {
        let stream = &mut self.streams[stream.index()];
        let before = stream.account.labels.len();
        let id = stream.label(name);
        if stream.account.labels.len() > before {
            self.image_due();
        }
        id
    }

    pub(crate) fn image_due(&mut self) {
        if let Some(outbox) = &mut self.outbox {
            outbox.image_due = true;
        }
    }

    /// The place of a known cursor that nobody reads.
    pub(crate) fn detached(&self, stream: StreamId, name: &str) -> Result<Option<usize>, CursorError> {
        let cursors = &self.streams[stream.index()].cursors;
        // One that was forgotten is known no more: whoever comes under its name is new.
        let known = |cursor: &CursorState| cursor.account.name == name && cursor.counts();
        let Some(index) = cursors.iter().position(known) else { return Ok(None) };
        match cursors[index].standing {
            Standing::Detached => Ok(Some(index)),
            Standing::Open | Standing::Gone { .. } => Err(CursorError::AlreadyOpen { name: name.to_owned() }),
        }
    }

    /// Opens a cursor: one that is known goes on where it stood, a new one starts at `start`.
    pub(crate) fn open_cursor(
        &mut self,
        stream: StreamId,
        name: &str,
        options: CursorOptions,
        start: Option<Mark>,
    ) -> Result<(usize, Arc<Notify>), CursorError> {
        let known = self.detached(stream, name)?;
        let index = known.unwrap_or_else(|| self.new_cursor(stream, name, options.start, start));
        let cursor = &mut self.streams[stream.index()].cursors[index];
        cursor.standing = Standing::Open;
        cursor.lag_max = options.lag_max;
        cursor.hold = options.hold;
        cursor.account.detached_at_unix_ns = None;
        let news = Arc::clone(&cursor.news);
        self.image_due();
        Ok((index, news))
    }

    fn new_cursor(&mut self, id: StreamId, name: &str, wanted: Start, found: Option<Mark>) -> usize {
        let stream = &mut self.streams[id.index()];
        let mark = match (wanted, found) {
            (Start::End, _) => stream.end(),
            (_, Some(found)) => found,
            (Start::Oldest, None) => stream.first,
            (Start::Since(unix_ns), None) => stream.since_in_memory(unix_ns),
        };
        let mut account = Account::new(self.next_cursor, id, name, mark);
        account.appended_items = stream.end().since(mark).items;
        self.next_cursor.0 = self.next_cursor.0.saturating_add(1);
        stream.cursors.push(CursorState::new(account, Standing::Open));
        stream.cursors.len() - 1
    }

    /// Nobody reads the cursor any more. With a storage that keeps its place, somebody may later.
    pub(crate) fn close_cursor(&mut self, stream: StreamId, index: usize) {
        let standing = match self.outbox {
            Some(_) => Standing::Detached,
            None => Standing::Gone { end: self.streams[stream.index()].end() },
        };
        self.leave_cursor(stream, index, standing);
    }

    /// Forgets cursors that nobody has opened for so long. They are told apart from those that were never closed by
    /// the time that this finds them without a reader.
    pub(crate) fn forget_cursors(&mut self, now_unix_ns: u64, grace_ns: u64) {
        let mut forgotten = Vec::new();
        let mut found = false;
        for (id, stream) in (0..).zip(&mut self.streams) {
            for (index, cursor) in stream.cursors.iter_mut().enumerate() {
                if cursor.standing != Standing::Detached {
                    continue;
                }
                found |= cursor.account.detached_at_unix_ns.is_none();
                let since = *cursor.account.detached_at_unix_ns.get_or_insert(now_unix_ns);
                if now_unix_ns.saturating_sub(since) > grace_ns {
                    forgotten.push((StreamId(id), index));
                }
            }
        }
        if found {
            self.image_due();
        }
        forgotten.into_iter().for_each(|(stream, index)| self.remove_cursor(stream, index));
    }

    /// Forgets a cursor: its account stands as it is now, for as long as the process lives.
    pub(crate) fn remove_cursor(&mut self, stream: StreamId, index: usize) {
        let end = self.streams[stream.index()].end();
        self.leave_cursor(stream, index, Standing::Gone { end });
        self.image_due();
    }

    fn leave_cursor(&mut self, stream: StreamId, index: usize, standing: Standing) {
        let stream = &mut self.streams[stream.index()];
        if stream.cursors[index].standing == Standing::Open || !matches!(standing, Standing::Detached) {
            self.retained_bytes -= stream.close(index, standing);
        }
    }
}

// === impl State: writing ===

impl State {
    /// Appends to memory: admitted and there, at once.
    pub(crate) fn append(&mut self, writes: Vec<(StreamId, Record)>) -> Result<(), AppendError> {
        self.admit(&writes, &BTreeMap::new())?;
        self.make_room_in_memory(&writes)?;
        self.publish(writes);
        Ok(())
    }

    /// Checks what does not depend on the storage: whether appends are taken at all, and how far cursors may lag.
    /// `before` is what was admitted and is not published yet.
    pub(crate) fn admit(
        &self,
        writes: &[(StreamId, Record)],
        before: &BTreeMap<StreamId, Lag>,
    ) -> Result<(), AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        if self.limits.when_full == WhenFull::DropOldest {
            return Ok(());
        }
        for (stream, added) in by_stream(writes) {
            let added = before.get(&stream).copied().unwrap_or_default().plus(added);
            let stream = &self.streams[stream.index()];
            for cursor in stream.cursors.iter().filter(|cursor| cursor.standing == Standing::Open) {
                if cursor.lag_max.is_some() && cursor.exceeds(cursor.lag(stream.end()), added) {
                    return Err(AppendError::CursorFull { cursor: cursor.account.name.clone() });
                }
            }
        }
        Ok(())
    }

    /// Readers see the records from now on.
    pub(crate) fn publish(&mut self, writes: Vec<(StreamId, Record)>) {
        for (stream, record) in writes {
            self.retained_bytes += record.retained_bytes();
            let freed = self.streams[stream.index()].push(record);
            self.retained_bytes -= freed;
        }
    }

    /// Checks both bounds before anything is written, so that an append to several streams is all or none.
    fn make_room_in_memory(&mut self, writes: &[(StreamId, Record)]) -> Result<(), AppendError> {
        let wanted_bytes: u64 = writes.iter().map(|(_, record)| record.retained_bytes()).sum();
        let size_bytes_max = self.limits.size_bytes_max;
        if wanted_bytes > size_bytes_max {
            return Err(AppendError::TooLarge { wanted_bytes, size_bytes_max });
        }
        if self.limits.when_full == WhenFull::DropOldest {
            self.shorten_lags(writes);
        }
        while self.retained_bytes + wanted_bytes > size_bytes_max {
            if self.limits.when_full == WhenFull::Refuse || !self.drop_oldest() {
                return Err(AppendError::Full { retained_bytes: self.retained_bytes, wanted_bytes, size_bytes_max });
            }
        }
        Ok(())
    }

    /// Takes records that are in memory from cursors that would lag too far with what is to come.
    pub(crate) fn shorten_lags(&mut self, writes: &[(StreamId, Record)]) {
        for (id, added) in by_stream(writes) {
            let stream = &mut self.streams[id.index()];
            for index in 0..stream.cursors.len() {
                while stream.cursors[index].exceeds(stream.lag(index), added) && stream.overwrite_next(index).is_some()
                {
                }
            }
            self.retained_bytes -= stream.trim();
        }
    }

    /// Drops the oldest record of all streams that some cursor has not read, for every cursor that has not read it, and
    /// says whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let unread = self.streams.iter_mut().filter_map(|stream| Some((stream.oldest_unread_at_unix_ns()?, stream)));
        let Some((_, stream)) = unread.min_by_key(|(appended_at, _)| *appended_at) else {
            return false;
        };
        let Some(place) = stream.oldest_unread() else { return false };
        for index in 0..stream.cursors.len() {
            if stream.cursors[index].next.offset == place {
                stream.overwrite_next(index);
            }
        }
        self.retained_bytes -= stream.trim();
        true
    }

    /// Keeps memory within its bound where a storage has the records as well.
    pub(crate) fn evict(&mut self) {
        while self.retained_bytes > self.limits.size_bytes_max {
            let streams = self.streams.iter_mut().filter(|stream| stream.oldest_in_memory_unix_ns().is_some());
            let Some(freed) = streams.min_by_key(|s| s.oldest_in_memory_unix_ns()).and_then(Stream::evict) else {
                return;
            };
            self.retained_bytes -= freed;
        }
    }
}

/// What writes add to each stream.
pub(crate) fn by_stream(writes: &[(StreamId, Record)]) -> BTreeMap<StreamId, Lag> {
    let mut added = BTreeMap::<StreamId, Lag>::new();
    for (stream, record) in writes {
        added.entry(*stream).or_default().grow(record);
    }
    added
}

// === impl State: reading ===

impl State {
    pub(crate) fn look(&mut self, stream: StreamId, index: usize, limit: ReadLimit) -> Look {
        let (look, freed) = self.streams[stream.index()].look(index, limit, self.closed);
        // Held records keep counting: trimming moves them from the log into their readers' hands.
        self.retained_bytes -= freed;
        if matches!(look, Look::Ready(Read::Records(_))) {
            self.note_reading(stream, index);
        }
        look
    }

    /// Hands over what the storage had at `from`, unless the cursor has moved on meanwhile.
    pub(crate) fn take_fetched(
        &mut self,
        stream: StreamId,
        index: usize,
        records: Vec<Record>,
        next_at_unix_ns: Option<u64>,
    ) -> Option<Read> {
        let id = stream;
        let stream = &mut self.streams[stream.index()];
        let from = records.first()?.offset;
        if stream.cursors[index].next.offset != from {
            return None;
        }
        let difference = stream.take_fetched(index, &records, next_at_unix_ns);
        self.retained_bytes = self.retained_bytes.saturating_add_signed(difference);
        self.evict();
        self.note_reading(id, index);
        Some(Read::Records(records))
    }

    /// How far a cursor has read is written down with whatever is written next: after a crash, what lies between and is
    /// not settled may arrive twice.
    fn note_reading(&mut self, stream: StreamId, index: usize) {
        if self.outbox.is_some() {
            let cursor = &mut self.streams[stream.index()].cursors[index];
            let note = Note { read_to: cursor.next, ..Note::default() };
            cursor.account.read_to = cursor.account.read_to.later(cursor.next);
            self.note(stream, index, note);
        }
    }

    /// Takes everything before `to` from a cursor that has not read it.
    pub(crate) fn lose(&mut self, stream: StreamId, index: usize, to: Mark, cause: Bucket, known: &[(Offset, Shares)]) {
        let id = stream;
        let stream = &mut self.streams[stream.index()];
        let cursor = &stream.cursors[index];
        if !cursor.counts() || cursor.next.offset >= to.offset {
            return;
        }
        let note = stream.lose(index, to, cause, known);
        self.retained_bytes -= stream.trim();
        self.note(id, index, note);
    }

    pub(crate) fn settle(
        &mut self,
        stream: StreamId,
        index: usize,
        records: &[Record],
        settlement: &Settlement,
    ) -> Result<bool, SettlementError> {
        let (note, freed) = self.streams[stream.index()].settle(index, records, settlement)?;
        self.retained_bytes -= freed;
        self.note(stream, index, note);
        Ok(freed > 0)
    }

    fn note(&mut self, stream: StreamId, index: usize, note: Note) {
        if let Some(outbox) = &mut self.outbox {
            let id = self.streams[stream.index()].cursors[index].account.id;
            outbox.notes.entry((stream, id)).or_default().merge(note);
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        let open = |cursor: &&CursorState| cursor.standing == Standing::Open && cursor.hold == Hold::Keep;
        self.streams
            .iter()
            .all(|stream| stream.cursors.iter().filter(open).all(|cursor| cursor.lag(stream.end()).records == 0))
    }

    pub(crate) fn lag(&self, stream: StreamId, index: usize) -> Lag {
        self.streams[stream.index()].lag(index)
    }

    pub(crate) fn unread(&self, stream: StreamId, index: usize) -> Lag {
        self.streams[stream.index()].unread(index)
    }

    pub(crate) fn position(&self, stream: StreamId, index: usize) -> Offset {
        self.streams[stream.index()].cursors[index].next.offset
    }

    pub(crate) fn books(&self, detail: Detail) -> Vec<Book> {
        let cursors = |stream: &Stream| stream.cursors.iter().map(|cursor| book(stream, cursor, detail)).collect();
        self.streams.iter().flat_map(|stream| -> Vec<Book> { cursors(stream) }).collect()
    }
}

fn book(stream: &Stream, cursor: &CursorState, detail: Detail) -> Book {
    let lag = cursor.lag(stream.end());
    let labels = cursor.account.by_label.iter().filter(|_| detail == Detail::Labels);
    let by_label = labels.map(|(id, account)| LabelBook {
        label: stream.account.labels.get(id.0 as usize).cloned().unwrap_or_default(),
        appended_items: account.appended_items,
        settled: account.settled.clone(),
    });
    Book {
        stream: stream.account.name.clone(),
        cursor: cursor.account.name.clone(),
        appended_items: cursor.account.appended_items,
        settled: cursor.account.settled.clone(),
        pending_items: lag.items,
        pending_records: lag.records,
        pending_bytes: lag.bytes,
        oldest_pending_unix_ns: lag.oldest_unix_ns,
        position: (cursor.next.offset, stream.end().offset),
        open: cursor.standing == Standing::Open,
        by_label: by_label.collect(),
    }
}
