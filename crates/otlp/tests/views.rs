//! Views and counts against the reference.
#![allow(missing_docs, clippy::unwrap_used)]

mod reference;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use otlp::wire::{write_bytes_field, write_fixed64_field, write_varint_field};
use otlp::{Batch, Limits, Signal};
use proptest::prelude::*;
use prost::Message;
use reference::{arbitrary, batch, normal, read};

fn points(request: &ExportMetricsServiceRequest) -> usize {
    let metrics =
        request.resource_metrics.iter().flat_map(|block| &block.scope_metrics).flat_map(|scope| &scope.metrics);
    metrics
        .map(|metric| match &metric.data {
            None => 0,
            Some(Data::Gauge(gauge)) => gauge.data_points.len(),
            Some(Data::Sum(sum)) => sum.data_points.len(),
            Some(Data::Histogram(histogram)) => histogram.data_points.len(),
            Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
            Some(Data::Summary(summary)) => summary.data_points.len(),
        })
        .sum()
}

proptest! {
    #[test]
    fn views_of_traces_read_what_was_written(request in arbitrary::traces()) {
        let batch = batch(Signal::Traces, &request);
        let spans: usize = request.resource_spans.iter().flat_map(|block| &block.scope_spans).map(|scope| scope.spans.len()).sum();
        prop_assert_eq!(batch.items() as usize, spans);
        prop_assert_eq!(read::traces(batch.traces().unwrap()), normal::traces(request));
    }

    #[test]
    fn views_of_logs_read_what_was_written(request in arbitrary::logs()) {
        let batch = batch(Signal::Logs, &request);
        let records: usize = request.resource_logs.iter().flat_map(|block| &block.scope_logs).map(|scope| scope.log_records.len()).sum();
        prop_assert_eq!(batch.items() as usize, records);
        prop_assert_eq!(read::logs(batch.logs().unwrap()), normal::logs(request));
    }

    #[test]
    fn views_of_metrics_read_what_was_written(request in arbitrary::metrics()) {
        let batch = batch(Signal::Metrics, &request);
        prop_assert_eq!(batch.items() as usize, points(&request));
        let counted: usize = batch
            .metrics()
            .unwrap()
            .resource_metrics()
            .flat_map(|block| block.scope_metrics())
            .flat_map(|scope| scope.metrics())
            .map(|metric| metric.data().points())
            .sum();
        prop_assert_eq!(counted, points(&request));
        prop_assert_eq!(read::metrics(batch.metrics().unwrap()), normal::metrics(request));
    }

    #[test]
    fn concatenation_is_the_merger_of_the_reference(a in arbitrary::logs(), b in arbitrary::logs()) {
        let both = Batch::concat(Signal::Logs, &[batch(Signal::Logs, &a), batch(Signal::Logs, &b)]);
        let mut merged = a;
        merged.merge(&b.encode_to_vec()[..]).unwrap();
        prop_assert_eq!(&both.bytes()[..], merged.encode_to_vec());
        let reparsed = Batch::parse(Signal::Logs, both.bytes().clone(), &Limits::default()).unwrap();
        prop_assert_eq!(both.items(), reparsed.items());
    }

    #[test]
    fn views_of_any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read::traces(Batch::from_trusted(Signal::Traces, bytes.clone().into(), 0).traces().unwrap());
        read::metrics(Batch::from_trusted(Signal::Metrics, bytes.clone().into(), 0).metrics().unwrap());
        read::logs(Batch::from_trusted(Signal::Logs, bytes.into(), 0).logs().unwrap());
    }
}

#[test]
fn a_view_is_of_its_own_signal() {
    let logs = Batch::empty(Signal::Logs);
    assert!(logs.logs().is_some() && logs.traces().is_none() && logs.metrics().is_none());
}

fn wrap(number: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes_field(&mut out, number, value);
    out
}

/// A batch of one histogram with this data point.
fn histogram(point: &[u8]) -> Batch {
    let request = [1, 2, 2, 9, 1].iter().rev().fold(point.to_vec(), |inner, number| wrap(*number, &inner));
    Batch::parse(Signal::Metrics, request.into(), &Limits::default()).unwrap()
}

fn check_bucket_counts(point: &[u8], expected: &[u64]) {
    let batch = histogram(point);
    let request = read::metrics(batch.metrics().unwrap());
    let Some(Data::Histogram(found)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data else {
        panic!("a histogram")
    };
    assert_eq!(found.data_points[0].bucket_counts, expected);
}

#[test]
fn bucket_counts_may_be_packed_in_parts_and_single_and_interleaved() {
    let mut point = wrap(6, &[1u64.to_le_bytes(), 2u64.to_le_bytes()].concat());
    write_fixed64_field(&mut point, 4, 9);
    write_fixed64_field(&mut point, 6, 3);
    point.extend(wrap(6, &[]));
    point.extend(wrap(6, &4u64.to_le_bytes()));
    check_bucket_counts(&point, &[1, 2, 3, 4]);
}

#[test]
fn the_last_of_two_scalars_counts() {
    let mut record = Vec::new();
    write_varint_field(&mut record, 2, 9);
    record.extend(wrap(3, b"INFO"));
    record.extend(wrap(6, &wrap(1, b"first")));
    write_varint_field(&mut record, 2, 17);
    record.extend(wrap(3, b"ERROR"));
    record.extend(wrap(6, &wrap(1, b"second")));
    let request = wrap(1, &wrap(2, &wrap(2, &record)));
    let batch = Batch::parse(Signal::Logs, request.into(), &Limits::default()).unwrap();
    let found = read::logs(batch.logs().unwrap()).resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0);
    assert_eq!((found.severity_number, found.severity_text.as_str()), (17, "ERROR"));
    assert_eq!(found.attributes.len(), 2);
}

/// A metric with an exemplar, which is where values stand deepest, with this many nested lists.
fn exemplar_with_lists(levels: usize) -> Vec<u8> {
    let list = |value: Vec<u8>| wrap(6, &wrap(1, &[wrap(1, b"k"), wrap(2, &value)].concat()));
    let value = (0..levels).fold(wrap(1, b"v"), |value, _| list(value));
    let exemplar = wrap(7, &wrap(2, &value));
    [1, 2, 2, 9, 1, 8].iter().rev().fold(exemplar, |inner, number| wrap(*number, &inner))
}

#[test]
fn whatever_is_accepted_by_default_is_read_by_others() {
    let depth_max = usize::from(Limits::default().depth_max);
    for levels in [depth_max, depth_max + 1] {
        let request = exemplar_with_lists(levels);
        let is_accepted = Batch::parse(Signal::Metrics, request.clone().into(), &Limits::default()).is_ok();
        let is_read = ExportMetricsServiceRequest::decode(&request[..]).is_ok();
        assert_eq!((is_accepted, is_read), (levels == depth_max, levels == depth_max), "{levels} levels");
    }
}
