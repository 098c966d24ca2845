//! What would help: names that are missing in the settings, labels that only one side has.
//!
//! A metric that was renamed is missing on one side and new on the other, and a label that one side has on everything makes
//! every metric differ. Both are one thing to do about many verdicts. None of these is changed: what looks like something
//! else may still be another thing, which only the reader knows.

mod figures;
mod labels;
mod renames;
mod shared;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::MetricVerdict;
use super::identities::OfMetric;
use super::report::Sight;
use super::series::{Comparing, Kept};
use crate::suggestion::{Advice, Suggestion};
use crate::verdict::{Cause, Side, Verdict};
use figures::Line;
use labels::Labels;
use renames::{Figures, Kind, OneSided, Pair};

/// So many metrics of a side are looked at that the other has not.
const METRICS_MAX: usize = 256;
/// A metric with more series is not looked at.
const SERIES_MAX: usize = 64;
/// So many series are looked at of a side in all, and so many of the newest samples of each.
const SERIES_ALL_MAX: usize = 4096;
const SAMPLES_MAX: usize = 480;

/// Everything that would help, labels of all series first.
pub(super) fn suggest(sight: &Sight<'_>, comparing: &[Comparing]) -> Vec<Suggestion> {
    let [legacy, new] = [Side::Legacy, Side::New].map(|side| one_sided(side, sight, comparing));
    let mut suggestions = shared::suggest(sight);
    let renamed = |pair: Pair<'_>| {
        let labels = pair.renamed.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned()));
        let names = [&legacy[pair.at[0]], &new[pair.at[1]]].map(|metric| metric.name.clone());
        Suggestion::renamed(names, pair.scale, labels.collect(), [pair.agreeing as u64, pair.series as u64])
    };
    suggestions.extend(renames::pairs(&legacy, &new).into_iter().map(renamed));
    suggestions
}

/// Says with what is missing what it looks like on the other side.
pub(super) fn tell(suggestions: &[Suggestion], metrics: &mut [MetricVerdict]) {
    let mut by_name: [BTreeMap<&str, &Suggestion>; 2] = Default::default();
    for suggestion in suggestions {
        if let Advice::Renamed { legacy, new, .. } = &suggestion.advice {
            by_name[0].insert(legacy, suggestion);
            by_name[1].insert(new, suggestion);
        }
    }
    for metric in metrics {
        let (side, name) = match (metric.legacy_names.as_slice(), metric.new_names.as_slice()) {
            ([name], []) => (Side::Legacy, name),
            ([], [name]) => (Side::New, name),
            _ => continue,
        };
        let Some(likeness) = by_name[side as usize].get(name.as_str()).and_then(|found| found.likeness(side)) else {
            continue;
        };
        let of_sets = metric.sets.iter_mut().map(|set| &mut set.finding);
        let of_verdict = match &mut metric.verdict {
            Verdict::Different(finding) => Some(finding),
            _ => None,
        };
        for finding in of_sets.chain(of_verdict) {
            if matches!(finding.cause, Cause::SeriesMissing { .. } | Cause::DeltasLost { .. }) {
                finding.evidence = format!("{}; {likeness}", finding.evidence);
            }
        }
    }
}

/// The metrics that only this side has, with what is known of their series.
fn one_sided<'a>(side: Side, sight: &Sight<'a>, comparing: &'a [Comparing]) -> Vec<OneSided<'a>> {
    let mut found = Vec::new();
    let mut series_left = SERIES_ALL_MAX;
    for metric in sight.identities.metrics() {
        if found.len() >= METRICS_MAX {
            break;
        }
        if let Some(metric) = of_one_side(metric, side, sight, comparing)
            && metric.labels.len() <= series_left
        {
            series_left -= metric.labels.len();
            found.push(metric);
        }
    }
    found
}

fn of_one_side<'a>(
    metric: &'a OfMetric,
    side: Side,
    sight: &Sight<'a>,
    comparing: &'a [Comparing],
) -> Option<OneSided<'a>> {
    let seen = |number: &u32| &sight.seen[*number as usize];
    if metric.series().iter().any(|number| !seen(number).presence[side.other() as usize].is_new()) {
        return None;
    }
    // What only passed by, or is of several kinds, is nothing to look at.
    let is_settled = |number: &u32| seen(number).presence[side as usize].is_settled(sight.watermark_unix_ns);
    let numbers = metric.series().iter().filter(|number| is_settled(number)).take(SERIES_MAX + 1);
    let numbers: Vec<u32> = numbers.copied().collect();
    let mut names = sight.names.observed(side, metric.name());
    let is_clear = names.len() == 1 && !sight.names.has_rule(side, &names[0]);
    if numbers.is_empty() || numbers.len() > SERIES_MAX || !is_clear {
        return None;
    }
    let mut kinds = Vec::new();
    let mut figures = Vec::new();
    for number in &numbers {
        let (kind, kept) = kept(&comparing[*number as usize], side).filter(|_| !seen(number).mixed_kinds)?;
        kinds.push(kind);
        figures.push(kept);
    }
    let has_fractions = kinds.contains(&Kind::Counter { has_fractions: true });
    let kind = match kinds.first()? {
        Kind::Counter { .. } => Kind::Counter { has_fractions },
        kind => *kind,
    };
    let labels: Vec<Labels<'_>> =
        numbers.iter().map(|number| sight.identities.get(*number).pairs().collect()).collect();
    let values = labels::values_of(&labels);
    let name = names.pop()?;
    let words = words::words(&name);
    Some(OneSided { name, words, kind, labels, values, figures })
}

/// What a series showed lately.
fn kept(comparing: &Comparing, side: Side) -> Option<(Kind, Figures)> {
    let counts = |counter: &crate::counter::Counter| Line::of_counts(counter.kept(side), SAMPLES_MAX);
    Some(match comparing.kept()? {
        Kept::Counter(counter) => {
            let kind = Kind::Counter { has_fractions: counter.has_fractions(side) };
            (kind, Figures { main: counts(counter), ..Figures::default() })
        }
        Kept::Gauge(gauge) => {
            let levels = gauge.kept(side).iter().map(|level| (level.time_unix_ns, level.value));
            (Kind::Gauge, Figures { main: Line::of_levels(levels, SAMPLES_MAX), ..Figures::default() })
        }
        Kept::Histogram(count, sum) => {
            (Kind::Histogram, Figures { main: counts(count), sum: sum.map(counts).unwrap_or_default() })
        }
    })
}
