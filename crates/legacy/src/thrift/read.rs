//! What both protocols share in reading: bounds, nesting, skipping.

use std::borrow::Cow;

use super::{Kind, Malformed, MalformedKind, MessageKind, Protocol, binary, compact};

/// Reads values of Thrift, one after another.
///
/// After an error the reader stands where it stopped; what comes next has no meaning.
#[derive(Debug)]
pub struct Reader<'a> {
    pub(super) protocol: Protocol,
    input: &'a [u8],
    at: usize,
    depth: u16,
    /// The truth value that the compact protocol put into the header of a field.
    pub(super) in_header: Option<bool>,
}

/// The head of a field of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its id.
    pub id: i16,
    /// The type of its value, which comes next.
    pub kind: Kind,
}

/// The head of a message. The struct of its arguments comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The method.
    pub name: Cow<'a, str>,
    /// What it is for.
    pub kind: MessageKind,
    /// What the reply has to repeat.
    pub sequence: i32,
}

impl<'a> Reader<'a> {
    /// How deep structs, lists, sets and maps may stand in each other.
    pub const DEPTH_MAX: u16 = 32;

    /// A reader of these bytes.
    pub fn new(protocol: Protocol, input: &'a [u8]) -> Self {
        Reader { protocol, input, at: 0, depth: 0, in_header: None }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// The head of a message. The binary protocol has two, with and without a version; both are read.
    ///
    /// # Errors
    /// It is the head of something else.
    pub fn message(&mut self) -> Result<Message<'a>, Malformed> {
        match self.protocol {
            Protocol::Binary => binary::message(self),
            Protocol::Compact => compact::message(self),
        }
    }

    /// The fields of a struct. `read` is called with the head of each, and has to read or to skip its value.
    ///
    /// # Errors
    /// The first fault, here or in `read`.
    pub fn fields(&mut self, mut read: impl FnMut(&mut Self, Field) -> Result<(), Malformed>) -> Result<(), Malformed> {
        self.nested(|reader| {
            let mut last_id = 0;
            loop {
                let field = match reader.protocol {
                    Protocol::Binary => binary::field(reader)?,
                    Protocol::Compact => compact::field(reader, last_id)?,
                };
                let Some(field) = field else { return Ok(()) };
                last_id = field.id;
                read(reader, field)?;
                // A value that nobody took belongs to no later field.
                reader.in_header = None;
            }
        })
    }

    /// A list or a set of values of one type. `read` is called for each; where the elements are of another type than
    /// `kind`, all are skipped, as for a field of another type than its own.
    ///
    /// # Errors
    /// The first fault, here or in `read`.
    pub fn list(
        &mut self,
        kind: Kind,
        mut read: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.nested(|reader| {
            let (found, count) = match reader.protocol {
                Protocol::Binary => binary::list(reader)?,
                Protocol::Compact => compact::list(reader)?,
            };
            reader.check_count(count, reader.size_min(found))?;
            for _ in 0..count {
                if found == kind {
                    read(reader)?;
                } else {
                    reader.skip(found)?;
                }
            }
            Ok(())
        })
    }

    /// A truth value.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        if let Some(value) = self.in_header.take() {
            return Ok(value);
        }
        // The compact protocol has 1 for true and 2 for false in lists, and some write 0 for false as well.
        Ok(self.byte()? == 1)
    }

    /// 8 bits, signed.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn i8(&mut self) -> Result<i8, Malformed> {
        Ok(i8::from_be_bytes([self.byte()?]))
    }

    /// 16 bits, signed.
    ///
    /// # Errors
    /// The bytes end before, or it is larger.
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        match self.protocol {
            Protocol::Binary => Ok(i16::from_be_bytes(self.array()?)),
            Protocol::Compact => compact::i16(self),
        }
    }

    /// 32 bits, signed.
    ///
    /// # Errors
    /// The bytes end before, or it is larger.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        match self.protocol {
            Protocol::Binary => Ok(i32::from_be_bytes(self.array()?)),
            Protocol::Compact => compact::i32(self),
        }
    }

    /// 64 bits, signed.
    ///
    /// # Errors
    /// The bytes end before, or it is larger.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        match self.protocol {
            Protocol::Binary => Ok(i64::from_be_bytes(self.array()?)),
            Protocol::Compact => compact::i64(self),
        }
    }

    /// A double.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn double(&mut self) -> Result<f64, Malformed> {
        match self.protocol {
            Protocol::Binary => Ok(f64::from_be_bytes(self.array()?)),
            Protocol::Compact => Ok(f64::from_le_bytes(self.array()?)),
        }
    }

    /// Bytes.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = match self.protocol {
            Protocol::Binary => binary::size(self)?,
            Protocol::Compact => compact::size(self)?,
        };
        self.take(length)
    }

    /// Text. What is not UTF-8 in it becomes U+FFFD: Thrift lets everything through, and OTLP does not.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn text(&mut self) -> Result<Cow<'a, str>, Malformed> {
        Ok(String::from_utf8_lossy(self.bytes()?))
    }

    /// Reads a value and forgets it.
    ///
    /// # Errors
    /// The first fault in it.
    pub fn skip(&mut self, kind: Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Bool => self.bool().map(drop),
            Kind::I8 => self.i8().map(drop),
            Kind::I16 => self.i16().map(drop),
            Kind::I32 => self.i32().map(drop),
            Kind::I64 => self.i64().map(drop),
            Kind::Double => self.double().map(drop),
            Kind::Binary => self.bytes().map(drop),
            Kind::Uuid => self.take(16).map(drop),
            Kind::Struct => self.fields(|reader, field| reader.skip(field.kind)),
            Kind::Set | Kind::List => self.skip_list(),
            Kind::Map => self.skip_map(),
        }
    }

    fn skip_list(&mut self) -> Result<(), Malformed> {
        // Elements of this kind or of another are skipped alike.
        self.list(Kind::Struct, |reader| reader.skip(Kind::Struct))
    }

    fn skip_map(&mut self) -> Result<(), Malformed> {
        self.nested(|reader| {
            let pairs = match reader.protocol {
                Protocol::Binary => binary::map(reader)?,
                Protocol::Compact => compact::map(reader)?,
            };
            let Some((key, value, count)) = pairs else { return Ok(()) };
            reader.check_count(count, reader.size_min(key) + reader.size_min(value))?;
            for _ in 0..count {
                reader.skip(key)?;
                reader.skip(value)?;
            }
            Ok(())
        })
    }

    fn nested<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R, Malformed>) -> Result<R, Malformed> {
        if self.depth >= Self::DEPTH_MAX {
            return Err(self.fault(MalformedKind::TooDeep));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// The least that a value takes, in bytes. It is never nothing, so that a count is bounded by what is left.
    fn size_min(&self, kind: Kind) -> u64 {
        match (self.protocol, kind) {
            (_, Kind::Bool | Kind::I8 | Kind::Struct) => 1,
            (_, Kind::Double) => 8,
            (_, Kind::Uuid) => 16,
            (Protocol::Compact, _) => 1,
            (Protocol::Binary, Kind::I16) => 2,
            (Protocol::Binary, Kind::I32 | Kind::Binary) => 4,
            (Protocol::Binary, Kind::Set | Kind::List) => 5,
            (Protocol::Binary, Kind::Map) => 6,
            (Protocol::Binary, Kind::I64) => 8,
        }
    }

    fn check_count(&self, count: u32, element_size_min: u64) -> Result<(), Malformed> {
        let left = self.rest().len();
        match u64::from(count) * element_size_min <= left as u64 {
            true => Ok(()),
            false => Err(self.fault(MalformedKind::TooManyElements { count, left })),
        }
    }

    /// The value of a field that a struct has to have, once the struct was read.
    ///
    /// # Errors
    /// There was none.
    pub fn required<T>(&self, value: Option<T>, field: &'static str) -> Result<T, Malformed> {
        value.ok_or_else(|| self.fault(MalformedKind::Missing { field }))
    }

    pub(super) fn fault(&self, kind: MalformedKind) -> Malformed {
        Malformed { offset: self.at, kind }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let rest = self.rest();
        let Some(array) = rest.first_chunk::<N>() else {
            return Err(self.fault(MalformedKind::Truncated { needed: N as u64, left: rest.len() }));
        };
        self.at += N;
        Ok(*array)
    }

    pub(super) fn take(&mut self, length: u32) -> Result<&'a [u8], Malformed> {
        let rest = self.rest();
        let Some(taken) = rest.get(..length as usize) else {
            return Err(self.fault(MalformedKind::Truncated { needed: u64::from(length), left: rest.len() }));
        };
        self.at += taken.len();
        Ok(taken)
    }
}
