//! The one who writes: it takes what was appended and settled since the last time, writes it as one group, syncs it,
//! and only then shows it to readers and answers the writers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::account::Image;
use crate::books::{Bucket, Share};
use crate::cursor::{Hold, Lag, LagLimit};
use crate::disk::format::Meta;
use crate::disk::io::DiskFile;
use crate::disk::library::{Library, Segment};
use crate::disk::writer::{Group, Planned, Writer, group_bytes};
use crate::disk::{DiskOptions, DiskStats, Sync};
use crate::log::{AppendError, Shared, StreamId, WhenFull};
use crate::mark::Mark;
use crate::record::{Offset, Record, Shares};
use crate::state::{Outbox, State, by_stream};
use crate::stream::{CursorState, Standing, Stream};

/// What may wait to be written, in bytes. Beyond it appends are refused: the disk is slower than what arrives.
const QUEUE_BYTES_MAX: u64 = 64 << 20;

/// What is written at once, in bytes.
const GROUP_BYTES_MAX: u64 = 16 << 20;

/// Settlements wait so long for an append to be written with.
const SETTLEMENTS_WAIT: Duration = Duration::from_millis(5);

/// One append that waits for its answer.
pub(crate) struct Job {
    pub(crate) writes: Vec<(StreamId, Record)>,
    pub(crate) answer: oneshot::Sender<Result<(), AppendError>>,
}

/// What a journal on disk has beside its state.
pub(crate) struct Backing {
    pub(crate) library: Arc<Library>,
    pub(crate) options: DiskOptions,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Why nothing can be written now.
    trouble: Mutex<Option<String>>,
    maybe_twice_items: u64,
    commits: AtomicU64,
    written_bytes: AtomicU64,
    errors: AtomicU64,
    pub(crate) damaged_records: AtomicU64,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: u64,
    /// Something was settled, or an image is due.
    outbox: bool,
    /// The time, where what is too old is to be removed.
    expire_at_unix_ns: Option<u64>,
    stopping: bool,
}

impl Backing {
    pub(crate) fn new(library: Arc<Library>, options: DiskOptions, maybe_twice_items: u64) -> Backing {
        Backing {
            library,
            options,
            queue: Mutex::default(),
            wake: Condvar::new(),
            trouble: Mutex::default(),
            maybe_twice_items,
            commits: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            damaged_records: AtomicU64::new(0),
        }
    }

    /// Puts an append into the queue, or says why not.
    pub(crate) fn submit(&self, job: Job) {
        let bytes: u64 = job.writes.iter().map(|(_, record)| record.retained_bytes()).sum();
        let size_bytes_max = self.options.append_bytes_max();
        let mut queue = self.queue.lock();
        let refused = if bytes > size_bytes_max {
            Some(AppendError::TooLarge { wanted_bytes: bytes, size_bytes_max })
        } else if queue.stopping {
            Some(AppendError::Closed)
        } else if queue.bytes > 0 && queue.bytes + bytes > QUEUE_BYTES_MAX {
            let cause = format!("{} bytes wait to be written: the disk is slower than what arrives", queue.bytes);
            Some(AppendError::Storage { cause })
        } else {
            None
        };
        if let Some(error) = refused {
            // Nobody may be waiting any more.
            let _ = job.answer.send(Err(error));
            return;
        }
        queue.bytes += bytes;
        queue.jobs.push_back(job);
        self.wake.notify_one();
    }

    /// The outbox has something.
    pub(crate) fn settled(&self) {
        let mut queue = self.queue.lock();
        if !queue.outbox {
            queue.outbox = true;
            self.wake.notify_one();
        }
    }

    /// Removes what is too old now.
    pub(crate) fn expire(&self, now_unix_ns: u64) {
        self.queue.lock().expire_at_unix_ns = Some(now_unix_ns);
        self.wake.notify_one();
    }

    /// Writes what is left, and ends the committer.
    pub(crate) fn stop(&self) {
        self.queue.lock().stopping = true;
        self.wake.notify_one();
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    pub(crate) fn stats(&self) -> DiskStats {
        let segments = self.library.segments();
        DiskStats {
            size_bytes: segments.iter().map(|segment| segment.size).sum(),
            size_bytes_max: self.options.size_bytes_max,
            segments: segments.len() as u64,
            commits: self.commits.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            errors: self.errors.load(Relaxed),
            damaged_records: self.damaged_records.load(Relaxed),
            maybe_twice_items: self.maybe_twice_items,
        }
    }

    /// Waits until there is something to write. `false`: nothing will come any more.
    fn wait(&self) -> bool {
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() && !queue.outbox && !queue.stopping && queue.expire_at_unix_ns.is_none() {
            self.wake.wait(&mut queue);
        }
        if queue.jobs.is_empty() && !queue.stopping {
            self.wake.wait_for(&mut queue, SETTLEMENTS_WAIT);
        }
        !(queue.stopping && queue.jobs.is_empty())
    }

    fn take(&self) -> Vec<Job> {
        let mut queue = self.queue.lock();
        queue.outbox = false;
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(job) = queue.jobs.front() {
            let more: u64 = job.writes.iter().map(|(_, record)| record.retained_bytes()).sum();
            if !taken.is_empty() && bytes + more > GROUP_BYTES_MAX {
                break;
            }
            bytes += more;
            queue.bytes -= more;
            taken.extend(queue.jobs.pop_front());
        }
        taken
    }
}

/// Writes a journal's appends and settlements. [`crate::Journal::open`] runs one on a thread of its own; tests step it.
pub struct Committer {
    shared: Arc<Shared>,
    backing: Arc<Backing>,
    writer: Writer,
    syncer: Option<Syncer>,
}

/// What one step will write.
struct Step {
    jobs: Vec<Job>,
    appends: Vec<Planned>,
    outbox: Outbox,
    image: Option<Image>,
    now_unix_ns: u64,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, backing: Arc<Backing>, writer: Writer) -> Committer {
        Committer { shared, backing, writer, syncer: None }
    }

    /// Writes until the journal is shut down and everything was written.
    pub(crate) fn run(mut self) {
        if let Sync::Interval(interval) = self.writer.sync {
            self.syncer = Some(Syncer::start(interval));
        }
        while self.backing.wait() {
            let due = self.backing.queue.lock().expire_at_unix_ns.take();
            if let Some(now_unix_ns) = due {
                self.expire(now_unix_ns);
            }
            self.step();
        }
        while self.step() {}
        self.finish();
    }

    /// Writes the last image and syncs it: the next start reads little else.
    pub fn finish(&mut self) {
        self.shared.state.lock().image_due();
        self.step();
        if self.writer.leave_segment().is_err() {
            self.backing.errors.fetch_add(1, Relaxed);
        }
        self.backing.library.disk.release();
    }

    /// Writes what is queued as one group, and answers. `false`: there was nothing, or it cannot be written now and
    /// nobody waits for it.
    pub fn step(&mut self) -> bool {
        let jobs = self.backing.take();
        let Some(mut step) = self.plan(jobs) else { return false };
        match self.write(&mut step) {
            Ok(bytes) => {
                self.backing.commits.fetch_add(1, Relaxed);
                self.backing.written_bytes.fetch_add(bytes, Relaxed);
                *self.backing.trouble.lock() = None;
                self.publish(step);
            }
            Err(error) => {
                if let AppendError::Storage { cause } = &error {
                    self.backing.errors.fetch_add(1, Relaxed);
                    *self.backing.trouble.lock() = Some(cause.clone());
                }
                // What was to be written down is in the state: a whole image says it later.
                if step.image.is_some() || !step.outbox.is_empty() {
                    self.shared.state.lock().image_due();
                }
                let progress = !step.jobs.is_empty();
                for job in step.jobs {
                    let _ = job.answer.send(Err(error.clone()));
                }
                return progress;
            }
        }
        true
    }

    /// Admits jobs and gives their records places; takes the outbox.
    fn plan(&mut self, jobs: Vec<Job>) -> Option<Step> {
        let mut state = self.shared.state.lock();
        let mut ends: Vec<Mark> = state.streams.iter().map(Stream::end).collect();
        let mut before = BTreeMap::<StreamId, Lag>::new();
        let (mut admitted, mut appends) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        for mut job in jobs {
            if let Err(error) = state.admit(&job.writes, &before) {
                let _ = job.answer.send(Err(error));
                continue;
            }
            for (stream, added) in by_stream(&job.writes) {
                let sum = before.entry(stream).or_default();
                *sum = sum.plus(added);
            }
            appends.push(Planned { records: place(&mut ends, std::mem::take(&mut job.writes)) });
            admitted.push(job);
        }
        let outbox = state.outbox.as_mut().map(std::mem::take).unwrap_or_default();
        if admitted.is_empty() && outbox.is_empty() {
            return None;
        }
        let newest = appends.iter().flat_map(|planned| &planned.records).map(|(_, _, r)| r.appended_at_unix_ns).max();
        let now_unix_ns = newest.unwrap_or(state.now_unix_ns).max(state.now_unix_ns);
        state.now_unix_ns = now_unix_ns;
        let bytes = group_bytes(None, &outbox.notes, &appends);
        let image = outbox.image_due || self.writer.needs_segment(&appends, bytes);
        let image = image.then(|| state.image());
        Some(Step { jobs: admitted, appends, outbox, image, now_unix_ns })
    }

    fn write(&mut self, step: &mut Step) -> Result<u64, AppendError> {
        let bytes = group_bytes(step.image.as_ref(), &step.outbox.notes, &step.appends);
        if self.writer.needs_segment(&step.appends, bytes) {
            let image = match step.image.take() {
                Some(image) => image,
                None => self.shared.state.lock().image(),
            };
            let bytes = group_bytes(Some(&image), &BTreeMap::new(), &step.appends);
            let size = self.writer.new_segment_bytes(&step.appends, bytes);
            // Settlements alone are written down whatever the bound says: they are what makes room.
            let room = if step.appends.is_empty() { Ok(()) } else { self.make_room(size, bytes) };
            let begun = room.and_then(|()| {
                self.writer.begin_segment(&image, size, step.now_unix_ns).map_err(|error| storage_error(&error))
            });
            step.image = Some(image);
            begun?;
            // The segment begins with the image, and the image says what the notes say.
            let group = Group { image: None, notes: &BTreeMap::new(), appends: &step.appends };
            let written = self.write_group(&group);
            self.watch_file();
            return written;
        }
        let group = Group { image: step.image.as_ref(), notes: &step.outbox.notes, appends: &step.appends };
        self.write_group(&group)
    }

    fn write_group(&mut self, group: &Group<'_>) -> Result<u64, AppendError> {
        let written = self.writer.write(group).map_err(|error| storage_error(&error));
        if let Some(syncer) = &self.syncer {
            syncer.written();
        }
        written
    }

    fn watch_file(&self) {
        if let (Some(syncer), Some(file)) = (&self.syncer, self.writer.file()) {
            syncer.watch(file);
        }
    }

    fn publish(&mut self, step: Step) {
        let writes: Vec<Vec<(StreamId, Record)>> = step
            .appends
            .into_iter()
            .map(|planned| planned.records.into_iter().map(|(s, _, r)| (s, r)).collect())
            .collect();
        let lagging = {
            let mut state = self.shared.state.lock();
            for writes in writes {
                state.publish(writes);
            }
            state.evict();
            too_far_behind(&state)
        };
        for job in step.jobs {
            // Nobody may be waiting any more: the sender has gone, and its data is kept all the same.
            let _ = job.answer.send(Ok(()));
        }
        for (stream, index, place) in lagging {
            self.shorten(stream, index, place);
        }
    }
}

/// Gives every record its place.
fn place(ends: &mut Vec<Mark>, writes: Vec<(StreamId, Record)>) -> Vec<(StreamId, Mark, Record)> {
    let placed = writes.into_iter().map(|(stream, record)| {
        if ends.len() <= stream.index() {
            ends.resize(stream.index() + 1, Mark::default());
        }
        let end = &mut ends[stream.index()];
        let mark = *end;
        *end = mark.after(record.items.into(), record.payload.len() as u64);
        (stream, mark, record)
    });
    placed.collect()
}

fn storage_error(error: &std::io::Error) -> AppendError {
    let cause = match error.kind() {
        std::io::ErrorKind::StorageFull => {
            "the disk is full: free some space, or set a smaller `retention.size`".into()
        }
        std::io::ErrorKind::ReadOnlyFilesystem => "the file system of the journal is read-only: remount it".into(),
        _ => format!("the journal cannot be written: {error}"),
    };
    AppendError::Storage { cause }
}

// === room ===

impl Committer {
    /// Removes what is too old, then the oldest segments until `size` bytes more have room.
    fn make_room(&mut self, size: u64, wanted_bytes: u64) -> Result<(), AppendError> {
        let size_bytes_max = self.backing.options.size_bytes_max;
        while self.backing.library.size_bytes() + size > size_bytes_max {
            let retained_bytes = self.backing.library.size_bytes();
            let full = AppendError::Full { retained_bytes, wanted_bytes, size_bytes_max };
            // The segment that is being left is the oldest of all where it is the only one.
            let Some((oldest, next)) = self.backing.library.oldest() else {
                if self.writer.is_open() && self.backing.library.segments().len() == 1 {
                    self.writer.leave_segment().map_err(|error| storage_error(&error))?;
                    continue;
                }
                return Err(full);
            };
            if self.is_needed(next.as_ref()) && self.backing.options.when_full == WhenFull::Refuse {
                return Err(full);
            }
            self.remove(&oldest, next.as_ref(), &Bucket::OVERWRITTEN)?;
        }
        Ok(())
    }

    /// Removes segments whose newest record is older than the journal keeps, and cursors that nobody came back for.
    pub fn expire(&mut self, now_unix_ns: u64) {
        let options = &self.backing.options;
        let (age_ns_max, grace_ns) = (options.age_ns_max, options.cursor_grace_ns);
        self.shared.state.lock().forget_cursors(now_unix_ns, grace_ns);
        let Some(age_ns_max) = age_ns_max else { return };
        while let Some((oldest, next)) = self.backing.library.oldest()
            && now_unix_ns.saturating_sub(oldest.last_append_unix_ns) > age_ns_max
        {
            if self.remove(&oldest, next.as_ref(), &Bucket::EXPIRED).is_err() {
                return;
            }
        }
    }

    /// Whether a reader that is waited for has not settled something before the next segment.
    fn is_needed(&self, next: Option<&Segment>) -> bool {
        let state = self.shared.state.lock();
        state.streams.iter().enumerate().any(|(index, stream)| {
            let end = next.map_or(stream.end(), |next| next.first(index)).offset;
            let waited_for = |cursor: &&CursorState| cursor.standing == Standing::Open && cursor.hold == Hold::Keep;
            stream.cursors.iter().filter(waited_for).any(|cursor| cursor.account.place.low.offset < end)
        })
    }

    /// Removes the oldest segment. Whoever has not read it loses it, item by item.
    fn remove(&self, oldest: &Segment, next: Option<&Segment>, cause: &Bucket) -> Result<(), AppendError> {
        let index = self.backing.library.index(oldest);
        self.backing.library.remove_oldest(oldest.id).map_err(|error| storage_error(&error))?;
        let mut state = self.shared.state.lock();
        for at in 0..state.streams.len() {
            let stream = &mut state.streams[at];
            let first = next.map_or(stream.end(), |next| next.first(at));
            stream.first = stream.first.later(first);
            let id = StreamId(u32::try_from(at).unwrap_or(u32::MAX));
            for cursor in 0..state.streams[at].cursors.len() {
                let behind = &state.streams[at].cursors[cursor];
                if !behind.counts() || behind.next.offset >= first.offset {
                    continue;
                }
                let shares = shares_between(index.stream(at), behind.next.offset, first.offset);
                state.lose(id, cursor, first, cause.clone(), &shares);
            }
        }
        Ok(())
    }

    /// Takes from a cursor what it lags too far.
    fn shorten(&self, stream: StreamId, index: usize, place: Target) {
        let found = self.backing.library.find(stream, |meta| place.is_reached(meta));
        let mut state = self.shared.state.lock();
        let end = state.streams[stream.index()].end();
        let to = found.unwrap_or(end);
        state.lose(stream, index, to, Bucket::OVERWRITTEN, &Shares::default());
    }
}

/// The place that a cursor must reach so that it lags no further than it may.
#[derive(Clone, Copy)]
struct Target {
    end: Mark,
    limit: LagLimit,
}

impl Target {
    fn is_reached(&self, meta: &Meta) -> bool {
        let left = self.end.since(meta.mark);
        match self.limit {
            LagLimit::Records(max) => left.records <= max,
            LagLimit::Items(max) => left.items <= max,
            LagLimit::Bytes(max) => left.bytes <= max,
        }
    }
}

fn too_far_behind(state: &State) -> Vec<(StreamId, usize, Target)> {
    if state.limits.when_full == WhenFull::Refuse {
        return Vec::new();
    }
    let mut behind = Vec::new();
    for (id, stream) in state.streams.iter().enumerate() {
        for (index, cursor) in stream.cursors.iter().enumerate() {
            let Some(limit) = cursor.lag_max.filter(|_| cursor.standing == Standing::Open) else { continue };
            if cursor.exceeds(cursor.unread(stream.end()), Lag::default()) {
                let id = StreamId(u32::try_from(id).unwrap_or(u32::MAX));
                behind.push((id, index, Target { end: stream.end(), limit }));
            }
        }
    }
    behind
}

/// The shares of records between two places, summed.
fn shares_between(metas: &[Meta], from: Offset, to: Offset) -> Shares {
    let mut sums = BTreeMap::new();
    for meta in metas.iter().filter(|meta| meta.mark.offset >= from && meta.mark.offset < to) {
        for share in meta.shares.as_slice() {
            *sums.entry(share.label).or_insert(0u64) += u64::from(share.items);
        }
    }
    let shares =
        sums.into_iter().map(|(label, items)| Share { label, items: u32::try_from(items).unwrap_or(u32::MAX) });
    Shares::new(&shares.collect::<Vec<_>>())
}

// === Syncer ===

/// Syncs the file that is being written, from time to time.
struct Syncer {
    shared: Arc<Mutex<Syncing>>,
    end: Arc<(Mutex<bool>, Condvar)>,
}

#[derive(Default)]
struct Syncing {
    file: Option<Arc<dyn DiskFile>>,
    written: bool,
}

impl Syncer {
    fn start(interval: Duration) -> Syncer {
        let shared = Arc::new(Mutex::new(Syncing::default()));
        let end = Arc::new((Mutex::new(false), Condvar::new()));
        let syncer = Syncer { shared: Arc::clone(&shared), end: Arc::clone(&end) };
        std::thread::spawn(move || {
            let (ended, wake) = &*end;
            let mut ended = ended.lock();
            while !*ended {
                wake.wait_for(&mut ended, interval);
                let file = {
                    let mut syncing = shared.lock();
                    let due = std::mem::take(&mut syncing.written);
                    syncing.file.clone().filter(|_| due)
                };
                if file.is_some_and(|file| file.sync().is_err()) {
                    // The next one may succeed; what this one promised is open until then.
                    shared.lock().written = true;
                }
            }
        });
        syncer
    }

    fn watch(&self, file: Arc<dyn DiskFile>) {
        self.shared.lock().file = Some(file);
    }

    fn written(&self) {
        self.shared.lock().written = true;
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        *self.end.0.lock() = true;
        self.end.1.notify_one();
    }
}
