//! Times of messages.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

use super::reader::Reader;
use super::{SyslogError, SyslogErrorKind};

/// Where clocks stand that say nothing of their zone: `location`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Universal time.
    pub const UTC: Zone = Zone(TimeZone::UTC);

    /// The zone of this name in the IANA database, such as `America/New_York`; none if it has none, or if the database
    /// is not on this machine.
    pub fn named(name: &str) -> Option<Zone> {
        if name == "UTC" {
            return Some(Zone::UTC);
        }
        TimeZone::get(name).ok().map(Zone)
    }
}

const RFC_3339: SyslogErrorKind = SyslogErrorKind::Timestamp("a time of RFC 3339, or `-`");
const OLD_TIME: SyslogErrorKind = SyslogErrorKind::Timestamp("a time such as `Oct 11 22:14:15`");

/// How far a clock may be ahead before its time is taken for one of a year ago.
const AHEAD_SECONDS_MAX: i64 = 7 * 86_400;

/// Nanoseconds since the Unix epoch, from the epoch on.
fn unix_ns(at: jiff::Timestamp) -> Option<u64> {
    u64::try_from(at.as_nanosecond()).ok()
}

fn two_digits(reader: &mut Reader<'_>) -> Option<i8> {
    reader.digits(2, 2).and_then(|number| i8::try_from(number).ok())
}

/// `22:14:15`, and `.003` behind it.
fn time_of_day(reader: &mut Reader<'_>) -> Option<Time> {
    let hour = two_digits(reader)?;
    let minute = reader.skips(b':').then(|| two_digits(reader))??;
    let second = reader.skips(b':').then(|| two_digits(reader))??;
    let mut nanosecond = 0;
    if reader.skips(b'.') {
        let digits = reader.rest().bytes().take(9).take_while(u8::is_ascii_digit).count();
        let fraction = i32::try_from(reader.digits(1, 9)?).ok()?;
        nanosecond = fraction * 10_i32.pow(9 - u32::try_from(digits).ok()?);
        // What is finer than that is no time of this world.
        let further = reader.rest().bytes().take_while(u8::is_ascii_digit).count();
        reader.skip(further);
    }
    Time::new(hour, minute, second, nanosecond).ok()
}

/// `2003-10-11T22:14:15.003Z`, with any offset.
fn rfc_3339(reader: &mut Reader<'_>) -> Option<jiff::Timestamp> {
    let year = reader.digits(4, 4).and_then(|year| i16::try_from(year).ok())?;
    let month = reader.skips(b'-').then(|| two_digits(reader))??;
    let day = reader.skips(b'-').then(|| two_digits(reader))??;
    let date = Date::new(year, month, day).ok()?;
    let time = reader.skips(b'T').then(|| time_of_day(reader))??;
    let offset = match reader.peek()? {
        b'Z' => {
            reader.skip(1);
            Offset::UTC
        }
        sign @ (b'+' | b'-') => {
            reader.skip(1);
            let hours = two_digits(reader).filter(|hours| *hours < 24)?;
            let minutes = reader.skips(b':').then(|| two_digits(reader))?.filter(|minutes| *minutes < 60)?;
            let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60;
            Offset::from_seconds(if sign == b'-' { -seconds } else { seconds }).ok()?
        }
        _ => return None,
    };
    offset.to_timestamp(DateTime::from_parts(date, time)).ok()
}

/// The time of RFC 5424, and the space behind it. `-` is none.
pub(super) fn read_new(reader: &mut Reader<'_>) -> Result<Option<u64>, SyslogError> {
    let error = reader.error(RFC_3339);
    if reader.rest().starts_with("- ") {
        reader.skip(2);
        return Ok(None);
    }
    let at = rfc_3339(reader).filter(|_| reader.skips(b' ')).ok_or(error)?;
    Ok(unix_ns(at))
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time of RFC 3164, and the space behind it.
pub(super) fn read_old(
    reader: &mut Reader<'_>,
    zone: &Zone,
    received_unix_ns: u64,
) -> Result<Option<u64>, SyslogError> {
    if reader.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        return read_new(reader);
    }
    let error = reader.error(OLD_TIME);
    let (date, time) = old_date(reader).filter(|_| reader.skips(b' ')).ok_or(error)?;
    match date {
        OldDate::Of(date) => Ok(resolve(DateTime::from_parts(date, time), zone).and_then(unix_ns)),
        OldDate::WithoutYear { month, day } => {
            let at = latest_year(month, day, time, zone, received_unix_ns);
            // February 30 exists in no year.
            at.map(unix_ns).ok_or(error)
        }
    }
}

enum OldDate {
    Of(Date),
    WithoutYear { month: i8, day: i8 },
}

/// `Oct 11 22:14:15`; the day may be padded with a space or a zero, and a year may follow it.
fn old_date(reader: &mut Reader<'_>) -> Option<(OldDate, Time)> {
    let name = reader.rest().get(..3)?;
    let month = MONTHS.iter().position(|month| *month == name).and_then(|at| i8::try_from(at + 1).ok())?;
    reader.skip(3);
    if !reader.skips(b' ') {
        return None;
    }
    reader.skips(b' ');
    let day = reader.digits(1, 2).and_then(|day| i8::try_from(day).ok())?;
    if !reader.skips(b' ') {
        return None;
    }
    let digits = reader.rest().bytes().take_while(u8::is_ascii_digit).count();
    let date = match digits {
        4 => {
            let year = reader.digits(4, 4).and_then(|year| i16::try_from(year).ok())?;
            reader.skips(b' ').then_some(OldDate::Of(Date::new(year, month, day).ok()?))?
        }
        _ => OldDate::WithoutYear { month, day },
    };
    Some((date, time_of_day(reader)?))
}

/// A time that daylight saving skips or repeats is read as most clocks would go on.
fn resolve(at: DateTime, zone: &Zone) -> Option<jiff::Timestamp> {
    zone.0.to_timestamp(at).ok()
}

/// The latest such time that is not ahead of the time of receipt by more than a clock may be.
fn latest_year(month: i8, day: i8, time: Time, zone: &Zone, received_unix_ns: u64) -> Option<jiff::Timestamp> {
    let received = jiff::Timestamp::from_nanosecond(i128::from(received_unix_ns)).ok()?;
    let year = zone.0.to_datetime(received).year();
    // Some eight years may lie between two days that are February 29.
    let years = (year.saturating_sub(8)..=year.saturating_add(1)).rev();
    let times = years.filter_map(|year| resolve(DateTime::from_parts(Date::new(year, month, day).ok()?, time), zone));
    let latest = received.as_second().saturating_add(AHEAD_SECONDS_MAX);
    let mut times = times.filter(|at| at.as_second() <= latest);
    times.next()
}
