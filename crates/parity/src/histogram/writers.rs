//! The writers of one side of a histogram, which may be several instances, or send deltas.

use std::sync::Arc;

use super::{Buckets, Distribution, same, up_to};
use crate::members::{Form, Pause, Turns};

/// The histograms of the writers of one side, which add up where their bounds are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Writers {
    /// The last one of each, which the comparison has as well.
    known: Vec<(u64, Arc<Distribution>)>,
    /// What all of them counted, once there are several, or what deltas add up to.
    total: Option<Distribution>,
    /// Whether the only one is two.
    turns: Turns,
    pause: Pause,
}

/// So many writers of one histogram are told apart.
const WRITERS_MAX: usize = 64;

impl Writers {
    pub(super) fn are_several(&self) -> bool {
        self.known.len() > 1
    }

    pub(super) const fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Takes one in; gives what the side shows with it.
    pub(super) fn add(
        &mut self,
        writer: u64,
        form: Form,
        distribution: Arc<Distribution>,
    ) -> Option<Arc<Distribution>> {
        if form == Form::Delta {
            return self.grow(&distribution, None, &distribution).map(Arc::new);
        }
        let at = self.known.iter().position(|(known, _)| *known == writer);
        let Some(at) = at else {
            if self.known.len() >= WRITERS_MAX {
                return None;
            }
            // A second writer turns counts into increases; what it counted before is left out.
            let first = self.known.first().map(|(_, first)| Arc::clone(first));
            self.known.push((writer, Arc::clone(&distribution)));
            return match first {
                None => Some(distribution),
                Some(first) => {
                    self.total.get_or_insert_with(|| Distribution { start_unix_ns: 0, ..(*first).clone() });
                    None
                }
            };
        };
        let before = std::mem::replace(&mut self.known[at].1, Arc::clone(&distribution));
        match self.total {
            None => {
                if distribution.time_unix_ns > before.time_unix_ns {
                    self.turns.follow(before.count, distribution.count);
                }
                Some(distribution)
            }
            Some(_) => {
                let is_reset = distribution.count < before.count;
                let waits = self.pause.is_on(distribution.time_unix_ns);
                let total = self.grow(&distribution, (!is_reset).then_some(&*before), &distribution);
                total.filter(|_| !waits).map(Arc::new)
            }
        }
    }

    /// Adds an increase to the total.
    fn grow(&mut self, to: &Distribution, from: Option<&Distribution>, at: &Distribution) -> Option<Distribution> {
        let nothing =
            Distribution { count: 0.0, sum: to.sum.map(|_| 0.0), buckets: Buckets::Explicit(Vec::new()), ..to.clone() };
        let total = self.total.get_or_insert(nothing);
        let count_of = |of: Option<&Distribution>| of.map_or(0.0, |of| of.count);
        let sum_of = |of: Option<&Distribution>| of.and_then(|of| of.sum).unwrap_or(0.0);
        total.count += to.count - count_of(from);
        total.sum = total.sum.map(|sum| sum + to.sum.unwrap_or(0.0) - sum_of(from));
        let (mut sums, upper) = (total.buckets.cumulative().into_owned(), to.buckets.cumulative());
        let before = from.map(|from| from.buckets.cumulative()).unwrap_or_default();
        let bounds: Vec<f64> = upper.iter().map(|(bound, _)| *bound).collect();
        for bound in bounds {
            if !sums.iter().any(|(known, _)| same(*known, bound)) {
                let known = up_to(&sums, bound);
                let position = sums.partition_point(|(known, _)| *known < bound);
                sums.insert(position, (bound, known));
            }
        }
        for (bound, sum) in &mut sums {
            *sum += up_to(&upper, *bound) - up_to(&before, *bound);
        }
        total.buckets = Buckets::Explicit(sums);
        total.time_unix_ns = at.time_unix_ns;
        total.start_unix_ns = 0;
        Some(total.clone())
    }
}
