//! Times in which one backend has nothing at all while the other one goes on, as while it was down.
//!
//! No count is lost by that, since cumulative counts go on where they stand, and so no comparison of series shows it;
//! rates and alerts over that time are wrong all the same.

use std::collections::{BTreeMap, BTreeSet};

use otlp::{Batch, Signal};
use parity::{Cause, Finding, Part, Report, Side, Subject, Verdict};
use report::shown_time;

use super::window::{Window, each_time};

/// What all series of a side are put together under.
const NAME: &str = "all metrics";

/// Times are kept to the second, and less closely where there are more seconds than this.
const MOMENTS_MAX: u64 = 50_000;

/// What is shorter than this is no gap, nor what is shorter than so many of the usual intervals.
const GAP_NS_MIN: u64 = 60_000_000_000;
const INTERVALS_MIN: u64 = 4;

/// When each side had something.
#[derive(Debug)]
pub(super) struct Gaps {
    moment_ns: u64,
    moments: [BTreeSet<u64>; 2],
}

/// A time without anything, between the last moment before and the first one after.
#[derive(Debug, PartialEq)]
struct Gap {
    from_unix_ns: u64,
    to_unix_ns: u64,
    /// How often the other side had something meanwhile.
    others: usize,
}

impl Gaps {
    pub(super) fn within(window: Window) -> Gaps {
        let length_ns = window.to_unix_ns.saturating_sub(window.from_unix_ns);
        Gaps { moment_ns: (length_ns / MOMENTS_MAX).max(1_000_000_000), moments: Default::default() }
    }

    pub(super) fn observe(&mut self, side: Side, batch: &Batch) {
        each_time(batch, &mut |unix_ns| {
            self.moments[side as usize].insert(unix_ns / self.moment_ns);
        });
    }

    /// Puts what was found into a report.
    pub(super) fn add_to(&self, report: &mut Report) {
        let of_side = |side: Side| self.of(side).into_iter().map(move |gap| part(side, &gap));
        let parts: Vec<Part> = [Side::New, Side::Legacy].into_iter().flat_map(of_side).collect();
        let Some(first) = parts.first() else { return };
        *report.counts.entry(first.verdict.name()).or_default() += 1;
        let counts = BTreeMap::from([(first.verdict.name(), parts.len() as u64)]);
        let alone = Subject::alone(Signal::Metrics, NAME.to_owned(), first.verdict.clone());
        let subject = Subject { counts, parts, ..alone };
        report.subjects.insert(0, subject);
    }

    fn of(&self, side: Side) -> Vec<Gap> {
        let (own, others) = (&self.moments[side as usize], &self.moments[side.other() as usize]);
        let usual = |moments: &BTreeSet<u64>| {
            let mut steps: Vec<u64> = moments.iter().zip(moments.iter().skip(1)).map(|(a, b)| b - a).collect();
            steps.sort_unstable();
            steps.get(steps.len() * 9 / 10).copied().unwrap_or(u64::MAX)
        };
        let (own_usual, others_usual) = (usual(own), usual(others));
        let least = (GAP_NS_MIN / self.moment_ns).max(own_usual.saturating_mul(INTERVALS_MIN));
        let pairs = own.iter().zip(own.iter().skip(1)).filter(|(from, to)| *to - *from > least);
        let gap = |(from, to): (&u64, &u64)| {
            let seen = others.range(from + 1..*to).count();
            // The other side goes on for most of it, and not only at its ends.
            let expected = (to - from) / others_usual;
            (seen >= 2 && seen as u64 * 2 >= expected).then(|| Gap {
                from_unix_ns: from * self.moment_ns,
                to_unix_ns: to * self.moment_ns,
                others: seen,
            })
        };
        pairs.filter_map(gap).collect()
    }
}

fn part(side: Side, gap: &Gap) -> Part {
    let seconds = (gap.to_unix_ns - gap.from_unix_ns) / 1_000_000_000;
    let (from, to) = (shown_time(gap.from_unix_ns), shown_time(gap.to_unix_ns));
    let others = format!("in {} of these seconds the {} side has something", gap.others, side.other());
    let evidence = format!("from {from} to {to}; {others}");
    let since_unix_ns = Some(gap.from_unix_ns);
    let verdict = Verdict::Different(Finding { cause: Cause::Gap { side, seconds }, evidence, since_unix_ns });
    Part { name: NAME.to_owned(), sentence: verdict.sentence(), verdict, set_series: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn check(legacy: impl Iterator<Item = u64>, new: impl Iterator<Item = u64>, expected: [&[(u64, u64)]; 2]) {
        let moments = [legacy.collect(), new.collect()];
        let gaps = Gaps { moment_ns: SECOND_NS, moments };
        for side in [Side::Legacy, Side::New] {
            let found: Vec<_> =
                gaps.of(side).iter().map(|gap| (gap.from_unix_ns / SECOND_NS, gap.to_unix_ns / SECOND_NS)).collect();
            assert_eq!(found, expected[side as usize], "{side}");
        }
    }

    fn every(interval: usize, phase: u64) -> impl Iterator<Item = u64> {
        (1000 + phase..4600).step_by(interval)
    }

    fn without(moments: impl Iterator<Item = u64>, from: u64, to: u64) -> impl Iterator<Item = u64> {
        moments.filter(move |moment| !(from..to).contains(moment))
    }

    #[test]
    fn a_side_that_was_down_has_a_gap() {
        check(every(15, 0), without(every(15, 7), 2000, 2120), [&[], &[(1997, 2132)]]);
        check(without(every(1, 0), 2000, 2120), every(15, 7), [&[(1999, 2120)], &[]]);
        check(without(every(60, 0), 2000, 2500), every(15, 0), [&[(1960, 2500)], &[]]);
    }

    #[test]
    fn what_both_sides_lack_or_one_has_rarely_is_none() {
        check(every(15, 0), every(60, 7), [&[], &[]]);
        check(without(every(15, 0), 2000, 2300), without(every(15, 7), 2000, 2300), [&[], &[]]);
        check(every(15, 0), without(every(15, 7), 2000, 2040), [&[], &[]]);
        check(every(15, 0), std::iter::empty(), [&[], &[]]);
        check(every(15, 0), every(15, 1800), [&[], &[]]);
        check(every(15, 0), [2000, 3000].into_iter(), [&[], &[]]);
    }
}
