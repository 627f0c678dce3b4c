//! The note of an attached container: what it holds, in case its host is killed.

use super::assembly::Holdings;
use super::services::Services;
use crate::Result;
use crate::error::During;
use crate::value::ContainerId;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory that is locked as long as the container's host lives, and removed with the container.
#[derive(Debug)]
pub(crate) struct Note {
    directory: PathBuf,
    _lock: File,
}

impl Note {
    /// Makes the directory of container `id`.
    pub(crate) fn make(services: &Services, id: &ContainerId) -> Result<Note> {
        let parent = services.attached();
        let directory = parent.join(id.as_str());
        let operation = || format!("make {}", directory.display());
        let _birth = services.birth_lock(false)?;
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true).create(&parent).during(operation)?;
        builder.recursive(false).create(&directory).during(operation)?;
        let lock = File::open(&directory).during(operation)?;
        lock.lock().during(operation)?;
        Ok(Note { directory, _lock: lock })
    }

    /// Where it is: for files that go with the container.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Notes what the container holds.
    pub(crate) fn write(&self, holdings: &Holdings) -> Result<()> {
        write_holdings(&self.directory, holdings)
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Undoes what containers of dead hosts hold. They themselves died with their hosts.
pub(crate) fn recover(services: &Arc<Services>) -> Result<()> {
    let parent = services.attached();
    let Ok(entries) = fs::read_dir(&parent) else { return Ok(()) };
    let _birth = services.birth_lock(true)?;
    for entry in entries.flatten() {
        let directory = entry.path();
        let Ok(lock) = File::open(&directory) else { continue };
        // Locked: its host lives.
        if lock.try_lock().is_err() {
            continue;
        }
        undo_lost(services, &directory)?;
        let _ = fs::remove_dir_all(&directory);
    }
    Ok(())
}

/// Undoes what a container of a dead host holds, noted in its directory or not.
pub(super) fn undo_lost(services: &Services, directory: &Path) -> Result<()> {
    let name = directory.file_name().unwrap_or_default();
    let Ok(id) = name.to_string_lossy().parse() else { return Ok(()) };
    read_holdings(directory).unwrap_or_default().complete(services, &id)?.undo(services)
}

/// Writes `holdings.json` into a container's directory, whole or not at all.
pub(crate) fn write_holdings(directory: &Path, holdings: &Holdings) -> Result<()> {
    let path = directory.join("holdings.json");
    let aside = directory.join("holdings.new");
    let operation = || format!("write {}", path.display());
    let text = serde_json::to_vec(holdings).map_err(std::io::Error::from).during(operation)?;
    fs::write(&aside, text).during(operation)?;
    fs::rename(&aside, &path).during(operation)
}

/// What a container's directory says that it holds.
pub(crate) fn read_holdings(directory: &Path) -> Option<Holdings> {
    serde_json::from_slice(&fs::read(directory.join("holdings.json")).ok()?).ok()
}
