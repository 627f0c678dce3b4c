//! Another process in a container that runs.

mod lower;
mod process;

use super::Container;
use super::account::set_home;
use super::config::{Config, check_process};
use super::container::{Opened, write_pid};
use super::create::{Streams, stdio};
use super::hooks::hand_over;
use super::lower::keyring_name;
use super::state::Status;
use crate::cgroup::Cgroup;
use crate::error::Context;
use crate::isolate::{Circumstances, differing_namespaces, process_problems};
use crate::launch::{Exit, Launcher, Process, Request, receive_descriptor, start};
use crate::sandbox::Stream;
use crate::{Capability, Error, Result};
use lower::{Setting, lower};
use oci_spec::runtime::ContainerState;
use process::Wish;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// A process to be started in a container that runs: in its namespaces, its control group and its root, confined as its
/// first process is; what is not set is as in the container's configuration.
#[derive(Debug)]
#[must_use]
pub struct Exec<'a> {
    container: &'a Container,
    wish: Wish,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    streams: [Stream; 3],
    preserved: u32,
    cgroup: Option<String>,
    ignore_paused: bool,
}

/// A process in a container, a child of this process.
///
/// Dropping it kills the process.
#[derive(Debug)]
pub struct Executed {
    process: Process,
    terminal: Option<std::os::fd::OwnedFd>,
}

impl Container {
    /// A process that runs `command` in the container.
    pub fn exec<S: Into<String>>(&self, command: impl IntoIterator<Item = S>) -> Exec<'_> {
        Exec::new(self, Wish::command(command.into_iter().map(Into::into).collect()))
    }

    /// A process as the file `path` describes it: the `process` object of the runtime specification in JSON.
    pub fn exec_file(&self, path: impl Into<PathBuf>) -> Exec<'_> {
        Exec::new(self, Wish::file(path.into()))
    }
}

impl<'a> Exec<'a> {
    fn new(container: &'a Container, wish: Wish) -> Exec<'a> {
        Exec {
            container,
            wish,
            console_socket: None,
            pid_file: None,
            streams: [Stream::Inherit, Stream::Inherit, Stream::Inherit],
            preserved: 0,
            cgroup: None,
            ignore_paused: false,
        }
    }

    /// The user id, and the group id where there is one.
    pub fn user(mut self, user: u32, group: Option<u32>) -> Exec<'a> {
        self.wish.user = Some((user, group));
        self
    }

    /// Adds a supplementary group.
    pub fn additional_group(mut self, group: u32) -> Exec<'a> {
        self.wish.additional_groups.push(group);
        self
    }

    /// Adds a capability. A process that is not root gets it as an ambient one too, without which the exec would lose it.
    pub fn capability(mut self, capability: Capability) -> Exec<'a> {
        self.wish.capabilities.push(capability);
        self
    }

    /// The working directory, an absolute path in the container; it must exist.
    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Exec<'a> {
        self.wish.cwd = Some(directory.into());
        self
    }

    /// Adds a variable, `NAME=value`, to the environment; it replaces one of the same name.
    pub fn env(mut self, variable: impl Into<String>) -> Exec<'a> {
        self.wish.environment.push(variable.into());
        self
    }

    /// Whether it gets a terminal of the container's.
    pub fn tty(mut self, on: bool) -> Exec<'a> {
        self.wish.terminal = Some(on);
        self
    }

    /// Whether it and what it executes can gain no privileges.
    pub fn no_new_privileges(mut self, on: bool) -> Exec<'a> {
        self.wish.no_new_privileges = Some(on);
        self
    }

    /// Its AppArmor profile, in the place of the container's.
    pub fn apparmor_profile(mut self, profile: impl Into<String>) -> Exec<'a> {
        self.wish.apparmor_profile = Some(profile.into());
        self
    }

    /// Its SELinux label, in the place of the container's.
    pub fn selinux_label(mut self, label: impl Into<String>) -> Exec<'a> {
        self.wish.selinux_label = Some(label.into());
        self
    }

    /// Sends the master of its terminal over the Unix socket at this path. Without one a process that is
    /// [`spawned`](Exec::spawn) keeps its master: [`Executed::terminal`].
    pub fn console_socket(mut self, path: impl Into<PathBuf>) -> Exec<'a> {
        self.console_socket = Some(path.into());
        self
    }

    /// Writes the number of the process on the host into this file before the command is executed.
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Exec<'a> {
        self.pid_file = Some(path.into());
        self
    }

    /// The standard streams, those of this process by default; not used with a terminal.
    pub fn streams(mut self, streams: [Stream; 3]) -> Exec<'a> {
        self.streams = streams;
        self
    }

    /// It gets this many descriptors of this process, from 3 on, under their numbers.
    pub fn preserve_fds(mut self, count: u32) -> Exec<'a> {
        self.preserved = count;
        self
    }

    /// The control group below the container's own in which it runs: it must exist.
    pub fn cgroup(mut self, path: impl Into<String>) -> Exec<'a> {
        self.cgroup = Some(path.into());
        self
    }

    /// Starts it in a paused container too, where it is frozen until that is resumed.
    pub fn ignore_paused(mut self, on: bool) -> Exec<'a> {
        self.ignore_paused = on;
        self
    }

    /// Starts it; returns once the command is executed.
    ///
    /// # Errors
    /// `InvalidInput`: the container is stopped, or paused; what the process asks for makes no sense.
    /// `NotFound`, `PermissionDenied` or [`ErrorKind::Exec`](crate::ErrorKind::Exec) where there is no such command;
    /// every failing step by name.
    pub fn spawn(self) -> Result<Executed> {
        let id = self.container.id().to_owned();
        self.start(false).context(|| format!("exec in container {id}"))
    }

    /// As [`spawn`](Exec::spawn), and lets it run when this process ends; its number on the host. It is a child of this
    /// process, whose it is to wait for it as long as this one runs.
    ///
    /// # Errors
    /// As [`spawn`](Exec::spawn); `InvalidInput` for a terminal without a console socket.
    pub fn detach(self) -> Result<i32> {
        let id = self.container.id().to_owned();
        let mut executed = self.start(true).context(|| format!("exec in container {id}"))?;
        executed.process.release();
        Ok(executed.process.pid())
    }

    fn start(self, detached: bool) -> Result<Executed> {
        let Opened { record, status, first, pid } = self.container.opened()?;
        match status {
            Status::Created | Status::Running => {}
            Status::Paused if self.ignore_paused => {}
            Status::Paused => {
                return Err(Error::invalid("cannot exec in a paused container").hint("resume it, or ignore that it is"));
            }
            status => return Err(Error::invalid(format!("cannot exec in a {status} container"))),
        }
        let config = Config::read(&self.container.config_path())?;
        let mut warn = |warning: String| self.container.warn(&warning);
        let mut process = self.wish.decide(&config.spec, &mut warn)?;
        check_process(&process)?;
        process_problems(&config.spec, &process).into_iter().next().map_or(Ok(()), Err)?;
        set_home(&mut process, Path::new(&format!("/proc/{pid}/root")));
        let terminal = process.terminal().unwrap_or(false);
        let streams = Streams { streams: self.streams, console_socket: self.console_socket.as_deref(), detached };
        let (stdio, master) = stdio(terminal, streams)?;
        // As long as the descriptor is open and the process lives the number is its own.
        let namespaces = differing_namespaces(pid)?;
        let join = match &record.cgroup {
            Some(group) => match &self.cgroup {
                Some(below) => Cgroup::open(group).join_below(Some(below))?,
                None => Cgroup::open(group).join_beside(pid)?,
            },
            None => crate::cgroup::Join::default(),
        };
        let keyring = keyring_name(self.container.id());
        let circumstances = Circumstances {
            user_namespace: namespaces & libc::CLONE_NEWUSER != 0,
            joins: true,
            keyring: (!record.no_new_keyring).then_some(keyring.as_str()),
            landlock: record.landlock.as_ref(),
            preserved: self.preserved,
        };
        let spec = &config.spec;
        let setting = Setting { spec, process: &process, stdio, first, namespaces, join, circumstances };
        let lowered = lower(setting, &mut warn)?;
        let pid_file = self.pid_file;
        let request = Request {
            cgroup: lowered.cgroup,
            after_exec_of_stage: Some(Box::new(|pid| pid_file.map_or(Ok(()), |path| write_pid(&path, pid)))),
            listener: hand_over(&record, spec, ContainerState::Running),
            ..Request::new(lowered.plan, lowered.channel)
        };
        let process = start(&Launcher::shared()?, request)?;
        let terminal = master.map(|socket| receive_descriptor(socket.as_fd())).transpose()?;
        Ok(Executed { process, terminal })
    }
}

impl Executed {
    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The master of its terminal, where it has one and no console socket took it.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// The process and the master of its terminal.
    pub(super) fn parts(&mut self) -> (&mut Process, Option<BorrowedFd<'_>>) {
        (&mut self.process, self.terminal.as_ref().map(AsFd::as_fd))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Those of waiting.
    pub fn wait(&mut self) -> Result<Exit> {
        self.process.wait()
    }
}
