//! Expansion of `${env:NAME}`, `${file:path}` and `${yaml:…}` in the values of a tree.
//!
//! A value that is one reference and nothing else is read as YAML, so that it may be a number, a list or a map; a
//! string field still takes its original text. A reference inside a longer string is replaced by its text. What a
//! reference gives is expanded again, up to a bound.

use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::load::Environment;
use crate::node::{Kind, Node};
use crate::path::{Path, printable};
use crate::source::{Position, Source};
use crate::yaml::{self, Budget, DEPTH_MAX};

/// How often the result of an expansion is expanded again.
const LEVELS_MAX: usize = 20;
/// How many references one load resolves.
const REFERENCES_MAX: usize = 100_000;
/// How much text the references of one load give together.
const EXPANDED_BYTES_MAX: usize = 16 << 20;

pub(crate) struct Expander<'e> {
    pub(crate) env: &'e dyn Environment,
    pub(crate) budget: &'e mut Budget,
    pub(crate) diagnostics: &'e mut Diagnostics,
    pub(crate) sources: &'e mut Vec<Arc<Source>>,
    references_left: usize,
    bytes_left: usize,
    exhaustion_reported: bool,
}

/// Which value is being expanded, for messages.
struct Subject<'p> {
    path: &'p Path,
    position: &'p Position,
    wholeness: Wholeness,
}

/// Whether a value is one reference, or has text of its own around it, which may be a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wholeness {
    Whole,
    WithText,
}

impl Subject<'_> {
    fn place(&self, diagnostic: Diagnostic) -> Diagnostic {
        let diagnostic = diagnostic.at(self.position);
        match self.wholeness {
            Wholeness::Whole => diagnostic,
            Wholeness::WithText => diagnostic.about_a_secret(),
        }
    }
}

/// How far an expansion has gone.
#[derive(Clone, Copy)]
struct Level<'r> {
    /// How many references are around it.
    depth: usize,
    /// The reference of the configuration whose value is being expanded. What that value says must not be printed.
    outer: Option<&'r str>,
}

impl<'r> Level<'r> {
    const CONFIGURATION: Level<'static> = Level { depth: 0, outer: None };

    /// For what is written inside a reference.
    fn nested(self) -> Level<'r> {
        Level { depth: self.depth + 1, ..self }
    }

    /// For what `reference` gave.
    fn inside(self, reference: &'r str) -> Level<'r> {
        Level { depth: self.depth + 1, outer: Some(self.outer.unwrap_or(reference)) }
    }

    /// A reference as messages show it.
    fn shown(self, reference: &str) -> String {
        match self.outer {
            None => format!("`{}`", printable(reference, 80)),
            Some(outer) => format!("a reference inside `{}`", printable(outer, 80)),
        }
    }
}

/// A piece of a string.
#[derive(Debug, PartialEq)]
enum Part<'t> {
    Text(String),
    /// A reference with its `${` and `}`.
    Reference(&'t str),
    /// `${` without an end: kept as it is.
    Unclosed,
}

/// What a reference gave.
enum Found {
    /// Text to be read as YAML, and the file it came from.
    Yaml { text: String, file: Option<String> },
    /// The empty string that `:-` with nothing behind it asks for.
    Empty,
}

impl<'e> Expander<'e> {
    pub(crate) fn new(
        env: &'e dyn Environment,
        budget: &'e mut Budget,
        diagnostics: &'e mut Diagnostics,
        sources: &'e mut Vec<Arc<Source>>,
    ) -> Expander<'e> {
        Expander {
            env,
            budget,
            diagnostics,
            sources,
            references_left: REFERENCES_MAX,
            bytes_left: EXPANDED_BYTES_MAX,
            exhaustion_reported: false,
        }
    }

    /// Expands every value of a tree in place.
    pub(crate) fn expand(&mut self, root: &mut Node) {
        self.node(root, &Path::root(), 1, Level::CONFIGURATION);
    }

    fn node(&mut self, node: &mut Node, path: &Path, depth: usize, level: Level<'_>) {
        let replacement = match node.kind() {
            Kind::String(text) if text.contains('$') => {
                let text = Arc::clone(text);
                self.string(node, &text, path, depth, level)
            }
            _ => None,
        };
        if let Some(replacement) = replacement {
            *node = replacement;
            return;
        }
        match node.kind_mut() {
            Kind::Seq(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.node(item, &path.index(i), depth + 1, level);
                }
            }
            Kind::Map(map) => {
                for entry in map.entries_mut() {
                    self.node(&mut entry.value, &path.key(&entry.key), depth + 1, level);
                }
            }
            _ => {}
        }
    }

    /// What a string becomes; none when it stays as it is.
    fn string(&mut self, node: &Node, text: &str, path: &Path, depth: usize, level: Level<'_>) -> Option<Node> {
        let position = node.position().clone();
        let parts = split(text);
        let wholeness = if parts.len() == 1 { Wholeness::Whole } else { Wholeness::WithText };
        let subject = Subject { path, position: &position, wholeness };
        if let [Part::Reference(reference)] = parts.as_slice() {
            return Some(self.whole(reference, &subject, depth, level));
        }
        if parts.contains(&Part::Unclosed) {
            let warning = Diagnostic::warning(path.clone(), "`${` without a closing `}` is kept as it is");
            self.diagnostics.push(subject.place(warning).help("write `$$` for a `$` that is meant as such"));
        }
        let expanded = self.join(parts, &subject, level)?;
        let node = Node::new(Kind::String(Arc::from(expanded.as_str())), position.clone());
        match text.contains("${") {
            true => Some(node.expanded_from(&Arc::from(text), &position, None)),
            false => Some(node),
        }
    }

    /// A value that is one reference.
    fn whole(&mut self, reference: &str, subject: &Subject<'_>, depth: usize, level: Level<'_>) -> Node {
        let raw: Arc<str> = Arc::from(reference);
        let node = |kind| Node::new(kind, subject.position.clone());
        let (text, file) = match self.resolve(reference, subject, level) {
            None => return node(Kind::Null),
            Some(Found::Empty) => {
                return node(Kind::String(Arc::from(""))).expanded_from(&raw, subject.position, None);
            }
            Some(Found::Yaml { text, file }) => (text, file),
        };
        let Some(mut value) = self.read_yaml(&text, file.as_deref()) else {
            if is_one_reference(&text) {
                // One reference behind another may still be a list or a map.
                let inner = self.whole(&text, subject, depth, level.inside(reference));
                let original = inner.text().map(Arc::from);
                return inner.expanded_from(&raw, subject.position, original);
            }
            let text = self.text(&text, subject, level.inside(reference));
            return node(Kind::String(Arc::from(text.as_str()))).expanded_from(&raw, subject.position, None);
        };
        if depth + value.measure().1 > DEPTH_MAX + 1 {
            self.error(subject, format!("with {}, values nest deeper than {DEPTH_MAX} levels", level.shown(reference)));
            return node(Kind::Null);
        }
        let is_part = file.is_some() && matches!(value.kind(), Kind::Seq(_) | Kind::Map(_));
        if !is_part {
            // Before what is inside is expanded: its messages point at the reference, too.
            value = value.expanded_from(&raw, subject.position, None);
        }
        self.node(&mut value, subject.path, depth, level.inside(reference));
        let original = self.original_text(&text, subject, level.inside(reference));
        if is_part {
            // A list or a map from a file is configuration like any other, and its errors are found there.
            value.marked_from_file(raw, original)
        } else {
            value.expanded_from(&raw, subject.position, Some(original))
        }
    }

    /// The value of a text that is YAML and no string; none for text that is to be taken as it is.
    fn read_yaml(&mut self, text: &str, file: Option<&str>) -> Option<Node> {
        let source = Source::new(file.unwrap_or("${…}"), text);
        let mut quiet = Diagnostics::new();
        let value = yaml::parse(&source, self.budget, &mut quiet)?;
        if quiet.has_errors() || matches!(value.kind(), Kind::String(_)) {
            return None;
        }
        if file.is_some() {
            self.sources.push(source);
        }
        Some(value)
    }

    /// The text behind a value that is no string, expanded as well: a string field will take it. What is wrong in it
    /// has been reported for the value already.
    fn original_text(&mut self, text: &str, subject: &Subject<'_>, level: Level<'_>) -> Arc<str> {
        if !text.contains('$') {
            return Arc::from(text);
        }
        let reported = std::mem::take(self.diagnostics);
        let expanded = self.text(text, subject, level);
        let attempt = std::mem::replace(self.diagnostics, reported);
        Arc::from(if attempt.has_errors() { text } else { expanded.as_str() })
    }

    /// A text with its references replaced and `$$` unescaped.
    fn text(&mut self, text: &str, subject: &Subject<'_>, level: Level<'_>) -> String {
        if !text.contains('$') {
            return text.to_owned();
        }
        self.join(split(text), subject, level).unwrap_or_default()
    }

    fn join(&mut self, parts: Vec<Part<'_>>, subject: &Subject<'_>, level: Level<'_>) -> Option<String> {
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(&text),
                Part::Unclosed => out.push_str("${"),
                Part::Reference(reference) => {
                    if let Some(Found::Yaml { text, .. }) = self.resolve(reference, subject, level) {
                        out.push_str(&self.text(&text, subject, level.inside(reference)));
                    }
                }
            }
            if out.len() > EXPANDED_BYTES_MAX {
                self.error(subject, format!("the value expands to more than {EXPANDED_BYTES_MAX} bytes"));
                return None;
            }
        }
        Some(out)
    }

    fn error(&mut self, subject: &Subject<'_>, message: impl Into<String>) {
        self.diagnostics.push(subject.place(Diagnostic::error(subject.path.clone(), message)));
    }

    /// Looks a reference up within the bounds. None after an error, which is reported here.
    fn resolve(&mut self, reference: &str, subject: &Subject<'_>, level: Level<'_>) -> Option<Found> {
        if level.depth >= LEVELS_MAX {
            let shown = printable(level.outer.unwrap_or(reference), 80);
            let message = format!("`{shown}` expands more than {LEVELS_MAX} levels deep: does it refer to itself?");
            self.error(subject, message);
            return None;
        }
        if self.references_left == 0 || self.bytes_left == 0 {
            if !self.exhaustion_reported {
                self.exhaustion_reported = true;
                let bounds = format!("{REFERENCES_MAX} references or {EXPANDED_BYTES_MAX} bytes");
                self.error(subject, format!("the configuration expands more than {bounds}"));
            }
            return None;
        }
        self.references_left -= 1;
        let found = self.look_up(reference, subject, level);
        if let Some(Found::Yaml { text, .. }) = &found {
            self.bytes_left = self.bytes_left.saturating_sub(text.len());
        }
        found
    }

    fn look_up(&mut self, reference: &str, subject: &Subject<'_>, level: Level<'_>) -> Option<Found> {
        let shown = level.shown(reference);
        let body = &reference[2..reference.len() - 1];
        let (written, default) = split_default(body);
        let name = self.text(written, subject, level.nested());
        // What a name was put together from is no more to be printed than any other value.
        let open = level.outer.is_none() && !written.contains("${");
        match scheme_of(&name) {
            Scheme::Env(variable) => match (self.env.var(variable), default) {
                (Some(value), _) => Some(Found::Yaml { text: value, file: None }),
                (None, Some("")) => Some(Found::Empty),
                (None, Some(default)) => {
                    Some(Found::Yaml { text: self.text(default, subject, level.nested()), file: None })
                }
                (None, None) => Some(self.not_set(open.then_some(variable), &shown, subject)),
            },
            // `:-` gives a default to variables only; in a path or a text it is part of it.
            Scheme::File(path) => match default {
                None => self.file(path, &shown, subject),
                Some(default) => {
                    let path = format!("{path}:-{}", self.text(default, subject, level.nested()));
                    self.file(&path, &shown, subject)
                }
            },
            Scheme::Yaml(text) => {
                let rest = default.map(|default| format!(":-{}", self.text(default, subject, level.nested())));
                Some(Found::Yaml { text: format!("{text}{}", rest.unwrap_or_default()), file: None })
            }
            Scheme::Unknown(scheme) => {
                let scheme = if open { format!("`{}` in ", printable(scheme, 40)) } else { String::new() };
                let help = "`${env:NAME}`, `${env:NAME:-default}`, `${file:path}` and `${yaml:text}` are";
                self.unresolved(subject, format!("{scheme}{shown} is no source of values here"), help);
                None
            }
            Scheme::BadName(name) => {
                let name = if open { format!("`{}` in ", printable(name, 40)) } else { String::new() };
                let help = "a literal `$` is written `$$`, as in `$${1}`";
                self.unresolved(subject, format!("{name}{shown} is no name of an environment variable"), help);
                None
            }
        }
    }

    fn unresolved(&mut self, subject: &Subject<'_>, message: String, help: &str) {
        self.diagnostics.push(subject.place(Diagnostic::error(subject.path.clone(), message)).help(help));
    }

    /// Warns of a variable that is not set, by its name if that may be told.
    fn not_set(&mut self, name: Option<&str>, shown: &str, subject: &Subject<'_>) -> Found {
        let (what, name) = match name {
            Some(name) => (format!("the environment variable `{name}`"), name),
            None => (format!("the environment variable of {shown}"), "NAME"),
        };
        let message = format!("{what} is not set; the value is empty");
        let warning = subject.place(Diagnostic::warning(subject.path.clone(), message));
        self.diagnostics.push(warning.help(format!("give a default with `${{env:{name}:-default}}`")));
        Found::Yaml { text: String::new(), file: None }
    }

    fn file(&mut self, path: &str, shown: &str, subject: &Subject<'_>) -> Option<Found> {
        match self.env.read_file(std::path::Path::new(path)) {
            Ok(mut text) => {
                // Editors end a file with a line break; a password does not.
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                Some(Found::Yaml { text, file: Some(path.to_owned()) })
            }
            Err(error) => {
                self.error(subject, format!("cannot read the file of {shown}: {error}"));
                None
            }
        }
    }
}

enum Scheme<'n> {
    Env(&'n str),
    File(&'n str),
    Yaml(&'n str),
    Unknown(&'n str),
    BadName(&'n str),
}

fn scheme_of(name: &str) -> Scheme<'_> {
    if is_variable_name(name) {
        return Scheme::Env(name);
    }
    match name.split_once(':') {
        Some(("env", variable)) if is_variable_name(variable) => Scheme::Env(variable),
        Some(("env", variable)) => Scheme::BadName(variable),
        Some(("file", path)) => Scheme::File(path),
        Some(("yaml", text)) => Scheme::Yaml(text),
        Some((scheme, _)) => Scheme::Unknown(scheme),
        None => Scheme::BadName(name),
    }
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Splits a string into text, with `$$` unescaped, and references. A reference may hold further references.
fn split(text: &str) -> Vec<Part<'_>> {
    let ends = reference_ends(text);
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(offset) = text[at..].find('$') {
        plain.push_str(&text[at..at + offset]);
        at += offset;
        let rest = &text[at..];
        if rest.starts_with("$$") {
            plain.push('$');
            at += 2;
        } else if rest.starts_with("${") {
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            match ends.get(&at) {
                Some(&end) => {
                    parts.push(Part::Reference(&text[at..end]));
                    at = end;
                }
                None => {
                    parts.push(Part::Unclosed);
                    at += 2;
                }
            }
        } else {
            plain.push('$');
            at += 1;
        }
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    parts
}

/// Whether a text is one reference and nothing else.
pub(crate) fn is_one_reference(text: &str) -> bool {
    text.starts_with("${") && reference_ends(text).get(&0) == Some(&text.len())
}

/// Where each `${` that is closed ends, in one pass: a `}` closes the nearest `${` that is still open.
fn reference_ends(text: &str) -> HashMap<usize, usize> {
    let bytes = text.as_bytes();
    let mut ends = HashMap::new();
    let mut open = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'$', Some(b'$')) => at += 1,
            (b'$', Some(b'{')) => {
                open.push(at);
                at += 1;
            }
            (b'}', _) => {
                if let Some(start) = open.pop() {
                    ends.insert(start, at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    ends
}

/// Splits `name:-default` at the first `:-` that is not inside a nested reference.
fn split_default(body: &str) -> (&str, Option<&str>) {
    let ends = reference_ends(body);
    let mut at = 0;
    while let Some(offset) = body[at..].find([':', '$']) {
        at += offset;
        if let Some(default) = body[at..].strip_prefix(":-") {
            return (&body[..at], Some(default));
        }
        at = ends.get(&at).copied().unwrap_or(at + 1);
    }
    (body, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part<'static> {
        Part::Text(text.to_owned())
    }

    #[test]
    fn a_string_splits_into_text_and_references() {
        let check = |input: &'static str, expected: &[Part<'_>]| assert_eq!(split(input), expected, "for {input}");
        check("plain", &[text("plain")]);
        check("${env:A}", &[Part::Reference("${env:A}")]);
        check("a ${A} b", &[text("a "), Part::Reference("${A}"), text(" b")]);
        check("$1 and $", &[text("$1 and $")]);
        check("$$1", &[text("$1")]);
        check("$${A}", &[text("${A}")]);
        check("$$${A}", &[text("$"), Part::Reference("${A}")]);
        check("${A:-${B}}x", &[Part::Reference("${A:-${B}}"), text("x")]);
        check("${A", &[Part::Unclosed, text("A")]);
        check("${A ${B}", &[Part::Unclosed, text("A "), Part::Reference("${B}")]);
    }

    #[test]
    fn a_default_starts_at_the_first_colon_and_dash_outside_a_nested_reference() {
        assert_eq!(split_default("env:A:-b:-c"), ("env:A", Some("b:-c")));
        assert_eq!(split_default("env:${A:-x}:-c"), ("env:${A:-x}", Some("c")));
        assert_eq!(split_default("A:-"), ("A", Some("")));
        assert_eq!(split_default("A"), ("A", None));
    }
}
