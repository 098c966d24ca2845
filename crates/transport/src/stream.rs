//! Servers for protocols that are not HTTP, over TCP, TLS and unix streams, and the readers of their frames.
//!
//! Connections are accepted and secured as in [`server`](crate::server). What is said on one is up to the handler, which
//! gets the connection as something to read from and to write to, with the time-outs applied, and ends it by returning.
//!
//! When the server stops, reads go on to deliver what has arrived already, up to [`STOP_READ_BYTES_MAX`], and then fail:
//! not with the end of the stream, since what was read last may be half a frame. Handlers get the grace to finish.
//!
//! ```no_run
//! use tokio_util::sync::CancellationToken;
//! use transport::endpoint::Endpoint;
//! use transport::server::{self, PortSharing};
//! use transport::stream::{self, Connection, Frame, Frames, Framing, StreamSettings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = server::bind(&Endpoint::parse("localhost:2003")?, PortSharing::Exclusive)?;
//! let handler = |connection: Connection| async move {
//!     let mut lines = Frames::new(connection.io, Framing::Lines, 64 << 10);
//!     while let Ok(Some(frame)) = lines.next().await {
//!         match frame {
//!             Frame::Whole(line) => println!("{}", line.escape_ascii()),
//!             Frame::TooLong { bytes } => println!("a line of {bytes} bytes was skipped"),
//!         }
//!     }
//! };
//! stream::serve(listener, StreamSettings::default(), handler, CancellationToken::new()).await;
//! # Ok(()) }
//! ```

mod frames;
mod io;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::server::{self, Accepted, ConnInfo, Limits, Listener, ServerStats, Signals, Stopped};
use crate::tls::ServerTlsConfig;
pub use frames::{Frame, FrameError, Frames, Framing};
pub use io::{STOP_READ_BYTES_MAX, StreamIo};

/// How a server treats its connections.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// TLS; plain text, if absent.
    pub tls: Option<Arc<ServerTlsConfig>>,
    /// Connections at the same time; further ones are closed at once.
    pub connections_max: usize,
    /// A TLS handshake must be complete by then.
    pub tls_handshake_timeout: Duration,
    /// A client from which nothing comes for so long while it is read from, or that takes nothing while it is written
    /// to, has its read or write fail; never, if absent.
    pub idle_timeout: Option<Duration>,
    /// What handlers get to finish, after the server was told to stop.
    pub stop_grace: Duration,
}

impl Default for StreamSettings {
    fn default() -> Self {
        StreamSettings {
            tls: None,
            connections_max: 10_000,
            tls_handshake_timeout: Duration::from_secs(10),
            idle_timeout: None,
            stop_grace: Duration::from_secs(5),
        }
    }
}

/// A connection, for its handler.
#[derive(Debug)]
pub struct Connection {
    /// To read from and to write to.
    pub io: StreamIo,
    /// What is known of the client.
    pub info: Arc<ConnInfo>,
}

/// Serves until `stop` is cancelled, then lets handlers finish within the grace and returns.
///
/// The handler is called for each connection; its future is dropped when the grace is over.
pub async fn serve<H, F>(listener: Listener, settings: StreamSettings, handler: H, stop: CancellationToken) -> Stopped
where
    H: Fn(Connection) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    serve_counted(listener, settings, handler, stop, Arc::default()).await
}

/// Like [`serve`], and counts in `stats`.
pub async fn serve_counted<H, F>(
    listener: Listener,
    settings: StreamSettings,
    handler: H,
    stop: CancellationToken,
    stats: Arc<ServerStats>,
) -> Stopped
where
    H: Fn(Connection) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let limits = Limits { connections_max: settings.connections_max, stop_grace: settings.stop_grace };
    let cut = CancellationToken::new();
    let signals = Signals { stop: stop.clone(), cut: cut.clone() };
    let shared = Arc::new(Shared { settings, handler, stats: Arc::clone(&stats), stop, cut });
    server::accept(listener, limits, |accepted| run(Arc::clone(&shared), accepted), signals, stats).await
}

/// What all connections of a server have in common.
struct Shared<H> {
    settings: StreamSettings,
    handler: H,
    stats: Arc<ServerStats>,
    stop: CancellationToken,
    cut: CancellationToken,
}

/// Serves one connection to its end.
async fn run<H, F>(shared: Arc<Shared<H>>, accepted: Accepted)
where
    H: Fn(Connection) -> F,
    F: Future<Output = ()>,
{
    let Accepted { socket, peer, local, open: _open } = accepted;
    let (tls, limit) = (shared.settings.tls.as_deref(), shared.settings.tls_handshake_timeout);
    let secured = tokio::select! {
        biased;
        secured = server::secure(tls, limit, socket, peer, &shared.stats) => secured,
        () = shared.stop.cancelled() => return,
    };
    let Some((io, tls)) = secured else { return };
    let io = StreamIo::new(io, shared.settings.idle_timeout, shared.stop.clone());
    let connection = Connection { io, info: Arc::new(ConnInfo { peer, local, tls }) };
    tokio::select! {
        biased;
        () = (shared.handler)(connection) => {}
        () = shared.cut.cancelled() => tracing::debug!(?peer, "connection cut: its handler did not end in time"),
    }
}
