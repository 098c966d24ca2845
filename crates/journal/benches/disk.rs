//! What the disk costs and gives: appends in each sync mode against memory, a cold backlog, and the time to open.
//!
//! `cargo bench -p crossfade-journal --bench disk -- append` (or `drain`, `recovery`, or nothing for all).
//! `CROSSFADE_BENCH_DIR` is where the journals go (the system's temporary directory otherwise), `CROSSFADE_BENCH_GB` the
//! sizes for `recovery`, separated by commas.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
// What is measured is time.
#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::disk::io::Directory;
use journal::disk::{DiskOptions, Sync};
use journal::{Cursor, CursorOptions, Journal, Limits, Read, ReadLimit, Record, Settlement, StreamId, WhenFull};

const APPEND_FOR: Duration = Duration::from_secs(3);
const RECORD_BYTES: usize = 70_000;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if is_wanted("append") {
        runtime.block_on(appends());
    }
    if is_wanted("drain") {
        runtime.block_on(drains());
    }
    if is_wanted("recovery") {
        recoveries();
    }
}

fn directory() -> tempfile::TempDir {
    match std::env::var_os("CROSSFADE_BENCH_DIR") {
        Some(base) => tempfile::tempdir_in(base).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

fn open(path: &Path, sync: Sync, size_bytes_max: u64) -> Journal {
    let options = DiskOptions { sync, size_bytes_max, ..DiskOptions::default() };
    Journal::open(Arc::new(Directory::lock(path).unwrap()), options).unwrap().0
}

/// Bytes that do not compress to nothing on the way to the disk.
fn payload(size: usize) -> Bytes {
    let mut rng = fastrand::Rng::with_seed(7);
    (0..size).map(|_| rng.u8(..)).collect::<Vec<u8>>().into()
}

fn megabytes(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

// === append ===

async fn appends() {
    println!("append: records of {RECORD_BYTES} bytes, one reader that keeps up, {APPEND_FOR:?} each");
    let modes = [
        ("memory", None),
        ("on_write", Some(Sync::OnWrite)),
        ("interval 500 ms", Some(Sync::Interval(Duration::from_millis(500)))),
        ("on_fsync", Some(Sync::OnFsync)),
    ];
    for (name, sync) in modes {
        for appenders in [1, 4, 32] {
            let path = directory();
            let journal = match sync {
                None => Journal::in_memory(Limits { size_bytes_max: 256 << 20, when_full: WhenFull::Refuse }),
                Some(sync) => open(path.path(), sync, 1 << 30),
            };
            let (appended, time) = append_for(&journal, appenders).await;
            let commits = journal.disk_stats().map_or(0, |stats| stats.commits);
            println!(
                "{name:>16} {appenders:>3} appenders: {:>8.0} MB/s {:>7.0} appends/s {commits:>6} commits",
                megabytes(appended * RECORD_BYTES as u64, time),
                appended as f64 / time.as_secs_f64(),
            );
            journal.shut_down().await;
        }
    }
}

async fn append_for(journal: &Journal, appenders: usize) -> (u64, Duration) {
    let stream = journal.stream("traces");
    let mut cursor = journal.open_cursor(stream, "reader", CursorOptions::default()).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader_done = Arc::clone(&done);
    let reader = tokio::spawn(async move {
        while !reader_done.load(Relaxed) {
            let read = cursor.next(ReadLimit::default());
            if let Ok(Read::Records(records)) = tokio::time::timeout(Duration::from_millis(100), read).await {
                settle(&cursor, &records);
            }
        }
    });
    let (payload, appended) = (payload(RECORD_BYTES), Arc::new(AtomicU64::new(0)));
    let start = Instant::now();
    let tasks = (0..appenders).map(|_| {
        let (journal, payload, appended) = (journal.clone(), payload.clone(), Arc::clone(&appended));
        tokio::spawn(async move {
            while start.elapsed() < APPEND_FOR {
                match journal.append(vec![(stream, Record::new(payload.clone(), 100))]).await {
                    Ok(()) => appended.fetch_add(1, Relaxed),
                    Err(_) => 0,
                };
                // Appends to memory wait for nothing, and the reader wants its turn.
                tokio::task::yield_now().await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let time = start.elapsed();
    done.store(true, Relaxed);
    reader.await.unwrap();
    (appended.load(Relaxed), time)
}

fn settle(cursor: &Cursor, records: &[Record]) {
    let items = records.iter().map(|record| u64::from(record.items)).sum();
    cursor.settle(records, &Settlement::all("delivered", items)).unwrap();
}

// === drain ===

async fn fill(path: &Path, record_bytes: usize, total_bytes: u64) {
    let journal = open(path, Sync::OnWrite, 64 << 30);
    let stream = journal.stream("traces");
    drop(journal.open_cursor(stream, "reader", CursorOptions::default()).unwrap());
    let payload = payload(record_bytes);
    let per_append = (1 << 20) / record_bytes.min(1 << 20);
    let mut left = total_bytes;
    while left > 0 {
        let batch: Vec<(StreamId, Record)> =
            (0..per_append).map(|_| (stream, Record::new(payload.clone(), 1))).collect();
        // One append for each record, as batches arrive, without waiting for the one before.
        let answers: Vec<_> = batch.into_iter().map(|write| journal.append(vec![write])).collect();
        for answer in futures(answers).await {
            answer.unwrap();
        }
        left = left.saturating_sub((per_append * record_bytes) as u64);
    }
    journal.shut_down().await;
}

async fn futures<T: Send + 'static>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done = Vec::with_capacity(all.len());
    std::future::poll_fn(|context| {
        all.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

/// What is in the page cache goes, so that the disk is read.
fn forget(path: &Path) {
    for entry in std::fs::read_dir(path).unwrap() {
        let file = File::open(entry.unwrap().path()).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

async fn drains() {
    const TOTAL_BYTES: u64 = 2 << 30;
    println!("drain: {} MB that only the disk has, read and settled", TOTAL_BYTES / 1_000_000);
    for record_bytes in [64 << 10, 1 << 10] {
        let path = directory();
        fill(path.path(), record_bytes, TOTAL_BYTES).await;
        forget(path.path());
        let journal = open(path.path(), Sync::OnFsync, 64 << 30);
        let mut cursor = journal.open_cursor(journal.stream("traces"), "reader", CursorOptions::default()).unwrap();
        let (start, mut bytes, mut resident) = (Instant::now(), 0, 0);
        while cursor.unread().records > 0 {
            let Read::Records(records) = cursor.next(ReadLimit::default()).await else { panic!() };
            settle(&cursor, &records);
            bytes += records.iter().map(|record| record.payload.len() as u64).sum::<u64>();
            resident = resident.max(resident_mb());
        }
        let speed = megabytes(bytes, start.elapsed());
        println!("{record_bytes:>8} bytes a record: {speed:>6.0} MB/s, {resident} MB resident at most");
        drop(cursor);
        journal.shut_down().await;
    }
}

// === recovery ===

fn recoveries() {
    let sizes = std::env::var("CROSSFADE_BENCH_GB").unwrap_or_else(|_| "0.1,1".to_owned());
    println!("recovery: the time to open a journal of records of {RECORD_BYTES} bytes that is not in the page cache");
    for size in sizes.split(',').map(|size| size.trim().parse::<f64>().unwrap()) {
        let path = directory();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(fill(path.path(), RECORD_BYTES, (size * 1e9) as u64));
        // The process ends in the middle of a segment that is nearly full, and without a word.
        runtime.block_on(crash(path.path()));
        forget(path.path());
        let start = Instant::now();
        let options = DiskOptions { size_bytes_max: 64 << 30, ..DiskOptions::default() };
        let disk = Arc::new(Directory::lock(path.path()).unwrap());
        let (journal, _committer, recovery) = Journal::open_stepped(disk, options).unwrap();
        let open = start.elapsed();
        println!(
            "{size:>6} GB in {} segments: {:.0} ms, {} records pending",
            recovery.segments,
            open.as_secs_f64() * 1e3,
            journal.books(journal::Detail::Totals)[0].pending_records,
        );
    }
}

async fn crash(path: &Path) {
    let options = DiskOptions { size_bytes_max: 64 << 30, sync: Sync::OnWrite, ..DiskOptions::default() };
    let disk = Arc::new(Directory::lock(path).unwrap());
    let (journal, mut committer, _) = Journal::open_stepped(disk, options).unwrap();
    let (stream, payload) = (journal.stream("traces"), payload(RECORD_BYTES));
    for _ in 0..880 {
        let mut answer = std::pin::pin!(journal.append(vec![(stream, Record::new(payload.clone(), 1))]));
        let pending = std::future::poll_fn(|context| std::task::Poll::Ready(answer.as_mut().poll(context))).await;
        assert!(pending.is_pending());
        committer.step();
        answer.await.unwrap();
    }
}
