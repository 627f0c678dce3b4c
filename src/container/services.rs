//! What every container of an engine shares.

use super::directory::{self, Directory};
use crate::error::During;
use crate::launch::{IdMap, Launcher};
use crate::network::Networks;
use crate::store::Store;
use crate::value::Name;
use crate::volume::{Volume, VolumeUsers};
use crate::{Error, ErrorKind, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The store, the networks and the launch thread of an engine.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) store: Store,
    pub(crate) networks: Networks,
    pub(crate) launcher: Arc<Launcher>,
}

impl Services {
    /// Opens the store and starts the launch thread.
    pub(crate) fn open(root: &Path, run: &Path) -> Result<Arc<Services>> {
        let store = Store::open(root, run)?;
        let networks = Networks::new(store.root(), run);
        Ok(Arc::new(Services { store, networks, launcher: Launcher::new()? }))
    }

    /// The named volume, which may not exist yet.
    pub(crate) fn volume(self: &Arc<Self>, name: Name) -> Volume {
        Volume::new(&self.store, self.clone(), name)
    }

    /// Where containers are: one directory each, by id.
    pub(crate) fn containers(&self) -> PathBuf {
        self.store.root().join("containers")
    }

    /// Where what is attached to a living process is noted: one directory each, by id.
    pub(crate) fn attached(&self) -> PathBuf {
        self.store.run().join("attached")
    }

    /// Held while a directory is made and locked (shared), or while what nobody has locked is removed (exclusive): so
    /// that a directory that is about to be locked is not taken for one whose owner died.
    pub(crate) fn birth_lock(&self, exclusive: bool) -> Result<File> {
        self.lock("birth.lock", exclusive)
    }

    /// Held while room on the machine is looked for and taken: what one is promised no other is.
    pub(crate) fn admission_lock(&self) -> Result<File> {
        self.lock("admission.lock", true)
    }

    fn lock(&self, name: &str, exclusive: bool) -> Result<File> {
        let path = self.store.run().join(name);
        let operation = || format!("lock {}", path.display());
        let file = File::options().create(true).truncate(false).write(true).open(&path).during(operation)?;
        loop {
            match if exclusive { file.lock() } else { file.lock_shared() } {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                locked => return locked.map(|()| file).during(operation),
            }
        }
    }

    /// The id map with which containers run here: none for root.
    pub(crate) fn id_map(&self) -> Option<IdMap> {
        (!nix::unistd::geteuid().is_root()).then(IdMap::current_user)
    }
}

impl VolumeUsers for Services {
    fn users_of(&self, volume: &Name) -> Result<Vec<String>> {
        let mut users = Vec::new();
        for id in directory::list(self)? {
            let specification = match Directory::of(self, &id).specification() {
                // Removed since the list was read.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                specification => specification?,
            };
            if specification.mounts.iter().any(|mount| mount.volume() == Some(volume.as_str())) {
                users.push(specification.name.map_or_else(|| id.to_string(), |name| name.to_string()));
            }
        }
        Ok(users)
    }
}

/// What an ordinary user cannot have.
pub(crate) fn needs_root(what: &str, hint: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} needs root")).hint(hint)
}
