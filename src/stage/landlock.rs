//! Landlock: rules for paths, and their coming into force.

use super::call::call;
use super::constant::*;
use super::files::{self, close};
use super::syscall::Errno;

/// `struct landlock_path_beneath_attr`, packed as the kernel's.
#[repr(C, packed)]
struct Beneath {
    rights: u64,
    parent: i32,
}

/// Allows `rights` on `path`, resolved within the root; of them those that files have, where it is no directory.
pub(crate) fn allow(ruleset: i32, path: *const u8, rights: u64) -> Result<(), Errno> {
    let root = files::open_host(c"/".as_ptr().cast(), O_PATH | O_DIRECTORY)?;
    let opened = files::open_below(root, path, O_PATH, 0);
    close(root);
    let parent = opened?;
    let allowed = files::is_directory(parent, c"".as_ptr().cast()).and_then(|directory| {
        let rule = Beneath { rights: if directory { rights } else { rights & LANDLOCK_FILE_RIGHTS }, parent };
        // SAFETY: the rule is live.
        unsafe { call!(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, &raw const rule, 0) }
    });
    close(parent);
    allowed.map(drop)
}

/// Puts the rules in force for this process and what it becomes.
pub(crate) fn restrict(ruleset: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe { call!(LANDLOCK_RESTRICT_SELF, ruleset, 0) }.map(drop)
}
