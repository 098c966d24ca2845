//! Recordings: files of OTLP JSON lines, as the `file` exporter writes them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use flate2::read::MultiGzDecoder;
use otlp::{Batch, Limits, Signal};

/// A line, or a message before compression, has so many bytes at most.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A recording that is being read.
pub(super) struct Recording {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    framing: Framing,
    /// The number of the line or message that was read last.
    number: u64,
}

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// One on each line.
    Lines,
    /// Each behind its length, compressed with zstd: the exporter with `compression: zstd`.
    CompressedMessages,
}

impl Recording {
    pub(super) fn open(path: &Path) -> anyhow::Result<Recording> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let head = reader.fill_buf().with_context(|| format!("cannot read {}", path.display()))?;
        let starts = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
        let (is_gzip, is_zstd, is_framed) = (starts(0, &GZIP), starts(0, &ZSTD), starts(4, &ZSTD));
        let (reader, framing): (Box<dyn BufRead + Send>, _) = if is_gzip {
            (Box::new(BufReader::new(MultiGzDecoder::new(reader))), Framing::Lines)
        } else if is_zstd {
            let decoder = zstd::Decoder::with_buffer(reader).context("cannot read zstd")?;
            (Box::new(BufReader::new(decoder)), Framing::Lines)
        } else {
            (Box::new(reader), if is_framed { Framing::CompressedMessages } else { Framing::Lines })
        };
        Ok(Recording { path: path.to_owned(), reader, framing, number: 0 })
    }

    /// The next batch; none at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Batch>> {
        loop {
            self.number += 1;
            let message = match self.framing {
                Framing::Lines => self.line(),
                Framing::CompressedMessages => self.message(),
            };
            let Some(message) = message.with_context(|| self.place())? else { return Ok(None) };
            if !message.trim_ascii().is_empty() {
                return decode(message.trim_ascii()).map(Some).with_context(|| self.place());
            }
        }
    }

    fn place(&self) -> String {
        let unit = if self.framing == Framing::Lines { "line" } else { "message" };
        format!("{}, {unit} {}", self.path.display(), self.number)
    }

    fn line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.reader).take(MESSAGE_BYTES_MAX as u64);
        let read = bounded.read_until(b'\n', &mut line)?;
        if read == MESSAGE_BYTES_MAX && line.last() != Some(&b'\n') {
            bail!("the line is longer than {MESSAGE_BYTES_MAX} bytes");
        }
        Ok((read > 0).then_some(line))
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
        let sound = [LINES.to_vec(), gzip.finish().unwrap(), packed, framed];
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
