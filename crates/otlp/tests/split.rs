//! Splitting against the reference: every record once, in order, with what stood around it, and parts within limits.
#![allow(missing_docs, clippy::unwrap_used)]

mod reference;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, metric};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use otlp::encode::LogsEncoder;
use otlp::{Batch, ContentEncoding, Limits, Signal, SplitLimits};
use proptest::prelude::*;
use prost::Message;
use reference::{arbitrary, batch, flat, unknown};

fn limits() -> impl Strategy<Value = SplitLimits> {
    let items_max = prop_oneof![Just(0), 1..6u32];
    let bytes_max = prop_oneof![Just(0), 1..3000u32, 1..300u32];
    (items_max, bytes_max).prop_map(|(items_max, bytes_max)| SplitLimits { items_max, bytes_max })
}

/// Checks what holds for all signals and returns the parts' bytes.
fn split(batch: &Batch, limits: SplitLimits) -> Vec<Bytes> {
    let parts = batch.split(limits);
    assert!(!parts.is_empty());
    for part in &parts {
        let parsed = Batch::parse(part.signal(), part.bytes().clone(), &Limits::default()).unwrap();
        assert_eq!(parsed.items(), part.items(), "a part counts its items");
        assert!(limits.items_max == 0 || part.items() <= limits.items_max, "{} items", part.items());
        let fits = limits.bytes_max == 0 || part.size_bytes() <= limits.bytes_max as usize;
        assert!(fits || part.items() <= 1, "{} bytes with {} items", part.size_bytes(), part.items());
    }
    check_repetition(batch, &parts);
    parts.iter().map(|part| part.bytes().clone()).collect()
}

/// Checks the bound on what is repeated.
fn check_repetition(batch: &Batch, parts: &[Batch]) {
    assert_eq!(parts.iter().map(Batch::items).sum::<u32>(), batch.items());
    let size: usize = parts.iter().map(Batch::size_bytes).sum();
    assert!(size <= 3 * batch.size_bytes() + (64 << 10), "{size} bytes from {}", batch.size_bytes());
}

proptest! {
    #[test]
    fn spans_stay_in_order_with_resource_and_scope(request in arbitrary::traces(), limits in limits()) {
        let parts = split(&batch(Signal::Traces, &request), limits);
        let parts = parts.iter().flat_map(|part| flat::traces(&ExportTraceServiceRequest::decode(&part[..]).unwrap()));
        prop_assert_eq!(parts.collect::<Vec<_>>(), flat::traces(&request));
    }

    #[test]
    fn log_records_stay_in_order_with_resource_and_scope(request in arbitrary::logs(), limits in limits()) {
        let parts = split(&batch(Signal::Logs, &request), limits);
        let parts = parts.iter().flat_map(|part| flat::logs(&ExportLogsServiceRequest::decode(&part[..]).unwrap()));
        prop_assert_eq!(parts.collect::<Vec<_>>(), flat::logs(&request));
    }

    #[test]
    fn data_points_stay_in_order_with_resource_scope_and_metric(request in arbitrary::metrics(), limits in limits()) {
        let parts = split(&batch(Signal::Metrics, &request), limits);
        let parts = parts.iter().flat_map(|part| flat::metrics(&ExportMetricsServiceRequest::decode(&part[..]).unwrap()));
        prop_assert_eq!(parts.collect::<Vec<_>>(), flat::metrics(&request));
    }

    #[test]
    fn unknown_fields_survive(request in arbitrary::metrics(), limits in limits()) {
        let bytes = unknown::add(Signal::Metrics, &request.encode_to_vec());
        let batch = Batch::parse(Signal::Metrics, bytes.into(), &Limits::default()).unwrap();
        let parts = split(&batch, limits);
        let before = unknown::find(Signal::Metrics, batch.bytes());
        let after: Vec<_> = parts.iter().flat_map(|part| unknown::find(Signal::Metrics, part)).collect();
        // Those of data points once, those around them at least once, and in order.
        let points = |found: &[(Vec<u32>, String)]| {
            found.iter().filter(|(path, _)| path.len() == 5).cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(points(&before), points(&after));
        for field in &before {
            prop_assert!(after.contains(field), "{:?}", field);
        }
        let request_level = after.iter().filter(|(path, _)| path.is_empty()).count();
        prop_assert_eq!(request_level, 1);
    }
}

/// Blocks of log records, each block with this many records of 100 bytes and a little more, and a resource of this size.
fn logs(blocks: &[usize], resource_size: usize, record_size: usize) -> Batch {
    let mut encoder = LogsEncoder::new();
    for records in blocks {
        encoder.resource_logs(|block| {
            block.resource(|resource| {
                resource.attributes().string("pad", &"r".repeat(resource_size));
            });
            block.scope_logs(|scope| {
                for _ in 0..*records {
                    scope.log_record(|record| record.body().string(&"b".repeat(record_size)));
                }
            });
        });
    }
    encoder.finish()
}

fn check_items(batch: &Batch, items_max: u32, bytes_max: u32, expected: &[u32]) {
    let parts = batch.split(SplitLimits { items_max, bytes_max });
    assert_eq!(parts.iter().map(Batch::items).collect::<Vec<_>>(), expected);
    check_repetition(batch, &parts);
}

#[test]
fn a_batch_that_fits_comes_back_with_its_frames() {
    let frame = Bytes::from_static(b"frame");
    let batch = logs(&[3], 10, 100).with_frame(ContentEncoding::Zstd, frame.clone());
    let parts = batch.split(SplitLimits { items_max: 3, bytes_max: 1000 });
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].frames().get(ContentEncoding::Zstd), Some(&frame));
    assert_eq!(batch.split(SplitLimits::default()).len(), 1);
}

#[test]
fn whole_blocks_stay_together() {
    check_items(&logs(&[4, 4, 4], 10, 100), 10, 0, &[8, 4]);
    check_items(&logs(&[4, 4, 4], 10, 100), 7, 0, &[4, 4, 4]);
}

#[test]
fn a_block_larger_than_a_part_fills_the_parts() {
    check_items(&logs(&[1, 25, 2], 10, 100), 10, 0, &[10, 10, 8]);
    check_items(&logs(&[20], 10, 100), 0, 600, &[5, 5, 5, 5]);
}

#[test]
fn a_record_larger_than_a_part_stays_alone() {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|block| {
        block.scope_logs(|scope| {
            for size in [10, 10, 500, 10] {
                scope.log_record(|record| record.body().string(&"b".repeat(size)));
            }
        });
    });
    check_items(&encoder.finish(), 0, 100, &[2, 1, 1]);
}

#[test]
fn a_metric_is_split_between_its_data_points() {
    let data_points = vec![NumberDataPoint { time_unix_nano: 1, ..Default::default() }; 1000];
    let metric =
        Metric { name: "n".into(), data: Some(metric::Data::Gauge(Gauge { data_points })), ..Default::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }];
    let request =
        ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics, ..Default::default() }] };
    check_items(&batch(Signal::Metrics, &request), 400, 0, &[400, 400, 200]);
}

#[test]
fn a_huge_resource_is_not_multiplied_by_small_parts() {
    // 1 MiB of resource around 100,000 records of a few bytes.
    let batch = logs(&[100_000], 1 << 20, 1);
    for limits in [
        SplitLimits { items_max: 0, bytes_max: 64 << 10 },
        SplitLimits { items_max: 1, bytes_max: 0 },
        SplitLimits { items_max: 1000, bytes_max: (1 << 20) + 1000 },
    ] {
        let parts = batch.split(limits);
        check_repetition(&batch, &parts);
        assert!(parts.len() > 1);
    }
}

#[test]
fn small_batches_are_split_exactly_even_where_resources_outweigh_records() {
    check_items(&logs(&[20], 1000, 1), 1, 0, &[1; 20]);
}

#[test]
fn a_resource_without_records_is_kept() {
    check_items(&logs(&[0, 3, 0], 200, 100), 0, 150, &[0, 1, 1, 1, 0]);
}
