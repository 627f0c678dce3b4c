//! Resource limits: setrlimit(2).

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// What a resource limit limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Address space, bytes.
    AddressSpace,
    /// Core dump, bytes.
    Core,
    /// Processor time, seconds.
    Cpu,
    /// Data segment, bytes.
    Data,
    /// Size of a file written, bytes.
    FileSize,
    /// File locks.
    Locks,
    /// Locked memory, bytes.
    LockedMemory,
    /// POSIX message queues, bytes.
    MessageQueue,
    /// Ceiling of the nice value, 20 - limit.
    Nice,
    /// One more than the largest file descriptor.
    OpenFiles,
    /// Processes and threads of the real user.
    Processes,
    /// Resident set, bytes; the kernel ignores it.
    ResidentSet,
    /// Ceiling of the real-time priority.
    RealTimePriority,
    /// Processor time of a real-time thread without blocking, microseconds.
    RealTimeTime,
    /// Queued signals of the real user.
    PendingSignals,
    /// Stack of the first thread, bytes.
    Stack,
}

/// Each with its name in setrlimit(2) without `RLIMIT_`, in lower case, and its number, which is the same on every
/// architecture this crate runs on (`asm-generic/resource.h`).
const RESOURCES: [(Resource, &str, u32); 16] = [
    (Resource::AddressSpace, "as", 9),
    (Resource::Core, "core", 4),
    (Resource::Cpu, "cpu", 0),
    (Resource::Data, "data", 2),
    (Resource::FileSize, "fsize", 1),
    (Resource::Locks, "locks", 10),
    (Resource::LockedMemory, "memlock", 8),
    (Resource::MessageQueue, "msgqueue", 12),
    (Resource::Nice, "nice", 13),
    (Resource::OpenFiles, "nofile", 7),
    (Resource::Processes, "nproc", 6),
    (Resource::ResidentSet, "rss", 5),
    (Resource::RealTimePriority, "rtprio", 14),
    (Resource::RealTimeTime, "rttime", 15),
    (Resource::PendingSignals, "sigpending", 11),
    (Resource::Stack, "stack", 3),
];

impl Resource {
    /// The number that prlimit64 takes.
    pub const fn number(self) -> u32 {
        RESOURCES[self as usize].2
    }

    /// The name without `RLIMIT_`, in lower case: `nofile`.
    pub const fn name(self) -> &'static str {
        RESOURCES[self as usize].1
    }
}

/// `nofile` or, as the runtime-spec writes it, `RLIMIT_NOFILE`; in any case.
impl FromStr for Resource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Resource> {
        let prefix = "RLIMIT_";
        let bare = match text.get(..prefix.len()) {
            Some(start) if start.eq_ignore_ascii_case(prefix) => &text[prefix.len()..],
            _ => text,
        };
        let found = RESOURCES.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(bare));
        found.map(|&(resource, _, _)| resource).ok_or_else(|| {
            Error::invalid(format!("resource {text:?} is not one that setrlimit(2) knows"))
                .hint("nofile, nproc, core, memlock, stack ...")
        })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A soft and a hard limit of one resource; the soft one is never above the hard one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceLimit {
    resource: Resource,
    soft: u64,
    hard: u64,
}

impl ResourceLimit {
    /// No limit: `RLIM_INFINITY`.
    pub const UNLIMITED: u64 = u64::MAX;

    /// `resource` up to `soft`, which the process may raise up to `hard`; an error where `soft` is above `hard`.
    pub fn new(resource: Resource, soft: u64, hard: u64) -> Result<ResourceLimit> {
        let limit = ResourceLimit { resource, soft, hard };
        if soft > hard {
            return Err(Error::invalid(format!("limit {limit}: the soft limit is above the hard limit")));
        }
        Ok(limit)
    }

    /// What is limited.
    pub const fn resource(self) -> Resource {
        self.resource
    }

    /// The limit that is enforced, in the unit of the resource.
    pub const fn soft(self) -> u64 {
        self.soft
    }

    /// The ceiling of the soft limit.
    pub const fn hard(self) -> u64 {
        self.hard
    }
}

/// Docker's `--ulimit`: `nofile=1024:2048`, `nofile=1024` for both, `-1` or `unlimited` for none.
impl FromStr for ResourceLimit {
    type Err = Error;

    fn from_str(text: &str) -> Result<ResourceLimit> {
        let bad = || Error::invalid(format!("limit {text:?} is not RESOURCE=SOFT[:HARD]"));
        let (resource, values) = text.split_once('=').ok_or_else(bad)?;
        let resource = resource.parse()?;
        let value = |text: &str| match text {
            "-1" | "unlimited" => Ok(ResourceLimit::UNLIMITED),
            digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse::<u64>().map_err(|_| bad())
            }
            _ => Err(bad()),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        ResourceLimit::new(resource, value(soft)?, value(hard)?)
    }
}

impl fmt::Display for ResourceLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: u64| match value {
            ResourceLimit::UNLIMITED => "unlimited".to_owned(),
            value => value.to_string(),
        };
        write!(f, "{}={}:{}", self.resource, text(self.soft), text(self.hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels_and_the_table_is_in_order() {
        for (index, (resource, name, _)) in RESOURCES.into_iter().enumerate() {
            assert_eq!(resource as usize, index);
            assert_eq!(name.parse::<Resource>().unwrap(), resource);
            assert_eq!(format!("RLIMIT_{}", name.to_uppercase()).parse::<Resource>().unwrap(), resource);
        }
        for (resource, number) in [
            (Resource::OpenFiles, libc::RLIMIT_NOFILE),
            (Resource::Processes, libc::RLIMIT_NPROC),
            (Resource::AddressSpace, libc::RLIMIT_AS),
            (Resource::LockedMemory, libc::RLIMIT_MEMLOCK),
            (Resource::ResidentSet, libc::RLIMIT_RSS),
            (Resource::RealTimeTime, libc::RLIMIT_RTTIME),
            (Resource::PendingSignals, libc::RLIMIT_SIGPENDING),
        ] {
            assert_eq!(u64::from(resource.number()), u64::from(number), "{resource}");
        }
    }

    #[test]
    fn limits_read_dockers_notation() {
        let limit: ResourceLimit = "nofile=1024:2048".parse().unwrap();
        assert_eq!((limit.soft(), limit.hard()), (1024, 2048));
        assert_eq!("core=0".parse::<ResourceLimit>().unwrap().to_string(), "core=0:0");
        let unlimited: ResourceLimit = "memlock=-1:unlimited".parse().unwrap();
        assert_eq!(unlimited.hard(), ResourceLimit::UNLIMITED);
        assert_eq!(unlimited.to_string(), "memlock=unlimited:unlimited");
        for bad in [
            "nofile",
            "nofile=",
            "nofile=1:",
            "nofile=2:1",
            "nofile=-2",
            "nofile=+1",
            "nofile=1:2:3",
            "nope=1",
            "nofile=18446744073709551616",
            "=1",
            "nofile=unlimited:1",
        ] {
            assert!(bad.parse::<ResourceLimit>().is_err(), "{bad:?}");
        }
    }
}
