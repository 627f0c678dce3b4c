//! Rows for an ordinary user: the own id as root of a user namespace, no cgroup, nothing that needs rights.

use crate::base;
use crate::peer::Peer;
use crate::row::Row;
use serde_json::{Value, json};

pub fn rows() -> Vec<Row> {
    [seen(), verbs(), wrong()].into_iter().flatten().map(|row| row.instead(base::rootless)).collect()
}

fn seen() -> Vec<Row> {
    vec![
        Row::new("linux.uidMappings", "the user is root inside").script("id -u; id -g; wc -l </proc/self/uid_map").prints("0\n0\n1"),
        Row::new("linux.namespaces[].type", "user: with all others")
            .script("for kind in mnt net uts pid ipc user; do readlink /proc/self/ns/$kind | cut -d: -f1; done; hostname")
            .prints("mnt\nnet\nuts\npid\nipc\nuser\nboat"),
        Row::new("process.user.additionalGids", "none can be set without setgroups").script("cat /proc/self/setgroups").prints("deny").for_ordinary_user(),
        Row::new("process.capabilities", "are those of the namespace").script("grep CapEff /proc/self/status").prints("CapEff:\t00000000a80425fb"),
        Row::new("linux.devices", "are the host's, bound").script("echo x >/dev/null; head -c 2 /dev/zero | od -An -tx1; stat -c %F /dev/tty").prints("00 00\ncharacter special file"),
        Row::new("mounts[].type", "sysfs of its own network").script("ls /sys/class/net; stat -f -c %t /sys").prints("lo\n62656572"),
        Row::new("mounts[].type", "tmpfs").mount(base::mount("/mnt", "tmpfs", "tmpfs", &["size=64k"])).script("echo x >/mnt/file && stat -f -c %T /mnt").prints("tmpfs"),
        Row::new("mounts[].options", "bind of the user's own directory")
            .edit(|_, case| drop(case.file("source/file", "bound")))
            .mount(base::bind("{scratch}/source", "/mnt", &["ro"]))
            .script("cat /mnt/file; touch /mnt/x 2>&1")
            .exits("boundtouch: /mnt/x: Read-only file system", 1),
        Row::new("mounts[].options", "a bind keeps what the host locked")
            .mount(base::bind("/proc/sys", "/mnt", &["ro"]))
            .script("grep ' /mnt ' /proc/self/mountinfo | cut -d' ' -f6 | cut -d, -f1")
            .prints("ro"),
        Row::new("root.readonly", "true").patch(json!({ "root": { "readonly": true } })).script("touch /x 2>&1").exits("touch: /x: Read-only file system", 1),
        Row::new("linux.maskedPaths", "are masked").script("cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware").prints("0"),
        Row::new("linux.readonlyPaths", "are read-only").script("(echo 1 >/proc/sys/kernel/pid_max) 2>&1 | sed 's/.*: //'").prints("Read-only file system"),
        Row::new("linux.seccomp", "a filter")
            .patch(json!({ "linux": { "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] } } }))
            .script("mkdir /x 2>&1 | sed 's/.*: //'")
            .prints("Operation not permitted"),
        Row::new("process.noNewPrivileges", "true").patch(json!({ "process": { "noNewPrivileges": true } })).script("grep NoNewPrivs /proc/self/status").prints("NoNewPrivs:\t1"),
        Row::new("process.rlimits", "below the hard limit").patch(json!({ "process": { "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }] } })).script("ulimit -n; ulimit -Hn").prints("100\n200"),
        Row::new("linux.sysctl", "of its own network").patch(json!({ "linux": { "sysctl": { "net.ipv4.ip_forward": "1" } } })).script("cat /proc/sys/net/ipv4/ip_forward").prints("1"),
        Row::new("process.oomScoreAdj", "higher").patch(json!({ "process": { "oomScoreAdj": 500 } })).script("cat /proc/self/oom_score_adj").prints("500"),
        Row::new("hooks", "of the user").edit(|config, case| {
            let text = format!("id -u >{}/trace", case.path().display());
            config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", text], "env": ["PATH=/bin:/usr/bin"] }] });
        }).steps(|case, config| {
            case.run(&config(":"), &[]).good();
            assert_eq!(case.read("trace").trim(), nix::unistd::geteuid().to_string());
        }),
    ]
}

fn verbs() -> Vec<Row> {
    vec![
        Row::new("create", "start, state, exec, kill, delete").steps(|case, config| {
            case.create(&config("sleep 1000"), &[]).good();
            assert_eq!(case.state()["status"], "created");
            case.runtime(["start", &case.id]).good();
            assert_eq!(case.state()["status"], "running");
            assert_eq!(case.runtime(["exec", &case.id, "/bin/sh", "-c", "id -u; hostname"]).good(), "0\nboat");
            case.runtime(["kill", &case.id, "KILL"]).good();
            case.until_status("stopped");
            case.runtime(["delete", &case.id]).good();
            assert_eq!(case.traces(), Vec::<String>::new());
        }),
        Row::new("run", "the exit code").script("exit 42").exits("", 42),
        Row::new("delete", "by force").steps(|case, config| {
            case.run(&config("sleep 1000"), &["--detach"]).good();
            case.runtime(["delete", "--force", &case.id]).good();
            assert_eq!(case.traces(), Vec::<String>::new());
        }),
        Row::new("spec", "--rootless runs")
            .steps(|case, _| {
                case.runtime(["spec", "--rootless", "--bundle", &case.bundle().to_string_lossy()]).good();
                let mut config: Value = serde_json::from_str(&case.read("bundle/config.json")).expect("JSON");
                config["process"]["terminal"] = json!(false);
                config["process"]["args"] = json!(["/bin/echo", "by spec"]);
                assert_eq!(case.run(&config, &[]).good(), "by spec");
            })
            .not(Peer::Crun, "of 1.8 maps at the start"),
    ]
}

fn wrong() -> Vec<Row> {
    vec![
        Row::new("linux.uidMappings", "an id that is not the user's").edit(|config, _| config["linux"]["uidMappings"][0]["hostID"] = json!(nix::unistd::geteuid().as_raw() + 1)).refuses(&["uid"]).for_ordinary_user(),
        Row::new("linux.resources", "a limit without a cgroup to write in").patch(json!({ "linux": { "cgroupsPath": "/{id}", "resources": { "memory": { "limit": 67_108_864 } } } })).refuses(&["cgroup"]).for_ordinary_user().not(Peer::Crun, "ignores it"),
        Row::new("linux.namespaces[].type", "no user namespace").edit(|config, _| {
            config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|entry| entry["type"] != "user");
            config["linux"]["uidMappings"] = json!([]);
            config["linux"]["gidMappings"] = json!([]);
        }).refuses(&["EPERM"]).for_ordinary_user(),
        Row::new("process.rlimits", "above the hard limit").patch(json!({ "process": { "rlimits": [{ "type": "RLIMIT_MEMLOCK", "soft": 1u64 << 50, "hard": 1u64 << 50 }] } })).refuses(&["memlock", "EPERM"]).for_ordinary_user(),
        Row::new("mounts[].type", "a file system that no user may mount").mount(base::mount("/mnt", "ext4", "/dev/null", &[])).refuses(&["ext4"]),
    ]
}
