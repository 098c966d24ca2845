//! Recordings: files of OTLP, JSON lines or messages of protobuf, as the `file` exporter writes them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use flate2::read::MultiGzDecoder;
use otlp::wire::{FieldValue, Fields};
use otlp::{Batch, Limits, Signal};

/// A line, or a message before compression, has so many bytes at most.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A recording that is being read.
pub(super) struct Recording {
    path: PathBuf,
    reader: Unpacked,
    framing: Framing,
    /// The number of the line or message that was read last.
    number: u64,
}

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// One on each line.
    Lines,
    /// Each behind its length: the exporter with `format: proto` or `compression: zstd`.
    Messages,
}

/// What a file is made of, once it is unpacked as a whole where it was packed as a whole.
pub(super) type Unpacked = Box<dyn BufRead + Send>;

/// Opens a file, be it as it is or compressed with gzip or zstd.
pub(super) fn unpacked(path: &Path) -> anyhow::Result<Unpacked> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let head = reader.fill_buf().with_context(|| format!("cannot read {}", path.display()))?;
    if head.starts_with(&GZIP) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(reader))));
    }
    if head.starts_with(&ZSTD) {
        let decoder = zstd::Decoder::with_buffer(reader).context("cannot read zstd")?;
        return Ok(Box::new(BufReader::new(decoder)));
    }
    Ok(Box::new(reader))
}

/// Reads a line; none at the end.
pub(super) fn line(reader: &mut Unpacked) -> anyhow::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut bounded = reader.take(MESSAGE_BYTES_MAX as u64);
    let read = bounded.read_until(b'\n', &mut line)?;
    if read == MESSAGE_BYTES_MAX && line.last() != Some(&b'\n') {
        bail!("the line is longer than {MESSAGE_BYTES_MAX} bytes");
    }
    Ok((read > 0).then_some(line))
}

/// A message behind its length has, four bytes on, a field with the number 1, or the beginning of zstd.
fn framing(head: &[u8]) -> Framing {
    let Some((length, rest)) = head.split_first_chunk::<4>() else { return Framing::Lines };
    let is_length = u32::from_be_bytes(*length) as usize <= MESSAGE_BYTES_MAX && !length[0].is_ascii_whitespace();
    match rest.starts_with(&[RESOURCE_TAG]) || rest.starts_with(&ZSTD) {
        true if is_length => Framing::Messages,
        _ => Framing::Lines,
    }
}

/// The tag of what each request consists of, whatever its signal.
const RESOURCE_TAG: u8 = 0x0a;

impl Recording {
    pub(super) fn open(path: &Path) -> anyhow::Result<Recording> {
        let mut reader = unpacked(path)?;
        let head = reader.fill_buf().with_context(|| format!("cannot read {}", path.display()))?;
        let framing = framing(head);
        Ok(Recording { path: path.to_owned(), reader, framing, number: 0 })
    }

    /// The next batch; none at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Batch>> {
        loop {
            self.number += 1;
            let message = match self.framing {
                Framing::Lines => line(&mut self.reader),
                Framing::Messages => self.message(),
            };
            let Some(message) = message.with_context(|| self.place())? else { return Ok(None) };
            let batch = match message.first() {
                Some(&RESOURCE_TAG) if self.framing == Framing::Messages => decode_proto(message),
                _ if message.trim_ascii().is_empty() => continue,
                _ => decode(message.trim_ascii()),
            };
            return batch.map(Some).with_context(|| self.place());
        }
    }

    fn place(&self) -> String {
        let unit = if self.framing == Framing::Lines { "line" } else { "message" };
        format!("{}, {unit} {}", self.path.display(), self.number)
    }

    fn message(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        if self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MESSAGE_BYTES_MAX {
            bail!("the message is longer than {MESSAGE_BYTES_MAX} bytes");
        }
        let mut packed = Vec::new();
        (&mut self.reader).take(length as u64).read_to_end(&mut packed)?;
        if packed.len() < length {
            bail!("the file ends within a message");
        }
        if !packed.starts_with(&ZSTD) {
            return Ok(Some(packed));
        }
        let message = transport::coding::decompress(transport::coding::Coding::Zstd, &packed, MESSAGE_BYTES_MAX)?;
        Ok(Some(message.into()))
    }
}

fn decode(json: &[u8]) -> anyhow::Result<Batch> {
    let signal = signal(json).ok_or_else(|| {
        anyhow!("this is no OTLP JSON: expected an object with `resourceMetrics`, `resourceSpans` or `resourceLogs`")
    })?;
    Ok(otlp::json::decode(signal, json, &Limits::default())?)
}

fn decode_proto(message: Vec<u8>) -> anyhow::Result<Batch> {
    let signal =
        signal_of_proto(&message).context("this is no request of OTLP, or one without an item that has a time")?;
    Ok(Batch::parse(signal, message.into(), &Limits::default())?)
}

/// The signal of a request in protobuf, which does not say it: all have resources, scopes and items in the same places,
/// and differ in the fields of their items.
fn signal_of_proto(request: &[u8]) -> Option<Signal> {
    fn inner(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
        Fields::new(message).filter_map(move |field| match field.value {
            FieldValue::Length(inner) if field.number == number => Some(inner),
            _ => None,
        })
    }
    let items = inner(request, 1).flat_map(|resource| inner(resource, 2)).flat_map(|scope| inner(scope, 2));
    items.filter_map(signal_of_item).next()
}

/// Start and end of a span are its fields 7 and 8, the times of a record 1 and 11; a metric has messages where these have
/// numbers, and of its data at least one.
fn signal_of_item(item: &[u8]) -> Option<Signal> {
    let mut is_metric = false;
    for field in Fields::new(item) {
        match (field.number, field.value) {
            (7 | 8, FieldValue::Fixed64(_)) => return Some(Signal::Traces),
            (1 | 11, FieldValue::Fixed64(_)) | (8, FieldValue::Fixed32(_)) | (2, FieldValue::Varint(_)) => {
                return Some(Signal::Logs);
            }
            (5 | 7 | 9..=11, FieldValue::Length(_)) => is_metric = true,
            _ => {}
        }
    }
    is_metric.then_some(Signal::Metrics)
}

/// The signal of a request, by its first key.
fn signal(json: &[u8]) -> Option<Signal> {
    let key = json.strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = key.iter().position(|byte| *byte == b'"')?;
    match &key[..end] {
        b"resourceMetrics" | b"resource_metrics" => Some(Signal::Metrics),
        b"resourceSpans" | b"resource_spans" => Some(Signal::Traces),
        b"resourceLogs" | b"resource_logs" => Some(Signal::Logs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LINES: &[u8] = b"{\"resourceMetrics\":[]}\n\n { \"resourceLogs\":[{}]}\n{\"resource_spans\":[]}";

    fn check(bytes: &[u8], expected: Result<&[Signal], &str>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut recording = Recording::open(file.path()).unwrap();
        let mut signals = Vec::new();
        let ended = loop {
            match recording.next() {
                Ok(Some(batch)) => signals.push(batch.signal()),
                Ok(None) => break Ok(()),
                Err(error) => break Err(format!("{error:#}")),
            }
        };
        match (ended, expected) {
            (Ok(()), Ok(expected)) => assert_eq!(signals, expected),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{expected} is not in {said}"),
            (ended, _) => panic!("{ended:?}"),
        }
    }

    const ALL: [Signal; 3] = [Signal::Metrics, Signal::Logs, Signal::Traces];

    #[test]
    fn lines_of_all_signals_are_read_plain_and_compressed() {
        check(LINES, Ok(&ALL));
        check(b"", Ok(&[]));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(LINES).unwrap();
        check(&gzip.finish().unwrap(), Ok(&ALL));
        check(&zstd::encode_all(LINES, 1).unwrap(), Ok(&ALL));
    }

    #[test]
    fn messages_that_the_exporter_compressed_are_read() {
        let packed = zstd::encode_all(&b"{\"resourceMetrics\":[]}"[..], 1).unwrap();
        let mut file = Vec::new();
        for _ in 0..2 {
            file.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_be_bytes());
            file.extend_from_slice(&packed);
        }
        check(&file, Ok(&[Signal::Metrics; 2]));
        check(&file[..file.len() - 1], Err("message 2: the file ends within a message"));
    }

    #[test]
    fn messages_in_protobuf_are_read_and_say_their_signal_by_their_items() {
        let lines = [
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[{"timeUnixNano":"7","asDouble":1}]}}]}]}]}"#,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"observedTimeUnixNano":"7","body":{"stringValue":"a"},"traceId":"00000000000000000000000000000001"}]}]}]}"#,
            r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","name":"a","endTimeUnixNano":"9"}]}]}]}"#,
        ];
        let (mut plain, mut packed) = (Vec::new(), Vec::new());
        for line in lines {
            let batch = decode(line.as_bytes()).unwrap();
            for (file, message) in
                [(&mut plain, batch.bytes().to_vec()), (&mut packed, zstd::encode_all(&batch.bytes()[..], 1).unwrap())]
            {
                file.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
                file.extend_from_slice(&message);
            }
        }
        check(&plain, Ok(&ALL));
        check(&packed, Ok(&ALL));
        check(&zstd::encode_all(&plain[..], 1).unwrap(), Ok(&ALL));
        check(&plain[..plain.len() - 1], Err("message 3: the file ends within a message"));
        check(&[0, 0, 0, 2, 0x0a, 0], Err("message 1: this is no request of OTLP"));
    }

    #[test]
    fn what_is_no_recording_is_told_with_its_place() {
        check(b"{\"resourceMetrics\":[]}\nhello\n", Err("line 2: this is no OTLP JSON"));
        check(b"{\"data\":[]}", Err("line 1: this is no OTLP JSON"));
        check(b"{\"resourceMetrics\":[{\"resource\":7}]}", Err("line 1:"));
        check(b"{\"resourceMetrics\":[", Err("line 1:"));
    }

    #[test]
    fn no_file_makes_it_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recording");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(LINES).unwrap();
        let packed = zstd::encode_all(LINES, 1).unwrap();
        let mut framed = 30u32.to_be_bytes().to_vec();
        framed.extend_from_slice(&packed);
        let proto = [0, 0, 0, 8, 0x0a, 6, 0x12, 4, 0x12, 2, 0x2a, 0].to_vec();
        let sound = [LINES.to_vec(), gzip.finish().unwrap(), packed, framed, proto];
        let mut random = fastrand::Rng::with_seed(5);
        for round in 0..400 {
            let mut bytes = sound[round % sound.len()].clone();
            for _ in 0..random.usize(..4) {
                let at = random.usize(..bytes.len());
                match random.bool() {
                    true => bytes[at] = random.u8(..),
                    false => bytes.truncate(at.max(1)),
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(mut recording) = Recording::open(&path) {
                while let Ok(Some(_)) = recording.next() {}
            }
        }
    }
}
