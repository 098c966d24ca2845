//! Random damage to files that a journal wrote, with checksums made right again, so that what lies behind them is
//! reached. `CROSSFADE_FUZZ=N` runs more of it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod entries;

const GOLDEN: &[u8] = include_bytes!("../../testdata/v1.segment");
const FILE_HEADER_BYTES: usize = 48;
const ENTRY_HEADER_BYTES: usize = 40;

fn number(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_le_bytes(four.try_into().unwrap()) as usize)
}

/// Makes every checksum of a front right, entry by entry as the lengths say.
fn mend(bytes: &mut [u8]) {
    if bytes.len() < FILE_HEADER_BYTES {
        return;
    }
    let crc = crc32c::crc32c(&bytes[..44]);
    bytes[44..48].copy_from_slice(&crc.to_le_bytes());
    let mut at = FILE_HEADER_BYTES;
    while at + ENTRY_HEADER_BYTES <= bytes.len() {
        let (head, body) = (number(bytes, at + 24), number(bytes, at + 28));
        let Some(content) = bytes.get(at + ENTRY_HEADER_BYTES..(at + ENTRY_HEADER_BYTES).saturating_add(head)) else {
            return;
        };
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 32]), content);
        bytes[at + 32..at + 36].copy_from_slice(&crc.to_le_bytes());
        at = (at + ENTRY_HEADER_BYTES).saturating_add(head).saturating_add(body).next_multiple_of(8);
    }
}

/// Numbers that are worth more than their share.
const NUMBERS: [u64; 8] = [0, 1, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 62, u64::MAX];

fn damage(rng: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..bytes.len());
        match rng.u32(..6) {
            0 => bytes[at] ^= 1 << rng.u8(..8),
            1 => bytes[at] = rng.u8(..),
            2 | 3 => {
                let value = NUMBERS[rng.usize(..NUMBERS.len())].to_le_bytes();
                let length = if rng.bool() { 4 } else { 8 }.min(bytes.len() - at);
                bytes[at..at + length].copy_from_slice(&value[..length]);
            }
            4 => {
                let from = rng.usize(..bytes.len());
                let length = rng.usize(..200).min(bytes.len() - at).min(bytes.len() - from);
                bytes.copy_within(from..from + length, at);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
}

#[test]
fn no_bytes_in_a_segment_end_the_process_or_take_more_memory_than_they_are() {
    let rounds = std::env::var("CROSSFADE_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(3000);
    let mut found = 0;
    for seed in 0..rounds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bytes = GOLDEN.to_vec();
        damage(&mut rng, &mut bytes);
        if rng.u32(..4) > 0 {
            mend(&mut bytes);
        }
        bytes.insert(0, rng.u8(..));
        let result = std::panic::catch_unwind(|| entries::segments(&bytes));
        found += u32::from(result.unwrap_or_else(|panic| {
            eprintln!("seed {seed} fails");
            std::panic::resume_unwind(panic)
        }));
    }
    assert!(found > 100, "{found} of {rounds} got as far as a record");
}

#[test]
fn noise_is_no_journal() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let length = rng.usize(..2000);
        let bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
        assert!(!entries::segments(&bytes));
    }
}
