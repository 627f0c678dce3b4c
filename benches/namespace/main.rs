//! What each namespace costs a start, alone and all together, new and joined: the runtime in this process, beside a bare
//! clone, exec and wait.
//!
//! `cargo bench --bench namespace` prints a table of medians; the contestants of a line take turns. `ROUNDS` sets the
//! number of starts (default 200). The runtime always makes a mount namespace: its first line is what the others add to.

#![allow(unsafe_code)]

mod bare;
#[path = "../support/machine.rs"]
mod machine;
#[path = "../../tests/support/tiny.rs"]
mod tiny;
#[path = "../support/turns.rs"]
mod turns;

use bare::{Bare, Namespace};
use coracle::Stream;
use coracle::runtime::Runtime;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use turns::{Contestant, take_turns, timed};

/// A kind of namespace: its name in the runtime specification and in /proc/PID/ns, and its CLONE_NEW flag.
type Kind = (&'static str, &'static str, i32);

const KINDS: [Kind; 8] = [
    ("mount", "mnt", libc::CLONE_NEWNS),
    ("pid", "pid", libc::CLONE_NEWPID),
    ("ipc", "ipc", libc::CLONE_NEWIPC),
    ("uts", "uts", libc::CLONE_NEWUTS),
    ("cgroup", "cgroup", libc::CLONE_NEWCGROUP),
    ("network", "net", libc::CLONE_NEWNET),
    ("time", "time", libc::CLONE_NEWTIME),
    ("user", "user", libc::CLONE_NEWUSER),
];

const COLUMNS: [&str; 4] = ["bare, new", "coracle, new", "bare, joined", "coracle, joined"];

fn main() {
    machine::leave_hybrid_mode();
    let quick = std::env::args().any(|argument| argument == "--test");
    let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds = rounds.unwrap_or(if quick { 1 } else { 200 });
    let scratch = tempfile::Builder::new().prefix("coracle-bench-").tempdir().unwrap();
    let bench = Bench::new(scratch.path());
    let together: Vec<Kind> = KINDS[..6].to_vec();
    let mut lines = vec![("none".to_owned(), Vec::new())];
    lines.extend(KINDS.map(|kind| (kind.0.to_owned(), vec![kind])));
    lines.push(("all but time, user".to_owned(), together));
    lines.push(("all".to_owned(), KINDS.to_vec()));
    println!("milliseconds from the call to the reaped process, medians of {rounds}");
    println!("{:<20} {}", "", COLUMNS.map(|column| format!("{column:>17}")).concat());
    for (name, kinds) in lines {
        let medians = bench.line(&kinds, rounds);
        let shown = COLUMNS.map(|column| medians.get(column).map_or("-".to_owned(), |time| format!("{time:.3}")));
        println!("{name:<20} {}", shown.map(|time| format!("{time:>17}")).concat());
    }
}

/// The root directory, a runtime, and processes that hold namespaces open.
struct Bench {
    root: PathBuf,
    scratch: PathBuf,
    runtime: Runtime,
    number: Cell<u32>,
    /// One in a user namespace, one in all other namespaces.
    holders: [i32; 2],
}

impl Bench {
    fn new(scratch: &Path) -> Bench {
        let root = machine::root(scratch);
        let hold = |new: i32| Bare { program: &path(&root.join("bin/wait")), new, joined: &[] }.start();
        let others = KINDS.iter().fold(0, |flags, kind| flags | kind.2) & !libc::CLONE_NEWUSER;
        let holders = [hold(libc::CLONE_NEWUSER), hold(others)];
        for file in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{}/{file}", holders[0]), "0 0 65536").unwrap();
        }
        let runtime = Runtime::open(scratch.join("state")).unwrap();
        Bench { root, scratch: scratch.to_owned(), runtime, number: Cell::new(0), holders }
    }

    /// Medians by column; some have none.
    fn line(&self, kinds: &[Kind], rounds: usize) -> BTreeMap<&'static str, f64> {
        let program = path(&self.root.join("bin/exit"));
        let bundles = [("new", false), ("joined", true)].map(|(name, joined)| self.bundle(name, kinds, joined));
        let joined: Vec<Namespace> = kinds.iter().map(|kind| self.namespace(*kind)).collect();
        // The runtime mounts into its mount namespace, and a user namespace in which it has not made the others gives it
        // no right to.
        let joinable = !kinds.is_empty() && !kinds.iter().any(|(name, ..)| ["mount", "user"].contains(name));
        let new = kinds.iter().fold(0, |flags, kind| flags | kind.2);
        let bare = |joined, new| -> Box<dyn Fn() -> f64 + '_> {
            let program: &CStr = &program;
            Box::new(move || timed(|| Bare { program, new, joined }.run()))
        };
        let ours = |bundle| -> Box<dyn Fn() -> f64 + '_> { Box::new(move || timed(|| self.run(bundle))) };
        let mut all = vec![(COLUMNS[0], bare(&[], new)), (COLUMNS[1], ours(&bundles[0]))];
        // The kernel lets no process that shares its memory, as a child of vfork does, into a time namespace.
        if !kinds.is_empty() && new & libc::CLONE_NEWTIME == 0 {
            all.push((COLUMNS[2], bare(&joined, 0)));
        }
        if joinable {
            all.push((COLUMNS[3], ours(&bundles[1])));
        }
        let all: Vec<_> = all.into_iter().map(|(name, run)| Contestant { name, every: 1, run }).collect();
        take_turns(&all, rounds, Duration::ZERO)
    }

    fn run(&self, bundle: &Path) {
        self.number.set(self.number.get() + 1);
        let id = format!("coracle-bench-namespace-{}-{}", std::process::id(), self.number.get());
        let streams = [Stream::Null, Stream::Null, Stream::Null];
        let mut running = self.runtime.create(&id, bundle).streams(streams).run().unwrap();
        assert!(running.wait().unwrap().status.success());
        running.container().delete(false).unwrap();
    }

    fn bundle(&self, name: &str, kinds: &[Kind], joined: bool) -> PathBuf {
        let mut namespaces: Vec<Value> = kinds
            .iter()
            .map(|kind| match joined {
                true => json!({ "type": kind.0, "path": self.path(*kind) }),
                false => json!({ "type": kind.0 }),
            })
            .collect();
        if !kinds.iter().any(|kind| kind.0 == "mount") {
            namespaces.push(json!({ "type": "mount" }));
        }
        let mut linux = json!({ "namespaces": namespaces });
        if kinds.iter().any(|kind| kind.0 == "user") && !joined {
            let map = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
            (linux["uidMappings"], linux["gidMappings"]) = (map.clone(), map);
        }
        let config = json!({
            "ociVersion": "1.0.2",
            "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/bin/exit"], "cwd": "/" },
            "root": { "path": self.root },
            "linux": linux,
        });
        let directory = self.scratch.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
        directory
    }

    fn namespace(&self, kind: Kind) -> Namespace {
        Namespace { file: File::open(self.path(kind)).unwrap(), flag: kind.2 }
    }

    /// The file of a namespace that is held open.
    fn path(&self, (_, file, flag): Kind) -> String {
        let holder = self.holders[usize::from(flag != libc::CLONE_NEWUSER)];
        format!("/proc/{holder}/ns/{file}")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for holder in self.holders {
            // SAFETY: a signal to a child that has not been waited for.
            unsafe { libc::kill(holder, libc::SIGKILL) };
            bare::wait(holder);
        }
    }
}

fn path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}
