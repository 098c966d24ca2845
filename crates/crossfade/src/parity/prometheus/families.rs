//! Which series belong together: the buckets, count and sum of a histogram are three names in Prometheus.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::parity::window::is_of_the_scraper;

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::parity) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// A histogram that may fall, of which each number is compared by itself.
    GaugeHistogram,
    Summary,
}

/// The forms that a histogram can have, of which a metric may have both at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::parity) enum Form {
    /// A series for each bucket.
    #[default]
    Classic,
    /// One series, whose samples are histograms.
    Native,
}

/// A metric with the names of its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::parity) struct Family {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) members: Vec<String>,
    /// What is compared where it has both forms of a histogram.
    pub(super) form: Form,
}

impl Family {
    /// Whether it is a histogram that has a form, as far as names tell.
    pub(super) fn has(&self, form: Form) -> bool {
        let is_of_form = |name: &String| match form {
            Form::Classic => name.strip_prefix(self.name.as_str()) == Some("_bucket"),
            Form::Native => *name == self.name,
        };
        self.kind == Kind::Histogram && self.members.iter().any(is_of_form)
    }
}

/// What a single number is, by what is known of its name, or else by the name itself.
pub(super) fn kind_of_number(name: &str, types: &HashMap<String, String>) -> Kind {
    let type_of = |name: &str| types.get(name).map(String::as_str).filter(|kind| *kind != "unknown");
    // The metadata of OpenMetrics names counters without their suffix.
    match type_of(name).or_else(|| type_of(name.strip_suffix("_total")?)) {
        Some("counter") => Kind::Counter,
        Some(_) => Kind::Gauge,
        None if ["_total", "_bucket", "_count"].iter().any(|end| name.ends_with(end)) => Kind::Counter,
        None => Kind::Gauge,
    }
}

/// Puts names together.
pub(super) fn families(names: &BTreeSet<String>, types: &HashMap<String, String>) -> Vec<Family> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    for name in names.iter().filter(|name| !is_of_the_scraper(name)) {
        let (base, kind) = belonging(name, names, types);
        let family = found.entry(base.to_owned());
        let (name_of, members, form) = (base.to_owned(), Vec::new(), Form::Classic);
        let family = family.or_insert_with(|| Family { name: name_of, kind, members, form });
        family.members.push(name.clone());
    }
    found.into_values().collect()
}

fn belonging<'a>(name: &'a str, names: &BTreeSet<String>, types: &HashMap<String, String>) -> (&'a str, Kind) {
    let has = |base: &str, suffix: &str| names.contains(&format!("{base}{suffix}"));
    for suffix in ["_bucket", "_sum", "_count"] {
        let Some(base) = name.strip_suffix(suffix).filter(|base| !base.is_empty()) else { continue };
        match types.get(base).map(String::as_str) {
            Some("histogram") if has(base, "_bucket") => return (base, Kind::Histogram),
            Some("summary") if suffix != "_bucket" => return (base, Kind::Summary),
            None if has(base, "_bucket") && has(base, "_count") => return (base, Kind::Histogram),
            // Nothing else has both of these and no buckets.
            None if suffix != "_bucket" && has(base, "_sum") && has(base, "_count") => return (base, Kind::Summary),
            _ => {}
        }
    }
    match types.get(name).map(String::as_str) {
        Some("summary") => (name, Kind::Summary),
        // A native histogram has the name of the family.
        Some("histogram") => (name, Kind::Histogram),
        Some("gaugehistogram") => (name, Kind::GaugeHistogram),
        None if has(name, "_count") && has(name, "_bucket") => (name, Kind::Histogram),
        None if has(name, "_sum") && has(name, "_count") => (name, Kind::Summary),
        _ => (name, kind_of_number(name, types)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], types: &[(&str, &str)], expected: &[(&str, Kind, usize)]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let types = types.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
        let found = families(&names, &types);
        let found: Vec<_> =
            found.iter().map(|family| (family.name.as_str(), family.kind, family.members.len())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_one_metric_is_put_together() {
        let latency = ["t_bucket", "t_count", "t_sum"];
        check(&latency, &[], &[("t", Kind::Histogram, 3)]);
        check(&latency, &[("t", "histogram")], &[("t", Kind::Histogram, 3)]);
        check(&["q", "q_count", "q_sum"], &[("q", "summary")], &[("q", Kind::Summary, 3)]);
        check(&["q", "q_count", "q_sum"], &[], &[("q", Kind::Summary, 3)]);
        check(&["q_count", "q_sum"], &[], &[("q", Kind::Summary, 2)]);
        check(&["q_sum"], &[], &[("q_sum", Kind::Gauge, 1)]);
        check(
            &["a_total", "b", "c_count"],
            &[],
            &[("a_total", Kind::Counter, 1), ("b", Kind::Gauge, 1), ("c_count", Kind::Counter, 1)],
        );
        check(
            &["a_total", "b"],
            &[("a", "gauge"), ("b", "counter")],
            &[("a_total", Kind::Gauge, 1), ("b", Kind::Counter, 1)],
        );
        check(&["up", "scrape_duration_seconds", "ALERTS"], &[], &[]);
        check(&["t"], &[("t", "histogram")], &[("t", Kind::Histogram, 1)]);
        check(&["t"], &[("t", "gaugehistogram")], &[("t", Kind::GaugeHistogram, 1)]);
        let both = ["t", "t_bucket", "t_count", "t_sum"];
        check(&both, &[], &[("t", Kind::Histogram, 4)]);
        check(&both, &[("t", "histogram")], &[("t", Kind::Histogram, 4)]);
    }
}
