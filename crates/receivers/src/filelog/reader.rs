//! One file that is followed: what was read of it, what was given out, and what the journal has.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::identity::{Mark, Print, TAIL_BYTES_MAX, head};
use super::lines::Behind;
use super::paths::Found;
use super::settings::{Settings, Shown};
use super::source::{FileId, Packing, Source, Stamp};
use crate::operators::{Entry, Operators, Value};

/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// How many places are remembered at which a record that is held back may begin; with fewer, more is read again.
const MARKS_MAX: usize = 4096;

/// A file.
pub(super) struct Reader {
    /// Which file it is on its disk; none when that one is gone, or is another one's.
    pub(super) id: Option<FileId>,
    pub(super) path: PathBuf,
    pub(super) packing: Packing,
    /// The first bytes.
    pub(super) head: Print,
    /// The journal has what stands before it.
    pub(super) committed: Mark,
    /// When the file was looked at last.
    pub(super) stamp: Stamp,
    /// Rounds in which no path led to it.
    pub(super) rounds_missed: u32,
    /// Bytes that were read in this round.
    pub(super) round_bytes: usize,
    pub(super) operators: Operators,
    pub(super) source: Option<Source>,
    /// There was nothing more when it was read last.
    is_drained: bool,
    /// What stands before it was given out. The buffer begins here.
    consumed: Mark,
    /// The bytes before the buffer.
    tail: Vec<u8>,
    buffer: Vec<u8>,
    /// When bytes were found last.
    grown_unix_ns: u64,
    /// What stands before it was given out and is not held back either.
    safe: Mark,
    /// Where records begin that operators hold back, and some that they do not.
    marks: VecDeque<Mark>,
    /// What every record of it has.
    template: Entry,
}

/// Whether there is more to read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Drained,
}

impl Reader {
    pub(super) fn new(found: &Found, packing: Packing, settings: &Settings, now_unix_ns: u64) -> Reader {
        let mut reader = Reader::known(found.id, found.path.clone(), Print::default(), Mark::default(), settings);
        reader.packing = packing;
        reader.grown_unix_ns = now_unix_ns;
        reader
    }

    /// A file of which a checkpoint tells.
    pub(super) fn known(id: FileId, path: PathBuf, head: Print, mark: Mark, settings: &Settings) -> Reader {
        Reader {
            id: Some(id),
            template: template(&path, settings),
            packing: settings.packing(&path),
            path,
            head,
            committed: mark,
            stamp: Stamp::default(),
            rounds_missed: 0,
            round_bytes: 0,
            operators: settings.operators.fresh(),
            source: None,
            is_drained: false,
            consumed: mark,
            tail: Vec::new(),
            buffer: Vec::new(),
            grown_unix_ns: 0,
            safe: mark,
            marks: VecDeque::new(),
        }
    }

    /// Where the next byte is read.
    fn position(&self) -> u64 {
        self.consumed.offset + self.buffer.len() as u64
    }

    /// What was given out.
    pub(super) fn consumed(&self) -> Mark {
        self.consumed
    }

    /// Whether nothing of it is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.is_drained && self.buffer.is_empty() && !self.operators.is_holding()
    }

    /// Whether all of it was read and the journal has it.
    pub(super) fn is_done(&self) -> bool {
        self.is_idle() && self.committed == self.consumed && self.stamp.size_bytes > 0
    }

    // === which file it is ===

    /// Whether the file at a path is the one that was read so far. Looks into it only when it has changed.
    pub(super) fn recognises(&mut self, found: &Found, settings: &Settings) -> io::Result<bool> {
        if self.stamp == found.stamp && self.is_drained {
            self.be_at(&found.path, settings);
            return Ok(true);
        }
        let packing = settings.packing(&found.path);
        let is_stale = |source: &Source| source.packing() == Packing::Gzip || source.packing() != packing;
        if self.source.as_ref().is_none_or(is_stale) {
            self.source = Source::open(&found.path, found.id, packing)?;
            self.packing = packing;
        }
        let (mark, position) = (self.consumed, self.position());
        // Another file has taken the path meanwhile; the next round finds that one.
        let Some(source) = &mut self.source else { return Ok(true) };
        let stamp = source.stamp()?;
        let first = head(source, settings.fingerprint_bytes)?;
        let is_shorter = packing == Packing::Plain && stamp.size_bytes < position;
        if is_shorter || !self.head.begins(&first) || !mark.is_in(source)? {
            return Ok(false);
        }
        self.stamp = stamp;
        self.is_drained = false;
        self.know(&first);
        self.be_at(&found.path, settings);
        Ok(true)
    }

    /// Whether a file goes on where this one ends: it was moved, copied or compressed.
    pub(super) fn goes_on_in(&self, first: &[u8], source: &mut Source, stamp: Stamp) -> io::Result<bool> {
        let is_long = source.packing() == Packing::Gzip || stamp.size_bytes >= self.consumed.offset;
        Ok(is_long && self.head.size_bytes > 0 && self.head.begins(first) && self.consumed.is_in(source)?)
    }

    /// Goes on in another file.
    pub(super) fn adopt(&mut self, found: &Found, first: &[u8], source: Source, settings: &Settings) {
        self.id = Some(found.id);
        self.packing = source.packing();
        self.source = Some(source);
        self.stamp = found.stamp;
        self.is_drained = false;
        self.rounds_missed = 0;
        // What of it was read already is read again, from the copy.
        self.buffer = Vec::new();
        self.know(first);
        self.be_at(&found.path, settings);
    }

    /// Goes on from a place, all before which is nobody's any more.
    pub(super) fn skip_to(&mut self, mark: Mark) {
        (self.consumed, self.safe, self.committed) = (mark, mark, mark);
        self.marks.clear();
        self.buffer = Vec::new();
        self.tail = Vec::new();
    }

    /// The file is truncated, or another one.
    pub(super) fn lose(&mut self) {
        self.id = None;
        self.source = None;
        self.is_drained = false;
    }

    /// The first bytes become more as the file grows.
    pub(super) fn know(&mut self, first: &[u8]) {
        if first.len() > self.head.size_bytes as usize {
            self.head = Print::of(first);
        }
    }

    fn be_at(&mut self, path: &Path, settings: &Settings) {
        if self.path != path {
            path.clone_into(&mut self.path);
            self.template = template(path, settings);
        }
    }

    // === reading ===

    /// Reads up to so many bytes, and gives out the records that are whole.
    pub(super) fn read(
        &mut self,
        settings: &Settings,
        bytes_max: usize,
        now_unix_ns: u64,
        out: &mut Vec<Entry>,
    ) -> io::Result<Progress> {
        let mut read = 0;
        self.give_out(settings, Behind::More, now_unix_ns, out);
        while read < bytes_max {
            let got = self.fill()?;
            if got == 0 {
                self.give_out(settings, Behind::NothingNow, now_unix_ns, out);
                if settings.flush_ns > 0 && now_unix_ns.saturating_sub(self.grown_unix_ns) >= settings.flush_ns {
                    self.give_out(settings, Behind::Nothing, now_unix_ns, out);
                }
                self.operators.flush_due(now_unix_ns, out);
                self.settle();
                self.is_drained = true;
                return Ok(Progress::Drained);
            }
            read += got;
            self.round_bytes += got;
            self.grown_unix_ns = now_unix_ns;
            self.give_out(settings, Behind::More, now_unix_ns, out);
        }
        Ok(Progress::More)
    }

    /// Gives out what is left, whole or not, and lets go of the file.
    pub(super) fn close(&mut self, settings: &Settings, now_unix_ns: u64, out: &mut Vec<Entry>) {
        self.give_out(settings, Behind::Nothing, now_unix_ns, out);
        self.operators.flush_due(u64::MAX, out);
        self.settle();
        self.lose();
        self.is_drained = true;
        self.buffer = Vec::new();
    }

    fn fill(&mut self) -> io::Result<usize> {
        let position = self.position();
        let Some(source) = &mut self.source else { return Ok(0) };
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK_BYTES, 0);
        let read = source.read_at(position, &mut self.buffer[filled..]);
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
        read
    }

    fn give_out(&mut self, settings: &Settings, behind: Behind, now_unix_ns: u64, out: &mut Vec<Entry>) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        while let Some(split) = settings.lines.split(&buffer[at..], behind) {
            let offset = self.consumed.offset + at as u64;
            if let Some(value) = settings.lines.value(&buffer[at..][split.record], offset) {
                if settings.operators.can_hold() && self.marks.len() < MARKS_MAX {
                    let tail = Print::of(&tail(&self.tail, &buffer[..at]));
                    self.marks.push_back(Mark { offset, records: self.consumed.records, tail });
                }
                self.consumed.records += 1;
                let entry = self.entry(value, offset, settings, now_unix_ns);
                self.operators.process(entry, now_unix_ns, out);
                self.forget_marks();
            }
            at += split.consumed;
        }
        if at > 0 {
            self.tail = tail(&self.tail, &buffer[..at]);
            self.consumed.offset += at as u64;
            self.consumed.tail = Print::of(&self.tail);
        }
        self.buffer = buffer;
        self.buffer.drain(..at);
        self.settle();
    }

    fn entry(&self, value: Value, offset: u64, settings: &Settings, now_unix_ns: u64) -> Entry {
        let mut entry = self.template.clone();
        entry.body = value;
        entry.observed_unix_ns = now_unix_ns;
        entry.mark = offset;
        let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        if settings.shows(Shown::RecordNumber) {
            entry.set_attribute("log.file.record_number", number(self.consumed.records));
        }
        if settings.shows(Shown::RecordOffset) {
            entry.set_attribute("log.file.record_offset", number(offset));
        }
        entry
    }

    /// Places behind which nothing is held back are of no use.
    fn forget_marks(&mut self) {
        let Some(held) = self.operators.oldest_held() else { return self.marks.clear() };
        while self.marks.get(1).is_some_and(|next| next.offset <= held) {
            self.marks.pop_front();
        }
    }

    /// How far the journal may be said to have it, once it has what was given out.
    fn settle(&mut self) {
        self.forget_marks();
        match (self.operators.is_holding(), self.marks.front()) {
            (false, _) => self.safe = self.consumed,
            (true, Some(mark)) => self.safe = *mark,
            (true, None) => {}
        }
    }

    /// The journal has what was given out. Says whether that is news.
    pub(super) fn commit(&mut self) -> bool {
        let is_news = self.committed != self.safe;
        self.committed = self.safe;
        is_news
    }
}

/// The last bytes of what was read.
fn tail(before: &[u8], bytes: &[u8]) -> Vec<u8> {
    let of_before = TAIL_BYTES_MAX.saturating_sub(bytes.len()).min(before.len());
    let of_bytes = TAIL_BYTES_MAX.min(bytes.len());
    [&before[before.len() - of_before..], &bytes[bytes.len() - of_bytes..]].concat()
}

/// What every record of a file has.
fn template(path: &Path, settings: &Settings) -> Entry {
    let mut entry = settings.template.clone();
    let name = |path: &Path| path.file_name().map(|name| Value::String(name.to_string_lossy().into_owned()));
    let whole = |path: &Path| Some(Value::String(path.to_string_lossy().into_owned()));
    let mut show = |shown: Shown, key: &str, value: Option<Value>| {
        if let (true, Some(value)) = (settings.shows(shown), value) {
            entry.set_attribute(key, value);
        }
    };
    show(Shown::Name, "log.file.name", name(path));
    show(Shown::Path, "log.file.path", whole(path));
    if settings.shows(Shown::NameResolved) || settings.shows(Shown::PathResolved) {
        let resolved = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        show(Shown::NameResolved, "log.file.name_resolved", name(&resolved));
        show(Shown::PathResolved, "log.file.path_resolved", whole(&resolved));
    }
    entry
}
