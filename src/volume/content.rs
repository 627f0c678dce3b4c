//! What an image has at a mount point, taken over by an empty volume.

use super::copy::{Attributes, Xattrs};
use super::directory::{Locked, open_directory};
use super::snapshot::{make_directory, replace_content};
use crate::error::{Context, During};
use crate::kernel::{get_xattr, list_xattrs, open_beneath};
use crate::store::{EntryKind, EntryMetadata, MergedView};
use crate::{Error, ErrorKind, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Copies the directory at `target` of the image into the empty volume, with its own owner and mode: what Docker does.
/// Nothing happens where the image has no directory there.
pub(super) fn take_over(locked: &Locked, view: &MergedView, target: &Path) -> Result<()> {
    let directory = locked.directory();
    let context = || format!("fill volume {} from {} of the image", directory.name(), target.display());
    let Some(top) = view.resolve(target).context(context)? else { return Ok(()) };
    let Some(metadata) = view.metadata(&top)?.filter(|metadata| metadata.kind == EntryKind::Directory) else {
        return Ok(());
    };
    let aside = directory.store().scratch()?;
    let new = aside.path().join("content");
    make_directory(&new)?;
    make_directory(&new.join("data"))?;
    let filler = Filler { view, top: open_directory(&new.join("data"))? };
    filler.fill(&top, metadata).context(context)?;
    replace_content(directory, &new)
}

struct Filler<'view> {
    view: &'view MergedView,
    top: OwnedFd,
}

impl Filler<'_> {
    fn fill(&self, top: &Path, metadata: EntryMetadata) -> Result<()> {
        // Directories get their attributes last, the deepest first: until then their times change.
        let mut directories: Vec<(PathBuf, EntryMetadata)> = vec![(PathBuf::from("."), metadata)];
        let mut pending: Vec<(PathBuf, PathBuf)> = vec![(PathBuf::from("."), top.to_owned())];
        while let Some((below, path)) = pending.pop() {
            let parent = self.open(&below)?;
            for entry in self.view.read_dir(&path)?.unwrap_or_default() {
                let (below, path) = (below.join(&entry.name), path.join(&entry.name));
                self.entry(&parent, &entry.name, &path, &entry.metadata)
                    .context(|| format!("copy {}", path.display()))?;
                if entry.metadata.kind == EntryKind::Directory {
                    directories.push((below.clone(), entry.metadata));
                    pending.push((below, path));
                }
            }
        }
        for (below, metadata) in directories.iter().rev() {
            attributes_of(metadata).apply(self.open(below)?.as_fd(), &Xattrs::new())?;
        }
        Ok(())
    }

    fn open(&self, below: &Path) -> Result<OwnedFd> {
        open_beneath(self.top.as_fd(), below, libc::O_RDONLY | libc::O_DIRECTORY)
            .during(|| format!("open {}", below.display()))
    }

    /// Devices, pipes and sockets of an image mean nothing in a volume and stay where they are.
    fn entry(&self, parent: &OwnedFd, name: &OsString, path: &Path, metadata: &EntryMetadata) -> Result<()> {
        let changed = || Error::new(ErrorKind::NotFound, "the image changed while it was read");
        let name = name.as_os_str();
        match metadata.kind {
            EntryKind::Directory => mkdirat(parent, name, Mode::S_IRWXU).during(|| "make a directory"),
            EntryKind::Symlink => {
                let text = self.view.read_link(path)?.ok_or_else(changed)?;
                symlinkat(&text, parent, name).during(|| "make a link")?;
                attributes_of(metadata).apply_at(parent.as_fd(), name, true, &Xattrs::new())
            }
            EntryKind::File => {
                let mut content = self.view.open(path)?.ok_or_else(changed)?;
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let file = openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).during(|| "create")?;
                let mut file = File::from(file);
                io::copy(&mut content, &mut file).during(|| "write")?;
                attributes_of(metadata).apply(file.as_fd(), &xattrs_of(&content)?)
            }
            EntryKind::Special => Ok(()),
        }
    }
}

fn attributes_of(metadata: &EntryMetadata) -> Attributes {
    Attributes { owner: (metadata.uid, metadata.gid), mode: metadata.mode, mtime: metadata.mtime }
}

/// What an image may set: a program's capabilities, which need root, and the user's own.
fn xattrs_of(file: &File) -> Result<Xattrs> {
    let is_root = nix::unistd::geteuid().is_root();
    let mut xattrs = Xattrs::new();
    for key in list_xattrs(file.as_fd()).during(|| "list extended attributes")? {
        let bytes = key.to_bytes();
        let users_own = bytes.starts_with(b"user.") && !bytes.starts_with(b"user.overlay.");
        if users_own || (is_root && bytes == b"security.capability") {
            let value = get_xattr(file.as_fd(), &key).during(|| "read an extended attribute")?;
            xattrs.extend(value.map(|value| (key, value)));
        }
    }
    Ok(xattrs)
}
