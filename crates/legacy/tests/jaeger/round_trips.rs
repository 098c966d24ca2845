//! OTLP to Jaeger and back: what comes back is what was sent, but for the losses that the module names.

use legacy::jaeger;
use legacy::thrift::Protocol;
use otlp::encode::{AttributesWriter, SpanWriter, TracesEncoder};
use otlp::{Batch, SpanId, SpanKind, StatusCode, TraceId};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
    Empty,
}

type Attributes = Vec<(String, Value)>;

#[derive(Clone, Debug)]
struct Resource {
    service: Option<String>,
    attributes: Attributes,
    scopes: Vec<(String, String, Vec<Span>)>,
}

#[derive(Clone, Debug)]
struct Span {
    trace: u8,
    parent: Option<u8>,
    name: String,
    state: String,
    kind: i32,
    start: u64,
    duration: i64,
    attributes: Attributes,
    dropped: [u32; 3],
    events: Vec<(u64, String, Attributes, u32)>,
    links: Vec<Link>,
    status: (i32, String),
    flags: u32,
}

#[derive(Clone, Debug)]
struct Link {
    trace: u8,
    span: u8,
    state: String,
    attributes: Attributes,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<String>().prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Double),
        vec(any::<u8>(), 0..8).prop_map(Value::Bytes),
        vec("[a-z\"]{0,3}", 0..3).prop_map(Value::Texts),
        Just(Value::Empty),
    ]
}

/// Keys that mean nothing to Jaeger.
fn attributes() -> impl Strategy<Value = Attributes> {
    btree_map("[a-d]{1,2}", value(), 0..5).prop_map(|map| map.into_iter().collect())
}

fn span() -> impl Strategy<Value = Span> {
    let link = (0..3_u8, 1..9_u8, "[a-z=]{0,4}", attributes());
    let link = link.prop_map(|(trace, span, state, attributes)| Link { trace, span, state, attributes });
    let event = (any::<u64>(), ".{0,5}", attributes(), 0..3_u32);
    let times = (0..1_u64 << 62, -1_000_000_000_000..1_000_000_000_000_i64);
    let head = (0..2_u8, prop::option::of(1..9_u8), ".{0,8}", "[a-z=]{0,4}", 0..6, times);
    let rest = (attributes(), any::<[u32; 3]>(), vec(event, 0..3), vec(link, 0..3), (0..3, ".{0,5}"), 0..512_u32);
    (head, rest).prop_map(|(head, rest)| {
        let (trace, parent, name, state, kind, (start, duration)) = head;
        let (attributes, dropped, events, links, status, flags) = rest;
        let duration = duration.max(-(start as i64));
        #[rustfmt::skip]
        let span = Span { trace, parent, name, state, kind, start, duration, attributes, dropped, events, links, status, flags };
        span
    })
}

fn resources() -> impl Strategy<Value = Vec<Resource>> {
    let scopes = btree_map("[a-z]{0,2}", (".{0,3}", vec(span(), 1..4)), 1..3);
    let resource = (prop::option::of(".{1,5}"), attributes(), scopes).prop_map(|(service, attributes, scopes)| {
        let scopes = scopes.into_iter().map(|(name, (version, spans))| (name, version, spans)).collect();
        Resource { service, attributes, scopes }
    });
    vec(resource, 0..3).prop_map(|mut resources| {
        // Equal ones become one.
        for (index, resource) in resources.iter_mut().enumerate() {
            resource.attributes.push(("index".to_owned(), Value::Int(index as i64)));
        }
        resources
    })
}

fn trace_id(number: u8) -> TraceId {
    TraceId::new([number + 1; 16])
}

fn span_id(number: u8) -> SpanId {
    SpanId::new([number; 8])
}

fn write_attributes(mut out: AttributesWriter<'_>, attributes: &Attributes) {
    for (key, value) in attributes {
        match value {
            Value::Text(text) => drop(out.string(key, text)),
            Value::Bool(value) => drop(out.bool(key, *value)),
            Value::Int(value) => drop(out.int(key, *value)),
            Value::Double(value) => drop(out.double(key, *value)),
            Value::Bytes(bytes) => drop(out.bytes(key, bytes)),
            Value::Texts(texts) => out.value(key).array(|out| texts.iter().for_each(|text| out.value().string(text))),
            Value::Empty => out.value(key).empty(),
        }
    }
}

fn write_span(out: &mut SpanWriter<'_>, span: &Span) {
    out.trace_id(trace_id(span.trace)).span_id(span_id(100));
    if let Some(parent) = span.parent {
        out.parent_span_id(span_id(parent));
    }
    out.trace_state(&span.state).name(&span.name).kind(SpanKind::from_number(span.kind).unwrap());
    out.start_time_unix_nano(span.start).end_time_unix_nano(span.start.saturating_add_signed(span.duration));
    let [attributes, events, links] = span.dropped;
    out.dropped_attributes_count(attributes).dropped_events_count(events).dropped_links_count(links);
    write_attributes(out.attributes(), &span.attributes);
    for (time, name, attributes, dropped) in &span.events {
        out.event(|out| {
            out.time_unix_nano(*time).name(name).dropped_attributes_count(*dropped);
            write_attributes(out.attributes(), attributes);
        });
    }
    for link in &span.links {
        out.link(|out| {
            out.trace_id(trace_id(link.trace)).span_id(span_id(link.span)).trace_state(&link.state);
            write_attributes(out.attributes(), &link.attributes);
        });
    }
    let (code, message) = &span.status;
    if *code != 0 || !message.is_empty() {
        out.status(|out| {
            out.code(StatusCode::from_number(*code).unwrap()).message(message);
        });
    }
    out.flags(span.flags);
}

fn batch(resources: &[Resource]) -> Batch {
    let mut out = TracesEncoder::new();
    for resource in resources {
        out.resource_spans(|block| {
            block.resource(|out| {
                if let Some(service) = &resource.service {
                    out.attributes().string("service.name", service);
                }
                write_attributes(out.attributes(), &resource.attributes);
            });
            for (name, version, spans) in &resource.scopes {
                block.scope_spans(|out| {
                    if !name.is_empty() || !version.is_empty() {
                        out.scope(|out| {
                            out.name(name).version(version);
                        });
                    }
                    spans.iter().for_each(|span| out.span(|out| write_span(out, span)));
                });
            }
        });
    }
    out.finish()
}

// === What is lost ===

fn flatten(attributes: &mut Attributes) {
    for (_, value) in attributes {
        let text = match value {
            Value::Texts(texts) => serde_json::to_string(texts).unwrap(),
            Value::Empty => String::new(),
            _ => continue,
        };
        *value = Value::Text(text);
    }
}

fn lose(resources: &mut [Resource], nanoseconds: bool) {
    for resource in resources {
        resource.service.get_or_insert_with(|| "unknown_service".to_owned());
        flatten(&mut resource.attributes);
        for span in resource.scopes.iter_mut().flat_map(|(_, _, spans)| spans) {
            lose_of_span(span);
            if !nanoseconds {
                span.start -= span.start % 1000;
                span.duration -= span.duration % 1000;
                span.events.iter_mut().for_each(|(time, ..)| *time -= *time % 1000);
            }
        }
    }
}

fn lose_of_span(span: &mut Span) {
    if span.kind == SpanKind::Internal.number() {
        span.kind = 0;
    }
    span.flags &= 1;
    flatten(&mut span.attributes);
    span.events.iter_mut().for_each(|(_, _, attributes, _)| flatten(attributes));
    for link in &mut span.links {
        link.state.clear();
        link.attributes = vec![("opentracing.ref_type".to_owned(), Value::Text("follows_from".to_owned()))];
    }
    // A reference to the same trace says who the parent is, if nothing else does.
    let own = span.links.iter().find(|link| link.trace == span.trace).map(|link| link.span);
    span.parent = span.parent.or(own);
}

fn check(found: &Batch, expected: &Batch) {
    if found.bytes() != expected.bytes() {
        let json = |batch: &Batch| {
            let mut text = Vec::new();
            otlp::json::encode(batch, &mut text);
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            serde_json::to_string_pretty(&value).unwrap()
        };
        pretty(&json(found), &json(expected));
    }
}

fn pretty(found: &str, expected: &str) {
    assert!(found == expected, "found\n{found}\nexpected\n{expected}");
}

fn through_proto(batch: &Batch) -> Batch {
    let requests = jaeger::to_proto(batch, 4 << 20);
    let back: Vec<Batch> = requests.iter().map(|request| jaeger::from_proto(&request.body).unwrap()).collect();
    Batch::concat(otlp::Signal::Traces, &back)
}

fn through_thrift(batch: &Batch, protocol: Protocol) -> Batch {
    let datagrams = jaeger::to_datagrams(batch, protocol);
    let back: Vec<Batch> =
        datagrams.iter().map(|datagram| jaeger::from_datagram(datagram, protocol).unwrap()).collect();
    Batch::concat(otlp::Signal::Traces, &back)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn through_protobuf_nothing_is_lost_that_is_not_named(mut resources in resources()) {
        let back = through_proto(&batch(&resources));
        lose(&mut resources, true);
        check(&back, &batch(&resources));
        // A link to the parent moves to the front on its second way; then nothing changes any more.
        let again = through_proto(&back);
        check(&through_proto(&again), &again);
    }

    #[test]
    fn through_thrift_nothing_is_lost_that_is_not_named(mut resources in resources()) {
        let sent = batch(&resources);
        lose(&mut resources, false);
        let expected = batch(&resources);
        for protocol in [Protocol::Binary, Protocol::Compact] {
            check(&through_thrift(&sent, protocol), &expected);
            let again = through_thrift(&expected, protocol);
            check(&through_thrift(&again, protocol), &again);
        }
    }

    #[test]
    fn requests_are_within_their_bound_and_add_up(resources in resources(), size_bytes_max in 0..4000_usize) {
        let batch = batch(&resources);
        let requests = jaeger::to_proto(&batch, size_bytes_max);
        prop_assert_eq!(requests.iter().map(|request| request.items).sum::<u32>(), batch.items());
        for request in &requests {
            prop_assert!(request.items == 1 || request.body.len() <= size_bytes_max);
            prop_assert_eq!(jaeger::from_proto(&request.body).unwrap().items(), request.items);
        }
    }
}
