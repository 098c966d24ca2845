//! The series that are exposed, by family, within bounds.
//!
//! A series is what Prometheus takes for one: a family's name and labels. So no exposition has a series twice, whatever
//! names OTLP had for them. Families and series go when nothing was said of them for `metric_expiration`.

use std::sync::Arc;
use std::time::Duration;

use component::clock::Mono;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use otlp::view::MetricView;
use prom::labels::{LabelSet, SeriesHash};
use prom::text::FamilyKind;

use super::labels::Identity;
use super::refusal::Refusal;
use super::value::Value;

/// The bounds of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// `max_series`: data points that are kept, each of which may be several series of Prometheus.
    pub(super) series_max: usize,
    /// `max_memory_mib`, in bytes.
    pub(super) size_bytes_max: usize,
    /// `metric_expiration`.
    pub(super) expiration: Duration,
}

/// What a store holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) series: usize,
    pub(super) size_bytes: usize,
}

/// Everything that is exposed.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) limits: Limits,
    pub(super) usage: Usage,
    pub(super) families: HashMap<Arc<str>, Family, RandomState>,
    pub(super) targets: HashMap<Identity, Target, RandomState>,
    expire_next: Option<Mono>,
}

/// The series of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) kind: FamilyKind,
    pub(super) help: String,
    /// In Prometheus' words.
    pub(super) unit: String,
    /// The metric in OTLP that the family was made for.
    pub(super) metric_name: Box<str>,
    sharing: Sharing,
    /// The metric's unit in OTLP.
    pub(super) metric_unit: Box<str>,
    series: Vec<Series>,
    /// Places in `series`, by the hash of their labels.
    places: HashTable<Place>,
    /// Places in the order of the labels; those of series that are new are not in it yet.
    order: Vec<Place>,
}

/// Where a series of a family is, until one of the family is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

/// Whether several metrics of OTLP have become one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    Alone,
    Told,
}

/// One series, or the several of one histogram or summary.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: LabelSet,
    pub(super) value: Value,
    pub(super) time_unix_nano: u64,
    pub(super) exemplars: Box<[Exemplar]>,
    /// Keeps what describes its target alive.
    pub(super) target: Option<TargetHandle>,
    pub(super) updated: Mono,
}

/// One measurement out of many.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) labels: Box<[(Box<str>, Box<str>)]>,
    pub(super) value: f64,
    pub(super) time_unix_nano: u64,
}

/// Whoever holds this has a series of the target.
#[derive(Clone, Debug, Default)]
pub(super) struct TargetHandle(Arc<()>);

impl PartialEq for TargetHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What describes a resource: the labels of its `target_info`.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) labels: LabelSet,
    handle: TargetHandle,
}

// === impl Store ===

/// A full store looks for what has expired this often; others less often.
const EXPIRE_INTERVAL_FULL: Duration = Duration::from_secs(1);
const EXPIRE_INTERVAL: Duration = Duration::from_secs(60);

impl Store {
    pub(super) fn new(limits: Limits) -> Store {
        let (families, targets) = (HashMap::default(), HashMap::default());
        Store { limits, usage: Usage::default(), families, targets, expire_next: None }
    }

    /// Forgets what has expired, if it is time to look.
    pub(super) fn expire_if_due(&mut self, now: Mono) {
        let is_full =
            self.usage.series >= self.limits.series_max || self.usage.size_bytes >= self.limits.size_bytes_max;
        let interval = if is_full { EXPIRE_INTERVAL_FULL } else { EXPIRE_INTERVAL };
        // What was planned before the store became full may be far away.
        let due = self.expire_next.is_none_or(|at| now >= at || at > now + interval);
        if due {
            self.expire(now);
            self.expire_next = Some(now + interval);
        }
    }

    /// Forgets series that nothing was said of for too long, families without series, and targets without either.
    pub(super) fn expire(&mut self, now: Mono) {
        let Store { limits, usage, families, targets, .. } = self;
        families.retain(|name, family| {
            family.retain(usage, |series| now.saturating_duration_since(series.updated) <= limits.expiration);
            let keeps = !family.is_empty();
            if !keeps {
                usage.size_bytes -= family.size_bytes(name);
            }
            keeps
        });
        targets.retain(|identity, target| {
            let keeps = target.handle.is_in_use();
            if !keeps {
                usage.size_bytes -= target.size_bytes(identity);
            }
            keeps
        });
    }

    /// The handle for the series of a target.
    pub(super) fn target_handle(&self, identity: &Identity) -> TargetHandle {
        self.targets.get(identity).map(|target| target.handle.clone()).unwrap_or_default()
    }

    /// Sets what describes a target that has series.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn set_target(
        &mut self,
        identity: &Identity,
        labels: LabelSet,
        handle: TargetHandle,
    ) -> Result<(), Refusal> {
        if self.targets.get(identity).is_some_and(|known| known.labels == labels) {
            return Ok(());
        }
        let target = Target { labels, handle };
        let before = self.targets.get(identity).map_or(0, |known| known.size_bytes(identity));
        self.usage.resize(&self.limits, before, target.size_bytes(identity))?;
        self.targets.insert(identity.clone(), target);
        Ok(())
    }

    /// The families, in the order of their names.
    pub(super) fn family_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.families.keys().cloned().collect();
        names.sort_unstable();
        names
    }
}

// === impl Usage ===

impl Usage {
    /// Accounts for what takes the place of something of another size.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn resize(&mut self, limits: &Limits, before_bytes: usize, after_bytes: usize) -> Result<(), Refusal> {
        let size_bytes = self.size_bytes - before_bytes + after_bytes;
        // What becomes smaller is welcome even where there is too much.
        if after_bytes > before_bytes && size_bytes > limits.size_bytes_max {
            return Err(Refusal::MemoryLimit);
        }
        self.size_bytes = size_bytes;
        Ok(())
    }
}

// === impl Family ===

impl Family {
    pub(super) fn new(kind: FamilyKind, help: &str, unit: &str, metric: &MetricView<'_>) -> Family {
        Family {
            kind,
            help: help.to_owned(),
            unit: unit.to_owned(),
            metric_name: metric.name().into(),
            metric_unit: metric.unit().into(),
            sharing: Sharing::Alone,
            series: Vec::new(),
            places: HashTable::new(),
            order: Vec::new(),
        }
    }

    /// Tells, once, that two metrics of OTLP have become this family: series with equal labels overwrite each other.
    pub(super) fn share(&mut self, name: &str, other_metric: &str) {
        if self.sharing == Sharing::Alone {
            self.sharing = Sharing::Told;
            let metric = &*self.metric_name;
            tracing::warn!(family = name, metric, other_metric, "two metrics have one name in Prometheus");
        }
    }

    /// The memory it takes without its series, in bytes.
    pub(super) fn size_bytes(&self, name: &str) -> usize {
        let metric = self.metric_name.len() + self.metric_unit.len();
        size_of::<Family>() + name.len() + self.help.len() + self.unit.len() + metric
    }

    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Where the series with these labels is.
    pub(super) fn find(&self, labels: &LabelSet) -> Option<Place> {
        self.places.find(labels.hash().0, |place| self.at(*place).labels == *labels).copied()
    }

    /// The series at a place that was given since the last removal.
    pub(super) fn at(&self, place: Place) -> &Series {
        &self.series[place.0 as usize]
    }

    /// The series at a place that may have been another's since it was given, if it is the one with labels of this hash.
    pub(super) fn get_mut(&mut self, place: Place, hash: SeriesHash) -> Option<&mut Series> {
        self.series.get_mut(place.0 as usize).filter(|series| series.labels.hash() == hash)
    }

    /// Adds a series that is not there yet.
    pub(super) fn add(&mut self, series: Series) -> Place {
        let place = Place(self.series.len() as u32);
        let hash = series.labels.hash().0;
        self.series.push(series);
        let all = &self.series;
        self.places.insert_unique(hash, place, |place| all[place.0 as usize].labels.hash().0);
        place
    }

    /// Removes the series with these labels, if there is one.
    pub(super) fn remove(&mut self, labels: &LabelSet) -> Option<Series> {
        let all = &self.series;
        let is_it = |place: &Place| all[place.0 as usize].labels == *labels;
        let (place, _) = self.places.find_entry(labels.hash().0, is_it).ok()?.remove();
        let last = Place(self.series.len() as u32 - 1);
        if place != last {
            let hash = self.at(last).labels.hash().0;
            if let Some(moved) = self.places.find_mut(hash, |found| *found == last) {
                *moved = place;
            }
        }
        self.order.clear();
        Some(self.series.swap_remove(place.0 as usize))
    }

    fn retain(&mut self, usage: &mut Usage, keeps: impl Fn(&Series) -> bool) {
        let before = self.series.len();
        self.series.retain(|series| {
            let keeps = keeps(series);
            if !keeps {
                usage.series -= 1;
                usage.size_bytes -= series.size_bytes();
            }
            keeps
        });
        if self.series.len() < before {
            self.series.shrink_to(self.series.len() * 2);
            self.order = Vec::new();
            self.find_places();
        }
    }

    /// The series, in the order of their labels.
    pub(super) fn sorted(&mut self) -> impl Iterator<Item = &Series> {
        let Family { series, order, .. } = self;
        if order.len() < series.len() {
            order.extend((order.len() as u32..series.len() as u32).map(Place));
            // What is sorted already is taken as it is.
            let labels = |place: &Place| series[place.0 as usize].labels.iter();
            order.sort_by(|left, right| labels(left).cmp(labels(right)));
        }
        order.iter().map(|place| &series[place.0 as usize])
    }

    fn find_places(&mut self) {
        let all = &self.series;
        let hash = |place: &Place| all[place.0 as usize].labels.hash().0;
        self.places.clear();
        self.places.shrink_to(all.len() * 2, hash);
        for place in (0..all.len() as u32).map(Place) {
            self.places.insert_unique(hash(&place), place, hash);
        }
    }
}

// === impl Series ===

impl Series {
    /// The memory it takes, with its places in the family and in the cache, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        const PLACES: usize = 112;
        let exemplars: usize = self.exemplars.iter().map(Exemplar::size_bytes).sum();
        size_of::<Series>() + PLACES + self.labels.size_bytes() + self.value.heap_bytes() + exemplars
    }
}

impl Exemplar {
    pub(super) fn size_bytes(&self) -> usize {
        let text: usize = self.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        size_of::<Exemplar>() + size_of_val(&*self.labels) + text
    }
}

// === impl Target ===

impl Target {
    fn size_bytes(&self, identity: &Identity) -> usize {
        let text = identity.job.as_ref().map_or(0, String::len) + identity.instance.as_ref().map_or(0, String::len);
        size_of::<Target>() + size_of::<Identity>() + self.labels.size_bytes() + text
    }
}

impl TargetHandle {
    /// Whether anybody but the target itself holds it.
    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

#[cfg(test)]
mod tests {
    use otlp::NumberValue;

    use super::*;

    fn labels(value: &str) -> LabelSet {
        LabelSet::from_pairs([("l", value)]).unwrap()
    }

    fn series(value: &str, updated: Mono) -> Series {
        Series {
            labels: labels(value),
            value: Value::Number(NumberValue::Int(1)),
            time_unix_nano: 0,
            exemplars: Box::default(),
            target: None,
            updated,
        }
    }

    fn shown(family: &mut Family) -> String {
        family.sorted().map(|series| series.labels.get("l").unwrap()).collect()
    }

    #[test]
    fn series_come_in_the_order_of_their_labels_whatever_was_added_and_removed() {
        let now = component::clock::mono();
        let mut family = Family::new(FamilyKind::Gauge, "", "", &MetricView::default());
        for value in ["c", "a", "d", "b"] {
            family.add(series(value, now));
        }
        assert_eq!(shown(&mut family), "abcd");
        assert!(family.remove(&labels("a")).is_some());
        assert!(family.remove(&labels("a")).is_none());
        family.add(series("e", now));
        assert_eq!(shown(&mut family), "bcde");
        for value in ["b", "c", "d", "e"] {
            let place = family.find(&labels(value)).unwrap();
            assert_eq!(family.at(place).labels, labels(value));
            assert!(family.get_mut(place, labels(value).hash()).is_some());
            assert!(family.get_mut(place, labels("a").hash()).is_none());
        }
    }

    #[test]
    fn a_store_that_forgot_everything_holds_nothing() {
        let now = component::clock::mono();
        let limits = Limits { series_max: 10, size_bytes_max: 10_000, expiration: Duration::from_secs(300) };
        let mut store = Store::new(limits);
        let identity = Identity { job: Some("shop".to_owned()), instance: None };
        let handle = store.target_handle(&identity);
        let mut family = Family::new(FamilyKind::Gauge, "", "", &MetricView::default());
        for value in ["a", "b"] {
            let series = Series { target: Some(handle.clone()), ..series(value, now) };
            store.usage.series += 1;
            store.usage.size_bytes += series.size_bytes();
            family.add(series);
        }
        store.usage.size_bytes += family.size_bytes("m");
        store.families.insert("m".into(), family);
        store.set_target(&identity, labels("x"), handle).unwrap();
        store.expire(now + Duration::from_secs(300));
        assert_eq!((store.usage.series, store.families.len(), store.targets.len()), (2, 1, 1));
        store.expire(now + Duration::from_secs(301));
        assert_eq!((store.usage, store.families.len()), (Usage::default(), 0));
        assert_eq!(store.targets.len(), 0);
    }
}
