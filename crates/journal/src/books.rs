//! What became of the items: settlements, and the books that must balance.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::cursor::Lag;
use crate::record::Offset;

/// A name under which items are counted, such as `delivered` or `dropped/journal_full`. The journal gives it no meaning
/// beyond the one that it writes itself, [`Bucket::OVERWRITTEN`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(pub Cow<'static, str>);

impl Bucket {
    /// Items that left a full journal before the cursor read them.
    pub const OVERWRITTEN: Bucket = Bucket(Cow::Borrowed("dropped/journal_full"));
    /// Items that grew older than the journal keeps before the cursor read them.
    pub const EXPIRED: Bucket = Bucket(Cow::Borrowed("dropped/expired"));
    /// Items that the storage gave back damaged, or not at all.
    pub const DAMAGED: Bucket = Bucket(Cow::Borrowed("dropped/journal_damaged"));
    /// In the accounts of labels: items of records that went into several buckets, so that nobody knows whose went
    /// where.
    pub const PARTLY: Bucket = Bucket(Cow::Borrowed("partly"));
}

/// A name under which parts of records are counted, within one stream. The journal gives it no meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelId(pub(crate) u32);

impl LabelId {
    /// The label of whatever came after a stream had all the labels that it may have.
    pub const OTHER: LabelId = LabelId(0);
}

/// How many of a record's items are counted under a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The label.
    pub label: LabelId,
    /// Its items.
    pub items: u32,
}

impl From<&'static str> for Bucket {
    fn from(name: &'static str) -> Self {
        Bucket(Cow::Borrowed(name))
    }
}

impl From<String> for Bucket {
    fn from(name: String) -> Self {
        Bucket(Cow::Owned(name))
    }
}

/// What became of the items of some records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    entries: Vec<(Bucket, u64)>,
}

impl Settlement {
    /// All of `items` went into one bucket.
    pub fn all(bucket: impl Into<Bucket>, items: u64) -> Self {
        let mut settlement = Settlement::default();
        settlement.add(bucket, items);
        settlement
    }

    /// Puts `items` more into a bucket.
    pub fn add(&mut self, bucket: impl Into<Bucket>, items: u64) {
        let bucket = bucket.into();
        match self.entries.iter_mut().find(|(name, _)| *name == bucket) {
            _ if items == 0 => {}
            Some((_, sum)) => *sum += items,
            None => self.entries.push((bucket, items)),
        }
    }

    /// The items of all buckets together.
    pub fn items(&self) -> u64 {
        self.entries.iter().map(|(_, items)| items).sum()
    }

    /// The buckets and their items.
    pub fn entries(&self) -> &[(Bucket, u64)] {
        &self.entries
    }
}

/// Why a settlement was refused. Nothing was settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    /// The buckets do not add up to the items of the records.
    #[error("the settlement accounts for {settled} items, the records hold {held}")]
    Unbalanced {
        /// Items in the settlement.
        settled: u64,
        /// Items in the records.
        held: u64,
    },
    /// A record is not in this cursor's hands: never read, or settled before.
    #[error("record {offset} is not in flight at this cursor")]
    NotInFlight {
        /// Its place in the stream.
        offset: u64,
    },
}

/// How much of the books is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// One sum for each cursor.
    #[default]
    Totals,
    /// The accounts of labels as well.
    Labels,
}

/// One label's part of a cursor's account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelBook {
    /// The label.
    pub label: String,
    /// Its items since the cursor's start.
    pub appended_items: u64,
    /// Of them, items settled, by bucket.
    pub settled: BTreeMap<Bucket, u64>,
}

impl LabelBook {
    /// Items that are not settled.
    pub fn pending_items(&self) -> u64 {
        self.appended_items.saturating_sub(crate::account::sum(&self.settled))
    }
}

/// One cursor's account, taken at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// The stream.
    pub stream: String,
    /// The cursor.
    pub cursor: String,
    /// Items appended to the stream since the cursor's start.
    pub appended_items: u64,
    /// Items settled, by bucket.
    pub settled: BTreeMap<Bucket, u64>,
    /// Items of records that are not settled, counted from the records themselves.
    pub pending_items: u64,
    /// Records that are not settled.
    pub pending_records: u64,
    /// Payload bytes of records that are not settled.
    pub pending_bytes: u64,
    /// When the oldest record that is not settled was appended, in nanoseconds since the Unix epoch.
    pub oldest_pending_unix_ns: Option<u64>,
    /// The place of the next record that the cursor reads, and the end of its stream.
    pub position: (Offset, Offset),
    /// Whether a reader has opened it in this process.
    pub open: bool,
    /// The same by label, where records have shares.
    pub by_label: Vec<LabelBook>,
}

impl Book {
    /// What is not settled.
    pub fn pending(&self) -> Lag {
        Lag {
            records: self.pending_records,
            items: self.pending_items,
            bytes: self.pending_bytes,
            oldest_unix_ns: self.oldest_pending_unix_ns,
        }
    }

    /// Whether every appended item is accounted for.
    pub fn balances(&self) -> bool {
        self.appended_items == crate::account::sum(&self.settled).saturating_add(self.pending_items)
    }
}
