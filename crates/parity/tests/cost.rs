//! What a compared series takes in memory.
#![allow(missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};

use parity::{Count, Counter, Demand, Side};

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

#[test]
fn a_counter_of_two_sides_stays_small_after_a_day() {
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut random = fastrand::Rng::with_seed(7);
    let mut counters: Vec<Counter> = (0..20).map(|_| Counter::default()).collect();
    for counter in &mut counters {
        let mut value = 0.0;
        for sample in 0..5760u64 {
            let time_unix_ns = (1_000_000 + sample * 15) * 1_000_000_000;
            for (side, later_ns) in [(Side::Legacy, 0), (Side::New, 7_000_000_000)] {
                value += f64::from(random.u32(..15));
                counter.observe(side, Count { time_unix_ns: time_unix_ns + later_ns, start_unix_ns: 0, value });
            }
            if sample % 4 == 0 {
                counter.seal(time_unix_ns.saturating_sub(120_000_000_000), &Demand::default());
            }
        }
    }
    let bytes = (ALLOCATED.load(Ordering::Relaxed) - before) / counters.len() as i64;
    println!("{bytes} bytes for a counter of two sides, of which {} are its own", size_of::<Counter>());
    assert!(bytes <= 2560, "{bytes} bytes for two sides");
}
