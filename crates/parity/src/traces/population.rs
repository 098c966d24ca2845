//! The traces that begin with one operation.

use std::collections::BTreeMap;

use super::contents::{Contents, Feature};
use super::names::Tables;
use super::paths::Paths;
use super::tree::{Node, Tree};
use crate::band::Interval;
use crate::evidence::{EValue, Looks};
use crate::thinning::loss_interval;
use crate::verdict::{Cause, Demand, Finding, Needs, Percent, Side, Verdict};

/// So many shapes are told apart.
const SHAPES_MAX: usize = 200;
/// So many paths, and so many things that spans have, are told apart in all populations together.
const ALL_PATHS_MAX: usize = 100_000;
const ALL_FEATURES_MAX: usize = 100_000;

/// A difference of shapes is suspected at this chance of being wrong at one look; whether it is claimed is judged among
/// everything that is compared.
const FALSE_ALARM: f64 = 1e-3;

/// What is asked of a population: whether there are as many traces, of the same shapes, whose spans have the same.
const TESTS: usize = 3;

/// How much more may be told apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    paths: usize,
    features: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room { paths: ALL_PATHS_MAX, features: ALL_FEATURES_MAX }
    }
}

/// What is known of the traces that begin with one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Population {
    pub(super) traces: [u64; 2],
    spans: [u64; 2],
    shapes: BTreeMap<u64, [u64; 2]>,
    other_shapes: [u64; 2],
    /// What the test of the shapes comes to over all looks.
    looks: Looks,
    paths: Paths,
    contents: Contents,
}

impl Population {
    pub(super) fn observe(&mut self, side: Side, nodes: &[Node], features: &[Feature], tree: &Tree, room: &mut Room) {
        let at = side as usize;
        self.traces[at] += 1;
        self.spans[at] += nodes.len() as u64;
        let shape = tree.shape(nodes);
        match self.shapes.len() < SHAPES_MAX || self.shapes.contains_key(&shape) {
            true => self.shapes.entry(shape).or_default()[at] += 1,
            false => self.other_shapes[at] += 1,
        }
        self.paths.observe(side, nodes, tree, &mut room.paths);
        self.contents.observe(side, nodes, features, &mut room.features);
    }

    /// What it comes to, and how strong a difference is.
    pub(super) fn judge(&self, demand: &Demand, tables: &Tables) -> (Verdict, EValue) {
        for (side, count) in [(Side::Legacy, self.traces[0]), (Side::New, self.traces[1])] {
            if count == 0 {
                return (Verdict::Inconclusive { needs: Needs::Data { from: side } }, EValue::NOTHING);
            }
        }
        let suspected = [self.lost(demand), self.reshaped(demand, tables), self.contents.judge(demand, tables)];
        let surest = suspected.into_iter().flatten().reduce(|one, other| if other.1 > one.1 { other } else { one });
        if let Some((finding, strength)) = surest {
            return (Verdict::Different(finding), strength.shared_by(TESTS));
        }
        let (_, lost) = self.loss(demand);
        let margin_ratio = lost.high.max(self.drift().0).max(self.contents.margin_ratio(self.traces, tables));
        if margin_ratio <= demand.margin_ratio {
            return (
                Verdict::Equivalent { margin_ratio, confidence: demand.confidence, remark: None },
                EValue::NOTHING,
            );
        }
        let seen = self.traces[0].max(self.traces[1]) as f64;
        let more = seen * (margin_ratio / demand.margin_ratio - 1.0);
        (Verdict::Inconclusive { needs: Needs::Events { seen, more, margin_ratio } }, EValue::NOTHING)
    }

    /// The side with fewer traces, and the share that it may lack.
    fn loss(&self, demand: &Demand) -> (Side, Interval) {
        let [legacy, new] = self.traces;
        let (side, events, kept) = if new < legacy { (Side::New, legacy, new) } else { (Side::Legacy, new, legacy) };
        (side, loss_interval(events as f64, (events - kept) as f64, 0.0, demand.confidence))
    }

    fn lost(&self, demand: &Demand) -> Option<(Finding, EValue)> {
        let (side, lost) = self.loss(demand);
        if lost.low <= demand.margin_ratio / 2.0 || lost.high <= demand.margin_ratio {
            return None;
        }
        let [legacy, new] = self.traces;
        let strength = EValue::of_loss(legacy.max(new) as f64, legacy.abs_diff(new) as f64, demand.margin_ratio / 2.0);
        let cause = Cause::Loss { side, ratio_low: lost.low, ratio_high: lost.high };
        Some((Finding { cause, evidence: self.figures(), since_unix_ns: None }, strength))
    }

    fn reshaped(&self, demand: &Demand, tables: &Tables) -> Option<(Finding, EValue)> {
        let (drift, error) = self.drift();
        if drift - error <= demand.margin_ratio {
            return None;
        }
        let cause = Cause::FieldsDiffer { fields: vec!["shape".to_owned()] };
        let explained = self.paths.explain(self.traces, demand.margin_ratio, tables);
        let evidence = format!("{explained}; {}", self.figures());
        Some((Finding { cause, evidence, since_unix_ns: None }, self.looks.strength()))
    }

    /// Looks at the shapes again, where there is enough more of them.
    pub(super) fn look(&mut self, demand: &Demand) {
        let seen = u32::try_from(self.traces[0].min(self.traces[1])).unwrap_or(u32::MAX);
        let mut looks = self.looks;
        looks.look(seen, || {
            let beyond = self.drift().0 - demand.margin_ratio - self.usual_drift();
            (seen > 0).then(|| -2.0 * f64::from(seen) * beyond.max(0.0).powi(2))
        });
        self.looks = looks;
    }

    /// How far shapes are apart by chance on average, at most.
    fn usual_drift(&self) -> f64 {
        let all = self.shapes.values().copied().chain([self.other_shapes]);
        let shapes = all.filter(|[one, two]| one + two > 0).count() as f64;
        (shapes / self.traces[0].min(self.traces[1]) as f64).sqrt()
    }

    /// The share of traces whose shape the other side does not have as often, and what chance can do to it: the two sides
    /// count the same requests, but not from the same moment on.
    fn drift(&self) -> (f64, f64) {
        let [legacy, new] = self.traces.map(|traces| traces as f64);
        let all = self.shapes.values().copied().chain([self.other_shapes]);
        let distance: f64 = all.map(|[one, two]| (one as f64 / legacy - two as f64 / new).abs()).sum();
        // Half the sum of absolute differences stays, but for that chance, below this (McDiarmid).
        let count = legacy.min(new);
        let error = self.usual_drift() + (-FALSE_ALARM.ln() / (2.0 * count)).sqrt();
        (distance / 2.0, error)
    }

    fn figures(&self) -> String {
        let per_trace = |at: usize| self.spans[at] as f64 / self.traces[at].max(1) as f64;
        format!(
            "{} traces of {:.1} spans on the legacy side, {} of {:.1} on the new one, of {} shapes; {} of them have \
             other shapes",
            self.traces[0],
            per_trace(0),
            self.traces[1],
            per_trace(1),
            self.shapes.len(),
            Percent(self.drift().0),
        )
    }
}
