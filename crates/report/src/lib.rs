//! A comparison as a person or a program reads it: a table for the terminal, JSON, JUnit, Markdown, and a page of its own.
//!
//! Everything that comes from outside is made inert in each form. This crate does no I/O.

pub mod columns;
mod control;
mod document;
pub mod grafana;
mod html;
mod junit;
mod markdown;
mod table;
#[cfg(test)]
mod tests;

use parity::Charts;

pub use control::ControlSummary;
pub use document::{Document, Overall, SideSummary, shown_time};

/// For programs; `docs/parity-report.schema.json` describes it.
///
/// # Errors
/// None that a document of this crate can cause.
pub fn json(document: &Document) -> serde_json::Result<String> {
    serde_json::to_string_pretty(document).map(|text| text + "\n")
}

/// For a terminal of so many columns; without them each line is as long as what it says.
pub fn table(document: &Document, columns: Option<usize>) -> String {
    table::write(document, columns)
}

/// For CI: a test case for each subject.
pub fn junit(document: &Document) -> String {
    junit::write(document)
}

/// For pull requests and pages.
pub fn markdown(document: &Document) -> String {
    markdown::write(document)
}

/// A page of its own, with charts of what differs.
pub fn html(document: &Document, charts: &Charts) -> String {
    html::write(document, charts)
}
