//! What happens on one connection.

use std::time::Duration;

use component::{Arrivals, Intake, Refused, Stop, Unit, clock};
use legacy::fluent::{Events, Limits, Message, ack, read_message};
use otlp::Batch;
use transport::stream::Connection;

use super::handshake::Security;
use super::inbox::{Held, Inbox, InboxError};

/// The longest time between two attempts to hand over a message that there is no room for.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// What all connections share.
pub(super) struct Service {
    pub(super) intake: Intake,
    pub(super) arrivals: Arrivals,
    pub(super) security: Option<Security>,
    pub(super) limits: Limits,
    pub(super) held: Held,
    pub(super) stop: Stop,
}

/// Why a connection ends before the client ends it.
enum End {
    /// It cannot be understood, or could not be read.
    Inbox(InboxError),
    /// What was sent cannot be taken, now or ever: the client gets no acknowledgement.
    Refused(String),
    /// This process stops.
    Stopping,
    /// The acknowledgement did not arrive.
    NotAcknowledged(std::io::Error),
}

impl Service {
    pub(super) async fn serve(&self, connection: Connection) {
        let Connection { io, info } = connection;
        let peer = info.peer;
        let mut inbox = Inbox::new(io, self.limits, &self.held);
        if let Some(security) = &self.security
            && let Err(error) = security.greet(&mut inbox).await
        {
            tracing::warn!(?peer, error, "fluentforward: the client is refused");
            return;
        }
        match self.take_all(&mut inbox).await {
            Ok(()) | Err(End::Stopping) => {}
            Err(End::Inbox(error)) => {
                if let Some(cause) = error.cause() {
                    self.arrivals.received(Unit::Messages, 1);
                    self.arrivals.lost(Unit::Messages, cause, 1);
                    tracing::warn!(?peer, %error, "fluentforward: connection closed");
                } else {
                    tracing::debug!(?peer, %error, "fluentforward: connection lost");
                }
            }
            Err(End::Refused(cause)) => {
                self.arrivals.lost(Unit::Messages, "refused", 1);
                tracing::warn!(?peer, cause, "fluentforward: a message cannot be taken; connection closed");
            }
            Err(End::NotAcknowledged(error)) => {
                tracing::debug!(?peer, %error, "fluentforward: an acknowledgement did not arrive");
            }
        }
    }

    async fn take_all(&self, inbox: &mut Inbox) -> Result<(), End> {
        while let Some(bytes) = inbox.next().await.map_err(End::Inbox)? {
            let message = read_message(&bytes, clock::unix_ns(), &self.limits);
            drop(bytes);
            let events = match message.map_err(|error| End::Inbox(error.into()))? {
                Message::Heartbeat => continue,
                Message::Events(events) => events,
            };
            self.arrivals.received(Unit::Messages, 1);
            let Events { batch, chunk } = events;
            if batch.items() > 0 {
                let taken = self.hand_over(batch).await;
                if matches!(taken, Err(End::Stopping)) && chunk.is_none() {
                    // A client that asks for no acknowledgement will not send it again.
                    self.arrivals.lost(Unit::Messages, "stopping", 1);
                }
                taken?;
            }
            if let Some(chunk) = chunk {
                inbox.answer(&ack(&chunk)).await.map_err(End::NotAcknowledged)?;
            }
        }
        Ok(())
    }

    /// Waits until there is room. Nothing is read meanwhile, so that the client waits as well.
    async fn hand_over(&self, batch: Batch) -> Result<(), End> {
        loop {
            match self.intake.accept(batch.clone()).await {
                Ok(()) => return Ok(()),
                Err(Refused::Permanent { cause }) => return Err(End::Refused(cause)),
                Err(Refused::Retry { after, .. }) => {
                    tokio::select! {
                        () = tokio::time::sleep(after.min(RETRY_DELAY_MAX)) => {}
                        () = self.stop.requested() => return Err(End::Stopping),
                    }
                }
            }
        }
    }
}
