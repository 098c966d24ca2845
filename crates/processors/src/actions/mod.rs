//! What the `attributes` and `resource` processors do with attributes: a list of actions, applied in order.
//!
//! Reference: the Collector's
//! [attributes processor](https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/attributesprocessor).
//! Keys are unique by the specification; where a sender broke that, an action applies to every occurrence, so that
//! nothing meant to be deleted or hashed survives.

mod constant;
mod interest;
mod list;
mod values;

use std::cell::RefCell;

use config::{Node, Section};
use otlp::edit::Edited;
use otlp::encode::AttributesWriter;
use otlp::view::KeyValues;
use regex::Regex;

pub(crate) use constant::Constant;
use interest::Interest;
use list::{Entry, List};
use values::Type;

/// Actions in the order in which they are applied.
#[derive(Debug)]
pub(crate) struct Actions {
    actions: Vec<Action>,
    interest: Interest,
}

#[derive(Debug)]
enum Action {
    /// Sets an attribute that is not there.
    Insert { key: String, source: Source },
    /// Sets an attribute that is there.
    Update { key: String, source: Source },
    /// Sets an attribute.
    Upsert { key: String, source: Source },
    /// Removes attributes.
    Delete(Target),
    /// Replaces values by their hashes.
    Hash(Target),
    /// Sets attributes to what the named groups of a pattern match in the text of one.
    Extract { key: String, pattern: Regex },
    /// Turns a value into another type, where that can be done.
    Convert { key: String, to: Type },
}

/// Where the value of an attribute comes from.
#[derive(Debug)]
enum Source {
    Constant(Constant),
    /// Another attribute, or the default where it is not there. Without one, nothing is done.
    Attribute {
        key: String,
        default: Option<Constant>,
    },
}

/// Which attributes an action is about: the one with the key, then those whose keys the pattern matches.
#[derive(Debug)]
struct Target {
    key: Option<String>,
    pattern: Option<Regex>,
}

/// Room for the attributes of one record, reused for all records of a batch.
#[derive(Debug, Default)]
pub(crate) struct Scratch(RefCell<Vec<Entry<'static>>>);

// === impl Actions ===

impl Actions {
    /// Reads the list of actions under `key`, of which there must be one.
    pub(crate) fn read(section: &mut Section<'_>, key: &'static str) -> Option<Actions> {
        let read = section.children(key, Action::read);
        if read.is_empty() {
            section.error(key, "is required: expected a list of actions");
            return None;
        }
        let actions = read.into_iter().collect::<Option<Vec<_>>>()?;
        let interest = Interest::of(&actions);
        Some(Actions { actions, interest })
    }

    /// Applies all actions to the attributes of one record or resource, and writes what comes out if it is something
    /// else.
    pub(crate) fn edit(&self, attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>, scratch: &Scratch) -> Edited {
        if !self.interest.is_met(attributes) {
            return Edited::Unchanged;
        }
        let mut list = List::read(attributes, scratch.0.take());
        for action in &self.actions {
            action.apply(&mut list);
        }
        let edited = if list.is_changed() { Edited::Changed } else { Edited::Unchanged };
        if edited == Edited::Changed {
            list.write(out);
        }
        scratch.0.replace(list.into_scratch());
        edited
    }
}

// === impl Action ===

impl Action {
    fn apply<'a>(&'a self, list: &mut List<'a>) {
        match self {
            Action::Insert { key, source } => {
                if !list.contains(key)
                    && let Some(value) = source.value(list)
                {
                    list.push(key, value);
                }
            }
            Action::Update { key, source } => {
                if let Some(value) = source.value(list) {
                    list.set(key, &value);
                }
            }
            Action::Upsert { key, source } => {
                if let Some(value) = source.value(list) {
                    list.set_or_push(key, value);
                }
            }
            Action::Delete(target) => list.remove(|key| target.has(key)),
            Action::Hash(target) => {
                // A key that is named and matched, too, is hashed twice, as in the Collector: hashes are compared.
                list.change(|key| target.has_key(key), |value| Some(values::hash(value)));
                list.change(|key| target.is_matched(key), |value| Some(values::hash(value)));
            }
            Action::Extract { key, pattern } => {
                if let Some(value) = list.get(key) {
                    values::extract(pattern, &value, |name, text| list.set_or_push(name, text));
                }
            }
            Action::Convert { key, to } => list.change(|other| other == key.as_bytes(), |value| to.convert(value)),
        }
    }

    fn read(section: &mut Section<'_>) -> Option<Action> {
        let name = section.get("action").node().and_then(Node::text).unwrap_or_default().to_lowercase();
        let key = section.get("key").string().non_empty().optional();
        let value = section.get("value").parse_node("a value", Constant::read).optional();
        let default = section.get("default_value").parse_node("a value", Constant::read).optional();
        let from_attribute = section.get("from_attribute").string().non_empty().optional();
        let pattern = section.get("pattern").parse_with("a regular expression", optional_regex).optional().flatten();
        let to = section.get("converted_type").one_of(&Type::NAMES).optional();
        section.unsupported("from_context", "values from the context of a request");
        let given = Given { name: &name, key, value, default, from_attribute, pattern, to };
        match name.as_str() {
            "insert" => given.setting(section).map(|(key, source)| Action::Insert { key, source }),
            "update" => given.setting(section).map(|(key, source)| Action::Update { key, source }),
            "upsert" => given.setting(section).map(|(key, source)| Action::Upsert { key, source }),
            "delete" => given.target(section).map(Action::Delete),
            "hash" => given.target(section).map(Action::Hash),
            "extract" => given.extraction(section),
            "convert" => given.conversion(section),
            _ => {
                let names = ["insert", "update", "upsert", "delete", "hash", "extract", "convert"];
                section.get("action").one_of(&names.map(|name| (name, ()))).required();
                None
            }
        }
    }
}

// === impl Source ===

impl Source {
    fn value<'a>(&'a self, list: &List<'a>) -> Option<list::Value<'a>> {
        match self {
            Source::Constant(constant) => Some(list::Value::View(constant.view())),
            Source::Attribute { key, default } => {
                list.get(key).or_else(|| Some(list::Value::View(default.as_ref()?.view())))
            }
        }
    }
}

// === impl Target ===

impl Target {
    fn has(&self, key: &[u8]) -> bool {
        self.has_key(key) || self.is_matched(key)
    }

    fn has_key(&self, key: &[u8]) -> bool {
        self.key.as_ref().is_some_and(|own| own.as_bytes() == key)
    }

    fn is_matched(&self, key: &[u8]) -> bool {
        let Some(pattern) = &self.pattern else { return false };
        std::str::from_utf8(key).is_ok_and(|key| pattern.is_match(key))
    }
}

/// What the configuration of one action says; each kind of action takes its part and refuses the rest.
struct Given<'a> {
    name: &'a str,
    key: Option<String>,
    value: Option<Constant>,
    default: Option<Constant>,
    from_attribute: Option<String>,
    pattern: Option<Regex>,
    to: Option<Type>,
}

impl Given<'_> {
    /// `insert`, `update`, `upsert`.
    fn setting(self, section: &mut Section<'_>) -> Option<(String, Source)> {
        self.refuse(section, &["pattern", "converted_type"]);
        let key = self.key(section);
        let source = match (self.value, self.from_attribute, self.default) {
            (Some(_), Some(_), _) => {
                section.error("from_attribute", "cannot stand beside `value`");
                None
            }
            (Some(value), None, _) => Some(Source::Constant(value)),
            (None, Some(key), default) => Some(Source::Attribute { key, default }),
            (None, None, Some(default)) => Some(Source::Constant(default)),
            (None, None, None) => {
                // One that is wrong has been reported, and so has a context.
                if !["value", "from_attribute", "from_context", "default_value"]
                    .iter()
                    .any(|key| is_given(section, key))
                {
                    let message = format!("`{}` needs one of `value`, `from_attribute` and `default_value`", self.name);
                    section.error("value", message);
                }
                None
            }
        };
        Some((key?, source?))
    }

    /// `delete`, `hash`.
    fn target(self, section: &mut Section<'_>) -> Option<Target> {
        self.refuse(section, &["value", "from_attribute", "default_value", "converted_type"]);
        if self.key.is_none() && self.pattern.is_none() && !is_given(section, "pattern") {
            section.error("key", format!("`{}` needs `key` or `pattern`", self.name));
        }
        (self.key.is_some() || self.pattern.is_some()).then_some(Target { key: self.key, pattern: self.pattern })
    }

    fn extraction(self, section: &mut Section<'_>) -> Option<Action> {
        self.refuse(section, &["value", "from_attribute", "default_value", "converted_type"]);
        let key = self.key(section);
        if self.pattern.is_none() && !is_given(section, "pattern") {
            section.error("pattern", "is required: expected a regular expression with named groups");
        }
        let pattern = self.pattern?;
        let mut groups = pattern.capture_names().skip(1).peekable();
        if groups.peek().is_none() {
            section.error("pattern", "has no named group, such as `(?P<name>…)`: there is nothing to extract");
            return None;
        }
        if groups.any(|name| name.is_none()) {
            section
                .error("pattern", "has a group without a name: write `(?P<name>…)`, or `(?:…)` for one to leave out");
            return None;
        }
        Some(Action::Extract { key: key?, pattern })
    }

    fn conversion(self, section: &mut Section<'_>) -> Option<Action> {
        self.refuse(section, &["value", "from_attribute", "default_value", "pattern"]);
        let key = self.key(section);
        if self.to.is_none() && !is_given(section, "converted_type") {
            section.error("converted_type", "is required: expected `int`, `double`, `string` or `bool`");
        }
        Some(Action::Convert { key: key?, to: self.to? })
    }

    fn key(&self, section: &mut Section<'_>) -> Option<String> {
        if self.key.is_none() {
            section.error("key", "is required: expected the key of an attribute");
        }
        self.key.clone()
    }

    fn refuse(&self, section: &mut Section<'_>, keys: &[&'static str]) {
        for key in keys {
            if is_given(section, key) {
                section.error(key, format!("has no meaning for `{}`", self.name));
            }
        }
    }
}

fn is_given(section: &mut Section<'_>, key: &'static str) -> bool {
    section.node(key).is_some_and(|node| !node.is_null() && node.text() != Some(""))
}

fn optional_regex(text: &str) -> Result<Option<Regex>, prom::relabel::RuleError> {
    if text.is_empty() { Ok(None) } else { prom::relabel::go_regex(text).map(Some) }
}

#[cfg(test)]
mod tests;
