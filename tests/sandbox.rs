//! Whole starts through the public low-level type.

use coracle::cgroup::{Cgroup, Limits, Policy};
use coracle::{ExitStatus, Memory, NetworkMode, Root, Sandbox, Stream};
use std::io::Read;
use std::path::Path;

/// A root directory with a static busybox and nothing else.
fn busybox_root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("bin")).unwrap();
    std::fs::copy("/bin/busybox", root.path().join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "ls", "id", "true", "ps", "mount", "sleep", "echo", "grep", "hostname", "touch"] {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(name)).unwrap();
    }
    root
}

fn sandbox(root: &Path, script: &str) -> Sandbox {
    Sandbox::new(Root::Directory(root.to_owned()), ["/bin/sh", "-c", script])
}

fn output(sandbox: Sandbox) -> (ExitStatus, String) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let error = writer.try_clone().unwrap();
    let mut process =
        sandbox.stdout(Stream::Descriptor(writer.into())).stderr(Stream::Descriptor(error.into())).spawn().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    (process.wait().unwrap().status, text)
}

#[test]
fn a_command_runs_as_pid_1_in_its_own_namespaces() {
    let root = busybox_root();
    let (status, text) =
        output(sandbox(root.path(), "echo $$; hostname; ls /; ls /proc/self/fd | grep -c .").hostname("boat"));
    assert_eq!(status, ExitStatus::Exited(0), "{text}");
    assert_eq!(text, "1\nboat\nbin\ndev\nproc\nsys\n4\n");
}

#[test]
fn an_init_reaps_and_passes_signals_on() {
    let root = busybox_root();
    let mut process = sandbox(root.path(), "sleep 100 & sleep 100").init(true).spawn().unwrap();
    process.kill(15).unwrap();
    assert_eq!(process.wait().unwrap().status, ExitStatus::Signaled(15));
}

#[test]
fn a_missing_program_is_named() {
    let root = busybox_root();
    let error = Sandbox::new(Root::Directory(root.path().to_owned()), ["nothing-here"]).spawn().unwrap_err();
    assert_eq!(error.kind(), coracle::ErrorKind::Exec);
    assert!(error.to_string().starts_with("execute nothing-here: no such file or directory (ENOENT)"), "{error}");
}

#[test]
fn the_host_network_is_there_only_when_asked_for() {
    let root = busybox_root();
    let (_, text) = output(sandbox(root.path(), "ls /sys/class/net"));
    assert_eq!(text, "lo\n");
    let (_, text) = output(sandbox(root.path(), "ls /sys/class/net").network(NetworkMode::Host));
    assert!(text.contains("lo\n") && text.lines().count() > 1, "{text}");
}

#[test]
fn a_process_begins_in_its_control_group() {
    let root = busybox_root();
    let name = format!("coracle-test-sandbox/{}", std::process::id());
    let limits = Limits::new().memory(Memory::mib(64)).pids(20);
    let (group, _) = Cgroup::create(&name, &limits, Policy::Strict).unwrap();
    let (status, text) = output(sandbox(root.path(), "cat /proc/self/cgroup; :").cgroup(&group));
    assert_eq!(status, ExitStatus::Exited(0));
    assert!(text.lines().any(|line| line.ends_with(":/")), "the root of its own control group namespace: {text}");
    let (status, text) = output(sandbox(root.path(), "x=1; while :; do x=$x$x; done").cgroup(&group));
    assert_eq!(status, ExitStatus::Signaled(9), "{text}");
    assert_eq!(group.oom_kills().unwrap(), 1);
    assert!(group.processes().unwrap().is_empty());
    group.remove().unwrap();
}
