//! Lines to the pipelines, and an account of those that are none.

use std::sync::Arc;
use std::time::Duration;

use component::clock::{self, Mono};
use component::{Arrivals, Intake, Refused, Unit};
use legacy::carbon::{LineError, Parser, Reader};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Takes lines, whole batches of them at once. Clones take together.
#[derive(Clone)]
pub(super) struct Taker {
    pub(super) parser: Arc<Parser>,
    pub(super) intake: Intake,
    pub(super) arrivals: Arrivals,
    pub(super) stop: CancellationToken,
    /// When a line that is none was last shown in the log.
    pub(super) shown: Arc<Mutex<Option<Mono>>>,
}

/// Lines that are no samples are shown this often.
const SHOWN_EVERY: Duration = Duration::from_secs(10);

/// So many samples go to the pipelines at once.
pub(super) const BATCH_ITEMS_MAX: u32 = 5_000;

impl Taker {
    /// A batch of no lines yet.
    pub(super) fn batch(&self) -> Taking<'_> {
        Taking { taker: self, reader: Reader::new(&self.parser), received: 0, now_unix_ns: clock::unix_ns() }
    }

    fn show(&self, line: &[u8], error: &LineError) {
        const SHOWN_BYTES_MAX: usize = 100;
        let now = clock::mono();
        let mut shown = self.shown.lock();
        if shown.is_none_or(|last| now.duration_since(last) >= SHOWN_EVERY) {
            *shown = Some(now);
            let line = line[..line.len().min(SHOWN_BYTES_MAX)].escape_ascii();
            tracing::warn!(%line, %error, "a line is no sample; others like it are counted");
        }
    }
}

/// Lines that go to the pipelines together.
pub(super) struct Taking<'a> {
    taker: &'a Taker,
    reader: Reader<'a>,
    received: u64,
    now_unix_ns: u64,
}

impl Taking<'_> {
    /// Adds a line, without its end. An empty one is nothing.
    pub(super) fn line(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        self.received += 1;
        if let Err(error) = self.reader.line(line, self.now_unix_ns) {
            self.taker.arrivals.lost(Unit::Lines, error.cause(), 1);
            self.taker.show(line, &error);
        }
    }

    /// Counts a line that was too long to be kept.
    pub(super) fn too_long(&mut self) {
        self.received += 1;
        self.taker.arrivals.lost(Unit::Lines, "line_too_long", 1);
    }

    /// Whether there is enough for the pipelines.
    pub(super) fn is_full(&self) -> bool {
        self.reader.items() >= BATCH_ITEMS_MAX
    }

    /// Hands the samples over, and waits until there is room for them. Nobody can be told of a refusal: what is refused
    /// for good, or not taken before the process ends, is counted as lost.
    pub(super) async fn hand_over(self) {
        let Taking { taker, reader, received, .. } = self;
        taker.arrivals.received(Unit::Lines, received);
        let batch = reader.finish();
        if batch.items() == 0 {
            return;
        }
        let items = u64::from(batch.items());
        loop {
            let is_last_try = taker.stop.is_cancelled();
            let after = match taker.intake.accept(batch.clone()).await {
                Ok(()) => return,
                Err(Refused::Retry { .. }) if is_last_try => {
                    return taker.arrivals.lost(Unit::Lines, "shutdown", items);
                }
                Err(Refused::Permanent { cause }) => {
                    tracing::error!(items, cause, "the pipelines refuse samples for good");
                    return taker.arrivals.lost(Unit::Lines, "refused", items);
                }
                Err(Refused::Retry { after, .. }) => after,
            };
            tokio::select! {
                () = tokio::time::sleep(after) => {}
                () = taker.stop.cancelled() => {}
            }
        }
    }
}
