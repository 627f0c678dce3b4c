//! Directories and files of the host inside the container, and memory file systems.

use super::filesystem::mount_with;
use crate::error::During;
use crate::plan::op::OpCode;
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
        let (host, mount, target) = (plan.slot(), plan.slot(), plan.slot());
        let source = plan.text(checked(&bind.source)?);
        let path = plan.text(checked(&bind.target)?);
        let flags = libc::O_PATH as u32;
        plan.push(OpCode::OpenHost, &[source, flags, host.into()], format!("bind {shown}: open the source"));
        plan.push(OpCode::CloneMount, &[host.into(), 1, mount.into()], format!("bind {shown}"));
        let attributes = if bind.read_only { libc::MOUNT_ATTR_RDONLY as u32 } else { 0 }
            | if device { 0 } else { libc::MOUNT_ATTR_NODEV as u32 };
        if attributes != 0 {
            let what = format!("bind {shown}: set its attributes");
            plan.push(OpCode::MountAttributes, &[mount.into(), 1, attributes, 0, 0], what);
        }
        let (make, mode) = if kind.is_dir() { (OpCode::MakeDirectories, 0o755) } else { (OpCode::MakeFile, 0o644) };
        plan.push(make, &[root.into(), path, mode, target.into()], format!("bind {shown}: open the mount point"));
        plan.push(OpCode::Attach, &[mount.into(), target.into()], format!("bind {shown}: attach it"))
            .hint(libc::ENOTDIR, "one of the two is a directory and the other is not");
    }
    Ok(())
}

/// Memory file systems, in the order given.
pub(crate) fn lower_tmpfs(plan: &mut Builder, root: Slot, list: &[Tmpfs]) -> Result<()> {
    for tmpfs in list {
        let path = plan.text(checked(&tmpfs.target)?);
        let (size, mode) = (tmpfs.size.to_string(), format!("{:o}", tmpfs.mode));
        let options = [("size", size.as_str()), ("mode", mode.as_str())];
        let attributes = (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV) as u32;
        let mount = mount_with(plan, "tmpfs", &options, attributes, "mount a tmpfs");
        let target = plan.slot();
        let shown = tmpfs.target.display();
        plan.push(
            OpCode::MakeDirectories,
            &[root.into(), path, 0o755, target.into()],
            format!("open the mount point {shown}"),
        );
        plan.push(OpCode::Attach, &[mount.into(), target.into()], format!("attach the tmpfs on {shown}"));
    }
    Ok(())
}

fn checked(path: &Path) -> Result<&[u8]> {
    let bytes = path.as_os_str().as_bytes();
    if !path.is_absolute() || bytes.contains(&0) || path == Path::new("/") {
        return Err(Error::invalid(format!("mount path {} is not an absolute path below /", path.display())));
    }
    Ok(bytes)
}
