//! Lines and mapping files, mutated at random from a fixed seed. `FUZZ_ITERATIONS` sets how often (5,000 by default),
//! and `FUZZ_SEED` another seed.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use aggregation::statsd::line::{parse_line, split_head};
use aggregation::statsd::{Dialect, Mappings, Settings, Shard, Source, Store};
use support::{SECOND_NS, START_NS, settings, shown};

const LINES: &[&str] = &[
    "orders:3|c",
    "orders:1:2:3.5|d|@0.1|#k:v,flag",
    "depth:-3|g|#k:v|T1656581400|c:ci-abc|e:it-true,cn-a,pu-b|card:low",
    "users:a:b|s",
    "a,k=v,x=y:1|c|@0.5",
    "a#k=v:1|ms",
    "a;k=v;x=y:1e3|h",
    "a[k=v,x=y].b:1|c",
    "a:1|c:2|ms|@0.1:6|g",
    "_e{5,4}:title|text|t:error|p:low|d:12|h:host|k:key|s:src|#k:v",
    "_sc|db.up|2|d:12|h:host|#k:v|m:down m\\: now",
    "a:9223372036854775807|c",
    "a:1.7976931348623157e308|c|@0.001",
    "a:4.9e-324|d",
    "a:-1e308|g",
];

const INTERESTING: &[u8] = b":|@#,;=[]{}\n\r\\_+-.eT0123456789cgmshd\x00\xff\xc3\x80 ";

fn mutate(rng: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    let at = rng.usize(0..=bytes.len());
    match rng.u8(0..7) {
        0 if at < bytes.len() => bytes[at] = rng.u8(..),
        1 if at < bytes.len() => bytes[at] = INTERESTING[rng.usize(0..INTERESTING.len())],
        2 | 3 => bytes.insert(at, INTERESTING[rng.usize(0..INTERESTING.len())]),
        4 => drop(bytes.drain(at..(at + rng.usize(0..8)).min(bytes.len()))),
        5 => {
            let end = (at + rng.usize(0..16)).min(bytes.len());
            let copy = bytes[at.min(end)..end].to_vec();
            let to = rng.usize(0..=bytes.len());
            bytes.splice(to..to, copy);
        }
        _ if rng.u8(0..8) == 0 => bytes.truncate(at),
        _ => {}
    }
}

fn packet(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut packet = Vec::new();
    for _ in 0..rng.usize(1..6) {
        let mut line = match rng.u8(0..10) {
            0 => (0..rng.usize(0..64)).map(|_| rng.u8(..)).collect(),
            1 => (0..rng.usize(0..64)).map(|_| INTERESTING[rng.usize(0..INTERESTING.len())]).collect(),
            _ => LINES[rng.usize(0..LINES.len())].as_bytes().to_vec(),
        };
        for _ in 0..rng.usize(0..4) {
            mutate(rng, &mut line);
        }
        if rng.u8(..) == 0 {
            line = line.repeat(rng.usize(1..2_000));
        }
        packet.extend_from_slice(&line);
        packet.push(b'\n');
    }
    packet
}

fn rng() -> fastrand::Rng {
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    fastrand::Rng::with_seed(seed.unwrap_or(0x5747_5344))
}

fn iterations() -> usize {
    std::env::var("FUZZ_ITERATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(5_000)
}

fn all_settings() -> Vec<Settings> {
    let mapping = "{defaults: {observer_type: histogram}, mappings: [{match: '*.*', name: '$1', labels: {b: $2}},
        {match: '^_', match_type: regex, action: drop}, {match: '(.)(.*)', match_type: regex, name: '${2}_$1', scale: 3}]}";
    let expo = "timer_histogram_mapping: [{statsd_type: timer, observer_type: histogram, histogram: {max_size: 3}},
        {statsd_type: distribution, observer_type: histogram}, {statsd_type: histogram, observer_type: summary}]";
    vec![
        settings("enable_simple_tags: true"),
        settings(&format!("dialect: etsy\n{expo}")),
        settings(&format!("dialect: dogstatsd\ntemporality: cumulative\nmax_series: 50\nexpiry: 30s\n{expo}")),
        settings(&format!("temporality: cumulative\nenable_metric_type: true\n{expo}")),
        Settings::default().with_mappings(Mappings::parse("m.yml", mapping).unwrap()),
    ]
}

#[test]
fn mangled_packets_are_counted_and_whatever_is_written_is_valid() {
    let mut rng = rng();
    let settings: Vec<Arc<Settings>> = all_settings().into_iter().map(Arc::new).collect();
    let mut rigs: Vec<(Shard, Store)> = settings
        .iter()
        .map(|settings| (Shard::new(Arc::clone(settings)), Store::new(Arc::clone(settings), START_NS)))
        .collect();
    for iteration in 0..iterations() {
        let now_ns = START_NS + iteration as u64 * SECOND_NS;
        let packet = packet(&mut rng);
        let (shard, store) = &mut rigs[iteration % settings.len()];
        // Twice, since the second time every line is known.
        for _ in 0..2 {
            let report = shard.packet(&packet, Source::Local, now_ns);
            assert_eq!(report.first_malformed.is_some(), report.malformed.total() > 0);
            assert!(report.dropped + report.malformed.total() <= report.lines);
        }
        if rng.u8(0..20) == 0 {
            store.merge(shard.take());
            // Parses each batch as if it came from outside.
            shown(&store.flush(now_ns));
        }
    }
}

#[test]
fn a_line_is_read_the_same_way_from_its_parts() {
    let mut rng = rng();
    for _ in 0..iterations() {
        let packet = packet(&mut rng);
        for line in packet.split(|&byte| byte == b'\n') {
            for dialect in [Dialect::Auto, Dialect::Etsy, Dialect::Dogstatsd] {
                let Ok(parsed) = parse_line(line, dialect) else { continue };
                let head = split_head(line).unwrap();
                assert!(head.name.starts_with(parsed.name) && parsed.rate > 0.0 && parsed.rate <= 1.0);
                assert!(parsed.values.clone().count() >= 1);
                parsed.tags().for_each(drop);
            }
        }
    }
}

#[test]
fn mangled_mapping_files_are_refused_or_work() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/mapping");
    let files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let mut rng = rng();
    for _ in 0..iterations() / 10 {
        let mut text = files[rng.usize(0..files.len())].clone().into_bytes();
        for _ in 0..rng.usize(0..6) {
            mutate(&mut rng, &mut text);
        }
        let Ok(mappings) = Mappings::parse("m.yml", &String::from_utf8_lossy(&text)) else { continue };
        let mut shard = Shard::new(Arc::new(Settings::default().with_mappings(mappings)));
        let lines = b"test.dispatcher.a.b.c:1|c\nfoo.bar:1|g\nproxy-1.http-goober.success:5|ms\n...:1|c\nx:1|s";
        assert_eq!(shard.packet(lines, Source::Local, START_NS).malformed.total(), 0);
    }
}
