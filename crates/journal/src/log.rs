//! The journal: streams of records, and the way in.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use crate::account::Image;
use crate::books::{Book, Bucket, Detail, LabelId};
use crate::cursor::{Cursor, CursorError, CursorOptions, Read, ReadLimit, Start};
use crate::disk::io::Disk;
use crate::disk::{Backing, Committer, DiskOptions, DiskStats, Fetched, Job, OpenError, Opened, Recovery};
use crate::record::Record;
use crate::state::{Outbox, State};
use crate::stream::Look;

/// What happens to an append that finds the journal full, or a cursor at its lag limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The append is refused; nothing was written anywhere. The writer may try again.
    #[default]
    Refuse,
    /// The oldest records that no reader holds make room. Every item is counted at every cursor that had not read it.
    DropOldest,
}

/// The bounds of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The memory that records may hold, over all streams, in bytes.
    pub size_bytes_max: u64,
    /// What happens at the bound.
    pub when_full: WhenFull,
}

/// A stream of one journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u32);

impl StreamId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why an append was refused. Nothing was written to any stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The journal has no room now.
    #[error(
        "the journal is full: it holds {retained_bytes} of {size_bytes_max} bytes and {wanted_bytes} more are wanted"
    )]
    Full {
        /// Held now.
        retained_bytes: u64,
        /// Wanted by this append.
        wanted_bytes: u64,
        /// The bound.
        size_bytes_max: u64,
    },
    /// The append alone is larger than the bound: it will never fit.
    #[error("{wanted_bytes} bytes can never fit into a journal of {size_bytes_max} bytes")]
    TooLarge {
        /// Wanted by this append.
        wanted_bytes: u64,
        /// The bound.
        size_bytes_max: u64,
    },
    /// A cursor is at its lag limit.
    #[error("cursor `{cursor}` is at its lag limit")]
    CursorFull {
        /// Its name.
        cursor: String,
    },
    /// The storage cannot be written now. It is tried again with the next append.
    #[error("{cause}")]
    Storage {
        /// What it said, and what to do.
        cause: String,
    },
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Named streams of records, bounded together. Clones are the same journal.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Handle>,
}

/// What users of a journal share: when the last of them has gone, nothing more is written.
#[derive(Debug)]
pub(crate) struct Handle(Arc<Shared>);

/// What the journal and its cursors share.
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// Told whenever a record left.
    pub(crate) space: Notify,
    /// The storage behind memory, where there is one.
    pub(crate) backing: Option<Arc<Backing>>,
    /// Its other side has gone once everything was written for the last time and the storage was let go.
    ended: watch::Receiver<()>,
}

// === impl Journal ===

impl Journal {
    /// A journal whose records live in memory: an append says "queued", and a crash forgets it.
    pub fn in_memory(limits: Limits) -> Journal {
        let (_, ended) = watch::channel(());
        let shared = Shared::new(State::new(limits, Image::default(), None), None, ended);
        Journal { shared: Arc::new(Handle(Arc::new(shared))) }
    }

    /// A journal on disk, with a thread that writes. What was there goes on where it ended.
    ///
    /// # Errors
    /// A disk that cannot be read.
    pub fn open(disk: Arc<dyn Disk>, options: DiskOptions) -> Result<(Journal, Recovery), OpenError> {
        let (ending, ended) = watch::channel(());
        let (journal, committer, recovery) = Journal::open_until(disk, options, ended)?;
        let run = move || {
            committer.run();
            drop(ending);
        };
        std::thread::Builder::new().name("journal".into()).spawn(run)?;
        Ok((journal, recovery))
    }

    /// The same without a thread: nothing is written, and no append ends, before [`Committer::step`].
    ///
    /// # Errors
    /// A disk that cannot be read.
    pub fn open_stepped(
        disk: Arc<dyn Disk>,
        options: DiskOptions,
    ) -> Result<(Journal, Committer, Recovery), OpenError> {
        let (_, ended) = watch::channel(());
        Journal::open_until(disk, options, ended)
    }

    fn open_until(
        disk: Arc<dyn Disk>,
        options: DiskOptions,
        ended: watch::Receiver<()>,
    ) -> Result<(Journal, Committer, Recovery), OpenError> {
        let limits = Limits { size_bytes_max: options.memory_bytes_max, when_full: options.when_full };
        let Opened { image, writer, backing, firsts, report } = crate::disk::open(disk, options)?;
        let mut state = State::new(limits, image, Some(Outbox::default()));
        state.start_from(&firsts);
        let backing = Arc::new(backing);
        let shared = Arc::new(Shared::new(state, Some(Arc::clone(&backing)), ended));
        let committer = Committer::new(Arc::clone(&shared), backing, writer);
        Ok((Journal { shared: Arc::new(Handle(shared)) }, committer, report))
    }

    /// The stream of this name, made if there is none yet.
    pub fn stream(&self, name: &str) -> StreamId {
        let stream = self.shared.state.lock().stream(name);
        self.shared.changed();
        stream
    }

    /// The label of this name in a stream, for [`crate::Share`]s; [`LabelId::OTHER`] once there are too many.
    pub fn label(&self, stream: StreamId, name: &str) -> LabelId {
        self.shared.state.lock().label(stream, name)
    }

    /// A reader of the stream. On disk, one of a name that is known goes on where it stood; a new one starts as the
    /// options say. Its name is open once within the stream.
    ///
    /// # Errors
    /// A name that is open already.
    pub fn open_cursor(&self, stream: StreamId, name: &str, options: CursorOptions) -> Result<Cursor, CursorError> {
        let found = match (&self.shared.backing, options.start) {
            (Some(backing), Start::Since(unix_ns)) => {
                let found = backing.library.find(stream, |meta| meta.appended_at_unix_ns >= unix_ns);
                // Nothing that recent is there: the cursor starts with what comes.
                Some(found.unwrap_or_else(|| self.shared.state.lock().end(stream)))
            }
            _ => None,
        };
        let mut state = self.shared.state.lock();
        let (index, news) = state.open_cursor(stream, name, options, found)?;
        drop(state);
        self.shared.changed();
        self.shared.look_up_age(stream, index);
        Ok(Cursor { shared: Arc::clone(&self.shared), stream, index, news })
    }

    /// Writes every record to its stream, all or none. When it returns, the storage has them as it promises to: memory
    /// holds them, a disk has synced them.
    ///
    /// Cancellation: an append that was begun may happen although nobody waits for it.
    ///
    /// # Errors
    /// The bounds, as [`WhenFull`] says; a storage that cannot be written now; and a journal that is closed.
    pub async fn append(&self, writes: Vec<(StreamId, Record)>) -> Result<(), AppendError> {
        let Some(backing) = &self.shared.backing else {
            return self.shared.state.lock().append(writes);
        };
        let (answer, answered) = oneshot::channel();
        backing.submit(Job { writes, answer });
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Waits until a record has left the journal. Take it before the append that may fail, so that nothing is missed:
    /// `let space = journal.space(); pin!(space); space.as_mut().enable();`
    pub fn space(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.space.notified()
    }

    /// Waits until no open cursor has anything left to settle.
    pub async fn drained(&self) {
        loop {
            // The waiter registers before the look, so that the last settlement is not missed.
            let space = self.space();
            let mut space = std::pin::pin!(space);
            space.as_mut().enable();
            if self.shared.state.lock().is_drained() {
                return;
            }
            space.await;
        }
    }

    /// Refuses every append from now on; readers see [`Read::Closed`] once they have read everything.
    pub fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.streams.iter().flat_map(|stream| &stream.cursors).for_each(|cursor| cursor.news.notify_one());
        self.shared.space.notify_waiters();
    }

    /// Writes everything down for the last time, and waits until it is. Nothing of memory is left to do.
    pub async fn shut_down(&self) {
        self.close();
        if let Some(backing) = &self.shared.backing {
            backing.stop();
            // An error is the end: the other side never sends.
            let _ = self.shared.ended.clone().changed().await;
        }
    }

    /// Removes what is older than the storage keeps, and cursors that nobody came back for.
    pub fn expire(&self, now_unix_ns: u64) {
        if let Some(backing) = &self.shared.backing {
            backing.expire(now_unix_ns);
        }
    }

    /// The books of every cursor that was ever open, taken at one moment.
    pub fn books(&self, detail: Detail) -> Vec<Book> {
        self.shared.state.lock().books(detail)
    }

    /// The memory that records hold now, in bytes, and its bound.
    pub fn retained_bytes(&self) -> (u64, u64) {
        let state = self.shared.state.lock();
        (state.retained_bytes, state.limits.size_bytes_max)
    }

    /// What the storage has done; none in memory.
    pub fn disk_stats(&self) -> Option<DiskStats> {
        self.shared.backing.as_ref().map(|backing| backing.stats())
    }

    /// Why appends are refused now, where the storage is the reason.
    pub fn trouble(&self) -> Option<String> {
        self.shared.backing.as_ref().and_then(|backing| backing.trouble())
    }

    /// Whether what is pending survives the process.
    pub fn is_durable(&self) -> bool {
        self.shared.backing.is_some()
    }
}

impl std::ops::Deref for Handle {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(backing) = &self.0.backing {
            backing.stop();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn new(state: State, backing: Option<Arc<Backing>>, ended: watch::Receiver<()>) -> Shared {
        Shared { state: Mutex::new(state), space: Notify::new(), backing, ended }
    }

    /// There is something to be written down.
    pub(crate) fn changed(&self) {
        if let Some(backing) = &self.backing {
            backing.settled();
        }
    }

    pub(crate) fn look(&self, stream: StreamId, index: usize, limit: ReadLimit) -> Look {
        self.state.lock().look(stream, index, limit)
    }

    /// Reads from the storage what a look did not find in memory. It blocks for as long as the disk takes, and changes
    /// nothing: a reader that has gone meanwhile has lost nothing.
    pub(crate) fn fetch(&self, stream: StreamId, look: &Look, limit: ReadLimit) -> Option<Fetched> {
        let (Look::Elsewhere { from, to }, Some(backing)) = (look, &self.backing) else { return None };
        Some(backing.library.fetch(stream, *from, *to, limit))
    }

    /// Hands over what was fetched; none: look again.
    pub(crate) fn take_fetched(&self, stream: StreamId, index: usize, look: &Look, fetched: Fetched) -> Option<Read> {
        let (Look::Elsewhere { from, .. }, Some(backing)) = (look, &self.backing) else { return None };
        let mut state = self.state.lock();
        match fetched {
            Fetched::Records { records, next_at_unix_ns } => {
                state.take_fetched(stream, index, records, next_at_unix_ns)
            }
            Fetched::Lost { to, shares } => {
                if state.position(stream, index) == *from {
                    backing.damaged_records.fetch_add(to.offset.0.saturating_sub(from.0), Relaxed);
                    state.lose(stream, index, to, Bucket::DAMAGED, &[(*from, shares)]);
                    drop(state);
                    self.changed();
                    self.space.notify_waiters();
                }
                None
            }
        }
    }

    /// A cursor that goes on from an earlier process has records that only the disk has: finds out how old the next is.
    fn look_up_age(&self, stream: StreamId, index: usize) {
        let Some(backing) = &self.backing else { return };
        let Some((place, end)) = self.state.lock().unknown_age(stream, index) else { return };
        let at = backing.library.appended_at_unix_ns(stream, place, end);
        self.state.lock().know_age(stream, index, place, at);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}
