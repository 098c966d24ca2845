//! Requests that are read: golden files, and bytes that are none.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prom::write::proto::WriteRequest;
use prom::write::{
    MetadataV2, NativeBuckets, NativeHistogram, Read, ReadError, RequestV2, SampleV2, TimeSeriesV2, read,
};
use prost::Message;
use serde_json::{Value, json};

const LABELS_BYTES_MAX: usize = 1 << 20;

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/remote_write");
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 2);
    files
}

/// Series as text, with floats by their bits, since the staleness marker is a NaN.
fn shown(read: &Read) -> Value {
    let series = read.series.iter().map(|series| {
        let labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let samples = series.samples.iter().map(|sample| match sample.value.is_nan() {
            true => format!("NaN {:x}@{}", sample.value.to_bits(), sample.timestamp),
            false => format!("{}@{}", sample.value, sample.timestamp),
        });
        let samples: Vec<String> = samples.collect();
        // Of native histograms the last one stands for all.
        let last = series.histograms.last().map(|last| format!(" {}", of_native(last))).unwrap_or_default();
        let (labels, samples) = (labels.join(","), samples.join(" "));
        json!(format!("{{{labels}}} {samples} {}{last}", series.histograms.len()))
    });
    let types =
        read.types.iter().map(|(family, kind)| json!(format!("{family} {}", format!("{kind:?}").to_uppercase())));
    json!({"series": series.collect::<Vec<_>>(), "types": types.collect::<Vec<_>>()})
}

fn of_native(histogram: &NativeHistogram) -> String {
    let counts = |counts: &[(i32, f64)]| match counts {
        [first, .., last] => {
            let all: f64 = counts.iter().map(|(_, count)| count).sum();
            format!("{}:{} to {}:{}, {all} in {}", first.0, first.1, last.0, last.1, counts.len())
        }
        few => format!("{few:?}"),
    };
    let buckets = match &histogram.buckets {
        NativeBuckets::Exponential { schema, zero_threshold, zero_count, negative, positive } => {
            let (negative, positive) = (counts(negative), counts(positive));
            format!("schema {schema} zero {zero_threshold:e}:{zero_count} negative {negative} positive {positive}")
        }
        NativeBuckets::Custom { bounds, counts } => format!("bounds {bounds:?} counts {counts:?}"),
    };
    format!("count {} sum {} {buckets} @{}", histogram.count, histogram.sum, histogram.timestamp)
}

fn unpacked(body: &str) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(&STANDARD.decode(body).unwrap()).unwrap()
}

#[test]
fn what_servers_send_is_read() {
    for file in files() {
        let mut case: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let bodies: Vec<Value> = case["bodies"].as_array().unwrap().clone();
        let found =
            bodies.iter().map(|body| shown(&read(&unpacked(body.as_str().unwrap()), LABELS_BYTES_MAX).unwrap()));
        let found = Value::Array(found.collect());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            case["read"] = found;
            fs::write(&file, serde_json::to_string_pretty(&case).unwrap() + "\n").unwrap();
            continue;
        }
        assert_eq!(case["read"], found, "{}", file.display());
    }
}

fn version_2() -> RequestV2 {
    let symbols = ["", "__name__", "lag_bucket", "le", "0.5", "lag_count"].map(str::to_owned).to_vec();
    let series = |labels_refs: &[u32]| TimeSeriesV2 {
        labels_refs: labels_refs.to_vec(),
        samples: vec![SampleV2 { value: 1.5, timestamp: 1000 }],
        histograms: Vec::new(),
        metadata: Some(MetadataV2 { r#type: 3 }),
    };
    RequestV2 { symbols, timeseries: vec![series(&[1, 2, 3, 4]), series(&[1, 5])] }
}

#[test]
fn version_2_says_types_with_series_and_refers_to_texts() {
    let found = read(&version_2().encode_to_vec(), LABELS_BYTES_MAX).unwrap();
    assert_eq!(
        shown(&found),
        json!({
            "series": ["{__name__=\"lag_bucket\",le=\"0.5\"} 1.5@1000 0", "{__name__=\"lag_count\"} 1.5@1000 0"],
            "types": ["lag HISTOGRAM"],
        })
    );
}

#[test]
fn what_is_wrong_is_told() {
    let check = |request: &[u8], expected: &str| {
        let said = read(request, 100).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    };
    check(&[0x0a, 0x7f], "no request of remote write");
    let mut request = version_2();
    request.timeseries[0].labels_refs = vec![1, 99];
    check(&request.encode_to_vec(), "series 0 refers to symbol 99, and there are 6");
    request.timeseries[0].labels_refs = vec![1];
    check(&request.encode_to_vec(), "an odd number");
    request.timeseries[0].labels_refs = [1, 2].repeat(40);
    check(&request.encode_to_vec(), "exceed 100 bytes");
    assert_eq!(read(&[], 0), Ok::<_, ReadError>(Read::default()));
    assert_eq!(read(&WriteRequest::default().encode_to_vec(), 0), Ok(Read::default()));
}

#[test]
fn no_bytes_break_the_reader() {
    let case: Value = serde_json::from_str(&fs::read_to_string(&files()[0]).unwrap()).unwrap();
    let sound = [unpacked(case["bodies"][0].as_str().unwrap()), version_2().encode_to_vec()];
    let mut random = fastrand::Rng::with_seed(0x2b);
    let mut taken = 0;
    for round in 0..4000 {
        let mut bytes = sound[round % sound.len()].clone();
        for _ in 0..random.usize(..4) {
            let at = random.usize(..bytes.len().max(1));
            match random.u8(..3) {
                _ if bytes.is_empty() => break,
                0 => bytes[at] = random.u8(..),
                1 => bytes.truncate(at.max(1)),
                _ => drop(bytes.remove(at)),
            }
        }
        taken += usize::from(read(&bytes, LABELS_BYTES_MAX).is_ok());
        bytes.iter_mut().for_each(|byte| *byte = random.u8(..));
        let _ = read(&bytes, LABELS_BYTES_MAX);
    }
    assert!(taken > 1000, "{taken} were taken");
}
