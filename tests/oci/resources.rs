//! `linux.cgroupsPath` and `linux.resources` where the controllers are of cgroup version 1.

use crate::case::Case;
use crate::peer::Peer;
use crate::row::Row;
use serde_json::{Value, json};

pub fn rows() -> Vec<Row> {
    [memory(), cpu(), others(), paths()].into_iter().flatten().collect()
}

/// A row that reads a file of the container's cgroup from the host.
fn reads(
    field: &'static str,
    name: &'static str,
    resources: Value,
    controller: &'static str,
    file: &'static str,
    wanted: &'static str,
) -> Row {
    let script = "sleep 1000";
    Row::new(field, name).patch(json!({ "linux": { "resources": resources } })).steps(move |case, config| {
        case.run(&config(script), &["--detach"]).good();
        assert_eq!(cgroup(case, controller, file), wanted);
    })
}

fn cgroup(case: &Case, controller: &str, file: &str) -> String {
    let path = case.cgroup(controller, file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn memory() -> Vec<Row> {
    let limit = |name: &'static str, fields: Value, file: &'static str, wanted: &'static str| {
        let field = match file {
            "memory.limit_in_bytes" => "linux.resources.memory.limit",
            "memory.soft_limit_in_bytes" => "linux.resources.memory.reservation",
            "memory.memsw.limit_in_bytes" => "linux.resources.memory.swap",
            "memory.kmem.tcp.limit_in_bytes" => "linux.resources.memory.kernelTCP",
            "memory.swappiness" => "linux.resources.memory.swappiness",
            _ => "linux.resources.memory.useHierarchy",
        };
        reads(field, name, json!({ "memory": fields }), "memory", file, wanted)
    };
    const NONE: &str = "9223372036854771712";
    vec![
        limit("is set", json!({ "limit": 67_108_864 }), "memory.limit_in_bytes", "67108864"),
        limit("-1 is none", json!({ "limit": -1 }), "memory.limit_in_bytes", NONE),
        limit("is set", json!({ "reservation": 33_554_432 }), "memory.soft_limit_in_bytes", "33554432"),
        limit(
            "is memory and swap together",
            json!({ "limit": 67_108_864, "swap": 134_217_728 }),
            "memory.memsw.limit_in_bytes",
            "134217728",
        ),
        limit("-1 is none", json!({ "limit": 67_108_864, "swap": -1 }), "memory.memsw.limit_in_bytes", NONE),
        limit("0 to 100", json!({ "swappiness": 0 }), "memory.swappiness", "0").not(Peer::Crun, "leaves out zero"),
        limit("33", json!({ "swappiness": 33 }), "memory.swappiness", "33"),
        limit("true", json!({ "useHierarchy": true }), "memory.use_hierarchy", "1"),
        limit("is set", json!({ "kernelTCP": 16_777_216 }), "memory.kmem.tcp.limit_in_bytes", "16777216")
            .not(Peer::Runc, "1.1 leaves it out"),
        reads(
            "linux.resources.memory.disableOOMKiller",
            "true",
            json!({ "memory": { "limit": 67_108_864, "disableOOMKiller": true } }),
            "memory",
            "memory.oom_control",
            "oom_kill_disable 1\nunder_oom 0\noom_kill 0",
        ),
        Row::new("linux.resources.memory.kernel", "means nothing any more")
            .patch(json!({ "linux": { "resources": { "memory": { "kernel": 16_777_216 } } } }))
            .script("echo ran")
            .prints("ran")
            .not(Peer::Crun, "writes it all the same"),
        Row::new("linux.resources.memory.limit", "the payload is killed beyond it")
            .patch(json!({ "linux": { "resources": { "memory": { "limit": 33_554_432, "swap": 33_554_432 } } } }))
            .script("dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null; echo $?")
            .prints("137"),
        Row::new("linux.resources.memory.swap", "less than the limit is refused")
            .patch(json!({ "linux": { "resources": { "memory": { "limit": 67_108_864, "swap": 33_554_432 } } } }))
            .refuses(&["linux.resources.memory.swap"]),
        Row::new("linux.resources.memory.swappiness", "beyond 100 is refused")
            .patch(json!({ "linux": { "resources": { "memory": { "swappiness": 101 } } } }))
            .refuses(&["linux.resources.memory.swappiness"])
            .not(Peer::Crun, "takes it"),
        Row::new("linux.resources.memory.checkBeforeUpdate", "refuses what is in use already")
            .patch(json!({ "linux": { "resources": { "memory": { "limit": 4096, "checkBeforeUpdate": true } } } }))
            .refuses(&["memory"])
            .not(Peer::Runc, "on version 2 alone")
            .not(Peer::Crun, "newer"),
    ]
}

fn cpu() -> Vec<Row> {
    let cpu =
        |field, name, fields: Value, file, wanted| reads(field, name, json!({ "cpu": fields }), "cpu", file, wanted);
    vec![
        cpu("linux.resources.cpu.shares", "is set", json!({ "shares": 321 }), "cpu.shares", "321"),
        cpu(
            "linux.resources.cpu.quota",
            "is set",
            json!({ "quota": 50_000, "period": 100_000 }),
            "cpu.cfs_quota_us",
            "50000",
        ),
        cpu("linux.resources.cpu.quota", "-1 is none", json!({ "quota": -1 }), "cpu.cfs_quota_us", "-1")
            .not(Peer::Crun, "1.8 writes another number"),
        cpu(
            "linux.resources.cpu.period",
            "is set",
            json!({ "quota": 50_000, "period": 200_000 }),
            "cpu.cfs_period_us",
            "200000",
        ),
        cpu(
            "linux.resources.cpu.burst",
            "is set",
            json!({ "quota": 50_000, "period": 100_000, "burst": 20_000 }),
            "cpu.cfs_burst_us",
            "20000",
        )
        .newer(),
        cpu("linux.resources.cpu.idle", "is set", json!({ "idle": 1 }), "cpu.idle", "1").newer(),
        cpu(
            "linux.resources.cpu.realtimeRuntime",
            "is set",
            json!({ "realtimeRuntime": 10_000, "realtimePeriod": 1_000_000 }),
            "cpu.rt_runtime_us",
            "10000",
        ),
        cpu(
            "linux.resources.cpu.realtimePeriod",
            "is set",
            json!({ "realtimeRuntime": 10_000, "realtimePeriod": 500_000 }),
            "cpu.rt_period_us",
            "500000",
        ),
        reads("linux.resources.cpu.cpus", "is set", json!({ "cpu": { "cpus": "0" } }), "cpuset", "cpuset.cpus", "0"),
        reads("linux.resources.cpu.mems", "is set", json!({ "cpu": { "mems": "0" } }), "cpuset", "cpuset.mems", "0"),
        Row::new("linux.resources.cpu.cpus", "is seen inside")
            .patch(json!({ "linux": { "resources": { "cpu": { "cpus": "0" } } } }))
            .script("nproc")
            .prints("1"),
        Row::new("linux.resources.cpu.cpus", "one that is not there is refused")
            .patch(json!({ "linux": { "resources": { "cpu": { "cpus": "4000" } } } }))
            .refuses(&["linux.resources.cpu.cpus"]),
        Row::new("linux.resources.cpu.quota", "too small a one is refused")
            .patch(json!({ "linux": { "resources": { "cpu": { "quota": 1, "period": 100_000 } } } }))
            .refuses(&["linux.resources.cpu.quota"]),
        Row::new("linux.resources.cpu.shares", "zero leaves the default")
            .patch(json!({ "linux": { "resources": { "cpu": { "shares": 0 } } } }))
            .script("echo ran")
            .prints("ran"),
    ]
}

fn others() -> Vec<Row> {
    let throttle = |field: &'static str, key: &'static str, file: &'static str| {
        // The machine's disk, whichever it is.
        Row::new(field, "is set").steps(move |case, config| {
            let (major, minor) = disk();
            let mut config = config("sleep 1000");
            config["linux"]["resources"]["blockIO"] =
                json!({ key: [{ "major": major, "minor": minor, "rate": 1_048_576 }] });
            case.run(&config, &["--detach"]).good();
            assert_eq!(cgroup(case, "blkio", file), format!("{major}:{minor} 1048576"));
        })
    };
    let absent = |field: &'static str, resources: Value, part: &'static str| {
        Row::new(field, "is refused where the host has no such controller")
            .patch(json!({ "linux": { "resources": resources } }))
            .refuses(&[part])
    };
    vec![
        reads("linux.resources.pids.limit", "is set", json!({ "pids": { "limit": 17 } }), "pids", "pids.max", "17"),
        reads(
            "linux.resources.pids.limit",
            "-1 is none",
            json!({ "pids": { "limit": -1 } }),
            "pids",
            "pids.max",
            "max",
        )
        .not(Peer::Crun, "1.8 writes another word"),
        Row::new("linux.resources.pids.limit", "a fork beyond it fails")
            .patch(json!({ "linux": { "resources": { "pids": { "limit": 3 } } } }))
            .script("for i in 1 2 3 4 5; do sleep 1000 & done")
            .exits("", 2),
        throttle(
            "linux.resources.blockIO.throttleReadBpsDevice",
            "throttleReadBpsDevice",
            "blkio.throttle.read_bps_device",
        ),
        throttle(
            "linux.resources.blockIO.throttleWriteBpsDevice",
            "throttleWriteBpsDevice",
            "blkio.throttle.write_bps_device",
        ),
        throttle(
            "linux.resources.blockIO.throttleReadIOPSDevice",
            "throttleReadIOPSDevice",
            "blkio.throttle.read_iops_device",
        ),
        throttle(
            "linux.resources.blockIO.throttleWriteIOPSDevice",
            "throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
        ),
        absent(
            "linux.resources.blockIO.leafWeight",
            json!({ "blockIO": { "leafWeight": 500 } }),
            "linux.resources.blockIO.leafWeight",
        )
        .not(Peer::Runc, "ignores it")
        .not(Peer::Crun, "ignores it"),
        absent(
            "linux.resources.hugepageLimits",
            json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }] }),
            "hugepageLimits",
        )
        .not(Peer::Runc, "ignores it without the controller")
        .not(Peer::Crun, "ignores it"),
        absent(
            "linux.resources.network.classID",
            json!({ "network": { "classID": 1_048_577 } }),
            "linux.resources.network",
        )
        .not(Peer::Runc, "ignores it without the controller")
        .not(Peer::Crun, "ignores it"),
        absent(
            "linux.resources.network.priorities",
            json!({ "network": { "priorities": [{ "name": "lo", "priority": 2 }] } }),
            "linux.resources.network",
        )
        .not(Peer::Runc, "ignores it without the controller")
        .not(Peer::Crun, "ignores it"),
        absent(
            "linux.resources.rdma",
            json!({ "rdma": { "mlx5_0": { "hcaHandles": 2, "hcaObjects": 100 } } }),
            "linux.resources.rdma",
        )
        .not(Peer::Runc, "ignores it without the controller")
        .not(Peer::Crun, "ignores it"),
        absent(
            "linux.resources.unified",
            json!({ "unified": { "memory.high": "67108864" } }),
            "linux.resources.unified",
        )
        .not(Peer::Crun, "ignores it"),
    ]
}

fn disk() -> (u32, u32) {
    let text = std::fs::read_dir("/sys/block")
        .expect("the machine has disks")
        .flatten()
        .map(|entry| std::fs::read_to_string(entry.path().join("dev")).unwrap_or_default())
        .next();
    let text = text.expect("the machine has a disk");
    let (major, minor) = text.trim().split_once(':').expect("two numbers");
    (major.parse().expect("a number"), minor.parse().expect("a number"))
}

fn paths() -> Vec<Row> {
    vec![
        Row::new("linux.cgroupsPath", "absolute is below the root of each hierarchy")
            .script("grep -E ':(memory|pids|freezer|devices):' /proc/self/cgroup | cut -d: -f3 | sort -u")
            .prints("/{id}"),
        Row::new("linux.cgroupsPath", "deep")
            .edit(|config, case| config["linux"]["cgroupsPath"] = json!(format!("/{}/deep/er", case.id)))
            .steps(|case, config| {
                let outcome = case.run(&config("grep ':pids:' /proc/self/cgroup | cut -d: -f3"), &[]);
                assert_eq!(outcome.good(), format!("/{}/deep/er", case.id));
                // What stands above it was made for it, but may be others' too: the runtime leaves it.
                for entry in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
                    for name in [format!("{}/deep", case.id), case.id.clone()] {
                        let _ = std::fs::remove_dir(entry.path().join(name));
                    }
                }
            }),
        Row::new("linux.cgroupsPath", "left out, the runtime chooses one per container")
            .edit(|config, _| drop(config["linux"].as_object_mut().expect("an object").remove("cgroupsPath")))
            .steps(|case, config| {
                let outcome = case.run(&config("grep ':pids:' /proc/self/cgroup | cut -d: -f3"), &[]);
                assert!(outcome.good().ends_with(&case.id), "{outcome:?}");
            }),
        Row::new("linux.cgroupsPath", "gone after delete").steps(|case, config| {
            case.run(&config("sleep 1000"), &["--detach"]).good();
            assert!(case.cgroup("pids", "").exists());
            case.runtime(["delete", "--force", &case.id]).good();
            assert_eq!(case.traces(), Vec::<String>::new());
        }),
    ]
}
