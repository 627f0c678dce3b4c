//! What a group may use, and what to do where the machine cannot enforce it.

use super::resources::{Bound, CpuWeight, IoWeight, Names, Resources};
use crate::{Cpus, Error, Memory, Result};
use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Microseconds over which processor time is measured: the kernel's default.
const PERIOD: u32 = 100_000;

/// What a group of processes may use. Nothing is limited unless said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_swap: Option<Memory>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) oom_group: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<Cpus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pids: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) io_weight: Option<u32>,
}

impl Limits {
    /// The smallest memory limit that [`check`](Limits::check) lets through: a static program of 2 MB was measured to
    /// need 256 KiB to start; larger ones that do not fit are reported as killed for lack of memory.
    pub const MINIMUM_MEMORY: Memory = Memory::bytes(512 << 10);

    /// No limits.
    pub fn new() -> Limits {
        Limits::default()
    }

    /// The most memory the group may hold, page cache and kernel memory included; one process is killed where
    /// reclaiming does not bring it below (`memory.max`, `memory.limit_in_bytes`).
    #[must_use]
    pub fn memory(mut self, memory: Memory) -> Limits {
        self.memory = Some(memory);
        self
    }

    /// The most memory and swap together, as Docker's `--memory-swap`: equal to the memory limit means no swap. Without
    /// it, as much swap as memory, where the kernel accounts for swap.
    #[must_use]
    pub fn memory_swap(mut self, memory_and_swap: Memory) -> Limits {
        self.memory_swap = Some(memory_and_swap);
        self
    }

    /// Whether an out-of-memory kill ends every process of the group instead of one (`memory.oom.group`, version 2
    /// only).
    #[must_use]
    pub fn oom_group(mut self, oom_group: bool) -> Limits {
        self.oom_group = oom_group;
        self
    }

    /// The most processor time per time, measured over periods of 100 ms: 0.01 to the number of processors.
    #[must_use]
    pub fn cpus(mut self, cpus: Cpus) -> Limits {
        self.cpus = Some(cpus);
        self
    }

    /// The share of the processors when they are short, in relation to the neighbours: 1 to 10,000, 100 being the
    /// kernel's default (`cpu.weight`; version 1's `cpu.shares` gets 10.24 times as much, which keeps both the
    /// default and the ratios).
    #[must_use]
    pub fn cpu_weight(mut self, weight: u32) -> Limits {
        self.cpu_weight = Some(weight);
        self
    }

    /// The most processes and threads at a time, 1 or more.
    #[must_use]
    pub fn pids(mut self, pids: u32) -> Limits {
        self.pids = Some(pids);
        self
    }

    /// The share of block devices when they are short: 1 to 10,000, 100 being the default (`io.weight`, or the BFQ
    /// scheduler's weight).
    #[must_use]
    pub fn io_weight(mut self, weight: u32) -> Limits {
        self.io_weight = Some(weight);
        self
    }

    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Limits::default()
    }

    /// Refuses values that make no sense on this machine, each with its name: memory below
    /// [`MINIMUM_MEMORY`](Limits::MINIMUM_MEMORY), swap below memory or without it, no processes, processors below 0.01
    /// or more than are online, weights out of range.
    pub fn check(&self) -> Result<()> {
        let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1).max(1);
        self.check_for(u32::try_from(online).unwrap_or(u32::MAX))
    }

    fn check_for(&self, processors: u32) -> Result<()> {
        self.check_memory()?;
        if let Some(cpus) = self.cpus
            && !(10..=processors.saturating_mul(1000)).contains(&cpus.as_millis())
        {
            return Err(Error::invalid(format!("limit cpus: {cpus} is not in the range from 0.01 to {processors}"))
                .hint(format!("this machine has {processors} processors online")));
        }
        if self.pids == Some(0) {
            return Err(Error::invalid("limit pids: 0 processes cannot run anything").hint("ask for 1 or more"));
        }
        for (name, weight) in [("cpu_weight", self.cpu_weight), ("io_weight", self.io_weight)] {
            if let Some(weight) = weight.filter(|weight| !(1..=10_000).contains(weight)) {
                return Err(Error::invalid(format!("limit {name}: {weight} is not in the range from 1 to 10000")));
            }
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<()> {
        if let Some(memory) = self.memory.filter(|&memory| memory < Limits::MINIMUM_MEMORY) {
            let minimum = Limits::MINIMUM_MEMORY;
            return Err(Error::invalid(format!("limit memory: {memory} is too small to start anything"))
                .hint(format!("ask for {minimum} or more; most programs need several MiB")));
        }
        match (self.memory, self.memory_swap) {
            (None, Some(_)) => Err(Error::invalid("limit memory_swap: it counts memory and swap together")
                .hint("give a memory limit as well")),
            (Some(memory), Some(total)) if total < memory => {
                Err(Error::invalid(format!("limit memory_swap: {total} is less than the memory limit of {memory}"))
                    .hint("it counts memory and swap together"))
            }
            _ => Ok(()),
        }
    }

    /// The same as resources; errors go on to name the limits.
    pub(super) fn resources(&self) -> Resources {
        let bytes = |memory: Memory| Bound::At(memory.as_bytes());
        let mut resources = Resources { names: Names::Limits, ..Resources::default() };
        resources.memory.limit = self.memory.map(bytes);
        resources.memory.swap = self.memory.map(|memory| bytes(self.swap_total(memory)));
        resources.memory.swap_is_implied = self.memory_swap.is_none();
        resources.memory.oom_group = self.oom_group;
        resources.cpu.quota = self.cpus.map(|cpus| Bound::At(u64::from(cpus.as_millis()) * u64::from(PERIOD) / 1000));
        resources.cpu.weight = self.cpu_weight.map(|weight| CpuWeight::Weight(weight.into()));
        resources.pids = self.pids.map(|pids| Bound::At(pids.into()));
        resources.block.weight = self.io_weight.map(IoWeight::Unified);
        resources
    }

    /// Memory and swap together: what was asked for, else as much swap as memory, which is Docker's rule.
    fn swap_total(&self, memory: Memory) -> Memory {
        self.memory_swap.unwrap_or(Memory::bytes(memory.as_bytes().saturating_mul(2)))
    }
}

/// What to do with a limit that the machine cannot enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Refuse, naming what is missing and the remedy.
    #[default]
    Strict,
    /// Go on, and return what could not be enforced.
    BestEffort,
}

/// A limit that was asked for and is not enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unenforced {
    /// The name of the limit, as the method of [`Limits`] is called.
    pub limit: String,
    /// What is missing.
    pub reason: String,
    /// What would help.
    pub remedy: String,
}

/// One line: `limit memory is not enforced: reason (remedy)`.
impl fmt::Display for Unenforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit {} is not enforced: {} ({})", self.limit, self.reason, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_values_are_refused_by_name() {
        let limits = Limits::new;
        for (limits, name) in [
            (limits().memory(Memory::bytes(4096)), "memory: 4.0 KiB"),
            (limits().memory_swap(Memory::mib(8)), "memory_swap"),
            (limits().memory(Memory::mib(8)).memory_swap(Memory::mib(7)), "memory_swap: 7.0 MiB"),
            (limits().cpus(Cpus::of(0.0)), "cpus: 0 "),
            (limits().cpus(Cpus::of(4.5)), "cpus: 4.5"),
            (limits().cpu_weight(0), "cpu_weight: 0"),
            (limits().pids(0), "pids"),
            (limits().io_weight(10_001), "io_weight: 10001"),
        ] {
            let error = limits.check_for(4).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
            assert!(error.to_string().starts_with(&format!("limit {name}")), "{error}");
        }
    }

    #[test]
    fn swap_is_as_much_as_memory_unless_said() {
        let limits = Limits::new().memory(Memory::mib(8));
        assert_eq!(limits.swap_total(Memory::mib(8)), Memory::mib(16));
        assert_eq!(limits.memory_swap(Memory::mib(8)).swap_total(Memory::mib(8)), Memory::mib(8));
        assert_eq!(Limits::new().swap_total(Memory::bytes(u64::MAX)), Memory::bytes(u64::MAX));
    }

    #[test]
    fn sensible_values_pass_and_survive_json() {
        let limits = Limits::new().memory(Memory::mib(6)).memory_swap(Memory::mib(6)).cpus(Cpus::of(4.0));
        let limits = limits.cpu_weight(10_000).pids(1).io_weight(1).oom_group(true);
        limits.check_for(4).unwrap();
        let json = serde_json::to_string(&limits).unwrap();
        assert_eq!(serde_json::from_str::<Limits>(&json).unwrap(), limits);
        assert_eq!(serde_json::to_string(&Limits::new()).unwrap(), "{}");
    }
}
