//! OpenCensus to OTLP: golden files, what a stream remembers, and mutated messages.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use legacy::opencensus::{Decoded, Malformed, Stream};
use otlp::wire::{write_bytes_field, write_varint_field};
use otlp::{Batch, Limits, Signal, json};

fn files(signal: Signal) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/opencensus");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.contains(&format!(".{signal}.")) && path.extension().is_some_and(|extension| extension == "pb")
    };
    let mut paths: Vec<PathBuf> = paths.filter(named).collect();
    paths.sort();
    assert!(paths.len() > 1, "{signal}");
    paths
}

fn decode(stream: &mut Stream, signal: Signal, request: &[u8]) -> Result<Decoded, Malformed> {
    let decoded = match signal {
        Signal::Traces => stream.traces(request)?,
        _ => stream.metrics(request)?,
    };
    let batch = &decoded.batch;
    let again = Batch::parse(signal, batch.bytes().clone(), &Limits::default()).unwrap();
    assert_eq!(again.items(), batch.items());
    Ok(decoded)
}

/// Compares with the golden file beside the message; `UPDATE_GOLDEN=1` writes it.
fn check_golden(message: &Path, batch: &Batch) {
    let mut text = Vec::new();
    json::encode(batch, &mut text);
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let found = format!("{value:#}\n");
    let path = message.with_extension("otlp.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(found, expected, "{}", path.display());
}

#[test]
fn the_messages_of_a_stream_become_the_golden_otlp() {
    for (signal, without_kind) in [(Signal::Traces, 0), (Signal::Metrics, 3)] {
        let (mut stream, mut left_out) = (Stream::default(), 0);
        for path in files(signal) {
            let decoded = decode(&mut stream, signal, &std::fs::read(&path).unwrap()).unwrap();
            left_out += decoded.without_kind;
            check_golden(&path, &decoded.batch);
        }
        assert_eq!(left_out, without_kind, "{signal}");
    }
}

#[test]
fn nothing_but_a_node_is_an_empty_batch() {
    for request in [&b""[..], &[0x0a, 0], &[0x1a, 0], &[0x20, 1]] {
        for signal in [Signal::Traces, Signal::Metrics] {
            assert_eq!(decode(&mut Stream::default(), signal, request).unwrap().batch.size_bytes(), 0);
        }
    }
}

fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|(number, bytes)| write_bytes_field(&mut out, *number, bytes));
    out
}

fn check_fault(signal: Signal, request: &[u8], expected: &str) {
    let error = decode(&mut Stream::default(), signal, request).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_fault_has_its_place() {
    check_fault(Signal::Traces, b"\x12\x05\x01", "no protobuf from byte 0 on");
    check_fault(Signal::Traces, b"\x12\x00\x12\x05\x01", "no protobuf from byte 2 on");
    check_fault(Signal::Traces, &message(&[(2, b""), (2, b"\x0a\x09")]), "span 1: ");
    check_fault(Signal::Metrics, &message(&[(2, b"\x0a\x09")]), "metric 0: ");
    check_fault(Signal::Traces, &message(&[(1, b"\x0a\x09")]), "node 0: ");
    check_fault(Signal::Traces, &message(&[(1, &message(&[(9, &[0; 300_000])]))]), "at most 262144 are remembered");
}

#[test]
fn labels_that_would_stand_with_each_of_many_points_are_refused() {
    let label = message(&[(1, &[b'x'; 100_000])]);
    let mut value = label.clone();
    write_varint_field(&mut value, 2, 1);
    let mut descriptor = message(&[(1, b"m"), (5, &message(&[(1, b"k")]))]);
    write_varint_field(&mut descriptor, 4, 1);
    let point = [0x10, 1];
    let mut fields: Vec<(u32, &[u8])> = vec![(2, &value)];
    fields.extend([(3, &point[..]); 1000]);
    let request = message(&[(2, &message(&[(1, &descriptor), (2, &message(&fields))]))]);
    check_fault(Signal::Metrics, &request, "more than 67108864 bytes");
    let request = message(&[(2, &message(&[(1, &descriptor), (2, &message(&fields[..10]))]))]);
    assert_eq!(decode(&mut Stream::default(), Signal::Metrics, &request).unwrap().batch.items(), 9);
}

fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    let at = random.usize(0..=bytes.len());
    let end = (at + random.usize(0..16)).min(bytes.len());
    match random.u8(0..6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
        1 => bytes.insert(at, random.u8(..)),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        4 if random.u8(0..8) == 0 => bytes.truncate(at),
        _ if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
        _ => {}
    }
}

#[test]
fn mutated_and_truncated_messages_are_read_or_refused() {
    let mut random = fastrand::Rng::with_seed(0x0c);
    for signal in [Signal::Traces, Signal::Metrics] {
        let inputs: Vec<Vec<u8>> = files(signal).iter().map(|path| std::fs::read(path).unwrap()).collect();
        let (mut stream, mut input, mut read) = (Stream::default(), Vec::new(), 0);
        for iteration in 0..5000 {
            if iteration % 3 == 0 {
                input.clone_from(&inputs[random.usize(0..inputs.len())]);
            }
            mutate(&mut random, &mut input);
            read += u32::from(decode(&mut stream, signal, &input).is_ok());
        }
        assert!(read > 300, "{signal}: {read}");
        for whole in inputs {
            for end in 0..whole.len() {
                let _ = decode(&mut stream, signal, &whole[..end]);
            }
        }
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..random.usize(0..40)).map(|_| random.u8(..)).collect();
            let _ = decode(&mut stream, signal, &bytes);
        }
    }
}
