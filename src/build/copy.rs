//! Writing files into a snapshot as a process in it would: links of lower layers are followed, the directories of lower
//! layers keep their owner, mode and time.

use super::tree::{Selected, Tree, attributes_of};
use crate::error::{Context, During};
use crate::kernel::{InRoot, set_xattr};
use crate::store::{EntryKind, EntryMetadata, MergedView, Snapshot};
use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, symlinkat, unlinkat};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// What is decided about the files of a copy in place of what their source says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Overrides {
    /// The owner and group; `None` keeps the source's.
    pub(super) owner: Option<(u32, u32)>,
    /// The mode of files and directories.
    pub(super) mode: Option<u32>,
}

/// What a file is given once it is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// Seconds and nanoseconds since the epoch.
    pub(super) mtime: (i64, i64),
}

/// Writes into the upper directory of a snapshot that is not mounted.
pub(super) struct Writer {
    view: MergedView,
    upper: InRoot,
    is_root: bool,
    /// What is applied to directories at the end, by canonical path: until then their times change.
    directories: BTreeMap<PathBuf, Attributes>,
    /// Canonical by path asked for.
    known: HashMap<PathBuf, PathBuf>,
    /// Devices, pipes and sockets, which are not copied.
    pub(super) skipped: u64,
}

impl Overrides {
    /// The attributes of a copy of `source`.
    fn of(&self, source: &EntryMetadata) -> Attributes {
        Attributes {
            mode: self.mode.unwrap_or(source.mode),
            owner: self.owner.unwrap_or((source.uid, source.gid)),
            mtime: source.mtime,
        }
    }

    /// The attributes of a directory that the target needs: 0755, of the epoch, so that a build can be repeated.
    pub(super) fn implied(&self) -> Attributes {
        Attributes { mode: self.mode.unwrap_or(0o755), owner: self.owner.unwrap_or((0, 0)), mtime: (0, 0) }
    }
}

impl Writer {
    pub(super) fn new(snapshot: &Snapshot) -> Result<Writer> {
        Ok(Writer {
            view: snapshot.view(),
            upper: InRoot::open(snapshot.upper())?,
            is_root: nix::unistd::geteuid().is_root(),
            directories: BTreeMap::new(),
            known: HashMap::new(),
            skipped: 0,
        })
    }

    /// Whether `path`, links followed, is a directory.
    pub(super) fn is_directory(&self, path: &Path) -> Result<bool> {
        Ok(self.view.metadata(path)?.is_some_and(|metadata| metadata.kind == EntryKind::Directory))
    }

    /// Copies `selected` to the absolute path `target`: the contents of a directory into it; a file to it, or into it
    /// where it is a directory, ends with `/`, or `several` go there (Dockerfile reference, "COPY", "Destination").
    pub(super) fn copy(
        &mut self,
        tree: &Tree,
        selected: &Selected,
        target: &str,
        several: bool,
        overrides: &Overrides,
    ) -> Result<()> {
        let mut destination = PathBuf::from(target);
        if selected.metadata.kind != EntryKind::Directory {
            if several || target.ends_with('/') || self.is_directory(&destination)? {
                destination.push(&selected.name);
            }
            return self.entry(tree, &self.followed(&destination)?, &selected.path, &selected.metadata, overrides);
        }
        let implied = Overrides { mode: None, ..*overrides }.implied();
        self.directory(&destination, &implied)?;
        tree.walk(selected, &mut |below, path, metadata| match below.as_os_str().is_empty() {
            true => Ok(()),
            false => self.entry(tree, &destination.join(below), path, metadata, overrides),
        })
    }

    /// Writes a file of this content.
    pub(super) fn file(&mut self, target: &Path, content: &mut impl Read, attributes: &Attributes) -> Result<File> {
        let (parent, name) = self.make_way(target)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&parent, name.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR).during(|| "create")?;
        let mut file = File::from(file);
        io::copy(content, &mut file).during(|| "write")?;
        self.apply(&file, attributes)?;
        Ok(file)
    }

    /// The directory `path`, made with `attributes` where it is missing, as are its parents; its canonical path.
    pub(super) fn directory(&mut self, path: &Path, attributes: &Attributes) -> Result<PathBuf> {
        if let Some(known) = self.known.get(path) {
            return Ok(known.clone());
        }
        let mut done = PathBuf::from("/");
        let mut rest: VecDeque<OsString> = names_of(path);
        while let Some(name) = rest.pop_front() {
            let next = done.join(&name);
            match self.view.symlink_metadata(&next)? {
                None => done = self.make_directory(next, *attributes)?,
                Some(metadata) if metadata.kind == EntryKind::Directory => {
                    let attributes = Overrides::default().of(&metadata);
                    done = self.make_directory(next, attributes)?;
                }
                Some(metadata) if metadata.kind == EntryKind::Symlink => {
                    let target = self.view.resolve(&next)?.ok_or_else(|| {
                        Error::invalid(format!("{} is a symbolic link to nowhere in the image", next.display()))
                    })?;
                    rest = names_of(&target).into_iter().chain(rest).collect();
                    done = PathBuf::from("/");
                }
                Some(_) => {
                    return Err(Error::invalid(format!("{} is in the image, and no directory", next.display())));
                }
            }
        }
        self.known.insert(path.to_owned(), done.clone());
        Ok(done)
    }

    /// Gives the directories their owners, modes and times. To be called last.
    pub(super) fn finish(self) -> Result<()> {
        // The deepest first: one that forbids its owner to enter must not be in the way.
        for (path, attributes) in self.directories.iter().rev() {
            let directory = self.open(path)?;
            self.apply(&directory, attributes).context(|| format!("directory {}", path.display()))?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        tree: &Tree,
        target: &Path,
        source: &Path,
        metadata: &EntryMetadata,
        overrides: &Overrides,
    ) -> Result<()> {
        let attributes = overrides.of(metadata);
        let context = || format!("copy to {}", target.display());
        match metadata.kind {
            EntryKind::Directory => {
                let path = self.directory(target, &attributes).context(context)?;
                self.directories.insert(path, attributes);
                Ok(())
            }
            EntryKind::File => {
                let mut content = tree.open(source)?;
                let file = self.file(target, &mut content, &attributes).context(context)?;
                // What is not given a new owner keeps all it has.
                if overrides.owner.is_none() && self.is_root {
                    for (name, value) in attributes_of(&content)? {
                        set_xattr(file.as_fd(), &name, &value).during(|| "set an extended attribute")?;
                    }
                    futimens(&file, &TimeSpec::UTIME_OMIT, &time(&attributes)).during(|| "set the time")?;
                }
                Ok(())
            }
            EntryKind::Symlink => self.symlink(target, &tree.read_link(source)?, &attributes).context(context),
            EntryKind::Special => {
                self.skipped += 1;
                Ok(())
            }
        }
    }

    /// Makes a symbolic link.
    pub(super) fn symlink(&mut self, target: &Path, text: &Path, attributes: &Attributes) -> Result<()> {
        let (parent, name) = self.make_way(target)?;
        symlinkat(text, &parent, name.as_os_str()).during(|| "make a link")?;
        if self.is_root {
            let (uid, gid) = attributes.owner;
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            fchownat(&parent, name.as_os_str(), uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).during(|| "set the owner")?;
        }
        let omit = TimeSpec::UTIME_OMIT;
        utimensat(&parent, name.as_os_str(), &omit, &time(attributes), UtimensatFlags::NoFollowSymlink)
            .during(|| "set the time")
    }

    /// The directory of `target`, in which nothing is in the way of its name any more.
    fn make_way(&mut self, target: &Path) -> Result<(OwnedFd, OsString)> {
        let name = target.file_name().ok_or_else(|| Error::invalid("a file cannot replace the root directory"))?;
        let parent = self.directory(target.parent().unwrap_or(Path::new("/")), &Overrides::default().implied())?;
        let present = self.view.symlink_metadata(&parent.join(name))?;
        if present.is_some_and(|present| present.kind == EntryKind::Directory) {
            return Err(Error::invalid(format!("{} is a directory in the image", target.display()))
                .hint("end the target with '/' to copy into it"));
        }
        let directory = self.open(&parent)?;
        match unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok((directory, name.to_owned())),
            Err(errno) => Err(Error::os("replace a file", errno as i32)),
        }
    }

    /// A file that the name stands for is overwritten through a link to it.
    fn followed(&self, path: &Path) -> Result<PathBuf> {
        let link = self.view.symlink_metadata(path)?.is_some_and(|metadata| metadata.kind == EntryKind::Symlink);
        let target = if link { self.view.resolve(path)? } else { None };
        Ok(target.unwrap_or_else(|| path.to_owned()))
    }

    fn make_directory(&mut self, path: PathBuf, attributes: Attributes) -> Result<PathBuf> {
        let parent = self.open(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().unwrap_or(OsStr::new("."));
        match mkdirat(&parent, name, Mode::S_IRWXU) {
            Ok(()) => drop(self.directories.insert(path.clone(), attributes)),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Error::os(format!("make directory {}", path.display()), errno as i32)),
        }
        Ok(path)
    }

    fn open(&self, canonical: &Path) -> Result<OwnedFd> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        self.upper.open_at(canonical, flags, 0).during(|| format!("open {}", canonical.display()))
    }

    /// The order counts: a change of the owner clears the set-user-id bits.
    fn apply(&self, file: impl AsFd, attributes: &Attributes) -> Result<()> {
        if self.is_root {
            let (uid, gid) = attributes.owner;
            fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).during(|| "set the owner")?;
        }
        fchmod(&file, Mode::from_bits_truncate(attributes.mode)).during(|| "set the mode")?;
        futimens(&file, &TimeSpec::UTIME_OMIT, &time(attributes)).during(|| "set the time")
    }
}

fn time(attributes: &Attributes) -> TimeSpec {
    TimeSpec::new(attributes.mtime.0, attributes.mtime.1)
}

fn names_of(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        _ => None,
    });
    names.collect()
}
