//! What runs beside the pipelines.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::authentication::Authentication;
use parking_lot::Mutex;

use crate::metrics::Metrics;
use crate::receiver::{Running, StartError};
use crate::stop::Stop;

/// Whether the process does its work, as probes ask.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<HealthState>);

#[derive(Debug, Default)]
struct HealthState {
    ready: AtomicBool,
    trouble: Mutex<Option<String>>,
}

/// Where and how a storage extension would keep what waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageHint {
    /// The directory.
    pub directory: PathBuf,
}

impl Health {
    /// Every component has started and none has failed; a process that stops is not ready.
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    /// Says so.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Release);
    }

    /// What keeps the process from taking data although everything runs, such as a full disk. It passes by itself, and
    /// a restart would not help.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().clone()
    }

    /// Says so, or that it has passed.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.0.trouble.lock() = trouble;
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

    /// Where it keeps what waits, for the exporters whose `sending_queue.storage` names it, and how far receivers have
    /// read, for those whose `storage` does. Most keep nothing.
    fn storage(&self) -> Option<StorageHint> {
        None
    }

    /// Binds and begins.
    fn start(
        self: Box<Self>,
        context: ExtensionContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>>;
}
