//! `migration`: which side is which, and how the two are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use config::{ComponentId, Diagnostic, Secret, Section, Spanned};
use otlp::Signal;
use parity::{
    Demand, Depth, LogFields, LogSettings, MetricSettings, NameSettings, Rule, Settings, Side, TraceSettings,
};

use crate::service::PipelineSettings;

/// The `migration` section.
#[derive(Clone, Debug, Default)]
pub struct Migration {
    /// What the migration is called.
    pub name: Option<String>,
    /// Both sides, the legacy one first.
    pub(crate) sides: [SideSettings; 2],
    /// How they are compared.
    pub comparison: Comparison,
    /// `migration.parity.every`: how often verdicts are taken.
    pub(crate) every: Duration,
    /// `migration.parity.buffer`: what may wait for the comparison, in bytes.
    buffer_bytes: u64,
    /// `migration.parity.answers`: how often backends are asked, and about how long; none: not at all.
    pub answers: Option<Asking>,
}

/// `migration.legacy` and `migration.new`.
#[derive(Clone, Debug, Default)]
pub struct SideSettings {
    pub(crate) receivers: Vec<Spanned<ComponentId>>,
    pub(crate) exporters: Vec<Spanned<ComponentId>>,
    /// Where its backends answer questions.
    pub queries: BTreeMap<Signal, QuerySettings>,
}

/// A backend that answers questions about one signal.
#[derive(Clone, Debug)]
pub struct QuerySettings {
    /// `prometheus`, `jaeger`, `loki` or `victorialogs`.
    pub kind: &'static str,
    /// Its address.
    pub endpoint: String,
    /// Headers of requests.
    pub headers: Vec<(String, Secret)>,
}

/// How often backends are asked, and about how long.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// How often.
    pub every: Duration,
    /// How far back.
    pub range: Duration,
}

/// `migration.names` and what `migration.parity` says of the comparison itself.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What is asked of a verdict.
    pub demand: Demand,
    /// Identities.
    pub names: NameSettings,
    /// Time that what is new gets to arrive; where it is not said, the place decides.
    pub settle: Option<Duration>,
    /// The longest interval of a writer.
    pub interval: Option<Duration>,
    /// Attributes of spans and records that are left out.
    pub ignored_attributes: Vec<String>,
    /// What of a log record is compared; where it is not said, the place decides.
    pub logs: Option<LogFields>,
    /// What names a stream of logs; where it is not said, the place decides.
    pub stream_labels: Option<Vec<String>>,
    /// Of a thousand series, streams and traces so many are compared.
    pub share_permille: u32,
    /// The resource attribute that names a build.
    pub release_attribute: Option<String>,
}

impl Default for Comparison {
    fn default() -> Self {
        Comparison {
            demand: Demand::default(),
            names: NameSettings::default(),
            settle: None,
            interval: None,
            ignored_attributes: Vec::new(),
            logs: None,
            stream_labels: None,
            share_permille: 1000,
            release_attribute: None,
        }
    }
}

impl Comparison {
    /// What the comparators are told. `settle` stands where the configuration says nothing of it.
    pub fn settings(&self, settle: Duration) -> Settings {
        let (demand, share_permille) = (self.demand, self.share_permille);
        let settle_ns = nanoseconds(self.settle.unwrap_or(settle));
        let ignored_attributes = self.ignored_attributes.clone();
        let mut metrics = MetricSettings { demand, names: self.names.clone(), settle_ns, ..MetricSettings::default() };
        metrics.releases.attribute = self.release_attribute.clone().unwrap_or(metrics.releases.attribute);
        let interval_ns = self.interval.map_or(metrics.interval_ns, nanoseconds);
        let traces = TraceSettings { demand, settle_ns, share_permille, ..TraceSettings::default() };
        let logs = LogSettings { demand, settle_ns, share_permille, ..LogSettings::default() };
        let stream_labels = self.stream_labels.clone().unwrap_or_else(|| logs.stream_labels.clone());
        let logs = LogSettings { compared: self.logs.unwrap_or(logs.compared), stream_labels, ..logs };
        Settings {
            metrics: MetricSettings { interval_ns, share_permille, ..metrics },
            logs: LogSettings { ignored_attributes: ignored_attributes.clone(), ..logs },
            traces: TraceSettings { ignored_attributes, ..traces },
        }
    }
}

/// A time in nanoseconds; one that is too long stands for the longest.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Parts of a migration that exist and do nothing yet.
const UNBUILT: [(&str, &str); 4] = [
    ("deadline", "deadlines of a migration"),
    ("teams", "teams of a migration"),
    ("stages", "stages of a migration"),
    ("gates", "gates of a migration"),
];

impl Migration {
    /// Reads the section.
    pub fn read(section: &mut Section<'_>) -> Migration {
        let name = section.get("name").string().non_empty().optional();
        let sides = [Side::Legacy, Side::New].map(|side| {
            let key = if side == Side::Legacy { "legacy" } else { "new" };
            section.child(key, SideSettings::read)
        });
        let rules = section.children("names", read_rule).into_iter().flatten().collect();
        let mut migration = section.child("parity", read_parity);
        // What else makes a migration is refused where it would have to work.
        for (key, _) in UNBUILT {
            section.node(key);
        }
        migration.comparison.names.rules = rules;
        if migration.answers.is_some() && !Signal::ALL.iter().any(|signal| is_asked(&sides, *signal)) {
            section.error("parity", "`answers` needs a `query` of the same signal under `legacy` and `new`");
        }
        Migration { name, sides, ..migration }
    }

    /// Reads the section for a process that does all that it says.
    pub(crate) fn read_for_run(section: &mut Section<'_>) -> Migration {
        for (key, what) in UNBUILT {
            section.unsupported(key, what);
        }
        Migration::read(section)
    }

    /// Both sides, the legacy one first.
    pub fn sides(&self) -> &[SideSettings; 2] {
        &self.sides
    }

    /// Which side a receiver belongs to.
    pub(crate) fn side_of_receiver(&self, id: &ComponentId) -> Option<Side> {
        self.side_of(id, |side| &side.receivers)
    }

    /// Which side an exporter belongs to.
    pub(crate) fn side_of_exporter(&self, id: &str) -> Option<Side> {
        id.parse().ok().and_then(|id| self.side_of(&id, |side| &side.exporters))
    }

    fn side_of(&self, id: &ComponentId, of: impl Fn(&SideSettings) -> &Vec<Spanned<ComponentId>>) -> Option<Side> {
        let has = |side: &Side| of(&self.sides[*side as usize]).iter().any(|named| named.value == *id);
        [Side::Legacy, Side::New].into_iter().find(has)
    }

    /// What may wait for the comparison.
    pub(crate) fn buffer_bytes(&self) -> u64 {
        self.buffer_bytes
    }

    /// Whether there are receivers of both sides, so that what they take can be compared.
    pub(crate) fn compares_sources(&self) -> bool {
        self.sides.iter().all(|side| !side.receivers.is_empty())
    }

    /// Depths at which both sides can be compared.
    pub(crate) fn depths(&self) -> Vec<Depth> {
        let both = |has: fn(&SideSettings) -> bool| self.sides.iter().all(has);
        let depths = [
            (Depth::Source, self.compares_sources()),
            (Depth::Delivery, both(|side| !side.exporters.is_empty())),
            (Depth::Answer, self.answers.is_some()),
        ];
        depths.into_iter().filter(|(_, is_there)| *is_there).map(|(depth, _)| depth).collect()
    }

    /// The sides and what is compared, as text.
    pub(crate) fn describe(&self) -> String {
        let name = self.name.as_deref().unwrap_or("without a name");
        let [legacy, new] = &self.sides;
        let depths: Vec<&str> = self.depths().into_iter().map(Depth::name).collect();
        format!("migration {name}\n  legacy    {legacy}\n  new       {new}\n  compares  {}\n", depths.join(", "))
    }

    /// What the pipelines do not have, and what stands on both sides.
    pub(crate) fn check(&self, pipelines: &[PipelineSettings]) -> Vec<Diagnostic> {
        let mut wrong = Vec::new();
        let roles: [(&str, Named<SideSettings>, Named<PipelineSettings>); 2] = [
            ("receivers", |side| &side.receivers, |pipeline| &pipeline.receivers),
            ("exporters", |side| &side.exporters, |pipeline| &pipeline.exporters),
        ];
        for (role, of_side, of_pipeline) in roles {
            for (side, key) in self.sides.iter().zip(["legacy", "new"]) {
                let path = config::Path::root().key("migration").key(key).key(role);
                for id in of_side(side) {
                    let is_used = pipelines.iter().flat_map(of_pipeline).any(|used| used.value == id.value);
                    let is_twice =
                        self.sides.iter().flat_map(of_side).filter(|other| other.value == id.value).count() > 1;
                    let message = match (is_used, is_twice) {
                        (false, _) => format!("`{}` is among the {role} of no pipeline", id.value),
                        (true, true) => {
                            format!("`{}` is named twice: what belongs to both sides compares nothing", id.value)
                        }
                        (true, false) => continue,
                    };
                    wrong.push(Diagnostic::error(path.clone(), message).at(&id.position));
                }
            }
        }
        if wrong.is_empty() && self.depths().is_empty() {
            let path = config::Path::root().key("migration");
            let message = "compares nothing: `legacy` and `new` both need receivers, exporters, or a query";
            wrong.push(Diagnostic::warning(path, message));
        }
        wrong
    }
}

/// Components that something names.
type Named<T> = fn(&T) -> &Vec<Spanned<ComponentId>>;

fn is_asked(sides: &[SideSettings; 2], signal: Signal) -> bool {
    sides.iter().all(|side| side.queries.contains_key(&signal))
}

impl SideSettings {
    fn read(section: &mut Section<'_>) -> SideSettings {
        let ids = |section: &mut Section<'_>, key: &'static str| {
            section.get(key).each(|field| field.component_id().spanned()).or_default()
        };
        let (receivers, exporters) = (ids(section, "receivers"), ids(section, "exporters"));
        let queries = section.child("query", |query| {
            let mut queries = BTreeMap::new();
            let kinds: [(Signal, &'static str, &'static [&'static str]); 3] = [
                (Signal::Metrics, "metrics", &["prometheus"]),
                (Signal::Traces, "traces", &["jaeger"]),
                (Signal::Logs, "logs", &["loki", "victorialogs"]),
            ];
            for (signal, key, kinds) in kinds {
                let found = query.child(key, |section| read_query(section, kinds));
                queries.extend(found.map(|query| (signal, query)));
            }
            queries
        });
        SideSettings { receivers, exporters, queries }
    }
}

/// What it is made of, for a person.
impl fmt::Display for SideSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named =
            |ids: &[Spanned<ComponentId>]| ids.iter().map(|id| id.value.to_string()).collect::<Vec<_>>().join(", ");
        let asked = self.queries.values().map(|query| query.kind).collect::<Vec<_>>().join(", ");
        let parts =
            [("receivers", named(&self.receivers)), ("exporters", named(&self.exporters)), ("answers of", asked)];
        let parts = parts.into_iter().filter(|(_, ids)| !ids.is_empty());
        let parts: Vec<String> = parts.map(|(role, ids)| format!("{role} {ids}")).collect();
        f.write_str(&parts.join("; "))
    }
}

/// One of the kinds: an address, or `{endpoint, headers}`.
fn read_query(section: &mut Section<'_>, kinds: &'static [&'static str]) -> Option<QuerySettings> {
    let mut found = Vec::new();
    for kind in kinds {
        let Some(node) = section.node(kind).filter(|node| !node.is_null()) else { continue };
        let (endpoint, headers) = match node.as_map() {
            Some(_) => section.child(kind, |section| {
                let endpoint = section.get("endpoint").string().non_empty().required();
                (endpoint, section.get("headers").secret_map().or_default())
            }),
            None => (section.get(kind).string().non_empty().required(), Vec::new()),
        };
        let is_address = |text: &String| text.starts_with("http://") || text.starts_with("https://");
        match endpoint {
            Some(endpoint) if is_address(&endpoint) => found.push(QuerySettings { kind, endpoint, headers }),
            Some(_) => section.error(kind, "expected an address that begins with `http://` or `https://`"),
            None => {}
        }
    }
    if found.len() > 1 {
        section.fail(format!("expected one of {}, found {}", kinds.join(" and "), found.len()));
    }
    found.pop()
}

fn read_rule(rule: &mut Section<'_>) -> Option<Rule> {
    let legacy = rule.get("legacy").string().non_empty().required();
    let new = rule.get("new").string().non_empty().required();
    let labels: BTreeMap<String, String> = rule.get("labels").string_map().or_default().into_iter().collect();
    let scale = rule.get("scale").float().ensure("a number other than 0", |scale| *scale != 0.0).or(1.0);
    Some(Rule { legacy: legacy?, new: new?, labels, scale })
}

/// How often verdicts are taken, where nothing is said.
const EVERY: Duration = Duration::from_secs(60);
/// What may wait for the comparison, where nothing is said.
const BUFFER_BYTES: u64 = 64 << 20;

fn read_parity(parity: &mut Section<'_>) -> Migration {
    let mut demand = Demand::default();
    let share = "a share such as `1%`";
    demand.margin_ratio = parity.get("margin").parse_with(share, ratio).or(demand.margin_ratio);
    demand.confidence = parity.get("confidence").parse_with(share, ratio).or(demand.confidence);
    demand.skew_ns = parity.get("skew").duration().optional().map_or(demand.skew_ns, nanoseconds);
    let settle = parity.get("settle").duration().optional();
    let interval = parity.get("interval").duration().optional();
    let ignored = parity.child("ignore", |ignore| ignore.get("labels").strings().or_default());
    let resource_labels: BTreeSet<String> = parity.get("resource_labels").strings().or_default().into_iter().collect();
    let release_attribute = parity.get("release_attribute").string().optional();
    let share_permille = parity.get("sample").parse_with("a share such as `25%`", permille).or(1000);
    let every = parity.get("every").duration().above_zero().or(EVERY);
    let buffer_bytes = parity.get("buffer").bytes().or(BUFFER_BYTES);
    let answers = parity.child_if_named("answers", |answers| Asking {
        every: answers.get("every").duration().above_zero().or(Duration::from_secs(300)),
        range: answers.get("range").duration().above_zero().or(Duration::from_secs(3600)),
    });
    let names =
        NameSettings { ignored_labels: ignored.iter().cloned().collect(), resource_labels, ..NameSettings::default() };
    let fields = [("records", LogFields::Records), ("bodies", LogFields::Bodies), ("counts", LogFields::Counts)];
    let logs = parity.get("logs").one_of(&fields).optional();
    let stream_labels = parity.get("stream_labels").strings().optional();
    let ignored_attributes = ignored;
    let comparison = Comparison {
        demand,
        names,
        settle,
        interval,
        ignored_attributes,
        logs,
        stream_labels,
        share_permille,
        release_attribute,
    };
    Migration { comparison, every, buffer_bytes, answers, ..Migration::default() }
}

/// Reads `1%` or `0.01`: more than nothing and less than all.
///
/// # Errors
/// Anything else, with what was expected.
pub fn ratio(text: &str) -> Result<f64, String> {
    let ratio = share(text)?;
    match ratio > 0.0 && ratio < 1.0 {
        true => Ok(ratio),
        false => Err("expected more than 0 % and less than 100 %".to_owned()),
    }
}

fn permille(text: &str) -> Result<u32, String> {
    let permille = (share(text)? * 1000.0).round();
    match (1.0..=1000.0).contains(&permille) {
        true => Ok(permille as u32),
        false => Err("expected at least 0.1 % and at most 100 %".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let (number, one) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim(), 100.0),
        None => (text, 1.0),
    };
    Ok(number.parse::<f64>().map_err(|_| "expected a share such as `1%` or `0.01`".to_owned())? / one)
}

#[cfg(test)]
mod tests {
    use config::{Diagnostics, TestEnvironment};

    use super::*;

    #[test]
    fn a_share_is_written_in_percent_or_as_a_number() {
        assert_eq!(ratio("1%"), Ok(0.01));
        assert_eq!(ratio("0.95"), Ok(0.95));
        assert!(["1", "0%", "-1%", "100%", "NaN", "one"].iter().all(|text| ratio(text).is_err()));
        assert_eq!([permille("100%"), permille("2.5 %"), permille("0.25")], [Ok(1000), Ok(25), Ok(250)]);
        assert!(["0", "101%", "NaN"].iter().all(|text| permille(text).is_err()));
    }

    fn read(text: &str) -> Result<Migration, String> {
        let loaded = config::parse_str("c.yaml", text, &TestEnvironment::new()).map_err(|errors| errors.render())?;
        let mut diagnostics = Diagnostics::new();
        let migration = Section::open(&loaded.root, "migration", &mut diagnostics).read(Migration::read_for_run);
        Ok(diagnostics.finish_with(Some(migration)).map_err(|errors| errors.render())?.0)
    }

    #[test]
    fn both_sides_and_the_comparison_are_read() {
        let text = "
name: shop-to-otel
legacy: {receivers: [statsd, prometheus], exporters: [prometheusremotewrite/legacy], query: {metrics: {prometheus: http://a:9090}}}
new:
  receivers: [otlp]
  exporters: [otlp/new]
  query: {metrics: {prometheus: {endpoint: https://b/prometheus, headers: {X-Scope-OrgID: shop}}}, logs: {loki: http://c}}
names:
  - {legacy: request_duration_ms, new: http.server.request.duration, scale: 0.001, labels: {method: http.request.method}}
parity: {margin: 2%, confidence: 99%, settle: 1m, skew: 2s, ignore: {labels: [host]}, sample: 10%, every: 5s, answers: {every: 1m}}
";
        let migration = read(text).unwrap();
        assert_eq!(migration.name.as_deref(), Some("shop-to-otel"));
        assert!(migration.compares_sources());
        assert_eq!(migration.side_of_receiver(&"prometheus".parse().unwrap()), Some(Side::Legacy));
        assert_eq!(migration.side_of_exporter("otlp/new"), Some(Side::New));
        let query = &migration.sides[1].queries[&Signal::Metrics];
        assert_eq!(
            (query.kind, query.endpoint.as_str(), query.headers.len()),
            ("prometheus", "https://b/prometheus", 1)
        );
        let comparison = &migration.comparison;
        assert_eq!(comparison.demand, Demand { margin_ratio: 0.02, confidence: 0.99, skew_ns: 2_000_000_000 });
        assert_eq!((comparison.share_permille, migration.every), (100, Duration::from_secs(5)));
        assert_eq!(comparison.names.rules[0].labels["method"], "http.request.method");
        let settings = comparison.settings(Duration::from_secs(120));
        assert_eq!(settings.metrics.settle_ns, 60_000_000_000);
    }

    fn check_error(text: &str, expected: &str) {
        let said = read(text).unwrap_err();
        assert!(said.contains(expected), "{expected} is not in {said}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        check_error("parity: {margin: much}", "a share such as `1%`");
        check_error("parity: {confidance: 1%}", "did you mean `confidence`?");
        check_error("names: [{legacy: a}]", "migration.names[0].new");
        check_error("legacy: {query: {traces: {jaeger: jaeger:16686}}}", "begins with `http://`");
        check_error("legacy: {query: {logs: {loki: http://a, victorialogs: http://b}}}", "expected one of loki and");
        check_error("parity: {answers: {every: 1m}}", "needs a `query` of the same signal");
        check_error("teams: [{name: a}]", "not built yet: teams");
    }
}
