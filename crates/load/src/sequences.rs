//! Sets of sequence numbers: exact, and small where numbers stand together.
//!
//! A set is divided into chunks of 32,768 numbers. A full chunk costs a few bytes, a partial one a bitmap of 4 KiB; so a
//! billion numbers without gaps take less than a megabyte, and a bit each at worst.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::identity::SEQUENCE_MAX;

const CHUNK_LEN: u64 = 1 << 15;
const WORDS: usize = (CHUNK_LEN / 64) as usize;

/// A set of sequence numbers.
#[derive(Clone, Debug, Default)]
pub struct SequenceSet {
    chunks: BTreeMap<u64, Chunk>,
    len: u64,
    bitmaps: usize,
}

#[derive(Clone, Debug)]
enum Chunk {
    Full,
    Partial { present: u32, bits: Box<[u64; WORDS]> },
}

/// Ranges of sequence numbers, ascending and apart, each with its first and last number. In JSON `[[1,200],[401,600]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(pub Vec<(u64, u64)>);

impl SequenceSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many numbers there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// About how much memory the set holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 32;
        self.bitmaps * WORDS * 8 + self.chunks.len() * ENTRY_BYTES
    }

    /// Whether the number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.count_in(number..=number) == 1
    }

    /// Adds one number. Returns whether it is new.
    pub fn insert(&mut self, number: u64) -> bool {
        self.insert_range(number..=number) == 1
    }

    /// Adds a range of numbers. Returns how many of them are new.
    pub fn insert_range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let mut added = 0;
        for (key, first, last) in by_chunk(&range) {
            if first == 0 && last == CHUNK_LEN - 1 && !self.chunks.contains_key(&key) {
                self.chunks.insert(key, Chunk::Full);
                added += CHUNK_LEN;
                continue;
            }
            let bitmaps = &mut self.bitmaps;
            let chunk = self.chunks.entry(key).or_insert_with(|| {
                *bitmaps += 1;
                Chunk::Partial { present: 0, bits: Box::new([0; WORDS]) }
            });
            let Chunk::Partial { present, bits } = chunk else { continue };
            let new = set_bits(bits, first, last);
            added += u64::from(new);
            *present += new;
            if u64::from(*present) == CHUNK_LEN {
                *chunk = Chunk::Full;
                self.bitmaps -= 1;
            }
        }
        self.len += added;
        added
    }

    /// How many numbers of the range are in the set.
    pub fn count_in(&self, range: RangeInclusive<u64>) -> u64 {
        let Some((first_key, last_key)) = chunk_keys(&range) else { return 0 };
        let present = self.chunks.range(first_key..=last_key).map(|(key, chunk)| {
            let (first, last) = clip(&range, *key);
            match chunk {
                Chunk::Full => last - first + 1,
                Chunk::Partial { bits, .. } => {
                    words(first, last).map(|(index, mask)| u64::from((bits[index] & mask).count_ones())).sum()
                }
            }
        });
        present.sum()
    }

    /// The ranges of which the set consists, ascending, at most `max` of them.
    pub fn ranges(&self, max: usize) -> Ranges {
        let mut found = Ranges::default();
        for (key, chunk) in &self.chunks {
            let base = key * CHUNK_LEN;
            match chunk {
                Chunk::Full => found.append(base, base + CHUNK_LEN - 1),
                Chunk::Partial { bits, .. } => {
                    let mut from = 0;
                    while let Some(first) = next_bit(bits, from, 0) {
                        let end = next_bit(bits, first, u64::MAX).unwrap_or(CHUNK_LEN);
                        found.append(base + first, base + end - 1);
                        if found.0.len() > max {
                            break;
                        }
                        from = end;
                    }
                }
            }
            if found.0.len() > max {
                found.0.truncate(max);
                break;
            }
        }
        found
    }

    /// The ranges within `range` that are not in the set, ascending, at most `max` of them.
    pub fn absent_in(&self, range: RangeInclusive<u64>, max: usize) -> Vec<(u64, u64)> {
        let (mut from, end) = (*range.start(), *range.end());
        let mut absent = Vec::new();
        while from <= end && absent.len() < max {
            let last = if self.contains(from) {
                self.end_of_run(from, end, Membership::Present)
            } else {
                let last = self.end_of_run(from, end, Membership::Absent);
                absent.push((from, last));
                last
            };
            if last == end {
                break;
            }
            from = last + 1;
        }
        absent
    }

    /// The last number of the run of members, or of others, that begins at `from`, at most `end`.
    fn end_of_run(&self, from: u64, end: u64, membership: Membership) -> u64 {
        // Doubling, then halving: the counts of whole ranges are cheap.
        let whole = |last: u64| match membership {
            Membership::Present => self.count_in(from..=last) == last - from + 1,
            Membership::Absent => self.count_in(from..=last) == 0,
        };
        let mut known = from;
        let mut step = 1;
        while known < end && whole(known.saturating_add(step).min(end)) {
            known = known.saturating_add(step).min(end);
            step *= 2;
        }
        let mut beyond = known.saturating_add(step).min(end.saturating_add(1));
        while beyond - known > 1 {
            let middle = known + (beyond - known) / 2;
            if whole(middle) {
                known = middle;
            } else {
                beyond = middle;
            }
        }
        known
    }
}

#[derive(Clone, Copy)]
enum Membership {
    Present,
    Absent,
}

impl Ranges {
    /// How many numbers there are.
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum, (first, last)| sum.saturating_add(last.saturating_sub(*first).saturating_add(1)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a range behind the others; joins it with the last one where they touch.
    fn append(&mut self, first: u64, last: u64) {
        match self.0.last_mut() {
            Some((_, end)) if *end + 1 == first => *end = last,
            _ => self.0.push((first, last)),
        }
    }
}

/// Ranges, as from a file, that are no set of sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// The end before the start, or beyond what a sequence number can be.
    #[error("[{first},{last}] is no range of sequence numbers")]
    Bounds {
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// More numbers than any run has.
    #[error("the ranges hold more than {max} numbers")]
    TooMany {
        /// The limit.
        max: u64,
    },
}

impl TryFrom<&Ranges> for SequenceSet {
    type Error = RangesError;

    /// Ranges that overlap count as the set of their numbers.
    fn try_from(ranges: &Ranges) -> Result<Self, RangesError> {
        // A full chunk costs some bytes, so this many numbers can be held.
        const NUMBERS_MAX: u64 = 100_000_000_000;
        let mut claimed = 0u64;
        let mut set = SequenceSet::new();
        for (first, last) in ranges.0.iter().copied() {
            if first > last || last > SEQUENCE_MAX {
                return Err(RangesError::Bounds { first, last });
            }
            claimed = claimed.saturating_add(last - first + 1);
            if claimed > NUMBERS_MAX {
                return Err(RangesError::TooMany { max: NUMBERS_MAX });
            }
            set.insert_range(first..=last);
        }
        Ok(set)
    }
}

/// The keys of the first and the last chunk of a range, unless it is empty.
fn chunk_keys(range: &RangeInclusive<u64>) -> Option<(u64, u64)> {
    (!range.is_empty()).then(|| (range.start() / CHUNK_LEN, range.end() / CHUNK_LEN))
}

/// The part of a range that lies in a chunk, relative to it.
fn clip(range: &RangeInclusive<u64>, key: u64) -> (u64, u64) {
    let base = key * CHUNK_LEN;
    (range.start().saturating_sub(base), (range.end() - base).min(CHUNK_LEN - 1))
}

fn by_chunk(range: &RangeInclusive<u64>) -> impl Iterator<Item = (u64, u64, u64)> {
    let keys = chunk_keys(range).map(|(first, last)| first..=last);
    let range = range.clone();
    keys.into_iter().flatten().map(move |key| {
        let (first, last) = clip(&range, key);
        (key, first, last)
    })
}

/// The words of a bitmap that hold the bits from `first` to `last`, each with the mask of those bits.
fn words(first: u64, last: u64) -> impl Iterator<Item = (usize, u64)> {
    let (first_word, last_word) = ((first / 64) as usize, (last / 64) as usize);
    (first_word..=last_word).map(move |index| {
        let from = if index == first_word { u64::MAX << (first % 64) } else { u64::MAX };
        let to = if index == last_word { u64::MAX >> (63 - last % 64) } else { u64::MAX };
        (index, from & to)
    })
}

fn set_bits(bits: &mut [u64; WORDS], first: u64, last: u64) -> u32 {
    let mut new = 0;
    for (index, mask) in words(first, last) {
        new += (mask & !bits[index]).count_ones();
        bits[index] |= mask;
    }
    new
}

/// The first bit from `from` on that is set in `bits ^ flip`.
fn next_bit(bits: &[u64; WORDS], from: u64, flip: u64) -> Option<u64> {
    if from >= CHUNK_LEN {
        return None;
    }
    words(from, CHUNK_LEN - 1).find_map(|(index, mask)| {
        let word = (bits[index] ^ flip) & mask;
        (word != 0).then(|| index as u64 * 64 + u64::from(word.trailing_zeros()))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges_of(model: &BTreeSet<u64>) -> Ranges {
        let mut ranges = Ranges::default();
        for number in model {
            ranges.append(*number, *number);
        }
        ranges
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_set_answers_as_a_plain_set_does(
            inserts in prop::collection::vec((0u64..70_000, 1u64..34_000), 0..5),
            (ask, width) in (0u64..80_000, 1u64..50_000),
        ) {
            let mut set = SequenceSet::new();
            let mut model = BTreeSet::new();
            for (first, len) in inserts {
                let range = first..=first + len - 1;
                let before = model.len();
                model.extend(range.clone());
                prop_assert_eq!(set.insert_range(range), (model.len() - before) as u64);
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            let asked = ask..=ask + width - 1;
            prop_assert_eq!(set.count_in(asked.clone()), model.range(asked.clone()).count() as u64);
            prop_assert_eq!(set.contains(ask), model.contains(&ask));
            prop_assert_eq!(set.ranges(usize::MAX), ranges_of(&model));
            let absent = asked.clone().collect::<BTreeSet<_>>().difference(&model).copied().collect();
            prop_assert_eq!(Ranges(set.absent_in(asked, usize::MAX)), ranges_of(&absent));
            let again = SequenceSet::try_from(&ranges_of(&model)).unwrap();
            prop_assert_eq!(again.ranges(usize::MAX), ranges_of(&model));
        }

        #[test]
        fn single_numbers_are_found_again(numbers in prop::collection::vec(0u64..70_000, 0..300)) {
            let mut set = SequenceSet::new();
            let mut model = BTreeSet::new();
            for number in numbers {
                prop_assert_eq!(set.insert(number), model.insert(number));
            }
            prop_assert_eq!(set.ranges(usize::MAX), ranges_of(&model));
        }
    }

    #[test]
    fn a_billion_numbers_in_order_take_less_than_two_megabytes() {
        let mut set = SequenceSet::new();
        for request in 0..1000 {
            set.insert_range(request * 1_000_000 + 1..=(request + 1) * 1_000_000);
        }
        assert_eq!(set.len(), 1_000_000_000);
        assert!(set.memory_bytes() < 2 << 20, "{}", set.memory_bytes());
        assert_eq!(set.ranges(10), Ranges(vec![(1, 1_000_000_000)]));
    }

    #[test]
    fn every_other_number_takes_a_bit_each() {
        let mut set = SequenceSet::new();
        for number in (1..=1_000_000).step_by(2) {
            assert!(set.insert(number));
        }
        assert_eq!(set.len(), 500_000);
        assert!(set.memory_bytes() < 150 << 10, "{}", set.memory_bytes());
        assert_eq!(set.ranges(3), Ranges(vec![(1, 1), (3, 3), (5, 5)]));
    }

    #[test]
    fn the_greatest_numbers_do_no_harm() {
        let mut set = SequenceSet::new();
        assert!(set.insert(u64::MAX));
        assert!(set.contains(u64::MAX));
        assert_eq!(set.count_in(0..=u64::MAX), 1);
        assert_eq!(set.absent_in(u64::MAX - 3..=u64::MAX, 5), [(u64::MAX - 3, u64::MAX - 1)]);
    }

    #[test]
    fn ranges_that_cannot_be_are_refused() {
        let check = |first, last, expected: &str| {
            let error = SequenceSet::try_from(&Ranges(vec![(1, 2), (first, last)])).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(7, 6, "[7,6]");
        check(1, u64::MAX, "no range of sequence numbers");
        check(1, SEQUENCE_MAX, "more than 100000000000");
    }

    #[test]
    fn ranges_are_pairs_in_json() {
        let ranges = Ranges(vec![(1, 200), (401, 600)]);
        assert_eq!(serde_json::to_string(&ranges).unwrap(), "[[1,200],[401,600]]");
        assert_eq!(ranges.len(), 400);
    }
}
