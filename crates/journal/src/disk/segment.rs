//! Reading a segment file: entry by entry, over damage, up to the last one that is whole.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::disk::format::{
    ALIGN_BYTES, ENTRY_HEADER_BYTES, ENTRY_MAGIC, Entry, EntryHeader, FILE_HEADER_BYTES, Meta, SegmentId,
};
use crate::disk::io::DiskFile;

/// How much is read ahead.
const CHUNK_BYTES: usize = 256 << 10;

/// What one step of a scan finds.
#[derive(Debug)]
pub(crate) enum Found {
    Entry(EntryHeader, Entry),
    /// Bytes that are no entry, up to the next one that is.
    Damaged {
        from: u64,
        to: u64,
    },
    /// No entry follows.
    End {
        at: u64,
        /// Whether something was begun there.
        torn: bool,
    },
}

/// Walks over the entries of one file.
pub(crate) struct Scan<'a> {
    file: &'a dyn DiskFile,
    segment: SegmentId,
    position: u64,
    end: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
    /// The file system could not read something of it: what stands there is not known, rather than nothing.
    pub(crate) unreadable: bool,
}

/// The records of one segment by stream, in order of their places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    by_stream: BTreeMap<usize, Vec<Meta>>,
    /// Something could not be read; it may be possible later.
    pub(crate) unreadable: bool,
}

impl<'a> Scan<'a> {
    /// Walks over the first `length` bytes.
    pub(crate) fn new(file: &'a dyn DiskFile, segment: SegmentId, length: u64) -> Scan<'a> {
        Scan {
            file,
            segment,
            position: FILE_HEADER_BYTES,
            end: length,
            chunk: Vec::new(),
            chunk_at: 0,
            unreadable: false,
        }
    }

    pub(crate) fn next(&mut self) -> Found {
        if let Some((header, entry)) = self.entry_at(self.position) {
            self.position = header.end();
            return Found::Entry(header, entry);
        }
        let from = self.position;
        let mut at = from + ALIGN_BYTES;
        while let Some(candidate) = self.next_magic(at) {
            if self.entry_at(candidate).is_some() {
                self.position = candidate;
                return Found::Damaged { from, to: candidate };
            }
            at = candidate + ALIGN_BYTES;
        }
        let torn = self.bytes(from, ALIGN_BYTES as usize).is_some_and(|front| front.iter().any(|byte| *byte != 0));
        self.position = self.end;
        Found::End { at: from, torn }
    }

    /// The entry that begins here, if one does and its head is intact.
    fn entry_at(&mut self, position: u64) -> Option<(EntryHeader, Entry)> {
        let segment = self.segment;
        let end = self.end;
        let header = EntryHeader::decode(self.bytes(position, ENTRY_HEADER_BYTES)?)?;
        let here = header.segment == segment && header.position == position;
        if !here || header.body() + u64::from(header.body_bytes) > end {
            return None;
        }
        let whole = self.bytes(position, ENTRY_HEADER_BYTES + header.head_bytes as usize)?;
        let (front, head) = whole.split_at(ENTRY_HEADER_BYTES);
        if !header.is_intact(front, head) {
            return None;
        }
        header.entry(head).map(|entry| (header, entry))
    }

    fn next_magic(&mut self, mut position: u64) -> Option<u64> {
        loop {
            let left = self.end.checked_sub(position).filter(|left| *left >= ENTRY_HEADER_BYTES as u64)?;
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let bytes = self.bytes(position, length)?;
            let magic = ENTRY_MAGIC.to_le_bytes();
            let step = ALIGN_BYTES as usize;
            if let Some(index) = bytes.chunks(step).position(|chunk| chunk.starts_with(&magic)) {
                return Some(position + (index * step) as u64);
            }
            position += (length / step * step).max(step) as u64;
        }
    }

    /// Bytes of the file; none beyond its end. What the file system cannot read is zeros.
    fn bytes(&mut self, position: u64, length: usize) -> Option<&[u8]> {
        if position + length as u64 > self.end {
            return None;
        }
        let held = self.chunk_at..self.chunk_at + self.chunk.len() as u64;
        if !(held.contains(&position) && position + length as u64 <= held.end) {
            let left = usize::try_from(self.end - position).unwrap_or(usize::MAX);
            self.chunk.clear();
            self.chunk.resize(length.max(CHUNK_BYTES.min(left)), 0);
            self.chunk_at = position;
            if self.file.read_exact_at(&mut self.chunk, position).is_err() {
                self.unreadable |= !read_what_can_be_read(self.file, &mut self.chunk, position);
            }
        }
        let start = usize::try_from(position - self.chunk_at).ok()?;
        self.chunk.get(start..start + length)
    }
}

/// Reads block by block, and says whether all could be read.
fn read_what_can_be_read(file: &dyn DiskFile, into: &mut [u8], position: u64) -> bool {
    const BLOCK_BYTES: usize = 4096;
    let mut all = true;
    for (block, at) in into.chunks_mut(BLOCK_BYTES).zip((position..).step_by(BLOCK_BYTES)) {
        match read_with_patience(file, block, at) {
            Ok(()) => {}
            Err(error) => {
                block.fill(0);
                // A file that ends early has nothing there; anything else may have something.
                all &= error.kind() == io::ErrorKind::UnexpectedEof;
            }
        }
    }
    all
}

/// Reads, and tries again a few times where the file system fails: what is given up is lost.
pub(crate) fn read_with_patience(file: &dyn DiskFile, into: &mut [u8], position: u64) -> io::Result<()> {
    const TRIES: u32 = 5;
    let mut result = file.read_exact_at(into, position);
    for _ in 1..TRIES {
        match &result {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => result = file.read_exact_at(into, position),
            _ => break,
        }
    }
    result
}

impl Index {
    pub(crate) fn add(&mut self, meta: Meta) {
        let metas = self.by_stream.entry(meta.stream.index()).or_default();
        // A place is written once; whatever claims an earlier one again is not followed.
        if metas.last().is_none_or(|last| last.mark.offset < meta.mark.offset) {
            metas.push(meta);
        }
    }

    /// The memory that it holds, in bytes, without what shares hold.
    pub(crate) fn size_bytes(&self) -> usize {
        const OVERHEAD_BYTES: usize = 256;
        OVERHEAD_BYTES + self.by_stream.values().map(|metas| metas.capacity() * size_of::<Meta>()).sum::<usize>()
    }

    pub(crate) fn stream(&self, stream: usize) -> &[Meta] {
        self.by_stream.get(&stream).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn load(file: &dyn DiskFile, segment: SegmentId, length: u64) -> Arc<Index> {
        let mut index = Index::default();
        let mut scan = Scan::new(file, segment, length);
        loop {
            match scan.next() {
                Found::Entry(_, Entry::Append(metas)) => metas.into_iter().for_each(|meta| index.add(meta)),
                Found::Entry(..) | Found::Damaged { .. } => {}
                Found::End { .. } => {
                    index.unreadable = scan.unreadable;
                    return Arc::new(index);
                }
            }
        }
    }
}

/// Whether a payload is what was written.
pub(crate) fn is_whole(meta: &Meta, payload: &[u8]) -> bool {
    crc32c::crc32c(payload) == meta.payload_crc
}

/// One payload.
pub(crate) fn read_payload(file: &dyn DiskFile, meta: &Meta) -> io::Result<Vec<u8>> {
    let mut payload = vec![0; meta.payload_bytes as usize];
    read_with_patience(file, &mut payload, meta.position)?;
    Ok(payload)
}
