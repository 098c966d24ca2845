//! What stands in a segment file, byte for byte. `ARCHITECTURE.md` of this crate has the tables.
//!
//! A file begins with a [`FileHeader`]; entries follow, each on a multiple of [`ALIGN_BYTES`]. An entry is a header of
//! fixed size, a head whose length and checksum the header has, and a body of payloads whose checksums the head has.
//! All numbers are little-endian; all checksums are CRC-32C.

use std::fmt;

use crate::account::{Account, Buckets, CursorId, Image, LabelAccount, Note, StreamAccount};
use crate::books::{Bucket, LabelId, Share};
use crate::disk::codec::{Reader, Writer};
use crate::log::StreamId;
use crate::mark::{Mark, Place, Span, Spans};
use crate::record::{Offset, Shares};

pub(crate) const FILE_HEADER_BYTES: u64 = 48;
pub(crate) const ENTRY_HEADER_BYTES: usize = 40;
pub(crate) const ALIGN_BYTES: u64 = 8;
/// No head is longer: one that would be is not written, and a length beyond it is damage.
pub(crate) const HEAD_BYTES_MAX: u32 = 256 << 20;

/// No stream is longer: a place beyond it is damage, and can be counted on from without overflow.
const OFFSET_MAX: u64 = 1 << 62;

const FILE_MAGIC: u64 = u64::from_le_bytes(*b"XFADEJNL");
pub(crate) const ENTRY_MAGIC: u32 = u32::from_le_bytes(*b"XfE1");
/// Raised when a file of an older version can no longer be read as it is.
const VERSION: u32 = 1;

/// The number of a segment. Later segments have higher numbers; some may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// The front of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) segment: SegmentId,
    /// The segment before this one, and how much of it counts: what stands behind that was never acknowledged.
    pub(crate) previous: Option<(SegmentId, u64)>,
    pub(crate) created_at_unix_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everything that is remembered, at this place of the log.
    Image,
    /// Records, of one append.
    Append,
    /// What cursors settled.
    Settle,
}

/// The front of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    pub(crate) kind: Kind,
    pub(crate) segment: SegmentId,
    /// Where in the file this entry stands, so that a copy of it elsewhere is none.
    pub(crate) position: u64,
    /// Where the entries begin that were synced together with this one.
    pub(crate) group: u64,
    pub(crate) head_bytes: u32,
    pub(crate) body_bytes: u32,
    pub(crate) head_crc: u32,
}

/// What the head of an append says of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) stream: StreamId,
    /// The record's place, and what lies before it: so a gap in front of it can be counted.
    pub(crate) mark: Mark,
    pub(crate) items: u32,
    pub(crate) appended_at_unix_ns: u64,
    /// Where the payload begins: in the body as written, in the file as read.
    pub(crate) position: u64,
    pub(crate) payload_bytes: u32,
    pub(crate) payload_crc: u32,
    pub(crate) shares: Shares,
}

/// A head that was understood.
#[derive(Debug)]
pub(crate) enum Entry {
    Image(Box<Image>),
    Append(Vec<Meta>),
    Settle(Vec<(CursorId, Note)>),
}

// === impl SegmentId ===

impl SegmentId {
    pub(crate) fn file_name(self) -> String {
        format!("{:020}.segment", self.0)
    }

    pub(crate) fn of_file_name(name: &str) -> Option<SegmentId> {
        let number = name.strip_suffix(".segment").filter(|number| number.len() == 20)?;
        number.parse().ok().map(SegmentId)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl FileHeader ===

impl FileHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.u64(FILE_MAGIC);
        to.u32(VERSION);
        to.u64(self.segment.0);
        let (previous, length) = self.previous.unwrap_or((SegmentId(u64::MAX), 0));
        to.u64(previous.0);
        to.u64(length);
        to.u64(self.created_at_unix_ns);
        let crc = crc32c::crc32c(&to.0);
        to.u32(crc);
        to.0
    }

    /// The version of a header that is intact and not of ours.
    pub(crate) fn foreign_version(bytes: &[u8]) -> Option<u32> {
        let (content, crc) = bytes.get(..FILE_HEADER_BYTES as usize)?.split_last_chunk::<4>()?;
        let mut from = Reader(content);
        let is_ours = from.u64()? == FILE_MAGIC && crc32c::crc32c(content) == u32::from_le_bytes(*crc);
        from.u32().filter(|version| is_ours && *version != VERSION)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<FileHeader> {
        let (content, crc) = bytes.get(..FILE_HEADER_BYTES as usize)?.split_last_chunk::<4>()?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut from = Reader(content);
        if from.u64()? != FILE_MAGIC || from.u32()? != VERSION {
            return None;
        }
        let segment = SegmentId(from.u64()?);
        let (previous, length) = (SegmentId(from.u64()?), from.u64()?);
        let previous = (previous.0 != u64::MAX).then_some((previous, length));
        Some(FileHeader { segment, previous, created_at_unix_ns: from.u64()? })
    }
}

// === impl EntryHeader ===

impl EntryHeader {
    /// The header in front of its head.
    pub(crate) fn encode(mut self, head: &[u8]) -> Vec<u8> {
        self.head_bytes = u32::try_from(head.len()).unwrap_or(u32::MAX);
        let mut to = Writer(Vec::with_capacity(ENTRY_HEADER_BYTES + head.len()));
        to.u32(ENTRY_MAGIC);
        to.u16(match self.kind {
            Kind::Image => 1,
            Kind::Append => 2,
            Kind::Settle => 3,
        });
        to.u16(0);
        to.u64(self.segment.0);
        to.u32(u32::try_from(self.position).unwrap_or(u32::MAX));
        to.u32(u32::try_from(self.group).unwrap_or(u32::MAX));
        to.u32(self.head_bytes);
        to.u32(self.body_bytes);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&to.0), head);
        to.u32(crc);
        to.u32(0);
        to.0.extend_from_slice(head);
        to.0
    }

    /// A header that may be one: its checksum needs the head as well, see [`EntryHeader::is_intact`].
    pub(crate) fn decode(bytes: &[u8]) -> Option<EntryHeader> {
        let mut from = Reader(bytes);
        if from.u32()? != ENTRY_MAGIC {
            return None;
        }
        let kind = match (from.u16()?, from.u16()?) {
            (1, 0) => Kind::Image,
            (2, 0) => Kind::Append,
            (3, 0) => Kind::Settle,
            _ => return None,
        };
        let segment = SegmentId(from.u64()?);
        let (position, group) = (from.u32()?.into(), from.u32()?.into());
        let (head_bytes, body_bytes, head_crc) = (from.u32()?, from.u32()?, from.u32()?);
        let plausible = from.u32()? == 0 && head_bytes <= HEAD_BYTES_MAX;
        let header = EntryHeader { kind, segment, position, group, head_bytes, body_bytes, head_crc };
        plausible.then_some(header)
    }

    pub(crate) fn is_intact(&self, header: &[u8], head: &[u8]) -> bool {
        let front = crc32c::crc32c(&header[..ENTRY_HEADER_BYTES - 8]);
        crc32c::crc32c_append(front, head) == self.head_crc
    }

    /// Where the body begins.
    pub(crate) fn body(&self) -> u64 {
        self.position + ENTRY_HEADER_BYTES as u64 + u64::from(self.head_bytes)
    }

    /// Where the next entry begins.
    pub(crate) fn end(&self) -> u64 {
        (self.body() + u64::from(self.body_bytes)).next_multiple_of(ALIGN_BYTES)
    }

    /// What the head says.
    pub(crate) fn entry(&self, head: &[u8]) -> Option<Entry> {
        let mut from = Reader(head);
        let entry = match self.kind {
            Kind::Image => Entry::Image(Box::new(read_image(&mut from)?)),
            Kind::Append => {
                let mut metas = from.list(read_meta)?;
                metas.iter_mut().for_each(|meta| meta.position += self.body());
                let inside = |meta: &Meta| meta.position + u64::from(meta.payload_bytes) <= self.end();
                metas.iter().all(inside).then_some(Entry::Append(metas))?
            }
            Kind::Settle => Entry::Settle(from.list(|from| Some((CursorId(from.u32()?), read_note(from)?)))?),
        };
        from.is_empty().then_some(entry)
    }
}

// === heads ===

pub(crate) fn append_head(metas: &[Meta]) -> Vec<u8> {
    let mut to = Writer(Vec::with_capacity(4 + metas.len() * 72));
    to.count(metas.len());
    for meta in metas {
        to.u32(meta.stream.0);
        write_mark(&mut to, meta.mark);
        to.u32(meta.items);
        to.u64(meta.appended_at_unix_ns);
        to.u32(u32::try_from(meta.position).unwrap_or(u32::MAX));
        to.u32(meta.payload_bytes);
        to.u32(meta.payload_crc);
        to.count(meta.shares.as_slice().len());
        for share in meta.shares.as_slice() {
            to.u32(share.label.0);
            to.u32(share.items);
        }
    }
    to.0
}

fn read_meta(from: &mut Reader<'_>) -> Option<Meta> {
    Some(Meta {
        stream: StreamId(from.u32()?),
        mark: read_mark(from)?,
        items: from.u32()?,
        appended_at_unix_ns: from.u64()?,
        position: from.u32()?.into(),
        payload_bytes: from.u32()?,
        payload_crc: from.u32()?,
        shares: Shares::new(&from.list(|from| Some(Share { label: LabelId(from.u32()?), items: from.u32()? }))?),
    })
}

pub(crate) fn settle_head<'a>(notes: impl ExactSizeIterator<Item = (CursorId, &'a Note)>) -> Vec<u8> {
    let mut to = Writer::default();
    to.count(notes.len());
    for (cursor, note) in notes {
        to.u32(cursor.0);
        write_spans(&mut to, &note.runs);
        write_mark(&mut to, note.read_to);
        write_buckets(&mut to, &note.settled);
        to.count(note.by_label.len());
        for ((label, bucket), items) in &note.by_label {
            to.u32(label.0);
            to.text(&bucket.0);
            to.u64(*items);
        }
    }
    to.0
}

fn read_note(from: &mut Reader<'_>) -> Option<Note> {
    let runs = read_spans(from)?;
    let read_to = read_mark(from)?;
    let settled = read_buckets(from)?;
    let by_label = from.list(|from| {
        let key = (LabelId(from.u32()?), Bucket::from(from.text()?.to_owned()));
        Some((key, from.u64()?))
    })?;
    Some(Note { runs, read_to, settled, by_label: by_label.into_iter().collect() })
}

pub(crate) fn image_head(image: &Image) -> Vec<u8> {
    let mut to = Writer::default();
    to.u32(image.next_cursor.0);
    to.count(image.streams.len());
    for stream in &image.streams {
        to.text(&stream.name);
        write_mark(&mut to, stream.end);
        to.count(stream.labels.len());
        stream.labels.iter().for_each(|label| to.text(label));
    }
    to.count(image.cursors.len());
    image.cursors.iter().for_each(|cursor| write_account(&mut to, cursor));
    to.0
}

fn read_image(from: &mut Reader<'_>) -> Option<Image> {
    let next_cursor = CursorId(from.u32()?);
    let streams = from.list(|from| {
        let (name, end) = (from.text()?.to_owned(), read_mark(from)?);
        Some(StreamAccount { name, end, labels: from.list(|from| Some(from.text()?.to_owned()))? })
    })?;
    let cursors = from.list(read_account)?;
    let sensible = |cursor: &Account| {
        let end = streams.get(cursor.stream.index()).map(|stream: &StreamAccount| stream.end);
        end.is_some_and(|end| is_within(&cursor.place, end)) && cursor.id < next_cursor
    };
    cursors.iter().all(sensible).then_some(Image { streams, cursors, next_cursor })
}

/// Whether what was settled lies before the end of the stream, in order.
fn is_within(place: &Place, end: Mark) -> bool {
    let last = place.ahead.iter().last().map_or(place.low, |span| span.end);
    place.ahead.iter().next().is_none_or(|first| first.start.offset > place.low.offset) && last.offset <= end.offset
}

fn write_account(to: &mut Writer, account: &Account) {
    to.u32(account.id.0);
    to.u32(account.stream.0);
    to.text(&account.name);
    write_mark(to, account.place.low);
    write_spans(to, &account.place.ahead);
    write_mark(to, account.read_to);
    to.u64(account.appended_items);
    write_buckets(to, &account.settled);
    to.u64(account.detached_at_unix_ns.unwrap_or(0));
    to.count(account.by_label.len());
    for (label, account) in &account.by_label {
        to.u32(label.0);
        to.u64(account.appended_items);
        write_buckets(to, &account.settled);
    }
}

fn read_account(from: &mut Reader<'_>) -> Option<Account> {
    Some(Account {
        id: CursorId(from.u32()?),
        stream: StreamId(from.u32()?),
        name: from.text()?.to_owned(),
        place: Place { low: read_mark(from)?, ahead: read_spans(from)? },
        read_to: read_mark(from)?,
        labels_unsure: true,
        appended_items: from.u64()?,
        settled: read_buckets(from)?,
        detached_at_unix_ns: Some(from.u64()?).filter(|at| *at > 0),
        by_label: {
            let labels = from.list(|from| {
                let label = LabelId(from.u32()?);
                Some((label, LabelAccount { appended_items: from.u64()?, settled: read_buckets(from)? }))
            })?;
            labels.into_iter().collect()
        },
    })
}

fn write_mark(to: &mut Writer, mark: Mark) {
    to.u64(mark.offset.0);
    to.u64(mark.items);
    to.u64(mark.bytes);
}

fn read_mark(from: &mut Reader<'_>) -> Option<Mark> {
    let mark = Mark { offset: Offset(from.u64()?), items: from.u64()?, bytes: from.u64()? };
    (mark.offset.0 <= OFFSET_MAX).then_some(mark)
}

fn write_spans(to: &mut Writer, spans: &Spans) {
    to.count(spans.iter().len());
    for span in spans.iter() {
        write_mark(to, span.start);
        write_mark(to, span.end);
    }
}

fn read_spans(from: &mut Reader<'_>) -> Option<Spans> {
    let list = from.list(|from| Some(Span { start: read_mark(from)?, end: read_mark(from)? }))?;
    let rises = |span: &Span| span.start.offset < span.end.offset;
    let apart = |two: &[Span]| two[0].end.offset <= two[1].start.offset;
    let mut spans = Spans::default();
    let sensible = list.iter().all(rises) && list.windows(2).all(apart);
    list.into_iter().for_each(|span| spans.add(span));
    sensible.then_some(spans)
}

fn write_buckets(to: &mut Writer, buckets: &Buckets) {
    to.count(buckets.len());
    for (bucket, items) in buckets {
        to.text(&bucket.0);
        to.u64(*items);
    }
}

fn read_buckets(from: &mut Reader<'_>) -> Option<Buckets> {
    let list = from.list(|from| Some((Bucket::from(from.text()?.to_owned()), from.u64()?)))?;
    Some(list.into_iter().collect())
}
