//! Processes of containers in the foreground of a program: its signals and its terminal are theirs meanwhile.

#[path = "support/bundle.rs"]
mod bundle;
#[path = "support/busybox.rs"]
mod busybox;
#[path = "support/mapped.rs"]
mod mapped;
#[path = "support/program.rs"]
mod program;

use bundle::{Bundle, wait_until};
use mapped::in_user_namespace;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The command line over the library: cargo puts examples beside the directory of the tests.
fn runtime() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples/runtime");
    assert!(path.is_file(), "{} is not built: cargo build --examples", path.display());
    path
}

/// The runtime with the state directory of the test.
fn started(bundle: &Bundle, arguments: &[&str], stream: impl Fn() -> Stdio) -> Child {
    let mut command = Command::new(runtime());
    command.arg("--root").arg(bundle.scratch().join("state")).args(arguments);
    command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap()
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

fn terminal() -> OpenptyResult {
    openpty(&Winsize { ws_row: 21, ws_col: 84, ws_xpixel: 0, ws_ypixel: 0 }, None).unwrap()
}

/// What is shown until `end` has been.
fn read_until(mut master: &File, seen: &mut String, end: &str) {
    let mut buffer = [0; 1024];
    while !seen.contains(end) {
        let count = master.read(&mut buffer).unwrap_or_else(|error| panic!("{error}, after {seen:?}"));
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

fn slave(pty: &OpenptyResult) -> impl Fn() -> Stdio + '_ {
    || Stdio::from(pty.slave.try_clone().unwrap())
}

const TALK: &str = "trap 'echo resized; busybox stty size' WINCH; busybox tty; busybox stty size; echo ready; \
                    while read line; do echo \"got $line\"; [ \"$line\" = end ] && exit 7; done";

/// A conversation with the shell of [`TALK`] over the terminal of whoever called.
fn converse(pty: &OpenptyResult, child: &mut Child) {
    let mut master = File::from(pty.master.try_clone().unwrap());
    let mut seen = String::new();
    read_until(&master, &mut seen, "ready\r\n");
    assert!(seen.contains("/dev/pts/0\r\n21 84\r\n"), "{seen}");
    let raw = tcgetattr(&pty.slave).unwrap();
    assert!(!raw.local_flags.intersects(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG), "it is raw");
    // With echo by the inner terminal alone.
    master.write_all(b"words\r").unwrap();
    read_until(&master, &mut seen, "got words\r\n");
    assert_eq!(seen.matches("words").count(), 2, "{seen}");
    master.write_all(b"end\r").unwrap();
    read_until(&master, &mut seen, "got end\r\n");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(tcgetattr(&pty.slave).unwrap().local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON), "restored");
}

fn check_terminal(mut bundle: Bundle) {
    bundle.config["process"]["terminal"] = json!(true);
    let path = bundle.written();
    let pty = terminal();
    let mut child = started(&bundle, &["run", "--bundle", path.to_str().unwrap(), bundle.id()], slave(&pty));
    converse(&pty, &mut child);
    assert!(bundle.runtime().list().unwrap().is_empty(), "it is deleted");
}

#[test]
fn the_terminal_of_the_caller_is_the_container_s() {
    check_terminal(Bundle::new("foreground-terminal", TALK));
}

#[test]
fn rootless_the_terminal_of_the_caller_is_the_container_s() {
    check_terminal(in_user_namespace(Bundle::new("foreground-rootless", TALK)));
}

#[test]
fn the_terminal_of_the_caller_is_that_of_a_process_in_a_running_container() {
    let bundle = Bundle::new("foreground-exec", "sleep 1000");
    let container = bundle.create().unwrap();
    container.start().unwrap();
    let pty = terminal();
    let arguments = ["exec", "--tty", bundle.id(), "/bin/sh", "-c", TALK];
    converse(&pty, &mut started(&bundle, &arguments, slave(&pty)));
}

#[test]
fn a_new_size_of_the_caller_s_terminal_is_passed_on() {
    let mut bundle = Bundle::new("foreground-size", TALK);
    bundle.config["process"]["terminal"] = json!(true);
    let path = bundle.written();
    let pty = terminal();
    let mut child = started(&bundle, &["run", "--bundle", path.to_str().unwrap(), bundle.id()], slave(&pty));
    let mut master = File::from(pty.master.try_clone().unwrap());
    let mut seen = String::new();
    read_until(&master, &mut seen, "ready\r\n");
    let resized = Command::new("stty").args(["rows", "44", "cols", "99"]).stdin(slave(&pty)()).status().unwrap();
    assert!(resized.success());
    // It is not the controlling terminal of the runtime, so nobody tells it.
    kill(pid_of(&child), Signal::SIGWINCH).unwrap();
    // A shell runs traps between commands.
    wait_until("the new size", || {
        master.write_all(b"x\r").unwrap();
        read_until(&master, &mut seen, "got x\r\n");
        let resized = seen.contains("resized");
        seen = seen.replace("got x", "");
        resized
    });
    read_until(&master, &mut seen, "44 99\r\n");
    master.write_all(b"end\r").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

fn signalled(bundle: &Bundle, arguments: &[&str]) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = started(bundle, arguments, || Stdio::from(writer.try_clone().unwrap()));
    drop(writer);
    let output = File::from(OwnedFd::from(reader));
    let mut seen = String::new();
    read_until(&output, &mut seen, "ready\n");
    let runtime = pid_of(&child);
    kill(runtime, Signal::SIGUSR1).unwrap();
    read_until(&output, &mut seen, "usr1\n");
    kill(runtime, Signal::SIGTERM).unwrap();
    read_until(&output, &mut seen, "term\n");
    assert_eq!(child.wait().unwrap().code(), Some(9), "{seen}");
}

const TRAPS: &str = "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done";

#[test]
fn signals_of_the_caller_are_passed_on() {
    let bundle = Bundle::new("foreground-signals", TRAPS);
    let path = bundle.written();
    signalled(&bundle, &["run", "--bundle", path.to_str().unwrap(), bundle.id()]);
    let bundle = Bundle::new("foreground-signals-exec", "sleep 1000");
    let container = bundle.create().unwrap();
    container.start().unwrap();
    signalled(&bundle, &["exec", bundle.id(), "/bin/sh", "-c", TRAPS]);
}

#[test]
fn statuses_are_those_of_the_process_and_255_where_there_is_none() {
    let bundle = Bundle::new("foreground-status", "exit 42");
    let path = bundle.written();
    let code = |bundle: &Bundle, arguments: &[&str]| started(bundle, arguments, Stdio::null).wait().unwrap().code();
    assert_eq!(code(&bundle, &["run", "-b", path.to_str().unwrap(), bundle.id()]), Some(42));
    let bundle = Bundle::new("foreground-status-exec", "sleep 1000");
    std::fs::write(bundle.within("plain"), "").unwrap();
    let container = bundle.create().unwrap();
    container.start().unwrap();
    assert_eq!(code(&bundle, &["exec", bundle.id(), "/plain"]), Some(255));
    assert_eq!(code(&bundle, &["exec", bundle.id(), "/bin/sh", "-c", "exit 43"]), Some(43));
    assert_eq!(code(&bundle, &["exec", bundle.id(), "/bin/sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(code(&bundle, &["exec", bundle.id(), "none"]), Some(255));
    let file = bundle.scratch().join("pid");
    assert_eq!(
        code(&bundle, &["exec", "-d", "--pid-file", file.to_str().unwrap(), bundle.id(), "/bin/sleep", "1000"]),
        Some(0)
    );
    let pid = std::fs::read_to_string(file).unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
}
