//! Points of time as people write them on the command line.

use std::time::Duration;

/// Reads `oldest`, a time such as `2026-11-26T09:30:00Z` (RFC 3339; a space instead of the `T` and an offset are
/// allowed), seconds since the Unix epoch, or how long ago it was, such as `90m`; gives nanoseconds since the Unix epoch.
pub(crate) fn parse(text: &str, now_unix_ns: u64) -> Result<u64, String> {
    let text = text.trim();
    if text == "oldest" {
        return Ok(0);
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000_000_000).ok_or_else(|| format!("`{text}` is too far away"));
    }
    let ago = text.strip_suffix("ago").unwrap_or(text).trim();
    if let Ok(ago) = config::duration::parse_go(ago.trim_start_matches('-')) {
        return Ok(now_unix_ns.saturating_sub(nanoseconds(ago)));
    }
    rfc_3339(text).ok_or_else(|| {
        format!("`{text}` is no time: expected `2026-11-26T09:30:00Z`, `90m` (so long ago), Unix seconds, or `oldest`")
    })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Reads a time such as `2026-11-26T09:30:00Z`, as nanoseconds since the Unix epoch.
pub(crate) fn rfc_3339(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next()?)?, number(date.next()?)?, number(date.next()?)?);
    if !(1970..=2500).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone_at);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.splitn(3, ':');
    let (hour, minute) = (number(clock.next()?)?, number(clock.next()?)?);
    let second = clock.next().map_or(Some(0), number)?;
    if hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
        return None;
    }
    let nanosecond = number(&format!("{fraction:0<9}"))?;
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let utc = seconds - offset_seconds(zone)?;
    u64::try_from(utc.checked_mul(1_000_000_000)?.checked_add(nanosecond)?).ok()
}

fn number(text: &str) -> Option<i64> {
    text.chars().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    Some(sign * (number(hours)? * 3600 + number(minutes)? * 60))
}

/// Days from 1970-01-01, in the Gregorian calendar; years begin in March here, so that the leap day is their last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000_000_000;

    fn check(text: &str, expected_s: f64) {
        let parsed = parse(text, NOW).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(parsed as f64 / 1e9, expected_s, "{text}");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        check("oldest", 0.0);
        check("1700000000", 1_700_000_000.0);
        check("90m", 1_800_000_000.0 - 5400.0);
        check("-1h", 1_800_000_000.0 - 3600.0);
        check("2h ago", 1_800_000_000.0 - 7200.0);
        check("1970-01-01T00:00:00Z", 0.0);
        check("2024-02-29T12:30:15.5Z", 1_709_209_815.5);
        check("2026-11-26 09:30+02:00", 1_795_678_200.0);
        check("2027-01-15T08:00:00-05:30", 1_800_019_800.0);
    }

    #[test]
    fn what_is_no_time_is_told() {
        for text in [
            "",
            "yesterday",
            "2400-01-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-26T25:00:00Z",
            "2026-11-26",
            "2026-11-26T09:30:00",
        ] {
            assert!(parse(text, NOW).is_err(), "{text}");
        }
    }
}
