//! The file system of a runtime-spec configuration: root, mounts in their order, devices, masked and read-only paths.

mod cgroup;
mod device;
mod entry;
mod masks;
mod options;
mod propagation;
#[cfg(test)]
mod tests;

use super::hooks::HookPoint;
use super::root::lower_pivot;
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase, Slot};
use crate::{Error, Result};
use entry::Entry;
use oci_spec::runtime::Spec;
pub(crate) use options::mount_option_names;
use propagation::Cut;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
    pub(crate) cgroups: &'a [PathBuf],
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
    let mut entries = entry::read(spec, surroundings)?;
    let cut = Cut::decide(spec, &entries)?;
    plan.phase(Phase::Enter);
    let host = open_host_root(plan);
    for entry in &mut entries {
        entry.lower_shared_source(plan);
    }
    cut.lower(plan, host);
    plan.phase(Phase::Mount);
    let kit = masks::lower_kit(plan, spec, host);
    let root_mount = lower_root(plan, &surroundings.bundle.join(root.path()), host, has_hooks_before_pivot(spec))?;
    let mut lowering = Lowering { surroundings, root: root_mount, cut, proc: None, sys: None, sealed: Vec::new() };
    for entry in &entries {
        lowering.lower(plan, entry)?;
    }
    device::lower(plan, spec, &lowering, &entries)?;
    lower_working_directory(plan, spec, root_mount);
    before_pivot(plan, root_mount)?;
    masks::lower(plan, spec, &lowering, kit)?;
    lower_pivot(plan, root_mount, root.readonly().unwrap_or(false));
    plan.phase(Phase::Seal);
    lowering.lower_seals(plan);
    cut.lower_root(plan, root_mount);
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
}

fn open_host_root(plan: &mut Builder) -> Slot {
    let host = plan.slot();
    let path = plan.text("/");
    let flags = (libc::O_PATH | libc::O_DIRECTORY) as u32;
    plan.push(OpCode::OpenHost, &[path, flags, host.into()], "open the host's root");
    host
}

/// Whether programs of the host run when all is mounted: they look for the mounts at the path of the root.
fn has_hooks_before_pivot(spec: &Spec) -> bool {
    HookPoint::CreateContainer.is_used(spec)
}

/// Binds the root directory and lays it over the host's root, or over itself.
fn lower_root(plan: &mut Builder, path: &Path, host: Slot, over_itself: bool) -> Result<Slot> {
    let text = plan.text(checked(path, "root.path")?);
    let mount = plan.slot();
    let shown = path.display();
    plan.push(
        OpCode::CloneHost,
        &[text, libc::AT_RECURSIVE as u32, mount.into()],
        format!("root.path: bind the root directory {shown}"),
    )
    .hint(libc::ENOENT, "the bundle has no such directory");
    let mut place = host;
    if over_itself {
        place = plan.slot();
        let flags = (libc::O_PATH | libc::O_DIRECTORY) as u32;
        plan.push(OpCode::OpenHost, &[text, flags, place.into()], "root.path: open the root directory");
    }
    plan.push(OpCode::Attach, &[mount.into(), place.into()], "attach the root file system")
        .hint(libc::ENOTDIR, "root.path is no directory");
    Ok(mount)
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
