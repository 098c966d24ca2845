//! Counts items and remembers which ones came, in bounded memory.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use otlp::Signal;

use super::counts::{AnswerCounts, Counts, Detail, RunCounts, SeriesCounts, SignalCounts, WorkerCounts};
use super::identify::{Findings, Stretch};
use super::samples::{Sample, Samples, SeriesKey};
use super::{Fault, TrackingLimits};
use crate::identity::{RunId, WorkerId};
use crate::sequences::{Ranges, SequenceSet};

/// What is known of a request beside its contents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) bytes: u64,
    pub(super) wire_bytes: u64,
    pub(super) unix_ms: u64,
}

pub(super) struct Tracker {
    limits: TrackingLimits,
    pub(super) answers: AnswerCounts,
    signals: [SignalCounts; Signal::ALL.len()],
    runs: HashMap<(RunId, Signal), RunBook, RandomState>,
    workers: HashMap<WorkerKey, WorkerBook, RandomState>,
    /// The last sample of each series of remote write.
    series: HashMap<SeriesKey, LastSample, RandomState>,
    series_counts: SeriesCounts,
    memory_bytes: usize,
    untracked_items: u64,
    /// Reused from request to request.
    touched: Vec<RunId>,
}

type WorkerKey = (RunId, Signal, WorkerId);

#[derive(Clone, Copy, Debug, Default)]
struct RunBook {
    requests: u64,
    first_unix_ms: u64,
    last_unix_ms: u64,
}

#[derive(Debug, Default)]
struct WorkerBook {
    received: SequenceSet,
    items: u64,
    out_of_order: u64,
    highest: u64,
}

#[derive(Clone, Copy, Debug)]
struct LastSample {
    timestamp_ms: i64,
    value_bits: u64,
}

/// What tells the order of items.
#[derive(Clone, Copy)]
enum Order {
    /// The sequence numbers of their worker.
    Sequence,
    /// The times of their series; as many are out of it.
    Series { out_of_order: u64 },
}

impl Tracker {
    pub(super) fn new(limits: TrackingLimits) -> Self {
        let signals = Signal::ALL.map(|signal| SignalCounts {
            signal,
            requests: 0,
            items: 0,
            unidentified_items: 0,
            staleness_markers: 0,
            bytes: 0,
            wire_bytes: 0,
        });
        Tracker {
            limits,
            answers: AnswerCounts::default(),
            signals,
            runs: HashMap::default(),
            workers: HashMap::default(),
            series: HashMap::default(),
            series_counts: SeriesCounts::default(),
            memory_bytes: 0,
            untracked_items: 0,
            touched: Vec::new(),
        }
    }

    /// Counts an OTLP request.
    pub(super) fn record(&mut self, signal: Signal, findings: &Findings, arrival: Arrival) {
        self.count_request(signal, arrival);
        self.signals[signal as usize].staleness_markers += u64::from(findings.staleness_markers);
        for stretch in &findings.stretches {
            self.count_stretch(signal, *stretch, Order::Sequence);
        }
        self.count_runs(signal, arrival);
    }

    /// Counts a remote write request.
    pub(super) fn record_samples(&mut self, found: &Samples, arrival: Arrival) {
        const SIGNAL: Signal = Signal::Metrics;
        self.count_request(SIGNAL, arrival);
        self.series_counts.invalid_label_sets += u64::from(found.invalid_label_sets);
        for sample in &found.samples {
            let out_of_order = self.count_sample(sample);
            if sample.is_staleness_marker() {
                self.signals[SIGNAL as usize].staleness_markers += 1;
            }
            let who = sample.identity.map(|identity| (identity.run, identity.worker));
            let first = sample.identity.map_or(0, |identity| identity.sequence);
            self.count_stretch(SIGNAL, Stretch { who, first, items: 1 }, Order::Series { out_of_order });
        }
        self.count_runs(SIGNAL, arrival);
    }

    fn count_request(&mut self, signal: Signal, arrival: Arrival) {
        let counts = &mut self.signals[signal as usize];
        counts.requests += 1;
        counts.bytes += arrival.bytes;
        counts.wire_bytes += arrival.wire_bytes;
    }

    fn count_stretch(&mut self, signal: Signal, stretch: Stretch, order: Order) {
        let items = u64::from(stretch.items);
        let counts = &mut self.signals[signal as usize];
        counts.items += items;
        let Some((run, worker)) = stretch.who else {
            counts.unidentified_items += items;
            return;
        };
        let has_room = self.memory_bytes < self.limits.memory_bytes_max;
        let book = match self.workers.entry((run, signal, worker)) {
            Entry::Occupied(entry) if has_room => entry.into_mut(),
            Entry::Vacant(entry) if has_room => {
                self.memory_bytes += WorkerBook::MEMORY_BYTES;
                entry.insert(WorkerBook::default())
            }
            _ => {
                self.untracked_items += items;
                return;
            }
        };
        let before = book.received.memory_bytes();
        book.count(stretch.first, items, order);
        self.memory_bytes = (self.memory_bytes + book.received.memory_bytes()).saturating_sub(before);
        if self.touched.last() != Some(&run) {
            self.touched.push(run);
        }
    }

    /// Notes that the request held items of these runs.
    fn count_runs(&mut self, signal: Signal, arrival: Arrival) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for run in self.touched.drain(..) {
            let book = self.runs.entry((run, signal)).or_default();
            if book.requests == 0 {
                book.first_unix_ms = arrival.unix_ms;
            }
            book.requests += 1;
            book.last_unix_ms = arrival.unix_ms;
        }
    }

    /// Compares a sample with the last one of its series. Returns how many are out of order: itself, or none.
    fn count_sample(&mut self, sample: &Sample) -> u64 {
        let this = LastSample { timestamp_ms: sample.timestamp_ms, value_bits: sample.value.to_bits() };
        let counts = &mut self.series_counts;
        let is_full = self.series.len() >= self.limits.series_max;
        match self.series.entry(sample.series) {
            Entry::Vacant(_) if is_full => counts.untracked_samples += 1,
            Entry::Vacant(entry) => {
                counts.series += 1;
                entry.insert(this);
            }
            Entry::Occupied(mut entry) => {
                let last = entry.get_mut();
                if this.timestamp_ms > last.timestamp_ms {
                    *last = this;
                } else if this.timestamp_ms == last.timestamp_ms && this.value_bits == last.value_bits {
                    counts.duplicate_samples += 1;
                } else {
                    counts.out_of_order_samples += 1;
                    return 1;
                }
            }
        }
        0
    }

    pub(super) fn counts(&self, detail: Detail, uptime_ms: u64, fault: Fault) -> Counts {
        let mut keys: Vec<_> = self.workers.keys().copied().collect();
        keys.sort_unstable();
        let mut runs: Vec<RunCounts> = Vec::new();
        for key in keys {
            let (run, signal, worker) = key;
            let (Some(book), Some(of_run)) = (self.workers.get(&key), self.runs.get(&(run, signal))) else { continue };
            if runs.last().is_none_or(|last| (last.run_id, last.signal) != (run, signal)) {
                runs.push(of_run.counts(run, signal));
            }
            let Some(counts) = runs.last_mut() else { continue };
            counts.items += book.items;
            counts.unique_items += book.received.len();
            counts.duplicate_items += book.items - book.received.len();
            counts.out_of_order_items += book.out_of_order;
            if detail == Detail::Workers {
                counts.workers.push(book.counts(worker));
            }
        }
        Counts {
            uptime_ms,
            fault,
            answers: self.answers,
            signals: self.signals.to_vec(),
            runs,
            series: self.series_counts,
            untracked_items: self.untracked_items,
        }
    }
}

impl RunBook {
    fn counts(&self, run_id: RunId, signal: Signal) -> RunCounts {
        RunCounts {
            run_id,
            signal,
            requests: self.requests,
            items: 0,
            unique_items: 0,
            duplicate_items: 0,
            out_of_order_items: 0,
            first_unix_ms: self.first_unix_ms,
            last_unix_ms: self.last_unix_ms,
            workers: Vec::new(),
        }
    }
}

impl WorkerBook {
    /// What an entry of the map takes, about.
    const MEMORY_BYTES: usize = 160;

    fn count(&mut self, first: u64, items: u64, order: Order) {
        let last = first + items - 1;
        let new = self.received.insert_range(first..=last);
        self.items += items;
        self.out_of_order += match order {
            // Numbers beyond the highest are new and in order; the other new ones come late.
            Order::Sequence => new - (last + 1).saturating_sub(first.max(self.highest + 1)),
            Order::Series { out_of_order } => out_of_order,
        };
        self.highest = self.highest.max(last);
    }

    fn counts(&self, worker_id: WorkerId) -> WorkerCounts {
        /// A report is read whole: this many gaps are some megabytes.
        const RANGES_MAX: usize = 200_000;
        let received: Ranges = self.received.ranges(RANGES_MAX);
        WorkerCounts {
            worker_id,
            items: self.items,
            unique_items: self.received.len(),
            duplicate_items: self.items - self.received.len(),
            out_of_order_items: self.out_of_order,
            received_is_complete: received.len() == self.received.len(),
            received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    const RUN: RunId = RunId(7);
    const WORKER: WorkerId = WorkerId(2);
    const ARRIVAL: Arrival = Arrival { bytes: 100, wire_bytes: 10, unix_ms: 5 };

    fn tracker(limits: TrackingLimits) -> Tracker {
        Tracker::new(limits)
    }

    fn record(tracker: &mut Tracker, sequences: &[u64]) {
        let mut findings = Findings::default();
        for sequence in sequences {
            findings.add(Some(Identity { run: RUN, worker: WORKER, sequence: *sequence }));
        }
        tracker.record(Signal::Logs, &findings, ARRIVAL);
    }

    fn run(tracker: &Tracker, signal: Signal) -> RunCounts {
        tracker.counts(Detail::Workers, 0, Fault::Healthy).run(RUN, signal).unwrap().clone()
    }

    fn check(requests: &[&[u64]], unique: u64, duplicates: u64, out_of_order: u64) {
        let mut tracker = tracker(TrackingLimits::default());
        for request in requests {
            record(&mut tracker, request);
        }
        let run = run(&tracker, Signal::Logs);
        let found = (run.unique_items, run.duplicate_items, run.out_of_order_items);
        assert_eq!(found, (unique, duplicates, out_of_order), "{requests:?}");
        assert_eq!(run.items, unique + duplicates);
        assert_eq!(run.requests, requests.len() as u64);
        assert_eq!(run.workers[0].received.len(), unique);
    }

    #[test]
    fn what_comes_twice_is_a_duplicate_and_what_comes_late_is_out_of_order() {
        check(&[&[1, 2, 3], &[4, 5]], 5, 0, 0);
        check(&[&[1, 2, 3], &[1, 2, 3]], 3, 3, 0);
        check(&[&[4, 5], &[1, 2, 3]], 5, 0, 3);
        check(&[&[1, 5], &[3, 4, 5, 6]], 5, 1, 2);
        check(&[&[2, 2, 1]], 2, 1, 1);
    }

    fn record_sample(tracker: &mut Tracker, series: u64, timestamp_ms: i64, value: f64) {
        let identity = Identity::of_point(&RUN.to_hex(), &WORKER.to_hex(), value);
        let sample = Sample { series: SeriesKey(series), timestamp_ms, value, identity };
        tracker.record_samples(&Samples { samples: vec![sample], invalid_label_sets: 0 }, ARRIVAL);
    }

    #[test]
    fn the_order_of_samples_is_that_of_their_series() {
        let mut tracker = tracker(TrackingLimits::default());
        for (series, timestamp_ms, value) in
            [(1, 10, 1.0), (2, 9, 3.0), (1, 11, 2.0), (1, 11, 2.0), (1, 11, 7.0), (1, 10, 1.0)]
        {
            record_sample(&mut tracker, series, timestamp_ms, value);
        }
        let counts = tracker.counts(Detail::Totals, 0, Fault::Healthy);
        let expected =
            SeriesCounts { series: 2, duplicate_samples: 1, out_of_order_samples: 2, ..SeriesCounts::default() };
        assert_eq!(counts.series, expected);
        let run = &counts.runs[0];
        assert_eq!((run.unique_items, run.duplicate_items, run.out_of_order_items), (4, 2, 2));
        assert!(run.workers.is_empty());
    }

    #[test]
    fn a_staleness_marker_is_counted_and_has_no_identity() {
        let mut tracker = tracker(TrackingLimits::default());
        record_sample(&mut tracker, 1, 10, prom::text::STALE_NAN);
        let counts = tracker.counts(Detail::Totals, 0, Fault::Healthy);
        let metrics = counts.signal(Signal::Metrics).unwrap();
        assert_eq!((metrics.items, metrics.unidentified_items, metrics.staleness_markers), (1, 1, 1));
    }

    #[test]
    fn memory_is_bounded_and_what_is_not_tracked_is_counted() {
        let mut tracker = tracker(TrackingLimits { memory_bytes_max: 64 << 10, series_max: 3 });
        for index in 0..1000 {
            record(&mut tracker, &[index * 1_000_000 + 1]);
            record_sample(&mut tracker, index, 1, -1.0);
        }
        let counts = tracker.counts(Detail::Workers, 0, Fault::Healthy);
        assert!(tracker.memory_bytes < 80 << 10, "{}", tracker.memory_bytes);
        assert_eq!(counts.runs[0].unique_items + counts.untracked_items, 1000);
        assert!(counts.untracked_items > 900);
        assert_eq!(counts.series, SeriesCounts { series: 3, untracked_samples: 997, ..SeriesCounts::default() });
    }
}
