//! Where an engine lives during a test: its own processes, mounts, network and files, and one cgroup above all of it.

use crate::program::require_program;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that happens by itself.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the first process of the namespaces does: whatever an engine writes outside its own directories goes to a file
/// system that ends with the namespace. It says its number as the machine sees it, and waits to be killed.
const PREPARE: &str = r#"
exec 2>&1
ip link set lo up
mount -t overlay -o lowerdir=/etc,upperdir="$1/etc",workdir="$1/work" overlay /etc
for directory in /run /opt /var/lib; do mount -t tmpfs tmpfs $directory; done
mkdir -p /run/lock /opt/cni && ln -s /usr/lib/cni /opt/cni/bin
echo ready
# A first process that reaps: podman waits for a monitor as long as there is anything of it.
while :; do sleep 1000 & wait $!; done
"#;

/// The namespaces, killed and removed on drop with all that is in them.
pub struct Ground {
    scratch: TempDir,
    cgroup: String,
    /// `unshare`, which waits for the first process of the namespaces.
    holder: Child,
    /// The first process of the namespaces, as this process sees it.
    inside: u32,
    /// Daemons, which end with the namespaces.
    daemons: std::cell::RefCell<Vec<Child>>,
}

impl Ground {
    /// Makes the namespaces; panics where the test does not run as root.
    pub fn new() -> Ground {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(nix::unistd::geteuid().is_root(), "this test needs root");
        // Not below TMPDIR, which may be long: where its monitor's paths are too long for sockets podman waits in vain.
        let scratch = tempfile::Builder::new().prefix("coracle-engine-").tempdir_in("/tmp").unwrap();
        for part in ["etc", "work", "home", "tmp"] {
            std::fs::create_dir(scratch.path().join(part)).unwrap();
        }
        let cgroup = format!("coracle-engine-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // A test that is killed takes the namespaces with it.
        let mut holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare"])
            .args(["--pid", "--fork", "--kill-child", "--mount", "--net", "--ipc", "--uts", "--mount-proc"])
            .args(["--propagation", "private", "sh", "-ec", PREPARE, "prepare"])
            .arg(scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let inside = only_child(holder.id());
        let ground = Ground { scratch, cgroup, holder, inside, daemons: Default::default() };
        assert_eq!(line, "ready\n", "no namespaces for an engine");
        ground
    }

    /// A program to run in the namespaces. A call that hangs is to fail by itself, in time to be told from a test that
    /// hangs: after a minute.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.daemon("timeout");
        command.args(["--foreground", "--kill-after", "5", "60", program]);
        command
    }

    /// A program that runs in the namespaces until they end.
    pub fn daemon(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.inside.to_string(), "-p", "-m", "-n", "-i", "-u", "--", program]);
        command.env("HOME", self.path().join("home")).env("TMPDIR", self.path().join("tmp")).stdin(Stdio::null());
        command
    }

    /// Starts a daemon; it is waited for at the end.
    pub fn start(&self, daemon: &mut Command) {
        self.daemons.borrow_mut().push(daemon.spawn().unwrap());
    }

    /// A directory that the engine and the test see at the same place.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Writes a file below [`Ground::path`].
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The name of the cgroup, below the top of every hierarchy, under which the engine is to put its own.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// What the web server at this address of the namespace answers, asked until it does.
    pub fn page(&self, address: &str) -> String {
        let mut answer = Output { status: Default::default(), stdout: Vec::new(), stderr: Vec::new() };
        let found = within_patience(|| {
            let mut curl = self.command("curl");
            answer = curl.args(["-sS", "--noproxy", "*", "--max-time", "2", address]).output().unwrap();
            answer.status.success()
        });
        assert!(found, "nothing at {address}: {}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8(answer.stdout).unwrap()
    }
}

impl Drop for Ground {
    /// Nothing may stay, whatever state the engine is in: a frozen process dies only when it is thawed.
    fn drop(&mut self) {
        thaw(&self.cgroup);
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.inside as i32), nix::sys::signal::SIGKILL);
        within_patience(|| {
            thaw(&self.cgroup);
            matches!(self.holder.try_wait(), Ok(Some(_)))
        });
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        for mut daemon in self.daemons.take() {
            let _ = daemon.wait();
        }
        for top in tops(&self.cgroup) {
            within_patience(|| remove_cgroup(&top).is_ok());
        }
    }
}

/// What a command says and how it ends.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs the command to its end.
pub fn say(command: &mut Command) -> Said {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    said(child.wait_with_output().unwrap())
}

/// Runs the command to its end with these bytes as its input.
pub fn say_to(command: &mut Command, input: &str) -> Said {
    use std::io::Write;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    said(child.wait_with_output().unwrap())
}

/// Runs the command to its end with an input that does not end before: a terminal's that does hangs up.
pub fn say_held(command: &mut Command) -> Said {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _input = child.stdin.take();
    said(child.wait_with_output().unwrap())
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Asks until `found` says so; false where it never does.
pub fn within_patience(mut found: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if found() {
            return true;
        }
        if begin.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The program under test: `CORACLE_RUNTIME`, a path or a name; by default the example of this crate.
pub fn runtime() -> String {
    let program = match std::env::var("CORACLE_RUNTIME") {
        Ok(path) if path.starts_with('/') => PathBuf::from(path),
        Ok(name) => require_program(&name, &name),
        Err(_) => built_example(),
    };
    program.into_os_string().into_string().unwrap()
}

/// Cargo puts examples beside the directory of the tests.
fn built_example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples/runtime");
    assert!(path.is_file(), "{} is not built: cargo build --examples", path.display());
    path
}

fn only_child(parent: u32) -> u32 {
    let mut text = String::new();
    let path = format!("/proc/{parent}/task/{parent}/children");
    std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text.trim().parse().unwrap()
}

/// The directories of that name at the top of every hierarchy.
fn tops(cgroup: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).unwrap().flatten().map(|entry| entry.path());
    hierarchies.chain([root.to_owned()]).map(|top| top.join(cgroup)).filter(|top| top.is_dir()).collect()
}

fn thaw(cgroup: &str) {
    for top in tops(cgroup) {
        for directory in descendants(&top) {
            let _ = std::fs::write(directory.join("freezer.state"), "THAWED");
            let _ = std::fs::write(directory.join("cgroup.freeze"), "0");
        }
    }
}

/// The cgroup and those below it, parents first.
fn descendants(top: &Path) -> Vec<PathBuf> {
    let mut found = vec![top.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        found.extend(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
        next += 1;
    }
    found
}

fn remove_cgroup(top: &Path) -> std::io::Result<()> {
    descendants(top).iter().rev().try_for_each(std::fs::remove_dir)
}
