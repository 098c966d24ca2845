//! Spans of the same ids, put beside each other.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use otlp::{SpanId, TraceId};

use super::PopulationVerdict;
use super::names::{NameId, Tables, event_field};
use super::span::{Field, Span};
use crate::evidence::EValue;
use crate::thinning::loss_interval;
use crate::verdict::{Cause, Demand, Finding, Needs, Percent, Side, Verdict};

/// So many services and, for each of them, so many fields are told apart.
const SERVICES_MAX: usize = 2000;
const FIELDS_MAX: usize = 200;

type Key = (TraceId, SpanId);

/// Pairs spans up.
#[derive(Debug)]
pub(super) struct Join {
    waiting: HashMap<Key, (Side, Span), foldhash::fast::RandomState>,
    /// Those that wait, by their end.
    order: BTreeSet<(u64, Key)>,
    spans_max: usize,
    services: BTreeMap<Box<str>, Service>,
    matches: u64,
}

/// What is known of the spans of one service.
#[derive(Clone, Debug, Default)]
struct Service {
    matched: u64,
    equal: u64,
    /// Spans of one side alone.
    only: [u64; 2],
    /// Matched spans by the field in which they differ.
    differing: BTreeMap<Differing, u64>,
    /// Matched spans by the attribute that a side lacks.
    lacking: [BTreeMap<NameId, u64>; 2],
    /// Matched spans with links.
    linked: [u64; 2],
}

/// A field of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Differing {
    Of(&'static str),
    Event(NameId),
    Attribute(NameId),
}

impl Differing {
    fn text(self, tables: &Tables) -> String {
        match self {
            Differing::Of(name) => name.to_owned(),
            Differing::Event(name) => event_field(tables.events.text(name)),
            Differing::Attribute(key) => format!("attribute {}", tables.keys.text(key)),
        }
    }
}

impl Join {
    pub(super) fn new(spans_max: usize) -> Join {
        Join { waiting: HashMap::default(), order: BTreeSet::new(), spans_max, services: BTreeMap::new(), matches: 0 }
    }

    pub(super) fn has_matches(&self) -> bool {
        self.matches > 0
    }

    pub(super) fn observe(&mut self, side: Side, span: Span, tables: &Tables) {
        let key = (span.trace_id, span.span_id);
        match self.waiting.remove(&key) {
            Some((other, known)) if other != side => {
                self.order.remove(&(known.end_unix_ns, key));
                let (legacy, new) = if side == Side::New { (known, span) } else { (span, known) };
                self.pair(&legacy, &new, tables);
            }
            // The same span again from the same side: the first one is kept.
            Some(known) => {
                self.waiting.insert(key, known);
            }
            None => {
                self.order.insert((span.end_unix_ns, key));
                self.waiting.insert(key, (side, span));
                if self.waiting.len() > self.spans_max {
                    self.give_up_oldest();
                }
            }
        }
    }

    fn pair(&mut self, legacy: &Span, new: &Span, tables: &Tables) {
        self.matches += 1;
        let Some(service) = self.service(&legacy.service) else { return };
        service.matched += 1;
        service.linked[Side::Legacy as usize] += u64::from(!legacy.links.is_empty());
        service.linked[Side::New as usize] += u64::from(!new.links.is_empty());
        let mut is_equal = true;
        legacy.compare(new, &tables.resources, |field| {
            is_equal = false;
            let [of_legacy, of_new] = &mut service.lacking;
            match field {
                Field::Of(name) => count(&mut service.differing, Differing::Of(name)),
                Field::Event(name) => count(&mut service.differing, Differing::Event(name)),
                Field::Attribute(key) => count(&mut service.differing, Differing::Attribute(key)),
                Field::OnlyLeft(key) => count(of_new, key),
                Field::OnlyRight(key) => count(of_legacy, key),
            }
        });
        service.equal += u64::from(is_equal);
    }

    fn service(&mut self, name: &str) -> Option<&mut Service> {
        if self.services.len() >= SERVICES_MAX && !self.services.contains_key(name) {
            return None;
        }
        Some(self.services.entry(name.into()).or_default())
    }

    fn give_up_oldest(&mut self) {
        let Some((_, key)) = self.order.pop_first() else { return };
        if let Some((side, span)) = self.waiting.remove(&key)
            && let Some(service) = self.service(&span.service)
        {
            service.only[side as usize] += 1;
        }
    }

    pub(super) fn seal(&mut self, watermark_unix_ns: u64) {
        while self.order.first().is_some_and(|(end, _)| *end < watermark_unix_ns) {
            self.give_up_oldest();
        }
    }

    pub(super) fn verdicts(&self, demand: &Demand, tables: &Tables) -> Vec<PopulationVerdict> {
        let verdicts = self.services.iter().map(|(name, service)| {
            let verdict = service.verdict(demand, tables);
            PopulationVerdict {
                population: name.to_string(),
                strength: service.strength(&verdict, demand),
                verdict,
                legacy: service.matched + service.only[Side::Legacy as usize],
                new: service.matched + service.only[Side::New as usize],
            }
        });
        verdicts.collect()
    }
}

fn count<K: Ord>(map: &mut BTreeMap<K, u64>, key: K) {
    if map.len() < FIELDS_MAX || map.contains_key(&key) {
        *map.entry(key).or_default() += 1;
    }
}

impl Service {
    fn verdict(&self, demand: &Demand, tables: &Tables) -> Verdict {
        let all = self.matched + self.only[0] + self.only[1];
        // What one side alone has is missing on the other.
        let interval =
            |side: Side| loss_interval(all as f64, self.only[side.other() as usize] as f64, 0.0, demand.confidence);
        let (of_new, of_legacy) = (interval(Side::New), interval(Side::Legacy));
        for (side, interval) in [(Side::New, of_new), (Side::Legacy, of_legacy)] {
            // Far more than nothing, and not proven to be less than the margin.
            if interval.low > demand.margin_ratio / 2.0 && interval.high > demand.margin_ratio {
                let cause = Cause::Loss { side, ratio_low: interval.low, ratio_high: interval.high };
                return Verdict::Different(self.finding(cause));
            }
        }
        if let Some(cause) = self.systematic(demand, tables) {
            return Verdict::Different(self.finding(cause));
        }
        let margin_ratio = of_new.high.max(of_legacy.high);
        if margin_ratio > demand.margin_ratio {
            let seen = all as f64;
            let more = seen * (margin_ratio / demand.margin_ratio - 1.0).max(0.1);
            return Verdict::Inconclusive { needs: Needs::Events { seen, more, margin_ratio } };
        }
        let lost = [(Side::New, of_new), (Side::Legacy, of_legacy)];
        let lost = lost.into_iter().find(|(side, _)| self.only[side.other() as usize] > 0);
        let remark = lost.map(|(side, interval)| {
            self.finding(Cause::Loss { side, ratio_low: interval.low, ratio_high: interval.high })
        });
        Verdict::Equivalent { margin_ratio, confidence: demand.confidence, remark }
    }

    /// How strong a loss is: what is missing now and then, as at the ends of what was seen, may be chance. Fields that
    /// differ are none.
    fn strength(&self, verdict: &Verdict, demand: &Demand) -> EValue {
        let Verdict::Different(Finding { cause: Cause::Loss { side, .. }, .. }) = verdict else {
            return EValue::CERTAIN;
        };
        let all = self.matched + self.only[0] + self.only[1];
        let lost = self.only[side.other() as usize];
        EValue::of_loss(all as f64, lost as f64, demand.margin_ratio / 2.0).shared_by(2)
    }

    /// A field in which more spans differ than the margin allows: the one with the most.
    fn systematic(&self, demand: &Demand, tables: &Tables) -> Option<Cause> {
        let is_many = |count: u64| {
            let interval = loss_interval(self.matched as f64, count as f64, 0.0, demand.confidence);
            interval.low > demand.margin_ratio
        };
        for side in [Side::New, Side::Legacy] {
            let lacking = self.lacking[side as usize].iter().map(|(key, count)| (*count, tables.keys.text(*key)));
            let most = lacking.max_by_key(|(count, key)| (*count, std::cmp::Reverse(*key)));
            if let Some((_, key)) = most.filter(|(count, _)| is_many(*count)) {
                return Some(Cause::AttributeMissing { side, key: key.to_owned() });
            }
        }
        // Where the legacy side shows no link at all, its protocol has none: libraries leave them out for Zipkin.
        let has_links = self.linked[Side::Legacy as usize] > 0;
        let compared = self.differing.iter().filter(|(field, _)| has_links || **field != Differing::Of("links"));
        let mut fields: Vec<(u64, String)> =
            compared.filter(|(_, count)| is_many(**count)).map(|(field, count)| (*count, field.text(tables))).collect();
        fields.sort_by(|(one, name), (two, other)| two.cmp(one).then_with(|| name.cmp(other)));
        let fields: Vec<String> = fields.into_iter().take(5).map(|(_, name)| name).collect();
        (!fields.is_empty()).then_some(Cause::FieldsDiffer { fields })
    }

    fn finding(&self, cause: Cause) -> Finding {
        let share = self.equal as f64 / self.matched.max(1) as f64;
        let evidence = format!(
            "{} spans on both sides, {} of them the same in every field; {} on the legacy side only, {} on the new one",
            self.matched,
            Percent(share),
            self.only[Side::Legacy as usize],
            self.only[Side::New as usize],
        );
        Finding { cause, evidence, since_unix_ns: None }
    }
}
