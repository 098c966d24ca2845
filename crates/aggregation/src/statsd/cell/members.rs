//! The members of a set.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_128;

use crate::statsd::StatsdHasher;

/// Different values, each as its 128-bit hash: two values that share one are not to be expected in any set's life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members(HashSet<u128, StatsdHasher>);

/// Whether a value was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    New,
    Known,
}

impl Members {
    pub(crate) fn add(&mut self, value: &[u8]) -> Member {
        if self.0.insert(xxh3_128(value)) { Member::New } else { Member::Known }
    }

    pub(crate) fn merge(&mut self, mut other: Members) {
        if self.0.len() < other.0.len() {
            std::mem::swap(self, &mut other);
        }
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
