//! One stream: its newest records in memory, and its cursors.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::account::{Account, Note, StreamAccount};
use crate::books::{Bucket, LabelId, Settlement, SettlementError};
use crate::cursor::{Hold, Lag, LagLimit, Read, ReadLimit};
use crate::mark::{Mark, Span};
use crate::record::{Offset, Record, Shares};

/// So many labels of one stream are counted apart; the rest share [`LabelId::OTHER`].
pub(crate) const LABELS_MAX: usize = 2000;

/// A longer name is not counted apart either: everything that is remembered must fit into one entry of a storage.
const LABEL_BYTES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) account: StreamAccount,
    /// The oldest place that can still be read.
    pub(crate) first: Mark,
    /// The newest records. In memory storage: all that some cursor has not read.
    records: VecDeque<Record>,
    /// The place of the first record in `records`.
    head: Mark,
    /// Records in the hands of readers. They hold their memory until the last of them has settled.
    held: BTreeMap<Offset, Held>,
    pub(crate) cursors: Vec<CursorState>,
    label_ids: HashMap<String, LabelId>,
}

#[derive(Debug)]
struct Held {
    readers: u32,
    retained_bytes: u64,
}

/// Whether somebody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A reader has it.
    Open,
    /// Nobody reads now; its place and its account are kept.
    Detached,
    /// Nobody will read any more; its account stands as it was when the stream ended for it.
    Gone { end: Mark },
}

#[derive(Debug)]
pub(crate) struct CursorState {
    pub(crate) account: Account,
    pub(crate) standing: Standing,
    pub(crate) hold: Hold,
    pub(crate) news: Arc<Notify>,
    pub(crate) lag_max: Option<LagLimit>,
    /// The next record to read.
    pub(crate) next: Mark,
    /// Runs beyond `next` that were settled before this process started.
    skips: VecDeque<Span>,
    /// When the record at `next` was appended, where that is known.
    pub(crate) next_at_unix_ns: Option<u64>,
    /// Read and not settled.
    in_flight: BTreeMap<Offset, InFlight>,
    /// Records that this cursor lost before it read them, since it was last told.
    gap: Option<Gap>,
}

#[derive(Clone, Debug)]
struct Gap {
    from: Offset,
    to: Offset,
    items: u64,
    cause: Bucket,
}

#[derive(Clone, Debug)]
struct InFlight {
    span: Span,
    appended_at_unix_ns: u64,
    shares: Shares,
}

/// What a look at the stream finds for a cursor.
#[derive(Debug)]
pub(crate) enum Look {
    Ready(Read),
    /// The next record is not in memory any more.
    Elsewhere {
        from: Offset,
        /// Records from here on are in memory, or settled already.
        to: Mark,
    },
    Nothing,
}

// === impl Stream: writing ===

impl Stream {
    pub(crate) fn new(account: StreamAccount) -> Stream {
        let mut stream = Stream { first: account.end, head: account.end, account, ..Stream::default() };
        if stream.account.labels.is_empty() {
            stream.account.labels.push("other".to_owned());
        }
        let labels = stream.account.labels.iter().zip(0..).skip(1);
        stream.label_ids = labels.map(|(name, id)| (name.clone(), LabelId(id))).collect();
        stream
    }

    pub(crate) fn end(&self) -> Mark {
        self.account.end
    }

    /// The label of this name; [`LabelId::OTHER`] once there are too many.
    pub(crate) fn label(&mut self, name: &str) -> LabelId {
        if let Some(id) = self.label_ids.get(name) {
            return *id;
        }
        let labels = &mut self.account.labels;
        if labels.len() >= LABELS_MAX || name.len() > LABEL_BYTES_MAX {
            return LabelId::OTHER;
        }
        let id = LabelId(u32::try_from(labels.len()).unwrap_or(0));
        labels.push(name.to_owned());
        self.label_ids.insert(name.to_owned(), id);
        id
    }

    /// Appends one record and returns the bytes that this freed: its own, where nobody reads the stream.
    pub(crate) fn push(&mut self, mut record: Record) -> u64 {
        record.offset = self.end().offset;
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.counts()) {
            cursor.account.append(record.items.into(), record.shares.as_slice());
            if cursor.next == self.account.end {
                cursor.next_at_unix_ns = Some(record.appended_at_unix_ns);
            }
            cursor.news.notify_one();
        }
        self.account.end = self.end().after(record.items.into(), record.payload.len() as u64);
        self.records.push_back(record);
        self.trim()
    }

    /// Lets the records go from memory that every open cursor has read, and returns the bytes that nobody holds any
    /// more.
    pub(crate) fn trim(&mut self) -> u64 {
        let needed = self.oldest_unread().unwrap_or_else(|| self.end().offset);
        let mut freed = 0;
        while self.head.offset < needed {
            let Some(bytes) = self.evict() else { break };
            freed += bytes;
        }
        if self.records.is_empty() {
            self.records.shrink_to(64);
        }
        freed
    }

    /// Lets the oldest record in memory go, and returns the bytes that this freed.
    pub(crate) fn evict(&mut self) -> Option<u64> {
        let record = self.records.pop_front()?;
        let freed = if self.held.contains_key(&self.head.offset) { 0 } else { record.retained_bytes() };
        self.head = self.head.after(record.items.into(), record.payload.len() as u64);
        Some(freed)
    }

    /// When the oldest record in memory was appended.
    pub(crate) fn oldest_in_memory_unix_ns(&self) -> Option<u64> {
        self.records.front().map(|record| record.appended_at_unix_ns)
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
        if place < self.head.offset { retained_bytes } else { 0 }
    }

    fn in_memory(&self, place: Offset) -> Option<&Record> {
        let index = place.0.checked_sub(self.head.offset.0)?;
        self.records.get(usize::try_from(index).ok()?)
    }

    /// The first record in memory that was appended then or later.
    pub(crate) fn since_in_memory(&self, unix_ns: u64) -> Mark {
        let mut mark = self.head;
        for record in self.records.iter().take_while(|record| record.appended_at_unix_ns < unix_ns) {
            mark = mark.after(record.items.into(), record.payload.len() as u64);
        }
        mark
    }

    /// The next place that an open cursor reads, if there is something to read.
    pub(crate) fn oldest_unread(&self) -> Option<Offset> {
        let open = self.cursors.iter().filter(|cursor| cursor.standing == Standing::Open);
        open.map(|cursor| cursor.next.offset).min().filter(|next| *next < self.end().offset)
    }

    pub(crate) fn oldest_unread_at_unix_ns(&self) -> Option<u64> {
        Some(self.in_memory(self.oldest_unread()?)?.appended_at_unix_ns)
    }

    /// Takes the next record in memory from one cursor, which will not read it, and says whether there was one.
    pub(crate) fn overwrite_next(&mut self, index: usize) -> Option<Note> {
        let cursor = &self.cursors[index];
        let record = self.in_memory(cursor.next.offset).filter(|_| cursor.standing == Standing::Open)?;
        let to = cursor.next.after(record.items.into(), record.payload.len() as u64);
        let known = [(record.offset, record.shares.clone())];
        Some(self.lose(index, to, Bucket::OVERWRITTEN, &known))
    }

    /// Takes everything before `to` from a cursor that has not read it. `known` are the shares of records among that,
    /// by their places in order, as far as anybody knows them.
    pub(crate) fn lose(&mut self, index: usize, to: Mark, cause: Bucket, known: &[(Offset, Shares)]) -> Note {
        let after = self.in_memory(to.offset).map(|record| record.appended_at_unix_ns);
        let cursor = &mut self.cursors[index];
        let note = cursor.lose(to, cause, known, self.account.end);
        cursor.next_at_unix_ns = after;
        cursor.news.notify_one();
        note
    }
}

// === impl Stream: reading ===

impl Stream {
    /// The bytes that this freed come beside what was found.
    pub(crate) fn look(&mut self, index: usize, limit: ReadLimit, closed: bool) -> (Look, u64) {
        let cursor = &mut self.cursors[index];
        cursor.skip_settled();
        if let Some(gap) = cursor.gap.take() {
            let read = Read::Gap { lost: gap.from..gap.to, items: gap.items, cause: gap.cause };
            return (Look::Ready(read), 0);
        }
        if cursor.next.offset >= self.account.end.offset {
            return (if closed { Look::Ready(Read::Closed) } else { Look::Nothing }, 0);
        }
        let skip = cursor.skips.front().map(|span| span.start);
        if cursor.next.offset < self.head.offset {
            let to = skip.filter(|skip| skip.offset < self.head.offset).unwrap_or(self.head);
            return (Look::Elsewhere { from: cursor.next.offset, to }, 0);
        }
        let skip = skip.map_or(Offset(u64::MAX), |skip| skip.offset);
        let first = usize::try_from(cursor.next.offset.0 - self.head.offset.0).unwrap_or(usize::MAX);
        let mut taken = Vec::new();
        let mut sum = Lag::default();
        for record in self.records.range(first.min(self.records.len())..).take_while(|record| record.offset < skip) {
            sum.grow(record);
            if !taken.is_empty() && limit.is_reached(taken.len(), sum, record) {
                break;
            }
            taken.push(record.clone());
        }
        let next_at = self.records.get(first + taken.len()).map(|next| next.appended_at_unix_ns);
        let freed = self.take(index, &taken, next_at);
        (Look::Ready(Read::Records(taken)), freed)
    }

    /// Hands records to a cursor, and returns the bytes that this freed.
    fn take(&mut self, index: usize, records: &[Record], next_at_unix_ns: Option<u64>) -> u64 {
        let cursor = &mut self.cursors[index];
        for record in records {
            cursor.take(record);
            // The first reader says what is held: whoever reads it from the storage later has it without attachment.
            let retained_bytes = record.retained_bytes();
            self.held.entry(record.offset).or_insert(Held { readers: 0, retained_bytes }).readers += 1;
        }
        cursor.next_at_unix_ns = next_at_unix_ns;
        self.trim()
    }

    /// Hands over records that were read from the storage, and returns the bytes that they hold now beyond what is in
    /// memory anyway, as a difference.
    pub(crate) fn take_fetched(&mut self, index: usize, records: &[Record], next_at_unix_ns: Option<u64>) -> i64 {
        let outside = records.iter().filter(|r| r.offset < self.head.offset && !self.held.contains_key(&r.offset));
        let added: u64 = outside.map(Record::retained_bytes).sum();
        let freed = self.take(index, records, next_at_unix_ns);
        added.cast_signed() - freed.cast_signed()
    }

    pub(crate) fn settle(
        &mut self,
        index: usize,
        records: &[Record],
        settlement: &Settlement,
    ) -> Result<(Note, u64), SettlementError> {
        let note = self.cursors[index].settle(records, settlement, self.account.end)?;
        let freed = records.iter().map(|record| self.let_go(record.offset)).sum();
        Ok((note, freed))
    }

    /// Nobody holds what this cursor read; what it did not settle is read again by whoever opens it next. Returns the
    /// bytes that this freed.
    pub(crate) fn close(&mut self, index: usize, standing: Standing) -> u64 {
        let cursor = &mut self.cursors[index];
        cursor.standing = standing;
        let in_flight: Vec<Offset> = cursor.in_flight.keys().copied().collect();
        cursor.rewind();
        let let_go: u64 = in_flight.into_iter().map(|place| self.let_go(place)).sum();
        let_go + self.trim()
    }

    pub(crate) fn lag(&self, index: usize) -> Lag {
        let cursor = &self.cursors[index];
        cursor.lag(self.account.end)
    }

    pub(crate) fn unread(&self, index: usize) -> Lag {
        self.cursors[index].unread(self.account.end)
    }
}

// === impl CursorState ===

impl CursorState {
    /// A cursor that starts where its account stands.
    pub(crate) fn new(account: Account, standing: Standing) -> CursorState {
        let mut cursor = CursorState {
            next: account.place.low,
            account,
            standing,
            hold: Hold::Keep,
            news: Arc::default(),
            lag_max: None,
            skips: VecDeque::new(),
            next_at_unix_ns: None,
            in_flight: BTreeMap::new(),
            gap: None,
        };
        cursor.rewind();
        cursor
    }

    /// Back to the first record that is not settled.
    pub(crate) fn rewind(&mut self) {
        self.next = self.account.place.low;
        self.next_at_unix_ns = None;
        self.skips = self.account.place.ahead.iter().copied().collect();
        self.in_flight.clear();
        self.gap = None;
    }

    /// Whether what is appended is counted for this cursor.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self.standing, Standing::Gone { .. })
    }

    fn skip_settled(&mut self) {
        while let Some(span) = self.skips.front().filter(|span| span.start.offset <= self.next.offset) {
            self.next = span.end;
            self.skips.pop_front();
        }
    }

    fn take(&mut self, record: &Record) {
        let end = self.next.after(record.items.into(), record.payload.len() as u64);
        let in_flight = InFlight {
            span: Span { start: self.next, end },
            appended_at_unix_ns: record.appended_at_unix_ns,
            shares: record.shares.clone(),
        };
        self.in_flight.insert(record.offset, in_flight);
        self.next = end;
    }

    fn settle(&mut self, records: &[Record], settlement: &Settlement, end: Mark) -> Result<Note, SettlementError> {
        self.check(records, settlement)?;
        let mut note = Note { read_to: self.next, ..Note::default() };
        let whole = match settlement.entries() {
            [(bucket, _)] => bucket.clone(),
            _ => Bucket::PARTLY,
        };
        for record in records {
            let Some(was) = self.in_flight.remove(&record.offset) else { continue };
            note.runs.add(was.span);
            note.add_shares(&whole, was.shares.as_slice());
        }
        for (bucket, items) in settlement.entries() {
            *note.settled.entry(bucket.clone()).or_default() += items;
        }
        self.account.settle(&note, end);
        Ok(note)
    }

    /// Every record is in flight, and the settlement accounts for each of their items.
    fn check(&self, records: &[Record], settlement: &Settlement) -> Result<(), SettlementError> {
        let mut held = 0;
        let mut last = None;
        for record in records {
            // Places rise strictly, so that no record is counted twice.
            let in_flight = self.in_flight.get(&record.offset).filter(|_| last < Some(record.offset));
            let Some(in_flight) = in_flight else {
                return Err(SettlementError::NotInFlight { offset: record.offset.0 });
            };
            last = Some(record.offset);
            held += in_flight.span.lag().items;
        }
        match settlement.items() {
            settled if settled == held => Ok(()),
            settled => Err(SettlementError::Unbalanced { settled, held }),
        }
    }

    /// Everything between `next` and `to` that is not settled yet goes into one bucket.
    fn lose(&mut self, to: Mark, cause: Bucket, known: &[(Offset, Shares)], end: Mark) -> Note {
        let mut note = Note { read_to: to, ..Note::default() };
        let (from, mut lost_items) = (self.next.offset, 0);
        self.skip_settled();
        while self.next.offset < to.offset {
            // What was settled before is not lost: what is lost ends where it begins.
            let stop =
                self.skips.front().map_or(to, |span| if span.start.offset < to.offset { span.start } else { to });
            let span = Span { start: self.next, end: stop };
            lost_items += span.lag().items;
            note.runs.add(span);
            let from = known.partition_point(|(place, _)| *place < span.start.offset);
            for (_, shares) in known[from..].iter().take_while(|(place, _)| *place < span.end.offset) {
                note.add_shares(&cause, shares.as_slice());
            }
            self.next = stop;
            self.skip_settled();
        }
        *note.settled.entry(cause.clone()).or_default() += lost_items;
        self.account.labels_unsure = true;
        self.account.settle(&note, end);
        let gap = self.gap.get_or_insert(Gap { from, to: from, items: 0, cause });
        gap.to = self.next.offset;
        gap.items += lost_items;
        note
    }

    /// What was not read, up to the end of the stream.
    pub(crate) fn unread(&self, end: Mark) -> Lag {
        let end = match self.standing {
            Standing::Gone { end } => end,
            _ => end,
        };
        let settled = self.skips.iter().fold(Lag::default(), |sum, span| sum.plus(span.lag()));
        let left = end.since(self.next);
        Lag {
            records: left.records.saturating_sub(settled.records),
            items: left.items.saturating_sub(settled.items),
            bytes: left.bytes.saturating_sub(settled.bytes),
            oldest_unix_ns: self.next_at_unix_ns.filter(|_| left.records > 0),
        }
    }

    /// What was not settled, counted from the records.
    pub(crate) fn lag(&self, end: Mark) -> Lag {
        let mut lag = self.in_flight.values().fold(self.unread(end), |sum, flight| sum.plus(flight.span.lag()));
        if let Some(oldest) = self.in_flight.values().next() {
            lag.oldest_unix_ns = Some(oldest.appended_at_unix_ns);
        }
        lag
    }

    /// Whether `added` on top of a lag is more than this cursor may lag.
    pub(crate) fn exceeds(&self, lag: Lag, added: Lag) -> bool {
        match self.lag_max {
            None => false,
            Some(LagLimit::Records(max)) => lag.records.saturating_add(added.records) > max,
            Some(LagLimit::Items(max)) => lag.items.saturating_add(added.items) > max,
            Some(LagLimit::Bytes(max)) => lag.bytes.saturating_add(added.bytes) > max,
        }
    }
}
