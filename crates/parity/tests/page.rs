//! The page about parity says what the code says.
#![allow(missing_docs)]

use std::path::Path;

use parity::Failure;

/// The table of failures, as the page has it.
fn table() -> String {
    let mut table = String::from("| name | what happens | example | remedy |\n|---|---|---|---|\n");
    for failure in Failure::ALL {
        let explanation = failure.explain();
        let cells = [explanation.explanation, explanation.example, explanation.remedy];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let name = failure.name();
        table += &format!("| **{}** (`{name}`) | {} |\n", explanation.title, cells.join(" | "));
    }
    table
}

#[test]
fn the_page_explains_the_failures_as_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/parity.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains(&table()), "docs/parity.md should have this table:\n{}", table());
}
