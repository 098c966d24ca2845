//! One service: its releases in their order, and its metrics in windows.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;

use super::evidence::{Deviation, Evidence, Suspicion, apart};
use super::history::History;
use super::{Of, ReleaseRemark, ReleasesReport};
use crate::family::{Claim, Family};
use crate::stats::median;
use crate::verdict::{Cause, Finding, Percent, Side};

/// So many releases of a service are told apart; a new one takes the place of the one that has been gone longest.
const RELEASES_MAX: usize = 16;
/// So many windows of a service wait to be sealed.
const WINDOWS_MAX: usize = 64;
/// A release has the same share of at least so many counts, or its share is not known.
const COUNTS_MIN: usize = 3;
/// So many events are expected at least, or chance decides how many there are.
const EVENTS_MIN: f64 = 20.0;
/// A deviation below this is one of machines rather than of builds.
const APART_MIN: f64 = 0.05;
/// How many movements of a level make its standard deviation.
const MOVEMENTS_MAX: usize = 32;
/// The median absolute deviation of a normal variable, as a part of its standard deviation.
const MAD: f64 = 1.4826;

/// What was measured in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cell {
    pub(super) sum: f64,
    pub(super) weight: f64,
}

/// A group, a side and a release.
type At = (usize, Side, usize);
type Window = HashMap<At, Cell, foldhash::fast::RandomState>;

#[derive(Clone, Debug)]
struct Release {
    name: Box<str>,
    /// The first ones are what later ones are held against.
    rank: Option<u32>,
    last_unix_ns: u64,
}

/// One metric.
#[derive(Clone, Debug)]
struct Group {
    metric: Box<str>,
    of: Of,
    sides: [OfSide; 2],
    evidence: BTreeMap<usize, Evidence>,
}

/// What is known of a metric on one side, whatever its release.
#[derive(Clone, Debug, Default)]
struct OfSide {
    history: History,
    /// How far levels moved from one window to the next.
    last: Option<f64>,
    movements: VecDeque<f32>,
}

#[derive(Debug, Default)]
pub(super) struct Service {
    releases: Vec<Release>,
    ranks: u32,
    groups: Vec<Group>,
    by_name: HashMap<(Box<str>, Of), usize, foldhash::fast::RandomState>,
    open: BTreeMap<u64, Window>,
    sealed_until: u64,
}

/// What the releases before one had, and whether traffic is the same.
#[derive(Clone, Copy)]
struct Base {
    value: f64,
    is_alike: bool,
}

impl Service {
    /// The number of a release.
    pub(super) fn release(&mut self, name: &str) -> Option<usize> {
        if let Some(at) = self.releases.iter().position(|known| *known.name == *name) {
            return Some(at);
        }
        let release = Release { name: name.into(), rank: None, last_unix_ns: self.sealed_until };
        if self.releases.len() < RELEASES_MAX {
            self.releases.push(release);
            return Some(self.releases.len() - 1);
        }
        // Those that are there now stay.
        let gone = |release: &Release| release.rank.is_some() && release.last_unix_ns < self.sealed_until;
        let candidates = self.releases.iter().enumerate().filter(|(_, release)| gone(release));
        let (at, _) = candidates.min_by_key(|(_, release)| release.last_unix_ns)?;
        for group in &mut self.groups {
            group.evidence.remove(&at);
            group.sides.iter_mut().for_each(|side| side.history.forget(at));
        }
        self.open.values_mut().for_each(|window| window.retain(|(_, _, release), _| *release != at));
        self.releases[at] = release;
        Some(at)
    }

    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The number of a metric; none of a new one where there are too many.
    pub(super) fn group(&mut self, metric: &str, of: Of, may_grow: bool) -> Option<usize> {
        let key = (Box::from(metric), of);
        if let Some(at) = self.by_name.get(&key) {
            return Some(*at);
        }
        if !may_grow {
            return None;
        }
        let group = Group { metric: metric.into(), of, sides: Default::default(), evidence: BTreeMap::new() };
        self.groups.push(group);
        self.by_name.insert(key, self.groups.len() - 1);
        Some(self.groups.len() - 1)
    }

    pub(super) fn add(&mut self, window_unix_ns: u64, at: At, cell: Cell) {
        let is_late = window_unix_ns < self.sealed_until;
        let is_full = self.open.len() >= WINDOWS_MAX && !self.open.contains_key(&window_unix_ns);
        if is_late || is_full {
            return;
        }
        let known = self.open.entry(window_unix_ns).or_default().entry(at).or_default();
        known.sum += cell.sum;
        known.weight += cell.weight;
    }

    pub(super) fn seal(&mut self, watermark_unix_ns: u64, window_ns: u64, margin: f64) {
        while let Some(first) = self.open.first_entry() {
            let from_unix_ns = *first.key();
            if from_unix_ns.saturating_add(window_ns) > watermark_unix_ns {
                break;
            }
            let window = first.remove();
            self.sealed_until = from_unix_ns.saturating_add(window_ns);
            self.rank(&window);
            self.judge(from_unix_ns, &window, margin.max(APART_MIN));
            self.remember(from_unix_ns, &window);
        }
    }

    /// Releases that are new come after those that are known; of several, the one that is seen most is what is usual.
    fn rank(&mut self, window: &Window) {
        let mut weights = vec![0.0; self.releases.len()];
        window.iter().for_each(|((_, _, release), cell)| weights[*release] += cell.weight);
        let mut new: Vec<usize> =
            (0..weights.len()).filter(|at| weights[*at] > 0.0 && self.releases[*at].rank.is_none()).collect();
        new.sort_by(|a, b| {
            weights[*b].total_cmp(&weights[*a]).then_with(|| self.releases[*a].name.cmp(&self.releases[*b].name))
        });
        for at in new {
            self.releases[at].rank = Some(self.ranks);
            self.ranks += 1;
        }
        for (release, weight) in self.releases.iter_mut().zip(weights) {
            if weight > 0.0 {
                release.last_unix_ns = self.sealed_until;
            }
        }
    }

    /// The releases before one.
    fn earlier(&self, release: usize) -> Vec<usize> {
        let own = self.releases[release].rank;
        (0..self.releases.len()).filter(|at| self.releases[*at].rank.is_some_and(|rank| Some(rank) < own)).collect()
    }

    fn judge(&mut self, from_unix_ns: u64, window: &Window, margin: f64) {
        for release in 0..self.releases.len() {
            let earlier = self.earlier(release);
            if earlier.is_empty() || !window.keys().any(|(_, _, of)| *of == release) {
                continue;
            }
            let sides = [Side::Legacy, Side::New].map(|side| {
                let mut found = self.levels(from_unix_ns, window, (side, release), &earlier);
                found.extend(self.counts(from_unix_ns, window, (side, release), &earlier));
                found
            });
            for (at, group) in self.groups.iter_mut().enumerate() {
                let of_sides = [0, 1].map(|side: usize| sides[side].get(&at).copied());
                if of_sides.iter().any(Option::is_some) {
                    group.evidence.entry(release).or_default().add(from_unix_ns, of_sides, margin);
                }
            }
        }
    }

    /// What the releases before one had: in the same window, in the same hour, or at last.
    fn base(
        &self,
        from_unix_ns: u64,
        window: &Window,
        (group, side): (usize, Side),
        earlier: &[usize],
    ) -> Option<Base> {
        let mut all = Cell::default();
        for cell in earlier.iter().filter_map(|release| window.get(&(group, side, *release))) {
            all.sum += cell.sum;
            all.weight += cell.weight;
        }
        if all.weight > 0.0 {
            let value = if self.groups[group].of == Of::Count { all.sum } else { all.sum / all.weight };
            return Some(Base { value, is_alike: true });
        }
        let (value, is_alike) = self.groups[group].sides[side as usize].history.at(from_unix_ns, earlier)?;
        Some(Base { value, is_alike })
    }

    fn levels(
        &self,
        from_unix_ns: u64,
        window: &Window,
        (side, release): (Side, usize),
        earlier: &[usize],
    ) -> BTreeMap<usize, Deviation> {
        let of_group = |(at, group): (usize, &Group)| {
            let cell = window.get(&(at, side, release)).filter(|cell| group.of != Of::Count && cell.weight > 0.0)?;
            if group.of == Of::Mean && cell.weight < EVENTS_MIN {
                return None;
            }
            let base = self.base(from_unix_ns, window, (at, side), earlier)?;
            let apart = apart(cell.sum / cell.weight, base.value)?;
            let movements = &group.sides[side as usize].movements;
            let mut movements: Vec<f64> = movements.iter().map(|moved| f64::from(*moved)).collect();
            // Two windows differ by more than one of them does from what is usual.
            let spread = MAD * median(&mut movements) / 2f64.sqrt();
            Some((at, Deviation { apart, spread, is_alike: base.is_alike }))
        };
        self.groups.iter().enumerate().filter_map(of_group).collect()
    }

    /// A release has some share of the traffic: that of most counts.
    fn counts(
        &self,
        from_unix_ns: u64,
        window: &Window,
        (side, release): (Side, usize),
        earlier: &[usize],
    ) -> BTreeMap<usize, Deviation> {
        let of_group = |(at, group): (usize, &Group)| {
            let is_count = group.of == Of::Count;
            let base = is_count.then(|| self.base(from_unix_ns, window, (at, side), earlier)).flatten()?;
            let own = window.get(&(at, side, release)).map_or(0.0, |cell| cell.sum);
            (base.value >= EVENTS_MIN).then_some((at, own / base.value, base))
        };
        let shares: Vec<(usize, f64, Base)> = self.groups.iter().enumerate().filter_map(of_group).collect();
        if shares.len() < COUNTS_MIN {
            return BTreeMap::new();
        }
        let usual = median(&mut shares.iter().map(|(_, share, _)| *share).collect::<Vec<f64>>());
        let aparts: Vec<(usize, f64, Base)> = shares
            .into_iter()
            .filter(|(_, _, base)| usual * base.value >= EVENTS_MIN)
            .filter_map(|(at, share, base)| Some((at, apart(share, usual)?, base)))
            .collect();
        if aparts.len() < COUNTS_MIN {
            return BTreeMap::new();
        }
        let spread = MAD * median(&mut aparts.iter().map(|(_, apart, _)| apart.abs()).collect::<Vec<f64>>());
        // The share is that of this very window: traffic is the same however long ago the base is.
        aparts.into_iter().map(|(at, apart, _)| (at, Deviation { apart, spread, is_alike: true })).collect()
    }

    /// What later windows are held against.
    fn remember(&mut self, from_unix_ns: u64, window: &Window) {
        let mut levels: BTreeMap<(usize, u8), (u32, f64)> = BTreeMap::new();
        for ((group, side, release), cell) in window {
            let Some(rank) = self.releases[*release].rank.filter(|_| cell.weight > 0.0) else { continue };
            let group_of = &mut self.groups[*group];
            let value = if group_of.of == Of::Count { cell.sum } else { cell.sum / cell.weight };
            let known = &mut group_of.sides[*side as usize];
            known.history.add(from_unix_ns, *release, value);
            let first = levels.entry((*group, *side as u8)).or_insert((rank, value));
            if rank < first.0 {
                *first = (rank, value);
            }
        }
        for ((group, side), (_, value)) in levels {
            let known = &mut self.groups[group].sides[usize::from(side)];
            if let Some(moved) = known.last.and_then(|last| apart(value, last)) {
                known.movements.push_back(moved.abs() as f32);
                if known.movements.len() > MOVEMENTS_MAX {
                    known.movements.pop_front();
                }
            }
            known.last = Some(value);
        }
    }

    fn suspicions(&self) -> impl Iterator<Item = (&Group, &Release, Option<Suspicion>)> {
        self.groups.iter().flat_map(move |group| {
            let known = group.evidence.iter().filter(|(_, evidence)| !evidence.is_empty());
            known.map(move |(release, evidence)| (group, &self.releases[*release], evidence.suspicion()))
        })
    }

    pub(super) fn claims(&self) -> impl Iterator<Item = Claim> {
        let claim = |suspicion: Option<Suspicion>| suspicion.map_or(Claim::Other, |it| Claim::Different(it.strength));
        self.suspicions().map(move |(_, _, suspicion)| claim(suspicion))
    }

    pub(super) fn report(&self, service: &str, family: &Family, report: &mut ReleasesReport) {
        for (group, release, suspicion) in self.suspicions() {
            let Some(it) = suspicion.filter(|it| family.claims(it.strength)) else { continue };
            let metric = match group.of {
                Of::Count | Of::Level => group.metric.to_string(),
                Of::Mean => format!("the mean of {}", group.metric),
            };
            let (release, ratio) = (release.name.to_string(), it.ratio);
            match it.side.filter(|_| it.is_of_one_side) {
                Some(side) => {
                    let cause = Cause::ReleaseDeviates { release: release.clone(), side, ratio };
                    let finding = Finding { cause, evidence: evidence(&it, side), since_unix_ns: it.since_unix_ns };
                    report.different.push((format!("{metric} of {service}, release {release}"), finding));
                }
                None => {
                    let sentence = remark(&it, &metric, service, &release);
                    let (service, side, since_unix_ns) = (service.to_owned(), it.side, it.since_unix_ns);
                    report.remarks.push(ReleaseRemark {
                        metric,
                        service,
                        release,
                        side,
                        ratio,
                        since_unix_ns,
                        sentence,
                    });
                }
            }
        }
    }
}

fn evidence(it: &Suspicion, side: Side) -> String {
    let other = Percent(it.other_ratio.unwrap_or(0.0));
    let Suspicion { windows, beyond, .. } = it;
    format!(
        "in {beyond} of {windows} windows the two sides are more than one standard deviation apart, and on the {} side the \
         same release is {other} off the releases before it",
        side.other()
    )
}

fn remark(it: &Suspicion, metric: &str, service: &str, release: &str) -> String {
    let direction = if it.ratio > 0.0 { "higher" } else { "lower" };
    let ratio = Percent(it.ratio.abs());
    let told = match it.side {
        None => "on both sides: it is another release, or instrumented otherwise in itself".to_owned(),
        Some(side) => format!("on the {side} side; the {} side tells nothing of it", side.other()),
    };
    format!("{metric} of {service}: release {release} is {ratio} {direction} than the releases before it {told}")
}
