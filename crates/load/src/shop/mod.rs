//! A small shop: three services that emit traces, metrics and logs as real ones do, and expose `/metrics`.
//!
//! Orders come in at a steady rate. Each is one trace through frontend, checkout and payment, with the log records that
//! belong to it; each service exports its metrics besides. Everything has an identity, so that a verdict on the shop's
//! telemetry is exact to the item. The services send by OTLP over gRPC and try again what is refused, as their SDKs would.
//!
//! ```no_run
//! use load::shop::{Shop, ShopSettings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let shop = Shop::start(ShopSettings::default())?;
//! println!("scrape http://{}/metrics", shop.metrics_address());
//! tokio::time::sleep(std::time::Duration::from_secs(20)).await;
//! for report in shop.close().await {
//!     println!("{report}");
//! }
//! # Ok(()) }
//! ```

mod logs;
mod metrics;
mod pages;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use component::clock::{self, Mono};
use otlp::encode::AttributesWriter;
use otlp::{Batch, Signal};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::DropGuard;
use transport::endpoint::Endpoint;
use transport::server::{BindError, LocalAddress};

use crate::identity::{RunId, WorkerId};
use crate::send::{
    Connections, Courier, Destination, Ends, Meters, Progress, Protocol, ReportInput, SendError, SendReport, WorkerBook,
};
use crate::targets::Targets;

/// How the shop works.
#[derive(Clone, Debug)]
pub struct ShopSettings {
    /// Where OTLP over gRPC is sent, such as `http://localhost:4317`.
    pub otlp_endpoint: String,
    /// Where `/metrics` is served.
    pub metrics_listen: Endpoint,
    /// Items a second that are sent by OTLP, of all services and signals together: 100 to 100,000; figures beyond count as
    /// these.
    pub rate_items_per_s: f64,
    /// The run that all items belong to.
    pub run_id: RunId,
    /// How long requests under way have to be acknowledged when the shop closes.
    pub drain_timeout: Duration,
}

impl Default for ShopSettings {
    /// 3000 items a second to `localhost:4317`, `/metrics` on localhost at a port that the system chooses.
    fn default() -> Self {
        ShopSettings {
            otlp_endpoint: "http://localhost:4317".to_owned(),
            metrics_listen: Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 },
            rate_items_per_s: 3000.0,
            run_id: RunId(1),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Why the shop cannot open.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// Nothing can be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// `/metrics` cannot be served.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// An open shop. Dropping it closes it.
#[derive(Debug)]
pub struct Shop {
    pages: Targets,
    books: Vec<JoinHandle<WorkerBook>>,
    ends: Ends,
    meters: Arc<Meters>,
    destination: Destination,
    run_id: RunId,
    drain_timeout: Duration,
    started: Mono,
    started_unix_ms: u64,
    _close_on_drop: DropGuard,
}

/// One of the services. Its number is its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Frontend,
    Checkout,
    Payment,
}

impl Service {
    const ALL: [Service; 3] = [Service::Frontend, Service::Checkout, Service::Payment];

    const fn name(self) -> &'static str {
        match self {
            Service::Frontend => "frontend",
            Service::Checkout => "checkout",
            Service::Payment => "payment",
        }
    }

    const fn worker(self) -> WorkerId {
        WorkerId(self as u16)
    }

    fn describe(self, attributes: &mut AttributesWriter<'_>) {
        let name = self.name();
        attributes
            .string("service.name", name)
            .string("service.namespace", "shop")
            .string("service.version", "1.4.2")
            .string("service.instance.id", &format!("{name}-1"))
            .string("host.name", "shop-demo")
            .string("telemetry.sdk.name", "crossfade-load")
            .string("telemetry.sdk.language", "rust");
    }
}

/// The worker whose items are the pages of `/metrics`.
const PAGES_WORKER: WorkerId = WorkerId(Service::ALL.len() as u16);
/// How often each service sends its spans and log records.
const TICK: Duration = Duration::from_millis(100);

/// The shop's timetable: which order comes when.
#[derive(Clone, Copy, Debug)]
struct Timetable {
    run: RunId,
    opened_unix_ns: u64,
    orders_per_s: f64,
}

impl Timetable {
    /// One order fails out of so many.
    const ORDERS_PER_FAILURE: u64 = 40;

    /// When an order came in. Orders count from 0.
    fn order_unix_ns(&self, order: u64) -> u64 {
        self.opened_unix_ns + (order as f64 / self.orders_per_s * 1e9) as u64
    }

    fn is_failure(order: u64) -> bool {
        order % Self::ORDERS_PER_FAILURE == Self::ORDERS_PER_FAILURE - 1
    }
}

/// How the rate is divided.
#[derive(Clone, Copy, Debug)]
struct Shares {
    orders_per_s: f64,
    metrics_interval: Duration,
}

impl Shares {
    const RATE_ITEMS_PER_S_MIN: f64 = 100.0;
    /// So that no request is larger than receivers allow.
    const RATE_ITEMS_PER_S_MAX: f64 = 100_000.0;
    /// Of all items, those that are data points.
    const POINTS: f64 = 0.2;

    fn of(rate_items_per_s: f64) -> Self {
        // What is no number counts as too little.
        let rate = if rate_items_per_s >= Self::RATE_ITEMS_PER_S_MIN {
            rate_items_per_s.min(Self::RATE_ITEMS_PER_S_MAX)
        } else {
            Self::RATE_ITEMS_PER_S_MIN
        };
        let all = |figure: fn(Service) -> u64| Service::ALL.into_iter().map(figure).sum::<u64>() as f64;
        let per_order = all(traces::spans_per_order) + all(logs::records_per_order);
        let points_per_export = all(metrics::series);
        let interval_s = points_per_export / (rate * Self::POINTS);
        // A series has at most one point in a millisecond.
        let metrics_interval =
            Duration::from_secs_f64(interval_s).clamp(Duration::from_millis(5), Duration::from_secs(10));
        Shares { orders_per_s: rate * (1.0 - Self::POINTS) / per_order, metrics_interval }
    }
}

impl Shop {
    /// Opens the shop, on the runtime that this is called in.
    ///
    /// # Errors
    /// [`ShopError`], if the endpoint cannot be used or the port cannot be had. An endpoint where nobody answers is none.
    pub fn start(settings: ShopSettings) -> Result<Shop, ShopError> {
        let destination = Destination::new(Protocol::OtlpGrpc, settings.otlp_endpoint);
        let connections = Connections::open(&destination, Service::ALL.len())?;
        let pages = vec![pages::exposition(settings.run_id, PAGES_WORKER)];
        let pages = Targets::serve(&settings.metrics_listen, pages, &Handle::current())?;
        let shares = Shares::of(settings.rate_items_per_s);
        let timetable =
            Timetable { run: settings.run_id, opened_unix_ns: clock::unix_ns(), orders_per_s: shares.orders_per_s };
        let ends = Ends::default();
        let meters = Arc::new(Meters::default());
        let mut books = Vec::new();
        for service in Service::ALL {
            for signal in Signal::ALL {
                let counter = Counter {
                    service,
                    timetable,
                    courier: connections.courier(usize::from(service.worker().0)),
                    book: WorkerBook::new(service.worker(), signal),
                    meters: Arc::clone(&meters),
                    ends: ends.clone(),
                };
                books.push(tokio::spawn(counter.serve(shares)));
            }
        }
        let close_on_drop = ends.stop.clone().drop_guard();
        Ok(Shop {
            pages,
            books,
            ends,
            meters,
            destination,
            run_id: settings.run_id,
            drain_timeout: settings.drain_timeout,
            started: clock::mono(),
            started_unix_ms: clock::unix_ms(),
            _close_on_drop: close_on_drop,
        })
    }

    /// Where `/metrics` is.
    pub fn metrics_address(&self) -> &LocalAddress {
        self.pages.address()
    }

    /// How many pages were scraped.
    pub fn pages(&self) -> u64 {
        self.pages.pages()
    }

    /// How much was sent by OTLP so far.
    pub fn progress(&self) -> Progress {
        self.meters.progress(clock::mono().saturating_duration_since(self.started))
    }

    /// Takes no more orders, waits for what is under way, and reports what was sent and what was scraped.
    pub async fn close(self) -> Vec<SendReport> {
        self.ends.stop.cancel();
        let workers = self.ends.join(self.books, self.drain_timeout).await;
        let duration = clock::mono().saturating_duration_since(self.started);
        let sent = SendReport::new(ReportInput {
            run_id: self.run_id,
            destination: &self.destination,
            started_unix_ms: self.started_unix_ms,
            duration,
            skipped_items: 0,
            workers,
        });
        vec![sent, self.pages.stop().await]
    }
}

/// Where one service hands over one signal.
struct Counter {
    service: Service,
    timetable: Timetable,
    courier: Courier,
    book: WorkerBook,
    meters: Arc<Meters>,
    ends: Ends,
}

impl Counter {
    async fn serve(mut self, shares: Shares) -> WorkerBook {
        let interval = match self.book.signal {
            Signal::Metrics => shares.metrics_interval,
            Signal::Traces | Signal::Logs => TICK,
        };
        let mut ticks = tokio::time::interval(interval);
        // Who is kept waiting by a slow answer sends the next batch then, and none in between.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due_orders = 0.0;
        let mut next_order = 0;
        while self.ends.stop.run_until_cancelled(ticks.tick()).await.is_some() {
            due_orders += shares.orders_per_s * interval.as_secs_f64();
            let orders = due_orders as u64;
            let batch = match self.book.signal {
                Signal::Metrics => {
                    metrics::encode(self.service, &self.timetable, self.book.offered_items, clock::unix_ns())
                }
                Signal::Traces => traces::encode(self.service, &self.timetable, next_order..next_order + orders),
                Signal::Logs => logs::encode(self.service, &self.timetable, next_order..next_order + orders),
            };
            due_orders -= orders as f64;
            next_order += orders;
            self.hand_over(&batch).await;
        }
        self.book
    }

    async fn hand_over(&mut self, batch: &Batch) {
        if batch.items() == 0 {
            return;
        }
        let first = self.book.offered_items + 1;
        self.book.offer(batch.items(), &self.meters);
        let WorkerBook { signal, book, .. } = &mut self.book;
        let settled = self.courier.deliver(*signal, batch.bytes().clone(), book, &self.meters, &self.ends.cut).await;
        self.book.settle(first, batch.items(), settled, &self.meters);
    }
}

#[cfg(test)]
mod tests;
