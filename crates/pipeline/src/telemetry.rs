//! The process's own metrics: the Collector's names where it has them, `crossfade_*` beyond.

use component::metrics::{Description, Family, Observations};
use component::{Metrics, clock};
use journal::disk::DiskStats;
use otlp::Signal;

use crate::ledger::Ledger;

/// Every metric that the pipeline itself raises.
pub(crate) mod names {
    use super::{Description, Signal};

    macro_rules! by_signal {
        ($(#[$meta:meta])* $name:ident, $before:literal, $make:ident, $help:literal) => {
            $(#[$meta])*
            pub(crate) const fn $name(signal: Signal) -> Description {
                match signal {
                    Signal::Traces => Description::$make(concat!($before, "_spans"), $help),
                    Signal::Metrics => Description::$make(concat!($before, "_metric_points"), $help),
                    Signal::Logs => Description::$make(concat!($before, "_log_records"), $help),
                }
            }
        };
    }

    by_signal!(accepted, "otelcol_receiver_accepted", counter, "Items that every pipeline of the receiver took.");
    by_signal!(refused, "otelcol_receiver_refused", counter, "Items that were refused; the sender was told so.");
    by_signal!(sent, "otelcol_exporter_sent", counter, "Items that the backend confirmed.");
    by_signal!(
        send_failed,
        "otelcol_exporter_send_failed",
        counter,
        "Items that were rejected for good or given up; the ledger has the causes."
    );
    by_signal!(
        enqueue_failed,
        "otelcol_exporter_enqueue_failed",
        counter,
        "Items that left the journal unread because it was full."
    );

    pub(crate) const QUEUE_SIZE: Description =
        Description::gauge("otelcol_exporter_queue_size", "Requests that wait or are under way.");
    pub(crate) const QUEUE_CAPACITY: Description =
        Description::gauge("otelcol_exporter_queue_capacity", "Bytes that the journal may hold, for all exporters.");
    pub(crate) const PROCESSOR_INCOMING: Description =
        Description::counter("otelcol_processor_incoming_items", "Items that the processor got.");
    pub(crate) const PROCESSOR_OUTGOING: Description =
        Description::counter("otelcol_processor_outgoing_items", "Items that the processor passed on.");
    pub(crate) const UPTIME: Description =
        Description::counter("otelcol_process_uptime", "Seconds since the process started.");
    pub(crate) const CPU: Description =
        Description::counter("otelcol_process_cpu_seconds", "CPU time of the process, user and system, in seconds.");
    pub(crate) const RSS: Description =
        Description::gauge("otelcol_process_memory_rss", "Resident memory of the process, in bytes.");

    pub(crate) const FILTERED: Description =
        Description::counter("crossfade_pipeline_filtered_items", "Items that processors took out.");
    pub(crate) const RETRIES: Description =
        Description::counter("crossfade_exporter_retries", "Attempts that failed and were repeated.");
    pub(crate) const REPLAYED: Description = Description::counter(
        "crossfade_replayed_items",
        "Items that replays sent again, by what became of them; they are no part of the ledger's lines.",
    );
    pub(crate) const CONNECTOR_FORWARDED: Description =
        Description::counter("crossfade_connector_forwarded_items", "Items that the next pipelines took.");
    pub(crate) const CONNECTOR_REFUSED: Description =
        Description::counter("crossfade_connector_refused_items", "Items that the next pipelines refused for now.");
    pub(crate) const LEDGER: Description = Description::gauge(
        "crossfade_ledger_items",
        "Items of a pipeline's exporter by what became of them: accepted = delivered + rejected + dropped + pending.",
    );
    pub(crate) const PARTS: Description = Description::gauge(
        "crossfade_ledger_part_items",
        "The items of one service, or one metric, by what became of them; `ledger.by` says what is told apart.",
    );
    pub(crate) const BALANCED: Description =
        Description::gauge("crossfade_ledger_balanced", "1 where every accepted item is accounted for, 0 where not.");
    pub(crate) const LAG_BYTES: Description =
        Description::gauge("crossfade_exporter_lag_bytes", "Payload that the exporter has not settled.");
    pub(crate) const LAG_SECONDS: Description = Description::gauge(
        "crossfade_exporter_lag_seconds",
        "Age of the oldest record that the exporter has not settled.",
    );
    pub(crate) const JOURNAL_BYTES: Description =
        Description::gauge("crossfade_journal_bytes", "Memory that the journal holds.");
    pub(crate) const JOURNAL_DISK_BYTES: Description =
        Description::gauge("crossfade_journal_disk_bytes", "What the journal takes of the disk.");
    pub(crate) const JOURNAL_DISK_BYTES_MAX: Description =
        Description::gauge("crossfade_journal_disk_bytes_max", "The bound on it.");
    pub(crate) const JOURNAL_SEGMENTS: Description =
        Description::gauge("crossfade_journal_segments", "Files of the journal.");
    pub(crate) const JOURNAL_COMMITS: Description =
        Description::counter("crossfade_journal_commits", "Groups of appends that were written together.");
    pub(crate) const JOURNAL_WRITTEN: Description =
        Description::counter("crossfade_journal_written_bytes", "Bytes written to the journal.");
    pub(crate) const JOURNAL_ERRORS: Description =
        Description::counter("crossfade_journal_errors", "Writes and syncs of the journal that failed.");
    pub(crate) const JOURNAL_DAMAGED: Description = Description::counter(
        "crossfade_journal_damaged_records",
        "Records that could not be read, once for each exporter that lost them.",
    );
    pub(crate) const JOURNAL_REFUSING: Description = Description::gauge(
        "crossfade_journal_refusing",
        "1 while the storage cannot be written and new data is refused, 0 otherwise.",
    );
    pub(crate) const JOURNAL_MAYBE_TWICE: Description = Description::gauge(
        "crossfade_journal_maybe_twice_items",
        "Items that were under way when the last process ended: they were sent again.",
    );
    pub(crate) const JOURNAL_BYTES_MAX: Description =
        Description::gauge("crossfade_journal_bytes_max", "The bound on it.");
}

/// Puts the ledger and the process among the metrics.
pub(crate) fn observe(metrics: &Metrics, ledger: Ledger) {
    let started = clock::mono();
    metrics.observe(move |to| {
        to.put(names::UPTIME, &[], started.elapsed().as_secs_f64());
        if let Some(process) = Process::read() {
            to.put(names::CPU, &[], process.cpu_seconds);
            to.put(names::RSS, &[], process.rss_bytes);
        }
        put_ledger(to, &ledger);
        ledger.arrivals().observe(to);
    });
}

fn put_ledger(to: &mut Observations, ledger: &Ledger) {
    let (held, max) = ledger.retained_bytes();
    to.put(names::JOURNAL_BYTES, &[], held as f64);
    to.put(names::JOURNAL_BYTES_MAX, &[], max as f64);
    if let Some(disk) = ledger.disk() {
        put_disk(to, &disk);
        to.put(names::JOURNAL_REFUSING, &[], f64::from(u8::from(ledger.trouble().is_some())));
    }
    let now_unix_ns = clock::unix_ns();
    let lines = ledger.lines();
    for line in &lines {
        let labels = [("pipeline", line.pipeline.as_str()), ("exporter", line.exporter.as_str())];
        let mut put = |kind: &str, cause: &str, items: u64| {
            let labels = [labels[0], labels[1], ("state", kind), ("cause", cause)];
            let given = if cause.is_empty() { &labels[..3] } else { &labels[..] };
            to.put(names::LEDGER, given, items as f64);
        };
        put("accepted", "", line.accepted);
        put("delivered", "", line.delivered);
        put("pending", "", line.pending);
        line.rejected.iter().for_each(|(cause, items)| put("rejected", cause, *items));
        line.dropped.iter().for_each(|(reason, items)| put("dropped", reason, *items));
        to.put(names::BALANCED, &labels, f64::from(u8::from(line.balances())));
        to.put(names::LAG_BYTES, &labels, line.pending_bytes as f64);
        let oldest = line.oldest_pending_unix_ns.unwrap_or(now_unix_ns);
        to.put(names::LAG_SECONDS, &labels, now_unix_ns.saturating_sub(oldest) as f64 / 1e9);
    }
    put_parts(to, ledger);
    put_exporters(to, &lines, max);
}

/// Bounded by the labels that a stream may have.
fn put_parts(to: &mut Observations, ledger: &Ledger) {
    for part in ledger.parts() {
        let (pipeline, exporter) = (part.pipeline.as_str(), part.exporter.as_str());
        let states = [
            ("accepted", part.accepted),
            ("delivered", part.delivered),
            ("rejected", part.rejected),
            ("dropped", part.dropped),
            ("partly", part.partly),
            ("pending", part.pending),
        ];
        for (state, items) in states {
            let dimension = ("of", part.dimension.as_str());
            let labels =
                [("pipeline", pipeline), ("exporter", exporter), dimension, ("name", &part.name), ("state", state)];
            to.put(names::PARTS, &labels, items as f64);
        }
    }
}

fn put_disk(to: &mut Observations, disk: &DiskStats) {
    to.put(names::JOURNAL_DISK_BYTES, &[], disk.size_bytes as f64);
    to.put(names::JOURNAL_DISK_BYTES_MAX, &[], disk.size_bytes_max as f64);
    to.put(names::JOURNAL_SEGMENTS, &[], disk.segments as f64);
    to.put(names::JOURNAL_COMMITS, &[], disk.commits as f64);
    to.put(names::JOURNAL_WRITTEN, &[], disk.written_bytes as f64);
    to.put(names::JOURNAL_ERRORS, &[], disk.errors as f64);
    to.put(names::JOURNAL_DAMAGED, &[], disk.damaged_records as f64);
    to.put(names::JOURNAL_MAYBE_TWICE, &[], disk.maybe_twice_items as f64);
}

/// The Collector's exporter metrics: summed over the pipelines that share an exporter.
fn put_exporters(to: &mut Observations, lines: &[crate::ledger::Line], capacity_bytes: u64) {
    let mut sums = std::collections::BTreeMap::<(&str, Signal), [u64; 4]>::new();
    for line in lines {
        let sum = sums.entry((&line.exporter, line.signal)).or_default();
        let overwritten = line.dropped.get("journal_full").copied().unwrap_or(0);
        let failed = line.rejected_items() + line.dropped_items() - overwritten;
        for (sum, add) in sum.iter_mut().zip([line.delivered, failed, overwritten, line.pending_records]) {
            *sum += add;
        }
    }
    for ((exporter, signal), [sent, failed, overwritten, queued]) in sums {
        let labels = [("exporter", exporter)];
        to.put(names::sent(signal), &labels, sent as f64);
        to.put(names::send_failed(signal), &labels, failed as f64);
        to.put(names::enqueue_failed(signal), &labels, overwritten as f64);
        let labels = [("exporter", exporter), ("data_type", signal.name())];
        to.put(names::QUEUE_SIZE, &labels, queued as f64);
        to.put(names::QUEUE_CAPACITY, &labels, capacity_bytes as f64);
    }
}

/// What the kernel says of this process.
struct Process {
    cpu_seconds: f64,
    rss_bytes: f64,
}

impl Process {
    /// From `/proc/self/stat`; none where there is no such file.
    fn read() -> Option<Process> {
        /// The unit of the times, `USER_HZ`: 100 on every architecture that Linux runs on today.
        const TICKS_PER_SECOND: f64 = 100.0;
        const PAGE_BYTES: f64 = 4096.0;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
        let cpu_seconds = (number(11)? + number(12)?) / TICKS_PER_SECOND;
        Some(Process { cpu_seconds, rss_bytes: number(21)? * PAGE_BYTES })
    }
}

/// The suffix of counters' names, which the Collector has changed twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterSuffix {
    /// As the Collector up to 0.118 and from 0.152: none.
    #[default]
    None,
    /// As the Collector from 0.119 to 0.151: `_total`.
    Total,
}

/// The metrics in the Prometheus text format 0.0.4.
pub fn render(families: &[Family], suffix: CounterSuffix) -> String {
    use component::metrics::Kind;
    use std::fmt::Write as _;

    let mut text = String::new();
    for family in families {
        let (kind, suffix) = match (family.kind, suffix) {
            (Kind::Counter, CounterSuffix::Total) => ("counter", "_total"),
            (Kind::Counter, CounterSuffix::None) => ("counter", ""),
            (Kind::Gauge, _) => ("gauge", ""),
        };
        let name = format!("{}{suffix}", family.name);
        // Writing into a string does not fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
        for (labels, value) in &family.series {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
            let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{braces} {value}");
        }
    }
    text
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
