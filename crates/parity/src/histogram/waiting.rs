//! Histograms that are not sealed yet, in little memory: once for all of their bounds, which take them in when they are.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Buckets, Distribution};

/// So many wait at most; then the oldest are taken in early.
pub(super) const WAITING_MAX: usize = 2048;

/// What waits of one side, by time.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    all: VecDeque<Waits>,
    /// The bounds of those that are kept without them.
    bounds: Option<Arc<[f64]>>,
}

#[derive(Clone, Debug)]
struct Waits {
    time_unix_ns: u64,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    /// Whole numbers under the bounds of all, as nearly all have them.
    Counts(Box<Counts>),
    /// Anything else.
    Whole(Arc<Distribution>),
}

#[derive(Clone, Debug)]
struct Counts {
    start_unix_ns: u64,
    count: f64,
    sum: Option<f64>,
    below: Box<[u32]>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes one in; one of the same moment is the same one, sent again.
    pub(super) fn insert(&mut self, distribution: Arc<Distribution>) {
        let time_unix_ns = distribution.time_unix_ns;
        let at = self.all.partition_point(|known| known.time_unix_ns < time_unix_ns);
        let counts = self.counts(&distribution);
        let waits = Waits { time_unix_ns, form: counts.map_or(Form::Whole(distribution), Form::Counts) };
        match self.all.get_mut(at).filter(|known| known.time_unix_ns == time_unix_ns) {
            Some(known) => *known = waits,
            None => {
                // Grown by hand: a series has no bytes to spare, and long queues are rare.
                if self.all.len() == self.all.capacity() {
                    self.all.reserve_exact(1 + self.all.len() / 8);
                }
                self.all.insert(at, waits);
            }
        }
    }

    /// The time of the first one, if it is not newer than this or there are too many.
    pub(super) fn next(&self, watermark_unix_ns: u64) -> Option<u64> {
        let first = self.all.front()?.time_unix_ns;
        (first <= watermark_unix_ns || self.len() > WAITING_MAX).then_some(first)
    }

    pub(super) fn pop_first(&mut self) -> Option<Arc<Distribution>> {
        let Waits { time_unix_ns, form } = self.all.pop_front()?;
        let Counts { start_unix_ns, count, sum, below } = match form {
            Form::Whole(distribution) => return Some(distribution),
            Form::Counts(counts) => *counts,
        };
        let bounds = self.bounds.iter().flat_map(|bounds| bounds.iter());
        let buckets = Buckets::Explicit(bounds.copied().zip(below.iter().copied().map(f64::from)).collect());
        Some(Arc::new(Distribution { time_unix_ns, start_unix_ns, count, sum, buckets }))
    }

    /// The counts alone, if they are whole and the bounds are those of all others.
    fn counts(&mut self, distribution: &Distribution) -> Option<Box<Counts>> {
        let Buckets::Explicit(buckets) = &distribution.buckets else { return None };
        let is_usual = |known: &Arc<[f64]>| known.iter().eq(buckets.iter().map(|(bound, _)| bound));
        if !self.bounds.as_ref().is_some_and(is_usual) {
            if !self.all.is_empty() {
                return None;
            }
            self.bounds = Some(buckets.iter().map(|(bound, _)| *bound).collect());
        }
        let whole = |below: f64| Some(below as u32).filter(|whole| f64::from(*whole) == below);
        let below = buckets.iter().map(|(_, below)| whole(*below)).collect::<Option<_>>()?;
        let Distribution { start_unix_ns, count, sum, .. } = *distribution;
        Some(Box::new(Counts { start_unix_ns, count, sum, below }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_come_out_by_time_as_they_went_in() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..100 {
            let mut waiting = Waiting::default();
            let mut expected = std::collections::BTreeMap::new();
            for _ in 0..100 {
                let scale = if random.u8(..10) == 0 { 0.5 } else { 1.0 };
                let bounds = if random.u8(..10) == 0 { 3..7 } else { 1..4 };
                let explicit =
                    Buckets::Explicit(bounds.map(|at| (f64::from(at), scale * random.f64().round())).collect());
                let exponential =
                    Buckets::Exponential { scale: 0, zero: 1.0, negative: 0.0, offset: 0, positive: vec![1.0] };
                let distribution = Arc::new(Distribution {
                    time_unix_ns: random.u64(..50),
                    start_unix_ns: random.u64(..3),
                    count: random.f64(),
                    sum: random.bool().then(|| random.f64()),
                    buckets: if random.u8(..10) == 0 { exponential } else { explicit },
                });
                waiting.insert(Arc::clone(&distribution));
                expected.insert(distribution.time_unix_ns, distribution);
                if random.u8(..4) == 0 {
                    let first = expected.pop_first().map(|(_, first)| first);
                    assert_eq!(waiting.next(u64::MAX), first.as_ref().map(|first| first.time_unix_ns));
                    assert_eq!(waiting.pop_first(), first);
                }
            }
            assert_eq!(waiting.len(), expected.len());
            assert_eq!(
                std::iter::from_fn(|| waiting.pop_first()).collect::<Vec<_>>(),
                expected.into_values().collect::<Vec<_>>()
            );
        }
    }
}
