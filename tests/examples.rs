//! Every example runs, and says what it is there to show.

#[path = "support/namespace.rs"]
mod namespace;

use namespace::in_network_namespace;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An account of nobody's.
const ORDINARY_USER: &str = "54321";

#[test]
fn the_quickstart_runs_as_root() {
    let scratch = tempfile::tempdir().unwrap();
    let text = run(Command::new(example("quickstart")).current_dir(scratch.path()));
    for part in ["Hello from a coracle", "[1/5] FROM", "(cached)", "exited with 0", "interfaces: lo", "start took"] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    assert!(text.contains("killed by the kernel for exceeding its memory limit"), "{text}");
}

#[test]
fn the_quickstart_runs_as_an_ordinary_user() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = scratch.path().join("quickstart");
    std::fs::copy(example("quickstart"), &program).unwrap();
    let home = scratch.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let id = ORDINARY_USER.parse().ok();
    std::os::unix::fs::chown(&home, id, id).unwrap();
    let as_user = ["--reuid", ORDINARY_USER, "--regid", ORDINARY_USER, "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(as_user).arg(&program).current_dir(&home).env("HOME", &home).env_remove("XDG_RUNTIME_DIR");
    let text = run(&mut command);
    for part in ["Hello from a coracle", "I am user 0", "exited with 0", "interfaces: lo", "is not enforced"] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}

#[test]
fn the_rollout_loses_no_request() {
    let scratch = tempfile::tempdir().unwrap();
    let text = in_network_namespace(|| run(Command::new(example("rollout")).current_dir(scratch.path())));
    for part in [
        "=> revision 2 is live",
        "=> back on revision 2: revision 3 failed (",
        "available in time: health check: status 503)",
        "=> back on revision 2: revision 4 failed (its replicas crashed ",
        " times: exited with 1)",
        "scaled from 3 to 5 replicas",
        "scaled from 5 to 2 replicas",
        "requests lost  0",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}

/// The built example: cargo puts it beside the directory of the tests.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap_or(Path::new("/")).join("examples").join(name);
    assert!(path.is_file(), "{} is not built: cargo build --examples", path.display());
    path
}

fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}:\n{text}");
    text
}
