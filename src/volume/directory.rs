//! A volume's directory: its record, its locks, how it comes and goes, how a container holds it.

use super::{content, step};
use crate::error::During;
use crate::kernel::rename_no_replace;
use crate::store::{MergedView, Store};
use crate::value::{Name, Timestamp};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where a volume is or would be.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    store: Store,
    name: Name,
}

/// What `volume.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) name: Name,
    pub(super) created: Timestamp,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

/// A volume whose gate is held: nobody else mounts, copies, exchanges or removes it until this is dropped.
#[derive(Debug)]
pub(super) struct Locked {
    directory: Directory,
    _gate: File,
    usage: File,
}

/// A volume that is held for a container: while the descriptor (or a duplicate of it, in a keeper) is open, its content
/// is neither exchanged nor removed.
#[derive(Debug)]
pub(crate) struct Mounted {
    /// What to bind.
    pub(crate) path: PathBuf,
    /// The open lock.
    pub(crate) held: OwnedFd,
}

/// Holds the volume `name` for a container of the image `view`, which mounts it at `target`. It is made where it is
/// missing, and where it is empty and nobody else mounts it, it takes over what the image has there.
pub(crate) fn mount(store: &Store, name: &Name, view: &MergedView, target: &Path) -> Result<Mounted> {
    let directory = Directory::of(store, name.clone());
    let locked = loop {
        directory.create(&BTreeMap::new())?;
        match directory.lock() {
            // Removed in between.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            locked => break locked?,
        }
    };
    if locked.try_exclude_users()? && locked.is_empty()? {
        content::take_over(&locked, view, target)?;
    }
    lock(&locked.usage, false).during(|| format!("lock volume {name}"))?;
    let held = locked.usage.try_clone().during(|| format!("lock volume {name}"))?;
    Ok(Mounted { path: directory.data(), held: held.into() })
}

/// The names of all volumes, in order.
pub(crate) fn list(store: &Store) -> Result<Vec<Name>> {
    let parent = store.root().join("volumes");
    let entries = match fs::read_dir(&parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.during(|| format!("read {}", parent.display()))?,
    };
    let mut names: Vec<Name> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort();
    Ok(names)
}

impl Directory {
    pub(super) fn of(store: &Store, name: Name) -> Directory {
        Directory { store: store.clone(), name }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    pub(super) fn path(&self) -> PathBuf {
        self.parent().join(self.name.as_str())
    }

    /// What containers see.
    pub(super) fn data(&self) -> PathBuf {
        self.content().join("data")
    }

    /// What is exchanged as a whole: `data`, whose mode may forbid an ordinary user to rename it, within a directory of the
    /// engine's own.
    pub(super) fn content(&self) -> PathBuf {
        self.path().join("content")
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.path().join("snapshots")
    }

    fn parent(&self) -> PathBuf {
        self.store.root().join("volumes")
    }

    /// What is on record; `NotFound` where there is no such volume.
    pub(super) fn record(&self) -> Result<Record> {
        let path = self.path().join("volume.json");
        match read_record::<Record>(&path)? {
            Some(record) if record.version == 1 => Ok(record),
            Some(record) => {
                let version = record.version;
                let message = format!("volume {} was made by a newer version (form {version})", self.name);
                Err(Error::new(ErrorKind::Unsupported, message))
            }
            None => Err(self.not_found()),
        }
    }

    /// Makes the volume where it is missing.
    pub(super) fn create(&self, labels: &BTreeMap<String, String>) -> Result<()> {
        if self.path().join("volume.json").exists() {
            return Ok(());
        }
        let operation = || format!("make volume {}", self.name);
        DirBuilder::new().mode(0o700).recursive(true).create(self.parent()).during(operation)?;
        let aside = self.store.scratch()?;
        let new = aside.path().join("volume");
        for directory in [&new, &new.join("content"), &new.join("content/data"), &new.join("snapshots")] {
            DirBuilder::new().mode(0o700).create(directory).during(operation)?;
        }
        // Containers of any user enter it; what is above it is private.
        fs::set_permissions(new.join("content/data"), fs::Permissions::from_mode(0o755)).during(operation)?;
        for name in ["gate.lock", "use.lock"] {
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(new.join(name)).during(operation)?;
        }
        let record = Record { version: 1, name: self.name.clone(), created: Timestamp::now(), labels: labels.clone() };
        write_record(&new.join("volume.json"), &record)?;
        synchronise(&new)?;
        step("volume made");
        match rename_into(&new, &self.path()) {
            // Somebody else was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            renamed => renamed,
        }
    }

    /// Takes the gate, waiting for whoever has it.
    pub(super) fn lock(&self) -> Result<Locked> {
        let operation = || format!("lock volume {}", self.name);
        loop {
            let Some(gate) = self.open_lock("gate.lock")? else { return Err(self.not_found()) };
            lock(&gate, true).during(operation)?;
            // The volume may have been removed, and another one made, while this waited.
            let still = match fs::metadata(self.path().join("gate.lock")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.not_found()),
                metadata => metadata.during(operation)?.ino() == gate.metadata().during(operation)?.ino(),
            };
            if still && let Some(usage) = self.open_lock("use.lock")? {
                return Ok(Locked { directory: self.clone(), _gate: gate, usage });
            }
        }
    }

    fn open_lock(&self, name: &str) -> Result<Option<File>> {
        let path = self.path().join(name);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.during(|| format!("open {}", path.display())).map(Some),
        }
    }

    fn not_found(&self) -> Error {
        Error::new(ErrorKind::NotFound, format!("there is no volume {}", self.name))
    }
}

impl Locked {
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether no container mounts it. None will before this is dropped or holds it as a user.
    pub(super) fn try_exclude_users(&self) -> Result<bool> {
        match self.usage.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error).during(|| format!("lock volume {}", self.directory.name)),
        }
    }

    /// Whether it has no content.
    fn is_empty(&self) -> Result<bool> {
        let data = self.directory.data();
        let mut entries = fs::read_dir(&data).during(|| format!("read {}", data.display()))?;
        Ok(entries.next().is_none())
    }

    /// Removes it with all it holds.
    pub(super) fn remove(self) -> Result<()> {
        let aside = self.directory.store.scratch()?;
        step("before removal");
        let path = self.directory.path();
        fs::rename(&path, aside.path().join("volume")).during(|| format!("remove {}", path.display()))?;
        step("removed");
        synchronise_parent(&path)
    }
}

/// Reads a small record; `None` where there is no such file.
pub(super) fn read_record<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => return Ok(None),
        read => read.during(|| format!("read {}", path.display()))?,
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("{} is malformed", path.display())).source_error(error))
}

/// Writes a record into a directory that has no name yet.
pub(super) fn write_record<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    let operation = || format!("write {}", path.display());
    let text = serde_json::to_vec_pretty(record).map_err(io::Error::from).during(operation)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).during(operation)?;
    file.write_all(&text).during(operation)
}

/// Makes a tree durable. One call for the whole file system: cheaper than one for each of many files.
pub(super) fn synchronise(directory: &Path) -> Result<()> {
    let operation = || format!("synchronise {}", directory.display());
    let file = File::open(directory).during(operation)?;
    nix::unistd::syncfs(&file).during(operation)
}

/// Gives what was made aside its name, durably; `AlreadyExists` where the name is taken.
pub(super) fn rename_into(aside: &Path, path: &Path) -> Result<()> {
    let operation = || format!("make {}", path.display());
    let working = nix::fcntl::AT_FDCWD;
    rename_no_replace(working, aside, working, path).during(operation)?;
    step("renamed");
    synchronise_parent(path)
}

pub(super) fn synchronise_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let operation = || format!("synchronise {}", parent.display());
    File::open(parent).during(operation)?.sync_all().during(operation)
}

/// flock(2), again where a signal interrupts it.
fn lock(file: &File, exclusive: bool) -> io::Result<()> {
    loop {
        match if exclusive { file.lock() } else { file.lock_shared() } {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            locked => return locked,
        }
    }
}

/// Opens a directory of a volume.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd> {
    File::open(path).map(OwnedFd::from).during(|| format!("open {}", path.display()))
}
