//! What a path says: a name with tags, or what regular expressions find in it.

use std::collections::BTreeMap;

use regex::{Captures, Regex};

use super::line::{LineError, shown};
use crate::lines::gather::Attributes;

/// What the samples of a path are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathKind {
    /// Values as they are at a time.
    #[default]
    Gauge,
    /// Running totals.
    Cumulative,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No regular expression.
    #[error("{0}")]
    Regexp(String),
    /// A group whose name says nothing.
    #[error("the group `{name}` is neither `name_…` nor `key_…`")]
    Group {
        /// The name.
        name: String,
    },
}

/// How paths that match a regular expression are taken apart.
///
/// Groups that are called `key_…` become attributes, those that are called `name_…` parts of the name, in the order of
/// their names.
#[derive(Clone, Debug)]
pub struct Rule {
    regexp: Regex,
    name_prefix: String,
    labels: BTreeMap<String, String>,
    kind: PathKind,
    /// The groups that are parts of the name, sorted.
    name_groups: Vec<String>,
}

const NAME_GROUP: &str = "name_";
const KEY_GROUP: &str = "key_";

impl Rule {
    /// A rule.
    ///
    /// # Errors
    /// [`RuleError`] says what is wrong with the regular expression.
    pub fn new(
        regexp: &str,
        name_prefix: String,
        labels: BTreeMap<String, String>,
        kind: PathKind,
    ) -> Result<Rule, RuleError> {
        let regexp = Regex::new(regexp).map_err(|error| RuleError::Regexp(error.to_string()))?;
        let names = || regexp.capture_names().flatten();
        if let Some(name) = names().find(|name| !name.starts_with(NAME_GROUP) && !name.starts_with(KEY_GROUP)) {
            return Err(RuleError::Group { name: name.to_owned() });
        }
        let mut name_groups: Vec<String> =
            names().filter(|name| name.starts_with(NAME_GROUP)).map(str::to_owned).collect();
        name_groups.sort_unstable();
        Ok(Rule { regexp, name_prefix, labels, kind, name_groups })
    }

    fn apply(&self, found: &Captures<'_>, path: &str, separator: &str) -> Path {
        let group = |name: &str| found.name(name).map_or("", |group| group.as_str());
        let mut name = self.name_prefix.clone();
        for part in &self.name_groups {
            name.push_str(separator);
            name.push_str(group(part));
        }
        if name.is_empty() {
            name.push_str(path);
        }
        let keys = self.regexp.capture_names().flatten().filter_map(|name| Some((name, name.strip_prefix(KEY_GROUP)?)));
        let mut attributes: Attributes = keys
            .map(|(name, key)| (key.to_owned(), group(name).to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        attributes.extend(self.labels.clone());
        Path { name, attributes, kind: self.kind }
    }
}

/// A path, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) name: String,
    pub(super) attributes: Attributes,
    pub(super) kind: PathKind,
}

/// Takes paths apart: by the first rule that matches, or else as a name with tags.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    rules: Vec<Rule>,
    name_separator: String,
}

impl Parser {
    /// A name with tags.
    pub fn plaintext() -> Parser {
        Parser::default()
    }

    /// By rules; `name_separator` stands before each part of the name that a rule finds.
    pub fn regex(rules: Vec<Rule>, name_separator: String) -> Parser {
        Parser { rules, name_separator }
    }

    pub(super) fn parse(&self, path: &str) -> Result<Path, LineError> {
        for rule in &self.rules {
            if let Some(found) = rule.regexp.captures(path) {
                return Ok(rule.apply(&found, path, &self.name_separator));
            }
        }
        tagged(path)
    }
}

/// `name;tag=value;tag=value`. A tag may have no value; of a tag that comes twice the last one counts.
fn tagged(path: &str) -> Result<Path, LineError> {
    let (name, tags) = path.split_once(';').unwrap_or((path, ""));
    if name.is_empty() {
        return Err(LineError::NoName);
    }
    let mut attributes = Attributes::new();
    if !tags.is_empty() {
        for tag in tags.split(';') {
            match tag.split_once('=') {
                Some((key, value)) if !key.is_empty() => attributes.insert(key.to_owned(), value.to_owned()),
                _ => return Err(LineError::Tag { tag: shown(tag) }),
            };
        }
    }
    Ok(Path { name: name.to_owned(), attributes, kind: PathKind::Gauge })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parser: &Parser, path: &str, expected: &str) {
        let found = match parser.parse(path) {
            Ok(Path { name, attributes, kind }) => format!("{name} {attributes:?} {kind:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{path}");
    }

    fn rule(regexp: &str, prefix: &str, labels: &[(&str, &str)], kind: PathKind) -> Rule {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Rule::new(regexp, prefix.to_owned(), labels, kind).unwrap()
    }

    #[test]
    fn a_path_is_a_name_with_tags() {
        let parser = Parser::plaintext();
        check(&parser, "disk.used", "disk.used {} Gauge");
        check(&parser, "disk.used;", "disk.used {} Gauge");
        check(&parser, "disk.used;b=2;a=1=1", r#"disk.used {"a": "1=1", "b": "2"} Gauge"#);
        check(&parser, "disk.used;a=;a=2", r#"disk.used {"a": "2"} Gauge"#);
        check(&parser, "disk.used;a", "`a` is no tag: expected `name=value`");
        check(&parser, "disk.used;a=1;;b=2", "`` is no tag: expected `name=value`");
        check(&parser, "disk.used;=1", "`=1` is no tag: expected `name=value`");
        check(&parser, ";a=1", "the path has no name");
    }

    #[test]
    fn the_first_rule_that_matches_takes_a_path_apart() {
        let cpu = rule(
            r"(?P<key_svc>[^.]+)\.(?P<key_host>[^.]+)\.cpu\.seconds",
            "cpu_seconds",
            &[("k", "v")],
            PathKind::Cumulative,
        );
        let named = rule(
            r"^(?P<key_svc>[^.]+)\.(?P<key_host>[^.]+)\.(?P<name_0>[^.]+).(?P<name_1>[^.]+)$",
            "",
            &[],
            PathKind::Gauge,
        );
        let parser = Parser::regex(vec![cpu, named], String::new());
        let expected = r#"cpu_seconds {"host": "host00", "k": "v", "svc": "service_name"} Cumulative"#;
        check(&parser, "service_name.host00.cpu.seconds", expected);
        check(&parser, "svc_02.host02.avg.duration", r#"avgduration {"host": "host02", "svc": "svc_02"} Gauge"#);
        check(&parser, "other;a=1", r#"other {"a": "1"} Gauge"#);
    }

    #[test]
    fn parts_of_a_name_stand_in_the_order_of_their_groups() {
        let parts =
            rule(r"(?P<name_b>\w+)\.(?P<name_a>\w+)(\.(?P<key_x>\w+))?", "p", &[("x", "fixed")], PathKind::Gauge);
        let parser = Parser::regex(vec![parts], "_".to_owned());
        check(&parser, "one.two.three", r#"p_two_one {"x": "fixed"} Gauge"#);
        let nothing = Parser::regex(vec![rule("x", "", &[], PathKind::Gauge)], "_".to_owned());
        check(&nothing, "a.x;b=1", "a.x;b=1 {} Gauge");
    }

    #[test]
    fn a_wrong_rule_is_said_by_its_fault() {
        let wrong =
            |regexp| Rule::new(regexp, String::new(), BTreeMap::new(), PathKind::Gauge).unwrap_err().to_string();
        assert_eq!(wrong("(?P<svc>a)"), "the group `svc` is neither `name_…` nor `key_…`");
        assert!(wrong("(a").contains("unclosed group"));
    }
}
