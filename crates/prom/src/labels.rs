//! Label sets: sorted, unique, in one allocation, with a hash that is the same in every process and version.

use std::fmt;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";

/// The identity of a series: a hash of its labels. It is stable across processes, so that it can decide on which of
/// several workers a series goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesHash(pub u64);

/// The labels of one series: sorted by name, each name once, no empty values (an empty value is the same as no label).
///
/// ```
/// use prom::labels::LabelSet;
///
/// let labels = LabelSet::from_pairs([("job", "shop"), ("__name__", "up"), ("zone", "")])?;
/// assert_eq!(labels.to_string(), r#"up{job="shop"}"#);
/// assert_eq!(labels.get("job"), Some("shop"));
/// # Ok::<(), prom::labels::DuplicateLabel>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct LabelSet {
    /// For each label: the length of the name, the length of the value, the name, the value. The lengths are written in
    /// ASCII (see [`push_length`]), so that the whole is one string and every part of it can be lent without a check.
    text: Box<str>,
    hash: SeriesHash,
}

/// Two labels of one name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the label {name} is given twice")]
pub struct DuplicateLabel {
    /// The name.
    pub name: String,
}

impl LabelSet {
    /// A set of the pairs. Empty values are left out.
    ///
    /// # Errors
    /// A name may be given once only.
    pub fn from_pairs<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Self, DuplicateLabel> {
        let mut builder = LabelBuilder::default();
        for (name, value) in pairs {
            builder.push(name, value)?;
        }
        Ok(builder.build())
    }

    /// The set without any label.
    pub fn empty() -> Self {
        LabelBuilder::default().build()
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.text }
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// The identity of the series.
    pub fn hash(&self) -> SeriesHash {
        self.hash
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The memory behind the set, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.text.len()
    }
}

impl std::hash::Hash for LabelSet {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash.0);
    }
}

impl fmt::Display for LabelSet {
    /// As PromQL spells a series: `up{job="shop"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(METRIC_NAME).unwrap_or(""))?;
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().filter(|(name, _)| *name != METRIC_NAME).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The labels of a [`LabelSet`].
#[derive(Clone, Debug)]
pub struct Iter<'s> {
    rest: &'s str,
}

impl<'s> Iterator for Iter<'s> {
    type Item = (&'s str, &'s str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (name_length, rest) = take_length(self.rest)?;
        let (value_length, rest) = take_length(rest)?;
        let (name, rest) = rest.split_at_checked(name_length)?;
        let (value, rest) = rest.split_at_checked(value_length)?;
        self.rest = rest;
        Some((name, value))
    }
}

const LENGTH_BITS: u32 = 6;
const LENGTH_MORE: u8 = 1 << LENGTH_BITS;

/// Appends a length, six bits to a character, lowest first; the seventh bit says that more follow. All of it is ASCII.
fn push_length(text: &mut String, mut length: usize) {
    while length >= usize::from(LENGTH_MORE) {
        text.push(char::from(length as u8 & (LENGTH_MORE - 1) | LENGTH_MORE));
        length >>= LENGTH_BITS;
    }
    text.push(char::from(length as u8));
}

#[inline]
fn take_length(text: &str) -> Option<(usize, &str)> {
    // Nearly all names and values are shorter than 64 bytes.
    let first = *text.as_bytes().first()?;
    if first & LENGTH_MORE == 0 {
        return Some((usize::from(first), &text[1..]));
    }
    take_long_length(text)
}

fn take_long_length(text: &str) -> Option<(usize, &str)> {
    let mut length = 0;
    for (index, byte) in text.bytes().enumerate().take(8) {
        length |= usize::from(byte & (LENGTH_MORE - 1)) << (LENGTH_BITS as usize * index);
        if byte & LENGTH_MORE == 0 {
            return Some((length, &text[index + 1..]));
        }
    }
    None
}

/// Labels being put together and changed: by a scrape, by relabelling. One builder serves many series in turn.
#[derive(Clone, Debug, Default)]
pub struct LabelBuilder {
    /// The text of all names and values ever set; what was replaced stays until [`LabelBuilder::clear`].
    text: String,
    labels: Vec<(Range<usize>, Range<usize>)>,
}

impl LabelBuilder {
    /// Removes everything and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.labels.clear();
    }

    /// Takes the labels of a set.
    pub fn reset_to(&mut self, labels: &LabelSet) {
        self.clear();
        for (name, value) in labels.iter() {
            self.append(name, value);
        }
    }

    /// Adds a label. An empty value adds nothing.
    ///
    /// # Errors
    /// The name must be new.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), DuplicateLabel> {
        if self.position(name).is_some() {
            return Err(DuplicateLabel { name: name.to_owned() });
        }
        if !value.is_empty() {
            self.append(name, value);
        }
        Ok(())
    }

    /// Adds a label or changes its value. An empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.position(name) {
            _ if value.is_empty() => self.remove(name),
            None => self.append(name, value),
            Some(position) => {
                let start = self.text.len();
                self.text.push_str(value);
                self.labels[position].1 = start..self.text.len();
            }
        }
    }

    /// Removes a label, if it is there.
    pub fn remove(&mut self, name: &str) {
        if let Some(position) = self.position(name) {
            self.labels.remove(position);
        }
    }

    /// Keeps the labels whose names a test accepts.
    pub fn retain(&mut self, mut keeps: impl FnMut(&str) -> bool) {
        let text = &self.text;
        self.labels.retain(|(name, _)| keeps(&text[name.clone()]));
    }

    /// The value of a label, empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.position(name).map_or("", |position| &self.text[self.labels[position].1.clone()])
    }

    /// Names and values, in no particular order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.labels.iter().map(|(name, value)| (&self.text[name.clone()], &self.text[value.clone()]))
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The set. The builder keeps its labels, sorted.
    pub fn build(&mut self) -> LabelSet {
        let LabelBuilder { text, labels } = self;
        labels.sort_unstable_by(|(left, _), (right, _)| text[left.clone()].cmp(&text[right.clone()]));
        let size: usize = labels.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut packed = String::with_capacity(size);
        for (name, value) in labels.iter() {
            push_length(&mut packed, name.len());
            push_length(&mut packed, value.len());
            packed.push_str(&text[name.clone()]);
            packed.push_str(&text[value.clone()]);
        }
        let hash = SeriesHash(xxh3_64(packed.as_bytes()));
        LabelSet { text: packed.into_boxed_str(), hash }
    }

    fn append(&mut self, name: &str, value: &str) {
        let start = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        self.text.push_str(value);
        self.labels.push((start..middle, middle..self.text.len()));
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.labels.iter().position(|(candidate, _)| &self.text[candidate.clone()] == name)
    }
}

/// The limits that a scrape configuration sets on the labels of a series as it is stored, after relabelling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelLimits {
    /// `label_limit`: labels, with the metric name.
    pub labels_max: Option<u32>,
    /// `label_name_length_limit`, in bytes.
    pub name_bytes_max: Option<u32>,
    /// `label_value_length_limit`, in bytes; the metric name is a value.
    pub value_bytes_max: Option<u32>,
}

/// A series that exceeds a limit on labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelLimitExceeded {
    /// Too many labels.
    #[error("label_limit exceeded: {metric} has {labels} labels, the limit is {labels_max}")]
    Count {
        /// The metric name.
        metric: String,
        /// Its labels.
        labels: usize,
        /// The limit.
        labels_max: u32,
    },
    /// A name that is too long.
    #[error("label_name_length_limit exceeded: {metric} has a label name of {bytes} bytes, the limit is {bytes_max}")]
    Name {
        /// The metric name.
        metric: String,
        /// The length of the label's name.
        bytes: usize,
        /// The limit.
        bytes_max: u32,
    },
    /// A value that is too long.
    #[error(
        "label_value_length_limit exceeded: the value of {label} of {metric} has {bytes} bytes, the limit is {bytes_max}"
    )]
    Value {
        /// The metric name.
        metric: String,
        /// The label.
        label: String,
        /// The length of its value.
        bytes: usize,
        /// The limit.
        bytes_max: u32,
    },
}

impl LabelLimits {
    /// Checks a series.
    ///
    /// # Errors
    /// Returns the first limit that it exceeds, with the figures.
    pub fn check(&self, labels: &LabelBuilder) -> Result<(), LabelLimitExceeded> {
        let metric = || excerpt(labels.get(METRIC_NAME));
        if let Some(labels_max) = self.labels_max.filter(|max| labels.len() > *max as usize) {
            return Err(LabelLimitExceeded::Count { metric: metric(), labels: labels.len(), labels_max });
        }
        for (name, value) in labels.iter() {
            if let Some(bytes_max) = self.name_bytes_max.filter(|max| name.len() > *max as usize) {
                return Err(LabelLimitExceeded::Name { metric: metric(), bytes: name.len(), bytes_max });
            }
            if let Some(bytes_max) = self.value_bytes_max.filter(|max| value.len() > *max as usize) {
                let label = excerpt(name);
                return Err(LabelLimitExceeded::Value { metric: metric(), label, bytes: value.len(), bytes_max });
            }
        }
        Ok(())
    }
}

/// What is too long must not make a message as long.
fn excerpt(text: &str) -> String {
    const CHARACTERS_MAX: usize = 50;
    text.chars().take(CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_value_is_no_label() {
        let labels = LabelSet::from_pairs([("a", ""), ("b", "1")]).expect("no duplicates");
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("b", "1")]);
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        let error = LabelSet::from_pairs([("a", "1"), ("a", "2")]).expect_err("a duplicate");
        assert_eq!(error.to_string(), "the label a is given twice");
    }

    #[test]
    fn the_hash_of_a_series_never_changes() {
        // Series are spread over workers and partitions by this hash: another value would move every series.
        let labels = LabelSet::from_pairs([("__name__", "up"), ("job", "shop")]).expect("no duplicates");
        assert_eq!(labels.hash(), SeriesHash(HASH_OF_UP_SHOP));
    }

    const HASH_OF_UP_SHOP: u64 = 4_094_988_669_445_630_136;

    #[test]
    fn setting_and_removing_change_one_label() {
        let mut builder = LabelBuilder::default();
        builder.set("a", "1");
        builder.set("b", "2");
        builder.set("a", "3");
        builder.set("b", "");
        assert_eq!(builder.build().to_string(), r#"{a="3"}"#);
        assert_eq!((builder.get("a"), builder.get("b")), ("3", ""));
    }

    fn exceeds(limits: LabelLimits, message: &str) {
        let mut labels = LabelBuilder::default();
        labels.set(METRIC_NAME, "up");
        labels.set("zone", "north");
        let error = limits.check(&labels).expect_err("must exceed");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn each_limit_is_told_with_its_figures() {
        let none = LabelLimits::default();
        exceeds(LabelLimits { labels_max: Some(1), ..none }, "label_limit exceeded: up has 2 labels, the limit is 1");
        exceeds(
            LabelLimits { name_bytes_max: Some(7), ..none },
            "label_name_length_limit exceeded: up has a label name of 8 bytes, the limit is 7",
        );
        exceeds(
            LabelLimits { value_bytes_max: Some(4), ..none },
            "label_value_length_limit exceeded: the value of zone of up has 5 bytes, the limit is 4",
        );
    }

    #[test]
    fn long_values_keep_their_length() {
        for length in [63, 64, 65, 4095, 4096, 300_000] {
            let value = "v".repeat(length);
            let labels = LabelSet::from_pairs([("a", value.as_str()), ("b", "1")]).expect("no duplicates");
            assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", value.as_str()), ("b", "1")]);
        }
    }

    proptest! {
        #[test]
        fn a_set_gives_back_what_was_put_in(map in prop::collection::btree_map("\\PC{0,80}", "\\PC{1,90}", 0..8)) {
            let pairs = map.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let labels = LabelSet::from_pairs(pairs.clone().rev()).expect("no duplicates");
            prop_assert!(labels.iter().eq(pairs));
        }
    }
}
