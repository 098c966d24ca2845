//! The series of one shard.

use std::sync::Arc;

use hashbrown::HashTable;

use super::cell::Cell;
use super::malformed::Malformed;
use super::series::Series;

/// A series that was not touched for so many takes may be forgotten by its shard; the store still knows it.
const IDLE_TAKES_MAX: u64 = 10;

/// With a limit of `n` series, this many bytes for each may be spent on what identifies them.
const SERIES_BYTES_MEAN_MAX: usize = 1_024;

/// A series and what came for it since the last take.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) series: Arc<Series>,
    pub(super) cell: Cell,
    /// How many values came.
    pub(super) samples: u64,
    /// When the last of them came.
    pub(super) last_ns: u64,
    touched_at: u64,
}

#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    index: HashTable<u32>,
    touched: Vec<u32>,
    series_max: usize,
    series_bytes: usize,
    takes: u64,
}

/// A series whose values are added one by one and not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Counter,
    Gauge,
}

/// Whether slots still have their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    Kept,
    Changed,
}

impl Slots {
    pub(super) fn new(series_max: usize) -> Slots {
        Slots { slots: Vec::new(), index: HashTable::new(), touched: Vec::new(), series_max, series_bytes: 0, takes: 0 }
    }

    /// The slot of a series, which is made if there is none.
    pub(super) fn slot(&mut self, series: Series) -> Result<u32, Malformed> {
        let same = |&slot: &u32| self.slots[slot as usize].series.key == series.key;
        if let Some(&slot) = self.index.find(series.hash, same) {
            return Ok(slot);
        }
        let bytes = self.series_bytes + series.size_bytes();
        if self.slots.len() >= self.series_max || bytes > self.series_max.saturating_mul(SERIES_BYTES_MEAN_MAX) {
            return Err(Malformed::SeriesLimit);
        }
        let number = u32::try_from(self.slots.len()).map_err(|_| Malformed::SeriesLimit)?;
        self.series_bytes = bytes;
        let (hash, slots) = (series.hash, &self.slots);
        self.index.insert_unique(hash, number, |&slot| slots[slot as usize].series.hash);
        let cell = Cell::new(&series.shape);
        let series = Arc::new(series);
        self.slots.push(Slot { series, cell, samples: 0, last_ns: 0, touched_at: self.takes });
        Ok(number)
    }

    pub(super) fn series(&self, slot: u32) -> &Arc<Series> {
        &self.slots[slot as usize].series
    }

    /// The slot of a series that a value came for.
    #[inline]
    pub(super) fn touch(&mut self, number: u32, now_ns: u64) -> &mut Slot {
        let slot = &mut self.slots[number as usize];
        if slot.samples == 0 {
            self.touched.push(number);
            slot.touched_at = self.takes;
        }
        slot.samples += 1;
        slot.last_ns = now_ns;
        slot
    }

    /// The cell of a slot, if it is a counter or a gauge. The series itself is not looked at: it lies elsewhere.
    #[inline]
    pub(super) fn scalar(&self, number: u32) -> Option<Scalar> {
        match self.slots[number as usize].cell {
            Cell::Counter(_) => Some(Scalar::Counter),
            Cell::Gauge(_) => Some(Scalar::Gauge),
            Cell::Set(_) | Cell::Timers(_) => None,
        }
    }

    /// Hands out what came, and starts anew. Slots are renumbered once most of them are idle.
    pub(super) fn take(&mut self, mut each: impl FnMut(Slot)) -> Numbers {
        for number in self.touched.drain(..) {
            let slot = &mut self.slots[number as usize];
            let cell = std::mem::replace(&mut slot.cell, Cell::new(&slot.series.shape));
            let samples = std::mem::take(&mut slot.samples);
            let (series, last_ns, touched_at) = (Arc::clone(&slot.series), slot.last_ns, slot.touched_at);
            each(Slot { series, cell, samples, last_ns, touched_at });
        }
        self.takes += 1;
        self.forget_idle()
    }

    fn forget_idle(&mut self) -> Numbers {
        let is_idle = |slot: &Slot| self.takes - slot.touched_at > IDLE_TAKES_MAX;
        let idle = self.slots.iter().filter(|slot| is_idle(slot)).count();
        // A full table cannot wait for most of it to be idle.
        let full = self.slots.len() >= self.series_max;
        if idle == 0 || (idle * 2 < self.slots.len() && !full) {
            return Numbers::Kept;
        }
        let takes = self.takes;
        self.slots.retain(|slot| takes - slot.touched_at <= IDLE_TAKES_MAX);
        self.series_bytes = self.slots.iter().map(|slot| slot.series.size_bytes()).sum();
        self.index.clear();
        let slots = &self.slots;
        for (number, slot) in (0_u32..).zip(slots) {
            self.index.insert_unique(slot.series.hash, number, |&slot| slots[slot as usize].series.hash);
        }
        Numbers::Changed
    }
}
