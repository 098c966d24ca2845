//! What a compared series takes in memory: everything that a comparator allocates, by series and side.
#![allow(missing_docs, dead_code)]

#[path = "../benches/fleet/mod.rs"]
mod fleet;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};

use fleet::{Fleet, Kind};
use parity::{Comparator, Settings};

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicI64 = AtomicI64::new(0);

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

/// Bytes that a series and side take after each hour, and at most. Samples come every 15 s, looks every 30 s, what is older
/// than 120 s is settled.
fn bytes(kind: Kind, hours: u64) -> (Vec<i64>, i64) {
    let mut fleet = Fleet::new(kind, SERIES);
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut settings = Settings::default();
    settings.metrics.series_max = SERIES;
    let mut comparator = Comparator::new(settings);
    let bytes = || (ALLOCATED.load(Ordering::Relaxed) - before) / (2 * SERIES) as i64;
    let (mut hourly, mut most) = (Vec::new(), 0);
    for round in 1..=hours * 240 {
        fleet.next(SERIES).iter().for_each(|(side, batch)| comparator.observe(*side, batch));
        if round % 2 == 0 {
            most = most.max(bytes());
            comparator.close();
        }
        if round % 240 == 0 {
            hourly.push(bytes());
        }
    }
    (hourly, most)
}

/// One test, since everything that is allocated meanwhile is counted.
#[test]
fn a_counter_takes_a_kibibyte_on_each_side_once_no_trend_is_looked_for_and_a_gauge_no_more_than_two() {
    let (hourly, most) = bytes(Kind::Counter, 4);
    println!("a counter takes {hourly:?} bytes on each side, hour by hour, and {most} at most");
    // In the first three hours, the trend of a loss takes more.
    assert!(hourly[3] <= 1024 && most <= 1536, "{hourly:?}, {most} at most");
    // A gauge takes the same however long it goes on: neighbouring windows become one.
    let (hourly, most) = bytes(Kind::Gauge, 6);
    println!("a gauge takes {hourly:?} bytes on each side, hour by hour, and {most} at most");
    assert!(most <= 1600, "{hourly:?}, {most} at most");
    let (hourly, most) = bytes(Kind::Histogram, 1);
    println!("a histogram takes {hourly:?} bytes on each side, hour by hour, and {most} at most");
    assert!(most <= 10_240, "{hourly:?}, {most} at most");
}
