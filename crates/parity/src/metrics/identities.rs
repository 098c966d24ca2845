//! The identities of all series, in little memory: each text once, each series a row of numbers of texts.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::Identity;
use crate::halves::Halves;
use crate::verdict::Side;

/// Texts of labels take so much for each series that there may be.
const TEXT_BYTES_OF_SERIES_MAX: usize = 1024;

/// The number of a text.
type Text = u32;

/// Each text once.
#[derive(Debug, Default)]
struct Texts {
    all: String,
    ends: Vec<u32>,
    numbers: HashTable<Text>,
    hasher: foldhash::fast::RandomState,
}

impl Texts {
    fn get(&self, text: Text) -> &str {
        let at = text as usize;
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[from as usize..self.ends[at] as usize]
    }

    fn number(&mut self, text: &str) -> Text {
        let hash = self.hasher.hash_one(text);
        if let Some(known) = self.numbers.find(hash, |known| self.get(*known) == text) {
            return *known;
        }
        let number = self.ends.len() as Text;
        reserve(&mut self.ends);
        if self.all.capacity() - self.all.len() < text.len() {
            self.all.reserve_exact(text.len() + 1024 + self.all.len() / 8);
        }
        self.all.push_str(text);
        self.ends.push(self.all.len() as u32);
        let (all, ends, hasher) = (&self.all, &self.ends, &self.hasher);
        let hash_of = |text: &Text| {
            let from = (*text as usize).checked_sub(1).map_or(0, |before| ends[before]);
            hasher.hash_one(&all[from as usize..ends[*text as usize] as usize])
        };
        self.numbers.insert_unique(hash, number, hash_of);
        number
    }
}

/// Makes room for an eighth more where there is none: series are many, and half of what a doubled list takes is empty.
pub(crate) fn reserve<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(64 + list.len() / 8);
    }
}

/// Gives back what is empty for more than an eighth.
pub(crate) fn shrink<T>(list: &mut Vec<T>) {
    list.shrink_to(64 + list.len() + list.len() / 8);
}

/// Stands for the number of a series that is forgotten.
pub(crate) const GONE: u32 = u32::MAX;

/// Where the labels of a series stand.
#[derive(Clone, Copy, Debug)]
struct Row {
    hash: Halves,
    metric: u32,
    labels_from: u32,
    labels: u32,
}

/// The series of a metric.
#[derive(Debug)]
pub(crate) struct OfMetric {
    name: Box<str>,
    /// In the order of their labels once they are asked for.
    series: Vec<u32>,
    in_order: usize,
    /// The labels that the series of each side have.
    keys: [Vec<Text>; 2],
}

/// All identities, by number.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    texts: Texts,
    labels: Vec<(Text, Text)>,
    rows: Vec<Row>,
    by_hash: HashTable<u32>,
    metrics: Vec<OfMetric>,
    by_name: BTreeMap<Box<str>, u32>,
    name_bytes: usize,
}

/// The labels of a series that was just met, by name and value.
pub(crate) type Labels<'a> = Vec<(Arc<str>, Cow<'a, str>)>;

/// What an identity hashes to, the same on both sides and in every process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdentityHash(u64, u64);

impl IdentityHash {
    pub(crate) fn of_metric(name: &str) -> IdentityHash {
        IdentityHash(xxh3_64(name.as_bytes()), 0)
    }

    /// Labels in any order.
    pub(crate) fn label(&mut self, name: &str, value: &str) {
        let label = xxh3_64(name.as_bytes()) ^ xxh3_64(value.as_bytes()).rotate_left(17);
        self.1 = self.1.wrapping_add(label);
    }

    pub(crate) fn value(self) -> u64 {
        self.0 ^ self.1
    }
}

impl Identities {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The number of a series, if it is known. Labels are in order.
    pub(crate) fn find(&self, hash: u64, metric: &str, labels: &Labels<'_>) -> Option<u32> {
        let is_it = |at: &u32| {
            let known = self.get(*at);
            self.rows[*at as usize].hash.whole() == hash
                && known.metric() == metric
                && known.len() == labels.len()
                && known.pairs().zip(labels).all(|((name, value), (other, also))| name == &**other && value == also)
        };
        self.by_hash.find(hash, is_it).copied()
    }

    /// Takes a series in that is not known; none if its texts would take too much.
    pub(crate) fn insert(&mut self, hash: u64, metric: &str, labels: &Labels<'_>, series_max: usize) -> Option<u32> {
        let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes_max = TEXT_BYTES_OF_SERIES_MAX.saturating_mul(series_max).min(u32::MAX as usize);
        if self.texts.all.len() + self.name_bytes + metric.len() + bytes > bytes_max {
            return None;
        }
        let at = self.rows.len() as u32;
        let metric = self.metric(metric);
        let labels_from = self.labels.len() as u32;
        for (name, value) in labels {
            let label = (self.texts.number(name), self.texts.number(value));
            reserve(&mut self.labels);
            self.labels.push(label);
        }
        reserve(&mut self.rows);
        self.rows.push(Row { hash: Halves::of(hash), metric, labels_from, labels: labels.len() as u32 });
        let of_metric = &mut self.metrics[metric as usize].series;
        if of_metric.len() == of_metric.capacity() {
            of_metric.reserve_exact(4 + of_metric.len() / 8);
        }
        of_metric.push(at);
        let rows = &self.rows;
        self.by_hash.insert_unique(hash, at, |at| rows[*at as usize].hash.whole());
        Some(at)
    }

    fn metric(&mut self, name: &str) -> u32 {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let number = self.metrics.len() as u32;
        self.name_bytes += name.len();
        self.by_name.insert(name.into(), number);
        self.metrics.push(OfMetric { name: name.into(), series: Vec::new(), in_order: 0, keys: Default::default() });
        number
    }

    /// Forgets series and gives the others new numbers, in the same order. Which side has them has to be told again.
    pub(crate) fn keep(&mut self, numbers: &[u32]) {
        let before = std::mem::take(self);
        let mut metrics = vec![GONE; before.metrics.len()];
        let mut texts = vec![GONE; before.texts.ends.len()];
        for row in before.rows.iter().zip(numbers).filter(|(_, number)| **number != GONE).map(|(row, _)| row) {
            let metric = &mut metrics[row.metric as usize];
            if *metric == GONE {
                *metric = self.metric(&before.metrics[row.metric as usize].name);
            }
            let (metric, labels_from) = (*metric, self.labels.len() as u32);
            for (name, value) in &before.labels[row.labels_from as usize..][..row.labels as usize] {
                let [name, value] = [*name, *value].map(|text| {
                    let known = &mut texts[text as usize];
                    if *known == GONE {
                        *known = self.texts.number(before.texts.get(text));
                    }
                    *known
                });
                reserve(&mut self.labels);
                self.labels.push((name, value));
            }
            reserve(&mut self.rows);
            self.rows.push(Row { metric, labels_from, ..*row });
        }
        let rows = &self.rows;
        self.by_hash.reserve(rows.len(), |at| rows[*at as usize].hash.whole());
        for (at, row) in (0..).zip(rows) {
            self.by_hash.insert_unique(row.hash.whole(), at, |at| rows[*at as usize].hash.whole());
        }
        for (of_metric, metric) in before.metrics.into_iter().zip(metrics).filter(|(_, metric)| *metric != GONE) {
            let number = |at: &u32| Some(numbers[*at as usize]).filter(|number| *number != GONE);
            let in_order = of_metric.series[..of_metric.in_order].iter().filter_map(number).count();
            let kept = &mut self.metrics[metric as usize];
            kept.series = of_metric.series.iter().filter_map(number).collect();
            kept.in_order = in_order;
        }
    }

    /// Takes note that a side has a series.
    pub(crate) fn is_seen(&mut self, at: u32, side: Side) {
        let row = self.rows[at as usize];
        let keys = &mut self.metrics[row.metric as usize].keys[side as usize];
        for (name, _) in &self.labels[row.labels_from as usize..][..row.labels as usize] {
            if !keys.contains(name) {
                keys.push(*name);
            }
        }
    }

    pub(crate) fn get(&self, at: u32) -> Known<'_> {
        let row = &self.rows[at as usize];
        let labels = &self.labels[row.labels_from as usize..][..row.labels as usize];
        Known { texts: &self.texts, metric: &self.metrics[row.metric as usize].name, labels }
    }

    /// How much the texts of all labels take.
    #[cfg(test)]
    pub(crate) fn text_bytes(&self) -> usize {
        self.texts.all.len()
    }

    /// Puts the series of each metric in order.
    pub(crate) fn sort(&mut self) {
        for metric in 0..self.metrics.len() {
            let of_metric = &mut self.metrics[metric];
            if of_metric.in_order == of_metric.series.len() {
                continue;
            }
            // Two runs, of which the first one is in order: the sort knows them.
            let mut series = std::mem::take(&mut of_metric.series);
            series.sort_by(|one, two| self.get(*one).order(&self.get(*two)));
            let of_metric = &mut self.metrics[metric];
            of_metric.in_order = series.len();
            of_metric.series = series;
        }
    }

    /// The metrics by name, each with its series in order.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = &OfMetric> {
        self.by_name.values().map(|metric| &self.metrics[*metric as usize])
    }

    /// The labels that the series of a metric have on a side.
    pub(crate) fn keys(&self, metric: &OfMetric, side: Side) -> BTreeSet<&str> {
        metric.keys[side as usize].iter().map(|key| self.texts.get(*key)).collect()
    }
}

impl OfMetric {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn series(&self) -> &[u32] {
        &self.series
    }
}

/// The identity of a series, to be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    texts: &'a Texts,
    metric: &'a str,
    labels: &'a [(Text, Text)],
}

impl<'a> Known<'a> {
    pub(crate) fn metric(&self) -> &'a str {
        self.metric
    }

    /// How many labels there are.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Names and values, by name.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let Known { texts, labels, .. } = *self;
        labels.iter().map(|(name, value)| (texts.get(*name), texts.get(*value)))
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'a str> {
        self.pairs().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    pub(crate) fn identity(&self) -> Identity {
        let labels = self.pairs().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Identity { metric: self.metric.to_owned(), labels: labels.collect() }
    }

    fn order(&self, other: &Known<'_>) -> Ordering {
        self.pairs().cmp(other.pairs())
    }
}
