//! A look into a directory that some process writes, or none: what is there, and whether it is whole.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::account::Image;
use crate::disk::format::{Entry, Meta, SegmentId};
use crate::disk::io::Disk;
use crate::disk::library::Segment;
use crate::disk::recovery::{Recovery, recover};
use crate::disk::segment::{Found, Scan, is_whole, read_payload};
use crate::mark::Mark;
use crate::record::Offset;
use crate::state::{Outbox, State};
use crate::{Book, Detail, Limits, WhenFull};

/// What a directory holds.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its files, oldest first.
    pub segments: Vec<SegmentView>,
    /// Each stream's name, and where it ends.
    pub streams: Vec<(String, Mark)>,
    /// The account of each cursor.
    pub books: Vec<Book>,
    /// What a process that opens it would find.
    pub recovery: Recovery,
}

/// One file, every checksum of it compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentView {
    /// Its number.
    pub id: SegmentId,
    /// What it takes of the disk.
    pub size_bytes: u64,
    /// How much of it counts.
    pub used_bytes: u64,
    /// Appends in it.
    pub appends: u64,
    /// Records in it.
    pub records: u64,
    /// Their items.
    pub items: u64,
    /// Their payload.
    pub payload_bytes: u64,
    /// When the first and the last of them were appended, in nanoseconds since the Unix epoch.
    pub appended_unix_ns: Option<(u64, u64)>,
    /// Records whose payload is not what was written.
    pub damaged_records: u64,
    /// Runs of bytes that are no entry, as positions in the file.
    pub damaged_runs: Vec<(u64, u64)>,
}

/// One record, as it was written.
#[derive(Clone, Debug)]
pub struct RecordView {
    /// The name of its stream.
    pub stream: String,
    /// Its place there.
    pub offset: Offset,
    /// The file that it stands in.
    pub segment: SegmentId,
    /// When it was appended, in nanoseconds since the Unix epoch.
    pub appended_at_unix_ns: u64,
    /// Its items.
    pub items: u32,
    /// What it carries; `None` where that is not what was written.
    pub payload: Option<Bytes>,
}

/// Reads everything and compares every checksum.
///
/// # Errors
/// A directory that cannot be read. Damage is no error.
pub fn inspect(disk: &Arc<dyn Disk>) -> io::Result<Inspection> {
    let recovered = recover(&**disk)?;
    let segments = recovered.segments.iter().map(view).collect();
    let streams = recovered.image.streams.iter().map(|stream| (stream.name.clone(), stream.end)).collect();
    Ok(Inspection { segments, streams, books: books(recovered.image), recovery: recovered.report })
}

fn books(image: Image) -> Vec<Book> {
    let limits = Limits { size_bytes_max: 0, when_full: WhenFull::Refuse };
    State::new(limits, image, Some(Outbox::default())).books(Detail::Labels)
}

fn view(segment: &Segment) -> SegmentView {
    let mut view =
        SegmentView { id: segment.id, size_bytes: segment.size, used_bytes: segment.length, ..SegmentView::default() };
    let mut scan = Scan::new(&*segment.file, segment.id, segment.length);
    loop {
        match scan.next() {
            Found::Entry(_, Entry::Append(metas)) => {
                view.appends += 1;
                metas.iter().for_each(|meta| view.add(meta, payload(segment, meta).is_some()));
            }
            Found::Entry(..) => {}
            Found::Damaged { from, to } => view.damaged_runs.push((from, to)),
            Found::End { at, torn } => {
                if torn && at < segment.length {
                    view.damaged_runs.push((at, segment.length));
                }
                return view;
            }
        }
    }
}

impl SegmentView {
    fn add(&mut self, meta: &Meta, whole: bool) {
        self.records += 1;
        self.items += u64::from(meta.items);
        self.payload_bytes += u64::from(meta.payload_bytes);
        self.damaged_records += u64::from(!whole);
        let at = meta.appended_at_unix_ns;
        let (first, last) = self.appended_unix_ns.unwrap_or((at, at));
        self.appended_unix_ns = Some((first.min(at), last.max(at)));
    }
}

fn payload(segment: &Segment, meta: &Meta) -> Option<Bytes> {
    let payload = read_payload(&*segment.file, meta).ok().filter(|payload| is_whole(meta, payload))?;
    Some(payload.into())
}

/// Hands every record to `each`, in the order of writing, until it says `false`.
///
/// # Errors
/// A directory that cannot be read.
pub fn records(disk: &Arc<dyn Disk>, mut each: impl FnMut(RecordView) -> bool) -> io::Result<()> {
    let recovered = recover(&**disk)?;
    let name = |meta: &Meta| recovered.image.streams.get(meta.stream.index()).map(|stream| stream.name.clone());
    for segment in &recovered.segments {
        let mut scan = Scan::new(&*segment.file, segment.id, segment.length);
        loop {
            match scan.next() {
                Found::Entry(_, Entry::Append(metas)) => {
                    for meta in metas {
                        let view = RecordView {
                            stream: name(&meta).unwrap_or_default(),
                            offset: meta.mark.offset,
                            segment: segment.id,
                            appended_at_unix_ns: meta.appended_at_unix_ns,
                            items: meta.items,
                            payload: payload(segment, &meta),
                        };
                        if !each(view) {
                            return Ok(());
                        }
                    }
                }
                Found::Entry(..) | Found::Damaged { .. } => {}
                Found::End { .. } => break,
            }
        }
    }
    Ok(())
}
