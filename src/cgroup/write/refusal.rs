//! Why a resource could not be had, and what would help.

use crate::cgroup::Unenforced;
use crate::cgroup::controller::Version;
use crate::cgroup::resources::Names;
use crate::{Error, ErrorKind};
use std::io;

/// A resource that the kernel did not take.
#[derive(Debug)]
pub(in crate::cgroup) struct Refusal {
    pub(super) names: Names,
    /// Below `linux.resources`.
    pub(super) field: &'static str,
    /// As the caller knows it.
    pub(super) limit: String,
    pub(super) written: String,
    pub(super) reason: Reason,
}

#[derive(Debug)]
pub(super) enum Reason {
    Kernel(io::Error),
    /// This version of control groups has no such thing.
    Version(Version),
}

impl Refusal {
    /// For [`Policy::BestEffort`](crate::cgroup::Policy::BestEffort).
    pub(in crate::cgroup) fn unenforced(&self) -> Unenforced {
        let reason = match &self.reason {
            Reason::Kernel(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("the kernel has no such file: {}", self.written)
            }
            _ => self.error().to_string(),
        };
        Unenforced { limit: self.limit.clone(), reason, remedy: self.remedy().to_owned() }
    }

    /// For [`Policy::Strict`](crate::cgroup::Policy::Strict).
    pub(in crate::cgroup) fn error(&self) -> Error {
        let step = format!("{}{}: {}", self.names.kind(), self.limit, self.written);
        match self.errno() {
            Some(libc::ENOENT) => Error::new(ErrorKind::Unsupported, format!("{step}: the kernel has no such file")),
            Some(errno) => Error::os(step, errno),
            None if matches!(self.reason, Reason::Version(_)) => Error::new(ErrorKind::Unsupported, step),
            None => Error::new(ErrorKind::Os, step),
        }
        .hint(self.remedy())
    }

    fn errno(&self) -> Option<i32> {
        match &self.reason {
            Reason::Kernel(error) => error.raw_os_error(),
            Reason::Version(_) => None,
        }
    }

    fn remedy(&self) -> &'static str {
        if let Reason::Version(version) = self.reason {
            return match version {
                Version::V1 => "boot with cgroup version 2, or leave it out",
                Version::V2 => "boot with cgroup version 1, or leave it out",
            };
        }
        match (self.field, self.errno()) {
            ("memory.oomGroup", Some(libc::ENOENT)) => "boot with cgroup version 2",
            ("memory.swap", Some(libc::ENOENT)) => "boot with swapaccount=1",
            ("memory.kernel", Some(libc::ENOENT | libc::EOPNOTSUPP)) => "memory.limit counts kernel memory as well",
            ("blockIO.weight" | "blockIO.weightDevice", Some(libc::ENOENT)) => "load the bfq scheduler: modprobe bfq",
            ("blockIO.leafWeight", Some(libc::ENOENT)) => "the kernel has lost it with the CFQ scheduler: leave it out",
            (field, Some(libc::ENODEV | libc::ENXIO)) if field.starts_with("blockIO") => {
                "no block device has this number"
            }
            ("memory.limit" | "memory.swap", Some(libc::EBUSY)) => "the group uses more than that and cannot be shrunk",
            ("memory.limit", Some(libc::EINVAL)) => {
                "it is more than memory and swap together: raise memory.swap as well"
            }
            ("cpu.realtimeRuntime" | "cpu.realtimePeriod", Some(libc::EINVAL)) => {
                "the groups above must have as much real-time first"
            }
            ("cpu.realtimeRuntime" | "cpu.realtimePeriod", Some(libc::ENOENT)) => {
                "the kernel is built without RT_GROUP_SCHED"
            }
            ("cpu.shares", Some(libc::EINVAL)) => "2 to 262144 shares can be given, and none to an idle group",
            ("cpu.quota" | "cpu.period" | "cpu.burst", Some(libc::EINVAL)) => {
                "a group above allows less, or it is below 1 ms; the burst may not exceed the quota"
            }
            ("cpu.cpus" | "cpu.mems", _) => "ask for those that the machine has online and the group above may use",
            ("hugepageLimits", Some(libc::ENOENT)) => "the machine has no huge pages of this size",
            ("devices", Some(libc::EPERM)) => {
                "the group above allows less, or CAP_BPF and CAP_NET_ADMIN are missing, as in a user namespace"
            }
            (_, Some(libc::EACCES | libc::EPERM | libc::EROFS)) => "run as root, or have the group delegated",
            _ => "leave the limit out, or accept that it is not enforced",
        }
    }
}
