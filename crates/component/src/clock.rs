//! The one place that reads a clock. Everything else takes the time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point of time that never goes back, for deadlines and durations.
pub type Mono = Instant;

/// The monotonic clock.
#[allow(clippy::disallowed_methods)]
pub fn mono() -> Mono {
    Instant::now()
}

/// The wall clock, in nanoseconds since the Unix epoch; 0 before it.
#[allow(clippy::disallowed_methods)]
pub fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The wall clock, in milliseconds since the Unix epoch; 0 before it.
pub fn unix_ms() -> u64 {
    unix_ns() / 1_000_000
}
