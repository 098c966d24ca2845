//! `sending_queue` and `retry_on_failure` of exporters.

use std::time::Duration;

use crate::field::Field;
use crate::id::ComponentId;
use crate::section::{Section, Spanned};

/// What the size of a queue or of a batch counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sizer {
    /// `requests`.
    #[default]
    Requests,
    /// `items`: spans, data points, log records.
    Items,
    /// `bytes` of the serialized data.
    Bytes,
}

/// The `sending_queue` section. What a missing `queue_size` means is the exporter's to say: the Collector holds 1000
/// requests, a journal is bounded by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct SendingQueue {
    /// `enabled`.
    pub enabled: bool,
    /// `num_consumers`: how many batches are under way at once; at least one.
    pub num_consumers: usize,
    /// `queue_size`, counted by `sizer`; at least one.
    pub queue_size: Option<u64>,
    /// `sizer`.
    pub sizer: Sizer,
    /// `block_on_overflow`.
    pub block_on_overflow: bool,
    /// `wait_for_result`.
    pub wait_for_result: bool,
    /// `storage`: the storage extension that keeps the queue.
    pub storage: Option<Spanned<ComponentId>>,
    /// `batch`; none when not given.
    pub batch: Option<QueueBatch>,
}

/// The `batch` section of a `sending_queue`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueBatch {
    /// `flush_timeout`: a batch goes out after this time, however small.
    pub flush_timeout: Duration,
    /// `min_size`: a batch goes out when it has this size.
    pub min_size: u64,
    /// `max_size`: a larger batch is split; none when not given or 0.
    pub max_size: Option<u64>,
    /// `sizer`: items or bytes.
    pub sizer: Sizer,
}

/// The `retry_on_failure` section.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// `enabled`.
    pub enabled: bool,
    /// `initial_interval`: the wait after the first failure.
    pub initial_interval: Duration,
    /// `max_interval`: the longest wait.
    pub max_interval: Duration,
    /// `max_elapsed_time`: none when not given; zero means without end.
    pub max_elapsed_time: Option<Duration>,
    /// `multiplier`: how much longer each wait is than the one before.
    pub multiplier: f64,
    /// `randomization_factor`: each wait is longer or shorter by up to this share, from 0 to 1.
    pub randomization_factor: f64,
}

// === impl Sizer ===

impl Sizer {
    fn read(field: Field<'_>) -> Option<Sizer> {
        field.one_of(&[("requests", Sizer::Requests), ("items", Sizer::Items), ("bytes", Sizer::Bytes)]).optional()
    }
}

// === impl SendingQueue ===

impl Default for SendingQueue {
    fn default() -> SendingQueue {
        SendingQueue {
            enabled: true,
            num_consumers: 10,
            queue_size: None,
            sizer: Sizer::Requests,
            block_on_overflow: false,
            wait_for_result: false,
            storage: None,
            batch: None,
        }
    }
}

impl SendingQueue {
    /// Reads the keys of a `sending_queue` section.
    pub fn read(section: &mut Section<'_>) -> SendingQueue {
        let default = SendingQueue::default();
        let sizer = Sizer::read(section.get("sizer"));
        let queue = SendingQueue {
            enabled: section.get("enabled").bool().or(true),
            num_consumers: section.get("num_consumers").integer().range(1..).or(default.num_consumers),
            queue_size: section.get("queue_size").integer().range(1..).optional(),
            sizer: sizer.unwrap_or_default(),
            block_on_overflow: section.get("block_on_overflow").bool().or(false),
            wait_for_result: section.get("wait_for_result").bool().or(false),
            storage: section.get("storage").component_id().spanned(),
            batch: section.child_if_present("batch", |batch| QueueBatch::read(batch, sizer)).flatten(),
        };
        section.without_effect("blocking", "it is the old name of `block_on_overflow`; use that");
        if queue.wait_for_result && queue.storage.is_some() {
            section.error("wait_for_result", "cannot be had with `storage`");
        }
        if let (Some(batch), Some(queue_size)) = (&queue.batch, queue.queue_size)
            && batch.sizer == queue.sizer
            && batch.min_size > queue_size
        {
            section.error(
                "queue_size",
                format!("is below `batch.min_size` ({}), which would never be reached", batch.min_size),
            );
        }
        queue
    }
}

// === impl QueueBatch ===

impl QueueBatch {
    /// Without a sizer of its own a batch counts as its queue does, if that was said.
    fn read(section: &mut Section<'_>, queue_sizer: Option<Sizer>) -> Option<QueueBatch> {
        let enabled = section.get("enabled").bool().or(true);
        let own = Sizer::read(section.get("sizer"));
        let sizer = own.or(queue_sizer).unwrap_or(Sizer::Items);
        let batch = QueueBatch {
            flush_timeout: section.get("flush_timeout").duration().above_zero().or(Duration::from_millis(200)),
            min_size: section.get("min_size").integer().or(8192),
            max_size: section.get("max_size").integer().optional().filter(|size| *size > 0),
            sizer,
        };
        if sizer == Sizer::Requests {
            section.error("sizer", "expected `items` or `bytes`: a batch cannot count requests");
        }
        if let Some(most) = batch.max_size.filter(|most| *most < batch.min_size) {
            section.error("max_size", format!("{most} is below `min_size` ({})", batch.min_size));
        }
        section.unsupported("partition", "batches apart by metadata keys");
        enabled.then_some(batch)
    }
}

// === impl Retry ===

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            enabled: true,
            initial_interval: Duration::from_secs(5),
            max_interval: Duration::from_secs(30),
            max_elapsed_time: None,
            multiplier: 1.5,
            randomization_factor: 0.5,
        }
    }
}

impl Retry {
    /// Reads the keys of a `retry_on_failure` section.
    pub fn read(section: &mut Section<'_>) -> Retry {
        let default = Retry::default();
        let retry = Retry {
            enabled: section.get("enabled").bool().or(default.enabled),
            initial_interval: section.get("initial_interval").duration().or(default.initial_interval),
            max_interval: section.get("max_interval").duration().or(default.max_interval),
            max_elapsed_time: section.get("max_elapsed_time").duration().optional(),
            multiplier: section.get("multiplier").float().range(0.0..).or(default.multiplier),
            randomization_factor: section
                .get("randomization_factor")
                .float()
                .range(0.0..=1.0)
                .or(default.randomization_factor),
        };
        let least = retry.initial_interval.max(retry.max_interval);
        if retry.max_elapsed_time.is_some_and(|most| !most.is_zero() && most < least) {
            let message =
                format!("is below the longest wait ({}); `0` means without end", crate::duration::show(least));
            section.error("max_elapsed_time", message);
        }
        retry
    }
}
