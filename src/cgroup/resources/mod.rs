//! What a group may use and touch, in the units and under the names of the runtime-spec (config-linux, "Control
//! groups").

mod spec;

use super::Controller;
use super::device::{self, DeviceRule};
use std::collections::BTreeMap;

/// A limit that may be absent on purpose: taking a limit away is something else than leaving it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// No limit: -1 in the runtime-spec, `max` or -1 in the kernel's files.
    Unlimited,
    /// At most this, in the unit of the field.
    At(u64),
}

/// What a group may use and touch. What is not said is left as it is.
///
/// The fields are those of `linux.resources` in the runtime-spec; version 1 of control groups takes them as they are,
/// for version 2 they are converted as runc does.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Resources {
    /// Memory and swap.
    pub memory: MemoryResources,
    /// Processors.
    pub cpu: CpuResources,
    /// Processes and threads at a time.
    pub pids: Option<Bound>,
    /// Block devices.
    pub block: BlockResources,
    /// Huge pages.
    pub huge_pages: Vec<HugePageLimit>,
    /// Marks on network packets; version 1 only.
    pub network: NetworkResources,
    /// Remote direct memory access, by the name of the adapter.
    pub rdma: BTreeMap<String, RdmaLimit>,
    /// Files of the version 2 group with what is written to them, line by line, after everything else.
    pub unified: BTreeMap<String, String>,
    /// Which devices may be used, the last rule that matches deciding; all may where there is no list, none is left
    /// by an empty one.
    pub devices: Option<Vec<DeviceRule>>,
    pub(super) names: Names,
}

/// `linux.resources.memory`; bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryResources {
    /// The most memory.
    pub limit: Option<Bound>,
    /// Memory that is taken away last.
    pub reservation: Option<Bound>,
    /// The most memory and swap together.
    pub swap: Option<Bound>,
    /// The most memory of the kernel; version 1, where the kernel still has it.
    pub kernel: Option<Bound>,
    /// The most memory of TCP buffers; version 1.
    pub kernel_tcp: Option<Bound>,
    /// How readily memory is swapped out, 0 to 100; version 1.
    pub swappiness: Option<u64>,
    /// Whether processes wait, instead of one being killed, where memory has run out; version 1.
    pub disable_oom_killer: Option<bool>,
    /// Whether groups below count here; always so on every supported kernel.
    pub use_hierarchy: Option<bool>,
    /// Whether a limit below what is in use is refused instead of enforced by killing.
    pub check_before_update: bool,
    /// Whether one kill for lack of memory ends the whole group; version 2.
    pub oom_group: bool,
    /// The swap limit follows from a rule, nobody asked for it: no error where the kernel does not count swap.
    pub(super) swap_is_implied: bool,
}

/// The share of the processors when they are short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuWeight {
    /// Version 1's scale, 2 to 262,144, 1024 being the default.
    Shares(u64),
    /// Version 2's scale, 1 to 10,000, 100 being the default.
    Weight(u64),
}

/// `linux.resources.cpu`; microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuResources {
    /// The share when processors are short.
    pub weight: Option<CpuWeight>,
    /// The most processor time in a period.
    pub quota: Option<Bound>,
    /// How much of the quota that was not used may be made up for in a later period.
    pub burst: Option<u64>,
    /// The period; the kernel's default is 100,000.
    pub period: Option<u64>,
    /// The most real-time in a real-time period; version 1.
    pub realtime_runtime: Option<i64>,
    /// The period of real-time; version 1.
    pub realtime_period: Option<u64>,
    /// The processors, as `0-3,7`.
    pub cpus: Option<String>,
    /// The memory nodes, as `0-3,7`.
    pub mems: Option<String>,
    /// Whether the group runs only when nothing else wants to (1), or as others (0).
    pub idle: Option<i64>,
}

/// The share of block devices when they are short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoWeight {
    /// The runtime-spec's scale, 10 to 1000.
    Block(u16),
    /// Version 2's scale, 1 to 10,000, 100 being the default.
    Unified(u32),
}

/// `linux.resources.blockIO`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockResources {
    /// The share.
    pub weight: Option<IoWeight>,
    /// The share of the group's own processes against the groups below; version 1 with the CFQ scheduler.
    pub leaf_weight: Option<u16>,
    /// Shares of single devices.
    pub weight_devices: Vec<WeightDevice>,
    /// The most bytes and operations per second of single devices.
    pub throttles: Vec<Throttle>,
}

/// The share of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightDevice {
    /// Major and minor number.
    pub device: (u32, u32),
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// As [`BlockResources::leaf_weight`].
    pub leaf_weight: Option<u16>,
}

/// What is counted of a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Bytes read per second.
    ReadBytes,
    /// Bytes written per second.
    WriteBytes,
    /// Reads per second.
    ReadOperations,
    /// Writes per second.
    WriteOperations,
}

/// The most traffic of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// What is counted.
    pub traffic: Traffic,
    /// Major and minor number.
    pub device: (u32, u32),
    /// The most per second; 0 takes a limit away.
    pub rate: u64,
}

/// The most huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugePageLimit {
    /// `2MB`, `1GB`: as the kernel names its files.
    pub page_size: String,
    /// Bytes.
    pub limit: Bound,
}

/// `linux.resources.network`; version 1 only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkResources {
    /// The class that packets are marked with.
    pub class: Option<u32>,
    /// The priority of packets by network interface.
    pub priorities: Vec<(String, u32)>,
}

/// The most of one adapter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RdmaLimit {
    /// Handles.
    pub handles: Option<u32>,
    /// Objects.
    pub objects: Option<u32>,
}

/// A field that is given.
pub(super) struct Asked {
    /// As the caller knows it.
    pub(super) name: String,
    /// What enforces it; `None` where the group itself does.
    pub(super) controller: Option<Controller>,
    /// Whether version 2 alone has it.
    pub(super) unified: bool,
}

/// How errors call the fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Names {
    /// As the methods of [`Limits`](super::Limits).
    Limits,
    /// As the runtime-spec: `linux.resources.memory.limit`.
    #[default]
    RuntimeSpec,
}

impl Names {
    /// What the caller calls the field `linux.resources.<field>`.
    pub(super) fn of(self, field: &str) -> String {
        let short = match field {
            "memory.limit" => "memory",
            "memory.swap" => "memory_swap",
            "memory.oomGroup" => "oom_group",
            "cpu.quota" | "cpu.period" => "cpus",
            "cpu.shares" => "cpu_weight",
            "pids.limit" => "pids",
            "blockIO.weight" => "io_weight",
            other => other,
        };
        match self {
            Names::Limits => short.to_owned(),
            Names::RuntimeSpec => format!("linux.resources.{field}"),
        }
    }

    /// What an error says in front of the name.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Names::Limits => "limit ",
            Names::RuntimeSpec => "",
        }
    }
}

impl Resources {
    /// Nothing limited, nothing forbidden.
    pub fn new() -> Resources {
        Resources::default()
    }

    /// The same with the devices that the runtime-spec ("Default Devices") and runc give every container, and no
    /// others, where there is no list of devices yet: for a group that is being created.
    #[must_use]
    pub fn or_default_devices(mut self) -> Resources {
        self.devices.get_or_insert_with(|| DeviceRule::defaults().to_vec());
        self
    }

    /// The fields that are given, each with what enforces it.
    pub(super) fn asked(&self) -> Vec<Asked> {
        let mut asked = Vec::new();
        let mut ask = |field: &str, controller, given: bool| {
            if given {
                asked.push(Asked { name: self.names.of(field), controller: Some(controller), unified: false });
            }
        };
        let memory = &self.memory;
        ask("memory.limit", Controller::Memory, memory.limit.is_some());
        ask("memory.reservation", Controller::Memory, memory.reservation.is_some());
        ask("memory.swap", Controller::Memory, memory.swap.is_some() && !memory.swap_is_implied);
        ask("memory.kernel", Controller::Memory, memory.kernel.is_some());
        ask("memory.kernelTCP", Controller::Memory, memory.kernel_tcp.is_some());
        ask("memory.swappiness", Controller::Memory, memory.swappiness.is_some());
        ask("memory.disableOOMKiller", Controller::Memory, memory.disable_oom_killer == Some(true));
        ask("memory.oomGroup", Controller::Memory, memory.oom_group);
        let cpu = &self.cpu;
        ask("cpu.quota", Controller::Cpu, cpu.quota.is_some());
        ask("cpu.shares", Controller::Cpu, cpu.weight.is_some());
        ask("cpu.burst", Controller::Cpu, cpu.burst.is_some());
        ask("cpu.period", Controller::Cpu, cpu.period.is_some() && self.names == Names::RuntimeSpec);
        ask("cpu.realtimeRuntime", Controller::Cpu, cpu.realtime_runtime.is_some());
        ask("cpu.realtimePeriod", Controller::Cpu, cpu.realtime_period.is_some());
        ask("cpu.idle", Controller::Cpu, cpu.idle.is_some());
        ask("cpu.cpus", Controller::CpuSet, cpu.cpus.is_some());
        ask("cpu.mems", Controller::CpuSet, cpu.mems.is_some());
        ask("pids.limit", Controller::Pids, self.pids.is_some());
        let block = &self.block;
        ask("blockIO.weight", Controller::Io, block.weight.is_some());
        ask("blockIO.leafWeight", Controller::Io, block.leaf_weight.is_some());
        ask("blockIO.weightDevice", Controller::Io, !block.weight_devices.is_empty());
        for throttle in &block.throttles {
            ask(throttle.traffic.field(), Controller::Io, true);
        }
        ask("hugepageLimits", Controller::HugeTlb, !self.huge_pages.is_empty());
        ask("network.classID", Controller::NetClass, self.network.class.is_some());
        ask("network.priorities", Controller::NetPriority, !self.network.priorities.is_empty());
        ask("rdma", Controller::Rdma, !self.rdma.is_empty());
        let confined = self.devices.as_deref().is_some_and(|rules| !device::allows_everything(rules));
        ask("devices", Controller::Devices, confined);
        asked.extend(self.unified.keys().map(|file| Asked {
            name: format!("{}.{file}", self.names.of("unified")),
            controller: unified_controller(file),
            unified: true,
        }));
        asked
    }
}

/// The controller that a file of a version 2 group belongs to; `None` of the group itself, and of one that is not
/// known here.
pub(super) fn unified_controller(file: &str) -> Option<Controller> {
    let (prefix, _) = file.split_once('.')?;
    Controller::ALL.into_iter().find(|controller| controller.name_v2() == Some(prefix))
}

impl Traffic {
    /// The field of the runtime-spec, below `linux.resources`.
    pub(super) fn field(self) -> &'static str {
        match self {
            Traffic::ReadBytes => "blockIO.throttleReadBpsDevice",
            Traffic::WriteBytes => "blockIO.throttleWriteBpsDevice",
            Traffic::ReadOperations => "blockIO.throttleReadIOPSDevice",
            Traffic::WriteOperations => "blockIO.throttleWriteIOPSDevice",
        }
    }
}
