//! The attributes of one record while actions change them.

use std::rc::Rc;

use otlp::encode::AttributesWriter;
use otlp::view::{AnyValueView, KeyValueView, KeyValues};

/// A value that an attribute has or gets.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// As the record came with it.
    Original(KeyValueView<'a>),
    /// Of the configuration, or of another attribute.
    View(AnyValueView<'a>),
    /// Made by an action.
    Text(Rc<str>),
}

impl Value<'_> {
    pub(super) fn view(&self) -> AnyValueView<'_> {
        match self {
            Value::Original(attribute) => attribute.value(),
            Value::View(view) => *view,
            Value::Text(text) => AnyValueView::String(text),
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// UTF-8, as everything behind the door.
    key: &'a [u8],
    value: Value<'a>,
}

/// Attributes in their order; what is new stands at the end.
pub(super) struct List<'a> {
    entries: Vec<Entry<'a>>,
    is_changed: bool,
}

impl<'a> List<'a> {
    /// Reads the attributes into the memory of an earlier list.
    pub(super) fn read(attributes: KeyValues<'a>, scratch: Vec<Entry<'static>>) -> List<'a> {
        let mut entries = recycle(scratch);
        entries.extend(
            attributes.map(|attribute| Entry { key: attribute.key_bytes(), value: Value::Original(attribute) }),
        );
        List { entries, is_changed: false }
    }

    /// Gives the memory back.
    pub(super) fn into_scratch(self) -> Vec<Entry<'static>> {
        recycle(self.entries)
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(super) fn write(&self, out: &mut AttributesWriter<'_>) {
        for Entry { key, value } in &self.entries {
            match value {
                Value::Original(attribute) => {
                    out.raw_key_value(attribute.as_bytes());
                }
                value => out.value(std::str::from_utf8(key).unwrap_or_default()).any(value.view()),
            }
        }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key.as_bytes())
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.entries.iter().find(|entry| entry.key == key.as_bytes()).map(|entry| match &entry.value {
            // The copy belongs to another key.
            Value::Original(attribute) => Value::View(attribute.value()),
            value => value.clone(),
        })
    }

    /// Adds an attribute that is not there yet.
    pub(super) fn push(&mut self, key: &'a str, value: Value<'a>) {
        self.is_changed = true;
        self.entries.push(Entry { key: key.as_bytes(), value });
    }

    /// Sets an attribute where it is there. Returns whether it is.
    pub(super) fn set(&mut self, key: &str, value: &Value<'a>) -> bool {
        let mut is_there = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.key == key.as_bytes()) {
            is_there = true;
            if entry.value.view() != value.view() {
                entry.value = value.clone();
                self.is_changed = true;
            }
        }
        is_there
    }

    pub(super) fn set_or_push(&mut self, key: &'a str, value: Value<'a>) {
        if !self.set(key, &value) {
            self.push(key, value);
        }
    }

    /// Removes the attributes with these keys.
    pub(super) fn remove(&mut self, is_meant: impl Fn(&[u8]) -> bool) {
        let count = self.entries.len();
        self.entries.retain(|entry| !is_meant(entry.key));
        self.is_changed |= self.entries.len() < count;
    }

    /// Replaces the values of these keys by what `change` makes of them, if it makes something.
    pub(super) fn change(
        &mut self,
        is_meant: impl Fn(&[u8]) -> bool,
        change: impl Fn(AnyValueView<'_>) -> Option<Value<'a>>,
    ) {
        for entry in self.entries.iter_mut().filter(|entry| is_meant(entry.key)) {
            let before = entry.value.view();
            if let Some(value) = change(before).filter(|value| value.view() != before) {
                entry.value = value;
                self.is_changed = true;
            }
        }
    }
}

/// The memory of a list for another one. Collecting in place keeps the allocation, since only lifetimes differ.
#[expect(clippy::unnecessary_filter_map, reason = "a filter cannot change the lifetime")]
fn recycle<'to>(entries: Vec<Entry<'_>>) -> Vec<Entry<'to>> {
    entries.into_iter().filter_map(|_| None).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_the_memory_of_the_one_before() {
        let mut entries = Vec::with_capacity(100);
        let key = String::from("key");
        entries.push(Entry { key: key.as_bytes(), value: Value::View(AnyValueView::Int(1)) });
        let address = entries.as_ptr().addr();
        let recycled: Vec<Entry<'static>> = recycle(entries);
        assert!(recycled.is_empty());
        assert_eq!((recycled.as_ptr().addr(), recycled.capacity()), (address, 100));
    }
}
