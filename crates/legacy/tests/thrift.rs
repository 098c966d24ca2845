//! Thrift in both protocols: known bytes, the way there and back, bounds, and damaged input.
#![allow(clippy::unwrap_used)]

use legacy::thrift::{Field, FieldsWriter, Kind, Malformed, MalformedKind, MessageKind, Protocol, Reader, Writer};
use proptest::prelude::*;

const PROTOCOLS: [Protocol; 2] = [Protocol::Binary, Protocol::Compact];

/// Everything in a value, in one line.
fn describe(reader: &mut Reader<'_>, kind: Kind) -> Result<String, Malformed> {
    Ok(match kind {
        Kind::Bool => reader.bool()?.to_string(),
        Kind::I8 => reader.i8()?.to_string(),
        Kind::I16 => reader.i16()?.to_string(),
        Kind::I32 => reader.i32()?.to_string(),
        Kind::I64 => reader.i64()?.to_string(),
        Kind::Double => format!("{:?}", reader.double()?),
        Kind::Binary => format!("{:?}", reader.text()?),
        Kind::Struct => {
            let mut out = Vec::new();
            reader.fields(|reader, field| {
                out.push(format!("{}: {}", field.id, describe(reader, field.kind)?));
                Ok(())
            })?;
            format!("{{{}}}", out.join(", "))
        }
        // What a list holds is not known before: texts here, and everything else is skipped.
        Kind::List | Kind::Set => {
            let mut out = Vec::new();
            reader.list(Kind::Binary, |reader| {
                out.push(describe(reader, Kind::Binary)?);
                Ok(())
            })?;
            format!("[{}]", out.join(", "))
        }
        Kind::Map | Kind::Uuid => {
            reader.skip(kind)?;
            "skipped".to_owned()
        }
    })
}

fn read(protocol: Protocol, input: &[u8]) -> Result<String, Malformed> {
    describe(&mut Reader::new(protocol, input), Kind::Struct)
}

fn check(protocol: Protocol, input: &[u8], expected: &str) {
    let found = match read(protocol, input) {
        Ok(text) => text,
        Err(fault) => fault.to_string(),
    };
    assert_eq!(found, expected);
}

#[test]
fn a_struct_in_the_binary_protocol_has_types_ids_and_a_stop() {
    check(Protocol::Binary, &[0], "{}");
    check(Protocol::Binary, &[2, 0, 1, 1, 8, 0, 7, 255, 255, 255, 254, 0], "{1: true, 7: -2}");
    check(Protocol::Binary, &[11, 0, 3, 0, 0, 0, 2, b'o', b'k', 3, 0, 1, 0x80, 0], "{3: \"ok\", 1: -128}");
    check(Protocol::Binary, &[4, 0, 1, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0], "{1: 1.5}");
    check(Protocol::Binary, &[15, 0, 1, 11, 0, 0, 0, 1, 0, 0, 0, 1, b'a', 0], "{1: [\"a\"]}");
    check(
        Protocol::Binary,
        &[13, 0, 1, 11, 8, 0, 0, 0, 1, 0, 0, 0, 1, b'a', 0, 0, 0, 1, 6, 0, 2, 1, 0, 0],
        "{1: skipped, 2: 256}",
    );
}

#[test]
fn a_struct_in_the_compact_protocol_has_steps_and_varints() {
    check(Protocol::Compact, &[0], "{}");
    // Field 1 is true, field 2 false, field 300 is the 32-bit -2.
    check(Protocol::Compact, &[0x11, 0x12, 0x05, 0xd8, 0x04, 0x03, 0], "{1: true, 2: false, 300: -2}");
    check(Protocol::Compact, &[0x38, 2, b'o', b'k', 0x13, 0x80, 0], "{3: \"ok\", 4: -128}");
    check(Protocol::Compact, &[0x17, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0], "{1: 1.5}");
    check(Protocol::Compact, &[0x19, 0x18, 1, b'a', 0], "{1: [\"a\"]}");
    check(Protocol::Compact, &[0x1b, 1, 0x85, 1, b'a', 2, 0x14, 0x80, 0x04, 0], "{1: skipped, 2: 256}");
    check(Protocol::Compact, &[0x1b, 0, 0x11, 0], "{1: skipped, 2: true}");
}

#[test]
fn text_that_is_no_utf_8_is_marked_and_kept() {
    check(Protocol::Compact, &[0x18, 3, b'a', 0xff, b'b', 0], "{1: \"a\u{fffd}b\"}");
}

#[test]
fn elements_of_another_type_are_skipped() {
    // A list of 32-bit numbers where texts are expected.
    check(Protocol::Binary, &[15, 0, 1, 8, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 2, 0, 2, 1, 0], "{1: [], 2: true}");
    check(Protocol::Compact, &[0x19, 0x25, 2, 4, 0x11, 0], "{1: [], 2: true}");
    // An empty list may leave its type open.
    check(Protocol::Binary, &[15, 0, 1, 0, 0, 0, 0, 0, 0], "{1: []}");
    check(Protocol::Compact, &[0x19, 0, 0], "{1: []}");
}

#[test]
fn what_is_declared_is_held_against_what_is_left() {
    check(
        Protocol::Binary,
        &[11, 0, 1, 0x7f, 255, 255, 255, b'a'],
        "truncated: 2147483647 bytes needed and 1 left at byte 7",
    );
    check(Protocol::Binary, &[11, 0, 1, 255, 255, 255, 255], "a size of -1 at byte 7");
    check(
        Protocol::Binary,
        &[15, 0, 1, 12, 0x7f, 255, 255, 255, 0],
        "2147483647 elements declared and 1 bytes left at byte 8",
    );
    check(Protocol::Binary, &[13, 0, 1, 3, 3, 0, 0, 0, 2, 0, 0, 0], "2 elements declared and 3 bytes left at byte 9");
    check(
        Protocol::Compact,
        &[0x18, 0xff, 0xff, 0xff, 0xff, 0x07],
        "truncated: 2147483647 bytes needed and 0 left at byte 6",
    );
    check(Protocol::Compact, &[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f], "a size of -1 at byte 6");
    check(
        Protocol::Compact,
        &[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0],
        "2147483647 elements declared and 1 bytes left at byte 7",
    );
    check(Protocol::Compact, &[0x1b, 200, 1, 0x33, 0], "200 elements declared and 1 bytes left at byte 4");
    check(Protocol::Compact, &[0x19, 0xe7, 0, 0, 0, 0, 0, 0, 0, 0], "14 elements declared and 8 bytes left at byte 2");
}

#[test]
fn varints_types_and_ids_have_their_ranges() {
    check(Protocol::Compact, &[0x16, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0], "{1: -9223372036854775808}");
    check(Protocol::Compact, &[0x16, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0], "overlong varint at byte 11");
    check(Protocol::Compact, &[0x15, 0x80, 0x80, 0x80, 0x80, 0x10, 0], "overlong varint at byte 6");
    check(Protocol::Compact, &[0x1e, 0], "unknown type 14 at byte 1");
    check(Protocol::Compact, &[0x05, 0xfe, 0xff, 0x03, 0, 0x15, 0, 0], "field id out of range at byte 6");
    check(Protocol::Binary, &[7, 0, 1, 0], "unknown type 7 at byte 1");
}

#[test]
fn every_cut_of_a_struct_is_an_error() {
    for protocol in PROTOCOLS {
        let mut out = Writer::new(protocol);
        out.fields(sample);
        let bytes = out.finish();
        assert!(read(protocol, &bytes).is_ok());
        for length in 0..bytes.len() {
            assert!(read(protocol, &bytes[..length]).is_err(), "{protocol:?}, {length} bytes");
        }
    }
}

#[test]
fn nesting_has_a_bound() {
    let nested = |depth: usize, open: &[u8], close: &[u8]| [open.repeat(depth), close.repeat(depth)].concat();
    let max = usize::from(Reader::DEPTH_MAX);
    for (protocol, open) in [(Protocol::Binary, &[12, 0, 1][..]), (Protocol::Compact, &[0x1c][..])] {
        assert!(read(protocol, &[&nested(max - 1, open, &[0])[..], &[0]].concat()).is_ok());
        let fault = read(protocol, &nested(max, open, &[0])).unwrap_err();
        assert_eq!(fault.kind, MalformedKind::TooDeep);
        assert_eq!(read(protocol, &nested(1_000_000, open, &[0])).unwrap_err().kind, MalformedKind::TooDeep);
        assert_eq!(Reader::new(protocol, &nested(1_000_000, open, &[0])).skip(Kind::Struct), Err(fault));
    }
    // Lists in lists, and maps in maps.
    let fault = Reader::new(Protocol::Compact, &[0x19; 1_000_000]).skip(Kind::List).unwrap_err();
    assert_eq!(fault.kind, MalformedKind::TooDeep);
    let fault = Reader::new(Protocol::Compact, &[1, 0xbb].repeat(1_000_000)).skip(Kind::Map).unwrap_err();
    assert_eq!(fault.kind, MalformedKind::TooDeep);
}

fn check_message(protocol: Protocol, input: &[u8], expected: &str) {
    let found = match Reader::new(protocol, input).message() {
        Ok(message) => format!("{:?} {} {}", message.kind, message.name, message.sequence),
        Err(fault) => fault.to_string(),
    };
    assert_eq!(found, expected);
}

#[test]
fn a_message_of_the_binary_protocol_has_a_head_with_or_without_a_version() {
    check_message(Protocol::Binary, &[0x80, 1, 0, 4, 0, 0, 0, 1, b'e', 0, 0, 0, 9], "Oneway e 9");
    check_message(Protocol::Binary, &[0, 0, 0, 1, b'e', 1, 255, 255, 255, 255], "Call e -1");
    check_message(
        Protocol::Binary,
        &[0x80, 2, 0, 4, 0, 0, 0, 0],
        "not a message of this protocol: it starts with 0x8002 at byte 4",
    );
    check_message(Protocol::Binary, &[0x80, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0], "unknown type 5 of a message at byte 8");
    check_message(Protocol::Binary, &[], "truncated: 4 bytes needed and 0 left at byte 0");
}

#[test]
fn a_message_of_the_compact_protocol_starts_with_its_id() {
    check_message(Protocol::Compact, &[0x82, 0x81, 9, 1, b'e'], "Oneway e 9");
    check_message(Protocol::Compact, &[0x82, 0x21, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, b'e'], "Call e -1");
    check_message(
        Protocol::Compact,
        &[0x82, 0x82, 9, 1, b'e'],
        "not a message of this protocol: it starts with 0x8282 at byte 2",
    );
    check_message(
        Protocol::Compact,
        &[0x80, 1, 0, 4],
        "not a message of this protocol: it starts with 0x8001 at byte 2",
    );
    check_message(Protocol::Compact, &[0x82, 0xa1, 9, 1, b'e'], "unknown type 5 of a message at byte 2");
}

/// A struct with something of everything.
fn sample(fields: &mut FieldsWriter<'_>) {
    fields.bool(1, true);
    fields.bool(2, false);
    fields.i8(3, -5);
    fields.i16(4, -300);
    fields.i32(5, 70_000);
    fields.i64(200, i64::MIN);
    fields.double(7, -0.5);
    fields.string(8, "é");
    fields.fields(9, |fields| {
        fields.list(1, Kind::Binary, ["a"; 20], |out, text| out.bytes(text.as_bytes()));
        fields.list(2, Kind::Bool, [true, false], Writer::bool);
        fields.list(3, Kind::Struct, 0..3, |out, id| out.fields(|fields| fields.i16(id, id)));
    });
    fields.list(10, Kind::Double, [1.0, 2.0], Writer::double);
    fields.list(11, Kind::I32, [1, -1], Writer::i32);
}

#[test]
fn both_protocols_say_the_same() {
    for protocol in PROTOCOLS {
        let mut out = Writer::new(protocol);
        out.message("emit", MessageKind::Oneway, -7);
        out.fields(sample);
        let bytes = out.finish();
        let mut reader = Reader::new(protocol, &bytes);
        let message = reader.message().unwrap();
        assert_eq!((&*message.name, message.kind, message.sequence), ("emit", MessageKind::Oneway, -7));
        let texts = ["\"a\""; 20].join(", ");
        let expected = format!(
            "{{1: true, 2: false, 3: -5, 4: -300, 5: 70000, 200: -9223372036854775808, 7: -0.5, 8: \"é\", 9: {{1: \
             [{texts}], 2: [], 3: []}}, 10: [], 11: []}}"
        );
        assert_eq!(describe(&mut reader, Kind::Struct).unwrap(), expected);
        assert!(reader.rest().is_empty());
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bool(bool),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    Double(u64),
    Bytes(Vec<u8>),
    Struct(Vec<(i16, Value)>),
    List(Vec<Vec<(i16, Value)>>),
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<i16>().prop_map(Value::I16),
        any::<i32>().prop_map(Value::I32),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::Double),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 60, 5, |inner| {
        let fields = prop::collection::vec((any::<i16>(), inner), 0..5);
        prop_oneof![fields.clone().prop_map(Value::Struct), prop::collection::vec(fields, 0..18).prop_map(Value::List)]
    })
}

fn write_fields(fields: &mut FieldsWriter<'_>, values: &[(i16, Value)]) {
    for (id, value) in values {
        match value {
            Value::Bool(value) => fields.bool(*id, *value),
            Value::I8(value) => fields.i8(*id, *value),
            Value::I16(value) => fields.i16(*id, *value),
            Value::I32(value) => fields.i32(*id, *value),
            Value::I64(value) => fields.i64(*id, *value),
            Value::Double(bits) => fields.double(*id, f64::from_bits(*bits)),
            Value::Bytes(value) => fields.bytes(*id, value),
            Value::Struct(values) => fields.fields(*id, |fields| write_fields(fields, values)),
            Value::List(structs) => fields.list(*id, Kind::Struct, structs, |out, values| {
                out.fields(|fields| write_fields(fields, values));
            }),
        }
    }
}

fn read_fields(reader: &mut Reader<'_>) -> Result<Vec<(i16, Value)>, Malformed> {
    let mut values = Vec::new();
    reader.fields(|reader, Field { id, kind }| {
        let value = match kind {
            Kind::Bool => Value::Bool(reader.bool()?),
            Kind::I8 => Value::I8(reader.i8()?),
            Kind::I16 => Value::I16(reader.i16()?),
            Kind::I32 => Value::I32(reader.i32()?),
            Kind::I64 => Value::I64(reader.i64()?),
            Kind::Double => Value::Double(reader.double()?.to_bits()),
            Kind::Binary => Value::Bytes(reader.bytes()?.to_vec()),
            Kind::Struct => Value::Struct(read_fields(reader)?),
            Kind::List => {
                let mut structs = Vec::new();
                reader.list(Kind::Struct, |reader| {
                    structs.push(read_fields(reader)?);
                    Ok(())
                })?;
                Value::List(structs)
            }
            Kind::Map | Kind::Set | Kind::Uuid => unreachable!(),
        };
        values.push((id, value));
        Ok(())
    })?;
    Ok(values)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_and_can_be_skipped(values in prop::collection::vec((any::<i16>(), value()), 0..6)) {
        for protocol in PROTOCOLS {
            let mut out = Writer::new(protocol);
            out.fields(|fields| write_fields(fields, &values));
            let bytes = out.finish();
            let mut reader = Reader::new(protocol, &bytes);
            prop_assert_eq!(read_fields(&mut reader), Ok(values.clone()));
            prop_assert!(reader.rest().is_empty());
            let mut reader = Reader::new(protocol, &bytes);
            reader.skip(Kind::Struct).unwrap();
            prop_assert!(reader.rest().is_empty());
        }
    }
}

#[test]
fn damaged_input_never_panics_and_never_yields_more_than_it_holds() {
    let mut random = fastrand::Rng::with_seed(0x7412);
    for round in 0..20_000 {
        let protocol = PROTOCOLS[round % 2];
        let mut out = Writer::new(protocol);
        out.fields(sample);
        let mut bytes = out.finish();
        for _ in 0..=random.usize(..4) {
            let at = random.usize(..bytes.len().max(1));
            match random.u8(..4) {
                0 if at < bytes.len() => bytes[at] = random.u8(..),
                1 => bytes.insert(at.min(bytes.len()), random.choice([0, 1, 0x0f, 0x1c, 0x7f, 0x80, 0xff]).unwrap()),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        if round % 10 == 0 {
            bytes.iter_mut().for_each(|byte| *byte = random.u8(..));
        }
        let _ = Reader::new(protocol, &bytes).message();
        let skipped = Reader::new(protocol, &bytes).skip(Kind::Struct);
        match read(protocol, &bytes) {
            Ok(text) => assert!(text.len() <= 40 * bytes.len().max(1) && skipped.is_ok(), "round {round}: {text}"),
            Err(fault) => assert!(fault.offset <= bytes.len(), "round {round}: {fault}"),
        }
    }
}
