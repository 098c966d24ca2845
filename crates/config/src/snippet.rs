//! A finding with the line it is about and a caret under the value.
//!
//! A line may hold more than the value in question, and some of that may be secret. So values of other keys on the
//! same line are replaced by `…`; the value in question stays, unless it is a secret itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, Span};

use crate::diagnostic::{Diagnostic, Severity};
use crate::path::printable;
use crate::source::{Position, Source};

const LINE_CHARS_MAX: usize = 160;
const OPEN_WORD_CHARS_MAX: usize = 24;

/// A scalar on a line: its columns, counted from zero, and what it is to the collection around it.
struct Token {
    start: usize,
    end: usize,
    role: Role,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Key,
    Value,
    Item,
}

/// A line that a finding is about.
#[derive(Default)]
struct Line {
    text: Option<String>,
    /// The scalars on it; none when the text is no YAML up to the end of the line.
    tokens: Option<Vec<Token>>,
}

/// The lines that some findings are about. Each text is read once, however many findings there are.
pub(crate) struct Lines {
    sources: Vec<(Arc<Source>, HashMap<usize, Line>)>,
}

// === impl Lines ===

impl Lines {
    /// Collects the lines of all places in `diagnostics`.
    pub(crate) fn of<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostic>) -> Lines {
        let mut lines = Lines { sources: Vec::new() };
        for diagnostic in diagnostics {
            let related = diagnostic.related.iter().map(|related| &related.position);
            for position in diagnostic.position.iter().chain(related) {
                lines.want(position);
            }
        }
        for (source, wanted) in &mut lines.sources {
            for (i, text) in source.lines().enumerate() {
                if let Some(line) = wanted.get_mut(&(i + 1)) {
                    line.text = Some(text.to_owned());
                }
            }
            collect_tokens(source, wanted);
        }
        lines
    }

    fn want(&mut self, position: &Position) {
        let known = self.sources.iter().position(|(source, _)| Arc::ptr_eq(source, position.source()));
        let at = known.unwrap_or_else(|| {
            self.sources.push((Arc::clone(position.source()), HashMap::new()));
            self.sources.len() - 1
        });
        self.sources[at].1.entry(position.line() as usize).or_default();
    }

    fn line(&self, position: &Position) -> Option<&Line> {
        let (_, lines) = self.sources.iter().find(|(source, _)| Arc::ptr_eq(source, position.source()))?;
        lines.get(&(position.line() as usize))
    }

    /// Appends a whole finding, several lines.
    pub(crate) fn render(&self, out: &mut String, diagnostic: &Diagnostic) {
        let severity = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        out.push_str(severity);
        out.push_str(": ");
        if !diagnostic.path.is_root() {
            let _ = write!(out, "{}: ", diagnostic.path);
        }
        out.push_str(&diagnostic.message);
        out.push('\n');
        if let Some(position) = &diagnostic.position {
            self.excerpt(out, "-->", position, diagnostic.secret);
        }
        for related in &diagnostic.related {
            let _ = writeln!(out, "   = {}:", related.note);
            self.excerpt(out, ":::", &related.position, diagnostic.secret);
        }
        if let Some(help) = &diagnostic.help {
            let _ = writeln!(out, "   = help: {help}");
        }
    }

    fn excerpt(&self, out: &mut String, arrow: &str, position: &Position, secret: bool) {
        let _ = writeln!(out, "  {arrow} {position}");
        let Some(line) = self.line(position) else { return };
        let Some(text) = &line.text else { return };
        let (text, caret, width) = shown_line(text, line.tokens.as_deref(), position, secret);
        let number = position.line().to_string();
        let gutter = " ".repeat(number.len());
        let _ = writeln!(out, "{gutter} |");
        let _ = writeln!(out, "{number} | {text}");
        let _ = writeln!(out, "{gutter} | {}{}", " ".repeat(caret), "^".repeat(width.max(1)));
    }
}

/// The line with foreign values replaced, the column of the caret in it, and how many carets.
fn shown_line(line: &str, tokens: Option<&[Token]>, position: &Position, secret: bool) -> (String, usize, usize) {
    let at = (position.column() as usize).saturating_sub(1);
    let Some(tokens) = tokens else { return cut_at_value(line, at) };
    let subject = tokens.iter().find(|token| token.start == at);
    let subject_role = subject.map(|token| token.role);
    let chars: Vec<char> = line.chars().collect();
    let (mut text, mut caret, mut column) = (String::new(), at, 0);
    let mut width = subject.map_or(1, |token| token.end.min(chars.len()).saturating_sub(token.start));
    for token in tokens.iter().filter(|token| token.role != Role::Key) {
        // A block scalar reaches into the indentation of the line behind it.
        let part = chars.get(token.start..token.end.min(chars.len())).unwrap_or_default();
        let is_subject = token.start == at;
        let is_sibling = token.role == Role::Item && subject_role == Some(Role::Item);
        if token.start < column || part.iter().all(|c| c.is_whitespace()) || ((is_subject || is_sibling) && !secret) {
            continue;
        }
        push_chars(&mut text, &chars, column, token.start);
        let end = token.end.min(chars.len());
        if is_subject {
            (caret, width) = (text.chars().count(), 1);
        } else if token.start < at {
            caret = (caret + 1 + token.start).saturating_sub(end);
        }
        text.push('…');
        column = end;
    }
    push_chars(&mut text, &chars, column, chars.len());
    let text = printable(&text.replace('\t', " "), LINE_CHARS_MAX);
    // A caret beyond what is shown of a very long line would point at nothing.
    if caret > LINE_CHARS_MAX { (text, 0, 1) } else { (text, caret, width.min(LINE_CHARS_MAX + 1 - caret)) }
}

fn push_chars(text: &mut String, chars: &[char], from: usize, to: usize) {
    text.extend(chars.get(from..to.min(chars.len())).unwrap_or_default());
}

/// For a line that is no YAML: what stands behind the first `:` may be a secret, and so may a long word that stands
/// alone, such as a line of a key.
fn cut_at_value(line: &str, at: usize) -> (String, usize, usize) {
    let shown = match line.find(": ") {
        Some(colon) => format!("{}: …", &line[..colon]),
        None => line.to_owned(),
    };
    let words = shown.split(' ').map(|word| if word.chars().count() > OPEN_WORD_CHARS_MAX { "…" } else { word });
    let shown = printable(&words.collect::<Vec<_>>().join(" ").replace('\t', " "), LINE_CHARS_MAX);
    let caret = at.min(shown.chars().count());
    (shown, caret, 1)
}

/// Finds the scalars on the wanted lines of a text.
fn collect_tokens(source: &Source, wanted: &mut HashMap<usize, Line>) {
    // What the next scalar is: one entry for each open collection.
    let mut open: Vec<Option<Role>> = Vec::new();
    let mut found: HashMap<usize, Vec<Token>> = HashMap::new();
    let last = wanted.keys().copied().max().unwrap_or_default();
    let mut sound_before = 0;
    for event in Parser::new_from_str(source.text()) {
        let Ok((event, span)) = event else { break };
        sound_before = span.start.line();
        if sound_before > last {
            break;
        }
        match event {
            Event::Scalar(..) | Event::Alias(_) => {
                let role = next_role(&mut open);
                for line in span.start.line()..=span.end.line().min(last) {
                    if wanted.contains_key(&line) {
                        found.entry(line).or_default().extend(on_line(span, line, role));
                    }
                }
            }
            Event::MappingStart(..) => {
                next_role(&mut open);
                open.push(Some(Role::Key));
            }
            Event::SequenceStart(..) => {
                next_role(&mut open);
                open.push(None);
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
            }
            Event::StreamEnd => sound_before = usize::MAX,
            _ => {}
        }
    }
    for (number, line) in wanted {
        if *number < sound_before {
            line.tokens = Some(found.remove(number).unwrap_or_default());
        }
    }
}

/// The role of a value that starts now; in a map, keys and values alternate.
fn next_role(open: &mut [Option<Role>]) -> Role {
    match open.last_mut() {
        None => Role::Value,
        Some(None) => Role::Item,
        Some(Some(role)) => {
            let now = *role;
            *role = if now == Role::Key { Role::Value } else { Role::Key };
            now
        }
    }
}

/// The part of a scalar that stands on `line`.
fn on_line(span: Span, line: usize, role: Role) -> Option<Token> {
    if span.start.line() > line || span.end.line() < line || span.start == span.end {
        return None;
    }
    let start = if span.start.line() == line { span.start.col() } else { 0 };
    let end = if span.end.line() == line { span.end.col() } else { usize::MAX };
    (start < end).then_some(Token { start, end, role })
}
