//! Extraction below a directory descriptor.

use super::metadata::Metadata;
use super::overlay::{MARKER_PREFIX, OPAQUE_MARKER, WHITEOUT_PREFIX, is_whiteout, make_whiteout};
use super::read::{Budget, Kind, Member, TarReader};
use super::{Overlay, Summary, corrupt};
use crate::error::{Context, During};
use crate::kernel::{InRoot, remove_tree};
use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, mkfifoat, symlinkat};
use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// As the kernel's own limit on the way to one file.
const MOST_LINKS: usize = 40;

/// How an archive is extracted.
#[derive(Debug, Clone)]
pub(crate) struct ExtractOptions {
    /// How much it may cost.
    pub budget: Budget,
    /// What its names mean.
    pub form: Form,
    /// Gives every member this owner and group instead of its own.
    pub owner: Option<(u32, u32)>,
}

/// What the names of an archive mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A layer: `.wh.` names are whiteouts, and become those of overlayfs.
    Layer(Overlay),
    /// Any archive: names are names.
    Plain,
}

/// A layer within the default budget, for the overlay that this process can mount.
impl Default for ExtractOptions {
    fn default() -> ExtractOptions {
        ExtractOptions { budget: Budget::default(), form: Form::Layer(Overlay::of_this_process()), owner: None }
    }
}

/// Extracts the uncompressed archive `reader` into the directory `into`, which nobody else may write to meanwhile.
///
/// A parent that is a symbolic link is followed within `into` as if that were the root, as for a process inside; the last
/// component never is: what is there is replaced, except that a directory stays for a directory. Owners are those of the
/// archive if this process is root, else its own, and then devices are left out. Errors: `Corrupt`, `LimitExceeded`,
/// `Unsupported` for the archive, else that of the file system; what was extracted so far stays.
pub(crate) fn extract(reader: impl Read, into: BorrowedFd<'_>, options: &ExtractOptions) -> Result<Summary> {
    let mut archive = TarReader::new(reader, options.budget);
    let mut extraction = Extraction::new(into, options)?;
    while let Some(member) = archive.next_member()? {
        let path = member.path.clone();
        extraction.member(member, &mut archive).context(|| format!("extract {}", path.display()))?;
    }
    extraction.finish()
}

struct Extraction<'options> {
    root: InRoot,
    options: &'options ExtractOptions,
    is_root: bool,
    summary: Summary,
    /// The directory of the last member: most members follow one of the same directory.
    last_parent: Option<(PathBuf, Rc<OwnedFd>)>,
    /// By inode, what is applied to directories at the end: until then they must stay writable and their times change.
    directories: HashMap<u64, (PathBuf, Metadata)>,
    buffer: Vec<u8>,
}

/// What a member found at its name.
enum Found {
    Nothing,
    Directory,
    Whiteout,
}

impl<'options> Extraction<'options> {
    fn new(into: BorrowedFd<'_>, options: &'options ExtractOptions) -> Result<Extraction<'options>> {
        Ok(Extraction {
            root: InRoot::from_fd(into.try_clone_to_owned().during(|| "extract an archive")?),
            options,
            is_root: nix::unistd::geteuid().is_root(),
            summary: Summary::default(),
            last_parent: None,
            directories: HashMap::new(),
            buffer: vec![0; 128 << 10],
        })
    }

    fn member(&mut self, member: Member, archive: &mut TarReader<impl Read>) -> Result<()> {
        self.summary.entries += 1;
        let owner = self.is_root.then(|| self.options.owner.unwrap_or((member.uid, member.gid)));
        let metadata = Metadata::of(&member, owner, &mut self.summary);
        let Some(name) = member.path.file_name() else {
            return self.remember_directory(Path::new(""), metadata);
        };
        let parent_path = member.path.parent().unwrap_or(Path::new(""));
        if let Form::Layer(overlay) = self.options.form {
            if parent_path.components().any(|component| is_marker(component.as_os_str())) {
                return Err(corrupt("a whiteout has members below it"));
            }
            if is_marker(name) {
                let parent = self.parent(parent_path)?;
                return self.whiteout(&parent, name, overlay);
            }
        }
        let parent = self.parent(parent_path)?;
        self.create(&parent, name, &member, metadata, archive)
    }

    fn create(
        &mut self,
        parent: &Rc<OwnedFd>,
        name: &OsStr,
        member: &Member,
        metadata: Metadata,
        archive: &mut TarReader<impl Read>,
    ) -> Result<()> {
        if matches!(member.kind, Kind::Character { .. } | Kind::Block { .. }) {
            return self.device(parent, name, &member.kind, &metadata);
        }
        if let Kind::HardLink(target) = &member.kind {
            return self.hard_link(parent, name, target);
        }
        let found = self.make_way(parent, name, member.kind == Kind::Directory)?;
        match &member.kind {
            Kind::Directory => {
                if !matches!(found, Found::Directory) {
                    mkdirat(parent, name, Mode::S_IRWXU).during(|| "make directory")?;
                }
                if let (Found::Whiteout, Form::Layer(overlay)) = (&found, self.options.form) {
                    overlay.make_opaque(open_directory(parent, name)?.as_fd())?;
                }
                self.remember_directory(&member.path, metadata)
            }
            Kind::File(_) => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let mut file =
                    File::from(openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).during(|| "create")?);
                loop {
                    let got = archive.read_content(&mut self.buffer)?;
                    if got == 0 {
                        break;
                    }
                    file.write_all(&self.buffer[..got]).during(|| "write")?;
                    self.summary.bytes += got as u64;
                }
                metadata.apply(file.as_fd(), &mut self.summary)
            }
            Kind::Symlink(target) => {
                symlinkat(target, parent, name).during(|| "make symbolic link")?;
                metadata.apply_at(parent.as_fd(), name, true, &mut self.summary)
            }
            Kind::Fifo => {
                mkfifoat(parent, name, Mode::S_IRUSR | Mode::S_IWUSR).during(|| "make named pipe")?;
                metadata.apply_at(parent.as_fd(), name, false, &mut self.summary)
            }
            Kind::HardLink(_) | Kind::Character { .. } | Kind::Block { .. } => Ok(()),
        }
    }

    fn device(&mut self, parent: &Rc<OwnedFd>, name: &OsStr, kind: &Kind, metadata: &Metadata) -> Result<()> {
        let (flag, major, minor) = match kind {
            Kind::Character { major: 0, minor: 0 } => {
                return Err(corrupt("device 0:0 would be a whiteout that the layer does not declare"));
            }
            Kind::Character { major, minor } => (SFlag::S_IFCHR, major, minor),
            Kind::Block { major, minor } => (SFlag::S_IFBLK, major, minor),
            _ => return Ok(()),
        };
        if !self.is_root {
            self.summary.drop_one("device");
            return Ok(());
        }
        self.make_way(parent, name, false)?;
        mknodat(parent, name, flag, Mode::S_IRUSR, makedev(u64::from(*major), u64::from(*minor)))
            .during(|| "make device")?;
        metadata.apply_at(parent.as_fd(), name, false, &mut self.summary)
    }

    fn hard_link(&mut self, parent: &Rc<OwnedFd>, name: &OsStr, target: &Path) -> Result<()> {
        let missing = || corrupt(format!("hard link to {target:?}, which is not in the archive before it"));
        let target_name = target.file_name().ok_or_else(missing)?;
        let from = match target.parent() {
            Some(path) if !path.as_os_str().is_empty() => {
                let flags = libc::O_RDONLY | libc::O_DIRECTORY;
                Rc::new(self.root.open_at(path, flags, 0).map_err(|_| missing())?)
            }
            _ => self.parent(Path::new(""))?,
        };
        let stat = lstat(&from, target_name)?.ok_or_else(missing)?;
        if is_directory(&stat) || is_whiteout(&stat) {
            return Err(corrupt(format!("hard link to {target:?}, which is no file")));
        }
        if lstat(parent, name)?.is_some_and(|present| present.st_ino == stat.st_ino) {
            return Ok(());
        }
        self.make_way(parent, name, false)?;
        linkat(&from, target_name, parent, name, AtFlags::empty()).during(|| "make hard link")
    }

    /// A whiteout hides what lower layers have, never what its own layer has, whatever the order of the two.
    fn whiteout(&mut self, parent: &Rc<OwnedFd>, marker: &OsStr, overlay: Overlay) -> Result<()> {
        if marker.as_bytes() == OPAQUE_MARKER {
            return overlay.make_opaque(parent.as_fd());
        }
        if marker.as_bytes().starts_with(MARKER_PREFIX) {
            self.summary.drop_one("marker of aufs");
            return Ok(());
        }
        let name = OsStr::from_bytes(&marker.as_bytes()[WHITEOUT_PREFIX.len()..]);
        if matches!(name.as_bytes(), b"" | b"." | b"..") {
            return Err(corrupt("a whiteout names nothing"));
        }
        match lstat(parent, name)? {
            None => make_whiteout(parent, name),
            Some(stat) if is_directory(&stat) => overlay.make_opaque(open_directory(parent, name)?.as_fd()),
            Some(_) => Ok(()),
        }
    }

    /// Removes what is at `name`, unless it is a directory and may stay.
    fn make_way(&mut self, parent: &Rc<OwnedFd>, name: &OsStr, keep_directory: bool) -> Result<Found> {
        let Some(stat) = lstat(parent, name)? else { return Ok(Found::Nothing) };
        if keep_directory && is_directory(&stat) {
            return Ok(Found::Directory);
        }
        self.last_parent = None;
        remove_tree(parent.as_fd(), Path::new(name)).during(|| "replace")?;
        let hides = is_whiteout(&stat) && matches!(self.options.form, Form::Layer(_));
        Ok(if hides { Found::Whiteout } else { Found::Nothing })
    }

    /// The directory `path`, made where it is missing.
    fn parent(&mut self, path: &Path) -> Result<Rc<OwnedFd>> {
        if let Some((last, fd)) = &self.last_parent
            && last == path
        {
            return Ok(fd.clone());
        }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let shown = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let fd = match self.root.open_at(shown, flags, 0) {
            Ok(fd) => fd,
            Err(_) => {
                let resolved = self.make_directories(path)?;
                self.root.open_at(&resolved, flags, 0).during(|| format!("open directory {path:?}"))?
            }
        };
        let fd = Rc::new(fd);
        self.last_parent = Some((path.to_owned(), fd.clone()));
        Ok(fd)
    }

    /// Makes the missing directories of `path`, below the targets of symbolic links too, and returns where it is.
    fn make_directories(&mut self, path: &Path) -> Result<PathBuf> {
        let mut rest: VecDeque<OsString> = path.iter().map(OsStr::to_owned).collect();
        let mut done = PathBuf::from(".");
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                if done != Path::new(".") {
                    done.pop();
                }
                continue;
            }
            let directory =
                self.root.open_at(&done, libc::O_RDONLY | libc::O_DIRECTORY, 0).during(|| "open directory")?;
            let stat = lstat(&directory, &name)?;
            match &stat {
                Some(stat) if is_directory(stat) => {}
                Some(stat) if stat.st_mode & libc::S_IFMT == libc::S_IFLNK => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(corrupt(format!("directory {path:?} is behind too many symbolic links")));
                    }
                    let target = PathBuf::from(readlinkat(&directory, name.as_os_str()).during(|| "read link")?);
                    if target.is_absolute() {
                        done = PathBuf::from(".");
                    }
                    for component in target.components().rev() {
                        match component {
                            Component::Normal(name) => rest.push_front(name.to_owned()),
                            Component::ParentDir => rest.push_front("..".into()),
                            _ => {}
                        }
                    }
                    continue;
                }
                Some(stat) if !is_whiteout(stat) => {
                    return Err(corrupt(format!("directory {path:?} is below a file")));
                }
                _ => self.imply_directory(&directory, &done, &name, stat.is_some())?,
            }
            done.push(&name);
        }
        Ok(done)
    }

    fn imply_directory(&mut self, parent: &OwnedFd, done: &Path, name: &OsStr, hidden: bool) -> Result<()> {
        if hidden {
            remove_tree(parent.as_fd(), Path::new(name)).during(|| "replace")?;
        }
        mkdirat(parent, name, Mode::S_IRWXU).during(|| "make directory")?;
        if let (true, Form::Layer(overlay)) = (hidden, self.options.form) {
            overlay.make_opaque(open_directory(parent, name)?.as_fd())?;
        }
        let owner = self.is_root.then(|| self.options.owner.unwrap_or((0, 0)));
        self.remember_directory(&done.join(name), Metadata::of_implied_directory(owner))
    }

    fn remember_directory(&mut self, path: &Path, metadata: Metadata) -> Result<()> {
        let fd = self.open_remembered(path).during(|| "open directory")?;
        let inode = fstat(&fd).during(|| "inspect directory")?.st_ino;
        self.directories.insert(inode, (path.to_owned(), metadata));
        Ok(())
    }

    /// Applies what was remembered, the deepest first: a parent may be closed to its owner afterwards.
    fn finish(mut self) -> Result<Summary> {
        let mut directories: Vec<_> = std::mem::take(&mut self.directories).into_iter().collect();
        directories.sort_by(|(_, (a, _)), (_, (b, _))| b.cmp(a));
        for (inode, (path, metadata)) in directories {
            // It may have been replaced since.
            let Ok(fd) = self.open_remembered(&path) else { continue };
            if fstat(&fd).during(|| "inspect directory")?.st_ino == inode {
                metadata.apply(fd.as_fd(), &mut self.summary).context(|| format!("extract {}", path.display()))?;
            }
        }
        Ok(self.summary)
    }

    fn open_remembered(&self, path: &Path) -> std::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        self.root.open_at(path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)
    }
}

fn is_marker(name: &OsStr) -> bool {
    name.as_bytes().starts_with(WHITEOUT_PREFIX)
}

fn is_directory(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFDIR
}

fn lstat(directory: &OwnedFd, name: &OsStr) -> Result<Option<FileStat>> {
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(Error::os(format!("inspect {name:?}"), errno as i32)),
    }
}

fn open_directory(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty()).during(|| format!("open directory {name:?}"))
}
