//! What protocols lose is no difference.

use legacy::jaeger;
use legacy::thrift::Protocol;
use legacy::zipkin::{self, Encoding, Format, StringTags};
use otlp::encode::TracesEncoder;
use otlp::{Batch, SpanId, SpanKind, TraceId};

use super::super::*;
use super::calls::{Call, compare, request, trace};

const RESOURCE: [(&str, &str); 4] =
    [("host.name", "a"), ("team", "pay"), ("service.version", "1.4"), ("telemetry.sdk.name", "opentelemetry")];

/// Calls with everything that protocols have other words for.
fn calls(number: u64) -> Vec<Call> {
    let mut calls = request(number);
    calls[0].drop_attribute("team");
    calls[1].attributes.extend([("server.address", "10.0.0.1"), ("server.port", "5432")]);
    calls[2].is_error = number.is_multiple_of(5);
    calls[3].events = vec!["exception", ""];
    calls[3].links = 2;
    calls
}

fn over_jaeger(batch: &Batch) -> Vec<Batch> {
    jaeger::to_proto(batch, 1 << 20).iter().map(|request| jaeger::from_proto(&request.body).unwrap()).collect()
}

fn over_thrift(batch: &Batch) -> Vec<Batch> {
    let batches = jaeger::to_thrift(batch, Protocol::Binary);
    batches.iter().map(|batch| jaeger::from_thrift(batch, Protocol::Binary).unwrap()).collect()
}

fn over_zipkin(batch: &Batch) -> Vec<Batch> {
    let encoded = zipkin::encode(batch, Format::Json, "shop");
    vec![zipkin::decode(Encoding::JsonV2, &encoded.body, StringTags::Kept).unwrap()]
}

fn over_zipkin_with_types(batch: &Batch) -> Vec<Batch> {
    let encoded = zipkin::encode(batch, Format::Protobuf, "shop");
    vec![zipkin::decode(Encoding::ProtobufV2, &encoded.body, StringTags::Parsed).unwrap()]
}

type Way = fn(&Batch) -> Vec<Batch>;
const WAYS: [(&str, Way); 4] = [
    ("jaeger", over_jaeger),
    ("jaeger in thrift", over_thrift),
    ("zipkin", over_zipkin),
    ("zipkin, tags parsed", over_zipkin_with_types),
];

fn check(new_ids: u64, of: impl Fn(u64, u64) -> Batch) {
    for (name, way) in WAYS {
        let verdicts = compare(800, |number| way(&of(number, 0)), |number| vec![of(number, new_ids)]);
        let equal = verdicts.iter().all(|one| matches!(one.verdict, Verdict::Equivalent { remark: None, .. }));
        assert!(equal && !verdicts.is_empty(), "{name}: {verdicts:?}");
    }
}

#[test]
fn spans_that_came_over_jaeger_or_zipkin_are_the_same() {
    check(0, |number, ids| trace(number, ids, &RESOURCE, &calls(number)));
}

#[test]
fn traces_of_other_ids_that_came_over_jaeger_or_zipkin_have_the_same() {
    check(1_000_000, |number, ids| trace(number, ids, &RESOURCE, &calls(number)));
}

#[test]
fn a_root_that_follows_from_a_span_of_its_own_trace_is_the_same_over_jaeger() {
    for new_ids in [0, 1_000_000] {
        check(new_ids, follows_what_it_called);
    }
}

/// A root that is linked to what it called, which is linked to the root.
fn follows_what_it_called(number: u64, ids: u64) -> Batch {
    let mut encoder = TracesEncoder::new();
    let span_id = |at: u64| SpanId::new(((number + ids) * 10 + at + 1).to_be_bytes());
    let trace_id = TraceId::new((u128::from(number + ids) + 1).to_be_bytes());
    encoder.resource_spans(|resource| {
        resource.resource(|resource| {
            resource.attributes().string("service.name", "shop");
        });
        resource.scope_spans(|scope| {
            for (at, name) in [(0, "consume"), (1, "produce")] {
                scope.span(|span| {
                    span.trace_id(trace_id).span_id(span_id(at)).name(name).kind(SpanKind::Consumer);
                    let end_ns = 1_000_000_000_000 + number * 50_000_000;
                    span.start_time_unix_nano(end_ns - 5000 + at * 1000).end_time_unix_nano(end_ns);
                    // And one to the parent, which is no further one.
                    let to = if at == 0 { 1 } else { 0 };
                    if at == 1 {
                        span.parent_span_id(span_id(0));
                    }
                    span.link(|link| {
                        link.trace_id(trace_id).span_id(span_id(to));
                    });
                });
            }
        });
    });
    encoder.finish()
}

#[test]
fn libraries_that_have_no_links_for_zipkin_are_no_difference() {
    for new_ids in [0, 1_000_000] {
        let verdicts = compare(
            800,
            |number| {
                let mut calls = calls(number);
                calls.iter_mut().for_each(|call| call.links = 0);
                over_zipkin(&trace(number, 0, &RESOURCE, &calls))
            },
            |number| vec![trace(number, new_ids, &RESOURCE, &calls(number))],
        );
        assert!(matches!(verdicts[0].verdict, Verdict::Equivalent { .. }), "{verdicts:?}");
    }
}
