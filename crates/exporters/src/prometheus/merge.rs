//! Batches into the store: the last value of cumulative series, the running total of deltas.
//!
//! Every data point is taken, or refused for one reason. A data point that says there is no value ends its series.
//!
//! Deltas add up as long as they follow each other. A gap between two is no reset here: what was counted before it still
//! counts, so that `increase` over the gap is right. (The Collector starts such a sum anew.)

use std::fmt::Write as _;
use std::sync::Arc;

use component::clock::Mono;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use otlp::Temporality;
use otlp::view::{ExemplarView, KeyValues, MetricData, MetricView, MetricsView, Repeated, ResourceMetricsView};
use prom::labels::{LabelSet, SeriesHash};
use prom::names::{Escaping, MetricKind, MetricNamer, unit_name};
use prom::text::FamilyKind;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128_with_seed};

use super::exemplars;
use super::labels::{Labeler, ScopeContext};
use super::refusal::{Refusal, Refused};
use super::store::{Exemplar, Family, Place, Series, Store, TargetHandle};
use super::value::Value;

/// Takes batches and keeps what is to be exposed.
#[derive(Debug)]
pub(super) struct Accumulator {
    pub(super) store: Store,
    pub(super) labeler: Labeler,
    pub(super) names: NameCache,
    /// The name of the metric that describes targets; none if there is to be none.
    pub(super) target_info: Option<Box<str>>,
    pub(super) exemplars: Exemplars,
    pub(super) places: PlaceCache,
}

/// Whether exemplars are kept. Only OpenMetrics can show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exemplars {
    Keep,
    Drop,
}

/// How the data points of a metric change what is exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The latest counts.
    Last,
    /// They add up.
    Total,
}

/// What all data points of a metric have in common.
struct Plan<'a> {
    metric: MetricView<'a>,
    name: Arc<str>,
    kind: FamilyKind,
    mode: Mode,
    /// The label that its series have of their own.
    reserved: Option<&'static str>,
    /// What is the same for the labels of all its series, as a hash.
    seed: u64,
}

/// Where the data points of a scope come from, and when they came.
struct Origin<'c, 'a> {
    scope: &'c ScopeContext<'c, 'a>,
    target: Option<&'c TargetHandle>,
    now: Mono,
    /// Resource and scope, as a hash.
    seed: u64,
}

/// One data point of any kind.
struct Point<'a> {
    attributes: KeyValues<'a>,
    start_unix_nano: u64,
    time_unix_nano: u64,
    flags: u32,
    value: Result<Value, Refusal>,
    exemplars: Repeated<'a, ExemplarView<'a>>,
}

impl Point<'_> {
    /// Bit 0 of the flags: there is no recorded value.
    fn is_stale(&self) -> bool {
        self.flags & 1 != 0
    }
}

impl Accumulator {
    /// Takes the data points of a batch; what is not taken is counted.
    pub(super) fn merge(&mut self, metrics: &MetricsView<'_>, now: Mono) -> Refused {
        let mut refused = Refused::default();
        self.store.expire_if_due(now);
        for block in metrics.resource_metrics() {
            self.resource(&block, now, &mut refused);
        }
        refused
    }

    fn resource(&mut self, block: &ResourceMetricsView<'_>, now: Mono, refused: &mut Refused) {
        let resource = match self.labeler.resource(&block.resource()) {
            Ok(resource) => resource,
            Err(reason) => {
                let metrics = block.scope_metrics().flat_map(|scope| scope.metrics());
                return metrics.for_each(|metric| refused.add(reason, metric.data().points() as u64));
            }
        };
        let identity = Some(&resource.identity).filter(|identity| !identity.is_empty());
        let target = identity.map(|identity| self.store.target_handle(identity));
        let seed = xxh3_64(block.resource().as_bytes());
        for metrics in block.scope_metrics() {
            let scope = self.labeler.scope(&resource, &metrics);
            match &scope {
                Ok(scope) => {
                    let seed = xxh3_64_with_seed(metrics.scope().as_bytes(), seed);
                    let seed = xxh3_64_with_seed(metrics.schema_url().as_bytes(), seed);
                    let origin = Origin { scope, target: target.as_ref(), now, seed };
                    metrics.metrics().for_each(|metric| self.metric(metric, &origin, refused));
                }
                Err(reason) => {
                    metrics.metrics().for_each(|metric| refused.add(*reason, metric.data().points() as u64));
                }
            }
        }
        if let (Some(identity), Some(handle), Some(_)) = (identity, target, &self.target_info)
            && handle.is_in_use()
        {
            let labels = self.labeler.target_info(identity, &block.resource());
            let kept = labels.and_then(|labels| self.store.set_target(identity, labels, handle));
            if let Err(reason) = kept {
                let cause = reason.cause();
                tracing::warn!(?identity, cause, "the description of a resource is not exposed as target_info");
            }
        }
    }

    fn metric<'a>(&mut self, metric: MetricView<'a>, origin: &Origin<'_, 'a>, refused: &mut Refused) {
        let data = metric.data();
        let plan = match self.plan(metric, &data, origin.seed) {
            Ok(plan) => plan,
            Err(reason) => return refused.add(reason, data.points() as u64),
        };
        let mut put = |point: Point<'a>| {
            if let Err(reason) = self.put(&plan, point, origin) {
                refused.add(reason, 1);
            }
        };
        match data {
            MetricData::Empty => {}
            MetricData::Gauge { points } | MetricData::Sum { points, .. } => points.for_each(|point| {
                put(Point {
                    attributes: point.attributes(),
                    start_unix_nano: point.start_time_unix_nano(),
                    time_unix_nano: point.time_unix_nano(),
                    flags: point.flags(),
                    value: Value::of_number(&point),
                    exemplars: point.exemplars(),
                });
            }),
            MetricData::Histogram { points, .. } => points.for_each(|point| {
                put(Point {
                    attributes: point.attributes(),
                    start_unix_nano: point.start_time_unix_nano(),
                    time_unix_nano: point.time_unix_nano(),
                    flags: point.flags(),
                    value: Value::of_histogram(&point),
                    exemplars: point.exemplars(),
                });
            }),
            MetricData::ExponentialHistogram { points, .. } => points.for_each(|point| {
                put(Point {
                    attributes: point.attributes(),
                    start_unix_nano: point.start_time_unix_nano(),
                    time_unix_nano: point.time_unix_nano(),
                    flags: point.flags(),
                    value: Ok(Value::of_exponential_histogram(&point)),
                    exemplars: point.exemplars(),
                });
            }),
            MetricData::Summary { points } => points.for_each(|point| {
                put(Point {
                    attributes: point.attributes(),
                    start_unix_nano: point.start_time_unix_nano(),
                    time_unix_nano: point.time_unix_nano(),
                    flags: point.flags(),
                    value: Ok(Value::of_summary(&point)),
                    exemplars: Repeated::empty(),
                });
            }),
        }
        self.describe(&plan);
    }

    /// What becomes of a metric's data points, or why nothing does.
    fn plan<'a>(&mut self, metric: MetricView<'a>, data: &MetricData<'a>, seed: u64) -> Result<Plan<'a>, Refusal> {
        let mode = mode(data)?;
        let (metric_kind, kind, reserved) = match data {
            MetricData::Empty => (MetricKind::Unknown, FamilyKind::Unknown, None),
            MetricData::Gauge { .. } if scraped_as(&metric) == "unknown" => {
                (MetricKind::Gauge, FamilyKind::Unknown, None)
            }
            MetricData::Gauge { .. } => (MetricKind::Gauge, FamilyKind::Gauge, None),
            MetricData::Sum { is_monotonic: true, .. } => (MetricKind::MonotonicSum, FamilyKind::Counter, None),
            MetricData::Sum { .. } => match scraped_as(&metric) {
                "info" => (MetricKind::NonMonotonicSum, FamilyKind::Info, None),
                "stateset" => (MetricKind::NonMonotonicSum, FamilyKind::StateSet, None),
                _ => (MetricKind::NonMonotonicSum, FamilyKind::Gauge, None),
            },
            MetricData::Histogram { .. } => (MetricKind::Histogram, FamilyKind::Histogram, Some("le")),
            MetricData::ExponentialHistogram { .. } => {
                (MetricKind::ExponentialHistogram, FamilyKind::Histogram, Some("le"))
            }
            MetricData::Summary { .. } => (MetricKind::Summary, FamilyKind::Summary, Some("quantile")),
        };
        let name = self.names.find(metric.name(), metric.unit(), metric_kind).ok_or(Refusal::MetricName)?;
        self.check_name(&name, kind)?;
        // The name says the type, too, as far as the labels depend on it.
        let seed = xxh3_64_with_seed(name.as_bytes(), seed);
        Ok(Plan { metric, name, kind, mode, reserved, seed })
    }

    /// Whether a family may have this name and type beside those that are there.
    fn check_name(&self, name: &str, kind: FamilyKind) -> Result<(), Refusal> {
        let families = &self.store.families;
        if let Some(family) = families.get(name) {
            return if shape(family.kind) == shape(kind) { Ok(()) } else { Err(Refusal::TypeConflict) };
        }
        let is_taken = |stem: &str, suffix: &str| families.contains_key(format!("{stem}{suffix}").as_str());
        let hides_another = suffixes(kind).iter().any(|suffix| is_taken(name, suffix));
        let is_hidden = ["_bucket", "_count", "_sum"].iter().any(|suffix| {
            let family = name.strip_suffix(suffix).and_then(|stem| families.get(stem));
            family.is_some_and(|family| suffixes(family.kind).contains(suffix))
        });
        let is_target_info = self.target_info.as_deref() == Some(name);
        if hides_another || is_hidden || is_target_info { Err(Refusal::NameConflict) } else { Ok(()) }
    }

    fn put(&mut self, plan: &Plan<'_>, point: Point<'_>, origin: &Origin<'_, '_>) -> Result<(), Refusal> {
        if point.is_stale() {
            let labels = self.labeler.series(origin.scope, point.attributes, plan.reserved)?;
            return self.end(&plan.name, &labels, point.time_unix_nano);
        }
        let value = point.value?;
        let exemplars = match (self.exemplars, plan.kind) {
            (Exemplars::Keep, FamilyKind::Counter | FamilyKind::Histogram) => exemplars::keep(point.exemplars, &value),
            _ => Box::default(),
        };
        let update = Update {
            value,
            exemplars,
            start_unix_nano: point.start_unix_nano,
            time_unix_nano: point.time_unix_nano,
            mode: plan.mode,
        };
        let key = self.places.key(plan.seed, point.attributes);
        let Store { limits, usage, families, .. } = &mut self.store;
        let mut family = families.get_mut(&*plan.name);
        if let (Some(family), Some(known)) = (&mut family, self.places.find(key))
            && let Some(series) = family.get_mut(known.place, known.hash)
        {
            return update.apply(series, origin, |before, after| usage.resize(limits, before, after));
        }
        let labels = self.labeler.series(origin.scope, point.attributes, plan.reserved)?;
        let hash = labels.hash();
        let found = family.and_then(|family| Some((family.find(&labels)?, family)));
        let place = match found {
            Some((place, family)) => {
                if let Some(series) = family.get_mut(place, hash) {
                    update.apply(series, origin, |before, after| usage.resize(limits, before, after))?;
                }
                place
            }
            None => self.begin(plan, labels, update, origin)?,
        };
        self.places.remember(key, KnownPlace { place, hash }, self.store.usage.series);
        Ok(())
    }

    /// Exposes a series that is not there yet.
    fn begin(
        &mut self,
        plan: &Plan<'_>,
        labels: LabelSet,
        update: Update,
        origin: &Origin<'_, '_>,
    ) -> Result<Place, Refusal> {
        let Store { limits, usage, families, .. } = &mut self.store;
        if usage.series >= limits.series_max {
            return Err(Refusal::SeriesLimit);
        }
        let Update { value, exemplars, time_unix_nano, .. } = update;
        let (target, updated) = (origin.target.cloned(), origin.now);
        let series = Series { labels, value, time_unix_nano, exemplars, target, updated };
        let place = if let Some(family) = families.get_mut(&*plan.name) {
            usage.resize(limits, 0, series.size_bytes())?;
            family.add(series)
        } else {
            let (help, unit) = (plan.metric.description(), self.names.unit(plan.metric.unit()));
            let mut family = Family::new(plan.kind, help, &unit, &plan.metric);
            usage.resize(limits, 0, series.size_bytes() + family.size_bytes(&plan.name))?;
            let place = family.add(series);
            families.insert(Arc::clone(&plan.name), family);
            place
        };
        usage.series += 1;
        Ok(place)
    }

    /// Ends a series; one that is not there has ended.
    fn end(&mut self, name: &str, labels: &LabelSet, time_unix_nano: u64) -> Result<(), Refusal> {
        let Store { usage, families, .. } = &mut self.store;
        let Some(family) = families.get_mut(name) else { return Ok(()) };
        let exposed = family.find(labels).map(|place| family.at(place).time_unix_nano);
        if exposed.is_some_and(|exposed| is_older(time_unix_nano, exposed)) {
            return Err(Refusal::OutOfOrder);
        }
        if let Some(series) = family.remove(labels) {
            usage.series -= 1;
            usage.size_bytes -= series.size_bytes();
        }
        if family.is_empty() {
            usage.size_bytes -= family.size_bytes(name);
            families.remove(name);
        }
        Ok(())
    }

    /// Settles what is said of a family. Of two descriptions the longer one is exposed, of two that are as long the one
    /// that sorts first; of two units, none: so it does not matter which came first.
    fn describe(&mut self, plan: &Plan<'_>) {
        let Store { limits, usage, families, .. } = &mut self.store;
        let Some(family) = families.get_mut(&*plan.name) else { return };
        let help = plan.metric.description();
        let wins = (family.help.len(), help) < (help.len(), family.help.as_str());
        if wins && usage.resize(limits, family.help.len(), help.len()).is_ok() {
            help.clone_into(&mut family.help);
        }
        if *family.metric_name != *plan.metric.name() {
            family.share(&plan.name, plan.metric.name());
        }
        let has_other_unit = *family.metric_unit != *plan.metric.unit();
        if has_other_unit && !family.unit.is_empty() && family.unit != self.names.unit(plan.metric.unit()) {
            usage.size_bytes -= family.unit.len();
            family.unit.clear();
        }
    }
}

/// A data point on its way into its series.
struct Update {
    value: Value,
    exemplars: Box<[Exemplar]>,
    start_unix_nano: u64,
    time_unix_nano: u64,
    mode: Mode,
}

impl Update {
    fn apply(
        self,
        series: &mut Series,
        origin: &Origin<'_, '_>,
        room: impl FnOnce(usize, usize) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let (time, exposed_time) = (self.time_unix_nano, series.time_unix_nano);
        let is_repeated = self.mode == Mode::Total && time != 0 && time == exposed_time;
        if is_older(time, exposed_time) || is_repeated {
            return Err(Refusal::OutOfOrder);
        }
        if self.mode == Mode::Total && self.start_unix_nano != 0 && self.start_unix_nano < exposed_time {
            return Err(Refusal::DeltaOverlap);
        }
        // A total is as large as the delta, or the delta takes its place: either way this is the size it gets.
        let parts = |value: &Value, exemplars: &[Exemplar]| value.heap_bytes() + exemplars::size_bytes(exemplars);
        room(parts(&series.value, &series.exemplars), parts(&self.value, &self.exemplars))?;
        series.value = match self.mode {
            Mode::Last => self.value,
            Mode::Total => series.value.take().plus(self.value),
        };
        series.exemplars = self.exemplars;
        series.time_unix_nano = time;
        series.updated = origin.now;
        if series.target.as_ref() != origin.target {
            series.target = origin.target.cloned();
        }
        Ok(())
    }
}

/// Data points without a time are as new as any.
fn is_older(time_unix_nano: u64, exposed_unix_nano: u64) -> bool {
    time_unix_nano != 0 && time_unix_nano < exposed_unix_nano
}

fn mode(data: &MetricData<'_>) -> Result<Mode, Refusal> {
    let (temporality, may_fall) = match data {
        MetricData::Empty | MetricData::Gauge { .. } | MetricData::Summary { .. } => return Ok(Mode::Last),
        MetricData::Sum { temporality, is_monotonic, .. } => (temporality, !is_monotonic),
        MetricData::Histogram { temporality, .. } | MetricData::ExponentialHistogram { temporality, .. } => {
            (temporality, false)
        }
    };
    match temporality {
        Temporality::Cumulative => Ok(Mode::Last),
        Temporality::Delta if may_fall => Err(Refusal::DeltaTemporality),
        Temporality::Delta => Ok(Mode::Total),
        Temporality::Unspecified => Err(Refusal::UnspecifiedTemporality),
    }
}

/// The type that a metric had where it was scraped, if OTLP has no word for it.
fn scraped_as<'a>(metric: &MetricView<'a>) -> &'a str {
    metric.metadata().get("prometheus.type").and_then(otlp::view::AnyValueView::as_str).unwrap_or_default()
}

/// Families of one shape can stand together under one name.
#[derive(PartialEq, Eq)]
enum Shape {
    Value,
    Counter,
    Histogram,
    Summary,
}

fn shape(kind: FamilyKind) -> Shape {
    match kind {
        FamilyKind::Counter => Shape::Counter,
        FamilyKind::Histogram | FamilyKind::GaugeHistogram => Shape::Histogram,
        FamilyKind::Summary => Shape::Summary,
        FamilyKind::Gauge | FamilyKind::Info | FamilyKind::StateSet | FamilyKind::Unknown => Shape::Value,
    }
}

/// What the names of a family's series end with beyond the family's own.
fn suffixes(kind: FamilyKind) -> &'static [&'static str] {
    match shape(kind) {
        Shape::Histogram => &["_bucket", "_count", "_sum"],
        Shape::Summary => &["_count", "_sum"],
        Shape::Value | Shape::Counter => &[],
    }
}

/// Where the series of data points are, by the bytes of what their labels are made of: so the labels of a data point of
/// a known series need not be made. The key is a hash of 128 bits; two data points with one key would share a series,
/// which whoever can make them can have more easily.
#[derive(Debug, Default)]
pub(super) struct PlaceCache {
    places: HashMap<u128, KnownPlace, RandomState>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct KnownPlace {
    place: Place,
    hash: SeriesHash,
}

impl PlaceCache {
    fn key(&mut self, seed: u64, attributes: KeyValues<'_>) -> u128 {
        self.bytes.clear();
        for attribute in attributes.messages() {
            self.bytes.extend_from_slice(&(attribute.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(attribute);
        }
        xxh3_128_with_seed(&self.bytes, seed)
    }

    fn find(&self, key: u128) -> Option<KnownPlace> {
        self.places.get(&key).copied()
    }

    /// Places of series that are gone, and of the same attributes in another order, may not become too many.
    fn remember(&mut self, key: u128, place: KnownPlace, series: usize) {
        if self.places.len() > 2 * series + 1000 {
            self.places = HashMap::default();
        }
        self.places.insert(key, place);
    }
}

/// The names of metrics, remembered over batches.
#[derive(Debug)]
pub(super) struct NameCache {
    namer: MetricNamer,
    names: HashMap<String, Option<Arc<str>>, RandomState>,
    size_bytes: usize,
    key: String,
}

/// Beyond so much the cache starts anew: how many names there are is in the hands of those who send.
const NAMES_SIZE_BYTES_MAX: usize = 8 << 20;

impl NameCache {
    pub(super) fn new(namer: MetricNamer) -> NameCache {
        NameCache { namer, names: HashMap::default(), size_bytes: 0, key: String::new() }
    }

    /// The name of a metric in Prometheus; none if it has none.
    fn find(&mut self, name: &str, unit: &str, kind: MetricKind) -> Option<Arc<str>> {
        self.key.clear();
        // The length keeps unit and name apart, whatever is in them. Writing into a string does not fail.
        let _ = write!(self.key, "{}{}:{unit}{name}", kind as u8, unit.len());
        if let Some(known) = self.names.get(self.key.as_str()) {
            return known.clone();
        }
        let made = self.namer.name(name, unit, kind).ok().map(Arc::<str>::from);
        let size_bytes = self.key.len() + made.as_deref().map_or(0, str::len) + 64;
        if self.size_bytes + size_bytes > NAMES_SIZE_BYTES_MAX {
            self.names.clear();
            self.size_bytes = 0;
        }
        if size_bytes < NAMES_SIZE_BYTES_MAX / 100 {
            self.names.insert(self.key.clone(), made.clone());
            self.size_bytes += size_bytes;
        }
        made
    }

    /// What happens to characters outside of the old character set.
    pub(super) fn escaping(&self) -> Escaping {
        self.namer.escaping
    }

    /// The words of a unit.
    fn unit(&self, unit: &str) -> String {
        unit_name(unit, self.namer.escaping)
    }
}

#[cfg(test)]
mod tests;
