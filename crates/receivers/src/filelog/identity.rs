//! How a file is known again: by its first bytes and by those before the place up to which it was read.
//!
//! The number that a disk gives a file does not survive a copy, and is given to another file after a deletion; the first
//! bytes may be those of a header that many files share. Together with the bytes before the offset they tell files apart
//! that rotation renames, copies, truncates or compresses.

use std::io;

use xxhash_rust::xxh3::xxh3_64;

use super::source::Source;

/// How many bytes before the offset are looked at.
pub(super) const TAIL_BYTES_MAX: usize = 64;

/// A hash of some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) size_bytes: u32,
    pub(super) hash: u64,
}

impl Print {
    pub(super) fn of(bytes: &[u8]) -> Print {
        Print { size_bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX), hash: xxh3_64(bytes) }
    }

    /// Whether `bytes` begin with what this was made of.
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        bytes.get(..self.size_bytes as usize).is_some_and(|begin| xxh3_64(begin) == self.hash)
    }
}

/// A place in a file, between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bytes before it, unpacked.
    pub(super) offset: u64,
    /// Records before it.
    pub(super) records: u64,
    /// The bytes just before it.
    pub(super) tail: Print,
}

impl Mark {
    /// Whether a file has these bytes before this place.
    pub(super) fn is_in(&self, source: &mut Source) -> io::Result<bool> {
        let size = u64::from(self.tail.size_bytes);
        if size == 0 {
            return Ok(true);
        }
        let mut bytes = vec![0; size as usize];
        let read = source.read_at(self.offset.saturating_sub(size), &mut bytes)?;
        Ok(read == bytes.len() && Print::of(&bytes) == self.tail)
    }

    /// The place at an offset of a file.
    pub(super) fn at(offset: u64, source: &mut Source) -> io::Result<Mark> {
        let size = offset.min(TAIL_BYTES_MAX as u64);
        let mut bytes = vec![0; size as usize];
        let read = source.read_at(offset - size, &mut bytes)?;
        bytes.truncate(read);
        Ok(Mark { offset, records: 0, tail: Print::of(&bytes) })
    }
}

/// The first bytes of a file, at most so many.
pub(super) fn head(source: &mut Source, size_bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size_bytes_max];
    let read = source.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
