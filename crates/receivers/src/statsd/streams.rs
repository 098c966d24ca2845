//! Connections that bring lines.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aggregation::statsd::{Shard, Source as Sender};
use component::metrics::Description;
use component::{ReceiverContext, StartError, clock};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;
use transport::endpoint::Endpoint;
use transport::server::{Listener, ServerStats};
use transport::stream::{self, Connection, Frame, FrameError, Frames, Framing, StreamSettings};

use super::Source;
use super::account::{Account, Tally};
use super::datagrams::set_permissions;
use super::settings::StreamFraming;
use super::shards::{Room, Shards};
use crate::shared::listen;

/// Connections take turns among so many shards.
pub(super) const SHARDS: usize = 4;

const OPEN: Description = Description::gauge("crossfade_receiver_open_connections", "Connections that are open.");
const REFUSED: Description = Description::counter(
    "crossfade_receiver_refused_connections",
    "Connections that were closed at once, because there were as many as there may be.",
);
const TLS_FAILURES: Description =
    Description::counter("crossfade_receiver_tls_failures", "TLS handshakes that failed or took too long.");

/// How connections are served.
pub(super) struct Serving {
    pub(super) settings: StreamSettings,
    pub(super) framing: StreamFraming,
    pub(super) frame_bytes_max: usize,
}

pub(super) fn bind(endpoint: &Endpoint, permissions: Option<u32>) -> Result<Listener, StartError> {
    let listener = listen(endpoint, "statsd", "statsd")?;
    set_permissions(endpoint, permissions).map_err(|error| StartError(format!("{endpoint}: {error}")))?;
    Ok(listener)
}

pub(super) fn start(
    listener: Listener,
    serving: Serving,
    shards: &Arc<Shards>,
    context: &ReceiverContext,
    transport: &'static str,
    stop: CancellationToken,
) -> (Arc<Account>, Source) {
    let name = listener.local().to_string();
    let account = Arc::new(Account::new(context.arrivals(transport, &name), &context.id, &name, None));
    let stats = Arc::new(ServerStats::default());
    observe(context, transport, name, Arc::clone(&stats));
    let Serving { settings, framing, frame_bytes_max } = serving;
    let reading = Arc::new(Reading {
        shards: Arc::clone(shards),
        account: Arc::clone(&account),
        framing,
        frame_bytes_max,
        connections: AtomicUsize::new(0),
        stop: stop.clone(),
    });
    let handler = move |connection| {
        let reading = Arc::clone(&reading);
        async move { reading.read(connection).await }
    };
    let source = Box::pin(async move {
        stream::serve_counted(listener, settings, handler, stop, stats).await;
        Ok(())
    });
    (account, source)
}

fn observe(context: &ReceiverContext, transport: &'static str, socket: String, stats: Arc<ServerStats>) {
    let receiver = context.id.clone();
    context.metrics.observe(move |to| {
        let labels = [("receiver", receiver.as_str()), ("transport", transport), ("socket", socket.as_str())];
        to.put(OPEN, &labels, stats.open() as f64);
        to.put(REFUSED, &labels, stats.refused() as f64);
        to.put(TLS_FAILURES, &labels, stats.tls_failures() as f64);
    });
}

/// What all connections have in common.
struct Reading {
    shards: Arc<Shards>,
    account: Arc<Account>,
    framing: StreamFraming,
    frame_bytes_max: usize,
    connections: AtomicUsize,
    stop: CancellationToken,
}

impl Reading {
    async fn read(&self, connection: Connection) {
        let Connection { mut io, info } = connection;
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let mut first = Vec::with_capacity(LENGTH_BYTES);
        let framing = match self.framing {
            StreamFraming::Newline => Framing::Lines,
            StreamFraming::LengthPrefixed => Framing::LengthPrefixed,
            StreamFraming::Auto => match detect(&mut io, &mut first).await {
                Ok(framing) => framing,
                Err(error) => return tracing::debug!(peer = ?info.peer, %error, "a connection of StatsD ended"),
            },
        };
        let frames = Frames::new(Cursor::new(first).chain(io), framing, self.frame_bytes_max);
        let sender = info.peer.map_or(Sender::Local, Sender::Peer);
        let turn = Turn { shards: &self.shards, number, sender, peer: info.peer };
        match self.add_all(frames, turn).await {
            Ok(()) => {}
            Err(FrameError::Io(error)) => tracing::debug!(peer = ?info.peer, %error, "a connection of StatsD ended"),
            Err(error) => {
                tracing::warn!(peer = ?info.peer, %error, "a connection of StatsD is closed: what it says is not in frames");
            }
        }
    }

    async fn add_all<R: AsyncRead + Unpin>(&self, mut frames: Frames<R>, turn: Turn<'_>) -> Result<(), FrameError> {
        loop {
            let Some(first) = frames.next().await? else { return Ok(()) };
            let (now_ns, mut tally) = (clock::unix_ns(), Tally::default());
            // What came along with the first frame is added under the same lock.
            let (more, room) = {
                let mut shard = turn.shards.lock(turn.number);
                turn.add(&mut shard, first, now_ns, &mut tally);
                let more = loop {
                    match frames.next_buffered() {
                        Ok(Some(frame)) => turn.add(&mut shard, frame, now_ns, &mut tally),
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                };
                (more, turn.shards.look_at_room(&shard))
            };
            self.account.count(&tally);
            more?;
            if room == Room::Scarce {
                self.wait_for_room().await;
            }
        }
    }

    /// A stream can wait, unlike a datagram: its client is slowed down until the next flush.
    async fn wait_for_room(&self) {
        let mut emptied = self.shards.next_emptied();
        tokio::select! {
            _ = emptied.changed() => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Where the lines of a connection go.
#[derive(Clone, Copy)]
struct Turn<'a> {
    shards: &'a Shards,
    number: usize,
    sender: Sender,
    peer: Option<std::net::SocketAddr>,
}

impl Turn<'_> {
    fn add(&self, shard: &mut Shard, frame: Frame<'_>, now_ns: u64, tally: &mut Tally) {
        match frame {
            Frame::Whole(lines) => tally.add(shard.packet(lines, self.sender, now_ns), self.peer),
            Frame::TooLong { .. } => tally.add_too_long(),
        }
    }
}

const LENGTH_BYTES: usize = 4;

/// Tells from the first bytes whether they are a length. No packet is so long that its length would have no zero among
/// its bytes, and no line has one.
async fn detect<R: AsyncRead + Unpin>(io: &mut R, first: &mut Vec<u8>) -> io::Result<Framing> {
    while first.len() < LENGTH_BYTES && !first.contains(&b'\n') {
        let mut byte = [0];
        if io.read(&mut byte).await? == 0 {
            break;
        }
        first.push(byte[0]);
    }
    Ok(if first.contains(&0) { Framing::LengthPrefixed } else { Framing::Lines })
}
