//! What tells one series from another: shape, unit, name and sorted attributes.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::StatsdHasher;

/// What a series is written as. Lines of different types that end in one shape are one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// A sum.
    Counter,
    /// A gauge with one value for each flush.
    Gauge,
    /// A gauge with the number of different values since the last flush.
    Set,
    /// A gauge with every value that came.
    Points,
    /// A summary.
    Summary {
        /// The quantiles, 0 to 1.
        quantiles: Arc<[f64]>,
    },
    /// A histogram with explicit bounds.
    Explicit {
        /// The upper bounds, inclusive, ascending.
        bounds: Arc<[f64]>,
    },
    /// An exponential histogram.
    Exponential {
        /// How many buckets each sign may have.
        size_max: u32,
        /// The scale it starts with.
        scale_max: i32,
    },
}

/// The identity of a series, and what is to be known about it to write it.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) hash: u64,
    /// All that identifies it, in one form.
    pub(super) key: Box<[u8]>,
    pub(super) shape: Shape,
    pub(super) name: Box<str>,
    pub(super) unit: &'static str,
    pub(super) description: Option<Arc<str>>,
    /// Sorted by key; keys are unique.
    pub(super) attributes: Box<[(Box<str>, Box<str>)]>,
    pub(super) expiry_ns: Option<u64>,
}

/// Collects what a series is made of.
#[derive(Debug)]
pub(super) struct SeriesBuilder<'a> {
    pub(super) shape: Shape,
    pub(super) name: Cow<'a, str>,
    pub(super) unit: &'static str,
    pub(super) description: Option<Arc<str>>,
    pub(super) attributes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) expiry_ns: Option<u64>,
}

impl SeriesBuilder<'_> {
    pub(super) fn build(mut self, hasher: &StatsdHasher) -> Series {
        sort_attributes(&mut self.attributes);
        let key = self.key();
        let own = |text: &Cow<'_, str>| Box::<str>::from(&**text);
        Series {
            hash: hasher.hash_one(&*key),
            key: key.into(),
            shape: self.shape,
            name: own(&self.name),
            unit: self.unit,
            description: self.description,
            attributes: self.attributes.iter().map(|(key, value)| (own(key), own(value))).collect(),
            expiry_ns: self.expiry_ns,
        }
    }

    fn key(&self) -> Vec<u8> {
        let texts: usize = self.attributes.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        let mut out = Vec::with_capacity(texts + self.name.len() + 32);
        write_shape(&mut out, &self.shape);
        write_text(&mut out, self.unit);
        write_text(&mut out, &self.name);
        for (key, value) in &self.attributes {
            write_text(&mut out, key);
            write_text(&mut out, value);
        }
        out
    }
}

impl Series {
    /// About what the series takes in memory, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Series>() + 2 * self.key.len() + 32 * self.attributes.len()
    }
}

/// Sorts by key. Of several values of one key the last one stays, as an attribute set of the Collector has it.
pub(super) fn sort_attributes(attributes: &mut Vec<(Cow<'_, str>, Cow<'_, str>)>) {
    attributes.reverse();
    attributes.sort_by(|(left, _), (right, _)| left.cmp(right));
    attributes.dedup_by(|(later, _), (kept, _)| later == kept);
}

fn write_shape(out: &mut Vec<u8>, shape: &Shape) {
    let mut numbers = |tag: u8, numbers: &[f64]| {
        out.push(tag);
        out.extend_from_slice(&u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_le_bytes());
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    };
    match shape {
        Shape::Counter => out.push(0),
        Shape::Gauge => out.push(1),
        Shape::Set => out.push(2),
        Shape::Points => out.push(3),
        Shape::Summary { quantiles } => numbers(4, quantiles),
        Shape::Explicit { bounds } => numbers(5, bounds),
        Shape::Exponential { size_max, scale_max } => {
            out.push(6);
            out.extend_from_slice(&scale_max.to_le_bytes());
            out.extend_from_slice(&size_max.to_le_bytes());
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    // A line has far fewer bytes than 2^32.
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}
