//! Several files become one tree: maps merge, everything else is replaced by the later file.

use std::collections::HashMap;
use std::sync::Arc;

use crate::node::{Kind, Node};

/// Lays `over` upon `base`. The position of each value that wins is kept.
pub(crate) fn merge(base: &mut Node, over: Node) {
    let mut over = over;
    if !matches!((base.kind(), over.kind()), (Kind::Map(_), Kind::Map(_))) {
        *base = over;
        return;
    }
    let (Kind::Map(base), Kind::Map(over)) = (base.kind_mut(), std::mem::replace(over.kind_mut(), Kind::Null)) else {
        return;
    };
    let entries = base.entries_mut();
    let index: HashMap<Arc<str>, usize> = entries.iter().enumerate().map(|(i, e)| (Arc::clone(&e.key), i)).collect();
    for entry in over.into_entries() {
        match index.get(&entry.key) {
            Some(&at) => {
                entries[at].key_position = entry.key_position;
                merge(&mut entries[at].value, entry.value);
            }
            None => entries.push(entry),
        }
    }
}
