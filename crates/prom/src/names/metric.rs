//! Metric names.

use super::unit::{UnitWords, escaped};
use super::{Escaping, NameError, Suffixes, is_underscores_only};

/// The kinds of metrics that names tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A gauge.
    Gauge,
    /// A sum that only rises.
    MonotonicSum,
    /// Any other sum.
    NonMonotonicSum,
    /// A histogram with explicit bounds.
    Histogram,
    /// A histogram with exponential bounds.
    ExponentialHistogram,
    /// A summary.
    Summary,
    /// Something else.
    Unknown,
}

/// Makes Prometheus' metric names.
///
/// ```
/// use prom::names::{Escaping, MetricKind, MetricNamer, Suffixes};
///
/// let namer = MetricNamer {
///     namespace: String::new(),
///     escaping: Escaping::Underscores,
///     suffixes: Suffixes::UnitAndType,
/// };
/// assert_eq!(namer.name("http.server.io", "By", MetricKind::MonotonicSum)?, "http_server_io_bytes_total");
/// assert_eq!(namer.name("cpu.usage", "1", MetricKind::Gauge)?, "cpu_usage_ratio");
/// # Ok::<(), prom::names::NameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetricNamer {
    /// What every name starts with, before a `_`; may be empty.
    pub namespace: String,
    /// What happens to characters outside of `[a-zA-Z0-9_:]`.
    pub escaping: Escaping,
    /// What is added.
    pub suffixes: Suffixes,
}

impl MetricNamer {
    /// The name of a metric with a name, a unit in UCUM's codes, and a kind.
    ///
    /// # Errors
    /// A name that is empty, or of which nothing or only underscores are left, has no translation.
    pub fn name(&self, name: &str, unit: &str, kind: MetricKind) -> Result<String, NameError> {
        let normalized = match (self.escaping, self.suffixes) {
            (Escaping::Underscores, Suffixes::UnitAndType) => self.escaped_with_suffixes(name, unit, kind),
            (Escaping::Underscores, Suffixes::None) => self.escaped_only(name),
            (Escaping::None, Suffixes::UnitAndType) => self.with_suffixes_only(name, unit, kind),
            (Escaping::None, Suffixes::None) => self.with_namespace(name.to_owned()),
        };
        if normalized.is_empty() || name.is_empty() {
            return Err(NameError::EmptyMetricName { name: name.to_owned() });
        }
        if self.escaping == Escaping::Underscores && normalized != name && is_underscores_only(&normalized) {
            return Err(NameError::InvalidMetricName { name: name.to_owned(), normalized });
        }
        Ok(normalized)
    }

    fn with_namespace(&self, name: String) -> String {
        if self.namespace.is_empty() { name } else { format!("{}_{name}", self.namespace) }
    }

    /// Forbidden characters in a row become one underscore; those at the ends are dropped. Underscores stay.
    fn escaped_only(&self, name: &str) -> String {
        let join = |text: &str| tokens(text, is_plain_or_underscore).join("_");
        let name = join(name);
        not_a_digit_first(if self.namespace.is_empty() { name } else { format!("{}_{name}", join(&self.namespace)) })
    }

    /// The name as a list of words, to which the words of the unit and of the type are added unless they are there.
    fn escaped_with_suffixes(&self, name: &str, unit: &str, kind: MetricKind) -> String {
        let namespace = tokens(&self.namespace, is_plain_or_underscore).join("_");
        let unit_words = UnitWords::of(unit);
        let main = escaped(unit_words.main);
        let per = unit_words.per.map(|per| escaped(&format!("per_{per}"))).unwrap_or_default();
        let per = match per.strip_suffix('_') {
            Some("per") => "",
            Some(per) => per,
            None => &per,
        };
        let mut words = tokens(name, is_plain);
        let per = if words.contains(&per) { "" } else { per };
        let main = if words.contains(&main.as_str()) { "" } else { main.as_str() };
        let main = if per.is_empty() { main } else { main.strip_suffix('_').unwrap_or(main) };
        words.extend([main, per].into_iter().filter(|word| !word.is_empty()));
        if let Some(word) = type_word(unit, kind) {
            words.retain(|present| *present != word);
            words.push(word);
        }
        if !namespace.is_empty() {
            words.insert(0, &namespace);
        }
        not_a_digit_first(words.join("_"))
    }

    /// The unit, what it is per, and the type behind the name, each once; the characters stay.
    fn with_suffixes_only(&self, name: &str, unit: &str, kind: MetricKind) -> String {
        let unit_words = UnitWords::of(unit);
        let per = unit_words.per.map(|per| format!("per_{per}"));
        let full = self.with_namespace(name.to_owned());
        let mut stem = full.as_str();
        for suffix in [type_word(unit, kind), per.as_deref()].into_iter().flatten() {
            stem = without_last_word(stem, suffix);
        }
        let main = Some(unit_words.main).filter(|main| !main.is_empty() && !stem.ends_with(main));
        let mut out = stem.to_owned();
        for suffix in [main, per.as_deref(), type_word(unit, kind)].into_iter().flatten() {
            out.push('_');
            out.push_str(suffix);
        }
        out
    }
}

/// What a metric's type adds. The unit `1` makes a ratio of gauges only: counters of things have it by mistake.
fn type_word(unit: &str, kind: MetricKind) -> Option<&'static str> {
    match kind {
        MetricKind::MonotonicSum => Some("total"),
        MetricKind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    }
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == ':'
}

fn is_plain_or_underscore(character: char) -> bool {
    is_plain(character) || character == '_'
}

/// The parts of a text that consist of accepted characters.
fn tokens(text: &str, accepts: fn(char) -> bool) -> Vec<&str> {
    text.split(|character| !accepts(character)).filter(|token| !token.is_empty()).collect()
}

fn not_a_digit_first(name: String) -> String {
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// The name without a suffix and the one character before it, if anything is left then.
fn without_last_word<'n>(name: &'n str, suffix: &str) -> &'n str {
    let Some(before) = name.strip_suffix(suffix) else { return name };
    let mut characters = before.chars();
    characters.next_back();
    let stem = characters.as_str();
    if stem.is_empty() { name } else { stem }
}

/// The name of a scraped metric without what its type and unit added: `_total` of counters, and the words of the unit
/// that the target declared (`trim_metric_suffixes`). A name that would be empty stays.
///
/// ```
/// use prom::names::{MetricKind, trim_suffixes};
/// assert_eq!(trim_suffixes("http_io_bytes_total", "bytes", MetricKind::MonotonicSum), "http_io");
/// assert_eq!(trim_suffixes("requests_total", "", MetricKind::MonotonicSum), "requests");
/// ```
pub fn trim_suffixes<'n>(name: &'n str, unit: &str, kind: MetricKind) -> &'n str {
    let is_sum = matches!(kind, MetricKind::MonotonicSum | MetricKind::NonMonotonicSum);
    let without = |name: &'n str, suffix: &str| {
        let stem = name.strip_suffix(suffix).and_then(|stem| stem.strip_suffix('_'));
        stem.filter(|stem| !stem.is_empty()).unwrap_or(name)
    };
    let name = if is_sum { without(name, "total") } else { name };
    if unit.is_empty() { name } else { without(name, unit) }
}
