//! Releases: whether one build of a service measures otherwise than those before it.
//!
//! A release that counts half of what the others count, or shows twice their level, is more often instrumented wrongly
//! than twice as good. What is measured is put together by metric, service and build tag in windows of time, for each side.
//! A level is held against that of the releases before it in the same window, or in the same hour of an earlier day. A
//! count says more about traffic than about a build; so a release is expected to have the share of a count that it has of
//! the other counts of its service, whatever that is.
//!
//! A release deviates where it lies beyond one standard deviation, by robust estimates, in so many windows as chance does
//! not make ([`crate::family`]). Deviating on one side alone, it is seen wrongly there; on both, it is another release.

mod evidence;
mod history;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hashbrown::HashMap;
use otlp::Temporality;
use otlp::view::{KeyValueView, MetricData, MetricsView, Repeated};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::family::{Claim, Family};
use crate::kinds::{hash_of, kind_of};
use crate::names::{NameSettings, Names};
use crate::verdict::{Finding, Side};
use service::{Cell, Service};

/// How releases are compared.
#[derive(Clone, Debug)]
pub struct ReleaseSettings {
    /// The resource attribute that names a build; nothing is compared where it is empty.
    pub attribute: String,
    /// The length of a window.
    pub window_ns: u64,
    /// So many pairs of a metric and a service are compared at most.
    pub groups_max: usize,
    /// So many counts are followed at most, one for each series of each instance and side.
    pub series_max: usize,
}

impl Default for ReleaseSettings {
    fn default() -> Self {
        ReleaseSettings {
            attribute: "service.version".to_owned(),
            window_ns: 300_000_000_000,
            groups_max: 2000,
            series_max: 100_000,
        }
    }
}

/// A release that deviates, but not on one side alone as far as that is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleaseRemark {
    /// The common name of the metric.
    pub metric: String,
    /// The service.
    pub service: String,
    /// The build tag.
    pub release: String,
    /// On which side it deviates; none where on both.
    pub side: Option<Side>,
    /// By how much it is higher than the releases before it: 0.4 is 40 %.
    pub ratio: f64,
    /// The start of the first window of it.
    pub since_unix_ns: Option<u64>,
    /// All of that in words.
    pub sentence: String,
}

/// What the releases came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ReleasesReport {
    /// What deviates on one side alone, by a name of its own.
    pub(crate) different: Vec<(String, Finding)>,
    pub(crate) remarks: Vec<ReleaseRemark>,
}

/// What of a metric is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Of {
    /// How often something happened.
    Count,
    /// How high something stands.
    Level,
    /// The mean of what was recorded.
    Mean,
}

/// A count of one series of one instance, as it was last seen.
#[derive(Clone, Copy, Debug)]
struct Last {
    time_unix_ns: u64,
    values: [f64; 2],
}

/// Compares the releases of services.
#[derive(Debug)]
pub(crate) struct Releases {
    settings: ReleaseSettings,
    names: Names,
    services: BTreeMap<String, Service>,
    groups: usize,
    last: HashMap<u64, Last, foldhash::fast::RandomState>,
}

/// Where a point belongs.
struct Place<'a> {
    service: &'a str,
    release: usize,
    side: Side,
    metric: &'a str,
    scale: f64,
    /// The instance, the metric and the release.
    stream: u64,
}

impl Releases {
    pub(crate) fn new(settings: ReleaseSettings, names: NameSettings) -> Releases {
        let (services, last) = (BTreeMap::new(), HashMap::default());
        Releases { settings, names: Names::new(names), services, groups: 0, last }
    }

    /// Takes in what one side carried. What names no build costs one look at its resource.
    pub(crate) fn observe(&mut self, side: Side, metrics: MetricsView<'_>) {
        if self.settings.attribute.is_empty() {
            return;
        }
        for resource in metrics.resource_metrics() {
            let attributes = resource.resource().attributes();
            let Some(release) = attributes.get(&self.settings.attribute) else { continue };
            let service =
                attributes.get("service.name").map_or_else(Default::default, otlp::view::AnyValueView::to_text);
            let Some(release) = self.release(&service, &release.to_text()) else { continue };
            let instance = hash_of(attributes) ^ side as u64;
            for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
                let data = metric.data();
                let identity = self.names.look_up(side, metric.name(), metric.unit(), kind_of(&data));
                let stream = instance ^ xxh3_64(metric.name().as_bytes()).rotate_left(5);
                let (metric, scale) = (identity.name.as_str(), identity.scale);
                self.metric(&Place { service: &service, release, side, metric, scale, stream }, &data);
            }
        }
    }

    /// The number of a release of a service; none where there are too many.
    fn release(&mut self, service: &str, release: &str) -> Option<usize> {
        if self.services.len() >= self.settings.groups_max && !self.services.contains_key(service) {
            return None;
        }
        self.services.entry(service.to_owned()).or_default().release(release)
    }

    fn metric(&mut self, place: &Place<'_>, data: &MetricData<'_>) {
        match *data {
            MetricData::Gauge { points } | MetricData::Sum { points, is_monotonic: false, .. } => {
                for point in points {
                    if let Some(value) = point.value() {
                        let cell = Cell { sum: value.as_double() * place.scale, weight: 1.0 };
                        self.add(place, Of::Level, point.time_unix_nano(), cell);
                    }
                }
            }
            MetricData::Sum { points, temporality, .. } => {
                for point in points {
                    let Some(value) = point.value() else { continue };
                    let values = [value.as_double() * place.scale, 0.0];
                    let time = point.time_unix_nano();
                    if let Some([count, _]) = self.increase(place, temporality, point.attributes(), time, values) {
                        self.add(place, Of::Count, time, Cell { sum: count, weight: 1.0 });
                    }
                }
            }
            MetricData::Histogram { points, temporality } => {
                for point in points.filter(|point| point.flags() & 1 == 0) {
                    let values = [point.count() as f64, point.sum().unwrap_or(0.0) * place.scale];
                    self.recorded(place, temporality, point.attributes(), point.time_unix_nano(), values);
                }
            }
            MetricData::ExponentialHistogram { points, temporality } => {
                for point in points.filter(|point| point.flags() & 1 == 0) {
                    let values = [point.count() as f64, point.sum().unwrap_or(0.0) * place.scale];
                    self.recorded(place, temporality, point.attributes(), point.time_unix_nano(), values);
                }
            }
            MetricData::Summary { points } => {
                for point in points.filter(|point| point.flags() & 1 == 0) {
                    let values = [point.count() as f64, point.sum() * place.scale];
                    let time = point.time_unix_nano();
                    self.recorded(place, Temporality::Cumulative, point.attributes(), time, values);
                }
            }
            MetricData::Empty => {}
        }
    }

    /// A count and a sum: how often, and how much in the mean.
    fn recorded(
        &mut self,
        place: &Place<'_>,
        temporality: Temporality,
        attributes: Repeated<'_, KeyValueView<'_>>,
        time_unix_ns: u64,
        values: [f64; 2],
    ) {
        let Some([count, sum]) = self.increase(place, temporality, attributes, time_unix_ns, values) else { return };
        self.add(place, Of::Count, time_unix_ns, Cell { sum: count, weight: 1.0 });
        if count > 0.0 && sum != 0.0 {
            self.add(place, Of::Mean, time_unix_ns, Cell { sum, weight: count });
        }
    }

    /// By how much counts rose since they were last seen; none where that is not known.
    fn increase(
        &mut self,
        place: &Place<'_>,
        temporality: Temporality,
        attributes: Repeated<'_, KeyValueView<'_>>,
        time_unix_ns: u64,
        values: [f64; 2],
    ) -> Option<[f64; 2]> {
        if temporality != Temporality::Cumulative {
            return Some(values);
        }
        let key = place.stream ^ hash_of(attributes).rotate_left(9);
        if self.last.len() >= self.settings.series_max && !self.last.contains_key(&key) {
            return None;
        }
        let now = Last { time_unix_ns, values };
        let before = match self.last.insert(key, now)? {
            before if before.time_unix_ns >= time_unix_ns => {
                self.last.insert(key, before);
                return None;
            }
            before => before.values,
        };
        // What falls has begun anew.
        Some(if values[0] < before[0] { values } else { [values[0] - before[0], values[1] - before[1]] })
    }

    fn add(&mut self, place: &Place<'_>, of: Of, time_unix_ns: u64, cell: Cell) {
        let Some(service) = self.services.get_mut(place.service) else { return };
        if !cell.sum.is_finite() {
            return;
        }
        let may_grow = self.groups < self.settings.groups_max;
        let before = service.groups();
        if let Some(group) = service.group(place.metric, of, may_grow) {
            let window_unix_ns = time_unix_ns - time_unix_ns % self.settings.window_ns.max(1);
            service.add(window_unix_ns, (group, place.side, place.release), cell);
        }
        self.groups += service.groups() - before;
    }

    /// Takes the windows in that end before the watermark.
    pub(crate) fn seal(&mut self, watermark_unix_ns: u64, margin_ratio: f64) {
        let window_ns = self.settings.window_ns;
        self.services.values_mut().for_each(|service| service.seal(watermark_unix_ns, window_ns, margin_ratio));
        // What was not seen for a day has gone with its release.
        let old = watermark_unix_ns.saturating_sub(86_400_000_000_000);
        if self.last.len() >= self.settings.series_max && watermark_unix_ns < u64::MAX / 2 {
            self.last.retain(|_, last| last.time_unix_ns >= old);
        }
    }

    /// What is to be judged together with others.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Claim> {
        self.services.values().flat_map(Service::claims)
    }

    /// What remains of it in a family.
    pub(crate) fn report(&self, family: &Family) -> ReleasesReport {
        let mut report = ReleasesReport::default();
        self.services.iter().for_each(|(name, service)| service.report(name, family, &mut report));
        report
    }
}
