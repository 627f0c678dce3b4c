//! Keepers without a container around them: word to the network, and control groups of version 2.

use super::*;
use crate::isolate::Root;
use crate::plan::layout::RestartCondition;
use crate::sandbox::{CheckTask, CheckTaskKind, NetworkMode, RestartTask, Stream};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

/// A netfilter batch of one message of this kind about a table.
fn batch(kind: u16, name: &[u8]) -> Vec<u8> {
    const TABLES: u16 = 10;
    let message = |kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]| {
        let length = 20 + attributes.len() as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        [kind, flags].iter().for_each(|half| bytes.extend(half.to_ne_bytes()));
        bytes.extend([0; 8]);
        bytes.extend([family, 0]);
        bytes.extend(resource.to_be_bytes());
        bytes.extend(attributes);
        bytes
    };
    let mut attribute = (4 + name.len() as u16).to_ne_bytes().to_vec();
    attribute.extend(1u16.to_ne_bytes());
    attribute.extend(name);
    assert!(attribute.len().is_multiple_of(4));
    let table = message(TABLES << 8 | kind, 0x401, 2, 0, &attribute);
    [message(0x10, 1, 0, TABLES, &[]), table, message(0x11, 1, 0, TABLES, &[])].concat()
}

fn until_table(there: bool) {
    until(if there { "the table is missing" } else { "the table stays" }, || {
        let tables = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap().stdout;
        String::from_utf8_lossy(&tables).contains("readyme") == there
    });
}

fn task(directory: &Path, check: Option<&str>) -> (KeeperTask, [OwnedFd; 2]) {
    let (output, output_writer) = std::io::pipe().unwrap();
    let (error, error_writer) = std::io::pipe().unwrap();
    for pipe in [&output, &error] {
        nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    }
    let open = || File::open(directory).unwrap().into();
    let tick = Duration::from_millis(20);
    let check = check.map(|script| CheckTask {
        kind: CheckTaskKind::Command(["/bin/sh", "-c", script].map(str::to_owned).to_vec()),
        interval: tick,
        timeout: Duration::from_secs(30),
        start_period: Duration::ZERO,
        retries: 1,
        healthy_after: 1,
    });
    let restart = RestartTask {
        condition: RestartCondition::ALWAYS,
        most: None,
        delay: tick,
        longest_delay: tick,
        when_unhealthy: false,
    };
    let task = KeeperTask {
        streams: [output.into(), error.into()],
        log_directory: open(),
        directory: open(),
        oom_file: None,
        log_limit: 0,
        log_files: 0,
        held: Vec::new(),
        remove: Vec::new(),
        farewell: Vec::new(),
        ready: batch(0, b"readyme\0"),
        unready: batch(2, b"readyme\0"),
        care: CareTask { check, restart, stop_signal: libc::SIGTERM },
    };
    (task, [output_writer.into(), error_writer.into()])
}

/// The first process once it is another than `before`.
fn next_process(directory: &Path, before: i32) -> i32 {
    loop {
        let text = fs::read_to_string(directory.join("pid")).unwrap_or_default();
        match text.split_once(' ').and_then(|(process, _)| process.parse().ok()) {
            Some(process) if process != 0 && process != before => return process,
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn kill(process: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), nix::sys::signal::SIGKILL).unwrap();
}

/// A directory of one test, with a root of busybox and a place for the keeper.
struct Ground {
    scratch: tempfile::TempDir,
}

impl Ground {
    fn new() -> Ground {
        let ground = Ground { scratch: tempfile::tempdir().unwrap() };
        let bin = ground.root().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(ground.kept()).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        ["sh", "sleep", "cat", "grep"]
            .iter()
            .for_each(|name| std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap());
        ground
    }

    fn root(&self) -> std::path::PathBuf {
        self.scratch.path().join("root")
    }

    fn kept(&self) -> std::path::PathBuf {
        self.scratch.path().join("kept")
    }

    /// Starts `script` under a keeper; its first process.
    fn detach(&self, script: &str, check: Option<&str>, change: impl FnOnce(Sandbox) -> Sandbox) -> i32 {
        let (task, [output, error]) = task(&self.kept(), check);
        let sandbox = Sandbox::new(Root::Directory(self.root()), ["/bin/sh", "-c", script])
            .launcher(Launcher::new().unwrap())
            .network(NetworkMode::Host)
            .init(true)
            .stdout(Stream::Descriptor(output))
            .stderr(Stream::Descriptor(error));
        change(sandbox).detach(task).unwrap()
    }

    /// Ends what was started.
    fn stop(&self, process: i32) {
        File::create(self.kept().join("stop")).unwrap();
        kill(process);
        until("the end is recorded", || self.kept().join("exit").exists());
    }
}

fn until(what: &str, mut found: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !found() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn tell_the_network(check: bool) {
    use nix::sched::CloneFlags;
    // A table of descriptors of its own as well: other tests count those of theirs.
    nix::sched::unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_FILES).unwrap();
    let ground = Ground::new();
    let root = ground.root();
    let first = ground.detach("exec sleep 1000", check.then_some("[ -e /fine ]"), |sandbox| sandbox);
    if check {
        assert!(!root.join("fine").exists());
        for _ in 0..3 {
            fs::write(root.join("fine"), "").unwrap();
            until_table(true);
            fs::remove_file(root.join("fine")).unwrap();
            until_table(false);
        }
    }
    if !check {
        until_table(true);
    }
    kill(first);
    let second = next_process(&ground.kept(), first);
    if check {
        until_table(false);
        fs::write(root.join("fine"), "").unwrap();
    }
    until_table(true);
    ground.stop(second);
    until_table(false);
}

#[test]
fn the_network_hears_when_a_container_serves_and_when_not() {
    let checks = [false, true].map(|check| std::thread::spawn(move || tell_the_network(check)));
    checks.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn orders_have_the_layout_the_keeper_reads() {
    let orders = KeeperOrders {
        namespaces: 1,
        log_limit: 2,
        log_files: 3,
        cgroup: 4,
        streams: [5, 6],
        log_directory: 7,
        directory: 8,
        oom_file: 9,
        remove: 10,
        farewell: 11,
        farewell_size: 12,
        care: 13,
        reserved: 0,
    };
    let bytes = orders.to_bytes();
    assert_eq!(bytes.len(), size_of::<KeeperOrders>());
    let at = std::mem::offset_of!(KeeperOrders, oom_file);
    assert_eq!(bytes[at], 9);
    let at = std::mem::offset_of!(KeeperOrders, care);
    assert_eq!(bytes[at], 13);
}

/// A group of version 2, which a machine with its controllers on version 1 has beside them, without any.
#[test]
fn groups_of_version_2_are_entered_by_restarts_and_checks() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
    let ground = Ground::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let base = mounts.lines().find(|line| line.contains(" cgroup2 ")).and_then(|line| line.split(' ').nth(1)).unwrap();
    let name =
        format!("coracle-test-{}", ground.scratch.path().file_name().unwrap().to_str().unwrap().replace('.', ""));
    let directory = Path::new(base).join(&name);
    fs::create_dir(&directory).unwrap();
    let record = serde_json::json!({ "name": name, "groups": [{ "version": "v2", "base": base, "controllers": [] }] });
    let group = crate::cgroup::Cgroup::open(&serde_json::from_value(record).unwrap());
    let number = |process: &str| fs::read_to_string(directory.join("cgroup.procs")).unwrap().contains(process);
    let check = "cat /proc/self/cgroup > /found; grep -q '^0::/$' /found";
    let mut process = ground.detach("exec sleep 1000", Some(check), |sandbox| sandbox.cgroup(&group));
    for _ in 0..3 {
        until("it is in its group", || number(&process.to_string()));
        let health = || fs::read_to_string(ground.kept().join("health")).unwrap_or_default();
        until("its checks are", || health().contains("state healthy"));
        kill(process);
        process = next_process(&ground.kept(), process);
    }
    ground.stop(process);
    until("the group can be removed", || fs::remove_dir(&directory).is_ok());
}
