//! Names, personality, memory policy, network devices, cache allocation, annotations, and what Linux has no use for.

use crate::peer::Peer;
use crate::row::Row;
use serde_json::{Value, json};
use std::process::Command;

pub fn rows() -> Vec<Row> {
    [names(), personality(), memory_policy(), network_devices(), others()].into_iter().flatten().collect()
}

fn names() -> Vec<Row> {
    vec![
        Row::new("hostname", "is set").patch(json!({ "hostname": "skiff" })).script("hostname").prints("skiff"),
        Row::new("hostname", "of 64 bytes")
            .patch(json!({ "hostname": "x".repeat(64) }))
            .script("hostname | wc -c")
            .prints("65"),
        Row::new("hostname", "left out, stays the host's").patch(json!({ "hostname": null })).steps(|case, config| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
            assert_eq!(case.run(&config("hostname"), &[]).good(), host.trim());
        }),
        Row::new("hostname", "without a UTS namespace is refused")
            .edit(|config, _| {
                config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|entry| entry["type"] != "uts")
            })
            .refuses(&["hostname", "UTS namespace"]),
        Row::new("domainname", "is set")
            .patch(json!({ "domainname": "sea.example" }))
            .script("cat /proc/sys/kernel/domainname")
            .prints("sea.example")
            .newer(),
        Row::new("domainname", "without a UTS namespace is refused")
            .patch(json!({ "hostname": null, "domainname": "sea" }))
            .edit(|config, _| {
                config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|entry| entry["type"] != "uts")
            })
            .refuses(&["domainname", "UTS namespace"])
            .newer(),
    ]
}

fn personality() -> Vec<Row> {
    let of = |domain: &str| json!({ "linux": { "personality": { "domain": domain } } });
    let narrow = if cfg!(target_arch = "x86_64") { "i686" } else { "armv8l" };
    vec![
        Row::new("linux.personality.domain", "LINUX32")
            .patch(of("LINUX32"))
            .script("uname -m; cat /proc/self/personality")
            .prints(format!("{narrow}\n00000008"))
            .not(Peer::Runc, "newer than 1.1"),
        Row::new("linux.personality.domain", "LINUX")
            .patch(of("LINUX"))
            .script("cat /proc/self/personality")
            .prints("00000000")
            .not(Peer::Runc, "newer than 1.1"),
        Row::new("linux.personality.domain", "unknown is refused")
            .patch(of("HPUX"))
            .refuses(&["config.json", "HPUX"])
            .not(Peer::Runc, "newer than 1.1"),
        Row::new("linux.personality.flags", "of which the specification names none")
            .patch(json!({ "linux": { "personality": { "domain": "LINUX", "flags": ["SHORT_INODE"] } } }))
            .refuses(&["linux.personality.flags"])
            .not(Peer::Runc, "newer than 1.1")
            .not(Peer::Crun, "ignores them"),
    ]
}

fn memory_policy() -> Vec<Row> {
    let of = |fields: Value| json!({ "linux": { "memoryPolicy": fields } });
    // The second word of a line about memory that is the process's own.
    let seen = "grep heap /proc/self/numa_maps | sed 's/^[0-9a-f]* //; s/ heap.*//'";
    let rows = vec![
        Row::new("linux.memoryPolicy.mode", "MPOL_DEFAULT")
            .patch(of(json!({ "mode": "MPOL_DEFAULT" })))
            .script(seen)
            .prints("default"),
        Row::new("linux.memoryPolicy.mode", "MPOL_LOCAL")
            .patch(of(json!({ "mode": "MPOL_LOCAL" })))
            .script(seen)
            .prints("local"),
        Row::new("linux.memoryPolicy.nodes", "MPOL_BIND")
            .patch(of(json!({ "mode": "MPOL_BIND", "nodes": "0" })))
            .script(seen)
            .prints("bind:0"),
        Row::new("linux.memoryPolicy.mode", "MPOL_PREFERRED")
            .patch(of(json!({ "mode": "MPOL_PREFERRED", "nodes": "0" })))
            .script(seen)
            .prints("prefer:0"),
        Row::new("linux.memoryPolicy.mode", "MPOL_INTERLEAVE")
            .patch(of(json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" })))
            .script(seen)
            .prints("interleave:0"),
        Row::new("linux.memoryPolicy.mode", "MPOL_PREFERRED_MANY")
            .patch(of(json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" })))
            .script(seen)
            .prints("prefer (many):0"),
        Row::new("linux.memoryPolicy.mode", "MPOL_WEIGHTED_INTERLEAVE")
            .patch(of(json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" })))
            .script(seen)
            .prints("weighted interleave:0"),
        Row::new("linux.memoryPolicy.flags", "MPOL_F_STATIC_NODES")
            .patch(of(json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] })))
            .script(seen)
            .prints("bind=static:0"),
        Row::new("linux.memoryPolicy.flags", "MPOL_F_RELATIVE_NODES")
            .patch(of(json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"] })))
            .script(seen)
            .prints("bind=relative:0"),
        Row::new("linux.memoryPolicy.mode", "unknown is refused")
            .patch(of(json!({ "mode": "MPOL_SAIL" })))
            .refuses(&["config.json", "MPOL_SAIL"]),
        Row::new("linux.memoryPolicy.nodes", "one that is not there is refused")
            .patch(of(json!({ "mode": "MPOL_BIND", "nodes": "900" })))
            .refuses(&["linux.memoryPolicy"]),
        Row::new("linux.memoryPolicy.nodes", "nonsense is refused")
            .patch(of(json!({ "mode": "MPOL_BIND", "nodes": "boat" })))
            .refuses(&["linux.memoryPolicy.nodes", "boat"]),
    ];
    rows.into_iter().map(Row::newer).collect()
}

/// Runs `ip` of the host in the network namespace of that process.
fn ip(holder: u32, arguments: &str) {
    let status = Command::new("nsenter")
        .args(["--net", "--target", &holder.to_string(), "ip"])
        .args(arguments.split(' '))
        .status()
        .expect("nsenter can be started");
    assert!(status.success(), "ip {arguments}: {status}");
}

fn network_devices() -> Vec<Row> {
    // The runtime starts in a network namespace of its own, so the machine's interfaces stay untouched.
    let moved =
        |field: &'static str, name: &'static str, devices: Value, script: &'static str, wanted: &'static str| {
            Row::new(field, name).patch(json!({ "linux": { "netDevices": devices } })).steps(move |case, config| {
                let holder = case.holder(&["--net"]);
                ip(holder, "link add boat0 type veth peer name boat1");
                ip(holder, "address add 192.0.2.7/24 dev boat0");
                ip(holder, "link set boat0 mtu 1400 up");
                case.write(&config(script));
                let mut command = Command::new("nsenter");
                command.args(["--net", "--target", &holder.to_string()]).arg(crate::peer::program());
                case.globals(&mut command);
                command.args(["run", "--bundle"]).arg(case.bundle()).arg(&case.id);
                assert_eq!(case.finish(&mut command).good(), wanted);
            })
        };
    let rows = vec![
        moved(
            "linux.netDevices",
            "moves with its addresses, and is up",
            json!({ "boat0": {} }),
            "ls /sys/class/net; ip address show boat0 | grep -oE '(192.0.2.7/24|mtu 1400)'; ip link show boat0 | grep -o ',UP'",
            "boat0\nlo\nmtu 1400\n192.0.2.7/24\n,UP",
        ),
        moved(
            "linux.netDevices.*.name",
            "is its name inside",
            json!({ "boat0": { "name": "eth7" } }),
            "ls /sys/class/net",
            "eth7\nlo",
        ),
        Row::new("linux.netDevices", "one that is missing is refused")
            .patch(json!({ "linux": { "netDevices": { "nosuch0": {} } } }))
            .refuses(&["linux.netDevices", "nosuch0"]),
        Row::new("linux.netDevices", "without a network namespace is refused")
            .patch(json!({ "linux": { "netDevices": { "lo": {} } } }))
            .edit(|config, _| {
                config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|entry| entry["type"] != "network")
            })
            .refuses(&["linux.netDevices", "network namespace"]),
        Row::new("linux.netDevices.*.name", "too long is refused")
            .patch(json!({ "linux": { "netDevices": { "lo": { "name": "a-name-of-twenty-byte" } } } }))
            .refuses(&["linux.netDevices", "name"]),
    ];
    rows.into_iter().map(Row::newer).collect()
}

fn others() -> Vec<Row> {
    let refused = |field: &'static str, fields: Value| {
        Row::new(field, "is refused where the host has no resctrl")
            .patch(json!({ "linux": { "intelRdt": fields } }))
            .refuses(&["linux.intelRdt"])
            .not(Peer::Crun, "ignores it")
    };
    vec![
        refused("linux.intelRdt.closID", json!({ "closID": "boat" })).not(Peer::Runc, "ignores it alone"),
        refused("linux.intelRdt.l3CacheSchema", json!({ "l3CacheSchema": "L3:0=ff" })),
        refused("linux.intelRdt.memBwSchema", json!({ "memBwSchema": "MB:0=20" })),
        refused("linux.intelRdt.schemata", json!({ "schemata": ["L3:0=ff"] })).not(Peer::Runc, "newer than 1.1"),
        refused("linux.intelRdt.enableMonitoring", json!({ "enableMonitoring": true }))
            .not(Peer::Runc, "newer than 1.1"),
        Row::new("linux.mountLabel", "is refused where the kernel has no SELinux")
            .patch(json!({ "linux": { "mountLabel": "system_u:object_r:container_file_t:s0" } }))
            .refuses(&["linux.mountLabel", "SELinux"])
            .not(Peer::Runc, "ignores it")
            .not(Peer::Crun, "ignores it"),
        Row::new("annotations", "change nothing, and are in the state")
            .patch(json!({ "annotations": { "org.example.boat": "coracle", "empty": "" } }))
            .steps(|case, config| {
                case.run(&config("sleep 1000"), &["--detach"]).good();
                let annotations = case.state()["annotations"].clone();
                assert_eq!((&annotations["org.example.boat"], &annotations["empty"]), (&json!("coracle"), &json!("")));
            }),
        Row::new("ociVersion", "every 1.x").patch(json!({ "ociVersion": "1.0.0" })).script("echo ran").prints("ran"),
        Row::new("ociVersion", "2.0 is refused")
            .patch(json!({ "ociVersion": "2.0.0" }))
            .refuses(&["ociVersion", "2.0.0"])
            .not(Peer::Runc, "reads it nowhere"),
        Row::new("*", "fields of no meaning are passed over")
            .patch(json!({ "boat": { "a": 1 }, "linux": { "boat": [] }, "process": { "boat": "b" } }))
            .script("echo ran")
            .prints("ran"),
        Row::new("windows", "and the other platforms mean nothing")
            .patch(json!({ "windows": { "layerFolders": [] }, "solaris": {} }))
            .script("echo ran")
            .prints("ran"),
    ]
}
