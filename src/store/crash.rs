//! Tests that end the process at every durable step.

use std::sync::atomic::{AtomicU64, Ordering};

/// Steps left until the process ends; 0 for never.
static REMAINING: AtomicU64 = AtomicU64::new(0);

/// Called at every durable step.
pub(super) fn reached(_name: &'static str) {
    if REMAINING.load(Ordering::Relaxed) > 0 && REMAINING.fetch_sub(1, Ordering::Relaxed) == 1 {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}
