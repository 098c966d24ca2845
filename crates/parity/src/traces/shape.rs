//! Whole traces by their shapes: what two sides have in common when their ids have not.
//!
//! The shape of a trace is the tree of its spans by service, name, kind and status, the order of children put aside (the
//! canonical form of Aho, Hopcroft and Ullman). Both sides trace the same requests, so for each operation that traces
//! begin with they should have as many of each shape.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use otlp::TraceId;

use super::contents::Feature;
use super::names::Tables;
use super::population::{Population, Room};
use super::span::Span;
use super::tree::{Node, Tree};
use super::{Ids, PopulationVerdict};
use crate::evidence::EValue;
use crate::thinning::loss_interval;
use crate::verdict::{Cause, Demand, Side, Verdict};

/// So many traces of a side are open, and so many spans of one and of all of them, and things that spans have, are kept;
/// so many operations that traces begin with are told apart.
const TRACES_MAX: usize = 20_000;
const SPANS_MAX: usize = 500;
const OPEN_SPANS_MAX: usize = 1_000_000;
const OPEN_FEATURES_MAX: usize = 4_000_000;
const POPULATIONS_MAX: usize = 1000;

/// Fewer traces more than this share of them may have begun before the other side looked.
const IN_PIECES_MIN: f64 = 0.02;

#[derive(Clone, Debug, Default)]
struct Open {
    nodes: Vec<Node>,
    /// What the spans have, one after the other.
    features: Vec<Feature>,
    end_unix_ns: u64,
}

/// The traces of a side that are not whole yet.
#[derive(Debug, Default)]
struct Opened {
    traces: HashMap<TraceId, Open, foldhash::fast::RandomState>,
    order: BTreeSet<(u64, TraceId)>,
    spans: usize,
    features: usize,
}

/// Puts traces together and counts their shapes.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    open: [Opened; 2],
    populations: BTreeMap<Box<str>, Population>,
    room: Room,
    /// Traces with a span whose parent is not among them.
    broken: [u64; 2],
    traces: [u64; 2],
    spans: [u64; 2],
}

impl Opened {
    /// Takes in a span; of one whose ids are shared, what it has is compared elsewhere.
    fn observe(&mut self, span: &Span, ids: Ids) {
        let open = self.traces.entry(span.trace_id).or_default();
        if open.nodes.len() >= SPANS_MAX || open.nodes.iter().any(|node| node.span_id == span.span_id) {
            return;
        }
        if open.nodes.is_empty() || open.end_unix_ns < span.end_unix_ns {
            self.order.remove(&(open.end_unix_ns, span.trace_id));
            open.end_unix_ns = span.end_unix_ns;
            self.order.insert((open.end_unix_ns, span.trace_id));
        }
        if ids == Ids::Separate {
            let before = open.features.len();
            open.features.extend(Feature::of(span));
            self.features += open.features.len() - before;
        }
        self.spans += 1;
        open.nodes.push(Node {
            span_id: span.span_id,
            parent_id: span.parent_id,
            start_us: span.start_us,
            label: span.label,
            operation: span.operation,
            is_error: span.is_error,
            resource: span.resource,
            features_end: u32::try_from(open.features.len()).unwrap_or(u32::MAX),
        });
    }

    fn is_full(&self) -> bool {
        self.traces.len() > TRACES_MAX || self.spans > OPEN_SPANS_MAX || self.features > OPEN_FEATURES_MAX
    }

    fn take_oldest(&mut self) -> Option<Open> {
        let (_, trace_id) = self.order.pop_first()?;
        let open = self.traces.remove(&trace_id)?;
        self.spans -= open.nodes.len();
        self.features -= open.features.len();
        Some(open)
    }
}

impl Shapes {
    pub(super) fn observe(&mut self, side: Side, span: &Span, ids: Ids, tables: &Tables) {
        let open = &mut self.open[side as usize];
        open.observe(span, ids);
        if open.is_full() {
            self.seal_oldest(side, tables);
        }
    }

    pub(super) fn seal(&mut self, watermark_unix_ns: u64, demand: &Demand, tables: &Tables) {
        for side in [Side::Legacy, Side::New] {
            while self.open[side as usize].order.first().is_some_and(|(end, _)| *end < watermark_unix_ns) {
                self.seal_oldest(side, tables);
            }
        }
        self.populations.values_mut().for_each(|population| population.look(demand));
    }

    fn seal_oldest(&mut self, side: Side, tables: &Tables) {
        let at = side as usize;
        let Some(Open { nodes, features, .. }) = self.open[at].take_oldest() else { return };
        let tree = Tree::of(&nodes);
        self.traces[at] += 1;
        self.spans[at] += nodes.len() as u64;
        self.broken[at] += u64::from(tree.is_broken());
        let Some(operation) = tree.roots.first().and_then(|root| nodes[*root].operation) else { return };
        let name = operation.text(tables);
        if self.populations.len() >= POPULATIONS_MAX && !self.populations.contains_key(name.as_str()) {
            return;
        }
        let population = self.populations.entry(name.into()).or_default();
        population.observe(side, &nodes, &features, &tree, &mut self.room);
    }

    pub(super) fn verdicts(&self, demand: &Demand, tables: &Tables) -> Vec<PopulationVerdict> {
        let fragmented = self.fragmented(demand).map(|verdict| (verdict, self.strength_of_fragments(demand)));
        let verdicts = self.populations.iter().map(|(name, population)| {
            let (verdict, strength) = fragmented.clone().unwrap_or_else(|| population.judge(demand, tables));
            let [legacy, new] = population.traces;
            PopulationVerdict { population: name.to_string(), verdict, strength, legacy, new }
        });
        verdicts.collect()
    }

    /// How strongly it speaks for traces that fall apart: by the surest confidence sequences that still are apart, of
    /// which each is wrong by its own chance, or by the traces that there are too many of.
    fn strength_of_fragments(&self, demand: &Demand) -> EValue {
        let is_apart = |ln_chance: f64| {
            let [legacy, new] = [0, 1]
                .map(|at| loss_interval(self.traces[at] as f64, self.broken[at] as f64, 0.0, 1.0 - ln_chance.exp()));
            new.low > legacy.high + demand.margin_ratio || legacy.low > new.high + demand.margin_ratio
        };
        // No double is closer to 1 than this, and no family needs more.
        let (mut least, mut most) = (-30.0, 0.0f64);
        if !is_apart(least) {
            for _ in 0..40 {
                let middle = f64::midpoint(least, most);
                if is_apart(middle) { most = middle } else { least = middle }
            }
        } else {
            most = least;
        }
        let of_parents = EValue::of_chance((most + 2f64.ln()).min(0.0));
        let [fewer, more] = [self.traces[0].min(self.traces[1]), self.traces[0].max(self.traces[1])];
        let share = demand.margin_ratio.max(IN_PIECES_MIN);
        let of_pieces = EValue::of_loss(more as f64, (more - fewer) as f64, share);
        let stronger = if of_parents > of_pieces { of_parents } else { of_pieces };
        stronger.shared_by(2)
    }

    /// One side has many traces without a beginning, the other few: a context is lost between services, as where one
    /// speaks B3 and the other W3C.
    pub(super) fn fragmented(&self, demand: &Demand) -> Option<Verdict> {
        let share = |side: Side| {
            let at = side as usize;
            loss_interval(self.traces[at] as f64, self.broken[at] as f64, 0.0, demand.confidence)
        };
        let (legacy, new) = (share(Side::Legacy), share(Side::New));
        let of = |side: Side, more: f64| {
            let [legacy, new] = [0, 1].map(|at| format!("{} of {}", self.broken[at], self.traces[at]));
            let evidence = format!("traces with missing parents: {legacy} on the legacy side, {new} on the new one");
            Verdict::different(Cause::TracesFragmented { side, ratio: more }, evidence)
        };
        if self.traces.contains(&0) {
            return None;
        }
        if new.low > legacy.high + demand.margin_ratio {
            return Some(of(Side::New, new.low));
        }
        let orphaned = (legacy.low > new.high + demand.margin_ratio).then(|| of(Side::Legacy, legacy.low));
        orphaned.or_else(|| self.in_pieces(demand))
    }

    /// As many spans on both sides, in more traces on one of them: what is called begins traces of its own there.
    fn in_pieces(&self, demand: &Demand) -> Option<Verdict> {
        let side = if self.traces[1] > self.traces[0] { Side::New } else { Side::Legacy };
        let (more, fewer) = (self.traces[side as usize] as f64, self.traces[side.other() as usize] as f64);
        let [legacy, new] = self.spans.map(|spans| spans as f64);
        let added = loss_interval(more, more - fewer, 0.0, demand.confidence);
        // What one side has seen longer has more spans too.
        let of_spans = (legacy - new).abs() / legacy.max(new);
        if of_spans > added.low / 4.0 || added.low <= demand.margin_ratio.max(IN_PIECES_MIN) {
            return None;
        }
        let evidence = format!(
            "{} spans are {} traces on the legacy side, {} spans are {} traces on the new one",
            self.spans[0], self.traces[0], self.spans[1], self.traces[1]
        );
        Some(Verdict::different(Cause::TracesFragmented { side, ratio: added.low }, evidence))
    }
}
