//! What a journal remembers of its streams and cursors: the part that a storage keeps, and the one way to change it.

use std::collections::BTreeMap;

use crate::books::{Bucket, LabelId, Share};
use crate::log::StreamId;
use crate::mark::{Mark, Place, Spans};

/// The stable number of a cursor in its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CursorId(pub(crate) u32);

/// Items by bucket.
pub(crate) type Buckets = BTreeMap<Bucket, u64>;

/// Everything that is remembered, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) streams: Vec<StreamAccount>,
    pub(crate) cursors: Vec<Account>,
    /// The number that the next new cursor gets.
    pub(crate) next_cursor: CursorId,
}

/// One stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamAccount {
    pub(crate) name: String,
    /// The place of the next record.
    pub(crate) end: Mark,
    /// The names that shares of records are counted under.
    pub(crate) labels: Vec<String>,
}

/// One cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: CursorId,
    pub(crate) stream: StreamId,
    pub(crate) name: String,
    pub(crate) place: Place,
    /// How far it had read when it last settled something: what lies between and is not settled may arrive twice.
    pub(crate) read_to: Mark,
    /// Items appended since its start.
    pub(crate) appended_items: u64,
    /// Items settled.
    pub(crate) settled: Buckets,
    /// The same for each label.
    pub(crate) by_label: BTreeMap<LabelId, LabelAccount>,
    /// Since when no reader has opened it, in nanoseconds since the Unix epoch.
    pub(crate) detached_at_unix_ns: Option<u64>,
    /// Records may have been lost whose shares nobody knew. It is not written down: an account that was read is unsure.
    pub(crate) labels_unsure: bool,
}

/// One label's part of a cursor's account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelAccount {
    pub(crate) appended_items: u64,
    pub(crate) settled: Buckets,
}

/// What settling changes in an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) runs: Spans,
    pub(crate) read_to: Mark,
    pub(crate) settled: Buckets,
    pub(crate) by_label: BTreeMap<(LabelId, Bucket), u64>,
}

/// A number beyond it in a file is damage.
const STREAMS_MAX: usize = 4096;

// === impl Image ===

impl Image {
    /// Enters a record that was appended, and whatever is missing in front of it.
    pub(crate) fn append(&mut self, stream: StreamId, at: Mark, items: u32, bytes: u32, shares: &[Share]) {
        self.keep_number(stream);
        self.advance(stream, at);
        let Some(account) = self.streams.get_mut(stream.index()).filter(|account| account.end.offset == at.offset)
        else {
            return;
        };
        account.end = account.end.after(items.into(), bytes.into());
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.stream == stream) {
            cursor.append(items.into(), shares);
        }
    }

    /// A stream that only a damaged image named: nobody else may get its number, for its records are there.
    fn keep_number(&mut self, stream: StreamId) {
        while self.streams.len() <= stream.index().min(STREAMS_MAX) {
            let name = format!("unknown/{}", self.streams.len());
            self.streams.push(StreamAccount { name, ..StreamAccount::default() });
        }
    }

    /// Enters what a cursor settled.
    pub(crate) fn settle(&mut self, cursor: CursorId, note: &Note) {
        let Some(index) = self.cursors.iter().position(|account| account.id == cursor) else { return };
        // A settlement that is there although its records are not: they are missing, and were appended all the same.
        let furthest = note.runs.iter().map(|span| span.end).fold(note.read_to, Mark::later);
        self.advance(self.cursors[index].stream, furthest);
        let account = &mut self.cursors[index];
        let end = self.streams.get(account.stream.index()).map_or(furthest, |stream| stream.end);
        account.settle(note, end);
    }

    /// The stream goes as far as `to`, although its records up to there were not found.
    fn advance(&mut self, stream: StreamId, to: Mark) {
        let Some(account) = self.streams.get_mut(stream.index()).filter(|account| account.end.offset < to.offset)
        else {
            return;
        };
        let missing = to.since(account.end).items;
        account.end = to;
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.stream == stream) {
            cursor.append(missing, &[]);
        }
    }
}

// === impl Account ===

impl Account {
    pub(crate) fn new(id: CursorId, stream: StreamId, name: &str, start: Mark) -> Account {
        Account {
            id,
            stream,
            name: name.to_owned(),
            place: Place::at(start),
            read_to: start,
            appended_items: 0,
            settled: Buckets::new(),
            by_label: BTreeMap::new(),
            detached_at_unix_ns: None,
            labels_unsure: true,
        }
    }

    pub(crate) fn append(&mut self, items: u64, shares: &[Share]) {
        self.appended_items = self.appended_items.saturating_add(items);
        for share in shares {
            let account = self.by_label.entry(share.label).or_default();
            account.appended_items = account.appended_items.saturating_add(share.items.into());
        }
    }

    /// Everything is settled, so nothing of any label is left. Where a part was lost together with the shares of its
    /// records, that part is found here.
    fn close_labels(&mut self) {
        for account in self.by_label.values_mut() {
            let left = account.pending_items();
            if left > 0 {
                increase(&mut account.settled, &Bucket::PARTLY, left);
            }
        }
    }

    /// What was read and not settled when it last settled something.
    pub(crate) fn maybe_twice(&self) -> u64 {
        let read = self.read_to.since(self.place.low).items;
        read.saturating_sub(self.place.ahead.lag().items)
    }

    /// Enters a settlement; `end` is where the stream ends.
    pub(crate) fn settle(&mut self, note: &Note, end: Mark) {
        let low = self.place.low.offset;
        note.runs.iter().filter(|span| span.start.offset >= low).for_each(|span| self.place.settle(*span));
        self.read_to = self.read_to.later(note.read_to);
        for (bucket, items) in &note.settled {
            increase(&mut self.settled, bucket, *items);
        }
        for ((label, bucket), items) in &note.by_label {
            let account = self.by_label.entry(*label).or_default();
            increase(&mut account.settled, bucket, *items);
            // Records that were there before the cursor was are counted by label once they are settled.
            account.appended_items = account.appended_items.max(sum(&account.settled));
        }
        if self.labels_unsure && self.place.low.offset >= end.offset {
            self.labels_unsure = false;
            self.close_labels();
        }
    }
}

impl LabelAccount {
    fn pending_items(&self) -> u64 {
        self.appended_items.saturating_sub(sum(&self.settled))
    }
}

/// All items of all buckets.
pub(crate) fn sum(buckets: &Buckets) -> u64 {
    buckets.values().fold(0, |sum, items| sum.saturating_add(*items))
}

fn increase(buckets: &mut Buckets, bucket: &Bucket, items: u64) {
    let sum = buckets.entry(bucket.clone()).or_default();
    *sum = sum.saturating_add(items);
}

// === impl Note ===

impl Note {
    pub(crate) fn add_shares(&mut self, bucket: &Bucket, shares: &[Share]) {
        for share in shares {
            *self.by_label.entry((share.label, bucket.clone())).or_default() += u64::from(share.items);
        }
    }

    /// An upper bound of what it takes to write it down.
    pub(crate) fn size_bytes(&self) -> u64 {
        let buckets = self.settled.keys().map(|bucket| 16 + bucket.0.len());
        let labels = self.by_label.keys().map(|(_, bucket)| 16 + bucket.0.len());
        64 + 48 * self.runs.iter().len() as u64 + buckets.chain(labels).sum::<usize>() as u64
    }

    /// Takes another note into this one, which was made earlier.
    pub(crate) fn merge(&mut self, later: Note) {
        later.runs.iter().for_each(|span| self.runs.add(*span));
        self.read_to = self.read_to.later(later.read_to);
        later.settled.into_iter().for_each(|(bucket, items)| *self.settled.entry(bucket).or_default() += items);
        later.by_label.into_iter().for_each(|(key, items)| *self.by_label.entry(key).or_default() += items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_no_image_names_keeps_its_number() {
        let mut image = Image::default();
        image.append(StreamId(2), Mark::default(), 1, 10, &[]);
        assert_eq!((image.streams.len(), image.streams[2].end.items), (3, 1));
        image.append(StreamId(u32::MAX), Mark::default(), 1, 10, &[]);
        assert!(image.streams.len() <= STREAMS_MAX + 1);
    }

    #[test]
    fn labels_whose_records_were_lost_are_closed_when_nothing_is_left() {
        let mut account = Account::new(CursorId(1), StreamId(0), "cursor", Mark::default());
        account.append(3, &[Share { label: LabelId(1), items: 3 }]);
        let end = Mark::default().after(3, 10);
        let mut note = Note { read_to: end, ..Note::default() };
        note.runs.add(crate::mark::Span { start: Mark::default(), end });
        note.settled.insert(Bucket::DAMAGED, 3);
        account.settle(&note, end);
        assert_eq!(account.by_label[&LabelId(1)].settled[&Bucket::PARTLY], 3);
    }
}
