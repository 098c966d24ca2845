//! What must hold for any bytes that stand in a segment file. The seeded test drives these functions, and so do the
//! targets of `cargo fuzz`. Each tells whether the bytes held a record.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use journal::disk::io::{Disk, DiskFile};
use journal::disk::{DiskOptions, inspect, records};
use journal::{Book, CursorOptions, Detail, Journal, Read, ReadLimit, Record, Settlement, Start, WhenFull};
use parking_lot::Mutex;

/// A directory in memory.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<BTreeMap<String, Content>>>);

#[derive(Clone)]
struct Content(Arc<Mutex<Vec<u8>>>);

impl Disk for Files {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let content = Content(Arc::new(Mutex::new(vec![0; usize::try_from(size).unwrap()])));
        self.0.lock().insert(name.to_owned(), content.clone());
        Ok(Arc::new(content))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.0.lock()[name].clone()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().remove(name);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for Content {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_exact_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        let content = self.0.lock();
        // Whoever asks for more than a whole file has believed a length.
        assert!(into.len() <= content.len() + 64);
        let start = usize::try_from(position).unwrap();
        let from = start.checked_add(into.len()).and_then(|end| content.get(start..end));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let mut content = self.0.lock();
        let (start, bytes) = (usize::try_from(position).unwrap(), parts.concat());
        let end = content.len().max(start + bytes.len());
        content.resize(end, 0);
        content[start..start + bytes.len()].copy_from_slice(&bytes);
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.lock().resize(usize::try_from(size).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes are the first segment; half of the time, as the first byte says, they are cut in two segments.
pub(crate) fn segments(data: &[u8]) -> bool {
    let Some((how, data)) = data.split_first() else { return false };
    let files = Files::default();
    let name = |number: u64| format!("{number:020}.segment");
    let (first, second) = if how % 2 == 0 { (data, &data[..0]) } else { data.split_at(data.len() / 2) };
    for (number, content) in [first, second].into_iter().enumerate().filter(|(_, content)| !content.is_empty()) {
        files.0.lock().insert(name(number as u64), Content(Arc::new(Mutex::new(content.to_vec()))));
    }
    let disk: Arc<dyn Disk> = Arc::new(files);
    // An error: a file of another version, which is not touched.
    let Ok(seen) = inspect(&disk) else { return false };
    let mut found = false;
    records(&disk, |record| {
        found |= record.payload.is_some();
        true
    })
    .unwrap();
    open(&disk, &seen.streams.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    // What a process made of it is read by the next.
    open(&disk, &seen.streams.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    found
}

/// Opens the journal, reads and settles whatever is there under every name, appends and closes.
fn open(disk: &Arc<dyn Disk>, streams: &[String]) {
    let options = DiskOptions { size_bytes_max: 4 << 20, when_full: WhenFull::DropOldest, ..DiskOptions::default() };
    let (journal, mut committer, _) = Journal::open_stepped(Arc::clone(disk), options).unwrap();
    let books = journal.books(Detail::Labels);
    books.iter().for_each(|book| {
        book.balances();
    });
    let known = books.iter().map(|book| (book.stream.clone(), book.cursor.clone()));
    let new = streams.iter().take(4).map(|stream| (stream.clone(), "new".to_owned()));
    for (stream, cursor) in known.chain(new).take(16).collect::<Vec<_>>() {
        let stream = journal.stream(&stream);
        let start = if cursor.len() % 2 == 0 { Start::Oldest } else { Start::Since(5) };
        let Ok(mut cursor) = journal.open_cursor(stream, &cursor, CursorOptions { start, ..CursorOptions::default() })
        else {
            continue;
        };
        for _ in 0..100 {
            match cursor.try_next(ReadLimit::default()) {
                Some(Read::Records(records)) => settle(&cursor, &records),
                Some(_) => {}
                None => break,
            }
        }
        cursor.lag();
        append(&journal, &mut committer, stream);
    }
    committer.expire(u64::MAX / 2);
    committer.finish();
    journal.books(Detail::Labels).iter().for_each(|book: &Book| assert!(book.pending().bytes < u64::MAX));
}

fn settle(cursor: &journal::Cursor, records: &[Record]) {
    let items = records.iter().map(|record| u64::from(record.items)).sum();
    // Places that contradict each other may not add up.
    let _ = cursor.settle(records, &Settlement::all("delivered", items));
}

fn append(journal: &Journal, committer: &mut journal::disk::Committer, stream: journal::StreamId) {
    let mut future = std::pin::pin!(journal.append(vec![(stream, Record::new("new", 1))]));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = future.as_mut().poll(&mut context);
    committer.step();
    assert!(future.as_mut().poll(&mut context).is_ready());
}
