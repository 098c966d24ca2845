//! The values of attributes as text, which is what label values are.

use otlp::view::{AnyValueView, KeyValues};

/// The text of an attribute's value, as the Collector makes it: strings as they are, numbers and truth values in their
/// usual spelling, bytes in base64, arrays and lists as JSON with sorted keys. No value is the empty text.
///
/// ```
/// use otlp::view::AnyValueView;
/// use prom::write::value_text;
///
/// let mut text = String::new();
/// value_text(AnyValueView::Int(-7), &mut text);
/// assert_eq!(text, "-7");
/// ```
pub fn value_text(value: AnyValueView<'_>, out: &mut String) {
    match value {
        AnyValueView::Empty => {}
        AnyValueView::String(text) => out.push_str(text),
        AnyValueView::Bool(truth) => out.push_str(if truth { "true" } else { "false" }),
        AnyValueView::Int(number) => out.push_str(itoa::Buffer::new().format(number)),
        AnyValueView::Double(number) => double_text(number, out),
        AnyValueView::Bytes(bytes) => base64(bytes, out),
        AnyValueView::Array(_) | AnyValueView::KvList(_) => json(value, out),
    }
}

/// Numbers of middling size without an exponent, others with one, as JSON in Go spells them.
fn double_text(number: f64, out: &mut String) {
    use std::fmt::Write;
    if number.is_nan() {
        out.push_str("NaN");
    } else if number.is_infinite() {
        out.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    } else if number == 0.0 || (1e-6..1e21).contains(&number.abs()) {
        let _ = write!(out, "{number}");
    } else {
        let text = format!("{number:e}");
        match text.split_once('e') {
            Some((mantissa, exponent)) if !exponent.starts_with('-') => {
                let _ = write!(out, "{mantissa}e+{exponent}");
            }
            _ => out.push_str(&text),
        }
    }
}

fn json(value: AnyValueView<'_>, out: &mut String) {
    match value {
        AnyValueView::Empty => out.push_str("null"),
        AnyValueView::String(text) => json_string(text, out),
        AnyValueView::Bytes(bytes) => {
            out.push('"');
            base64(bytes, out);
            out.push('"');
        }
        AnyValueView::Double(number) if !number.is_finite() => out.push_str("null"),
        AnyValueView::Array(values) => {
            out.push('[');
            for (index, item) in values.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                json(item, out);
            }
            out.push(']');
        }
        AnyValueView::KvList(pairs) => json_object(pairs, out),
        AnyValueView::Bool(_) | AnyValueView::Int(_) | AnyValueView::Double(_) => value_text(value, out),
    }
}

fn json_object(pairs: KeyValues<'_>, out: &mut String) {
    let mut sorted: Vec<(&str, AnyValueView<'_>)> = pairs.map(|pair| (pair.key(), pair.value())).collect();
    sorted.sort_by_key(|(key, _)| *key);
    out.push('{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        json_string(key, out);
        out.push(':');
        json(value, out);
    }
    out.push('}');
}

fn json_string(text: &str, out: &mut String) {
    use std::fmt::Write;
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            // Go's encoder escapes these too, so that the text can stand in HTML and JavaScript.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", character as u32);
            }
            _ if (character as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", character as u32);
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= group.len() {
                out.push(char::from(ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use otlp::encode::ValueWriter;
    use otlp::wire::{FieldValue, Fields};

    use super::*;

    fn check(fill: impl FnOnce(ValueWriter<'_>), text: &str) {
        let mut message = Vec::new();
        fill(ValueWriter::new(&mut message, 1));
        let Some(FieldValue::Length(bytes)) = Fields::new(&message).next().map(|field| field.value) else {
            panic!("one message");
        };
        let mut out = String::new();
        value_text(AnyValueView::new(bytes), &mut out);
        assert_eq!(out, text);
    }

    fn nothing(value: ValueWriter<'_>) {
        value.empty();
    }

    #[test]
    fn plain_values_have_their_usual_spelling() {
        check(|value| value.string("a\"b"), "a\"b");
        check(|value| value.bool(true), "true");
        check(|value| value.int(i64::MIN), "-9223372036854775808");
        check(|value| value.double(0.5), "0.5");
        check(|value| value.double(1e21), "1e+21");
        check(|value| value.double(2.5e-7), "2.5e-7");
        check(|value| value.double(3.0), "3");
        check(nothing, "");
        check(|value| value.bytes(b"\x01\x02\x03\x04"), "AQIDBA==");
    }

    #[test]
    fn nested_values_are_json_with_sorted_keys() {
        fn fill(value: ValueWriter<'_>) {
            value.kvlist(|list| {
                list.string("b", "<\n\u{1}\"");
                list.value("a").array(|values| {
                    values.value().int(1);
                    values.value().bool(false);
                    values.value().empty();
                    values.value().bytes(b"x");
                    values.value().double(f64::NAN);
                });
            });
        }
        check(fill, r#"{"a":[1,false,null,"eA==",null],"b":"\u003c\n\u0001\""}"#);
    }
}
