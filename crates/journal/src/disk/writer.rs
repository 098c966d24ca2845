//! Writing segments: one file after another, each append an entry, each group of entries synced together.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::account::{CursorId, Image, Note};
use crate::disk::Sync;
use crate::disk::format::{
    ALIGN_BYTES, ENTRY_HEADER_BYTES, EntryHeader, FILE_HEADER_BYTES, FileHeader, HEAD_BYTES_MAX, Kind, Meta, SegmentId,
    append_head, image_head, settle_head,
};
use crate::disk::io::DiskFile;
use crate::disk::library::{Library, Segment};
use crate::log::StreamId;
use crate::mark::Mark;
use crate::record::Record;

/// A segment that is to be left may grow so far beyond its size, for settlements alone.
const OVERRUN_BYTES_MAX: u64 = 1 << 20;

/// The end of the log.
pub(crate) struct Writer {
    pub(crate) library: Arc<Library>,
    pub(crate) sync: Sync,
    pub(crate) segment_bytes: u64,
    active: Option<Active>,
    /// The segment before the active one, or before the next, and how much of it counts.
    previous: Option<(SegmentId, u64)>,
    /// Segments without records behind `previous`: the next one says all that they say, and they go.
    superseded: Vec<SegmentId>,
    next: SegmentId,
}

/// The segment that is being written.
struct Active {
    id: SegmentId,
    file: Arc<dyn DiskFile>,
    /// Everything before is written as it should be, and synced if that was asked for.
    position: u64,
    size: u64,
    /// A write or a sync failed: what stands behind `position` is unknown, and nothing more is written here.
    broken: bool,
    /// It holds records that count.
    has_records: bool,
    begun_at_unix_ns: u64,
}

/// Records of one append, with their places.
pub(crate) struct Planned {
    pub(crate) records: Vec<(StreamId, Mark, Record)>,
}

/// What is written together.
pub(crate) struct Group<'a> {
    pub(crate) image: Option<&'a Image>,
    pub(crate) notes: &'a BTreeMap<(StreamId, CursorId), Note>,
    pub(crate) appends: &'a [Planned],
}

impl Writer {
    pub(crate) fn new(
        library: Arc<Library>,
        sync: Sync,
        segment_bytes: u64,
        previous: Option<(SegmentId, u64)>,
        superseded: Vec<SegmentId>,
        next: SegmentId,
    ) -> Writer {
        Writer { library, sync, segment_bytes, active: None, previous, superseded, next }
    }

    /// Whether a new segment is needed before so many bytes can be written.
    pub(crate) fn needs_segment(&self, appends: &[Planned], bytes: u64) -> bool {
        self.active.as_ref().is_none_or(|active| {
            let allowance = if appends.is_empty() { OVERRUN_BYTES_MAX } else { 0 };
            active.broken || active.position + bytes > active.size + allowance
        })
    }

    /// Whether a segment was begun and not left.
    pub(crate) fn has_segment(&self) -> bool {
        self.active.is_some()
    }

    /// When the segment was begun that is being written, if it holds records.
    pub(crate) fn begun_at_unix_ns(&self) -> Option<u64> {
        self.active.as_ref().filter(|active| active.has_records).map(|active| active.begun_at_unix_ns)
    }

    /// Nothing more is written to the active segment.
    pub(crate) fn give_up_segment(&mut self) {
        if let Some(active) = &mut self.active {
            active.broken = true;
        }
    }

    /// The file that is being written.
    pub(crate) fn file(&self) -> Option<Arc<dyn DiskFile>> {
        self.active.as_ref().map(|active| Arc::clone(&active.file))
    }

    /// What a new segment that takes so many bytes will take of the disk.
    pub(crate) fn new_segment_bytes(&self, appends: &[Planned], bytes: u64) -> u64 {
        let least = if appends.is_empty() { 64 << 10 } else { self.segment_bytes };
        least.max(bytes + FILE_HEADER_BYTES).next_multiple_of(4096)
    }

    /// Leaves the active segment for a new one of `size` bytes that begins with the image.
    ///
    /// # Errors
    /// As the file system says. The next try makes another file.
    pub(crate) fn begin_segment(&mut self, image: &Image, size: u64, now_unix_ns: u64) -> io::Result<()> {
        self.leave_segment()?;
        let id = self.next;
        self.next = SegmentId(id.0 + 1);
        let head = image_head(image);
        if head.len() > HEAD_BYTES_MAX as usize {
            return Err(io::Error::other("there are too many streams, cursors and labels to be remembered"));
        }
        let file = self.library.disk.create(&id.file_name(), size)?;
        let header = FileHeader { segment: id, previous: self.previous, created_at_unix_ns: now_unix_ns };
        let image_entry = entry(id, FILE_HEADER_BYTES, FILE_HEADER_BYTES, Kind::Image, &head);
        let written = file.write_all_at(&[&header.encode(), &image_entry], 0);
        let position = FILE_HEADER_BYTES + image_entry.len() as u64;
        let durable = written.and_then(|()| file.sync()).and_then(|()| self.library.disk.sync_names());
        if let Err(error) = durable {
            // Best effort: a file that stays begins a chain that nothing continues, and the next one says so.
            let _ = self.library.disk.remove(&id.file_name());
            return Err(error);
        }
        self.library.begin(Segment {
            id,
            file: Arc::clone(&file),
            length: position,
            size: size.max(position),
            firsts: image.streams.iter().map(|stream| stream.end).collect(),
            last_append_unix_ns: now_unix_ns,
            has_records: false,
        });
        self.library.discard(&std::mem::take(&mut self.superseded));
        let (broken, has_records, begun_at_unix_ns) = (false, false, now_unix_ns);
        self.active = Some(Active { id, file, position, size, broken, has_records, begun_at_unix_ns });
        Ok(())
    }

    /// Ends the active segment: nothing behind its last good entry counts.
    pub(crate) fn leave_segment(&mut self) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if !active.broken
            && let Err(error) = active.file.sync()
        {
            active.broken = true;
            return Err(error);
        }
        // Frees what was allocated. Where it fails, the next segment's header still says how much counts.
        let cut = active.file.set_size(active.position);
        self.library.seal(active.position, if cut.is_ok() { active.position } else { active.size });
        if active.has_records || self.previous.is_none() {
            self.previous = Some((active.id, active.position));
        } else {
            self.superseded.push(active.id);
        }
        self.active = None;
        Ok(())
    }

    /// Writes a group behind everything else, and syncs it if that is the promise.
    ///
    /// # Errors
    /// As the file system says. Nothing of the group counts then, whatever of it is on the disk.
    pub(crate) fn write(&mut self, group: &Group<'_>) -> io::Result<u64> {
        let Some(active) = self.active.as_mut().filter(|active| !active.broken) else {
            return Err(io::Error::other("no segment is open"));
        };
        let mut sheet = Sheet { segment: active.id, start: active.position, end: active.position, parts: Vec::new() };
        // Entries that are acknowledged without a sync stand for themselves: none vanishes with another unnoticed.
        let grouped = self.sync == Sync::OnFsync;
        if let Some(image) = group.image {
            sheet.add(Kind::Image, &image_head(image), Vec::new(), grouped);
        } else if !group.notes.is_empty() {
            let notes = group.notes.iter().map(|((_, cursor), note)| (*cursor, note));
            sheet.add(Kind::Settle, &settle_head(notes), Vec::new(), grouped);
        }
        let mut metas = Vec::new();
        for planned in group.appends {
            let (mut added, bodies) = plan_bodies(planned);
            let head = append_head(&added);
            let body = sheet.add(Kind::Append, &head, bodies, grouped);
            added.iter_mut().for_each(|meta| meta.position += body);
            metas.append(&mut added);
        }
        let parts: Vec<&[u8]> = sheet.parts.iter().map(AsRef::as_ref).collect();
        let written = active.file.write_all_at(&parts, active.position);
        let kept = written.and_then(|()| if grouped { active.file.sync() } else { Ok(()) });
        if let Err(error) = kept {
            active.broken = true;
            return Err(error);
        }
        let bytes = sheet.end - sheet.start;
        active.position = sheet.end;
        active.has_records |= !metas.is_empty();
        self.library.extend(sheet.end, metas);
        Ok(bytes)
    }
}

/// An upper bound of what a group takes.
pub(crate) fn group_bytes(
    image: Option<&Image>,
    notes: &BTreeMap<(StreamId, CursorId), Note>,
    appends: &[Planned],
) -> u64 {
    let front = (ENTRY_HEADER_BYTES as u64) + ALIGN_BYTES;
    let image = image.map_or(0, |image| image_head(image).len() as u64 + front);
    let appends = appends
        .iter()
        .flat_map(|planned| &planned.records)
        .map(|(_, _, record)| front + 80 + 8 * record.shares.as_slice().len() as u64 + record.payload.len() as u64);
    image + front + notes.values().map(Note::size_bytes).sum::<u64>() + appends.sum::<u64>()
}

/// An upper bound of what the head of an append takes.
pub(crate) fn append_head_bytes(writes: &[(StreamId, Record)]) -> u64 {
    writes.iter().map(|(_, record)| 64 + 8 * record.shares.as_slice().len() as u64).sum::<u64>() + 4
}

/// Entries as they will stand in the file.
struct Sheet {
    segment: SegmentId,
    start: u64,
    end: u64,
    parts: Vec<Bytes>,
}

impl Sheet {
    /// Adds an entry and returns where its body begins.
    fn add(&mut self, kind: Kind, head: &[u8], bodies: Vec<Bytes>, grouped: bool) -> u64 {
        let position = self.end;
        let group = if grouped { self.start } else { position };
        let body_bytes: usize = bodies.iter().map(Bytes::len).sum();
        let body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
        let header =
            EntryHeader { kind, segment: self.segment, position, group, head_bytes: 0, body_bytes, head_crc: 0 };
        let front = header.encode(head);
        let body = position + front.len() as u64;
        let unpadded = body + u64::from(body_bytes);
        self.end = unpadded.next_multiple_of(ALIGN_BYTES);
        self.parts.push(front.into());
        self.parts.extend(bodies);
        let padding = usize::try_from(self.end - unpadded).unwrap_or(0);
        self.parts.push(Bytes::from_static(&[0; ALIGN_BYTES as usize]).slice(..padding));
        body
    }
}

fn entry(segment: SegmentId, position: u64, group: u64, kind: Kind, head: &[u8]) -> Vec<u8> {
    let header = EntryHeader { kind, segment, position, group, head_bytes: 0, body_bytes: 0, head_crc: 0 };
    let mut bytes = header.encode(head);
    bytes.resize(bytes.len().next_multiple_of(ALIGN_BYTES as usize), 0);
    bytes
}

/// What the head says of each record, and the payloads: one that several streams share is written once.
fn plan_bodies(planned: &Planned) -> (Vec<Meta>, Vec<Bytes>) {
    let mut bodies: Vec<Bytes> = Vec::new();
    let mut known: Vec<(u64, u32)> = Vec::new();
    let mut end = 0;
    let metas = planned.records.iter().map(|(stream, mark, record)| {
        let same = |body: &Bytes| body.as_ptr() == record.payload.as_ptr() && body.len() == record.payload.len();
        let index = bodies.iter().position(same).unwrap_or_else(|| {
            known.push((end, crc32c::crc32c(&record.payload)));
            end += record.payload.len() as u64;
            bodies.push(record.payload.clone());
            bodies.len() - 1
        });
        let (position, payload_crc) = known[index];
        Meta {
            stream: *stream,
            mark: *mark,
            items: record.items,
            appended_at_unix_ns: record.appended_at_unix_ns,
            position,
            payload_bytes: u32::try_from(record.payload.len()).unwrap_or(u32::MAX),
            payload_crc,
            shares: record.shares.clone(),
        }
    });
    let metas = metas.collect();
    (metas, bodies)
}
