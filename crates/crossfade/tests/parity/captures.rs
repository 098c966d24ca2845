//! Captured remote writes, and recordings in protobuf.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parity::Side;
use prom::write::proto::{Label, MetricMetadata, Sample, TimeSeries, WriteRequest};
use prom::write::{MetadataV2, RequestV2, SampleV2, TimeSeriesV2};
use prost::Message;
use transport::coding::{Coding, Level, compress};

use super::backends::{SOUND, serve};
use super::scene::{Fault, LENGTH_S, START_S, check_exit, depth, recording, requests};

/// The series of the scene: name, bound of a bucket, and how its value follows from the time.
const SERIES: [(&str, Option<&str>); 6] = [
    ("requests_total", None),
    ("queue_depth", None),
    ("lag_bucket", Some("0.5")),
    ("lag_bucket", Some("+Inf")),
    ("lag_sum", None),
    ("lag_count", None),
];

fn value(name: &str, bound: Option<&str>, at_s: u64, side: Side, fault: Fault) -> f64 {
    let seconds = at_s as f64;
    match (name, bound) {
        ("queue_depth", _) => depth(seconds),
        (_, Some("0.5")) => requests(seconds / 2.0, side, fault),
        _ => requests(seconds, side, fault),
    }
}

fn labels(name: &str, bound: Option<&str>) -> Vec<(&'static str, String)> {
    let method = (name == "requests_total").then(|| ("method", "GET".to_owned()));
    let bound = bound.map(|bound| ("le", bound.to_owned()));
    [("__name__", name.to_owned()), ("job", "a".to_owned())].into_iter().chain(method).chain(bound).collect()
}

/// A request of version 1 with one series, as of one of many connections.
fn version_1(name: &str, bound: Option<&str>, samples: &[(u64, f64)]) -> Vec<u8> {
    let label = |(name, value): (&str, String)| Label { name: name.to_owned(), value };
    let samples =
        samples.iter().map(|(at_s, value)| Sample { value: *value, timestamp: i64::try_from(at_s * 1000).unwrap() });
    let series = TimeSeries {
        labels: labels(name, bound).into_iter().map(label).collect(),
        samples: samples.collect(),
        ..TimeSeries::default()
    };
    WriteRequest { timeseries: vec![series], metadata: Vec::new() }.encode_to_vec()
}

/// The same in version 2, which says the type with the series.
fn version_2(name: &str, bound: Option<&str>, samples: &[(u64, f64)]) -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut labels_refs = Vec::new();
    for (name, value) in labels(name, bound) {
        for text in [name.to_owned(), value] {
            labels_refs.push(u32::try_from(symbols.len()).unwrap());
            symbols.push(text);
        }
    }
    let kind = match name {
        "requests_total" => 1,
        "queue_depth" => 2,
        _ => 3,
    };
    let samples =
        samples.iter().map(|(at_s, value)| SampleV2 { value: *value, timestamp: i64::try_from(at_s * 1000).unwrap() });
    let series = TimeSeriesV2 {
        labels_refs,
        samples: samples.collect(),
        histograms: Vec::new(),
        metadata: Some(MetadataV2 { r#type: kind }),
    };
    RequestV2 { symbols, timeseries: vec![series] }.encode_to_vec()
}

/// The bodies that one side sends in an hour, each with the samples of a minute.
fn bodies(side: Side, fault: Fault) -> Vec<Vec<u8>> {
    let (interval, phase) = if side == Side::Legacy { (15, 1) } else { (10, 4) };
    let mut bodies = Vec::new();
    for minute in 0..LENGTH_S / 60 {
        for (name, bound) in SERIES {
            let times = (minute * 60..minute * 60 + 60).filter(|at_s| at_s % interval == phase);
            let samples: Vec<(u64, f64)> =
                times.map(|at_s| (START_S + at_s, value(name, bound, at_s, side, fault))).collect();
            let write = if side == Side::Legacy { version_1 } else { version_2 };
            bodies.push(compress(Coding::Snappy, Level::default(), &write(name, bound, &samples)).to_vec());
        }
    }
    if side == Side::Legacy {
        let metadata = MetricMetadata { r#type: 3, metric_family_name: "lag".to_owned(), ..MetricMetadata::default() };
        let request = WriteRequest { timeseries: Vec::new(), metadata: vec![metadata] }.encode_to_vec();
        bodies.push(compress(Coding::Snappy, Level::default(), &request).to_vec());
    }
    bodies
}

/// The legacy side as lines of JSON, the new one as files of a directory.
pub(crate) fn capture(directory: &Path, fault: Fault) {
    let line = |body: &Vec<u8>| {
        format!("{{\"headers\":{{\"content-encoding\":\"snappy\"}},\"body\":\"{}\"}}\n", STANDARD.encode(body))
    };
    let lines: String = bodies(Side::Legacy, Fault::None).iter().map(line).collect();
    fs::write(directory.join("legacy.capture"), lines).unwrap();
    fs::create_dir(directory.join("new.capture")).unwrap();
    for (number, body) in bodies(Side::New, fault).iter().enumerate() {
        fs::write(directory.join("new.capture").join(format!("{number:06}")), body).unwrap();
    }
}

const BOTH: [&str; 4] = ["--legacy", "legacy.capture", "--new", "new.capture"];

#[test]
fn captured_remote_writes_of_both_versions_are_compared() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path(), Fault::None);
    let (out, _) = check_exit(directory.path(), &BOTH, 0);
    assert!(out.contains("0 different, 0 inconclusive, 3 equivalent"), "{out}");
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path(), Fault::Loss);
    let (out, _) = check_exit(directory.path(), &BOTH, 1);
    assert!(out.contains("requests_total{method=\"GET\"}: the new side misses"), "{out}");
}

#[test]
fn a_capture_and_a_backend_are_compared() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path(), Fault::None);
    let new = serve(Side::New, SOUND);
    let (out, _) = check_exit(directory.path(), &["--legacy", "legacy.capture", "--new", &new], 0);
    assert!(out.contains("3 equivalent"), "{out}");
}

#[test]
fn a_file_that_is_no_capture_any_more_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path(), Fault::None);
    fs::write(directory.path().join("new.capture/000007"), "no body").unwrap();
    let (_, err) = check_exit(directory.path(), &BOTH, 3);
    assert!(err.contains("new.capture/000007") && err.contains("compressed with snappy"), "{err}");
}

#[test]
fn recordings_in_protobuf_are_recordings_too() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("legacy.jsonl"), recording(Side::Legacy, Fault::None)).unwrap();
    let mut messages = Vec::new();
    for line in recording(Side::New, Fault::None).split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let signal = match &line[..12] {
            b"{\"resourceMe" => otlp::Signal::Metrics,
            b"{\"resourceLo" => otlp::Signal::Logs,
            _ => otlp::Signal::Traces,
        };
        let batch = otlp::json::decode(signal, line, &otlp::Limits::default()).unwrap();
        messages.extend_from_slice(&u32::try_from(batch.size_bytes()).unwrap().to_be_bytes());
        messages.extend_from_slice(batch.bytes());
    }
    fs::write(directory.path().join("new.pb"), messages).unwrap();
    let (out, _) = check_exit(directory.path(), &["--legacy", "legacy.jsonl", "--new", "new.pb"], 0);
    assert!(out.contains("4 equivalent"), "{out}");
}
