//! What it costs to watch two sides, in time on the processor: wall clocks tell little where others work too.
//!
//! `cargo run --release -p crossfade-parity --example cost -- 100000`, with the number of series of each side. It reads
//! Linux's account of the thread.
#![allow(missing_docs, clippy::print_stdout)]

#[path = "../../benches/fleet/mod.rs"]
mod fleet;

use std::time::Duration;

use fleet::{BATCH_ITEMS, Fleet, Kind, records, spans, warm};
use otlp::Batch;
use parity::{Comparator, Settings, Side};

/// More rounds than fit into the time to settle, and an even number.
const ROUNDS: u64 = 24;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let series = arguments.next().and_then(|series| series.parse().ok()).unwrap_or(100_000);
    let only = arguments.next();
    let is_asked = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    println!("{series} series on each side; nanoseconds of one processor");
    for (kind, series) in [(Kind::Counter, series), (Kind::Gauge, series), (Kind::Histogram, series / 5)] {
        if is_asked(&format!("{kind:?}")) {
            metrics(kind, series, 1000);
        }
    }
    if is_asked("Share") {
        metrics(Kind::Counter, series, 10);
    }
    for (ids, share_permille) in [("same ids", 1000), ("own ids", 1000), ("same ids", 10)] {
        if is_asked("Spans") {
            let name = format!("spans with {ids}, {share_permille} of 1000 compared");
            others(&name, share_permille, |side, round| spans(side, round, ids == "same ids"));
        }
    }
    for share_permille in [1000, 10] {
        if is_asked("Records") {
            others(&format!("records, {share_permille} of 1000 compared"), share_permille, |_, round| records(round));
        }
    }
}

fn settings(series: usize, share_permille: u32) -> Settings {
    let mut settings = Settings::default();
    settings.metrics.series_max = series;
    settings.metrics.share_permille = share_permille;
    settings.traces.share_permille = share_permille;
    settings.logs.share_permille = share_permille;
    settings
}

fn metrics(kind: Kind, series: usize, share_permille: u32) {
    let mut comparator = Comparator::new(settings(series, share_permille));
    let mut fleet = Fleet::new(kind, series);
    let first = fleet.next(series);
    let met = on_processor(|| observe(&mut comparator, &first));
    drop(first);
    warm(&mut comparator, &mut fleet, ROUNDS);
    let (mut observed, mut closed, mut least) = (Duration::ZERO, Duration::ZERO, Duration::MAX);
    const LOOKS: u32 = 5;
    for _ in 0..LOOKS {
        for _ in 0..2 {
            let batches = fleet.next(series);
            observed += on_processor(|| observe(&mut comparator, &batches));
        }
        let close = on_processor(|| drop(comparator.close()));
        closed += close;
        least = least.min(close);
    }
    let of_point = |time: Duration, rounds: usize| time.as_nanos() / (2 * rounds * series) as u128;
    println!(
        "{kind:?}, {share_permille} of 1000 compared: {} a point, {} where it is new; a look at all {series} series \
         takes {} ms, the fastest {}",
        of_point(observed, 2 * LOOKS as usize),
        of_point(met, 1),
        (closed / LOOKS).as_millis(),
        least.as_millis(),
    );
    for (share, active) in [(2, "half of them"), (100, "one in a hundred")] {
        // What is silent settles, and then half of it goes on.
        let looks = (0..10).map(|look| {
            for _ in 0..2 {
                observe(&mut comparator, &fleet.next(series / share));
            }
            let close = on_processor(|| drop(comparator.close()));
            if look < 6 { Duration::MAX } else { close }
        });
        let least = looks.min().unwrap_or_default();
        println!("  with points of {active} since the last one: {} ms", least.as_millis());
    }
}

fn others(name: &str, share_permille: u32, batch: impl Fn(Side, u64) -> Batch) {
    let mut comparator = Comparator::new(settings(1000, share_permille));
    let mut observed = Duration::ZERO;
    let (mut closed, mut looks) = (Duration::ZERO, 0);
    const BATCHES: u64 = 400;
    for round in 0..BATCHES {
        let batches = [Side::Legacy, Side::New].map(|side| (side, batch(side, round)));
        observed += on_processor(|| observe(&mut comparator, &batches));
        if round % 30 == 29 {
            closed += on_processor(|| drop(comparator.close()));
            looks += 1;
        }
    }
    let items = 2 * BATCHES as u128 * BATCH_ITEMS as u128;
    println!("{name}: {} each; a look takes {} us", observed.as_nanos() / items, (closed / looks).as_micros());
}

fn observe(comparator: &mut Comparator, batches: &[(Side, Batch)]) {
    batches.iter().for_each(|(side, batch)| comparator.observe(*side, batch));
}

/// The time that this thread ran for it.
fn on_processor(work: impl FnOnce()) -> Duration {
    let begin = ran();
    work();
    ran() - begin
}

fn ran() -> Duration {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = account.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("Linux keeps an account of each thread"))
}
