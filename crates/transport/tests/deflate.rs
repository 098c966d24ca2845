//! What the gzip and zlib compressors write, at every level they offer, is read alike by two decoders of other makers:
//! zlib-rs and libdeflate. They share no code with each other, nor with the compressor of the fast level.

#![allow(clippy::unwrap_used)]

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use libdeflater::Decompressor;
use proptest::collection::vec;
use proptest::prelude::*;
use transport::coding::{Coding, Level, compress, decompress};

/// Every level that a configuration can ask for, those beyond the scale included, which are clamped.
const LEVELS: [Level; 13] = [
    Level::Fast,
    Level::Exact(-1),
    Level::Exact(0),
    Level::Exact(1),
    Level::Exact(2),
    Level::Exact(3),
    Level::Exact(4),
    Level::Exact(5),
    Level::Exact(6),
    Level::Exact(7),
    Level::Exact(8),
    Level::Exact(9),
    Level::Exact(10),
];

fn check(payload: &[u8], levels: &[Level]) {
    for level in levels {
        let gzip = compress(Coding::Gzip, *level, payload);
        let mut found = Vec::new();
        MultiGzDecoder::new(&gzip[..]).read_to_end(&mut found).unwrap();
        assert!(found == payload, "gzip, {level:?}: zlib-rs");
        found.fill(0);
        let written = Decompressor::new().gzip_decompress(&gzip, &mut found).unwrap();
        assert!(written == payload.len() && found == payload, "gzip, {level:?}: libdeflate");
        assert!(decompress(Coding::Gzip, &gzip, payload.len()).unwrap() == payload, "gzip, {level:?}: our own");

        let zlib = compress(Coding::Deflate, *level, payload);
        let mut found = Vec::new();
        ZlibDecoder::new(&zlib[..]).read_to_end(&mut found).unwrap();
        assert!(found == payload, "zlib, {level:?}: zlib-rs");
        found.fill(0);
        let written = Decompressor::new().zlib_decompress(&zlib, &mut found).unwrap();
        assert!(written == payload.len() && found == payload, "zlib, {level:?}: libdeflate");
        assert!(decompress(Coding::Deflate, &zlib, payload.len()).unwrap() == payload, "zlib, {level:?}: our own");
    }
}

/// One stretch of a payload.
#[derive(Clone, Debug)]
enum Part {
    /// Bytes that nothing predicts.
    Noise(Vec<u8>),
    /// Bytes of a small alphabet, so that codes are short and matches are chance.
    Few(Vec<u8>),
    /// One byte again and again.
    Run(u8, usize),
    /// A copy of what stood this far back; copies longer than their distance overlap.
    Copy(usize, usize),
    /// Each of the first symbols of an alphabet twice as often as the one before: the codes become as long as they may.
    Skewed(u8),
}

fn part() -> impl Strategy<Value = Part> {
    // Distances and lengths around the ends of what DEFLATE can say.
    let distance = prop_oneof![1..20_usize, 1..2000_usize, 32_760..32_780_usize, 1..70_000_usize];
    let length = prop_oneof![1..12_usize, 250..270_usize, 1..3000_usize];
    prop_oneof![
        vec(any::<u8>(), 0..300).prop_map(Part::Noise),
        vec(0..4_u8, 0..1000).prop_map(Part::Few),
        (any::<u8>(), length.clone()).prop_map(|(byte, length)| Part::Run(byte, length)),
        (distance, length).prop_map(|(distance, length)| Part::Copy(distance, length)),
        (1..15_u8).prop_map(Part::Skewed),
    ]
}

fn payload(parts: Vec<Part>) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for part in parts {
        match part {
            Part::Noise(bytes) | Part::Few(bytes) => out.extend_from_slice(&bytes),
            Part::Run(byte, length) => out.resize(out.len() + length, byte),
            Part::Copy(distance, length) => {
                for _ in 0..length {
                    let from = out.len().saturating_sub(distance);
                    out.push(out.get(from).copied().unwrap_or(0));
                }
            }
            Part::Skewed(symbols) => {
                (0..symbols).for_each(|symbol| out.resize(out.len() + (1 << symbol), 0x80 + symbol));
            }
        }
    }
    out
}

/// Noise that repeats nowhere.
fn noise(size: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(size as u64);
    (0..size).map(|_| rng.u8(..)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_small_payload_comes_back_at_every_level(parts in vec(part(), 0..8).prop_map(payload)) {
        check(&parts, &LEVELS);
    }

    #[test]
    fn any_large_payload_comes_back_at_the_fast_level(parts in vec(part(), 40..160).prop_map(payload)) {
        check(&parts, &[Level::Fast]);
    }
}

#[test]
fn the_shortest_payloads_come_back_at_every_level() {
    for size in 0..40 {
        check(&noise(size), &LEVELS);
        check(&vec![b'-'; size], &LEVELS);
    }
}

#[test]
fn payloads_around_the_sizes_of_blocks_and_windows_come_back_at_every_level() {
    for size in [32_768, 65_535, 65_536, 100_000] {
        check(&noise(size), &LEVELS);
        check(&vec![0; size], &LEVELS);
        let text: Vec<u8> = b"service.name=checkout;".iter().copied().cycle().take(size).collect();
        check(&text, &LEVELS);
    }
}
