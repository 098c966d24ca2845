//! What actions make of values.

use otlp::view::AnyValueView;
use regex::Regex;
use sha2::{Digest, Sha256};

use super::list::Value;

/// The SHA-256 of a value as lower-case hexadecimal text: of text its bytes, of a truth value one byte, of a number
/// eight bytes, little endian. Whatever else there is, and the empty text, becomes the empty text.
pub(super) fn hash<'a>(value: AnyValueView<'_>) -> Value<'a> {
    let digest = match value {
        AnyValueView::String(text) if !text.is_empty() => Sha256::digest(text.as_bytes()),
        AnyValueView::Bool(flag) => Sha256::digest([u8::from(flag)]),
        AnyValueView::Int(number) => Sha256::digest(number.to_le_bytes()),
        AnyValueView::Double(number) => Sha256::digest(number.to_le_bytes()),
        _ => return Value::View(AnyValueView::String("")),
    };
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    let text: String = digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    Value::Text(text.into())
}

/// Hands over what each named group matches; nothing if the value is no text or the pattern does not match it. A group
/// that took no part is the empty text.
pub(super) fn extract<'a>(pattern: &'a Regex, value: &Value<'a>, mut set: impl FnMut(&'a str, Value<'a>)) {
    let AnyValueView::String(text) = value.view() else { return };
    let Some(matched) = pattern.captures(text) else { return };
    for (name, group) in pattern.capture_names().zip(matched.iter()) {
        let Some(name) = name else { continue };
        set(name, Value::Text(group.map_or("", |group| group.as_str()).into()));
    }
}

/// What `convert` converts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Double,
    String,
    Bool,
}

impl Type {
    pub(super) const NAMES: [(&'static str, Type); 4] =
        [("int", Type::Int), ("double", Type::Double), ("string", Type::String), ("bool", Type::Bool)];

    /// The value in this type. `None`: it has it already, or it cannot be turned into one and stays as it is.
    pub(super) fn convert<'a>(self, value: AnyValueView<'_>) -> Option<Value<'a>> {
        match self {
            Type::Int => to_int(value).map(|number| Value::View(AnyValueView::Int(number))),
            Type::Double => to_double(value).map(|number| Value::View(AnyValueView::Double(number))),
            Type::Bool => to_bool(value).map(|flag| Value::View(AnyValueView::Bool(flag))),
            Type::String => match value {
                AnyValueView::String(_) => None,
                value => Some(Value::Text(value.to_text().into())),
            },
        }
    }
}

fn to_int(value: AnyValueView<'_>) -> Option<i64> {
    match value {
        // Towards zero; beyond the range, the nearest there is.
        AnyValueView::Double(number) => Some(number as i64),
        AnyValueView::Bool(flag) => Some(i64::from(flag)),
        AnyValueView::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn to_double(value: AnyValueView<'_>) -> Option<f64> {
    match value {
        AnyValueView::Int(number) => Some(number as f64),
        AnyValueView::Bool(flag) => Some(f64::from(u8::from(flag))),
        AnyValueView::String(text) => {
            let number: f64 = text.parse().ok()?;
            // A number that is too large is no infinity.
            let is_sound = number.is_finite() || !text.contains(|character: char| character.is_ascii_digit());
            is_sound.then_some(number)
        }
        _ => None,
    }
}

fn to_bool(value: AnyValueView<'_>) -> Option<bool> {
    match value {
        AnyValueView::Int(number) => Some(number != 0),
        AnyValueView::Double(number) => Some(number != 0.0),
        AnyValueView::String("1" | "t" | "T" | "true" | "True" | "TRUE") => Some(true),
        AnyValueView::String("0" | "f" | "F" | "false" | "False" | "FALSE") => Some(false),
        _ => None,
    }
}
