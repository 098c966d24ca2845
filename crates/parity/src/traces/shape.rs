//! Whole traces by their shapes: what two sides have in common when their ids have not.
//!
//! The shape of a trace is the tree of its spans by service, name, kind and status, the order of children put aside (the
//! canonical form of Aho, Hopcroft and Ullman). Both sides trace the same requests, so for each operation that traces
//! begin with they should have as many of each shape.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use otlp::{SpanId, TraceId};
use xxhash_rust::xxh3::xxh3_64;

use super::PopulationVerdict;
use super::span::Span;
use crate::evidence::{EValue, Looks};
use crate::thinning::loss_interval;
use crate::verdict::{Cause, Demand, Finding, Needs, Percent, Side, Verdict};

/// So many traces of a side are open, so many spans of one are kept, so many operations and shapes are told apart.
const TRACES_MAX: usize = 20_000;
const SPANS_MAX: usize = 500;
const OPERATIONS_MAX: usize = 1000;
const SHAPES_MAX: usize = 200;

/// A difference of shapes is suspected at this chance of being wrong at one look; whether it is claimed is judged among
/// everything that is compared.
const FALSE_ALARM: f64 = 1e-3;

/// Fewer traces more than this share of them may have begun before the other side looked.
const IN_PIECES_MIN: f64 = 0.02;

#[derive(Clone, Debug)]
struct Node {
    span_id: SpanId,
    parent_id: Option<SpanId>,
    label: u64,
    operation: Box<str>,
}

#[derive(Clone, Debug, Default)]
struct Open {
    nodes: Vec<Node>,
    end_unix_ns: u64,
}

/// What is known of the traces that begin with one operation.
#[derive(Clone, Debug, Default)]
struct Operation {
    traces: [u64; 2],
    spans: [u64; 2],
    shapes: BTreeMap<u64, [u64; 2]>,
    other_shapes: [u64; 2],
    /// What the test of the shapes comes to over all looks.
    looks: Looks,
}

/// Puts traces together and counts their shapes.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    open: [HashMap<TraceId, Open, foldhash::fast::RandomState>; 2],
    order: [BTreeSet<(u64, TraceId)>; 2],
    operations: BTreeMap<Box<str>, Operation>,
    /// Traces with a span whose parent is not among them.
    broken: [u64; 2],
    traces: [u64; 2],
    spans: [u64; 2],
}

impl Shapes {
    pub(super) fn observe(&mut self, side: Side, span: &Span) {
        let at = side as usize;
        let open = self.open[at].entry(span.trace_id).or_default();
        if open.nodes.len() >= SPANS_MAX || open.nodes.iter().any(|node| node.span_id == span.span_id) {
            return;
        }
        self.order[at].remove(&(open.end_unix_ns, span.trace_id));
        open.end_unix_ns = open.end_unix_ns.max(span.end_unix_ns);
        self.order[at].insert((open.end_unix_ns, span.trace_id));
        let operation = format!("{} {}", span.service, normalized(&span.name));
        let label = xxh3_64(format!("{operation}\0{:?}\0{}", span.kind, span.is_error).as_bytes());
        let (span_id, parent_id) = (span.span_id, span.parent_id);
        open.nodes.push(Node { span_id, parent_id, label, operation: operation.into() });
        if self.open[at].len() > TRACES_MAX {
            self.seal_oldest(side);
        }
    }

    pub(super) fn seal(&mut self, watermark_unix_ns: u64, demand: &Demand) {
        for side in [Side::Legacy, Side::New] {
            while self.order[side as usize].first().is_some_and(|(end, _)| *end < watermark_unix_ns) {
                self.seal_oldest(side);
            }
        }
        self.operations.values_mut().for_each(|operation| operation.look(demand));
    }

    fn seal_oldest(&mut self, side: Side) {
        let at = side as usize;
        let Some((_, trace_id)) = self.order[at].pop_first() else { return };
        let Some(open) = self.open[at].remove(&trace_id) else { return };
        let tree = Tree::of(&open.nodes);
        self.traces[at] += 1;
        self.spans[at] += open.nodes.len() as u64;
        self.broken[at] += u64::from(tree.roots.len() != 1 || tree.is_orphaned);
        let Some(root) = tree.roots.first() else { return };
        let operation = &open.nodes[*root].operation;
        if self.operations.len() >= OPERATIONS_MAX && !self.operations.contains_key(operation) {
            return;
        }
        let known = self.operations.entry(operation.clone()).or_default();
        known.traces[at] += 1;
        known.spans[at] += open.nodes.len() as u64;
        let shape = tree.shape(&open.nodes);
        match known.shapes.len() < SHAPES_MAX || known.shapes.contains_key(&shape) {
            true => known.shapes.entry(shape).or_default()[at] += 1,
            false => known.other_shapes[at] += 1,
        }
    }

    pub(super) fn verdicts(&self, demand: &Demand) -> Vec<PopulationVerdict> {
        let fragmented = self.fragmented(demand).map(|verdict| (verdict, self.strength_of_fragments(demand)));
        let verdicts = self.operations.iter().map(|(name, operation)| {
            let of_operation = || {
                let verdict = operation.verdict(demand);
                let strength = operation.strength(&verdict, demand);
                (verdict, strength)
            };
            let (verdict, strength) = fragmented.clone().unwrap_or_else(of_operation);
            let [legacy, new] = operation.traces;
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

/// The tree of a trace, as indexes of its spans.
struct Tree {
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
    is_orphaned: bool,
}

impl Tree {
    fn of(nodes: &[Node]) -> Tree {
        let at: HashMap<SpanId, usize> = nodes.iter().enumerate().map(|(at, node)| (node.span_id, at)).collect();
        let mut tree = Tree { children: vec![Vec::new(); nodes.len()], roots: Vec::new(), is_orphaned: false };
        for (index, node) in nodes.iter().enumerate() {
            match node.parent_id.map(|parent| at.get(&parent)) {
                Some(Some(parent)) if *parent != index => tree.children[*parent].push(index),
                parent => {
                    tree.is_orphaned |= parent.is_some();
                    tree.roots.push(index);
                }
            }
        }
        tree
    }

    /// A hash of the tree that does not depend on the order of children. Spans that are each other's ancestors have no
    /// root and are left out.
    fn shape(&self, nodes: &[Node]) -> u64 {
        let mut hashes = vec![0u64; nodes.len()];
        let mut stack: Vec<(usize, bool)> = self.roots.iter().map(|root| (*root, false)).collect();
        while let Some((at, is_done)) = stack.pop() {
            if is_done {
                let mut below: Vec<u64> = self.children[at].iter().map(|child| hashes[*child]).collect();
                below.sort_unstable();
                let bytes: Vec<u8> = std::iter::once(nodes[at].label).chain(below).flat_map(u64::to_le_bytes).collect();
                hashes[at] = xxh3_64(&bytes);
            } else {
                stack.push((at, true));
                stack.extend(self.children[at].iter().map(|child| (*child, false)));
            }
        }
        let mut roots: Vec<u64> = self.roots.iter().map(|root| hashes[*root]).collect();
        roots.sort_unstable();
        xxh3_64(&roots.iter().flat_map(|hash| hash.to_le_bytes()).collect::<Vec<u8>>())
    }
}

impl Operation {
    fn verdict(&self, demand: &Demand) -> Verdict {
        let [legacy, new] = self.traces;
        for (side, count) in [(Side::Legacy, legacy), (Side::New, new)] {
            if count == 0 {
                return Verdict::Inconclusive { needs: Needs::Data { from: side } };
            }
        }
        let (side, events, kept) = if new < legacy { (Side::New, legacy, new) } else { (Side::Legacy, new, legacy) };
        let lost = loss_interval(events as f64, (events - kept) as f64, 0.0, demand.confidence);
        if lost.low > demand.margin_ratio / 2.0 && lost.high > demand.margin_ratio {
            let cause = Cause::Loss { side, ratio_low: lost.low, ratio_high: lost.high };
            return Verdict::Different(self.finding(cause));
        }
        let (drift, error) = self.drift();
        if drift - error > demand.margin_ratio {
            return Verdict::Different(self.finding(Cause::FieldsDiffer { fields: vec!["shape".to_owned()] }));
        }
        let margin_ratio = lost.high.max(drift);
        if margin_ratio <= demand.margin_ratio {
            return Verdict::Equivalent { margin_ratio, confidence: demand.confidence, remark: None };
        }
        let seen = events as f64;
        let more = seen * (margin_ratio / demand.margin_ratio - 1.0);
        Verdict::Inconclusive { needs: Needs::Events { seen, more, margin_ratio } }
    }

    /// Looks at the shapes again, where there is enough more of them.
    fn look(&mut self, demand: &Demand) {
        let seen = u32::try_from(self.traces[0].min(self.traces[1])).unwrap_or(u32::MAX);
        let mut looks = self.looks;
        looks.look(seen, || {
            let beyond = self.drift().0 - demand.margin_ratio - self.usual_drift();
            (seen > 0).then(|| -2.0 * f64::from(seen) * beyond.max(0.0).powi(2))
        });
        self.looks = looks;
    }

    fn strength(&self, verdict: &Verdict, demand: &Demand) -> EValue {
        let [legacy, new] = self.traces;
        match verdict {
            Verdict::Different(Finding { cause: Cause::Loss { .. }, .. }) => {
                let (events, lost) = (legacy.max(new) as f64, legacy.abs_diff(new) as f64);
                EValue::of_loss(events, lost, demand.margin_ratio / 2.0).shared_by(2)
            }
            _ => self.looks.strength().shared_by(2),
        }
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

    fn finding(&self, cause: Cause) -> Finding {
        let per_trace = |at: usize| self.spans[at] as f64 / self.traces[at].max(1) as f64;
        let evidence = format!(
            "{} traces of {:.1} spans on the legacy side, {} of {:.1} on the new one, of {} shapes; {} of them have \
             other shapes",
            self.traces[0],
            per_trace(0),
            self.traces[1],
            per_trace(1),
            self.shapes.len(),
            Percent(self.drift().0),
        );
        Finding { cause, evidence, since_unix_ns: None }
    }
}

/// A name without what differs from request to request: numbers, ids.
fn normalized(name: &str) -> String {
    let is_id = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        digits == part.len()
            || (part.len() >= 8 && digits >= 2 && part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
    };
    let parts: Vec<&str> =
        name.split('/').map(|part| if !part.is_empty() && is_id(part) { "*" } else { part }).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::normalized;

    #[test]
    fn names_lose_what_differs_from_request_to_request() {
        assert_eq!(normalized("GET /cart/17/items"), "GET /cart/*/items");
        assert_eq!(normalized("/u/3fa85f64-5717-4562-b3fc-2c963f66afa6"), "/u/*");
        assert_eq!(normalized("checkout"), "checkout");
    }
}
