//! Locks between threads and processes: flock(2) on files of the store, gone with the process that holds them.

use super::Store;
use crate::Result;
use crate::error::During;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A held lock; released on drop.
///
/// Every lock opens its file anew: flock belongs to the open file, so two threads that shared one would share the lock.
/// Order: [`Lock::content`], then [`Lock::index`], then [`Lock::scratch`].
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Shared: something of the store is looked up, used or made visible. Exclusive: the garbage collector decides.
    pub(super) fn content(store: &Store, exclusive: bool) -> Result<Lock> {
        Lock::take(&store.root().join("content.lock"), exclusive)
    }

    /// Exclusive: `index.json` is rewritten from the records.
    pub(super) fn index(store: &Store) -> Result<Lock> {
        Lock::take(&store.root().join("index.lock"), true)
    }

    /// Shared: something is made in `tmp` or `leases` and not locked yet. Exclusive: what dead owners left is removed.
    pub(super) fn scratch(store: &Store, exclusive: bool) -> Result<Lock> {
        Lock::take(&store.root().join("scratch.lock"), exclusive)
    }

    fn take(path: &Path, exclusive: bool) -> Result<Lock> {
        let operation = || format!("lock {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .during(operation)?;
        loop {
            let locked = if exclusive { file.lock() } else { file.lock_shared() };
            match locked {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other.during(operation).map(|()| Lock { _file: file }),
            }
        }
    }
}

/// Locks `file` for its owner; `false` where a live process holds it.
pub(super) fn try_own(file: &File) -> std::io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
