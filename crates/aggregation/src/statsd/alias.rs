//! What lines look like, remembered: the way past tags, mappings and text checks for what was seen before.
//!
//! Clients write the same name and the same tags in the same way again and again. Name and tail, byte for byte, lead
//! straight to the series and to how its values count. This is what makes a known series cheap: no allocation, no
//! sorting, no regular expression.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::HashTable;

use super::StatsdHasher;
use super::line::Head;
use super::shard::Client;

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
    client: Client,
    /// Where its text begins, how long it is, and how much of that is the name.
    start: u32,
    len: u32,
    name_len: u32,
    target: Target,
}

#[derive(Debug)]
pub(super) struct Aliases {
    table: HashTable<Alias>,
    hasher: StatsdHasher,
    /// All texts, one behind the other: fewer cache lines than each in its own allocation.
    texts: Vec<u8>,
}

impl Aliases {
    pub(super) fn new(hasher: StatsdHasher) -> Aliases {
        Aliases { table: HashTable::new(), hasher, texts: Vec::new() }
    }

    #[inline]
    pub(super) fn hash(&self, head: &Head<'_>, client: Client) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        client.hash(&mut hasher);
        hasher.write(head.name);
        hasher.write(head.tail);
        hasher.finish()
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, head: &Head<'_>, client: Client) -> Option<Target> {
        let same = |alias: &Alias| {
            let (start, name_len, len) = (alias.start as usize, alias.name_len as usize, alias.len as usize);
            alias.hash == hash
                && name_len == head.name.len()
                && alias.client == client
                && len == head.name.len() + head.tail.len()
                && self.texts[start..start + name_len] == *head.name
                && self.texts[start + name_len..start + len] == *head.tail
        };
        self.table.find(hash, same).map(|alias| alias.target)
    }

    pub(super) fn remember(&mut self, hash: u64, head: &Head<'_>, client: Client, target: Target) {
        let bytes = head.name.len() + head.tail.len();
        if bytes > ALIAS_BYTES_MAX {
            return;
        }
        if self.texts.len() + self.table.len() * size_of::<Alias>() > BYTES_MAX {
            self.forget();
        }
        // All of them are far below 2^32.
        let start = self.texts.len() as u32;
        self.texts.extend_from_slice(head.name);
        self.texts.extend_from_slice(head.tail);
        let alias = Alias { hash, client, start, len: bytes as u32, name_len: head.name.len() as u32, target };
        self.table.insert_unique(hash, alias, |alias| alias.hash);
    }

    pub(super) fn forget(&mut self) {
        self.table.clear();
        self.texts.clear();
    }
}
