//! What lines look like, remembered: the way past tags, mappings and text checks for what was seen before.
//!
//! Clients write the same name and the same tags in the same way again and again. Name and tail, byte for byte, lead
//! straight to the series and to how its values count. This is what makes a known series cheap: no allocation, no
//! sorting, no regular expression.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;

use super::StatsdHasher;
use super::line::Head;

/// Longer lines are not remembered.
const ALIAS_BYTES_MAX: usize = 1_024;

/// All that is remembered; beyond it, everything is forgotten and learnt anew.
const BYTES_MAX: usize = 64 << 20;

/// Where a line leads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// The configuration drops it.
    Dropped,
    /// It counts for a series of the shard, each value as `value * scale`, once per `rate`.
    Series { slot: u32, scale: f64, rate: f64 },
}

#[derive(Debug)]
struct Alias {
    hash: u64,
    name_len: usize,
    text: Box<[u8]>,
    target: Target,
}

#[derive(Debug)]
pub(super) struct Aliases {
    table: HashTable<Alias>,
    hasher: StatsdHasher,
    bytes: usize,
}

impl Aliases {
    pub(super) fn new(hasher: StatsdHasher) -> Aliases {
        Aliases { table: HashTable::new(), hasher, bytes: 0 }
    }

    #[inline]
    pub(super) fn hash(&self, head: &Head<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(head.name);
        hasher.write(head.tail);
        hasher.finish()
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, head: &Head<'_>) -> Option<Target> {
        let same = |alias: &Alias| {
            alias.hash == hash
                && alias.name_len == head.name.len()
                && alias.text.len() == head.name.len() + head.tail.len()
                && alias.text[..alias.name_len] == *head.name
                && alias.text[alias.name_len..] == *head.tail
        };
        self.table.find(hash, same).map(|alias| alias.target)
    }

    pub(super) fn remember(&mut self, hash: u64, head: &Head<'_>, target: Target) {
        let bytes = head.name.len() + head.tail.len();
        if bytes > ALIAS_BYTES_MAX {
            return;
        }
        let size = bytes + size_of::<Alias>() * 2;
        if self.bytes + size > BYTES_MAX {
            self.forget();
        }
        self.bytes += size;
        let text = [head.name, head.tail].concat().into();
        let alias = Alias { hash, name_len: head.name.len(), text, target };
        self.table.insert_unique(hash, alias, |alias| alias.hash);
    }

    pub(super) fn forget(&mut self) {
        self.table.clear();
        self.bytes = 0;
    }
}
