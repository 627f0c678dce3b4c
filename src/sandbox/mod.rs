//! The low-level core: one confined process, without image and without store.

mod care;
mod confinement;
mod detached;
mod enter;
mod lower;

pub(crate) use care::{CareTask, CheckTask, CheckTaskKind, RestartTask};
pub use confinement::Seccomp;
pub(crate) use detached::KeeperTask;

use crate::Result;
use crate::cgroup::Cgroup;
use crate::isolate::{Bind, CapabilitySet, Landlock, ResourceLimit, Root, Tmpfs};
use crate::launch::{IdMap, Launcher, Process, start};
use crate::value::{EnvVar, Memory};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// A confined process in the making: a root, a command, and what to isolate.
///
/// By default it has new PID, mount, IPC, UTS, control group and network namespaces, its own /proc, /dev and /sys with
/// Docker's masked paths, default capabilities and seccomp profile, `no_new_privs`, the null device as its standard streams, and
/// it dies with the process that started it.
///
/// ```no_run
/// use coracle::{Root, Sandbox};
///
/// let root = Root::Directory("/srv/busybox".into());
/// let mut process = Sandbox::new(root, ["/bin/true"]).spawn()?;
/// assert!(process.wait()?.status.success());
/// # Ok::<(), coracle::Error>(())
/// ```
#[derive(Debug)]
pub struct Sandbox {
    root: Root,
    command: Vec<Vec<u8>>,
    environment: Vec<EnvVar>,
    working_directory: PathBuf,
    make_working_directory: bool,
    user: (u32, u32),
    additional_groups: Vec<u32>,
    hostname: Option<String>,
    binds: Vec<Bind>,
    tmpfs: Vec<Tmpfs>,
    network: NetworkMode,
    cgroup: Option<Cgroup>,
    capabilities: Option<CapabilitySet>,
    seccomp: Seccomp,
    no_new_privileges: bool,
    limits: Vec<ResourceLimit>,
    landlock: Option<Landlock>,
    read_only: bool,
    filesystems: bool,
    masks: bool,
    shared_memory: Memory,
    streams: [Stream; 3],
    id_map: Option<IdMap>,
    init: bool,
    die_with_parent: bool,
    /// A keeper stands between: it is the parent to die with, and the host may go.
    kept: bool,
    launcher: Option<Arc<Launcher>>,
}

/// The network of a sandbox.
#[derive(Debug)]
#[non_exhaustive]
pub enum NetworkMode {
    /// The host's own.
    Host,
    /// A new network namespace with nothing but its loopback interface.
    None,
    /// The network namespace that this descriptor refers to.
    Join(OwnedFd),
}

/// One of the standard streams of a sandbox.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// The null device.
    Null,
    /// This process's own.
    Inherit,
    /// This file, pipe or socket.
    Descriptor(OwnedFd),
}

impl Sandbox {
    /// A sandbox on `root` that runs `command`; a command without a slash is looked up in the sandbox's `PATH`.
    pub fn new<I, A>(root: Root, command: I) -> Sandbox
    where
        I: IntoIterator<Item = A>,
        A: Into<String>,
    {
        Sandbox {
            root,
            command: command.into_iter().map(|argument| argument.into().into_bytes()).collect(),
            environment: Vec::new(),
            working_directory: PathBuf::from("/"),
            make_working_directory: false,
            user: (0, 0),
            additional_groups: Vec::new(),
            hostname: None,
            binds: Vec::new(),
            tmpfs: Vec::new(),
            network: NetworkMode::None,
            cgroup: None,
            capabilities: None,
            seccomp: Seccomp::Default,
            no_new_privileges: true,
            limits: Vec::new(),
            landlock: None,
            read_only: false,
            filesystems: true,
            masks: true,
            shared_memory: Memory::mib(64),
            streams: [Stream::Null, Stream::Null, Stream::Null],
            id_map: None,
            init: false,
            die_with_parent: true,
            kept: false,
            launcher: None,
        }
    }

    /// Adds a variable to the environment, which is otherwise empty.
    #[must_use]
    pub fn env(mut self, variable: EnvVar) -> Sandbox {
        self.environment.push(variable);
        self
    }

    /// The working directory, `/` by default; resolved within the root. It must exist.
    #[must_use]
    pub fn workdir(mut self, directory: impl Into<PathBuf>) -> Sandbox {
        self.working_directory = directory.into();
        self
    }

    /// Makes the working directory where it is missing.
    #[must_use]
    pub fn make_workdir(mut self, make: bool) -> Sandbox {
        self.make_working_directory = make;
        self
    }

    /// The user and group ids of the command, 0 by default, and its supplementary groups.
    #[must_use]
    pub fn user(mut self, user: u32, group: u32, additional_groups: impl Into<Vec<u32>>) -> Sandbox {
        self.user = (user, group);
        self.additional_groups = additional_groups.into();
        self
    }

    /// The host name; without one it is that of the host.
    #[must_use]
    pub fn hostname(mut self, hostname: impl Into<String>) -> Sandbox {
        self.hostname = Some(hostname.into());
        self
    }

    /// Binds a file or directory of the host into the sandbox; a missing mount point is made.
    #[must_use]
    pub fn bind(mut self, source: impl Into<PathBuf>, target: impl Into<PathBuf>, read_only: bool) -> Sandbox {
        self.binds.push(Bind { source: source.into(), target: target.into(), read_only });
        self
    }

    /// Mounts an empty memory file system of at most `size`, with mode 1777.
    #[must_use]
    pub fn tmpfs(mut self, target: impl Into<PathBuf>, size: Memory) -> Sandbox {
        self.tmpfs.push(Tmpfs { target: target.into(), size: size.as_bytes(), mode: 0o1777 });
        self
    }

    /// The network, [`NetworkMode::None`] by default.
    #[must_use]
    pub fn network(mut self, network: NetworkMode) -> Sandbox {
        self.network = network;
        self
    }

    /// The control group it runs in, from its first instruction on; the sandbox neither makes nor removes it.
    #[must_use]
    pub fn cgroup(mut self, group: &Cgroup) -> Sandbox {
        self.cgroup = Some(group.clone());
        self
    }

    /// Gives up `no_new_privs`: set-user-id programs gain privileges again.
    #[must_use]
    pub fn no_new_privileges(mut self, on: bool) -> Sandbox {
        self.no_new_privileges = on;
        self
    }

    /// Makes the root read-only; mounts keep their own setting.
    #[must_use]
    pub fn read_only(mut self, on: bool) -> Sandbox {
        self.read_only = on;
        self
    }

    /// Whether /proc, /dev and /sys are mounted; they are by default.
    #[must_use]
    pub fn system_mounts(mut self, on: bool) -> Sandbox {
        self.filesystems = on;
        self
    }

    /// Whether the dangerous parts of /proc and /sys are masked and read-only; they are by default.
    #[must_use]
    pub fn masks(mut self, on: bool) -> Sandbox {
        self.masks = on;
        self
    }

    /// The standard input, the null device by default.
    #[must_use]
    pub fn stdin(mut self, stream: Stream) -> Sandbox {
        self.streams[0] = stream;
        self
    }

    /// The standard output, the null device by default.
    #[must_use]
    pub fn stdout(mut self, stream: Stream) -> Sandbox {
        self.streams[1] = stream;
        self
    }

    /// The standard error, the null device by default.
    #[must_use]
    pub fn stderr(mut self, stream: Stream) -> Sandbox {
        self.streams[2] = stream;
        self
    }

    /// Runs it in a user namespace with these id maps. [`IdMap::current_user`] needs no privileges.
    #[must_use]
    pub fn user_namespace(mut self, id_map: IdMap) -> Sandbox {
        self.id_map = Some(id_map);
        self
    }

    /// Puts an init between: PID 1 passes signals on and reaps; off by default.
    #[must_use]
    pub fn init(mut self, on: bool) -> Sandbox {
        self.init = on;
        self
    }

    /// Whether it is killed when the process that started it dies, also by SIGKILL; on by default.
    #[must_use]
    pub fn die_with_parent(mut self, on: bool) -> Sandbox {
        self.die_with_parent = on;
        self
    }

    /// Starts it, and returns once the command is executed.
    ///
    /// # Errors
    /// Every failure names the step: [`ErrorKind::Exec`](crate::ErrorKind::Exec) where the command could not be
    /// executed, [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) where a value makes no sense. Nothing of
    /// a failed start is left.
    pub fn spawn(self) -> Result<Process> {
        let launcher = match &self.launcher {
            Some(launcher) => launcher.clone(),
            None => Launcher::shared()?,
        };
        start(&launcher, self.prepare()?)
    }

    /// What the start would do, one line an operation: the plan as text.
    ///
    /// # Errors
    /// As [`spawn`](Sandbox::spawn), for what is found before anything is started.
    pub fn listing(self) -> Result<String> {
        Ok(self.prepare()?.plan.verified()?.to_string())
    }
}

impl Sandbox {
    /// Starts from this launch thread.
    #[must_use]
    pub(crate) fn launcher(mut self, launcher: Arc<Launcher>) -> Sandbox {
        self.launcher = Some(launcher);
        self
    }
}

#[cfg(test)]
mod tests;
