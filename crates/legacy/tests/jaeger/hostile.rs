//! Input that was damaged, or made to hurt.

use legacy::jaeger::{self, Malformed};
use legacy::thrift::{Kind, MessageKind, Protocol, Reader, Writer};
use otlp::wire::{write_bytes_field, write_varint_field};
use otlp::{Batch, Limits};

use crate::reference;

const PROTOCOLS: [Protocol; 2] = [Protocol::Binary, Protocol::Compact];

/// A batch with something of everything.
fn sample() -> reference::Batch {
    let case = include_str!("../../testdata/jaeger/to_otlp/collector_spans.json");
    let case: serde_json::Value = serde_json::from_str(case).unwrap();
    serde_json::from_value(case["jaeger"].clone()).unwrap()
}

/// What is made of bytes, if anything is, is a valid request.
fn check_valid(batch: Result<Batch, Malformed>) -> bool {
    let Ok(batch) = batch else { return false };
    let parsed = Batch::parse(batch.signal(), batch.bytes().clone(), &Limits::default()).unwrap();
    assert_eq!(parsed.items(), batch.items());
    true
}

fn message(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes_field(&mut out, number, content);
    out
}

/// A request of one span with this content.
fn request(span: &[u8]) -> Vec<u8> {
    message(1, &message(1, span))
}

fn check_proto(request: &[u8], expected: &str) {
    let found = jaeger::from_proto(request).map(|batch| batch.items());
    assert_eq!(found.unwrap_err().to_string(), expected);
}

#[test]
fn what_is_wrong_in_protobuf_is_told_with_its_place() {
    check_proto(&[0x0a, 0x7f], "PostSpansRequest: malformed at byte 0 of it");
    check_proto(&message(1, &[0x0a, 0x7f]), "Batch: malformed at byte 0 of it");
    check_proto(&request(&[0x1a, 0x01, b'a', 0x1a, 0x7f]), "Span: malformed at byte 3 of it");
    check_proto(&request(&message(1, &[1, 2, 3])), "Span.trace_id of 3 bytes");
    check_proto(&request(&message(4, &message(2, &[1; 9]))), "SpanRef.span_id of 9 bytes");
    let mut number = Vec::new();
    write_varint_field(&mut number, 3, 1);
    check_proto(&request(&number), "Span: malformed at byte 0 of it");
    check_proto(&request(&message(8, &message(6, b"no double"))), "KeyValue: malformed at byte 0 of it");
    check_proto(
        &[&message(1, &message(2, &[0xff]))[..], &request(b"\x1a\x01a")].concat(),
        "Process: malformed at byte 0 of it",
    );
}

fn check_thrift(fill: impl Fn(&mut Writer), expected: &str) {
    for protocol in PROTOCOLS {
        let mut out = Writer::new(protocol);
        fill(&mut out);
        let found = jaeger::from_datagram(&out.finish(), protocol).unwrap_err().to_string();
        let without_place = found.rsplit_once(" at byte").map_or(&*found, |(text, _)| text);
        assert_eq!(without_place, expected);
    }
}

#[test]
fn what_is_wrong_in_thrift_is_told_by_name() {
    let name = "emitZipkinBatch".repeat(10);
    let expected = format!("a message for the method `{}`, expected `emitBatch`", &name[..40]);
    check_thrift(|out| out.message(&name, MessageKind::Oneway, 0), &expected);
    check_thrift(
        |out| {
            out.message("emitBatch", MessageKind::Oneway, 0);
            out.fields(|_| ());
        },
        "no `batch`, which is required",
    );
    check_thrift(
        |out| {
            out.message("emitBatch", MessageKind::Oneway, 0);
            out.fields(|out| out.fields(1, |out| out.fields(1, |out| out.string(1, "svc"))));
        },
        "no `Batch.spans`, which is required",
    );
    check_thrift(
        |out| {
            out.message("emitBatch", MessageKind::Oneway, 0);
            out.fields(|out| {
                out.fields(1, |out| {
                    out.fields(1, |out| out.string(1, "svc"));
                    out.list(2, Kind::Struct, [()], |out, ()| out.fields(|out| out.i64(1, 7)));
                });
            });
        },
        "no `Span.traceIdHigh`, which is required",
    );
}

#[test]
fn every_cut_is_an_error_in_thrift_and_never_a_panic_in_protobuf() {
    let batch = sample();
    for protocol in PROTOCOLS {
        let datagram = batch.datagram(protocol);
        for length in 0..datagram.len() {
            assert!(jaeger::from_datagram(&datagram[..length], protocol).is_err(), "{protocol:?}, {length} bytes");
        }
    }
    let request = batch.request();
    for length in 1..request.len() {
        assert!(jaeger::from_proto(&request[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_list_that_promises_more_than_there_is_takes_no_memory() {
    for count in [0x7f_ff_ff_ff_u32, 0x00_ff_ff_ff, 1_000_000] {
        let mut datagram = vec![0x80, 1, 0, 4, 0, 0, 0, 9];
        datagram.extend_from_slice(b"emitBatch\0\0\0\0\x0c\0\x01\x0c\0\x01\x0b\0\x01\0\0\0\x01s\0\x0f\0\x02\x0c");
        datagram.extend_from_slice(&count.to_be_bytes());
        datagram.extend_from_slice(&[0; 1000]);
        let error = jaeger::from_datagram(&datagram, Protocol::Binary).unwrap_err().to_string();
        assert!(error.contains("elements declared and 1000 bytes left"), "{error}");
    }
}

#[test]
fn nesting_in_unknown_fields_has_a_bound() {
    let deep = [0x1c; 100_000];
    let error = jaeger::from_thrift(&deep, Protocol::Compact).unwrap_err().to_string();
    assert!(error.contains(&format!("nested deeper than {} levels", Reader::DEPTH_MAX)), "{error}");
}

#[test]
fn the_smallest_of_everything_a_hundred_thousand_times_is_read_in_time() {
    // Empty tags, logs and references in one span; spans of nothing but a flag.
    for (number, content) in [(8, &b""[..]), (9, b""), (4, b""), (8, b"\x0a\x01k")] {
        let span = [&message(3, b"op")[..], &message(number, content).repeat(100_000)].concat();
        assert_eq!(jaeger::from_proto(&request(&span)).unwrap().items(), 1);
    }
    let spans = message(1, &message(1, b"\x28\x01").repeat(50_000));
    assert_eq!(jaeger::from_proto(&spans).unwrap().items(), 50_000);
}

#[test]
fn many_scopes_processes_and_keys_are_read_in_time() {
    let text =
        |key: &str, value: usize| [message(1, key.as_bytes()), message(3, value.to_string().as_bytes())].concat();
    let mut batch = message(2, &message(1, &[b'p'; 100_000]));
    for index in 0..5_000 {
        let tag = message(8, &text("otel.scope.name", index));
        let process = message(10, &message(1, format!("svc-{index}").as_bytes()));
        batch.extend(message(1, &tag));
        batch.extend(message(1, &process));
    }
    let keys: Vec<u8> = (0..20_000).flat_map(|index| message(8, &text(&format!("key-{index}"), index))).collect();
    batch.extend(message(1, &keys));
    assert_eq!(jaeger::from_proto(&message(1, &batch)).unwrap().items(), 10_001);
}

/// Changes bytes in one of the ways in which they break.
fn damage(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = random.usize(..bytes.len());
    let end = (at + random.usize(..16)).min(bytes.len());
    match random.u8(..6) {
        0 => bytes[at] = random.u8(..),
        1 => bytes[at] ^= 1 << random.u8(..8),
        2 => bytes.insert(at, random.choice([0, 1, 0x0a, 0x0c, 0x1c, 0x42, 0x7f, 0x80, 0xff]).unwrap()),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => bytes.truncate(at),
    }
}

fn drive(seed: u64, input: &[u8], read: impl Fn(&[u8]) -> bool) {
    const ROUNDS: usize = 4_000;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut taken = 0;
    for _ in 0..ROUNDS {
        let mut bytes = input.to_vec();
        for _ in 0..=random.usize(..3) {
            damage(&mut random, &mut bytes);
        }
        taken += usize::from(read(&bytes));
        bytes.iter_mut().for_each(|byte| *byte = random.u8(..));
        read(&bytes);
    }
    // Otherwise only the refusal would be tested.
    assert!(taken >= ROUNDS / 20, "{taken} of {ROUNDS} were taken");
}

#[test]
fn no_bytes_break_the_readers() {
    let batch = sample();
    drive(0x1a, &batch.request(), |bytes| check_valid(jaeger::from_proto(bytes)));
    for protocol in PROTOCOLS {
        drive(0x1b, &batch.datagram(protocol), |bytes| check_valid(jaeger::from_datagram(bytes, protocol)));
        drive(0x1c, &batch.thrift(protocol), |bytes| check_valid(jaeger::from_thrift(bytes, protocol)));
    }
}

/// An answer of the query API with something of everything.
const ANSWER: &str = include_str!("../../testdata/jaeger/query/jaeger.json");

fn check_json(answer: &str, expected: &str) {
    let found = jaeger::from_json(answer.as_bytes()).map(|answer| answer.traces.len());
    let said = found.unwrap_err().to_string();
    assert!(said.contains(expected), "{said}");
}

#[test]
fn what_is_wrong_in_an_answer_is_told() {
    let with = |span: &str| format!("{{\"data\":[{{\"traceID\":\"1\",\"spans\":[{{{span}}}]}}]}}");
    let sound = "\"traceID\":\"1\",\"spanID\":\"1\",\"startTime\":1,\"duration\":1";
    assert_eq!(jaeger::from_json(with(sound).as_bytes()).unwrap().traces[0].batch.items(), 1);
    check_json("<html>", "malformed answer: ");
    check_json("{\"data\":7}", "malformed answer: ");
    check_json(&with("\"traceID\":\"1\""), "missing field `spanID`");
    check_json(&with(&sound.replace("\"spanID\":\"1\"", "\"spanID\":\"no id\"")), "spanID is `no id`, which is no id");
    check_json(
        &with(&format!("{sound},\"tags\":[{{\"key\":\"k\",\"type\":\"binary\",\"value\":\"?\"}}]")),
        "the binary value of the tag `k` is not in base64",
    );
}

#[test]
fn no_bytes_break_the_reader_of_answers() {
    let case: serde_json::Value = serde_json::from_str(ANSWER).unwrap();
    let answer = case["answer"].to_string();
    drive(0x1e, answer.as_bytes(), |bytes| match jaeger::from_json(bytes) {
        Ok(answer) => answer.traces.into_iter().all(|trace| check_valid(Ok(trace.batch))),
        Err(_) => false,
    });
}
