//! OTLP JSON both ways: the examples of the specification, the rules one by one, and arbitrary requests.
#![allow(missing_docs, clippy::unwrap_used)]

mod reference;

use std::path::Path;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use otlp::{Batch, Limits, Signal, json};
use proptest::prelude::*;
use prost::Message;
use reference::{arbitrary, batch, unknown};

fn decode(signal: Signal, text: &str) -> Batch {
    json::decode(signal, text.as_bytes(), &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn encode(batch: &Batch) -> String {
    let mut out = Vec::new();
    json::encode(batch, &mut out);
    String::from_utf8(out).unwrap()
}

/// Reads an example, writes it, and compares with the golden file. `UPDATE_GOLDEN=1` writes the file.
fn check_example(name: &str, signal: Signal, items: u32) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/opentelemetry-proto");
    let batch = decode(signal, &std::fs::read_to_string(directory.join(format!("{name}.json"))).unwrap());
    assert_eq!(batch.items(), items);
    let written = encode(&batch) + "\n";
    let golden = directory.join(format!("{name}.expected.json"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &written).unwrap();
    }
    assert_eq!(written, std::fs::read_to_string(&golden).unwrap(), "{name}");
    assert_eq!(encode(&decode(signal, &written)) + "\n", written, "{name}");
}

#[test]
fn the_examples_of_the_specification_are_read_and_written() {
    check_example("trace", Signal::Traces, 1);
    check_example("metrics", Signal::Metrics, 4);
    check_example("logs", Signal::Logs, 1);
    check_example("events", Signal::Logs, 1);
}

proptest! {
    #[test]
    fn traces_survive_the_way_through_json(request in arbitrary::traces()) {
        let read = decode(Signal::Traces, &encode(&batch(Signal::Traces, &request)));
        prop_assert_eq!(ExportTraceServiceRequest::decode(read.bytes().clone()).unwrap(), request);
    }

    #[test]
    fn metrics_survive_the_way_through_json(request in arbitrary::metrics()) {
        let read = decode(Signal::Metrics, &encode(&batch(Signal::Metrics, &request)));
        prop_assert_eq!(ExportMetricsServiceRequest::decode(read.bytes().clone()).unwrap(), request);
    }

    #[test]
    fn logs_survive_the_way_through_json(request in arbitrary::logs()) {
        let batch = batch(Signal::Logs, &request);
        let read = decode(Signal::Logs, &encode(&batch));
        prop_assert_eq!(read.items(), batch.items());
        prop_assert_eq!(ExportLogsServiceRequest::decode(read.bytes().clone()).unwrap(), request);
    }

    #[test]
    fn doubles_survive_to_the_last_bit(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(!value.is_nan());
        let text = log(&format!(r#"{{"body": {{"doubleValue": {}}}}}"#, serde_json::to_string(&value).unwrap()));
        prop_assume!(value.is_finite());
        let Some(Value::DoubleValue(read)) = record(&text).body.unwrap().value else { panic!("a double") };
        prop_assert_eq!(read.to_bits(), bits);
        prop_assert!(encode(&decode(Signal::Logs, &text)).contains("doubleValue"));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[{}\\[\\]\",:a-zA-Z0-9 ]{0,60}") {
        for signal in Signal::ALL {
            let _ = json::decode(signal, text.as_bytes(), &Limits::default());
        }
    }

    #[test]
    fn unknown_fields_of_protobuf_do_not_disturb(request in arbitrary::logs()) {
        let bytes = unknown::add(Signal::Logs, &request.encode_to_vec());
        let batch = Batch::parse(Signal::Logs, bytes.into(), &Limits::default()).unwrap();
        let read = decode(Signal::Logs, &encode(&batch));
        let read = ExportLogsServiceRequest::decode(read.bytes().clone()).unwrap();
        prop_assert_eq!(read, ExportLogsServiceRequest::decode(batch.bytes().clone()).unwrap());
    }
}

/// A request with this log record.
fn log(record: &str) -> String {
    format!(r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{record}]}}]}}]}}"#)
}

fn record(text: &str) -> LogRecord {
    let batch = decode(Signal::Logs, text);
    let mut request = ExportLogsServiceRequest::decode(batch.bytes().clone()).unwrap();
    request.resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0)
}

/// That both log records mean the same.
fn check_same(text: &str, expected: &str) {
    assert_eq!(record(&log(text)), record(&log(expected)), "{text}");
}

#[test]
fn names_are_read_in_both_spellings() {
    check_same(r#"{"time_unix_nano": "5", "severity_text": "x"}"#, r#"{"timeUnixNano": "5", "severityText": "x"}"#);
}

#[test]
fn integers_are_read_as_numbers_and_as_strings() {
    check_same(r#"{"timeUnixNano": 18446744073709551615}"#, r#"{"timeUnixNano": "18446744073709551615"}"#);
    check_same(r#"{"timeUnixNano": 1e3}"#, r#"{"timeUnixNano": "1000"}"#);
    check_same(r#"{"timeUnixNano": "2.0"}"#, r#"{"timeUnixNano": 2}"#);
    check_same(r#"{"body": {"intValue": -9223372036854775808}}"#, r#"{"body": {"intValue": "-9223372036854775808"}}"#);
    check_same(r#"{"flags": "7"}"#, r#"{"flags": 7}"#);
}

#[test]
fn enums_are_read_as_numbers_and_as_names() {
    check_same(r#"{"severityNumber": "SEVERITY_NUMBER_WARN2"}"#, r#"{"severityNumber": 14}"#);
    check_same(r#"{"severityNumber": "14"}"#, r#"{"severityNumber": 14}"#);
    // Values that the specification may get one day are carried over.
    assert_eq!(record(&log(r#"{"severityNumber": 99}"#)).severity_number, 99);
}

#[test]
fn doubles_have_names_where_json_has_no_number() {
    for (text, expected) in
        [("\"Infinity\"", f64::INFINITY), ("\"-Infinity\"", f64::NEG_INFINITY), ("\"1.5\"", 1.5), ("5", 5.0)]
    {
        let record = record(&log(&format!(r#"{{"body": {{"doubleValue": {text}}}}}"#)));
        assert_eq!(record.body.unwrap().value, Some(Value::DoubleValue(expected)));
    }
    let nan = log(r#"{"body": {"doubleValue": "NaN"}}"#);
    assert!(encode(&decode(Signal::Logs, &nan)).contains(r#""doubleValue":"NaN""#));
}

#[test]
fn ids_are_hexadecimal_in_either_case() {
    check_same(r#"{"spanId": "EEE19B7EC3C1B174"}"#, r#"{"spanId": "eee19b7ec3c1b174"}"#);
    check_same(r#"{"traceId": ""}"#, "{}");
}

#[test]
fn bytes_are_base64_in_either_alphabet() {
    let bytes = |text: &str| record(&log(&format!(r#"{{"body": {{"bytesValue": "{text}"}}}}"#))).body.unwrap().value;
    for text in ["++/+", "--_-"] {
        assert_eq!(bytes(text), Some(Value::BytesValue(vec![0xfb, 0xef, 0xfe])), "{text}");
    }
    for text in ["YQ==", "YQ"] {
        assert_eq!(bytes(text), Some(Value::BytesValue(b"a".to_vec())), "{text}");
    }
}

#[test]
fn null_is_as_good_as_absent() {
    check_same(r#"{"timeUnixNano": null, "body": null, "attributes": null, "traceId": null}"#, "{}");
    check_same(r#"{"body": {"stringValue": null, "intValue": 1}}"#, r#"{"body": {"intValue": 1}}"#);
}

#[test]
fn unknown_fields_are_skipped() {
    check_same(r#"{"later": {"a": [1, {"b": null}]}, "flags": 1, "x": "y"}"#, r#"{"flags": 1}"#);
}

#[test]
fn escapes_are_read_and_written() {
    let text = log(r#"{"severityText": "\u00e9\n\t\"\\\/\ud83d\ude00\u0001"}"#);
    assert_eq!(record(&text).severity_text, "é\n\t\"\\/😀\u{1}");
    assert!(encode(&decode(Signal::Logs, &text)).contains(r#""severityText":"é\n\t\"\\/😀\u0001""#));
}

#[test]
fn an_empty_document_is_an_empty_request() {
    assert_eq!(decode(Signal::Metrics, "{}").items(), 0);
    assert_eq!(encode(&Batch::empty(Signal::Metrics)), "{}");
}

fn check_error(signal: Signal, text: &str, expected: &str) {
    let error = json::decode(signal, text.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), expected, "{text}");
}

fn check_record_error(text: &str, expected: &str) {
    check_error(Signal::Logs, &log(text), expected);
}

#[test]
fn faults_are_named_with_line_column_and_path() {
    check_error(
        Signal::Traces,
        "{\n  \"resourceSpans\": [{}, {\"scopeSpans\": [{\"spans\": [{\"traceId\": \"xyz\"}]}]}]}",
        {
            "expected an id of 32 hexadecimal digits at line 2, column 68 (resourceSpans[1].scopeSpans[0].spans[0].traceId)"
        },
    );
}

const RECORD: &str = "resourceLogs[0].scopeLogs[0].logRecords[0]";

#[test]
fn what_cannot_be_carried_over_is_an_error() {
    let cases = [
        (r#"{"spanId": "eee19b7ec3c1b1"}"#, "expected an id of 16 hexadecimal digits", 76, ".spanId"),
        (r#"{"flags": -1}"#, "expected an unsigned 32-bit integer", 61, ".flags"),
        (r#"{"flags": 4294967296}"#, "expected an unsigned 32-bit integer", 69, ".flags"),
        (r#"{"timeUnixNano": "x"}"#, "expected an unsigned 64-bit integer", 69, ".timeUnixNano"),
        (r#"{"timeUnixNano": 1.5}"#, "expected an unsigned 64-bit integer", 69, ".timeUnixNano"),
        (r#"{"severityNumber": "LOUD"}"#, "unknown value \"LOUD\"", 74, ".severityNumber"),
        (r#"{"body": {"bytesValue": "*"}}"#, "invalid base64", 76, ".body.bytesValue"),
        (r#"{"body": {"intValue": 1, "boolValue": true}}"#, "a second value", 92, ".body.boolValue"),
        (r#"{"flags": 1, "flags": 2}"#, "a second value", 73, ".flags"),
        (r#"{"flags": true}"#, "expected an unsigned 32-bit integer, found a bool", 63, ".flags"),
        (r#"{"severityText": 5}"#, "expected a string, found a number", 67, ".severityText"),
    ];
    for (text, what, column, path) in cases {
        check_record_error(text, &format!("{what} at line 1, column {column} ({RECORD}{path})"));
    }
}

fn error_of(text: &str) -> String {
    json::decode(Signal::Logs, text.as_bytes(), &Limits::default()).unwrap_err().to_string()
}

#[test]
fn values_of_another_shape_are_errors() {
    for (text, start) in [
        (log(r#"{"body": 5}"#), "invalid type: integer `5`, expected an object (AnyValue)"),
        (log(r#"{"attributes": {}}"#), "invalid type: map, expected an array"),
        (log("null"), "null in an array"),
        (log(r#"{"timeUnixNano": []}"#), "invalid type: sequence, expected an unsigned 64-bit integer"),
        ("[]".to_owned(), "invalid type: sequence, expected an object (ExportLogsServiceRequest)"),
        ("{".to_owned(), "invalid JSON: EOF while parsing an object"),
        ("{} {}".to_owned(), "invalid JSON: trailing characters"),
        ("".to_owned(), "invalid JSON: EOF while parsing a value"),
        (log(r#"{"severityText": "\ud800"}"#), "invalid JSON:"),
    ] {
        assert!(error_of(&text).starts_with(start), "{text}: {}", error_of(&text));
    }
}

#[test]
fn text_that_is_not_utf8_is_an_error() {
    let error = json::decode(Signal::Logs, b"{\"resourceLogs\": \"\xff\"}", &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("invalid"), "{error}");
}

/// A log record whose body nests in this many arrays.
fn nested(levels: usize) -> String {
    let open = r#"{"arrayValue": {"values": ["#.repeat(levels);
    log(&format!(r#"{{"body": {open}{{"intValue": 1}}{}}}"#, "]}}".repeat(levels)))
}

#[test]
fn values_nest_as_deep_as_the_limit_says() {
    assert_eq!(decode(Signal::Logs, &nested(30)).items(), 1);
    assert!(error_of(&nested(31)).starts_with("value nested too deeply at line 1, column"));
    let widest = Limits { depth_max: u16::MAX };
    let batch = json::decode(Signal::Logs, nested(256).as_bytes(), &widest).unwrap();
    assert_eq!(encode(&batch).matches("arrayValue").count(), 256);
    assert!(json::decode(Signal::Logs, nested(257).as_bytes(), &widest).is_err());
}

#[test]
fn nesting_without_end_is_an_error_or_skipped_and_never_a_crash() {
    assert!(error_of(&nested(10_000)).starts_with("value nested too deeply"));
    let unknown = format!(r#"{{"unknown": {}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(decode(Signal::Logs, &unknown).items(), 0);
    assert!(error_of(&"[".repeat(10_000)).starts_with("invalid type"));
}
