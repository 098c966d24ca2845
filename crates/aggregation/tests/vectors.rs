//! What other implementations' tests expect, under `testdata/vectors`.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

#[test]
fn packets_mean_what_they_mean_to_others() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vectors");
    let mut checked = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let mut options = String::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            if let Some(option) = line.strip_prefix("! ") {
                option.clone_into(&mut options);
            } else if !line.starts_with('#') {
                let (packet, expected) = line.split_once(" => ").unwrap();
                support::check(&options, &packet.replace('␤', "\n"), &expected.replace(" ; ", "\n"));
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "{checked}");
}
