//! Where a MessagePack value ends.
//!
//! Specification: [MessagePack](https://github.com/msgpack/msgpack/blob/master/spec.md), "Formats". Nothing is decoded
//! here: a value's first byte says how many bytes and how many further values belong to it.

use super::{FluentError, Limits};

/// Finds the end of the message that begins a buffer, across as many calls as its bytes take to arrive.
#[derive(Clone, Copy, Debug)]
pub struct Framer {
    scan: Scan,
}

impl Default for Framer {
    fn default() -> Self {
        Framer { scan: Scan::new() }
    }
}

impl Framer {
    /// The offset behind the message; none when its end has not arrived. What was looked at before is not looked at
    /// again: `buffer` must begin with the same bytes in each call, until a message was found.
    ///
    /// # Errors
    /// When this is no MessagePack, or a message larger than allowed, which is known as soon as a length says so.
    pub fn message_end(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, FluentError> {
        let end = self.scan.advance(buffer, limits.message_bytes_max)?;
        if end.is_some() {
            *self = Framer::default();
        }
        Ok(end)
    }
}

/// How far a value has been looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    /// Behind the last value that was looked at.
    at: usize,
    /// Values that are still to come.
    pending: usize,
    /// Values that were looked at.
    pub(super) values: usize,
}

/// What the first byte of a value says.
#[derive(Clone, Copy)]
enum Head {
    /// So many bytes follow.
    Scalar(usize),
    /// A length of so many bytes follows, and as many bytes as it says, and one for the type of an extension.
    Sized { length_bytes: usize, type_bytes: usize },
    /// So many values follow.
    Values(usize),
    /// A length of so many bytes follows, and so many values for each of what it counts.
    Counted { length_bytes: usize, values_each: usize },
    /// `0xc1`, which is never used.
    Never,
}

impl Head {
    const fn of(byte: u8) -> Head {
        match byte {
            0x80..=0x8f => Head::Values(2 * (byte & 15) as usize),
            0x90..=0x9f => Head::Values((byte & 15) as usize),
            0xa0..=0xbf => Head::Scalar((byte & 31) as usize),
            0xc1 => Head::Never,
            0xc4..=0xc6 => Head::Sized { length_bytes: 1 << (byte - 0xc4), type_bytes: 0 },
            0xc7..=0xc9 => Head::Sized { length_bytes: 1 << (byte - 0xc7), type_bytes: 1 },
            0xca => Head::Scalar(4),
            0xcb => Head::Scalar(8),
            0xcc..=0xcf => Head::Scalar(1 << (byte - 0xcc)),
            0xd0..=0xd3 => Head::Scalar(1 << (byte - 0xd0)),
            0xd4..=0xd8 => Head::Scalar(1 + (1 << (byte - 0xd4))),
            0xd9..=0xdb => Head::Sized { length_bytes: 1 << (byte - 0xd9), type_bytes: 0 },
            0xdc | 0xdd => Head::Counted { length_bytes: 2 << (byte - 0xdc), values_each: 1 },
            0xde | 0xdf => Head::Counted { length_bytes: 2 << (byte - 0xde), values_each: 2 },
            // Small integers, nil and booleans.
            _ => Head::Scalar(0),
        }
    }
}

impl Scan {
    pub(super) const fn new() -> Scan {
        Scan { at: 0, pending: 1, values: 0 }
    }

    /// Goes on to the end of the value, which is returned, or as far as the buffer goes.
    pub(super) fn advance(&mut self, buffer: &[u8], bytes_max: usize) -> Result<Option<usize>, FluentError> {
        let too_large = FluentError::TooLarge { limit_bytes: bytes_max };
        while self.pending > 0 {
            let Some(byte) = buffer.get(self.at) else { return Ok(None) };
            let (end, nested) = match Head::of(*byte) {
                Head::Never => return Err(FluentError::NoMessagePack { offset: self.at }),
                Head::Scalar(bytes) => (self.at + 1 + bytes, 0),
                Head::Values(values) => (self.at + 1, values),
                Head::Sized { length_bytes, type_bytes } => {
                    let Some(length) = self.length(buffer, length_bytes) else { return Ok(None) };
                    (self.at + 1 + length_bytes + type_bytes + length, 0)
                }
                Head::Counted { length_bytes, values_each } => {
                    let Some(length) = self.length(buffer, length_bytes) else { return Ok(None) };
                    (self.at + 1 + length_bytes, length * values_each)
                }
            };
            let pending = self.pending - 1 + nested;
            // Every value takes a byte at least.
            if end.saturating_add(pending) > bytes_max {
                return Err(too_large);
            }
            if end > buffer.len() {
                return Ok(None);
            }
            *self = Scan { at: end, pending, values: self.values + 1 };
        }
        Ok(Some(self.at))
    }

    fn length(&self, buffer: &[u8], length_bytes: usize) -> Option<usize> {
        let bytes = buffer.get(self.at + 1..self.at + 1 + length_bytes)?;
        // Four bytes at most.
        Some(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }
}
