//! The durable steps: synchronise, rename, synchronise the directory.

use super::{Store, scratch};
use crate::Result;
use crate::error::During;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces the small file `path` by `bytes` in one step: temporary, fsync, rename, fsync of the directory.
pub(super) fn write_record(store: &Store, path: &Path, bytes: &[u8]) -> Result<()> {
    let operation = || format!("write {}", path.display());
    let mut file = scratch::file(store)?;
    file.write_all(bytes).during(operation)?;
    step("record written");
    file.sync_all().during(operation)?;
    step("record synchronised");
    fs::rename(file.path(), path).during(operation)?;
    file.disarm();
    step("record renamed");
    sync_parent(path)
}

/// Writes a small file that its directory's own synchronisation makes durable.
pub(super) fn write_through(path: &Path, bytes: &[u8]) -> Result<()> {
    let operation = || format!("write {}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).during(operation)?;
    file.write_all(bytes).during(operation)
}

/// Makes the entries of the directory that holds `path` durable.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let result = File::open(parent).and_then(|directory| directory.sync_all());
    step("directory synchronised");
    result.during(|| format!("synchronise {}", parent.display()))
}

/// Marks a point at which a crash must leave the store in its old or its new state; tests end the process at each.
pub(super) fn step(_name: &'static str) {
    #[cfg(test)]
    tests::reached(_name);
}

#[cfg(test)]
mod tests;
