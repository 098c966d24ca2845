//! What would help: advice beside the verdicts, which changes none of them.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::verdict::Side;

/// Something that the reader may want to do about many differences at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// What it is.
    #[serde(flatten)]
    pub advice: Advice,
    /// The same in words.
    pub sentence: String,
    /// The option that it is about.
    pub option: &'static str,
    /// What to write there: an entry of that list, as YAML.
    pub yaml: String,
}

/// What is suggested.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "suggestion", rename_all = "snake_case")]
pub enum Advice {
    /// All series of one side have labels that those of the other lack, each with one value.
    SharedLabels {
        /// Which side has them.
        side: Side,
        /// The labels, with their values.
        labels: BTreeMap<String, String>,
        /// So many series have all of them.
        series: u64,
        /// Of so many.
        of_series: u64,
    },
    /// What only the legacy side has looks like what only the new side has.
    Renamed {
        /// The metric as the legacy side calls it.
        legacy: String,
        /// The metric as the new side calls it.
        new: String,
        /// new = scale * legacy.
        scale: f64,
        /// Labels by their legacy names, with their new ones, where those are others.
        labels: BTreeMap<String, String>,
        /// So many series are of both.
        series: u64,
        /// So many of them agree in their values.
        agreeing: u64,
    },
}

impl Suggestion {
    /// Labels of so many series of so many of a side, which the other side lacks, but for attributes of its resources.
    pub fn shared_labels(
        side: Side,
        labels: BTreeMap<String, String>,
        [series, of_series]: [u64; 2],
        are_of_resources: bool,
    ) -> Suggestion {
        let named: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let counted = if series == of_series { format!("all {series}") } else { format!("{series} of {of_series}") };
        let other = side.other();
        let (it, instead) = match (labels.len(), are_of_resources) {
            (1, false) => ("it", format!("add it on the {other} side")),
            (1, true) => ("it", format!("take it from the resources of the {other} side (`resource_labels`)")),
            (_, false) => ("them", format!("add them on the {other} side")),
            (_, true) => ("them", format!("take them from the resources of the {other} side (`resource_labels`)")),
        };
        let sentence = format!(
            "{counted} series of the {side} side have {}, which the {other} side lacks: leave {it} out with \
             `migration.parity.ignore.labels`, or {instead}",
            named.join(", ")
        );
        let yaml = labels.keys().map(|name| scalar(name)).collect::<Vec<_>>().join(", ");
        let advice = Advice::SharedLabels { side, labels, series, of_series };
        Suggestion { advice, sentence, option: "migration.parity.ignore.labels", yaml }
    }

    /// A metric of the legacy side that is called otherwise on the new one; so many of so many series agree.
    pub fn renamed(
        [legacy, new]: [String; 2],
        scale: f64,
        labels: BTreeMap<String, String>,
        [agreeing, series]: [u64; 2],
    ) -> Suggestion {
        let agree = format!("({agreeing} of {series} series agree)");
        let sentence = format!(
            "`{legacy}` of the legacy side{} looks like `{new}` of the new side {agree}: if it is, say so in \
             `migration.names`",
            times(scale)
        );
        let mut yaml = format!("{{legacy: {}, new: {}", scalar(&legacy), scalar(&new));
        if scale != 1.0 {
            let _ = write!(yaml, ", scale: {scale}");
        }
        if !labels.is_empty() {
            let pairs: Vec<String> =
                labels.iter().map(|(old, new)| format!("{}: {}", scalar(old), scalar(new))).collect();
            let _ = write!(yaml, ", labels: {{{}}}", pairs.join(", "));
        }
        yaml.push('}');
        let advice = Advice::Renamed { legacy, new, scale, labels, series, agreeing };
        Suggestion { advice, sentence, option: "migration.names", yaml }
    }

    /// What the metric of one side looks like, for the words about it.
    pub(crate) fn likeness(&self, side: Side) -> Option<String> {
        let Advice::Renamed { legacy, new, scale, series, agreeing, .. } = &self.advice else { return None };
        let agree = format!("({agreeing} of {series} series agree)");
        Some(match side {
            Side::Legacy if *scale == 1.0 => format!("looks like `{new}` of the new side {agree}"),
            Side::Legacy => format!("looks like `{new}` of the new side,{} {agree}", times(*scale)),
            Side::New => format!("looks like `{legacy}` of the legacy side{} {agree}", times(*scale)),
        })
    }

    /// All of them as one section of a configuration; nothing where there are none.
    pub fn configuration(suggestions: &[Suggestion]) -> String {
        let of = |option: &str| -> Vec<&str> {
            let of_option = suggestions.iter().filter(|suggestion| suggestion.option == option);
            of_option.map(|suggestion| suggestion.yaml.as_str()).collect()
        };
        let (names, ignored) = (of("migration.names"), of("migration.parity.ignore.labels"));
        if names.is_empty() && ignored.is_empty() {
            return String::new();
        }
        let mut out = String::from("migration:\n");
        if !names.is_empty() {
            out.push_str("  names:\n");
            names.iter().for_each(|rule| {
                let _ = writeln!(out, "    - {rule}");
            });
        }
        if !ignored.is_empty() {
            let _ = writeln!(out, "  parity:\n    ignore: {{labels: [{}]}}", ignored.join(", "));
        }
        out
    }
}

fn times(scale: f64) -> String {
    if scale == 1.0 { String::new() } else { format!(" times {scale}") }
}

/// Words that YAML takes for something else than a text.
const NO_TEXTS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];

/// A text in YAML, as configurations are read: a `$` stands for a reference where it is not doubled.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c))
        && !NO_TEXTS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '$' => out.push_str("$$"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use config::TestEnvironment;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_suggestions_are_one_section_of_a_configuration() {
        let names = ["orders_ms", "shop.orders"].map(str::to_owned);
        let suggestions = [
            Suggestion::shared_labels(Side::Legacy, labels(&[("cluster", "a"), ("replica", "0")]), [9, 9], false),
            Suggestion::renamed(names, 0.001, labels(&[("m", "method")]), [2, 3]),
        ];
        let expected = "migration:\n  names:\n    \
                        - {legacy: orders_ms, new: shop.orders, scale: 0.001, labels: {m: method}}\n  \
                        parity:\n    ignore: {labels: [cluster, replica]}\n";
        assert_eq!(Suggestion::configuration(&suggestions), expected);
        assert_eq!(Suggestion::configuration(&[]), "");
        let sentence = "all 9 series of the legacy side have cluster=\"a\", replica=\"0\", which the new side lacks: \
                        leave them out with `migration.parity.ignore.labels`, or add them on the new side";
        assert_eq!(suggestions[0].sentence, sentence);
        let like = "looks like `shop.orders` of the new side, times 0.001 (2 of 3 series agree)";
        assert_eq!(suggestions[1].likeness(Side::Legacy).as_deref(), Some(like));
        let json = serde_json::to_value(&suggestions[1]).unwrap();
        assert_eq!((&json["suggestion"], &json["scale"]), (&"renamed".into(), &0.001.into()));
    }

    #[test]
    fn any_name_is_read_as_it_was_written() {
        for name in ["a.b", "no", "1e3", "${env:HOME}", "a: b", "a#\"\\'", "", "line\nbreak\u{1b}\u{2028}", "{x}", "ü"]
        {
            let text = format!("name: {}\n", scalar(name));
            let loaded = config::parse_str("c.yaml", &text, &TestEnvironment::new());
            let loaded = loaded.unwrap_or_else(|errors| panic!("{text}: {}", errors.render()));
            let mut diagnostics = config::Diagnostics::new();
            let read = config::Section::open(&loaded.root, config::Path::root(), &mut diagnostics)
                .read(|section| section.get("name").string().optional());
            assert_eq!(read.as_deref(), Some(name), "{text}");
        }
    }
}
