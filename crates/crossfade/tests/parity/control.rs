//! A replica of the legacy side as a control.

use std::fs;
use std::path::Path;

use parity::Side;
use serde_json::Value;

use super::backends::{SOUND, serve};
use super::reports::violations;
use super::scene::{Fault, LENGTH_S, START_S, check_exit, record, replica};
use super::with;

const CONTROL: [&str; 2] = ["--control", "replica.jsonl"];

/// Compares a new side with a replica, each with its own fault.
fn check(new: Fault, of_replica: Fault, code: i32, expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), new);
    fs::write(directory.path().join("replica.jsonl"), replica(of_replica)).unwrap();
    let (out, err) = check_exit(directory.path(), &with(&CONTROL), code);
    for expected in expected {
        assert!(out.contains(expected), "{expected} is not in {out}{err}");
    }
    let (out, _) = check_exit(directory.path(), &with(&["--control", "replica.jsonl", "--format", "json"]), code);
    let found: Value = serde_json::from_str(&out).unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/parity-report.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let mut wrong = Vec::new();
    violations(&schema, &schema, &found, "$", &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(found["control"]["source"], "replica.jsonl");
    assert_eq!(found["control"]["floors"].as_array().unwrap().len(), 4, "{:#}", found["control"]);
}

#[test]
fn what_the_replica_shows_too_is_left_open() {
    let noise = "more than the noise: the new side is 3.0 % off, and the legacy side differs from its own replica by up to 3.0 %";
    let floor = "note: queue_depth: the legacy side differs from its own replica by up to 3.0 %";
    let within = "note: differences within the noise, which are left open: 1";
    check(Fault::Level, Fault::Level, 2, &[noise, floor, within, "control  replica.jsonl: "]);
}

#[test]
fn what_the_replica_does_not_show_stays_a_difference() {
    check(Fault::Level, Fault::None, 1, &["the new side is 3.0 % off", "1 different, 0 inconclusive, 3 equivalent"]);
    check(Fault::Loss, Fault::Level, 1, &["the new side misses", "1 different, 0 inconclusive, 3 equivalent"]);
}

#[test]
fn a_noisy_replica_makes_nothing_of_what_is_equal() {
    check(Fault::None, Fault::Level, 0, &["0 different, 0 inconclusive, 4 equivalent"]);
}

#[test]
fn a_control_is_of_the_kind_of_the_legacy_side() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    let (_, err) = check_exit(directory.path(), &with(&["--control", "http://localhost:1"]), 3);
    assert!(err.contains("--control must be a recording, since --legacy is one"), "{err}");
}

#[test]
fn a_backend_can_be_the_control_of_a_backend() {
    let directory = tempfile::tempdir().unwrap();
    let [legacy, new, control] = [Side::Legacy, Side::New, Side::Legacy].map(|side| serve(side, SOUND));
    let to = (START_S + LENGTH_S).to_string();
    let arguments = ["--legacy", &legacy, "--new", &new, "--control", &control, "--range", "50m", "--to", &to];
    let (out, _) = check_exit(directory.path(), &arguments, 0);
    assert!(out.contains("note: queue_depth: the legacy side differs from its own replica by up to 0 %"), "{out}");
}
