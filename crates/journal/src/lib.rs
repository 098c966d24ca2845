//! An append-only journal of opaque records with many cursors.
//!
//! A [`Journal`] holds named streams. A record is written once and read by every [`Cursor`] of its stream, each at its
//! own pace: a reader that stands still only lags its own cursor. A record leaves the journal when every cursor has
//! settled it. The journal is bounded in bytes, over all its streams, and [`WhenFull`] says what happens at the bound.
//!
//! Records carry a weight in *items*. A reader settles a record by saying what became of each of its items
//! ([`Settlement`]); a settlement that leaves an item out, or invents one, is refused. So for every cursor, at every
//! moment, **items appended since it opened = items settled, by bucket + items pending**. The two sides are counted
//! apart and the books are taken under one lock ([`Journal::books`]).
//!
//! This crate does not know telemetry, and it does no I/O yet: the storage is memory, so an append says "queued", not
//! "kept".
//!
//! ```
//! use journal::{CursorOptions, Journal, Limits, Read, ReadLimit, Record, Settlement, WhenFull};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let journal = Journal::in_memory(Limits { size_bytes_max: 1 << 20, when_full: WhenFull::Refuse });
//! let stream = journal.stream("traces");
//! let mut cursor = journal.open_cursor(stream, "traces/otlp", CursorOptions::default()).unwrap();
//!
//! journal.append(vec![(stream, Record::new("three spans", 3))]).await.unwrap();
//!
//! let Read::Records(records) = cursor.next(ReadLimit::default()).await else { panic!() };
//! cursor.settle(&records, &Settlement::all("delivered", 3)).unwrap();
//! assert!(journal.books(journal::Detail::Totals).iter().all(|book| book.balances()));
//! # });
//! ```

mod account;
mod books;
mod cursor;
pub mod disk;
mod log;
mod mark;
mod record;
mod state;
mod stream;

pub use books::{Book, Bucket, Detail, LabelBook, LabelId, Settlement, SettlementError, Share};
pub use cursor::{Cursor, CursorError, CursorOptions, Hold, Lag, LagLimit, Read, ReadLimit, Settler, Start};
pub use log::{AppendError, Journal, Limits, StreamId, WhenFull};
pub use mark::Mark;
pub use record::{Offset, Record, Shares};
