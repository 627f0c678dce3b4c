//! The file system of a runtime-spec configuration: root, mounts in their order, devices, masked and read-only paths.

mod cgroup;
mod device;
mod entry;
mod lower;
mod masks;
mod options;
mod propagation;
mod source;
#[cfg(test)]
mod tests;

use super::hooks::HookPoint;
use super::root::lower_pivot;
use crate::launch::IdMap;
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase, Slot};
use crate::{Error, Result};
use entry::{Entry, Kind};
use oci_spec::runtime::Spec;
#[cfg(fuzzing)]
pub(crate) use options::fuzz;
pub(crate) use options::mount_option_names;
use propagation::Cut;
use source::{MapCache, Source};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the file system of a container depends on beside its configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The absolute path of the bundle, to which relative paths of the configuration belong.
    pub(crate) bundle: &'a Path,
    /// Whether the mounts are made in a user namespace of the container's.
    pub(crate) user_namespace: bool,
    /// Whether devices can be made: not in any user namespace, be it the container's or one that the caller is in. Those of
    /// the host are bound then.
    pub(crate) makes_devices: bool,
    /// Whether the network namespace is the container's own: only then can a fresh sysfs be mounted in a user namespace.
    pub(crate) own_network: bool,
    /// Whether the control group namespace is the container's own.
    pub(crate) own_cgroup_namespace: bool,
    /// The container's group in each hierarchy: directories of the host.
    pub(crate) cgroups: &'a [PathBuf],
    /// The id maps of a new user namespace: what id-mapped mounts have where they have none of their own.
    pub(crate) id_map: Option<&'a IdMap>,
    /// Whose mounts they are.
    pub(crate) mounts: MountNamespace,
    /// `--no-pivot`: move the root over the host's and chroot, for a host that runs from an initramfs.
    pub(crate) no_pivot: bool,
}

/// The mount namespace that a container begins in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountNamespace {
    /// Its own, or one that it joins: its root becomes the namespace's.
    Own,
    /// The caller's: everything is mounted over the root directory and stays until it is unmounted there, the root is
    /// changed for the container alone.
    Callers,
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
    let entries = entry::read(spec, surroundings)?;
    let cut = Cut::decide(spec, &entries)?;
    let mut lowering = Lowering::new(surroundings, cut);
    plan.phase(Phase::Enter);
    let own = surroundings.mounts == MountNamespace::Own;
    let below = open_directory(plan, if own { Path::new("/") } else { &path })?;
    let copies = lowering.lower_shared_sources(plan, &entries)?;
    if own {
        cut.lower(plan, below);
    }
    plan.phase(Phase::Mount);
    let name: Arc<str> = format!("root.path {}", path.display()).into();
    lowering.lower_root_copy(plan, &path, &name)?;
    let kit = masks::lower_kit(plan, spec, below, own);
    let place = if own && has_hooks_before_pivot(spec) { open_directory(plan, &path)? } else { below };
    lowering.lower_root(plan, place, &name, kit.is_none() || masks::copies_from_nowhere());
    for (entry, copy) in entries.iter().zip(copies) {
        lowering.lower(plan, entry, copy)?;
    }
    device::lower(plan, spec, &lowering, &entries)?;
    lower_working_directory(plan, spec, lowering.root);
    before_pivot(plan, lowering.root)?;
    masks::lower(plan, spec, &lowering, kit)?;
    lowering.lower_change(plan, below);
    plan.phase(Phase::Seal);
    lowering.lower_seals(plan);
    cut.lower_root(plan, lowering.root);
    if root.readonly().unwrap_or(false) {
        let attributes = libc::MOUNT_ATTR_RDONLY as u32;
        plan.push(OpCode::MountAttributes, &[lowering.root.into(), 0, attributes, 0, 0], "make the root read-only");
    }
    Ok(())
}

/// What one mount needs to know of the others.
struct Lowering<'a> {
    surroundings: &'a Surroundings<'a>,
    root: Slot,
    cut: Cut,
    /// What is mounted on /proc and on /sys.
    proc: Option<Slot>,
    sys: Option<Slot>,
    /// What becomes read-only when everything has been made in it.
    sealed: Vec<(Slot, &'a Entry)>,
    maps: MapCache,
}

impl<'a> Lowering<'a> {
    fn new(surroundings: &'a Surroundings<'a>, cut: Cut) -> Lowering<'a> {
        let (sealed, maps) = (Vec::new(), Vec::new());
        Lowering { surroundings, root: Slot::NONE, cut, proc: None, sys: None, sealed, maps }
    }

    /// Copies sources while they still are peers of the host's mounts, where what is mounted in them is to show there.
    fn lower_shared_sources(&mut self, plan: &mut Builder, entries: &[Entry]) -> Result<Vec<Option<Slot>>> {
        let mut copies = Vec::with_capacity(entries.len());
        for entry in entries {
            let shared = entry.kind == Kind::Bind && entry.is_shared();
            let mut copy = || entry.bind_source().lower(plan, self.surroundings, self.cut, &mut self.maps);
            copies.push(if shared { Some(copy()?) } else { None });
        }
        Ok(copies)
    }

    /// Binds the root directory.
    fn lower_root_copy(&mut self, plan: &mut Builder, path: &Path, name: &Arc<str>) -> Result<()> {
        let source = Source { path, recursive: true, flags: 0, shared: false, name, id_map: None };
        self.root = source.lower(plan, self.surroundings, self.cut, &mut self.maps)?;
        if self.surroundings.mounts == MountNamespace::Callers {
            self.lower_private(plan, name);
        }
        Ok(())
    }

    /// Lays it over the host's root, or over the directory itself. Where it is the `first` to lie there and the mount
    /// there is shared, so is now the root.
    fn lower_root(&self, plan: &mut Builder, place: Slot, name: &Arc<str>, first: bool) {
        plan.push(OpCode::Attach, &[self.root.into(), place.into()], ("attach ", name))
            .hint(libc::ENOTDIR, "it is no directory");
        if self.surroundings.mounts == MountNamespace::Callers && first {
            self.lower_private(plan, name);
        }
    }

    fn lower_private(&self, plan: &mut Builder, name: &Arc<str>) {
        let private = [self.root.into(), 1, 0, 0, libc::MS_PRIVATE as u32];
        plan.push(OpCode::MountAttributes, &private, ("cut off ", name));
    }

    /// Makes the root the process's.
    fn lower_change(&self, plan: &mut Builder, below: Slot) {
        let own = self.surroundings.mounts == MountNamespace::Own;
        if own && !self.surroundings.no_pivot {
            return lower_pivot(plan, self.root, false);
        }
        plan.phase(Phase::Pivot);
        let arguments = [self.root.into(), below.into(), u32::from(own)];
        plan.push(OpCode::ChangeRoot, &arguments, "change the root without letting go of the host's");
    }
}

fn open_directory(plan: &mut Builder, path: &Path) -> Result<Slot> {
    let (slot, text) = (plan.slot(), plan.text(checked(path, "root.path")?));
    let flags = (libc::O_PATH | libc::O_DIRECTORY) as u32;
    plan.push(OpCode::OpenHost, &[text, flags, slot.into()], format!("open the host's {}", path.display()));
    Ok(slot)
}

/// Whether programs of the host run when all is mounted: they look for the mounts at the path of the root.
fn has_hooks_before_pivot(spec: &Spec) -> bool {
    HookPoint::CreateContainer.is_used(spec)
}

/// Makes `process.cwd` where it is missing, as runc does: the root may become read-only.
fn lower_working_directory(plan: &mut Builder, spec: &Spec, root: Slot) {
    let Some(directory) = spec.process().as_ref().map(|process| process.cwd()) else { return };
    let bytes = directory.as_os_str().as_bytes();
    if directory != Path::new("/") && !bytes.is_empty() && !bytes.contains(&0) {
        let text = plan.text(bytes);
        let what = format!("process.cwd: make {}", directory.display());
        plan.push(OpCode::MakeDirectories, &[root.into(), text, 0o755, Slot::NONE.into()], what);
    }
}

/// The bytes of a path of the host, or of one in the root.
fn checked<'a>(path: &'a Path, field: &str) -> Result<&'a [u8]> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&0) || bytes.len() >= libc::PATH_MAX as usize {
        return Err(Error::invalid(format!("{field} is empty, overlong, or holds a NUL byte")));
    }
    Ok(bytes)
}

/// The path as an absolute one of the root, without `.`, `..` and repeated slashes, as runc cleans it: by its text.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}
