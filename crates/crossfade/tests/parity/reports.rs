//! The forms of a report, as the binary writes them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::scene::{Fault, HOSTILE, check_exit, record};
use super::{BOTH, with};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The report on a lost share in one form.
fn report(format: &'static str) -> String {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::Loss);
    check_exit(directory.path(), &with(&["--format", format]), 1).0
}

#[test]
fn markdown_has_no_markup_of_others() {
    let out = report("markdown");
    let outside_of_code: String = out.split('`').step_by(2).collect();
    assert!(!outside_of_code.contains("<img"), "{outside_of_code}");
}

#[test]
fn junit_has_a_case_for_each_subject() {
    let out = report("junit");
    assert_eq!(out.matches("<testcase").count(), 4);
    assert!(out.contains("failures=\"1\"") && out.contains("<failure type=\"silent_loss\""));
    assert!(!out.contains("<img"));
}

#[test]
fn every_name_in_a_page_is_inert() {
    let out = report("html");
    assert!(!out.contains("<img") && !out.contains("<script") && !out.contains("javascript:"));
    assert!(out.replace("<wbr>", "").contains("&lt;img src=x onerror=alert(1)&gt;"), "the name is shown");
    assert!(out.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'"));
    assert_eq!(out.matches("<polyline").count(), 2, "one chart for each side");
    // Links lead to places of the page itself.
    let out = out.replace("href=\"#", "");
    for loaded in ["src=\"", "href=\"", "url(", "@import"] {
        assert!(!out.contains(loaded), "{loaded}");
    }
}

#[test]
fn json_is_as_its_schema_says() {
    let out = report("json");
    let found: Value = serde_json::from_str(&out).unwrap();
    let hostile = |subject: &Value| subject["name"] == HOSTILE;
    assert!(found["subjects"].as_array().unwrap().iter().any(hostile));
    let schema = fs::read_to_string(root().join("../../docs/parity-report.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    fs::write(directory.path().join("new.jsonl"), "").unwrap();
    let (missing, _) = check_exit(directory.path(), &with(&["--format", "json"]), 1);
    fs::write(directory.path().join("legacy.jsonl"), "").unwrap();
    let (open, _) = check_exit(directory.path(), &with(&["--format", "json"]), 2);
    for report in [found, serde_json::from_str(&missing).unwrap(), serde_json::from_str(&open).unwrap()] {
        let mut wrong = Vec::new();
        violations(&schema, &schema, &report, "$", &mut wrong);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn a_metric_with_another_name_is_suggested_and_the_rule_makes_both_sides_equal() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    let new = fs::read_to_string(directory.path().join("new.jsonl")).unwrap();
    let new = new.replace("\"name\":\"requests\"", "\"name\":\"shop.requests\"");
    let new = new.replace("\"key\":\"shop\"", "\"key\":\"tenant.name\"");
    fs::write(directory.path().join("new.jsonl"), new).unwrap();
    let (out, _) = check_exit(directory.path(), &with(&["--format", "json"]), 1);
    let found: Value = serde_json::from_str(&out).unwrap();
    let schema = fs::read_to_string(root().join("../../docs/parity-report.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut wrong = Vec::new();
    violations(&schema, &schema, &found, "$", &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let suggestion = &found["suggestions"][0];
    let rule = "{legacy: requests_total, new: shop.requests, labels: {shop: tenant_name}}";
    assert_eq!((&suggestion["suggestion"], &suggestion["yaml"]), (&"renamed".into(), &rule.into()), "{out}");
    let (out, _) = check_exit(directory.path(), &BOTH, 1);
    assert!(out.contains("What would help\n  `requests_total` of the legacy side looks like `shop.requests`"), "{out}");
    fs::write(directory.path().join("c.yaml"), format!("migration:\n  names:\n    - {rule}\n")).unwrap();
    let (out, _) = check_exit(directory.path(), &with(&["--config", "c.yaml"]), 0);
    assert!(out.contains("4 equivalent") && !out.contains("What would help"), "{out}");
}

#[test]
fn the_check_of_the_schema_sees_what_is_wrong() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"$ref": "#/$defs/a"}, "b": {"oneOf": [{"const": 1}, {"type": ["string", "null"]}]}},
        "$defs": {"a": {"type": "array", "items": {"enum": ["x", "y"]}}},
    });
    for (value, wrong) in [
        (serde_json::json!({"a": ["x"], "b": null}), 0),
        (serde_json::json!({"b": 2}), 2),
        (serde_json::json!({"a": ["z", 1]}), 2),
        (serde_json::json!({"a": [], "c": 1}), 1),
        (serde_json::json!([]), 1),
    ] {
        let mut found = Vec::new();
        violations(&schema, &schema, &value, "$", &mut found);
        assert_eq!(found.len(), wrong, "{value}: {found:?}");
    }
}

/// As much of JSON Schema as the schema of the report uses.
pub(crate) fn violations(whole: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    const KNOWN: [&str; 14] = [
        "$schema",
        "$id",
        "$defs",
        "$ref",
        "title",
        "description",
        "type",
        "required",
        "properties",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "oneOf",
    ];
    for key in schema.as_object().unwrap().keys() {
        assert!(KNOWN.contains(&key.as_str()), "this check does not know `{key}`");
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return violations(whole, whole.pointer(&reference[1..]).unwrap(), value, at, wrong);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().filter(|choice| {
            let mut found = Vec::new();
            violations(whole, choice, value, at, &mut found);
            found.is_empty()
        });
        if fits.count() != 1 {
            wrong.push(format!("{at}: not exactly one of the choices: {value}"));
        }
        return;
    }
    let is_of = |name: &str| match name {
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let fits = match &schema["type"] {
        Value::String(name) => is_of(name),
        Value::Array(names) => names.iter().any(|name| is_of(name.as_str().unwrap())),
        _ => true,
    };
    let is_listed = schema["enum"].as_array().is_none_or(|listed| listed.contains(value));
    if !fits || !is_listed || schema.get("const").is_some_and(|only| only != value) {
        wrong.push(format!("{at}: {value}"));
    }
    let (Some(fields), properties) = (value.as_object(), &schema["properties"]) else {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            if schema["items"].is_object() {
                violations(whole, &schema["items"], item, &format!("{at}[{index}]"), wrong);
            }
        }
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            wrong.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, field) in fields {
        let inner = format!("{at}.{name}");
        match (properties.get(name), &schema["additionalProperties"]) {
            (Some(schema), _) | (None, schema @ Value::Object(_)) => violations(whole, schema, field, &inner, wrong),
            (None, Value::Bool(false)) => wrong.push(format!("{inner}: unknown")),
            (None, _) => {}
        }
    }
}

#[test]
fn a_report_is_written_to_a_file() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path(), Fault::None);
    let (out, _) = check_exit(directory.path(), &with(&["--output", "report.txt"]), 0);
    assert_eq!(out, "");
    assert!(fs::read_to_string(directory.path().join("report.txt")).unwrap().contains("equivalent"));
    let mut to_nowhere = BOTH.to_vec();
    to_nowhere.extend(["--output", "gone/report.txt"]);
    check_exit(directory.path(), &to_nowhere, 3);
}
