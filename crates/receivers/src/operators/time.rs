//! Times that records tell of themselves.

use config::Section;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

use super::OperatorError;
use super::entry::{Entry, Field, Value};
use super::layout::{Layout, Said, SaidZone, nanoseconds};
use super::settings::field;

/// Reads the time of a record from one of its fields.
#[derive(Clone, Debug)]
pub(crate) struct TimeParser {
    parse_from: Field,
    form: Form,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Form {
    Layout(Layout),
    Epoch(Unit),
}

/// What the digits before the point count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// Why a value is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTime {
    #[error("expected {expected} at byte {at}")]
    Text { expected: &'static str, at: usize },
    #[error("there is no such time, or it cannot be told in nanoseconds since 1970")]
    Range,
    #[error("expected text or a number, found {0}")]
    Kind(&'static str),
    #[error("expected a number of seconds, or of what the layout says")]
    Epoch,
    #[error("`{0}` does not say which time zone it is here; set `location`")]
    Zone(String),
}

impl TimeParser {
    /// Reads `parse_from`, `layout`, `layout_type` and `location`. `None`: the section has said what is wrong.
    pub(crate) fn read(section: &mut Section<'_>) -> Option<TimeParser> {
        let parse_from = field(section, "parse_from");
        if parse_from.is_none() && !section.has("parse_from") {
            section.error("parse_from", "is required: expected a field such as `attributes.time`");
        }
        let types = [("strptime", 0), ("gotime", 1), ("epoch", 2), ("native", 3)];
        let kind = section.get("layout_type").one_of(&types).or(0);
        let layout = section.get("layout");
        let form = match kind {
            0 => layout.parse_with("a layout such as `%Y-%m-%d`", Layout::strptime).required().map(Form::Layout),
            1 => layout.parse_with("a layout such as `2006-01-02`", Layout::go).required().map(Form::Layout),
            2 => layout.one_of(&UNITS).required().map(Form::Epoch),
            _ => {
                section.error("layout_type", "not built yet: `native`, for times of other inputs");
                None
            }
        };
        let zone = read_zone(section);
        Some(TimeParser { parse_from: parse_from?, form: form?, zone: zone? })
    }

    /// Sets the time of a record.
    pub(crate) fn apply(&self, entry: &mut Entry, now_unix_ns: u64) -> Result<(), OperatorError> {
        let value = self.parse_from.get(entry).ok_or_else(|| OperatorError::no_field(&self.parse_from))?;
        let time = self.time(value, now_unix_ns);
        entry.time_unix_ns = time.map_err(|error| OperatorError::Time { field: self.parse_from.to_string(), error })?;
        Ok(())
    }

    fn time(&self, value: &Value, now_unix_ns: u64) -> Result<u64, BadTime> {
        match (&self.form, value) {
            (Form::Layout(layout), Value::String(text)) => {
                let said = layout.read(text)?;
                to_unix_ns(&said, &self.zone, now_unix_ns)
            }
            (Form::Epoch(unit), Value::String(text)) => epoch(*unit, text),
            (Form::Epoch(unit), Value::Int(number)) => epoch(*unit, &number.to_string()),
            (Form::Epoch(unit), Value::Double(number)) => epoch(*unit, &number.to_string()),
            (_, other) => Err(BadTime::Kind(other.kind())),
        }
    }
}

/// `layout` of `epoch`. The part behind the point, if the layout has one, is read as far as it is given.
const UNITS: [(&str, Unit); 7] = [
    ("s", Unit::Seconds),
    ("ms", Unit::Milliseconds),
    ("us", Unit::Microseconds),
    ("ns", Unit::Nanoseconds),
    ("s.ms", Unit::Seconds),
    ("s.us", Unit::Seconds),
    ("s.ns", Unit::Seconds),
];

/// `location`: the zone of times that name none; by default that of this machine.
fn read_zone(section: &mut Section<'_>) -> Option<TimeZone> {
    let parse = |name: &str| match name {
        "Local" => Ok(TimeZone::system()),
        _ => TimeZone::get(name),
    };
    let location = section.get("location").string().non_empty().or("Local".to_owned());
    match parse(&location) {
        Ok(zone) => Some(zone),
        Err(error) => {
            section.error("location", format!("expected a time zone such as `Europe/Berlin`: {error}"));
            None
        }
    }
}

/// Digits with or without a fraction, exactly.
fn epoch(unit: Unit, text: &str) -> Result<u64, BadTime> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(BadTime::Epoch);
    }
    let whole: u64 = whole.parse().map_err(|_| BadTime::Range)?;
    let (worth, fraction_worth) = match unit {
        Unit::Seconds => (1_000_000_000, 1),
        Unit::Milliseconds => (1_000_000, 1_000),
        Unit::Microseconds => (1_000, 1_000_000),
        Unit::Nanoseconds => (1, 1_000_000_000),
    };
    let fraction = nanoseconds(fraction) as u64 / fraction_worth;
    whole.checked_mul(worth).and_then(|time| time.checked_add(fraction)).ok_or(BadTime::Range)
}

fn to_unix_ns(said: &Said, zone: &TimeZone, now_unix_ns: u64) -> Result<u64, BadTime> {
    let date = |year: i16| match said.day_of_year {
        Some(day) => Date::new(year, 1, 1).and_then(|date| date.with().day_of_year(day).build()),
        None => Date::new(year, said.month.unwrap_or(1), said.day.unwrap_or(1)),
    };
    let at = |year: i16| {
        let date = date(year).map_err(|_| BadTime::Range)?;
        let time = jiff::civil::Time::new(said.hour, said.minute, said.second, said.nanosecond);
        let civil = DateTime::from_parts(date, time.map_err(|_| BadTime::Range)?);
        let timestamp = match &said.zone {
            SaidZone::Nothing => zone.to_timestamp(civil).map_err(|_| BadTime::Range)?,
            SaidZone::OffsetSeconds(seconds) => {
                let offset = Offset::from_seconds(*seconds).map_err(|_| BadTime::Range)?;
                offset.to_timestamp(civil).map_err(|_| BadTime::Range)?
            }
            SaidZone::Name(name) => named(name, civil, zone)?,
        };
        unix_ns(timestamp)
    };
    let Some(year) = said.year else { return near_now(at, now_unix_ns) };
    at(year)
}

/// A zone by its abbreviation: that of UTC, or the one that the location has at this time.
fn named(name: &str, civil: DateTime, zone: &TimeZone) -> Result<Timestamp, BadTime> {
    let local = if matches!(name, "UTC" | "GMT" | "Z") { &TimeZone::UTC } else { zone };
    let timestamp = local.to_timestamp(civil).map_err(|_| BadTime::Range)?;
    let is_utc = matches!(name, "UTC" | "GMT" | "Z");
    match is_utc || local.to_offset_info(timestamp).abbreviation() == name {
        true => Ok(timestamp),
        false => Err(BadTime::Zone(name.to_owned())),
    }
}

/// A time without a year is of this year, or of the last if it would lie more than a week ahead, as in the Collector.
fn near_now(at: impl Fn(i16) -> Result<u64, BadTime>, now_unix_ns: u64) -> Result<u64, BadTime> {
    const WEEK_NS: u64 = 7 * 24 * 3_600 * 1_000_000_000;
    let now = Timestamp::from_nanosecond(i128::from(now_unix_ns)).map_err(|_| BadTime::Range)?;
    let year = Offset::UTC.to_datetime(now).year();
    match at(year) {
        Ok(time) if time <= now_unix_ns.saturating_add(WEEK_NS) => Ok(time),
        // This year has no 29 February, or it is the last year's.
        _ => at(year - 1),
    }
}

/// A time that is written as RFC 3339 says.
pub(super) fn rfc3339(text: &str) -> Result<u64, BadTime> {
    unix_ns(text.parse::<Timestamp>().map_err(|_| BadTime::Text { expected: "a time of RFC 3339", at: 0 })?)
}

fn unix_ns(timestamp: Timestamp) -> Result<u64, BadTime> {
    u64::try_from(timestamp.as_nanosecond()).map_err(|_| BadTime::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-26T12:00:00Z.
    const NOW: u64 = 1_795_694_400_000_000_000;

    fn read(form: &str, layout: &str, location: &str, text: &str) -> String {
        let form = match form {
            "gotime" => Layout::go(layout).map(Form::Layout),
            "epoch" => Ok(Form::Epoch(UNITS.iter().find(|(name, _)| *name == layout).unwrap().1)),
            _ => Layout::strptime(layout).map(Form::Layout),
        };
        let form = match form {
            Ok(form) => form,
            Err(error) => return error.to_string(),
        };
        let parser = TimeParser { parse_from: Field::BODY, form, zone: TimeZone::get(location).unwrap() };
        match parser.time(&text.into(), NOW) {
            Ok(unix_ns) => Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn strptime_layouts_are_read_as_the_collector_reads_them() {
        for (layout, text, expected) in [
            ("%Y-%m-%d %H:%M:%S", "2026-03-31 01:02:03", "2026-03-31T01:02:03Z"),
            ("%Y-%m-%d %H:%M:%S", "2026-03-31 01:02:03.25", "2026-03-31T01:02:03.25Z"),
            ("%Y-%m-%d %H:%M:%S,%L", "2026-03-31 01:02:03,250", "2026-03-31T01:02:03.25Z"),
            ("%Y-%m-%dT%H:%M:%S.%fZ", "2026-03-31T01:02:03.000001Z", "2026-03-31T01:02:03.000001Z"),
            ("%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"),
            ("%a %b %e %H:%M:%S %Y", "Sun Mar  1 01:02:03 2026", "2026-03-01T01:02:03Z"),
            ("%m/%d/%y %I:%M:%S %p", "03/31/26 12:02:03 AM", "2026-03-31T00:02:03Z"),
            ("%D %r", "03/31/2026 11:02:03 pm", "2026-03-31T23:02:03Z"),
            ("%F %T %Z", "2026-03-31 01:02:03 UTC", "2026-03-31T01:02:03Z"),
            ("%Y-%m-%dT%H:%M:%S%j", "2026-03-31T01:02:03+02:00", "2026-03-30T23:02:03Z"),
        ] {
            assert_eq!(read("strptime", layout, "UTC", text), expected, "{layout} {text}");
        }
    }

    #[test]
    fn gotime_layouts_are_examples() {
        for (layout, text, expected) in [
            ("2006-01-02T15:04:05Z07:00", "2026-03-31T01:02:03Z", "2026-03-31T01:02:03Z"),
            ("2006-01-02T15:04:05.000Z07:00", "2026-03-31T01:02:03.250+02:00", "2026-03-30T23:02:03.25Z"),
            ("Jan _2 15:04:05", "Nov 27 01:02:03", "2026-11-27T01:02:03Z"),
            ("Jan _2 15:04:05", "Dec 31 23:59:59", "2025-12-31T23:59:59Z"),
            ("2006.002", "2026.060", "2026-03-01T00:00:00Z"),
            ("Monday, 2 January 2006", "Sunday, 1 March 2026", "2026-03-01T00:00:00Z"),
        ] {
            assert_eq!(read("gotime", layout, "UTC", text), expected, "{layout} {text}");
        }
    }

    #[test]
    fn a_location_is_heeded_where_the_text_names_no_zone() {
        let check = |text: &str, expected: &str| {
            assert_eq!(read("strptime", "%F %T", "Europe/Berlin", text), expected);
        };
        check("2026-07-01 12:00:00", "2026-07-01T10:00:00Z");
        check("2026-01-01 12:00:00", "2026-01-01T11:00:00Z");
        assert_eq!(read("strptime", "%F %T %Z", "America/New_York", "2026-01-01 12:00:00 EST"), "2026-01-01T17:00:00Z");
        assert_eq!(
            read("strptime", "%F %T %Z", "UTC", "2026-01-01 12:00:00 EST"),
            "`EST` does not say which time zone it is here; set `location`"
        );
    }

    #[test]
    fn epochs_are_exact() {
        for (layout, text, expected) in [
            ("s", "1136214245", "2006-01-02T15:04:05Z"),
            ("ms", "1136214245123", "2006-01-02T15:04:05.123Z"),
            ("ns", "1136214245123456789", "2006-01-02T15:04:05.123456789Z"),
            ("s.ns", "1136214245.123456789", "2006-01-02T15:04:05.123456789Z"),
            ("s", "soon", "expected a number of seconds, or of what the layout says"),
            ("s", "99999999999999999999", "there is no such time, or it cannot be told in nanoseconds since 1970"),
        ] {
            assert_eq!(read("epoch", layout, "UTC", text), expected, "{layout} {text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_with_its_place() {
        let range = "there is no such time, or it cannot be told in nanoseconds since 1970";
        for (layout, text, expected) in [
            ("%Y-%m-%d", "2026-3-31", "expected a month at byte 5"),
            ("%Y-%m-%d", "2026-02-30", range),
            ("%Y-%m-%d", "1969-02-20", range),
            ("%Y-%m-%d", "2026-02-20x", "expected nothing more at byte 10"),
            ("%H:%M", "25:00", range),
            ("%Q", "", "`%Q` is no directive"),
            ("2006", "", "a strptime layout holds no digits; is `layout_type: gotime` meant?"),
            ("abc", "", "nothing in it stands for a part of a time"),
        ] {
            assert_eq!(read("strptime", layout, "UTC", text), expected, "{layout} {text}");
        }
    }

    #[test]
    fn no_text_makes_a_layout_panic() {
        let pieces =
            ["%Y", "%m", "%d", "%H", "%I", "%p", "%M", "%S", "%L", "%z", "%Z", "%a", "%b", "%j", " ", "-", "."];
        let texts =
            ["2026", "12", "31", "0", " ", "PM", "+02:00", "-0700", "Mon", "Jan", ".", ",", "é", "999999999999"];
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..20_000 {
            let layout: String = (0..8).map(|_| pieces[random.usize(0..pieces.len())]).collect();
            let text: String = (0..8).map(|_| texts[random.usize(0..texts.len())]).collect();
            read("strptime", &layout, "Europe/Berlin", &text);
        }
    }
}
