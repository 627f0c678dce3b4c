//! Directories and files of the host inside the container, and memory file systems.

use super::filesystem::mount_with;
use crate::error::During;
use crate::plan::op::{Landing, OpCode};
use crate::plan::{Builder, Slot};
use crate::{Error, Result};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// A directory or file of the host, bound into the container with everything mounted below it. Device files in a
/// directory do not work there; one that is itself bound does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

/// A memory file system of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tmpfs {
    pub(crate) target: PathBuf,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) mode: u32,
}

/// Binds in the order given; missing mount points are made.
pub(crate) fn lower_binds(plan: &mut Builder, root: Slot, binds: &[Bind]) -> Result<()> {
    for bind in binds {
        let shown = format!("{} on {}", bind.source.display(), bind.target.display());
        let kind = std::fs::metadata(&bind.source).during(|| format!("bind {shown}: look at the source"))?.file_type();
        let device = kind.is_char_device() || kind.is_block_device();
        let mount = plan.slot();
        let source = plan.text(checked(&bind.source)?);
        let recursive = libc::AT_RECURSIVE as u32;
        plan.push(OpCode::CloneHost, &[source, recursive, mount.into()], format!("bind {shown}: copy the source"));
        let attributes = if bind.read_only { libc::MOUNT_ATTR_RDONLY as u32 } else { 0 }
            | if device { 0 } else { libc::MOUNT_ATTR_NODEV as u32 };
        if attributes != 0 {
            let what = format!("bind {shown}: set its attributes");
            plan.push(OpCode::MountAttributes, &[mount.into(), 1, attributes, 0, 0], what);
        }
        attach(plan, mount, root, &bind.target, format!("bind {shown}: attach it"))?;
    }
    Ok(())
}

/// Memory file systems, in the order given.
pub(crate) fn lower_tmpfs(plan: &mut Builder, root: Slot, list: &[Tmpfs]) -> Result<()> {
    for tmpfs in list {
        let (size, mode) = (tmpfs.size.to_string(), format!("{:o}", tmpfs.mode));
        let options = [("size", size.as_str()), ("mode", mode.as_str())];
        let attributes = (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV) as u32;
        let mount = mount_with(plan, "tmpfs", &options, attributes, "mount a tmpfs");
        attach(plan, mount, root, &tmpfs.target, format!("attach the tmpfs on {}", tmpfs.target.display()))?;
    }
    Ok(())
}

/// Attaches a mount at a path of the root, and lets go of it.
fn attach(plan: &mut Builder, mount: Slot, root: Slot, target: &Path, what: String) -> Result<()> {
    let path = plan.text(checked(target)?);
    // Whoever names a file of /proc means it; a link of the image that leads there does not.
    let landing = if target.starts_with("/proc") { Landing::ON_PROC } else { 0 };
    plan.push(OpCode::AttachAt, &[mount.into(), root.into(), path, landing], what)
        .hint(libc::ENOTDIR, "one of the two is a directory and the other is not")
        .hint(libc::EXDEV, "a link of the image leads into /proc");
    plan.release(mount);
    Ok(())
}

fn checked(path: &Path) -> Result<&[u8]> {
    let bytes = path.as_os_str().as_bytes();
    if !path.is_absolute() || bytes.contains(&0) || path == Path::new("/") {
        return Err(Error::invalid(format!("mount path {} is not an absolute path below /", path.display())));
    }
    Ok(bytes)
}
