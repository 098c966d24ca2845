//! Files of a real directory, followed by hand: each poll is a call, and so is each crash.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use component::{Listing, StorageHint, Storages};
use config::{ComponentId, Diagnostics, TestEnvironment};
use tempfile::TempDir;

use super::*;
use crate::operators::Value;

/// A directory, and a receiver that follows its files.
struct Rig {
    directory: TempDir,
    yaml: String,
    follower: Follower,
    now_unix_ns: u64,
    got: Vec<Entry>,
}

const POLL_NS: u64 = 200_000_000;

fn settings(yaml: &str, directory: &std::path::Path) -> Result<Settings, String> {
    let id: ComponentId = "filelog/test".parse().unwrap();
    let yaml = yaml.replace("DIR", directory.to_str().unwrap());
    let loaded = config::parse_str("test.yaml", &yaml, &TestEnvironment::new()).unwrap();
    let mut storages = Storages::none();
    let hint = StorageHint { directory: directory.join("storage") };
    storages.add("file_storage".parse().unwrap(), Listing::Listed, Some(hint));
    let mut diagnostics = Diagnostics::new();
    let context = BuildContext { storages: &storages, ..BuildContext::alone(&id) };
    let read = Section::open(&loaded.root, "receivers.filelog", &mut diagnostics)
        .read(|section| Settings::read(section, &context));
    diagnostics.finish_with(read).map(|(settings, _)| settings).map_err(|errors| errors.to_string())
}

impl Rig {
    fn new(options: &str) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let yaml = format!("include: DIR/*.log*\nstorage: file_storage\n{options}");
        let follower = open(settings(&yaml, directory.path()).unwrap_or_else(|errors| panic!("{errors}")));
        // Well behind the clock of the disk, so that no file is from before.
        let now_unix_ns = clock::unix_ns() + 1_000_000_000_000;
        Rig { directory, yaml, follower, now_unix_ns, got: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn copy_and_truncate(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
        OpenOptions::new().write(true).open(self.path(from)).unwrap().set_len(0).unwrap();
    }

    fn compress(&self, from: &str, to: &str) {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&fs::read(self.path(from)).unwrap()).unwrap();
        fs::write(self.path(to), encoder.finish().unwrap()).unwrap();
        fs::remove_file(self.path(from)).unwrap();
    }

    /// A round whose records the pipelines take.
    fn poll(&mut self) {
        self.now_unix_ns += POLL_NS;
        self.follower.begin_round(self.now_unix_ns);
        while self.follower.step(self.now_unix_ns, &mut self.got) == Step::More {
            self.follower.commit();
        }
        self.follower.commit();
    }

    fn save(&mut self) {
        let path = self.follower_path();
        checkpoints::save(&path, &self.follower.checkpoint()).unwrap();
    }

    fn follower_path(&self) -> PathBuf {
        settings(&self.yaml, self.directory.path()).unwrap().checkpoints.unwrap()
    }

    /// The process ends, and another one begins with the last checkpoints.
    fn restart(&mut self) {
        self.follower = open(settings(&self.yaml, self.directory.path()).unwrap());
    }

    /// The texts since this was asked last.
    fn take(&mut self) -> Vec<String> {
        let text = |entry: Entry| match entry.body {
            Value::String(text) => text,
            other => other.to_json().to_string(),
        };
        std::mem::take(&mut self.got).into_iter().map(text).collect()
    }

    #[track_caller]
    fn check(&mut self, expected: &[&str]) {
        self.poll();
        assert_eq!(self.take(), expected);
    }
}

const BEGINNING: &str = "start_at: beginning";

#[test]
fn lines_are_read_as_they_come() {
    let mut rig = Rig::new(BEGINNING);
    rig.append("a.log", "one\ntwo\nthr");
    rig.check(&["one", "two"]);
    rig.append("a.log", "ee\nfour\n");
    rig.check(&["three", "four"]);
    rig.append("b.log", "other\n");
    rig.append("a.log", "five\n");
    rig.check(&["five", "other"]);
    rig.check(&[]);
}

#[test]
fn what_was_there_at_the_first_start_is_not_read_unless_it_is_wanted() {
    let mut rig = Rig::new("");
    rig.append("a.log", "old\n");
    rig.check(&[]);
    rig.append("a.log", "new\n");
    rig.append("b.log", "in a new file\n");
    rig.check(&["new", "in a new file"]);
}

#[test]
fn what_came_while_nobody_ran_is_read_wherever_files_begin() {
    let mut rig = Rig::new("");
    rig.append("a.log", "old\n");
    rig.now_unix_ns = clock::unix_ns() - 10_000_000_000;
    rig.poll();
    rig.save();
    rig.append("a.log", "new\n");
    rig.append("b.log", "in a new file\n");
    rig.restart();
    rig.check(&["new", "in a new file"]);
}

#[test]
fn a_line_without_an_end_is_given_out_after_a_while() {
    let mut rig = Rig::new(BEGINNING);
    rig.append("a.log", "half");
    rig.check(&[]);
    rig.check(&[]);
    rig.check(&[]);
    rig.check(&["half"]);
    let mut rig = Rig::new("start_at: beginning\nforce_flush_period: 0s");
    rig.append("a.log", "half");
    (0..10).for_each(|_| rig.check(&[]));
}

#[test]
fn a_renamed_file_is_the_same_file() {
    let mut rig = Rig::new(BEGINNING);
    rig.append("a.log", "one\n");
    rig.check(&["one"]);
    rig.append("a.log", "two\nthr");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "new\n");
    rig.append("a.log.1", "ee\n");
    rig.check(&["two", "three", "new"]);
    rig.check(&[]);
}

#[test]
fn a_file_that_no_path_leads_to_any_more_is_read_to_its_end() {
    let mut rig = Rig::new("start_at: beginning\nexclude: DIR/*.1");
    rig.append("a.log", "one\n");
    rig.check(&["one"]);
    rig.append("a.log", "two\n");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "new\n");
    rig.check(&["two", "new"]);
    // The writer has not noticed yet.
    rig.append("a.log.1", "late\n");
    rig.check(&["late"]);
    rig.append("a.log.1", "without an end");
    (0..40).for_each(|_| rig.poll());
    assert_eq!(rig.take(), ["without an end"]);
    assert_eq!(rig.follower.open_files(), 1);
}

#[test]
fn a_copied_and_truncated_file_goes_on_in_its_copy() {
    for size in [1, 100] {
        let mut rig = Rig::new(BEGINNING);
        let long = "x".repeat(size * 20);
        rig.append("a.log", format!("{long} one\n"));
        rig.check(&[&format!("{long} one")]);
        rig.append("a.log", "two\nthr");
        fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.check(&["two"]);
        rig.append("a.log.1", "ee\n");
        fs::write(rig.path("a.log"), "new\n").unwrap();
        rig.check(&["three", "new"]);
        rig.check(&[]);
        rig.copy_and_truncate("a.log", "a.log.2");
        rig.append("a.log", "newer\n");
        rig.check(&["newer"]);
    }
}

#[test]
fn a_copy_that_is_being_made_is_not_read() {
    let mut rig = Rig::new(BEGINNING);
    let line = format!("{}\n", "x".repeat(999));
    rig.append("a.log", line.repeat(5));
    rig.poll();
    assert_eq!(rig.take().len(), 5);
    rig.append("a.log.1", line.repeat(2));
    rig.check(&[]);
    rig.append("a.log.1", line.repeat(3));
    rig.check(&[]);
    fs::write(rig.path("a.log"), "").unwrap();
    rig.check(&[]);
    rig.append("a.log", "new\n");
    rig.check(&["new"]);
}

#[test]
fn two_small_files_with_the_same_lines_are_both_read_in_the_end() {
    let mut rig = Rig::new(BEGINNING);
    rig.append("a.log", "done\n");
    rig.append("b.log", "done\n");
    (0..10).for_each(|_| rig.poll());
    assert_eq!(rig.take(), ["done", "done"]);
}

#[test]
fn a_file_that_is_truncated_begins_anew() {
    let mut rig = Rig::new(BEGINNING);
    rig.append("a.log", "one\ntwo\n");
    rig.check(&["one", "two"]);
    fs::write(rig.path("a.log"), "a\n").unwrap();
    rig.check(&["a"]);
    // As long as before, and longer.
    fs::write(rig.path("a.log"), "b\nand more than there was\n").unwrap();
    rig.check(&["b", "and more than there was"]);
}

#[test]
fn a_compressed_file_goes_on_where_the_plain_one_was_read_up_to() {
    let mut rig = Rig::new("start_at: beginning\ncompression: auto");
    rig.append("a.log", "one\n");
    rig.check(&["one"]);
    rig.append("a.log", "two\n");
    rig.compress("a.log", "a.log.1.gz");
    rig.append("a.log", "new\n");
    rig.check(&["two", "new"]);
    rig.check(&[]);
    rig.append("b.log", "first seen compressed\n");
    rig.compress("b.log", "b.log.gz");
    rig.check(&["first seen compressed"]);
}

#[test]
fn half_of_a_compressed_file_is_read_on_when_the_rest_is_there() {
    let mut rig = Rig::new("start_at: beginning\ncompression: auto");
    let text: String = (0..20_000).map(|number| format!("line {}\n", number * 7_919)).collect();
    rig.append("plain", &text);
    rig.compress("plain", "whole");
    let bytes = fs::read(rig.path("whole")).unwrap();
    rig.append("a.log.gz", &bytes[..bytes.len() / 2]);
    rig.poll();
    rig.append("a.log.gz", &bytes[bytes.len() / 2..]);
    rig.poll();
    assert_eq!(rig.take(), text.lines().collect::<Vec<_>>());
    rig.append("bad.log.gz", "no gzip");
    rig.check(&[]);
}

#[test]
fn a_restart_goes_on_at_the_checkpoint() {
    let mut rig = Rig::new(BEGINNING);
    rig.append("a.log", "one\ntwo\nthr");
    rig.check(&["one", "two"]);
    rig.save();
    rig.append("a.log", "ee\n");
    rig.check(&["three"]);
    // The crash comes before the next checkpoint: what was taken since then is repeated.
    rig.restart();
    rig.check(&["three"]);
    rig.save();
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "new\n");
    rig.restart();
    rig.check(&["new"]);
}

#[test]
fn what_was_not_taken_does_not_count_as_read() {
    let mut rig = Rig::new(BEGINNING);
    rig.append("a.log", "one\n");
    rig.check(&["one"]);
    rig.append("a.log", "two\n");
    rig.now_unix_ns += POLL_NS;
    rig.follower.begin_round(rig.now_unix_ns);
    let mut refused = Vec::new();
    rig.follower.step(rig.now_unix_ns, &mut refused);
    assert_eq!(refused.len(), 1);
    rig.save();
    rig.restart();
    rig.check(&["two"]);
}

#[test]
fn damaged_checkpoints_repeat_and_do_not_lose() {
    let mut rig = Rig::new("");
    rig.append("a.log", "one\n");
    rig.check(&[]);
    rig.save();
    fs::write(rig.follower_path(), "crossfade-filelog 1 0\n{}").unwrap();
    rig.restart();
    rig.check(&["one"]);
    assert!(rig.follower_path().with_extension("damaged").exists());
}

#[test]
fn records_of_several_lines_are_put_together_over_polls() {
    let mut rig = Rig::new("start_at: beginning\nmultiline: {line_start_pattern: '^\\d+ '}");
    rig.append("a.log", "1 a\n  b\n");
    rig.check(&[]);
    rig.append("a.log", "  c\n2 d\n");
    rig.check(&["1 a\n  b\n  c"]);
    rig.save();
    rig.restart();
    rig.append("a.log", "3 e\n");
    rig.check(&["2 d"]);
}

#[test]
fn what_an_operator_holds_back_is_read_again_after_a_restart() {
    let options = "start_at: beginning
operators: [{type: recombine, combine_field: body, is_first_entry: 'body matches \"^\\\\d+ \"'}]";
    let mut rig = Rig::new(options);
    rig.append("a.log", "1 a\nb\n2 c\nd\n");
    rig.check(&["1 a\nb"]);
    rig.save();
    rig.restart();
    rig.append("a.log", "e\n3 f\n");
    rig.check(&["2 c\nd\ne"]);
    (0..40).for_each(|_| rig.poll());
    assert_eq!(rig.take(), ["3 f"]);
}

#[test]
fn long_lines_and_broken_characters_are_read() {
    let mut rig = Rig::new("start_at: beginning\nmax_log_size: 100KiB");
    let long = "é".repeat(90_000 / 2);
    rig.append("a.log", format!("{long}\n"));
    rig.check(&[&long]);
    let longer = "é".repeat(150_000 / 2);
    rig.append("a.log", format!("{longer}\nshort\n"));
    rig.poll();
    let got = rig.take();
    assert_eq!((got.len(), &got[..2].concat(), got[2].as_str()), (3, &longer, "short"));
    rig.append("a.log", b"half of \xc3");
    rig.check(&[]);
    rig.append("a.log", b"\xa9\nbad \xff\n");
    rig.check(&["half of é", "bad \u{fffd}"]);
}

#[test]
fn more_files_than_may_be_open_are_read_all_the_same() {
    let mut rig = Rig::new("start_at: beginning\nmax_concurrent_files: 10");
    for round in 0..3 {
        let expected: Vec<String> = (0..200).map(|file| format!("{file} {round}")).collect();
        for (file, line) in expected.iter().enumerate() {
            rig.append(&format!("{file:03}.log"), format!("{line}\n"));
        }
        rig.poll();
        assert_eq!(rig.take(), expected);
        assert!(rig.follower.open_files() <= 10);
    }
    let mut rig = Rig::new("start_at: beginning\nmax_concurrent_files: 10\nmax_batches: 2");
    (0..50).for_each(|file| rig.append(&format!("{file}.log"), format!("line {file}\n")));
    let counts: Vec<usize> = (0..4).map(|_| (rig.poll(), rig.take().len()).1).collect();
    assert_eq!(counts, [20, 20, 10, 0]);
}

#[test]
fn a_step_reads_no_more_than_its_bound() {
    let mut rig = Rig::new(BEGINNING);
    let line = format!("{}\n", "x".repeat(1023));
    rig.append("a.log", line.repeat(5 << 10));
    rig.append("b.log", "short\n");
    rig.follower.begin_round(rig.now_unix_ns);
    let mut steps = 0;
    loop {
        let mut entries = Vec::new();
        let step = rig.follower.step(rig.now_unix_ns, &mut entries);
        assert!(entries.len() <= 2 << 10, "{}", entries.len());
        rig.follower.commit();
        rig.got.extend(entries);
        steps += 1;
        if step == Step::Last {
            break;
        }
    }
    assert!(steps >= 5);
    assert_eq!(rig.take().len(), (5 << 10) + 1);
}

#[test]
fn a_file_that_was_read_is_deleted_if_that_is_wanted() {
    let mut rig = Rig::new("start_at: beginning\ndelete_after_read: true");
    rig.append("a.log", "one\ntwo");
    rig.check(&["one"]);
    assert!(rig.path("a.log").exists());
    (0..4).for_each(|_| rig.poll());
    assert_eq!(rig.take(), ["two"]);
    assert!(!rig.path("a.log").exists());
}

#[test]
fn records_say_where_they_are_from() {
    let options = "start_at: beginning
include_file_path: true
include_file_name_resolved: true
include_file_record_number: true
include_file_record_offset: true
attributes: {team: shop}
resource: {host.name: h1}";
    let mut rig = Rig::new(options);
    rig.append("real", "one\ntwo\n");
    std::os::unix::fs::symlink(rig.path("real"), rig.path("link.log")).unwrap();
    rig.poll();
    let entry = rig.got.pop().unwrap();
    let path = rig.path("link.log");
    let expected = serde_json::json!({
        "log.file.name": "link.log",
        "log.file.path": path.to_str().unwrap(),
        "log.file.name_resolved": "real",
        "log.file.record_number": 2,
        "log.file.record_offset": 4,
        "team": "shop",
    });
    assert_eq!(entry.attributes.to_json(), expected);
    assert_eq!(entry.resource.to_json(), serde_json::json!({"host.name": "h1"}));
}

#[test]
fn what_is_not_built_or_wrong_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |yaml: &str, expected: &str| {
        let errors = settings(yaml, directory.path()).err().unwrap_or_default();
        assert!(errors.contains(expected), "expected `{expected}` in `{errors}`");
    };
    refused("start_at: end", "receivers.filelog.include: is required");
    refused("include: 'a[.log'", "is no pattern");
    refused("include: a\nordering_criteria: {top_n: 1}", "not built yet: an order of files");
    refused("include: a\ninclude_file_owner_name: true", "not built yet: the names of owners");
    refused("include: a\nmultiline: {line_start_pattern: a, line_end_pattern: b}", "expected either");
    refused("include: a\nmultiline: {}", "expected either");
    refused("include: a\nencoding: klingon", "expected an encoding");
    refused("include: a\nencoding: utf-16le\nmultiline: {line_start_pattern: a}", "not built yet: patterns over");
    refused("include: a\ndelete_after_read: true", "expected `start_at: beginning`");
    refused("include: a\nstorage: other", "`other` is not among the configuration's extensions");
    refused("include: a\noperators: [{type: unquote, field: body}]", "not built yet: the operator `unquote`");
    refused("include: a\nmax_log_size_behavior: truncate", "not built yet: `truncate`");
}

/// Random appends, rotations of every kind, crashes and polls. No line is lost; lines are repeated only after a crash.
/// `FUZZ_ITERATIONS` says how often, 40 times by default.
#[test]
fn no_line_is_lost_whatever_happens_to_its_file() {
    let seeds = std::env::var("FUZZ_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    for seed in 0..seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let multiline = if random.bool() { "" } else { "\nmultiline: {line_start_pattern: '^line '}" };
        let mut rig = Rig::new(&format!("start_at: beginning\ncompression: auto\nmax_log_size: 2KiB{multiline}"));
        let (mut written, mut rotations, mut crashes) = (0, 0, 0);
        for _ in 0..random.usize(10..60) {
            match random.u8(0..10) {
                0..4 => {
                    let text: String = (0..random.usize(1..20))
                        .map(|_| {
                            written += 1;
                            format!("line {seed} {written} {}\n", "x".repeat(random.usize(0..200)))
                        })
                        .collect();
                    // In two parts, with a poll between them, to be cut anywhere.
                    let at = random.usize(0..text.len());
                    rig.append("a.log", &text[..at]);
                    if random.bool() {
                        rig.poll();
                    }
                    rig.append("a.log", &text[at..]);
                }
                4..7 => rig.poll(),
                7 => rig.save(),
                8 => {
                    rotations += 1;
                    let to = format!("a.log.{rotations}");
                    if !rig.path("a.log").exists() {
                        continue;
                    }
                    match random.u8(0..3) {
                        0 => rig.rename("a.log", &to),
                        1 => rig.copy_and_truncate("a.log", &to),
                        _ => rig.compress("a.log", &format!("{to}.gz")),
                    }
                }
                _ => {
                    crashes += 1;
                    rig.restart();
                }
            }
        }
        (0..60).for_each(|_| rig.poll());
        let mut seen = BTreeMap::<String, usize>::new();
        for text in rig.take().iter().flat_map(|text| text.lines()) {
            let number = text.split(' ').nth(2).unwrap_or("cut");
            *seen.entry(number.to_owned()).or_default() += 1;
        }
        for number in 1..=written {
            let count = seen.get(&number.to_string()).copied().unwrap_or(0);
            assert!(count > 0, "seed {seed}: line {number} of {written} is lost");
            assert!(count == 1 || crashes > 0, "seed {seed}: line {number} came {count} times without a crash");
        }
    }
}
