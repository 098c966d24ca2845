//! Numbers as clients write them.

use super::malformed::Malformed;

/// A number that stays whole as long as it can.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Written without a fraction or an exponent.
    Int(i64),
    /// Everything else; always finite.
    Float(f64),
}

/// Whether a value was written with a sign, which makes a gauge relative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// `5`.
    Absent,
    /// `+5` or `-5`.
    Present,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The number.
    pub number: Number,
    /// Whether it was signed.
    pub sign: Sign,
}

impl Number {
    /// The number as a double; above 2^53 the nearest one.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            Number::Float(float) => float,
        }
    }
}

/// Digits that fit into an `i64` whatever they are.
const DIGITS_MAX: usize = 18;

/// Reads one value.
///
/// # Errors
/// When it is empty, no number, or none that is finite.
#[inline]
pub fn parse_value(text: &[u8]) -> Result<Value, Malformed> {
    let (sign, negative, digits) = match text {
        [b'-', digits @ ..] => (Sign::Present, true, digits),
        [b'+', digits @ ..] => (Sign::Present, false, digits),
        digits => (Sign::Absent, false, digits),
    };
    if digits.len() <= DIGITS_MAX && !digits.is_empty() {
        let mut int = 0_i64;
        let mut whole = true;
        for &digit in digits {
            let digit = digit.wrapping_sub(b'0');
            whole &= digit < 10;
            int = int.wrapping_mul(10).wrapping_add(i64::from(digit));
        }
        if whole {
            return Ok(Value { number: Number::Int(if negative { -int } else { int }), sign });
        }
    }
    Ok(Value { number: parse_slow(text, digits)?, sign })
}

#[cold]
fn parse_slow(text: &[u8], digits: &[u8]) -> Result<Number, Malformed> {
    if text.is_empty() {
        return Err(Malformed::ValueEmpty);
    }
    // A second sign would be taken by the standard library's parser, were it given the digits.
    let text = std::str::from_utf8(text).map_err(|_| Malformed::Value)?;
    if digits.iter().all(u8::is_ascii_digit)
        && let Ok(int) = text.parse()
    {
        return Ok(Number::Int(int));
    }
    let float: f64 = text.parse().map_err(|_| Malformed::Value)?;
    if float.is_finite() { Ok(Number::Float(float)) } else { Err(Malformed::ValueNotFinite) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<Number, Malformed>) {
        assert_eq!(parse_value(text.as_bytes()).map(|value| value.number), expected, "{text}");
    }

    #[test]
    fn whole_numbers_stay_whole_as_far_as_an_integer_goes() {
        check("0", Ok(Number::Int(0)));
        check("-0", Ok(Number::Int(0)));
        check("+007", Ok(Number::Int(7)));
        check("999999999999999999", Ok(Number::Int(999_999_999_999_999_999)));
        check("-9223372036854775808", Ok(Number::Int(i64::MIN)));
        check("9223372036854775807", Ok(Number::Int(i64::MAX)));
        check("9223372036854775808", Ok(Number::Float(9_223_372_036_854_775_808.0)));
        check("0000000000000000000000001", Ok(Number::Int(1)));
    }

    #[test]
    fn all_else_is_the_nearest_double() {
        check("1.0", Ok(Number::Float(1.0)));
        check(".5", Ok(Number::Float(0.5)));
        check("5.", Ok(Number::Float(5.0)));
        check("-1e-3", Ok(Number::Float(-0.001)));
        check("1E3", Ok(Number::Float(1000.0)));
        check("1e-400", Ok(Number::Float(0.0)));
    }

    #[test]
    fn what_is_no_finite_number_is_refused() {
        for text in ["-", "+", "--1", "+-1", "1-", "0x10", "1_000", "1,5", " 1", "e5", ".", "1e", "\u{661}"] {
            check(text, Err(Malformed::Value));
        }
        for text in ["nan", "-NaN", "inf", "+Infinity", "1e999", "-1e999"] {
            check(text, Err(Malformed::ValueNotFinite));
        }
        check("", Err(Malformed::ValueEmpty));
    }
}
