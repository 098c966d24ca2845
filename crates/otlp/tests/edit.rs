//! Edits against the same edits of structs.
#![allow(missing_docs, clippy::unwrap_used)]

mod reference;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use otlp::edit::{Edited, RecordContext, edit_records, edit_resources, edit_scopes};
use otlp::encode::{AttributesWriter, LogsEncoder, TracesEncoder};
use otlp::view::{AnyValueView, KeyValues};
use otlp::wire::write_bytes_field;
use otlp::{Batch, ContentEncoding, Limits, Signal, SpanKind};
use proptest::prelude::*;
use prost::Message;
use reference::{arbitrary, batch, unknown, write};

/// An edit that removes some attributes, adds one in some places, and leaves other places alone.
fn edit_bytes(attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>) -> Edited {
    let count = attributes.count();
    if count == 2 {
        // To be dropped, for the edit says so.
        out.string("never", "seen");
        return Edited::Unchanged;
    }
    for attribute in attributes.filter(|attribute| attribute.key().len() != 3) {
        out.raw_key_value(attribute.as_bytes());
    }
    if count != 1 {
        out.string("telemetry.pipeline", "crossfade").int("count", count as i64);
    }
    Edited::Changed
}

/// The same edit of structs.
fn edit_struct(attributes: &mut Vec<KeyValue>) {
    let count = attributes.len();
    if count == 2 {
        return;
    }
    attributes.retain(|attribute| attribute.key.len() != 3);
    if count != 1 {
        let mut added = Vec::new();
        AttributesWriter::new(&mut added, 1).string("telemetry.pipeline", "crossfade").int("count", count as i64);
        let list = opentelemetry_proto::tonic::common::v1::KeyValueList::decode(&added[..]).unwrap();
        attributes.extend(list.values);
    }
}

fn edit_record(_: &RecordContext<'_>, attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>) -> Edited {
    edit_bytes(attributes, out)
}

fn check_parses(batch: &Batch) {
    let parsed = Batch::parse(batch.signal(), batch.bytes().clone(), &Limits::default()).unwrap();
    assert_eq!(parsed.items(), batch.items());
}

proptest! {
    #[test]
    fn resources_are_edited_as_structs_are(request in arbitrary::traces()) {
        let edited = edit_resources(&batch(Signal::Traces, &request), &edit_bytes);
        check_parses(&edited);
        let mut expected = request;
        for block in &mut expected.resource_spans {
            edit_struct(&mut block.resource.get_or_insert_default().attributes);
        }
        prop_assert_eq!(ExportTraceServiceRequest::decode(edited.bytes().clone()).unwrap(), expected);
    }

    #[test]
    fn scopes_are_edited_as_structs_are(request in arbitrary::metrics()) {
        let edited = edit_scopes(&batch(Signal::Metrics, &request), &edit_bytes);
        check_parses(&edited);
        let mut expected = request;
        for scope in expected.resource_metrics.iter_mut().flat_map(|block| &mut block.scope_metrics) {
            edit_struct(&mut scope.scope.get_or_insert_default().attributes);
        }
        prop_assert_eq!(ExportMetricsServiceRequest::decode(edited.bytes().clone()).unwrap(), expected);
    }

    #[test]
    fn spans_are_edited_as_structs_are(request in arbitrary::traces()) {
        let edited = edit_records(&batch(Signal::Traces, &request), &edit_record);
        check_parses(&edited);
        let mut expected = request;
        let scopes = expected.resource_spans.iter_mut().flat_map(|block| &mut block.scope_spans);
        scopes.flat_map(|scope| &mut scope.spans).for_each(|span| edit_struct(&mut span.attributes));
        prop_assert_eq!(ExportTraceServiceRequest::decode(edited.bytes().clone()).unwrap(), expected);
    }

    #[test]
    fn log_records_are_edited_as_structs_are(request in arbitrary::logs()) {
        let edited = edit_records(&batch(Signal::Logs, &request), &edit_record);
        check_parses(&edited);
        let mut expected = request;
        let scopes = expected.resource_logs.iter_mut().flat_map(|block| &mut block.scope_logs);
        scopes.flat_map(|scope| &mut scope.log_records).for_each(|record| edit_struct(&mut record.attributes));
        prop_assert_eq!(ExportLogsServiceRequest::decode(edited.bytes().clone()).unwrap(), expected);
    }

    #[test]
    fn data_points_are_edited_as_structs_are(request in arbitrary::metrics()) {
        let edited = edit_records(&batch(Signal::Metrics, &request), &edit_record);
        check_parses(&edited);
        let mut expected = request;
        let scopes = expected.resource_metrics.iter_mut().flat_map(|block| &mut block.scope_metrics);
        scopes.flat_map(|scope| &mut scope.metrics).filter_map(|metric| metric.data.as_mut()).for_each(edit_points);
        prop_assert_eq!(ExportMetricsServiceRequest::decode(edited.bytes().clone()).unwrap(), expected);
    }

    #[test]
    fn unknown_fields_survive_every_edit(request in arbitrary::metrics()) {
        let bytes = unknown::add(Signal::Metrics, &request.encode_to_vec());
        let batch = Batch::parse(Signal::Metrics, bytes.into(), &Limits::default()).unwrap();
        let before = unknown::find(Signal::Metrics, batch.bytes());
        let edited = edit_records(&edit_scopes(&edit_resources(&batch, &edit_bytes), &edit_bytes), &edit_record);
        prop_assert_eq!(unknown::find(Signal::Metrics, edited.bytes()), before);
    }

    #[test]
    fn an_edit_that_changes_nothing_returns_the_same_bytes_and_frames(request in arbitrary::logs()) {
        let frame = Bytes::from_static(b"frame");
        let batch = write::logs(&request).with_frame(ContentEncoding::Gzip, frame);
        let nothing = |_: KeyValues<'_>, out: &mut AttributesWriter<'_>| {
            out.bool("never", true);
            Edited::Unchanged
        };
        let record = |_: &RecordContext<'_>, _: KeyValues<'_>, _: &mut AttributesWriter<'_>| Edited::Unchanged;
        for edited in [edit_resources(&batch, &nothing), edit_scopes(&batch, &nothing), edit_records(&batch, &record)] {
            prop_assert_eq!(edited.bytes().as_ptr(), batch.bytes().as_ptr());
            prop_assert!(edited.frames().get(ContentEncoding::Gzip).is_some());
        }
    }
}

fn edit_points(data: &mut Data) {
    match data {
        Data::Gauge(all) => all.data_points.iter_mut().for_each(|point| edit_struct(&mut point.attributes)),
        Data::Sum(all) => all.data_points.iter_mut().for_each(|point| edit_struct(&mut point.attributes)),
        Data::Histogram(all) => all.data_points.iter_mut().for_each(|point| edit_struct(&mut point.attributes)),
        Data::ExponentialHistogram(all) => {
            all.data_points.iter_mut().for_each(|point| edit_struct(&mut point.attributes));
        }
        Data::Summary(all) => all.data_points.iter_mut().for_each(|point| edit_struct(&mut point.attributes)),
    }
}

#[test]
fn attributes_between_other_fields_are_gathered_where_the_first_stood() {
    let mut resource = Vec::new();
    let attribute = |out: &mut Vec<u8>, key: &str| {
        AttributesWriter::new(out, 1).string(key, "v");
    };
    write_bytes_field(&mut resource, 1000, b"before");
    attribute(&mut resource, "a");
    write_bytes_field(&mut resource, 1001, b"between");
    attribute(&mut resource, "b");
    let block = wrap(1, &resource);
    let batch = Batch::parse(Signal::Logs, wrap(1, &block).into(), &Limits::default()).unwrap();
    let replace = |_: KeyValues<'_>, out: &mut AttributesWriter<'_>| {
        out.string("c", "v");
        Edited::Changed
    };
    let mut expected = Vec::new();
    write_bytes_field(&mut expected, 1000, b"before");
    attribute(&mut expected, "c");
    write_bytes_field(&mut expected, 1001, b"between");
    assert_eq!(edit_resources(&batch, &replace).bytes(), &wrap(1, &wrap(1, &expected)));
}

fn wrap(number: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes_field(&mut out, number, value);
    out
}

#[test]
fn a_resource_is_not_created_for_no_attributes() {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|_| {});
    let batch = encoder.finish();
    let clear = |_: KeyValues<'_>, _: &mut AttributesWriter<'_>| Edited::Changed;
    assert_eq!(edit_resources(&batch, &clear).bytes(), batch.bytes());
}

#[test]
fn a_record_knows_what_stands_around_it() {
    let mut encoder = TracesEncoder::new();
    for service in ["checkout", "cart"] {
        encoder.resource_spans(|block| {
            block.resource(|resource| {
                resource.attributes().string("service.name", service);
            });
            block.scope_spans(|scope| {
                scope.scope(|scope| {
                    scope.name("http");
                });
                scope.span(|span| {
                    span.name("GET").kind(SpanKind::Server);
                });
                scope.span(|span| {
                    span.name("POST").kind(SpanKind::Client);
                });
            });
        });
    }
    let mark = |record: &RecordContext<'_>, _: KeyValues<'_>, out: &mut AttributesWriter<'_>| {
        let span = record.span().unwrap();
        assert!(record.log_record().is_none() && record.metric().is_none());
        let service = record.resource().attributes().get("service.name").unwrap().as_str().unwrap();
        if span.kind() != SpanKind::Server {
            return Edited::Unchanged;
        }
        out.string("mark", &format!("{service} {} {}", record.scope().name(), span.name()));
        Edited::Changed
    };
    let edited = edit_records(&encoder.finish(), &mark);
    let spans =
        edited.traces().unwrap().resource_spans().flat_map(|block| block.scope_spans()).flat_map(|scope| scope.spans());
    let marks: Vec<_> = spans.map(|span| span.attributes().get("mark").and_then(AnyValueView::as_str)).collect();
    assert_eq!(marks, [Some("checkout http GET"), None, Some("cart http GET"), None]);
}
