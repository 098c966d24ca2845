//! How far each file was read, on disk.
//!
//! One file, written anew beside the old one, synced, and put in its place: a crash leaves the old one or the new one.
//! Its first line is the version and a hash of the rest, which is JSON. It is written only after the journal has what it
//! says was read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::identity::{Mark, Print};
use super::source::FileId;

/// A file of which something was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: Option<FileId>,
    /// Where it was last; for readers of the checkpoints.
    pub(super) path: PathBuf,
    pub(super) head: Print,
    pub(super) mark: Mark,
}

/// What a process before had read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Files that were written before were seen.
    pub(super) seen_unix_ns: u64,
    pub(super) records: Vec<Record>,
}

/// Why checkpoints are not to be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadCheckpoint {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path} is of another version than 1, or no file of checkpoints")]
    Version { path: PathBuf },
    #[error("{path} is damaged")]
    Damaged { path: PathBuf },
}

const VERSION: &str = "crossfade-filelog 1";
/// A file of checkpoints is not read beyond this.
const SIZE_BYTES_MAX: u64 = 256 << 20;

/// Reads the checkpoints; none if there are none.
pub(super) fn load(path: &Path) -> Result<Option<Checkpoint>, BadCheckpoint> {
    let io = |error| BadCheckpoint::Io { path: path.to_owned(), error };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
        Ok(metadata) if metadata.len() > SIZE_BYTES_MAX => {
            return Err(BadCheckpoint::Damaged { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(io)?;
    let damaged = || BadCheckpoint::Damaged { path: path.to_owned() };
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
    let (first, rest) = text.split_once('\n').ok_or_else(damaged)?;
    let hash = first.strip_prefix(VERSION).ok_or_else(|| BadCheckpoint::Version { path: path.to_owned() })?;
    if hash.trim() != format!("{:016x}", xxh3_64(rest.as_bytes())) {
        return Err(damaged());
    }
    parse(rest).map(Some).ok_or_else(damaged)
}

fn parse(text: &str) -> Option<Checkpoint> {
    let root: Value = serde_json::from_str(text).ok()?;
    let record = |value: &Value| {
        let number = |key: &str| value.get(key)?.as_u64();
        let print = |size: &str, hash: &str| {
            Some(Print { size_bytes: u32::try_from(number(size)?).ok()?, hash: number(hash)? })
        };
        let id = number("device").zip(number("inode")).map(|(device, inode)| FileId { device, inode });
        let tail = print("tail_bytes", "tail_hash")?;
        let mark = Mark { offset: number("offset")?, records: number("records")?, tail };
        let path = PathBuf::from(value.get("path")?.as_str()?);
        Some(Record { id, path, head: print("head_bytes", "head_hash")?, mark })
    };
    let records: Option<Vec<Record>> = root.get("files")?.as_array()?.iter().map(record).collect();
    Some(Checkpoint { seen_unix_ns: root.get("seen_unix_ns")?.as_u64()?, records: records? })
}

/// Writes the checkpoints; when it returns, the disk has them.
pub(super) fn save(path: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let record = |record: &Record| {
        json!({
            "path": record.path.to_string_lossy(),
            "device": record.id.map(|id| id.device),
            "inode": record.id.map(|id| id.inode),
            "head_bytes": record.head.size_bytes,
            "head_hash": record.head.hash,
            "offset": record.mark.offset,
            "records": record.mark.records,
            "tail_bytes": record.mark.tail.size_bytes,
            "tail_hash": record.mark.tail.hash,
        })
    };
    let files: Vec<Value> = checkpoint.records.iter().map(record).collect();
    let text = json!({"seen_unix_ns": checkpoint.seen_unix_ns, "files": files}).to_string();
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{VERSION} {:016x}", xxh3_64(text.as_bytes()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

/// Puts damaged checkpoints aside, for whoever wants to know.
pub(super) fn put_aside(path: &Path) {
    let _ = fs::rename(path, path.with_extension("damaged"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let print = |size_bytes| Print { size_bytes, hash: u64::MAX - u64::from(size_bytes) };
        let record = |id| Record {
            id,
            path: "/var/log/a \"b\".log".into(),
            head: print(1000),
            mark: Mark { offset: 12, records: 3, tail: print(7) },
        };
        let id = Some(FileId { device: 1, inode: u64::MAX });
        Checkpoint { seen_unix_ns: 5, records: vec![record(id), record(None)] }
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/filelog.checkpoints");
        assert_eq!(load(&path).unwrap(), None);
        save(&path, &checkpoint()).unwrap();
        save(&path, &checkpoint()).unwrap();
        assert_eq!(load(&path).unwrap(), Some(checkpoint()));
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("filelog.checkpoints");
        save(&path, &checkpoint()).unwrap();
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(5) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(load(&path).is_err(), "byte {at}");
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(load(&path).is_err(), "cut at {at}");
        }
    }
}
