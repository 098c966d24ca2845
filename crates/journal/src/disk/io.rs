//! The little that the journal asks of a file system, so that a simulated one can stand in its place.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// A directory of files.
pub trait Disk: Send + Sync + 'static {
    /// The names of all files.
    ///
    /// # Errors
    /// As the file system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of `size` bytes of zeros, for reading and writing, with its space allocated where the file system
    /// can do that.
    ///
    /// # Errors
    /// As the file system says; `AlreadyExists`, and `StorageFull` where there is no room for it.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// As the file system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Removes a file. Whoever has it open can still read it.
    ///
    /// # Errors
    /// As the file system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names of files that were created survive a power cut.
    ///
    /// # Errors
    /// As the file system says.
    fn sync_names(&self) -> io::Result<()>;

    /// Lets other processes have it: nothing is written any more.
    fn release(&self) {}
}

/// One file.
pub trait DiskFile: Send + Sync + 'static {
    /// Its size in bytes.
    ///
    /// # Errors
    /// As the file system says.
    fn size(&self) -> io::Result<u64>;

    /// Reads exactly as many bytes as `into` has.
    ///
    /// # Errors
    /// As the file system says; `UnexpectedEof` where the file ends before.
    fn read_exact_at(&self, into: &mut [u8], position: u64) -> io::Result<()>;

    /// Writes all parts, one behind the other. After an error, any of it may have been written.
    ///
    /// # Errors
    /// As the file system says.
    fn write_all_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()>;

    /// Cuts the file, or makes it longer with zeros.
    ///
    /// # Errors
    /// As the file system says.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Makes everything that was written survive a power cut.
    ///
    /// # Errors
    /// As the file system says. What was written since the last success may or may not survive.
    fn sync(&self) -> io::Result<()>;
}

/// A real directory, locked against other processes until it is released or dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// `None` where it was opened only to look, and once it was released.
    lock: Mutex<Option<File>>,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error(
        "another process uses the journal in {}: stop it, or give this one a directory of its own",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("cannot {what} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
}

const LOCK_FILE: &str = "lock";

impl Directory {
    /// Opens a directory for one process, and makes it if it is not there: mode 0700, files 0600.
    ///
    /// # Errors
    /// Another process that has it, and what the file system says.
    pub fn lock(path: &Path) -> Result<Directory, DirectoryError> {
        let error = |what, path: &Path| {
            let path = path.to_owned();
            move |cause| DirectoryError::Io { what, path, cause }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error("make the directory", path))?;
        // A directory that was there before, perhaps for the Collector, is closed to others as well.
        let mode = fs::metadata(path).map_err(error("look at", path))?.permissions().mode();
        if mode & 0o777 != 0o700 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(error("protect", path))?;
        }
        let lock_path = path.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        // What a file system holds that was made read-only can still be delivered.
        let lock = options.open(&lock_path).or_else(|error| match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => File::open(&lock_path),
            _ => Err(error),
        });
        let lock = lock.map_err(error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Directory { path: path.to_owned(), lock: Mutex::new(Some(lock)) }),
            Err(TryLockError::WouldBlock) => Err(DirectoryError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(error("lock", &lock_path)(cause)),
        }
    }

    /// Opens a directory to look into it, whoever else uses it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn look(path: &Path) -> Result<Directory, DirectoryError> {
        let what = "read the directory";
        fs::read_dir(path).map_err(|cause| DirectoryError::Io { what, path: path.to_owned(), cause })?;
        Ok(Directory { path: path.to_owned(), lock: Mutex::new(None) })
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.create_new(true).read(true).write(true).mode(0o600);
        let file = options.open(self.path.join(name))?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size) {
            Ok(()) => {}
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size)?,
            Err(error) => {
                // Best effort: a file without its space is of no use, and the next try takes another name.
                let _ = fs::remove_file(self.path.join(name));
                return Err(error.into());
            }
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let writable = OpenOptions::new().read(true).write(self.lock.lock().is_some()).open(&path);
        // A file system that was made read-only can still be delivered from.
        let file = writable.or_else(|_| OpenOptions::new().read(true).open(&path))?;
        Ok(Arc::new(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn release(&self) {
        self.lock.lock().take();
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, into, position)
    }

    fn write_all_at(&self, parts: &[&[u8]], mut position: u64) -> io::Result<()> {
        /// What the kernel takes in one call.
        const PARTS_MAX: usize = 1024;
        let mut slices: Vec<IoSlice<'_>> =
            parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            let now = left.len().min(PARTS_MAX);
            let written = match rustix::io::pwritev(self, &left[..now], position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            position += written as u64;
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
