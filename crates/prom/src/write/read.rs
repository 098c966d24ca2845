//! Requests of remote write 1.0 and 2.0, read.
//!
//! Specification: [Prometheus Remote-Write 2.0](https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/) and the
//! messages of Prometheus' `prompb/io/prometheus/write/v2/types.proto`, and those of [`super::proto`]. The two versions
//! have no field in common, so that a request says by itself which of them it is.

use prost::Message;

use super::natives::{NativeError, NativeHistogram, is_gauge, is_stale};
use super::proto::{Histogram, Label, MetricType, Sample, WriteRequest};

/// What a request carries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// Its series, in its order.
    pub series: Vec<ReadSeries>,
    /// What it says of metrics: the name of the family, and its type.
    pub types: Vec<(String, MetricType)>,
}

/// A series of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadSeries {
    /// Its labels, `__name__` among them.
    pub labels: Vec<(String, String)>,
    /// Samples that are floats.
    pub samples: Vec<Sample>,
    /// Samples that are native histograms. Those that only say that the series ended are left out.
    pub histograms: Vec<NativeHistogram>,
    /// How many more are gauges, whose counts may fall; nothing else is read of them.
    pub gauge_histograms: u32,
}

/// Why a request cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No protobuf, or another message.
    #[error("no request of remote write: {0}")]
    Protobuf(String),
    /// A reference to a text that is not there.
    #[error("series {series} refers to symbol {symbol}, and there are {symbols}")]
    Symbol {
        /// The series, from 0 on.
        series: usize,
        /// The reference.
        symbol: u32,
        /// How many there are.
        symbols: usize,
    },
    /// A label without its value.
    #[error("series {series} has {references} references for names and values of labels, which is an odd number")]
    OddLabels {
        /// The series, from 0 on.
        series: usize,
        /// How many references it has.
        references: usize,
    },
    /// The labels would be larger than is allowed: version 2 refers to each text as often as it likes.
    #[error("the labels of the request exceed {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// A native histogram that is none.
    #[error("series {series}, native histogram {histogram}: {error}")]
    Native {
        /// The series, from 0 on.
        series: usize,
        /// Which one of the series, from 0 on.
        histogram: usize,
        /// What is wrong.
        error: NativeError,
    },
}

/// Reads a request, of either version and not compressed any more. `size_bytes_max` bounds the texts of its labels.
///
/// # Errors
/// [`ReadError`] says what is wrong.
pub fn read(request: &[u8], size_bytes_max: usize) -> Result<Read, ReadError> {
    let told = |error: prost::DecodeError| ReadError::Protobuf(error.to_string());
    match version(request) {
        Version::One => of_version_1(WriteRequest::decode(request).map_err(told)?),
        Version::Two => of_version_2(&RequestV2::decode(request).map_err(told)?, size_bytes_max),
    }
}

enum Version {
    One,
    Two,
}

/// The version, by the first field: 1 and 3 are of version 1, 4 and 5 of version 2.
fn version(request: &[u8]) -> Version {
    match request.first().map(|tag| tag >> 3) {
        Some(4 | 5) => Version::Two,
        _ => Version::One,
    }
}

fn of_version_1(request: WriteRequest) -> Result<Read, ReadError> {
    let mut series = Vec::with_capacity(request.timeseries.len());
    for (at, one) in request.timeseries.into_iter().enumerate() {
        let (histograms, gauge_histograms) = natives(at, &one.histograms)?;
        let labels = one.labels.into_iter().map(|Label { name, value }| (name, value)).collect();
        series.push(ReadSeries { labels, samples: one.samples, histograms, gauge_histograms });
    }
    let types = request.metadata.into_iter().map(|metadata| {
        let kind = metadata.r#type();
        (metadata.metric_family_name, kind)
    });
    Ok(Read { series, types: types.collect() })
}

/// The native histograms of a series, and how many more are gauges.
fn natives(series: usize, histograms: &[Histogram]) -> Result<(Vec<NativeHistogram>, u32), ReadError> {
    let (mut found, mut gauges) = (Vec::new(), 0);
    for (at, histogram) in histograms.iter().enumerate().filter(|(_, histogram)| !is_stale(histogram)) {
        if is_gauge(histogram) {
            gauges += 1;
            continue;
        }
        let told = |error| ReadError::Native { series, histogram: at, error };
        found.push(NativeHistogram::try_from(histogram).map_err(told)?);
    }
    Ok((found, gauges))
}

fn of_version_2(request: &RequestV2, size_bytes_max: usize) -> Result<Read, ReadError> {
    let mut left_bytes = size_bytes_max;
    let mut read = Read::default();
    for (at, series) in request.timeseries.iter().enumerate() {
        let symbol = |reference: u32| {
            let found = request.symbols.get(reference as usize);
            found.ok_or(ReadError::Symbol { series: at, symbol: reference, symbols: request.symbols.len() })
        };
        if !series.labels_refs.len().is_multiple_of(2) {
            return Err(ReadError::OddLabels { series: at, references: series.labels_refs.len() });
        }
        let mut labels = Vec::with_capacity(series.labels_refs.len() / 2);
        for pair in series.labels_refs.chunks_exact(2) {
            let (name, value) = (symbol(pair[0])?, symbol(pair[1])?);
            left_bytes = left_bytes
                .checked_sub(name.len() + value.len())
                .ok_or(ReadError::TooLarge { limit_bytes: size_bytes_max })?;
            labels.push((name.clone(), value.clone()));
        }
        if let Some(kind) = series.metadata.as_ref().map(MetadataV2::r#type).filter(|kind| *kind != MetricType::Unknown)
            && let Some((_, name)) = labels.iter().find(|(name, _)| name == "__name__")
        {
            let family = family(name, kind);
            if !read.types.iter().rev().take(TYPES_LOOKED_BACK).any(|(known, _)| known == family) {
                read.types.push((family.to_owned(), kind));
            }
        }
        let (histograms, gauge_histograms) = natives(at, &series.histograms)?;
        read.series.push(ReadSeries {
            labels,
            samples: series
                .samples
                .iter()
                .map(|sample| Sample { value: sample.value, timestamp: sample.timestamp })
                .collect(),
            histograms,
            gauge_histograms,
        });
    }
    Ok(read)
}

/// Series of one metric stand near each other, so that one more mention of its type is seldom.
const TYPES_LOOKED_BACK: usize = 8;

/// The name of the family that a series belongs to: version 2 says the type of the family with every series of it.
fn family(name: &str, kind: MetricType) -> &str {
    let suffixes: &[&str] = match kind {
        MetricType::Histogram | MetricType::GaugeHistogram => &["_bucket", "_count", "_sum"],
        MetricType::Summary => &["_count", "_sum"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|family| !family.is_empty()).unwrap_or(name)
}

/// `io.prometheus.write.v2.Request`.
#[derive(Clone, PartialEq, Message)]
pub struct RequestV2 {
    /// Every text of the request; the first one is empty.
    #[prost(string, repeated, tag = "4")]
    pub symbols: Vec<String>,
    /// Series with their samples.
    #[prost(message, repeated, tag = "5")]
    pub timeseries: Vec<TimeSeriesV2>,
}

/// `io.prometheus.write.v2.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeriesV2 {
    /// Names and values of labels, one after the other, as references to symbols.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// Samples that are floats.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<SampleV2>,
    /// Samples that are native histograms, with the fields of version 1.
    #[prost(message, repeated, tag = "3")]
    pub histograms: Vec<Histogram>,
    /// What describes the metric.
    #[prost(message, optional, tag = "5")]
    pub metadata: Option<MetadataV2>,
}

/// `io.prometheus.write.v2.Sample`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SampleV2 {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// `io.prometheus.write.v2.Metadata`, as far as it is read.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct MetadataV2 {
    /// The type; the numbers are those of version 1.
    #[prost(enumeration = "MetricType", tag = "1")]
    pub r#type: i32,
}
