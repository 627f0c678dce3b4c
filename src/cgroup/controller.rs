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
}

/// The version of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Version {
    V1,
    V2,
}

impl Controller {
    /// All of them, in the order in which a process joins.
    pub(super) const ALL: [Controller; 6] = [
        Controller::Memory,
        Controller::Cpu,
        Controller::CpuAcct,
        Controller::Pids,
        Controller::Freezer,
        Controller::Io,
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
        }
    }

    /// The name in `cgroup.controllers`; `None` for what every version 2 group has.
    pub(super) fn name_v2(self) -> Option<&'static str> {
        match self {
            Controller::CpuAcct | Controller::Freezer => None,
            Controller::Io => Some("io"),
            other => Some(other.name_v1()),
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name_v2().unwrap_or(self.name_v1()))
    }
}
