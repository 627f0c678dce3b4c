//! The same bundle by two runtimes: every difference that a process sees from inside is explained here, or is a failure.

use crate::base;
use crate::case::Case;
use crate::command_line::on_console;
use crate::peer::Peer;
use crate::row::guarded;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the first process sees of itself, in lines that begin with their section.
const SNAPSHOT: &str = r#"
section() { sed "s|^|$1 |"; }
cat /proc/$$/status | section status
cat /proc/$$/limits | section limits
cat /proc/$$/cgroup | section cgroup
cat /proc/$$/mountinfo | section mountinfo
tr '\0' '\n' </proc/$$/environ | section environ
for name in /proc/$$/attr/* /proc/$$/oom_score_adj /proc/$$/personality /proc/$$/timerslack_ns /proc/$$/coredump_filter /proc/$$/uid_map /proc/$$/gid_map /proc/$$/setgroups; do
  [ -f $name ] && echo "${name##*/} $(cat $name 2>&1)"
done | sed 's|/proc/[0-9]*/||' | section value
for name in 0 1 2 3 4 5 6 7 8 9; do readlink /proc/$$/fd/$name | sed "s|^|$name |"; done | section fd
find /dev -maxdepth 2 | sort | while read name; do stat -c '%n %F %a %u %g %t:%T' $name; done | section dev
readlink /dev/fd /dev/stdin /dev/stdout /dev/stderr /dev/ptmx | section link
for kind in cgroup ipc mnt net pid user uts time; do [ $(readlink /proc/$$/ns/$kind) = $(cat /host-ns-$kind 2>/dev/null) ] 2>/dev/null && echo "$kind host" || echo "$kind own"; done | section ns
cut -d' ' -f5-8,18-20,38,40,41 /proc/$$/stat | section stat
readlink /proc/$$/cwd | section cwd
stat -c '%a %u %g' / | section root
"#;

/// A difference that is meant: the other runtime, the line's beginning (ours or theirs), and why.
struct Explained {
    peer: Peer,
    begins: &'static str,
    why: &'static str,
}

const fn both(begins: &'static str, why: &'static str) -> [Explained; 2] {
    [Explained { peer: Peer::Runc, begins, why }, Explained { peer: Peer::Crun, begins, why }]
}

const fn runc(begins: &'static str, why: &'static str) -> [Explained; 1] {
    [Explained { peer: Peer::Runc, begins, why }]
}

const fn crun(begins: &'static str, why: &'static str) -> [Explained; 1] {
    [Explained { peer: Peer::Crun, begins, why }]
}

fn explanations() -> Vec<Explained> {
    let shared = [
        both("status SigIgn:", "the libraries of theirs ignore signals of their own and leave it so"),
        both(
            "mountinfo 0:* /null /proc/",
            "theirs mask by /dev/null, ours by a file that no device stands behind (CVE-2025-31133)",
        ),
        both("mountinfo 0:* /file /proc/", "ours: see there"),
        both("mountinfo 0:* / /proc/acpi", "theirs mask by a tmpfs for each directory, ours by one for all"),
        both("mountinfo 0:* / /sys/firmware", "see there"),
        both("mountinfo 0:* /directory /", "ours: see there"),
        both(
            "mountinfo 0:* / /sys/fs/cgroup",
            "ours is read-only itself, names its source otherwise, and has the unified hierarchy too",
        ),
    ];
    let of_runc = [
        runc("fd 0 ", "runc copies the streams through pipes, ours hands them on"),
        runc("fd 1 ", "see there"),
        runc("fd 2 ", "see there"),
        runc("fd 3 pipe", "runc 1.1 leaks one into a user namespace"),
        runc(
            "mountinfo 0:* / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs",
            "runc makes the file system read-only, ours the mount",
        ),
        runc("dev /dev/mqueue", "runc mounts it before its group is mapped"),
    ];
    let of_crun = [
        crun("dev /dev/core", "crun links to /proc/kcore though the kernel has none"),
        crun("cgroup 0::/", "crun is shown no unified hierarchy by this test"),
        crun("mountinfo 0:* /bus /proc/bus", "crun drops the flags of the mount around a read-only path"),
        crun("mountinfo 0:* /fs /proc/fs", "see there"),
        crun("mountinfo 0:* /irq /proc/irq", "see there"),
        crun("mountinfo 0:* /sys /proc/sys", "see there"),
        crun("mountinfo 0:* /sysrq-trigger /proc/sysrq-trigger", "see there"),
        crun("mountinfo 0:* /full /dev/full", "crun binds devices with nosuid and noexec"),
        crun("mountinfo 0:* /null /dev/null", "see there"),
        crun("mountinfo 0:* /random /dev/random", "see there"),
        crun("mountinfo 0:* /tty /dev/tty", "see there"),
        crun("mountinfo 0:* /urandom /dev/urandom", "see there"),
        crun("mountinfo 0:* /zero /dev/zero", "see there"),
        crun("mountinfo 0:* /0 /dev/console", "crun drops the flags of devpts"),
    ];
    let shared = shared.into_iter().flatten();
    shared.chain(of_runc.into_iter().flatten()).chain(of_crun.into_iter().flatten()).collect()
}

/// A bundle that both run.
struct Bundle {
    name: &'static str,
    config: fn(&Case) -> Value,
}

fn bundles() -> Vec<Bundle> {
    let docker = |case: &Case| case.config(SNAPSHOT);
    vec![
        Bundle { name: "minimal", config: |case| with_cgroup(base::minimal(SNAPSHOT), case) },
        Bundle { name: "docker", config: docker },
        Bundle {
            name: "docker, read-only, an ordinary user, limits, a filter",
            config: |case| {
                let mut config = case.config(SNAPSHOT);
                let patch = json!({
                    "root": { "readonly": true },
                    "process": {
                        "user": { "uid": 7, "gid": 9, "additionalGids": [10, 11], "umask": 63 },
                        "noNewPrivileges": true,
                        "oomScoreAdj": 100,
                        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }],
                    },
                    "linux": {
                        "resources": { "memory": { "limit": 134_217_728 }, "pids": { "limit": 64 } },
                        "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }] },
                    },
                });
                crate::row::merge(&mut config, &patch);
                config
            },
        },
        Bundle {
            name: "a user namespace",
            config: |case| {
                let mut config = case.config(SNAPSHOT);
                crate::row::push(&mut config, "/linux/namespaces", json!({ "type": "user" }));
                let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
                config["linux"]["uidMappings"] = maps.clone();
                config["linux"]["gidMappings"] = maps;
                std::os::unix::fs::chown(case.root(), Some(100_000), Some(100_000)).expect("an owner");
                config
            },
        },
        Bundle {
            name: "a cgroup namespace, binds and a device",
            config: |case| {
                let mut config = case.config(SNAPSHOT);
                case.file("source/file", "bound");
                crate::row::push(&mut config, "/linux/namespaces", json!({ "type": "cgroup" }));
                let mounts = [
                    base::mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
                    base::bind("{scratch}/source", "/mnt", &["ro", "nosuid"]),
                    base::bind("{scratch}/source/file", "/etc/file", &["rslave"]),
                ];
                mounts.into_iter().for_each(|mount| crate::row::push(&mut config, "/mounts", mount));
                config["linux"]["devices"] = json!([{ "path": "/dev/boat", "type": "c", "major": 1, "minor": 5, "fileMode": 432, "uid": 1, "gid": 2 }]);
                config
            },
        },
        Bundle {
            name: "a terminal",
            config: |case| {
                let mut config = case.config(SNAPSHOT);
                config["process"]["terminal"] = json!(true);
                config
            },
        },
    ]
}

fn with_cgroup(mut config: Value, case: &Case) -> Value {
    config["linux"]["cgroupsPath"] = json!(case.cgroups_path());
    config
}

/// Runs every bundle with ours and with the other one, and says what differs without an explanation.
pub fn compare(peer: Peer) {
    let (explanations, mut failures) = (explanations(), Vec::new());
    for bundle in bundles() {
        let seen = |peer: Peer| guarded(|| lines(&bundle, peer));
        let (ours, theirs) = match (seen(Peer::Ours), seen(peer)) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (Err(why), _) | (_, Err(why)) => {
                failures.push(format!("{}: {why}", bundle.name));
                continue;
            }
        };
        let unexplained = |line: &&String| {
            !explanations
                .iter()
                .any(|entry| entry.peer == peer && line.starts_with(entry.begins) && !entry.why.is_empty())
        };
        failures.extend(
            ours.difference(&theirs).filter(unexplained).map(|line| format!("{}: ours:   {line}", bundle.name)),
        );
        failures.extend(
            theirs.difference(&ours).filter(unexplained).map(|line| format!("{}: {peer:?}'s: {line}", bundle.name)),
        );
    }
    assert!(failures.is_empty(), "what processes see differs from {peer:?}:\n{}\n", failures.join("\n"));
}

fn lines(bundle: &Bundle, peer: Peer) -> BTreeSet<String> {
    let case = Case::new(peer);
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts", "time"] {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        case.file(&format!("bundle/rootfs/host-ns-{kind}"), link.to_string_lossy().as_bytes());
    }
    // crun makes none where nothing is mounted there.
    std::fs::create_dir(case.root().join("dev")).expect("a directory");
    let config = (bundle.config)(&case);
    let terminal = config["process"]["terminal"] == true;
    let text = if terminal { on_console(&case, &config) } else { case.run(&config, &[]).good().to_owned() };
    text.lines().map(|line| normal(&case, line)).filter(|line| !line.is_empty()).collect()
}

/// The line without what differs from run to run; empty for what says nothing.
fn normal(case: &Case, line: &str) -> String {
    // Counters and addresses.
    const NOISE: [&str; 13] = [
        "Vm",
        "Rss",
        "Hugetlb",
        "SigQ",
        "voluntary",
        "nonvoluntary",
        "Threads",
        "State",
        "FDSize",
        "THP",
        "untag",
        "x86_Thread",
        "Mems_allowed:",
    ];
    let line = line.replace(&*case.path().to_string_lossy(), "{scratch}").replace(&case.id, "{id}");
    if let Some(status) = line.strip_prefix("status ") {
        return if NOISE.iter().any(|noise| status.starts_with(noise)) { String::new() } else { line };
    }
    if let Some(mount) = line.strip_prefix("mountinfo ") {
        // The numbers of mounts, anonymous devices and peer groups.
        let fields = mount.split(' ').skip(2).map(|field| match field.split_once(':') {
            Some(("0", _)) => "0:*".to_owned(),
            Some((group @ ("shared" | "master" | "propagate_from"), _)) => format!("{group}:*"),
            _ => field.to_owned(),
        });
        return format!("mountinfo {}", fields.collect::<Vec<String>>().join(" "));
    }
    if line.starts_with("fd ") {
        return line.trim_end_matches(|character: char| character.is_ascii_digit()).to_owned();
    }
    line
}
