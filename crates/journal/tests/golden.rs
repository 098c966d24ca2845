//! The format on disk, held by a file that an earlier build wrote: a change of it is noticed here, and must raise the
//! version. `CROSSFADE_WRITE_GOLDEN=1` writes the file anew.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use journal::disk::io::{Directory, Disk};
use journal::disk::{Committer, DiskOptions, inspect, records};
use journal::{Cursor, CursorOptions, Journal, Read, ReadLimit, Record, Settlement, Share, Shares, StreamId};

const FILE_NAME: &str = "00000000000000000000.segment";

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1.segment")
}

fn append(journal: &Journal, committer: &mut Committer, writes: Vec<(StreamId, Record)>) {
    let mut future = std::pin::pin!(journal.append(writes));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    committer.step();
    assert_eq!(future.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(())));
}

fn record(text: &'static str, items: u32, at: u64) -> Record {
    let mut record = Record::new(text, items);
    record.appended_at_unix_ns = at;
    record
}

fn read(cursor: &mut Cursor) -> Vec<Record> {
    match cursor.try_next(ReadLimit::default()) {
        Some(Read::Records(records)) => records,
        other => panic!("{other:?}"),
    }
}

/// An image, appends with one and with two streams, labels, and settlements in and out of order.
fn write(path: &Path) {
    let disk: Arc<dyn Disk> = Arc::new(Directory::lock(path).unwrap());
    let (journal, mut committer, _) = Journal::open_stepped(disk, DiskOptions::default()).unwrap();
    let (traces, logs) = (journal.stream("traces"), journal.stream("logs"));
    let mut fast = journal.open_cursor(traces, "traces/fast", CursorOptions::default()).unwrap();
    let _slow = journal.open_cursor(logs, "logs/slow", CursorOptions::default()).unwrap();
    let mut labelled = record("three spans", 3, 1_000);
    labelled.shares = Shares::new(&[
        Share { label: journal.label(traces, "checkout"), items: 2 },
        Share { label: journal.label(traces, "cart"), items: 1 },
    ]);
    append(&journal, &mut committer, vec![(traces, labelled)]);
    append(&journal, &mut committer, vec![(traces, record("two spans", 2, 2_000)), (logs, record("a log", 1, 2_000))]);
    append(&journal, &mut committer, vec![(traces, record("one span", 1, 3_000))]);
    let held = read(&mut fast);
    fast.settle(&held[2..], &Settlement::all("delivered", 1)).unwrap();
    committer.step();
    let mut partly = Settlement::all("delivered", 2);
    partly.add("rejected/invalid", 1);
    fast.settle(&held[..1], &partly).unwrap();
    append(&journal, &mut committer, vec![(logs, record("another log", 1, 4_000))]);
    committer.finish();
}

#[test]
fn a_journal_is_written_as_it_was_written_before() {
    let path = tempfile::tempdir().unwrap();
    write(path.path());
    let written = std::fs::read(path.path().join(FILE_NAME)).unwrap();
    if std::env::var_os("CROSSFADE_WRITE_GOLDEN").is_some() {
        std::fs::write(golden(), &written).unwrap();
    }
    let expected = std::fs::read(golden()).unwrap();
    let differs = written.iter().zip(&expected).position(|(one, other)| one != other);
    assert_eq!((written.len(), differs), (expected.len(), None), "the format has changed");
}

#[test]
fn a_journal_that_was_written_before_is_read() {
    let path = tempfile::tempdir().unwrap();
    std::fs::copy(golden(), path.path().join(FILE_NAME)).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(Directory::lock(path.path()).unwrap());
    let mut texts = Vec::new();
    records(&disk, |record| {
        let text = record.payload.map(|payload| String::from_utf8(payload.to_vec()).unwrap());
        texts.push((record.stream, record.offset.0, record.items, record.appended_at_unix_ns, text.unwrap()));
        true
    })
    .unwrap();
    let expected = [
        ("traces", 0, 3, 1_000, "three spans"),
        ("traces", 1, 2, 2_000, "two spans"),
        ("logs", 0, 1, 2_000, "a log"),
        ("traces", 2, 1, 3_000, "one span"),
        ("logs", 1, 1, 4_000, "another log"),
    ];
    let expected =
        expected.map(|(stream, place, items, at, text)| (stream.to_owned(), place, items, at, text.to_owned()));
    assert_eq!(texts, expected);
    let seen = inspect(&disk).unwrap();
    assert!(seen.books.iter().all(journal::Book::balances) && seen.recovery.damaged_runs == 0);
    let (journal, _committer, _) = Journal::open_stepped(disk, DiskOptions::default()).unwrap();
    let mut fast = journal.open_cursor(journal.stream("traces"), "traces/fast", CursorOptions::default()).unwrap();
    let left = read(&mut fast);
    assert_eq!((left.len(), left[0].payload.as_ref()), (1, &b"two spans"[..]));
    let labels = journal.books(journal::Detail::Labels).remove(0).by_label;
    let labels: Vec<(&str, u64)> = labels.iter().map(|label| (label.label.as_str(), label.pending_items())).collect();
    assert_eq!(labels, [("checkout", 0), ("cart", 0)]);
}

#[test]
fn a_file_of_a_later_version_is_left_alone_and_said_so() {
    let path = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(golden()).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..44]);
    bytes[44..48].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(path.path().join(FILE_NAME), &bytes).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(Directory::lock(path.path()).unwrap());
    let refused = Journal::open_stepped(disk, DiskOptions::default()).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("is of version 2"), "{refused}");
    assert_eq!(std::fs::read(path.path().join(FILE_NAME)).unwrap(), bytes);
}
