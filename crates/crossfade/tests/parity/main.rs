//! `crossfade parity`, as a process: exit codes, reports, and live backends.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod backends;
mod captures;
mod control;
mod docs;
mod natives;
mod reports;
mod running;
mod scene;
mod stores;

use std::fs;

use scene::{Fault, check_exit, record};

const BOTH: [&str; 4] = ["--legacy", "legacy.jsonl", "--new", "new.jsonl"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    BOTH.iter().chain(more).copied().collect()
}

#[test]
fn recordings_of_the_same_are_equal_though_they_begin_and_end_at_other_times() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    let (out, err) = check_exit(directory.path(), &BOTH, 0);
    assert!(out.contains("equivalent: 0 different, 0 inconclusive, 4 equivalent, 0 not comparable"), "{out}");
    assert_eq!(err, "", "no progress where nobody looks");
}

#[test]
fn a_lost_share_is_found_and_named() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::Loss);
    let (out, _) = check_exit(directory.path(), &BOTH, 1);
    for expected in
        ["the new side misses", "failure    Silent loss", "remedy     ", "1 different, 0 inconclusive, 3 equivalent"]
    {
        assert!(out.contains(expected), "{expected} is not in {out}");
    }
    check_exit(directory.path(), &with(&["--margin", "5%"]), 0);
}

#[test]
fn what_is_open_has_an_exit_code_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    let (out, _) = check_exit(directory.path(), &with(&["--margin", "0.001%"]), 2);
    assert!(out.contains("inconclusive: 0 different") && out.contains("to count about"), "{out}");
    for name in ["legacy.jsonl", "new.jsonl"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    let (out, _) = check_exit(directory.path(), &BOTH, 2);
    assert!(out.contains("inconclusive: 0 different, 0 inconclusive, 0 equivalent"), "{out}");
}

#[test]
fn a_side_without_anything_differs() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    fs::write(directory.path().join("new.jsonl"), "").unwrap();
    let (out, _) = check_exit(directory.path(), &BOTH, 1);
    assert!(out.contains("the new side does not have the series"), "{out}");
}

#[test]
fn recordings_without_a_common_time_are_not_equal() {
    let directory = tempfile::tempdir().unwrap();
    let line = |time: &str| {
        let point = format!("{{\"timeUnixNano\":\"{time}\",\"asDouble\":1}}");
        format!(
            "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"name\":\"a\",\"gauge\":{{\"dataPoints\":[{point}]}}}}]}}]}}]}}\n"
        )
    };
    fs::write(directory.path().join("legacy.jsonl"), line("1800000000000000000")).unwrap();
    fs::write(directory.path().join("new.jsonl"), line("1900000000000000000")).unwrap();
    let (out, _) = check_exit(directory.path(), &BOTH, 2);
    assert!(out.contains("the metrics of the two recordings have no time in common"), "{out}");
}

#[test]
fn errors_have_an_exit_code_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    let (_, err) = check_exit(directory.path(), &["--legacy", "legacy.jsonl", "--new", "gone.jsonl"], 3);
    assert!(err.contains("cannot open gone.jsonl"), "{err}");
    let (_, err) = check_exit(directory.path(), &with(&["--margin", "200%"]), 3);
    assert!(err.contains("less than 100 %"), "{err}");
    let (_, err) = check_exit(directory.path(), &["--legacy", "legacy.jsonl"], 3);
    assert!(err.contains("where is the new side?") && err.contains("migration.new.query"), "{err}");
    check_exit(directory.path(), &["--help"], 0);
    fs::write(directory.path().join("q.promql"), "up").unwrap();
    let (_, err) = check_exit(directory.path(), &with(&["--queries", "q.promql"]), 3);
    assert!(err.contains("a recording answers no expressions"), "{err}");
    fs::write(directory.path().join("c.yaml"), "migration: {parity: {margn: 1%}}").unwrap();
    let (_, err) = check_exit(directory.path(), &with(&["--config", "c.yaml"]), 3);
    assert!(err.contains("did you mean `margin`?"), "{err}");
    fs::write(directory.path().join("new.jsonl"), "{\"resourceMetrics\":[{]}").unwrap();
    let (_, err) = check_exit(directory.path(), &BOTH, 3);
    assert!(err.contains("new.jsonl, line 1"), "{err}");
}

#[test]
fn names_and_margins_come_from_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::Loss);
    fs::write(directory.path().join("c.yaml"), "migration: {parity: {margin: 5%, ignore: {labels: [shop]}}}").unwrap();
    check_exit(directory.path(), &with(&["--config", "c.yaml"]), 0);
    check_exit(directory.path(), &with(&["--config", "c.yaml", "--margin", "1%"]), 1);
}

#[test]
fn times_that_no_clock_shows_are_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    for time in ["0", "1", "9223372036854775807", "18446744073709551615"] {
        let point = format!("{{\"timeUnixNano\":\"{time}\",\"asDouble\":1}},{{\"timeUnixNano\":\"5\",\"asDouble\":1}}");
        let metric = format!("{{\"name\":\"a\",\"gauge\":{{\"dataPoints\":[{point}]}}}}");
        let span = format!("{{\"traceId\":\"{:032}\",\"spanId\":\"{:016}\",\"endTimeUnixNano\":\"{time}\"}}", 1, 1);
        let lines = [
            format!("{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{metric}]}}]}}]}}"),
            format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"timeUnixNano\":\"{time}\"}}]}}]}}]}}"),
            format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{span}]}}]}}]}}"),
        ];
        for name in ["legacy.jsonl", "new.jsonl"] {
            fs::write(directory.path().join(name), lines.join("\n")).unwrap();
        }
        check_exit(directory.path(), &BOTH, 2);
    }
}
