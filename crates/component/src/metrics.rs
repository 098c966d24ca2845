//! The process's own metrics: counters and gauges that components raise, and values that are asked for when somebody
//! looks. Names follow the Collector's where it has one; the rest are `crossfade_*`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Whether a metric only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A monotonic sum since the process started.
    Counter,
    /// A value of now.
    Gauge,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name, without the suffix that the configuration may ask for.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Whether it only rises.
    pub kind: Kind,
}

impl Description {
    /// A counter.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Description { name, help, kind: Kind::Counter }
    }

    /// A gauge.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Description { name, help, kind: Kind::Gauge }
    }
}

/// Labels, in the order of their names.
pub type Labels = BTreeMap<String, String>;

/// One metric with all its series, as it stood when it was gathered.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// What it counts.
    pub help: String,
    /// Whether it only rises.
    pub kind: Kind,
    /// Its series.
    pub series: Vec<(Labels, f64)>,
}

/// More series than this of one metric are counted together under the label `overflow="true"`: labels may come from
/// outside, and memory stays bounded.
pub const SERIES_MAX: usize = 2000;

/// A sum that only rises.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds to it.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value of now.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Values that are computed when somebody looks.
type Observer = Box<dyn Fn(&mut Observations) + Send + Sync>;

/// Where an observer puts its values.
#[derive(Debug, Default)]
pub struct Observations {
    families: BTreeMap<&'static str, Family>,
}

impl Observations {
    /// Puts one value.
    pub fn put(&mut self, description: Description, labels: &[(&str, &str)], value: f64) {
        self.family(description).series.push((owned(labels), value));
    }

    fn family(&mut self, description: Description) -> &mut Family {
        self.families.entry(description.name).or_insert_with(|| Family {
            name: description.name.to_owned(),
            help: description.help.to_owned(),
            kind: description.kind,
            series: Vec::new(),
        })
    }
}

#[derive(Default)]
struct Registered {
    counters: BTreeMap<&'static str, (Description, BTreeMap<Labels, Counter>)>,
    gauges: BTreeMap<&'static str, (Description, BTreeMap<Labels, Gauge>)>,
    observers: Vec<Observer>,
}

/// All metrics of the process. Clones are the same metrics.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Registered>>);

impl Metrics {
    /// The counter with these labels, made if there is none yet.
    pub fn counter(&self, description: Description, labels: &[(&str, &str)]) -> Counter {
        let mut registered = self.0.lock();
        let (_, series) = registered.counters.entry(description.name).or_insert((description, BTreeMap::new()));
        find_or_make(series, labels)
    }

    /// The gauge with these labels, made if there is none yet.
    pub fn gauge(&self, description: Description, labels: &[(&str, &str)]) -> Gauge {
        let mut registered = self.0.lock();
        let (_, series) = registered.gauges.entry(description.name).or_insert((description, BTreeMap::new()));
        find_or_make(series, labels)
    }

    /// Asks `observer` whenever somebody looks.
    pub fn observe(&self, observer: impl Fn(&mut Observations) + Send + Sync + 'static) {
        self.0.lock().observers.push(Box::new(observer));
    }

    /// All metrics as they stand now, by name.
    pub fn gather(&self) -> Vec<Family> {
        let registered = self.0.lock();
        let mut all = Observations::default();
        for (description, series) in registered.counters.values() {
            let values = series.iter().map(|(labels, counter)| (labels.clone(), counter.get() as f64));
            all.family(*description).series.extend(values);
        }
        for (description, series) in registered.gauges.values() {
            let values = series.iter().map(|(labels, gauge)| (labels.clone(), gauge.get()));
            all.family(*description).series.extend(values);
        }
        for observer in &registered.observers {
            observer(&mut all);
        }
        all.families.into_values().collect()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn find_or_make<T: Clone + Default>(series: &mut BTreeMap<Labels, T>, labels: &[(&str, &str)]) -> T {
    let mut labels = owned(labels);
    if series.len() >= SERIES_MAX && !series.contains_key(&labels) {
        labels = owned(&[("overflow", "true")]);
    }
    series.entry(labels).or_default().clone()
}

fn owned(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: Description = Description::counter("requests", "Requests.");

    #[test]
    fn the_same_labels_are_the_same_counter() {
        let metrics = Metrics::default();
        metrics.counter(REQUESTS, &[("a", "1"), ("b", "2")]).add(1);
        metrics.counter(REQUESTS, &[("b", "2"), ("a", "1")]).add(1);
        assert_eq!(metrics.gather()[0].series, [(owned(&[("a", "1"), ("b", "2")]), 2.0)]);
    }

    #[test]
    fn more_series_than_the_bound_are_counted_together() {
        let metrics = Metrics::default();
        for value in 0..SERIES_MAX + 10 {
            metrics.counter(REQUESTS, &[("value", &value.to_string())]).add(1);
        }
        let family = metrics.gather().remove(0);
        assert_eq!(family.series.len(), SERIES_MAX + 1);
        assert!(family.series.contains(&(owned(&[("overflow", "true")]), 10.0)));
    }

    #[test]
    fn observed_values_stand_beside_counted_ones() {
        let metrics = Metrics::default();
        metrics.counter(REQUESTS, &[("from", "counter")]).add(1);
        metrics.observe(|to| to.put(REQUESTS, &[("from", "observer")], 2.0));
        assert_eq!(metrics.gather()[0].series.len(), 2);
    }
}
