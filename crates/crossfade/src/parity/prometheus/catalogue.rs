//! Which metrics a side has, and of what types.

use std::collections::{BTreeSet, HashMap};

use parity::{Rule, Side};

use super::families::{Family, families};

/// Names and types of metrics, put together.
#[derive(Debug)]
pub(in crate::parity) struct Catalogue {
    pub(in crate::parity) side: Side,
    pub(in crate::parity) names: BTreeSet<String>,
    /// What is known of types, by the names of families.
    pub(in crate::parity) types: HashMap<String, String>,
    pub(in crate::parity) families: Vec<Family>,
}

impl Catalogue {
    pub(in crate::parity) fn new(side: Side) -> Catalogue {
        let (names, types, families) = Default::default();
        Catalogue { side, names, types, families }
    }

    /// Takes over what the other side knows of types where this one knows nothing.
    fn learn(&mut self, others: &HashMap<String, String>, rules: &[Rule]) {
        let counterpart = |name: &str| {
            let rule = rules.iter().find(|rule| match self.side {
                Side::Legacy => rule.legacy == name,
                Side::New => rule.new == name,
            });
            let renamed = rule.map(|rule| if self.side == Side::Legacy { &rule.new } else { &rule.legacy });
            renamed.and_then(|name| others.get(name)).or_else(|| others.get(name)).cloned()
        };
        let suffixes = ["", "_total", "_bucket", "_count", "_sum"];
        let bases = self.names.iter().flat_map(|name| suffixes.iter().filter_map(|end| name.strip_suffix(end)));
        let unknown: BTreeSet<&str> = bases.filter(|name| !self.types.contains_key(*name)).collect();
        let learned = unknown.into_iter().filter_map(|name| Some((name.to_owned(), counterpart(name)?)));
        let learned: Vec<_> = learned.collect();
        self.types.extend(learned);
    }
}

/// Puts the metrics of both sides together, each with what the other one knows where it knows nothing itself.
pub(in crate::parity) fn agree(sides: [Vec<&mut Catalogue>; 2], rules: &[Rule]) {
    let types = |catalogues: &Vec<&mut Catalogue>| {
        let types = catalogues.iter().flat_map(|catalogue| &catalogue.types);
        types.map(|(name, kind)| (name.clone(), kind.clone())).collect::<HashMap<_, _>>()
    };
    let both = [types(&sides[0]), types(&sides[1])];
    for catalogue in sides.into_iter().flatten() {
        catalogue.learn(&both[catalogue.side.other() as usize], rules);
        catalogue.families = families(&catalogue.names, &catalogue.types);
    }
}
