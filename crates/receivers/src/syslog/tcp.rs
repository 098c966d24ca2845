//! Messages in a stream.

use std::sync::Arc;

use component::{ReceiverContext, Running, StartError, Unit};
use transport::stream::{self, Connection, Frame, FrameError, Frames};

use super::lines::{Lines, Way, origin};
use super::settings::TcpSettings;
use crate::shared::listen;

pub(super) fn bind(settings: TcpSettings, way: Way, context: &ReceiverContext) -> Result<Running, StartError> {
    let listener = listen(&settings.endpoint, "syslog", "tcp")?;
    let arrivals = context.arrivals("tcp", &listener.local().to_string());
    let (stream, stop) = (settings.stream.clone(), context.stop.token());
    let settings = Arc::new(settings);
    let handler = move |connection| {
        let lines = Lines::new(&way, arrivals.clone(), Unit::Messages, settings.trim);
        let settings = Arc::clone(&settings);
        async move { read(connection, lines, &settings).await }
    };
    Ok(Box::pin(async move {
        stream::serve(listener, stream, handler, stop).await;
        Ok(())
    }))
}

/// Reads a connection to its end. Messages that arrived together are handed over together, and nothing is read before
/// there was room for them.
async fn read(connection: Connection, mut lines: Lines, settings: &TcpSettings) {
    let Connection { io, info } = connection;
    let origin = origin(settings.origins, "IP.TCP", info.peer, &info.local);
    let mut frames = Frames::new(io, settings.framing, settings.message_bytes_max);
    let end = loop {
        let mut next = match frames.next().await {
            Ok(Some(frame)) => Some(frame),
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        let failed = loop {
            match next {
                Some(Frame::Whole(message)) => lines.take(message, &origin),
                Some(Frame::TooLong { .. }) => lines.lost("too_long"),
                None => break None,
            }
            if lines.is_full() {
                break None;
            }
            next = match frames.next_buffered() {
                Ok(next) => next,
                Err(error) => break Some(error),
            };
        };
        lines.hand_over().await;
        if failed.is_some() {
            break failed;
        }
    };
    match end {
        None => {}
        Some(FrameError::Io(error)) => tracing::debug!(peer = ?info.peer, %error, "syslog: connection lost"),
        Some(error) => {
            lines.lost(match error {
                FrameError::Cut { .. } => "broken_off",
                _ => "no_length",
            });
            tracing::warn!(peer = ?info.peer, %error, "syslog: connection closed");
        }
    }
}
