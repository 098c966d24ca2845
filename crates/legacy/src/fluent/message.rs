//! One message: its mode, its entries, its options.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use otlp::encode::{LogsEncoder, ScopeLogsWriter};
use rmpv::ValueRef;

use super::frame::Scan;
use super::record::{self, Heading, NoRecord};
use super::{Events, FluentError, Limits, Message};

/// Log records may be this many times as large as their message: each repeats the tag, and small values grow.
const GROWTH_MAX: usize = 4;
/// What a log record and one value of it take at most beside their bytes.
const RECORD_BYTES: usize = 64;
const VALUE_BYTES: usize = 16;

const NIL: u8 = 0xc0;

/// Reads one whole message.
///
/// `received_unix_ns` becomes the observed time of its log records.
///
/// # Errors
/// When it is none, or larger than allowed; nothing of it is taken then.
pub fn read_message(bytes: &[u8], received_unix_ns: u64, limits: &Limits) -> Result<Message, FluentError> {
    if bytes == [NIL] {
        return Ok(Message::Heartbeat);
    }
    let mut parts = Parts::new(bytes, limits);
    let count = parts.array_len().ok_or(FluentError::Expected { expected: "an array that begins with a tag" })?;
    if !(2..=4).contains(&count) {
        return Err(FluentError::Expected { expected: "an array of two to four parts" });
    }
    let tag = match parts.value(0)? {
        ValueRef::String(tag) => String::from_utf8_lossy(tag.as_bytes()).into_owned(),
        ValueRef::Binary(tag) => String::from_utf8_lossy(tag).into_owned(),
        _ => return Err(FluentError::Expected { expected: "a tag, which is text" }),
    };
    let second = parts.raw(0)?;
    let third = if count > 2 { Some(parts.raw(0)?) } else { None };
    let fourth = if count > 3 { Some(parts.raw(0)?) } else { None };
    let heading = Heading { tag: &tag, received_unix_ns, levels_max: limits.depth_max };
    let mut records = Records { heading, limits, left_bytes: GROWTH_MAX.saturating_mul(limits.message_bytes_max) };
    let mut encoder = LogsEncoder::new();
    let options = encoder.resource_logs(|block| {
        block.scope_logs(|scope| match (mode(second.bytes), third, fourth) {
            (Mode::Forward, options, None) => {
                records.forward(second.bytes, scope)?;
                Ok(options)
            }
            (Mode::Packed, options, None) => {
                let read = options.map(|options| Options::read(&options, limits)).transpose()?.unwrap_or_default();
                records.packed(&second, &read, scope)?;
                Ok(options)
            }
            (Mode::Message, Some(record), options) => {
                let (time, record_value) = (second.decode(0, limits)?, record.decode(0, limits)?);
                records.write(0, &time, &record_value, record.bytes.len(), record.values, scope)?;
                Ok(options)
            }
            _ => Err(FluentError::Expected { expected: "[tag, entries, option?] or [tag, time, record, option?]" }),
        })
    })?;
    let options = options.map(|options| Options::read(&options, limits)).transpose()?.unwrap_or_default();
    match options.signal {
        0 => Ok(Message::Events(Events { batch: encoder.finish(), chunk: options.chunk })),
        signal => Err(FluentError::OtherSignal { signal }),
    }
}

/// The answer to a message with a `chunk`: `{"ack": chunk}`.
pub fn ack(chunk: &[u8]) -> Vec<u8> {
    let chunk = match std::str::from_utf8(chunk) {
        Ok(text) => ValueRef::from(text),
        Err(_) => ValueRef::Binary(chunk),
    };
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let _ = rmpv::encode::write_value_ref(&mut out, &ValueRef::Map(vec![("ack".into(), chunk)]));
    out
}

/// How the second part of a message carries events.
enum Mode {
    Message,
    Forward,
    Packed,
}

const fn mode(second: &[u8]) -> Mode {
    match second.first() {
        Some(0x90..=0x9f | 0xdc | 0xdd) => Mode::Forward,
        Some(0xa0..=0xbf | 0xd9..=0xdb | 0xc4..=0xc6) => Mode::Packed,
        _ => Mode::Message,
    }
}

/// What a message says of itself.
#[derive(Default)]
struct Options {
    chunk: Option<Vec<u8>>,
    gzip: bool,
    signal: u64,
}

impl Options {
    fn read(raw: &Raw<'_>, limits: &Limits) -> Result<Options, FluentError> {
        let value = raw.decode(0, limits)?;
        let pairs = match &value {
            ValueRef::Map(pairs) => pairs.as_slice(),
            ValueRef::Nil => &[],
            _ => return Err(FluentError::Expected { expected: "options, which are a map" }),
        };
        let mut options = Options::default();
        for (key, value) in pairs {
            match (text(key), value) {
                (Some(b"chunk"), value) => options.chunk = text(value).filter(|it| !it.is_empty()).map(<[u8]>::to_vec),
                (Some(b"compressed"), value) => {
                    options.gzip = match text(value) {
                        Some(b"gzip") => true,
                        Some(b"text") | None => false,
                        Some(_) => return Err(FluentError::Expected { expected: "`compressed` to be `gzip`" }),
                    };
                }
                (Some(b"fluent_signal"), ValueRef::Integer(signal)) => options.signal = signal.as_u64().unwrap_or(0),
                _ => {}
            }
        }
        Ok(options)
    }
}

fn text<'v>(value: &'v ValueRef<'_>) -> Option<&'v [u8]> {
    match value {
        ValueRef::String(text) => Some(text.as_bytes()),
        ValueRef::Binary(bytes) => Some(bytes),
        _ => None,
    }
}

/// One value that is not decoded yet.
#[derive(Clone, Copy)]
struct Raw<'b> {
    bytes: &'b [u8],
    values: usize,
}

impl<'b> Raw<'b> {
    fn decode(&self, entry: usize, limits: &Limits) -> Result<ValueRef<'b>, FluentError> {
        if self.values > limits.entry_values_max {
            return Err(FluentError::TooManyValues { entry, limit: limits.entry_values_max });
        }
        // rmpv counts up to two for each level, and what the protocol itself nests; the writer counts exactly.
        let depth = 2 * limits.depth_max + 8;
        rmpv::decode::read_value_ref_with_max_depth(&mut &*self.bytes, depth).map_err(|error| match error {
            rmpv::decode::Error::DepthLimitExceeded => FluentError::TooDeep { entry, limit: limits.depth_max },
            _ => FluentError::BrokenOff { entry },
        })
    }
}

/// Values in a row.
struct Parts<'b> {
    bytes: &'b [u8],
    limits: &'b Limits,
}

impl<'b> Parts<'b> {
    const fn new(bytes: &'b [u8], limits: &'b Limits) -> Parts<'b> {
        Parts { bytes, limits }
    }

    /// Steps into an array: how many values follow.
    fn array_len(&mut self) -> Option<usize> {
        let (count, rest) = match self.bytes {
            [head @ 0x90..=0x9f, rest @ ..] => (usize::from(head & 15), rest),
            [0xdc, a, b, rest @ ..] => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            [0xdd, a, b, c, d, rest @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest),
            _ => return None,
        };
        self.bytes = rest;
        Some(count)
    }

    /// Steps over the next value.
    fn raw(&mut self, entry: usize) -> Result<Raw<'b>, FluentError> {
        let mut scan = Scan::new();
        let end = scan.advance(self.bytes, usize::MAX)?.ok_or(FluentError::BrokenOff { entry })?;
        let (bytes, rest) = self.bytes.split_at(end);
        self.bytes = rest;
        Ok(Raw { bytes, values: scan.values })
    }

    fn value(&mut self, entry: usize) -> Result<ValueRef<'b>, FluentError> {
        self.raw(entry)?.decode(entry, self.limits)
    }
}

/// Where log records go.
struct Records<'r> {
    heading: Heading<'r>,
    limits: &'r Limits,
    left_bytes: usize,
}

impl Records<'_> {
    fn forward(&mut self, entries: &[u8], scope: &mut ScopeLogsWriter<'_>) -> Result<(), FluentError> {
        let mut parts = Parts::new(entries, self.limits);
        let count = parts.array_len().unwrap_or(0);
        (0..count).try_for_each(|entry| self.entry(entry, &parts.raw(entry)?, scope))
    }

    fn packed(
        &mut self,
        packed: &Raw<'_>,
        options: &Options,
        scope: &mut ScopeLogsWriter<'_>,
    ) -> Result<(), FluentError> {
        let value = packed.decode(0, self.limits)?;
        let mut entries = Cow::Borrowed(text(&value).unwrap_or_default());
        if options.gzip {
            entries = Cow::Owned(unpack(&entries, self.limits.message_bytes_max)?);
        }
        let mut parts = Parts::new(&entries, self.limits);
        let mut entry = 0;
        while !parts.bytes.is_empty() {
            self.entry(entry, &parts.raw(entry)?, scope)?;
            entry += 1;
        }
        Ok(())
    }

    fn entry(&mut self, entry: usize, raw: &Raw<'_>, scope: &mut ScopeLogsWriter<'_>) -> Result<(), FluentError> {
        match raw.decode(entry, self.limits)? {
            ValueRef::Array(parts) if parts.len() == 2 => {
                self.write(entry, &parts[0], &parts[1], raw.bytes.len(), raw.values, scope)
            }
            _ => Err(FluentError::ExpectedInEntry { entry, expected: "[time, record]" }),
        }
    }

    fn write(
        &mut self,
        entry: usize,
        time: &ValueRef<'_>,
        record: &ValueRef<'_>,
        size_bytes: usize,
        values: usize,
        scope: &mut ScopeLogsWriter<'_>,
    ) -> Result<(), FluentError> {
        let size = RECORD_BYTES + self.heading.tag.len() + size_bytes + VALUE_BYTES * values;
        let too_large = FluentError::TooLarge { limit_bytes: GROWTH_MAX * self.limits.message_bytes_max };
        self.left_bytes = self.left_bytes.checked_sub(size).ok_or(too_large)?;
        record::write(&self.heading, time, record, scope).map_err(|error| match error {
            NoRecord::TooDeep => FluentError::TooDeep { entry, limit: self.limits.depth_max },
            NoRecord::NoTime => {
                FluentError::ExpectedInEntry { entry, expected: "a time: an integer, an EventTime, or nil" }
            }
        })
    }
}

/// Fluentd compresses each addition to a chunk by itself, so there may be any number of gzip members in a row.
fn unpack(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, FluentError> {
    let mut out = Vec::new();
    let mut limited = MultiGzDecoder::new(packed).take(bytes_max as u64 + 1);
    limited.read_to_end(&mut out).map_err(|error| FluentError::Gzip(error.to_string()))?;
    if out.len() > bytes_max {
        return Err(FluentError::TooLarge { limit_bytes: bytes_max });
    }
    Ok(out)
}
