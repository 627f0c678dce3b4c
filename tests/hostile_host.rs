//! A host that does everything that breaks engines which fork: many threads that allocate, ignored children, signal
//! handlers of both kinds and timers that fire them, descriptors without close-on-exec.

#![allow(unsafe_code)]

#[path = "support/tiny.rs"]
mod tiny;

use coracle::cgroup::{Cgroup, Limits, Policy};
use coracle::{EnvVar, ExitStatus, Memory, NetworkMode, Root, Sandbox};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tiny::tiny_program;

const THREADS: usize = 64;
const STARTS: usize = 10_000;

/// For the whole of it; far more than it takes, far less than a hang.
const LIMIT: Duration = Duration::from_secs(300);

const ALONE: &str = "CORACLE_TEST_ALONE";

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// The handler of the host: whatever it does would be wrong in a child that shares its memory.
extern "C" fn handler(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn ten_thousand_starts_from_a_hostile_host_leave_nothing() {
    if std::env::var_os(ALONE).is_none() {
        run_alone("ten_thousand_starts_from_a_hostile_host_leave_nothing");
        return;
    }
    let scratch = tempfile::Builder::new().prefix("coracle-hostile-").tempdir().unwrap();
    for name in ["root/bin", "upper", "work"] {
        fs::create_dir_all(scratch.path().join(name)).unwrap();
    }
    tiny_program(&scratch.path().join("root/bin/exit"));
    let name = format!("coracle-test-hostile/{}", std::process::id());
    let (group, _) = Cgroup::create(&name, &Limits::new().pids(1000), Policy::Strict).unwrap();
    // The launch thread, which stays, is part of what is there before.
    start(scratch.path(), &group, 0);
    let before = holdings(scratch.path());
    make_hostile();
    let begin = Instant::now();
    work(scratch.path(), &group);
    let seconds = begin.elapsed().as_secs_f64();
    println!("{STARTS} starts in {seconds:.1} s, {} signals handled", SIGNALS.load(Ordering::Relaxed));
    assert!(SIGNALS.load(Ordering::Relaxed) > 0, "the timers fired");
    assert!(group.processes().unwrap().is_empty());
    group.remove().unwrap();
    let after = holdings(scratch.path());
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// One start of a kind that `number` chooses.
fn start(scratch: &Path, group: &Cgroup, number: usize) {
    let root = Root::Directory(scratch.join("root"));
    let sandbox = Sandbox::new(root, ["/bin/exit"]).env(EnvVar::new("NUMBER", number.to_string()).unwrap());
    let sandbox = match number % 4 {
        0 => sandbox.system_mounts(false).network(NetworkMode::Host),
        1 => sandbox.init(true).network(NetworkMode::Host),
        2 => sandbox.tmpfs("/tmp", Memory::mib(1)).bind(scratch.join("upper"), "/bound", true),
        _ => sandbox.cgroup(group).hostname("hostile").read_only(true).user(1000, 1000, []),
    };
    let mut process = sandbox.spawn().unwrap_or_else(|error| panic!("start {number}: {error}"));
    let status = process.wait().unwrap_or_else(|error| panic!("wait {number}: {error}")).status;
    // Before Linux 6.15 nobody knows the status of a child that is ignored.
    assert!(matches!(status, ExitStatus::Exited(0) | ExitStatus::Unknown), "start {number}: {status}");
}

/// Handlers with and without SA_RESTART, timers for both, ignored children, and descriptors that exec keeps.
fn make_hostile() {
    // SAFETY: the handler only counts; the structures are plain data; the descriptors stay open on purpose.
    unsafe {
        for (signal, flags) in
            [(libc::SIGALRM, 0), (libc::SIGPROF, libc::SA_RESTART), (libc::SIGUSR1, libc::SA_ONSTACK)]
        {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as extern "C" fn(i32) as usize;
            action.sa_flags = flags;
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
        }
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        for (timer, micros) in [(libc::ITIMER_REAL, 1_100), (libc::ITIMER_PROF, 1_900)] {
            let every = libc::timeval { tv_sec: 0, tv_usec: micros };
            let value = libc::itimerval { it_interval: every, it_value: every };
            assert_eq!(libc::setitimer(timer, &value, std::ptr::null_mut()), 0);
        }
    }
}

/// All starts, from all threads, which allocate and open all the while.
fn work(scratch: &Path, group: &Cgroup) {
    let next = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut kept: Vec<Vec<u8>> = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= STARTS {
                            return;
                        }
                        kept.push(vec![number as u8; 1 << (number % 18)]);
                        kept.truncate(40 - number % 39);
                        // SAFETY: a fresh descriptor without close-on-exec, owned by nobody else.
                        let leak = unsafe { OwnedFd::from_raw_fd(libc::dup(0)) };
                        start(scratch, group, number);
                        drop(leak);
                    }
                })
            })
            .collect();
        scope.spawn(|| watch(&next, &done));
        let failed = workers.into_iter().filter_map(|worker| worker.join().err()).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0, "threads whose start failed");
    });
    let none = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval { tv_sec: 0, tv_usec: 0 },
    };
    for timer in [libc::ITIMER_REAL, libc::ITIMER_PROF] {
        // SAFETY: plain data.
        unsafe { libc::setitimer(timer, &none, std::ptr::null_mut()) };
    }
}

/// Ends the process where nothing moves any more.
fn watch(next: &AtomicUsize, done: &AtomicBool) {
    let begin = Instant::now();
    while !done.load(Ordering::Relaxed) {
        if begin.elapsed() > LIMIT {
            eprintln!("a start hangs: {} of {STARTS} begun", next.load(Ordering::Relaxed).min(STARTS));
            std::process::abort();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Descriptors, children dead or alive, mounts and interfaces.
fn holdings(scratch: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut spares = 0;
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        // The memory of two plans at most is kept for the next starts.
        spares += usize::from(target.to_string_lossy().contains("coracle-plan"));
        let spare = target.to_string_lossy().contains("coracle-plan") && spares <= 2;
        if !target.ends_with("fd") && !spare {
            found.insert(format!("descriptor {} {}", entry.file_name().display(), target.display()));
        }
    }
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().map(|pid| format!("child {pid}")));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mark = scratch.to_str().unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(mark)).map(|line| format!("mount {line}")));
    let interfaces = fs::read_to_string("/proc/self/net/dev").unwrap();
    let names = interfaces.lines().filter_map(|line| line.split_once(':'));
    found.extend(names.filter(|(name, _)| name.contains("veth")).map(|(name, _)| format!("interface {name}")));
    found
}

/// Runs the test once more as a process of its own, whose signals and children are nobody else's.
fn run_alone(test: &str) {
    let own = std::env::current_exe().unwrap();
    let output = std::process::Command::new(own)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    print!("{text}");
}
