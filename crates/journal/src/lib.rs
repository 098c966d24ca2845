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
//! This crate does not know telemetry. In memory ([`Journal::in_memory`]) an append says "queued". On disk
//! ([`Journal::open`]) it says "kept": it is synced before the answer, appends that arrive together share one sync, and
//! cursors go on by their names where they stood. `ARCHITECTURE.md` in this crate has the format, the promises and the
//! reasons.
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
//!
//! The same on disk, where what one process did not settle is read by the next:
//!
//! ```
//! use std::sync::Arc;
//!
//! use journal::disk::{DiskOptions, io::Directory};
//! use journal::{Cursor, CursorOptions, Journal, Read, ReadLimit, Record, Settlement};
//!
//! fn open(path: &std::path::Path) -> Result<(Journal, Cursor), Box<dyn std::error::Error>> {
//!     // One process at a time, mode 0700.
//!     let directory = Directory::lock(path)?;
//!     let (journal, _recovery) = Journal::open(Arc::new(directory), DiskOptions::default())?;
//!     let cursor = journal.open_cursor(journal.stream("traces"), "traces/otlp", CursorOptions::default())?;
//!     Ok((journal, cursor))
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let path = tempfile::tempdir()?;
//! let (journal, cursor) = open(path.path())?;
//! // When this returns, a power cut does not take it away any more.
//! journal.append(vec![(journal.stream("traces"), Record::new("three spans", 3))]).await?;
//! drop(cursor);
//! journal.shut_down().await;
//! drop(journal);
//!
//! let (journal, mut cursor) = open(path.path())?;
//! let Read::Records(records) = cursor.next(ReadLimit::default()).await else { panic!() };
//! cursor.settle(&records, &Settlement::all("delivered", 3))?;
//! assert!(journal.books(journal::Detail::Totals).iter().all(|book| book.balances()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
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
