//! `crossfade parity`: two recordings or two live backends compared, once.

mod compare;
mod control;
mod gaps;
mod prometheus;
mod recording;
mod settings;
mod window;

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use http::{HeaderName, HeaderValue};
use transport::http_client::shown;
use url::Url;

use report::Document;

/// What `parity` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct ParityArguments {
    /// The side that is to go: a recording (OTLP JSON lines, as they are, gzip or zstd), or the address of a Prometheus
    /// HTTP API.
    #[arg(long, value_name = "FILE|URL")]
    legacy: Place,
    /// The side that is to stay, likewise.
    #[arg(long, value_name = "FILE|URL")]
    new: Place,
    /// A replica of the legacy side, likewise: what the two differ in is noise, and what the new side differs in by no
    /// more than that is left open.
    #[arg(long, value_name = "FILE|URL")]
    control: Option<Place>,
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
    /// A configuration with `migration.names` and `migration.parity`; repeat it to merge several.
    #[arg(long = "config", short = 'c', value_name = "FILE")]
    config: Vec<PathBuf>,
    /// A header for the legacy backend; `NAME=@FILE` reads the value from a file.
    #[arg(long, value_name = "NAME=VALUE")]
    legacy_header: Vec<Header>,
    /// A header for the new backend, likewise.
    #[arg(long, value_name = "NAME=VALUE")]
    new_header: Vec<Header>,
    /// A header for the backend of the replica, likewise.
    #[arg(long, value_name = "NAME=VALUE")]
    control_header: Vec<Header>,
    /// How the report is written.
    #[arg(long, value_enum, default_value = "table")]
    format: ReportFormat,
    /// Where the report is written; without it, to standard output.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
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

/// Where a side is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file.
    Recording(PathBuf),
    /// A Prometheus HTTP API.
    Prometheus(Url),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains("://") {
            return Ok(Place::Recording(text.into()));
        }
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Place::Prometheus(url)),
            scheme => Err(format!("`{scheme}` is neither `http` nor `https`, and files are named without a scheme")),
        }
    }
}

/// Without what is secret in an address.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Recording(path) => path.display().fmt(f),
            Place::Prometheus(url) => f.write_str(&shown(url)),
        }
    }
}

/// A header of requests; its value is never shown.
#[derive(Clone)]
pub(crate) struct Header(HeaderName, HeaderValue);

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.0)
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("expected `NAME=VALUE`")?;
        let value = match value.strip_prefix('@') {
            Some(path) => fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?,
            None => value.to_owned(),
        };
        let name = HeaderName::from_str(name).map_err(|_| format!("`{name}` is no name of a header"))?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| "the value holds invalid characters")?;
        value.set_sensitive(true);
        Ok(Header(name, value))
    }
}

/// What the process ends with when there is no report.
pub(crate) const ERROR: u8 = 3;

/// Never fails: an error is an exit code of its own here, since 1 says that something differs.
pub(crate) fn parity(arguments: &ParityArguments) -> ExitCode {
    match compared(arguments) {
        Ok(document) => ExitCode::from(document.verdict.exit_code()),
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

fn compared(arguments: &ParityArguments) -> anyhow::Result<Document> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let (document, charts) = runtime.block_on(compare::compare(arguments))?;
    let text = match arguments.format {
        ReportFormat::Table => report::table(&document, columns(arguments)),
        ReportFormat::Json => report::json(&document)?,
        ReportFormat::Junit => report::junit(&document),
        ReportFormat::Markdown => report::markdown(&document),
        ReportFormat::Html => report::html(&document, &charts),
    };
    match &arguments.output {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
        None => std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write the report")?,
    }
    Ok(document)
}

/// How wide the terminal is that the report goes to.
fn columns(arguments: &ParityArguments) -> Option<usize> {
    let stdout = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|_| arguments.output.is_none())?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_or_an_address() {
        assert_eq!("a/b.jsonl".parse(), Ok(Place::Recording("a/b.jsonl".into())));
        let url: Place = "https://user:secret@host/prometheus".parse().unwrap();
        assert_eq!(url.to_string(), "https://host/prometheus");
        assert!("ftp://host".parse::<Place>().is_err());
    }

    #[test]
    fn a_header_does_not_show_its_value() {
        let header: Header = "X-Scope-OrgID=tenant".parse().unwrap();
        assert_eq!(format!("{header:?}"), "x-scope-orgid=…");
        assert!("nothing".parse::<Header>().is_err());
        assert!("a=@/does/not/exist".parse::<Header>().is_err());
    }
}
