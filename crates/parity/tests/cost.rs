//! What a compared series takes in memory: everything that a comparator allocates, by series and side.
#![allow(missing_docs, dead_code)]

#[path = "../benches/fleet/mod.rs"]
mod fleet;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use fleet::{Fleet, Kind};
use parity::{Comparator, Settings};

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicI64 = AtomicI64::new(0);

/// Held by the test that counts.
static ALONE: Mutex<()> = Mutex::new(());

// A counting allocator cannot be written without it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as i64, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SERIES: usize = 400;

/// The most bytes that a series and side took, and what they take at the end. Samples come every 15 s, looks every 30 s,
/// what is older than 120 s is settled.
fn check(kind: Kind, hours: u64, most_max: i64, last_max: i64) {
    let _alone = ALONE.lock().unwrap();
    let mut fleet = Fleet::new(kind, SERIES);
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut settings = Settings::default();
    settings.metrics.series_max = SERIES;
    let mut comparator = Comparator::new(settings);
    let bytes = || (ALLOCATED.load(Ordering::Relaxed) - before) / (2 * SERIES) as i64;
    let (mut most, mut last) = (0, 0);
    for round in 0..hours * 240 {
        fleet.next(SERIES).iter().for_each(|(side, batch)| comparator.observe(*side, batch));
        if round % 2 == 1 {
            most = most.max(bytes());
            comparator.close();
            last = bytes();
        }
        if round % 240 == 239 {
            println!("{kind:?} after {} h: {last} bytes for a series and side, {most} at most so far", round / 240 + 1);
        }
    }
    assert!(most <= most_max && last <= last_max, "{kind:?}: {most} bytes at most, {last} after {hours} h");
}

/// In the first three hours the trend of a loss is looked for, which takes more.
#[test]
fn a_counter_takes_at_most_a_kibibyte_on_each_side() {
    check(Kind::Counter, 4, 1536, 1024);
}

#[test]
fn a_gauge_stays_bounded() {
    check(Kind::Gauge, 1, 100_000, 100_000);
}

#[test]
fn a_histogram_stays_bounded() {
    check(Kind::Histogram, 1, 100_000, 100_000);
}
