//! What the processes of a group have used, and what killed them.

use super::Cgroup;
use super::controller::{Controller, Version};
use super::directory::Directory;
use super::pressure::{self, Pressure};
use crate::error::During;
use crate::{Error, ErrorKind, Memory, Result};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What the processes of a group have used so far and use now.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Memory.
    pub memory: MemoryStats,
    /// Processor time.
    pub cpu: CpuStats,
    /// Processes and threads.
    pub pids: PidsStats,
    /// Block devices; `None` where the group has no such controller (version 1 without an I/O weight).
    pub io: Option<IoStats>,
    /// Pressure; `None` with version 1, and where the kernel does not account for it.
    pub pressure: Option<Pressure>,
}

/// Memory of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Held now, less the page cache that has not been used for a while (`inactive_file`), as Docker counts it.
    pub used: Memory,
    /// The most that has been held at a time, page cache included; `None` where the kernel does not say (version 2
    /// before Linux 5.19).
    pub peak: Option<Memory>,
    /// The limit of this group.
    pub limit: Option<Memory>,
}

/// Processor time of a group, all processors together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuStats {
    /// All the time used.
    pub usage: Duration,
    /// Of it, in the programs.
    pub user: Duration,
    /// Of it, in the kernel.
    pub system: Duration,
    /// How long the processors' limit kept the group from running.
    pub throttled: Duration,
}

/// Processes and threads of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PidsStats {
    /// Alive now.
    pub current: u64,
    /// The limit of this group.
    pub limit: Option<u64>,
}

/// Bytes that went to and came from block devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IoStats {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

impl Cgroup {
    /// What the group has used.
    ///
    /// # Errors
    /// `Unsupported` where the group lacks the controller that counts, `NotFound` where the group is gone.
    pub fn stats(&self) -> Result<Stats> {
        let unified = self.record.groups.iter().find(|group| group.version == Version::V2);
        let pressure = unified.and_then(|group| pressure::read(&group.open(&self.record.name).ok()?));
        Ok(Stats {
            memory: self.counted(Controller::Memory, memory_v1, memory_v2)?,
            cpu: self.cpu()?,
            pids: self.pids()?,
            io: match self.record.group_of(Controller::Io) {
                Some(_) => Some(self.counted(Controller::Io, io_v1, io_v2)?),
                None => None,
            },
            pressure,
        })
    }

    /// How many processes of the group the kernel has killed for lack of memory, since the group was made.
    pub fn oom_kills(&self) -> Result<u64> {
        self.memory_events().map(|events| events.oom_kill)
    }

    /// The error that explains an unexpected end of the group's processes, where memory was the reason.
    pub fn out_of_memory(&self) -> Option<Error> {
        if self.oom_kills().ok()? == 0 {
            return None;
        }
        let limit = self.counted(Controller::Memory, memory_v1, memory_v2).ok().and_then(|memory| memory.limit);
        Some(match limit {
            Some(limit) => {
                Error::new(ErrorKind::ResourceExhausted, format!("killed: memory limit of {limit} exceeded"))
                    .hint("raise the memory limit")
            }
            None => Error::new(ErrorKind::ResourceExhausted, "killed: the machine ran out of memory")
                .hint("limit the memory of what runs beside it"),
        })
    }

    /// The file with a line `oom_kill N` that counts the processes killed for lack of memory.
    pub fn oom_file(&self) -> Option<PathBuf> {
        let group = self.record.group_of(Controller::Memory)?;
        let file = match group.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        Some(group.base.join(&self.record.name).join(file))
    }

    fn counted<T>(
        &self,
        controller: Controller,
        v1: impl Fn(&Directory) -> std::io::Result<T>,
        v2: impl Fn(&Directory) -> std::io::Result<T>,
    ) -> Result<T> {
        let (version, directory) = self.directory(controller)?;
        let counted = match version {
            Version::V1 => v1(&directory),
            Version::V2 => v2(&directory),
        };
        counted.during(|| self.step(&format!("read {controller} statistics of")))
    }

    fn cpu(&self) -> Result<CpuStats> {
        let mut cpu = self.counted(Controller::CpuAcct, cpu_v1, cpu_v2)?;
        // In version 1 the one controller counts, the other throttles. Without the other nothing is throttled.
        if self.record.group_of(Controller::Cpu).is_some_and(|group| group.version == Version::V1) {
            let throttled = |group: &Directory| Ok(field(&group.read("cpu.stat")?, "throttled_time"));
            cpu.throttled = Duration::from_nanos(self.counted(Controller::Cpu, throttled, throttled)?);
        }
        Ok(cpu)
    }

    fn pids(&self) -> Result<PidsStats> {
        if self.record.group_of(Controller::Pids).is_some() {
            return self.counted(Controller::Pids, pids, pids);
        }
        // Every hierarchy lists the threads, which serves where none counts them.
        let count = |file| move |group: &Directory| Ok(group.read(file)?.lines().count() as u64);
        let current = self.counted(Controller::CpuAcct, count("tasks"), count("cgroup.threads"))?;
        Ok(PidsStats { current, limit: None })
    }
}

fn memory_v1(group: &Directory) -> std::io::Result<MemoryStats> {
    let inactive = field(&group.read("memory.stat")?, "total_inactive_file");
    // "No limit" is the largest multiple of the page size, which depends on the machine: all near the top are none.
    let limit = number(&group.read("memory.limit_in_bytes")?).filter(|&limit| limit < (i64::MAX as u64) >> 1);
    Ok(MemoryStats {
        used: Memory::bytes(number(&group.read("memory.usage_in_bytes")?).unwrap_or(0).saturating_sub(inactive)),
        peak: number(&group.read("memory.max_usage_in_bytes")?).map(Memory::bytes),
        limit: limit.map(Memory::bytes),
    })
}

fn memory_v2(group: &Directory) -> std::io::Result<MemoryStats> {
    let inactive = field(&group.read("memory.stat")?, "inactive_file");
    Ok(MemoryStats {
        used: Memory::bytes(number(&group.read("memory.current")?).unwrap_or(0).saturating_sub(inactive)),
        peak: group.read("memory.peak").ok().and_then(|text| number(&text)).map(Memory::bytes),
        limit: number(&group.read("memory.max")?).map(Memory::bytes),
    })
}

fn cpu_v1(group: &Directory) -> std::io::Result<CpuStats> {
    let time = |file| Ok::<_, std::io::Error>(Duration::from_nanos(number(&group.read(file)?).unwrap_or(0)));
    Ok(CpuStats {
        usage: time("cpuacct.usage")?,
        user: time("cpuacct.usage_user")?,
        system: time("cpuacct.usage_sys")?,
        throttled: Duration::ZERO,
    })
}

fn cpu_v2(group: &Directory) -> std::io::Result<CpuStats> {
    let text = group.read("cpu.stat")?;
    let time = |key| Duration::from_micros(field(&text, key));
    Ok(CpuStats {
        usage: time("usage_usec"),
        user: time("user_usec"),
        system: time("system_usec"),
        throttled: time("throttled_usec"),
    })
}

fn pids(group: &Directory) -> std::io::Result<PidsStats> {
    let current = number(&group.read("pids.current")?).unwrap_or(0);
    Ok(PidsStats { current, limit: number(&group.read("pids.max")?) })
}

/// Lines `8:0 Read 4096`, one per device and direction.
fn io_v1(group: &Directory) -> std::io::Result<IoStats> {
    let mut io = IoStats::default();
    for line in group.read("blkio.throttle.io_service_bytes_recursive")?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, direction, bytes] = words[..] {
            let bytes: u64 = bytes.parse().unwrap_or(0);
            match direction {
                "Read" => io.read = io.read.saturating_add(bytes),
                "Write" => io.written = io.written.saturating_add(bytes),
                _ => {}
            }
        }
    }
    Ok(io)
}

/// Lines `8:0 rbytes=4096 wbytes=0 ...`, one per device.
fn io_v2(group: &Directory) -> std::io::Result<IoStats> {
    let mut io = IoStats::default();
    for (key, value) in group.read("io.stat")?.split_whitespace().filter_map(|word| word.split_once('=')) {
        let bytes: u64 = value.parse().unwrap_or(0);
        match key {
            "rbytes" => io.read = io.read.saturating_add(bytes),
            "wbytes" => io.written = io.written.saturating_add(bytes),
            _ => {}
        }
    }
    Ok(io)
}

/// The value of the line `key value`; 0 where there is none.
pub(super) fn field(text: &str, key: &str) -> u64 {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(name, _)| *name == key).find_map(|(_, value)| number(value)).unwrap_or(0)
}

/// `max` and what else is no number is `None`.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// One line: `memory 12.3 MiB of 256.0 MiB (peak 20.1 MiB), cpu 1.250 s (user 1.000 s, system 0.250 s), 3 of 64 pids`.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.memory, self.cpu, self.pids)?;
        match &self.io {
            Some(io) => write!(f, ", {io}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for MemoryStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory {}", self.used)?;
        if let Some(limit) = self.limit {
            write!(f, " of {limit}")?;
        }
        match self.peak {
            Some(peak) => write!(f, " (peak {peak})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for CpuStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [usage, user, system] = [self.usage, self.user, self.system].map(|time| time.as_secs_f64());
        write!(f, "cpu {usage:.3} s (user {user:.3} s, system {system:.3} s")?;
        if !self.throttled.is_zero() {
            write!(f, ", throttled {:.3} s", self.throttled.as_secs_f64())?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for PidsStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "{} of {limit} pids", self.current),
            None => write!(f, "{} pids", self.current),
        }
    }
}

impl fmt::Display for IoStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read {}, written {}", Memory::bytes(self.read), Memory::bytes(self.written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "low 1\noom 3\noom_kill 2\noom_group_kill 1\nbroken\n";
        assert_eq!([field(text, "oom_kill"), field(text, "oom"), field(text, "absent")], [2, 3, 0]);
        assert_eq!(number("max\n"), None);
    }

    #[test]
    fn statistics_read_as_one_line() {
        let seconds = Duration::from_secs_f64;
        let mut stats = Stats {
            memory: MemoryStats { used: Memory::mib(12), peak: Some(Memory::mib(20)), limit: Some(Memory::mib(256)) },
            cpu: CpuStats { usage: seconds(1.25), user: seconds(1.0), system: seconds(0.25), throttled: seconds(0.5) },
            pids: PidsStats { current: 3, limit: Some(64) },
            io: Some(IoStats { read: 4096, written: 0 }),
            pressure: None,
        };
        assert_eq!(
            stats.to_string(),
            "memory 12.0 MiB of 256.0 MiB (peak 20.0 MiB), cpu 1.250 s (user 1.000 s, system 0.250 s, throttled \
             0.500 s), 3 of 64 pids, read 4.0 KiB, written 0 B"
        );
        stats.memory = MemoryStats { used: Memory::mib(1), peak: None, limit: None };
        stats.cpu.throttled = Duration::ZERO;
        stats.pids.limit = None;
        stats.io = None;
        assert_eq!(stats.to_string(), "memory 1.0 MiB, cpu 1.250 s (user 1.000 s, system 0.250 s), 3 pids");
    }
}
