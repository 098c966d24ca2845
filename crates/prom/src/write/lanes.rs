//! Requests in the making: series spread over lanes, lanes cut into requests.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use otlp::wire::{WireType, write_tag, write_varint};

use crate::labels::SeriesHash;

/// One remote write request, uncompressed.
///
/// Requests of one lane are to be sent one after another, in their order; of the requests that are taken together, those
/// of different lanes have no series in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The lane, from 0.
    pub lane: u32,
    /// The `WriteRequest`, serialized.
    pub body: Vec<u8>,
    /// How many data points of OTLP it carries. Every data point lies in one request as a whole.
    pub items: u32,
    /// How many series it carries, `target_info` among them; none if it carries metadata.
    pub series: u32,
}

/// How series are spread over requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// How many requests can be on their way at the same time; at least 1.
    pub lanes: u32,
    /// Data points for which a lane is worth a request: smaller batches are spread over fewer lanes.
    pub lane_items_min: u32,
    /// How large a request becomes before the next is begun, in bytes without compression. A data point that is larger
    /// goes alone.
    pub size_bytes_max: usize,
}

impl Default for Partition {
    fn default() -> Self {
        Partition { lanes: 5, lane_items_min: 1000, size_bytes_max: 3_000_000 }
    }
}

#[derive(Debug, Default)]
struct Lane {
    body: Vec<u8>,
    items: u32,
    series: u32,
}

/// Collects series.
#[derive(Debug)]
pub(super) struct Lanes {
    partition: Partition,
    /// How many lanes are in use for what is in the making.
    used: u32,
    lanes: Vec<Lane>,
    metadata: Lane,
    full: Vec<Request>,
    /// How large requests have become, to have the memory at once the next time.
    capacity: usize,
}

impl Lanes {
    pub(super) fn new(partition: Partition) -> Self {
        let count = partition.lanes.max(1);
        let partition = Partition { lanes: count, ..partition };
        let lanes = (0..count).map(|_| Lane::default()).collect();
        Lanes { partition, used: count, lanes, metadata: Lane::default(), full: Vec::new(), capacity: 0 }
    }

    /// Says how many data points will come until the requests are taken. Once some are there the lanes stay, so that no
    /// series changes its lane.
    pub(super) fn expect(&mut self, items: u32) {
        if self.full.is_empty() && self.lanes.iter().all(|lane| lane.body.is_empty()) {
            self.used = (items / self.partition.lane_items_min.max(1)).clamp(1, self.partition.lanes);
        }
    }

    /// Appends the series of one data point, or `target_info` with no item; the bytes come in parts.
    #[inline]
    pub(super) fn append(&mut self, hash: SeriesHash, series: u32, items: u32, parts: [&[u8]; 3]) {
        // The high bits decide, so that lanes and hash tables do not depend on the same bits.
        let index = ((u128::from(hash.0) * u128::from(self.used)) >> 64) as usize;
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let mut lane = &mut self.lanes[index];
        if lane.body.len() + size > self.partition.size_bytes_max && !lane.body.is_empty() {
            self.full.push(lane.cut(index, &mut self.capacity));
            lane = &mut self.lanes[index];
        }
        if lane.body.capacity() == 0 {
            lane.body.reserve(self.capacity.max(size));
        }
        for part in parts {
            lane.body.extend_from_slice(part);
        }
        lane.items += items;
        lane.series += series;
    }

    /// Appends what describes a metric. It goes to requests without series, which follow the others of the first lane.
    pub(super) fn append_metadata(&mut self, entry: &[u8]) {
        if self.metadata.body.len() + entry.len() > self.partition.size_bytes_max && !self.metadata.body.is_empty() {
            self.full.push(self.metadata.cut(0, &mut 0));
        }
        self.metadata.body.extend_from_slice(entry);
    }

    /// All requests, in an order in which they can be sent.
    pub(super) fn take(&mut self) -> Vec<Request> {
        for (index, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.body.is_empty()) {
            self.full.push(lane.cut(index, &mut self.capacity));
        }
        if !self.metadata.body.is_empty() {
            self.full.push(self.metadata.cut(0, &mut 0));
        }
        std::mem::take(&mut self.full)
    }
}

impl Lane {
    fn cut(&mut self, index: usize, capacity: &mut usize) -> Request {
        let Lane { body, items, series } = std::mem::take(self);
        // The next request will be about as large as this one.
        *capacity = body.len().next_multiple_of(4096);
        Request { lane: index as u32, body, items, series }
    }
}

/// Says on which lane labels go. It is the same for the same labels in the same process, which is all that lanes need; that
/// makes it twice as fast as the hash that never changes.
#[inline]
pub(super) fn lane_hash(labels: &[u8], seed: u64) -> SeriesHash {
    SeriesHash(FixedState::with_seed(seed).hash_one(labels))
}

/// Appends the header of a series: the field `timeseries` of the request with its length.
#[inline]
pub(super) fn write_series_header(out: &mut Vec<u8>, size: usize) {
    write_tag(out, 1, WireType::Length);
    write_varint(out, size as u64);
}
