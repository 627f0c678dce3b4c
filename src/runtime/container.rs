//! A container that exists: its state and its start.

use super::config::Config;
use super::delete::end;
use super::fifo::{self, Outcome};
use super::record::{Home, Identity, Record};
use super::state::{State, Status};
use crate::error::{Context, During};
use crate::isolate::HookPoint;
use crate::kernel::PidFd;
use crate::{Error, ErrorKind, Result};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A container of a [`Runtime`](super::Runtime). Dropping this changes nothing about it.
#[derive(Debug, Clone)]
pub struct Container {
    home: Home,
}

impl Container {
    pub(super) fn of(home: Home) -> Container {
        Container { home }
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
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
        let record = self.record()?;
        Ok(record.state(self.status_of(&record)))
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
            let why = match status {
                Status::Stopped => "cannot start a container that has stopped".to_owned(),
                Status::Running => "cannot start an already running container".to_owned(),
                other => format!("cannot start a container in the {other} state"),
            };
            return Err(Error::invalid(format!("{why}: {}", self.id())));
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
        if !record.later_hooks {
            return Ok(());
        }
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

    /// Its first process and what is known of it, for those who join it.
    pub(super) fn opened(&self) -> Result<Opened> {
        let record = self.record()?;
        let ended = || Error::invalid(format!("cannot exec in a stopped container: {}", self.id()));
        let process = record.process.as_ref().ok_or_else(|| self.home.missing())?;
        let (first, pid) = (open(process)?.ok_or_else(ended)?, process.pid);
        Ok(Opened { status: self.status_of(&record), first, pid, record })
    }

    /// Where its configuration lies.
    pub(super) fn config_path(&self) -> PathBuf {
        self.home.path("config.json")
    }

    /// Tells whoever listens to the runtime.
    pub(super) fn warn(&self, warning: &str) {
        self.home.warn(warning);
    }

    pub(super) fn record(&self) -> Result<Record> {
        match self.home.read_record()? {
            Some(record) => Ok(record),
            None if self.home.is_locked() => {
                Err(Error::new(ErrorKind::InUse, format!("container {} is being created", self.id())))
            }
            None => Err(Error::new(ErrorKind::Corrupt, format!("the creation of container {} was cut off", self.id()))
                .hint("delete it")),
        }
    }

    pub(super) fn status_of(&self, record: &Record) -> Status {
        match &record.process {
            None if self.home.is_locked() => Status::Creating,
            // Its creation was cut off.
            None => Status::Stopped,
            Some(process) if !process.lives() => Status::Stopped,
            Some(_) if record.is_paused() => Status::Paused,
            Some(_) if fifo::is_parked(&self.home) => Status::Created,
            Some(_) => Status::Running,
        }
    }
}

/// In one step: who waits for the file must not find half a number.
pub(super) fn write_pid(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::invalid(format!("pid file {} has no name", path.display())))?;
    let mut aside = std::ffi::OsString::from(".");
    aside.push(name);
    let aside = path.with_file_name(aside);
    // What lies there already may be anybody's link, or a pipe that nobody reads.
    let _ = fs::remove_file(&aside);
    let file = fs::File::options().write(true).create_new(true).mode(0o644).open(&aside);
    file.and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| fs::rename(&aside, path))
        .during(|| format!("write pid file {}", path.display()))
}

/// A container whose first process lives.
pub(super) struct Opened {
    pub(super) record: Record,
    pub(super) status: Status,
    pub(super) first: PidFd,
    pub(super) pid: i32,
}

/// The process, where it lives.
pub(super) fn open(process: &Identity) -> Result<Option<PidFd>> {
    match PidFd::open(process.pid) {
        // Looked at after it was opened: the number may have been given again before.
        Ok(pidfd) => Ok(process.lives().then_some(pidfd)),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error).during(|| format!("open process {}", process.pid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_follows_no_link_that_was_planted() {
        let scratch = tempfile::tempdir().unwrap();
        let (victim, path) = (scratch.path().join("victim"), scratch.path().join("pid"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, scratch.path().join(".pid")).unwrap();
        write_pid(&path, 42).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&path).unwrap(), "42");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        // A pipe in its place does not hold anybody up.
        nix::unistd::mkfifo(&scratch.path().join(".pid"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        write_pid(&path, 43).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "43");
    }
}
