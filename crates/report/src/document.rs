//! What is reported.

use std::collections::BTreeMap;

use component::clock::Calendar;
use parity::{Cause, Demand, Explanation, Finding, Report, Subject, Suggestion, Verdict};
use serde::Serialize;

use crate::columns::number;
use crate::control::ControlSummary;

/// The version of the JSON form. A field more is no new version; a field less or another meaning is.
const SCHEMA: u32 = 1;

/// A report with what it is about.
#[derive(Debug, Serialize)]
pub struct Document {
    schema: u32,
    /// The migration that this is about, where a running process has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    migration: Option<String>,
    /// When the verdicts were taken, where a running process takes them again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_unix_ns: Option<u64>,
    /// Over everything.
    pub verdict: Overall,
    pub(crate) legacy: SideSummary,
    pub(crate) new: SideSummary,
    /// A replica of the legacy side, and the noise that it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<ControlSummary>,
    pub(crate) margin_ratio: f64,
    pub(crate) confidence: f64,
    /// What kept something from being compared.
    pub(crate) notes: Vec<String>,
    /// What nobody asked to have compared, though one side has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
    #[serde(flatten)]
    pub(crate) report: Report,
    /// What is known of the failures that were found.
    failures: BTreeMap<&'static str, Explanation>,
}

/// One side.
#[derive(Debug, Serialize)]
pub struct SideSummary {
    /// The file or the address.
    pub source: String,
    /// Points, spans and records that were compared.
    pub items: u64,
    /// The oldest of them.
    pub from_unix_ns: Option<u64>,
    /// The newest of them.
    pub to_unix_ns: Option<u64>,
}

impl SideSummary {
    /// From when to when, in UTC.
    pub(crate) fn time(&self) -> String {
        match (self.from_unix_ns, self.to_unix_ns) {
            (Some(from), Some(to)) => format!("{} to {}", shown_time(from), shown_time(to)),
            _ => "no time".to_owned(),
        }
    }
}

/// A time in UTC, to the second.
pub fn shown_time(unix_ns: u64) -> String {
    let Calendar { year, month, day, hour, minute, second, .. } = Calendar::from_unix_ns(unix_ns);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The verdict over everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// Everything that can be compared is equal.
    Equivalent,
    /// There is nothing that can be compared.
    NotComparable,
    /// Something differs.
    Different,
    /// Nothing differs, and something is open.
    Inconclusive,
}

impl Overall {
    /// What the process ends with.
    pub const fn exit_code(self) -> u8 {
        match self {
            Overall::Equivalent | Overall::NotComparable => 0,
            Overall::Different => 1,
            Overall::Inconclusive => 2,
        }
    }

    /// As JSON has it.
    pub const fn key(self) -> &'static str {
        match self {
            Overall::NotComparable => "not_comparable",
            overall => overall.name(),
        }
    }

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Overall::Equivalent => "equivalent",
            Overall::NotComparable => "not comparable",
            Overall::Different => "different",
            Overall::Inconclusive => "inconclusive",
        }
    }
}

impl Document {
    /// Puts a report together with what it is about; a note tells of something that was not compared.
    pub fn new(report: Report, sides: [SideSummary; 2], demand: Demand, notes: Vec<String>) -> Document {
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
        Document {
            schema: SCHEMA,
            migration: None,
            at_unix_ns: None,
            verdict,
            legacy,
            new,
            control: None,
            margin_ratio,
            confidence,
            notes,
            remarks: Vec::new(),
            report,
            failures,
        }
    }

    /// The same, as one of many that a running process makes.
    #[must_use]
    pub fn of_migration(self, migration: Option<String>, at_unix_ns: u64) -> Document {
        Document { migration, at_unix_ns: Some(at_unix_ns), ..self }
    }

    /// The same, with what a replica of the legacy side showed.
    #[must_use]
    pub fn with_control(self, control: Option<ControlSummary>) -> Document {
        Document { control, ..self }
    }

    /// Where everything comes from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&'static str, &SideSummary)> {
        let control = self.control.iter().map(|control| ("control", &control.side));
        [("legacy", &self.legacy), ("new", &self.new)].into_iter().chain(control)
    }

    /// The same with what is to be said beside the verdicts, and keeps none of them open.
    #[must_use]
    pub fn with_remarks(self, remarks: Vec<String>) -> Document {
        Document { remarks, ..self }
    }

    /// The report, and what kept something from being compared.
    pub fn into_parts(self) -> (Report, Vec<String>) {
        (self.report, self.notes)
    }

    /// Subjects, those that differ first, then what is open: what has the same cause together, and the most at first.
    pub(crate) fn by_urgency(&self) -> Vec<&Subject> {
        let mut subjects: Vec<&Subject> = self.report.subjects.iter().collect();
        subjects.sort_by(|a, b| {
            let rank = |subject: &Subject| (urgency(&subject.verdict), subject.failure.is_none(), subject.failure);
            rank(a).cmp(&rank(b)).then_with(|| share(&b.verdict).total_cmp(&share(&a.verdict)))
        });
        subjects
    }

    /// Subjects that differ, in the same order.
    pub(crate) fn differing(&self) -> impl Iterator<Item = &Subject> {
        self.by_urgency().into_iter().filter(|subject| matches!(subject.verdict, Verdict::Different(_)))
    }

    /// What differs beyond those of which the details are shown.
    pub(crate) fn not_detailed(&self, detailed_max: usize) -> Option<String> {
        let more = self.differing().count().saturating_sub(detailed_max);
        (more > 0).then(|| format!("details of {more} more that differ are in the JSON report"))
    }

    /// The failures that were found, and in which subjects.
    pub(crate) fn found_failures(&self) -> Vec<(Explanation, Vec<&str>)> {
        let mut found: BTreeMap<parity::Failure, Vec<&str>> = BTreeMap::new();
        for subject in self.by_urgency() {
            if let Some(failure) = subject.failure {
                found.entry(failure).or_default().push(&subject.name);
            }
        }
        found.into_iter().map(|(failure, subjects)| (failure.explain(), subjects)).collect()
    }

    /// What would help, as far as anyone reads it: in words, and as a configuration.
    pub(crate) fn suggestions(&self) -> Option<Suggestions> {
        let all = &self.report.suggestions;
        let shown = &all[..all.len().min(SUGGESTIONS_MAX)];
        let more = match all.len() - shown.len() {
            0 => None,
            more => Some(format!("{more} more are in the JSON report")),
        };
        let words = shown.iter().map(|suggestion| suggestion.sentence.clone()).chain(more);
        let configuration = Suggestion::configuration(shown);
        (!shown.is_empty()).then(|| Suggestions { words: words.collect(), configuration })
    }

    /// How many subjects there are of a verdict.
    pub(crate) fn count(&self, verdict: &str) -> u64 {
        self.report.counts.get(verdict).copied().unwrap_or(0)
    }

    /// How many there are of each, in one line.
    pub(crate) fn summary(&self) -> String {
        let left_out = match self.report.left_out {
            0 => String::new(),
            left_out => format!(", {} items left out", number(left_out)),
        };
        format!(
            "{}: {} different, {} inconclusive, {} equivalent, {} not comparable{left_out}",
            self.verdict.name(),
            self.count("different"),
            self.count("inconclusive"),
            self.count("equivalent"),
            self.count("not_comparable"),
        )
    }

    /// What there is to say beside the subjects.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let collision = |collision: &parity::CollisionReport| {
            format!("on the {} side {} all become {}", collision.side, collision.names.join(" and "), collision.name)
        };
        let release = |remark: &parity::ReleaseRemark| match remark.since_unix_ns {
            Some(since) => format!("{}; since {}", remark.sentence, shown_time(since)),
            None => remark.sentence.clone(),
        };
        let (collisions, releases) = (&self.report.collisions, &self.report.releases);
        let noise = self.control.iter().flat_map(ControlSummary::remarks);
        let said = self.notes.iter().chain(&self.remarks).cloned();
        said.chain(collisions.iter().map(collision)).chain(releases.iter().map(release)).chain(noise).collect()
    }
}

/// So many suggestions are shown.
const SUGGESTIONS_MAX: usize = 20;

/// What would help.
pub(crate) struct Suggestions {
    /// Each in a sentence.
    pub(crate) words: Vec<String>,
    /// What to write for all of them.
    pub(crate) configuration: String,
}

pub(crate) const fn urgency(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Different(_) => 0,
        Verdict::Inconclusive { .. } => 1,
        Verdict::NotComparable { .. } => 2,
        Verdict::Equivalent { .. } => 3,
    }
}

/// How much of something differs, as far as that is known; all of it where it is not there.
fn share(verdict: &Verdict) -> f64 {
    let Verdict::Different(finding) = verdict else { return 0.0 };
    match &finding.cause {
        Cause::Loss { ratio_low, .. } | Cause::DeltasLost { ratio_low, .. } => *ratio_low,
        Cause::Level { ratio } | Cause::TracesFragmented { ratio, .. } => ratio.abs(),
        _ => 1.0,
    }
}

/// So many subjects of a failure are named.
const OF_FAILURE_MAX: usize = 12;

/// The names of the subjects of a failure, as far as anyone reads them.
pub(crate) fn subjects_of(names: &[&str], written: impl Fn(&str) -> String) -> String {
    let mut out = names.iter().take(OF_FAILURE_MAX).map(|name| written(name)).collect::<Vec<_>>().join(", ");
    if names.len() > OF_FAILURE_MAX {
        out.push_str(&format!(" and {} more", names.len() - OF_FAILURE_MAX));
    }
    out
}

/// A verdict in so many words as an overview has room for; what shows a difference stands with its details.
pub(crate) fn headline(subject: &Subject) -> String {
    match (&subject.verdict, subject.differs_at) {
        (Verdict::Different(finding), Some(depth)) => format!("at the {depth}: {}", finding.cause),
        (Verdict::Different(finding), None) => finding.cause.to_string(),
        _ => subject.sentence.clone(),
    }
}

/// Whether the details of a subject say nothing that its headline does not say.
pub(crate) fn adds_nothing(subject: &Subject) -> bool {
    matches!(&subject.verdict, Verdict::Different(Finding { cause: Cause::SeriesMissing { .. }, .. }))
        && subject.differs_at.is_none()
        && repeats(subject)
}

/// What it comes to at each depth, and where to look; none where only one was looked at.
pub(crate) fn depths_of(subject: &Subject) -> Option<String> {
    let first = subject.differs_at?;
    let at = |at: &parity::AtDepth| format!("{} {}", at.depth, shown(&at.verdict));
    let depths: Vec<String> = subject.depths.iter().map(at).collect();
    Some(format!("{}; {}", depths.join(", "), first.blame()))
}

/// Whether the parts of a subject that differ say nothing that its sentence does not say.
pub(crate) fn repeats(subject: &Subject) -> bool {
    let mut differing = subject.parts.iter().filter(|part| matches!(part.verdict, Verdict::Different(_)));
    let is_itself = differing.next().is_none_or(|part| {
        part.name == subject.name || part.name.strip_prefix("1 series such as ").is_some_and(|one| one == subject.name)
    });
    is_itself && differing.next().is_none() && other_names(subject).is_none()
}

/// Whether a difference is that of sets of series, of which one shows as much as many.
pub(crate) fn is_of_sets(subject: &Subject) -> bool {
    let Verdict::Different(finding) = &subject.verdict else { return false };
    use Cause::{AttributeMissing, MovedToTarget, SeriesMissing, ValueRewritten};
    matches!(
        finding.cause,
        SeriesMissing { .. } | AttributeMissing { .. } | MovedToTarget { .. } | ValueRewritten { .. }
    )
}

/// A verdict as people read it.
pub(crate) fn shown(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::NotComparable { .. } => "not comparable",
        verdict => verdict.name(),
    }
}

/// The names that a subject has on the two sides, where they are others.
pub(crate) fn other_names(subject: &Subject) -> Option<String> {
    let is_same = |names: &[String]| names.iter().all(|name| *name == subject.name);
    let are_one = subject.legacy_names.len() == 1 && subject.legacy_names == subject.new_names;
    if are_one || (is_same(&subject.legacy_names) && is_same(&subject.new_names)) {
        return None;
    }
    let listed = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Some(format!("legacy: {}; new: {}", listed(&subject.legacy_names), listed(&subject.new_names)))
}
