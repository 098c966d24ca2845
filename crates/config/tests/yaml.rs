//! The tree: anchors, merge keys, tags, keys, bounds, and several files.

// Helpers of tests may unwrap as the tests themselves do.
#![allow(clippy::unwrap_used)]

use config::{
    DEPTH_MAX, Errors, Kind, Loaded, NODES_MAX, Node, SOURCE_BYTES_MAX, TestEnvironment, parse_all, parse_str,
};

fn show(node: &Node) -> String {
    match node.kind() {
        Kind::Null => "null".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Int(value) => value.to_string(),
        Kind::Float(value) => format!("{value:?}"),
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

fn parse(text: &str) -> Result<Loaded, Errors> {
    parse_str("c.yaml", text, &TestEnvironment::new())
}

fn check(text: &str, expected: &str) {
    let shown = parse(text).map(|loaded| show(&loaded.root)).unwrap_or_else(|errors| format!("error: {errors}"));
    assert_eq!(shown, expected, "for {text}");
}

fn merged(texts: &[&str]) -> Loaded {
    let names = ["a.yaml", "b.yaml", "c.yaml"];
    let texts: Vec<(&str, &str)> = names.into_iter().zip(texts.iter().copied()).collect();
    parse_all(&texts, &TestEnvironment::new()).unwrap()
}

fn check_merge(texts: &[&str], expected: &str) {
    assert_eq!(show(&merged(texts).root), expected, "for {texts:?}");
}

#[test]
fn an_empty_text_is_nothing() {
    check("", "null");
    check("# only a comment\n", "null");
    check("---\n", "null");
    check("\u{feff}a: 1\n", "{a: 1}");
}

#[test]
fn quoted_text_stays_text() {
    check("a: \"5\"\nb: '5'\nc: 5\nd: |\n  5\n", "{a: \"5\", b: \"5\", c: 5, d: \"5\\n\"}");
    check("a: 1\r\nb: two\r\n", "{a: 1, b: \"two\"}");
}

#[test]
fn what_guides_write_is_read() {
    check(
        "a: :4317\nb: 0.0.0.0:4317\nc: http://x:1/y?z=#a",
        "{a: \":4317\", b: \"0.0.0.0:4317\", c: \"http://x:1/y?z=#a\"}",
    );
    check("{\"a\":{\"b\":[1,\"x\",null]},\"c\":true}", "{a: {b: [1, \"x\", null]}, c: true}");
    check("a:\n- b\n- c: d\n  e: f\n", "{a: [\"b\", {c: \"d\", e: \"f\"}]}");
    check("a: b # comment\n# another\nc: 'd # e'", "{a: \"b\", c: \"d # e\"}");
    check("a: [b,\n  c,\n]\n", "{a: [\"b\", \"c\"]}");
    check(
        "a: 5s\nb: 2027-03-31\nc: 1.2.3\nd: on\ne: 12:30",
        "{a: \"5s\", b: \"2027-03-31\", c: \"1.2.3\", d: \"on\", e: \"12:30\"}",
    );
    check("a: >-\n  b\n  c\nd: |-\n  e\n  f", "{a: \"b c\", d: \"e\\nf\"}");
    check("a:   \nb:    1\t# tab\n", "{a: null, b: 1}");
    check(
        "a:\t1",
        "error: this is no YAML: ':' must be followed by a valid YAML whitespace (c.yaml:1:4)\n  help: put a space behind \
         `:`, not a tab",
    );
    check("---\na: 1\n...\n", "{a: 1}");
    check("%YAML 1.2\n---\na: 1", "{a: 1}");
    check("a: 'resource[\"service.name\"] == \"x\"'", "{a: \"resource[\\\"service.name\\\"] == \\\"x\\\"\"}");
}

#[test]
fn the_order_of_a_map_is_kept() {
    check("z: 1\na: 2\n10: 3\ntrue: 4\nnull: 5", "{z: 1, a: 2, 10: 3, true: 4, null: 5}");
}

#[test]
fn every_value_knows_its_line_and_column() {
    let loaded = parse("a:\n  - größe: 1\n    b: {c: [x, yy]}\n").unwrap();
    let item = &loaded.root.get("a").unwrap().as_seq().unwrap()[0];
    assert_eq!(item.position().to_string(), "c.yaml:2:5");
    assert_eq!(item.get("größe").unwrap().position().to_string(), "c.yaml:2:12");
    let list = item.get("b").unwrap().get("c").unwrap();
    assert_eq!(list.position().to_string(), "c.yaml:3:12");
    assert_eq!(list.as_seq().unwrap()[1].position().to_string(), "c.yaml:3:16");
}

#[test]
fn an_alias_repeats_its_anchor() {
    check("a: &x {b: 1}\nc: *x\nd: [*x]", "{a: {b: 1}, c: {b: 1}, d: [{b: 1}]}");
    check(
        "&k key: &v value\n*k : *v",
        "error: key: the key `key` is given twice (c.yaml:2:1)\n  first given here (c.yaml:1:1)",
    );
    check("a: &x 1\nb: &x 2\nc: *x", "{a: 1, b: 2, c: 2}");
}

#[test]
fn a_merge_key_lays_a_map_under_this_one() {
    check("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3", "{a: {b: 1, c: 2}, d: {c: 3, b: 1}}");
    check("a: &x {b: 1}\ne: &y {b: 2, f: 3}\nd:\n  <<: [*x, *y]", "{a: {b: 1}, e: {b: 2, f: 3}, d: {b: 1, f: 3}}");
    check("\"<<\": {b: 1}", "{<<: {b: 1}}");
    check("a:\n  <<: 5", "error: a[\"<<\"]: expected a map, or a list of maps, to merge (c.yaml:2:7)");
}

#[test]
fn core_tags_are_understood_and_others_refused() {
    check(
        "a: !!str 5\nb: !!int \"5\"\nc: !!float 5\nd: !!bool true\ne: !!null ''\nf: ! 5",
        "{a: \"5\", b: 5, c: 5.0, d: true, e: null, f: \"5\"}",
    );
    check("a: !!map {b: 1}\nc: !!seq [1]", "{a: {b: 1}, c: [1]}");
    check("a: !!int x", "error: a: the value is no `!!int` (c.yaml:1:4)");
    check("a: !secret x", "error: a: the tag `!secret` means nothing here: remove it (c.yaml:1:4)");
}

#[test]
fn a_key_that_is_no_text_is_an_error() {
    check(
        "a: {[b]: c}",
        "error: a: expected a key that is text, found a list or a map (c.yaml:1:5)\n  \
           help: a value that starts with `{` or `[` must be quoted, as in `\"${env:NAME}\"` inside a flow list",
    );
    check("a: &x [1]\n*x : 2", "error: expected a key that is text, found an alias of a list or a map (c.yaml:2:1)");
}

#[test]
fn an_alias_inside_its_own_anchor_is_an_error() {
    check("a: &x [*x]", "error: a[0]: the alias stands inside the very value it refers to (c.yaml:1:8)");
    check(
        "a: *nope",
        "error: a: this is no YAML: while parsing node, found unknown anchor (c.yaml:1:4)\n  help: quote a value that starts with `*`",
    );
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..10 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    let errors = parse(&text).unwrap_err().to_string();
    assert!(errors.contains(&format!("more than {NODES_MAX} values")), "{errors}");
}

#[test]
fn nesting_is_bounded_with_and_without_aliases() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX - 1)).is_ok());
    let errors = parse(&nested(DEPTH_MAX)).unwrap_err().to_string();
    assert!(errors.contains(&format!("nest deeper than {DEPTH_MAX} levels")), "{errors}");
    let errors = parse(&format!("a: &x {}\nb: {}", nested(40), nested(40).replace('1', "*x"))).unwrap_err().to_string();
    assert!(errors.contains("with this alias, values nest deeper"), "{errors}");
    for text in ["[".repeat(200_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        assert!(parse(&text).is_err());
    }
    let deep = TestEnvironment::new().with_var("X", &nested(40));
    let errors = parse_str("c.yaml", &nested(40).replace('1', "\"${X}\""), &deep).unwrap_err().to_string();
    assert!(errors.contains("with `${X}`, values nest deeper"), "{errors}");
}

#[test]
fn size_and_number_of_values_are_bounded() {
    let errors = parse(&"#".repeat(SOURCE_BYTES_MAX + 1)).unwrap_err().to_string();
    assert!(errors.contains("a configuration file may have"), "{errors}");
    let errors = parse(&format!("[{}]", "1,".repeat(NODES_MAX + 1))).unwrap_err().to_string();
    assert!(errors.contains(&format!("more than {NODES_MAX} values")), "{errors}");
    assert!(parse(&format!("[{}]", "1,".repeat(NODES_MAX - 1))).is_ok());
}

#[test]
fn the_number_of_reported_errors_is_bounded() {
    let text: String = (0..5000).map(|_| "a: 1\n").collect();
    let errors = parse(&text).unwrap_err();
    assert_eq!(errors.len(), 501);
    assert!(errors.to_string().ends_with("4499 more errors are not shown"));
}

#[test]
fn maps_merge_and_everything_else_is_replaced() {
    check_merge(&["a: {b: 1, c: 2}", "a: {c: 3, d: 4}"], "{a: {b: 1, c: 3, d: 4}}");
    check_merge(&["a: [1, 2]", "a: [3]"], "{a: [3]}");
    check_merge(&["a: {b: 1}", "a: 5"], "{a: 5}");
    check_merge(&["a: 5", "a: {b: 1}"], "{a: {b: 1}}");
    check_merge(&["a: {b: 1}", "a:"], "{a: null}");
    check_merge(&["a: 1", "b: 2", "a: 3"], "{a: 3, b: 2}");
    check_merge(&["a: 1", ""], "{a: 1}");
    check_merge(&["", "a: 1"], "{a: 1}");
}

#[test]
fn the_value_that_wins_keeps_its_place() {
    let loaded = merged(&["a:\n  b: 1\n  c: 2\n", "x: 0\na:\n  c: 3\n"]);
    let a = loaded.root.get("a").unwrap();
    assert_eq!(a.get("b").unwrap().position().to_string(), "a.yaml:2:6");
    assert_eq!(a.get("c").unwrap().position().to_string(), "b.yaml:3:6");
    assert_eq!(a.as_map().unwrap().entry("c").unwrap().key_position.to_string(), "b.yaml:3:3");
}

#[test]
fn errors_of_all_files_are_reported() {
    let texts = [("a.yaml", "a: 1\na: 2"), ("b.yaml", "b: [1"), ("c.yaml", "c: ${vault:x}")];
    let errors = parse_all(&texts, &TestEnvironment::new()).unwrap_err();
    let places: Vec<String> = errors.iter().map(|error| error.position.as_ref().unwrap().to_string()).collect();
    assert_eq!(places, ["a.yaml:2:1", "b.yaml:1:6", "c.yaml:1:4"]);
}
