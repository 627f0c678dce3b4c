//! Fails a start at every step: with an errno, and by a kill.

use super::*;
use crate::Exit;
use crate::cgroup::{Limits, Policy};
use crate::launch::Request;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

/// One kind of start, made anew for each drill.
struct Subject {
    scratch: tempfile::TempDir,
    launcher: Arc<Launcher>,
    group: Cgroup,
    mark: i32,
    build: fn(Sandbox) -> Sandbox,
    root: fn(&Path) -> Root,
}

/// A descriptor that only the threads of one test have: their table of descriptors is their own.
static MARKS: AtomicI32 = AtomicI32::new(700);

impl Subject {
    fn new(root: fn(&Path) -> Root, build: fn(Sandbox) -> Sandbox) -> Subject {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
        let null = fs::File::open("/dev/null").unwrap();
        // The launch thread inherits the table.
        let mark = MARKS.fetch_add(1, Ordering::Relaxed);
        assert_eq!(nix::fcntl::fcntl(&null, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(mark)).unwrap(), mark);
        let scratch = tempfile::Builder::new().prefix("coracle-drill-").tempdir().unwrap();
        for name in ["lower/bin", "upper", "work", "bound"] {
            fs::create_dir_all(scratch.path().join(name)).unwrap();
        }
        fs::copy("/bin/busybox", scratch.path().join("lower/bin/true")).unwrap();
        let name = format!("coracle-test-drill/{}", scratch.path().file_name().unwrap().to_str().unwrap());
        let (group, _) = Cgroup::create(&name, &Limits::new().pids(100), Policy::Strict).unwrap();
        Subject { scratch, launcher: Launcher::new().unwrap(), group, mark, build, root }
    }

    fn request(&self) -> Request<'static> {
        let path = self.scratch.path();
        let sandbox = Sandbox::new((self.root)(path), ["true"])
            .env(EnvVar::new("LANG", "C.UTF-8").unwrap())
            .hostname("drill")
            .workdir("/srv")
            .make_workdir(true)
            .tmpfs("/tmp", Memory::mib(1))
            .bind(path.join("bound"), "/bound", true)
            .cgroup(&self.group)
            .init(true);
        (self.build)(sandbox).prepare().unwrap()
    }

    fn tolerates(&self, op: u32) -> bool {
        self.request().plan.verified().unwrap().op(op as usize).tolerate != 0
    }

    /// Starts with the drill, and how it went.
    fn drill(&self, op: u32, errno: u32) -> (String, Result<Exit>) {
        let mut request = self.request();
        let what = request.plan.sentence(op as usize).unwrap().to_string();
        request.plan.drill(op, errno);
        (what, start(&self.launcher, request).and_then(|mut process| process.wait()))
    }

    /// What must not grow: descriptors, children, mounts, and processes.
    fn holdings(&self) -> BTreeSet<String> {
        let (mut found, mut spares) = (BTreeSet::new(), false);
        for entry in fs::read_dir("/proc/thread-self/fd").unwrap().flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            // The descriptor that reads this very directory.
            // The launcher keeps the memory of a plan that succeeded for the next one.
            let spare = target.to_string_lossy().contains("coracle-plan") && !std::mem::replace(&mut spares, true);
            if !target.to_string_lossy().ends_with("/fd") && !spare {
                found.insert(format!("descriptor {:?} {target:?}", entry.file_name()));
            }
        }
        for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
            if task.path().join(format!("fd/{}", self.mark)).exists() {
                let children = fs::read_to_string(task.path().join("children")).unwrap();
                found.extend(children.split_whitespace().map(|pid| format!("child {pid}")));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mark = self.scratch.path().to_str().unwrap();
        found.extend(self.group.processes().unwrap().into_iter().map(|pid| format!("in the control group {pid}")));
        found.extend(mounts.lines().filter(|line| line.contains(mark)).map(|line| format!("mount {line}")));
        found
    }

    /// Every step with every way to fail.
    fn fail_everywhere(&self) {
        let steps = self.request().plan.len() as u32;
        assert!(start(&self.launcher, self.request()).unwrap().wait().unwrap().status.success());
        let before = self.holdings();
        for op in 0..steps {
            let shrugged =
                if self.tolerates(op) { &[libc::EPERM, libc::EINVAL, libc::ENOENT, libc::EEXIST][..] } else { &[] };
            for &errno in [libc::EDOM].iter().chain(shrugged) {
                let (what, result) = self.drill(op, errno as u32);
                match result {
                    Ok(exit) => {
                        assert!(errno != libc::EDOM && exit.status.success(), "step {op}, {what}, {errno}: {exit:?}")
                    }
                    Err(error) => {
                        assert_eq!(error.errno(), Some(errno), "step {op}, {what}: {error}");
                        assert!(error.to_string().starts_with(&what), "step {op}, {what}: {error}");
                    }
                }
            }
            let (what, result) = self.drill(op, 0);
            let error = result.expect_err(&what);
            let killed = format!("{what}: the starting process killed by SIG");
            assert!(error.to_string().starts_with(&killed), "step {op}, {what}: {error}");
            assert!(error.remedy().is_some() || error.to_string().contains("SIGILL"), "step {op}, {what}: {error}");
            assert_eq!(self.holdings(), before, "step {op}, {what}");
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.group.remove().unwrap();
    }
}

fn overlay(scratch: &Path) -> Root {
    Root::Overlay { lower: vec![scratch.join("lower")], upper: scratch.join("upper"), work: scratch.join("work") }
}

fn directory(scratch: &Path) -> Root {
    Root::Directory(scratch.join("lower"))
}

/// An overlay whose paths are too long for single options.
fn deep_overlay(scratch: &Path) -> Root {
    let deep = scratch.join("d".repeat(200)).join("e".repeat(100));
    for name in ["upper", "work"] {
        fs::create_dir_all(deep.join(name)).unwrap();
    }
    Root::Overlay { lower: vec![scratch.join("lower")], upper: deep.join("upper"), work: deep.join("work") }
}

#[test]
fn every_step_can_fail_cleanly() {
    Subject::new(overlay, |sandbox| sandbox).fail_everywhere();
}

#[test]
fn every_step_can_fail_cleanly_in_a_user_namespace() {
    Subject::new(overlay, |sandbox| sandbox.user_namespace(IdMap::current_user())).fail_everywhere();
}

#[test]
fn every_step_can_fail_cleanly_without_init_on_a_directory() {
    Subject::new(directory, |sandbox| sandbox.init(false).read_only(true).user(1, 1, [2])).fail_everywhere();
}

#[test]
fn every_step_can_fail_cleanly_on_an_overlay_by_path() {
    Subject::new(deep_overlay, |sandbox| sandbox.no_new_privileges(false)).fail_everywhere();
}
