//! Golden files: `testdata/jaeger/to_otlp`, `from_otlp`, `clients` and `query`. `UPDATE_GOLDEN=1` writes what is expected anew.

use std::fs;
use std::path::{Path, PathBuf};

use legacy::jaeger;
use legacy::thrift::Protocol;
use otlp::{Limits, Signal};
use prost::Message;
use serde_json::{Value, json};

use crate::reference::{Batch, PostSpansRequest};

fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/jaeger").join(directory);
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Compares one entry of a case, or writes it.
fn check(file: &Path, case: &Value, key: &str, found: Value) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let mut case = case.clone();
        case[key] = found;
        fs::write(file, serde_json::to_string_pretty(&case).unwrap() + "\n").unwrap();
        return;
    }
    let shown = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    assert!(case[key] == found, "{}: found\n{}\nexpected\n{}", file.display(), shown(&found), shown(&case[key]));
}

fn otlp_json(batch: &otlp::Batch) -> Value {
    let mut text = Vec::new();
    otlp::json::encode(batch, &mut text);
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn every_batch_of_jaeger_becomes_the_same_spans_in_every_form() {
    for file in files("to_otlp") {
        let case = read(&file);
        let batch: Batch = serde_json::from_value(case["jaeger"].clone()).unwrap();
        let converted = jaeger::from_proto(&batch.request()).unwrap();
        let items = converted.items();
        let otlp = otlp_json(&converted);
        check(&file, &case, "otlp", otlp.clone());
        // Some of it has no place in Thrift.
        if case["protobuf_only"].as_bool() == Some(true) {
            continue;
        }
        for protocol in [Protocol::Binary, Protocol::Compact] {
            let converted = jaeger::from_thrift(&batch.thrift(protocol), protocol).unwrap();
            assert_eq!(otlp_json(&converted), otlp, "{}, {protocol:?}", file.display());
            let converted = jaeger::from_datagram(&batch.datagram(protocol), protocol).unwrap();
            assert_eq!((otlp_json(&converted), converted.items()), (otlp.clone(), items), "{}", file.display());
        }
    }
}

#[test]
fn every_batch_of_otlp_becomes_a_request_for_each_resource() {
    for file in files("from_otlp") {
        let case = read(&file);
        let batch =
            otlp::json::decode(Signal::Traces, case["otlp"].to_string().as_bytes(), &Limits::default()).unwrap();
        let requests = jaeger::to_proto(&batch, 4 << 20);
        assert_eq!(requests.iter().map(|request| request.items).sum::<u32>(), batch.items());
        let decode = |body: &[u8]| PostSpansRequest::decode(body).unwrap().batch.unwrap();
        let batches: Vec<Batch> = requests.iter().map(|request| decode(&request.body)).collect();
        check(&file, &case, "jaeger", serde_json::to_value(batches).unwrap());
        let back: Vec<Value> =
            requests.iter().map(|request| otlp_json(&jaeger::from_proto(&request.body).unwrap())).collect();
        check(&file, &read(&file), "back", json!(back));
        for protocol in [Protocol::Binary, Protocol::Compact] {
            let items = jaeger::to_thrift(&batch, protocol).into_iter().map(|thrift| {
                let converted = jaeger::from_thrift(&thrift, protocol).unwrap();
                converted.items()
            });
            assert_eq!(items.sum::<u32>(), batch.items());
        }
    }
}

#[test]
fn what_clients_send_is_read() {
    for file in files("clients") {
        let case = read(&file);
        let digits = case["bytes"].as_str().unwrap().as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.map(byte).collect();
        let batch = match case["form"].as_str().unwrap() {
            "datagram, compact" => jaeger::from_datagram(&bytes, Protocol::Compact),
            "body, binary" => jaeger::from_thrift(&bytes, Protocol::Binary),
            "request, protobuf" => jaeger::from_proto(&bytes),
            other => panic!("{other}"),
        };
        check(&file, &case, "otlp", otlp_json(&batch.unwrap()));
    }
}

#[test]
fn what_the_query_api_answers_is_read() {
    for file in files("query") {
        let case = read(&file);
        let answer = jaeger::from_json(case["answer"].to_string().as_bytes()).unwrap();
        let found: Vec<Value> = answer.traces.iter().map(|trace| otlp_json(&trace.batch)).collect();
        check(&file, &case, "otlp", json!(found));
        check(&file, &read(&file), "errors", json!(answer.errors));
    }
}
