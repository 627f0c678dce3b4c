//! One container of one row: its bundle, the commands about it, and what must be gone at the end.

use crate::base;
use crate::peer::Peer;
use crate::traces;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long any one command may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

const APPLETS: [&str; 64] = [
    "sh",
    "cat",
    "chrt",
    "cut",
    "date",
    "dd",
    "echo",
    "env",
    "false",
    "find",
    "grep",
    "head",
    "hostname",
    "id",
    "ionice",
    "ip",
    "kill",
    "ls",
    "mkdir",
    "mkfifo",
    "mknod",
    "mount",
    "mv",
    "nice",
    "nproc",
    "nsenter",
    "od",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "sed",
    "setpriv",
    "setsid",
    "sleep",
    "sort",
    "stat",
    "stty",
    "sysctl",
    "taskset",
    "tail",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "tty",
    "umount",
    "uname",
    "uniq",
    "unshare",
    "usleep",
    "wc",
    "xargs",
    "yes",
    "awk",
    "chmod",
    "chown",
    "ln",
    "realpath",
    "seq",
    "chroot",
    "dnsdomainname",
    "printf",
];

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The exit code; -1 for a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// The trimmed output; panics where the command failed.
    #[track_caller]
    pub fn good(&self) -> &str {
        assert!(self.status.success(), "{}, stdout {:?}, stderr {:?}", self.status, self.stdout, self.stderr);
        self.stdout.trim()
    }

    /// The error's line; panics where the command succeeded.
    #[track_caller]
    pub fn bad(&self) -> &str {
        assert!(!self.status.success(), "should fail, but printed {:?}", self.stdout);
        self.stderr.trim()
    }
}

/// A bundle with the root file system of busybox, and the runtime's directories beside it.
pub struct Case {
    pub id: String,
    pub peer: Peer,
    scratch: tempfile::TempDir,
    started: RefCell<Vec<Child>>,
    count: AtomicU32,
}

impl Case {
    pub fn new(peer: Peer) -> Case {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("coracle-oci-{}-{number}", std::process::id());
        let scratch = tempfile::Builder::new().prefix("coracle-oci-").tempdir().expect("a temporary directory");
        // A root of a user namespace is nobody out here, and passes through.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        let case = Case { id, peer, scratch, started: RefCell::default(), count: AtomicU32::new(0) };
        case.file("in", "");
        let bin = case.root().join("bin");
        fs::create_dir_all(&bin).expect("a directory can be made");
        copy_busybox(&bin.join("busybox"));
        for name in APPLETS {
            symlink("busybox", bin.join(name)).expect("a link can be made");
        }
        case
    }

    /// The directory of everything about this case.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// The root file system.
    pub fn root(&self) -> PathBuf {
        self.path().join("bundle/rootfs")
    }

    /// The bundle.
    pub fn bundle(&self) -> PathBuf {
        self.path().join("bundle")
    }

    /// Where the runtime logs.
    pub fn log(&self) -> PathBuf {
        self.path().join("log")
    }

    /// Where the runtime keeps its state.
    pub fn state_directory(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The value of `linux.cgroupsPath`.
    pub fn cgroups_path(&self) -> String {
        format!("/{}", self.id)
    }

    /// A file of the host in this cgroup, of version 1 or 2.
    pub fn cgroup(&self, controller: &str, file: &str) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(controller).join(&self.id).join(file)
    }

    /// The configuration of Docker around a script.
    pub fn config(&self, script: &str) -> Value {
        let mut config = base::docker_like(script, &self.cgroups_path());
        if self.peer == Peer::Crun {
            // The one of Debian 12 knows no later version.
            config["ociVersion"] = json!("1.0.2");
        }
        config
    }

    /// Writes a file below the case's directory, with the directories above it.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a name below")).expect("directories can be made");
        fs::write(&path, content).expect("a file can be written");
        path
    }

    /// Writes an executable shell script below the case's directory.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name, format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        path
    }

    /// What a hook or a container wrote to a file below the case's directory; nothing where there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    /// Writes the bundle's `config.json`; `{scratch}` and `{id}` in it stand for this case's.
    pub fn write(&self, config: &Value) {
        self.file("bundle/config.json", self.fill(&config.to_string()));
    }

    /// Replaces the names of this case in a text.
    pub fn fill(&self, text: &str) -> String {
        text.replace("{scratch}", &self.path().to_string_lossy()).replace("{id}", &self.id)
    }

    /// A program of the host that lives until the case ends; its process id.
    pub fn start(&self, program: &str, arguments: &[&str]) -> u32 {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("the program can be started");
        let pid = child.id();
        self.started.borrow_mut().push(child);
        pid
    }

    /// A process that lives in namespaces of its own until the case ends; its process id.
    pub fn holder(&self, flags: &[&str]) -> u32 {
        let pid = self.start("unshare", &[flags, &["sleep", "1000"]].concat());
        let named = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        self.until("the holder of namespaces runs", || named(pid).trim() == "sleep");
        pid
    }

    /// Waits until `found` says so.
    #[track_caller]
    pub fn until(&self, what: &str, mut found: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !found() {
            assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until `state` reports this status.
    #[track_caller]
    pub fn until_status(&self, status: &str) {
        self.until(&format!("the status {status}"), || self.state()["status"] == status);
    }

    /// What `state` prints, null where it fails.
    pub fn state(&self) -> Value {
        let outcome = self.runtime(["state", &self.id]);
        serde_json::from_str(&outcome.stdout).unwrap_or_default()
    }

    /// The process id that `state` prints.
    pub fn pid(&self) -> i64 {
        self.state()["pid"].as_i64().unwrap_or_default()
    }

    /// Writes the configuration, then `run`, with the flags before the id.
    pub fn run(&self, config: &Value, flags: &[&str]) -> Outcome {
        self.write(config);
        self.with_bundle("run", flags)
    }

    /// Writes the configuration, then `create`, with the flags before the id.
    pub fn create(&self, config: &Value, flags: &[&str]) -> Outcome {
        self.write(config);
        self.with_bundle("create", flags)
    }

    /// `run` or `create` of what the bundle holds.
    pub fn with_bundle(&self, verb: &str, flags: &[&str]) -> Outcome {
        let bundle = self.bundle();
        let bundle = bundle.to_str().expect("a path in UTF-8");
        self.runtime([&[verb, "--bundle", bundle], flags, &[&self.id]].concat())
    }

    /// Creates and starts a container that lives until it is killed.
    #[track_caller]
    pub fn started(&self, change: impl FnOnce(&mut Value)) {
        let mut config = self.config("trap exit TERM; while :; do sleep 1000 & wait; done");
        change(&mut config);
        self.run(&config, &["--detach"]).good();
    }

    /// The runtime with these arguments after the global ones, to its end.
    pub fn runtime<A: AsRef<str>>(&self, arguments: impl IntoIterator<Item = A>) -> Outcome {
        let mut command = self.command();
        arguments.into_iter().for_each(|argument| {
            command.arg(argument.as_ref());
        });
        self.finish(&mut command)
    }

    /// The runtime with its global arguments.
    pub fn command(&self) -> Command {
        let mut command = self.peer.command();
        self.globals(&mut command);
        command
    }

    /// Adds the arguments that keep this case's state and log to itself.
    pub fn globals(&self, command: &mut Command) {
        command.arg("--root").arg(self.state_directory()).arg("--log").arg(self.log()).args(["--log-format", "json"]);
        // An empty file: crun gives its input to the user of the process, and would do so with the machine's /dev/null.
        command.env("CORACLE_OCI_CASE", &self.id).stdin(File::open(self.path().join("in")).expect("the empty input"));
    }

    /// Runs the command to its end; into files, since containers may hold the streams longer.
    pub fn finish(&self, command: &mut Command) -> Outcome {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let [out, err] = ["out", "err"].map(|name| self.path().join(format!("{name}.{number}")));
        command.stdout(File::create(&out).expect("a file can be made"));
        command.stderr(File::create(&err).expect("a file can be made"));
        let mut child = command.spawn().expect("the runtime can be started");
        let begin = Instant::now();
        let mut pause = Duration::from_micros(200);
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if begin.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                panic!("no end after {PATIENCE:?}: {command:?}: {}", lossy(&err));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        };
        Outcome { status, stdout: lossy(&out), stderr: lossy(&err) }
    }

    /// The last entry of the JSON log, null where it has none.
    pub fn last_log(&self) -> Value {
        let text = self.read("log");
        text.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap_or_else(|_| json!(line)))
    }

    /// What is left of the container now, though nothing should be: read right after a failed start or a `delete`.
    pub fn traces(&self) -> Vec<String> {
        traces::of(&self.id, self.path(), &self.state_directory())
    }

    /// Deletes the container and says what is left even so.
    pub fn end(&self) -> Vec<String> {
        if self.state_directory().join(&self.id).exists() {
            self.runtime(["delete", "--force", &self.id]);
        }
        self.started.borrow_mut().drain(..).for_each(|mut child| {
            let _ = child.kill();
            let _ = child.wait();
        });
        self.traces()
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        self.end();
        traces::remove(&self.id);
    }
}

fn lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Copies the machine's busybox, by another process: a file that this one wrote might still be open in a fork of it when it starts.
fn copy_busybox(to: &Path) {
    let program = crate::program::require_program("busybox", "busybox-static");
    let status = Command::new("cp").arg(program).arg(to).status().expect("cp can be started");
    assert!(status.success(), "cp: {status}");
}
