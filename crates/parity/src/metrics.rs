//! Metrics of two sides: series by their identity, each with the comparator of its kind.

mod report;

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::{HashMap, HashSet};
use otlp::Temporality;
use otlp::view::{
    ExponentialHistogramPointView, HistogramPointView, KeyValueView, MetricData, MetricView, MetricsView,
    NumberPointView, Repeated, ResourceMetricsView, SummaryPointView,
};
use prom::names::MetricKind;
use xxhash_rust::xxh3::xxh3_64;

use crate::counter::{Count, Counter};
use crate::evidence::EValue;
use crate::family::Family;
use crate::gauge::{Gauge, Level};
use crate::histogram::{Buckets, Distribution, Histogram};
use crate::members::{Form, Members};
use crate::names::{Collision, MetricIdentity, NameSettings, Names};
use crate::series_sets::{Presence, SetFinding};
use crate::verdict::{Cause, Demand, Finding, Reason, Side, Verdict};
pub(crate) use report::worst;
use report::{Judged, JudgedMetrics, Sight};

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
    /// So many series are compared at most.
    pub series_max: usize,
    /// Of a thousand series so many are compared: the same ones on both sides.
    pub share_permille: u32,
}

impl Default for MetricSettings {
    fn default() -> Self {
        MetricSettings {
            demand: Demand::default(),
            names: NameSettings::default(),
            settle_ns: 120_000_000_000,
            interval_ns: 60_000_000_000,
            stopped_ns: 600_000_000_000,
            series_max: 100_000,
            share_permille: 1000,
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

#[derive(Clone, Debug)]
enum Comparing {
    Counter(Box<Counter>),
    Gauge(Box<Gauge>),
    Histogram(Box<Histogram>),
    Summary(Box<Summary>),
}

/// A summary: its count as a counter, its quantiles only where one instance writes them.
#[derive(Clone, Debug, Default)]
struct Summary {
    count: Counter,
    quantiles: Vec<(f64, Gauge)>,
}

#[derive(Clone, Debug)]
struct Series {
    comparing: Comparing,
    members: [Members; 2],
    presence: [Presence; 2],
    mixed_kinds: bool,
    /// Whether a side sends deltas.
    deltas: [bool; 2],
    /// The writer of a gauge, and whether there was another one.
    writers: [Option<u64>; 2],
    has_several_writers: bool,
}

/// Compares the metrics of two sides.
#[derive(Debug, Default)]
pub struct Metrics {
    settings: MetricSettings,
    names: Names,
    series: HashMap<Identity, Series, foldhash::fast::RandomState>,
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
}

/// So many events of one side make the silence of the other one's deltas a stop.
const STOPPED_EVENTS_MIN: f64 = 10.0;
/// A side that has had series for so long has missed the birth of a new one.
const BIRTH_KNOWN_NS: u64 = 180_000_000_000;
/// So many keys of targets are remembered.
const TARGET_KEYS_MAX: usize = 512;

/// Where a point belongs.
struct Place<'a> {
    side: Side,
    metric: &'a MetricIdentity,
    kind: MetricKind,
    resource: &'a ResourceMetricsView<'a>,
    writer: u64,
}

impl Metrics {
    /// Compares by settings.
    pub fn new(settings: MetricSettings) -> Metrics {
        let names = Names::new(settings.names.clone());
        Metrics { settings, names, ..Metrics::default() }
    }

    /// Takes in what one side carried.
    pub fn observe(&mut self, side: Side, metrics: MetricsView<'_>) {
        for resource in metrics.resource_metrics() {
            let of_resource = hash_of(resource.resource().attributes());
            if self.resources.insert(of_resource ^ side as u64) {
                for attribute in resource.resource().attributes() {
                    self.remember_key(side, attribute.key());
                }
                if self.resources.len() > TARGET_KEYS_MAX {
                    self.resources.clear();
                }
            }
            for scope in resource.scope_metrics() {
                let writer = of_resource ^ xxh3_64(scope.scope().name().as_bytes()).rotate_left(1);
                for metric in scope.metrics() {
                    self.observe_metric(side, &resource, writer, &metric);
                }
            }
        }
    }

    fn observe_metric(&mut self, side: Side, resource: &ResourceMetricsView<'_>, writer: u64, metric: &MetricView<'_>) {
        let data = metric.data();
        let kind = kind_of(&data);
        let identity = self.names.metric(side, metric.name(), metric.unit(), kind);
        // Names that became one are writers of their own.
        let writer = writer ^ xxh3_64(metric.name().as_bytes()).rotate_left(3);
        let place = Place { side, metric: &identity, kind, resource, writer };
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
        let Some((series, writer)) = self.series(place, point.attributes(), time_unix_ns) else { return };
        series.deltas[place.side as usize] |= form == Form::Delta;
        match &mut series.comparing {
            Comparing::Counter(counter) => {
                let count = Count { time_unix_ns, start_unix_ns, value };
                if let Some(count) = series.members[place.side as usize].add(writer, form, count) {
                    counter.observe(place.side, count);
                }
                if form == Form::Delta || series.members[place.side as usize].are_several() {
                    counter.adds_up(place.side);
                }
            }
            Comparing::Gauge(gauge) => {
                gauge.observe(place.side, Level { time_unix_ns, value });
                let known = series.writers[place.side as usize].get_or_insert(writer);
                series.has_several_writers |= *known != writer;
            }
            Comparing::Histogram(_) | Comparing::Summary(_) => {}
        }
    }

    fn explicit(&mut self, place: &Place<'_>, temporality: Temporality, point: &HistogramPointView<'_>) {
        if point.flags() & 1 == 1 {
            return;
        }
        let mut below = 0.0;
        let bounds = point.explicit_bounds().chain([f64::INFINITY]);
        let cumulative = bounds.zip(point.bucket_counts()).map(|(bound, count)| {
            below += count as f64;
            (bound * place.metric.scale, below)
        });
        let distribution = Distribution {
            time_unix_ns: point.time_unix_nano(),
            start_unix_ns: point.start_time_unix_nano(),
            count: point.count() as f64,
            sum: point.sum().map(|sum| sum * place.metric.scale),
            buckets: Buckets::Explicit(cumulative.collect()),
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
        let Some((series, writer)) = self.series(place, attributes, distribution.time_unix_ns) else { return };
        let Comparing::Histogram(histogram) = &mut series.comparing else { return };
        histogram.observe_writer(place.side, writer, form(temporality), distribution);
    }

    fn summary(&mut self, place: &Place<'_>, point: &SummaryPointView<'_>) {
        if point.flags() & 1 == 1 {
            return;
        }
        let (start_unix_ns, time_unix_ns) = (point.start_time_unix_nano(), point.time_unix_nano());
        let Some((series, writer)) = self.series(place, point.attributes(), time_unix_ns) else { return };
        let count = Count { time_unix_ns, start_unix_ns, value: point.count() as f64 };
        let count = series.members[place.side as usize].add(writer, Form::Cumulative, count);
        let Comparing::Summary(summary) = &mut series.comparing else { return };
        if let Some(count) = count {
            summary.count.observe(place.side, count);
        }
        for value in point.quantile_values().take(16) {
            let at = summary.quantiles.iter().position(|(quantile, _)| *quantile == value.quantile());
            let at = at.unwrap_or_else(|| {
                summary.quantiles.push((value.quantile(), Gauge::default()));
                summary.quantiles.len() - 1
            });
            let level = Level { time_unix_ns, value: value.value() * place.metric.scale };
            summary.quantiles[at].1.observe(place.side, level);
        }
    }

    /// The series of a point and the writer of it; none where it is not compared.
    fn series(
        &mut self,
        place: &Place<'_>,
        attributes: Repeated<'_, KeyValueView<'_>>,
        time_unix_ns: u64,
    ) -> Option<(&mut Series, u64)> {
        let mut labels = Vec::new();
        let own = attributes.map(|attribute| (attribute.key(), attribute.value().to_text()));
        let of_resource = place.resource.resource().attributes();
        let of_resource = of_resource.filter(|attribute| self.names.is_resource_label(attribute.key()));
        let of_resource = of_resource.map(|attribute| (attribute.key(), attribute.value().to_text()));
        for (key, value) in own.chain(of_resource) {
            if let Some(name) = self.names.label(place.side, place.metric, key) {
                labels.push((name, value.into_owned()));
            }
        }
        labels.sort_unstable();
        let identity = Identity { metric: place.metric.name.clone(), labels };
        if self.settings.share_permille < 1000 && identity.hash() % 1000 >= u64::from(self.settings.share_permille) {
            return None;
        }
        if self.series.len() >= self.settings.series_max && !self.series.contains_key(&identity) {
            self.left_out_points += 1;
            return None;
        }
        self.newest_unix_ns[place.side as usize] = self.newest_unix_ns[place.side as usize].max(time_unix_ns);
        let writer = place.writer ^ hash_of(attributes).rotate_left(2);
        let series = self.series.entry(identity).or_insert_with(|| Series::new(place.kind));
        series.mixed_kinds |= !series.comparing.suits(place.kind);
        let first = &mut self.first_unix_ns[place.side as usize];
        if *first == 0 || time_unix_ns < *first {
            *first = time_unix_ns;
        }
        if series.presence[place.side as usize].is_new()
            && time_unix_ns > *first + BIRTH_KNOWN_NS
            && let Comparing::Counter(counter) = &mut series.comparing
        {
            counter.is_born_late(place.side);
        }
        series.presence[place.side as usize].see(time_unix_ns);
        Some((series, writer))
    }

    /// The newest time up to which nothing more is expected of either side.
    pub fn watermark(&self) -> u64 {
        let [legacy, new] = self.newest_unix_ns;
        legacy.min(new).saturating_sub(self.settings.settle_ns)
    }

    /// Seals everything up to the watermark and gives every verdict, metrics judged among themselves.
    pub fn close(&mut self, watermark_unix_ns: u64) -> MetricsReport {
        let level = 1.0 - self.settings.demand.confidence;
        let judged = self.judge(watermark_unix_ns);
        let family = Family::of(judged.claims(), level);
        judged.report(&family)
    }

    /// Seals everything up to the watermark and judges each series by itself.
    pub(crate) fn judge(&mut self, watermark_unix_ns: u64) -> JudgedMetrics<'_> {
        let settings = &self.settings;
        let mut judged = Vec::with_capacity(self.series.len());
        for (identity, series) in &mut self.series {
            series.seal(watermark_unix_ns, settings);
            let verdict = series.verdict(identity, settings);
            let strength = series.strength(&verdict, settings);
            let (presence, deltas) = (series.presence.clone(), series.deltas);
            judged.push(Judged { identity, verdict, strength, presence, deltas });
        }
        let sight = Sight { names: &self.names, targets: &self.targets, watermark_unix_ns };
        JudgedMetrics { series: judged, sight, left_out_points: self.left_out_points }
    }
}

impl Identity {
    /// The same on both sides and in every process.
    pub fn hash(&self) -> u64 {
        let labels = self.labels.iter().fold(0u64, |sum, (name, value)| {
            sum.wrapping_add(xxh3_64(name.as_bytes()) ^ xxh3_64(value.as_bytes()).rotate_left(17))
        });
        xxh3_64(self.metric.as_bytes()) ^ labels
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

impl Comparing {
    fn suits(&self, kind: MetricKind) -> bool {
        use MetricKind::{ExponentialHistogram, Gauge, Histogram, MonotonicSum, NonMonotonicSum, Summary, Unknown};
        match self {
            Comparing::Counter(_) => matches!(kind, MonotonicSum),
            Comparing::Gauge(_) => matches!(kind, Gauge | NonMonotonicSum | Unknown),
            Comparing::Histogram(_) => matches!(kind, Histogram | ExponentialHistogram),
            Comparing::Summary(_) => matches!(kind, Summary),
        }
    }
}

impl Series {
    fn new(kind: MetricKind) -> Series {
        let comparing = match kind {
            MetricKind::MonotonicSum => Comparing::Counter(Box::default()),
            MetricKind::Histogram | MetricKind::ExponentialHistogram => Comparing::Histogram(Box::default()),
            MetricKind::Summary => Comparing::Summary(Box::default()),
            MetricKind::Gauge | MetricKind::NonMonotonicSum | MetricKind::Unknown => Comparing::Gauge(Box::default()),
        };
        Series {
            comparing,
            members: Default::default(),
            presence: Default::default(),
            mixed_kinds: false,
            deltas: [false; 2],
            writers: [None; 2],
            has_several_writers: false,
        }
    }

    /// Where several writers add up, a side trails itself by up to an interval of theirs.
    fn demand(&self, settings: &MetricSettings) -> Demand {
        let trails = self.members.iter().any(Members::are_several);
        let skew_ns = settings.demand.skew_ns + if trails { settings.interval_ns } else { 0 };
        Demand { skew_ns, ..settings.demand }
    }

    fn seal(&mut self, watermark_unix_ns: u64, settings: &MetricSettings) {
        let demand = self.demand(settings);
        match &mut self.comparing {
            Comparing::Counter(counter) => counter.seal(watermark_unix_ns, &demand),
            Comparing::Gauge(gauge) => gauge.seal(watermark_unix_ns, &demand),
            Comparing::Histogram(histogram) => histogram.seal(watermark_unix_ns, &demand),
            Comparing::Summary(summary) => {
                summary.count.seal(watermark_unix_ns, &demand);
                summary.quantiles.iter_mut().for_each(|(_, gauge)| gauge.seal(watermark_unix_ns, &demand));
            }
        }
    }

    fn verdict(&self, identity: &Identity, settings: &MetricSettings) -> Verdict {
        if self.mixed_kinds {
            return Verdict::NotComparable { reason: Reason::DifferentKinds };
        }
        for side in [Side::Legacy, Side::New] {
            if self.members[side as usize].share_an_identity() {
                let evidence = "start times go back and forth: several writers have the same attributes".to_owned();
                let cause = Cause::DuplicateWriters { side };
                return Verdict::Different(Finding { cause, evidence, since_unix_ns: None });
            }
        }
        if let Some(stopped) = self.stopped(settings) {
            return stopped;
        }
        let demand = self.demand(settings);
        match &self.comparing {
            Comparing::Counter(counter) => self.named(counter.verdict(&demand)),
            Comparing::Gauge(_) if self.has_several_writers && is_percentile(identity) => {
                Verdict::NotComparable { reason: Reason::PercentileOfPercentiles }
            }
            Comparing::Gauge(gauge) => gauge.verdict(&demand),
            Comparing::Histogram(histogram) => histogram.verdict(&demand),
            Comparing::Summary(_) if self.members.iter().any(Members::are_several) => {
                Verdict::NotComparable { reason: Reason::PercentileOfPercentiles }
            }
            Comparing::Summary(summary) => {
                let quantiles = summary.quantiles.iter().map(|(_, gauge)| gauge.verdict(&demand));
                worst(std::iter::once(summary.count.verdict(&demand)).chain(quantiles))
            }
        }
    }
}

impl Series {
    /// How strong a difference is. Only what is lost and how far levels are apart may rest on chance.
    fn strength(&self, verdict: &Verdict, settings: &MetricSettings) -> EValue {
        let Verdict::Different(Finding { cause, .. }) = verdict else { return EValue::NOTHING };
        let may_be_chance = matches!(
            cause,
            Cause::Loss { .. }
                | Cause::DeltasLost { .. }
                | Cause::Duplicated { .. }
                | Cause::UnitChanged { .. }
                | Cause::Level { .. }
        );
        match &self.comparing {
            _ if !may_be_chance => EValue::CERTAIN,
            Comparing::Counter(counter) => counter.strength(),
            Comparing::Gauge(gauge) => gauge.strength(),
            Comparing::Histogram(histogram) => histogram.strength(),
            Comparing::Summary(summary) => summary.strength(cause, &self.demand(settings)),
        }
    }
}

impl Summary {
    /// That of the part which differs by this cause, as one of several tests.
    fn strength(&self, cause: &Cause, demand: &Demand) -> EValue {
        let is_it = |verdict: Verdict| matches!(verdict, Verdict::Different(finding) if finding.cause == *cause);
        if is_it(self.count.verdict(demand)) {
            return self.count.strength();
        }
        let quantile = self.quantiles.iter().find(|(_, gauge)| is_it(gauge.verdict(demand)));
        quantile.map_or(EValue::NOTHING, |(_, gauge)| gauge.strength().shared_by(self.quantiles.len()))
    }
}

/// Whether a gauge holds a percentile that someone else made.
fn is_percentile(identity: &Identity) -> bool {
    let has_quantile = identity.labels.iter().any(|(name, _)| name == "quantile" || name == "percentile");
    let ends = |part: &str| {
        let digits = part.strip_prefix('p').or_else(|| part.strip_suffix("percentile")).or(part.strip_prefix("pct"));
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    has_quantile || identity.metric.split('_').any(|part| ends(part) || part == "median")
}

impl Series {
    /// One side had the series for a while, and has it no more while the other goes on.
    fn stopped(&self, settings: &MetricSettings) -> Option<Verdict> {
        [Side::Legacy, Side::New].into_iter().find_map(|side| {
            let (own, other) = (&self.presence[side as usize], &self.presence[side.other() as usize]);
            // Deltas are silent where nothing happens: the other side has to have counted meanwhile.
            let is_silent = self.deltas[side as usize] && !self.has_risen_since(side, own.last_unix_ns());
            let is_over = own.is_lasting() && own.last_unix_ns() + settings.stopped_ns < other.last_unix_ns();
            (is_over && !is_silent).then(|| {
                let seconds = (other.last_unix_ns() - own.last_unix_ns()) / 1_000_000_000;
                let evidence = format!("the {} side went on for {seconds} s", side.other());
                let since_unix_ns = Some(own.last_unix_ns());
                Verdict::Different(Finding { cause: Cause::Stopped { side }, evidence, since_unix_ns })
            })
        })
    }

    /// Whether the side that goes on has counted since a moment, as far as that is known.
    fn has_risen_since(&self, silent: Side, time_unix_ns: u64) -> bool {
        let Comparing::Counter(counter) = &self.comparing else { return true };
        counter.rise_since(silent.other(), time_unix_ns) >= STOPPED_EVENTS_MIN
    }

    /// A loss on a side that sends deltas is one of deltas.
    fn named(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Different(Finding {
                cause: Cause::Loss { side, ratio_low, ratio_high },
                evidence,
                since_unix_ns,
            }) if self.deltas[side as usize] => {
                let cause = Cause::DeltasLost { side, ratio_low, ratio_high };
                Verdict::Different(Finding { cause, evidence, since_unix_ns })
            }
            verdict => verdict,
        }
    }
}

const fn kind_of(data: &MetricData<'_>) -> MetricKind {
    match data {
        MetricData::Gauge { .. } => MetricKind::Gauge,
        MetricData::Sum { is_monotonic: true, .. } => MetricKind::MonotonicSum,
        MetricData::Sum { .. } => MetricKind::NonMonotonicSum,
        MetricData::Histogram { .. } => MetricKind::Histogram,
        MetricData::ExponentialHistogram { .. } => MetricKind::ExponentialHistogram,
        MetricData::Summary { .. } => MetricKind::Summary,
        MetricData::Empty => MetricKind::Unknown,
    }
}

const fn form(temporality: Temporality) -> Form {
    match temporality {
        Temporality::Cumulative => Form::Cumulative,
        Temporality::Delta | Temporality::Unspecified => Form::Delta,
    }
}

/// The same for the same attributes in any order.
fn hash_of(attributes: Repeated<'_, KeyValueView<'_>>) -> u64 {
    attributes.messages().fold(0, |sum: u64, attribute| sum.wrapping_add(xxh3_64(attribute)))
}

#[cfg(test)]
mod tests;
