//! A file that is locked by the process that writes what lies beside it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Locks a file, which is made if it is not there, for as long as this process lives and keeps it
/// open; `None` if another process has locked it.
pub(crate) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).append(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        // Some file systems of clusters have no locks.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            Ok(Some(file))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}
