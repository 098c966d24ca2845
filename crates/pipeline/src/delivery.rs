//! From a cursor to a backend: read, encode, send, try again, settle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use component::metrics::Counter;
use component::{Cause, Delivery, Encoded, Exporter, Failure, Order, Outcome, Rejection, Request, clock};
use futures_util::future::join_all;
use journal::{Cursor, Journal, Settlement, Settler};
use otlp::Batch;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::dead_letters::DeadLetters;
use crate::groups::{Group, Groups, Next};
use crate::trouble::Trouble;

/// The buckets of the ledger.
pub(crate) mod bucket {
    pub(crate) const DELIVERED: &str = "delivered";
    pub(crate) const REJECTED: &str = "rejected/";
    pub(crate) const DROPPED: &str = "dropped/";
}

/// Why the pipeline gave items up.
mod reason {
    pub(super) const RETRY_DISABLED: &str = "retry_disabled";
    pub(super) const RETRIES_EXHAUSTED: &str = "retries_exhausted";
    pub(super) const SHUTDOWN: &str = "shutdown";
}

/// So many causes have a line of their own in one exporter's account; the rest share `other`.
const CAUSES_MAX: usize = 40;

/// One exporter of the configuration, shared by every pipeline that names it.
pub(crate) struct Target {
    pub(crate) name: String,
    /// Whether it is an exporter, and not a connector to other pipelines.
    pub(crate) is_backend: bool,
    pub(crate) exporter: Arc<dyn Exporter>,
    pub(crate) delivery: Delivery,
    pub(crate) consumers: Arc<Semaphore>,
    pub(crate) retries: Counter,
    pub(crate) trouble: Trouble,
    pub(crate) causes: Mutex<BTreeSet<String>>,
    /// Asks attempts and waits to end now: the time to drain is over.
    pub(crate) give_up: component::Stop,
}

/// One pipeline's way to one exporter.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) target: Arc<Target>,
    pub(crate) settler: Settler,
    /// Where refused batches are kept, on disk.
    pub(crate) dead_letters: Option<DeadLetters>,
    pub(crate) at_end: AtEnd,
}

/// What becomes of what was not delivered when the time to drain is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtEnd {
    /// It is gone with the process, and counted.
    Drop,
    /// It stays pending: the next process delivers it.
    Keep,
}

impl AtEnd {
    pub(crate) fn of(journal: &Journal) -> AtEnd {
        if journal.is_durable() { AtEnd::Keep } else { AtEnd::Drop }
    }
}

/// Brings one pipeline's records to one exporter, until the journal is closed and everything was settled, or until the
/// rest is left to the next process.
pub(crate) async fn run(way: Way, groups: Arc<Groups>, mut cursor: Cursor) {
    let mut under_way = JoinSet::new();
    let target = Arc::clone(&way.target);
    loop {
        let next = tokio::select! {
            biased;
            () = target.give_up.requested(), if way.at_end == AtEnd::Keep => break,
            next = groups.next(&mut cursor) => next,
        };
        let group = match next {
            Next::Group(group) => group,
            Next::Lost { items, cause } => {
                tracing::error!(exporter = target.name, items, %cause, "records left the journal before they were read");
                continue;
            }
            Next::Closed => break,
        };
        // The permit comes after the read: a pipeline that waits for data must not hold what another needs.
        let permit = Arc::clone(&target.consumers).acquire_owned().await;
        let way = way.clone();
        let deliver = async move {
            deliver(&way, group).await;
            drop(permit);
        };
        match target.delivery.order {
            Order::Kept => deliver.await,
            Order::Any => drop(under_way.spawn(deliver)),
        }
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
}

/// Sends one group and accounts for every item of it, or for none: then it stays pending as a whole.
async fn deliver(way: &Way, group: Group) {
    let target = &*way.target;
    let mut settlement = Settlement::default();
    match (target.give_up.is_requested(), way.at_end) {
        (true, AtEnd::Keep) => return,
        (true, AtEnd::Drop) => {
            settlement.add(format!("{}{}", bucket::DROPPED, reason::SHUTDOWN), group.items());
        }
        (false, _) => {
            for batch in group.batches.iter() {
                let result = send_batch(way, batch, &mut settlement).await;
                // What was delivered of the group is sent again by the next process: twice, never not.
                if result == Sent::Left {
                    return;
                }
            }
            reconcile(target, &mut settlement, group.items());
        }
    }
    if let Err(error) = way.settler.settle(&group.records, &settlement) {
        tracing::error!(exporter = target.name, %error, "a delivery could not be entered into the ledger");
    }
}

/// An exporter must account for each item of a batch. If one does not, the ledger says so instead of the journal
/// refusing the settlement for ever.
pub(crate) fn reconcile(target: &Target, settlement: &mut Settlement, held: u64) {
    let settled = settlement.items();
    if settled < held {
        tracing::error!(exporter = target.name, items = held - settled, "the exporter did not account for items");
        settlement.add("dropped/unaccounted", held - settled);
    } else if settled > held {
        tracing::error!(
            exporter = target.name,
            items = settled - held,
            "the exporter accounted for items it never had"
        );
        *settlement = Settlement::all("dropped/unaccounted", held);
    }
}

/// Whether a batch is accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Settled,
    /// The process ends, and the next one goes on.
    Left,
}

/// Sends a batch, and enters into the settlement what became of each of its items.
pub(crate) async fn send_batch(way: &Way, batch: &Batch, settlement: &mut Settlement) -> Sent {
    let target = &*way.target;
    let Encoded { requests, rejected } = target.exporter.encode(batch);
    for rejection in rejected {
        reject(target, &rejection, settlement);
    }
    let mut ends = Vec::with_capacity(requests.len());
    if let [request] = requests.as_slice() {
        ends.push((request, send(way, request).await));
    } else {
        let lanes = by_lane(&requests);
        let sent = join_all(lanes.into_iter().map(|lane| async move {
            let mut ends = Vec::with_capacity(lane.len());
            for request in lane {
                ends.push((request, send(way, request).await));
            }
            ends
        }));
        ends.extend(sent.await.into_iter().flatten());
    }
    if ends.iter().any(|(_, end)| matches!(end, End::Left)) {
        return Sent::Left;
    }
    if let (Some(dead_letters), Some(failure)) = (&way.dead_letters, ends.iter().find_map(|(_, end)| end.failure())) {
        dead_letters.keep(&target.name, batch, failure).await;
    }
    for (request, end) in ends {
        enter(target, request, end, settlement);
    }
    Sent::Settled
}

fn by_lane(requests: &[Request]) -> Vec<Vec<&Request>> {
    let mut lanes = std::collections::BTreeMap::<u32, Vec<&Request>>::new();
    for request in requests {
        lanes.entry(request.lane).or_default().push(request);
    }
    lanes.into_values().collect()
}

/// How the pipeline's efforts for one request ended.
enum End {
    Delivered {
        rejected: Option<Rejection>,
    },
    Rejected(Failure),
    Dropped {
        reason: &'static str,
        last: Failure,
    },
    /// The process ends, and the next one goes on.
    Left,
}

impl End {
    /// Why the backend will not get it.
    fn failure(&self) -> Option<&Failure> {
        match self {
            End::Rejected(failure) | End::Dropped { last: failure, .. } => Some(failure),
            End::Delivered { .. } | End::Left => None,
        }
    }
}

/// Attempts one request until it arrived, was refused for good, or is given up.
async fn send(way: &Way, request: &Request) -> End {
    let target = &*way.target;
    let at_shutdown = |last| match way.at_end {
        AtEnd::Keep => End::Left,
        AtEnd::Drop => End::Dropped { reason: reason::SHUTDOWN, last },
    };
    let started = clock::mono();
    let mut pause = target.delivery.retry.initial_interval;
    loop {
        let (after, failure) = match attempt(target, request).await {
            Outcome::Delivered { rejected } => return End::Delivered { rejected },
            Outcome::Reject { failure } => return End::Rejected(failure),
            Outcome::Retry { after, failure } => (after, failure),
        };
        target.trouble.failed(&target.name, &failure, clock::mono());
        if target.give_up.is_requested() {
            return at_shutdown(failure);
        }
        if !target.delivery.retry.enabled {
            return End::Dropped { reason: reason::RETRY_DISABLED, last: failure };
        }
        let wait = after.unwrap_or_default().max(jittered(pause, target.delivery.retry.randomization_factor));
        // No time to elapse at all means no end: age and size limits of the journal are the end.
        let elapsed_max = target.delivery.retry.max_elapsed_time.filter(|max| !max.is_zero());
        if elapsed_max.is_some_and(|max| started.elapsed() + wait > max) {
            return End::Dropped { reason: reason::RETRIES_EXHAUSTED, last: failure };
        }
        target.retries.add(1);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = target.give_up.requested() => return at_shutdown(failure),
        }
        pause = pause.mul_f64(target.delivery.retry.multiplier).min(target.delivery.retry.max_interval);
    }
}

async fn attempt(target: &Target, request: &Request) -> Outcome {
    let send = async {
        let timeout = target.delivery.timeout;
        if timeout.is_zero() {
            return target.exporter.send(request).await;
        }
        match tokio::time::timeout(timeout, target.exporter.send(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::retry("timeout", format!("no answer within {timeout:?}")),
        }
    };
    tokio::select! {
        outcome = send => outcome,
        () = target.give_up.requested() => Outcome::retry(reason::SHUTDOWN, "the time to drain is over"),
    }
}

fn jittered(pause: Duration, factor: f64) -> Duration {
    pause.mul_f64(1.0 + factor * (fastrand::f64() * 2.0 - 1.0))
}

/// Enters the end of one request into the settlement.
fn enter(target: &Target, request: &Request, end: End, settlement: &mut Settlement) {
    match end {
        End::Delivered { rejected } => {
            target.trouble.worked(&target.name);
            let rejection =
                rejected.map(|rejection| Rejection { items: rejection.items.min(request.items), ..rejection });
            let refused = rejection.as_ref().map_or(0, |rejection| rejection.items);
            settlement.add(bucket::DELIVERED, request.items - refused);
            if let Some(rejection) = rejection {
                reject(target, &rejection, settlement);
            }
        }
        End::Rejected(failure) => reject(target, &Rejection { items: request.items, failure }, settlement),
        End::Dropped { reason, last } => {
            tracing::error!(
                exporter = target.name, items = request.items, reason, cause = %last.cause, detail = last.detail,
                "items dropped"
            );
            settlement.add(format!("{}{reason}", bucket::DROPPED), request.items);
        }
        // Whoever sends stops before this.
        End::Left => {}
    }
}

fn reject(target: &Target, rejection: &Rejection, settlement: &mut Settlement) {
    let failure = &rejection.failure;
    target.trouble.rejected(&target.name, rejection, clock::mono());
    settlement.add(format!("{}{}", bucket::REJECTED, bounded(target, &failure.cause)), rejection.items);
}

/// Keeps the number of causes bounded, whatever backends say.
fn bounded(target: &Target, cause: &Cause) -> String {
    let mut causes = target.causes.lock();
    if causes.contains(cause.as_ref()) || causes.len() < CAUSES_MAX {
        causes.insert(cause.to_string());
        return cause.to_string();
    }
    "other".to_owned()
}
