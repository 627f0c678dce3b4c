//! The parent's wall to the kernel: system calls that nix lacks, as safe functions over owned and borrowed descriptors.
//!
//! `unsafe` lives here, in [`crate::stage`] and in [`crate::launch`], nowhere else.
#![allow(unsafe_code)]

mod bpf;
mod file;
mod landlock;
mod mount;
mod namespace;
mod netlink;
mod process;
#[cfg(test)]
mod seccomp;
mod socket;
mod terminal;
mod tree;

pub(crate) use bpf::DeviceProgram;
pub(crate) use file::{
    InRoot, create_memfd, get_xattr, is_inheritable, list_xattrs, random, rename_exchange, rename_no_replace,
    set_xattr, share_content,
};
pub(crate) use landlock::{LandlockRuleset, landlock_version};
pub(crate) use mount::{clone_mount, map_ids, mount_id, set_propagation};
pub(crate) use namespace::{current_network_namespace, in_network_namespace, in_new_network_namespace, namespace_kind};
pub(crate) use netlink::{NetlinkFamily, NetlinkSocket};
pub(crate) use process::{PidFd, ProcessStat, WaitStatus, pid_of, resource_limit};
#[cfg(test)]
pub(crate) use seccomp::confine_thread;
pub(crate) use socket::connect_unix;
pub(crate) use terminal::{WindowSize, set_window_size, window_size};
pub(crate) use tree::{get_xattr_at, list_xattrs_at, open_beneath, open_regular, remove_tree, set_xattr_at};

/// Runs a system call that returns a new descriptor or -1 with errno.
fn descriptor(result: libc::c_long) -> nix::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    let fd = nix::errno::Errno::result(result)?;
    // SAFETY: the kernel has just returned this number as a descriptor that nobody else owns.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd as i32) })
}
