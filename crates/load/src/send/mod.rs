//! A load generator: OTLP traffic over gRPC or HTTP, as fast as it is acknowledged or at a rate.
//!
//! Traffic comes from workers, each with one request under way: what it sends arrives in order, and what was
//! acknowledged is known to the item. A refused request is tried again with the same items, so that whoever loses an
//! answer produces duplicates that a counting backend finds.
//!
//! ```no_run
//! use std::time::Duration;
//! use load::RunId;
//! use load::send::{Amount, Destination, Protocol, Rate, SendSettings, Sending};
//! use otlp::Signal;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let destination = Destination::new(Protocol::OtlpGrpc, "localhost:4317");
//! let settings = SendSettings {
//!     signals: vec![Signal::Traces],
//!     rate: Rate::ItemsPerS(20_000.0),
//!     amount: Amount::Duration(Duration::from_secs(20)),
//!     ..SendSettings::new(destination, RunId(1))
//! };
//! let sending = Sending::start(settings)?;
//! println!("{} items acknowledged so far", sending.progress().acked_items);
//! let report = sending.wait().await;
//! println!("{report}");
//! # Ok(()) }
//! ```

mod courier;
mod lane;
mod pace;
mod report;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use component::clock;
use http::HeaderMap;
use otlp::Signal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use transport::coding::Coding;
use transport::retry::Backoff;
use transport::tls::ClientTls;

use crate::identity::{RunId, WorkerId};
use crate::payload::PayloadSettings;
pub(crate) use courier::{Book, Connections, Courier, Settled};
pub(crate) use lane::WorkerBook;
use lane::{Lane, LaneShared};
use pace::Pacer;
pub use report::{RefusalCount, SendReport, SignalSent, WorkerSent};
pub(crate) use report::{ReportInput, ScrapedPages};

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP, in protobuf.
    OtlpHttpProtobuf,
    /// OTLP over HTTP, in JSON.
    OtlpHttpJson,
}

impl Protocol {
    /// The name in reports: `otlp-grpc`, `otlp-http`, `otlp-http-json`.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::OtlpGrpc => "otlp-grpc",
            Protocol::OtlpHttpProtobuf => "otlp-http",
            Protocol::OtlpHttpJson => "otlp-http-json",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Text that is no protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no protocol: expected otlp-grpc, otlp-http or otlp-http-json")]
pub struct UnknownProtocol(pub String);

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        let all = [Protocol::OtlpGrpc, Protocol::OtlpHttpProtobuf, Protocol::OtlpHttpJson];
        all.into_iter().find(|protocol| protocol.name() == text).ok_or_else(|| UnknownProtocol(text.to_owned()))
    }
}

/// Where traffic goes.
#[derive(Clone)]
pub struct Destination {
    /// What is spoken.
    pub protocol: Protocol,
    /// For gRPC `host:port`, `http://host:port` or `unix:///path`; for HTTP the address before `/v1/traces`. With
    /// `https://` TLS is used.
    pub endpoint: String,
    /// TLS for `https://`.
    pub tls: ClientTls,
    /// How requests are compressed.
    pub compression: Coding,
    /// Fields sent with each request.
    pub headers: HeaderMap,
    /// A request must be answered by then.
    pub timeout: Duration,
    /// The pause before a refused request is tried again, unless the answer asks for a longer one.
    pub backoff: Backoff,
    /// From the first refusal on, a request is tried again for so long; then it counts as failed.
    pub retry_for: Duration,
}

/// Without what may be secret: credentials in the endpoint, the values of headers, keys.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("protocol", &self.protocol)
            .field("endpoint", &courier::shown_endpoint(self))
            .field("compression", &self.compression)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("backoff", &self.backoff)
            .field("retry_for", &self.retry_for)
            .finish_non_exhaustive()
    }
}

impl Destination {
    /// A destination without compression; 10 s for an answer, 5 minutes of retries, 50 ms to 2 s apart.
    pub fn new(protocol: Protocol, endpoint: impl Into<String>) -> Self {
        Destination {
            protocol,
            endpoint: endpoint.into(),
            tls: ClientTls::default(),
            compression: Coding::Identity,
            headers: HeaderMap::new(),
            timeout: Duration::from_secs(10),
            backoff: Backoff {
                initial: Duration::from_millis(50),
                max: Duration::from_secs(2),
                multiplier: 1.5,
                jitter: 0.2,
            },
            retry_for: Duration::from_secs(300),
        }
    }
}

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as requests are acknowledged.
    Unlimited,
    /// Items of all signals together, on a timetable that does not wait for answers. Where all workers wait, up to a
    /// second's worth is made up for; what is more is left out and counted as skipped.
    ItemsPerS(f64),
}

/// How much to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// For so long.
    Duration(Duration),
    /// So many items of all signals together.
    Items(u64),
    /// Until [`Sending::stop`].
    Endless,
}

/// What to send, where, how fast.
#[derive(Clone, Debug)]
pub struct SendSettings {
    /// Where.
    pub destination: Destination,
    /// Which signals; each worker takes turns.
    pub signals: Vec<Signal>,
    /// How fast.
    pub rate: Rate,
    /// How much.
    pub amount: Amount,
    /// Connections: 1 to 1000, and all workers together at most 4096. Over HTTP each worker has a connection of its own.
    pub connections: u16,
    /// Workers on each connection, each with one request under way: 1 to 1000.
    pub in_flight_per_connection: u16,
    /// What requests look like.
    pub payload: PayloadSettings,
    /// The run that all items belong to.
    pub run_id: RunId,
    /// The first worker's id, so that several generators can share a run.
    pub first_worker: WorkerId,
    /// At the end, requests under way have so long to be acknowledged.
    pub drain_timeout: Duration,
}

impl SendSettings {
    /// All signals as fast as possible for 10 s, over 2 connections with 4 requests under way each.
    pub fn new(destination: Destination, run_id: RunId) -> Self {
        SendSettings {
            destination,
            signals: Signal::ALL.to_vec(),
            rate: Rate::Unlimited,
            amount: Amount::Duration(Duration::from_secs(10)),
            connections: 2,
            in_flight_per_connection: 4,
            payload: PayloadSettings::default(),
            run_id,
            first_worker: WorkerId(0),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// Why nothing can be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The endpoint cannot be understood or used.
    #[error("endpoint: {0}")]
    Endpoint(String),
    /// The TLS settings cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// No signals were chosen.
    #[error("no signal to send: choose traces, metrics or logs")]
    NoSignals,
    /// A figure beyond its bounds.
    #[error("{name} is {found}: expected {expected}")]
    OutOfBounds {
        /// Which one.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Items that were sent at least once.
    pub sent_items: u64,
    /// Items that were acknowledged.
    pub acked_items: u64,
    /// Items that were rejected for good, or given up.
    pub lost_items: u64,
    /// Answers that asked to try again, and attempts without an answer.
    pub refusals: u64,
    /// Workers that wait to try again.
    pub retrying_workers: u64,
}

/// What lanes report while they run.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub(crate) sent_items: AtomicU64,
    pub(crate) acked_items: AtomicU64,
    pub(crate) lost_items: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) retrying: AtomicU64,
}

impl Meters {
    pub(crate) fn progress(&self, elapsed: Duration) -> Progress {
        Progress {
            elapsed,
            sent_items: self.sent_items.load(Ordering::Relaxed),
            acked_items: self.acked_items.load(Ordering::Relaxed),
            lost_items: self.lost_items.load(Ordering::Relaxed),
            refusals: self.refusals.load(Ordering::Relaxed),
            retrying_workers: self.retrying.load(Ordering::Relaxed),
        }
    }
}

/// The two ends of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    /// No new requests.
    pub(crate) stop: CancellationToken,
    /// No more waiting for those under way.
    pub(crate) cut: CancellationToken,
}

impl Ends {
    /// Waits for the lanes; once stopped, gives them only so long.
    pub(crate) async fn join<T: Send + 'static>(&self, lanes: Vec<JoinHandle<T>>, drain: Duration) -> Vec<T> {
        let cutter = tokio::spawn({
            let ends = self.clone();
            async move {
                ends.stop.cancelled().await;
                tokio::time::sleep(drain).await;
                ends.cut.cancel();
            }
        });
        let mut results = Vec::with_capacity(lanes.len());
        for lane in lanes {
            // A lane ends by itself; what is lost with one that panicked has been reported by then.
            results.extend(lane.await.ok());
        }
        cutter.abort();
        results
    }
}

/// A run under way. Dropping it stops it.
#[derive(Debug)]
pub struct Sending {
    ends: Ends,
    meters: Arc<Meters>,
    started: clock::Mono,
    report: JoinHandle<SendReport>,
    _stop_on_drop: tokio_util::sync::DropGuard,
}

impl Sending {
    /// Starts to send, on the runtime that this is called in.
    ///
    /// # Errors
    /// [`SendError`], for settings that cannot be used; what happens on the way is in the report.
    pub fn start(settings: SendSettings) -> Result<Sending, SendError> {
        check(&settings)?;
        let couriers = Connections::open(&settings.destination, usize::from(settings.connections))?;
        let ends = Ends::default();
        let meters = Arc::new(Meters::default());
        let started = clock::mono();
        let started_unix_ms = clock::unix_ms();
        let shared = Arc::new(LaneShared {
            pacer: Pacer::new(settings.rate, started),
            budget: match settings.amount {
                Amount::Items(items) => Some(AtomicU64::new(items)),
                Amount::Duration(_) | Amount::Endless => None,
            },
            meters: Arc::clone(&meters),
            ends: ends.clone(),
        });
        let workers = u32::from(settings.connections) * u32::from(settings.in_flight_per_connection);
        let lanes = (0..workers).map(|index| {
            let worker = WorkerId(settings.first_worker.0.wrapping_add(index as u16));
            let lane = Lane::new(&settings, couriers.courier(index as usize), worker, Arc::clone(&shared));
            tokio::spawn(lane.run())
        });
        let lanes: Vec<_> = lanes.collect();
        if let Amount::Duration(duration) = settings.amount {
            let ends = ends.clone();
            tokio::spawn(async move {
                let _stopped_before = tokio::time::timeout(duration, ends.stop.cancelled()).await;
                ends.stop.cancel();
            });
        }
        let stop_on_drop = ends.stop.clone().drop_guard();
        let report = tokio::spawn({
            let ends = ends.clone();
            async move {
                let lanes = ends.join(lanes, settings.drain_timeout).await;
                let duration = clock::mono().saturating_duration_since(started);
                // Timers of this run have nothing left to do.
                ends.stop.cancel();
                SendReport::new(ReportInput {
                    run_id: settings.run_id,
                    destination: &settings.destination,
                    started_unix_ms,
                    duration,
                    skipped_items: shared.pacer.skipped_items(),
                    workers: lanes.into_iter().flatten().collect(),
                })
            }
        });
        Ok(Sending { ends, meters, started, report, _stop_on_drop: stop_on_drop })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.meters.progress(clock::mono().saturating_duration_since(self.started))
    }

    /// Sends nothing new; what is under way has the drain timeout to be acknowledged.
    pub fn stop(&self) {
        self.ends.stop.cancel();
    }

    /// Stops the run from elsewhere, while somebody waits for its end.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.ends.stop.clone())
    }

    /// Waits for the end.
    pub async fn wait(self) -> SendReport {
        let Sending { report, _stop_on_drop, .. } = self;
        report.await.unwrap_or_default()
    }
}

/// Stops a run: see [`Sending::stopper`].
#[derive(Clone, Debug)]
pub struct Stopper(CancellationToken);

impl Stopper {
    /// As [`Sending::stop`].
    pub fn stop(&self) {
        self.0.cancel();
    }
}

fn check(settings: &SendSettings) -> Result<(), SendError> {
    let bounds = |name, found: u64, range: std::ops::RangeInclusive<u64>, expected| {
        if range.contains(&found) {
            Ok(())
        } else {
            Err(SendError::OutOfBounds { name, found: found.to_string(), expected })
        }
    };
    if settings.signals.is_empty() {
        return Err(SendError::NoSignals);
    }
    let workers = u64::from(settings.connections) * u64::from(settings.in_flight_per_connection);
    let payload = &settings.payload;
    bounds("connections", settings.connections.into(), 1..=1000, "1 to 1000")?;
    bounds("in_flight_per_connection", settings.in_flight_per_connection.into(), 1..=1000, "1 to 1000")?;
    bounds("connections times in_flight_per_connection", workers, 1..=4096, "at most 4096")?;
    bounds(
        "the last worker",
        workers - 1 + u64::from(settings.first_worker.0),
        0..=u64::from(u16::MAX),
        "at most 65535",
    )?;
    bounds(
        "items_per_request",
        payload.items_per_request.into(),
        1..=u64::from(PayloadSettings::ITEMS_MAX),
        "1 to 100000",
    )?;
    bounds(
        "resources_per_request",
        payload.resources_per_request.into(),
        1..=u64::from(payload.items_per_request),
        "1 to items_per_request",
    )?;
    bounds(
        "extra_attributes",
        payload.extra_attributes.into(),
        0..=u64::from(PayloadSettings::EXTRA_ATTRIBUTES_MAX),
        "0 to 256",
    )?;
    bounds(
        "series_per_worker",
        payload.series_per_worker.into(),
        1..=u64::from(PayloadSettings::SERIES_MAX),
        "1 to 1000000",
    )?;
    bounds(
        "the memory for requests, in MiB,",
        (workers * settings.signals.len() as u64 * request_bytes(payload)) >> 20,
        0..=4096,
        "at most 4096: fewer workers, items per request, series or attributes",
    )?;
    match settings.rate {
        Rate::ItemsPerS(rate) if !(rate > 0.0 && rate.is_finite()) => {
            let expected = "a positive number";
            Err(SendError::OutOfBounds { name: "rate_items_per_s", found: rate.to_string(), expected })
        }
        _ => Ok(()),
    }
}

/// About how much memory the requests of one worker and signal take.
fn request_bytes(payload: &PayloadSettings) -> u64 {
    let item_bytes = 400 + 48 * u64::from(payload.extra_attributes);
    item_bytes * u64::from(payload.items_per_request.max(payload.series_per_worker))
}

#[cfg(test)]
mod tests;
