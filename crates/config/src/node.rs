//! The tree of values: each knows where it stands, how it was written and whether it was expanded.

use std::fmt;
use std::sync::Arc;

use crate::path::printable;
use crate::source::Position;

const SHOWN_CHARS_MAX: usize = 60;

/// A value of the configuration with its place.
#[derive(Clone)]
pub struct Node {
    kind: Kind,
    position: Position,
    /// How a scalar that is no string was written (`0x10`, `yes`, `1e3`): a string field takes this.
    text: Option<Arc<str>>,
    /// The `${…}` that this value came from, as written; the value itself may be a secret.
    expansion: Option<Arc<str>>,
}

/// What a value is, by the rules for plain scalars of the YAML 1.2 core schema as the Collector applies them.
#[derive(Clone)]
pub enum Kind {
    /// Nothing: an empty value, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that fits 64 bits with a sign.
    Int(i64),
    /// A number with a fraction or an exponent, `.inf`, `.nan`, or an integer that does not fit.
    Float(f64),
    /// Text.
    String(Arc<str>),
    /// A list.
    Seq(Vec<Node>),
    /// A map.
    Map(Map),
}

/// A map in the order it was written; its keys are unique.
#[derive(Clone, Default)]
pub struct Map {
    entries: Vec<Entry>,
}

/// A key of a map and its value.
#[derive(Clone)]
pub struct Entry {
    /// The key as text.
    pub key: Arc<str>,
    /// Where the key stands.
    pub key_position: Position,
    /// The value.
    pub value: Node,
}

// === impl Node ===

impl Node {
    /// A value at a place.
    pub fn new(kind: Kind, position: Position) -> Node {
        Node { kind, position, text: None, expansion: None }
    }

    /// A scalar with the text it was written as.
    pub(crate) fn scalar(kind: Kind, position: Position, text: &str) -> Node {
        let text = match kind {
            Kind::String(_) => None,
            _ => Some(Arc::from(text)),
        };
        Node { kind, position, text, expansion: None }
    }

    /// The same value, marked as having come from `${…}` (all that is inside it, too).
    pub(crate) fn expanded_from(mut self, expansion: &Arc<str>, position: &Position, text: Option<Arc<str>>) -> Node {
        self.mark_expanded(expansion, position);
        if !matches!(self.kind, Kind::String(_)) {
            self.text = text;
        }
        self
    }

    /// The same list or map, read from a file that one reference names: only the value as a whole is marked.
    pub(crate) fn marked_from_file(mut self, expansion: Arc<str>, text: Arc<str>) -> Node {
        self.expansion = Some(expansion);
        self.text = Some(text);
        self
    }

    fn mark_expanded(&mut self, expansion: &Arc<str>, position: &Position) {
        self.expansion = Some(Arc::clone(expansion));
        self.position = position.clone();
        match &mut self.kind {
            Kind::Seq(items) => items.iter_mut().for_each(|item| item.mark_expanded(expansion, position)),
            Kind::Map(map) => {
                for entry in &mut map.entries {
                    entry.key_position = position.clone();
                    entry.value.mark_expanded(expansion, position);
                }
            }
            _ => {}
        }
    }

    /// What the value is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn kind_mut(&mut self) -> &mut Kind {
        &mut self.kind
    }

    /// Where the value stands. For an expanded scalar, the place of its `${…}`.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The original text of a scalar, or of a whole value that came from one `${…}`.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => self.text.as_deref(),
        }
    }

    /// The `${…}` this value came from, as written in the file. Messages print it instead of the value.
    pub fn expansion(&self) -> Option<&str> {
        self.expansion.as_deref()
    }

    /// Whether the value came from `${…}`, so that it must never be printed.
    pub fn from_expansion(&self) -> bool {
        self.expansion.is_some()
    }

    /// Whether nothing was given.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.kind {
            Kind::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The value of `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    /// The value as messages show it: `` `soon` ``, `a list`, `nothing`; `` `${env:X}` `` for an expanded one.
    pub fn shown(&self) -> String {
        match (&self.expansion, &self.kind) {
            (Some(expansion), Kind::Null) => {
                format!("nothing: `{}` is empty or not set", printable(expansion, SHOWN_CHARS_MAX))
            }
            (Some(expansion), _) => format!("`{}`", printable(expansion, SHOWN_CHARS_MAX)),
            (None, Kind::Seq(_) | Kind::Map(_) | Kind::Null) => self.shown_kind().to_owned(),
            (None, _) => format!("`{}`", printable(self.text().unwrap_or_default(), SHOWN_CHARS_MAX)),
        }
    }

    /// What sort of value it is, without the value: for messages about secrets.
    pub fn shown_kind(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Int(_) | Kind::Float(_) => "a number",
            Kind::String(_) => "a string",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// How many values this tree holds, and how deep it is.
    pub(crate) fn measure(&self) -> (usize, usize) {
        let (mut nodes, mut height) = (1, 0);
        let mut add = |child: &Node| {
            let (n, h) = child.measure();
            nodes += n;
            height = height.max(h);
        };
        match &self.kind {
            Kind::Seq(items) => items.iter().for_each(&mut add),
            Kind::Map(map) => map.entries.iter().for_each(|entry| add(&entry.value)),
            _ => {}
        }
        (nodes, height + 1)
    }
}

// A tree holds secrets, so `{:?}` shows its shape and never a value.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Seq(items) => f.debug_list().entries(items).finish(),
            Kind::Map(map) => f.debug_map().entries(map.iter().map(|e| (&e.key, &e.value))).finish(),
            _ => f.write_str(self.expansion().unwrap_or(self.shown_kind())),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Null => "Null",
            Kind::Bool(_) => "Bool",
            Kind::Int(_) => "Int",
            Kind::Float(_) => "Float",
            Kind::String(_) => "String",
            Kind::Seq(_) => "Seq",
            Kind::Map(_) => "Map",
        })
    }
}

// === impl Map ===

impl Map {
    pub(crate) const fn empty() -> Map {
        Map { entries: Vec::new() }
    }

    pub(crate) fn from_unique(entries: Vec<Entry>) -> Map {
        Map { entries }
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of `key`.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| &*entry.key == key)
    }

    /// The entries in the order they were written.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn entries_mut(&mut self) -> &mut Vec<Entry> {
        &mut self.entries
    }

    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

impl<'m> IntoIterator for &'m Map {
    type Item = &'m Entry;
    type IntoIter = std::slice::Iter<'m, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|e| (&e.key, &e.value))).finish()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.key, self.value)
    }
}
