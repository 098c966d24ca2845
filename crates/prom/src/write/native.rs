//! Exponential histograms as native histograms.
//!
//! Specification: OpenTelemetry, "Prometheus and OpenMetrics Compatibility",
//! [Exponential Histograms](https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#exponential-histograms);
//! Prometheus, [Native Histograms](https://prometheus.io/docs/specs/native_histograms/).

use otlp::view::{BucketsView, ExponentialHistogramPointView};
use otlp::wire::{OpenField, write_double_field, write_fixed64_field, write_varint, write_varint_field, zigzag_encode};

use super::{Refusal, is_stale};
use crate::text::STALE_NAN;

/// The coarsest schema that Prometheus has for exponential histograms.
pub const SCHEMA_MIN: i32 = -4;
/// The finest one.
pub const SCHEMA_MAX: i32 = 8;

/// The width of the zero bucket where OTLP gives none: what Prometheus' own clients use.
const ZERO_THRESHOLD_DEFAULT: f64 = 1e-128;

/// So many empty buckets in a row are written as such; more of them begin a new span.
const GAP_MAX: i64 = 2;

/// Appends the fields of a `Histogram` message.
pub(super) fn write_native_histogram(
    point: &ExponentialHistogramPointView<'_>,
    timestamp_ms: i64,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let scale = point.scale();
    if scale < SCHEMA_MIN {
        return Err(Refusal::ScaleTooSmall);
    }
    let is_stale = is_stale(point.flags());
    if !is_stale && point.sum().is_none() {
        return Err(Refusal::NoSum);
    }
    // Merging 2^n buckets into one brings the scale down by n.
    let merge = (scale - SCHEMA_MAX).max(0).unsigned_abs();
    let (count, sum) =
        if is_stale { (STALE_NAN.to_bits(), STALE_NAN) } else { (point.count(), point.sum().unwrap_or(0.0)) };
    write_varint_field(out, 1, count);
    write_double_field(out, 3, sum);
    write_varint_field(out, 4, zigzag_encode(i64::from(scale.min(SCHEMA_MAX))));
    let zero_threshold = if point.zero_threshold() == 0.0 { ZERO_THRESHOLD_DEFAULT } else { point.zero_threshold() };
    write_double_field(out, 5, zero_threshold);
    write_varint_field(out, 6, point.zero_count());
    write_buckets(&point.negative(), merge, (8, 9), out)?;
    write_buckets(&point.positive(), merge, (11, 12), out)?;
    write_varint_field(out, 15, timestamp_ms as u64);
    Ok(())
}

struct Span {
    offset: i64,
    length: u32,
}

/// Dense buckets of OTLP as spans and deltas. The index of a bucket is one higher: OTLP counts by lower bounds.
fn write_buckets(buckets: &BucketsView<'_>, merge: u32, fields: (u32, u32), out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut spans: Vec<Span> = Vec::new();
    let mut deltas = Vec::new();
    let (mut next_index, mut last_count) = (0_i64, 0_i64);
    let mut push = |count: i64, span: &mut Span| {
        deltas.push(count.wrapping_sub(last_count));
        last_count = count;
        span.length += 1;
    };
    for (index, count) in merged(buckets, merge) {
        let gap = index - next_index;
        match spans.last_mut() {
            Some(span) if gap <= GAP_MAX => {
                for _ in 0..gap {
                    push(0, span);
                }
                push(count, span);
            }
            _ => {
                let mut span = Span { offset: gap, length: 0 };
                push(count, &mut span);
                spans.push(span);
            }
        }
        next_index = index + 1;
    }
    for span in &spans {
        let offset = i32::try_from(span.offset).map_err(|_| Refusal::BucketIndex)?;
        let open = OpenField::begin(out, fields.0, 8);
        write_varint_field(out, 1, zigzag_encode(i64::from(offset)));
        write_varint_field(out, 2, u64::from(span.length));
        open.end(out);
    }
    if !deltas.is_empty() {
        let open = OpenField::begin(out, fields.1, deltas.len());
        deltas.into_iter().for_each(|delta| write_varint(out, zigzag_encode(delta)));
        open.end(out);
    }
    Ok(())
}

/// The buckets that are not empty, by their index in Prometheus, each merged of 2^`merge`.
fn merged(buckets: &BucketsView<'_>, merge: u32) -> impl Iterator<Item = (i64, i64)> {
    let offset = i64::from(buckets.offset());
    // A scale of OTLP has 32 bits; from 63 on, everything on one side falls into one bucket.
    let merge = merge.min(62);
    let mut dense = buckets
        .bucket_counts()
        .enumerate()
        .map(move |(position, count)| (((offset + position as i64) >> merge) + 1, count as i64))
        .filter(|(_, count)| *count != 0)
        .peekable();
    std::iter::from_fn(move || {
        let (index, mut total) = dense.next()?;
        while let Some((_, count)) = dense.next_if(|(next, _)| *next == index) {
            total = total.wrapping_add(count);
        }
        Some((index, total))
    })
}

/// Appends a float sample: the fields of a `Sample` message, its length and the field of the series that holds it.
#[inline]
pub(super) fn write_sample(out: &mut Vec<u8>, value: f64, timestamp_ms: i64) {
    let open = OpenField::begin(out, 2, 16);
    if value.to_bits() != 0 {
        write_fixed64_field(out, 1, value.to_bits());
    }
    if timestamp_ms != 0 {
        write_varint_field(out, 2, timestamp_ms as u64);
    }
    open.end(out);
}
