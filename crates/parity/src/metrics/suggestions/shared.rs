//! Labels that all series of one side have, each with one value, and that the other side lacks.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::report::Sight;
use crate::suggestion::Suggestion;
use crate::verdict::Side;

/// Of fewer metrics, what all of them have is what one of them has.
const METRICS_MIN: usize = 3;
/// Nearly all: a server's own metrics may lack what it adds to others, or have it where nothing else has.
const NEARLY_ALL: f64 = 0.95;
/// So many labels are looked at.
const LABELS_MAX: usize = 8;
/// So many values of one are counted; of more it is clear that they vary.
const VALUES_MAX: usize = 8;

/// For each side, the labels that all of its series have.
pub(super) fn suggest(sight: &Sight<'_>) -> Vec<Suggestion> {
    [Side::Legacy, Side::New].into_iter().filter_map(|side| of_side(side, sight)).collect()
}

fn is_nearly_all(count: u64, all: u64) -> bool {
    count as f64 >= NEARLY_ALL * all as f64
}

fn of_side(side: Side, sight: &Sight<'_>) -> Option<Suggestion> {
    let candidates = candidates(side, sight)?;
    let mut values: Vec<(&str, BTreeMap<&str, u64>)> =
        candidates.into_iter().map(|key| (key, BTreeMap::new())).collect();
    let mut all = 0;
    for metric in sight.identities.metrics() {
        let of_side = |number: &&u32| !sight.seen[**number as usize].presence[side as usize].is_new();
        for number in metric.series().iter().filter(of_side) {
            all += 1;
            for (name, value) in sight.identities.get(*number).pairs() {
                if let Some((_, counts)) = values.iter_mut().find(|(key, _)| *key == name) {
                    *counts.entry(value).or_default() += 1;
                }
            }
            values.retain(|(_, counts)| counts.len() <= VALUES_MAX);
            if values.is_empty() {
                return None;
            }
        }
    }
    let most = |(key, counts): (&str, BTreeMap<&str, u64>)| {
        let (value, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        is_nearly_all(count, all).then(|| (key.to_owned(), value.to_owned(), count))
    };
    let found: Vec<(String, String, u64)> = values.into_iter().filter_map(most).collect();
    let series = found.iter().map(|(.., count)| *count).min()?;
    let are_of_resources = found.iter().all(|(key, ..)| sight.targets[side.other() as usize].contains(key));
    let labels = found.into_iter().map(|(key, value, _)| (key, value)).collect();
    Some(Suggestion::shared_labels(side, labels, [series, all], are_of_resources))
}

/// The labels that nearly all metrics of a side have and hardly any of the other one.
fn candidates<'a>(side: Side, sight: &Sight<'a>) -> Option<BTreeSet<&'a str>> {
    let mut having: [BTreeMap<&str, u64>; 2] = Default::default();
    let mut metrics = [0u64; 2];
    for metric in sight.identities.metrics() {
        for of in [Side::Legacy, Side::New] {
            let mut series = metric.series().iter().map(|number| &sight.seen[*number as usize].presence[of as usize]);
            if series.any(|presence| !presence.is_new()) {
                metrics[of as usize] += 1;
                for key in sight.identities.keys(metric, of) {
                    *having[of as usize].entry(key).or_default() += 1;
                }
            }
        }
    }
    if metrics.iter().any(|count| *count < METRICS_MIN as u64) {
        return None;
    }
    let (own, other) = (&having[side as usize], &having[side.other() as usize]);
    let lacks = |key: &str| {
        let all = metrics[side.other() as usize];
        is_nearly_all(all - other.get(key).copied().unwrap_or(0), all)
    };
    let found = own.iter().filter(|(key, count)| is_nearly_all(**count, metrics[side as usize]) && lacks(key));
    let found: BTreeSet<&str> = found.map(|(key, _)| *key).take(LABELS_MAX).collect();
    (!found.is_empty()).then_some(found)
}
