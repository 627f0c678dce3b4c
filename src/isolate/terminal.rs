//! The terminal of a process: a pseudo-terminal of the container's own devpts, whose master goes to whoever asked for it.

use crate::error::During;
use crate::kernel::{WindowSize, connect_unix};
use crate::plan::op::{Landing, OpCode, Tolerate};
use crate::plan::{Builder, Slot};
use crate::{Error, Result};
use oci_spec::runtime::Process;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// What the receiver of a master reads along with it, as from runc: the name it was opened by.
const MASTER_NAME: &str = "/dev/ptmx";

/// Where the master of a terminal goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TerminalEnd {
    /// The connected socket.
    pub(crate) socket: Slot,
    /// Rows and columns, where the process has no `consoleSize`.
    pub(crate) size: Option<WindowSize>,
}

/// Opens a terminal for `process` on the devpts below `root` and sends its master to `end`; the slot of the slave.
pub(crate) fn lower_terminal(plan: &mut Builder, root: Slot, process: &Process, end: TerminalEnd) -> Result<Slot> {
    let (master, slave) = (plan.slot(), plan.slot());
    let size = console_size(process, end.size)?;
    let socket = end.socket;
    let arguments = [root.into(), master.into(), slave.into(), size, process.user().uid()];
    plan.push(OpCode::OpenTerminal, &arguments, "open a terminal of the container")
        .hint(libc::ENOENT, "the container has no devpts at /dev/pts: mount one, or set process.terminal to false")
        .hint(libc::ENOTTY, "/dev/pts/ptmx of the container belongs to no devpts")
        .hint(libc::EPROTO, "/dev/ptmx of the container belongs to no devpts")
        .hint(libc::ENOSPC, "too many terminals are open: sysctl kernel.pty.max, or the devpts option max=")
        .hint(libc::EACCES, "the devpts needs the option ptmxmode=0666 here");
    let name = plan.text(MASTER_NAME);
    let arguments = [socket.into(), master.into(), name];
    plan.push(OpCode::SendDescriptor, &arguments, "send the terminal over the console socket")
        .hint(libc::EPIPE, "nobody receives from the console socket");
    plan.release(master);
    plan.release(socket);
    Ok(slave)
}

/// Binds the terminal over /dev/console of the container. A link in its place is refused: what is made and mounted there
/// must not land anywhere else (CVE-2025-52565).
pub(crate) fn lower_console(plan: &mut Builder, root: Slot, slave: Slot) {
    let (mount, path) = (plan.slot(), plan.text("/dev/console"));
    plan.push(OpCode::CloneMount, &[slave.into(), 0, mount.into()], "bind the terminal for /dev/console");
    plan.push(
        OpCode::AttachAt,
        &[mount.into(), root.into(), path, Landing::NO_LINK],
        "bind the terminal on /dev/console",
    )
    .hint(libc::EROFS, "/dev of the container is read-only and has no file console")
    .hint(libc::ELOOP, "the container has a link in its place")
    .hint(libc::ENOTDIR, "the container has a directory in its place");
    plan.release(mount);
}

/// Makes the terminal the controlling one of the process, in a session of its own.
pub(crate) fn lower_controlling_terminal(plan: &mut Builder, slave: Slot) {
    // It may lead one already.
    plan.push(OpCode::NewSession, &[], "start a new session").tolerate(Tolerate::REFUSED);
    plan.push(OpCode::ControllingTerminal, &[slave.into()], "make the terminal the controlling one");
}

/// Rows in the lower half, columns in the upper; 0 for the kernel's own.
fn console_size(process: &Process, otherwise: Option<WindowSize>) -> Result<u32> {
    let Some(size) = process.console_size() else {
        let (rows, columns) = otherwise.unwrap_or_default();
        return Ok(u32::from(rows) | u32::from(columns) << 16);
    };
    let side = |name: &str, side: u64| {
        u16::try_from(side)
            .map(u32::from)
            .map_err(|_| Error::invalid(format!("process.consoleSize.{name} {side} is above 65535")))
    };
    Ok(side("height", size.height())? | side("width", size.width())? << 16)
}

/// Whether a terminal and a console socket belong together (as runc has it).
///
/// # Errors
/// A terminal of a detached process that nobody gets the master of; a console socket for a process without a terminal.
pub(crate) fn check_terminal(terminal: bool, console_socket: bool, detached: bool) -> Result<()> {
    match (terminal, console_socket) {
        (true, false) if detached => Err(Error::invalid(
            "a terminal of a detached process needs a console socket, over which its master is sent",
        )
        .hint("give a console socket, or set process.terminal to false")),
        (false, true) => Err(Error::invalid("there is a console socket, and the process has no terminal")
            .hint("set process.terminal to true")),
        _ => Ok(()),
    }
}

/// How long who listens on a console socket may take.
const CONSOLE_LIMIT: Duration = Duration::from_secs(10);

/// Connects to the socket that takes masters.
///
/// # Errors
/// Nobody listens there; the name alone is too long for a socket.
pub(crate) fn connect_console_socket(path: &Path) -> Result<OwnedFd> {
    connect_unix(path, CONSOLE_LIMIT)
        .map(OwnedFd::from)
        .during(|| format!("connect to the console socket {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_terminal_and_its_socket_belong_together() {
        assert!(check_terminal(true, false, true).is_err());
        assert!(check_terminal(false, true, true).is_err());
        assert!(check_terminal(true, false, false).is_ok());
        assert!(check_terminal(true, true, true).is_ok());
        assert!(check_terminal(false, false, true).is_ok());
    }

    #[test]
    fn sockets_in_deep_directories_are_reached() {
        let top = tempfile::tempdir().unwrap();
        let deep = top.path().join("a".repeat(100)).join("b".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let directory = std::fs::File::open(&deep).unwrap();
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/s", directory.as_raw_fd())).unwrap();
        assert!(connect_console_socket(&deep.join("s")).is_ok());
        drop(listener);
        assert!(connect_console_socket(&deep.join("n".repeat(120))).unwrap_err().to_string().contains("too long"));
        assert!(connect_console_socket(&deep.join("none")).is_err());
    }
}
