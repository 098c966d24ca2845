//! Names, labels and types by statsd_exporter's mapping files.
//!
//! A file is read as it is: <https://github.com/prometheus/statsd_exporter#metric-mapping-and-configuration>. Globs are
//! compiled into one tree for each kind of metric, which is walked field by field; regular expressions are tried, in
//! order, only where no glob matches. What a name was mapped to is remembered.

mod file;
mod glob;
mod template;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use config::Errors;
use regex::Regex;

use super::line::StatsdType;
use super::series::{SeriesBuilder, Shape};
use glob::{Glob, GlobTree, Order};
use template::Template;

pub(super) use file::default_shape;

/// The mappings of a file.
#[derive(Debug)]
pub struct Mappings {
    rules: Vec<Rule>,
    /// One tree for each [`Kind`].
    globs: [GlobTree; Kind::ALL.len()],
    order: Order,
    regexes: Vec<(Regex, u32)>,
    defaults: Rule,
}

/// What is done with a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Map,
    Drop,
}

/// What statsd_exporter tells apart: timings, histograms and distributions are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Observer,
    /// Only rules without a `match_metric_type` match it.
    Set,
}

/// Whether labels of a line or of its mapping win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Labels {
    /// `honor_labels: false`.
    OfMapping,
    /// `honor_labels: true`.
    OfLine,
}

/// A mapping.
#[derive(Clone, Debug)]
struct Rule {
    action: Action,
    matching: Option<Matching>,
    kind: Option<Kind>,
    /// None keeps the name as it is.
    name: Option<Template>,
    labels: Vec<(String, Template)>,
    labels_from: Labels,
    shape: Option<Shape>,
    help: Option<Arc<str>>,
    /// What the mapping says about expiry, if it says anything: nothing within for never.
    expiry_ns: Option<Option<u64>>,
    scale: f64,
}

#[derive(Clone, Debug)]
enum Matching {
    Glob(Glob),
    Regex(Regex),
}

/// What a mapping makes of a name.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    pub(super) action: Action,
    /// What timings, histograms and distributions become, if the file says so.
    pub(super) shape: Option<Shape>,
    name: Box<str>,
    labels: Vec<(String, String)>,
    labels_from: Labels,
    help: Option<Arc<str>>,
    expiry_ns: Option<Option<u64>>,
    scale: f64,
}

impl Mappings {
    /// Reads a mapping file; `file_name` is what messages call it.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub fn parse(file_name: &str, text: &str) -> Result<Mappings, Errors> {
        file::parse(file_name, text)
    }

    /// How many mappings there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn new(rules: Vec<Rule>, defaults: Rule, order: Order) -> Mappings {
        let mut globs: [GlobTree; Kind::ALL.len()] = Default::default();
        let mut regexes = Vec::new();
        for (number, rule) in (0_u32..).zip(&rules) {
            match &rule.matching {
                Some(Matching::Glob(glob)) => {
                    let kinds = Kind::ALL.into_iter().filter(|kind| rule.kind.is_none_or(|own| own == *kind));
                    kinds.for_each(|kind| globs[kind as usize].insert(glob, number));
                }
                Some(Matching::Regex(regex)) => regexes.push((regex.clone(), number)),
                None => {}
            }
        }
        Mappings { rules, globs, order, regexes, defaults }
    }

    fn map(&self, name: &str, statsd_type: StatsdType) -> Mapped {
        let kind = Kind::of(statsd_type);
        if let Some(number) = self.globs[kind as usize].find(name, self.order) {
            let rule = &self.rules[number as usize];
            let captures = match &rule.matching {
                Some(Matching::Glob(glob)) => glob.captures(name),
                _ => Vec::new(),
            };
            return rule.map(name, |template| template.expand(|number| captures.get(number).copied(), |_| None));
        }
        for (regex, number) in &self.regexes {
            let rule = &self.rules[*number as usize];
            if rule.kind.is_some_and(|own| own != kind) {
                continue;
            }
            if let Some(captures) = regex.captures(name) {
                let numbered = |number: usize| captures.get(number + 1).map(|found| found.as_str());
                let named = |group: &str| captures.name(group).map(|found| found.as_str());
                return rule.map(name, |template| template.expand(numbered, named));
            }
        }
        self.defaults.map(name, |_| String::new())
    }
}

impl Rule {
    fn map(&self, name: &str, expand: impl Fn(&Template) -> String) -> Mapped {
        let mapped = self.name.as_ref().map(&expand);
        Mapped {
            action: self.action,
            shape: self.shape.clone(),
            // A name made of captures that are all empty would be none.
            name: mapped.filter(|name| !name.is_empty()).unwrap_or_else(|| name.to_owned()).into(),
            labels: self.labels.iter().map(|(key, value)| (key.clone(), expand(value))).collect(),
            labels_from: self.labels_from,
            help: self.help.clone(),
            expiry_ns: self.expiry_ns,
            scale: self.scale,
        }
    }
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Counter, Kind::Gauge, Kind::Observer, Kind::Set];

    fn of(statsd_type: StatsdType) -> Kind {
        match statsd_type {
            StatsdType::Counter => Kind::Counter,
            StatsdType::Gauge => Kind::Gauge,
            StatsdType::Set => Kind::Set,
            StatsdType::Timing | StatsdType::Histogram | StatsdType::Distribution => Kind::Observer,
        }
    }
}

impl Mapped {
    /// What a value is multiplied by. Like statsd_exporter, timings become seconds.
    pub(super) fn scale(&self, statsd_type: StatsdType) -> f64 {
        const SECONDS_PER_MS: f64 = 1e-3;
        if statsd_type == StatsdType::Timing { self.scale * SECONDS_PER_MS } else { self.scale }
    }

    /// Gives a series the name, the labels and all else that the mapping has for it.
    pub(super) fn apply<'a>(&'a self, series: &mut SeriesBuilder<'a>, statsd_type: StatsdType) {
        series.name = Cow::Borrowed(&self.name);
        series.description.clone_from(&self.help);
        series.unit = if statsd_type == StatsdType::Timing { "s" } else { "" };
        if let Some(expiry_ns) = self.expiry_ns {
            series.expiry_ns = expiry_ns;
        }
        let of_line = series.attributes.len();
        for (key, value) in &self.labels {
            let (of_line, _) = series.attributes.split_at(of_line);
            if self.labels_from == Labels::OfLine && of_line.iter().any(|(own, _)| own == key) {
                continue;
            }
            series.attributes.push((Cow::Borrowed(key), Cow::Borrowed(value)));
        }
    }
}

/// So many names are remembered for each type; beyond it, they are forgotten and mapped anew.
const NAMES_MAX: usize = 4_096;

/// What names were mapped to, so that each is matched once.
#[derive(Debug)]
pub(super) struct MappingCache {
    by_type: [HashMap<Box<str>, Mapped>; 6],
}

impl MappingCache {
    pub(super) fn new() -> MappingCache {
        MappingCache { by_type: Default::default() }
    }

    pub(super) fn find(&mut self, mappings: &Mappings, name: &str, statsd_type: StatsdType) -> &Mapped {
        let names = &mut self.by_type[statsd_type as usize];
        if !names.contains_key(name) {
            if names.len() >= NAMES_MAX {
                names.clear();
            }
            names.insert(name.into(), mappings.map(name, statsd_type));
        }
        &names[name]
    }
}
