//! Copies the content of a directory into a file system that is about to hide it (`tmpcopyup`).

use super::call::call;
use super::constant::*;
use super::files::{close, make_directory, make_link, make_node, status};
use super::place::PATH_MAX;
use super::syscall::Errno;

/// How deep directories are followed.
const DEPTH_BUDGET: u32 = 128;

/// The bytes of a directory that are read at a time.
const ENTRIES_SIZE: usize = 4096;

/// The bytes of a file that are copied at a time.
const CHUNK: usize = 1 << 30;

/// Copies what is in the directory `from` into the directory `to`: files, directories, links, devices and fifos with
/// their mode and owner.
pub(crate) fn copy_up(from: i32, to: i32) -> Result<(), Errno> {
    copy_directory(from, c".".as_ptr().cast(), to, DEPTH_BUDGET)
}

/// Gives the directory `to` the mode of `from`.
pub(crate) fn take_mode(from: i32, to: i32) -> Result<(), Errno> {
    let mode = status(from, c"".as_ptr().cast())?[7];
    // SAFETY: a NUL-terminated path.
    unsafe { call!(FCHMODAT, to, c".".as_ptr(), mode & 0o7777) }.map(drop)
}

/// Copies the entries of the directory `name` in `parent`.
fn copy_directory(parent: i32, name: *const u8, to: i32, depth: u32) -> Result<(), Errno> {
    let deeper = depth.checked_sub(1).ok_or(ELOOP)?;
    let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    // SAFETY: the name is NUL-terminated.
    let from = unsafe { call!(OPENAT, parent, name, flags, 0) }? as i32;
    let result = copy_entries(from, to, deeper);
    close(from);
    result
}

fn copy_entries(from: i32, to: i32, depth: u32) -> Result<(), Errno> {
    let mut entries = Entries([0; ENTRIES_SIZE]);
    loop {
        // SAFETY: the buffer is live and its size passed.
        let filled = unsafe { call!(GETDENTS64, from, entries.0.as_mut_ptr(), ENTRIES_SIZE) }?;
        if filled == 0 {
            return Ok(());
        }
        let mut at = 0;
        while at < filled {
            // struct linux_dirent64: inode and offset of 8 bytes each, the length of the record, a type, the name.
            let record = entries.0.get(at..filled).ok_or(EPROTO)?;
            let (Some(&[low, high]), Some(name)) =
                (record.get(16..18).and_then(|pair| pair.first_chunk()), record.get(19..))
            else {
                return Err(EPROTO);
            };
            at += usize::from(u16::from_ne_bytes([low, high])).max(1);
            if !matches!(name, [b'.', 0, ..] | [b'.', b'.', 0, ..]) {
                copy_entry(from, name.as_ptr(), to, depth)?;
            }
        }
    }
}

/// Room for directory entries, aligned as the kernel writes them.
#[repr(align(8))]
struct Entries([u8; ENTRIES_SIZE]);

fn copy_entry(from: i32, name: *const u8, to: i32, depth: u32) -> Result<(), Errno> {
    let found = status(from, name)?;
    let (mode, owner) = (found[7], (found[5], found[6]));
    match mode & S_IFMT {
        S_IFDIR => {
            make_directory(to, name, 0o700)?;
            // SAFETY: the name is NUL-terminated.
            let directory =
                unsafe { call!(OPENAT, to, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0) }? as i32;
            let result = copy_directory(from, name, directory, depth);
            close(directory);
            result?;
        }
        S_IFREG => copy_file(from, name, to)?,
        S_IFLNK => copy_link(from, name, to)?,
        // A socket is of no use without the process that listens.
        S_IFSOCK => return Ok(()),
        _ => {
            let (major, minor) = (found[32], found[33]);
            make_node(to, name, mode & S_IFMT, (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))?;
        }
    }
    // SAFETY: the name is NUL-terminated; no link is followed.
    unsafe { call!(FCHOWNAT, to, name, owner.0, owner.1, AT_SYMLINK_NOFOLLOW) }?;
    if mode & S_IFMT == S_IFLNK {
        return Ok(());
    }
    // What has the name in `to` was made above, in a file system nobody else has seen.
    // SAFETY: the name is NUL-terminated.
    unsafe { call!(FCHMODAT, to, name, mode & 0o7777) }.map(drop)
}

fn copy_file(from: i32, name: *const u8, to: i32) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated. It may have become a fifo meanwhile: O_NONBLOCK.
    let source = unsafe { call!(OPENAT, from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0) }? as i32;
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    // SAFETY: the name is NUL-terminated.
    let result = unsafe { call!(OPENAT, to, name, flags, 0o600) }.and_then(|target| {
        let result = loop {
            // SAFETY: plain numbers; the kernel keeps the position.
            match unsafe { call!(SENDFILE, target, source, 0, CHUNK) } {
                Ok(0) => break Ok(()),
                Ok(_) | Err(EINTR) => {}
                Err(errno) => break Err(errno),
            }
        };
        close(target as i32);
        result
    });
    close(source);
    result
}

fn copy_link(from: i32, name: *const u8, to: i32) -> Result<(), Errno> {
    let mut target = [0u8; PATH_MAX];
    // The last byte stays the NUL.
    // SAFETY: the name is NUL-terminated, the buffer live and its size passed.
    let length = unsafe { call!(READLINKAT, from, name, target.as_mut_ptr(), target.len() - 1) }?;
    make_link(to, name, target.get(..length).ok_or(ENAMETOOLONG)?)
}
