//! Paths of a container that are hidden or read-only unless asked otherwise, as in Docker and containerd.
//!
//! A path that the kernel at hand does not have is nothing to hide: whoever lowers these tolerates its absence.

/// Hidden: an empty read-only directory or file lies over them (runtime-spec, `linux.maskedPaths`).
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Readable only (runtime-spec, `linux.readonlyPaths`).
pub const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
