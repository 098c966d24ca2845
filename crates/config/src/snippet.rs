//! A finding with the line it is about and a caret under the value.
//!
//! A line may hold more than the value in question, and some of that may be secret. So values of other keys on the
//! same line are replaced by `…`; the value in question stays, unless it is a secret itself.

use std::fmt::Write as _;

use saphyr_parser::{Event, Parser, Span};

use crate::diagnostic::{Diagnostic, Severity};
use crate::path::printable;
use crate::source::Position;

const LINE_CHARS_MAX: usize = 160;

/// A scalar on the line: its columns, counted from zero, and what it is to the collection around it.
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

/// Appends the whole finding, several lines.
pub(crate) fn render(out: &mut String, diagnostic: &Diagnostic) {
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
        excerpt(out, "-->", position, diagnostic.secret);
    }
    for related in &diagnostic.related {
        let _ = writeln!(out, "   = {}:", related.note);
        excerpt(out, ":::", &related.position, diagnostic.secret);
    }
    if let Some(help) = &diagnostic.help {
        let _ = writeln!(out, "   = help: {help}");
    }
}

fn excerpt(out: &mut String, arrow: &str, position: &Position, secret: bool) {
    let _ = writeln!(out, "  {arrow} {position}");
    let Some(line) = position.source().line(position.line()) else { return };
    let (text, caret, width) = shown_line(line, position, secret);
    let number = position.line().to_string();
    let gutter = " ".repeat(number.len());
    let _ = writeln!(out, "{gutter} |");
    let _ = writeln!(out, "{number} | {text}");
    let _ = writeln!(out, "{gutter} | {}{}", " ".repeat(caret), "^".repeat(width.max(1)));
}

/// The line with foreign values replaced, the column of the caret in it, and how many carets.
fn shown_line(line: &str, position: &Position, secret: bool) -> (String, usize, usize) {
    let at = (position.column() as usize).saturating_sub(1);
    let Some(tokens) = tokens_on_line(position) else { return cut_at_value(line, at) };
    let subject = tokens.iter().find(|token| token.start == at);
    let subject_role = subject.map(|token| token.role);
    let chars: Vec<char> = line.chars().collect();
    let (mut text, mut caret, mut column) = (String::new(), at, 0);
    let mut width = subject.map_or(1, |token| token.end.min(chars.len()).saturating_sub(token.start));
    for token in tokens.iter().filter(|token| token.role != Role::Key) {
        let is_subject = token.start == at;
        let keep = (is_subject && !secret) || (token.role == Role::Item && subject_role == Some(Role::Item) && !secret);
        if keep || token.start < column {
            continue;
        }
        push_chars(&mut text, &chars, column, token.start);
        if is_subject {
            (caret, width) = (text.chars().count(), 1);
        }
        text.push('…');
        let end = token.end.min(chars.len());
        if token.start < at && !is_subject {
            caret = (caret + 1 + token.start).saturating_sub(end.max(token.start));
        }
        column = end;
    }
    push_chars(&mut text, &chars, column, chars.len());
    if caret > LINE_CHARS_MAX {
        return (printable(&text, LINE_CHARS_MAX), 0, 1);
    }
    (printable(&text.replace('\t', " "), LINE_CHARS_MAX), caret, width.min(LINE_CHARS_MAX))
}

fn push_chars(text: &mut String, chars: &[char], from: usize, to: usize) {
    text.extend(chars.get(from..to.min(chars.len())).unwrap_or_default());
}

/// For a line that is no YAML: what stands after the first `:` may be a secret, so only what is before is shown.
fn cut_at_value(line: &str, at: usize) -> (String, usize, usize) {
    let shown = match line.find(": ") {
        Some(colon) => format!("{}: …", &line[..colon]),
        None => line.to_owned(),
    };
    let shown = printable(&shown.replace('\t', " "), LINE_CHARS_MAX);
    let caret = at.min(shown.chars().count());
    (shown, caret, 1)
}

/// The scalars that stand on the line of `position`; none when the text is no YAML up to there.
fn tokens_on_line(position: &Position) -> Option<Vec<Token>> {
    let line = position.line() as usize;
    let mut tokens = Vec::new();
    // What the next scalar is: one entry for each open collection.
    let mut open: Vec<Option<Role>> = Vec::new();
    for event in Parser::new_from_str(position.source().text()) {
        let (event, span) = event.ok()?;
        if span.start.line() > line {
            break;
        }
        match event {
            Event::Scalar(..) | Event::Alias(_) => {
                let role = next_role(&mut open);
                tokens.extend(on_line(span, line, role));
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
            _ => {}
        }
    }
    Some(tokens)
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
