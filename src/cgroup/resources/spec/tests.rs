use super::*;
use crate::cgroup::device::DeviceAccess;
use serde_json::json;

fn read(resources: serde_json::Value) -> Result<Resources> {
    Resources::from_runtime_spec(&serde_json::from_value(resources).unwrap())
}

#[test]
fn every_field_is_taken_over() {
    let resources = read(json!({
        "memory": {"limit": 536870912, "reservation": -1, "swap": -1, "kernel": -1, "kernelTCP": 4096, "swappiness": 0,
            "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true},
        "cpu": {"shares": 1024, "quota": -1, "burst": 10, "period": 500000, "realtimeRuntime": 95000,
            "realtimePeriod": 100000, "cpus": "0-1,7", "mems": "0", "idle": 1},
        "pids": {"limit": 32771},
        "blockIO": {"weight": 10, "leafWeight": 20, "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 300}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
        "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
        "unified": {"memory.high": "1024"},
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
    }))
    .unwrap();
    let memory = &resources.memory;
    assert_eq!((memory.limit, memory.swap), (Some(Bound::At(536_870_912)), Some(Bound::Unlimited)));
    assert_eq!((memory.kernel_tcp, memory.swappiness), (Some(Bound::At(4096)), Some(0)));
    assert!(memory.check_before_update && memory.disable_oom_killer == Some(true));
    assert_eq!((resources.cpu.quota, resources.cpu.period), (Some(Bound::Unlimited), Some(500_000)));
    assert_eq!((resources.cpu.weight, resources.cpu.idle), (Some(CpuWeight::Shares(1024)), Some(1)));
    assert_eq!(resources.pids, Some(Bound::At(32_771)));
    assert_eq!(resources.block.throttles.len(), 2);
    assert_eq!(resources.block.throttles[1].traffic, Traffic::WriteOperations);
    assert_eq!(resources.huge_pages, [HugePageLimit { page_size: "2MB".into(), limit: Bound::At(0) }]);
    assert_eq!(resources.network.priorities, [("eth0".to_owned(), 500)]);
    let devices = resources.devices.as_ref().unwrap();
    assert!(!devices[0].allow && devices[1].access == DeviceAccess { read: true, write: true, mknod: false });
    assert_eq!(devices.len(), 2 + DeviceRule::defaults().len());
    let names: Vec<String> = resources.asked().into_iter().map(|asked| asked.name).collect();
    assert!(names.contains(&"linux.resources.blockIO.throttleReadBpsDevice".to_owned()), "{names:?}");
    assert_eq!(names.len(), 28, "{names:?}");
}

#[test]
fn zero_and_nothing_are_not_said() {
    let zeroes = read(json!({"memory": {"limit": 0, "swap": 0}, "cpu": {"shares": 0, "quota": 0, "period": 0,
        "realtimeRuntime": 0, "cpus": "", "mems": " "}, "blockIO": {"weight": 0}}));
    assert_eq!(zeroes.unwrap(), Resources::default());
    assert_eq!(read(json!({"pids": {"limit": -1}})).unwrap().pids, Some(Bound::Unlimited));
}

#[test]
fn senseless_values_are_refused_by_field() {
    for (resources, field) in [
        (json!({"memory": {"limit": -2}}), "memory.limit: -2"),
        (json!({"memory": {"limit": 8192, "swap": 4096}}), "memory.swap: 4096"),
        (json!({"memory": {"swappiness": 101}}), "memory.swappiness: 101"),
        (json!({"cpu": {"cpus": "0-"}}), "cpu.cpus: \"0-\""),
        (json!({"cpu": {"mems": "3-1"}}), "cpu.mems"),
        (json!({"cpu": {"idle": 2}}), "cpu.idle: 2"),
        (json!({"blockIO": {"weight": 9}}), "blockIO.weight: 9"),
        (
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}}),
            "blockIO.throttleReadBpsDevice: -1:0",
        ),
        (json!({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}), "hugepageLimits.pageSize"),
        (json!({"hugepageLimits": [{"pageSize": "2MB", "limit": -2}]}), "hugepageLimits.limit: -2"),
        (json!({"network": {"priorities": [{"name": "a b", "priority": 1}]}}), "network.priorities"),
        (json!({"rdma": {"a b": {}}}), "rdma: \"a b\""),
        (json!({"unified": {"../memory.max": "1"}}), "unified: \"../memory.max\""),
        (json!({"unified": {"memory": "1"}}), "unified: \"memory\""),
        (json!({"unified": {"cgroup.procs": "1"}}), "unified: cgroup.procs"),
    ] {
        let error = read(resources).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(&format!("linux.resources.{field}")), "{error}");
    }
}
