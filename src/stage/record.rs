//! What the keeper leaves on disk: which processes run, and how the container ended.

use super::constant::*;
use super::files::{close, write};
use super::call::call;
use super::syscall::Errno;
use super::text::Text;

/// How the payload ended.
#[derive(Clone, Copy)]
pub(crate) struct End {
    /// The wait status: code in bits 8 to 15, signal in bits 0 to 6.
    pub(crate) status: u32,
    /// Whether nobody knows how it ended.
    pub(crate) unknown: bool,
    pub(crate) out_of_memory: bool,
    /// The errno and the operation, where it never started.
    pub(crate) fault: Option<(i32, u32)>,
    /// Processor time in microseconds, user and system.
    pub(crate) processor: [u64; 2],
    /// Kibibytes.
    pub(crate) peak_resident: u64,
    /// By the system's clock: seconds and nanoseconds.
    pub(crate) finished: [i64; 2],
}

/// Records the container's first process, 0 between two runs, and the keeper: `PID KEEPER`. That there is a record at all
/// must be durable, so the first one is.
pub(crate) fn running(directory: i32, pid: u32, first: bool) -> Result<(), Errno> {
    // SAFETY: no arguments.
    let keeper = unsafe { call!(GETPID) }?;
    let mut text = Text::<64>::new();
    text.number(u64::from(pid)).push(b" ").number(keeper as u64).push(b"\n");
    let write = if first { replace } else { publish };
    write(directory, c"pid", text.as_bytes())
}

/// The size of the record of the end: JSON, and spaces behind it.
const END_SIZE: usize = 512;

/// Takes the room of the record of the end, so that a full disk cannot keep it from being written.
pub(crate) fn reserve(directory: i32) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated.
    let file = unsafe { call!(OPENAT, directory, c"exit.new".as_ptr(), WRITE_FLAGS, 0o600) }? as i32;
    let written = write(file, &[b' '; END_SIZE]);
    close(file);
    written
}

/// Makes the file that whoever stops a container renames to `stop`: a full disk must not keep it from being stopped.
pub(crate) fn reserve_stop(directory: i32) {
    // SAFETY: the name is NUL-terminated.
    if let Ok(file) = unsafe { call!(OPENAT, directory, c"stop.new".as_ptr(), WRITE_FLAGS, 0o600) } {
        close(file as i32);
    }
}

/// Records the end, durably.
pub(crate) fn ended(directory: i32, end: &End) -> Result<(), Errno> {
    replace(directory, c"exit", text_of(end).as_bytes())
}

/// Records the end of a run that another one follows.
pub(crate) fn rested(directory: i32, end: &End) -> Result<(), Errno> {
    publish(directory, c"last", text_of(end).as_bytes())
}

fn text_of(end: &End) -> Text<END_SIZE> {
    let mut text = Text::<END_SIZE>::new();
    text.push(b"{\"version\":1,\"status\":").number(u64::from(end.status));
    text.push(b",\"oom_killed\":").push(if end.out_of_memory { b"true" } else { b"false" });
    if end.unknown {
        text.push(b",\"unknown\":true");
    }
    if let Some((errno, op)) = end.fault {
        text.push(b",\"fault_errno\":").number(errno as u64).push(b",\"fault_operation\":").number(u64::from(op));
    }
    text.push(b",\"user_us\":").number(end.processor[0]).push(b",\"system_us\":").number(end.processor[1]);
    text.push(b",\"peak_resident_kib\":").number(end.peak_resident);
    text.push(b",\"finished\":\"").time(end.finished[0], end.finished[1]).push(b"\"}\n");
    // Over what was reserved, without giving the room back in between.
    while text.as_bytes().len() < END_SIZE {
        text.push(b" ");
    }
    text
}

const WRITE_FLAGS: usize = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW;

/// Whether there is a file of this name.
pub(crate) fn exists(directory: i32, name: &core::ffi::CStr) -> bool {
    super::files::is_directory(directory, name.as_ptr().cast()).is_ok()
}

/// Writes aside, syncs, renames, syncs the directory: the file is there whole or not at all. The names are written
/// once, by their first writer, and never with a shorter text: nothing needs to be cut off, and room that was reserved
/// is not given back in between.
fn replace(directory: i32, name: &core::ffi::CStr, text: &[u8]) -> Result<(), Errno> {
    write_aside(directory, name, text, 0)?;
    // SAFETY: plain number.
    unsafe { call!(FSYNC, directory) }.map(drop)
}

/// Writes aside and renames: whoever reads finds the old text or the new one. A crash of the machine ends what the file
/// tells of, so nothing is synced.
pub(crate) fn publish(directory: i32, name: &core::ffi::CStr, text: &[u8]) -> Result<(), Errno> {
    write_aside(directory, name, text, O_TRUNC)
}

fn write_aside(directory: i32, name: &core::ffi::CStr, text: &[u8], truncate: usize) -> Result<(), Errno> {
    let mut aside = Text::<32>::new();
    aside.push(name.to_bytes()).push(b".new");
    // SAFETY: names are NUL-terminated, descriptors plain numbers.
    unsafe {
        let file = call!(OPENAT, directory, aside.as_path(), WRITE_FLAGS | truncate, 0o600)? as i32;
        let mut written = write(file, text);
        if truncate == 0 {
            written = written.and_then(|()| call!(FSYNC, file).map(drop));
        }
        close(file);
        written?;
        call!(RENAMEAT2, directory, aside.as_path(), directory, name.as_ptr(), 0).map(drop)
    }
}
