//! Named volumes: directories that outlive the containers that mount them, with snapshots of their content.
//!
//! ```text
//! <root>/volumes/<name>/
//!   volume.json               the record; durable before the volume has its name
//!   content/data/             what containers see; `content` is exchanged as a whole
//!   gate.lock                 held for the moment of a mount, and while the content is copied or exchanged
//!   use.lock                  held (shared) by every container that mounts it, in its keeper or its host
//!   snapshots/<label>/        snapshot.json and data/, complete from the moment it has its name
//! ```
//!
//! Everything is made in the store's `tmp`, synchronised, then renamed into its place; what is taken away is renamed into
//! `tmp` first. New content is exchanged with the old in one rename. So after a crash a volume has either its old or its
//! new content, and what was half-made goes with the next opening of the store.

mod content;
mod copy;
mod directory;
mod snapshot;
#[cfg(test)]
mod tests;

pub(crate) use directory::{Mounted, list, mount};
pub use snapshot::VolumeSnapshot;

use crate::store::Store;
use crate::value::{Name, Timestamp};
use crate::{Error, ErrorKind, Result};
use directory::{Directory, Locked, Record};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A named volume, which may or may not exist yet; see [`Engine::volume`](crate::Engine::volume).
///
/// Containers mount it with [`ContainerBuilder::volume`](crate::ContainerBuilder::volume), which makes it where it is
/// missing; an empty one takes over what the image has at the mount point, with owners and modes. Usable from any thread
/// and several processes at once.
#[derive(Clone)]
pub struct Volume {
    directory: Directory,
    users: Arc<dyn VolumeUsers>,
    labels: BTreeMap<String, String>,
}

/// What is on record of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeDetails {
    /// Its name.
    pub name: Name,
    /// When it was made.
    pub created: Timestamp,
    /// The labels it was given.
    pub labels: BTreeMap<String, String>,
    /// The directory with its content, on the host.
    pub path: PathBuf,
}

/// Who knows which containers mount a volume: the room of containers, which stands above this one.
pub(crate) trait VolumeUsers: Send + Sync {
    /// The containers on record that mount `volume`, ended ones too, as people call them.
    fn users_of(&self, volume: &Name) -> Result<Vec<String>>;
}

impl Volume {
    pub(crate) fn new(store: &Store, users: Arc<dyn VolumeUsers>, name: Name) -> Volume {
        Volume { directory: Directory::of(store, name), users, labels: BTreeMap::new() }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        self.directory.name()
    }

    /// A label for [`create`](Self::create): free text by key, inert.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Volume {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Makes it where it is missing; one that is there stays as it is, with its labels.
    ///
    /// # Errors
    /// What writing below the root reports.
    pub fn create(self) -> Result<Volume> {
        self.directory.create(&self.labels)?;
        Ok(self)
    }

    /// What is on record of it.
    ///
    /// # Errors
    /// `NotFound` where it does not exist.
    pub fn inspect(&self) -> Result<VolumeDetails> {
        let Record { name, created, labels, .. } = self.directory.record()?;
        Ok(VolumeDetails { name, created, labels, path: self.directory.data() })
    }

    /// Whether it exists.
    ///
    /// # Errors
    /// `Corrupt` where its record is damaged, and what reading reports.
    pub fn exists(&self) -> Result<bool> {
        match self.directory.record() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            read => read.map(|_| true),
        }
    }

    /// Removes it with its content and its snapshots.
    ///
    /// # Errors
    /// `InUse` while a container on record mounts it, running or ended; `NotFound` where it does not exist.
    pub fn remove(&self) -> Result<()> {
        let locked = self.unused("remove")?;
        if let [user, ..] = self.users.users_of(self.name())?.as_slice() {
            return Err(self.in_use("remove", Some(user)).hint("remove the container first"));
        }
        locked.remove()
    }

    /// Keeps a copy of its content under `label`: owners, modes, times, links, extended attributes and holes with it, and
    /// the blocks shared where the file system can. Sockets are left out.
    ///
    /// # Errors
    /// `InUse` while a container that mounts it runs, since a copy of files that are being written is worth nothing;
    /// `AlreadyExists` where the label is taken, `InvalidInput` where it is malformed.
    pub fn snapshot(&self, label: &str) -> Result<VolumeSnapshot> {
        let label = label.parse()?;
        snapshot::take(&self.unused("take a snapshot of")?, &label)
    }

    /// Its snapshots, the oldest first.
    ///
    /// # Errors
    /// `NotFound` where it does not exist.
    pub fn snapshots(&self) -> Result<Vec<VolumeSnapshot>> {
        self.directory.record()?;
        snapshot::list(&self.directory)
    }

    /// Gives it the content of the snapshot `label`, which stays. A crash leaves either the old or the new content.
    ///
    /// # Errors
    /// `InUse` while a container that mounts it runs; `NotFound` where there is no such snapshot.
    pub fn restore(&self, label: &str) -> Result<()> {
        let label = label.parse()?;
        snapshot::restore(&self.unused("restore")?, &label)
    }

    /// Removes the snapshot `label`.
    ///
    /// # Errors
    /// `NotFound` where there is no such snapshot.
    pub fn remove_snapshot(&self, label: &str) -> Result<()> {
        let label = label.parse()?;
        snapshot::remove(&self.directory.lock()?, &label)
    }

    /// Locked so that no container mounts it now and none will until the lock is dropped.
    fn unused(&self, verb: &'static str) -> Result<Locked> {
        let locked = self.directory.lock()?;
        if locked.try_exclude_users()? {
            return Ok(locked);
        }
        let users = self.users.users_of(self.name())?;
        Err(self.in_use(verb, users.first()).hint("stop the container first"))
    }

    fn in_use(&self, verb: &str, user: Option<&String>) -> Error {
        let user = user.map_or("a container".to_owned(), |user| format!("container {user}"));
        Error::new(ErrorKind::InUse, format!("{verb} volume {}: {user} uses it", self.name()))
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume").field("name", self.name()).finish_non_exhaustive()
    }
}

/// Marks a point at which a crash must leave a volume with its old or its new content; tests end the process at each.
fn step(_name: &'static str) {
    #[cfg(test)]
    tests::crash::reached(_name);
}
