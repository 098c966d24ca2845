//! Lines: names and tags in the server's dialect, and values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a server understands (`dialect`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Etsy's: no tags.
    Etsy,
    /// `name:1|c|#key:value`.
    Dogstatsd,
    /// Etsy's with `name;key=value:1|c`.
    Graphite,
    /// Etsy's with `name,key=value:1|c`.
    Influx,
}

impl Dialect {
    /// Whether a signed gauge adds to the value instead of setting it.
    pub(super) fn has_relative_gauges(self) -> bool {
        self != Dialect::Dogstatsd
    }
}

/// What becomes of attributes where there are no tags (`plain_attributes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlainAttributes {
    /// They are parts of the name.
    Append,
    /// They are left out.
    Drop,
}

/// The name and tags of a series; lines differ in a suffix of the name, and perhaps one more tag.
#[derive(Clone, Debug, Default)]
pub(super) struct Series<'a> {
    pub(super) name: String,
    pub(super) tags: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// What stands between name and value, and after the type.
struct Around {
    head: String,
    tail: String,
}

impl Series<'_> {
    fn around(&self, dialect: Dialect, plain: PlainAttributes, suffix: &str, tag: Option<(&str, &str)>) -> Around {
        let mut head = format!("{}{suffix}", self.name);
        let mut tail = String::new();
        let own = self.tags.iter().map(|(key, value)| (key.as_ref(), value.as_ref()));
        for (key, value) in own.chain(tag).filter(|(key, value)| !key.is_empty() && !value.is_empty()) {
            match dialect {
                Dialect::Etsy if plain == PlainAttributes::Append => {
                    let _ = write!(head, ".{}.{}", clean(key, IN_PART), clean(value, IN_PART));
                }
                Dialect::Etsy => {}
                Dialect::Dogstatsd => {
                    let start = if tail.is_empty() { "|#" } else { "," };
                    let _ = write!(tail, "{start}{}:{}", clean(key, IN_KEY), clean(value, IN_VALUE));
                }
                Dialect::Graphite => {
                    let _ = write!(head, ";{}={}", clean(key, IN_NAME), clean(value, IN_NAME));
                }
                Dialect::Influx => {
                    let _ = write!(head, ",{}={}", clean(key, IN_NAME), clean(value, IN_NAME));
                }
            }
        }
        Around { head, tail }
    }
}

/// Writes the lines of one data point, in groups that stay together.
#[derive(Debug)]
pub(super) struct Lines {
    dialect: Dialect,
    plain: PlainAttributes,
    pub(super) groups: Vec<String>,
}

impl Lines {
    pub(super) fn new(dialect: Dialect, plain: PlainAttributes) -> Self {
        Lines { dialect, plain, groups: Vec::new() }
    }

    /// An increment, which is above zero.
    pub(super) fn counter(
        &mut self,
        series: &Series<'_>,
        suffix: &str,
        tag: Option<(&str, &str)>,
        by: impl std::fmt::Display,
    ) {
        let Around { head, tail } = series.around(self.dialect, self.plain, suffix, tag);
        self.groups.push(format!("{head}:{by}|c{tail}"));
    }

    /// A value as it is. One below zero has a sign, which would be taken from the value before: so it is set to zero
    /// first.
    pub(super) fn gauge(&mut self, series: &Series<'_>, suffix: &str, tag: Option<(&str, &str)>, value: f64) {
        let Around { head, tail } = series.around(self.dialect, self.plain, suffix, tag);
        let mut group = String::new();
        if value < 0.0 && self.dialect.has_relative_gauges() {
            let _ = writeln!(group, "{head}:0|g{tail}");
        }
        // Without a sign of its own, zero is zero.
        let value = if value == 0.0 { 0.0 } else { value };
        let _ = write!(group, "{head}:{value}|g{tail}");
        self.groups.push(group);
    }

    /// A whole number as it is, in all its digits.
    pub(super) fn gauge_int(&mut self, series: &Series<'_>, value: i64) {
        let Around { head, tail } = series.around(self.dialect, self.plain, "", None);
        let reset =
            if value < 0 && self.dialect.has_relative_gauges() { format!("{head}:0|g{tail}\n") } else { String::new() };
        self.groups.push(format!("{reset}{head}:{value}|g{tail}"));
    }

    /// What a gauge changes by, in dialects that have that.
    pub(super) fn gauge_change(&mut self, series: &Series<'_>, by: &str) {
        let Around { head, tail } = series.around(self.dialect, self.plain, "", None);
        let sign = if by.starts_with('-') { "" } else { "+" };
        self.groups.push(format!("{head}:{sign}{by}|g{tail}"));
    }

    /// A measurement that stands for more of them where the rate is below one.
    pub(super) fn measurement(&mut self, series: &Series<'_>, kind: &str, value: f64, rate: f64) {
        let Around { head, tail } = series.around(self.dialect, self.plain, "", None);
        let rate = if rate < 1.0 { format!("|@{rate}") } else { String::new() };
        self.groups.push(format!("{head}:{value}|{kind}{rate}{tail}"));
    }
}

/// Characters that would end a name or what stands in it, in any dialect; SignalFx has its tags in brackets.
pub(super) const IN_NAME: &str = ":|@#,;=[]";
const IN_KEY: &str = ":|@#,";
/// A value may have colons: servers split at the first one.
const IN_VALUE: &str = "|@#,";
const IN_PART: &str = ".:|@#,;=[]/";

/// The text with `_` for characters that would end it, and for every control character: a line stays a line. Blanks do
/// no harm to DogStatsD's values only.
pub(super) fn clean<'a>(text: &'a str, wrong: &str) -> Cow<'a, str> {
    let is_wrong = |character: char| {
        let is_blank = character.is_whitespace() && (character != ' ' || wrong != IN_VALUE);
        character.is_control() || is_blank || wrong.contains(character)
    };
    if !text.contains(is_wrong) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|character| if is_wrong(character) { '_' } else { character }).collect())
}
