//! StatsD packets over UDP at a given rate, each line an increment by one, so that a total tells how many lines counted.
//!
//! Packets are made once. Each thread has a socket of its own and sends with `sendmmsg`, in small batches that follow
//! the clock: a burst of a whole second's packets would measure the receive buffer and nothing else.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use component::clock;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use serde::{Deserialize, Serialize};

/// Packets of one call of the system, at most.
const BATCH_PACKETS_MAX: usize = 64;
/// A thread that is ahead of its rate sleeps so long.
const NAP: Duration = Duration::from_micros(50);
/// Different packets of a thread, at most; series beyond what fits into them are left out.
const PACKETS_MAX: usize = 1 << 20;

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct StatsdSettings {
    /// Where to.
    pub to: SocketAddr,
    /// Threads, each with a socket.
    pub threads: u16,
    /// Packets a second, of all threads together; as fast as they go, if absent.
    pub packets_per_s: Option<f64>,
    /// For how long.
    pub duration: Duration,
    /// Lines of each packet.
    pub lines_per_packet: u32,
    /// Different series, each in its turn.
    pub series: u32,
}

/// What was sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatsdReport {
    /// Packets that the system took.
    pub packets: u64,
    /// The lines in them.
    pub lines: u64,
    /// The bytes in them.
    pub bytes: u64,
    /// Calls that the system refused; their packets were not sent and are not counted.
    pub errors: u64,
    /// From the first packet to the last, of the slowest thread.
    pub seconds: f64,
    /// Packets for each second of that.
    pub packets_per_s: f64,
}

impl fmt::Display for StatsdReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StatsdReport { packets, lines, bytes, errors, seconds, packets_per_s } = self;
        write!(
            f,
            "sent {packets} packets with {lines} lines and {bytes} bytes in {seconds:.2} s, \
             {packets_per_s:.0} packets/s; {errors} calls were refused"
        )
    }
}

/// Sends until the time is over. Blocks.
///
/// # Errors
/// If there is no socket or no thread. What the system refuses later is counted.
pub fn send_statsd(settings: &StatsdSettings) -> io::Result<StatsdReport> {
    let threads = settings.threads.max(1);
    let mut senders = Vec::new();
    for number in 0..threads {
        let sender = Sender::new(settings, number, threads)?;
        senders.push(thread::Builder::new().name(format!("statsd-{number}")).spawn(move || sender.run())?);
    }
    let mut total = StatsdReport::default();
    for sender in senders {
        let report = sender.join().map_err(|_panic| io::Error::other("a sending thread has panicked"))?;
        total.packets += report.packets;
        total.lines += report.lines;
        total.bytes += report.bytes;
        total.errors += report.errors;
        total.seconds = total.seconds.max(report.seconds);
    }
    total.packets_per_s = total.packets as f64 / total.seconds.max(f64::MIN_POSITIVE);
    Ok(total)
}

struct Sender {
    socket: UdpSocket,
    packets: Vec<Packet>,
    packets_per_s: Option<f64>,
    duration: Duration,
}

struct Packet {
    text: Vec<u8>,
    lines: u32,
}

impl Sender {
    fn new(settings: &StatsdSettings, number: u16, threads: u16) -> io::Result<Sender> {
        let any: SocketAddr = match settings.to {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(settings.to)?;
        let packets_per_s = settings.packets_per_s.map(|rate| rate / f64::from(threads));
        let packets = packets(settings, number);
        Ok(Sender { socket, packets, packets_per_s, duration: settings.duration })
    }

    fn run(self) -> StatsdReport {
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH_PACKETS_MAX, None);
        let mut report = StatsdReport::default();
        let started = clock::mono();
        let mut next = 0;
        loop {
            let elapsed = clock::mono().saturating_duration_since(started);
            if elapsed >= self.duration {
                break;
            }
            let due = self.due(elapsed, report.packets);
            if due == 0 {
                thread::sleep(NAP);
                continue;
            }
            let end = (next + due).min(self.packets.len());
            match self.send(&mut headers, &self.packets[next..end]) {
                Ok(sent) => {
                    for packet in &self.packets[next..next + sent] {
                        report.lines += u64::from(packet.lines);
                        report.bytes += packet.text.len() as u64;
                    }
                    report.packets += sent as u64;
                    next = (next + sent) % self.packets.len();
                }
                Err(_refused) => {
                    report.errors += 1;
                    thread::sleep(NAP);
                }
            }
        }
        report.seconds = clock::mono().saturating_duration_since(started).as_secs_f64();
        report
    }

    /// How many packets to send now.
    fn due(&self, elapsed: Duration, sent: u64) -> usize {
        let Some(rate) = self.packets_per_s else { return BATCH_PACKETS_MAX };
        let due = (rate * elapsed.as_secs_f64()) as u64;
        usize::try_from(due.saturating_sub(sent)).unwrap_or(BATCH_PACKETS_MAX).min(BATCH_PACKETS_MAX)
    }

    fn send(&self, headers: &mut MultiHeaders<SockaddrStorage>, packets: &[Packet]) -> Result<usize, Errno> {
        let slices: [[IoSlice<'_>; 1]; BATCH_PACKETS_MAX] =
            std::array::from_fn(|at| [IoSlice::new(packets.get(at).map_or(&[], |packet| &packet.text))]);
        let to = [None; BATCH_PACKETS_MAX];
        let slices = &slices[..packets.len().min(BATCH_PACKETS_MAX)];
        let sent = sendmmsg(self.socket.as_raw_fd(), headers, slices, to, [], MsgFlags::empty())?;
        Ok(sent.count())
    }
}

/// Packets that hold every series once, or as often as it takes to fill the last packet. Each thread begins elsewhere.
fn packets(settings: &StatsdSettings, number: u16) -> Vec<Packet> {
    let (series, lines) = (settings.series.max(1), settings.lines_per_packet.max(1));
    let count = (series.div_ceil(lines) as usize).min(PACKETS_MAX);
    let mut packets: Vec<_> = (0..count)
        .map(|packet| {
            let first = packet as u64 * u64::from(lines);
            let text: Vec<_> =
                (first..first + u64::from(lines)).map(|line| line_of(line % u64::from(series))).collect();
            Packet { text: text.join("\n").into_bytes(), lines }
        })
        .collect();
    packets.rotate_left(usize::from(number) * 7 % count);
    packets
}

fn line_of(series: u64) -> String {
    const ZONES: [&str; 3] = ["north", "south", "west"];
    let zone = ZONES[(series % 3) as usize];
    format!("load.requests.{:03}:1|c|#shop:{:03},zone:{zone}", series / 100 % 1000, series)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(to: SocketAddr) -> StatsdSettings {
        StatsdSettings {
            to,
            threads: 2,
            packets_per_s: Some(20_000.0),
            duration: Duration::from_millis(50),
            lines_per_packet: 3,
            series: 100,
        }
    }

    #[test]
    fn what_is_reported_as_sent_arrives() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let settings = StatsdSettings { packets_per_s: Some(2000.0), ..settings(receiver.local_addr().unwrap()) };
        let report = send_statsd(&settings).unwrap();
        let (mut packets, mut lines, mut buffer) = (0, 0, [0; 65_536]);
        while let Ok(length) = receiver.recv(&mut buffer) {
            packets += 1;
            lines += buffer[..length].split(|byte| *byte == b'\n').filter(|line| line.contains(&b':')).count() as u64;
        }
        assert!(report.packets > 10 && report.packets <= 110, "{report}");
        assert_eq!((packets, lines, report.errors), (report.packets, report.lines, 0));
    }

    #[test]
    fn packets_hold_every_series() {
        let packets = packets(&settings(([127, 0, 0, 1], 1).into()), 1);
        let mut lines: Vec<_> = packets.iter().flat_map(|packet| packet.text.split(|byte| *byte == b'\n')).collect();
        assert!(packets.iter().all(|packet| packet.lines == 3 && packet.text.len() < 1500));
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 100);
    }
}
