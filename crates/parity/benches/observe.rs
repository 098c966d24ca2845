//! What it costs to watch two sides: a point, span or record of either, and a look at everything.
//!
//! `cargo bench -p crossfade-parity`; items are points, spans or records, or series for `close`.
#![allow(missing_docs)]

mod fleet;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use fleet::{BATCH_ITEMS, Fleet, Kind, records, spans, warm};
use parity::{Comparator, Settings, Side};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

const SERIES: usize = 100_000;
/// More rounds than fit into the time to settle, and an even number.
const ROUNDS: u64 = 24;

fn settings(share_permille: u32) -> Settings {
    let mut settings = Settings::default();
    settings.metrics.series_max = 2 * SERIES;
    settings.metrics.share_permille = share_permille;
    settings.traces.share_permille = share_permille;
    settings.logs.share_permille = share_permille;
    settings
}

/// Points of known series; a round is one sample of each series on both sides.
fn observed(bencher: Bencher<'_, '_>, kind: Kind, series: usize, share_permille: u32) {
    let mut comparator = Comparator::new(settings(share_permille));
    let mut fleet = Fleet::new(kind, series);
    warm(&mut comparator, &mut fleet, ROUNDS);
    let comparator = std::cell::RefCell::new(comparator);
    bencher
        .counter(ItemsCount::new(2 * series))
        .with_inputs(|| {
            if fleet.round.is_multiple_of(2) {
                comparator.borrow_mut().close();
            }
            fleet.next(series)
        })
        .bench_local_refs(|batches| {
            let mut comparator = comparator.borrow_mut();
            batches.iter().for_each(|(side, batch)| comparator.observe(*side, black_box(batch)));
        });
}

#[divan::bench(sample_count = 8, sample_size = 1)]
fn observe_counters(bencher: Bencher<'_, '_>) {
    observed(bencher, Kind::Counter, SERIES, 1000);
}

/// One of a hundred series is compared.
#[divan::bench(sample_count = 8, sample_size = 1)]
fn observe_a_share_of_counters(bencher: Bencher<'_, '_>) {
    observed(bencher, Kind::Counter, SERIES, 10);
}

#[divan::bench(sample_count = 8, sample_size = 1)]
fn observe_gauges(bencher: Bencher<'_, '_>) {
    observed(bencher, Kind::Gauge, SERIES, 1000);
}

#[divan::bench(sample_count = 8, sample_size = 1)]
fn observe_histograms(bencher: Bencher<'_, '_>) {
    observed(bencher, Kind::Histogram, SERIES / 5, 1000);
}

/// A look at so many series, of which a part saw two points on each side since the last look.
fn closed(bencher: Bencher<'_, '_>, kind: Kind, series: usize, active: usize) {
    let mut comparator = Comparator::new(settings(1000));
    let mut fleet = Fleet::new(kind, series);
    warm(&mut comparator, &mut fleet, ROUNDS);
    let comparator = std::cell::RefCell::new(comparator);
    let mut observe = || {
        for _ in 0..2 {
            fleet.next(active).iter().for_each(|(side, batch)| comparator.borrow_mut().observe(*side, batch));
        }
    };
    // What is silent has settled.
    for _ in 0..6 {
        observe();
        comparator.borrow_mut().close();
    }
    bencher
        .counter(ItemsCount::new(series))
        .with_inputs(observe)
        .bench_local_values(|()| black_box(comparator.borrow_mut().close()));
}

#[divan::bench(sample_count = 5, sample_size = 1, args = [1, 50, 100])]
fn close_200_000_counters(bencher: Bencher<'_, '_>, active_percent: usize) {
    closed(bencher, Kind::Counter, 2 * SERIES, 2 * SERIES / 100 * active_percent);
}

#[divan::bench(sample_count = 5, sample_size = 1, args = [50])]
fn close_200_000_gauges(bencher: Bencher<'_, '_>, active_percent: usize) {
    closed(bencher, Kind::Gauge, 2 * SERIES, 2 * SERIES / 100 * active_percent);
}

#[divan::bench(sample_count = 5, sample_size = 1, args = [50])]
fn close_20_000_histograms(bencher: Bencher<'_, '_>, active_percent: usize) {
    closed(bencher, Kind::Histogram, SERIES / 5, SERIES / 500 * active_percent);
}

/// Spans of both sides.
#[divan::bench(sample_count = 50, sample_size = 1, args = [("same ids", 1000), ("own ids", 1000), ("same ids", 10)])]
fn observe_spans(bencher: Bencher<'_, '_>, (ids, share_permille): (&str, u32)) {
    let comparator = std::cell::RefCell::new(Comparator::new(settings(share_permille)));
    let mut round = 0;
    bencher
        .counter(ItemsCount::new(2 * BATCH_ITEMS))
        .with_inputs(|| {
            round += 1;
            if round % 30 == 0 {
                comparator.borrow_mut().close();
            }
            [Side::Legacy, Side::New].map(|side| (side, spans(side, round, ids == "same ids")))
        })
        .bench_local_refs(|batches| {
            let mut comparator = comparator.borrow_mut();
            batches.iter().for_each(|(side, batch)| comparator.observe(*side, black_box(batch)));
        });
}

/// Records of both sides.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn observe_records(bencher: Bencher<'_, '_>) {
    let comparator = std::cell::RefCell::new(Comparator::new(settings(1000)));
    let mut round = 0;
    bencher
        .counter(ItemsCount::new(2 * BATCH_ITEMS))
        .with_inputs(|| {
            round += 1;
            if round % 30 == 0 {
                comparator.borrow_mut().close();
            }
            [Side::Legacy, Side::New].map(|side| (side, records(round)))
        })
        .bench_local_refs(|batches| {
            let mut comparator = comparator.borrow_mut();
            batches.iter().for_each(|(side, batch)| comparator.observe(*side, black_box(batch)));
        });
}
