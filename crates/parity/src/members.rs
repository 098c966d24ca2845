//! The writers of a series on one side.
//!
//! What is one series after the mapping may come from several writers: instances whose label is left out, services that
//! share a name. Each writer's counts are taken for themselves, so that nobody mistakes the turns that they take for
//! resets, and their increases add up. A single writer's counts pass as they are.

use hashbrown::HashMap;

use crate::counter::Count;

/// So many writers of one series are told apart; what further ones write is left out.
const WRITERS_MAX: usize = 256;

/// A cumulative or a delta value of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Counts since a start.
    Cumulative,
    /// Counts since the value before.
    Delta,
}

/// A hash of a writer, so that none takes no room of its own.
type Writer = std::num::NonZeroU64;

#[derive(Clone, Copy, Debug)]
struct Last {
    start_unix_ns: u64,
    time_unix_ns: u64,
    value: f64,
}

/// The writers of one series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    single: Option<(Writer, Last)>,
    several: Option<Box<Several>>,
    total: f64,
    turns: Turns,
}

/// Writers that add up.
#[derive(Clone, Debug, Default)]
struct Several {
    last: HashMap<Writer, Last, foldhash::fast::RandomState>,
    pause: Pause,
}

/// Where a side had nothing of any writer for a while: until each of them has told what it counted meanwhile, their sum
/// is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pause {
    newest_unix_ns: u64,
    until_unix_ns: u64,
}

/// So long no writer of several is heard of only when something is down, and so long all of them are waited for then.
pub(crate) const PAUSE_NS: u64 = 90_000_000_000;

impl Pause {
    /// Takes note of a value of some writer; whether the sum is to be waited for.
    pub(crate) fn is_on(&mut self, time_unix_ns: u64) -> bool {
        if self.newest_unix_ns != 0 && time_unix_ns.saturating_sub(self.newest_unix_ns) > PAUSE_NS {
            self.until_unix_ns = time_unix_ns.saturating_add(PAUSE_NS);
        }
        self.newest_unix_ns = self.newest_unix_ns.max(time_unix_ns);
        time_unix_ns < self.until_unix_ns
    }
}

/// How often what should be one writer was another one: two of them share an identity.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turns {
    /// How often it went back to an earlier start.
    restated: u32,
    /// How often it fell.
    falls: u32,
    /// How often it fell to where it had been shortly before, which one that begins anew does not.
    zigzags: u32,
    /// The two values before the last one, the newer one first.
    before: [f64; 2],
}

/// So many zigzags are no chance.
const ZIGZAGS_MIN: u32 = 8;
/// Of so many falls all but one are zigzags, and of so many zigzags no more than one is a fall of the other side too.
const OF_FALLS: u32 = 4;

impl Turns {
    /// Takes a value of the only writer in.
    pub(crate) fn follow(&mut self, last: f64, value: f64) {
        if value < last {
            self.falls = self.falls.saturating_add(1);
            let was_there = self.before.iter().any(|before| (f64::MIN_POSITIVE..=value).contains(before));
            self.zigzags = self.zigzags.saturating_add(u32::from(was_there));
        }
        self.before = [last, self.before[0]];
    }

    /// Whether two writers share one identity. What restarts all the time falls on the other side too.
    pub(crate) fn are_two_writers(&self, other: &Turns) -> bool {
        let is_zigzag = self.zigzags >= ZIGZAGS_MIN && self.falls - self.zigzags <= self.falls / OF_FALLS;
        self.restated >= 3 || (is_zigzag && other.falls <= self.zigzags / OF_FALLS)
    }

    /// What shows it.
    pub(crate) fn evidence(&self) -> String {
        match self.zigzags >= ZIGZAGS_MIN {
            true => format!("it fell {} times to where it had been shortly before", self.zigzags),
            false => "start times go back and forth".to_owned(),
        }
    }
}

impl Members {
    /// Takes a value of a writer in; gives what the series counts then.
    pub(crate) fn add(&mut self, writer: u64, form: Form, count: Count) -> Option<Count> {
        if form == Form::Delta {
            self.total += count.value;
            return Some(Count { value: self.total, start_unix_ns: 0, ..count });
        }
        let writer = Writer::new(writer).unwrap_or(Writer::MIN);
        let last = Last { start_unix_ns: count.start_unix_ns, time_unix_ns: count.time_unix_ns, value: count.value };
        match &mut self.single {
            None if self.several.is_none() => {
                self.single = Some((writer, last));
                self.total = count.value;
                return Some(count);
            }
            Some((single, known)) if *single == writer => {
                self.turns.restated += u32::from(takes_turns(known, &last));
                if last.time_unix_ns > known.time_unix_ns {
                    self.turns.follow(known.value, last.value);
                }
                *known = last;
                self.total = count.value;
                return Some(count);
            }
            _ => {}
        }
        self.add_to_several(writer, last, count)
    }

    fn add_to_several(&mut self, writer: Writer, last: Last, count: Count) -> Option<Count> {
        let single = self.single.take();
        let several = self
            .several
            .get_or_insert_with(|| Box::new(Several { last: single.into_iter().collect(), pause: Pause::default() }));
        let is_full = several.last.len() >= WRITERS_MAX;
        let increase = match several.last.get_mut(&writer) {
            None if is_full => return None,
            // A writer that joins has counted before anyone looked.
            None => {
                several.last.insert(writer, last);
                0.0
            }
            Some(known) => {
                if last.time_unix_ns <= known.time_unix_ns {
                    return None;
                }
                let is_reset = last.value < known.value;
                self.turns.restated += u32::from(takes_turns(known, &last));
                let before = std::mem::replace(known, last).value;
                if is_reset { last.value } else { last.value - before }
            }
        };
        self.total += increase;
        let waits = several.pause.is_on(count.time_unix_ns);
        (!waits).then_some(Count { value: self.total, start_unix_ns: 0, ..count })
    }

    /// Whether more than one writer was seen, so that the series trails by up to an interval of theirs.
    pub(crate) fn are_several(&self) -> bool {
        self.several.is_some()
    }

    /// Whether two writers share one identity, which those of the other side do not.
    pub(crate) fn share_an_identity(&self, other: &Members) -> Option<String> {
        self.turns.are_two_writers(&other.turns).then(|| self.turns.evidence())
    }
}

/// Whether a value belongs to an earlier start than the one before it, though it is newer.
fn takes_turns(known: &Last, last: &Last) -> bool {
    last.time_unix_ns > known.time_unix_ns && last.start_unix_ns != 0 && last.start_unix_ns < known.start_unix_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(time: u64, start: u64, value: f64) -> Count {
        Count { time_unix_ns: time, start_unix_ns: start, value }
    }

    #[test]
    fn a_single_writer_passes_as_it_is() {
        let mut members = Members::default();
        assert_eq!(members.add(1, Form::Cumulative, count(10, 5, 3.0)), Some(count(10, 5, 3.0)));
        assert_eq!(members.add(1, Form::Cumulative, count(20, 5, 4.0)), Some(count(20, 5, 4.0)));
        assert!(!members.are_several());
    }

    #[test]
    fn writers_that_take_turns_add_up_and_are_no_resets() {
        let mut members = Members::default();
        members.add(1, Form::Cumulative, count(10, 5, 100.0));
        members.add(2, Form::Cumulative, count(11, 6, 7.0));
        members.add(1, Form::Cumulative, count(20, 5, 103.0));
        let last = members.add(2, Form::Cumulative, count(21, 6, 9.0)).unwrap();
        assert_eq!((last.value, last.start_unix_ns), (105.0, 0));
        assert_eq!(members.add(2, Form::Cumulative, count(31, 30, 1.0)).unwrap().value, 106.0);
    }

    #[test]
    fn after_a_pause_all_writers_are_waited_for() {
        const SECOND: u64 = 1_000_000_000;
        let mut members = Members::default();
        let mut at = |second: u64, writer| {
            members.add(writer, Form::Cumulative, count(second * SECOND, 0, second as f64)).map(|count| count.value)
        };
        for second in (0..300).step_by(15) {
            assert!(at(1000 + second, 1).is_some() && at(1007 + second, 2).is_some());
        }
        // One of them tells of ten minutes at once, and the other one does a moment later.
        assert_eq!((at(1900, 1), at(1907, 2)), (None, None));
        let total = (15..80).step_by(15).map(|second| at(1900 + second, 1)).collect::<Vec<_>>();
        assert!(total.iter().all(Option::is_none), "{total:?}");
        assert!(at(1990, 1).is_some() && at(1997, 2).is_some());
    }

    #[test]
    fn deltas_add_up() {
        let mut members = Members::default();
        members.add(1, Form::Delta, count(10, 5, 3.0));
        assert_eq!(members.add(2, Form::Delta, count(11, 5, 4.0)).unwrap().value, 7.0);
    }

    /// Feeds a value every fifteen seconds; gives how many of them took turns.
    fn zigzags(values: impl IntoIterator<Item = f64>) -> Turns {
        let mut members = Members::default();
        for (at, value) in values.into_iter().enumerate() {
            members.add(1, Form::Cumulative, count(15 * (at as u64 + 1), 0, value));
        }
        members.turns
    }

    #[test]
    fn writers_that_say_no_start_are_noticed_by_their_zigzag() {
        let rising = |at: u32| f64::from(at) * 7.0;
        let two = zigzags((1..100).map(|at| rising(at) + f64::from(at % 2) * 100.0));
        let three = zigzags((1..100).map(|at| rising(at) + f64::from(at % 3) * 100.0));
        let rare = zigzags((1..100).map(|at| f64::from(3 + at % 2)));
        // The two are so close at first that what they count meanwhile makes up for it.
        let late = zigzags((1..1000).map(|at| rising(at) + f64::from(at % 2) * 0.01 * rising(at)));
        for turns in [two, three, rare, late] {
            assert!(turns.are_two_writers(&zigzags((1..100).map(rising))), "{turns:?}");
            assert!(!turns.are_two_writers(&turns), "what both sides have is the application's: {turns:?}");
        }
    }

    #[test]
    fn restarts_are_no_zigzag() {
        let alone = zigzags((1..100).map(f64::from));
        let restarting = [3, 5, 7, 10, 20].map(|every| zigzags((1..1000).map(|at| f64::from(at % every))));
        for turns in restarting.iter().chain([&alone]) {
            assert!(!turns.are_two_writers(&alone), "{turns:?}");
        }
        // A slow sampler of what restarts all the time sees it at any height, and the fast one sees each restart.
        let mut random = fastrand::Rng::with_seed(5);
        let life: Vec<f64> = (0..200).flat_map(|_| (0..random.u32(3..9)).map(f64::from).collect::<Vec<_>>()).collect();
        let (slow, fast) = (zigzags(life.iter().copied().step_by(4)), zigzags(life.iter().copied()));
        assert!(!slow.are_two_writers(&fast) && !fast.are_two_writers(&slow), "{slow:?} {fast:?}");
    }

    #[test]
    fn two_writers_of_one_identity_are_noticed() {
        let mut members = Members::default();
        for turn in 0..8 {
            let (start, value) = if turn % 2 == 0 { (5, 100.0) } else { (6, 3.0) };
            members.add(1, Form::Cumulative, count(10 + turn, start, value));
        }
        assert!(members.share_an_identity(&Members::default()).is_some());
    }
}
