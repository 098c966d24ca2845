//! What a counting backend has counted, as a report.

use std::fmt;

use otlp::Signal;
use serde::{Deserialize, Serialize};

use super::Fault;
use crate::identity::{RunId, WorkerId};
use crate::sequences::Ranges;
use crate::signal_name;

/// How much a report tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Sums by signal and run: cheap enough to ask for several times a second.
    Totals,
    /// Every worker with the sequence numbers that arrived, as verdicts need them.
    Workers,
}

/// What a backend has counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Since the start, in milliseconds.
    pub uptime_ms: u64,
    /// How requests are treated now.
    pub fault: Fault,
    /// Requests by answer.
    pub answers: AnswerCounts,
    /// What was counted of each signal, in the order traces, metrics, logs.
    pub signals: Vec<SignalCounts>,
    /// What was counted of each run and signal, ascending.
    pub runs: Vec<RunCounts>,
    /// What only remote write knows.
    pub series: SeriesCounts,
    /// Items with an identity that were not tracked, because the memory for that is used up. A verdict is inconclusive
    /// then.
    pub untracked_items: u64,
}

/// Requests by answer. A request is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerCounts {
    /// Counted and answered with success.
    pub accepted: u64,
    /// Counted in part.
    pub partially_accepted: u64,
    /// Asked to try again.
    pub refused: u64,
    /// Refused for good by a fault.
    pub rejected: u64,
    /// Never answered.
    pub hung: u64,
    /// Answered with success and not counted.
    pub swallowed: u64,
    /// Counted and asked to try again.
    pub lost_answers: u64,
    /// Not understood, and refused for good.
    pub malformed: u64,
}

/// What was counted of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCounts {
    /// The signal.
    #[serde(with = "signal_name")]
    pub signal: Signal,
    /// Requests that were counted.
    pub requests: u64,
    /// Spans, data points or samples, log records.
    pub items: u64,
    /// Of these, items that were not generated here.
    pub unidentified_items: u64,
    /// Of these, data points or samples that say that a series has ended.
    pub staleness_markers: u64,
    /// The size of the requests, decompressed.
    pub bytes: u64,
    /// The size of the requests as they came.
    pub wire_bytes: u64,
}

/// What was counted of one signal of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// The run.
    pub run_id: RunId,
    /// The signal.
    #[serde(with = "signal_name")]
    pub signal: Signal,
    /// Requests that held items of the run.
    pub requests: u64,
    /// Items, duplicates included.
    pub items: u64,
    /// Different items.
    pub unique_items: u64,
    /// Items that had come before.
    pub duplicate_items: u64,
    /// Items that came after a later one: of remote write, of its series; else, of its worker.
    pub out_of_order_items: u64,
    /// When the first came, in milliseconds since the Unix epoch.
    pub first_unix_ms: u64,
    /// When the last came, in milliseconds since the Unix epoch.
    pub last_unix_ms: u64,
    /// The workers, ascending; none in totals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerCounts>,
}

/// What was counted of one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCounts {
    /// The worker.
    pub worker_id: WorkerId,
    /// Items, duplicates included.
    pub items: u64,
    /// Different items.
    pub unique_items: u64,
    /// Items that had come before.
    pub duplicate_items: u64,
    /// Items that came after a later one.
    pub out_of_order_items: u64,
    /// The sequence numbers that arrived.
    pub received: Ranges,
    /// Whether `received` is all: a list of very many gaps is cut off.
    pub received_is_complete: bool,
}

/// What was counted of the series of remote write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesCounts {
    /// Different label sets.
    pub series: u64,
    /// Samples that came again as they were.
    pub duplicate_samples: u64,
    /// Samples before an earlier one of their series, or another value at the same time.
    pub out_of_order_samples: u64,
    /// Label sets that are not sorted, not unique, or without a name.
    pub invalid_label_sets: u64,
    /// Samples of series beyond the number that is tracked.
    pub untracked_samples: u64,
}

impl AnswerCounts {
    /// Where a request under this fault counts.
    pub(super) fn by(&mut self, fault: Fault) -> &mut u64 {
        match fault {
            Fault::Healthy | Fault::Slow { .. } => &mut self.accepted,
            Fault::PartialSuccess { .. } => &mut self.partially_accepted,
            Fault::Refuse { .. } | Fault::Throttle { .. } => &mut self.refused,
            Fault::Reject => &mut self.rejected,
            Fault::Hang => &mut self.hung,
            Fault::Swallow => &mut self.swallowed,
            Fault::LoseAnswer => &mut self.lost_answers,
        }
    }
}

impl Counts {
    /// The counts of one signal of one run.
    pub fn run(&self, run: RunId, signal: Signal) -> Option<&RunCounts> {
        self.runs.iter().find(|counts| counts.run_id == run && counts.signal == signal)
    }

    /// The counts of one signal.
    pub fn signal(&self, signal: Signal) -> Option<&SignalCounts> {
        self.signals.iter().find(|counts| counts.signal == signal)
    }

    /// All items of all signals, duplicates included.
    pub fn items(&self) -> u64 {
        self.signals.iter().map(|counts| counts.items).sum()
    }
}

/// Several lines for people: the signals, then the runs.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for counts in &self.signals {
            let SignalCounts { signal, requests, items, unidentified_items, wire_bytes, .. } = counts;
            write!(f, "{signal}: {items} items in {requests} requests, {wire_bytes} bytes on the wire")?;
            if *unidentified_items > 0 {
                write!(f, ", {unidentified_items} without an identity")?;
            }
            writeln!(f)?;
        }
        for counts in &self.runs {
            let RunCounts { run_id, signal, unique_items, duplicate_items, out_of_order_items, .. } = counts;
            writeln!(
                f,
                "run {run_id}, {signal}: {unique_items} unique, {duplicate_items} duplicates, {out_of_order_items} out of \
                 order"
            )?;
        }
        Ok(())
    }
}
