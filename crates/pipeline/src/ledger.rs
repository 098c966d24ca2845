//! The ledger: what became of every item, for each pipeline and exporter.

use std::collections::BTreeMap;

use journal::{Book, Journal};
use otlp::Signal;

use crate::delivery::bucket;

/// One line of the ledger, taken with all others at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The pipeline's id, such as `traces` or `metrics/new`.
    pub pipeline: String,
    /// The exporter's or connector's id.
    pub exporter: String,
    /// The kind of telemetry.
    pub signal: Signal,
    /// Items that the pipeline's journal took.
    pub accepted: u64,
    /// Items that the backend confirmed.
    pub delivered: u64,
    /// Items that the backend, or its protocol, refused for good, by cause.
    pub rejected: BTreeMap<String, u64>,
    /// Items that were given up, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Items that wait or are under way, counted from the records themselves.
    pub pending: u64,
    /// Their payload, in bytes.
    pub pending_bytes: u64,
    /// Their records.
    pub pending_records: u64,
    /// When the oldest of them was accepted, in nanoseconds since the Unix epoch.
    pub oldest_pending_unix_ns: Option<u64>,
}

impl Line {
    /// Whether `accepted = delivered + rejected + dropped + pending`.
    pub fn balances(&self) -> bool {
        self.accepted == self.delivered + self.rejected_items() + self.dropped_items() + self.pending
    }

    /// Rejected items, whatever the cause.
    pub fn rejected_items(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Dropped items, whatever the reason.
    pub fn dropped_items(&self) -> u64 {
        self.dropped.values().sum()
    }
}

/// Reads the ledger of a running process.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) journal: Journal,
    pub(crate) signals: BTreeMap<String, Signal>,
}

impl Ledger {
    /// Every line, as of one moment.
    pub fn lines(&self) -> Vec<Line> {
        let books = self.journal.books();
        let lines = books.into_iter().filter_map(|book| Some(line(*self.signals.get(&book.stream)?, book)));
        lines.collect()
    }

    /// The memory that the journal holds, in bytes, and its bound.
    pub fn retained_bytes(&self) -> (u64, u64) {
        self.journal.retained_bytes()
    }
}

fn line(signal: Signal, book: Book) -> Line {
    let mut line = Line {
        pipeline: book.stream,
        exporter: book.cursor,
        signal,
        accepted: book.appended_items,
        delivered: 0,
        rejected: BTreeMap::new(),
        dropped: BTreeMap::new(),
        pending: book.pending_items,
        pending_bytes: book.pending_bytes,
        pending_records: book.pending_records,
        oldest_pending_unix_ns: book.oldest_pending_unix_ns,
    };
    for (name, items) in book.settled {
        if let Some(cause) = name.0.strip_prefix(bucket::REJECTED) {
            *line.rejected.entry(cause.to_owned()).or_default() += items;
        } else if let Some(reason) = name.0.strip_prefix(bucket::DROPPED) {
            *line.dropped.entry(reason.to_owned()).or_default() += items;
        } else if name.0 == bucket::DELIVERED {
            line.delivered += items;
        }
        // A bucket of no known kind is left out, so that the line does not balance and says so.
    }
    line
}
