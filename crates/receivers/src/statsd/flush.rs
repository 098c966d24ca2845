//! What was added up, handed on.

use std::sync::Arc;
use std::time::Duration;

use aggregation::statsd::{Flushed, Settings, Store};
use component::clock;
use component::metrics::{Counter, Description, Gauge};
use component::{Intake, ReceiverContext, Refused};
use otlp::{Batch, Signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::shards::Shards;

/// What pipelines still refuse so long after the receiver was told to stop is given up.
const STOP_RETRY_MAX: Duration = Duration::from_secs(5);
/// A refusal without a time to come again.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(10);

const SERIES: Description = Description::gauge("crossfade_statsd_series", "Series that the receiver knows.");
const LOST_ITEMS: Description = Description::counter(
    "crossfade_statsd_lost_items",
    "Data points and log records that no pipeline took: refused for good, or until the end, or wanted by none.",
);

/// Empties the shards once per interval and hands on what they had.
pub(super) struct Flusher {
    shards: Arc<Shards>,
    store: Store,
    interval: Duration,
    ways: [Way; 2],
    account: Option<Arc<Account>>,
    series: Gauge,
    /// When to give up, once nothing more comes.
    give_up_at: Option<Instant>,
}

/// The way to the pipelines of one signal.
struct Way {
    signal: Signal,
    intake: Option<Intake>,
    lost: Counter,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Taken,
    Lost,
}

impl Flusher {
    pub(super) fn new(
        shards: Arc<Shards>,
        settings: &Arc<Settings>,
        context: &ReceiverContext,
        transport: &str,
        account: Option<Arc<Account>>,
    ) -> Flusher {
        let way = |signal: Signal| {
            let labels = [("receiver", context.id.as_str()), ("data_type", signal.name())];
            let lost = context.metrics.counter(LOST_ITEMS, &labels);
            Way { signal, intake: context.intake(signal, transport), lost }
        };
        Flusher {
            shards,
            store: Store::new(Arc::clone(settings), clock::unix_ns()),
            interval: settings.aggregation_interval,
            ways: [way(Signal::Metrics), way(Signal::Logs)],
            account,
            series: context.metrics.gauge(SERIES, &[("receiver", context.id.as_str())]),
            give_up_at: None,
        }
    }

    /// Flushes once per interval, earlier if a shard fills up, and for the last time when nothing more will come.
    pub(super) async fn run(mut self, ended: &CancellationToken) {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        // While pipelines refuse, intervals become longer; afterwards they begin where they would have.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !ended.is_cancelled() {
            tokio::select! {
                biased;
                () = ended.cancelled() => break,
                _ = ticks.tick() => {}
                () = self.shards.crowded() => {}
            }
            self.flush(ended).await;
        }
        self.flush(ended).await;
    }

    async fn flush(&mut self, ended: &CancellationToken) {
        let mut refused = 0;
        for collected in self.shards.take() {
            refused += self.store.merge(collected).refused;
        }
        if let Some(account) = &self.account {
            account.count_refused(refused);
        }
        let Flushed { metrics, logs } = self.store.flush(clock::unix_ns());
        self.series.set(self.store.series() as f64);
        let ([to_metrics, to_logs], give_up_at) = (&self.ways, &mut self.give_up_at);
        for batch in metrics {
            to_metrics.deliver(batch, ended, give_up_at).await;
        }
        if let Some(batch) = logs {
            to_logs.deliver(batch, ended, give_up_at).await;
        }
    }
}

impl Way {
    /// Offers a batch until it is taken, or there is no hope for it.
    async fn deliver(&self, batch: Batch, ended: &CancellationToken, give_up_at: &mut Option<Instant>) {
        let items = u64::from(batch.items());
        if self.offer(batch, ended, give_up_at).await == Given::Lost {
            self.lost.add(items);
        }
    }

    async fn offer(&self, batch: Batch, ended: &CancellationToken, give_up_at: &mut Option<Instant>) -> Given {
        let Some(intake) = &self.intake else { return Given::Lost };
        let signal = self.signal.name();
        loop {
            let (after, cause) = match intake.accept(batch.clone()).await {
                Ok(()) => return Given::Taken,
                Err(Refused::Permanent { cause }) => {
                    tracing::error!(%cause, signal, items = batch.items(), "a flush of StatsD is lost: refused for good");
                    return Given::Lost;
                }
                Err(Refused::Retry { after, cause }) => (after.max(RETRY_PAUSE_MIN), cause),
            };
            if ended.is_cancelled() {
                let now = Instant::now();
                let give_up_at = *give_up_at.get_or_insert(now + STOP_RETRY_MAX);
                if now + after > give_up_at {
                    tracing::error!(%cause, signal, items = batch.items(),
                        "a flush of StatsD is lost: refused until the end");
                    return Given::Lost;
                }
                tokio::time::sleep(after).await;
            } else {
                // Once nothing more comes, there is no time to lose.
                let _ended = tokio::time::timeout(after, ended.cancelled()).await;
            }
        }
    }
}
