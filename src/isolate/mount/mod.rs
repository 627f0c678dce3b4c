//! The file system of a runtime-spec configuration: root, mounts in their order, devices, masked and read-only paths.

use super::root::{Root, lower_pivot, lower_root};
use crate::plan::{Builder, Slot};
use crate::{Error, Result};
use oci_spec::runtime::Spec;
use std::path::Path;

/// What the file system of a container depends on beside its configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The absolute path of the bundle, to which relative paths of the configuration belong.
    pub(crate) bundle: &'a Path,
    /// Whether the mounts are made in a user namespace of the container's.
    pub(crate) user_namespace: bool,
    /// Whether the network namespace is the container's own: only then can a fresh sysfs be mounted in a user namespace.
    pub(crate) own_network: bool,
    /// Whether the control group namespace is the container's own.
    pub(crate) own_cgroup_namespace: bool,
    /// The container's group in each hierarchy: directories of the host.
    pub(crate) cgroups: &'a [std::path::PathBuf],
    /// `--no-pivot`: move the root over the host's and chroot, for a host that runs from an initramfs.
    pub(crate) no_pivot: bool,
}

/// Lowers everything from cutting propagation to the sealed root (phases Enter to Seal). `before_pivot` adds what runs
/// when all is mounted and the host's root is still in sight (hooks, the terminal); it gets the slot of the root.
pub(crate) fn lower_filesystem(
    plan: &mut Builder,
    spec: &Spec,
    surroundings: &Surroundings<'_>,
    before_pivot: impl FnOnce(&mut Builder, Slot) -> Result<()>,
) -> Result<()> {
    let root = spec.root().as_ref().ok_or_else(|| Error::invalid("root is missing"))?;
    let path = surroundings.bundle.join(root.path());
    let slot = lower_root(plan, &Root::Directory(path), surroundings.user_namespace)?;
    super::lower_proc(plan, slot);
    before_pivot(plan, slot)?;
    lower_pivot(plan, slot, root.readonly().unwrap_or(false));
    Ok(())
}
