//! What brings batches to a backend.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::shapes::{Retry, SendingQueue};
use otlp::{Batch, Signal};

use crate::metrics::Metrics;
use crate::receiver::{Running, StartError};
use crate::stop::Stop;

/// A short, bounded name for why items did not arrive, such as `http_400` or `delta_temporality`. It is a label of
/// metrics and a line of the ledger: it never carries what a backend said, which goes to the log.
pub type Cause = Cow<'static, str>;

/// What a backend, or the way to it, said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The bounded name.
    pub cause: Cause,
    /// The words, for the log.
    pub detail: String,
}

/// Items that will never arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// How many.
    pub items: u64,
    /// Why.
    pub failure: Failure,
}

/// What became of one request. Closed, so that the compiler finds everyone who must decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend has it. What it rejected of it is final: the OTLP specification forbids sending a partial success
    /// again.
    Delivered {
        /// Items that the backend refused while it took the rest.
        rejected: Option<Rejection>,
    },
    /// It may arrive later.
    Retry {
        /// When the backend wants it again, if it said so.
        after: Option<Duration>,
        /// Why not now.
        failure: Failure,
    },
    /// It will never arrive.
    Reject {
        /// Why.
        failure: Failure,
    },
}

impl Outcome {
    /// Delivered, all of it.
    pub const DELIVERED: Outcome = Outcome::Delivered { rejected: None };

    /// To be tried again.
    pub fn retry(cause: impl Into<Cause>, detail: impl Into<String>) -> Outcome {
        Outcome::Retry { after: None, failure: Failure { cause: cause.into(), detail: detail.into() } }
    }

    /// Given up.
    pub fn reject(cause: impl Into<Cause>, detail: impl Into<String>) -> Outcome {
        Outcome::Reject { failure: Failure { cause: cause.into(), detail: detail.into() } }
    }
}

/// One request, ready to be sent, as often as it takes.
#[derive(Clone, Debug)]
pub struct Request {
    /// The kind of telemetry in it.
    pub signal: Signal,
    /// The body as it goes onto the wire: encoded and compressed.
    pub body: Bytes,
    /// The items of the batch that this request carries. Over all requests of a batch, with what was rejected while
    /// encoding, they add up to the batch.
    pub items: u64,
    /// Requests of one batch in the same lane go one after another; different lanes go side by side.
    pub lane: u32,
}

/// A batch as requests.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    /// What to send.
    pub requests: Vec<Request>,
    /// What the backend's protocol cannot carry.
    pub rejected: Vec<Rejection>,
}

impl Encoded {
    /// One request that carries the whole batch.
    pub fn one(batch: &Batch, body: Bytes) -> Encoded {
        let request = Request { signal: batch.signal(), body, items: u64::from(batch.items()), lane: 0 };
        Encoded { requests: vec![request], rejected: Vec::new() }
    }
}

/// Brings batches to a backend.
///
/// Lifecycle: [`Exporter::start`] once, then [`Exporter::encode`] once for each batch and [`Exporter::send`] once for
/// each attempt of each request. The pipeline keeps the order, retries, counts and gives up; the exporter knows one
/// protocol.
pub trait Exporter: Send + Sync + 'static {
    /// Opens what it needs: a listener, a file. An exporter that serves something returns what is to be driven.
    ///
    /// # Errors
    /// What keeps it from starting. A backend that does not answer is no such thing.
    fn start(&self, context: ExporterContext) -> Result<Option<Running>, StartError> {
        let _ = context;
        Ok(None)
    }

    /// The requests that carry a batch.
    fn encode(&self, batch: &Batch) -> Encoded;

    /// One attempt. Dropping the future abandons it.
    fn send<'a>(&'a self, request: &'a Request) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
}

/// What an exporter starts with.
pub struct ExporterContext {
    /// Asks it to stop, after everything was sent.
    pub stop: Stop,
    /// For metrics of its own.
    pub metrics: Metrics,
}

/// Whether batches may overtake each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Up to `sending_queue.num_consumers` batches are under way at once.
    Any,
    /// A batch is sent when the one before it was settled, so that the samples of a series arrive in order.
    Kept,
}

/// Whether batches that wait go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Each batch goes as it came.
    Apart,
    /// What waits is put together, within bounds; nothing waits for more. For exporters that make requests of their own
    /// out of batches.
    Together,
}

/// How the pipeline brings an exporter's batches to it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// `sending_queue`.
    pub queue: SendingQueue,
    /// `retry_on_failure`.
    pub retry: Retry,
    /// One attempt takes no longer. Zero: no limit.
    pub timeout: Duration,
    /// Whether batches may overtake each other.
    pub order: Order,
    /// Whether batches that wait go together. Batching that the configuration asks for takes its place.
    pub waiting: Waiting,
}

/// What an exporter's configuration becomes.
pub struct BuiltExporter {
    /// The exporter.
    pub exporter: Arc<dyn Exporter>,
    /// How it wants its batches.
    pub delivery: Delivery,
}
