//! The binary as its user runs it, with the journal on disk: killed, started again, asked, and replayed.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{BINARY, Running, free_port, ledger};

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

struct Place {
    directory: tempfile::TempDir,
    config: PathBuf,
    ports: [u16; 4],
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let [receiver, first, second, admin] = ports;
        let exporter = |port: u16| {
            format!(
                "{{endpoint: 'localhost:{port}', tls: {{insecure: true}}, \
                 retry_on_failure: {{initial_interval: 50ms, max_interval: 200ms}}}}"
            )
        };
        let yaml = format!(
            "
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: 'localhost:{receiver}'}}}}}}}}
exporters: {{otlp/first: {}, otlp/second: {}}}
journal: {{storage: disk, directory: '{}'}}
admin: {{endpoint: 'localhost:{admin}'}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [otlp/first, otlp/second]}}}}
",
            exporter(first),
            exporter(second),
            directory.path().join("journal").display()
        );
        let config = directory.path().join("c.yaml");
        std::fs::write(&config, yaml).unwrap();
        Place { directory, config, ports }
    }

    fn config(&self) -> &str {
        self.config.to_str().unwrap()
    }

    fn journal(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    fn backend(&self, index: usize) -> Running {
        Running::start(&["load", "receive", "--otlp-grpc", &format!("localhost:{}", self.ports[index])])
    }

    /// A process, once it answers.
    fn process(&self) -> Running {
        Running::configured(&self.config)
    }

    /// The ledger's lines, once `until` holds.
    fn ledger(&self, until: impl Fn(&[serde_json::Value]) -> bool) -> Vec<serde_json::Value> {
        let answer = ledger(&self.config, |answer| until(answer["lines"].as_array().unwrap()));
        answer["lines"].as_array().unwrap().clone()
    }
}

fn counts(line: &serde_json::Value) -> (u64, u64, u64) {
    let count = |key: &str| line[key].as_u64().unwrap();
    (count("accepted_items"), count("delivered_items"), count("pending_items"))
}

fn segments(journal: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "segment")).collect()
}

#[test]
fn what_a_killed_process_acknowledged_is_delivered_by_the_next_and_can_be_replayed() {
    let place = Place::new();
    let first = place.backend(1);
    let process = place.process();
    let endpoint = format!("http://localhost:{}", place.ports[0]);
    let sent =
        run(&["load", "send", "--endpoint", &endpoint, "--signal", "traces", "--items", "2000", "--format", "json"]);
    assert_eq!(json(&sent)["acked_items"], 2000);
    place.ledger(|lines| counts(&lines[0]) == (2000, 2000, 0));
    process.kill();

    let second = place.backend(2);
    let process = place.process();
    let lines = place.ledger(|lines| lines.iter().all(|line| counts(line).2 == 0));
    assert!(lines.iter().all(|line| counts(line) == (2000, 2000, 0)), "{lines:?}");
    let asked = ["replay", "--config", place.config(), "--exporter", "otlp/first", "--from", "1h", "--format", "json"];
    let matching = r#"resource["service.name"] != "nobody""#;
    let replayed = run(&[&asked[..], &["--match", matching]].concat());
    assert!(replayed.status.success() && json(&replayed)["state"] == "done", "{replayed:?}");
    assert_eq!(json(&replayed)["delivered_items"], 2000);
    let wrong = run(&[&asked[..], &["--match", "resource"]].concat());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("match: column"), "{wrong:?}");
    let refused = run(&["run", "--config", place.config()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another process uses the journal in"));
    process.kill();

    let replay =
        ["replay", "--config", place.config(), "--exporter", "otlp/second", "--from", "oldest", "--format", "json"];
    let replayed = run(&replay);
    assert!(replayed.status.success());
    assert_eq!(json(&replayed)["delivered_items"], 2000);
    drop((first, second));
}

#[test]
fn damage_is_found_by_verify_and_told_by_its_exit_code() {
    let place = Place::new();
    let backends = (place.backend(1), place.backend(2));
    let process = place.process();
    let endpoint = format!("http://localhost:{}", place.ports[0]);
    run(&["load", "send", "--endpoint", &endpoint, "--signal", "traces", "--items", "1000"]);
    place.ledger(|lines| lines.iter().all(|line| counts(line) == (1000, 1000, 0)));
    process.kill();

    let journal = place.journal();
    let verify = ["journal", "verify", "--directory", journal.to_str().unwrap()];
    assert!(run(&verify).status.success());
    let newest = segments(&journal).into_iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[2000] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let found = run(&verify);
    assert!(!found.status.success());
    assert!(String::from_utf8_lossy(&found.stdout).contains("1 place is damaged"));
    drop(backends);
}
