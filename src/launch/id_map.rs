//! User and group id maps of a user namespace (user_namespaces(7)).

use crate::error::During;
use crate::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Write;

/// A run of ids: `count` ids from `inside` in the container are those from `outside` on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first id in the container.
    pub inside: u32,
    /// The first id on the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The id maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// User ids.
    pub users: Vec<IdRange>,
    /// Group ids.
    pub groups: Vec<IdRange>,
}

impl IdMap {
    /// The calling user is root in the container; no other id exists there. Needs no privileges.
    pub fn current_user() -> IdMap {
        let one = |id: u32| vec![IdRange { inside: 0, outside: id, count: 1 }];
        IdMap { users: one(nix::unistd::geteuid().as_raw()), groups: one(nix::unistd::getegid().as_raw()) }
    }

    /// Writes the maps of process `pid`, a child of ours that waits for it.
    pub(super) fn write(&self, pid: i32) -> Result<()> {
        let write = |file: &str, text: &str| {
            let path = format!("/proc/{pid}/{file}");
            let mut target =
                File::options().write(true).open(&path).during(|| format!("open {file} of the container"))?;
            // One write for the whole map: the kernel takes no second one.
            target.write_all(text.as_bytes()).during(|| format!("write {file} of the container"))
        };
        if IdMap::needs_denial() {
            // Without it the kernel lets nobody unprivileged write a gid map (CVE-2014-8989).
            write("setgroups", "deny")?;
        }
        for (file, text) in ["uid_map", "gid_map"].into_iter().zip(self.texts()) {
            write(file, &text).map_err(|error| match error.kind() {
                ErrorKind::PermissionDenied => {
                    error.hint("an ordinary user can map only its own id; use IdMap::current_user()")
                }
                _ => error,
            })?;
        }
        Ok(())
    }

    /// The texts of the two files, users and groups.
    pub(crate) fn texts(&self) -> [String; 2] {
        [lines(&self.users), lines(&self.groups)]
    }

    /// Whether setgroups(2) must be denied before the maps are written.
    pub(crate) fn needs_denial() -> bool {
        !nix::unistd::geteuid().is_root()
    }

    /// Whether the maps make sense: not empty, no overflow, no id twice.
    pub(crate) fn check(&self) -> Result<()> {
        for (what, ranges) in [("user", &self.users), ("group", &self.groups)] {
            let sound = |range: &IdRange| {
                range.count > 0
                    && range.inside.checked_add(range.count).is_some()
                    && range.outside.checked_add(range.count).is_some()
            };
            if ranges.is_empty() || !ranges.iter().all(sound) {
                return Err(Error::invalid(format!("the {what} id map is empty or overflows 32 bits")));
            }
            if overlap(ranges, |range| range.inside) || overlap(ranges, |range| range.outside) {
                return Err(Error::invalid(format!("the {what} id map overlaps: it holds an id twice")));
            }
            if ranges.len() > RANGE_BUDGET {
                return Err(Error::invalid(format!("the {what} id map has more than {RANGE_BUDGET} ranges")));
            }
        }
        Ok(())
    }
}

/// The most ranges the kernel takes (user_namespaces(7)).
const RANGE_BUDGET: usize = 340;

fn overlap(ranges: &[IdRange], first: impl Fn(&IdRange) -> u32) -> bool {
    let mut sorted: Vec<(u32, u32)> = ranges.iter().map(|range| (first(range), range.count)).collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0)
}

fn lines(ranges: &[IdRange]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect()
}
