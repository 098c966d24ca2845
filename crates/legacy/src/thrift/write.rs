//! What both protocols share in writing.

use otlp::wire::write_varint;

use super::{Kind, MessageKind, Protocol, binary, compact};

/// Writes values of Thrift, one after another.
#[derive(Debug)]
pub struct Writer {
    protocol: Protocol,
    out: Vec<u8>,
}

impl Writer {
    /// A writer of nothing yet.
    pub fn new(protocol: Protocol) -> Self {
        Writer { protocol, out: Vec::new() }
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// The head of a message, with a version in the binary protocol. The struct of its arguments has to follow.
    pub fn message(&mut self, name: &str, kind: MessageKind, sequence: i32) {
        match self.protocol {
            Protocol::Binary => {
                self.out.extend_from_slice(&binary::VERSION_1.to_be_bytes());
                self.out.extend_from_slice(&[0, kind.number()]);
                self.bytes(name.as_bytes());
                self.i32(sequence);
            }
            Protocol::Compact => {
                self.out.extend_from_slice(&[compact::PROTOCOL_ID, kind.number() << 5 | compact::VERSION]);
                write_varint(&mut self.out, u64::from(sequence.cast_unsigned()));
                self.bytes(name.as_bytes());
            }
        }
    }

    /// A struct.
    pub fn fields(&mut self, fill: impl FnOnce(&mut FieldsWriter<'_>)) {
        fill(&mut FieldsWriter { writer: self, last_id: 0 });
        self.out.push(0);
    }

    /// A list: `write` writes each of `elements`, a value of `kind`.
    pub fn list<T>(
        &mut self,
        kind: Kind,
        elements: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut write: impl FnMut(&mut Writer, T),
    ) {
        let elements = elements.into_iter();
        let count = elements.len();
        match self.protocol {
            Protocol::Binary => {
                self.out.push(binary::number(kind));
                self.size(count);
            }
            Protocol::Compact if count < 15 => self.out.push((count as u8) << 4 | compact::number(kind)),
            Protocol::Compact => {
                self.out.push(0xf0 | compact::number(kind));
                self.size(count);
            }
        }
        elements.for_each(|element| write(self, element));
    }

    /// A truth value in a list.
    pub fn bool(&mut self, value: bool) {
        self.out.push(match (self.protocol, value) {
            (_, true) => 1,
            (Protocol::Binary, false) => 0,
            (Protocol::Compact, false) => compact::FALSE,
        });
    }

    /// 16 bits, signed.
    pub fn i16(&mut self, value: i16) {
        match self.protocol {
            Protocol::Binary => self.out.extend_from_slice(&value.to_be_bytes()),
            Protocol::Compact => compact::write_zigzag(&mut self.out, i64::from(value)),
        }
    }

    /// 32 bits, signed.
    pub fn i32(&mut self, value: i32) {
        match self.protocol {
            Protocol::Binary => self.out.extend_from_slice(&value.to_be_bytes()),
            Protocol::Compact => compact::write_zigzag(&mut self.out, i64::from(value)),
        }
    }

    /// 64 bits, signed.
    pub fn i64(&mut self, value: i64) {
        match self.protocol {
            Protocol::Binary => self.out.extend_from_slice(&value.to_be_bytes()),
            Protocol::Compact => compact::write_zigzag(&mut self.out, value),
        }
    }

    /// A double.
    pub fn double(&mut self, value: f64) {
        self.out.extend_from_slice(&match self.protocol {
            Protocol::Binary => value.to_be_bytes(),
            Protocol::Compact => value.to_le_bytes(),
        });
    }

    /// Bytes, or text.
    pub fn bytes(&mut self, value: &[u8]) {
        self.size(value.len());
        self.out.extend_from_slice(value);
    }

    fn size(&mut self, size: usize) {
        match self.protocol {
            Protocol::Binary => self.out.extend_from_slice(&(size as u32).to_be_bytes()),
            Protocol::Compact => write_varint(&mut self.out, size as u64),
        }
    }
}

/// Writes the fields of a struct.
#[derive(Debug)]
pub struct FieldsWriter<'a> {
    writer: &'a mut Writer,
    last_id: i16,
}

impl FieldsWriter<'_> {
    /// A truth value.
    pub fn bool(&mut self, id: i16, value: bool) {
        match self.writer.protocol {
            Protocol::Binary => self.value(id, Kind::Bool).bool(value),
            Protocol::Compact => self.compact_head(id, if value { compact::TRUE } else { compact::FALSE }),
        }
    }

    /// 8 bits, signed.
    pub fn i8(&mut self, id: i16, value: i8) {
        self.value(id, Kind::I8).out.push(value.cast_unsigned());
    }

    /// 16 bits, signed.
    pub fn i16(&mut self, id: i16, value: i16) {
        self.value(id, Kind::I16).i16(value);
    }

    /// 32 bits, signed.
    pub fn i32(&mut self, id: i16, value: i32) {
        self.value(id, Kind::I32).i32(value);
    }

    /// 64 bits, signed.
    pub fn i64(&mut self, id: i16, value: i64) {
        self.value(id, Kind::I64).i64(value);
    }

    /// A double.
    pub fn double(&mut self, id: i16, value: f64) {
        self.value(id, Kind::Double).double(value);
    }

    /// Bytes.
    pub fn bytes(&mut self, id: i16, value: &[u8]) {
        self.value(id, Kind::Binary).bytes(value);
    }

    /// Text.
    pub fn string(&mut self, id: i16, value: &str) {
        self.bytes(id, value.as_bytes());
    }

    /// A struct.
    pub fn fields(&mut self, id: i16, fill: impl FnOnce(&mut FieldsWriter<'_>)) {
        self.value(id, Kind::Struct).fields(fill);
    }

    /// A list: `write` writes each of `elements`, a value of `kind`.
    pub fn list<T>(
        &mut self,
        id: i16,
        kind: Kind,
        elements: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        write: impl FnMut(&mut Writer, T),
    ) {
        self.value(id, Kind::List).list(kind, elements, write);
    }

    /// The head of a field, whose value has to follow.
    fn value(&mut self, id: i16, kind: Kind) -> &mut Writer {
        match self.writer.protocol {
            Protocol::Binary => {
                self.writer.out.push(binary::number(kind));
                self.writer.out.extend_from_slice(&id.to_be_bytes());
            }
            Protocol::Compact => self.compact_head(id, compact::number(kind)),
        }
        self.writer
    }

    fn compact_head(&mut self, id: i16, number: u8) {
        let step = id.checked_sub(self.last_id).filter(|step| (1..=15).contains(step));
        self.last_id = id;
        match step {
            Some(step) => self.writer.out.push((step as u8) << 4 | number),
            None => {
                self.writer.out.push(number);
                compact::write_zigzag(&mut self.writer.out, i64::from(id));
            }
        }
    }
}
