//! Limits as the kernel's files want them.

use super::controller::{Controller, Version};
use super::directory::Directory;
use super::{Limits, Unenforced};
use crate::{Error, Memory};
use std::io;

/// Microseconds over which processor time is measured: the kernel's default.
const PERIOD: u32 = 100_000;

/// A limit that the kernel did not take.
#[derive(Debug)]
pub(super) struct Refusal {
    limit: &'static str,
    written: String,
    error: io::Error,
}

/// Whether the memory limit itself is written now, or by a later [`memory_max`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryLimit {
    Now,
    Later,
}

/// Writes those of `limits` whose controllers this group `held`s.
pub(super) fn apply(
    version: Version,
    directory: &Directory,
    held: &[Controller],
    limits: &Limits,
    memory: MemoryLimit,
) -> Vec<Refusal> {
    let mut writer = Writer { directory, refusals: Vec::new() };
    if held.contains(&Controller::Memory) {
        match version {
            Version::V1 => writer.memory_v1(limits),
            Version::V2 => writer.memory_v2(limits, memory),
        }
    }
    if held.contains(&Controller::Cpu) {
        writer.cpu(version, limits);
    }
    if let Some(pids) = limits.pids.filter(|_| held.contains(&Controller::Pids)) {
        writer.write("pids", "pids.max", pids.to_string());
    }
    if let Some(weight) = limits.io_weight.filter(|_| held.contains(&Controller::Io)) {
        writer.io_weight(version, weight);
    }
    writer.refusals
}

/// Writes `memory.max` of a version 2 group.
pub(super) fn memory_max(directory: &Directory, memory: Memory) -> io::Result<()> {
    directory.write("memory.max", &memory.as_bytes().to_string())
}

struct Writer<'a> {
    directory: &'a Directory,
    refusals: Vec<Refusal>,
}

impl Writer<'_> {
    fn write(&mut self, limit: &'static str, file: &str, value: String) {
        let result = self.directory.write(file, &value);
        self.note(limit, file, value, result);
    }

    fn note(&mut self, limit: &'static str, file: &str, value: String, result: io::Result<()>) {
        if let Err(error) = result {
            self.refusals.push(Refusal { limit, written: format!("write {value} to {file}"), error });
        }
    }

    /// The limit of memory may never exceed that of memory and swap, so which goes first depends on the direction.
    fn memory_v1(&mut self, limits: &Limits) {
        const MEMORY: &str = "memory.limit_in_bytes";
        const SWAP: &str = "memory.memsw.limit_in_bytes";
        if limits.oom_group {
            let error = io::Error::from_raw_os_error(libc::ENOENT);
            self.note("oom_group", "memory.oom.group", "1".to_owned(), Err(error));
        }
        let Some(memory) = limits.memory else { return };
        let total = swap_total(limits, memory).to_string();
        let memory = memory.as_bytes().to_string();
        let Ok(current) = self.directory.read(SWAP) else {
            self.write("memory", MEMORY, memory);
            if limits.memory_swap.is_some() {
                self.write("memory_swap", SWAP, total);
            }
            return;
        };
        let grows = current.trim().parse::<u64>().is_ok_and(|current| current < total.parse().unwrap_or(u64::MAX));
        let mut order = [("memory", MEMORY, memory), ("memory_swap", SWAP, total)];
        if grows {
            order.reverse();
        }
        for (limit, file, value) in order {
            self.write(limit, file, value);
        }
    }

    fn memory_v2(&mut self, limits: &Limits, when: MemoryLimit) {
        if limits.oom_group {
            self.write("oom_group", "memory.oom.group", "1".to_owned());
        }
        let Some(memory) = limits.memory else { return };
        let swap = swap_total(limits, memory) - memory.as_bytes();
        let result = self.directory.write("memory.swap.max", &swap.to_string());
        let no_accounting = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        // Where swap is not accounted for, only a caller who asked for the limit has to know.
        if limits.memory_swap.is_some() || !no_accounting {
            self.note("memory_swap", "memory.swap.max", swap.to_string(), result);
        }
        if when == MemoryLimit::Now {
            let result = memory_max(self.directory, memory);
            self.note("memory", "memory.max", memory.as_bytes().to_string(), result);
        }
    }

    fn cpu(&mut self, version: Version, limits: &Limits) {
        if let Some(cpus) = limits.cpus {
            let quota = u64::from(cpus.as_millis()) * u64::from(PERIOD) / 1000;
            match version {
                Version::V1 => self.write("cpus", "cpu.cfs_quota_us", quota.to_string()),
                Version::V2 => self.write("cpus", "cpu.max", format!("{quota} {PERIOD}")),
            }
        }
        if let Some(weight) = limits.cpu_weight {
            match version {
                Version::V1 => self.write("cpu_weight", "cpu.shares", shares(weight).to_string()),
                Version::V2 => self.write("cpu_weight", "cpu.weight", weight.to_string()),
            }
        }
    }

    fn io_weight(&mut self, version: Version, weight: u32) {
        let bfq = bfq_weight(weight).to_string();
        match version {
            Version::V1 => self.write("io_weight", "blkio.bfq.weight", bfq),
            Version::V2 if self.directory.has("io.weight") => {
                self.write("io_weight", "io.weight", format!("default {weight}"));
            }
            Version::V2 => self.write("io_weight", "io.bfq.weight", bfq),
        }
    }
}

/// Memory and swap together: what was asked for, else as much swap as memory, which is Docker's rule.
fn swap_total(limits: &Limits, memory: Memory) -> u64 {
    limits.memory_swap.unwrap_or(Memory::bytes(memory.as_bytes().saturating_mul(2))).as_bytes()
}

/// `cpu.shares` of a weight: 1024 is the default of the one, 100 of the other.
fn shares(weight: u32) -> u32 {
    (weight.saturating_mul(1024) / 100).clamp(2, 262_144)
}

/// The BFQ scheduler's weight, 1 to 1000, of a weight from 1 to 10,000: both have the default 100, and the range above
/// it is compressed (systemd's rule).
fn bfq_weight(weight: u32) -> u32 {
    if weight <= 100 { weight } else { 100 + (weight - 100) * 900 / 9900 }
}

impl Refusal {
    /// For [`Policy::BestEffort`](super::Policy::BestEffort).
    pub(super) fn unenforced(&self) -> Unenforced {
        let reason = match self.error.kind() {
            io::ErrorKind::NotFound => format!("the kernel has no such file: {}", self.written),
            _ => self.error().to_string(),
        };
        Unenforced { limit: self.limit.to_owned(), reason, remedy: self.remedy().to_owned() }
    }

    /// For [`Policy::Strict`](super::Policy::Strict).
    pub(super) fn error(&self) -> Error {
        let step = format!("limit {}: {}", self.limit, self.written);
        match self.error.raw_os_error() {
            Some(libc::ENOENT) => {
                Error::new(crate::ErrorKind::Unsupported, format!("{step}: the kernel has no such file"))
            }
            Some(errno) => Error::os(step, errno),
            None => Error::new(crate::ErrorKind::Os, step),
        }
        .hint(self.remedy())
    }

    fn remedy(&self) -> &'static str {
        match (self.limit, self.error.raw_os_error()) {
            ("oom_group", Some(libc::ENOENT)) => "boot with cgroup version 2",
            ("memory_swap", Some(libc::ENOENT)) => "boot with swapaccount=1",
            ("io_weight", Some(libc::ENOENT)) => "load the bfq scheduler: modprobe bfq",
            ("memory" | "memory_swap", Some(libc::EBUSY)) => "the group uses more than that and cannot be shrunk",
            ("cpus", Some(libc::EINVAL)) => "a group above allows less",
            (_, Some(libc::EACCES | libc::EPERM | libc::EROFS)) => "run as root, or have the group delegated",
            _ => "leave the limit out, or accept that it is not enforced",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_default_and_their_range() {
        assert_eq!([1, 100, 200, 10_000].map(shares), [10, 1024, 2048, 102_400]);
        assert_eq!([1, 100, 1090, 10_000].map(bfq_weight), [1, 100, 190, 1000]);
    }

    #[test]
    fn swap_is_as_much_as_memory_unless_said() {
        let limits = Limits::new().memory(Memory::mib(8));
        assert_eq!(swap_total(&limits, Memory::mib(8)), 16 << 20);
        assert_eq!(swap_total(&limits.memory_swap(Memory::mib(8)), Memory::mib(8)), 8 << 20);
        assert_eq!(swap_total(&Limits::new(), Memory::bytes(u64::MAX)), u64::MAX);
    }
}
