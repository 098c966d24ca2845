//! Layouts of times: how a configuration writes them, and how a text is read by one.
//!
//! A `gotime` layout is an example of the reference time Mon Jan 2 15:04:05 2006 -0700, as Go's package time has it. The
//! directives of a `strptime` layout stand for pieces of such a layout, as in the Collector.

use super::time::BadTime;

/// A piece of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Year4,
    Year2,
    Month(Digits),
    MonthName(&'static [&'static str; 12]),
    Day(Digits),
    DayOfYear,
    WeekdayName(&'static [&'static str; 7]),
    Hour24,
    Hour12(Digits),
    Minute(Digits),
    Second(Digits),
    /// Exactly so many digits behind a point or a comma.
    Fraction(usize),
    /// Digits behind a point or a comma, if there are any.
    AnyFraction,
    HalfDay,
    Zone(Zone),
    ZoneName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    /// Two, always.
    Two,
    /// One or two.
    OneOrTwo,
    /// One or two, or one behind a space.
    Spaced,
}

/// How an offset from UTC is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Zone {
    parts: usize,
    has_colons: bool,
    /// `Z` is UTC.
    has_z: bool,
}

/// What a text says of a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) year: Option<i16>,
    pub(super) month: Option<i8>,
    pub(super) day: Option<i8>,
    pub(super) day_of_year: Option<i16>,
    pub(super) hour: i8,
    pub(super) minute: i8,
    pub(super) second: i8,
    pub(super) nanosecond: i32,
    pub(super) zone: SaidZone,
}

/// What a text says of the zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum SaidZone {
    #[default]
    Nothing,
    OffsetSeconds(i32),
    Name(String),
}

/// A layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout(Vec<Piece>);

/// Why a text is no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLayout {
    #[error("`%{0}` is no directive")]
    Directive(char),
    #[error("a strptime layout holds no digits; is `layout_type: gotime` meant?")]
    Decimals,
    #[error("nothing in it stands for a part of a time")]
    NoPart,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const MONTHS_SHORT: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const DAYS_SHORT: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

const fn zone(parts: usize, has_colons: bool, has_z: bool) -> Piece {
    Piece::Zone(Zone { parts, has_colons, has_z })
}

/// The pieces that Go's layouts know; longer ones before those that they begin with.
static PIECES: [(&str, Piece); 33] = [
    ("January", Piece::MonthName(&MONTHS)),
    ("Jan", Piece::MonthName(&MONTHS_SHORT)),
    ("Monday", Piece::WeekdayName(&DAYS)),
    ("Mon", Piece::WeekdayName(&DAYS_SHORT)),
    ("MST", Piece::ZoneName),
    ("2006", Piece::Year4),
    ("__2", Piece::DayOfYear),
    ("002", Piece::DayOfYear),
    ("01", Piece::Month(Digits::Two)),
    ("02", Piece::Day(Digits::Two)),
    ("03", Piece::Hour12(Digits::Two)),
    ("04", Piece::Minute(Digits::Two)),
    ("05", Piece::Second(Digits::Two)),
    ("06", Piece::Year2),
    ("15", Piece::Hour24),
    ("_2", Piece::Day(Digits::Spaced)),
    ("PM", Piece::HalfDay),
    ("pm", Piece::HalfDay),
    ("Z07:00:00", zone(3, true, true)),
    ("Z070000", zone(3, false, true)),
    ("Z07:00", zone(2, true, true)),
    ("Z0700", zone(2, false, true)),
    ("Z07", zone(1, false, true)),
    ("-07:00:00", zone(3, true, false)),
    ("-070000", zone(3, false, false)),
    ("-07:00", zone(2, true, false)),
    ("-0700", zone(2, false, false)),
    ("-07", zone(1, false, false)),
    ("1", Piece::Month(Digits::OneOrTwo)),
    ("2", Piece::Day(Digits::OneOrTwo)),
    ("3", Piece::Hour12(Digits::OneOrTwo)),
    ("4", Piece::Minute(Digits::OneOrTwo)),
    ("5", Piece::Second(Digits::OneOrTwo)),
];

impl Layout {
    /// Reads a layout of Go.
    pub(super) fn go(text: &str) -> Result<Layout, BadLayout> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            // `_2006` is a literal underscore and a year.
            let known = PIECES.iter().find(|(word, _)| rest.starts_with(word) && !rest.starts_with("_2006"));
            let (piece, length) = match (fraction(rest), known) {
                (Some((piece, length)), _) => (piece, length),
                (None, Some((word, piece))) => (piece.clone(), word.len()),
                (None, None) => (Piece::Literal(character.to_string()), character.len_utf8()),
            };
            match (pieces.last_mut(), piece) {
                (Some(Piece::Literal(before)), Piece::Literal(more)) => before.push_str(&more),
                (_, piece) => pieces.push(piece),
            }
            rest = &rest[length..];
        }
        match pieces.iter().all(|piece| matches!(piece, Piece::Literal(_))) {
            true => Err(BadLayout::NoPart),
            false => Ok(Layout(pieces)),
        }
    }

    /// Reads a layout of directives.
    pub(super) fn strptime(text: &str) -> Result<Layout, BadLayout> {
        if text.contains(|c: char| c.is_ascii_digit()) {
            return Err(BadLayout::Decimals);
        }
        let mut go = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                go.push(character);
                continue;
            }
            let directive = characters.next().unwrap_or(' ');
            go.push_str(directive_in_go(directive).ok_or(BadLayout::Directive(directive))?);
        }
        Layout::go(&go)
    }
}

/// What stands for a directive, as the Collector's table has it.
fn directive_in_go(directive: char) -> Option<&'static str> {
    Some(match directive {
        'Y' => "2006",
        'y' => "06",
        'm' => "01",
        'o' => "_1",
        'q' => "1",
        'b' | 'h' => "Jan",
        'B' => "January",
        'd' => "02",
        'e' => "_2",
        'g' => "2",
        'a' => "Mon",
        'A' => "Monday",
        'H' => "15",
        'l' => "3",
        'I' => "03",
        'p' => "PM",
        'P' => "pm",
        'M' => "04",
        'S' => "05",
        'L' => "999",
        'f' => "999999",
        's' => "999999999",
        'Z' => "MST",
        'z' => "-0700",
        'w' => "-070000",
        'i' => "-07",
        'j' => "-07:00",
        'k' => "-07:00:00",
        'D' | 'x' => "01/02/2006",
        'F' => "2006-01-02",
        'T' | 'X' => "15:04:05",
        'r' => "03:04:05 pm",
        'R' => "15:04",
        'n' => "\n",
        't' => "\t",
        '%' => "%",
        'c' => "Mon Jan 02 15:04:05 2006",
        _ => return None,
    })
}

/// `.000`, `,999` and the like: the same digit behind a point or a comma, and no other digit after them.
fn fraction(rest: &str) -> Option<(Piece, usize)> {
    let digits = rest.strip_prefix(['.', ','])?;
    let digit = digits.chars().next().filter(|digit| matches!(digit, '0' | '9'))?;
    let count = digits.chars().take_while(|c| *c == digit).count();
    if digits[count..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let piece = if digit == '9' { Piece::AnyFraction } else { Piece::Fraction(count) };
    Some((piece, count + 1))
}

// === reading a text ===

impl Layout {
    /// What a text says.
    pub(super) fn read(&self, text: &str) -> Result<Said, BadTime> {
        let mut reader = Reader { text, rest: text, said: Said::default(), half: None };
        for (at, piece) in self.0.iter().enumerate() {
            reader.piece(piece)?;
            let next_is_fraction = matches!(self.0.get(at + 1), Some(Piece::Fraction(_) | Piece::AnyFraction));
            if matches!(piece, Piece::Second(_)) && !next_is_fraction {
                // Go takes a fraction of a second that the layout does not mention.
                reader.any_fraction();
            }
        }
        if !reader.rest.is_empty() {
            return Err(reader.wrong("nothing more"));
        }
        reader.finish()
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
    said: Said,
    half: Option<Half>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Morning,
    Afternoon,
}

impl Reader<'_> {
    fn wrong(&self, expected: &'static str) -> BadTime {
        BadTime::Text { expected, at: self.text.len() - self.rest.len() }
    }

    fn piece(&mut self, piece: &Piece) -> Result<(), BadTime> {
        match piece {
            Piece::Literal(literal) => self.literal(literal)?,
            Piece::Year4 => self.said.year = Some(self.digits(4, 4, "a year of four digits")? as i16),
            Piece::Year2 => {
                let year = self.digits(2, 2, "a year of two digits")? as i16;
                self.said.year = Some(if year >= 69 { 1900 + year } else { 2000 + year });
            }
            Piece::Month(digits) => self.said.month = Some(self.number(*digits, "a month")?),
            Piece::MonthName(names) => self.said.month = Some(self.name(&names[..], "the name of a month")? as i8 + 1),
            Piece::Day(digits) => self.said.day = Some(self.number(*digits, "a day")?),
            Piece::DayOfYear => {
                self.rest = self.rest.trim_start_matches(' ');
                self.said.day_of_year = Some(self.digits(1, 3, "a day of the year")? as i16);
            }
            Piece::WeekdayName(names) => drop(self.name(&names[..], "the name of a day")?),
            Piece::Hour24 => self.said.hour = self.number(Digits::OneOrTwo, "an hour")?,
            Piece::Hour12(digits) => self.said.hour = self.number(*digits, "an hour")?,
            Piece::Minute(digits) => self.said.minute = self.number(*digits, "a minute")?,
            Piece::Second(digits) => self.said.second = self.number(*digits, "a second")?,
            Piece::Fraction(count) => {
                self.rest = self.rest.strip_prefix(['.', ',']).ok_or_else(|| self.wrong("a fraction of a second"))?;
                let at = self.rest;
                self.digits(*count, *count, "a fraction of a second")?;
                self.said.nanosecond = nanoseconds(&at[..*count]);
            }
            Piece::AnyFraction => self.any_fraction(),
            Piece::HalfDay => {
                let half = self.name(&["AM", "PM"], "`AM` or `PM`")?;
                self.half = Some(if half == 0 { Half::Morning } else { Half::Afternoon });
            }
            Piece::Zone(zone) => self.said.zone = SaidZone::OffsetSeconds(self.offset(*zone)?),
            Piece::ZoneName => {
                let end = self.rest.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(self.rest.len());
                if !(1..=5).contains(&end) {
                    return Err(self.wrong("a time zone"));
                }
                self.said.zone = SaidZone::Name(self.rest[..end].to_owned());
                self.rest = &self.rest[end..];
            }
        }
        Ok(())
    }

    /// Spaces stand for any number of spaces, as in Go.
    fn literal(&mut self, literal: &str) -> Result<(), BadTime> {
        for character in literal.chars() {
            if character == ' ' {
                if !self.rest.is_empty() && !self.rest.starts_with(' ') {
                    return Err(self.wrong("a space"));
                }
                self.rest = self.rest.trim_start_matches(' ');
            } else {
                self.rest =
                    self.rest.strip_prefix(character).ok_or_else(|| self.wrong("what the layout has between"))?;
            }
        }
        Ok(())
    }

    fn number(&mut self, digits: Digits, expected: &'static str) -> Result<i8, BadTime> {
        if digits == Digits::Spaced {
            self.rest = self.rest.strip_prefix(' ').unwrap_or(self.rest);
        }
        let least = if digits == Digits::Two { 2 } else { 1 };
        Ok(self.digits(least, 2, expected)? as i8)
    }

    fn digits(&mut self, least: usize, most: usize, expected: &'static str) -> Result<u32, BadTime> {
        let count = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if count < least {
            return Err(self.wrong(expected));
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        // Fractions may be longer than a number; those are read by their digits.
        Ok(digits.parse().unwrap_or(0))
    }

    /// Which of the names it is, in any case.
    fn name(&mut self, names: &[&str], expected: &'static str) -> Result<usize, BadTime> {
        let is_there = |name: &&str| self.rest.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name));
        let found = names.iter().position(is_there).ok_or_else(|| self.wrong(expected))?;
        self.rest = &self.rest[names[found].len()..];
        Ok(found)
    }

    fn any_fraction(&mut self) {
        let Some(digits) = self.rest.strip_prefix(['.', ',']) else { return };
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        if count > 0 {
            self.said.nanosecond = nanoseconds(&digits[..count]);
            self.rest = &digits[count..];
        }
    }

    fn offset(&mut self, zone: Zone) -> Result<i32, BadTime> {
        if zone.has_z
            && let Some(rest) = self.rest.strip_prefix('Z')
        {
            self.rest = rest;
            return Ok(0);
        }
        let sign = match self.rest.chars().next() {
            Some('+') => 1,
            Some('-') => -1,
            _ => return Err(self.wrong("an offset from UTC")),
        };
        self.rest = &self.rest[1..];
        let mut seconds = 0;
        for (part, worth) in [3600, 60, 1].into_iter().enumerate().take(zone.parts) {
            if part > 0 && zone.has_colons {
                self.rest = self.rest.strip_prefix(':').ok_or_else(|| self.wrong("an offset from UTC"))?;
            }
            seconds += self.digits(2, 2, "an offset from UTC")? as i32 * worth;
        }
        Ok(sign * seconds)
    }

    fn finish(mut self) -> Result<Said, BadTime> {
        if let Some(half) = self.half {
            if !(1..=12).contains(&self.said.hour) {
                return Err(BadTime::Range);
            }
            self.said.hour = self.said.hour % 12 + if half == Half::Afternoon { 12 } else { 0 };
        }
        Ok(self.said)
    }
}

/// Digits behind the point, as nanoseconds; what is finer is cut off.
pub(super) fn nanoseconds(digits: &str) -> i32 {
    let digits = &digits[..digits.len().min(9)];
    let power = 10_i32.pow(9 - digits.len() as u32);
    digits.parse::<i32>().unwrap_or(0) * power
}
