//! For CI: a test case for each subject.

use std::fmt::Write;

use parity::{Subject, Verdict};

use crate::document::{Document, Suggestions, other_names};

pub(crate) fn write(document: &Document) -> String {
    let counted = |verdict: &str| document.report.counts.get(verdict).copied().unwrap_or(0);
    let open = u64::from(document.report.left_out > 0) + document.notes.len() as u64;
    let tests = document.report.subjects.len() as u64 + open;
    let failures = counted("different");
    let skipped = counted("inconclusive") + counted("not_comparable") + open;
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"");
    let _ = writeln!(out, "<testsuites name=\"crossfade parity\" {counts}>");
    let _ = writeln!(out, "  <testsuite name=\"parity\" {counts}>");
    write_suggestions(&mut out, document);
    for subject in &document.report.subjects {
        write_case(&mut out, subject);
    }
    let left_out = (document.report.left_out > 0).then(|| format!("{} items were left out", document.report.left_out));
    for (at, note) in document.notes.iter().cloned().chain(left_out).enumerate() {
        let (at, note) = (at + 1, escaped(&note));
        let _ = writeln!(
            out,
            "    <testcase classname=\"parity\" name=\"note {at}\"><skipped message=\"{note}\"/></testcase>"
        );
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// What would help, as properties: it neither fails nor passes.
fn write_suggestions(out: &mut String, document: &Document) {
    let Some(Suggestions { words, configuration }) = document.suggestions() else { return };
    out.push_str("    <properties>\n");
    let suggestions = words.iter().map(|sentence| ("suggestion", sentence));
    for (name, value) in suggestions.chain([("suggested_configuration", &configuration)]) {
        let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escaped(value));
    }
    out.push_str("    </properties>\n");
}

fn write_case(out: &mut String, subject: &Subject) {
    let (signal, name, sentence) = (subject.signal, escaped(&subject.name), escaped(&subject.sentence));
    let _ = write!(out, "    <testcase classname=\"parity.{signal}\" name=\"{name}\"");
    match &subject.verdict {
        Verdict::Equivalent { .. } => {
            let _ = writeln!(out, "><system-out>{sentence}</system-out></testcase>");
        }
        Verdict::Inconclusive { .. } | Verdict::NotComparable { .. } => {
            let kind = crate::document::shown(&subject.verdict);
            let _ = writeln!(out, "><skipped message=\"{kind}: {sentence}\"/></testcase>");
        }
        Verdict::Different(_) => {
            let kind = subject.failure.map_or("different", parity::Failure::name);
            let _ = writeln!(
                out,
                ">\n      <failure type=\"{kind}\" message=\"{sentence}\">{}</failure>\n    </testcase>",
                escaped(&details(subject))
            );
        }
    }
}

/// Where it differs, and what to do about it.
fn details(subject: &Subject) -> String {
    let differing = subject.parts.iter().filter(|part| matches!(part.verdict, Verdict::Different(_)));
    let parts = differing.map(|part| format!("{}: {}", part.name, part.sentence));
    let failure = subject.failure.map(parity::Failure::explain);
    let failure = failure.map(|explanation| format!("{}. {}", explanation.title, explanation.remedy));
    other_names(subject).into_iter().chain(parts).chain(failure).collect::<Vec<_>>().join("\n")
}

/// Text for XML, elements and attributes alike; characters that XML 1.0 has not become replacement characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
