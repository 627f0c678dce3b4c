//! What else a process is given: scheduling, memory policy, execution domain, and what it writes about itself.

use super::call::call;
use super::constant::*;
use super::files::{self, close};
use super::syscall::Errno;

/// Allows the processors of a mask.
pub(crate) fn set_affinity(mask: *const u8, size: u32) -> Result<(), Errno> {
    // SAFETY: the verifier has proved that `size` bytes lie at `mask`.
    unsafe { call!(SCHED_SETAFFINITY, 0, size, mask) }.map(drop)
}

/// sched_setattr(2).
pub(crate) fn set_scheduler(attributes: *const u8) -> Result<(), Errno> {
    // SAFETY: the builder has put a struct sched_attr there, which says its own size.
    unsafe { call!(SCHED_SETATTR, 0, attributes, 0) }.map(drop)
}

/// ioprio_set(2) for this thread.
pub(crate) fn set_io_priority(priority: u32) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe { call!(IOPRIO_SET, IOPRIO_WHO_PROCESS, 0, priority) }.map(drop)
}

/// personality(2).
pub(crate) fn set_personality(domain: u32) -> Result<(), Errno> {
    // SAFETY: plain number.
    unsafe { call!(PERSONALITY, domain) }.map(drop)
}

/// set_mempolicy(2); `size` is that of the mask in bytes.
pub(crate) fn set_memory_policy(mode: u32, mask: *const u8, size: u32) -> Result<(), Errno> {
    let nodes = if size == 0 { core::ptr::null() } else { mask };
    // The kernel leaves the last bit of those it is told of unread.
    let bits = if size == 0 { 0 } else { size * 8 + 1 };
    // SAFETY: the verifier has proved that `size` bytes lie at `mask`, a multiple of 8.
    unsafe { call!(SET_MEMPOLICY, mode, nodes, bits) }.map(drop)
}

/// Writes `text` into the file `path` of this thread's own directory in the host's /proc: on a procfs, at its root, with
/// nothing mounted over the way (CVE-2019-16884, CVE-2025-52881).
pub(crate) fn write_own(path: *const u8, text: &[u8]) -> Result<(), Errno> {
    let proc = files::open_host(c"/proc".as_ptr().cast(), O_PATH | O_DIRECTORY)?;
    let written = files::check_filesystem(proc, PROC_SUPER_MAGIC)
        .and_then(|()| files::open_below_own(proc, c"thread-self".as_ptr().cast(), O_PATH | O_DIRECTORY))
        .and_then(|directory| {
            let written = write_below(directory, path, text);
            close(directory);
            written
        });
    close(proc);
    written
}

/// Writes `text` into the file `path` below `directory`, on whose mount nothing is mounted.
pub(crate) fn write_below(directory: i32, path: *const u8, text: &[u8]) -> Result<(), Errno> {
    let file = files::open_own(directory, path, O_WRONLY)?;
    let written = files::write(file, text);
    close(file);
    written
}
