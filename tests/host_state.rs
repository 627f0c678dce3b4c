//! What the state of the host's process must not do to a payload, and a payload's status must survive.
//!
//! Each test runs itself once more as a process of its own, whose state it may change.

#[path = "support/busybox.rs"]
mod busybox;
#[path = "support/program.rs"]
mod program;

use busybox::busybox_root;
use coracle::{ExitStatus, Root, Sandbox, Stream};
use nix::mount::MsFlags;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::Pid;
use std::io::Read;
use std::path::Path;

const ALONE: &str = "CORACLE_TEST_ALONE";

/// Whether this is the process of the test's own; in the other one, runs it.
fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let output = std::process::Command::new(own)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    false
}

fn sandbox(root: &Path, script: &str) -> Sandbox {
    Sandbox::new(Root::Directory(root.to_owned()), ["/bin/sh", "-c", script])
}

fn printed(sandbox: Sandbox) -> String {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut process = sandbox.stdout(Stream::Descriptor(writer.into())).spawn().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let status = process.wait().unwrap().status;
    assert!(status.success() || (status == ExitStatus::Unknown && !keeps_statuses()), "{status}: {text}");
    text
}

#[allow(unsafe_code)]
fn disposition(signal: Signal, handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: nothing runs in a handler: the signals are ignored or have their default action.
    unsafe { sigaction(signal, &action) }.unwrap();
}

#[test]
fn the_payload_does_not_see_the_state_of_its_host() {
    if !alone("the_payload_does_not_see_the_state_of_its_host") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    busybox_root(root.path());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let processors = status.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    for signal in [Signal::SIGPIPE, Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD, Signal::SIGUSR1] {
        disposition(signal, SigHandler::SigIgn);
    }
    nix::unistd::setgroups(&[1234.into(), 5678.into()]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            SigSet::all().thread_block().unwrap();
            let mut one = CpuSet::new();
            one.set(0).unwrap();
            sched_setaffinity(Pid::from_raw(0), &one).unwrap();
            let text = printed(sandbox(root.path(), "cat /proc/self/status; id -G; env; pwd"));
            for line in [
                "SigBlk:\t0000000000000000",
                "SigIgn:\t0000000000000000",
                "ShdPnd:\t0000000000000000",
                "Umask:\t0022",
                "Groups:\t ",
                processors,
            ] {
                assert!(text.contains(&format!("{line}\n")), "{line:?} in {text}");
            }
            let own = "\n0\nSHLVL=1\nPATH=/sbin:/usr/sbin:/bin:/usr/bin\nPWD=/\n/\n";
            assert!(text.ends_with(own), "no group of the host, no variable but those of the shell: {text}");
        });
    });
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    assert_eq!(mask.bits(), 0o077, "the host's own umask is as it was");
}

#[test]
fn the_status_is_known_where_the_host_ignores_its_children() {
    if !alone("the_status_is_known_where_the_host_ignores_its_children") {
        return;
    }
    disposition(Signal::SIGCHLD, SigHandler::SigIgn);
    let root = tempfile::tempdir().unwrap();
    busybox_root(root.path());
    let end =
        |script: &str, init: bool| sandbox(root.path(), script).init(init).spawn().unwrap().wait().unwrap().status;
    for _ in 0..20 {
        assert_eq!(end("exit 7", true), ExitStatus::Exited(7), "an init writes it down");
        let status = end("exit 7", false);
        if keeps_statuses() {
            assert_eq!(status, ExitStatus::Exited(7));
            let mut process = sandbox(root.path(), "sleep 100").spawn().unwrap();
            process.kill(libc::SIGKILL).unwrap();
            assert_eq!(process.wait().unwrap().status, ExitStatus::Signaled(9));
        } else {
            assert_eq!(status, ExitStatus::Unknown, "never guessed");
        }
    }
}

/// Whether the kernel keeps the status of a process with its descriptor: since 6.15.
fn keeps_statuses() -> bool {
    let name = nix::sys::utsname::uname().unwrap();
    let release = name.release().to_str().unwrap().to_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 15)
}

#[test]
fn a_host_that_waits_for_every_child_takes_nothing_away() {
    if !alone("a_host_that_waits_for_every_child_takes_nothing_away") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    busybox_root(root.path());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = nix::sys::wait::waitpid(None, None);
            }
        });
        for code in 0..50 {
            let status = sandbox(root.path(), &format!("exit {code}")).spawn().unwrap().wait().unwrap().status;
            assert!(
                status == ExitStatus::Exited(code) || (!keeps_statuses() && status == ExitStatus::Unknown),
                "{status} is not {code}"
            );
        }
        let failed = Sandbox::new(Root::Directory(root.path().to_owned()), ["/nothing"]).spawn().unwrap_err();
        assert_eq!(failed.kind(), coracle::ErrorKind::Exec);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// What is mounted on top of the host's root takes the place of the old root when that is unmounted, and `..` would
/// lead there.
#[test]
fn mounts_on_top_of_the_hosts_root_lead_nowhere() {
    if !alone("mounts_on_top_of_the_hosts_root_lead_nowhere") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    busybox_root(root.path());
    // This thread's own mount namespace: the launch thread, which it starts, inherits it.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let nothing = None::<&str>;
    nix::mount::mount(nothing, "/", nothing, MsFlags::MS_PRIVATE | MsFlags::MS_REC, nothing).unwrap();
    for _ in 0..3 {
        nix::mount::mount(Some("none"), "/", Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
    }
    for init in [false, true] {
        let text =
            printed(sandbox(root.path(), "ls /.. /../.. ; cd /..; ls; cut -d' ' -f5 /proc/self/mountinfo").init(init));
        let listing = "bin\ndev\nproc\nsys\n";
        let expected = format!("/..:\n{listing}\n/../..:\n{listing}{listing}/\n/proc\n/dev\n");
        assert!(text.starts_with(&expected), "{text}");
    }
}
