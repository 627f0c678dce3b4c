//! Terminals of containers: whose they are, who gets them, and that they lead to no terminal of the host's.

#[path = "support/bundle.rs"]
mod bundle;
#[path = "support/busybox.rs"]
mod busybox;
#[path = "support/mapped.rs"]
mod mapped;
#[path = "support/program.rs"]
mod program;
#[path = "support/tiny.rs"]
mod tiny;

use bundle::{Bundle, wait_until};
use coracle::ExitStatus;
use coracle::runtime::Status;
use mapped::in_user_namespace;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::json;
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// A bundle with a terminal, and the console socket of an engine.
fn with_terminal(name: &str, script: &str) -> (Bundle, UnixListener, PathBuf) {
    let mut bundle = Bundle::new(name, script);
    bundle.config["process"]["terminal"] = json!(true);
    bundle.config["process"]["consoleSize"] = json!({ "height": 33, "width": 111 });
    let path = bundle.scratch().join("console");
    let listener = UnixListener::bind(&path).unwrap();
    (bundle, listener, path)
}

/// What an engine takes from its console socket: the master, and the text that comes along.
#[allow(unsafe_code)]
fn receive_master(listener: &UnixListener) -> (File, String) {
    let (socket, _) = listener.accept().unwrap();
    let (mut text, mut control) = ([0u8; 4096], nix::cmsg_space!([i32; 4]));
    let mut buffers = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut control), flags).unwrap();
    let length = message.bytes;
    let rights: Vec<i32> = message
        .cmsgs()
        .unwrap()
        .flat_map(|control| match control {
            ControlMessageOwned::ScmRights(rights) => rights,
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(rights.len(), 1);
    // SAFETY: the kernel has just installed it for us.
    let master = unsafe { OwnedFd::from_raw_fd(rights[0]) };
    (master.into(), String::from_utf8_lossy(&text[..length]).into_owned())
}

/// Everything until the last process has closed the terminal.
fn read_all(mut master: impl Read) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    // The end of a terminal is EIO.
    while let Ok(count) = master.read(&mut buffer) {
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
}

fn is_terminal(descriptor: impl AsFd) -> bool {
    nix::unistd::isatty(descriptor).unwrap_or(false)
}

const LOOK: &str = "busybox tty; busybox stty size; stat -c '%t:%T %u' /dev/console; test -t 0 && test -t 1 && test -t 2 \
                    && echo all; echo controlling > /dev/tty; cut -d' ' -f5-8 /proc/self/stat | \
                    (read pgrp sid tty fg; [ $sid = $$ ] && [ $tty != 0 ] && echo leader)";

fn check_terminal(mut bundle: Bundle, listener: &UnixListener, path: &std::path::Path, user: u32) {
    bundle.config["process"]["user"] = json!({ "uid": user, "gid": user });
    let container = bundle.runtime().create(bundle.id(), bundle.written()).console_socket(path).create().unwrap();
    let (master, text) = receive_master(listener);
    assert!(is_terminal(&master));
    assert_eq!(text, "/dev/ptmx");
    container.start().unwrap();
    assert_eq!(read_all(&master), format!("/dev/pts/0\n33 111\n88:0 {user}\nall\ncontrolling\nleader\n"));
    wait_until("the end", || container.state().unwrap().status == Status::Stopped);
}

#[test]
fn the_process_has_a_terminal_of_the_container_s_devpts() {
    let (bundle, listener, path) = with_terminal("terminal", LOOK);
    check_terminal(bundle, &listener, &path, 0);
    let (bundle, listener, path) = with_terminal("terminal-user", LOOK);
    check_terminal(bundle, &listener, &path, 12);
}

#[test]
fn rootless_the_process_has_a_terminal_of_the_container_s_devpts() {
    let (bundle, listener, path) = with_terminal("terminal-rootless", LOOK);
    check_terminal(in_user_namespace(bundle), &listener, &path, 0);
}

#[test]
fn a_terminal_of_a_running_container_is_its_own_too() {
    let bundle = Bundle::new("terminal-exec", "sleep 1000");
    let container = bundle.create().unwrap();
    container.start().unwrap();
    let path = bundle.scratch().join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let look = LOOK.replace("stat -c '%t:%T %u' /dev/console;", "").replace("busybox stty size;", "");
    let exec = container.exec(["/bin/sh", "-c", &look]).tty(true).user(7, None);
    let mut executed = exec.console_socket(&path).spawn().unwrap();
    let (master, _) = receive_master(&listener);
    assert!(executed.terminal().is_none());
    assert_eq!(read_all(&master), "/dev/pts/0\nall\ncontrolling\nleader\n");
    assert_eq!(executed.wait().unwrap().status, ExitStatus::Exited(0));
    // Without a console socket the caller has it.
    let mut executed = container.exec(["/bin/sh", "-c", "read line; echo got $line"]).tty(true).spawn().unwrap();
    let mut master = File::from(executed.terminal().unwrap().try_clone_to_owned().unwrap());
    master.write_all(b"words\n").unwrap();
    assert_eq!(executed.wait().unwrap().status, ExitStatus::Exited(0));
    assert_eq!(read_all(&master), "words\ngot words\n");
}

#[test]
fn a_terminal_and_a_console_socket_belong_together() {
    let (bundle, _, path) = with_terminal("terminal-alone", "true");
    let error = bundle.create().unwrap_err();
    assert!(error.to_string().contains("needs a console socket"), "{error}");
    let bundle = Bundle::new("terminal-none", "sleep 1000");
    let error = bundle.runtime().create(bundle.id(), bundle.written()).console_socket(&path).create().unwrap_err();
    assert!(error.to_string().contains("has no terminal"), "{error}");
    let container = bundle.create().unwrap();
    let error = container.exec(["true"]).tty(true).detach().unwrap_err();
    assert!(error.to_string().contains("needs a console socket"), "{error}");
    let (bundle, listener, path) = with_terminal("terminal-gone", "true");
    drop(listener);
    let error = bundle.runtime().create(bundle.id(), bundle.written()).console_socket(&path).create().unwrap_err();
    assert!(error.to_string().contains("connect to the console socket"), "{error}");
}

#[test]
fn a_container_without_devpts_has_no_terminal() {
    let (mut bundle, _listener, path) = with_terminal("terminal-devpts", "true");
    bundle.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev/pts");
    let error = bundle.runtime().create(bundle.id(), bundle.written()).console_socket(&path).create().unwrap_err();
    assert!(error.to_string().contains("the container has no devpts at /dev/pts"), "{error}");
    // What an image puts in its place is not taken for one.
    let (mut bundle, _listener, path) = with_terminal("terminal-fake", "true");
    bundle.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] == "proc");
    std::fs::create_dir_all(bundle.within("dev/pts")).unwrap();
    std::fs::write(bundle.within("dev/pts/ptmx"), "").unwrap();
    let error = bundle.runtime().create(bundle.id(), bundle.written()).console_socket(&path).create().unwrap_err();
    assert!(error.to_string().contains("belongs to no devpts"), "{error}");
}

/// ioctl(0, TIOCSTI, "x"), and the errno as exit status.
#[cfg(target_arch = "x86_64")]
const INJECT: &[u8] = &[
    0xb8, 16, 0, 0, 0, 0x31, 0xff, 0xbe, 0x12, 0x54, 0, 0, 0x48, 0x8d, 0x15, 0x0d, 0, 0, 0, 0x0f, 0x05, 0xf7, 0xd8,
    0x89, 0xc7, 0xb8, 231, 0, 0, 0, 0x0f, 0x05, b'x',
];
/// ioctl(0, TIOCSTI, "x"), and the errno as exit status.
#[cfg(target_arch = "aarch64")]
const INJECT: &[u8] = &[
    0x00, 0x00, 0x80, 0xd2, 0x41, 0x82, 0x8a, 0xd2, 0xc2, 0x00, 0x00, 0x10, 0xa8, 0x03, 0x80, 0xd2, 0x01, 0x00, 0x00,
    0xd4, 0xe0, 0x03, 0x00, 0xcb, 0xc8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4, b'x',
];

/// CVE-2017-5226: a terminal of the host that is a container's standard input is not its controlling one, so nothing can
/// be typed into it for whoever sits at it.
#[test]
fn nothing_typed_by_a_container_reaches_a_terminal_of_the_host() {
    let host = nix::pty::openpty(None, None).unwrap();
    let script = "/tiny; echo $?; /inject; echo $?; echo x > /dev/tty; echo $?; cut -d' ' -f7 /proc/self/stat";
    let bundle = Bundle::new("terminal-inject", script);
    tiny::tiny_program(&bundle.within("tiny"));
    tiny::program(&bundle.within("inject"), INJECT);
    let (reader, writer) = std::io::pipe().unwrap();
    let slave = || coracle::Stream::Descriptor(host.slave.try_clone().unwrap());
    let streams = [slave(), coracle::Stream::Descriptor(writer.into()), slave()];
    let mut running = bundle.runtime().create(bundle.id(), bundle.written()).streams(streams).run().unwrap();
    running.wait().unwrap();
    let text = read_all(File::from(OwnedFd::from(reader)));
    let lines: Vec<&str> = text.lines().collect();
    // EPERM, or EIO where the sysctl dev.tty.legacy_tiocsti is off.
    assert!(lines.len() == 4 && ["1", "5"].contains(&lines[1]), "{text}");
    assert_eq!((lines[0], &lines[2..]), ("0", &["1", "0"][..]));
}
