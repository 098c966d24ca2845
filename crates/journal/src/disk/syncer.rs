//! Syncing from time to time, where appends are acknowledged before.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::disk::io::DiskFile;

/// Syncs the file that is being written, from time to time.
pub(crate) struct Syncer {
    shared: Arc<Mutex<Syncing>>,
    end: Arc<(Mutex<bool>, Condvar)>,
}

#[derive(Default)]
struct Syncing {
    file: Option<Arc<dyn DiskFile>>,
    written: bool,
    /// A sync of this file failed: what it did not keep, a later one would not either.
    failed: bool,
}

impl Syncer {
    pub(crate) fn start(interval: Duration) -> Syncer {
        let shared = Arc::new(Mutex::new(Syncing::default()));
        let end = Arc::new((Mutex::new(false), Condvar::new()));
        let syncer = Syncer { shared: Arc::clone(&shared), end: Arc::clone(&end) };
        std::thread::spawn(move || {
            let (ended, wake) = &*end;
            let mut ended = ended.lock();
            while !*ended {
                wake.wait_for(&mut ended, interval);
                let file = {
                    let mut syncing = shared.lock();
                    let due = std::mem::take(&mut syncing.written);
                    syncing.file.clone().filter(|_| due)
                };
                if file.is_some_and(|file| file.sync().is_err()) {
                    shared.lock().failed = true;
                }
            }
        });
        syncer
    }

    pub(crate) fn watch(&self, file: Arc<dyn DiskFile>) {
        *self.shared.lock() = Syncing { file: Some(file), written: true, failed: false };
    }

    pub(crate) fn has_failed(&self) -> bool {
        std::mem::take(&mut self.shared.lock().failed)
    }

    pub(crate) fn written(&self) {
        self.shared.lock().written = true;
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        *self.end.0.lock() = true;
        self.end.1.notify_one();
    }
}
