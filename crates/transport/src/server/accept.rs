//! The accept loop and the TLS handshake, which are the same for every protocol on top.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Listener, LocalAddress, ServerStats, Stopped, TlsInfo};
use crate::io::{Io, Socket};
use crate::tls::ServerTlsConfig;

/// What bounds all connections of a server together.
pub(crate) struct Limits {
    /// Connections at the same time; further ones are closed at once.
    pub(crate) connections_max: usize,
    /// What connections get to finish, after the server was told to stop.
    pub(crate) stop_grace: Duration,
}

/// How the accept loop and the connections are told to end.
pub(crate) struct Signals {
    /// No further connections; those that are open come to their end.
    pub(crate) stop: CancellationToken,
    /// Cancelled by the accept loop when the grace is over: connections end at once.
    pub(crate) cut: CancellationToken,
}

/// A connection that has just been made.
pub(crate) struct Accepted {
    pub(crate) socket: Socket,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: LocalAddress,
    /// To be held until the connection is closed.
    pub(crate) open: OpenConnection,
}

/// Accepts connections until `stop` is cancelled, each with a task of its own, then waits for them within the grace.
pub(crate) async fn accept<S, F>(
    listener: Listener,
    limits: Limits,
    serve_one: S,
    signals: Signals,
    stats: Arc<ServerStats>,
) -> Stopped
where
    S: Fn(Accepted) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let connections = TaskTracker::new();
    let mut pause = AcceptPause::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = signals.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause.reset();
                if stats.open() >= limits.connections_max {
                    stats.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(?peer, "connection refused: the limit of connections is reached");
                    continue;
                }
                stats.accepted.fetch_add(1, Ordering::Relaxed);
                let open = OpenConnection::new(Arc::clone(&stats));
                connections.spawn(serve_one(Accepted { socket, peer, local: listener.local(), open }));
            }
            Err(error) => {
                stats.accept_errors.fetch_add(1, Ordering::Relaxed);
                if let Some(delay) = pause.after(&error) {
                    tracing::warn!(%error, delay_ms = delay.as_millis(), "cannot accept connections; trying again");
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }
    drop(listener);
    connections.close();
    let _in_time = tokio::time::timeout(limits.stop_grace, connections.wait()).await;
    let cut_connections = connections.len();
    signals.cut.cancel();
    connections.wait().await;
    Stopped { cut_connections }
}

/// Completes the TLS handshake where there is one to make. A failure is counted, and ends the connection.
pub(crate) async fn secure(
    tls: Option<&ServerTlsConfig>,
    limit: Duration,
    socket: Socket,
    peer: Option<SocketAddr>,
    stats: &ServerStats,
) -> Option<(Io, Option<TlsInfo>)> {
    let Some(tls) = tls else { return Some((Io::Plain(socket), None)) };
    let acceptor = TlsAcceptor::from(tls.current());
    let cause = match tokio::time::timeout(limit, acceptor.accept(socket)).await {
        Err(_elapsed) => format!("not complete after {} ms", limit.as_millis()),
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let first = session.peer_certificates().and_then(<[_]>::first);
            let client_certificate = first.map(|der| Bytes::copy_from_slice(der));
            return Some((Io::TlsServer(Box::new(stream)), Some(TlsInfo { client_certificate })));
        }
    };
    stats.tls_failures.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(?peer, %cause, "TLS handshake failed");
    None
}

/// Counts a connection for as long as it lives.
pub(crate) struct OpenConnection(Arc<ServerStats>);

impl OpenConnection {
    fn new(stats: Arc<ServerStats>) -> OpenConnection {
        stats.open.fetch_add(1, Ordering::Relaxed);
        OpenConnection(stats)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long to wait after a failed accept: not at all where one client is the cause, longer and longer where the
/// system lacks descriptors or memory, since the next call would fail as well and the loop would spin.
#[derive(Default)]
pub(crate) struct AcceptPause {
    next: Option<Duration>,
}

impl AcceptPause {
    const FIRST: Duration = Duration::from_millis(10);
    const MAX: Duration = Duration::from_secs(1);

    pub(crate) fn reset(&mut self) {
        self.next = None;
    }

    pub(crate) fn after(&mut self, error: &std::io::Error) -> Option<Duration> {
        use std::io::ErrorKind;
        let one_client =
            matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted);
        if one_client {
            return None;
        }
        let delay = self.next.unwrap_or(Self::FIRST);
        self.next = Some((delay * 2).min(Self::MAX));
        Some(delay)
    }
}
