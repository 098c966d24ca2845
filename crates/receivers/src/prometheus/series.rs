//! What one target has exposed: its series by the bytes they were written with, and which of them have vanished.

use hashbrown::HashMap;
use prom::labels::LabelSet;

/// The place of a series in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SeriesId(u32);

/// The series of one target. A series that is written the same way as before needs no relabelling again.
#[derive(Default)]
pub(super) struct SeriesCache {
    by_text: HashMap<Box<[u8]>, SeriesId, foldhash::fast::RandomState>,
    entries: Vec<Option<Entry>>,
    free: Vec<SeriesId>,
    scrape: u64,
}

struct Entry {
    text: Box<[u8]>,
    /// None: relabelling drops it.
    labels: Option<LabelSet>,
    seen_in: u64,
    /// Whether the last scrape that succeeded had it, with a time of the scrape's own.
    is_tracked: bool,
}

impl SeriesCache {
    /// Begins a scrape.
    pub(super) fn start_scrape(&mut self) {
        self.scrape += 1;
    }

    /// The series that was written so before.
    pub(super) fn find(&mut self, text: &[u8]) -> Option<SeriesId> {
        let id = *self.by_text.get(text)?;
        if let Some(entry) = &mut self.entries[id.0 as usize] {
            entry.seen_in = self.scrape;
        }
        Some(id)
    }

    /// A series that is new.
    pub(super) fn insert(&mut self, text: &[u8], labels: Option<LabelSet>) -> SeriesId {
        let entry = Entry { text: text.into(), labels, seen_in: self.scrape, is_tracked: false };
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            SeriesId(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
        });
        self.by_text.insert(entry.text.clone(), id);
        self.entries[id.0 as usize] = Some(entry);
        id
    }

    /// The labels of a series; none where relabelling drops it.
    pub(super) fn labels(&self, id: SeriesId) -> Option<&LabelSet> {
        self.entries[id.0 as usize].as_ref()?.labels.as_ref()
    }

    /// Says that the series has a sample with the scrape's own time: it is stale when it does not come again.
    pub(super) fn track(&mut self, id: SeriesId) -> Tracked {
        match &mut self.entries[id.0 as usize] {
            Some(entry) if !entry.is_tracked => {
                entry.is_tracked = true;
                Tracked::New
            }
            _ => Tracked::Known,
        }
    }

    /// Series that were tracked and are not in this scrape; they are not tracked any more.
    pub(super) fn vanished(&mut self) -> Vec<SeriesId> {
        let scrape = self.scrape;
        self.untrack(|entry| entry.seen_in != scrape)
    }

    /// All series that were tracked; none is any more.
    pub(super) fn all_vanished(&mut self) -> Vec<SeriesId> {
        self.untrack(|_| true)
    }

    fn untrack(&mut self, is_gone: impl Fn(&Entry) -> bool) -> Vec<SeriesId> {
        let mut gone = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if let Some(entry) = entry.as_mut().filter(|entry| entry.is_tracked && is_gone(entry)) {
                entry.is_tracked = false;
                gone.push(SeriesId(u32::try_from(index).unwrap_or(u32::MAX)));
            }
        }
        gone
    }

    /// Forgets what neither this scrape nor the one before had.
    pub(super) fn forget_old(&mut self) {
        for (index, slot) in self.entries.iter_mut().enumerate() {
            let old = slot.as_ref().is_some_and(|entry| !entry.is_tracked && entry.seen_in + 1 < self.scrape);
            if let Some(entry) = slot.take_if(|_| old) {
                self.by_text.remove(&entry.text);
                self.free.push(SeriesId(u32::try_from(index).unwrap_or(u32::MAX)));
            }
        }
    }

    /// How many series are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_text.len()
    }
}

/// Whether a series was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tracked {
    New,
    Known,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(cache: &mut SeriesCache, texts: &[&str]) -> Vec<String> {
        cache.start_scrape();
        for text in texts {
            let id = cache
                .find(text.as_bytes())
                .unwrap_or_else(|| cache.insert(text.as_bytes(), LabelSet::from_pairs([("__name__", *text)]).ok()));
            cache.track(id);
        }
        let gone = cache.vanished();
        let names = gone.iter().filter_map(|id| cache.labels(*id)?.get("__name__").map(str::to_owned)).collect();
        cache.forget_old();
        names
    }

    #[test]
    fn a_series_that_does_not_come_again_vanishes_once() {
        let mut cache = SeriesCache::default();
        assert!(scrape(&mut cache, &["a", "b"]).is_empty());
        assert_eq!(scrape(&mut cache, &["a"]), ["b"]);
        assert!(scrape(&mut cache, &["a"]).is_empty());
    }

    #[test]
    fn a_target_whose_series_change_with_each_scrape_is_remembered_no_further_back_than_two() {
        let mut cache = SeriesCache::default();
        for round in 0..100 {
            let names: Vec<String> = (0..10).map(|index| format!("series_{round}_{index}")).collect();
            scrape(&mut cache, &names.iter().map(String::as_str).collect::<Vec<_>>());
            assert!(cache.len() <= 30);
        }
        assert!(cache.entries.len() <= 40);
    }
}
