//! One start from the clone to the payload's exec.

use super::channel::{Channel, ParentEnd, Word};
use super::fault::{Outcome, explain_cut, outcome};
use super::id_map::IdMap;
use super::launcher::{Launcher, Pending};
use super::memory::PlanMemory;
use super::process::{ExitStatus, Process, payload_status};
use super::spawn::Spawn;
use crate::kernel::{PidFd, ProcessStat, WaitStatus};
use crate::plan::Plan;
use crate::plan::layout::State;
use crate::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

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
    /// What is done to the container from outside when it is built and its root is not pivoted yet, with the number of
    /// its first process.
    pub(crate) gate: Option<Gate<'a>>,
    /// What must be done once the process no longer shares the host's memory, before the payload runs: a memory limit
    /// written earlier could kill the host for its child.
    /// It gets the process's number.
    pub(crate) after_exec_of_stage: Option<Box<dyn FnOnce(i32) -> Result<()> + 'a>>,
    /// Hands the descriptor of the filter of this process to its supervisor; for a plan that loads such a filter.
    pub(crate) listener: Option<HandOver<'a>>,
}

impl<'a> Request<'a> {
    /// The start of `plan`, of which nothing else is asked.
    pub(crate) fn new(plan: Plan, channel: Channel) -> Request<'a> {
        Request {
            plan,
            channel,
            namespaces: 0,
            cgroup: None,
            id_map: None,
            gate: None,
            after_exec_of_stage: None,
            listener: None,
        }
    }
}

/// See [`Request::gate`].
pub(crate) type Gate<'a> = Box<dyn FnOnce(i32) -> Result<()> + 'a>;

/// What is done with the descriptor of a filter; the number is that of its process.
pub(crate) type HandOver<'a> = Box<dyn FnOnce(OwnedFd, i32) -> Result<()> + 'a>;

/// How long a stage that has closed its socket without a word is given to end by itself.
const CUT_GRACE: Duration = Duration::from_secs(2);

/// Starts a keeper; returns the number of the container's first process once its payload is executed.
///
/// A keeper whose start fails cleans up by itself; it holds what it inherited until then.
pub(crate) fn start_keeper(launcher: &Arc<Launcher>, request: Request<'_>) -> Result<i32> {
    let Request { plan, channel, namespaces, cgroup, id_map, mut gate, after_exec_of_stage: mut arm, mut listener } =
        request;
    let memory = launcher.memory(&plan)?;
    let (parent, socket) = channel.split();
    let mut child = Child::begin(launcher, socket, &plan, &memory, namespaces, cgroup.as_ref())?;
    // The first process hands on to its child, which belongs to nobody here.
    child.settle()?;
    child.reap();
    let pid = || memory.recorder().pid.load(Ordering::Acquire) as i32;
    loop {
        match parent.receive()? {
            Word::End => break,
            Word::Maps => {
                if let Some(id_map) = &id_map {
                    id_map.install(launcher, pid())?;
                }
                parent.go()?;
            }
            Word::Ready => {
                arm.take().map_or(Ok(()), |arm| arm(pid()))?;
                parent.go()?;
            }
            Word::Gate => {
                gate.take().map_or(Ok(()), |gate| gate(pid()))?;
                parent.go()?;
            }
            Word::Listener(descriptor) => {
                hand_over(listener.take(), descriptor, pid())?;
                parent.go()?;
            }
            Word::Child(_) => {}
        }
    }
    match outcome(memory.recorder(), &plan) {
        Outcome::Executed | Outcome::Parked => Ok(pid()),
        Outcome::Faulted(error) => Err(error),
        Outcome::Cut(index) => Err(explain_cut(&plan, index, ExitStatus::Signaled(libc::SIGKILL as u8))),
    }
}

/// Starts a process; returns when its payload is executed, or when it is parked.
pub(crate) fn start(launcher: &Arc<Launcher>, request: Request<'_>) -> Result<Process> {
    let begin = Instant::now();
    let Request { plan, channel, namespaces, cgroup, id_map, gate, after_exec_of_stage: arm, listener } = request;
    let memory = launcher.memory(&plan)?;
    let (parent, socket) = channel.split();
    let mut child = Child::begin(launcher, socket, &plan, &memory, namespaces, cgroup.as_ref())?;
    let talked = converse(launcher, &parent, &mut child, id_map.as_ref(), gate, arm, listener);
    // A clone that failed is the cause of whatever else went wrong.
    child.settle()?;
    // Once a payload runs, its init could have written anything there.
    if !matches!(memory.recorder().state.load(Ordering::Acquire), State::EXECUTING | State::PARKED) {
        child.succeed_unannounced(memory.recorder().pid.load(Ordering::Acquire));
    }
    if let Err(error) = talked {
        child.kill();
        return Err(error);
    }
    match outcome(memory.recorder(), &plan) {
        Outcome::Executed | Outcome::Parked => {
            let (pid, pidfd) = (child.pid, child.pidfd.take());
            drop(child);
            let Some(pidfd) = pidfd else { return Err(Error::os("start a process", libc::ECHILD)) };
            Ok(Process::new(pid, pidfd, memory, begin.elapsed(), launcher.clone()))
        }
        Outcome::Faulted(error) => {
            child.kill();
            Err(error)
        }
        Outcome::Cut(index) => {
            // Ended already, or an init about to say how its child ended: our own signal must not look like the cause.
            let own = child.ended_within(CUT_GRACE);
            let status = if own { child.reap() } else { child.kill() };
            Err(explain_cut(&plan, index, payload_status(memory.recorder()).unwrap_or(status)))
        }
    }
}

/// Answers the stage until it is gone or has become the payload.
fn converse<'a>(
    launcher: &Arc<Launcher>,
    parent: &ParentEnd,
    child: &mut Child<'_>,
    id_map: Option<&IdMap>,
    mut gate: Option<Gate<'a>>,
    mut arm: Option<Box<dyn FnOnce(i32) -> Result<()> + 'a>>,
    mut listener: Option<HandOver<'a>>,
) -> Result<()> {
    loop {
        match parent.receive()? {
            Word::End => return Ok(()),
            Word::Maps => {
                child.settle()?;
                if let Some(id_map) = id_map {
                    id_map.install(launcher, child.pid)?;
                }
                parent.go()?;
            }
            Word::Ready => {
                child.settle()?;
                arm.take().map_or(Ok(()), |arm| arm(child.pid))?;
                parent.go()?;
            }
            Word::Gate => {
                child.settle()?;
                gate.take().map_or(Ok(()), |gate| gate(child.pid))?;
                parent.go()?;
            }
            Word::Listener(descriptor) => {
                child.settle()?;
                hand_over(listener.take(), descriptor, child.pid)?;
                parent.go()?;
            }
            Word::Child(pidfd) => child.succeed(pidfd)?,
        }
    }
}

/// Hands on the descriptor of a filter, which nobody may have waited for.
fn hand_over(to: Option<HandOver<'_>>, descriptor: OwnedFd, pid: i32) -> Result<()> {
    let to = to.ok_or_else(|| Error::os("hand on the descriptor of the seccomp filter", libc::EPROTO))?;
    to(descriptor, pid)
}

/// The process that carries out the plan. Not reaped as long as it is held here, so its number stays its own.
struct Child<'a> {
    pending: Option<Pending<'a>>,
    pid: i32,
    pidfd: Option<PidFd>,
}

impl<'a> Child<'a> {
    /// Asks for the clone.
    fn begin(
        launcher: &'a Launcher,
        socket: OwnedFd,
        plan: &'a Plan,
        memory: &'a PlanMemory,
        namespaces: u64,
        cgroup: Option<&'a OwnedFd>,
    ) -> Result<Child<'a>> {
        let own = [socket.as_raw_fd(), memory.as_fd().as_raw_fd()];
        let inherited = plan.inherited().chain(own).collect();
        let (plan_size, plan, cgroup) = (plan.bytes().len(), memory.as_fd(), cgroup.map(AsFd::as_fd));
        let pending =
            launcher.begin(socket, |stage| Spawn { stage, plan, plan_size, inherited, namespaces, cgroup })?;
        Ok(Child { pending: Some(pending), pid: 0, pidfd: None })
    }

    /// Waits for the clone, if it has not been waited for.
    fn settle(&mut self) -> Result<()> {
        if let Some(pending) = self.pending.take() {
            let spawned = pending.wait()?;
            self.pid = spawned.pid;
            self.pidfd = Some(PidFd::from_fd(spawned.pidfd));
        }
        Ok(())
    }

    /// A child of the child goes on in its place.
    fn succeed(&mut self, pidfd: OwnedFd) -> Result<()> {
        self.settle()?;
        let pid = crate::kernel::pid_of(pidfd.as_fd())?;
        // Whoever took the child over must not make this process kill a stranger.
        if ProcessStat::of(pid).is_some_and(|stat| stat.parent != std::process::id()) {
            return Err(Error::os("follow the container's process", libc::EPROTO));
        }
        let earlier = self.pidfd.replace(PidFd::from_fd(pidfd));
        self.pid = pid;
        if let Some(earlier) = earlier {
            let _ = earlier.wait();
        }
        Ok(())
    }

    /// A child of the child goes on in its place, and the child was killed before it could say so: `pid`, 0 for none,
    /// is what the kernel wrote down at the fork.
    fn succeed_unannounced(&mut self, pid: u32) {
        let pid = i32::try_from(pid).unwrap_or(0);
        if pid == 0 || pid == self.pid {
            return;
        }
        if let Ok(successor) = PidFd::open(pid)
            && ProcessStat::of(pid).is_some_and(|stat| stat.parent == std::process::id())
        {
            self.kill();
            self.pid = pid;
            self.pidfd = Some(successor);
        }
    }

    /// Whether it ends by itself within `limit`.
    fn ended_within(&self, limit: Duration) -> bool {
        self.pidfd.as_ref().is_some_and(|pidfd| pidfd.wait_readable(limit))
    }

    /// Kills and reaps.
    fn kill(&mut self) -> ExitStatus {
        let _ = self.settle();
        if let Some(pidfd) = &self.pidfd {
            // Where it has ended by itself this changes nothing, and the status is its own.
            let _ = pidfd.send_signal(libc::SIGKILL);
        }
        self.reap()
    }

    fn reap(&mut self) -> ExitStatus {
        let Some(pidfd) = self.pidfd.take() else { return ExitStatus::Unknown };
        match pidfd.wait() {
            Ok(WaitStatus::Exited(code)) => ExitStatus::Exited(code),
            Ok(WaitStatus::Signaled(signal)) => ExitStatus::Signaled(signal),
            _ => ExitStatus::Unknown,
        }
    }
}

impl Drop for Child<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}
