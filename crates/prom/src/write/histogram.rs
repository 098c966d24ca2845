//! The `le` labels of histograms, remembered: nearly all data points of a metric have the same bounds.

use super::labels::write_label;
use crate::text::plain_float;

/// The `le` labels of one list of bounds, each as a whole label of the wire.
#[derive(Debug)]
pub(super) struct BoundLabels {
    bounds: Vec<f64>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl BoundLabels {
    fn new(bounds: &[f64]) -> Self {
        let mut labels = BoundLabels { bounds: bounds.to_vec(), bytes: Vec::new(), ends: Vec::new() };
        for bound in bounds.iter().copied().chain([f64::INFINITY]) {
            write_label(&mut labels.bytes, b"le", plain_float(bound).as_bytes());
            labels.ends.push(labels.bytes.len());
        }
        labels
    }

    /// The label of a bound; that of `+Inf` behind the last.
    #[inline]
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let index = index.min(self.bounds.len());
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

/// The labels of the lists of bounds that were seen last.
#[derive(Debug, Default)]
pub(super) struct BoundCache {
    known: Vec<BoundLabels>,
}

const KNOWN_MAX: usize = 16;
/// No histogram that somebody means has more. A longer list is made anew each time another one came between.
const KNOWN_BOUNDS_MAX: usize = 10_000;

impl BoundCache {
    pub(super) fn find(&mut self, bounds: &[f64]) -> &BoundLabels {
        // By their bits: a NaN is equal to itself here.
        let is_it = |known: &BoundLabels| {
            known.bounds.len() == bounds.len()
                && known.bounds.iter().zip(bounds).all(|(left, right)| left.to_bits() == right.to_bits())
        };
        let place = self.known.iter().position(is_it).unwrap_or_else(|| {
            self.known.retain(|known| known.bounds.len() <= KNOWN_BOUNDS_MAX);
            self.known.truncate(KNOWN_MAX - 1);
            self.known.push(BoundLabels::new(bounds));
            self.known.len() - 1
        });
        self.known.swap(0, place);
        &self.known[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_bounds_is_not_remembered() {
        let mut cache = BoundCache::default();
        for round in 0..100 {
            let long: Vec<f64> =
                (0..KNOWN_BOUNDS_MAX + 10).map(|index| f64::from(index as u32) + f64::from(round)).collect();
            assert_eq!(cache.find(&long).bounds.len(), long.len());
            assert_eq!(cache.find(&[f64::from(round)]).bounds.len(), 1);
        }
        assert_eq!(cache.known.len(), KNOWN_MAX);
        assert!(cache.known.iter().all(|known| known.bounds.len() == 1));
    }
}
