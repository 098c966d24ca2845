//! What running totals were last, so that increments can be told.
//!
//! - A point is compared with the last one of its series. Less than that, or a start time that is no earlier than the
//!   last point, means that counting began anew: all of it is increment.
//! - A point that is not newer than the last one says nothing new: it came late, or twice.
//! - Of the first point of a series, all is increment where counting began after this process did. What began before
//!   may have been sent by the process before, so it is only remembered; `initial_value` says otherwise.
//! - Series of which nothing was heard for `max_staleness` are forgotten, and when `max_state_size` is reached, points of
//!   series that are not known yet are refused: a wrong increment is worse than none.

use std::time::Duration;

use component::clock::Mono;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// The identity of a series: a hash of 128 bits, so that two of a billion share one with a chance of 10^-21.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SeriesId(pub(super) u128);

/// What the first point of a series counts (`initial_value`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InitialValue {
    /// All of it, where counting began after this process did.
    Auto,
    /// All of it.
    Keep,
    /// Nothing.
    Drop,
}

/// The bounds of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) initial_value: InitialValue,
    pub(super) staleness_max: Duration,
    pub(super) size_bytes_max: usize,
}

/// A running total, or what it grew by.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Total {
    Int(i64),
    Double(f64),
    /// A distribution; the buckets of an exponential one are by scale and index, all signs and zero included.
    Distribution {
        count: u64,
        sum: Option<f64>,
        buckets: Buckets,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Buckets {
    None,
    Explicit { bounds: Vec<f64>, counts: Vec<u64> },
    Exponential { scale: i32, zero: u64, positive: Run, negative: Run },
}

/// Neighbouring buckets of an exponential histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Run {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

/// What a point of a running total is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// So much more than before.
    Increment(Total),
    /// The first of its series: remembered.
    First,
    /// Not newer than the last one.
    Late,
    /// There is no room to remember it.
    NoRoom,
}

#[derive(Debug)]
struct Series {
    time_unix_ns: u64,
    total: Total,
    heard: Mono,
}

/// What a state holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) series: usize,
    pub(super) size_bytes: usize,
}

#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    started_unix_ns: u64,
    series: HashMap<SeriesId, Series, RandomState>,
    size_bytes: usize,
    forgotten_at: Option<Mono>,
}

impl State {
    pub(super) fn new(limits: Limits, started_unix_ns: u64) -> Self {
        State { limits, started_unix_ns, series: HashMap::default(), size_bytes: 0, forgotten_at: None }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { series: self.series.len(), size_bytes: self.size_bytes }
    }

    /// Takes the next point of a series, and says what it adds.
    pub(super) fn advance(
        &mut self,
        id: SeriesId,
        start_unix_ns: u64,
        time_unix_ns: u64,
        total: &Total,
        now: Mono,
    ) -> Step {
        let new = Series { time_unix_ns, total: total.clone(), heard: now };
        let size_bytes = new.size_bytes();
        let Some(last) = self.series.get_mut(&id) else {
            if self.size_bytes + size_bytes > self.limits.size_bytes_max {
                return Step::NoRoom;
            }
            self.size_bytes += size_bytes;
            self.series.insert(id, new);
            return self.first(start_unix_ns, total);
        };
        last.heard = now;
        if time_unix_ns <= last.time_unix_ns {
            return Step::Late;
        }
        // A start time that merely moves about is no new beginning: sources that compute theirs anew are off by a bit.
        let begins_anew = start_unix_ns != 0 && start_unix_ns >= last.time_unix_ns;
        let since = if begins_anew { None } else { total.since(&last.total) };
        self.size_bytes = self.size_bytes - last.size_bytes() + size_bytes;
        *last = new;
        Step::Increment(since.unwrap_or_else(|| total.clone()))
    }

    fn first(&self, start_unix_ns: u64, total: &Total) -> Step {
        let counts = match self.limits.initial_value {
            InitialValue::Auto => start_unix_ns >= self.started_unix_ns,
            InitialValue::Keep => true,
            InitialValue::Drop => false,
        };
        if counts { Step::Increment(total.clone()) } else { Step::First }
    }

    /// Forgets series of which nothing was heard for too long. It looks at all of them, but not often.
    pub(super) fn forget_stale(&mut self, now: Mono) {
        let staleness_max = self.limits.staleness_max;
        let is_due = self.forgotten_at.is_none_or(|last| now.duration_since(last) >= staleness_max / 8);
        if staleness_max.is_zero() || !is_due {
            return;
        }
        self.forgotten_at = Some(now);
        self.series.retain(|_, series| now.duration_since(series.heard) < staleness_max);
        self.size_bytes = self.series.values().map(Series::size_bytes).sum();
    }
}

impl Series {
    /// What it takes, its place in the table included, which is up to half empty.
    fn size_bytes(&self) -> usize {
        let heap = match &self.total {
            Total::Distribution { buckets: Buckets::Explicit { bounds, counts }, .. } => bounds.len() + counts.len(),
            Total::Distribution { buckets: Buckets::Exponential { positive, negative, .. }, .. } => {
                positive.counts.len() + negative.counts.len()
            }
            _ => 0,
        };
        2 * (size_of::<SeriesId>() + size_of::<Series>()) + heap * 8
    }
}

impl Total {
    /// What it grew by since it was `before`; `None` where it did not grow out of that.
    pub(super) fn since(&self, before: &Total) -> Option<Total> {
        match (self, before) {
            (Total::Int(now), Total::Int(before)) => {
                if now >= before {
                    now.checked_sub(*before).map(Total::Int)
                } else {
                    None
                }
            }
            (Total::Int(_) | Total::Double(_), Total::Int(_) | Total::Double(_)) => {
                let (now, before) = (self.as_double()?, before.as_double()?);
                (now >= before).then_some(Total::Double(now - before))
            }
            (
                Total::Distribution { count, sum, buckets },
                Total::Distribution { count: count_before, sum: sum_before, buckets: buckets_before },
            ) => {
                let count = count.checked_sub(*count_before)?;
                let sum = sum.zip(*sum_before).map(|(now, before)| now - before);
                Some(Total::Distribution { count, sum, buckets: buckets.since(buckets_before)? })
            }
            _ => None,
        }
    }

    fn as_double(&self) -> Option<f64> {
        match self {
            Total::Int(value) => Some(*value as f64),
            Total::Double(value) => Some(*value),
            Total::Distribution { .. } => None,
        }
    }
}

impl Buckets {
    fn since(&self, before: &Buckets) -> Option<Buckets> {
        match (self, before) {
            (Buckets::None, Buckets::None) => Some(Buckets::None),
            (
                Buckets::Explicit { bounds, counts },
                Buckets::Explicit { bounds: bounds_before, counts: counts_before },
            ) if bounds == bounds_before && counts.len() == counts_before.len() => {
                let each = counts.iter().zip(counts_before).map(|(now, before)| now.checked_sub(*before));
                Some(Buckets::Explicit { bounds: bounds.clone(), counts: each.collect::<Option<_>>()? })
            }
            (
                Buckets::Exponential { scale, zero, positive, negative },
                Buckets::Exponential {
                    scale: scale_before,
                    zero: zero_before,
                    positive: positive_before,
                    negative: negative_before,
                },
            ) => {
                // Scales only fall while counting goes on.
                let down = u32::try_from(i64::from(*scale_before) - i64::from(*scale)).ok()?;
                Some(Buckets::Exponential {
                    scale: *scale,
                    zero: zero.checked_sub(*zero_before)?,
                    positive: positive.since(positive_before, down)?,
                    negative: negative.since(negative_before, down)?,
                })
            }
            _ => None,
        }
    }
}

impl Run {
    /// `down`: how many scales lower this is than what was before.
    fn since(&self, before: &Run, down: u32) -> Option<Run> {
        let mut counts = self.counts.clone();
        let offset = i64::from(self.offset);
        for (at, count) in before.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let index = (i64::from(before.offset) + at as i64) >> down.min(63);
            let now = counts.get_mut(usize::try_from(index - offset).ok()?)?;
            *now = now.checked_sub(*count)?;
        }
        Some(Run { offset: self.offset, counts })
    }
}
