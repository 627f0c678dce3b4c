//! The phases of a plan. This file is also part of the stage: core only.

/// When in a start an operation runs. A plan never goes back to an earlier phase: what a later phase gives up (a
/// capability, the host's mounts, a system call) an earlier one may still need, and what an earlier phase closes
/// (descriptors of the host) no later one can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Shut out what came with the fork: descriptors, signals, the umask.
    Fence,
    /// Enter control groups and namespaces.
    Join,
    /// Get user and group ids mapped.
    Map,
    /// Take on ids, host name and network of the new namespaces.
    Identity,
    /// Cut mount propagation.
    Enter,
    /// Build the root file system.
    Mount,
    /// Make it the root and drop the old one.
    Pivot,
    /// Make read-only what is to be read-only.
    Seal,
    /// Standard streams, terminal, working directory.
    Session,
    /// The system call filter, where it must be loaded with privileges.
    EarlyFilter,
    /// Give up limits, groups, ids and capabilities.
    Privilege,
    /// Wait for the word to go on.
    Park,
    /// The system call filter, where `no_new_privs` is on: the last thing before the payload.
    LateFilter,
    /// Become the payload.
    Exec,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Phase; 14] = [
        Phase::Fence,
        Phase::Join,
        Phase::Map,
        Phase::Identity,
        Phase::Enter,
        Phase::Mount,
        Phase::Pivot,
        Phase::Seal,
        Phase::Session,
        Phase::EarlyFilter,
        Phase::Privilege,
        Phase::Park,
        Phase::LateFilter,
        Phase::Exec,
    ];
}
