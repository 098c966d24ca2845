//! The journal on disk: segments of entries in a directory, and the newest records in memory as well.

mod codec;
mod committer;
mod format;
mod inspect;
pub mod io;
mod library;
mod recovery;
mod room;
mod segment;
mod syncer;
mod writer;

use std::sync::Arc;
use std::time::Duration;

pub use committer::Committer;
pub(crate) use committer::{Backing, Job};
pub use format::SegmentId;
pub use inspect::{Inspection, RecordView, SegmentView, inspect, records};
pub(crate) use library::Fetched;
pub use recovery::Recovery;

use crate::account::Image;
use crate::disk::library::Library;
use crate::disk::writer::Writer;
use crate::log::WhenFull;
use crate::mark::Mark;

/// When an append is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sync {
    /// After `fsync`: it survives a power cut. Appends that arrive together share one.
    #[default]
    OnFsync,
    /// After `write`: it survives the end of the process. It survives a power cut from the next `fsync` on, which is
    /// made after this time at the latest.
    Interval(Duration),
    /// After `write`: it survives the end of the process. The operating system decides when it survives a power cut.
    OnWrite,
}

/// How a journal on disk is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// When an append is acknowledged.
    pub sync: Sync,
    /// What all segments may take of the disk, in bytes. What everybody has settled makes room first.
    pub size_bytes_max: u64,
    /// Segments whose newest record is older are removed, whoever has not read them.
    pub age_ns_max: Option<u64>,
    /// What happens when the size is reached and the oldest segment is not settled.
    pub when_full: WhenFull,
    /// What one segment takes, up to a quarter of the size and 1 GiB; none: a sixteenth of the size, from 1 MiB to
    /// 64 MiB, or a 256th where that is more.
    pub segment_bytes: Option<u64>,
    /// The newest records are kept in memory too, up to so many bytes, for readers that keep up.
    pub memory_bytes_max: u64,
    /// A cursor that nobody has opened for so long is forgotten.
    pub cursor_grace_ns: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        const HOUR_NS: u64 = 3600 * 1_000_000_000;
        DiskOptions {
            sync: Sync::default(),
            size_bytes_max: 10 << 30,
            age_ns_max: None,
            when_full: WhenFull::default(),
            segment_bytes: None,
            memory_bytes_max: 64 << 20,
            cursor_grace_ns: 24 * HOUR_NS,
        }
    }
}

impl DiskOptions {
    /// The smallest size that a journal can have: room for a few segments.
    pub const SIZE_BYTES_MIN: u64 = 4 << 20;

    fn segment_bytes(&self) -> u64 {
        // Each file stays open, so a large journal has larger ones. Places in a file are 32 bits wide.
        let size = (self.size_bytes_max / 16).clamp(1 << 20, 64 << 20).max(self.size_bytes_max / 256);
        self.segment_bytes.unwrap_or(size).min(self.size_bytes_max / 4).clamp(4096, 1 << 30)
    }

    /// One append takes no more: two of them fit, so that one can be read while the next is written.
    fn append_bytes_max(&self) -> u64 {
        (self.size_bytes_max / 4).min(1 << 30)
    }
}

/// Why a journal on disk does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system refuses to be read.
    #[error("cannot read the journal: {0}")]
    Io(#[from] std::io::Error),
}

/// What a journal on disk has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// What all segments take of the disk, in bytes.
    pub size_bytes: u64,
    /// The bound on it.
    pub size_bytes_max: u64,
    /// Files.
    pub segments: u64,
    /// Groups of appends that were written together.
    pub commits: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Writes and syncs that failed.
    pub errors: u64,
    /// Records that could not be read, counted once for each reader.
    pub damaged_records: u64,
    /// What [`Recovery::maybe_twice_items`] said at the start.
    pub maybe_twice_items: u64,
}

/// A directory that was opened.
pub(crate) struct Opened {
    pub(crate) image: Image,
    pub(crate) writer: Writer,
    pub(crate) backing: Backing,
    /// How far each stream reaches back.
    pub(crate) firsts: Vec<Mark>,
    pub(crate) report: Recovery,
}

pub(crate) fn open(disk: Arc<dyn io::Disk>, options: DiskOptions) -> Result<Opened, OpenError> {
    let mut recovered = recovery::recover(&*disk)?;
    for id in &recovered.unused {
        // Best effort: it holds nothing, and the next start finds that out again.
        let _ = disk.remove(&id.file_name());
    }
    // Frees what the last process had allocated. Where it cannot be cut, the next segment's header bounds it.
    if let Some(last) = recovered.segments.last_mut()
        && last.file.set_size(last.length).is_ok()
    {
        last.size = last.length;
    }
    let oldest = recovered.segments.first();
    let firsts = (0..recovered.image.streams.len()).map(|at| oldest.map_or(Mark::default(), |oldest| oldest.first(at)));
    let firsts = match oldest {
        Some(_) => firsts.collect(),
        None => recovered.image.streams.iter().map(|stream| stream.end).collect(),
    };
    let library = Arc::new(Library::new(disk, recovered.segments));
    let (sync, segment_bytes) = (options.sync, options.segment_bytes());
    let writer = Writer::new(
        Arc::clone(&library),
        sync,
        segment_bytes,
        recovered.previous,
        recovered.superseded,
        recovered.next,
    );
    let backing = Backing::new(library, options, recovered.report.maybe_twice_items);
    Ok(Opened { image: recovered.image, writer, backing, firsts, report: recovered.report })
}
