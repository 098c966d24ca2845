//! What a directory holds after whatever ended its last writer.
//!
//! Every segment begins with an image of everything that is remembered, so only the newest one is read whole: its image,
//! then each entry behind it. What was not synced may be missing in any part. An append counts if all of it is there and
//! nothing that was written with it, in front of it, is missing: such an append was never acknowledged.

use std::io;
use std::sync::Arc;

use crate::account::{Account, Image};
use crate::disk::format::{ENTRY_HEADER_BYTES, Entry, EntryHeader, FILE_HEADER_BYTES, FileHeader, SegmentId};
use crate::disk::io::{Disk, DiskFile};
use crate::disk::library::Segment;
use crate::disk::segment::{Found, Index, Scan, is_whole, read_payload, read_with_patience};
use crate::mark::Mark;

/// What was found when a journal opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Files.
    pub segments: usize,
    /// What they take of the disk.
    pub size_bytes: u64,
    /// Runs of bytes in them that are nothing, though something stood there. The records in them are lost; the ledger
    /// counts each of their items once a cursor comes to them.
    pub damaged_runs: u64,
    /// Whether the newest file ends in something that was begun and never acknowledged.
    pub torn: bool,
    /// Items that were under way when the last process ended, as far as is known: they are sent again, and a backend
    /// that had them has them twice.
    pub maybe_twice_items: u64,
}

/// A directory, understood.
pub(crate) struct Recovered {
    pub(crate) image: Image,
    pub(crate) segments: Vec<Segment>,
    pub(crate) previous: Option<(SegmentId, u64)>,
    /// Segments behind `previous`, which hold no records.
    pub(crate) superseded: Vec<SegmentId>,
    pub(crate) next: SegmentId,
    /// Files that hold nothing that counts.
    pub(crate) unused: Vec<SegmentId>,
    pub(crate) report: Recovery,
}

/// One file, as far as its front tells.
struct Opened {
    id: SegmentId,
    file: Arc<dyn DiskFile>,
    size: u64,
    /// How much of it counts.
    length: u64,
    header: Option<FileHeader>,
    image: Option<Image>,
}

type Entries = Vec<(EntryHeader, Entry)>;

pub(crate) fn recover(disk: &dyn Disk) -> io::Result<Recovered> {
    let mut ids: Vec<SegmentId> = disk.list()?.iter().filter_map(|name| SegmentId::of_file_name(name)).collect();
    ids.sort_unstable();
    let next = SegmentId(ids.last().map_or(0, |last| last.0 + 1));
    let opened: Vec<Opened> = ids.into_iter().map(|id| open(disk, id)).collect::<io::Result<_>>()?;
    let (opened, unused) = those_that_count(opened);
    let mut report = Recovery::default();
    let base = opened.iter().rposition(|file| file.image.is_some()).unwrap_or(0);
    let mut image = opened.get(base).and_then(|file| file.image.clone()).unwrap_or_default();

    let mut segments: Vec<Segment> = Vec::with_capacity(opened.len());
    for (at, file) in opened.iter().enumerate() {
        let begun = |file: &Opened| file.header.map(|header| header.created_at_unix_ns);
        // A segment that is not read whole is as old as the one after it.
        let last_append_unix_ns = opened.get(at + 1).and_then(begun).or_else(|| begun(file)).unwrap_or(0);
        let mut segment = Segment {
            id: file.id,
            file: Arc::clone(&file.file),
            length: file.length,
            size: file.size,
            firsts: file.image.as_ref().map(firsts).unwrap_or_default(),
            last_append_unix_ns,
            has_records: true,
        };
        if at >= base {
            if file.image.is_none() {
                segment.firsts = firsts(&image);
            }
            replay(&mut segment, at + 1 == opened.len(), &mut image, &mut report);
        }
        segments.push(segment);
    }
    for at in (0..base).rev().filter(|at| opened[*at].image.is_none()) {
        segments[at].firsts = found_firsts(&segments[at], &segments[at + 1], image.streams.len());
    }
    report.segments = segments.len();
    report.size_bytes = segments.iter().map(|segment| segment.size).sum();
    report.maybe_twice_items = image.cursors.iter().map(Account::maybe_twice).fold(0, u64::saturating_add);
    // The first of all stays in any case: there is nothing before it that the next one could go on from.
    let last = segments.iter().rposition(|segment| segment.has_records).unwrap_or(0);
    let previous = segments.get(last).map(|last| (last.id, last.length));
    let superseded = segments.iter().skip(last + 1).map(|segment| segment.id).collect();
    Ok(Recovered { image, segments, previous, superseded, next, unused, report })
}

/// Leaves out what a later segment does not count, and files that were begun and hold nothing yet. Both were never
/// acknowledged.
fn those_that_count(mut opened: Vec<Opened>) -> (Vec<Opened>, Vec<SegmentId>) {
    let lengths: Vec<u64> = (0..opened.len()).map(|at| length(&opened, at)).collect();
    opened.iter_mut().zip(lengths).for_each(|(file, length)| file.length = length);
    let mut unused: Vec<SegmentId> = opened.iter().filter(|file| file.length == 0).map(|file| file.id).collect();
    opened.retain(|file| file.length > 0);
    let holds_nothing = |file: &mut Opened| file.image.is_none() && !holds_an_entry(file);
    while let Some(last) = opened.pop_if(holds_nothing) {
        unused.push(last.id);
    }
    (opened, unused)
}

fn holds_an_entry(file: &Opened) -> bool {
    !matches!(Scan::new(&*file.file, file.id, file.length).next(), Found::End { .. })
}

fn open(disk: &dyn Disk, id: SegmentId) -> io::Result<Opened> {
    let file = disk.open(&id.file_name())?;
    let size = file.size()?;
    let mut front = vec![0; usize::try_from(size.min(FILE_HEADER_BYTES)).unwrap_or(0)];
    let was_read = read_with_patience(&*file, &mut front, 0).is_ok();
    if let Some(version) = FileHeader::foreign_version(&front) {
        let cause = format!("{} is of version {version} of the format, and this build reads another", id.file_name());
        return Err(io::Error::new(io::ErrorKind::Unsupported, cause));
    }
    let header = if was_read { FileHeader::decode(&front) } else { None };
    let header = header.filter(|header| header.segment == id);
    let image = header.and_then(|_| first_image(&*file, id, size));
    Ok(Opened { id, file, size, length: size, header, image })
}

/// The image at the front of a segment, without a look at what follows it.
fn first_image(file: &dyn DiskFile, id: SegmentId, size: u64) -> Option<Image> {
    let mut front = [0; ENTRY_HEADER_BYTES];
    read_with_patience(file, &mut front, FILE_HEADER_BYTES).ok()?;
    let header = EntryHeader::decode(&front).filter(|header| header.segment == id && header.end() <= size)?;
    let mut head = vec![0; header.head_bytes as usize];
    read_with_patience(file, &mut head, FILE_HEADER_BYTES + ENTRY_HEADER_BYTES as u64).ok()?;
    match header.is_intact(&front, &head).then(|| header.entry(&head))? {
        Some(Entry::Image(image)) => Some(*image),
        _ => None,
    }
}

/// How much of a segment counts, as the one that was begun after it says.
fn length(opened: &[Opened], at: usize) -> u64 {
    let after = opened[at + 1..].iter().filter_map(|file| file.header?.previous);
    // A segment between this one and one that goes on from an earlier one was given up with all that is in it.
    let says = |(previous, length): (SegmentId, u64)| match previous {
        previous if previous == opened[at].id => Some(length),
        previous if previous < opened[at].id => Some(0),
        _ => None,
    };
    after.filter_map(says).next().map_or(opened[at].size, |length| length.min(opened[at].size))
}

fn firsts(image: &Image) -> Vec<Mark> {
    image.streams.iter().map(|stream| stream.end).collect()
}

/// Where streams stood at the front of a segment whose image is damaged: at its first records, or where they stand in
/// the next one. An earlier place would hide what the segment before it has.
fn found_firsts(segment: &Segment, next: &Segment, streams: usize) -> Vec<Mark> {
    let index = Index::load(&*segment.file, segment.id, segment.length);
    let first = |stream: usize| index.stream(stream).first().map_or_else(|| next.first(stream), |meta| meta.mark);
    (0..streams).map(first).collect()
}

/// Enters everything that a segment says into the image.
fn replay(segment: &mut Segment, newest: bool, image: &mut Image, report: &mut Recovery) {
    let (mut entries, damage, end) = scan(segment);
    let mut length = end.at;
    // Where the disk cannot be read, what stands there may have been acknowledged: it is damage, not the end.
    if newest
        && !end.unreadable
        && let Some(cut) = torn_at(segment, &entries, &damage)
    {
        entries.retain(|(header, _)| header.position < cut);
        length = cut;
    }
    segment.has_records = end.has_records;
    report.torn |= newest && (end.torn || length < end.at);
    report.damaged_runs += damage.iter().filter(|run| run.0 < length).count() as u64;
    for (_, entry) in entries {
        match entry {
            Entry::Image(at_this_place) => *image = *at_this_place,
            Entry::Settle(notes) => notes.iter().for_each(|(cursor, note)| image.settle(*cursor, note)),
            Entry::Append(metas) => {
                for meta in metas {
                    segment.last_append_unix_ns = segment.last_append_unix_ns.max(meta.appended_at_unix_ns);
                    let shares = meta.shares.as_slice();
                    image.append(meta.stream, meta.mark, meta.items, meta.payload_bytes, shares);
                }
            }
        }
    }
    segment.length = length;
}

struct End {
    at: u64,
    torn: bool,
    unreadable: bool,
    has_records: bool,
}

fn scan(segment: &Segment) -> (Entries, Vec<(u64, u64)>, End) {
    let (mut entries, mut damage, mut has_records) = (Vec::new(), Vec::new(), false);
    let mut scan = Scan::new(&*segment.file, segment.id, segment.length);
    loop {
        match scan.next() {
            Found::Entry(header, entry) => {
                has_records |= matches!(entry, Entry::Append(_));
                if matches!(entry, Entry::Image(_)) {
                    forget_what_an_image_says(&mut entries, header.group);
                }
                entries.push((header, entry));
            }
            Found::Damaged { from, to } => damage.push((from, to)),
            Found::End { at, torn } => {
                let unreadable = scan.unreadable;
                return (entries, damage, End { at, torn, unreadable, has_records });
            }
        }
    }
}

/// An image in an earlier group than this one stands whatever is cut: what came before it need not be kept in memory.
fn forget_what_an_image_says(entries: &mut Entries, group: u64) {
    let stands = |(header, entry): &(EntryHeader, Entry)| matches!(entry, Entry::Image(_)) && header.position < group;
    if let Some(at) = entries.iter().rposition(stands) {
        entries.drain(..at);
    }
}

/// Where the last group ends early: entries that were written together were acknowledged together, so from the first
/// one on that is not whole, none was.
fn torn_at(segment: &Segment, entries: &Entries, damage: &[(u64, u64)]) -> Option<u64> {
    let group = entries.last()?.0.group;
    let gap = damage.iter().map(|(from, _)| *from).find(|from| *from >= group);
    let last = entries.iter().filter(|(header, _)| header.position >= group);
    let broken =
        last.filter(|(_, entry)| !payloads_are_whole(segment, entry)).map(|(header, _)| header.position).next();
    gap.into_iter().chain(broken).min()
}

fn payloads_are_whole(segment: &Segment, entry: &Entry) -> bool {
    let Entry::Append(metas) = entry else { return true };
    metas.iter().all(|meta| match read_payload(&*segment.file, meta) {
        Ok(payload) => is_whole(meta, &payload),
        Err(error) => error.kind() != io::ErrorKind::UnexpectedEof,
    })
}
