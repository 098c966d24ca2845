//! Lines, written field by field.

use std::fmt::Write as _;

use super::line::{FieldValue, Point};

/// Writes lines, one after another.
///
/// What a name cannot hold is replaced by `_`: control characters, a backslash at its end, which would escape what
/// follows, and `#` at the start of a measurement, which would make the line a comment.
#[derive(Debug, Default)]
pub struct LineWriter {
    out: String,
    lines: usize,
    has_field: bool,
}

impl LineWriter {
    /// Of no lines yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written so far.
    pub fn as_str(&self) -> &str {
        &self.out
    }

    /// The lines that were ended so far.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Forgets what was written.
    pub fn clear(&mut self) {
        self.out.clear();
        self.lines = 0;
        self.has_field = false;
    }

    /// Writes a whole line; `None` where it has no field, or a field that is not finite, or no name.
    pub fn point(&mut self, point: &Point<'_>) -> Option<()> {
        let finite = |value: &FieldValue<'_>| !matches!(value, FieldValue::Float(value) if !value.is_finite());
        let fields = &point.fields;
        if point.measurement.is_empty() || fields.is_empty() || !fields.iter().all(|(_, value)| finite(value)) {
            return None;
        }
        self.measurement(&point.measurement);
        point.tags.iter().for_each(|(name, value)| self.tag(name, value));
        fields.iter().for_each(|(name, value)| self.field(name, value));
        self.end(point.timestamp);
        Some(())
    }

    pub(super) fn measurement(&mut self, name: &str) {
        let start = self.out.len();
        self.name(name, &[',', ' ']);
        if self.out[start..].starts_with('#') {
            self.out.replace_range(start..=start, "_");
        }
        self.has_field = false;
    }

    /// A tag; one without a name or a value does not exist.
    pub(super) fn tag(&mut self, name: &str, value: &str) {
        if name.is_empty() || value.is_empty() {
            return;
        }
        self.out.push(',');
        self.name(name, &[',', ' ', '=']);
        self.out.push('=');
        self.name(value, &[',', ' ', '=']);
    }

    pub(super) fn field(&mut self, name: &str, value: &FieldValue<'_>) {
        self.out.push(if self.has_field { ',' } else { ' ' });
        self.has_field = true;
        self.name(name, &[',', ' ', '=']);
        self.out.push('=');
        // Writing into a string does not fail.
        let _ = match value {
            FieldValue::Float(value) => write!(self.out, "{value}"),
            FieldValue::Int(value) => write!(self.out, "{value}i"),
            FieldValue::UInt(value) => write!(self.out, "{value}u"),
            FieldValue::Bool(value) => write!(self.out, "{value}"),
            FieldValue::String(text) => write!(self.out, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        };
    }

    /// A float, where it is finite.
    pub(super) fn float(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.field(name, &FieldValue::Float(value));
        }
    }

    pub(super) fn end(&mut self, timestamp: Option<i64>) {
        if let Some(timestamp) = timestamp {
            let _ = write!(self.out, " {timestamp}");
        }
        self.out.push('\n');
        self.lines += 1;
        self.has_field = false;
    }

    fn name(&mut self, name: &str, special: &[char]) {
        for character in name.chars() {
            if special.contains(&character) {
                self.out.push('\\');
            }
            self.out.push(if character.is_control() { '_' } else { character });
        }
        if name.ends_with('\\') {
            self.out.pop();
            self.out.push('_');
        }
    }
}
