//! What readers and writers of a journal may rely on, one sentence each.

use std::time::Duration;

use journal::{
    AppendError, Cursor, CursorError, CursorOptions, Journal, LagLimit, Limits, Read, ReadLimit, Record, Settlement,
    StreamId, WhenFull,
};

fn journal(size_bytes_max: u64, when_full: WhenFull) -> (Journal, StreamId) {
    let journal = Journal::in_memory(Limits { size_bytes_max, when_full });
    let stream = journal.stream("metrics");
    (journal, stream)
}

fn record(size: usize, items: u32) -> Record {
    Record::new(vec![0; size], items)
}

async fn read_one(cursor: &mut Cursor) -> Record {
    match cursor.next(ReadLimit::ONE).await {
        Read::Records(mut records) => records.remove(0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cursor_that_stands_still_changes_nothing_for_its_sibling() {
    let (journal, stream) = journal(1 << 20, WhenFull::Refuse);
    let mut moving = journal.open_cursor(stream, "moving", CursorOptions::default()).unwrap();
    let still = journal.open_cursor(stream, "still", CursorOptions::default()).unwrap();
    for place in 0..100 {
        journal.append(vec![(stream, record(10, 1))]).await.unwrap();
        let read = read_one(&mut moving).await;
        assert_eq!(read.offset.0, place);
        moving.settle(&[read], &Settlement::all("delivered", 1)).unwrap();
    }
    assert_eq!((moving.lag().records, still.lag().records), (0, 100));
}

#[tokio::test]
async fn a_full_journal_refuses_and_takes_again_once_a_record_left() {
    let (journal, stream) = journal(1000, WhenFull::Refuse);
    let mut cursor = journal.open_cursor(stream, "cursor", CursorOptions::default()).unwrap();
    journal.append(vec![(stream, record(600, 1))]).await.unwrap();
    let refused = journal.append(vec![(stream, record(600, 1))]).await.unwrap_err();
    assert!(matches!(refused, AppendError::Full { wanted_bytes: 760, size_bytes_max: 1000, .. }), "{refused}");
    let read = read_one(&mut cursor).await;
    cursor.settle(&[read], &Settlement::all("delivered", 1)).unwrap();
    journal.append(vec![(stream, record(600, 1))]).await.unwrap();
}

#[tokio::test]
async fn an_append_to_two_streams_is_all_or_nothing() {
    let (journal, traces) = journal(1000, WhenFull::Refuse);
    let other = journal.stream("other");
    let limited = CursorOptions { lag_max: Some(LagLimit::Records(1)), ..CursorOptions::default() };
    let first = journal.open_cursor(traces, "first", CursorOptions::default()).unwrap();
    let second = journal.open_cursor(other, "second", limited).unwrap();
    journal.append(vec![(traces, record(1, 1)), (other, record(1, 1))]).await.unwrap();
    let refused = journal.append(vec![(traces, record(1, 1)), (other, record(1, 1))]).await;
    assert_eq!(refused, Err(AppendError::CursorFull { cursor: "second".into() }));
    assert_eq!((first.lag().records, second.lag().records), (1, 1));
}

#[tokio::test]
async fn an_append_larger_than_the_journal_is_told_so() {
    let (journal, stream) = journal(1000, WhenFull::DropOldest);
    let refused = journal.append(vec![(stream, record(1000, 1))]).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
}

#[tokio::test]
async fn dropping_the_oldest_tells_the_reader_what_it_lost() {
    let (journal, stream) = journal(1000, WhenFull::DropOldest);
    let mut cursor = journal.open_cursor(stream, "cursor", CursorOptions::default()).unwrap();
    for items in 1..=5 {
        journal.append(vec![(stream, record(200, items))]).await.unwrap();
    }
    let Read::Gap { lost, items, .. } = cursor.next(ReadLimit::ONE).await else { panic!() };
    assert_eq!((lost.start.0, lost.end.0, items), (0, 3, 1 + 2 + 3));
    assert_eq!(read_one(&mut cursor).await.items, 4);
    assert!(journal.books(journal::Detail::Totals)[0].balances());
}

#[tokio::test]
async fn a_record_in_flight_does_not_keep_those_behind_it_from_making_room() {
    let (journal, stream) = journal(1000, WhenFull::DropOldest);
    let mut cursor = journal.open_cursor(stream, "stalled", CursorOptions::default()).unwrap();
    journal.append(vec![(stream, record(200, 1))]).await.unwrap();
    let held = read_one(&mut cursor).await;
    for _ in 0..50 {
        journal.append(vec![(stream, record(200, 1))]).await.unwrap();
    }
    cursor.settle(&[held], &Settlement::all("delivered", 1)).unwrap();
    let book = journal.books(journal::Detail::Totals).remove(0);
    assert!(book.balances() && book.pending_records < 50, "{book:?}");
}

#[tokio::test]
async fn settling_out_of_order_keeps_the_memory_until_the_first_is_settled() {
    let (journal, stream) = journal(1 << 20, WhenFull::Refuse);
    let mut cursor = journal.open_cursor(stream, "cursor", CursorOptions::default()).unwrap();
    journal.append(vec![(stream, record(100, 1)), (stream, record(100, 1))]).await.unwrap();
    let (first, second) = (read_one(&mut cursor).await, read_one(&mut cursor).await);
    cursor.settle(&[second], &Settlement::all("delivered", 1)).unwrap();
    assert!(journal.retained_bytes().0 > 200);
    cursor.settle(&[first], &Settlement::all("delivered", 1)).unwrap();
    assert_eq!(journal.retained_bytes().0, 0);
}

#[tokio::test]
async fn a_closed_journal_refuses_and_its_readers_come_to_an_end() {
    let (journal, stream) = journal(1 << 20, WhenFull::Refuse);
    let mut cursor = journal.open_cursor(stream, "cursor", CursorOptions::default()).unwrap();
    journal.append(vec![(stream, record(1, 1))]).await.unwrap();
    journal.close();
    assert_eq!(journal.append(vec![(stream, record(1, 1))]).await, Err(AppendError::Closed));
    read_one(&mut cursor).await;
    assert!(matches!(cursor.next(ReadLimit::ONE).await, Read::Closed));
}

#[tokio::test]
async fn a_waiting_reader_is_woken_by_an_append() {
    let (journal, stream) = journal(1 << 20, WhenFull::Refuse);
    let mut cursor = journal.open_cursor(stream, "cursor", CursorOptions::default()).unwrap();
    let reader = tokio::spawn(async move { read_one(&mut cursor).await.items });
    tokio::task::yield_now().await;
    journal.append(vec![(stream, record(1, 42))]).await.unwrap();
    let items = tokio::time::timeout(Duration::from_secs(10), reader).await.expect("woken").unwrap();
    assert_eq!(items, 42);
}

#[test]
fn a_cursor_name_is_open_once() {
    let (journal, stream) = journal(1000, WhenFull::Refuse);
    let _first = journal.open_cursor(stream, "twice", CursorOptions::default()).unwrap();
    let second = journal.open_cursor(stream, "twice", CursorOptions::default()).unwrap_err();
    assert_eq!(second, CursorError::AlreadyOpen { name: "twice".into() });
}

#[tokio::test]
async fn a_journal_is_drained_when_the_last_record_is_settled() {
    let (journal, stream) = journal(1 << 20, WhenFull::Refuse);
    let mut cursor = journal.open_cursor(stream, "cursor", CursorOptions::default()).unwrap();
    journal.append(vec![(stream, record(1, 1)), (stream, record(1, 1))]).await.unwrap();
    let drained = tokio::spawn({
        let journal = journal.clone();
        async move { journal.drained().await }
    });
    let (first, second) = (read_one(&mut cursor).await, read_one(&mut cursor).await);
    cursor.settle(&[second], &Settlement::all("delivered", 1)).unwrap();
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    cursor.settle(&[first], &Settlement::all("delivered", 1)).unwrap();
    tokio::time::timeout(Duration::from_secs(10), drained).await.expect("drained").unwrap();
}
