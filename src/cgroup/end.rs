//! Suspending the processes of a group, ending them, and removing the group.

use super::Cgroup;
use super::controller::{Controller, Version};
use super::directory::{Directory, is_gone, passing_over_gone};
use super::group::Group;
use super::path::safe_components;
use super::place::prune;
use crate::error::During;
use crate::kernel::PidFd;
use crate::{Error, ErrorKind, Result};
use std::io;
use std::time::{Duration, Instant};

/// How long a killed process may take to go: one that writes out a large core or waits for a disk takes its time.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// The processes of the group and of all groups that they made below it, in the caller's PID namespace.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        for group in &self.record.groups {
            match group.open(&self.record.name).and_then(|directory| directory.processes()) {
                Err(error) if is_gone(&error) => {}
                listed => found.extend(listed.during(|| self.step("list the processes of"))?),
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Suspends every process and returns when the last one stands still.
    pub fn pause(&self) -> Result<()> {
        self.freeze(true)
    }

    /// Lets suspended processes go on.
    pub fn resume(&self) -> Result<()> {
        self.freeze(false)
    }

    /// Whether the processes are suspended, or about to be.
    pub fn is_paused(&self) -> Result<bool> {
        let (version, directory) = self.directory(Controller::Freezer)?;
        let file = match version {
            Version::V1 => "freezer.state",
            Version::V2 => "cgroup.freeze",
        };
        let text = directory.read(file).during(|| self.step(&format!("read {file} of")))?;
        Ok(matches!(text.trim(), "FROZEN" | "FREEZING" | "1"))
    }

    /// Sends a signal to every process of the group and of those below. Processes that are made meanwhile may miss it:
    /// to end all of them there is [`kill`](Cgroup::kill).
    ///
    /// # Errors
    /// `InvalidInput`: no signal has this number.
    pub fn signal(&self, signal: i32) -> Result<()> {
        if !(1..=64).contains(&signal) {
            return Err(Error::invalid(format!("no signal has the number {signal}")));
        }
        self.signal_each(&self.processes()?, signal)
    }

    fn freeze(&self, frozen: bool) -> Result<()> {
        let (version, directory) = self.directory(Controller::Freezer)?;
        let step = || self.step(if frozen { "pause" } else { "resume" });
        let mut pace = Pace::new();
        loop {
            // Version 1 may get stuck on the way ("FREEZING"): writing again makes it try again.
            let done = match version {
                Version::V1 => {
                    let state = if frozen { "FROZEN" } else { "THAWED" };
                    directory.write("freezer.state", state).during(step)?;
                    directory.read("freezer.state").during(step)?.trim() == state
                }
                Version::V2 => {
                    let flag = if frozen { "1" } else { "0" };
                    directory.write("cgroup.freeze", flag).during(step)?;
                    directory.read("cgroup.events").during(step)?.lines().any(|line| line == format!("frozen {flag}"))
                }
            };
            if done {
                return Ok(());
            }
            if !pace.wait() {
                return Err(Error::new(ErrorKind::TimedOut, step()));
            }
        }
    }

    /// Kills every process and returns when none is left. Frozen ones as well; those that fork as fast as they can as
    /// well, because no new process can be made in the group meanwhile.
    ///
    /// # Errors
    /// `TimedOut` where a process does not go within 10 s, `InUse` where the caller itself is in the group.
    pub fn kill(&self) -> Result<()> {
        let mut pace = Pace::new();
        let mut held = None;
        loop {
            let processes = self.processes()?;
            if processes.is_empty() {
                return Ok(());
            }
            if processes.contains(&(std::process::id() as i32)) {
                return Err(Error::new(ErrorKind::InUse, self.step("kill"))
                    .hint("the calling process is in the group: move it out first"));
            }
            held = held.or_else(|| ForksHeld::hold(self));
            self.signal_all(&processes)?;
            if !pace.wait() {
                let left = processes.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
                return Err(Error::new(ErrorKind::TimedOut, self.step("wait for the end of"))
                    .hint(format!("processes {left} do not go: they wait for a device, or a tracer holds them")));
            }
        }
    }

    fn signal_all(&self, listed: &[i32]) -> Result<()> {
        for group in self.record.groups.iter().filter(|group| group.version == Version::V2) {
            match group.open(&self.record.name).and_then(|directory| directory.write("cgroup.kill", "1")) {
                Err(error) if !is_gone(&error) => return Err(error).during(|| self.step("kill")),
                _ => {}
            }
        }
        if self.record.groups.iter().any(|group| group.version == Version::V1) {
            let freezer = match self.directory(Controller::Freezer) {
                Ok((Version::V1, directory)) => Some(directory),
                _ => None,
            };
            // Where no limit of processes holds forks, standing still does.
            if let Some(freezer) = freezer.as_ref().filter(|_| self.record.group_of(Controller::Pids).is_none()) {
                passing_over_gone(freezer.write("freezer.state", "FROZEN")).during(|| self.step("pause"))?;
            }
            let signalled = self.signal_each(listed, libc::SIGKILL);
            // A frozen process takes the signal only when it goes on.
            if let Some(freezer) = freezer {
                passing_over_gone(freezer.write("freezer.state", "THAWED")).during(|| self.step("resume"))?;
            }
            signalled?;
        }
        Ok(())
    }

    /// A number that is listed again after it was opened belongs to the opened process, or that one is dead: so a
    /// number that was given to a stranger meanwhile is never signalled.
    fn signal_each(&self, listed: &[i32], signal: i32) -> Result<()> {
        let opened: Vec<(i32, PidFd)> =
            listed.iter().filter(|&&pid| pid > 0).filter_map(|&pid| Some((pid, PidFd::open(pid).ok()?))).collect();
        let listed = self.processes()?;
        for (pid, process) in opened.iter().filter(|(pid, _)| listed.binary_search(pid).is_ok()) {
            match process.send_signal(signal) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                    return Err(error).during(|| format!("send signal {signal} to process {pid}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the group, the groups its processes made below it, and the groups above it that are left empty. What
    /// still runs in it is killed. A group that is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        // A unit is systemd's to end; what it does not end is ended and removed all the same.
        let stopped = self.record.scope.as_ref().map_or(Ok(()), |scope| scope.stop());
        self.remove_directories()?;
        stopped
    }

    fn remove_directories(&self) -> Result<()> {
        // Counted from when all that ran has gone.
        let mut pace = None;
        loop {
            let mut busy = None;
            for group in &self.record.groups {
                match remove_group(group, &self.record.name) {
                    Err(error) if is_busy(&error) => busy = Some(error),
                    removed => removed.during(|| self.step("remove"))?,
                }
            }
            let Some(error) = busy else { return Ok(()) };
            self.kill()?;
            if !pace.get_or_insert_with(Pace::new).wait() {
                return Err(error).during(|| self.step("remove"));
            }
        }
    }
}

fn remove_group(group: &Group, name: &str) -> io::Result<()> {
    let base = match Directory::open(&group.base) {
        Err(error) if is_gone(&error) => return Ok(()),
        base => base?,
    };
    safe_components(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    // Most often it is empty.
    if base.remove(name).is_ok() {
        prune(&base, name, group.kept);
        return Ok(());
    }
    let removed = match name.rsplit_once('/') {
        Some((above, last)) => base.descend(above).and_then(|above| remove_tree(&above, last)),
        None => remove_tree(&base, name),
    };
    passing_over_gone(removed)?;
    prune(&base, name, group.kept);
    Ok(())
}

fn remove_tree(above: &Directory, name: &str) -> io::Result<()> {
    match above.remove(name) {
        Err(error) if is_busy(&error) => {}
        removed => return passing_over_gone(removed),
    }
    passing_over_gone(above.child(name).and_then(Directory::clear))?;
    above.remove(name)
}

fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY))
}

/// Keeps a version 1 group from making processes, so that killing them one by one comes to an end.
struct ForksHeld {
    directory: Directory,
    before: String,
}

impl ForksHeld {
    fn hold(group: &Cgroup) -> Option<ForksHeld> {
        let Ok((Version::V1, directory)) = group.directory(Controller::Pids) else { return None };
        let before = directory.read("pids.max").ok()?.trim().to_owned();
        directory.write("pids.max", "0").ok()?;
        Some(ForksHeld { directory, before })
    }
}

impl Drop for ForksHeld {
    fn drop(&mut self) {
        // The group may be gone, which is the usual reason for the kill.
        let _ = self.directory.write("pids.max", &self.before);
    }
}

/// Waits that grow from 50 µs to 10 ms, up to [`PATIENCE`] in all.
struct Pace {
    begun: Instant,
    next: Duration,
}

impl Pace {
    fn new() -> Pace {
        Pace { begun: Instant::now(), next: Duration::from_micros(50) }
    }

    /// Whether there is time left.
    fn wait(&mut self) -> bool {
        if self.begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(self.next);
        self.next = (self.next * 2).min(Duration::from_millis(10));
        true
    }
}
