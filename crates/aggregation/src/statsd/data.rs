//! What is written of a series.

use std::sync::Arc;

use otlp::NumberValue;

use super::series::{Series, Shape};
use super::settings::Toggle;

/// A data point.
#[derive(Clone, Debug)]
pub(super) struct Point<'a> {
    pub(super) series: &'a Series,
    /// From when on it counts; nothing where that means nothing, or is unknown.
    pub(super) start_ns: u64,
    pub(super) time_ns: u64,
    pub(super) monotonic: Toggle,
    pub(super) data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    Gauge(NumberValue),
    Sum(NumberValue),
    Summary {
        count: u64,
        sum: f64,
        quantiles: Vec<(f64, f64)>,
    },
    Explicit {
        counts: Vec<u64>,
        bounds: Arc<[f64]>,
        sum: f64,
        min: f64,
        max: f64,
    },
    /// Buckets are the index of the first one and the counts from there on.
    Exponential {
        scale: i32,
        zero: u64,
        positive: (i32, Vec<u64>),
        negative: (i32, Vec<u64>),
        sum: f64,
        min: f64,
        max: f64,
    },
    /// The series ends.
    Stale,
}

/// What kind of metric a point belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MetricKind {
    Gauge,
    Sum,
    MonotonicSum,
    Summary,
    Explicit,
    Exponential,
}

impl Point<'_> {
    pub(super) fn kind(&self) -> MetricKind {
        match (&self.series.shape, self.monotonic) {
            (Shape::Counter, Toggle::Off) => MetricKind::Sum,
            (Shape::Counter, Toggle::On) => MetricKind::MonotonicSum,
            (Shape::Gauge | Shape::Set | Shape::Points, _) => MetricKind::Gauge,
            (Shape::Summary { .. }, _) => MetricKind::Summary,
            (Shape::Explicit { .. }, _) => MetricKind::Explicit,
            (Shape::Exponential { .. }, _) => MetricKind::Exponential,
        }
    }

    /// Points with the same go into one metric.
    pub(super) fn metric(&self) -> (&str, MetricKind, &str) {
        (&self.series.name, self.kind(), self.series.unit)
    }
}
