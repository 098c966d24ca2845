//! For pull requests and pages.

use std::fmt::Write;

use parity::{Percent, Subject, Verdict};

use crate::columns::number;
use crate::document::{Document, Suggestions, adds_nothing, headline, other_names, repeats, shown, subjects_of};

/// So many parts of a subject that differs are shown.
const PARTS_MAX: usize = 20;
/// So many subjects that differ are shown with their parts.
const DETAILED_MAX: usize = 50;
/// So many that are equal are shown without a fold.
const FOLDED_MIN: usize = 10;

pub(crate) fn write(document: &Document) -> String {
    let mut out = format!("# Parity: {}\n\n", document.verdict.name());
    let _ = writeln!(out, "{}.\n", document.summary());
    let (margin, confidence) = (Percent(document.margin_ratio), document.confidence * 100.0);
    let _ = writeln!(out, "Asked: equal within {margin} at {confidence:.0} %.\n");
    let _ = writeln!(out, "| side | source | time | items |\n|---|---|---|---:|");
    for (name, side) in document.sources() {
        let _ = writeln!(out, "| {name} | {} | {} | {} |", code(&side.source), side.time(), number(side.items));
    }
    for remark in document.remarks() {
        let _ = writeln!(out, "\n> Note: {}", text(&remark));
    }
    write_suggestions(&mut out, document);
    write_subjects(&mut out, document);
    document.differing().take(DETAILED_MAX).for_each(|subject| write_difference(&mut out, subject));
    if let Some(more) = document.not_detailed(DETAILED_MAX) {
        let _ = writeln!(out, "\n{more}.");
    }
    for (explanation, subjects) in document.found_failures() {
        let parity::Explanation { title, explanation, example, remedy } = explanation;
        let _ = writeln!(out, "\n## {}\n\n{}", text(title), text(explanation));
        let _ = writeln!(out, "\nSubjects: {}.", subjects_of(&subjects, code));
        let _ = writeln!(out, "\nExample: {}\n\nRemedy: {}", text(example), text(remedy));
    }
    out
}

/// What would help. No line of the configuration begins with what would end its fence.
fn write_suggestions(out: &mut String, document: &Document) {
    let Some(Suggestions { words, configuration }) = document.suggestions() else { return };
    out.push_str("\n**What would help**\n\n");
    for sentence in &words {
        let _ = writeln!(out, "- {}", text(sentence));
    }
    let _ = writeln!(out, "\n```yaml\n{configuration}```");
}

/// What is equal is folded away where there is much of it.
fn write_subjects(out: &mut String, document: &Document) {
    let (equal, others): (Vec<&Subject>, Vec<&Subject>) =
        document.by_urgency().into_iter().partition(|subject| matches!(subject.verdict, Verdict::Equivalent { .. }));
    let (shown_equal, folded) = if equal.len() > FOLDED_MIN { (Vec::new(), equal) } else { (equal, Vec::new()) };
    write_rows(out, others.into_iter().chain(shown_equal).collect());
    if !folded.is_empty() {
        let _ = writeln!(out, "\n<details><summary>{} equivalent</summary>", folded.len());
        write_rows(out, folded);
        let _ = writeln!(out, "\n</details>");
    }
}

fn write_rows(out: &mut String, subjects: Vec<&Subject>) {
    if !subjects.is_empty() {
        let _ = writeln!(out, "\n| verdict | signal | subject | in words |\n|---|---|---|---|");
    }
    for subject in subjects {
        let (verdict, name, sentence) = (shown(&subject.verdict), code(&subject.name), text(&headline(subject)));
        let _ = writeln!(out, "| {verdict} | {} | {name} | {sentence} |", subject.signal);
    }
}

fn write_difference(out: &mut String, subject: &Subject) {
    if adds_nothing(subject) {
        return;
    }
    let _ = writeln!(out, "\n## {}\n\n{}.", code(&subject.name), text(&subject.sentence));
    if let Some(names) = other_names(subject) {
        let _ = writeln!(out, "\nNames: {}.", text(&names));
    }
    let differing = subject.parts.iter().filter(|part| matches!(part.verdict, Verdict::Different(_)));
    let differing = differing.filter(|_| !repeats(subject));
    for (at, part) in differing.take(PARTS_MAX).enumerate() {
        let gap = if at == 0 { "\n" } else { "" };
        let _ = writeln!(out, "{gap}- {}: {}", code(&part.name), text(&part.sentence));
    }
    if let Some(failure) = subject.failure {
        let _ = writeln!(out, "\nFailure: {}.", text(failure.explain().title));
    }
}

/// Text in which nothing is markup, on one line.
fn text(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A name as code. Where it holds a backtick or a bar, which code in tables cannot, it is text.
fn code(name: &str) -> String {
    match name.contains(['`', '|']) || name.contains(char::is_control) || name.is_empty() {
        true => text(name),
        false => format!("`{name}`"),
    }
}
