//! The controllers this crate uses, under the names the kernel gives them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a hierarchy can limit or measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Controller {
    /// Memory and swap.
    Memory,
    /// Processor bandwidth and weight.
    Cpu,
    /// Processor time used; part of every version 2 group.
    CpuAcct,
    /// Number of processes and threads.
    Pids,
    /// Suspending; part of every version 2 group.
    Freezer,
    /// Block devices; called `blkio` in version 1.
    Io,
    /// Which processors and memory nodes.
    CpuSet,
    /// Access to device nodes; a program of version 2's group itself, no controller.
    Devices,
    /// Huge pages.
    HugeTlb,
    /// The class of network packets; version 1 only.
    #[serde(rename = "net_cls")]
    NetClass,
    /// The priority of network packets; version 1 only.
    #[serde(rename = "net_prio")]
    NetPriority,
    /// Measuring by perf_event_open(2); part of every version 2 group.
    #[serde(rename = "perf_event")]
    PerfEvent,
    /// Remote direct memory access.
    Rdma,
    /// Countable things of the machine, such as encrypted guests.
    Misc,
    /// Version 1's hierarchy `name=systemd`, which controls nothing: systemd keeps its units there.
    Systemd,
}

/// The version of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Version {
    V1,
    V2,
}

impl Controller {
    /// Those that [`Limits`](super::Limits) and [`Stats`](super::Stats) need.
    pub(super) const BASIC: [Controller; 6] = [
        Controller::Memory,
        Controller::Cpu,
        Controller::CpuAcct,
        Controller::Pids,
        Controller::Freezer,
        Controller::Io,
    ];

    /// All of them.
    pub(super) const ALL: [Controller; 15] = [
        Controller::Memory,
        Controller::Cpu,
        Controller::CpuAcct,
        Controller::Pids,
        Controller::Freezer,
        Controller::Io,
        Controller::CpuSet,
        Controller::Devices,
        Controller::HugeTlb,
        Controller::NetClass,
        Controller::NetPriority,
        Controller::PerfEvent,
        Controller::Rdma,
        Controller::Misc,
        Controller::Systemd,
    ];

    /// The name in the super block options of a version 1 mount.
    pub(super) fn name_v1(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
            Controller::CpuAcct => "cpuacct",
            Controller::Pids => "pids",
            Controller::Freezer => "freezer",
            Controller::Io => "blkio",
            Controller::CpuSet => "cpuset",
            Controller::Devices => "devices",
            Controller::HugeTlb => "hugetlb",
            Controller::NetClass => "net_cls",
            Controller::NetPriority => "net_prio",
            Controller::PerfEvent => "perf_event",
            Controller::Rdma => "rdma",
            Controller::Misc => "misc",
            Controller::Systemd => "name=systemd",
        }
    }

    /// The name in `cgroup.controllers`; `None` for what every version 2 group has, and for what none has.
    pub(super) fn name_v2(self) -> Option<&'static str> {
        match self {
            Controller::CpuAcct | Controller::Freezer | Controller::Devices | Controller::PerfEvent => None,
            Controller::NetClass | Controller::NetPriority | Controller::Systemd => None,
            Controller::Io => Some("io"),
            other => Some(other.name_v1()),
        }
    }
}

impl Controller {
    /// Whether every version 2 group does what this controller does.
    pub(super) fn is_part_of_v2(self) -> bool {
        matches!(self, Controller::CpuAcct | Controller::Freezer | Controller::Devices | Controller::PerfEvent)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name_v2().unwrap_or(self.name_v1()))
    }
}
