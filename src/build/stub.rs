//! The mount points that the engine makes in an image which lacks them, and their removal before a layer is made.

use super::configuration::absolute;
use crate::Result;
use crate::archive::Overlay;
use crate::error::During;
use crate::kernel::open_beneath;
use crate::store::{EntryKind, MergedView, Snapshot};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What every container has mounted.
const ALWAYS: [&str; 6] = ["/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/proc", "/sys"];

/// What an image lacks of the mount points.
#[derive(Debug, Default)]
pub(super) struct Stubs {
    /// Canonical, with the parents that are missing too.
    missing: BTreeSet<PathBuf>,
    /// Directories in which one is missing.
    parents: BTreeSet<PathBuf>,
}

impl Stubs {
    /// Looks which of the mount points, those of every container and `more`, the files in `view` lack.
    pub(super) fn find(view: &MergedView, more: &[PathBuf]) -> Result<Stubs> {
        let mut stubs = Stubs::default();
        for path in ALWAYS.iter().map(Path::new).chain(more.iter().map(PathBuf::as_path)) {
            stubs.look(view, &absolute("/", &path.to_string_lossy()))?;
        }
        Ok(stubs)
    }

    /// Removes them from the upper directory of the snapshot, where they are still empty, and the copies of directories
    /// that overlayfs made for them alone.
    pub(super) fn remove(&self, snapshot: &Snapshot) -> Result<()> {
        let upper = File::open(snapshot.upper()).during(|| "open the upper directory")?;
        // The deepest first.
        for path in self.missing.iter().rev() {
            remove_empty(&upper, path)?;
        }
        let lower = MergedView::new(snapshot.lower(), None);
        for parent in self.parents.iter().rev() {
            for directory in parent.ancestors().filter(|path| *path != Path::new("/")) {
                if !is_untouched(&upper, &lower, directory)? {
                    break;
                }
                remove_empty(&upper, directory)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, view: &MergedView, path: &str) -> Result<()> {
        let mut done = PathBuf::from("/");
        let mut names = Path::new(path).components().skip(1);
        while let Some(name) = names.next() {
            let next = done.join(name);
            done = match view.symlink_metadata(&next)? {
                Some(metadata) if metadata.kind == EntryKind::Symlink => match view.resolve(&next)? {
                    Some(target) => target,
                    // The start of the container will tell.
                    None => return Ok(()),
                },
                Some(_) => next,
                None => {
                    self.parents.insert(done);
                    self.missing.insert(next.clone());
                    let deeper = names.scan(next, |path, name| {
                        path.push(name);
                        Some(path.clone())
                    });
                    self.missing.extend(deeper);
                    return Ok(());
                }
            };
        }
        Ok(())
    }
}

/// Removes an empty file or directory; leaves anything else.
fn remove_empty(upper: &File, path: &Path) -> Result<()> {
    let Some((directory, name)) = open_parent(upper, path) else { return Ok(()) };
    let Ok(stat) = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { return Ok(()) };
    let flag = match stat.st_mode & libc::S_IFMT {
        libc::S_IFDIR => UnlinkatFlags::RemoveDir,
        libc::S_IFREG if stat.st_size == 0 => UnlinkatFlags::NoRemoveDir,
        _ => return Ok(()),
    };
    match unlinkat(&directory, name, flag) {
        Ok(()) | Err(Errno::ENOTEMPTY | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno).during(|| format!("remove the mount point {}", path.display())),
    }
}

/// Whether a directory of the upper directory says nothing that the layers below do not.
fn is_untouched(upper: &File, lower: &MergedView, path: &Path) -> Result<bool> {
    let Some((parent, name)) = open_parent(upper, path) else { return Ok(false) };
    let Ok(stat) = fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { return Ok(false) };
    let Some(below) = lower.symlink_metadata(path)? else { return Ok(false) };
    let same = stat.st_mode & libc::S_IFMT == libc::S_IFDIR
        && below.kind == EntryKind::Directory
        && (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (below.mode, below.uid, below.gid);
    if !same {
        return Ok(false);
    }
    match open_beneath(parent.as_fd(), name, libc::O_RDONLY | libc::O_DIRECTORY) {
        Ok(directory) => Ok(!Overlay::of_this_process().is_opaque(directory.as_fd())?),
        Err(_) => Ok(false),
    }
}

/// The directory that holds `path`, if no link leads there: the command may have put anything in its place.
fn open_parent<'path>(upper: &File, path: &'path Path) -> Option<(OwnedFd, &'path Path)> {
    let relative = path.strip_prefix("/").ok()?;
    let parent = relative.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = open_beneath(upper.as_fd(), parent, libc::O_RDONLY | libc::O_DIRECTORY).ok()?;
    Some((directory, Path::new(relative.file_name()?)))
}
