//! What lines look like, remembered: the way past tags, mappings and text checks for what was seen before.
//!
//! Clients write the same name and the same tags in the same way again and again. Name and tail, byte for byte, lead
//! straight to the series and to how its values count. This is what makes a known series cheap: no allocation, no
//! sorting, no regular expression. What is left to pay for is memory that is not in a cache, so that an entry is small
//! and all texts lie in one place.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use hashbrown::HashTable;

use super::StatsdHasher;
use super::line::Head;

/// Longer lines are not remembered.
const ALIAS_BYTES_MAX: usize = 1_024;

/// All that is remembered; beyond it, everything is forgotten and learnt anew.
const BYTES_MAX: usize = 64 << 20;

/// So many different weights are remembered, likewise.
const WEIGHTS_MAX: usize = 1 << 12;

/// The slot of what the configuration drops.
const DROPPED: u32 = u32::MAX;

/// How the values of a line count: each as `value * scale`, once per `rate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weight {
    pub(super) scale: f64,
    pub(super) rate: f64,
}

/// Where a line leads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// The configuration drops it.
    Dropped,
    /// It counts for a series of the shard.
    Series { slot: u32, weight: Weight },
}

/// Who sent a line, where that is part of its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    octets: [u8; 16],
    len: u8,
}

#[derive(Debug)]
struct Alias {
    hash: u64,
    /// Where its text begins: name, tail, client.
    start: u32,
    slot: u32,
    name_len: u16,
    tail_len: u16,
    weight: u16,
    client_len: u8,
}

#[derive(Debug)]
pub(super) struct Aliases {
    table: HashTable<Alias>,
    hasher: StatsdHasher,
    texts: Vec<u8>,
    weights: Vec<Weight>,
}

impl Client {
    /// Any client.
    pub(super) const ANY: Client = Client { octets: [0; 16], len: 0 };

    pub(super) fn at(address: IpAddr) -> Client {
        let octets = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        Client { octets, len: 16 }
    }

    /// The address, if it is part of the series.
    pub(super) fn address(&self) -> Option<IpAddr> {
        (self.len > 0).then(|| Ipv6Addr::from(self.octets).to_canonical())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

impl Aliases {
    pub(super) fn new(hasher: StatsdHasher) -> Aliases {
        Aliases { table: HashTable::new(), hasher, texts: Vec::new(), weights: Vec::new() }
    }

    #[inline]
    pub(super) fn hash(&self, head: &Head<'_>, client: &Client) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(head.name);
        hasher.write(head.tail);
        if client.len > 0 {
            hasher.write(client.as_bytes());
        }
        hasher.finish()
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, head: &Head<'_>, client: &Client) -> Option<Target> {
        let alias = self.table.find(hash, |alias| alias.hash == hash && self.is(alias, head, client))?;
        Some(match alias.slot {
            DROPPED => Target::Dropped,
            slot => Target::Series { slot, weight: self.weights[usize::from(alias.weight)] },
        })
    }

    #[inline]
    fn is(&self, alias: &Alias, head: &Head<'_>, client: &Client) -> bool {
        let name_end = alias.start as usize + usize::from(alias.name_len);
        let tail_end = name_end + usize::from(alias.tail_len);
        usize::from(alias.name_len) == head.name.len()
            && usize::from(alias.tail_len) == head.tail.len()
            && alias.client_len == client.len
            && self.texts[alias.start as usize..name_end] == *head.name
            && self.texts[name_end..tail_end] == *head.tail
            && self.texts[tail_end..tail_end + usize::from(client.len)] == *client.as_bytes()
    }

    pub(super) fn remember(&mut self, hash: u64, head: &Head<'_>, client: &Client, target: Target) {
        if head.name.len() + head.tail.len() > ALIAS_BYTES_MAX {
            return;
        }
        let bytes = self.texts.len() + self.table.len() * size_of::<Alias>();
        if bytes > BYTES_MAX || self.weights.len() > WEIGHTS_MAX {
            self.forget();
        }
        let (slot, weight) = match target {
            Target::Dropped => (DROPPED, 0),
            Target::Series { slot, weight } => (slot, self.weight(weight)),
        };
        // All of these were just seen to be small.
        let alias = Alias {
            hash,
            start: self.texts.len() as u32,
            slot,
            name_len: head.name.len() as u16,
            tail_len: head.tail.len() as u16,
            weight,
            client_len: client.len,
        };
        self.texts.extend_from_slice(head.name);
        self.texts.extend_from_slice(head.tail);
        self.texts.extend_from_slice(client.as_bytes());
        self.table.insert_unique(hash, alias, |alias| alias.hash);
    }

    fn weight(&mut self, weight: Weight) -> u16 {
        let number = self.weights.iter().position(|own| *own == weight).unwrap_or_else(|| {
            self.weights.push(weight);
            self.weights.len() - 1
        });
        number as u16
    }

    pub(super) fn forget(&mut self) {
        self.table.clear();
        self.texts.clear();
        self.weights.clear();
    }
}
