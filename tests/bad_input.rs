//! What people get wrong, and what machines lack: each time one line that says where, why and what to do, and a store as
//! before.

#[path = "support/http.rs"]
mod http;
#[path = "support/namespace.rs"]
mod namespace;
#[path = "support/program.rs"]
mod program;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/scratch.rs"]
mod scratch;

use coracle::cgroup::Limits;
use coracle::{Engine, EngineOptions, Error, ErrorKind, Image, Memory, Network};
use namespace::{in_network_namespace, require_root};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use registry::Registry;
use scratch::Scratch;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;

fn open(scratch: &Scratch) -> Engine {
    EngineOptions::new(scratch.root()).run_directory(scratch.run()).open().unwrap()
}

/// An image of one shell.
fn base(engine: &Engine) -> Image {
    let builder = engine.image_builder().from_host(["/bin/sh"]).unwrap();
    builder.command(["/bin/sh"]).tag("host/base:latest").commit().unwrap()
}

/// Every name below `directory`.
fn names(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        found.insert(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(names(&entry.path()));
        }
    }
    found
}

/// The error of a build of `dockerfile`; the store is as it was before.
fn build_error(engine: &Engine, scratch: &Scratch, dockerfile: &str) -> Error {
    scratch.file("context/Dockerfile", dockerfile);
    engine.collect_garbage().unwrap();
    let before = names(&scratch.root());
    let images = engine.images().unwrap();
    let error = engine.build(scratch.path().join("context")).tag("test/wrong:1").run().unwrap_err();
    assert_eq!(engine.images().unwrap(), images);
    engine.collect_garbage().unwrap();
    let left: Vec<String> = names(&scratch.root()).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left in the store: {left:#?}");
    error
}

#[track_caller]
fn assert_says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    let text = error.to_string();
    let text = match error.remedy() {
        Some(remedy) if !text.contains(remedy) => format!("{text} (hint: {remedy})"),
        _ => text,
    };
    assert!(!text.contains('\n'), "one line: {text}");
    assert_eq!(error.kind(), kind, "{text}");
    let missing: Vec<&&str> = parts.iter().filter(|part| !text.contains(**part)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in: {text}");
}

#[test]
fn an_unknown_instruction_is_named_with_its_line() {
    let scratch = Scratch::new("unknown");
    let engine = open(&scratch);
    let error = build_error(&engine, &scratch, "FROM scratch\n\n# fine\nCOPPY a b\n");
    assert_says(&error, ErrorKind::InvalidInput, &["Dockerfile:4", "COPPY", "hint", "COPY"]);
}

#[test]
fn a_missing_source_is_named_with_its_line() {
    let scratch = Scratch::new("source");
    let engine = open(&scratch);
    scratch.file("context/app.py", "");
    let error = build_error(&engine, &scratch, "FROM scratch\nCOPY app.pyy /\n");
    assert_says(&error, ErrorKind::NotFound, &["Dockerfile:2", "app.pyy", "context", "hint"]);
}

#[test]
fn a_source_outside_the_context_is_refused() {
    let scratch = Scratch::new("outside");
    let engine = open(&scratch);
    scratch.file("secret", "secret");
    let error = build_error(&engine, &scratch, "FROM scratch\nCOPY ../secret /\n");
    assert_says(&error, ErrorKind::InvalidInput, &["Dockerfile:2", "../secret", "context", "hint"]);
    // A link leads out no better.
    std::os::unix::fs::symlink("..", scratch.path().join("context/up")).unwrap();
    let error = build_error(&engine, &scratch, "FROM scratch\nCOPY up/secret /\n");
    assert_says(&error, ErrorKind::NotFound, &["Dockerfile:2", "up/secret"]);
}

#[test]
fn a_base_image_that_does_not_exist_is_named_with_its_line() {
    in_network_namespace(|| {
        let scratch = Scratch::new("no-base");
        let engine = open(&scratch);
        let error = build_error(&engine, &scratch, "FROM no/such:1.0\n");
        assert_says(&error, ErrorKind::NotFound, &["Dockerfile:1", "no/such:1.0", "store", "hint", "pull"]);
        let registry = Registry::start();
        let name = format!("{}/no/such:1.0", registry.host());
        let error = build_error(&engine, &scratch, &format!("# one\nFROM {name}\n"));
        assert_says(&error, ErrorKind::NotFound, &["Dockerfile:2", &name]);
    });
}

#[test]
fn a_registry_that_is_down_is_named() {
    in_network_namespace(|| {
        let scratch = Scratch::new("down");
        let engine = open(&scratch);
        let name = "127.0.0.1:5999/library/app:1.0";
        let error = build_error(&engine, &scratch, &format!("FROM {name}\n"));
        assert_says(&error, ErrorKind::Unavailable, &["Dockerfile:1", name, "refused"]);
        let error = engine.image(name).unwrap().pull().unwrap_err();
        assert_says(&error, ErrorKind::Unavailable, &[name, "refused", "hint"]);
        assert!(engine.images().unwrap().is_empty());
    });
}

#[test]
fn a_port_that_is_taken_is_named() {
    in_network_namespace(|| {
        let scratch = Scratch::new("port");
        let engine = open(&scratch);
        let image = base(&engine);
        let _listener = TcpListener::bind("0.0.0.0:8080").unwrap();
        let container = || engine.container(&image).name("web").publish(8080, 80).command(["/bin/sh", "-c", ":"]);
        assert_says(&container().detach().unwrap_err(), ErrorKind::InUse, &["web", "8080", "hint"]);
        assert_says(&container().output().unwrap_err(), ErrorKind::InUse, &["web", "8080", "hint"]);
        assert!(engine.containers().unwrap().is_empty());
        assert!(engine.find_container("web").is_err());
        // The name is free again.
        engine
            .container(&image)
            .name("web")
            .network(Network::None)
            .command(["/bin/sh"])
            .detach()
            .unwrap()
            .wait()
            .unwrap();
        engine.find_container("web").unwrap().remove().unwrap();
    });
}

/// A store on a file system that an image's layer does not fit, in a mount namespace of this thread's own.
#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    in_network_namespace(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let registry = Registry::start();
        let name = format!("{}/big:1", registry.host());
        push_big(&name);

        let scratch = Scratch::new("full");
        let sized = |flags, size: &str| {
            mount(Some("tmpfs"), &scratch.root(), Some("tmpfs"), flags, Some(format!("size={size}").as_str())).unwrap();
        };
        sized(MsFlags::empty(), "8m");
        let engine = open(&scratch);
        let image = engine.image(&name).unwrap().pull().unwrap();
        let before = names(&scratch.root());
        let run = || engine.container(&image).network(Network::None).command(["/bin/sh", "-c", ":"]).output();
        assert_says(&run().unwrap_err(), ErrorKind::ResourceExhausted, &["ENOSPC", "hint"]);
        let after = names(&scratch.root());
        let left: Vec<&String> = after.difference(&before).filter(|name| !name.contains("/layers/")).collect();
        assert!(left.is_empty(), "left in the store: {left:#?}");
        assert!(!after.iter().any(|name| name.contains("zeroes")), "a layer is whole or not there");
        sized(MsFlags::MS_REMOUNT, "128m");
        assert!(run().unwrap().status.success());
        drop(engine);
        nix::mount::umount2(&scratch.root(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
}

/// Pushes an image with 32 MiB that take a few kilobytes on the way.
fn push_big(name: &str) {
    let scratch = Scratch::new("big");
    let engine = open(&scratch);
    let zeroes = scratch.file("zeroes", vec![0; 32 << 20]);
    let builder = engine.image_builder().from_host(["/bin/sh"]).unwrap();
    builder.copy(zeroes, "/zeroes").tag("test/big:1").commit().unwrap();
    engine.image("test/big:1").unwrap().push(name).unwrap();
}

#[test]
fn a_memory_limit_too_small_to_start_is_said() {
    require_root();
    let scratch = Scratch::new("small");
    let engine = open(&scratch);
    let image = base(&engine);
    let container = |memory| {
        let limits = Limits::new().memory(memory);
        engine.container(&image).name("small").network(Network::None).limits(limits).command(["/bin/sh", "-c", ":"])
    };
    let tiny = || container(Memory::bytes(4096));
    assert_says(&tiny().output().unwrap_err(), ErrorKind::InvalidInput, &["limit memory", "too small", "hint"]);
    assert_says(&tiny().detach().unwrap_err(), ErrorKind::InvalidInput, &["limit memory", "too small", "hint"]);
    // Where the least is too little for a start, that is an error; else the command is killed, which is its end.
    let greedy = "text=0123456789abcdef; while :; do text=$text$text; done";
    match container(Limits::MINIMUM_MEMORY).command(["/bin/sh", "-c", greedy]).output() {
        Ok(output) => assert!(output.oom_killed && !output.status.success(), "{output:?}"),
        Err(error) => assert_says(&error, ErrorKind::ResourceExhausted, &["small", "memory", "hint"]),
    }
    assert!(engine.containers().unwrap().is_empty());
}

/// An ordinary user on a host that allows them no user namespaces: a user namespace of the test's own plays it, in which
/// the number of further ones is 0.
#[test]
fn user_namespaces_that_are_forbidden_name_the_setting() {
    const INNER: &str = "CORACLE_TEST_FORBIDDEN";
    let name = "user_namespaces_that_are_forbidden_name_the_setting";
    if let Some(directory) = std::env::var_os(INNER) {
        let engine = EngineOptions::new(Path::new(&directory).join("engine"))
            .run_directory(Path::new(&directory).join("engine-run"))
            .open()
            .unwrap();
        assert!(!nix::unistd::geteuid().is_root());
        let image = base(&engine);
        let error = engine.container(&image).network(Network::None).output().unwrap_err();
        assert_says(&error, ErrorKind::ResourceExhausted, &["user namespace", "hint", "user.max_user_namespaces"]);
        return;
    }
    require_root();
    let scratch = Scratch::new("forbidden");
    let own = scratch.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &own).unwrap();
    let user = 54321;
    std::os::unix::fs::chown(scratch.path(), Some(user), Some(user)).unwrap();
    let script = "read go && echo 0 > /proc/sys/user/max_user_namespaces && \
        exec setpriv --reuid 54321 --regid 54321 --clear-groups \"$0\" --exact --nocapture \"$1\"";
    let mut child = std::process::Command::new("unshare")
        .args(["--user", "--keep-caps", "sh", "-c", script])
        .args([own.as_os_str(), name.as_ref()])
        .env(INNER, scratch.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_namespace(child.id());
    for map in ["uid_map", "gid_map"] {
        let text = format!("0 0 1\n{user} {user} 1\n");
        std::fs::write(format!("/proc/{}/{map}", child.id()), text).unwrap();
    }
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"go\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// Until the process has a user namespace of its own.
fn wait_for_namespace(process: u32) {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).unwrap();
    let begin = std::time::Instant::now();
    while namespace(&process.to_string()) == namespace("self") {
        assert!(begin.elapsed() < std::time::Duration::from_secs(10), "unshare made no user namespace");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
