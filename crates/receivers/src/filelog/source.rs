//! An open file: its bytes by their offset, whether they lie there as they are or compressed.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use flate2::bufread::MultiGzDecoder;

/// Which file it is on its disk, as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// What changes whenever a file does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size_bytes: u64,
    pub(super) modified_unix_ns: u64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let modified_unix_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        Stamp { size_bytes: metadata.len(), modified_unix_ns }
    }
}

/// How the bytes lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
}

/// An open file.
pub(super) struct Source {
    file: File,
    unpacked: Option<Unpacked>,
}

/// A compressed file, unpacked up to a place.
struct Unpacked {
    decoder: MultiGzDecoder<BufReader<File>>,
    position: u64,
}

impl Source {
    /// Opens a file. `None`: another one lies at this path meanwhile.
    pub(super) fn open(path: &Path, id: FileId, packing: Packing) -> io::Result<Option<Source>> {
        let file = File::open(path)?;
        if FileId::of(&file.metadata()?) != id {
            return Ok(None);
        }
        let unpacked = match packing {
            Packing::Plain => None,
            Packing::Gzip => {
                Some(Unpacked { decoder: MultiGzDecoder::new(BufReader::new(file.try_clone()?)), position: 0 })
            }
        };
        Ok(Some(Source { file, unpacked }))
    }

    pub(super) fn packing(&self) -> Packing {
        if self.unpacked.is_some() { Packing::Gzip } else { Packing::Plain }
    }

    /// What the file is now.
    pub(super) fn stamp(&self) -> io::Result<Stamp> {
        self.file.metadata().map(|metadata| Stamp::of(&metadata))
    }

    /// Reads bytes from an offset on, as many as fit or as there are.
    pub(super) fn read_at(&mut self, offset: u64, to: &mut [u8]) -> io::Result<usize> {
        let Some(unpacked) = &mut self.unpacked else { return read_full_at(&self.file, offset, to) };
        if unpacked.position > offset {
            // Two handles of one open file share its place.
            io::Seek::rewind(&mut self.file)?;
            let decoder = MultiGzDecoder::new(BufReader::new(self.file.try_clone()?));
            *unpacked = Unpacked { decoder, position: 0 };
        }
        while unpacked.position < offset {
            let mut skipped = [0; 8 << 10];
            let want = usize::try_from(offset - unpacked.position).unwrap_or(usize::MAX).min(skipped.len());
            let got = unpacked.read(&mut skipped[..want])?;
            if got == 0 {
                return Ok(0);
            }
        }
        let mut filled = 0;
        while filled < to.len() {
            match unpacked.read(&mut to[filled..])? {
                0 => break,
                got => filled += got,
            }
        }
        Ok(filled)
    }
}

impl Unpacked {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let got = match self.decoder.read(to) {
            Ok(got) => got,
            // It is being written still; the rest is read when the file has changed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        self.position += got as u64;
        Ok(got)
    }
}

fn read_full_at(file: &File, offset: u64, to: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < to.len() {
        match file.read_at(&mut to[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
