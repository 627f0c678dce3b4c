//! The clock of pauses and deadlines.

use super::call::call;

/// Nanoseconds since the machine was started, the time in which it slept included: nobody sets this clock, and a check
/// that fell into the sleep is due at once.
pub(crate) fn since_boot() -> u64 {
    const CLOCK_BOOTTIME: usize = 7;
    let mut time = [0u64; 2];
    // SAFETY: a live timespec.
    let _ = unsafe { call!(CLOCK_GETTIME, CLOCK_BOOTTIME, time.as_mut_ptr()) };
    time[0] * 1_000_000_000 + time[1]
}
