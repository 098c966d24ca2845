//! What the tests of all log formats share.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use otlp::Batch;

/// A batch as OTLP's JSON, one line for each resource and each log record.
pub(crate) fn described(batch: &Batch) -> String {
    // What came from outside is checked as anything else would be.
    let checked = Batch::parse(otlp::Signal::Logs, batch.bytes().clone(), &otlp::Limits::default()).unwrap();
    assert_eq!(checked.items(), batch.items());
    let mut json = Vec::new();
    otlp::json::encode(batch, &mut json);
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let mut out = String::new();
    let list = |value: &serde_json::Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    for block in list(&value, "resourceLogs") {
        let _ = writeln!(out, "resource {}", block["resource"]);
        for record in list(&block, "scopeLogs").iter().flat_map(|scope| list(scope, "logRecords")) {
            let _ = writeln!(out, "  {record}");
        }
    }
    out
}

/// Compares what `describe` makes of each input `testdata/<directory>/*.<extension>` with the `.expected` beside it.
/// `UPDATE_GOLDEN=1` writes those anew.
pub(crate) fn golden(directory: &str, extension: &str, describe: impl Fn(&[u8]) -> String) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(directory);
    let mut found: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    assert!(!found.is_empty(), "no {extension} files in {}", directory.display());
    for path in found {
        let described = describe(&std::fs::read(&path).unwrap());
        let golden = path.with_extension(format!("{extension}.expected"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &described).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(described, expected, "{}", path.display());
    }
}

/// Runs `entry` on mutations of `inputs`, and of mutations of them. `FUZZ_ITERATIONS` and `FUZZ_SEED` change how many
/// and which.
pub(crate) fn fuzz(inputs: &[Vec<u8>], interesting: &[u8], entry: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let setting = |name| std::env::var(name).ok().and_then(|value: String| value.parse().ok());
    let mut rng = fastrand::Rng::with_seed(setting("FUZZ_SEED").unwrap_or(0x10c5));
    let mut input = Vec::new();
    for iteration in 0..setting("FUZZ_ITERATIONS").unwrap_or(10_000) {
        match iteration % 8 {
            0 | 4 => input.clone_from(&inputs[rng.usize(0..inputs.len())]),
            7 => {
                input.resize(rng.usize(0..64), 0);
                rng.fill(&mut input);
            }
            _ => {}
        }
        mutate(&mut rng, &mut input, interesting);
        if let Err(panic) = std::panic::catch_unwind(|| entry(&input)) {
            eprintln!("iteration {iteration}, input {input:02x?}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn mutate(rng: &mut fastrand::Rng, bytes: &mut Vec<u8>, interesting: &[u8]) {
    let at = rng.usize(0..=bytes.len());
    let end = (at + rng.usize(0..16)).min(bytes.len());
    match rng.u8(0..7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
        1 if at < bytes.len() => bytes[at] = interesting[rng.usize(0..interesting.len())],
        2 => bytes.insert(at, interesting[rng.usize(0..interesting.len())]),
        3 => drop(bytes.drain(at..end)),
        4 if bytes.len() < 4096 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        5 if rng.u8(0..4) == 0 => bytes.truncate(at),
        _ if at < bytes.len() && bytes[at].is_ascii_alphanumeric() => bytes[at] = rng.alphanumeric() as u8,
        _ => {}
    }
}
