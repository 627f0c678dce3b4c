//! The clock of deployments: it goes on through suspends, and nobody sets it.

use super::controller::model::Moment;
use nix::time::{ClockId, clock_gettime};

/// The kernel's name for this boot; empty where it cannot be read.
pub(crate) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Milliseconds since the machine was booted.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
