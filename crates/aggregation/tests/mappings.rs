//! Mapping files under `testdata/mapping`, and what they make of lines. `UPDATE_GOLDEN=1` rewrites the errors.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use aggregation::statsd::{Mappings, Settings};
use support::check_settings;

fn check(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let expected_path = path.with_extension("txt");
    if let Err(errors) = Mappings::parse(name, &text) {
        let found = format!("error\n{errors}\n");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected_path, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&expected_path).unwrap(), "{name}");
        return;
    }
    for line in fs::read_to_string(&expected_path).unwrap().lines() {
        let (line, expected) = line.split_once(" => ").unwrap_or_else(|| panic!("{name}: no => in {line}"));
        let settings = Settings::default().with_mappings(Mappings::parse(name, &text).unwrap());
        check_settings(settings, line.as_bytes(), expected);
    }
}

#[test]
fn mapping_files_mean_what_they_mean_to_statsd_exporter() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/mapping");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yml") {
            check(&path);
            files += 1;
        }
    }
    assert!(files >= 6);
}

#[test]
fn a_type_of_the_receiver_is_for_what_the_file_leaves_open() {
    let options = "timer_histogram_mapping: [{statsd_type: timing, observer_type: gauge}]";
    let file = "mappings: [{match: a, name: b}, {match: c, name: d, observer_type: summary}]";
    let mapped = || support::settings(options).with_mappings(Mappings::parse("m.yml", file).unwrap());
    check_settings(mapped(), b"a:500|ms", "b [s] gauge=0.5");
    check_settings(mapped(), b"c:500|ms", "d [s] summary count=1 sum=0.5 0.5:0.5 0.9:0.5 0.99:0.5");
}
