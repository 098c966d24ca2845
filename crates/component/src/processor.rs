//! What changes a batch on its way.

use std::time::Duration;

use config::ComponentId;
use otlp::Batch;

use crate::intake::Refused;
use crate::metrics::Metrics;

/// Changes batches between the receiver and the journal. It holds no state that a crash could lose, and it waits for
/// nothing: the receiver's acknowledgement follows it. Whatever needs state reads the journal through a cursor.
pub trait Processor: Send + Sync + 'static {
    /// The changed batch. It may hold fewer items than it got: the difference is counted as filtered.
    ///
    /// # Errors
    /// A refusal is passed on to the sender; no pipeline has taken anything.
    fn process(&self, batch: Batch) -> Result<Batch, Refused>;

    /// Registers metrics of its own. Called at most once, before the first batch; instances of one id share their
    /// series.
    fn observe(&self, metrics: &Metrics, id: &ComponentId) {
        let _ = (metrics, id);
    }
}

/// How records of a pipeline's journal are put together into one request, for every exporter of the pipeline alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// As soon as so many items wait, they are sent. 0: do not wait for items.
    pub items_min: u64,
    /// As soon as so many payload bytes wait, they are sent. 0: do not wait for bytes.
    pub bytes_min: u64,
    /// No request has more items; larger ones are split. 0: no limit.
    pub items_max: u32,
    /// No request has more payload bytes, unless one record has; larger ones are split. 0: no limit.
    pub bytes_max: u32,
    /// Less than that waits so long at most, counted from when the first of it was accepted.
    pub delay_max: Duration,
}

impl BatchLimits {
    /// Whether this much is enough to be sent at once.
    pub fn is_enough(&self, items: u64, bytes: u64) -> bool {
        let by_items = self.items_min > 0 && items >= self.items_min;
        let by_bytes = self.bytes_min > 0 && bytes >= self.bytes_min;
        by_items || by_bytes || (self.items_min == 0 && self.bytes_min == 0 && items > 0)
    }
}

/// What a processor's configuration becomes.
pub enum BuiltProcessor {
    /// Changes each batch before the journal.
    Each(Box<dyn Processor>),
    /// Puts records together behind the journal, where no acknowledgement waits for it.
    Batching(BatchLimits),
}
