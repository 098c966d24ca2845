//! `migration`, as far as two sides are compared once, and what the command line says otherwise.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use config::{Diagnostics, Section, SystemEnvironment};
use parity::{LogFields, LogKeys, LogSettings, Settings};
use pipeline::{Comparison, Migration, SideSettings};
pub(super) use pipeline::{nanoseconds, ratio};

use super::place::Kind;
use super::queried::Queried;
use super::source::Has;
use super::{LogsCompared, ParityArguments};

/// A comparator that is fed slice by slice seals nothing that the other side may not have told yet.
const SETTLE: Duration = Duration::from_secs(120);

/// How the sides are compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) comparison: Comparison,
    /// Where the sides answer queries, the legacy one first.
    pub(super) queried: [Vec<Queried>; 2],
}

impl Asked {
    /// By the configuration, and what the command line says otherwise.
    pub(super) fn read(arguments: &ParityArguments) -> anyhow::Result<Asked> {
        let mut asked = match arguments.config.is_empty() {
            true => Asked::default(),
            false => Asked::of(&configured(&arguments.config)?)?,
        };
        let comparison = &mut asked.comparison;
        comparison.demand.margin_ratio = arguments.margin.unwrap_or(comparison.demand.margin_ratio);
        comparison.demand.confidence = arguments.confidence.unwrap_or(comparison.demand.confidence);
        comparison.settle = arguments.settle.or(comparison.settle);
        comparison.logs = arguments.logs.map(LogsCompared::fields).or(comparison.logs);
        Ok(asked)
    }

    /// By a migration alone.
    pub(super) fn of(migration: &Migration) -> anyhow::Result<Asked> {
        let queried =
            |side: &SideSettings| side.queries.values().map(Queried::read).collect::<Result<Vec<Queried>, String>>();
        let [legacy, new] = migration.sides();
        let [legacy, new] = [queried(legacy), queried(new)];
        let told = |error: String| anyhow!("migration: {error}");
        // Once is not all the time: nothing is left out to save work.
        let comparison = Comparison { share_permille: 1000, ..migration.comparison.clone() };
        Ok(Asked { comparison, queried: [legacy.map_err(told)?, new.map_err(told)?] })
    }

    /// Whether it is said which labels name a stream of logs.
    pub(super) fn names_streams(&self) -> bool {
        self.comparison.stream_labels.is_some()
    }

    /// The settings for sides that have their logs there.
    pub(super) fn settings(&self, logs: [Has; 2]) -> Settings {
        let comparison = Comparison { settle: None, ..self.comparison.clone() };
        let mut settings = comparison.settings(SETTLE);
        // The time that is asked about has an end: what is over is part of the answer.
        settings.metrics.expired_ns = u64::MAX;
        Settings { logs: self.of_logs(logs, settings.logs.clone()), ..settings }
    }

    fn of_logs(&self, sides: [Has; 2], mut settings: LogSettings) -> LogSettings {
        let answers = |has: &&Has| matches!(has, Has::Answers(_));
        let is_of_loki = sides.contains(&Has::Answers(Kind::Loki));
        let (mut compared, mut keys) = (LogFields::Records, LogKeys::AsWritten);
        if sides.iter().any(|has| answers(&has)) {
            // Different backends keep different things beside a line, and Loki knows no dots.
            keys = LogKeys::Underscored;
            compared = if sides[0] == sides[1] { LogFields::Records } else { LogFields::Bodies };
        }
        if sides.iter().all(|has| answers(&has)) && !self.names_streams() {
            settings.stream_labels.clear();
        }
        if is_of_loki {
            // Loki finds out by itself how severe a line is.
            settings.ignored_attributes.push("detected_level".to_owned());
        }
        LogSettings { compared: self.comparison.logs.unwrap_or(compared), keys, ..settings }
    }
}

impl LogsCompared {
    const fn fields(self) -> LogFields {
        match self {
            LogsCompared::Records => LogFields::Records,
            LogsCompared::Bodies => LogFields::Bodies,
            LogsCompared::Counts => LogFields::Counts,
        }
    }
}

/// The section of a configuration; what else stands in the files is not looked at.
fn configured(paths: &[PathBuf]) -> anyhow::Result<Migration> {
    let told = |errors: config::Errors| anyhow!("{}", errors.render().trim_end().to_owned());
    let loaded = config::load(paths, &SystemEnvironment).map_err(told)?;
    let mut diagnostics = Diagnostics::new();
    let migration = match loaded.root.get("migration") {
        Some(migration) => Section::open(migration, "migration", &mut diagnostics).read(Migration::read),
        None => Migration::default(),
    };
    Ok(diagnostics.finish_with(Some(migration)).map_err(told)?.0)
}

#[cfg(test)]
mod tests {
    use parity::Demand;

    use super::*;

    fn asked(text: &str) -> Result<Asked, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.yaml");
        std::fs::write(&path, text).unwrap();
        configured(&[path]).and_then(|migration| Asked::of(&migration)).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_demands_come_from_the_migration_section() {
        let text = "migration:
  names:
    - {legacy: request_duration_ms, new: http.server.request.duration, scale: 0.001, labels: {method: http.request.method}}
  parity: {margin: 2%, confidence: 99%, settle: 1m, skew: 2s, ignore: {labels: [host]}}
";
        let asked = asked(text).unwrap();
        assert_eq!(asked.comparison.demand, Demand { margin_ratio: 0.02, confidence: 0.99, skew_ns: 2_000_000_000 });
        assert_eq!(asked.comparison.settle, Some(Duration::from_secs(60)));
        assert_eq!(asked.comparison.names.rules[0].labels["method"], "http.request.method");
        assert!(asked.comparison.names.ignored_labels.contains("host"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let said = asked("migration: {parity: {margin: much, confidance: 1%}, names: [{legacy: a}]}").unwrap_err();
        for expected in ["a share such as `1%`", "did you mean `confidence`?", "migration.names[0].new"] {
            assert!(said.contains(expected), "{expected} is not in {said}");
        }
    }
}
