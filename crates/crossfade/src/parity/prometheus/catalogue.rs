//! Which metrics a side has, and of what types.

use std::collections::{BTreeSet, HashMap};

use parity::{Rule, Side};

use super::families::{Family, Form, families};

/// Names and types of metrics, put together.
#[derive(Debug)]
pub(in crate::parity) struct Catalogue {
    pub(in crate::parity) side: Side,
    pub(in crate::parity) names: BTreeSet<String>,
    /// What is known of types, by the names of families.
    pub(in crate::parity) types: HashMap<String, String>,
    pub(in crate::parity) families: Vec<Family>,
    /// The families of which the native form is compared though there is a classic one too.
    natives: BTreeSet<String>,
}

impl Catalogue {
    pub(in crate::parity) fn new(side: Side) -> Catalogue {
        let (names, types, families, natives) = Default::default();
        Catalogue { side, names, types, families, natives }
    }

    /// Takes over what the other side knows of types where this one knows nothing.
    fn learn(&mut self, others: &HashMap<String, String>, rules: &[Rule]) {
        let counterpart = |name: &str| {
            let renamed = renamed(self.side, name, rules);
            renamed.and_then(|name| others.get(name)).or_else(|| others.get(name)).cloned()
        };
        let suffixes = ["", "_total", "_bucket", "_count", "_sum"];
        let bases = self.names.iter().flat_map(|name| suffixes.iter().filter_map(|end| name.strip_suffix(end)));
        let unknown: BTreeSet<&str> = bases.filter(|name| !self.types.contains_key(*name)).collect();
        let learned = unknown.into_iter().filter_map(|name| Some((name.to_owned(), counterpart(name)?)));
        let learned: Vec<_> = learned.collect();
        self.types.extend(learned);
    }

    /// Puts names together, with what is decided of forms.
    fn put_together(&mut self) {
        self.families = families(&self.names, &self.types);
        for family in &mut self.families {
            family.form = if self.natives.contains(&family.name) { Form::Native } else { Form::Classic };
        }
    }

    /// Decides for the form that the other side has; if it has both, for the classic one, whose bounds are those that
    /// somebody chose.
    fn choose_forms(&mut self, others: &Forms, rules: &[Rule]) {
        let is_native = |family: &&Family| {
            let renamed = renamed(self.side, &family.name, rules).and_then(|name| others.get(name));
            let forms = renamed.or_else(|| others.get(&family.name));
            family.has(Form::Classic) && family.has(Form::Native) && forms.is_some_and(|forms| *forms == [false, true])
        };
        self.natives = self.families.iter().filter(is_native).map(|family| family.name.clone()).collect();
        self.put_together();
    }
}

/// Whether there are classic and native forms of histograms.
type Forms = HashMap<String, [bool; 2]>;

/// What the other side calls a metric.
fn renamed<'a>(side: Side, name: &str, rules: &'a [Rule]) -> Option<&'a String> {
    let rule = rules.iter().find(|rule| match side {
        Side::Legacy => rule.legacy == name,
        Side::New => rule.new == name,
    })?;
    Some(if side == Side::Legacy { &rule.new } else { &rule.legacy })
}

/// Puts the metrics of both sides together, each with what the other one knows where it knows nothing itself.
pub(in crate::parity) fn agree(mut sides: [Vec<&mut Catalogue>; 2], rules: &[Rule]) {
    share(&mut sides, rules);
    let both = sides.each_ref().map(|catalogues| {
        let mut forms = Forms::new();
        for family in catalogues.iter().flat_map(|catalogue| &catalogue.families) {
            let known = forms.entry(family.name.clone()).or_default();
            known[0] |= family.has(Form::Classic);
            known[1] |= family.has(Form::Native);
        }
        forms
    });
    for (catalogues, others) in sides.into_iter().zip(both.iter().rev()) {
        catalogues.into_iter().for_each(|catalogue| catalogue.choose_forms(others, rules));
    }
}

/// The same for a replica of the legacy side, which has its names and the forms that were decided for.
pub(in crate::parity) fn agree_with_replica(mut sides: [Vec<&mut Catalogue>; 2]) {
    let natives: BTreeSet<String> = sides[0].iter().flat_map(|catalogue| &catalogue.natives).cloned().collect();
    sides[1].iter_mut().for_each(|catalogue| catalogue.natives.clone_from(&natives));
    share(&mut sides, &[]);
}

/// Each side learns what the other one knows of types.
fn share(sides: &mut [Vec<&mut Catalogue>; 2], rules: &[Rule]) {
    let both = sides.each_ref().map(|catalogues| {
        let types = catalogues.iter().flat_map(|catalogue| &catalogue.types);
        types.map(|(name, kind)| (name.clone(), kind.clone())).collect::<HashMap<_, _>>()
    });
    for (catalogues, others) in sides.iter_mut().zip(both.iter().rev()) {
        for catalogue in catalogues {
            catalogue.learn(others, rules);
            catalogue.put_together();
        }
    }
}
