//! A copy of a directory tree that loses nothing: owners, modes, times, links, devices, extended attributes, holes.
//!
//! Content that a container made is untrusted: everything goes from descriptor to descriptor, no symbolic link is
//! followed, no device or pipe is opened (the class of CVE-2018-15664).

use super::step;
use crate::error::{Context, During};
use crate::kernel::{get_xattr_at, list_xattrs_at, open_beneath, open_regular, set_xattr, set_xattr_at, share_content};
use crate::{Error, ErrorKind, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, fstatat, futimens, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, Whence, fchown, fchownat, linkat, lseek, symlinkat};
use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest path in bytes that is copied: what no program can name whole is not worth keeping.
const LONGEST_PATH: usize = 4095;

/// A container can make as many files as the disk has room for; what is remembered of them is the host's memory.
const MOST_LINKED_FILES: usize = 1 << 20;
/// As above, for the names of one directory.
const MOST_NAMES: usize = 1 << 22;

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Copied {
    /// Files, directories, links and devices, without the top directory.
    pub(super) entries: u64,
    /// Bytes of the files, holes included.
    pub(super) bytes: u64,
    /// Sockets, which are left out.
    pub(super) sockets: u64,
}

/// Copies all of `source`, which nobody changes meanwhile, into the empty directory `target`, which becomes like it.
pub(super) fn copy_tree(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<Copied> {
    let is_root = nix::unistd::geteuid().is_root();
    Copier { source, target, is_root, links: HashMap::new(), copied: Copied::default() }.tree()
}

/// Owners, mode and time of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) owner: (u32, u32),
    pub(super) mode: u32,
    pub(super) mtime: (i64, i64),
}

impl Attributes {
    fn of(stat: &FileStat) -> Attributes {
        Attributes {
            owner: (stat.st_uid, stat.st_gid),
            mode: stat.st_mode & 0o7777,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
        }
    }

    /// Applies them to an open file or directory. The order counts: a change of the owner clears the set-user-id bits and
    /// `security.capability`, so the extended attributes come after it.
    pub(super) fn apply(&self, file: BorrowedFd<'_>, xattrs: &Xattrs) -> Result<()> {
        if nix::unistd::geteuid().is_root() {
            let (user, group) = self.owner;
            fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))).during(|| "set the owner")?;
        }
        fchmod(file, Mode::from_bits_truncate(self.mode)).during(|| "set the mode")?;
        for (key, value) in xattrs {
            set_xattr(file, key, value).during(|| "set an extended attribute")?;
        }
        futimens(file, &TimeSpec::UTIME_OMIT, &self.time()).during(|| "set the time")
    }

    /// As [`apply`](Self::apply) for what cannot be opened: a symbolic link, a device, a pipe.
    pub(super) fn apply_at(&self, directory: BorrowedFd<'_>, name: &OsStr, link: bool, xattrs: &Xattrs) -> Result<()> {
        if nix::unistd::geteuid().is_root() {
            let (user, group) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
            fchownat(directory, name, Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW)
                .during(|| "set the owner")?;
        }
        if !link {
            let mode = Mode::from_bits_truncate(self.mode);
            fchmodat(directory, name, mode, FchmodatFlags::FollowSymlink).during(|| "set the mode")?;
        }
        for (key, value) in xattrs {
            set_xattr_at(directory, name, key, value).during(|| "set an extended attribute")?;
        }
        utimensat(directory, name, &TimeSpec::UTIME_OMIT, &self.time(), UtimensatFlags::NoFollowSymlink)
            .during(|| "set the time")
    }

    fn time(&self) -> TimeSpec {
        TimeSpec::new(self.mtime.0, self.mtime.1)
    }
}

/// Extended attributes by name.
pub(super) type Xattrs = Vec<(CString, Vec<u8>)>;

struct Copier<'tree> {
    source: BorrowedFd<'tree>,
    target: BorrowedFd<'tree>,
    is_root: bool,
    /// The first path of every inode that has several.
    links: HashMap<(u64, u64), PathBuf>,
    copied: Copied,
}

/// A directory on the way down; its descriptors are closed while something below it is copied, since a tree may be deeper
/// than the limit of open files.
struct Level {
    path: PathBuf,
    names: std::vec::IntoIter<OsString>,
    open: Option<(OwnedFd, OwnedFd)>,
}

impl Copier<'_> {
    fn tree(mut self) -> Result<Copied> {
        let mut levels = vec![self.level(PathBuf::new())?];
        while let Some(level) = levels.last_mut() {
            let (source, target) = match level.open.take() {
                Some(open) => open,
                None => self.open_level(&level.path)?,
            };
            let Some(name) = level.names.next() else {
                self.finish(&source, &target).context(|| format!("copy {}", level.path.display()))?;
                levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            let below = self.entry(&source, &target, &name, &path).context(|| format!("copy {}", path.display()))?;
            if below {
                let below = self.level(path)?;
                levels.push(below);
            } else {
                level.open = Some((source, target));
            }
        }
        Ok(self.copied)
    }

    fn level(&self, path: PathBuf) -> Result<Level> {
        let open = self.open_level(&path)?;
        let names = names_in(&open.0).during(|| format!("list {}", path.display()))?.into_iter();
        Ok(Level { path, names, open: Some(open) })
    }

    fn open_level(&self, path: &Path) -> Result<(OwnedFd, OwnedFd)> {
        let shown = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let open = |top| open_beneath(top, shown, libc::O_RDONLY | libc::O_DIRECTORY);
        let both = open(self.source).and_then(|source| Ok((source, open(self.target)?)));
        both.during(|| format!("open directory {}", shown.display()))
    }

    /// Copies one entry; whether it is a directory, to be walked.
    fn entry(&mut self, source: &OwnedFd, target: &OwnedFd, name: &OsStr, path: &Path) -> Result<bool> {
        if path.as_os_str().len() > LONGEST_PATH {
            return Err(Error::new(ErrorKind::LimitExceeded, format!("path is longer than {LONGEST_PATH} bytes")));
        }
        let stat = fstatat(source, name, AtFlags::AT_SYMLINK_NOFOLLOW).during(|| "inspect")?;
        let kind = stat.st_mode & libc::S_IFMT;
        if kind == libc::S_IFSOCK {
            self.copied.sockets += 1;
            return Ok(false);
        }
        self.copied.entries += 1;
        step("entry copied");
        if kind == libc::S_IFDIR {
            mkdirat(target, name, Mode::S_IRWXU).during(|| "make a directory")?;
            return Ok(true);
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return self.link(first, target, name).map(|()| false);
            }
            if self.links.len() >= MOST_LINKED_FILES {
                return Err(Error::new(
                    ErrorKind::LimitExceeded,
                    format!("more than {MOST_LINKED_FILES} files with several names"),
                ));
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        match kind {
            libc::S_IFREG => self.file(source, target, name, &stat)?,
            libc::S_IFLNK => {
                let text = readlinkat(source, name).during(|| "read a link")?;
                symlinkat(text.as_os_str(), target, name).during(|| "make a link")?;
                self.attributes(source, target, name, &stat, true)?;
            }
            _ => {
                let kind = SFlag::from_bits_truncate(kind);
                mknodat(target, name, kind, Mode::S_IRUSR | Mode::S_IWUSR, stat.st_rdev).during(|| "make a device")?;
                self.attributes(source, target, name, &stat, false)?;
            }
        }
        Ok(false)
    }

    fn file(&mut self, source: &OwnedFd, target: &OwnedFd, name: &OsStr, stat: &FileStat) -> Result<()> {
        let from = open_regular(source.as_fd(), name).during(|| "open")?;
        let from = from.ok_or_else(|| Error::new(ErrorKind::InUse, "file was exchanged while it was copied"))?;
        let from = File::from(from);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let to = File::from(openat(target, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).during(|| "create")?);
        if !share_content(from.as_fd(), to.as_fd()).during(|| "share the content")? {
            copy_content(&from, &to, stat.st_size.unsigned_abs()).during(|| "write")?;
        }
        self.copied.bytes += stat.st_size.unsigned_abs();
        let xattrs = self.xattrs(source, name)?;
        Attributes::of(stat).apply(to.as_fd(), &xattrs)
    }

    /// One more name of a file that was copied already.
    fn link(&self, first: &Path, target: &OwnedFd, name: &OsStr) -> Result<()> {
        let parent = first.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = open_beneath(self.target, parent, libc::O_PATH | libc::O_DIRECTORY).during(|| "link")?;
        let first = first.file_name().unwrap_or_default();
        linkat(&directory, first, target, name, AtFlags::empty()).during(|| "link")
    }

    fn attributes(&self, source: &OwnedFd, target: &OwnedFd, name: &OsStr, stat: &FileStat, link: bool) -> Result<()> {
        let xattrs = self.xattrs(source, name)?;
        Attributes::of(stat).apply_at(target.as_fd(), name, link, &xattrs)
    }

    /// The attributes of a directory, once all is in it.
    fn finish(&self, source: &OwnedFd, target: &OwnedFd) -> Result<()> {
        let stat = fstat(source).during(|| "inspect")?;
        let mut xattrs = Xattrs::new();
        for key in crate::kernel::list_xattrs(source.as_fd()).during(|| "list extended attributes")? {
            if self.is_kept(&key) {
                let value = crate::kernel::get_xattr(source.as_fd(), &key).during(|| "read an extended attribute")?;
                xattrs.extend(value.map(|value| (key, value)));
            }
        }
        Attributes::of(&stat).apply(target.as_fd(), &xattrs)
    }

    fn xattrs(&self, directory: &OwnedFd, name: &OsStr) -> Result<Xattrs> {
        let mut xattrs = Xattrs::new();
        for key in list_xattrs_at(directory.as_fd(), name).during(|| "list extended attributes")? {
            if self.is_kept(&key) {
                let value = get_xattr_at(directory.as_fd(), name, &key).during(|| "read an extended attribute")?;
                xattrs.extend(value.map(|value| (key, value)));
            }
        }
        Ok(xattrs)
    }

    /// What the copy may have: labels of security modules are the host's to give; the rest needs root.
    fn is_kept(&self, key: &CString) -> bool {
        match key.to_bytes() {
            b"system.posix_acl_access" | b"system.posix_acl_default" => true,
            b"security.capability" => self.is_root,
            key => key.starts_with(b"user.") || (self.is_root && key.starts_with(b"trusted.")),
        }
    }
}

/// Copies what is not a hole, then sets the size.
fn copy_content(mut from: &File, mut to: &File, size: u64) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let begin = match lseek(from, at as i64, Whence::SeekData) {
            Ok(begin) => begin.unsigned_abs(),
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => break,
            // A file system that does not know holes has none.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => at,
            Err(errno) => return Err(errno.into()),
        };
        let end = match lseek(from, begin as i64, Whence::SeekHole) {
            Ok(end) => end.unsigned_abs(),
            Err(_) => size,
        };
        from.seek(SeekFrom::Start(begin))?;
        to.seek(SeekFrom::Start(begin))?;
        io::copy(&mut from.take(end - begin), &mut to)?;
        at = end.max(at + 1);
    }
    to.set_len(size)
}

/// The names in a directory, sorted, so that a copy does the same every time.
pub(super) fn names_in(directory: &OwnedFd) -> nix::Result<Vec<OsString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(directory, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            if names.len() >= MOST_NAMES {
                return Err(Errno::E2BIG);
            }
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}
