//! Outgoing connections: names, sockets, TLS.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::io::{Io, Socket};
use crate::tls::{ClientTlsConfig, TlsError};

/// Data that a peer does not acknowledge for this long means that the connection is dead (RFC 5482).
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);
const TCP_KEEPALIVE_TIME: Duration = Duration::from_secs(30);
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot resolve {host}: {cause}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// No socket.
    #[error("cannot connect to {address}: {cause}")]
    Socket {
        /// The address tried last.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// Neither success nor failure in time.
    #[error("connecting to {address} took longer than {timeout_ms} ms")]
    TimedOut {
        /// The address tried last.
        address: String,
        /// The limit.
        timeout_ms: u128,
    },
    /// The TLS handshake failed.
    #[error("TLS with {address}: {cause}")]
    Tls {
        /// The address.
        address: String,
        /// What is wrong, for example with the certificate.
        cause: String,
    },
    /// The proxy did not open the tunnel.
    #[error("the proxy {proxy} refused: {cause}")]
    Proxy {
        /// The proxy, without credentials.
        proxy: String,
        /// Its answer.
        cause: String,
    },
}

/// All addresses of a name, at least one.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    let failed = |cause: String| ConnectError::Resolve { host: host.to_owned(), cause };
    let found: Vec<_> =
        tokio::net::lookup_host((host, port)).await.map_err(|error| failed(error.to_string()))?.collect();
    if found.is_empty() { Err(failed("the name has no address".to_owned())) } else { Ok(found) }
}

/// A TCP connection to the first address that answers. The time is shared out, so that one address that swallows
/// packets does not use up all of it.
pub(crate) async fn connect_tcp(addresses: &[SocketAddr], timeout: Duration) -> Result<Socket, ConnectError> {
    let mut last = None;
    let share = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // These improve how fast failures are seen; a socket without them works.
                let _improved = tune(&stream);
                return Ok(Socket::Tcp(stream));
            }
            Ok(Err(error)) => last = Some(socket_error(address.to_string(), &error)),
            Err(_elapsed) => {
                last = Some(ConnectError::TimedOut { address: address.to_string(), timeout_ms: share.as_millis() });
            }
        }
    }
    let nothing = || ConnectError::Socket { address: "nothing".to_owned(), cause: "no address".to_owned() };
    Err(last.unwrap_or_else(nothing))
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE_TIME).with_interval(TCP_KEEPALIVE_INTERVAL))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(())
}

pub(crate) async fn connect_unix(path: &Path) -> Result<Socket, ConnectError> {
    let stream = UnixStream::connect(path).await;
    stream.map(Socket::Unix).map_err(|error| socket_error(path.display().to_string(), &error))
}

fn socket_error(address: String, error: &io::Error) -> ConnectError {
    ConnectError::Socket { address, cause: error.to_string() }
}

/// A TLS session on a socket, verified for `host`.
pub(crate) async fn connect_tls(
    socket: Socket,
    tls: &ClientTlsConfig,
    host: &str,
    address: &str,
    timeout: Duration,
) -> Result<Io, ConnectError> {
    let failed = |cause: String| ConnectError::Tls { address: address.to_owned(), cause };
    let name = tls.server_name_for(host).map_err(|error: TlsError| failed(error.to_string()))?;
    let handshake = TlsConnector::from(tls.current()).connect(name, socket);
    match tokio::time::timeout(timeout, handshake).await {
        Ok(Ok(stream)) => Ok(Io::TlsClient(Box::new(stream))),
        Ok(Err(error)) => Err(failed(explain(&error))),
        Err(_elapsed) => Err(ConnectError::TimedOut { address: address.to_owned(), timeout_ms: timeout.as_millis() }),
    }
}

/// What the usual mistake looks like from here, in words.
fn explain(error: &io::Error) -> String {
    let text = error.to_string();
    if text.contains("InvalidContentType") || text.contains("corrupt message") {
        return format!("{text} (does the server speak TLS on this port?)");
    }
    text
}
