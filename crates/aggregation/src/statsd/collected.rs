//! What a shard hands over to the store.

use std::sync::Arc;

use super::cell::Cell;
use super::event::{Event, ServiceCheck};
use super::series::Series;

/// What a shard added up since it was last asked, for [`Store::merge`](super::Store::merge). Merged once, it counts
/// once; dropped, it is lost.
#[derive(Debug)]
#[must_use = "what is not merged is lost"]
pub struct Collected {
    pub(super) updates: Vec<Update>,
    pub(super) timed: Vec<TimedPoint>,
    pub(super) events: Vec<Event>,
    pub(super) checks: Vec<ServiceCheck>,
}

/// What came for one series.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) series: Arc<Series>,
    pub(super) cell: Cell,
    pub(super) samples: u64,
    pub(super) last_ns: u64,
}

/// A value that brought its own time.
#[derive(Debug)]
pub(super) struct TimedPoint {
    pub(super) series: Arc<Series>,
    pub(super) time_ns: u64,
    pub(super) cell: Cell,
}

impl Collected {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.timed.is_empty() && self.events.is_empty() && self.checks.is_empty()
    }
}
