//! `crossfade parity`: two recordings or two live backends compared, once.

pub(crate) mod answers;
mod api;
mod capture;
mod compare;
mod control;
mod gaps;
mod jaeger;
mod lines;
mod loki;
mod place;
mod prometheus;
mod queried;
mod recording;
mod running;
mod settings;
mod source;
mod victorialogs;
mod window;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use ::parity::Charts;
use place::{Header, Place};
use report::Document;
use url::Url;

/// What `parity` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct ParityArguments {
    /// The side that is to go: recordings, or backends of one signal each. A recording is a file of OTLP as the `file`
    /// exporter writes it, or of captured remote writes; a backend is `prometheus=URL`, `jaeger=URL`, `loki=URL` or
    /// `victorialogs=URL`, and a plain address is a Prometheus HTTP API. May be repeated.
    #[arg(long, value_name = "FILE|URL|KIND=URL")]
    legacy: Vec<Place>,
    /// The side that is to stay, likewise.
    #[arg(long, value_name = "FILE|URL|KIND=URL")]
    new: Vec<Place>,
    /// A replica of the legacy side, likewise: what the two differ in is noise, and what the new side differs in by no
    /// more than that is left open.
    #[arg(long, value_name = "FILE|URL|KIND=URL")]
    control: Vec<Place>,
    /// Compare the answers to these PromQL expressions, instead of all series: one a line, or pairs in YAML.
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// How far back backends are asked.
    #[arg(long, value_name = "DURATION", default_value = "6h", value_parser = config::duration::parse_prometheus)]
    range: Duration,
    /// Up to when backends are asked, as for `replay --from`; without it, up to now without the time to settle.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// How far the steps are apart at which expressions are evaluated.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = config::duration::parse_prometheus)]
    step: Duration,
    /// The sides are equal if they differ by no more than this. [default: 1%]
    #[arg(long, value_name = "PERCENT", value_parser = settings::ratio)]
    margin: Option<f64>,
    /// How sure a verdict is to be. [default: 95%]
    #[arg(long, value_name = "PERCENT", value_parser = settings::ratio)]
    confidence: Option<f64>,
    /// What is newer than this is left out, since it may not have arrived everywhere. [default: 2m for backends, 0s for
    /// recordings]
    #[arg(long, value_name = "DURATION", value_parser = config::duration::parse_prometheus)]
    settle: Option<Duration>,
    /// What of a log record is compared. [default: what both sides can have]
    #[arg(long, value_enum, value_name = "WHAT")]
    logs: Option<LogsCompared>,
    /// A configuration with a section `migration`: the names, the demands, and where both sides answer queries; repeat it
    /// to merge several.
    #[arg(long = "config", short = 'c', value_name = "FILE")]
    config: Vec<PathBuf>,
    /// A header for the legacy backends, or for those of a kind, such as `loki:X-Scope-OrgID=shop`; `NAME=@FILE` reads
    /// the value from a file.
    #[arg(long, value_name = "[KIND:]NAME=VALUE")]
    legacy_header: Vec<Header>,
    /// A header for the new backends, likewise.
    #[arg(long, value_name = "[KIND:]NAME=VALUE")]
    new_header: Vec<Header>,
    /// A header for the backends of the replica, likewise.
    #[arg(long, value_name = "[KIND:]NAME=VALUE")]
    control_header: Vec<Header>,
    /// Compare nothing, and report what a process with a `migration` has compared: its admin API, such as
    /// `http://localhost:8686`.
    #[arg(long, value_name = "URL", conflicts_with_all = ["legacy", "new", "control", "queries", "config"])]
    endpoint: Option<Url>,
    /// How the report is written.
    #[arg(long, value_enum, default_value = "table")]
    format: ReportFormat,
    /// Where the report is written; without it, to standard output.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ParityArguments {
    /// What a configuration names, about so long until now.
    fn about(range: Duration) -> ParityArguments {
        ParityArguments {
            legacy: Vec::new(),
            new: Vec::new(),
            control: Vec::new(),
            queries: None,
            range,
            to: None,
            step: Duration::from_secs(15),
            margin: None,
            confidence: None,
            settle: None,
            logs: None,
            config: Vec::new(),
            legacy_header: Vec::new(),
            new_header: Vec::new(),
            control_header: Vec::new(),
            endpoint: None,
            format: ReportFormat::Json,
            output: None,
        }
    }
}

/// What of a log record is compared, beside that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogsCompared {
    /// Body, severity, attributes and time.
    Records,
    /// Body and time.
    Bodies,
    /// Nothing but how many there are.
    Counts,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For a terminal.
    Table,
    /// For programs; `docs/parity-report.schema.json` describes it.
    Json,
    /// For CI: a test case for each subject.
    Junit,
    /// For pull requests and pages.
    Markdown,
    /// A page of its own, with charts of what differs.
    Html,
}

/// What the process ends with when there is no report.
pub(crate) const ERROR: u8 = 3;

/// Never fails: an error is an exit code of its own here, since 1 says that something differs.
pub(crate) fn parity(arguments: &ParityArguments) -> ExitCode {
    match reported(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // A person who did not ask for a log is told here, as in `main`.
            #[allow(clippy::print_stderr)]
            {
                eprintln!("crossfade: {error:#}");
            }
            ExitCode::from(ERROR)
        }
    }
}

fn reported(arguments: &ParityArguments) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let (text, code) = match &arguments.endpoint {
        Some(endpoint) => runtime.block_on(running::ask(endpoint, arguments.format, columns(arguments)))?,
        None => {
            let (document, charts) = runtime.block_on(compare::compare(arguments))?;
            (written(&document, &charts, arguments)?, document.verdict.exit_code())
        }
    };
    match &arguments.output {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
        None => std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write the report")?,
    }
    Ok(code)
}

fn written(document: &Document, charts: &Charts, arguments: &ParityArguments) -> anyhow::Result<String> {
    Ok(match arguments.format {
        ReportFormat::Table => report::table(document, columns(arguments)),
        ReportFormat::Json => report::json(document)?,
        ReportFormat::Junit => report::junit(document),
        ReportFormat::Markdown => report::markdown(document),
        ReportFormat::Html => report::html(document, charts),
    })
}

/// How wide the terminal is that the report goes to.
fn columns(arguments: &ParityArguments) -> Option<usize> {
    let stdout = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|_| arguments.output.is_none())?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}
