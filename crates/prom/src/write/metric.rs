//! What a metric is called, remembered over batches.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::labels::write_label;
use crate::labels::METRIC_NAME;
use crate::names::{MetricKind, MetricNamer};

/// The names of one metric's series, each as a whole label of the wire.
#[derive(Debug)]
pub(super) struct SeriesNames {
    name: Box<[u8]>,
    unit: Box<[u8]>,
    kind: MetricKind,
    /// The name in Prometheus; empty if it has none.
    pub(super) family: Box<str>,
    pub(super) base: Vec<u8>,
    pub(super) sum: Vec<u8>,
    pub(super) count: Vec<u8>,
    pub(super) bucket: Vec<u8>,
    /// Goes into the hash of data points with several series, which has the name of none of them.
    pub(super) seed: u64,
}

/// Names of metrics by what they are in OTLP.
#[derive(Debug)]
pub(super) struct NameCache {
    namer: MetricNamer,
    names: Vec<SeriesNames>,
    index: HashTable<u32>,
    hasher: RandomState,
    size_bytes: usize,
}

/// Beyond so many metrics and so many bytes the cache starts anew: both are in the hands of those who send.
const NAMES_MAX: usize = 20_000;
const NAMES_SIZE_BYTES_MAX: usize = 16 << 20;

impl NameCache {
    pub(super) fn new(namer: MetricNamer) -> Self {
        NameCache { namer, names: Vec::new(), index: HashTable::new(), hasher: RandomState::default(), size_bytes: 0 }
    }

    /// The place of a metric's names.
    pub(super) fn find(&mut self, name: &[u8], unit: &[u8], kind: MetricKind) -> usize {
        let names = &self.names;
        let hash = self.hasher.hash_one((name, unit, kind as u8));
        let is_it = |index: &u32| {
            let known = &names[*index as usize];
            *known.name == *name && *known.unit == *unit && known.kind == kind
        };
        if let Some(index) = self.index.find(hash, is_it) {
            return *index as usize;
        }
        if self.names.len() >= NAMES_MAX || self.size_bytes > NAMES_SIZE_BYTES_MAX {
            self.names.clear();
            self.index.clear();
            self.size_bytes = 0;
        }
        let place = self.names.len();
        let made = self.make(name, unit, kind);
        self.size_bytes += made.size_bytes();
        self.names.push(made);
        let (names, hasher) = (&self.names, &self.hasher);
        self.index.insert_unique(hash, place as u32, |index| {
            let known = &names[*index as usize];
            hasher.hash_one((&*known.name, &*known.unit, known.kind as u8))
        });
        place
    }

    /// The names at a place that [`NameCache::find`] gave last.
    #[inline]
    pub(super) fn get(&self, place: usize) -> &SeriesNames {
        &self.names[place]
    }

    fn make(&self, name: &[u8], unit: &[u8], kind: MetricKind) -> SeriesNames {
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let family = self.namer.name(text(name), text(unit), kind).unwrap_or_default();
        let label = |suffix: &str| {
            let mut label = Vec::new();
            write_label(&mut label, METRIC_NAME.as_bytes(), format!("{family}{suffix}").as_bytes());
            label
        };
        SeriesNames {
            name: name.into(),
            unit: unit.into(),
            kind,
            base: label(""),
            sum: label("_sum"),
            count: label("_count"),
            bucket: label("_bucket"),
            seed: xxh3_64(family.as_bytes()),
            family: family.into_boxed_str(),
        }
    }
}

impl SeriesNames {
    /// The memory that it holds, roughly, in bytes.
    fn size_bytes(&self) -> usize {
        let labels = self.base.len() + self.sum.len() + self.count.len() + self.bucket.len();
        size_of::<SeriesNames>() + self.name.len() + self.unit.len() + self.family.len() + labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Escaping, Suffixes};

    fn cache() -> NameCache {
        let namer =
            MetricNamer { namespace: String::new(), escaping: Escaping::Underscores, suffixes: Suffixes::UnitAndType };
        NameCache::new(namer)
    }

    /// What a flood of names leaves behind.
    fn check(names: usize, size_bytes: usize) {
        let mut cache = cache();
        for index in 0..names {
            let name = format!("{index}_{}", "x".repeat(size_bytes));
            let place = cache.find(name.as_bytes(), b"", MetricKind::Gauge);
            assert_eq!(&*cache.get(place).name, name.as_bytes());
            // The one that was asked for last is there, however large it is.
            assert!(cache.size_bytes <= NAMES_SIZE_BYTES_MAX + 10 * (size_bytes + 100), "{}", cache.size_bytes);
            assert!(cache.names.len() <= NAMES_MAX && cache.index.len() == cache.names.len());
        }
    }

    #[test]
    fn a_flood_of_names_is_bounded_by_number() {
        check(NAMES_MAX + 100, 10);
    }

    #[test]
    fn a_flood_of_long_names_is_bounded_by_size() {
        check(30, 1 << 18);
    }
}
