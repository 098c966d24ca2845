//! `${…}` in values: what it becomes as a typed value and as text, and what is said about it.

// Helpers of tests may unwrap as the tests themselves do.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use config::{Diagnostics, Kind, Node, Section, TestEnvironment, parse_str};

fn environment() -> TestEnvironment {
    TestEnvironment::new()
        .with_var("HOST", "tempo")
        .with_var("PORT", "4317")
        .with_var("OCTAL", "0123")
        .with_var("YES", "true")
        .with_var("LIST", "[a, 2, {b: c}]")
        .with_var("MAP", "{enabled: true, host: \"${env:HOST}\"}")
        .with_var("EMPTY", "")
        .with_var("QUOTED", "\"in quotes\"")
        .with_var("NO_YAML", "@foo: {bar")
        .with_var("COMMENT", "#not a comment")
        .with_var("DOLLARS", "pa$$word$1")
        .with_var("OUTER", "${env:HOST}:${env:PORT}")
        .with_var("NAME", "HOST")
        .with_var("A", "${B}")
        .with_var("B", "${A}")
        .with_file("/etc/token", "secret\n")
        .with_file("/etc/windows", "secret\r\n")
        .with_file("/etc/part.yaml", "endpoint: ${env:HOST}\nport: 1\n")
        .with_file("/etc/two-lines", "one\ntwo\n")
}

/// The value in one line: strings in quotes, so that `1` and `"1"` differ.
fn show(node: &Node) -> String {
    match node.kind() {
        Kind::Null => "null".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Int(value) => value.to_string(),
        Kind::Float(value) => value.to_string(),
        Kind::String(text) => format!("{text:?}"),
        Kind::Seq(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Kind::Map(map) => {
            format!(
                "{{{}}}",
                map.iter().map(|e| format!("{}: {}", e.key, show(&e.value))).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// Checks the value and the text that a string field gets.
fn check(yaml: &str, value: &str, text: Option<&str>) {
    let loaded = parse_str("c.yaml", &format!("key: {yaml}"), &environment()).unwrap();
    let node = loaded.root.get("key").unwrap();
    assert_eq!((yaml, show(node).as_str()), (yaml, value));
    let mut diagnostics = Diagnostics::new();
    let read = Section::open(&loaded.root, "", &mut diagnostics).get("key").string().optional();
    assert_eq!((yaml, read.as_deref()), (yaml, text));
}

fn check_messages(yaml: &str, expected: &str) {
    let mut actual = String::new();
    match parse_str("c.yaml", yaml, &environment()) {
        Ok(loaded) => loaded.warnings.iter().for_each(|warning| writeln!(actual, "warning: {warning}").unwrap()),
        Err(errors) => errors.iter().for_each(|error| writeln!(actual, "error: {error}").unwrap()),
    }
    assert_eq!(actual.trim_end(), expected, "for {yaml}");
}

#[test]
fn a_value_that_is_one_variable_has_the_type_of_its_text() {
    check("${env:PORT}", "4317", Some("4317"));
    check("\"${env:PORT}\"", "4317", Some("4317"));
    check("${env:YES}", "true", Some("true"));
    check("${env:LIST}", "[\"a\", 2, {b: \"c\"}]", Some("[a, 2, {b: c}]"));
    check("${env:MAP}", "{enabled: true, host: \"tempo\"}", Some("{enabled: true, host: \"tempo\"}"));
    check("${env:HOST}", "\"tempo\"", Some("tempo"));
}

#[test]
fn a_string_field_takes_the_original_text() {
    check("${env:OCTAL}", "83", Some("0123"));
    check("${env:QUOTED}", "\"\\\"in quotes\\\"\"", Some("\"in quotes\""));
    check("${env:NO_YAML}", "\"@foo: {bar\"", Some("@foo: {bar"));
    check("${env:COMMENT}", "null", Some("#not a comment"));
}

#[test]
fn the_short_form_means_a_variable() {
    check("${HOST}", "\"tempo\"", Some("tempo"));
    check("${PORT:-1}", "4317", Some("4317"));
    check("${MISSING:-1}", "1", Some("1"));
}

#[test]
fn a_default_is_taken_only_when_the_variable_is_not_set() {
    check("${env:PORT:-1}", "4317", Some("4317"));
    check("${env:MISSING:-5s}", "\"5s\"", Some("5s"));
    check("${env:MISSING:-[a, b]}", "[\"a\", \"b\"]", Some("[a, b]"));
    check("${env:MISSING:-${env:HOST}}", "\"tempo\"", Some("tempo"));
    check("${env:EMPTY:-1}", "null", Some(""));
    check("${env:MISSING:-}", "\"\"", Some(""));
    check("${env:MISSING:-a:-b}", "\"a:-b\"", Some("a:-b"));
}

#[test]
fn a_variable_that_is_not_set_gives_nothing_and_a_warning() {
    check("${env:MISSING}", "null", Some(""));
    check("x${env:MISSING}y", "\"xy\"", Some("xy"));
    check_messages(
        "a:\n  b: [\"${env:MISSING}\"]",
        "warning: a.b[0]: the environment variable `MISSING` is not set; the value is empty (c.yaml:2:7)\n  \
           help: give a default with `${env:MISSING:-default}`",
    );
    // A default that is not needed is not looked at.
    check_messages("a: ${env:HOST:-${env:MISSING}}", "");
}

#[test]
fn a_reference_inside_a_longer_string_gives_text() {
    check("http://${env:HOST}:${env:PORT}/api", "\"http://tempo:4317/api\"", Some("http://tempo:4317/api"));
    check("${env:PORT}${env:PORT}", "\"43174317\"", Some("43174317"));
    check("0${env:OCTAL}", "\"00123\"", Some("00123"));
    check("Bearer ${file:/etc/token}", "\"Bearer secret\"", Some("Bearer secret"));
}

#[test]
fn what_a_reference_gives_is_expanded_again() {
    check("${env:OUTER}", "\"tempo:4317\"", Some("tempo:4317"));
    check("${env:${env:NAME}}", "\"tempo\"", Some("tempo"));
    check("${file:/etc/part.yaml}", "{endpoint: \"tempo\", port: 1}", Some("endpoint: tempo\nport: 1"));
}

#[test]
fn a_file_gives_its_text_without_the_last_line_break() {
    check("${file:/etc/token}", "\"secret\"", Some("secret"));
    check("${file:/etc/windows}", "\"secret\"", Some("secret"));
    check("${file:/etc/two-lines}", "\"one\\ntwo\"", Some("one\ntwo"));
}

#[test]
fn yaml_stands_for_itself() {
    check("\"${yaml:[1, two]}\"", "[1, \"two\"]", Some("[1, two]"));
    check("\"${yaml:a:-b}\"", "\"a:-b\"", Some("a:-b"));
}

#[test]
fn two_dollars_are_one() {
    check("$$1-$2", "\"$1-$2\"", Some("$1-$2"));
    check("$${env:HOST}", "\"${env:HOST}\"", Some("${env:HOST}"));
    check("$$${env:HOST}", "\"$tempo\"", Some("$tempo"));
    check("$$$$", "\"$$\"", Some("$$"));
    check("a$", "\"a$\"", Some("a$"));
    check("${env:DOLLARS}", "\"pa$word$1\"", Some("pa$word$1"));
    check("'x ${env:DOLLARS}'", "\"x pa$word$1\"", Some("x pa$word$1"));
}

#[test]
fn a_reference_without_an_end_is_kept_and_warned_about() {
    check("${env:HOST", "\"${env:HOST\"", Some("${env:HOST"));
    check("${a ${env:HOST}", "\"${a tempo\"", Some("${a tempo"));
    check_messages(
        "a: ${b",
        "warning: a: `${` without a closing `}` is kept as it is (c.yaml:1:4)\n  \
           help: write `$$` for a `$` that is meant as such",
    );
}

#[test]
fn a_key_is_not_expanded() {
    let loaded = parse_str("c.yaml", "\"${env:HOST}\": 1", &environment()).unwrap();
    assert_eq!(show(&loaded.root), "{${env:HOST}: 1}");
}

#[test]
fn a_source_that_is_unknown_or_unreadable_is_an_error() {
    check_messages(
        "a: ${vault:x}",
        "error: a: `vault` in `${vault:x}` is no source of values here (c.yaml:1:4)\n  \
           help: `${env:NAME}`, `${env:NAME:-default}`, `${file:path}` and `${yaml:text}` are",
    );
    check_messages(
        "a: x-${1}",
        "error: a: `1` in `${1}` is no name of an environment variable (c.yaml:1:4)\n  \
           help: a literal `$` is written `$$`, as in `$${1}`",
    );
    check_messages("a: ${file:/nope}", "error: a: cannot read the file of `${file:/nope}`: no such file (c.yaml:1:4)");
}

#[test]
fn what_is_wrong_inside_a_value_is_said_without_the_value() {
    let check = |value: &str, yaml: &str, expected: &str| {
        let env = TestEnvironment::new().with_var("X", value).with_var("N", "hunter2");
        let message = match parse_str("c.yaml", yaml, &env) {
            Ok(loaded) => loaded.warnings[0].to_string() + &loaded.warnings[0].render(),
            Err(errors) => errors.to_string() + &errors.render(),
        };
        assert!(message.starts_with(expected) && !message.contains("hunter2"), "{message}");
    };
    check("a${hunter2:x}b", "a: ${X}", "a: a reference inside `${X}` is no source of values here (c.yaml:1:4)");
    check(
        "[a, {b: '${hunter2 x}'}]",
        "a: ${X}",
        "a[1].b: a reference inside `${X}` is no name of an environment variable (c.yaml:1:4)",
    );
    check("hunter2${hunter2}", "a: x${X}", "a: the environment variable of a reference inside `${X}` is not set");
    check("${file:/hunter2}", "a: ${X}", "a: cannot read the file of a reference inside `${X}`: no such file");
    check("", "a: ${env:${env:N}}", "a: the environment variable of `${env:${env:N}}` is not set");
    check("", "a: ${${env:N}:x}", "a: `${${env:N}:x}` is no source of values here");
}

#[test]
fn variables_that_refer_to_each_other_are_an_error() {
    check_messages(
        "a: ${A}",
        "error: a: `${A}` expands more than 20 levels deep: does it refer to itself? (c.yaml:1:4)",
    );
    check_messages(
        "a: x${B}",
        "error: a: `${B}` expands more than 20 levels deep: does it refer to itself? (c.yaml:1:4)",
    );
}

#[test]
fn variables_that_multiply_are_refused_before_they_fill_the_memory() {
    let mut env = TestEnvironment::new().with_var("V0", &"x".repeat(1000));
    for i in 1..=15 {
        env = env.with_var(&format!("V{i}"), &format!("${{V{}}}", i - 1).repeat(10));
    }
    let errors = parse_str("c.yaml", "a: ${V15}\nb: ${V15}", &env).unwrap_err();
    let first = errors.iter().next().unwrap().message.clone();
    assert!(first.contains("expands more than"), "{first}");
}

#[test]
fn an_expanded_value_points_at_its_reference_and_a_file_at_itself() {
    let text = "list: ${env:LIST}\nfile: ${file:/etc/part.yaml}";
    let loaded = parse_str("c.yaml", text, &environment()).unwrap();
    let list = loaded.root.get("list").unwrap();
    assert_eq!(list.as_seq().unwrap()[1].position().to_string(), "c.yaml:1:7");
    assert_eq!(list.as_seq().unwrap()[1].expansion(), Some("${env:LIST}"));
    let port = loaded.root.get("file").unwrap().get("port").unwrap();
    assert_eq!(port.position().to_string(), "/etc/part.yaml:2:7");
    assert_eq!(port.expansion(), None);
    let names: Vec<&str> = loaded.sources.iter().map(|source| source.name()).collect();
    assert_eq!(names, ["c.yaml", "/etc/part.yaml"]);
}

#[test]
fn nothing_that_came_from_a_variable_is_ever_shown() {
    let env = TestEnvironment::new().with_var("X", "hunter2").with_var("Y", "[hunter2, {hunter2: hunter2}]");
    let text = "a: ${X}\nb: a-${X}-b\nc: ${Y}\nd: hunter2-literal";
    let loaded = parse_str("c.yaml", text, &env).unwrap();
    let literal = format!("{:?} {:?}", loaded.root.get("d"), loaded);
    assert!(!literal.contains("hunter2-literal"), "{literal}");
    let mut diagnostics = Diagnostics::new();
    let mut section = Section::open(&loaded.root, "s", &mut diagnostics);
    section.get("a").parse_with("a pattern", |text| Err::<(), _>(format!("`{text}` is bad"))).optional();
    section.get("a").one_of(&[("huntsman", 1)]).optional();
    section.get("b").duration().optional();
    section.get("c").each(|item| item.integer::<u8>().optional()).optional();
    section.get("c").strings().optional();
    section.get("c").bool().optional();
    section.unsupported("d", "d");
    section.finish();
    let errors = diagnostics.finish().unwrap_err();
    let shown = format!("{errors} {errors:?} {} {}", errors.render(), errors.to_json());
    assert_eq!(errors.len(), 8);
    assert!(!shown.contains("hunter2"), "{shown}");
}
