//! Resources, scopes, attributes and their values.

use super::writer;
use crate::view::AnyValueView;
use crate::wire::{
    OpenField, length_field_size, varint_size, write_bytes_field, write_double_field, write_length_header,
    write_varint_field,
};

writer! {
    /// Writes a resource.
    ResourceWriter {
        /// What describes it, such as `service.name`.
        1 attributes: attributes,
        /// How many attributes the sender discarded.
        2 dropped_attributes_count: uint32,
    }
}

writer! {
    /// Writes an instrumentation scope.
    ScopeWriter {
        /// The name.
        1 name: string,
        /// The version.
        2 version: string,
        /// What else describes it.
        3 attributes: attributes,
        /// How many attributes the sender discarded.
        4 dropped_attributes_count: uint32,
    }
}

/// Writes attributes: the `KeyValue`s of one repeated field. Keys are to be unique; that is the caller's to see to.
#[derive(Debug)]
pub struct AttributesWriter<'a> {
    out: &'a mut Vec<u8>,
    number: u32,
}

impl<'a> AttributesWriter<'a> {
    /// Attributes in field `number` of the message that is being appended to `out`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, number: u32) -> Self {
        AttributesWriter { out, number }
    }

    /// An attribute whose value is written next.
    #[inline]
    pub fn value<'b>(&'b mut self, key: &'b str) -> ValueWriter<'b> {
        ValueWriter { out: self.out, number: self.number, key: Some(key) }
    }

    /// Text.
    #[inline]
    pub fn string(&mut self, key: &str, value: &str) -> &mut Self {
        self.value(key).string(value);
        self
    }

    /// A signed integer.
    #[inline]
    pub fn int(&mut self, key: &str, value: i64) -> &mut Self {
        self.value(key).int(value);
        self
    }

    /// A double.
    #[inline]
    pub fn double(&mut self, key: &str, value: f64) -> &mut Self {
        self.value(key).double(value);
        self
    }

    /// A truth value.
    #[inline]
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.value(key).bool(value);
        self
    }

    /// Bytes.
    #[inline]
    pub fn bytes(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.value(key).bytes(value);
        self
    }

    /// A value as a view has it.
    #[inline]
    pub fn any(&mut self, key: &str, value: AnyValueView<'_>) -> &mut Self {
        self.value(key).any(value);
        self
    }

    /// An attribute as it stands in another message: the bytes of a `KeyValue`, tag and length not included.
    #[inline]
    pub fn raw_key_value(&mut self, key_value: &[u8]) -> &mut Self {
        write_bytes_field(self.out, self.number, key_value);
        self
    }
}

/// Writes the values of an array.
#[derive(Debug)]
pub struct ValuesWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl ValuesWriter<'_> {
    /// The next value.
    #[inline]
    pub fn value(&mut self) -> ValueWriter<'_> {
        ValueWriter::new(self.out, 1)
    }
}

/// Writes one value: an `AnyValue`, alone or as the value of an attribute.
#[derive(Debug)]
#[must_use = "nothing is written before the value is given"]
pub struct ValueWriter<'a> {
    out: &'a mut Vec<u8>,
    number: u32,
    key: Option<&'a str>,
}

impl<'a> ValueWriter<'a> {
    /// A value in field `number` of the message that is being appended to `out`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, number: u32) -> Self {
        ValueWriter { out, number, key: None }
    }

    /// No value.
    #[inline]
    pub fn empty(self) {
        self.header(0);
    }

    /// Text.
    #[inline]
    pub fn string(self, value: &str) {
        write_bytes_field(self.header(length_field_size(1, value.len())), 1, value.as_bytes());
    }

    /// A truth value.
    #[inline]
    pub fn bool(self, value: bool) {
        write_varint_field(self.header(2), 2, u64::from(value));
    }

    /// A signed integer.
    #[inline]
    pub fn int(self, value: i64) {
        write_varint_field(self.header(1 + varint_size(value as u64)), 3, value as u64);
    }

    /// A double.
    #[inline]
    pub fn double(self, value: f64) {
        write_double_field(self.header(9), 4, value);
    }

    /// Bytes.
    #[inline]
    pub fn bytes(self, value: &[u8]) {
        write_bytes_field(self.header(length_field_size(7, value.len())), 7, value);
    }

    /// Values in order.
    pub fn array<R>(self, fill: impl FnOnce(&mut ValuesWriter<'_>) -> R) -> R {
        self.nested(5, |out| fill(&mut ValuesWriter { out }))
    }

    /// Values by key.
    pub fn kvlist<R>(self, fill: impl FnOnce(&mut AttributesWriter<'_>) -> R) -> R {
        self.nested(6, |out| fill(&mut AttributesWriter::new(out, 1)))
    }

    /// The value of a view. Nested values are copied as they are.
    pub fn any(self, value: AnyValueView<'_>) {
        match value {
            AnyValueView::Empty => self.empty(),
            AnyValueView::String(value) => self.string(value),
            AnyValueView::Bool(value) => self.bool(value),
            AnyValueView::Int(value) => self.int(value),
            AnyValueView::Double(value) => self.double(value),
            AnyValueView::Bytes(value) => self.bytes(value),
            AnyValueView::Array(values) => {
                self.nested(5, |out| values.messages().for_each(|value| write_bytes_field(out, 1, value)));
            }
            AnyValueView::KvList(values) => {
                self.nested(6, |out| values.messages().for_each(|value| write_bytes_field(out, 1, value)));
            }
        }
    }

    /// A value as it stands in another message: the bytes of an `AnyValue`, tag and length not included.
    pub fn raw(self, any_value: &[u8]) {
        self.header(any_value.len()).extend_from_slice(any_value);
    }

    /// Appends all that comes before an `AnyValue` of `size` bytes.
    #[inline]
    fn header(self, size: usize) -> &'a mut Vec<u8> {
        let out = self.out;
        if let Some(key) = self.key {
            write_length_header(out, self.number, key_size(key) + length_field_size(2, size));
            write_key(out, key);
            write_length_header(out, 2, size);
        } else {
            write_length_header(out, self.number, size);
        }
        out
    }

    /// Appends an `AnyValue` that holds a message, whose size is not known before it is written.
    fn nested<R>(self, number: u32, fill: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let out = self.out;
        let outer = OpenField::begin(out, self.number, 0);
        let value = self.key.map(|key| {
            write_key(out, key);
            OpenField::begin(out, 2, 0)
        });
        let inner = OpenField::begin(out, number, 0);
        let result = fill(out);
        inner.end(out);
        if let Some(value) = value {
            value.end(out);
        }
        outer.end(out);
        result
    }
}

/// The size of the key's field: none for the empty key, as for any default.
#[inline]
fn key_size(key: &str) -> usize {
    if key.is_empty() { 0 } else { length_field_size(1, key.len()) }
}

#[inline]
fn write_key(out: &mut Vec<u8>, key: &str) {
    if !key.is_empty() {
        write_bytes_field(out, 1, key.as_bytes());
    }
}
