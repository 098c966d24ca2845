//! What more than one room asks of the metrics that it sees.

use otlp::view::{KeyValueView, MetricData, Repeated};
use prom::names::MetricKind;
use xxhash_rust::xxh3::xxh3_64;

/// The kind that names are made by.
pub(crate) const fn kind_of(data: &MetricData<'_>) -> MetricKind {
    match data {
        MetricData::Gauge { .. } => MetricKind::Gauge,
        MetricData::Sum { is_monotonic: true, .. } => MetricKind::MonotonicSum,
        MetricData::Sum { .. } => MetricKind::NonMonotonicSum,
        MetricData::Histogram { .. } => MetricKind::Histogram,
        MetricData::ExponentialHistogram { .. } => MetricKind::ExponentialHistogram,
        MetricData::Summary { .. } => MetricKind::Summary,
        MetricData::Empty => MetricKind::Unknown,
    }
}

/// The same for the same attributes in any order.
pub(crate) fn hash_of(attributes: Repeated<'_, KeyValueView<'_>>) -> u64 {
    attributes.messages().fold(0, |sum: u64, attribute| sum.wrapping_add(xxh3_64(attribute)))
}
