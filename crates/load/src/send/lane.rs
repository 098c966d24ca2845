//! One worker: makes a request, has it delivered, notes what became of it, and so on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use component::clock;
use otlp::Signal;

use super::courier::{Book, Courier, Settled};
use super::pace::Pacer;
use super::{Ends, Meters, Protocol, SendSettings};
use crate::identity::WorkerId;
use crate::payload::{Form, Generator, Payload};
use crate::sequences::SequenceSet;

/// What the lanes of a run share.
#[derive(Debug)]
pub(super) struct LaneShared {
    pub(super) pacer: Pacer,
    /// Items that are still to be sent, if that is limited.
    pub(super) budget: Option<AtomicU64>,
    pub(super) meters: Arc<Meters>,
    pub(super) ends: Ends,
}

/// What one worker did with one signal.
#[derive(Debug)]
pub(crate) struct WorkerBook {
    pub(crate) worker: WorkerId,
    pub(crate) signal: Signal,
    /// Sequence numbers from 1 to this were sent.
    pub(crate) offered_items: u64,
    pub(crate) acked: SequenceSet,
    pub(crate) rejected_items: u64,
    pub(crate) failed_items: u64,
    pub(crate) book: Book,
}

impl WorkerBook {
    pub(crate) fn new(worker: WorkerId, signal: Signal) -> Self {
        WorkerBook {
            worker,
            signal,
            offered_items: 0,
            acked: SequenceSet::new(),
            rejected_items: 0,
            failed_items: 0,
            book: Book::default(),
        }
    }

    /// Notes that a request is about to be sent.
    pub(crate) fn offer(&mut self, items: u32, meters: &Meters) {
        self.offered_items += u64::from(items);
        meters.sent_items.fetch_add(u64::from(items), Ordering::Relaxed);
    }

    /// Notes what became of a request.
    pub(crate) fn settle(&mut self, first: u64, items: u32, settled: Settled, meters: &Meters) {
        let items = u64::from(items);
        match settled {
            Settled::Acked { rejected_items: 0 } => {
                self.acked.insert_range(first..=first + items - 1);
                meters.acked_items.fetch_add(items, Ordering::Relaxed);
                return;
            }
            // Which ones were rejected is not said, so none of them counts as acknowledged.
            Settled::Acked { rejected_items } => {
                let rejected = rejected_items.min(items);
                self.rejected_items += rejected;
                self.failed_items += items - rejected;
            }
            Settled::Rejected => self.rejected_items += items,
            Settled::GivenUp => self.failed_items += items,
        }
        meters.lost_items.fetch_add(items, Ordering::Relaxed);
    }
}

/// A worker with its generators, one for each signal.
pub(super) struct Lane {
    courier: Courier,
    items_per_request: u32,
    signals: Vec<(Generator, WorkerBook)>,
    shared: Arc<LaneShared>,
}

impl Lane {
    pub(super) fn new(settings: &SendSettings, courier: Courier, worker: WorkerId, shared: Arc<LaneShared>) -> Self {
        let form = match settings.destination.protocol {
            Protocol::OtlpGrpc | Protocol::OtlpHttpProtobuf => Form::Protobuf,
            Protocol::OtlpHttpJson => Form::Json,
        };
        let signals = settings.signals.iter().map(|signal| {
            let generator = Generator::new(&settings.payload, *signal, form, settings.run_id, worker);
            (generator, WorkerBook::new(worker, *signal))
        });
        let signals = signals.collect();
        Lane { courier, items_per_request: settings.payload.items_per_request, signals, shared }
    }

    /// Sends until told to stop or until everything is sent.
    pub(super) async fn run(mut self) -> Vec<WorkerBook> {
        let mut turn = 0;
        while let Some(items) = self.next_items() {
            if !self.wait_until_due(items).await {
                break;
            }
            self.send_one(turn, items).await;
            turn = (turn + 1) % self.signals.len();
            // With answers always at hand, a lane would never let others run.
            tokio::task::consume_budget().await;
        }
        self.signals.into_iter().map(|(_, book)| book).collect()
    }

    /// How many items the next request has; `None` at the end.
    fn next_items(&self) -> Option<u32> {
        if self.shared.ends.stop.is_cancelled() {
            return None;
        }
        let Some(budget) = &self.shared.budget else { return Some(self.items_per_request) };
        let mut items = 0;
        // The closure always gives a new value, so this always succeeds.
        let _before = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            items = left.min(u64::from(self.items_per_request));
            Some(left - items)
        });
        (items > 0).then_some(items as u32)
    }

    /// Returns whether the time has come; not, if the run was stopped before.
    async fn wait_until_due(&self, items: u32) -> bool {
        let now = clock::mono();
        match self.shared.pacer.place(items, now) {
            Some(due) if due > now => {
                let due = tokio::time::Instant::from_std(due);
                tokio::time::timeout_at(due, self.shared.ends.stop.cancelled()).await.is_err()
            }
            _ => true,
        }
    }

    async fn send_one(&mut self, turn: usize, items: u32) {
        let LaneShared { meters, ends, .. } = &*self.shared;
        let (generator, worker) = &mut self.signals[turn];
        let now_unix_ns = clock::unix_ns();
        let payload = if items == self.items_per_request {
            generator.next(now_unix_ns)
        } else {
            generator.next_partial(items, now_unix_ns)
        };
        let Payload { first, items, .. } = payload;
        worker.offer(items, meters);
        let bytes = payload.bytes.clone();
        let settled = self.courier.deliver(worker.signal, bytes, &mut worker.book, meters, &ends.cut).await;
        worker.settle(first, items, settled, meters);
        generator.give_back(payload);
    }
}
