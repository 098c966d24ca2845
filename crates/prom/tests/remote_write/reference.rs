//! The same conversion, done plainly: decoded structs, maps, one label after the other, no caches.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use otlp::view::AnyValueView;
use prom::names::{LabelNamer, MetricKind, MetricNamer, Underscores, unit_name};
use prom::text::{STALE_NAN, plain_float};
use prom::write::proto::{
    BucketSpan, Count, Exemplar as WrittenExemplar, Histogram, Label, MetricMetadata, MetricType, Sample, TimeSeries,
    ZeroCount,
};
use prom::write::{Refusal, ResourceLabels, ScopeLabels, Settings, TargetInfo, value_text};
use prost::Message;

use crate::MetricsRequest;

type Labels = BTreeMap<String, String>;

pub(crate) struct Reference<'r> {
    settings: &'r Settings,
    pub(crate) series: Vec<TimeSeries>,
    pub(crate) metadata: Vec<MetricMetadata>,
    refusals: Vec<Refusal>,
}

/// The text of an attribute.
fn text(value: Option<&AnyValue>) -> String {
    let mut out = String::new();
    if let Some(value) = value {
        value_text(AnyValueView::new(&value.encode_to_vec()), &mut out);
    }
    out
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    attributes.iter().find(|pair| pair.key == key).map(|pair| text(pair.value.as_ref()))
}

fn ms(nanos: u64) -> i64 {
    (nanos / 1_000_000) as i64
}

impl<'r> Reference<'r> {
    pub(crate) fn convert(request: &MetricsRequest, settings: &'r Settings) -> Self {
        let mut reference = Reference { settings, series: Vec::new(), metadata: Vec::new(), refusals: Vec::new() };
        for block in &request.resource_metrics {
            reference.block(block);
        }
        for metric in
            request.resource_metrics.iter().flat_map(|block| &block.scope_metrics).flat_map(|scope| &scope.metrics)
        {
            reference.describe(metric);
        }
        reference
    }

    /// How many data points were refused, by reason.
    pub(crate) fn refused(&self) -> Vec<(Refusal, u32)> {
        let count = |reason| self.refusals.iter().filter(|refusal| **refusal == reason).count() as u32;
        Refusal::ALL.into_iter().map(|reason| (reason, count(reason))).filter(|(_, items)| *items > 0).collect()
    }

    fn namer(&self) -> LabelNamer {
        LabelNamer { escaping: self.settings.strategy.escaping(), underscores: Underscores::Preserve }
    }

    fn block(&mut self, block: &ResourceMetrics) {
        let resource = block.resource.clone().unwrap_or_default();
        let mut latest = 0;
        for scope_metrics in &block.scope_metrics {
            let scope = scope_metrics.scope.clone().unwrap_or_default();
            for metric in &scope_metrics.metrics {
                latest = latest.max(self.metric(metric, &resource, &scope));
            }
        }
        if latest > 0 && self.settings.target_info == TargetInfo::Send {
            self.target_info(&resource, latest);
        }
    }

    fn kind(metric: &Metric) -> MetricKind {
        match &metric.data {
            None => MetricKind::Unknown,
            Some(Data::Gauge(_)) => MetricKind::Gauge,
            Some(Data::Sum(sum)) if sum.is_monotonic => MetricKind::MonotonicSum,
            Some(Data::Sum(_)) => MetricKind::NonMonotonicSum,
            Some(Data::Histogram(_)) => MetricKind::Histogram,
            Some(Data::ExponentialHistogram(_)) => MetricKind::ExponentialHistogram,
            Some(Data::Summary(_)) => MetricKind::Summary,
        }
    }

    fn family(&self, metric: &Metric) -> Option<String> {
        let namer = MetricNamer {
            namespace: self.settings.namespace.clone(),
            escaping: self.settings.strategy.escaping(),
            suffixes: self.settings.strategy.suffixes(),
        };
        namer.name(&metric.name, &metric.unit, Self::kind(metric)).ok()
    }

    fn metric(&mut self, metric: &Metric, resource: &Resource, scope: &InstrumentationScope) -> u64 {
        let (points, temporality) = match &metric.data {
            None => (0, 2),
            Some(Data::Gauge(data)) => (data.data_points.len(), 2),
            Some(Data::Sum(data)) => (data.data_points.len(), data.aggregation_temporality),
            Some(Data::Histogram(data)) => (data.data_points.len(), data.aggregation_temporality),
            Some(Data::ExponentialHistogram(data)) => (data.data_points.len(), data.aggregation_temporality),
            Some(Data::Summary(data)) => (data.data_points.len(), 2),
        };
        if temporality != 2 {
            self.refusals.extend(vec![Refusal::NotCumulative; points]);
            return 0;
        }
        let Some(family) = self.family(metric) else {
            self.refusals.extend(vec![Refusal::MetricName; points]);
            return 0;
        };
        let mut latest = 0;
        let mut note = |reference: &mut Self, outcome: Result<Vec<TimeSeries>, Refusal>, nanos: u64| match outcome {
            Ok(series) => {
                reference.series.extend(series);
                latest = latest.max(nanos);
            }
            Err(refusal) => reference.refusals.push(refusal),
        };
        match &metric.data {
            None => {}
            Some(Data::Gauge(data)) => data.data_points.iter().for_each(|point| {
                let made = self.number(point, &family, resource, scope, false);
                note(self, made, point.time_unix_nano);
            }),
            Some(Data::Sum(data)) => data.data_points.iter().for_each(|point| {
                let made = self.number(point, &family, resource, scope, data.is_monotonic);
                note(self, made, point.time_unix_nano);
            }),
            Some(Data::Histogram(data)) => data.data_points.iter().for_each(|point| {
                let made = self.histogram(point, &family, resource, scope);
                note(self, made, point.time_unix_nano);
            }),
            Some(Data::ExponentialHistogram(data)) => data.data_points.iter().for_each(|point| {
                let made = self.exponential(point, &family, resource, scope);
                note(self, made, point.time_unix_nano);
            }),
            Some(Data::Summary(data)) => data.data_points.iter().for_each(|point| {
                let made = self.summary(point, &family, resource, scope);
                note(self, made, point.time_unix_nano);
            }),
        }
        latest
    }

    fn labels(
        &self,
        attributes: &[KeyValue],
        resource: &Resource,
        scope: &InstrumentationScope,
    ) -> Result<Labels, Refusal> {
        let namer = self.namer();
        let is_service = |key: &str| key.starts_with("service.n") || key == "service.instance.id";
        let from_resource = resource.attributes.iter().filter(|pair| match self.settings.resource_labels {
            ResourceLabels::None => false,
            ResourceLabels::All => true,
            ResourceLabels::WithoutService => !is_service(&pair.key),
        });
        let from_resource: Vec<&KeyValue> = from_resource.collect();
        let mut all: Vec<(String, String)> = Vec::new();
        for pair in attributes {
            if from_resource.iter().all(|other| other.key != pair.key) {
                all.push((pair.key.clone(), text(pair.value.as_ref())));
            }
        }
        all.extend(from_resource.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))));
        all.sort_by(|left, right| left.0.cmp(&right.0));
        let mut labels = Labels::new();
        for (key, value) in &all {
            if value.is_empty() {
                continue;
            }
            let name = namer.name(key).map_err(|_| Refusal::LabelName)?;
            match labels.get_mut(&*name) {
                None => drop(labels.insert(name.into_owned(), value.clone())),
                Some(present) if present == value => {}
                Some(present) => *present = format!("{present};{value}"),
            }
        }
        self.identity(&mut labels, resource);
        if self.settings.scope_labels == ScopeLabels::Send {
            let mut add = |key: &str, value: String| {
                if let (Ok(name), false) = (namer.name(key), value.is_empty()) {
                    labels.insert(name.into_owned(), value);
                }
            };
            add("otel_scope_name", scope.name.clone());
            add("otel_scope_version", scope.version.clone());
            for pair in scope.attributes.iter().filter(|pair| !["name", "version", "schema_url"].contains(&&*pair.key))
            {
                add(&format!("otel_scope_{}", pair.key), text(pair.value.as_ref()));
            }
        }
        Ok(labels)
    }

    fn identity(&self, labels: &mut Labels, resource: &Resource) {
        let of = |key: &str| attribute(&resource.attributes, key);
        if let Some(name) = of("service.name").filter(|name| !name.is_empty()) {
            let job = match of("service.namespace") {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name,
            };
            labels.insert("job".to_owned(), job);
        }
        if let Some(instance) = of("service.instance.id").filter(|instance| !instance.is_empty()) {
            labels.insert("instance".to_owned(), instance);
        }
        for (key, value) in &self.settings.external_labels {
            let name = self.namer().name(key).expect("the settings have names").into_owned();
            if !value.is_empty() {
                labels.entry(name).or_insert_with(|| value.clone());
            }
        }
    }

    fn series_of(
        mut labels: Labels,
        name: String,
        extra: Option<(&str, String)>,
        sample: Option<Sample>,
    ) -> TimeSeries {
        labels.insert("__name__".to_owned(), name);
        if let Some((label, value)) = extra {
            labels.insert(label.to_owned(), value);
        }
        let labels = labels.into_iter().map(|(name, value)| Label { name, value }).collect();
        TimeSeries { labels, samples: sample.into_iter().collect(), exemplars: vec![], histograms: vec![] }
    }

    fn number(
        &self,
        point: &NumberDataPoint,
        family: &str,
        resource: &Resource,
        scope: &InstrumentationScope,
        is_counter: bool,
    ) -> Result<Vec<TimeSeries>, Refusal> {
        let value = match (point.flags & 1, point.value) {
            (1, _) => STALE_NAN,
            (_, Some(number_data_point::Value::AsDouble(value))) => value,
            (_, Some(number_data_point::Value::AsInt(value))) => value as f64,
            (_, None) => return Err(Refusal::NoValue),
        };
        let labels = self.labels(&point.attributes, resource, scope)?;
        let sample = Sample { value, timestamp: ms(point.time_unix_nano) };
        let mut series = Self::series_of(labels, family.to_owned(), None, Some(sample));
        if is_counter {
            series.exemplars = point.exemplars.iter().map(|exemplar| self.exemplar(exemplar)).collect();
        }
        Ok(vec![series])
    }

    fn histogram(
        &self,
        point: &HistogramDataPoint,
        family: &str,
        resource: &Resource,
        scope: &InstrumentationScope,
    ) -> Result<Vec<TimeSeries>, Refusal> {
        let mut labels = self.labels(&point.attributes, resource, scope)?;
        labels.remove("le");
        let is_stale = point.flags & 1 == 1;
        let sample = |value: f64| {
            Some(Sample { value: if is_stale { STALE_NAN } else { value }, timestamp: ms(point.time_unix_nano) })
        };
        let mut all = Vec::new();
        if point.sum.is_some() || is_stale {
            let name = format!("{family}_sum");
            all.push(Self::series_of(labels.clone(), name, None, sample(point.sum.unwrap_or_default())));
        }
        all.push(Self::series_of(labels.clone(), format!("{family}_count"), None, sample(point.count as f64)));
        let mut bounds: Vec<f64> =
            point.explicit_bounds.iter().zip(&point.bucket_counts).map(|(bound, _)| *bound).collect();
        bounds.push(f64::INFINITY);
        let last = bounds.len() - 1;
        let mut below = 0;
        for (index, bound) in bounds.iter().enumerate() {
            below = if index == last { point.count } else { below + point.bucket_counts[index] };
            let extra = Some(("le", plain_float(*bound)));
            let mut series = Self::series_of(labels.clone(), format!("{family}_bucket"), extra, sample(below as f64));
            let falls_here = |exemplar: &&Exemplar| {
                let value = exemplar_value(exemplar);
                bounds.iter().take(last).position(|bound| value <= *bound).unwrap_or(last) == index
            };
            series.exemplars = point.exemplars.iter().filter(falls_here).map(|it| self.exemplar(it)).collect();
            all.push(series);
        }
        Ok(all)
    }

    fn exponential(
        &self,
        point: &ExponentialHistogramDataPoint,
        family: &str,
        resource: &Resource,
        scope: &InstrumentationScope,
    ) -> Result<Vec<TimeSeries>, Refusal> {
        let labels = self.labels(&point.attributes, resource, scope)?;
        let is_stale = point.flags & 1 == 1;
        if point.scale < -4 {
            return Err(Refusal::ScaleTooSmall);
        }
        let sum = if is_stale { STALE_NAN } else { point.sum.ok_or(Refusal::NoSum)? };
        let count = if is_stale { STALE_NAN.to_bits() } else { point.count };
        let merge = (point.scale - 8).max(0) as u32;
        let (negative_spans, negative_deltas) = spans(point.negative.as_ref(), merge)?;
        let (positive_spans, positive_deltas) = spans(point.positive.as_ref(), merge)?;
        let histogram = Histogram {
            count: Some(Count::Int(count)),
            sum,
            schema: point.scale.min(8),
            zero_threshold: if point.zero_threshold == 0.0 { 1e-128 } else { point.zero_threshold },
            zero_count: Some(ZeroCount::Int(point.zero_count)),
            negative_spans,
            negative_deltas,
            positive_spans,
            positive_deltas,
            timestamp: ms(point.time_unix_nano),
            ..Histogram::default()
        };
        let mut series = Self::series_of(labels, family.to_owned(), None, None);
        series.histograms.push(histogram);
        series.exemplars = point.exemplars.iter().map(|exemplar| self.exemplar(exemplar)).collect();
        Ok(vec![series])
    }

    fn summary(
        &self,
        point: &SummaryDataPoint,
        family: &str,
        resource: &Resource,
        scope: &InstrumentationScope,
    ) -> Result<Vec<TimeSeries>, Refusal> {
        let mut labels = self.labels(&point.attributes, resource, scope)?;
        labels.remove("quantile");
        let is_stale = point.flags & 1 == 1;
        let sample = |value: f64| {
            Some(Sample { value: if is_stale { STALE_NAN } else { value }, timestamp: ms(point.time_unix_nano) })
        };
        let mut all = vec![
            Self::series_of(labels.clone(), format!("{family}_sum"), None, sample(point.sum)),
            Self::series_of(labels.clone(), format!("{family}_count"), None, sample(point.count as f64)),
        ];
        for quantile in &point.quantile_values {
            let extra = Some(("quantile", plain_float(quantile.quantile)));
            all.push(Self::series_of(labels.clone(), family.to_owned(), extra, sample(quantile.value)));
        }
        Ok(all)
    }

    fn exemplar(&self, exemplar: &Exemplar) -> WrittenExemplar {
        let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut ids = Labels::new();
        let is_id = |id: &[u8], size: usize| id.len() == size && id.iter().any(|byte| *byte != 0);
        if is_id(&exemplar.trace_id, 16) {
            ids.insert("trace_id".to_owned(), hex(&exemplar.trace_id));
        }
        if is_id(&exemplar.span_id, 8) {
            ids.insert("span_id".to_owned(), hex(&exemplar.span_id));
        }
        let mut labels = ids.clone();
        for pair in &exemplar.filtered_attributes {
            let value = text(pair.value.as_ref());
            if let (Ok(name), false) = (self.namer().name(&pair.key), value.is_empty()) {
                labels.entry(name.into_owned()).or_insert(value);
            }
        }
        let characters: usize = labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        let labels = if characters > 128 { ids } else { labels };
        WrittenExemplar {
            labels: labels.into_iter().map(|(name, value)| Label { name, value }).collect(),
            value: exemplar_value(exemplar),
            timestamp: ms(exemplar.time_unix_nano),
        }
    }

    fn target_info(&mut self, resource: &Resource, latest: u64) {
        let is_service = |key: &str| ["service.name", "service.namespace", "service.instance.id"].contains(&key);
        let described: Vec<KeyValue> =
            resource.attributes.iter().filter(|pair| !is_service(&pair.key)).cloned().collect();
        let of = |key: &str| attribute(&resource.attributes, key).filter(|value| !value.is_empty());
        if described.is_empty() || (of("service.name").is_none() && of("service.instance.id").is_none()) {
            return;
        }
        let mut sorted = described;
        sorted.sort_by(|left, right| left.key.cmp(&right.key));
        let mut labels = Labels::new();
        for pair in sorted {
            let value = text(pair.value.as_ref());
            let (Ok(name), false) = (self.namer().name(&pair.key), value.is_empty()) else { continue };
            match labels.get_mut(&*name) {
                None => drop(labels.insert(name.into_owned(), value)),
                Some(present) if *present == value => {}
                Some(present) => *present = format!("{present};{value}"),
            }
        }
        self.identity(&mut labels, resource);
        let prefix =
            if self.settings.namespace.is_empty() { String::new() } else { format!("{}_", self.settings.namespace) };
        let sample = Sample { value: 1.0, timestamp: ms(latest) };
        self.series.push(Self::series_of(labels, format!("{prefix}target_info"), None, Some(sample)));
    }

    fn describe(&mut self, metric: &Metric) {
        let Some(family) = self.family(metric) else { return };
        if self.metadata.iter().any(|known| known.metric_family_name == family) {
            return;
        }
        let scraped_as = attribute(&metric.metadata, "prometheus.type").unwrap_or_default();
        let kind = match (&metric.data, scraped_as.as_str()) {
            (None, _) | (Some(Data::Gauge(_)), "unknown") => MetricType::Unknown,
            (Some(Data::Gauge(_)), _) => MetricType::Gauge,
            (Some(Data::Sum(sum)), _) if sum.is_monotonic => MetricType::Counter,
            (Some(Data::Sum(_)), "info") => MetricType::Info,
            (Some(Data::Sum(_)), "stateset") => MetricType::StateSet,
            (Some(Data::Sum(_)), _) => MetricType::Gauge,
            (Some(Data::Histogram(_) | Data::ExponentialHistogram(_)), _) => MetricType::Histogram,
            (Some(Data::Summary(_)), _) => MetricType::Summary,
        };
        self.metadata.push(MetricMetadata {
            r#type: kind as i32,
            metric_family_name: family,
            help: metric.description.clone(),
            unit: unit_name(&metric.unit, self.settings.strategy.escaping()),
        });
    }
}

fn exemplar_value(exemplar: &Exemplar) -> f64 {
    match exemplar.value {
        Some(exemplar::Value::AsDouble(value)) => value,
        Some(exemplar::Value::AsInt(value)) => value as f64,
        None => 0.0,
    }
}

/// Spans and deltas of buckets, by way of a map of all counts by index.
fn spans(buckets: Option<&Buckets>, merge: u32) -> Result<(Vec<BucketSpan>, Vec<i64>), Refusal> {
    let Some(buckets) = buckets else { return Ok((vec![], vec![])) };
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for (position, count) in buckets.bucket_counts.iter().enumerate() {
        let index = i64::from(buckets.offset) + position as i64;
        // Rounding down, which is what a shift does.
        let merged = if merge >= 62 { if index < 0 { -1 } else { 0 } } else { index.div_euclid(1 << merge) };
        *counts.entry(merged + 1).or_default() += *count as i64;
    }
    counts.retain(|_, count| *count != 0);
    let (mut spans, mut deltas, mut last_count) = (Vec::<BucketSpan>::new(), Vec::new(), 0);
    let mut next_index = 0;
    for (index, count) in counts {
        let gap = index - next_index;
        if spans.is_empty() || gap > 2 {
            let offset = i32::try_from(gap).map_err(|_| Refusal::BucketIndex)?;
            spans.push(BucketSpan { offset, length: 0 });
        } else {
            for _ in 0..gap {
                deltas.push(0 - last_count);
                last_count = 0;
                spans.last_mut().expect("a span").length += 1;
            }
        }
        deltas.push(count - last_count);
        last_count = count;
        spans.last_mut().expect("a span").length += 1;
        next_index = index + 1;
    }
    Ok((spans, deltas))
}
