//! Processes by descriptor.

use super::descriptor;
use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

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

/// What a process and the children it waited for used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time in user mode.
    pub(crate) user: Duration,
    /// Processor time in the kernel.
    pub(crate) system: Duration,
    /// The most memory that one process had resident, in bytes.
    pub(crate) peak_resident: u64,
}

impl From<libc::rusage> for Usage {
    fn from(usage: libc::rusage) -> Usage {
        let time = |time: libc::timeval| {
            Duration::new(time.tv_sec.unsigned_abs(), (time.tv_usec.unsigned_abs() as u32).saturating_mul(1000))
        };
        // getrusage(2): ru_maxrss is in kilobytes.
        let peak = usage.ru_maxrss.unsigned_abs().saturating_mul(1024);
        Usage { user: time(usage.ru_utime), system: time(usage.ru_stime), peak_resident: peak }
    }
}

/// The number, in this PID namespace, of the process that `pidfd` refers to.
pub(crate) fn pid_of(pidfd: BorrowedFd<'_>) -> crate::Result<i32> {
    use crate::error::During;
    // `self` is empty once the main thread of the host has ended, and a thread may have a table of descriptors of its own.
    let path = format!("/proc/thread-self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(&path).during(|| "read the number of a process")?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .and_then(|number| number.trim().parse().ok())
        .filter(|&number| number > 0)
        .ok_or_else(|| crate::Error::os("read the number of a process", libc::ESRCH))
}

/// The soft and the hard limit of this process for a resource, by its number.
pub(crate) fn resource_limit(resource: u32) -> nix::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a live struct to fill; without new limits nothing is changed.
    let result = unsafe { libc::prlimit64(0, resource as _, std::ptr::null(), &raw mut limit) };
    Errno::result(result).map(|_| (limit.rlim_cur, limit.rlim_max))
}

/// What proc_pid_stat(5) says of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessStat {
    /// `Z` and `X` have ended.
    pub(crate) state: u8,
    pub(crate) parent: u32,
    /// In ticks since the boot.
    pub(crate) start_time: u64,
}

impl ProcessStat {
    /// That of process `pid`, as long as it is not reaped.
    pub(crate) fn of(pid: i32) -> Option<ProcessStat> {
        let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name, which may hold anything.
        let rest = text.get(text.iter().rposition(|&byte| byte == b')')? + 2..)?;
        let mut fields = std::str::from_utf8(rest).ok()?.split(' ');
        let state = *fields.next()?.as_bytes().first()?;
        Some(ProcessStat { state, parent: fields.next()?.parse().ok()?, start_time: fields.nth(17)?.parse().ok()? })
    }
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
        self.wait_with_usage().map(|(status, _)| status)
    }

    /// Waits for the end of this child and reaps it; also says what it used.
    pub(crate) fn wait_with_usage(&self) -> io::Result<(WaitStatus, Usage)> {
        loop {
            // SAFETY: siginfo_t and rusage are plain data.
            let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { std::mem::zeroed() };
            // The wrapper of libc has no place for the usage.
            // SAFETY: both are live for the call. __WALL also finds a child with another exit signal than SIGCHLD.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_waitid,
                    libc::P_PIDFD,
                    self.0.as_raw_fd(),
                    &raw mut info,
                    libc::WEXITED | libc::__WALL,
                    &raw mut usage,
                )
            };
            match Errno::result(result) {
                Ok(_) => {
                    // SAFETY: waitid has filled the child's part of the union.
                    let status = unsafe { info.si_status() };
                    let status = match info.si_code {
                        libc::CLD_EXITED => WaitStatus::Exited(status as u8),
                        _ => WaitStatus::Signaled(status as u8),
                    };
                    return Ok((status, Usage::from(usage)));
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return self.wait_unparented().map(|status| (status, Usage::default())),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reaps the process if it has ended and is a child of this one; waits for nothing.
    pub(crate) fn reap_if_child(&self) {
        let options = libc::WEXITED | libc::WNOHANG | libc::__WALL;
        // SAFETY: nothing is filled in. That it is somebody else's child is no error.
        unsafe { libc::syscall(libc::SYS_waitid, libc::P_PIDFD, self.0.as_raw_fd(), 0, options, 0) };
    }

    /// Whether the process ends within `limit`.
    pub(crate) fn wait_readable(&self, limit: Duration) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let deadline = std::time::Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(ready) => return ready > 0,
                Err(Errno::EINTR) if !left.is_zero() => {}
                Err(_) => return false,
            }
        }
    }

    /// Waits until the process is gone, where its status went to somebody else.
    fn wait_unparented(&self) -> io::Result<WaitStatus> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut polled, PollTimeout::NONE) {
                Ok(_) => return Ok(self.status_kept_by_kernel().unwrap_or(WaitStatus::Unknown)),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The status that the kernel keeps with the descriptor (since 6.15), whoever reaped the process.
    fn status_kept_by_kernel(&self) -> Option<WaitStatus> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        for _ in 0..2 {
            let mut info = PidFdInfo { mask: PIDFD_INFO_EXIT, ..PidFdInfo::default() };
            // SAFETY: the request encodes the size of the live structure.
            let result = unsafe { libc::ioctl(self.0.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
            match Errno::result(result) {
                Ok(_) if info.mask & PIDFD_INFO_EXIT != 0 => {
                    return Some(match info.exit_code & 0x7f {
                        0 => WaitStatus::Exited((info.exit_code >> 8) as u8),
                        signal => WaitStatus::Signaled(signal as u8),
                    });
                }
                // Ended, but not reaped yet, which POLLHUP tells and which is a matter of microseconds.
                Ok(_) | Err(Errno::ESRCH) => {
                    let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
                    let _ = poll(&mut polled, PollTimeout::from(1000u16));
                }
                Err(_) => return None,
            }
        }
        None
    }
}

/// The first version of struct pidfd_info (`linux/pidfd.h`).
#[repr(C)]
#[derive(Default)]
struct PidFdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// _IOWR(0xff, 11, struct pidfd_info) of 64 bytes.
const PIDFD_GET_INFO: libc::Ioctl = ((3u64 << 30) | (64 << 16) | (0xff << 8) | 11) as libc::Ioctl;

/// Asks for the exit code of a process that has been reaped.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> OwnedFd {
        pidfd.0
    }
}

/// Becomes readable when the process ends.
impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
