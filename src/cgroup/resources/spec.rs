//! `linux.resources` of the runtime-spec, checked and typed.

use super::{
    BlockResources, Bound, CpuResources, CpuWeight, HugePageLimit, IoWeight, MemoryResources, NetworkResources,
    RdmaLimit, Resources, Throttle, Traffic, WeightDevice,
};
use crate::cgroup::device::DeviceRule;
use crate::error::Context;
use crate::{Error, Result};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxNetwork, LinuxResources, LinuxThrottleDevice,
    LinuxWeightDevice,
};
use std::collections::BTreeMap;

/// More files than one version 2 group has on any kernel.
const MOST_UNIFIED: usize = 256;

/// More huge page sizes, block devices or network interfaces than any machine has. Of rules for devices, half of what
/// the kernel's verifier takes in one program.
const MOST_ENTRIES: usize = 1024;

impl Resources {
    /// What `linux.resources` of a container's `config.json` asks for. Without a list of devices none comes of it: an
    /// update leaves them as they are, a creation adds [`or_default_devices`](Resources::or_default_devices). As with
    /// runc, 0 counts as not said for sizes, shares and times, and -1 takes a limit away. The devices that every
    /// container has follow the list, so it cannot take them away.
    ///
    /// # Errors
    /// `InvalidInput`, naming the field: a value out of its range, swap below memory, a list of processors or a file
    /// name out of format.
    pub fn from_runtime_spec(spec: &LinuxResources) -> Result<Resources> {
        let mut resources = Resources::default();
        if let Some(memory) = spec.memory() {
            resources.memory = memory_resources(memory)?;
        }
        if let Some(cpu) = spec.cpu() {
            resources.cpu = cpu_resources(cpu)?;
        }
        if let Some(pids) = spec.pids() {
            resources.pids =
                Some(u64::try_from(pids.limit()).ok().filter(|&n| n > 0).map_or(Bound::Unlimited, Bound::At));
        }
        if let Some(block) = spec.block_io() {
            resources.block = block_resources(block)?;
        }
        if let Some(limits) = spec.hugepage_limits() {
            within("hugepageLimits", limits.len())?;
            resources.huge_pages = limits.iter().map(huge_page_limit).collect::<Result<_>>()?;
        }
        if let Some(network) = spec.network() {
            resources.network = network_resources(network)?;
        }
        for (adapter, limit) in spec.rdma().iter().flatten() {
            if adapter.is_empty()
                || adapter.len() > 64
                || adapter.contains(|c: char| c.is_whitespace() || c.is_control())
            {
                return Err(invalid("rdma", format!("{adapter:?} is no name of an adapter")));
            }
            let limit = RdmaLimit { handles: limit.hca_handles(), objects: limit.hca_objects() };
            resources.rdma.insert(adapter.clone(), limit);
        }
        if let Some(files) = spec.unified() {
            resources.unified = unified(files.iter())?;
        }
        if let Some(devices) = spec.devices() {
            within("devices", devices.len())?;
            let given: Result<Vec<DeviceRule>> = devices.iter().map(DeviceRule::from_runtime_spec).collect();
            let mut rules = given.context(|| "linux.resources.devices")?;
            rules.extend(DeviceRule::defaults());
            resources.devices = Some(rules);
        }
        Ok(resources)
    }
}

fn invalid(field: &str, what: String) -> Error {
    Error::invalid(format!("linux.resources.{field}: {what}"))
}

fn within(field: &str, count: usize) -> Result<()> {
    if count > MOST_ENTRIES {
        let message = format!("linux.resources.{field}: {count} entries");
        return Err(Error::new(crate::ErrorKind::LimitExceeded, message).hint(format!("the most is {MOST_ENTRIES}")));
    }
    Ok(())
}

/// -1 is no limit, 0 is not said, and below is nothing that makes sense.
fn bound(field: &str, value: Option<i64>) -> Result<Option<Bound>> {
    match value {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(Bound::Unlimited)),
        Some(value) => match u64::try_from(value) {
            Ok(value) => Ok(Some(Bound::At(value))),
            Err(_) => Err(invalid(field, format!("{value} is negative")).hint("-1 takes the limit away")),
        },
    }
}

fn memory_resources(spec: &LinuxMemory) -> Result<MemoryResources> {
    let memory = MemoryResources {
        limit: bound("memory.limit", spec.limit())?,
        reservation: bound("memory.reservation", spec.reservation())?,
        swap: bound("memory.swap", spec.swap())?,
        kernel: bound("memory.kernel", spec.kernel())?,
        kernel_tcp: bound("memory.kernelTCP", spec.kernel_tcp())?,
        swappiness: spec.swappiness(),
        disable_oom_killer: spec.disable_oom_killer(),
        use_hierarchy: spec.use_hierarchy(),
        check_before_update: spec.check_before_update() == Some(true),
        ..MemoryResources::default()
    };
    if let Some(swappiness) = memory.swappiness.filter(|&swappiness| swappiness > 100) {
        return Err(invalid("memory.swappiness", format!("{swappiness} is not in the range from 0 to 100")));
    }
    match (memory.limit, memory.swap) {
        (Some(Bound::At(limit)), Some(Bound::At(total))) if total < limit => {
            Err(invalid("memory.swap", format!("{total} is less than the memory limit of {limit}"))
                .hint("it counts memory and swap together"))
        }
        (Some(Bound::Unlimited), Some(Bound::At(total))) => {
            Err(invalid("memory.swap", format!("{total} is less than the memory limit, which is none"))
                .hint("it counts memory and swap together"))
        }
        _ => Ok(memory),
    }
}

fn cpu_resources(spec: &LinuxCpu) -> Result<CpuResources> {
    let positive = |value: Option<u64>| value.filter(|&value| value > 0);
    if let Some(idle) = spec.idle().filter(|idle| !(0..=1).contains(idle)) {
        return Err(invalid("cpu.idle", format!("{idle} is neither 0 nor 1")));
    }
    let quota = match spec.quota() {
        None | Some(0) => None,
        Some(quota) => Some(u64::try_from(quota).map_or(Bound::Unlimited, Bound::At)),
    };
    Ok(CpuResources {
        weight: positive(spec.shares()).map(CpuWeight::Shares),
        quota,
        burst: spec.burst(),
        period: positive(spec.period()),
        realtime_runtime: spec.realtime_runtime().filter(|&runtime| runtime != 0),
        realtime_period: positive(spec.realtime_period()),
        cpus: list("cpu.cpus", spec.cpus().as_deref())?,
        mems: list("cpu.mems", spec.mems().as_deref())?,
        idle: spec.idle(),
    })
}

/// The List Format of cpuset(7): `0-4,9`; nothing is not said.
fn list(field: &str, text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
        None => number(part).is_some(),
    };
    if text.len() > 4096 || !text.split(',').all(range) {
        return Err(invalid(field, format!("{text:?} is no list of numbers")).hint("write it as 0-3,7"));
    }
    Ok(Some(text.to_owned()))
}

fn block_resources(spec: &LinuxBlockIo) -> Result<BlockResources> {
    let mut block = BlockResources {
        weight: block_weight("blockIO.weight", spec.weight())?.map(IoWeight::Block),
        leaf_weight: block_weight("blockIO.leafWeight", spec.leaf_weight())?,
        ..BlockResources::default()
    };
    let devices = spec.weight_device().as_deref().unwrap_or_default();
    within("blockIO.weightDevice", devices.len())?;
    block.weight_devices = devices.iter().map(weight_device).collect::<Result<_>>()?;
    for (traffic, devices) in [
        (Traffic::ReadBytes, spec.throttle_read_bps_device()),
        (Traffic::WriteBytes, spec.throttle_write_bps_device()),
        (Traffic::ReadOperations, spec.throttle_read_iops_device()),
        (Traffic::WriteOperations, spec.throttle_write_iops_device()),
    ] {
        let devices = devices.as_deref().unwrap_or_default();
        within(traffic.field(), devices.len())?;
        for device in devices {
            block.throttles.push(throttle(traffic, device)?);
        }
    }
    Ok(block)
}

/// The runtime-spec: "the range is from 10 to 1000"; 0 is not said.
fn block_weight(field: &str, weight: Option<u16>) -> Result<Option<u16>> {
    match weight {
        None | Some(0) => Ok(None),
        Some(weight) if (10..=1000).contains(&weight) => Ok(Some(weight)),
        Some(weight) => Err(invalid(field, format!("{weight} is not in the range from 10 to 1000"))),
    }
}

fn weight_device(spec: &LinuxWeightDevice) -> Result<WeightDevice> {
    Ok(WeightDevice {
        device: device("blockIO.weightDevice", spec.major(), spec.minor())?,
        weight: block_weight("blockIO.weightDevice.weight", spec.weight())?,
        leaf_weight: block_weight("blockIO.weightDevice.leafWeight", spec.leaf_weight())?,
    })
}

fn throttle(traffic: Traffic, spec: &LinuxThrottleDevice) -> Result<Throttle> {
    Ok(Throttle { traffic, device: device(traffic.field(), spec.major(), spec.minor())?, rate: spec.rate() })
}

fn device(field: &str, major: i64, minor: i64) -> Result<(u32, u32)> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok((major, minor)),
        _ => Err(invalid(field, format!("{major}:{minor} is no device number"))),
    }
}

/// The kernel's names: `64KB`, `2MB`, `1GB`.
fn huge_page_limit(spec: &LinuxHugepageLimit) -> Result<HugePageLimit> {
    let size = spec.page_size();
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    let valid = number.is_some_and(|number| {
        number.len() <= 8 && !number.starts_with('0') && number.parse::<u32>().is_ok() && !number.starts_with('+')
    });
    if !valid {
        return Err(invalid("hugepageLimits.pageSize", format!("{size:?} is no size of huge pages"))
            .hint("write it as 2MB or 1GB"));
    }
    let limit = match spec.limit() {
        -1 => Bound::Unlimited,
        limit => Bound::At(
            u64::try_from(limit).map_err(|_| invalid("hugepageLimits.limit", format!("{limit} is negative")))?,
        ),
    };
    Ok(HugePageLimit { page_size: size.clone(), limit })
}

fn network_resources(spec: &LinuxNetwork) -> Result<NetworkResources> {
    let mut network = NetworkResources { class: spec.class_id(), priorities: Vec::new() };
    let priorities = spec.priorities().as_deref().unwrap_or_default();
    within("network.priorities", priorities.len())?;
    for entry in priorities {
        let name = entry.name();
        // IFNAMSIZ with its NUL, and what the kernel allows in it (dev_valid_name).
        if name.is_empty() || name.len() > 15 || name.contains(|c: char| c.is_whitespace() || c == '/' || c == ':') {
            return Err(invalid("network.priorities", format!("{name:?} is no name of a network interface")));
        }
        network.priorities.push((name.clone(), entry.priority()));
    }
    Ok(network)
}

/// What would move or stop processes, or hand controllers on, is the runtime's own business.
const KEPT: [&str; 7] = [
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.subtree_control",
    "cgroup.type",
    "cgroup.kill",
    "cgroup.freeze",
    "cgroup.events",
];

fn unified<'a>(files: impl Iterator<Item = (&'a String, &'a String)>) -> Result<BTreeMap<String, String>> {
    let mut checked = BTreeMap::new();
    for (file, value) in files {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if file.len() > 128 || !file.contains('.') || file.starts_with('.') || !file.chars().all(plain) {
            return Err(invalid("unified", format!("{file:?} is no name of a file of a group"))
                .hint("write CONTROLLER.FILE, without slashes, as memory.high"));
        }
        if KEPT.contains(&file.as_str()) {
            return Err(invalid("unified", format!("{file} is written by the runtime alone")));
        }
        if value.len() > 4096 || value.contains('\0') {
            let what = format!("{file}: the value is longer than 4096 bytes, or holds a NUL byte");
            return Err(invalid("unified", what));
        }
        checked.insert(file.clone(), value.clone());
        if checked.len() > MOST_UNIFIED {
            return Err(Error::new(
                crate::ErrorKind::LimitExceeded,
                format!("linux.resources.unified: more than {MOST_UNIFIED} files"),
            ));
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests;
