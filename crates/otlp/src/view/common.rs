//! Resources, scopes, attributes and their values.

use super::{MessageView, Repeated, view};
use crate::wire::{FieldValue, Fields};

/// Attributes, in wire order.
pub type KeyValues<'a> = Repeated<'a, KeyValueView<'a>>;

/// The values of an array, in wire order.
pub type AnyValues<'a> = Repeated<'a, AnyValueView<'a>>;

impl<'a> KeyValues<'a> {
    /// The value of the first attribute with this key.
    pub fn get(self, key: &str) -> Option<AnyValueView<'a>> {
        let mut all = self;
        all.find(|attribute| attribute.key_bytes() == key.as_bytes()).map(|attribute| attribute.value())
    }
}

view! {
    /// Where telemetry comes from.
    ResourceView {
        /// What describes it, such as `service.name`.
        1 attributes: repeated(KeyValueView),
        /// How many attributes the sender discarded.
        2 dropped_attributes_count: uint32,
    }
}

view! {
    /// The instrumentation that made telemetry: `InstrumentationScope`.
    ScopeView {
        /// The name; empty when unknown.
        1 name: string,
        /// The version; empty when unknown.
        2 version: string,
        /// What else describes it.
        3 attributes: repeated(KeyValueView),
        /// How many attributes the sender discarded.
        4 dropped_attributes_count: uint32,
    }
}

view! {
    /// One attribute.
    KeyValueView {
        /// The key.
        1 key: string,
        /// The value.
        2 value: message(AnyValueView),
    }
}

impl<'a> KeyValueView<'a> {
    /// The key, without the check that it is UTF-8, for comparisons.
    #[inline]
    pub fn key_bytes(&self) -> &'a [u8] {
        self.key
    }
}

/// The value of an attribute or the body of a log record.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum AnyValueView<'a> {
    /// No value. A reference into the dictionary of a profile, which has no meaning here, counts as none.
    #[default]
    Empty,
    /// Text.
    String(&'a str),
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// Values in order.
    Array(AnyValues<'a>),
    /// Values by key.
    KvList(KeyValues<'a>),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl<'a> AnyValueView<'a> {
    /// The view of the message with these bytes, tag and length not included.
    #[inline]
    pub fn new(message: &'a [u8]) -> Self {
        let mut value = AnyValueView::Empty;
        for field in Fields::new(message) {
            value = match (field.number, field.value) {
                (1, FieldValue::Length(text)) => AnyValueView::String(std::str::from_utf8(text).unwrap_or_default()),
                (2, FieldValue::Varint(number)) => AnyValueView::Bool(number != 0),
                (3, FieldValue::Varint(number)) => AnyValueView::Int(number as i64),
                (4, FieldValue::Fixed64(bits)) => AnyValueView::Double(f64::from_bits(bits)),
                (5, FieldValue::Length(array)) => AnyValueView::Array(Repeated::new(array, 0, 1)),
                (6, FieldValue::Length(list)) => AnyValueView::KvList(Repeated::new(list, 0, 1)),
                (7, FieldValue::Length(bytes)) => AnyValueView::Bytes(bytes),
                (8, FieldValue::Varint(_)) => AnyValueView::Empty,
                _ => value,
            };
        }
        value
    }

    /// The text, if it is text.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            AnyValueView::String(text) => Some(text),
            _ => None,
        }
    }
}

impl<'a> MessageView<'a> for AnyValueView<'a> {
    #[inline]
    fn new(message: &'a [u8]) -> Self {
        AnyValueView::new(message)
    }
}
