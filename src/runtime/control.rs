//! What is done to all processes of a container that runs, and what they use.

use super::container::Container;
use super::events::Events;
use super::record::Record;
use super::state::Status;
use crate::cgroup::{Cgroup, Policy, Resources, Usage};
use crate::error::{Context, During};
use crate::{Error, ErrorKind, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

impl Container {
    /// Sends a signal to its first process, or to all its processes.
    ///
    /// A container that shares its PID namespace with others does not end with its first process: there SIGKILL goes
    /// to all its processes in any case.
    ///
    /// # Errors
    /// `InvalidInput`: it is not created, running or paused, and `all` is not set.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        let record = self.record()?;
        let status = self.status_of(&record);
        if all || (signal == libc::SIGKILL && record.shares_processes) {
            return match status {
                Status::Creating => Err(self.not_running(status)),
                _ => self.kill_all(&record, status, signal),
            };
        }
        if matches!(status, Status::Stopped | Status::Creating) {
            return Err(self.not_running(status));
        }
        self.signal_first(&record, signal)?;
        if status == Status::Paused && signal == libc::SIGKILL {
            // Of version 1, a frozen process takes even this signal only when it goes on.
            self.group(&record)?.resume()?;
        }
        Ok(())
    }

    /// Its processes on the host, the first one and all others.
    ///
    /// # Errors
    /// Those of reading the list.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let record = self.record()?;
        let group = record.cgroup.as_ref().map(Cgroup::open).filter(|group| !group.is_absent());
        match (group, &record.process) {
            (Some(group), _) => group.processes(),
            (None, Some(process)) if process.lives() && record.shares_processes => Ok(vec![process.pid]),
            (None, Some(process)) if process.lives() => processes_beside(process.pid),
            _ => Ok(Vec::new()),
        }
    }

    /// Suspends all its processes, and returns when the last one stands still.
    ///
    /// # Errors
    /// `InvalidInput`: it is neither created nor running. `Unsupported`: it has no control group.
    pub fn pause(&self) -> Result<()> {
        let record = self.record()?;
        match self.status_of(&record) {
            Status::Created | Status::Running => self.group(&record)?.pause(),
            status => Err(self.not_running(status)),
        }
    }

    /// Lets its suspended processes go on.
    ///
    /// # Errors
    /// `InvalidInput`: it is not paused.
    pub fn resume(&self) -> Result<()> {
        let record = self.record()?;
        match self.status_of(&record) {
            Status::Paused => self.group(&record)?.resume(),
            _ => Err(Error::invalid(format!("container not paused: {}", self.id()))),
        }
    }

    /// Changes its limits: those that are given; all others stay as they are.
    ///
    /// # Errors
    /// `InvalidInput`: it does not run. `Unsupported`: what is asked for cannot be enforced here; the error names it.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        let _lock = self.home().lock()?;
        let record = self.record()?;
        let status = self.status_of(&record);
        if matches!(status, Status::Stopped | Status::Creating) {
            return Err(self.not_running(status));
        }
        let changed = self.group(&record)?.change(resources, Policy::Strict);
        changed.map(drop).context(|| format!("update container {}", self.id()))
    }

    /// What its processes use.
    ///
    /// # Errors
    /// `InvalidInput`: it does not run. `Unsupported`: its control groups do not count.
    pub fn stats(&self) -> Result<Usage> {
        let record = self.record()?;
        let status = self.status_of(&record);
        if matches!(status, Status::Stopped | Status::Creating) {
            return Err(self.not_running(status));
        }
        self.group(&record)?.usage()
    }

    /// What its processes use, each `interval`, and when they run out of memory, until its first process ends. Blocks
    /// in between.
    ///
    /// # Errors
    /// `InvalidInput`: it does not run, or the interval is zero. `Unsupported`: its control groups do not count memory.
    pub fn events(&self, interval: Duration) -> Result<Events> {
        let record = self.record()?;
        if interval.is_zero() {
            return Err(Error::invalid("duration interval must be greater than 0"));
        }
        let process = match (&record.process, self.status_of(&record)) {
            (Some(process), status) if status != Status::Stopped => super::container::open(process)?,
            _ => None,
        };
        match process {
            Some(process) => Events::watch(self.clone(), process, self.group(&record)?, interval),
            None => Err(self.not_running(Status::Stopped)),
        }
    }

    fn group(&self, record: &Record) -> Result<Cgroup> {
        match record.cgroup.as_ref().map(Cgroup::open) {
            Some(group) if !group.is_absent() => Ok(group),
            _ => Err(Error::new(ErrorKind::Unsupported, format!("container {} has no control group", self.id()))
                .hint("run as root, or have a group delegated: systemd-run --user --scope -p Delegate=yes PROGRAM")),
        }
    }

    /// Engines look for the first three words.
    pub(super) fn not_running(&self, status: Status) -> Error {
        Error::invalid(format!("container not running: {} is {status}", self.id()))
    }

    fn signal_first(&self, record: &Record, signal: i32) -> Result<()> {
        let process = record.process.as_ref().ok_or_else(|| self.not_running(Status::Stopped))?;
        let pidfd = super::container::open(process)?.ok_or_else(|| self.not_running(Status::Stopped))?;
        match pidfd.send_signal(signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(self.not_running(Status::Stopped)),
            sent => sent.during(|| format!("send signal {signal} to container {}", self.id())),
        }
    }

    fn kill_all(&self, record: &Record, status: Status, signal: i32) -> Result<()> {
        let group = record.cgroup.as_ref().map(Cgroup::open).filter(|group| !group.is_absent());
        let Some(group) = group else {
            // The first process takes all others of its PID namespace with it.
            return if status == Status::Stopped { Ok(()) } else { self.signal_first(record, signal) };
        };
        if signal == libc::SIGKILL {
            return group.kill();
        }
        group.signal(signal)
    }
}

/// The processes in the PID namespace of `pid`: where there is no control group to tell.
fn processes_beside(pid: i32) -> Result<Vec<i32>> {
    let namespace = |pid: i32| fs::metadata(format!("/proc/{pid}/ns/pid")).map(|found| found.ino()).ok();
    let wanted = namespace(pid).ok_or_else(|| Error::os(format!("look at process {pid}"), libc::ESRCH))?;
    let entries = fs::read_dir("/proc").during(|| "read /proc")?;
    let mut found: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| namespace(pid) == Some(wanted))
        .collect();
    found.sort_unstable();
    Ok(found)
}
