//! The exporters of logs, `loki` and `victorialogs`, against backends on real sockets. What arrives is compared with
//! golden files: `testdata/<exporter>/<case>/{options.yaml, logs.json, sent.txt}`.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use bytes::Bytes;
use component::{BuiltExporter, Order};
use http::{HeaderMap, StatusCode};
use otlp::{Batch, Limits, Signal};
use support::{Answer, Backend, Got, errors, exporter, header, logs, said};
use transport::coding::snappy_block_decompress;

fn http(status: u16, body: &str) -> Answer {
    Answer::Http(StatusCode::from_u16(status).unwrap(), HeaderMap::new(), Bytes::copy_from_slice(body.as_bytes()))
}

/// Encodes and sends a batch; gives the outcomes. All items are accounted for.
async fn export(built: &BuiltExporter, batch: &Batch) -> Vec<String> {
    let encoded = built.exporter.encode(batch);
    let sent: u64 = encoded.requests.iter().map(|request| request.items).sum();
    let rejected: u64 = encoded.rejected.iter().map(|rejection| rejection.items).sum();
    assert_eq!(sent + rejected, u64::from(batch.items()));
    let mut outcomes: Vec<String> =
        encoded.rejected.iter().map(|rejection| format!("rejected: {}", rejection.failure.cause)).collect();
    for request in &encoded.requests {
        outcomes.push(said(&built.exporter.send(request).await));
    }
    outcomes
}

/// A request as text: what its headers say that matters, and its body.
fn shown(got: &Got) -> String {
    let mut text = format!("POST {}\n", got.path);
    for name in ["content-type", "x-scope-orgid", "accountid", "projectid"] {
        if let Some(value) = got.headers.get(name) {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
    }
    let body = std::str::from_utf8(&got.payload).unwrap();
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(json) => text + &serde_json::to_string_pretty(&json).unwrap() + "\n",
        Err(_) => text + body,
    }
}

async fn check_golden_files(name: &str, path: &str, options: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let mut cases: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 1);
    for case in cases {
        let read = |file: &str| std::fs::read_to_string(case.join(file)).unwrap_or_default();
        let backend = Backend::start(http(204, "")).await;
        let yaml = format!("endpoint: http://127.0.0.1:{}{path}\n{options}\n{}", backend.port, read("options.yaml"));
        let batch = otlp::json::decode(Signal::Logs, read("logs.json").as_bytes(), &Limits::default()).unwrap();
        let outcomes = export(&exporter(name, &yaml), &batch).await;
        assert!(outcomes.iter().all(|outcome| outcome == "delivered"), "{outcomes:?}");
        let found: String = backend.got().iter().map(shown).collect();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(case.join("sent.txt"), &found).unwrap();
        }
        assert_eq!(found, read("sent.txt"), "{}; UPDATE_GOLDEN=1 writes what was found", case.display());
    }
}

#[tokio::test]
async fn loki_gets_what_the_golden_files_say() {
    check_golden_files("loki", "/loki/api/v1/push", "encoding: json").await;
}

#[tokio::test]
async fn victorialogs_gets_what_the_golden_files_say() {
    check_golden_files("victorialogs", "", "").await;
}

fn loki(backend: &Backend, options: &str) -> BuiltExporter {
    exporter("loki", &format!("endpoint: http://127.0.0.1:{}/loki/api/v1/push\n{options}", backend.port))
}

#[tokio::test]
async fn a_push_is_a_snappy_block_of_protobuf() {
    let backend = Backend::start(http(204, "")).await;
    let exporter = loki(&backend, "headers: {X-Scope-OrgID: acme}");
    assert_eq!(
        (exporter.delivery.order, export(&exporter, &logs(3)).await),
        (Order::Kept, vec!["delivered".to_owned()])
    );
    let got = backend.got().remove(0);
    assert_eq!(got.headers["content-type"], "application/x-protobuf");
    assert_eq!(got.headers["x-scope-orgid"], "acme");
    let push = snappy_block_decompress(&got.payload, 1 << 20).unwrap();
    let (mut entries, mut all) = (0, String::new());
    legacy::loki::read_protobuf(&push, &mut |labels, entry| {
        entries += 1;
        all = format!("{labels} {} {}", entry.timestamp_unix_ns, entry.line);
        Ok(())
    })
    .unwrap();
    assert_eq!((entries, all.as_str()), (3, r#"{exporter="OTLP"} 3 {"severity":"INFO"}"#));
}

#[tokio::test]
async fn a_large_batch_is_several_pushes() {
    let backend = Backend::start(http(204, "")).await;
    let mut encoder = otlp::encode::LogsEncoder::new();
    let line = "x".repeat(100_000);
    encoder.resource_logs(|resource| {
        resource.scope_logs(|scope| (0..100).for_each(|_| scope.log_record(|record| record.body().string(&line))));
    });
    let outcomes = export(&loki(&backend, "format: raw"), &encoder.finish()).await;
    assert_eq!(outcomes.len(), 4);
}

#[tokio::test]
async fn answers_are_delivered_repeated_or_final() {
    let backend = Backend::start(http(204, "")).await;
    let victorialogs = exporter("victorialogs", &format!("endpoint: http://127.0.0.1:{}", backend.port));
    let loki = loki(&backend, "");
    for exporter in [&loki, &victorialogs] {
        for (status, expected) in [
            (200, "delivered"),
            (204, "delivered"),
            (400, "reject: http_400"),
            (401, "reject: http_401"),
            (429, "retry: http_429"),
            (500, "retry: http_500"),
            (503, "retry: http_503"),
        ] {
            backend.set(http(status, "entry too far behind"));
            assert_eq!(export(exporter, &logs(1)).await, [expected], "{status}");
        }
        backend.set(Answer::Http(StatusCode::TOO_MANY_REQUESTS, header("retry-after", "7"), Bytes::new()));
        assert_eq!(export(exporter, &logs(1)).await, ["retry after 7s: http_429"]);
    }
}

#[tokio::test]
async fn a_record_without_any_label_is_rejected() {
    let backend = Backend::start(http(204, "")).await;
    let off = "default_labels_enabled: {exporter: false, job: false, instance: false, level: false}";
    assert_eq!(export(&loki(&backend, off), &logs(2)).await, ["rejected: no_labels"]);
}

#[tokio::test]
async fn victorialogs_compresses_and_names_its_fields() {
    let backend = Backend::start(http(200, "")).await;
    let yaml = format!("endpoint: http://127.0.0.1:{}/custom\nauth:", backend.port);
    assert_eq!(export(&exporter("victorialogs", &yaml), &logs(2)).await, ["delivered"]);
    let got = backend.got().remove(0);
    assert_eq!(got.path, "/custom");
    assert_eq!(got.headers["content-encoding"], "gzip");
    assert_eq!(std::str::from_utf8(&got.payload).unwrap().lines().count(), 2);
}

#[test]
fn what_is_wrong_is_told() {
    let check = |id: &str, yaml: &str, expected: &str| {
        let found = errors(id, yaml);
        assert!(found.contains(expected), "expected `{expected}` in `{found}`");
    };
    check("loki", "format: raw", "endpoint: is required");
    check("loki", "endpoint: http://a/\ncompression: gzip", "expected `snappy`");
    check("loki", "endpoint: http://a/\nformat: xml", "expected one of `json`, `logfmt` and `raw`");
    check("loki", "endpoint: http://a/\ntenant: {source: static}", "not built yet");
    check("loki", "endpoint: http://a/\nlabels: {resource: ['']}", "cannot be a label");
    check("victorialogs", "stream_fields: [a]", "endpoint: is required");
    check("victorialogs", "endpoint: http://a/\nmsg_field: _time", "expected another name");
    check("victorialogs", "endpoint: http://a/\naccount_id: x", "expected an integer");
}
