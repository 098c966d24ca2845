//! What it costs to read StatsD: lines through a shard to aggregated series, and a flush.
//!
//! `cargo bench -p crossfade-aggregation`; items are lines, or data points.
#![allow(missing_docs)]

use std::fmt::Write as _;
use std::sync::Arc;

use aggregation::statsd::{Settings, Shard, Source, Store};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};

/// Shows that known series cost no allocation.
#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const SERIES: usize = 10_000;
const LINES_PER_PACKET: usize = 30;

/// Packets of lines over all series, in an order that no cache can foresee.
fn packets(tags: usize, statsd_type: &str) -> Vec<Vec<u8>> {
    const TAGS: [&str; 8] = [
        "env:production",
        "service:checkout",
        "region:eu-central-1",
        "version:2026.11.3",
        "team:payments",
        "az:eu-central-1b",
        "runtime:jvm-21",
        "tier:frontend",
    ];
    let mut order: Vec<usize> = (0..SERIES * 3).map(|line| line % SERIES).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut order);
    let line = |out: &mut String, series: usize| {
        let _ = write!(out, "http.server.requests.route{}:{}|{statsd_type}", series % 1_000, series % 97 + 1);
        for (place, tag) in TAGS.iter().enumerate().take(tags) {
            let start = if place == 0 { "|#" } else { "," };
            let _ = match place {
                0 => write!(out, "{start}host:web-{}", series / 1_000),
                _ => write!(out, "{start}{tag}"),
            };
        }
        // Without tags, the name alone tells series apart.
        if tags == 0 {
            *out = out.replace("requests.", &format!("requests.h{}.", series / 1_000));
        }
        out.push('\n');
    };
    order
        .chunks(LINES_PER_PACKET)
        .map(|lines| {
            let mut packet = String::new();
            for &series in lines {
                let mut text = String::new();
                line(&mut text, series);
                packet.push_str(&text);
            }
            packet.into_bytes()
        })
        .collect()
}

fn run(bencher: Bencher<'_, '_>, packets: &[Vec<u8>]) {
    let mut shard = Shard::new(Arc::new(Settings::default()));
    for packet in packets {
        shard.packet(packet, Source::Local, 1);
    }
    bencher.counter(ItemsCount::new(SERIES * 3)).bench_local(|| {
        for packet in packets {
            black_box(shard.packet(black_box(packet), Source::Local, 1));
        }
    });
}

/// Counters of known series, with so many tags.
#[divan::bench(args = [0, 3, 8])]
fn counters(bencher: Bencher<'_, '_>, tags: usize) {
    run(bencher, &packets(tags, "c"));
}

/// Sampled counters of known series.
#[divan::bench]
fn sampled_counters(bencher: Bencher<'_, '_>) {
    run(bencher, &packets(3, "c|@0.1"));
}

/// Gauges of known series.
#[divan::bench]
fn gauges(bencher: Bencher<'_, '_>) {
    run(bencher, &packets(3, "g"));
}

/// Series that nobody knew before.
#[divan::bench]
fn new_series(bencher: Bencher<'_, '_>) {
    let packets = packets(3, "c");
    bencher.counter(ItemsCount::new(SERIES * 3)).bench_local(|| {
        let mut shard = Shard::new(Arc::new(Settings::default()));
        for packet in &packets {
            black_box(shard.packet(black_box(packet), Source::Local, 1));
        }
        shard
    });
}

/// A take, a merge and a flush of all series.
#[divan::bench]
fn flush(bencher: Bencher<'_, '_>) {
    let packets = packets(3, "c");
    let settings = Arc::new(Settings::default());
    let mut shard = Shard::new(Arc::clone(&settings));
    let mut store = Store::new(settings, 0);
    let mut now_ns = 1;
    bencher.counter(ItemsCount::new(SERIES)).bench_local(|| {
        for packet in &packets[..SERIES / LINES_PER_PACKET] {
            shard.packet(packet, Source::Local, now_ns);
        }
        store.merge(shard.take());
        now_ns += 1;
        store.flush(now_ns)
    });
}
