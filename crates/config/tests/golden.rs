//! Every `testdata/diagnostics/*.yaml` is read as a small Collector configuration; what is wrong with it must come
//! out exactly as in the `.txt` beside it: one line each, then with the line of the file, then as JSON.
//!
//! `UPDATE_GOLDEN=1 cargo test -p crossfade-config --test golden` writes the `.txt` files anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use config::shapes::{Compression, GrpcClient, GrpcServer, HttpClient, HttpServer, Retry, SendingQueue};
use config::{ComponentId, Diagnostics, Errors, Loaded, Section, Spanned, TestEnvironment, json_array, parse_str};

fn environment() -> TestEnvironment {
    TestEnvironment::new()
        .with_var("TOKEN", "hunter2-from-the-environment")
        .with_var("TIMEOUT", "hunter2-is-no-duration")
        .with_var("TARGET", "http://hunter2-host:4317/path")
        .with_var("CYCLE", "${env:CYCLE}")
        .with_file("retry.yaml", "enabled: true\ninitial_intervall: 1s\nmultiplier: fast\n")
}

fn read_root(root: &mut Section<'_>) {
    root.named_children("receivers", |_, receiver| {
        receiver.child("protocols", |protocols| {
            protocols.child_if_named("grpc", GrpcServer::read);
            protocols.child_if_named("http", |http| {
                HttpServer::read(http);
                http.get("traces_url_path").string().or("/v1/traces".to_owned());
            });
        });
    });
    root.named_children("processors", read_processor);
    root.named_children("exporters", read_exporter);
    root.child("service", |service| {
        service.named_children("pipelines", |_, pipeline| {
            for key in ["receivers", "processors", "exporters"] {
                pipeline.get(key).each(|item| item.component_id().required()).optional();
            }
        });
    });
}

fn read_processor(_: &Spanned<String>, processor: &mut Section<'_>) {
    processor.get("send_batch_size").integer::<u32>().or(8192);
    processor.get("timeout").duration().or(Duration::from_millis(200));
    processor.unsupported("metadata_keys", "batches apart by metadata keys");
    processor.children("attributes", |action| {
        action.get("key").string().required();
        action.get("action").one_of(&[("insert", 1), ("update", 2), ("upsert", 3), ("delete", 4)]).required();
        action.get("value").string().optional();
    });
}

fn read_exporter(name: &Spanned<String>, exporter: &mut Section<'_>) {
    match name.value.parse::<ComponentId>() {
        Ok(id) if id.kind == "otlp" => {
            GrpcClient::read(exporter);
        }
        Ok(_) => {
            HttpClient::read(exporter);
        }
        Err(error) => exporter.fail(error.to_string()),
    }
    exporter.child("sending_queue", SendingQueue::read);
    exporter.child("retry_on_failure", Retry::read);
    exporter
        .get("password")
        .secret()
        .ensure("at least 8 characters", |password| password.expose().len() >= 8)
        .optional();
    let pin = exporter.get("pin").secret().optional();
    if pin.is_some_and(|pin| pin.expose().len() > 4) {
        exporter.error("pin", "has more than 4 digits");
    }
    exporter.get("sampling").float().range(0.0..=100.0).optional();
    exporter.get("codec").one_of(&[("gzip", Compression::Gzip), ("zstd", Compression::Zstd)]).optional();
}

fn check_root(loaded: Loaded) -> Result<Vec<config::Diagnostic>, Errors> {
    let mut diagnostics = Diagnostics::new();
    for warning in loaded.warnings {
        diagnostics.push(warning);
    }
    Section::open(&loaded.root, "", &mut diagnostics).read(read_root);
    diagnostics.finish()
}

fn report(name: &str, text: &str) -> String {
    let mut out = String::new();
    match parse_str(name, text, &environment()).and_then(check_root) {
        Ok(warnings) => {
            for warning in &warnings {
                let _ = writeln!(out, "{warning}\n\n{}", warning.render());
            }
            let _ = writeln!(out, "{}", json_array(&warnings));
        }
        Err(errors) => {
            let _ = writeln!(out, "{errors}\n\n{}\n{}", errors.render(), errors.to_json());
        }
    }
    out
}

#[test]
fn what_is_wrong_is_said_exactly_so() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/diagnostics");
    let mut checked = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let actual = report("collector.yaml", &fs::read_to_string(&path).unwrap());
        assert!(!actual.contains("hunter2"), "{} tells a secret:\n{actual}", path.display());
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &actual).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(actual, expected, "{} differs", golden.display());
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} golden files were found");
}
