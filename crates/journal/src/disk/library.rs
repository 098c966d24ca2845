//! The segments of a directory, and reading records out of them.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::cursor::{Lag, ReadLimit};
use crate::disk::format::{Meta, SegmentId};
use crate::disk::io::{Disk, DiskFile};
use crate::disk::segment::{Index, is_whole};
use crate::log::StreamId;
use crate::mark::Mark;
use crate::record::{Offset, Record, Shares};

/// Indexes of segments that are not written any more are kept for readers up to so many bytes, and one in any case.
const INDEXES_BYTES_MAX: usize = 32 << 20;

/// One file.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) file: Arc<dyn DiskFile>,
    /// How much of it counts.
    pub(crate) length: u64,
    /// What it takes of the disk.
    pub(crate) size: u64,
    /// Where each stream stood when it began; streams that are not listed had not begun.
    pub(crate) firsts: Vec<Mark>,
    /// When its last record was appended.
    pub(crate) last_append_unix_ns: u64,
    /// As far as recovery knows; where it does not, there are some.
    pub(crate) has_records: bool,
}

/// All segments, in order.
pub(crate) struct Library {
    pub(crate) disk: Arc<dyn Disk>,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// A file was removed, and a power cut may bring it back.
    unsynced_removal: bool,
    segments: VecDeque<Segment>,
    /// The records of the segment that is being written, which is the last one.
    active: Option<Index>,
    indexes: VecDeque<(SegmentId, Arc<Index>)>,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Fetched {
    Records {
        records: Vec<Record>,
        next_at_unix_ns: Option<u64>,
    },
    /// Nothing before `to` can be read.
    Lost {
        to: Mark,
        shares: Shares,
    },
}

/// Where the next records are.
enum Plan {
    Read { file: Arc<dyn DiskFile>, metas: Vec<Meta>, next_at_unix_ns: Option<u64> },
    Lost { to: Mark },
}

impl Segment {
    /// Where a stream stood when this segment began.
    pub(crate) fn first(&self, stream: usize) -> Mark {
        self.firsts.get(stream).copied().unwrap_or_default()
    }
}

// === impl Library: keeping ===

impl Library {
    pub(crate) fn new(disk: Arc<dyn Disk>, segments: Vec<Segment>) -> Library {
        // The process before may have removed some.
        let shelf = Shelf { segments: segments.into(), unsynced_removal: true, ..Shelf::default() };
        Library { disk, shelf: Mutex::new(shelf) }
    }

    /// What all segments take of the disk, in bytes.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.shelf.lock().segments.iter().map(|segment| segment.size).sum()
    }

    pub(crate) fn segments(&self) -> Vec<Segment> {
        self.shelf.lock().segments.iter().cloned().collect()
    }

    /// The oldest segment, if it is not being written, and where streams stand in the one behind it.
    pub(crate) fn oldest(&self) -> Option<(Segment, Option<Segment>)> {
        let shelf = self.shelf.lock();
        let oldest = shelf.segments.front()?;
        let next = shelf.segments.get(1);
        (next.is_some() || shelf.active.is_none()).then(|| (oldest.clone(), next.cloned()))
    }

    /// A new segment that is being written from now on.
    pub(crate) fn begin(&self, segment: Segment) {
        let mut shelf = self.shelf.lock();
        shelf.segments.push_back(segment);
        shelf.active = Some(Index::default());
    }

    /// The last segment is not written any more.
    pub(crate) fn seal(&self, length: u64, size: u64) {
        let mut shelf = self.shelf.lock();
        let index = shelf.active.take();
        if let (Some(last), Some(index)) = (shelf.segments.back_mut(), index) {
            last.length = length;
            last.size = size;
            let id = last.id;
            shelf.remember(id, Arc::new(index));
        }
    }

    /// The last segment was extended by these records.
    pub(crate) fn extend(&self, length: u64, metas: Vec<Meta>) {
        let mut shelf = self.shelf.lock();
        if let Some(last) = shelf.segments.back_mut() {
            last.length = length;
            last.size = last.size.max(length);
            let newest = metas.iter().map(|meta| meta.appended_at_unix_ns).max();
            last.last_append_unix_ns = last.last_append_unix_ns.max(newest.unwrap_or(0));
        }
        if let Some(index) = &mut shelf.active {
            metas.into_iter().for_each(|meta| index.add(meta));
        }
    }

    /// Takes away segments in which nothing is, now that a later one says all that they said.
    pub(crate) fn discard(&self, ids: &[SegmentId]) {
        for id in ids {
            // Best effort: the next start finds out that it counts for nothing.
            let _ = self.disk.remove(&id.file_name());
        }
        self.shelf.lock().segments.retain(|segment| !ids.contains(&segment.id));
    }

    /// Takes the oldest segment away. No more than one removal is open at a time: what a power cut brings back is the
    /// one before the oldest, and leaves no gap.
    ///
    /// # Errors
    /// As the file system says; the segment is still there then.
    pub(crate) fn remove_oldest(&self, id: SegmentId) -> io::Result<()> {
        if self.shelf.lock().unsynced_removal {
            self.disk.sync_names()?;
        }
        match self.disk.remove(&id.file_name()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut shelf = self.shelf.lock();
        shelf.unsynced_removal = true;
        if shelf.segments.front().is_some_and(|oldest| oldest.id == id) {
            shelf.segments.pop_front();
        }
        Ok(())
    }
}

impl Shelf {
    fn remember(&mut self, id: SegmentId, index: Arc<Index>) {
        if index.unreadable {
            return;
        }
        self.indexes.retain(|(other, _)| *other != id);
        self.indexes.push_back((id, index));
        let mut bytes: usize = self.indexes.iter().map(|(_, index)| index.size_bytes()).sum();
        while self.indexes.len() > 1 && bytes > INDEXES_BYTES_MAX {
            let oldest = self.indexes.pop_front();
            bytes -= oldest.map_or(0, |(_, index)| index.size_bytes());
        }
    }

    /// The index of a segment, if it was kept; it is kept longer then.
    fn recall(&mut self, id: SegmentId) -> Option<Arc<Index>> {
        let at = self.indexes.iter().position(|(other, _)| *other == id)?;
        let kept = self.indexes.remove(at)?;
        let index = Arc::clone(&kept.1);
        self.indexes.push_back(kept);
        Some(index)
    }

    /// The segment that holds a place, if it is not older than all of them.
    fn holding(&self, stream: usize, from: Offset) -> Option<usize> {
        let after = self.segments.partition_point(|segment| segment.first(stream).offset <= from);
        after.checked_sub(1)
    }
}

// === impl Library: reading ===

impl Library {
    /// Records from `from` on, before `to`, as many as `limit` says; at least one, or what is lost in front of the next.
    pub(crate) fn fetch(&self, stream: StreamId, from: Offset, to: Mark, limit: ReadLimit) -> Fetched {
        match self.plan(stream.index(), from, to, limit) {
            // Segments that contradict each other: nothing between here and what is in memory can be trusted.
            Plan::Lost { to: there } if there.offset <= from => Fetched::Lost { to, shares: Shares::default() },
            Plan::Lost { to } => Fetched::Lost { to, shares: Shares::default() },
            Plan::Read { metas, .. } if metas.is_empty() => Fetched::Lost { to, shares: Shares::default() },
            Plan::Read { file, metas, next_at_unix_ns } => read(&*file, &metas, next_at_unix_ns),
        }
    }

    fn plan(&self, stream: usize, from: Offset, to: Mark, limit: ReadLimit) -> Plan {
        let (segment, next_first) = {
            let mut shelf = self.shelf.lock();
            let Some(at) = shelf.holding(stream, from) else {
                let oldest = shelf.segments.front().map(|oldest| oldest.first(stream));
                return Plan::Lost { to: oldest.filter(|first| first.offset < to.offset).unwrap_or(to) };
            };
            let next_first = shelf.segments.get(at + 1).map_or(to, |next| next.first(stream));
            let segment = shelf.segments[at].clone();
            if let Some(active) = shelf.active.as_ref().filter(|_| at + 1 == shelf.segments.len()) {
                return choose(active.stream(stream), &segment, from, to, next_first, limit);
            }
            if let Some(index) = shelf.recall(segment.id) {
                return choose(index.stream(stream), &segment, from, to, next_first, limit);
            }
            (segment, next_first)
        };
        // Without the lock: writers and other readers go on meanwhile.
        let index = Index::load(&*segment.file, segment.id, segment.length);
        let plan = choose(index.stream(stream), &segment, from, to, next_first, limit);
        self.shelf.lock().remember(segment.id, index);
        plan
    }

    /// The records of a segment that is not written any more.
    pub(crate) fn index(&self, segment: &Segment) -> Arc<Index> {
        let kept = self.shelf.lock().recall(segment.id);
        kept.unwrap_or_else(|| Index::load(&*segment.file, segment.id, segment.length))
    }

    /// The first place of a stream whose record `is_it` says yes to; it says no to all before. Places that were lost
    /// are passed over.
    pub(crate) fn find(&self, stream: StreamId, is_it: impl Fn(&Meta) -> bool) -> Option<Mark> {
        // Where the first of these is, and whether one before it is not.
        let first = |metas: &[Meta]| {
            let at = metas.partition_point(|meta| !is_it(meta));
            (metas.get(at).map(|meta| meta.mark), at > 0)
        };
        let (sealed, (mut found, mut done)) = {
            let shelf = self.shelf.lock();
            let sealed = shelf.segments.len() - usize::from(shelf.active.is_some());
            let active = shelf.active.as_ref().map_or((None, false), |active| first(active.stream(stream.index())));
            (shelf.segments.iter().take(sealed).cloned().collect::<Vec<_>>(), active)
        };
        // From the newest to the oldest, for as long as a segment begins with a record that is it.
        for segment in sealed.iter().rev() {
            if done {
                break;
            }
            let (earlier, ends) = first(self.index(segment).stream(stream.index()));
            (found, done) = (earlier.or(found), ends);
        }
        found
    }

    /// The shares of records between two places.
    pub(crate) fn shares(&self, stream: StreamId, from: Offset, to: Offset) -> Vec<(Offset, Shares)> {
        let stream = stream.index();
        let (sealed, active) = {
            let shelf = self.shelf.lock();
            let sealed = shelf.segments.len() - usize::from(shelf.active.is_some());
            let first = shelf.holding(stream, from).unwrap_or(0).min(sealed);
            let before = |segment: &&Segment| segment.first(stream).offset < to;
            let active = shelf.active.as_ref().map(|active| shares_between(active.stream(stream), from, to));
            (shelf.segments.range(first..sealed).take_while(before).cloned().collect::<Vec<_>>(), active)
        };
        let sealed = sealed.iter().flat_map(|segment| shares_between(self.index(segment).stream(stream), from, to));
        sealed.chain(active.unwrap_or_default()).collect()
    }

    /// When the record at a place was appended.
    pub(crate) fn appended_at_unix_ns(&self, stream: StreamId, place: Mark, end: Mark) -> Option<u64> {
        match self.plan(stream.index(), place.offset, end, ReadLimit::ONE) {
            Plan::Read { metas, .. } => metas.first().map(|meta| meta.appended_at_unix_ns),
            Plan::Lost { .. } => None,
        }
    }
}

/// The shares of records between two places, where they have any.
pub(crate) fn shares_between(metas: &[Meta], from: Offset, to: Offset) -> Vec<(Offset, Shares)> {
    let first = metas.partition_point(|meta| meta.mark.offset < from);
    let between = metas[first..].iter().take_while(|meta| meta.mark.offset < to);
    between
        .filter(|meta| !meta.shares.as_slice().is_empty())
        .map(|meta| (meta.mark.offset, meta.shares.clone()))
        .collect()
}

/// The records of one segment that a read gets.
fn choose(metas: &[Meta], segment: &Segment, from: Offset, to: Mark, next_first: Mark, limit: ReadLimit) -> Plan {
    let at = metas.partition_point(|meta| meta.mark.offset < from);
    let there = metas.get(at).map_or(next_first, |meta| meta.mark);
    if there.offset != from {
        return Plan::Lost { to: if there.offset < to.offset { there } else { to } };
    }
    let mut sum = Lag::default();
    let mut wanted = Vec::new();
    for (meta, offset) in metas[at..].iter().zip(from.0..to.offset.0) {
        if meta.mark.offset.0 != offset {
            break;
        }
        sum.items += u64::from(meta.items);
        sum.bytes += u64::from(meta.payload_bytes);
        let enough = sum.items - u64::from(meta.items) >= limit.items_enough;
        if !wanted.is_empty() && (enough || sum.bytes > limit.bytes_max || wanted.len() >= limit.records_max) {
            break;
        }
        wanted.push(meta.clone());
    }
    let next_at_unix_ns = metas.get(at + wanted.len()).map(|meta| meta.appended_at_unix_ns);
    Plan::Read { file: Arc::clone(&segment.file), metas: wanted, next_at_unix_ns }
}

fn read(file: &dyn DiskFile, metas: &[Meta], next_at_unix_ns: Option<u64>) -> Fetched {
    let mut records = Vec::with_capacity(metas.len());
    let mut damaged = None;
    'all: for near in near_together(metas) {
        let (first, last) = (&metas[near.start], &metas[near.end - 1]);
        let start = first.position;
        let length = usize::try_from(last.position + u64::from(last.payload_bytes) - start).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let whole = file.read_exact_at(&mut bytes, start).is_ok();
        let bytes = Bytes::from(bytes);
        for meta in &metas[near] {
            let payload = match whole {
                true => {
                    let from = usize::try_from(meta.position - start).unwrap_or(usize::MAX);
                    Some(bytes.slice(from..from + meta.payload_bytes as usize))
                }
                // One of them cannot be read; the others may.
                false => crate::disk::segment::read_payload(file, meta).ok().map(Bytes::from),
            };
            match payload.filter(|payload| is_whole(meta, payload)) {
                Some(payload) => records.push(record(meta, payload)),
                None => {
                    damaged = Some(meta);
                    break 'all;
                }
            }
        }
    }
    match (records.is_empty(), damaged) {
        (true, Some(meta)) => {
            let to = meta.mark.after(meta.items.into(), meta.payload_bytes.into());
            Fetched::Lost { to, shares: meta.shares.clone() }
        }
        (_, Some(meta)) => Fetched::Records { records, next_at_unix_ns: Some(meta.appended_at_unix_ns) },
        (_, None) => Fetched::Records { records, next_at_unix_ns },
    }
}

/// Runs of records that one read of the file serves, without reading much in between.
fn near_together(metas: &[Meta]) -> Vec<Range<usize>> {
    const BETWEEN_BYTES_MAX: u64 = 16 << 10;
    const RUN_BYTES_MAX: u64 = 8 << 20;
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, meta) in metas.iter().enumerate() {
        let end = meta.position + u64::from(meta.payload_bytes);
        if let Some(run) = runs.last_mut() {
            let (first, last) = (&metas[run.start], &metas[run.end - 1]);
            let last_end = last.position + u64::from(last.payload_bytes);
            let near = meta.position.checked_sub(last_end).is_some_and(|between| between <= BETWEEN_BYTES_MAX);
            if near && end - first.position <= RUN_BYTES_MAX {
                run.end = index + 1;
                continue;
            }
        }
        runs.push(index..index + 1);
    }
    runs
}

fn record(meta: &Meta, payload: Bytes) -> Record {
    let mut record = Record::new(payload, meta.items);
    record.offset = meta.mark.offset;
    record.appended_at_unix_ns = meta.appended_at_unix_ns;
    record.shares = meta.shares.clone();
    record
}
