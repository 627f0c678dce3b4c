//! Files: resolution below a root, sealed memory, extended attributes, atomic renames.

use super::descriptor;
use crate::error::During;
use crate::{Error, Result};
use nix::errno::Errno;
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A directory below which untrusted paths are resolved.
///
/// Every lookup is one `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`: neither `..` nor a symbolic link, absolute
/// or relative, nor a rename in the middle leads out of it, and no `/proc` magic link is followed (CVE-2024-21626).
/// This is the only way in which a path that comes from an image or a container may be opened.
#[derive(Debug)]
pub(crate) struct InRoot(OwnedFd);

impl InRoot {
    /// The directory at the trusted `path`.
    pub(crate) fn open(path: &Path) -> Result<InRoot> {
        use nix::fcntl::{OFlag, open};
        let fd = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
            .during(|| format!("open directory {}", path.display()))?;
        Ok(InRoot(fd))
    }

    /// The directory that `fd` refers to.
    pub(crate) fn from_fd(fd: OwnedFd) -> InRoot {
        InRoot(fd)
    }

    /// Opens the untrusted `path` below the root; `flags` and `mode` as for open(2), `O_CLOEXEC` is added.
    pub(crate) fn open_at(&self, path: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
        let path = c_path(path)?;
        let mode = if flags & (libc::O_CREAT | libc::O_TMPFILE) != 0 { mode } else { 0 };
        openat2(
            self.0.as_fd(),
            &path,
            flags | libc::O_CLOEXEC,
            mode,
            libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS,
        )
    }

    /// Opens the untrusted `path` for reading if it is a regular file, else `None`; never opens a device or a pipe, nor a
    /// file of the kernel's, of which some are regular and never end.
    pub(crate) fn open_regular(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        use nix::fcntl::{OFlag, open};
        let seen = self.open_at(path, libc::O_PATH, 0)?;
        if nix::sys::stat::fstat(&seen)?.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Ok(None);
        }
        if matches!(nix::sys::statfs::fstatfs(&seen)?.filesystem_type(), PROC_SUPER_MAGIC | SYSFS_MAGIC) {
            return Ok(None);
        }
        let path = format!("/proc/thread-self/fd/{}", seen.as_raw_fd());
        // Without waiting: somebody may hold a lease on it.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        Ok(Some(open(path.as_str(), flags, nix::sys::stat::Mode::empty())?))
    }
}

impl AsFd for InRoot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub(super) fn openat2(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: i32,
    mode: u32,
    resolve: u64,
) -> io::Result<OwnedFd> {
    // SAFETY: open_how is plain data; all zeroes is its documented default.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = flags as u64;
    how.mode = u64::from(mode);
    how.resolve = resolve;
    loop {
        // SAFETY: the path is NUL-terminated, `how` is live and its size is passed with it.
        let result = unsafe {
            libc::syscall(libc::SYS_openat2, directory.as_raw_fd(), path.as_ptr(), &raw const how, size_of_val(&how))
        };
        match descriptor(result) {
            // EAGAIN: a rename raced with the resolution of "..": openat2(2) says to try again.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Whether this process has a descriptor of this number that an exec would keep: one that somebody handed to it, none of
/// its own.
pub(crate) fn is_inheritable(number: i32) -> bool {
    // SAFETY: F_GETFD only looks.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// An anonymous file in memory that can be sealed; `name` is what `/proc` shows.
pub(crate) fn create_memfd(name: &CStr, executable: bool) -> io::Result<OwnedFd> {
    const MFD_EXEC: libc::c_uint = 0x10;
    const MFD_NOEXEC_SEAL: libc::c_uint = 0x8;
    let base = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let kind = if executable { MFD_EXEC } else { MFD_NOEXEC_SEAL };
    for flags in [base | kind, base] {
        // SAFETY: the name is NUL-terminated.
        match descriptor(unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) }) {
            // Kernels before 6.3 do not know the exec flags.
            Err(Errno::EINVAL) if flags != base => {}
            other => return other.map_err(io::Error::from),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EINVAL))
}

/// Fills `bytes` from the kernel's random source.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the pointer and the length describe the live slice `rest`.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match Errno::result(got) {
            Ok(got) => filled += got as usize,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::os("read random bytes", errno as i32)),
        }
    }
    Ok(())
}

/// Renames `from` to `to` in their directories; fails with `EEXIST` where `to` is there already.
pub(crate) fn rename_no_replace(
    from_directory: BorrowedFd<'_>,
    from: &Path,
    to_directory: BorrowedFd<'_>,
    to: &Path,
) -> io::Result<()> {
    rename(from_directory, from, to_directory, to, libc::RENAME_NOREPLACE)
}

/// Exchanges `one` and `other` in their directories in one step: at no moment is either name missing.
pub(crate) fn rename_exchange(
    one_directory: BorrowedFd<'_>,
    one: &Path,
    other_directory: BorrowedFd<'_>,
    other: &Path,
) -> io::Result<()> {
    rename(one_directory, one, other_directory, other, libc::RENAME_EXCHANGE)
}

/// Makes the empty file `target` share the content of `source` (`FICLONE`, ioctl_ficlonerange(2)); `false` where their
/// file system cannot, and the content has to be copied.
pub(crate) fn share_content(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: FICLONE takes a descriptor as its argument, no pointer; both are open for the call.
    let result = unsafe { libc::ioctl(target.as_raw_fd(), libc::FICLONE, source.as_raw_fd()) };
    match Errno::result(result) {
        Ok(_) => Ok(true),
        Err(Errno::EOPNOTSUPP | Errno::EXDEV | Errno::EINVAL | Errno::ENOTTY | Errno::ENOSYS) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn rename(
    from_directory: BorrowedFd<'_>,
    from: &Path,
    to_directory: BorrowedFd<'_>,
    to: &Path,
    flags: libc::c_uint,
) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    // SAFETY: both paths are NUL-terminated and both descriptors are open for the call.
    let result = unsafe {
        libc::renameat2(from_directory.as_raw_fd(), from.as_ptr(), to_directory.as_raw_fd(), to.as_ptr(), flags)
    };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// The value of an extended attribute of an open file (not of an `O_PATH` descriptor); `None` where it is not set.
pub(crate) fn get_xattr(file: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; 256];
    loop {
        // SAFETY: the pointer and the length describe the live buffer.
        let got = unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
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

/// The names of the extended attributes of an open file.
pub(crate) fn list_xattrs(file: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = vec![0u8; 1024];
    loop {
        // SAFETY: the pointer and the length describe the live buffer.
        let got = unsafe { libc::flistxattr(file.as_raw_fd(), names.as_mut_ptr().cast(), names.len()) };
        match Errno::result(got) {
            Ok(length) => {
                names.truncate(length as usize);
                return Ok(names
                    .split(|&byte| byte == 0)
                    .filter(|name| !name.is_empty())
                    .filter_map(|name| CString::new(name).ok())
                    .collect());
            }
            Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
            Err(Errno::ERANGE) if names.len() < 1 << 16 => names.resize(1 << 16, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sets an extended attribute of an open file.
pub(crate) fn set_xattr(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length describe the live value; the name is NUL-terminated.
    let result = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_not_read_in_the_place_of_others() {
        let proc = InRoot::open(Path::new("/proc")).unwrap();
        assert!(proc.open_regular(Path::new("kmsg")).unwrap().is_none(), "it never ends");
        assert!(InRoot::open(Path::new("/etc")).unwrap().open_regular(Path::new("passwd")).unwrap().is_some());
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(scratch.path().join("secret"), "outside").unwrap();
        std::fs::write(root.join("secret"), "inside").unwrap();
        std::os::unix::fs::symlink("/secret", root.join("etc/absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../secret", root.join("etc/relative")).unwrap();
        std::os::unix::fs::symlink("/proc/self/cwd", root.join("etc/magic")).unwrap();
        let in_root = InRoot::open(&root).unwrap();
        for path in ["/secret", "../secret", "etc/absolute", "etc/relative"] {
            let file = in_root.open_at(Path::new(path), libc::O_RDONLY, 0).unwrap();
            assert_eq!(io::read_to_string(std::fs::File::from(file)).unwrap(), "inside", "{path}");
        }
        assert!(in_root.open_at(Path::new("etc/magic"), libc::O_RDONLY, 0).is_err());
    }
}
