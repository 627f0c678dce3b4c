//! A merged view of layers in user space: what an overlay mount of them would show, without a mount.

use crate::archive::{Overlay, is_whiteout};
use crate::error::During;
use crate::kernel::open_regular;
use crate::{Error, ErrorKind, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// As the kernel's own limit on the way to one file.
const MOST_LINKS: usize = 40;

/// The files of stacked layers, read-only. Paths are those of a process inside, with or without a leading `/`; symbolic
/// links are resolved within the view, whiteouts and opaque directories honoured, and nothing leads out of the layers.
#[derive(Debug, Clone)]
pub(crate) struct MergedView {
    /// Highest first.
    layers: Vec<PathBuf>,
    overlay: Overlay,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, pipe or socket.
    Special,
}

/// What a view tells about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryMetadata {
    /// What it is.
    pub kind: EntryKind,
    /// The low twelve bits of the mode.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The size in bytes; of a link, that of its text.
    pub size: u64,
    /// Seconds and nanoseconds since the epoch.
    pub mtime: (i64, i64),
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    /// The name, without a directory.
    pub name: OsString,
    /// Of the name itself: a link is not followed.
    pub metadata: EntryMetadata,
}

/// Where a walk ended.
struct Found {
    /// Canonical, relative to the root.
    path: PathBuf,
    node: Node,
}

enum Node {
    /// The directories that are merged, highest first.
    Directory(Vec<OwnedFd>),
    /// Anything else, by its name in the directory of the layer that has it.
    Leaf(OwnedFd, OsString, FileStat),
}

impl MergedView {
    /// A look at the layers `lower`, lowest first, below `upper`.
    pub(crate) fn new(lower: &[PathBuf], upper: Option<&Path>) -> MergedView {
        let layers = upper.map(Path::to_owned).into_iter().chain(lower.iter().rev().cloned()).collect();
        MergedView { layers, overlay: Overlay::of_this_process() }
    }

    /// Reads the file `path`; `None` where there is none. Errors: `LimitExceeded` where it is larger than `budget` bytes,
    /// `InvalidInput` where it is no regular file.
    pub(crate) fn read(&self, path: &Path, budget: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(budget.saturating_add(1)).read_to_end(&mut bytes).during(|| format!("read {}", path.display()))?;
        if bytes.len() as u64 > budget {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{} is larger than {budget} bytes", path.display()),
            ));
        }
        Ok(Some(bytes))
    }

    /// Opens the regular file `path` for reading; `None` where there is none.
    pub(crate) fn open(&self, path: &Path) -> Result<Option<File>> {
        let no_file = || Error::invalid(format!("{} is not a regular file", path.display()));
        match self.walk_to(path, true)?.map(|found| found.node) {
            None => Ok(None),
            Some(Node::Directory(_)) => Err(no_file()),
            Some(Node::Leaf(parent, name, _)) => {
                let fd = open_regular(parent.as_fd(), &name).during(|| format!("open {}", path.display()))?;
                Ok(Some(File::from(fd.ok_or_else(no_file)?)))
            }
        }
    }

    /// What `path`, links followed, is; `None` where there is nothing.
    pub(crate) fn metadata(&self, path: &Path) -> Result<Option<EntryMetadata>> {
        self.walk_to(path, true)?.map(|found| found.node.metadata()).transpose()
    }

    /// What `path` itself is, be it a link; `None` where there is nothing.
    pub(crate) fn symlink_metadata(&self, path: &Path) -> Result<Option<EntryMetadata>> {
        self.walk_to(path, false)?.map(|found| found.node.metadata()).transpose()
    }

    /// The absolute path without links that `path` stands for; `None` where there is nothing.
    pub(crate) fn resolve(&self, path: &Path) -> Result<Option<PathBuf>> {
        Ok(self.walk_to(path, true)?.map(|found| Path::new("/").join(found.path)))
    }

    /// The text of the symbolic link `path`; `None` where there is none.
    pub(crate) fn read_link(&self, path: &Path) -> Result<Option<PathBuf>> {
        match self.walk_to(path, false)?.map(|found| found.node) {
            Some(Node::Leaf(parent, name, stat)) if kind(&stat) == EntryKind::Symlink => {
                readlinkat(&parent, name.as_os_str())
                    .during(|| format!("read link {}", path.display()))
                    .map(|target| Some(PathBuf::from(target)))
            }
            _ => Ok(None),
        }
    }

    /// The names in the directory `path`, links followed, sorted; `None` where there is no directory.
    pub(crate) fn read_dir(&self, path: &Path) -> Result<Option<Vec<DirectoryEntry>>> {
        let Some(Found { node: Node::Directory(layers), .. }) = self.walk_to(path, true)? else { return Ok(None) };
        let mut names: BTreeMap<OsString, Option<EntryMetadata>> = BTreeMap::new();
        for directory in &layers {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let operation = || format!("list {}", path.display());
            let mut listing = Dir::openat(directory, ".", flags, Mode::empty()).during(operation)?;
            for entry in listing.iter() {
                let entry = entry.during(operation)?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name == "." || name == ".." || names.contains_key(name) {
                    continue;
                }
                let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).during(operation)?;
                names.insert(name.to_owned(), (!is_whiteout(&stat)).then(|| metadata(&stat)));
            }
        }
        let entries =
            names.into_iter().filter_map(|(name, metadata)| Some(DirectoryEntry { name, metadata: metadata? }));
        Ok(Some(entries.collect()))
    }

    /// Calls `visit` for `path` and everything below it, each directory before what is in it, sorted by name; links are
    /// not followed below `path`. Paths are absolute and canonical. Nothing is visited where nothing is.
    #[cfg(test)]
    pub(crate) fn walk(&self, path: &Path, visit: &mut dyn FnMut(&Path, &EntryMetadata) -> Result<()>) -> Result<()> {
        let Some(found) = self.walk_to(path, true)? else { return Ok(()) };
        let mut pending = vec![(Path::new("/").join(&found.path), found.node.metadata()?)];
        drop(found);
        while let Some((path, metadata)) = pending.pop() {
            visit(&path, &metadata)?;
            if metadata.kind == EntryKind::Directory {
                let entries = self.read_dir(&path)?.unwrap_or_default();
                pending.extend(entries.into_iter().rev().map(|entry| (path.join(entry.name), entry.metadata)));
            }
        }
        Ok(())
    }

    fn walk_to(&self, path: &Path, follow: bool) -> Result<Option<Found>> {
        let operation = || format!("look up {}", path.display());
        let mut rest: VecDeque<OsString> = names_of(path).collect();
        let mut done = PathBuf::new();
        let mut current = self.root()?;
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                done.pop();
                current = self.descend(&done)?;
                continue;
            }
            match self.lookup(&current, &name)? {
                None => return Ok(None),
                Some(Node::Directory(layers)) => {
                    current = layers;
                    done.push(name);
                }
                Some(Node::Leaf(parent, name, stat)) => {
                    if kind(&stat) == EntryKind::Symlink && (follow || !rest.is_empty()) {
                        links += 1;
                        if links > MOST_LINKS {
                            return Err(Error::os(operation(), libc::ELOOP));
                        }
                        let target = PathBuf::from(readlinkat(&parent, name.as_os_str()).during(operation)?);
                        if target.is_absolute() {
                            done = PathBuf::new();
                            current = self.root()?;
                        }
                        let names: Vec<OsString> = names_of(&target).collect();
                        names.into_iter().rev().for_each(|name| rest.push_front(name));
                    } else if rest.is_empty() {
                        done.push(&name);
                        return Ok(Some(Found { path: done, node: Node::Leaf(parent, name, stat) }));
                    } else {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(Found { path: done, node: Node::Directory(current) }))
    }

    fn root(&self) -> Result<Vec<OwnedFd>> {
        self.layers
            .iter()
            .map(|layer| File::open(layer).map(OwnedFd::from).during(|| format!("open layer {}", layer.display())))
            .collect()
    }

    /// The merged directory at a path that is canonical already.
    fn descend(&self, canonical: &Path) -> Result<Vec<OwnedFd>> {
        let mut current = self.root()?;
        for name in canonical {
            current = match self.lookup(&current, name)? {
                Some(Node::Directory(layers)) => layers,
                _ => return Err(Error::new(ErrorKind::NotFound, format!("{canonical:?} has changed meanwhile"))),
            };
        }
        Ok(current)
    }

    fn lookup(&self, layers: &[OwnedFd], name: &OsStr) -> Result<Option<Node>> {
        let operation = || format!("look up {name:?}");
        let mut merged = Vec::new();
        for directory in layers {
            let stat = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(Error::os(operation(), errno as i32)),
            };
            if is_whiteout(&stat) {
                break;
            }
            if kind(&stat) != EntryKind::Directory {
                if merged.is_empty() {
                    let parent = directory.try_clone().during(operation)?;
                    return Ok(Some(Node::Leaf(parent, name.to_owned(), stat)));
                }
                break;
            }
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let below = openat(directory, name, flags, Mode::empty()).during(operation)?;
            let opaque = self.overlay.is_opaque(below.as_fd())?;
            merged.push(below);
            if opaque {
                break;
            }
        }
        Ok(if merged.is_empty() { None } else { Some(Node::Directory(merged)) })
    }
}

impl Node {
    fn metadata(&self) -> Result<EntryMetadata> {
        match self {
            Node::Leaf(_, _, stat) => Ok(metadata(stat)),
            Node::Directory(layers) => match layers.first() {
                Some(top) => Ok(metadata(&fstat(top).during(|| "inspect a directory")?)),
                // The root of no layers at all: an image from scratch.
                None => Ok(EntryMetadata {
                    kind: EntryKind::Directory,
                    mode: 0o755,
                    uid: 0,
                    gid: 0,
                    size: 0,
                    mtime: (0, 0),
                }),
            },
        }
    }
}

fn names_of(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn kind(stat: &FileStat) -> EntryKind {
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => EntryKind::File,
        libc::S_IFDIR => EntryKind::Directory,
        libc::S_IFLNK => EntryKind::Symlink,
        _ => EntryKind::Special,
    }
}

fn metadata(stat: &FileStat) -> EntryMetadata {
    EntryMetadata {
        kind: kind(stat),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: stat.st_size.unsigned_abs(),
        mtime: (stat.st_mtime, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests;
