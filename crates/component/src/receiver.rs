//! What takes telemetry from outside.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use otlp::Signal;

use crate::arrivals::{AllArrivals, Arrivals, Place};
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::stop::Stop;

/// What a started component does until it is asked to stop. It ends by itself only with an error.
pub type Running = Pin<Box<dyn Future<Output = Result<(), StartError>> + Send>>;

/// Why a component does not start, or does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// Takes telemetry from outside: listens, scrapes, follows.
///
/// Lifecycle: [`Receiver::start`] is called once; when it returns, listeners are bound and requests are served. The
/// future that it returns is driven until it ends. When `context.stop` is requested it stops taking new work, finishes
/// what it has begun, and ends.
pub trait Receiver: Send {
    /// Binds and begins.
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>>;
}

/// Makes an [`Intake`] for a transport's name, with its own counters.
pub type IntakeMaker = Box<dyn Fn(&str) -> Intake + Send + Sync>;

/// What a receiver starts with.
pub struct ReceiverContext {
    /// The way in, by signal; a signal that no pipeline wants is absent.
    pub intakes: BTreeMap<Signal, IntakeMaker>,
    /// Asks the receiver to stop.
    pub stop: Stop,
    /// For metrics of its own.
    pub metrics: Metrics,
    /// The receiver's id.
    pub id: String,
    /// What came to every receiver of the process.
    pub arrivals: AllArrivals,
}

impl ReceiverContext {
    /// The way in for one signal; none if no pipeline of that signal names this receiver. `transport` is the label of
    /// the counters: `grpc`, `http`, `udp`.
    pub fn intake(&self, signal: Signal, transport: &str) -> Option<Intake> {
        self.intakes.get(&signal).map(|make| make(transport))
    }

    /// Counts what comes to one socket and is lost before it is accepted.
    pub fn arrivals(&self, transport: &str, socket: &str) -> Arrivals {
        let (receiver, transport, socket) = (self.id.clone(), transport.to_owned(), socket.to_owned());
        self.arrivals.at(Place { receiver, transport, socket })
    }
}
