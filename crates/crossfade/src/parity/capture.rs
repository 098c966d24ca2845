//! Captured remote writes: what a Prometheus sent, kept as it was sent.
//!
//! A file has a JSON object on each line, `{"headers": {…}, "body": "…"}`, with the body in base64; a directory has a body
//! in each file, in the order of their names. Versions 1 and 2 of the protocol are read. Prometheus spreads the series of
//! a histogram over its requests, so that the samples of a while are put together before they are metrics.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use otlp::Batch;
use parity::Side;
use prom::write::Read;
use prom::write::proto::MetricType;
use report::columns::number;
use serde::Deserialize;
use transport::coding::{Coding, decompress};

use super::compare::Bar;
use super::prometheus::{Catalogue, Sample, Series, batches};
use super::recording::{Unpacked, line, unpacked};
use super::window::Window;

/// A body has so many bytes at most, unpacked, and so many in its labels.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Requests are expected to be at most so much older than the newest before them: they come over several connections.
const LATE_MS: u64 = 120_000;

/// No clock stands beyond this, in the year 2262.
const TIME_MS_MAX: i64 = i64::MAX / 1_000_000;

/// Whether a place holds captured requests, and not OTLP.
pub(super) fn is_capture(path: &Path) -> anyhow::Result<bool> {
    if path.is_dir() {
        return Ok(true);
    }
    let mut reader = unpacked(path)?;
    let head = reader.fill_buf().with_context(|| format!("cannot read {}", path.display()))?;
    let key = head.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    Ok(key.is_some_and(|key| key.starts_with(b"\"headers\"") || key.starts_with(b"\"body\"")))
}

/// A capture, what is known of it, and how far it was read.
pub(super) struct Captured {
    path: PathBuf,
    requests: Option<Requests>,
    /// Of the request that was read and is not due yet.
    ahead: Option<Read>,
    /// Samples that are not due yet.
    waiting: HashMap<Labels, Vec<Sample>>,
    pub(super) catalogue: Catalogue,
    pub(super) extent: Window,
    /// Samples that are native histograms, which are not compared.
    pub(super) native_histograms: u64,
}

type Labels = BTreeMap<String, String>;

impl Captured {
    /// Reads it once to know its metrics, and from when to when it goes.
    pub(super) fn open(side: Side, path: &Path, bar: &Bar) -> anyhow::Result<Captured> {
        let mut requests = Requests::open(path)?;
        let mut catalogue = Catalogue::new(side);
        let (mut extent, mut native_histograms, mut samples) = (Window::EMPTY, 0, 0);
        while let Some(request) = requests.next()? {
            for series in request.series {
                native_histograms += u64::from(series.native_histograms);
                samples += series.samples.len() as u64;
                times(&series.samples).for_each(|time_unix_ms| extent.add(time_unix_ms * 1_000_000));
                let name = series.labels.into_iter().find(|(name, _)| name == "__name__");
                if let Some((_, name)) = name.filter(|_| !series.samples.is_empty())
                    && !catalogue.names.contains(&name)
                {
                    catalogue.names.insert(name);
                }
            }
            let known = request.types.into_iter().filter_map(|(family, kind)| Some((family, word(kind)?.to_owned())));
            catalogue.types.extend(known);
            bar.say(&format!("{}: {} samples", path.display(), number(samples)));
        }
        let (requests, ahead, waiting) = Default::default();
        Ok(Captured { path: path.to_owned(), requests, ahead, waiting, catalogue, extent, native_histograms })
    }

    /// Gives the samples up to a time, put together to metrics.
    pub(super) fn read(&mut self, to_unix_ns: u64, observe: &mut impl FnMut(Batch)) -> anyhow::Result<()> {
        let to_unix_ms = to_unix_ns / 1_000_000;
        let requests = match &mut self.requests {
            Some(requests) => requests,
            requests => requests.insert(Requests::open(&self.path)?),
        };
        loop {
            let next = match self.ahead.take() {
                Some(request) => Some(request),
                None => requests.next()?,
            };
            let Some(request) = next else { break };
            let newest = request.series.iter().flat_map(|series| times(&series.samples)).max();
            if newest.is_some_and(|newest| newest > to_unix_ms.saturating_add(LATE_MS)) {
                self.ahead = Some(request);
                break;
            }
            for series in request.series {
                let samples = self.waiting.entry(series.labels.into_iter().collect()).or_default();
                let samples_of = series.samples.iter().filter(|sample| is_time(sample.timestamp));
                samples.extend(
                    samples_of
                        .map(|sample| Sample { time_unix_ms: sample.timestamp.unsigned_abs(), value: sample.value }),
                );
            }
        }
        self.give(to_unix_ms, observe);
        Ok(())
    }

    fn give(&mut self, to_unix_ms: u64, observe: &mut impl FnMut(Batch)) {
        let mut due: Vec<Series> = Vec::new();
        self.waiting.retain(|labels, samples| {
            let (mut values, later): (Vec<Sample>, Vec<Sample>) =
                samples.iter().partition(|sample| sample.time_unix_ms <= to_unix_ms);
            *samples = later;
            // What was sent again after a failure is the same sample.
            values.sort_by_key(|sample| sample.time_unix_ms);
            values.dedup_by_key(|sample| sample.time_unix_ms);
            if !values.is_empty() {
                due.push(Series { metric: labels.clone(), values, histograms: Vec::new() });
            }
            !samples.is_empty()
        });
        // The order of a map is no order.
        due.sort_by(|one, other| one.metric.cmp(&other.metric));
        batches(&self.catalogue.families, due).into_iter().for_each(observe);
    }
}

fn is_time(unix_ms: i64) -> bool {
    (0..=TIME_MS_MAX).contains(&unix_ms)
}

fn times(samples: &[prom::write::proto::Sample]) -> impl Iterator<Item = u64> {
    samples.iter().filter(|sample| is_time(sample.timestamp)).map(|sample| sample.timestamp.unsigned_abs())
}

/// The word that the metadata of a Prometheus HTTP API has for a type.
fn word(kind: MetricType) -> Option<&'static str> {
    Some(match kind {
        MetricType::Unknown => return None,
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::GaugeHistogram => "gaugehistogram",
        MetricType::Summary => "summary",
        MetricType::Info => "info",
        MetricType::StateSet => "stateset",
    })
}

/// The requests of a capture, one after the other.
struct Requests {
    path: PathBuf,
    bodies: Bodies,
    number: u64,
}

enum Bodies {
    /// A JSON object on each line.
    Lines(Unpacked),
    /// A body in each file.
    Files(std::vec::IntoIter<PathBuf>),
}

#[derive(Deserialize)]
struct Kept {
    #[serde(default)]
    headers: HashMap<String, String>,
    body: String,
}

impl Requests {
    fn open(path: &Path) -> anyhow::Result<Requests> {
        let bodies = match path.is_dir() {
            false => Bodies::Lines(unpacked(path)?),
            true => {
                let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
                let mut files = Vec::new();
                for entry in entries {
                    let file = entry?.path();
                    files.extend(file.is_file().then_some(file));
                }
                files.sort_unstable();
                Bodies::Files(files.into_iter())
            }
        };
        Ok(Requests { path: path.to_owned(), bodies, number: 0 })
    }

    /// The next request; none at the end.
    fn next(&mut self) -> anyhow::Result<Option<Read>> {
        loop {
            self.number += 1;
            let (place, body) = match &mut self.bodies {
                Bodies::Lines(reader) => {
                    let place = format!("{}, line {}", self.path.display(), self.number);
                    let Some(line) = line(reader).with_context(|| place.clone())? else { return Ok(None) };
                    if line.trim_ascii().is_empty() {
                        continue;
                    }
                    let body = body_of(&line).with_context(|| place.clone())?;
                    (place, body)
                }
                Bodies::Files(files) => {
                    let Some(file) = files.next() else { return Ok(None) };
                    let place = file.display().to_string();
                    let size = fs::metadata(&file).with_context(|| place.clone())?.len();
                    if size > BODY_BYTES_MAX as u64 {
                        bail!("{place}: a body has at most {BODY_BYTES_MAX} bytes, and this file {size}");
                    }
                    let packed = fs::read(&file).with_context(|| place.clone())?;
                    let body = decompress(Coding::Snappy, &packed, BODY_BYTES_MAX);
                    let body = body.context("expected the body of a remote write, compressed with snappy");
                    (place.clone(), body.with_context(|| place)?)
                }
            };
            return prom::write::read(&body, BODY_BYTES_MAX).map(Some).context(place);
        }
    }
}

/// The body of a line, unpacked.
fn body_of(line: &[u8]) -> anyhow::Result<bytes::Bytes> {
    const EXPECTED: &str =
        "expected a captured request such as `{\"headers\": {…}, \"body\": \"…\"}`, the body in base64";
    let kept: Kept = serde_json::from_slice(line).context(EXPECTED)?;
    let packed = STANDARD.decode(kept.body.trim()).context(EXPECTED)?;
    let coding = kept.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    let coding = match coding {
        None => Coding::Snappy,
        Some((_, name)) => {
            Coding::parse(name).with_context(|| format!("the content encoding `{name}` is not known"))?
        }
    };
    Ok(decompress(coding, &packed, BODY_BYTES_MAX)?)
}

#[cfg(test)]
mod tests {
    use prom::write::proto::{Label, Sample as Written, TimeSeries, WriteRequest};
    use prost::Message;

    use super::*;

    fn body(name: &str, samples: &[(i64, f64)]) -> Vec<u8> {
        let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
        let series = TimeSeries {
            labels: [("__name__", name), ("job", "a")].map(label).to_vec(),
            samples: samples
                .iter()
                .map(|(timestamp, value)| Written { value: *value, timestamp: *timestamp })
                .collect(),
            ..TimeSeries::default()
        };
        let request = WriteRequest { timeseries: vec![series], metadata: Vec::new() };
        transport::coding::compress(Coding::Snappy, transport::coding::Level::default(), &request.encode_to_vec())
            .to_vec()
    }

    fn check(path: &Path, expected: Result<u64, &str>) {
        let mut requests = Requests::open(path).unwrap();
        let mut samples = 0;
        let ended = loop {
            match requests.next() {
                Ok(Some(request)) => samples += request.series.iter().map(|one| one.samples.len() as u64).sum::<u64>(),
                Ok(None) => break Ok(samples),
                Err(error) => break Err(format!("{error:#}")),
            }
        };
        match (ended, expected) {
            (Ok(samples), Ok(expected)) => assert_eq!(samples, expected),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{expected} is not in {said}"),
            (ended, _) => panic!("{ended:?}"),
        }
    }

    fn line_of(body: &[u8], coding: &str) -> String {
        format!("{{\"headers\":{{\"Content-Encoding\":\"{coding}\"}},\"body\":\"{}\"}}\n", STANDARD.encode(body))
    }

    #[test]
    fn bodies_stand_on_lines_or_in_files() {
        let directory = tempfile::tempdir().unwrap();
        let bodies = directory.path().join("bodies");
        fs::create_dir(&bodies).unwrap();
        fs::write(bodies.join("0001"), body("a", &[(1, 1.0)])).unwrap();
        fs::write(bodies.join("0002"), body("a", &[(2, 1.0), (3, 1.0)])).unwrap();
        assert!(is_capture(&bodies).unwrap());
        check(&bodies, Ok(3));
        let file = directory.path().join("capture.jsonl");
        let text = line_of(&body("a", &[(1, 1.0)]), "snappy") + "\n" + &line_of(&body("a", &[(2, 1.0)]), "SNAPPY");
        fs::write(&file, &text).unwrap();
        assert!(is_capture(&file).unwrap());
        check(&file, Ok(2));
        fs::write(&file, text + "{\"body\":\"?\"}").unwrap();
        check(&file, Err("line 4: expected a captured request"));
        fs::write(&file, line_of(&body("a", &[(1, 1.0)]), "brotli")).unwrap();
        check(&file, Err("the content encoding `brotli` is not known"));
        fs::write(bodies.join("0003"), "no body").unwrap();
        check(&bodies, Err("expected the body of a remote write, compressed with snappy"));
        fs::write(&file, "{\"resourceMetrics\":[]}").unwrap();
        assert!(!is_capture(&file).unwrap());
    }

    #[test]
    fn samples_are_given_by_their_time_whichever_connection_they_came_over() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("capture.jsonl");
        let bodies = [
            body("a", &[(100_000, 1.0), (-5, 1.0), (i64::MAX, 1.0)]),
            body("b", &[(200_000, 2.0)]),
            body("a", &[(150_000, 3.0), (100_000, 1.0)]),
            body("a", &[(900_000, 4.0)]),
        ];
        let text: String = bodies.iter().map(|body| line_of(body, "snappy")).collect();
        fs::write(&file, text).unwrap();
        let mut captured = Captured::open(Side::New, &file, &Bar::hidden()).unwrap();
        assert_eq!((captured.extent.from_unix_ns, captured.extent.to_unix_ns), (100_000_000_000, 900_000_000_000));
        super::super::prometheus::agree([Vec::new(), vec![&mut captured.catalogue]], &[]);
        let mut given = Vec::new();
        for to_unix_ns in [150_000_000_000, 300_000_000_000, u64::MAX] {
            let mut items = 0;
            captured.read(to_unix_ns, &mut |batch| items += batch.items()).unwrap();
            given.push(items);
        }
        assert_eq!(given, [2, 1, 1]);
    }

    #[test]
    fn no_capture_makes_it_panic() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("capture.jsonl");
        let sound = line_of(&body("a_total", &[(100_000, 1.0), (115_000, 2.0)]), "snappy");
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..400 {
            let mut bytes = sound.clone().into_bytes();
            for _ in 0..random.usize(..4) {
                let at = random.usize(..bytes.len());
                match random.bool() {
                    true => bytes[at] = random.u8(..),
                    false => bytes.truncate(at.max(1)),
                }
            }
            fs::write(&file, &bytes).unwrap();
            if let Ok(mut captured) = Captured::open(Side::New, &file, &Bar::hidden()) {
                let _ = captured.read(u64::MAX, &mut drop);
            }
        }
    }
}
