//! From journal records to what an exporter sends: records of one pipeline put together, for all its exporters alike.
//!
//! The `batch` processor works here, behind the journal, so that no acknowledgement waits for it. Exporters that read
//! at the same pace get the same group, and with it the frames that the first of them compressed. One that lags makes
//! groups of its own until it meets a group that others made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use component::{BatchLimits, clock};
use journal::{Cursor, Offset, Read, ReadLimit, Record};
use otlp::{Batch, Signal, SplitLimits};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::chain::to_batch;

/// A group is sent at this size even if it holds fewer items than it waits for, and records are put together up to it.
/// Receivers commonly refuse requests of 4 MiB and more.
pub(crate) const GROUP_BYTES_MAX: u64 = 3_800_000;

/// What waits for an exporter that wants it together: as much as a large request holds, and no wait for it.
pub(crate) const TOGETHER: BatchLimits =
    BatchLimits { items_min: 10_000, bytes_min: 0, items_max: 0, bytes_max: 0, delay_max: Duration::ZERO };

/// What the groups that exporters may still meet hold together, in bytes, for one pipeline. This is beside the journal's
/// own bound.
const RECENT_BYTES_MAX: usize = 16 << 20;

/// How the groups of one pipeline are made, and the recent ones.
pub(crate) struct Groups {
    signal: Signal,
    limits: Option<BatchLimits>,
    recent: Option<Mutex<Recent>>,
}

#[derive(Default)]
struct Recent {
    by_start: BTreeMap<Offset, Merged>,
    size_bytes: usize,
}

#[derive(Clone)]
struct Merged {
    records: usize,
    size_bytes: usize,
    batches: Arc<[Batch]>,
}

/// Records that are sent and settled together.
pub(crate) struct Group {
    pub(crate) records: Vec<Record>,
    pub(crate) batches: Arc<[Batch]>,
}

impl Group {
    pub(crate) fn items(&self) -> u64 {
        self.records.iter().map(|record| u64::from(record.items)).sum()
    }
}

/// What [`Groups::next`] finds.
pub(crate) enum Next {
    Group(Group),
    /// Records that left the journal unread.
    Lost {
        items: u64,
        cause: String,
    },
    Closed,
}

impl Groups {
    /// Groups for a pipeline with so many exporters. Without limits each record is a group.
    pub(crate) fn new(signal: Signal, limits: Option<BatchLimits>, exporters: usize) -> Groups {
        let shared = limits.is_some() && exporters > 1;
        Groups { signal, limits, recent: shared.then(Mutex::default) }
    }

    /// The next group for this cursor; waits until there is one.
    pub(crate) async fn next(&self, cursor: &mut Cursor) -> Next {
        let limit = match self.limits {
            None => ReadLimit::ONE,
            Some(limits) => match self.known(cursor.position()) {
                Some(merged) => return self.take_known(cursor, merged).await,
                None => self.wait(cursor, limits).await,
            },
        };
        match cursor.next(limit).await {
            Read::Records(records) => Next::Group(self.make(records)),
            Read::Gap { items, cause, .. } => Next::Lost { items, cause: cause.0.into_owned() },
            Read::Closed => Next::Closed,
        }
    }

    /// Waits until enough is there or the oldest has waited long enough, and says how much to read.
    async fn wait(&self, cursor: &Cursor, limits: BatchLimits) -> ReadLimit {
        loop {
            let unread = cursor.unread();
            let age = unread.oldest_unix_ns.map(|oldest| Duration::from_nanos(clock::unix_ns().saturating_sub(oldest)));
            let enough = limits.is_enough(unread.items, unread.bytes) || unread.bytes >= GROUP_BYTES_MAX;
            let left = limits.delay_max.saturating_sub(age.unwrap_or_default());
            if cursor.is_closed() || enough || (age.is_some() && left.is_zero()) {
                let before_known = self.records_before_known(cursor.position());
                let items_enough = if limits.items_min > 0 { limits.items_min } else { u64::MAX };
                let bytes_max = if limits.bytes_min > 0 { limits.bytes_min } else { GROUP_BYTES_MAX };
                return ReadLimit { records_max: before_known, items_enough, bytes_max };
            }
            match age {
                None => cursor.changed().await,
                // Whatever ended the wait, the loop looks again.
                Some(_) => drop(timeout(left, cursor.changed()).await),
            }
        }
    }

    fn known(&self, start: Offset) -> Option<Merged> {
        self.recent.as_ref()?.lock().by_start.get(&start).cloned()
    }

    /// How many records lie between here and the next group that somebody made.
    fn records_before_known(&self, start: Offset) -> usize {
        let next =
            self.recent.as_ref().and_then(|recent| recent.lock().by_start.range(start..).next().map(|(at, _)| *at));
        next.map_or(usize::MAX, |at| usize::try_from(at.0 - start.0).unwrap_or(usize::MAX).max(1))
    }

    async fn take_known(&self, cursor: &mut Cursor, merged: Merged) -> Next {
        let limit = ReadLimit { records_max: merged.records, items_enough: u64::MAX, bytes_max: u64::MAX };
        match cursor.next(limit).await {
            Read::Records(records) if records.len() == merged.records => {
                Next::Group(Group { records, batches: merged.batches })
            }
            Read::Records(records) => Next::Group(self.make(records)),
            Read::Gap { items, cause, .. } => Next::Lost { items, cause: cause.0.into_owned() },
            Read::Closed => Next::Closed,
        }
    }

    /// No request is larger than receivers commonly take, and none larger than the configuration says.
    fn split_limits(&self) -> SplitLimits {
        let (items_max, bytes_max) = self.limits.map_or((0, 0), |limits| (limits.items_max, limits.bytes_max));
        let usual = u32::try_from(GROUP_BYTES_MAX).unwrap_or(u32::MAX);
        SplitLimits { items_max, bytes_max: if bytes_max == 0 { usual } else { bytes_max } }
    }

    /// One group of these records.
    pub(crate) fn make(&self, records: Vec<Record>) -> Group {
        let batches: Vec<Batch> = records.iter().map(|record| to_batch(self.signal, record)).collect();
        let merged = match batches.len() {
            1 => batches[0].clone(),
            _ => Batch::concat(self.signal, &batches),
        };
        let limits = self.split_limits();
        let batches: Arc<[Batch]> = merged.split(limits).into();
        if let (Some(recent), Some(first)) = (&self.recent, records.first()) {
            let size_bytes = if records.len() == 1 { 0 } else { batches.iter().map(Batch::size_bytes).sum() };
            let merged = Merged { records: records.len(), size_bytes, batches: Arc::clone(&batches) };
            recent.lock().keep(first.offset, merged);
        }
        Group { records, batches }
    }
}

/// A group that nobody merged costs its entry; so many are kept.
const RECENT_GROUPS_MAX: usize = 64;

impl Recent {
    fn keep(&mut self, start: Offset, merged: Merged) {
        self.size_bytes += merged.size_bytes;
        if let Some(replaced) = self.by_start.insert(start, merged) {
            self.size_bytes -= replaced.size_bytes;
        }
        while self.size_bytes > RECENT_BYTES_MAX || self.by_start.len() > RECENT_GROUPS_MAX {
            let Some((_, oldest)) = self.by_start.pop_first() else { break };
            self.size_bytes -= oldest.size_bytes;
        }
    }
}
