//! `testdata/{carbon,influx}/in/*.lines` beside the OTLP and the faults that they become, and `out/*.json` beside lines.
//! `UPDATE_GOLDEN=1` writes what is expected.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use legacy::carbon::{Parser, ResourceTags};
use legacy::influx::{Precision, Schema};
use legacy::lines::Refused;
use otlp::{Batch, Limits, Signal, json};

use crate::{read_carbon, read_influx, rules, write_carbon, write_influx};

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(directory);
    let mut found: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    found.sort();
    assert!(!found.is_empty(), "{directory}");
    found
}

fn check(path: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

/// The batch as JSON, and the faults.
fn described((batch, faults): (Batch, Vec<String>)) -> String {
    let mut text = Vec::new();
    json::encode(&batch, &mut text);
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let mut text = serde_json::to_string_pretty(&value).unwrap();
    text.push('\n');
    faults.iter().for_each(|fault| writeln!(text, "{fault}").unwrap());
    text
}

fn batch(path: &Path) -> Batch {
    json::decode(Signal::Metrics, &std::fs::read(path).unwrap(), &Limits::default()).unwrap()
}

fn lines((mut text, refused): (String, Refused)) -> String {
    refused.iter().for_each(|(reason, items)| writeln!(text, "refused: {items} {}", reason.name()).unwrap());
    text
}

#[test]
fn what_graphite_s_clients_send_becomes_otlp() {
    for path in files("carbon/in", "lines") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let parser = if name.starts_with("regex") { rules() } else { Parser::plaintext() };
        let found = read_carbon(&parser, &std::fs::read(&path).unwrap());
        check(&path.with_extension("expected"), &described(found));
    }
}

#[test]
fn otlp_becomes_what_graphite_takes() {
    for path in files("carbon/out", "json") {
        let batch = batch(&path);
        check(&path.with_extension("lines"), &lines(write_carbon(&batch, ResourceTags::None)));
        check(&path.with_extension("resource.lines"), &lines(write_carbon(&batch, ResourceTags::All)));
    }
}

#[test]
fn what_influxdb_s_clients_send_becomes_otlp() {
    for path in files("influx/in", "lines") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let precision = if name.starts_with("seconds") { Precision::Seconds } else { Precision::Nanoseconds };
        let found = read_influx(precision, &std::fs::read(&path).unwrap());
        check(&path.with_extension("expected"), &described(found));
    }
}

#[test]
fn otlp_becomes_what_influxdb_takes() {
    for path in files("influx/out", "json") {
        let batch = batch(&path);
        check(&path.with_extension("v1.lines"), &lines(write_influx(&batch, Schema::TelegrafPrometheusV1)));
        check(&path.with_extension("v2.lines"), &lines(write_influx(&batch, Schema::TelegrafPrometheusV2)));
    }
}
