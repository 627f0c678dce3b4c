//! Programs of the host, run to their end: hooks.
//!
//! Through the stage like every start: its cost does not depend on the size of the host, and its end is known even where
//! the host ignores SIGCHLD.

use super::channel::Channel;
use super::conversation::{Request, start};
use super::fault::Failure;
use super::launcher::Launcher;
use super::process::{ExitStatus, Process};
use crate::error::During;
use crate::plan::layout::NOTE_SIZE;
use crate::plan::op::{OpCode, Tolerate};
use crate::plan::{Builder, Phase, Plan, Slot};
use crate::{Error, ErrorKind, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A program of the host that is to succeed.
#[derive(Debug)]
pub(crate) struct HostProgram<'a> {
    /// "run poststop hook 1 (/bin/x)".
    pub(crate) what: String,
    /// The absolute path.
    pub(crate) path: &'a Path,
    /// Its arguments, the name it goes by among them; not empty.
    pub(crate) arguments: &'a [String],
    /// All of its environment.
    pub(crate) environment: &'a [String],
    /// The working directory.
    pub(crate) directory: &'a Path,
    /// What it reads on its standard input: at most what a pipe can hold, a mebibyte for an ordinary user.
    pub(crate) input: &'a [u8],
    /// How long it may take.
    pub(crate) timeout: Option<Duration>,
    /// Descriptors of the caller that stay open for it, under their numbers.
    pub(crate) preserved: &'a [i32],
}

/// What a pipe holds unless it is enlarged.
const PIPE_SIZE: usize = 65_536;

/// How often its output is read before the time is looked at again.
const READS_AT_ONCE: usize = 64;

impl HostProgram<'_> {
    /// Runs it and waits for its end. It has a session of its own; where its time runs out its process group is killed.
    ///
    /// # Errors
    /// It cannot be executed; it exits with another code than 0, is killed by a signal
    /// ([`CommandFailed`](ErrorKind::CommandFailed), with the last it wrote), or takes too long
    /// ([`TimedOut`](ErrorKind::TimedOut)).
    pub(crate) fn run(&self, launcher: &Arc<Launcher>) -> Result<()> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let input = self.filled_pipe()?;
        let (output, writer) = pipe()?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).during(|| "set up a pipe")?;
        let channel = Channel::new()?;
        let request = Request::new(self.plan(input, writer, channel.child())?, channel);
        let mut process = start(launcher, request)?;
        let mut said = Said::default();
        let in_time = attend(&process, &output, deadline, &mut said)?;
        if !in_time {
            process.kill_group();
        }
        let status = process.wait()?.status;
        said.read(&output);
        match status {
            _ if !in_time => {
                let seconds = self.timeout.unwrap_or_default().as_secs();
                Err(Failure::TimedOut(seconds).explain(&self.what, &said.last()))
            }
            ExitStatus::Exited(0) => Ok(()),
            status => Err(Failure::Ended(status).explain(&self.what, &said.last())),
        }
    }

    fn plan(&self, input: OwnedFd, output: OwnedFd, status: &OwnedFd) -> Result<Plan> {
        let mut plan = Builder::new();
        let (input, output) = (plan.inherit(input), plan.inherit(output));
        self.preserved.iter().for_each(|&number| plan.preserve(number));
        plan.push(OpCode::CloseOthers, &[], "close foreign descriptors");
        plan.push(OpCode::ResetSignals, &[], "reset signals");
        plan.push(OpCode::ResetAffinity, &[], "reset the processor affinity").tolerate(Tolerate::UNKNOWN);
        plan.push(OpCode::NewSession, &[], "start a new session");
        let (directory, text) = (plan.slot(), plan.text(self.directory.as_os_str().as_bytes()));
        let flags = (libc::O_PATH | libc::O_DIRECTORY) as u32;
        let shown = self.directory.display();
        let what = format!("{}: open the working directory {shown}", self.what);
        plan.push(OpCode::OpenHost, &[text, flags, directory.into()], what);
        plan.phase(Phase::Mount);
        plan.push(OpCode::ChangeDirectory, &[directory.into()], "enter the working directory");
        plan.phase(Phase::Session);
        for (number, slot) in [input, output, output].into_iter().enumerate() {
            plan.push(OpCode::StandardStream, &[Slot::into(slot), number as u32], "set up a standard stream");
        }
        plan.phase(Phase::EarlyFilter);
        // The socket to this process among them: its end is how the exec shows.
        plan.push(OpCode::CloseOnExec, &[3], "have the exec close descriptors");
        plan.phase(Phase::Exec);
        let arguments = plan.texts(self.arguments);
        let environment = plan.texts(self.environment);
        let candidates = plan.texts([self.path.as_os_str().as_bytes()]);
        plan.push(OpCode::Execute, &[arguments, environment, candidates], self.what.clone())
            .hint(libc::ENOENT, "the program, or the interpreter it names, does not exist")
            .hint(libc::EACCES, "the program is not executable")
            .hint(libc::ENOEXEC, "the program is for another machine, or a script without #!");
        plan.finish(status)
    }

    /// The read end of a pipe that holds the input: it is written before anybody could refuse to read it.
    fn filled_pipe(&self) -> Result<OwnedFd> {
        let (reader, writer) = pipe()?;
        let size = self.input.len();
        if size > PIPE_SIZE {
            let size = i32::try_from(size).map_err(|_| too_long(size))?;
            fcntl(&writer, FcntlArg::F_SETPIPE_SZ(size)).map_err(|_| too_long(self.input.len()))?;
        }
        let mut rest = self.input;
        while !rest.is_empty() {
            let written =
                nix::unistd::write(&writer, rest).during(|| "write the state of the container into a pipe")?;
            rest = &rest[written..];
        }
        Ok(reader)
    }
}

fn too_long(size: usize) -> Error {
    Error::new(ErrorKind::LimitExceeded, format!("the state for the hooks takes {size} bytes, more than a pipe holds"))
        .hint("shorten the annotations, or raise the sysctl fs.pipe-max-size")
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).during(|| "create a pipe")
}

/// Reads what it writes until it ends; whether it does before `deadline`. What it leaves running may keep its output
/// open: only its own end counts.
fn attend(process: &Process, output: &OwnedFd, deadline: Option<Instant>, said: &mut Said) -> Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Rounded up: a rest below a millisecond must not become a busy loop.
        let limit = left.map_or(PollTimeout::NONE, |left| {
            let millis = left.as_millis().min(3_600_000) as i32 + i32::from(!left.is_zero());
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::ZERO)
        });
        let ended = PollFd::new(process.as_fd(), PollFlags::POLLIN);
        let mut polled = [ended, PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        let watched = if said.closed { 1 } else { 2 };
        match poll(&mut polled[..watched], limit) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::os("wait for a program", errno as i32)),
        }
        said.read(output);
        if polled[0].any().unwrap_or(false) {
            return Ok(true);
        }
    }
}

/// The last of what a program wrote.
#[derive(Debug, Default)]
struct Said {
    bytes: Vec<u8>,
    closed: bool,
}

impl Said {
    /// Takes what there is.
    fn read(&mut self, output: &OwnedFd) {
        let mut buffer = [0u8; 4096];
        for _ in 0..READS_AT_ONCE {
            if self.closed {
                return;
            }
            match nix::unistd::read(output, &mut buffer) {
                Ok(0) => self.closed = true,
                Ok(count) => {
                    self.bytes.extend_from_slice(&buffer[..count]);
                    let surplus = self.bytes.len().saturating_sub(NOTE_SIZE);
                    self.bytes.drain(..surplus);
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    fn last(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}
