//! Sizes in bytes: `20MiB`, `256MB`, `1048576`.

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// A unit that there is not.
    #[error("`{0}` is no unit; the units are B, KB, MB, GB, TB and KiB, MiB, GiB, TiB")]
    UnitUnknown(String),
    /// Less than nothing.
    #[error("it must not be negative")]
    Negative,
    /// It does not fit 64 bits.
    #[error("it is larger than 64 bits can say")]
    TooLarge,
    /// No number where one should be.
    #[error("it is not a number of bytes, with or without a unit")]
    NotANumber,
}

/// What `KB`, `MB` and so on count in. `KiB` is always 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeBase {
    /// `1KB` is 1000 bytes, as the units are defined.
    Decimal,
    /// `1KB` is 1024 bytes, as Prometheus reads them in `body_size_limit`.
    Binary,
}

/// Reads a size: a number with or without a fraction, and a unit; without a unit it counts bytes.
pub fn parse(text: &str, base: SizeBase) -> Result<u64, SizeError> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(SizeError::Negative);
    }
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = scale_of(unit.trim(), base).ok_or_else(|| SizeError::UnitUnknown(unit.trim().to_owned()));
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale?).ok_or(SizeError::TooLarge);
    }
    let value: f64 = number.parse().map_err(|_| SizeError::NotANumber)?;
    let bytes = value * scale? as f64;
    if bytes >= u64::MAX as f64 { Err(SizeError::TooLarge) } else { Ok(bytes as u64) }
}

fn scale_of(unit: &str, base: SizeBase) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let power = match unit.as_bytes().first() {
        None | Some(b'b') => 0,
        Some(b'k') => 1,
        Some(b'm') => 2,
        Some(b'g') => 3,
        Some(b't') => 4,
        Some(_) => return None,
    };
    let step: u64 = match (unit.get(1..).unwrap_or_default(), power, base) {
        ("", 0, _) => 1,
        ("ib", 1.., _) | ("" | "b", 1.., SizeBase::Binary) => 1024,
        ("" | "b", 1.., SizeBase::Decimal) => 1000,
        _ => return None,
    };
    Some(step.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u64, SizeError>) {
        let actual = parse(text, SizeBase::Decimal);
        assert_eq!((text, actual), (text, expected));
    }

    #[test]
    fn sizes_are_read_with_decimal_and_binary_units() {
        check("1048576", Ok(1 << 20));
        check("0", Ok(0));
        check("20MiB", Ok(20 << 20));
        check("256MB", Ok(256_000_000));
        check("1.5GiB", Ok(3 << 29));
        check("4 KiB", Ok(4096));
        check("10k", Ok(10_000));
        check("7B", Ok(7));
        check("2tib", Ok(2 << 40));
    }

    #[test]
    fn prometheus_counts_a_megabyte_as_1024_times_1024() {
        assert_eq!(parse("10MB", SizeBase::Binary), Ok(10 << 20));
        assert_eq!(parse("10MiB", SizeBase::Binary), Ok(10 << 20));
    }

    #[test]
    fn a_text_that_is_no_size_says_why() {
        check("", Err(SizeError::NotANumber));
        check("much", Err(SizeError::NotANumber));
        check("10 parsecs", Err(SizeError::UnitUnknown("parsecs".into())));
        check("-1MiB", Err(SizeError::Negative));
        check("1.2.3", Err(SizeError::NotANumber));
        check("20000000000GiB", Err(SizeError::TooLarge));
        check("99999999999999999999999", Err(SizeError::TooLarge));
    }
}
