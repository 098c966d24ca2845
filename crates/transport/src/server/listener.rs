//! Listening sockets.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::endpoint::Endpoint;
use crate::io::Socket;

/// Connections that the system keeps waiting for us.
const BACKLOG: i32 = 1024;

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    inner: Inner,
    local: LocalAddress,
}

#[derive(Debug)]
enum Inner {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The address on which a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalAddress::Tcp(address) => write!(f, "{address}"),
            LocalAddress::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Whether several sockets may listen on one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortSharing {
    /// One only.
    #[default]
    Exclusive,
    /// Several, among which the system distributes connections (`SO_REUSEPORT`). With few connections the shares are
    /// uneven.
    Shared,
}

/// Whether a socket is of TCP or of UDP, or of a unix socket's kinds alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketKind {
    Stream,
    Datagram,
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {endpoint}: {cause}{advice}")]
pub struct BindError {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What the system said.
    pub cause: io::Error,
    advice: String,
}

impl BindError {
    pub(crate) fn new(endpoint: &Endpoint, kind: SocketKind, cause: io::Error) -> BindError {
        let advice = match (cause.kind(), endpoint) {
            (io::ErrorKind::AddrInUse, Endpoint::Tcp { port, .. }) => {
                let listing = match kind {
                    SocketKind::Stream => "-ltnp",
                    SocketKind::Datagram => "-lunp",
                };
                format!("; `ss {listing} 'sport = :{port}'` shows which process has the port")
            }
            (io::ErrorKind::AddrInUse, Endpoint::Unix(path)) => {
                format!("; `lsof {}` shows which process has the socket", path.display())
            }
            (io::ErrorKind::PermissionDenied, Endpoint::Tcp { port, .. }) if *port < 1024 => {
                "; ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned()
            }
            (io::ErrorKind::AddrNotAvailable, _) => "; this machine has no such address (`ip addr`)".to_owned(),
            _ => String::new(),
        };
        BindError { endpoint: endpoint.clone(), cause, advice }
    }
}

/// Opens a listening socket. Must be called within a tokio runtime.
///
/// An empty host means all addresses, IPv6 and IPv4. Port 0 lets the system choose: see [`Listener::local`]. A unix
/// socket whose process is gone is replaced.
///
/// # Errors
/// [`BindError`] says what to look at next.
pub fn bind(endpoint: &Endpoint, sharing: PortSharing) -> Result<Listener, BindError> {
    let bound = match endpoint {
        Endpoint::Tcp { host, port } => bind_tcp(host, *port, sharing),
        Endpoint::Unix(path) => bind_unix(path),
    };
    bound.map_err(|cause| BindError::new(endpoint, SocketKind::Stream, cause))
}

fn bind_tcp(host: &str, port: u16, sharing: PortSharing) -> io::Result<Listener> {
    let listener = bind_first(host, port, |address| listen(address, host.is_empty(), sharing))?;
    let local = LocalAddress::Tcp(listener.local_addr()?);
    Ok(Listener { inner: Inner::Tcp(listener), local })
}

/// Binds to the first address of a host that this machine has; to all addresses, if the host is empty.
pub(crate) fn bind_first<T>(host: &str, port: u16, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let addresses = if host.is_empty() {
        let any_v4 = SocketAddr::from(([0, 0, 0, 0], port));
        vec![SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), any_v4]
    } else {
        let mut found: Vec<_> = (host, port).to_socket_addrs()?.collect();
        // `localhost` may be both; the Collector listens on the IPv4 address.
        found.sort_by_key(SocketAddr::is_ipv6);
        found
    };
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in addresses {
        match bind(address) {
            // Another address of the same name must not hide that the port is taken.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => last = error,
            bound => return bound,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr, dual_stack: bool, sharing: PortSharing) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // A restart must not wait for connections of the previous process to time out.
    socket.set_reuse_address(true)?;
    if sharing == PortSharing::Shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path, SocketKind::Stream) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    Ok(Listener { inner: Inner::Unix(listener), local: LocalAddress::Unix(path.to_owned()) })
}

/// Whether the path is a socket on which nobody listens any more.
pub(crate) fn is_abandoned(path: &Path, kind: SocketKind) -> bool {
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let connected = match kind {
        SocketKind::Stream => UnixStream::connect(path).map(drop),
        SocketKind::Datagram => UnixDatagram::unbound().and_then(|socket| socket.connect(path)),
    };
    is_socket && connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl Listener {
    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn local(&self) -> LocalAddress {
        self.local.clone()
    }

    /// The port, for TCP.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.local {
            LocalAddress::Tcp(address) => Some(address.port()),
            LocalAddress::Unix(_) => None,
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match &self.inner {
            Inner::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are small and waited for. A client that is gone already is found out when it is read from.
                let _improved = stream.set_nodelay(true);
                Ok((Socket::Tcp(stream), Some(peer)))
            }
            Inner::Unix(listener) => listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), None)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let (Inner::Unix(_), LocalAddress::Unix(path)) = (&self.inner, &self.local) {
            // Leaving the file behind is harmless: the next bind replaces it.
            let _removed = std::fs::remove_file(path);
        }
    }
}
