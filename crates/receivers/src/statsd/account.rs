//! What arrived at a socket, what was lost there and why; and a look at refused lines, now and then, in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aggregation::statsd::{Malformed, MalformedSample, PacketReport};
use component::clock::{self, Mono};
use component::{Arrivals, Unit};
use parking_lot::Mutex;
use transport::datagram::DatagramStats;

/// The log shows a refused line this often at most, for each socket and cause.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

/// What became of the lines that came together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    lines: u64,
    dropped: u64,
    malformed: [u64; Malformed::ALL.len()],
    cut: u64,
    too_long: u64,
    sample: Option<(MalformedSample, Option<SocketAddr>)>,
}

/// The account of one socket.
pub(super) struct Account {
    arrivals: Arrivals,
    receiver: String,
    socket: String,
    datagrams: Option<Arc<DatagramStats>>,
    synced: Mutex<Synced>,
    samples: Mutex<Samples>,
}

/// What of the socket's counts is in the account already.
#[derive(Debug, Default)]
struct Synced {
    datagrams: u64,
    kernel_drops: u64,
}

#[derive(Debug)]
struct Samples([Sampling; Malformed::ALL.len()]);

#[derive(Debug, Clone, Copy, Default)]
struct Sampling {
    shown: Option<Mono>,
    since_shown: u64,
}

impl Tally {
    /// Adds what became of a packet.
    #[inline]
    pub(super) fn add(&mut self, report: PacketReport, peer: Option<SocketAddr>) {
        self.lines += u64::from(report.lines);
        self.dropped += u64::from(report.dropped);
        if report.first_malformed.is_some() {
            self.add_malformed(report, peer);
        }
    }

    #[cold]
    fn add_malformed(&mut self, report: PacketReport, peer: Option<SocketAddr>) {
        for (cause, count) in report.malformed.iter() {
            self.malformed[cause as usize] += u64::from(count);
        }
        if self.sample.is_none() {
            self.sample = report.first_malformed.map(|sample| (sample, peer));
        }
    }

    /// Adds a line whose end was cut off, so that it could not be read.
    pub(super) fn add_cut(&mut self) {
        self.lines += 1;
        self.cut += 1;
    }

    /// Adds a line that was skipped, because it was too long.
    pub(super) fn add_too_long(&mut self) {
        self.lines += 1;
        self.too_long += 1;
    }

    fn malformed(&self) -> impl Iterator<Item = (Malformed, u64)> {
        Malformed::ALL.into_iter().zip(self.malformed).filter(|(_, count)| *count > 0)
    }
}

impl Account {
    pub(super) fn new(
        arrivals: Arrivals,
        receiver: &str,
        socket: &str,
        datagrams: Option<Arc<DatagramStats>>,
    ) -> Account {
        let (synced, samples) = (Mutex::default(), Mutex::new(Samples([Sampling::default(); Malformed::ALL.len()])));
        Account { arrivals, receiver: receiver.to_owned(), socket: socket.to_owned(), datagrams, synced, samples }
    }

    /// Takes what the socket has counted since the last time.
    pub(super) fn sync(&self) {
        let Some(stats) = &self.datagrams else { return };
        let mut synced = self.synced.lock();
        let now = Synced { datagrams: stats.datagrams(), kernel_drops: stats.kernel_drops() };
        self.arrivals.received(Unit::Datagrams, now.datagrams - synced.datagrams);
        self.arrivals.lost(Unit::Datagrams, "kernel_drop", now.kernel_drops - synced.kernel_drops);
        *synced = now;
    }

    /// Takes what became of lines.
    pub(super) fn count(&self, tally: &Tally) {
        self.arrivals.received(Unit::Lines, tally.lines);
        self.arrivals.lost(Unit::Lines, "dropped_by_configuration", tally.dropped);
        self.arrivals.lost(Unit::Lines, "truncated", tally.cut);
        self.arrivals.lost(Unit::Lines, Malformed::LineTooLong.cause(), tally.too_long);
        if let Some((sample, peer)) = &tally.sample {
            self.count_malformed(tally, sample, *peer);
        }
    }

    /// Counts values that the store had no room for.
    pub(super) fn count_refused(&self, values: u64) {
        self.arrivals.lost(Unit::Lines, Malformed::SeriesLimit.cause(), values);
    }

    #[cold]
    fn count_malformed(&self, tally: &Tally, sample: &MalformedSample, peer: Option<SocketAddr>) {
        let mut samples = self.samples.lock();
        for (cause, count) in tally.malformed() {
            self.arrivals.lost(Unit::Lines, cause.cause(), count);
            samples.0[cause as usize].since_shown += count;
        }
        let sampling = &mut samples.0[sample.cause as usize];
        let now = clock::mono();
        if sampling.shown.is_some_and(|shown| now.saturating_duration_since(shown) < SAMPLE_INTERVAL) {
            return;
        }
        let refused = std::mem::take(&mut sampling.since_shown);
        sampling.shown = Some(now);
        drop(samples);
        let peer = peer.map(tracing::field::display);
        tracing::warn!(
            receiver = %self.receiver, socket = %self.socket, peer, refused, cause = %sample.cause, line = %sample.line,
            "lines of StatsD are refused; this is one of them"
        );
    }
}
