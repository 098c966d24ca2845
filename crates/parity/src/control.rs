//! A control: the legacy side against a replica of itself.
//!
//! Two scrapers of the same targets are not the same either. What the legacy side differs in from its own replica is the
//! noise of how it is seen, and a difference of the new side that is no larger says nothing about the new side.

use std::collections::HashMap;
use std::mem::discriminant;

use serde::Serialize;

use crate::comparator::{Part, Report, Subject};
use crate::failures::Failure;
use crate::verdict::{Cause, Finding, Needs, Verdict};

/// What a control came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Control {
    /// The noise of each subject, the loudest first.
    pub floors: Vec<Floor>,
    /// Differences of the new side that are no larger than the noise.
    pub withdrawn: u64,
    /// Subjects that differ, of which the control does not tell the noise.
    pub unknown: u64,
}

/// The noise of one subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Floor {
    /// `metrics`, `traces` or `logs`.
    pub signal: &'static str,
    /// Its name, as in the report.
    pub name: String,
    /// By so much the legacy side may differ from its replica, relative to itself; none where it differs in kind.
    pub ratio: Option<f64>,
    /// What the comparison with the replica says.
    pub sentence: String,
}

/// What the legacy side differs in from its replica.
#[derive(Clone, Debug, Default)]
struct Noise {
    ratio: Option<f64>,
    /// Causes that are no matter of size, and how many series they concern.
    kinds: Vec<(Cause, u64)>,
}

impl Report {
    /// Takes back what is no more than the noise that the report on the legacy side and its replica shows.
    #[must_use]
    pub fn against(mut self, replica: &Report) -> (Report, Control) {
        let known: HashMap<(&str, &str), &Subject> =
            replica.subjects.iter().map(|subject| ((subject.signal, subject.name.as_str()), subject)).collect();
        let mut control = Control::default();
        for subject in &mut self.subjects {
            let replica = known.get(&(subject.signal, subject.name.as_str()));
            let noise = replica.map_or_else(Noise::default, |replica| Noise::of_subject(replica));
            control.floors.extend(replica.and_then(|replica| noise.floor(replica)));
            if !matches!(subject.verdict, Verdict::Different(_)) {
                continue;
            }
            match replica {
                Some(replica) if !noise.is_unknown() => subject.withdraw(replica, &noise),
                _ => control.unknown += 1,
            }
            control.withdrawn += u64::from(!matches!(subject.verdict, Verdict::Different(_)));
        }
        control.floors.sort_by(|one, other| {
            let ratio = |floor: &Floor| floor.ratio.unwrap_or(f64::INFINITY);
            ratio(other).total_cmp(&ratio(one)).then_with(|| one.name.cmp(&other.name))
        });
        self.recount();
        (self, control)
    }
}

impl Subject {
    /// Takes back each part that is within its own noise, and the verdict if nothing of it remains.
    fn withdraw(&mut self, replica: &Subject, noise: &Noise) {
        let own = self.verdict.clone();
        let is_of_parts = self.parts.iter().any(|part| part.verdict == own);
        let of_replica: HashMap<&str, &Part> = replica.parts.iter().map(|part| (part.name.as_str(), part)).collect();
        let is_series = |part: &Part| matches!(part.verdict, Verdict::Different(_)) && part.set_series.is_none();
        for part in &mut self.parts {
            let of_part =
                of_replica.get(part.name.as_str()).map(|replica| Noise::of(&replica.verdict, replica.set_series));
            let noise = of_part.as_ref().filter(|noise| !noise.is_unknown()).unwrap_or(noise);
            let Some(verdict) = noise.covers(&part.verdict, part.set_series) else { continue };
            if part.set_series.is_none() {
                let different = self.counts.entry("different").or_default();
                *different = different.saturating_sub(1);
                *self.counts.entry("inconclusive").or_default() += 1;
            }
            *part = Part { sentence: verdict.sentence(), verdict, ..part.clone() };
        }
        self.counts.retain(|_, count| *count > 0);
        let listed = self.parts.iter().filter(|part| is_series(part)).count() as u64;
        let hidden = self.counts.get("different").copied().unwrap_or(0).saturating_sub(listed);
        let remaining = self.parts.iter().find(|part| matches!(part.verdict, Verdict::Different(_)));
        self.verdict = match remaining {
            Some(part) if is_of_parts => part.verdict.clone(),
            // What is not listed, or of no part alone, is held against the noise of the whole.
            _ if !is_of_parts || hidden > 0 => noise.covers(&own, None).unwrap_or(own),
            _ => self
                .parts
                .iter()
                .map(|part| &part.verdict)
                .find(|verdict| is_withdrawn(verdict))
                .cloned()
                .unwrap_or(own),
        };
        self.sentence = self.verdict.sentence();
        self.failure = Failure::of(&self.verdict);
    }
}

const fn is_withdrawn(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Inconclusive { needs: Needs::BeyondNoise { .. } })
}

impl Noise {
    fn of_subject(replica: &Subject) -> Noise {
        let parts = replica.parts.iter().map(|part| Noise::of(&part.verdict, part.set_series));
        parts.fold(Noise::of(&replica.verdict, None), Noise::join)
    }

    fn of(verdict: &Verdict, set_series: Option<u64>) -> Noise {
        match verdict {
            Verdict::Equivalent { margin_ratio, .. } => Noise { ratio: Some(*margin_ratio), kinds: Vec::new() },
            Verdict::Different(finding) => Noise::of_finding(finding, set_series),
            // What the replica seems to differ in is noise as well, if not surely.
            Verdict::Inconclusive { needs: Needs::Certainty { suspected, .. } } => {
                Noise::of_finding(suspected, set_series)
            }
            Verdict::Inconclusive { .. } | Verdict::NotComparable { .. } => Noise::default(),
        }
    }

    fn of_finding(finding: &Finding, set_series: Option<u64>) -> Noise {
        match size(&finding.cause) {
            Some((_, high)) => Noise { ratio: Some(high), kinds: Vec::new() },
            None => Noise { ratio: None, kinds: vec![(finding.cause.clone(), set_series.unwrap_or(1))] },
        }
    }

    fn join(mut self, other: Noise) -> Noise {
        self.ratio = match (self.ratio, other.ratio) {
            (Some(one), Some(two)) => Some(one.max(two)),
            (one, two) => one.or(two),
        };
        self.kinds.extend(other.kinds);
        self
    }

    fn is_unknown(&self) -> bool {
        self.ratio.is_none() && self.kinds.is_empty()
    }

    fn floor(&self, replica: &Subject) -> Option<Floor> {
        let (signal, name, sentence) = (replica.signal, replica.name.clone(), replica.sentence.clone());
        (!self.is_unknown()).then_some(Floor { signal, name, ratio: self.ratio, sentence })
    }

    /// What becomes of a difference that is no larger than this; none of everything else.
    fn covers(&self, verdict: &Verdict, set_series: Option<u64>) -> Option<Verdict> {
        let Verdict::Different(suspected) = verdict else { return None };
        let is_covered = match size(&suspected.cause) {
            Some((low, _)) => self.ratio.is_some_and(|ratio| low <= ratio),
            None => {
                let series = set_series.unwrap_or(1);
                self.kinds.iter().any(|(known, of)| series <= *of && is_no_more(&suspected.cause, known))
            }
        };
        let floor_ratio = self.ratio.filter(|_| size(&suspected.cause).is_some());
        let suspected = Box::new(suspected.clone());
        is_covered.then_some(Verdict::Inconclusive { needs: Needs::BeyondNoise { suspected, floor_ratio } })
    }
}

/// Between what a difference lies, relative to the legacy side; none where it is no matter of size.
fn size(cause: &Cause) -> Option<(f64, f64)> {
    let one = |ratio: f64| Some((ratio.abs(), ratio.abs()));
    match cause {
        Cause::Loss { ratio_low, ratio_high, .. } | Cause::DeltasLost { ratio_low, ratio_high, .. } => {
            Some((*ratio_low, *ratio_high))
        }
        Cause::Level { ratio } => one(*ratio),
        Cause::Duplicated { times, .. } => one(times - 1.0),
        Cause::UnitChanged { factor } => one(factor - 1.0),
        _ => None,
    }
}

/// Whether a difference in kind is one that the replica shows too, and no more of it.
fn is_no_more(cause: &Cause, known: &Cause) -> bool {
    match (cause, known) {
        (Cause::FieldsDiffer { fields }, Cause::FieldsDiffer { fields: known }) => {
            fields.iter().all(|field| known.contains(field))
        }
        (Cause::TracesFragmented { ratio, .. }, Cause::TracesFragmented { ratio: known, .. }) => ratio <= known,
        (Cause::InjectedResets { resets, .. }, Cause::InjectedResets { resets: known, .. }) => resets <= known,
        (Cause::FirstIncrementLost { amount, .. }, Cause::FirstIncrementLost { amount: known, .. }) => amount <= known,
        (Cause::AttributeMissing { key, .. }, Cause::AttributeMissing { key: known, .. })
        | (Cause::MovedToTarget { key }, Cause::MovedToTarget { key: known })
        | (Cause::ValueRewritten { key }, Cause::ValueRewritten { key: known }) => key == known,
        (cause, known) => discriminant(cause) == discriminant(known),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::verdict::Side;

    fn subject(verdict: Verdict, parts: Vec<(&str, Verdict, Option<u64>)>) -> Subject {
        let parts: Vec<Part> = parts
            .into_iter()
            .map(|(name, verdict, set_series)| Part {
                name: name.to_owned(),
                sentence: verdict.sentence(),
                verdict,
                set_series,
            })
            .collect();
        let mut counts = BTreeMap::new();
        for part in parts.iter().filter(|part| part.set_series.is_none()) {
            *counts.entry(part.verdict.name()).or_default() += 1;
        }
        Subject {
            signal: "metrics",
            name: "requests".to_owned(),
            legacy_names: Vec::new(),
            new_names: Vec::new(),
            sentence: verdict.sentence(),
            failure: Failure::of(&verdict),
            verdict,
            parts,
            counts,
            depths: Vec::new(),
            differs_at: None,
        }
    }

    fn loss(ratio_low: f64, ratio_high: f64) -> Verdict {
        Verdict::different(Cause::Loss { side: Side::New, ratio_low, ratio_high }, "")
    }

    fn level(ratio: f64) -> Verdict {
        Verdict::different(Cause::Level { ratio }, "")
    }

    fn missing() -> Verdict {
        Verdict::different(Cause::SeriesMissing { side: Side::New }, "")
    }

    fn equal(margin_ratio: f64) -> Verdict {
        Verdict::Equivalent { margin_ratio, confidence: 1.0, remark: None }
    }

    fn judged(subject: Subject, replica: Subject) -> (Subject, Control) {
        let report = Report::of(vec![subject], Vec::new(), 0);
        let (mut report, control) = report.against(&Report::of(vec![replica], Vec::new(), 0));
        assert_eq!(report.counts, [(report.subjects[0].verdict.name(), 1)].into());
        (report.subjects.remove(0), control)
    }

    fn check(verdict: Verdict, replica: Verdict, expected: &str) -> Subject {
        let (subject, control) = judged(subject(verdict, Vec::new()), subject(replica, Vec::new()));
        assert_eq!(subject.verdict.name(), expected, "{subject:?}");
        assert_eq!(control.withdrawn, u64::from(expected == "inconclusive"));
        subject
    }

    #[test]
    fn a_difference_within_the_noise_says_nothing_of_the_new_side() {
        let open = check(level(0.012), level(-0.015), "inconclusive");
        let expected = "needs more than the noise: the new side is 1.2 % off, and the legacy side differs from its own \
                        replica by up to 1.5 %";
        assert_eq!((open.sentence.as_str(), open.failure), (expected, None));
        check(loss(0.004, 0.016), equal(0.009), "inconclusive");
        check(missing(), missing(), "inconclusive");
    }

    #[test]
    fn a_difference_beyond_the_noise_stays() {
        let lost = check(loss(0.018, 0.022), equal(0.009), "different");
        assert_eq!(lost.failure, Some(Failure::SilentLoss));
        check(level(0.05), level(-0.015), "different");
        check(Verdict::different(Cause::UnitChanged { factor: 1000.0 }, ""), level(0.5), "different");
        check(missing(), level(0.015), "different");
        let fields = |fields: &[&str]| {
            Verdict::different(Cause::FieldsDiffer { fields: fields.iter().map(|field| (*field).into()).collect() }, "")
        };
        check(fields(&["time", "body"]), fields(&["time"]), "different");
        check(fields(&["time"]), fields(&["time", "body"]), "inconclusive");
    }

    #[test]
    fn a_control_that_is_open_takes_nothing_back_and_is_counted() {
        let open = Verdict::Inconclusive { needs: Needs::Windows { seen: 1, more: 11 } };
        let (subject, control) = judged(subject(level(0.05), Vec::new()), subject(open, Vec::new()));
        assert_eq!((subject.verdict.name(), control.unknown, control.floors.len()), ("different", 1, 0));
    }

    #[test]
    fn each_series_is_held_against_its_own_noise() {
        let of = |a: Verdict, b: Verdict| {
            let whole = if matches!(a, Verdict::Different(_)) { a.clone() } else { b.clone() };
            subject(whole, vec![("a", a, None), ("b", b, None)])
        };
        let (noisy, control) = judged(of(level(0.03), equal(0.001)), of(level(0.04), equal(0.002)));
        assert_eq!((noisy.verdict.name(), noisy.parts[0].verdict.name()), ("inconclusive", "inconclusive"));
        assert_eq!(noisy.counts, [("equivalent", 1), ("inconclusive", 1)].into());
        assert_eq!(control.floors[0].ratio, Some(0.04));
        // The noise of one series is no excuse for another.
        let (real, _) = judged(of(level(0.02), level(0.03)), of(level(0.04), equal(0.002)));
        assert_eq!(real.parts[0].verdict.name(), "inconclusive");
        assert_eq!(real.verdict, level(0.03));
    }

    #[test]
    fn more_missing_series_than_the_replica_lacks_are_a_difference() {
        for (lacking, expected) in [(3, "inconclusive"), (2, "different")] {
            let of = |count| subject(missing(), vec![("some series", missing(), Some(count))]);
            let (judged, _) = judged(of(3), of(lacking));
            assert_eq!(judged.verdict.name(), expected);
        }
    }

    #[test]
    fn what_is_not_listed_is_held_against_the_noise_of_the_whole() {
        let mut many = subject(level(0.03), vec![("a", level(0.03), None)]);
        many.counts = [("different", 30)].into();
        let (inside, _) = judged(many.clone(), subject(level(0.04), vec![("a", level(0.04), None)]));
        assert_eq!(inside.verdict.name(), "inconclusive");
        let (outside, _) = judged(many, subject(level(0.02), vec![("a", level(0.02), None)]));
        assert_eq!(outside.verdict.name(), "different");
    }
}
