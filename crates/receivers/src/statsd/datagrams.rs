//! Readers of datagrams: each a thread with a socket and a shard of its own.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use aggregation::statsd::Source as Sender;
use component::clock::{self, Mono};
use component::metrics::Description;
use component::{ReceiverContext, StartError};
use memchr::memrchr;
use tokio_util::sync::CancellationToken;
use transport::datagram::{self, Datagram, DatagramSettings, DatagramSocket, Extent};
use transport::endpoint::Endpoint;

use super::Source;
use super::account::{Account, Tally};
use super::shards::Shards;

const RECEIVE_BUFFER: Description = Description::gauge(
    "crossfade_receiver_receive_buffer_bytes",
    "The receive buffer that the kernel granted to a socket.",
);

pub(super) fn bind(
    endpoint: &Endpoint,
    settings: &DatagramSettings,
    permissions: Option<u32>,
) -> Result<Vec<DatagramSocket>, StartError> {
    let sockets = datagram::bind(endpoint, settings).map_err(|error| StartError(error.to_string()))?;
    set_permissions(endpoint, permissions).map_err(|error| StartError(format!("{endpoint}: {error}")))?;
    Ok(sockets)
}

/// Says who may send to a unix socket.
pub(super) fn set_permissions(endpoint: &Endpoint, permissions: Option<u32>) -> io::Result<()> {
    match (endpoint, permissions) {
        (Endpoint::Unix(path), Some(mode)) => fs::set_permissions(path, Permissions::from_mode(mode)),
        _ => Ok(()),
    }
}

/// Starts a reader for each socket, with the shard of its number.
pub(super) fn start(
    sockets: Vec<DatagramSocket>,
    shards: &Arc<Shards>,
    context: &ReceiverContext,
    transport: &str,
    stop: &CancellationToken,
) -> Result<(Vec<Arc<Account>>, Vec<Source>), StartError> {
    let several = sockets.len() > 1;
    let (mut accounts, mut sources) = (Vec::new(), Vec::new());
    for (number, socket) in sockets.into_iter().enumerate() {
        let (local, stats) = (socket.local(), socket.stats());
        let name = if several { format!("{local}#{number}") } else { local.to_string() };
        tracing::info!(endpoint = %local, transport, receive_buffer_bytes = stats.receive_buffer_bytes(),
            "statsd receiver listens");
        let labels = [("receiver", context.id.as_str()), ("transport", transport), ("socket", name.as_str())];
        context.metrics.gauge(RECEIVE_BUFFER, &labels).set(stats.receive_buffer_bytes() as f64);
        let receive_buffer_bytes = stats.receive_buffer_bytes();
        let account = Account::new(context.arrivals(transport, &name), &context.id, &name, Some(stats));
        let account = Arc::new(account);
        accounts.push(Arc::clone(&account));
        let shards = Arc::clone(shards);
        let mut gathering = Gathering::new(receive_buffer_bytes);
        let add = move |batch: &[Datagram<'_>]| {
            add_batch(batch, &shards, number, &account);
            gathering.after(batch.len());
        };
        let reader = socket.read(stop.clone(), add).map_err(|error| StartError(format!("{local}: {error}")))?;
        sources.push(Box::pin(async move { reader.join().await.map_err(|error| StartError(error.to_string())) }) as Source);
    }
    Ok((accounts, sources))
}

/// A short rest after small batches, where datagrams come quickly.
///
/// A reader that is faster than its senders is woken for each datagram, which costs it and them more than the datagram
/// does. Resting, it finds several at once.
#[derive(Debug)]
struct Gathering {
    /// When the last batch was done; none where the buffer is too small for any rest.
    rested: Option<Mono>,
}

impl Gathering {
    /// The buffer holds what comes within a rest many times over.
    const BUFFER_BYTES_MIN: usize = 128 << 10;
    /// Batches of so many are worth their waking.
    const DATAGRAMS_MIN: usize = datagram::BATCH_DATAGRAMS_MAX / 2;
    /// At lower rates a rest would only be one more waking.
    const GAP_MAX: Duration = Duration::from_micros(200);
    const REST: Duration = Duration::from_micros(50);

    fn new(receive_buffer_bytes: usize) -> Gathering {
        let has_room = receive_buffer_bytes >= Gathering::BUFFER_BYTES_MIN;
        Gathering { rested: has_room.then(clock::mono) }
    }

    fn after(&mut self, datagrams: usize) {
        let Some(rested) = self.rested else { return };
        let is_busy = clock::mono().saturating_duration_since(rested) < Gathering::GAP_MAX;
        if is_busy && datagrams < Gathering::DATAGRAMS_MIN {
            std::thread::sleep(Gathering::REST);
        }
        self.rested = Some(clock::mono());
    }
}

fn add_batch(batch: &[Datagram<'_>], shards: &Shards, number: usize, account: &Account) {
    let now_ns = clock::unix_ns();
    let mut tally = Tally::default();
    let mut shard = shards.lock(number);
    for datagram in batch {
        let sender = datagram.peer.map_or(Sender::Local, Sender::Peer);
        let lines = whole_lines(datagram, &mut tally);
        tally.add(shard.packet(lines, sender, now_ns), datagram.peer);
    }
    // Datagrams do not wait for room: what there is none for is refused, and counted.
    shards.look_at_room(&shard);
    drop(shard);
    account.sync();
    account.count(&tally);
}

/// The lines of a datagram. Where it was truncated, the last one may look whole and mean something else.
fn whole_lines<'a>(datagram: &Datagram<'a>, tally: &mut Tally) -> &'a [u8] {
    match datagram.extent {
        Extent::Whole => datagram.bytes,
        Extent::Truncated { .. } => {
            tally.add_cut();
            let end = memrchr(b'\n', datagram.bytes).unwrap_or(0);
            &datagram.bytes[..end]
        }
    }
}
