//! Numbers as expositions spell them.

/// The NaN that stands for "not a number": what Prometheus stores for every NaN it reads.
pub const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// The NaN that says a series has ended: Prometheus' staleness marker.
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a value is the staleness marker. Any other NaN is a value.
pub fn is_stale_nan(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}

/// Reads a float as both formats spell it: decimal, with or without exponent; `Inf`, `Infinity` in any case, with or
/// without sign; `NaN` in any case, which becomes [`NORMAL_NAN`]. Hexadecimal floats, digit separators and numbers
/// beyond the range of a 64-bit float are refused, as Prometheus refuses them.
pub fn parse_float(text: &[u8]) -> Option<f64> {
    if let Some(value) = parse_short_integer(text) {
        return Some(value);
    }
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    let unsigned = text.trim_start_matches(['+', '-']);
    let is_word = unsigned.starts_with(|first: char| first.is_ascii_alphabetic());
    if value.is_nan() {
        return (unsigned.len() == text.len()).then_some(NORMAL_NAN);
    }
    (value.is_finite() || is_word).then_some(value)
}

/// Most values of counters and buckets are short integers; they need no general conversion.
fn parse_short_integer(text: &[u8]) -> Option<f64> {
    const DIGITS_EXACT: usize = 15;
    if text.is_empty() || text.len() > DIGITS_EXACT {
        return None;
    }
    let mut sum = 0_u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum * 10 + u64::from(digit);
    }
    Some(sum as f64)
}

/// A Unix timestamp in seconds with a fraction, as OpenMetrics writes it, in milliseconds, to the nearest.
pub(super) fn parse_seconds_as_ms(text: &[u8]) -> Option<i64> {
    const MS_MAX: f64 = 9.0e18;
    let ms = (parse_float(text)? * 1000.0).round();
    (ms.abs() < MS_MAX).then_some(ms as i64)
}

/// Appends a float in the shortest spelling that reads back as the same value. Whole numbers have no fraction.
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    const INTEGER_MAX: f64 = 1e15;
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value.fract() == 0.0 && value.abs() < INTEGER_MAX && !(value == 0.0 && value.is_sign_negative()) {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    }
}

/// The canonical spelling of `le` and `quantile` values: shortest, with a fraction or an exponent, exponents from 1e+06
/// and below 1e-04, `+Inf`. OpenMetrics asks for it ("Numbers", "Considerations: Canonical Numbers"), and Prometheus 3
/// rewrites label values to it while it scrapes, so that `le="1"` and `le="1.0"` are one series.
///
/// ```
/// use prom::text::canonical_float;
/// assert_eq!(canonical_float(1.0), "1.0");
/// assert_eq!(canonical_float(0.005), "0.005");
/// assert_eq!(canonical_float(1e6), "1e+06");
/// assert_eq!(canonical_float(f64::INFINITY), "+Inf");
/// ```
pub fn canonical_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let decimal = Decimal::of(value);
    let exponent = decimal.point - 1;
    let mut text = if (-4..6).contains(&exponent) { decimal.plain() } else { decimal.scientific() };
    if !text.contains(['.', 'e']) {
        text.push_str(".0");
    }
    text
}

/// A float in plain decimal notation without an exponent, shortest, whole numbers without a fraction: how the `le` and
/// `quantile` of series made from OTLP are spelled by the Collector's remote write exporter.
///
/// ```
/// use prom::text::plain_float;
/// assert_eq!(plain_float(1.0), "1");
/// assert_eq!(plain_float(2.5e-7), "0.00000025");
/// assert_eq!(plain_float(f64::INFINITY), "+Inf");
/// ```
pub fn plain_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    Decimal::of(value).plain()
}

/// The shortest decimal digits of a finite float: 0.`digits` x 10^`point`.
struct Decimal {
    negative: bool,
    digits: String,
    point: i32,
}

impl Decimal {
    fn of(value: f64) -> Self {
        let mut buffer = ryu::Buffer::new();
        let shortest = buffer.format_finite(value);
        let (negative, shortest) = match shortest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, shortest),
        };
        let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let leading_zeros = all.len() - all.trim_start_matches('0').len();
        let digits = all.trim_start_matches('0').trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Decimal { negative, digits: "0".to_owned(), point: 1 };
        }
        let exponent: i32 = exponent.parse().unwrap_or(0);
        Decimal { negative, digits, point: whole.len() as i32 - leading_zeros as i32 + exponent }
    }

    fn sign(&self) -> &'static str {
        if self.negative { "-" } else { "" }
    }

    fn plain(&self) -> String {
        let (sign, digits) = (self.sign(), &self.digits);
        let count = digits.len() as i32;
        if self.point <= 0 {
            return format!("{sign}0.{}{digits}", "0".repeat(self.point.unsigned_abs() as usize));
        }
        if self.point >= count {
            return format!("{sign}{digits}{}", "0".repeat((self.point - count) as usize));
        }
        let (whole, fraction) = digits.split_at(self.point as usize);
        format!("{sign}{whole}.{fraction}")
    }

    fn scientific(&self) -> String {
        let (first, rest) = self.digits.split_at(1);
        let fraction = if rest.is_empty() { String::new() } else { format!(".{rest}") };
        let exponent = self.point - 1;
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        format!("{}{first}{fraction}e{exponent_sign}{:02}", self.sign(), exponent.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(text: &str, value: f64) {
        let read = parse_float(text.as_bytes());
        assert_eq!(read.map(f64::to_bits), Some(value.to_bits()), "{text}");
    }

    fn refuses(text: &str) {
        assert_eq!(parse_float(text.as_bytes()), None, "{text}");
    }

    #[test]
    fn every_spelling_of_a_value_is_read() {
        reads("0", 0.0);
        reads("-0", -0.0);
        reads("+1", 1.0);
        reads("1.", 1.0);
        reads(".5", 0.5);
        reads("1e3", 1000.0);
        reads("1E-3", 0.001);
        reads("999999999999999", 999_999_999_999_999.0);
        reads("18446744073709551615", 18_446_744_073_709_551_615.0);
        reads("4.9351e-05", 4.9351e-05);
        for infinity in ["Inf", "+Inf", "inf", "INF", "Infinity", "+infinity"] {
            reads(infinity, f64::INFINITY);
        }
        reads("-Inf", f64::NEG_INFINITY);
        for nan in ["NaN", "nan", "NAN"] {
            reads(nan, NORMAL_NAN);
        }
    }

    #[test]
    fn what_prometheus_refuses_is_no_number() {
        for text in ["", "true", "1_2", "0x1p-3", "0x10", "1e", "--1", "+NaN", "-nan", "1e999", "1 ", "e3", "."] {
            refuses(text);
        }
    }

    #[test]
    fn the_staleness_marker_is_told_from_other_nans() {
        assert!(is_stale_nan(STALE_NAN));
        assert!(!is_stale_nan(NORMAL_NAN));
        assert!(!is_stale_nan(f64::NAN));
    }

    #[test]
    fn canonical_numbers_are_spelled_as_prometheus_spells_them() {
        let pairs = [
            (0.0, "0.0"),
            (-1.0, "-1.0"),
            (10.0, "10.0"),
            (999_999.0, "999999.0"),
            (1_000_000.0, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.25, "0.25"),
            (1e100, "1e+100"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, text) in pairs {
            assert_eq!(canonical_float(value), text);
        }
    }

    #[test]
    fn plain_numbers_have_no_exponent() {
        let pairs =
            [(0.0, "0"), (1e6, "1000000"), (1e21, "1000000000000000000000"), (0.00001, "0.00001"), (-2.5, "-2.5")];
        for (value, text) in pairs {
            assert_eq!(plain_float(value), text);
        }
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_bits() {
        let values = [0.0, -0.0, 1.0, -17.0, 0.1, 1e15, 1e300, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY];
        for value in values {
            let mut text = Vec::new();
            write_float(&mut text, value);
            reads(std::str::from_utf8(&text).expect("ASCII"), value);
            reads(&canonical_float(value), value);
            reads(&plain_float(value), value);
        }
    }

    #[test]
    fn seconds_become_the_nearest_millisecond() {
        assert_eq!(parse_seconds_as_ms(b"123.123"), Some(123_123));
        assert_eq!(parse_seconds_as_ms(b"1520879607.789"), Some(1_520_879_607_789));
        assert_eq!(parse_seconds_as_ms(b"-1"), Some(-1000));
        assert_eq!(parse_seconds_as_ms(b"NaN"), None);
        assert_eq!(parse_seconds_as_ms(b"Inf"), None);
        assert_eq!(parse_seconds_as_ms(b"1e300"), None);
    }
}
