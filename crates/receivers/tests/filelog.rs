//! The `filelog` receiver as a pipeline meets it.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use component::Refused;
use otlp::Signal;
use support::{Started, start};

async fn follow(directory: &Path, options: &str) -> Started {
    let yaml = format!("include: {}/*.log\nstart_at: beginning\npoll_interval: 1ms\n{options}", directory.display());
    start("filelog", &yaml, &[Signal::Logs]).await
}

fn append(directory: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("a.log")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The bodies that the pipelines have, once there are so many.
async fn bodies(started: &Started, count: u64) -> Vec<String> {
    let enough = async {
        while started.kept.items() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), enough).await.expect("all records in time");
    let batches = started.kept.batches();
    let views = batches.iter().map(|batch| batch.logs().unwrap());
    let scopes = views.flat_map(|view| view.resource_logs()).flat_map(|resource| resource.scope_logs());
    scopes.flat_map(|scope| scope.log_records()).map(|record| record.body().to_text().into_owned()).collect()
}

#[tokio::test]
async fn lines_become_log_records_with_what_operators_make_of_them() {
    let directory = tempfile::tempdir().unwrap();
    append(directory.path(), "2026-03-31 01:02:03 ERROR no paper\n");
    let options = "operators:
  - type: regex_parser
    regex: '^(?P<time>\\S+ \\S+) (?P<level>\\S+) (?P<text>.*)$'
    timestamp: {parse_from: attributes.time, layout: '%F %T', location: UTC}
    severity: {parse_from: attributes.level}
  - {type: move, from: attributes.text, to: body}";
    let started = follow(directory.path(), options).await;
    assert_eq!(bodies(&started, 1).await, ["no paper"]);
    let batch = started.kept.batches().remove(0);
    let record = batch.logs().unwrap().resource_logs().next().unwrap().scope_logs().next().unwrap();
    let record = record.log_records().next().unwrap();
    assert_eq!((record.time_unix_nano(), record.severity_number()), (1_774_918_923_000_000_000, 17));
    assert!(record.observed_time_unix_nano() > 0);
    assert_eq!(record.attributes().get("log.file.name").and_then(otlp::view::AnyValueView::as_str), Some("a.log"));
}

#[tokio::test]
async fn what_the_pipelines_refuse_is_offered_again_and_read_no_further() {
    let directory = tempfile::tempdir().unwrap();
    let started = follow(directory.path(), "retry_on_failure: {initial_interval: 1ms, max_interval: 1ms}").await;
    started.kept.refuse(Refused::Retry { after: Duration::from_secs(9), cause: "the journal is full".into() });
    append(directory.path(), "one\ntwo\n");
    tokio::time::sleep(Duration::from_millis(30)).await;
    append(directory.path(), "three\n");
    started.kept.take_again();
    assert_eq!(bodies(&started, 3).await, ["one", "two", "three"]);
}
