//! A start under a keeper: the process outlives its host.

use super::Sandbox;
use super::care::{CareTask, With};
use crate::Result;
use crate::launch::{Launcher, Request, start_keeper};
use crate::plan::layout::{KeeperOrders, Role};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What the keeper of a detached container holds and does.
#[derive(Debug)]
pub(crate) struct KeeperTask {
    /// The read ends of standard output and error; they must not block.
    pub(crate) streams: [OwnedFd; 2],
    /// Where the logs go.
    pub(crate) log_directory: OwnedFd,
    /// Where `pid` and `exit` are recorded.
    pub(crate) directory: OwnedFd,
    /// A file with an `oom_kill N` line.
    pub(crate) oom_file: Option<OwnedFd>,
    /// Past this many bytes the log is rotated; 0: never.
    pub(crate) log_limit: u64,
    /// How many rotated logs are kept.
    pub(crate) log_files: u32,
    /// Held open until the end: the lock that says it lives, the sockets that hold published ports.
    pub(crate) held: Vec<OwnedFd>,
    /// Removed at the end: control groups.
    pub(crate) remove: Vec<PathBuf>,
    /// A netfilter netlink batch to send at the end; may be empty.
    pub(crate) farewell: Vec<u8>,
    /// One to send whenever the container becomes ready to serve: healthy, or, without a health check, started. May be
    /// empty.
    pub(crate) ready: Vec<u8>,
    /// One to send whenever it no longer is; may be empty.
    pub(crate) unready: Vec<u8>,
    /// What is done beyond one start.
    pub(crate) care: CareTask,
}

impl Sandbox {
    /// Starts it under a keeper; returns the number of its first process once the command is executed.
    pub(crate) fn detach(mut self, task: KeeperTask) -> Result<i32> {
        self.kept = true;
        let launcher = match &self.launcher {
            Some(launcher) => launcher.clone(),
            None => Launcher::shared()?,
        };
        let init = self.init;
        let mut lowered = self.lower(task.care.inside())?;
        let plan = &mut lowered.plan;
        let remove = if task.remove.is_empty() {
            0
        } else {
            plan.texts(task.remove.iter().map(|path| path.as_os_str().as_bytes()))
        };
        let farewell = if task.farewell.is_empty() { 0 } else { plan.bytes(&task.farewell) };
        let with = With {
            ready: &task.ready,
            unready: &task.unready,
            enter: lowered.enter,
            id_map: lowered.id_map.as_ref(),
            init,
        };
        let care = task.care.lower(plan, &with);
        let mut keep = |descriptor: Option<OwnedFd>| descriptor.map_or(-1, |descriptor| plan.keep(descriptor));
        let [output, error] = task.streams;
        let orders = KeeperOrders {
            namespaces: lowered.namespaces,
            log_limit: task.log_limit,
            log_files: task.log_files,
            cgroup: keep(lowered.cgroup),
            streams: [keep(Some(output)), keep(Some(error))],
            log_directory: keep(Some(task.log_directory)),
            directory: keep(Some(task.directory)),
            oom_file: keep(task.oom_file),
            remove,
            farewell,
            farewell_size: task.farewell.len() as u32,
            care,
            reserved: 0,
        };
        for descriptor in task.held {
            keep(Some(descriptor));
        }
        let request = Request {
            plan: lowered.plan.finish_as(Role::KEEPER, &orders.to_bytes(), lowered.channel.child())?,
            channel: lowered.channel,
            namespaces: 0,
            cgroup: None,
            id_map: lowered.id_map,
            after_exec_of_stage: lowered.arm.map(|arm| arm as _),
        };
        start_keeper(&launcher, request)
    }
}

impl KeeperOrders {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of::<KeeperOrders>());
        bytes.extend_from_slice(&self.namespaces.to_ne_bytes());
        bytes.extend_from_slice(&self.log_limit.to_ne_bytes());
        bytes.extend_from_slice(&self.log_files.to_ne_bytes());
        let descriptors =
            [self.cgroup, self.streams[0], self.streams[1], self.log_directory, self.directory, self.oom_file];
        descriptors.iter().for_each(|number| bytes.extend_from_slice(&number.to_ne_bytes()));
        let rest = [self.remove, self.farewell, self.farewell_size, self.care, self.reserved];
        rest.iter().for_each(|number| bytes.extend_from_slice(&number.to_ne_bytes()));
        bytes
    }
}

#[cfg(test)]
mod tests {
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
        let begin = Instant::now();
        loop {
            let tables = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap().stdout;
            if String::from_utf8_lossy(&tables).contains("readyme") == there {
                return;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "the table {}",
                if there { "is missing" } else { "stays" }
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn task(directory: &Path, check: bool) -> (KeeperTask, [OwnedFd; 2]) {
        let (output, output_writer) = std::io::pipe().unwrap();
        let (error, error_writer) = std::io::pipe().unwrap();
        for pipe in [&output, &error] {
            nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
        }
        let open = || File::open(directory).unwrap().into();
        let tick = Duration::from_millis(20);
        let check = check.then(|| CheckTask {
            kind: CheckTaskKind::Command(["/bin/sh", "-c", "[ -e /fine ]"].map(str::to_owned).to_vec()),
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

    fn tell_the_network(check: bool) {
        use nix::sched::CloneFlags;
        // A table of descriptors of its own as well: other tests count those of theirs.
        nix::sched::unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_FILES).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let (root, directory) = (scratch.path().join("root"), scratch.path().join("kept"));
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir(&directory).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        ["sh", "sleep"]
            .iter()
            .for_each(|name| std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap());
        let (task, [output, error]) = task(&directory, check);
        let first = Sandbox::new(Root::Directory(root.clone()), ["/bin/sleep", "1000"])
            .launcher(Launcher::new().unwrap())
            .network(NetworkMode::Host)
            .init(true)
            .stdout(Stream::Descriptor(output))
            .stderr(Stream::Descriptor(error))
            .detach(task)
            .unwrap();
        if check {
            assert!(!root.join("fine").exists());
            for _ in 0..3 {
                fs::write(root.join("fine"), "").unwrap();
                until_table(true);
                fs::remove_file(root.join("fine")).unwrap();
                until_table(false);
            }
        }
        let second_start = |process: i32| {
            kill(process);
            next_process(&directory, process)
        };
        if !check {
            until_table(true);
        }
        let second = second_start(first);
        if check {
            until_table(false);
            fs::write(root.join("fine"), "").unwrap();
        }
        until_table(true);
        File::create(directory.join("stop")).unwrap();
        kill(second);
        until_table(false);
        while !directory.join("exit").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
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
}
