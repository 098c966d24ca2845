//! Native histograms that are read: those that this crate wrote, those of servers, and those that are none.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics,
};
use prom::text::STALE_NAN;
use prom::write::proto::{BucketSpan, Count, Histogram, Label, TimeSeries, WriteRequest, ZeroCount};
use prom::write::{Converter, Metadata, NativeBuckets, NativeHistogram, RequestV2, Settings, TimeSeriesV2, read};
use proptest::prelude::*;
use prost::Message;

use crate::{MetricsRequest, ONE_LANE, batch};

const CUMULATIVE: i32 = 2;

fn buckets() -> impl Strategy<Value = Buckets> {
    let count = prop_oneof![3 => Just(0_u64), 5 => 1..1000_u64, 1 => 0..(1_u64 << 52)];
    (-1000..1000_i32, prop::collection::vec(count, 0..60))
        .prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts })
}

fn point() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    let numbers = (0..1_000_000_u64, -1e9..1e9_f64, -4..12_i32, 0..100_u64, prop_oneof![Just(0.0), Just(0.5)]);
    (numbers, buckets(), buckets(), 0..2_000_000_000_000_u64).prop_map(
        |((count, sum, scale, zero_count, zero_threshold), positive, negative, time_unix_ms)| {
            // At the lowest scales, few indices are numbers.
            let at_scale = |buckets: Buckets| match scale {
                ..0 => Buckets {
                    offset: buckets.offset % 10,
                    bucket_counts: buckets.bucket_counts[..buckets.bucket_counts.len().min(20)].to_vec(),
                },
                _ => buckets,
            };
            ExponentialHistogramDataPoint {
                time_unix_nano: time_unix_ms * 1_000_000,
                count,
                sum: Some(sum),
                scale,
                zero_count,
                zero_threshold,
                positive: Some(at_scale(positive)),
                negative: Some(at_scale(negative)),
                ..ExponentialHistogramDataPoint::default()
            }
        },
    )
}

fn request(point: ExponentialHistogramDataPoint) -> MetricsRequest {
    let histogram = ExponentialHistogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
    let data = Some(Data::ExponentialHistogram(histogram));
    let metrics = vec![Metric { name: "lag".to_owned(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    MetricsRequest { resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }] }
}

/// What is not empty, by the index that Prometheus has for it, at a scale of 8 at most.
fn expected(buckets: &Buckets, scale: i32) -> Vec<(i32, f64)> {
    // In whole numbers: as doubles, merged counts would be rounded each time.
    let mut found: BTreeMap<i32, u64> = BTreeMap::new();
    for (at, count) in (0..).zip(&buckets.bucket_counts).filter(|(_, count)| **count > 0) {
        let index = (buckets.offset + at).div_euclid(1 << (scale - 8).max(0)) + 1;
        *found.entry(index).or_default() += count;
    }
    found.into_iter().map(|(index, count)| (index, count as f64)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(point in point()) {
        let mut converter = Converter::new(Settings::default(), ONE_LANE);
        converter.append(&batch(&request(point.clone())), Metadata::Omit);
        let requests = converter.take();
        let found = read(&requests[0].body, 1 << 20).unwrap();
        let series = found.series.iter().find(|series| !series.histograms.is_empty()).unwrap();
        let (positive, negative) = (point.positive.unwrap(), point.negative.unwrap());
        let buckets = NativeBuckets::Exponential {
            schema: point.scale.min(8),
            zero_threshold: if point.zero_threshold == 0.0 { 1e-128 } else { point.zero_threshold },
            zero_count: point.zero_count as f64,
            negative: expected(&negative, point.scale),
            positive: expected(&positive, point.scale),
        };
        let histogram = NativeHistogram {
            timestamp: i64::try_from(point.time_unix_nano / 1_000_000).unwrap(),
            count: point.count as f64,
            sum: point.sum.unwrap(),
            buckets,
        };
        prop_assert_eq!(&series.histograms, &vec![histogram]);
    }
}

fn span(offset: i32, length: u32) -> BucketSpan {
    BucketSpan { offset, length }
}

fn sound() -> Histogram {
    Histogram {
        count: Some(Count::Int(9)),
        sum: 4.5,
        schema: 1,
        zero_threshold: 1e-128,
        zero_count: Some(ZeroCount::Int(1)),
        negative_spans: vec![span(3, 1)],
        negative_deltas: vec![2],
        positive_spans: vec![span(-2, 2), span(3, 1)],
        positive_deltas: vec![1, 1, 1],
        timestamp: 1000,
        ..Histogram::default()
    }
}

fn custom() -> Histogram {
    Histogram {
        count: Some(Count::Float(5.5)),
        schema: -53,
        custom_values: vec![-1.0, 0.5, 2.0],
        positive_spans: vec![span(1, 1), span(1, 1)],
        positive_counts: vec![2.5, 3.0],
        ..Histogram::default()
    }
}

/// The same histogram in a request of each version.
fn requests(histogram: &Histogram) -> [Vec<u8>; 2] {
    let label = Label { name: "__name__".to_owned(), value: "lag".to_owned() };
    let histograms = vec![histogram.clone()];
    let series = TimeSeries { labels: vec![label], histograms: histograms.clone(), ..TimeSeries::default() };
    let one = WriteRequest { timeseries: vec![series], metadata: Vec::new() };
    let symbols = ["", "__name__", "lag"].map(str::to_owned).to_vec();
    let series = TimeSeriesV2 { labels_refs: vec![1, 2], histograms, ..TimeSeriesV2::default() };
    [one.encode_to_vec(), RequestV2 { symbols, timeseries: vec![series] }.encode_to_vec()]
}

fn check(histogram: &Histogram, expected: Result<&[NativeBuckets], &str>) {
    for request in requests(histogram) {
        match (read(&request, 100), expected) {
            (Ok(found), Ok(expected)) => {
                let buckets: Vec<_> = found.series[0].histograms.iter().map(|one| one.buckets.clone()).collect();
                assert_eq!(buckets, expected, "{histogram:?}");
            }
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected),
            (found, expected) => panic!("{found:?}, and not {expected:?}"),
        }
    }
}

#[test]
fn spans_become_indices() {
    let buckets = NativeBuckets::Exponential {
        schema: 1,
        zero_threshold: 1e-128,
        zero_count: 1.0,
        negative: vec![(3, 2.0)],
        positive: vec![(-2, 1.0), (-1, 2.0), (3, 3.0)],
    };
    check(&sound(), Ok(std::slice::from_ref(&buckets)));
    let floats = Histogram { positive_deltas: Vec::new(), positive_counts: vec![1.0, 2.0, 3.0], ..sound() };
    check(&floats, Ok(&[buckets]));
}

#[test]
fn listed_bounds_are_read_with_the_counts_between_them() {
    let custom_buckets =
        |bounds: &[f64], counts: &[f64]| NativeBuckets::Custom { bounds: bounds.to_vec(), counts: counts.to_vec() };
    check(&custom(), Ok(&[custom_buckets(&[-1.0, 0.5, 2.0], &[0.0, 2.5, 0.0, 3.0])]));
    let infinite = Histogram { custom_values: vec![-1.0, 0.5, f64::INFINITY], ..custom() };
    check(&infinite, Ok(&[custom_buckets(&[-1.0, 0.5], &[0.0, 2.5, 3.0])]));
}

#[test]
fn the_end_of_a_series_is_no_histogram_and_a_gauge_is_only_counted() {
    check(&Histogram { sum: STALE_NAN, ..sound() }, Ok(&[]));
    let gauge = Histogram { reset_hint: 3, ..sound() };
    check(&gauge, Ok(&[]));
    let counted = requests(&gauge).map(|request| read(&request, 100).unwrap().series[0].gauge_histograms);
    assert_eq!(counted, [1, 1]);
}

#[test]
fn what_is_no_histogram_is_told_with_its_place() {
    let place = |what: &str| format!("series 0, native histogram 0: {what}");
    let check = |histogram: Histogram, what: &str| check(&histogram, Err(place(what).as_str()));
    check(Histogram { schema: 9, ..sound() }, "schema 9 is not known: expected -4 to 8, or -53 for custom bounds");
    check(
        Histogram { positive_spans: vec![span(0, u32::MAX), span(0, u32::MAX)], ..sound() },
        "spans of 8589934590 buckets, and 3 counts for them",
    );
    check(
        Histogram { positive_spans: vec![span(i32::MAX, 3)], ..sound() },
        "bucket 2147483647 of schema 1, which has them from -2200 to 2200",
    );
    check(
        Histogram { custom_values: vec![1.0, f64::NAN], ..custom() },
        "custom bound 1 is not above the one before it",
    );
    check(
        Histogram { custom_values: vec![1.0, 2.0], ..custom() },
        "bucket 3 of schema -53, which has them from 0 to 2",
    );
}

#[test]
fn no_histogram_breaks_the_reader() {
    let sound: Vec<Vec<u8>> = [sound(), custom()].iter().flat_map(requests).collect();
    let mut random = fastrand::Rng::with_seed(0x53);
    let mut taken = 0;
    for round in 0..6000 {
        let mut bytes = sound[round % sound.len()].clone();
        for _ in 0..random.usize(..4) {
            let at = random.usize(..bytes.len().max(1));
            match random.u8(..4) {
                _ if bytes.is_empty() => break,
                0 => bytes[at] = random.u8(..),
                1 => bytes.truncate(at.max(1)),
                2 => bytes[at] ^= 1 << random.u8(..8),
                _ => drop(bytes.remove(at)),
            }
        }
        taken +=
            usize::from(read(&bytes, 1000).is_ok_and(|read| read.series.iter().any(|one| !one.histograms.is_empty())));
    }
    assert!(taken > 1000, "{taken} were taken");
}
