//! From a graph to running tasks, and back to rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use component::{
    AllArrivals, BatchLimits, BuiltExporter, BuiltProcessor, ExporterContext, ExtensionContext, Health, Intake,
    Metrics, Outputs, ReceiverContext, Running, StartError, Stop, Waiting, clock,
};
use config::ComponentId;
use config::shapes::{SendingQueue, Sizer};
use journal::{CursorOptions, Journal, LagLimit, Start, StreamId};
use otlp::Signal;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::chain::{Chain, Counted, FanIn, Overflow};
use crate::dead_letters::DeadLetters;
use crate::delivery::{self, AtEnd, Target, Way};
use crate::graph::{Graph, PipelinePlan};
use crate::groups::{Groups, TOGETHER};
use crate::labels::{By, Labels};
use crate::ledger::{Ledger, Line};
use crate::migration::{self, Migration, Parity, Tap};
use crate::replay::{Replays, WayOut};
use crate::storage;
use crate::telemetry::{self, names};
use crate::totals::Totals;

/// Receivers get so long to finish what they have begun.
const RECEIVERS_STOP_MAX: Duration = Duration::from_secs(5);

/// A journal on disk is drained so long at most.
const DURABLE_DRAIN_MAX: Duration = Duration::from_secs(5);

/// Deliveries get so long to notice that the time to drain is over.
const GIVE_UP_MAX: Duration = Duration::from_secs(2);

/// Why the engine does not start: the component, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{component}: {error}")]
pub struct EngineError {
    /// Such as `receiver otlp`.
    pub component: String,
    /// What is wrong.
    pub error: StartError,
}

/// A running configuration.
pub struct Engine {
    ledger: Ledger,
    replays: Option<Replays>,
    parity: Option<Parity>,
    metrics: Metrics,
    health: Health,
    stops: Stops,
    receivers: JoinSet<Result<(), EngineError>>,
    services: JoinSet<Result<(), EngineError>>,
    deliveries: JoinSet<()>,
}

/// What an engine is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Run,
    Replay,
}

/// Who is asked to stop, in this order.
#[derive(Default)]
struct Stops {
    receivers: Stop,
    give_up: Stop,
    services: Stop,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Rest {
    /// The ledger after everything stopped: nothing is pending.
    pub lines: Vec<Line>,
    /// Whether the time to drain was over before everything was delivered.
    pub gave_up: bool,
}

impl Engine {
    /// Starts everything: extensions, exporters, pipelines, then receivers. When it returns, listeners are bound.
    ///
    /// # Errors
    /// The first component that does not start; what had started is stopped.
    pub async fn start(graph: Graph, metrics: Metrics) -> Result<Engine, EngineError> {
        Engine::start_for(graph, metrics, Purpose::Run).await
    }

    /// Starts what replays need while no other process uses the journal: exporters, and no receivers; what is pending
    /// stays pending.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn start_for_replay(graph: Graph, metrics: Metrics) -> Result<Engine, EngineError> {
        Engine::start_for(graph, metrics, Purpose::Replay).await
    }

    async fn start_for(graph: Graph, metrics: Metrics, purpose: Purpose) -> Result<Engine, EngineError> {
        let settings = graph.journal.clone();
        let opened = tokio::task::spawn_blocking(move || storage::open(&settings)).await;
        let journal = opened
            .map_err(|error| error.to_string())
            .flatten()
            .map_err(|cause| EngineError { component: "journal".to_owned(), error: StartError(cause) })?;
        let signals = graph.pipelines.iter().map(|plan| (plan.name.clone(), plan.signal)).collect();
        let totals = Arc::new(Totals::new(&graph.ledger.totals, clock::unix_ns()));
        let ledger = Ledger { journal: journal.clone(), signals, arrivals: AllArrivals::default(), totals };
        let mut engine = Engine {
            ledger,
            replays: None,
            parity: None,
            metrics,
            health: Health::default(),
            stops: Stops::default(),
            receivers: JoinSet::new(),
            services: JoinSet::new(),
            deliveries: JoinSet::new(),
        };
        telemetry::observe(&engine.metrics, engine.ledger.clone());
        match engine.start_all(graph, &journal, purpose).await {
            Ok(()) => {
                engine.health.set_ready(true);
                Ok(engine)
            }
            Err(error) => {
                engine.stop(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    async fn start_all(&mut self, graph: Graph, journal: &Journal, purpose: Purpose) -> Result<(), EngineError> {
        let Graph {
            pipelines, receivers, exporters, connectors, extensions, journal: settings, ledger, migration, ..
        } = graph;
        for (id, extension) in extensions {
            let context = ExtensionContext {
                health: self.health.clone(),
                stop: self.stops.services.child(),
                metrics: self.metrics.clone(),
            };
            let running = extension.start(context).await;
            self.serve(format!("extension {id}"), running.map(Some))?;
        }
        self.look_after(journal);
        let metrics = self.metrics.clone();
        let give_up = self.stops.give_up.clone();
        let builder = Builder { journal, metrics: &metrics, give_up: &give_up, ledger_by: &ledger.by };
        let queues = exporters.iter().map(|(id, built)| (id.clone(), built.delivery.queue.clone())).collect();
        let (chains, plans) = builder.chains(pipelines);
        let books = self.ledger.clone();
        let ways_in =
            WaysIn { journal, metrics: &metrics, chains: &chains, plans: &plans, ledger: &books, queues: &queues };
        let mut targets = BTreeMap::new();
        let mut services = Vec::new();
        for (id, built) in exporters {
            let context = ExporterContext { stop: self.stops.services.child(), metrics: self.metrics.clone() };
            services.push((format!("exporter {id}"), built.exporter.start(context)));
            targets.insert(id.clone(), builder.target(&id, built, Backend::Outside));
        }
        for (id, connector) in connectors {
            let built = connector.exporter(ways_in.outputs(&id));
            targets
                .insert(id.clone(), builder.target(&id, crate::graph::connector_delivery(built), Backend::Pipelines));
        }
        for (component, started) in services {
            self.serve(component, started)?;
        }
        let ways = plans.iter().flat_map(|plan| ways_out(journal, plan, &targets, purpose)).collect();
        let replays = Replays::new(journal.clone(), self.metrics.clone(), self.stops.give_up.clone(), ways);
        self.replays = Some(replays.clone());
        if purpose == Purpose::Replay {
            return Ok(());
        }
        for plan in &plans {
            self.deliver(journal, plan, &targets, &settings.starts)?;
        }
        let tap = migration.map(|migration| self.compare(migration)).transpose()?;
        // After the cursors are open, so that nothing that a replay writes makes room at their cost.
        replays.resume();
        let contexts: Vec<_> = receivers
            .into_iter()
            .map(|(id, receiver)| (ways_in.context(&id, self.stops.receivers.child(), tap.as_ref()), id, receiver))
            .collect();
        for (context, id, receiver) in contexts {
            let component = format!("receiver {id}");
            let running =
                receiver.start(context).await.map_err(|error| EngineError { component: component.clone(), error })?;
            self.receivers.spawn(async move { running.await.map_err(|error| EngineError { component, error }) });
        }
        Ok(())
    }

    fn serve(&mut self, component: String, started: Result<Option<Running>, StartError>) -> Result<(), EngineError> {
        let running = started.map_err(|error| EngineError { component: component.clone(), error })?;
        if let Some(running) = running {
            self.services.spawn(async move { running.await.map_err(|error| EngineError { component, error }) });
        }
        Ok(())
    }

    /// One cursor and one task for each exporter of a pipeline.
    fn deliver(
        &mut self,
        journal: &Journal,
        plan: &Plan,
        targets: &BTreeMap<ComponentId, Arc<Target>>,
        starts: &BTreeMap<String, Start>,
    ) -> Result<(), EngineError> {
        let shared = Arc::new(Groups::new(plan.signal, plan.batching, plan.exporters.len()));
        let wants_together = |id: &&ComponentId| targets[*id].delivery.waiting == Waiting::Together;
        let together = plan.exporters.iter().filter(wants_together).count();
        let together = Arc::new(Groups::new(plan.signal, Some(TOGETHER), together));
        for id in &plan.exporters {
            let target = Arc::clone(&targets[id]);
            let queue = &target.delivery.queue;
            let name = id.to_string();
            let start = starts.get(&name).copied().unwrap_or_default();
            let options = CursorOptions { lag_max: lag_limit(queue), start, ..CursorOptions::default() };
            let cursor = journal.open_cursor(plan.stream, &name, options).map_err(|error| EngineError {
                component: format!("pipeline {}", plan.name),
                error: StartError(error.to_string()),
            })?;
            let groups = match (own_batching(queue), plan.batching, target.delivery.waiting) {
                (Some(own), ..) => Arc::new(Groups::new(plan.signal, Some(own), 1)),
                (None, None, Waiting::Together) => Arc::clone(&together),
                (None, ..) => Arc::clone(&shared),
            };
            let way = Way {
                settler: cursor.settler(),
                dead_letters: DeadLetters::of(journal, &plan.name, &name),
                at_end: AtEnd::of(journal),
                target,
            };
            self.deliveries.spawn(delivery::run(way, groups, cursor));
        }
        Ok(())
    }

    /// Begins the comparison; gives the tap for what receivers take.
    fn compare(&mut self, migration: Migration) -> Result<Tapping, EngineError> {
        let opened = Tap::open(migration.buffer_bytes());
        let (tap, cursor) = opened.map_err(|error| EngineError {
            component: "migration.parity".to_owned(),
            error: StartError(error.to_string()),
        })?;
        let parity = Parity::new(migration);
        let observed = parity.clone();
        self.metrics.observe(move |to| observed.observe(to));
        let stop = self.stops.services.child();
        let watching = migration::watch(parity.clone(), (tap.clone(), cursor), self.ledger.clone(), stop);
        self.services.spawn(async move {
            watching.await;
            Ok(())
        });
        self.parity = Some(parity.clone());
        Ok(Tapping { tap, parity })
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Replays.
    pub fn replays(&self) -> Option<&Replays> {
        self.replays.as_ref()
    }

    /// The comparison of the two sides of a migration; none where the configuration has no migration.
    pub fn parity(&self) -> Option<&Parity> {
        self.parity.as_ref()
    }

    /// The process's own metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether everything has started and runs.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Waits until a component fails.
    pub async fn failed(&mut self) -> EngineError {
        loop {
            let ended = tokio::select! {
                Some(ended) = self.receivers.join_next() => ended,
                Some(ended) = self.services.join_next() => ended,
                else => return std::future::pending().await,
            };
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(panicked) => {
                    return EngineError { component: "a task".to_owned(), error: StartError(panicked.to_string()) };
                }
            }
        }
    }

    /// Stops: no new data, then everything accepted is delivered within `drain_max`; what is left is dropped and
    /// counted as `shutdown`.
    pub async fn stop(mut self, drain_max: Duration) -> Rest {
        self.health.set_ready(false);
        self.stops.receivers.request();
        let receivers = async { while self.receivers.join_next().await.is_some() {} };
        if tokio::time::timeout(RECEIVERS_STOP_MAX, receivers).await.is_err() {
            tracing::warn!("receivers did not stop in time");
            self.receivers.abort_all();
        }
        let journal = self.ledger.journal.clone();
        // What a disk has need not be waited for: the next process delivers it.
        let drain_max = if journal.is_durable() { drain_max.min(DURABLE_DRAIN_MAX) } else { drain_max };
        let gave_up = tokio::time::timeout(drain_max, journal.drained()).await.is_err();
        journal.close();
        // Replays of a journal on disk are not waited for either.
        if gave_up || journal.is_durable() {
            self.stops.give_up.request();
        }
        let deliveries = async { while self.deliveries.join_next().await.is_some() {} };
        if tokio::time::timeout(GIVE_UP_MAX, deliveries).await.is_err() {
            self.deliveries.abort_all();
        }
        self.stops.services.request();
        let services = async { while self.services.join_next().await.is_some() {} };
        if tokio::time::timeout(RECEIVERS_STOP_MAX, services).await.is_err() {
            self.services.abort_all();
        }
        journal.shut_down().await;
        Rest { lines: self.ledger.lines(), gave_up: gave_up && !journal.is_durable() }
    }
}

/// Once in this time the journal lets go what is too old, its trouble becomes the process's health, and the books are
/// looked at.
const LOOK_AFTER_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    fn look_after(&mut self, journal: &Journal) {
        let (journal, ledger, health) = (journal.clone(), self.ledger.clone(), self.health.clone());
        let stop = self.stops.services.child();
        self.services.spawn(async move {
            let mut unbalanced = Vec::new();
            loop {
                tokio::select! {
                    () = stop.requested() => return Ok(()),
                    () = tokio::time::sleep(LOOK_AFTER_EVERY) => {}
                }
                journal.expire(clock::unix_ns());
                health.set_trouble(journal.trouble());
                unbalanced = tell_of_the_unbalanced(&ledger, &unbalanced);
            }
        });
    }
}

/// A line that does not balance is an error of this program: it is said once, and stays in the metrics.
fn tell_of_the_unbalanced(ledger: &Ledger, known: &[(String, String)]) -> Vec<(String, String)> {
    let mut unbalanced = Vec::new();
    for line in ledger.lines().into_iter().filter(|line| !line.balances()) {
        let name = (line.pipeline.clone(), line.exporter.clone());
        if !known.contains(&name) {
            tracing::error!(?line, "the ledger does not balance: items are unaccounted for; please report this");
        }
        unbalanced.push(name);
    }
    unbalanced
}

/// The ways from a pipeline to its exporters, for replays. Connectors are no backends.
fn ways_out(
    journal: &Journal,
    plan: &Plan,
    targets: &BTreeMap<ComponentId, Arc<Target>>,
    purpose: Purpose,
) -> Vec<WayOut> {
    // Where only replays run, nobody has opened what is pending, and a full journal would drop it for new records: so
    // none are written.
    let dead_letters = |exporter: &ComponentId| match purpose {
        Purpose::Run => DeadLetters::of(journal, &plan.name, &exporter.to_string()),
        Purpose::Replay => None,
    };
    let exporters = plan.exporters.iter().filter(|id| targets[*id].is_backend);
    let ways = exporters.map(|id| WayOut {
        pipeline: plan.name.clone(),
        exporter: id.to_string(),
        signal: plan.signal,
        stream: plan.stream,
        target: Arc::clone(&targets[id]),
        dead_letters: dead_letters(id),
        at_end: AtEnd::of(journal),
    });
    ways.collect()
}

fn lag_limit(queue: &SendingQueue) -> Option<LagLimit> {
    let size = queue.queue_size.filter(|_| queue.enabled)?;
    Some(match queue.sizer {
        Sizer::Requests => LagLimit::Records(size),
        Sizer::Items => LagLimit::Items(size),
        Sizer::Bytes => LagLimit::Bytes(size),
    })
}

fn own_batching(queue: &SendingQueue) -> Option<BatchLimits> {
    let batch = queue.batch.as_ref().filter(|_| queue.enabled)?;
    let largest = u32::try_from(batch.max_size.unwrap_or(0)).unwrap_or(u32::MAX);
    let (least, none) = (batch.min_size, 0);
    let delay_max = batch.flush_timeout;
    Some(match batch.sizer {
        Sizer::Bytes => BatchLimits { items_min: none, bytes_min: least, items_max: 0, bytes_max: largest, delay_max },
        Sizer::Items | Sizer::Requests => {
            BatchLimits { items_min: least, bytes_min: none, items_max: largest, bytes_max: 0, delay_max }
        }
    })
}

/// Where a target brings batches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Outside,
    /// A connector, to other pipelines of this process.
    Pipelines,
}

/// A pipeline whose processors have moved into its chain.
struct Plan {
    name: String,
    signal: Signal,
    stream: StreamId,
    receivers: Vec<ComponentId>,
    exporters: Vec<ComponentId>,
    batching: Option<BatchLimits>,
}

struct Builder<'a> {
    journal: &'a Journal,
    metrics: &'a Metrics,
    give_up: &'a Stop,
    ledger_by: &'a [By],
}

impl Builder<'_> {
    fn chains(&self, pipelines: Vec<PipelinePlan>) -> (Vec<Arc<Chain>>, Vec<Plan>) {
        pipelines.into_iter().map(|plan| self.chain(plan)).unzip()
    }

    fn chain(&self, plan: PipelinePlan) -> (Arc<Chain>, Plan) {
        let stream = self.journal.stream(&plan.name);
        let mut batching = None;
        let mut processors = Vec::new();
        for (id, built) in plan.processors {
            match built {
                BuiltProcessor::Batching(limits) => batching = Some(limits),
                BuiltProcessor::Each(processor) => {
                    processor.observe(self.metrics, &id);
                    let id = id.to_string();
                    let labels = [("processor", id.as_str()), ("otel_signal", plan.signal.name())];
                    processors.push(Counted {
                        processor,
                        incoming_items: self.metrics.counter(names::PROCESSOR_INCOMING, &labels),
                        outgoing_items: self.metrics.counter(names::PROCESSOR_OUTGOING, &labels),
                    });
                }
            }
        }
        let filtered_items = self.metrics.counter(names::FILTERED, &[("pipeline", &plan.name)]);
        let labels = Labels::new(self.journal.clone(), stream, self.ledger_by);
        let chain = Arc::new(Chain { stream, processors, labels, filtered_items });
        let plan = Plan {
            name: plan.name,
            signal: plan.signal,
            stream,
            receivers: plan.receivers,
            exporters: plan.exporters,
            batching,
        };
        (chain, plan)
    }

    fn target(&self, id: &ComponentId, built: BuiltExporter, backend: Backend) -> Arc<Target> {
        let consumers = match built.delivery.queue.enabled {
            true => built.delivery.queue.num_consumers.clamp(1, 1 << 16),
            false => 1,
        };
        let name = id.to_string();
        Arc::new(Target {
            retries: self.metrics.counter(names::RETRIES, &[("exporter", &name)]),
            name,
            is_backend: backend == Backend::Outside,
            exporter: built.exporter,
            delivery: built.delivery,
            consumers: Arc::new(Semaphore::new(consumers)),
            trouble: crate::trouble::Trouble::default(),
            causes: parking_lot::Mutex::default(),
            give_up: self.give_up.clone(),
        })
    }
}

/// Where what receivers of a migration take is copied to.
struct Tapping {
    tap: Tap,
    parity: Parity,
}

/// Finds the pipelines that a receiver or connector feeds.
struct WaysIn<'a> {
    journal: &'a Journal,
    metrics: &'a Metrics,
    chains: &'a [Arc<Chain>],
    plans: &'a [Plan],
    ledger: &'a Ledger,
    queues: &'a BTreeMap<ComponentId, SendingQueue>,
}

impl WaysIn<'_> {
    fn fan_in(&self, id: &ComponentId, signal: Signal) -> Option<FanIn> {
        let fed = |plan: &Plan| plan.signal == signal && plan.receivers.contains(id);
        let fed: Vec<usize> = (0..self.plans.len()).filter(|index| fed(&self.plans[*index])).collect();
        let waits = |exporter: &ComponentId| self.queues.get(exporter).is_some_and(|queue| queue.block_on_overflow);
        let overflow = match fed.iter().any(|index| self.plans[*index].exporters.iter().any(waits)) {
            true => Overflow::Wait,
            false => Overflow::Refuse,
        };
        let chains: Vec<_> = fed.iter().map(|index| Arc::clone(&self.chains[*index])).collect();
        let totals = &self.ledger.totals;
        let totals = (signal == Signal::Metrics && totals.are_wanted()).then(|| (Arc::clone(totals), id.to_string()));
        (!chains.is_empty()).then(|| FanIn { journal: self.journal.clone(), chains, overflow, totals, tap: None })
    }

    fn context(&self, id: &ComponentId, stop: Stop, tapping: Option<&Tapping>) -> ReceiverContext {
        let tap = tapping.and_then(|Tapping { tap, parity }| {
            let side = parity.migration().side_of_receiver(id)?;
            parity.migration().compares_sources().then(|| (tap.clone(), side))
        });
        let mut context = ReceiverContext {
            intakes: BTreeMap::new(),
            stop,
            metrics: self.metrics.clone(),
            id: id.to_string(),
            arrivals: self.ledger.arrivals.clone(),
        };
        for signal in Signal::ALL {
            let Some(fan_in) = self.fan_in(id, signal) else { continue };
            let fan_in = FanIn { tap: tap.clone(), ..fan_in };
            let (fan_in, metrics, receiver) = (Arc::new(fan_in), self.metrics.clone(), id.to_string());
            let make = move |transport: &str| {
                let labels = [("receiver", receiver.as_str()), ("transport", transport)];
                let accepted = metrics.counter(names::accepted(signal), &labels);
                let refused = metrics.counter(names::refused(signal), &labels);
                Intake::new(Arc::clone(&fan_in) as _, accepted, refused)
            };
            context.intakes.insert(signal, Box::new(make));
        }
        context
    }

    fn outputs(&self, id: &ComponentId) -> Outputs {
        let make = |signal| {
            let fan_in = self.fan_in(id, signal)?;
            let labels = [("connector", id.to_string())];
            let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let accepted = self.metrics.counter(names::CONNECTOR_FORWARDED, &labels);
            let refused = self.metrics.counter(names::CONNECTOR_REFUSED, &labels);
            Some((signal, Intake::new(Arc::new(fan_in), accepted, refused)))
        };
        Signal::ALL.into_iter().filter_map(make).collect()
    }
}
