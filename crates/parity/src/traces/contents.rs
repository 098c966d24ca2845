//! What spans have beside their place in a trace: attributes, events and links, where ids are not the same.
//!
//! Spans of the same operation are told together. Those of one trace go together more often than not, so that a trace is
//! what counts once: by the share of its spans of the operation that have something. Such shares lie between nothing and
//! one, which is all that their bets need. What there may be several of is as many questions: at least one, at least two.

use hashbrown::HashMap;

use super::names::{NameId, ResourceId, Tables, event_field, shortened};
use super::span::{Operation, Span};
use super::tree::Node;
use crate::evidence::EValue;
use crate::verdict::{Cause, Demand, Finding, Percent, Side};

/// So many operations of a population, and so many things that spans of them have, are told apart. A difference is one of
/// as many, whether or not there are.
const OPERATIONS_MAX: usize = 200;
pub(super) const FEATURES_MAX: usize = 1000;
/// So many things of one span are looked at, and of events and links so many of the same.
const SPAN_FEATURES_MAX: usize = 200;
const SAME_MAX: usize = 8;
/// So many kinds of resources that spans of an operation have are told apart.
const RESOURCES_MAX: usize = 16;
/// So many fields are named.
const FIELDS_MAX: usize = 5;
/// What is surer than this is sure enough for its kind to matter more.
const SURE: EValue = EValue::from_ln(40.0);

/// Something that a span has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Feature {
    /// An attribute of this key.
    Attribute(NameId),
    /// So many events of a name.
    Events { name: NameId, at_least: u8 },
    /// So many links.
    Links { at_least: u8 },
}

impl Feature {
    /// Everything that a span has.
    pub(super) fn of(span: &Span) -> impl Iterator<Item = Feature> {
        let attributes = span.attributes.iter().map(|(key, _)| Feature::Attribute(*key));
        let same = span.event_names.chunk_by(|one, other| one == other);
        let events = same.flat_map(|same| {
            let at_least = 1..=same.len().min(SAME_MAX) as u8;
            same[0].into_iter().flat_map(move |name| {
                let at_least = at_least.clone();
                at_least.map(move |at_least| Feature::Events { name, at_least })
            })
        });
        let links = (1..=span.links.len().min(SAME_MAX) as u8).map(|at_least| Feature::Links { at_least });
        attributes.chain(events).chain(links).take(SPAN_FEATURES_MAX)
    }

    /// The field, as it is named.
    fn field(self, tables: &Tables) -> String {
        match self {
            Feature::Attribute(key) => format!("attribute {}", shortened(tables.keys.text(key))),
            Feature::Events { name, .. } => event_field(tables.events.text(name)),
            Feature::Links { .. } => "links".to_owned(),
        }
    }
}

/// What the spans of one population have.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    operations: HashMap<Operation, Counted, foldhash::fast::RandomState>,
    features: usize,
}

/// What the spans of one operation have.
#[derive(Clone, Debug, Default)]
struct Counted {
    /// Traces that have such spans.
    traces: [u64; 2],
    spans: [u64; 2],
    features: HashMap<Feature, Having, foldhash::fast::RandomState>,
    resources: Vec<(ResourceId, [f64; 2])>,
}

/// How many have something.
#[derive(Clone, Copy, Debug, Default)]
struct Having {
    /// Traces, each by the share of its spans.
    traces: [f64; 2],
    spans: [u64; 2],
}

/// Something that differs.
#[derive(Clone, Copy, Debug)]
struct Differing {
    operation: Operation,
    feature: Feature,
    strength: EValue,
    /// The shares of both sides.
    shares: [f64; 2],
}

impl Contents {
    /// Counts what the spans of a trace have; `room` is how much more may be told apart anywhere.
    pub(super) fn observe(&mut self, side: Side, nodes: &[Node], features: &[Feature], room: &mut usize) {
        let at = side as usize;
        let known = nodes.iter().enumerate().filter_map(|(index, node)| Some((node.operation?, index)));
        let mut by_operation: Vec<(Operation, usize)> = known.collect();
        by_operation.sort_unstable_by_key(|(operation, index)| (operation.order(), *index));
        for same in by_operation.chunk_by(|(one, _), (other, _)| one == other) {
            let operation = same[0].0;
            if self.operations.len() >= OPERATIONS_MAX && !self.operations.contains_key(&operation) {
                continue;
            }
            let counted = self.operations.entry(operation).or_default();
            counted.traces[at] += 1;
            counted.spans[at] += same.len() as u64;
            let part = 1.0 / same.len() as f64;
            for (_, index) in same {
                counted.count_resource(at, nodes[*index].resource, part);
                let begin = index.checked_sub(1).map_or(0, |before| nodes[before].features_end as usize);
                let of_span = features.get(begin..nodes[*index].features_end as usize).unwrap_or_default();
                for feature in of_span {
                    if let Some(having) = counted.features.get_mut(feature) {
                        having.count(at, part);
                    } else if self.features < FEATURES_MAX && *room > 0 {
                        self.features += 1;
                        *room -= 1;
                        counted.features.entry(*feature).or_default().count(at, part);
                    }
                }
            }
        }
    }

    /// What differs, the surest first.
    fn differing(&self, demand: &Demand, tables: &Tables) -> Vec<Differing> {
        let wanted = EValue::from_ln(-(1.0 - demand.confidence).max(f64::MIN_POSITIVE).ln());
        let compared = self
            .compared(tables)
            .filter(|(.., [legacy, new])| (legacy.1 / legacy.0 - new.1 / new.0).abs() > demand.margin_ratio);
        let tested = compared.map(|(operation, feature, [legacy, new])| Differing {
            operation,
            feature,
            strength: EValue::of_shares(legacy, new, demand.margin_ratio).shared_by(FEATURES_MAX),
            shares: [legacy, new].map(|(all, with)| with / all),
        });
        let mut differing: Vec<Differing> = tested.filter(|one| one.strength >= wanted).collect();
        // What the new side lacks is what one asks for, and names make the order the same each time.
        differing.sort_by_cached_key(|one| {
            let beyond = if one.strength > SURE { SURE } else { one.strength };
            let is_gained = one.lacking() == Side::Legacy;
            let is_attribute = matches!(one.feature, Feature::Attribute(_));
            let name = (one.operation.text(tables), one.operation.order(), one.feature.field(tables), one.feature);
            ((-beyond.ln() * 1e6) as i64, is_gained, !is_attribute, name)
        });
        differing
    }

    /// Everything that both sides have spans for: in how many traces they are, and in how many of those with it.
    fn compared<'a>(&'a self, tables: &'a Tables) -> impl Iterator<Item = (Operation, Feature, [(f64, f64); 2])> + 'a {
        let has_links = self.operations.values().any(|counted| {
            counted.features.get(&Feature::Links { at_least: 1 }).is_some_and(|links| links.spans[0] > 0)
        });
        let both = self.operations.iter().filter(|(_, counted)| !counted.traces.contains(&0));
        both.flat_map(move |(operation, counted)| {
            // Where the legacy side shows no link at all, its protocol has none: libraries leave them out for Zipkin.
            let asked = counted
                .features
                .iter()
                .filter(move |(feature, _)| has_links || !matches!(feature, Feature::Links { .. }));
            asked.map(move |(feature, having)| {
                let of = |at: usize| {
                    let all = counted.traces[at] as f64;
                    let of_resources = counted.of_resources(at, *feature, tables);
                    (all, (having.traces[at] + of_resources).clamp(0.0, all))
                };
                (*operation, *feature, [of(0), of(1)])
            })
        })
    }

    /// By how much of its traces the population differs at most in anything that was compared.
    pub(super) fn margin_ratio(&self, traces: [u64; 2], tables: &Tables) -> f64 {
        let differences = self.compared(tables).map(|(.., [legacy, new])| {
            let of_traces = (legacy.0 / traces[0].max(1) as f64).max(new.0 / traces[1].max(1) as f64).min(1.0);
            (legacy.1 / legacy.0 - new.1 / new.0).abs() * of_traces
        });
        differences.fold(0.0, f64::max)
    }

    /// The difference that is surest, if any is, and how strong it is.
    pub(super) fn judge(&self, demand: &Demand, tables: &Tables) -> Option<(Finding, EValue)> {
        let differing = self.differing(demand, tables);
        let first = differing.first()?;
        let told = self.tell(first, tables);
        let (cause, evidence) = match first.feature {
            Feature::Attribute(key) if first.is_missing() => {
                let cause = Cause::AttributeMissing { side: first.lacking(), key: tables.keys.text(key).to_owned() };
                (cause, told + &tell_others(first, &differing, demand, tables))
            }
            _ => (Cause::FieldsDiffer { fields: fields(&differing, tables) }, told),
        };
        Some((Finding { cause, evidence, since_unix_ns: None }, first.strength))
    }

    fn tell(&self, one: &Differing, tables: &Tables) -> String {
        let operation = one.operation.text(tables);
        let operation = shortened(&operation);
        let spans = self.operations.get(&one.operation).map_or([0; 2], |counted| counted.spans);
        if let Feature::Attribute(key) = one.feature {
            let [legacy, new] = one.shares.map(Percent);
            let (key, [of_legacy, of_new]) = (shortened(tables.keys.text(key)), spans);
            return format!(
                "`{key}` is on {legacy} of the {of_legacy} spans `{operation}` on the legacy side, on {new} of the {of_new} on \
                 the new one"
            );
        }
        let [legacy, new] = [0, 1].map(|at| self.mean(one, at));
        let what = one.feature.field(tables);
        format!("{what}: {legacy:.2} for each span `{operation}` on the legacy side, {new:.2} on the new one")
    }

    /// How many of them a span has on average.
    fn mean(&self, one: &Differing, at: usize) -> f64 {
        let Some(counted) = self.operations.get(&one.operation) else { return 0.0 };
        let same = counted.features.iter().filter(|(feature, _)| match (feature, one.feature) {
            (Feature::Events { name, .. }, Feature::Events { name: asked, .. }) => *name == asked,
            (Feature::Links { .. }, Feature::Links { .. }) => true,
            _ => false,
        });
        same.map(|(_, having)| having.spans[at]).sum::<u64>() as f64 / counted.spans[at].max(1) as f64
    }
}

impl Counted {
    fn count_resource(&mut self, at: usize, resource: Option<ResourceId>, part: f64) {
        let Some(resource) = resource else { return };
        if let Some((_, traces)) = self.resources.iter_mut().find(|(known, _)| *known == resource) {
            traces[at] += part;
        } else if self.resources.len() < RESOURCES_MAX {
            let mut traces = [0.0; 2];
            traces[at] = part;
            self.resources.push((resource, traces));
        }
    }

    /// Zipkin has no resources: what it does not know to be of one comes back as the span's.
    fn of_resources(&self, at: usize, feature: Feature, tables: &Tables) -> f64 {
        let Feature::Attribute(key) = feature else { return 0.0 };
        let having = self.resources.iter().filter(|(id, _)| tables.resources.has(*id, key));
        having.map(|(_, traces)| traces[at]).sum()
    }
}

impl Having {
    fn count(&mut self, at: usize, part: f64) {
        self.traces[at] += part;
        self.spans[at] += 1;
    }
}

impl Differing {
    /// The side that has less.
    fn lacking(&self) -> Side {
        if self.shares[1] < self.shares[0] { Side::New } else { Side::Legacy }
    }

    /// Whether one side has it much less often, and not only less often.
    fn is_missing(&self) -> bool {
        let [one, other] = self.shares;
        one.min(other) < one.max(other) / 2.0
    }
}

/// The fields that differ, each once, the surest first.
fn fields(differing: &[Differing], tables: &Tables) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for one in differing {
        let field = one.feature.field(tables);
        if fields.len() < FIELDS_MAX && !fields.contains(&field) {
            fields.push(field);
        }
    }
    fields
}

/// What a key was renamed to, and what else differs.
fn tell_others(first: &Differing, differing: &[Differing], demand: &Demand, tables: &Tables) -> String {
    let renamed = renamed(first, differing, demand, tables);
    let mut said = String::new();
    if let (Some(other), Feature::Attribute(key)) = (renamed, first.feature) {
        let [old, new] = match first.lacking() {
            Side::New => [tables.keys.text(key), other],
            Side::Legacy => [other, tables.keys.text(key)],
        };
        let [old, new] = [shortened(old), shortened(new)];
        said += &format!("; `{old}` seems to be `{new}` now");
    }
    let told = [Some(first.feature.field(tables)), renamed.map(|key| format!("attribute {}", shortened(key)))];
    let mut others: Vec<String> = Vec::new();
    for one in differing {
        let field = one.feature.field(tables);
        if !told.contains(&Some(field.clone())) && !others.contains(&field) {
            others.push(field);
        }
    }
    let more = others.len().saturating_sub(FIELDS_MAX);
    others.truncate(FIELDS_MAX);
    if !others.is_empty() {
        said += &format!("; what else differs: {}", others.join(", "));
    }
    if more > 0 {
        said += &format!(" and {more} more");
    }
    said
}

/// The key that spans of the same operation have on the other side about as often: of several, the one whose parts are
/// most alike, if any is.
fn renamed<'a>(first: &Differing, differing: &[Differing], demand: &Demand, tables: &'a Tables) -> Option<&'a str> {
    let Feature::Attribute(key) = first.feature else { return None };
    let near = demand.margin_ratio.max(0.05);
    let candidates = differing.iter().filter(|other| {
        let is_other_way = other.lacking() != first.lacking() && other.is_missing() && first.is_missing();
        let is_as_often = [0, 1].iter().all(|at| (other.shares[*at] - first.shares[1 - *at]).abs() <= near);
        other.operation == first.operation && is_other_way && is_as_often
    });
    let keys = candidates.filter_map(|other| match other.feature {
        Feature::Attribute(other) => Some(tables.keys.text(other)),
        _ => None,
    });
    let keys: Vec<&str> = keys.collect();
    let parts = |key: &'a str| key.split(['.', '_', '-']);
    let alike =
        |other: &'a str| parts(other).filter(|part| parts(tables.keys.text(key)).any(|own| own == *part)).count();
    let best = keys.iter().copied().max_by_key(|other| (alike(other), std::cmp::Reverse(*other)))?;
    (keys.len() == 1 || alike(best) > 0).then_some(best)
}

#[cfg(test)]
mod tests {
    use otlp::{SpanId, SpanKind};

    use super::*;

    #[test]
    fn what_is_told_apart_has_a_maximum() {
        let mut tables = Tables::default();
        let [service, name] = ["shop", "GET"].map(|text| tables.operations.id(text).unwrap());
        let operation = Operation { service, name, kind: SpanKind::Server };
        let mut contents = Contents::default();
        let mut room = FEATURES_MAX + 7;
        for at in 0..FEATURES_MAX + 100 {
            let features = [Feature::Attribute(tables.keys.id(&format!("key {at}")).unwrap())];
            let node = Node {
                span_id: SpanId::new([1; 8]),
                parent_id: None,
                start_us: 0,
                label: 0,
                operation: Some(operation),
                is_error: false,
                resource: None,
                features_end: 1,
            };
            contents.observe(Side::Legacy, &[node], &features, &mut room);
        }
        let known = contents.operations.values().map(|counted| counted.features.len()).sum::<usize>();
        assert_eq!((known, room), (FEATURES_MAX, 7));
        // Nothing is asked where one side has no such spans.
        assert!(contents.judge(&Demand::default(), &tables).is_none());
    }
}
