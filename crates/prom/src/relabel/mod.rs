//! Relabelling: rules that change, keep and drop label sets, of targets before a scrape and of series after it.
//!
//! Specification:
//! [`<relabel_config>`](https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config).
//! A rule is made once from what the configuration says ([`RuleConfig`]) and then applied to many label sets.

mod md5;
mod re2;
mod template;

use regex::Regex;

use crate::labels::LabelBuilder;
use crate::text::is_legacy_label_name;
use template::{Template, has_variable};

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Sets `target_label` to `replacement` if `regex` matches the source labels.
    #[default]
    Replace,
    /// Drops what `regex` does not match.
    Keep,
    /// Drops what `regex` matches.
    Drop,
    /// Drops what has another value in `target_label` than the source labels.
    KeepEqual,
    /// Drops what has the same value in `target_label` as the source labels.
    DropEqual,
    /// Sets `target_label` to a hash of the source labels, modulo `modulus`.
    HashMod,
    /// Copies every label whose name `regex` matches to the name that `replacement` makes of it.
    LabelMap,
    /// Removes every label whose name `regex` matches.
    LabelDrop,
    /// Removes every label whose name `regex` does not match.
    LabelKeep,
    /// Sets `target_label` to the source labels in lower case.
    Lowercase,
    /// Sets `target_label` to the source labels in upper case.
    Uppercase,
}

impl Action {
    /// Every action, as the documentation lists them.
    pub const ALL: [Action; 11] = [
        Self::Replace,
        Self::Lowercase,
        Self::Uppercase,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::HashMod,
        Self::LabelMap,
        Self::LabelDrop,
        Self::LabelKeep,
    ];

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }

    /// The action of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name().eq_ignore_ascii_case(name))
    }
}

/// Which label names are valid (`metric_name_validation_scheme`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameScheme {
    /// Any name that is not empty: Prometheus 3.
    #[default]
    Utf8,
    /// `[a-zA-Z_][a-zA-Z0-9_]*`: Prometheus 2.
    Legacy,
}

impl NameScheme {
    /// Whether a label may have this name.
    pub fn is_valid_label_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy_label_name(name),
        }
    }
}

/// One rule as the configuration spells it. `None` is what is not written; the defaults are Prometheus'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleConfig {
    /// The labels whose values are joined and matched.
    pub source_labels: Vec<String>,
    /// What joins them: `;`.
    pub separator: Option<String>,
    /// What must match, from start to end: `(.*)`.
    pub regex: Option<String>,
    /// For `hashmod`.
    pub modulus: u64,
    /// The label that is set, with variables for `replace`.
    pub target_label: Option<String>,
    /// What it is set to: `$1`.
    pub replacement: Option<String>,
    /// What the rule does: `replace`.
    pub action: Action,
}

/// Why a rule makes no sense. The messages are Prometheus' own, so that they can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// `hashmod` without `modulus`.
    #[error("relabel configuration for hashmod requires non-zero modulus")]
    NoModulus,
    /// An action that sets a label, without its name.
    #[error("relabel configuration for {action} action requires 'target_label' value")]
    NoTargetLabel {
        /// The action.
        action: &'static str,
    },
    /// A target that is no label name.
    #[error("{target:?} is invalid 'target_label' for {action} action")]
    InvalidTargetLabel {
        /// The target.
        target: String,
        /// The action.
        action: &'static str,
    },
    /// A source that is no label name.
    #[error("{source_label:?} is not a valid label name")]
    InvalidSourceLabel {
        /// The source label.
        source_label: String,
    },
    /// A replacement where there is nothing to replace.
    #[error("'replacement' can not be set for {action} action")]
    ReplacementNotAllowed {
        /// The action.
        action: &'static str,
    },
    /// `labelmap` to what is no label name.
    #[error("{replacement:?} is invalid 'replacement' for {action} action")]
    InvalidReplacement {
        /// The replacement.
        replacement: String,
        /// The action.
        action: &'static str,
    },
    /// Options that `keepequal` and `dropequal` do not have.
    #[error("{action} action requires only 'source_labels' and `target_label`, and no other fields")]
    OnlySourceAndTarget {
        /// The action.
        action: &'static str,
    },
    /// Options that `labeldrop` and `labelkeep` do not have.
    #[error("{action} action requires only 'regex', and no other fields")]
    OnlyRegex {
        /// The action.
        action: &'static str,
    },
    /// A regular expression that cannot be read, or is too large.
    #[error("the regular expression {pattern:?} is not valid: {message}")]
    InvalidRegex {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
}

impl RuleError {
    /// The option that is to be changed.
    pub fn option(&self) -> &'static str {
        match self {
            Self::NoModulus => "modulus",
            Self::NoTargetLabel { .. } | Self::InvalidTargetLabel { .. } => "target_label",
            Self::InvalidSourceLabel { .. } => "source_labels",
            Self::ReplacementNotAllowed { .. } | Self::InvalidReplacement { .. } => "replacement",
            Self::OnlySourceAndTarget { .. } | Self::OnlyRegex { .. } => "action",
            Self::InvalidRegex { .. } => "regex",
        }
    }
}

/// Whether a label set survives its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, perhaps changed.
    Keep,
    /// It is dropped.
    Drop,
}

/// Applies rules in their order, until one drops the label set.
///
/// ```
/// use prom::labels::LabelBuilder;
/// use prom::relabel::{NameScheme, Rule, RuleConfig, Verdict, relabel};
///
/// let config = RuleConfig {
///     source_labels: vec!["__address__".to_owned()],
///     regex: Some("(.*):.*".to_owned()),
///     target_label: Some("host".to_owned()),
///     ..RuleConfig::default()
/// };
/// let rules = [Rule::new(&config, NameScheme::Utf8)?];
/// let mut labels = LabelBuilder::default();
/// labels.set("__address__", "shop:9090");
/// assert_eq!(relabel(&rules, &mut labels), Verdict::Keep);
/// assert_eq!(labels.get("host"), "shop");
/// # Ok::<(), prom::relabel::RuleError>(())
/// ```
pub fn relabel(rules: &[Rule], labels: &mut LabelBuilder) -> Verdict {
    let keeps = rules.iter().all(|rule| rule.apply(labels) == Verdict::Keep);
    if keeps { Verdict::Keep } else { Verdict::Drop }
}

/// A rule that can be applied.
#[derive(Clone, Debug)]
pub struct Rule {
    source_labels: Vec<String>,
    separator: String,
    step: Step,
}

/// What each action needs, and no more.
#[derive(Clone, Debug)]
enum Step {
    SetTo { target: String, value: String },
    Replace { regex: Regex, target: Template, replacement: Template, names: NameScheme },
    Keep(Regex),
    Drop(Regex),
    KeepEqual(String),
    DropEqual(String),
    HashMod { target: String, modulus: u64 },
    LabelMap { regex: Regex, replacement: Template },
    LabelDrop(Regex),
    LabelKeep(Regex),
    Lowercase(String),
    Uppercase(String),
}

impl Rule {
    /// Makes a rule of what the configuration says.
    ///
    /// # Errors
    /// Refuses what Prometheus refuses.
    pub fn new(config: &RuleConfig, names: NameScheme) -> Result<Self, RuleError> {
        validate(config, names)?;
        let pattern = config.regex.as_deref().unwrap_or(DEFAULT_REGEX);
        let regex = anchored(pattern)?;
        let target = config.target_label.clone().unwrap_or_default();
        let replacement = config.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT);
        let step = match config.action {
            Action::Replace => replace_step(config, regex, &target, replacement, names),
            Action::Keep => Step::Keep(regex),
            Action::Drop => Step::Drop(regex),
            Action::KeepEqual => Step::KeepEqual(target),
            Action::DropEqual => Step::DropEqual(target),
            Action::HashMod => Step::HashMod { target, modulus: config.modulus },
            Action::LabelMap => Step::LabelMap { replacement: Template::new(replacement, &regex), regex },
            Action::LabelDrop => Step::LabelDrop(regex),
            Action::LabelKeep => Step::LabelKeep(regex),
            Action::Lowercase => Step::Lowercase(target),
            Action::Uppercase => Step::Uppercase(target),
        };
        let separator = config.separator.clone().unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned());
        Ok(Rule { source_labels: config.source_labels.clone(), separator, step })
    }

    /// Applies the rule to a label set.
    pub fn apply(&self, labels: &mut LabelBuilder) -> Verdict {
        let keep_if = |keeps: bool| if keeps { Verdict::Keep } else { Verdict::Drop };
        match &self.step {
            Step::SetTo { target, value } => labels.set(target, value),
            Step::Replace { regex, target, replacement, names } => {
                replace(&self.source(labels), regex, target, replacement, *names, labels);
            }
            Step::Keep(regex) => return keep_if(regex.is_match(&self.source(labels))),
            Step::Drop(regex) => return keep_if(!regex.is_match(&self.source(labels))),
            Step::KeepEqual(target) => return keep_if(labels.get(target) == self.source(labels)),
            Step::DropEqual(target) => return keep_if(labels.get(target) != self.source(labels)),
            Step::HashMod { target, modulus } => {
                let shard = hash(self.source(labels).as_bytes()) % modulus;
                labels.set(target, &shard.to_string());
            }
            Step::LabelMap { regex, replacement } => label_map(regex, replacement, labels),
            Step::LabelDrop(regex) => labels.retain(|name| !regex.is_match(name)),
            Step::LabelKeep(regex) => labels.retain(|name| regex.is_match(name)),
            Step::Lowercase(target) => {
                let lower = map_characters(&self.source(labels), char::to_lowercase);
                labels.set(target, &lower);
            }
            Step::Uppercase(target) => {
                let upper = map_characters(&self.source(labels), char::to_uppercase);
                labels.set(target, &upper);
            }
        }
        Verdict::Keep
    }

    /// The values of the source labels, joined.
    fn source(&self, labels: &LabelBuilder) -> String {
        let mut joined = String::new();
        for (index, name) in self.source_labels.iter().enumerate() {
            if index > 0 {
                joined.push_str(&self.separator);
            }
            joined.push_str(labels.get(name));
        }
        joined
    }
}

/// A replacement with constants only, of whatever there is, needs no regular expression.
fn replace_step(config: &RuleConfig, regex: Regex, target: &str, replacement: &str, names: NameScheme) -> Step {
    let is_constant =
        config.source_labels.is_empty() && config.regex.as_deref().unwrap_or(DEFAULT_REGEX) == DEFAULT_REGEX;
    if is_constant && !has_variable(target) && !has_variable(replacement) {
        return Step::SetTo { target: target.to_owned(), value: replacement.to_owned() };
    }
    let (target, replacement) = (Template::new(target, &regex), Template::new(replacement, &regex));
    Step::Replace { regex, target, replacement, names }
}

fn replace(
    source: &str,
    regex: &Regex,
    target: &Template,
    replacement: &Template,
    names: NameScheme,
    labels: &mut LabelBuilder,
) {
    let mut groups = regex.capture_locations();
    if regex.captures_read(&mut groups, source).is_none() {
        return;
    }
    let target = target.expand(source, &groups);
    if names.is_valid_label_name(&target) {
        labels.set(&target, &replacement.expand(source, &groups));
    }
}

fn label_map(regex: &Regex, replacement: &Template, labels: &mut LabelBuilder) {
    let mut groups = regex.capture_locations();
    let mut copies = Vec::new();
    for (name, value) in labels.iter() {
        if regex.captures_read(&mut groups, name).is_some() {
            copies.push((replacement.expand(name, &groups), value.to_owned()));
        }
    }
    // The copies follow the order of the names, so that of two labels mapped to one name the later wins every time.
    copies.sort();
    for (name, value) in copies {
        labels.set(&name, &value);
    }
}

/// The last eight bytes of the MD5 sum: what Prometheus' shards are made of.
fn hash(source: &[u8]) -> u64 {
    let digest = md5::md5(source);
    digest[8..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Maps character by character, as Go does: a letter whose other case is several letters stays as it is.
fn map_characters<I: Iterator<Item = char>>(text: &str, map: impl Fn(char) -> I) -> String {
    text.chars()
        .map(|character| {
            let mut mapped = map(character);
            match (mapped.next(), mapped.next()) {
                (Some(only), None) => only,
                _ => character,
            }
        })
        .collect()
}

/// A regular expression in Go's syntax. Unlike the one of a rule it matches anywhere in a text, and `.` matches no line
/// feed, as Go's `regexp` has it: for the options of other components that are written for it.
///
/// # Errors
/// [`RuleError::InvalidRegex`].
pub fn go_regex(pattern: &str) -> Result<Regex, RuleError> {
    compile(pattern, |translated| translated)
}

fn anchored(pattern: &str) -> Result<Regex, RuleError> {
    compile(pattern, |translated| format!("^(?s:{translated})$"))
}

fn compile(pattern: &str, wrap: impl FnOnce(String) -> String) -> Result<Regex, RuleError> {
    let invalid = |message: String| RuleError::InvalidRegex { pattern: pattern.to_owned(), message };
    let translated = re2::translate(pattern).map_err(|error| invalid(error.to_string()))?;
    Regex::new(&wrap(translated)).map_err(|error| {
        // The crate draws the pattern, as translated, over several lines; its last line says what is wrong.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        invalid(last.trim_start_matches("error: ").to_owned())
    })
}

fn validate(config: &RuleConfig, names: NameScheme) -> Result<(), RuleError> {
    let action = config.action.name();
    let target = config.target_label.as_deref().unwrap_or_default();
    for source_label in &config.source_labels {
        if !names.is_valid_label_name(source_label) {
            return Err(RuleError::InvalidSourceLabel { source_label: source_label.clone() });
        }
    }
    let invalid_target = || Err(RuleError::InvalidTargetLabel { target: target.to_owned(), action });
    match config.action {
        Action::HashMod if config.modulus == 0 => Err(RuleError::NoModulus),
        Action::Replace
        | Action::HashMod
        | Action::Lowercase
        | Action::Uppercase
        | Action::KeepEqual
        | Action::DropEqual
            if target.is_empty() =>
        {
            Err(RuleError::NoTargetLabel { action })
        }
        Action::Replace if has_variable(target) => {
            if is_valid_template(target, names) {
                Ok(())
            } else {
                invalid_target()
            }
        }
        Action::Replace
        | Action::HashMod
        | Action::Lowercase
        | Action::Uppercase
        | Action::KeepEqual
        | Action::DropEqual
            if !names.is_valid_label_name(target) =>
        {
            invalid_target()
        }
        Action::Lowercase | Action::Uppercase if differs(config.replacement.as_deref(), DEFAULT_REPLACEMENT) => {
            Err(RuleError::ReplacementNotAllowed { action })
        }
        Action::KeepEqual | Action::DropEqual => validate_equal(config),
        Action::LabelMap => {
            let replacement = config.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT);
            let valid = is_valid_template(replacement, names);
            let error = || RuleError::InvalidReplacement { replacement: replacement.to_owned(), action };
            if valid { Ok(()) } else { Err(error()) }
        }
        Action::LabelDrop | Action::LabelKeep => validate_label_filter(config),
        _ => Ok(()),
    }
}

fn differs(given: Option<&str>, default: &str) -> bool {
    given.is_some_and(|given| given != default)
}

fn validate_equal(config: &RuleConfig) -> Result<(), RuleError> {
    let action = config.action.name();
    if differs(config.replacement.as_deref(), DEFAULT_REPLACEMENT) {
        return Err(RuleError::ReplacementNotAllowed { action });
    }
    let has_more = differs(config.regex.as_deref(), DEFAULT_REGEX)
        || config.modulus != 0
        || differs(config.separator.as_deref(), DEFAULT_SEPARATOR);
    if has_more { Err(RuleError::OnlySourceAndTarget { action }) } else { Ok(()) }
}

fn validate_label_filter(config: &RuleConfig) -> Result<(), RuleError> {
    let has_more = !config.source_labels.is_empty()
        || config.target_label.as_deref().is_some_and(|target| !target.is_empty())
        || config.modulus != 0
        || differs(config.separator.as_deref(), DEFAULT_SEPARATOR)
        || differs(config.replacement.as_deref(), DEFAULT_REPLACEMENT);
    if has_more { Err(RuleError::OnlyRegex { action: config.action.name() }) } else { Ok(()) }
}

/// Whether a template can make a label name. In the old scheme, what stands between its variables must be allowed in a
/// name; a name cannot start with a digit.
fn is_valid_template(template: &str, names: NameScheme) -> bool {
    if names == NameScheme::Utf8 {
        return !template.is_empty();
    }
    let is_word = |character: char| character == '_' || character.is_ascii_alphanumeric();
    let mut rest = template;
    let mut is_first = true;
    while let Some(first) = rest.chars().next() {
        rest = match (first, rest.strip_prefix("${")) {
            ('$', Some(inner)) => match inner.split_once('}') {
                Some((name, after)) if !name.is_empty() && name.chars().all(is_word) => after,
                _ => return false,
            },
            ('$', None) => {
                let name = rest[1..].trim_start_matches(is_word);
                if name.len() == rest.len() - 1 {
                    return false;
                }
                name
            }
            _ if !is_word(first) || (is_first && first.is_ascii_digit()) => return false,
            _ => &rest[first.len_utf8()..],
        };
        is_first = false;
    }
    !is_first
}
