//! The state directory of one container: its record, its configuration, the fifos of its start.

use super::account::user_name;
use super::state::{OCI_VERSION, State, Status};
use super::uncover::Bare;
use crate::cgroup::{Cgroup, CgroupRecord};
use crate::error::During;
use crate::isolate::Landlock;
use crate::kernel::ProcessStat;
use crate::plan::Plan;
use crate::value::Timestamp;
use crate::{Error, ErrorKind, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of the format of records.
pub(super) const VERSION: u32 = 1;

/// What every version of a record has.
#[derive(Deserialize)]
struct Format {
    version: u32,
}

/// Where criu finds the root of a container that is restored, in its state directory.
pub(super) const CRIU_ROOT: &str = "criu-root";

/// What is known of a container between the processes that look after it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// The version of this format.
    pub(super) version: u32,
    pub(super) id: String,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) created: Timestamp,
    pub(super) owner: u32,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    /// Its first process, once there is one.
    pub(super) process: Option<Identity>,
    pub(super) cgroup: Option<CgroupRecord>,
    /// Whether its processes keep the session keyring of whoever starts them.
    #[serde(default)]
    pub(super) no_new_keyring: bool,
    /// What its processes may use of files and ports.
    #[serde(default)]
    pub(super) landlock: Option<Landlock>,
    /// The groups of the resctrl file system that were made for it.
    #[serde(default)]
    pub(super) resctrl: Vec<PathBuf>,
    /// The CLONE_NEW flags of the namespaces that are not its creator's.
    pub(super) namespaces: i32,
    /// What its root directory showed before, where it has no mount namespace of its own.
    #[serde(default)]
    pub(super) bare: Option<Bare>,
    /// Whether its PID namespace is not its own: its processes do not end with the first one.
    #[serde(default)]
    pub(super) shares_processes: bool,
    /// Whether it has hooks that run after its creation (`poststart`, `poststop`): without, nobody reads its configuration
    /// again to start or delete it.
    pub(super) later_hooks: bool,
    /// The operations behind the wait for the start, for the sentence of a fault: the number of the first, and each.
    pub(super) parked: (u32, Vec<Remedy>),
}

/// What an operation of a start does, and what can be done about its failure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Remedy {
    what: String,
    remedies: Vec<(i32, String)>,
}

impl Remedy {
    pub(super) fn of(plan: &Plan, index: usize) -> Remedy {
        let what = plan.sentence(index).map(ToString::to_string).unwrap_or_default();
        let remedies = plan.remedies(index).map(|(errno, remedy)| (errno, remedy.to_owned())).collect();
        Remedy { what, remedies }
    }

    /// The error of the operation that ran a hook which ended so.
    pub(super) fn hook_error(&self, end: u32, said: &[u8]) -> Error {
        crate::launch::explain_hook(&self.what, end, said)
    }

    /// The error of the operation that met `errno`.
    pub(super) fn error(&self, errno: i32) -> Error {
        let error = Error::os(self.what.clone(), errno);
        match self.remedies.iter().find(|(other, _)| *other == errno) {
            Some((_, remedy)) => error.hint(remedy.clone()),
            None => error,
        }
    }
}

/// A process that cannot be mistaken for another: a number is given again, and after a reboot so is the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// In ticks since the boot, as proc_pid_stat(5) has it.
    pub(super) start_time: u64,
    pub(super) boot: String,
}

impl Identity {
    /// The identity of the living process `pid`.
    pub(super) fn of(pid: i32) -> Result<Identity> {
        let stat = ProcessStat::of(pid).ok_or_else(|| Error::os(format!("look at process {pid}"), libc::ESRCH))?;
        Ok(Identity { pid, start_time: stat.start_time, boot: boot_id()? })
    }

    /// Whether it has ended and nobody has waited for it yet.
    pub(super) fn is_unreaped(&self) -> bool {
        self.stat().is_some_and(|stat| stat.state == b'Z')
    }

    /// Whether it lives; one that has ended and was not waited for does not.
    pub(super) fn lives(&self) -> bool {
        self.stat().is_some_and(|stat| !matches!(stat.state, b'Z' | b'X'))
            && boot_id().is_ok_and(|boot| boot == self.boot)
    }

    /// What is said of the process of that number, if it began then.
    fn stat(&self) -> Option<ProcessStat> {
        ProcessStat::of(self.pid).filter(|stat| stat.start_time == self.start_time)
    }
}

fn boot_id() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").during(|| "read the boot id")?;
    Ok(text.trim_end().to_owned())
}

/// The directory of one container.
#[derive(Debug, Clone)]
pub(super) struct Home {
    directory: PathBuf,
    id: String,
    warner: Warner,
}

/// Who hears of what goes wrong and does not stop anything.
#[derive(Clone, Default)]
pub(super) struct Warner(pub(super) Option<Arc<Warn>>);

/// What hears a warning.
type Warn = dyn Fn(&str) + Send + Sync;

impl fmt::Debug for Warner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Warner(set)" } else { "Warner(none)" })
    }
}

/// Held while a container is changed; let go when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

impl Home {
    pub(super) fn new(root: &Path, id: &str, warner: Warner) -> Home {
        Home { directory: root.join(id), id: id.to_owned(), warner }
    }

    /// Tells whoever listens.
    pub(super) fn warn(&self, warning: &str) {
        if let Some(warn) = &self.warner.0 {
            warn(warning);
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes the directory, which decides who owns the id.
    pub(super) fn make(&self) -> Result<()> {
        match fs::DirBuilder::new().mode(0o711).create(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::new(ErrorKind::AlreadyExists, format!("container with id {} exists already", self.id))
                    .hint("container with given ID already exists: delete it, or choose another id"))
            }
            made => made.during(|| format!("make {}", self.directory.display())),
        }
    }

    /// Whether there is such a container.
    pub(super) fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// Waits for whoever else changes the container.
    ///
    /// # Errors
    /// `NotFound`: it is gone by then, even where there is another of its id.
    pub(super) fn lock(&self) -> Result<Lock> {
        let mut file = self.open_directory()?;
        let lock = loop {
            match Flock::lock(file, FlockArg::LockExclusive) {
                Ok(lock) => break lock,
                Err((back, Errno::EINTR)) => file = back,
                Err((_, errno)) => return Err(Error::os(format!("lock container {}", self.id), errno as i32)),
            }
        };
        let same = fs::metadata(&self.directory).is_ok_and(|now| {
            lock.metadata().is_ok_and(|locked| (locked.dev(), locked.ino()) == (now.dev(), now.ino()))
        });
        if same { Ok(Lock { _file: lock }) } else { Err(self.missing()) }
    }

    /// Whether somebody changes the container now.
    pub(super) fn is_locked(&self) -> bool {
        let locked = self.open_directory().map(|file| Flock::lock(file, FlockArg::LockSharedNonblock));
        matches!(locked, Ok(Err((_, Errno::EWOULDBLOCK))))
    }

    fn open_directory(&self) -> Result<File> {
        File::open(&self.directory).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => self.missing(),
            _ => Error::new(ErrorKind::Os, format!("open {}", self.directory.display())).source_error(error),
        })
    }

    /// The error of a container that there is none of.
    pub(super) fn missing(&self) -> Error {
        Error::new(ErrorKind::NotFound, format!("container {} does not exist", self.id))
    }

    /// Writes a file in one step. It need not outlast the machine's power: nothing of the container does.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (aside, path) = (self.path(&format!(".{name}")), self.path(name));
        // The environment of a container is nobody else's business.
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&aside, &path))
            .during(|| format!("write {}", path.display()))
    }

    pub(super) fn write_record(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record)
            .map_err(|error| Error::new(ErrorKind::Os, "write the record").source_error(error))?;
        self.write("state.json", &bytes)
    }

    /// The record; `None` where the creation was cut off before there was one.
    pub(super) fn read_record(&self) -> Result<Option<Record>> {
        let bytes = match fs::read(self.path("state.json")) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.exists() => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(self.missing()),
            Err(error) => return Err(error).during(|| format!("read the state of container {}", self.id)),
        };
        let damaged = |error| {
            Error::new(ErrorKind::Corrupt, format!("the state of container {} is not readable", self.id))
                .source_error(error)
                .hint("delete --force removes it")
        };
        let Format { version } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if version != VERSION {
            let message = format!("the state of container {} has version {version}, not {VERSION}", self.id);
            return Err(Error::new(ErrorKind::Unsupported, message)
                .hint("another version of this runtime made it; delete --force removes it"));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Removes everything: afterwards the id is free.
    pub(super) fn remove(&self) -> Result<()> {
        self.let_go_of_root()?;
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).during(|| format!("remove {}", self.directory.display()))
            }
            _ => Ok(()),
        }
    }

    /// Takes the root away that a restore which was killed has left mounted here: what is removed next would be its files.
    fn let_go_of_root(&self) -> Result<()> {
        let path = self.path(CRIU_ROOT);
        loop {
            match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {}
                // Nothing is mounted there; nor can be, where an ordinary user is refused.
                Err(Errno::ENOENT | Errno::EINVAL | Errno::EPERM) => return Ok(()),
                Err(errno) => return Err(Error::os(format!("unmount {}", path.display()), errno as i32)),
            }
        }
    }
}

impl Record {
    /// What the world is told.
    pub(super) fn state(&self, status: Status) -> State {
        State {
            oci_version: OCI_VERSION.to_owned(),
            id: self.id.clone(),
            pid: match (&self.process, status) {
                (Some(process), status) if status != Status::Stopped => process.pid,
                _ => 0,
            },
            status,
            bundle: self.bundle.clone(),
            rootfs: self.rootfs.clone(),
            created: self.created,
            annotations: self.annotations.clone(),
            owner: match self.owner {
                0 => "root".to_owned(),
                user => user_name(user).unwrap_or_else(|| user.to_string()),
            },
        }
    }

    /// Whether its processes are suspended.
    pub(super) fn is_paused(&self) -> bool {
        self.cgroup.as_ref().is_some_and(|group| Cgroup::open(group).is_paused().unwrap_or(false))
    }
}
