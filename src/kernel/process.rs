//! Processes by descriptor.

use super::descriptor;
use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitStatus {
    /// It called exit with this code, 0 to 255.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
    /// Somebody else took the status (a host that ignores SIGCHLD or waits for every child).
    Unknown,
}

/// A process held by descriptor: its number cannot be taken over by another.
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// The process `pid`, which must be known to be alive or an unreaped child.
    pub(crate) fn open(pid: i32) -> io::Result<PidFd> {
        // SAFETY: pidfd_open takes plain numbers.
        descriptor(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(PidFd).map_err(io::Error::from)
    }

    /// The process that `fd`, made by clone3 or received over a socket, refers to.
    pub(crate) fn from_fd(fd: OwnedFd) -> PidFd {
        PidFd(fd)
    }

    /// Sends a signal.
    pub(crate) fn send_signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: no siginfo is passed.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal, 0, 0) };
        Errno::result(result).map(drop).map_err(io::Error::from)
    }

    /// Waits for the end of this child and reaps it.
    pub(crate) fn wait(&self) -> io::Result<WaitStatus> {
        loop {
            // SAFETY: siginfo_t is plain data.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            // SAFETY: `info` is live for the call. __WALL also finds a child with another exit signal than SIGCHLD.
            let result = unsafe {
                libc::waitid(libc::P_PIDFD, self.0.as_raw_fd() as libc::id_t, &mut info, libc::WEXITED | libc::__WALL)
            };
            match Errno::result(result) {
                Ok(_) => {
                    // SAFETY: waitid has filled the child's part of the union.
                    let status = unsafe { info.si_status() };
                    return Ok(match info.si_code {
                        libc::CLD_EXITED => WaitStatus::Exited(status as u8),
                        _ => WaitStatus::Signaled(status as u8),
                    });
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return self.wait_unparented(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits until the process is gone, where its status went to somebody else.
    fn wait_unparented(&self) -> io::Result<WaitStatus> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut polled, PollTimeout::NONE) {
                Ok(_) => return Ok(WaitStatus::Unknown),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Becomes readable when the process ends.
impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
