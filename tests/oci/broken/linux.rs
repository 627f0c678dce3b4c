//! Bundles that are wrong in what they ask of Linux: mounts, devices, filters, namespaces, cgroups, hooks.

use super::{broken, in_user_namespace};
use crate::base::{bind, mount};
use crate::peer::Peer;
use crate::row::{Row, push, refused};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

pub fn rows() -> Vec<Row> {
    [mounts(), seccomp(), namespaces(), cgroups(), others()].into_iter().flatten().collect()
}

fn mounts() -> Vec<Row> {
    let wrong = |name: &'static str, entry: Value, parts: &[&str]| Row::new("broken", name).mount(entry).refuses(parts);
    vec![
        wrong("a mount's source is missing", bind("/nowhere/source", "/mnt", &[]), &["/nowhere/source", "ENOENT"]),
        wrong("a mount's type is unknown", mount("/mnt", "boatfs", "none", &[]), &["boatfs", "ENODEV"]),
        wrong("a mount has no destination", json!({ "type": "tmpfs", "source": "tmpfs" }), &["destination"]),
        wrong("a mount's option is unknown", mount("/mnt", "tmpfs", "tmpfs", &["size=boat"]), &["size", "/mnt"]),
        wrong("a mount has neither type nor bind", json!({ "destination": "/mnt", "source": "/dev" }), &["mounts[6].type"]).not(Peer::Crun, "crashes"),
        wrong("a mount's destination holds a NUL", mount("/m\u{0}nt", "tmpfs", "tmpfs", &[]), &["mounts"]).not(Peer::Crun, "cuts it off"),
        wrong("a bind mount with an option of tmpfs", mount("/mnt", "tmpfs", "/dev", &["bind", "size=64k"]), &["size"]).not(Peer::Crun, "ignores it").not(Peer::Runc, "ignores it"),
        Row::new("broken", "a mount's target is a cycle of links").edit(|_, case| {
            symlink("two", case.root().join("one")).expect("a link");
            symlink("one", case.root().join("two")).expect("a link");
        }).mount(mount("/one/x", "tmpfs", "tmpfs", &[])).refuses(&["/one", "ELOOP"]),
        Row::new("broken", "a mount's target is below a file").mount(mount("/bin/busybox/x", "tmpfs", "tmpfs", &[])).refuses(&["/bin/busybox", "ENOTDIR"]),
        Row::new("broken", "id maps of a mount that is no bind").mount(json!({ "destination": "/mnt", "type": "proc", "source": "proc", "uidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }], "gidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }] })).refuses(&["mounts[6]"]).newer(),
        Row::new("broken", "a map of users of a mount without one of groups").mount(json!({ "destination": "/mnt", "type": "bind", "source": "{scratch}", "options": ["bind"], "uidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }] })).refuses(&["gidMappings"]).newer(),
        Row::new("broken", "a masked path that is relative").push("/linux/maskedPaths", json!("secret")).refuses(&["linux.maskedPaths", "secret"]).not(Peer::Crun, "takes it"),
        Row::new("broken", "a read-only path that is relative").push("/linux/readonlyPaths", json!("secret")).refuses(&["linux.readonlyPaths", "secret"]).not(Peer::Crun, "takes it"),
        broken("a device of an unknown type", json!({ "linux": { "devices": [{ "path": "/dev/x", "type": "x", "major": 1, "minor": 3 }] } }), &["x"]),
        broken("a device with a relative path", json!({ "linux": { "devices": [{ "path": "x", "type": "c", "major": 1, "minor": 3 }] } }), &["linux.devices", "absolute"]).not(Peer::Crun, "makes it").not(Peer::Runc, "makes it"),
        broken("another file in the place of a device", json!({ "linux": { "devices": [{ "path": "/bin/busybox", "type": "c", "major": 1, "minor": 5 }] } }), &["/bin/busybox", "EEXIST"]).not(Peer::Crun, "makes it").not(Peer::Runc, "makes it"),
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
            &["linux.seccomp", "syscalls[0]", "argument 6"],
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
            &["linux.uidMappings", "empty"],
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
        resources("a memory limit too small to start in", json!({ "memory": { "limit": 1 } }), &["memory limit"]),
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
            &["createRuntime", "/bin/sleep", "timed out"],
        ),
        hook("a hook of no program", json!({ "path": "/etc/hostname" }), &["createRuntime", "/etc/hostname"]),
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
