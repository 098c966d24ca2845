//! Chains against golden files: `testdata/operators/<name>/{operators.yaml, in.txt, out.txt}`.

use std::path::Path;

use config::{Diagnostics, Section, TestEnvironment};

use super::*;

/// 2026-11-26T12:00:00Z.
const NOW: u64 = 1_795_694_400_000_000_000;

fn read(yaml: &str) -> Result<Operators, String> {
    let loaded = config::parse_str("operators.yaml", yaml, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let section = Section::open(&loaded.root, "receivers.filelog", &mut diagnostics);
    let operators = section.read(Operators::read);
    diagnostics.finish_with(Some(operators)).map(|(operators, _)| operators).map_err(|errors| errors.to_string())
}

/// A record in a few lines: what is set of it.
fn shown(entry: &Entry) -> String {
    let mut text = entry.body.to_json().to_string();
    if entry.time_unix_ns > 0 {
        let time = jiff::Timestamp::from_nanosecond(i128::from(entry.time_unix_ns)).unwrap();
        text.push_str(&format!("\n  time {time}"));
    }
    if entry.severity_number > 0 || !entry.severity_text.is_empty() {
        text.push_str(&format!("\n  severity {} {}", entry.severity_number, entry.severity_text));
    }
    for (name, value) in [("attributes", &entry.attributes), ("resource", &entry.resource)] {
        if *value != Value::Map(Values::new()) {
            text.push_str(&format!("\n  {name} {}", value.to_json()));
        }
    }
    if let (Some(trace_id), Some(span_id)) = (entry.trace_id, entry.span_id) {
        text.push_str(&format!("\n  trace {trace_id} {span_id} {:02x}", entry.flags));
    }
    if !entry.scope_name.is_empty() {
        text.push_str(&format!("\n  scope {}", entry.scope_name));
    }
    text + "\n"
}

fn run(yaml: &str, lines: &str) -> String {
    let mut operators = read(yaml).unwrap_or_else(|errors| panic!("{errors}"));
    let mut done = Vec::new();
    for line in lines.lines() {
        let mut entry = Entry::new(line.into(), NOW);
        entry.set_attribute("log.file.path", "/var/log/pods/shop_web-1_49cc7c1f/nginx/0.log".into());
        operators.process(entry, NOW, &mut done);
    }
    operators.flush_due(u64::MAX, &mut done);
    assert!(!operators.is_holding());
    assert_eq!(batch(&done).items() as usize, done.len());
    let mut text: String = done.iter().map(shown).collect();
    text = text.replace(r#""log.file.path":"/var/log/pods/shop_web-1_49cc7c1f/nginx/0.log","#, "");
    text = text.replace("\n  attributes {\"log.file.path\":\"/var/log/pods/shop_web-1_49cc7c1f/nginx/0.log\"}", "");
    let Counts { sent, dropped, filtered } = operators.take_counts();
    text + &format!("-- not understood: {sent} sent on, {dropped} dropped; {filtered} filtered\n")
}

#[test]
fn chains_do_what_their_golden_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/operators");
    let mut names: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() > 5);
    for directory in names {
        let yaml = std::fs::read_to_string(directory.join("operators.yaml")).unwrap();
        let lines = std::fs::read_to_string(directory.join("in.txt")).unwrap();
        let found = run(&yaml, &lines);
        let golden = directory.join("out.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(found, expected, "{}; UPDATE_GOLDEN=1 writes what was found", directory.display());
    }
}

fn refused(yaml: &str, expected: &str) {
    let errors = read(yaml).err().unwrap_or_default();
    assert!(errors.contains(expected), "expected `{expected}` in `{errors}`");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    refused("operators: [{type: syslog_parser, protocol: rfc5424}]", "not built yet: the operator `syslog_parser`");
    refused("operators: [{type: regexp}]", "there is no operator `regexp`");
    refused("operators: [{type: filter, expr: 'true', drop_ratio: 0.5}]", "not built yet");
    refused("operators: [{type: noop, if: 'env(\"X\") == \"\"'}]", "not built yet: the function `env`");
    refused("operators: [{type: time_parser, parse_from: body, layout_type: native}]", "not built yet: `native`");
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    refused("operators: [{type: regex_parser, regex: 'x'}]", "no group has a name");
    refused("operators: [{type: regex_parser, regex: '(?P<a>'}]", "expected a regular expression");
    refused("operators: [{type: move, from: body}]", "receivers.filelog.operators[0].to: is required");
    refused("operators: [{type: noop, output: x}]", "`x` is not among the operators");
    refused("operators: [{type: noop}, {type: noop}]", "two operators have the id `noop`");
    refused("operators: [{type: noop, id: a}, {type: noop, output: a}]", "`a` stands before it");
    refused("operators: [{type: noop, lenght: 1}]", "unknown key `lenght`");
    refused("operators: [{type: recombine, combine_field: body}]", "expected either `is_first_entry` or");
    refused("operators: [{type: severity_parser, parse_from: body, mapping: {bad: 1}}]", "`bad` is no severity");
    refused("operators: [{type: time_parser, parse_from: body, layout: '%Q'}]", "`%Q` is no directive");
    refused("operators: [{type: time_parser, parse_from: body, layout: '%Y', location: Mars}]", "expected a time zone");
}

#[test]
fn what_is_held_back_is_told_and_let_go_in_time() {
    let yaml = "operators: [{type: recombine, combine_field: body, is_first_entry: body startsWith 'A'}]";
    let mut operators = read(yaml).unwrap();
    let mut done = Vec::new();
    for line in ["A1", "b", "A2"] {
        operators.process(Entry::new(line.into(), NOW), NOW, &mut done);
    }
    assert_eq!(done.iter().map(|entry| entry.body.clone()).collect::<Vec<_>>(), ["A1\nb".into()]);
    assert!(operators.is_holding());
    assert!(!operators.fresh().is_holding());
    operators.flush_due(NOW + 4_999_999_999, &mut done);
    assert!(operators.is_holding());
    operators.flush_due(NOW + 5_000_000_000, &mut done);
    assert!(!operators.is_holding());
    assert_eq!(done.len(), 2);
}

#[test]
fn no_line_makes_a_chain_panic() {
    let yaml = r#"operators:
  - {type: container, on_error: send_quiet, id: c}
  - {type: json_parser, parse_to: body, on_error: send_quiet, if: 'body startsWith "{"'}
  - {type: key_value_parser, on_error: send_quiet, if: 'body contains "="'}
  - {type: severity_parser, parse_from: attributes.level, on_error: send_quiet}
  - {type: time_parser, parse_from: attributes.time, layout: '%F %T', on_error: send_quiet}
  - {type: move, from: body.a, to: attributes.b, on_error: drop_quiet}"#;
    let mut operators = read(yaml).unwrap();
    let pieces =
        ["2026-01-01T00:00:00Z", " ", "stdout", "P", "F", "{\"log\":\"", "\"}", "level=", "é", "=", "\"", "{\"a\":1}"];
    let mut random = fastrand::Rng::with_seed(3);
    let mut done = Vec::new();
    for _ in 0..5_000 {
        let line: String = (0..random.usize(0..10)).map(|_| pieces[random.usize(0..pieces.len())]).collect();
        operators.process(Entry::new(Value::String(line), NOW), NOW, &mut done);
    }
    operators.flush_due(u64::MAX, &mut done);
    batch(&done);
}
