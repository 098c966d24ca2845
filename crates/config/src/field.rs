//! Typed readers of one value.

use std::fmt::Display;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::duration;
use crate::expand::is_one_reference;
use crate::id::ComponentId;
use crate::node::{Kind, Node};
use crate::path::{Path, printable};
use crate::scalar::{parse_bool, parse_float, parse_int};
use crate::secret::Secret;
use crate::section::{Section, Spanned};
use crate::size::{self, SizeBase};
use crate::source::Position;
use crate::suggest;

/// The value of a key, before its type is known. One of the typed readers turns it into a [`Read`].
#[must_use = "a field does nothing until it is read"]
pub struct Field<'s> {
    node: Option<&'s Node>,
    path: Path,
    /// Where a missing value is reported.
    parent: Option<&'s Position>,
    broken: bool,
    diagnostics: &'s mut Diagnostics,
    expected: String,
    secrecy: Secrecy,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Open,
    Secret,
}

/// A value that has been read: there, missing, or wrong and reported. A default or a demand turns it into a value.
#[must_use = "say what a missing value means: `or`, `or_default`, `optional` or `required`"]
pub struct Read<'s, T> {
    field: Field<'s>,
    state: State<T>,
}

enum State<T> {
    Missing,
    Invalid,
    Present(T),
}

/// An integer type that a field can be read into.
pub trait Integer: TryFrom<i128> + Copy + PartialOrd + Display {
    /// The smallest value.
    const LEAST: i128;
    /// The largest value.
    const MOST: i128;
}

macro_rules! integer {
    ($($t:ty),*) => { $(impl Integer for $t {
        const LEAST: i128 = <$t>::MIN as i128;
        const MOST: i128 = <$t>::MAX as i128;
    })* };
}

integer!(u8, u16, u32, u64, usize, i32, i64);

// === impl Field ===

impl<'s> Field<'s> {
    pub(crate) fn new(
        node: Option<&'s Node>,
        path: Path,
        parent: Option<&'s Position>,
        broken: bool,
        diagnostics: &'s mut Diagnostics,
    ) -> Field<'s> {
        Field { node, path, parent, broken, diagnostics, expected: "a value".to_owned(), secrecy: Secrecy::Open }
    }

    /// The value as it is; none when it is missing.
    pub fn node(&self) -> Option<&'s Node> {
        self.node
    }

    /// Text. A number or a boolean is taken as it was written, and an expanded value by its original text.
    pub fn string(self) -> Read<'s, String> {
        self.written(str::to_owned)
    }

    /// Text that is never printed, neither here nor by whoever holds it.
    pub fn secret(self) -> Read<'s, Secret> {
        self.kept_secret().written(|text| Secret::new(text))
    }

    /// `true` or `false`; also `yes`, `no`, `on`, `off`.
    pub fn bool(self) -> Read<'s, bool> {
        self.typed("`true` or `false`", |node| match node.kind() {
            Kind::Bool(value) => Ok(*value),
            _ => parse_bool(node.text().unwrap_or_default()).ok_or_else(String::new),
        })
    }

    /// An integer that fits `T`; a text that is one is taken, too.
    pub fn integer<T: Integer>(self) -> Read<'s, T> {
        let expected = match (T::LEAST, T::MOST) {
            (0, most) if most <= i128::from(u16::MAX) => format!("an integer from 0 to {most}"),
            (0, _) => "an integer of at least 0".to_owned(),
            _ => "an integer".to_owned(),
        };
        self.typed(&expected, |node| {
            let value = match node.kind() {
                Kind::Int(value) => Some(i128::from(*value)),
                // Beyond 64 signed bits, and `1e3`, which has no fraction.
                Kind::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(*value as i128),
                _ => node.text().and_then(|text| parse_int(text.trim())),
            };
            let Some(value) = value else { return Err(String::new()) };
            T::try_from(value).map_err(|_| match value < T::LEAST {
                true => String::new(),
                false => format!("the largest possible value is {}", T::MOST),
            })
        })
    }

    /// A finite number; a text that is one is taken, too.
    pub fn float(self) -> Read<'s, f64> {
        self.typed("a number", |node| {
            let value = match node.kind() {
                Kind::Int(value) => Some(*value as f64),
                Kind::Float(value) => Some(*value),
                _ => node.text().and_then(|text| parse_float(text.trim())),
            };
            value.filter(|value| value.is_finite()).ok_or_else(String::new)
        })
    }

    /// A duration in Go's syntax: `5s`, `1m30s`, `200ms`, `0`. Never negative.
    pub fn duration(self) -> Read<'s, Duration> {
        self.scalar("a duration such as `5s`, `200ms` or `1m30s`", |text| duration::parse_go(text.trim()))
    }

    /// A duration in Prometheus's syntax: `15s`, `1d`, `1h30m`, `0`.
    pub fn prometheus_duration(self) -> Read<'s, Duration> {
        self.scalar("a duration such as `15s`, `1h30m` or `1d`", |text| duration::parse_prometheus(text.trim()))
    }

    /// A size in bytes: `20MiB`, `256MB`, `1048576`.
    pub fn bytes(self) -> Read<'s, u64> {
        self.scalar("a size such as `20MiB` or a number of bytes", |text| size::parse(text, SizeBase::Decimal))
    }

    /// A size in bytes as Prometheus reads it: `10MB` is 10 × 1024 × 1024.
    pub fn prometheus_bytes(self) -> Read<'s, u64> {
        self.scalar("a size such as `10MB` or a number of bytes", |text| size::parse(text, SizeBase::Binary))
    }

    /// One of several words.
    pub fn one_of<T: Clone>(self, choices: &[(&str, T)]) -> Read<'s, T> {
        let words = || choices.iter().map(|(word, _)| *word).filter(|word| !word.is_empty());
        let expected = format!("one of {}", list(words()));
        let mut suggestion = None;
        let mut read = self.scalar(&expected, |text| {
            if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
                return Ok(value.clone());
            }
            suggestion = suggest::nearest(text, words()).map(str::to_owned);
            Err(String::new())
        });
        // The suggestion for an expanded value would tell what the value is like.
        if let (Some(word), State::Invalid, false) = (suggestion, &read.state, read.field.is_hidden()) {
            read.field.help_last(format!("did you mean `{word}`?"));
        }
        read
    }

    /// The id of a component: `type` or `type/name`.
    pub fn component_id(self) -> Read<'s, ComponentId> {
        self.scalar("a component's `type` or `type/name`", str::parse::<ComponentId>)
    }

    /// Text that `parse` turns into something; `expected` says into what, such as "a regular expression".
    pub fn parse_with<T, E: Display>(self, expected: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Read<'s, T> {
        self.scalar(expected, parse)
    }

    /// A value of any kind that `parse` turns into something. An empty error text adds nothing to the message.
    pub fn parse_node<T>(self, expected: &str, parse: impl FnOnce(&Node) -> Result<T, String>) -> Read<'s, T> {
        self.typed(expected, parse)
    }

    /// A list of texts. A single text is taken as a list; its parts may be separated by commas.
    pub fn strings(mut self) -> Read<'s, Vec<String>> {
        self.expected = "a list of strings".to_owned();
        match self.node.map(Node::kind) {
            None | Some(Kind::Null) => Read { field: self, state: State::Missing },
            Some(Kind::Seq(_)) => self.each(|item| item.string().required()),
            Some(Kind::Map(_)) => self.invalid(""),
            Some(_) => self.scalar("a list of strings", |text| Ok::<_, String>(split_at_commas(text))),
        }
    }

    /// A list of which `read` takes every item; items it gives nothing for are left out. A single value is taken as
    /// a list of one.
    pub fn each<T>(mut self, mut read: impl FnMut(Field<'_>) -> Option<T>) -> Read<'s, Vec<T>> {
        self.expected = "a list".to_owned();
        let Some(node) = self.node.filter(|node| !node.is_null()) else {
            return Read { field: self, state: State::Missing };
        };
        let items = match node.as_seq() {
            Some(items) => items,
            None => std::slice::from_ref(node),
        };
        let mut values = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let mut field =
                Field::new(Some(item), self.path.index(i), Some(item.position()), self.broken, self.diagnostics);
            field.secrecy = self.secrecy;
            values.extend(read(field));
        }
        Read { field: self, state: State::Present(values) }
    }

    /// A map of texts, in the order it was written. A null is an empty text.
    pub fn string_map(self) -> Read<'s, Vec<(String, String)>> {
        self.pairs(Secrecy::Open, str::to_owned)
    }

    /// A map of texts that are never printed, such as headers: `{name: value}` or `[{name: …, value: …}]`.
    pub fn secret_map(self) -> Read<'s, Vec<(String, Secret)>> {
        self.pairs(Secrecy::Secret, |text| Secret::new(text))
    }

    fn pairs<T>(mut self, secrecy: Secrecy, make: impl Fn(&str) -> T) -> Read<'s, Vec<(String, T)>> {
        self.expected = "a map of strings".to_owned();
        self.secrecy = secrecy;
        let mut pairs: Vec<(String, T)> = Vec::new();
        match self.node.map(Node::kind) {
            None | Some(Kind::Null) => return Read { field: self, state: State::Missing },
            Some(Kind::Map(map)) => {
                for entry in map {
                    let path = self.path.key(&entry.key);
                    let position = entry.value.position();
                    let mut field = Field::new(Some(&entry.value), path, Some(position), self.broken, self.diagnostics);
                    if secrecy == Secrecy::Secret {
                        field = field.kept_secret();
                    }
                    let value = field.written(&make);
                    let value = if entry.value.is_null() { Some(value.or_else(|| make(""))) } else { value.optional() };
                    pairs.extend(value.map(|value| (entry.key.to_string(), value)));
                }
            }
            Some(Kind::Seq(items)) => {
                for (i, item) in items.iter().enumerate() {
                    let section = Section::open(item, self.path.index(i), self.diagnostics);
                    let pair = section.read(|section| {
                        let name = section.get("name").string().required();
                        let mut value = section.get("value");
                        if secrecy == Secrecy::Secret {
                            value = value.kept_secret();
                        }
                        let value = value.written(&make).optional();
                        Some((name?, value.unwrap_or_else(|| make(""))))
                    });
                    if let Some((name, _)) =
                        pair.as_ref().filter(|(name, _)| pairs.iter().any(|(known, _)| known == name))
                    {
                        let message = format!("`{}` is given twice", printable(name, 80));
                        self.diagnostics.push(Diagnostic::error(self.path.index(i), message).at(item.position()));
                    }
                    pairs.extend(pair);
                }
            }
            Some(_) => return self.invalid(""),
        }
        Read { field: self, state: State::Present(pairs) }
    }

    /// Reads text as it was written. An expanded value that is empty is an empty text here, and missing elsewhere.
    fn written<T>(mut self, make: impl FnOnce(&str) -> T) -> Read<'s, T> {
        match self.node.filter(|node| node.is_null() && node.from_expansion()) {
            Some(node) => {
                "a string".clone_into(&mut self.expected);
                Read { field: self, state: State::Present(make(node.text().unwrap_or_default())) }
            }
            None => self.scalar("a string", |text| Ok::<_, String>(make(text))),
        }
    }

    /// Reads the text of a scalar.
    fn scalar<T, E: Display>(mut self, expected: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Read<'s, T> {
        if self.node.and_then(Node::text).is_some_and(may_hold_a_password) {
            self = self.kept_secret();
        }
        self.typed(expected, |node| match node.text() {
            Some(text) => parse(text).map_err(|error| error.to_string()),
            None => Err(String::new()),
        })
    }

    /// Reads a value of any kind.
    fn typed<T>(mut self, expected: &str, parse: impl FnOnce(&Node) -> Result<T, String>) -> Read<'s, T> {
        expected.clone_into(&mut self.expected);
        let Some(node) = self.node.filter(|node| !node.is_null()) else {
            return Read { field: self, state: State::Missing };
        };
        match parse(node) {
            Ok(value) => Read { field: self, state: State::Present(value) },
            Err(detail) => self.invalid(&detail),
        }
    }

    fn kept_secret(mut self) -> Field<'s> {
        self.secrecy = Secrecy::Secret;
        if let Some(node) = self.node {
            self.diagnostics.keep_secret(node.position());
        }
        self
    }

    fn is_hidden(&self) -> bool {
        self.secrecy == Secrecy::Secret || self.node.is_some_and(Node::from_expansion)
    }

    fn found(&self) -> String {
        match self.node {
            None => "nothing".to_owned(),
            // `Bearer abc${X}` is a secret as a whole; `${X}` alone says nothing.
            Some(node) if self.secrecy == Secrecy::Secret && !node.expansion().is_some_and(is_one_reference) => {
                node.shown_kind().to_owned()
            }
            Some(node) => node.shown(),
        }
    }

    fn invalid<T>(mut self, detail: &str) -> Read<'s, T> {
        let found = self.found();
        // What a parser says of a secret may quote it.
        let message = match detail.is_empty() || self.is_hidden() {
            true => format!("expected {}, found {found}", self.expected),
            false => format!("expected {}, found {found}: {}", self.expected, printable(detail, 300)),
        };
        self.report(message);
        Read { field: self, state: State::Invalid }
    }

    fn report(&mut self, message: String) {
        if self.broken {
            return;
        }
        let mut error = Diagnostic::error(self.path.clone(), message);
        error.position = self.node.map(Node::position).or(self.parent).cloned();
        error.secret = self.secrecy == Secrecy::Secret;
        self.diagnostics.push(error);
    }

    fn help_last(&mut self, help: String) {
        self.diagnostics.help_last_error(help);
    }
}

// === impl Read ===

impl<'s, T> Read<'s, T> {
    /// The value, or `default` when it is missing or wrong.
    pub fn or(self, default: T) -> T {
        self.optional().unwrap_or(default)
    }

    /// The value, or what `default` makes when it is missing or wrong.
    pub fn or_else(self, default: impl FnOnce() -> T) -> T {
        self.optional().unwrap_or_else(default)
    }

    /// The value, or the type's own default when it is missing or wrong.
    pub fn or_default(self) -> T
    where
        T: Default,
    {
        self.optional().unwrap_or_default()
    }

    /// The value; none when it is missing or wrong.
    pub fn optional(self) -> Option<T> {
        match self.state {
            State::Present(value) => Some(value),
            State::Missing | State::Invalid => None,
        }
    }

    /// The value. That it is missing is an error; none then, and when it is wrong.
    pub fn required(mut self) -> Option<T> {
        let blank = self.field.node.is_some_and(|node| node.is_null() && node.text().is_none_or(str::is_empty));
        if matches!(self.state, State::Missing) || blank {
            let message = match self.field.node {
                None => format!("is required: expected {}", self.field.expected),
                Some(node) => format!("expected {}, found {}", self.field.expected, node.shown()),
            };
            self.field.report(message);
            return None;
        }
        self.optional()
    }

    /// The value with its place; none when it is missing or wrong.
    pub fn spanned(self) -> Option<Spanned<T>> {
        let position = self.field.node.map(|node| node.position().clone());
        let value = self.optional()?;
        position.map(|position| Spanned { value, position })
    }

    /// As [`Read::required`], with its place.
    pub fn required_spanned(self) -> Option<Spanned<T>> {
        let position = self.field.node.map(|node| node.position().clone());
        let value = self.required()?;
        position.map(|position| Spanned { value, position })
    }

    /// Whether a sound value is there.
    pub fn is_present(&self) -> bool {
        matches!(self.state, State::Present(_))
    }

    /// Turns a value that is there into another.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Read<'s, U> {
        let state = match self.state {
            State::Present(value) => State::Present(turn(value)),
            State::Missing => State::Missing,
            State::Invalid => State::Invalid,
        };
        Read { field: self.field, state }
    }

    /// Refuses a value that is there and does not hold to `holds`; `expected` says what would.
    pub fn ensure(mut self, expected: &str, holds: impl FnOnce(&T) -> bool) -> Read<'s, T> {
        expected.clone_into(&mut self.field.expected);
        match &self.state {
            State::Present(value) if !holds(value) => self.field.invalid(""),
            _ => self,
        }
    }

    /// Refuses a value outside `range`.
    pub fn range<R: RangeBounds<T>>(self, range: R) -> Read<'s, T>
    where
        T: PartialOrd + Display,
    {
        let least = match range.start_bound() {
            Bound::Included(least) => Some(format!("{least}")),
            Bound::Excluded(least) => Some(format!("more than {least}")),
            Bound::Unbounded => None,
        };
        let (most, word) = match range.end_bound() {
            Bound::Included(most) => (Some(format!("{most}")), "to"),
            Bound::Excluded(most) => (Some(format!("{most}")), "to below"),
            Bound::Unbounded => (None, ""),
        };
        let expected = match (least, most) {
            (Some(least), Some(most)) => format!("a number from {least} {word} {most}"),
            (Some(least), None) if least.starts_with("more") => format!("a number of {least}"),
            (Some(least), None) => format!("a number of at least {least}"),
            (None, Some(most)) => format!("a number of at most {most}"),
            (None, None) => "a number".to_owned(),
        };
        self.ensure(&expected, |value| range.contains(value))
    }
}

impl<'s> Read<'s, Duration> {
    /// Refuses a duration of zero.
    pub fn above_zero(self) -> Read<'s, Duration> {
        self.ensure("a duration of more than `0s`", |duration| !duration.is_zero())
    }
}

impl<'s> Read<'s, String> {
    /// Takes an empty text for a missing one.
    pub fn non_empty(mut self) -> Read<'s, String> {
        if matches!(&self.state, State::Present(text) if text.is_empty()) {
            self.state = State::Missing;
        }
        self
    }
}

/// A URL with a user or a query: either may hold a secret, so it is not printed when it is wrong.
fn may_hold_a_password(text: &str) -> bool {
    text.contains('@') || (text.contains("://") && text.contains('?'))
}

/// Parts of a text at its commas, without the white space around them; an empty text has none.
fn split_at_commas(text: &str) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|part| part.trim().to_owned()).collect()
}

/// `` `a`, `b` and `c` ``.
pub(crate) fn list<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [word] => word.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
