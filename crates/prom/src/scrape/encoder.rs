//! Gathers the series of one scrape into data points and writes them.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use otlp::Batch;
use otlp::encode::{MetricsEncoder, ScopeMetricsWriter};

use super::families::{Families, FamilyMeta, Membership, PointKind, Role};
use super::point::Point;
use super::resource::{ResourceAttributes, Target};
use crate::labels::{LabelSet, METRIC_NAME};
use crate::names::{MetricKind, trim_suffixes, ucum_unit};
use crate::text::FamilyKind;

/// Whether metric names stay as the target exposes them (`trim_metric_suffixes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricNames {
    /// They stay.
    #[default]
    AsExposed,
    /// They lose what their type and unit added.
    Trimmed,
}

/// One sample of one series of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct SampleToEncode<'s> {
    /// The series, as it is stored: after relabelling, with `__name__`, `job` and `instance`.
    pub labels: &'s LabelSet,
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The value, or the staleness marker.
    pub value: f64,
    /// The exemplar, if there is one.
    pub exemplar: Option<&'s ScrapeExemplar>,
}

/// An exemplar of a scraped sample.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeExemplar {
    /// Its labels.
    pub labels: LabelSet,
    /// Its value.
    pub value: f64,
    /// Milliseconds since the epoch: its own, or its sample's.
    pub timestamp_ms: i64,
}

/// What of a scrape has no form in OTLP. Each figure counts data points that were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unconvertible {
    /// Histograms with neither `_count` nor a `+Inf` bucket, and summaries without `_count`.
    pub without_count: u64,
    /// Histograms whose buckets fall, exceed the count, or are no numbers.
    pub inconsistent: u64,
    /// Series without a metric name, or without a job and an instance.
    pub unidentified: u64,
}

impl Unconvertible {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.without_count + self.inconsistent + self.unidentified
    }
}

/// Gathers the samples of one scrape and encodes them.
///
/// ```
/// use prom::labels::LabelSet;
/// use prom::scrape::{Families, MetricNames, SampleToEncode, ScrapeEncoder, Target};
///
/// let families = Families::default();
/// let target = Target { job: "shop".to_owned(), instance: "shop-1:80".to_owned(), ..Target::default() };
/// let up = LabelSet::from_pairs([("__name__", "up"), ("job", "shop"), ("instance", "shop-1:80")])?;
///
/// let mut encoder = ScrapeEncoder::new(&families, &target, MetricNames::AsExposed);
/// encoder.append(&SampleToEncode { labels: &up, timestamp_ms: 1_000, value: 1.0, exemplar: None });
/// let (batch, unconvertible) = encoder.finish();
/// assert_eq!((batch.items(), unconvertible.total()), (1, 0));
/// # Ok::<(), prom::labels::DuplicateLabel>(())
/// ```
pub struct ScrapeEncoder<'s> {
    families: &'s Families,
    target: &'s Target,
    names: MetricNames,
    hasher: RandomState,
    resources: Vec<Resource<'s>>,
    scopes: Vec<Scope<'s>>,
    metrics: Vec<Metric<'s>>,
    metric_index: HashTable<u32>,
    points: Vec<Point<'s>>,
    point_index: HashTable<u32>,
    unconvertible: Unconvertible,
}

struct Resource<'s> {
    job: &'s str,
    instance: &'s str,
    attributes: ResourceAttributes<'s>,
}

/// What the `otel_scope_*` labels of a series say.
#[derive(Default, PartialEq)]
struct Scope<'s> {
    resource: u32,
    name: &'s str,
    version: &'s str,
    schema_url: &'s str,
    attributes: Vec<(&'s str, &'s str)>,
}

struct Metric<'s> {
    scope: u32,
    family: &'s str,
    /// The name on the outside: for a counter, that of its value.
    name: &'s str,
    kind: PointKind,
    meta: Option<&'s FamilyMeta>,
    points: Vec<u32>,
}

const SCOPE_LABEL_PREFIX: &str = "otel_scope_";
const TARGET_INFO: &str = "target_info";

impl<'s> ScrapeEncoder<'s> {
    /// An encoder for one scrape of one target, or for several scrapes of which the data points carry their time.
    pub fn new(families: &'s Families, target: &'s Target, names: MetricNames) -> Self {
        ScrapeEncoder {
            families,
            target,
            names,
            hasher: RandomState::default(),
            resources: Vec::new(),
            scopes: Vec::new(),
            metrics: Vec::new(),
            metric_index: HashTable::new(),
            points: Vec::new(),
            point_index: HashTable::new(),
            unconvertible: Unconvertible::default(),
        }
    }

    /// Adds a sample.
    pub fn append(&mut self, sample: &SampleToEncode<'s>) {
        let mut identity = Identity::of(sample.labels);
        // What federation exposes has a job or an instance of its own, or neither.
        identity.job = identity.job.or_if_empty(&self.target.job);
        identity.instance = identity.instance.or_if_empty(&self.target.instance);
        if identity.name.is_empty() || identity.job.is_empty() || identity.instance.is_empty() {
            self.unconvertible.unidentified += 1;
            return;
        }
        let resource = self.resource(identity.job, identity.instance);
        if identity.name == TARGET_INFO {
            self.resources[resource as usize].add_target_info(sample.labels);
            return;
        }
        let scope = self.scope(resource, sample.labels, &identity);
        let membership = self.families.membership(identity.name, sample.labels);
        let metric = self.metric(scope, identity.name, &membership);
        let point = self.point(metric, sample, &membership);
        self.points[point as usize].add(membership.role, sample);
    }

    /// The request, which may be empty, and what could not be part of it.
    pub fn finish(mut self) -> (Batch, Unconvertible) {
        self.drop_unconvertible();
        const POINT_SIZE_GUESS: usize = 160;
        let mut encoder = MetricsEncoder::with_capacity(self.points.len() * POINT_SIZE_GUESS);
        for (index, resource) in self.resources.iter().enumerate() {
            let scopes: Vec<u32> = (0..self.scopes.len() as u32)
                .filter(|scope| self.scopes[*scope as usize].resource == index as u32 && self.has_metrics(*scope))
                .collect();
            if scopes.is_empty() {
                continue;
            }
            encoder.resource_metrics(|block| {
                block.resource(|writer| resource.attributes.write(writer.attributes()));
                for scope in scopes {
                    block.scope_metrics(|writer| self.write_scope(scope, writer));
                }
            });
        }
        (encoder.finish(), self.unconvertible)
    }

    fn resource(&mut self, job: &'s str, instance: &'s str) -> u32 {
        let known = self.resources.iter().rposition(|resource| resource.job == job && resource.instance == instance);
        let index = known.unwrap_or_else(|| {
            let attributes = ResourceAttributes::of(job, instance, self.target);
            self.resources.push(Resource { job, instance, attributes });
            self.resources.len() - 1
        });
        index as u32
    }

    fn scope(&mut self, resource: u32, labels: &'s LabelSet, identity: &Identity<'s>) -> u32 {
        let mut scope = Scope { resource, ..Scope::default() };
        if identity.has_scope_labels {
            for (name, value) in labels.iter() {
                match name.strip_prefix(SCOPE_LABEL_PREFIX) {
                    Some("name") => scope.name = value,
                    Some("version") => scope.version = value,
                    Some("schema_url") => scope.schema_url = value,
                    Some(attribute) => scope.attributes.push((attribute, value)),
                    None => {}
                }
            }
        }
        let index = self.scopes.iter().rposition(|known| *known == scope).unwrap_or_else(|| {
            self.scopes.push(scope);
            self.scopes.len() - 1
        });
        index as u32
    }

    fn metric(&mut self, scope: u32, exposed_name: &'s str, membership: &Membership<'s>) -> u32 {
        let (family, kind) = (membership.family, membership.kind);
        let metrics = &mut self.metrics;
        let is_value = membership.role == Role::Value;
        if let Some(last) = metrics.last_mut().filter(|last| last.is(scope, family, kind)) {
            last.name = if is_value { exposed_name } else { last.name };
            return metrics.len() as u32 - 1;
        }
        let hash = self.hasher.hash_one((scope, family, kind as u8));
        if let Some(index) = self.metric_index.find(hash, |index| metrics[*index as usize].is(scope, family, kind)) {
            let metric = &mut metrics[*index as usize];
            metric.name = if is_value { exposed_name } else { metric.name };
            return *index;
        }
        let index = metrics.len() as u32;
        let name = if is_value { exposed_name } else { family };
        metrics.push(Metric { scope, family, name, kind, meta: membership.meta, points: Vec::new() });
        let hasher = &self.hasher;
        self.metric_index.insert_unique(hash, index, |index| {
            let metric = &metrics[*index as usize];
            hasher.hash_one((metric.scope, metric.family, metric.kind as u8))
        });
        index
    }

    fn point(&mut self, metric: u32, sample: &SampleToEncode<'s>, membership: &Membership<'s>) -> u32 {
        let kind = membership.kind;
        let candidate = Point::new(metric, kind, membership.role, sample, &self.hasher);
        // A gauge is one series: there is nothing to find.
        let is_alone = matches!(kind, PointKind::Gauge | PointKind::NonMonotonicSum);
        let points = &mut self.points;
        if !is_alone {
            let last = self.metrics[metric as usize].points.last().copied();
            if let Some(last) = last.filter(|last| points[*last as usize].is_same(&candidate)) {
                return last;
            }
            if let Some(index) =
                self.point_index.find(candidate.hash, |index| points[*index as usize].is_same(&candidate))
            {
                return *index;
            }
        }
        let (index, hash) = (points.len() as u32, candidate.hash);
        points.push(candidate);
        if !is_alone {
            self.point_index.insert_unique(hash, index, |index| points[*index as usize].hash);
        }
        self.metrics[metric as usize].points.push(index);
        index
    }

    fn drop_unconvertible(&mut self) {
        let (points, unconvertible) = (&mut self.points, &mut self.unconvertible);
        for metric in &mut self.metrics {
            metric.points.retain(|index| points[*index as usize].complete(metric.kind, unconvertible));
        }
        self.metrics.retain(|metric| !metric.points.is_empty());
    }

    fn has_metrics(&self, scope: u32) -> bool {
        self.metrics.iter().any(|metric| metric.scope == scope)
    }

    fn write_scope(&self, index: u32, writer: &mut ScopeMetricsWriter<'_>) {
        let scope = &self.scopes[index as usize];
        let is_named = !scope.name.is_empty() || !scope.version.is_empty() || !scope.attributes.is_empty();
        if is_named {
            writer.scope(|writer| {
                writer.name(scope.name).version(scope.version);
                let mut attributes = writer.attributes();
                for (key, value) in &scope.attributes {
                    attributes.string(key, value);
                }
            });
        }
        for metric in self.metrics.iter().filter(|metric| metric.scope == index) {
            self.write_metric(metric, writer);
        }
        writer.schema_url(scope.schema_url);
    }

    fn write_metric(&self, metric: &Metric<'s>, writer: &mut ScopeMetricsWriter<'_>) {
        let (help, unit) = metric.meta.map_or(("", ""), |meta| (&*meta.help, &*meta.unit));
        let name = match self.names {
            MetricNames::AsExposed => metric.name,
            MetricNames::Trimmed => trim_suffixes(metric.name, unit, metric.kind.metric_kind()),
        };
        let points = || metric.points.iter().map(|index| &self.points[*index as usize]);
        writer.metric(|writer| {
            writer.name(name).description(help).unit(&ucum_unit(unit));
            Point::write_all(metric.kind, points(), writer);
            let kind = metric.meta.map_or(FamilyKind::Unknown, |meta| meta.kind);
            writer.metadata().string("prometheus.type", kind.name());
        });
    }
}

impl<'s> Resource<'s> {
    /// The labels of `target_info` describe the resource.
    fn add_target_info(&mut self, labels: &'s LabelSet) {
        for (name, value) in labels.iter().filter(|(name, _)| !matches!(*name, METRIC_NAME | "job" | "instance")) {
            self.attributes.set(name, value);
        }
    }
}

impl Metric<'_> {
    fn is(&self, scope: u32, family: &str, kind: PointKind) -> bool {
        self.scope == scope && self.kind == kind && self.family == family
    }
}

impl PointKind {
    fn metric_kind(self) -> MetricKind {
        match self {
            Self::Gauge => MetricKind::Gauge,
            Self::Counter => MetricKind::MonotonicSum,
            Self::NonMonotonicSum => MetricKind::NonMonotonicSum,
            Self::Histogram => MetricKind::Histogram,
            Self::Summary => MetricKind::Summary,
        }
    }
}

/// The labels that say where a series belongs.
struct Identity<'s> {
    name: &'s str,
    job: &'s str,
    instance: &'s str,
    has_scope_labels: bool,
}

impl<'s> Identity<'s> {
    fn of(labels: &'s LabelSet) -> Self {
        let mut identity = Identity { name: "", job: "", instance: "", has_scope_labels: false };
        for (name, value) in labels.iter().filter(|(name, _)| may_be_special(name)) {
            match name {
                METRIC_NAME => identity.name = value,
                "job" => identity.job = value,
                "instance" => identity.instance = value,
                _ => identity.has_scope_labels |= name.starts_with(SCOPE_LABEL_PREFIX),
            }
        }
        identity
    }
}

trait OrIfEmpty<'s> {
    fn or_if_empty(self, other: &'s str) -> &'s str;
}

impl<'s> OrIfEmpty<'s> for &'s str {
    fn or_if_empty(self, other: &'s str) -> &'s str {
        if self.is_empty() { other } else { self }
    }
}

/// Whether a label is an attribute of the data point, rather than of what contains it.
#[inline]
pub(super) fn is_attribute(name: &str, kind: PointKind) -> bool {
    !may_be_special(name) || is_attribute_by_name(name, kind)
}

/// Tells most labels from those with a meaning of their own by one byte, since every label of every sample is asked.
#[inline]
fn may_be_special(name: &str) -> bool {
    matches!(name.as_bytes().first(), Some(b'_' | b'i' | b'j' | b'l' | b'o' | b'q'))
}

fn is_attribute_by_name(name: &str, kind: PointKind) -> bool {
    match name {
        METRIC_NAME | "job" | "instance" | "__scheme__" | "__metrics_path__" => false,
        "le" => kind != PointKind::Histogram,
        "quantile" => kind != PointKind::Summary,
        _ => !name.starts_with(SCOPE_LABEL_PREFIX),
    }
}
