//! The ledger as JSON. Names carry their units, and fields are only ever added.

use std::collections::BTreeMap;

use pipeline::{DiskStats, Ledger, Line, Part, Place, Seen, Total, TotalsGroup, Unit};
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
    /// What the storage of the journal does; none in memory.
    pub journal_disk: Option<DiskReport>,
    /// Why the storage refuses new data now.
    pub journal_trouble: Option<String>,
    /// One line for each pipeline and exporter, as of one moment.
    pub lines: Vec<LineReport>,
    /// The lines' parts by service, and by metric where the configuration asks for that. They are taken moments later.
    pub parts: Vec<PartReport>,
    /// What came to sockets before it was accepted, since the process started.
    pub arrivals: Vec<ArrivalReport>,
    /// What the metrics of `ledger.totals` add up to at each receiver, since the process started.
    pub totals: Vec<TotalsReport>,
}

/// Metrics that measure the same.
#[derive(Clone, Debug, Serialize)]
pub struct TotalsReport {
    /// Their names.
    pub metrics: Vec<String>,
    /// Whether all totals are the same; none while there are not two to compare.
    pub agree: Option<bool>,
    /// One for each receiver and name.
    pub totals: Vec<TotalReport>,
}

/// What one metric of one receiver adds up to.
#[derive(Clone, Debug, Serialize)]
pub struct TotalReport {
    /// The receiver's id.
    pub receiver: String,
    /// The metric's name.
    pub metric: String,
    /// The sum of all increases, in the metric's own unit.
    pub total: f64,
    /// Points that were taken into account.
    pub points: u64,
    /// Points of series beyond the bound, which are missing in the total.
    pub left_out_points: u64,
}

/// What one socket of a receiver saw. Over UDP nobody else would tell of a loss.
#[derive(Clone, Debug, Serialize)]
pub struct ArrivalReport {
    /// The receiver's id.
    pub receiver: String,
    /// The transport, such as `udp`.
    pub transport: String,
    /// The socket's address.
    pub socket: String,
    /// `datagrams`, `lines` or `messages`.
    pub unit: &'static str,
    /// What reached the receiver.
    pub received: u64,
    /// What did not go on, by cause. `kernel_drop` never reached the receiver and is not among the received.
    pub lost: BTreeMap<&'static str, u64>,
}

/// A journal on disk.
#[derive(Clone, Debug, Serialize)]
pub struct DiskReport {
    /// What it takes of the disk, in bytes.
    pub size_bytes: u64,
    /// The bound on it.
    pub size_bytes_max: u64,
    /// Files.
    pub segments: u64,
    /// Writes and syncs that failed.
    pub errors: u64,
    /// Records that could not be read, once for each exporter that lost them.
    pub damaged_records: u64,
    /// Items that were under way when the last process ended: they were sent again.
    pub maybe_twice_items: u64,
}

/// A part of a line, in items.
#[derive(Clone, Debug, Serialize)]
pub struct PartReport {
    /// The pipeline's id.
    pub pipeline: String,
    /// The exporter's or connector's id.
    pub exporter: String,
    /// `service.name`, `metric.name`, or `other` for what came after there were too many names.
    pub dimension: String,
    /// Whose it is.
    pub name: String,
    /// Items that the journal took.
    pub accepted_items: u64,
    /// Items that the backend confirmed.
    pub delivered_items: u64,
    /// Items refused for good.
    pub rejected_items: u64,
    /// Items given up.
    pub dropped_items: u64,
    /// Items of requests of which the backend took a part.
    pub partly_items: u64,
    /// Items that wait or are under way.
    pub pending_items: u64,
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
    /// Whether the configuration still has the exporter.
    pub is_configured: bool,
}

impl LedgerReport {
    /// The ledger as it stands now.
    pub fn take(ledger: &Ledger) -> LedgerReport {
        let (journal_bytes, journal_bytes_max) = ledger.retained_bytes();
        let lines: Vec<LineReport> = ledger.lines().into_iter().map(LineReport::from).collect();
        let balanced = lines.iter().all(|line| line.balanced);
        LedgerReport {
            balanced,
            journal_bytes,
            journal_bytes_max,
            journal_disk: ledger.disk().map(DiskReport::from),
            journal_trouble: ledger.trouble(),
            lines,
            parts: ledger.parts().into_iter().map(PartReport::from).collect(),
            arrivals: ledger.arrivals().all().into_iter().map(ArrivalReport::from).collect(),
            totals: ledger.totals().into_iter().map(TotalsReport::from).collect(),
        }
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
            is_configured: line.is_configured,
        }
    }
}

impl From<(Place, Unit, Seen)> for ArrivalReport {
    fn from((place, unit, seen): (Place, Unit, Seen)) -> Self {
        ArrivalReport {
            receiver: place.receiver,
            transport: place.transport,
            socket: place.socket,
            unit: unit.name(),
            received: seen.received,
            lost: seen.lost,
        }
    }
}

impl From<TotalsGroup> for TotalsReport {
    fn from(group: TotalsGroup) -> Self {
        TotalsReport {
            agree: group.agree(),
            metrics: group.metrics,
            totals: group.totals.into_iter().map(TotalReport::from).collect(),
        }
    }
}

impl From<Total> for TotalReport {
    fn from(total: Total) -> Self {
        let Total { receiver, metric, total, points, left_out_points } = total;
        TotalReport { receiver, metric, total, points, left_out_points }
    }
}

impl From<DiskStats> for DiskReport {
    fn from(stats: DiskStats) -> Self {
        DiskReport {
            size_bytes: stats.size_bytes,
            size_bytes_max: stats.size_bytes_max,
            segments: stats.segments,
            errors: stats.errors,
            damaged_records: stats.damaged_records,
            maybe_twice_items: stats.maybe_twice_items,
        }
    }
}

impl From<Part> for PartReport {
    fn from(part: Part) -> Self {
        PartReport {
            pipeline: part.pipeline,
            exporter: part.exporter,
            dimension: part.dimension,
            name: part.name,
            accepted_items: part.accepted,
            delivered_items: part.delivered,
            rejected_items: part.rejected,
            dropped_items: part.dropped,
            partly_items: part.partly,
            pending_items: part.pending,
        }
    }
}
