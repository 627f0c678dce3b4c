//! Paths and descriptors: everything resolved below a root, nothing followed out of it.

use super::constant::*;
use super::place::{self, PATH_MAX};
use super::program::Program;
use super::call::call;
use super::syscall::Errno;

/// openat2(2)'s argument.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Closes a descriptor; nothing can be done about a refusal.
pub(crate) fn close(descriptor: i32) {
    // SAFETY: plain number.
    let _ = unsafe { call!(CLOSE, descriptor) };
}

/// Opens a path of the host, which the parent chose.
pub(crate) fn open_host(path: *const u8, flags: usize) -> Result<i32, Errno> {
    // SAFETY: the path is NUL-terminated.
    unsafe { call!(OPENAT, AT_FDCWD, path, flags | O_CLOEXEC, 0) }.map(|descriptor| descriptor as i32)
}

/// Opens an untrusted path below `root`: like chroot, and no magic link of /proc is followed.
pub(crate) fn open_below(root: i32, path: *const u8, flags: usize, mode: u32) -> Result<i32, Errno> {
    open_resolved(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

/// Opens a path of a file system the engine mounted itself: no link, no other mount on the way.
pub(crate) fn open_own(root: i32, path: *const u8, flags: usize) -> Result<i32, Errno> {
    open_resolved(root, path, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)
}

/// Opens a path below `root` that must be what it says: no link at all.
pub(crate) fn open_straight(root: i32, path: *const u8, flags: usize) -> Result<i32, Errno> {
    open_resolved(root, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
}

/// As [`open_own`], through links that stay below it: the `thread-self` of a procfs.
pub(crate) fn open_below_own(root: i32, path: *const u8, flags: usize) -> Result<i32, Errno> {
    open_resolved(root, path, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)
}

fn open_resolved(root: i32, path: *const u8, flags: usize, mode: u32, resolve: u64) -> Result<i32, Errno> {
    let how = OpenHow { flags: (flags | O_CLOEXEC) as u64, mode: u64::from(mode), resolve };
    loop {
        // SAFETY: the path is NUL-terminated, the argument live and its size passed.
        match unsafe { call!(OPENAT2, root, path, &raw const how, size_of::<OpenHow>()) } {
            // A rename raced with the resolution of "..": openat2(2) says to try again.
            Err(EAGAIN | EINTR) => {}
            other => return other.map(|descriptor| descriptor as i32),
        }
    }
}

/// Makes a node named by the plan in the directory `slot`.
pub(crate) fn make_node(directory: i32, name: *const u8, mode: u32, device: u32) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(MKNODAT, directory, name, mode, device) }.map(drop)
}

/// Makes a directory named by the plan.
pub(crate) fn make_directory(directory: i32, name: *const u8, mode: u32) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(MKDIRAT, directory, name, mode) }.map(drop)
}

/// Makes a symbolic link named by the plan, or finds the same there.
pub(crate) fn make_link(directory: i32, name: *const u8, target: &[u8]) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated, and so is what the plan or a buffer of ours holds behind the target.
    match unsafe { call!(SYMLINKAT, target.as_ptr(), directory, name) } {
        Err(EEXIST) => {}
        other => return other.map(drop),
    }
    let mut there = [0u8; PATH_MAX];
    // SAFETY: the name is NUL-terminated, the buffer live and its size passed.
    let length = unsafe { call!(READLINKAT, directory, name, there.as_mut_ptr(), there.len()) };
    if length.is_ok_and(|length| there.get(..length) == Some(target)) { Ok(()) } else { Err(EEXIST) }
}

/// Makes a symbolic link in the place of whatever else has the name.
pub(crate) fn place_link(directory: i32, name: *const u8, target: &[u8]) -> Result<(), Errno> {
    match make_link(directory, name, target) {
        Err(EEXIST) => {}
        other => return other,
    }
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(UNLINKAT, directory, name, 0) }?;
    make_link(directory, name, target)
}

/// What a device is to be.
pub(crate) struct Node {
    pub(crate) mode: u32,
    pub(crate) device: u32,
    pub(crate) owner: (u32, u32),
}

/// Fails with EEXIST unless there is a device of this type and number at `path`, which may be empty.
pub(crate) fn check_device(directory: i32, path: *const u8, kind: u32, device: u32) -> Result<(), Errno> {
    let found = status(directory, path)?;
    // The numbers of a device as mknod(2) takes them: 12 bits of the major one amid 20 of the minor one.
    let (major, minor) = (found[32], found[33]);
    let number = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
    let same = found[7] & S_IFMT == kind && (kind == S_IFIFO || number == device);
    if same { Ok(()) } else { Err(EEXIST) }
}

/// Writes a whole text.
pub(crate) fn write(descriptor: i32, text: &[u8]) -> Result<(), Errno> {
    // SAFETY: the slice is live.
    let written = unsafe { call!(WRITE, descriptor, text.as_ptr(), text.len()) }?;
    if written == text.len() { Ok(()) } else { Err(EPROTO) }
}

/// Fails with EPROTO unless `descriptor` lies on a file system with this magic number (CVE-2019-16884: a volume
/// mounted over /proc).
pub(crate) fn check_filesystem(descriptor: i32, magic: u32) -> Result<(), Errno> {
    let mut statfs = [0usize; 15];
    // SAFETY: struct statfs has 120 bytes on 64-bit machines; its first word is the type.
    unsafe { call!(FSTATFS, descriptor, statfs.as_mut_ptr()) }?;
    if statfs[0] == magic as usize { Ok(()) } else { Err(EPROTO) }
}

/// Whether there is a directory at `path`, which may be empty, below `directory`; no link is followed at its end.
pub(crate) fn is_directory(directory: i32, path: *const u8) -> Result<bool, Errno> {
    Ok(status(directory, path)?[7] & S_IFMT == S_IFDIR)
}

/// struct statx of `path`, which may be empty, as 32-bit words: the mode is the lower half of word 7, the numbers of a
/// device are words 32 and 33. No link is followed at its end.
pub(crate) fn status(directory: i32, path: *const u8) -> Result<[u32; 64], Errno> {
    let mut statx = [0u32; 64];
    let flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
    // SAFETY: the path is NUL-terminated; struct statx has 256 bytes.
    unsafe { call!(STATX, directory, path, flags, STATX_BASIC, statx.as_mut_ptr()) }?;
    statx[7] &= 0xffff;
    Ok(statx)
}

/// Makes `path` the working directory, made with `mode` where missing; resolved within the root, and verified to be
/// within it afterwards (CVE-2024-21626).
pub(crate) fn enter_working_directory(program: &Program, path: u32, mode: u32) -> Result<(), Errno> {
    let root = open_host(c"/".as_ptr().cast(), O_PATH | O_DIRECTORY)?;
    let opened = if mode == 0 {
        open_below(root, program.address(path), O_PATH | O_DIRECTORY, 0)
    } else {
        place::make_directories(root, program.text(path), mode)
    };
    close(root);
    let directory = opened?;
    change_directory(directory)?;
    close(directory);
    let mut name = [0u8; PATH_MAX];
    // SAFETY: the buffer is live and its size passed.
    unsafe { call!(GETCWD, name.as_mut_ptr(), name.len()) }?;
    if name[0] == b'/' { Ok(()) } else { Err(EACCES) }
}

/// fchdir(2).
pub(crate) fn change_directory(directory: i32) -> Result<(), Errno> {
    // SAFETY: plain number.
    unsafe { call!(FCHDIR, directory) }.map(drop)
}

/// Puts `descriptor` in the place of `number`.
pub(crate) fn replace(descriptor: i32, number: u32) -> Result<(), Errno> {
    if descriptor == number as i32 {
        // dup3 refuses equal numbers; all that is missing is that exec must not close it.
        // SAFETY: F_SETFD with no flags.
        return unsafe { call!(FCNTL, descriptor, 2, 0) }.map(drop);
    }
    // SAFETY: plain numbers.
    unsafe { call!(DUP3, descriptor, number, 0) }.map(drop)
}
