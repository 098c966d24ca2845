use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

const NOON: u64 = 1_663_131_734_173_000_000; // 2022-09-14T05:02:14.173

const SECOND: u64 = 1_000_000_000;

fn settings(framing: Framing) -> OutputSettings {
    OutputSettings { framing, existing: Existing::Continue, rotation: None }
}

fn rotating(size_bytes_max: u64, age_days_max: Option<u32>, backups_max: Option<u32>) -> OutputSettings {
    let rotation = Some(Rotation { size_bytes_max, age_days_max, backups_max });
    OutputSettings { rotation, ..settings(Framing::Line) }
}

fn open(path: &Path, settings: OutputSettings) -> io::Result<Output> {
    let file = path.to_owned();
    let open = move || File::options().append(true).create(true).open(&file);
    Output::open(path.to_owned(), settings, NOON, Box::new(open))
}

/// The names in a directory, sorted, with what is in the files.
fn listing(directory: &Path) -> Vec<(String, String)> {
    let mut all: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    all.sort();
    all
}

fn check_listing(directory: &Path, expected: &[(&str, &str)]) {
    let listing = listing(directory);
    let shown: Vec<(&str, &str)> = listing.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_full_file_is_put_aside_under_the_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.json");
    let mut output = open(&path, rotating(10, None, None)).unwrap();
    for (second, message) in ["aaaa\n", "bbbb\n", "cccc\n", "dddd\n", "eeee\n"].iter().enumerate() {
        output.append(message.as_bytes(), NOON + second as u64 * SECOND).unwrap();
    }
    check_listing(
        directory.path(),
        &[
            ("data-2022-09-14T05-02-16.173.json", "aaaa\nbbbb\n"),
            ("data-2022-09-14T05-02-18.173.json", "cccc\ndddd\n"),
            ("data.json", "eeee\n"),
        ],
    );
}

#[test]
fn a_message_larger_than_a_file_gets_one_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut output = open(&directory.path().join("data"), rotating(4, None, None)).unwrap();
    for message in ["a large message\n", "b\n"] {
        output.append(message.as_bytes(), NOON).unwrap();
    }
    check_listing(directory.path(), &[("data", "b\n"), ("data-2022-09-14T05-02-14.173", "a large message\n")]);
}

#[test]
fn files_put_aside_at_the_same_time_do_not_replace_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut output = open(&directory.path().join("x.log"), rotating(1, None, None)).unwrap();
    for message in ["a\n", "b\n", "c\n"] {
        output.append(message.as_bytes(), NOON).unwrap();
    }
    check_listing(
        directory.path(),
        &[("x-2022-09-14T05-02-14.173.log", "a\n"), ("x-2022-09-14T05-02-14.174.log", "b\n"), ("x.log", "c\n")],
    );
}

#[test]
fn more_files_than_wanted_are_deleted_and_others_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["x-notes.log", "x-2022-09-14.log", "y-2022-09-14T05-02-14.173.log", "x-2022-09-14T05-02-14.173.json"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    let mut output = open(&directory.path().join("x.log"), rotating(1, None, Some(1))).unwrap();
    for (second, message) in ["a\n", "b\n", "c\n"].iter().enumerate() {
        output.append(message.as_bytes(), NOON + second as u64 * SECOND).unwrap();
    }
    check_listing(
        directory.path(),
        &[
            ("x-2022-09-14.log", ""),
            ("x-2022-09-14T05-02-14.173.json", ""),
            ("x-2022-09-14T05-02-16.173.log", "b\n"),
            ("x-notes.log", ""),
            ("x.log", "c\n"),
            ("y-2022-09-14T05-02-14.173.log", ""),
        ],
    );
}

#[test]
fn files_older_than_wanted_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["x-2022-09-11T05-02-14.172.log", "x-2022-09-11T05-02-14.174.log"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    let mut output = open(&directory.path().join("x.log"), rotating(1, Some(3), None)).unwrap();
    output.append(b"a\n", NOON).unwrap();
    output.append(b"b\n", NOON).unwrap();
    let names: Vec<String> = listing(directory.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["x-2022-09-11T05-02-14.174.log", "x-2022-09-14T05-02-14.173.log", "x.log"]);
}

#[test]
fn a_file_that_is_continued_counts_with_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    fs::write(&path, "old\n").unwrap();
    let mut output = open(&path, rotating(6, None, None)).unwrap();
    output.append(b"a\n", NOON).unwrap();
    output.append(b"b\n", NOON).unwrap();
    check_listing(directory.path(), &[("x", "b\n"), ("x-2022-09-14T05-02-14.173", "old\na\n")]);
}

#[test]
fn a_file_that_is_discarded_is_emptied_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    fs::write(&path, "old\n").unwrap();
    let settings = OutputSettings { existing: Existing::Discard, ..settings(Framing::Line) };
    let mut output = open(&path, settings).unwrap();
    output.append(b"a\n", NOON).unwrap();
    output.append(b"b\n", NOON).unwrap();
    check_listing(directory.path(), &[("x", "a\nb\n")]);
}

#[test]
fn half_a_line_of_a_crash_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    fs::write(&path, "whole\nhal").unwrap();
    let mut output = open(&path, settings(Framing::Line)).unwrap();
    output.append(b"a\n", NOON).unwrap();
    check_listing(directory.path(), &[("x", "whole\nhal\na\n")]);
}

#[test]
fn whole_messages_are_continued_and_half_ones_put_aside() {
    let whole = "\0\0\0\x02ab\0\0\0\0\0\0\0\x01c";
    for (contents, is_whole) in [(whole, true), (&whole[..whole.len() - 1], false), ("\0\0\0\x02ab\0\0", false)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.bin");
        fs::write(&path, contents).unwrap();
        let mut output = open(&path, settings(Framing::Length)).unwrap();
        output.append(b"\0\0\0\x01d", NOON).unwrap();
        if is_whole {
            check_listing(directory.path(), &[("x.bin", &format!("{contents}\0\0\0\x01d"))]);
        } else {
            check_listing(directory.path(), &[("x-2022-09-14T05-02-14.173.bin", contents), ("x.bin", "\0\0\0\x01d")]);
        }
    }
}

#[test]
fn a_rotation_that_fails_keeps_every_message_and_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    let (file, broken) = (path.clone(), Arc::new(Mutex::new(false)));
    let is_broken = Arc::clone(&broken);
    let open = move || {
        if *is_broken.lock() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        File::options().append(true).create(true).open(&file)
    };
    let mut output = Output::open(path.clone(), rotating(2, None, None), NOON, Box::new(open)).unwrap();
    output.append(b"a\n", NOON).unwrap();
    *broken.lock() = true;
    for _ in 0..2 {
        assert_eq!(output.append(b"b\n", NOON).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
    *broken.lock() = false;
    output.append(b"b\n", NOON).unwrap();
    output.append(b"c\n", NOON + SECOND).unwrap();
    check_listing(
        directory.path(),
        &[("x", "c\n"), ("x-2022-09-14T05-02-14.173", "a\n"), ("x-2022-09-14T05-02-15.173", "b\n")],
    );
}

/// A disk with little room.
#[derive(Clone)]
struct Disk(Arc<Mutex<DiskState>>);

struct DiskState {
    contents: Vec<u8>,
    room_bytes: usize,
    can_cut: bool,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock();
        let room_bytes = disk.room_bytes - disk.contents.len();
        if room_bytes == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(room_bytes);
        disk.contents.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Medium for Disk {
    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        if !disk.can_cut {
            return Err(io::ErrorKind::Other.into());
        }
        disk.contents.truncate(size_bytes as usize);
        Ok(())
    }
}

fn on_disk(kind: Kind, framing: Framing) -> (Output, Disk) {
    let state = DiskState { contents: Vec::new(), room_bytes: 10, can_cut: true };
    let disk = Disk(Arc::new(Mutex::new(state)));
    let output = Output {
        path: PathBuf::new(),
        settings: settings(framing),
        open: Box::new(|| Err(io::ErrorKind::NotFound.into())),
        medium: Some(Box::new(disk.clone())),
        size_bytes: 0,
        kind,
        is_torn: false,
    };
    (output, disk)
}

fn check_full(output: &mut Output, message: &str) {
    assert_eq!(output.append(message.as_bytes(), NOON).unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn on_a_full_disk_a_message_is_taken_back_and_fits_later() {
    let (mut output, disk) = on_disk(Kind::Regular, Framing::Line);
    output.append(b"first\n", NOON).unwrap();
    check_full(&mut output, "second\n");
    assert_eq!(disk.0.lock().contents, b"first\n");
    disk.0.lock().room_bytes = 100;
    output.append(b"second\n", NOON).unwrap();
    assert_eq!(disk.0.lock().contents, b"first\nsecond\n");
}

#[test]
fn what_cannot_be_taken_back_at_once_is_taken_back_before_the_next_message() {
    let (mut output, disk) = on_disk(Kind::Regular, Framing::Line);
    output.append(b"first\n", NOON).unwrap();
    disk.0.lock().can_cut = false;
    check_full(&mut output, "second\n");
    assert_eq!(disk.0.lock().contents, b"first\nseco");
    disk.0.lock().room_bytes = 100;
    assert!(output.append(b"third\n", NOON).is_err(), "half a message must not stand between whole ones");
    disk.0.lock().can_cut = true;
    output.append(b"third\n", NOON).unwrap();
    assert_eq!(disk.0.lock().contents, b"first\nthird\n");
}

#[test]
fn in_a_stream_half_a_line_is_ended_before_the_next() {
    let (mut output, disk) = on_disk(Kind::Stream, Framing::Line);
    output.append(b"first\n", NOON).unwrap();
    check_full(&mut output, "second\n");
    disk.0.lock().room_bytes = 100;
    output.append(b"third\n", NOON).unwrap();
    assert_eq!(disk.0.lock().contents, b"first\nseco\nthird\n");
}

#[test]
fn what_is_no_file_cannot_be_rotated() {
    let error = open(Path::new("/dev/null"), rotating(1, None, None)).err().unwrap();
    assert!(error.to_string().contains("/dev/null is no regular file"), "{error}");
}

#[test]
fn timestamps_are_told_from_other_names() {
    assert!(is_timestamp(&timestamp(NOON)));
    for text in ["", "2022-09-14", "2022-09-14T05-02-14.17x", "2022-09-14T05:02:14.173", "2022-09-14T05-02-14.1733"] {
        assert!(!is_timestamp(text), "{text}");
    }
}
