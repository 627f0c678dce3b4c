//! Groups of ordinary users.

use crate::ground::{Scratch, scratch, unique};
use coracle::cgroup::{Cgroup, Limits, Policy};
use coracle::{Cpus, ErrorKind, Memory};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs the test `name` of this program again as an ordinary user.
fn again_as_nobody(name: &str, inside: Option<&Delegated>) {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sh");
    command.args(["-c", "read gate; exec \"$0\" --exact \"$1\" --nocapture"]);
    command.arg(std::env::current_exe().unwrap()).arg(name).env("CORACLE_TEST_AS_NOBODY", "1");
    command.uid(65534).gid(65534).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    for directory in inside.iter().flat_map(|delegated| &delegated.hosts) {
        std::fs::write(directory.join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn is_nobody() -> bool {
    std::env::var_os("CORACLE_TEST_AS_NOBODY").is_some()
}

#[test]
fn without_rights_limits_are_refused_and_their_absence_is_not() {
    if !is_nobody() {
        return again_as_nobody("delegation::without_rights_limits_are_refused_and_their_absence_is_not", None);
    }
    let limits = Limits::new().memory(Memory::mib(32)).pids(5);
    let error = Cgroup::create("coracle/x", &limits, Policy::Strict).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().starts_with("limits memory, pids cannot be enforced: "), "{error}");
    assert!(error.remedy().is_some(), "{error}");
    let (group, unenforced) = Cgroup::create("coracle/x", &limits, Policy::BestEffort).unwrap();
    assert_eq!(unenforced.iter().map(|limit| limit.limit.as_str()).collect::<Vec<_>>(), ["memory", "pids"]);
    assert!(group.is_absent());
    let (group, unenforced) = Cgroup::create("coracle/x", &Limits::new(), Policy::Strict).unwrap();
    assert!(group.is_absent() && unenforced.is_empty());
    let join = group.join().unwrap();
    assert!(join.tasks.is_empty() && join.directory.is_none());
    assert_eq!(group.stats().unwrap_err().kind(), ErrorKind::Unsupported);
    group.arm().unwrap();
    group.remove().unwrap();
}

/// A group in every hierarchy that belongs to nobody, and the groups that the program itself is put into.
struct Delegated {
    whole: Scratch,
    hosts: Vec<PathBuf>,
}

/// `divided`: the program sits in a group `host` of its own, else in the delegated group itself.
fn delegate(divided: bool) -> Delegated {
    let whole = scratch(Limits::new());
    let mut hosts = Vec::new();
    for directory in whole.group.directories() {
        let unified = directory.join("cgroup.kill").exists();
        let host = if divided { directory.join("host") } else { directory.clone() };
        if divided {
            std::fs::create_dir(&host).unwrap();
        }
        let files: &[&str] = if unified {
            &["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
        } else {
            &["", "cgroup.procs", "tasks"]
        };
        for (directory, file) in [&directory, &host].iter().flat_map(|d| files.iter().map(move |file| (d, file))) {
            let path: &Path = directory;
            std::os::unix::fs::chown(path.join(file), Some(65534), Some(65534)).unwrap();
        }
        hosts.push(host);
    }
    Delegated { whole, hosts }
}

#[test]
fn a_delegated_group_gives_an_ordinary_user_limits() {
    if !is_nobody() {
        let delegated = delegate(true);
        again_as_nobody("delegation::a_delegated_group_gives_an_ordinary_user_limits", Some(&delegated));
        assert!(delegated.whole.group.processes().unwrap().is_empty());
        return;
    }
    let scratch = scratch(Limits::new().memory(Memory::mib(32)).pids(5).cpus(Cpus::of(0.5)));
    let directories = scratch.group.directories();
    assert!(directories.iter().all(|path| path.to_string_lossy().contains("/job/")), "{directories:?}");
    let mut child = scratch.shell("exec sleep 1000");
    let stats = scratch.group.stats().unwrap();
    assert_eq!((stats.pids.current, stats.pids.limit), (1, Some(5)));
    assert_eq!(stats.memory.limit, Some(Memory::mib(32)));
    scratch.group.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_delegated_group_that_holds_its_user_gives_limits_in_version_1_only() {
    if !is_nobody() {
        let delegated = delegate(false);
        return again_as_nobody(
            "delegation::a_delegated_group_that_holds_its_user_gives_limits_in_version_1_only",
            Some(&delegated),
        );
    }
    let limits = Limits::new().memory(Memory::mib(32)).pids(5);
    let name = unique();
    match Cgroup::create(&name, &limits, Policy::Strict) {
        Ok((group, _)) => {
            let scratch = Scratch { group, name };
            assert!(!scratch.unified());
            assert_eq!(scratch.group.stats().unwrap().pids.limit, Some(5));
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains("holds processes itself"), "{error}");
            assert!(error.remedy().unwrap().contains("DelegateSubgroup="), "{error}");
            assert!(Path::new("/sys/fs/cgroup/cgroup.controllers").exists(), "only version 2 has this rule: {error}");
            // Nothing was asked for: the group goes without the controllers, and is left without a trace.
            let (group, _) = Cgroup::create(&name, &Limits::new(), Policy::Strict).unwrap();
            assert_eq!(group.stats().unwrap_err().kind(), ErrorKind::Unsupported);
            group.remove().unwrap();
        }
    }
}
