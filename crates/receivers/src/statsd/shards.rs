//! Where lines are added up until the next flush.

use std::sync::Arc;

use aggregation::statsd::{Collected, Settings, Shard};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

/// The shards of a receiver. Whoever brings lines locks one for as long as it takes to add them; nobody else wants it
/// but the flush, once per interval.
pub(super) struct Shards {
    shards: Vec<Mutex<Shard>>,
    crowded: Notify,
    /// How often they were emptied.
    emptied: watch::Sender<u64>,
}

/// Whether a shard has room until the flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// Further values may be refused before the interval is over.
    Scarce,
}

impl Shards {
    pub(super) fn new(settings: &Arc<Settings>, count: usize) -> Shards {
        let shards = (0..count.max(1)).map(|_| Mutex::new(Shard::new(Arc::clone(settings)))).collect();
        Shards { shards, crowded: Notify::new(), emptied: watch::Sender::new(0) }
    }

    /// A shard, to add to it.
    pub(super) fn lock(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.shards[number % self.shards.len()].lock()
    }

    /// Calls for the flush if the shard that was added to has little room left.
    pub(super) fn look_at_room(&self, shard: &Shard) -> Room {
        if shard.is_crowded() {
            self.crowded.notify_one();
            return Room::Scarce;
        }
        Room::Enough
    }

    /// Waits until room is scarce.
    pub(super) async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// Tells when the shards are emptied next.
    pub(super) fn next_emptied(&self) -> watch::Receiver<u64> {
        self.emptied.subscribe()
    }

    /// Empties them, one after the other, so that no reader waits for more than its own.
    pub(super) fn take(&self) -> Vec<Collected> {
        let collected = self.shards.iter().map(|shard| shard.lock().take()).collect();
        self.emptied.send_modify(|times| *times += 1);
        collected
    }
}
