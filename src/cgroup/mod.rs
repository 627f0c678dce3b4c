//! Limits and statistics of the kernel's control groups.
