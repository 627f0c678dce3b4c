//! The root file system: a directory, or an overlay of layers.

use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase, Slot};
use crate::{Error, ErrorKind, Result};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where a sandbox's root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A directory of the host, used in place: what the sandbox writes lands in it.
    Directory(PathBuf),
    /// Layers under a directory that takes the changes (overlayfs).
    Overlay {
        /// The layers, lowest first; at least one, at most 500.
        lower: Vec<PathBuf>,
        /// Takes the changes.
        upper: PathBuf,
        /// An empty directory on the file system of `upper`, for the kernel.
        work: PathBuf,
    },
}

/// The most layers the kernel stacks (OVL_MAX_STACK).
const LAYER_BUDGET: usize = 500;

/// The longest value of an option (fsconfig(2): 255 bytes and a NUL).
const OPTION_LIMIT: usize = 255;

/// The longest option text of mount(2): a page and its NUL.
const PAGE_LIMIT: usize = 4095;

/// A layer may hold the device file of the host's disk, and the default capabilities allow to make one.
const NO_DEVICES: u32 = libc::MOUNT_ATTR_NODEV as u32;

const O_PATH_DIRECTORY: u32 = (libc::O_PATH | libc::O_DIRECTORY) as u32;

/// Cuts propagation, mounts the root and attaches it; the slot of the root's mount.
pub(crate) fn lower_root(plan: &mut Builder, root: &Root, user_namespace: bool) -> Result<Slot> {
    plan.phase(Phase::Enter);
    let host = plan.slot();
    let path = plan.text("/");
    plan.push(OpCode::OpenHost, &[path, O_PATH_DIRECTORY, host.into()], "open the host's root");
    let private = libc::MS_PRIVATE as u32;
    plan.push(OpCode::MountAttributes, &[host.into(), 1, 0, 0, private], "make the host's mounts private");
    plan.phase(Phase::Mount);
    let mount = match root {
        Root::Directory(path) => lower_directory(plan, path)?,
        Root::Overlay { lower, upper, work } => lower_overlay(plan, lower, upper, work, user_namespace)?,
    };
    plan.push(OpCode::Attach, &[mount.into(), host.into()], "attach the root file system");
    Ok(mount)
}

/// Makes it the root; `read_only` afterwards, once everything below is mounted.
pub(crate) fn lower_pivot(plan: &mut Builder, root: Slot, read_only: bool) {
    plan.phase(Phase::Pivot);
    plan.push(OpCode::PivotRoot, &[root.into()], "make the root file system the root").hint(
        libc::EINVAL,
        "the host's own root may be an initramfs, which the kernel does not let go of: start from a real root",
    );
    if read_only {
        plan.phase(Phase::Seal);
        let attributes = libc::MOUNT_ATTR_RDONLY as u32;
        plan.push(OpCode::MountAttributes, &[root.into(), 0, attributes, 0, 0], "make the root read-only");
    }
}

fn lower_directory(plan: &mut Builder, path: &Path) -> Result<Slot> {
    let text = plan.text(checked(path)?);
    let (directory, mount) = (plan.slot(), plan.slot());
    let shown = path.display();
    plan.push(
        OpCode::OpenHost,
        &[text, O_PATH_DIRECTORY, directory.into()],
        format!("open the root directory {shown}"),
    );
    plan.push(OpCode::CloneMount, &[directory.into(), 1, mount.into()], format!("bind the root directory {shown}"));
    plan.push(OpCode::MountAttributes, &[mount.into(), 1, NO_DEVICES, 0, 0], "switch off the root's device files");
    Ok(mount)
}

fn lower_overlay(
    plan: &mut Builder,
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    user_namespace: bool,
) -> Result<Slot> {
    if lower.is_empty() || lower.len() > LAYER_BUDGET {
        return Err(Error::invalid(format!("an overlay has 1 to {LAYER_BUDGET} layers, not {}", lower.len())));
    }
    for path in lower.iter().map(PathBuf::as_path).chain([upper, work]) {
        checked(path)?;
    }
    let long = lower.iter().any(|path| path.as_os_str().len() > OPTION_LIMIT)
        || [upper, work].iter().any(|path| path.as_os_str().len() > OPTION_LIMIT);
    if !kernel_is_at_least(6, 5) || long {
        return lower_overlay_by_path(plan, lower, upper, work, user_namespace);
    }
    let (context, mount) = (plan.slot(), plan.slot());
    let kind = plan.text("overlay");
    plan.push(OpCode::OpenFilesystem, &[kind, context.into()], "open an overlay").hint(libc::ENODEV, NO_OVERLAY);
    // The kernel wants the uppermost layer first.
    for path in lower.iter().rev() {
        option(plan, context, "lowerdir+", path, "add a layer to the overlay");
    }
    option(plan, context, "upperdir", upper, "set the upper directory of the overlay");
    option(plan, context, "workdir", work, "set the work directory of the overlay");
    if user_namespace {
        let key = plan.text("userxattr");
        plan.push(OpCode::FilesystemFlag, &[context.into(), key], "use user.* attributes in the overlay");
    } else {
        // The kernel's own default may be on: a layer must hold whole files, not references into lower ones.
        for key in ["metacopy", "redirect_dir"] {
            let (key, value) = (plan.text(key), plan.text("off"));
            let what = "switch off what makes layers depend on each other";
            plan.push(OpCode::FilesystemOption, &[context.into(), key, value], what);
        }
    }
    plan.push(OpCode::MountFilesystem, &[context.into(), NO_DEVICES, mount.into()], "mount the overlay")
        .hint(libc::EINVAL, UPPER_HINT)
        .hint(libc::EPERM, "overlayfs in a user namespace needs kernel 5.11");
    Ok(mount)
}

const NO_OVERLAY: &str = "the kernel has no overlayfs: CONFIG_OVERLAY_FS";
const UPPER_HINT: &str =
    "the file system of the store cannot hold an overlay's upper directory (another overlay, NFS): use another root";

/// All options in one text, for kernels before 6.5 and for long paths.
fn lower_overlay_by_path(
    plan: &mut Builder,
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    user_namespace: bool,
) -> Result<Slot> {
    let mut options = b"lowerdir=".to_vec();
    for (index, path) in lower.iter().rev().enumerate() {
        options.extend_from_slice(if index == 0 { b"" } else { b":" });
        push_escaped(&mut options, path);
    }
    for (key, path) in [(&b",upperdir="[..], upper), (b",workdir=", work)] {
        options.extend_from_slice(key);
        push_escaped(&mut options, path);
    }
    if user_namespace {
        options.extend_from_slice(b",userxattr");
    } else {
        options.extend_from_slice(b",metacopy=off,redirect_dir=off");
    }
    if options.len() > PAGE_LIMIT {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("the layers' paths take {} bytes, this kernel's mount takes {PAGE_LIMIT}", options.len()),
        )
        .hint("use a store with a shorter path, an image of fewer layers, or kernel 6.5"));
    }
    let mount = plan.slot();
    let (kind, data) = (plan.text("overlay"), plan.text(&options));
    // The mount covers the upper directory's own path, in the new mount namespace alone.
    let target = plan.text(checked(upper)?);
    let flags = libc::MS_NODEV as u32;
    plan.push(OpCode::MountByPath, &[kind, target, flags, data, mount.into()], "mount the overlay")
        .hint(libc::ENODEV, NO_OVERLAY)
        .hint(libc::EINVAL, UPPER_HINT);
    let copy = plan.slot();
    plan.push(OpCode::CloneMount, &[mount.into(), 0, copy.into()], "detach the overlay");
    Ok(copy)
}

/// overlayfs reads `\` before `:`, `,` and `\` as an escape.
fn push_escaped(options: &mut Vec<u8>, path: &Path) {
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            options.push(b'\\');
        }
        options.push(byte);
    }
}

fn option(plan: &mut Builder, context: Slot, key: &str, path: &Path, what: &'static str) {
    let (key, value) = (plan.text(key), plan.text(path.as_os_str().as_bytes()));
    plan.push(OpCode::FilesystemOption, &[context.into(), key, value], what)
        .hint(libc::ENOENT, "a layer of the image is missing from the store");
}

/// Whether the kernel is of this version or newer, by its name: for what it can do since and cannot be asked about.
pub(super) fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    static VERSION: OnceLock<(u32, u32)> = OnceLock::new();
    let version = VERSION.get_or_init(|| {
        let Ok(name) = nix::sys::utsname::uname() else { return (0, 0) };
        let release = name.release().to_string_lossy().into_owned();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    });
    *version >= (major, minor)
}

fn checked(path: &Path) -> Result<&[u8]> {
    let bytes = path.as_os_str().as_bytes();
    if !path.is_absolute() || bytes.contains(&0) {
        return Err(Error::invalid(format!("path {} is not absolute", path.display())));
    }
    Ok(bytes)
}
