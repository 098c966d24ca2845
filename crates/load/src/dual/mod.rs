//! A small shop in the middle of a migration: every order is counted twice, the old way and the new way.
//!
//! Checkout sends StatsD, payment exposes `/metrics`, and both export OTLP besides. Both ways count the same orders, each
//! for itself and with a rhythm of its own, as two instrumentations of one program do: a comparison of the two sees other
//! moments and the same truth. What is wrong with the new instrumentation can be switched on while the shop is open.
//!
//! ```no_run
//! use load::dual::{Dual, DualFault, DualSettings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let shop = Dual::start(DualSettings::default())?;
//! println!("scrape http://{}/metrics", shop.metrics_address());
//! tokio::time::sleep(std::time::Duration::from_secs(20)).await;
//! shop.set_fault(DualFault::LoseNewShare(0.03));
//! tokio::time::sleep(std::time::Duration::from_secs(20)).await;
//! println!("{}", shop.close().await);
//! # Ok(()) }
//! ```

mod instruments;
mod till;
mod ways;

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use component::clock::{self, Mono};
use http::{HeaderValue, Request, Response, StatusCode, header};
use otlp::Signal;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use transport::endpoint::Endpoint;
use transport::server::{
    self, BindError, LocalAddress, PortSharing, RequestBody, ResponseBody, ServerSettings, text_response,
};

use crate::send::{Book, Connections, Courier, Destination, Meters, Protocol, SendError, Settled};
use instruments::Instruments;
use till::{REFUND_REASONS, Till};
use ways::{Service, Times};

/// How the shop works.
#[derive(Clone, Debug)]
pub struct DualSettings {
    /// Where StatsD goes, over UDP.
    pub statsd: SocketAddr,
    /// Where OTLP over gRPC goes, such as `http://localhost:4317`.
    pub otlp_endpoint: String,
    /// Where `/metrics` is served.
    pub metrics_listen: Endpoint,
    /// Orders a second on average, each counted by five instruments or so: 1 to 2000; figures beyond count as these.
    pub orders_per_s: f64,
    /// How often each service exports by OTLP.
    pub export_interval: Duration,
    /// Decides what happens, and when.
    pub seed: u64,
    /// How long the last exports may take when the shop closes.
    pub drain_timeout: Duration,
}

impl Default for DualSettings {
    /// 100 orders a second to the usual ports of localhost, `/metrics` at a port that the system chooses.
    fn default() -> Self {
        DualSettings {
            statsd: SocketAddr::from(([127, 0, 0, 1], 8125)),
            otlp_endpoint: "http://localhost:4317".to_owned(),
            metrics_listen: Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 },
            orders_per_s: 100.0,
            export_interval: Duration::from_secs(1),
            seed: 1,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// What is wrong with the new instrumentation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum DualFault {
    /// Nothing.
    #[default]
    None,
    /// It forgets this share of the paid orders: 0 to 1. Nothing reports an error.
    LoseNewShare(f64),
    /// A release counts refunds, from now on and both ways, and the new way calls their attribute otherwise.
    RenameNewAttribute,
}

/// Why the shop cannot open.
#[derive(Debug, thiserror::Error)]
pub enum DualError {
    /// Nothing can be sent by OTLP.
    #[error(transparent)]
    Send(#[from] SendError),
    /// `/metrics` cannot be served.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Nothing can be sent by StatsD.
    #[error("StatsD to {to}: {cause}")]
    Statsd {
        /// Where to.
        to: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// What the shop has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DualReport {
    /// Orders, each of which both ways counted.
    pub orders: u64,
    /// StatsD packets that the system took.
    pub packets: u64,
    /// StatsD packets that it refused; their lines are lost.
    pub refused_packets: u64,
    /// Pages that were scraped.
    pub pages: u64,
    /// OTLP requests that were acknowledged.
    pub exports: u64,
    /// OTLP requests that were not.
    pub failed_exports: u64,
}

impl fmt::Display for DualReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DualReport { orders, packets, refused_packets, pages, exports, failed_exports } = self;
        write!(f, "{orders} orders: {packets} StatsD packets, {pages} pages of /metrics, {exports} OTLP exports")?;
        match refused_packets + failed_exports {
            0 => Ok(()),
            _ => write!(f, "; {refused_packets} packets and {failed_exports} exports were refused"),
        }
    }
}

/// An open shop. Dropping it closes it.
#[derive(Debug)]
pub struct Dual {
    shared: Arc<Shared>,
    address: LocalAddress,
    selling: JoinHandle<()>,
    exporting: Vec<JoinHandle<()>>,
    stops: Stops,
    drain_timeout: Duration,
    _close_on_drop: [DropGuard; 2],
}

/// What ends in which order.
#[derive(Clone, Debug, Default)]
struct Stops {
    selling: CancellationToken,
    emitting: CancellationToken,
    /// Nobody waits for answers any more.
    cut: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    opened: Mono,
    opened_unix_ns: u64,
    orders: AtomicU64,
    packets: AtomicU64,
    refused_packets: AtomicU64,
    pages: AtomicU64,
    exports: AtomicU64,
    failed_exports: AtomicU64,
}

/// What both ways have counted, each for itself.
#[derive(Debug, Default)]
struct State {
    /// What the page shows. Checkout's old instrumentation remembers nothing: its lines are gone when they are sent.
    legacy: Instruments,
    new: Instruments,
    fault: DualFault,
}

/// How often orders that have come meanwhile are counted.
const TICK: Duration = Duration::from_millis(5);
/// Of so many ticks one writes the gauges of StatsD.
const TICKS_PER_GAUGE: u32 = 20;

impl Dual {
    /// Opens the shop, on the runtime that this is called in.
    ///
    /// # Errors
    /// [`DualError`], if an address cannot be used or a port cannot be had. An endpoint where nobody answers is none.
    pub fn start(settings: DualSettings) -> Result<Dual, DualError> {
        let statsd =
            statsd_socket(settings.statsd).map_err(|cause| DualError::Statsd { to: settings.statsd, cause })?;
        let destination = Destination::new(Protocol::OtlpGrpc, settings.otlp_endpoint);
        let services = [Service::Checkout, Service::Payment];
        let connections = Connections::open(&destination, services.len())?;
        let shared = Arc::new(Shared::new());
        let stops = Stops::default();
        let address = serve(&settings.metrics_listen, Arc::clone(&shared), stops.emitting.clone())?;
        let till = Till::new(settings.seed, settings.orders_per_s);
        let selling = tokio::spawn(sell(Arc::clone(&shared), till, statsd, stops.selling.clone()));
        // SDKs of two processes export at moments of their own.
        let exporting = services.into_iter().enumerate().map(|(number, service)| {
            let courier = connections.courier(number);
            let exporter = Exporter { service, courier, shared: Arc::clone(&shared), stops: stops.clone() };
            let interval = settings.export_interval.max(TICK);
            tokio::spawn(exporter.run(interval, interval * number as u32 / 3))
        });
        let exporting = exporting.collect();
        let close_on_drop = [stops.selling.clone().drop_guard(), stops.emitting.clone().drop_guard()];
        let drain_timeout = settings.drain_timeout;
        Ok(Dual { shared, address, selling, exporting, stops, drain_timeout, _close_on_drop: close_on_drop })
    }

    /// Where `/metrics` is.
    pub fn metrics_address(&self) -> &LocalAddress {
        &self.address
    }

    /// Makes something wrong with the new instrumentation, or nothing.
    pub fn set_fault(&self, fault: DualFault) {
        let mut state = self.shared.state.lock();
        state.fault = fault;
        if fault == DualFault::RenameNewAttribute {
            let State { legacy, new, .. } = &mut *state;
            for instruments in [legacy, new] {
                instruments.refunds.get_or_insert([0; REFUND_REASONS.len()]);
            }
        }
    }

    /// What has happened so far.
    pub fn report(&self) -> DualReport {
        self.shared.report()
    }

    /// Takes no more orders, and exports once more.
    pub async fn close(self) -> DualReport {
        self.stops.selling.cancel();
        // What is lost with a task that panicked has been reported by then.
        let _ = self.selling.await;
        self.stops.emitting.cancel();
        let all = async {
            for exporting in self.exporting {
                let _ = exporting.await;
            }
        };
        if tokio::time::timeout(self.drain_timeout, all).await.is_err() {
            self.stops.cut.cancel();
        }
        self.shared.report()
    }
}

impl Shared {
    fn new() -> Shared {
        Shared {
            state: Mutex::default(),
            opened: clock::mono(),
            opened_unix_ns: clock::unix_ns(),
            orders: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            refused_packets: AtomicU64::new(0),
            pages: AtomicU64::new(0),
            exports: AtomicU64::new(0),
            failed_exports: AtomicU64::new(0),
        }
    }

    /// Counts what has come meanwhile both ways; gives the lines of StatsD for it.
    fn count(&self, till: &mut Till) -> Vec<String> {
        let since_opening = clock::mono().saturating_duration_since(self.opened);
        let mut lines = Vec::new();
        let mut state = self.state.lock();
        let State { legacy, new, fault } = &mut *state;
        while let Some(order) = till.next_before(since_opening) {
            legacy.record(&order);
            new.record_with(&order, *fault);
            ways::write_lines(&mut lines, &order);
            self.orders.fetch_add(1, Ordering::Relaxed);
        }
        for instruments in [legacy, new] {
            instruments.carts = till::carts(since_opening);
            instruments.waiting_payments = till::waiting_payments(since_opening);
        }
        lines
    }

    fn report(&self) -> DualReport {
        let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        DualReport {
            orders: of(&self.orders),
            packets: of(&self.packets),
            refused_packets: of(&self.refused_packets),
            pages: of(&self.pages),
            exports: of(&self.exports),
            failed_exports: of(&self.failed_exports),
        }
    }

    fn answer(&self, request: &Request<RequestBody>) -> Response<ResponseBody> {
        if request.uri().path() != "/metrics" {
            return text_response(StatusCode::NOT_FOUND, "expected /metrics");
        }
        self.pages.fetch_add(1, Ordering::Relaxed);
        let page = ways::page(&self.state.lock().legacy);
        let mut response = Response::new(ResponseBody::full(page));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

fn statsd_socket(to: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn serve(listen: &Endpoint, shared: Arc<Shared>, stop: CancellationToken) -> Result<LocalAddress, BindError> {
    let listener = server::bind(listen, PortSharing::Exclusive)?;
    let address = listener.local();
    let handler = move |request: Request<RequestBody>, _connection| {
        let shared = Arc::clone(&shared);
        async move { shared.answer(&request) }
    };
    Handle::current().spawn(server::serve(listener, ServerSettings::default(), handler, stop));
    Ok(address)
}

/// Counts orders as they come, until the shop closes.
async fn sell(shared: Arc<Shared>, mut till: Till, statsd: UdpSocket, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until_gauge = 0;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let mut lines = shared.count(&mut till);
        if until_gauge == 0 {
            lines.push(ways::carts_line(shared.state.lock().legacy.carts));
            until_gauge = TICKS_PER_GAUGE;
        }
        until_gauge -= 1;
        for packet in ways::packets(&lines) {
            match statsd.send(packet.as_bytes()) {
                Ok(_) => shared.packets.fetch_add(1, Ordering::Relaxed),
                Err(_) => shared.refused_packets.fetch_add(1, Ordering::Relaxed),
            };
        }
    }
}

/// The new instrumentation of one service.
struct Exporter {
    service: Service,
    courier: Courier,
    shared: Arc<Shared>,
    stops: Stops,
}

impl Exporter {
    async fn run(self, interval: Duration, phase: Duration) {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + phase, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.stops.emitting.run_until_cancelled(ticks.tick()).await.is_some() {
            self.export().await;
        }
        self.export().await;
    }

    async fn export(&self) {
        let batch = {
            let state = self.shared.state.lock();
            let times = Times { opened_unix_ns: self.shared.opened_unix_ns, now_unix_ns: clock::unix_ns() };
            ways::export(self.service, &state.new, times)
        };
        let (mut book, meters) = (Book::default(), Meters::default());
        let delivered =
            self.courier.deliver(Signal::Metrics, batch.bytes().clone(), &mut book, &meters, &self.stops.cut).await;
        match delivered {
            Settled::Acked { rejected_items: 0 } => self.shared.exports.fetch_add(1, Ordering::Relaxed),
            _ => self.shared.failed_exports.fetch_add(1, Ordering::Relaxed),
        };
    }
}

#[cfg(test)]
mod tests;
