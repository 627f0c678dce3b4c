//! A container that exists: its state, its start, its signals, its end.

use super::config::Config;
use super::fifo::{self, Outcome};
use super::record::{Home, Identity, Record};
use super::state::{State, Status};
use crate::cgroup::Cgroup;
use crate::error::{Context, During};
use crate::isolate::HookPoint;
use crate::kernel::PidFd;
use crate::{Error, ErrorKind, Result};
use std::time::Duration;

/// How long the processes of a container are given to end after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A container of a [`Runtime`](super::Runtime). Dropping this changes nothing about it.
#[derive(Debug, Clone)]
pub struct Container {
    home: Home,
}

impl Container {
    pub(super) fn of(home: Home) -> Container {
        Container { home }
    }

    pub(super) fn open(home: Home) -> Result<Container> {
        if home.exists() { Ok(Container { home }) } else { Err(home.missing()) }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.home.id()
    }

    /// What it is doing now.
    ///
    /// # Errors
    /// `NotFound`: it has been deleted. `Corrupt`: its state directory is damaged.
    pub fn state(&self) -> Result<State> {
        match self.home.read_record()? {
            Some(record) => Ok(record.state(self.status_of(&record))),
            None => Err(Error::new(ErrorKind::InUse, format!("container {} is being created", self.id()))
                .hint("where its creation was cut off: delete --force")),
        }
    }

    /// Starts the process that was created.
    ///
    /// # Errors
    /// `InvalidInput`: it is not in the state `created`. [`ErrorKind::Exec`]: its process cannot be executed; the
    /// container is then stopped.
    pub fn start(&self) -> Result<()> {
        let _lock = self.home.lock()?;
        let record = self.record()?;
        let status = self.status_of(&record);
        if status != Status::Created {
            return Err(Error::invalid(format!("cannot start a container in the {status} state: {}", self.id())));
        }
        let parked = |op: u32| record.parked.1.get(op.checked_sub(record.parked.0)? as usize);
        let unknown = |op: u32| Error::new(ErrorKind::Os, format!("operation {op} of the start failed"));
        let failed = match fifo::start(&self.home)? {
            Outcome::Closed => None,
            Outcome::Faulted { op, errno } => {
                let error = parked(op).map_or_else(|| unknown(op), |parked| parked.error(errno));
                let last = record.parked.0 as usize + record.parked.1.len() == op as usize + 1;
                Some(if last { error.with_kind(ErrorKind::Exec) } else { error })
            }
            Outcome::HookFailed { op, end, said } => {
                Some(parked(op).map_or_else(|| unknown(op), |parked| parked.hook_error(end, &said)))
            }
        };
        let started = failed.map_or_else(|| self.run_poststart_hooks(&record), Err);
        started.context(|| format!("start container {}", self.id()))
    }

    /// Runs the `poststart` hooks; where one fails the container is stopped (runtime-spec, Lifecycle).
    fn run_poststart_hooks(&self, record: &Record) -> Result<()> {
        let config = Config::read(&self.home.path("config.json"))?;
        let pid = record.process.as_ref().map(|process| process.pid);
        let hooked = record.run_hooks(&config.spec, HookPoint::Poststart, pid);
        if hooked.is_err()
            && let Some(process) = &record.process
        {
            end(process)?;
        }
        hooked
    }

    /// Sends a signal to its first process, or to all its processes.
    ///
    /// # Errors
    /// `InvalidInput`: it is not created or running.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        let record = self.record()?;
        if all {
            return self.kill_all(&record, signal);
        }
        match self.status_of(&record) {
            Status::Stopped | Status::Creating => Err(Error::invalid(format!("container not running: {}", self.id()))),
            _ => self.signal_first(&record, signal),
        }
    }

    /// Removes it: its processes' control group and its state.
    ///
    /// # Errors
    /// `InUse`: it runs and `force` is not set.
    pub fn delete(&self, force: bool) -> Result<()> {
        let _lock = self.home.lock()?;
        let Some(record) = self.home.read_record()? else {
            if force {
                return self.home.remove();
            }
            return Err(Error::new(ErrorKind::InUse, format!("container {} is being created", self.id())));
        };
        let status = self.status_of(&record);
        if !force && matches!(status, Status::Running | Status::Paused) {
            return Err(Error::new(
                ErrorKind::InUse,
                format!("cannot delete container {} that is not stopped: {status}", self.id()),
            )
            .hint("kill it first, or delete --force"));
        }
        if let Some(process) = record.process.as_ref().filter(|_| status != Status::Stopped) {
            end(process)?;
        }
        if let Some(group) = &record.cgroup {
            let group = Cgroup::open(group);
            group.kill()?;
            group.remove()?;
        }
        let config = Config::read(&self.home.path("config.json"));
        self.home.remove()?;
        // Deleted: what is left is no reason to fail.
        match config {
            Ok(config) => record.run_poststop_hooks(&config.spec, &mut |warning| self.home.warn(&warning)),
            Err(error) => self.home.warn(&error.to_string()),
        }
        Ok(())
    }

    fn record(&self) -> Result<Record> {
        match self.home.read_record()? {
            Some(record) => Ok(record),
            None => Err(Error::new(ErrorKind::InUse, format!("container {} is being created", self.id()))),
        }
    }

    fn status_of(&self, record: &Record) -> Status {
        match &record.process {
            None => Status::Creating,
            Some(process) if !process.lives() => Status::Stopped,
            Some(_) if fifo::is_parked(&self.home) => Status::Created,
            Some(_) => Status::Running,
        }
    }

    fn signal_first(&self, record: &Record, signal: i32) -> Result<()> {
        let process = record.process.as_ref().ok_or_else(|| self.home.missing())?;
        match open(process)? {
            Some(pidfd) => {
                pidfd.send_signal(signal).during(|| format!("send signal {signal} to container {}", self.id()))
            }
            None => Err(Error::invalid(format!("container not running: {}", self.id()))),
        }
    }

    fn kill_all(&self, record: &Record, signal: i32) -> Result<()> {
        let Some(group) = record.cgroup.as_ref().map(Cgroup::open) else { return Ok(()) };
        if signal == libc::SIGKILL {
            return group.kill();
        }
        for pid in group.processes()? {
            if let Ok(pidfd) = PidFd::open(pid) {
                // One that has ended meanwhile needs no signal.
                let _ = pidfd.send_signal(signal);
            }
        }
        Ok(())
    }
}

/// The process, where it lives.
fn open(process: &Identity) -> Result<Option<PidFd>> {
    match PidFd::open(process.pid) {
        // Looked at after it was opened: the number may have been given again before.
        Ok(pidfd) => Ok(process.lives().then_some(pidfd)),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error).during(|| format!("open process {}", process.pid)),
    }
}

/// Kills it and waits for its end.
fn end(process: &Identity) -> Result<()> {
    let Some(pidfd) = open(process)? else { return Ok(()) };
    pidfd.send_signal(libc::SIGKILL).during(|| format!("kill process {}", process.pid))?;
    if !pidfd.wait_readable(KILL_LIMIT) {
        return Err(Error::new(ErrorKind::TimedOut, format!("process {} does not end after SIGKILL", process.pid)));
    }
    // Where it is a child of this process it is reaped here; where it is not, its parent does that.
    let _ = pidfd.wait();
    Ok(())
}
