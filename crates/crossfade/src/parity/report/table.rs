//! For a terminal.

use std::fmt::Write;

use parity::{Percent, Subject, Verdict};

use super::{Document, other_names, shown};
use crate::table::{Table, number};

/// So many parts of a subject that differs are shown.
const PARTS_MAX: usize = 5;
/// So many subjects that differ are shown with their parts.
const DETAILED_MAX: usize = 50;

pub(super) fn write(document: &Document) -> String {
    let mut table = Table::new(4, &["verdict", "signal", "subject", "in words"]);
    for subject in document.by_urgency() {
        let cells = [shown(&subject.verdict), subject.signal, &subject.name, &subject.sentence];
        table.row(cells.map(printable).into());
    }
    let mut out = String::new();
    if !document.report.subjects.is_empty() {
        let _ = writeln!(out, "{table}");
    }
    document.differing().take(DETAILED_MAX).for_each(|subject| write_difference(&mut out, subject));
    for (explanation, subjects) in document.found_failures() {
        let parity::Explanation { title, explanation, remedy, .. } = explanation;
        let _ = writeln!(out, "{title}, {subjects}\n  {explanation}\n  remedy     {remedy}\n");
    }
    if let Some(more) = document.not_detailed(DETAILED_MAX) {
        let _ = writeln!(out, "note: {more}");
    }
    for remark in document.remarks() {
        let _ = writeln!(out, "note: {}", printable(&remark));
    }
    for (name, side) in document.sources() {
        let _ = writeln!(out, "{name:<6}  {}: {} items, {}", printable(&side.source), number(side.items), side.time());
    }
    let (margin, confidence) = (Percent(document.margin_ratio), document.confidence * 100.0);
    let _ = writeln!(out, "{} (margin {margin}, confidence {confidence:.0} %)", document.summary());
    out
}

fn write_difference(out: &mut String, subject: &Subject) {
    let _ = writeln!(out, "{}", printable(&subject.name));
    let names = other_names(subject).into_iter().map(|names| format!("names      {names}"));
    let differing = subject.parts.iter().filter(|part| matches!(part.verdict, Verdict::Different(_)));
    let parts = differing.take(PARTS_MAX).map(|part| format!("where      {}: {}", part.name, part.sentence));
    let failure = subject.failure.map(|failure| format!("failure    {}", failure.explain().title));
    for line in names.chain(parts).chain(failure) {
        let _ = writeln!(out, "  {}", printable(&line));
    }
    out.push('\n');
}

/// Nothing that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
