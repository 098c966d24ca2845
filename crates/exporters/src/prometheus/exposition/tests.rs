use std::fs;
use std::path::{Path, PathBuf};

use otlp::{Batch, Limits, Signal};
use prom::text::{Entry, Parser};

use super::super::testing::{Bench, OPEN_METRICS, TEXT};
use super::*;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/prometheus");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 7);
    cases
}

fn batches(case: &Path) -> Vec<Batch> {
    let lines = fs::read_to_string(case.join("batches.jsonl")).unwrap();
    let decode = |line: &str| otlp::json::decode(Signal::Metrics, line.as_bytes(), &Limits::default()).unwrap();
    lines.lines().map(decode).collect()
}

fn merged(case: &Path) -> Bench {
    let bench = Bench::new(&fs::read_to_string(case.join("options.yaml")).unwrap());
    for batch in batches(case) {
        bench.merge(&batch);
    }
    bench
}

/// Compares with a file; `UPDATE_GOLDEN=1` writes it.
fn golden(file: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, found).unwrap();
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    assert_eq!(found, expected, "{}", file.display());
}

const OLD_TEXT: Exposition = Exposition { escaping: NameEscaping::Underscores, ..TEXT };

#[test]
fn expositions_are_as_in_the_files() {
    for case in cases() {
        let bench = merged(&case);
        golden(&case.join("text.txt"), &bench.page(TEXT));
        golden(&case.join("openmetrics.txt"), &bench.page(OPEN_METRICS));
        if bench.with(|accumulator| accumulator.names.escaping()) == Escaping::None {
            golden(&case.join("text_without_utf8.txt"), &bench.page(OLD_TEXT));
        }
    }
}

/// What a scraper reads of a page: how many samples, families with a type, and exemplars.
fn read(page: &str, format: Format) -> (usize, usize, usize) {
    let mut parser = Parser::new(format, page.as_bytes(), prom::text::Limits::default());
    let (mut samples, mut types, mut exemplars) = (0, 0, 0);
    while let Some(entry) = parser.next_entry().unwrap_or_else(|error| panic!("{error}\n{page}")) {
        match entry {
            Entry::Sample(sample) => {
                samples += 1;
                exemplars += usize::from(sample.exemplar.is_some());
            }
            Entry::Type { .. } => types += 1,
            _ => {}
        }
    }
    (samples, types, exemplars)
}

#[test]
fn both_formats_are_read_back_with_the_same_samples() {
    for case in cases() {
        let bench = merged(&case);
        let text = read(&bench.page(TEXT), Format::Text);
        let open_metrics = read(&bench.page(OPEN_METRICS), Format::OpenMetrics);
        assert_eq!((text.0, text.1), (open_metrics.0, open_metrics.1), "{}", case.display());
        assert_eq!(text.2, 0);
        read(&bench.page(OLD_TEXT), Format::Text);
    }
}

#[test]
fn an_empty_store_is_an_empty_page() {
    let bench = Bench::new("");
    assert_eq!(bench.page(TEXT), "");
    assert_eq!(bench.page(OPEN_METRICS), "# EOF\n");
}

#[test]
fn exemplars_are_kept_only_where_they_can_be_shown() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/prometheus/kinds");
    let bench = Bench::new("enable_open_metrics: false");
    batches(&case).iter().for_each(|batch| drop(bench.merge(batch)));
    assert_eq!(read(&bench.page(OPEN_METRICS), Format::OpenMetrics).2, 0);
    assert_eq!(read(&merged(&case).page(OPEN_METRICS), Format::OpenMetrics).2, 4);
}
