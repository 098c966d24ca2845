//! Protobuf to JSON in one pass.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::schema::{FieldSchema, Id, Kind, Label, NUMBER_MAX, Schema};
use crate::view::Integers;
use crate::wire::{Field, FieldValue, Fields, zigzag_decode};
use crate::{Limits, SpanId, TraceId};

/// Appends a message.
pub(crate) fn append_message(id: Id, message: &[u8], out: &mut Vec<u8>) {
    Writer { out }.message(id.schema(), message, 0);
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl Writer<'_> {
    /// Appends a message. Recurses as deep as values nest, which the walk at the door bounds.
    fn message(&mut self, schema: &'static Schema, message: &[u8], depth: u16) {
        let depth = depth + u16::from(schema.is_nesting);
        if depth > Limits::DEPTH_MAX_CEILING {
            // No batch that was checked is as deep as this.
            self.out.extend_from_slice(b"null");
            return;
        }
        // The last occurrence of each field counts, and the last of those that exclude each other.
        let mut found: [Option<Field<'_>>; NUMBER_MAX + 1] = [None; NUMBER_MAX + 1];
        let mut chosen = 0;
        for field in Fields::new(message) {
            let Some(known) = schema.field(field.number).filter(|known| known.accepts(field.value.wire_type())) else {
                continue;
            };
            found[usize::from(known.number)] = Some(field);
            if known.label == Label::Oneof {
                chosen = known.number;
            }
        }
        self.out.push(b'{');
        let mut is_first = true;
        for known in schema.fields {
            let Some(field) = found[usize::from(known.number)] else { continue };
            let is_left_out = match known.label {
                Label::One => is_default(field.value),
                Label::Oneof => known.number != chosen,
                Label::Optional | Label::Many => false,
            };
            if is_left_out && !matches!((known.label, known.kind), (Label::One, Kind::Message(_))) {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            self.out.push(b'"');
            self.out.extend_from_slice(known.json.as_bytes());
            self.out.extend_from_slice(b"\":");
            match known.label {
                Label::Many => self.list(known, message, depth),
                _ => self.value(known, field.value, depth),
            }
        }
        self.out.push(b'}');
    }

    fn list(&mut self, known: &'static FieldSchema, message: &[u8], depth: u16) {
        let number = u32::from(known.number);
        match known.kind {
            Kind::Uint64 => self.numbers(known, Integers::varint(message, number).map(FieldValue::Varint)),
            Kind::Fixed64 | Kind::Double => {
                self.numbers(known, Integers::fixed64(message, number).map(FieldValue::Fixed64));
            }
            _ => {
                let values = Fields::new(message).filter(|field| field.number == number).map(|field| field.value);
                self.elements(values.filter(|value| known.accepts(value.wire_type())), |writer, value| {
                    writer.value(known, value, depth);
                });
            }
        }
    }

    fn numbers<'a>(&mut self, known: &'static FieldSchema, values: impl Iterator<Item = FieldValue<'a>>) {
        self.elements(values, |writer, value| writer.value(known, value, 0));
    }

    fn elements<'a>(
        &mut self,
        values: impl Iterator<Item = FieldValue<'a>>,
        append: impl Fn(&mut Self, FieldValue<'a>),
    ) {
        self.out.push(b'[');
        for (index, value) in values.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            append(self, value);
        }
        self.out.push(b']');
    }

    fn value(&mut self, known: &'static FieldSchema, value: FieldValue<'_>, depth: u16) {
        match known.kind {
            Kind::Bool => self.out.extend_from_slice(if value.varint() != 0 { b"true" } else { b"false" }),
            Kind::Int32 | Kind::Enum(_) => self.number(value.varint() as i32),
            Kind::Sint32 => self.number(zigzag_decode(value.varint()) as i32),
            Kind::Uint32 => self.number(value.varint() as u32),
            Kind::Fixed32 => self.number(value.fixed32()),
            Kind::Int64 => self.quoted(value.varint() as i64),
            Kind::Uint64 => self.quoted(value.varint()),
            Kind::Fixed64 => self.quoted(value.fixed64()),
            Kind::Sfixed64 => self.quoted(value.fixed64() as i64),
            Kind::Double => self.double(value.double()),
            Kind::String => append_string(&String::from_utf8_lossy(value.bytes()), self.out),
            Kind::Bytes => {
                let text = STANDARD.encode(value.bytes());
                self.text(text.as_bytes());
            }
            // An id of another length cannot be in a checked batch.
            Kind::TraceId => match TraceId::from_slice(value.bytes()) {
                Some(id) => self.text(&id.to_hex()),
                None => self.text(b""),
            },
            Kind::SpanId => match SpanId::from_slice(value.bytes()) {
                Some(id) => self.text(&id.to_hex()),
                None => self.text(b""),
            },
            Kind::Message(id) => self.message(id.schema(), value.bytes(), depth),
        }
    }

    fn number(&mut self, value: impl itoa::Integer) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn quoted(&mut self, value: impl itoa::Integer) {
        self.text(itoa::Buffer::new().format(value).as_bytes());
    }

    fn double(&mut self, value: f64) {
        if value.is_finite() {
            self.out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
        } else {
            let name: &[u8] = match value {
                f64::INFINITY => b"Infinity",
                f64::NEG_INFINITY => b"-Infinity",
                _ => b"NaN",
            };
            self.text(name);
        }
    }

    /// Appends text that needs no escapes.
    fn text(&mut self, text: &[u8]) {
        self.out.push(b'"');
        self.out.extend_from_slice(text);
        self.out.push(b'"');
    }
}

/// Whether a value is the one that absence means.
fn is_default(value: FieldValue<'_>) -> bool {
    match value {
        FieldValue::Varint(value) | FieldValue::Fixed64(value) => value == 0,
        FieldValue::Fixed32(value) => value == 0,
        FieldValue::Length(bytes) => bytes.is_empty(),
    }
}

/// Appends a string with its quotes and escapes.
pub(crate) fn append_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        append_escape(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn append_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            let digits = [HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        }
    }
}
