//! A disk in memory that forgets what was not synced, in any part, and fails when it is told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use journal::disk::io::{Disk, DiskFile};
use parking_lot::Mutex;

/// What survives a power cut as a whole or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

struct Inner {
    rng: fastrand::Rng,
    files: Vec<Content>,
    /// Names as the process sees them, and as they are on the platter.
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    faults: Faults,
    /// What fits on it.
    capacity_bytes: usize,
    /// So many changes are still made; then nothing changes any more, until the crash.
    changes_left: Option<u32>,
    /// Files of the process that died answer no more.
    generation: u64,
}

#[derive(Clone, Default)]
struct Content {
    current: Vec<u8>,
    synced: Vec<u8>,
    /// Writes that no sync has confirmed.
    dirty: Vec<(usize, Vec<u8>)>,
    /// Writes that a sync failed on: a later sync says nothing about them.
    doomed: Vec<(usize, Vec<u8>)>,
}

/// How often something fails, out of a thousand.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) create: u32,
    pub(crate) write: u32,
    pub(crate) sync: u32,
    pub(crate) read: u32,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// What was written is in the kernel's hands.
    Kill,
    /// Of what was not synced, any part is there.
    PowerCut,
}

struct SimFile {
    disk: SimDisk,
    index: usize,
    generation: u64,
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Inner {
            rng: fastrand::Rng::with_seed(seed),
            files: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            faults: Faults::default(),
            capacity_bytes: usize::MAX,
            changes_left: None,
            generation: 0,
        })))
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    pub(crate) fn set_capacity(&self, bytes: usize) {
        self.0.lock().capacity_bytes = bytes;
    }

    /// The machine dies after so many more changes, whatever they are.
    pub(crate) fn die_after(&self, changes: u32) {
        self.0.lock().changes_left = Some(changes);
    }

    pub(crate) fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    pub(crate) fn crash(&self, how: Crash) {
        let mut inner = self.0.lock();
        let Inner { rng, files, names, synced_names, generation, changes_left, .. } = &mut *inner;
        *generation += 1;
        *changes_left = None;
        if how == Crash::PowerCut {
            // A name that was not synced is there or not; so is one that was removed.
            let mut after = synced_names.clone();
            for (name, index) in names.iter() {
                if !synced_names.contains_key(name) && rng.bool() {
                    after.insert(name.clone(), *index);
                }
            }
            for name in synced_names.keys().filter(|name| !names.contains_key(*name)) {
                if rng.bool() {
                    after.remove(name);
                }
            }
            *names = after;
            files.iter_mut().for_each(|file| file.cut_power(rng));
        }
        for file in files {
            file.synced = file.current.clone();
            file.dirty.clear();
            file.doomed.clear();
        }
        *synced_names = names.clone();
    }

    /// Turns one bit over, somewhere in what is there. `None`: there is nothing.
    pub(crate) fn flip_a_bit(&self) -> Option<(String, usize)> {
        let mut inner = self.0.lock();
        let names: Vec<(String, usize)> = inner.names.iter().map(|(name, index)| (name.clone(), *index)).collect();
        let (name, index) = names.get(inner.rng.usize(..names.len().max(1)))?.clone();
        let length = inner.files[index].current.len();
        let at = inner.rng.usize(..length.max(1));
        let bit = inner.rng.u8(..8);
        *inner.files[index].current.get_mut(at)? ^= 1 << bit;
        Some((name, at))
    }

    /// Cuts a file short.
    pub(crate) fn truncate_a_file(&self) {
        let mut inner = self.0.lock();
        let indexes: Vec<usize> = inner.names.values().copied().collect();
        if indexes.is_empty() {
            return;
        }
        let index = indexes[inner.rng.usize(..indexes.len())];
        let length = inner.files[index].current.len();
        let to = inner.rng.usize(..=length);
        inner.files[index].current.truncate(to);
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.0.lock().used_bytes()
    }
}

impl Inner {
    /// One more change, unless the machine is dead.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            Some(0) => Err(broken()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn used_bytes(&self) -> usize {
        self.names.values().map(|index| self.files[*index].current.len()).sum()
    }

    fn fails(&mut self, often: u32) -> bool {
        often > 0 && self.rng.u32(..1000) < often
    }
}

impl Content {
    fn write(&mut self, position: usize, bytes: &[u8]) {
        apply(&mut self.current, position, bytes);
        self.dirty.push((position, bytes.to_vec()));
    }

    /// Of every write that is not synced, any of its sectors are there.
    fn cut_power(&mut self, rng: &mut fastrand::Rng) {
        let mut after = std::mem::take(&mut self.synced);
        if rng.bool() {
            after.resize(self.current.len().max(after.len()), 0);
        }
        // Nothing, anything, or everything of it: the extremes are worth more than their share.
        let odds = [0, 50, 100][rng.usize(..3)];
        for (position, bytes) in self.doomed.iter().chain(&self.dirty) {
            let mut start = 0;
            while start < bytes.len() {
                let sector_end = ((position + start) / SECTOR_BYTES + 1) * SECTOR_BYTES - position;
                let end = sector_end.min(bytes.len());
                if rng.u32(..100) < odds {
                    apply(&mut after, position + start, &bytes[start..end]);
                }
                start = end;
            }
        }
        self.current = after;
    }
}

fn apply(to: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    if to.len() < position + bytes.len() {
        to.resize(position + bytes.len(), 0);
    }
    to[position..position + bytes.len()].copy_from_slice(bytes);
}

fn no_space() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn broken() -> io::Error {
    io::Error::other("simulated I/O error")
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.0.lock();
        inner.change()?;
        let often = inner.faults.create;
        if inner.fails(often) {
            return Err(no_space());
        }
        if inner.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if inner.used_bytes() + usize::try_from(size).unwrap() > inner.capacity_bytes {
            return Err(no_space());
        }
        let current = vec![0; usize::try_from(size).unwrap()];
        inner.files.push(Content { current, ..Content::default() });
        let index = inner.files.len() - 1;
        inner.names.insert(name.to_owned(), index);
        Ok(Arc::new(SimFile { disk: self.clone(), index, generation: inner.generation }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.0.lock();
        let index = *inner.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), index, generation: inner.generation }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.change()?;
        inner.names.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.change()?;
        let often = inner.faults.sync;
        if inner.fails(often) {
            return Err(broken());
        }
        inner.synced_names = inner.names.clone();
        Ok(())
    }
}

impl SimFile {
    fn with<T>(&self, does: impl FnOnce(&mut Inner, usize) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.disk.0.lock();
        assert_eq!(inner.generation, self.generation, "a file of a process that died");
        does(&mut inner, self.index)
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|inner, index| Ok(inner.files[index].current.len() as u64))
    }

    fn read_exact_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        self.with(|inner, index| {
            let often = inner.faults.read;
            if inner.fails(often) {
                return Err(broken());
            }
            let start = usize::try_from(position).unwrap();
            let from = inner.files[index].current.get(start..start + into.len());
            into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_all_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        self.with(|inner, index| {
            inner.change()?;
            let bytes = parts.concat();
            let position = usize::try_from(position).unwrap();
            let often = inner.faults.write;
            if inner.fails(often) {
                let some = inner.rng.usize(..=bytes.len());
                inner.files[index].write(position, &bytes[..some]);
                return Err(if inner.rng.bool() { no_space() } else { broken() });
            }
            let longer = (position + bytes.len()).saturating_sub(inner.files[index].current.len());
            if longer > 0 && inner.used_bytes() + longer > inner.capacity_bytes {
                return Err(no_space());
            }
            inner.files[index].write(position, &bytes);
            Ok(())
        })
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.with(|inner, index| {
            inner.change()?;
            let often = inner.faults.write;
            if inner.fails(often) {
                return Err(broken());
            }
            // A cut that is not synced may be undone by a power cut: `synced` keeps the old length.
            inner.files[index].current.resize(usize::try_from(size).unwrap(), 0);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|inner, index| {
            inner.change()?;
            let often = inner.faults.sync;
            let fails = inner.fails(often);
            let file = &mut inner.files[index];
            if fails {
                let mut doomed = std::mem::take(&mut file.dirty);
                file.doomed.append(&mut doomed);
                return Err(broken());
            }
            let confirmed = std::mem::take(&mut file.dirty);
            file.synced.resize(file.current.len().max(file.synced.len()), 0);
            for (position, bytes) in confirmed {
                apply(&mut file.synced, position, &bytes);
            }
            file.synced.truncate(file.current.len());
            Ok(())
        })
    }
}
