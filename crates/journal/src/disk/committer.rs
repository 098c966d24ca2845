//! The one who writes: it takes what was appended and settled since the last time, writes it as one group, syncs it,
//! and only then shows it to readers and answers the writers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::account::Image;
use crate::cursor::Lag;
use crate::disk::format::HEAD_BYTES_MAX;
use crate::disk::library::Library;
use crate::disk::room::too_far_behind;
use crate::disk::syncer::Syncer;
use crate::disk::writer::{Group, Planned, Writer, append_head_bytes, group_bytes};
use crate::disk::{DiskOptions, DiskStats, Sync};
use crate::log::{AppendError, Shared, StreamId, WhenFull};
use crate::mark::Mark;
use crate::record::Record;
use crate::state::{Outbox, by_stream};
use crate::stream::Stream;

/// What may wait to be written, in bytes. Beyond it appends are refused: the disk is slower than what arrives.
const QUEUE_BYTES_MAX: u64 = 64 << 20;

/// What is written at once, in bytes.
const GROUP_BYTES_MAX: u64 = 16 << 20;

/// Settlements wait so long for an append to be written with.
const SETTLEMENTS_WAIT: Duration = Duration::from_millis(5);

/// A storage that failed is tried again after this time, whether anybody appends or not.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

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
    pub(crate) errors: AtomicU64,
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
        let head_bytes = append_head_bytes(&job.writes);
        let mut queue = self.queue.lock();
        let refused = if bytes > size_bytes_max {
            Some(AppendError::TooLarge { wanted_bytes: bytes, size_bytes_max })
        } else if head_bytes > HEAD_BYTES_MAX.into() {
            Some(AppendError::TooLarge { wanted_bytes: head_bytes, size_bytes_max: HEAD_BYTES_MAX.into() })
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

    /// Nobody writes any more: whoever waits is told so.
    fn end(&self) {
        let mut queue = self.queue.lock();
        queue.stopping = true;
        queue.jobs.clear();
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
        let in_trouble = self.trouble.lock().is_some();
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() && !queue.outbox && !queue.stopping && queue.expire_at_unix_ns.is_none() {
            if !in_trouble {
                self.wake.wait(&mut queue);
            } else if self.wake.wait_for(&mut queue, TRY_AGAIN_AFTER).timed_out() {
                // Nobody may append to a journal that is in trouble: it finds out itself that the trouble is over.
                return true;
            }
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
    pub(crate) shared: Arc<Shared>,
    pub(crate) backing: Arc<Backing>,
    pub(crate) writer: Writer,
    syncer: Option<Syncer>,
    /// Groups without data that were written since data could not be.
    in_trouble_for: u32,
}

/// What one step will write.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) jobs: Vec<Job>,
    pub(crate) appends: Vec<Planned>,
    pub(crate) outbox: Outbox,
    pub(crate) image: Option<Image>,
    pub(crate) now_unix_ns: u64,
    /// What the outbox had is on the disk already.
    pub(crate) is_written: bool,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, backing: Arc<Backing>, writer: Writer) -> Committer {
        Committer { shared, backing, writer, syncer: None, in_trouble_for: 0 }
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
        self.leave_after_failed_sync();
        let jobs = self.backing.take();
        let Some(mut step) = self.plan(jobs) else { return false };
        match self.write(&mut step) {
            Ok(bytes) => {
                self.backing.commits.fetch_add(1, Relaxed);
                self.backing.written_bytes.fetch_add(bytes, Relaxed);
                if !step.appends.is_empty() || self.has_come_to_an_end_of_trouble() {
                    *self.backing.trouble.lock() = None;
                    self.in_trouble_for = 0;
                }
                self.publish(step);
            }
            Err(error) => {
                if let AppendError::Storage { cause } = &error {
                    self.backing.errors.fetch_add(1, Relaxed);
                    *self.backing.trouble.lock() = Some(cause.clone());
                }
                // What was to be written down is in the state: a whole image says it later. A storage that fails is
                // tried again in any case.
                if matches!(error, AppendError::Storage { .. }) || step.image.is_some() || !step.outbox.is_empty() {
                    self.shared.state.lock().image_due();
                }
                // What was refused for want of room does not keep what was settled from being written down.
                if !matches!(error, AppendError::Storage { .. }) {
                    self.backing.settled();
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
        Some(Step { jobs: admitted, appends, outbox, image, now_unix_ns, is_written: false })
    }

    /// Settlements may find room where data does not. So trouble ends with data that was written, or when a file as
    /// large as a segment can be: now and then that is tried.
    fn has_come_to_an_end_of_trouble(&mut self) -> bool {
        const TRY_EACH: u32 = 64;
        if self.backing.trouble.lock().is_none() {
            return false;
        }
        self.in_trouble_for = self.in_trouble_for.wrapping_add(1);
        self.in_trouble_for % TRY_EACH == 1 && self.has_room_for_a_segment()
    }

    fn has_room_for_a_segment(&self) -> bool {
        const NAME: &str = "probe";
        let disk = &self.backing.library.disk;
        // One that a crash has left is in the way.
        let _ = disk.remove(NAME);
        let made = disk.create(NAME, self.writer.segment_bytes);
        let written = made.and_then(|file| file.write_all_at(&[b"probe"], 0).and_then(|()| file.sync()));
        let _ = disk.remove(NAME);
        written.is_ok()
    }

    fn write(&mut self, step: &mut Step) -> Result<u64, AppendError> {
        let bytes = group_bytes(step.image.as_ref(), &step.outbox.notes, &step.appends);
        if !self.writer.needs_segment(&step.appends, bytes) {
            let group = Group { image: step.image.as_ref(), notes: &step.outbox.notes, appends: &step.appends };
            return self.write_group(&group);
        }
        self.begin_segment(step)?;
        // The segment begins with the image, and the image says what the notes say.
        let group = Group { image: None, notes: &BTreeMap::new(), appends: &step.appends };
        let written = self.write_group(&group);
        self.watch_file();
        written
    }

    /// Begins a segment that has room for the step. Where the disk has none, what nobody needs gives way first.
    fn begin_segment(&mut self, step: &mut Step) -> Result<(), AppendError> {
        loop {
            let bytes = group_bytes(Some(&self.renew_image(step)), &BTreeMap::new(), &step.appends);
            let size = self.writer.new_segment_bytes(&step.appends, bytes);
            // Settlements alone are written down whatever the bound says: they are what makes room.
            if !step.appends.is_empty() {
                self.make_room(step, size, bytes)?;
            }
            // Once more: what had to make room is counted in it.
            let image = self.renew_image(step);
            let Err(error) = self.writer.begin_segment(&image, size, step.now_unix_ns) else { return Ok(()) };
            let refuse = step.appends.is_empty() || self.backing.options.when_full == WhenFull::Refuse;
            let when_full = if refuse { WhenFull::Refuse } else { WhenFull::DropOldest };
            if !is_full(&error) || !self.give_way(step, when_full)? {
                return Err(storage_error(&error));
            }
        }
    }

    /// The image as it is now, which says all that the outbox has.
    pub(crate) fn renew_image(&self, step: &mut Step) -> Image {
        let mut state = self.shared.state.lock();
        state.outbox = Some(Outbox::default());
        step.outbox.image_due = true;
        state.image()
    }

    fn write_group(&mut self, group: &Group<'_>) -> Result<u64, AppendError> {
        let written = self.writer.write(group).map_err(|error| storage_error(&error));
        self.was_written();
        written
    }

    pub(crate) fn was_written(&self) {
        if let Some(syncer) = &self.syncer {
            syncer.written();
        }
    }

    /// After a sync that failed, nobody knows what the kernel still has of a file: nothing more is written to it.
    fn leave_after_failed_sync(&mut self) {
        if self.syncer.as_ref().is_some_and(Syncer::has_failed) {
            self.backing.errors.fetch_add(1, Relaxed);
            self.writer.give_up_segment();
        }
    }

    pub(crate) fn watch_file(&self) {
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

pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

pub(crate) fn storage_error(error: &std::io::Error) -> AppendError {
    let cause = match error.kind() {
        _ if is_full(error) => "the disk is full: free some space, or set a smaller `retention.size`".into(),
        std::io::ErrorKind::ReadOnlyFilesystem => "the file system of the journal is read-only: remount it".into(),
        _ => format!("the journal cannot be written: {error}"),
    };
    AppendError::Storage { cause }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.backing.end();
    }
}
