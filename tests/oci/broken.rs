//! Bundles that are wrong: each gets one line that names what and where, the exit code 1, an entry in the log, and leaves nothing.

use crate::base::{bind, mount};
use crate::case::Case;
use crate::peer::Peer;
use crate::row::{Row, push, refused};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

pub fn rows() -> Vec<Row> {
    [files(), roots(), processes(), users(), mounts(), seccomp(), namespaces(), cgroups(), others()]
        .into_iter()
        .flatten()
        .collect()
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
            &["config.json", "large"],
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
        broken("root.path is a file", json!({ "root": { "path": "config.json" } }), &["config.json", "ENOTDIR"]),
        broken("root.path is empty", json!({ "root": { "path": "" } }), &["root.path"])
            .not(Peer::Runc, "takes the bundle")
            .not(Peer::Crun, "takes the bundle"),
        broken("root.path holds a NUL", json!({ "root": { "path": "a\u{0}b" } }), &["root.path"]),
        Row::new("broken", "the root is closed to the user of the namespace")
            .edit(|config, case| {
                in_user_namespace(config, case);
                fs::set_permissions(case.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
            })
            .refuses(&["rootfs", "EACCES"]),
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
        process(
            "process.cwd is closed to the user",
            json!({ "cwd": "/closed", "user": { "uid": 7, "gid": 7 }, "capabilities": null }),
            &["/closed", "EACCES"],
        )
        .edit(|_, case| {
            fs::create_dir(case.root().join("closed")).expect("a directory");
            fs::set_permissions(case.root().join("closed"), fs::Permissions::from_mode(0o700)).expect("a mode");
        })
        .not(Peer::Crun, "enters it as root"),
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
        process("the same rlimit twice", limits(json!([{ "type": "RLIMIT_NOFILE", "soft": 9, "hard": 9 }, { "type": "RLIMIT_NOFILE", "soft": 8, "hard": 8 }])), &["process.rlimits", "RLIMIT_NOFILE"]).not(Peer::Runc, "takes the last").not(Peer::Crun, "takes the last"),
        process("a soft limit above the hard one", limits(json!([{ "type": "RLIMIT_NOFILE", "soft": 9, "hard": 8 }])), &["process.rlimits", "RLIMIT_NOFILE"]),
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

fn mounts() -> Vec<Row> {
    let wrong = |name: &'static str, entry: Value, parts: &[&str]| Row::new("broken", name).mount(entry).refuses(parts);
    vec![
        wrong("a mount's source is missing", bind("/nowhere/source", "/mnt", &[]), &["/nowhere/source", "ENOENT"]),
        wrong("a mount's type is unknown", mount("/mnt", "boatfs", "none", &[]), &["boatfs", "ENODEV"]),
        wrong("a mount has no destination", json!({ "type": "tmpfs", "source": "tmpfs" }), &["destination"]),
        wrong("a mount's option is unknown", mount("/mnt", "tmpfs", "tmpfs", &["size=boat"]), &["size", "/mnt"]),
        wrong("a mount has neither type nor bind", json!({ "destination": "/mnt", "source": "/dev" }), &["/mnt", "type"]).not(Peer::Crun, "crashes"),
        wrong("a mount's destination holds a NUL", mount("/m\u{0}nt", "tmpfs", "tmpfs", &[]), &["mounts"]).not(Peer::Crun, "cuts it off"),
        wrong("bind and rbind, and a file system's type", mount("/mnt", "tmpfs", "/nowhere", &["bind", "size=64k"]), &["/nowhere"]),
        Row::new("broken", "a mount's target is a cycle of links").edit(|_, case| {
            symlink("two", case.root().join("one")).expect("a link");
            symlink("one", case.root().join("two")).expect("a link");
        }).mount(mount("/one/x", "tmpfs", "tmpfs", &[])).refuses(&["/one", "ELOOP"]),
        Row::new("broken", "a mount's target is below a file").mount(mount("/bin/busybox/x", "tmpfs", "tmpfs", &[])).refuses(&["/bin/busybox", "ENOTDIR"]),
        Row::new("broken", "id maps of a mount that is no bind").mount(json!({ "destination": "/mnt", "type": "proc", "source": "proc", "uidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }], "gidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }] })).refuses(&["/mnt"]).newer(),
        Row::new("broken", "a map of users of a mount without one of groups").mount(json!({ "destination": "/mnt", "type": "bind", "source": "{scratch}", "options": ["bind"], "uidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }] })).refuses(&["gidMappings"]).newer(),
        Row::new("broken", "a masked path that is relative").push("/linux/maskedPaths", json!("secret")).refuses(&["linux.maskedPaths", "secret"]).not(Peer::Crun, "takes it"),
        Row::new("broken", "a read-only path that is relative").push("/linux/readonlyPaths", json!("secret")).refuses(&["linux.readonlyPaths", "secret"]).not(Peer::Crun, "takes it"),
        broken("a device of an unknown type", json!({ "linux": { "devices": [{ "path": "/dev/x", "type": "x", "major": 1, "minor": 3 }] } }), &["x"]),
        broken("a device without numbers", json!({ "linux": { "devices": [{ "path": "/dev/x", "type": "c" }] } }), &["linux.devices", "major"]).not(Peer::Runc, "makes 0:0").not(Peer::Crun, "makes 0:0"),
        broken("a device with a relative path", json!({ "linux": { "devices": [{ "path": "x", "type": "c", "major": 1, "minor": 3 }] } }), &["linux.devices", "absolute"]).not(Peer::Crun, "makes it").not(Peer::Runc, "makes it"),
        broken("another device in the place of /dev/null", json!({ "linux": { "devices": [{ "path": "/dev/null", "type": "c", "major": 1, "minor": 5 }] } }), &["/dev/null"]).not(Peer::Crun, "makes it").not(Peer::Runc, "makes it"),
        broken("a device rule of an unknown access", json!({ "linux": { "resources": { "devices": [{ "allow": true, "access": "xyz" }] } } }), &["linux.resources.devices", "xyz"]).not(Peer::Crun, "hands it to the kernel"),
    ]
}

fn seccomp() -> Vec<Row> {
    let filter = |name: &'static str, fields: Value, parts: &[&str]| {
        broken(name, json!({ "linux": { "seccomp": fields } }), parts)
    };
    let rule = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    vec![
        filter("a filter without a default", json!({ "syscalls": [] }), &["defaultAction"])
            .not(Peer::Runc, "takes an empty word"),
        filter("an unknown action", json!({ "defaultAction": "SCMP_ACT_BOAT" }), &["SCMP_ACT_BOAT"]),
        filter(
            "an unknown architecture",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_BOAT"], "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }] }),
            &["SCMP_ARCH_BOAT"],
        ),
        filter(
            "an unknown operator",
            rule(
                json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_BOAT" }] }),
            ),
            &["SCMP_CMP_BOAT"],
        ),
        filter(
            "an unknown flag",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_BOAT"] }),
            &["SECCOMP_FILTER_FLAG_BOAT"],
        )
        .not(Peer::Crun, "ignores it without rules"),
        filter(
            "an argument beyond the sixth",
            rule(
                json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }] }),
            ),
            &["index"],
        ),
        filter(
            "an errno beyond 4095",
            rule(json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 70_000 })),
            &["errnoRet"],
        )
        .not(Peer::Runc, "cuts it off")
        .not(Peer::Crun, "cuts it off"),
        filter(
            "a filter that forbids exec",
            rule(json!({ "names": ["execve", "execveat"], "action": "SCMP_ACT_ERRNO" })),
            &["seccomp", "exec"],
        ),
        filter(
            "a filter that kills at exec",
            rule(json!({ "names": ["execve", "execveat"], "action": "SCMP_ACT_KILL_PROCESS" })),
            &["seccomp"],
        )
        .not(Peer::Runc, "says nothing")
        .not(Peer::Crun, "says nothing"),
        filter(
            "a notification without a listener",
            rule(json!({ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" })),
            &["linux.seccomp.listenerPath"],
        )
        .not(Peer::Crun, "takes it"),
        filter(
            "a default that asks a listener",
            json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "{scratch}/x" }),
            &["linux.seccomp.defaultAction"],
        )
        .not(Peer::Crun, "waits for it"),
    ]
}

fn namespaces() -> Vec<Row> {
    let joined = |name: &'static str, kind: &'static str, path: &'static str, parts: &[&str]| {
        Row::new("broken", name)
            .edit(move |config, _| {
                config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|entry| entry["type"] != kind);
                push(config, "/linux/namespaces", json!({ "type": kind, "path": path }));
            })
            .refuses(parts)
    };
    let mapped = |name: &'static str, maps: Value, parts: &[&str]| {
        Row::new("broken", name)
            .edit(in_user_namespace)
            .patch(json!({ "linux": { "uidMappings": maps } }))
            .refuses(parts)
    };
    vec![
        Row::new("broken", "a namespace of an unknown type")
            .push("/linux/namespaces", json!({ "type": "boat" }))
            .refuses(&["boat"]),
        joined("a namespace's path is missing", "network", "/nowhere/net", &["/nowhere/net", "ENOENT"]),
        joined("a namespace's path is no namespace", "network", "/etc/hostname", &["/etc/hostname"]),
        joined(
            "a namespace's path is of another type",
            "network",
            "/proc/self/ns/uts",
            &["/proc/self/ns/uts", "network"],
        ),
        joined("a namespace's path is relative", "network", "ns/net", &["linux.namespaces", "ns/net"]),
        Row::new("broken", "a namespace twice")
            .push("/linux/namespaces", json!({ "type": "pid" }))
            .refuses(&["linux.namespaces", "pid"])
            .not(Peer::Crun, "takes it"),
        Row::new("broken", "no mount namespace")
            .edit(|config, _| {
                config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|entry| entry["type"] != "mount")
            })
            .refuses(&["linux.namespaces", "mount"])
            .not(Peer::Crun, "changes the host's")
            .not(Peer::Runc, "changes the host's"),
        mapped(
            "id maps that overlap inside",
            json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }, { "containerID": 5, "hostID": 200_000, "size": 10 }]),
            &["linux.uidMappings"],
        ),
        mapped(
            "id maps that overlap outside",
            json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }, { "containerID": 50, "hostID": 100_005, "size": 10 }]),
            &["linux.uidMappings"],
        ),
        mapped(
            "an id map of no ids",
            json!([{ "containerID": 0, "hostID": 100_000, "size": 0 }]),
            &["linux.uidMappings", "size"],
        ),
        mapped(
            "an id map beyond the last id",
            json!([{ "containerID": 0, "hostID": 4_294_967_290u32, "size": 100 }]),
            &["linux.uidMappings"],
        ),
        mapped("no id map", json!([]), &["linux.uidMappings"]).not(Peer::Crun, "makes its own"),
        broken("a hostname of 65 bytes", json!({ "hostname": "x".repeat(65) }), &["hostname", "64"]),
        broken("a domain name of 65 bytes", json!({ "domainname": "x".repeat(65) }), &["domainname", "64"]).newer(),
        broken(
            "a sysctl that no namespace has",
            json!({ "linux": { "sysctl": { "kernel.panic": "1" } } }),
            &["linux.sysctl", "kernel.panic"],
        ),
        broken(
            "a sysctl with dots that climb",
            json!({ "linux": { "sysctl": { "net.../../../kernel/panic": "1" } } }),
            &["linux.sysctl"],
        ),
        broken(
            "an offset of a clock without a time namespace",
            json!({ "linux": { "timeOffsets": { "monotonic": { "secs": 1 } } } }),
            &["linux.timeOffsets"],
        )
        .newer(),
        Row::new("broken", "an offset of an unknown clock")
            .push("/linux/namespaces", json!({ "type": "time" }))
            .patch(json!({ "linux": { "timeOffsets": { "tide": { "secs": 1 } } } }))
            .refuses(&["linux.timeOffsets", "tide"])
            .newer(),
    ]
}

fn cgroups() -> Vec<Row> {
    let resources = |name: &'static str, fields: Value, parts: &[&str]| {
        broken(name, json!({ "linux": { "resources": fields } }), parts)
    };
    vec![
        broken(
            "a cgroup path that climbs",
            json!({ "linux": { "cgroupsPath": "/{id}/../../climbed-{id}" } }),
            &["linux.cgroupsPath", ".."],
        )
        .not(Peer::Runc, "cleans it")
        .not(Peer::Crun, "cleans it"),
        broken("a cgroup path with a NUL", json!({ "linux": { "cgroupsPath": "/a\u{0}b" } }), &["linux.cgroupsPath"])
            .not(Peer::Crun, "cuts it off"),
        resources(
            "a memory limit too small to start in",
            json!({ "memory": { "limit": 1 } }),
            &["linux.resources.memory.limit"],
        ),
        resources("a memory limit below zero", json!({ "memory": { "limit": -5 } }), &["linux.resources.memory.limit"])
            .not(Peer::Runc, "hands it to the kernel")
            .not(Peer::Crun, "hands it to the kernel"),
        resources(
            "a CPU quota without end",
            json!({ "cpu": { "quota": 9_000_000_000_000_000_000i64, "period": 100_000 } }),
            &["linux.resources.cpu.quota"],
        )
        .not(Peer::Crun, "hands it to the kernel"),
        resources(
            "a CPU period too long",
            json!({ "cpu": { "quota": 50_000, "period": 10_000_000 } }),
            &["linux.resources.cpu.period"],
        ),
        resources(
            "a list of CPUs that is none",
            json!({ "cpu": { "cpus": "boat" } }),
            &["linux.resources.cpu.cpus", "boat"],
        ),
        resources(
            "a page size that is none",
            json!({ "hugepageLimits": [{ "pageSize": "7MB", "limit": 1 }] }),
            &["linux.resources.hugepageLimits"],
        )
        .not(Peer::Runc, "ignores it")
        .not(Peer::Crun, "ignores it"),
        resources(
            "a weight of block devices below 10",
            json!({ "blockIO": { "weight": 5 } }),
            &["linux.resources.blockIO.weight"],
        )
        .not(Peer::Runc, "hands it to the kernel")
        .not(Peer::Crun, "hands it to the kernel"),
        resources(
            "a device of block I/O that is not there",
            json!({ "blockIO": { "throttleReadBpsDevice": [{ "major": 999, "minor": 999, "rate": 1 }] } }),
            &["linux.resources.blockIO.throttleReadBpsDevice"],
        ),
        resources(
            "a key of version 2 that climbs",
            json!({ "unified": { "../cgroup.procs": "0" } }),
            &["linux.resources.unified"],
        )
        .not(Peer::Crun, "ignores it"),
    ]
}

fn others() -> Vec<Row> {
    let linux = |name: &'static str, fields: Value, parts: &[&str]| broken(name, json!({ "linux": fields }), parts);
    let hook = |name: &'static str, fields: Value, parts: &[&str]| {
        broken(name, json!({ "hooks": { "createRuntime": [fields] } }), parts)
    };
    vec![
        hook(
            "a hook that is missing",
            json!({ "path": "/nowhere/hook" }),
            &["createRuntime", "/nowhere/hook", "ENOENT"],
        ),
        hook("a hook that fails", json!({ "path": "/bin/false" }), &["createRuntime", "/bin/false", "1"]),
        hook(
            "a hook that hangs",
            json!({ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 }),
            &["createRuntime", "/bin/sleep", "timeout"],
        ),
        hook("a hook of no program", json!({ "path": "/etc/hostname" }), &["createRuntime", "/etc/hostname", "EACCES"]),
        linux("an unknown personality", json!({ "personality": { "domain": "HPUX" } }), &["HPUX"])
            .not(Peer::Runc, "newer"),
        linux("an unknown policy of memory", json!({ "memoryPolicy": { "mode": "MPOL_BOAT" } }), &["MPOL_BOAT"])
            .newer(),
        linux("an unknown propagation", json!({ "rootfsPropagation": "boat" }), &["linux.rootfsPropagation", "boat"])
            .not(Peer::Crun, "ignores it"),
        linux(
            "a network device that is missing",
            json!({ "netDevices": { "nosuch0": {} } }),
            &["linux.netDevices", "nosuch0"],
        )
        .newer(),
        linux(
            "cache allocation without hardware",
            json!({ "intelRdt": { "l3CacheSchema": "L3:0=f" } }),
            &["linux.intelRdt"],
        )
        .not(Peer::Crun, "ignores it"),
        broken(
            "a profile of AppArmor without AppArmor",
            json!({ "process": { "apparmorProfile": "boat" } }),
            &["process.apparmorProfile", "AppArmor"],
        )
        .not(Peer::Crun, "ignores it"),
        broken(
            "a label of SELinux without SELinux",
            json!({ "process": { "selinuxLabel": "a:b:c:s0" } }),
            &["process.selinuxLabel", "SELinux"],
        )
        .not(Peer::Crun, "ignores it"),
        Row::new("broken", "a pid file in a missing directory").steps(|case, config| {
            case.write(&config(":"));
            let outcome = case.with_bundle("create", &["--pid-file", "/nowhere/pid"]);
            refused(case, &outcome, &["/nowhere/pid".into(), "ENOENT".into()]).unwrap_or_else(|why| panic!("{why}"));
        }),
        Row::new("broken", "more descriptors to keep than there are")
            .steps(|case, config| {
                case.write(&config(":"));
                let outcome = case.with_bundle("run", &["--preserve-fds", "3"]);
                refused(case, &outcome, &["3".into()]).unwrap_or_else(|why| panic!("{why}"));
            })
            .not(Peer::Crun, "ignores it"),
    ]
}
