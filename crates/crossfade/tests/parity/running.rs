//! A process that runs a migration and asks both backends: what they answer is a depth of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use parity::Side;

use super::backends::{Manner, serve};
use super::scene::Fault;
use crate::support::{BINARY, Running, admin_port, free_port, write};

fn configuration(directory: &Path, [legacy, new]: [&str; 2], scale: f64) -> PathBuf {
    let yaml = format!(
        "
receivers: {{otlp: {{protocols: {{http: {{endpoint: 'localhost:{}'}}}}}}}}
exporters: {{debug/legacy: , debug/new: }}
service:
  pipelines:
    metrics: {{receivers: [otlp], exporters: [debug/legacy, debug/new]}}
migration:
  legacy: {{query: {{metrics: {{prometheus: '{legacy}'}}}}}}
  new: {{query: {{metrics: {{prometheus: '{new}'}}}}}}
  names: [{{legacy: queue_depth, new: queue_depth, scale: {scale}}}]
  parity: {{every: 200ms, answers: {{every: 200ms, range: 20m}}}}
",
        free_port()
    );
    write(directory, "answers.yaml", &yaml)
}

/// What `crossfade parity --endpoint` says in the end: its exit code, and words that stand in it.
fn check(backends: [&str; 2], scale: f64, code: i32, expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path(), backends, scale);
    let process = Running::configured(&config);
    let endpoint = format!("http://localhost:{}", admin_port(&config));
    let mut said = String::new();
    for _ in 0..400 {
        let output = Command::new(BINARY).args(["parity", "--endpoint", &endpoint]).output().unwrap();
        said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.code() == Some(code) && expected.iter().all(|words| said.contains(words)) {
            process.kill();
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not in time: {expected:?}\n{said}");
}

#[test]
fn answers_that_differ_differ_at_the_answer() {
    let sides = [Side::Legacy, Side::New].map(|side| serve(side, Manner::Sound(Fault::None)));
    let expected = ["at the answer: ", "another unit", "look at the backend, and at the query"];
    check([&sides[0], &sides[1]], 1000.0, 1, &expected);
}

#[test]
fn answers_that_agree_are_equal() {
    let sides = [Side::Legacy, Side::New].map(|side| serve(side, Manner::Sound(Fault::None)));
    check([&sides[0], &sides[1]], 1.0, 0, &["equivalent", "0 different, 0 inconclusive"]);
}

#[test]
fn a_backend_that_does_not_answer_leaves_the_answers_open() {
    let [sound, broken] = [serve(Side::Legacy, Manner::Sound(Fault::None)), serve(Side::New, Manner::Broken)];
    check([&sound, &broken], 1.0, 2, &["the answers are open", "the disk is gone"]);
}

#[test]
fn who_asks_a_process_that_is_not_there_or_compares_nothing_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let yaml = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: 'localhost:{}'}}}}}}}}\nexporters: {{debug: }}\nservice:\n  \
         pipelines: {{metrics: {{receivers: [otlp], exporters: [debug]}}}}\n",
        free_port()
    );
    let config = write(directory.path(), "plain.yaml", &yaml);
    assert!(fs::metadata(&config).is_ok());
    let process = Running::configured(&config);
    let ask = |port: u16| {
        let output = Command::new(BINARY).args(["parity", "--endpoint", &format!("http://localhost:{port}")]).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = ask(admin_port(&config));
    assert!(code == Some(3) && said.contains("the configuration has no `migration`"), "{said}");
    process.kill();
    let (code, said) = ask(free_port());
    assert!(code == Some(3) && said.contains("is the process running?"), "{said}");
}
