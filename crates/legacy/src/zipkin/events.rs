//! Events and links as text: annotations and tags have nothing else.

use otlp::encode::{AttributesWriter, ValueWriter};
use otlp::view::{AnyValueView, KeyValues};
use otlp::{Limits, SpanId, TraceId};
use serde_json::{Map, Number, Value};

use super::keys::DROPPED_ATTRIBUTES;

/// Attributes by key.
pub(super) type Object = Map<String, Value>;

/// An event of an annotation.
#[derive(Debug, PartialEq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) attributes: Object,
    pub(super) dropped: u32,
}

/// A link of a tag.
#[derive(Debug, PartialEq)]
pub(super) struct Link {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) trace_state: String,
    pub(super) attributes: Object,
    pub(super) dropped: u32,
}

// === reading ===

impl Event {
    /// The event that the text of an annotation is. What has no known form is the name of one without attributes.
    pub(super) fn read(text: &str) -> Event {
        let known = specified(text).or_else(|| wrapped(text)).or_else(|| of_collector(text));
        known.unwrap_or_else(|| Event { name: text.to_owned(), attributes: Object::new(), dropped: 0 })
    }

    fn new(name: String, mut attributes: Object) -> Option<Event> {
        let dropped =
            attributes.get(DROPPED_ATTRIBUTES).and_then(Value::as_u64).and_then(|count| count.try_into().ok());
        if dropped.is_some() {
            attributes.remove(DROPPED_ATTRIBUTES);
        }
        attributes.values().all(is_shallow).then_some(Event { name, attributes, dropped: dropped.unwrap_or(0) })
    }
}

/// `"name": {…}`: OpenTelemetry, "Events".
fn specified(text: &str) -> Option<Event> {
    if !text.starts_with('"') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let name = values.next()?.ok()?;
    let rest = text.get(values.byte_offset()..)?.trim_start().strip_prefix(':')?;
    Event::new(name, object(rest)?)
}

/// `{"name": {…}}`: OpenTelemetry's library for Python.
fn wrapped(text: &str) -> Option<Event> {
    if !text.starts_with('{') {
        return None;
    }
    let whole = object(text)?;
    let mut pairs = whole.into_iter();
    match (pairs.next()?, pairs.next()) {
        ((name, Value::Object(attributes)), None) => Event::new(name, attributes),
        _ => None,
    }
}

/// `name|{…}|dropped`: the Collector.
fn of_collector(text: &str) -> Option<Event> {
    let (name, rest) = text.split_once('|')?;
    let (attributes, dropped) = rest.rsplit_once('|')?;
    let dropped = dropped.parse().ok()?;
    let event = Event::new(name.to_owned(), object(attributes)?)?;
    Some(Event { dropped, ..event })
}

impl Link {
    /// `trace|span|trace state|{…}|dropped`: the Collector.
    pub(super) fn read(text: &str) -> Option<Link> {
        let (trace_id, rest) = text.split_once('|')?;
        let (span_id, rest) = rest.split_once('|')?;
        let (rest, dropped) = rest.rsplit_once('|')?;
        let (trace_id, span_id) = (TraceId::from_hex(trace_id.as_bytes())?, SpanId::from_hex(span_id.as_bytes())?);
        // A trace state may have the mark itself, so the attributes begin where they can be read. It has at most 32
        // members, and one of them is unlikely to look like JSON.
        const TRIED_MAX: usize = 32;
        let found = rest.match_indices("|{").take(TRIED_MAX).find_map(|(at, _)| {
            let attributes = object(&rest[at + 1..]).filter(|attributes| attributes.values().all(is_shallow))?;
            Some((&rest[..at], attributes))
        });
        let (trace_state, attributes) = found?;
        Some(Link {
            trace_id,
            span_id,
            trace_state: trace_state.to_owned(),
            attributes,
            dropped: dropped.parse().ok()?,
        })
    }
}

fn object(text: &str) -> Option<Object> {
    serde_json::from_str(text).ok()
}

/// Whether a value nests no deeper than every reader of OTLP takes.
fn is_shallow(value: &Value) -> bool {
    fn within(value: &Value, depth: u16) -> bool {
        match value {
            Value::Array(values) => depth > 0 && values.iter().all(|value| within(value, depth - 1)),
            Value::Object(values) => depth > 0 && values.values().all(|value| within(value, depth - 1)),
            _ => true,
        }
    }
    within(value, Limits::default().depth_max)
}

/// Writes attributes that were read from JSON.
pub(super) fn write_attributes(attributes: &Object, out: &mut AttributesWriter<'_>) {
    for (key, value) in attributes {
        write_value(value, out.value(key));
    }
}

fn write_value(value: &Value, out: ValueWriter<'_>) {
    match value {
        Value::Null => out.empty(),
        Value::Bool(value) => out.bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => out.int(value),
            (None, Some(value)) => out.double(value),
            (None, None) => out.empty(),
        },
        Value::String(text) => out.string(text),
        Value::Array(values) => out.array(|out| values.iter().for_each(|value| write_value(value, out.value()))),
        Value::Object(pairs) => out.kvlist(|out| write_attributes(pairs, out)),
    }
}

// === writing ===

/// The text of an annotation.
pub(super) fn write_event(name: &str, attributes: KeyValues<'_>, dropped: u32) -> String {
    let mut object = to_object(attributes);
    if dropped > 0 {
        object.insert(DROPPED_ATTRIBUTES.to_owned(), dropped.into());
    }
    // A name that looks like an event of another form would be read as one.
    if object.is_empty() && Event::read(name).name == name {
        return name.to_owned();
    }
    format!("{}: {}", Value::from(name), Value::Object(object))
}

/// The text of a link's tag.
pub(super) fn write_link(link: otlp::view::LinkView<'_>) -> String {
    let trace_id = link.trace_id().unwrap_or(TraceId::new([0; 16]));
    let span_id = link.span_id().unwrap_or(SpanId::new([0; 8]));
    let attributes = Value::Object(to_object(link.attributes()));
    format!("{trace_id}|{span_id}|{}|{attributes}|{}", link.trace_state(), link.dropped_attributes_count())
}

fn to_object(attributes: KeyValues<'_>) -> Object {
    attributes.map(|attribute| (attribute.key().to_owned(), to_json(attribute.value()))).collect()
}

/// Recurses as deep as the value, which the check at the door bounds.
fn to_json(value: AnyValueView<'_>) -> Value {
    match value {
        AnyValueView::Empty => Value::Null,
        AnyValueView::Bool(value) => value.into(),
        AnyValueView::Int(value) => value.into(),
        AnyValueView::Double(number) => match Number::from_f64(number) {
            Some(number) => Value::Number(number),
            None => value.to_text().into(),
        },
        AnyValueView::String(_) | AnyValueView::Bytes(_) => value.to_text().into(),
        AnyValueView::Array(values) => values.map(to_json).collect(),
        AnyValueView::KvList(pairs) => Value::Object(to_object(pairs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, name: &str, attributes: &str, dropped: u32) {
        let attributes = object(attributes).unwrap();
        assert_eq!(Event::read(text), Event { name: name.to_owned(), attributes, dropped }, "{text}");
    }

    #[test]
    fn an_annotation_of_every_known_form_is_an_event() {
        check("retry", "retry", "{}", 0);
        check(r#""cache miss": {"key": "a", "tries": 2}"#, "cache miss", r#"{"key": "a", "tries": 2}"#, 0);
        check(r#""a\"b":{}"#, "a\"b", "{}", 0);
        check(r#"{"cache miss": {"key": "a"}}"#, "cache miss", r#"{"key": "a"}"#, 0);
        check(r#"retry|{"why":"a|b"}|3"#, "retry", r#"{"why": "a|b"}"#, 3);
        check(r#""x": {"otel.dropped_attributes_count": 7}"#, "x", "{}", 7);
    }

    #[test]
    fn an_annotation_that_only_looks_like_one_is_a_name() {
        for text in
            ["\"", "\"a\"", "\"a\":", "\"a\": 3", "{", "{\"a\": 1}", "{\"a\":{},\"b\":{}}", "a|b|c", "a|{}|x", "||"]
        {
            check(text, text, "{}", 0);
        }
        let deep = format!("\"deep\": {{\"a\": {}{}}}", "[".repeat(40), "]".repeat(40));
        check(&deep, &deep, "{}", 0);
    }

    #[test]
    fn a_link_may_have_the_mark_in_its_trace_state_and_its_attributes() {
        let text = r#"5b8efff798038103d269b633813fc60c|eee19b7ec3c1b174|a=b|{c,d=e|{"why":"x|y"}|4"#;
        let link = Link::read(text).unwrap();
        assert_eq!((link.trace_state.as_str(), link.dropped), ("a=b|{c,d=e", 4));
        assert_eq!(link.attributes["why"], "x|y");
        for text in ["", "|", "||||", "5b8e|eee1||{}|0", "5b8efff798038103d269b633813fc60c|eee19b7ec3c1b174||{}|-1"] {
            assert_eq!(Link::read(text), None, "{text}");
        }
    }
}
