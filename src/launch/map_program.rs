//! Ranges of ids for an ordinary user: newuidmap(1) and newgidmap(1), which may map what /etc/subuid and /etc/subgid
//! grant.

use super::host_program::HostProgram;
use super::id_map::{IdMap, IdRange};
use super::launcher::Launcher;
use crate::{Error, ErrorKind, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// They do not wait for anything.
const LIMIT: Duration = Duration::from_secs(10);

/// Searched after the directories of `PATH`.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];

impl IdMap {
    /// Writes the maps of process `pid`, a child of ours that waits for it: by itself where it may, else by the programs.
    pub(super) fn install(&self, launcher: &Arc<Launcher>, pid: i32) -> Result<()> {
        let own = [nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()];
        if own[0] == 0 || (is_only(&self.users, own[0]) && is_only(&self.groups, own[1])) {
            return self.write(pid);
        }
        for (name, ranges) in [("newuidmap", &self.users), ("newgidmap", &self.groups)] {
            run(launcher, name, pid, ranges)?;
        }
        Ok(())
    }
}

fn is_only(ranges: &[IdRange], id: u32) -> bool {
    matches!(ranges, [range] if range.outside == id && range.count == 1)
}

fn run(launcher: &Arc<Launcher>, name: &str, pid: i32, ranges: &[IdRange]) -> Result<()> {
    let path = find_program(Path::new(name)).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, format!("map ids of the container: {name} is not installed"))
            .hint("install the package uidmap, or map the caller's own id alone")
    })?;
    let numbers = ranges.iter().flat_map(|range| [range.inside, range.outside, range.count]);
    let words = [name.to_owned(), pid.to_string()].into_iter();
    let arguments: Vec<String> = words.chain(numbers.map(|number| number.to_string())).collect();
    let file = if name == "newuidmap" { "/etc/subuid" } else { "/etc/subgid" };
    HostProgram {
        what: format!("map ids of the container by {}", path.display()),
        path: &path,
        arguments: &arguments,
        environment: &[],
        directory: Path::new("/"),
        input: &[],
        timeout: Some(LIMIT),
        preserved: &[],
    }
    .run(launcher)
    .map_err(|error| error.hint(format!("the range must be granted to this user in {file}")))
}

/// The program `name` in the directories of `PATH`, and in the usual ones; a path of several components is itself.
pub(crate) fn find_program(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(DIRECTORIES.map(PathBuf::from));
    let runs =
        |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if name.components().count() > 1 {
        return std::path::absolute(name).ok().filter(runs);
    }
    directories.filter(|directory| directory.is_absolute()).map(|directory| directory.join(name)).find(runs)
}
