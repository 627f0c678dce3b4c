//! A detached container's directory, and the names that lead to it.
//!
//! ```text
//! <root>/containers/<id>/
//!   specification.json   what it is; durable before anything is started
//!   holdings.json        what it holds in the kernel
//!   lock                 locked by its keeper, and by its maker until the keeper has it
//!   pid                  its first process and its keeper, as long as there is no `exit`
//!   exit                 how it ended
//!   health               what its checks say and how often it was started again, where it has either
//!   last                 how it ended before it was started again
//!   stop                 it is not to be started again
//!   log/                 log, log.1, ...
//!   upper/ work/         its own files
//!   hosts hostname resolv.conf
//! <root>/containers/names/<name>   the id of the container of that name
//! ```

use super::exit::ContainerExit;
use super::services::Services;
use super::specification::Specification;
use crate::error::During;
use crate::kernel::remove_tree;
use crate::value::{ContainerId, Name};
use crate::{Error, ErrorKind, Result};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a keeper may take to write two numbers down; a disk that is slower leaves the container one that is being
/// started.
const NOTE_PATIENCE: Duration = Duration::from_secs(10);

/// One container's directory.
#[derive(Debug, Clone)]
pub(crate) struct Directory(PathBuf);

/// A new directory, not visible yet; gone on drop unless it was published.
#[derive(Debug)]
pub(crate) struct NewDirectory {
    aside: PathBuf,
    path: PathBuf,
    pub(crate) lock: File,
    published: bool,
}

impl Directory {
    /// That of container `id`, whether it exists or not.
    pub(crate) fn of(services: &Services, id: &ContainerId) -> Directory {
        Directory(services.containers().join(id.as_str()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// What the container is.
    pub(crate) fn specification(&self) -> Result<Specification> {
        let path = self.0.join("specification.json");
        let text = fs::read(&path).during(|| format!("read {}", path.display()))?;
        let specification: Specification = serde_json::from_slice(&text).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("{} is malformed", path.display())).source_error(error)
        })?;
        if specification.version != 1 {
            let version = specification.version;
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("container {} was made by a newer version of this crate (form {version})", specification.id),
            ));
        }
        Ok(specification)
    }

    /// Whether its keeper (or its maker) lives.
    pub(crate) fn is_alive(&self) -> bool {
        match File::open(self.0.join("lock")) {
            Ok(lock) => matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)),
            Err(_) => false,
        }
    }

    /// Waits until its keeper is gone.
    pub(crate) fn wait_until_dead(&self) -> Result<()> {
        let operation = || format!("wait for the keeper of {}", self.0.display());
        match File::open(self.0.join("lock")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            opened => loop {
                match opened.as_ref().map(File::lock_shared) {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(result) => return result.during(operation),
                    Err(error) => return Err(io::Error::from(error.kind())).during(operation),
                }
            },
        }
    }

    /// Waits until the keeper has noted the processes of a start that it reported as done: until then a look at the
    /// container would find one that is being started.
    pub(crate) fn wait_until_noted(&self) {
        let begin = Instant::now();
        while self.processes().is_none() && self.is_alive() && begin.elapsed() < NOTE_PATIENCE {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Its first process and its keeper, by number; valid only as long as there is no [`exit`](Self::exit).
    pub(crate) fn processes(&self) -> Option<(i32, i32)> {
        let text = fs::read_to_string(self.0.join("pid")).ok()?;
        let (process, keeper) = text.trim().split_once(' ')?;
        Some((process.parse().ok()?, keeper.parse().ok()?))
    }

    /// How it ended; `None` while it has not.
    pub(crate) fn exit(&self) -> Result<Option<ContainerExit>> {
        let path = self.0.join("exit");
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => ContainerExit::parse(&read.during(|| format!("read {}", path.display()))?).map(Some),
        }
    }

    /// Has its keeper start it no more.
    pub(crate) fn mark_as_stopped(&self) -> Result<()> {
        let path = self.0.join("stop");
        // The keeper has made one aside, which needs no room; whoever came before may have used it.
        match fs::rename(self.0.join("stop.new"), &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.exists() => Ok(()),
            Err(_) => File::create(&path).map(drop).during(|| format!("write {}", path.display())),
            Ok(()) => Ok(()),
        }
    }

    /// How it ended before the restart that is under way.
    pub(crate) fn last(&self) -> Result<ContainerExit> {
        let path = self.0.join("last");
        ContainerExit::parse(&fs::read(&path).during(|| format!("read {}", path.display()))?)
    }

    /// Removes it with all it holds on disk, its name first.
    pub(crate) fn remove(&self, services: &Services, name: Option<&Name>) -> Result<()> {
        if let (Some(name), Some(id)) = (name, self.0.file_name().and_then(|id| id.to_str())) {
            let path = names(services).join(name.as_str());
            if fs::read_to_string(&path).is_ok_and(|holder| holder == id) {
                let _ = fs::remove_file(path);
            }
        }
        remove_directory(&self.0)
    }
}

impl NewDirectory {
    /// Makes a directory for container `id`, locked.
    pub(crate) fn make(services: &Services, id: &ContainerId) -> Result<NewDirectory> {
        let parent = services.containers();
        let (aside, path) = (parent.join(format!(".{id}")), parent.join(id.as_str()));
        let operation = || format!("make {}", path.display());
        let _birth = services.birth_lock(false)?;
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true).create(names(services)).during(operation)?;
        builder.recursive(false).create(&aside).during(operation)?;
        let lock = File::create_new(aside.join("lock")).and_then(|lock| lock.lock().map(|()| lock));
        let lock = lock.during(operation)?;
        builder.create(aside.join("log")).during(operation)?;
        Ok(NewDirectory { aside, path, lock, published: false })
    }

    /// Where it is as yet.
    pub(crate) fn aside(&self) -> &Path {
        &self.aside
    }

    /// Writes the specification, makes the directory durable and visible, and takes the name.
    pub(crate) fn publish(mut self, services: &Services, specification: &Specification) -> Result<(Directory, File)> {
        let operation = || format!("make {}", self.path.display());
        let text = serde_json::to_vec_pretty(specification).map_err(io::Error::from).during(operation)?;
        let file = self.aside.join("specification.json");
        fs::write(&file, text).and_then(|()| File::open(&file)?.sync_all()).during(operation)?;
        File::open(&self.aside).and_then(|directory| directory.sync_all()).during(operation)?;
        if let Some(name) = &specification.name {
            take_name(services, name, &specification.id)?;
        }
        fs::rename(&self.aside, &self.path).during(operation)?;
        self.published = true;
        File::open(services.containers()).and_then(|directory| directory.sync_all()).during(operation)?;
        let lock = self.lock.try_clone().during(operation)?;
        Ok((Directory(self.path.clone()), lock))
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        if !self.published {
            let _ = remove_directory(&self.aside);
        }
    }
}

/// The id of the container called `name`.
pub(crate) fn find_name(services: &Services, name: &Name) -> Option<ContainerId> {
    fs::read_to_string(names(services).join(name.as_str())).ok()?.parse().ok()
}

/// The ids of all containers, in order.
pub(crate) fn list(services: &Services) -> Result<Vec<ContainerId>> {
    let parent = services.containers();
    let entries = match fs::read_dir(&parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.during(|| format!("read {}", parent.display()))?,
    };
    let mut ids: Vec<ContainerId> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort();
    Ok(ids)
}

/// Removes what makers that died have left aside.
pub(crate) fn recover(services: &Services) -> Result<()> {
    let Ok(entries) = fs::read_dir(services.containers()) else { return Ok(()) };
    let _birth = services.birth_lock(true)?;
    for entry in entries.flatten() {
        let hidden = entry.file_name().to_str().is_some_and(|name| name.starts_with('.'));
        let directory = Directory(entry.path());
        if hidden && !directory.is_alive() {
            remove_directory(directory.path())?;
        }
    }
    Ok(())
}

/// Takes `name` for `id`: by a hard link of a file that is complete, so that it is there whole or not at all.
fn take_name(services: &Services, name: &Name, id: &ContainerId) -> Result<()> {
    let (path, aside) = (names(services).join(name.as_str()), names(services).join(format!(".{id}")));
    let operation = || format!("take the name {name}");
    fs::write(&aside, id.as_str()).during(operation)?;
    let mut linked = fs::hard_link(&aside, &path);
    if linked.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
        let holder = find_name(services, name);
        let stale = holder.is_none_or(|holder| {
            !Directory::of(services, &holder).path().exists()
                && !services.containers().join(format!(".{holder}")).exists()
        });
        if stale {
            let _ = fs::remove_file(&path);
            linked = fs::hard_link(&aside, &path);
        }
    }
    let _ = fs::remove_file(&aside);
    linked.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::AlreadyExists, format!("a container is called {name} already"))
                .hint("remove it, or choose another name")
        }
        _ => Error::os(operation(), error.raw_os_error().unwrap_or(libc::EIO)),
    })
}

fn names(services: &Services) -> PathBuf {
    services.containers().join("names")
}

fn remove_directory(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::invalid(format!("{} is no directory of a container", path.display())));
    };
    let operation = || format!("remove {}", path.display());
    match File::open(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        parent => match remove_tree(parent.during(operation)?.as_fd(), name.as_ref()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.during(operation),
        },
    }
}
