use otlp::Limits;
use otlp::view::{AnyValueView, MetricData, NumberPointView};

use super::*;
use crate::identity::{Identity, LOG_ID_KEY, RUN_LABEL, WORKER_LABEL};

const NOW: u64 = 1_700_000_000_123_456_789;
const RUN: RunId = RunId(0xdead_beef);
const WORKER: WorkerId = WorkerId(3);

fn generator(signal: Signal, form: Form, settings: &PayloadSettings) -> Generator {
    Generator::new(settings, signal, form, RUN, WORKER)
}

fn parse(signal: Signal, form: Form, bytes: &Bytes) -> Batch {
    match form {
        Form::Protobuf => Batch::parse(signal, bytes.clone(), &Limits::default()).unwrap(),
        Form::Json => otlp::json::decode(signal, bytes, &Limits::default()).unwrap(),
    }
}

/// The identities of all items, by the public forms.
fn identities(batch: &Batch) -> Vec<Identity> {
    match batch.signal() {
        Signal::Traces => {
            let blocks = batch.traces().unwrap().resource_spans();
            let spans = blocks.flat_map(|block| block.scope_spans()).flat_map(|scope| scope.spans());
            let ids = spans.map(|span| (span.trace_id().unwrap(), span.span_id().unwrap()));
            ids.map(|(trace, span)| Identity::of_span(trace.as_bytes(), span.as_bytes()).unwrap()).collect()
        }
        Signal::Logs => {
            let blocks = batch.logs().unwrap().resource_logs();
            let records = blocks.flat_map(|block| block.scope_logs()).flat_map(|scope| scope.log_records());
            let identity = |record: otlp::view::LogRecordView<'_>| {
                let attribute = record.attributes().get(LOG_ID_KEY).and_then(AnyValueView::as_str).unwrap();
                let body = Identity::of_log_body(record.body().as_str().unwrap().as_bytes()).unwrap();
                assert_eq!(Identity::of_log_id(attribute.as_bytes()), Some(body));
                body
            };
            records.map(identity).collect()
        }
        Signal::Metrics => points(batch).iter().map(|(_, identity)| *identity).collect(),
    }
}

/// The series and the time of each point, and its identity.
fn points(batch: &Batch) -> Vec<((String, u64), Identity)> {
    let blocks = batch.metrics().unwrap().resource_metrics();
    let metrics = blocks.flat_map(|block| block.scope_metrics()).flat_map(|scope| scope.metrics());
    let mut found = Vec::new();
    for metric in metrics {
        let (MetricData::Gauge { points } | MetricData::Sum { points, .. }) = metric.data() else { panic!() };
        for point in points {
            let text = |key| point.attributes().get(key).and_then(AnyValueView::as_str).unwrap();
            let value = NumberPointView::value(&point).unwrap().as_double();
            let identity = Identity::of_point(text(RUN_LABEL).as_bytes(), text(WORKER_LABEL).as_bytes(), value);
            let series = format!("{} {}", metric.name(), text("series"));
            found.push(((series, point.time_unix_nano()), identity.unwrap()));
        }
    }
    found
}

fn check_identities(signal: Signal, form: Form, settings: &PayloadSettings) {
    let mut generator = generator(signal, form, settings);
    let mut expected = 1;
    for _ in 0..7 {
        let payload = generator.next(NOW);
        let batch = parse(signal, form, &payload.bytes);
        assert_eq!(batch.items(), settings.items_per_request);
        for identity in identities(&batch) {
            assert_eq!(identity, Identity { run: RUN, worker: WORKER, sequence: expected });
            expected += 1;
        }
        drop(batch);
        generator.give_back(payload);
    }
    let partial = generator.next_partial(3, NOW);
    assert_eq!(partial.sequences(), expected..=expected + 2.min(u64::from(settings.items_per_request) - 1));
    assert_eq!(identities(&parse(signal, form, &partial.bytes))[0].sequence, expected);
}

#[test]
fn every_item_of_every_signal_and_form_has_the_next_identity() {
    let settings = [
        PayloadSettings::default(),
        PayloadSettings { items_per_request: 1, series_per_worker: 3, ..PayloadSettings::default() },
        PayloadSettings { items_per_request: 23, resources_per_request: 7, ..PayloadSettings::default() },
        PayloadSettings { items_per_request: 5, extra_attributes: 12, seed: 9, ..PayloadSettings::default() },
    ];
    for settings in settings {
        for signal in Signal::ALL {
            check_identities(signal, Form::Protobuf, &settings);
            check_identities(signal, Form::Json, &settings);
        }
    }
}

fn check_size(signal: Signal, expected_bytes: f64) {
    let payload = generator(signal, Form::Protobuf, &PayloadSettings::default()).next(NOW);
    let bytes_per_item = payload.bytes.len() as f64 / f64::from(payload.items);
    assert!((bytes_per_item / expected_bytes - 1.0).abs() < 0.02, "{signal}: {bytes_per_item}");
}

#[test]
fn items_have_the_sizes_that_comparisons_use() {
    check_size(Signal::Traces, 357.0);
    check_size(Signal::Metrics, 149.0);
    check_size(Signal::Logs, 155.0);
}

#[test]
fn the_points_of_a_series_have_ascending_times_in_milliseconds() {
    let settings = PayloadSettings { items_per_request: 10, series_per_worker: 30, ..PayloadSettings::default() };
    let mut generator = generator(Signal::Metrics, Form::Protobuf, &settings);
    let mut last = std::collections::HashMap::new();
    let mut payloads: Vec<_> = (0..40).map(|_| generator.next(NOW)).collect();
    payloads.push(generator.next_partial(4, NOW));
    payloads.extend((0..3).map(|_| generator.next(NOW)));
    for payload in payloads {
        for ((series, time_ns), _) in points(&parse(Signal::Metrics, Form::Protobuf, &payload.bytes)) {
            let time_ms = time_ns / 1_000_000;
            assert!(last.insert(series, time_ms).is_none_or(|before| before < time_ms));
        }
    }
    assert_eq!(last.len(), 30);
}

#[test]
fn a_trace_has_one_root_and_four_children() {
    let payload = generator(Signal::Traces, Form::Protobuf, &PayloadSettings::default()).next(NOW);
    let batch = parse(Signal::Traces, Form::Protobuf, &payload.bytes);
    let blocks = batch.traces().unwrap().resource_spans();
    let spans: Vec<_> = blocks.flat_map(|block| block.scope_spans()).flat_map(|scope| scope.spans()).collect();
    for trace in spans.chunks(5) {
        assert_eq!(trace[0].parent_span_id(), None);
        for child in &trace[1..] {
            assert_eq!(child.trace_id(), trace[0].trace_id());
            assert_eq!(child.parent_span_id(), trace[0].span_id());
        }
        for span in trace {
            assert!(span.start_time_unix_nano() >= NOW && span.end_time_unix_nano() > span.start_time_unix_nano());
        }
    }
    assert_ne!(spans[0].trace_id(), spans[5].trace_id());
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    for signal in Signal::ALL {
        let make = |seed| {
            let settings = PayloadSettings { seed, extra_attributes: 1, ..PayloadSettings::default() };
            generator(signal, Form::Protobuf, &settings).next(NOW).bytes
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }
}

#[test]
fn a_request_that_is_still_held_is_not_changed_by_the_next_one() {
    let mut generator = generator(Signal::Logs, Form::Protobuf, &PayloadSettings::default());
    let first = generator.next(NOW);
    let held = first.bytes.clone();
    generator.give_back(first);
    let second = generator.next(NOW);
    assert_eq!(identities(&parse(Signal::Logs, Form::Protobuf, &held))[0].sequence, 1);
    assert_eq!(identities(&parse(Signal::Logs, Form::Protobuf, &second.bytes))[0].sequence, 201);
    // And one that never comes back costs only time.
    assert_eq!(identities(&parse(Signal::Logs, Form::Protobuf, &generator.next(NOW).bytes))[0].sequence, 401);
}
