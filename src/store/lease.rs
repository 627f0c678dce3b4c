//! What the garbage collector must keep: leases for the life of a process, pins for longer.

use super::durable::{step, sync_parent, write_record};
use super::lock::{Lock, try_own};
use super::scratch;
use super::{Store, VERSION};
use crate::error::During;
use crate::{Digest, Error, ErrorKind, Name, Result};
use nix::sys::stat::UtimensatFlags;
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// While held, the garbage collector removes no blob or layer that was made, found or used since it was taken.
///
/// It is a locked file, so it ends with the process at the latest.
#[derive(Debug)]
pub(crate) struct Lease {
    path: PathBuf,
    _file: File,
}

/// Durable records that keep blobs and layers which no tag leads to: those of a container, of a build's cache.
pub(crate) struct Pins<'store>(&'store Store);

/// What a pin's file holds.
#[derive(Serialize, Deserialize)]
struct Pin {
    version: u32,
    digests: Vec<Digest>,
}

impl Lease {
    pub(super) fn take(store: &Store) -> Result<Lease> {
        let _lock = Lock::scratch(store, false)?;
        let mut bytes = [0; 16];
        crate::kernel::random(&mut bytes)?;
        let path = store.root().join("leases").join(format!("{:032x}", u128::from_ne_bytes(bytes)));
        let operation = || format!("take lease {}", path.display());
        let file = File::create_new(&path).during(operation)?;
        if !try_own(&file).during(operation)? {
            return Err(Error::new(ErrorKind::InUse, format!("lease {} is locked by another", path.display())));
        }
        Ok(Lease { path, _file: file })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl<'store> Pins<'store> {
    pub(super) fn new(store: &'store Store) -> Pins<'store> {
        Pins(store)
    }

    /// Keeps the blobs and layers (by diff id) named by `digests` until [`release`](Pins::release); replaces an earlier
    /// pin of the same name.
    pub(crate) fn hold(&self, name: &Name, digests: &[Digest]) -> Result<()> {
        let pin = Pin { version: VERSION, digests: digests.to_vec() };
        let bytes = serde_json::to_vec(&pin)
            .map_err(|error| Error::invalid(format!("pin {name} cannot be written")).source_error(error))?;
        let _lock = Lock::content(self.0, false)?;
        write_record(self.0, &self.path(name), &bytes)
    }

    /// Ends the pin; `false` where there was none.
    pub(crate) fn release(&self, name: &Name) -> Result<bool> {
        let path = self.path(name);
        let _lock = Lock::content(self.0, false)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.during(|| format!("remove {}", path.display()))?,
        }
        step("pin removed");
        sync_parent(&path)?;
        Ok(true)
    }

    /// Everything that is pinned.
    pub(super) fn digests(&self) -> Result<Vec<Digest>> {
        let directory = self.0.root().join("pins");
        let mut digests = Vec::new();
        for entry in fs::read_dir(&directory).during(|| format!("list {}", directory.display()))? {
            let path = entry.during(|| format!("list {}", directory.display()))?.path();
            let bytes = fs::read(&path).during(|| format!("read {}", path.display()))?;
            let pin: Pin = serde_json::from_slice(&bytes).map_err(|error| {
                Error::new(ErrorKind::Corrupt, format!("read {}", path.display())).source_error(error)
            })?;
            digests.extend(pin.digests);
        }
        Ok(digests)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.0.root().join("pins").join(format!("{name}.json"))
    }
}

/// Counts `path` as used now.
pub(super) fn touch(path: &Path) -> Result<()> {
    nix::sys::stat::utimensat(
        nix::fcntl::AT_FDCWD,
        path,
        &TimeSpec::UTIME_OMIT,
        &TimeSpec::UTIME_NOW,
        UtimensatFlags::NoFollowSymlink,
    )
    .during(|| format!("use {}", path.display()))
}

/// The time before which nothing that is unreferenced may be in use: that of the oldest live lease, else now. Both are
/// the file system's time, as are the times of use.
pub(super) fn horizon(store: &Store) -> Result<SystemTime> {
    let now = scratch::file(store)?;
    let mut horizon = modified(now.path())?;
    let _lock = Lock::scratch(store, true)?;
    for (path, alive) in leases(store)? {
        if alive {
            horizon = horizon.min(modified(&path).unwrap_or(SystemTime::UNIX_EPOCH));
        }
    }
    Ok(horizon)
}

/// Removes the leases of dead processes.
pub(super) fn recover(store: &Store) -> Result<()> {
    let _lock = Lock::scratch(store, true)?;
    for (path, alive) in leases(store)? {
        if !alive {
            fs::remove_file(&path).during(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn leases(store: &Store) -> Result<Vec<(PathBuf, bool)>> {
    let directory = store.root().join("leases");
    let operation = || format!("list {}", directory.display());
    let mut leases = Vec::new();
    for entry in fs::read_dir(&directory).during(operation)? {
        let path = entry.during(operation)?.path();
        match File::open(&path) {
            Ok(file) => leases.push((path, !try_own(&file).during(operation)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).during(operation),
        }
    }
    Ok(leases)
}

fn modified(path: &Path) -> Result<SystemTime> {
    fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).during(|| format!("inspect {}", path.display()))
}
