//! A copy of what receivers took, for the comparison.
//!
//! The tap is a journal of its own, in memory and small: a comparison that cannot keep up loses its oldest records and
//! never makes a receiver or an exporter wait. It holds the batch as it arrived, before any processor, and shares its
//! bytes with the pipelines' journal.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use component::clock;
use journal::{Cursor, CursorError, CursorOptions, Hold, Journal, Limits, Record, StreamId, WhenFull};
use otlp::Batch;
use parity::Side;

/// Where receivers leave what they took.
#[derive(Clone)]
pub(crate) struct Tap {
    journal: Journal,
    stream: StreamId,
    missed_items: Arc<AtomicU64>,
}

/// What one receiver took.
#[derive(Clone, Debug)]
pub(crate) struct Tapped {
    pub(crate) side: Side,
    pub(crate) batch: Batch,
}

impl Tap {
    /// A tap that holds so many bytes at most, and its reader.
    pub(crate) fn open(size_bytes_max: u64) -> Result<(Tap, Cursor), CursorError> {
        let journal = Journal::in_memory(Limits { size_bytes_max, when_full: WhenFull::DropOldest });
        let stream = journal.stream("parity");
        let options = CursorOptions { hold: Hold::Yield, ..CursorOptions::default() };
        let cursor = journal.open_cursor(stream, "parity", options)?;
        Ok((Tap { journal, stream, missed_items: Arc::default() }, cursor))
    }

    /// Takes a copy of a batch that was accepted.
    pub(crate) async fn take(&self, side: Side, batch: &Batch) {
        let items = batch.items();
        let mut record = Record::new(batch.bytes().clone(), items);
        record.appended_at_unix_ns = clock::unix_ns();
        record.attachment = Some(Arc::new(Tapped { side, batch: batch.clone() }) as Arc<dyn Any + Send + Sync>);
        if self.journal.append(vec![(self.stream, record)]).await.is_err() {
            self.missed_items.fetch_add(u64::from(items), Ordering::Relaxed);
        }
    }

    /// Items of batches that were larger than the tap.
    pub(crate) fn missed_items(&self) -> u64 {
        self.missed_items.load(Ordering::Relaxed)
    }

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        self.journal.close();
    }
}

/// What a record of the tap holds.
pub(crate) fn tapped(record: &Record) -> Option<&Tapped> {
    record.attachment.as_ref()?.downcast_ref::<Tapped>()
}

#[cfg(test)]
mod tests {
    use journal::{Read, ReadLimit};
    use otlp::encode::LogsEncoder;

    use super::*;

    fn batch(text: &str) -> Batch {
        let mut encoder = LogsEncoder::new();
        encoder.resource_logs(|resource| {
            resource.scope_logs(|scope| {
                scope.log_record(|record| {
                    record.body().string(text);
                });
            });
        });
        encoder.finish()
    }

    #[tokio::test]
    async fn what_is_taken_comes_out_with_its_side_and_in_its_order() {
        let (tap, mut cursor) = Tap::open(1 << 20).unwrap();
        tap.take(Side::Legacy, &batch("a")).await;
        tap.take(Side::New, &batch("b")).await;
        let Some(Read::Records(records)) = cursor.try_next(ReadLimit::default()) else { panic!("there are records") };
        let sides: Vec<Side> = records.iter().filter_map(tapped).map(|tapped| tapped.side).collect();
        assert_eq!(sides, [Side::Legacy, Side::New]);
    }

    #[tokio::test]
    async fn a_full_tap_drops_its_oldest_and_says_how_much() {
        let (tap, mut cursor) = Tap::open(2048).unwrap();
        for _ in 0..100 {
            tap.take(Side::Legacy, &batch("some text")).await;
        }
        let Some(Read::Gap { items, .. }) = cursor.try_next(ReadLimit::default()) else { panic!("there is a gap") };
        assert!((1..100).contains(&items), "{items}");
        tap.take(Side::New, &batch(&"x".repeat(4096))).await;
        assert_eq!(tap.missed_items(), 1, "it can never fit");
    }
}
