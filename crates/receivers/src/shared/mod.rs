//! What receivers share: how they listen, and how they answer over HTTP and gRPC.

mod cors;
pub(crate) mod grpc;
pub(crate) mod http;

use std::collections::BTreeMap;

use component::{Intake, ReceiverContext, Refused, StartError};
use otlp::Signal;
use transport::endpoint::Endpoint;
use transport::grpc::{Code, Status};
use transport::server::{Listener, PortSharing, bind};

/// The way in of each signal that some pipeline wants.
pub(crate) type Intakes = BTreeMap<Signal, Intake>;

/// The ways in, with `transport` as the label of their counters.
pub(crate) fn intakes(context: &ReceiverContext, transport: &str) -> Intakes {
    let wanted = |signal| Some((signal, context.intake(signal, transport)?));
    Signal::ALL.into_iter().filter_map(wanted).collect()
}

/// A port of this machine that only this machine reaches: where a receiver listens unless it is told otherwise.
pub(crate) fn local(port: u16) -> Endpoint {
    Endpoint::Tcp { host: "localhost".to_owned(), port }
}

/// Listens, and says so.
pub(crate) fn listen(endpoint: &Endpoint, receiver: &str, protocol: &str) -> Result<Listener, StartError> {
    let listener = bind(endpoint, PortSharing::Exclusive).map_err(|error| StartError(error.to_string()))?;
    tracing::info!(endpoint = %listener.local(), protocol, "{receiver} receiver listens");
    Ok(listener)
}

/// A refusal in the words of gRPC: `UNAVAILABLE` asks for the same again, after the delay of its `RetryInfo`;
/// `RESOURCE_EXHAUSTED` without one is final.
pub(crate) fn grpc_status(refused: Refused) -> Status {
    match refused {
        Refused::Retry { after, cause } => Status::new(Code::Unavailable, cause).with_retry_after(after),
        Refused::Permanent { cause } => Status::new(Code::ResourceExhausted, cause),
    }
}
