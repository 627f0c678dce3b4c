//! `linux.seccomp`, `linux.sysctl`, `linux.maskedPaths`, `linux.readonlyPaths`.

use crate::peer::Peer;
use crate::row::Row;
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;

pub fn rows() -> Vec<Row> {
    [actions(), operators(), filters(), notify(), sysctl(), masks()].into_iter().flatten().collect()
}

fn seccomp(filter: Value) -> Value {
    json!({ "linux": { "seccomp": filter } })
}

fn one(rule: Value) -> Value {
    seccomp(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }))
}

/// What `mkdir` says, and the shell about it.
const MKDIR: &str = "mkdir /made 2>&1 | sed 's/.*: //'; [ -d /made ] && echo made";

fn actions() -> Vec<Row> {
    let action = |action: &str| one(json!({ "names": ["mkdir", "mkdirat"], "action": action }));
    // The status of a subshell: 128 and the signal.
    let status = "mkdir /made 2>/dev/null; echo $?";
    vec![
        Row::new("linux.seccomp.syscalls[].action", "SCMP_ACT_ALLOW")
            .patch(action("SCMP_ACT_ALLOW"))
            .script(MKDIR)
            .prints("made"),
        Row::new("linux.seccomp.syscalls[].action", "SCMP_ACT_ERRNO is EPERM")
            .patch(action("SCMP_ACT_ERRNO"))
            .script(MKDIR)
            .exits("Operation not permitted", 1),
        Row::new("linux.seccomp.syscalls[].action", "SCMP_ACT_KILL")
            .patch(action("SCMP_ACT_KILL"))
            .script(status)
            .prints("159"),
        Row::new("linux.seccomp.syscalls[].action", "SCMP_ACT_KILL_THREAD")
            .patch(action("SCMP_ACT_KILL_THREAD"))
            .script(status)
            .prints("159"),
        Row::new("linux.seccomp.syscalls[].action", "SCMP_ACT_KILL_PROCESS")
            .patch(action("SCMP_ACT_KILL_PROCESS"))
            .script(status)
            .prints("159"),
        Row::new("linux.seccomp.syscalls[].action", "SCMP_ACT_TRAP is SIGSYS")
            .patch(action("SCMP_ACT_TRAP"))
            .script(status)
            .prints("159"),
        Row::new("linux.seccomp.syscalls[].action", "SCMP_ACT_TRACE without a tracer is ENOSYS")
            .patch(action("SCMP_ACT_TRACE"))
            .script(MKDIR)
            .exits("Function not implemented", 1),
        Row::new("linux.seccomp.syscalls[].action", "SCMP_ACT_LOG goes on")
            .patch(action("SCMP_ACT_LOG"))
            .script(MKDIR)
            .prints("made"),
        Row::new("linux.seccomp.syscalls[].errnoRet", "is the errno")
            .patch(one(json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 })))
            .script(MKDIR)
            .exits("No space left on device", 1),
        Row::new("linux.seccomp.syscalls[].errnoRet", "with an action that takes none is refused")
            .patch(one(json!({ "names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 28 })))
            .refuses(&["linux.seccomp", "syscalls[0]", "errnoRet"])
            .not(Peer::Runc, "ignores it"),
        Row::new("linux.seccomp.syscalls[].names", "one that no architecture has is passed over")
            .patch(one(json!({ "names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" })))
            .script(MKDIR)
            .exits("Operation not permitted", 1),
        Row::new("linux.seccomp.syscalls[].names", "none is refused")
            .patch(one(json!({ "names": [], "action": "SCMP_ACT_ERRNO" })))
            .refuses(&["linux.seccomp", "syscalls[0]", "names"])
            .not(Peer::Runc, "takes it")
            .not(Peer::Crun, "takes it"),
    ]
}

/// The second argument of kill(2) is the signal: the first process of the container may send itself any, ignored.
fn operators() -> Vec<Row> {
    let probe = "for n in 9 10 11 12 13; do kill -$n 1 2>/dev/null && echo -n \"$n \"; done";
    let rule = |argument: Value| {
        one(json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [argument] }))
    };
    let op = |op: &str, value: u64, two: u64, passes: &str| {
        Row::new("linux.seccomp.syscalls[].args[].op", op)
            .patch(rule(json!({ "index": 1, "op": op, "value": value, "valueTwo": two })))
            .script(format!("trap '' 10 11 12 13; {probe}; echo"))
            .prints(passes)
    };
    vec![
        op("SCMP_CMP_EQ", 11, 0, "9 10 12 13"),
        op("SCMP_CMP_NE", 11, 0, "11"),
        op("SCMP_CMP_LT", 11, 0, "11 12 13"),
        op("SCMP_CMP_LE", 11, 0, "12 13"),
        op("SCMP_CMP_GT", 11, 0, "9 10 11"),
        op("SCMP_CMP_GE", 11, 0, "9 10"),
        // 10 is 0b1010, 11 0b1011.
        op("SCMP_CMP_MASKED_EQ", 0b1110, 0b1010, "9 12 13"),
        Row::new("linux.seccomp.syscalls[].args[].index", "each argument, all of them together").patch(one(json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "op": "SCMP_CMP_EQ", "value": 1 }, { "index": 1, "op": "SCMP_CMP_EQ", "value": 12 }] })))
            .script("trap '' 10 12; kill -12 1 2>/dev/null || echo no; kill -10 1 && echo yes; (trap '' 12; kill -12 $(sh -c 'echo $PPID')) && echo other").prints("no\nyes\nother"),
        Row::new("linux.seccomp.syscalls[].args[].index", "beyond the sixth is refused").patch(rule(json!({ "index": 6, "op": "SCMP_CMP_EQ", "value": 1 }))).refuses(&["linux.seccomp", "syscalls[0]", "argument 6"]),
        Row::new("linux.seccomp.syscalls[].args[].value", "of all 64 bits").patch(rule(json!({ "index": 1, "op": "SCMP_CMP_EQ", "value": (1u64 << 32) | 11 }))).script(format!("trap '' 10 11 12 13; {probe}; echo")).prints("9 10 11 12 13"),
        Row::new("linux.seccomp.syscalls[].args[].valueTwo", "means nothing without a mask").patch(rule(json!({ "index": 1, "op": "SCMP_CMP_EQ", "value": 11, "valueTwo": 12 }))).script(format!("trap '' 10 11 12 13; {probe}; echo")).prints("9 10 12 13"),
    ]
}

fn filters() -> Vec<Row> {
    let all = "/usr/share/containers/seccomp.json";
    let machine = if cfg!(target_arch = "x86_64") { "SCMP_ARCH_X86_64" } else { "SCMP_ARCH_AARCH64" };
    let flags = |list: &[&str]| {
        seccomp(
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": list, "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] }),
        )
    };
    let mut rows = vec![
        Row::new("linux.seccomp", "the mode is 2").patch(one(json!({ "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }))).script("grep -E '^Seccomp:' /proc/self/status").prints("Seccomp:\t2"),
        Row::new("linux.seccomp", "without, the mode is 0").script("grep -E '^Seccomp:' /proc/self/status").prints("Seccomp:\t0"),
        Row::new("linux.seccomp", "with noNewPrivileges").patch(one(json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }))).patch(json!({ "process": { "noNewPrivileges": true, "user": { "uid": 7, "gid": 7 } } })).script(MKDIR).exits("Operation not permitted", 1),
        Row::new("linux.seccomp.architectures", "the machine's").patch(seccomp(json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [machine], "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] }))).script(MKDIR).exits("Operation not permitted", 1),
        Row::new("linux.seccomp.defaultAction", "the profile of Podman").steps(move |case, config| {
            let text = std::fs::read_to_string(all).expect("the package golang-github-containers-common is installed");
            let mut profile: Value = serde_json::from_str(&text).expect("JSON");
            profile["syscalls"].as_array_mut().expect("a list").retain(|rule| {
                let only = &rule["includes"];
                let here = only["arches"].as_array().is_none_or(|list| list.iter().any(|name| name == "amd64" || name == "arm64"));
                here && only["caps"].is_null() && only["minKernel"].is_null() && rule["action"] == "SCMP_ACT_ALLOW"
            });
            profile.as_object_mut().expect("an object").remove("archMap");
            profile["architectures"] = json!([machine]);
            let mut config = config("grep Seccomp: /proc/self/status | cut -f2; hostname x 2>&1 | sed 's/.*: //'; mkdir /made && echo made");
            config["linux"]["seccomp"] = profile;
            config["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"]);
            config["process"]["capabilities"]["permitted"] = json!(["CAP_SYS_ADMIN"]);
            config["process"]["capabilities"]["effective"] = json!(["CAP_SYS_ADMIN"]);
            assert_eq!(case.run(&config, &[]).good(), "2\nFunction not implemented\nmade");
        }),
        Row::new("linux.seccomp.defaultErrnoRet", "is the default's errno").steps(move |case, config| {
            let text = std::fs::read_to_string(all).expect("the package golang-github-containers-common is installed");
            let profile: Value = serde_json::from_str(&text).expect("JSON");
            let names: Vec<&Value> = profile["syscalls"].as_array().expect("a list").iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW").flat_map(|rule| rule["names"].as_array().expect("a list")).filter(|name| !["mkdir", "mkdirat"].contains(&name.as_str().unwrap_or_default())).collect();
            let mut config = config(MKDIR);
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 28, "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] });
            let outcome = case.run(&config, &[]);
            assert_eq!(outcome.stdout.trim(), "No space left on device", "{outcome:?}");
        }),
        Row::new("linux.seccomp.flags", "none").patch(flags(&[])).script(MKDIR).exits("Operation not permitted", 1),
        Row::new("linux.seccomp.flags", "SECCOMP_FILTER_FLAG_LOG").patch(flags(&["SECCOMP_FILTER_FLAG_LOG"])).script(MKDIR).exits("Operation not permitted", 1).not(Peer::Runc, "1.1 knows no flags"),
        Row::new("linux.seccomp.flags", "SECCOMP_FILTER_FLAG_TSYNC").patch(flags(&["SECCOMP_FILTER_FLAG_TSYNC"])).script(MKDIR).exits("Operation not permitted", 1).not(Peer::Runc, "1.1 knows no flags"),
        Row::new("linux.seccomp.flags", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV").patch(flags(&["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])).script(MKDIR).exits("Operation not permitted", 1).newer(),
        Row::new("linux.seccomp.flags", "SECCOMP_FILTER_FLAG_SPEC_ALLOW").patch(flags(&["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])).script("grep Speculation_Store_Bypass /proc/self/status | grep -c mitigated; true").prints("0").not(Peer::Runc, "1.1 knows no flags"),
        Row::new("linux.seccomp.flags", "unknown is refused").patch(flags(&["SECCOMP_FILTER_FLAG_SWIM"])).refuses(&["config.json", "SECCOMP_FILTER_FLAG_SWIM"]),
    ];
    if cfg!(target_arch = "x86_64") {
        let both = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        rows.push(Row::new("linux.seccomp.architectures", "several").patch(seccomp(json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": both, "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] }))).script(MKDIR).exits("Operation not permitted", 1));
    }
    rows
}

/// Takes the message, and closes the descriptor: calls that wait on it end with ENOSYS.
fn received(listener: &UnixListener) -> String {
    let (text, descriptors) = crate::socket::receive(listener);
    assert_eq!(descriptors.len(), 1, "one descriptor comes along");
    text
}

fn notify() -> Vec<Row> {
    let filter = |listener: &str| {
        seccomp(
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": listener, "listenerMetadata": "for the listener",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }] }),
        )
    };
    vec![
        Row::new("linux.seccomp.listenerPath", "gets the descriptor and the container's state")
            .patch(filter("{scratch}/listener"))
            .steps(|case, config| {
                let listener = UnixListener::bind(case.path().join("listener")).expect("a socket");
                let thread = std::thread::spawn(move || received(&listener));
                let outcome = case.run(&config(MKDIR), &[]);
                assert_eq!(outcome.stdout.trim(), "Function not implemented", "{outcome:?}");
                let state: Value = serde_json::from_str(&thread.join().expect("a message")).expect("JSON");
                assert_eq!(
                    (&state["fds"], &state["metadata"]),
                    (&json!(["seccompFd"]), &json!("for the listener")),
                    "{state}"
                );
                assert_eq!(
                    (&state["state"]["id"], state["state"]["ociVersion"].is_string()),
                    (&json!(case.id), true),
                    "{state}"
                );
                assert!(
                    state["pid"].as_i64().is_some_and(|pid| pid > 1) && state["state"]["status"].is_string(),
                    "{state}"
                );
            }),
        Row::new("linux.seccomp.listenerMetadata", "without a listener is refused")
            .patch(seccomp(json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" })))
            .refuses(&["linux.seccomp.listenerMetadata"])
            .not(Peer::Crun, "ignores it"),
        Row::new("linux.seccomp.listenerPath", "nobody there is refused")
            .patch(filter("{scratch}/nobody"))
            .refuses(&["linux.seccomp.listenerPath", "{scratch}/nobody"]),
        Row::new("linux.seccomp.syscalls[].action", "SCMP_ACT_NOTIFY without a listener is refused")
            .patch(one(json!({ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" })))
            .refuses(&["linux.seccomp.listenerPath"])
            .not(Peer::Crun, "takes it"),
    ]
}

fn sysctl() -> Vec<Row> {
    let set = |name: &str, value: &str| json!({ "linux": { "sysctl": { name: value } } });
    let read = |name: &'static str, value: &'static str| {
        Row::new("linux.sysctl", name)
            .patch(set(name, value))
            .script(format!("cat /proc/sys/{}", name.replace('.', "/")))
            .prints(value)
    };
    vec![
        read("net.ipv4.ip_forward", "1"),
        read("net.ipv4.ping_group_range", "0\t7"),
        read("kernel.shmmax", "1048576"),
        read("kernel.msgmax", "4096"),
        read("kernel.sem", "250\t32000\t32\t100"),
        read("fs.mqueue.msg_max", "20"),
        read("kernel.domainname", "sea"),
        Row::new("linux.sysctl", "written with slashes")
            .patch(set("net/ipv4/ip_forward", "1"))
            .script("cat /proc/sys/net/ipv4/ip_forward")
            .prints("1")
            .not(Peer::Runc, "knows dots alone in 1.1"),
        Row::new("linux.sysctl", "kernel.hostname beside hostname is refused")
            .patch(set("kernel.hostname", "x"))
            .refuses(&["linux.sysctl", "kernel.hostname"])
            .not(Peer::Crun, "writes it"),
        Row::new("linux.sysctl", "one of no namespace is refused")
            .patch(set("vm.swappiness", "1"))
            .refuses(&["linux.sysctl", "vm.swappiness"]),
        Row::new("linux.sysctl", "of a network that is the host's is refused")
            .patch(set("net.ipv4.ip_forward", "1"))
            .edit(|config, _| {
                config["linux"]["namespaces"]
                    .as_array_mut()
                    .expect("a list")
                    .retain(|entry| entry["type"] != "network");
            })
            .refuses(&["linux.sysctl", "net.ipv4.ip_forward"]),
        Row::new("linux.sysctl", "one that is missing is refused")
            .patch(set("net.no_such_thing", "1"))
            .refuses(&["linux.sysctl", "net.no_such_thing"]),
        Row::new("linux.sysctl", "a value the kernel refuses")
            .patch(set("net.ipv4.ip_forward", "boat"))
            .refuses(&["linux.sysctl", "net.ipv4.ip_forward"]),
    ]
}

fn masks() -> Vec<Row> {
    let made = |row: Row| {
        row.edit(|_, case| {
            case.file("bundle/rootfs/secret/file", "secret");
        })
    };
    vec![
        made(Row::new("linux.maskedPaths", "a directory is empty and read-only"))
            .push("/linux/maskedPaths", json!("/secret"))
            .script("ls /secret; touch /secret/x 2>&1")
            .exits("touch: /secret/x: Read-only file system", 1),
        made(Row::new("linux.maskedPaths", "a file is empty"))
            .push("/linux/maskedPaths", json!("/secret/file"))
            .script("cat /secret/file; ls /secret")
            .prints("file"),
        Row::new("linux.maskedPaths", "one that is missing is passed over")
            .push("/linux/maskedPaths", json!("/nowhere/at/all"))
            .script("echo ran")
            .prints("ran"),
        Row::new("linux.maskedPaths", "those of Docker")
            .script("cat /proc/keys /proc/kcore | wc -c; ls /sys/firmware")
            .prints("0"),
        Row::new("linux.maskedPaths", "none leaves them readable")
            .patch(json!({ "linux": { "maskedPaths": [] } }))
            .script("grep -c ' /proc/k' /proc/self/mountinfo")
            .exits("0", 1),
        made(Row::new("linux.readonlyPaths", "a directory"))
            .push("/linux/readonlyPaths", json!("/secret"))
            .script("cat /secret/file; touch /secret/x 2>&1")
            .exits("secrettouch: /secret/x: Read-only file system", 1),
        made(Row::new("linux.readonlyPaths", "a file"))
            .push("/linux/readonlyPaths", json!("/secret/file"))
            .script("touch /secret/x && echo beside; rm /secret/file 2>&1")
            .exits("beside\nrm: can't remove '/secret/file': Device or resource busy", 1),
        Row::new("linux.readonlyPaths", "one that is missing is passed over")
            .push("/linux/readonlyPaths", json!("/nowhere/at/all"))
            .script("echo ran")
            .prints("ran"),
        Row::new("linux.readonlyPaths", "keeps the flags of the mount")
            .script("grep ' /proc/sys ' /proc/self/mountinfo | cut -d' ' -f6")
            .prints("ro,nosuid,nodev,noexec,relatime")
            .not(Peer::Crun, "drops them"),
        Row::new("linux.readonlyPaths", "those of Docker")
            .script("(echo 1 >/proc/sys/kernel/pid_max) 2>&1 | sed 's/.*: //'")
            .prints("Read-only file system"),
    ]
}
