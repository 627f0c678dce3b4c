//! Where the time of a service goes.

use super::rates::{grown, time_used, user_and_system};
use crate::cgroup::ProcessorWait;
use crate::container::ContainerStats;
use crate::value::Memory;
use std::fmt;
use std::time::Duration;

/// Where the time between two samples of a container went, each part apart. Its [`Display`](fmt::Display) is a table.
///
/// The times of `user`, `system`, `throttled` and `waiting` are sums over threads or processors, so together they can be
/// longer than the period. The [`stalls`](Self::stalls) are not sums, but the time in which at least one thread waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeShares {
    /// The time between the samples.
    pub period: Duration,
    /// Processor time of the application itself.
    pub user: Duration,
    /// Processor time of the kernel for it: system calls, page faults, the network.
    pub system: Duration,
    /// How long the processors' limit kept it from running.
    pub throttled: Duration,
    /// How long threads that could run waited for a processor, from the kernel's run delay. `None` where it was not given
    /// ([`waiting`](Self::waiting)) or is not counted by the kernel.
    pub waiting: Option<Duration>,
    /// How long anything waited for a processor, memory or block devices, from pressure stall information. `None` with
    /// control groups of version 1, which do not have it.
    pub stalls: Option<Stalls>,
    /// Bytes received over the network; `None` without a network of its own.
    pub received: Option<u64>,
    /// Bytes sent over the network.
    pub sent: Option<u64>,
    /// Bytes read from block devices; `None` where the kernel does not count them.
    pub read: Option<u64>,
    /// Bytes written to block devices.
    pub written: Option<u64>,
    /// Requests that were answered in the period, where the caller counts them.
    pub requests: Option<u64>,
    /// All the time that those requests took, one after the other, where the caller measures it.
    pub response_time: Option<Duration>,
}

/// Time in which at least one thread waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stalls {
    /// For a processor.
    pub cpu: Duration,
    /// For memory.
    pub memory: Duration,
    /// For block devices.
    pub io: Duration,
}

impl TimeShares {
    /// The shares of the `period` between two samples of one container.
    pub fn between(earlier: &ContainerStats, later: &ContainerStats, period: Duration) -> TimeShares {
        let bytes = |of: fn(&ContainerStats) -> Option<u64>| of(later).map(|now| grown(of(earlier), now));
        let (user, system) = user_and_system(Some(earlier), later);
        TimeShares {
            period,
            user,
            system,
            throttled: time_used(Some(earlier.cpu.throttled), later.cpu.throttled),
            waiting: None,
            stalls: Stalls::between(earlier, later),
            received: bytes(|stats| stats.network.map(|network| network.received_bytes)),
            sent: bytes(|stats| stats.network.map(|network| network.sent_bytes)),
            read: bytes(|stats| stats.io.map(|io| io.read)),
            written: bytes(|stats| stats.io.map(|io| io.written)),
            requests: None,
            response_time: None,
        }
    }

    /// Adds how long threads waited for a processor, from two looks taken together with the samples
    /// ([`Container::processor_wait`](crate::Container::processor_wait)).
    #[must_use]
    pub fn waiting(mut self, earlier: &ProcessorWait, later: &ProcessorWait) -> TimeShares {
        self.waiting = Some(later.since(earlier));
        self
    }

    /// Divides everything by the requests of the period as well.
    #[must_use]
    pub fn requests(mut self, requests: u64) -> TimeShares {
        self.requests = Some(requests);
        self
    }

    /// Takes all the time that the requests took, one after the other, as the whole of which
    /// [`remaining`](Self::remaining) is what is left.
    #[must_use]
    pub fn response_time(mut self, all: Duration) -> TimeShares {
        self.response_time = Some(all);
        self
    }

    /// What is neither processor time nor waiting for a processor: of the response time, where that is known, the
    /// waiting for other services, for disks, for locks and for clients; otherwise of the period, where it is also
    /// idleness. `None` where the parts are longer than the whole, because several threads worked at once.
    pub fn remaining(&self) -> Option<Duration> {
        // Some kernels count what is throttled as waiting too.
        let kept = self.throttled.max(self.waiting.unwrap_or_default());
        let parts = self.user.saturating_add(self.system).saturating_add(kept);
        self.response_time.unwrap_or(self.period).checked_sub(parts)
    }

    fn for_each_request(&self, time: Duration) -> Option<Duration> {
        let requests = self.requests.filter(|&requests| requests > 0)?;
        Some(Duration::from_secs_f64(time.as_secs_f64() / requests as f64))
    }

    fn write_time(&self, f: &mut fmt::Formatter<'_>, name: &str, time: Option<Duration>) -> fmt::Result {
        let Some(time) = time else { return writeln!(f, "{name:<25}  not measured") };
        write!(f, "{name:<25} {:>10.3} s", time.as_secs_f64())?;
        match self.period.is_zero() {
            true => write!(f, " {:>9}", "")?,
            false => write!(f, " {:>7.1} %", 100.0 * time.as_secs_f64() / self.period.as_secs_f64())?,
        }
        match self.for_each_request(time) {
            Some(each) => writeln!(f, " {:>10.3} ms/request", each.as_secs_f64() * 1000.0),
            None => writeln!(f),
        }
    }

    fn write_bytes(&self, f: &mut fmt::Formatter<'_>, name: &str, bytes: Option<u64>) -> fmt::Result {
        let Some(bytes) = bytes else { return writeln!(f, "{name:<25}  not measured") };
        write!(f, "{name:<25} {:>12}", Memory::bytes(bytes).to_string())?;
        match self.requests.filter(|&requests| requests > 0) {
            Some(requests) => writeln!(f, " {:>9} {:>10} B/request", "", bytes / requests),
            None => writeln!(f),
        }
    }
}

impl Stalls {
    fn between(earlier: &ContainerStats, later: &ContainerStats) -> Option<Stalls> {
        let (before, now) = (earlier.pressure?, later.pressure?);
        Some(Stalls {
            cpu: time_used(Some(before.cpu.some.total), now.cpu.some.total),
            memory: time_used(Some(before.memory.some.total), now.memory.some.total),
            io: time_used(Some(before.io.some.total), now.io.some.total),
        })
    }
}

/// One line for each part: seconds, percent of the period, and milliseconds or bytes for each request.
impl fmt::Display for TimeShares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_time(f, "period", Some(self.period))?;
        if let Some(requests) = self.requests {
            writeln!(f, "{:<25} {requests:>10}", "requests")?;
        }
        if self.response_time.is_some() {
            self.write_time(f, "response time, summed", self.response_time)?;
        }
        self.write_time(f, "application CPU", Some(self.user))?;
        self.write_time(f, "system CPU", Some(self.system))?;
        self.write_time(f, "throttled by its limit", Some(self.throttled))?;
        self.write_time(f, "waiting for a processor", self.waiting)?;
        self.write_time(f, "what remains", self.remaining())?;
        self.write_time(f, "stalled for a processor", self.stalls.map(|stalls| stalls.cpu))?;
        self.write_time(f, "stalled for memory", self.stalls.map(|stalls| stalls.memory))?;
        self.write_time(f, "stalled for block devices", self.stalls.map(|stalls| stalls.io))?;
        self.write_bytes(f, "received", self.received)?;
        self.write_bytes(f, "sent", self.sent)?;
        self.write_bytes(f, "read from block devices", self.read)?;
        self.write_bytes(f, "written to block devices", self.written)
    }
}
