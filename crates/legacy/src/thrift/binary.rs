//! The binary protocol: numbers of fixed width, in network order.

use super::{Field, Kind, Malformed, MalformedKind, Message, MessageKind, Reader};

/// The high half of a message's first word, where the head has a version.
pub(super) const VERSION_1: u16 = 0x8001;

/// A list without elements may name this as their type.
const STOP: u8 = 0;

pub(super) const fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Bool => 2,
        Kind::I8 => 3,
        Kind::Double => 4,
        Kind::I16 => 6,
        Kind::I32 => 8,
        Kind::I64 => 10,
        Kind::Binary => 11,
        Kind::Struct => 12,
        Kind::Map => 13,
        Kind::Set => 14,
        Kind::List => 15,
        Kind::Uuid => 16,
    }
}

fn kind(reader: &Reader<'_>, number: u8) -> Result<Kind, Malformed> {
    Ok(match number {
        2 => Kind::Bool,
        3 => Kind::I8,
        4 => Kind::Double,
        6 => Kind::I16,
        8 => Kind::I32,
        10 => Kind::I64,
        11 => Kind::Binary,
        12 => Kind::Struct,
        13 => Kind::Map,
        14 => Kind::Set,
        15 => Kind::List,
        16 => Kind::Uuid,
        _ => return Err(reader.fault(MalformedKind::UnknownType { number })),
    })
}

pub(super) fn size(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    let size = i32::from_be_bytes(reader.array()?);
    u32::try_from(size).map_err(|_| reader.fault(MalformedKind::NegativeSize { size }))
}

pub(super) fn message<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, Malformed> {
    let rest = reader.rest();
    let with_version = rest.first().is_some_and(|byte| byte & 0x80 != 0);
    let (name, number) = match with_version {
        true => {
            let [high, low, _, number] = reader.array()?;
            let start = u16::from_be_bytes([high, low]);
            if start != VERSION_1 {
                return Err(reader.fault(MalformedKind::Version { start }));
            }
            (reader.text()?, number)
        }
        // The head of old: it starts with the length of the name, which is never below zero.
        false => (reader.text()?, reader.byte()?),
    };
    let kind = MessageKind::from_number(number);
    let kind = kind.ok_or_else(|| reader.fault(MalformedKind::UnknownMessage { number }))?;
    Ok(Message { name, kind, sequence: reader.i32()? })
}

pub(super) fn field(reader: &mut Reader<'_>) -> Result<Option<Field>, Malformed> {
    match reader.byte()? {
        STOP => Ok(None),
        number => {
            let kind = kind(reader, number)?;
            Ok(Some(Field { id: reader.i16()?, kind }))
        }
    }
}

pub(super) fn list(reader: &mut Reader<'_>) -> Result<(Kind, u32), Malformed> {
    let number = reader.byte()?;
    let count = size(reader)?;
    match (number, count) {
        (STOP, 0) => Ok((Kind::Struct, 0)),
        _ => Ok((kind(reader, number)?, count)),
    }
}

pub(super) fn map(reader: &mut Reader<'_>) -> Result<Option<(Kind, Kind, u32)>, Malformed> {
    let [key, value] = reader.array()?;
    match size(reader)? {
        0 => Ok(None),
        count => Ok(Some((kind(reader, key)?, kind(reader, value)?, count))),
    }
}
