//! The compact protocol: varints, and field ids as differences.

use otlp::wire::{write_varint, zigzag_decode, zigzag_encode};

use super::{Field, Kind, Malformed, MalformedKind, Message, MessageKind, Reader};

/// The first byte of a message.
pub(super) const PROTOCOL_ID: u8 = 0x82;

/// The low five bits of its second byte. The high three are the type of the message.
pub(super) const VERSION: u8 = 1;

pub(super) const TRUE: u8 = 1;
pub(super) const FALSE: u8 = 2;

pub(super) const fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Bool => TRUE,
        Kind::I8 => 3,
        Kind::I16 => 4,
        Kind::I32 => 5,
        Kind::I64 => 6,
        Kind::Double => 7,
        Kind::Binary => 8,
        Kind::List => 9,
        Kind::Set => 10,
        Kind::Map => 11,
        Kind::Struct => 12,
        Kind::Uuid => 13,
    }
}

fn kind(reader: &Reader<'_>, number: u8) -> Result<Kind, Malformed> {
    Ok(match number {
        TRUE | FALSE => Kind::Bool,
        3 => Kind::I8,
        4 => Kind::I16,
        5 => Kind::I32,
        6 => Kind::I64,
        7 => Kind::Double,
        8 => Kind::Binary,
        9 => Kind::List,
        10 => Kind::Set,
        11 => Kind::Map,
        12 => Kind::Struct,
        13 => Kind::Uuid,
        _ => return Err(reader.fault(MalformedKind::UnknownType { number })),
    })
}

/// A varint of at most 64 bits: seven in each byte, the lowest first.
fn varint(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = reader.byte()?;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(reader.fault(MalformedKind::OverlongVarint))
}

pub(super) fn i64(reader: &mut Reader<'_>) -> Result<i64, Malformed> {
    varint(reader).map(zigzag_decode)
}

pub(super) fn i32(reader: &mut Reader<'_>) -> Result<i32, Malformed> {
    let value = i64(reader)?;
    i32::try_from(value).map_err(|_| reader.fault(MalformedKind::OverlongVarint))
}

pub(super) fn i16(reader: &mut Reader<'_>) -> Result<i16, Malformed> {
    let value = i64(reader)?;
    i16::try_from(value).map_err(|_| reader.fault(MalformedKind::OverlongVarint))
}

/// 32 bits without a sign, as lengths and counts have them. What is larger than a signed number is below zero to
/// everybody else.
pub(super) fn size(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    let value = varint(reader)?;
    let value = u32::try_from(value).map_err(|_| reader.fault(MalformedKind::OverlongVarint))?;
    match i32::try_from(value) {
        Ok(_) => Ok(value),
        Err(_) => Err(reader.fault(MalformedKind::NegativeSize { size: value.cast_signed() })),
    }
}

pub(super) fn message<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, Malformed> {
    let [id, head] = reader.array()?;
    if id != PROTOCOL_ID || head & 0x1f != VERSION {
        return Err(reader.fault(MalformedKind::Version { start: u16::from_be_bytes([id, head]) }));
    }
    let number = head >> 5;
    let kind = MessageKind::from_number(number);
    let kind = kind.ok_or_else(|| reader.fault(MalformedKind::UnknownMessage { number }))?;
    // Libraries differ in whether a sequence number below zero takes five bytes or ten; its low 32 bits are the same.
    let sequence = (varint(reader)? as u32).cast_signed();
    Ok(Message { name: reader.text()?, kind, sequence })
}

pub(super) fn field(reader: &mut Reader<'_>, last_id: i16) -> Result<Option<Field>, Malformed> {
    let head = reader.byte()?;
    let (step, number) = (head >> 4, head & 0x0f);
    if number == 0 {
        return Ok(None);
    }
    let kind = kind(reader, number)?;
    let id = match step {
        0 => i16(reader)?,
        step => {
            let id = last_id.checked_add(i16::from(step));
            id.ok_or_else(|| reader.fault(MalformedKind::FieldId))?
        }
    };
    reader.in_header = (kind == Kind::Bool).then_some(number == TRUE);
    Ok(Some(Field { id, kind }))
}

pub(super) fn list(reader: &mut Reader<'_>) -> Result<(Kind, u32), Malformed> {
    let head = reader.byte()?;
    let count = match head >> 4 {
        15 => size(reader)?,
        count => u32::from(count),
    };
    match (head & 0x0f, count) {
        (0, 0) => Ok((Kind::Struct, 0)),
        (number, count) => Ok((kind(reader, number)?, count)),
    }
}

pub(super) fn map(reader: &mut Reader<'_>) -> Result<Option<(Kind, Kind, u32)>, Malformed> {
    let count = size(reader)?;
    if count == 0 {
        return Ok(None);
    }
    let kinds = reader.byte()?;
    Ok(Some((kind(reader, kinds >> 4)?, kind(reader, kinds & 0x0f)?, count)))
}

pub(super) fn write_zigzag(out: &mut Vec<u8>, value: i64) {
    write_varint(out, zigzag_encode(value));
}
