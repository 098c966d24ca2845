//! Over UDP.

use std::sync::Arc;
use std::time::Duration;

use component::{Arrivals, ReceiverContext, Running, StartError, Unit};
use legacy::carbon::Parser;
use otlp::Signal;
use tokio::runtime::Handle;
use transport::datagram::{self, Datagram, DatagramSettings, DatagramStats, Extent};
use transport::endpoint::Endpoint;

use super::Taker;

/// What the kernel drops is looked up this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn start(endpoint: &Endpoint, parser: Parser, context: &ReceiverContext) -> Result<Running, StartError> {
    let sockets = datagram::bind(endpoint, &DatagramSettings::default());
    let socket = sockets.map_err(|error| StartError(error.to_string()))?.remove(0);
    tracing::info!(endpoint = %socket.local(), protocol = "udp", "carbon receiver listens");
    let Some(intake) = context.intake(Signal::Metrics, "udp") else {
        return Err(StartError("no pipeline takes metrics from this receiver".to_owned()));
    };
    let arrivals = context.arrivals("udp", &socket.local().to_string());
    let stop = context.stop.token();
    let taker = Taker {
        parser: Arc::new(parser),
        intake,
        arrivals: arrivals.clone(),
        stop: stop.clone(),
        shown: Arc::default(),
    };
    let (stats, runtime) = (socket.stats(), Handle::current());
    let reader = socket.read(stop.clone(), move |datagrams| take(&taker, &runtime, datagrams));
    let reader = reader.map_err(|error| StartError(error.to_string()))?;
    Ok(Box::pin(async move {
        let mut drops = Drops { stats, arrivals, seen: 0 };
        while !stop.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => drops.look(),
                () = stop.cancelled() => {}
            }
        }
        let ended = reader.join().await;
        drops.look();
        ended.map_err(|error| StartError(error.to_string()))
    }))
}

/// Takes the lines of datagrams, on the thread that reads them: while it waits for room, the kernel's buffer is all
/// there is.
fn take(taker: &Taker, runtime: &Handle, datagrams: &[Datagram<'_>]) {
    taker.arrivals.received(Unit::Datagrams, datagrams.len() as u64);
    let mut batch = taker.batch();
    for datagram in datagrams {
        let mut lines: Vec<&[u8]> = datagram.bytes.split(|byte| *byte == b'\n').collect();
        // Half a line is none.
        if matches!(datagram.extent, Extent::Truncated { .. }) && lines.pop().is_some() {
            batch.too_long();
        }
        for line in lines {
            batch.line(line);
            if batch.is_full() {
                runtime.block_on(std::mem::replace(&mut batch, taker.batch()).hand_over());
            }
        }
    }
    runtime.block_on(batch.hand_over());
}

/// Follows what the kernel drops.
struct Drops {
    stats: Arc<DatagramStats>,
    arrivals: Arrivals,
    seen: u64,
}

impl Drops {
    fn look(&mut self) {
        let drops = self.stats.kernel_drops();
        self.arrivals.lost(Unit::Datagrams, "kernel_drop", drops - self.seen);
        self.seen = drops;
    }
}
