//! What is used for each second, from two samples.

use crate::container::ContainerStats;
use std::fmt;
use std::time::Duration;

/// What was used for each second of a period.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Rates {
    /// Processors in use: 1 is one processor, all the time.
    pub cpus: f64,
    /// Of it, in the programs.
    pub user_cpus: f64,
    /// Of it, in the kernel.
    pub system_cpus: f64,
    /// Seconds for each second in which the processors' limit kept it from running; with version 1 and 2 alike summed
    /// over the processors on which it was kept.
    pub throttled: f64,
    /// Bytes that came in over the network; `None` without one.
    pub received_bytes: Option<f64>,
    /// Bytes that went out over the network.
    pub sent_bytes: Option<f64>,
    /// Bytes read from block devices; `None` where they are not counted.
    pub read_bytes: Option<f64>,
    /// Bytes written to block devices.
    pub written_bytes: Option<f64>,
}

impl Rates {
    /// What was used for each second of the `period` between two samples of one container; all of `later` where there is
    /// no earlier one. A counter that has gone back, because the container was started again, has begun at 0. `None` for
    /// a period of 0.
    pub fn between(earlier: Option<&ContainerStats>, later: &ContainerStats, period: Duration) -> Option<Rates> {
        if period.is_zero() {
            return None;
        }
        let seconds = period.as_secs_f64();
        let time = |of: fn(&ContainerStats) -> Duration| time_used(earlier.map(of), of(later)).as_secs_f64() / seconds;
        let bytes = |of: fn(&ContainerStats) -> Option<u64>| {
            of(later).map(|now| grown(earlier.and_then(of), now) as f64 / seconds)
        };
        let (user, system) = user_and_system(earlier, later);
        Some(Rates {
            cpus: time(|stats| stats.cpu.usage),
            user_cpus: user.as_secs_f64() / seconds,
            system_cpus: system.as_secs_f64() / seconds,
            throttled: time(|stats| stats.cpu.throttled),
            received_bytes: bytes(|stats| stats.network.map(|network| network.received_bytes)),
            sent_bytes: bytes(|stats| stats.network.map(|network| network.sent_bytes)),
            read_bytes: bytes(|stats| stats.io.map(|io| io.read)),
            written_bytes: bytes(|stats| stats.io.map(|io| io.written)),
        })
    }

    /// Both together.
    pub(super) fn plus(self, other: Rates) -> Rates {
        let both = |a: Option<f64>, b: Option<f64>| a.map_or(b, |a| Some(a + b.unwrap_or(0.0)));
        Rates {
            cpus: self.cpus + other.cpus,
            user_cpus: self.user_cpus + other.user_cpus,
            system_cpus: self.system_cpus + other.system_cpus,
            throttled: self.throttled + other.throttled,
            received_bytes: both(self.received_bytes, other.received_bytes),
            sent_bytes: both(self.sent_bytes, other.sent_bytes),
            read_bytes: both(self.read_bytes, other.read_bytes),
            written_bytes: both(self.written_bytes, other.written_bytes),
        }
    }
}

/// How far a counter has come; one that has gone back has begun anew.
pub(super) fn grown(earlier: Option<u64>, later: u64) -> u64 {
    later.checked_sub(earlier.unwrap_or(0)).unwrap_or(later)
}

/// What of the processor time used is of the programs, and what of the kernel. The time used is measured; with control
/// groups of version 1 the parts are counted by clock ticks, so only their ratio is taken. All is of the programs where
/// no tick has fallen into it, as in `cputime_adjust` of the kernel.
pub(super) fn user_and_system(earlier: Option<&ContainerStats>, later: &ContainerStats) -> (Duration, Duration) {
    let of = |part: fn(&ContainerStats) -> Duration| time_used(earlier.map(part), part(later));
    let usage = of(|stats| stats.cpu.usage);
    let (user, system) = (of(|stats| stats.cpu.user).as_secs_f64(), of(|stats| stats.cpu.system).as_secs_f64());
    let share = if system > 0.0 { system / (user + system) } else { 0.0 };
    let system = usage.mul_f64(share).min(usage);
    (usage - system, system)
}

/// As [`grown`], of times.
pub(super) fn time_used(earlier: Option<Duration>, later: Duration) -> Duration {
    later.checked_sub(earlier.unwrap_or_default()).unwrap_or(later)
}

/// One line: `0.25 CPUs (user 0.20, system 0.05), received 1.2 KiB/s, sent 3.4 MiB/s`.
impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} CPUs (user {:.2}, system {:.2}", self.cpus, self.user_cpus, self.system_cpus)?;
        if self.throttled > 0.0 {
            write!(f, ", throttled {:.2}", self.throttled)?;
        }
        f.write_str(")")?;
        let parts = [
            ("received", self.received_bytes),
            ("sent", self.sent_bytes),
            ("read", self.read_bytes),
            ("written", self.written_bytes),
        ];
        for (name, rate) in parts {
            if let Some(rate) = rate {
                write!(f, ", {name} {}/s", crate::Memory::bytes(rate as u64))?;
            }
        }
        Ok(())
    }
}
