//! One start from the clone to the payload's exec.

use super::channel::{Channel, ParentEnd, Word};
use super::fault::{Outcome, explain_cut, outcome};
use super::id_map::IdMap;
use super::launcher::Launcher;
use super::memory::PlanMemory;
use super::process::{ExitStatus, Process};
use super::spawn::Spawn;
use crate::kernel::{PidFd, WaitStatus};
use crate::plan::Plan;
use crate::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// A start, prepared.
pub(crate) struct Request<'a> {
    /// What the stage is to do.
    pub(crate) plan: Plan,
    /// The socket that the plan names.
    pub(crate) channel: Channel,
    /// The CLONE_NEW flags of namespaces that begin with the process.
    pub(crate) namespaces: u64,
    /// The control group (v2) in which the process begins.
    pub(crate) cgroup: Option<OwnedFd>,
    /// The id maps to write when the stage asks.
    pub(crate) id_map: Option<IdMap>,
    /// What must be done once the process no longer shares the host's memory, before the payload runs: a memory limit
    /// written earlier could kill the host for its child.
    pub(crate) after_exec_of_stage: Option<Box<dyn FnOnce() -> Result<()> + 'a>>,
}

/// Starts a process; returns when its payload is executed.
pub(crate) fn start(launcher: &Arc<Launcher>, request: Request<'_>) -> Result<Process> {
    let begin = Instant::now();
    let Request { plan, channel, namespaces, cgroup, id_map, after_exec_of_stage } = request;
    let memory = PlanMemory::new(&plan)?;
    let inherited = plan
        .inherited()
        .iter()
        .map(AsRawFd::as_raw_fd)
        .chain([channel.child().as_raw_fd(), memory.as_fd().as_raw_fd()])
        .collect();
    let spawned = launcher.spawn(|stage| Spawn {
        stage,
        plan: memory.as_fd(),
        inherited,
        namespaces,
        cgroup: cgroup.as_ref().map(AsFd::as_fd),
    })?;
    let mut child = Child { pid: spawned.pid, pidfd: Some(PidFd::from_fd(spawned.pidfd)) };
    let parent = channel.into_parent();
    let armed = after_exec_of_stage.map_or(Ok(()), |arm| arm());
    let talked = armed.and_then(|()| converse(&parent, &mut child, id_map.as_ref()));
    if let Err(error) = talked {
        child.kill();
        return Err(error);
    }
    match outcome(memory.recorder(), &plan) {
        Outcome::Executed => {
            let Child { pid, pidfd } = &mut child;
            let Some(pidfd) = pidfd.take() else { return Err(Error::os("start a process", libc::ECHILD)) };
            Ok(Process::new(*pid, pidfd, memory, begin.elapsed(), launcher.clone()))
        }
        Outcome::Faulted(error) => {
            child.kill();
            Err(error)
        }
        Outcome::Cut(index) => {
            let status = child.kill();
            Err(explain_cut(&plan, index, status))
        }
    }
}

/// Answers the stage until it is gone or has become the payload.
fn converse(parent: &ParentEnd, child: &mut Child, id_map: Option<&IdMap>) -> Result<()> {
    loop {
        match parent.receive()? {
            Word::End => return Ok(()),
            Word::Maps => {
                if let Some(id_map) = id_map {
                    id_map.write(child.pid)?;
                }
                parent.go()?;
            }
            Word::Ready => parent.go()?,
            Word::Child(pidfd) => child.succeed(pidfd)?,
        }
    }
}

/// The process that carries out the plan. Not reaped as long as it is held here, so its number stays its own.
struct Child {
    pid: i32,
    pidfd: Option<PidFd>,
}

impl Child {
    /// A child of the child goes on in its place.
    fn succeed(&mut self, pidfd: OwnedFd) -> Result<()> {
        let pid = crate::kernel::pid_of(pidfd.as_fd())?;
        let earlier = self.pidfd.replace(PidFd::from_fd(pidfd));
        self.pid = pid;
        if let Some(earlier) = earlier {
            let _ = earlier.wait();
        }
        Ok(())
    }

    /// Kills and reaps.
    fn kill(&mut self) -> ExitStatus {
        let Some(pidfd) = self.pidfd.take() else { return ExitStatus::Unknown };
        // Where it has ended by itself this changes nothing, and the status is its own.
        let _ = pidfd.send_signal(libc::SIGKILL);
        match pidfd.wait() {
            Ok(WaitStatus::Exited(code)) => ExitStatus::Exited(code),
            Ok(WaitStatus::Signaled(signal)) => ExitStatus::Signaled(signal),
            _ => ExitStatus::Unknown,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
