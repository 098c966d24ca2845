//! Whether what was acknowledged has arrived: once, and nothing else.
//!
//! ```
//! use load::receive::Counts;
//! use load::send::SendReport;
//! use load::verdict::{Outcome, judge};
//! use otlp::Signal;
//!
//! let verdict = judge("new", &Signal::ALL, &[SendReport::default()], &Counts::default());
//! assert_eq!(verdict.outcome, Outcome::Inconclusive);
//! assert_eq!(verdict.to_string(), "new: inconclusive, nothing was acknowledged");
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use otlp::Signal;
use serde::{Deserialize, Serialize};

use crate::identity::{RunId, WorkerId};
use crate::receive::Counts;
use crate::send::SendReport;
use crate::sequences::{Ranges, RangesError, SequenceSet};
use crate::signal_name;

/// How many ranges of lost items a verdict quotes.
const EXAMPLES_MAX: usize = 5;

/// Whether a backend got everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was acknowledged arrived, nothing twice.
    Exact,
    /// Everything that was acknowledged arrived, some of it more than once.
    Duplicated,
    /// Something that was acknowledged did not arrive.
    Lossy,
    /// Something arrived that was never sent: ids collide or were changed on the way.
    Foreign,
    /// Nothing was acknowledged, or the reports do not say enough.
    Inconclusive,
}

/// What was found out about one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The backend's name.
    pub backend: String,
    /// The outcome.
    pub outcome: Outcome,
    /// Why it is inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_information: Option<String>,
    /// The figures of each signal that was asked about and sent.
    pub signals: Vec<SignalVerdict>,
}

/// The figures of one signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalVerdict {
    /// The signal.
    #[serde(with = "signal_name")]
    pub signal: Signal,
    /// Items that were acknowledged to the sender.
    pub acked_items: u64,
    /// Different items that arrived.
    pub received_items: u64,
    /// Items that were acknowledged and did not arrive.
    pub lost_items: u64,
    /// Items that arrived again.
    pub duplicate_items: u64,
    /// Items that arrived without having been acknowledged, which is nobody's fault: their answers were lost.
    pub unacknowledged_items: u64,
    /// Items that arrived and were never sent.
    pub foreign_items: u64,
    /// Items that arrived after a later one.
    pub out_of_order_items: u64,
    /// Some of the lost items.
    pub lost_examples: Vec<LostRange>,
}

/// Items of one worker that were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRange {
    /// The run.
    pub run_id: RunId,
    /// The worker.
    pub worker_id: WorkerId,
    /// The first sequence number.
    pub first: u64,
    /// The last sequence number.
    pub last: u64,
}

/// Compares what was sent with what a backend has counted, for the signals that it is to get. All reports of one run
/// belong together; runs without a report are left alone.
pub fn judge(backend: &str, signals: &[Signal], reports: &[SendReport], counts: &Counts) -> Verdict {
    let mut verdict = Verdict {
        backend: backend.to_owned(),
        outcome: Outcome::Inconclusive,
        missing_information: None,
        signals: Vec::new(),
    };
    for signal in Signal::ALL.into_iter().filter(|signal| signals.contains(signal)) {
        match judge_signal(signal, reports, counts) {
            Ok(None) => {}
            Ok(Some(found)) => verdict.signals.push(found),
            Err(missing) => {
                verdict.missing_information = Some(format!("{signal}: {missing}"));
                return verdict;
            }
        }
    }
    if counts.untracked_items > 0 {
        let text = format!("the backend could not keep track of {} items", counts.untracked_items);
        verdict.missing_information = Some(text);
        return verdict;
    }
    verdict.outcome = outcome(&verdict.signals);
    verdict
}

fn outcome(signals: &[SignalVerdict]) -> Outcome {
    let any = |figure: fn(&SignalVerdict) -> u64| signals.iter().any(|signal| figure(signal) > 0);
    if any(|signal| signal.lost_items) {
        Outcome::Lossy
    } else if any(|signal| signal.foreign_items) {
        Outcome::Foreign
    } else if !any(|signal| signal.acked_items) {
        Outcome::Inconclusive
    } else if any(|signal| signal.duplicate_items) {
        Outcome::Duplicated
    } else {
        Outcome::Exact
    }
}

/// Why a signal cannot be judged.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("the list of what worker {worker} of run {run} received is cut off or missing; ask for detail=workers")]
    Received { run: RunId, worker: WorkerId },
    #[error(transparent)]
    Ranges(#[from] RangesError),
}

/// What one worker sent, put together from all reports.
#[derive(Default)]
struct Sent {
    acked: SequenceSet,
    sent_items: u64,
}

fn judge_signal(signal: Signal, reports: &[SendReport], counts: &Counts) -> Result<Option<SignalVerdict>, Missing> {
    let sent = sent(signal, reports)?;
    if sent.is_empty() {
        return Ok(None);
    }
    let runs: BTreeSet<RunId> = sent.keys().map(|(run, _)| *run).collect();
    let mut received = BTreeMap::new();
    let mut found = SignalVerdict {
        signal,
        acked_items: sent.values().map(|sent| sent.acked.len()).sum(),
        received_items: 0,
        lost_items: 0,
        duplicate_items: 0,
        unacknowledged_items: 0,
        foreign_items: 0,
        out_of_order_items: 0,
        lost_examples: Vec::new(),
    };
    for counts in counts.runs.iter().filter(|counts| counts.signal == signal && runs.contains(&counts.run_id)) {
        found.received_items += counts.unique_items;
        found.duplicate_items += counts.duplicate_items;
        found.out_of_order_items += counts.out_of_order_items;
        let listed: u64 = counts.workers.iter().map(|worker| worker.received.len()).sum();
        let cut = counts.workers.iter().find(|worker| !worker.received_is_complete).map(|worker| worker.worker_id);
        if cut.is_some() || listed != counts.unique_items {
            return Err(Missing::Received { run: counts.run_id, worker: cut.unwrap_or_default() });
        }
        for worker in &counts.workers {
            received.insert((counts.run_id, worker.worker_id), SequenceSet::try_from(&worker.received)?);
        }
    }
    let nothing = SequenceSet::new();
    for (&(run_id, worker_id), sent) in &sent {
        let received = received.get(&(run_id, worker_id)).unwrap_or(&nothing);
        found.compare(run_id, worker_id, sent, received);
    }
    let of_unknown_workers = received.iter().filter(|(worker, _)| !sent.contains_key(worker));
    found.foreign_items += of_unknown_workers.map(|(_, received)| received.len()).sum::<u64>();
    Ok(Some(found))
}

fn sent(signal: Signal, reports: &[SendReport]) -> Result<BTreeMap<(RunId, WorkerId), Sent>, RangesError> {
    let mut all: BTreeMap<_, Sent> = BTreeMap::new();
    for report in reports {
        for worker in report.workers.iter().filter(|worker| worker.signal == signal) {
            let sent = all.entry((report.run_id, worker.worker_id)).or_default();
            // Checked as a set, so that a report that is no set of sequence numbers is found out.
            for (first, last) in SequenceSet::try_from(&worker.acked)?.ranges(usize::MAX).0 {
                sent.acked.insert_range(first..=last);
            }
            sent.sent_items = sent.sent_items.max(worker.sent_items);
        }
    }
    Ok(all)
}

impl SignalVerdict {
    fn compare(&mut self, run_id: RunId, worker_id: WorkerId, sent: &Sent, received: &SequenceSet) {
        let Ranges(acked) = sent.acked.ranges(usize::MAX);
        let mut arrived_acked = 0;
        for (first, last) in acked {
            let arrived = received.count_in(first..=last);
            arrived_acked += arrived;
            let lost = last - first + 1 - arrived;
            self.lost_items += lost;
            if lost > 0 && self.lost_examples.len() < EXAMPLES_MAX {
                let room = EXAMPLES_MAX - self.lost_examples.len();
                let absent = received.absent_in(first..=last, room);
                let examples = absent.into_iter().map(|(first, last)| LostRange { run_id, worker_id, first, last });
                self.lost_examples.extend(examples);
            }
        }
        let arrived_sent = received.count_in(1..=sent.sent_items);
        self.unacknowledged_items += arrived_sent.saturating_sub(arrived_acked);
        self.foreign_items += received.len() - arrived_sent;
    }
}

/// One sentence.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |figure: fn(&SignalVerdict) -> u64| self.signals.iter().map(figure).sum::<u64>();
        let acked = sum(|signal| signal.acked_items);
        let duplicates = sum(|signal| signal.duplicate_items);
        write!(f, "{}: ", self.backend)?;
        match self.outcome {
            Outcome::Exact => write!(f, "all {acked} acknowledged items arrived, none twice"),
            Outcome::Duplicated => {
                write!(f, "all {acked} acknowledged items arrived, {duplicates} more arrived as duplicates")
            }
            Outcome::Lossy => {
                let lost = sum(|signal| signal.lost_items);
                write!(f, "{lost} of {acked} acknowledged items are lost, {duplicates} arrived as duplicates")?;
                match self.signals.iter().find_map(|signal| Some((signal.signal, signal.lost_examples.first()?))) {
                    Some((signal, LostRange { run_id, worker_id, first, last })) => {
                        write!(f, "; such as {signal} {first} to {last} of worker {worker_id} in run {run_id}")
                    }
                    None => Ok(()),
                }
            }
            Outcome::Foreign => {
                write!(f, "{} items arrived that were never sent", sum(|signal| signal.foreign_items))
            }
            Outcome::Inconclusive => {
                let missing = self.missing_information.as_deref().unwrap_or("nothing was acknowledged");
                write!(f, "inconclusive, {missing}")
            }
        }
    }
}

/// Whether two backends got the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// The signal.
    #[serde(with = "signal_name")]
    pub signal: Signal,
    /// Different items that both got.
    pub common_items: u64,
    /// Different items that only the first got.
    pub only_first_items: u64,
    /// Different items that only the second got.
    pub only_second_items: u64,
    /// Why nothing can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_information: Option<String>,
}

impl Agreement {
    /// Whether both got the same, and something at all.
    pub fn is_equal(&self) -> bool {
        self.missing_information.is_none()
            && self.common_items > 0
            && self.only_first_items == 0
            && self.only_second_items == 0
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Agreement { signal, common_items, only_first_items, only_second_items, missing_information } = self;
        match missing_information {
            Some(missing) => write!(f, "{signal}: inconclusive, {missing}"),
            None if self.is_equal() => write!(f, "{signal}: both got the same {common_items} items"),
            None => write!(
                f,
                "{signal}: both got {common_items} items, only the first got {only_first_items}, only the second \
                 {only_second_items}"
            ),
        }
    }
}

/// Compares what two backends got of one signal, item by item, whoever sent it.
pub fn agreement(signal: Signal, first: &Counts, second: &Counts) -> Agreement {
    let mut found =
        Agreement { signal, common_items: 0, only_first_items: 0, only_second_items: 0, missing_information: None };
    let (first, second) = match (received(signal, first), received(signal, second)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(missing), _) | (_, Err(missing)) => {
            found.missing_information = Some(missing.to_string());
            return found;
        }
    };
    let workers: BTreeSet<_> = first.keys().chain(second.keys()).collect();
    let nothing = SequenceSet::new();
    for worker in workers {
        let (one, other) = (first.get(worker).unwrap_or(&nothing), second.get(worker).unwrap_or(&nothing));
        let Ranges(ranges) = one.ranges(usize::MAX);
        let common: u64 = ranges.into_iter().map(|(from, to)| other.count_in(from..=to)).sum();
        found.common_items += common;
        found.only_first_items += one.len() - common;
        found.only_second_items += other.len() - common;
    }
    found
}

fn received(signal: Signal, counts: &Counts) -> Result<BTreeMap<(RunId, WorkerId), SequenceSet>, Missing> {
    let mut all = BTreeMap::new();
    for run in counts.runs.iter().filter(|run| run.signal == signal) {
        for worker in &run.workers {
            if !worker.received_is_complete {
                return Err(Missing::Received { run: run.run_id, worker: worker.worker_id });
            }
            all.insert((run.run_id, worker.worker_id), SequenceSet::try_from(&worker.received)?);
        }
        if run.workers.is_empty() {
            return Err(Missing::Received { run: run.run_id, worker: WorkerId::default() });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::{RunCounts, WorkerCounts};
    use crate::send::WorkerSent;

    const RUN: RunId = RunId(9);

    fn report(acked: &[(u64, u64)], sent_items: u64) -> SendReport {
        let acked = Ranges(acked.to_vec());
        let worker = WorkerSent { worker_id: WorkerId(0), signal: Signal::Logs, sent_items, acked };
        SendReport { run_id: RUN, workers: vec![worker], ..SendReport::default() }
    }

    fn counts(received: &[(u64, u64)], duplicate_items: u64) -> Counts {
        let received = Ranges(received.to_vec());
        let unique_items = received.len();
        let worker = WorkerCounts {
            worker_id: WorkerId(0),
            items: unique_items + duplicate_items,
            unique_items,
            duplicate_items,
            out_of_order_items: 0,
            received,
            received_is_complete: true,
        };
        let run = RunCounts {
            run_id: RUN,
            signal: Signal::Logs,
            requests: 1,
            items: unique_items + duplicate_items,
            unique_items,
            duplicate_items,
            out_of_order_items: 0,
            first_unix_ms: 0,
            last_unix_ms: 0,
            workers: vec![worker],
        };
        Counts { runs: vec![run], ..Counts::default() }
    }

    fn check(report: &SendReport, counts: &Counts, outcome: Outcome, sentence: &str) {
        let verdict = judge("b", &[Signal::Logs], std::slice::from_ref(report), counts);
        assert_eq!(verdict.to_string(), format!("b: {sentence}"));
        assert_eq!(verdict.outcome, outcome);
        let json = serde_json::to_string(&verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
    }

    #[test]
    fn what_was_acknowledged_and_arrived_once_is_exact() {
        let sentence = "all 100 acknowledged items arrived, none twice";
        check(&report(&[(1, 100)], 100), &counts(&[(1, 100)], 0), Outcome::Exact, sentence);
        // Without an acknowledgement it may arrive or not.
        check(&report(&[(1, 100)], 120), &counts(&[(1, 110)], 0), Outcome::Exact, sentence);
    }

    #[test]
    fn duplicates_are_told() {
        let sentence = "all 100 acknowledged items arrived, 7 more arrived as duplicates";
        check(&report(&[(1, 100)], 100), &counts(&[(1, 100)], 7), Outcome::Duplicated, sentence);
    }

    #[test]
    fn losses_are_told_with_an_example() {
        let sentence = "2 of 90 acknowledged items are lost, 1 arrived as duplicates; such as logs 49 to 50 of worker 0 in \
                        run 9";
        check(&report(&[(1, 50), (61, 100)], 100), &counts(&[(1, 48), (61, 100)], 1), Outcome::Lossy, sentence);
        let nothing = "100 of 100 acknowledged items are lost, 0 arrived as duplicates; such as logs 1 to 100 of worker 0 \
                       in run 9";
        check(&report(&[(1, 100)], 100), &Counts::default(), Outcome::Lossy, nothing);
    }

    #[test]
    fn what_was_never_sent_is_foreign() {
        let sentence = "1 items arrived that were never sent";
        check(&report(&[(1, 100)], 100), &counts(&[(1, 101)], 0), Outcome::Foreign, sentence);
    }

    #[test]
    fn a_report_that_does_not_say_enough_is_inconclusive() {
        let mut totals = counts(&[(1, 100)], 0);
        totals.runs[0].workers.clear();
        let sentence = "inconclusive, logs: the list of what worker 0 of run 9 received is cut off or missing; ask for \
                        detail=workers";
        check(&report(&[(1, 100)], 100), &totals, Outcome::Inconclusive, sentence);
        let untracked = Counts { untracked_items: 3, ..counts(&[(1, 100)], 0) };
        let sentence = "inconclusive, the backend could not keep track of 3 items";
        check(&report(&[(1, 100)], 100), &untracked, Outcome::Inconclusive, sentence);
        let sentence = "inconclusive, logs: [5,1] is no range of sequence numbers";
        check(&report(&[(5, 1)], 100), &counts(&[], 0), Outcome::Inconclusive, sentence);
    }

    #[test]
    fn other_signals_and_runs_are_left_alone() {
        let verdict = judge("b", &[Signal::Traces], &[report(&[(1, 100)], 100)], &counts(&[], 0));
        assert_eq!((verdict.outcome, verdict.signals.len()), (Outcome::Inconclusive, 0));
        let mut other = counts(&[(1, 100)], 0);
        other.runs[0].run_id = RunId(1);
        let verdict = judge("b", &Signal::ALL, &[report(&[(1, 100)], 100)], &other);
        assert_eq!(verdict.signals[0].lost_items, 100);
    }

    #[test]
    fn two_backends_agree_item_by_item() {
        let found = agreement(Signal::Logs, &counts(&[(1, 100)], 0), &counts(&[(1, 100)], 3));
        assert!(found.is_equal());
        assert_eq!(found.to_string(), "logs: both got the same 100 items");
        let found = agreement(Signal::Logs, &counts(&[(1, 100)], 0), &counts(&[(51, 110)], 0));
        assert_eq!((found.common_items, found.only_first_items, found.only_second_items), (50, 50, 10));
        assert!(!agreement(Signal::Traces, &counts(&[(1, 1)], 0), &counts(&[(1, 1)], 0)).is_equal());
    }
}
