//! Metrics that one side has under another name than the other.

use std::collections::BTreeSet;

use super::figures::{Agreement, Likeness, Line, Movement, Shows, Together};
use super::labels::{Beside, Labels, Values, are_nearly_all, beside};
use super::words;

/// Factors between units: of time, of size, and between a share and percent.
const UNITS: [f64; 16] = [
    1e9,
    1e6,
    1024.0 * 1024.0,
    3600.0,
    1024.0,
    1e3,
    100.0,
    60.0,
    1.0 / 60.0,
    0.01,
    1e-3,
    1.0 / 1024.0,
    1.0 / 3600.0,
    1.0 / (1024.0 * 1024.0),
    1e-6,
    1e-9,
];

/// A ratio that is off by more is no factor between units.
const FACTOR_OFF_MAX: f64 = 0.05;

/// So precisely the total of a counter must be known where nothing else speaks for it but its name.
const PRECISE: f64 = 0.05;
/// So many levels that differ from each other are no chance.
const LEVELS_MIN: usize = 4;
/// Levels that are no further apart than this are the same.
const LEVELS_APART: f64 = 0.05;
/// So many series are compared in all.
const COMPARED_MAX: usize = 40_000;
/// So many series of two metrics are compared before all of them are.
const FIRST: usize = 3;
/// By so much the best partner is better than the next one.
const BEST_BY: f64 = 0.05;

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter { has_fractions: bool },
    Gauge,
    Histogram,
}

impl Kind {
    fn suits(self, other: Kind) -> bool {
        matches!(
            (self, other),
            (Kind::Counter { .. }, Kind::Counter { .. })
                | (Kind::Gauge, Kind::Gauge)
                | (Kind::Histogram, Kind::Histogram)
        )
    }
}

/// The figures of one series: the count or level, and of a histogram the sum.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) main: Line,
    pub(super) sum: Line,
}

/// A metric that one side has and the other has not.
#[derive(Clone, Debug)]
pub(super) struct OneSided<'a> {
    /// As the side calls it.
    pub(super) name: String,
    pub(super) words: BTreeSet<String>,
    pub(super) kind: Kind,
    pub(super) labels: Vec<Labels<'a>>,
    pub(super) values: Values<'a>,
    pub(super) figures: Vec<Figures>,
}

/// Two metrics that look like one.
#[derive(Clone, Debug)]
pub(super) struct Pair<'a> {
    /// Their places among those of their side.
    pub(super) at: [usize; 2],
    pub(super) scale: f64,
    pub(super) renamed: Vec<(&'a str, &'a str)>,
    pub(super) series: usize,
    pub(super) agreeing: usize,
    /// Which share of the words is the same.
    names: f64,
    /// How much speaks for it.
    score: f64,
}

/// Every pair of which each is the only best partner of the other.
pub(super) fn pairs<'a>(legacy: &[OneSided<'a>], new: &[OneSided<'a>]) -> Vec<Pair<'a>> {
    let common: BTreeSet<String> =
        [legacy, new].into_iter().flat_map(|side| words::common(side.iter().map(|metric| &metric.words))).collect();
    let mut possible = Vec::new();
    for (at, one) in legacy.iter().enumerate() {
        for (also, other) in new.iter().enumerate().filter(|(_, other)| other.kind.suits(one.kind)) {
            possible.push((words::likeness(&one.words, &other.words, &common), [at, also]));
        }
    }
    // The likeliest first: there is no time for all of too many.
    possible.sort_by(|one, other| other.0.total_cmp(&one.0));
    let (mut left, mut candidates) = (COMPARED_MAX, Vec::new());
    for (names, at) in possible {
        candidates.extend(pair([&legacy[at[0]], &new[at[1]]], at, names, &mut left));
        if left == 0 {
            // What has no word in common may have a better partner among those that were not looked at.
            candidates.retain(|pair| pair.names > 0.0);
            break;
        }
    }
    let is_best = |pair: &&Pair<'_>| {
        let is_rival = |rival: &&Pair<'_>| (rival.at[0] == pair.at[0]) != (rival.at[1] == pair.at[1]);
        candidates.iter().filter(is_rival).all(|rival| rival.score + BEST_BY <= pair.score)
    };
    candidates.iter().filter(is_best).cloned().collect()
}

/// Compares two metrics, and takes the number of series that it compares from what is left.
fn pair<'a>(sides: [&OneSided<'a>; 2], at: [usize; 2], names: f64, left: &mut usize) -> Option<Pair<'a>> {
    let [legacy, new] = sides;
    *left = left.saturating_sub(1);
    let Beside { renamed, series } = beside([&legacy.labels, &new.labels], [&legacy.values, &new.values])?;
    let lines = series.iter().map(|(one, other)| [&legacy.figures[*one], &new.figures[*other]]);
    let lines: Vec<[&Figures; 2]> = lines.collect();
    let has_fractions = |kind: Kind| matches!(kind, Kind::Counter { has_fractions: true });
    let shows = match legacy.kind {
        Kind::Gauge => Shows::Levels,
        _ if has_fractions(legacy.kind) || has_fractions(new.kind) => Shows::Amounts,
        _ => Shows::Events,
    };
    let first = &lines[..lines.len().min(FIRST)];
    *left = left.saturating_sub(first.len());
    if !is_possible(first, shows) {
        return None;
    }
    *left = left.saturating_sub(lines.len());
    let judged = match legacy.kind {
        Kind::Gauge => gauges(&lines, names)?,
        Kind::Histogram => histograms(&lines, names)?,
        Kind::Counter { .. } => counters(&lines, names, shows)?,
    };
    let score = names + 0.25 * f64::from(judged.likeness as u8);
    let (series, agreeing) = (series.len(), judged.agreeing);
    Some(Pair { at, scale: judged.scale, renamed: renamed.into_iter().collect(), series, agreeing, names, score })
}

/// Whether a few series leave it open that two metrics are one: nearly all pairs are not.
fn is_possible(first: &[[&Figures; 2]], shows: Shows) -> bool {
    let series = together(first, |figures| &figures.main, shows);
    let is_nothing = |one: &Together| one.totals == [0.0; 2];
    if series.iter().flatten().all(is_nothing) {
        return true;
    }
    let Some(scale) = (if shows == Shows::Events { Some(1.0) } else { scale_of(&series) }) else { return false };
    let differing = series.iter().flatten().filter(|one| one.compare(scale) == Agreement::Differs).count();
    differing <= first.len() / 2 && movement(&series, scale).likeness() != Likeness::Unlike
}

/// What the figures of two metrics come to.
struct Judged {
    scale: f64,
    agreeing: usize,
    likeness: Likeness,
}

fn together(lines: &[[&Figures; 2]], of: fn(&Figures) -> &Line, shows: Shows) -> Vec<Option<Together>> {
    lines.iter().map(|[legacy, new]| Together::of([of(legacy), of(new)], shows)).collect()
}

/// The factor between units that the sums over all series come to, or 1.
fn scale_of(series: &[Option<Together>]) -> Option<f64> {
    let sums = [0, 1].map(|side| series.iter().flatten().map(|one| one.totals[side].abs()).sum::<f64>());
    let ratio = sums[1] / sums[0];
    if !ratio.is_finite() || ratio <= 0.0 {
        return None;
    }
    let off = |factor: &f64| (ratio / factor).ln().abs();
    let factor = UNITS.into_iter().chain([1.0]).min_by(|one, other| off(one).total_cmp(&off(other)))?;
    (off(&factor) <= FACTOR_OFF_MAX).then_some(factor)
}

/// How many series agree; none where too many differ, or none of them says anything.
fn agreeing(series: &[Option<Together>], scale: f64) -> Option<usize> {
    let found: Vec<Agreement> = series.iter().flatten().map(|one| one.compare(scale)).collect();
    let is_said = found.contains(&Agreement::Agrees);
    let agreeing = found.iter().filter(|agreement| **agreement != Agreement::Differs).count();
    (is_said && are_nearly_all(agreeing, series.len())).then_some(agreeing)
}

fn movement(series: &[Option<Together>], scale: f64) -> Movement {
    let mut movement = Movement::default();
    let agreeing = series.iter().flatten().filter(|one| one.compare(scale) != Agreement::Differs);
    agreeing.for_each(|one| movement.add(one, scale));
    movement
}

/// How precisely the total of the best known series is known.
fn vagueness(series: &[Option<Together>], scale: f64) -> f64 {
    let agreeing = series.iter().flatten().filter(|one| one.compare(scale) == Agreement::Agrees);
    agreeing.map(|one| one.vagueness(scale)).fold(f64::INFINITY, f64::min)
}

fn counters(lines: &[[&Figures; 2]], names: f64, shows: Shows) -> Option<Judged> {
    let series = together(lines, |figures| &figures.main, shows);
    // Events are the same in every unit.
    let scale = if shows == Shows::Amounts { scale_of(&series)? } else { 1.0 };
    let agreeing = agreeing(&series, scale)?;
    let likeness = movement(&series, scale).likeness();
    let is_precise = vagueness(&series, scale) <= PRECISE;
    is_enough(likeness, names, scale, is_precise).then_some(Judged { scale, agreeing, likeness })
}

fn histograms(lines: &[[&Figures; 2]], names: f64) -> Option<Judged> {
    let counts = together(lines, |figures| &figures.main, Shows::Events);
    let of_counts = agreeing(&counts, 1.0)?;
    let sums = together(lines, |figures| &figures.sum, Shows::Amounts);
    let scale = scale_of(&sums)?;
    let agreeing = agreeing(&sums, scale)?.min(of_counts);
    let likeness = movement(&counts, 1.0).likeness();
    let is_precise = vagueness(&counts, 1.0) <= PRECISE;
    // Counts and sums that agree are two figures: a factor of the sums needs no more.
    is_enough(likeness, names, 1.0, is_precise).then_some(Judged { scale, agreeing, likeness })
}

fn gauges(lines: &[[&Figures; 2]], names: f64) -> Option<Judged> {
    let series = together(lines, |figures| &figures.main, Shows::Levels);
    let scale = scale_of(&series)?;
    let agreeing = agreeing(&series, scale)?;
    let likeness = movement(&series, scale).likeness();
    // What never moves proves nothing, unless each series has a level of its own.
    let is_known = levels(&series, scale) >= LEVELS_MIN;
    is_enough(likeness, names, scale, is_known).then_some(Judged { scale, agreeing, likeness })
}

/// How many levels there are that differ from each other.
fn levels(series: &[Option<Together>], scale: f64) -> usize {
    let agreeing = series.iter().flatten().filter(|one| one.compare(scale) == Agreement::Agrees);
    let mut levels: Vec<f64> = agreeing.map(|one| one.totals[1]).collect();
    levels.sort_by(f64::total_cmp);
    let is_next = |last: f64, level: f64| level - last > LEVELS_APART * level.abs().max(last.abs());
    let mut last = f64::NEG_INFINITY;
    levels.retain(|level| {
        let is_other = last == f64::NEG_INFINITY || is_next(last, *level);
        if is_other {
            last = *level;
        }
        is_other
    });
    levels.len()
}

/// Whether as much speaks for two metrics being one as is needed to say so.
fn is_enough(likeness: Likeness, names: f64, scale: f64, is_known: bool) -> bool {
    match likeness {
        Likeness::Unlike => false,
        Likeness::Unknown => names > 0.0 && is_known,
        Likeness::Alike => names > 0.0,
        Likeness::Same => names > 0.0 || scale == 1.0,
    }
}
