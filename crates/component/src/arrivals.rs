//! What came to a receiver before anything was accepted, and what of it was lost on the way.
//!
//! Where a protocol has no acknowledgement, as over UDP, a loss before the journal is nobody's refusal: the sender is
//! never told. It is counted here instead, by socket and cause, and stands in the ledger and among the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::metrics::{Description, Observations};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Datagrams, as the kernel delivers them.
    Datagrams,
    /// Lines of a protocol that has lines.
    Lines,
    /// Messages of a protocol that frames them otherwise.
    Messages,
}

impl Unit {
    /// `datagrams`, `lines` or `messages`.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Datagrams => "datagrams",
            Unit::Lines => "lines",
            Unit::Messages => "messages",
        }
    }
}

/// Which receiver, over which transport, on which socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The receiver's id.
    pub receiver: String,
    /// The transport, as in the receiver's other metrics: `udp`, `unixgram`, `tcp`.
    pub transport: String,
    /// The socket: its address, and a number where several share it.
    pub socket: String,
}

/// What one socket saw of one unit. What was received and not lost was understood and handed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What reached the receiver.
    pub received: u64,
    /// What did not go on, by cause. Causes of the kernel, such as `kernel_drop`, never reached the receiver and are
    /// not among the received.
    pub lost: BTreeMap<&'static str, u64>,
}

type Units = BTreeMap<Unit, Seen>;

/// Counts for one socket. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<Units>>);

impl Arrivals {
    /// Counts what reached the receiver. To be called once for a batch of datagrams rather than for each line.
    pub fn received(&self, unit: Unit, count: u64) {
        if count > 0 {
            self.0.lock().entry(unit).or_default().received += count;
        }
    }

    /// Counts what will not go on. `cause` is a short name: it is a label of metrics and a line of the ledger.
    pub fn lost(&self, unit: Unit, cause: &'static str, count: u64) {
        if count > 0 {
            *self.0.lock().entry(unit).or_default().lost.entry(cause).or_default() += count;
        }
    }

    /// What was counted so far.
    pub fn seen(&self) -> BTreeMap<Unit, Seen> {
        self.0.lock().clone()
    }
}

/// The arrivals of every socket of a process, since it started.
#[derive(Clone, Debug, Default)]
pub struct AllArrivals(Arc<Mutex<BTreeMap<Place, Arrivals>>>);

impl AllArrivals {
    const RECEIVED: Description =
        Description::counter("crossfade_receiver_arrived", "What reached a receiver's socket, by unit.");
    const LOST: Description = Description::counter(
        "crossfade_receiver_lost",
        "What reached the machine or the receiver and did not go on, by unit and cause.",
    );

    /// The counts of one socket, made if there are none yet.
    pub fn at(&self, place: Place) -> Arrivals {
        self.0.lock().entry(place).or_default().clone()
    }

    /// Every socket that has seen something.
    pub fn all(&self) -> Vec<(Place, Unit, Seen)> {
        let sockets = self.0.lock();
        let seen = |(place, arrivals): (&Place, &Arrivals)| {
            let place = place.clone();
            arrivals.seen().into_iter().map(move |(unit, seen)| (place.clone(), unit, seen)).collect::<Vec<_>>()
        };
        sockets.iter().flat_map(seen).collect()
    }

    /// Puts them among the metrics.
    pub fn observe(&self, to: &mut Observations) {
        for (place, unit, seen) in self.all() {
            let labels = [
                ("receiver", place.receiver.as_str()),
                ("transport", &place.transport),
                ("socket", &place.socket),
                ("unit", unit.name()),
            ];
            to.put(Self::RECEIVED, &labels, seen.received as f64);
            for (cause, count) in &seen.lost {
                let labels = [labels[0], labels[1], labels[2], labels[3], ("cause", cause)];
                to.put(Self::LOST, &labels, *count as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_socket_saw_is_counted_by_unit_and_cause() {
        let all = AllArrivals::default();
        let place = Place { receiver: "statsd".into(), transport: "udp".into(), socket: "127.0.0.1:8125".into() };
        let arrivals = all.at(place.clone());
        arrivals.received(Unit::Datagrams, 3);
        arrivals.lost(Unit::Datagrams, "kernel_drop", 2);
        all.at(place.clone()).received(Unit::Lines, 7);
        arrivals.lost(Unit::Lines, "no_value", 0);
        let seen = all.all();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].2, Seen { received: 3, lost: [("kernel_drop", 2)].into() });
        assert_eq!(seen[1], (place, Unit::Lines, Seen { received: 7, lost: BTreeMap::new() }));
    }
}
