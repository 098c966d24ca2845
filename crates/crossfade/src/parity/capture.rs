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
use prom::write::proto::MetricType;
use prom::write::{NativeHistogram, Read, ReadSeries};
use report::columns::number;
use serde::Deserialize;
use transport::coding::{Coding, decompress};

use super::compare::Bar;
use super::prometheus::{Catalogue, LeftOut, Sample, Series, batches, left_out};
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
    waiting: HashMap<Labels, Waiting>,
    pub(super) catalogue: Catalogue,
    pub(super) extent: Window,
    /// Samples that are not compared.
    pub(super) left_out: LeftOut,
}

type Labels = BTreeMap<String, String>;

/// Samples of a series.
#[derive(Debug, Default)]
struct Waiting {
    samples: Vec<Sample>,
    histograms: Vec<NativeHistogram>,
}

impl Captured {
    /// Reads it once to know its metrics, and from when to when it goes.
    pub(super) fn open(side: Side, path: &Path, bar: &Bar) -> anyhow::Result<Captured> {
        let mut requests = Requests::open(path)?;
        let mut catalogue = Catalogue::new(side);
        let (mut extent, mut left_out, mut samples) = (Window::EMPTY, LeftOut::default(), 0);
        while let Some(request) = requests.next()? {
            for series in request.series {
                left_out.gauges += u64::from(series.gauge_histograms);
                samples += (series.samples.len() + series.histograms.len()) as u64;
                times(&series).for_each(|time_unix_ms| extent.add(time_unix_ms * 1_000_000));
                let is_empty = series.samples.is_empty() && series.histograms.is_empty();
                let name = series.labels.into_iter().find(|(name, _)| name == "__name__");
                if let Some((_, name)) = name.filter(|_| !is_empty)
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
        Ok(Captured { path: path.to_owned(), requests, ahead, waiting, catalogue, extent, left_out })
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
            let newest = request.series.iter().flat_map(times).max();
            if newest.is_some_and(|newest| newest > to_unix_ms.saturating_add(LATE_MS)) {
                self.ahead = Some(request);
                break;
            }
            for series in request.series {
                let waiting = self.waiting.entry(series.labels.into_iter().collect()).or_default();
                let samples = series.samples.iter().filter(|sample| is_time(sample.timestamp));
                let sample = |sample: &prom::write::proto::Sample| Sample {
                    time_unix_ms: sample.timestamp.unsigned_abs(),
                    value: sample.value,
                };
                waiting.samples.extend(samples.map(sample));
                let histograms = series.histograms.into_iter();
                waiting.histograms.extend(histograms.filter(|histogram| is_time(histogram.timestamp)));
            }
        }
        self.give(to_unix_ms, observe);
        Ok(())
    }

    fn give(&mut self, to_unix_ms: u64, observe: &mut impl FnMut(Batch)) {
        let mut due: Vec<Series> = Vec::new();
        self.waiting.retain(|labels, waiting| {
            // What was sent again after a failure is the same sample.
            let values = due_of(&mut waiting.samples, to_unix_ms, |sample| sample.time_unix_ms);
            let histograms = due_of(&mut waiting.histograms, to_unix_ms, |one| one.timestamp.unsigned_abs());
            if !values.is_empty() || !histograms.is_empty() {
                due.push(Series { metric: labels.clone(), values, histograms });
            }
            !waiting.samples.is_empty() || !waiting.histograms.is_empty()
        });
        // The order of a map is no order.
        due.sort_by(|one, other| one.metric.cmp(&other.metric));
        self.left_out.gauges += left_out(&self.catalogue.families, &due);
        batches(&self.catalogue.families, due).into_iter().for_each(observe);
    }
}

/// Takes what is due, by its time and each time once.
fn due_of<T>(waiting: &mut Vec<T>, to_unix_ms: u64, time_unix_ms: impl Fn(&T) -> u64) -> Vec<T> {
    let is_due = |one: &T| time_unix_ms(one) <= to_unix_ms;
    let (mut due, later): (Vec<T>, Vec<T>) = std::mem::take(waiting).into_iter().partition(is_due);
    *waiting = later;
    due.sort_by_key(&time_unix_ms);
    due.dedup_by_key(|one| time_unix_ms(one));
    due
}

fn is_time(unix_ms: i64) -> bool {
    (0..=TIME_MS_MAX).contains(&unix_ms)
}

fn times(series: &ReadSeries) -> impl Iterator<Item = u64> {
    let samples = series.samples.iter().map(|sample| sample.timestamp);
    let histograms = series.histograms.iter().map(|histogram| histogram.timestamp);
    samples.chain(histograms).filter(|time| is_time(*time)).map(i64::unsigned_abs)
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
mod tests;
