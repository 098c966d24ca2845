//! What one core does with batches. Run with `cargo bench -p crossfade-otlp`.
#![allow(missing_docs, clippy::unwrap_used)]

mod payloads;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use otlp::edit::{Edited, RecordContext, edit_records, edit_resources};
use otlp::encode::{AttributesWriter, TracesEncoder};
use otlp::view::{KeyValues, MetricData, Repeated};
use otlp::{Batch, Limits, Signal, SpanId, SplitLimits, TraceId, json};

fn main() {
    payloads::assert_sizes();
    divan::main();
}

fn request(signal: Signal) -> Bytes {
    match signal {
        Signal::Traces => payloads::traces(),
        Signal::Metrics => payloads::metrics(),
        Signal::Logs => payloads::logs(),
    }
    .into()
}

#[divan::bench(args = Signal::ALL)]
fn parse(bencher: Bencher<'_, '_>, signal: Signal) {
    let bytes = request(signal);
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| Batch::parse(signal, black_box(&bytes).clone(), &Limits::default()).unwrap().items());
}

#[divan::bench]
fn parse_mixed_traces(bencher: Bencher<'_, '_>) {
    let bytes = Bytes::from(payloads::mixed_traces());
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| Batch::parse(Signal::Traces, black_box(&bytes).clone(), &Limits::default()).unwrap().items());
}

fn batch(signal: Signal) -> Batch {
    Batch::parse(signal, request(signal), &Limits::default()).unwrap()
}

/// Reads what an exporter reads: every attribute of every record.
#[divan::bench(args = Signal::ALL)]
fn views(bencher: Bencher<'_, '_>, signal: Signal) {
    let batch = batch(signal);
    let size = |attributes: KeyValues<'_>| {
        attributes
            .map(|attribute| attribute.key().len() + attribute.value().as_str().map_or(8, str::len))
            .sum::<usize>()
    };
    bencher.counter(BytesCount::new(batch.size_bytes())).bench(|| match signal {
        Signal::Traces => {
            let blocks = black_box(&batch).traces().unwrap().resource_spans();
            let spans = blocks.flat_map(|block| block.scope_spans()).flat_map(|scope| scope.spans());
            spans.map(|span| span.name().len() + size(span.attributes())).sum::<usize>()
        }
        Signal::Metrics => {
            let blocks = black_box(&batch).metrics().unwrap().resource_metrics();
            let metrics = blocks.flat_map(|block| block.scope_metrics()).flat_map(|scope| scope.metrics());
            let points = metrics.flat_map(|metric| match metric.data() {
                MetricData::Gauge { points } => points,
                _ => Repeated::empty(),
            });
            points.map(|point| size(point.attributes()) + usize::from(point.value().is_some())).sum::<usize>()
        }
        Signal::Logs => {
            let blocks = black_box(&batch).logs().unwrap().resource_logs();
            let records = blocks.flat_map(|block| block.scope_logs()).flat_map(|scope| scope.log_records());
            records.map(|record| record.body().as_str().map_or(0, str::len) + size(record.attributes())).sum::<usize>()
        }
    });
}

/// Twenty requests of 200 spans into one.
#[divan::bench]
fn concat(bencher: Bencher<'_, '_>) {
    let batches = vec![batch(Signal::Traces); 20];
    let size: usize = batches.iter().map(Batch::size_bytes).sum();
    bencher.counter(BytesCount::new(size)).bench(|| Batch::concat(Signal::Traces, black_box(&batches)));
}

/// The floor for edits: one copy of the request.
#[divan::bench]
fn memcpy(bencher: Bencher<'_, '_>) {
    let batch = batch(Signal::Traces);
    bencher.counter(BytesCount::new(batch.size_bytes())).bench(|| black_box(&batch).bytes().to_vec());
}

fn upsert(attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>) -> Edited {
    for attribute in attributes.filter(|attribute| attribute.key_bytes() != b"telemetry.pipeline") {
        out.raw_key_value(attribute.as_bytes());
    }
    out.string("telemetry.pipeline", "crossfade");
    Edited::Changed
}

/// One attribute upserted into the resource.
#[divan::bench(args = Signal::ALL)]
fn edit_resource(bencher: Bencher<'_, '_>, signal: Signal) {
    let batch = batch(signal);
    bencher.counter(BytesCount::new(batch.size_bytes())).bench(|| edit_resources(black_box(&batch), &upsert));
}

/// One attribute upserted into every record.
#[divan::bench(args = Signal::ALL)]
fn edit_record(bencher: Bencher<'_, '_>, signal: Signal) {
    let batch = batch(signal);
    let edit =
        |_: &RecordContext<'_>, attributes: KeyValues<'_>, out: &mut AttributesWriter<'_>| upsert(attributes, out);
    bencher.counter(BytesCount::new(batch.size_bytes())).bench(|| edit_records(black_box(&batch), &edit));
}

/// 200 items into parts of 50.
#[divan::bench(args = Signal::ALL)]
fn split(bencher: Bencher<'_, '_>, signal: Signal) {
    let batch = batch(signal);
    let limits = SplitLimits { items_max: 50, bytes_max: 0 };
    bencher.counter(BytesCount::new(batch.size_bytes())).bench(|| black_box(&batch).split(limits));
}

/// A batch as OTLP JSON; bytes are those of the JSON.
#[divan::bench(args = Signal::ALL)]
fn json_encode(bencher: Bencher<'_, '_>, signal: Signal) {
    let batch = batch(signal);
    let mut out = Vec::new();
    json::encode(&batch, &mut out);
    bencher.counter(BytesCount::new(out.len())).bench_local(|| {
        out.clear();
        json::encode(black_box(&batch), &mut out);
    });
}

/// OTLP JSON into a batch; bytes are those of the JSON.
#[divan::bench(args = Signal::ALL)]
fn json_decode(bencher: Bencher<'_, '_>, signal: Signal) {
    let mut text = Vec::new();
    json::encode(&batch(signal), &mut text);
    bencher
        .counter(BytesCount::new(text.len()))
        .bench(|| json::decode(signal, black_box(&text), &Limits::default()).unwrap());
}

/// 200 spans of two attributes each, field by field.
#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let write = || {
        let mut encoder = TracesEncoder::new();
        encoder.resource_spans(|block| {
            block.scope_spans(|scope| {
                for index in 0..200u8 {
                    scope.span(|span| {
                        span.trace_id(TraceId::new([index; 16])).span_id(SpanId::new([index; 8]));
                        span.name("POST /api/v1/orders/{id}").start_time_unix_nano(1).end_time_unix_nano(2);
                        span.attributes().string("http.request.method", "POST").int("http.response.status_code", 200);
                    });
                }
            });
        });
        encoder.finish()
    };
    bencher.counter(BytesCount::new(write().size_bytes())).bench(write);
}
