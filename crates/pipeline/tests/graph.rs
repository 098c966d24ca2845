//! What is said of a configuration whose parts are sound and do not fit together.

#![allow(clippy::unwrap_used)]

mod support;

use component::Unbuilt;
use config::{Diagnostics, TestEnvironment};
use pipeline::{CounterSuffix, Graph};
use support::{graph, registry};

fn errors(yaml: &str) -> String {
    let loaded = config::parse_str("test.yaml", yaml, &TestEnvironment::new()).unwrap();
    let mut registry = registry();
    registry.unbuilt.push(Unbuilt { role: "receiver", kind: "jaeger" });
    let mut diagnostics = Diagnostics::new();
    let graph = Graph::build(&loaded.root, &registry, &mut diagnostics);
    assert_eq!(graph.is_none(), diagnostics.has_errors());
    diagnostics.finish().err().map_or_else(String::new, |errors| errors.to_string())
}

fn check(yaml: &str, expected: &str) {
    let said = errors(yaml);
    assert!(said.contains(expected), "expected `{expected}` in:\n{said}");
}

const PARTS: &str = "receivers: {hand: }\nexporters: {test: }\n";

#[test]
fn a_name_that_is_not_configured_is_an_error_with_its_place_and_the_nearest_name() {
    check(
        &format!("{PARTS}service: {{pipelines: {{logs: {{receivers: [hnad], exporters: [test]}}}}}}"),
        "service.pipelines.logs.receivers: `hnad` is not among the configuration's receivers (test.yaml:3:42)\n  help: did \
         you mean `hand`?",
    );
}

#[test]
fn a_component_that_only_the_collector_has_is_named_as_such() {
    check("receivers: {jaeger/old: }", "not built yet: the `jaeger` receiver");
}

#[test]
fn a_pipeline_is_named_by_its_signal() {
    check(
        &format!("{PARTS}service: {{pipelines: {{spans: {{receivers: [hand], exporters: [test]}}}}}}"),
        "expected a pipeline of `traces`, `metrics` or `logs`, found `spans`",
    );
}

#[test]
fn a_pipeline_needs_a_receiver_and_an_exporter() {
    let said = errors(&format!("{PARTS}service: {{pipelines: {{logs: {{receivers: []}}}}}}"));
    assert!(said.contains("at least one of the configuration's receivers"), "{said}");
    assert!(said.contains("at least one of the configuration's exporters"), "{said}");
}

#[test]
fn a_configuration_without_pipelines_says_what_is_missing() {
    check(PARTS, "expected at least one pipeline");
}

#[test]
fn a_component_is_named_once_in_a_pipeline() {
    let yaml = format!("{PARTS}service: {{pipelines: {{logs: {{receivers: [hand], exporters: [test, test]}}}}}}");
    check(&yaml, "`test` is named twice");
}

#[test]
fn what_does_not_go_together_in_a_journal_is_told() {
    let journal = |journal: &str, expected: &str| check(&format!("{PARTS}journal: {journal}"), expected);
    journal("{storage: kafka}", "not built yet: a journal in `kafka`");
    journal("{storage: disk}", "expected a `directory` beside `storage: disk`");
    journal("{directory: /tmp/j}", "expected `storage: disk` beside it");
    journal("{storage: memory, sync: on_write}", "journal.sync: is for `storage: disk`");
    journal("{sync: on_write}", "journal.sync: is for `storage: disk`");
    journal("{start: {test: oldest}}", "journal.start: is for `storage: disk`");
    journal("{retention: {age: 1h}}", "journal.retention.age: is for `storage: disk`");
    journal("{storage: disk, directory: /tmp/j, sync_interval: 1s}", "expected `sync: interval` beside it");
    journal(
        "{storage: disk, directory: /tmp/j, retention: {size: 1MiB}}",
        "journal.retention.size: expected at least 4 MiB",
    );
    journal("{storage: disk, directory: /tmp/j, start: {tset: oldest}}", "did you mean `test`?");
    journal("{storage: disk, directory: /tmp/j, start: {test: newest}}", "expected `oldest` or `end` for `test`");
    journal("{storage: disk, directroy: /tmp/j}", "did you mean `directory`?");
    check(&format!("{PARTS}ledger: {{by: [service]}}"), "ledger.by[0]");
}

#[test]
fn a_queue_with_a_storage_is_the_journal_on_disk() {
    let with = |extensions: &str, listed: &str, journal: &str| {
        let pipelines = "pipelines: {logs: {receivers: [hand], exporters: [test]}}";
        let exporters = "exporters: {test: {sending_queue: {storage: kept}}}";
        format!(
            "receivers: {{hand: }}\n{exporters}\nextensions: {{{extensions}}}\njournal: {{{journal}}}\n\
             service: {{extensions: [{listed}], {pipelines}}}\n"
        )
    };
    assert_eq!(errors(&with("kept: ", "kept", "")), "");
    check(&with("", "", ""), "`kept` is not among the configuration's extensions");
    check(&with("kept: ", "", ""), "`service.extensions` does not list `kept`");
    check(&with("kept: ", "kept", "storage: memory"), "`journal.storage` is `memory`; leave one of the two out");
    check(&with("idle: ", "idle", "").replace("storage: kept", "storage: idle"), "the extension `idle` is no storage");
}

#[test]
fn both_spellings_of_the_own_metrics_are_understood() {
    let with = |telemetry: &str| {
        let pipelines = "pipelines: {logs: {receivers: [hand], exporters: [test]}}";
        graph(&format!("{PARTS}service: {{telemetry: {{metrics: {telemetry}}}, {pipelines}}}")).telemetry
    };
    let endpoint = |telemetry: &str| with(telemetry).metrics.map(|serving| (serving.endpoint, serving.asked_for));
    assert_eq!(endpoint("{address: '0.0.0.0:8888'}"), Some(("0.0.0.0:8888".into(), true)));
    let readers = "{readers: [{pull: {exporter: {prometheus: {host: '::', port: 9999}}}}]}";
    assert_eq!(endpoint(readers), Some(("[::]:9999".into(), true)));
    assert_eq!(endpoint("{}"), Some(("localhost:8888".into(), false)));
    assert_eq!(endpoint("{level: none}"), None);
    assert_eq!(with("{counter_suffix: total}").counter_suffix, CounterSuffix::Total);
}

#[test]
fn the_graph_shows_every_way_from_receivers_to_exporters() {
    let graph = graph(
        "
receivers: {hand/a: , hand/b: }
processors: {drop: , batch: }
exporters: {test/old: , test/new: }
service: {pipelines: {logs/x: {receivers: [hand/a, hand/b], processors: [drop, batch], exporters: [test/old, test/new]}}}
",
    );
    let expected = "\
logs/x
  hand/a + hand/b -> drop -> journal
    ├─ batch -> test/old
    └─ batch -> test/new
";
    assert_eq!(graph.describe(), expected);
}
