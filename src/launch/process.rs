//! A started process, and how it ended.

use super::launcher::Launcher;
use super::memory::PlanMemory;
use crate::error::During;
use crate::kernel::{PidFd, WaitStatus};
use crate::plan::layout::{Recorder, STATUS_KNOWN};
use crate::value::Memory;
use crate::{Error, Result};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It exited with this code.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
    /// Somebody else in this process took the status: SIGCHLD is ignored, or every child is waited for. Never guessed.
    Unknown,
}

impl ExitStatus {
    /// Whether it exited with 0.
    pub fn success(self) -> bool {
        self == ExitStatus::Exited(0)
    }

    /// The code as a shell shows it: 128 and the signal for a signal, `None` where it is not known.
    pub fn code(self) -> Option<u8> {
        match self {
            ExitStatus::Exited(code) => Some(code),
            ExitStatus::Signaled(signal) => Some(128 | signal),
            ExitStatus::Unknown => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ExitStatus::Exited(code) => write!(f, "exited with {code}"),
            ExitStatus::Signaled(signal) => match nix::sys::signal::Signal::try_from(i32::from(signal)) {
                Ok(name) => write!(f, "killed by {name}"),
                Err(_) => write!(f, "killed by signal {signal}"),
            },
            ExitStatus::Unknown => f.write_str("ended, its status was taken by another part of this process"),
        }
    }
}

/// The end of a process with what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// Processor time in user mode, of it and the children it waited for.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The most memory that one of its processes had resident.
    pub peak_resident: Memory,
}

/// A running payload.
///
/// Dropping it kills the payload and reaps it.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    pidfd: PidFd,
    /// Until it is dropped.
    memory: Option<PlanMemory>,
    start: Duration,
    ended: Option<Exit>,
    released: bool,
    /// The launch thread must outlive the process, which dies with it.
    launcher: Arc<Launcher>,
}

impl Process {
    pub(super) fn new(pid: i32, pidfd: PidFd, memory: PlanMemory, start: Duration, launcher: Arc<Launcher>) -> Process {
        Process { pid, pidfd, memory: Some(memory), start, ended: None, released: false, launcher }
    }

    /// The number of the process on the host. It is this process's until it has been waited for.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets it run on when this value is dropped.
    pub(crate) fn release(&mut self) {
        self.released = true;
    }

    /// How long the start took: from the call to the exec of the payload.
    pub fn start_duration(&self) -> Duration {
        self.start
    }

    /// Kills it and every process of the group that it leads.
    pub(super) fn kill_group(&self) {
        // Its number is its own until it has been waited for.
        if self.ended.is_none() {
            let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(self.pid), nix::sys::signal::Signal::SIGKILL);
            let _ = self.pidfd.send_signal(libc::SIGKILL);
        }
    }

    /// Sends a signal. That it has ended is no error.
    pub fn kill(&self, signal: i32) -> Result<()> {
        match self.pidfd.send_signal(signal) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                Err(error).during(|| format!("send signal {signal} to process {}", self.pid))
            }
            _ => Ok(()),
        }
    }

    /// Waits for the end; a second call gives the same answer.
    pub fn wait(&mut self) -> Result<Exit> {
        if let Some(exit) = self.ended {
            return Ok(exit);
        }
        let (status, usage) = self.pidfd.wait_with_usage().during(|| format!("wait for process {}", self.pid))?;
        let exit = Exit {
            status: self.exact(status),
            user: usage.user,
            system: usage.system,
            peak_resident: Memory::bytes(usage.peak_resident),
        };
        self.ended = Some(exit);
        Ok(exit)
    }

    /// Waits for at most `limit`; `None` where it still runs then.
    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<Exit>> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let deadline = std::time::Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            // Rounded up: a rest below a millisecond must not become a busy loop.
            let millis = left.as_millis().min(3_600_000) as i32 + i32::from(!left.is_zero());
            let mut polled = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, PollTimeout::try_from(millis).unwrap_or(PollTimeout::ZERO)) {
                Ok(0) if left.is_zero() => return Ok(None),
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return self.wait().map(Some),
                Err(errno) => return Err(Error::os("wait for a process", errno as i32)),
            }
        }
    }

    /// The payload's own status, where an init stands between.
    fn exact(&self, status: WaitStatus) -> ExitStatus {
        let noted = self.memory.as_ref().and_then(|memory| payload_status(memory.recorder()));
        noted.unwrap_or(match status {
            WaitStatus::Exited(code) => ExitStatus::Exited(code),
            WaitStatus::Signaled(signal) => ExitStatus::Signaled(signal),
            WaitStatus::Unknown => ExitStatus::Unknown,
        })
    }
}

/// How the payload under an init ended, as that init wrote it down.
pub(super) fn payload_status(recorder: &Recorder) -> Option<ExitStatus> {
    let raw = recorder.payload_status.load(Ordering::Acquire);
    if raw & STATUS_KNOWN == 0 {
        return None;
    }
    Some(status_of(raw))
}

/// A wait status: code in bits 8 to 15, signal in bits 0 to 6.
pub(super) fn status_of(raw: u32) -> ExitStatus {
    match raw & 0x7f {
        0 => ExitStatus::Exited((raw >> 8) as u8),
        signal => ExitStatus::Signaled(signal as u8),
    }
}

/// Becomes readable when the process has ended: for poll(2) and event loops.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut ended = self.ended.is_some();
        if !ended && !self.released {
            let _ = self.pidfd.send_signal(libc::SIGKILL);
            ended = self.pidfd.wait().is_ok();
        }
        // With the first process every other of its PID namespace has ended. One that was let go may still read it.
        if let (true, false, Some(memory)) = (ended, self.released, self.memory.take()) {
            self.launcher.recycle(memory);
        }
    }
}
