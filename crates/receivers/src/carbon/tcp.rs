//! Over TCP.

use std::sync::Arc;
use std::time::Duration;

use component::{ReceiverContext, Running, StartError};
use legacy::carbon::{LINE_BYTES_MAX, Parser};
use otlp::Signal;
use transport::endpoint::Endpoint;
use transport::stream::{self, Connection, Frame, Frames, Framing, StreamSettings};

use super::Taker;
use crate::shared::listen;

pub(super) fn start(
    endpoint: &Endpoint,
    idle_timeout: Option<Duration>,
    parser: Parser,
    context: &ReceiverContext,
) -> Result<Running, StartError> {
    let listener = listen(endpoint, "carbon", "tcp")?;
    let Some(intake) = context.intake(Signal::Metrics, "tcp") else {
        return Err(StartError("no pipeline takes metrics from this receiver".to_owned()));
    };
    let taker = Taker {
        parser: Arc::new(parser),
        intake,
        arrivals: context.arrivals("tcp", &listener.local().to_string()),
        stop: context.stop.token(),
        shown: Arc::default(),
    };
    let stop = context.stop.token();
    let settings = StreamSettings { idle_timeout, ..StreamSettings::default() };
    let handler = move |connection: Connection| {
        let taker = taker.clone();
        async move { take(&taker, connection).await }
    };
    Ok(Box::pin(async move {
        stream::serve(listener, settings, handler, stop).await;
        Ok(())
    }))
}

/// Takes the lines of a connection: what a read has brought goes to the pipelines before the next one.
async fn take(taker: &Taker, connection: Connection) {
    let peer = connection.info.peer;
    let mut lines = Frames::new(connection.io, Framing::Lines, LINE_BYTES_MAX);
    loop {
        let mut batch = taker.batch();
        let first = match lines.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(?peer, %error, "a connection ends");
                return;
            }
        };
        add(&mut batch, first);
        while !batch.is_full() {
            match lines.next_buffered() {
                Ok(Some(frame)) => add(&mut batch, frame),
                // The next read says what is wrong.
                Ok(None) | Err(_) => break,
            }
        }
        batch.hand_over().await;
    }
}

fn add(batch: &mut super::lines::Taking<'_>, frame: Frame<'_>) {
    match frame {
        Frame::Whole(line) => batch.line(line),
        Frame::TooLong { .. } => batch.too_long(),
    }
}
