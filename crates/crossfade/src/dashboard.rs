//! `crossfade dashboard`: what Grafana is to show of a running migration.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

/// What `dashboard` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct DashboardArguments {
    /// Where it is written; without it, to standard output.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn dashboard(arguments: &DashboardArguments) -> anyhow::Result<ExitCode> {
    let text = report::grafana::dashboard()?;
    match &arguments.output {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
        None => std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write the dashboard")?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_dashboard_in_the_docs_is_the_one_that_is_generated() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/grafana/parity.json");
        let generated = report::grafana::dashboard().unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &generated).unwrap();
        }
        assert!(std::fs::read_to_string(path).unwrap() == generated, "run this test with UPDATE=1");
    }
}
