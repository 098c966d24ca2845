//! From a cursor to a backend: read, encode, send, try again, settle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use component::metrics::Counter;
use component::{Cause, Delivery, Encoded, Exporter, Failure, Order, Outcome, Rejection, Request, clock};
use futures_util::future::join_all;
use journal::{Cursor, Settlement, Settler};
use otlp::Batch;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

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
    pub(crate) exporter: Arc<dyn Exporter>,
    pub(crate) delivery: Delivery,
    pub(crate) consumers: Arc<Semaphore>,
    pub(crate) retries: Counter,
    pub(crate) trouble: Trouble,
    pub(crate) causes: Mutex<BTreeSet<String>>,
    /// Asks attempts and waits to end now: the time to drain is over.
    pub(crate) give_up: component::Stop,
}

/// Brings one pipeline's records to one exporter, until the journal is closed and everything was settled.
pub(crate) async fn run(target: Arc<Target>, groups: Arc<Groups>, mut cursor: Cursor) {
    let settler = cursor.settler();
    let mut under_way = JoinSet::new();
    loop {
        let group = match groups.next(&mut cursor).await {
            Next::Group(group) => group,
            Next::Lost(items) => {
                tracing::error!(exporter = target.name, items, "the journal was full and dropped its oldest records");
                continue;
            }
            Next::Closed => break,
        };
        // The permit comes after the read: a pipeline that waits for data must not hold what another needs.
        let permit = Arc::clone(&target.consumers).acquire_owned().await;
        let (order, target, settler) = (target.delivery.order, Arc::clone(&target), settler.clone());
        let deliver = async move {
            deliver(&target, &settler, group).await;
            drop(permit);
        };
        match order {
            Order::Kept => deliver.await,
            Order::Any => drop(under_way.spawn(deliver)),
        }
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
}

/// Sends one group and accounts for every item of it.
async fn deliver(target: &Target, settler: &Settler, group: Group) {
    let mut settlement = Settlement::default();
    if target.give_up.is_requested() {
        settlement.add(format!("{}{}", bucket::DROPPED, reason::SHUTDOWN), group.items());
    } else {
        for batch in group.batches.iter() {
            send_batch(target, batch, &mut settlement).await;
        }
        reconcile(target, &mut settlement, group.items());
    }
    if let Err(error) = settler.settle(&group.records, &settlement) {
        tracing::error!(exporter = target.name, %error, "a delivery could not be entered into the ledger");
    }
}

/// An exporter must account for each item of a batch. If one does not, the ledger says so instead of the journal
/// refusing the settlement for ever.
fn reconcile(target: &Target, settlement: &mut Settlement, held: u64) {
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

async fn send_batch(target: &Target, batch: &Batch, settlement: &mut Settlement) {
    let Encoded { requests, rejected } = target.exporter.encode(batch);
    for rejection in rejected {
        reject(target, &rejection, settlement);
    }
    if let [request] = requests.as_slice() {
        return enter(target, request, send(target, request).await, settlement);
    }
    let lanes = by_lane(&requests);
    let sent = join_all(lanes.into_iter().map(|lane| async move {
        let mut ends = Vec::with_capacity(lane.len());
        for request in lane {
            ends.push((request, send(target, request).await));
        }
        ends
    }));
    for (request, end) in sent.await.into_iter().flatten() {
        enter(target, request, end, settlement);
    }
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
    Delivered { rejected: Option<Rejection> },
    Rejected(Failure),
    Dropped { reason: &'static str, last: Failure },
}

/// Attempts one request until it arrived, was refused for good, or is given up.
async fn send(target: &Target, request: &Request) -> End {
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
            return End::Dropped { reason: reason::SHUTDOWN, last: failure };
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
            () = target.give_up.requested() => return End::Dropped { reason: reason::SHUTDOWN, last: failure },
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
