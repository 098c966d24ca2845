//! The `debug` exporter: shows what comes, to people who look for a fault.
//!
//! Reference: the Collector's
//! [debug exporter](https://github.com/open-telemetry/opentelemetry-collector/tree/main/exporter/debugexporter). The
//! layout is its own and may change. Control characters are escaped, so that no telemetry writes lines of its own or
//! drives a terminal.

mod detailed;
mod normal;
mod text;

use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::clock::{self, Mono};
use component::{BuildContext, BuiltExporter, Encoded, Exporter, ExporterFactory, Order, Outcome, Request};
use config::Section;
use otlp::{Batch, Signal};
use parking_lot::Mutex;

use crate::common::delivery;

/// The registration of the exporter.
pub(crate) const FACTORY: ExporterFactory =
    ExporterFactory { kind: "debug", aliases: &[LOGGING], signals: &Signal::ALL, build };

/// What the Collector called it before v0.86, with other defaults and an option of its own; older guides still do.
const LOGGING: &str = "logging";

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verbosity {
    /// A line for each batch.
    Basic,
    /// And a line for each item.
    Normal,
    /// And everything there is.
    Detailed,
}

/// Where it is shown.
#[derive(Clone)]
enum Output {
    /// The process's own log.
    Log,
    /// A console.
    Consoles(Vec<Arc<Mutex<dyn Write + Send>>>),
}

struct Debug {
    id: String,
    verbosity: Verbosity,
    sampler: Mutex<Sampler>,
    output: Output,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    let verbosities = [("basic", Verbosity::Basic), ("normal", Verbosity::Normal), ("detailed", Verbosity::Detailed)];
    let (verbosity_default, thereafter_default) = match context.id.kind == LOGGING {
        true => (read_log_level(section), 500),
        false => (Verbosity::Basic, 1),
    };
    let verbosity = section.get("verbosity").one_of(&verbosities).or(verbosity_default);
    let initial = section.get("sampling_initial").integer::<u64>().or(2);
    let thereafter = section.get("sampling_thereafter").integer::<u64>().or(thereafter_default);
    let uses_log = section.get("use_internal_logger").bool().or(true);
    let paths = section.get("output_paths").strings().optional();
    section.unsupported("output", "a choice of what is shown of resources, scopes and records");
    if uses_log && paths.is_some() {
        section.error("output_paths", "has no meaning with `use_internal_logger: true`");
    }
    let consoles = consoles(section, paths.as_deref().unwrap_or(&["stdout".to_owned()]));
    let output = if uses_log { Output::Log } else { Output::Consoles(consoles?) };
    let sampler = Mutex::new(Sampler { initial, thereafter, windows: [None; 3] });
    let delivery = delivery(section, Duration::ZERO, Order::Kept);
    let exporter = Arc::new(Debug { id: context.id.to_string(), verbosity, sampler, output });
    Some(BuiltExporter { exporter, delivery })
}

/// `loglevel` of `logging`: the verbosity before there was one.
fn read_log_level(section: &mut Section<'_>) -> Verbosity {
    let levels = [
        ("debug", Verbosity::Detailed),
        ("info", Verbosity::Normal),
        ("warn", Verbosity::Basic),
        ("error", Verbosity::Basic),
    ];
    let level = section.get("loglevel").one_of(&levels).optional();
    if level.is_some() && section.has("verbosity") {
        section.warning("loglevel", "has no effect: `verbosity` is given");
    }
    level.unwrap_or(Verbosity::Normal)
}

fn consoles(section: &mut Section<'_>, paths: &[String]) -> Option<Vec<Arc<Mutex<dyn Write + Send>>>> {
    let console = |path: &String| -> Option<Arc<Mutex<dyn Write + Send>>> {
        match path.as_str() {
            "stdout" => Some(Arc::new(Mutex::new(std::io::stdout()))),
            "stderr" => Some(Arc::new(Mutex::new(std::io::stderr()))),
            _ => None,
        }
    };
    let consoles: Option<Vec<_>> = paths.iter().map(console).collect();
    if consoles.is_none() {
        section.error("output_paths", "expected `stdout` or `stderr`; into a file writes the `file` exporter");
    }
    consoles
}

impl Exporter for Debug {
    fn encode(&self, batch: &Batch) -> Encoded {
        if !self.sampler.lock().takes(batch.signal(), clock::mono()) {
            return Encoded::one(batch, Bytes::new());
        }
        Encoded::one(batch, show(&self.id, batch, self.verbosity).into())
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        if request.body.is_empty() {
            return Box::pin(std::future::ready(Outcome::DELIVERED));
        }
        match &self.output {
            Output::Log => {
                let text = std::str::from_utf8(&request.body).unwrap_or_default();
                tracing::info!("{}", text.trim_end());
                Box::pin(std::future::ready(Outcome::DELIVERED))
            }
            Output::Consoles(consoles) => Box::pin(write(consoles.clone(), request.body.clone())),
        }
    }
}

/// A console may block for as long as nobody reads it, so it is not written to from a task.
async fn write(consoles: Vec<Arc<Mutex<dyn Write + Send>>>, text: Bytes) -> Outcome {
    let write_all = move || {
        consoles.iter().try_for_each(|console| {
            let mut console = console.lock();
            console.write_all(&text).and_then(|()| console.flush())
        })
    };
    match tokio::task::spawn_blocking(write_all).await {
        Ok(Ok(())) => Outcome::DELIVERED,
        Ok(Err(error)) => Outcome::reject("console", error.to_string()),
        Err(error) => Outcome::reject("console", error.to_string()),
    }
}

/// A batch as text: its line, then what the verbosity asks for.
fn show(id: &str, batch: &Batch, verbosity: Verbosity) -> String {
    let mut text = format!("{}\n", summary(id, batch));
    match verbosity {
        Verbosity::Basic => {}
        Verbosity::Normal => normal::write(batch, &mut text),
        Verbosity::Detailed => detailed::write(batch, &mut text),
    }
    text
}

fn summary(id: &str, batch: &Batch) -> String {
    let items = batch.items();
    if let Some(traces) = batch.traces() {
        let blocks = traces.resource_spans().messages().count();
        return format!(r#"Traces {{"exporter": "{id}", "resource spans": {blocks}, "spans": {items}}}"#);
    }
    if let Some(view) = batch.metrics() {
        let blocks = view.resource_metrics().messages().count();
        let scopes = view.resource_metrics().flat_map(|block| block.scope_metrics());
        let metrics: usize = scopes.map(|scope| scope.metrics().messages().count()).sum();
        let counts = format!(r#""resource metrics": {blocks}, "metrics": {metrics}, "data points": {items}"#);
        return format!(r#"Metrics {{"exporter": "{id}", {counts}}}"#);
    }
    let blocks = batch.logs().map_or(0, |logs| logs.resource_logs().messages().count());
    format!(r#"Logs {{"exporter": "{id}", "resource logs": {blocks}, "log records": {items}}}"#)
}

/// Shows the first batches of each second, and after that every so many-th.
#[derive(Debug)]
struct Sampler {
    /// So many in each second are shown.
    initial: u64,
    /// Of the rest every so many-th is; 0: none.
    thereafter: u64,
    /// For each signal, when its second began and how many batches came in it.
    windows: [Option<(Mono, u64)>; 3],
}

impl Sampler {
    fn takes(&mut self, signal: Signal, now: Mono) -> bool {
        let window = &mut self.windows[signal as usize];
        let count = match window {
            Some((began, count)) if now.saturating_duration_since(*began) < Duration::from_secs(1) => {
                *count += 1;
                *count
            }
            _ => {
                *window = Some((now, 1));
                1
            }
        };
        match count.checked_sub(self.initial) {
            None | Some(0) => true,
            Some(beyond) => self.thereafter > 0 && beyond.is_multiple_of(self.thereafter),
        }
    }
}

#[cfg(test)]
mod tests;
