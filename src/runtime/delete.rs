//! The end of a container: what it leaves is removed, whole or half made, known or not.

use super::config::Config;
use super::container::{Container, open};
use super::limits::cgroups_path;
use super::record::{Identity, Record};
use super::state::Status;
use crate::cgroup::{Cgroup, Intended};
use crate::error::During;
use crate::isolate::remove_rdt_groups;
use crate::kernel::PidFd;
use crate::{Error, ErrorKind, Result};
use std::time::Duration;

/// How long the processes of a container are given to end after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

impl Container {
    /// Removes it: its processes, its control group and its state. One whose creation was cut off is removed as well.
    ///
    /// # Errors
    /// `InUse`: it runs and `force` is not set. `Corrupt`: its state cannot be read, and `force` is not set.
    pub fn delete(&self, force: bool) -> Result<()> {
        // Nobody creates it: who does holds the lock.
        let _lock = self.home().lock()?;
        match self.home().read_record() {
            Ok(Some(record)) => self.delete_known(&record, force),
            Ok(None) => self.home().remove(),
            Err(error) if force && matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                self.delete_unknown(&error)
            }
            Err(error) => Err(error),
        }
    }

    fn delete_known(&self, record: &Record, force: bool) -> Result<()> {
        let status = self.status_of(record);
        if !force && matches!(status, Status::Running | Status::Paused) {
            let message = format!("cannot delete container {} that is not stopped: {status}", self.id());
            return Err(Error::new(ErrorKind::InUse, message).hint("kill it first, or delete --force"));
        }
        self.end_processes(record, status)?;
        if let Some(group) = &record.cgroup {
            Cgroup::open(group).remove()?;
        }
        remove_rdt_groups(&record.resctrl);
        if let Some(bare) = record.bare {
            bare.uncover(&record.rootfs)?;
        }
        // Read before it is removed.
        let config = record.later_hooks.then(|| Config::read(&self.home().path("config.json")));
        self.home().remove()?;
        // Deleted: what is left is no reason to fail.
        match config {
            Some(Ok(config)) => record.run_poststop_hooks(&config.spec, &mut |warning| self.home().warn(&warning)),
            // Cut off before there was one: nothing ran.
            Some(Err(error)) if record.process.is_some() => self.home().warn(&error.to_string()),
            _ => {}
        }
        Ok(())
    }

    /// Ends what runs in it. Of a stopped one that is what the removal of its control group finds there.
    fn end_processes(&self, record: &Record, status: Status) -> Result<()> {
        let Some(process) = &record.process else { return Ok(()) };
        if status == Status::Stopped {
            reap(process);
            return Ok(());
        }
        // The kernel ends a PID namespace with its first process. One that is suspended does not end alone.
        if (record.shares_processes || status == Status::Paused)
            && let Some(group) = &record.cgroup
        {
            Cgroup::open(group).kill()?;
        }
        end(process)
    }

    /// Removes one whose record cannot be read: the control group is the one its configuration names.
    fn delete_unknown(&self, why: &Error) -> Result<()> {
        self.home().warn(&why.to_string());
        match Config::read(&self.home().path("config.json")).and_then(|config| cgroups_path(&config.spec, self.id())) {
            Ok(path) => {
                let group = Cgroup::open(&Intended::at(&path).standing());
                group.kill()?;
                group.remove()?;
            }
            Err(error) => self.home().warn(&format!("its processes and control groups are not known: {error}")),
        }
        self.home().remove()
    }
}

/// Reaps one that has ended where it is a child of this process: as long as nobody does, its control group stays.
fn reap(process: &Identity) {
    if let Ok(pidfd) = PidFd::open(process.pid)
        && process.is_unreaped()
    {
        pidfd.reap_if_child();
    }
}

/// Kills it and waits for its end.
pub(super) fn end(process: &Identity) -> Result<()> {
    let Some(pidfd) = open(process)? else { return Ok(()) };
    pidfd.send_signal(libc::SIGKILL).during(|| format!("kill process {}", process.pid))?;
    if !pidfd.wait_readable(KILL_LIMIT) {
        return Err(Error::new(ErrorKind::TimedOut, format!("process {} does not end after SIGKILL", process.pid)));
    }
    // Where it is not a child of this process its parent reaps it, which may take any time.
    pidfd.reap_if_child();
    Ok(())
}
