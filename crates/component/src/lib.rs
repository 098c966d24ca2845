//! The contracts that components implement.
//!
//! A [`Receiver`] takes telemetry from outside and hands it to an [`Intake`]; a [`Processor`] changes a batch on its
//! way; an [`Exporter`] turns batches into requests and sends them; a [`Connector`] is the exporter of one pipeline and
//! the receiver of another; an [`Extension`] runs beside the pipelines. A [`Registry`] knows them by the type names of
//! the configuration.
//!
//! Bytes flow one way: receiver, processors, journal, cursor, exporter. Only results flow back: [`Intake::accept`]
//! returns when the journal has the batch, and [`Outcome`] moves a cursor. This crate names no concrete component and
//! does no I/O, but for reading the clock ([`clock`]) and the memory of the process ([`memory`]).
//!
//! ```
//! use component::{Metrics, Processor, Refused};
//! use otlp::Batch;
//!
//! /// Lets everything pass.
//! struct Nothing;
//!
//! impl Processor for Nothing {
//!     fn process(&self, batch: Batch) -> Result<Batch, Refused> {
//!         Ok(batch)
//!     }
//! }
//! # let _ = (Nothing, Metrics::default());
//! ```

mod arrivals;
mod authentication;
pub mod clock;
mod connector;
mod exporter;
mod extension;
mod intake;
pub mod memory;
pub mod metrics;
mod processor;
mod receiver;
mod registry;
mod stop;
mod storages;

pub use arrivals::{AllArrivals, Arrivals, Place, Seen, Unit};
pub use authentication::{Authentication, Authenticators, Listing};
pub use connector::{Connector, Outputs};
pub use exporter::{
    BuiltExporter, Cause, Delivery, Encoded, Exporter, ExporterContext, Failure, Order, Outcome, Rejection, Request,
    Waiting,
};
pub use extension::{Extension, ExtensionContext, Health, StorageHint};
pub use intake::{Accept, Accepting, Intake, Refused};
pub use metrics::Metrics;
pub use processor::{BatchLimits, BuiltProcessor, Processor};
pub use receiver::{IntakeMaker, Receiver, ReceiverContext, Running, StartError};
pub use registry::{
    BuildContext, ConnectorFactory, ExporterFactory, ExtensionFactory, ProcessorFactory, ReceiverFactory, Registry,
    Unbuilt,
};
pub use stop::Stop;
pub use storages::Storages;
