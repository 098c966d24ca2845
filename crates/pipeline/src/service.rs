//! The parts of the configuration that name no component: `service`, `journal` and `admin`.

use config::{ComponentId, Diagnostic, Node, Section, Spanned};
use otlp::Signal;

use crate::labels::By;
use crate::telemetry::CounterSuffix;
use crate::totals::TotalsSettings;

/// A pipeline as the configuration names it.
#[derive(Clone, Debug)]
pub(crate) struct PipelineSettings {
    pub(crate) id: Spanned<String>,
    pub(crate) signal: Signal,
    pub(crate) receivers: Vec<Spanned<ComponentId>>,
    pub(crate) processors: Vec<Spanned<ComponentId>>,
    pub(crate) exporters: Vec<Spanned<ComponentId>>,
}

/// Where the process serves something of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// `host:port`.
    pub endpoint: String,
    /// Whether the configuration asks for it. What it does not ask for may fail.
    pub asked_for: bool,
}

/// `service.telemetry`, as far as it concerns metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Where the own metrics are served; none with `level: none`.
    pub metrics: Option<Serving>,
    /// What counters' names end with.
    pub counter_suffix: CounterSuffix,
    /// `service.telemetry.logs.level`.
    pub log_level: Option<String>,
    /// `service.telemetry.logs.encoding: json`.
    pub log_encoding: LogEncoding,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogEncoding {
    /// For people.
    #[default]
    Console,
    /// One JSON object a line.
    Json,
}

/// `service`.
#[derive(Clone, Debug)]
pub(crate) struct ServiceSettings {
    pub(crate) extensions: Vec<Spanned<ComponentId>>,
    pub(crate) pipelines: Vec<PipelineSettings>,
    pub(crate) telemetry: TelemetrySettings,
}

impl ServiceSettings {
    pub(crate) fn read(section: &mut Section<'_>) -> ServiceSettings {
        let extensions = ids(section, "extensions");
        let telemetry = section.child("telemetry", TelemetrySettings::read);
        let pipelines = section.named_children("pipelines", PipelineSettings::read);
        if pipelines.is_empty() {
            section.error(
                "pipelines",
                "expected at least one pipeline, such as `traces: {receivers: [otlp], exporters: [debug]}`",
            );
        }
        let pipelines = pipelines.into_iter().filter_map(|(_, pipeline)| pipeline).collect();
        ServiceSettings { extensions, pipelines, telemetry }
    }
}

impl PipelineSettings {
    fn read(id: &Spanned<String>, section: &mut Section<'_>) -> Option<PipelineSettings> {
        let receivers = ids(section, "receivers");
        let processors = ids(section, "processors");
        let exporters = ids(section, "exporters");
        let signal = signal(id, section)?;
        for (key, named) in [("receivers", &receivers), ("exporters", &exporters)] {
            if named.is_empty() {
                section.error(key, format!("expected at least one of the configuration's {key}"));
            }
        }
        for (key, named) in [("receivers", &receivers), ("processors", &processors), ("exporters", &exporters)] {
            refuse_twice(section, key, named);
        }
        Some(PipelineSettings { id: id.clone(), signal, receivers, processors, exporters })
    }
}

fn refuse_twice(section: &mut Section<'_>, key: &'static str, named: &[Spanned<ComponentId>]) {
    for (index, id) in named.iter().enumerate() {
        if named[..index].iter().any(|before| before.value == id.value) {
            let message = format!("`{}` is named twice", id.value);
            let path = section.path().key(key);
            section.diagnostics().push(Diagnostic::error(path, message).at(&id.position));
        }
    }
}

fn signal(id: &Spanned<String>, section: &mut Section<'_>) -> Option<Signal> {
    let path = section.path().clone();
    let error = |message: String| Diagnostic::error(path, message).at(&id.position);
    let kind = match id.value.parse::<ComponentId>() {
        Ok(parsed) => parsed.kind,
        Err(wrong) => {
            section.diagnostics().push(error(wrong.to_string()));
            return None;
        }
    };
    let signal = Signal::ALL.into_iter().find(|signal| signal.name() == kind);
    match signal {
        Some(_) => {}
        None if kind == "profiles" => {
            section.diagnostics().push(error("not built yet: pipelines of profiles".to_owned()));
        }
        None => section.diagnostics().push(
            error(format!("expected a pipeline of `traces`, `metrics` or `logs`, found `{}`", id.value))
                .help("a pipeline is named by its signal and, where there are several, a name: `metrics/new`"),
        ),
    }
    signal
}

fn ids(section: &mut Section<'_>, key: &'static str) -> Vec<Spanned<ComponentId>> {
    section.get(key).each(|field| field.component_id().spanned()).or_default()
}

impl TelemetrySettings {
    fn read(section: &mut Section<'_>) -> TelemetrySettings {
        let (log_level, log_encoding) = section.child("logs", read_logs);
        let (metrics, counter_suffix) = section.child("metrics", read_metrics);
        section.unsupported("traces", "spans of the process itself");
        section.without_effect("resource", "own metrics carry no resource attributes");
        TelemetrySettings { metrics, counter_suffix, log_level, log_encoding }
    }
}

fn read_logs(section: &mut Section<'_>) -> (Option<String>, LogEncoding) {
    let levels = ["debug", "info", "warn", "error", "DEBUG", "INFO", "WARN", "ERROR"];
    let level = section.get("level").one_of(&levels.map(|level| (level, level.to_lowercase()))).optional();
    let encoding = section.get("encoding").one_of(&[("console", LogEncoding::Console), ("json", LogEncoding::Json)]);
    let encoding = encoding.or_default();
    section.without_effect("development", "there is no development mode");
    section.without_effect("disable_caller", "log lines carry no caller");
    section.without_effect("disable_stacktrace", "log lines carry no stack trace");
    section.without_effect("sampling", "repeated messages are limited where they arise");
    section.without_effect("initial_fields", "log lines carry no fields of their own");
    section.without_effect("error_output_paths", "the log goes to standard error");
    let to_stderr = |path: &String| path == "stderr" || path == "stdout";
    section.get("output_paths").strings().ensure("`stderr`", |paths| paths.iter().all(to_stderr)).optional();
    section.unsupported("processors", "sending the own log over OTLP");
    (level, encoding)
}

/// The default of the Collector, as configurations and dashboards expect it.
const METRICS_ENDPOINT_DEFAULT: &str = "localhost:8888";

fn read_metrics(section: &mut Section<'_>) -> (Option<Serving>, CounterSuffix) {
    let levels = [("none", false), ("basic", true), ("normal", true), ("detailed", true)];
    let wanted = section.get("level").one_of(&levels).or(true);
    let suffixes = [("none", CounterSuffix::None), ("total", CounterSuffix::Total)];
    let suffix = section.get("counter_suffix").one_of(&suffixes).or_default();
    section.without_effect("views", "every metric is served as it is");
    let old = section.get("address").string().optional();
    let readers = section.children("readers", read_reader);
    if old.is_some() && !readers.is_empty() {
        section.error("address", "expected either `address`, the old form, or `readers`, the new one; found both");
    }
    let asked = old.or_else(|| readers.into_iter().flatten().next());
    let serving =
        Serving { asked_for: asked.is_some(), endpoint: asked.unwrap_or_else(|| METRICS_ENDPOINT_DEFAULT.to_owned()) };
    (wanted.then_some(serving), suffix)
}

fn read_reader(section: &mut Section<'_>) -> Option<String> {
    section.unsupported("periodic", "pushing own metrics");
    section.child("pull", |pull| {
        pull.child("exporter", |exporter| {
            exporter.child_if_named("prometheus", |prometheus| {
                let host = prometheus.get("host").string().or("localhost".to_owned());
                let port = prometheus.get("port").integer::<u16>().or(8888);
                for key in ["without_scope_info", "without_units", "without_type_suffix", "without_target_info"] {
                    prometheus
                        .without_effect(key, "own metrics keep the Collector's plain names; see `counter_suffix`");
                }
                prometheus.without_effect("with_resource_constant_labels", "own metrics carry no resource attributes");
                let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
                format!("{host}:{port}")
            })
        })
    })
}

/// What the ledger does beside its lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct LedgerSettings {
    /// What is told apart.
    pub(crate) by: Vec<By>,
    /// What is added up.
    pub(crate) totals: TotalsSettings,
}

/// `ledger`: what is told apart, and what is added up.
pub(crate) fn read_ledger(section: &mut Section<'_>) -> LedgerSettings {
    let choices = [("service.name", By::Service), ("metric.name", By::Metric)];
    let mut by = section.get("by").each(|field| field.one_of(&choices).optional()).or(vec![By::Service]);
    by.sort_unstable();
    by.dedup();
    LedgerSettings { by, totals: TotalsSettings::read(section) }
}

/// The admin API's default: nothing outside this machine reaches it.
const ADMIN_ENDPOINT_DEFAULT: &str = "localhost:8686";

/// `admin`: where the API is served; `enabled: false` turns it off.
pub(crate) fn read_admin(section: &mut Section<'_>) -> Option<Serving> {
    let enabled = section.get("enabled").bool().or(true);
    let endpoint = section.get("endpoint").string().non_empty().optional();
    let serving = Serving {
        asked_for: endpoint.is_some(),
        endpoint: endpoint.unwrap_or_else(|| ADMIN_ENDPOINT_DEFAULT.to_owned()),
    };
    enabled.then_some(serving)
}

/// The node of a component's configuration; components without any have none.
pub(crate) type Defined<'a> = Vec<(Spanned<String>, &'a Node)>;
