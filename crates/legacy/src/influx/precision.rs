//! The unit of timestamps.

/// What a timestamp counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nanoseconds.
    #[default]
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes, in version 1 of the API only.
    Minutes,
    /// Hours, in version 1 of the API only.
    Hours,
}

impl Precision {
    /// By the names of both versions of the API.
    pub fn parse(name: &str) -> Option<Precision> {
        Some(match name {
            "ns" | "n" => Precision::Nanoseconds,
            "us" | "u" | "µs" | "µ" => Precision::Microseconds,
            "ms" => Precision::Milliseconds,
            "s" => Precision::Seconds,
            "m" => Precision::Minutes,
            "h" => Precision::Hours,
            _ => return None,
        })
    }

    /// The name that both versions of the API take, where they have one.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::Nanoseconds => "ns",
            Precision::Microseconds => "us",
            Precision::Milliseconds => "ms",
            Precision::Seconds => "s",
            Precision::Minutes => "m",
            Precision::Hours => "h",
        }
    }

    const fn unit_ns(self) -> i64 {
        match self {
            Precision::Nanoseconds => 1,
            Precision::Microseconds => 1_000,
            Precision::Milliseconds => 1_000_000,
            Precision::Seconds => 1_000_000_000,
            Precision::Minutes => 60_000_000_000,
            Precision::Hours => 3_600_000_000_000,
        }
    }

    /// Nanoseconds since the Unix epoch; `None` before it and beyond what InfluxDB's own 64 bits hold.
    pub fn to_unix_ns(self, timestamp: i64) -> Option<u64> {
        u64::try_from(timestamp.checked_mul(self.unit_ns())?).ok()
    }

    /// The timestamp of a time; what is finer than the unit is cut off.
    pub fn from_unix_ns(self, unix_ns: u64) -> i64 {
        i64::try_from(unix_ns).unwrap_or(i64::MAX) / self.unit_ns()
    }
}
