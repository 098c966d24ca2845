//! What a run has sent, as a report.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use otlp::Signal;
use serde::{Deserialize, Serialize};

use super::courier::shown_endpoint;
use super::{Destination, WorkerBook};
use crate::identity::{RunId, WorkerId};
use crate::latency::{Latencies, LatencyQuantiles};
use crate::sequences::Ranges;
use crate::signal_name;

/// What was sent, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SendReport {
    /// The run.
    pub run_id: RunId,
    /// `otlp-grpc`, `otlp-http` or `otlp-http-json`; `scrape`, if it was fetched.
    pub protocol: String,
    /// Where it went, or was fetched, without secrets.
    pub endpoint: String,
    /// How it was compressed; `identity` for not at all.
    pub compression: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// From the start to the last answer.
    pub duration_ms: u64,
    /// Items that were sent at least once.
    pub sent_items: u64,
    /// Items of requests that were acknowledged whole.
    pub acked_items: u64,
    /// Items that were rejected for good: by a permanent refusal or a partial success.
    pub rejected_items: u64,
    /// Items of which nobody knows whether they arrived: no answer until the end, or in one request with rejected ones.
    pub failed_items: u64,
    /// Items that were due by the rate while all workers were waiting, and were never made.
    pub skipped_items: u64,
    /// Acknowledged items a second, from the start to the last answer.
    pub acked_items_per_s: f64,
    /// Requests.
    pub requests: u64,
    /// Attempts beyond the first of each request.
    pub retries: u64,
    /// The size of the requests before compression.
    pub bytes: u64,
    /// The size of all attempts as they were sent.
    pub wire_bytes: u64,
    /// Answers other than success, by cause.
    pub refusals: Vec<RefusalCount>,
    /// From the first attempt of a request to its acknowledgement.
    pub latency: LatencyQuantiles,
    /// The same for each signal.
    pub signals: Vec<SignalSent>,
    /// What each worker sent of each signal.
    pub workers: Vec<WorkerSent>,
}

/// Answers other than success that had one cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalCount {
    /// Such as `UNAVAILABLE`, `HTTP 503` or `not reachable`.
    pub cause: String,
    /// How many attempts.
    pub attempts: u64,
    /// What the first one of a worker said.
    pub example: String,
}

/// What was sent of one signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalSent {
    /// The signal.
    #[serde(with = "signal_name")]
    pub signal: Signal,
    /// Items that were sent at least once.
    pub sent_items: u64,
    /// Items of requests that were acknowledged whole.
    pub acked_items: u64,
    /// Items that were rejected for good.
    pub rejected_items: u64,
    /// Items of which nobody knows whether they arrived.
    pub failed_items: u64,
    /// Requests.
    pub requests: u64,
    /// Attempts beyond the first of each request.
    pub retries: u64,
    /// From the first attempt of a request to its acknowledgement.
    pub latency: LatencyQuantiles,
}

/// What one worker sent of one signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSent {
    /// The worker.
    pub worker_id: WorkerId,
    /// The signal.
    #[serde(with = "signal_name")]
    pub signal: Signal,
    /// The sequence numbers from 1 to this were sent.
    pub sent_items: u64,
    /// The sequence numbers that were acknowledged.
    pub acked: Ranges,
}

/// What a report is made from.
pub(crate) struct ReportInput<'a> {
    pub(crate) run_id: RunId,
    pub(crate) destination: &'a Destination,
    pub(crate) started_unix_ms: u64,
    pub(crate) duration: Duration,
    pub(crate) skipped_items: u64,
    pub(crate) workers: Vec<WorkerBook>,
}

/// What one target has exposed.
pub(crate) struct ScrapedPages {
    pub(crate) worker: WorkerId,
    pub(crate) pages: u64,
    pub(crate) items_per_page: u64,
}

impl SendReport {
    /// The report on targets that were scraped, in the terms of one on requests.
    pub(crate) fn of_scrapes(
        run_id: RunId,
        endpoint: String,
        started_unix_ms: u64,
        duration: Duration,
        targets: impl Iterator<Item = ScrapedPages>,
    ) -> Self {
        let mut sent = SignalSent::nothing(Signal::Metrics);
        let mut workers = Vec::new();
        for ScrapedPages { worker, pages, items_per_page } in targets {
            let sent_items = pages * items_per_page;
            let acked_items = pages.saturating_sub(1) * items_per_page;
            sent.requests += pages;
            sent.sent_items += sent_items;
            sent.acked_items += acked_items;
            sent.failed_items += sent_items - acked_items;
            let acked = if acked_items > 0 { vec![(1, acked_items)] } else { Vec::new() };
            workers.push(WorkerSent { worker_id: worker, signal: Signal::Metrics, sent_items, acked: Ranges(acked) });
        }
        let mut report = SendReport {
            run_id,
            protocol: "scrape".to_owned(),
            endpoint,
            compression: "identity".to_owned(),
            started_unix_ms,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            workers,
            ..SendReport::default()
        };
        report.add(&sent);
        report.acked_items_per_s = report.acked_items as f64 / duration.as_secs_f64().max(0.001);
        report.signals.push(sent);
        report
    }

    pub(crate) fn new(input: ReportInput<'_>) -> Self {
        let ReportInput { run_id, destination, started_unix_ms, duration, skipped_items, workers } = input;
        let mut latencies = Latencies::default();
        let mut refusals = BTreeMap::new();
        let mut report = SendReport {
            run_id,
            protocol: destination.protocol.name().to_owned(),
            endpoint: shown_endpoint(destination),
            compression: destination.compression.name().to_owned(),
            started_unix_ms,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            skipped_items,
            ..SendReport::default()
        };
        for signal in Signal::ALL {
            let of_signal: Vec<_> = workers.iter().filter(|worker| worker.signal == signal).collect();
            if of_signal.is_empty() {
                continue;
            }
            let (sent, of_latency) = signal_sent(signal, &of_signal);
            latencies.merge(&of_latency);
            report.add(&sent);
            report.signals.push(sent);
        }
        for worker in &workers {
            report.bytes += worker.book.bytes;
            report.wire_bytes += worker.book.wire_bytes;
            for (cause, (attempts, example)) in &worker.book.refusals {
                let count = refusals.entry(cause).or_insert_with(|| RefusalCount {
                    cause: cause.clone(),
                    attempts: 0,
                    example: example.clone(),
                });
                count.attempts += attempts;
            }
        }
        report.refusals = refusals.into_values().collect();
        report.latency = latencies.quantiles();
        report.acked_items_per_s = report.acked_items as f64 / duration.as_secs_f64().max(0.001);
        report.workers = workers.iter().map(WorkerBook::sent).collect();
        report.workers.sort_by_key(|worker| (worker.worker_id, worker.signal));
        report
    }

    fn add(&mut self, sent: &SignalSent) {
        self.sent_items += sent.sent_items;
        self.acked_items += sent.acked_items;
        self.rejected_items += sent.rejected_items;
        self.failed_items += sent.failed_items;
        self.requests += sent.requests;
        self.retries += sent.retries;
    }
}

impl SignalSent {
    fn nothing(signal: Signal) -> Self {
        SignalSent {
            signal,
            sent_items: 0,
            acked_items: 0,
            rejected_items: 0,
            failed_items: 0,
            requests: 0,
            retries: 0,
            latency: LatencyQuantiles::default(),
        }
    }
}

fn signal_sent(signal: Signal, workers: &[&WorkerBook]) -> (SignalSent, Latencies) {
    let mut latencies = Latencies::default();
    workers.iter().for_each(|worker| latencies.merge(&worker.book.latencies));
    let sum = |figure: fn(&WorkerBook) -> u64| workers.iter().map(|worker| figure(worker)).sum();
    let sent = SignalSent {
        signal,
        sent_items: sum(|worker| worker.offered_items),
        acked_items: sum(|worker| worker.acked.len()),
        rejected_items: sum(|worker| worker.rejected_items),
        failed_items: sum(|worker| worker.failed_items),
        requests: sum(|worker| worker.book.requests),
        retries: sum(|worker| worker.book.attempts - worker.book.requests),
        latency: latencies.quantiles(),
    };
    (sent, latencies)
}

impl WorkerBook {
    fn sent(&self) -> WorkerSent {
        WorkerSent {
            worker_id: self.worker,
            signal: self.signal,
            sent_items: self.offered_items,
            acked: self.acked.ranges(usize::MAX),
        }
    }
}

/// A few lines for people.
impl fmt::Display for SendReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration_ms as f64 / 1000.0;
        writeln!(
            f,
            "run {}: sent {} items in {} requests to {} by {} in {seconds:.1} s",
            self.run_id, self.sent_items, self.requests, self.endpoint, self.protocol
        )?;
        writeln!(
            f,
            "acknowledged {} ({:.0}/s), rejected {}, unknown {}, skipped {}; {} retries",
            self.acked_items,
            self.acked_items_per_s,
            self.rejected_items,
            self.failed_items,
            self.skipped_items,
            self.retries
        )?;
        let LatencyQuantiles { p50_ms, p90_ms, p99_ms, max_ms, .. } = self.latency;
        writeln!(f, "latency p50 {p50_ms:.2} ms, p90 {p90_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.2} ms")?;
        for RefusalCount { cause, attempts, example } in &self.refusals {
            writeln!(f, "{cause}: {attempts} attempts, such as: {example}")?;
        }
        Ok(())
    }
}
