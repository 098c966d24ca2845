//! Messages as datagrams.

use std::sync::Arc;
use std::time::Duration;

use component::{Arrivals, ReceiverContext, Running, StartError, Stop, Unit};
use tokio::runtime::Handle;
use transport::datagram::{self, DatagramReader, DatagramSocket, DatagramStats};

use super::lines::{Lines, Origins, Way, origin};
use super::settings::UdpSettings;

/// How often the kernel's count of drops is carried over to the ledger.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn bind(settings: &UdpSettings, way: &Way, context: &ReceiverContext) -> Result<Running, StartError> {
    let sockets = datagram::bind(&settings.endpoint, &settings.datagrams);
    let sockets = sockets.map_err(|error| StartError(error.to_string()))?;
    let mut watched = Vec::new();
    for (index, socket) in sockets.into_iter().enumerate() {
        let name = match settings.datagrams.readers {
            1 => socket.local().to_string(),
            _ => format!("{} #{index}", socket.local()),
        };
        tracing::info!(endpoint = name, protocol = "udp", "syslog receiver listens");
        let arrivals = context.arrivals("udp", &name);
        let drops = Drops { stats: socket.stats(), arrivals: arrivals.clone(), told: 0 };
        let lines = Lines::new(way, arrivals, Unit::Datagrams, settings.trim);
        let reader = read(socket, settings.origins, lines, &context.stop);
        watched.push((reader.map_err(|error| StartError(error.to_string()))?, drops));
    }
    let stop = context.stop.clone();
    Ok(Box::pin(async move { watch(watched, &stop).await }))
}

/// Reads a socket on a thread of its own. While the intake has no room, nothing more is read, and the kernel's buffer
/// fills.
fn read(socket: DatagramSocket, origins: Origins, mut lines: Lines, stop: &Stop) -> std::io::Result<DatagramReader> {
    let (local, runtime) = (socket.local(), Handle::current());
    socket.read(stop.token(), move |datagrams| {
        for datagram in datagrams {
            // Some senders end a datagram with a line feed or a NUL.
            let end = datagram.bytes.iter().rposition(|byte| *byte >= b' ').map_or(0, |last| last + 1);
            lines.take(&datagram.bytes[..end], &origin(origins, "IP.UDP", datagram.peer, &local));
        }
        runtime.block_on(lines.hand_over());
    })
}

/// What the kernel dropped of one socket, and what of it has been told.
struct Drops {
    stats: Arc<DatagramStats>,
    arrivals: Arrivals,
    told: u64,
}

impl Drops {
    fn tell(&mut self) {
        let dropped = self.stats.kernel_drops();
        self.arrivals.lost(Unit::Datagrams, "kernel_drop", dropped.saturating_sub(self.told));
        self.told = dropped;
    }
}

async fn watch(mut sockets: Vec<(DatagramReader, Drops)>, stop: &Stop) -> Result<(), StartError> {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => sockets.iter_mut().for_each(|(_, drops)| drops.tell()),
            () = stop.requested() => break,
        }
    }
    for (reader, mut drops) in sockets {
        reader.join().await.map_err(|error| StartError(error.to_string()))?;
        drops.tell();
    }
    Ok(())
}
