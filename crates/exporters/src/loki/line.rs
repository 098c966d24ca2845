//! A log record as a line: `json`, `logfmt` or `raw`, as the Collector's former exporter wrote them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use otlp::view::{AnyValueView, KeyValues, LogRecordView, ScopeView};
use serde_json::{Map, Value};

use super::convert::HINTS;
use crate::common::to_json;

/// `format`, and the hint `loki.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Logfmt,
    Raw,
}

impl Format {
    pub(super) fn named(name: &str) -> Option<Format> {
        match name {
            "json" => Some(Format::Json),
            "logfmt" => Some(Format::Logfmt),
            "raw" => Some(Format::Raw),
            _ => None,
        }
    }
}

/// A record, and which of its attributes are labels already.
pub(super) struct Parts<'a> {
    pub(super) resource: KeyValues<'a>,
    pub(super) scope: ScopeView<'a>,
    pub(super) record: LogRecordView<'a>,
    pub(super) of_resource: &'a BTreeSet<String>,
    pub(super) of_record: &'a BTreeSet<String>,
}

/// Whether an attribute is a label or a hint.
pub(super) fn is_elsewhere(key: &str, labels: &BTreeSet<String>) -> bool {
    HINTS.contains(&key) || labels.contains(key)
}

/// The name of a severity's number; empty for none.
pub(super) fn level(number: i32) -> &'static str {
    const LEVELS: [&str; 24] = [
        "TRACE", "TRACE2", "TRACE3", "TRACE4", "DEBUG", "DEBUG2", "DEBUG3", "DEBUG4", "INFO", "INFO2", "INFO3",
        "INFO4", "WARN", "WARN2", "WARN3", "WARN4", "ERROR", "ERROR2", "ERROR3", "ERROR4", "FATAL", "FATAL2", "FATAL3",
        "FATAL4",
    ];
    usize::try_from(number - 1).ok().and_then(|at| LEVELS.get(at)).copied().unwrap_or_default()
}

/// The line.
pub(super) fn line(format: Format, parts: &Parts<'_>) -> String {
    match format {
        Format::Raw => parts.record.body().to_text().into_owned(),
        Format::Json => json(parts),
        Format::Logfmt => logfmt(parts),
    }
}

/// The fields in their order, without those that are empty.
fn json(parts: &Parts<'_>) -> String {
    let record = parts.record;
    let mut text = String::from("{");
    let mut put = |key: &str, value: Value| {
        let separator = if text.len() > 1 { "," } else { "" };
        // Writing into a string does not fail.
        let _ = write!(text, "{separator}\"{key}\":{value}");
    };
    if record.body() != AnyValueView::Empty {
        put("body", to_json(record.body()));
    }
    for (key, id) in
        [("traceid", record.trace_id().map(|id| id.to_string())), ("spanid", record.span_id().map(|id| id.to_string()))]
    {
        if let Some(id) = id {
            put(key, id.into());
        }
    }
    if !record.severity_text().is_empty() {
        put("severity", record.severity_text().into());
    }
    if record.flags() != 0 {
        put("flags", record.flags().into());
    }
    for (key, attributes, labels) in
        [("attributes", record.attributes(), parts.of_record), ("resources", parts.resource, parts.of_resource)]
    {
        let map = object(attributes, labels);
        if !map.is_empty() {
            put(key, map.into());
        }
    }
    if !parts.scope.name().is_empty() {
        let mut scope = Map::new();
        scope.insert("name".to_owned(), parts.scope.name().into());
        if !parts.scope.version().is_empty() {
            scope.insert("version".to_owned(), parts.scope.version().into());
        }
        put("instrumentation_scope", scope.into());
    }
    text.push('}');
    text
}

fn object(attributes: KeyValues<'_>, labels: &BTreeSet<String>) -> Map<String, Value> {
    let sent = attributes.filter(|attribute| !is_elsewhere(attribute.key(), labels));
    sent.map(|attribute| (attribute.key().to_owned(), to_json(attribute.value()))).collect()
}

fn logfmt(parts: &Parts<'_>) -> String {
    let record = parts.record;
    let mut text = String::new();
    match record.body() {
        AnyValueView::KvList(pairs) => {
            for pair in pairs {
                put(&mut text, pair.key(), &pair.value().to_text());
            }
        }
        AnyValueView::Empty => {}
        body => put(&mut text, "msg", &body.to_text()),
    }
    for (key, id) in
        [("traceID", record.trace_id().map(|id| id.to_string())), ("spanID", record.span_id().map(|id| id.to_string()))]
    {
        if let Some(id) = id {
            put(&mut text, key, &id);
        }
    }
    if !record.severity_text().is_empty() {
        put(&mut text, "severity", record.severity_text());
    }
    if record.flags() != 0 {
        put(&mut text, "flags", &record.flags().to_string());
    }
    for (prefix, attributes, labels) in
        [("attribute_", record.attributes(), parts.of_record), ("resource_", parts.resource, parts.of_resource)]
    {
        for attribute in attributes.filter(|attribute| !is_elsewhere(attribute.key(), labels)) {
            put(&mut text, &format!("{prefix}{}", attribute.key()), &attribute.value().to_text());
        }
    }
    for (key, value) in
        [("instrumentation_scope_name", parts.scope.name()), ("instrumentation_scope_version", parts.scope.version())]
    {
        if !value.is_empty() {
            put(&mut text, key, value);
        }
    }
    text
}

/// `key=value`; what would break a pair is replaced in keys, and quoted in values.
fn put(text: &mut String, key: &str, value: &str) {
    let breaks = |c: char| c <= ' ' || matches!(c, '=' | '"' | '\u{7f}');
    if !text.is_empty() {
        text.push(' ');
    }
    text.extend(key.chars().map(|c| if breaks(c) { '_' } else { c }));
    text.push('=');
    if value.contains(breaks) {
        text.push_str(&Value::from(value).to_string());
    } else {
        text.push_str(value);
    }
}
