//! Everything the kernel counts of a group, in the words of `runc events --stats`, which engines read.

mod unified;
mod version1;

use super::Cgroup;
use super::controller::{Controller, Version};
use super::directory::Directory;
use super::pressure::{Stall, StallShare};
use crate::{ErrorKind, Result};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// What the processes of a group have used so far and use now. As JSON it is the `data` of an event of the type `stats`
/// of runc. What the kernel does not count is 0 or absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time.
    pub cpu: CpuUsage,
    /// Which processors and memory nodes.
    pub cpuset: CpuSetUsage,
    /// Memory.
    pub memory: MemoryUsage,
    /// Processes and threads.
    pub pids: PidsUsage,
    /// Block devices.
    pub blkio: BlockUsage,
    /// Huge pages, by page size.
    pub hugetlb: BTreeMap<String, HugePageUsage>,
    /// Intel's resource director: not counted here, an empty object in JSON.
    pub intel_rdt: BTreeMap<String, u64>,
    /// Network interfaces, which no control group counts: `null` in JSON.
    pub network_interfaces: Option<Vec<String>>,
}

/// Processor time; nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CpuUsage {
    /// Used.
    pub usage: CpuTime,
    /// Kept from running by the limit.
    pub throttling: Throttling,
    /// Waited for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "stall")]
    pub psi: Option<Stall>,
}

/// Processor time used; nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CpuTime {
    /// All of it.
    pub total: u64,
    /// By processor; version 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// Of it, in the kernel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// Of it, in the programs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In the programs.
    pub user: u64,
}

/// What the limit of processor time did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Throttling {
    /// Periods in which something ran.
    pub periods: u64,
    /// Periods in which the limit was reached.
    pub throttled_periods: u64,
    /// Nanoseconds in which the group was kept from running.
    pub throttled_time: u64,
}

/// Processors and memory nodes; the flags are those of cpuset(7), version 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CpuSetUsage {
    /// The processors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// The memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// `cpuset.cpu_exclusive`.
    pub cpu_exclusive: u64,
    /// `cpuset.mem_hardwall`, spelt as runc does.
    pub mem_hardwall: u64,
    /// `cpuset.mem_exclusive`.
    pub mem_exclusive: u64,
    /// `cpuset.memory_migrate`.
    pub memory_migrate: u64,
    /// `cpuset.memory_spread_page`.
    pub memory_spread_page: u64,
    /// `cpuset.memory_spread_slab`.
    pub memory_spread_slab: u64,
    /// `cpuset.memory_pressure`.
    pub memory_pressure: u64,
    /// `cpuset.sched_load_balance`.
    pub sched_load_balance: u64,
    /// `cpuset.sched_relax_domain_level`.
    pub sched_relax_domain_level: i64,
}

/// Memory; bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// Page cache.
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together.
    pub swap: MemoryEntry,
    /// Memory of the kernel; version 1.
    pub kernel: MemoryEntry,
    /// Buffers of TCP; version 1.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`, as the kernel has it.
    pub raw: BTreeMap<String, u64>,
    /// Waited for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "stall")]
    pub psi: Option<Stall>,
}

/// One kind of memory; bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryEntry {
    /// The limit; the largest number there is where there is none (version 2).
    pub limit: u64,
    /// Held now.
    pub usage: u64,
    /// The most held at a time.
    pub max: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PidsUsage {
    /// Alive now.
    pub current: u64,
    /// The limit; 0 where there is none.
    pub limit: u64,
}

/// Block devices, the groups below counted in.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BlockUsage {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlockEntry>,
    /// Operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlockEntry>,
    /// Operations that wait.
    #[serde(skip_serializing_if = "Vec::is_empty", rename = "ioQueueRecursive")]
    pub io_queued_recursive: Vec<BlockEntry>,
    /// Nanoseconds from dispatch to completion.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlockEntry>,
    /// Nanoseconds in queues.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlockEntry>,
    /// Operations merged into others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlockEntry>,
    /// Milliseconds of the disk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlockEntry>,
    /// Sectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlockEntry>,
    /// Waited for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "stall")]
    pub psi: Option<Stall>,
}

/// One count of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BlockEntry {
    /// The device.
    pub major: u64,
    /// The device.
    pub minor: u64,
    /// `Read`, `Write`, `Discard`, ...: as version 1 names them; empty for a total.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The count.
    pub value: u64,
}

/// Huge pages of one size; bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HugePageUsage {
    /// Held now.
    pub usage: u64,
    /// The most held at a time; version 1.
    pub max: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

impl Cgroup {
    /// Everything that the kernel counts of the group.
    ///
    /// # Errors
    /// `NotFound` where the group is gone.
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for controller in Controller::ALL {
            let (version, directory) = match self.directory(controller) {
                Ok(found) => found,
                // A controller that the group is without counts nothing.
                Err(error) if error.kind() == ErrorKind::Unsupported => continue,
                Err(error) => return Err(error),
            };
            let files = Files(directory);
            match version {
                Version::V1 => version1::count(controller, &files, &mut usage),
                Version::V2 => unified::count(controller, &files, &mut usage),
            }
        }
        Ok(usage)
    }
}

/// The files of a group; what is not there counts as nothing.
struct Files(Directory);

impl Files {
    fn text(&self, file: &str) -> String {
        self.0.read(file).unwrap_or_default()
    }

    fn number(&self, file: &str) -> u64 {
        self.text(file).trim().parse().unwrap_or(0)
    }

    fn numbers(&self, file: &str) -> Vec<u64> {
        self.text(file).split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// Lines `key value`.
    fn map(&self, file: &str) -> BTreeMap<String, u64> {
        let text = self.text(file);
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs.filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?))).collect()
    }

    /// The List Format of cpuset(7).
    fn list(&self, file: &str) -> Vec<u16> {
        let text = self.text(file);
        let ranges = text.trim().split(',').filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
        });
        ranges.flatten().collect()
    }

    /// The page sizes that the group has files `hugetlb.<size>.<ending>` for.
    fn huge_page_sizes(&self, ending: &str) -> Vec<String> {
        let names = self.0.files().unwrap_or_default();
        let size = |name: &String| Some(name.strip_prefix("hugetlb.")?.strip_suffix(ending)?.to_owned());
        names.iter().filter_map(size).filter(|size| !size.contains('.')).collect()
    }

    fn pressure(&self, file: &str) -> Option<Stall> {
        self.0.read(file).ok().map(|text| super::pressure::parse(&text))
    }
}

/// As runc writes pressure: `{"some": {"avg10": 0.1, ..., "total": 12}, "full": {...}}`, the total in microseconds.
fn stall<S: Serializer>(stall: &Option<Stall>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Share {
        avg10: f64,
        avg60: f64,
        avg300: f64,
        total: u64,
    }
    #[derive(Serialize)]
    struct Both {
        some: Share,
        full: Share,
    }
    let share = |share: StallShare| Share {
        avg10: share.last_10s,
        avg60: share.last_60s,
        avg300: share.last_300s,
        total: u64::try_from(share.total.as_micros()).unwrap_or(u64::MAX),
    };
    stall.map(|stall| Both { some: share(stall.some), full: share(stall.full) }).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_runc_writes() {
        let mut usage = Usage::default();
        usage.cpu.usage.percpu = vec![1, 2];
        usage.cpu.psi = Some(Stall::default());
        usage.memory.raw.insert("rss".to_owned(), 7);
        usage.blkio.io_service_bytes_recursive =
            vec![BlockEntry { major: 8, minor: 0, op: "Read".to_owned(), value: 4096 }];
        let json = serde_json::to_value(&usage).unwrap();
        assert_eq!(json["cpu"]["usage"]["percpu"], serde_json::json!([1, 2]));
        assert_eq!(json["cpu"]["throttling"]["throttledTime"], 0);
        assert_eq!(json["cpu"]["psi"]["some"]["avg10"], 0.0);
        assert_eq!(json["memory"]["kernelTCP"]["failcnt"], 0);
        assert_eq!(json["memory"]["raw"]["rss"], 7);
        assert_eq!(json["blkio"]["ioServiceBytesRecursive"][0]["op"], "Read");
        assert_eq!(json["intel_rdt"], serde_json::json!({}));
        assert!(json["network_interfaces"].is_null() && json["memory"].get("psi").is_none());
    }
}
