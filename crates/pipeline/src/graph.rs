//! The configuration as a graph of built components: every name resolved, every error reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use component::{
    Authenticators, BuildContext, BuiltExporter, BuiltProcessor, Connector, Delivery, Exporter, Extension, Listing,
    Order, Receiver, Registry, Storages, Waiting,
};
use config::shapes::{Retry, SendingQueue};
use config::{ComponentId, Diagnostic, Diagnostics, Node, Path, Section, Spanned, nearest};
use otlp::Signal;

use crate::migration::Migration;
use crate::service::{self, Defined, LedgerSettings, PipelineSettings, ServiceSettings, Serving, TelemetrySettings};
use crate::storage::{JournalConfig, JournalSettings, NamedStorage, Storage, asked_for};

/// A configuration that can run.
pub struct Graph {
    pub(crate) pipelines: Vec<PipelinePlan>,
    pub(crate) receivers: Vec<(ComponentId, Box<dyn Receiver>)>,
    pub(crate) exporters: Vec<(ComponentId, BuiltExporter)>,
    pub(crate) connectors: Vec<(ComponentId, Box<dyn Connector>)>,
    pub(crate) extensions: Vec<(ComponentId, Box<dyn Extension>)>,
    pub(crate) journal: JournalSettings,
    pub(crate) ledger: LedgerSettings,
    /// `migration`, if there is one.
    pub migration: Option<Migration>,
    /// `service.telemetry`.
    pub telemetry: TelemetrySettings,
    /// Where the admin API is served, if it is.
    pub admin: Option<Serving>,
}

/// One pipeline of it.
pub(crate) struct PipelinePlan {
    pub(crate) name: String,
    pub(crate) signal: Signal,
    pub(crate) receivers: Vec<ComponentId>,
    pub(crate) processors: Vec<(ComponentId, BuiltProcessor)>,
    pub(crate) exporters: Vec<ComponentId>,
}

/// How a connector brings batches to the next pipelines: they refuse only while their journal is full, so it tries
/// again soon and does not give up.
pub(crate) fn connector_delivery(exporter: Arc<dyn Exporter>) -> BuiltExporter {
    let retry = Retry {
        initial_interval: Duration::from_millis(50),
        max_interval: Duration::from_secs(1),
        max_elapsed_time: None,
        ..Retry::default()
    };
    let delivery = Delivery {
        queue: SendingQueue::default(),
        retry,
        timeout: Duration::ZERO,
        order: Order::Kept,
        waiting: Waiting::Apart,
    };
    BuiltExporter { exporter, delivery }
}

impl Graph {
    /// Builds every component and pipeline of a configuration. `None` if there were errors; all of them are in
    /// `diagnostics` then.
    pub fn build(root: &Node, registry: &Registry, diagnostics: &mut Diagnostics) -> Option<Graph> {
        let mut root = Section::open(root, Path::root(), diagnostics);
        let service = root.child("service", ServiceSettings::read);
        let journal = root.child("journal", JournalConfig::read);
        let ledger = root.child("ledger", service::read_ledger);
        let admin = root.child("admin", service::read_admin);
        let migration = root.child_if_present("migration", Migration::read_for_run);
        let defined = Roles::read(&mut root);
        let wrong = migration.as_ref().map(|migration| migration.check(&service.pipelines)).unwrap_or_default();
        wrong.into_iter().for_each(|wrong| root.diagnostics().push(wrong));
        let graph = Builder::new(registry, root.diagnostics()).graph(service, &defined, journal, ledger, admin);
        let graph = graph.map(|graph| Graph { migration, ..graph });
        root.finish();
        (!diagnostics.has_errors()).then_some(graph).flatten()
    }

    /// Where the journal lies, if it is on disk.
    pub fn journal_directory(&self) -> Option<&std::path::Path> {
        match &self.journal.storage {
            Storage::Disk { directory, .. } => Some(directory),
            Storage::Memory(_) => None,
        }
    }

    /// The graph as text: where the journal is, if on disk, and one pipeline after another.
    pub fn describe(&self) -> String {
        let mut text = self.journal.storage.to_string();
        for plan in &self.pipelines {
            let names = |ids: &[ComponentId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
            let mut steps = vec![names(&plan.receivers).join(" + ")];
            let mut batching = None;
            for (id, built) in &plan.processors {
                match built {
                    BuiltProcessor::Each(_) => steps.push(id.to_string()),
                    BuiltProcessor::Batching(_) => batching = Some(id),
                }
            }
            // Writing into a string does not fail.
            let _ = writeln!(text, "{}\n  {} -> journal", plan.name, steps.join(" -> "));
            let exporters = names(&plan.exporters);
            for (index, exporter) in exporters.iter().enumerate() {
                let branch = if index + 1 == exporters.len() { '└' } else { '├' };
                let batch = batching.map_or_else(String::new, |id| format!("{id} -> "));
                let _ = writeln!(text, "    {branch}─ {batch}{exporter}");
            }
        }
        text + &self.migration.as_ref().map(Migration::describe).unwrap_or_default()
    }
}

/// The configured components by role.
struct Roles<'a> {
    receivers: Defined<'a>,
    processors: Defined<'a>,
    exporters: Defined<'a>,
    connectors: Defined<'a>,
    extensions: Defined<'a>,
}

impl<'a> Roles<'a> {
    fn read(root: &mut Section<'a>) -> Roles<'a> {
        Roles {
            receivers: defined(root, "receivers"),
            processors: defined(root, "processors"),
            exporters: defined(root, "exporters"),
            connectors: defined(root, "connectors"),
            extensions: defined(root, "extensions"),
        }
    }
}

fn defined<'a>(root: &mut Section<'a>, key: &'static str) -> Defined<'a> {
    let Some(node) = root.node(key) else { return Vec::new() };
    // Opening it reports a value that is no map.
    Section::open(node, Path::root().key(key), root.diagnostics()).entries();
    let entries = node.as_map().into_iter().flat_map(config::Map::iter);
    let named = entries.map(|entry| {
        let name = Spanned { value: entry.key.to_string(), position: entry.key_position.clone() };
        (name, &entry.value)
    });
    named.collect()
}

/// One role's words: in the registry, and in the configuration.
#[derive(Clone, Copy)]
struct Role {
    one: &'static str,
    key: &'static str,
}

const RECEIVER: Role = Role { one: "receiver", key: "receivers" };
const PROCESSOR: Role = Role { one: "processor", key: "processors" };
const EXPORTER: Role = Role { one: "exporter", key: "exporters" };
const CONNECTOR: Role = Role { one: "connector", key: "connectors" };
const EXTENSION: Role = Role { one: "extension", key: "extensions" };

/// A built component, by its id as the configuration writes it.
type Built<T> = BTreeMap<ComponentId, T>;

struct Builder<'a> {
    registry: &'a Registry,
    diagnostics: &'a mut Diagnostics,
    authenticators: Authenticators,
    storages: Storages,
}

impl<'a> Builder<'a> {
    fn new(registry: &'a Registry, diagnostics: &'a mut Diagnostics) -> Builder<'a> {
        Builder { registry, diagnostics, authenticators: Authenticators::none(), storages: Storages::none() }
    }

    fn graph(
        &mut self,
        service: ServiceSettings,
        defined: &Roles<'_>,
        journal: JournalConfig,
        ledger: LedgerSettings,
        admin: Option<Serving>,
    ) -> Option<Graph> {
        let registry = self.registry;
        // Extensions first: the others may name them as authenticators.
        let extensions = self.role(EXTENSION, &defined.extensions, |kind| registry.extension(kind).map(|f| f.build));
        self.authenticators = authenticators(&extensions, &service.extensions);
        self.storages = storages_of_receivers(&extensions, &service.extensions);
        let receivers = self.role(RECEIVER, &defined.receivers, |kind| registry.receiver(kind).map(|f| f.build));
        let processors = self.role(PROCESSOR, &defined.processors, |kind| registry.processor(kind).map(|f| f.build));
        let exporters = self.role(EXPORTER, &defined.exporters, |kind| registry.exporter(kind).map(|f| f.build));
        let connectors = self.role(CONNECTOR, &defined.connectors, |kind| registry.connector(kind).map(|f| f.build));
        let known = Known {
            receivers: receivers.keys().chain(connectors.keys()).cloned().collect(),
            processors: processors.keys().cloned().collect(),
            exporters: exporters.keys().chain(connectors.keys()).cloned().collect(),
            connectors: connectors.keys().cloned().collect(),
            extensions: extensions.keys().cloned().collect(),
        };
        self.check_names(&service, &known);
        self.check_signals(&service.pipelines);
        self.check_connectors(&service.pipelines, &known.connectors);
        self.warn_unused(&service, defined);
        let storages = storages(&extensions, &service.extensions);
        let hint = asked_for(&asking(&exporters), &storages, &journal, self.diagnostics);
        journal.check_use(hint.as_ref(), &known.exporters, self.diagnostics);
        let mut processors = Instances { built: processors, defined: &defined.processors };
        let pipelines = service.pipelines.iter().map(|settings| self.plan(settings, &mut processors)).collect();
        let receiving = used(&service.pipelines, |pipeline| &pipeline.receivers);
        let exporting = used(&service.pipelines, |pipeline| &pipeline.exporters);
        Some(Graph {
            pipelines,
            receivers: keep(receivers, &receiving),
            exporters: keep(exporters, &exporting),
            connectors: keep(connectors, &exporting),
            extensions: in_order(extensions, &service.extensions),
            journal: journal.settle(hint),
            ledger,
            migration: None,
            telemetry: service.telemetry,
            admin,
        })
    }

    /// Builds every component of one role. One that is wrong has an entry without a value, so that its name is known.
    fn role<T>(
        &mut self,
        role: Role,
        defined: &Defined<'_>,
        factory: impl Fn(&str) -> Option<fn(&mut Section<'_>, &BuildContext<'_>) -> Option<T>>,
    ) -> Built<Option<T>> {
        let mut built = BTreeMap::new();
        for (name, node) in defined {
            let path = Path::root().key(role.key).key(&name.value);
            let id = match name.value.parse::<ComponentId>() {
                Ok(id) => id,
                Err(error) => {
                    self.diagnostics.push(Diagnostic::error(path, error.to_string()).at(&name.position));
                    continue;
                }
            };
            let value = match factory(&id.kind) {
                Some(build) => {
                    let (authenticators, storages) = (&self.authenticators, &self.storages);
                    let context = BuildContext { id: &id, authenticators, storages };
                    build_one(&context, (name, node), path, self.diagnostics, build)
                }
                None => {
                    self.unknown_kind(role, &id.kind, path, name);
                    None
                }
            };
            built.insert(id, value);
        }
        built
    }

    fn unknown_kind(&mut self, role: Role, kind: &str, path: Path, name: &Spanned<String>) {
        let error = if self.registry.is_unbuilt(role.one, kind) {
            Diagnostic::error(path, format!("not built yet: the `{kind}` {}", role.one))
        } else {
            let known = self.registry.kinds(role.one);
            let error = Diagnostic::error(path, format!("there is no {} of type `{kind}`", role.one));
            match nearest(kind, known.iter().copied()) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("known types: {}", known.join(", "))),
            }
        };
        self.diagnostics.push(error.at(&name.position));
    }

    fn check_names(&mut self, service: &ServiceSettings, known: &Known) {
        for pipeline in &service.pipelines {
            let path = Path::root().key("service").key("pipelines").key(&pipeline.id.value);
            self.check_named(RECEIVER, &pipeline.receivers, &known.receivers, &path);
            self.check_named(PROCESSOR, &pipeline.processors, &known.processors, &path);
            self.check_named(EXPORTER, &pipeline.exporters, &known.exporters, &path);
        }
        self.check_named(EXTENSION, &service.extensions, &known.extensions, &Path::root().key("service"));
    }

    fn check_named(&mut self, role: Role, named: &[Spanned<ComponentId>], known: &BTreeSet<ComponentId>, path: &Path) {
        for id in named.iter().filter(|id| !known.contains(&id.value)) {
            let message = format!("`{}` is not among the configuration's {}", id.value, role.key);
            let mut error = Diagnostic::error(path.key(role.key), message).at(&id.position);
            let names: Vec<String> = known.iter().map(ToString::to_string).collect();
            if let Some(near) = nearest(&id.value.to_string(), names.iter().map(String::as_str)) {
                error = error.help(format!("did you mean `{near}`?"));
            }
            self.diagnostics.push(error);
        }
    }

    /// A component must carry the signal of each pipeline that names it.
    fn check_signals(&mut self, pipelines: &[PipelineSettings]) {
        let registry = self.registry;
        let carried = |role: Role, kind: &str| match role.one {
            "receiver" => registry.receiver(kind).map(|factory| factory.signals),
            "processor" => registry.processor(kind).map(|factory| factory.signals),
            _ => registry.exporter(kind).map(|factory| factory.signals),
        };
        for pipeline in pipelines {
            let roles =
                [(RECEIVER, &pipeline.receivers), (PROCESSOR, &pipeline.processors), (EXPORTER, &pipeline.exporters)];
            for (role, named) in roles {
                for id in named {
                    let Some(signals) = carried(role, &id.value.kind).filter(|s| !s.contains(&pipeline.signal)) else {
                        continue;
                    };
                    let signals: Vec<&str> = signals.iter().map(|signal| signal.name()).collect();
                    let path = Path::root().key("service").key("pipelines").key(&pipeline.id.value).key(role.key);
                    let message = format!(
                        "the {} `{}` carries {}, not {}",
                        role.one,
                        id.value,
                        signals.join(" and "),
                        pipeline.signal
                    );
                    self.diagnostics.push(Diagnostic::error(path, message).at(&id.position));
                }
            }
        }
    }

    /// A connector joins pipelines: it is an exporter of one and a receiver of another of the same signal, and no
    /// pipeline feeds itself.
    fn check_connectors(&mut self, pipelines: &[PipelineSettings], connectors: &BTreeSet<ComponentId>) {
        let names = |ids: &[Spanned<ComponentId>], id: &ComponentId| ids.iter().any(|named| named.value == *id);
        for id in connectors {
            for pipeline in pipelines {
                let sides = [
                    (&pipeline.exporters, "exporter", "receiver", "receivers"),
                    (&pipeline.receivers, "receiver", "exporter", "exporters"),
                ];
                for (named, here, there, there_key) in sides {
                    let Some(place) = named.iter().find(|named| named.value == *id) else { continue };
                    let met = pipelines.iter().any(|other| {
                        let side = if there == "receiver" { &other.receivers } else { &other.exporters };
                        other.signal == pipeline.signal && names(side, id)
                    });
                    if !met {
                        let message = format!(
                            "the connector `{id}` is an {here} here and in no pipeline of {} a {there}",
                            pipeline.signal
                        );
                        let path = Path::root().key("service").key("pipelines").key(&pipeline.id.value);
                        let help = format!("name it among the {there_key} of another pipeline");
                        self.diagnostics.push(Diagnostic::error(path, message).at(&place.position).help(help));
                    }
                }
            }
        }
        for pipeline in pipelines {
            if reaches(pipelines, connectors, pipeline, pipeline) {
                let path = Path::root().key("service").key("pipelines").key(&pipeline.id.value);
                let message = "the pipeline feeds itself through connectors";
                self.diagnostics.push(Diagnostic::error(path, message).at(&pipeline.id.position));
            }
        }
    }

    fn warn_unused(&mut self, service: &ServiceSettings, defined: &Roles<'_>) {
        let mut used: BTreeSet<String> = BTreeSet::new();
        for pipeline in &service.pipelines {
            used.extend(pipeline.receivers.iter().map(|id| format!("receivers::{}", id.value)));
            used.extend(pipeline.processors.iter().map(|id| format!("processors::{}", id.value)));
            used.extend(pipeline.exporters.iter().map(|id| format!("exporters::{}", id.value)));
            used.extend(pipeline.exporters.iter().map(|id| format!("connectors::{}", id.value)));
        }
        used.extend(service.extensions.iter().map(|id| format!("extensions::{}", id.value)));
        let roles = [
            (RECEIVER, &defined.receivers),
            (PROCESSOR, &defined.processors),
            (EXPORTER, &defined.exporters),
            (CONNECTOR, &defined.connectors),
            (EXTENSION, &defined.extensions),
        ];
        for (role, defined) in roles {
            for (name, _) in defined.iter().filter(|(name, _)| !used.contains(&format!("{}::{}", role.key, name.value)))
            {
                let path = Path::root().key(role.key).key(&name.value);
                let warning = Diagnostic::warning(path, "is configured and no pipeline uses it; it does not run");
                self.diagnostics.push(warning.at(&name.position));
            }
        }
    }

    fn plan(&mut self, settings: &PipelineSettings, processors: &mut Instances<'_>) -> PipelinePlan {
        let ids = |named: &[Spanned<ComponentId>]| named.iter().map(|id| id.value.clone()).collect();
        let built = settings
            .processors
            .iter()
            .filter_map(|id| Some((id.value.clone(), processors.take(self.registry, &id.value)?)));
        PipelinePlan {
            name: settings.id.value.clone(),
            signal: settings.signal,
            receivers: ids(&settings.receivers),
            processors: built.collect(),
            exporters: ids(&settings.exporters),
        }
    }
}

/// Which ids a pipeline may name.
struct Known {
    receivers: BTreeSet<ComponentId>,
    processors: BTreeSet<ComponentId>,
    exporters: BTreeSet<ComponentId>,
    connectors: BTreeSet<ComponentId>,
    extensions: BTreeSet<ComponentId>,
}

/// The exporters that name a storage.
fn asking(exporters: &Built<Option<BuiltExporter>>) -> Vec<(ComponentId, Spanned<ComponentId>)> {
    let asking = exporters.iter().filter_map(|(id, built)| {
        let named = built.as_ref()?.delivery.queue.storage.clone()?;
        Some((id.clone(), named))
    });
    asking.collect()
}

/// What `sending_queue.storage` may name.
fn storages(
    built: &Built<Option<Box<dyn Extension>>>,
    running: &[Spanned<ComponentId>],
) -> BTreeMap<ComponentId, NamedStorage> {
    let named = built.iter().map(|(id, extension)| {
        let is_listed = running.iter().any(|named| named.value == *id);
        let hint = extension.as_ref().and_then(|extension| extension.storage());
        (id.clone(), NamedStorage { is_listed, hint })
    });
    named.collect()
}

/// What the `storage` of receivers may name.
fn storages_of_receivers(built: &Built<Option<Box<dyn Extension>>>, running: &[Spanned<ComponentId>]) -> Storages {
    let mut all = Storages::none();
    for (id, extension) in built {
        let hint = extension.as_ref().and_then(|extension| extension.storage());
        all.add(id.clone(), listing(id, running), hint);
    }
    all
}

fn listing(id: &ComponentId, running: &[Spanned<ComponentId>]) -> Listing {
    let is_listed = running.iter().any(|named| named.value == *id);
    if is_listed { Listing::Listed } else { Listing::Unlisted }
}

/// What the `auth` of components may name.
fn authenticators(built: &Built<Option<Box<dyn Extension>>>, running: &[Spanned<ComponentId>]) -> Authenticators {
    let mut all = Authenticators::none();
    for (id, extension) in built {
        all.add(id.clone(), listing(id, running), extension.as_ref().map(|extension| extension.authentication()));
    }
    all
}

fn build_one<T>(
    context: &BuildContext<'_>,
    (name, node): (&Spanned<String>, &Node),
    path: Path,
    diagnostics: &mut Diagnostics,
    build: fn(&mut Section<'_>, &BuildContext<'_>) -> Option<T>,
) -> Option<T> {
    // What is missing is missing at the component's own name.
    let section = Section::open(node, path, diagnostics).at(&name.position);
    section.read(|section| build(section, context))
}

/// Processors exist once for each pipeline that names them: the first takes what was built for the check, the others
/// are built anew.
struct Instances<'a> {
    built: Built<Option<BuiltProcessor>>,
    defined: &'a Defined<'a>,
}

impl Instances<'_> {
    fn take(&mut self, registry: &Registry, id: &ComponentId) -> Option<BuiltProcessor> {
        if let Some(first) = self.built.get_mut(id).and_then(Option::take) {
            return Some(first);
        }
        let (name, node) = self.defined.iter().find(|(name, _)| name.value == id.to_string())?;
        // What is wrong with it was reported when it was built first.
        let mut reported = Diagnostics::new();
        let context = BuildContext::alone(id);
        build_one(&context, (name, node), Path::root(), &mut reported, registry.processor(&id.kind)?.build)
    }
}

fn used(
    pipelines: &[PipelineSettings],
    role: fn(&PipelineSettings) -> &Vec<Spanned<ComponentId>>,
) -> BTreeSet<ComponentId> {
    pipelines.iter().flat_map(role).map(|id| id.value.clone()).collect()
}

fn keep<T>(built: Built<Option<T>>, used: &BTreeSet<ComponentId>) -> Vec<(ComponentId, T)> {
    built.into_iter().filter(|(id, _)| used.contains(id)).filter_map(|(id, value)| Some((id, value?))).collect()
}

fn in_order<T>(mut built: Built<Option<T>>, order: &[Spanned<ComponentId>]) -> Vec<(ComponentId, T)> {
    order.iter().filter_map(|id| Some((id.value.clone(), built.remove(&id.value)??))).collect()
}

/// Whether data of `from` comes to `to` through connectors.
fn reaches(
    pipelines: &[PipelineSettings],
    connectors: &BTreeSet<ComponentId>,
    from: &PipelineSettings,
    to: &PipelineSettings,
) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(pipeline) = open.pop() {
        let out = pipeline.exporters.iter().filter(|id| connectors.contains(&id.value));
        for id in out {
            let fed = pipelines.iter().filter(|next| next.receivers.iter().any(|named| named.value == id.value));
            for next in fed.filter(|next| next.signal == pipeline.signal) {
                if next.id.value == to.id.value {
                    return true;
                }
                if seen.insert(next.id.value.clone()) {
                    open.push(next);
                }
            }
        }
    }
    false
}
