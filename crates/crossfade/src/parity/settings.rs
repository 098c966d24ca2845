//! `migration.names` and `migration.parity`: what is the same under another name, and what is asked of a verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use config::{Diagnostics, Section, SystemEnvironment};
use parity::{Demand, LogFields, LogKeys, LogSettings, MetricSettings, NameSettings, Rule, Settings, TraceSettings};

use super::place::Kind;
use super::query_settings::{Queried, read_query};
use super::source::Has;
use super::{LogsCompared, ParityArguments};

/// How the sides are compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) demand: Demand,
    pub(super) names: NameSettings,
    /// Time that what is new gets to arrive; where it is not said, the place decides.
    pub(super) settle: Option<Duration>,
    pub(super) interval: Option<Duration>,
    pub(super) ignored_attributes: Vec<String>,
    /// What of a log record is compared; where it is not said, what both sides can have.
    logs: Option<LogsCompared>,
    /// What names a stream of logs; where it is not said, what both sides have.
    stream_labels: Option<Vec<String>>,
    /// Where the sides answer queries, the legacy one first.
    pub(super) queried: [Vec<Queried>; 2],
}

impl Asked {
    /// By the configuration, and what the command line says otherwise.
    pub(super) fn read(arguments: &ParityArguments) -> anyhow::Result<Asked> {
        let mut asked = if arguments.config.is_empty() { Asked::default() } else { configured(&arguments.config)? };
        asked.demand.margin_ratio = arguments.margin.unwrap_or(asked.demand.margin_ratio);
        asked.demand.confidence = arguments.confidence.unwrap_or(asked.demand.confidence);
        asked.settle = arguments.settle.or(asked.settle);
        asked.logs = arguments.logs.or(asked.logs);
        Ok(asked)
    }

    /// Whether it is said which labels name a stream of logs.
    pub(super) fn names_streams(&self) -> bool {
        self.stream_labels.is_some()
    }

    /// The settings for sides that have their logs there.
    pub(super) fn settings(&self, logs: [Has; 2]) -> Settings {
        let demand = self.demand;
        // What is over is part of the answer: the time that is asked for has an end.
        let expired_ns = u64::MAX;
        let metrics = MetricSettings { demand, names: self.names.clone(), expired_ns, ..MetricSettings::default() };
        let interval_ns = self.interval.map_or(metrics.interval_ns, nanoseconds);
        let ignored_attributes = self.ignored_attributes.clone();
        Settings {
            metrics: MetricSettings { interval_ns, ..metrics },
            logs: self.of_logs(logs),
            traces: TraceSettings { demand, ignored_attributes, ..TraceSettings::default() },
        }
    }

    fn of_logs(&self, sides: [Has; 2]) -> LogSettings {
        let answers = |has: &&Has| matches!(has, Has::Answers(_));
        let is_of_loki = sides.contains(&Has::Answers(Kind::Loki));
        let (mut compared, mut keys) = (LogFields::Records, LogKeys::AsWritten);
        let mut settings = LogSettings { demand: self.demand, ..LogSettings::default() };
        settings.ignored_attributes.clone_from(&self.ignored_attributes);
        if sides.iter().any(|has| answers(&has)) {
            // Different backends keep different things beside a line, and Loki knows no dots.
            keys = LogKeys::Underscored;
            compared = if sides[0] == sides[1] { LogFields::Records } else { LogFields::Bodies };
        }
        if sides.iter().all(|has| answers(&has)) {
            settings.stream_labels.clear();
        }
        if is_of_loki {
            // Loki finds out by itself how severe a line is.
            settings.ignored_attributes.push("detected_level".to_owned());
        }
        settings.compared = match self.logs {
            None => compared,
            Some(LogsCompared::Records) => LogFields::Records,
            Some(LogsCompared::Bodies) => LogFields::Bodies,
            Some(LogsCompared::Counts) => LogFields::Counts,
        };
        settings.keys = keys;
        settings.stream_labels = self.stream_labels.clone().unwrap_or(settings.stream_labels);
        settings
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn configured(paths: &[PathBuf]) -> anyhow::Result<Asked> {
    let told = |errors: config::Errors| anyhow!("{}", errors.render().trim_end().to_owned());
    let loaded = config::load(paths, &SystemEnvironment).map_err(told)?;
    let mut diagnostics = Diagnostics::new();
    let asked = match loaded.root.get("migration") {
        Some(migration) => Section::open(migration, "migration", &mut diagnostics).read(read),
        None => Asked::default(),
    };
    Ok(diagnostics.finish_with(Some(asked)).map_err(told)?.0)
}

fn read(migration: &mut Section<'_>) -> Asked {
    let rules = migration.children("names", read_rule).into_iter().flatten().collect();
    let mut asked = migration.child("parity", read_parity);
    asked.names.rules = rules;
    asked.queried = [migration.child("legacy", read_side), migration.child("new", read_side)];
    // What a migration is beside that, others read.
    for key in ["name", "deadline", "teams", "stages", "gates"] {
        migration.node(key);
    }
    asked
}

fn read_side(side: &mut Section<'_>) -> Vec<Queried> {
    for key in ["receivers", "exporters"] {
        side.node(key);
    }
    side.child("query", read_query)
}

fn read_rule(rule: &mut Section<'_>) -> Option<Rule> {
    let legacy = rule.get("legacy").string().non_empty().required();
    let new = rule.get("new").string().non_empty().required();
    let labels: BTreeMap<String, String> = rule.get("labels").string_map().or_default().into_iter().collect();
    let scale = rule.get("scale").float().ensure("a number other than 0", |scale| *scale != 0.0).or(1.0);
    Some(Rule { legacy: legacy?, new: new?, labels, scale })
}

fn read_parity(parity: &mut Section<'_>) -> Asked {
    let mut demand = Demand::default();
    let share = "a share such as `1%`";
    demand.margin_ratio = parity.get("margin").parse_with(share, ratio).or(demand.margin_ratio);
    demand.confidence = parity.get("confidence").parse_with(share, ratio).or(demand.confidence);
    demand.skew_ns = parity.get("skew").duration().optional().map_or(demand.skew_ns, nanoseconds);
    let settle = parity.get("settle").duration().optional();
    let interval = parity.get("interval").duration().optional();
    let ignored = parity.child("ignore", |ignore| ignore.get("labels").strings().or_default());
    let resource: BTreeSet<String> = parity.get("resource_labels").strings().or_default().into_iter().collect();
    let logs = [("records", LogsCompared::Records), ("bodies", LogsCompared::Bodies), ("counts", LogsCompared::Counts)];
    let logs = parity.get("logs").one_of(&logs).optional();
    let stream_labels = parity.get("stream_labels").strings().optional();
    let names = NameSettings {
        ignored_labels: ignored.iter().cloned().collect(),
        resource_labels: resource,
        ..NameSettings::default()
    };
    // These are of a comparison that goes on while `run` does.
    for key in ["sample", "every", "buffer", "answers"] {
        parity.node(key);
    }
    let queried = <[Vec<Queried>; 2]>::default();
    Asked { demand, names, settle, interval, ignored_attributes: ignored, logs, stream_labels, queried }
}

/// Reads `1%` or `0.01`: more than nothing and less than all.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let (number, one) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim(), 100.0),
        None => (text, 1.0),
    };
    let ratio = number.parse::<f64>().map_err(|_| "expected a share such as `1%` or `0.01`".to_owned())? / one;
    match ratio > 0.0 && ratio < 1.0 {
        true => Ok(ratio),
        false => Err("expected more than 0 % and less than 100 %".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_in_percent_or_as_a_number() {
        assert_eq!(ratio("1%"), Ok(0.01));
        assert_eq!(ratio("0.95"), Ok(0.95));
        assert!(["1", "0%", "-1%", "100%", "NaN", "one"].iter().all(|text| ratio(text).is_err()));
    }

    fn asked(text: &str) -> Result<Asked, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.yaml");
        std::fs::write(&path, text).unwrap();
        configured(&[path]).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_demands_come_from_the_migration_section() {
        let text = "migration:
  names:
    - {legacy: request_duration_ms, new: http.server.request.duration, scale: 0.001, labels: {method: http.request.method}}
  parity: {margin: 2%, confidence: 99%, settle: 1m, skew: 2s, ignore: {labels: [host]}}
";
        let asked = asked(text).unwrap();
        assert_eq!(asked.demand, Demand { margin_ratio: 0.02, confidence: 0.99, skew_ns: 2_000_000_000 });
        assert_eq!(asked.settle, Some(Duration::from_secs(60)));
        assert_eq!(asked.names.rules[0].labels["method"], "http.request.method");
        assert!(asked.names.ignored_labels.contains("host"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let said = asked("migration: {parity: {margin: much, confidance: 1%}, names: [{legacy: a}]}").unwrap_err();
        for expected in ["a share such as `1%`", "did you mean `confidence`?", "migration.names[0].new"] {
            assert!(said.contains(expected), "{expected} is not in {said}");
        }
    }
}
