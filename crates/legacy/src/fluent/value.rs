//! MessagePack values as attributes.

use std::borrow::Cow;
use std::collections::HashSet;

use otlp::encode::{AttributesWriter, ValueWriter};
use rmpv::ValueRef;

/// A value nests deeper than allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooDeep;

/// Text where it is UTF-8. Bytes that are not stay bytes, so that nothing is lost; old clients send text as binary.
fn write_bytes(bytes: &[u8], writer: ValueWriter<'_>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => writer.string(text),
        Err(_) => writer.bytes(bytes),
    }
}

/// Writes a value whose maps and arrays nest in at most `levels_max` levels.
pub(super) fn write(value: &ValueRef<'_>, levels_max: usize, writer: ValueWriter<'_>) -> Result<(), TooDeep> {
    match value {
        ValueRef::Nil => writer.empty(),
        ValueRef::Boolean(value) => writer.bool(*value),
        ValueRef::Integer(number) => match number.as_i64() {
            Some(number) => writer.int(number),
            // OTLP's integers are signed; as in the Collector, what does not fit is text.
            None => writer.string(&number.to_string()),
        },
        ValueRef::F32(number) => writer.double(f64::from(*number)),
        ValueRef::F64(number) => writer.double(*number),
        ValueRef::String(text) => write_bytes(text.as_bytes(), writer),
        ValueRef::Binary(bytes) | ValueRef::Ext(_, bytes) => write_bytes(bytes, writer),
        ValueRef::Array(values) => {
            let levels = levels_max.checked_sub(1).ok_or(TooDeep)?;
            return writer.array(|array| values.iter().try_for_each(|value| write(value, levels, array.value())));
        }
        ValueRef::Map(pairs) => {
            let levels = levels_max.checked_sub(1).ok_or(TooDeep)?;
            return writer.kvlist(|attributes: &mut AttributesWriter<'_>| {
                unique(pairs).try_for_each(|(key, value)| write(value, levels, attributes.value(&key)))
            });
        }
    }
    Ok(())
}

/// The pairs of a map by the text of their keys; of equal keys, the last one counts.
pub(super) fn unique<'p>(
    pairs: &'p [(ValueRef<'p>, ValueRef<'p>)],
) -> impl DoubleEndedIterator<Item = (Cow<'p, str>, &'p ValueRef<'p>)> {
    let keys: Vec<Cow<'p, str>> = pairs.iter().map(|(key, _)| key_text(key)).collect();
    let mut seen = HashSet::with_capacity(keys.len());
    let mut counts: Vec<bool> = keys.iter().rev().map(|key| seen.insert(key.clone())).collect();
    counts.reverse();
    let pairs = keys.into_iter().zip(pairs).zip(counts);
    let last: Vec<_> = pairs.filter(|(_, counts)| *counts).map(|((key, (_, value)), _)| (key, value)).collect();
    last.into_iter()
}

/// Keys are text in OTLP: binary ones are read as text, and others as they are written.
fn key_text<'k>(key: &'k ValueRef<'_>) -> Cow<'k, str> {
    match key {
        ValueRef::String(text) => String::from_utf8_lossy(text.as_bytes()),
        ValueRef::Binary(bytes) => String::from_utf8_lossy(bytes),
        // However deep it is: the reader of the entry has bounded that.
        other => Cow::Owned(other.to_string()),
    }
}
