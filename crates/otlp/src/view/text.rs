//! Values as text, where a protocol or a reader wants text: labels, patterns, logs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::AnyValueView;

impl<'a> AnyValueView<'a> {
    /// The value as text, as the OpenTelemetry specification shows attributes to protocols that know only text
    /// ([Attribute, non-OTLP protocols](https://opentelemetry.io/docs/specs/otel/common/#anyvalue)) and as the
    /// Collector writes it: text as it is, numbers in decimal, `true` and `false`, bytes in base64, arrays and maps in
    /// JSON with sorted keys, nothing for no value.
    ///
    /// ```
    /// use otlp::view::AnyValueView;
    /// assert_eq!(AnyValueView::Int(-3).to_text(), "-3");
    /// assert_eq!(AnyValueView::Double(1e21).to_text(), "1e+21");
    /// ```
    pub fn to_text(self) -> Cow<'a, str> {
        match self {
            AnyValueView::Empty => Cow::Borrowed(""),
            AnyValueView::String(text) => Cow::Borrowed(text),
            AnyValueView::Bool(true) => Cow::Borrowed("true"),
            AnyValueView::Bool(false) => Cow::Borrowed("false"),
            AnyValueView::Int(value) => Cow::Owned(value.to_string()),
            AnyValueView::Double(value) => Cow::Owned(double_text(value)),
            AnyValueView::Bytes(bytes) => Cow::Owned(STANDARD.encode(bytes)),
            AnyValueView::Array(_) | AnyValueView::KvList(_) => {
                let mut text = String::new();
                write_json(self, &mut text);
                Cow::Owned(text)
            }
        }
    }
}

/// A double in the fewest digits that read back as the same, with an exponent below 1e-6 and from 1e21 on: the numbers
/// of ECMAScript and of Go's JSON. `NaN`, `+Inf` and `-Inf` for what JSON cannot say.
fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        return if magnitude >= 1e21 { text.replace('e', "e+") } else { text };
    }
    value.to_string()
}

/// Appends JSON. Recurses as deep as the value, which the check at the door bounds.
fn write_json(value: AnyValueView<'_>, out: &mut String) {
    match value {
        AnyValueView::Empty => out.push_str("null"),
        AnyValueView::Double(value) if !value.is_finite() => write_json_string(&double_text(value), out),
        AnyValueView::Bool(_) | AnyValueView::Int(_) | AnyValueView::Double(_) => out.push_str(&value.to_text()),
        AnyValueView::String(_) | AnyValueView::Bytes(_) => write_json_string(&value.to_text(), out),
        AnyValueView::Array(values) => {
            out.push('[');
            for (index, value) in values.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(value, out);
            }
            out.push(']');
        }
        AnyValueView::KvList(values) => {
            // Of a key that comes twice the last one counts, as in a map.
            let sorted: BTreeMap<&str, AnyValueView<'_>> = values.map(|pair| (pair.key(), pair.value())).collect();
            out.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json_string(key, out);
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
    }
}

fn write_json_string(text: &str, out: &mut String) {
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
            // These two end a line in JavaScript, so Go escapes them as well.
            '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => {
                // Writing into a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{AttributesWriter, ValueWriter};

    fn check(write: impl FnOnce(ValueWriter<'_>), expected: &str) {
        let mut out = Vec::new();
        write(ValueWriter::new(&mut out, 1));
        let value = crate::wire::Fields::new(&out).next().unwrap().value.bytes();
        assert_eq!(AnyValueView::new(value).to_text(), expected);
    }

    #[test]
    fn scalars_are_written_as_they_are() {
        check(|value| value.raw(&[]), "");
        check(|value| value.string("a \"b\"\n"), "a \"b\"\n");
        check(|value| value.bool(true), "true");
        check(|value| value.bool(false), "false");
        check(|value| value.int(i64::MIN), "-9223372036854775808");
        check(|value| value.bytes(&[0, 0xff]), "AP8=");
    }

    #[test]
    fn doubles_have_the_digits_of_ecmascript() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (123.456, "123.456"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (0.000_001, "0.000001"),
            (0.000_000_12, "1.2e-7"),
            (1e-300, "1e-300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            check(|writer| writer.double(value), expected);
        }
    }

    fn list(out: &mut AttributesWriter<'_>) {
        out.string("z", "<&>").int("a", 1).double("nan", f64::NAN);
        out.value("inner").array(|values| {
            values.value().bool(true);
            values.value().empty();
            values.value().bytes(b"x");
        });
    }

    #[test]
    fn lists_and_maps_are_json_with_sorted_keys() {
        check(|value| value.kvlist(list), r#"{"a":1,"inner":[true,null,"eA=="],"nan":"NaN","z":"<&>"}"#);
        check(|value| value.array(|_| {}), "[]");
        check(|value| value.kvlist(|_| {}), "{}");
    }

    #[test]
    fn control_characters_are_escaped_in_json() {
        let text = "\" \\ \n \r \t \u{1} \u{2028}";
        check(|value| value.array(|values| values.value().string(text)), r#"["\" \\ \n \r \t \u0001 \u2028"]"#);
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts() {
        check(
            |value| {
                value.kvlist(|out| {
                    out.int("a", 1).int("a", 2);
                });
            },
            r#"{"a":2}"#,
        );
    }
}
