//! The converter: batches in, requests out, names and labels remembered between.

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use otlp::Batch;
use otlp::view::{AnyValueView, MetricData, MetricView, MetricsView};
use otlp::wire::{OpenField, write_bytes_field, write_varint_field};

use super::labels::Context;
use super::lanes::{Lanes, lane_hash, write_series_header};
use super::metric::NameCache;
use super::native::write_sample;
use super::points::{ScopeWriter, Work};
use super::proto::MetricType;
use super::{Metadata, Partition, Refused, Request, Settings, TargetInfo, timestamp_ms};
use crate::names::{LabelNamer, MetricKind, MetricNamer, Underscores, unit_name};

/// Converts batches of metrics. It is made once for each destination and remembers what recurs: names, and the labels of
/// resources. What it remembers is bounded.
///
/// ```
/// use otlp::NumberValue;
/// use otlp::encode::MetricsEncoder;
/// use prom::write::{Converter, Metadata, Partition, Settings};
///
/// let mut encoder = MetricsEncoder::new();
/// encoder.resource_metrics(|block| {
///     block.scope_metrics(|scope| {
///         scope.metric(|metric| {
///             metric.name("queue.length");
///             metric.gauge(|gauge| {
///                 gauge.point(|point| {
///                     point.value(NumberValue::Int(3)).time_unix_nano(1_000_000_000);
///                 });
///             });
///         });
///     });
/// });
/// let batch = encoder.finish();
///
/// let mut converter = Converter::new(Settings::default(), Partition::default());
/// let refused = converter.append(&batch, Metadata::Omit);
/// let requests = converter.take();
/// assert_eq!((requests.len(), requests[0].items, refused.total()), (1, 1, 0));
/// ```
#[derive(Debug)]
pub struct Converter {
    settings: Settings,
    label_namer: LabelNamer,
    names: NameCache,
    contexts: ContextCache,
    work: Work,
}

impl Converter {
    /// A converter with these settings.
    pub fn new(mut settings: Settings, partition: Partition) -> Self {
        // Underscores in a row stay, in labels, as in the Collector and in Prometheus' own OTLP endpoint.
        let label_namer = LabelNamer { escaping: settings.strategy.escaping(), underscores: Underscores::Preserve };
        for (name, _) in &mut settings.external_labels {
            *name = label_namer.name(name).map(Cow::into_owned).unwrap_or_default();
        }
        settings.external_labels.retain(|(name, value)| !name.is_empty() && !value.is_empty());
        let namer = MetricNamer {
            namespace: settings.namespace.clone(),
            escaping: settings.strategy.escaping(),
            suffixes: settings.strategy.suffixes(),
        };
        let work = Work::new(Lanes::new(partition));
        Converter { settings, label_namer, names: NameCache::new(namer), contexts: ContextCache::default(), work }
    }

    /// Adds the series of a batch of metrics to the requests in the making and says what was refused. A batch of another
    /// signal adds nothing.
    pub fn append(&mut self, batch: &Batch, metadata: Metadata) -> Refused {
        self.work.refused = Refused::default();
        self.work.lanes.expect(batch.items());
        if let Some(metrics) = batch.metrics() {
            self.metrics(&metrics);
            if metadata == Metadata::Send {
                self.metadata(&metrics);
            }
        }
        self.work.refused
    }

    /// The requests with everything that was appended since the last time.
    pub fn take(&mut self) -> Vec<Request> {
        self.work.lanes.take()
    }

    fn metrics(&mut self, metrics: &MetricsView<'_>) {
        let (settings, label_namer) = (&self.settings, self.label_namer);
        for block in metrics.resource_metrics() {
            let resource = block.resource().as_bytes();
            let mut latest_nanos = 0;
            for scope_metrics in block.scope_metrics() {
                let scope = scope_metrics.scope().as_bytes();
                let make = || Context::new(resource, scope, settings, label_namer);
                let context = self.contexts.find(resource, scope, make);
                let mut writer = ScopeWriter::new(settings, label_namer, &mut self.names, context, &mut self.work);
                scope_metrics.metrics().for_each(|metric| writer.metric(&metric));
                latest_nanos = latest_nanos.max(writer.latest_nanos());
            }
            if latest_nanos > 0 && settings.target_info == TargetInfo::Send {
                let make = || Context::new(resource, &[], settings, label_namer);
                let context = self.contexts.find(resource, &[], make);
                let labels = context.target_info_labels(settings, label_namer);
                self.work.target_info(labels, latest_nanos);
            }
        }
    }

    /// What describes the metrics, each family once.
    fn metadata(&mut self, metrics: &MetricsView<'_>) {
        let mut seen: HashSet<Box<str>, RandomState> = HashSet::default();
        let scopes = metrics.resource_metrics().flat_map(|block| block.scope_metrics());
        for metric in scopes.flat_map(|scope| scope.metrics()) {
            let (unit, data) = (metric.unit(), metric.data());
            let place = self.names.find(metric.name_bytes(), unit.as_bytes(), kind_of(&data));
            let family = &self.names.get(place).family;
            if family.is_empty() || !seen.insert(family.clone()) {
                continue;
            }
            let mut entry = Vec::with_capacity(200);
            let open = OpenField::begin(&mut entry, 3, 100);
            write_varint_field(&mut entry, 1, metadata_type(&metric, &data) as u64);
            write_bytes_field(&mut entry, 2, family.as_bytes());
            write_bytes_field(&mut entry, 4, metric.description().as_bytes());
            write_bytes_field(&mut entry, 5, unit_name(unit, self.settings.strategy.escaping()).as_bytes());
            open.end(&mut entry);
            self.work.lanes.append_metadata(&entry);
        }
    }
}

impl Work {
    fn target_info(&mut self, labels: &[u8], latest_nanos: u64) {
        if labels.is_empty() {
            return;
        }
        let (mut header, mut sample) = (Vec::with_capacity(8), Vec::with_capacity(24));
        write_sample(&mut sample, 1.0, timestamp_ms(latest_nanos));
        write_series_header(&mut header, labels.len() + sample.len());
        self.lanes.append(lane_hash(labels, 0), 1, 0, [&header, labels, &sample]);
    }
}

/// The kind that names are made of.
fn kind_of(data: &MetricData<'_>) -> MetricKind {
    match data {
        MetricData::Empty => MetricKind::Unknown,
        MetricData::Gauge { .. } => MetricKind::Gauge,
        MetricData::Sum { is_monotonic: true, .. } => MetricKind::MonotonicSum,
        MetricData::Sum { .. } => MetricKind::NonMonotonicSum,
        MetricData::Histogram { .. } => MetricKind::Histogram,
        MetricData::ExponentialHistogram { .. } => MetricKind::ExponentialHistogram,
        MetricData::Summary { .. } => MetricKind::Summary,
    }
}

/// The type of a metric. OTLP has no word for some of Prometheus' types; what was scraped carries it beside.
fn metadata_type(metric: &MetricView<'_>, data: &MetricData<'_>) -> MetricType {
    let scraped_as = metric.metadata().get("prometheus.type").and_then(AnyValueView::as_str).unwrap_or_default();
    match (data, scraped_as) {
        (MetricData::Empty, _) | (MetricData::Gauge { .. }, "unknown") => MetricType::Unknown,
        (MetricData::Sum { is_monotonic: true, .. }, _) => MetricType::Counter,
        (MetricData::Sum { .. }, "info") => MetricType::Info,
        (MetricData::Sum { .. }, "stateset") => MetricType::StateSet,
        (MetricData::Gauge { .. } | MetricData::Sum { .. }, _) => MetricType::Gauge,
        (MetricData::Histogram { .. } | MetricData::ExponentialHistogram { .. }, _) => MetricType::Histogram,
        (MetricData::Summary { .. }, _) => MetricType::Summary,
    }
}

/// The contexts of resources and scopes, remembered over batches.
#[derive(Debug, Default)]
struct ContextCache {
    by_hash: HashMap<u64, Context, RandomState>,
    hasher: RandomState,
    size_bytes: usize,
    /// What was found last and what it counted for: it grows while it is used.
    last: Option<(u64, usize)>,
}

/// Beyond so much the cache starts anew: how many resources there are is in the hands of those who send.
const CONTEXTS_SIZE_BYTES_MAX: usize = 32 << 20;

impl ContextCache {
    fn find(&mut self, resource: &[u8], scope: &[u8], make: impl FnOnce() -> Context) -> &mut Context {
        self.settle();
        if self.size_bytes > CONTEXTS_SIZE_BYTES_MAX {
            self.by_hash.clear();
            self.size_bytes = 0;
        }
        let hash = self.hasher.hash_one((resource, scope));
        let (context, counted) = match self.by_hash.entry(hash) {
            Entry::Vacant(entry) => (entry.insert(make()), 0),
            Entry::Occupied(entry) => {
                let context = entry.into_mut();
                let counted = context.size_bytes();
                if !context.is_of(resource, scope) {
                    *context = make();
                }
                (context, counted)
            }
        };
        self.last = Some((hash, counted));
        context
    }

    fn settle(&mut self) {
        if let Some((hash, counted)) = self.last.take() {
            let size = self.by_hash.get(&hash).map_or(0, Context::size_bytes);
            self.size_bytes = (self.size_bytes + size).saturating_sub(counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_resources_is_bounded_by_size() {
        let settings = Settings::default();
        let namer = LabelNamer { escaping: settings.strategy.escaping(), underscores: Underscores::Preserve };
        let mut cache = ContextCache::default();
        for index in 0..300_u32 {
            // A field of a number that resources do not have, as large as somebody likes.
            let mut resource = vec![0x7a, 0x80, 0x80, 0x04];
            resource.resize(resource.len() + (1 << 16), index as u8);
            resource.extend_from_slice(&[0x10, index as u8]);
            cache.find(&resource, &index.to_le_bytes(), || Context::new(&resource, b"", &settings, namer));
            assert!(cache.size_bytes <= CONTEXTS_SIZE_BYTES_MAX + (1 << 20), "{}", cache.size_bytes);
            assert!(cache.by_hash.len() * (1 << 16) <= CONTEXTS_SIZE_BYTES_MAX + (1 << 20));
        }
    }
}
