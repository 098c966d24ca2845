//! A journal in a real directory: what it promises to its user, one sentence each.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use journal::disk::io::{Directory, DirectoryError};
use journal::disk::{DiskOptions, Recovery};
use journal::{
    AppendError, Book, Bucket, Cursor, CursorOptions, Detail, Journal, LagLimit, Read, ReadLimit, Record, Settlement,
    Share, Shares, Start, StreamId, WhenFull,
};

fn small() -> DiskOptions {
    DiskOptions {
        size_bytes_max: 8 << 20,
        segment_bytes: Some(256 << 10),
        memory_bytes_max: 64 << 10,
        ..DiskOptions::default()
    }
}

fn open_with(path: &Path, options: DiskOptions) -> (Journal, Recovery) {
    Journal::open(Arc::new(Directory::lock(path).unwrap()), options).unwrap()
}

fn open(path: &Path) -> Journal {
    open_with(path, small()).0
}

async fn append(journal: &Journal, stream: StreamId, numbers: std::ops::Range<u64>) {
    for number in numbers {
        journal.append(vec![(stream, record(number, 1000))]).await.unwrap();
    }
}

/// A record that carries its number.
fn record(number: u64, size: usize) -> Record {
    let mut payload = vec![number.to_le_bytes()[0]; size.max(8)];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    let mut record = Record::new(payload, 1);
    record.appended_at_unix_ns = number + 1;
    record
}

fn number(record: &Record) -> u64 {
    u64::from_le_bytes(record.payload[..8].try_into().unwrap())
}

fn cursor(journal: &Journal, stream: StreamId, name: &str) -> Cursor {
    journal.open_cursor(stream, name, CursorOptions::default()).unwrap()
}

async fn read(cursor: &mut Cursor) -> Vec<Record> {
    match cursor.next(ReadLimit::default()).await {
        Read::Records(records) => records,
        other => panic!("{other:?}"),
    }
}

fn settle(cursor: &Cursor, records: &[Record]) {
    let items = records.iter().map(|record| u64::from(record.items)).sum();
    cursor.settle(records, &Settlement::all("delivered", items)).unwrap();
}

/// Reads and settles everything, and returns the numbers and the items that were lost.
fn drain(cursor: &mut Cursor) -> (Vec<u64>, u64) {
    let (mut numbers, mut lost) = (Vec::new(), 0);
    while let Some(read) = cursor.try_next(ReadLimit::default()) {
        match read {
            Read::Records(records) => {
                numbers.extend(records.iter().map(number));
                settle(cursor, &records);
            }
            Read::Gap { items, .. } => lost += items,
            Read::Closed => break,
        }
    }
    (numbers, lost)
}

fn book(journal: &Journal, cursor: &str) -> Book {
    journal.books(Detail::Labels).into_iter().rfind(|book| book.cursor == cursor).unwrap()
}

fn pending_by_label(book: &Book) -> u64 {
    book.by_label.iter().map(journal::LabelBook::pending_items).sum()
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "segment")).collect();
    files.sort();
    files
}

fn shares(journal: &Journal, stream: StreamId, label: &str, items: u32) -> Shares {
    Shares::new(&[Share { label: journal.label(stream, label), items }])
}

// === the directory ===

#[tokio::test]
async fn a_directory_and_its_files_belong_to_their_owner_alone() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("journal");
    let journal = open(&path);
    let stream = journal.stream("traces");
    append(&journal, stream, 0..1).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<PathBuf> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2, "a lock and a segment");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[test]
fn a_directory_that_is_in_use_is_refused_by_name() {
    let path = tempfile::tempdir().unwrap();
    let _first = Directory::lock(path.path()).unwrap();
    let second = Directory::lock(path.path()).unwrap_err();
    assert!(matches!(second, DirectoryError::Locked { .. }));
    assert!(second.to_string().contains(&path.path().display().to_string()), "{second}");
    assert!(second.to_string().contains("another process uses the journal"), "{second}");
}

#[tokio::test]
async fn a_journal_that_was_shut_down_can_be_opened_at_once() {
    let path = tempfile::tempdir().unwrap();
    for _ in 0..30 {
        let journal = open(path.path());
        let stream = journal.stream("traces");
        append(&journal, stream, 0..1).await;
        journal.shut_down().await;
    }
}

#[tokio::test]
async fn whoever_waits_for_the_end_sees_it() {
    let path = tempfile::tempdir().unwrap();
    let journal = open(path.path());
    let both = async { tokio::join!(journal.shut_down(), journal.shut_down()) };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("both are told");
    tokio::time::timeout(Duration::from_secs(10), journal.shut_down()).await.expect("and whoever comes later");
}

#[tokio::test]
async fn a_journal_that_nobody_has_any_more_lets_its_directory_go() {
    let path = tempfile::tempdir().unwrap();
    drop(open(path.path()));
    for _ in 0..1000 {
        if Directory::lock(path.path()).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still locked");
}

// === what was appended is there ===

#[tokio::test]
async fn what_was_appended_is_there_after_the_journal_was_opened_again() {
    let path = tempfile::tempdir().unwrap();
    let journal = open(path.path());
    let stream = journal.stream("traces");
    drop(cursor(&journal, stream, "backend"));
    append(&journal, stream, 0..1000).await;
    journal.shut_down().await;
    drop(journal);

    let journal = open(path.path());
    let stream = journal.stream("traces");
    let (numbers, lost) = drain(&mut cursor(&journal, stream, "backend"));
    assert_eq!((numbers, lost), ((0..1000).collect(), 0));
    assert!(book(&journal, "backend").balances());
}

#[tokio::test]
async fn cursors_go_on_where_they_stood_in_whatever_order_they_open() {
    let path = tempfile::tempdir().unwrap();
    let journal = open(path.path());
    let stream = journal.stream("traces");
    let mut cursors: Vec<Cursor> = ["a", "b", "c"].map(|name| cursor(&journal, stream, name)).into();
    append(&journal, stream, 0..10).await;
    for (settled, cursor) in cursors.iter_mut().enumerate() {
        let records = read(cursor).await;
        settle(cursor, &records[..=settled]);
    }
    drop(cursors);
    journal.shut_down().await;
    drop(journal);

    let journal = open(path.path());
    let stream = journal.stream("traces");
    for (name, settled) in [("c", 3), ("a", 1), ("b", 2)] {
        let mut cursor = cursor(&journal, stream, name);
        assert_eq!(number(&read(&mut cursor).await[0]), settled, "{name}");
    }
}

#[tokio::test]
async fn a_read_that_was_given_up_loses_nothing() {
    let path = tempfile::tempdir().unwrap();
    let options = DiskOptions { memory_bytes_max: 1, ..small() };
    let journal = open_with(path.path(), options).0;
    let stream = journal.stream("traces");
    let mut cursor = cursor(&journal, stream, "backend");
    append(&journal, stream, 0..20).await;
    {
        // The read has gone to the disk, and nobody waits for it.
        let read = std::pin::pin!(cursor.next(ReadLimit::ONE));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(Future::poll(read, &mut context).is_pending());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(drain(&mut cursor).0, (0..20).collect::<Vec<_>>());
}

// === cursors that leave ===

const GRACE_NS: u64 = 1_000_000_000;

#[tokio::test]
async fn a_removed_cursor_is_forgotten_after_its_grace_and_may_come_back() {
    let path = tempfile::tempdir().unwrap();
    let options = DiskOptions { cursor_grace_ns: GRACE_NS, ..small() };
    let (journal, mut committer, _) =
        Journal::open_stepped(Arc::new(Directory::lock(path.path()).unwrap()), options).unwrap();
    let stream = journal.stream("traces");
    drop(cursor(&journal, stream, "backend"));
    let appended = journal.append(vec![(stream, record(0, 100))]);
    let stepped = async { committer.step() };
    assert_eq!(tokio::join!(appended, stepped), (Ok(()), true));
    committer.expire(1);
    committer.expire(GRACE_NS);
    let mut back = cursor(&journal, stream, "backend");
    assert_eq!(read(&mut back).await.len(), 1, "within the grace it goes on");
    drop(back);
    committer.expire(10);
    committer.expire(11 + GRACE_NS);
    let mut back = cursor(&journal, stream, "backend");
    assert!(back.try_next(ReadLimit::default()).is_none(), "beyond it, it is a new one");
    assert!(journal.books(Detail::Totals).iter().all(Book::balances));
    assert!(matches!(
        journal.open_cursor(stream, "backend", CursorOptions::default()),
        Err(journal::CursorError::AlreadyOpen { .. })
    ));
}

// === accounts ===

#[tokio::test]
async fn labels_add_up_when_a_lag_limit_takes_records_that_only_the_disk_has() {
    let path = tempfile::tempdir().unwrap();
    let options = DiskOptions { memory_bytes_max: 1, when_full: WhenFull::DropOldest, ..small() };
    let journal = open_with(path.path(), options).0;
    let stream = journal.stream("traces");
    let limited = CursorOptions { lag_max: Some(LagLimit::Records(5)), ..CursorOptions::default() };
    let _cursor = journal.open_cursor(stream, "backend", limited).unwrap();
    for number in 0..20 {
        let mut record = record(number, 100);
        record.shares = shares(&journal, stream, "checkout", 1);
        journal.append(vec![(stream, record)]).await.unwrap();
    }
    let mut book = book(&journal, "backend");
    for _ in 0..100 {
        // What is too far behind is taken right after the answer.
        tokio::time::sleep(Duration::from_millis(5)).await;
        book = journal.books(Detail::Labels).remove(0);
        if book.pending_records == 5 {
            break;
        }
    }
    assert_eq!((book.pending_items, pending_by_label(&book)), (5, 5), "{book:?}");
}

#[tokio::test]
async fn a_new_cursor_that_starts_with_the_oldest_has_labels_that_add_up_at_the_end() {
    let path = tempfile::tempdir().unwrap();
    let journal = open(path.path());
    let stream = journal.stream("traces");
    for number in 0..50 {
        let mut record = record(number, 100);
        record.shares = shares(&journal, stream, "checkout", 1);
        journal.append(vec![(stream, record)]).await.unwrap();
    }
    let oldest = CursorOptions { start: Start::Oldest, ..CursorOptions::default() };
    let mut cursor = journal.open_cursor(stream, "late", oldest).unwrap();
    assert_eq!(drain(&mut cursor).0.len(), 50);
    let label = &book(&journal, "late").by_label[0];
    assert_eq!((label.appended_items, label.pending_items()), (50, 0));
}

#[tokio::test]
async fn memory_that_attachments_held_is_given_back_whoever_reads() {
    let path = tempfile::tempdir().unwrap();
    let options = DiskOptions { memory_bytes_max: 3000, ..small() };
    let journal = open_with(path.path(), options).0;
    let stream = journal.stream("traces");
    let (mut fast, mut slow) = (cursor(&journal, stream, "fast"), cursor(&journal, stream, "slow"));
    let mut held = Vec::new();
    for number in 0..10 {
        let mut record = record(number, 100);
        record.attachment_bytes = 1000;
        journal.append(vec![(stream, record)]).await.unwrap();
        held.extend(read(&mut fast).await);
    }
    // Memory has let most of them go, so the slow one has them from the disk, without what was attached.
    let from_disk = read(&mut slow).await;
    settle(&slow, &from_disk);
    settle(&fast, &held);
    drain(&mut slow);
    assert_eq!(journal.retained_bytes().0, 0);
}

// === bounds ===

#[tokio::test]
async fn a_segment_size_beyond_what_positions_reach_is_held_back() {
    let path = tempfile::tempdir().unwrap();
    let options = DiskOptions { size_bytes_max: 8 << 20, segment_bytes: Some(u64::MAX), ..small() };
    let journal = open_with(path.path(), options).0;
    let stream = journal.stream("traces");
    append(&journal, stream, 0..10).await;
}

#[tokio::test]
async fn an_append_whose_shares_are_too_many_is_refused_and_not_half_written() {
    let path = tempfile::tempdir().unwrap();
    let options = DiskOptions { size_bytes_max: 1 << 30, segment_bytes: Some(64 << 20), ..small() };
    let journal = open_with(path.path(), options).0;
    let stream = journal.stream("traces");
    let all: Vec<Share> =
        (0..1000).map(|at| Share { label: journal.label(stream, &format!("service-{at}")), items: 1 }).collect();
    let mut many = record(0, 8);
    many.shares = Shares::new(&all);
    let writes = vec![(stream, many); 40_000];
    let refused = journal.append(writes).await.unwrap_err();
    assert!(matches!(refused, AppendError::TooLarge { .. }), "{refused}");
}

#[tokio::test]
async fn a_journal_that_dropped_counts_each_item_by_its_cause() {
    let path = tempfile::tempdir().unwrap();
    let options = DiskOptions { size_bytes_max: 2 << 20, when_full: WhenFull::DropOldest, ..small() };
    let journal = open_with(path.path(), options).0;
    let stream = journal.stream("traces");
    let mut cursor = cursor(&journal, stream, "backend");
    append(&journal, stream, 0..4000).await;
    let (numbers, lost) = drain(&mut cursor);
    assert_eq!(numbers.len() as u64 + lost, 4000);
    let book = book(&journal, "backend");
    assert_eq!(book.settled[&Bucket::OVERWRITTEN], lost);
    assert!(lost > 1000 && journal.disk_stats().unwrap().size_bytes <= 2 << 20);
}

// === damage ===

async fn damaged(does: impl Fn(&Path)) -> (Vec<u64>, u64, Recovery) {
    let path = tempfile::tempdir().unwrap();
    let journal = open(path.path());
    let stream = journal.stream("traces");
    drop(cursor(&journal, stream, "backend"));
    append(&journal, stream, 0..100).await;
    journal.shut_down().await;
    drop(journal);
    does(&segments(path.path())[0]);
    let (journal, recovery) = open_with(path.path(), small());
    let stream = journal.stream("traces");
    let (numbers, lost) = drain(&mut cursor(&journal, stream, "backend"));
    assert!(journal.books(Detail::Totals).iter().all(Book::balances));
    (numbers, lost, recovery)
}

#[tokio::test]
async fn a_flipped_bit_costs_one_record_and_is_counted() {
    let (numbers, lost, _) = damaged(|segment| {
        let file = OpenOptions::new().read(true).write(true).open(segment).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 50_000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 50_000).unwrap();
    })
    .await;
    assert_eq!((numbers.len(), lost), (99, 1));
}

#[tokio::test]
async fn a_file_that_was_cut_short_gives_what_is_left_and_counts_the_rest_where_that_is_known() {
    let (numbers, lost, recovery) = damaged(|segment| {
        let file = OpenOptions::new().write(true).open(segment).unwrap();
        file.set_len(50_000).unwrap();
    })
    .await;
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() > 40 && recovery.torn, "{} read, {lost} lost, {recovery:?}", numbers.len());
}

#[tokio::test]
async fn garbage_behind_the_last_entry_is_cut() {
    let (numbers, lost, recovery) = damaged(|segment| {
        let file = OpenOptions::new().write(true).open(segment).unwrap();
        let end = file.metadata().unwrap().len();
        file.write_all_at(&[0xA5; 5000], end).unwrap();
    })
    .await;
    assert_eq!((numbers.len(), lost, recovery.torn), (100, 0, true));
}

#[tokio::test]
async fn a_stray_file_is_left_alone() {
    let (numbers, lost, _) = damaged(|segment| {
        fs::write(segment.with_file_name("notes.txt"), "mine").unwrap();
        fs::write(segment.with_file_name("99.segment"), "not one").unwrap();
    })
    .await;
    assert_eq!((numbers.len(), lost), (100, 0));
}

// === full and read-only ===

/// Runs a command, and says whether it went well.
fn runs(command: &str, arguments: &[&str]) -> bool {
    std::process::Command::new(command).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// A small file system that is unmounted at the end.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Option<Tmpfs> {
        let at = tempfile::tempdir().unwrap();
        let size = format!("size={size}");
        let mounted = runs("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", at.path().to_str().unwrap()]);
        if !mounted {
            eprintln!("skipped: a tmpfs cannot be mounted here (that takes root and a `mount` command)");
        }
        mounted.then(|| Tmpfs(at))
    }

    fn remount(&self, options: &str) -> bool {
        runs("mount", &["-o", &format!("remount,{options}"), self.0.path().to_str().unwrap()])
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        runs("umount", &["-l", self.0.path().to_str().unwrap()]);
    }
}

/// Appends until the disk refuses, and returns how many it took.
async fn fill(journal: &Journal, stream: StreamId) -> (u64, AppendError) {
    for number in 0..10_000 {
        if let Err(error) = journal.append(vec![(stream, record(number, 10_000))]).await {
            return (number, error);
        }
    }
    panic!("it is never full");
}

#[tokio::test]
async fn a_full_disk_refuses_delivers_and_takes_again_without_a_restart() {
    let Some(disk) = Tmpfs::mount("3m") else { return };
    let journal = open_with(&disk.0.path().join("journal"), DiskOptions { size_bytes_max: 1 << 30, ..small() }).0;
    let stream = journal.stream("traces");
    let mut cursor = cursor(&journal, stream, "backend");
    let (taken, error) = fill(&journal, stream).await;
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert!(journal.trouble().unwrap().contains("the disk is full"));
    let (numbers, lost) = drain(&mut cursor);
    assert_eq!((numbers, lost), ((0..taken).collect(), 0), "delivery goes on");
    // What was delivered makes room, although the journal may be larger than this disk.
    let mut refusals = 0;
    while let Err(error) = journal.append(vec![(stream, record(0, 10_000))]).await {
        refusals += 1;
        assert!(refusals < 5, "{error}");
    }
    assert_eq!(journal.trouble(), None);
    for number in 0..1000 {
        journal.append(vec![(stream, record(number, 10_000))]).await.unwrap();
        drain(&mut cursor);
    }
    assert!(journal.books(Detail::Totals).iter().all(Book::balances));
}

#[tokio::test]
async fn trouble_ends_when_the_disk_is_in_order_although_nobody_appends() {
    let Some(disk) = Tmpfs::mount("3m") else { return };
    let journal = open_with(&disk.0.path().join("journal"), DiskOptions { size_bytes_max: 1 << 30, ..small() }).0;
    let stream = journal.stream("traces");
    let _cursor = cursor(&journal, stream, "backend");
    fill(&journal, stream).await;
    assert!(journal.trouble().is_some() && disk.remount("size=20m"));
    for _ in 0..100 {
        if journal.trouble().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", journal.trouble());
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_delivers_what_it_has() {
    let Some(disk) = Tmpfs::mount("20m") else { return };
    let path = disk.0.path().join("journal");
    let journal = open(&path);
    let stream = journal.stream("traces");
    drop(cursor(&journal, stream, "backend"));
    append(&journal, stream, 0..100).await;
    journal.shut_down().await;
    drop(journal);
    if !disk.remount("ro") {
        eprintln!("skipped: the tmpfs cannot be made read-only");
        return;
    }
    let journal = open(&path);
    let stream = journal.stream("traces");
    let refused = journal.append(vec![(stream, record(0, 10))]).await.unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");
    assert_eq!(drain(&mut cursor(&journal, stream, "backend")).0, (0..100).collect::<Vec<_>>());
    assert!(journal.trouble().unwrap().contains("read-only"));
    assert!(disk.remount("rw"));
    append(&journal, stream, 100..101).await;
}

// === costs ===

#[tokio::test(flavor = "multi_thread")]
async fn appends_that_arrive_together_share_a_commit() {
    let path = tempfile::tempdir().unwrap();
    let journal = open(path.path());
    let stream = journal.stream("traces");
    let appenders = (0..32).map(|task| {
        let journal = journal.clone();
        tokio::spawn(async move { append(&journal, stream, task * 100..task * 100 + 20).await })
    });
    for appender in appenders.collect::<Vec<_>>() {
        appender.await.unwrap();
    }
    let commits = journal.disk_stats().unwrap().commits;
    assert!(commits < 640 / 4, "640 appends in {commits} commits");
}

#[tokio::test]
async fn two_cursors_on_one_stream_are_one_write_and_so_are_two_streams_with_one_payload() {
    let path = tempfile::tempdir().unwrap();
    let journal = open(path.path());
    let (one, other) = (journal.stream("traces/a"), journal.stream("traces/b"));
    let _cursors = ["a", "b"].map(|name| cursor(&journal, one, name));
    let _other = cursor(&journal, other, "a");
    append(&journal, one, 0..1).await;
    let before = journal.disk_stats().unwrap().written_bytes;
    let shared = record(7, 100_000);
    journal.append(vec![(one, shared.clone()), (other, shared)]).await.unwrap();
    let written = journal.disk_stats().unwrap().written_bytes - before;
    assert!((100_000..101_000).contains(&written), "{written}");
}

#[tokio::test]
async fn memory_is_bounded_while_a_backlog_much_larger_than_it_is_drained() {
    let path = tempfile::tempdir().unwrap();
    let journal = open_with(path.path(), DiskOptions { size_bytes_max: 64 << 20, ..small() }).0;
    let stream = journal.stream("traces");
    let mut cursor = cursor(&journal, stream, "backend");
    for number in 0..200 {
        journal.append(vec![(stream, record(number, 50_000))]).await.unwrap();
    }
    let limit = ReadLimit { bytes_max: 100_000, ..ReadLimit::default() };
    let mut next = 0;
    while next < 200 {
        let Read::Records(records) = cursor.next(limit).await else { panic!() };
        assert!(journal.retained_bytes().0 <= (64 << 10) + 101_000);
        assert_eq!(number(&records[0]), next);
        next += records.len() as u64;
        settle(&cursor, &records);
    }
}
