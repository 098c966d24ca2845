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
