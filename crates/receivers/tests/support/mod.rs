//! Starts a receiver from YAML, with an intake that keeps what it takes or refuses as it is told.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use component::{
    Accept, Accepting, AllArrivals, Authenticators, BuildContext, Intake, IntakeMaker, Metrics, ReceiverContext,
    Refused, Registry, Stop,
};
use config::{ComponentId, Diagnostics, Section, TestEnvironment};
use otlp::{Batch, Signal};
use parking_lot::Mutex;

/// The way in of a test.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    batches: Vec<Batch>,
    refuse: Option<Refused>,
}

impl Accept for Kept {
    fn accept(&self, batch: Batch) -> Accepting {
        let mut state = self.0.lock();
        let result = match &state.refuse {
            Some(refused) => Err(refused.clone()),
            None => {
                state.batches.push(batch);
                Ok(())
            }
        };
        Box::pin(std::future::ready(result))
    }
}

impl Kept {
    pub fn refuse(&self, refused: Refused) {
        self.0.lock().refuse = Some(refused);
    }

    /// Takes what comes from now on.
    pub fn take_again(&self) {
        self.0.lock().refuse = None;
    }

    pub fn batches(&self) -> Vec<Batch> {
        self.0.lock().batches.clone()
    }

    pub fn items(&self) -> u64 {
        self.0.lock().batches.iter().map(|batch| u64::from(batch.items())).sum()
    }
}

/// A receiver that runs until it is dropped.
pub struct Started {
    pub kept: Kept,
    pub metrics: Metrics,
    pub arrivals: AllArrivals,
    stop: Stop,
}

impl Started {
    pub fn stop(&self) {
        self.stop.request();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.stop.request();
    }
}

/// Starts the receiver `id` with the signals that pipelines want of it.
pub async fn start(id: &str, yaml: &str, signals: &[Signal]) -> Started {
    start_beside(&Authenticators::none(), id, yaml, signals).await
}

/// Starts a receiver that may name authenticators.
pub async fn start_beside(authenticators: &Authenticators, id: &str, yaml: &str, signals: &[Signal]) -> Started {
    let id: ComponentId = id.parse().unwrap();
    let mut registry = Registry::default();
    receivers::register(&mut registry);
    let loaded =
        config::parse_str("test.yaml", yaml, &TestEnvironment::new()).unwrap_or_else(|error| panic!("{error}"));
    let mut diagnostics = Diagnostics::new();
    let build = registry.receiver(&id.kind).unwrap().build;
    let section = Section::open(&loaded.root, "receivers.test", &mut diagnostics);
    let built = section.read(|section| build(section, &BuildContext { authenticators, ..BuildContext::alone(&id) }));
    let (receiver, _) = diagnostics.finish_with(built).unwrap_or_else(|errors| panic!("{errors}"));

    let (kept, metrics, stop) = (Kept::default(), Metrics::default(), Stop::default());
    let maker = |_: &Signal| -> IntakeMaker {
        let kept = kept.clone();
        Box::new(move |_| Intake::new(Arc::new(kept.clone()), Default::default(), Default::default()))
    };
    let intakes = signals.iter().map(|signal| (*signal, maker(signal))).collect();
    let arrivals = AllArrivals::default();
    let context = ReceiverContext {
        intakes,
        stop: stop.child(),
        metrics: metrics.clone(),
        id: id.to_string(),
        arrivals: arrivals.clone(),
    };
    let running = receiver.start(context).await.unwrap_or_else(|error| panic!("{error}"));
    tokio::spawn(running);
    Started { kept, metrics, arrivals, stop }
}

/// What `check` would say of a configuration.
pub fn errors(id: &str, yaml: &str) -> String {
    let id: ComponentId = id.parse().unwrap();
    let mut registry = Registry::default();
    receivers::register(&mut registry);
    let loaded = config::parse_str("test.yaml", yaml, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let build = registry.receiver(&id.kind).unwrap().build;
    let section = Section::open(&loaded.root, "receivers.test", &mut diagnostics);
    let built = section.read(|section| build(section, &BuildContext::alone(&id)));
    diagnostics.finish_with(built).err().map_or_else(String::new, |errors| errors.to_string())
}

/// A port that is free now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
