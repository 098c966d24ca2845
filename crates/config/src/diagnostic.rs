//! Errors and warnings as data: path, place, what was expected, what was found, and what to do about it.

use std::fmt;

use crate::path::Path;
use crate::snippet::Lines;
use crate::source::Position;

/// More than this many findings help nobody; the rest is only counted, so that a mangled file stays bounded.
const DIAGNOSTICS_MAX: usize = 500;

/// Whether a finding stops the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot run.
    Error,
    /// It runs, but perhaps not as its author meant it.
    Warning,
}

/// A second place that explains a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// What is there, such as "first given here".
    pub note: String,
    /// Where.
    pub position: Position,
}

/// One finding about the configuration.
///
/// `Display` gives one line, `exporters.otlp.timeout: expected …, found `soon` (collector.yaml:31:14)`, and below it
/// a line for each related place and for the help. [`Diagnostic::render`] adds the line of the file with a caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the start.
    pub severity: Severity,
    /// The path of the value; the root when the finding is about the text itself.
    pub path: Path,
    /// What was expected and what was found.
    pub message: String,
    /// Where; none when there is no text, such as a file that cannot be read.
    pub position: Option<Position>,
    /// What to do next, such as "did you mean `endpoint`?".
    pub help: Option<String>,
    /// Other places that matter.
    pub related: Vec<Related>,
    /// The value in question is a secret: its line is not printed.
    pub(crate) secret: bool,
}

/// All errors of a configuration, in the order of its lines. Never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Errors(Vec<Diagnostic>);

/// Collects errors and warnings, so that all are reported and not only the first.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    errors_left_out: usize,
    /// Where secrets stand: a finding about such a place never shows its line, whoever reports it and whenever.
    secrets: Vec<Position>,
}

// === impl Diagnostic ===

impl Diagnostic {
    /// An error about the value at `path`.
    pub fn error(path: impl Into<Path>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            path: path.into(),
            message: message.into(),
            position: None,
            help: None,
            related: Vec::new(),
            secret: false,
        }
    }

    /// A warning about the value at `path`.
    pub fn warning(path: impl Into<Path>, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(path, message) }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, position: &Position) -> Diagnostic {
        self.position = Some(position.clone());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Points at a second place.
    #[must_use]
    pub fn related(mut self, note: impl Into<String>, position: &Position) -> Diagnostic {
        self.related.push(Related { note: note.into(), position: position.clone() });
        self
    }

    /// Marks the value as a secret, so that its line is never printed.
    #[must_use]
    pub fn about_a_secret(mut self) -> Diagnostic {
        self.secret = true;
        self
    }

    /// Several lines for a terminal: severity, message, place, the line of the file with a caret, help.
    pub fn render(&self) -> String {
        let mut out = String::new();
        Lines::of([self]).render(&mut out, self);
        out
    }

    /// The finding as a JSON object with `severity`, `path`, `message`, `file`, `line`, `column`, `help`, `related`.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        out.push('{');
        json_field(out, "severity", if self.severity == Severity::Error { "error" } else { "warning" });
        out.push(',');
        json_field(out, "path", self.path.as_str());
        out.push(',');
        json_field(out, "message", &self.message);
        if let Some(position) = &self.position {
            out.push(',');
            json_position(out, position);
        }
        if let Some(help) = &self.help {
            out.push(',');
            json_field(out, "help", help);
        }
        if !self.related.is_empty() {
            out.push_str(",\"related\":[");
            for (i, related) in self.related.iter().enumerate() {
                out.push_str(if i == 0 { "{" } else { ",{" });
                json_field(out, "note", &related.note);
                out.push(',');
                json_position(out, &related.position);
                out.push('}');
            }
            out.push(']');
        }
        out.push('}');
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_root() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(position) = &self.position {
            write!(f, " ({position})")?;
        }
        for related in &self.related {
            write!(f, "\n  {} ({})", related.note, related.position)?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

// === impl Errors ===

impl Errors {
    /// A single error.
    pub fn one(error: Diagnostic) -> Errors {
        Errors(vec![error])
    }

    /// The errors.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// How many there are; at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them for a terminal, each with the line of the file and a caret.
    pub fn render(&self) -> String {
        let lines = Lines::of(&self.0);
        let mut out = String::new();
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            lines.render(&mut out, error);
        }
        out
    }

    /// All of them as a JSON array of the objects that [`Diagnostic::to_json`] gives.
    pub fn to_json(&self) -> String {
        json_array(&self.0)
    }
}

impl IntoIterator for Errors {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errors {}

// === impl Diagnostics ===

impl Diagnostics {
    /// An empty collection.
    pub fn new() -> Diagnostics {
        Diagnostics::default()
    }

    /// Adds a finding. Beyond some hundreds they are only counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let list = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        if list.len() < DIAGNOSTICS_MAX {
            list.push(diagnostic);
        } else if diagnostic.severity == Severity::Error {
            self.errors_left_out += 1;
        }
    }

    /// Remembers that the value at `position` is a secret.
    pub(crate) fn keep_secret(&mut self, position: &Position) {
        self.secrets.push(position.clone());
    }

    /// Adds help to the error that was reported last.
    pub(crate) fn help_last_error(&mut self, help: String) {
        if let Some(error) = self.errors.last_mut().filter(|_| self.errors_left_out == 0) {
            error.help = Some(help);
        }
    }

    /// Adds all of another collection.
    pub fn append(&mut self, other: Diagnostics) {
        self.errors_left_out += other.errors_left_out;
        self.secrets.extend(other.secrets);
        for diagnostic in other.errors.into_iter().chain(other.warnings) {
            self.push(diagnostic);
        }
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The errors so far.
    pub fn errors(&self) -> &[Diagnostic] {
        &self.errors
    }

    /// The warnings so far.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The warnings when there is no error; otherwise all errors, in the order of the lines.
    pub fn finish(mut self) -> Result<Vec<Diagnostic>, Errors> {
        for diagnostic in self.errors.iter_mut().chain(&mut self.warnings) {
            let places = diagnostic.position.iter().chain(diagnostic.related.iter().map(|related| &related.position));
            diagnostic.secret |= places.into_iter().any(|place| self.secrets.contains(place));
        }
        sort_by_place(&mut self.warnings);
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        sort_by_place(&mut self.errors);
        if self.errors_left_out > 0 {
            let more = format!("{} more errors are not shown", self.errors_left_out);
            self.errors.push(Diagnostic::error(Path::root(), more));
        }
        Err(Errors(self.errors))
    }

    /// `value` and the warnings when there is no error; otherwise all errors.
    ///
    /// A reader that gives no value must have reported why; should it not, that is an error of its own.
    pub fn finish_with<T>(self, value: Option<T>) -> Result<(T, Vec<Diagnostic>), Errors> {
        let warnings = self.finish()?;
        let without_reason = "the configuration was refused without a reason: please report it";
        match value {
            Some(value) => Ok((value, warnings)),
            None => Err(Errors::one(Diagnostic::error(Path::root(), without_reason))),
        }
    }
}

/// Sorts within each file by line and column; files stay in the order of their first finding.
fn sort_by_place(list: &mut [Diagnostic]) {
    let mut sources = Vec::new();
    let keys: Vec<usize> = list
        .iter()
        .map(|diagnostic| match &diagnostic.position {
            None => 0,
            Some(position) => {
                let name = position.source().name().to_owned();
                let rank = sources.iter().position(|known| *known == name).unwrap_or_else(|| {
                    sources.push(name);
                    sources.len() - 1
                });
                rank + 1
            }
        })
        .collect();
    let mut order: Vec<usize> = (0..list.len()).collect();
    order.sort_by_key(|&i| {
        let place = list[i].position.as_ref().map_or((0, 0), |p| (p.line(), p.column()));
        (keys[i], place)
    });
    let sorted: Vec<Diagnostic> = order.into_iter().map(|i| list[i].clone()).collect();
    list.clone_from_slice(&sorted);
}

/// Findings as a JSON array.
pub fn json_array(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::from("[");
    for (i, diagnostic) in diagnostics.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        diagnostic.write_json(&mut out);
    }
    out.push(']');
    out
}

fn json_position(out: &mut String, position: &Position) {
    json_field(out, "file", position.source().name());
    out.push_str(&format!(",\"line\":{},\"column\":{}", position.line(), position.column()));
}

fn json_field(out: &mut String, name: &str, value: &str) {
    out.push('"');
    out.push_str(name);
    out.push_str("\":\"");
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
