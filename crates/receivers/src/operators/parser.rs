//! Operators that turn a text into fields: regular expressions, JSON, key-value pairs, CSV.

use config::Section;
use regex::Regex;

use super::OperatorError;
use super::entry::{Entry, Field, Value, Values};
use super::settings::field;
use super::severity::{SeverityParser, TraceParser};
use super::time::TimeParser;

/// A parser: where from, where to, and what of the result is the record's own.
#[derive(Clone, Debug)]
pub(crate) struct Parser {
    parse_from: Field,
    parse_to: Field,
    syntax: Syntax,
    after: After,
}

/// What a parser does with what it found.
#[derive(Clone, Debug)]
struct After {
    timestamp: Option<TimeParser>,
    severity: Option<SeverityParser>,
    trace: Option<TraceParser>,
    scope_name: Option<Field>,
}

#[derive(Clone, Debug)]
enum Syntax {
    Regex(Regex),
    Json(Numbers),
    KeyValue { delimiter: String, pair_delimiter: Option<String> },
    Csv(Csv),
}

/// What numbers of JSON become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Doubles, all of them, as in the Collector.
    Doubles,
    /// Integers where they are some.
    Ints,
}

#[derive(Clone, Debug)]
struct Csv {
    header: Header,
    delimiter: char,
    header_delimiter: char,
    quotes: Quotes,
}

#[derive(Clone, Debug)]
enum Header {
    Names(Vec<String>),
    Attribute(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    Heeded,
    Ignored,
}

/// How deep JSON may nest; each level of it is one of a record.
const JSON_DEPTH_MAX: usize = 20;
/// How many fields one text may give.
const FIELDS_MAX: usize = 10_000;

// === reading ===

/// `regex_parser`.
pub(super) fn regex_parser(section: &mut Section<'_>) -> Option<Parser> {
    let compile = |text: &str| {
        let regex = Regex::new(text).map_err(|error| error.to_string())?;
        match regex.capture_names().flatten().next() {
            Some(_) => Ok(regex),
            None => Err("no group has a name, as in `(?P<name>…)`".to_owned()),
        }
    };
    let regex = section.get("regex").parse_with("a regular expression with named groups", compile).required();
    section.without_effect("cache", "nothing is parsed twice here");
    let rest = common(section);
    let (parse_from, parse_to, after) = rest;
    Some(Parser { parse_from, parse_to, syntax: Syntax::Regex(regex?), after })
}

/// `json_parser`.
pub(super) fn json_parser(section: &mut Section<'_>) -> Parser {
    let numbers = match section.get("parse_ints").bool().or(false) {
        true => Numbers::Ints,
        false => Numbers::Doubles,
    };
    section.unsupported("max_depth", "a bound of one's own; JSON nests up to 20 levels");
    let (parse_from, parse_to, after) = common(section);
    Parser { parse_from, parse_to, syntax: Syntax::Json(numbers), after }
}

/// `key_value_parser`.
pub(super) fn key_value_parser(section: &mut Section<'_>) -> Parser {
    let delimiter = section.get("delimiter").string().non_empty().or("=".to_owned());
    let pair_delimiter = section.get("pair_delimiter").string().non_empty().optional().filter(|pair| pair != " ");
    if pair_delimiter.as_ref() == Some(&delimiter) {
        section.error("pair_delimiter", "expected another text than `delimiter`");
    }
    let (parse_from, parse_to, after) = common(section);
    Parser { parse_from, parse_to, syntax: Syntax::KeyValue { delimiter, pair_delimiter }, after }
}

/// `csv_parser`.
pub(super) fn csv_parser(section: &mut Section<'_>) -> Option<Parser> {
    let one = |text: &str| {
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(one), None) => Ok(one),
            _ => Err(""),
        }
    };
    let delimiter = section.get("delimiter").parse_with("one character", one).or(',');
    let header_delimiter = section.get("header_delimiter").parse_with("one character", one).or(delimiter);
    let names = section.get("header").string().non_empty().optional();
    let attribute = section.get("header_attribute").string().non_empty().optional();
    let quotes = match section.get("ignore_quotes").bool().or(false) {
        true => Quotes::Ignored,
        false => Quotes::Heeded,
    };
    section.unsupported("lazy_quotes", "quotes that are not closed");
    let header = match (names, attribute) {
        (Some(names), None) => {
            Some(Header::Names(names.split(header_delimiter).map(|name| name.trim().to_owned()).collect()))
        }
        (None, Some(attribute)) => Some(Header::Attribute(attribute)),
        _ => {
            section.error("header", "expected either `header` or `header_attribute`");
            None
        }
    };
    let (parse_from, parse_to, after) = common(section);
    let syntax = Syntax::Csv(Csv { header: header?, delimiter, header_delimiter, quotes });
    Some(Parser { parse_from, parse_to, syntax, after })
}

/// What every parser has.
fn common(section: &mut Section<'_>) -> (Field, Field, After) {
    let parse_from = field(section, "parse_from").unwrap_or(Field::BODY);
    let parse_to = field(section, "parse_to").unwrap_or(Field::ATTRIBUTES);
    let after = After {
        timestamp: section.child_if_present("timestamp", TimeParser::read).flatten(),
        severity: section.child_if_present("severity", SeverityParser::read).flatten(),
        trace: section.child_if_present("trace", TraceParser::read),
        scope_name: section.child_if_present("scope_name", |scope| field(scope, "parse_from")).flatten(),
    };
    (parse_from, parse_to, after)
}

// === parsing ===

impl Parser {
    /// Parses a record. What was found stays where what follows fails.
    pub(crate) fn apply(&self, entry: &mut Entry, now_unix_ns: u64) -> Result<(), OperatorError> {
        let value = self.parse_from.get(entry).ok_or_else(|| OperatorError::no_field(&self.parse_from))?;
        let parsed = match value {
            Value::String(text) => self.syntax.parse(text, entry)?,
            // JSON that an operator before has parsed already.
            other => {
                let field = self.parse_from.to_string();
                return Err(OperatorError::Kind { field, expected: "text", found: other.kind() });
            }
        };
        self.parse_to.set(entry, Value::Map(parsed))?;
        self.after.apply(entry, now_unix_ns)
    }
}

impl After {
    /// Each of them has its turn; the first error is told.
    fn apply(&self, entry: &mut Entry, now_unix_ns: u64) -> Result<(), OperatorError> {
        let time = self.timestamp.as_ref().map_or(Ok(()), |parser| parser.apply(entry, now_unix_ns));
        let severity = self.severity.as_ref().map_or(Ok(()), |parser| parser.apply(entry));
        let trace = self.trace.as_ref().map_or(Ok(()), |parser| parser.apply(entry));
        let scope = self.scope_name.as_ref().map_or(Ok(()), |field| scope_name(entry, field));
        time.and(severity).and(trace).and(scope)
    }
}

/// Sets the name of the scope from a field.
pub(super) fn scope_name(entry: &mut Entry, field: &Field) -> Result<(), OperatorError> {
    match field.get(entry) {
        Some(Value::String(name)) => {
            entry.scope_name = name.clone();
            Ok(())
        }
        Some(other) => Err(OperatorError::Kind { field: field.to_string(), expected: "text", found: other.kind() }),
        None => Err(OperatorError::no_field(field)),
    }
}

impl Syntax {
    fn parse(&self, text: &str, entry: &Entry) -> Result<Values, OperatorError> {
        match self {
            Syntax::Regex(regex) => groups(regex, text).ok_or(OperatorError::NoMatch),
            Syntax::Json(numbers) => json(text, *numbers),
            Syntax::KeyValue { delimiter, pair_delimiter } => pairs(text, delimiter, pair_delimiter.as_deref()),
            Syntax::Csv(csv) => csv.parse(text, entry),
        }
    }
}

/// The named groups of a match. A group that took no part is empty, as in Go.
fn groups(regex: &Regex, text: &str) -> Option<Values> {
    let captures = regex.captures(text)?;
    let named = regex.capture_names().enumerate().filter_map(|(at, name)| Some((at, name?)));
    let value = |at| Value::from(captures.get(at).map_or("", |found| found.as_str()));
    Some(named.map(|(at, name)| (name.to_owned(), value(at))).collect())
}

/// An object of JSON.
pub(super) fn json(text: &str, numbers: Numbers) -> Result<Values, OperatorError> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| OperatorError::Json { error: error.to_string() })?;
    match from_json(value, numbers, 0)? {
        Value::Map(values) => Ok(values),
        other => Err(OperatorError::Json { error: format!("expected an object, found {}", other.kind()) }),
    }
}

fn from_json(value: serde_json::Value, numbers: Numbers, depth: usize) -> Result<Value, OperatorError> {
    if depth > JSON_DEPTH_MAX {
        return Err(OperatorError::Json { error: format!("it nests deeper than {JSON_DEPTH_MAX} levels") });
    }
    Ok(match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::String(text) => Value::String(text),
        serde_json::Value::Number(number) => match (numbers, number.as_i64()) {
            (Numbers::Ints, Some(value)) => Value::Int(value),
            _ => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::Array(values) => {
            let values: Result<Vec<_>, _> =
                values.into_iter().map(|value| from_json(value, numbers, depth + 1)).collect();
            Value::Array(values?)
        }
        serde_json::Value::Object(values) => {
            let pair = |(key, value)| Ok((key, from_json(value, numbers, depth + 1)?));
            Value::Map(values.into_iter().map(pair).collect::<Result<_, OperatorError>>()?)
        }
    })
}

/// `a=1 b="two words"`: pairs between white space or another text, values and keys in quotes or not.
fn pairs(text: &str, delimiter: &str, pair_delimiter: Option<&str>) -> Result<Values, OperatorError> {
    let mut values = Values::new();
    for pair in split_unquoted(text, pair_delimiter) {
        let (key, value) = pair.split_once(delimiter).ok_or_else(|| OperatorError::Pair { pair: shortened(pair) })?;
        let (key, value) = (unquoted(key.trim()), unquoted(value.trim()));
        if key.is_empty() {
            return Err(OperatorError::Pair { pair: shortened(pair) });
        }
        if values.len() == FIELDS_MAX {
            return Err(OperatorError::TooManyFields);
        }
        values.insert(key.to_owned(), value.into());
    }
    match values.is_empty() {
        true => Err(OperatorError::Pair { pair: shortened(text) }),
        false => Ok(values),
    }
}

/// The parts between delimiters that stand outside quotes; empty ones are left out. Without a delimiter any white space
/// is one.
fn split_unquoted<'t>(text: &'t str, delimiter: Option<&str>) -> Vec<&'t str> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut quote: Option<char> = None;
    while let Some(character) = text[at..].chars().next() {
        let found = match (quote, delimiter) {
            (Some(_), _) => None,
            (None, Some(delimiter)) => text[at..].starts_with(delimiter).then_some(delimiter.len()),
            (None, None) => character.is_whitespace().then_some(character.len_utf8()),
        };
        if let Some(length) = found {
            parts.push(&text[start..at]);
            at += length;
            start = at;
            continue;
        }
        match quote {
            Some(open) if open == character => quote = None,
            // An apostrophe within a word opens nothing.
            None if matches!(character, '"' | '\'') && text[..at].ends_with(|c: char| !c.is_alphanumeric()) => {
                quote = Some(character);
            }
            None if matches!(character, '"' | '\'') && at == 0 => quote = Some(character),
            _ => {}
        }
        at += character.len_utf8();
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn unquoted(text: &str) -> &str {
    let inside = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Csv {
    fn parse(&self, text: &str, entry: &Entry) -> Result<Values, OperatorError> {
        let from_attribute: Vec<String>;
        let names = match &self.header {
            Header::Names(names) => names,
            Header::Attribute(name) => {
                let field = Field::attribute(name);
                let header = field.get(entry).and_then(Value::as_str);
                let header = header.ok_or_else(|| OperatorError::no_field(&field))?;
                from_attribute = header.split(self.header_delimiter).map(|name| name.trim().to_owned()).collect();
                &from_attribute
            }
        };
        let fields = match self.quotes {
            Quotes::Ignored => text.split(self.delimiter).map(str::to_owned).collect(),
            Quotes::Heeded => fields(text, self.delimiter).ok_or(OperatorError::Quote)?,
        };
        if fields.len() != names.len() {
            return Err(OperatorError::Columns { expected: names.len(), found: fields.len() });
        }
        Ok(names.iter().cloned().zip(fields.into_iter().map(Value::String)).collect())
    }
}

/// The fields of a line, as RFC 4180 quotes them.
fn fields(line: &str, delimiter: char) -> Option<Vec<String>> {
    let mut fields = vec![];
    let mut rest = line;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find(delimiter).unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return None;
            }
            fields.push(rest[..end].to_owned());
            match rest[end..].strip_prefix(delimiter) {
                Some(after) => rest = after,
                None => return Some(fields),
            }
            continue;
        };
        let mut field = String::new();
        rest = quoted;
        loop {
            let end = rest.find('"')?;
            field.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('"') {
                Some(after) => {
                    field.push('"');
                    rest = after;
                }
                None => break,
            }
        }
        fields.push(field);
        match rest.strip_prefix(delimiter) {
            Some(after) => rest = after,
            None => return rest.is_empty().then_some(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(result: Result<Values, OperatorError>) -> String {
        result.map_or_else(|error| error.to_string(), |values| Value::Map(values).to_json().to_string())
    }

    #[test]
    fn pairs_are_split_outside_quotes() {
        for (text, expected) in [
            ("a=1 b=two", r#"{"a":"1","b":"two"}"#),
            (r#"msg="hello there" level='info' x="#, r#"{"level":"info","msg":"hello there","x":""}"#),
            ("  a=1\t\tb==2 ", r#"{"a":"1","b":"=2"}"#),
            ("user=o'neill b=1", r#"{"b":"1","user":"o'neill"}"#),
            ("no pairs", "`no` is no pair of a key and a value"),
            ("=1", "`=1` is no pair of a key and a value"),
            ("", "`` is no pair of a key and a value"),
        ] {
            assert_eq!(shown(pairs(text, "=", None)), expected, "{text}");
        }
        assert_eq!(shown(pairs("a:1|b:'2|3'", ":", Some("|"))), r#"{"a":"1","b":"2|3"}"#);
    }

    #[test]
    fn csv_is_quoted_as_rfc_4180_says() {
        for (line, expected) in [
            ("a,b,c", Some(vec!["a", "b", "c"])),
            (r#""a,b","c ""d""",e"#, Some(vec!["a,b", r#"c "d""#, "e"])),
            (",,", Some(vec!["", "", ""])),
            (r#""open"#, None),
            (r#""a"b,c"#, None),
            (r#"a"b"#, None),
        ] {
            assert_eq!(fields(line, ',').map(|all| all.join(";")), expected.map(|all| all.join(";")), "{line}");
        }
    }

    #[test]
    fn json_is_an_object_that_does_not_nest_too_deeply() {
        assert_eq!(shown(json(r#"{"a":1,"b":[true,null]}"#, Numbers::Ints)), r#"{"a":1,"b":[true,null]}"#);
        assert_eq!(shown(json(r#"{"a":1}"#, Numbers::Doubles)), r#"{"a":1.0}"#);
        assert_eq!(shown(json("[1]", Numbers::Ints)), "no JSON object: expected an object, found a list");
        let deep = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
        assert!(shown(json(&deep, Numbers::Ints)).contains("nests deeper"));
    }

    #[test]
    fn no_text_makes_a_parser_panic() {
        let pieces = ["a", "=", "\"", "'", " ", ",", "é", "{", "}", ":", "1", "\\", "\n", "|"];
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let text: String = (0..random.usize(0..20)).map(|_| pieces[random.usize(0..pieces.len())]).collect();
            let _ = pairs(&text, "=", None);
            let _ = pairs(&text, ":", Some("|"));
            let _ = fields(&text, ',');
            let _ = json(&text, Numbers::Ints);
            let _ = Field::parse(&text);
        }
    }
}
