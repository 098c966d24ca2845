//! The `fluentforward` receiver: the Fluent Forward protocol, for Fluentd, Fluent Bit, Docker's logging driver and the
//! fluent-logger libraries.
//!
//! Specification: [Forward Protocol v1](https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1). A
//! chunk is acknowledged when the journal of every pipeline has it, and not before; while there is no room for it,
//! nothing more is read from its connection.

mod connection;
mod handshake;
mod inbox;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use component::{BuildContext, Receiver, ReceiverContext, ReceiverFactory, Running, StartError};
use config::Section;
use config::shapes::TlsServer;
use legacy::fluent::Limits;
use otlp::Signal;
use transport::configured;
use transport::endpoint::Endpoint;
use transport::stream::{self, StreamSettings};

use crate::shared::{listen, local};
use connection::Service;
use handshake::{Security, User};
use inbox::Held;

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "fluentforward", aliases: &["fluent_forward"], signals: &[Signal::Logs], build };

const PORT: u16 = 8006;

/// What all connections hold together of messages that are still arriving, if one message is not allowed more.
const HELD_BYTES_MAX: usize = 256 << 20;

/// What the receiver runs on.
struct FluentForwardReceiver {
    endpoint: Endpoint,
    stream: StreamSettings,
    security: Option<Security>,
    limits: Limits,
}

fn build(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    let endpoint =
        section.get("endpoint").parse_with("an address such as `localhost:8006` or `unix:///path`", Endpoint::parse);
    let endpoint = endpoint.or_else(|| local(PORT));
    let tls = section.child_if_present("tls", TlsServer::read);
    let tls = tls.and_then(|shape| match configured::server_tls(&shape) {
        Ok(tls) => Some(tls),
        Err(message) => {
            section.error("tls", message);
            None
        }
    });
    let security = section.child_if_present("security", read_security);
    let most = Limits::default().message_bytes_max;
    let message_bytes_max = section.get("max_message_size").bytes().range(1024..=1 << 30).or(most as u64);
    Some(Box::new(FluentForwardReceiver {
        endpoint,
        stream: StreamSettings { tls, ..StreamSettings::default() },
        security: security.flatten(),
        limits: Limits { message_bytes_max: message_bytes_max as usize, ..Limits::default() },
    }))
}

/// The options of Fluentd's own `<security>`.
fn read_security(section: &mut Section<'_>) -> Option<Security> {
    let shared_key = section.get("shared_key").secret().required();
    let hostname = section.get("self_hostname").string().non_empty().or("crossfade".to_owned());
    let users = section.get("users").secret_map().or_default();
    let users = users.into_iter().map(|(name, password)| User { name, password }).collect();
    Some(Security { shared_key: shared_key?, hostname, users })
}

impl Receiver for FluentForwardReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.bind(&context) })
    }
}

impl FluentForwardReceiver {
    fn bind(self, context: &ReceiverContext) -> Result<Running, StartError> {
        let transport = match &self.endpoint {
            Endpoint::Tcp { .. } => "tcp",
            Endpoint::Unix(_) => "unix",
        };
        let Some(intake) = context.intake(Signal::Logs, transport) else {
            return Err(StartError("no pipeline of logs names this receiver".to_owned()));
        };
        let listener = listen(&self.endpoint, "fluentforward", transport)?;
        let service = Arc::new(Service {
            intake,
            arrivals: context.arrivals(transport, &listener.local().to_string()),
            security: self.security,
            limits: self.limits,
            held: Held::new(HELD_BYTES_MAX.max(4 * self.limits.message_bytes_max)),
            stop: context.stop.clone(),
        });
        let handler = move |connection| {
            let service = Arc::clone(&service);
            async move { service.serve(connection).await }
        };
        let (settings, stop) = (self.stream, context.stop.token());
        Ok(Box::pin(async move {
            stream::serve(listener, settings, handler, stop).await;
            Ok(())
        }))
    }
}
