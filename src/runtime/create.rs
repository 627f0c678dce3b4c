//! Makes a container from its bundle: everything but the start of its process.

use super::account::set_home;
use super::config::Config;
use super::container::write_pid;
use super::hooks::hand_over;
use super::limits::Placement;
use super::lower::{Lowered, Setting, lower};
use super::record::{Home, Identity, Lock, Record, VERSION};
use super::uncover::Bare;
use super::validate::report;
use super::{Container, Runtime, fifo};
use crate::cgroup::{Cgroup, CgroupRecord};
use crate::error::{Context, During};
use crate::isolate::{HookPoint, IntelRdt, Landlock, check_terminal, connect_console_socket, remove_rdt_groups};
use crate::kernel::{WindowSize, window_size};
use crate::launch::{Exit, Launcher, Process, Request, receive_descriptor, start};
use crate::sandbox::Stream;
use crate::value::Timestamp;
use crate::{Error, Result};
use oci_spec::runtime::ContainerState;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A container in the making: which bundle, and what the caller decides.
#[derive(Debug)]
pub struct Create<'a> {
    runtime: &'a Runtime,
    id: String,
    bundle: PathBuf,
    pid_file: Option<PathBuf>,
    streams: [Stream; 3],
    preserved: u32,
    no_pivot: bool,
    no_new_keyring: bool,
    landlock: Option<Landlock>,
    console_socket: Option<PathBuf>,
}

/// A container whose process runs, as a child of this process.
///
/// Dropping it kills the process; the container is left stopped.
#[derive(Debug)]
pub struct Running {
    container: Container,
    process: Process,
    terminal: Option<OwnedFd>,
}

impl<'a> Create<'a> {
    pub(super) fn new(runtime: &'a Runtime, id: &str, bundle: PathBuf) -> Create<'a> {
        Create {
            runtime,
            id: id.to_owned(),
            bundle,
            pid_file: None,
            streams: [Stream::Inherit, Stream::Inherit, Stream::Inherit],
            preserved: 0,
            no_pivot: false,
            no_new_keyring: false,
            landlock: None,
            console_socket: None,
        }
    }

    /// Writes the number of the container's first process on the host into this file.
    #[must_use]
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Create<'a> {
        self.pid_file = Some(path.into());
        self
    }

    /// The standard streams, those of this process by default; not used with a terminal.
    #[must_use]
    pub fn streams(mut self, streams: [Stream; 3]) -> Create<'a> {
        self.streams = streams;
        self
    }

    /// The payload gets this many descriptors of this process, from 3 on, under their numbers. Each must be open and not
    /// be closed by an exec (`FD_CLOEXEC`), which is how a descriptor that was handed on differs from one of the host's own.
    #[must_use]
    pub fn preserve_fds(mut self, count: u32) -> Create<'a> {
        self.preserved = count;
        self
    }

    /// Moves the root file system over the host's instead of pivot_root(2): for a host that runs from an initramfs.
    #[must_use]
    pub fn no_pivot(mut self, on: bool) -> Create<'a> {
        self.no_pivot = on;
        self
    }

    /// Keeps the caller's session keyring: the container's processes may then read its keys.
    #[must_use]
    pub fn no_new_keyring(mut self, on: bool) -> Create<'a> {
        self.no_new_keyring = on;
        self
    }

    /// The files and ports that the container's first process and all it starts may use, as the kernel's Landlock enforces
    /// it, on top of what the configuration says. Where the kernel has none, creating is an error.
    #[must_use]
    pub fn landlock(mut self, landlock: Landlock) -> Create<'a> {
        self.landlock = Some(landlock);
        self
    }

    /// Sends the master of the process's terminal over the Unix socket at this path (`process.terminal`). Without one, a
    /// container that is [`run`](Create::run) keeps its master: [`Running::terminal`].
    #[must_use]
    pub fn console_socket(mut self, path: impl Into<PathBuf>) -> Create<'a> {
        self.console_socket = Some(path.into());
        self
    }

    /// Creates it: afterwards it waits for [`Container::start`], by this process or another.
    ///
    /// # Errors
    /// `InvalidInput` for what the configuration or the id says; `AlreadyExists` for the id of another container; every
    /// failing step by name. Nothing of a failed creation is left.
    pub fn create(self) -> Result<Container> {
        let id = self.id.clone();
        let mut running = self.make(false).context(|| format!("create container {id}"))?;
        running.process.release();
        Ok(running.container)
    }

    /// Creates and starts it; returns once its process is executed.
    ///
    /// # Errors
    /// As [`create`](Create::create), and [`ErrorKind::Exec`](crate::ErrorKind::Exec) where the process could not be
    /// executed.
    pub fn run(self) -> Result<Running> {
        let id = self.id.clone();
        self.make(true).context(|| format!("run container {id}"))
    }

    /// What the start would do, one line an operation: the plan as text. Nothing is made, and without a control group
    /// nothing of it is listed.
    ///
    /// # Errors
    /// As [`create`](Create::create), for what is found before anything is started.
    pub fn listing(self) -> Result<String> {
        let (bundle, config, rootfs) = self.read_bundle()?;
        let group = Cgroup::absent(&self.id);
        let record = self.record(&bundle, &rootfs, &config, group.record());
        let console_socket = self.console_socket.as_deref();
        let (stdio, _master) =
            stdio(has_terminal(&config), Streams { streams: self.streams, console_socket, detached: false })?;
        let lowered = lower(Setting {
            config: &config,
            bundle: &bundle,
            group: &group,
            hook_state: record.hook_state(),
            stdio,
            preserved: self.preserved,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            landlock: self.landlock.as_ref(),
            resctrl: Vec::new(),
            fifos: None,
        })?;
        Ok(lowered.plan.verified()?.to_string())
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn pid_path(&self) -> Option<&Path> {
        self.pid_file.as_deref()
    }

    /// Everything before there is a process: the state directory, locked, the control group and the record.
    pub(super) fn prepare(&self) -> Result<Prepared> {
        let home = self.runtime.home(&self.id)?;
        let (bundle, config, rootfs) = self.read_bundle()?;
        let placement = Placement::of(&config.spec, &self.id, self.runtime);
        let placement = placement.map_err(|error| report(&config.spec, &bundle, error))?;
        home.make()?;
        let mut undo = Undo { home: Some(home.clone()), group: None, resctrl: Vec::new() };
        let lock = home.lock()?;
        home.write("config.json", &config.bytes)?;
        // Should this process be killed now, deleting the container finds the control group.
        let mut record = self.record(&bundle, &rootfs, &config, placement.intended(&self.id));
        record.bare = Bare::of(&config, &rootfs)?;
        home.write_record(&record)?;
        let (group, holder) = placement.make()?;
        undo.group = Some(group.clone());
        record.cgroup = Some(group.record());
        Ok(Prepared { home, config, record, group, holder, undo, lock })
    }

    /// The bundle's own path, its configuration and its root.
    fn read_bundle(&self) -> Result<(PathBuf, Config, PathBuf)> {
        let bundle = fs::canonicalize(&self.bundle).during(|| format!("find bundle {}", self.bundle.display()))?;
        let mut config = Config::of_bundle(&bundle)?;
        let rootfs = find_rootfs(&bundle, &config)?;
        if let Some(process) = config.spec.process_mut() {
            set_home(process, &rootfs);
        }
        Ok((bundle, config, rootfs))
    }

    fn make(self, at_once: bool) -> Result<Running> {
        let Prepared { home, config, mut record, group, holder, mut undo, lock } = self.prepare()?;
        let console_socket = self.console_socket.as_deref();
        let streams = Streams { streams: self.streams, console_socket, detached: !at_once };
        let (stdio, master) = stdio(has_terminal(&config), streams)?;
        let resctrl = match config.spec.linux().as_ref().and_then(|linux| linux.intel_rdt().as_ref()) {
            Some(rdt) => {
                let groups =
                    IntelRdt::prepare(rdt, &self.id).map_err(|error| report(&config.spec, &record.bundle, error))?;
                undo.resctrl = groups.made().to_vec();
                record.resctrl = groups.made().to_vec();
                groups.tasks()?
            }
            None => Vec::new(),
        };
        let lowered = lower(Setting {
            config: &config,
            bundle: &record.bundle,
            group: &group,
            hook_state: record.hook_state(),
            stdio,
            preserved: self.preserved,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            landlock: self.landlock.as_ref(),
            resctrl,
            fifos: if at_once { None } else { Some(fifo::make(&home)?) },
        });
        let lowered = lowered.map_err(|error| report(&config.spec, &record.bundle, error))?;
        config.warnings.iter().chain(&lowered.warnings).for_each(|warning| home.warn(warning));
        let launched = launch(lowered, &mut record, &config, &home, &group, self.pid_file.as_deref());
        drop(holder);
        let process = launched.and_then(|process| {
            if at_once {
                record.run_hooks(&config.spec, HookPoint::Poststart, Some(process.pid()))?;
            }
            let terminal = master.map(|socket| receive_descriptor(socket.as_fd())).transpose()?;
            Ok((process, terminal))
        });
        let (process, terminal) = match process {
            Ok(started) => started,
            Err(error) => {
                drop(undo);
                if let Some(Err(left)) = record.bare.map(|bare| bare.uncover(&record.rootfs)) {
                    home.warn(&left.to_string());
                }
                record.run_poststop_hooks(&config.spec, &mut |warning| home.warn(&warning));
                return Err(error);
            }
        };
        undo.keep();
        drop(lock);
        Ok(Running { container: Container::of(home), process, terminal })
    }

    fn record(&self, bundle: &Path, rootfs: &Path, config: &Config, group: CgroupRecord) -> Record {
        let annotations = config.spec.annotations().iter().flatten();
        Record {
            version: VERSION,
            id: self.id.clone(),
            bundle: bundle.to_owned(),
            rootfs: rootfs.to_owned(),
            created: Timestamp::now(),
            owner: nix::unistd::getuid().as_raw(),
            annotations: annotations.map(|(name, value)| (name.clone(), value.clone())).collect(),
            process: None,
            cgroup: Some(group),
            no_new_keyring: self.no_new_keyring,
            landlock: self.landlock.clone(),
            resctrl: Vec::new(),
            namespaces: 0,
            bare: None,
            shares_processes: !config.has_own_processes(),
            later_hooks: [HookPoint::Poststart, HookPoint::Poststop].iter().any(|point| point.is_used(&config.spec)),
            parked: (0, Vec::new()),
        }
    }
}

impl Running {
    /// The container.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Its first process.
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

    /// Waits for the end of its first process.
    ///
    /// # Errors
    /// Those of waiting.
    pub fn wait(&mut self) -> Result<Exit> {
        self.process.wait()
    }

    /// Lets it run on when this value is dropped.
    pub fn detach(mut self) -> Container {
        self.process.release();
        self.container
    }
}

/// Starts the process of a lowered configuration; the record is written before it goes on.
fn launch(
    lowered: Lowered,
    record: &mut Record,
    config: &Config,
    home: &Home,
    group: &Cgroup,
    pid_file: Option<&Path>,
) -> Result<Process> {
    record.namespaces = lowered.namespaces;
    record.parked = (lowered.first_parked, lowered.parked);
    let told = record.clone();
    let ready = |pid: i32| -> Result<()> {
        group.arm()?;
        record.process = Some(Identity::of(pid)?);
        home.write_record(record)?;
        pid_file.map_or(Ok(()), |path| write_pid(path, pid))
    };
    let request = Request {
        plan: lowered.plan,
        channel: lowered.channel,
        namespaces: lowered.at_clone,
        cgroup: lowered.cgroup,
        id_map: lowered.id_map,
        gate: told.gate(&config.spec),
        after_exec_of_stage: Some(Box::new(ready)),
        listener: hand_over(&told, &config.spec, ContainerState::Creating),
    };
    start(&Launcher::shared()?, request)
}

fn find_rootfs(bundle: &Path, config: &Config) -> Result<PathBuf> {
    let root = config.spec.root().as_ref().ok_or_else(|| Error::invalid("root is missing"))?;
    let path = bundle.join(root.path());
    let found = fs::canonicalize(&path).during(|| format!("find root.path {}", path.display()))?;
    if !found.is_dir() {
        return Err(Error::invalid(format!("root.path {} is not a directory", path.display())));
    }
    Ok(found)
}

fn has_terminal(config: &Config) -> bool {
    config.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false)
}

/// What the caller decides about the standard streams of a process.
pub(super) struct Streams<'a> {
    pub(super) streams: [Stream; 3],
    pub(super) console_socket: Option<&'a Path>,
    pub(super) detached: bool,
}

/// What the standard streams of a process are.
pub(super) enum Stdio {
    /// These.
    Streams([OwnedFd; 3]),
    /// A terminal, whose master is sent over this socket, and which has this size unless the process says otherwise.
    Terminal(OwnedFd, Option<WindowSize>),
}

/// What the process gets, and the end of a socket from which the master of its terminal is to be taken.
pub(super) fn stdio(terminal: bool, wanted: Streams<'_>) -> Result<(Stdio, Option<OwnedFd>)> {
    check_terminal(terminal, wanted.console_socket.is_some(), wanted.detached)?;
    match (terminal, wanted.console_socket) {
        (false, _) => Ok((Stdio::Streams(own_streams(wanted.streams)?), None)),
        (true, Some(path)) => Ok((Stdio::Terminal(connect_console_socket(path)?, None), None)),
        (true, None) => {
            let (ours, theirs) = UnixStream::pair().during(|| "create a socket for the terminal")?;
            // As that of the caller, who stands in for it.
            let size = window_size(std::io::stdin().as_fd()).ok();
            Ok((Stdio::Terminal(theirs.into(), size), Some(ours.into())))
        }
    }
}

/// Descriptors of what the streams stand for.
fn own_streams(streams: [Stream; 3]) -> Result<[OwnedFd; 3]> {
    let mut number = 0;
    let mut open = |stream: Stream| -> Result<OwnedFd> {
        number += 1;
        match stream {
            Stream::Descriptor(descriptor) => Ok(descriptor),
            Stream::Inherit => match number {
                1 => std::io::stdin().as_fd().try_clone_to_owned(),
                2 => std::io::stdout().as_fd().try_clone_to_owned(),
                _ => std::io::stderr().as_fd().try_clone_to_owned(),
            }
            .during(|| "duplicate a standard stream"),
            Stream::Null => fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .map(OwnedFd::from)
                .during(|| "open the null device"),
        }
    };
    let [input, output, error] = streams;
    Ok([open(input)?, open(output)?, open(error)?])
}

/// A container without a process; taken back when dropped.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) home: Home,
    pub(super) config: Config,
    pub(super) record: Record,
    pub(super) group: Cgroup,
    /// Keeps a group that systemd has made alive until the container's own process is in it.
    pub(super) holder: Option<Process>,
    undo: Undo,
    lock: Lock,
}

impl Prepared {
    /// It has its process: it stays.
    pub(super) fn done(self) -> Container {
        self.undo.keep();
        drop(self.lock);
        Container::of(self.home)
    }
}

/// Takes back a creation that does not come to its end.
#[derive(Debug)]
struct Undo {
    home: Option<Home>,
    group: Option<Cgroup>,
    resctrl: Vec<PathBuf>,
}

impl Undo {
    fn keep(mut self) {
        self.home = None;
        self.group = None;
        self.resctrl.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // What failed is reported; nothing better could be done about a second failure.
        if let Some(group) = self.group.take() {
            let _ = group.kill();
            let _ = group.remove();
        }
        remove_rdt_groups(&self.resctrl);
        if let Some(home) = self.home.take() {
            let _ = home.remove();
        }
    }
}
