//! Severities that records tell of themselves, and the ids of traces.

use std::collections::HashMap;

use config::{Kind, Node, Section};
use otlp::{SpanId, TraceId};

use super::OperatorError;
use super::entry::{Entry, Field, Value};
use super::settings::field;

/// Reads the severity of a record from one of its fields.
#[derive(Clone, Debug)]
pub(crate) struct SeverityParser {
    parse_from: Field,
    /// Texts in lower case.
    words: HashMap<String, i32>,
    /// Numbers from and to.
    ranges: Vec<(i64, i64, i32)>,
    text: SeverityText,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeverityText {
    /// As the record has it.
    Kept,
    /// The short name that OpenTelemetry gives the number, such as `ERROR2`.
    Overwritten,
}

/// The names of the numbers from 1 on, four each.
const NAMES: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];

/// The number of a name such as `error` or `error3`, or of the number itself.
fn numbered(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=24).contains(&number).then_some(number);
    }
    let text = text.to_ascii_lowercase();
    let at = NAMES.iter().position(|name| text.starts_with(name))?;
    let step = match &text[NAMES[at].len()..] {
        "" => 0,
        "2" => 1,
        "3" => 2,
        "4" => 3,
        _ => return None,
    };
    Some(at as i32 * 4 + 1 + step)
}

/// The short name of a number.
fn named(number: i32) -> String {
    let index = (number - 1).clamp(0, 23);
    let name = NAMES[(index / 4) as usize].to_ascii_uppercase();
    match index % 4 {
        0 => name,
        step => format!("{name}{}", step + 1),
    }
}

impl SeverityParser {
    /// Reads `parse_from`, `preset`, `mapping` and `overwrite_text`. `None`: the section has said what is wrong.
    pub(crate) fn read(section: &mut Section<'_>) -> Option<SeverityParser> {
        let parse_from = field(section, "parse_from");
        if parse_from.is_none() && !section.has("parse_from") {
            section.error("parse_from", "is required: expected a field such as `attributes.level`");
        }
        let presets = [("default", 2), ("", 2), ("otel", 1), ("aliases", 1), ("none", 0)];
        let preset = section.get("preset").one_of(&presets).or(2);
        let text = match section.get("overwrite_text").bool().or(false) {
            true => SeverityText::Overwritten,
            false => SeverityText::Kept,
        };
        let mut parser = SeverityParser { parse_from: parse_from?, words: preset_words(preset), ranges: vec![], text };
        let mapped = section.child("mapping", |mapping| {
            let mut wrong = Vec::new();
            for (name, node) in mapping.entries() {
                match numbered(&name.value) {
                    Some(number) => parser.map(node, number).unwrap_or_else(|error| wrong.push(error)),
                    None => wrong.push(format!("`{}` is no severity: expected one such as `error`", name.value)),
                }
            }
            wrong
        });
        mapped.into_iter().for_each(|wrong| section.error("mapping", wrong));
        Some(parser)
    }

    fn map(&mut self, node: &Node, number: i32) -> Result<(), String> {
        match node.kind() {
            Kind::Seq(items) => items.iter().try_for_each(|item| self.map(item, number)),
            Kind::Map(map) => {
                let bound = |key: &str| match map.get(key).map(Node::kind) {
                    Some(Kind::Int(bound)) => Ok(*bound),
                    _ => Err("a range of numbers has a `min` and a `max`".to_owned()),
                };
                let (min, max) = (bound("min")?, bound("max")?);
                self.ranges.push((min.min(max), min.max(max), number));
                Ok(())
            }
            Kind::Null => Ok(()),
            _ => {
                let text = node.text().unwrap_or_default().to_lowercase();
                match text.as_str() {
                    "2xx" | "3xx" | "4xx" | "5xx" => {
                        let hundred = i64::from(text.as_bytes()[0] - b'0') * 100;
                        self.ranges.push((hundred, hundred + 99, number));
                    }
                    _ => drop(self.words.insert(text, number)),
                }
                Ok(())
            }
        }
    }

    /// Sets the severity of a record. A value that nothing maps keeps its text and has no number, as in the Collector.
    pub(crate) fn apply(&self, entry: &mut Entry) -> Result<(), OperatorError> {
        let value = self.parse_from.get(entry).ok_or_else(|| OperatorError::no_field(&self.parse_from))?;
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            Value::Double(number) if number.fract() == 0.0 => number.to_string(),
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => {
                let field = self.parse_from.to_string();
                return Err(OperatorError::Kind { field, expected: "a severity", found: other.kind() });
            }
        };
        entry.severity_number = self.number(&text);
        entry.severity_text = match self.text {
            SeverityText::Overwritten if entry.severity_number > 0 => named(entry.severity_number),
            _ => text,
        };
        Ok(())
    }

    fn number(&self, text: &str) -> i32 {
        let trimmed = text.trim();
        if let Some(number) = self.words.get(&trimmed.to_lowercase()) {
            return *number;
        }
        let Ok(value) = trimmed.parse::<i64>() else { return 0 };
        let range = self.ranges.iter().find(|(min, max, _)| (*min..=*max).contains(&value));
        range.map_or(0, |(_, _, number)| *number)
    }
}

fn preset_words(preset: u8) -> HashMap<String, i32> {
    let mut words = HashMap::new();
    if preset == 0 {
        return words;
    }
    for number in 1..=24 {
        words.insert(number.to_string(), number);
        words.insert(named(number).to_ascii_lowercase(), number);
    }
    if preset == 2 {
        for (step, suffix) in ["", "2", "3", "4"].into_iter().enumerate() {
            words.insert(format!("warning{suffix}"), 13 + step as i32);
            words.insert(format!("err{suffix}"), 17 + step as i32);
        }
    }
    words
}

/// Reads the ids of a record's trace from its fields.
#[derive(Clone, Debug)]
pub(crate) struct TraceParser {
    trace_id: Field,
    span_id: Field,
    flags: Field,
}

impl TraceParser {
    /// Reads `trace_id`, `span_id` and `trace_flags`, each with a `parse_from`.
    pub(crate) fn read(section: &mut Section<'_>) -> TraceParser {
        let mut of = |key: &'static str| {
            section.child(key, |part| field(part, "parse_from")).unwrap_or_else(|| Field::attribute(key))
        };
        TraceParser { trace_id: of("trace_id"), span_id: of("span_id"), flags: of("trace_flags") }
    }

    /// Sets what is there; what is missing is no error.
    pub(crate) fn apply(&self, entry: &mut Entry) -> Result<(), OperatorError> {
        let text = |field: &Field| match field.get(entry) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => {
                let field = field.to_string();
                Err(OperatorError::Kind { field, expected: "hexadecimal text", found: other.kind() })
            }
        };
        let (trace_id, span_id, flags) = (text(&self.trace_id)?, text(&self.span_id)?, text(&self.flags)?);
        let wrong = |field: &Field| OperatorError::Id { field: field.to_string() };
        if let Some(text) = trace_id {
            entry.trace_id = Some(TraceId::from_hex(text.as_bytes()).ok_or_else(|| wrong(&self.trace_id))?);
        }
        if let Some(text) = span_id {
            entry.span_id = Some(SpanId::from_hex(text.as_bytes()).ok_or_else(|| wrong(&self.span_id))?);
        }
        if let Some(text) = flags {
            entry.flags = u8::from_str_radix(&text, 16).map(u32::from).map_err(|_| wrong(&self.flags))?;
        }
        Ok(())
    }
}
