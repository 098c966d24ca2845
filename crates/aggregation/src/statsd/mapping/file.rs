//! Mapping files.

use std::sync::Arc;

use config::{Diagnostics, Errors, Section};

use super::glob::{Glob, Order};
use super::template::Template;
use super::{Action, Kind, Labels, Mappings, Matching, Rule};
use crate::statsd::series::Shape;
use crate::statsd::settings::{HISTOGRAM_SIZE_MAX, ascending, compile, nanoseconds};

/// The buckets of the Prometheus client libraries, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MatchType {
    Glob,
    Regex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ObserverType {
    Summary,
    Histogram,
}

/// What a mapping, or the defaults, say about observers.
#[derive(Clone, Debug, Default)]
struct Observers {
    observer_type: Option<ObserverType>,
    quantiles: Option<Arc<[f64]>>,
    buckets: Option<Arc<[f64]>>,
    native: Option<Native>,
}

/// A native histogram: how far it is from one bound to the next, and how many buckets it has.
#[derive(Clone, Copy, Debug)]
struct Native {
    factor: f64,
    size_max: u32,
}

struct Defaults {
    observers: Observers,
    match_type: MatchType,
    order: Order,
    expiry_ns: Option<Option<u64>>,
    labels_from: Labels,
}

pub(super) fn parse(file_name: &str, text: &str) -> Result<Mappings, Errors> {
    let loaded = config::parse_plain(file_name, text)?;
    let mut diagnostics = Diagnostics::new();
    let mappings = Section::open(&loaded.root, config::Path::root(), &mut diagnostics).read(|file| {
        let defaults = file.child("defaults", read_defaults);
        let rules: Vec<Option<Rule>> = file.children("mappings", |mapping| read_mapping(mapping, &defaults));
        let rest = Rule {
            action: Action::Map,
            matching: None,
            kind: None,
            name: None,
            labels: Vec::new(),
            labels_from: Labels::OfMapping,
            shape: defaults.observers.shape(&Observers::default()),
            help: None,
            expiry_ns: defaults.expiry_ns,
            scale: 1.0,
        };
        Mappings::new(rules.into_iter().flatten().collect(), rest, defaults.order)
    });
    diagnostics.finish_with(Some(mappings)).map(|(mappings, _)| mappings)
}

/// What observers become where neither the file nor the receiver's options say a type.
pub(crate) fn default_shape() -> Shape {
    Shape::Summary { quantiles: QUANTILES.into() }
}

fn read_defaults(section: &mut Section<'_>) -> Defaults {
    Defaults {
        observers: read_observers(section),
        match_type: read_match_type(section).unwrap_or(MatchType::Glob),
        order: match section.get("glob_disable_ordering").bool().or(false) {
            true => Order::Specific,
            false => Order::OfFile,
        },
        expiry_ns: read_ttl(section),
        labels_from: read_honor_labels(section).unwrap_or(Labels::OfMapping),
    }
}

fn read_mapping(section: &mut Section<'_>, defaults: &Defaults) -> Option<Rule> {
    let action = section.get("action").one_of(&[("map", Action::Map), ("drop", Action::Drop)]).or(Action::Map);
    let match_type = read_match_type(section).unwrap_or(defaults.match_type);
    let matching = match match_type {
        MatchType::Glob => {
            let glob = "fields of letters, digits, `_` and `-`, or `*`, separated by dots";
            section.get("match").parse_with(glob, Glob::parse).required().map(Matching::Glob)
        }
        MatchType::Regex => {
            section.get("match").parse_with("a regular expression", compile).required().map(Matching::Regex)
        }
    };
    let name = section.get("name").parse_with("a metric name, with references such as `$1`", parse_name);
    let name = match action {
        Action::Map => Some(name.required()),
        Action::Drop => name.optional().and(None),
    };
    let labels = section.get("labels").string_map().or_default();
    for (label, _) in &labels {
        if !is_label(label) {
            section.error("labels", format!("`{label}` is no name of a label"));
        }
    }
    let observers = read_observers(section);
    let kinds =
        [("counter", Kind::Counter), ("gauge", Kind::Gauge), ("observer", Kind::Observer), ("timer", Kind::Observer)];
    Some(Rule {
        action,
        kind: section.get("match_metric_type").one_of(&kinds).optional(),
        labels: labels.into_iter().map(|(label, value)| (label, Template::parse(&value))).collect(),
        labels_from: read_honor_labels(section).unwrap_or(defaults.labels_from),
        shape: observers.shape(&defaults.observers),
        help: section.get("help").string().non_empty().optional().map(Arc::from),
        expiry_ns: read_ttl(section).or(defaults.expiry_ns),
        scale: section.get("scale").float().or(1.0),
        matching: Some(matching?),
        name: match name {
            Some(name) => Some(name?),
            None => None,
        },
    })
}

fn read_match_type(section: &mut Section<'_>) -> Option<MatchType> {
    section.get("match_type").one_of(&[("glob", MatchType::Glob), ("regex", MatchType::Regex)]).optional()
}

fn read_honor_labels(section: &mut Section<'_>) -> Option<Labels> {
    let honor = section.get("honor_labels").bool().optional()?;
    Some(if honor { Labels::OfLine } else { Labels::OfMapping })
}

/// `0` means never.
fn read_ttl(section: &mut Section<'_>) -> Option<Option<u64>> {
    let ttl = section.get("ttl").duration().optional()?;
    Some(Some(nanoseconds(ttl)).filter(|ttl| *ttl > 0))
}

fn read_observers(section: &mut Section<'_>) -> Observers {
    let types = [("summary", ObserverType::Summary), ("histogram", ObserverType::Histogram)];
    let observer_type = section.get("observer_type").one_of(&types).optional();
    // The older names, which the newer ones override.
    let timer_type = section.get("timer_type").one_of(&types).optional();
    let old_quantiles = read_quantiles(section);
    let old_buckets = read_buckets(section);
    let has_summary = section.has("summary_options");
    let summary = section.child_if_present("summary_options", read_summary_options).flatten();
    let has_histogram = section.has("histogram_options");
    let histogram = section.child_if_present("histogram_options", |options| {
        let buckets = read_buckets(options);
        (buckets, read_native(options))
    });
    let (buckets, native) = histogram.unwrap_or_default();
    let observer_type = observer_type.or(timer_type);
    match observer_type {
        Some(ObserverType::Histogram) if has_summary => {
            section.error("summary_options", "are for `observer_type: summary` alone");
        }
        Some(ObserverType::Summary) if has_histogram => {
            section.error("histogram_options", "are for `observer_type: histogram` alone");
        }
        _ => {}
    }
    Observers { observer_type, quantiles: summary.or(old_quantiles), buckets: buckets.or(old_buckets), native }
}

fn read_summary_options(section: &mut Section<'_>) -> Option<Arc<[f64]>> {
    const WINDOW: &str = "quantiles are those of an `aggregation_interval`, and exact";
    let quantiles = read_quantiles(section);
    for option in ["max_age", "age_buckets", "buf_cap"] {
        section.without_effect(option, WINDOW);
    }
    for option in ["max_summary_age", "summary_age_buckets", "stream_buffer_size"] {
        section.without_effect(option, WINDOW);
    }
    quantiles
}

/// The errors that quantiles may have are read and not needed.
fn read_quantiles(section: &mut Section<'_>) -> Option<Arc<[f64]>> {
    let quantiles = section.children("quantiles", |quantile| {
        let _ = quantile.get("error").float().optional();
        quantile.get("quantile").float().range(0.0..=1.0).required()
    });
    let quantiles: Arc<[f64]> = quantiles.into_iter().flatten().collect();
    (!quantiles.is_empty()).then_some(quantiles)
}

fn read_buckets(section: &mut Section<'_>) -> Option<Arc<[f64]>> {
    let buckets = section.get("buckets").each(|field| field.float().optional()).optional()?;
    if buckets.is_empty() {
        return None;
    }
    match ascending(buckets) {
        Ok(buckets) => Some(buckets),
        Err(message) => {
            section.error("buckets", message);
            None
        }
    }
}

fn read_native(section: &mut Section<'_>) -> Option<Native> {
    let factor = section.get("native_histogram_bucket_factor").float().optional();
    let size_max = section.get("native_histogram_max_buckets").integer::<u32>().range(0..=16_384).optional();
    let size_max = size_max.filter(|size_max| *size_max > 1).unwrap_or(HISTOGRAM_SIZE_MAX);
    // Up to 1, there are no native buckets.
    factor.filter(|factor| *factor > 1.0).map(|factor| Native { factor, size_max })
}

/// A name as Prometheus has it, or OTLP: with dots.
fn parse_name(text: &str) -> Result<Template, &'static str> {
    let bare = text.strip_prefix('$').unwrap_or(text);
    let starts = text.starts_with('$') || bare.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    let holds = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '$' | '{' | '}'));
    if starts && holds { Ok(Template::parse(text)) } else { Err("") }
}

fn is_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

// === impl Observers ===

impl Observers {
    /// What an observer becomes; none when neither these nor the defaults say a type.
    fn shape(&self, defaults: &Observers) -> Option<Shape> {
        // Quantiles alone mean a summary, which is statsd_exporter's default.
        let summary = self.quantiles.as_ref().or(defaults.quantiles.as_ref()).map(|_| ObserverType::Summary);
        match self.observer_type.or(defaults.observer_type).or(summary)? {
            ObserverType::Summary => {
                let quantiles = self.quantiles.clone().or_else(|| defaults.quantiles.clone());
                Some(Shape::Summary { quantiles: quantiles.unwrap_or_else(|| QUANTILES.into()) })
            }
            ObserverType::Histogram => {
                // Buckets of a mapping's own win over native ones of the defaults.
                let native = self.native.or(defaults.native.filter(|_| self.buckets.is_none()));
                if let Some(Native { factor, size_max }) = native {
                    return Some(Shape::Exponential { size_max, scale_max: scale_for(factor) });
                }
                let buckets = self.buckets.clone().or_else(|| defaults.buckets.clone());
                Some(Shape::Explicit { bounds: buckets.unwrap_or_else(|| BUCKETS.into()) })
            }
        }
    }
}

/// The coarsest scale at which a bound is no more than `factor` times the one before.
fn scale_for(factor: f64) -> i32 {
    const SCALE_MAX: f64 = 20.0;
    const SCALE_MIN: f64 = -4.0;
    (-factor.log2().log2()).ceil().clamp(SCALE_MIN, SCALE_MAX) as i32
}
