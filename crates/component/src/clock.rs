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

/// A point of time as the calendar shows it, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// The year, from 1970 on.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59; leap seconds do not exist in Unix time.
    pub second: u32,
    /// 0 to 999,999,999.
    pub nanosecond: u32,
}

impl Calendar {
    /// The calendar's view of a point of time, given in nanoseconds since the Unix epoch.
    pub fn from_unix_ns(unix_ns: u64) -> Calendar {
        const DAYS_OF_400_YEARS: u64 = 146_097;
        let seconds = unix_ns / 1_000_000_000;
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        // Years begin in March here, so that the leap day is the last of its year; day 0 is 0000-03-01. After Howard
        // Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let days = days + 719_468;
        let (era, day_of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
        let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        // All of these fit: 64 bits of nanoseconds end in the year 2554.
        Calendar {
            year: year as u32,
            month: month as u32,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32,
            hour: (second_of_day / 3600) as u32,
            minute: (second_of_day / 60 % 60) as u32,
            second: (second_of_day % 60) as u32,
            nanosecond: (unix_ns % 1_000_000_000) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(unix_s: u64, expected: &str) {
        let Calendar { year, month, day, hour, minute, second, nanosecond } =
            Calendar::from_unix_ns(unix_s * 1_000_000_000 + 7);
        assert_eq!(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"), expected);
        assert_eq!(nanosecond, 7);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        check(0, "1970-01-01T00:00:00");
        check(951_782_399, "2000-02-28T23:59:59");
        check(951_782_400, "2000-02-29T00:00:00");
        check(951_868_800, "2000-03-01T00:00:00");
        check(1_581_452_772, "2020-02-11T20:26:12");
        check(1_735_689_599, "2024-12-31T23:59:59");
        check(4_107_542_400, "2100-03-01T00:00:00");
        check(18_446_744_072, "2554-07-21T23:34:32");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let day = |days: u64| Calendar::from_unix_ns(days * 86_400 * 1_000_000_000);
        for days in 0..150_000 {
            let (before, after) = (day(days), day(days + 1));
            let next_day = (after.year, after.month, after.day) == (before.year, before.month, before.day + 1);
            let next_month = (after.year, after.month, after.day) == (before.year, before.month + 1, 1);
            let next_year = (after.year, after.month, after.day) == (before.year + 1, 1, 1) && before.month == 12;
            assert!(next_day || (before.day >= 28 && (next_month || next_year)), "{before:?} {after:?}");
        }
    }
}
