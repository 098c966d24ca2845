//! A trace as the tree that its spans are.

use hashbrown::HashMap;
use otlp::SpanId;
use xxhash_rust::xxh3::xxh3_64;

use super::names::ResourceId;
use super::span::Operation;

/// What of a span is kept until its trace is whole.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span_id: SpanId,
    pub(super) parent_id: Option<SpanId>,
    pub(super) start_us: u64,
    /// A hash of the operation and the status.
    pub(super) label: u64,
    pub(super) operation: Option<Operation>,
    pub(super) is_error: bool,
    pub(super) resource: Option<ResourceId>,
    /// Where what the span has ends among that of the trace; it begins where that of the span before ends.
    pub(super) features_end: u32,
}

/// The tree of a trace, as indexes of its spans.
pub(super) struct Tree {
    pub(super) children: Vec<Vec<usize>>,
    pub(super) roots: Vec<usize>,
    is_orphaned: bool,
}

impl Tree {
    pub(super) fn of(nodes: &[Node]) -> Tree {
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
        if tree.roots.is_empty() {
            tree.begin_with_the_first(nodes);
        }
        tree
    }

    /// Where every span has a parent, as where a root follows from what it called, the one that began first has none.
    fn begin_with_the_first(&mut self, nodes: &[Node]) {
        let first = (0..nodes.len()).min_by_key(|at| (nodes[*at].start_us, nodes[*at].label));
        self.children.iter_mut().for_each(|children| children.retain(|child| Some(*child) != first));
        self.roots.extend(first);
    }

    /// Whether a parent is missing, or there are several roots or none.
    pub(super) fn is_broken(&self) -> bool {
        self.roots.len() != 1 || self.is_orphaned
    }

    /// A hash of the tree that does not depend on the order of children. Spans that are each other's ancestors have no
    /// root and are left out.
    pub(super) fn shape(&self, nodes: &[Node]) -> u64 {
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
