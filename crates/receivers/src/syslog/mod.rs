//! The `syslog` receiver: RFC 5424 and RFC 3164 over UDP, TCP and TLS.
//!
//! Syslog knows no acknowledgement. Over TCP the receiver reads no further while there is no room for what it has, so
//! that senders wait; over UDP the kernel's buffer is all there is, and what it drops is counted. A message that cannot
//! be understood goes on as it came: nothing is lost for its form.

mod lines;
mod settings;
mod tcp;
mod udp;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use component::{BuildContext, Receiver, ReceiverContext, ReceiverFactory, Running, StartError};
use config::Section;
use futures_util::future::try_join_all;
use otlp::Signal;

use lines::{Meaning, Way};
use settings::{TcpSettings, UdpSettings};

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "syslog", aliases: &[], signals: &[Signal::Logs], build };

/// What the receiver runs on.
struct SyslogReceiver {
    tcp: Option<TcpSettings>,
    udp: Option<UdpSettings>,
    meaning: Meaning,
}

fn build(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    let (tcp, udp, meaning) = settings::read(section)?;
    Some(Box::new(SyslogReceiver { tcp, udp, meaning }))
}

impl Receiver for SyslogReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.bind(&context) })
    }
}

impl SyslogReceiver {
    fn bind(self, context: &ReceiverContext) -> Result<Running, StartError> {
        let meaning = Arc::new(self.meaning);
        let mut running: Vec<Running> = Vec::new();
        if let Some(settings) = self.tcp {
            running.push(tcp::bind(settings, Way::new(context, "tcp", &meaning)?, context)?);
        }
        if let Some(settings) = self.udp {
            running.push(udp::bind(&settings, &Way::new(context, "udp", &meaning)?, context)?);
        }
        Ok(Box::pin(async move { try_join_all(running).await.map(drop) }))
    }
}
