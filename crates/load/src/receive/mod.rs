//! Counting backends: OTLP over gRPC and HTTP, and Prometheus remote write, that know which items came.
//!
//! A backend keeps no telemetry. It keeps, for each worker of each run, the set of the sequence numbers that arrived, so
//! that loss and duplicates are exact; and it can be told to fail in any way that real backends do.
//!
//! ```
//! use load::receive::{Backend, Detail, ReceiveSettings};
//! use transport::endpoint::Endpoint;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let settings = ReceiveSettings { otlp_grpc: Some(Endpoint::parse("127.0.0.1:0")?), ..ReceiveSettings::default() };
//! let backend = Backend::start(settings, runtime.handle())?;
//! println!("listening on {:?}", backend.addresses().otlp_grpc);
//! assert_eq!(backend.counts(Detail::Totals).items(), 0);
//! # Ok(()) }
//! ```

mod admin;
mod counts;
mod fault;
mod identify;
mod otlp_server;
mod remote_write;
mod samples;
mod tracker;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::clock::{self, Mono};
use otlp::{Batch, Limits, Signal};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use transport::endpoint::Endpoint;
use transport::server::{self, BindError, Listener, LocalAddress, PortSharing, ServerSettings};

pub use counts::{AnswerCounts, Counts, Detail, RunCounts, SeriesCounts, SignalCounts, WorkerCounts};
pub use fault::{Fault, FaultError, FaultPlan, FaultWindow};

use fault::Faults;
use identify::identify;
use tracker::{Arrival, Tracker};

/// What a backend offers. Without any address it is nothing but counters.
#[derive(Clone, Debug)]
pub struct ReceiveSettings {
    /// Where OTLP over gRPC is received.
    pub otlp_grpc: Option<Endpoint>,
    /// Where OTLP over HTTP is received, under `/v1/traces`, `/v1/metrics` and `/v1/logs`.
    pub otlp_http: Option<Endpoint>,
    /// Where remote write 1.0 is received, under any path.
    pub remote_write: Option<Endpoint>,
    /// Where `GET /counts`, `GET /counts?detail=workers` and `POST /fault` are served. Whoever reaches it may make the
    /// backend fail.
    pub admin: Option<Endpoint>,
    /// What goes wrong, and when.
    pub faults: FaultPlan,
    /// How closely requests are looked at.
    pub checking: Checking,
    /// The largest request, before and after decompression.
    pub request_bytes_max: usize,
    /// What may be remembered.
    pub tracking: TrackingLimits,
}

impl Default for ReceiveSettings {
    /// No addresses, healthy, requests of up to 64 MiB.
    fn default() -> Self {
        ReceiveSettings {
            otlp_grpc: None,
            otlp_http: None,
            remote_write: None,
            admin: None,
            faults: FaultPlan::default(),
            checking: Checking::Identities,
            request_bytes_max: 64 << 20,
            tracking: TrackingLimits::default(),
        }
    }
}

/// How closely OTLP requests are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checking {
    /// Only for the identities of their items, which is cheapest.
    #[default]
    Identities,
    /// Wholly: what is not well formed is answered with INVALID_ARGUMENT or 400.
    Everything,
}

/// What a backend may remember. Beyond it, items are counted as untracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackingLimits {
    /// The memory for sequence numbers, in bytes.
    pub memory_bytes_max: usize,
    /// The series of remote write whose order is checked.
    pub series_max: usize,
}

impl Default for TrackingLimits {
    /// 256 MiB, and two million series.
    fn default() -> Self {
        TrackingLimits { memory_bytes_max: 256 << 20, series_max: 2_000_000 }
    }
}

/// Where a backend listens, with the ports that the system chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// OTLP over gRPC.
    pub otlp_grpc: Option<LocalAddress>,
    /// OTLP over HTTP.
    pub otlp_http: Option<LocalAddress>,
    /// Remote write.
    pub remote_write: Option<LocalAddress>,
    /// Counts and faults.
    pub admin: Option<LocalAddress>,
}

/// A running backend. Dropping it stops it at once.
#[derive(Debug)]
pub struct Backend {
    shared: Arc<Shared>,
    addresses: Addresses,
    servers: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: tokio_util::sync::DropGuard,
}

/// What all servers of a backend share.
struct Shared {
    tracker: Mutex<Tracker>,
    faults: Faults,
    started: Mono,
    checking: Checking,
    request_bytes_max: usize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("faults", &self.faults).finish_non_exhaustive()
    }
}

/// How a request is answered, whatever the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Partial { rejected_items: u32 },
    Refused { retry_after: Option<Duration> },
    Throttled { retry_after: Option<Duration> },
    Rejected,
}

impl Backend {
    /// Opens the sockets and serves on this runtime.
    ///
    /// # Errors
    /// [`BindError`], for the first address that cannot be had.
    pub fn start(settings: ReceiveSettings, runtime: &Handle) -> Result<Backend, BindError> {
        let _within = runtime.enter();
        let bind = |endpoint: &Option<Endpoint>| {
            endpoint.as_ref().map(|endpoint| server::bind(endpoint, PortSharing::Exclusive)).transpose()
        };
        // All are opened before any is served, so that a backend runs whole or not at all.
        let otlp_grpc = bind(&settings.otlp_grpc)?;
        let otlp_http = bind(&settings.otlp_http)?;
        let remote_write = bind(&settings.remote_write)?;
        let admin = bind(&settings.admin)?;
        let local = |listener: &Option<Listener>| listener.as_ref().map(Listener::local);
        let addresses = Addresses {
            otlp_grpc: local(&otlp_grpc),
            otlp_http: local(&otlp_http),
            remote_write: local(&remote_write),
            admin: local(&admin),
        };
        let started = clock::mono();
        let shared = Arc::new(Shared {
            tracker: Mutex::new(Tracker::new(settings.tracking)),
            faults: Faults::new(settings.faults, started),
            started,
            checking: settings.checking,
            request_bytes_max: settings.request_bytes_max,
        });
        let stop = CancellationToken::new();
        let servers = TaskTracker::new();
        if let Some(listener) = otlp_grpc {
            servers.spawn_on(otlp_server::serve_grpc(listener, Arc::clone(&shared), stop.clone()), runtime);
        }
        if let Some(listener) = otlp_http {
            servers.spawn_on(otlp_server::serve_http(listener, Arc::clone(&shared), stop.clone()), runtime);
        }
        if let Some(listener) = remote_write {
            servers.spawn_on(remote_write::serve(listener, Arc::clone(&shared), stop.clone()), runtime);
        }
        if let Some(listener) = admin {
            servers.spawn_on(admin::serve(listener, Arc::clone(&shared), stop.clone()), runtime);
        }
        servers.close();
        let stop_on_drop = stop.clone().drop_guard();
        Ok(Backend { shared, addresses, servers, stop, _stop_on_drop: stop_on_drop })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What was counted so far.
    pub fn counts(&self, detail: Detail) -> Counts {
        self.shared.counts(detail)
    }

    /// Switches the way it fails, against the plan; for a while, or for good.
    pub fn set_fault(&self, fault: Fault, lasts: Option<Duration>) {
        self.shared.faults.switch(fault, lasts, clock::mono());
    }

    /// How requests are treated now.
    pub fn fault(&self) -> Fault {
        self.shared.faults.current(clock::mono())
    }

    /// Stops, and tells what was counted. Requests without an answer are cut off.
    pub async fn stop(self) -> Counts {
        self.stop.cancel();
        self.servers.wait().await;
        self.counts(Detail::Workers)
    }
}

impl Shared {
    fn counts(&self, detail: Detail) -> Counts {
        let now = clock::mono();
        let uptime_ms = now.saturating_duration_since(self.started).as_millis() as u64;
        self.tracker.lock().counts(detail, uptime_ms, self.faults.current(now))
    }

    /// Treats a request as the present fault demands. Whatever is to be counted is counted by `count`, which leaves out
    /// so many of the last items and returns how many that were.
    async fn answer(&self, count: impl FnOnce(&mut Tracker, u32) -> u32) -> Answer {
        let fault = self.faults.current(clock::mono());
        let rejected_items = {
            let mut tracker = self.tracker.lock();
            *tracker.answers.by(fault) += 1;
            match fault {
                Fault::Healthy | Fault::Slow { .. } | Fault::LoseAnswer => count(&mut tracker, 0),
                Fault::PartialSuccess { rejected_items } => count(&mut tracker, rejected_items),
                Fault::Refuse { .. } | Fault::Throttle { .. } | Fault::Hang | Fault::Reject | Fault::Swallow => 0,
            }
        };
        match fault {
            Fault::Healthy | Fault::Swallow => Answer::Accepted,
            Fault::Slow { delay_ms } => {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                Answer::Accepted
            }
            Fault::PartialSuccess { .. } => Answer::Partial { rejected_items },
            Fault::Refuse { retry_after_ms } => {
                Answer::Refused { retry_after: retry_after_ms.map(Duration::from_millis) }
            }
            Fault::Throttle { retry_after_ms } => {
                Answer::Throttled { retry_after: retry_after_ms.map(Duration::from_millis) }
            }
            Fault::LoseAnswer => Answer::Refused { retry_after: None },
            Fault::Reject => Answer::Rejected,
            Fault::Hang => std::future::pending().await,
        }
    }

    /// Counts an OTLP request in protobuf and decides on the answer.
    ///
    /// # Errors
    /// What is wrong with the request, if everything is checked.
    async fn export(&self, signal: Signal, request: Bytes, wire_bytes: usize) -> Result<Answer, String> {
        if self.checking == Checking::Everything
            && let Err(malformed) = Batch::parse(signal, request.clone(), &Limits::default())
        {
            self.tracker.lock().answers.malformed += 1;
            return Err(malformed.to_string());
        }
        let mut findings = identify(signal, &request);
        let arrival = arrival(&request, wire_bytes);
        drop(request);
        let count = |tracker: &mut Tracker, left_out: u32| {
            let left_out = findings.leave_out_last(left_out);
            tracker.record(signal, &findings, arrival);
            left_out
        };
        Ok(self.answer(count).await)
    }
}

fn arrival(request: &[u8], wire_bytes: usize) -> Arrival {
    Arrival { bytes: request.len() as u64, wire_bytes: wire_bytes as u64, unix_ms: clock::unix_ms() }
}

/// What all servers here have in common: a stop does not wait for requests that hang.
fn server_settings(base: ServerSettings) -> ServerSettings {
    ServerSettings { stop_grace: Duration::from_millis(500), ..base }
}

#[cfg(test)]
pub(crate) mod tests;
