//! Where shapes differ: how often each path from a root down to a span occurs.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::names::{Tables, shortened};
use super::span::Operation;
use super::tree::{Node, Tree};
use crate::verdict::Side;

/// So many paths of a population are told apart.
pub(super) const PATHS_MAX: usize = 300;
/// So many of those that differ are told, and so many operations that one side alone has.
const TOLD_MAX: usize = 3;
/// So many steps of a path are told.
const STEPS_TOLD_MAX: usize = 6;

/// The paths of one population.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    known: HashMap<u64, Path, foldhash::fast::RandomState>,
}

#[derive(Clone, Debug)]
struct Path {
    above: Option<u64>,
    operation: Operation,
    is_error: bool,
    spans: [u64; 2],
}

/// A path that differs.
struct Differing {
    hash: u64,
    means: [f64; 2],
    text: String,
}

impl Paths {
    /// Counts the paths of a trace; `room` is how many more may be told apart anywhere.
    pub(super) fn observe(&mut self, side: Side, nodes: &[Node], tree: &Tree, room: &mut usize) {
        let mut stack: Vec<(usize, Option<u64>)> = tree.roots.iter().map(|root| (*root, None)).collect();
        while let Some((at, above)) = stack.pop() {
            let node = &nodes[at];
            let Some(operation) = node.operation else { continue };
            let hash = xxh3_64_with_seed(&node.label.to_le_bytes(), above.unwrap_or_default());
            if let Some(path) = self.known.get_mut(&hash) {
                path.spans[side as usize] += 1;
            } else if self.known.len() < PATHS_MAX && *room > 0 {
                *room -= 1;
                let mut path = Path { above, operation, is_error: node.is_error, spans: [0; 2] };
                path.spans[side as usize] += 1;
                self.known.insert(hash, path);
            } else {
                continue;
            }
            stack.extend(tree.children[at].iter().map(|child| (*child, Some(hash))));
        }
    }

    /// The highest paths that occur more often on one side, in words; `traces` is how many each side has.
    pub(super) fn explain(&self, traces: [u64; 2], margin_ratio: f64, tables: &Tables) -> String {
        let means = |path: &Path| [0, 1].map(|at| path.spans[at] as f64 / traces[at].max(1) as f64);
        let is_differing = |path: &Path| {
            let [legacy, new] = means(path);
            // As counts at random would be three times in a thousand.
            let noise = 3.0 * (legacy / traces[0].max(1) as f64 + new / traces[1].max(1) as f64).sqrt();
            (legacy - new).abs() > margin_ratio.max(noise)
        };
        let is_highest = |path: &Path| !self.above(path).any(is_differing);
        let mut differing: Vec<Differing> = self
            .known
            .iter()
            .filter(|(_, path)| is_differing(path) && is_highest(path))
            .map(|(hash, path)| Differing { hash: *hash, means: means(path), text: self.text(path, tables) })
            .collect();
        let size = |one: &Differing| (one.means[0] - one.means[1]).abs();
        differing.sort_by(|one, other| {
            let by_size = size(other).total_cmp(&size(one));
            let by_text = by_size.then_with(|| one.text.cmp(&other.text));
            by_text.then_with(|| one.means[1].total_cmp(&other.means[1])).then_with(|| one.hash.cmp(&other.hash))
        });
        if differing.is_empty() {
            return "no path by itself occurs more often on one side: the same ones go together differently".to_owned();
        }
        let told: Vec<String> = differing.iter().take(TOLD_MAX).map(|one| self.tell(one, &differing)).collect();
        let more = differing.len().saturating_sub(TOLD_MAX);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        format!("{}{more}{}", told.join(", "), self.alone(traces, margin_ratio, tables))
    }

    fn tell(&self, one: &Differing, all: &[Differing]) -> String {
        let is_ambiguous = all.iter().any(|other| other.text == one.text && other.hash != one.hash);
        let kind = self.known.get(&one.hash).filter(|_| is_ambiguous).map(|path| path.operation.kind);
        let kind = kind.map_or_else(String::new, |kind| format!(" of kind {kind:?}").to_lowercase());
        let [legacy, new] = one.means;
        format!("`{}`{kind} {legacy:.2} times a trace on the legacy side, {new:.2} on the new one", one.text)
    }

    fn above<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Path> {
        std::iter::successors(Some(path), |path| self.known.get(&path.above?)).skip(1)
    }

    fn text(&self, path: &Path, tables: &Tables) -> String {
        let steps = std::iter::once(path).chain(self.above(path));
        let mut steps: Vec<String> = steps.map(|path| step(path, tables)).collect();
        steps.reverse();
        if steps.len() > STEPS_TOLD_MAX {
            steps.splice(1..=steps.len() - STEPS_TOLD_MAX + 1, ["…".to_owned()]);
        }
        steps.join(" > ")
    }

    /// The operations that only one side has at all.
    fn alone(&self, traces: [u64; 2], margin_ratio: f64, tables: &Tables) -> String {
        let of = |side: Side| -> BTreeSet<String> {
            let at = side as usize;
            let often = self.known.values().filter(|path| path.spans[at] as f64 > margin_ratio * traces[at] as f64);
            often.map(|path| shortened(&path.operation.text(tables)).into_owned()).collect()
        };
        let any = |side: Side| -> BTreeSet<String> {
            let seen = self.known.values().filter(|path| path.spans[side as usize] > 0);
            seen.map(|path| shortened(&path.operation.text(tables)).into_owned()).collect()
        };
        let mut said = String::new();
        for side in [Side::Legacy, Side::New] {
            let other = any(side.other());
            let own = of(side);
            let alone: Vec<String> = own.difference(&other).take(TOLD_MAX).map(|name| format!("`{name}`")).collect();
            if !alone.is_empty() {
                said += &format!("; only the {side} side has {}", alone.join(", "));
            }
        }
        said
    }
}

fn step(path: &Path, tables: &Tables) -> String {
    let text = path.operation.text(tables);
    let error = if path.is_error { " (error)" } else { "" };
    format!("{}{error}", shortened(&text))
}

#[cfg(test)]
mod tests {
    use otlp::{SpanId, SpanKind};

    use super::*;

    /// A trace whose spans, each below the one before it, have these names.
    fn chain(names: &[String], tables: &mut Tables) -> Vec<Node> {
        let service = tables.operations.id("shop").unwrap();
        let id = |at: usize| SpanId::new((at as u64 + 1).to_be_bytes());
        let node = |(at, name): (usize, &String)| {
            let operation = Operation { service, name: tables.operations.id(name)?, kind: SpanKind::Server };
            Some(Node {
                span_id: id(at),
                parent_id: at.checked_sub(1).map(id),
                start_us: at as u64,
                label: xxh3_64_with_seed(name.as_bytes(), 0),
                operation: Some(operation),
                is_error: false,
                resource: None,
                features_end: 0,
            })
        };
        names.iter().enumerate().filter_map(node).collect()
    }

    #[test]
    fn paths_have_a_maximum_and_long_ones_are_told_by_their_ends() {
        let mut tables = Tables::default();
        let names: Vec<String> = (0..500).map(|at| format!("step {at}")).collect();
        let mut paths = Paths::default();
        let mut room = PATHS_MAX + 10;
        let nodes = chain(&names, &mut tables);
        (0..100).for_each(|_| paths.observe(Side::Legacy, &nodes, &Tree::of(&nodes), &mut room));
        assert_eq!((paths.known.len(), room), (PATHS_MAX, 10));
        (0..100).for_each(|_| paths.observe(Side::New, &nodes[..200], &Tree::of(&nodes[..200]), &mut room));
        let said = paths.explain([100, 100], 0.01, &tables);
        let expected = "`shop step 0 > … > shop step 197 > shop step 198 > shop step 199 > shop step 200` 1.00 times";
        assert!(said.starts_with(expected) && said.len() < 500, "{said}");
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let mut tables = Tables::default();
        let nodes = chain(&["a".to_owned(), "b".to_owned()], &mut tables);
        let mut paths = Paths::default();
        paths.observe(Side::Legacy, &nodes, &Tree::of(&nodes), &mut 1);
        assert_eq!(paths.known.len(), 1);
    }
}
