//! Directory trees by descriptor: resolution without symbolic links, extended attributes of any kind of file, removal.

use super::file::{c_path, openat2};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Opens `path` below `directory`; refuses (`ELOOP`, `EXDEV`) to pass any symbolic link or to leave the directory.
pub(crate) fn open_beneath(directory: BorrowedFd<'_>, path: &Path, flags: i32) -> io::Result<OwnedFd> {
    let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    openat2(directory, &c_path(path)?, flags | libc::O_CLOEXEC, 0, resolve)
}

/// Opens `name` in `directory` for reading if it is a regular file, else `None`; never opens a device or a pipe, even if
/// somebody exchanges the file meanwhile: a container may hold device nodes whose opening does something.
pub(crate) fn open_regular(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let seen = nix::fcntl::openat(directory, name, flags, Mode::empty())?;
    if nix::sys::stat::fstat(&seen)?.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Ok(None);
    }
    let path = format!("/proc/thread-self/fd/{}", seen.as_raw_fd());
    Ok(Some(nix::fcntl::open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?))
}

/// Sets an extended attribute of `name` itself in `directory`, be it a symbolic link or a device.
pub(crate) fn set_xattr_at(directory: BorrowedFd<'_>, name: &OsStr, key: &CStr, value: &[u8]) -> io::Result<()> {
    let path = through_proc(directory, name)?;
    // SAFETY: both strings are NUL-terminated, the pointer and the length describe the live value.
    let result = unsafe { libc::lsetxattr(path.as_ptr(), key.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// The value of an extended attribute of `name` itself in `directory`; `None` where it is not set.
pub(crate) fn get_xattr_at(directory: BorrowedFd<'_>, name: &OsStr, key: &CStr) -> io::Result<Option<Vec<u8>>> {
    let path = through_proc(directory, name)?;
    let mut value = vec![0u8; 256];
    loop {
        // SAFETY: both strings are NUL-terminated, the pointer and the length describe the live buffer.
        let got = unsafe { libc::lgetxattr(path.as_ptr(), key.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        match Errno::result(got) {
            Ok(length) => {
                value.truncate(length as usize);
                return Ok(Some(value));
            }
            Err(Errno::ENODATA | Errno::EOPNOTSUPP) => return Ok(None),
            Err(Errno::ERANGE) if value.len() < 1 << 16 => value.resize(1 << 16, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The names of the extended attributes of `name` itself in `directory`.
pub(crate) fn list_xattrs_at(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Vec<CString>> {
    let path = through_proc(directory, name)?;
    let mut names = vec![0u8; 1024];
    loop {
        // SAFETY: the path is NUL-terminated, the pointer and the length describe the live buffer.
        let got = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
        match Errno::result(got) {
            Ok(length) => {
                names.truncate(length as usize);
                let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
                return Ok(names.filter_map(|name| CString::new(name).ok()).collect());
            }
            Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
            Err(Errno::ERANGE) if names.len() < 1 << 16 => names.resize(1 << 16, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// `name` reached through the descriptor of its directory: the l*xattr calls take paths only (setxattrat is of 6.13).
/// `thread-self`, because `self` is empty once the main thread of the host has ended.
fn through_proc(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<CString> {
    if name.is_empty() || name.as_bytes().contains(&b'/') {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut path = format!("/proc/thread-self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    CString::new(path).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Removes `name` in `directory` and everything below it; it is no error if it is not there.
///
/// Never follows a symbolic link, needs no more than a few descriptors and little stack however deep the tree is (a
/// container can make trees deeper than the limit of open files), and opens directories that forbid it to their owner.
pub(crate) fn remove_tree(directory: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let top = open_directory(directory, name)?;
    let mut lifted = 0u64;
    // Each pass empties the directories directly below the top and lifts what they hold; the loop ends when none is left.
    loop {
        let directories = remove_files(&top)?;
        if directories.is_empty() {
            break;
        }
        for child in directories {
            let inner = open_directory(top.as_fd(), Path::new(OsStr::from_bytes(child.to_bytes())))?;
            for grandchild in remove_files(&inner)? {
                lift(&inner, &grandchild, &top, &mut lifted)?;
            }
            match unlinkat(&top, child.as_c_str(), UnlinkatFlags::RemoveDir) {
                // A listing may miss an entry while others are removed: the next pass finds it.
                Ok(()) | Err(Errno::ENOTEMPTY) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(unlinkat(directory, name, UnlinkatFlags::RemoveDir)?)
}

/// Moves the directory `name` from `from` up to `to`, unless it is empty and can simply go.
fn lift(from: &OwnedFd, name: &CStr, to: &OwnedFd, lifted: &mut u64) -> io::Result<()> {
    if unlinkat(from, name, UnlinkatFlags::RemoveDir).is_ok() {
        return Ok(());
    }
    // Without the right to write to it, its ".." cannot be changed.
    drop(open_directory(from.as_fd(), Path::new(OsStr::from_bytes(name.to_bytes())))?);
    loop {
        *lifted += 1;
        let target = CString::new(format!(".removed-{lifted}")).unwrap_or_default();
        let target = Path::new(OsStr::from_bytes(target.to_bytes()));
        let source = Path::new(OsStr::from_bytes(name.to_bytes()));
        match super::rename_no_replace(from.as_fd(), source, to.as_fd(), target) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            other => return other,
        }
    }
}

/// Removes everything in `directory` but directories, whose names are returned.
fn remove_files(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut directories = Vec::new();
    let mut listing =
        Dir::openat(directory, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let is_directory = match entry.file_type() {
            Some(kind) => kind == nix::dir::Type::Directory,
            None => {
                let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                stat.st_mode & libc::S_IFMT == libc::S_IFDIR
            }
        };
        if is_directory {
            directories.push(name.to_owned());
        } else {
            match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(directories)
}

fn open_directory(directory: BorrowedFd<'_>, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    if nix::unistd::geteuid().is_root() {
        return Ok(nix::fcntl::openat(directory, name, flags, Mode::empty())?);
    }
    let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR && stat.st_mode & 0o700 != 0o700 {
        // Overlay leaves a directory of mode 0 in its work directory; an image may hold unwritable ones.
        nix::sys::stat::fchmodat(directory, name, Mode::S_IRWXU, nix::sys::stat::FchmodatFlags::FollowSymlink)?;
    }
    Ok(nix::fcntl::openat(directory, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_tree_deeper_than_the_limit_of_open_files_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let top = File::open(scratch.path()).unwrap();
        let mut current: OwnedFd = top.try_clone().unwrap().into();
        for _ in 0..3000 {
            for name in ["d", "e"] {
                nix::sys::stat::mkdirat(&current, name, Mode::S_IRWXU).unwrap();
            }
            nix::unistd::symlinkat("/etc", &current, "link").unwrap();
            current = open_directory(current.as_fd(), Path::new("d")).unwrap();
        }
        drop(current);
        remove_tree(top.as_fd(), Path::new("d")).unwrap();
        assert!(!scratch.path().join("d").exists());
        assert!(Path::new("/etc/passwd").exists());
        remove_tree(top.as_fd(), Path::new("nothing")).unwrap();
    }

    #[test]
    fn extended_attributes_of_a_link_are_not_those_of_its_target() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("target"), "").unwrap();
        std::os::unix::fs::symlink("target", scratch.path().join("link")).unwrap();
        let directory = File::open(scratch.path()).unwrap();
        set_xattr_at(directory.as_fd(), OsStr::new("link"), c"trusted.note", b"x").unwrap();
        assert_eq!(get_xattr_at(directory.as_fd(), OsStr::new("link"), c"trusted.note").unwrap().unwrap(), b"x");
        assert_eq!(get_xattr_at(directory.as_fd(), OsStr::new("target"), c"trusted.note").unwrap(), None);
        assert_eq!(list_xattrs_at(directory.as_fd(), OsStr::new("link")).unwrap(), [c"trusted.note".to_owned()]);
    }
}
