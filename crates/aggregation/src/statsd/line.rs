//! One line: what a client wrote, as slices of it.
//!
//! `name:value|type`, then fields in any order: `|@rate`, `|#tags`, and those of DogStatsD. Nothing is copied and
//! nothing allocated. What is not understood is one of the causes of [`Malformed`]; fields that are not known are
//! passed over, as the DogStatsD protocol demands.
//!
//! Formats: <https://github.com/statsd/statsd/blob/master/docs/metric_types.md>,
//! <https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/> (protocol 1.0 to 1.6).

use memchr::{memchr, memchr2};

use super::Dialect;
use super::malformed::Malformed;
use super::value::{Value, parse_value};

/// A line with more tags than this is malformed.
pub const TAGS_MAX: usize = 256;

/// What kind of metric a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatsdType {
    /// `c`, and `m` (meter) where the dialect is not fixed to one that has none.
    Counter,
    /// `g`.
    Gauge,
    /// `s`.
    Set,
    /// `ms`.
    Timing,
    /// `h`.
    Histogram,
    /// `d`.
    Distribution,
}

impl StatsdType {
    /// What the Collector calls it, in the attribute `metric_type`.
    pub fn name(self) -> &'static str {
        match self {
            StatsdType::Counter => "counter",
            StatsdType::Gauge => "gauge",
            StatsdType::Set => "set",
            StatsdType::Timing => "timing",
            StatsdType::Histogram => "histogram",
            StatsdType::Distribution => "distribution",
        }
    }
}

/// How tags that stand in the name are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameTags {
    /// `name,k=v,k=v`: Influx and Telegraf.
    Influx,
    /// `name#k=v,k=v`: Librato.
    Librato,
    /// `name;k=v;k=v`: Graphite.
    Graphite,
    /// `na[k=v,k=v]me`: SignalFx.
    SignalFx,
}

/// A line before its fields are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The name, with any tags that stand in it.
    pub name: &'a [u8],
    /// The values, separated by colons.
    pub values: &'a [u8],
    /// The type and all that follows it.
    pub tail: &'a [u8],
}

/// A line about a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// The name, up to the tags in it.
    pub name: &'a [u8],
    /// What of the name stands behind the tags in it: only SignalFx has that.
    pub name_end: &'a [u8],
    /// The type.
    pub statsd_type: StatsdType,
    /// The values; one, unless they are packed.
    pub values: Values<'a>,
    /// The sample rate, above 0 and up to 1.
    pub rate: f64,
    /// The tags that stand in the name.
    pub name_tags: Option<(NameTags, &'a [u8])>,
    /// The tags behind `|#`, in DogStatsD's style.
    pub tags: &'a [u8],
    /// `c:` of DogStatsD 1.2 and 1.4, behind the colon.
    pub container_id: Option<&'a [u8]>,
    /// `T` of DogStatsD 1.3, in seconds since the Unix epoch.
    pub timestamp_s: Option<u64>,
    /// `e:` of DogStatsD 1.5, behind the colon.
    pub external_data: Option<&'a [u8]>,
    /// `card:` of DogStatsD 1.6, behind the colon.
    pub cardinality: Option<&'a [u8]>,
    /// Etsy's further samples of the same name: `2|ms` of `name:1|c:2|ms`.
    pub more: Option<&'a [u8]>,
}

/// The values of a line, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values<'a> {
    rest: Option<&'a [u8]>,
    packing: Packing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Allowed,
    One,
}

/// A tag: its key and its value, which is empty for a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; none for a flag.
    pub value: Option<&'a [u8]>,
}

/// Splits a line where its values begin and end.
///
/// # Errors
/// When there is no name, no value or no type.
#[inline]
pub fn split_head(line: &[u8]) -> Result<Head<'_>, Malformed> {
    let name_end = name_end(line)?;
    let (name, rest) = (&line[..name_end], &line[name_end + 1..]);
    let values_end = memchr(b'|', rest).ok_or(Malformed::TypeMissing)?;
    let (values, tail) = (&rest[..values_end], &rest[values_end + 1..]);
    if name.is_empty() {
        return Err(Malformed::NameEmpty);
    }
    if values.is_empty() {
        return Err(Malformed::ValueEmpty);
    }
    Ok(Head { name, values, tail })
}

/// The colon behind the name; one inside SignalFx's brackets is part of a tag.
#[inline]
fn name_end(line: &[u8]) -> Result<usize, Malformed> {
    let at = memchr2(b':', b'[', line).ok_or(Malformed::ValueMissing)?;
    if line[at] == b':' {
        return Ok(at);
    }
    let from = memchr(b']', &line[at..]).map_or(at, |close| at + close);
    memchr(b':', &line[from..]).map(|colon| from + colon).ok_or(Malformed::ValueMissing)
}

/// Reads a line about a metric.
///
/// # Errors
/// What is wrong with it. The values are not looked at.
pub fn parse_line(line: &[u8], dialect: Dialect) -> Result<Line<'_>, Malformed> {
    parse_fields(split_head(line)?, dialect)
}

/// Reads what [`split_head`] left.
///
/// # Errors
/// What is wrong with it. The values are not looked at.
pub fn parse_fields(head: Head<'_>, dialect: Dialect) -> Result<Line<'_>, Malformed> {
    let (tail, more) = match dialect {
        Dialect::Dogstatsd => (head.tail, None),
        Dialect::Etsy | Dialect::Auto => split_more(head.tail),
    };
    let mut fields = tail.split(|&byte| byte == b'|');
    let statsd_type = parse_type(fields.next().unwrap_or_default(), dialect)?;
    let (name, name_end, name_tags) = match dialect {
        Dialect::Dogstatsd => (head.name, &[][..], None),
        Dialect::Etsy | Dialect::Auto => split_name(head.name),
    };
    if name.is_empty() && name_end.is_empty() {
        return Err(Malformed::NameEmpty);
    }
    let packing = match (statsd_type, dialect) {
        (StatsdType::Set, _) | (_, Dialect::Etsy) => Packing::One,
        _ => Packing::Allowed,
    };
    let values = Values { rest: Some(head.values), packing };
    if dialect == Dialect::Etsy && statsd_type != StatsdType::Set && memchr(b':', head.values).is_some() {
        return Err(Malformed::TypeMissing);
    }
    let mut line = Line {
        name,
        name_end,
        statsd_type,
        values,
        rate: 1.0,
        name_tags,
        tags: &[],
        container_id: None,
        timestamp_s: None,
        external_data: None,
        cardinality: None,
        more,
    };
    for field in fields {
        line.field(field, dialect)?;
    }
    Ok(line)
}

impl<'a> Line<'a> {
    fn field(&mut self, field: &'a [u8], dialect: Dialect) -> Result<(), Malformed> {
        match field {
            [b'@', rate @ ..] => self.rate = parse_rate(rate)?,
            [b'#', tags @ ..] => self.tags = tags,
            [b'c', b':', id @ ..] => self.container_id = Some(id),
            [b'e', b':', data @ ..] => self.external_data = Some(data),
            [b'c', b'a', b'r', b'd', b':', cardinality @ ..] => self.cardinality = Some(cardinality),
            [b'T', seconds @ ..] if seconds.first().is_some_and(u8::is_ascii_digit) => {
                self.timestamp_s = Some(parse_timestamp(seconds)?);
            }
            // To Etsy's, a third field is the rate.
            [_, ..] if dialect == Dialect::Etsy => return Err(Malformed::Rate),
            _ => return Ok(()),
        }
        if self.timestamp_s.is_some() && !matches!(self.statsd_type, StatsdType::Counter | StatsdType::Gauge) {
            return Err(Malformed::Timestamp);
        }
        Ok(())
    }

    /// The tags in the name, then those behind `|#`. Empty ones between two commas are passed over.
    pub fn tags(&self) -> impl Iterator<Item = Tag<'a>> + use<'a> {
        let (separator, between, in_name) = match self.name_tags {
            None => (b',', b'=', &[][..]),
            Some((NameTags::Graphite, tags)) => (b';', b'=', tags),
            Some((_, tags)) => (b',', b'=', tags),
        };
        split_tags(in_name, separator, between).chain(split_tags(self.tags, b',', b':'))
    }
}

/// Tags behind `#` in DogStatsD's style, for events and service checks.
pub(super) fn dogstatsd_tags(tags: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    split_tags(tags, b',', b':')
}

fn split_tags(tags: &[u8], separator: u8, between: u8) -> impl Iterator<Item = Tag<'_>> {
    tags.split(move |&byte| byte == separator).filter(|tag| !tag.is_empty()).map(move |tag| {
        match memchr(between, tag) {
            Some(at) => Tag { key: &tag[..at], value: Some(&tag[at + 1..]) },
            None => Tag { key: tag, value: None },
        }
    })
}

/// Etsy's further samples begin behind a colon in the type or the rate.
fn split_more(tail: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut from = 0;
    loop {
        let end = memchr(b'|', &tail[from..]).map_or(tail.len(), |at| from + at);
        let field = &tail[from..end];
        if (from == 0 || field.first() == Some(&b'@'))
            && let Some(colon) = memchr(b':', field)
        {
            return (&tail[..from + colon], Some(&tail[from + colon + 1..]));
        }
        // Tags may have colons, and nothing follows them in Etsy's form.
        if end == tail.len() || field.first() == Some(&b'#') {
            return (tail, None);
        }
        from = end + 1;
    }
}

fn parse_type(text: &[u8], dialect: Dialect) -> Result<StatsdType, Malformed> {
    match text {
        b"c" => Ok(StatsdType::Counter),
        b"m" if dialect == Dialect::Auto => Ok(StatsdType::Counter),
        b"g" => Ok(StatsdType::Gauge),
        b"s" => Ok(StatsdType::Set),
        b"ms" => Ok(StatsdType::Timing),
        b"h" => Ok(StatsdType::Histogram),
        b"d" => Ok(StatsdType::Distribution),
        b"" => Err(Malformed::TypeMissing),
        _ => Err(Malformed::TypeUnknown),
    }
}

fn parse_rate(text: &[u8]) -> Result<f64, Malformed> {
    let rate: f64 = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Malformed::Rate)?;
    // A rate so small that its inverse is infinite would count as infinitely many.
    if rate > 0.0 && rate <= 1.0 && (1.0 / rate).is_finite() { Ok(rate) } else { Err(Malformed::RateOutOfRange) }
}

fn parse_timestamp(text: &[u8]) -> Result<u64, Malformed> {
    let seconds: u64 = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Malformed::Timestamp)?;
    // In nanoseconds it has to fit as well.
    if seconds == 0 || seconds.checked_mul(1_000_000_000).is_none() { Err(Malformed::Timestamp) } else { Ok(seconds) }
}

type SplitName<'a> = (&'a [u8], &'a [u8], Option<(NameTags, &'a [u8])>);

/// Finds tags in a name. Without a `=` behind it, a separator is part of the name.
fn split_name(name: &[u8]) -> SplitName<'_> {
    const NONE: &[u8] = &[];
    let Some(at) = name.iter().position(|byte| matches!(byte, b',' | b'#' | b';' | b'[')) else {
        return (name, NONE, None);
    };
    let behind = &name[at + 1..];
    if memchr(b'=', behind).is_none() {
        return (name, NONE, None);
    }
    let style = match name[at] {
        b',' => NameTags::Influx,
        b'#' => NameTags::Librato,
        b';' => NameTags::Graphite,
        _ => {
            let Some(close) = memchr(b']', behind) else { return (name, NONE, None) };
            return (&name[..at], &behind[close + 1..], Some((NameTags::SignalFx, &behind[..close])));
        }
    };
    (&name[..at], NONE, Some((style, behind)))
}

// === impl Values ===

impl<'a> Values<'a> {
    /// The values of a sample, packed or not.
    pub(super) fn packed(values: &'a [u8]) -> Values<'a> {
        Values { rest: Some(values), packing: Packing::Allowed }
    }

    /// The values as numbers, for all types but sets.
    pub fn numbers(self) -> impl Iterator<Item = Result<Value, Malformed>> + use<'a> {
        self.map(parse_value)
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match memchr(b':', rest).filter(|_| self.packing == Packing::Allowed) {
            Some(at) => {
                self.rest = Some(&rest[at + 1..]);
                Some(&rest[..at])
            }
            None => {
                self.rest = None;
                Some(rest)
            }
        }
    }
}
