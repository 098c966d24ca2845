//! What backends of traces and logs answer, compared.

use std::fs;

use super::backends::{SOUND, serve};
use super::scene::{Fault, LENGTH_S, START_S, check_exit, record};
use super::stores::{Lack, Writing, jaeger, loki, victorialogs};
use parity::Side;

/// Compares two sides; gives what was written.
fn check(legacy: &[String], new: &[String], more: &[&str], expected_exit: i32) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let to = (START_S + LENGTH_S).to_string();
    let mut arguments = vec!["--to", &to, "--range", "50m"];
    legacy.iter().for_each(|place| arguments.extend(["--legacy", place]));
    new.iter().for_each(|place| arguments.extend(["--new", place]));
    arguments.extend(more);
    check_exit(directory.path(), &arguments, expected_exit)
}

fn traces(lacks: [Lack; 2], writing: Writing, expected_exit: i32) -> String {
    let legacy = format!("jaeger={}", jaeger(lacks[0], Writing::Own));
    let new = format!("jaeger={}", jaeger(lacks[1], writing));
    check(&[legacy], &[new], &[], expected_exit).0
}

#[test]
fn two_backends_with_the_same_traces_are_equal_and_each_span_counts_once() {
    let out = traces([Lack::Nothing; 2], Writing::Own, 0);
    assert!(out.contains("equivalent  checkout") && out.contains("equivalent  stock"), "{out}");
    assert!(!out.contains("equivalent  jaeger") && !out.contains("  jaeger  "), "{out}");
    // 1700 traces of the 50 minutes that are asked for, but for three that end after them.
    assert!(out.contains("5,091 items"), "{out}");
}

#[test]
fn a_backend_that_writes_every_value_as_text_has_the_same_spans() {
    traces([Lack::Nothing; 2], Writing::Text, 0);
}

#[test]
fn spans_that_a_backend_lost_are_found() {
    let out = traces([Lack::Nothing, Lack::Share], Writing::Own, 1);
    assert!(out.contains("the new side misses"), "{out}");
}

#[test]
fn an_attribute_that_changed_its_name_is_named() {
    let out = traces([Lack::Nothing, Lack::Change], Writing::Own, 1);
    assert!(out.contains("http.route"), "{out}");
}

const TENANT: [&str; 4] = ["--legacy-header", "loki:X-Scope-OrgID=shop", "--new-header", "X-Scope-OrgID=shop"];

#[test]
fn two_backends_with_the_same_lines_are_equal() {
    let both = |server: fn(Lack) -> String, name: &str| [(); 2].map(|()| [format!("{name}={}", server(Lack::Nothing))]);
    let [legacy, new] = both(loki, "loki");
    let (out, _) = check(&legacy, &new, &TENANT, 0);
    assert!(out.contains("{app=\"cart\", env=\"prod\"}") && out.contains("6,000 items"), "{out}");
    let [legacy, new] = both(victorialogs, "victorialogs");
    let (out, _) = check(&legacy, &new, &[], 0);
    assert!(out.contains("{app=\"checkout\"}") && out.contains("6,000 items"), "{out}");
}

#[test]
fn loki_and_victorialogs_are_compared_by_the_lines_that_both_have() {
    for (lack, more, expected_exit, expected) in [
        (Lack::Nothing, &[][..], 0, "2 equivalent"),
        (Lack::Nothing, &["--logs", "records"], 0, "2 equivalent"),
        (Lack::Share, &[], 1, "the new side misses"),
        (Lack::Change, &[], 1, "body"),
        (Lack::Change, &["--logs", "counts"], 0, "2 equivalent"),
    ] {
        let legacy = format!("loki={}", loki(Lack::Nothing));
        let new = format!("victorialogs={}", victorialogs(lack));
        let arguments: Vec<&str> = TENANT.iter().chain(more).copied().collect();
        let (out, _) = check(&[legacy], &[new], &arguments, expected_exit);
        assert!(out.contains(expected), "{expected} is not in {out}");
    }
}

#[test]
fn a_side_has_a_backend_of_each_signal_and_a_configuration_can_name_them() {
    let directory = tempfile::tempdir().unwrap();
    let [legacy, new] = [Side::Legacy, Side::New].map(|side| serve(side, SOUND));
    let [traces_legacy, traces_new] = [(); 2].map(|()| jaeger(Lack::Nothing, Writing::Own));
    let (logs_legacy, logs_new) = (loki(Lack::Nothing), victorialogs(Lack::Nothing));
    let text = format!(
        "migration:
  name: shop
  deadline: 2027-03-31
  legacy:
    receivers: [statsd]
    exporters: [jaeger]
    query:
      metrics: {{prometheus: \"{legacy}\"}}
      traces: {{jaeger: \"{traces_legacy}\"}}
      logs: {{loki: {{endpoint: \"{logs_legacy}\", headers: {{X-Scope-OrgID: shop}}}}}}
  new:
    query:
      metrics: {{prometheus: \"{new}\"}}
      traces: {{jaeger: {{endpoint: \"{traces_new}\"}}}}
      logs: {{victorialogs: \"{logs_new}\"}}
  teams: [{{name: checkout}}]
  stages: [dual_write]
  gates: {{done: {{needs: [metrics]}}}}
"
    );
    fs::write(directory.path().join("c.yaml"), &text).unwrap();
    let to = (START_S + LENGTH_S).to_string();
    let arguments = ["--config", "c.yaml", "--to", &to, "--range", "50m"];
    let (out, _) = check_exit(directory.path(), &arguments, 0);
    for signal in ["metrics", "traces", "logs"] {
        assert!(out.contains(&format!("equivalent  {signal}")), "{out}");
    }
    // What only one side names is said, and keeps nothing else open.
    let without = text.replace(&format!("      logs: {{victorialogs: \"{logs_new}\"}}\n"), "");
    fs::write(directory.path().join("c.yaml"), without).unwrap();
    let (out, _) = check_exit(directory.path(), &arguments, 0);
    assert!(out.contains("the logs are not compared: only the legacy side names where they are"), "{out}");
}

#[test]
fn sides_that_cannot_be_compared_are_told_apart_from_those_that_differ() {
    let jaeger = format!("jaeger={}", jaeger(Lack::Nothing, Writing::Own));
    let loki = format!("loki={}", loki(Lack::Nothing));
    let (_, err) = check(std::slice::from_ref(&jaeger), std::slice::from_ref(&loki), &[], 3);
    assert!(err.contains("has the traces of the legacy side") && err.contains("`jaeger=http://…`"), "{err}");
    let both = [loki.clone(), loki.replace("loki", "victorialogs")];
    let (_, err) = check(&both, &both, &[], 3);
    assert!(err.contains("the legacy side has two backends of logs: name one"), "{err}");
    let (_, err) = check(std::slice::from_ref(&loki), std::slice::from_ref(&loki), &[], 3);
    assert!(err.contains("cannot read the logs of the legacy side") && err.contains("credentials"), "{err}");
    let wrong = [format!("{jaeger}/elsewhere")];
    let (_, err) = check(&wrong, &wrong, &[], 3);
    assert!(err.contains("404 Not Found: no such path"), "{err}");
    let wrong = [loki.replace("loki", "jaeger")];
    let (_, err) = check(&wrong, &wrong, &[], 3);
    assert!(err.contains("cannot read the traces of the legacy side"), "{err}");
}

#[test]
fn a_recording_is_compared_with_backends_of_traces_and_logs() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    let [jaeger, victorialogs] = [
        format!("jaeger={}", jaeger(Lack::Nothing, Writing::Own)),
        format!("victorialogs={}", victorialogs(Lack::Nothing)),
    ];
    let arguments = ["--legacy", "legacy.jsonl", "--new", &jaeger, "--new", &victorialogs];
    // They never carried the same: what matters is that both signals are read and judged.
    let (out, _) = check_exit(directory.path(), &arguments, 1);
    assert!(out.contains("traces") && out.contains("logs"), "{out}");
    let (_, err) =
        check_exit(directory.path(), &["--legacy", "legacy.jsonl", "--legacy", &jaeger, "--new", &jaeger], 3);
    assert!(err.contains("recordings or backends, not both"), "{err}");
}
