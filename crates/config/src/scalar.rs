//! What a plain scalar means: the YAML 1.2 core schema, with the integers of go-yaml v3.

use std::sync::Arc;

use crate::node::Kind;

/// Resolves a plain (unquoted) scalar, as the Collector's YAML library does when it reads into an untyped value.
pub(crate) fn resolve_plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Kind::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Kind::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Kind::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match parse_int(text) {
        Some(value) => match i64::try_from(value) {
            Ok(value) => Kind::Int(value),
            // Too large for a signed integer: an unsigned field still reads it from its text.
            Err(_) => Kind::Float(value as f64),
        },
        None => parse_float(text).map_or_else(|| Kind::String(Arc::from(text)), Kind::Float),
    }
}

/// An integer as go-yaml reads it: decimal, `0x`, `0o`, `0b`, octal with a leading zero, `_` between digits.
pub(crate) fn parse_int(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        b'0'..=b'9' => (false, text),
        _ => return None,
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || digits.len() > 64 + 2 {
        return None;
    }
    let digits = digits.replace('_', "");
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, &digits[..]),
    };
    // A sign in the middle (`0x-1`) would pass `from_str_radix`.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

/// A decimal number: `1.5`, `.5`, `1e3`; not `inf` or `nan`, which YAML writes with a dot.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let mantissa = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !mantissa.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-' | b'_')) {
        return None;
    }
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// Whether a text means yes or no where a boolean is wanted; also YAML 1.1's words and Go's short forms.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Some(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Some(false),
        _ => match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" => Some(true),
            "no" | "off" | "n" => Some(false),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match resolve_plain(text) {
            Kind::Null => "null".to_owned(),
            Kind::Bool(value) => format!("bool {value}"),
            Kind::Int(value) => format!("int {value}"),
            Kind::Float(value) => format!("float {value}"),
            Kind::String(value) => format!("string {value}"),
            Kind::Seq(_) | Kind::Map(_) => unreachable!("a plain scalar is no collection"),
        };
        assert_eq!(shown, expected, "for {text:?}");
    }

    #[test]
    fn integers_are_read_as_go_yaml_reads_them() {
        for (text, expected) in [
            ("0", "int 0"),
            ("-12", "int -12"),
            ("+5", "int 5"),
            ("1_000", "int 1000"),
            ("0x1F", "int 31"),
            ("0o17", "int 15"),
            ("0660", "int 432"),
            ("0b101", "int 5"),
            ("9223372036854775807", "int 9223372036854775807"),
            ("18446744073709551615", "float 18446744073709552000"),
            ("0x-1", "string 0x-1"),
            ("-", "string -"),
            ("08", "float 8"),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn numbers_with_a_fraction_or_an_exponent_are_floats() {
        for (text, expected) in [
            ("1.5", "float 1.5"),
            (".5", "float 0.5"),
            ("-2.", "float -2"),
            ("1e3", "float 1000"),
            (".inf", "float inf"),
            ("-.INF", "float -inf"),
            (".nan", "float NaN"),
            ("inf", "string inf"),
            ("nan", "string nan"),
            ("1.2.3", "string 1.2.3"),
            (".", "string ."),
            ("1e", "string 1e"),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn everything_else_is_text_null_or_a_boolean() {
        for (text, expected) in [
            ("", "null"),
            ("~", "null"),
            ("Null", "null"),
            ("TRUE", "bool true"),
            ("false", "bool false"),
            ("yes", "string yes"),
            ("5s", "string 5s"),
            ("2027-03-31", "string 2027-03-31"),
            ("localhost:4317", "string localhost:4317"),
        ] {
            check(text, expected);
        }
    }
}
