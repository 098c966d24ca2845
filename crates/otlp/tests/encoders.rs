//! Encoders against the reference: what they write, `prost` reads.
#![allow(missing_docs, clippy::unwrap_used)]

mod reference;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use otlp::encode::{AttributesWriter, LogsEncoder};
use otlp::view::{AnyValueView, KeyValueView};
use otlp::{Batch, Limits};
use proptest::prelude::*;
use prost::Message;
use reference::{arbitrary, normal, write};

/// The encoders know the values of enums that the specification has, and no others.
fn known_enums(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let scopes = request.resource_spans.iter_mut().flat_map(|block| &mut block.scope_spans);
    for span in scopes.flat_map(|scope| &mut scope.spans) {
        span.kind = span.kind.clamp(0, 5);
        span.status.iter_mut().for_each(|status| status.code = status.code.clamp(0, 2));
    }
    request
}

fn check_items(batch: &Batch) {
    let parsed = Batch::parse(batch.signal(), batch.bytes().clone(), &Limits::default()).unwrap();
    assert_eq!(batch.items(), parsed.items());
}

proptest! {
    #[test]
    fn traces_are_read_as_they_were_written(request in arbitrary::traces().prop_map(known_enums)) {
        let batch = write::traces(&request);
        check_items(&batch);
        let read = ExportTraceServiceRequest::decode(batch.bytes().clone()).unwrap();
        prop_assert_eq!(normal::traces(read), normal::traces(request));
    }

    #[test]
    fn logs_are_read_as_they_were_written(request in arbitrary::logs()) {
        let batch = write::logs(&request);
        check_items(&batch);
        let read = ExportLogsServiceRequest::decode(batch.bytes().clone()).unwrap();
        prop_assert_eq!(normal::logs(read), normal::logs(request));
    }

    #[test]
    fn metrics_are_read_as_they_were_written(request in arbitrary::metrics()) {
        let batch = write::metrics(&request);
        check_items(&batch);
        let read = ExportMetricsServiceRequest::decode(batch.bytes().clone()).unwrap();
        prop_assert_eq!(normal::metrics(read), normal::metrics(request));
    }

    #[test]
    fn attributes_are_copied_from_views_and_as_bytes(attributes in arbitrary::attributes()) {
        for attribute in attributes {
            let bytes = attribute.encode_to_vec();
            let view = KeyValueView::new(&bytes);
            let mut copied = Vec::new();
            let mut writer = AttributesWriter::new(&mut copied, 9);
            writer.raw_key_value(&bytes).any(view.key(), view.value());
            // Field 9, twice, with a length each.
            let [raw, any] = &copied_messages(&copied)[..] else { panic!("two attributes") };
            prop_assert_eq!(raw, &bytes);
            let any = KeyValue::decode(&any[..]).unwrap();
            prop_assert_eq!(any.value.unwrap_or_default(), attribute.value.unwrap_or_default());
            prop_assert_eq!(any.key, attribute.key);
        }
    }
}

fn copied_messages(fields: &[u8]) -> Vec<Vec<u8>> {
    otlp::wire::Fields::new(fields).map(|field| field.value.bytes().to_vec()).collect()
}

#[test]
fn what_a_closure_returns_is_handed_on() {
    let mut encoder = LogsEncoder::with_capacity(100);
    let failed: Result<(), &str> = encoder.resource_logs(|block| {
        block.scope_logs(|scope| scope.log_record(|_| Err("no such level")))?;
        Ok(())
    });
    assert_eq!(failed, Err("no such level"));
}

#[test]
fn values_nest() {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|block| {
        block.scope_logs(|scope| {
            scope.log_record(|record| {
                record.body().kvlist(|list| {
                    list.string("level", "warn");
                    list.value("ids").array(|array| {
                        array.value().int(1);
                        array.value().int(-1);
                    });
                    list.value("nothing").empty();
                });
            });
        });
    });
    let batch = encoder.finish();
    let block = batch.logs().unwrap().resource_logs().next().unwrap();
    let AnyValueView::KvList(list) = block.scope_logs().next().unwrap().log_records().next().unwrap().body() else {
        panic!("a list")
    };
    assert_eq!(list.get("level"), Some(AnyValueView::String("warn")));
    let Some(AnyValueView::Array(ids)) = list.get("ids") else { panic!("an array") };
    assert!(ids.eq([AnyValueView::Int(1), AnyValueView::Int(-1)]));
    assert_eq!(list.get("nothing"), Some(AnyValueView::Empty));
    assert_eq!(list.get("other"), None);
}
