//! What the series of a metric come to together.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::identities::{Identities, OfMetric};
use super::series::{Judged, Seen};
use super::{MetricVerdict, SeriesVerdict};
use crate::family::Family;
use crate::names::Names;
use crate::series_sets::compare_sets;
use crate::verdict::{Cause, Finding, Needs, Side, Verdict};

/// So many series of a metric are listed.
const LISTED_MAX: usize = 20;

/// What is known beside the series of a metric.
pub(super) struct Sight<'a> {
    pub(super) names: &'a Names,
    pub(super) targets: &'a [BTreeSet<String>; 2],
    pub(super) identities: &'a Identities,
    /// By the number of the series.
    pub(super) seen: &'a [Seen],
    pub(super) judged: &'a [Option<Judged>],
    /// All series and whatever else is judged with them.
    pub(super) family: &'a Family,
    pub(super) watermark_unix_ns: u64,
}

impl Sight<'_> {
    /// Names what is known beside the series: an attribute that stands on the target, deltas that nobody took.
    fn explain(&self, finding: &mut Finding, are_deltas: impl Fn(Side) -> bool) {
        let cause = match &finding.cause {
            Cause::AttributeMissing { side, key } if self.targets[*side as usize].contains(key) => {
                Cause::MovedToTarget { key: key.clone() }
            }
            Cause::SeriesMissing { side } if are_deltas(side.other()) => {
                Cause::DeltasLost { side: *side, ratio_low: 1.0, ratio_high: 1.0 }
            }
            _ => return,
        };
        finding.cause = cause;
    }

    /// What a series came to.
    fn verdict(&self, number: u32) -> Verdict {
        let judged = self.judged[number as usize].as_ref();
        judged.map_or(Verdict::Inconclusive { needs: Needs::Overlap }, |judged| judged.verdict(self.family))
    }

    /// Several names of one side are one on the other.
    fn collision(&self, name: &str) -> Option<Verdict> {
        let [legacy, new] = [Side::Legacy, Side::New].map(|side| self.names.observed(side, name));
        let names = match (legacy.len(), new.len()) {
            (2.., 1) => legacy,
            (1, 2..) => new,
            _ => return None,
        };
        let evidence = format!("both are {name}");
        Some(Verdict::different(Cause::NamesCollide { names }, evidence))
    }
}

pub(super) fn metric_verdict(metric: &OfMetric, sight: &Sight<'_>) -> MetricVerdict {
    let (name, names) = (metric.name(), sight.names);
    let seen = |number: &u32| &sight.seen[*number as usize];
    let keys = [Side::Legacy, Side::New].map(|side| sight.identities.keys(metric, side));
    let present = metric.series().iter().map(|number| (sight.identities.get(*number), &seen(number).presence));
    let mut sets = compare_sets(present, &keys, sight.watermark_unix_ns);
    let are_deltas = |side: Side| {
        let mut of_side =
            metric.series().iter().map(seen).filter(|seen| !seen.presence[side as usize].is_new()).peekable();
        of_side.peek().is_some() && of_side.all(|seen| seen.deltas[side as usize])
    };
    sets.iter_mut().for_each(|set| sight.explain(&mut set.finding, are_deltas));
    let ranked = Ranked::of(metric.series(), sight);
    let of_sets = sets.first().map(|finding| Verdict::Different(finding.finding.clone()));
    let of_names = sight.collision(name).into_iter();
    let verdict = worst(of_names.chain(of_sets).chain(ranked.worst));
    let listed = ranked.first.iter().flatten().take(LISTED_MAX).map(|number| SeriesVerdict {
        identity: sight.identities.get(*number).identity(),
        verdict: sight.verdict(*number),
    });
    MetricVerdict {
        name: name.to_owned(),
        legacy_names: names.observed(Side::Legacy, name),
        new_names: names.observed(Side::New, name),
        verdict,
        counts: ranked.counts,
        sets,
        series: listed.collect(),
    }
}

/// The verdicts of many series, looked through once. Nearly all of them are never shown.
#[derive(Default)]
struct Ranked {
    /// The first ones of each rank.
    first: [Vec<u32>; RANKS],
    worst: Option<Verdict>,
    counts: BTreeMap<&'static str, u64>,
}

impl Ranked {
    fn of(series: &[u32], sight: &Sight<'_>) -> Ranked {
        let mut first: [Vec<u32>; RANKS] = Default::default();
        let mut counts = [0u64; RANKS];
        // Equal ones come together to the widest margin; of others, the one that weighs most stands for all.
        let mut margins: Option<(f64, f64)> = None;
        let mut remarked = Vec::new();
        let mut heaviest: [Option<(f64, u32)>; RANKS] = [None; RANKS];
        for number in series {
            let judged = sight.judged[*number as usize].as_ref();
            let rank = judged.map_or(UNJUDGED, |judged| rank_of(judged, sight.family));
            counts[rank] += 1;
            if first[rank].len() < LISTED_MAX {
                first[rank].push(*number);
            }
            match judged {
                Some(Judged::Equal { margin_ratio, confidence }) => {
                    let (margin, least) = margins.unwrap_or((0.0, 1.0));
                    margins = Some((margin.max(*margin_ratio), least.min(*confidence)));
                    continue;
                }
                Some(Judged::Other(verdict)) if rank == EQUIVALENT => remarked.push(&**verdict),
                _ => {}
            }
            // Of those that weigh the same it is the first one, by its labels.
            let weight = judged.map_or(f64::INFINITY, weight_of);
            if heaviest[rank].is_none_or(|(most, _)| weight > most) {
                heaviest[rank] = Some((weight, *number));
            }
        }
        let of_rank = |rank: usize| heaviest[rank].map(|(_, number)| sight.verdict(number));
        let plain =
            margins.map(|(margin_ratio, confidence)| Verdict::Equivalent { margin_ratio, confidence, remark: None });
        let equal = || plain.into_iter().chain(remarked.into_iter().cloned()).reduce(together);
        let worst = of_rank(0).or_else(|| of_rank(UNJUDGED)).or_else(equal).or_else(|| of_rank(RANKS - 1));
        let named = (0..RANKS).filter(|rank| counts[*rank] > 0);
        let counts = named.map(|rank| (NAMES[rank], counts[rank])).collect();
        Ranked { first, worst, counts }
    }
}

const RANKS: usize = 4;
const UNJUDGED: usize = 1;
const EQUIVALENT: usize = 2;
/// The names of verdicts, by rank.
const NAMES: [&str; RANKS] = ["different", "inconclusive", "equivalent", "not_comparable"];

fn rank_of(judged: &Judged, family: &Family) -> usize {
    match judged {
        Judged::Suspected(suspected) if family.claims(suspected.1) => 0,
        Judged::Suspected(_) => UNJUDGED,
        Judged::Equal { .. } => EQUIVALENT,
        Judged::NeedsEvents { .. } => UNJUDGED,
        Judged::Other(verdict) => rank(verdict).into(),
    }
}

fn weight_of(judged: &Judged) -> f64 {
    match judged {
        Judged::Equal { .. } => 0.0,
        Judged::NeedsEvents { margin_ratio, .. } => *margin_ratio,
        Judged::Suspected(suspected) => weight_of_cause(&suspected.0.cause),
        Judged::Other(verdict) => weight(verdict),
    }
}

/// What comes first when one verdict stands for several.
const fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Different(_) => 0,
        Verdict::Inconclusive { .. } => 1,
        Verdict::Equivalent { .. } => 2,
        Verdict::NotComparable { .. } => 3,
    }
}

/// Which of two verdicts stands for both, whatever order they come in: the one that weighs more.
fn order(one: &Verdict, other: &Verdict) -> Ordering {
    let by_weight = || weight(other).total_cmp(&weight(one));
    rank(one).cmp(&rank(other)).then_with(by_weight).then_with(|| one.sentence().cmp(&other.sentence()))
}

/// How much a verdict weighs among those of its rank.
const fn weight(verdict: &Verdict) -> f64 {
    match verdict {
        Verdict::Different(finding) => weight_of_cause(&finding.cause),
        Verdict::Inconclusive { needs: Needs::Events { margin_ratio, .. } | Needs::Steadiness { margin_ratio } } => {
            *margin_ratio
        }
        Verdict::Inconclusive { .. } => f64::INFINITY,
        Verdict::Equivalent { .. } | Verdict::NotComparable { .. } => 0.0,
    }
}

const fn weight_of_cause(cause: &Cause) -> f64 {
    match cause {
        Cause::Loss { ratio_low, .. } | Cause::DeltasLost { ratio_low, .. } => *ratio_low,
        Cause::Level { ratio } => ratio.abs(),
        Cause::SeriesMissing { .. }
        | Cause::AttributeMissing { .. }
        | Cause::MovedToTarget { .. }
        | Cause::ValueRewritten { .. }
        | Cause::NamesCollide { .. } => f64::INFINITY,
        _ => f64::MAX,
    }
}

/// One verdict for several: a difference counts before what is open, that before equality with the widest margin; what
/// cannot be compared counts only alone.
pub(crate) fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts.reduce(together).unwrap_or(Verdict::Inconclusive { needs: Needs::Overlap })
}

fn together(known: Verdict, other: Verdict) -> Verdict {
    match (known, other) {
        (
            Verdict::Equivalent { margin_ratio: one, confidence, remark },
            Verdict::Equivalent { margin_ratio: two, confidence: other, remark: also },
        ) => Verdict::Equivalent {
            margin_ratio: one.max(two),
            confidence: confidence.min(other),
            remark: Finding::about_both(remark, also),
        },
        (known, other) if order(&other, &known).is_lt() => other,
        (known, _) => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_verdict_stands_for_all_whatever_order_they_come_in() {
        let different = |cause| Verdict::different(cause, "");
        let lost = |ratio_low| different(Cause::Loss { side: Side::New, ratio_low, ratio_high: 1.0 });
        let open = |margin_ratio| Verdict::Inconclusive { needs: Needs::Steadiness { margin_ratio } };
        let missing = || different(Cause::SeriesMissing { side: Side::New });
        let equal = || Verdict::Equivalent { margin_ratio: 0.0, confidence: 1.0, remark: None };
        let none = || Verdict::Inconclusive { needs: Needs::Overlap };
        for (of, expected) in [
            (vec![lost(0.01), lost(0.04), equal(), open(0.1)], lost(0.04)),
            (vec![lost(0.01), missing()], missing()),
            (vec![open(0.1), open(0.3), equal()], open(0.3)),
            (vec![open(0.1), none(), equal()], none()),
        ] {
            assert_eq!(worst(of.iter().cloned()), expected);
            assert_eq!(worst(of.into_iter().rev()), expected);
        }
    }
}
