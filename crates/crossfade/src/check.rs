//! `crossfade check`: every error of a configuration at once, or the graph that it would run.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use config::{Diagnostic, Diagnostics, Errors, SystemEnvironment};
use pipeline::Graph;

use crate::{ConfigArguments, Format, components};

/// What `check` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// How the findings are written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// A configuration that can run, and what there is to say of it.
pub(crate) struct Checked {
    pub(crate) graph: Graph,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Loads and builds a configuration.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Checked, Errors> {
    let loaded = config::load(paths, &SystemEnvironment)?;
    let mut diagnostics = Diagnostics::new();
    let graph = Graph::build(&loaded.root, &components::registry(), &mut diagnostics);
    let (graph, mut warnings) = diagnostics.finish_with(graph)?;
    warnings.splice(0..0, loaded.warnings);
    Ok(Checked { graph, warnings })
}

pub(crate) fn check(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let checked = load(&arguments.config.paths());
    let mut out = std::io::stdout().lock();
    match (checked, arguments.format) {
        (Ok(checked), Format::Text) => {
            report_warnings(&checked.warnings)?;
            write!(out, "{}", checked.graph.describe())?;
            Ok(ExitCode::SUCCESS)
        }
        (Ok(checked), Format::Json) => {
            let warnings = config::json_array(&checked.warnings);
            let graph = serde_json::to_string(&checked.graph.describe())?;
            writeln!(out, "{{\"ok\":true,\"errors\":[],\"warnings\":{warnings},\"graph\":{graph}}}")?;
            Ok(ExitCode::SUCCESS)
        }
        (Err(errors), Format::Text) => {
            report_errors(&errors)?;
            Ok(ExitCode::FAILURE)
        }
        (Err(errors), Format::Json) => {
            writeln!(out, "{{\"ok\":false,\"errors\":{}}}", errors.to_json())?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The errors with the lines they are about, and how many there are.
pub(crate) fn report_errors(errors: &Errors) -> std::io::Result<()> {
    let mut stderr = std::io::stderr().lock();
    let count = errors.len();
    let noun = if count == 1 { "error" } else { "errors" };
    writeln!(stderr, "{}\n{count} {noun} in the configuration", errors.render().trim_end())
}

pub(crate) fn report_warnings(warnings: &[Diagnostic]) -> std::io::Result<()> {
    let mut stderr = std::io::stderr().lock();
    warnings.iter().try_for_each(|warning| writeln!(stderr, "{}", warning.render().trim_end()))
}
