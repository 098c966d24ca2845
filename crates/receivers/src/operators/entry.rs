//! A log record on its way through operators, and the fields that a configuration names.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;

use otlp::encode::ValueWriter;
use otlp::{SpanId, TraceId};

/// A value as operators see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Value {
    /// Nothing: `nil`.
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    Map(Values),
}

/// Values by key.
pub(crate) type Values = BTreeMap<String, Value>;

/// How deep values nest in a record that leaves; what is deeper leaves as text. OTLP readers allow some thirty.
const DEPTH_MAX: usize = 24;

impl Value {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Double(_) => "a number",
            Value::String(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Array(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The text, if it is text.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Appends it as an `AnyValue`.
    pub(crate) fn write(&self, to: ValueWriter<'_>) {
        self.write_at(to, 0);
    }

    fn write_at(&self, to: ValueWriter<'_>, depth: usize) {
        match self {
            Value::Null => to.empty(),
            Value::Bool(value) => to.bool(*value),
            Value::Int(value) => to.int(*value),
            Value::Double(value) => to.double(*value),
            Value::String(value) => to.string(value),
            Value::Bytes(value) => to.bytes(value),
            Value::Array(_) | Value::Map(_) if depth >= DEPTH_MAX => to.string(&self.to_json().to_string()),
            Value::Array(values) => to.array(|array| {
                for value in values {
                    value.write_at(array.value(), depth + 1);
                }
            }),
            Value::Map(values) => to.kvlist(|list| {
                for (key, value) in values {
                    value.write_at(list.value(key), depth + 1);
                }
            }),
        }
    }

    /// The value as JSON; bytes as the characters that they are or stand for.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Double(value) => (*value).into(),
            Value::String(value) => value.clone().into(),
            Value::Bytes(value) => String::from_utf8_lossy(value).into_owned().into(),
            Value::Array(values) => values.iter().map(Value::to_json).collect(),
            Value::Map(values) => values.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

/// A log record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    /// When it happened; 0 when unknown.
    pub(crate) time_unix_ns: u64,
    /// When it was read.
    pub(crate) observed_unix_ns: u64,
    /// 1 to 24; 0 when unknown.
    pub(crate) severity_number: i32,
    pub(crate) severity_text: String,
    pub(crate) body: Value,
    /// Always a map.
    pub(crate) attributes: Value,
    /// Always a map.
    pub(crate) resource: Value,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) flags: u32,
    pub(crate) scope_name: String,
    /// Where its source has it. Nothing of it leaves; see [`super::Operators::oldest_held`].
    pub(crate) mark: u64,
}

impl Entry {
    /// A record that says this and nothing else.
    pub(crate) fn new(body: Value, observed_unix_ns: u64) -> Entry {
        let (attributes, resource) = (Value::Map(Values::new()), Value::Map(Values::new()));
        Entry { observed_unix_ns, body, attributes, resource, ..Entry::default() }
    }

    /// Sets an attribute.
    pub(crate) fn set_attribute(&mut self, key: &str, value: Value) {
        if let Value::Map(attributes) = &mut self.attributes {
            attributes.insert(key.to_owned(), value);
        }
    }
}

/// Where a field begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    Body,
    Attributes,
    Resource,
}

impl Root {
    /// The root of this name.
    pub(crate) fn named(name: &str) -> Option<Root> {
        match name {
            "body" => Some(Root::Body),
            "attributes" => Some(Root::Attributes),
            "resource" => Some(Root::Resource),
            _ => None,
        }
    }

    /// What it holds.
    pub(crate) fn of(self, entry: &Entry) -> &Value {
        match self {
            Root::Body => &entry.body,
            Root::Attributes => &entry.attributes,
            Root::Resource => &entry.resource,
        }
    }

    fn of_mut(self, entry: &mut Entry) -> &mut Value {
        match self {
            Root::Body => &mut entry.body,
            Root::Attributes => &mut entry.attributes,
            Root::Resource => &mut entry.resource,
        }
    }
}

/// A place in a record: `body`, `body.user.id`, `attributes["http.method"]`, `resource["host.name"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) root: Root,
    pub(crate) keys: Vec<String>,
}

/// Why a text names no field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadField {
    #[error("a field begins with `body`, `attributes` or `resource`, not with `{0}`")]
    Root(String),
    #[error("what stands at character {0} belongs to no field: expected `.key` or `[\"key\"]`")]
    Syntax(usize),
    #[error("a field has at most {KEYS_MAX} keys")]
    TooDeep,
}

const KEYS_MAX: usize = 16;

/// Why a value cannot be put into a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} takes a map, not {found}")]
pub(crate) struct NotAMap {
    field: String,
    found: &'static str,
}

impl Field {
    /// The body as a whole.
    pub(crate) const BODY: Field = Field { root: Root::Body, keys: Vec::new() };
    /// The attributes as a whole.
    pub(crate) const ATTRIBUTES: Field = Field { root: Root::Attributes, keys: Vec::new() };
    /// The resource as a whole.
    pub(crate) const RESOURCE: Field = Field { root: Root::Resource, keys: Vec::new() };

    /// An attribute.
    pub(crate) fn attribute(key: &str) -> Field {
        Field { root: Root::Attributes, keys: vec![key.to_owned()] }
    }

    /// The field that a text names.
    pub(crate) fn parse(text: &str) -> Result<Field, BadField> {
        let end = text.find(['.', '[']).unwrap_or(text.len());
        let root = Root::named(&text[..end]).ok_or_else(|| BadField::Root(text[..end].to_owned()))?;
        let mut keys = Vec::new();
        let mut rest = &text[end..];
        let wrong = |rest: &str| BadField::Syntax(text.len() - rest.len());
        while !rest.is_empty() {
            let (key, after) = next_key(rest).ok_or_else(|| wrong(rest))?;
            if keys.len() == KEYS_MAX {
                return Err(BadField::TooDeep);
            }
            keys.push(key.to_owned());
            rest = after;
        }
        Ok(Field { root, keys })
    }

    /// What stands there.
    pub(crate) fn get<'a>(&self, entry: &'a Entry) -> Option<&'a Value> {
        let mut value = self.root.of(entry);
        for key in &self.keys {
            let Value::Map(values) = value else { return None };
            value = values.get(key)?;
        }
        (self.root != Root::Body || !self.keys.is_empty() || *value != Value::Null).then_some(value)
    }

    /// Puts a value there, and makes maps on the way. A map is merged into one that is there, as in the Collector.
    pub(crate) fn set(&self, entry: &mut Entry, value: Value) -> Result<(), NotAMap> {
        if self.keys.is_empty() && self.root != Root::Body && !matches!(value, Value::Map(_)) {
            return Err(NotAMap { field: self.to_string(), found: value.kind() });
        }
        let mut place = self.root.of_mut(entry);
        for key in &self.keys {
            place = map_in(place).entry(key.clone()).or_default();
        }
        match (place, value) {
            (Value::Map(there), Value::Map(new)) => there.extend(new),
            (place, value) => *place = value,
        }
        Ok(())
    }

    /// Takes out what stands there.
    pub(crate) fn remove(&self, entry: &mut Entry) -> Option<Value> {
        let Some((last, way)) = self.keys.split_last() else {
            let empty = if self.root == Root::Body { Value::Null } else { Value::Map(Values::new()) };
            let taken = mem::replace(self.root.of_mut(entry), empty);
            return (taken != Value::Null).then_some(taken);
        };
        let mut place = self.root.of_mut(entry);
        for key in way {
            let Value::Map(values) = place else { return None };
            place = values.get_mut(key)?;
        }
        let Value::Map(values) = place else { return None };
        values.remove(last)
    }
}

/// The map in a place; what else was there gives way to it.
fn map_in(place: &mut Value) -> &mut Values {
    if !matches!(place, Value::Map(_)) {
        *place = Value::Map(Values::new());
    }
    match place {
        Value::Map(values) => values,
        _ => unreachable!("it was made a map"),
    }
}

/// The first key of `.key…` or `["key"]…`, and what follows.
fn next_key(rest: &str) -> Option<(&str, &str)> {
    if let Some(rest) = rest.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let is_plain = |key: &str| !key.is_empty() && !key.contains(['"', '\'', ']', ' ']);
        return is_plain(key).then_some((key, after));
    }
    let quoted = rest.strip_prefix('[')?;
    let quote = quoted.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (key, after) = quoted[1..].split_once(quote)?;
    Some((key, after.strip_prefix(']')?)).filter(|(key, _)| !key.is_empty())
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.root {
            Root::Body => "body",
            Root::Attributes => "attributes",
            Root::Resource => "resource",
        })?;
        self.keys.iter().try_for_each(|key| write!(f, "[\"{key}\"]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = Field::parse(text).map_or_else(|error| error.to_string(), |field| field.to_string());
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn a_field_is_a_root_and_keys_in_either_form() {
        check("body", "body");
        check("body.user.id", r#"body["user"]["id"]"#);
        check(r#"attributes["http.method"]"#, r#"attributes["http.method"]"#);
        check("attributes['a.b'].c", r#"attributes["a.b"]["c"]"#);
        check("resource.host", r#"resource["host"]"#);
    }

    #[test]
    fn what_is_no_field_is_told_with_its_place() {
        check("message", "a field begins with `body`, `attributes` or `resource`, not with `message`");
        check("$body", "a field begins with `body`, `attributes` or `resource`, not with `$body`");
        let place =
            |at: usize| format!("what stands at character {at} belongs to no field: expected `.key` or `[\"key\"]`");
        check("body.", &place(4));
        check("body[x]", &place(4));
        check("body.a[\"b\"", &place(6));
        check("body[\"\"]", &place(4));
        assert_eq!(Field::parse(&format!("body{}", ".a".repeat(17))), Err(BadField::TooDeep));
    }

    #[test]
    fn a_map_is_merged_and_anything_else_replaces() {
        let mut entry = Entry::new("text".into(), 1);
        let field = |text: &str| Field::parse(text).unwrap();
        field("body.a.b").set(&mut entry, Value::Int(1)).unwrap();
        field("body.a").set(&mut entry, Value::Map([("c".to_owned(), Value::Int(2))].into())).unwrap();
        assert_eq!(entry.body.to_json().to_string(), r#"{"a":{"b":1,"c":2}}"#);
        assert_eq!(field("body.a.b").remove(&mut entry), Some(Value::Int(1)));
        assert_eq!(field("body.a.x").remove(&mut entry), None);
        field("body").set(&mut entry, "again".into()).unwrap();
        assert_eq!(entry.body, "again".into());
        assert!(field("attributes").set(&mut entry, "text".into()).is_err());
    }

    #[test]
    fn values_that_nest_too_deeply_leave_as_text() {
        let mut value = Value::Int(1);
        for _ in 0..100 {
            value = Value::Array(vec![value]);
        }
        let mut encoder = otlp::encode::LogsEncoder::new();
        encoder.resource_logs(|resource| {
            resource.scope_logs(|scope| scope.log_record(|record| value.write(record.body())));
        });
        let bytes = encoder.finish().bytes().clone();
        otlp::Batch::parse(otlp::Signal::Logs, bytes, &otlp::Limits::default()).unwrap();
    }
}
