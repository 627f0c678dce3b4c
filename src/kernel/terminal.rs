//! Terminals: their window size, which nix has no call for.

use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The size of a terminal in characters: rows, then columns.
pub(crate) type WindowSize = (u16, u16);

/// The window size of a terminal (ioctl_tty(2)).
pub(crate) fn window_size(terminal: BorrowedFd<'_>) -> nix::Result<WindowSize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure is live.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}

/// Sets the window size of a terminal; its foreground processes get SIGWINCH where it changes.
pub(crate) fn set_window_size(terminal: BorrowedFd<'_>, (rows, columns): WindowSize) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure is live.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}
