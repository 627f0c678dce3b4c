//! The home directory of a process that is told of none: as runc finds it.

use crate::kernel::InRoot;
use crate::value::UserEntry;
use oci_spec::runtime::Process;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest passwd file that is read: 1 MiB.
const FILE_BUDGET: u64 = 1 << 20;

/// Sets `HOME` where `process.env` has none, or an empty one: to the directory of the user in `/etc/passwd` below
/// `root`, else to `/`.
pub(super) fn set_home(process: &mut Process, root: &Path) {
    let known = |variable: &String| variable.strip_prefix("HOME=").is_some_and(|home| !home.is_empty());
    let mut environment = process.env().clone().unwrap_or_default();
    if environment.iter().any(known) {
        return;
    }
    let home = home_of(root, process.user().uid()).unwrap_or_else(|| "/".to_owned());
    environment.retain(|variable| !variable.starts_with("HOME="));
    environment.push(format!("HOME={home}"));
    process.set_env(Some(environment));
}

/// `None` where the file has no such user, or there is no such file: no reason not to start.
fn home_of(root: &Path, user: u32) -> Option<String> {
    let file = InRoot::open(root).ok()?.open_regular(Path::new("etc/passwd")).ok()??;
    let mut bytes = Vec::new();
    File::from(file).take(FILE_BUDGET).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let home = UserEntry::all(&text).find(|entry| entry.user == user)?.home;
    (home.starts_with('/') && !home.contains('\0')).then(|| home.to_owned())
}

/// The name of a user of the host.
pub(super) fn user_name(user: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    UserEntry::all(&text).find(|entry| entry.user == user).map(|entry| entry.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn home(root: &Path, user: u32, environment: &[&str]) -> Vec<String> {
        let mut process = Process::default();
        process.set_env(Some(environment.iter().map(|&text| text.to_owned()).collect()));
        process.user_mut().set_uid(user);
        set_home(&mut process, root);
        process.env().clone().unwrap()
    }

    #[test]
    fn the_home_is_that_of_the_root_unless_one_is_given() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(home(root.path(), 7, &[]), ["HOME=/"]);
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/users"), "a:x:7:7::/home/a:\nb:x:8:8::relative:\n").unwrap();
        // Absolute in the root, not on the host.
        symlink("/etc/users", root.path().join("etc/passwd")).unwrap();
        assert_eq!(home(root.path(), 7, &["A=b"]), ["A=b", "HOME=/home/a"]);
        assert_eq!(home(root.path(), 7, &["HOME="]), ["HOME=/home/a"]);
        assert_eq!(home(root.path(), 7, &["HOME=/x"]), ["HOME=/x"]);
        assert_eq!(home(root.path(), 8, &[]), ["HOME=/"]);
        assert_eq!(home(root.path(), 9, &[]), ["HOME=/"]);
        // Neither opens a device nor waits for a pipe.
        std::fs::remove_file(root.path().join("etc/users")).unwrap();
        nix::unistd::mkfifo(&root.path().join("etc/users"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(home(root.path(), 7, &[]), ["HOME=/"]);
    }
}
