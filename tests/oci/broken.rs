//! Bundles that are wrong: each gets one line that names what and where, the exit code 1, an entry in the log, and leaves nothing.

use crate::case::Case;
use crate::peer::Peer;
use crate::row::{Row, push, refused};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

pub mod linux;

pub fn rows() -> Vec<Row> {
    [files(), roots(), processes(), users()].into_iter().flatten().collect()
}

/// A kind of brokenness by its change to the configuration.
fn broken(name: &'static str, patch: Value, parts: &[&str]) -> Row {
    Row::new("broken", name).patch(patch).refuses(parts)
}

/// One whose `config.json` is these bytes.
fn bytes(name: &'static str, content: fn(&Case, &str) -> Vec<u8>, parts: &'static [&'static str]) -> Row {
    Row::new("broken", name).steps(move |case, config| {
        let text = case.fill(&config(":").to_string());
        case.file("bundle/config.json", content(case, &text));
        let outcome = case.with_bundle("run", &[]);
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        refused(case, &outcome, &parts).unwrap_or_else(|why| panic!("{why}"));
    })
}

fn files() -> Vec<Row> {
    vec![
        Row::new("broken", "config.json is missing").steps(|case, _| {
            let outcome = case.with_bundle("run", &[]);
            refused(case, &outcome, &["config.json".into(), "ENOENT".into()]).unwrap_or_else(|why| panic!("{why}"));
        }),
        Row::new("broken", "config.json is a directory").steps(|case, _| {
            fs::create_dir(case.bundle().join("config.json")).expect("a directory");
            let outcome = case.with_bundle("run", &[]);
            refused(case, &outcome, &["config.json".into(), "directory".into()]).unwrap_or_else(|why| panic!("{why}"));
        }),
        Row::new("broken", "config.json is a pipe")
            .steps(|case, _| {
                nix::unistd::mkfifo(&case.bundle().join("config.json"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
                let outcome = case.with_bundle("run", &[]);
                refused(case, &outcome, &["config.json".into()]).unwrap_or_else(|why| panic!("{why}"));
            })
            .not(Peer::Runc, "waits for a writer")
            .not(Peer::Crun, "waits for a writer"),
        bytes("config.json is empty", |_, _| Vec::new(), &["config.json", "line 1"]),
        bytes("config.json is no JSON", |_, _| b"boat: coracle\n".to_vec(), &["config.json", "line 1"]),
        bytes("config.json is cut off", |_, text| text.as_bytes()[..text.len() / 2].to_vec(), &["config.json", "EOF"]),
        bytes(
            "config.json goes on after its end",
            |_, text| format!("{text} {{}}").into_bytes(),
            &["config.json", "trailing"],
        )
        .not(Peer::Runc, "reads no further")
        .not(Peer::Crun, "reads no further"),
        bytes("config.json is no object", |_, _| b"[1, 2]".to_vec(), &["config.json"]),
        bytes(
            "config.json is no UTF-8",
            |_, text| text.replace("boat", "b@at").bytes().map(|byte| if byte == b'@' { 0xff } else { byte }).collect(),
            &["config.json"],
        )
        .not(Peer::Runc, "replaces it")
        .not(Peer::Crun, "passes it on"),
        bytes(
            "config.json is huge",
            |_, text| {
                let mut all = text.as_bytes().to_vec();
                all.resize(64 << 20, b' ');
                all
            },
            &["config.json", "longer"],
        )
        .not(Peer::Runc, "has no budget")
        .not(Peer::Crun, "has no budget"),
        bytes(
            "config.json is deep",
            |_, _| format!("{{\"annotations\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes(),
            &["config.json"],
        ),
        bytes(
            "a field has another type",
            |_, text| text.replace("\"cwd\":\"/\"", "\"cwd\":7").into_bytes(),
            &["config.json", "line 1"],
        ),
        bytes(
            "a number is too large",
            |_, text| text.replace("\"uid\":0", "\"uid\":4294967296").into_bytes(),
            &["config.json", "4294967296"],
        ),
        bytes(
            "a number is negative",
            |_, text| text.replace("\"uid\":0", "\"uid\":-1").into_bytes(),
            &["config.json", "-1"],
        ),
        broken("ociVersion is missing", json!({ "ociVersion": null }), &["ociVersion"])
            .not(Peer::Runc, "reads it nowhere")
            .not(Peer::Crun, "needs none"),
        broken("ociVersion is no version", json!({ "ociVersion": "boat" }), &["ociVersion", "boat"])
            .not(Peer::Runc, "reads it nowhere"),
        broken("ociVersion is of tomorrow", json!({ "ociVersion": "2.0.0" }), &["ociVersion", "2.0.0"])
            .not(Peer::Runc, "reads it nowhere"),
    ]
}

fn roots() -> Vec<Row> {
    vec![
        broken("root is missing", json!({ "root": null }), &["root"]),
        broken("root.path is not there", json!({ "root": { "path": "nowhere" } }), &["nowhere", "ENOENT"]),
        broken(
            "root.path is a file",
            json!({ "root": { "path": "config.json" } }),
            &["config.json", "not a directory"],
        ),
        broken("root.path is empty", json!({ "root": { "path": "" } }), &["root.path"])
            .not(Peer::Runc, "takes the bundle")
            .not(Peer::Crun, "takes the bundle"),
        broken("root.path holds a NUL", json!({ "root": { "path": "a\u{0}b" } }), &["root.path"]),
    ]
}

fn processes() -> Vec<Row> {
    let process = |name: &'static str, fields: Value, parts: &[&str]| broken(name, json!({ "process": fields }), parts);
    vec![
        broken("process is missing", json!({ "process": null }), &["process"]).not(Peer::Crun, "of 1.8 crashes"),
        process("process.args is missing", json!({ "args": null }), &["process.args"]),
        process("process.args is empty", json!({ "args": [] }), &["process.args"]),
        process("process.args starts with nothing", json!({ "args": [""] }), &["process.args"]),
        process("process.args holds a NUL", json!({ "args": ["sh", "a\u{0}b"] }), &["process.args"])
            .not(Peer::Crun, "cuts it off"),
        process("process.cwd is relative", json!({ "cwd": "bin" }), &["process.cwd", "absolute"]),
        process("process.cwd is missing", json!({ "cwd": null }), &["cwd"]).not(Peer::Crun, "takes /"),
        process("process.cwd is a file", json!({ "cwd": "/bin/busybox" }), &["/bin/busybox", "ENOTDIR"]),
        process("process.cwd is below a file", json!({ "cwd": "/bin/busybox/x" }), &["/bin/busybox/x", "ENOTDIR"]),
        process("the program is missing", json!({ "args": ["/bin/nobody"] }), &["/bin/nobody", "ENOENT"]),
        process("the program is not in PATH", json!({ "args": ["nobody"] }), &["nobody", "PATH"]),
        process("the program is a directory", json!({ "args": ["/bin"] }), &["/bin", "EACCES"]),
        process("the program is not executable", json!({ "args": ["/file"] }), &["/file", "EACCES"])
            .edit(|_, case| drop(case.file("bundle/rootfs/file", "#!/bin/sh\n"))),
        process("the program has no format", json!({ "args": ["/file"] }), &["/file", "ENOEXEC"]).edit(|_, case| {
            let path = case.file("bundle/rootfs/file", "\u{1}\u{2}\u{3}\u{4}");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
        }),
        process(
            "the program's interpreter is missing",
            json!({ "args": ["/file"] }),
            &["/file", "ENOENT", "interpreter"],
        )
        .edit(|_, case| {
            let path = case.file("bundle/rootfs/file", "#!/bin/nobody\n");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
        }),
        process("an environment variable has no name", json!({ "env": ["=x"] }), &["process.env"])
            .not(Peer::Crun, "passes it on")
            .not(Peer::Runc, "passes it on"),
        process(
            "an environment variable has no value",
            json!({ "env": ["PATH=/bin", "BOAT"] }),
            &["process.env", "BOAT"],
        )
        .not(Peer::Crun, "passes it on")
        .not(Peer::Runc, "of 1.1 passes some on"),
        process("an environment variable holds a NUL", json!({ "env": ["PATH=/bin", "A=a\u{0}b"] }), &["process.env"])
            .not(Peer::Crun, "cuts it off"),
        process("a terminal without a console socket", json!({ "terminal": true }), &["terminal", "console"]).steps(
            |case, config| {
                case.write(&config(":"));
                let outcome = case.with_bundle("create", &[]);
                refused(case, &outcome, &["process.terminal".into(), "console".into()])
                    .unwrap_or_else(|why| panic!("{why}"));
            },
        ),
        Row::new("broken", "a console socket without a terminal")
            .steps(|case, config| {
                case.write(&config(":"));
                let socket = case.path().join("console");
                let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
                let outcome = case.with_bundle("create", &["--console-socket", &socket.to_string_lossy()]);
                refused(case, &outcome, &["process.terminal".into(), "console".into()])
                    .unwrap_or_else(|why| panic!("{why}"));
            })
            .not(Peer::Crun, "ignores it"),
        Row::new("broken", "nobody at the console socket").patch(json!({ "process": { "terminal": true } })).steps(
            |case, config| {
                case.write(&config(":"));
                let outcome = case.with_bundle("create", &["--console-socket", "/nowhere/socket"]);
                refused(case, &outcome, &["/nowhere/socket".into()]).unwrap_or_else(|why| panic!("{why}"));
            },
        ),
    ]
}

fn users() -> Vec<Row> {
    let process = |name: &'static str, fields: Value, parts: &[&str]| broken(name, json!({ "process": fields }), parts);
    let limits = |list: Value| json!({ "rlimits": list });
    vec![
        Row::new("broken", "the user has no number in the namespace").edit(in_user_namespace).patch(json!({ "process": { "user": { "uid": 70_000 } } })).refuses(&["process.user.uid", "70000"]),
        Row::new("broken", "the group has no number in the namespace").edit(in_user_namespace).patch(json!({ "process": { "user": { "gid": 70_000 } } })).refuses(&["process.user.gid", "70000"]),
        Row::new("broken", "an additional group has no number in the namespace").edit(in_user_namespace).patch(json!({ "process": { "user": { "additionalGids": [70_000] } } })).refuses(&["process.user.additionalGids", "70000"]),
        process("umask beyond 0777", json!({ "user": { "umask": 4096 } }), &["process.user.umask"]).not(Peer::Runc, "cuts it off").not(Peer::Crun, "cuts it off"),
        process("oomScoreAdj beyond 1000", json!({ "oomScoreAdj": 1001 }), &["process.oomScoreAdj"]),
        process("an unknown rlimit", limits(json!([{ "type": "RLIMIT_BOAT", "soft": 1, "hard": 1 }])), &["RLIMIT_BOAT"]),
        process("the same rlimit twice", limits(json!([{ "type": "RLIMIT_NOFILE", "soft": 9, "hard": 9 }, { "type": "RLIMIT_NOFILE", "soft": 8, "hard": 8 }])), &["process.rlimits[1]", "RLIMIT_NOFILE"]).not(Peer::Runc, "takes the last").not(Peer::Crun, "takes the last"),
        process("a soft limit above the hard one", limits(json!([{ "type": "RLIMIT_NOFILE", "soft": 9, "hard": 8 }])), &["process.rlimits[0]", "above"]),
        process("an unknown I/O class", json!({ "ioPriority": { "class": "IOPRIO_CLASS_BOAT", "priority": 1 } }), &["IOPRIO_CLASS_BOAT"]).newer(),
        process("an I/O priority beyond 7", json!({ "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 8 } }), &["process.ioPriority"]).newer(),
        process("an unknown scheduling policy", json!({ "scheduler": { "policy": "SCHED_BOAT" } }), &["SCHED_BOAT"]).newer(),
        process("a priority without a real-time policy", json!({ "scheduler": { "policy": "SCHED_OTHER", "priority": 10 } }), &["process.scheduler", "priority"]).newer(),
        process("a real-time policy without a priority", json!({ "scheduler": { "policy": "SCHED_FIFO" } }), &["process.scheduler"]).newer(),
        process("nice beyond 19", json!({ "scheduler": { "policy": "SCHED_OTHER", "nice": 20 } }), &["process.scheduler.nice"]).newer(),
        process("an unknown scheduling flag", json!({ "scheduler": { "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_BOAT"] } }), &["SCHED_FLAG_BOAT"]).newer(),
    ]
}

/// Adds a user namespace of 65536 ids.
fn in_user_namespace(config: &mut Value, case: &Case) {
    push(config, "/linux/namespaces", json!({ "type": "user" }));
    let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    config["linux"]["uidMappings"] = maps.clone();
    config["linux"]["gidMappings"] = maps;
    std::os::unix::fs::chown(case.root(), Some(100_000), Some(100_000)).expect("an owner");
}
