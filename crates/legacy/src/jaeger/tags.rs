//! Tags as attributes: one value for each key, and those with a meaning taken out.

use std::borrow::Cow;
use std::collections::HashMap;

use otlp::encode::AttributesWriter;

use super::model::{Tag, Value};

/// Tags up to this number are compared with each other; more get an index.
const COMPARED_MAX: usize = 32;

/// The tags of a span, a log or a process.
pub(super) struct Tags<'t, 'a> {
    tags: &'t [Tag<'a>],
    /// Where a key comes last, if there are many.
    last: Option<HashMap<&'t str, usize>>,
    /// Keys that became something else than attributes.
    taken: Vec<&'static str>,
}

impl<'t, 'a> Tags<'t, 'a> {
    pub(super) fn new(tags: &'t [Tag<'a>]) -> Self {
        let index = || tags.iter().enumerate().map(|(index, tag)| (&*tag.key, index)).collect();
        let last = (tags.len() > COMPARED_MAX).then(index);
        Tags { tags, last, taken: Vec::new() }
    }

    /// The value of a key: the last, if there are several.
    pub(super) fn get(&self, key: &str) -> Option<&'t Value<'a>> {
        let index = match &self.last {
            Some(last) => *last.get(key)?,
            None => self.tags.iter().rposition(|tag| tag.key == key)?,
        };
        if self.taken.contains(&key) {
            return None;
        }
        self.tags.get(index).map(|tag| &tag.value)
    }

    /// The text of a key.
    pub(super) fn text(&self, key: &str) -> Option<&'t Cow<'a, str>> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Takes a key out.
    pub(super) fn take(&mut self, key: &'static str) {
        self.taken.push(key);
    }

    /// Takes the text of a key out. Whatever else it has stays an attribute.
    pub(super) fn take_text(&mut self, key: &'static str) -> Option<&'t Cow<'a, str>> {
        let text = self.text(key)?;
        self.take(key);
        Some(text)
    }

    /// Takes the count of a key out.
    pub(super) fn take_count(&mut self, key: &'static str) -> u32 {
        match self.get(key) {
            Some(Value::Int(count)) => {
                let count = u32::try_from(*count).unwrap_or(if *count < 0 { 0 } else { u32::MAX });
                self.take(key);
                count
            }
            _ => 0,
        }
    }

    /// Writes what was not taken, one value for each key.
    pub(super) fn write(&self, mut out: AttributesWriter<'_>) {
        for (index, tag) in self.tags.iter().enumerate() {
            let is_last = match &self.last {
                Some(last) => last.get(&*tag.key) == Some(&index),
                None => self.tags[index + 1..].iter().all(|later| later.key != tag.key),
            };
            if is_last && !tag.key.is_empty() && !self.taken.contains(&&*tag.key) {
                write_value(&mut out, &tag.key, &tag.value);
            }
        }
    }
}

pub(super) fn write_value(out: &mut AttributesWriter<'_>, key: &str, value: &Value<'_>) {
    match value {
        Value::Text(text) => out.string(key, text),
        Value::Bool(value) => out.bool(key, *value),
        Value::Int(value) => out.int(key, *value),
        Value::Double(value) => out.double(key, *value),
        Value::Binary(bytes) => out.bytes(key, bytes),
        // As the Collector, which says what it did not understand.
        Value::Unknown(number) => out.string(key, &format!("<Unknown Jaeger TagType \"{number}\">")),
    };
}
