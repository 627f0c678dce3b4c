//! `linux.namespaces`, the id maps, `linux.timeOffsets`.

use crate::case::Case;
use crate::peer::Peer;
use crate::row::{Row, push};
use serde_json::{Value, json};

/// The kinds of namespaces, their file below /proc/PID/ns and the flags of unshare(1) that make one.
const KINDS: [(&str, &str, &[&str]); 5] = [
    ("network", "net", &["--net"]),
    ("uts", "uts", &["--uts"]),
    ("ipc", "ipc", &["--ipc"]),
    ("mount", "mnt", &["--mount"]),
    ("cgroup", "cgroup", &["--cgroup"]),
];

pub fn rows() -> Vec<Row> {
    [each(), user(), time()].into_iter().flatten().collect()
}

fn host(name: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace").to_string_lossy().into_owned()
}

/// Leaves the namespaces of this kind out.
fn without(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|entry| entry["type"] != kind);
}

fn join(config: &mut Value, kind: &str, path: &str) {
    without(config, kind);
    push(config, "/linux/namespaces", json!({ "type": kind, "path": path }));
}

fn each() -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, file, flags) in KINDS {
        let script = format!("readlink /proc/self/ns/{file}");
        rows.push(
            Row::new("linux.namespaces[].type", format!("{kind}: a new one"))
                .edit(move |config, _| {
                    without(config, kind);
                    push(config, "/linux/namespaces", json!({ "type": kind }));
                })
                .steps({
                    let script = script.clone();
                    move |case, config| assert_ne!(case.run(&config(&script), &[]).good(), host(file))
                }),
        );
        if kind == "mount" {
            continue;
        }
        rows.push(
            Row::new("linux.namespaces", format!("{kind}: without an entry, the runtime's own"))
                .edit(move |config, _| {
                    without(config, kind);
                    if kind == "uts" {
                        config.as_object_mut().expect("an object").remove("hostname");
                    }
                    if kind == "ipc" {
                        // Its mount belongs to who made the namespace.
                        config["mounts"].as_array_mut().expect("a list").retain(|mount| mount["type"] != "mqueue");
                    }
                })
                .script(script.clone())
                .prints(host(file)),
        );
        rows.push(Row::new("linux.namespaces[].path", format!("{kind}: joined")).steps(move |case, config| {
            let path = format!("/proc/{}/ns/{file}", case.holder(flags));
            let mut config = config(&script);
            join(&mut config, kind, &path);
            let wanted = std::fs::read_link(&path).expect("a namespace").to_string_lossy().into_owned();
            assert_ne!(wanted, host(file));
            assert_eq!(case.run(&config, &[]).good(), wanted);
        }));
    }
    rows.extend([
        Row::new("linux.namespaces[].path", "pid: joined, not the first there").steps(|case, config| {
            let holder = case.start("unshare", &["--pid", "--fork", "--mount-proc", "--kill-child", "sleep", "1000"]);
            let path = format!("/proc/{holder}/ns/pid_for_children");
            case.until("the first process runs", || {
                std::fs::metadata(&path).is_ok()
                    && std::fs::read_link(&path).is_ok_and(|at| at.to_string_lossy() != host("pid"))
            });
            let mut config = config("readlink /proc/self/ns/pid; [ $$ = 1 ] || echo later");
            join(&mut config, "pid", &path);
            let wanted = format!("{}\nlater", std::fs::read_link(&path).expect("a namespace").display());
            assert_eq!(case.run(&config, &[]).good(), wanted);
        }),
        Row::new("linux.namespaces", "pid: without an entry, the runtime's own")
            .edit(|config, _| without(config, "pid"))
            .script("readlink /proc/self/ns/pid; [ $$ = 1 ] || echo later")
            .prints(format!("{}\nlater", host("pid"))),
        Row::new("linux.namespaces", "mount: without an entry, the runtime's own")
            .edit(|config, _| without(config, "mount"))
            .steps(|case, config| {
                // In one that ends with the runtime, so that the machine's mounts stay as they are.
                case.write(&config("readlink /proc/self/ns/mnt; ls -d /bin"));
                let mut command = std::process::Command::new("unshare");
                command.args([
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    "readlink /proc/self/ns/mnt; \"$@\"",
                    "sh",
                ]);
                command.arg(crate::peer::program());
                case.globals(&mut command);
                command.args(["run", "--bundle"]).arg(case.bundle()).arg(&case.id);
                let outcome = case.finish(&mut command);
                let lines: Vec<&str> = outcome.good().lines().collect();
                assert_eq!(lines, [lines[0], lines[0], "/bin"]);
            })
            .not(Peer::Crun, "wants one")
            .not(Peer::Runc, "wants one"),
        Row::new("linux.namespaces[].path", "mount: joined")
            .steps(|case, config| {
                let path = format!("/proc/{}/ns/mnt", case.holder(&["--mount"]));
                let mut config = config("readlink /proc/self/ns/mnt");
                join(&mut config, "mount", &path);
                config["mounts"] = json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]);
                config["linux"]["maskedPaths"] = json!([]);
                config["linux"]["readonlyPaths"] = json!([]);
                let outcome = case.run(&config, &[]);
                assert_eq!(outcome.good(), std::fs::read_link(&path).expect("a namespace").to_string_lossy());
            })
            .not(Peer::Runc, "sets up no root in a joined one")
            .not(Peer::Crun, "wants its /dev made before"),
        Row::new("linux.namespaces[].type", "the same twice is refused")
            .push("/linux/namespaces", json!({ "type": "ipc" }))
            .refuses(&["linux.namespaces", "ipc"])
            .not(Peer::Crun, "takes it"),
        Row::new("linux.namespaces[].path", "one that is missing is refused")
            .edit(|config, _| join(config, "network", "/nowhere/net"))
            .refuses(&["/nowhere/net", "ENOENT"]),
        Row::new("linux.namespaces[].path", "a network namespace has its interfaces").steps(|case, config| {
            let path = format!("/proc/{}/ns/net", case.holder(&["--net"]));
            let mut config = config("ls /sys/class/net");
            join(&mut config, "network", &path);
            assert_eq!(case.run(&config, &[]).good(), "lo");
        }),
        Row::new("linux.namespaces[].type", "a new network has loopback up")
            .script("ip address show lo | grep -oE '(LOOPBACK,UP|127.0.0.1/8)'")
            .prints("LOOPBACK,UP\n127.0.0.1/8"),
    ]);
    rows
}

/// Adds a user namespace with these maps, and gives the root file system to its root.
fn mapped(config: &mut Value, case: &Case, users: Value, groups: Value) {
    push(config, "/linux/namespaces", json!({ "type": "user" }));
    config["linux"]["uidMappings"] = users;
    config["linux"]["gidMappings"] = groups;
    std::os::unix::fs::chown(case.root(), Some(100_000), Some(100_000)).expect("an owner");
}

fn maps(inside: u32, outside: u32, size: u32) -> Value {
    json!([{ "containerID": inside, "hostID": outside, "size": size }])
}

fn user() -> Vec<Row> {
    let user = |field: &'static str, name: &'static str, users: Value, groups: Value| {
        Row::new(field, name).edit(move |config, case| mapped(config, case, users.clone(), groups.clone()))
    };
    let usual = || (maps(0, 100_000, 65_536), maps(0, 100_000, 65_536));
    let script = "awk '{ print $1, $2, $3 }' /proc/self/";
    vec![
        user("linux.uidMappings", "are written", maps(0, 100_000, 65_536), maps(0, 100_000, 65_536)).script(format!("{script}uid_map; id -u; touch /made; stat -c %u /made")).prints("0 100000 65536\n0\n0"),
        user("linux.gidMappings", "are written", maps(0, 100_000, 65_536), maps(0, 100_000, 4_000)).script(format!("{script}gid_map; id -g")).prints("0 100000 4000\n0"),
        user("linux.uidMappings", "of several ranges", json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }, { "containerID": 500, "hostID": 300_000, "size": 5 }]), usual().1).script(format!("{script}uid_map")).prints("0 100000 10\n500 300000 5"),
        user("linux.uidMappings", "the user is one of those inside", usual().0, usual().1).patch(json!({ "process": { "user": { "uid": 7, "gid": 9, "additionalGids": [10] } } })).script("id -u; id -g; id -G").prints("7\n9\n9 10"),
        user("linux.namespaces[].type", "user: capabilities hold inside alone", usual().0, usual().1).script("hostname x 2>&1; readlink /proc/self/ns/user | cut -d: -f1; chown 7 /bin/busybox 2>&1").exits("hostname: sethostname: Operation not permitted\nuser\nchown: /bin/busybox: Operation not permitted", 1),
        user("linux.namespaces[].type", "user: the first process leads a session", usual().0, usual().1).script("cut -d' ' -f5,6 /proc/1/stat").prints("1 1"),
        Row::new("linux.namespaces", "user: without an entry, the runtime's own").script("readlink /proc/self/ns/user").prints(host("user")),
        Row::new("linux.namespaces[].path", "user: joined").steps(|case, config| {
            let holder = case.holder(&["--user"]);
            for map in ["uid_map", "gid_map"] {
                std::fs::write(format!("/proc/{holder}/{map}"), "0 100000 65536").expect("a map can be written");
            }
            let path = format!("/proc/{holder}/ns/user");
            let mut config = config("readlink /proc/self/ns/user; id -u");
            push(&mut config, "/linux/namespaces", json!({ "type": "user", "path": path }));
            std::os::unix::fs::chown(case.root(), Some(100_000), Some(100_000)).expect("an owner");
            let wanted = std::fs::read_link(&path).expect("a namespace");
            assert_eq!(case.run(&config, &[]).good(), format!("{}\n0", wanted.display()));
        }).not(Peer::Runc, "wants maps beside a path").not(Peer::Crun, "mounts no mqueue there"),
        Row::new("linux.uidMappings", "without a user namespace are refused").patch(json!({ "linux": { "uidMappings": maps(0, 100_000, 10), "gidMappings": maps(0, 100_000, 10) } })).refuses(&["linux.uidMappings", "user namespace"]).not(Peer::Crun, "ignores them").not(Peer::Runc, "ignores them"),
    ]
}

fn time() -> Vec<Row> {
    let offsets = |fields: Value| json!({ "linux": { "timeOffsets": fields } });
    let namespace = json!({ "type": "time" });
    let seen = "awk '{ print $1, $2, $3 }' /proc/self/timens_offsets";
    let rows = vec![
        Row::new("linux.namespaces[].type", "time: a new one")
            .push("/linux/namespaces", namespace.clone())
            .script("readlink /proc/self/ns/time | cut -d: -f1; awk '{ print $1, $2, $3 }' /proc/self/timens_offsets")
            .prints("time\nmonotonic 0 0\nboottime 0 0"),
        Row::new("linux.timeOffsets.monotonic.secs", "and nanoseconds")
            .push("/linux/namespaces", namespace.clone())
            .patch(offsets(json!({ "monotonic": { "secs": 172_800, "nanosecs": 5 } })))
            .script(seen)
            .prints("monotonic 172800 5\nboottime 0 0"),
        Row::new("linux.timeOffsets.boottime.secs", "is seen by uptime")
            .push("/linux/namespaces", namespace)
            .patch(offsets(json!({ "boottime": { "secs": 604_800, "nanosecs": 7 } })))
            .script("awk '{ print $1, $2, $3 }' /proc/self/timens_offsets; awk '{ print ($1 > 604800) }' /proc/uptime")
            .prints("monotonic 0 0\nboottime 604800 7\n1"),
        Row::new("linux.timeOffsets", "without a time namespace are refused")
            .patch(offsets(json!({ "boottime": { "secs": 1 } })))
            .refuses(&["linux.timeOffsets", "time namespace"]),
    ];
    rows.into_iter().map(|row| row.newer()).collect()
}
