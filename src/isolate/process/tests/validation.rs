//! Everything that is wrong, at once and by name.

use super::*;

fn problems(process: serde_json::Value, linux: serde_json::Value) -> Vec<String> {
    let spec = configuration(process, linux);
    process_problems(&spec, spec.process().as_ref().unwrap()).iter().map(Error::to_string).collect()
}

#[test]
fn all_problems_come_at_once_with_their_fields() {
    let process = json!({
        "user": { "uid": 4294967295u32, "gid": 7, "umask": 0o1777, "additionalGids": [1, 4294967295u32] },
        "rlimits": [
            { "type": "RLIMIT_CORE", "soft": 2, "hard": 1 },
            { "type": "RLIMIT_CPU", "soft": 1, "hard": 1 },
            { "type": "RLIMIT_CPU", "soft": 1, "hard": 1 },
        ],
        "oomScoreAdj": 1001,
        "scheduler": { "policy": "SCHED_OTHER", "priority": 3 },
        "ioPriority": { "class": "IOPRIO_CLASS_RT", "priority": 8 },
        "execCPUAffinity": { "initial": "3-1", "final": "999999" },
        "apparmorProfile": "a\nb",
    });
    let linux = json!({
        "sysctl": { "kernel.pid_max": "1", "net.ipv4.ip_forward": "1", "kernel.hostname": "x", "..": "1" },
        "personality": { "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] },
        "memoryPolicy": { "mode": "MPOL_DEFAULT", "nodes": "0" },
        "seccomp": { "defaultAction": "SCMP_ACT_NOTIFY" },
        "intelRdt": { "closID": "a/b" },
    });
    let found = problems(process, linux);
    for field in [
        "process.user.uid: 4294967295 is no id",
        "process.user.additionalGids[1]: 4294967295 is no id",
        "process.user.umask: 01777 is above 0777",
        "process.rlimits[0]: ",
        "process.rlimits[2]: RLIMIT_CPU is there twice",
        "process.oomScoreAdj: 1001",
        "process.scheduler.priority: SCHED_OTHER has no priority",
        "process.ioPriority.priority: 8",
        "process.execCPUAffinity.initial: ",
        "process.execCPUAffinity.final: ",
        "process.apparmorProfile: \"a\\nb\" holds a control character",
        "linux.sysctl.kernel.pid_max: it is the whole host's",
        "linux.sysctl.net.ipv4.ip_forward: it needs a network namespace",
        "linux.sysctl.kernel.hostname: the field hostname says the host name",
        "linux.sysctl...: this is no name",
        "linux.personality.flags: ",
        "linux.memoryPolicy.nodes: MPOL_DEFAULT takes no nodes",
        "linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs one",
        "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default",
        "linux.intelRdt.closID: \"a/b\"",
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(field)), "{field}: {found:#?}");
    }
    assert_eq!(found.len(), 20, "{found:#?}");
}

#[test]
fn ids_must_be_mapped_where_there_are_mappings() {
    let user = json!({ "uid": 5, "gid": 10, "additionalGids": [9] });
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let found = problems(json!({ "user": user }), json!({ "uidMappings": map, "gidMappings": map }));
    assert_eq!(found, ["process.user.gid: 10 is not mapped in the user namespace"]);
}

#[test]
fn a_namespace_of_the_hosts_is_not_the_containers() {
    let namespaces = json!([{ "type": "network", "path": "/proc/self/ns/net" }, { "type": "ipc" }]);
    let sysctl = json!({ "net.ipv4.ip_forward": "1", "fs.mqueue.queues_max": "5", "kernel.domainname": "x" });
    let found = problems(json!({}), json!({ "namespaces": namespaces, "sysctl": sysctl }));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|problem| problem.contains("ip_forward: it needs a network namespace")));
    assert!(found.iter().any(|problem| problem.contains("domainname: it needs a uts namespace")));
}

#[test]
fn what_is_fine_has_no_problems() {
    let listener = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] });
    assert_eq!(problems(json!({ "oomScoreAdj": -1000 }), json!({ "seccomp": listener })), Vec::<String>::new());
}
