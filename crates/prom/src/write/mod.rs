//! From OTLP to remote write 1.0, and requests of 1.0 and 2.0 read.
//!
//! Specification: OpenTelemetry, "Prometheus and OpenMetrics Compatibility",
//! [OTLP Metric points to Prometheus](https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#otlp-metric-points-to-prometheus);
//! [Prometheus Remote-Write 1.0](https://prometheus.io/docs/specs/prw/remote_write_spec/). What they leave open is decided
//! as the Collector's exporter does.
//!
//! A [`Converter`] reads a batch once and writes the series as bytes; nothing is decoded in between. It spreads them over
//! lanes and cuts them into [`Request`]s, and it counts: every data point is in exactly one request or has exactly one
//! reason why it is in none. So `batch.items()` is the sum of the requests' items and of the [`Refused`] ones.
//!
//! | OTLP | series |
//! |---|---|
//! | gauge, cumulative sum | one |
//! | cumulative histogram | `_bucket` for each bound and `+Inf`, `_count`, `_sum` if there is one |
//! | cumulative exponential histogram | one, with native histograms |
//! | summary | one for each quantile, `_count`, `_sum` |
//! | resource | `target_info` |

mod convert;
mod histogram;
mod labels;
mod lanes;
mod metric;
mod native;
mod natives;
mod points;
pub mod proto;
mod read;
mod text;

pub use convert::Converter;
pub use lanes::{Partition, Request};
pub use native::{SCHEMA_MAX, SCHEMA_MIN};
pub use natives::{NativeBuckets, NativeError, NativeHistogram};
pub use read::{MetadataV2, Read, ReadError, ReadSeries, RequestV2, SampleV2, TimeSeriesV2, read};
pub use text::value_text;

use crate::names::Strategy;

/// What becomes of the attributes of a resource (`resource_to_telemetry_conversion`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResourceLabels {
    /// They are in `target_info` only.
    #[default]
    None,
    /// Each is also a label of every series.
    All,
    /// The same without `service.name`, `service.namespace` and `service.instance.id`, which are `job` and `instance`.
    WithoutService,
}

/// Whether `target_info` is sent (`target_info.enabled`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetInfo {
    /// Once for each resource of a batch, at the time of its latest data point.
    #[default]
    Send,
    /// Never.
    Omit,
}

/// Whether series have `otel_scope_*` labels (`disable_scope_info`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeLabels {
    /// Where the scope has a name, a version or attributes.
    #[default]
    Send,
    /// Never.
    Omit,
}

/// Whether what describes the metrics of a batch is sent with it (`send_metadata`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metadata {
    /// Yes, in requests of their own.
    Send,
    /// No.
    #[default]
    Omit,
}

/// How batches are converted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What every metric's name starts with, before a `_`; may be empty.
    pub namespace: String,
    /// How names are translated.
    pub strategy: Strategy,
    /// Labels of every series that does not have them already. Names are translated as attribute keys are.
    pub external_labels: Vec<(String, String)>,
    /// What becomes of the attributes of a resource.
    pub resource_labels: ResourceLabels,
    /// Whether `target_info` is sent.
    pub target_info: TargetInfo,
    /// Whether series have `otel_scope_*` labels.
    pub scope_labels: ScopeLabels,
}

/// Why a data point has no place in Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// It counts from the last report, or does not say from when; series are cumulative.
    NotCumulative,
    /// It has no value and does not say that there is none.
    NoValue,
    /// Its metric has no name, or one of which nothing is left.
    MetricName,
    /// One of its attributes has no key, or one of which nothing is left.
    LabelName,
    /// The scale of an exponential histogram is below -4.
    ScaleTooSmall,
    /// An exponential histogram without a sum.
    NoSum,
    /// The buckets of an exponential histogram lie beyond the indices that there are.
    BucketIndex,
    /// Its metric is of a kind that this version does not know.
    UnknownKind,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Refusal; 8] = [
        Self::NotCumulative,
        Self::NoValue,
        Self::MetricName,
        Self::LabelName,
        Self::ScaleTooSmall,
        Self::NoSum,
        Self::BucketIndex,
        Self::UnknownKind,
    ];

    /// The word for metrics and ledgers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotCumulative => "not_cumulative",
            Self::NoValue => "no_value",
            Self::MetricName => "metric_name",
            Self::LabelName => "label_name",
            Self::ScaleTooSmall => "scale_too_small",
            Self::NoSum => "no_sum",
            Self::BucketIndex => "bucket_index",
            Self::UnknownKind => "unknown_kind",
        }
    }
}

impl std::fmt::Display for Refusal {
    /// What it means and what to do.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotCumulative => {
                "delta or unspecified temporality: Prometheus needs cumulative values; set the SDK's temporality \
                 preference to cumulative, or convert with cumulative metrics before this exporter"
            }
            Self::NoValue => "a data point without a value",
            Self::MetricName => "a metric without a name that Prometheus can have",
            Self::LabelName => "an attribute without a key that can be a label's name",
            Self::ScaleTooSmall => "an exponential histogram with a scale below -4",
            Self::NoSum => "an exponential histogram without a sum",
            Self::BucketIndex => "an exponential histogram with buckets beyond 2^31",
            Self::UnknownKind => "a metric of a kind that this version does not know",
        })
    }
}

/// How many data points were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    items: [u32; Refusal::ALL.len()],
}

impl Refused {
    /// How many were refused for a reason.
    pub fn get(&self, reason: Refusal) -> u32 {
        self.items[reason as usize]
    }

    /// How many were refused.
    pub fn total(&self) -> u32 {
        self.items.iter().sum()
    }

    /// The reasons for which any were refused, with their number.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u32)> {
        Refusal::ALL.into_iter().map(|reason| (reason, self.get(reason))).filter(|(_, items)| *items > 0)
    }

    fn add(&mut self, reason: Refusal, items: u32) {
        self.items[reason as usize] += items;
    }
}

/// Bit 0 of a data point's flags: there is no recorded value, which is a staleness marker.
fn is_stale(flags: u32) -> bool {
    flags & 1 != 0
}

/// Milliseconds of nanoseconds, both since the epoch.
fn timestamp_ms(nanos: u64) -> i64 {
    (nanos / 1_000_000) as i64
}
