//! What is reported, and the forms it is written in.

mod html;
mod junit;
mod markdown;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use component::clock::Calendar;
use parity::{Control, Demand, Explanation, Percent, Report, Subject, Verdict};
use serde::Serialize;

use super::charts::Charts;

/// The version of the JSON form. A field more is no new version; a field less or another meaning is.
const SCHEMA: u32 = 1;

/// A report with what it is about.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    schema: u32,
    /// Over everything.
    pub(super) verdict: Overall,
    legacy: SideSummary,
    new: SideSummary,
    /// A replica of the legacy side, and the noise that it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<ControlSummary>,
    margin_ratio: f64,
    confidence: f64,
    /// What kept something from being compared.
    notes: Vec<String>,
    #[serde(flatten)]
    report: Report,
    /// What is known of the failures that were found.
    failures: BTreeMap<&'static str, Explanation>,
}

/// A replica of the legacy side, and the noise that it shows.
#[derive(Debug, Serialize)]
pub(super) struct ControlSummary {
    #[serde(flatten)]
    pub(super) side: SideSummary,
    #[serde(flatten)]
    pub(super) control: Control,
}

/// Of so many subjects the noise is told to people, the loudest ones.
const FLOORS_MAX: usize = 5;

impl ControlSummary {
    /// What there is to say of the noise.
    fn remarks(&self) -> Vec<String> {
        let Control { floors, withdrawn, unknown } = &self.control;
        let floor = |floor: &parity::Floor| match floor.ratio {
            Some(ratio) => {
                format!("{}: the legacy side differs from its own replica by up to {}", floor.name, Percent(ratio))
            }
            None => format!("{}: between the legacy side and its replica, {}", floor.name, floor.sentence),
        };
        let within =
            (*withdrawn > 0).then(|| format!("differences within the noise, which are left open: {withdrawn}"));
        let unheard =
            (*unknown > 0).then(|| format!("subjects that differ and of which the control tells no noise: {unknown}"));
        floors.iter().take(FLOORS_MAX).map(floor).chain(within).chain(unheard).collect()
    }
}

/// One side.
#[derive(Debug, Serialize)]
pub(super) struct SideSummary {
    /// The file or the address.
    pub(super) source: String,
    /// Points, spans and records that were compared.
    pub(super) items: u64,
    pub(super) from_unix_ns: Option<u64>,
    pub(super) to_unix_ns: Option<u64>,
}

impl SideSummary {
    /// From when to when, in UTC.
    fn time(&self) -> String {
        match (self.from_unix_ns, self.to_unix_ns) {
            (Some(from), Some(to)) => format!("{} to {}", shown_time(from), shown_time(to)),
            _ => "no time".to_owned(),
        }
    }
}

fn shown_time(unix_ns: u64) -> String {
    let Calendar { year, month, day, hour, minute, second, .. } = Calendar::from_unix_ns(unix_ns);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The verdict over everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Overall {
    Equivalent,
    NotComparable,
    Different,
    Inconclusive,
}

impl Overall {
    /// What the process ends with.
    pub(super) const fn exit_code(self) -> u8 {
        match self {
            Overall::Equivalent | Overall::NotComparable => 0,
            Overall::Different => 1,
            Overall::Inconclusive => 2,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Overall::Equivalent => "equivalent",
            Overall::NotComparable => "not comparable",
            Overall::Different => "different",
            Overall::Inconclusive => "inconclusive",
        }
    }
}

impl Document {
    pub(super) fn new(report: Report, sides: [SideSummary; 2], demand: Demand, notes: Vec<String>) -> Document {
        let counted = |verdict: &str| report.counts.get(verdict).copied().unwrap_or(0);
        // What was left out is not proven, whatever the rest is.
        let is_open =
            counted("inconclusive") > 0 || report.left_out > 0 || !notes.is_empty() || report.subjects.is_empty();
        let verdict = match (counted("different") > 0, is_open, counted("equivalent") > 0) {
            (true, ..) => Overall::Different,
            (_, true, _) => Overall::Inconclusive,
            (.., true) => Overall::Equivalent,
            _ => Overall::NotComparable,
        };
        let failures = report.subjects.iter().filter_map(|subject| subject.failure);
        let failures = failures.map(|failure| (failure.name(), failure.explain())).collect();
        let [legacy, new] = sides;
        let Demand { margin_ratio, confidence, .. } = demand;
        let control = None;
        Document { schema: SCHEMA, verdict, legacy, new, control, margin_ratio, confidence, notes, report, failures }
    }

    pub(super) fn with_control(self, control: Option<ControlSummary>) -> Document {
        Document { control, ..self }
    }

    /// Where everything comes from.
    fn sources(&self) -> impl Iterator<Item = (&'static str, &SideSummary)> {
        let control = self.control.iter().map(|control| ("control", &control.side));
        [("legacy", &self.legacy), ("new", &self.new)].into_iter().chain(control)
    }

    /// Subjects, those that differ first, then what is open.
    fn by_urgency(&self) -> Vec<&Subject> {
        let mut subjects: Vec<&Subject> = self.report.subjects.iter().collect();
        subjects.sort_by_key(|subject| urgency(&subject.verdict));
        subjects
    }

    /// Subjects that differ.
    fn differing(&self) -> impl Iterator<Item = &Subject> {
        self.report.subjects.iter().filter(|subject| matches!(subject.verdict, Verdict::Different(_)))
    }

    /// What differs beyond those of which the details are shown.
    fn not_detailed(&self, detailed_max: usize) -> Option<String> {
        let more = self.differing().count().saturating_sub(detailed_max);
        (more > 0).then(|| format!("details of {more} more that differ are in the JSON report"))
    }

    /// The failures that were found, and in how many subjects.
    fn found_failures(&self) -> Vec<(Explanation, String)> {
        let mut counts: BTreeMap<parity::Failure, usize> = BTreeMap::new();
        for failure in self.report.subjects.iter().filter_map(|subject| subject.failure) {
            *counts.entry(failure).or_default() += 1;
        }
        let subjects = |count| if count == 1 { "1 subject".to_owned() } else { format!("{count} subjects") };
        counts.into_iter().map(|(failure, count)| (failure.explain(), subjects(count))).collect()
    }

    /// How many there are of each, in one line.
    fn summary(&self) -> String {
        let counted = |verdict: &str| self.report.counts.get(verdict).copied().unwrap_or(0);
        let left_out = match self.report.left_out {
            0 => String::new(),
            left_out => format!(", {left_out} items left out"),
        };
        format!(
            "{}: {} different, {} inconclusive, {} equivalent, {} not comparable{left_out}",
            self.verdict.name(),
            counted("different"),
            counted("inconclusive"),
            counted("equivalent"),
            counted("not_comparable"),
        )
    }

    /// What there is to say beside the subjects.
    fn remarks(&self) -> Vec<String> {
        let collision = |collision: &parity::CollisionReport| {
            format!("on the {} side {} all become {}", collision.side, collision.names.join(" and "), collision.name)
        };
        let noise = self.control.iter().flat_map(ControlSummary::remarks);
        self.notes.iter().cloned().chain(self.report.collisions.iter().map(collision)).chain(noise).collect()
    }
}

const fn urgency(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Different(_) => 0,
        Verdict::Inconclusive { .. } => 1,
        Verdict::NotComparable { .. } => 2,
        Verdict::Equivalent { .. } => 3,
    }
}

/// A verdict as people read it.
fn shown(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::NotComparable { .. } => "not comparable",
        verdict => verdict.name(),
    }
}

/// The names that a subject has on the two sides, where they are others.
fn other_names(subject: &Subject) -> Option<String> {
    let is_same = |names: &[String]| names.iter().all(|name| *name == subject.name);
    if is_same(&subject.legacy_names) && is_same(&subject.new_names) {
        return None;
    }
    let listed = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Some(format!("legacy: {}; new: {}", listed(&subject.legacy_names), listed(&subject.new_names)))
}

pub(super) fn json(document: &Document) -> serde_json::Result<String> {
    serde_json::to_string_pretty(document).map(|text| text + "\n")
}

pub(super) fn table(document: &Document) -> String {
    table::write(document)
}

pub(super) fn junit(document: &Document) -> String {
    junit::write(document)
}

pub(super) fn markdown(document: &Document) -> String {
    markdown::write(document)
}

pub(super) fn html(document: &Document, charts: &Charts) -> String {
    html::write(document, charts)
}
