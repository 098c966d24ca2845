//! What runs beside the pipelines.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::authentication::Authentication;
use crate::metrics::Metrics;
use crate::receiver::{Running, StartError};
use crate::stop::Stop;

/// Whether the process does its work, as probes ask.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<AtomicBool>);

impl Health {
    /// Every component has started and none has failed; a process that stops is not ready.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Says so.
    pub fn set_ready(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }
}

/// What an extension starts with.
pub struct ExtensionContext {
    /// Whether the process is ready.
    pub health: Health,
    /// Asks the extension to stop, after every pipeline has.
    pub stop: Stop,
    /// For metrics of its own.
    pub metrics: Metrics,
}

/// Runs beside the pipelines: it starts before them and stops after them.
pub trait Extension: Send {
    /// What it knows of credentials, for the components whose `auth` names it.
    fn authentication(&self) -> Authentication {
        Authentication::default()
    }

    /// Binds and begins.
    fn start(
        self: Box<Self>,
        context: ExtensionContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>>;
}
