//! The ledger: what became of every item, for each pipeline and exporter.

use std::collections::BTreeMap;
use std::sync::Arc;

use component::AllArrivals;
use journal::disk::DiskStats;
use journal::{Book, Bucket, Detail, Journal, LabelBook};
use otlp::Signal;

use crate::delivery::bucket;
use crate::totals::{Totals, TotalsGroup};

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
    /// Whether the configuration still has the exporter. One that it has no more is remembered for a while.
    pub is_configured: bool,
}

/// A part of a line: one service's or one metric's items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The pipeline's id.
    pub pipeline: String,
    /// The exporter's or connector's id.
    pub exporter: String,
    /// What the part is of, such as `service.name` or `metric.name`; `other` where there were too many to tell apart.
    pub dimension: String,
    /// Whose it is.
    pub name: String,
    /// Items that the pipeline's journal took.
    pub accepted: u64,
    /// Items that the backend confirmed.
    pub delivered: u64,
    /// Items that the backend refused for good.
    pub rejected: u64,
    /// Items that were given up.
    pub dropped: u64,
    /// Items of requests of which a backend took a part, so that nobody knows whose it refused.
    pub partly: u64,
    /// What is left: items that wait or are under way.
    pub pending: u64,
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

/// How the cursors of replays are named.
pub(crate) const REPLAY: &str = "replay ";

/// Reads the ledger of a running process.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) journal: Journal,
    pub(crate) signals: BTreeMap<String, Signal>,
    pub(crate) arrivals: AllArrivals,
    pub(crate) totals: Arc<Totals>,
}

impl Ledger {
    /// Every line, as of one moment.
    pub fn lines(&self) -> Vec<Line> {
        let books = newest(self.journal.books(Detail::Totals));
        let lines = books.into_iter().filter_map(|book| Some(line(self.signal(&book)?, book)));
        lines.collect()
    }

    /// The lines' parts by service, and by metric where the configuration asks for that.
    pub fn parts(&self) -> Vec<Part> {
        let books = newest(self.journal.books(Detail::Labels));
        let books = books.iter().filter(|book| self.signal(book).is_some());
        books.flat_map(|book| book.by_label.iter().map(|label| part(book, label))).collect()
    }

    /// Books of replays and of dead letters are no lines.
    fn signal(&self, book: &Book) -> Option<Signal> {
        self.signals.get(&book.stream).copied().filter(|_| !book.cursor.starts_with(REPLAY))
    }

    /// What the storage has done; none in memory.
    pub fn disk(&self) -> Option<DiskStats> {
        self.journal.disk_stats()
    }

    /// What came to sockets before it was accepted, and what of it was lost, since the process started.
    pub fn arrivals(&self) -> &AllArrivals {
        &self.arrivals
    }

    /// What the metrics of `ledger.totals` add up to at each receiver, since the process started.
    pub fn totals(&self) -> Vec<TotalsGroup> {
        self.totals.groups()
    }

    /// Why the storage refuses data now.
    pub fn trouble(&self) -> Option<String> {
        self.journal.trouble()
    }

    /// The memory that the journal holds, in bytes, and its bound.
    pub fn retained_bytes(&self) -> (u64, u64) {
        self.journal.retained_bytes()
    }
}

/// An exporter that came back after the journal had forgotten it has two books; the first one is history.
fn newest(books: Vec<Book>) -> Vec<Book> {
    let newest: BTreeMap<(String, String), usize> =
        books.iter().enumerate().map(|(at, book)| ((book.stream.clone(), book.cursor.clone()), at)).collect();
    let is_newest = |at: usize, book: &Book| newest[&(book.stream.clone(), book.cursor.clone())] == at;
    books.into_iter().enumerate().filter(|(at, book)| is_newest(*at, book)).map(|(_, book)| book).collect()
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
        is_configured: book.open,
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

fn part(book: &Book, label: &LabelBook) -> Part {
    let (dimension, name) = label.label.split_once('=').unwrap_or((&label.label, ""));
    let sum = |of: &dyn Fn(&Bucket) -> bool| {
        label.settled.iter().filter(|(bucket, _)| of(bucket)).map(|(_, items)| items).sum()
    };
    Part {
        pipeline: book.stream.clone(),
        exporter: book.cursor.clone(),
        dimension: dimension.to_owned(),
        name: name.to_owned(),
        accepted: label.appended_items,
        delivered: sum(&|bucket| bucket.0 == bucket::DELIVERED),
        rejected: sum(&|bucket| bucket.0.starts_with(bucket::REJECTED)),
        dropped: sum(&|bucket| bucket.0.starts_with(bucket::DROPPED)),
        partly: sum(&|bucket| *bucket == Bucket::PARTLY),
        pending: label.pending_items(),
    }
}

#[cfg(test)]
mod tests {
    use journal::Offset;

    use super::*;

    fn book(cursor: &str, appended_items: u64) -> Book {
        Book {
            stream: "logs".into(),
            cursor: cursor.into(),
            appended_items,
            settled: BTreeMap::new(),
            pending_items: 0,
            pending_records: 0,
            pending_bytes: 0,
            oldest_pending_unix_ns: None,
            position: (Offset(0), Offset(0)),
            open: true,
            by_label: Vec::new(),
        }
    }

    #[test]
    fn an_exporter_that_was_forgotten_and_came_back_has_one_line() {
        let books = newest(vec![book("a", 1), book("b", 2), book("a", 3)]);
        let shown: Vec<(&str, u64)> = books.iter().map(|book| (book.cursor.as_str(), book.appended_items)).collect();
        assert_eq!(shown, [("b", 2), ("a", 3)]);
    }
}
