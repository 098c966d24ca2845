//! The `filelog` receiver: follows files and makes a log record of each line.
//!
//! Files are looked at in rounds, a step of which reads a bounded number of bytes; the next step waits until the
//! pipelines have what the last one gave. How far a file was read counts, and is written down, only then: a crash may
//! repeat records, and loses none. Files are known by their contents ([`identity`]), so that rotation by renaming, by
//! copying and truncating, and by compressing neither loses nor repeats lines.

mod checkpoints;
mod follower;
mod identity;
mod lines;
mod paths;
mod reader;
mod settings;
mod source;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use component::metrics::{Counter, Description, Gauge};
use component::{
    Arrivals, BuildContext, Intake, Receiver, ReceiverContext, ReceiverFactory, Refused, Running, StartError, Stop,
    Unit, clock,
};
use config::Section;
use otlp::{Batch, Signal, SplitLimits};

use crate::operators::{Counts, Entry, batch};
use checkpoints::Checkpoint;
use follower::{Follower, Step};
use settings::{Patience, Settings};

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "filelog", aliases: &["file_log"], signals: &[Signal::Logs], build };

/// Checkpoints are written no more often than this: a crash repeats what came in between.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

struct FileLogReceiver(Settings);

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    Some(Box::new(FileLogReceiver(Settings::read(section, context)?)))
}

impl Receiver for FileLogReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move {
            let Some(intake) = context.intake(Signal::Logs, "file") else {
                return Err(StartError("no pipeline of logs names this receiver".to_owned()));
            };
            let settings = self.0;
            let (meters, patience) = (Meters::new(&context), settings.patience);
            let delivery = Delivery { intake, stop: context.stop.clone(), patience, meters };
            let running: Running = Box::pin(follow(settings, delivery));
            Ok(running)
        })
    }
}

/// What the receiver tells of itself.
struct Meters {
    open_files: Gauge,
    not_understood: Counter,
    filtered: Counter,
    arrivals: Arrivals,
}

impl Meters {
    const OPEN: Description = Description::gauge("otelcol_fileconsumer_open_files", "Files that are open.");
    const NOT_UNDERSTOOD: Description = Description::counter(
        "crossfade_operator_not_understood_log_records",
        "Log records that an operator did not understand and sent on.",
    );
    const FILTERED: Description =
        Description::counter("crossfade_operator_filtered_log_records", "Log records that a filter dropped.");

    fn new(context: &ReceiverContext) -> Meters {
        let labels = [("receiver", context.id.as_str())];
        Meters {
            open_files: context.metrics.gauge(Meters::OPEN, &labels),
            not_understood: context.metrics.counter(Meters::NOT_UNDERSTOOD, &labels),
            filtered: context.metrics.counter(Meters::FILTERED, &labels),
            arrivals: context.arrivals("file", "files"),
        }
    }

    fn count(&self, counts: Counts) {
        self.not_understood.add(counts.sent);
        self.filtered.add(counts.filtered);
        self.arrivals.lost(Unit::Messages, "operator", counts.dropped);
    }
}

/// The way to the pipelines.
struct Delivery {
    intake: Intake,
    stop: Stop,
    patience: Patience,
    meters: Meters,
}

/// Whether the pipelines have a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivered {
    /// They do, or it was given up.
    Done,
    /// It was time to stop first.
    Stopped,
}

/// Follows files until it is time to stop.
async fn follow(settings: Settings, delivery: Delivery) -> Result<(), StartError> {
    let poll_interval = settings.poll_interval;
    let path = settings.checkpoints.clone();
    let mut follower = blocking(move || open(settings)).await?;
    let mut saved = None;
    while !delivery.stop.is_requested() {
        let round = round(follower, &delivery).await?;
        follower = round;
        let counts = follower.take_counts();
        delivery.meters.count(counts);
        delivery.meters.open_files.set(follower.open_files() as f64);
        let is_due = saved.is_none_or(|saved| clock::mono().duration_since(saved) >= CHECKPOINT_INTERVAL);
        if let Some(path) = path.clone().filter(|_| is_due) {
            follower = blocking(move || save(follower, &path)).await?;
            saved = Some(clock::mono());
        }
        tokio::select! {
            () = tokio::time::sleep(poll_interval) => {}
            () = delivery.stop.requested() => {}
        }
    }
    if let Some(path) = path {
        blocking(move || save(follower, &path)).await?;
    }
    Ok(())
}

/// One look at the disk, and all that it gives.
async fn round(mut follower: Follower, delivery: &Delivery) -> Result<Follower, StartError> {
    follower = blocking(move || {
        follower.begin_round(clock::unix_ns());
        follower
    })
    .await?;
    loop {
        let (back, entries, step) = blocking(move || {
            let mut entries = Vec::new();
            let step = follower.step(clock::unix_ns(), &mut entries);
            (follower, entries, step)
        })
        .await?;
        follower = back;
        if deliver(entries, delivery).await == Delivered::Stopped {
            return Ok(follower);
        }
        follower.commit();
        if step == Step::Last || delivery.stop.is_requested() {
            return Ok(follower);
        }
    }
}

async fn deliver(entries: Vec<Entry>, delivery: &Delivery) -> Delivered {
    if entries.is_empty() {
        return Delivered::Done;
    }
    let mut open = vec![batch(&entries)];
    drop(entries);
    let began = clock::mono();
    let mut pause = delivery.patience.pause_min;
    while let Some(batch) = open.pop() {
        let after = match delivery.intake.accept(batch.clone()).await {
            Ok(()) => continue,
            // Half of it may fit.
            Err(Refused::Permanent { .. }) if batch.items() > 1 => {
                let halves = SplitLimits { items_max: batch.items().div_ceil(2), bytes_max: 0 };
                open.extend(batch.split(halves).into_iter().rev());
                continue;
            }
            Err(Refused::Permanent { cause }) => {
                give_up(&batch, delivery, &cause);
                continue;
            }
            Err(Refused::Retry { after, cause }) => {
                let elapsed = clock::mono().duration_since(began);
                if delivery.patience.elapsed_max.is_some_and(|max| elapsed >= max) {
                    give_up(&batch, delivery, &cause);
                    continue;
                }
                after
            }
        };
        open.push(batch);
        tokio::select! {
            () = tokio::time::sleep(pause.max(after).min(delivery.patience.pause_max)) => {}
            () = delivery.stop.requested() => return Delivered::Stopped,
        }
        pause = pause.saturating_mul(2).min(delivery.patience.pause_max);
    }
    Delivered::Done
}

fn give_up(batch: &Batch, delivery: &Delivery, cause: &str) {
    tracing::error!(items = batch.items(), cause, "log records are given up: the pipelines do not take them");
    delivery.meters.arrivals.lost(Unit::Messages, "refused", u64::from(batch.items()));
}

/// Reads the checkpoints, if there are some.
fn open(settings: Settings) -> Follower {
    let loaded = settings.checkpoints.as_ref().map(|path| checkpoints::load(path));
    let checkpoint: Option<Checkpoint> = match loaded {
        Some(Ok(checkpoint)) => checkpoint,
        Some(Err(error)) => {
            tracing::error!(%error, "checkpoints cannot be used; every file is read from its beginning");
            settings.checkpoints.iter().for_each(|path| checkpoints::put_aside(path));
            // It is not known what was read: to repeat it is better than to lose it.
            Some(Checkpoint { seen_unix_ns: 0, records: Vec::new() })
        }
        None => None,
    };
    Follower::new(settings, checkpoint)
}

fn save(mut follower: Follower, path: &std::path::Path) -> Follower {
    if follower.take_changed()
        && let Err(error) = checkpoints::save(path, &follower.checkpoint())
    {
        tracing::error!(%error, path = %path.display(), "checkpoints cannot be written; a crash would repeat records");
        follower.set_changed();
    }
    follower
}

/// Reading files blocks; it must not hold up what runs beside it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StartError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StartError(format!("a task of the receiver ended: {error}")))
}
