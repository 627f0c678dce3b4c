//! `process`: arguments, environment, directory, user, limits, and what the kernel keeps per process.

use crate::peer::Peer;
use crate::row::Row;
use serde_json::json;

pub fn rows() -> Vec<Row> {
    [arguments(), user(), rlimits(), attributes(), scheduling(), terminal()].into_iter().flatten().collect()
}

fn arguments() -> Vec<Row> {
    let args = |list: &[&str]| json!({ "process": { "args": list } });
    vec![
        Row::new("process.args", "every argument arrives as it is")
            .patch(args(&["/bin/sh", "-c", "for a; do echo \"[$a]\"; done", "sh", "", "a b", "$HOME", "\u{e9}\n"]))
            .prints("[]\n[a b]\n[$HOME]\n[\u{e9}\n]"),
        Row::new("process.args", "the first is looked up in PATH of process.env")
            .patch(json!({ "process": { "args": ["echo", "found"], "env": ["PATH=/nowhere:/bin"] } }))
            .prints("found"),
        Row::new("process.args", "a relative path starts at process.cwd")
            .patch(json!({ "process": { "args": ["./echo", "found"], "cwd": "/bin" } }))
            .prints("found"),
        Row::new("process.args", "a script runs by the interpreter it names")
            .edit(|_, case| drop(case.script("bundle/rootfs/script", "echo by script $1")))
            .patch(args(&["/script", "one"]))
            .prints("by script one"),
        Row::new("process.args", "the exit code is the payload's").script("exit 42").exits("", 42),
        Row::new("process.args", "a signal counts as 128 and its number").script("kill -KILL $$; sleep 9; exit 1").edit(|config, _| {
            // The first process of a PID namespace cannot be killed from inside.
            config["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "uts" }]);
        }).exits("", 137),
        Row::new("process.cwd", "is where it starts").patch(json!({ "process": { "cwd": "/proc/sys" } })).script("pwd; pwd -P").prints("/proc/sys\n/proc/sys"),
        Row::new("process.cwd", "is made where it is missing")
            .patch(json!({ "process": { "cwd": "/made/deep" } }))
            .script("pwd")
            .prints("/made/deep")
            .not(Peer::Crun, "makes none"),
        Row::new("process.cwd", "through a symbolic link")
            .edit(|_, case| std::os::unix::fs::symlink("bin", case.root().join("link")).expect("a link"))
            .patch(json!({ "process": { "cwd": "/link" } }))
            .script("pwd -P")
            .prints("/bin"),
        Row::new("process.env", "is exactly this and in this order, but for HOME")
            .patch(json!({ "process": { "args": ["/bin/env"], "env": ["B=2", "PATH=/bin", "A=1", "EMPTY=", "HOME=/h", "E=x=y"] } }))
            .prints("B=2\nPATH=/bin\nA=1\nEMPTY=\nHOME=/h\nE=x=y"),
        Row::new("process.env", "HOME is the user's where it is not given")
            .edit(|_, case| drop(case.file("bundle/rootfs/etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:7:7::/home/ann:/bin/sh\n")))
            .patch(json!({ "process": { "user": { "uid": 7, "gid": 7 } } }))
            .script("echo $HOME")
            .prints("/home/ann"),
        Row::new("process.env", "HOME is / for a user without an account").script("echo $HOME").patch(json!({ "process": { "user": { "uid": 4242, "gid": 1 } } })).prints("/"),
        // The fourth is the directory that the shell reads.
        Row::new("process", "open files are the three streams alone").script("cd /proc/$$/fd; echo *").prints("0 1 2 3"),
        Row::new("process", "no signal is blocked").script("grep '^SigBlk' /proc/self/status | cut -f2").prints("0000000000000000"),
        Row::new("process", "is the first of its PID namespace").script("echo $$; readlink /proc/$$/exe").prints("1\n/bin/busybox"),
        Row::new("process", "leads a session of its own").script("cut -d' ' -f5,6 /proc/1/stat").prints("1 1"),
    ]
}

fn user() -> Vec<Row> {
    let user = |fields: serde_json::Value| json!({ "process": { "user": fields } });
    vec![
        Row::new("process.user.uid", "all four ids")
            .patch(user(json!({ "uid": 7 })))
            .script("grep Uid /proc/self/status")
            .prints("Uid:\t7\t7\t7\t7"),
        Row::new("process.user.gid", "all four ids")
            .patch(user(json!({ "gid": 9 })))
            .script("grep Gid /proc/self/status")
            .prints("Gid:\t9\t9\t9\t9"),
        Row::new("process.user.uid", "the largest")
            .patch(user(json!({ "uid": 4294967294u32 })))
            .script("id -u")
            .prints("4294967294")
            .not(Peer::Runc, "ids end at 2^31 - 1"),
        Row::new("process.user.additionalGids", "are all of them")
            .patch(user(json!({ "uid": 7, "gid": 9, "additionalGids": [20, 10] })))
            .script("grep Groups /proc/self/status")
            .prints("Groups:\t10 20"),
        Row::new("process.user.additionalGids", "none leaves none")
            .script("grep Groups /proc/self/status | tr -d '\\t '")
            .prints("Groups:"),
        Row::new("process.user.umask", "is set").patch(user(json!({ "umask": 0o77 }))).script("umask").prints("0077"),
        Row::new("process.user.umask", "is 0022 by default").script("umask").prints("0022"),
        Row::new("process.user.umask", "zero").patch(user(json!({ "umask": 0 }))).script("umask").prints("0000"),
        Row::new("process.user.username", "means nothing on Linux")
            .patch(user(json!({ "username": "ann" })))
            .script("id -u")
            .prints("0"),
    ]
}

fn rlimits() -> Vec<Row> {
    // Name, the words of /proc/self/limits, the unit's word.
    let all = [
        ("RLIMIT_CPU", "Max cpu time"),
        ("RLIMIT_FSIZE", "Max file size"),
        ("RLIMIT_DATA", "Max data size"),
        ("RLIMIT_STACK", "Max stack size"),
        ("RLIMIT_CORE", "Max core file size"),
        ("RLIMIT_RSS", "Max resident set"),
        ("RLIMIT_NPROC", "Max processes"),
        ("RLIMIT_NOFILE", "Max open files"),
        ("RLIMIT_MEMLOCK", "Max locked memory"),
        ("RLIMIT_AS", "Max address space"),
        ("RLIMIT_LOCKS", "Max file locks"),
        ("RLIMIT_SIGPENDING", "Max pending signals"),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size"),
        ("RLIMIT_NICE", "Max nice priority"),
        ("RLIMIT_RTPRIO", "Max realtime priority"),
        ("RLIMIT_RTTIME", "Max realtime timeout"),
    ];
    let small = [
        "RLIMIT_NICE",
        "RLIMIT_RTPRIO",
        "RLIMIT_MSGQUEUE",
        "RLIMIT_NOFILE",
        "RLIMIT_SIGPENDING",
        "RLIMIT_MEMLOCK",
        "RLIMIT_NPROC",
    ];
    let mut rows: Vec<Row> = all
        .into_iter()
        .map(|(kind, words)| {
            let (soft, hard): (u64, u64) = match kind {
                "RLIMIT_NICE" | "RLIMIT_RTPRIO" => (0, 0),
                kind if small.contains(&kind) => (500, 501),
                _ => (1 << 30, (1 << 30) + 4096),
            };
            Row::new("process.rlimits", kind)
                .patch(json!({ "process": { "rlimits": [{ "type": kind, "soft": soft, "hard": hard }] } }))
                .script(format!("grep '^{words} ' /proc/self/limits | sed 's/^{words} *//' | awk '{{ print $1, $2 }}'"))
                .prints(format!("{soft} {hard}"))
        })
        .collect();
    rows.push(
        Row::new("process.rlimits", "2^64 - 1 is unlimited")
            .patch(
                json!({ "process": { "rlimits": [{ "type": "RLIMIT_FSIZE", "soft": u64::MAX, "hard": u64::MAX }] } }),
            )
            .script("grep '^Max file size' /proc/self/limits | awk '{ print $4, $5 }'")
            .prints("unlimited unlimited"),
    );
    rows
}

fn attributes() -> Vec<Row> {
    let process = |fields: serde_json::Value| json!({ "process": fields });
    vec![
        Row::new("process.noNewPrivileges", "true")
            .patch(process(json!({ "noNewPrivileges": true })))
            .script("grep NoNewPrivs /proc/self/status")
            .prints("NoNewPrivs:\t1"),
        Row::new("process.noNewPrivileges", "false")
            .patch(process(json!({ "noNewPrivileges": false })))
            .script("grep NoNewPrivs /proc/self/status")
            .prints("NoNewPrivs:\t0"),
        Row::new("process.oomScoreAdj", "is set")
            .patch(process(json!({ "oomScoreAdj": 321 })))
            .script("cat /proc/self/oom_score_adj")
            .prints("321"),
        Row::new("process.oomScoreAdj", "stays the runtime's where it is not given")
            .script("cat /proc/self/oom_score_adj")
            .prints("0"),
        Row::new("process.apparmorProfile", "is refused where the kernel has no AppArmor")
            .patch(process(json!({ "apparmorProfile": "docker-default" })))
            .refuses(&["process.apparmorProfile", "AppArmor"])
            .not(Peer::Crun, "ignores it without AppArmor"),
        Row::new("process.selinuxLabel", "is refused where the kernel has no SELinux")
            .patch(process(json!({ "selinuxLabel": "system_u:system_r:container_t:s0" })))
            .refuses(&["process.selinuxLabel", "SELinux"])
            .not(Peer::Crun, "ignores it without SELinux"),
        Row::new("process.commandLine", "means nothing on Linux")
            .patch(process(json!({ "commandLine": "cmd /c dir" })))
            .script("echo sh")
            .prints("sh"),
    ]
}

fn scheduling() -> Vec<Row> {
    let scheduler = |fields: serde_json::Value| json!({ "process": { "scheduler": fields } });
    // The fields 18 to 19 and 40 to 41 of proc_pid_stat(5): nice, real-time priority and policy.
    let seen = "awk '{ print $19, $40, $41 }' /proc/self/stat";
    let mut rows = vec![
        Row::new("process.scheduler.policy", "SCHED_OTHER").patch(scheduler(json!({ "policy": "SCHED_OTHER" }))).script(seen).prints("0 0 0"),
        Row::new("process.scheduler.policy", "SCHED_BATCH").patch(scheduler(json!({ "policy": "SCHED_BATCH", "nice": 3 }))).script(seen).prints("3 0 3"),
        Row::new("process.scheduler.policy", "SCHED_IDLE").patch(scheduler(json!({ "policy": "SCHED_IDLE" }))).script(seen).prints("0 0 5"),
        Row::new("process.scheduler.nice", "is set").patch(scheduler(json!({ "policy": "SCHED_OTHER", "nice": 10 }))).script(seen).prints("10 0 0"),
        Row::new("process.scheduler.priority", "SCHED_FIFO").patch(scheduler(json!({ "policy": "SCHED_FIFO", "priority": 12 }))).edit(own_cpu_group).script(seen).prints("0 12 1"),
        Row::new("process.scheduler.policy", "SCHED_RR").patch(scheduler(json!({ "policy": "SCHED_RR", "priority": 9 }))).edit(own_cpu_group).script(seen).prints("0 9 2"),
        Row::new("process.scheduler.flags", "SCHED_FLAG_RESET_ON_FORK").patch(scheduler(json!({ "policy": "SCHED_OTHER", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }))).script(seen).prints("5 0 0"),
        Row::new("process.scheduler.runtime", "SCHED_DEADLINE")
            .patch(scheduler(json!({ "policy": "SCHED_DEADLINE", "runtime": 10_000_000, "deadline": 20_000_000, "period": 30_000_000, "flags": ["SCHED_FLAG_RESET_ON_FORK"] })))
            .edit(own_cpu_group)
            .script("awk '{ print $41 }' /proc/1/stat")
            .prints("6"),
        Row::new("process.scheduler.deadline", "a deadline shorter than the runtime is refused")
            .patch(scheduler(json!({ "policy": "SCHED_DEADLINE", "runtime": 20_000_000, "deadline": 10_000_000, "period": 30_000_000 })))
            .refuses(&["process.scheduler"]),
        Row::new("process.scheduler.period", "a period shorter than the deadline is refused")
            .patch(scheduler(json!({ "policy": "SCHED_DEADLINE", "runtime": 10_000_000, "deadline": 20_000_000, "period": 15_000_000 })))
            .refuses(&["process.scheduler"]),
    ];
    for (class, name, priority, seen) in [
        ("IOPRIO_CLASS_BE", "best-effort", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_RT", "realtime", 2, "realtime: prio 2"),
        ("IOPRIO_CLASS_IDLE", "idle", 0, "idle"),
    ] {
        let field = if class == "IOPRIO_CLASS_BE" { "process.ioPriority.priority" } else { "process.ioPriority.class" };
        rows.push(
            Row::new(field, name)
                .patch(json!({ "process": { "ioPriority": { "class": class, "priority": priority } } }))
                .script("ionice -p $$")
                .prints(seen),
        );
    }
    rows = rows.into_iter().map(Row::newer).collect();
    rows.push(
        Row::new("process.execCPUAffinity.initial", "means nothing to the container's first process")
            .patch(json!({ "process": { "execCPUAffinity": { "initial": "0", "final": "0" } } }))
            .script("[ $(nproc) = $(grep -c ^processor /proc/cpuinfo) ] && echo all")
            .prints("all"),
    );
    rows
}

/// Real-time policies need a share of the group's real-time time, which new cgroups do not have; so it stays in the root's.
fn own_cpu_group(config: &mut serde_json::Value, _: &crate::case::Case) {
    crate::row::merge(
        config,
        &json!({ "linux": { "resources": { "cpu": { "realtimeRuntime": 10_000, "realtimePeriod": 1_000_000 } } } }),
    );
}

fn terminal() -> Vec<Row> {
    vec![
        Row::new("process.terminal", "false leaves no terminal")
            .script("tty; ls /dev/console 2>&1")
            .exits("not a tty\nls: /dev/console: No such file or directory", 1),
    ]
}
