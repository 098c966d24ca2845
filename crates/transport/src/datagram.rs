//! Sockets for datagrams, UDP and unix, that lose nothing in silence.
//!
//! A datagram that the receive buffer has no room for is dropped by the kernel, and its sender never knows. The kernel
//! counts such losses; a [`DatagramSocket`] reads that count along with the datagrams, and between them when none
//! arrive. So for every socket holds: sent to it = [`DatagramStats::datagrams`] + [`DatagramStats::kernel_drops`],
//! once it has been read to its end. Unix sockets drop nothing: there the sender waits, or is told.
//!
//! Reading is done by a thread of its own for each socket. It takes up to [`BATCH_DATAGRAMS_MAX`] datagrams with one
//! call of the system and hands them over as slices of a buffer that is allocated once. While the handler works, the
//! receive buffer is all that stands between the senders and a loss: a handler that waits, for
//! `tokio::runtime::Handle::block_on` or for room in a bounded channel, is the backpressure that there can be.
//!
//! ```no_run
//! use tokio_util::sync::CancellationToken;
//! use transport::datagram::{self, DatagramSettings};
//! use transport::endpoint::Endpoint;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let sockets = datagram::bind(&Endpoint::parse("localhost:8125")?, &DatagramSettings::default())?;
//! let stop = CancellationToken::new();
//! let mut readers = Vec::new();
//! for socket in sockets {
//!     let stats = socket.stats();
//!     readers.push(socket.read(stop.clone(), move |batch| {
//!         let bytes: usize = batch.iter().map(|datagram| datagram.bytes.len()).sum();
//!         println!("{bytes} bytes; {} datagrams dropped by the kernel so far", stats.kernel_drops());
//!     })?);
//! }
//! stop.cancel();
//! for reader in readers {
//!     reader.join().await?;
//! }
//! # Ok(()) }
//! ```

mod drops;
mod reader;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio_util::sync::CancellationToken;

use crate::endpoint::Endpoint;
use crate::server::{BindError, LocalAddress, SocketKind, bind_first, is_abandoned};
use drops::DropCount;
pub use reader::{DatagramReader, ReaderPanicked};

/// Datagrams that one call of the system brings at most.
pub const BATCH_DATAGRAMS_MAX: usize = 64;

/// How datagrams are received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatagramSettings {
    /// Sockets on the same port, each to be read by a thread of its own; UDP only, a unix socket is always one. The
    /// kernel distributes by the sender's address and port: one sender's datagrams all arrive at one socket.
    pub readers: usize,
    /// The receive buffer to ask the kernel for, for each socket; what the system gives by default, if absent.
    pub receive_buffer_bytes: Option<usize>,
    /// What is kept of a datagram; the rest of a longer one is lost, and that is counted. No UDP datagram is longer
    /// than the default.
    pub datagram_bytes_max: usize,
}

impl Default for DatagramSettings {
    fn default() -> Self {
        DatagramSettings { readers: 1, receive_buffer_bytes: None, datagram_bytes_max: 65_535 }
    }
}

/// One datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// What was sent, or the beginning of it.
    pub bytes: &'a [u8],
    /// Who sent it; none for unix sockets. An IPv4 address is shown as such also by a socket of both families.
    pub peer: Option<SocketAddr>,
    /// Whether that is all.
    pub extent: Extent,
}

/// Whether a datagram fitted into the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// It did.
    Whole,
    /// It did not.
    Truncated {
        /// Its length when it was sent.
        sent_bytes: usize,
    },
}

/// What a socket has seen so far.
#[derive(Debug, Default)]
pub struct DatagramStats {
    datagrams: AtomicU64,
    bytes: AtomicU64,
    truncated: AtomicU64,
    kernel_drops: AtomicU64,
    /// The kernel's own counter when it was last seen; it has 32 bits and starts over.
    kernel_count: AtomicU32,
    receive_buffer_bytes: AtomicUsize,
}

impl DatagramStats {
    /// Datagrams received, truncated ones included.
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        self.datagrams.load(Ordering::Relaxed)
    }
    /// Bytes received, without what was cut off.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
    /// Datagrams that were longer than what is kept of one.
    #[must_use]
    pub fn truncated(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }
    /// Datagrams that reached this machine and were dropped by the kernel: there was no room in the receive buffer, or
    /// the checksum was wrong.
    #[must_use]
    pub fn kernel_drops(&self) -> u64 {
        self.kernel_drops.load(Ordering::Relaxed)
    }
    /// The receive buffer that was granted, in the unit in which it is asked for. Each datagram takes more of it than
    /// its payload, some 700 bytes at least; the kernel doubles the figure to make up for it.
    #[must_use]
    pub fn receive_buffer_bytes(&self) -> usize {
        self.receive_buffer_bytes.load(Ordering::Relaxed)
    }

    /// Takes the kernel's count of drops. What it shows may be older than what was seen last.
    fn observe_kernel_count(&self, count: u32) {
        let new = count.wrapping_sub(self.kernel_count.load(Ordering::Relaxed));
        if new > 0 && new <= u32::MAX / 2 {
            self.kernel_count.store(count, Ordering::Relaxed);
            self.kernel_drops.fetch_add(u64::from(new), Ordering::Relaxed);
        }
    }
}

/// A socket that is bound and not yet read.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: Socket,
    local: LocalAddress,
    stats: Arc<DatagramStats>,
    drop_count: Option<DropCount>,
    datagram_bytes_max: usize,
    _file: Option<SocketFile>,
}

/// The file of a unix socket, which goes with it.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Leaving the file behind is harmless: the next bind replaces it.
        let _removed = std::fs::remove_file(&self.0);
    }
}

/// Binds sockets for datagrams: as many as there shall be readers for UDP, where [`Endpoint::Tcp`] stands for host and
/// port, and one for a unix socket.
///
/// An empty host means all addresses, IPv6 and IPv4. Port 0 lets the system choose: see [`DatagramSocket::local`]. A
/// unix socket whose process is gone is replaced.
///
/// # Errors
/// [`BindError`] says what to look at next.
pub fn bind(endpoint: &Endpoint, settings: &DatagramSettings) -> Result<Vec<DatagramSocket>, BindError> {
    let bound = match endpoint {
        Endpoint::Tcp { host, port } => bind_udp(host, *port, settings),
        Endpoint::Unix(path) => bind_unix(path, settings).map(|socket| vec![socket]),
    };
    let sockets = bound.map_err(|cause| BindError::new(endpoint, SocketKind::Datagram, cause))?;
    warn_of_small_buffer(endpoint, settings, &sockets);
    Ok(sockets)
}

fn bind_udp(host: &str, port: u16, settings: &DatagramSettings) -> io::Result<Vec<DatagramSocket>> {
    bind_first(host, port, |address| {
        let first = DatagramSocket::udp(address, host.is_empty(), settings)?;
        let LocalAddress::Tcp(chosen) = first.local else { return Err(io::ErrorKind::AddrNotAvailable.into()) };
        let mut sockets = vec![first];
        for _ in 1..settings.readers {
            sockets.push(DatagramSocket::udp(chosen, host.is_empty(), settings)?);
        }
        Ok(sockets)
    })
}

fn bind_unix(path: &Path, settings: &DatagramSettings) -> io::Result<DatagramSocket> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path, SocketKind::Datagram) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile(path.to_owned());
    DatagramSocket::new(socket, LocalAddress::Unix(path.to_owned()), Some(file), settings)
}

/// A buffer that is smaller than asked for is found out now, not when the first datagrams are lost.
fn warn_of_small_buffer(endpoint: &Endpoint, settings: &DatagramSettings, sockets: &[DatagramSocket]) {
    let Some(asked) = settings.receive_buffer_bytes else { return };
    let Some(granted) = sockets.iter().map(|socket| socket.stats.receive_buffer_bytes()).min() else { return };
    if granted < asked {
        tracing::warn!(
            %endpoint,
            asked,
            granted,
            "the kernel grants a smaller receive buffer than asked for, so bursts are lost sooner; \
             `sysctl -w net.core.rmem_max={asked}` raises its limit, or the capability CAP_NET_ADMIN lifts it"
        );
    }
}

impl DatagramSocket {
    fn udp(address: SocketAddr, dual_stack: bool, settings: &DatagramSettings) -> io::Result<DatagramSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!dual_stack)?;
        }
        // Not without need: any process of the same user could join and take a share of the datagrams.
        if settings.readers > 1 {
            socket.set_reuse_port(true)?;
        }
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        socket.bind(&SockAddr::from(address))?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        DatagramSocket::new(socket, LocalAddress::Tcp(local), None, settings)
    }

    fn new(
        socket: Socket,
        local: LocalAddress,
        file: Option<SocketFile>,
        settings: &DatagramSettings,
    ) -> io::Result<DatagramSocket> {
        socket.set_read_timeout(Some(reader::WAIT_MAX))?;
        let stats = Arc::new(DatagramStats::default());
        let granted = size_receive_buffer(&socket, settings.receive_buffer_bytes)?;
        stats.receive_buffer_bytes.store(granted, Ordering::Relaxed);
        let drop_count = match &local {
            LocalAddress::Tcp(address) => DropCount::of(&socket, address),
            LocalAddress::Unix(_) => None,
        };
        let datagram_bytes_max = settings.datagram_bytes_max.max(1);
        Ok(DatagramSocket { socket, local, stats, drop_count, datagram_bytes_max, _file: file })
    }

    /// Where it is bound, with the port that the system chose.
    #[must_use]
    pub fn local(&self) -> LocalAddress {
        self.local.clone()
    }

    /// What it sees; to be read at any time.
    #[must_use]
    pub fn stats(&self) -> Arc<DatagramStats> {
        Arc::clone(&self.stats)
    }

    /// Reads, on a thread of its own, until `stop` is cancelled and what the socket had queued by then is read as well.
    ///
    /// `handle` is called on that thread, with all the datagrams that one call of the system brought, at least one. It
    /// may wait: nothing else is read from this socket meanwhile. A panic in it ends the reading, and
    /// [`DatagramReader::join`] tells.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn read(
        self,
        stop: CancellationToken,
        handle: impl FnMut(&[Datagram<'_>]) + Send + 'static,
    ) -> io::Result<DatagramReader> {
        DatagramReader::start(self, stop, handle)
    }
}

/// Asks for a receive buffer, beyond the system's limit where the process may, and says what is granted.
fn size_receive_buffer(socket: &Socket, asked: Option<usize>) -> io::Result<usize> {
    if let Some(bytes) = asked {
        // The kernel reads an int.
        let bytes = bytes.min(i32::MAX as usize / 2);
        if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
            setsockopt(socket, sockopt::RcvBuf, &bytes)?;
        }
    }
    // The kernel answers with the double, which includes its own overhead.
    Ok(getsockopt(socket, sockopt::RcvBuf)? / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_of_drops_is_followed_forwards_only_and_across_its_end() {
        let stats = DatagramStats::default();
        for (count, total) in [(0, 0), (5, 5), (3, 5), (5, 5), (7, 7)] {
            stats.observe_kernel_count(count);
            assert_eq!(stats.kernel_drops(), total, "{count}");
        }
        let stats = DatagramStats::default();
        stats.kernel_count.store(u32::MAX - 1, Ordering::Relaxed);
        stats.observe_kernel_count(2);
        assert_eq!(stats.kernel_drops(), 4);
    }
}
