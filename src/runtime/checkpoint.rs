//! Writing the processes of a container down, and bringing them back.

use super::config::Config;
use super::container::{Container, open, write_pid};
use super::create::{Create, Prepared};
use super::criu::{Criu, joined, key};
use super::record::CRIU_ROOT;
use super::record::Identity;
use super::state::Status;
use crate::error::{Context, During};
use crate::kernel::{PidFd, WaitStatus};
use crate::launch::ExitStatus;
use crate::{Error, ErrorKind, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What the standard streams of the first process were: of runc's name and form.
const DESCRIPTORS: &str = "descriptors.json";

/// It names three streams.
const DESCRIPTORS_BUDGET: u64 = 64 << 10;

/// A container whose processes were brought back; the first one is a child of this process.
#[derive(Debug)]
pub struct Restored {
    container: Container,
    process: PidFd,
}

impl Container {
    /// Writes its processes down, and ends them unless they are to go on.
    ///
    /// # Errors
    /// `InvalidInput`: it does not run. `Unsupported`: criu(8) is not installed, or cannot work with this kernel; other
    /// reasons of criu, with the last it wrote.
    pub fn checkpoint(&self, criu: &Criu) -> Result<()> {
        let _lock = self.home().lock()?;
        let record = self.record()?;
        let status = self.status_of(&record);
        let process = match (&record.process, status) {
            (Some(process), Status::Running | Status::Paused) => process,
            _ => return Err(self.not_running(status)),
        };
        let config = Config::read(&self.home().path("config.json"))?;
        fs::create_dir_all(&criu.images).during(|| format!("make {}", criu.images.display()))?;
        let criu = criu.resolved()?;
        let arguments = criu.dump_arguments(process.pid, &record, &config.spec)?;
        let streams = [0, 1, 2].map(|number| {
            let link = fs::read_link(format!("/proc/{}/fd/{number}", process.pid));
            link.map(|link| link.display().to_string()).unwrap_or_default()
        });
        let preserved: Vec<i32> = criu.status_descriptor().into_iter().collect();
        criu.run(&arguments, &preserved).context(|| format!("checkpoint container {}", self.id()))?;
        if criu.pre_dump {
            return Ok(());
        }
        let path = criu.images.join(DESCRIPTORS);
        let written = serde_json::to_vec(&streams).map_err(std::io::Error::other);
        written.and_then(|bytes| fs::write(&path, bytes)).during(|| format!("write {}", path.display()))
    }
}

impl Create<'_> {
    /// Brings back the processes that [`Container::checkpoint`] wrote down, as this container. The descriptors of the
    /// standard streams take the places of pipes.
    ///
    /// # Errors
    /// As [`create`](Create::create) and [`Container::checkpoint`]. Nothing of a failed restore is left.
    pub fn restore(self, criu: &Criu) -> Result<Restored> {
        let id = self.id().to_owned();
        self.bring_back(criu).context(|| format!("restore container {id}"))
    }

    fn bring_back(self, criu: &Criu) -> Result<Restored> {
        let criu = criu.resolved()?;
        let mut text = Vec::new();
        File::open(criu.images.join(DESCRIPTORS))
            .and_then(|file| file.take(DESCRIPTORS_BUDGET).read_to_end(&mut text))
            .during(|| format!("read {DESCRIPTORS} of the images"))?;
        let streams: Vec<String> = serde_json::from_slice(&text)
            .map_err(|error| Error::new(ErrorKind::Corrupt, DESCRIPTORS).source_error(error))?;
        let mut prepared = self.prepare()?;
        let own: Vec<OwnedFd> = [std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()]
            .into_iter()
            .map(|stream| stream.try_clone_to_owned().during(|| "duplicate a standard stream"))
            .collect::<Result<_>>()?;
        let pipes = streams.iter().zip(&own).filter(|(name, _)| name.starts_with("pipe:"));
        let mut inherited: Vec<(i32, String)> = pipes.map(|(name, own)| (own.as_raw_fd(), name.clone())).collect();
        let mut namespaces = Vec::new();
        for (kind, path) in joined(&prepared.config.spec) {
            let file = File::open(path).during(|| format!("open the namespace {}", path.display()))?;
            inherited.push((file.as_raw_fd(), key(kind).to_owned()));
            namespaces.push(file);
        }
        let root = RootMount::new(&prepared.record.rootfs, prepared.home.path(CRIU_ROOT))?;
        let pid_file = prepared.home.path("criu-pid");
        let (record, spec) = (&prepared.record, &prepared.config.spec);
        let arguments = criu.restore_arguments(&root.path, &pid_file, record, spec, &inherited)?;
        let preserved: Vec<i32> = inherited.iter().map(|(descriptor, _)| *descriptor).collect();
        criu.run(&arguments, &preserved)?;
        let text = fs::read_to_string(&pid_file).during(|| "read the number of the restored process")?;
        let pid = text.trim().parse().map_err(|_| Error::new(ErrorKind::Corrupt, "criu wrote no process number"))?;
        let identity = Identity::of(pid)?;
        let process = open(&identity)?.ok_or_else(|| Error::os("open the restored process", libc::ESRCH))?;
        // Nobody knows of the process yet: it must not outlive a failure.
        self.settle(&mut prepared, identity).inspect_err(|_| drop(process.send_signal(libc::SIGKILL)))?;
        Ok(Restored { container: prepared.done(), process })
    }

    /// Puts the process that was brought back into its group and on record.
    fn settle(&self, prepared: &mut Prepared, identity: Identity) -> Result<()> {
        let pid = identity.pid;
        if !prepared.group.is_absent() {
            prepared.group.attach(pid)?;
        }
        prepared.record.process = Some(identity);
        prepared.home.write_record(&prepared.record)?;
        self.pid_path().map_or(Ok(()), |path| write_pid(path, pid))
    }
}

impl Restored {
    /// The container.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Waits for the end of its first process.
    ///
    /// # Errors
    /// Those of waiting.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(match self.process.wait().during(|| "wait for the restored process")? {
            WaitStatus::Exited(code) => ExitStatus::Exited(code),
            WaitStatus::Signaled(signal) => ExitStatus::Signaled(signal),
            WaitStatus::Unknown => ExitStatus::Unknown,
        })
    }
}

/// The root as a mount of its own, which criu wants; taken away when dropped.
struct RootMount {
    path: PathBuf,
}

impl RootMount {
    fn new(rootfs: &Path, path: PathBuf) -> Result<RootMount> {
        fs::create_dir(&path).during(|| format!("make {}", path.display()))?;
        // Its directory goes as well where it cannot be mounted.
        let root = RootMount { path };
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        let mounted = mount(Some(rootfs), &root.path, None::<&str>, flags, None::<&str>);
        mounted.during(|| format!("mount {}", root.path.display()))?;
        Ok(root)
    }
}

impl Drop for RootMount {
    fn drop(&mut self) {
        // What failed is reported; the directory goes with the container.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.path);
    }
}
