//! Components for tests: a receiver that is fed by hand, and a backend that does what it is told.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use component::{
    BatchLimits, BuildContext, BuiltExporter, BuiltProcessor, Delivery, Encoded, Exporter, ExporterFactory, Extension,
    ExtensionContext, ExtensionFactory, Failure, Intake, Metrics, Order, Outcome, Processor, ProcessorFactory,
    Receiver, ReceiverContext, ReceiverFactory, Refused, Registry, Rejection, Request, Running, StartError,
    StorageHint, Waiting,
};
use config::shapes::{Retry, SendingQueue};
use config::{Diagnostics, Section, TestEnvironment};
use otlp::encode::LogsEncoder;
use otlp::{Batch, Signal};
use parking_lot::Mutex;
use pipeline::{Engine, Graph};

/// What the components of one test share, by the names in its configuration.
#[derive(Clone, Default)]
pub struct World(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    intakes: BTreeMap<String, Intake>,
    backends: BTreeMap<String, Backend>,
}

#[derive(Clone, Default)]
pub struct Backend(Arc<Mutex<Behaviour>>);

#[derive(Clone)]
pub struct Behaviour {
    pub mode: Mode,
    pub received: Vec<Batch>,
    pub requests: u64,
    pub order: Order,
    pub waiting: Waiting,
    pub delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Healthy,
    Refuse,
    Hang,
    Reject,
    PartialSuccess(u64),
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            mode: Mode::Healthy,
            received: vec![],
            requests: 0,
            order: Order::Any,
            waiting: Waiting::Apart,
            delay: Duration::ZERO,
        }
    }
}

thread_local! {
    /// Factories are plain functions, so the test's world is found through its thread.
    static WORLD: std::cell::RefCell<World> = std::cell::RefCell::default();
}

impl World {
    pub fn install() -> World {
        let world = World::default();
        WORLD.with(|current| *current.borrow_mut() = world.clone());
        world
    }

    fn current() -> World {
        WORLD.with(|current| current.borrow().clone())
    }

    pub fn backend(&self, name: &str) -> Backend {
        self.0.lock().backends.entry(name.to_owned()).or_default().clone()
    }

    pub fn intake(&self, receiver: &str) -> Intake {
        self.0.lock().intakes[receiver].clone()
    }
}

impl Backend {
    pub fn set(&self, mode: Mode) {
        self.0.lock().mode = mode;
    }

    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.0.lock());
    }

    pub fn received_items(&self) -> u64 {
        self.0.lock().received.iter().map(|batch| u64::from(batch.items())).sum()
    }

    pub fn look<T>(&self, look: impl FnOnce(&Behaviour) -> T) -> T {
        look(&self.0.lock())
    }

    pub async fn wait_for_items(&self, items: u64) {
        let wait = async {
            while self.received_items() < items {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the backend gets its items");
    }
}

/// `items` log records of one service.
pub fn logs_of(service: &str, items: u32) -> Batch {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|resource| {
        resource.resource(|resource| {
            resource.attributes().string("service.name", service);
        });
        resource.scope_logs(|scope| {
            for index in 0..items {
                scope.log_record(|record| {
                    record.time_unix_nano(u64::from(index) + 1);
                });
            }
        });
    });
    encoder.finish()
}

/// `items` log records.
pub fn logs(items: u32) -> Batch {
    let mut encoder = LogsEncoder::new();
    encoder.resource_logs(|resource| {
        resource.scope_logs(|scope| {
            for index in 0..items {
                scope.log_record(|record| {
                    record.time_unix_nano(u64::from(index) + 1);
                });
            }
        });
    });
    let batch = encoder.finish();
    assert_eq!(batch.items(), items);
    batch
}

// === receiver ===

struct ByHand(String);

impl Receiver for ByHand {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        let world = World::current();
        if let Some(intake) = context.intake(Signal::Logs, "hand") {
            world.0.lock().intakes.insert(self.0.clone(), intake);
        }
        Box::pin(async move {
            let running: Running = Box::pin(async move {
                context.stop.requested().await;
                Ok(())
            });
            Ok(running)
        })
    }
}

fn build_receiver(_: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    Some(Box::new(ByHand(context.id.to_string())))
}

// === processors ===

struct DropAll;

impl Processor for DropAll {
    fn process(&self, _: Batch) -> Result<Batch, Refused> {
        Ok(Batch::empty(Signal::Logs))
    }
}

struct RefuseAll;

impl Processor for RefuseAll {
    fn process(&self, _: Batch) -> Result<Batch, Refused> {
        Err(Refused::Retry { after: Duration::from_millis(1), cause: "memory".into() })
    }
}

fn build_processor(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltProcessor> {
    match context.id.kind.as_str() {
        "drop" => Some(BuiltProcessor::Each(Box::new(DropAll))),
        "refuse" => Some(BuiltProcessor::Each(Box::new(RefuseAll))),
        _ => Some(BuiltProcessor::Batching(BatchLimits {
            items_min: section.get("items_min").integer().or(10),
            bytes_min: 0,
            items_max: section.get("items_max").integer().or(0),
            bytes_max: 0,
            delay_max: section.get("delay").duration().or(Duration::from_millis(50)),
        })),
    }
}

// === exporter ===

struct ToBackend(Backend);

impl Exporter for ToBackend {
    fn encode(&self, batch: &Batch) -> Encoded {
        Encoded::one(batch, batch.bytes().clone())
    }

    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let (mode, delay) = self.0.look(|behaviour| (behaviour.mode, behaviour.delay));
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if mode == Mode::Hang {
                self.0.change(|behaviour| behaviour.requests += 1);
                std::future::pending::<()>().await;
            }
            self.answer(mode, request)
        })
    }
}

impl ToBackend {
    fn answer(&self, mode: Mode, request: &Request) -> Outcome {
        let mut behaviour = self.0.0.lock();
        behaviour.requests += 1;
        if matches!(mode, Mode::Healthy | Mode::PartialSuccess(_)) {
            let items = u32::try_from(request.items).unwrap();
            behaviour.received.push(Batch::from_trusted(request.signal, request.body.clone(), items));
        }
        match mode {
            Mode::Healthy => Outcome::DELIVERED,
            Mode::Refuse | Mode::Hang => Outcome::retry("refused", "by the test"),
            Mode::Reject => Outcome::reject("rejected", "by the test"),
            Mode::PartialSuccess(items) => {
                let failure = Failure { cause: "partial_success".into(), detail: String::new() };
                Outcome::Delivered { rejected: Some(Rejection { items, failure }) }
            }
        }
    }
}

fn build_exporter(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<BuiltExporter> {
    let backend = World::current().backend(&context.id.to_string());
    let (order, waiting) = backend.look(|behaviour| (behaviour.order, behaviour.waiting));
    let mut retry = Retry { initial_interval: Duration::from_millis(5), ..Retry::default() };
    retry.max_interval = Duration::from_millis(20);
    retry.enabled = section.get("retry").bool().or(true);
    retry.max_elapsed_time = section.get("give_up").duration().optional();
    let queue = section.child("sending_queue", SendingQueue::read);
    let timeout = section.get("timeout").duration().or(Duration::ZERO);
    let exporter = Arc::new(ToBackend(backend));
    Some(BuiltExporter { exporter, delivery: Delivery { queue, retry, timeout, order, waiting } })
}

/// An extension that keeps what waits, if it is named `kept`.
struct Idle(Option<StorageHint>);

impl Extension for Idle {
    fn storage(&self) -> Option<StorageHint> {
        self.0.clone()
    }

    fn start(
        self: Box<Self>,
        context: ExtensionContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move {
            let running: Running = Box::pin(async move {
                context.stop.requested().await;
                Ok(())
            });
            Ok(running)
        })
    }
}

fn build_extension(_: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Extension>> {
    let hint = StorageHint { directory: "/nowhere".into() };
    Some(Box::new(Idle((context.id.kind == "kept").then_some(hint))))
}

pub fn registry() -> Registry {
    let signals = &Signal::ALL;
    let processor = |kind| ProcessorFactory { kind, aliases: &[], signals, build: build_processor };
    let extension = |kind| ExtensionFactory { kind, aliases: &[], signals: &[], build: build_extension };
    Registry {
        receivers: vec![ReceiverFactory { kind: "hand", aliases: &[], signals, build: build_receiver }],
        processors: vec![processor("batch"), processor("drop"), processor("refuse")],
        exporters: vec![ExporterFactory { kind: "test", aliases: &[], signals, build: build_exporter }],
        extensions: vec![extension("kept"), extension("idle")],
        ..Registry::default()
    }
}

pub fn graph(yaml: &str) -> Graph {
    let loaded =
        config::parse_str("test.yaml", yaml, &TestEnvironment::new()).unwrap_or_else(|error| panic!("{error}"));
    let mut diagnostics = Diagnostics::new();
    let graph = Graph::build(&loaded.root, &registry(), &mut diagnostics);
    let errors = diagnostics.finish().err().map(|errors| errors.to_string());
    graph.unwrap_or_else(|| panic!("{}", errors.unwrap_or_default()))
}

pub async fn engine(yaml: &str) -> Engine {
    try_engine(yaml).await.unwrap()
}

pub async fn try_engine(yaml: &str) -> Result<Engine, pipeline::EngineError> {
    Engine::start(graph(yaml), Metrics::default()).await
}
