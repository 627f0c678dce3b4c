//! Detached copies of mounts, made by a parent whose rights its container will not have (open_tree(2)).

use super::descriptor;
use super::file::c_path;
use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A copy of the mount at a path, attached nowhere; `flags`: AT_RECURSIVE, AT_SYMLINK_NOFOLLOW.
pub(crate) fn clone_mount(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | flags as u32;
    // SAFETY: the path is NUL-terminated and live.
    Ok(descriptor(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?)
}

/// The number of the mount that a path leads to.
pub(crate) fn mount_id(path: &Path) -> io::Result<u64> {
    let path = c_path(path)?;
    // SAFETY: a plain structure of numbers.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated, the result live.
    let result = unsafe {
        libc::statx(libc::AT_FDCWD, path.as_ptr(), libc::AT_NO_AUTOMOUNT, libc::STATX_MNT_ID, &raw mut found)
    };
    Errno::result(result)?;
    Ok(found.stx_mnt_id)
}

/// Sets the propagation (an MS_ flag) of a mount and all below it.
pub(crate) fn set_propagation(mount: BorrowedFd<'_>, propagation: u64) -> io::Result<()> {
    set_attributes(mount, true, &attributes(0, propagation, 0))
}

/// Maps the ids of a detached mount, `recursive` or not, as `user_namespace` maps them (mount_setattr(2), "ID-mapped
/// mounts").
pub(crate) fn map_ids(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let user_namespace = user_namespace.as_raw_fd() as u64;
    set_attributes(mount, recursive, &attributes(libc::MOUNT_ATTR_IDMAP, 0, user_namespace))
}

fn attributes(set: u64, propagation: u64, user_namespace: u64) -> libc::mount_attr {
    libc::mount_attr { attr_set: set, attr_clr: 0, propagation, userns_fd: user_namespace }
}

fn set_attributes(mount: BorrowedFd<'_>, recursive: bool, attributes: &libc::mount_attr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: an empty, NUL-terminated path; the argument is live and its size passed.
    let result = unsafe {
        let mount = mount.as_fd().as_raw_fd();
        libc::syscall(libc::SYS_mount_setattr, mount, c"".as_ptr(), flags, std::ptr::from_ref(attributes), size)
    };
    Errno::result(result)?;
    Ok(())
}
