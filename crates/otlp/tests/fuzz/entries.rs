//! What must hold for any input. The seeded test drives these functions, and so do the targets of `cargo fuzz`. Each
//! tells whether the input got as far as the checks.

use bytes::Bytes;
use otlp::edit::{Edited, RecordContext, edit_records, edit_resources, edit_scopes};
use otlp::encode::AttributesWriter;
use otlp::response::{ExportResponse, Status};
use otlp::view::{AnyValueView, KeyValues, MetricData};
use otlp::{Batch, Limits, Signal, SplitLimits, json};

/// The signal that the first byte chooses, and the rest.
fn signal(data: &[u8]) -> Option<(Signal, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((Signal::ALL[usize::from(*first) % Signal::ALL.len()], rest))
}

/// Requests in protobuf: what the door lets in can be viewed, split, edited and written as JSON, and loses nothing.
pub(crate) fn request(data: &[u8]) -> bool {
    let Some((signal, data)) = signal(data) else { return false };
    let Ok(batch) = Batch::parse(signal, Bytes::copy_from_slice(data), &Limits::default()) else { return false };
    assert_eq!(view(&batch), batch.items());

    for limits in [SplitLimits { items_max: 1, bytes_max: 0 }, SplitLimits { items_max: 0, bytes_max: 64 }] {
        let parts = batch.split(limits);
        let items: u32 = parts.iter().map(|part| reparse(part).items()).sum();
        assert_eq!(items, batch.items());
        let merged = Batch::concat(signal, &parts);
        assert_eq!(merged.items(), batch.items());
        assert!(merged.size_bytes() <= 3 * batch.size_bytes() + (64 << 10));
    }
    for edited in edits(&batch) {
        assert_eq!(reparse(&edited).items(), batch.items());
    }
    let mut text = Vec::new();
    json::encode(&batch, &mut text);
    let read = json::decode(signal, &text, &Limits::default()).expect("what was written is read");
    assert_eq!(read.items(), batch.items());
    true
}

fn reparse(batch: &Batch) -> Batch {
    let parsed = Batch::parse(batch.signal(), batch.bytes().clone(), &Limits::default());
    let parsed = parsed.expect("a batch made of a valid one is valid");
    assert_eq!(parsed.items(), batch.items());
    parsed
}

/// Bytes that nobody checked: views, splits, edits and JSON end without a panic, whatever they make of them.
pub(crate) fn unchecked(data: &[u8]) -> bool {
    let Some((signal, data)) = signal(data) else { return false };
    let batch = Batch::from_trusted(signal, Bytes::copy_from_slice(data), 100);
    view(&batch);
    batch.split(SplitLimits { items_max: 1, bytes_max: 32 });
    edits(&batch);
    json::encode(&batch, &mut Vec::new());
    true
}

/// Requests in JSON: what is read is a valid request and is written so that it reads the same.
pub(crate) fn request_json(data: &[u8]) -> bool {
    let Some((signal, data)) = signal(data) else { return false };
    let Ok(batch) = json::decode(signal, data, &Limits::default()) else { return false };
    reparse(&batch);
    let mut text = Vec::new();
    json::encode(&batch, &mut text);
    let again = json::decode(signal, &text, &Limits::default()).expect("what was written is read");
    assert_eq!(again.items(), batch.items());
    let mut text_again = Vec::new();
    json::encode(&again, &mut text_again);
    assert_eq!(text, text_again);
    true
}

/// What servers answer: what is read is written so that it reads the same.
pub(crate) fn responses(data: &[u8]) -> bool {
    let Some((signal, data)) = signal(data) else { return false };
    let mut checked = false;
    for response in [ExportResponse::decode(signal, data).ok(), ExportResponse::decode_json(signal, data).ok()] {
        let Some(response) = response else { continue };
        checked = true;
        assert_eq!(ExportResponse::decode(signal, &response.encode()), Ok(response.clone()));
        let mut text = Vec::new();
        response.encode_json(signal, &mut text);
        assert_eq!(ExportResponse::decode_json(signal, &text), Ok(response));
    }
    for status in [Status::decode(data).ok(), Status::decode_json(data).ok()] {
        let Some(status) = status else { continue };
        checked = true;
        assert_eq!(Status::decode(&status.encode()), Ok(status.clone()));
        let mut text = Vec::new();
        status.encode_json(&mut text);
        assert_eq!(Status::decode_json(&text), Ok(status));
    }
    checked
}

/// Edits that change every attribute list.
fn edits(batch: &Batch) -> [Batch; 3] {
    let edit = |attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>| {
        for attribute in attributes {
            out.any(attribute.key(), attribute.value());
        }
        out.bool("edited", true);
        Edited::Changed
    };
    let record =
        |_: &RecordContext<'_>, attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>| edit(attributes, out);
    [edit_resources(batch, &edit), edit_scopes(batch, &edit), edit_records(batch, &record)]
}

/// Reads all that views can read. Returns the number of items.
fn view(batch: &Batch) -> u32 {
    let mut items = 0;
    if let Some(traces) = batch.traces() {
        for block in traces.resource_spans() {
            attributes(block.resource().attributes());
            for scope in block.scope_spans() {
                attributes(scope.scope().attributes());
                for span in scope.spans() {
                    items += 1;
                    attributes(span.attributes());
                    span.events().for_each(|event| attributes(event.attributes()));
                    span.links().for_each(|link| attributes(link.attributes()));
                    assert!(span.name().len() + span.status().message().len() <= batch.size_bytes());
                }
            }
        }
    }
    if let Some(logs) = batch.logs() {
        for block in logs.resource_logs() {
            attributes(block.resource().attributes());
            for record in block.scope_logs().flat_map(|scope| scope.log_records()) {
                items += 1;
                attributes(record.attributes());
                value(record.body(), 0);
            }
        }
    }
    if let Some(metrics) = batch.metrics() {
        for block in metrics.resource_metrics() {
            attributes(block.resource().attributes());
            for metric in block.scope_metrics().flat_map(|scope| scope.metrics()) {
                attributes(metric.metadata());
                items += u32::try_from(metric.data().points()).unwrap_or(u32::MAX);
                points(metric.data());
            }
        }
    }
    items
}

fn points(data: MetricData<'_>) {
    match data {
        MetricData::Empty => {}
        MetricData::Gauge { points } | MetricData::Sum { points, .. } => points.for_each(|point| {
            attributes(point.attributes());
            point.exemplars().for_each(|exemplar| attributes(exemplar.filtered_attributes()));
        }),
        MetricData::Histogram { points, .. } => points.for_each(|point| {
            attributes(point.attributes());
            assert!(point.bucket_counts().count() <= point.as_bytes().len());
            assert!(point.explicit_bounds().count() <= point.as_bytes().len());
        }),
        MetricData::ExponentialHistogram { points, .. } => points.for_each(|point| {
            attributes(point.attributes());
            assert!(point.positive().bucket_counts().count() <= point.as_bytes().len());
        }),
        MetricData::Summary { points } => points.for_each(|point| {
            attributes(point.attributes());
            assert!(point.quantile_values().count() <= point.as_bytes().len());
        }),
    }
}

fn attributes(attributes: KeyValues<'_>) {
    for attribute in attributes {
        value(attribute.value(), 0);
    }
}

fn value(found: AnyValueView<'_>, depth: u16) {
    // Bytes that nobody checked may nest without end.
    if depth > Limits::DEPTH_MAX_CEILING {
        return;
    }
    match found {
        AnyValueView::Array(values) => values.for_each(|inner| value(inner, depth + 1)),
        AnyValueView::KvList(pairs) => pairs.for_each(|pair| value(pair.value(), depth + 1)),
        _ => {}
    }
}
