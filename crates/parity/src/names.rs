//! Identities: which metric of one side is which of the other.
//!
//! Every name is brought into one form, the one that the new side has in Prometheus: characters escaped, unit and type as
//! suffixes. The two sides of an OpenTelemetry migration then mostly meet by themselves. What does not meet is named by
//! rules: another name, other labels, a factor. The translation is not injective, so the names that were observed are
//! kept, and names of one side that become the same are reported.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use prom::names::{Escaping, LabelNamer, MetricKind, MetricNamer, Suffixes, Underscores};

use crate::verdict::Side;

type Hasher = foldhash::fast::RandomState;

/// One line of `migration.names`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The metric's name on the legacy side.
    pub legacy: String,
    /// Its name on the new side.
    pub new: String,
    /// Labels by their legacy names, with their new ones.
    pub labels: BTreeMap<String, String>,
    /// new = scale * legacy.
    pub scale: f64,
}

/// How identities are made.
#[derive(Clone, Debug, Default)]
pub struct NameSettings {
    /// What does not meet by itself.
    pub rules: Vec<Rule>,
    /// Labels that are left out on both sides.
    pub ignored_labels: BTreeSet<String>,
    /// Resource attributes that are labels of every series.
    pub resource_labels: BTreeSet<String>,
    /// Whose names the new side has.
    pub new_side: NewSide,
}

/// What stands on the new side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewSide {
    /// The pipeline that is to stay, with names of its own.
    #[default]
    ToStay,
    /// A replica of the legacy side, with its names.
    LegacyReplica,
}

/// So many names are remembered on each side; what comes beyond is compared and not reported on.
const NAMES_MAX: usize = 20_000;

/// So many keys of attributes are remembered with the labels that they become; others are translated again each time.
const LABELS_MAX: usize = 20_000;

/// Words that the translation to Prometheus puts behind a name: units, and what kind it is.
const SUFFIXES: [&str; 24] = [
    "total",
    "ratio",
    "percent",
    "days",
    "hours",
    "minutes",
    "seconds",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "bytes",
    "kibibytes",
    "mebibytes",
    "gibibytes",
    "kilobytes",
    "megabytes",
    "gigabytes",
    "bits",
    "meters",
    "volts",
    "amperes",
    "joules",
    "watts",
    "celsius",
];

/// Labels that say where something was measured rather than what: they differ between pipelines by their nature.
const PLACE_LABELS: [&str; 4] = ["job", "instance", "otel_scope_name", "otel_scope_version"];

/// A metric of one side, in the common form.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricIdentity {
    /// The common name.
    pub name: String,
    /// What values of this side are to be multiplied with.
    pub scale: f64,
    rule: Option<usize>,
}

/// Makes identities and remembers which names it saw.
#[derive(Clone, Debug, Default)]
pub struct Names {
    settings: NameSettings,
    by_legacy: HashMap<String, usize>,
    by_new: HashMap<String, usize>,
    hasher: Hasher,
    known: HashTable<Known>,
    labels: HashTable<Label>,
    observed: [BTreeMap<String, BTreeSet<String>>; 2],
}

/// A metric as a side shows it, and what it is.
#[derive(Clone, Debug)]
struct Known {
    side: Side,
    kind: MetricKind,
    name: Box<str>,
    unit: Box<str>,
    identity: Arc<MetricIdentity>,
}

/// A key of an attribute, and the label that it becomes; none if it is left out.
#[derive(Clone, Debug)]
struct Label {
    /// The rule that renames labels, if one does.
    rule: Option<usize>,
    key: Box<str>,
    name: Option<Arc<str>>,
}

impl Names {
    /// By rules.
    pub fn new(settings: NameSettings) -> Names {
        let by_legacy = settings.rules.iter().enumerate().map(|(at, rule)| (rule.legacy.clone(), at)).collect();
        // Of rules with one new name, the first one counts.
        let by_new = settings.rules.iter().enumerate().rev().map(|(at, rule)| (rule.new.clone(), at)).collect();
        Names { settings, by_legacy, by_new, ..Names::default() }
    }

    /// The identity of a metric.
    pub fn metric(&mut self, side: Side, name: &str, unit: &str, kind: MetricKind) -> MetricIdentity {
        (*self.look_up(side, name, unit, kind)).clone()
    }

    /// The identity of a metric. What is known costs no allocation.
    pub(crate) fn look_up(&mut self, side: Side, name: &str, unit: &str, kind: MetricKind) -> Arc<MetricIdentity> {
        let hash_of = |side: Side, name: &str, unit: &str| self.hasher.hash_one((side, name, unit));
        let hash = hash_of(side, name, unit);
        let is_it =
            |known: &Known| known.side == side && known.kind == kind && *known.name == *name && *known.unit == *unit;
        if let Some(known) = self.known.find(hash, is_it) {
            return Arc::clone(&known.identity);
        }
        let identity = Arc::new(self.make(side, name, unit, kind));
        if self.known.len() < NAMES_MAX {
            self.observed[side as usize].entry(identity.name.clone()).or_default().insert(name.to_owned());
            let known = Known { side, kind, name: name.into(), unit: unit.into(), identity: Arc::clone(&identity) };
            self.known.insert_unique(hash, known, |known| hash_of(known.side, &known.name, &known.unit));
        }
        identity
    }

    fn make(&self, side: Side, name: &str, unit: &str, kind: MetricKind) -> MetricIdentity {
        let side = self.names_of(side);
        match (side, self.rule_of(side, name).map(|at| (at, &self.settings.rules[at]))) {
            // The rule's new name stands for both, as it is: its unit is not known on the legacy side.
            (Side::Legacy, Some((at, rule))) => {
                MetricIdentity { name: rule.new.clone(), scale: rule.scale, rule: Some(at) }
            }
            (Side::New, Some((at, rule))) => MetricIdentity { name: rule.new.clone(), scale: 1.0, rule: Some(at) },
            (_, None) => MetricIdentity { name: common_name(name, unit, kind), scale: 1.0, rule: None },
        }
    }

    /// Whose names a side has.
    fn names_of(&self, side: Side) -> Side {
        match self.settings.new_side {
            NewSide::ToStay => side,
            NewSide::LegacyReplica => Side::Legacy,
        }
    }

    /// The rule of a name: as it is written, or as Prometheus has it, which replaces characters and adds suffixes.
    fn rule_of(&self, side: Side, name: &str) -> Option<usize> {
        let (by_name, written): (_, fn(&Rule) -> &str) = match side {
            Side::Legacy => (&self.by_legacy, |rule| &rule.legacy),
            Side::New => (&self.by_new, |rule| &rule.new),
        };
        let translated = |rule: &Rule| {
            let rest = name.strip_prefix(label_name(written(rule)).as_str());
            // Before the first underscore of the rest there is nothing: the name ends there.
            let mut words = rest.unwrap_or("-").split('_');
            words.next() == Some("") && words.all(|word| SUFFIXES.contains(&word))
        };
        by_name.get(name).copied().or_else(|| self.settings.rules.iter().position(translated))
    }

    /// The common name of a label, or none if it is left out.
    pub fn label(&self, side: Side, metric: &MetricIdentity, key: &str) -> Option<String> {
        self.make_label(metric.rule.filter(|_| self.names_of(side) == Side::Legacy), key)
    }

    /// The common name of a label, or none if it is left out. What is known costs no allocation.
    pub(crate) fn look_up_label(&mut self, side: Side, metric: &MetricIdentity, key: &str) -> Option<Arc<str>> {
        let rule = metric.rule.filter(|_| self.names_of(side) == Side::Legacy);
        let hash = self.hasher.hash_one((rule, key));
        if let Some(known) = self.labels.find(hash, |known| known.rule == rule && *known.key == *key) {
            return known.name.clone();
        }
        let name: Option<Arc<str>> = self.make_label(rule, key).map(Arc::from);
        if self.labels.len() < LABELS_MAX {
            let label = Label { rule, key: key.into(), name: name.clone() };
            let hasher = &self.hasher;
            self.labels.insert_unique(hash, label, |label| hasher.hash_one((label.rule, &*label.key)));
        }
        name
    }

    fn make_label(&self, rule: Option<usize>, key: &str) -> Option<String> {
        // As it is written, or as Prometheus has it, which replaces characters.
        let renamed = rule.and_then(|at| {
            let labels = &self.settings.rules[at].labels;
            let translated = || labels.iter().find(|(legacy, _)| label_name(legacy) == label_name(key));
            labels.get(key).or_else(|| translated().map(|(_, new)| new))
        });
        let name = label_name(renamed.map_or(key, String::as_str));
        let is_left_out = PLACE_LABELS.contains(&name.as_str())
            || self.settings.ignored_labels.contains(&name)
            || self.settings.ignored_labels.contains(key);
        (!is_left_out).then_some(name)
    }

    /// Whether a rule speaks of a metric, as a side calls it.
    pub(crate) fn has_rule(&self, side: Side, name: &str) -> bool {
        self.rule_of(self.names_of(side), name).is_some()
    }

    /// Whether the new side is a replica of the legacy one, with its names.
    pub(crate) fn are_of_a_replica(&self) -> bool {
        self.settings.new_side == NewSide::LegacyReplica
    }

    /// Whether a resource attribute is a label.
    pub fn is_resource_label(&self, key: &str) -> bool {
        self.settings.resource_labels.contains(key)
    }

    /// Names of one side that became the same.
    pub fn collisions(&self) -> Vec<Collision> {
        let of = |side: Side| {
            let several = self.observed[side as usize].iter().filter(|(_, names)| names.len() > 1);
            several.map(move |(name, names)| Collision {
                side,
                name: name.clone(),
                names: names.iter().cloned().collect(),
            })
        };
        of(Side::Legacy).chain(of(Side::New)).collect()
    }

    /// How a side calls a metric of a common name.
    pub fn observed(&self, side: Side, name: &str) -> Vec<String> {
        self.observed[side as usize].get(name).into_iter().flatten().cloned().collect()
    }
}

/// Names that cannot be told apart after the translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// On which side.
    pub side: Side,
    /// What they become.
    pub name: String,
    /// What they were.
    pub names: Vec<String>,
}

fn common_name(name: &str, unit: &str, kind: MetricKind) -> String {
    let namer =
        MetricNamer { namespace: String::new(), escaping: Escaping::Underscores, suffixes: Suffixes::UnitAndType };
    // What has no translation stands for itself.
    namer.name(name, unit, kind).unwrap_or_else(|_| name.to_owned())
}

pub(crate) fn label_name(key: &str) -> String {
    let namer = LabelNamer { escaping: Escaping::Underscores, underscores: Underscores::Preserve };
    namer.name(key).map_or_else(|_| key.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let labels = [("method".to_owned(), "http.request.method".to_owned())].into();
        let rule = Rule {
            legacy: "request_duration_ms".to_owned(),
            new: "http.server.request.duration".to_owned(),
            labels,
            scale: 0.001,
        };
        Names::new(NameSettings { rules: vec![rule], ignored_labels: ["host".to_owned()].into(), ..Default::default() })
    }

    fn check(side: Side, name: &str, unit: &str, kind: MetricKind, expected: &str, scale: f64) {
        let identity = names().metric(side, name, unit, kind);
        assert_eq!((identity.name.as_str(), identity.scale), (expected, scale), "{side} {name}");
    }

    #[test]
    fn an_opentelemetry_name_and_its_prometheus_name_are_the_same() {
        check(Side::New, "http.requests", "1", MetricKind::MonotonicSum, "http_requests_total", 1.0);
        check(Side::Legacy, "http_requests_total", "", MetricKind::MonotonicSum, "http_requests_total", 1.0);
        check(Side::New, "process.memory", "By", MetricKind::Gauge, "process_memory_bytes", 1.0);
        check(Side::Legacy, "process_memory_bytes", "", MetricKind::Gauge, "process_memory_bytes", 1.0);
    }

    #[test]
    fn a_rule_renames_and_rescales() {
        let new = "http.server.request.duration";
        check(Side::Legacy, "request_duration_ms", "ms", MetricKind::Histogram, new, 0.001);
        check(Side::New, new, "s", MetricKind::Histogram, new, 1.0);
    }

    #[test]
    fn a_rule_holds_for_the_name_that_prometheus_makes_of_it() {
        let new = "http.server.request.duration";
        check(Side::New, "http_server_request_duration_seconds", "", MetricKind::Histogram, new, 1.0);
        check(Side::New, "http_server_request_duration", "", MetricKind::Histogram, new, 1.0);
        check(Side::Legacy, "request_duration_ms_total", "", MetricKind::MonotonicSum, new, 0.001);
        let other = "http_server_request_duration_limit_seconds";
        check(Side::New, other, "", MetricKind::Gauge, other, 1.0);
        check(Side::New, "http_server_request_durations", "", MetricKind::Gauge, "http_server_request_durations", 1.0);
    }

    #[test]
    fn labels_follow_their_rule_and_places_are_left_out() {
        let mut names = names();
        let legacy = names.metric(Side::Legacy, "request_duration_ms", "", MetricKind::Histogram);
        let new = names.metric(Side::New, "http.server.request.duration", "s", MetricKind::Histogram);
        assert_eq!(names.label(Side::Legacy, &legacy, "method"), names.label(Side::New, &new, "http.request.method"));
        assert_eq!(names.label(Side::Legacy, &legacy, "method").as_deref(), Some("http_request_method"));
        assert_eq!(names.label(Side::New, &new, "host"), None);
        assert_eq!(names.label(Side::Legacy, &legacy, "instance"), None);
    }

    #[test]
    fn a_label_may_be_written_as_prometheus_has_it() {
        let labels = [("http_method".to_owned(), "http.request.method".to_owned())].into();
        let rule = Rule { legacy: "served".to_owned(), new: "serving".to_owned(), labels, scale: 1.0 };
        let mut names = Names::new(NameSettings { rules: vec![rule], ..NameSettings::default() });
        let legacy = names.metric(Side::Legacy, "served", "", MetricKind::Gauge);
        for key in ["http.method", "http_method"] {
            assert_eq!(names.label(Side::Legacy, &legacy, key).as_deref(), Some("http_request_method"));
        }
    }

    #[test]
    fn names_that_become_the_same_are_reported() {
        let mut names = names();
        for name in ["a.b", "a_b", "c"] {
            names.metric(Side::New, name, "", MetricKind::Gauge);
        }
        let expected = Collision { side: Side::New, name: "a_b".into(), names: vec!["a.b".into(), "a_b".into()] };
        assert_eq!(names.collisions(), [expected]);
        assert_eq!(names.observed(Side::New, "c"), ["c"]);
    }
}
