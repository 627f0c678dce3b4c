//! A directory of a control group file system, and its files, by descriptor.

use super::path::safe_components;
use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs, statfs};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// No file of a group that is read here is larger, a list of all the processes of a machine included.
const FILE_BUDGET: u64 = 16 << 20;

/// An open directory that is known to be a control group.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Directory {
    /// The group at the trusted `path`; `EINVAL` where that is not in a control group file system.
    pub(super) fn open(path: &Path) -> io::Result<Directory> {
        let fd = open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let kind = fstatfs(&fd)?.filesystem_type();
        if kind != CGROUP_SUPER_MAGIC && kind != CGROUP2_SUPER_MAGIC {
            return Err(Errno::EINVAL.into());
        }
        Ok(Directory(fd))
    }

    /// Whether groups may be made below the group at the trusted `path`, which must be one.
    pub(super) fn takes_groups(path: &Path) -> bool {
        let kind = statfs(path).map(|found| found.filesystem_type());
        matches!(kind, Ok(CGROUP_SUPER_MAGIC | CGROUP2_SUPER_MAGIC))
            && faccessat(nix::fcntl::AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok()
    }

    /// The group `name` below this one; `name` is one component or several, checked by [`safe_components`]. A control
    /// group file system holds no links, so a safe path stays below.
    pub(super) fn descend(&self, name: &str) -> io::Result<Directory> {
        safe_components(name).map_err(|_| Errno::EINVAL)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        Ok(Directory(openat(&self.0, name, flags, Mode::empty())?))
    }

    /// The group directly below this one.
    pub(super) fn child<P: NixPath + ?Sized>(&self, component: &P) -> io::Result<Directory> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        Ok(Directory(openat(&self.0, component, flags, Mode::empty())?))
    }

    /// A file of the group; never a file of a group below.
    pub(super) fn open_at(&self, file: &str, flags: OFlag) -> io::Result<OwnedFd> {
        if file.contains('/') {
            return Err(Errno::EINVAL.into());
        }
        Ok(openat(&self.0, file, flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())?)
    }

    /// The text of a file.
    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        let mut text = String::new();
        File::from(self.open_at(file, OFlag::O_RDONLY)?).take(FILE_BUDGET).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Writes a file in one system call, which the kernel takes as one command.
    pub(super) fn write(&self, file: &str, value: &str) -> io::Result<()> {
        let written = File::from(self.open_at(file, OFlag::O_WRONLY)?).write(value.as_bytes())?;
        if written == value.len() { Ok(()) } else { Err(Errno::EIO.into()) }
    }

    /// Whether the caller may write `file` (effective ids); `.` is the directory itself.
    pub(super) fn may_write(&self, file: &str) -> bool {
        faccessat(&self.0, file, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok()
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, file: &str) -> bool {
        faccessat(&self.0, file, AccessFlags::F_OK, AtFlags::empty()).is_ok()
    }

    /// Makes a group below, in one that is there.
    pub(super) fn make(&self, component: &str) -> io::Result<()> {
        Ok(mkdirat(&self.0, component, Mode::from_bits_truncate(0o755))?)
    }

    /// Removes a group below; it must hold neither processes nor groups.
    pub(super) fn remove<P: NixPath + ?Sized>(&self, component: &P) -> io::Result<()> {
        Ok(unlinkat(&self.0, component, UnlinkatFlags::RemoveDir)?)
    }

    /// The names of the groups directly below.
    pub(super) fn children(&self) -> io::Result<Vec<CString>> {
        self.entries(nix::dir::Type::Directory)
    }

    /// The names of the group's files.
    pub(super) fn files(&self) -> io::Result<Vec<String>> {
        Ok(self.entries(nix::dir::Type::File)?.iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// A path to the group for calls that take no descriptor, good as long as this is held by the calling thread.
    pub(super) fn path(&self) -> std::path::PathBuf {
        format!("/proc/thread-self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// Names as they are: a process that may make groups may give them any bytes.
    fn entries(&self, kind: nix::dir::Type) -> io::Result<Vec<CString>> {
        let listing = openat(&self.0, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut names = Vec::new();
        for entry in nix::dir::Dir::from_fd(listing)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type() == Some(kind) && name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The processes of the group and of all below it, each once; 0 stands for one of another PID namespace.
    pub(super) fn processes(self) -> io::Result<Vec<i32>> {
        let mut found = Vec::new();
        let list = |group: &Directory| match group.read("cgroup.procs") {
            Ok(text) => {
                found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
                Ok(())
            }
            // A threaded group has no list of processes: its domain, above, has them.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            Err(error) => Err(error),
        };
        self.walk(list, |_, _| Ok(()))?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Removes all groups below this one.
    pub(super) fn clear(self) -> io::Result<()> {
        self.walk(|_| Ok(()), |above, name| above.remove(name))
    }

    /// Calls `enter` for this group and each below it, and `leave` with the group above and the name of each below,
    /// once all below that one are done. Groups that go away meanwhile are passed over.
    ///
    /// A payload may nest groups as deep as it likes: one descriptor and no stack is used at any depth.
    fn walk(
        self,
        mut enter: impl FnMut(&Directory) -> io::Result<()>,
        mut leave: impl FnMut(&Directory, &CStr) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut current = self;
        enter(&current)?;
        let mut levels = vec![(CString::default(), current.children()?)];
        while let Some((_, children)) = levels.last_mut() {
            let below = children.pop().map(|name| (current.child(name.as_c_str()), name));
            match below {
                Some((Err(error), _)) if is_gone(&error) => {}
                Some((child, name)) => {
                    let child = child?;
                    passing_over_gone(enter(&child))?;
                    let children =
                        child.children().or_else(|error| if is_gone(&error) { Ok(Vec::new()) } else { Err(error) })?;
                    levels.push((name, children));
                    current = child;
                }
                None => {
                    let left = levels.pop();
                    if let (Some((name, _)), false) = (left, levels.is_empty()) {
                        current = current.child("..")?;
                        passing_over_gone(leave(&current, &name))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A descriptor for other uses.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.0
    }
}

/// Whether an error says that the group has been removed.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

/// A group that is gone is no error where it was to go.
pub(super) fn passing_over_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_gone(&error) => Ok(()),
        other => other,
    }
}

/// The components of the name of a group: one to eight, each a letter, digit or `_`, then up to 127 letters, digits,
/// `_`, `.` or `-`, and none with a prefix that the kernel keeps for its own files (cgroup-v2.rst, "Avoid Name
/// Collisions").
pub(super) fn components(name: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = name.split('/').collect();
    let safe = |part: &&str| {
        let mut bytes = part.bytes();
        part.len() <= 128
            && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
            && !["cgroup.", "memory.", "cpu.", "cpuacct.", "cpuset.", "pids.", "io.", "blkio.", "freezer."]
                .iter()
                .any(|prefix| part.starts_with(prefix))
            && !["tasks", "notify_on_release", "release_agent"].contains(part)
    };
    (parts.len() <= 8 && parts.iter().all(safe)).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_hierarchy() {
        for name in ["coracle/0123456789abcdef", "a", "_x/y.z-1"] {
            assert!(components(name).is_some(), "{name}");
        }
        for name in
            ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a/.b", "a b", "a\0b", "a\nb", "cgroup.procs", "tasks"]
        {
            assert!(components(name).is_none(), "{name:?}");
        }
        assert!(components(&"a/".repeat(9)).is_none());
        assert!(components(&"a".repeat(129)).is_none());
    }

    #[test]
    fn other_file_systems_are_not_groups() {
        assert_eq!(Directory::open(Path::new("/proc")).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
