//! The writers of a gauge on one side.
//!
//! What is one series after the mapping may come from several instances, which are seen at different moments. Their
//! values one after the other would make a gauge that jumps between them, and where two sides see the instances in other
//! rhythms, those jumps do not cancel out. So what several writers show together is the mean of what each showed last,
//! which is the same for the same instances whenever they are seen, and no less so where one of them is on both sides.

use std::collections::BTreeMap;

use crate::gauge::Level;
use crate::members::PAUSE_NS;

/// So many writers of one series are told apart; what further ones write is left out.
const WRITERS_MAX: usize = 256;

/// What was not seen for so long is no more, as to a query.
const GONE_NS: u64 = 300_000_000_000;

/// The writers of one gauge.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    single: Option<u64>,
    several: Option<Box<Several>>,
}

#[derive(Clone, Debug, Default)]
struct Several {
    last: BTreeMap<u64, Level>,
    /// Until all of them were seen, there is no mean.
    from_unix_ns: u64,
}

impl Levels {
    /// Whether this writer makes several of what was one.
    pub(crate) fn is_joined_by(&self, writer: u64) -> bool {
        self.several.is_none() && self.single.is_some_and(|single| single != writer)
    }

    /// Whether more than one writer was seen.
    pub(crate) fn are_several(&self) -> bool {
        self.several.is_some()
    }

    /// Takes a value of a writer in; gives what all of them are then.
    pub(crate) fn add(&mut self, writer: u64, level: Level) -> Option<Level> {
        if self.several.is_none() && *self.single.get_or_insert(writer) == writer {
            return Some(level);
        }
        let from_unix_ns = level.time_unix_ns.saturating_add(PAUSE_NS);
        let several = self.several.get_or_insert_with(|| Box::new(Several { last: BTreeMap::new(), from_unix_ns }));
        several.add(writer, level)
    }
}

impl Several {
    fn add(&mut self, writer: u64, level: Level) -> Option<Level> {
        let is_full = self.last.len() >= WRITERS_MAX && !self.last.contains_key(&writer);
        if is_full || !level.value.is_finite() {
            return None;
        }
        let known = self.last.entry(writer).or_insert(level);
        if known.time_unix_ns <= level.time_unix_ns {
            *known = level;
        }
        self.last.retain(|_, last| last.time_unix_ns.saturating_add(GONE_NS) >= level.time_unix_ns);
        let sum: f64 = self.last.values().map(|last| last.value).sum();
        let mean = Level { value: sum / self.last.len() as f64, ..level };
        (level.time_unix_ns >= self.from_unix_ns).then_some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn add(levels: &mut Levels, second: u64, writer: u64, value: f64) -> Option<f64> {
        levels.add(writer, Level { time_unix_ns: second * SECOND_NS, value }).map(|level| level.value)
    }

    #[test]
    fn a_single_writer_passes_as_it_is() {
        let mut levels = Levels::default();
        assert_eq!(add(&mut levels, 10, 1, 3.0), Some(3.0));
        assert!(!levels.is_joined_by(1) && levels.is_joined_by(2));
        assert_eq!(add(&mut levels, 25, 1, f64::NAN).map(f64::is_nan), Some(true));
    }

    #[test]
    fn several_are_their_mean_once_all_were_seen() {
        let mut levels = Levels::default();
        add(&mut levels, 10, 1, 100.0);
        for second in (15..100).step_by(15) {
            assert_eq!(add(&mut levels, second, 2, 200.0), None);
            assert_eq!(add(&mut levels, second + 1, 1, 100.0), None);
        }
        assert_eq!(add(&mut levels, 105, 2, 200.0), Some(150.0));
        assert_eq!(add(&mut levels, 106, 1, 120.0), Some(160.0));
        assert_eq!(add(&mut levels, 106, 2, f64::INFINITY), None);
        // The second one is gone.
        assert_eq!(add(&mut levels, 405, 1, 120.0), Some(160.0));
        assert_eq!(add(&mut levels, 406, 1, 120.0), Some(120.0));
    }
}
