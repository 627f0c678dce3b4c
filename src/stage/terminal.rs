//! Pseudo-terminals of the container's own devpts.

use super::call::call;
use super::constant::*;
use super::files::{check_filesystem, close, open_below};
use super::program::Program;
use super::syscall::Errno;

/// struct winsize (ioctl_tty(2)).
#[repr(C)]
struct WindowSize {
    rows: u16,
    columns: u16,
    pixels: [u16; 2],
}

/// Opens a new pseudo-terminal of the devpts below `root`: master and slave.
///
/// The slave comes from the master (TIOCGPTPEER), never by its path, which belongs to whoever mounted what there; that it
/// lies on a devpts is verified.
pub(crate) fn open(program: &Program, root: i32, size: u32, user: u32) -> Result<[i32; 2], Errno> {
    program.part(0);
    let flags = O_RDWR | O_NOCTTY;
    let master = match open_below(root, c"dev/pts/ptmx".as_ptr().cast(), flags, 0) {
        Err(ENOENT | ENOTDIR) => open_below(root, c"dev/ptmx".as_ptr().cast(), flags, 0)?,
        other => other?,
    };
    program.part(1);
    let opened = open_slave(master, flags | O_CLOEXEC);
    let Ok(slave) = opened else {
        close(master);
        return opened.map(|slave| [master, slave]);
    };
    program.part(2);
    if let Err(errno) = prepare(master, slave, size, user) {
        close(master);
        close(slave);
        return Err(errno);
    }
    Ok([master, slave])
}

fn open_slave(master: i32, flags: usize) -> Result<i32, Errno> {
    let unlocked = 0i32;
    // SAFETY: one live number; then plain numbers.
    unsafe {
        call!(IOCTL, master, TIOCSPTLCK, &raw const unlocked)?;
        call!(IOCTL, master, TIOCGPTPEER, flags).map(|slave| slave as i32)
    }
}

/// Gives the slave to `user` and sets the size: rows in the lower half of `size`, columns in the upper.
fn prepare(master: i32, slave: i32, size: u32, user: u32) -> Result<(), Errno> {
    check_filesystem(slave, DEVPTS_MAGIC)?;
    if size != 0 {
        let size = WindowSize { rows: size as u16, columns: (size >> 16) as u16, pixels: [0; 2] };
        // SAFETY: a live struct winsize.
        unsafe { call!(IOCTL, master, TIOCSWINSZ, &raw const size) }?;
    }
    // The group stays that of the mount's option gid=.
    // SAFETY: plain numbers and an empty, NUL-terminated path.
    match unsafe { call!(FCHOWNAT, slave, c"".as_ptr(), user, u32::MAX, AT_EMPTY_PATH) } {
        // In a user namespace without that id the process is not started as it either; root alone changes owners.
        Ok(_) | Err(EPERM | EINVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}
