//! One job: its targets as discovery finds them, a task for each, and scrapes spread over the interval.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use component::{Stop, clock};
use prom::labels::SeriesHash;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::discovery::Watcher;
use super::scrape::{Loop, Scraper};
use super::target::{Target, targets};

/// Follows discovery until it is asked to stop.
pub(super) async fn run(scraper: Arc<Scraper>, stop: Stop) {
    let mut watcher = Watcher::new(&scraper.job);
    let mut running: HashMap<Key, (Target, Stop)> = HashMap::new();
    let mut loops = JoinSet::new();
    loop {
        let changed = tokio::select! {
            changed = watcher.next() => changed,
            () = stop.requested() => break,
        };
        if changed {
            let found = found(&scraper, &watcher);
            running.retain(|key, (target, gone)| {
                let stays = found.get(key) == Some(target);
                if !stays {
                    gone.request();
                }
                stays
            });
            for (key, target) in found {
                running.entry(key).or_insert_with(|| {
                    let gone = Stop::default();
                    loops.spawn(follow(Arc::clone(&scraper), target.clone(), gone.clone(), stop.clone()));
                    (target, gone)
                });
            }
        }
        while loops.try_join_next().is_some() {}
    }
    while loops.join_next().await.is_some() {}
}

/// What makes two targets the same: labels and address.
type Key = (SeriesHash, String);

fn found(scraper: &Scraper, watcher: &Watcher) -> HashMap<Key, Target> {
    let job = &scraper.job;
    let mut found = HashMap::new();
    for target in watcher.groups().flat_map(|group| targets(job, group)) {
        match target {
            Ok(target) => drop(found.insert((target.labels.hash(), target.url.to_string()), target)),
            Err(error) => tracing::warn!(job = job.name, error, "a discovered target cannot be scraped"),
        }
    }
    if let Some(limit) = job.limits.targets_max.filter(|limit| found.len() > *limit) {
        tracing::error!(job = job.name, targets = found.len(), limit, "target_limit exceeded: nothing is scraped");
        found.clear();
    }
    found
}

/// Scrapes one target until it is gone or everything stops.
async fn follow(scraper: Arc<Scraper>, target: Target, gone: Stop, stop: Stop) {
    let interval = target.interval;
    let mut next = Instant::now() + first_delay(&target, clock::unix_ns());
    let mut scrapes = Loop::new(scraper, target);
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = gone.requested() => return scrapes.end(Instant::now() + interval).await,
            // As in Prometheus, a shutdown ends no series: whoever takes over goes on with them.
            () = stop.requested() => return,
        }
        let due = next + interval;
        tokio::select! {
            () = scrapes.scrape(due) => {}
            () = stop.requested() => return,
        }
        next = due;
        // What was missed while a scrape took too long is not made up for.
        while next < Instant::now() {
            next += interval;
        }
    }
}

/// Scrapes of a target fall on the same place of each interval, and those of different targets on different ones.
fn first_delay(target: &Target, now_unix_ns: u64) -> Duration {
    let interval_ns = u64::try_from(target.interval.as_nanos()).unwrap_or(u64::MAX).max(1);
    let place_ns = target.labels.hash().0 % interval_ns;
    let now_ns = now_unix_ns % interval_ns;
    Duration::from_nanos((place_ns + interval_ns - now_ns) % interval_ns)
}
