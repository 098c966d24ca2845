//! For a terminal.

use std::fmt::Write;

use parity::{Percent, Subject, Verdict};

use crate::columns::number;
use crate::document::{Document, Suggestions, adds_nothing, depths_of, headline, other_names, shown, subjects_of};

/// So many parts of a subject that differs are shown.
const PARTS_MAX: usize = 5;
/// So many subjects that differ are shown with their parts.
const DETAILED_MAX: usize = 50;
/// No terminal is taken for narrower than this.
const WIDTH_MIN: usize = 60;
/// Where details begin: after the words `remedy`, `where` and so on.
const INDENT: usize = 13;

pub(crate) fn write(document: &Document, width: Option<usize>) -> String {
    let width = width.map_or(usize::MAX, |width| width.max(WIDTH_MIN));
    let mut out = String::new();
    write_subjects(&mut out, document, width);
    document.differing().take(DETAILED_MAX).for_each(|subject| write_difference(&mut out, subject, width));
    write_failures(&mut out, document, width);
    write_suggestions(&mut out, document, width);
    if let Some(more) = document.not_detailed(DETAILED_MAX) {
        let _ = writeln!(out, "note: {more}");
    }
    for remark in document.remarks() {
        out.push_str(&wrapped(&format!("note: {}", printable(&remark)), width, 6));
    }
    for (name, side) in document.sources() {
        let line = format!("{name:<6}  {}: {} items, {}", printable(&side.source), number(side.items), side.time());
        out.push_str(&wrapped(&line, width, 8));
    }
    let (margin, confidence) = (Percent(document.margin_ratio), document.confidence * 100.0);
    let summary = format!("{} (margin {margin}, confidence {confidence:.0} %)", document.summary());
    out.push_str(&wrapped(&summary, width, 0));
    out
}

/// A line for each subject, whose words go on below each other where the terminal ends.
fn write_subjects(out: &mut String, document: &Document, width: usize) {
    let subjects = document.by_urgency();
    let Some(first) = subjects.first() else { return };
    // One signal alone needs no column.
    let of_one_signal = subjects.iter().all(|subject| subject.signal == first.signal);
    let mut rows = vec![["verdict", "signal", "subject", "in words"].map(str::to_owned)];
    for subject in &subjects {
        rows.push([shown(&subject.verdict), subject.signal, &subject.name, &headline(subject)].map(printable));
    }
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (verdicts, signals) = (widest(0), widest(1));
    // A few long names are no reason to leave the words no room.
    let names = widest(2).min(width / 5 * 2);
    for [verdict, signal, name, words] in &rows {
        let mut line = format!("{verdict:<verdicts$}  ");
        if !of_one_signal {
            let _ = write!(line, "{signal:<signals$}  ");
        }
        let indent = line.chars().count() + names + 2;
        let _ = write!(line, "{name:<names$}  ");
        if line.chars().count() > indent {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(indent);
        }
        out.push_str(&wrapped(&format!("{line}{words}"), width, indent));
    }
    out.push('\n');
}

fn write_difference(out: &mut String, subject: &Subject, width: usize) {
    if adds_nothing(subject) {
        return;
    }
    let _ = writeln!(out, "{}", printable(&subject.name));
    let mut line = |word: &str, text: &str| {
        out.push_str(&wrapped(&format!("  {word:<11}{}", printable(text)), width, INDENT));
    };
    if let Some(names) = other_names(subject) {
        line("names", &names);
    }
    if let Some(depths) = depths_of(subject) {
        line("depths", &depths);
    }
    let differing = || subject.parts.iter().filter(|part| matches!(part.verdict, Verdict::Different(_)));
    for part in differing().take(PARTS_MAX) {
        line("where", &format!("{}: {}", part.name, part.sentence));
    }
    let more = differing().count().saturating_sub(PARTS_MAX);
    if more > 0 {
        line("", &format!("and {more} more"));
    }
    if let Some(failure) = subject.failure {
        line("failure", failure.explain().title);
    }
    out.push('\n');
}

/// Each failure once, with what it concerns and what to do.
fn write_failures(out: &mut String, document: &Document, width: usize) {
    for (explanation, subjects) in document.found_failures() {
        let parity::Explanation { title, explanation, remedy, .. } = explanation;
        let (count, plural) = (subjects.len(), if subjects.len() == 1 { "" } else { "s" });
        let names = subjects_of(&subjects, printable);
        let _ = writeln!(out, "{title}, {count} subject{plural}");
        out.push_str(&wrapped(&format!("  {explanation}"), width, 2));
        out.push_str(&wrapped(&format!("  {:<11}{names}", "subjects"), width, INDENT));
        out.push_str(&wrapped(&format!("  {:<11}{remedy}\n", "remedy"), width, INDENT));
    }
}

/// What would help. What is to be copied ends no line of its own accord.
fn write_suggestions(out: &mut String, document: &Document, width: usize) {
    let Some(Suggestions { words, configuration }) = document.suggestions() else { return };
    out.push_str("What would help\n");
    for sentence in &words {
        out.push_str(&wrapped(&format!("  {}", printable(sentence)), width, 4));
    }
    out.push('\n');
    for line in configuration.lines() {
        let _ = writeln!(out, "  {}", printable(line));
    }
    out.push('\n');
}

/// Lines that end before the width, where there are spaces to end them at; all but the first are indented.
fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for line in text.split('\n') {
        let mut rest = line;
        let mut room = width;
        // The indent of the first line is no place to end it.
        let mut least = indent.min(line.chars().count());
        while let Some((end, _)) = rest.char_indices().nth(room) {
            let start = rest.char_indices().nth(least).map_or(0, |(at, _)| at);
            // A number keeps its percent sign.
            let is_end = |at: &usize| *at >= start && !rest[at + 1..].starts_with('%');
            let mut spaces = rest.match_indices(' ').map(|(at, _)| at).filter(is_end);
            let first = spaces.next();
            let Some(at) = spaces.take_while(|at| *at <= end).last().or(first) else { break };
            out.push_str(rest[..at].trim_end());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            rest = &rest[at + 1..];
            (room, least) = (width - indent.min(width - 1), 1);
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

/// Nothing that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_a_word_without_an_end_stays_whole() {
        for (text, width, indent, expected) in [
            ("one two three", 20, 2, "one two three\n"),
            ("one two three", 9, 2, "one two\n  three\n"),
            ("name  one two three", 12, 6, "name  one\n      two\n      three\n"),
            ("a_very_long_word and more", 8, 2, "a_very_long_word\n  and\n  more\n"),
            ("ünïcödé wörds", 8, 0, "ünïcödé\nwörds\n"),
            ("misses 1.8 % of all", 11, 0, "misses\n1.8 % of\nall\n"),
            ("", 8, 2, "\n"),
            ("one two", usize::MAX, 2, "one two\n"),
        ] {
            assert_eq!(wrapped(text, width, indent), expected, "{text}");
        }
    }
}
