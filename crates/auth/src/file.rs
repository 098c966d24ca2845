//! Files that hold a secret text, read again when they change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{CredentialsError, Secret};

/// How often a credentials file is looked at, at most.
pub(crate) const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// More than this of a file is no password and no list of tokens.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A file with a secret text. What it says is at most [`FILE_CHECK_INTERVAL`] old.
#[derive(Debug)]
pub(crate) struct SecretFile {
    path: PathBuf,
    state: Mutex<(Secret, Instant)>,
}

impl SecretFile {
    pub(crate) fn new(path: &Path) -> Result<SecretFile, CredentialsError> {
        let text = read_secret(path)?;
        Ok(SecretFile { path: path.to_owned(), state: Mutex::new((text, Instant::now())) })
    }

    /// A file that cannot be read again leaves what it said last in use: it may be about to be replaced.
    pub(crate) fn with_text<T>(&self, use_text: impl FnOnce(&str) -> T) -> T {
        let mut state = self.state.lock();
        let now = Instant::now();
        if now.duration_since(state.1) >= FILE_CHECK_INTERVAL {
            state.1 = now;
            match read_secret(&self.path) {
                Ok(text) => state.0 = text,
                Err(error) => tracing::warn!(%error, "the previous credentials stay in use"),
            }
        }
        use_text(state.0.expose())
    }

    /// The first line, without the white space around it.
    pub(crate) fn first_line(&self) -> Secret {
        self.with_text(|text| Secret::new(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()))
    }
}

pub(crate) fn read_secret(path: &Path) -> Result<Secret, CredentialsError> {
    let failed = |cause: String| CredentialsError::Read { path: path.to_owned(), cause };
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(failed(format!("it holds {size} bytes, and credentials have at most {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    if text.trim().is_empty() {
        return Err(CredentialsError::Empty(path.display().to_string()));
    }
    Ok(Secret::new(text))
}
