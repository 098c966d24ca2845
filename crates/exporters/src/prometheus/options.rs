//! Options that both exporters to Prometheus have: names, and which attributes of a resource become labels.

use config::Section;
use prom::names::Strategy;

/// Reads `translation_strategy` and, where that is not given, the older `add_metric_suffixes`.
pub(crate) fn strategy(section: &mut Section<'_>) -> Strategy {
    let words = Strategy::ALL.map(|strategy| (strategy.name(), Some(strategy)));
    let words = [&words[..], &[("", None)]].concat();
    let given = section.get("translation_strategy").one_of(&words).optional().flatten();
    let suffixes = section.get("add_metric_suffixes").bool().optional();
    if let (Some(strategy), Some(_)) = (given, suffixes) {
        let message = format!("has no effect: `translation_strategy` is given, and `{}` decides", strategy.name());
        section.warning("add_metric_suffixes", message);
    }
    match (given, suffixes) {
        (Some(strategy), _) => strategy,
        (None, Some(false)) => Strategy::UnderscoreEscapingWithoutSuffixes,
        (None, _) => Strategy::UnderscoreEscapingWithSuffixes,
    }
}

/// The attributes of a resource that `job` and `instance` are made of.
pub(crate) const IDENTIFYING: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

/// Which attributes of a resource become labels of all its series. Patterns know `*` and `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourceSelection {
    included: Vec<String>,
    excluded: Vec<String>,
}

impl ResourceSelection {
    /// Reads `resource_constant_labels` and the older `resource_to_telemetry_conversion`.
    pub(crate) fn read(section: &mut Section<'_>) -> ResourceSelection {
        let older = section.child("resource_to_telemetry_conversion", |section| {
            let enabled = section.get("enabled").bool().or(false);
            let excludes_service = section.get("exclude_service_attributes").bool().or(false);
            let mut excluded = Vec::new();
            if excludes_service {
                excluded.extend(IDENTIFYING.map(str::to_owned));
            }
            enabled.then(|| ResourceSelection { included: vec!["*".to_owned()], excluded })
        });
        let newer = section.child("resource_constant_labels", |section| {
            let mut included = section.get("included").strings().or_default();
            let excluded = section.get("excluded").strings().or_default();
            if included.is_empty() && !excluded.is_empty() {
                included.push("*".to_owned());
            }
            ResourceSelection { included, excluded }
        });
        match older {
            Some(_) if !newer.is_empty() => {
                let message = "give either this or the older `resource_to_telemetry_conversion`, not both";
                section.error("resource_constant_labels", message);
                newer
            }
            Some(older) => older,
            None => newer,
        }
    }

    /// Whether no attribute is selected.
    pub(crate) fn is_empty(&self) -> bool {
        self.included.is_empty()
    }

    /// Whether an attribute is selected.
    pub(crate) fn includes(&self, key: &str) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| is_match(pattern, key));
        matches(&self.included) && !matches(&self.excluded)
    }

    /// The selection in the words of the remote write converter; none if it has no word for it.
    pub(crate) fn as_whole(&self) -> Option<WholeSelection> {
        let mut excluded: Vec<&str> = self.excluded.iter().map(String::as_str).collect();
        let mut identifying = IDENTIFYING;
        excluded.sort_unstable();
        identifying.sort_unstable();
        match self.included.as_slice() {
            [] => Some(WholeSelection::None),
            [all] if all == "*" && excluded.is_empty() => Some(WholeSelection::All),
            [all] if all == "*" && excluded == identifying => Some(WholeSelection::WithoutService),
            _ => None,
        }
    }
}

/// A selection without patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WholeSelection {
    None,
    All,
    /// All but those that `job` and `instance` are made of.
    WithoutService,
}

/// Whether a pattern of `*` (any characters) and `?` (any one) matches all of a text.
fn is_match(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on after a `*` that took one character too few.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (pattern_before, text_before) = (pattern.clone(), text.clone());
        match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                let mut rest = text_before.clone();
                text = text_before;
                retry = rest.next().map(|_| (pattern_before, rest));
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => match retry.take() {
                Some((again, rest)) => (pattern, text) = (again, rest),
                None => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_all_of_a_key() {
        let matching = [
            ("*", ""),
            ("*", "a"),
            ("", ""),
            ("k8s.*", "k8s."),
            ("k8s.*.name", "k8s.pod.name"),
            ("*a*b", "xaybzb"),
            ("**", "x"),
            ("?", "é"),
            ("service.name", "service.name"),
        ];
        for (pattern, key) in matching {
            assert!(is_match(pattern, key), "{pattern} {key}");
        }
        let other = [("", "a"), ("?", ""), ("k8s.*", "k8s"), ("*.name", "name"), ("a*b*c", "abcd"), ("ab", "a")];
        for (pattern, key) in other {
            assert!(!is_match(pattern, key), "{pattern} {key}");
        }
    }

    fn selection(included: &[&str], excluded: &[&str]) -> ResourceSelection {
        let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        ResourceSelection { included: owned(included), excluded: owned(excluded) }
    }

    #[test]
    fn what_is_excluded_is_not_included() {
        let selection = selection(&["k8s.*"], &["k8s.pod.uid"]);
        assert!(selection.includes("k8s.pod.name"));
        assert!(!selection.includes("k8s.pod.uid"));
        assert!(!selection.includes("host.name"));
    }

    #[test]
    fn everything_and_everything_but_the_service_have_names() {
        assert_eq!(selection(&[], &[]).as_whole(), Some(WholeSelection::None));
        assert_eq!(selection(&["*"], &[]).as_whole(), Some(WholeSelection::All));
        assert_eq!(selection(&["*"], &IDENTIFYING).as_whole(), Some(WholeSelection::WithoutService));
        assert_eq!(selection(&["*"], &["service.name"]).as_whole(), None);
        assert_eq!(selection(&["k8s.*"], &[]).as_whole(), None);
    }
}
