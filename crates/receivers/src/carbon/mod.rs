//! The `carbon` receiver: Graphite's plaintext protocol, over TCP or UDP.
//!
//! Specification: [Feeding in your data](https://graphite.readthedocs.io/en/stable/feeding-carbon.html). The protocol has
//! no answers. Where there is no room, TCP connections are not read until there is some, and so their senders wait; UDP
//! sockets are not read either, and what the kernel drops meanwhile is counted. A line that is no sample is counted by
//! its fault, and the lines around it count.

mod lines;
mod settings;
mod tcp;
mod udp;

use std::future::Future;
use std::pin::Pin;

use component::{BuildContext, Receiver, ReceiverContext, ReceiverFactory, Running, StartError};
use config::Section;
use otlp::Signal;

use lines::Taker;
use settings::{Settings, Transport};

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "carbon", aliases: &[], signals: &[Signal::Metrics], build };

struct CarbonReceiver {
    settings: Settings,
}

fn build(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    Some(Box::new(CarbonReceiver { settings: Settings::read(section)? }))
}

impl Receiver for CarbonReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.settings.start(&context) })
    }
}

impl Settings {
    fn start(self, context: &ReceiverContext) -> Result<Running, StartError> {
        match self.transport {
            Transport::Tcp { idle_timeout } => tcp::start(&self.endpoint, idle_timeout, self.parser, context),
            Transport::Udp => udp::start(&self.endpoint, self.parser, context),
        }
    }
}
