//! Durations as Go writes them (`1m30s`) and as Prometheus writes them (`1d12h`).

use std::time::Duration;

/// Go keeps a duration in a signed 64-bit count of nanoseconds: about 292 years.
const NANOS_MAX: u128 = i64::MAX as u128;

const GO_UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The units of Prometheus, largest first: they must come in this order, each at most once.
const PROMETHEUS_UNITS: [(&str, u128); 7] = [
    ("y", 365 * 24 * 3_600_000_000_000),
    ("w", 7 * 24 * 3_600_000_000_000),
    ("d", 24 * 3_600_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
];

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number without a unit.
    #[error("a unit is missing: write `{0}s` for seconds or `{0}ms` for milliseconds")]
    UnitMissing(String),
    /// A unit that there is not.
    #[error("`{unit}` is no unit; the units are {known}")]
    UnitUnknown {
        /// What was written.
        unit: String,
        /// The units there are.
        known: &'static str,
    },
    /// Prometheus wants the units from large to small, each once, and whole numbers.
    #[error("the units must go from large to small, each once, as in `1d12h`")]
    UnitOrder,
    /// Less than nothing.
    #[error("it must not be negative")]
    Negative,
    /// More than 292 years.
    #[error("it is longer than 292 years")]
    TooLong,
    /// No number where one should be.
    #[error("it is not a number with a unit")]
    NotANumber,
}

const GO_UNITS_KNOWN: &str = "ns, us, ms, s, m and h";
const PROMETHEUS_UNITS_KNOWN: &str = "y, w, d, h, m, s and ms";

/// Reads a duration in Go's syntax: `1m30s`, `200ms`, `1.5h`, `0`. Never negative.
///
/// Syntax: <https://pkg.go.dev/time#ParseDuration>.
pub fn parse_go(text: &str) -> Result<Duration, DurationError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = unsigned;
    let mut nanos: u128 = 0;
    if rest.is_empty() {
        return Err(DurationError::NotANumber);
    }
    while !rest.is_empty() {
        let (whole, after) = split_while(rest, |c| c.is_ascii_digit());
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_while(after, |c| c.is_ascii_digit()),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(DurationError::NotANumber);
        }
        let (unit, after) = split_while(after, |c| c != '.' && !c.is_ascii_digit());
        if unit.is_empty() {
            return Err(DurationError::UnitMissing(rest.to_owned()));
        }
        let Some((_, scale)) = GO_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(DurationError::UnitUnknown { unit: unit.to_owned(), known: GO_UNITS_KNOWN });
        };
        nanos = add(nanos, whole, *scale)? + fraction_of(fraction, *scale);
        rest = after;
    }
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    from_nanos(nanos)
}

/// Reads a duration in Prometheus's syntax: `1d`, `1h30m`, `2w`, `500ms`, `0`.
///
/// Syntax: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/>, `<duration>`.
pub fn parse_prometheus(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos: u128 = 0;
    let mut units = PROMETHEUS_UNITS.iter();
    if rest.is_empty() {
        return Err(DurationError::NotANumber);
    }
    while !rest.is_empty() {
        let (whole, after) = split_while(rest, |c| c.is_ascii_digit());
        if whole.is_empty() {
            return Err(if rest.starts_with('-') { DurationError::Negative } else { DurationError::NotANumber });
        }
        let (unit, after) = split_while(after, |c| !c.is_ascii_digit());
        if unit.is_empty() {
            return Err(DurationError::UnitMissing(whole.to_owned()));
        }
        if !PROMETHEUS_UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(DurationError::UnitUnknown { unit: unit.to_owned(), known: PROMETHEUS_UNITS_KNOWN });
        }
        let Some((_, scale)) = units.find(|(name, _)| *name == unit) else { return Err(DurationError::UnitOrder) };
        nanos = add(nanos, whole, *scale)?;
        rest = after;
    }
    from_nanos(nanos)
}

/// A duration as Go would write it, for messages: `1m30s`, `200ms`.
pub fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut rest = nanos;
    let mut out = String::new();
    for (unit, scale) in [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ] {
        if rest >= scale {
            out.push_str(&format!("{}{unit}", rest / scale));
            rest %= scale;
        }
    }
    out
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}

fn add(nanos: u128, whole: &str, scale: u128) -> Result<u128, DurationError> {
    let whole: u128 = match whole.trim_start_matches('0') {
        "" => 0,
        digits => digits.parse().map_err(|_| DurationError::TooLong)?,
    };
    let sum = whole.checked_mul(scale).and_then(|more| nanos.checked_add(more)).ok_or(DurationError::TooLong)?;
    if sum > NANOS_MAX { Err(DurationError::TooLong) } else { Ok(sum) }
}

/// `0.fraction` of `scale`, exact to a nanosecond and cut below it, as Go does.
fn fraction_of(fraction: &str, scale: u128) -> u128 {
    let (mut value, mut divisor) = (0_u128, 1_u128);
    for digit in fraction.bytes().take(18) {
        value = value * 10 + u128::from(digit - b'0');
        divisor *= 10;
    }
    value * scale / divisor
}

fn from_nanos(nanos: u128) -> Result<Duration, DurationError> {
    if nanos > NANOS_MAX {
        return Err(DurationError::TooLong);
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| DurationError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(text: &str, expected: Result<u64, DurationError>) {
        assert_eq!(parse_go(text), expected.map(Duration::from_nanos), "for {text:?}");
    }

    fn prometheus(text: &str, expected_ms: Result<u64, DurationError>) {
        assert_eq!(parse_prometheus(text), expected_ms.map(Duration::from_millis), "for {text:?}");
    }

    #[test]
    fn go_durations_are_read_to_the_nanosecond() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("200ms", 200_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("7ns", 7),
            ("1.0000000019s", 1_000_000_001),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
            ("+5s", 5_000_000_000),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ] {
            go(text, Ok(nanos));
        }
    }

    #[test]
    fn a_text_that_is_no_go_duration_says_why() {
        let unknown = |unit: &str| DurationError::UnitUnknown { unit: unit.into(), known: GO_UNITS_KNOWN };
        go("", Err(DurationError::NotANumber));
        go("soon", Err(DurationError::NotANumber));
        go("5", Err(DurationError::UnitMissing("5".into())));
        go("1m30", Err(DurationError::UnitMissing("30".into())));
        go("1d", Err(unknown("d")));
        go("5 s", Err(unknown(" s")));
        go("-5s", Err(DurationError::Negative));
        go(".s", Err(DurationError::NotANumber));
        go("9223372036854775808ns", Err(DurationError::TooLong));
        go("300000000000000000000000000000000000000000000h", Err(DurationError::TooLong));
        go("3000000h", Err(DurationError::TooLong));
    }

    #[test]
    fn prometheus_durations_know_days_weeks_and_years() {
        for (text, ms) in [
            ("0", 0),
            ("1d", 86_400_000),
            ("1w", 604_800_000),
            ("1y", 31_536_000_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1m500ms", 60_500),
        ] {
            prometheus(text, Ok(ms));
        }
    }

    #[test]
    fn a_text_that_is_no_prometheus_duration_says_why() {
        prometheus("1m1h", Err(DurationError::UnitOrder));
        prometheus("1m1m", Err(DurationError::UnitOrder));
        prometheus("15", Err(DurationError::UnitMissing("15".into())));
        prometheus("1.5h", Err(DurationError::UnitUnknown { unit: ".".into(), known: PROMETHEUS_UNITS_KNOWN }));
        prometheus("-1m", Err(DurationError::Negative));
        prometheus("", Err(DurationError::NotANumber));
        prometheus("293y", Err(DurationError::TooLong));
    }

    #[test]
    fn a_shown_duration_reads_back_the_same() {
        for nanos in [0, 1, 999, 1_500_000, 90_000_000_000, 5_400_000_000_001, i64::MAX as u64] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse_go(&show(duration)), Ok(duration));
        }
    }
}
