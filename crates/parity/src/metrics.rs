//! Metrics of two sides: series by their identity, each with the comparator of its kind.

mod expiry;
mod identities;
mod report;
mod series;
mod streams;
mod suggestions;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashSet;
use otlp::Temporality;
use otlp::view::{
    ExponentialHistogramPointView, HistogramPointView, KeyValueView, MetricData, MetricView, MetricsView,
    NumberPointView, Repeated, ResourceMetricsView, SummaryPointView,
};
use prom::names::MetricKind;

use crate::charts::{ChartBounds, Charts, Drawn};
use crate::counter::Count;
use crate::family::{Claim, Family};
use crate::gauge::Level;
use crate::histogram::{Buckets, Distribution};
use crate::kinds::kind_of;
use crate::members::Form;
use crate::names::{Collision, MetricIdentity, NameSettings, Names};
use crate::releases::ReleaseSettings;
use crate::series_sets::SetFinding;
use crate::suggestion::Suggestion;
use crate::verdict::{Demand, Side, Verdict};
use expiry::Expiry;
pub(crate) use identities::{Identities, IdentityHash, Known, Labels};
pub(crate) use report::worst;
use report::{Sight, metric_verdict};
use series::{Comparing, Judged, Seen, Shown};
use streams::{Leads, Streams};

/// How metrics are compared.
#[derive(Clone, Debug)]
pub struct MetricSettings {
    /// What is asked of a verdict.
    pub demand: Demand,
    /// Identities.
    pub names: NameSettings,
    /// What is older than the newest by this is sealed.
    pub settle_ns: u64,
    /// A side that writes through an aggregation of several writers trails by up to this.
    pub interval_ns: u64,
    /// A series that one side has not had for this long, while the other went on, has stopped.
    pub stopped_ns: u64,
    /// A series that neither side has had for this long is forgotten.
    pub expired_ns: u64,
    /// So many series are compared at most.
    pub series_max: usize,
    /// Of a thousand series so many are compared: the same ones on both sides.
    pub share_permille: u32,
    /// How releases are told apart.
    pub releases: ReleaseSettings,
    /// How much is remembered for charts.
    pub charts: ChartBounds,
}

impl Default for MetricSettings {
    fn default() -> Self {
        MetricSettings {
            demand: Demand::default(),
            names: NameSettings::default(),
            settle_ns: 120_000_000_000,
            interval_ns: 60_000_000_000,
            stopped_ns: 600_000_000_000,
            expired_ns: 7_200_000_000_000,
            series_max: 100_000,
            share_permille: 1000,
            releases: ReleaseSettings::default(),
            charts: ChartBounds::NONE,
        }
    }
}

/// A series after the mapping.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The common name of the metric.
    pub metric: String,
    /// Its labels, by name.
    pub labels: Vec<(String, String)>,
}

/// Compares the metrics of two sides.
#[derive(Debug, Default)]
pub struct Metrics {
    settings: MetricSettings,
    names: Names,
    streams: Streams,
    identities: Identities,
    /// What compares each series, when it was seen, and what it came to, by its number.
    comparing: Vec<Comparing>,
    seen: Vec<Seen>,
    judged: Vec<Option<Judged>>,
    /// The series that have points which are not judged yet.
    pending: Vec<u32>,
    expiry: Expiry,
    drawn: Drawn,
    left_out_points: u64,
    first_unix_ns: [u64; 2],
    newest_unix_ns: [u64; 2],
    /// Keys of resource attributes and of `target_info`, as labels, by side.
    targets: [BTreeSet<String>; 2],
    /// Resources whose keys are remembered.
    resources: HashSet<u64, foldhash::fast::RandomState>,
}

/// One series and its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesVerdict {
    /// Which.
    pub identity: Identity,
    /// What the comparison came to.
    pub verdict: Verdict,
}

/// One metric and its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricVerdict {
    /// The common name.
    pub name: String,
    /// How the legacy side calls it.
    pub legacy_names: Vec<String>,
    /// How the new side calls it.
    pub new_names: Vec<String>,
    /// Over all series: different if one is, equivalent if all are.
    pub verdict: Verdict,
    /// Series by verdict.
    pub counts: BTreeMap<&'static str, u64>,
    /// What sets of series differ in.
    pub sets: Vec<SetFinding>,
    /// The series, the ones that differ first; bounded.
    pub series: Vec<SeriesVerdict>,
}

/// Everything that is known of the metrics now.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsReport {
    /// Every metric, by name.
    pub metrics: Vec<MetricVerdict>,
    /// Names that cannot be told apart.
    pub collisions: Vec<Collision>,
    /// Points of series beyond the bound.
    pub left_out_points: u64,
    /// What would help.
    pub suggestions: Vec<Suggestion>,
}

/// A side that has had series for so long has missed the birth of a new one.
const BIRTH_KNOWN_NS: u64 = 180_000_000_000;
/// So many keys of targets are remembered.
const TARGET_KEYS_MAX: usize = 512;
/// So many quantiles of a summary are compared.
const QUANTILES_MAX: usize = 16;
/// So many bounds most histograms have, with the infinite one.
const BOUNDS_USUAL: usize = 16;
/// So many streams are remembered however few series there may be.
const STREAMS_MIN: usize = 1024;

/// Where a point belongs.
struct Place<'a> {
    side: Side,
    metric: &'a MetricIdentity,
    kind: MetricKind,
    resource: &'a ResourceMetricsView<'a>,
    writer: u64,
    /// The hash of everything that all points of a metric share.
    stream: u128,
}

/// A resource and scope, hashed.
#[derive(Clone, Copy)]
struct Origin {
    resource: u128,
    scope: u64,
}

impl Metrics {
    /// Compares by settings.
    pub fn new(settings: MetricSettings) -> Metrics {
        let names = Names::new(settings.names.clone());
        let streams = Streams::new(settings.series_max.saturating_mul(2).saturating_add(STREAMS_MIN));
        let drawn = Drawn::new(settings.charts);
        Metrics { settings, names, streams, drawn, ..Metrics::default() }
    }

    /// Takes in what one side carried.
    pub fn observe(&mut self, side: Side, metrics: MetricsView<'_>) {
        for resource in metrics.resource_metrics() {
            let of_resource = self.hash_of(resource.resource().attributes());
            if self.resources.insert(of_resource as u64 ^ side as u64) {
                for attribute in resource.resource().attributes() {
                    self.remember_key(side, attribute.key());
                }
                if self.resources.len() > TARGET_KEYS_MAX {
                    self.resources.clear();
                }
            }
            for scope in resource.scope_metrics() {
                let of_scope = self.streams.part(scope.scope().name().as_bytes());
                let origin = Origin { resource: of_resource, scope: of_scope };
                for metric in scope.metrics() {
                    self.observe_metric(side, &resource, origin, &metric);
                }
            }
        }
    }

    fn observe_metric(
        &mut self,
        side: Side,
        resource: &ResourceMetricsView<'_>,
        origin: Origin,
        metric: &MetricView<'_>,
    ) {
        let data = metric.data();
        let kind = kind_of(&data);
        let identity = self.names.look_up(side, metric.name(), metric.unit(), kind);
        let of_name = self.streams.part(metric.name().as_bytes());
        // Names that became one are writers of their own.
        let writer = origin.resource as u64 ^ origin.scope.rotate_left(1) ^ of_name.rotate_left(3);
        let stream = self.stream(side, kind, origin, [of_name, self.streams.part(metric.unit().as_bytes())]);
        let place = Place { side, metric: &identity, kind, resource, writer, stream };
        if identity.name == "target_info" {
            self.remember_target(side, &data);
        }
        match data {
            MetricData::Gauge { points } => points.for_each(|point| self.number(&place, Form::Cumulative, &point)),
            MetricData::Sum { points, temporality, .. } => {
                points.for_each(|point| self.number(&place, form(temporality), &point));
            }
            MetricData::Histogram { points, temporality } => {
                points.for_each(|point| self.explicit(&place, temporality, &point));
            }
            MetricData::ExponentialHistogram { points, temporality } => {
                points.for_each(|point| self.exponential(&place, temporality, &point));
            }
            MetricData::Summary { points } => points.for_each(|point| self.summary(&place, &point)),
            MetricData::Empty => {}
        }
    }

    /// The hash of what all points of a metric share.
    fn stream(&self, side: Side, kind: MetricKind, origin: Origin, of_metric: [u64; 2]) -> u128 {
        let mut bytes = [0; 42];
        bytes[..16].copy_from_slice(&origin.resource.to_le_bytes());
        bytes[16..24].copy_from_slice(&origin.scope.to_le_bytes());
        bytes[24..32].copy_from_slice(&of_metric[0].to_le_bytes());
        bytes[32..40].copy_from_slice(&of_metric[1].to_le_bytes());
        bytes[40..].copy_from_slice(&[side as u8, kind as u8]);
        self.streams.hash(&bytes)
    }

    /// The same for the same attributes in any order.
    fn hash_of(&self, attributes: Repeated<'_, KeyValueView<'_>>) -> u128 {
        attributes.messages().fold(0, |sum: u128, attribute| sum.wrapping_add(self.streams.hash(attribute)))
    }

    /// What `target_info` has as labels stands on no other series.
    fn remember_target(&mut self, side: Side, data: &MetricData<'_>) {
        let (MetricData::Gauge { points } | MetricData::Sum { points, .. }) = data else { return };
        for attribute in (*points).flat_map(|point| point.attributes()) {
            self.remember_key(side, attribute.key());
        }
    }

    fn remember_key(&mut self, side: Side, key: &str) {
        let keys = &mut self.targets[side as usize];
        if keys.len() < TARGET_KEYS_MAX {
            let name = crate::names::label_name(key);
            keys.insert(name);
        }
    }

    fn number(&mut self, place: &Place<'_>, form: Form, point: &NumberPointView<'_>) {
        let Some(value) = point.value() else { return };
        let value = value.as_double() * place.metric.scale;
        let (start_unix_ns, time_unix_ns) = (point.start_time_unix_nano(), point.time_unix_nano());
        let Some((at, writer)) = self.series(place, point.attributes(), time_unix_ns) else { return };
        self.seen[at].deltas[place.side as usize] |= form == Form::Delta;
        let compared = match &mut self.comparing[at] {
            Comparing::Counter(counted) => {
                counted.observe(place.side, writer, form, Count { time_unix_ns, start_unix_ns, value })
            }
            Comparing::Gauge(levelled) => levelled.observe(place.side, writer, Level { time_unix_ns, value }),
            Comparing::Histogram(_) | Comparing::Summary(_) => None,
        };
        self.draw(at, place.side, compared);
    }

    /// What is drawn is what is compared: of several writers, what they come to together.
    fn draw(&mut self, at: usize, side: Side, compared: Option<Shown>) {
        if let Some(shown) = compared {
            self.drawn.add(at, side, shown);
        }
    }

    fn explicit(&mut self, place: &Place<'_>, temporality: Temporality, point: &HistogramPointView<'_>) {
        if point.flags() & 1 == 1 {
            return;
        }
        let mut below = 0.0;
        let bounds = point.explicit_bounds().chain([f64::INFINITY]);
        let mut cumulative = Vec::with_capacity(BOUNDS_USUAL);
        cumulative.extend(bounds.zip(point.bucket_counts()).map(|(bound, count)| {
            below += count as f64;
            (bound * place.metric.scale, below)
        }));
        let distribution = Distribution {
            time_unix_ns: point.time_unix_nano(),
            start_unix_ns: point.start_time_unix_nano(),
            count: point.count() as f64,
            sum: point.sum().map(|sum| sum * place.metric.scale),
            buckets: Buckets::Explicit(cumulative),
        };
        self.distribution(place, temporality, point.attributes(), distribution);
    }

    fn exponential(&mut self, place: &Place<'_>, temporality: Temporality, point: &ExponentialHistogramPointView<'_>) {
        if point.flags() & 1 == 1 {
            return;
        }
        let positive = point.positive();
        let distribution = Distribution {
            time_unix_ns: point.time_unix_nano(),
            start_unix_ns: point.start_time_unix_nano(),
            count: point.count() as f64,
            sum: point.sum().map(|sum| sum * place.metric.scale),
            buckets: Buckets::Exponential {
                scale: point.scale(),
                zero: point.zero_count() as f64,
                negative: point.negative().bucket_counts().map(|count| count as f64).sum(),
                offset: positive.offset(),
                positive: positive.bucket_counts().map(|count| count as f64).collect(),
            },
        };
        self.distribution(place, temporality, point.attributes(), distribution);
    }

    fn distribution(
        &mut self,
        place: &Place<'_>,
        temporality: Temporality,
        attributes: Repeated<'_, KeyValueView<'_>>,
        distribution: Distribution,
    ) {
        let Some((at, writer)) = self.series(place, attributes, distribution.time_unix_ns) else { return };
        let Comparing::Histogram(histogram) = &mut self.comparing[at] else { return };
        let compared = histogram.observe_writer(place.side, writer, form(temporality), distribution);
        self.draw(at, place.side, compared);
    }

    fn summary(&mut self, place: &Place<'_>, point: &SummaryPointView<'_>) {
        if point.flags() & 1 == 1 {
            return;
        }
        let (start_unix_ns, time_unix_ns) = (point.start_time_unix_nano(), point.time_unix_nano());
        let Some((at, writer)) = self.series(place, point.attributes(), time_unix_ns) else { return };
        let Comparing::Summary(summary) = &mut self.comparing[at] else { return };
        let count = Count { time_unix_ns, start_unix_ns, value: point.count() as f64 };
        let compared = summary.count(place.side, writer, count);
        let value = point.sum() * place.metric.scale;
        summary.sum(place.side, writer, Count { time_unix_ns, start_unix_ns, value });
        for value in point.quantile_values().take(QUANTILES_MAX) {
            let level = Level { time_unix_ns, value: value.value() * place.metric.scale };
            summary.quantile(place.side, value.quantile(), level);
        }
        self.draw(at, place.side, compared);
    }

    /// The number of the series of a point and the writer of it; none where it is not compared.
    fn series(
        &mut self,
        place: &Place<'_>,
        attributes: Repeated<'_, KeyValueView<'_>>,
        time_unix_ns: u64,
    ) -> Option<(usize, u64)> {
        let of_point = self.hash_of(attributes);
        let stream = place.stream.wrapping_add(of_point);
        let leads = self.streams.get(stream).unwrap_or_else(|| {
            let leads = self.meet(place, attributes);
            self.streams.put(stream, leads);
            leads
        });
        let number = match leads {
            Leads::To(number) => number,
            Leads::NotSampled => return None,
            Leads::LeftOut => {
                self.left_out_points += 1;
                return None;
            }
        };
        let (at, side) = (number as usize, place.side as usize);
        self.newest_unix_ns[side] = self.newest_unix_ns[side].max(time_unix_ns);
        let first = &mut self.first_unix_ns[side];
        if *first == 0 || time_unix_ns < *first {
            *first = time_unix_ns;
        }
        let seen = &mut self.seen[at];
        seen.mixed_kinds |= !self.comparing[at].suits(place.kind);
        if seen.presence[side].is_new() {
            self.identities.is_seen(number, place.side);
            if time_unix_ns > *first + BIRTH_KNOWN_NS
                && let Comparing::Counter(counted) = &mut self.comparing[at]
            {
                counted.is_born_late(place.side);
            }
        }
        seen.presence[side].see(time_unix_ns);
        if !seen.is_pending {
            seen.is_pending = true;
            self.pending.push(number);
        }
        Some((at, place.writer ^ (of_point as u64).rotate_left(2)))
    }

    /// Finds out where a stream leads to that was not met before, or not for long.
    fn meet(&mut self, place: &Place<'_>, attributes: Repeated<'_, KeyValueView<'_>>) -> Leads {
        let mut hash = IdentityHash::of_metric(&place.metric.name);
        self.labels(place, attributes, |name, value| hash.label(name, &value));
        let hash = hash.value();
        if hash % 1000 >= u64::from(self.settings.share_permille) {
            return Leads::NotSampled;
        }
        let mut labels = Labels::new();
        self.labels(place, attributes, |name, value| labels.push((Arc::clone(name), value)));
        labels.sort_unstable();
        if let Some(known) = self.identities.find(hash, &place.metric.name, &labels) {
            return Leads::To(known);
        }
        let series_max = self.settings.series_max;
        if self.identities.len() >= series_max {
            return Leads::LeftOut;
        }
        let Some(number) = self.identities.insert(hash, &place.metric.name, &labels, series_max) else {
            return Leads::LeftOut;
        };
        identities::reserve(&mut self.comparing);
        identities::reserve(&mut self.seen);
        identities::reserve(&mut self.judged);
        self.comparing.push(Comparing::new(place.kind));
        self.seen.push(Seen::default());
        self.judged.push(None);
        self.drawn.begin(self.comparing.iter().map(Comparing::is_count));
        Leads::To(number)
    }

    /// The labels of a point, in no order.
    fn labels<'a>(
        &mut self,
        place: &Place<'a>,
        attributes: Repeated<'a, KeyValueView<'a>>,
        mut each: impl FnMut(&Arc<str>, Cow<'a, str>),
    ) {
        let of_resource = place.resource.resource().attributes();
        let own = attributes.map(|attribute| (attribute, true));
        for (attribute, is_own) in own.chain(of_resource.map(|attribute| (attribute, false))) {
            let key = attribute.key();
            if (is_own || self.names.is_resource_label(key))
                && let Some(name) = self.names.look_up_label(place.side, place.metric, key)
            {
                each(&name, attribute.value().to_text());
            }
        }
    }

    /// The newest time up to which nothing more is expected of either side.
    pub fn watermark(&self) -> u64 {
        let [legacy, new] = self.newest_unix_ns;
        legacy.min(new).saturating_sub(self.settings.settle_ns)
    }

    /// Seals everything up to the watermark and gives every verdict, metrics judged among themselves.
    pub fn close(&mut self, watermark_unix_ns: u64) -> MetricsReport {
        self.judge(watermark_unix_ns);
        let family = Family::of(self.claims(), 1.0 - self.settings.demand.confidence);
        self.report(watermark_unix_ns, &family)
    }

    /// What is to be judged together with others.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Claim> {
        self.judged.iter().flatten().filter_map(Judged::claim)
    }

    /// What the first series looked like on both sides.
    pub fn charts(&self) -> Charts {
        let charts = self.drawn.charts();
        Charts::new(charts.map(|(number, chart)| (self.identities.get(number).identity(), chart.clone())))
    }

    /// Every verdict, as it remains in a family.
    pub(crate) fn report(&mut self, watermark_unix_ns: u64, family: &Family) -> MetricsReport {
        self.identities.sort();
        let sight = Sight {
            names: &self.names,
            targets: &self.targets,
            identities: &self.identities,
            seen: &self.seen,
            judged: &self.judged,
            family,
            watermark_unix_ns,
        };
        let mut metrics: Vec<MetricVerdict> =
            self.identities.metrics().map(|metric| metric_verdict(metric, &sight)).collect();
        let suggestions = match self.names.are_of_a_replica() {
            true => Vec::new(),
            false => suggestions::suggest(&sight, &self.comparing),
        };
        suggestions::tell(&suggestions, &mut metrics);
        MetricsReport {
            metrics,
            suggestions,
            collisions: self.names.collisions(),
            left_out_points: self.left_out_points,
        }
    }

    /// Seals and judges what has points that were not judged yet. Of the rest, nothing can have changed.
    pub(crate) fn judge(&mut self, watermark_unix_ns: u64) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|number| {
            let at = *number as usize;
            let (comparing, seen) = (&mut self.comparing[at], &mut self.seen[at]);
            comparing.seal(watermark_unix_ns, &self.settings);
            let verdict = comparing.verdict(self.identities.get(*number), seen, &self.settings);
            let strength = comparing.strength(&verdict, &self.settings);
            self.judged[at] = Some(Judged::of(verdict, strength));
            // What is newer than the watermark waits to be sealed.
            seen.is_pending = seen.presence.iter().any(|presence| presence.last_unix_ns() > watermark_unix_ns);
            seen.is_pending
        });
        self.pending = pending;
        self.forget();
    }
}

impl Identity {
    /// The same on both sides and in every process.
    pub fn hash(&self) -> u64 {
        let mut hash = IdentityHash::of_metric(&self.metric);
        self.labels.iter().for_each(|(name, value)| hash.label(name, value));
        hash.value()
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.metric)?;
        if !self.labels.is_empty() {
            let labels: Vec<String> = self.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            write!(f, "{{{}}}", labels.join(", "))?;
        }
        Ok(())
    }
}

const fn form(temporality: Temporality) -> Form {
    match temporality {
        Temporality::Cumulative => Form::Cumulative,
        Temporality::Delta | Temporality::Unspecified => Form::Delta,
    }
}

#[cfg(test)]
mod tests;
