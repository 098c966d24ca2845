//! What was found out about a stream, so that each further point of it costs one look-up.
//!
//! A stream is what one writer sends of one series: resource, scope, metric and attributes, as their bytes stand in the
//! message. It is known by a sum of hashes of those, 128 bits wide and begun with a seed of the process: the order of
//! attributes does not matter, and two of a million streams meet by chance once in 10^26 processes. Nobody outside knows
//! the seed, so that nobody can make them meet.
//!
//! Those who send do so in the same order each time, so that after a stream the one is looked for that came after it before:
//! no search, and what lies side by side is read side by side.
//!
//! Two generations bound what is remembered. When the young one is full, the old one is forgotten and the young one
//! becomes old; what is met again moves to the young one.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use super::identities::{GONE, reserve};

/// What a stream leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// To the series with this number.
    To(u32),
    /// To none: it is not of the share that is compared.
    NotSampled,
    /// To none: there were too many series before it.
    LeftOut,
}

const NOT_SAMPLED: u32 = u32::MAX;
const LEFT_OUT: u32 = u32::MAX - 1;

/// In words of 32 bits, so that an entry is no larger than its parts.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: [u32; 4],
    leads: u32,
}

/// Streams in the order in which they were met.
#[derive(Debug, Default)]
struct Generation {
    entries: Vec<Entry>,
    numbers: HashTable<u32>,
    /// Where the next one is looked for first.
    next: usize,
}

impl Generation {
    fn find(&mut self, key: u128) -> Option<Entry> {
        let words = words(key);
        let at = match self.entries.get(self.next) {
            Some(entry) if entry.key == words => self.next,
            _ => *self.numbers.find(key as u64, |number| self.entries[*number as usize].key == words)? as usize,
        };
        self.next = at + 1;
        Some(self.entries[at])
    }

    fn insert(&mut self, entry: Entry) {
        let number = self.entries.len() as u32;
        reserve(&mut self.entries);
        self.entries.push(entry);
        self.next = self.entries.len();
        let entries = &self.entries;
        self.numbers.insert_unique(hash(&entry), number, |number| hash(&entries[*number as usize]));
    }
}

/// The streams that were met lately.
#[derive(Debug)]
pub(super) struct Streams {
    seed: u64,
    young: Generation,
    old: Generation,
    generation_max: usize,
}

impl Default for Streams {
    fn default() -> Self {
        Streams::new(1024)
    }
}

impl Streams {
    /// Remembers at most twice as many.
    pub(super) fn new(generation_max: usize) -> Streams {
        let seed = RandomState::new().hash_one(0u64);
        Streams { seed, young: Generation::default(), old: Generation::default(), generation_max }
    }

    /// The hash of bytes that belong to a stream.
    pub(super) fn hash(&self, bytes: &[u8]) -> u128 {
        xxh3_128_with_seed(bytes, self.seed)
    }

    /// A shorter hash, of which many are put together to one.
    pub(super) fn part(&self, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.seed)
    }

    pub(super) fn get(&mut self, key: u128) -> Option<Leads> {
        if let Some(entry) = self.young.find(key) {
            return Some(leads(entry.leads));
        }
        let entry = self.old.find(key)?;
        self.insert(entry);
        Some(leads(entry.leads))
    }

    pub(super) fn put(&mut self, key: u128, to: Leads) {
        let leads = match to {
            Leads::To(series) => series,
            Leads::NotSampled => NOT_SAMPLED,
            Leads::LeftOut => LEFT_OUT,
        };
        self.insert(Entry { key: words(key), leads });
    }

    /// Gives the series new numbers, and forgets the streams of those that have none. What was left out has another try.
    pub(super) fn keep(&mut self, numbers: &[u32]) {
        for generation in [&mut self.young, &mut self.old] {
            let before = std::mem::take(generation);
            for entry in before.entries {
                let leads = match entry.leads {
                    NOT_SAMPLED => NOT_SAMPLED,
                    LEFT_OUT => continue,
                    series if numbers[series as usize] == GONE => continue,
                    series => numbers[series as usize],
                };
                generation.insert(Entry { leads, ..entry });
            }
        }
    }

    fn insert(&mut self, entry: Entry) {
        if self.young.entries.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(entry);
    }
}

fn leads(leads: u32) -> Leads {
    match leads {
        NOT_SAMPLED => Leads::NotSampled,
        LEFT_OUT => Leads::LeftOut,
        series => Leads::To(series),
    }
}

fn words(key: u128) -> [u32; 4] {
    [0, 32, 64, 96].map(|shift| (key >> shift) as u32)
}

fn hash(entry: &Entry) -> u64 {
    u64::from(entry.key[0]) | u64::from(entry.key[1]) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_met_again_and_again_is_remembered_and_memory_is_bounded() {
        let mut streams = Streams::new(100);
        let key = |name: u32, streams: &Streams| streams.hash(&name.to_le_bytes());
        for name in 0..10_000u32 {
            let (often, once) = (key(0, &streams), key(name + 1, &streams));
            if name % 50 == 0 {
                assert_eq!(streams.get(often), (name > 0).then_some(Leads::To(7)), "{name}");
                if name == 0 {
                    streams.put(often, Leads::To(7));
                }
            }
            assert_eq!(streams.get(once), None);
            streams.put(once, if name % 2 == 0 { Leads::NotSampled } else { Leads::LeftOut });
            assert_eq!(streams.get(once), Some(if name % 2 == 0 { Leads::NotSampled } else { Leads::LeftOut }));
            assert!(streams.young.entries.len() + streams.old.entries.len() <= 200);
        }
    }
}
