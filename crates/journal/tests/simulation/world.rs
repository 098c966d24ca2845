//! A journal on the simulated disk, and what somebody outside may expect of it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use journal::disk::{Committer, DiskOptions, Sync};
use journal::{
    AppendError, Bucket, Cursor, CursorOptions, Detail, Hold, Journal, LabelBook, LagLimit, Offset, Read, ReadLimit,
    Record, Settlement, Share, Shares, Start, StreamId, WhenFull,
};

use crate::disk::{Crash, SimDisk};

type Appending = Pin<Box<dyn Future<Output = Result<(), AppendError>>>>;

/// What became of an append, as far as its sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    /// It may be there or not: nobody said.
    Unknown,
    /// It was refused before anything was written.
    Refused,
}

/// The number that each record carries.
type Id = u64;

pub(crate) struct Sent {
    pub(crate) fate: Fate,
    stream: usize,
    items: u32,
    size: usize,
}

/// One cursor, over all processes that open it.
pub(crate) struct Reader {
    name: String,
    stream: usize,
    cursor: Option<Cursor>,
    held: Vec<Record>,
    /// What it has settled as delivered.
    pub(crate) delivered: BTreeSet<Id>,
    /// Of that, what this process settled and nothing was written after.
    fresh: BTreeSet<Id>,
    /// What was written down without an error.
    kept: BTreeSet<Id>,
    /// Items that it was told of as lost, by cause.
    pub(crate) lost: BTreeMap<Bucket, u64>,
    pub(crate) twice: u64,
    last_offset: Option<u64>,
}

pub(crate) struct World {
    pub(crate) disk: SimDisk,
    options: DiskOptions,
    lag_max: Option<LagLimit>,
    pub(crate) rng: fastrand::Rng,
    journal: Journal,
    committer: Committer,
    /// Those of [`STREAMS`] that are there by now.
    streams: Vec<StreamId>,
    /// Whether the accounts of labels are exact: they are while nothing is damaged.
    pub(crate) labels_add_up: bool,
    /// The last reader gives way.
    pub(crate) yields: bool,
    /// Readers do not go: a full journal waits for none that is not there.
    pub(crate) stays: bool,
    waiting: Vec<(Vec<Id>, Appending)>,
    pub(crate) sent: BTreeMap<Id, Sent>,
    next_id: Id,
    pub(crate) readers: Vec<Reader>,
    /// What each of them had read and not settled when something was last written without an error.
    under_way: Vec<BTreeSet<Offset>>,
    pub(crate) now: u64,
}

const STREAMS: [&str; 5] = ["traces", "metrics", "metrics/legacy", "late", "later"];
const READERS: [(&str, usize); 6] = [("new", 0), ("new", 1), ("legacy", 1), ("legacy", 2), ("late", 3), ("later", 4)];
/// So many streams are there from the start.
const STREAMS_AT_START: usize = 3;
/// The reader that may give way.
pub(crate) const YIELDING: usize = 3;
/// The readers that are there from the start: they see everything.
pub(crate) const FROM_THE_START: std::ops::Range<usize> = 0..4;

/// What a record's attachment may hold.
const ATTACHMENT_BYTES_MAX: u32 = 500;

impl World {
    pub(crate) fn new(seed: u64, options: DiskOptions, lag_max: Option<LagLimit>) -> World {
        let disk = SimDisk::new(seed ^ 0x5eed);
        let (journal, committer, _) = Journal::open_stepped(disk.shared(), options.clone()).unwrap();
        let streams = STREAMS[..STREAMS_AT_START].iter().map(|name| journal.stream(name)).collect();
        let readers = READERS.map(|(name, stream)| Reader {
            name: name.to_owned(),
            stream,
            cursor: None,
            held: Vec::new(),
            delivered: BTreeSet::new(),
            fresh: BTreeSet::new(),
            kept: BTreeSet::new(),
            lost: BTreeMap::new(),
            twice: 0,
            last_offset: None,
        });
        let mut world = World {
            disk,
            options,
            lag_max,
            rng: fastrand::Rng::with_seed(seed),
            journal,
            committer,
            streams,
            labels_add_up: true,
            yields: false,
            stays: false,
            waiting: Vec::new(),
            sent: BTreeMap::new(),
            next_id: 1,
            readers: readers.into(),
            under_way: Vec::new(),
            now: 1,
        };
        world.open_cursors();
        world
    }

    fn open_cursors(&mut self) {
        // The order of the configuration is of no importance.
        let mut order: Vec<usize> = (0..self.readers.len()).collect();
        self.rng.shuffle(&mut order);
        for index in order {
            self.open_cursor(index);
        }
    }

    fn open_cursor(&mut self, index: usize) {
        let reader = &mut self.readers[index];
        let Some(stream) = self.streams.get(reader.stream).copied() else { return };
        let lag_max = self.lag_max.filter(|_| index == 0);
        let start = if reader.stream < STREAMS_AT_START { Start::End } else { Start::Oldest };
        let hold = if self.yields && index == YIELDING { Hold::Yield } else { Hold::Keep };
        let options = CursorOptions { lag_max, start, hold };
        reader.cursor = Some(self.journal.open_cursor(stream, &reader.name, options).unwrap());
    }

    /// A stream that was not there before. Its reader comes with it, or once something was appended.
    fn begin_stream(&mut self) {
        let Some(name) = STREAMS.get(self.streams.len()) else { return };
        self.streams.push(self.journal.stream(name));
        if self.stays || self.rng.bool() {
            self.open_cursor(self.streams.len());
        }
    }

    /// A reader goes, and the next time it comes back.
    fn come_or_go(&mut self) {
        let index = self.rng.usize(..self.readers.len());
        let reader = &mut self.readers[index];
        if reader.cursor.take().is_some() {
            reader.held.clear();
            reader.last_offset = None;
        } else {
            self.open_cursor(index);
        }
    }

    /// One random thing happens.
    pub(crate) fn act(&mut self) {
        match self.rng.u32(..100) {
            0..30 => self.append(),
            30..50 => self.step(),
            50..74 => self.read(),
            74 if self.rng.u32(..3) == 0 => self.begin_stream(),
            75 if !self.stays => self.come_or_go(),
            _ => self.settle(),
        }
        self.check_books();
    }

    fn append(&mut self) {
        self.now += 1_000_000;
        let all = [vec![0], vec![1], vec![2], vec![1, 2], vec![0, 0, 0], vec![2, 1, 2], vec![3], vec![4, 3]];
        let streams = &all[self.rng.usize(..all.len())];
        if streams.iter().any(|stream| *stream >= self.streams.len()) {
            return;
        }
        let items = self.rng.u32(..20);
        let size = if self.rng.u32(..50) == 0 { self.rng.usize(..300_000) } else { self.rng.usize(..3_000) };
        let mut ids = Vec::new();
        let mut writes = Vec::new();
        // Half of the time, streams share one payload, as pipelines without processors do.
        let shared = self.rng.bool() && streams.len() < 3;
        let mut payload = bytes::Bytes::new();
        for stream in streams {
            let id = self.next_id;
            self.next_id += 1;
            if payload.is_empty() || !shared {
                payload = payload_of(id, size);
            }
            let mut record = Record::new(payload.clone(), items);
            record.appended_at_unix_ns = self.now;
            record.shares = self.shares(*stream, items);
            record.attachment_bytes = self.rng.u32(..ATTACHMENT_BYTES_MAX);
            self.sent.insert(id, Sent { fate: Fate::Unknown, stream: *stream, items, size });
            ids.push(id);
            writes.push((self.streams[*stream], record));
        }
        let journal = self.journal.clone();
        let future: Appending = Box::pin(async move { journal.append(writes).await });
        self.waiting.push((ids, future));
        self.poll();
    }

    fn shares(&self, stream: usize, items: u32) -> Shares {
        if items == 0 {
            return Shares::default();
        }
        let label = self.journal.label(self.streams[stream], &format!("service-{}", self.next_id / 50 % 5));
        let other = self.journal.label(self.streams[stream], "service-x");
        Shares::new(&[Share { label, items: items - items / 2 }, Share { label: other, items: items / 2 }])
    }

    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for (ids, mut future) in std::mem::take(&mut self.waiting) {
            let fate = match future.as_mut().poll(&mut context) {
                Poll::Pending => {
                    self.waiting.push((ids, future));
                    continue;
                }
                Poll::Ready(Ok(())) => Fate::Acknowledged,
                Poll::Ready(Err(AppendError::Storage { .. })) => Fate::Unknown,
                Poll::Ready(Err(_)) => Fate::Refused,
            };
            for id in ids {
                self.sent.get_mut(&id).unwrap().fate = fate;
            }
        }
    }

    /// The committer writes what there is.
    pub(crate) fn step(&mut self) {
        let errors = self.journal.disk_stats().unwrap().errors;
        let refused_before = self.refused();
        self.committer.step();
        self.poll();
        let unharmed = self.journal.disk_stats().unwrap().errors == errors && self.refused() == refused_before;
        if unharmed {
            self.readers.iter_mut().for_each(|reader| reader.kept.append(&mut reader.fresh));
            self.under_way = self.readers.iter().map(|reader| reader.held.iter().map(|r| r.offset).collect()).collect();
        }
        assert!(self.disk.size_bytes() as u64 <= self.options.size_bytes_max + (2 << 20), "the disk's bound holds");
    }

    /// Appends one record that is taken.
    pub(crate) fn must_append(&mut self) {
        self.now += 1_000_000;
        let (id, items, size) = (self.next_id, 3, 100);
        self.next_id += 1;
        self.sent.insert(id, Sent { fate: Fate::Unknown, stream: 0, items, size });
        let mut record = Record::new(payload_of(id, size), items);
        record.appended_at_unix_ns = self.now;
        record.shares = self.shares(0, items);
        let (journal, stream) = (self.journal.clone(), self.streams[0]);
        self.waiting.push((vec![id], Box::pin(async move { journal.append(vec![(stream, record)]).await })));
        self.poll();
        self.step();
        assert_eq!(self.sent[&id].fate, Fate::Acknowledged, "{:?}", self.journal.trouble());
    }

    fn refused(&self) -> usize {
        self.sent.values().filter(|sent| sent.fate == Fate::Refused).count()
    }

    fn read(&mut self) {
        let index = self.rng.usize(..self.readers.len());
        let limit = ReadLimit {
            records_max: self.rng.usize(1..20),
            items_enough: self.rng.u64(1..100),
            bytes_max: self.rng.u64(1..100_000),
        };
        self.read_from(index, limit);
    }

    fn read_from(&mut self, index: usize, limit: ReadLimit) -> bool {
        let reader = &mut self.readers[index];
        let Some(cursor) = reader.cursor.as_mut() else { return false };
        match cursor.try_next(limit) {
            None => false,
            Some(Read::Closed) => panic!("nobody closed the journal"),
            Some(Read::Gap { items, cause, .. }) => {
                *reader.lost.entry(cause).or_default() += items;
                true
            }
            Some(Read::Records(records)) => {
                assert!(!records.is_empty() && records.len() <= limit.records_max);
                for record in records {
                    self.receive(index, record);
                }
                true
            }
        }
    }

    fn receive(&mut self, index: usize, record: Record) {
        let id = self.identify(index, &record);
        let reader = &mut self.readers[index];
        assert!(reader.last_offset < Some(record.offset.0), "{}: in order", reader.name);
        reader.last_offset = Some(record.offset.0);
        assert!(!reader.kept.contains(&id), "{}: {id} was settled, and that was written down", reader.name);
        reader.twice += u64::from(reader.delivered.contains(&id));
        reader.held.push(record);
    }

    /// The record is one that was sent to this stream, byte for byte.
    fn identify(&self, index: usize, record: &Record) -> Id {
        let stream = self.readers[index].stream;
        let first = u64::from_le_bytes(record.payload[..8].try_into().unwrap());
        // Up to two records of one append share a payload that carries the first one's number.
        let id = (first..first + 2).find(|id| self.sent.get(id).is_some_and(|sent| sent.stream == stream)).unwrap();
        let sent = &self.sent[&id];
        assert_ne!(sent.fate, Fate::Refused, "{id} was refused, and is there");
        assert_eq!(record.items, sent.items);
        assert_eq!(record.payload, payload_of(first, sent.size));
        id
    }

    fn settle(&mut self) {
        let index = self.rng.usize(..self.readers.len());
        let mut count = self.rng.usize(1..6);
        while count > 0 && !self.readers[index].held.is_empty() {
            let held = self.readers[index].held.len();
            let at = if self.rng.bool() { 0 } else { self.rng.usize(..held) };
            self.settle_one(index, at);
            count -= 1;
        }
    }

    fn settle_one(&mut self, index: usize, at: usize) {
        let record = self.readers[index].held.remove(at);
        let id = self.identify(index, &record);
        let mut settlement = Settlement::default();
        let rejected = u64::from(record.items / 5);
        settlement.add("delivered", u64::from(record.items) - rejected);
        settlement.add("rejected/partial", rejected);
        let reader = &mut self.readers[index];
        reader.cursor.as_ref().unwrap().settle(std::slice::from_ref(&record), &settlement).unwrap();
        reader.delivered.insert(id);
        reader.fresh.insert(id);
    }

    /// The process ends without a word, and another one opens the journal.
    pub(crate) fn crash(&mut self, how: Crash) {
        self.poll();
        // What was read, and not settled since, when something was last written.
        let under_way: u64 = self
            .readers
            .iter()
            .zip(&self.under_way)
            .map(|(reader, noted)| {
                let held = reader.held.iter().filter(|record| noted.contains(&record.offset));
                held.map(|record| u64::from(record.items)).sum::<u64>()
            })
            .sum();
        self.leave();
        self.disk.crash(how);
        let told = self.reopen();
        let is_written = how == Crash::Kill || self.options.sync == Sync::OnFsync;
        assert!(told >= under_way || !is_written, "{told} items may arrive twice, {under_way} were under way");
    }

    fn leave(&mut self) {
        self.waiting.clear();
        for reader in &mut self.readers {
            reader.cursor = None;
            reader.held.clear();
            reader.fresh.clear();
            reader.last_offset = None;
        }
    }

    /// Returns how many items it says may arrive twice.
    fn reopen(&mut self) -> u64 {
        let (journal, committer, recovery) = Journal::open_stepped(self.disk.shared(), self.options.clone()).unwrap();
        self.journal = journal;
        self.committer = committer;
        self.streams = STREAMS[..self.streams.len()].iter().map(|name| self.journal.stream(name)).collect();
        self.check_books();
        self.open_cursors();
        self.check_books();
        recovery.maybe_twice_items
    }

    /// The process ends in order: everything is written for the last time.
    pub(crate) fn stop(&mut self) {
        while self.committer.step() {
            self.poll();
        }
        self.committer.finish();
        self.leave();
    }

    /// Another process opens the journal again.
    pub(crate) fn start(&mut self) {
        self.disk.crash(Crash::Kill);
        self.reopen();
    }

    /// Everybody reads to the end and settles.
    pub(crate) fn drain(&mut self) {
        while self.committer.step() {
            self.poll();
        }
        for index in 0..self.readers.len() {
            if self.readers[index].cursor.is_none() {
                self.open_cursor(index);
            }
            loop {
                while !self.readers[index].held.is_empty() {
                    self.settle_one(index, 0);
                }
                if !self.read_from(index, ReadLimit::default()) {
                    break;
                }
            }
            self.check_books();
        }
        while self.committer.step() {
            self.poll();
        }
        for book in self.journal.books(Detail::Totals) {
            assert_eq!((book.pending_items, book.pending_records), (0, 0), "{book:?}");
        }
        for book in self.journal.books(Detail::Labels) {
            assert!(book.by_label.iter().all(|label| label.pending_items() == 0), "{book:?}");
        }
        assert_eq!(self.journal.retained_bytes().0, 0, "what everybody settled holds no memory");
    }

    pub(crate) fn check_books(&self) {
        for book in self.journal.books(Detail::Labels) {
            assert!(book.balances(), "{book:?}");
            let by_label: u64 = book.by_label.iter().map(LabelBook::pending_items).sum();
            // What was there before a cursor was is counted by label once it is settled.
            let exact = STREAMS[..STREAMS_AT_START].contains(&book.stream.as_str());
            // What was in a reader's hands at a crash, and has left the disk, is lost together with its labels.
            let dropped = book.settled.keys().any(|bucket| bucket.0.starts_with("dropped/"));
            if self.labels_add_up && exact {
                assert!(by_label == book.pending_items || dropped && by_label > book.pending_items, "{book:?}");
            }
        }
        let (retained, max) = self.journal.retained_bytes();
        // What is in readers' hands cannot be taken back, nor what was attached to it in other hands.
        let held = self.readers.iter().flat_map(|reader| &reader.held);
        let held: u64 = held.map(|record| record.retained_bytes() + u64::from(ATTACHMENT_BYTES_MAX)).sum();
        assert!(retained <= max + held, "memory is bounded: {retained} of {max}, {held} held");
    }

    /// Items that cursors of this name lost, as its book says.
    pub(crate) fn dropped_items(&self, index: usize) -> u64 {
        let reader = &self.readers[index];
        let books = self.journal.books(Detail::Totals);
        let book = books.iter().find(|b| b.cursor == reader.name && b.stream == STREAMS[reader.stream]);
        let Some(book) = book else { return 0 };
        book.settled.iter().filter(|(bucket, _)| bucket.0.starts_with("dropped/")).map(|(_, items)| items).sum()
    }

    /// Items of acknowledged records that a reader never settled.
    pub(crate) fn missing_items(&self, index: usize) -> u64 {
        let reader = &self.readers[index];
        let missing = self.sent.iter().filter(|(id, sent)| {
            sent.stream == reader.stream && sent.fate == Fate::Acknowledged && !reader.delivered.contains(id)
        });
        missing.map(|(_, sent)| u64::from(sent.items)).sum()
    }

    /// Damage may take settlements: what they settled comes again.
    pub(crate) fn forget_what_was_kept(&mut self) {
        self.readers.iter_mut().for_each(|reader| reader.kept.clear());
    }

    pub(crate) fn expire(&mut self) {
        let now = self.now;
        self.committer.expire(now);
    }
}

/// A payload that says whose it is in every part.
fn payload_of(id: Id, size: usize) -> bytes::Bytes {
    let mut payload = id.to_le_bytes().to_vec();
    payload.extend((0..size as u64).map(|at| (id.wrapping_mul(31) ^ at.wrapping_mul(7)) as u8));
    payload.into()
}

pub(crate) fn options(rng: &mut fastrand::Rng, when_full: WhenFull) -> DiskOptions {
    DiskOptions {
        size_bytes_max: 4 << 20,
        when_full,
        segment_bytes: Some(rng.u64(16 << 10..256 << 10)),
        memory_bytes_max: rng.u64(1_000..100_000),
        ..DiskOptions::default()
    }
}
