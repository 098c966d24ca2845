//! Clients of protocols that answer nothing: datagrams, and streams of lines.
//!
//! That a send succeeded says that the kernel has taken it. Whether the other side got it is known to nobody; what can
//! be seen of a peer that is gone is seen before a send, so that as little as possible goes to one.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::{UdpSocket, UnixDatagram};

use crate::connect::{ConnectError, connect_tcp, connect_unix, resolve};
use crate::endpoint::Endpoint;
use crate::io::Socket;

/// Why nothing was sent, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no way to the peer.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A datagram that the way to the peer does not carry, however often it is sent.
    #[error("a datagram of {size_bytes} bytes is more than the way to {address} carries")]
    TooLarge {
        /// The peer.
        address: String,
        /// The datagram's size.
        size_bytes: usize,
    },
    /// The system did not take it, or not all of it.
    #[error("cannot send to {address}: {cause}")]
    Send {
        /// The peer.
        address: String,
        /// What the system said.
        cause: String,
    },
}

fn socket_error(endpoint: &Endpoint, error: &io::Error) -> ConnectError {
    ConnectError::Socket { address: endpoint.to_string(), cause: error.to_string() }
}

// === Datagrams ===

/// Sends datagrams to one peer, over UDP or to a unix socket.
#[derive(Debug)]
pub struct DatagramClient {
    endpoint: Endpoint,
    socket: Mutex<Option<DatagramOut>>,
}

#[derive(Debug)]
enum DatagramOut {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl DatagramClient {
    /// To `endpoint`, where [`Endpoint::Tcp`] stands for host and port. Nothing is looked up before the first send.
    pub fn new(endpoint: Endpoint) -> Self {
        DatagramClient { endpoint, socket: Mutex::new(None) }
    }

    /// Sends one datagram. After a failure the name is looked up anew.
    ///
    /// # Errors
    /// [`SendError`]. A refusal that a peer's machine sent back concerns an earlier datagram, and is told once.
    pub async fn send(&self, datagram: &[u8]) -> Result<(), SendError> {
        let kept = self.socket.lock().take();
        let socket = match kept {
            Some(socket) => socket,
            None => self.open().await?,
        };
        let sent = match &socket {
            DatagramOut::Udp(socket) => socket.send(datagram).await,
            DatagramOut::Unix(socket) => socket.send(datagram).await,
        };
        match sent {
            Ok(_) => {
                *self.socket.lock() = Some(socket);
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EMSGSIZE as i32) => {
                *self.socket.lock() = Some(socket);
                Err(SendError::TooLarge { address: self.endpoint.to_string(), size_bytes: datagram.len() })
            }
            Err(error) => Err(SendError::Send { address: self.endpoint.to_string(), cause: error.to_string() }),
        }
    }

    async fn open(&self) -> Result<DatagramOut, SendError> {
        let failed = |error: io::Error| socket_error(&self.endpoint, &error);
        match &self.endpoint {
            Endpoint::Tcp { host, port } => {
                // A datagram tells of no address that does not answer, so the first one it is.
                let addresses = resolve(host, *port).await?;
                let any: SocketAddr = match addresses[0] {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any).await.map_err(failed)?;
                socket.connect(addresses[0]).await.map_err(failed)?;
                Ok(DatagramOut::Udp(socket))
            }
            Endpoint::Unix(path) => {
                let socket = UnixDatagram::unbound().map_err(failed)?;
                socket.connect(path).map_err(failed)?;
                Ok(DatagramOut::Unix(socket))
            }
        }
    }
}

// === Streams ===

/// Writes to one peer over TCP or a unix stream, and keeps connections for the next time.
#[derive(Debug)]
pub struct StreamClient {
    endpoint: Endpoint,
    connect_timeout: Duration,
    idle_connections_max: usize,
    idle: Mutex<Vec<Socket>>,
}

impl StreamClient {
    /// To `endpoint`. Up to `idle_connections_max` connections are kept that nobody uses.
    pub fn new(endpoint: Endpoint, connect_timeout: Duration, idle_connections_max: usize) -> Self {
        StreamClient { endpoint, connect_timeout, idle_connections_max, idle: Mutex::new(Vec::new()) }
    }

    /// Writes all of it, on a connection that the peer has not closed. Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`SendError`]. Where it failed after the connection stood, the peer may have got some of it.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), SendError> {
        let mut socket = match self.kept() {
            Some(socket) => socket,
            None => self.connect().await?,
        };
        let written = async {
            socket.write_all(bytes).await?;
            socket.flush().await
        };
        let failed =
            |error: io::Error| SendError::Send { address: self.endpoint.to_string(), cause: error.to_string() };
        written.await.map_err(failed)?;
        let mut idle = self.idle.lock();
        if idle.len() < self.idle_connections_max {
            idle.push(socket);
        }
        Ok(())
    }

    /// A connection from before that is still open, the one that was used last.
    fn kept(&self) -> Option<Socket> {
        let mut idle = self.idle.lock();
        while let Some(socket) = idle.pop() {
            if is_open(&socket) {
                return Some(socket);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Socket, ConnectError> {
        match &self.endpoint {
            Endpoint::Tcp { host, port } => connect_tcp(&resolve(host, *port).await?, self.connect_timeout).await,
            Endpoint::Unix(path) => connect_unix(path).await,
        }
    }
}

/// Whether the peer has not closed the connection, as far as this machine has heard. The system is asked itself, since
/// the runtime may not have looked yet.
fn is_open(socket: &Socket) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    let peeked = match socket {
        Socket::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
        Socket::Unix(stream) => SockRef::from(stream).peek(&mut byte),
    };
    match peeked {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    fn local(port: u16) -> Endpoint {
        Endpoint::Tcp { host: "127.0.0.1".to_owned(), port }
    }

    #[tokio::test]
    async fn a_connection_is_used_again_until_the_peer_closes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = StreamClient::new(local(listener.local_addr().unwrap().port()), Duration::from_secs(5), 1);
        client.send(b"one\n").await.unwrap();
        let (mut first, _) = listener.accept().await.unwrap();
        client.send(b"two\n").await.unwrap();
        let mut got = [0; 8];
        first.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"one\ntwo\n");
        drop(first);
        client.send(b"three\n").await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        let mut got = [0; 6];
        second.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"three\n");
    }

    #[tokio::test]
    async fn a_datagram_arrives_and_one_that_no_way_carries_says_so() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let client = DatagramClient::new(local(socket.local_addr().unwrap().port()));
        client.send(b"a:1|c").await.unwrap();
        let mut got = [0; 16];
        assert_eq!(socket.recv(&mut got).await.unwrap(), 5);
        let sent = client.send(&vec![0; 70_000]).await;
        assert!(matches!(sent, Err(SendError::TooLarge { size_bytes: 70_000, .. })), "{sent:?}");
        client.send(b"b:1|c").await.unwrap();
        assert_eq!(socket.recv(&mut got).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_listen_refuses() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let stream = StreamClient::new(local(port), Duration::from_secs(5), 1);
        assert!(matches!(stream.send(b"a\n").await, Err(SendError::Connect(_))));
        let datagrams = DatagramClient::new(local(port));
        // The first is sent, and its refusal comes back to a later one.
        let mut refused = false;
        for _ in 0..100 {
            refused |= datagrams.send(b"a").await.is_err();
            if refused {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(refused);
    }
}
