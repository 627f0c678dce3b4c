//! The form in which overlayfs keeps what a layer removes (kernel, filesystems/overlayfs.rst, "whiteouts and opaque
//! directories"), and the form of OCI archives (image-spec, layer.md, "Whiteouts").

use crate::Result;
use crate::error::During;
use crate::kernel::{get_xattr, set_xattr};
use nix::sys::stat::{FileStat, Mode, SFlag, mknodat};
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd};

/// What an archive puts in front of a name that its layer removes.
pub(super) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The name in an archive that hides everything the lower layers have in the directory.
pub(super) const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
/// What begins the names of other markers, all of them private to aufs; they are left out.
pub(super) const MARKER_PREFIX: &[u8] = b".wh..wh.";

/// The extended attributes in which overlayfs keeps its state: `trusted.overlay.*` as root, `user.overlay.*` (mount
/// option `userxattr`) for everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// Mounted with the right to use `trusted.*`.
    Trusted,
    /// Mounted with `userxattr`.
    User,
}

impl Overlay {
    /// The form that this process can mount.
    pub(crate) fn of_this_process() -> Overlay {
        if nix::unistd::geteuid().is_root() { Overlay::Trusted } else { Overlay::User }
    }

    /// Marks a directory as hiding all that lower layers have in it.
    pub(super) fn make_opaque(self, directory: BorrowedFd<'_>) -> Result<()> {
        set_xattr(directory, self.opaque(), b"y").during(|| "mark a directory as opaque")
    }

    /// Whether a directory hides all that lower layers have in it.
    pub(crate) fn is_opaque(self, directory: BorrowedFd<'_>) -> Result<bool> {
        let value = get_xattr(directory, self.opaque()).during(|| "read whether a directory is opaque")?;
        Ok(value.is_some_and(|value| value == b"y"))
    }

    /// Whether this attribute says that a file's content or place is in another layer (`metacopy`, `redirect_dir`): what
    /// only the kernel can resolve.
    pub(super) fn refers_elsewhere(self, attribute: &CStr) -> bool {
        let [metacopy, redirect] = match self {
            Overlay::Trusted => [c"trusted.overlay.metacopy", c"trusted.overlay.redirect"],
            Overlay::User => [c"user.overlay.metacopy", c"user.overlay.redirect"],
        };
        attribute == metacopy || attribute == redirect
    }

    fn opaque(self) -> &'static CStr {
        match self {
            Overlay::Trusted => c"trusted.overlay.opaque",
            Overlay::User => c"user.overlay.opaque",
        }
    }
}

/// Whether `stat` is that of a whiteout: a character device 0:0.
pub(crate) fn is_whiteout(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == 0
}

/// Makes the whiteout `name`; needs no right since kernel 5.8.
pub(super) fn make_whiteout(directory: impl AsFd, name: &OsStr) -> Result<()> {
    mknodat(directory, name, SFlag::S_IFCHR, Mode::empty(), 0).during(|| format!("make whiteout {name:?}"))
}
