//! Root directories of containers without a mount namespace of their own: what is mounted over them is the caller's, and
//! stays until somebody takes it away.

use super::config::Config;
use crate::Result;
use crate::error::During;
use crate::kernel::mount_id;
use nix::mount::{MntFlags, umount2};
use oci_spec::runtime::LinuxNamespaceType;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a root directory showed before the container began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bare {
    /// The mount it lies on.
    mount: u64,
    /// The mount namespace, by its inode.
    namespace: u64,
}

/// The most mounts over one another that a container leaves: its root, and what it lies on.
const LAYERS: u32 = 2;

impl Bare {
    /// Of the root directory of a container that will mount over it.
    pub(super) fn of(config: &Config, root: &Path) -> Result<Option<Bare>> {
        let mut namespaces = config.spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
        if namespaces.any(|namespace| namespace.typ() == LinuxNamespaceType::Mount) {
            return Ok(None);
        }
        let mount = mount_id(root).during(|| format!("look at root.path {}", root.display()))?;
        Ok(Some(Bare { mount, namespace: own_namespace()? }))
    }

    /// Unmounts what the container has left over it, if this is the namespace it began in.
    pub(super) fn uncover(self, root: &Path) -> Result<()> {
        if own_namespace()? != self.namespace {
            return Ok(());
        }
        for _ in 0..LAYERS {
            if mount_id(root).is_ok_and(|mount| mount == self.mount) {
                return Ok(());
            }
            let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
            match umount2(root, flags) {
                // Nothing is mounted there, or the directory is gone.
                Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => return Ok(()),
                other => other.during(|| format!("unmount what is left over root.path {}", root.display()))?,
            }
        }
        Ok(())
    }
}

fn own_namespace() -> Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/mnt").during(|| "look at the mount namespace")?.ino())
}
