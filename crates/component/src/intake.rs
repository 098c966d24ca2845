//! The way into a pipeline.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use otlp::Batch;

use crate::metrics::Counter;

/// Why a batch was not taken. Nothing of it was kept anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no room now: the sender may send the same again.
    #[error("{cause}")]
    Retry {
        /// When it makes sense to try again.
        after: Duration,
        /// Why, for the sender and the log.
        cause: String,
    },
    /// Sending the same again will not help.
    #[error("{cause}")]
    Permanent {
        /// Why, for the sender and the log.
        cause: String,
    },
}

/// What stands behind an [`Intake`].
pub trait Accept: Send + Sync + 'static {
    /// Takes a batch, whole or not at all.
    fn accept(&self, batch: Batch) -> Accepting;
}

/// The answer of [`Accept::accept`].
pub type Accepting = Pin<Box<dyn Future<Output = Result<(), Refused>> + Send>>;

/// The way into every pipeline that a receiver feeds with one signal. A batch is taken by all of them or by none.
#[derive(Clone)]
pub struct Intake {
    accept: Arc<dyn Accept>,
    accepted_items: Counter,
    refused_items: Counter,
}

impl Intake {
    /// An intake that counts what it takes and refuses.
    pub fn new(accept: Arc<dyn Accept>, accepted_items: Counter, refused_items: Counter) -> Self {
        Intake { accept, accepted_items, refused_items }
    }

    /// Hands a batch over. `Ok` means that the journal of every pipeline has it, as its storage promises: memory has
    /// queued it, disk has synced it. Only then may the receiver acknowledge.
    ///
    /// # Errors
    /// [`Refused`]: nothing was taken, and the receiver passes the refusal on in its protocol's words.
    pub async fn accept(&self, batch: Batch) -> Result<(), Refused> {
        let items = u64::from(batch.items());
        let result = self.accept.accept(batch).await;
        match &result {
            Ok(()) => self.accepted_items.add(items),
            Err(_) => self.refused_items.add(items),
        }
        result
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").finish_non_exhaustive()
    }
}
