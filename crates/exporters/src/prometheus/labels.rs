//! The labels of series: attributes of the data point, then what resource, scope and configuration add.
//!
//! Sources by rising precedence: attributes of the data point, attributes of the resource where those are labels, `job`
//! and `instance`, the labels of the scope. `const_labels` only fill gaps, so that they never make one series of two.
//! Attributes whose keys become the same label join their values by `;`, in the order of the keys.

use std::borrow::Cow;

use otlp::view::{AnyValueView, KeyValues, ResourceView, ScopeMetricsView};
use prom::labels::{LabelBuilder, LabelSet, METRIC_NAME};
use prom::names::LabelNamer;

use super::options::{IDENTIFYING, ResourceSelection};
use super::refusal::Refusal;

/// A series has no more labels than this, so that the work for one data point is bounded.
pub(super) const LABELS_MAX: usize = 256;

/// Whether series have `otel_scope_*` labels (`without_scope_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScopeLabels {
    Send,
    Omit,
}

/// Makes labels.
#[derive(Debug)]
pub(super) struct Labeler {
    namer: LabelNamer,
    const_labels: Vec<(String, String)>,
    resource: ResourceSelection,
    scope: ScopeLabels,
    builder: LabelBuilder,
}

/// What one resource adds to the labels of its series.
pub(super) struct ResourceLabels<'a> {
    /// What makes `job` and `instance`.
    pub(super) identity: Identity,
    /// Attributes that each data point has as if they were its own.
    attributes: Vec<(&'a str, Cow<'a, str>)>,
}

/// What one scope of a resource adds to the labels of its series.
pub(super) struct ScopeContext<'r, 'a> {
    resource: &'r ResourceLabels<'a>,
    labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// The names under which Prometheus knows a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) job: Option<String>,
    pub(super) instance: Option<String>,
}

impl Identity {
    fn of(resource: &ResourceView<'_>) -> Identity {
        let [name, namespace, instance] =
            IDENTIFYING.map(|key| resource.attributes().get(key).map(AnyValueView::to_text));
        let job = name.filter(|name| !name.is_empty()).map(|name| match namespace {
            Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}"),
            _ => name.into_owned(),
        });
        Identity { job, instance: instance.filter(|text| !text.is_empty()).map(Cow::into_owned) }
    }

    fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let labels = [("job", &self.job), ("instance", &self.instance)];
        labels.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// Whether there is nothing by which the resource could be told from others.
    pub(super) fn is_empty(&self) -> bool {
        self.job.is_none() && self.instance.is_none()
    }
}

impl Labeler {
    /// The names of constant labels are translated as attribute keys are.
    pub(super) fn new(
        namer: LabelNamer,
        const_labels: &[(String, String)],
        resource: ResourceSelection,
        scope: ScopeLabels,
    ) -> Labeler {
        let translated = const_labels.iter().filter_map(|(name, value)| {
            let name = namer.name(name).ok().filter(|name| name != METRIC_NAME)?;
            Some((name.into_owned(), value.clone()))
        });
        let const_labels = translated.collect();
        Labeler { namer, const_labels, resource, scope, builder: LabelBuilder::default() }
    }

    /// What a resource adds.
    pub(super) fn resource<'a>(&self, resource: &ResourceView<'a>) -> Result<ResourceLabels<'a>, Refusal> {
        let mut attributes = Vec::new();
        if !self.resource.is_empty() {
            let selected = resource.attributes().filter(|attribute| self.resource.includes(attribute.key()));
            attributes.extend(selected.take(LABELS_MAX + 1).map(|pair| (pair.key(), pair.value().to_text())));
        }
        match attributes.len() > LABELS_MAX {
            true => Err(Refusal::LabelLimit),
            false => Ok(ResourceLabels { identity: Identity::of(resource), attributes }),
        }
    }

    /// What a scope adds beside its resource.
    pub(super) fn scope<'r, 'a>(
        &self,
        resource: &'r ResourceLabels<'a>,
        metrics: &ScopeMetricsView<'a>,
    ) -> Result<ScopeContext<'r, 'a>, Refusal> {
        let mut labels: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        if self.scope == ScopeLabels::Send {
            let scope = metrics.scope();
            labels.push(("otel_scope_name".into(), scope.name().into()));
            labels.push(("otel_scope_version".into(), scope.version().into()));
            labels.push(("otel_scope_schema_url".into(), metrics.schema_url().into()));
            for attribute in scope.attributes() {
                // These three would hide the scope's own.
                if matches!(attribute.key(), "name" | "version" | "schema_url") {
                    continue;
                }
                let key = format!("otel_scope_{}", attribute.key());
                let name = self.namer.name(&key).map_err(|_| Refusal::LabelName)?;
                labels.push((name.into_owned().into(), attribute.value().to_text()));
                if labels.len() > LABELS_MAX {
                    return Err(Refusal::LabelLimit);
                }
            }
            labels.retain(|(_, value)| !value.is_empty());
        }
        Ok(ScopeContext { resource, labels })
    }

    /// The labels of a data point's series. `reserved` is the label that the series of a histogram or a summary have of
    /// their own.
    pub(super) fn series(
        &mut self,
        scope: &ScopeContext<'_, '_>,
        attributes: KeyValues<'_>,
        reserved: Option<&str>,
    ) -> Result<LabelSet, Refusal> {
        let of_resource = &scope.resource.attributes;
        let own = attributes.map(|attribute| (attribute.key(), attribute.value().to_text()));
        let own = own.filter(|(key, _)| of_resource.iter().all(|(other, _)| other != key));
        let of_resource = of_resource.iter().map(|(key, value)| (*key, Cow::Borrowed(&**value)));
        self.add_attributes(own.chain(of_resource))?;
        for (name, value) in scope.resource.identity.labels() {
            self.builder.set(name, value);
        }
        for (name, value) in &scope.labels {
            self.builder.set(name, value);
        }
        self.fill_gaps();
        if let Some(reserved) = reserved {
            self.builder.remove(reserved);
        }
        Ok(self.builder.build())
    }

    /// The labels of `target_info`: everything that describes a resource, without what makes its identity.
    pub(super) fn target_info(
        &mut self,
        identity: &Identity,
        resource: &ResourceView<'_>,
    ) -> Result<LabelSet, Refusal> {
        let described = resource.attributes().filter(|attribute| !IDENTIFYING.contains(&attribute.key()));
        let described = described.map(|attribute| (attribute.key(), attribute.value().to_text()));
        self.add_attributes(described)?;
        for (name, value) in identity.labels() {
            self.builder.set(name, value);
        }
        self.fill_gaps();
        Ok(self.builder.build())
    }

    fn fill_gaps(&mut self) {
        for (name, value) in &self.const_labels {
            if self.builder.get(name).is_empty() {
                self.builder.set(name, value);
            }
        }
    }

    /// Starts anew with attributes as labels.
    fn add_attributes<'a>(
        &mut self,
        attributes: impl Iterator<Item = (&'a str, Cow<'a, str>)> + Clone,
    ) -> Result<(), Refusal> {
        self.builder.clear();
        for (index, (key, value)) in attributes.clone().enumerate() {
            if index == LABELS_MAX {
                return Err(Refusal::LabelLimit);
            }
            let name = self.namer.name(key).map_err(|_| Refusal::LabelName)?;
            if name != METRIC_NAME && self.builder.push(&name, &value).is_err() {
                return self.add_joined(attributes.collect());
            }
        }
        Ok(())
    }

    /// The same where several keys become one label.
    #[cold]
    fn add_joined(&mut self, mut attributes: Vec<(&str, Cow<'_, str>)>) -> Result<(), Refusal> {
        if attributes.len() > LABELS_MAX {
            return Err(Refusal::LabelLimit);
        }
        self.builder.clear();
        attributes.retain(|(_, value)| !value.is_empty());
        attributes.sort_by_key(|(key, _)| *key);
        for (key, value) in attributes {
            let name = self.namer.name(key).map_err(|_| Refusal::LabelName)?;
            if name == METRIC_NAME {
                continue;
            }
            match self.builder.get(&name) {
                "" => self.builder.set(&name, &value),
                present => {
                    let joined = format!("{present};{value}");
                    self.builder.set(&name, &joined);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use otlp::Batch;
    use otlp::encode::{AttributesWriter, MetricsEncoder};
    use prom::names::{Escaping, Underscores};

    use super::*;

    fn labeler(resource: ResourceSelection) -> Labeler {
        let namer = LabelNamer { escaping: Escaping::Underscores, underscores: Underscores::Preserve };
        let const_labels = [("const label".to_owned(), "c".to_owned()), ("zone".to_owned(), "const".to_owned())];
        Labeler::new(namer, &const_labels, resource, ScopeLabels::Send)
    }

    /// A resource with a scope and one gauge of one data point.
    fn batch(
        resource: &[(&str, &str)],
        scope: &[(&str, &str)],
        point: impl FnOnce(&mut AttributesWriter<'_>),
    ) -> Batch {
        let mut encoder = MetricsEncoder::new();
        encoder.resource_metrics(|block| {
            block.resource(|writer| {
                for (key, value) in resource {
                    writer.attributes().string(key, value);
                }
            });
            block.scope_metrics(|metrics| {
                metrics.scope(|writer| {
                    for (key, value) in scope {
                        writer.attributes().string(key, value);
                    }
                    writer.name("lib").version("1.2");
                });
                metrics.schema_url("https://schema");
                metrics.metric(|metric| metric.gauge(|gauge| gauge.point(|writer| point(&mut writer.attributes()))));
            });
        });
        encoder.finish()
    }

    fn labels_of(mut labeler: Labeler, batch: &Batch) -> Result<(LabelSet, LabelSet), Refusal> {
        let block = batch.metrics().unwrap().resource_metrics().next().unwrap();
        let metrics = block.scope_metrics().next().unwrap();
        let otlp::view::MetricData::Gauge { mut points } = metrics.metrics().next().unwrap().data() else { panic!() };
        let resource = labeler.resource(&block.resource())?;
        let scope = labeler.scope(&resource, &metrics)?;
        let series = labeler.series(&scope, points.next().unwrap().attributes(), Some("le"))?;
        Ok((series, labeler.target_info(&resource.identity, &block.resource())?))
    }

    fn check(batch: &Batch, series: &str, target_info: &str) {
        let (found_series, found_target) = labels_of(labeler(ResourceSelection::default()), batch).unwrap();
        assert_eq!(found_series.to_string(), series);
        assert_eq!(found_target.to_string(), target_info);
    }

    #[test]
    fn a_series_has_the_labels_of_data_point_resource_scope_and_configuration() {
        let resource = [("service.name", "shop"), ("service.namespace", "eu"), ("host.name", "h1")];
        let batch = batch(&resource, &[("team", "a"), ("name", "hidden")], |point| {
            point.string("http.method", "GET").int("code", 200).string("empty", "");
        });
        check(
            &batch,
            r#"{code="200", const_label="c", http_method="GET", job="eu/shop", otel_scope_name="lib", otel_scope_schema_url="https://schema", otel_scope_team="a", otel_scope_version="1.2", zone="const"}"#,
            r#"{const_label="c", host_name="h1", job="eu/shop", zone="const"}"#,
        );
    }

    #[test]
    fn identity_wins_over_attributes_and_constant_labels_over_nothing() {
        let resource = [("service.name", "shop"), ("service.instance.id", "i1"), ("job", "own")];
        let batch = batch(&resource, &[], |point| {
            point.string("job", "own").string("zone", "north").string("le", "1").string("__name__", "x");
        });
        check(
            &batch,
            r#"{const_label="c", instance="i1", job="shop", otel_scope_name="lib", otel_scope_schema_url="https://schema", otel_scope_version="1.2", zone="north"}"#,
            r#"{const_label="c", instance="i1", job="shop", zone="const"}"#,
        );
    }

    #[test]
    fn keys_that_become_one_label_join_their_values_in_the_order_of_the_keys() {
        let batch = batch(&[("a.b", "1"), ("a_b", "2")], &[], |point| {
            point.string("x_y", "late").string("x.y", "early").string("x-y", "first").string("x/y", "");
        });
        let (series, target) = labels_of(labeler(ResourceSelection::default()), &batch).unwrap();
        assert_eq!(series.get("x_y"), Some("first;early;late"));
        assert_eq!(target.get("a_b"), Some("1;2"));
    }

    #[test]
    fn selected_attributes_of_the_resource_are_labels_and_win_over_the_data_point_s() {
        let everything = config::parse_str(
            "t.yaml",
            "resource_to_telemetry_conversion: {enabled: true, exclude_service_attributes: true}",
            &config::TestEnvironment::new(),
        );
        let mut diagnostics = config::Diagnostics::new();
        let root = everything.unwrap().root;
        let selection = config::Section::open(&root, "t", &mut diagnostics).read(ResourceSelection::read);
        let resource = [("service.name", "shop"), ("host.name", "h1"), ("zone", "south")];
        let batch = batch(&resource, &[], |point| {
            point.string("zone", "north");
        });
        let (series, _) = labels_of(labeler(selection), &batch).unwrap();
        assert_eq!((series.get("host_name"), series.get("zone")), (Some("h1"), Some("south")));
        assert_eq!((series.get("service_name"), series.get("job")), (None, Some("shop")));
    }

    #[test]
    fn labels_are_bounded_in_number() {
        let keys: Vec<String> = (0..=LABELS_MAX).map(|index| format!("k{index}")).collect();
        let fill = |point: &mut AttributesWriter<'_>, count: usize| {
            for key in &keys[..count] {
                point.string(key, "v");
            }
        };
        let fits = batch(&[], &[], |point| fill(point, LABELS_MAX));
        assert!(labels_of(labeler(ResourceSelection::default()), &fits).is_ok());
        let exceeds = batch(&[], &[], |point| fill(point, LABELS_MAX + 1));
        assert_eq!(labels_of(labeler(ResourceSelection::default()), &exceeds), Err(Refusal::LabelLimit));
    }

    #[test]
    fn an_attribute_without_a_key_has_no_label() {
        let unnamed = batch(&[], &[], |point| {
            point.string("", "v");
        });
        assert_eq!(labels_of(labeler(ResourceSelection::default()), &unnamed), Err(Refusal::LabelName));
    }
}
