//! Log records as the streams of a push: labels, lines and structured metadata.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use component::{Failure, Rejection};
use config::Section;
use legacy::loki::{Entry, LabelSet, Push};
use otlp::Batch;
use otlp::view::{AnyValueView, KeyValues, LogRecordView, ResourceView, ScopeView};
use prom::names::{Escaping, LabelNamer, Underscores};

use super::line::{self, Format, Parts};

/// Hints: attributes that say how a record is sent, and are not sent.
pub(super) const HINT_ATTRIBUTES: &str = "loki.attribute.labels";
pub(super) const HINT_RESOURCE: &str = "loki.resource.labels";
pub(super) const HINT_TENANT: &str = "loki.tenant";
pub(super) const HINT_FORMAT: &str = "loki.format";
pub(super) const HINTS: [&str; 4] = [HINT_ATTRIBUTES, HINT_RESOURCE, HINT_TENANT, HINT_FORMAT];

/// A push is not made larger than about this, in bytes before compression; Loki takes 4 MiB by default.
const PUSH_BYTES_MAX: usize = 3 << 20;

const NAMER: LabelNamer = LabelNamer { escaping: Escaping::Underscores, underscores: Underscores::Preserve };

/// How records become entries.
#[derive(Clone, Debug)]
pub(super) struct Converter {
    exporter: Label,
    job: Label,
    instance: Label,
    level: Label,
    resource_labels: Vec<String>,
    attribute_labels: Vec<String>,
    static_labels: Vec<(String, String)>,
    format: Format,
    metadata: Metadata,
}

/// Whether a default label is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    On,
    Off,
}

/// `structured_metadata`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metadata {
    None,
    /// The ids of the trace and the attributes of the record.
    Attributes,
    /// Those of the resource, too.
    All,
}

/// A push of one tenant; the empty one is that of the configuration.
#[derive(Debug, Default)]
pub(super) struct Tenanted {
    pub(super) tenant: String,
    pub(super) push: Push<'static>,
    pub(super) items: u64,
    size_bytes: usize,
}

impl Converter {
    /// Reads the options.
    pub(super) fn read(section: &mut Section<'_>) -> Converter {
        let defaults = section.child("default_labels_enabled", |section| {
            ["exporter", "job", "instance", "level"].map(|key| match section.get(key).bool().or(true) {
                true => Label::On,
                false => Label::Off,
            })
        });
        let (resource_labels, attribute_labels, static_labels) = section.child("labels", |labels| {
            let resource: Vec<String> = labels.get("resource").strings().or_default();
            let attributes: Vec<String> = labels.get("attributes").strings().or_default();
            let fixed = labels.get("static").string_map().or_default();
            for key in resource.iter().chain(&attributes).chain(fixed.iter().map(|(key, _)| key)) {
                if let Err(error) = NAMER.name(key) {
                    labels.fail(format!("`{key}` cannot be a label: {error}"));
                }
            }
            (resource, attributes, fixed)
        });
        let formats = [("json", Format::Json), ("logfmt", Format::Logfmt), ("raw", Format::Raw)];
        let metadata = [("none", Metadata::None), ("attributes", Metadata::Attributes), ("all", Metadata::All)];
        let [exporter, job, instance, level] = defaults;
        Converter {
            exporter,
            job,
            instance,
            level,
            resource_labels,
            attribute_labels,
            static_labels,
            format: section.get("format").one_of(&formats).or(Format::Json),
            metadata: section.get("structured_metadata").one_of(&metadata).or(Metadata::None),
        }
    }

    /// The pushes of a batch, by tenant, and what cannot be sent.
    pub(super) fn convert(&self, batch: &Batch, now_unix_ns: u64) -> (Vec<Tenanted>, Vec<Rejection>) {
        let mut pushes = Pushes::default();
        let mut unlabelled = 0;
        for block in batch.logs().into_iter().flat_map(|logs| logs.resource_logs()) {
            for scope in block.scope_logs() {
                for record in scope.log_records() {
                    let resource = block.resource();
                    let (tenant, labels, entry) = self.entry(resource, scope.scope(), record, now_unix_ns);
                    match labels.is_empty() {
                        true => unlabelled += 1,
                        false => pushes.add(tenant, labels, entry),
                    }
                }
            }
        }
        let mut rejected = Vec::new();
        if unlabelled > 0 {
            let detail = "Loki takes no entry without labels, and all of them are off".to_owned();
            rejected.push(Rejection { items: unlabelled, failure: Failure { cause: "no_labels".into(), detail } });
        }
        (pushes.finish(), rejected)
    }

    fn entry(
        &self,
        resource: ResourceView<'_>,
        scope: ScopeView<'_>,
        record: LogRecordView<'_>,
        now_unix_ns: u64,
    ) -> (String, LabelSet, Entry<'static>) {
        let (on_resource, on_record) = (resource.attributes(), record.attributes());
        let of_resource = chosen(&self.resource_labels, HINT_RESOURCE, on_resource, on_record);
        let of_record = chosen(&self.attribute_labels, HINT_ATTRIBUTES, on_resource, on_record);
        let mut labels = LabelSet::default();
        self.default_labels(&mut labels, on_resource, record);
        for (key, value) in &self.static_labels {
            set(&mut labels, key, value);
        }
        for (keys, attributes) in [(&of_resource, on_resource), (&of_record, on_record)] {
            for key in keys {
                if let Some(value) = attributes.get(key) {
                    set(&mut labels, key, &value.to_text());
                }
            }
        }
        let tenant = hint(HINT_TENANT, on_resource, on_record)
            .and_then(|key| on_resource.get(&key).or_else(|| on_record.get(&key)))
            .map_or_else(String::new, |value| value.to_text().into_owned());
        let format = hint(HINT_FORMAT, on_resource, on_record).and_then(|name| Format::named(&name));
        let parts = Parts { resource: on_resource, scope, record, of_resource: &of_resource, of_record: &of_record };
        let text = line::line(format.unwrap_or(self.format), &parts);
        let time = [record.time_unix_nano(), record.observed_time_unix_nano(), now_unix_ns];
        let time = time.into_iter().find(|time| *time > 0).unwrap_or_default();
        let mut entry = Entry::new(time, text);
        entry.structured_metadata = self.metadata(&parts);
        (tenant, labels, entry)
    }

    fn default_labels(&self, labels: &mut LabelSet, resource: KeyValues<'_>, record: LogRecordView<'_>) {
        let text = |key: &str| resource.get(key).map(AnyValueView::to_text).filter(|text| !text.is_empty());
        if self.exporter == Label::On {
            labels.set("exporter", "OTLP");
        }
        if self.job == Label::On
            && let Some(name) = text("service.name")
        {
            match text("service.namespace") {
                Some(namespace) => labels.set("job", &format!("{namespace}/{name}")),
                None => labels.set("job", &name),
            }
        }
        if self.instance == Label::On
            && let Some(instance) = text("service.instance.id")
        {
            labels.set("instance", &instance);
        }
        if self.level == Label::On {
            match record.attributes().get("level") {
                Some(level) => labels.set("level", &level.to_text()),
                None => labels.set("level", line::level(record.severity_number())),
            }
        }
    }

    fn metadata(&self, parts: &Parts<'_>) -> Vec<(Cow<'static, str>, Cow<'static, str>)> {
        let mut pairs = BTreeMap::new();
        let mut add = |attributes: KeyValues<'_>, labels: &BTreeSet<String>| {
            for attribute in attributes.filter(|attribute| !line::is_elsewhere(attribute.key(), labels)) {
                if let Ok(name) = NAMER.name(attribute.key()) {
                    pairs.insert(name.into_owned(), attribute.value().to_text().into_owned());
                }
            }
        };
        if self.metadata == Metadata::All {
            add(parts.resource, parts.of_resource);
        }
        if self.metadata != Metadata::None {
            add(parts.record.attributes(), parts.of_record);
            for (name, id) in [
                ("trace_id", parts.record.trace_id().map(|id| id.to_string())),
                ("span_id", parts.record.span_id().map(|id| id.to_string())),
            ] {
                pairs.extend(id.map(|id| (name.to_owned(), id)));
            }
        }
        pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

fn set(labels: &mut LabelSet, key: &str, value: &str) {
    // A key without a name for it is no label; options were checked, and hints come from outside.
    if let Ok(name) = NAMER.name(key) {
        labels.set(&name, value);
    }
}

/// A hint's text: that of the resource has precedence.
fn hint(name: &str, resource: KeyValues<'_>, record: KeyValues<'_>) -> Option<String> {
    let value = resource.get(name).or_else(|| record.get(name))?;
    Some(value.to_text().into_owned()).filter(|text| !text.is_empty())
}

/// The attributes that are labels: by an option, or by a hint, which is a list or text with commas.
fn chosen(configured: &[String], hint: &str, resource: KeyValues<'_>, record: KeyValues<'_>) -> BTreeSet<String> {
    let mut keys: BTreeSet<String> = configured.iter().cloned().collect();
    for hinted in [resource.get(hint), record.get(hint)].into_iter().flatten() {
        match hinted {
            AnyValueView::Array(values) => keys.extend(values.map(|value| value.to_text().into_owned())),
            value => keys.extend(value.to_text().split(',').map(|key| key.trim().to_owned())),
        }
    }
    keys.remove("");
    keys
}

/// Pushes that are being filled, by tenant.
#[derive(Default)]
struct Pushes {
    open: BTreeMap<String, Tenanted>,
    full: Vec<Tenanted>,
}

impl Pushes {
    fn add(&mut self, tenant: String, labels: LabelSet, entry: Entry<'static>) {
        const ENTRY_BYTES: usize = 32;
        let of_metadata = entry.structured_metadata.iter().map(|(name, value)| name.len() + value.len());
        let size_bytes = entry.line.len() + of_metadata.sum::<usize>() + ENTRY_BYTES;
        let open = self.open.entry(tenant.clone()).or_default();
        if open.items > 0 && open.size_bytes + size_bytes > PUSH_BYTES_MAX {
            self.full.push(std::mem::take(open).in_order());
        }
        open.tenant = tenant;
        open.items += 1;
        open.size_bytes += size_bytes;
        open.push.stream(labels).push(entry);
    }

    fn finish(self) -> Vec<Tenanted> {
        let mut full = self.full;
        full.extend(self.open.into_values().filter(|open| open.items > 0).map(Tenanted::in_order));
        full
    }
}

impl Tenanted {
    /// With the entries of each stream by their times; those of one time stay in their order.
    fn in_order(mut self) -> Tenanted {
        let labels: Vec<LabelSet> = self.push.streams().map(|(labels, _)| labels.clone()).collect();
        for labels in labels {
            self.push.stream(labels).sort_by_key(|entry| entry.timestamp_unix_ns);
        }
        self
    }
}
