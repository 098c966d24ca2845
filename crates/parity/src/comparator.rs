//! Everything that two sides carry, compared.

use otlp::{Batch, Signal};
use serde::Serialize;

use crate::charts::Charts;
use crate::depth::{AtDepth, Depth};
use crate::evidence::EValue;
use crate::failures::Failure;
use crate::family::{Claim, Family};
use crate::logs::{LogSettings, Logs, StreamVerdict};
use crate::metrics::{MetricSettings, MetricVerdict, Metrics};
use crate::names::Collision;
use crate::releases::{ReleaseRemark, Releases};
use crate::suggestion::Suggestion;
use crate::traces::{PopulationVerdict, TraceSettings, Traces};
use crate::verdict::{Percent, Side, Verdict};

/// How two sides are compared.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Metrics.
    pub metrics: MetricSettings,
    /// Logs.
    pub logs: LogSettings,
    /// Traces.
    pub traces: TraceSettings,
}

/// Compares what two sides carry. The same batches in the same order give the same verdicts.
#[derive(Debug)]
pub struct Comparator {
    metrics: Metrics,
    logs: Logs,
    traces: Traces,
    releases: Releases,
    margin_ratio: f64,
    /// So many of the differences that are claimed may be none.
    level: f64,
}

/// Something that is compared, and what the comparison came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Subject {
    /// `metrics`, `traces` or `logs`.
    pub signal: &'static str,
    /// The common name of a metric, the labels of a log stream, the service or operation of traces.
    pub name: String,
    /// How the legacy side calls it, where that is another name.
    pub legacy_names: Vec<String>,
    /// How the new side calls it.
    pub new_names: Vec<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict in words.
    pub sentence: String,
    /// The failure that this is, if it has a name.
    pub failure: Option<Failure>,
    /// The parts of it: series of a metric, the ones that differ first.
    pub parts: Vec<Part>,
    /// How many parts there are by verdict.
    pub counts: std::collections::BTreeMap<&'static str, u64>,
    /// What it comes to at each depth that was looked at; empty where only one was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depths: Vec<AtDepth>,
    /// The first depth at which it differs, where several were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs_at: Option<Depth>,
}

/// A part of a subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// Which.
    pub name: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict in words.
    pub sentence: String,
    /// Of how many series it speaks, where it is about a set of them; none of a series itself.
    pub set_series: Option<u64>,
}

/// Every verdict as of one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What was compared, by signal and name.
    pub subjects: Vec<Subject>,
    /// Names that became the same.
    pub collisions: Vec<CollisionReport>,
    /// Points and records beyond the bounds, which were not compared.
    pub left_out: u64,
    /// Releases that deviate from those before them, but not on one side alone; those are subjects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<ReleaseRemark>,
    /// What would help, the first of it the most; it changes no verdict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<Suggestion>,
    /// Subjects by verdict.
    pub counts: std::collections::BTreeMap<&'static str, u64>,
}

/// Names of one side that became the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CollisionReport {
    /// On which side.
    pub side: Side,
    /// What they become.
    pub name: String,
    /// What they were.
    pub names: Vec<String>,
}

impl Report {
    /// Whether everything is equivalent. What is open never counts as equal; what cannot be compared is left to the reader.
    pub fn is_equal(&self) -> bool {
        let counted = |verdict: &str| self.counts.get(verdict).copied().unwrap_or(0);
        counted("different") == 0 && counted("inconclusive") == 0 && counted("equivalent") > 0
    }

    /// Puts subjects together.
    pub fn of(subjects: Vec<Subject>, collisions: Vec<Collision>, left_out: u64) -> Report {
        let collisions = collisions.into_iter();
        let collisions = collisions.map(|Collision { side, name, names }| CollisionReport { side, name, names });
        let counts = std::collections::BTreeMap::new();
        let mut report = Report {
            subjects,
            collisions: collisions.collect(),
            left_out,
            releases: Vec::new(),
            suggestions: Vec::new(),
            counts,
        };
        report.recount();
        report
    }

    /// Counts the subjects by verdict.
    pub(crate) fn recount(&mut self) {
        self.counts.clear();
        for subject in &self.subjects {
            *self.counts.entry(subject.verdict.name()).or_default() += 1;
        }
    }
}

impl Comparator {
    /// Compares by settings.
    pub fn new(settings: Settings) -> Comparator {
        let demands = [settings.metrics.demand, settings.logs.demand, settings.traces.demand];
        let confidence = demands.iter().map(|demand| demand.confidence).fold(0.0, f64::max);
        Comparator {
            level: 1.0 - confidence,
            margin_ratio: settings.metrics.demand.margin_ratio,
            releases: Releases::new(settings.metrics.releases.clone(), settings.metrics.names.clone()),
            metrics: Metrics::new(settings.metrics),
            logs: Logs::new(settings.logs),
            traces: Traces::new(settings.traces),
        }
    }

    /// Takes in what one side carried.
    pub fn observe(&mut self, side: Side, batch: &Batch) {
        match batch.signal() {
            Signal::Metrics => batch.metrics().into_iter().for_each(|metrics| {
                self.metrics.observe(side, metrics);
                self.releases.observe(side, metrics);
            }),
            Signal::Logs => batch.logs().into_iter().for_each(|logs| self.logs.observe(side, logs)),
            Signal::Traces => batch.traces().into_iter().for_each(|traces| self.traces.observe(side, traces)),
        }
    }

    /// What the series looked like on both sides, as far as the settings ask to remember it.
    pub fn charts(&self) -> Charts {
        self.metrics.charts()
    }

    /// Judges everything that is older than the newest by the time to settle.
    pub fn close(&mut self) -> Report {
        self.close_until(|newest| newest)
    }

    /// Judges everything, as when nothing more will come.
    pub fn finish(&mut self) -> Report {
        // One bucket of logs is kept from overflowing.
        self.close_until(|_| u64::MAX / 2)
    }

    fn close_until(&mut self, watermark: impl Fn(u64) -> u64) -> Report {
        let logs = self.logs.close(watermark(self.logs.watermark()));
        let mut traces = self.traces.close(watermark(self.traces.watermark()));
        let of_metrics = watermark(self.metrics.watermark());
        self.metrics.judge(of_metrics);
        self.releases.seal(of_metrics, self.margin_ratio);
        // Records of logs are counted one by one, without chance.
        let of_logs = logs.iter().filter_map(|stream| Claim::of(&stream.verdict, EValue::CERTAIN));
        let of_traces = traces.iter().filter_map(|population| Claim::of(&population.verdict, population.strength));
        let family =
            Family::of(self.metrics.claims().chain(self.releases.claims()).chain(of_traces).chain(of_logs), self.level);
        let metrics = self.metrics.report(of_metrics, &family);
        for population in &mut traces {
            let verdict = population.verdict.clone();
            population.verdict = family.judge(verdict, population.strength);
        }
        let subjects = traces.into_iter().map(Subject::from);
        let subjects = subjects.chain(metrics.metrics.into_iter().map(Subject::from));
        let subjects = subjects.chain(logs.into_iter().map(Subject::from));
        let releases = self.releases.report(&family);
        let of_releases = releases.different.into_iter();
        let of_releases =
            of_releases.map(|(name, finding)| Subject::alone(Signal::Metrics, name, Verdict::Different(finding)));
        let left_out = metrics.left_out_points + self.logs.left_out_records();
        let report = Report::of(subjects.chain(of_releases).collect(), metrics.collisions, left_out);
        Report { releases: releases.remarks, suggestions: metrics.suggestions, ..report }
    }
}

impl Verdict {
    /// The verdict in words.
    pub fn sentence(&self) -> String {
        match self {
            Verdict::Equivalent { margin_ratio, confidence, remark } => {
                let sure = match *confidence >= 1.0 {
                    true => String::new(),
                    false => format!(" at {:.0} %", confidence * 100.0),
                };
                let remark = remark.as_ref().map_or(String::new(), |remark| format!("; {}", remark.cause));
                match *margin_ratio {
                    0.0 => format!("exactly equal{remark}"),
                    margin => format!("equal within {}{sure}{remark}", Percent(margin)),
                }
            }
            Verdict::Different(finding) => finding.sentence(),
            Verdict::Inconclusive { needs } => format!("needs {needs}"),
            Verdict::NotComparable { reason } => reason.to_string(),
        }
    }
}

impl From<MetricVerdict> for Subject {
    fn from(metric: MetricVerdict) -> Self {
        let part = |name: String, verdict: Verdict, set_series: Option<u64>| {
            let sentence = verdict.sentence();
            Part { name, verdict, sentence, set_series }
        };
        let sets = metric.sets.into_iter().map(|set| {
            let examples: Vec<String> = set.examples.iter().map(ToString::to_string).collect();
            let name = format!("{} series such as {}", set.series, examples.join(", "));
            part(name, Verdict::Different(set.finding), Some(set.series))
        });
        let series = metric.series.into_iter().map(|series| part(series.identity.to_string(), series.verdict, None));
        Subject {
            signal: Signal::Metrics.name(),
            name: metric.name,
            legacy_names: metric.legacy_names,
            new_names: metric.new_names,
            sentence: metric.verdict.sentence(),
            failure: Failure::of(&metric.verdict),
            verdict: metric.verdict,
            parts: sets.chain(series).collect(),
            counts: metric.counts,
            depths: Vec::new(),
            differs_at: None,
        }
    }
}

impl Subject {
    /// Something without parts.
    pub fn alone(signal: Signal, name: String, verdict: Verdict) -> Subject {
        Subject {
            signal: signal.name(),
            name,
            legacy_names: Vec::new(),
            new_names: Vec::new(),
            sentence: verdict.sentence(),
            failure: Failure::of(&verdict),
            verdict,
            parts: Vec::new(),
            counts: std::collections::BTreeMap::new(),
            depths: Vec::new(),
            differs_at: None,
        }
    }
}

impl From<StreamVerdict> for Subject {
    fn from(stream: StreamVerdict) -> Self {
        Subject::alone(Signal::Logs, stream.stream, stream.verdict)
    }
}

impl From<PopulationVerdict> for Subject {
    fn from(population: PopulationVerdict) -> Self {
        Subject::alone(Signal::Traces, population.population, population.verdict)
    }
}

#[cfg(test)]
mod tests {
    use otlp::encode::LogsEncoder;

    use super::*;

    #[test]
    fn everything_is_judged_together_and_open_is_not_equal() {
        let mut comparator = Comparator::new(Settings::default());
        assert!(!comparator.close().is_equal(), "nothing is not equal");
        let mut encoder = LogsEncoder::new();
        encoder.resource_logs(|resource| {
            resource.resource(|resource| {
                resource.attributes().string("service.name", "shop");
            });
            resource.scope_logs(|scope| {
                scope.log_record(|record| {
                    record.time_unix_nano(1_000_000_000_000);
                    record.body().string("hello");
                });
            });
        });
        let batch = encoder.finish();
        comparator.observe(Side::Legacy, &batch);
        assert_eq!(comparator.finish().counts, [("inconclusive", 1)].into());
        let mut comparator = Comparator::new(Settings::default());
        comparator.observe(Side::Legacy, &batch);
        comparator.observe(Side::New, &batch);
        let report = comparator.finish();
        assert!(report.is_equal(), "{report:?}");
        assert_eq!(report.subjects[0].sentence, "exactly equal");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["subjects"][0]["verdict"]["verdict"], "equivalent");
    }
}
