//! What every container of an engine shares.

use crate::launch::{IdMap, Launcher};
use crate::network::Networks;
use crate::store::Store;
use crate::{Error, ErrorKind, Result};
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

    /// Where containers are: one directory each, by id.
    pub(crate) fn containers(&self) -> PathBuf {
        self.store.root().join("containers")
    }

    /// Where what is attached to a living process is noted: one directory each, by id.
    pub(crate) fn attached(&self) -> PathBuf {
        self.store.run().join("attached")
    }

    /// The id map with which containers run here: none for root.
    pub(crate) fn id_map(&self) -> Option<IdMap> {
        (!nix::unistd::geteuid().is_root()).then(IdMap::current_user)
    }
}

/// What an ordinary user cannot have.
pub(crate) fn needs_root(what: &str, hint: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} needs root")).hint(hint)
}
