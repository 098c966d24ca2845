//! `logproto.PushRequest`, read field by field: nothing is collected, so an empty entry of two bytes costs nothing.
//!
//! | message | fields |
//! |---|---|
//! | `PushRequest` | 1 `streams` |
//! | `StreamAdapter` | 1 `labels`, 2 `entries`; 3 `hash` is Loki's own and not read |
//! | `EntryAdapter` | 1 `timestamp` (`google.protobuf.Timestamp`), 2 `line`, 3 `structuredMetadata`; 4 `parsed` is Loki's own |
//! | `LabelPairAdapter` | 1 `name`, 2 `value` |

use std::borrow::Cow;

use otlp::wire::{FieldValue, Fields, OpenField, write_bytes_field, write_varint_field};

use super::{Entry, LabelSet, Push, PushError, Take};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Hands every entry of an uncompressed `PushRequest` to `take`.
///
/// # Errors
/// At the first thing that is wrong, and what `take` says.
pub fn read_protobuf(bytes: &[u8], take: &mut Take<'_>) -> Result<(), PushError> {
    let mut stream = 0;
    each_field(bytes, "PushRequest", |number, value| {
        if let (1, FieldValue::Length(message)) = (number, value) {
            read_stream(stream, message, take)?;
            stream += 1;
        }
        Ok(())
    })
}

fn read_stream(stream: usize, message: &[u8], take: &mut Take<'_>) -> Result<(), PushError> {
    // Fields may come in any order, and every entry needs the labels.
    let mut labels = "";
    each_field(message, "Stream", |number, value| {
        if let (1, FieldValue::Length(text)) = (number, value) {
            labels = utf8(stream, "Stream.labels", text)?;
        }
        Ok(())
    })?;
    let labels = LabelSet::parse(labels).map_err(|error| PushError::Labels { stream, error })?;
    let mut index = 0;
    each_field(message, "Stream", |number, value| {
        if let (2, FieldValue::Length(message)) = (number, value) {
            take(&labels, &read_entry(stream, index, message)?)?;
            index += 1;
        }
        Ok(())
    })
}

fn read_entry(stream: usize, index: usize, message: &[u8]) -> Result<Entry<'_>, PushError> {
    let mut entry = Entry::new(0, "");
    each_field(message, "Entry", |number, value| {
        match (number, value) {
            (1, FieldValue::Length(message)) => {
                entry.timestamp_unix_ns =
                    read_timestamp(message)?.ok_or(PushError::Timestamp { stream, entry: index })?;
            }
            (2, FieldValue::Length(text)) => entry.line = Cow::Borrowed(utf8(stream, "Entry.line", text)?),
            (3, FieldValue::Length(message)) => entry.structured_metadata.push(read_pair(stream, message)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(entry)
}

fn read_timestamp(message: &[u8]) -> Result<Option<u64>, PushError> {
    let (mut seconds, mut nanos) = (0, 0);
    each_field(message, "Timestamp", |number, value| {
        match (number, value) {
            (1, FieldValue::Varint(value)) => seconds = value,
            (2, FieldValue::Varint(value)) => nanos = value,
            _ => {}
        }
        Ok(())
    })?;
    // Before 1970, seconds are negative, which is a very large number here.
    let whole = seconds.checked_mul(NANOS_PER_SECOND).filter(|_| nanos < NANOS_PER_SECOND);
    Ok(whole.and_then(|whole| whole.checked_add(nanos)))
}

fn read_pair(stream: usize, message: &[u8]) -> Result<(Cow<'_, str>, Cow<'_, str>), PushError> {
    let (mut name, mut text) = ("", "");
    each_field(message, "LabelPair", |number, value| {
        match (number, value) {
            (1, FieldValue::Length(bytes)) => name = utf8(stream, "LabelPair.name", bytes)?,
            (2, FieldValue::Length(bytes)) => text = utf8(stream, "LabelPair.value", bytes)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((Cow::Borrowed(name), Cow::Borrowed(text)))
}

fn utf8<'a>(stream: usize, field: &'static str, bytes: &'a [u8]) -> Result<&'a str, PushError> {
    std::str::from_utf8(bytes).map_err(|_| PushError::InvalidUtf8 { stream, field })
}

/// Every field of a message; one that is not well formed is an error.
fn each_field<'a>(
    message: &'a [u8],
    name: &'static str,
    mut read: impl FnMut(u32, FieldValue<'a>) -> Result<(), PushError>,
) -> Result<(), PushError> {
    let mut fields = Fields::new(message);
    for field in fields.by_ref() {
        read(field.number, field.value)?;
    }
    match fields.position() {
        position if position == message.len() => Ok(()),
        offset => Err(PushError::Protobuf { message: name, offset }),
    }
}

pub(super) fn write(push: &Push<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for (labels, entries) in push.streams() {
        let stream = OpenField::begin(&mut out, 1, 1024);
        write_bytes_field(&mut out, 1, labels.to_string().as_bytes());
        for entry in entries {
            write_entry(entry, &mut out);
        }
        stream.end(&mut out);
    }
    out
}

fn write_entry(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let message = OpenField::begin(out, 2, entry.line.len() + 16);
    let timestamp = OpenField::begin(out, 1, 0);
    let (seconds, nanos) = (entry.timestamp_unix_ns / NANOS_PER_SECOND, entry.timestamp_unix_ns % NANOS_PER_SECOND);
    for (number, value) in [(1, seconds), (2, nanos)] {
        if value != 0 {
            write_varint_field(out, number, value);
        }
    }
    timestamp.end(out);
    write_bytes_field(out, 2, entry.line.as_bytes());
    for (name, value) in &entry.structured_metadata {
        let pair = OpenField::begin(out, 3, 0);
        write_bytes_field(out, 1, name.as_bytes());
        write_bytes_field(out, 2, value.as_bytes());
        pair.end(out);
    }
    message.end(out);
}
