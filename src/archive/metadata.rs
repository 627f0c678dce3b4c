//! Owner, mode, attributes and times of what was extracted.

use super::Summary;
use super::read::Member;
use crate::Result;
use crate::error::During;
use crate::kernel::{set_xattr, set_xattr_at};
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::BorrowedFd;

/// What is applied to a file once its content is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Metadata {
    mode: u32,
    owner: Option<(u32, u32)>,
    mtime: (i64, u32),
    xattrs: Vec<(CString, Vec<u8>)>,
}

impl Metadata {
    /// Those of `member`, owned by `owner` where it may be chosen; attributes that must not pass are counted.
    pub(super) fn of(member: &Member, owner: Option<(u32, u32)>, summary: &mut Summary) -> Metadata {
        let mut xattrs = Vec::new();
        for (name, value) in &member.xattrs {
            match CString::new(name.as_slice()) {
                Ok(key) if may_pass(name) => xattrs.push((key, value.clone())),
                _ => summary.drop_one("extended attribute that an image may not set"),
            }
        }
        Metadata { mode: member.mode, owner, mtime: member.mtime, xattrs }
    }

    /// Those of a directory that members are in but that is no member itself: root's, 0755, of the epoch.
    pub(super) fn of_implied_directory(owner: Option<(u32, u32)>) -> Metadata {
        Metadata { mode: 0o755, owner, ..Metadata::default() }
    }

    /// Applies everything to an open file or directory. The order counts: a change of the owner clears the set-user-id
    /// bits and `security.capability`.
    pub(super) fn apply(&self, file: BorrowedFd<'_>, summary: &mut Summary) -> Result<()> {
        if let Some((uid, gid)) = self.owner {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).during(|| "set the owner")?;
        }
        fchmod(file, Mode::from_bits_truncate(self.mode)).during(|| "set the mode")?;
        self.set_xattrs(summary, |key, value| set_xattr(file, key, value))?;
        futimens(file, &TimeSpec::UTIME_OMIT, &self.time()).during(|| "set the time")
    }

    /// As [`apply`](Metadata::apply) for what cannot be opened: a symbolic link (which has no mode), a device, a pipe.
    pub(super) fn apply_at(
        &self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        is_symlink: bool,
        summary: &mut Summary,
    ) -> Result<()> {
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            fchownat(directory, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).during(|| "set the owner")?;
        }
        if !is_symlink {
            // Following is harmless: this process has just made the name, in a directory that is its own.
            let mode = Mode::from_bits_truncate(self.mode);
            fchmodat(directory, name, mode, FchmodatFlags::FollowSymlink).during(|| "set the mode")?;
        }
        self.set_xattrs(summary, |key, value| set_xattr_at(directory, name, key, value))?;
        utimensat(directory, name, &TimeSpec::UTIME_OMIT, &self.time(), UtimensatFlags::NoFollowSymlink)
            .during(|| "set the time")
    }

    fn set_xattrs(&self, summary: &mut Summary, set: impl Fn(&std::ffi::CStr, &[u8]) -> io::Result<()>) -> Result<()> {
        for (key, value) in &self.xattrs {
            let unprivileged = self.owner.is_none();
            match set(key, value) {
                Ok(()) => {}
                // A user attribute on a link or device; an attribute that this process or this file system cannot set.
                // A lost capability of a program is told to root, who could have expected it.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP))
                        && (unprivileged || !key.to_bytes().starts_with(b"security.")) =>
                {
                    summary.drop_one("extended attribute that cannot be set here");
                }
                Err(error) => return Err(error).during(|| format!("set extended attribute {}", key.to_string_lossy())),
            }
        }
        Ok(())
    }

    fn time(&self) -> TimeSpec {
        TimeSpec::new(self.mtime.0, i64::from(self.mtime.1))
    }
}

/// Whether an image may set this attribute: file capabilities, access control lists and the user's own. Never those in
/// which overlayfs keeps its state: they would make files of other layers or of nowhere appear.
pub(super) fn may_pass(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => name.starts_with(b"user.") && !name.starts_with(b"user.overlay."),
    }
}
