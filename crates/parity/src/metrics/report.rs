//! What the series of a metric come to together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Identity, MetricVerdict, MetricsReport, SeriesVerdict};
use crate::evidence::EValue;
use crate::family::{Claim, Family};
use crate::names::Names;
use crate::series_sets::{Presence, compare_sets};
use crate::verdict::{Cause, Finding, Needs, Side, Verdict};

/// So many series of a metric are listed.
const LISTED_MAX: usize = 20;

/// A series and what its comparison came to by itself.
pub(super) struct Judged<'a> {
    pub(super) identity: &'a Identity,
    pub(super) verdict: Verdict,
    /// How strong a difference is.
    pub(super) strength: EValue,
    /// When each side had it.
    pub(super) presence: [Presence; 2],
    /// Which side sends deltas of it.
    pub(super) deltas: [bool; 2],
}

/// All series, each judged by itself.
pub(crate) struct JudgedMetrics<'a> {
    pub(super) series: Vec<Judged<'a>>,
    pub(super) sight: Sight<'a>,
    pub(super) left_out_points: u64,
}

impl<'a> JudgedMetrics<'a> {
    /// What is to be judged together with others.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Claim<'_>> {
        self.series.iter().map(|series| (&series.verdict, series.strength))
    }

    /// What remains of it in a family.
    pub(crate) fn report(self, family: &Family) -> MetricsReport {
        let JudgedMetrics { series, sight, left_out_points } = self;
        let mut by_metric: BTreeMap<&'a str, Vec<Judged<'a>>> = BTreeMap::new();
        for mut judged in series {
            judged.verdict = family.judge(judged.verdict, judged.strength);
            by_metric.entry(&judged.identity.metric).or_default().push(judged);
        }
        let metrics = by_metric.into_iter().map(|(name, series)| metric_verdict(name, series, &sight)).collect();
        MetricsReport { metrics, collisions: sight.names.collisions(), left_out_points }
    }
}

/// What is known beside the series of a metric.
pub(super) struct Sight<'a> {
    pub(super) names: &'a Names,
    pub(super) targets: &'a [BTreeSet<String>; 2],
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

fn metric_verdict(name: &str, series: Vec<Judged<'_>>, sight: &Sight<'_>) -> MetricVerdict {
    let names = sight.names;
    let present = series.iter().map(|series| (series.identity, &series.presence));
    let mut sets = compare_sets(present, sight.watermark_unix_ns);
    let are_deltas = |side: Side| {
        let of_side = series.iter().filter(|series| !series.presence[side as usize].is_new());
        of_side.clone().count() > 0 && of_side.clone().all(|series| series.deltas[side as usize])
    };
    sets.iter_mut().for_each(|set| sight.explain(&mut set.finding, are_deltas));
    let mut counts = BTreeMap::new();
    for series in &series {
        *counts.entry(series.verdict.name()).or_default() += 1;
    }
    let of_sets = sets.first().map(|finding| Verdict::Different(finding.finding.clone()));
    let of_names = sight.collision(name).into_iter();
    let of_series = series.iter().map(|series| series.verdict.clone());
    let verdict = worst(of_names.chain(of_sets).chain(of_series));
    let mut listed: Vec<SeriesVerdict> = series
        .into_iter()
        .map(|series| SeriesVerdict { identity: series.identity.clone(), verdict: series.verdict })
        .collect();
    listed.sort_by(|a, b| rank(&a.verdict).cmp(&rank(&b.verdict)).then_with(|| a.identity.cmp(&b.identity)));
    listed.truncate(LISTED_MAX);
    MetricVerdict {
        name: name.to_owned(),
        legacy_names: names.observed(Side::Legacy, name),
        new_names: names.observed(Side::New, name),
        verdict,
        counts,
        sets,
        series: listed,
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

/// One verdict for several: a difference counts before what is open, that before equality with the widest margin; what
/// cannot be compared counts only alone.
pub(crate) fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let together = |known: Verdict, other: Verdict| match (known, other) {
        (
            Verdict::Equivalent { margin_ratio: one, confidence, remark },
            Verdict::Equivalent { margin_ratio: two, confidence: other, remark: also },
        ) => Verdict::Equivalent {
            margin_ratio: one.max(two),
            confidence: confidence.min(other),
            remark: remark.or(also),
        },
        (known, other) if rank(&other) < rank(&known) => other,
        (known, _) => known,
    };
    verdicts.reduce(together).unwrap_or(Verdict::Inconclusive { needs: Needs::Overlap })
}
