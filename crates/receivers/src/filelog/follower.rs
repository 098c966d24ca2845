//! All files that are followed, round by round: which ones there are, which of them are known, and what is read next.
//!
//! A round begins with a look at the disk ([`Follower::begin_round`]) and goes on in steps ([`Follower::step`]), each of
//! which gives a bounded number of records. When the journal has those, [`Follower::commit`] says so; only then do they
//! count as read. Nothing here waits, and nothing reads a clock.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;

use super::checkpoints::{Checkpoint, Record};
use super::identity::{Mark, head};
use super::paths::Found;
use super::reader::{Progress, Reader};
use super::settings::{AfterReading, Settings, StartAt};
use super::source::{FileId, Packing, Source};
use crate::operators::{Counts, Entry};

/// One step gives no more than what it read in so many bytes.
const STEP_BYTES_MAX: usize = 1 << 20;
/// One file has its turn for so many bytes, then the next one has.
const TURN_BYTES_MAX: usize = 256 << 10;
/// One file is read no further in one round, so that new files are seen while one grows fast.
const ROUND_BYTES_MAX: usize = 16 << 20;
/// A file to which no path leads any more is read on for so many rounds: its writer may not know yet.
const LOST_ROUNDS_MAX: u32 = 25;
/// A small file with the bytes of another is taken for its copy for so many rounds, then for a file of its own.
const COPY_ROUNDS_MAX: u32 = 5;
/// Files that are gone are remembered up to this number.
const GONE_MAX: usize = 4096;
/// The clock of the disk and ours may differ so much.
const CLOCK_MARGIN_NS: u64 = 2_000_000_000;

/// A file in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key(u64);

/// A file that is a copy of another so far.
#[derive(Clone, Copy, Debug)]
struct Copied {
    of: Key,
    rounds: u32,
}

/// All files.
pub(super) struct Follower {
    settings: Settings,
    readers: BTreeMap<Key, Reader>,
    next_key: u64,
    by_id: HashMap<FileId, Key>,
    copies: HashMap<FileId, Copied>,
    /// What has its turn in this round.
    queue: VecDeque<Key>,
    /// What was read since the last commit.
    touched: HashSet<Key>,
    /// The last one that had its turn where a round does not read all files.
    last_turn: Option<Key>,
    /// When a process before had looked for files last; none if there was none.
    seen_before_unix_ns: Option<u64>,
    round: Round,
    round_unix_ns: u64,
    is_changed: bool,
    /// What could not be read, so that it is said once.
    unreadable: HashSet<FileId>,
    /// What readers that are gone had counted.
    counts: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    First,
    Later,
}

/// What a step has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more in this round.
    More,
    /// The round is at its end.
    Last,
}

impl Follower {
    pub(super) fn new(settings: Settings, checkpoint: Option<Checkpoint>) -> Follower {
        let mut follower = Follower {
            readers: BTreeMap::new(),
            next_key: 0,
            by_id: HashMap::new(),
            copies: HashMap::new(),
            queue: VecDeque::new(),
            touched: HashSet::new(),
            last_turn: None,
            seen_before_unix_ns: checkpoint.as_ref().map(|checkpoint| checkpoint.seen_unix_ns),
            round: Round::First,
            round_unix_ns: 0,
            // The first round is worth a checkpoint even if there is no file yet: those that come later are new.
            is_changed: true,
            unreadable: HashSet::new(),
            counts: Counts::default(),
            settings,
        };
        for Record { id, path, head, mark } in checkpoint.into_iter().flat_map(|checkpoint| checkpoint.records) {
            let none = FileId { device: 0, inode: 0 };
            let mut reader = Reader::known(id.unwrap_or(none), path, head, mark, &follower.settings);
            reader.id = id;
            follower.insert(reader);
        }
        follower
    }

    fn insert(&mut self, reader: Reader) -> Key {
        let key = Key(self.next_key);
        self.next_key += 1;
        if let Some(id) = reader.id {
            self.by_id.insert(id, key);
        }
        self.readers.insert(key, reader);
        key
    }

    /// What is to be kept for the process after this one.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let record = |reader: &Reader| Record {
            id: reader.id,
            path: reader.path.clone(),
            head: reader.head,
            mark: reader.committed,
        };
        let known = self.readers.values().filter(|reader| reader.head.size_bytes > 0);
        Checkpoint { seen_unix_ns: self.round_unix_ns, records: known.map(record).collect() }
    }

    /// Whether there is something new to keep, once.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// What was to be kept could not be.
    pub(super) fn set_changed(&mut self) {
        self.is_changed = true;
    }

    /// How many files are open.
    pub(super) fn open_files(&self) -> usize {
        self.readers.values().filter(|reader| reader.source.is_some()).count()
    }

    /// What operators did not understand since this was asked last.
    pub(super) fn take_counts(&mut self) -> Counts {
        let mut counts = std::mem::take(&mut self.counts);
        for reader in self.readers.values_mut() {
            counts.add(reader.operators.take_counts());
        }
        counts
    }

    // === a look at the disk ===

    /// Looks which files there are, and finds out which of them are known.
    pub(super) fn begin_round(&mut self, now_unix_ns: u64) {
        self.round_unix_ns = now_unix_ns;
        let found = self.settings.paths.find(now_unix_ns);
        let mut matched = HashSet::new();
        let unknown: Vec<Found> = found.into_iter().filter(|found| !self.recognise(found, &mut matched)).collect();
        for (key, reader) in &mut self.readers {
            reader.round_bytes = 0;
            reader.rounds_missed = if matched.contains(key) { 0 } else { reader.rounds_missed.saturating_add(1) };
        }
        let mut copies = HashMap::new();
        for found in &unknown {
            match self.place(found, &matched, now_unix_ns) {
                Ok(Placed::Reader(key)) => drop(matched.insert(key)),
                Ok(Placed::Copy(copied)) => drop(copies.insert(found.id, copied)),
                Ok(Placed::Nowhere) => {}
                Err(error) => self.say_unreadable(found, &error),
            }
        }
        self.copies = copies;
        self.round = Round::Later;
        self.prune();
        self.line_up();
    }

    /// Whether a path leads to the file that it is known to.
    fn recognise(&mut self, found: &Found, matched: &mut HashSet<Key>) -> bool {
        let Some(key) = self.by_id.get(&found.id).copied() else { return false };
        let Some(reader) = self.readers.get_mut(&key) else { return false };
        match reader.recognises(found, &self.settings) {
            Ok(true) => {
                matched.insert(key);
                true
            }
            Ok(false) => {
                tracing::debug!(path = %found.path.display(), "the file is another one, or was truncated");
                reader.lose();
                self.by_id.remove(&found.id);
                false
            }
            Err(error) => {
                matched.insert(key);
                self.say_unreadable(found, &error);
                true
            }
        }
    }

    /// What a file is that is not known by its place on the disk.
    fn place(&mut self, found: &Found, matched: &HashSet<Key>, now_unix_ns: u64) -> io::Result<Placed> {
        let packing = self.settings.packing(&found.path);
        let Some(mut source) = Source::open(&found.path, found.id, packing)? else { return Ok(Placed::Nowhere) };
        let first = head(&mut source, self.settings.fingerprint_bytes)?;
        if let Some(key) = self.goes_on(found, &first, &mut source, matched)? {
            self.adopt(key, found, &first, source);
            return Ok(Placed::Reader(key));
        }
        if let Some(copied) = self.copied(found, &first, &mut source, matched)? {
            return Ok(Placed::Copy(copied));
        }
        let mut reader = Reader::new(found, packing, &self.settings, now_unix_ns);
        reader.know(&first);
        reader.stamp = found.stamp;
        if self.begins_at_end(found) {
            let end = end(&mut source, found.stamp.size_bytes)?;
            reader.skip_to(Mark::at(end, &mut source)?);
        }
        reader.source = Some(source);
        self.is_changed = true;
        Ok(Placed::Reader(self.insert(reader)))
    }

    /// What was there before this receiver ran for the first time may not be wanted. What came while it did not run is.
    fn begins_at_end(&self, found: &Found) -> bool {
        let was_there = match self.seen_before_unix_ns {
            Some(seen) => found.stamp.modified_unix_ns.saturating_add(CLOCK_MARGIN_NS) < seen,
            None => true,
        };
        self.settings.start_at == StartAt::End && self.round == Round::First && was_there
    }

    /// The file that goes on in this one, among those to which no path leads any more.
    fn goes_on(
        &mut self,
        found: &Found,
        first: &[u8],
        source: &mut Source,
        matched: &HashSet<Key>,
    ) -> io::Result<Option<Key>> {
        let mut best: Option<(u32, u64, Key)> = None;
        for (key, reader) in self.readers.iter().filter(|(key, _)| !matched.contains(key)) {
            if reader.goes_on_in(first, source, found.stamp)? {
                let candidate = (reader.head.size_bytes, reader.consumed().offset, *key);
                best = best.max(Some(candidate));
            }
        }
        if let Some((_, _, key)) = best {
            return Ok(Some(key));
        }
        // The copy of a file that was written to between the copy and the truncation: all of the copy was read.
        let copied = self.copies.get(&found.id).filter(|copied| !matched.contains(&copied.of));
        let Some((key, reader)) = copied.and_then(|copied| Some((copied.of, self.readers.get_mut(&copied.of)?))) else {
            return Ok(None);
        };
        if source.packing() == Packing::Plain && found.stamp.size_bytes < reader.consumed().offset {
            let records = reader.consumed().records;
            reader.skip_to(Mark { records, ..Mark::at(found.stamp.size_bytes, source)? });
            return Ok(Some(key));
        }
        Ok(None)
    }

    fn adopt(&mut self, key: Key, found: &Found, first: &[u8], source: Source) {
        let Some(reader) = self.readers.get_mut(&key) else { return };
        tracing::debug!(from = %reader.path.display(), to = %found.path.display(), "a file goes on in another place");
        if let Some(id) = reader.id.filter(|id| self.by_id.get(id) == Some(&key)) {
            self.by_id.remove(&id);
        }
        reader.adopt(found, first, source, &self.settings);
        self.by_id.insert(found.id, key);
        self.is_changed = true;
    }

    /// Whether a file is a copy of one that is still there, as before a truncation, and while it is compressed.
    fn copied(
        &mut self,
        found: &Found,
        first: &[u8],
        source: &mut Source,
        matched: &HashSet<Key>,
    ) -> io::Result<Option<Copied>> {
        let fingerprint_bytes = self.settings.fingerprint_bytes;
        for (key, reader) in self.readers.iter_mut().filter(|(key, _)| matched.contains(key)) {
            if reader.head.size_bytes == 0 || !reader.head.begins(first) {
                continue;
            }
            if source.packing() == Packing::Plain && !is_prefix(found, source, reader)? {
                continue;
            }
            let before = self.copies.get(&found.id).filter(|copied| copied.of == *key);
            let rounds = before.map_or(1, |copied| copied.rounds.saturating_add(1));
            let is_whole = source.packing() == Packing::Gzip || found.stamp.size_bytes >= reader.consumed().offset;
            if reader.head.size_bytes as usize == fingerprint_bytes || (is_whole && rounds <= COPY_ROUNDS_MAX) {
                return Ok(Some(Copied { of: *key, rounds }));
            }
        }
        Ok(None)
    }

    fn say_unreadable(&mut self, found: &Found, error: &io::Error) {
        if self.unreadable.len() < GONE_MAX && self.unreadable.insert(found.id) {
            tracing::warn!(path = %found.path.display(), %error, "a file cannot be read; it is tried again");
        }
    }

    /// Forgets the files that have been gone for longest, if they are too many.
    fn prune(&mut self) {
        let is_gone = |reader: &Reader| reader.rounds_missed > 0 && reader.source.is_none() && reader.is_idle();
        let mut gone: Vec<(u32, Key)> =
            self.readers.iter().filter(|(_, reader)| is_gone(reader)).map(|(key, r)| (r.rounds_missed, *key)).collect();
        if gone.len() <= GONE_MAX {
            return;
        }
        gone.sort_unstable();
        for (_, key) in gone.drain(GONE_MAX..) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: Key) {
        let Some(mut reader) = self.readers.remove(&key) else { return };
        self.counts.add(reader.operators.take_counts());
        if let Some(id) = reader.id.filter(|id| self.by_id.get(id) == Some(&key)) {
            self.by_id.remove(&id);
        }
        self.is_changed = true;
    }

    /// Who has something to read, or something that waits; where a round reads only some files, each has its turn.
    fn line_up(&mut self) {
        let has_work = |reader: &Reader| match reader.rounds_missed {
            0 => !reader.is_idle(),
            _ => reader.source.is_some() || !reader.is_idle(),
        };
        let mut ready: Vec<Key> =
            self.readers.iter().filter(|(_, reader)| has_work(reader)).map(|(key, _)| *key).collect();
        if let Some(max) = self.settings.round_files_max.filter(|max| *max < ready.len()) {
            let first = ready.partition_point(|key| Some(*key) <= self.last_turn);
            ready.rotate_left(first);
            ready.truncate(max);
            self.last_turn = ready.last().copied();
        }
        self.queue = ready.into();
    }

    // === reading ===

    /// Reads on, and appends records to `out`, a bounded number of bytes at once.
    pub(super) fn step(&mut self, now_unix_ns: u64, out: &mut Vec<Entry>) -> Step {
        let mut bytes = 0;
        let mut open = self.open_files();
        while bytes < STEP_BYTES_MAX {
            let Some(key) = self.queue.pop_front() else { return Step::Last };
            let Some(reader) = self.readers.get_mut(&key) else { continue };
            self.touched.insert(key);
            let before = reader.round_bytes;
            let was_open = reader.source.is_some();
            let result = turn(reader, &self.settings, now_unix_ns, out);
            bytes += reader.round_bytes - before;
            open += usize::from(reader.source.is_some() && !was_open);
            match result {
                Ok(Progress::More) if reader.round_bytes < ROUND_BYTES_MAX => self.queue.push_back(key),
                Ok(_) => {}
                Err(error) => {
                    let path = reader.path.clone();
                    tracing::warn!(path = %path.display(), %error, "reading a file failed; it is tried again");
                    reader.source = None;
                }
            }
            // A file that is gone cannot be opened again.
            if open > self.settings.open_files_max && reader.rounds_missed == 0 && reader.source.take().is_some() {
                open -= 1;
            }
        }
        if self.queue.is_empty() { Step::Last } else { Step::More }
    }

    /// The journal has what the steps since the last commit gave.
    pub(super) fn commit(&mut self) {
        for key in std::mem::take(&mut self.touched) {
            let Some(reader) = self.readers.get_mut(&key) else { continue };
            self.is_changed |= reader.commit();
            let is_deleted = self.settings.after_reading == AfterReading::Delete
                && reader.rounds_missed == 0
                && reader.is_done()
                && delete(reader);
            if is_deleted {
                self.forget(key);
            }
        }
    }
}

/// What a file is.
enum Placed {
    Reader(Key),
    Copy(Copied),
    /// It is gone again.
    Nowhere,
}

/// One turn of a file.
fn turn(reader: &mut Reader, settings: &Settings, now_unix_ns: u64, out: &mut Vec<Entry>) -> io::Result<Progress> {
    if let (None, 0, Some(id)) = (&reader.source, reader.rounds_missed, reader.id) {
        reader.source = Source::open(&reader.path, id, reader.packing)?;
    }
    let progress = reader.read(settings, TURN_BYTES_MAX, now_unix_ns, out)?;
    if progress == Progress::Drained && reader.rounds_missed > LOST_ROUNDS_MAX {
        reader.close(settings, now_unix_ns, out);
    }
    Ok(progress)
}

/// Whether a file holds what another one begins with, as far as its end tells.
fn is_prefix(found: &Found, source: &mut Source, reader: &mut Reader) -> io::Result<bool> {
    const COMPARED_BYTES: u64 = 1 << 10;
    if reader.source.is_none()
        && let Some(id) = reader.id
    {
        reader.source = Source::open(&reader.path, id, reader.packing)?;
    }
    let Some(original) = &mut reader.source else { return Ok(false) };
    let size = found.stamp.size_bytes;
    if original.packing() != Packing::Plain || size > original.stamp()?.size_bytes {
        return Ok(false);
    }
    let compared = size.min(COMPARED_BYTES);
    let (mut here, mut there) = (vec![0; compared as usize], vec![0; compared as usize]);
    let read = source.read_at(size - compared, &mut here)?;
    Ok(original.read_at(size - compared, &mut there)? == read && here == there)
}

/// Where a file ends, unpacked.
fn end(source: &mut Source, size_bytes: u64) -> io::Result<u64> {
    if source.packing() == Packing::Plain {
        return Ok(size_bytes);
    }
    let mut offset = 0;
    let mut skipped = vec![0; 64 << 10];
    loop {
        match source.read_at(offset, &mut skipped)? {
            0 => return Ok(offset),
            got => offset += got as u64,
        }
    }
}

fn delete(reader: &Reader) -> bool {
    // What was written since it was read last would be lost with it.
    let is_unchanged =
        std::fs::metadata(&reader.path).is_ok_and(|metadata| super::source::Stamp::of(&metadata) == reader.stamp);
    if !is_unchanged {
        return false;
    }
    match std::fs::remove_file(&reader.path) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(path = %reader.path.display(), %error, "a file that was read cannot be deleted");
            false
        }
    }
}
