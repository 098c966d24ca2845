//! Samples that are not sealed yet, in little memory: most of what a series takes is what it waits with.

use super::Count;

/// By time. Nearly always all of them state the same start, which is then kept once.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    samples: Vec<(u64, f64)>,
    /// The start of all, where there is no list of starts.
    start_unix_ns: u64,
    starts: Option<Box<Starts>>,
}

/// The start of each sample.
#[derive(Clone, Debug)]
struct Starts(Vec<u64>);

impl Waiting {
    /// Takes a sample in; one of the same moment is the same one, sent again.
    pub(super) fn insert(&mut self, count: Count) {
        let Count { time_unix_ns, start_unix_ns, value } = count;
        if self.samples.is_empty() {
            self.start_unix_ns = start_unix_ns;
        }
        if self.starts.is_none() && self.start_unix_ns != start_unix_ns {
            self.starts = Some(Box::new(Starts(vec![self.start_unix_ns; self.samples.len()])));
        }
        let at = self.samples.partition_point(|known| known.0 < time_unix_ns);
        let is_known = self.samples.get(at).is_some_and(|known| known.0 == time_unix_ns);
        if is_known {
            self.samples[at].1 = value;
        } else {
            // Grown by hand: a series has no bytes to spare, and long queues are rare.
            if self.samples.len() == self.samples.capacity() {
                self.samples.reserve_exact(1 + self.samples.len() / 16);
            }
            self.samples.insert(at, (time_unix_ns, value));
        }
        if let Some(Starts(starts)) = self.starts.as_deref_mut() {
            match is_known {
                true => starts[at] = start_unix_ns,
                false => starts.insert(at, start_unix_ns),
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// How many are not newer than this.
    pub(super) fn until(&self, watermark_unix_ns: u64) -> usize {
        self.samples.partition_point(|known| known.0 <= watermark_unix_ns)
    }

    pub(super) fn get(&self, at: usize) -> Count {
        let (time_unix_ns, value) = self.samples[at];
        let start_unix_ns = self.starts.as_ref().map_or(self.start_unix_ns, |starts| starts.0[at]);
        Count { time_unix_ns, start_unix_ns, value }
    }

    /// Forgets the oldest ones.
    pub(super) fn forget(&mut self, oldest: usize) {
        self.samples.drain(..oldest);
        let Some(Starts(starts)) = self.starts.as_deref_mut() else { return };
        starts.drain(..oldest);
        let first = starts.first().copied().unwrap_or_default();
        if starts.iter().all(|start| *start == first) {
            self.start_unix_ns = first;
            self.starts = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_out_by_time_with_the_starts_they_came_with() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..200 {
            let mut waiting = Waiting::default();
            let mut expected = std::collections::BTreeMap::new();
            let starts = random.u64(1..4);
            for _ in 0..200 {
                let start_unix_ns = random.u64(..starts);
                let count = Count { time_unix_ns: random.u64(..100), start_unix_ns, value: random.f64() };
                waiting.insert(count);
                expected.insert(count.time_unix_ns, count);
                if random.u8(..20) == 0 {
                    let oldest = random.usize(..=waiting.len());
                    waiting.forget(oldest);
                    expected = expected.into_iter().skip(oldest).collect();
                }
                let all: Vec<Count> = (0..waiting.len()).map(|at| waiting.get(at)).collect();
                assert_eq!(all, expected.values().copied().collect::<Vec<_>>());
            }
            let until = waiting.until(50);
            assert_eq!(until, expected.range(..=50).count());
        }
    }
}
