//! What is being made: files and directories below `tmp`, each locked by its owner, removed on drop.

use super::Store;
use super::lock::{Lock, try_own};
use crate::error::During;
use crate::kernel::{self, remove_tree};
use crate::{Error, Result};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A temporary file; gone on drop unless it was renamed and disarmed.
#[derive(Debug)]
pub(super) struct ScratchFile {
    file: File,
    path: PathBuf,
    armed: bool,
}

/// A temporary directory; gone on drop with all it holds, and with the next opening of the store where its owner died.
#[derive(Debug)]
pub(crate) struct ScratchDirectory {
    path: PathBuf,
    _lock: File,
}

/// Makes an empty temporary file, mode 0600.
pub(super) fn file(store: &Store) -> Result<ScratchFile> {
    let _lock = Lock::scratch(store, false)?;
    let path = fresh_path(store)?;
    let operation = || format!("make temporary file {}", path.display());
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).during(operation)?;
    let scratch = ScratchFile { file, path: path.clone(), armed: true };
    own(&scratch.file).during(operation)?;
    Ok(scratch)
}

/// Makes an empty temporary directory, mode 0700.
pub(super) fn directory(store: &Store) -> Result<ScratchDirectory> {
    let _lock = Lock::scratch(store, false)?;
    let path = fresh_path(store)?;
    let operation = || format!("make temporary directory {}", path.display());
    DirBuilder::new().mode(0o700).create(&path).during(operation)?;
    let lock = File::open(&path).and_then(|directory| own(&directory).map(|()| directory));
    match lock {
        Ok(lock) => Ok(ScratchDirectory { path, _lock: lock }),
        Err(error) => {
            let _ = fs::remove_dir(&path);
            Err(error).during(operation)
        }
    }
}

/// Removes what dead processes left in `tmp`.
pub(super) fn recover(store: &Store) -> Result<()> {
    let _lock = Lock::scratch(store, true)?;
    let tmp = store.root().join("tmp");
    let operation = || format!("clean {}", tmp.display());
    let directory = File::open(&tmp).during(operation)?;
    for entry in fs::read_dir(&tmp).during(operation)? {
        let entry = entry.during(operation)?;
        // Only what this module makes can be here; anything else cannot be locked and is left for a person.
        let kind = entry.file_type().during(operation)?;
        if !kind.is_file() && !kind.is_dir() {
            continue;
        }
        let file = match File::open(entry.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.during(operation)?,
        };
        if try_own(&file).during(operation)? {
            remove_tree(directory.as_fd(), Path::new(&entry.file_name()))
                .during(|| format!("remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

impl ScratchFile {
    /// Where it is until it is renamed.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes data and metadata to the disk.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Says that the file was renamed: nothing is left to remove.
    pub(super) fn disarm(&mut self) {
        self.armed = false;
    }
}

impl io::Write for ScratchFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        if self.armed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl ScratchDirectory {
    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        let Some((parent, name)) = self.path.parent().zip(self.path.file_name()) else { return };
        if let Ok(parent) = File::open(parent) {
            let _ = remove_tree(parent.as_fd(), Path::new(name));
        }
    }
}

fn fresh_path(store: &Store) -> Result<PathBuf> {
    let mut bytes = [0; 16];
    kernel::random(&mut bytes)?;
    Ok(store.root().join("tmp").join(format!("{:032x}", u128::from_ne_bytes(bytes))))
}

fn own(file: &File) -> io::Result<()> {
    if try_own(file)? { Ok(()) } else { Err(io::Error::other(Error::invalid("a fresh file is locked by another"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dead_owners_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let run = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), run.path()).unwrap();
        let alive = (file(&store).unwrap(), directory(&store).unwrap());
        let dead = root.path().join("tmp/dead");
        fs::create_dir_all(dead.join("a/b")).unwrap();
        fs::write(root.path().join("tmp/dead-file"), "x").unwrap();
        Store::open(root.path(), run.path()).unwrap();
        assert!(alive.0.path().exists() && alive.1.path().exists());
        assert!(!dead.exists() && !root.path().join("tmp/dead-file").exists());
        drop(alive);
        assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
    }
}
