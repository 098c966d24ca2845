//! One file: whole messages at its end, and what happens when it is full.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use component::clock::Calendar;

/// What stands around a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// A line feed behind it.
    Line,
    /// Its length before it, in four bytes, big endian.
    Length,
}

/// What becomes of a file that is there before the exporter starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// Its contents go.
    Discard,
    /// It is written on.
    Continue,
}

/// When a file is put aside, and for how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    /// A message that would make the file larger goes into the next one.
    pub(super) size_bytes_max: u64,
    /// Files put aside longer ago are deleted.
    pub(super) age_days_max: Option<u32>,
    /// More files put aside than this are deleted, the oldest first.
    pub(super) backups_max: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct OutputSettings {
    pub(super) framing: Framing,
    pub(super) existing: Existing,
    pub(super) rotation: Option<Rotation>,
}

/// A file, or what stands for one in tests.
pub(super) trait Medium: Write + Send {
    /// Cuts the file.
    fn set_len(&self, size_bytes: u64) -> io::Result<()>;
}

impl Medium for File {
    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        File::set_len(self, size_bytes)
    }
}

/// Opens the file for appending, and makes it if it is not there.
pub(super) type Open = Box<dyn Fn() -> io::Result<File> + Send>;

/// A file that messages are appended to.
pub(super) struct Output {
    path: PathBuf,
    settings: OutputSettings,
    open: Open,
    /// None after a rotation that did not come to its end.
    medium: Option<Box<dyn Medium>>,
    /// The end of the last whole message.
    size_bytes: u64,
    kind: Kind,
    /// A message was cut short and is still there.
    is_torn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Regular,
    /// A pipe, a terminal, `/dev/stdout`: what is written cannot be taken back.
    Stream,
}

impl Output {
    /// Opens a file, and empties it first if the settings say so.
    pub(super) fn open(path: PathBuf, settings: OutputSettings, now_unix_ns: u64, open: Open) -> io::Result<Output> {
        let file = open()?;
        let metadata = file.metadata()?;
        let kind = if metadata.is_file() { Kind::Regular } else { Kind::Stream };
        if kind == Kind::Stream && settings.rotation.is_some() {
            let message = format!("{} is no regular file and cannot be rotated", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut size_bytes = if kind == Kind::Regular { metadata.len() } else { 0 };
        if settings.existing == Existing::Discard && size_bytes > 0 {
            file.set_len(0)?;
            size_bytes = 0;
        }
        let medium: Option<Box<dyn Medium>> = Some(Box::new(file));
        let mut output = Output { path, settings, open, medium, size_bytes, kind, is_torn: false };
        if output.size_bytes > 0 {
            output.mend(now_unix_ns)?;
        }
        Ok(output)
    }

    /// Appends a whole message, or nothing of it.
    pub(super) fn append(&mut self, message: &[u8], now_unix_ns: u64) -> io::Result<()> {
        let size_bytes = self.size_bytes.saturating_add(message.len() as u64);
        if self.size_bytes > 0 && self.settings.rotation.is_some_and(|rotation| size_bytes > rotation.size_bytes_max) {
            self.rotate(now_unix_ns)?;
        }
        self.clean()?;
        if self.medium.is_none() {
            self.medium = Some(Box::new((self.open)()?));
        }
        let Some(medium) = &mut self.medium else { return Ok(()) };
        if let Err(error) = medium.write_all(message).and_then(|()| medium.flush()) {
            self.is_torn = true;
            // If the end cannot be cut off now, it is tried again before the next message.
            let _ = self.clean();
            return Err(error);
        }
        self.size_bytes += message.len() as u64;
        Ok(())
    }

    /// Takes back what was written of a message that was cut short.
    fn clean(&mut self) -> io::Result<()> {
        let (true, Some(medium)) = (self.is_torn, &mut self.medium) else { return Ok(()) };
        match (self.kind, self.settings.framing) {
            (Kind::Regular, _) => medium.set_len(self.size_bytes)?,
            // The reader gets a line that is no JSON, and goes on with the next.
            (Kind::Stream, Framing::Line) => medium.write_all(b"\n")?,
            (Kind::Stream, Framing::Length) => {}
        }
        self.is_torn = false;
        Ok(())
    }

    /// Looks at the end of a file that is to be written on: a crash may have left half a message there.
    fn mend(&mut self, now_unix_ns: u64) -> io::Result<()> {
        match self.settings.framing {
            Framing::Line if ends_with_line(&self.path)? => Ok(()),
            Framing::Line => {
                let Some(medium) = &mut self.medium else { return Ok(()) };
                medium.write_all(b"\n")?;
                self.size_bytes += 1;
                Ok(())
            }
            Framing::Length if ends_with_message(&self.path, self.size_bytes)? => Ok(()),
            Framing::Length => {
                let path = self.path.display();
                tracing::warn!(%path, "ends within a message, as after a crash; it is put aside and a new one begun");
                self.rotate(now_unix_ns)
            }
        }
    }

    /// Puts the file aside and begins a new one.
    fn rotate(&mut self, now_unix_ns: u64) -> io::Result<()> {
        self.clean()?;
        // A rotation that failed behind this point has put the file aside already.
        if self.medium.is_some() {
            let backup = free_backup(&self.path, now_unix_ns)?;
            fs::rename(&self.path, backup)?;
            self.medium = None;
            self.size_bytes = 0;
        }
        self.medium = Some(Box::new((self.open)()?));
        if let Some(rotation) = self.settings.rotation
            && let Err(error) = prune(&self.path, rotation, now_unix_ns)
        {
            // More files than wanted are no reason not to write.
            tracing::warn!(path = %self.path.display(), %error, "cannot delete rotated files");
        }
        Ok(())
    }
}

fn ends_with_line(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Follows the lengths through the file.
fn ends_with_message(path: &Path, size_bytes: u64) -> io::Result<bool> {
    let mut file = BufReader::new(File::open(path)?);
    let mut at = 0u64;
    while at < size_bytes {
        let mut length = [0; 4];
        if size_bytes - at < 4 {
            return Ok(false);
        }
        file.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        file.seek_relative(i64::from(length))?;
        at += 4 + u64::from(length);
    }
    Ok(at == size_bytes)
}

/// The length of a timestamp in the name of a rotated file.
const TIMESTAMP_LENGTH: usize = "2022-09-14T05-02-14.173".len();

fn timestamp(unix_ns: u64) -> String {
    let Calendar { year, month, day, hour, minute, second, nanosecond } = Calendar::from_unix_ns(unix_ns);
    let millisecond = nanosecond / 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}.{millisecond:03}")
}

/// The name before and behind the timestamp: `data-` and `.json` for `data.json`.
fn around_timestamp(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.rfind('.') {
        Some(dot) => (format!("{}-", &name[..dot]), name[dot..].to_owned()),
        None => (format!("{name}-"), String::new()),
    }
}

/// A name for the file put aside now. It is never one that is taken: renaming would replace that file.
fn free_backup(path: &Path, now_unix_ns: u64) -> io::Result<PathBuf> {
    const TRIES_MAX: u64 = 1000;
    let (before, after) = around_timestamp(path);
    for later_ms in 0..TRIES_MAX {
        let timestamp = timestamp(now_unix_ns.saturating_add(later_ms * 1_000_000));
        let backup = path.with_file_name(format!("{before}{timestamp}{after}"));
        match fs::symlink_metadata(&backup) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(backup),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "no free name for the rotated file"))
}

/// Deletes files put aside that are too many or too old.
fn prune(path: &Path, rotation: Rotation, now_unix_ns: u64) -> io::Result<()> {
    const DAY_NS: u64 = 86_400 * 1_000_000_000;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let (before, after) = around_timestamp(path);
    let mut backups = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let inner = name.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after));
        if let Some(timestamp) = inner.filter(|text| is_timestamp(text)) {
            backups.push((timestamp.to_owned(), directory.join(&name)));
        }
    }
    // Timestamps are in the order of time; the latest first.
    backups.sort_by(|a, b| b.cmp(a));
    let oldest = rotation.age_days_max.map(|days| timestamp(now_unix_ns.saturating_sub(u64::from(days) * DAY_NS)));
    for (rank, (timestamp, backup)) in backups.into_iter().enumerate() {
        let is_too_many = rotation.backups_max.is_some_and(|max| rank >= max as usize);
        let is_too_old = oldest.as_ref().is_some_and(|oldest| timestamp < *oldest);
        if is_too_many || is_too_old {
            fs::remove_file(backup)?;
        }
    }
    Ok(())
}

fn is_timestamp(text: &str) -> bool {
    let pattern = b"dddd-dd-ddTdd-dd-dd.ddd";
    text.len() == TIMESTAMP_LENGTH
        && text.bytes().zip(pattern).all(|(byte, pattern)| match pattern {
            b'd' => byte.is_ascii_digit(),
            pattern => byte == *pattern,
        })
}

#[cfg(test)]
mod tests;
