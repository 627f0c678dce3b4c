//! Each field of `linux.resources`: written and read back, or refused by its name where the machine cannot.

use crate::ground::{Placed, resources, unique_path};
use coracle::ErrorKind;
use coracle::cgroup::Policy;
use serde_json::{Value, json};

/// Gives a live group the resources. Either one of `files` then holds what stands beside it, or none is there and the
/// error names `field`.
fn check(field: &str, spec: Value, files: &[(&str, &str)]) {
    let group = Placed::at(&unique_path(), json!({}));
    let outcome = group.0.change(&resources(spec), Policy::Strict);
    let found: Vec<(&str, String)> = files.iter().filter_map(|(file, _)| Some((*file, group.file(file)?))).collect();
    match outcome {
        Ok(unenforced) => {
            assert_eq!(unenforced, [], "{field}");
            assert!(!found.is_empty(), "{field}: there is no file");
            for (file, text) in found {
                let expected = files.iter().find(|(name, _)| *name == file).unwrap().1;
                assert!(text.lines().any(|line| line == expected), "{field}: {file} is {text:?}, not {expected:?}");
            }
        }
        Err(error) => {
            assert!(error.to_string().contains(&format!("linux.resources.{field}")), "{error}");
            assert!(error.remedy().is_some(), "{error}");
            assert_eq!(found, [], "the machine could have done it: {error}");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
    }
}

#[test]
fn memory_is_limited() {
    check(
        "memory.limit",
        json!({"memory": {"limit": 64 << 20}}),
        &[("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864")],
    );
    check(
        "memory.reservation",
        json!({"memory": {"reservation": 32 << 20}}),
        &[("memory.soft_limit_in_bytes", "33554432"), ("memory.low", "33554432")],
    );
    check(
        "memory.kernelTCP",
        json!({"memory": {"kernelTCP": 1 << 20}}),
        &[("memory.kmem.tcp.limit_in_bytes", "1048576")],
    );
    check("memory.swappiness", json!({"memory": {"swappiness": 10}}), &[("memory.swappiness", "10")]);
    check(
        "memory.disableOOMKiller",
        json!({"memory": {"disableOOMKiller": true}}),
        &[("memory.oom_control", "oom_kill_disable 1")],
    );
}

#[test]
fn swap_is_counted_as_the_version_counts_it() {
    check(
        "memory.swap",
        json!({"memory": {"limit": 64 << 20, "swap": 80 << 20}}),
        &[("memory.memsw.limit_in_bytes", "83886080"), ("memory.swap.max", "16777216")],
    );
    check(
        "memory.swap",
        json!({"memory": {"limit": 64 << 20, "swap": -1}}),
        &[("memory.memsw.limit_in_bytes", "9223372036854771712"), ("memory.swap.max", "max")],
    );
}

#[test]
fn memory_grows_shrinks_and_loses_its_limit() {
    let group = Placed::at(&unique_path(), json!({"memory": {"limit": 64 << 20, "swap": 64 << 20}}));
    for (limit, swap) in [(32, 48), (128, 256), (200, 200), (16, 16)] {
        let spec = json!({"memory": {"limit": limit << 20, "swap": swap << 20}});
        group.0.change(&resources(spec), Policy::Strict).unwrap();
        assert_eq!(group.0.usage().unwrap().memory.usage.limit, limit << 20);
        assert_eq!(group.0.usage().unwrap().memory.swap.limit, swap << 20);
    }
    group.0.change(&resources(json!({"memory": {"limit": -1}})), Policy::Strict).unwrap();
    let usage = group.0.usage().unwrap().memory;
    assert!(usage.usage.limit > 1 << 60 && usage.swap.limit > 1 << 60, "{usage:?}");
}

#[test]
fn a_limit_below_what_is_in_use_is_refused_where_that_is_asked_for() {
    let group = Placed::at(&unique_path(), json!({"memory": {"limit": 256 << 20}}));
    let mut child = group.shell("head -c 6000000 /dev/zero | tail -c 6000000 | sleep 1000");
    crate::ground::eventually("some memory is in use", || group.0.usage().unwrap().memory.usage.usage > 4 << 20);
    let spec = json!({"memory": {"limit": 2 << 20, "checkBeforeUpdate": true}});
    let error = group.0.change(&resources(spec), Policy::Strict).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert!(error.to_string().contains("linux.resources.memory.limit: limit memory to 2097152 bytes"), "{error}");
    assert_eq!(group.0.usage().unwrap().memory.usage.limit, 256 << 20);
    group.0.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn processors_are_limited() {
    check("cpu.shares", json!({"cpu": {"shares": 512}}), &[("cpu.shares", "512"), ("cpu.weight", "59")]);
    let bandwidth = json!({"cpu": {"quota": 20000, "period": 50000}});
    check("cpu.quota", bandwidth.clone(), &[("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 50000")]);
    check("cpu.period", bandwidth, &[("cpu.cfs_period_us", "50000"), ("cpu.max", "20000 50000")]);
    check(
        "cpu.burst",
        json!({"cpu": {"quota": 50000, "burst": 10000}}),
        &[("cpu.cfs_burst_us", "10000"), ("cpu.max.burst", "10000")],
    );
    check("cpu.idle", json!({"cpu": {"idle": 1}}), &[("cpu.idle", "1")]);
    check("cpu.cpus", json!({"cpu": {"cpus": "0"}}), &[("cpuset.cpus", "0")]);
    check("cpu.mems", json!({"cpu": {"mems": "0"}}), &[("cpuset.mems", "0")]);
}

#[test]
fn bandwidth_changes_in_every_direction() {
    let group = Placed::at(&unique_path(), json!({}));
    for (quota, period, burst) in [(50_000, 100_000, 50_000), (2000, 10_000, 1000), (500_000, 1_000_000, 400_000)] {
        let spec = json!({"cpu": {"quota": quota, "period": period, "burst": burst}});
        group.0.change(&resources(spec), Policy::Strict).unwrap();
        let text = |v1: &str, v2: &str| group.file(v1).or_else(|| group.file(v2)).unwrap();
        let shown = text("cpu.cfs_quota_us", "cpu.max");
        assert_eq!(shown.split(' ').next().unwrap(), quota.to_string());
        assert_eq!(text("cpu.cfs_burst_us", "cpu.max.burst"), burst.to_string());
    }
    group.0.change(&resources(json!({"cpu": {"burst": 0}})), Policy::Strict).unwrap();
    group.0.change(&resources(json!({"cpu": {"quota": -1}})), Policy::Strict).unwrap();
    assert!(
        ["max 1000000", "-1"].contains(&group.file("cpu.max").or(group.file("cpu.cfs_quota_us")).unwrap().as_str())
    );
}

#[test]
fn an_idle_group_gets_its_weight_back() {
    let group = Placed::at(&unique_path(), json!({"cpu": {"shares": 512}}));
    group.0.change(&resources(json!({"cpu": {"idle": 1}})), Policy::Strict).unwrap();
    group.0.change(&resources(json!({"cpu": {"idle": 0, "shares": 2048}})), Policy::Strict).unwrap();
    let weight = group.file("cpu.weight").or(group.file("cpu.shares")).unwrap();
    assert!(weight == "174" || weight == "2048", "{weight}");
}

#[test]
fn real_time_is_given_or_refused_by_name() {
    let group = Placed::at(&unique_path(), json!({}));
    let spec = json!({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 500_000}});
    match group.0.change(&resources(spec), Policy::Strict) {
        Ok(_) => assert_eq!(group.file("cpu.rt_runtime_us").unwrap(), "1000"),
        Err(error) => assert!(error.to_string().contains("linux.resources.cpu.realtime"), "{error}"),
    }
}

#[test]
fn processes_are_limited() {
    check("pids.limit", json!({"pids": {"limit": 17}}), &[("pids.max", "17")]);
    check("pids.limit", json!({"pids": {"limit": -1}}), &[("pids.max", "max")]);
}

/// A block device of this machine.
fn block_device() -> (i64, i64) {
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten().map(|entry| entry.path().join("dev"));
    let number = devices.filter_map(|file| std::fs::read_to_string(file).ok()).next().expect("a block device");
    let (major, minor) = number.trim().split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

#[test]
fn block_devices_are_limited() {
    let (major, minor) = block_device();
    check(
        "blockIO.weight",
        json!({"blockIO": {"weight": 500}}),
        &[
            ("blkio.weight", "500"),
            ("blkio.bfq.weight", "500"),
            ("io.bfq.weight", "default 500"),
            ("io.weight", "default 4950"),
        ],
    );
    for (field, v1) in [
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
    ] {
        let mut of = ["rbps=max", "wbps=max", "riops=max", "wiops=max"].map(str::to_owned);
        let at =
            ["throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice"];
        let index = at.iter().position(|name| *name == field).unwrap();
        of[index] = of[index].replace("max", "1048576");
        let spec = json!({"blockIO": {field: [{"major": major, "minor": minor, "rate": 1 << 20}]}});
        check(
            &format!("blockIO.{field}"),
            spec,
            &[(v1, &format!("{major}:{minor} 1048576")), ("io.max", &format!("{major}:{minor} {}", of.join(" ")))],
        );
    }
    let group = Placed::at(&unique_path(), json!({}));
    let spec = json!({"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 77, "rate": 1}]}});
    let error = group.0.change(&resources(spec), Policy::Strict).unwrap_err();
    assert!(error.to_string().contains("linux.resources.blockIO.throttleReadBpsDevice: write 4000:77"), "{error}");
    assert_eq!(error.remedy(), Some("no block device has this number"));
}

#[test]
fn huge_pages_are_limited() {
    check(
        "hugepageLimits",
        json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}),
        &[("hugetlb.2MB.limit_in_bytes", "4194304"), ("hugetlb.2MB.max", "4194304")],
    );
}

#[test]
fn packets_are_marked() {
    check("network.classID", json!({"network": {"classID": 0x10_0001}}), &[("net_cls.classid", "1048577")]);
    check(
        "network.priorities",
        json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}}),
        &[("net_prio.ifpriomap", "lo 5")],
    );
}

#[test]
fn what_no_machine_here_has_is_refused_by_name() {
    let group = Placed::at(&unique_path(), json!({}));
    let spec = json!({"rdma": {"no-such-adapter": {"hcaHandles": 1}}});
    let error = group.0.change(&resources(spec.clone()), Policy::Strict).unwrap_err();
    assert!(error.to_string().contains("linux.resources.rdma"), "{error}");
    let unenforced = group.0.change(&resources(spec), Policy::BestEffort).unwrap();
    assert_eq!(unenforced.iter().map(|lost| lost.limit.as_str()).collect::<Vec<_>>(), ["linux.resources.rdma"]);
}

#[test]
fn files_of_version_2_are_written_as_they_are() {
    check("unified", json!({"unified": {"memory.high": "67108864"}}), &[("memory.high", "67108864")]);
    let group = Placed::at(&unique_path(), json!({}));
    let spec = json!({"unified": {"memory.no_such_file": "1"}});
    let error = group.0.change(&resources(spec), Policy::Strict).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("linux.resources.unified"), "{error}");
}

#[test]
fn a_memory_limit_of_version_2_written_as_a_file_waits_for_arm_as_well() {
    if !Placed::at(&unique_path(), json!({})).unified() {
        return;
    }
    let spec = json!({"unified": {"memory.max": "64M"}});
    let (group, _) =
        coracle::cgroup::Cgroup::at(&crate::ground::parse(&unique_path()), &resources(spec), Policy::Strict).unwrap();
    let group = Placed(group);
    assert_eq!(group.file("memory.max").unwrap(), "max");
    group.0.arm().unwrap();
    assert_eq!(group.file("memory.max").unwrap(), (64 << 20).to_string());
}
