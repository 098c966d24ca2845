//! Sending again what the journal still has: to a backend that lost it, or that came late.
//!
//! A replay is a cursor of its own behind the exporter's, with a book of its own: what it delivers is no part of the
//! ledger's lines. Its name carries what was asked for, so a process that starts later finds it and goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use component::metrics::Metrics;
use component::{Stop, clock};
use journal::{Cursor, CursorOptions, Detail, Hold, Journal, Read, ReadLimit, Record, Settlement, Start, StreamId};
use otlp::Signal;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::dead_letters::{self, DeadLetters};
use crate::delivery::{self, AtEnd, Sent, Target, Way, bucket};
use crate::groups::{GROUP_BYTES_MAX, Groups};
use crate::ledger::REPLAY;
use crate::selection::{Selection, SelectionError};
use crate::telemetry::names;

/// So many items are put together for one request where they are small.
const GROUP_ITEMS: u64 = 8192;

/// So many replays run at once, and so many that ended are remembered.
const REPLAYS_MAX: usize = 32;

/// What is sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// To which exporter.
    pub exporter: String,
    /// Out of what.
    #[serde(default)]
    pub source: ReplaySource,
    /// What was accepted then or later, in nanoseconds since the Unix epoch; 0: from the oldest that there is.
    #[serde(default)]
    pub from_unix_ns: u64,
    /// What was accepted up to then; without it, up to the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_unix_ns: Option<u64>,
    /// A [`Selection`] of resources; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<String>,
    /// No faster than so many items a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items_per_s_max: Option<u64>,
    /// Whether it is sent, or only counted.
    #[serde(default)]
    pub mode: ReplayMode,
}

/// Out of what a replay reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplaySource {
    /// What the exporter's pipelines accepted.
    #[default]
    Accepted,
    /// What its backend refused for good, or what was given up.
    DeadLetters,
}

/// Whether a replay sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayMode {
    /// It does.
    #[default]
    Send,
    /// It counts what it would send.
    DryRun,
}

/// How a replay stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayStatus {
    /// Its number, for [`Replays::cancel`].
    pub id: u64,
    /// What was asked for.
    pub request: ReplayRequest,
    /// Where it is.
    pub state: ReplayState,
    /// Items between its first record and the end of the journal when it began; those behind `to` are not read.
    pub found_items: u64,
    /// Items that it has read.
    pub read_items: u64,
    /// Of them, those that are not meant.
    pub skipped_items: u64,
    /// Of them, those that the backend confirmed, or would get.
    pub delivered_items: u64,
    /// Of them, those that the backend refused for good.
    pub rejected_items: u64,
    /// Of them, those that were given up.
    pub dropped_items: u64,
    /// Items that left the journal, or were damaged, before they were read.
    pub lost_items: u64,
}

/// Where a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It reads and sends.
    Running,
    /// It has sent everything.
    Done,
    /// Somebody ended it.
    Cancelled,
    /// The process ends; the next one goes on.
    Suspended,
}

/// Why a replay does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// No pipeline has such an exporter.
    #[error("no pipeline has an exporter `{exporter}`; there are: {known}")]
    UnknownExporter {
        /// What was asked for.
        exporter: String,
        /// What there is.
        known: String,
    },
    /// Memory keeps nothing that was delivered.
    #[error("the journal is in memory, which keeps nothing that was delivered; set `journal.storage: disk`")]
    InMemory,
    /// The condition cannot be read.
    #[error("match: {0}")]
    Selection(#[from] SelectionError),
    /// The times are the wrong way round.
    #[error("`from` is later than `to`")]
    Backwards,
    /// Too many at once.
    #[error("{REPLAYS_MAX} replays run already; wait for one, or cancel it")]
    TooMany,
}

/// The replays of one process. Clones are the same.
#[derive(Clone)]
pub struct Replays(Arc<Inner>);

struct Inner {
    journal: Journal,
    metrics: Metrics,
    stop: Stop,
    ways: Vec<WayOut>,
    running: Mutex<BTreeMap<u64, Running>>,
}

/// One pipeline's way to one exporter, for replays.
#[derive(Clone)]
pub(crate) struct WayOut {
    pub(crate) pipeline: String,
    pub(crate) exporter: String,
    pub(crate) signal: Signal,
    pub(crate) stream: StreamId,
    pub(crate) target: Arc<Target>,
    pub(crate) dead_letters: Option<DeadLetters>,
    pub(crate) at_end: AtEnd,
}

struct Running {
    status: Arc<Mutex<ReplayStatus>>,
    cancel: Stop,
}

// === impl Replays ===

impl Replays {
    pub(crate) fn new(journal: Journal, metrics: Metrics, stop: Stop, ways: Vec<WayOut>) -> Replays {
        Replays(Arc::new(Inner { journal, metrics, stop, ways, running: Mutex::default() }))
    }

    /// Begins a replay and returns its number.
    ///
    /// # Errors
    /// What cannot be replayed, and why.
    pub fn start(&self, mut request: ReplayRequest) -> Result<u64, ReplayError> {
        if !self.0.journal.is_durable() {
            return Err(ReplayError::InMemory);
        }
        let to_unix_ns = *request.to_unix_ns.get_or_insert_with(clock::unix_ns);
        if request.from_unix_ns > to_unix_ns {
            return Err(ReplayError::Backwards);
        }
        let ways = self.ways(&request)?;
        let selection = request.matching.as_deref().map(Selection::parse).transpose()?;
        let id = self.enlist(&request)?;
        let streams = ways.into_iter().map(|out| (self.stream(&out, request.source), out)).collect();
        self.run(id, request, selection, streams);
        Ok(id)
    }

    /// Goes on with the replays that an earlier process did not end.
    pub(crate) fn resume(&self) {
        let mut found = BTreeMap::<u64, (ReplayRequest, Vec<(StreamId, WayOut)>)>::new();
        for book in self.0.journal.books(Detail::Totals).iter().filter(|book| !book.open) {
            let Some((id, request)) = parse_name(&book.cursor) else { continue };
            let out = self.0.ways.iter().find(|out| {
                let stream = stream_name(out, request.source);
                out.exporter == request.exporter && stream == book.stream
            });
            let Some(out) = out.cloned() else { continue };
            let stream = self.stream(&out, request.source);
            found.entry(id).or_insert_with(|| (request, Vec::new())).1.push((stream, out));
        }
        for (id, (request, streams)) in found {
            let Ok(selection) = request.matching.as_deref().map(Selection::parse).transpose() else { continue };
            tracing::info!(replay = id, exporter = request.exporter, "an earlier process left this replay: going on");
            self.0.running.lock().insert(id, Running::new(id, &request));
            self.run(id, request, selection, streams);
        }
    }

    /// Every replay of this process, those that ended as well.
    pub fn list(&self) -> Vec<ReplayStatus> {
        self.0.running.lock().values().map(|running| running.status.lock().clone()).collect()
    }

    /// One of them.
    pub fn status(&self, id: u64) -> Option<ReplayStatus> {
        self.0.running.lock().get(&id).map(|running| running.status.lock().clone())
    }

    /// Ends a replay, and says whether there was one.
    pub fn cancel(&self, id: u64) -> bool {
        let running = self.0.running.lock();
        running.get(&id).inspect(|running| running.cancel.request()).is_some()
    }

    fn ways(&self, request: &ReplayRequest) -> Result<Vec<WayOut>, ReplayError> {
        let ways: Vec<WayOut> = self.0.ways.iter().filter(|out| out.exporter == request.exporter).cloned().collect();
        if !ways.is_empty() {
            return Ok(ways);
        }
        let mut known: Vec<&str> = self.0.ways.iter().map(|out| out.exporter.as_str()).collect();
        known.sort_unstable();
        known.dedup();
        Err(ReplayError::UnknownExporter { exporter: request.exporter.clone(), known: known.join(", ") })
    }

    fn stream(&self, out: &WayOut, source: ReplaySource) -> StreamId {
        match source {
            ReplaySource::Accepted => out.stream,
            ReplaySource::DeadLetters => self.0.journal.stream(&stream_name(out, source)),
        }
    }

    /// A number for a new replay: the time, so that numbers rise over processes.
    fn enlist(&self, request: &ReplayRequest) -> Result<u64, ReplayError> {
        let mut running = self.0.running.lock();
        let is_running = |running: &Running| running.status.lock().state == ReplayState::Running;
        if running.values().filter(|running| is_running(running)).count() >= REPLAYS_MAX {
            return Err(ReplayError::TooMany);
        }
        while running.len() >= 2 * REPLAYS_MAX {
            let Some(ended) = running.iter().find(|(_, running)| !is_running(running)).map(|(id, _)| *id) else {
                break;
            };
            running.remove(&ended);
        }
        let mut id = clock::unix_ms();
        while running.contains_key(&id) {
            id += 1;
        }
        running.insert(id, Running::new(id, request));
        Ok(id)
    }

    fn run(&self, id: u64, request: ReplayRequest, selection: Option<Selection>, streams: Vec<(StreamId, WayOut)>) {
        let Some((status, cancel)) =
            self.0.running.lock().get(&id).map(|running| (Arc::clone(&running.status), running.cancel.clone()))
        else {
            return;
        };
        let name = name(id, &request);
        let mut runs = Vec::new();
        for (stream, out) in streams {
            let start = match request.from_unix_ns {
                0 => Start::Oldest,
                from => Start::Since(from),
            };
            let options = CursorOptions { start, hold: Hold::Yield, lag_max: None };
            match self.0.journal.open_cursor(stream, &name, options) {
                Ok(cursor) => runs.push((cursor, out)),
                Err(error) => tracing::error!(replay = id, %error, "a replay cannot read one of its pipelines"),
            }
        }
        status.lock().found_items = runs.iter().map(|(cursor, _)| cursor.unread().items).sum();
        let replay = Replay {
            request,
            selection,
            status,
            cancel,
            stop: self.0.stop.clone(),
            metrics: self.0.metrics.clone(),
            started: clock::mono(),
        };
        tokio::spawn(async move { replay.run(runs).await });
    }
}

impl Running {
    fn new(id: u64, request: &ReplayRequest) -> Running {
        let status = ReplayStatus {
            id,
            request: request.clone(),
            state: ReplayState::Running,
            found_items: 0,
            read_items: 0,
            skipped_items: 0,
            delivered_items: 0,
            rejected_items: 0,
            dropped_items: 0,
            lost_items: 0,
        };
        Running { status: Arc::new(Mutex::new(status)), cancel: Stop::default() }
    }
}

fn stream_name(out: &WayOut, source: ReplaySource) -> String {
    match source {
        ReplaySource::Accepted => out.pipeline.clone(),
        ReplaySource::DeadLetters => dead_letters::stream_name(&out.pipeline, &out.exporter),
    }
}

/// What was asked for, as the name of a cursor.
fn name(id: u64, request: &ReplayRequest) -> String {
    format!("{REPLAY}{id} {}", serde_json::to_string(request).unwrap_or_default())
}

fn parse_name(name: &str) -> Option<(u64, ReplayRequest)> {
    let (id, request) = name.strip_prefix(REPLAY)?.split_once(' ')?;
    Some((id.parse().ok()?, serde_json::from_str(request).ok()?))
}

/// One replay under way.
struct Replay {
    request: ReplayRequest,
    selection: Option<Selection>,
    status: Arc<Mutex<ReplayStatus>>,
    cancel: Stop,
    stop: Stop,
    metrics: Metrics,
    started: clock::Mono,
}

/// How one pipeline of a replay ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    Cancelled,
    Suspended,
}

impl Replay {
    async fn run(self, runs: Vec<(Cursor, WayOut)>) {
        let mut ended = Ended::Done;
        for (mut cursor, out) in runs {
            if ended == Ended::Done {
                ended = self.one(&mut cursor, &out).await;
            }
            // A cursor that is only dropped is found again by the next process.
            if ended != Ended::Suspended {
                cursor.forget();
            }
        }
        let state = match ended {
            Ended::Done => ReplayState::Done,
            Ended::Cancelled => ReplayState::Cancelled,
            Ended::Suspended => ReplayState::Suspended,
        };
        let mut status = self.status.lock();
        status.state = state;
        let ReplayStatus { id, delivered_items, skipped_items, rejected_items, dropped_items, lost_items, .. } =
            *status;
        tracing::info!(
            replay = id,
            exporter = self.request.exporter,
            ?state,
            delivered_items,
            skipped_items,
            rejected_items,
            dropped_items,
            lost_items,
            "a replay ends"
        );
    }

    async fn one(&self, cursor: &mut Cursor, out: &WayOut) -> Ended {
        let groups = Groups::new(out.signal, None, 1);
        let limit = ReadLimit { records_max: 4096, items_enough: GROUP_ITEMS, bytes_max: GROUP_BYTES_MAX };
        // A dead letter that is refused again is one already.
        let way = Way {
            target: Arc::clone(&out.target),
            settler: cursor.settler(),
            dead_letters: out.dead_letters.clone().filter(|_| self.request.source == ReplaySource::Accepted),
            at_end: out.at_end,
        };
        while cursor.unread().records > 0 {
            let read = tokio::select! {
                () = self.stop.requested() => return Ended::Suspended,
                () = self.cancel.requested() => return Ended::Cancelled,
                read = cursor.next(limit) => read,
            };
            let mut records = match read {
                Read::Records(records) => records,
                Read::Gap { items, .. } => {
                    self.status.lock().lost_items += items;
                    continue;
                }
                Read::Closed => return Ended::Suspended,
            };
            let to_unix_ns = self.request.to_unix_ns.unwrap_or(u64::MAX);
            let wanted = records.iter().take_while(|record| record.appended_at_unix_ns <= to_unix_ns).count();
            let is_last = wanted < records.len();
            records.truncate(wanted);
            if !records.is_empty() && self.send(&way, &groups, records).await == Sent::Left {
                return Ended::Suspended;
            }
            if is_last {
                return Ended::Done;
            }
            self.pace().await;
        }
        Ended::Done
    }

    async fn send(&self, way: &Way, groups: &Groups, records: Vec<Record>) -> Sent {
        let group = groups.make(records);
        let mut settlement = Settlement::default();
        let mut skipped = 0;
        for batch in group.batches.iter() {
            let selected = match &self.selection {
                Some(selection) => selection.select(batch),
                None => Some(batch.clone()),
            };
            let chosen = selected.as_ref().map_or(0, |selected| u64::from(selected.items()));
            skipped += u64::from(batch.items()) - chosen;
            match (selected, self.request.mode) {
                (None, _) => {}
                (Some(_), ReplayMode::DryRun) => settlement.add(bucket::DELIVERED, chosen),
                (Some(selected), ReplayMode::Send) => {
                    if delivery::send_batch(way, &selected, &mut settlement).await == Sent::Left {
                        return Sent::Left;
                    }
                }
            }
        }
        self.account(&settlement, group.items(), skipped);
        settlement.add("skipped", skipped);
        delivery::reconcile(&way.target, &mut settlement, group.items());
        if let Err(error) = way.settler.settle(&group.records, &settlement) {
            tracing::error!(exporter = way.target.name, %error, "a replay could not be entered into its book");
        }
        Sent::Settled
    }

    fn account(&self, settlement: &Settlement, read: u64, skipped: u64) {
        let mut status = self.status.lock();
        status.read_items += read;
        status.skipped_items += skipped;
        for (name, items) in settlement.entries() {
            let (state, sum) = match &*name.0 {
                bucket::DELIVERED => ("delivered", &mut status.delivered_items),
                name if name.starts_with(bucket::REJECTED) => ("rejected", &mut status.rejected_items),
                _ => ("dropped", &mut status.dropped_items),
            };
            *sum += items;
            if self.request.mode == ReplayMode::Send {
                let labels = [("exporter", self.request.exporter.as_str()), ("state", state)];
                self.metrics.counter(names::REPLAYED, &labels).add(*items);
            }
        }
    }

    /// Waits as long as the rate wants.
    async fn pace(&self) {
        let Some(rate) = self.request.items_per_s_max.filter(|rate| *rate > 0) else { return };
        let sent = {
            let status = self.status.lock();
            status.read_items - status.skipped_items
        };
        let due = Duration::from_secs_f64(sent as f64 / rate as f64);
        let early = due.saturating_sub(self.started.elapsed());
        tokio::select! {
            () = self.stop.requested() => {}
            () = self.cancel.requested() => {}
            () = tokio::time::sleep(early) => {}
        }
    }
}
