//! One line: its three fields.

use otlp::NumberValue;

/// A longer line is nobody's sample.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// Why a line is not a sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// More bytes than [`LINE_BYTES_MAX`].
    #[error("a line of {size_bytes} bytes")]
    TooLong {
        /// How many.
        size_bytes: usize,
    },
    /// Not text.
    #[error("invalid UTF-8 at byte {offset}")]
    NotText {
        /// Where.
        offset: usize,
    },
    /// Not three fields.
    #[error("expected `path value timestamp`, found {found} fields")]
    Fields {
        /// How many.
        found: usize,
    },
    /// A value that is no number.
    #[error("`{value}` is no number")]
    Value {
        /// What stands there.
        value: String,
    },
    /// Not a number, which Graphite discards as well.
    #[error("the value is not a number (`nan`)")]
    NotANumber,
    /// A timestamp that is none.
    #[error("`{timestamp}` is no time in seconds since 1970")]
    Timestamp {
        /// What stands there.
        timestamp: String,
    },
    /// A path without a name.
    #[error("the path has no name")]
    NoName,
    /// A tag that is none.
    #[error("`{tag}` is no tag: expected `name=value`")]
    Tag {
        /// What stands there.
        tag: String,
    },
}

impl LineError {
    /// The word for metrics and ledgers.
    pub fn cause(&self) -> &'static str {
        match self {
            LineError::TooLong { .. } => "line_too_long",
            LineError::NotText { .. } => "invalid_utf8",
            LineError::Fields { .. } => "wrong_fields",
            LineError::Value { .. } => "wrong_value",
            LineError::NotANumber => "not_a_number",
            LineError::Timestamp { .. } => "wrong_timestamp",
            LineError::NoName => "no_name",
            LineError::Tag { .. } => "wrong_tag",
        }
    }
}

/// The fields of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) path: &'a str,
    pub(super) value: NumberValue,
    /// `None`: now.
    pub(super) time_unix_ns: Option<u64>,
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Result<Line<'a>, LineError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(LineError::TooLong { size_bytes: line.len() });
        }
        let text = std::str::from_utf8(line).map_err(|error| LineError::NotText { offset: error.valid_up_to() })?;
        let mut fields = text.split_ascii_whitespace();
        match (fields.next(), fields.next(), fields.next(), fields.next()) {
            (Some(path), Some(value), Some(timestamp), None) => {
                Ok(Line { path, value: number(value)?, time_unix_ns: time(timestamp)? })
            }
            _ => Err(LineError::Fields { found: text.split_ascii_whitespace().count() }),
        }
    }
}

/// Whole numbers stay whole; the others are doubles.
fn number(text: &str) -> Result<NumberValue, LineError> {
    // A negative zero is a double.
    if let (Ok(whole), true) = (text.parse(), text != "-0") {
        return Ok(NumberValue::Int(whole));
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_nan() => Err(LineError::NotANumber),
        Ok(value) => Ok(NumberValue::Double(value)),
        Err(_) => Err(LineError::Value { value: shown(text) }),
    }
}

/// Seconds, with or without a fraction. `-1` and `N` are now, as carbon's own receivers and collectd's clients have it.
fn time(text: &str) -> Result<Option<u64>, LineError> {
    if matches!(text, "-1" | "N") {
        return Ok(None);
    }
    let parsed = || {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole_ns = digits(whole)?.checked_mul(1_000_000_000)?;
        // Beyond nanoseconds there is nothing to keep.
        let kept = fraction.get(..fraction.len().min(9))?;
        let fraction_is_digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
        let fraction_ns = if kept.is_empty() { 0 } else { digits(kept)? * 10u64.pow(9 - kept.len() as u32) };
        whole_ns.checked_add(fraction_ns).filter(|_| fraction_is_digits)
    };
    parsed().map(Some).ok_or_else(|| LineError::Timestamp { timestamp: shown(text) })
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// As much of a field as belongs into a message.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let found = match Line::parse(line.as_bytes()) {
            Ok(Line { path, value, time_unix_ns }) => format!("{path} {value:?} {time_unix_ns:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn fields_stand_apart_by_any_blanks() {
        check("a.b 1 2", "a.b Int(1) Some(2000000000)");
        check("  a.b\t1   2 \r", "a.b Int(1) Some(2000000000)");
        check("a.b 1", "expected `path value timestamp`, found 2 fields");
        check("a.b 1 2 3", "expected `path value timestamp`, found 4 fields");
        check("", "expected `path value timestamp`, found 0 fields");
    }

    #[test]
    fn whole_numbers_stay_whole_and_infinity_is_a_value() {
        check("a -7 0", "a Int(-7) Some(0)");
        check("a 1.5e3 0", "a Double(1500.0) Some(0)");
        check("a 9223372036854775808 0", "a Double(9.223372036854776e18) Some(0)");
        check("a -inf 0", "a Double(-inf) Some(0)");
        check("a NaN 0", "the value is not a number (`nan`)");
        check("a 0x10 0", "`0x10` is no number");
    }

    #[test]
    fn times_are_seconds_or_now() {
        check("a 1 1700000000", "a Int(1) Some(1700000000000000000)");
        check("a 1 1700000000.25", "a Int(1) Some(1700000000250000000)");
        check("a 1 1.0000000019", "a Int(1) Some(1000000001)");
        check("a 1 -1", "a Int(1) None");
        check("a 1 N", "a Int(1) None");
        for wrong in ["-2", "1e9", "1.x", "1.-5", "+1", "18446744074", "99999999999999999999", "."] {
            check(&format!("a 1 {wrong}"), &format!("`{wrong}` is no time in seconds since 1970"));
        }
    }

    #[test]
    fn what_is_no_text_or_too_long_is_said_with_its_figures() {
        assert_eq!(Line::parse(b"a\xff 1 2"), Err(LineError::NotText { offset: 1 }));
        let long = vec![b'a'; LINE_BYTES_MAX + 1];
        assert_eq!(Line::parse(&long), Err(LineError::TooLong { size_bytes: LINE_BYTES_MAX + 1 }));
    }
}
