//! Readers over a map: every key is read at most once, and what nobody read is an error.

use std::fmt;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::field::Field;
use crate::node::{Entry, Kind, Map, Node};
use crate::path::{Path, printable};
use crate::source::Position;
use crate::suggest;

/// Up to this many known keys are listed when a key is unknown and like none of them.
const KNOWN_KEYS_SHOWN_MAX: usize = 14;

static EMPTY: Map = Map::empty();

/// A value with its place, for checks that come later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub position: Position,
}

/// A reader over one map of the configuration.
///
/// It reports what it finds wrong to the [`Diagnostics`] it was opened with and goes on, so that one run shows all
/// errors. A value that is missing, or wrong and reported, is replaced by its default. [`Section::finish`] reports
/// the keys that nobody asked for; sub-sections read by [`Section::child`] and its kin do that by themselves.
pub struct Section<'a> {
    node: Option<&'a Node>,
    position: Option<Position>,
    map: &'a Map,
    path: Path,
    diagnostics: &'a mut Diagnostics,
    known: Vec<&'static str>,
    state: State,
}

/// Whether messages about this section make sense.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is a map, or nothing.
    Sound,
    /// It is another value, which has been reported: what is missing in it is no news.
    Broken,
    /// All its keys have been taken.
    AllTaken,
}

impl<'a> Section<'a> {
    /// Opens a reader over `node`. Null is an empty map; another value is reported, and then read as an empty map.
    pub fn open(node: &'a Node, path: impl Into<Path>, diagnostics: &'a mut Diagnostics) -> Section<'a> {
        let path = path.into();
        let (map, state) = match node.kind() {
            Kind::Map(map) => (map, State::Sound),
            Kind::Null => (&EMPTY, State::Sound),
            _ => {
                let message = format!("expected a map, found {}", node.shown());
                diagnostics.push(Diagnostic::error(path.clone(), message).at(node.position()));
                (&EMPTY, State::Broken)
            }
        };
        Section {
            node: Some(node),
            position: Some(node.position().clone()),
            map,
            path,
            diagnostics,
            known: Vec::new(),
            state,
        }
    }

    /// A reader over nothing, which gives every default; `position` is where messages about it point.
    pub fn empty(path: impl Into<Path>, position: Option<Position>, diagnostics: &'a mut Diagnostics) -> Section<'a> {
        let path = path.into();
        Section { node: None, position, map: &EMPTY, path, diagnostics, known: Vec::new(), state: State::Sound }
    }

    /// Says where messages about the section as a whole point, usually its key; else they point at its first value.
    #[must_use]
    pub fn at(mut self, position: &Position) -> Section<'a> {
        self.position = Some(position.clone());
        self
    }

    /// The path of this section.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where this section stands; none for a section that is not in any file.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// The collection that this section reports to.
    pub fn diagnostics(&mut self) -> &mut Diagnostics {
        self.diagnostics
    }

    /// Whether `key` is there, be it with a null. This does not count as reading it.
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some()
    }

    /// The keys, in the order they were written.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.map.iter().map(|entry| &*entry.key)
    }

    /// The value of `key` for a typed reader.
    pub fn get(&mut self, key: &'static str) -> Field<'_> {
        self.know(key);
        let node = self.map.get(key);
        let path = self.path.key(key);
        let broken = self.state == State::Broken;
        Field::new(node, path, self.position.as_ref().filter(|_| !broken), broken, self.diagnostics)
    }

    /// The value of `key` as it is, for a reader of one's own; none when it is missing.
    pub fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.know(key);
        self.map.get(key)
    }

    /// All keys with their places and values, for a map whose keys are names. They all count as read.
    pub fn entries(&mut self) -> Vec<(Spanned<String>, &'a Node)> {
        if self.state == State::Sound {
            self.state = State::AllTaken;
        }
        let entry = |entry: &'a Entry| {
            let key = Spanned { value: entry.key.to_string(), position: entry.key_position.clone() };
            (key, &entry.value)
        };
        self.map.iter().map(entry).collect()
    }

    /// The sub-section `key`; a missing one gives all its defaults.
    pub fn child<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        match self.entry(key) {
            Some(entry) => self.open_child(entry).read(read),
            None => {
                let state = self.state;
                let mut child = Section::empty(self.path.key(key), self.position.clone(), self.diagnostics);
                if state == State::Broken {
                    child.state = State::Broken;
                }
                child.read(read)
            }
        }
    }

    /// The sub-section `key`, if it is there and not null.
    pub fn child_if_present<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
        let entry = self.entry(key).filter(|entry| !entry.value.is_null())?;
        Some(self.open_child(entry).read(read))
    }

    /// The sub-section `key`, if it is named at all: `grpc:` with nothing behind it means "with all its defaults".
    pub fn child_if_named<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
        let entry = self.entry(key)?;
        Some(self.open_child(entry).read(read))
    }

    fn open_child(&mut self, entry: &'a Entry) -> Section<'_> {
        Section::open(&entry.value, self.path.key(&entry.key), self.diagnostics).at(&entry.key_position)
    }

    fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.know(key);
        self.map.entry(key)
    }

    /// The sub-sections in the list `key`; a single map counts as a list of one, a missing list as empty.
    pub fn children<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Section<'_>) -> T) -> Vec<T> {
        let Some(node) = self.node(key).filter(|node| !node.is_null()) else { return Vec::new() };
        let path = self.path.key(key);
        match node.kind() {
            Kind::Seq(items) => items
                .iter()
                .enumerate()
                .map(|(i, item)| Section::open(item, path.index(i), self.diagnostics).read(&mut read))
                .collect(),
            Kind::Map(_) => vec![Section::open(node, path, self.diagnostics).read(&mut read)],
            _ => {
                let message = format!("expected a list of maps, found {}", node.shown());
                self.diagnostics.push(Diagnostic::error(path, message).at(node.position()));
                Vec::new()
            }
        }
    }

    /// The sub-sections in the map `key`, with their names: `processors: {a: {…}, b: {…}}`.
    pub fn named_children<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&Spanned<String>, &mut Section<'_>) -> T,
    ) -> Vec<(Spanned<String>, T)> {
        self.child(key, |section| {
            let mut children = Vec::new();
            for (name, node) in section.entries() {
                let path = section.path.key(&name.value);
                let child = Section::open(node, path, section.diagnostics).at(&name.position);
                let child = child.read(|child| read(&name, child));
                children.push((name, child));
            }
            children
        })
    }

    /// Refuses a key that the Collector knows and Crossfade does not have yet, as just that and no misspelling.
    ///
    /// A value that asks for nothing (null, `false`, an empty text, list or map, `{enabled: false}`) is accepted.
    pub fn unsupported(&mut self, key: &'static str, reason: &str) {
        let Some(entry) = self.entry(key).filter(|entry| !asks_for_nothing(&entry.value)) else { return };
        let message = format!("not built yet: {reason}");
        self.diagnostics.push(Diagnostic::error(self.path.key(key), message).at(&entry.key_position));
    }

    /// Accepts a key that changes nothing here, and warns that and why it does not.
    pub fn without_effect(&mut self, key: &'static str, reason: &str) {
        let Some(entry) = self.entry(key).filter(|entry| !entry.value.is_null()) else { return };
        let message = format!("has no effect: {reason}");
        self.diagnostics.push(Diagnostic::warning(self.path.key(key), message).at(&entry.key_position));
    }

    /// Reports an error about the value of `key`, or about this section when `key` is missing.
    pub fn error(&mut self, key: &str, message: impl Into<String>) {
        if self.state == State::Broken {
            return;
        }
        let position = self.map.get(key).map(|node| node.position().clone()).or_else(|| self.position.clone());
        let mut error = Diagnostic::error(self.path.key(key), message);
        error.position = position;
        self.diagnostics.push(error);
    }

    /// Reports a warning about the value of `key`, or about this section when `key` is missing.
    pub fn warning(&mut self, key: &str, message: impl Into<String>) {
        let position = self.map.get(key).map(|node| node.position().clone()).or_else(|| self.position.clone());
        let mut warning = Diagnostic::warning(self.path.key(key), message);
        warning.position = position;
        self.diagnostics.push(warning);
    }

    /// Reports an error about this section as a whole.
    pub fn fail(&mut self, message: impl Into<String>) {
        if self.state == State::Broken {
            return;
        }
        let mut error = Diagnostic::error(self.path.clone(), message);
        error.position.clone_from(&self.position);
        self.diagnostics.push(error);
    }

    /// Reports every key that was never read, with the known key it is most like.
    pub fn finish(mut self) {
        self.report_unknown();
    }

    /// Runs a reader over this section and finishes it.
    pub fn read<T>(mut self, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let value = read(&mut self);
        self.finish();
        value
    }

    fn know(&mut self, key: &'static str) {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    fn report_unknown(&mut self) {
        if self.state == State::AllTaken {
            return;
        }
        for entry in self.map {
            if self.known.contains(&&*entry.key) {
                continue;
            }
            let key = printable(&entry.key, 80);
            let error =
                Diagnostic::error(self.path.key(&entry.key), format!("unknown key `{key}`")).at(&entry.key_position);
            let help = help_for_unknown(&entry.key, &self.known, self.map);
            self.diagnostics.push(Diagnostic { help, ..error });
        }
    }
}

impl fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").field("path", &self.path).field("node", &self.node).finish_non_exhaustive()
    }
}

fn help_for_unknown(key: &str, known: &[&'static str], map: &Map) -> Option<String> {
    // A key that is given already cannot be what another one was meant to be.
    let free = known.iter().copied().filter(|known| map.get(known).is_none());
    if let Some(nearest) = suggest::nearest(key, free) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    match known.len() {
        0 => Some("no keys are known here".to_owned()),
        1..=KNOWN_KEYS_SHOWN_MAX => {
            Some(format!("the keys known here are {}", crate::field::list(known.iter().copied())))
        }
        _ => None,
    }
}

fn asks_for_nothing(node: &Node) -> bool {
    match node.kind() {
        Kind::Null | Kind::Bool(false) => true,
        Kind::String(text) => text.is_empty(),
        Kind::Seq(items) => items.is_empty(),
        Kind::Map(map) => map.is_empty() || matches!(map.get("enabled").map(Node::kind), Some(Kind::Bool(false))),
        _ => false,
    }
}
