//! From YAML events to the tree. Every bound is here: size, depth, number of values, expansion of aliases.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::{Entry, Kind, Map, Node};
use crate::path::{Path, printable};
use crate::scalar::{parse_float, parse_int, resolve_plain};
use crate::source::{Position, Source};

/// The largest text that is read as configuration.
pub const SOURCE_BYTES_MAX: usize = 4 << 20;
/// How deep collections may nest.
pub const DEPTH_MAX: usize = 64;
/// How many values all files, aliases and expansions of one load may give together.
pub const NODES_MAX: usize = 250_000;

/// What one load may still spend; shared by its files and expansions.
pub(crate) struct Budget {
    nodes_left: usize,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget { nodes_left: NODES_MAX }
    }

    /// Takes `nodes` from the budget; false when it has no more.
    pub(crate) fn spend(&mut self, nodes: usize) -> Spent {
        match self.nodes_left.checked_sub(nodes) {
            Some(left) => {
                self.nodes_left = left;
                Spent::Within
            }
            None => Spent::Exceeded,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spent {
    Within,
    Exceeded,
}

/// Reads one YAML document. None after an error that leaves no tree; errors that do leave one (a duplicate key) are
/// reported as well, but do not stop the reading.
pub(crate) fn parse(source: &Arc<Source>, budget: &mut Budget, diagnostics: &mut Diagnostics) -> Option<Node> {
    if source.text().len() > SOURCE_BYTES_MAX {
        let message = format!(
            "`{}` has {} bytes; a configuration file may have {SOURCE_BYTES_MAX}",
            printable(source.name(), 200),
            source.text().len()
        );
        diagnostics.push(Diagnostic::error(Path::root(), message));
        return None;
    }
    let mut reader = Reader {
        source,
        parser: Parser::new_from_str(source.text()),
        budget,
        diagnostics,
        anchors: HashMap::new(),
        path: vec![Path::root()],
    };
    match reader.document() {
        Ok(node) => Some(node),
        Err(Stopped(diagnostic)) => {
            reader.diagnostics.push(*diagnostic);
            None
        }
    }
}

/// An error after which nothing more can be read.
struct Stopped(Box<Diagnostic>);

type Step<T> = Result<T, Stopped>;

struct Anchor {
    node: Node,
    nodes: usize,
    height: usize,
}

struct Reader<'r> {
    source: &'r Arc<Source>,
    parser: Parser<'r, StrInput<'r>>,
    budget: &'r mut Budget,
    diagnostics: &'r mut Diagnostics,
    anchors: HashMap<usize, Anchor>,
    path: Vec<Path>,
}

impl<'r> Reader<'r> {
    fn document(&mut self) -> Step<Node> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    let error = Diagnostic::error(Path::root(), "expected one YAML document, found a second one")
                        .at(&self.at(span))
                        .help("put it into a file of its own and name both: several files are merged");
                    return Err(Stopped(Box::new(error)));
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    root = Some(self.value(event, span, 1)?);
                }
                _ => {}
            }
        }
        Ok(root.unwrap_or_else(|| Node::new(Kind::Null, Position::new(Arc::clone(self.source), 1, 1))))
    }

    fn next(&mut self) -> Step<(Event<'r>, Span)> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.not_yaml(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn at(&self, span: Span) -> Position {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position::new(Arc::clone(self.source), number(span.start.line()).max(1), number(span.start.col() + 1))
    }

    fn here(&self) -> Path {
        self.path.last().cloned().unwrap_or_default()
    }

    fn stop<T>(&self, span: Span, message: impl Into<String>) -> Step<T> {
        Err(Stopped(Box::new(Diagnostic::error(self.here(), message).at(&self.at(span)))))
    }

    fn value(&mut self, event: Event<'r>, span: Span, depth: usize) -> Step<Node> {
        if depth > DEPTH_MAX {
            return self.stop(span, format!("values nest deeper than {DEPTH_MAX} levels"));
        }
        if self.budget.spend(1) == Spent::Exceeded {
            return self.stop(span, format!("the configuration has more than {NODES_MAX} values"));
        }
        let (node, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, tag.as_deref(), span)?, anchor),
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", span)?;
                (self.sequence(span, depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", span)?;
                (self.mapping(span, depth)?, anchor)
            }
            _ => return self.stop(span, "the YAML ends in the middle of a value"),
        };
        if anchor != 0 {
            let (nodes, height) = node.measure();
            if self.budget.spend(nodes) == Spent::Exceeded {
                return self.stop(span, format!("the configuration has more than {NODES_MAX} values"));
            }
            self.anchors.insert(anchor, Anchor { node: node.clone(), nodes, height });
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Step<Node> {
        let Some(anchor) = self.anchors.get(&anchor) else {
            return self.stop(span, "the alias stands inside the very value it refers to");
        };
        if depth + anchor.height > DEPTH_MAX + 1 {
            return self.stop(span, format!("with this alias, values nest deeper than {DEPTH_MAX} levels"));
        }
        if self.budget.spend(anchor.nodes) == Spent::Exceeded {
            return self
                .stop(span, format!("with its aliases expanded, the configuration has more than {NODES_MAX} values"));
        }
        Ok(anchor.node.clone())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Step<Node> {
        let plain = style == ScalarStyle::Plain;
        let kind = match tag {
            None if plain => resolve_plain(text),
            None => Kind::String(Arc::from(text)),
            // The tag `!` alone: text, whatever it looks like.
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Kind::String(Arc::from(text)),
            Some(tag) if tag.is_yaml_core_schema() => match tagged(&tag.suffix, text) {
                Some(kind) => kind,
                None => return self.stop(span, format!("the value is no `!!{}`", printable(&tag.suffix, 40))),
            },
            Some(tag) => return self.stop(span, unknown_tag(tag)),
        };
        Ok(Node::scalar(kind, self.at(span), text))
    }

    fn check_tag(&self, tag: Option<&Tag>, expected: &str, span: Span) -> Step<()> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => self.stop(span, unknown_tag(tag)),
            _ => Ok(()),
        }
    }

    fn sequence(&mut self, span: Span, depth: usize) -> Step<Node> {
        let here = self.here();
        let mut items = Vec::new();
        loop {
            let (event, item_span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Node::new(Kind::Seq(items), self.at(span)));
            }
            self.path.push(here.index(items.len()));
            items.push(self.value(event, item_span, depth + 1)?);
            self.path.pop();
        }
    }

    fn mapping(&mut self, span: Span, depth: usize) -> Step<Node> {
        let here = self.here();
        let mut builder = MapBuilder::default();
        let mut merges = Vec::new();
        loop {
            let (event, key_span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.key(event, key_span)?;
            self.path.push(here.key(&key.text));
            let (event, value_span) = self.next()?;
            let mut value = self.value(event, value_span, depth + 1)?;
            // Where nothing is written there is nothing to point at but the key.
            if value.is_null() && value.text().is_none_or(str::is_empty) {
                value = Node::scalar(Kind::Null, self.at(key_span), "");
            }
            if key.is_merge {
                self.collect_merge(value, value_span, &mut merges)?;
            } else {
                let entry = Entry { key: key.text, key_position: self.at(key_span), value };
                if let Err(duplicate) = builder.insert(entry) {
                    self.diagnostics.push(
                        Diagnostic::error(
                            self.here(),
                            format!("the key `{}` is given twice", printable(&duplicate.key, 80)),
                        )
                        .at(&duplicate.key_position)
                        .related(
                            "first given here",
                            builder.position_of(&duplicate.key).unwrap_or(&duplicate.key_position),
                        ),
                    );
                }
            }
            self.path.pop();
        }
        // What is written out wins over what is merged in; of several merged maps the first wins.
        for entry in merges {
            let _ = builder.insert(entry);
        }
        Ok(Node::new(Kind::Map(Map::from_unique(builder.entries)), self.at(span)))
    }

    fn key(&mut self, event: Event<'r>, span: Span) -> Step<Key> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text: Arc<str> = Arc::from(&*text);
                if anchor != 0 {
                    let node = Node::new(Kind::String(Arc::clone(&text)), self.at(span));
                    self.anchors.insert(anchor, Anchor { node, nodes: 1, height: 1 });
                }
                Ok(Key { is_merge: &*text == "<<" && style == ScalarStyle::Plain && tag.is_none(), text })
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).and_then(|anchor| anchor.node.text()) {
                Some(text) => Ok(Key { is_merge: false, text: Arc::from(text) }),
                None => self.stop(span, "expected a key that is text, found an alias of a list or a map"),
            },
            _ => {
                let help =
                    "a value that starts with `{` or `[` must be quoted, as in `\"${env:NAME}\"` inside a flow list";
                let error = Diagnostic::error(self.here(), "expected a key that is text, found a list or a map")
                    .at(&self.at(span))
                    .help(help);
                Err(Stopped(Box::new(error)))
            }
        }
    }

    fn collect_merge(&mut self, value: Node, span: Span, merges: &mut Vec<Entry>) -> Step<()> {
        let mut value = value;
        match std::mem::replace(value.kind_mut(), Kind::Null) {
            Kind::Map(map) => merges.extend(map.into_entries()),
            Kind::Seq(items) => {
                for mut item in items {
                    match std::mem::replace(item.kind_mut(), Kind::Null) {
                        Kind::Map(map) => merges.extend(map.into_entries()),
                        _ => return self.stop(span, "expected maps to merge, found another value among them"),
                    }
                }
            }
            _ => return self.stop(span, "expected a map, or a list of maps, to merge"),
        }
        Ok(())
    }

    fn not_yaml(&self, error: &ScanError) -> Stopped {
        let message = format!("this is no YAML: {}", printable(error.info(), 200));
        let mut position = self.at(Span::empty(*error.marker()));
        // What is missing at the end is reported behind the last line; there is nothing to see there.
        let lines = u32::try_from(self.source.lines().count()).unwrap_or(u32::MAX);
        if position.line() > lines && lines > 0 {
            let chars = self.source.line(lines).unwrap_or_default().chars().count();
            position = Position::new(Arc::clone(self.source), lines, u32::try_from(chars + 1).unwrap_or(u32::MAX));
        }
        let line = self.source.line(position.line()).unwrap_or_default();
        let mut diagnostic = Diagnostic::error(self.here(), message).at(&position);
        if let Some(help) = help_for(line, error.info()) {
            diagnostic = diagnostic.help(help);
        }
        Stopped(Box::new(diagnostic))
    }
}

struct Key {
    text: Arc<str>,
    is_merge: bool,
}

/// Keeps keys unique without searching the whole map for each of them.
#[derive(Default)]
pub(crate) struct MapBuilder {
    pub(crate) entries: Vec<Entry>,
    index: HashMap<Arc<str>, usize>,
}

impl MapBuilder {
    /// Adds an entry, or gives it back when its key is there already.
    pub(crate) fn insert(&mut self, entry: Entry) -> Result<(), Box<Entry>> {
        if self.index.contains_key(&entry.key) {
            return Err(Box::new(entry));
        }
        self.index.insert(Arc::clone(&entry.key), self.entries.len());
        self.entries.push(entry);
        Ok(())
    }

    fn position_of(&self, key: &str) -> Option<&Position> {
        self.index.get(key).map(|&i| &self.entries[i].key_position)
    }
}

fn tagged(suffix: &str, text: &str) -> Option<Kind> {
    match suffix {
        "str" => Some(Kind::String(Arc::from(text))),
        "int" => parse_int(text).and_then(|value| i64::try_from(value).ok()).map(Kind::Int),
        "float" => match resolve_plain(text) {
            Kind::Float(value) => Some(Kind::Float(value)),
            _ => parse_float(text).map(Kind::Float),
        },
        "bool" => Some(resolve_plain(text)).filter(|kind| matches!(kind, Kind::Bool(_))),
        "null" => Some(resolve_plain(text)).filter(|kind| matches!(kind, Kind::Null)),
        _ => None,
    }
}

fn unknown_tag(tag: &Tag) -> String {
    format!("the tag `{}` means nothing here: remove it", printable(&tag.to_string(), 80))
}

/// What to do about the commonest slips.
fn help_for(line: &str, info: &str) -> Option<&'static str> {
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') {
        return Some("indent with spaces: YAML does not take tabs there");
    }
    if line.contains(":\t") {
        return Some("put a space behind `:`, not a tab");
    }
    if line.contains("${") && line.contains(['[', '{']) && line.trim_start().contains("[$") {
        return Some("inside `[…]` and `{…}` quote it: `[\"${env:NAME}\"]`");
    }
    if info.contains("unknown anchor") {
        return Some("quote a value that starts with `*`");
    }
    if info.contains("mapping values are not allowed") {
        return Some("quote the value if it contains `: `, and check the indentation of this line");
    }
    if line.contains(": @") || line.contains(": `") || line.contains(": %") {
        return Some("quote a value that starts with a sign");
    }
    None
}
