//! The ledger as JSON. Names carry their units, and fields are only ever added.

use std::collections::BTreeMap;

use pipeline::{Ledger, Line};
use serde::Serialize;

/// The answer of `GET /api/v1/ledger`.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerReport {
    /// Whether every line balances.
    pub balanced: bool,
    /// The memory that the journal holds, in bytes.
    pub journal_bytes: u64,
    /// The bound on it.
    pub journal_bytes_max: u64,
    /// One line for each pipeline and exporter, as of one moment.
    pub lines: Vec<LineReport>,
}

/// `accepted = delivered + rejected + dropped + pending`, in items.
#[derive(Clone, Debug, Serialize)]
pub struct LineReport {
    /// The pipeline's id.
    pub pipeline: String,
    /// The exporter's or connector's id.
    pub exporter: String,
    /// `traces`, `metrics` or `logs`.
    pub signal: &'static str,
    /// Whether the line balances.
    pub balanced: bool,
    /// Items that the journal took.
    pub accepted_items: u64,
    /// Items that the backend confirmed.
    pub delivered_items: u64,
    /// Items refused for good, by cause.
    pub rejected_items: BTreeMap<String, u64>,
    /// Items given up, by reason.
    pub dropped_items: BTreeMap<String, u64>,
    /// Items that wait or are under way.
    pub pending_items: u64,
    /// Their payload.
    pub pending_bytes: u64,
    /// When the oldest of them was accepted, in nanoseconds since the Unix epoch.
    pub oldest_pending_unix_ns: Option<u64>,
}

impl LedgerReport {
    /// The ledger as it stands now.
    pub fn take(ledger: &Ledger) -> LedgerReport {
        let (journal_bytes, journal_bytes_max) = ledger.retained_bytes();
        let lines: Vec<LineReport> = ledger.lines().into_iter().map(LineReport::from).collect();
        let balanced = lines.iter().all(|line| line.balanced);
        LedgerReport { balanced, journal_bytes, journal_bytes_max, lines }
    }
}

impl From<Line> for LineReport {
    fn from(line: Line) -> Self {
        LineReport {
            balanced: line.balances(),
            signal: line.signal.name(),
            pipeline: line.pipeline,
            exporter: line.exporter,
            accepted_items: line.accepted,
            delivered_items: line.delivered,
            rejected_items: line.rejected,
            dropped_items: line.dropped,
            pending_items: line.pending,
            pending_bytes: line.pending_bytes,
            oldest_pending_unix_ns: line.oldest_pending_unix_ns,
        }
    }
}
