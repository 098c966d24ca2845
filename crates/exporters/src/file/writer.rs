//! The thread that writes files, so that a slow disk holds up no task.

use std::collections::{HashMap, HashSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use component::{Outcome, StartError, clock};
use tokio::sync::{mpsc, oneshot, watch};

use super::output::{Existing, Open, Output, OutputSettings};
use super::place::{Place, open_below};

/// Telemetry may hold what is nobody else's business.
const MODE_OF_FILES: u32 = 0o600;

/// So many messages wait for the thread; more wait for room.
const QUEUE_MESSAGES_MAX: usize = 16;

/// The files that an exporter writes to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// One file.
    One {
        path: PathBuf,
        /// The mode of directories that are missing; none: they are not made.
        directory_mode: Option<u32>,
        output: OutputSettings,
    },
    /// Files below a directory.
    Many { directory: PathBuf, directory_mode: u32, files: FilesMax, output: OutputSettings },
}

/// The bounds of files whose names senders choose a part of.
#[derive(Clone, Copy, Debug)]
pub(super) struct FilesMax {
    /// `max_open_files`: at the same time.
    pub(super) open: usize,
    /// `max_files`: since the start.
    pub(super) total: usize,
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Job>);

struct Job {
    message: Bytes,
    done: oneshot::Sender<Outcome>,
}

/// Tells when the thread has ended.
#[derive(Clone)]
pub(super) struct Ended(watch::Receiver<()>);

impl Ended {
    pub(super) async fn wait(&self) {
        // Nothing is ever sent; the sender goes with the thread.
        let mut ended = self.0.clone();
        while ended.changed().await.is_ok() {}
    }
}

impl Writer {
    /// Opens what is to be open from the start, and starts the thread. It ends when the last writer is dropped.
    pub(super) fn start(target: Target) -> Result<(Writer, Ended), StartError> {
        let mut files = Files::new(target);
        files.prepare().map_err(|error| StartError(format!("{}: {error}", files.target.shown())))?;
        let (sender, mut jobs) = mpsc::channel::<Job>(QUEUE_MESSAGES_MAX);
        let (alive, ended) = watch::channel(());
        let run = move || {
            let _alive = alive;
            while let Some(job) = jobs.blocking_recv() {
                // Who does not wait any more will come again with the same.
                if !job.done.is_closed() {
                    let _ = job.done.send(files.write(&job.message));
                }
            }
        };
        let thread = std::thread::Builder::new().name("file-exporter".to_owned()).spawn(run);
        thread.map_err(|error| StartError(format!("no thread to write files: {error}")))?;
        Ok((Writer(sender), Ended(ended)))
    }

    /// Has a message written. It is delivered when the operating system has it.
    pub(super) async fn write(&self, message: Bytes) -> Outcome {
        let gone = || Outcome::retry("stopped", "the thread that writes files has ended");
        let (done, outcome) = oneshot::channel();
        if self.0.send(Job { message, done }).await.is_err() {
            return gone();
        }
        outcome.await.unwrap_or_else(|_| gone())
    }
}

impl Target {
    fn shown(&self) -> String {
        match self {
            Target::One { path, .. } => path.display().to_string(),
            Target::Many { directory, .. } => directory.display().to_string(),
        }
    }
}

/// The open files, by place.
struct Files {
    target: Target,
    open: HashMap<Place, (Output, u64)>,
    /// Counts uses, to tell which file was used last.
    uses: u64,
    /// The hashes of places that were opened before, and so hold what this process wrote; as many as there may be.
    opened: HashSet<u64>,
    hasher: RandomState,
}

impl Files {
    fn new(target: Target) -> Files {
        let (open, opened) = (HashMap::new(), HashSet::new());
        Files { target, open, uses: 0, opened, hasher: RandomState::new() }
    }

    /// Makes directories, and opens the only file so that a mistake in its path shows at the start.
    fn prepare(&mut self) -> io::Result<()> {
        match &self.target {
            Target::One { path, directory_mode, .. } => {
                if let (Some(mode), Some(parent)) = (directory_mode, path.parent()) {
                    make_directories(parent, *mode)?;
                }
                // Opening a pipe waits for a reader, which the thread may and the start may not.
                if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
                    return Ok(());
                }
                self.output(&Place::Only).map(drop)
            }
            Target::Many { directory, directory_mode, .. } => make_directories(directory, *directory_mode),
        }
    }

    fn write(&mut self, message: &[u8]) -> Outcome {
        let Some((place, message)) = Place::split_prefix(message) else {
            return Outcome::reject("bad_path", "a message without a place");
        };
        if let Some(limit) = self.limit_for(&place) {
            let detail = format!("there are {limit} files already, which is `max_files`");
            return Outcome::reject("file_limit", detail);
        }
        let result = self.output(&place).and_then(|output| output.append(message, clock::unix_ns()));
        match result {
            Ok(()) => Outcome::DELIVERED,
            Err(error) => {
                // The next attempt opens it anew, if that is what is needed.
                if error.kind() != io::ErrorKind::StorageFull {
                    self.open.remove(&place);
                }
                outcome(&place, &error)
            }
        }
    }

    /// The bound on files that a new one for this place would exceed.
    fn limit_for(&self, place: &Place) -> Option<usize> {
        match &self.target {
            Target::Many { files, .. } if self.opened.len() >= files.total => {
                (!self.opened.contains(&self.hasher.hash_one(place))).then_some(files.total)
            }
            _ => None,
        }
    }

    /// The open file for a place. Where too many are open, the one that was not used for longest is closed.
    fn output(&mut self, place: &Place) -> io::Result<&mut Output> {
        self.uses += 1;
        if !self.open.contains_key(place) {
            let open_max = match &self.target {
                Target::One { .. } => 1,
                Target::Many { files, .. } => files.open,
            };
            while self.open.len() >= open_max {
                let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used).map(|(place, _)| place.clone());
                let Some(oldest) = oldest else { break };
                self.open.remove(&oldest);
            }
            let output = self.open(place)?;
            self.open.insert(place.clone(), (output, self.uses));
        }
        match self.open.get_mut(place) {
            Some((output, used)) => {
                *used = self.uses;
                Ok(output)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn open(&mut self, place: &Place) -> io::Result<Output> {
        let (path, mut settings, open): (_, _, Open) = match (&self.target, place) {
            (Target::One { path, output, .. }, _) => {
                let file = path.clone();
                (path.clone(), *output, Box::new(move || open_file(&file)))
            }
            (Target::Many { directory, directory_mode, output, .. }, Place::Below(path)) => {
                let (root, below, mode) = (directory.clone(), path.clone(), *directory_mode);
                let open = move || open_below(&root, &below, mode, open_file);
                (directory.join(path), *output, Box::new(open))
            }
            (Target::Many { .. }, Place::Only) => return Err(io::ErrorKind::InvalidFilename.into()),
        };
        let hash = self.hasher.hash_one(place);
        if self.opened.contains(&hash) {
            settings.existing = Existing::Continue;
        }
        let output = Output::open(path, settings, clock::unix_ns(), open)?;
        self.opened.insert(hash);
        Ok(output)
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE_OF_FILES).open(path)
}

fn make_directories(path: &Path, mode: u32) -> io::Result<()> {
    if path == Path::new("") {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// What an error means for the message. Where telemetry chose the file, what is wrong with that one file must not hold
/// up the others.
fn outcome(place: &Place, error: &io::Error) -> Outcome {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, PermissionDenied, QuotaExceeded, StorageFull};
    let cause = match error.kind() {
        StorageFull | QuotaExceeded => "disk_full",
        PermissionDenied => "permission_denied",
        NotADirectory | IsADirectory | InvalidFilename => "bad_path",
        _ => "io_error",
    };
    match place {
        Place::Below(path) if cause == "bad_path" || cause == "permission_denied" => {
            Outcome::reject(cause, format!("{path}: {error}"))
        }
        Place::Below(path) => Outcome::retry(cause, format!("{path}: {error}")),
        Place::Only => Outcome::retry(cause, error.to_string()),
    }
}
