//! Zipkin to OTLP and back: golden files, round trips, and mutated input.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use legacy::zipkin::{Encoded, Encoding, Format, StringTags, decode, encode};
use otlp::encode::{AttributesWriter, TracesEncoder};
use otlp::{Batch, Limits, Signal, SpanId, SpanKind, StatusCode, TraceId, json};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

// === golden files ===

fn files(suffix: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/zipkin");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.to_str().unwrap().ends_with(suffix)).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no {suffix}");
    paths
}

/// Compares with the golden file whose name has `suffix` more; `UPDATE_GOLDEN=1` writes it.
fn check_golden(input: &Path, suffix: &str, found: &[u8]) {
    let found: serde_json::Value = serde_json::from_slice(found).unwrap();
    let found = format!("{found:#}\n");
    let path = PathBuf::from(format!("{}{suffix}", input.to_str().unwrap().trim_end_matches(".json")));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(found, expected, "{}", path.display());
}

fn otlp_json(batch: &Batch) -> Vec<u8> {
    let mut text = Vec::new();
    json::encode(batch, &mut text);
    text
}

/// A batch that everybody else would take as well.
fn checked(batch: Batch) -> Batch {
    let again = Batch::parse(Signal::Traces, batch.bytes().clone(), &Limits::default()).unwrap();
    assert_eq!(again.items(), batch.items());
    batch
}

const FORMS: [(&str, Encoding); 4] = [
    (".v2.json", Encoding::JsonV2),
    (".v2.pb", Encoding::ProtobufV2),
    (".v1.json", Encoding::JsonV1),
    (".v1.thrift", Encoding::ThriftV1),
];

#[test]
fn what_clients_send_becomes_the_golden_otlp() {
    for (suffix, encoding) in FORMS {
        for path in files(suffix) {
            let bytes = std::fs::read(&path).unwrap();
            let batch = checked(decode(encoding, &bytes, StringTags::Kept).unwrap());
            check_golden(&path, ".otlp.json", &otlp_json(&batch));
        }
    }
}

#[test]
fn parsed_tags_have_the_types_that_they_look_like() {
    let path = files("api.v2.json").remove(0);
    let batch = decode(Encoding::JsonV2, &std::fs::read(&path).unwrap(), StringTags::Parsed).unwrap();
    check_golden(&path, ".parsed-tags.otlp.json", &otlp_json(&batch));
}

#[test]
fn both_forms_of_one_client_mean_the_same() {
    let [json, proto] = [(".v2.json", Encoding::JsonV2), (".v2.pb", Encoding::ProtobufV2)].map(|(suffix, encoding)| {
        let path = files(&format!("py_zipkin{suffix}")).remove(0);
        decode(encoding, &std::fs::read(path).unwrap(), StringTags::Kept).unwrap()
    });
    assert_eq!(json.bytes(), proto.bytes());
}

#[test]
fn otlp_becomes_the_golden_zipkin_in_both_forms() {
    for path in files(".source.json") {
        let batch = json::decode(Signal::Traces, &std::fs::read(&path).unwrap(), &Limits::default()).unwrap();
        let encoded = encode(&batch, Format::Json, "<missing service name>");
        assert_eq!((encoded.spans, encoded.without_id, encoded.too_large), (5, 1, 0));
        check_golden(&path, ".zipkin.json", &encoded.body);
        let [json, proto] = read_again(&batch);
        assert_eq!(json.bytes(), proto.bytes());
        check_golden(&path, ".back.otlp.json", &otlp_json(&json));
    }
}

/// A batch, written and read again, in both forms.
fn read_again(batch: &Batch) -> [Batch; 2] {
    [(Format::Json, Encoding::JsonV2), (Format::Protobuf, Encoding::ProtobufV2)].map(|(format, encoding)| {
        let Encoded { body, spans, without_id, too_large } = encode(batch, format, "<missing service name>");
        assert_eq!(spans + without_id + too_large, u64::from(batch.items()));
        let read = checked(decode(encoding, &body, StringTags::Kept).unwrap());
        assert_eq!(u64::from(read.items()), spans);
        read
    })
}

// === round trips ===

/// Time in microseconds, name, attributes, and how many were dropped.
type TestEvent = (u64, String, Vec<(String, i64)>, u32);
/// Trace, span, trace state and attributes.
type TestLink = (u128, u64, String, Vec<(String, bool)>);

#[derive(Clone, Debug)]
struct TestSpan {
    ids: (u128, u64, Option<u64>),
    name: String,
    kind: i32,
    times_us: (u64, u64),
    tags: Vec<(String, String)>,
    events: Vec<TestEvent>,
    links: Vec<TestLink>,
    status: Option<(bool, String)>,
    trace_state: String,
    dropped: [u32; 3],
}

fn test_span() -> impl Strategy<Value = TestSpan> {
    let ids = (1..u128::MAX, 1..u64::MAX, option::of(1..u64::MAX));
    let times = (1..4_000_000_000_000_000_u64, 0..1_000_000_000_u64);
    let tags = btree_map("[a-d]{1,3}|k\\.[x-z]{1,3}", "\\PC{0,10}|[0-9]{1,4}|true", 0..5);
    let attributes = || btree_map("[a-z]{1,5}", any::<i64>(), 0..3);
    let event = (
        0..4_000_000_000_000_000_u64,
        "\\PC{0,12}|[a-z]\\|\\{\\}\\|0",
        attributes(),
        prop_oneof![Just(0), any::<u32>()],
    );
    let link = (1..u128::MAX, 1..u64::MAX, "|a=1|b=\\{", btree_map("[a-z]{1,5}", any::<bool>(), 0..2));
    let status = option::of((any::<bool>(), "|[a-z ]{1,12}"));
    let rest = (vec(event, 0..3), vec(link, 0..3), status, "|a=1,b=2", any::<[u32; 3]>());
    (ids, "\\PC{0,20}", 0..6_i32, times, tags, rest).prop_map(|(ids, name, kind, times_us, tags, rest)| {
        let (events, links, status, trace_state, dropped) = rest;
        let message_of_errors = status.map(|(is_error, message)| match message.as_str() {
            "true" | "false" => (is_error, String::new()),
            _ => (is_error, if is_error { message } else { String::new() }),
        });
        TestSpan {
            // What names itself as its parent has none.
            ids: (ids.0, ids.1, ids.2.filter(|parent| *parent != ids.1)),
            name,
            kind,
            times_us,
            tags: tags.into_iter().collect(),
            events: events
                .into_iter()
                .map(|(at, name, list, dropped)| (at, name, list.into_iter().collect(), dropped))
                .collect(),
            links: links
                .into_iter()
                .map(|(trace, span, state, list)| (trace, span, state, list.into_iter().collect()))
                .collect(),
            status: message_of_errors,
            trace_state,
            dropped,
        }
    })
}

/// One block of spans, with the attributes in the order of their keys.
fn batch(spans: &[TestSpan], resource: &[(&str, String)], scope: (&str, &str)) -> Batch {
    let mut encoder = TracesEncoder::new();
    encoder.resource_spans(|block| {
        block.resource(|out| {
            resource.iter().for_each(|(key, value)| {
                out.attributes().string(key, value);
            });
        });
        block.scope_spans(|block| {
            block.scope(|out| {
                out.name(scope.0).version(scope.1);
            });
            spans.iter().for_each(|span| block.span(|out| write(span, out)));
        });
    });
    encoder.finish()
}

fn write(span: &TestSpan, out: &mut otlp::encode::SpanWriter<'_>) {
    let (trace_id, id, parent_id) = span.ids;
    out.trace_id(TraceId::new(trace_id.to_be_bytes())).span_id(SpanId::new(id.to_be_bytes()));
    out.trace_state(&span.trace_state);
    if let Some(parent_id) = parent_id {
        out.parent_span_id(SpanId::new(parent_id.to_be_bytes()));
    }
    out.name(&span.name).kind(SpanKind::from_number(span.kind).unwrap());
    let (start_us, duration_us) = span.times_us;
    out.start_time_unix_nano(start_us * 1000).end_time_unix_nano((start_us + duration_us) * 1000);
    span.tags.iter().for_each(|(key, value)| {
        out.attributes().string(key, value);
    });
    out.dropped_attributes_count(span.dropped[0]);
    for (at, name, attributes, dropped) in &span.events {
        out.event(|out| {
            out.time_unix_nano(at * 1000).name(name);
            attributes.iter().for_each(|(key, value)| {
                out.attributes().int(key, *value);
            });
            out.dropped_attributes_count(*dropped);
        });
    }
    out.dropped_events_count(span.dropped[1]);
    for (trace_id, id, state, attributes) in &span.links {
        out.link(|out| {
            out.trace_id(TraceId::new(trace_id.to_be_bytes())).span_id(SpanId::new(id.to_be_bytes()));
            out.trace_state(state);
            attributes.iter().for_each(|(key, value)| {
                out.attributes().bool(key, *value);
            });
        });
    }
    out.dropped_links_count(span.dropped[2]);
    if let Some((is_error, message)) = &span.status {
        let code = if *is_error { StatusCode::Error } else { StatusCode::Ok };
        out.status(|out| {
            out.message(message).code(code);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_zipkin_has_a_place_for_comes_back_as_it_was(
        spans in vec(test_span(), 1..4), host in "[a-z]{1,8}", service in "\\PC{1,8}", version in "|1\\.2"
    ) {
        // A service of the Collector's name for none has none.
        prop_assume!(service != "OTLPResourceNoServiceName");
        let batch = batch(&spans, &[("host.name", host), ("service.name", service)], ("scope", &version));
        let [json, proto] = read_again(&batch);
        prop_assert_eq!(String::from_utf8(otlp_json(&json)), String::from_utf8(otlp_json(&batch)));
        prop_assert_eq!(json.bytes(), batch.bytes());
        prop_assert_eq!(proto.bytes(), batch.bytes());
    }

    #[test]
    fn what_was_lost_once_is_not_lost_again(
        spans in vec(test_span(), 1..4), nanos in 0..3000_u64, extra in vec(("\\PC{0,6}", attribute()), 0..4)
    ) {
        let mut encoder = TracesEncoder::new();
        encoder.resource_spans(|block| {
            block.resource(|out| write_all(&extra, &mut out.attributes()));
            block.scope_spans(|block| {
                for span in &spans {
                    block.span(|out| {
                        write(&TestSpan { tags: vec![], ..span.clone() }, out);
                        out.start_time_unix_nano(nanos).end_time_unix_nano(nanos / 2);
                        write_all(&extra, &mut out.attributes());
                    });
                }
            });
        });
        let [once, proto] = read_again(&encoder.finish());
        prop_assert_eq!(once.bytes(), proto.bytes());
        let [twice, _] = read_again(&once);
        prop_assert_eq!(String::from_utf8(otlp_json(&twice)), String::from_utf8(otlp_json(&once)));
    }
}

#[derive(Clone, Debug)]
enum Attribute {
    Int(i64),
    Double(f64),
    Bool(bool),
    Bytes(Vec<u8>),
    List(Vec<String>),
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        any::<i64>().prop_map(Attribute::Int),
        any::<f64>().prop_map(Attribute::Double),
        any::<bool>().prop_map(Attribute::Bool),
        vec(any::<u8>(), 0..5).prop_map(Attribute::Bytes),
        vec("\\PC{0,4}", 0..3).prop_map(Attribute::List),
    ]
}

fn write_all(attributes: &[(String, Attribute)], out: &mut AttributesWriter<'_>) {
    for (key, attribute) in attributes {
        match attribute {
            Attribute::Int(value) => {
                out.int(key, *value);
            }
            Attribute::Double(value) => {
                out.double(key, *value);
            }
            Attribute::Bool(value) => {
                out.bool(key, *value);
            }
            Attribute::Bytes(value) => {
                out.bytes(key, value);
            }
            Attribute::List(values) => {
                out.value(key).array(|out| values.iter().for_each(|value| out.value().string(value)));
            }
        }
    }
}

// === what is no span ===

fn check_fault(encoding: Encoding, bytes: &[u8], expected: &str) {
    let error = decode(encoding, bytes, StringTags::Kept).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_fault_has_its_place() {
    use Encoding::{JsonV1, JsonV2, ProtobufV2, ThriftV1};
    check_fault(JsonV2, b"", "line 1");
    check_fault(JsonV2, b"{}", "line 1 column 0");
    check_fault(JsonV2, b"[\n{\"traceId\": \"xyz\", \"id\": \"1\"}]", "a trace id: 16 or 32 hexadecimal digits");
    check_fault(JsonV2, b"[\n{\"traceId\": \"xyz\", \"id\": \"1\"}]", "line 2 column 17");
    check_fault(JsonV2, br#"[{"traceId": "0", "id": "1"}]"#, "not all zero");
    check_fault(JsonV2, br#"[{"traceId": "1", "id": "00112233445566778"}]"#, "a span id");
    check_fault(JsonV2, br#"[{"traceId": "1"}]"#, "missing field `id`");
    check_fault(JsonV2, br#"[{"traceId": "1", "id": "1", "timestamp": -1}]"#, "not below zero");
    check_fault(JsonV2, br#"[{"traceId": "1", "id": "1", "localEndpoint": {"port": 65536}}]"#, "a port");
    check_fault(JsonV2, b"[{\"traceId\": \"1\", \"id\": \"1\", \"name\": \"\xff\"}]", "line 1");
    check_fault(JsonV2, "[".repeat(100_000).as_bytes(), "line 1");
    check_fault(JsonV1, br#"[{"traceId": "1", "id": "1", "annotations": [{"value": 3}]}]"#, "line 1 column");
    check_fault(ProtobufV2, b"\x0a\x7f", "no protobuf from byte 0 on");
    check_fault(ProtobufV2, b"\x0a\x00", "span 0: a trace id of 0 bytes");
    check_fault(ProtobufV2, b"\x0a\x0b\x0a\x08\x00\x00\x00\x00\x00\x00\x00\x00\x1a", "Span");
    check_fault(ThriftV1, b"\x0b\x00\x00\x00\x01", "expected a list of spans");
    check_fault(ThriftV1, b"\x0c\x7f\xff\xff\xff", "elements declared");
    check_fault(ThriftV1, b"\x0c\x00\x00\x00\x01\x00", "span 0: the trace id is zero");
    check_fault(ThriftV1, b"", "truncated");
}

#[test]
fn no_spans_are_an_empty_batch() {
    for (encoding, bytes) in [
        (Encoding::JsonV2, &b" [ ] "[..]),
        (Encoding::ProtobufV2, b""),
        (Encoding::JsonV1, b"[]"),
        (Encoding::ThriftV1, b"\x0c\x00\x00\x00\x00"),
    ] {
        assert_eq!(decode(encoding, bytes, StringTags::Kept).unwrap().size_bytes(), 0, "{encoding:?}");
    }
    assert_eq!(encode(&Batch::empty(Signal::Traces), Format::Json, "x").body, b"[]");
    assert_eq!(encode(&Batch::empty(Signal::Traces), Format::Protobuf, "x").body, b"");
}

// === fuzz ===

const INTERESTING: &[u8] =
    &[0, 1, 4, 8, 0x0a, 0x0b, 0x0c, 0x0f, 0x7f, 0x80, 0xff, b'"', b'{', b'}', b'[', b']', b'|', b':', b'0'];

fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    let at = random.usize(0..=bytes.len());
    let end = (at + random.usize(0..16)).min(bytes.len());
    match random.u8(0..8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
        1 if at < bytes.len() => bytes[at] = INTERESTING[random.usize(0..INTERESTING.len())],
        2 => bytes.insert(at, INTERESTING[random.usize(0..INTERESTING.len())]),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        5 if random.u8(0..8) == 0 => bytes.truncate(at),
        _ if at < bytes.len() && bytes[at].is_ascii_alphanumeric() => bytes[at] = random.alphanumeric() as u8,
        _ if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
        _ => {}
    }
}

/// What is read is valid, is written in both forms, and reads the same again.
fn fuzz(encoding: Encoding, bytes: &[u8]) -> bool {
    let mut read = false;
    for tags in [StringTags::Kept, StringTags::Parsed] {
        let Ok(batch) = decode(encoding, bytes, tags) else { continue };
        let [json, proto] = read_again(&checked(batch));
        assert_eq!(json.bytes(), proto.bytes());
        read = true;
    }
    read
}

#[test]
fn mutated_payloads_are_read_or_refused() {
    for (suffix, encoding) in FORMS {
        let inputs: Vec<Vec<u8>> = files(suffix).iter().map(|path| std::fs::read(path).unwrap()).collect();
        let mut random = fastrand::Rng::with_seed(0x21b);
        let (mut input, mut read) = (Vec::new(), 0);
        for iteration in 0..2000 {
            if iteration % 4 == 0 {
                input.clone_from(&inputs[random.usize(0..inputs.len())]);
            }
            mutate(&mut random, &mut input);
            match std::panic::catch_unwind(|| fuzz(encoding, &input)) {
                Ok(was_read) => read += u32::from(was_read),
                Err(panic) => {
                    eprintln!("iteration {iteration}, {encoding:?}, input {:?}", Bytes::from(input));
                    std::panic::resume_unwind(panic);
                }
            }
        }
        assert!(read > 200, "{encoding:?}: {read}");
    }
}

#[test]
fn random_and_truncated_bytes_are_read_or_refused() {
    let mut random = fastrand::Rng::with_seed(7);
    for (suffix, encoding) in FORMS {
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..random.usize(0..40)).map(|_| random.u8(..)).collect();
            fuzz(encoding, &bytes);
        }
        for path in files(suffix) {
            let whole = std::fs::read(path).unwrap();
            for end in 0..whole.len() {
                fuzz(encoding, &whole[..end]);
            }
        }
    }
}
