//! Inputs are written as JSON, in which `{"$time": [seconds, nanoseconds]}` is an EventTime, `{"$bytes": "hex"}` is
//! binary, `{"$text": "hex"}` is text of any bytes, `{"$packed": […]}` is entries in a row as binary, and
//! `{"$gzip": [[…], […]]}` is the same compressed, one member for each inner list.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use legacy::fluent::{FluentError, Framer, Limits, Message, ack, handshake, read_message};
use serde_json::Value as Json;

use crate::support::{described, fuzz, golden};

const RECEIVED: u64 = 1_800_000_000_000_000_000;

fn describe(bytes: &[u8]) -> String {
    describe_within(bytes, &Limits::default())
}

fn describe_within(bytes: &[u8], limits: &Limits) -> String {
    match read_message(bytes, RECEIVED, limits) {
        Ok(Message::Heartbeat) => "heartbeat\n".to_owned(),
        Ok(Message::Events(events)) => {
            let chunk = events.chunk.map(|chunk| format!("chunk {}\n", String::from_utf8_lossy(&chunk)));
            described(&events.batch) + &chunk.unwrap_or_default()
        }
        Err(error) => format!("{} ({})\n", error, error.cause()),
    }
}

// === From JSON to MessagePack ===

fn packed(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write(&serde_json::from_str(json).unwrap(), &mut out);
    out
}

fn write(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Null => out.push(0xc0),
        Json::Bool(value) => out.push(0xc2 + u8::from(*value)),
        Json::Number(number) => {
            let value = match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => rmpv::Value::from(number),
                (_, Some(number)) => rmpv::Value::from(number),
                _ => rmpv::Value::from(number.as_f64().unwrap()),
            };
            rmpv::encode::write_value(out, &value).unwrap();
        }
        Json::String(text) => rmpv::encode::write_value(out, &rmpv::Value::from(text.as_str())).unwrap(),
        Json::Array(values) => {
            out.push(0xdc);
            out.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
            values.iter().for_each(|value| write(value, out));
        }
        Json::Object(pairs) => match pairs.iter().next() {
            Some((key, value)) if key.starts_with('$') => write_special(key, value, out),
            _ => {
                out.push(0xde);
                out.extend_from_slice(&u16::try_from(pairs.len()).unwrap().to_be_bytes());
                for (key, value) in pairs {
                    write(&Json::from(key.as_str()), out);
                    write(value, out);
                }
            }
        },
    }
}

fn write_special(kind: &str, value: &Json, out: &mut Vec<u8>) {
    let in_a_row = |values: &Json| {
        let mut bytes = Vec::new();
        values.as_array().unwrap().iter().for_each(|value| write(value, &mut bytes));
        bytes
    };
    let hex = || -> Vec<u8> {
        let digits = value.as_str().unwrap();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    };
    match kind {
        "$time" => {
            let part = |index: usize| u32::try_from(value[index].as_u64().unwrap()).unwrap().to_be_bytes();
            out.extend_from_slice(&[0xd7, 0]);
            out.extend_from_slice(&part(0));
            out.extend_from_slice(&part(1));
        }
        "$bytes" => binary(&hex(), out),
        "$text" => {
            out.extend_from_slice(&[0xd9, u8::try_from(hex().len()).unwrap()]);
            out.extend_from_slice(&hex());
        }
        "$packed" => binary(&in_a_row(value), out),
        "$gzip" => {
            let members = value.as_array().unwrap().iter().map(|entries| gzip(&in_a_row(entries)));
            binary(&members.collect::<Vec<_>>().concat(), out);
        }
        other => panic!("{other}"),
    }
}

fn binary(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(0xc6);
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

// === Golden files ===

#[test]
fn every_message_becomes_the_expected_log_records() {
    golden("fluent", "json", |json| describe(&packed(std::str::from_utf8(json).unwrap())));
}

// === Framing ===

fn end(bytes: &[u8], limits: &Limits) -> Result<Option<usize>, FluentError> {
    Framer::default().message_end(bytes, limits)
}

#[test]
fn a_message_ends_where_its_last_value_does() {
    let limits = Limits::default();
    let all = r#"["t", {"$time": [1, 2]}, {"a": [null, true, -1, -200, -70000, 5, 300, 70000, 5000000000, 0.5, "x",
        {"$bytes": "00ff"}, {"$text": "c3a9"}, {"b": {}}]}]"#;
    let mut bytes = packed(all);
    let len = bytes.len();
    for cut in 0..len {
        assert_eq!(end(&bytes[..cut], &limits), Ok(None), "{cut}");
    }
    bytes.extend_from_slice(b"\x93next");
    assert_eq!(end(&bytes, &limits), Ok(Some(len)));
    // Byte by byte, with what was seen before remembered.
    let mut framer = Framer::default();
    let ends: Vec<_> = (0..=len).filter_map(|cut| framer.message_end(&bytes[..cut], &limits).unwrap()).collect();
    assert_eq!(ends, [len]);
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_its_bytes_arrive() {
    let limits = Limits { message_bytes_max: 1000, ..Limits::default() };
    let too_large = Err(FluentError::TooLarge { limit_bytes: 1000 });
    for bytes in [
        &b"\x92\xa1t\xc6\xff\xff\xff\xff"[..],
        b"\x92\xa1t\xdb\x00\x01\x00\x00",
        b"\x92\xa1t\xdd\xff\xff\xff\xff",
        b"\x92\xa1t\xdf\xff\xff\xff\xff",
        b"\x92\xa1t\xc9\xff\xff\xff\xff\x00",
        b"\xdc\xff\xff",
    ] {
        assert_eq!(end(bytes, &limits), too_large, "{bytes:02x?}");
    }
    assert_eq!(end(b"\x92\xa1t\xc1", &limits), Err(FluentError::NoMessagePack { offset: 3 }));
    assert_eq!(end(&[b"\x92\xa1t\xc5\x04\x00".as_slice(), &[0; 1024]].concat(), &limits), too_large);
}

// === Bounds ===

#[test]
fn bombs_are_stopped_at_the_limits() {
    let limits = Limits { message_bytes_max: 1 << 20, entry_values_max: 1000, depth_max: 30 };
    let message = |entries: &[u8]| {
        let mut bytes = b"\x93\xa1t".to_vec();
        binary(entries, &mut bytes);
        bytes.extend_from_slice(&packed(r#"{"compressed": "gzip"}"#));
        bytes
    };
    let zeros = describe_within(&message(&gzip(&vec![0; 2 << 20])), &limits);
    assert_eq!(zeros, "the message is larger than 1048576 bytes (too_large)\n");
    let records = describe_within(&message(&gzip(&[0x92, 0, 0x80].repeat(100_000))), &limits);
    assert_eq!(records, "the message is larger than 4194304 bytes (too_large)\n");
    let wide = [&[0x92, 0, 0x81, 0xa1, b'k', 0xdc, 0x08, 0x00], vec![0xc0; 2048].as_slice()].concat();
    assert_eq!(
        describe_within(&message(&gzip(&wide)), &limits),
        "entry 0 holds more than 1000 values (too_many_values)\n"
    );
    // Empty members cost time and no memory.
    let members = gzip(b"").repeat(20_000);
    assert_eq!(describe_within(&message(&members), &limits), "resource null\n");
}

#[test]
fn values_nest_as_deep_as_otlp_carries_and_no_deeper() {
    let message = |levels: usize| [b"\x93\xa1t\x01\x81\xa1k".as_slice(), &[0x91].repeat(levels), b"\xa4leaf"].concat();
    assert!(describe(&message(30)).contains("leaf"));
    assert_eq!(describe(&message(31)), "entry 0 nests deeper than 30 levels (too_deep)\n");
    assert_eq!(describe(&message(90_000)), "entry 0 nests deeper than 30 levels (too_deep)\n");
}

#[test]
fn a_packed_message_that_breaks_off_is_refused_whole() {
    let entries = b"\x92\x01\x81\xa1k\xa1v\x92\x02\x81\xa1k";
    let mut bytes = b"\x92\xa1t".to_vec();
    binary(entries, &mut bytes);
    assert_eq!(describe(&bytes), "entry 1 breaks off (broken_off)\n");
    let mut bytes = b"\x93\xa1t".to_vec();
    let compressed = gzip(entries);
    binary(&compressed[..compressed.len() - 9], &mut bytes);
    bytes.extend_from_slice(&packed(r#"{"compressed": "gzip"}"#));
    assert!(describe(&bytes).ends_with("(damaged_gzip)\n"), "{}", describe(&bytes));
}

// === Answers ===

#[test]
fn an_ack_repeats_the_chunk() {
    assert_eq!(ack(b"cDE="), b"\x81\xa3ack\xa4cDE=");
    assert_eq!(ack(&[0xff]), b"\x81\xa3ack\xc4\x01\xff");
}

#[test]
fn the_handshake_is_that_of_the_specification() {
    assert_eq!(handshake::helo(b"n1", b""), b"\x92\xa4HELO\x83\xa5nonce\xc4\x02n1\xa4auth\xa0\xa9keepalive\xc3");
    let ping = handshake::read_ping(b"\x96\xa4PING\xa4host\xc4\x02s1\xa4abcd\xa4user\xa0").unwrap();
    assert_eq!((ping.hostname.as_slice(), ping.shared_key_salt.as_slice()), (&b"host"[..], &b"s1"[..]));
    assert_eq!((ping.username.as_slice(), ping.password_digest.as_slice()), (&b"user"[..], &b""[..]));
    assert_eq!(handshake::pong(Ok("beef"), "me"), b"\x95\xa4PONG\xc3\xa0\xa2me\xa4beef");
    assert_eq!(handshake::pong(Err("no"), "me"), b"\x95\xa4PONG\xc2\xa2no\xa0\xa0");
    for other in [&b"\x96\xa4PONG\xa0\xa0\xa0\xa0\xa0"[..], b"\x92\xa4PING\xa0", b"\xc0", b"", b"\x91"] {
        assert!(handshake::read_ping(other).is_err(), "{other:02x?}");
    }
}

// === Mutations ===

#[test]
fn mutated_messages_are_read_or_refused() {
    let inputs = [
        r#"["t", 1700000000, {"message": "x", "n": {"a": [1, null]}}, {"chunk": "c"}]"#,
        r#"["t", [[{"$time": [1700000000, 5]}, {"log": "x"}], [2, {"b": {"$bytes": "00ff"}}]], {"size": 2}]"#,
        r#"["t", {"$packed": [[1, {"log": "x"}], [[2, {}], {"a": 0.5}]]}, {"chunk": "c"}]"#,
        r#"["t", {"$gzip": [[[1, {"log": "x"}]], [[2, {"log": "y"}]]]}, {"compressed": "gzip"}]"#,
    ];
    let limits = Limits { message_bytes_max: 1 << 16, entry_values_max: 100, depth_max: 8 };
    let heads = [0x80, 0x81, 0x90, 0x92, 0xa1, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xd7, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf];
    fuzz(&inputs.map(packed), &heads, |bytes| {
        drop(describe_within(bytes, &limits));
        if let Ok(Some(end)) = end(bytes, &limits) {
            drop(describe_within(&bytes[..end], &limits));
        }
        drop(handshake::read_ping(bytes));
    });
}
