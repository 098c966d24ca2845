//! The journal against a plain reference model, over random programs of appends, reads and settlements.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use journal::{
    Bucket, Cursor, CursorOptions, Journal, LagLimit, Limits, Read, ReadLimit, Record, Settlement, StreamId, WhenFull,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Append { stream: u8, items: u32, size: u16 },
    AppendBoth { items: u32, size: u16 },
    Read { cursor: u8, records_max: u8 },
    Settle { cursor: u8, pick: u8 },
    CloseCursor { cursor: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..2u8, 0..20u32, 0..600u16).prop_map(|(stream, items, size)| Step::Append { stream, items, size }),
        2 => (0..20u32, 0..600u16).prop_map(|(items, size)| Step::AppendBoth { items, size }),
        5 => (0..4u8, 1..6u8).prop_map(|(cursor, records_max)| Step::Read { cursor, records_max }),
        5 => (0..4u8, any::<u8>()).prop_map(|(cursor, pick)| Step::Settle { cursor, pick }),
        1 => (0..4u8).prop_map(|cursor| Step::CloseCursor { cursor }),
    ];
    prop::collection::vec(step, 1..120)
}

/// What the model knows of one cursor.
struct Reader {
    stream: usize,
    cursor: Option<Cursor>,
    name: String,
    held: Vec<Record>,
    seen: BTreeSet<u64>,
    lost: BTreeSet<u64>,
    settled_items: u64,
}

struct World {
    journal: Journal,
    streams: [StreamId; 2],
    /// Items of every record that was accepted, by stream and place.
    accepted: [Vec<u32>; 2],
    /// How many records a reader had to read when it was closed.
    closed_at: BTreeMap<String, usize>,
    readers: Vec<Reader>,
    now: u64,
}

impl World {
    fn new(when_full: WhenFull, lag_max: Option<LagLimit>) -> World {
        let journal = Journal::in_memory(Limits { size_bytes_max: 4000, when_full });
        let streams = [journal.stream("a"), journal.stream("b")];
        let readers = (0..4).map(|index| {
            let (name, stream) = (format!("cursor-{index}"), index / 2);
            let lag_max = if index == 0 { lag_max } else { None };
            let cursor = journal
                .open_cursor(streams[stream], &name, CursorOptions { lag_max, ..CursorOptions::default() })
                .unwrap();
            let (held, seen, lost) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
            Reader { stream, cursor: Some(cursor), name, held, seen, lost, settled_items: 0 }
        });
        let readers = readers.collect();
        World { journal, streams, accepted: [vec![], vec![]], closed_at: BTreeMap::new(), readers, now: 0 }
    }

    fn append(&mut self, streams: &[usize], items: u32, size: u16) {
        self.now += 1;
        let mut record = Record::new(vec![7u8; size.into()], items);
        record.appended_at_unix_ns = self.now;
        let writes = streams.iter().map(|stream| (self.streams[*stream], record.clone())).collect();
        let append = self.journal.append(writes);
        let result = futures_now(append);
        if result.is_ok() {
            streams.iter().for_each(|stream| self.accepted[*stream].push(items));
        }
    }

    fn read(&mut self, index: usize, records_max: u8) {
        let reader = &mut self.readers[index];
        let Some(cursor) = &mut reader.cursor else { return };
        let limit = ReadLimit { records_max: records_max.into(), items_enough: 30, bytes_max: 900 };
        match cursor.try_next(limit) {
            None => {}
            Some(Read::Closed) => panic!("nobody closed the journal"),
            Some(Read::Gap { lost, items, .. }) => {
                let places = lost.start.0..lost.end.0;
                let expected: u64 = places.clone().map(|p| u64::from(self.accepted[reader.stream][p as usize])).sum();
                assert_eq!(items, expected, "a gap counts the items that it lost");
                reader.lost.extend(places);
                reader.settled_items += items;
            }
            Some(Read::Records(records)) => {
                assert!(!records.is_empty() && records.len() <= usize::from(records_max));
                for record in records {
                    assert_eq!(record.items, self.accepted[reader.stream][record.offset.0 as usize]);
                    assert!(reader.seen.insert(record.offset.0), "a record is read once");
                    reader.held.push(record);
                }
            }
        }
    }

    fn settle(&mut self, index: usize, pick: u8) {
        let reader = &mut self.readers[index];
        let Some(cursor) = &reader.cursor else { return };
        if reader.held.is_empty() {
            return;
        }
        let record = reader.held.remove(usize::from(pick) % reader.held.len());
        let items = u64::from(record.items);
        let records = std::slice::from_ref(&record);
        assert!(cursor.settle(records, &Settlement::all("delivered", items + 1)).is_err(), "one item too many");
        cursor.settle(records, &Settlement::all("delivered", items)).unwrap();
        assert!(cursor.settle(records, &Settlement::all("delivered", items)).is_err(), "settled twice");
        reader.settled_items += items;
    }

    fn close(&mut self, index: usize) {
        let reader = &mut self.readers[index];
        if reader.cursor.take().is_some() {
            self.closed_at.insert(reader.name.clone(), self.accepted[reader.stream].len());
        }
    }

    fn check(&self) {
        let books = self.journal.books(journal::Detail::Totals);
        for reader in &self.readers {
            let book = books.iter().find(|book| book.cursor == reader.name).unwrap();
            assert!(book.balances(), "{book:?}");
            let end = self.closed_at.get(&reader.name).copied().unwrap_or(self.accepted[reader.stream].len());
            let appended: u64 = self.accepted[reader.stream][..end].iter().map(|items| u64::from(*items)).sum();
            assert_eq!(book.appended_items, appended);
            let overwritten = book.settled.get(&Bucket::OVERWRITTEN).copied().unwrap_or(0);
            let delivered = book.settled.get(&Bucket::from("delivered")).copied().unwrap_or(0);
            // A gap that the reader was not told of yet is in the book already.
            assert!(overwritten + delivered >= reader.settled_items);
        }
        let (retained, max) = self.journal.retained_bytes();
        assert!(retained <= max, "the bound holds");
    }

    /// Every reader that is still open reads on to the end and settles: nothing is left, and nothing is held.
    fn drain(&mut self) {
        for index in 0..self.readers.len() {
            for _ in 0..400 {
                self.read(index, 5);
                self.settle(index, 0);
            }
            let reader = &self.readers[index];
            if reader.cursor.is_some() {
                let all: BTreeSet<u64> = (0..self.accepted[reader.stream].len() as u64).collect();
                assert_eq!(&reader.seen | &reader.lost, all, "each record was read or reported as lost");
                assert!(reader.seen.is_disjoint(&reader.lost));
            }
            self.check();
        }
        assert_eq!(self.journal.retained_bytes().0, 0, "what everybody settled holds no memory");
    }
}

/// Polls a future once: appends to memory complete at once.
fn futures_now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("an append to memory waits for nothing"),
    }
}

fn check(when_full: WhenFull, lag_max: Option<LagLimit>, steps: &[Step]) {
    let mut world = World::new(when_full, lag_max);
    for step in steps {
        match *step {
            Step::Append { stream, items, size } => world.append(&[stream.into()], items, size),
            Step::AppendBoth { items, size } => world.append(&[0, 1], items, size),
            Step::Read { cursor, records_max } => world.read(cursor.into(), records_max),
            Step::Settle { cursor, pick } => world.settle(cursor.into(), pick),
            Step::CloseCursor { cursor } => world.close(cursor.into()),
        }
        world.check();
    }
    world.drain();
}

proptest! {
    #[test]
    fn the_books_balance_after_every_step_when_a_full_journal_refuses(steps in steps()) {
        check(WhenFull::Refuse, None, &steps);
    }

    #[test]
    fn the_books_balance_after_every_step_when_a_full_journal_drops_its_oldest(steps in steps()) {
        check(WhenFull::DropOldest, None, &steps);
    }

    #[test]
    fn the_books_balance_with_a_lag_limit_on_one_cursor(steps in steps(), records in 1..6u64, drop in any::<bool>()) {
        let when_full = if drop { WhenFull::DropOldest } else { WhenFull::Refuse };
        check(when_full, Some(LagLimit::Records(records)), &steps);
    }
}
