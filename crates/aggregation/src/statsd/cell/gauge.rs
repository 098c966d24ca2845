//! Gauges: the last value by arrival, and what was added to it since.

/// So many additions are kept with their times; older ones are put together.
const CHANGES_MAX: usize = 64;

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct At {
    time_ns: u64,
    value: f64,
}

/// The last value that was set, and the additions that came after it, in order of arrival.
///
/// Additions keep their times, because another shard may have seen a newer value: those before it are void. Beyond
/// [`CHANGES_MAX`] the oldest two become one at the time of the later.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Gauge {
    set: Option<At>,
    changes: Vec<At>,
}

impl Gauge {
    pub(crate) fn set(&mut self, value: f64, time_ns: u64) {
        // What one shard sees is in order, whatever the clock says meanwhile.
        self.set = Some(At { time_ns, value });
        self.changes.clear();
    }

    pub(crate) fn change(&mut self, by: f64, time_ns: u64) {
        match self.changes.last_mut() {
            Some(last) if last.time_ns == time_ns => last.value += by,
            _ => self.changes.push(At { time_ns, value: by }),
        }
        self.shorten();
    }

    fn shorten(&mut self) {
        if self.changes.len() > CHANGES_MAX {
            self.changes[1].value += self.changes[0].value;
            self.changes.remove(0);
        }
    }

    pub(crate) fn merge(&mut self, other: Gauge) {
        let newest = match (self.set, other.set) {
            (Some(own), Some(other)) if other.time_ns > own.time_ns => Some(other),
            (own, other) => own.or(other),
        };
        // What a shard added at the very time of its own value came after it; of another shard's that is unknown.
        let own_since = self.set == newest;
        let other_since = other.set == newest && !own_since;
        let void = |change: &At, own: bool| newest.is_some_and(|set| change.time_ns <= set.time_ns && !own);
        self.changes.retain(|change| !void(change, own_since));
        self.changes.extend(other.changes.into_iter().filter(|change| !void(change, other_since)));
        self.changes.sort_by_key(|change| change.time_ns);
        self.set = newest;
        while self.changes.len() > CHANGES_MAX {
            self.shorten();
        }
    }

    /// The value, from 0 on where none was ever set. It becomes the value that later additions start from, and is older
    /// than whatever comes next, so that a clock that was set back voids nothing.
    pub(crate) fn settle(&mut self) -> f64 {
        let base = self.set.map_or(0.0, |set| set.value);
        let value = self.changes.iter().fold(base, |sum, change| sum + change.value).clamp(f64::MIN, f64::MAX);
        self.changes.clear();
        self.set = Some(At { time_ns: 0, value });
        value
    }
}
