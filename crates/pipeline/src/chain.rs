//! From a receiver into the journals of its pipelines: the processors of each, then one append for all of them.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use component::clock;
use component::metrics::Counter;
use component::{Accept, Accepting, Processor, Refused};
use journal::{AppendError, Journal, Record, StreamId};
use otlp::{Batch, Signal};
use parity::Side;

use crate::labels::Labels;
use crate::migration::Tap;
use crate::totals::Totals;

/// A sender that was refused for want of room is asked to come again after this time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One pipeline, as its receivers see it.
pub(crate) struct Chain {
    pub(crate) stream: StreamId,
    pub(crate) processors: Vec<Counted>,
    pub(crate) labels: Labels,
    /// Items that processors took out.
    pub(crate) filtered_items: Counter,
}

/// A processor and its counters.
pub(crate) struct Counted {
    pub(crate) processor: Box<dyn Processor>,
    pub(crate) incoming_items: Counter,
    pub(crate) outgoing_items: Counter,
}

impl Chain {
    fn process(&self, mut batch: Batch) -> Result<Batch, Refused> {
        for step in &self.processors {
            step.incoming_items.add(u64::from(batch.items()));
            batch = step.processor.process(batch)?;
            step.outgoing_items.add(u64::from(batch.items()));
        }
        Ok(batch)
    }
}

/// What an append does when an exporter's queue or the journal is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// The sender is told at once.
    Refuse,
    /// The sender waits, as long as its own protocol lets it.
    Wait,
}

/// The pipelines that one receiver feeds with one signal.
pub(crate) struct FanIn {
    pub(crate) journal: Journal,
    pub(crate) chains: Vec<Arc<Chain>>,
    pub(crate) overflow: Overflow,
    /// Where totals are wanted: they, and the receiver's id.
    pub(crate) totals: Option<(Arc<Totals>, String)>,
    /// Where a receiver of one side of a migration leaves a copy of what was accepted.
    pub(crate) tap: Option<(Tap, Side)>,
}

impl Accept for FanIn {
    fn accept(&self, batch: Batch) -> Accepting {
        let writes = match self.writes(&batch) {
            Ok(writes) => writes,
            Err(refused) => return Box::pin(std::future::ready(Err(refused))),
        };
        let (journal, overflow, totals) = (self.journal.clone(), self.overflow, self.totals.clone());
        let tap = self.tap.clone();
        Box::pin(async move {
            if !writes.is_empty() {
                append(&journal, writes, overflow).await?;
            }
            if let Some((totals, receiver)) = totals {
                totals.add(&receiver, &batch);
            }
            if let Some((tap, side)) = tap {
                tap.take(side, &batch).await;
            }
            Ok(())
        })
    }
}

impl FanIn {
    /// What each pipeline would write. Nothing is written before every pipeline has agreed.
    fn writes(&self, batch: &Batch) -> Result<Vec<(StreamId, Record)>, Refused> {
        let now_unix_ns = clock::unix_ns();
        let mut writes = Vec::with_capacity(self.chains.len());
        let mut filtered = Vec::new();
        for chain in &self.chains {
            let processed = chain.process(batch.clone())?;
            let gone = batch.items().saturating_sub(processed.items());
            if gone > 0 {
                filtered.push((&chain.filtered_items, u64::from(gone)));
            }
            if processed.items() > 0 {
                let shares = chain.labels.shares(&processed);
                let mut record = to_record(processed, now_unix_ns);
                record.shares = shares;
                writes.push((chain.stream, record));
            }
        }
        filtered.into_iter().for_each(|(counter, items)| counter.add(items));
        Ok(writes)
    }
}

async fn append(journal: &Journal, writes: Vec<(StreamId, Record)>, overflow: Overflow) -> Result<(), Refused> {
    if overflow == Overflow::Refuse {
        return journal.append(writes).await.map_err(|error| refused(&error));
    }
    loop {
        // The waiter registers before the append that may fail, so that no room is missed.
        let space = journal.space();
        let mut space = std::pin::pin!(space);
        space.as_mut().enable();
        match journal.append(writes.clone()).await {
            Err(AppendError::Full { .. } | AppendError::CursorFull { .. }) => space.await,
            result => return result.map_err(|error| refused(&error)),
        }
    }
}

fn refused(error: &AppendError) -> Refused {
    match error {
        AppendError::TooLarge { .. } => Refused::Permanent { cause: error.to_string() },
        AppendError::Full { .. }
        | AppendError::CursorFull { .. }
        | AppendError::Storage { .. }
        | AppendError::Closed => Refused::Retry { after: RETRY_AFTER, cause: error.to_string() },
    }
}

/// A batch as a record. The batch itself stays beside the bytes while they are in memory, so that the frames that
/// exporters make are shared.
pub(crate) fn to_record(batch: Batch, now_unix_ns: u64) -> Record {
    let mut record = Record::new(batch.bytes().clone(), batch.items());
    record.appended_at_unix_ns = now_unix_ns;
    record.attachment_bytes = u32::try_from(batch.frames().size_bytes()).unwrap_or(u32::MAX);
    record.attachment = Some(Arc::new(batch) as Arc<dyn Any + Send + Sync>);
    record
}

/// The batch of a record, with the frames that it has.
pub(crate) fn to_batch(signal: Signal, record: &Record) -> Batch {
    let kept = record.attachment.as_ref().and_then(|kept| kept.downcast_ref::<Batch>());
    kept.cloned().unwrap_or_else(|| Batch::from_trusted(signal, record.payload.clone(), record.items))
}
