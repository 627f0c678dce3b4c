//! Memory and swap.

use super::Writer;
use super::refusal::Reason;
use crate::cgroup::controller::Version;
use crate::cgroup::resources::Bound;
use std::io;

const LIMIT_V1: &str = "memory.limit_in_bytes";
const SWAP_V1: &str = "memory.memsw.limit_in_bytes";

impl Writer<'_> {
    pub(super) fn memory(&mut self) {
        let memory = &self.resources.memory;
        if memory.check_before_update
            && let Some(Bound::At(limit)) = memory.limit
        {
            let file = match self.version() {
                Version::V1 => "memory.usage_in_bytes",
                Version::V2 => "memory.current",
            };
            if let Some(used) = self.number(file).filter(|&used| used > limit) {
                let error = io::Error::from_raw_os_error(libc::EBUSY);
                let written = format!("limit memory to {limit} bytes, of which {used} are in use");
                return self.refuse("memory.limit", written, Reason::Kernel(error));
            }
        }
        match self.version() {
            Version::V1 => self.memory_v1(),
            Version::V2 => self.memory_v2(),
        }
    }

    fn memory_v1(&mut self) {
        let memory = &self.resources.memory;
        if memory.oom_group {
            let error = io::Error::from_raw_os_error(libc::ENOENT);
            self.note("memory.oomGroup", "memory.oom.group", "1", Err(error));
        }
        self.limits_v1();
        if let Some(reservation) = memory.reservation {
            self.write("memory.reservation", "memory.soft_limit_in_bytes", reservation.text(Version::V1));
        }
        if let Some(kernel) = memory.kernel {
            self.write("memory.kernel", "memory.kmem.limit_in_bytes", kernel.text(Version::V1));
        }
        if let Some(tcp) = memory.kernel_tcp {
            self.write("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", tcp.text(Version::V1));
        }
        if let Some(swappiness) = memory.swappiness {
            self.write("memory.swappiness", "memory.swappiness", swappiness.to_string());
        }
        // A fresh group kills; only what differs from that needs the file, which some kernels lack.
        match memory.disable_oom_killer {
            Some(true) => self.write("memory.disableOOMKiller", "memory.oom_control", "1"),
            Some(false) if self.directory().read("memory.oom_control").is_ok_and(|now| now.contains("disable 1")) => {
                self.write("memory.disableOOMKiller", "memory.oom_control", "0");
            }
            _ => {}
        }
        if let Some(hierarchy) = memory.use_hierarchy
            && self.number("memory.use_hierarchy").is_some_and(|now| now != u64::from(hierarchy))
        {
            self.write("memory.useHierarchy", "memory.use_hierarchy", u64::from(hierarchy).to_string());
        }
    }

    /// The limit of memory may never exceed that of memory and swap, so which goes first depends on the direction.
    fn limits_v1(&mut self) {
        let memory = &self.resources.memory;
        let now = self.directory().read(SWAP_V1).ok();
        // No limit of memory without one of swap would be none at all (runc's rule).
        let swap = memory.swap.or(memory.limit.filter(|limit| *limit == Bound::Unlimited && now.is_some()));
        let swap = swap.filter(|_| now.is_some() || !memory.swap_is_implied);
        let grows = match (swap, now.and_then(|now| now.trim().parse::<u64>().ok())) {
            (Some(Bound::Unlimited), _) => true,
            (Some(Bound::At(swap)), Some(now)) => swap > now,
            _ => false,
        };
        let mut order = [("memory.limit", LIMIT_V1, memory.limit), ("memory.swap", SWAP_V1, swap)];
        if grows {
            order.reverse();
        }
        for (field, file, bound) in order {
            if let Some(bound) = bound {
                self.write(field, file, bound.text(Version::V1));
            }
        }
    }

    fn memory_v2(&mut self) {
        let memory = &self.resources.memory;
        if memory.oom_group {
            self.write("memory.oomGroup", "memory.oom.group", "1");
        }
        self.swap_v2();
        match memory.limit {
            Some(Bound::At(limit)) if self.defers => {
                self.outcome.later.push(("memory.max".to_owned(), limit.to_string()));
            }
            Some(limit) => self.write("memory.limit", "memory.max", limit.text(Version::V2)),
            None => {}
        }
        if let Some(reservation) = memory.reservation {
            self.write("memory.reservation", "memory.low", reservation.text(Version::V2));
        }
        if let Some(Bound::At(_)) = memory.kernel {
            self.unsupported("memory.kernel", "version 2 counts kernel memory in the limit of memory");
        }
        if let Some(Bound::At(_)) = memory.kernel_tcp {
            self.unsupported("memory.kernelTCP", "version 2 counts the buffers of TCP in the limit of memory");
        }
        if memory.swappiness.is_some() {
            self.unsupported("memory.swappiness", "version 2 has one swappiness for the whole machine");
        }
        if memory.disable_oom_killer == Some(true) {
            self.unsupported("memory.disableOOMKiller", "version 2 always kills where memory has run out");
        }
        if memory.use_hierarchy == Some(false) {
            self.unsupported("memory.useHierarchy", "version 2 always counts the groups below");
        }
    }

    /// Version 2 limits swap by itself; the runtime-spec counts memory in.
    fn swap_v2(&mut self) {
        const FILE: &str = "memory.swap.max";
        let memory = &self.resources.memory;
        let limit = memory.limit.or_else(|| {
            let now = self.directory().read("memory.max").ok()?;
            Some(now.trim().parse().map_or(Bound::Unlimited, Bound::At))
        });
        let value = match (memory.swap, limit) {
            (None, _) if memory.limit == Some(Bound::Unlimited) => Bound::Unlimited,
            (None, _) => return,
            (Some(Bound::Unlimited), _) => Bound::Unlimited,
            (Some(Bound::At(total)), Some(Bound::At(limit))) if total >= limit => Bound::At(total - limit),
            (Some(Bound::At(total)), _) => {
                let written = format!("limit memory and swap to {total} bytes, less than the limit of memory");
                let error = io::Error::from_raw_os_error(libc::EINVAL);
                return self.refuse("memory.swap", written, Reason::Kernel(error));
            }
        };
        let value_text = value.text(Version::V2);
        let result = self.directory().write(FILE, &value_text);
        let no_accounting = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        // Where swap is not accounted for, only a caller who asked for a limit has to know.
        if !(no_accounting && (memory.swap_is_implied || value == Bound::Unlimited)) {
            self.note("memory.swap", FILE, &value_text, result);
        }
    }
}
