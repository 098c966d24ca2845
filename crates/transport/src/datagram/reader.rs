//! The thread that reads one socket.

use std::array;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{BATCH_DATAGRAMS_MAX, Datagram, DatagramSocket, Extent, LocalAddress};
use crate::server::AcceptPause;

/// A thread without datagrams looks up this often, whether it shall stop.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(100);
/// A socket that stays silent is asked for its drops when it falls silent, and every so many waits from then on.
const WAITS_BETWEEN_LOOKS: u64 = 10;
/// Buffers that begin at multiples of a large power of two would share the same few places in the caches of the
/// processor; an odd number of cache lines between them spreads them.
const SPREAD_BYTES: usize = 17 * 64;

/// The reading of one socket.
#[derive(Debug)]
pub struct DatagramReader {
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

/// The handler of a reader panicked, and the reading has ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the thread that read datagrams has panicked")]
pub struct ReaderPanicked;

impl DatagramReader {
    pub(super) fn start(
        socket: DatagramSocket,
        stop: CancellationToken,
        mut handle: impl FnMut(&[Datagram<'_>]) + Send + 'static,
    ) -> io::Result<DatagramReader> {
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("datagrams".to_owned()).spawn(move || {
            Reading::new(socket).run(&stop, &mut handle);
            // What the handler holds goes before the end is told.
            drop(handle);
            let _awaited = end.send(());
        })?;
        Ok(DatagramReader { thread, ended })
    }

    /// Waits for the reading to end, without blocking the runtime.
    ///
    /// # Errors
    /// [`ReaderPanicked`], if the handler did.
    pub async fn join(self) -> Result<(), ReaderPanicked> {
        let _told_or_panicked = self.ended.await;
        // The thread is in its last steps.
        self.thread.join().map_err(|_panic| ReaderPanicked)
    }
}

struct Reading {
    socket: DatagramSocket,
    headers: MultiHeaders<SockaddrStorage>,
    buffer: Vec<u8>,
    /// From the beginning of one datagram's buffer to that of the next.
    stride: usize,
}

impl Reading {
    fn new(socket: DatagramSocket) -> Reading {
        let stride = socket.datagram_bytes_max.next_multiple_of(64) + SPREAD_BYTES;
        let buffer = vec![0; stride * BATCH_DATAGRAMS_MAX];
        Reading { socket, headers: headers(), buffer, stride }
    }

    fn run(&mut self, stop: &CancellationToken, handle: &mut impl FnMut(&[Datagram<'_>])) {
        let mut pause = AcceptPause::default();
        let mut waits = 0_u64;
        while !stop.is_cancelled() {
            match self.receive(MsgFlags::MSG_WAITFORONE, handle) {
                Ok(_bytes) => {
                    waits = 0;
                    pause.reset();
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if waits.is_multiple_of(WAITS_BETWEEN_LOOKS) {
                        self.look_for_drops();
                    }
                    waits += 1;
                }
                Err(errno) => {
                    let error = io::Error::from(errno);
                    let delay = pause.after(&error).unwrap_or_default();
                    let socket = &self.socket.local;
                    tracing::warn!(%error, %socket, delay_ms = delay.as_millis(), "cannot read datagrams; trying again");
                    thread::sleep(delay);
                }
            }
        }
        self.drain(handle);
        self.look_for_drops();
    }

    /// Reads what is queued. More than the buffer holds cannot have been there when the stop came; what arrives since
    /// then must not keep the thread for ever.
    fn drain(&mut self, handle: &mut impl FnMut(&[Datagram<'_>])) {
        // The kernel charges a datagram for more than its payload, but never for less than one byte.
        let mut left = 2 * self.socket.stats.receive_buffer_bytes();
        while left > 0 {
            match self.receive(MsgFlags::MSG_DONTWAIT, handle) {
                Ok(bytes) => left = left.saturating_sub(bytes.max(1)),
                Err(Errno::EINTR) => {}
                Err(_queue_is_empty) => return,
            }
        }
    }

    /// Receives and handles one batch, and says how many bytes it had.
    fn receive(&mut self, flags: MsgFlags, handle: &mut impl FnMut(&[Datagram<'_>])) -> Result<usize, Errno> {
        let bytes_max = self.socket.datagram_bytes_max;
        let mut chunks = self.buffer.chunks_exact_mut(self.stride);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH_DATAGRAMS_MAX] = array::from_fn(|_| {
            let chunk = chunks.next().unwrap_or_default();
            let end = bytes_max.min(chunk.len());
            [IoSliceMut::new(&mut chunk[..end])]
        });
        // With this flag the length of a truncated datagram is the one that it was sent with.
        let flags = flags | MsgFlags::MSG_TRUNC;
        let fd = self.socket.socket.as_raw_fd();
        let messages = recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None)?;
        let is_udp = matches!(self.socket.local, LocalAddress::Tcp(_));

        let mut datagrams = [Datagram { bytes: &[], peer: None, extent: Extent::Whole }; BATCH_DATAGRAMS_MAX];
        let (mut count, mut bytes, mut truncated) = (0, 0, 0_u64);
        let mut last = None;
        for (datagram, message) in datagrams.iter_mut().zip(messages) {
            datagram.bytes = message.iovs().next().unwrap_or_default();
            if is_udp {
                datagram.peer = message.address.as_ref().and_then(peer);
            }
            if message.flags.contains(MsgFlags::MSG_TRUNC) {
                datagram.extent = Extent::Truncated { sent_bytes: message.bytes };
                truncated += 1;
            }
            bytes += datagram.bytes.len();
            count += 1;
            last = Some(message);
        }
        let stats = &self.socket.stats;
        stats.datagrams.fetch_add(count as u64, Ordering::Relaxed);
        stats.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if truncated > 0 {
            stats.truncated.fetch_add(truncated, Ordering::Relaxed);
        }
        // Later datagrams carry later counts.
        let mut count_is_missing = false;
        if let Some(message) = &last {
            match message.cmsgs() {
                Ok(controls) => {
                    for control in controls {
                        if let ControlMessageOwned::RxqOvfl(drops) = control {
                            stats.observe_kernel_count(drops);
                        }
                    }
                }
                Err(_no_room) => count_is_missing = true,
            }
        }
        handle(&datagrams[..count]);
        if count_is_missing {
            // The kernel gives no count before the first drop, and leaves the headers without room for the next time.
            self.headers = headers();
            self.look_for_drops();
        }
        Ok(bytes)
    }

    fn look_for_drops(&self) {
        let Some(count) = &self.socket.drop_count else { return };
        match count.read() {
            Ok(Some(drops)) => self.socket.stats.observe_kernel_count(drops),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "cannot read the kernel's table of sockets"),
        }
    }
}

fn headers() -> MultiHeaders<SockaddrStorage> {
    MultiHeaders::preallocate(BATCH_DATAGRAMS_MAX, Some(cmsg_space!(u32)))
}

fn peer(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::new(v6.ip().to_canonical(), v6.port()))
}
